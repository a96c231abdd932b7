package batch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"reemboss/batch/ledger"
	"reemboss/bureau"
	"reemboss/formats/iso"
)

// settle lets a person decide.
func (b *bench) settle(what string, word Settlement) error {
	b.Helper()
	n := b.open()
	defer n.Close()
	_, err := n.Settle(b.Context(), what, word, "asked the bureau")
	return err
}

func (b *bench) state(name string) ledger.BureauFile {
	b.Helper()
	n := b.open()
	defer n.Close()
	f, err := n.Ledger.FileByName(b.Context(), name)
	if err != nil {
		b.Fatal(err)
	}
	return f
}

// A card of which the bureau says that it was made is not made again: what contradicts a refusal is settled first.
func TestACancelWaitsForWhatContradictsTheRefusal(t *testing.T) {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n2,C2,1\n")
	b.run()
	s, other := b.order(1), b.order(2)
	b.answer("r.csv", b.fileEvent(s, "REFUSED", 2, b.now), b.event(s, "DELIVERED", b.now.Add(time.Minute)))
	b.now = b.now.Add(time.Hour)
	b.run()
	n := b.open()
	if _, _, err := n.Cancel(t.Context(), s.FileName, "made anew"); err == nil || !strings.Contains(err.Error(), "settle") {
		t.Fatalf("cancelled: %v", err)
	}
	if _, err := n.Resend(t.Context(), s.FileName, "once more"); err == nil || !strings.Contains(err.Error(), "settle") {
		t.Fatalf("sent again: %v", err)
	}
	disputes, _, err := n.Ledger.Disputes(t.Context(), 0)
	if err != nil || len(disputes) != 1 {
		t.Fatalf("%+v %v", disputes, err)
	}
	if _, err := n.Settle(t.Context(), "r.csv", Take, "it was made"); err != nil { // all that this file told
		t.Fatal(err)
	}
	if _, moved, err := n.Cancel(t.Context(), s.FileName, "the other made anew"); err != nil || moved != 1 {
		t.Fatalf("%d moved, %v", moved, err)
	}
	n.Close()
	if err := os.Remove(filepath.Join(b.Simulator("alpha"), "incoming", s.FileName)); err != nil {
		t.Fatal(err)
	}
	r := b.run()
	b.mustHold(r.Reconciliation)
	if s, other = b.order(1), b.order(2); s.State != ledger.Delivered || other.State != ledger.SentO || other.Sequence != s.Sequence+1 {
		t.Errorf("card 1 %s in number %d, card 2 %s in number %d", s.State, s.Sequence, other.State, other.Sequence)
	}
}

// Old news of a refused file neither acknowledges its repetition nor decides it.
func TestALateAcknowledgementSaysNothingOfTheRepetition(t *testing.T) {
	b, s, _ := refused(t)
	n := b.open()
	if _, err := n.Resend(t.Context(), s.FileName, "they mended their side"); err != nil {
		t.Fatal(err)
	}
	n.Close()
	b.answer("late.csv", b.fileEvent(s, "RECEIVED", 1, b.now.Add(-2*time.Hour)), b.event(s, "ACKED", b.now.Add(-2*time.Hour)), b.fileEvent(s, "REFUSED", 1, b.now.Add(-3*time.Hour)))
	r := b.run()
	b.mustHold(r.Reconciliation)
	if now := b.order(1); now.State != ledger.SentO || r.Exit != 0 || b.state(s.FileName).State != ledger.Sent {
		t.Errorf("%s, file %s, exit %d: %+v", now.State, b.state(s.FileName).State, r.Exit, r.NeedsPerson)
	}
}

