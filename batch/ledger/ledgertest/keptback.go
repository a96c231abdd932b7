package ledgertest

import (
	"time"

	"reemboss/batch/ledger"
)

// voided is a file of these cards that was refused and cancelled, with a disputed event of its first card.
func (d *desk) voided(r ledger.Run, cards ...int64) (file int64, orders []ledger.Order, event int64) {
	d.Helper()
	file, orders = d.sent(r, 1, cards...)
	id := d.returned(r, "ret-1")
	d.refuseFile(r, id, 1, file)
	_, err := d.CancelFile(d.ctx, cancelling(r, file))
	d.must(err)
	d.commit(returnChunk(r, id, 2, disputed(orders[0])), ledger.Queued)
	events := d.shipmentOf(orders[0].UID).Events
	return file, orders, events[len(events)-1].ID
}

// takes settles a disputed event of an order as a person does who believes it.
func (d *desk) takes(event int64, o ledger.Order, status string, state ledger.OrderState) error {
	d.Helper()
	taken := ledger.Event{UID: o.UID, FileID: o.BureauFileID, Status: status, At: start.Add(3 * time.Hour), Count: -1, Source: ledger.FromPerson, State: state, Acked: 1}
	return d.SettleEvent(d.ctx, event, start.Add(day), "taken: they made it", &taken, ledger.Queued, nil, entry("event.settled"))
}

var keptBackPromises = []promise{
	{"a dispute about a file keeps back all orders that left it, until it is settled", func(d *desk) {
		r := d.begin()
		file, orders, event := d.voided(r, 1, 2)
		d.same("left", []int64{file}, d.shipmentOf(orders[1].UID).Left)
		d.queues(ledger.Queue{Recipient: "alpha", Orders: 2, Disputed: 2})
		d.same("queue", []string(nil), d.queuedUIDs("alpha", 0))
		_, err := d.PlanFile(d.ctx, plan(r, "alpha", 2, 1))
		d.conflict(err)
		_, err = d.SetAside(d.ctx, hold(r, "h1", 1), entry("hold.made"))
		d.conflict(err)
		kept, err := d.KeptBack(d.ctx, "alpha", 0)
		d.must(err)
		d.same("kept back by", []int64{event}, kept)
		d.must(d.SettleEvent(d.ctx, event, start.Add(day), "kept: they erred", nil, "", nil, entry("event.settled")))
		d.queues(ledger.Queue{Recipient: "alpha", Orders: 2})
		d.plan(r, "alpha", 2, 2)
	}},
	{"an order that was made from a VOID file is in it again, and the books hold", func(d *desk) {
		r := d.begin()
		file, orders, event := d.voided(r, 1, 2)
		d.must(d.takes(event, orders[0], "SHIPPED", ledger.Shipped))
		d.same("state", ledger.Void, d.outgoing(file).State)
		d.embossings(1, "SHIPPED", "")
		b := d.balanceOf(file)
		d.same("records, orders, moved, acknowledged, outstanding", [5]int64{2, 1, 1, 1, 0}, [5]int64{b.Records, b.Orders, b.Moved, b.Acknowledged, b.Outstanding})
		differing, err := d.Differing(d.ctx, file)
		d.must(err)
		d.same("differing", int64(0), differing)
		d.same("queue", []string{orders[1].UID}, d.queuedUIDs("alpha", 0))
		d.order(r, d.file(r, "next.csv"), 1, 1)
	}},
	{"only a file that an order left, and that is VOID, gets the order back", func(d *desk) {
		r := d.begin()
		_, orders, event := d.voided(r, 1)
		other := orders[0]
		other.BureauFileID, _ = d.sent(r, 2, 3)
		d.conflict(d.takes(event, other, "SHIPPED", ledger.Shipped))
		d.embossings(1, "QUEUED", "QUEUED")
	}},
	{"a VOID file that was received has all orders again that wait, and stays VOID", func(d *desk) {
		r := d.begin()
		file, orders := d.sent(r, 1, 1, 2)
		id := d.returned(r, "ret-1")
		d.refuseFile(r, id, 1, file)
		_, err := d.CancelFile(d.ctx, cancelling(r, file))
		d.must(err)
		d.plan(r, "alpha", 2, 1)
		a := answer(file, "RECEIVED")
		a.Event.Dispute = "it was cancelled"
		d.reply(r, id, 2, a)
		disputes, _, err := d.Disputes(d.ctx, 0)
		d.must(err)
		waiting, err := d.LeftWaiting(d.ctx, file)
		d.must(err)
		d.same("waiting", int64(1), waiting)
		taken := answer(file, "RECEIVED")
		taken.Event.Source, taken.Acknowledge = ledger.FromPerson, true
		d.must(d.SettleEvent(d.ctx, disputes[0].ID, start.Add(day), "taken: they have it", nil, "", &taken, entry("event.settled")))
		d.same("state", ledger.Void, d.outgoing(file).State)
		d.same("in it", []string{orders[1].UID}, d.fileUIDs(file))
		d.embossings(1, "PLANNED", "PLANNED")
		d.embossings(2, "ACKED", "")
		waiting, err = d.LeftWaiting(d.ctx, file)
		d.must(err)
		d.same("waiting", int64(0), waiting)
	}},
	{"a hold with an order that was made is dissolved, one of a restoration is not", func(d *desk) {
		r := d.begin()
		file, orders := d.sent(r, 1, 1, 2)
		id := d.returned(r, "ret-1")
		d.refuseFile(r, id, 1, file)
		_, err := d.CancelFile(d.ctx, cancelling(r, file))
		d.must(err)
		h := d.setAside(r, "h1", 2)
		d.commit(returnChunk(r, id, 2, disputed(orders[0])), ledger.Queued)
		kept, err := d.KeptBack(d.ctx, "alpha", h)
		d.must(err)
		d.same("disputes about the hold", 1, len(kept))
		d.must(d.takes(kept[0], orders[0], "SHIPPED", ledger.Shipped))
		d.holds(ledger.HoldQuery{Open: true})
		d.same("queue", []string{orders[1].UID}, d.queuedUIDs("alpha", 0))

		d.commit(returnChunk(r, id, 3, disputed(orders[1])), ledger.Queued)
		disputes, _, err := d.Disputes(d.ctx, 0)
		d.must(err)
		restored := hold(r, "h2", 1)
		restored.Restored = true
		_, err = d.SetAside(d.ctx, restored, entry("hold.made"))
		d.must(err)
		d.conflict(d.takes(disputes[0].ID, orders[1], "SHIPPED", ledger.Shipped))
		waiting, err := d.LeftWaiting(d.ctx, file)
		d.must(err)
		d.same("waiting", int64(0), waiting)
	}},
}
