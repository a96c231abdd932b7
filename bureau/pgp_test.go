package bureau

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// keyTime is when the test keys are made.
var keyTime = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func testKey(t *testing.T, name string) *Key {
	t.Helper()
	k, err := GenerateKey(name, name+"@example.org", keyTime, 365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sealed(t *testing.T, s Sealing, clear []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := Seal(&out, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(clear); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func writeFile(t *testing.T, path string, content []byte, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// keyFile writes a key as the workspace would.
func keyFile(t *testing.T, k *Key, private bool) string {
	t.Helper()
	content, err := k.Armored(private)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, filepath.Join(t.TempDir(), "key.asc"), content, 0o600)
}

func TestSealedFileOpensAndNamesItsSigner(t *testing.T) {
	issuer, alpha := testKey(t, "issuer"), testKey(t, "alpha")
	for _, compress := range []bool{false, true} {
		for _, size := range []int{0, 1, 511, 512, 64 << 10, 1 << 20} {
			clear := make([]byte, size)
			if _, err := rand.Read(clear); err != nil {
				t.Fatal(err)
			}
			message := sealed(t, Sealing{To: []*Key{alpha}, Signer: issuer, FileName: "x.xml", Time: keyTime.Add(time.Hour), Compress: compress}, clear)
			r, verdict := Open(bytes.NewReader(message), alpha, []*Key{issuer})
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, clear) {
				t.Fatalf("size %d, compress %v: content differs (%v)", size, compress, err)
			}
			if by, err := verdict(); err != nil || by != issuer.Fingerprint() {
				t.Errorf("size %d: signed by %q, %v", size, by, err)
			}
		}
	}
}

// The sealing of a closest peer sent the signature and lost the file.
func TestKnownFault_EncryptAndSignCarriesContent(t *testing.T) {
	issuer, alpha := testKey(t, "issuer"), testKey(t, "alpha")
	clear := bytes.Repeat([]byte("one embossing record\n"), 5000)
	message := sealed(t, Sealing{To: []*Key{alpha}, Signer: issuer, Time: keyTime}, clear)
	home := gpgHome(t)
	home.importKey(t, alpha, true)
	home.importKey(t, issuer, false)
	got, status := home.decrypt(t, message)
	if !bytes.Equal(got, clear) {
		t.Fatalf("gpg got %d bytes of %d", len(got), len(clear))
	}
	if !strings.Contains(status, "GOODSIG") || !strings.Contains(status, issuer.Fingerprint()) {
		t.Errorf("gpg saw no good signature of the issuer:\n%s", status)
	}
}

// With one setting missing a peer wrote clear text into a .gpg file.
func TestKnownFault_MissingSettingNeverSendsClear(t *testing.T) {
	issuer, alpha := testKey(t, "issuer"), testKey(t, "alpha")
	public := &Key{}
	*public = *readPublic(t, issuer)
	late := keyTime.Add(400 * 24 * time.Hour)
	for name, s := range map[string]Sealing{
		"no recipient":           {Signer: issuer, Time: keyTime},
		"recipient is nil":       {To: []*Key{nil}, Signer: issuer, Time: keyTime},
		"no signer":              {To: []*Key{alpha}, Time: keyTime},
		"signer is not private":  {To: []*Key{alpha}, Signer: public, Time: keyTime},
		"no time":                {To: []*Key{alpha}, Signer: issuer},
		"keys expired meanwhile": {To: []*Key{alpha}, Signer: issuer, Time: late},
		"file name with a path":  {To: []*Key{alpha}, Signer: issuer, Time: keyTime, FileName: "../x"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w, err := Seal(&out, s)
			if err == nil || w != nil {
				t.Error("it was not refused")
			}
			if out.Len() != 0 {
				t.Errorf("%d bytes were written", out.Len())
			}
		})
	}
}

func readPublic(t *testing.T, k *Key) *Key {
	t.Helper()
	public, err := ReadPublicKey(keyFile(t, k, false), k.Fingerprint(), keyTime)
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// A write that failed must not end in a message that opens.
func TestCloseFailsAfterAFailedWrite(t *testing.T) {
	issuer, alpha := testKey(t, "issuer"), testKey(t, "alpha")
	full := errors.New("disk full")
	out := &limitedWriter{left: 100_000, err: full}
	w, err := Seal(out, Sealing{To: []*Key{alpha}, Signer: issuer, Time: keyTime})
	if err != nil {
		t.Fatal(err)
	}
	var written error
	for range 100 {
		if _, written = w.Write(make([]byte, 10_000)); written != nil {
			break
		}
	}
	if !errors.Is(written, full) {
		t.Errorf("write says %v", written)
	}
	if err := w.Close(); !errors.Is(err, full) {
		t.Errorf("close says %v", err)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("a closed file takes more")
	}
}

type limitedWriter struct {
	left int
	err  error
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, l.err
	}
	return len(p), nil
}

func TestOpenTrustsNothingButAWholeFileOfAKnownSigner(t *testing.T) {
	issuer, alpha, mallory := testKey(t, "issuer"), testKey(t, "alpha"), testKey(t, "mallory")
	clear := bytes.Repeat([]byte("record\n"), 20_000)
	good := sealed(t, Sealing{To: []*Key{alpha}, Signer: issuer, Time: keyTime}, clear)
	foreign := sealed(t, Sealing{To: []*Key{alpha}, Signer: mallory, Time: keyTime}, clear)
	own := sealed(t, Sealing{To: []*Key{alpha}, Signer: alpha, Time: keyTime}, clear)
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for name, test := range map[string]struct {
		message []byte
		want    error // nil: any error
	}{
		"cut":                 {good[:len(good)-30], nil},
		"changed":             {flipped, nil},
		"signed by another":   {foreign, ErrUnknownSigner},
		"signed by ourselves": {own, ErrUnknownSigner},
		"not a message":       {[]byte("PAN;NAME\n"), nil},
		"empty":               {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r, verdict := Open(bytes.NewReader(test.message), alpha, []*Key{issuer})
			_, _ = io.Copy(io.Discard, r)
			by, err := verdict()
			if err == nil || by != "" {
				t.Fatalf("it was trusted, signed by %q", by)
			}
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("the verdict is %v", err)
			}
		})
	}
}

