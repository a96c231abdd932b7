//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	cryptoki "github.com/miekg/pkcs11"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
)

const (
	testPIN   = "648219"
	testToken = "reemboss test"
)

// classicPair is the public test key pair, and its check value.
var classicPair = []byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10}

const classicKCV = "08D7B4"

// libraries are where Debian's package has SoftHSM, by kind of machine.
var libraries = []string{"/usr/lib/*/softhsm/libsofthsm2.so", "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so"}

// softhsm is a token of SoftHSM 2 in a folder of its own.
type softhsm struct {
	t       testing.TB
	library string
	folder  string // of the tokens
}

// newToken makes an empty token. It skips the test where SoftHSM is not installed; in CI it fails.
func newToken(t testing.TB) softhsm {
	t.Helper()
	s := softhsm{t: t, folder: filepath.Join(t.TempDir(), "tokens")}
	for _, pattern := range libraries {
		if found, _ := filepath.Glob(pattern); len(found) > 0 && s.library == "" {
			s.library = found[0]
		}
	}
	_, err := exec.LookPath("softhsm2-util")
	switch {
	case s.library != "" && err == nil:
	case os.Getenv("CI") != "":
		t.Fatal("not installed: apt-get install softhsm2")
	default:
		t.Skip("not installed: apt-get install softhsm2")
	}
	if err := os.Mkdir(s.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(filepath.Dir(s.folder), "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+s.folder+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	s.addToken(testToken)
	return s
}

func (s softhsm) addToken(label string) {
	s.t.Helper()
	out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", testPIN, "--so-pin", "00000000").CombinedOutput()
	if err != nil {
		s.t.Fatalf("make a token: %v\n%s", err, out)
	}
}

func (s softhsm) settings() config.PKCS11 {
	return config.PKCS11{Module: s.library, Token: testToken, Sessions: 4, Batch: 256, Timeout: time.Minute}
}

// asked is a library without a backend: the other program at the same token.
func (s softhsm) asked(do func(m *cryptoki.Ctx)) {
	s.t.Helper()
	m := cryptoki.New(s.library)
	err := m.Initialize()
	if err != nil && !is(err, cryptoki.CKR_CRYPTOKI_ALREADY_INITIALIZED) {
		s.t.Fatal(err)
	}
	first := err == nil
	do(m)
	if first {
		if err := m.Finalize(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// ImportTestKeys puts keys into the token as an operator's import does: the
// halves label-a and label-b of each pair, kept in the token and good for one
// direction only. change is made to each template.
func (s softhsm) ImportTestKeys(keys map[string][]byte, kind uint, change ...*cryptoki.Attribute) map[string]config.CardKey {
	s.t.Helper()
	want := map[string]config.CardKey{}
	s.asked(func(m *cryptoki.Ctx) {
		session := s.login(m)
		defer func() { _ = m.CloseSession(session) }()
		for label, key := range keys {
			s.importHalf(m, session, label+"-a", key[:8], kind, roleA, change)
			s.importHalf(m, session, label+"-b", key[8:], kind, roleB, change)
			want[label] = config.CardKey{Backend: config.PKCS11Keys, KCV: checkValueOf(s.t, key), LabelA: label + "-a", LabelB: label + "-b"}
		}
	})
	return want
}

func (s softhsm) login(m *cryptoki.Ctx) cryptoki.SessionHandle {
	s.t.Helper()
	slot, _, err := findSlot(m, s.settings())
	if err != nil {
		s.t.Fatal(err)
	}
	session, err := m.OpenSession(slot, cryptoki.CKF_SERIAL_SESSION|cryptoki.CKF_RW_SESSION)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := m.Login(session, cryptoki.CKU_USER, testPIN); err != nil && !is(err, cryptoki.CKR_USER_ALREADY_LOGGED_IN) {
		s.t.Fatal(err)
	}
	return session
}

func (s softhsm) importHalf(m *cryptoki.Ctx, session cryptoki.SessionHandle, label string, half []byte, kind uint, r role, change []*cryptoki.Attribute) {
	s.t.Helper()
	template := []*cryptoki.Attribute{
		cryptoki.NewAttribute(cryptoki.CKA_CLASS, cryptoki.CKO_SECRET_KEY),
		cryptoki.NewAttribute(cryptoki.CKA_KEY_TYPE, kind),
		cryptoki.NewAttribute(cryptoki.CKA_TOKEN, true),
		cryptoki.NewAttribute(cryptoki.CKA_PRIVATE, true),
		cryptoki.NewAttribute(cryptoki.CKA_LABEL, label),
		cryptoki.NewAttribute(cryptoki.CKA_SENSITIVE, true),
		cryptoki.NewAttribute(cryptoki.CKA_EXTRACTABLE, false),
		cryptoki.NewAttribute(cryptoki.CKA_WRAP, false),
		cryptoki.NewAttribute(cryptoki.CKA_UNWRAP, false),
		cryptoki.NewAttribute(r.use, true),
		cryptoki.NewAttribute(r.mustNot, false),
		cryptoki.NewAttribute(cryptoki.CKA_VALUE, bytes.Repeat(half, repeated(kind))),
	}
	for _, c := range change {
		template = slices.DeleteFunc(template, func(a *cryptoki.Attribute) bool { return a.Type == c.Type })
		template = append(template, c)
	}
	if _, err := m.CreateObject(session, template); err != nil {
		s.t.Fatalf("put %s into the token: %v", label, err)
	}
}

// checkValueOf is the check value as the software backend's keyset tells it.
func checkValueOf(t testing.TB, pair []byte) string {
	t.Helper()
	set := keysetOf(t, map[string][]byte{"key": pair})
	return set.CVKs()["key"]
}

// keysetOf is a keyset with card keys.
func keysetOf(t testing.TB, keys map[string][]byte) *hsm.Keyset {
	t.Helper()
	set, err := hsm.CreateKeyset(filepath.Join(t.TempDir(), "keyset.json"), []byte("0123456789abcdef0123456789abcdef"), testRandom(), hsm.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range keys {
		if err := set.AddCVK(name, pair, testRandom()); err != nil {
			t.Fatal(err)
		}
	}
	return set
}

// opened is a backend in production that is closed at the end of the test.
func (s softhsm) opened(settings config.PKCS11, keys map[string]config.CardKey, through func(module) module) *backend {
	s.t.Helper()
	b, err := s.open(settings, keys, through)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := b.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return b
}

// open opens a backend in production whose calls go through a module of the test's.
func (s softhsm) open(settings config.PKCS11, keys map[string]config.CardKey, through func(module) module) (*backend, error) {
	return open(context.Background(), Config{Settings: settings, PIN: []byte(testPIN), Environment: config.Production}, keys, func(path string) (module, error) {
		m, err := load(path)
		if err == nil && through != nil {
			m = through(m)
		}
		return m, err
	})
}

// classic is a token with the public pair, and the pair as it is configured.
func classic(t testing.TB) (softhsm, map[string]config.CardKey) {
	t.Helper()
	s := newToken(t)
	return s, s.ImportTestKeys(map[string][]byte{"cvk": classicPair}, cryptoki.CKK_DES2)
}