// What shows that a file arrived stands behind old news of its cards, in one piece: no night stops at that.
func TestProofOfArrivalBehindOldNews(t *testing.T) {
	b, s, _ := refused(t)
	n := b.open()
	b.takesTemporaryNames(n)
	f, err := n.Resend(t.Context(), s.FileName, "they mended their side")
	n.Close()
	if f.State != ledger.Undecided {
		t.Fatalf("%s %v", f.State, err)
	}
	b.answer("r2.csv", b.event(s, "ACKED", b.now.Add(-3*time.Hour)), b.event(s, "PRODUCED", b.now.Add(time.Minute)))
	b.now = b.now.Add(time.Hour)
	r := b.run()
	b.mustHold(r.Reconciliation)
	if now := b.order(1); now.State != ledger.Produced || b.state(s.FileName).State != ledger.Sent || r.Exit != 0 {
		t.Errorf("%s, file %s, exit %d: %+v", now.State, b.state(s.FileName).State, r.Exit, r.NeedsPerson)
	}
}

func TestAnOlderRefusalDoesNotUndoANewerReceipt(t *testing.T) {
	b, s := oneCard(t)
	b.answer("a.csv", b.fileEvent(s, "RECEIVED", 1, b.now.Add(30*time.Minute)))
	b.now = b.now.Add(time.Hour)
	b.run()
	b.answer("b.csv", b.fileEvent(s, "REFUSED", 1, b.now.Add(-50*time.Minute)))
	r := b.run()
	if b.state(s.FileName).State != ledger.Sent || b.order(1).State != ledger.Acked || r.Exit != 0 {
		t.Errorf("file %s, card %s, exit %d", b.state(s.FileName).State, b.order(1).State, r.Exit)
	}
}

// A refused file that the bureau took after all: the person's word makes it so.
func TestAReceiptAfterARefusalMayBeTaken(t *testing.T) {
	b, s, _ := refused(t)
	b.answer("b.csv", b.fileEvent(s, "RECEIVED", 1, b.now.Add(time.Minute)))
	if r := b.run(); r.Exit != 4 || b.state(s.FileName).State != ledger.Refused {
		t.Fatalf("exit %d, %s", r.Exit, b.state(s.FileName).State)
	}
	if err := b.settle("b.csv", Take); err != nil {
		t.Fatal(err)
	}
	r := b.run()
	b.mustHold(r.Reconciliation)
	if b.state(s.FileName).State != ledger.Sent || b.order(1).State != ledger.Acked || r.Exit != 0 {
		t.Errorf("file %s, card %s, exit %d %+v", b.state(s.FileName).State, b.order(1).State, r.Exit, r.NeedsPerson)
	}
}

// A line about a card that waits for its next file, and names no file itself, stops no night.
func TestALineAboutACardInNoFile(t *testing.T) {
	b, s, _ := refused(t)
	n := b.open()
	if _, _, err := n.Cancel(t.Context(), s.FileName, "made anew"); err != nil {
		t.Fatal(err)
	}
	n.Close()
	b.answer("r2.csv", "CARD,,,"+s.UID+",PRODUCED,,,,,,"+b.now.UTC().Format(time.RFC3339))
	if r := b.run(); r.Exit != 4 {
		t.Errorf("exit %d", r.Exit)
	}
	n = b.open()
	disputes, _, err := n.Ledger.Disputes(t.Context(), 0)
	if err != nil || len(disputes) != 1 {
		t.Fatalf("%+v %v", disputes, err)
	}
	n.Close()
	if o := b.order(1); o.State != ledger.Queued {
		t.Errorf("%s before anybody said which is right", o.State)
	}
	if err := b.settle("r2.csv", Keep); err != nil {
		t.Fatal(err)
	}
	if r := b.run(); r.Exit != 0 || b.order(1).State != ledger.SentO {
		t.Errorf("exit %d, %s: %+v", r.Exit, b.order(1).State, r.NeedsPerson)
	}
}

