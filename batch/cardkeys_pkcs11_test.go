//go:build pkcs11 && cgo

package batch

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cryptoki "github.com/miekg/pkcs11"
	"github.com/rs/zerolog"

	"reemboss/batch/hsm"
)

// goldPair is visaPair with its halves exchanged.
var goldPair = slices.Concat(visaPair[8:], visaPair[:8])

const tokenPIN = "648219"

// softToken makes a token of SoftHSM in a folder of its own with one key pair,
// as objects visa-a and visa-b, and gives the library. Without SoftHSM the test is skipped; in CI it fails.
func softToken(t *testing.T, pair []byte) (library string) {
	t.Helper()
	for _, pattern := range []string{"/usr/lib/*/softhsm/libsofthsm2.so", "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			library = found[0]
		}
	}
	if library == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("not installed: apt-get install softhsm2")
		}
		t.Skip("not installed: apt-get install softhsm2")
	}
	folder := filepath.Join(t.TempDir(), "tokens")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(filepath.Dir(folder), "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+folder+"\nlog.level = ERROR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	if out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", "CARDS", "--pin", tokenPIN, "--so-pin", "00000000").CombinedOutput(); err != nil {
		t.Fatalf("make a token: %v\n%s", err, out)
	}
	m := cryptoki.New(library)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(m.Initialize())
	defer m.Destroy()
	defer func() { _ = m.Finalize() }()
	slots, err := m.GetSlotList(true)
	must(err)
	session, err := m.OpenSession(slots[0], cryptoki.CKF_SERIAL_SESSION|cryptoki.CKF_RW_SESSION)
	must(err)
	must(m.Login(session, cryptoki.CKU_USER, tokenPIN))
	for _, half := range []struct {
		label string
		value []byte
		may   uint
		not   uint
	}{{"visa-a", pair[:8], cryptoki.CKA_ENCRYPT, cryptoki.CKA_DECRYPT}, {"visa-b", pair[8:], cryptoki.CKA_DECRYPT, cryptoki.CKA_ENCRYPT}} {
		_, err := m.CreateObject(session, []*cryptoki.Attribute{
			cryptoki.NewAttribute(cryptoki.CKA_CLASS, cryptoki.CKO_SECRET_KEY), cryptoki.NewAttribute(cryptoki.CKA_KEY_TYPE, cryptoki.CKK_DES2),
			cryptoki.NewAttribute(cryptoki.CKA_TOKEN, true), cryptoki.NewAttribute(cryptoki.CKA_PRIVATE, true), cryptoki.NewAttribute(cryptoki.CKA_LABEL, half.label),
			cryptoki.NewAttribute(cryptoki.CKA_SENSITIVE, true), cryptoki.NewAttribute(cryptoki.CKA_EXTRACTABLE, false),
			cryptoki.NewAttribute(half.may, true), cryptoki.NewAttribute(half.not, false), cryptoki.NewAttribute(cryptoki.CKA_WRAP, false), cryptoki.NewAttribute(cryptoki.CKA_UNWRAP, false),
			cryptoki.NewAttribute(cryptoki.CKA_VALUE, bytes.Repeat(half.value, 2))})
		must(err)
	}
	return library
}

// Each of the three places in one night: a token, and a module; then a token, and the keyset.
func TestANightWithKeysInATokenAndElsewhere(t *testing.T) {
	for _, elsewhere := range []string{"module", "software"} {
		t.Run(elsewhere, func(t *testing.T) {
			b := newBench(t)
			library := softToken(t, visaPair)
			gold := hsm.Verifier(b.keyset())
			if elsewhere == "module" {
				b.module(nil)
				b.cardKey("cvk-mastercard", inModule(goldPair))
				gold = inSoftware(t, map[string][]byte{"cvk-mastercard": goldPair})
			}
			b.cardKey("cvk-visa", `backend: pkcs11, kcv: "08D7B4", label_a: visa-a, label_b: visa-b`)
			b.configure(`module: ""  `, "module: "+library+" ", `token: ""  `, "token: CARDS ", "# pin: {file", "pin: {file")
			if err := os.WriteFile(b.Path("keys", "token-pin"), []byte(tokenPIN), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := CheckConfig(t.Context(), b.Dir, Options{Log: zerolog.Nop()}); err != nil {
				t.Fatalf("config check: %v", err)
			}
			b.plastics(700, true)
			if r := b.run(); r.Accepted != 700 || r.Exit != 0 {
				t.Fatalf("accepted %d, exit %d", r.Accepted, r.Exit)
			}
			b.everyValue(700, map[string]hsm.Verifier{"alpha": inSoftware(t, map[string][]byte{"cvk-visa": visaPair}), "beta": gold})
		})
	}
}

// Another key under the labels is found before the inbox is touched.
func TestATokenWithAnotherKeyStopsTheRun(t *testing.T) {
	b := newBench(t)
	library := softToken(t, goldPair)
	b.cardKey("cvk-visa", `backend: pkcs11, kcv: "08D7B4", label_a: visa-a, label_b: visa-b`)
	b.configure(`module: ""  `, "module: "+library+" ", `token: ""  `, "token: CARDS ", "# pin: {file", "pin: {env: REEMBOSS_TEST_PIN} # {file")
	t.Setenv("REEMBOSS_TEST_PIN", tokenPIN)
	b.plastics(3, false)
	if err := b.stops(); !strings.Contains(err.Error(), "check value") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(b.Path("inbox", "again.csv")); err != nil {
		t.Error("the request was taken from the inbox")
	}
	b.nothingLeft()
}
