package ledgertest

import (
	"fmt"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

var disputePromises = []promise{
	{"a disputed event changes nothing and waits", func(d *desk) {
		r := d.begin()
		o := d.ship(r, 1, 1, start)
		id := d.returned(r, "ret-1")
		c := returnChunk(r, id, 2, event(o, "SHIPPED", ledger.Shipped, 1, 0), disputed(o))
		c.Problems = []ledger.Problem{{Line: 2, Code: "event_disputed"}}
		d.commit(c, ledger.SentO, ledger.Shipped)
		d.shipment(o, ledger.Shipped, "SHIPPED", "REJECTED")
		d.balances(o.BureauFileID, 1, 1, 0, 0)
		waiting, n, err := d.Disputes(d.ctx, 0)
		d.must(err)
		d.same("disputed", int64(1), n)
		d.same("event", d.shipmentOf(o.UID).Events[1], waiting[0])
		f := d.returnOf(id)
		d.same("applied, problems", [2]int64{1, 1}, [2]int64{f.Applied, f.Problems})
	}},
	{"a disputed event that changes something is refused", func(d *desk) {
		r := d.begin()
		o := d.ship(r, 1, 1, start)
		c := returnChunk(r, d.returned(r, "ret-1"), 1, disputed(o))
		c.Events[0].State, c.From = ledger.Rejected, []ledger.OrderState{ledger.SentO}
		if err := d.CommitReturn(d.ctx, c); err == nil {
			d.Error("no error")
		}
		d.shipment(o, ledger.SentO)
	}},
	{"disputes come oldest first, a few of all, and settled ones not", func(d *desk) {
		r := d.begin()
		_, orders := d.sent(r, 1, 1, 2, 3)
		var ids []int64
		for i, o := range orders {
			ids = append(ids, d.dispute(r, fmt.Sprint("ret-", i), o))
		}
		d.must(d.SettleEvent(d.ctx, ids[1], start, "kept: they erred", nil, "", nil, entry("event.settled")))
		first, n, err := d.Disputes(d.ctx, 1)
		d.must(err)
		d.same("all", int64(2), n)
		d.same("first", ids[0], first[0].ID)
		d.same("given", 1, len(first))
	}},
	{"an event that is settled as kept stays without effect, for ever", func(d *desk) {
		r := d.begin()
		o := d.ship(r, 1, 1, start)
		id := d.dispute(r, "ret-1", o)
		before := len(d.entries())
		d.must(d.SettleEvent(d.ctx, id, start.Add(day), "kept: they erred", nil, "", nil, entry("event.settled")))
		e, err := d.Event(d.ctx, id)
		d.must(err)
		d.same("settled", start.Add(day), e.SettledAt)
		d.same("settlement", "kept: they erred", e.Settlement)
		d.shipment(o, ledger.SentO, "REJECTED")
		d.conflict(d.SettleEvent(d.ctx, id, start, "taken: no", nil, "", nil, entry("event.settled")))
		d.notFound(d.SettleEvent(d.ctx, id+1, start, "kept: no", nil, "", nil, entry("event.settled")))
		d.same("entries", before+1, len(d.entries()))
	}},
	{"an event that is settled as taken does what it says, by a new event", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		o := d.ship(r, 1, 1, start)
		id := d.dispute(r, "ret-1", o)
		d.finish(r)
		taken := event(o, "REJECTED", ledger.Rejected, 0, 1)
		taken.Source = ledger.FromPerson
		d.conflict(d.SettleEvent(d.ctx, id, start.Add(day), "taken: no", &taken, ledger.Acked, nil, entry("event.settled")))
		_, n, err := d.Disputes(d.ctx, 0)
		d.must(err)
		d.same("still disputed", int64(1), n)
		d.must(d.SettleEvent(d.ctx, id, start.Add(day), "taken: they asked", &taken, ledger.SentO, nil, entry("event.settled")))
		d.shipment(o, ledger.Rejected, "REJECTED", "REJECTED")
		d.balances(o.BureauFileID, 1, 0, 1, 0)
		got := d.shipmentOf(o.UID).Events[1]
		taken.ID, taken.RecordedAt = got.ID, start.Add(day)
		d.same("new event", taken, got)
		d.embossings(1, "REJECTED", "")
	}},
	{"an event of another order does not settle it", func(d *desk) {
		r := d.begin()
		o, other := d.ship(r, 1, 1, start), d.ship(r, 2, 2, start)
		id := d.dispute(r, "ret-1", o)
		taken, a := event(other, "REJECTED", ledger.Rejected, 0, 1), answer(o.BureauFileID, "REFUSED")
		if err := d.SettleEvent(d.ctx, id, start, "taken: no", &taken, ledger.SentO, nil, entry("event.settled")); err == nil {
			d.Error("the event of another order: no error")
		}
		if err := d.SettleEvent(d.ctx, id, start, "taken: no", nil, "", &a, entry("event.settled")); err == nil {
			d.Error("an answer to the file: no error")
		}
		d.shipment(other, ledger.SentO)
	}},
	{"an event that is not disputed is not settled", func(d *desk) {
		r := d.begin()
		o := d.ship(r, 1, 1, start)
		d.commit(returnChunk(r, d.returned(r, "ret-1"), 1, event(o, "ACKED", ledger.Acked, 1, 0)), ledger.SentO)
		d.conflict(d.SettleEvent(d.ctx, d.shipmentOf(o.UID).Events[0].ID, start, "kept: no", nil, "", nil, entry("event.settled")))
	}},
	{"a disputed answer that is taken does what it says of the file", func(d *desk) {
		r := d.begin()
		file, orders := d.sent(r, 1, 1, 2)
		a := answer(file, "REFUSED")
		a.Event.Dispute = "a card of it is shipped"
		d.reply(r, d.returned(r, "ret-1"), 1, a)
		waiting, _, err := d.Disputes(d.ctx, 0)
		d.must(err)
		d.same("state", ledger.Sent, d.outgoing(file).State)
		taken := answer(file, "REFUSED")
		taken.Event.Source, taken.Refuse = ledger.FromPerson, true
		d.must(d.SettleEvent(d.ctx, waiting[0].ID, start.Add(day), "taken: they asked", nil, "", &taken, entry("event.settled")))
		d.same("state", ledger.Refused, d.outgoing(file).State)
		d.shipment(orders[0], ledger.PlannedO, "REFUSED")
		d.balances(file, 2, 0, 0, 2)
	}},
	{"a card of a refused file that was made all the same is open no more", func(d *desk) {
		r := d.begin()
		file, orders := d.sent(r, 1, 1)
		id := d.returned(r, "ret-1")
		d.refuseFile(r, id, 1, file)
		d.commit(returnChunk(r, id, 2, event(orders[0], "SHIPPED", ledger.Shipped, 1, 0)), ledger.PlannedO)
		d.embossings(1, "SHIPPED", "")
		d.balances(file, 1, 1, 0, 0)
		d.order(r, d.file(r, "next.csv"), 1, 1)
	}},
}

