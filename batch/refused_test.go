package batch

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reemboss/batch/ledger"
)

// undecided makes the transfer of card 2's file end nowhere.
func undecided(t *testing.T) (*bench, ledger.Shipment) {
	b, _ := oneCard(t)
	b.drop("b.csv", "card_id,user_id,reason_code\n2,C2,1\n")
	b.run(b.takesTemporaryNames)
	n := b.open()
	files, err := n.Ledger.BureauFiles(t.Context(), ledger.FileQuery{States: []ledger.BureauFileState{ledger.Undecided}})
	n.Close()
	if err != nil || len(files) != 1 {
		t.Fatalf("undecided: %+v %v", files, err)
	}
	return b, b.order(2)
}

// takesTemporaryNames: alpha takes a temporary name away while it is renamed.
func (b *bench) takesTemporaryNames(n *Night) {
	n.Checkpoint = func(point string) {
		if point != "sent/RENAMING" {
			return
		}
		names, err := filepath.Glob(filepath.Join(b.Simulator("alpha"), "incoming", "*.part"))
		if err != nil || len(names) != 1 {
			b.Fatalf("temporary names %v %v", names, err)
		}
		if err := os.Remove(names[0]); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAnAcknowledgementDecidesAnUndecidedDelivery(t *testing.T) {
	for name, line := range map[string]func(b *bench, s ledger.Shipment) string{
		"of the file": func(b *bench, s ledger.Shipment) string { return b.fileEvent(s, "RECEIVED", 1, b.now) },
		"of a card":   func(b *bench, s ledger.Shipment) string { return b.event(s, "PRODUCED", b.now) },
	} {
		t.Run(name, func(t *testing.T) {
			b, s := undecided(t)
			b.answer("r.csv", line(b, s))
			r := b.run()
			b.mustHold(r.Reconciliation)
			f := b.file(r.Reconciliation, s.FileName)
			if f.State != ledger.Sent || f.Acknowledged != 1 || r.Exit != 0 {
				t.Errorf("exit %d, %+v, %+v", r.Exit, f, r.NeedsPerson)
			}
			n := b.open()
			defer n.Close()
			stored, err := n.Ledger.FileByName(t.Context(), s.FileName)
			if err != nil || !strings.Contains(string(stored.Evidence), "r.csv") {
				t.Errorf("the evidence does not name the return file: %s %v", stored.Evidence, err)
			}
		})
	}
}

// received counts the files that simulated bureau alpha has under their final names.
func (b *bench) received() []string {
	b.Helper()
	names, err := filepath.Glob(filepath.Join(b.Simulator("alpha"), "incoming", "*.pgp"))
	if err != nil {
		b.Fatal(err)
	}
	return names
}

// refused makes alpha refuse card 1's file and put it away.
func refused(t *testing.T) (*bench, ledger.Shipment, []byte) {
	b, s := oneCard(t)
	b.answer("r.csv", strings.Replace(b.fileEvent(s, "REFUSED", 1, b.now), "REFUSED,1,,", "REFUSED,1,017,Wrong layout version", 1))
	first, err := os.ReadFile(filepath.Join(b.Simulator("alpha"), "incoming", s.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(b.Simulator("alpha"), "incoming", s.FileName)); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(time.Hour)
	b.drop("again.csv", "card_id,user_id,reason_code\n1,C1,2\n")
	r := b.run()
	b.mustHold(r.Reconciliation)
	if f := b.file(r.Reconciliation, s.FileName); r.Exit != 4 || f.State != ledger.Refused || f.Outstanding != 1 {
		t.Fatalf("exit %d, %+v", r.Exit, f)
	}
	b.want(b.codes("done", "again.csv"), "already_requested")
	if len(b.received()) != 0 {
		t.Fatal("a refused file was sent again by itself")
	}
	return b, s, first
}

func TestARefusedFileIsSentAgainWithTheSameBytes(t *testing.T) {
	b, s, first := refused(t)
	n := b.open()
	f, err := n.Resend(t.Context(), s.FileName, "they mended their side")
	if err != nil || f.State != ledger.Sent {
		t.Fatalf("%s %v", f.State, err)
	}
	n.Close()
	second, err := os.ReadFile(filepath.Join(b.Simulator("alpha"), "incoming", s.FileName))
	if err != nil || !bytes.Equal(first, second) {
		t.Fatalf("other bytes went out: %v", err)
	}
	b.answer("r2.csv", b.fileEvent(s, "RECEIVED", 1, b.now.Add(time.Minute)))
	b.now = b.now.Add(time.Hour)
	r := b.run()
	b.mustHold(r.Reconciliation)
	if s := b.order(1); s.State != ledger.Acked || r.Exit != 0 {
		t.Errorf("%s, exit %d %+v", s.State, r.Exit, r.NeedsPerson)
	}
}

func TestACancelledFileIsVoidAndItsOrdersGoOnce(t *testing.T) {
	b, s, _ := refused(t)
	n := b.open()
	f, moved, err := n.Cancel(t.Context(), s.FileName, "made anew")
	if err != nil || f.State != ledger.Void || moved != 1 {
		t.Fatalf("%s, %d moved, %v", f.State, moved, err)
	}
	if _, _, err := n.Cancel(t.Context(), s.FileName, "again"); err == nil {
		t.Error("a VOID file was cancelled again")
	}
	if _, err := n.Resend(t.Context(), s.FileName, "no"); err == nil {
		t.Error("a VOID file was sent again")
	}
	n.Close()
	r := b.run()
	b.mustHold(r.Reconciliation)
	now := b.order(1)
	if now.UID != s.UID || now.Sequence != s.Sequence+1 || now.State != ledger.SentO || len(b.received()) != 1 {
		t.Errorf("uid %s was %s, number %d was %d, %s, bureau has %v", now.UID, s.UID, now.Sequence, s.Sequence, now.State, b.received())
	}
	if r.Exit != 0 || b.file(r.Reconciliation, now.FileName).Records != 1 {
		t.Errorf("exit %d: %+v", r.Exit, r.NeedsPerson)
	}
	b.drop("more.csv", "card_id,user_id,reason_code\n1,C1,2\n") // it is under way, once
	b.run()
	b.want(b.codes("done", "more.csv"), "card_in_transit")
}

// askedAgain is a file with cards 1 and 2, of which card 1 was asked for once more when its transit_days were over.
func askedAgain(t *testing.T) (*bench, ledger.Shipment) {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	b.drop("a.csv", "card_id\n1\n2\n")
	b.run()
	s := b.order(1)
	b.now = b.now.Add(15 * 24 * time.Hour)
	b.drop("b.csv", "card_id,note\n1,still none\n")
	r := b.run()
	b.want(b.codes("done", "b.csv"), "00")
	for _, need := range r.NeedsPerson {
		if strings.Contains(need.Command, "resend") {
			t.Errorf("%s: %s, though card 1 would be made twice", need.What, need.Command)
		}
	}
	return b, s
}

func TestAFileIsNotSentAgainWhereACardOfItWasAskedForSince(t *testing.T) {
	b, s := askedAgain(t)
	if err := os.Remove(filepath.Join(b.Simulator("alpha"), "incoming", s.FileName)); err != nil { // the bureau lost it
		t.Fatal(err)
	}
	n := b.open()
	f, err := n.Resend(t.Context(), s.FileName, "they never had it")
	n.Close()
	if err == nil || !strings.Contains(err.Error(), "card 1 was asked for again since") || f.State != ledger.Sent || len(b.received()) != 1 {
		t.Errorf("%s, %d files at the bureau: %v", f.State, len(b.received()), err)
	}
}

// The bureau's refusal comes later than the next request for card 1: card 1 is in the newer file, card 2 goes into the next one.
func TestARefusedFileGivesBackNoCardThatWasAskedForSince(t *testing.T) {
	b, s := askedAgain(t)
	if err := os.Remove(filepath.Join(b.Simulator("alpha"), "incoming", s.FileName)); err != nil {
		t.Fatal(err)
	}
	b.answer("r.csv", b.fileEvent(s, "REFUSED", 2, b.now))
	b.now = b.now.Add(time.Hour)
	r := b.run()
	b.mustHold(r.Reconciliation)
	if needs := r.NeedsPerson; len(needs) != 1 || !strings.HasPrefix(needs[0].Command, "reemboss cancel ") || len(needs[0].Or) != 0 {
		t.Errorf("%+v", needs)
	}
	n := b.open()
	_, moved, err := n.Cancel(t.Context(), s.FileName, "made anew")
	n.Close()
	if err != nil || moved != 1 {
		t.Fatalf("%d moved, %v", moved, err)
	}
	r = b.run()
	b.mustHold(r.Reconciliation)
	if len(b.received()) != 2 || r.Exit != 0 {
		t.Errorf("%d files at the bureau, exit %d, %+v", len(b.received()), r.Exit, r.NeedsPerson)
	}
	if first, second := b.order(1), b.order(2); first.FileName == second.FileName || second.State != ledger.SentO {
		t.Errorf("card 1 is in %s, card 2 %s in %s", first.FileName, second.State, second.FileName)
	}
}
