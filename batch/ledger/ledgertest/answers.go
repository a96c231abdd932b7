package ledgertest

import (
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

var answerPromises = []promise{
	{"a file that is received acknowledges every outstanding card", func(d *desk) {
		r := d.begin()
		file, orders := d.sent(r, 1, 1, 2, 3)
		id := d.returned(r, "ret-1")
		d.commit(returnChunk(r, id, 1, event(orders[1], "REJECTED", ledger.Rejected, 0, 1)), ledger.SentO)
		a := answer(file, "RECEIVED")
		a.Event.Count, a.Event.Code, a.Event.Line, a.Acknowledge = 3, "C0", 2, true
		d.reply(r, id, 2, a)
		d.balances(file, 3, 2, 1, 0)
		d.shipment(orders[0], ledger.Acked, "ACKED")
		d.shipment(orders[1], ledger.Rejected, "REJECTED")
		d.shipment(orders[2], ledger.Acked, "ACKED")
		own := d.shipmentOf(orders[2].UID).Events[0]
		d.same("each order's event", ledger.Event{
			ID: own.ID, UID: orders[2].UID, FileID: file, Status: "ACKED", At: a.Event.At, Code: "C0", Count: -1, Source: ledger.FromBureau, ReturnID: id, Line: 2,
			RunID: r.ID, RecordedAt: r.StartedAt, State: ledger.Acked, Acked: 1,
		}, own)
		whole := d.fileEvents(file)[0]
		want := a.Event
		want.ID, want.ReturnID, want.RunID, want.RecordedAt = whole.ID, id, r.ID, r.StartedAt
		d.same("the file's event", want, whole)
		d.same("applied", int64(2), d.returnOf(id).Applied)
	}},
	{"answers go before the events of the same chunk", func(d *desk) {
		r := d.begin()
		file, orders := d.sent(r, 1, 1, 2)
		c := returnChunk(r, d.returned(r, "ret-1"), 2, event(orders[0], "PRODUCED", ledger.Produced, 0, 0))
		c.Answers = []ledger.FileAnswer{{Event: answer(file, "RECEIVED").Event, Acknowledge: true}}
		d.commit(c, ledger.Acked)
		d.shipment(orders[0], ledger.Produced, "ACKED", "PRODUCED")
		d.balances(file, 2, 2, 0, 0)
	}},
	{"an answer decides a transfer whose end nobody knew", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		d.order(r, d.file(r, "a.csv"), 1, 1)
		file := d.plan(r, "alpha", 1, 1)
		d.write(r, file)
		id := d.returned(r, "ret-1")
		a := answer(file, "RECEIVED")
		a.Delivered, a.Evidence, a.Acknowledge = true, []byte(`{"by":"the bureau"}`), true
		c := returnChunk(r, id, 1)
		c.Answers = []ledger.FileAnswer{a}
		d.conflict(d.CommitReturn(d.ctx, c))
		d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: file, From: []ledger.BureauFileState{ledger.Written}, To: ledger.Undecided, At: start, RunID: r.ID, Error: "the line broke"}))
		d.finish(r)
		next := d.begin()
		c.RunID, c.At = next.ID, next.StartedAt
		d.must(d.CommitReturn(d.ctx, c))
		f := d.outgoing(file)
		d.same("state", ledger.Sent, f.State)
		d.same("sent", next.StartedAt, f.SentAt)
		d.same("run", next.ID, f.SentRunID)
		d.same("evidence", `{"by":"the bureau"}`, string(f.Evidence))
		d.same("error", "", f.LastError)
		steps, err := d.Deliveries(d.ctx, file)
		d.must(err)
		d.same("history", ledger.Delivery{FileID: file, RunID: next.ID, At: next.StartedAt, State: ledger.Sent, Evidence: a.Evidence}, steps[len(steps)-1])
		begun, err := d.Counter(d.ctx, "begun/alpha")
		d.must(err)
		d.same("begun", int64(1), begun)
		d.embossings(1, "ACKED", "")
		d.balances(file, 1, 1, 0, 0)
	}},
	{"a file that is refused takes its orders back, acknowledged ones too", func(d *desk) {
		r := d.begin()
		file, orders := d.sent(r, 1, 1, 2, 3)
		id := d.returned(r, "ret-1")
		d.commit(returnChunk(r, id, 2, event(orders[0], "ACKED", ledger.Acked, 1, 0), event(orders[1], "REJECTED", ledger.Rejected, 0, 1)), ledger.SentO, ledger.SentO)
		d.balances(file, 3, 1, 1, 1)
		a := answer(file, "REFUSED")
		a.Event.Code, a.Event.Description, a.Refuse = "E9", "the file is of another layout", true
		d.reply(r, id, 3, a)
		d.balances(file, 3, 0, 1, 2)
		d.shipment(orders[0], ledger.PlannedO, "ACKED", "REFUSED")
		d.shipment(orders[1], ledger.Rejected, "REJECTED")
		d.shipment(orders[2], ledger.PlannedO, "REFUSED")
		d.embossings(1, "PLANNED", "PLANNED")
		d.embossings(2, "REJECTED", "")
		f := d.outgoing(file)
		d.same("state", ledger.Refused, f.State)
		d.same("why", "the bureau refused the file as a whole, code E9: the file is of another layout", f.LastError)
		steps, err := d.Deliveries(d.ctx, file)
		d.must(err)
		d.same("history", ledger.Refused, steps[len(steps)-1].State)
		d.same("queued", 0, len(d.queuedUIDs("alpha", 0)))
		again, o := d.accepted(r, d.file(r, "again.csv"), 1, 1)
		c := chunk(r, again.FileID)
		c.Answers, c.Orders = []ledger.Answer{again}, []ledger.Order{o}
		d.conflict(d.CommitChunk(d.ctx, c))
	}},
	{"a refused file that is sent again is outstanding again", func(d *desk) {
		r := d.begin()
		file, orders := d.sent(r, 1, 1, 2)
		id := d.returned(r, "ret-1")
		d.refuseFile(r, id, 1, file)
		d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: file, From: []ledger.BureauFileState{ledger.Refused}, To: ledger.Written, At: start, RunID: r.ID, Size: 99, SHA256: hash, Reason: "they had a bug"}))
		d.balances(file, 2, 0, 0, 2)
		d.same("waiting", int64(0), d.waiting())
		d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: file, From: []ledger.BureauFileState{ledger.Written}, To: ledger.Sent, At: start.Add(time.Hour), RunID: r.ID, Evidence: []byte("{}")}))
		d.balances(file, 2, 0, 0, 2)
		d.shipment(orders[0], ledger.SentO, "REFUSED")
		d.embossings(1, "SENT", "")
		a := answer(file, "RECEIVED")
		a.Acknowledge = true
		d.reply(r, id, 2, a)
		d.balances(file, 2, 2, 0, 0)
	}},
	{"an order whose card was ordered again meanwhile stays as it is when its file is refused", func(d *desk) {
		r := d.begin()
		file, orders := d.sent(r, 1, 1, 2)
		id := d.returned(r, "ret-1")
		d.commit(returnChunk(r, id, 1, event(orders[0], "ACKED", ledger.Acked, 1, 0)), ledger.SentO)
		newer := d.order(r, d.file(r, "newer.csv"), 1, 1)[0]
		d.refuseFile(r, id, 2, file)
		d.shipment(orders[0], ledger.Acked, "ACKED")
		d.shipment(orders[1], ledger.PlannedO, "REFUSED")
		d.balances(file, 2, 1, 0, 1)
		d.same("open", newer.UID, d.card(1).Open.UID)
	}},
	{"an order whose card was ordered again stays as it is when its file is refused, though the bureau has the newer one", func(d *desk) {
		r := d.begin()
		file, orders := d.sent(r, 1, 1, 2)
		newer := d.ship(r, 2, 1, start.Add(time.Hour))
		d.refuseFile(r, d.returned(r, "ret-1"), 1, file)
		d.shipment(orders[0], ledger.SentO)
		d.shipment(orders[1], ledger.PlannedO, "REFUSED")
		d.shipment(newer, ledger.SentO)
		moved, err := d.CancelFile(d.ctx, cancelling(r, file))
		d.must(err)
		d.same("moved", int64(1), moved)
		d.same("queued", []string{orders[1].UID}, d.queuedUIDs("alpha", 0))
	}},
	{"an order whose card was replaced stays as it is when its file is refused", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		o := d.ship(r, 1, 1, start)
		d.must(d.CommitChunk(d.ctx, d.replacement(r, d.file(r, "lost.csv"), 1, 1, 900)))
		d.send(r, d.plan(r, "alpha", 2, 1), start)
		d.refuseFile(r, d.returned(r, "ret-1"), 1, o.BureauFileID)
		d.shipment(o, ledger.SentO)
	}},
	{"cards of a file that were asked for again or replaced since are counted", func(d *desk) {
		r := d.begin()
		file, _ := d.sent(r, 1, 1, 2, 3)
		asked := func(what string, cards, first int64) {
			d.Helper()
			gotCards, gotFirst, err := d.AskedSince(d.ctx, file)
			d.must(err)
			d.same(what, [2]int64{cards, first}, [2]int64{gotCards, gotFirst})
		}
		asked("nothing since", 0, 0)
		d.ship(r, 2, 3, start.Add(time.Hour))
		asked("sent since", 1, 3)
		d.must(d.CommitChunk(d.ctx, d.replacement(r, d.file(r, "lost.csv"), 1, 2, 900)))
		asked("replaced since", 2, 2)
		got, _, err := d.AskedSince(d.ctx, file+1)
		d.must(err)
		d.same("of the newer file", int64(0), got)
	}},
	{"the cards of a file that is on its way once more are open until its end is known", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		o := d.ship(r, 1, 1, start)
		d.embossings(1, "SENT", "")
		again := ledger.FileChange{FileID: o.BureauFileID, From: []ledger.BureauFileState{ledger.Sent}, To: ledger.Written, At: start.Add(time.Hour), RunID: r.ID, Size: 99, SHA256: hash}
		d.must(d.ChangeFile(d.ctx, again))
		d.embossings(1, "PLANNED", "PLANNED")
		again.From, again.To, again.Evidence = []ledger.BureauFileState{ledger.Written}, ledger.Sent, []byte(`{"size":99}`)
		d.must(d.ChangeFile(d.ctx, again))
		d.embossings(1, "SENT", "")
	}},
	{"a replaced card and its replacement are both open again", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		d.must(d.CommitChunk(d.ctx, d.replacement(r, d.file(r, "a.csv"), 1, 1, 900)))
		file := d.plan(r, "alpha", 1, 1)
		d.send(r, file, start)
		d.embossings(900, "SENT", "")
		d.refuseFile(r, d.returned(r, "ret-1"), 1, file)
		for pos, card := range []int64{1, 900} {
			d.embossings(card, "PLANNED", "PLANNED")
			a, o := d.accepted(r, d.file(r, "again.csv"), pos+1, card)
			c := chunk(r, a.FileID)
			c.Answers, c.Orders = []ledger.Answer{a}, []ledger.Order{o}
			d.conflict(d.CommitChunk(d.ctx, c))
		}
	}},
	{"only a file that may be at the bureau is refused", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		d.order(r, d.file(r, "a.csv"), 1, 1)
		file := d.plan(r, "alpha", 1, 1)
		id := d.returned(r, "ret-1")
		c := returnChunk(r, id, 1)
		c.Answers = []ledger.FileAnswer{answer(file, "REFUSED")}
		c.Answers[0].Refuse = true
		d.conflict(d.CommitReturn(d.ctx, c))
		d.write(r, file)
		d.conflict(d.CommitReturn(d.ctx, c))
		c.Answers[0].Event.FileID++
		d.notFound(d.CommitReturn(d.ctx, c))
		d.same("state", ledger.Written, d.outgoing(file).State)
	}},
	{"a line about a card that decides its file's transfer is one new line", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2))
		orders := d.order(r, d.file(r, "a.csv"), 1, 1, 2)
		file := d.plan(r, "alpha", 1, 2)
		d.write(r, file)
		d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: file, From: []ledger.BureauFileState{ledger.Written}, To: ledger.Renaming, At: start, RunID: r.ID}))
		id := d.returned(r, "ret-1")
		shipped := event(orders[0], "SHIPPED", ledger.Shipped, 1, 0)
		shipped.Line = 1
		delivered := answer(file, "SHIPPED")
		delivered.Event.Line, delivered.Delivered, delivered.Evidence = 1, true, []byte("{}")
		c := returnChunk(r, id, 1, shipped)
		c.Answers = []ledger.FileAnswer{delivered}
		d.commit(c, ledger.SentO)
		d.same("applied", int64(1), d.returnOf(id).Applied)
		d.balances(file, 2, 1, 0, 1)
		d.embossings(1, "SHIPPED", "")
		d.embossings(2, "SENT", "")
	}},
	{"an answer that names an order, is disputed, or wants both ways changes nothing", func(d *desk) {
		r := d.begin()
		file, orders := d.sent(r, 1, 1)
		both := answer(file, "RECEIVED")
		both.Acknowledge, both.Refuse = true, true
		named := answer(file, "RECEIVED")
		named.Event.UID = orders[0].UID
		doubted := answer(file, "RECEIVED")
		doubted.Acknowledge, doubted.Event.Dispute = true, "it counts another number"
		id := d.returned(r, "ret-1")
		for _, a := range []ledger.FileAnswer{both, named, doubted} {
			c := returnChunk(r, id, 1)
			c.Answers = []ledger.FileAnswer{a}
			if err := d.CommitReturn(d.ctx, c); err == nil {
				d.Errorf("%+v: no error", a)
			}
		}
		d.shipment(orders[0], ledger.SentO)
	}},
	{"answers to a file are told by their own time", func(d *desk) {
		r := d.begin()
		file, _ := d.sent(r, 1, 1)
		late, early := answer(file, "RECEIVED"), answer(file, "REFUSED")
		early.Event.At = late.Event.At.Add(-time.Hour)
		d.reply(r, d.returned(r, "ret-1"), 1, late, early)
		events := d.fileEvents(file)
		d.same("events", [2]string{"REFUSED", "RECEIVED"}, [2]string{events[0].Status, events[1].Status})
	}},
}

