package batch

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

// voided is the file of cards 1 and 2 that its bureau refused and a person cancelled; the cards wait for the next one.
func voided(t *testing.T, b *bench) ledger.Shipment {
	t.Helper()
	s := b.order(1)
	if err := os.Remove(filepath.Join(b.Simulator("alpha"), "incoming", s.FileName)); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(time.Hour)
	b.answer("refused.csv", b.fileEvent(s, "REFUSED", 2, b.now))
	b.now = b.now.Add(time.Hour)
	b.run()
	if moved, err := b.cancel(s.FileName); err != nil || moved != 2 {
		t.Fatalf("%d moved, %v", moved, err)
	}
	b.now = b.now.Add(time.Hour)
	return s
}

func twoCards(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n2,C2,1\n")
	b.run()
	return b
}

// settled settles the one dispute there is.
func (b *bench) settled(word Settlement) {
	b.Helper()
	n := b.open()
	defer n.Close()
	disputes, _, err := n.Ledger.Disputes(b.Context(), 0)
	if err != nil || len(disputes) != 1 {
		b.Fatalf("disputes %+v, %v", disputes, err)
	}
	if _, err := n.Settle(b.Context(), strconv.FormatInt(disputes[0].ID, 10), word, "the bureau was asked"); err != nil {
		b.Fatal(err)
	}
}

// offers says whether the report offers a command that begins so.
func offers(r *report.Reconciliation, command string) bool {
	return slices.ContainsFunc(r.NeedsPerson, func(n report.Need) bool {
		return slices.ContainsFunc(n.Choices(), func(c string) bool { return strings.HasPrefix(c, command) })
	})
}

// A bureau refused a file, a person cancelled it, and then the bureau tells that it made it: no card of it is made again
// before a person settled which of the two is right.
func TestCardsOfAVoidFileThatTheBureauSpeaksOfWait(t *testing.T) {
	unnamed := func(line string, s ledger.Shipment) string {
		return strings.Replace(line, s.FileName+","+strconv.FormatInt(s.Sequence, 10), ",", 1)
	}
	for name, tt := range map[string]struct {
		line func(b *bench, s ledger.Shipment) string
		take map[int64]ledger.OrderState // what --take makes of the cards in the VOID file; the others go into the next one
	}{
		"of a card, with its file": {func(b *bench, s ledger.Shipment) string { return b.event(s, "PRODUCED", b.now) }, map[int64]ledger.OrderState{1: ledger.Produced}},
		"of a card alone":          {func(b *bench, s ledger.Shipment) string { return unnamed(b.event(s, "SHIPPED", b.now), s) }, map[int64]ledger.OrderState{1: ledger.Shipped}},
		"of the file":              {func(b *bench, s ledger.Shipment) string { return b.fileEvent(s, "RECEIVED", 2, b.now) }, map[int64]ledger.OrderState{1: ledger.Acked, 2: ledger.Acked}},
	} {
		for _, word := range []Settlement{Keep, Take} {
			t.Run(name+", "+string(word), func(t *testing.T) {
				b := twoCards(t)
				s := voided(t, b)
				b.answer("told.csv", tt.line(b, s))
				b.now = b.now.Add(20 * time.Hour)
				for range 2 {
					r := b.run()
					b.mustHold(r.Reconciliation)
					if len(b.received()) != 0 || r.Exit != 4 || len(r.Waits) != 1 || r.Waits[0].Orders != 2 || !strings.Contains(r.Waits[0].Reason, "settle event") || !offers(r.Reconciliation, "reemboss settle") {
						t.Fatalf("the bureau has %v, exit %d, waits %+v", b.received(), r.Exit, r.Waits)
					}
				}
				b.settled(word)
				r := b.run()
				b.mustHold(r.Reconciliation)
				for card := int64(1); card <= 2; card++ {
					want, back := tt.take[card]
					now := b.order(card)
					if word == Keep || !back {
						if now.State != ledger.SentO || now.FileName == s.FileName {
							t.Errorf("card %d is %s in %s", card, now.State, now.FileName)
						}
					} else if now.State != want || now.FileName != s.FileName {
						t.Errorf("card %d is %s in %s, wanted %s in the file it was made from", card, now.State, now.FileName, want)
					}
				}
				if r.Exit != 0 {
					t.Errorf("exit %d: %+v", r.Exit, r.NeedsPerson)
				}
				b.drop("again.csv", "card_id,user_id,reason_code\n1,C1,2\n")
				b.run()
				b.want(b.codes("done", "again.csv"), "card_in_transit")
			})
		}
	}
}

// What the bureau tells of the VOID file when the card is in a later one says nothing of the later one.
func TestALineOfAVoidFileDoesNotMoveACardOfTheNextOne(t *testing.T) {
	b := twoCards(t)
	s := voided(t, b)
	b.run()
	b.now = b.now.Add(time.Hour)
	b.answer("told.csv", b.event(s, "SHIPPED", b.now))
	b.now = b.now.Add(time.Hour)
	r := b.run()
	b.mustHold(r.Reconciliation)
	now := b.order(1)
	last := now.Events[len(now.Events)-1]
	if now.State != ledger.SentO || now.FileName == s.FileName || last.Status != "SHIPPED" || last.Dispute == "" || last.FileID != s.BureauFileID || r.Exit != 4 {
		t.Errorf("%s in %s, exit %d, %+v", now.State, now.FileName, r.Exit, last)
	}
}

