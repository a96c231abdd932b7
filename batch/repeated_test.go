package batch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"reemboss/batch/ledger"
)

// A repetition that a person asked for, and what cuts it: kills, the bureau's late word, a bureau that is away.

// resendKilledAt asks for a repetition in a process that dies at a point.
func (b *bench) resendKilledAt(name, point string) {
	b.Helper()
	n := b.open()
	defer n.Close()
	b.diesAt(n, point, func() { _, _ = n.Resend(b.Context(), name, "they cannot find it") })
}

// diesAt works until the process dies at a point.
func (b *bench) diesAt(n *Night, point string, work func()) {
	b.Helper()
	defer func() {
		if _, ours := recover().(killed); !ours {
			b.Fatal("the point was never passed")
		}
	}()
	n.Checkpoint = func(p string) {
		if p == point {
			panic(killed{p})
		}
	}
	work()
}

// A card of a refused file that was made after all, by a person's word, is not made once more with the others.
func TestARefusedFileWithAMadeCardIsNotSentAgain(t *testing.T) {
	b, s, _ := refused(t)
	b.answer("r2.csv", b.event(s, "DELIVERED", b.now))
	b.run()
	if err := b.settle("r2.csv", Take); err != nil {
		t.Fatal(err)
	}
	if now := b.order(1); now.State != ledger.Delivered {
		t.Fatalf("%s", now.State)
	}
	r := b.run()
	if r.Exit != 4 || len(r.NeedsPerson) != 1 || !slices.Equal(r.NeedsPerson[0].Choices(), []string{"reemboss cancel " + s.FileName + ` --reason "…"`}) || !strings.Contains(r.NeedsPerson[0].Why, "1 card of it came to be made all the same") {
		t.Errorf("exit %d: %+v", r.Exit, r.NeedsPerson)
	}
	n := b.open()
	f, err := n.Resend(t.Context(), s.FileName, "once more")
	n.Close()
	if err == nil || f.State != ledger.Refused || len(b.received()) > 0 {
		t.Errorf("%s %v; the bureau has %v", f.State, err, b.received())
	}
	b.cancel(s.FileName)
	if r := b.run(); r.Exit != 0 {
		t.Errorf("exit %d: %+v", r.Exit, r.NeedsPerson)
	}
}

// A disputed refusal counts by a person's word also while the file is to be sent again.
func TestARefusalIsTakenWhileTheFileIsToBeSentAgain(t *testing.T) {
	b, s := oneCard(t)
	b.answer("r.csv", b.event(s, "RETURNED", b.now.Add(time.Hour)))
	b.now = b.now.Add(2 * time.Hour)
	b.run()
	b.resendKilledAt(s.FileName, "sent/INTENT")
	b.answer("r2.csv", b.fileEvent(s, "REFUSED", 1, b.now.Add(-time.Hour)))
	b.now = b.now.Add(time.Hour)
	n := b.open()
	b.diesAt(n, "collect/answer", func() { _, _ = n.Run(t.Context()) })
	n.Close()
	if f := b.state(s.FileName); f.State != ledger.Intent {
		t.Fatalf("%s", f.State)
	}
	if err := b.settle("r2.csv", Take); err != nil {
		t.Fatal(err)
	}
	if f := b.state(s.FileName); f.State != ledger.Refused {
		t.Errorf("%s", f.State)
	}
	if r := b.run(); r.Exit != 4 || b.state(s.FileName).State != ledger.Refused || b.order(1).State != ledger.Returned {
		t.Errorf("exit %d, %s, %s", r.Exit, b.state(s.FileName).State, b.order(1).State)
	}
}

// The bureau is away in the night after a rename without an answer, and tells in the next that it refused what had arrived.
func TestARefusalIsNotOldBecauseANightFoundNobody(t *testing.T) {
	b, s := oneCard(t)
	if err := os.Remove(filepath.Join(b.Simulator("alpha"), "incoming", s.FileName)); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(time.Hour)
	b.resendKilledAt(s.FileName, "sent/RENAMING")
	if err := os.Rename(filepath.Join(b.Simulator("alpha"), "incoming", s.FileName+".part"), filepath.Join(b.Simulator("alpha"), "took")); err != nil {
		t.Fatal(err)
	}
	came := b.now
	b.configure("host: alpha.simulator\n      port: 22\n", "host: alpha.simulator\n      port: 23\n") // no known host key
	b.now = b.now.Add(24 * time.Hour)
	if r := b.run(); r.Exit != 4 || b.state(s.FileName).State != ledger.Renaming {
		t.Fatalf("exit %d, %s", r.Exit, b.state(s.FileName).State)
	}
	b.configure("port: 23\n", "port: 22\n")
	b.answer("r.csv", b.fileEvent(s, "REFUSED", 1, came.Add(time.Hour)))
	b.now = b.now.Add(24 * time.Hour)
	if r := b.run(); r.Exit != 4 || b.state(s.FileName).State != ledger.Refused {
		t.Errorf("exit %d, %s", r.Exit, b.state(s.FileName).State)
	}
}

