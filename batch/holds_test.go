package batch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/formats/iso"
)

// Invariant: a cancelled hold leaves the cards as they were, and the balance whole.
func TestACancelledHoldLeavesEverythingAsItWas(t *testing.T) {
	for _, way := range []string{"by command", "by signed file"} {
		t.Run(way, func(t *testing.T) {
			h := newHall(t)
			h.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
			h.run()
			before := h.registry(1, 2)
			hold := h.holdTwo("branch 7")
			if h.registry(1, 2) == before {
				t.Fatal("the orders changed nothing")
			}
			if way == "by command" {
				h.as("anybody", func(n *Night) {
					if _, err := n.CancelHold(t.Context(), hold.Name, " "); err == nil {
						t.Error("cancelled without a reason")
					}
					if orders, err := n.CancelHold(t.Context(), hold.Name, "the list was wrong"); err != nil || orders != 2 {
						t.Errorf("%d orders, %v", orders, err)
					}
				})
			} else {
				h.drop("no.asc", clearSigned(t, h.keys["ben"], approvalOf(hold, "cancel", "the list was wrong"), h.now))
			}
			r := h.run()
			if r.Exit != 0 || r.CarriedOver.Cancelled != 2 || r.CarriedOver.Before != 2 {
				t.Errorf("exit %d, %s %+v %v", r.Exit, r.Verdict, r.CarriedOver, r.NeedsPerson)
			}
			if len(r.Files) != 1 || r.Files[0].State != "CANCELLED" || r.Files[0].Sequence != 0 || r.Files[0].Records != 2 {
				t.Errorf("files %+v", r.Files)
			}
			if after := h.registry(1, 2); after != before {
				t.Errorf("the cards are\n%s, they were\n%s", after, before)
			}
			events, err := os.ReadFile(filepath.Join(h.Reports(r.RunID), "events.ndjson"))
			if err != nil || strings.Count(string(events), `"error_code":"cancelled","error_description":"the list was wrong"`) != 2 {
				t.Errorf("%v\n%s", err, events)
			}
			again := h.again(hold.RunID)
			if again.Accepted != 2 || again.Cancelled != 2 || again.Waiting != 0 || !again.Balances[0].Holds || !strings.Contains(again.Verdict, "2 cancelled") {
				t.Errorf("the first night, told again: %s", again.Verdict)
			}
			h.drop("b.csv", "card_id,user_id,reason_code\n1,C1,1\n2,C2,3\n")
			h.run()
			h.want(h.codes("done", "b.csv"), "00", "00")
		})
	}
}

// registry is how some cards are now.
func (h *hall) registry(ids ...int64) string {
	h.Helper()
	n := h.open()
	defer n.Close()
	cards, err := n.Ledger.Cards(h.Context(), ids)
	if err != nil {
		h.Fatal(err)
	}
	var list []string
	for _, id := range ids {
		c := cards[id]
		list = append(list, fmt.Sprintf("%d %s PSN %d %s %v %d %q %s successor %d, decided %d", id, c.Status, c.PSN, c.Expiry, c.StartDate, c.ValidityMonths, c.CVKRef, c.PrintedName, c.Successor, c.Decided))
	}
	return strings.Join(list, "\n")
}

func (h *hall) again(run string) *report.Reconciliation {
	h.Helper()
	n := h.open()
	defer n.Close()
	r, err := n.Report(h.Context(), run)
	if err != nil {
		h.Fatal(err)
	}
	return r
}

// An order from before files were held cannot be taken back; it can be approved.
func TestAHoldWithoutBeforeImagesIsNotCancelled(t *testing.T) {
	h := newHall(t)
	h.configure("always: true", "always: false", "    hold: false              # true: accepted", "    hold: true # true: accepted")
	h.cards("1 C1 NORMAL 411111000000001 00")
	h.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n")
	h.run()
	h.configure("always: false", "always: true", "    hold: true # true: accepted", "    hold: false              # true: accepted")
	h.run()
	hold := h.held()
	h.as("ben", func(n *Night) {
		if _, err := n.CancelHold(t.Context(), hold.Name, "wrong"); err == nil || !strings.Contains(err.Error(), "nobody knows what the card was before") {
			t.Errorf("%v", err)
		}
	})
	if code, state := h.dropped("no.asc", clearSigned(t, h.keys["ben"], approvalOf(hold, "cancel", "wrong"), h.now)); code != "reference_conflict" || state != ledger.Held {
		t.Errorf("%s, %s", code, state)
	}
	if code, state := h.dropped("yes.asc", clearSigned(t, h.keys["ben"], approvalOf(hold, "approve", ""), h.now)); code != "00" || state != ledger.Approved {
		t.Errorf("%s, %s", code, state)
	}
}

