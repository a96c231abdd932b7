package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/charmap"

	"reemboss/batch"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

// realReturns are bureaus behind OpenSSH that answer. What alpha sends is
// signed and sealed by GnuPG and moved aside once we have it; what beta sends
// is plain and removed.
type realReturns struct {
	*realNight
	alpha, beta []string // uids that they got
	clock       time.Time
}

// The folders at the server. That of alpha has a name that an operator there may well give.
const (
	alphaReturns = "alpha/Rückläufe neu"
	alphaDone    = "alpha/erledigt"
	betaReturns  = "beta-returns"
)

func TestReturnsAgainstTheRealThings(t *testing.T) {
	needReal(t, "gpg", "/usr/sbin/sshd", "/usr/lib/openssh/sftp-server", "ssh-keygen")
	n := &realReturns{realNight: &realNight{workspace: newWorkspace(t), gpg: newRealGPG(t)}, clock: time.Now().Add(-time.Hour).Truncate(time.Second)}
	n.cards = realCards(t, 28, time.Now())
	n.furnish(t)
	n.answerBack(t)
	n.sendCards(t)
	// Each goes on where the one before ended.
	for _, step := range []struct {
		name string
		test func(*testing.T)
	}{
		{"what GnuPG sealed and signed is taken", n.sealedReturn},
		{"what is not the bureau's word changes nothing", n.notTheirWord},
		{"what was cut short is taken once it is whole", n.wholeAtLast},
		{"a signing subkey of a key of its own", n.signingSubkey},
	} {
		if !t.Run(step.name, step.test) {
			t.FailNow()
		}
	}
}

// answerBack makes the folders and tells the configuration of them.
func (n *realReturns) answerBack(t *testing.T) {
	t.Helper()
	for _, folder := range []string{alphaReturns, alphaDone, betaReturns} {
		if err := os.MkdirAll(n.at(folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	n.configureBureau("alpha", "dir: returns ", `dir: "`+n.at(alphaReturns)+`" `)
	n.configureBureau("alpha", "after: leave", "after: move")
	n.configureBureau("alpha", `move_to: ""`, `move_to: "`+n.at(alphaDone)+`"`)
	n.configureBureau("alpha", "sealed: false", "sealed: true")
	n.configureBureau("beta", "returns: {dir: returns}", `returns: {dir: "`+n.at(betaReturns)+`", after: remove}`)
	n.do(exitComplete, "config", "check")
}

// at is a place in the server's folder.
func (n *realReturns) at(path string) string { return filepath.Join(n.server.home, path) }

// sendCards works the night that gives both bureaus their cards.
func (n *realReturns) sendCards(t *testing.T) {
	t.Helper()
	n.write("inbox/cards/cards.csv", realExtract(t, n.cards))
	rows := []string{"card_id,reference"}
	for _, c := range n.cards {
		rows = append(rows, c.id+",R-"+c.id)
	}
	n.write("inbox/again.csv", lines(rows...))
	n.night(exitComplete)
	n.alpha, n.beta = n.outstanding("alpha"), n.outstanding("beta")
	if len(n.alpha) < 6 || len(n.beta) < 6 {
		t.Fatalf("alpha got %d cards, beta %d", len(n.alpha), len(n.beta))
	}
}

// drop puts a file into a folder of the server. Each is a minute younger than the one before.
func (n *realReturns) drop(t *testing.T, folder, name string, content []byte) {
	t.Helper()
	writeReal(t, n.at(filepath.Join(folder, name)), content)
	n.clock = n.clock.Add(time.Minute)
	if err := os.Chtimes(n.at(filepath.Join(folder, name)), n.clock, n.clock); err != nil {
		t.Fatal(err)
	}
}

// lying are the files in a folder of the server, sorted.
func (n *realReturns) lying(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(n.at(folder))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// same holds two lists of names against each other in any order.
func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if d := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))); d != "" {
		t.Errorf("%s: %s", what, d)
	}
}

func (n *realReturns) fileOf(bureau string) string {
	return filepath.Base(n.one("outbox/" + bureau + "/*"))
}

// told is a line on a card.
func (n *realReturns) told(bureau string, uid, status, code string) string {
	return cardLine(n.fileOf(bureau), uid, status, code, n.clock)
}

// sealed is what gpg makes of a return file for the issuer; by is whose signature, "" for none.
func (n *realReturns) sealed(t *testing.T, by string, clear []byte, further ...string) []byte {
	t.Helper()
	return n.sealedTo(t, n.issuer(t), by, clear, further...)
}

