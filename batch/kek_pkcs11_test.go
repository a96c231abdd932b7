//go:build pkcs11 && cgo

package batch

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	cryptoki "github.com/miekg/pkcs11"
	"github.com/rs/zerolog"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/batch/hsm/pkcs11"
)

// wrappingKey puts an AES key into the one token of a library.
func wrappingKey(t *testing.T, library, label string, value []byte) {
	t.Helper()
	m := cryptoki.New(library)
	if err := m.Initialize(); err != nil {
		t.Fatal(err)
	}
	defer m.Destroy()
	defer func() { _ = m.Finalize() }()
	slots, err := m.GetSlotList(true)
	if err != nil {
		t.Fatal(err)
	}
	session, err := m.OpenSession(slots[0], cryptoki.CKF_SERIAL_SESSION|cryptoki.CKF_RW_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Login(session, cryptoki.CKU_USER, tokenPIN); err != nil {
		t.Fatal(err)
	}
	if _, err := m.CreateObject(session, []*cryptoki.Attribute{
		cryptoki.NewAttribute(cryptoki.CKA_CLASS, cryptoki.CKO_SECRET_KEY), cryptoki.NewAttribute(cryptoki.CKA_KEY_TYPE, cryptoki.CKK_AES),
		cryptoki.NewAttribute(cryptoki.CKA_TOKEN, true), cryptoki.NewAttribute(cryptoki.CKA_PRIVATE, true), cryptoki.NewAttribute(cryptoki.CKA_LABEL, label),
		cryptoki.NewAttribute(cryptoki.CKA_SENSITIVE, true), cryptoki.NewAttribute(cryptoki.CKA_EXTRACTABLE, false),
		cryptoki.NewAttribute(cryptoki.CKA_ENCRYPT, true), cryptoki.NewAttribute(cryptoki.CKA_DECRYPT, true), cryptoki.NewAttribute(cryptoki.CKA_VALUE, value),
	}); err != nil {
		t.Fatal(err)
	}
}

// A night whose keyset only the token opens; its card keys are in the token too.
func TestTheKeysetOpensUnderAKeyOfTheToken(t *testing.T) {
	b := newBench(t)
	library := softToken(t, visaPair)
	wrappingKey(t, library, "kek", bytes.Repeat([]byte{7}, 32))
	b.cardKey("cvk-visa", `backend: pkcs11, kcv: "08D7B4", label_a: visa-a, label_b: visa-b`)
	b.configure(`module: ""  `, "module: "+library+" ", `token: ""  `, "token: CARDS ", "# pin: {file", "pin: {file")
	put := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(b.Path("keys", name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("token-pin", []byte(tokenPIN))
	kek, err := hsm.LoadSecret(config.SecretRef{File: "keys/kek"}, b.Dir)
	if err != nil {
		t.Fatal(err)
	}
	b.configure("{file: keys/kek}", "{file: keys/kek.wrapped, token_key: kek}")
	n, err := newNight(b.Dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := n.SecretFile(t.Context(), kek)
	if err != nil {
		t.Fatal(err)
	}
	put("kek.wrapped", wrapped)
	if err := os.Remove(b.Path("keys", "kek")); err != nil {
		t.Fatal(err)
	}
	if err := CheckConfig(t.Context(), b.Dir, Options{Log: zerolog.Nop()}); err != nil {
		t.Fatalf("config check: %v", err)
	}
	b.plastics(20, false)
	if r := b.run(); r.Accepted != 20 || r.Exit != 0 {
		t.Fatalf("accepted %d, exit %d", r.Accepted, r.Exit)
	}

	put("kek.wrapped", append([]byte("reemboss-kek-1:"), bytes.Repeat([]byte("A"), 80)...))
	var mistake *SetupError
	if _, err := Open(t.Context(), b.Dir, Options{Log: zerolog.Nop()}); !errors.Is(err, pkcs11.ErrWrapped) || !errors.As(err, &mistake) {
		t.Errorf("other bytes: %v", err)
	}
	if err := CheckConfig(t.Context(), b.Dir, Options{Log: zerolog.Nop()}); err == nil || !strings.Contains(err.Error(), "keys.keyset_kek") {
		t.Errorf("config check: %v", err)
	}
}