func TestVerdictBeforeTheEndIsAnError(t *testing.T) {
	issuer, alpha := testKey(t, "issuer"), testKey(t, "alpha")
	message := sealed(t, Sealing{To: []*Key{alpha}, Signer: issuer, Time: keyTime}, make([]byte, 100_000))
	r, verdict := Open(bytes.NewReader(message), alpha, []*Key{issuer})
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if _, err := verdict(); !errors.Is(err, ErrNotReadToEnd) {
		t.Errorf("the verdict is %v", err)
	}
}

func TestReadPublicKeyRefuses(t *testing.T) {
	alpha, other := testKey(t, "alpha"), testKey(t, "other")
	path := keyFile(t, alpha, false)
	for name, test := range map[string]struct {
		path, fingerprint string
		now               time.Time
		kind              KeyKind
	}{
		"a file that is not there":      {path + "x", alpha.Fingerprint(), keyTime, KeyMissing},
		"another fingerprint":           {path, other.Fingerprint(), keyTime, KeyWrongFingerprint},
		"a short key id":                {path, alpha.Fingerprint()[24:], keyTime, KeyWrongFingerprint},
		"after its end":                 {path, alpha.Fingerprint(), keyTime.Add(366 * 24 * time.Hour), KeyExpired},
		"at its end":                    {path, alpha.Fingerprint(), keyTime.Add(365 * 24 * time.Hour), KeyExpired},
		"before it was made":            {path, alpha.Fingerprint(), keyTime.Add(-time.Hour), KeyNotYetValid},
		"a file that is something else": {writeFile(t, filepath.Join(t.TempDir(), "k"), []byte("no key"), 0o600), alpha.Fingerprint(), keyTime, KeyUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadPublicKey(test.path, test.fingerprint, test.now)
			wantKind(t, err, test.kind)
		})
	}
	spaced := strings.ToLower(alpha.Fingerprint()[:20]) + "  " + alpha.Fingerprint()[20:]
	if _, err := ReadPublicKey(path, spaced, keyTime); err != nil {
		t.Errorf("a fingerprint with spaces: %v", err)
	}
}

func wantKind(t *testing.T, err error, kind KeyKind) {
	t.Helper()
	var e *KeyError
	if !errors.As(err, &e) || e.Kind != kind {
		t.Errorf("want %q, got %v", kind, err)
	}
	if ClassOf(err) != Operator {
		t.Errorf("the class is %v", ClassOf(err))
	}
}

func TestReadPrivateKey(t *testing.T) {
	issuer := testKey(t, "issuer")
	locked, err := issuer.ArmoredLocked([]byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	lockedPath := writeFile(t, filepath.Join(t.TempDir(), "locked.asc"), locked, 0o600)
	exposed := keyFile(t, issuer, true)
	if err := os.Chmod(exposed, 0o640); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		path, passphrase string
		kind             KeyKind
	}{
		"locked, no passphrase":    {lockedPath, "", KeyWrongPassphrase},
		"locked, wrong passphrase": {lockedPath, "wrong", KeyWrongPassphrase},
		"public half only":         {keyFile(t, issuer, false), "", KeyNotPrivate},
		"others may read it":       {exposed, "", KeyExposed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadPrivateKey(test.path, []byte(test.passphrase), "", keyTime)
			wantKind(t, err, test.kind)
		})
	}
	k, err := ReadPrivateKey(lockedPath, []byte("correct horse"), issuer.Fingerprint(), keyTime)
	if err != nil {
		t.Fatal(err)
	}
	sealed(t, Sealing{To: []*Key{k}, Signer: k, Time: keyTime}, []byte("x"))
	if !issuer.IsPrivate() {
		t.Error("locking a copy changed the key")
	}
}