// Nothing was sent where the file stood there still, so a refusal of it that is told late is no older one.
func TestARefusalCountsWhereTheFileWasThereAlready(t *testing.T) {
	b, s := oneCard(t)
	b.now = b.now.Add(2 * time.Hour)
	n := b.open()
	if f, err := n.Resend(t.Context(), s.FileName, "they cannot find it"); err != nil || f.State != ledger.Sent {
		t.Fatalf("%s %v", f.State, err)
	}
	n.Close()
	b.answer("r.csv", b.fileEvent(s, "REFUSED", 1, b.now.Add(-time.Hour)))
	b.now = b.now.Add(time.Hour)
	if r := b.run(); r.Exit != 4 || b.state(s.FileName).State != ledger.Refused {
		t.Errorf("exit %d, %s", r.Exit, b.state(s.FileName).State)
	}
}

// A refusal that comes while a repetition is under way is not forgotten where the repetition then fails.
func TestARefusalDuringARepetitionThatFailsCounts(t *testing.T) {
	b, s := oneCard(t)
	b.now = b.now.Add(2 * time.Hour)
	b.resendKilledAt(s.FileName, "sent/INTENT")
	b.answer("r.csv", b.fileEvent(s, "REFUSED", 1, b.now.Add(-time.Hour)))
	if err := os.WriteFile(filepath.Join(b.Simulator("alpha"), "incoming", s.FileName), []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(time.Hour)
	if r := b.run(); r.Exit != 4 || b.state(s.FileName).State != ledger.Refused {
		t.Errorf("exit %d, %s", r.Exit, b.state(s.FileName).State)
	}
}

// A repetition that was killed does not go on while the bureau tells that a card of the refused file was made.
func TestAKilledRepetitionWaitsForWhatContradictsTheRefusal(t *testing.T) {
	b, s, _ := refused(t)
	b.resendKilledAt(s.FileName, "sent/INTENT")
	b.answer("r2.csv", b.event(s, "SHIPPED", b.now.Add(time.Minute)))
	b.now = b.now.Add(time.Hour)
	r := b.run()
	if r.Exit != 4 || b.state(s.FileName).State != ledger.Refused || len(b.received()) > 0 {
		t.Errorf("exit %d, %s, the bureau has %v", r.Exit, b.state(s.FileName).State, b.received())
	}
	if err := b.settle("r2.csv", Keep); err != nil {
		t.Fatal(err)
	}
	n := b.open()
	f, err := n.Resend(t.Context(), s.FileName, "it was no card of ours")
	n.Close()
	if err != nil || f.State != ledger.Sent {
		t.Errorf("%s %v", f.State, err)
	}
}

// Frozen bytes that are lost before anything of them was sent can never go: their cards go into the next file by a person's word.
func TestAFileWhoseBytesAreLostBeforeItIsSent(t *testing.T) {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	b.drop("a.csv", "card_id\n1\n")
	if !b.runKilledAt("stage/release", 0) {
		t.Fatal("the point was never passed")
	}
	lost := b.outgoing("alpha")[0]
	if err := os.Remove(filepath.Join(b.Outbox("alpha"), lost.Name)); err != nil {
		t.Fatal(err)
	}
	r := b.run()
	if r.Exit != 4 || len(r.NeedsPerson) == 0 {
		t.Fatalf("exit %d", r.Exit)
	}
	var told []string
	for _, need := range r.NeedsPerson {
		told = append(told, need.Why+" "+need.Command)
	}
	if !strings.Contains(strings.Join(told, "\n"), "reemboss cancel") {
		t.Errorf("told %q", told)
	}
	if moved, err := b.cancel(lost.Name); err != nil || moved != 1 {
		t.Fatalf("%d moved, %v", moved, err)
	}
	if r := b.run(); r.Exit != 0 || b.order(1).State != ledger.SentO || len(b.received()) != 1 {
		t.Errorf("exit %d, %s: %+v", r.Exit, b.order(1).State, r.NeedsPerson)
	}
}

// A repetition that was killed, and whose bytes are lost since, takes nothing back: the bureau had the file.
func TestAKilledRepetitionWhoseBytesAreLost(t *testing.T) {
	b, s := oneCard(t)
	b.resendKilledAt(s.FileName, "sent/INTENT")
	if err := os.Remove(filepath.Join(b.Outbox("alpha"), s.FileName)); err != nil {
		t.Fatal(err)
	}
	b.drop("b.csv", "card_id,user_id,reason_code\n2,C2,1\n")
	b.run()
	if b.state(s.FileName).State != ledger.Sent || b.order(2).State != ledger.SentO {
		t.Errorf("the file is %s, card 2 is %s", b.state(s.FileName).State, b.order(2).State)
	}
}

// The bureau acknowledges what it has while a killed repetition waits to go on: nothing is sent, and a person is told.
func TestAKilledRepetitionThatTheBureauNoLongerNeeds(t *testing.T) {
	b, s := oneCard(t)
	if err := os.Remove(filepath.Join(b.Simulator("alpha"), "incoming", s.FileName)); err != nil { // taken into work
		t.Fatal(err)
	}
	b.now = b.now.Add(2 * time.Hour)
	b.resendKilledAt(s.FileName, "sent/INTENT")
	b.answer("r.csv", b.fileEvent(s, "RECEIVED", 1, b.now.Add(-time.Hour)))
	b.now = b.now.Add(time.Hour)
	r := b.run()
	if r.Exit != 4 || b.state(s.FileName).State != ledger.Sent || b.order(1).State != ledger.Acked || len(b.received()) > 0 {
		t.Errorf("exit %d, %s, %s, the bureau has %v", r.Exit, b.state(s.FileName).State, b.order(1).State, b.received())
	}
	if needs := b.needs(r.Reconciliation, s.FileName); len(needs) == 0 || !strings.Contains(needs[0].Why, "acknowledged") {
		t.Errorf("told %+v", needs)
	}
}

// A person said that the bureau does not have the file, and the bureau says that it has: neither is believed before a person decides again.
func TestAReceiptContradictsAKilledRepetition(t *testing.T) {
	for _, word := range []Settlement{Keep, Take} {
		b, s := undecided(t)
		b.now = b.now.Add(time.Hour)
		func() {
			n := b.open()
			defer n.Close()
			defer func() { _ = recover().(killed) }()
			n.Checkpoint = func(p string) {
				if p == "sent/INTENT" {
					panic(killed{p})
				}
			}
			_, err := n.ResolveResend(t.Context(), s.FileName, "they do not have it")
			t.Fatal(err)
		}()
		had := len(b.received())
		b.answer("r.csv", b.fileEvent(s, "RECEIVED", 1, b.now.Add(-30*time.Minute)))
		b.now = b.now.Add(time.Hour)
		if r := b.run(); r.Exit != 4 || len(b.received()) != had {
			t.Fatalf("exit %d, %s, the bureau has %v", r.Exit, b.state(s.FileName).State, b.received())
		}
		if err := b.settle("r.csv", word); err != nil {
			t.Fatalf("%s: %v", word, err)
		}
		r := b.run()
		b.mustHold(r.Reconciliation)
		want := map[Settlement]ledger.OrderState{Keep: ledger.SentO, Take: ledger.Acked}[word]
		if now := b.order(2); r.Exit != 0 || now.State != want || (len(b.received()) != had) != (word == Keep) {
			t.Errorf("%s: exit %d, %s: %+v", word, r.Exit, now.State, r.NeedsPerson)
		}
	}
}

// Of a file that may have arrived no bytes are needed to see whether it did.
func TestARenameWithoutAnAnswerIsSettledWithoutTheBytes(t *testing.T) {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id\n1\n")
	if !b.runKilledAt("sent/RENAMING", 0) {
		t.Fatal("the point was never passed")
	}
	if err := os.Remove(filepath.Join(b.Outbox("alpha"), b.outgoing("alpha")[0].Name)); err != nil {
		t.Fatal(err)
	}
	if r := b.run(); r.Exit != 0 || b.order(1).State != ledger.SentO {
		t.Errorf("exit %d, %s: %+v", r.Exit, b.order(1).State, r.NeedsPerson)
	}
}

// A recipient that takes its files out of the outbox may be quicker than our record of it.
func TestAFileThatIsFetchedBeforeItIsRecorded(t *testing.T) {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,3\n")
	fetched := ""
	r := b.run(func(n *Night) {
		n.Checkpoint = func(point string) {
			if point != "stage/send" {
				return
			}
			names, err := filepath.Glob(filepath.Join(b.Outbox("card-system"), "*.pgp"))
			if err != nil || len(names) != 1 {
				t.Fatal(names, err)
			}
			fetched = filepath.Base(names[0])
			if err := os.Remove(names[0]); err != nil {
				t.Fatal(err)
			}
		}
	})
	if r.Exit != 4 || b.state(fetched).State != ledger.Undecided {
		t.Fatalf("exit %d, %s", r.Exit, b.state(fetched).State)
	}
	n := b.open()
	if _, err := n.ResolveDelivered(t.Context(), fetched, "they have it"); err != nil {
		t.Fatal(err)
	}
	n.Close()
	if r := b.run(); r.Exit != 0 {
		t.Errorf("exit %d: %+v", r.Exit, r.NeedsPerson)
	}
}

// What a bureau had once is not given up by cancelling a repetition whose end nobody knows: no card of it waits for another file.
func TestAnUndecidedRepetitionWithoutItsBytesIsNotCancelled(t *testing.T) {
	b, s := oneCard(t)
	incoming := filepath.Join(b.Simulator("alpha"), "incoming", s.FileName)
	if err := os.Remove(incoming); err != nil {
		t.Fatal(err)
	}
	b.resendKilledAt(s.FileName, "sent/RENAMING")
	if err := os.Remove(incoming + ".part"); err != nil {
		t.Fatal(err)
	}
	if b.run(); b.state(s.FileName).State != ledger.Undecided {
		t.Fatalf("%s", b.state(s.FileName).State)
	}
	if err := os.Remove(filepath.Join(b.Outbox("alpha"), s.FileName)); err != nil {
		t.Fatal(err)
	}
	moved, err := b.cancel(s.FileName)
	if now := b.order(1); err == nil || moved != 0 || b.state(s.FileName).State != ledger.Undecided {
		t.Errorf("%d moved, %v; the file is %s, the card %s in %s", moved, err, b.state(s.FileName).State, now.State, now.FileName)
	}
	n := b.open()
	defer n.Close()
	if _, err := n.ResolveDelivered(t.Context(), s.FileName, "they had it the first time"); err != nil {
		t.Error(err)
	}
}

// The temporary name is another one by the next night: the file still gets its final one, and is not taken for taken away.
func TestARenameIsDoneUnderTheTemporaryNameThatTheFileHas(t *testing.T) {
	for _, change := range [][2]string{{"temp_suffix: .part ", "temp_suffix: .tmp "}, {`temp_dir: "" `, "temp_dir: returns "}} {
		b := newBench(t)
		b.silent()
		b.configure("taken_away: false", "taken_away: true")
		b.cards("1 C1 NORMAL 411111000000001 00")
		b.drop("a.csv", "card_id\n1\n")
		if !b.runKilledAt("sent/RENAMING", 0) {
			t.Fatal("the point was never passed")
		}
		b.configure(change[:]...)
		r := b.run()
		s := b.order(1)
		at := filepath.Join(b.Simulator("alpha"), "incoming", s.FileName)
		if r.Exit != 0 || s.State != ledger.SentO || !fileThere(at) || fileThere(at+".part") {
			t.Errorf("%s: exit %d, %s", change[1], r.Exit, s.State)
		}
	}
}

// Names that are not there prove nothing where the configuration has got another folder since the rename was asked for.
func TestARenameIsLookedForWhereItWasAsked(t *testing.T) {
	b := newBench(t)
	b.silent()
	b.configure("taken_away: false", "taken_away: true")
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id\n1\n")
	if !b.runKilledAt("sent/RENAMING", 0) {
		t.Fatal("the point was never passed")
	}
	b.configure("dir: incoming", "dir: returns")
	if r := b.run(); r.Exit != 4 || b.state(b.outgoing("alpha")[0].Name).State != ledger.Undecided {
		t.Errorf("exit %d, %s", r.Exit, b.state(b.outgoing("alpha")[0].Name).State)
	}
}
