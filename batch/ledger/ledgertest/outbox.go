package ledgertest

import (
	"fmt"
	"time"

	"reemboss/batch/ledger"
)

var outboxPromises = []promise{
	{"an event is stored once, whatever comes of it", func(d *desk) {
		r := d.begin()
		d.enqueue(2, outboxEvents(r, 1, 2)...)
		d.enqueue(1, outboxEvents(r, 1, 2, 3)...)
		d.pending("", 0, outboxEvents(r, 1, 2, 3)...)
		d.must(d.Delivered(d.ctx, []string{"event 2"}, start))
		d.enqueue(0, outboxEvents(r, 2)...)
		d.pending("", 0, outboxEvents(r, 1, 3)...)
		d.enqueue(1, append(outboxEvents(r, 4), outboxEvents(r, 4)...)...)
		d.enqueue(0)
	}},
	{"events come back in the order in which they were stored, until they are delivered", func(d *desk) {
		r := d.begin()
		d.enqueue(5, outboxEvents(r, 5, 1, 4, 2, 3)...)
		d.pending("", 2, outboxEvents(r, 5, 1)...)
		d.pending("event 1", 2, outboxEvents(r, 4, 2)...)
		d.pending("", 2, outboxEvents(r, 5, 1)...)
		d.must(d.Delivered(d.ctx, []string{"event 5", "event 4"}, start))
		d.must(d.Delivered(d.ctx, []string{"event 4"}, start))
		d.pending("", 2, outboxEvents(r, 1, 2)...)
		d.pending("event 4", 9, outboxEvents(r, 2, 3)...)
		n, err := d.CountPending(d.ctx)
		d.must(err)
		d.same("pending", int64(3), n)
		_, err = d.Pending(d.ctx, "no such event", 1)
		d.notFound(err)
	}},
	{"an attempt that failed is counted and the event stays", func(d *desk) {
		r := d.begin()
		d.enqueue(2, outboxEvents(r, 1, 2)...)
		for range 3 {
			d.must(d.NotDelivered(d.ctx, []string{"event 2"}, start.Add(time.Second), "503 from the webhook"))
		}
		want := outboxEvents(r, 1, 2)
		want[1].Attempts = 3
		d.pending("", 0, want...)
	}},
	{"what was never stored is not delivered, and nothing is changed", func(d *desk) {
		r := d.begin()
		d.enqueue(1, outboxEvents(r, 1)...)
		d.notFound(d.Delivered(d.ctx, []string{"event 1", "event 2"}, start))
		d.notFound(d.NotDelivered(d.ctx, []string{"event 1", "event 2"}, start, "no"))
		d.pending("", 0, outboxEvents(r, 1)...)
	}},
	{"an event may come from outside a run, not from an unknown one", func(d *desk) {
		d.enqueue(1, ledger.OutboxEvent{ID: "x", Body: []byte("{}")})
		d.pending("", 0, ledger.OutboxEvent{ID: "x", Body: []byte("{}")})
		_, err := d.Enqueue(d.ctx, []ledger.OutboxEvent{{ID: "y", RunID: "2020-01-01-001"}}, start)
		d.notFound(err)
	}},
}

func outboxEvents(r ledger.Run, numbers ...int) []ledger.OutboxEvent {
	var events []ledger.OutboxEvent
	for _, n := range numbers {
		events = append(events, ledger.OutboxEvent{ID: fmt.Sprint("event ", n), RunID: r.ID, Body: fmt.Appendf(nil, `{"id":"event %d"}`, n)})
	}
	return events
}

func (d *desk) enqueue(added int64, events ...ledger.OutboxEvent) {
	d.Helper()
	got, err := d.Enqueue(d.ctx, events, start)
	d.must(err)
	d.same("events added", added, got)
}

func (d *desk) pending(after string, limit int, want ...ledger.OutboxEvent) {
	d.Helper()
	got, err := d.Pending(d.ctx, after, limit)
	d.must(err)
	d.same("pending events", want, got)
}
