package batch

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reemboss/batch/ledger"
)

const mayAskAll = `requests: [reemboss, reissue], reasons: [1, 2, 3, 4, 5, 6], programs: ["*"]`

// signedBench is a workspace with cards 1 to n and anna, who may ask for everything.
func signedBench(t *testing.T, n int) (b *bench, g *gnupg, anna string) {
	t.Helper()
	b = newBenchAt(t, monday())
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("%d C%d NORMAL 411111%09d 00", i+1, i+1, i+1)
	}
	b.cards(lines...)
	g = newGnuPG(t, b.now)
	return b, g, g.at(b.now.AddDate(-1, 0, 0)).key("anna", "ed25519", "3y")
}

// Every way in which gpg signs within a file, and encrypts it to us: the rows are answered, and the audit log says who signed.
func TestEverySignedFormIsTaken(t *testing.T) {
	b, g, anna := signedBench(t, 9)
	b.people(g, somebody{"anna", "Anna Bell", anna, mayAskAll})
	g.run(b.read("keys/issuer.asc"), "--import")
	us := b.issuer()
	forms := []struct {
		name string
		args []string
	}{
		{"1.csv.asc", []string{"--clearsign"}},
		{"2.csv.asc", []string{"--armor", "--sign"}},
		{"3.csv.pgp", []string{"--sign"}},
		{"4.csv.gpg", []string{"--compress-algo", "none", "--sign"}},
		{"5.csv.pgp", []string{"--recipient", us, "--sign", "--encrypt"}},
		{"6.csv.asc", []string{"--armor", "--recipient", us, "--sign", "--encrypt"}},
		{"7.csv", []string{"--textmode", "--sign"}}, // the name promises nothing, the content tells
		{"8.json.asc", []string{"--clearsign"}},
	}
	for i, f := range forms {
		content := fmt.Sprintf("card_id , submitter  \r\n%d,\r\n", i+1)
		if strings.HasPrefix(f.name, "8.json") {
			content = `{"cards": [8]}`
		}
		b.drop(f.name, g.sign(anna, content, f.args...))
	}
	b.drop("9.csv", "card_id\n9\n")
	b.checkSaysWhatRunSays(t, func(r *Result) {
		if r.Exit != 0 || r.Accepted != 9 {
			t.Errorf("exit %d, accepted %d: %s", r.Exit, r.Accepted, r.Verdict)
		}
		for _, f := range r.RequestFiles {
			if want := map[bool]string{true: "anna"}[f.Kind == "requests" && f.Name != "9.csv"]; f.SignedBy != want {
				t.Errorf("%s is told as signed by %q", f.Name, f.SignedBy)
			}
		}
	})
	for _, f := range forms {
		b.want(b.codes("done", f.name), "00")
	}
	checked := b.audited("file.checked")
	for _, f := range forms {
		if want := "signed by anna with key " + anna; !strings.Contains(checked[f.name], want) {
			t.Errorf("the audit entry of %s says %q", f.name, checked[f.name])
		}
	}
	if strings.Contains(checked["9.csv"], "signed") {
		t.Errorf("the audit entry of a file that nobody signed says %q", checked["9.csv"])
	}
	n := b.open()
	err := n.Ledger.EachAnswer(t.Context(), "", 2, func(a *ledger.Answer) error {
		if a.Submitter != "anna" {
			t.Errorf("the answer names %q", a.Submitter)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Every way in which a signature does not hold: the file is refused whole, its bytes are kept, its sentence says what to do.
func TestFilesWhoseSignatureDoesNotHoldAreRefusedWhole(t *testing.T) {
	b, g, anna := signedBench(t, 2)
	old := g.at(b.now.AddDate(0, 0, -20))
	expired, revoked, weak := old.key("ella", "ed25519", "10d"), old.key("rose", "ed25519", "1y"), old.key("walt", "rsa1024", "1y")
	stranger := old.key("stranger", "ed25519", "1y")
	sheet := "card_id\n1\n"
	inTime := old.sign(expired, sheet, "--clearsign")
	b.files(map[string]string{
		"expired.csv.asc": inTime,
		"revoked.csv.asc": g.sign(revoked, sheet, "--clearsign"),
		"weak.csv.asc":    g.sign(weak, sheet, "--clearsign"),
	})
	g.revoke(revoked)
	b.people(g, somebody{"anna", "", anna, mayAskAll}, somebody{"ella", "", expired, mayAskAll}, somebody{"rose", "", revoked, mayAskAll}, somebody{"walt", "", weak, mayAskAll})
	g.run(b.read("keys/issuer.asc"), "--import")
	clear, packed := g.sign(anna, sheet, "--clearsign"), g.sign(anna, sheet, "--compress-algo", "none", "--sign")
	long := g.sign(anna, sheet+strings.Repeat("1\n", 5000), "--armor", "--sign")
	b.files(map[string]string{
		"unknown.csv.asc":    g.sign(stranger, sheet, "--clearsign"),
		"edited.csv.asc":     strings.Replace(clear, "\n1\n", "\n2\n", 1),
		"edited.csv.pgp":     strings.Replace(packed, "\n1\n", "\n2\n", 1),
		"detached.csv.asc":   g.sign(anna, sheet, "--armor", "--detach-sign"),
		"detached.csv.sig":   g.sign(anna, sheet, "--detach-sign"),
		"encrypted.csv.pgp":  g.sign(anna, sheet, "--recipient", b.issuer(), "--encrypt"),
		"elsewhere.csv.pgp":  g.at(b.now).sign(anna, sheet, "--hidden-recipient", b.otherKey(g), "--sign", "--encrypt"),
		"packed.csv.pgp":     g.sign(anna, sheet, "--store"),
		"two.csv.asc":        g.sign(anna, sheet, "--local-user", stranger, "--clearsign"),
		"late.csv.asc":       g.at(b.now.AddDate(0, 0, -90)).sign(anna, sheet, "--clearsign"),
		"ahead.csv.asc":      g.at(b.now.Add(6*time.Minute)).sign(anna, sheet, "--clearsign"),
		"twice.csv.asc":      g.sign(anna, clear, "--sign"),
		"cut.csv.asc":        long[:len(long)/2],
		"longer.csv.asc":     clear + "card_id\n2\n",
		"plain.csv.asc":      sheet,
		"key.asc":            string(b.read("keys/anna.asc")),
		"passphrase.csv.gpg": g.sign(anna, sheet, "--passphrase", "x", "--symmetric"),
	})
	b.drop("good.csv", "card_id\n2\n")
	says := map[string]string{
		"expired.csv.asc":    "of ella, which is not good: it expired at",
		"revoked.csv.asc":    "of rose, which is not good: its owner revoked it",
		"weak.csv.asc":       "of walt, which is not good: it is too weak: RSA with 1024 bits",
		"unknown.csv.asc":    "signed by nobody whom the configuration knows; sign it with the registered key",
		"edited.csv.asc":     "the file is not what was signed",
		"edited.csv.pgp":     "the file is not what was signed",
		"detached.csv.asc":   "a signature without what was signed; sign it with the registered key (gpg --sign FILE, or gpg --clearsign FILE)",
		"detached.csv.sig":   "a signature without what was signed",
		"encrypted.csv.pgp":  "encrypted and nobody signed it; sign and encrypt it in one step",
		"elsewhere.csv.pgp":  "encrypted to another key than the workspace's",
		"packed.csv.pgp":     "packed by PGP and nobody signed it",
		"two.csv.asc":        "there are 2, and one is taken",
		"late.csv.asc":       "a signature counts for 90 days (intake.duplicate_days): an older file may be a repetition",
		"ahead.csv.asc":      "later than now",
		"twice.csv.asc":      "what was signed is itself clear-signed text",
		"cut.csv.asc":        "cut or changed on its way",
		"longer.csv.asc":     "something follows it",
		"plain.csv.asc":      "the file is called .asc and nothing in it is signed",
		"key.asc":            "PGP and no message that could be read",
		"passphrase.csv.gpg": "cut or changed on its way, or is encrypted to another key",
	}
	bytesOf := map[string][]byte{}
	for name := range says {
		bytesOf[name] = b.read("inbox/" + name)
	}
	b.checkSaysWhatRunSays(t, func(r *Result) {
		if r.Exit != 4 || r.Accepted != 1 || r.Refused != int64(len(says)) {
			t.Errorf("exit %d, accepted %d, refused %d of %d", r.Exit, r.Accepted, r.Refused, len(says))
		}
	})
	for name, want := range says {
		t.Run(name, func(t *testing.T) {
			b := *b
			b.TB = t
			rows := b.result("refused", name)
			if len(rows) != 1 || rows[0]["row"] != "0" || rows[0]["class"] != "400" || rows[0]["code"] != "file_signature_invalid" {
				t.Fatalf("%v", rows)
			}
			if !strings.Contains(rows[0]["message"], want) {
				t.Errorf("it says %q", rows[0]["message"])
			}
			if kept := b.kept("refused", name); !bytes.Equal(kept, bytesOf[name]) {
				t.Errorf("%d bytes are kept of %d", len(kept), len(bytesOf[name]))
			}
		})
	}
}

// Where signatures are demanded, a file without one is refused with how to sign.
func TestUnsignedFilesAreRefusedWhereSignaturesAreRequired(t *testing.T) {
	b, g, anna := signedBench(t, 2)
	b.people(g, somebody{"anna", "", anna, mayAskAll})
	b.configure("signatures: optional", "signatures: required")
	b.drop("a.csv", "card_id\n1\n")
	b.drop("b.csv.asc", g.sign(anna, "card_id\n2\n", "--clearsign"))
	b.checkSaysWhatRunSays(t, nil)
	b.want(b.codes("refused", "a.csv"), "file_signature_invalid")
	b.want(b.codes("done", "b.csv.asc"), "00")
	if said := b.result("refused", "a.csv")[0]["message"]; !strings.Contains(said, "gpg --clearsign") {
		t.Errorf("it says %q", said)
	}
}

// The content is what was signed: the same signed again, in another form, with other line ends, or not signed at all, is the same file.
func TestTheSameContentIsADuplicateHoweverItIsSigned(t *testing.T) {
	b, g, anna := signedBench(t, 1)
	b.people(g, somebody{"anna", "", anna, mayAskAll})
	sheet := "card_id\n1\n"
	b.drop("1.csv.pgp", g.sign(anna, sheet, "--sign"))
	b.run()
	b.want(b.codes("done", "1.csv.pgp"), "00")
	b.now = b.now.AddDate(0, 0, 30) // the card may be made again, the file may not
	later := g.at(b.now)
	b.drop("2.csv.pgp", later.sign(anna, sheet, "--armor", "--sign"))
	b.drop("3.csv", sheet)
	b.drop("4.csv.pgp", later.sign(anna, "card_id\r\n1\r\n", "--textmode", "--sign"))
	b.run()
	for _, name := range []string{"2.csv.pgp", "3.csv", "4.csv.pgp"} {
		b.want(b.codes("refused", name), "duplicate_file")
	}
}

// A signed file that somebody kept is done once, however long he waited: while its content is known it is a duplicate, and then it is too old.
func TestASignedFileIsDoneOnceForEver(t *testing.T) {
	b, g, anna := signedBench(t, 1)
	b.people(g, somebody{"anna", "", anna, mayAskAll})
	ahead := g.at(b.now.Add(5*time.Minute)).sign(anna, "card_id\n1\n", "--clearsign") // as far ahead as a clock may be
	b.drop("a.csv.asc", ahead)
	b.run()
	b.want(b.codes("done", "a.csv.asc"), "00")
	first := b.now
	for i, wait := range []time.Duration{-time.Second, 0, time.Second, 5 * time.Minute, 6 * time.Minute} {
		b.now = first.AddDate(0, 0, 90).Add(wait)
		name := fmt.Sprintf("again-%d.csv.asc", i)
		b.drop(name, ahead)
		if r := b.run(); r.Accepted != 0 {
			t.Errorf("%v after the window the file was done again", wait)
		}
		if code := b.codes("refused", name)[0]; code != "duplicate_file" && code != "file_signature_invalid" {
			t.Errorf("%v after the window: %s", wait, code)
		}
	}
}

// What was proved when the file was checked is proved again when it is decided.
func TestASignedFileThatChangesAfterItsCheckIsNotDecided(t *testing.T) {
	b, g, anna := signedBench(t, 3)
	ben := g.at(b.now.AddDate(-1, 0, 0)).key("ben", "ed25519", "3y")
	b.people(g, somebody{"anna", "", anna, mayAskAll}, somebody{"ben", "", ben, mayAskAll})
	changes := map[string]string{
		"a.csv.asc": "card_id\n1\n", // in clear
		"b.csv.asc": strings.Replace(g.sign(anna, "card_id\n2\n", "--clearsign"), "\n2\n", "\n1\n", 1),
		"c.csv.asc": g.sign(ben, "card_id\n3\n", "--clearsign"), // the same content of another person
	}
	for i, name := range []string{"a.csv.asc", "b.csv.asc", "c.csv.asc"} {
		b.drop(name, g.sign(anna, fmt.Sprintf("card_id\n%d\n", i+1), "--clearsign"))
	}
	r := b.run(func(n *Night) {
		n.Checkpoint = func(point string) {
			if point != "stage/decide" {
				return
			}
			files, err := n.Ledger.OpenFiles(context.Background())
			if err != nil || len(files) != 3 {
				t.Fatalf("%d files, %v", len(files), err)
			}
			for _, f := range files {
				if err := os.WriteFile(n.Path(f.Intake), []byte(changes[f.Name]), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	if r.Accepted != 0 {
		t.Errorf("%d rows were accepted of files that were changed", r.Accepted)
	}
	b.run()
	b.want(b.codes("refused", "a.csv.asc"), "file_signature_invalid")
	b.want(b.codes("refused", "b.csv.asc"), "file_signature_invalid")
	b.want(b.codes("done", "c.csv.asc"), "00") // it is ben's now, and he may
	if said := b.audited("file.checked")["c.csv.asc"]; !strings.Contains(said, "signed by ben") {
		t.Errorf("the audit log says %q", said)
	}
}

// A signed file in which the index knows a card number is kept sealed, whatever form its clear text has; so is one that is refused and cannot be looked into.
func TestASignedFileWithACardNumberIsKeptSealed(t *testing.T) {
	b, g, anna := signedBench(t, 2)
	b.people(g, somebody{"anna", "", anna, mayAskAll})
	number := b.number(1)
	for name, args := range map[string][]string{"a.csv.asc": {"--clearsign"}, "b.csv.pgp": {"--sign"}} {
		b.drop(name, g.sign(anna, "card_id,note\n1,"+number+" "+name+"\n", args...))
	}
	b.drop("c.csv.pgp", g.sign(anna, "note\n"+number+"\n", "--sign"))
	b.run()
	for name, folder := range map[string]string{"a.csv.asc": "done", "b.csv.pgp": "done", "c.csv.pgp": "refused"} {
		if paths, _ := filepath.Glob(b.Path(folder, "*", name+".pgp")); len(paths) != 1 {
			t.Errorf("%s is not sealed: %v", name, paths)
		}
		if paths, _ := filepath.Glob(b.Path(folder, "*", name)); len(paths) != 0 {
			t.Errorf("%s lies in clear: %v", name, paths)
		}
	}
	for _, pattern := range []string{"done/*/*.result.csv", "refused/*/*.result.csv", "reports/*/*"} {
		paths, _ := filepath.Glob(b.Path(pattern))
		for _, path := range paths {
			if text, err := os.ReadFile(path); err != nil || bytes.Contains(text, []byte(number)) {
				t.Errorf("%s holds a card number (%v)", filepath.Base(path), err)
			}
		}
	}
}

// A key that cannot be read stops nobody else's file.
func TestAKeyThatIsGoneStopsOnlyItsOwner(t *testing.T) {
	b, g, anna := signedBench(t, 2)
	ben := g.at(b.now.AddDate(-1, 0, 0)).key("ben", "ed25519", "3y")
	b.people(g, somebody{"anna", "", anna, mayAskAll}, somebody{"ben", "", ben, mayAskAll})
	b.drop("a.csv.asc", g.sign(anna, "card_id\n1\n", "--clearsign"))
	b.drop("b.csv.asc", g.sign(ben, "card_id\n2\n", "--clearsign"))
	if err := os.Remove(b.Path("keys/ben.asc")); err != nil {
		t.Fatal(err)
	}
	r := b.run()
	b.want(b.codes("done", "a.csv.asc"), "00")
	b.want(b.codes("refused", "b.csv.asc"), "file_signature_invalid")
	if said := b.result("refused", "b.csv.asc")[0]["message"]; !strings.Contains(said, "the key of ben could not be read") {
		t.Errorf("it says %q", said)
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "the key of ben in people is not used") {
		t.Errorf("the report notes %q", notes)
	}
}

// A night with signed files and a limit dies at each of its points and begins again: the limit is neither passed nor lost.
func TestASignedFileOfAKilledNightIsAnsweredAsIfNothingHadHappened(t *testing.T) {
	for _, c := range []struct {
		point string
		visit int
	}{
		{"intake/claiming", 1}, {"intake/renamed", 1}, {"stage/decide", 0}, {"decide/commit", 0}, {"decide/committed", 0}, {"decide/commit", 1},
		{"decide/committed", 1}, {"decide/commit", 3}, {"decide/committed", 3}, {"stage/write", 0}, {"answer/placed", 0}, {"answer/result", 0}, {"answer/moved", 0}, {"answer/moved", 1},
	} {
		t.Run(fmt.Sprint(strings.ReplaceAll(c.point, "/", ":"), c.visit), func(t *testing.T) {
			b, g, anna := signedBench(t, 12)
			b.people(g, somebody{"anna", "", anna, mayAskAll + ", max_cards: 7"})
			b.drop("a.csv.asc", g.sign(anna, "card_id\n1\n2\n77\n3\n4\n5\n", "--clearsign"))
			b.drop("b.csv.pgp", g.sign(anna, "card_id\n6\n7\n8\n", "--sign"))
			if !b.runKilledAt(c.point, c.visit) {
				t.Fatalf("the night does not pass %s", c.point)
			}
			b.run(func(n *Night) { n.chunk = 2 })
			b.want(b.codes("done", "a.csv.asc"), "00", "00", "card_not_found", "00", "00", "00")
			b.want(b.codes("done", "b.csv.pgp"), "00", "00", "submitter_not_allowed")
		})
	}
}

// The first byte of Ä could begin a packet of PGP; the text after it is none.
func TestATitleWithAnUmlautIsNoMessage(t *testing.T) {
	b, _, _ := signedBench(t, 1)
	path := filepath.Join(b.InboxCards(), "cards.csv")
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append([]byte("Änderungen,,\n"), text...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.drop("a.csv", "Änderungen\ncard_id\n1\n")
	b.run()
	b.want(b.codes("done", "a.csv"), "00")
}
