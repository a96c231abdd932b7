package batch

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reemboss/batch/ledger"
	"reemboss/bureau"
	"reemboss/formats/iso"
)

// gnupg is a person's own GnuPG, whose clock stands still where the test put it.
type gnupg struct {
	*testing.T
	home string
	now  time.Time
}

func newGnuPG(t *testing.T, now time.Time) *gnupg {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Fatal("this test needs GnuPG; install it (Debian: gnupg)")
	}
	home, err := os.MkdirTemp("", "gpg") // short: the agent's socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		_ = os.RemoveAll(home)
	})
	return &gnupg{t, home, now}
}

// at is the same GnuPG at another time.
func (g *gnupg) at(now time.Time) *gnupg { return &gnupg{g.T, g.home, now} }

func (g *gnupg) run(input []byte, args ...string) []byte {
	g.Helper()
	cmd := exec.Command("gpg", append([]string{"--homedir", g.home, "--faked-system-time", g.now.UTC().Format("20060102T150405") + "!", "--batch", "--no-tty", "--yes", "--quiet",
		"--pinentry-mode", "loopback", "--passphrase", "", "--trust-model", "always"}, args...)...)
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &problems
	if err := cmd.Run(); err != nil {
		g.Fatalf("gpg %q: %v\n%s", args, err, problems.Bytes())
	}
	return out.Bytes()
}

// key makes a signing key and gives its fingerprint.
func (g *gnupg) key(name, algorithm, validity string) string {
	g.Helper()
	g.run(nil, "--quick-generate-key", name, algorithm, "sign", validity)
	for _, line := range strings.Split(string(g.run(nil, "--with-colons", "--list-keys", name)), "\n") {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			return f[9]
		}
	}
	g.Fatalf("gpg made no key for %s", name)
	return ""
}

// revoke uses the certificate that GnuPG made with the key.
func (g *gnupg) revoke(fingerprint string) {
	g.Helper()
	certificate, err := os.ReadFile(filepath.Join(g.home, "openpgp-revocs.d", fingerprint+".rev"))
	if err != nil {
		g.Fatal(err)
	}
	g.run(bytes.ReplaceAll(certificate, []byte(":-----"), []byte("-----")), "--import")
}

// sign makes a message of text; args say of which form.
func (g *gnupg) sign(by, text string, args ...string) string {
	g.Helper()
	return string(g.run([]byte(text), append([]string{"--local-user", by, "--output", "-"}, args...)...))
}

// somebody is a person of the configuration: submits is YAML, "" for nothing.
type somebody struct{ key, name, fingerprint, submits string }

// people puts the keys of everybody into the workspace and all of them into the configuration.
func (b *bench) people(g *gnupg, everybody ...somebody) {
	b.Helper()
	section := "people:\n"
	for _, p := range everybody {
		file := "keys/" + p.key + ".asc"
		if err := os.WriteFile(b.Path(file), g.run(nil, "--armor", "--export", p.fingerprint), 0o600); err != nil {
			b.Fatal(err)
		}
		section += fmt.Sprintf("  %s: {name: %q, login: %s-login, key_file: %s, fingerprint: %s", p.key, p.name, p.key, file, p.fingerprint)
		if p.submits != "" {
			section += ", submits: {" + p.submits + "}"
		}
		section += "}\n"
	}
	b.configure("people: {}\n", section)
}