func TestExpiryWarning(t *testing.T) {
	k := testKey(t, "alpha")
	end := keyTime.Add(365 * 24 * time.Hour)
	if !k.ExpiresAt().Equal(end) {
		t.Errorf("expires at %v", k.ExpiresAt())
	}
	const month = 30 * 24 * time.Hour
	if k.ExpiresWithin(end.Add(-month-time.Second), month) || !k.ExpiresWithin(end.Add(-month), month) {
		t.Error("the warning does not begin 30 days ahead")
	}
	never, err := GenerateKey("never", "", keyTime, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !never.ExpiresAt().IsZero() || never.ExpiresWithin(keyTime, month) {
		t.Error("a key without an end has one")
	}
}

func TestDetachedSignatureVerifiesInGnuPG(t *testing.T) {
	issuer := testKey(t, "issuer")
	manifest := []byte("manifest\n")
	signature, err := SignDetached(bytes.NewReader(manifest), issuer, keyTime)
	if err != nil {
		t.Fatal(err)
	}
	home := gpgHome(t)
	home.importKey(t, issuer, false)
	dir := t.TempDir()
	status, err := home.run(nil, "--verify",
		writeFile(t, filepath.Join(dir, "m.asc"), signature, 0o600), writeFile(t, filepath.Join(dir, "m"), manifest, 0o600))
	if err != nil || !strings.Contains(string(status), "GOODSIG") {
		t.Errorf("%v\n%s", err, status)
	}
}

// gpgTime is when GnuPG believes to live, so that no test depends on the day it runs.
var gpgTime = keyTime.Add(time.Hour)

// gnupg is a GnuPG with a home of its own.
type gnupg struct{ home string }

func gpgHome(t *testing.T) gnupg {
	t.Helper()
	needs(t, "gpg")
	home, err := os.MkdirTemp("", "gpg") // short: the agent's socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		_ = os.RemoveAll(home)
	})
	return gnupg{home}
}

// needs skips a test whose tool is not installed, and fails it in CI.
func needs(t *testing.T, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil && strings.HasPrefix(tool, "sshd") {
		path, err = exec.LookPath("/usr/sbin/sshd")
	}
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed", tool)
	}
	t.Skipf("%s is not installed", tool)
	return ""
}

func (g gnupg) run(input []byte, args ...string) ([]byte, error) {
	cmd := exec.Command("gpg", append([]string{"--homedir", g.home, "--faked-system-time", gpgTime.Format("20060102T150405") + "!", "--batch", "--no-tty", "--yes", "--status-fd", "2",
		"--pinentry-mode", "loopback", "--passphrase", "", "--trust-model", "always"}, args...)...)
	cmd.Stdin = bytes.NewReader(input)
	return cmd.CombinedOutput()
}

func (g gnupg) must(t *testing.T, input []byte, args ...string) []byte {
	t.Helper()
	out, err := g.run(input, args...)
	if err != nil {
		t.Fatalf("gpg %v: %v\n%s", args, err, out)
	}
	return out
}

func (g gnupg) importKey(t *testing.T, k *Key, private bool) {
	t.Helper()
	content, err := k.Armored(private)
	if err != nil {
		t.Fatal(err)
	}
	g.must(t, content, "--import")
}

// decrypt gives content and status lines.
func (g gnupg) decrypt(t *testing.T, message []byte) ([]byte, string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "clear")
	status := g.must(t, message, "--output", out, "--decrypt")
	clear, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return clear, string(status)
}

// The encryption is whole and the signer known, and the signature is over something else.
func TestOpenRefusesASignatureThatDoesNotHold(t *testing.T) {
	issuer, alpha := testKey(t, "issuer"), testKey(t, "alpha")
	var out bytes.Buffer
	w, err := Seal(&out, Sealing{To: []*Key{alpha}, Signer: issuer, Time: keyTime})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.(*sealedWriter).hash.Write([]byte("never sent")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, verdict := Open(&out, alpha, []*Key{issuer})
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	if by, err := verdict(); !errors.Is(err, ErrBadSignature) || by != "" {
		t.Errorf("signed by %q, %v", by, err)
	}
}