// A person says that the bureau does not have an undecided file, and the repetition fails: it is not SENT by that.
func TestAFailedRepetitionOfAnUndecidedFileIsNotSent(t *testing.T) {
	b, s := undecided(t)
	b.configure("host: alpha.simulator\n      port: 22\n", "host: alpha.simulator\n      port: 23\n") // no known host key
	n := b.open()
	f, err := n.ResolveResend(t.Context(), s.FileName, "they do not have it")
	n.Close()
	if err == nil || f.State == ledger.Sent {
		t.Fatalf("%s %v", f.State, err)
	}
	if r := b.run(); r.Exit != 4 || b.state(s.FileName).State == ledger.Sent {
		t.Errorf("exit %d, %s", r.Exit, b.state(s.FileName).State)
	}
	b.configure("port: 23\n", "port: 22\n")
	if r := b.run(); r.Exit != 0 || b.state(s.FileName).State != ledger.Sent {
		t.Errorf("exit %d, %s", r.Exit, b.state(s.FileName).State)
	}
}

// A person said that the bureau does not have an undecided file, nothing could be sent, and the bureau finds it: it is not sent
// a second time, and what the bureau says of the one that it has counts.
func TestARepetitionOfAnUndecidedFileIsTakenBackWhileNothingWasSent(t *testing.T) {
	for _, point := range []string{"", "sent/INTENT", "sent/UPLOADED"} {
		b, s := undecided(t)
		b.now = b.now.Add(time.Hour)
		found := b.now
		b.now = b.now.Add(time.Hour)
		if point != "" {
			n := b.open()
			b.diesAt(n, point, func() { _, _ = n.ResolveResend(t.Context(), s.FileName, "they do not find it") })
			n.Close()
		} else {
			b.configure("host: alpha.simulator\n      port: 22\n", "host: alpha.simulator\n      port: 23\n") // no known host key
			n := b.open()
			_, err := n.ResolveResend(t.Context(), s.FileName, "they do not find it")
			n.Close()
			b.configure("port: 23\n", "port: 22\n")
			if err == nil {
				t.Fatal("sent to a server that shows another key")
			}
		}
		before := len(b.received())
		n := b.open()
		f, err := n.ResolveDelivered(t.Context(), s.FileName, "they found it")
		if err != nil || f.State != ledger.Sent {
			t.Fatalf("killed at %q: %s, %v", point, f.State, err)
		}
		if _, err := n.ResolveDelivered(t.Context(), s.FileName, "they found it"); err == nil {
			t.Error("resolved twice")
		}
		n.Close()
		b.answer("r.csv", b.fileEvent(s, "REFUSED", 1, found))
		r := b.run()
		b.mustHold(r.Reconciliation)
		if len(b.received()) != before || b.state(s.FileName).State != ledger.Refused {
			t.Errorf("killed at %q: %s, the bureau has %v", point, b.state(s.FileName).State, b.received())
		}
	}
}

// A repetition that did not come about is no sending: the bureau refuses the one file that it has.
func TestARefusalOfTheFirstSendingCountsWhereTheRepetitionFailed(t *testing.T) {
	b, s := oneCard(t)
	b.configure("host: alpha.simulator\n      port: 22\n", "host: alpha.simulator\n      port: 23\n") // no known host key
	b.now = b.now.Add(time.Hour)
	n := b.open()
	f, err := n.Resend(t.Context(), s.FileName, "they cannot find it")
	n.Close()
	if err == nil || f.State != ledger.Sent {
		t.Fatalf("%s %v", f.State, err)
	}
	b.configure("port: 23\n", "port: 22\n")
	b.answer("r.csv", b.fileEvent(s, "REFUSED", 1, b.now.Add(-30*time.Minute)))
	if r := b.run(); r.Exit != 4 || b.state(s.FileName).State != ledger.Refused {
		t.Errorf("exit %d, %s", r.Exit, b.state(s.FileName).State)
	}
}

// A machine at the bureau refuses a repetition in the very second in which it arrives.
func TestARepetitionMayBeRefusedAtOnce(t *testing.T) {
	b, s, _ := refused(t)
	b.now = b.now.Add(999 * time.Millisecond)
	n := b.open()
	if _, err := n.Resend(t.Context(), s.FileName, "they mended their side"); err != nil {
		t.Fatal(err)
	}
	n.Close()
	b.answer("r2.csv", b.fileEvent(s, "REFUSED", 1, b.now.Truncate(time.Second)))
	b.now = b.now.Add(time.Hour)
	if r := b.run(); r.Exit != 4 || b.state(s.FileName).State != ledger.Refused {
		t.Errorf("exit %d, %s", r.Exit, b.state(s.FileName).State)
	}
}