var underWayPromises = []promise{
	{"orders under way come by the time their file was sent, then file, then number", func(d *desk) {
		r := d.begin()
		late, late2 := d.sent(r, 1, 1, 2, 3)
		early, early2 := d.sent(r, 2, 4)
		for file, at := range map[int64]time.Time{late: start.Add(day), early: start.Add(time.Hour)} {
			d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: file, From: []ledger.BureauFileState{ledger.Sent}, To: ledger.Sent, At: at, RunID: r.ID, Evidence: []byte("{}")}))
		}
		shipped := event(late2[1], "SHIPPED", ledger.Shipped, 1, 0)
		shipped.At = start.Add(3 * day)
		known := event(late2[1], "PRODUCED", "", 0, 0)
		known.At = start.Add(2 * day)
		d.commit(returnChunk(r, d.returned(r, "ret-1"), 3, shipped, known, event(late2[2], "LOST", ledger.Lost, 1, 0)), ledger.SentO, ledger.Shipped, ledger.SentO)
		type line struct {
			uid   string
			since time.Time
		}
		look := func(states ...ledger.OrderState) (got []line) {
			d.must(d.EachUnderWay(d.ctx, states, func(o *ledger.Order, since time.Time) error {
				got = append(got, line{o.UID, since})
				return nil
			}))
			return got
		}
		same := func(what string, want, got []line) {
			d.same(what, fmt.Sprint(want), fmt.Sprint(got))
		}
		first := line{early2[0].UID, start.Add(time.Hour)}
		sentLate, shippedLate := line{late2[0].UID, start.Add(day)}, line{late2[1].UID, start.Add(3 * day)}
		same("under way", []line{first, sentLate, shippedLate}, look(ledger.Shipped, ledger.SentO, ledger.Acked, ledger.SentO))
		same("shipped", []line{shippedLate}, look(ledger.Shipped))
		same("lost", []line{{late2[2].UID, start.Add(time.Hour)}}, look(ledger.Lost))
		same("none", nil, look())
	}},
	{"a callback may change what is under way", func(d *desk) {
		r := d.begin()
		_, orders := d.sent(r, 1, 1, 2, 3)
		id := d.returned(r, "ret-1")
		n := 0
		d.must(d.EachUnderWay(d.ctx, []ledger.OrderState{ledger.SentO, ledger.Acked}, func(o *ledger.Order, _ time.Time) error {
			c := returnChunk(r, id, n+1, event(orders[n], "ACKED", ledger.Acked, 1, 0))
			c.From = []ledger.OrderState{ledger.SentO}
			n++
			return d.CommitReturn(d.ctx, c)
		}))
		d.same("calls", 3, n)
	}},
	{"every bureau file has a balance, no card system file", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2))
		file := d.file(r, "a.csv")
		d.must(d.CommitChunk(d.ctx, d.replacement(r, file, 1, 1, 900)))
		one := d.plan(r, "alpha", 1, 1)
		d.plan(r, config.CardSystem, 1, 1)
		balances, err := d.FileBalances(d.ctx)
		d.must(err)
		d.same("balances", map[int64]ledger.FileBalance{one: {
			FileID: one, Records: 1, Orders: 1, Outstanding: 1, ByState: map[ledger.OrderState]int64{ledger.PlannedO: 1},
		}}, balances)
	}},
	{"the reissues of a card are those of its whole chain, rejected ones apart", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2))
		file := d.file(r, "a.csv")
		id := d.returned(r, "ret-1")
		reissue := func(pos int, c ledger.Chunk) ledger.Order {
			c.Orders[0].CreatedAt = start.Add(time.Duration(pos) * time.Hour)
			d.must(d.CommitChunk(d.ctx, c))
			o := c.Orders[0]
			o.BureauFileID = d.plan(r, "alpha", int64(pos), 1)
			d.send(r, o.BureauFileID, start)
			return o
		}
		kept := func(pos int, card int64) ledger.Chunk {
			c := d.replacement(r, file, pos, card, card)
			c.NewCards, c.Changes = nil, nil
			c.Orders[0].Type, c.Orders[0].Reason = 1, 1
			return c
		}
		reissue(1, kept(1, 1))
		reissue(2, d.replacement(r, file, 2, 1, 900))
		rejected := reissue(3, kept(3, 900))
		d.commit(returnChunk(r, id, 1, event(rejected, "REJECTED", ledger.Rejected, 0, 1)), ledger.SentO)
		reissue(4, d.replacement(r, file, 4, 900, 901))
		d.ship(r, 5, 2, start)
		at := func(hours ...time.Duration) (times []time.Time) {
			for _, h := range hours {
				times = append(times, start.Add(h*time.Hour))
			}
			return times
		}
		known, err := d.Cards(d.ctx, []int64{1, 900, 901, 2})
		d.must(err)
		for _, card := range []int64{1, 900, 901} {
			d.same(fmt.Sprintf("reissues along the chain of card %d", card), at(1, 2, 4), known[card].Reissues)
			d.same(fmt.Sprintf("reissues along the chain of card %d, alone", card), at(1, 2, 4), d.card(card).Reissues)
		}
		d.same("reissues of a card that was embossed again", 0, len(known[2].Reissues))
	}},
}

// disputed is an event that contradicts what is known.
func disputed(o ledger.Order) ledger.Event {
	e := event(o, "REJECTED", "", 0, 0)
	e.Dispute = "REJECTED contradicts what is known"
	return e
}

// dispute stores a disputed event of an order that is SENT and gives its id.
func (d *desk) dispute(r ledger.Run, name string, o ledger.Order) int64 {
	d.Helper()
	d.commit(returnChunk(r, d.returned(r, name), 1, disputed(o)), ledger.SentO)
	events := d.shipmentOf(o.UID).Events
	return events[len(events)-1].ID
}
