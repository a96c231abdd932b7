package ledgertest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

var filePromises = []promise{
	{"queues count what is in no file of its recipient yet", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2), TestCard(3))
		file := d.file(r, "a.csv")
		d.order(r, file, 1, 1, 2)
		d.must(d.CommitChunk(d.ctx, d.replacement(r, file, 3, 3, 900)))
		d.queues(ledger.Queue{Recipient: "alpha", Orders: 3})
		d.plan(r, "alpha", 1, 3)
		d.queues(ledger.Queue{Recipient: config.CardSystem, Orders: 1})
		d.plan(r, config.CardSystem, 1, 1)
		d.queues()
	}},
	{"a queue is in file order: sort key, then order number", func(d *desk) {
		r := d.begin()
		uids := d.orderMixed(r)
		want := []string{uids[3], uids[1], uids[0], uids[2]}
		d.same("queue", want, d.queuedUIDs("alpha", 0))
		d.same("its first two", want[:2], d.queuedUIDs("alpha", 2))
	}},
	{"a file takes the first orders of the queue and keeps their order", func(d *desk) {
		r := d.begin()
		uids := d.orderMixed(r)
		id := d.plan(r, "alpha", 1, 3)
		d.same("file", []string{uids[3], uids[1], uids[0]}, d.fileUIDs(id))
		d.same("queue", []string{uids[2]}, d.queuedUIDs("alpha", 0))
		second := d.plan(r, "alpha", 2, 1)
		d.same("second file", []string{uids[2]}, d.fileUIDs(second))
		d.same("first file", []string{uids[3], uids[1], uids[0]}, d.fileUIDs(id))
	}},
	{"an order comes back with every field and with its file's", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		c := d.replacement(r, d.file(r, "a.csv"), 7, 1, 900)
		c.Orders[0].TypeDerived = true
		d.must(d.CommitChunk(d.ctx, c))
		want := c.Orders[0]
		var got ledger.Order
		d.must(d.EachQueued(d.ctx, "alpha", 1, func(o *ledger.Order) error { got = *o; return nil }))
		d.same("queued", want, got)
		id := d.plan(r, "alpha", 1, 1)
		d.send(r, id, start.Add(time.Minute))
		want.State, want.BureauFileID, want.FileName, want.Sequence, want.SentAt = ledger.SentO, id, "alpha-00001.pgp", 1, start.Add(time.Minute)
		d.must(d.EachFileOrder(d.ctx, id, func(o *ledger.Order) error { got = *o; return nil }))
		d.same("in its file", want, got)
	}},
	{"the card system gets reissue orders only, once each, by order number", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2), TestCard(3))
		file := d.file(r, "a.csv")
		d.order(r, file, 1, 1)
		var uids []string
		for i, old := range []int64{2, 3} {
			c := d.replacement(r, file, 2+i, old, 900+old)
			c.Orders[0].SortKey = []string{"z", "a"}[i]
			d.must(d.CommitChunk(d.ctx, c))
			uids = append(uids, c.Orders[0].UID)
		}
		d.same("before a bureau file", 0, len(d.queuedUIDs(config.CardSystem, 0)))
		bureau := d.plan(r, "alpha", 1, 3)
		d.same("queue", uids, d.queuedUIDs(config.CardSystem, 0))
		id := d.plan(r, config.CardSystem, 1, 2)
		d.same("file", uids, d.fileUIDs(id))
		d.same("queue", 0, len(d.queuedUIDs(config.CardSystem, 0)))
		d.send(r, id, start)
		states, err := d.OrderStates(d.ctx, bureau)
		d.must(err)
		d.same("its sending changes no order", map[ledger.OrderState]int64{ledger.PlannedO: 3}, states)
		states, err = d.OrderStates(d.ctx, id)
		d.must(err)
		d.same("orders of the card system's file", map[ledger.OrderState]int64{ledger.PlannedO: 2}, states)
	}},
	{"numbers of a recipient have no gap and no repeat", func(d *desk) {
		r := d.begin()
		d.orderMixed(r)
		for _, wrong := range []int64{0, 2} {
			_, err := d.PlanFile(d.ctx, plan(r, "alpha", wrong, 1))
			d.conflict(err)
		}
		d.plan(r, "alpha", 1, 1)
		repeat := plan(r, "alpha", 1, 1)
		repeat.File.Name = "other.pgp"
		_, err := d.PlanFile(d.ctx, repeat)
		d.conflict(err)
		d.plan(r, "alpha", 2, 1)
		value, err := d.Counter(d.ctx, "sequence/alpha")
		d.must(err)
		d.same("counter", int64(2), value)
	}},
	{"a plan for more orders than are queued leaves nothing", func(d *desk) {
		r := d.begin()
		uids := d.orderMixed(r)
		_, err := d.PlanFile(d.ctx, plan(r, "alpha", 1, int64(len(uids)+1)))
		d.conflict(err)
		d.same("queued", len(uids), len(d.queuedUIDs("alpha", 0)))
		value, err := d.Counter(d.ctx, "sequence/alpha")
		d.must(err)
		d.same("counter", int64(0), value)
		d.files(ledger.FileQuery{})
	}},
	{"a name is never used twice, by no recipient", func(d *desk) {
		r := d.begin()
		d.orderMixed(r)
		d.plan(r, "alpha", 1, 1)
		again := plan(r, "alpha", 2, 1)
		again.File.Name = "alpha-00001.pgp"
		_, err := d.PlanFile(d.ctx, again)
		d.conflict(err)
	}},
	{"a file comes back with every field, through all its states", func(d *desk) {
		r := d.begin()
		d.orderMixed(r)
		want := plan(r, "alpha", 1, 2).File
		want.ID, want.State = d.plan(r, "alpha", 1, 2), ledger.Planned
		d.sameFile(want)
		d.write(r, want.ID)
		want.State, want.Size, want.SHA256, want.WrittenAt = ledger.Written, 99, hash, start
		d.sameFile(want)
		d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: want.ID, From: []ledger.BureauFileState{ledger.Written}, To: ledger.Intent, At: start, Error: "no route to the bureau"}))
		want.State, want.LastError = ledger.Intent, "no route to the bureau"
		begun, err := d.Counter(d.ctx, "begun/"+want.Recipient)
		d.must(err)
		d.same("the counter of files that may have left", want.Sequence, begun)
		d.sameFile(want)
		d.finish(r)
		next := d.begin()
		d.must(d.ChangeFile(d.ctx, ledger.FileChange{
			FileID: want.ID, From: []ledger.BureauFileState{ledger.Renaming, ledger.Intent}, To: ledger.Sent, At: start.Add(day), RunID: next.ID, Evidence: []byte(`{"size":99}`),
		}))
		want.State, want.LastError, want.SentAt, want.SentRunID, want.Evidence = ledger.Sent, "", start.Add(day), next.ID, []byte(`{"size":99}`)
		d.sameFile(want)
		_, err = d.FileByName(d.ctx, "no.pgp")
		d.notFound(err)
	}},
	{"a change from another state than the stored one changes nothing", func(d *desk) {
		r := d.begin()
		d.orderMixed(r)
		id := d.plan(r, "alpha", 1, 1)
		d.conflict(d.ChangeFile(d.ctx, ledger.FileChange{FileID: id, From: []ledger.BureauFileState{ledger.Written, ledger.Intent}, To: ledger.Uploaded, At: start}))
		d.notFound(d.ChangeFile(d.ctx, ledger.FileChange{FileID: id + 1, From: []ledger.BureauFileState{ledger.Planned}, To: ledger.Intent, At: start}))
		d.same("state", []ledger.BureauFileState{ledger.Planned}, d.states(ledger.FileQuery{}))
		steps, err := d.Deliveries(d.ctx, id)
		d.must(err)
		d.same("history", 0, len(steps))
	}},
	{"written needs size and digest, which never change; sent needs evidence", func(d *desk) {
		r := d.begin()
		d.orderMixed(r)
		id := d.plan(r, "alpha", 1, 1)
		either := []ledger.BureauFileState{ledger.Planned, ledger.Written}
		for _, c := range []ledger.FileChange{
			{To: ledger.Written, Size: 0, SHA256: hash},
			{To: ledger.Written, Size: 9},
			{To: ledger.Sent},
		} {
			c.FileID, c.From, c.At = id, either, start
			if err := d.ChangeFile(d.ctx, c); err == nil {
				d.Errorf("%s without what it needs: no error", c.To)
			}
		}
		d.write(r, id)
		d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: id, From: either, To: ledger.Written, At: start, Size: 99, SHA256: hash}))
		d.conflict(d.ChangeFile(d.ctx, ledger.FileChange{FileID: id, From: either, To: ledger.Written, At: start, Size: 98, SHA256: hash}))
		d.conflict(d.ChangeFile(d.ctx, ledger.FileChange{FileID: id, From: either, To: ledger.Written, At: start, Size: 99, SHA256: "other"}))
	}},
	{"the history keeps every step, also one to the same state", func(d *desk) {
		r := d.begin()
		d.orderMixed(r)
		id := d.plan(r, "alpha", 1, 1)
		d.write(r, id)
		for i, to := range []ledger.BureauFileState{ledger.Intent, ledger.Intent, ledger.Undecided, ledger.Sent} {
			d.must(d.ChangeFile(d.ctx, ledger.FileChange{
				FileID: id, From: []ledger.BureauFileState{ledger.Written, ledger.Intent, ledger.Undecided}, To: to, At: start.Add(time.Duration(i) * time.Second),
				RunID: r.ID, Error: fmt.Sprint("e", i), Reason: fmt.Sprint("r", i), Evidence: []byte{'{', byte('0' + i), '}'},
			}))
		}
		steps, err := d.Deliveries(d.ctx, id)
		d.must(err)
		d.same("steps", 5, len(steps))
		d.same("first", ledger.Delivery{FileID: id, RunID: r.ID, At: start, State: ledger.Written}, steps[0])
		d.same("last", ledger.Delivery{FileID: id, RunID: r.ID, At: start.Add(3 * time.Second), State: ledger.Sent, Error: "e3", Reason: "r3", Evidence: []byte("{3}")}, steps[4])
	}},
	{"files are chosen by run and state, in the order recipient, sequence", func(d *desk) {
		first := d.begin()
		d.orderMixed(first)
		d.plan(first, "alpha", 1, 1)
		late := d.plan(first, "alpha", 2, 1)
		d.write(first, late)
		d.finish(first)
		second := d.begin()
		d.plan(second, "alpha", 3, 1)
		d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: late, From: []ledger.BureauFileState{ledger.Written}, To: ledger.Sent, At: start, RunID: second.ID, Evidence: []byte("{}")}))
		d.files(ledger.FileQuery{}, 1, 2, 3)
		d.files(ledger.FileQuery{RunID: first.ID}, 1, 2)
		d.files(ledger.FileQuery{RunID: second.ID}, 2, 3)
		d.files(ledger.FileQuery{States: []ledger.BureauFileState{ledger.Planned}}, 1, 3)
		d.files(ledger.FileQuery{RunID: second.ID, States: []ledger.BureauFileState{ledger.Sent, ledger.Undecided}}, 2)
		d.files(ledger.FileQuery{RunID: "2020-01-01-001"})
	}},
	{"orders of an unknown file are not found", func(d *desk) {
		d.notFound(d.EachFileOrder(d.ctx, 5, func(*ledger.Order) error { return nil }))
	}},
	{"a callback may read and write while it is streamed to", func(d *desk) {
		r := d.begin()
		d.orderMixed(r)
		calls := 0
		d.must(d.EachQueued(d.ctx, "alpha", 0, func(o *ledger.Order) error {
			calls++
			if calls == 1 {
				d.plan(r, "alpha", 1, 4)
			}
			_, err := d.Cards(d.ctx, []int64{o.CardID})
			return errors.Join(err, d.EachQueued(d.ctx, "alpha", 0, func(*ledger.Order) error { return errors.New("the queue is empty by now") }))
		}))
		d.same("calls", 4, calls)
	}},
}