var cancelPromises = []promise{
	{"the orders of a cancelled file go into the next one, each into one file", func(d *desk) {
		r := d.begin()
		file, orders := d.sent(r, 1, 1, 2, 3)
		id := d.returned(r, "ret-1")
		d.commit(returnChunk(r, id, 1, event(orders[1], "REJECTED", ledger.Rejected, 0, 1)), ledger.SentO)
		d.refuseFile(r, id, 2, file)
		d.same("waiting", int64(0), d.waiting())
		moved, err := d.CancelFile(d.ctx, cancelling(r, file))
		d.must(err)
		d.same("moved", int64(2), moved)
		d.same("waiting", int64(2), d.waiting())
		d.queues(ledger.Queue{Recipient: "alpha", Orders: 2})
		d.embossings(1, "QUEUED", "QUEUED")
		f := d.outgoing(file)
		d.same("state", ledger.Void, f.State)
		b := d.balanceOf(file)
		d.same("records, orders, moved, acknowledged, rejected, outstanding", [6]int64{3, 1, 2, 0, 1, 0}, [6]int64{b.Records, b.Orders, b.Moved, b.Acknowledged, b.Rejected, b.Outstanding})
		next := d.plan(r, "alpha", 2, 2)
		d.same("the cancelled file", []string{orders[1].UID}, d.fileUIDs(file))
		d.same("the next file", []string{orders[0].UID, orders[2].UID}, d.fileUIDs(next))
		d.send(r, next, start.Add(time.Hour))
		d.embossings(1, "SENT", "")
		d.same("waiting", int64(0), d.waiting())
		d.balances(next, 2, 0, 0, 2)
		written, err := d.WrittenOf(d.ctx, r.ID)
		d.must(err)
		d.same("written", map[string]int64{"alpha": 3}, written)
	}},
	{"the number and the name of a cancelled file stay used", func(d *desk) {
		r := d.begin()
		file, _ := d.sent(r, 1, 1)
		d.refuseFile(r, d.returned(r, "ret-1"), 1, file)
		_, err := d.CancelFile(d.ctx, cancelling(r, file))
		d.must(err)
		_, err = d.PlanFile(d.ctx, plan(r, "alpha", 1, 1))
		d.conflict(err)
		again := plan(r, "alpha", 2, 1)
		again.File.Name = "alpha-00001.pgp"
		_, err = d.PlanFile(d.ctx, again)
		d.conflict(err)
		d.plan(r, "alpha", 2, 1)
	}},
	{"a file that was never written is cancelled: its orders go into the next one", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2))
		orders := d.order(r, d.file(r, "a.csv"), 1, 1, 2)
		file := d.plan(r, "alpha", 1, 2)
		moved, err := d.CancelFile(d.ctx, cancelling(r, file))
		d.must(err)
		d.same("moved", int64(2), moved)
		d.same("state", ledger.Void, d.outgoing(file).State)
		d.embossings(1, "QUEUED", "QUEUED")
		b := d.balanceOf(file)
		d.same("records, orders, moved", [3]int64{2, 0, 2}, [3]int64{b.Records, b.Orders, b.Moved})
		d.conflict(d.ChangeFile(d.ctx, ledger.FileChange{FileID: file, From: []ledger.BureauFileState{ledger.Planned}, To: ledger.Written, At: start, Size: 9, SHA256: hash}))
		next := d.plan(r, "alpha", 2, 2)
		d.same("the next file", []string{orders[0].UID, orders[1].UID}, d.fileUIDs(next))
		d.send(r, next, start.Add(time.Hour))
		_, err = d.CancelFile(d.ctx, cancelling(r, next))
		d.conflict(err)
	}},
	{"a file that was written and never sent is cancelled, one that is to be repeated is not", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2))
		d.order(r, d.file(r, "a.csv"), 1, 1, 2)
		file := d.plan(r, "alpha", 1, 1)
		d.write(r, file)
		moved, err := d.CancelFile(d.ctx, cancelling(r, file))
		d.must(err)
		d.same("moved", int64(1), moved)
		d.queues(ledger.Queue{Recipient: "alpha", Orders: 2})
		next := d.plan(r, "alpha", 2, 2)
		d.send(r, next, start.Add(time.Hour))
		d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: next, From: []ledger.BureauFileState{ledger.Sent}, To: ledger.Written, At: start, Size: 99, SHA256: hash}))
		_, err = d.CancelFile(d.ctx, cancelling(r, next))
		d.conflict(err)
	}},
	{"the orders of a card system file that was never written stand in its queue again", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		c := d.replacement(r, d.file(r, "a.csv"), 1, 1, 900)
		d.must(d.CommitChunk(d.ctx, c))
		bureau := d.plan(r, "alpha", 1, 1)
		file := d.plan(r, config.CardSystem, 1, 1)
		moved, err := d.CancelFile(d.ctx, cancelling(r, file))
		d.must(err)
		d.same("moved", int64(1), moved)
		d.queues(ledger.Queue{Recipient: config.CardSystem, Orders: 1})
		d.same("the bureau's file", []string{c.Orders[0].UID}, d.fileUIDs(bureau))
		next := d.plan(r, config.CardSystem, 2, 1)
		d.same("the next file", []string{c.Orders[0].UID}, d.fileUIDs(next))
	}},
	{"only a refused file is cancelled, once, with a reason in its history", func(d *desk) {
		r := d.begin()
		file, _ := d.sent(r, 1, 1)
		_, err := d.CancelFile(d.ctx, cancelling(r, file))
		d.conflict(err)
		_, err = d.CancelFile(d.ctx, cancelling(r, file+1))
		d.notFound(err)
		for _, to := range []ledger.BureauFileState{ledger.Void, ledger.Refused} {
			if err := d.ChangeFile(d.ctx, ledger.FileChange{FileID: file, From: []ledger.BureauFileState{ledger.Sent}, To: to, At: start}); err == nil {
				d.Errorf("a plain change made a file %s", to)
			}
		}
		d.refuseFile(r, d.returned(r, "ret-1"), 1, file)
		before := len(d.entries())
		_, err = d.CancelFile(d.ctx, cancelling(r, file))
		d.must(err)
		_, err = d.CancelFile(d.ctx, cancelling(r, file))
		d.conflict(err)
		d.same("entries", before+1, len(d.entries()))
		steps, err := d.Deliveries(d.ctx, file)
		d.must(err)
		last := steps[len(steps)-1]
		d.same("step", [2]string{string(ledger.Void), "a wrong layout"}, [2]string{string(last.State), last.Reason})
	}},
	{"an order that the card system was told of is not told again from its next file", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2))
		file := d.file(r, "a.csv")
		first := d.replacement(r, file, 1, 1, 900)
		d.must(d.CommitChunk(d.ctx, first))
		bureau := d.plan(r, "alpha", 1, 1)
		told := d.plan(r, config.CardSystem, 1, 1)
		d.send(r, bureau, start)
		second := d.replacement(r, file, 2, 2, 902)
		d.must(d.CommitChunk(d.ctx, second))
		other := d.plan(r, "alpha", 2, 1)
		d.send(r, other, start)
		id := d.returned(r, "ret-1")
		for i, refused := range []int64{bureau, other} {
			d.refuseFile(r, id, i+1, refused)
			_, err := d.CancelFile(d.ctx, cancelling(r, refused))
			d.must(err)
		}
		d.queues(ledger.Queue{Recipient: "alpha", Orders: 2})
		d.same("the card system's file", []string{first.Orders[0].UID}, d.fileUIDs(told))
		d.plan(r, "alpha", 3, 2)
		d.same("still to be told", []string{second.Orders[0].UID}, d.queuedUIDs(config.CardSystem, 0))
		d.same("the card system's file", []string{first.Orders[0].UID}, d.fileUIDs(told))
	}},
}

