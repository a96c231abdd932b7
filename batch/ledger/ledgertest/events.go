package ledgertest

import (
	"fmt"
	"time"

	"reemboss/batch/ledger"
)

var eventPromises = []promise{
	{"an event comes back with every field", func(d *desk) {
		r := d.begin()
		o := d.ship(r, 1, 1, start)
		id := d.returned(r, "ret-1")
		want := ledger.Event{
			UID: o.UID, FileID: o.BureauFileID, Status: "SHIPPED", At: start.Add(5 * time.Millisecond), Code: "C7", Description: "left the house", Carrier: "ROYAL MAIL",
			TrackingNumber: "RM1", Count: -1, Source: ledger.FromBureau, Line: 3, State: ledger.Shipped, Acked: 1,
		}
		d.commit(returnChunk(r, id, 3, want), ledger.SentO)
		want.ReturnID, want.RunID, want.RecordedAt = id, r.ID, r.StartedAt
		got := d.shipmentOf(o.UID).Events[0]
		want.ID = got.ID
		d.same("with its shipment", want, got)
		alone, err := d.Event(d.ctx, got.ID)
		d.must(err)
		d.same("alone", want, alone)
		_, err = d.Event(d.ctx, got.ID+1)
		d.notFound(err)
	}},
	{"a shipment is its order without record and decision; unknown ones are missing", func(d *desk) {
		r := d.begin()
		o := d.ship(r, 1, 1, start.Add(time.Minute))
		found, err := d.Shipments(d.ctx, []string{"no such order", o.UID, o.UID})
		d.must(err)
		d.same("found", 1, len(found))
		want := o
		want.State, want.FileName, want.Sequence, want.SentAt, want.Record, want.Decision = ledger.SentO, "alpha-00001.pgp", 1, start.Add(time.Minute), nil, nil
		d.same("shipment", &ledger.Shipment{Order: want}, found[o.UID])
	}},
	{"each event moves its order and its posting the balance, step by step", func(d *desk) {
		r := d.begin()
		file, orders := d.sent(r, 1, 1, 2, 3)
		id := d.returned(r, "ret-1")
		d.balances(file, 3, 0, 0, 3)
		steps := []struct {
			event           ledger.Event
			from            ledger.OrderState
			acked, rejected int64
		}{
			{event(orders[0], "ACKED", ledger.Acked, 1, 0), ledger.SentO, 1, 0},
			{event(orders[1], "REJECTED", ledger.Rejected, 0, 1), ledger.SentO, 1, 1},
			{event(orders[0], "PRODUCED", ledger.Produced, 0, 0), ledger.Acked, 1, 1},
			{event(orders[2], "SHIPPED", ledger.Shipped, 1, 0), ledger.SentO, 2, 1},
			{event(orders[0], "REJECTED", ledger.Rejected, -1, 1), ledger.Produced, 1, 2},
			{event(orders[2], "DELIVERED", ledger.Delivered, 0, 0), ledger.Shipped, 1, 2},
		}
		for i, step := range steps {
			d.commit(returnChunk(r, id, i+1, step.event), step.from)
			d.balances(file, 3, step.acked, step.rejected, 3-step.acked-step.rejected)
		}
		d.shipment(orders[0], ledger.Rejected, "ACKED", "PRODUCED", "REJECTED")
		d.shipment(orders[2], ledger.Delivered, "SHIPPED", "DELIVERED")
		d.same("by state", map[ledger.OrderState]int64{ledger.Rejected: 2, ledger.Delivered: 1}, d.balanceOf(file).ByState)
	}},
	{"an order may have several events in a chunk, each from the state before it", func(d *desk) {
		r := d.begin()
		o := d.ship(r, 1, 1, start)
		id := d.returned(r, "ret-1")
		d.commit(returnChunk(r, id, 3, event(o, "ACKED", ledger.Acked, 1, 0), event(o, "PRODUCED", ledger.Produced, 0, 0), event(o, "ACKED", "", 0, 0)),
			ledger.SentO, ledger.Acked, ledger.Produced)
		d.shipment(o, ledger.Produced, "ACKED", "PRODUCED", "ACKED")
		d.balances(o.BureauFileID, 1, 1, 0, 0)
	}},
	{"events are told by their own time, not by their coming", func(d *desk) {
		r := d.begin()
		o := d.ship(r, 1, 1, start)
		id := d.returned(r, "ret-1")
		late, early := event(o, "SHIPPED", ledger.Shipped, 1, 0), event(o, "PRODUCED", "", 0, 0)
		early.At = late.At.Add(-time.Hour)
		d.commit(returnChunk(r, id, 2, late, early), ledger.SentO, ledger.Shipped)
		d.shipment(o, ledger.Shipped, "PRODUCED", "SHIPPED")
	}},
	{"an event changes an order of its own file only, and never opens one", func(d *desk) {
		r := d.begin()
		o, other := d.ship(r, 1, 1, start), d.ship(r, 2, 2, start)
		id := d.returned(r, "ret-1")
		moved := event(o, "ACKED", ledger.Acked, 1, 0)
		moved.FileID = other.BureauFileID
		c := returnChunk(r, id, 1, moved)
		c.From = []ledger.OrderState{ledger.SentO}
		d.conflict(d.CommitReturn(d.ctx, c))
		for _, state := range []ledger.OrderState{ledger.Queued, ledger.PlannedO} {
			c.Events = []ledger.Event{event(o, "REFUSED", state, 0, 0)}
			if err := d.CommitReturn(d.ctx, c); err == nil {
				d.Errorf("an event made an order %s", state)
			}
		}
		d.shipment(o, ledger.SentO)
	}},
	{"what a bureau rejects, delivers, gets back or loses is in transit no more", func(d *desk) {
		r := d.begin()
		id := d.returned(r, "ret-1")
		for i, state := range []ledger.OrderState{ledger.Rejected, ledger.Delivered, ledger.Returned, ledger.Lost} {
			card := int64(i + 1)
			d.cards(TestCard(card))
			o := d.ship(r, card, card, start)
			d.commit(returnChunk(r, id, i+1, event(o, string(state), state, 1, 0)), ledger.SentO)
			d.embossings(card, string(state), "")
		}
	}},
	{"a card in use is an event of its shipment, which acknowledges it unless the bureau did", func(d *desk) {
		r := d.begin()
		file, orders := d.sent(r, 1, 1, 2)
		d.commit(returnChunk(r, d.returned(r, "ret-1"), 1, event(orders[1], "ACKED", ledger.Acked, 1, 0)), ledger.SentO)
		at := start.Add(day)
		for _, card := range []int64{1, 2, 1} {
			d.store(ledger.CardWrite{Card: TestCard(card), Activated: true, At: at})
		}
		d.shipment(orders[0], ledger.Activated, "ACTIVATED")
		d.shipment(orders[1], ledger.Activated, "ACKED", "ACTIVATED")
		d.balances(file, 2, 2, 0, 0)
		got := d.shipmentOf(orders[0].UID).Events[0]
		d.same("event", ledger.Event{
			ID: got.ID, UID: orders[0].UID, FileID: file, Status: "ACTIVATED", At: at, Count: -1, Source: ledger.FromExtract, RunID: r.ID, RecordedAt: at, State: ledger.Activated, Acked: 1,
		}, got)
	}},
	{"a card that came back, as a request says, is an event of its shipment", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		o := d.ship(r, 1, 1, start.Add(-3*day))
		c := chunk(r, d.file(r, "b.csv"))
		c.Changes = []ledger.CardChange{{ID: 1, CloseTransit: true}}
		d.must(d.CommitChunk(d.ctx, c))
		got := d.shipmentOf(o.UID).Events[0]
		d.same("event", ledger.Event{
			ID: got.ID, UID: o.UID, FileID: o.BureauFileID, Status: "RETURNED", At: c.At, Count: -1, Source: ledger.FromRequest, RunID: r.ID, RecordedAt: c.At, State: ledger.Returned, Acked: 1,
		}, got)
		d.balances(o.BureauFileID, 1, 1, 0, 0)
	}},
	{"a run's events are told in the order of their coming, with order and card", func(d *desk) {
		first := d.begin()
		d.cards(TestCard(1), TestCard(2))
		o := d.ship(first, 1, 1, start)
		gone := d.ship(first, 2, 2, start)
		d.commit(returnChunk(first, d.returned(first, "ret-1"), 1, event(o, "ACKED", ledger.Acked, 1, 0)), ledger.SentO)
		d.finish(first)
		second := d.begin()
		refusedCard := event(gone, "REJECTED", ledger.Rejected, 0, 1)
		refusedCard.Code = "012"
		disputed := event(o, "ACKED", "", 0, 0)
		disputed.Dispute = "it was acknowledged before"
		d.commit(returnChunk(second, d.returned(second, "ret-2"), 3, refusedCard, event(o, "SHIPPED", ledger.Shipped, 0, 0), disputed), ledger.SentO, ledger.Acked, ledger.Shipped)
		var told []string
		d.must(d.EachEvent(d.ctx, second.ID, func(t *ledger.ToldEvent) error {
			told = append(told, fmt.Sprint(t.Status, " ", t.Order.UID == t.UID, " ", t.Order.State, " ", t.Order.FileName))
			card := TestCard(t.Order.EmbossedCardID)
			d.same("card", &ledger.CardFacts{ID: card.ID, ProgramID: card.ProgramID, AccountID: card.AccountID, CustomerID: card.CustomerID, Status: card.Status}, t.Card)
			return nil
		}))
		d.same("told", []string{"REJECTED true REJECTED alpha-00002.pgp", "SHIPPED true SHIPPED alpha-00001.pgp", "ACKED true SHIPPED alpha-00001.pgp"}, told)
		tallies, err := d.EventTallies(d.ctx, second.ID)
		d.must(err)
		d.same("tallies", []ledger.EventTally{
			{Bureau: "alpha", Status: "ACKED", Disputed: true, N: 1}, {Bureau: "alpha", Status: "REJECTED", Code: "012", N: 1}, {Bureau: "alpha", Status: "SHIPPED", N: 1},
		}, sorted(tallies, func(a, b ledger.EventTally) int {
			if a.Status < b.Status {
				return -1
			}
			return 1
		}))
		d.notFound(d.EachEvent(d.ctx, "2020-01-01-001", func(*ledger.ToldEvent) error { return nil }))
	}},
	{"a card's shipments are those of its whole chain, oldest first", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(5))
		file := d.file(r, "a.csv")
		var want []string
		for i, link := range [][2]int64{{1, 900}, {900, 901}} {
			c := d.replacement(r, file, i+1, link[0], link[1])
			d.must(d.CommitChunk(d.ctx, c))
			d.send(r, d.plan(r, "alpha", int64(i+1), 1), start)
			want = append(want, c.Orders[0].UID)
		}
		d.order(r, file, 9, 5)
		for _, card := range []int64{1, 900, 901} {
			shipments, err := d.CardShipments(d.ctx, card)
			d.must(err)
			var got []string
			for _, s := range shipments {
				got = append(got, s.UID)
			}
			d.same(fmt.Sprintf("shipments of card %d", card), want, got)
		}
		shipments, err := d.CardShipments(d.ctx, 77)
		d.must(err)
		d.same("of an unknown card", 0, len(shipments))
	}},
}

