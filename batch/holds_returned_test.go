package batch

import (
	"testing"

	"reemboss/batch/ledger"
)

// Reason 5 says that the mail came back. When its hold is cancelled the card is what it was before; that the mail came back
// stays true, so the card may be asked for again at once.
func TestACancelledHoldOfAReturnedCardLeavesTheCardAndTheReturn(t *testing.T) {
	h := newHall(t)
	h.configure("always: true", "always: false")
	h.silent()
	h.cards("1 C1 BLOCKED 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	h.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n")
	h.run()
	h.configure("always: false", "always: true")
	h.now = h.now.AddDate(0, 0, 2) // past return_min_days
	h.run()
	before, sent := h.ledgerRows().cards, h.order(1).UID
	h.drop("b.csv", "card_id,user_id,reason_code\n1,C1,5\n2,C2,4\n")
	h.run()
	hold := h.held()
	if now := h.ledgerRows().cards; hold.Records != 2 || now[1] == before[1] || now[2] == before[2] {
		t.Fatalf("%d cards are held; %+v %+v", hold.Records, now[1], now[2])
	}
	h.as("anybody", func(n *Night) {
		if orders, err := n.CancelHold(t.Context(), hold.Name, "the letters are found"); err != nil || orders != 2 {
			t.Errorf("%d orders, %v", orders, err)
		}
	})
	for card, was := range before {
		if now := h.ledgerRows().cards[card]; now != was {
			t.Errorf("card %d is %+v, and was %+v", card, now, was)
		}
	}
	n := h.open()
	shipments, err := n.Ledger.Shipments(t.Context(), []string{sent})
	if err != nil || shipments[sent].State != ledger.Returned {
		t.Errorf("the card that came back: %v %v", shipments[sent], err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	h.drop("c.csv", "card_id,user_id,reason_code\n1,C1,5\n2,C2,1\n")
	h.run()
	h.want(h.codes("done", "c.csv"), "00", "00")
}