// Somebody who changes the ledger has nothing made under an approval, and stops nobody else's file.
func TestAHoldThatIsNotWhatWasApprovedStops(t *testing.T) {
	h := newHall(t)
	first := h.holdTwo("branch 7")
	h.cards("3 C3 NORMAL 411111000000003 00")
	h.drop("b.csv", "card_id\n3\n")
	h.run()
	second := h.held()
	h.as("ben", func(n *Night) {
		for _, hold := range []ledger.Hold{first, second} {
			if _, err := n.Approve(t.Context(), hold.Name, ""); err != nil {
				t.Fatal(err)
			}
		}
	})
	h.tamper("UPDATE order_bodies SET record = CAST(replace(CAST(record AS TEXT), 'ANNA', 'ANNO') AS BLOB) WHERE id = 1")
	r := h.run()
	var sent int64
	for _, f := range r.Files {
		if f.State == ledger.Sent {
			sent += f.Records
		}
	}
	if sent != 1 || r.Exit != 4 {
		t.Errorf("%d cards sent, exit %d: %s", sent, r.Exit, r.Verdict)
	}
	if !strings.Contains(fmt.Sprint(r.NeedsPerson), first.Name+" is not written") {
		t.Errorf("needs %v", r.NeedsPerson)
	}
}

// tamper changes the ledger behind its back.
func (b *bench) tamper(sql string) {
	b.Helper()
	conn, err := sqlite.OpenConn(b.LedgerFile(), sqlite.OpenReadWrite)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if err := sqlitex.Execute(conn, sql, nil); err != nil || conn.Changes() != 1 {
		b.Fatalf("%d rows, %v", conn.Changes(), err)
	}
}

// A night that dies at each point of holding, deciding and writing: no card is lost, in two files, or in two holds.
func TestHoldsKilledAtEachPoint(t *testing.T) {
	for _, point := range []string{"write/hold", "write/held", "approval/decide", "approval/decided", "answer/placed", "write/plan", "write/planned", "write/written"} {
		t.Run(point, func(t *testing.T) {
			h := newHall(t)
			hold := h.holdTwo("branch 7")
			h.drop("x.asc", clearSigned(t, h.keys["ben"], approvalOf(hold, "approve", ""), h.now))
			h.cards("3 C3 NORMAL 411111000000003 00")
			h.drop("b.csv", "card_id\n3\n")
			if !h.runKilledAt(point, 0) {
				t.Fatal("the point was never passed")
			}
			r := h.run()
			h.mustHold(r.Reconciliation)
			h.want(h.codes("done", "x.asc"), "00")
			n := h.open()
			defer n.Close()
			holds, err := n.Ledger.Holds(t.Context(), ledger.HoldQuery{})
			if err != nil || len(holds) != 2 || holds[0].FileName == "" || holds[1].State != ledger.Held || holds[1].Records != 1 {
				t.Errorf("%+v, %v", holds, err)
			}
			files, err := n.Ledger.BureauFiles(t.Context(), ledger.FileQuery{States: []ledger.BureauFileState{ledger.Sent}})
			if err != nil || len(files) != 2 || files[0].Records != 2 { // alpha's and the card system's
				t.Errorf("%+v, %v", files, err)
			}
		})
	}
}

// Whatever is changed of a card that was approved, or of their order, gives another digest.
func TestTheDigestOfAHoldKnowsEachFieldOfItsCards(t *testing.T) {
	n := newBench(t).open()
	digest := func(bureau string, orders ...ledger.Order) string {
		d, err := n.holdDigest(bureau, func(fn func(*ledger.Order) error) error {
			for i := range orders {
				if err := fn(&orders[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	pan := func(body string) iso.PAN {
		p, err := iso.ParsePAN(body + string(iso.LuhnDigit(body)))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	order := func(change func(*ledger.Order)) ledger.Order {
		o := ledger.Order{UID: "U1", PAN: pan("411111000000001"), EmbossedCardID: 1, Record: []byte(`{"a":1}`)}
		change(&o)
		return o
	}
	same := func(*ledger.Order) {}
	other := order(func(o *ledger.Order) { o.UID = "U2" })
	seen := map[string]string{digest("alpha", order(same), other): "as approved"}
	for what, d := range map[string]string{
		"another bureau": digest("beta", order(same), other),
		"another uid":    digest("alpha", order(func(o *ledger.Order) { o.UID = "U3" }), other),
		"another number": digest("alpha", order(func(o *ledger.Order) { o.PAN = pan("411111000000002") }), other),
		"another card":   digest("alpha", order(func(o *ledger.Order) { o.EmbossedCardID = 2 }), other),
		"another record": digest("alpha", order(func(o *ledger.Order) { o.Record = []byte(`{"a":2}`) }), other),
		"one card less":  digest("alpha", order(same)),
		"another order":  digest("alpha", other, order(same)),
	} {
		if before, known := seen[d]; known {
			t.Errorf("%s has the digest of: %s", what, before)
		}
		seen[d] = what
	}
}