func (d *desk) queues(want ...ledger.Queue) {
	d.Helper()
	got, err := d.Queues(d.ctx)
	d.must(err)
	d.same("queues", want, got)
}

// orderMixed accepts four orders for alpha with the sort keys b a b "" and one
// for beta, and gives the numbers of the four.
func (d *desk) orderMixed(r ledger.Run) []string {
	d.Helper()
	d.cards(TestCard(1), TestCard(2), TestCard(3), TestCard(4), TestCard(5))
	c := chunk(r, d.file(r, "mixed.csv"))
	var uids []string
	for i, sortKey := range []string{"b", "a", "b", "", "a"} {
		a, o := d.accepted(r, c.FileID, i+1, int64(i+1))
		o.SortKey = sortKey
		if i == 4 {
			o.Bureau = "beta"
		} else {
			uids = append(uids, o.UID)
		}
		c.Answers, c.Orders = append(c.Answers, a), append(c.Orders, o)
	}
	d.must(d.CommitChunk(d.ctx, c))
	return uids
}

func (d *desk) sameFile(want ledger.BureauFile) {
	d.Helper()
	got, err := d.FileByName(d.ctx, want.Name)
	d.must(err)
	d.same("file", want, got)
}

func (d *desk) states(q ledger.FileQuery) []ledger.BureauFileState {
	d.Helper()
	files, err := d.BureauFiles(d.ctx, q)
	d.must(err)
	var states []ledger.BureauFileState
	for _, f := range files {
		states = append(states, f.State)
	}
	return states
}

// files compares the sequences of the chosen files.
func (d *desk) files(q ledger.FileQuery, want ...int64) {
	d.Helper()
	files, err := d.BureauFiles(d.ctx, q)
	d.must(err)
	var got []int64
	for _, f := range files {
		got = append(got, f.Sequence)
	}
	if !slices.Equal(want, got) {
		d.Errorf("sequences of %+v: %v, want %v", q, got, want)
	}
}
