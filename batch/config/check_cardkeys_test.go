package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tokenOn puts one key of the sample into a token.
var tokenOn = []string{
	`  cvk-visa: {backend: software, kcv: "08D7B4"}`, `  cvk-visa: {backend: pkcs11, kcv: "08D7B4", label_a: visa-a, label_b: visa-b}`,
	`module: ""  `, "module: /opt/hsm/lib.so  ", `token: ""  `, "token: CARDS  ", "# pin: {file", "pin: {file",
}

func TestAKeyMayBeInAToken(t *testing.T) {
	c := parsed(t, example(t, tokenOn...))
	if k := c.CardKeys["cvk-visa"]; k.Backend != PKCS11Keys || k.LabelA != "visa-a" || k.LabelB != "visa-b" {
		t.Errorf("key: %+v", k)
	}
	p := c.PKCS11
	if p.Module != "/opt/hsm/lib.so" || p.Token != "CARDS" || p.PIN.File != "keys/token-pin" || p.Sessions != 4 || p.Batch != 256 || p.Timeout != 20*time.Second {
		t.Errorf("token: %+v", p)
	}
}

func TestMistakesAboutTokens(t *testing.T) {
	expectMistakes(t, []change{
		{"backend", `backend: pkcs11, kcv: "08`, `backend: hsm, kcv: "08`, "hsm", "card_keys.cvk-visa.backend", "known are payshield, pkcs11, software"},
		{"label of A missing", "label_a: visa-a, ", "", "cvk-visa: {backend: pkcs11", "card_keys.cvk-visa.label_a", "is missing"},
		{"label of B empty", "label_b: visa-b", `label_b: ""`, `""`, "card_keys.cvk-visa.label_b", "is empty"},
		{"label with a blank at its end", "label_a: visa-a", `label_a: "visa-a "`, `"visa-a `, "card_keys.cvk-visa.label_a", "printable ASCII"},
		{"one label for both halves", "label_b: visa-b", "label_b: visa-a", "visa-a", "card_keys.cvk-visa.label_b", "two objects"},
		{"label of a software key", `cvk-mastercard: {backend: software, `, `cvk-mastercard: {backend: software, label_a: mc-a, `, "mc-a", "card_keys.cvk-mastercard.label_a", "is for backend: pkcs11"},
		{"module missing", "module: /opt/hsm/lib.so", `module: ""`, `""`, "pkcs11.module", "is empty"},
		{"module by its name only", "module: /opt/hsm/lib.so", "module: lib.so", "lib.so", "pkcs11.module", "no absolute path"},
		{"neither label nor serial number", "token: CARDS", `token: ""`, `""`, "pkcs11.token", "serial number"},
		{"label of the token too long", "token: CARDS", "token: " + strings.Repeat("C", 33), strings.Repeat("C", 33), "pkcs11.token", "1 to 32"},
		{"PIN missing", "pin: {file: keys/token-pin}", "#", "pkcs11:\n", "pkcs11.pin", "file: with a path or env:"},
		{"PIN written out", "pin: {file: keys/token-pin}", "pin: hunter2", "hunter2", "pkcs11.pin", "never holds it"},
		{"sessions", "sessions: 4 ", "sessions: 0 ", "0 ", "pkcs11.sessions", "from 1 to 64"},
		{"batch", "batch: 256 ", "batch: 5000 ", "5000 ", "pkcs11.batch", "from 1 to 4096"},
		{"timeout", "timeout: 20s               # a token", "timeout: 1ms               # a token", "1ms", "pkcs11.timeout", "from 100ms"},
		{"half a test key", `test_label_a: ""`, "test_label_a: test-a", `""`, "pkcs11.test_label_b", "is empty"},
	}, tokenOn...)
}

func TestTheLibraryOfATokenMustBeThere(t *testing.T) {
	dir := t.TempDir()
	library := filepath.Join(dir, "lib.so")
	path := filepath.Join(dir, "config.yaml")
	replacements := append(tokenOn[:len(tokenOn):len(tokenOn)], "/opt/hsm/lib.so", library)
	if err := os.WriteFile(path, []byte(example(t, replacements...)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "pkcs11.module: there is no library") {
		t.Errorf("a library that is missing: %v", err)
	}
	if err := os.WriteFile(library, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Errorf("a library that is there: %v", err)
	}
}