func (n *realReturns) sealedTo(t *testing.T, to, by string, clear []byte, further ...string) []byte {
	t.Helper()
	args := append([]string{"--recipient", to, "--encrypt"}, further...)
	if by != "" {
		args = append(args, "--local-user", by, "--sign")
	}
	out, _ := n.gpg.run(t, clear, args...)
	return out
}

// state is where an order is.
func (n *realReturns) state(t *testing.T, uid string) (state ledger.OrderState) {
	t.Helper()
	n.inside(func(night *batch.Night) {
		found, err := night.Ledger.Shipments(t.Context(), []string{uid})
		if err != nil || found[uid] == nil {
			t.Fatalf("order %s: %v", uid, err)
		}
		state = found[uid].State
	})
	return state
}

// verdicts are state and code of each return file of a night, by name.
func verdicts(r *report.Reconciliation) map[string]string {
	all := map[string]string{}
	for _, f := range r.Returns {
		all[f.Bureau+" "+f.Name] += strings.TrimSpace(string(f.State)+" "+f.Code) + ";"
	}
	return all
}

const firstReturn = "Rücklauf Nr 1.csv.pgp"

func (n *realReturns) sealedReturn(t *testing.T) {
	clear := returnFile(fileLine(n.fileOf("alpha"), "RECEIVED", len(n.alpha), n.clock), n.told("alpha", n.alpha[0], "REJECTED", "E07"), n.told("alpha", n.alpha[1], "SHIPPED", ""))
	content := n.sealed(t, "alpha", clear)
	n.drop(t, alphaReturns, firstReturn, content)

	told := []string{strings.Replace(n.told("beta", n.beta[0], "REJECTED", "E11"), "E11,", `E11,"Rohling „Weiß“; für März"`, 1)}
	for _, uid := range n.beta[1:] {
		told = append(told, n.told("beta", uid, "ACKED", ""))
	}
	western, err := charmap.Windows1252.NewEncoder().String(strings.ReplaceAll(string(returnFile(told...)), "\n", "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	n.drop(t, betaReturns, "Antwort für März.csv", []byte(western))

	r := n.night(exitComplete)
	balanced(t, r)
	if d := cmp.Diff(map[string]string{"alpha " + firstReturn: "APPLIED;", "beta Antwort für März.csv": "APPLIED;"}, verdicts(r)); d != "" {
		t.Error(d)
	}
	for bureau, sent := range map[string][]string{"alpha": n.alpha, "beta": n.beta} {
		f := bureauFile(t, r, bureau, 1)
		if f.Sent != int64(len(sent)) || f.Acknowledged != f.Sent-1 || f.Rejected != 1 || f.Outstanding != 0 {
			t.Errorf("%s: sent %d, acknowledged %d, rejected %d, outstanding %d", bureau, f.Sent, f.Acknowledged, f.Rejected, f.Outstanding)
		}
	}
	for uid, want := range map[string]ledger.OrderState{n.alpha[0]: ledger.Rejected, n.alpha[1]: ledger.Shipped, n.alpha[2]: ledger.Acked, n.beta[0]: ledger.Rejected, n.beta[1]: ledger.Acked} {
		if got := n.state(t, uid); got != want {
			t.Errorf("%s is %s, want %s", uid, got, want)
		}
	}
	if signer := r.Returns[0].SignedBy; !strings.EqualFold(signer, n.gpg.fingerprint(t, "alpha")) {
		t.Errorf("the report says that it is signed by %q", signer)
	}
	same(t, "moved aside at alpha", n.lying(t, alphaDone), firstReturn)
	same(t, "left at alpha", n.lying(t, alphaReturns))
	same(t, "left at beta", n.lying(t, betaReturns))
	if !bytes.Equal(readReal(t, n.at(alphaDone+"/"+firstReturn)), content) || !bytes.Equal(n.read("returns/alpha", firstReturn), content) {
		t.Error("what alpha sent is not kept as it came, there and here")
	}
	if string(n.read("returns/beta/Antwort für März.csv")) != western {
		t.Error("what beta sent is not kept as it came")
	}
	same(t, "held between", n.glob("state/returns/*"))
}

// notTheirWord puts everything into alpha's folder that must not count. Each would have the card delivered that was shipped.
func (n *realReturns) notTheirWord(t *testing.T) {
	delivered := returnFile(n.told("alpha", n.alpha[1], "DELIVERED", ""))
	n.gpg.key(t, "mallory <mallory@example.org>", "ed25519", "cv25519")
	again := n.read("returns/alpha", firstReturn)
	changed := n.sealed(t, "alpha", delivered)
	changed[len(changed)-10] ^= 0x20
	whole := n.sealed(t, "alpha", delivered, "--compress-algo", "none")
	before := map[string][]byte{
		firstReturn:            again,
		"1 copy.csv.pgp":       again,
		"2 mallory.csv.pgp":    n.sealed(t, "mallory", delivered),
		"3 beta.csv.pgp":       n.sealed(t, "beta", delivered),
		"4 nobody.csv.pgp":     n.sealed(t, "", delivered),
		"5 plain.csv":          delivered,
		"6 changed.csv.pgp":    changed,
		"7 elsewhere.csv.pgp":  n.sealedTo(t, "mallory", "alpha", delivered),
		"8 other file.csv.pgp": n.sealed(t, "alpha", returnFile(cardLine(n.fileOf("beta"), n.beta[1], "DELIVERED", "", n.clock))),
		"9 count.csv.pgp":      n.sealed(t, "alpha", bytes.Replace(delivered, []byte(",1,,,,,\n"), []byte(",2,,,,,\n"), 1)),
		"cut 1.csv.pgp":        whole[:len(whole)-1],
		"cut 2.csv.pgp":        whole[:len(whole)/2],
		"cut 3.csv.pgp":        whole[:9],
		"cut 4.csv.pgp":        n.sealed(t, "alpha", delivered[:bytes.Index(delivered, []byte("TRAILER"))]),
		"cut 5.csv.pgp":        nil,
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		n.drop(t, alphaReturns, name, before[name])
	}
	old := time.Now().Add(-50 * time.Hour)
	if err := os.Chtimes(n.at(alphaReturns+"/cut 2.csv.pgp"), old, old); err != nil {
		t.Fatal(err)
	}
	n.drop(t, "elsewhere", "secret.csv.pgp", n.sealed(t, "alpha", delivered))
	if err := os.Symlink(n.at("elsewhere/secret.csv.pgp"), n.at(alphaReturns+"/link.csv.pgp")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(n.at(alphaReturns+"/pipe.csv.pgp"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(n.at(alphaReturns+"/folder.csv.pgp"), 0o700); err != nil {
		t.Fatal(err)
	}

	r := n.night(exitPerson)
	balanced(t, r)
	want := map[string]string{
		"alpha " + firstReturn: "REPEATED;", "alpha 1 copy.csv.pgp": "REPEATED;",
		"alpha 2 mallory.csv.pgp": "QUARANTINED signature;", "alpha 3 beta.csv.pgp": "QUARANTINED signature;", "alpha 4 nobody.csv.pgp": "QUARANTINED signature;",
		"alpha 5 plain.csv": "QUARANTINED not_sealed;", "alpha 6 changed.csv.pgp": "QUARANTINED seal_broken;", "alpha 7 elsewhere.csv.pgp": "QUARANTINED seal_broken;",
		"alpha 8 other file.csv.pgp": "QUARANTINED other_bureau;", "alpha 9 count.csv.pgp": "QUARANTINED contradicts;",
	}
	if d := cmp.Diff(want, verdicts(r)); d != "" {
		t.Error(d)
	}
	if got := n.state(t, n.alpha[1]); got != ledger.Shipped {
		t.Errorf("the card is %s", got)
	}
	if got := n.state(t, n.beta[1]); got != ledger.Acked {
		t.Errorf("beta's card is %s", got)
	}
	same(t, "left at alpha", n.lying(t, alphaReturns), "cut 1.csv.pgp", "cut 2.csv.pgp", "cut 3.csv.pgp", "cut 4.csv.pgp", "cut 5.csv.pgp", "folder.csv.pgp", "link.csv.pgp", "pipe.csv.pgp")
	same(t, "moved aside at alpha", n.lying(t, alphaDone), firstReturn, "Rücklauf Nr 1-2.csv.pgp", "1 copy.csv.pgp", "2 mallory.csv.pgp", "3 beta.csv.pgp", "4 nobody.csv.pgp",
		"5 plain.csv", "6 changed.csv.pgp", "7 elsewhere.csv.pgp", "8 other file.csv.pgp", "9 count.csv.pgp")
	for file := range want {
		name := strings.TrimPrefix(file, "alpha ")
		if !strings.HasPrefix(want[file], "QUARANTINED") {
			continue
		}
		if !bytes.Equal(n.read("returns/alpha/quarantine", name), before[name]) {
			t.Errorf("%s is not kept as it came", name)
		}
		if reason := table(t, n.read("returns/alpha/quarantine", name+".result.csv")); reason[0]["code"] == "" || !strings.Contains(reason[0]["message"], ".") {
			t.Errorf("%s: the reason beside it is %v", name, reason)
		}
		if !askedAbout(r, name, "reemboss settle") {
			t.Errorf("nobody is asked about %s", name)
		}
	}
	if !askedAbout(r, "cut 2.csv.pgp", "") || askedAbout(r, "cut 1.csv.pgp", "") {
		t.Error("a person is to hear of the file that has been cut short for two days, and of no other")
	}
}

// askedAbout: a person is asked about a return file and told the command.
func askedAbout(r *report.Reconciliation, name, command string) bool {
	return slices.ContainsFunc(r.NeedsPerson, func(need report.Need) bool {
		return strings.Contains(need.What, name) && strings.HasPrefix(need.Command, command)
	})
}

func (n *realReturns) wholeAtLast(t *testing.T) {
	n.drop(t, alphaReturns, "cut 1.csv.pgp", n.sealed(t, "alpha", returnFile(n.told("alpha", n.alpha[1], "DELIVERED", ""))))
	n.drop(t, alphaReturns, "cut 4.csv.pgp", n.sealed(t, "alpha", returnFile(n.told("alpha", n.alpha[2], "RETURNED", "R01")), "--armor"))
	// The first one's name again, and other content.
	n.drop(t, alphaReturns, firstReturn, n.sealed(t, "alpha", returnFile(n.told("alpha", n.alpha[3], "LOST", ""))))
	r := n.night(exitPerson) // what is in quarantine waits for a person
	balanced(t, r)
	if d := cmp.Diff(map[string]string{"alpha cut 1.csv.pgp": "APPLIED;", "alpha cut 4.csv.pgp": "APPLIED;", "alpha " + firstReturn: "APPLIED;"}, verdicts(r)); d != "" {
		t.Error(d)
	}
	for uid, want := range map[string]ledger.OrderState{n.alpha[1]: ledger.Delivered, n.alpha[2]: ledger.Returned, n.alpha[3]: ledger.Lost} {
		if got := n.state(t, uid); got != want {
			t.Errorf("%s is %s, want %s", uid, got, want)
		}
	}
	same(t, "left at alpha", n.lying(t, alphaReturns), "cut 2.csv.pgp", "cut 3.csv.pgp", "cut 5.csv.pgp", "folder.csv.pgp", "link.csv.pgp", "pipe.csv.pgp")
	if kept := n.glob("returns/alpha/Rücklauf Nr 1*.csv.pgp"); len(kept) != 2 {
		t.Errorf("of the name that came with two contents there is kept %q", kept)
	}
}

// signingSubkey has beta sign with a key that it is not encrypted to, and of that with a subkey, as GnuPG's own advice has it.
func (n *realReturns) signingSubkey(t *testing.T) {
	fingerprint, _ := n.gpg.key(t, "beta signs <returns@beta.example.org>", "rsa3072", "rsa3072")
	n.gpg.run(t, nil, "--quick-add-key", fingerprint, "ed25519", "sign", "1y")
	public, _ := n.gpg.run(t, nil, "--armor", "--export", fingerprint)
	n.write("keys/bureaus/beta-signs.asc", public)
	n.configureBureau("beta", "after: remove}", "after: remove, sealed: true, signer: {key_file: keys/bureaus/beta-signs.asc, fingerprint: "+fingerprint+"}}")
	n.do(exitComplete, "config", "check")
	told := returnFile(n.told("beta", n.beta[1], "PRODUCED", ""))
	n.drop(t, betaReturns, "subkey.csv.pgp", n.sealed(t, fingerprint, told))
	n.drop(t, betaReturns, "other key.csv.pgp", n.sealed(t, "beta <beta@example.org>", returnFile(n.told("beta", n.beta[2], "PRODUCED", ""))))
	r := n.night(exitPerson)
	if d := cmp.Diff(map[string]string{"beta subkey.csv.pgp": "APPLIED;", "beta other key.csv.pgp": "QUARANTINED signature;"}, verdicts(r)); d != "" {
		t.Error(d)
	}
	if produced, not := n.state(t, n.beta[1]), n.state(t, n.beta[2]); produced != ledger.Produced || not != ledger.Acked {
		t.Errorf("the cards are %s and %s", produced, not)
	}
	same(t, "left at beta", n.lying(t, betaReturns))
}