// The cards of a VOID file wait for a second person when the bureau tells of one: nobody decides their hold before that is
// settled, and whoever takes it dissolves the hold, so that the other card is approved anew.
func TestAHoldWithACardThatTheBureauSpeaksOfIsNotDecided(t *testing.T) {
	for _, approvedBefore := range []bool{false, true} {
		h := newHall(t)
		h.configure("always: true", "always: false")
		h.silent()
		h.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
		h.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n2,C2,1\n")
		h.run()
		s := voided(t, h.bench)
		h.configure("always: false", "always: true")
		h.run()
		hold := h.held()
		if approvedBefore {
			h.as("ben", func(n *Night) {
				if _, err := n.Approve(t.Context(), hold.Name, ""); err != nil {
					t.Fatal(err)
				}
			})
		}
		h.answer("told.csv", h.event(s, "SHIPPED", h.now))
		h.now = h.now.Add(time.Hour)
		r := h.run()
		h.mustHold(r.Reconciliation)
		if len(h.received()) != 0 || r.Exit != 4 {
			t.Fatalf("approved %v: the bureau has %v, exit %d", approvedBefore, h.received(), r.Exit)
		}
		if !approvedBefore {
			h.as("ben", func(n *Night) {
				if _, err := n.Approve(t.Context(), hold.Name, ""); err == nil || !strings.Contains(err.Error(), "settle event") {
					t.Errorf("approve: %v", err)
				}
				if _, err := n.CancelHold(t.Context(), hold.Name, "wrong"); err == nil || !strings.Contains(err.Error(), "settle event") {
					t.Errorf("cancel: %v", err)
				}
			})
			if code, state := h.dropped("yes.asc", clearSigned(t, h.keys["ben"], approvalOf(hold, "approve", ""), h.now)); code != "reference_conflict" || state != ledger.Held {
				t.Errorf("signed: %s, %s", code, state)
			}
		}
		h.settled(Take)
		r = h.run()
		h.mustHold(r.Reconciliation)
		other := h.held()
		if now := h.order(1); now.State != ledger.Shipped || now.FileName != s.FileName {
			t.Errorf("card 1 is %s in %s", now.State, now.FileName)
		}
		if other.Name == hold.Name || other.State != ledger.Held || other.Records != 1 || h.order(2).HoldID != other.ID {
			t.Errorf("card 2 waits in %+v", other)
		}
	}
}

// A backup from before a night that sent the card; the bureau tells of it by its number.
func TestARestoredHoldThatTheBureauMadeIsNotApproved(t *testing.T) {
	b := newBench(t)
	b.silent()
	b.configure("hold: false", "hold: true")
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n")
	b.run()
	backup := b.backedUp()
	b.configure("hold: true", "hold: false")
	b.now = b.now.Add(time.Hour)
	b.run() // the lost night
	s := b.order(1)
	b.now = b.now.Add(time.Hour)
	if err := b.restores(backup); err != nil {
		t.Fatal(err)
	}
	b.answer("told.csv", "CARD,,,"+s.UID+",SHIPPED,,,,,,"+b.now.UTC().Format(time.RFC3339))
	b.now = b.now.Add(time.Hour)
	r := b.run()
	hold := b.held()
	if !offers(r.Reconciliation, "reemboss resolve "+hold.Name+" --delivered") || !offers(r.Reconciliation, "reemboss settle") {
		t.Errorf("needs %+v", r.NeedsPerson)
	}
	for _, need := range r.NeedsPerson {
		if strings.Contains(need.Why, "nothing can have happened") || strings.Contains(need.Why, "does not have") {
			t.Errorf("a lost night may have made the card: %s", need.Why)
		}
	}
	login, _ := ownLogin()
	b.as(login, func(n *Night) {
		if _, err := n.Approve(t.Context(), hold.Name, ""); err == nil || !strings.Contains(err.Error(), "reemboss resolve "+hold.Name+" --delivered") {
			t.Errorf("approve: %v", err)
		}
		if _, err := n.Settle(t.Context(), "1", Take, "they made it"); err == nil || !strings.Contains(err.Error(), "reemboss resolve "+hold.Name+" --delivered") {
			t.Errorf("take: %v", err)
		}
		if cards, err := n.ResolveHold(t.Context(), hold.Name, "the bureau shipped it"); err != nil || cards != 1 {
			t.Errorf("resolve: %d, %v", cards, err)
		}
	})
	b.settled(Keep)
	r = b.run()
	b.mustHold(r.Reconciliation)
	if now := b.order(1); now.State != ledger.Cancelled || len(b.received()) != 1 {
		t.Errorf("%s, the bureau has %v", now.State, b.received())
	}
}