func TestSendingsAreCounted(t *testing.T) {
	hour := func(h int) time.Time { return time.Date(2026, 11, 23, h, 0, 0, 0, time.UTC) }
	step := func(state ledger.BureauFileState, h int) ledger.Delivery {
		return ledger.Delivery{State: state, At: hour(h)}
	}
	there := func(h int) ledger.Delivery {
		return ledger.Delivery{State: ledger.Sent, At: hour(h), Evidence: fmt.Appendf(nil, `{"seen":%q}`, bureau.SeenAlreadySent)}
	}
	sent := []ledger.Delivery{step(ledger.Written, 1), step(ledger.Intent, 2), step(ledger.Uploaded, 3), step(ledger.Renaming, 4), step(ledger.Sent, 5)}
	for name, tt := range map[string]struct {
		since []ledger.Delivery
		count int
		begun int
	}{
		"once":                                  {nil, 1, 4},
		"a second one began":                    {[]ledger.Delivery{step(ledger.Written, 6), step(ledger.Intent, 7), step(ledger.Uploaded, 8)}, 1, 7},
		"and may have arrived":                  {[]ledger.Delivery{step(ledger.Intent, 7), step(ledger.Uploaded, 8), step(ledger.Renaming, 9), step(ledger.Undecided, 10)}, 2, 9},
		"and did":                               {[]ledger.Delivery{step(ledger.Intent, 7), step(ledger.Renaming, 9), step(ledger.Undecided, 10), step(ledger.Undecided, 11), step(ledger.Sent, 12)}, 2, 9},
		"and was sent once more":                {[]ledger.Delivery{step(ledger.Intent, 7), step(ledger.Renaming, 9), step(ledger.Undecided, 10), step(ledger.Written, 11), step(ledger.Intent, 12), step(ledger.Renaming, 13), step(ledger.Sent, 14)}, 3, 13},
		"twice":                                 {[]ledger.Delivery{step(ledger.Intent, 7), step(ledger.Uploaded, 8), step(ledger.Renaming, 9), step(ledger.Sent, 10)}, 2, 9},
		"it was there already":                  {[]ledger.Delivery{step(ledger.Written, 6), step(ledger.Intent, 7), there(10)}, 1, 4},
		"there already, and a later one failed": {[]ledger.Delivery{step(ledger.Written, 6), step(ledger.Intent, 7), there(10), step(ledger.Written, 11), step(ledger.Intent, 12), there(10)}, 1, 4},
		"there after an end that nobody knew":   {[]ledger.Delivery{step(ledger.Written, 6), step(ledger.Intent, 7), step(ledger.Renaming, 8), step(ledger.Undecided, 9), step(ledger.Written, 10), step(ledger.Intent, 11), there(12)}, 1, 8},
		"nobody was reached after its rename":   {[]ledger.Delivery{step(ledger.Intent, 7), step(ledger.Renaming, 8), step(ledger.Renaming, 9), step(ledger.Renaming, 10)}, 1, 8},
		"renamed anew after a refused rename":   {[]ledger.Delivery{step(ledger.Intent, 7), step(ledger.Renaming, 8), step(ledger.Uploaded, 9), step(ledger.Renaming, 10)}, 1, 10},
		"the second one failed":                 {[]ledger.Delivery{step(ledger.Intent, 7), step(ledger.Uploaded, 8), step(ledger.Sent, 5)}, 1, 4},
		"the second one failed, the third not":  {[]ledger.Delivery{step(ledger.Intent, 7), step(ledger.Sent, 5), step(ledger.Intent, 8), step(ledger.Renaming, 9), step(ledger.Sent, 10)}, 2, 9},
	} {
		t.Run(name, func(t *testing.T) {
			count, begun := sendings(slices.Concat(sent, tt.since))
			if count != tt.count || !begun.Equal(hour(tt.begun)) {
				t.Errorf("%d, %v; not %d, %v", count, begun, tt.count, hour(tt.begun))
			}
		})
	}
}

