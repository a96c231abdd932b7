package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"reemboss/batch"
	"reemboss/batch/hsm"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/formats/layout"
	"reemboss/testdata/proof"
)

// crashes is a prepared workspace, its bureaus in the process of the test, and how the night in it ends when nothing
// happens. A process that is killed leaves them what it sent, as it would leave a bureau at the other end of a line.
type crashes struct {
	prepared   *workspace
	requests   map[string][]byte
	operations []string // of the undisturbed night
	want       *report.Reconciliation
	books      string
	answers    []string
	exit       int
}

// prepareCrashes makes the smallest night in which everything happens: return files of the night before, an extract,
// requests of both kinds with good and bad rows, one with a card number in it, a refused file, a file that a person
// approved, one that waits for approval, files for two bureaus and the card system.
func prepareCrashes(t *testing.T) *crashes {
	t.Helper()
	w := newWorkspace(t)
	w.program = withoutRaceDetector(t)
	w.silent()
	w.configureBureau("alpha", "max_records: 0", "max_records: 4")
	w.configureBureau("alpha", "after: leave", "after: remove")
	w.configureBureau("beta", "returns: {dir: returns}", "returns: {dir: returns, after: move, move_to: returns/done}\n    approval: {always: true}")
	w.configure("people: {}", `people: {ben: {login: ben, approves: {bureaus: ["*"]}}}`)
	extract, cards := sampleCards(t, 30)
	w.write("inbox/cards/cards.csv", extract)
	w.reembossFile("first.csv", cards[0], cards[1], cards[2], cards[3])
	w.approved(w.night(exitPerson))

	at := func(minutes int) time.Time { return time.Now().Add(time.Duration(minutes) * time.Minute) }
	w.answer("alpha", "a.csv", w.fileTold("alpha", 1, "RECEIVED", at(0)), w.told(cards[0], "SHIPPED", ",,DHL,0034-0434", at(2)),
		w.told(cards[0], "RETURNED", "R1,moved away,,", at(3)), w.told(cards[2], "REJECTED", "012,no such plastic,,", at(1)), "CARD,not so,many fields")
	more, _, _ := bytes.Cut(extract, []byte("\n"))
	w.write("inbox/cards/more.csv", append(more, "\n"+strings.Split(string(extract), "\n")[3]+"\n"...))
	c := &crashes{prepared: w, requests: map[string][]byte{
		"a-again.csv": lines("Card ID;Reference;Remark", cards[4].id+";A-4;", cards[5].id+";A-5;", cards[5].id+";A-5;", "99;A-6;no such card", cards[19].id+";A-7;not on demand"),
		"b-replace.csv": lines("card_id,user_id,reason_code", cards[0].id+","+cards[0].customer+",returned", cards[2].id+","+cards[2].customer+",damaged",
			cards[6].id+","+cards[6].customer+",lost", cards[7].id+","+cards[7].customer+",fraud", cards[8].id+","+cards[8].customer+",expired", cards[3].id+","+cards[3].customer+",damaged"),
		"d-number.csv":  lines("card_id,remark", cards[11].id+",the number is "+cards[12].pan),
		"e-nothing.csv": lines("first,second", "1,2"),
	}}
	for name, content := range c.requests {
		w.write("inbox/"+name, content)
	}
	for _, name := range []string{"alpha", "beta"} {
		w.configureBureau(name, "simulator: true", "simulator: false")
	}

	quiet := w.copyOf(t)
	list := filepath.Join(t.TempDir(), "operations")
	r := quiet.meetsBureaus(t, "REEMBOSS_OPERATIONS="+list)
	c.exit = r.exit
	names, err := os.ReadFile(list)
	if err != nil {
		t.Fatalf("exit %d: %v\n%s", r.exit, err, r.stderr)
	}
	c.operations = strings.Split(strings.TrimSpace(string(names)), "\n")
	c.want, c.books, c.answers = lastReport(t, quiet.Dir), quiet.books(), quiet.answered()
	if c.exit != exitPerson || c.want.Accepted == 0 || c.want.Refused == 0 || c.want.Duplicate == 0 || c.want.Waiting == 0 || len(c.want.Files) < 3 {
		t.Fatalf("exit %d, %+v", c.exit, c.want)
	}
	c.holds(quiet)
	return c
}