// answer is what a bureau says of a file as a whole, an hour after the start.
func answer(file int64, status string) ledger.FileAnswer {
	return ledger.FileAnswer{Event: ledger.Event{FileID: file, Status: status, At: start.Add(time.Hour), Count: -1, Source: ledger.FromBureau}}
}

func (d *desk) reply(r ledger.Run, id int64, pos int, answers ...ledger.FileAnswer) {
	d.Helper()
	c := returnChunk(r, id, pos)
	c.Answers = answers
	d.must(d.CommitReturn(d.ctx, c))
}

func (d *desk) refuseFile(r ledger.Run, id int64, pos int, file int64) {
	d.Helper()
	a := answer(file, "REFUSED")
	a.Refuse = true
	d.reply(r, id, pos, a)
}

func cancelling(r ledger.Run, file int64) ledger.FileChange {
	e := entry("file.cancelled")
	return ledger.FileChange{FileID: file, At: start.Add(2 * time.Hour), RunID: r.ID, Reason: "a wrong layout", Entry: &e}
}

func (d *desk) fileEvents(file int64) []ledger.Event {
	d.Helper()
	events, err := d.FileEvents(d.ctx, file)
	d.must(err)
	return events
}

func (d *desk) outgoing(id int64) ledger.BureauFile {
	d.Helper()
	files, err := d.BureauFiles(d.ctx, ledger.FileQuery{})
	d.must(err)
	for _, f := range files {
		if f.ID == id {
			return f
		}
	}
	d.Fatalf("outgoing file %d is not there", id)
	return ledger.BureauFile{}
}

// waiting counts the orders that are in no written file.
func (d *desk) waiting() (n int64) {
	d.Helper()
	waits, err := d.Waits(d.ctx)
	d.must(err)
	for _, w := range waits {
		n += w.Orders
	}
	return n
}