// result reads a file's result: each row by its columns.
func (b *bench) result(folder, name string) (rows []map[string]string) {
	b.Helper()
	paths, err := filepath.Glob(b.Path(folder, "*", name+".result.csv"))
	if err != nil || len(paths) != 1 {
		b.Fatalf("results of %s in %s: %v %v", name, folder, paths, err)
	}
	text, err := os.ReadFile(paths[0])
	if err != nil {
		b.Fatal(err)
	}
	lines, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		b.Fatal(err)
	}
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, column := range lines[0] {
			row[column] = line[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// files puts many files into the inbox.
func (b *bench) files(content map[string]string) {
	b.Helper()
	for name, text := range content {
		b.drop(name, text)
	}
}

func (b *bench) read(name string) []byte {
	b.Helper()
	text, err := os.ReadFile(b.Path(name))
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// kept gives the bytes of a file at its last place, opened where it is sealed.
func (b *bench) kept(folder, name string) []byte {
	b.Helper()
	plain, _ := filepath.Glob(b.Path(folder, "*", name))
	sealed, _ := filepath.Glob(b.Path(folder, "*", name+".pgp"))
	if len(plain)+len(sealed) != 1 {
		b.Fatalf("%s lies in %v %v", name, plain, sealed)
	}
	content, err := os.ReadFile(append(plain, sealed...)[0])
	if err != nil {
		b.Fatal(err)
	}
	if len(plain) == 1 {
		return content
	}
	n := b.open()
	defer n.Close()
	clear, verdict := bureau.Open(bytes.NewReader(content), n.ownKey, nil)
	if content, err = io.ReadAll(clear); err == nil {
		_, err = verdict()
	}
	if err != nil {
		b.Fatal(err)
	}
	return content
}

// issuer is the fingerprint of the workspace's key.
func (b *bench) issuer() string {
	b.Helper()
	n := b.open()
	defer n.Close()
	return n.ownKey.Fingerprint()
}

// otherKey is somebody else's key, to which a file may be encrypted.
func (b *bench) otherKey(g *gnupg) string {
	b.Helper()
	k, err := bureau.GenerateKey("other", "", b.now.Add(-time.Hour), 0)
	if err != nil {
		b.Fatal(err)
	}
	public, err := k.Armored(false)
	if err != nil {
		b.Fatal(err)
	}
	g.run(public, "--import")
	return k.Fingerprint()
}

// number is the number of a card of [bench.cards] whose body is 411111 and the card's id.
func (b *bench) number(id int) string {
	body := fmt.Sprintf("411111%09d", id)
	return body + string(iso.LuhnDigit(body))
}

// audited gives the details of the newest entries of a kind, by subject.
func (b *bench) audited(what string) map[string]string {
	b.Helper()
	n := b.open()
	defer n.Close()
	details := map[string]string{}
	if err := n.Ledger.EachAudit(b.Context(), func(e ledger.AuditEntry) error {
		if e.What == what {
			details[e.Subject] = e.Detail
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	return details
}

// checkSaysWhatRunSays checks every file of the inbox together, works the night, and compares all answers.
func (b *bench) checkSaysWhatRunSays(t *testing.T, look func(*Result)) {
	t.Helper()
	extract := filepath.Join(b.InboxCards(), "cards.csv")
	if _, err := os.Stat(extract); err == nil { // the cards come first, as in a night
		n := b.open()
		if _, err := n.ImportCards(t.Context(), extract); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(n.Close(), os.Remove(extract)); err != nil {
			t.Fatal(err)
		}
	}
	paths, err := filepath.Glob(b.Path("inbox", "*.*"))
	if err != nil {
		t.Fatal(err)
	}
	n := b.open()
	checked := map[string][]string{}
	err = n.Check(t.Context(), paths, func(r CheckedRow) error {
		checked[r.File] = append(checked[r.File], fmt.Sprintf("%d %s %d %s %s", r.Row, r.Outcome, r.Class, r.Codes, r.Message))
		return nil
	})
	if err := errors.Join(err, n.Close()); err != nil {
		t.Fatal(err)
	}
	r := b.run()
	if look != nil {
		look(r)
	}
	n = b.open()
	defer n.Close()
	files, err := n.Ledger.RunFiles(t.Context(), r.RunID)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		var answers []string
		err := n.Ledger.EachAnswer(t.Context(), "", f.ID, func(a *ledger.Answer) error {
			answers = append(answers, fmt.Sprintf("%d %s %d %s %s", a.Line, a.Outcome, a.Class, a.Codes, a.Message))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(answers, checked[f.Name]); diff != "" {
			t.Errorf("%s: check says other things than run (-run +check):\n%s", f.Name, diff)
		}
	}
}