// Number 2 waits while number 1 is refused: most bureaus take them in order.
func TestTheNextNumberWaitsForARefusedOne(t *testing.T) {
	b, s, _ := refused(t)
	b.drop("b.csv", "card_id,user_id,reason_code\n2,C2,1\n")
	if r := b.run(); r.Exit != 4 || len(b.received()) != 0 {
		t.Fatalf("exit %d, the bureau has %v", r.Exit, b.received())
	}
	n := b.open()
	if _, err := n.Resend(t.Context(), s.FileName, "they mended their side"); err != nil {
		t.Fatal(err)
	}
	n.Close()
	if r := b.run(); r.Exit != 0 || len(b.received()) != 2 {
		t.Errorf("exit %d, the bureau has %v", r.Exit, b.received())
	}
}

// While what was told of a card contradicts itself, one may be in the mail.
func TestADisputedCardIsNotMadeAgain(t *testing.T) {
	b, s := oneCard(t)
	b.answer("r.csv", b.event(s, "REJECTED", b.now.Add(time.Minute)), b.event(s, "SHIPPED", b.now.Add(2*time.Minute)))
	b.now = b.now.Add(time.Hour)
	b.drop("b.csv", "card_id,user_id,reason_code\n1,C1,2\n")
	b.run()
	b.want(b.codes("done", "b.csv"), "card_in_transit")
	if err := b.settle("r.csv", Keep); err != nil {
		t.Fatal(err)
	}
	b.drop("c.csv", "card_id,user_id,reason_code\n1,C1,1\n1,C1,1\n")
	b.run()
	b.want(b.codes("done", "c.csv"), "00", "duplicate_row")
}

// After a rejection the new expiry is not that of the plastic which the holder still has.
func TestARejectedReissueDoesNotBringBackAnOldExpiry(t *testing.T) {
	b, s := oneCard(t)
	expiries := []iso.Expiry{s.Expiry}
	for i, end := range []string{"DELIVERED", "REJECTED", "REJECTED"} {
		b.answer(string(rune('a'+i))+".csv", b.event(s, end, b.now.Add(time.Minute)))
		b.now = b.now.Add(time.Hour)
		b.drop(string(rune('p'+i))+".csv", "card_id,user_id,reason_code,reference\n1,C1,1,"+string(rune('p'+i))+"\n")
		b.run()
		s = b.order(1)
		if slices.Contains(expiries, s.Expiry) {
			t.Errorf("reissue %d has the expiry %s of an earlier plastic: its CVV2 would be that one's", i+2, s.Expiry)
		}
		expiries = append(expiries, s.Expiry)
	}
}