// event is one of an order, an hour after the start.
func event(o ledger.Order, status string, state ledger.OrderState, acked, rejected int) ledger.Event {
	return ledger.Event{UID: o.UID, FileID: o.BureauFileID, Status: status, At: start.Add(time.Hour), Count: -1, Source: ledger.FromBureau, State: state, Acked: acked, Rejected: rejected}
}

// sent orders a re-embossing of each card, all in one file of alpha that is sent.
func (d *desk) sent(r ledger.Run, sequence int64, cards ...int64) (file int64, orders []ledger.Order) {
	d.Helper()
	for _, card := range cards {
		d.cards(TestCard(card))
	}
	orders = d.order(r, d.file(r, fmt.Sprintf("sent-%d", sequence)), 1, cards...)
	file = d.plan(r, "alpha", sequence, int64(len(cards)))
	d.send(r, file, start)
	for i := range orders {
		orders[i].BureauFileID = file
	}
	return file, orders
}

func (d *desk) shipmentOf(uid string) *ledger.Shipment {
	d.Helper()
	found, err := d.Shipments(d.ctx, []string{uid})
	d.must(err)
	if found[uid] == nil {
		d.Fatalf("order %s is not there", uid)
	}
	return found[uid]
}

// shipment compares the state of an order and the words of its events.
func (d *desk) shipment(o ledger.Order, state ledger.OrderState, events ...string) {
	d.Helper()
	s := d.shipmentOf(o.UID)
	var got []string
	for _, e := range s.Events {
		got = append(got, e.Status)
	}
	d.same("state of order "+o.UID, state, s.State)
	d.same("events of order "+o.UID, events, got)
}

func (d *desk) balanceOf(file int64) ledger.FileBalance {
	d.Helper()
	balances, err := d.FileBalances(d.ctx)
	d.must(err)
	return balances[file]
}

// balances compares a file's balance, from which nothing moved, and checks that it holds.
func (d *desk) balances(file, records, acked, rejected, outstanding int64) {
	d.Helper()
	b := d.balanceOf(file)
	d.same(fmt.Sprintf("records, acknowledged, rejected, outstanding of file %d", file),
		[4]int64{records, acked, rejected, outstanding}, [4]int64{b.Records, b.Acknowledged, b.Rejected, b.Outstanding})
	d.same("orders", records, b.Orders)
	d.same("balance", records, acked+rejected+outstanding)
}