// approved releases what the night holds, as somebody who did not ask for it.
func (w *workspace) approved(r *report.Reconciliation) {
	w.tb.Helper()
	n, err := batch.Open(context.Background(), w.Dir, batch.Options{Lock: true, Log: zerolog.Nop()})
	if err != nil {
		w.tb.Fatal(err)
	}
	defer n.Close()
	n.Login = func() (string, error) { return "ben", nil }
	for _, f := range r.Files {
		if f.Hold != nil {
			if _, err := n.Approve(context.Background(), f.Name, "looked at"); err != nil {
				w.tb.Fatal(err)
			}
		}
	}
}

// meetsBureaus starts a run while the bureaus are there.
func (w *workspace) meetsBureaus(t *testing.T, env ...string) ended {
	t.Helper()
	return w.commandMeetsBureaus(t, []string{"run"}, env...)
}

func (w *workspace) commandMeetsBureaus(t *testing.T, command []string, env ...string) ended {
	t.Helper()
	n, err := batch.Open(context.Background(), w.Dir, batch.Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	var dialed []string
	for _, name := range []string{"alpha", "beta"} {
		sim, err := n.NewSimulator(name, nil)
		if err == nil {
			err = sim.Start(context.Background(), "127.0.0.1:0")
		}
		if err != nil {
			t.Fatal(err)
		}
		defer sim.Close()
		dialed = append(dialed, name+".simulator:22="+sim.Addr())
	}
	if err := n.Close(); err != nil { // a ledger that nobody else has open
		t.Fatal(err)
	}
	return w.start(append(env, "REEMBOSS_DIAL="+strings.Join(dialed, ",")), append([]string{"--dir", w.Dir}, command...)...)
}

// ends works nights until nothing is killed any more, and wants the promises kept.
func (c *crashes) ends(t *testing.T, w *workspace) {
	t.Helper()
	r := w.meetsBureaus(t)
	// It had ended when it was killed: then the next run has nothing to do but the same to tell.
	if r.exit != c.exit {
		t.Fatalf("started again: exit %d, want %d\n%s%s", r.exit, c.exit, r.stdout, r.stderr)
	}
	c.holds(w)
}

// holds checks all that must hold after any fault (docs/reliability.md), by their numbers.
func (c *crashes) holds(w *workspace) {
	w.tb.Helper()
	w.sameTotals(c.want)
	w.sameBooks(c.books)
	c.keeps(w)
}

// endsTold is ends for a night that met a fault and went on to its end without what the fault forbade: a person is told, and
// the next run does it.
func (c *crashes) endsTold(t *testing.T, w *workspace) {
	t.Helper()
	if told := len(w.reportOf(c.want.RunID).NeedsPerson); told <= len(c.want.NeedsPerson) {
		t.Errorf("7: %d things need a person, as without the fault", told)
	}
	if r := w.meetsBureaus(t); r.exit != c.exit {
		t.Fatalf("the next run: exit %d, want %d\n%s%s", r.exit, c.exit, r.stdout, r.stderr)
	}
	c.keeps(w)
}

// keeps checks what must hold whichever run did the work.
func (c *crashes) keeps(w *workspace) {
	w.tb.Helper()
	balanced(w.tb, w.reportOf(c.want.RunID)) // 1
	if answers := w.answered(); !slices.Equal(answers, c.answers) {
		w.tb.Errorf("1: the answers are\n%s\nwant\n%s", strings.Join(answers, "\n"), strings.Join(c.answers, "\n"))
	}
	cards := w.delivered()
	w.everyOrderIsInItsFile(cards) // 2, 9
	w.sequencesHaveNoGap(cards)    // 3
	w.digestsAreThePlanned()       // 4
	w.nothingClear(cards)          // 5
	w.whatIsSentHasEvidence()      // 7
	w.requestsAreWhole(c.requests) // 8
	for path := range w.files("outbox", "simulator", "done", "refused", "returns", "reports", "state", "keys") {
		if strings.Contains(path, ".reemboss-tmp-") || strings.HasSuffix(path, ".part") {
			w.tb.Errorf("%s was left by a process that died", path)
		}
	}
	if left := w.files("state/intake", "inbox"); len(left) > 0 {
		w.tb.Errorf("8: left behind: %q", slices.Sorted(maps.Keys(left)))
	}
	c.changesNothingMore(w) // 6
}

// answered is each row's answer, without what differs from one try to the next.
func (w *workspace) answered() (all []string) {
	w.tb.Helper()
	for name, rows := range w.results() {
		for _, row := range rows {
			all = append(all, strings.Join([]string{name, row["sheet"], row["row"], row["outcome"], row["code"], row["all_codes"], row["reissue_type_used"], row["bureau"], row["file_name"]}, " "))
		}
	}
	slices.Sort(all)
	return all
}

// everyOrderIsInItsFile holds what the bureaus have, card by card, against the plans of the ledger.
func (w *workspace) everyOrderIsInItsFile(cards []made) {
	w.tb.Helper()
	at, plastics := map[string]string{}, map[string]string{}
	for _, m := range cards {
		uid, plastic := m.Record[layout.UID], m.Record[layout.PAN]+"/"+m.Record[layout.PSN]
		if at[uid] != "" {
			w.tb.Errorf("2: order %s is in %s and in %s", uid, at[uid], m.file)
		}
		if plastics[plastic] != "" {
			w.tb.Errorf("9: orders %s and %s are for one PAN and PSN", plastics[plastic], uid)
		}
		at[uid], plastics[plastic] = m.file, uid
	}
	w.inside(func(n *batch.Night) {
		files, err := n.Ledger.BureauFiles(context.Background(), ledger.FileQuery{})
		if err != nil {
			w.tb.Fatal(err)
		}
		for _, f := range files {
			if f.Recipient == "card-system" {
				continue
			}
			err := n.Ledger.EachFileOrder(context.Background(), f.ID, func(o *ledger.Order) error {
				if at[o.UID] != f.Name {
					w.tb.Errorf("2: order %s was planned for %s and delivered in %q", o.UID, f.Name, at[o.UID])
				}
				delete(at, o.UID)
				return nil
			})
			if err != nil {
				w.tb.Fatal(err)
			}
		}
	})
	for uid, file := range at {
		w.tb.Errorf("2: order %s of %s is in no plan", uid, file)
	}
}

// digestsAreThePlanned opens every delivered file with its recipient's key.
func (w *workspace) digestsAreThePlanned() {
	w.tb.Helper()
	w.inside(func(n *batch.Night) {
		kek, err := hsm.LoadSecret(n.Config.Keys.Keyset, n.Dir)
		if err != nil {
			w.tb.Fatal(err)
		}
		keys, err := hsm.OpenKeyset(n.Keyset(), kek)
		if err != nil {
			w.tb.Fatal(err)
		}
		files, err := n.Ledger.BureauFiles(context.Background(), ledger.FileQuery{})
		if err != nil {
			w.tb.Fatal(err)
		}
		for _, f := range files {
			path, key := "simulator/"+f.Recipient+"/incoming/"+f.Name, "bureau.pgp"
			if f.Recipient == "card-system" {
				path, key = "outbox/card-system/"+f.Name, "card-system.pgp"
			}
			digest := keys.NewDigest("file")
			digest.Write(w.openAt(path, "simulator/"+f.Recipient+"/keys/"+key))
			if got := hex.EncodeToString(digest.Sum(nil)); got != f.PlainDigest {
				w.tb.Errorf("4: %s has the digest %s, its plan %s", f.Name, got, f.PlainDigest)
			}
		}
		if err := n.Ledger.VerifyAudit(context.Background()); err != nil {
			w.tb.Error(err)
		}
	})
}

// nothingClear searches all files for card numbers, and for the tracks and CVVs of the delivered cards. What its sender
// put into the inbox and nobody has taken in yet is the sender's.
func (w *workspace) nothingClear(cards []made) {
	w.tb.Helper()
	carried := newSecrets()
	for _, m := range cards {
		for _, field := range []layout.Field{layout.Track1, layout.Track2, layout.ChipTrack1, layout.ChipTrack2, layout.CVV2Face, layout.PANGrouped} {
			if v := m.Record[field]; len(v) >= 8 {
				carried.needles[v] = string(field) + " of card " + m.Record[layout.UID]
			}
		}
	}
	for path, content := range w.files(".") {
		if strings.HasPrefix(path, "inbox/") || strings.HasPrefix(path, "state/intake/") {
			continue
		}
		carried.search(path, []byte(content), func(place, what string) { w.tb.Errorf("5: %s: %s", place, what) })
	}
}

// changesNothingMore runs the finished night once more.
func (c *crashes) changesNothingMore(w *workspace) {
	w.tb.Helper()
	folders := []string{"simulator", "outbox", "done", "refused", "returns", "inbox", "keys"}
	before, marks := w.files(folders...), w.given()
	r := w.meetsBureaus(w.tb.(*testing.T))
	if r.exit != c.exit {
		w.tb.Errorf("6: run again: exit %d\n%s", r.exit, r.stderr)
	}
	sameFiles(w.tb, "6: a finished night, run again", before, w.files(folders...))
	if !maps.Equal(marks, w.given()) {
		w.tb.Error("6: a finished night, run again, moved the high-water marks")
	}
}

// killedAt starts a run that dies before its n-th operation; false: it ended before it came to it.
func (w *workspace) killedAt(t *testing.T, n int, command ...string) bool {
	t.Helper()
	if len(command) == 0 {
		command = []string{"run"}
	}
	r := w.commandMeetsBureaus(t, command, fmt.Sprintf("REEMBOSS_KILL_OP=%d", n))
	if !r.killed && r.exit != exitPerson && r.exit != exitComplete {
		t.Fatalf("it was to be killed at operation %d: exit %d\n%s%s", n, r.exit, r.stdout, r.stderr)
	}
	w.nothingClear(w.delivered()) // what has its final name is whole, always
	return r.killed
}

// Killed before any operation of the disk, the ledger or the network, a night ends as if nothing had happened.
func TestKilledAtEveryOperation(t *testing.T) {
	count := proof.Of(t, "crash points")
	c := prepareCrashes(t)
	t.Logf("%d operations", len(c.operations))
	for _, n := range proof.Chosen(proof.Numbers(len(c.operations))) {
		count.Try(t, fmt.Sprintf("%d: %s", n, strings.ReplaceAll(c.operations[n-1], "/", ":")), func(t *testing.T) {
			w := c.prepared.copyOf(t)
			if !w.killedAt(t, n) {
				count.Missed()
			}
			c.ends(t, w)
		})
	}
}

// Killed, and its recovery killed too, a night still ends the same.
func TestRecoveryKilledAtEveryOperation(t *testing.T) {
	count := proof.Of(t, "second crashes")
	c := prepareCrashes(t)
	first, second := len(c.operations)/24, len(c.operations)/17
	var pairs [][2]int
	for n := 1; n <= len(c.operations); n += first {
		for m := 1; m+n <= len(c.operations)+second; m += second { // the recovery of a night that was almost done is as short
			pairs = append(pairs, [2]int{n, m})
		}
	}
	for _, pair := range proof.Chosen(pairs) {
		count.Try(t, fmt.Sprintf("%d then %d", pair[0], pair[1]), func(t *testing.T) {
			w := c.prepared.copyOf(t)
			first := w.killedAt(t, pair[0])
			if second := w.killedAt(t, pair[1]); !first || !second {
				count.Missed()
			}
			c.ends(t, w)
		})
	}
}

// A repetition that is killed sends the same bytes under the same name, once, when the next run goes on with it.
func TestResendKilledAtEveryOperation(t *testing.T) {
	count := proof.Of(t, "crash points")
	w := newWorkspace(t)
	w.program = withoutRaceDetector(t)
	w.silent()
	w.smallNight()
	name := bureauFile(t, w.night(exitComplete), "alpha", 1).Name
	lost := "simulator/alpha/incoming/" + name
	content := w.read(lost)
	w.remove(lost)
	for _, bureauName := range []string{"alpha", "beta"} {
		w.configureBureau(bureauName, "simulator: true", "simulator: false")
	}
	resend := []string{"resend", name, "--reason", "they lost it"}
	list := filepath.Join(t.TempDir(), "operations")
	if r := w.copyOf(t).commandMeetsBureaus(t, resend, "REEMBOSS_OPERATIONS="+list); r.exit != exitComplete {
		t.Fatalf("exit %d\n%s", r.exit, r.stderr)
	}
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	operations := strings.Fields(strings.ReplaceAll(string(text), " ", "_"))
	t.Logf("%d operations", len(operations))
	for _, n := range proof.Chosen(proof.Numbers(len(operations))) {
		count.Try(t, fmt.Sprintf("%d: %s", n, operations[n-1]), func(t *testing.T) {
			w := w.copyOf(t)
			if !w.killedAt(t, n, resend...) {
				count.Missed()
			}
			if r := w.meetsBureaus(t); r.exit != exitComplete {
				t.Fatalf("the next run: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
			}
			if len(w.glob(lost)) == 0 { // killed before the repetition was recorded: nobody else will make it
				if r := w.commandMeetsBureaus(t, resend); r.exit != exitComplete {
					t.Fatalf("repeated: exit %d\n%s", r.exit, r.stderr)
				}
			}
			if !bytes.Equal(w.read(lost), content) || len(w.glob("simulator/alpha/incoming/*")) != 1 {
				t.Errorf("alpha has %q, or other bytes than the first time", w.glob("simulator/alpha/incoming/*"))
			}
			cards := w.delivered()
			w.everyOrderIsInItsFile(cards)
			w.whatIsSentHasEvidence()
			w.digestsAreThePlanned()
			w.nothingClear(cards)
		})
	}
}