func TestACardNumberInTheNameOfAReturnFileIsMasked(t *testing.T) {
	b, s := oneCard(t, "after: leave", "after: remove")
	n := b.open()
	cards, err := n.Ledger.Cards(t.Context(), []int64{1})
	if err != nil {
		t.Fatal(err)
	}
	n.Close()
	number := cards[1].PAN.Reveal()
	b.answer(number+".csv", b.event(s, "SHIPPED", b.now))
	b.answer("bad "+number+".csv", "CARD,nobody.pgp,,"+s.UID+",SHIPPED,,,,,,"+b.now.UTC().Format(time.RFC3339))
	b.run()
	if b.order(1).State != ledger.Shipped || len(b.returnFiles(ledger.ReturnQuarantined)) != 1 {
		t.Fatalf("%s %+v", b.order(1).State, b.returnFiles())
	}
	err = filepath.WalkDir(b.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || strings.Contains(path, "/simulator/") {
			return err
		}
		text := ""
		if !d.IsDir() {
			all, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(all)
		}
		if strings.Contains(text, number) || strings.Contains(path, number) {
			t.Errorf("%s holds the card number", strings.ReplaceAll(b.Relative(path), number, "the number"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(b.Simulator("alpha"), "returns", "*.csv")); len(left) > 0 {
		t.Errorf("%d files were not removed at the bureau", len(left))
	}
}

// Two quarantined files of one name are told apart by their places.
func TestQuarantinedFilesOfOneNameAreSettledByTheirPlaces(t *testing.T) {
	b, _ := oneCard(t)
	b.answer("r.csv", "FILE,nobody.pgp,,,RECEIVED,1,,,,,2026-11-21T10:00:00Z")
	b.run()
	b.answer("r.csv", "FILE,nobody-else.pgp,,,RECEIVED,1,,,,,2026-11-21T10:00:00Z")
	b.run()
	if len(b.returnFiles(ledger.ReturnQuarantined)) != 2 {
		t.Fatalf("%+v", b.returnFiles())
	}
	if err := b.settle("r.csv", Dismiss); err == nil {
		t.Error("one of two was chosen")
	}
	for _, place := range []string{"returns/alpha/quarantine/r.csv", "returns/alpha/quarantine/r-2.csv"} {
		if err := b.settle(place, Dismiss); err != nil {
			t.Error(err)
		}
	}
	if r := b.run(); r.Exit != 0 {
		t.Errorf("exit %d: %+v", r.Exit, r.NeedsPerson)
	}
}

// What we hold of one file is damaged: the others go on, a person decides, and the bureau's copy is read again.
func TestDamagedBytesOfOneFileStopNoNight(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"gone":    os.Remove,
		"changed": func(path string) error { return os.WriteFile(path, []byte("no message"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			b, s := oneCard(t)
			b.answer("a.csv", b.event(s, "SHIPPED", b.now))
			if !b.runKilledAt("collect/held", 0) {
				t.Fatal("the point was never passed")
			}
			held, err := filepath.Glob(filepath.Join(b.HeldReturns(), "*"))
			if err != nil || len(held) != 1 {
				t.Fatal(held, err)
			}
			if err := damage(held[0]); err != nil {
				t.Fatal(err)
			}
			b.answer("b.csv", b.event(s, "PRODUCED", b.now))
			if r := b.run(); r.Exit != 4 || b.order(1).State != ledger.Produced {
				t.Fatalf("exit %d, %s", r.Exit, b.order(1).State)
			}
			if err := b.settle("a.csv", Dismiss); err != nil {
				t.Fatalf("%v: %+v", err, b.returnFiles())
			}
			if r := b.run(); r.Exit != 0 || b.order(1).State != ledger.Shipped {
				t.Errorf("exit %d, %s: %+v", r.Exit, b.order(1).State, r.NeedsPerson)
			}
		})
	}
}

// A file that was taken away and lies there again is another one; its content decides.
func TestAFileThatComesAgainUnderItsNameIsTaken(t *testing.T) {
	b, s := oneCard(t, "after: leave", "after: remove")
	at := time.Now().Truncate(time.Second)
	put := func(line string) {
		b.answer("fixed.csv", line)
		if err := os.Chtimes(filepath.Join(b.Simulator("alpha"), "returns", "fixed.csv"), at, at); err != nil {
			t.Fatal(err)
		}
	}
	put(b.event(s, "PRODUCED", b.now))
	b.run()
	put(b.event(s, "PRODUCED", b.now)) // the same, of the same time
	b.run()
	put(b.event(s, "RETURNED", b.now)) // as long, of the same time
	b.run()
	if b.order(1).State != ledger.Returned {
		t.Errorf("%s", b.order(1).State)
	}
	if left, _ := filepath.Glob(filepath.Join(b.Simulator("alpha"), "returns", "*.csv")); len(left) > 0 {
		t.Errorf("left at the bureau: %v", left)
	}
}
