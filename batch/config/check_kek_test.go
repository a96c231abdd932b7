package config

import "testing"

// kekInToken has the sample's key-encryption key encrypted under a key of the token.
var kekInToken = []string{
	"keyset_kek: {file: keys/kek} #", "keyset_kek: {file: keys/kek.wrapped, token_key: reemboss-kek} #",
	`module: ""  `, "module: /opt/hsm/lib.so  ", `token: ""  `, "token: CARDS  ", "# pin: {file", "pin: {file",
}

func TestTheKeyEncryptionKeyMayBeUnderAKeyOfTheToken(t *testing.T) {
	c := parsed(t, example(t, kekInToken...))
	if want := (SecretRef{File: "keys/kek.wrapped", TokenKey: "reemboss-kek"}); c.Keys.Keyset != want {
		t.Errorf("%+v", c.Keys.Keyset)
	}
}

func TestMistakesAboutTheKeyEncryptionKey(t *testing.T) {
	const whole = "{file: keys/kek.wrapped, token_key: reemboss-kek}"
	expectMistakes(t, []change{
		{"no file", whole, "{token_key: reemboss-kek}", "reemboss-kek", "keys.keyset_kek.token_key", "needs a file:"},
		{"an environment variable", whole, "{file: keys/kek.wrapped, env: KEK, token_key: reemboss-kek}", "KEK", "keys.keyset_kek.env", "does not go with token_key"},
		{"a label with a blank at its end", whole, `{file: keys/kek.wrapped, token_key: "kek "}`, `"kek `, "keys.keyset_kek.token_key", "printable ASCII"},
		{"no library", "module: /opt/hsm/lib.so", `module: ""`, `""`, "pkcs11.module", "is empty"},
		{"no token", "token: CARDS", `token: ""`, `""`, "pkcs11.token", "serial number"},
		{"no PIN", "pin: {file: keys/token-pin}", "#", "pkcs11:\n", "pkcs11.pin", "file: with a path or env:"},
		{"a PIN under a key of the token", "pin: {file: keys/token-pin}", "pin: {file: keys/token-pin, token_key: k}", "k}", "pkcs11.pin.token_key", "keys.keyset_kek only"},
		{"a passphrase under a key of the token", "# passphrase: {env: REEMBOSS_PASSPHRASE}", "passphrase: {file: keys/word, token_key: k} #", "k} #", "keys.passphrase.token_key", "keys.keyset_kek only"},
	}, kekInToken...)
}
