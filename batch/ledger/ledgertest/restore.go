package ledgertest

import (
	"fmt"
	"time"

	"reemboss/batch/ledger"
)

// restoration is one that raises nothing.
func restoration(change func(*ledger.Restoration)) ledger.Restoration {
	r := ledger.Restoration{At: start.Add(day), Who: "ann@h", Reason: "the disk broke", BackupAt: start, Replaced: ledger.Chain{Seq: 99, Hash: "ninety-nine"},
		Trouble: "may have been sent since", Entry: entry("ledger.restored")}
	change(&r)
	return r
}

var restorePromises = []promise{
	{"a restoration raises counters, lowers none, and records what it skipped", func(d *desk) {
		r := d.begin()
		d.must(d.CommitChunk(d.ctx, ledger.Chunk{RunID: r.ID, FileID: d.file(r, "a.csv"), At: start, Advances: []ledger.Advance{{Counter: "card-id", To: 7}, {Counter: "range/visa", To: 9}}}))
		id, err := d.Restore(d.ctx, restoration(func(r *ledger.Restoration) {
			r.Counters = map[string]int64{"card-id": 20, "range/visa": 3, "sequence/alpha": 4}
		}))
		d.must(err)
		all, err := d.Counters(d.ctx)
		d.must(err)
		d.same("counters", map[string]int64{"card-id": 20, "range/visa": 9, "sequence/alpha": 4, "runs": 1}, all)
		list, err := d.Restorations(d.ctx)
		d.must(err)
		d.same("restorations", []ledger.Restoration{{ID: id, At: start.Add(day), Who: "ann@h", Reason: "the disk broke", BackupAt: start, Replaced: ledger.Chain{Seq: 99, Hash: "ninety-nine"},
			Skipped: []ledger.Skipped{{Counter: "card-id", First: 8, Last: 20}, {Counter: "sequence/alpha", First: 1, Last: 4}}}}, list)
	}},
	{"a restored run has ended, and its number and those said are not used again", func(d *desk) {
		r := d.begin()
		_, err := d.Restore(d.ctx, restoration(func(r *ledger.Restoration) {
			r.Counters = map[string]int64{"runs": 6, "run/2026-11-22": 5}
		}))
		d.must(err)
		ended, err := d.Ledger.Run(d.ctx, r.ID)
		d.must(err)
		d.same("exit", 5, ended.Exit)
		d.same("ended", start.Add(day), ended.EndedAt)
		next, resumed, err := d.BeginRun(d.ctx, start.Add(day), "2026-11-22", "h", "v")
		d.must(err)
		d.same("resumed", false, resumed)
		d.same("id", "2026-11-22-006", next.ID)
		runs, err := d.Counter(d.ctx, "runs")
		d.must(err)
		d.same("runs", int64(7), runs)
	}},
	{"what may have been sent since is put to a person, what was sent is not", func(d *desk) {
		r := d.begin()
		file := d.file(r, "a.csv")
		d.cards(TestCard(1), TestCard(2), TestCard(3))
		d.order(r, file, 1, 1, 2, 3)
		sent, err := d.PlanFile(d.ctx, plan(r, "alpha", 1, 1))
		d.must(err)
		d.send(r, sent, start)
		open, err := d.PlanFile(d.ctx, plan(r, "alpha", 2, 1))
		d.must(err)
		_, err = d.Restore(d.ctx, restoration(func(*ledger.Restoration) {}))
		d.must(err)
		files, err := d.BureauFiles(d.ctx, ledger.FileQuery{Brief: true})
		d.must(err)
		d.same("states", "SENT UNDECIDED", fmt.Sprint(files[0].State, " ", files[1].State))
		d.same("why", "may have been sent since", files[1].LastError)
		history, err := d.Deliveries(d.ctx, open)
		d.must(err)
		d.same("history", ledger.Undecided, history[len(history)-1].State)
		d.same("queue", 1, len(d.queuedUIDs("alpha", 0)))
	}},
	{"what was approved and is in no file is held again", func(d *desk) {
		r := d.begin()
		file := d.file(r, "a.csv")
		d.cards(TestCard(1), TestCard(2), TestCard(3))
		d.order(r, file, 1, 1, 2, 3)
		id := d.setAside(r, "h1", 1)
		d.must(d.DecideHold(d.ctx, decision(r, id, ledger.Approved)))
		gone := d.setAside(r, "h2", 1)
		d.must(d.DecideHold(d.ctx, decision(r, gone, ledger.HoldCancelled)))
		_, err := d.Restore(d.ctx, restoration(func(*ledger.Restoration) {}))
		d.must(err)
		want := hold(r, "h1", 1)
		want.ID, want.State, want.Restored = id, ledger.Held, true
		holds, err := d.Holds(d.ctx, ledger.HoldQuery{Open: true})
		d.must(err)
		d.same("holds", []ledger.Hold{want}, holds)
	}},
	{"the cards of a restored hold that were made stay as they are and count as sent", func(d *desk) {
		r := d.begin()
		file := d.file(r, "a.csv")
		d.cards(TestCard(1), TestCard(2))
		d.order(r, file, 1, 1, 2)
		plain := d.setAside(r, "h1", 1)
		made := decision(r, plain, ledger.HoldCancelled)
		made.Made = true
		d.conflict(d.DecideHold(d.ctx, made)) // no restoration made it
		_, err := d.Restore(d.ctx, restoration(func(*ledger.Restoration) {}))
		d.must(err)
		before := d.card(1)
		d.must(d.DecideHold(d.ctx, ledger.HoldDecision{HoldID: plain, To: ledger.HoldCancelled, Made: true, At: start.Add(2 * day), By: "ann@h", Reason: "they have it", Entry: entry("hold.resolved")}))
		after := d.card(1)
		d.same("open", true, after.Open == nil)
		d.same("shipment", "SENT", after.ShipmentStatus)
		d.same("shipped", start.Add(2*day), after.ShippedAt)
		d.same("card", fmt.Sprint(before.Status, before.PSN, before.Expiry), fmt.Sprint(after.Status, after.PSN, after.Expiry))
		d.same("in the mail", "SENT", after.Last.State)
	}},
	{"a number passes over the PSNs that lost nights may have given its cards, once", func(d *desk) {
		one, two := TestCard(1), TestCard(2)
		two.PAN, two.PSN = one.PAN, one.PSN+2
		d.cards(one, two, TestCard(3))
		for range 2 { // the second one begins after the first
			_, err := d.Restore(d.ctx, restoration(func(r *ledger.Restoration) { r.PSNs = 2 }))
			d.must(err)
		}
		psns, err := d.PSNs(d.ctx, one.PAN)
		d.must(err)
		last := one.PSN + 2 + 2 + 4 // the higher one of the first restoration, and what both cards may have got since
		d.same("last", last, psns[len(psns)-1])
		d.same("all", last+1, len(psns))
	}},
	{"a number passes over the PSNs from its highest plastic on, whatever an extract says since", func(d *desk) {
		r := d.begin()
		card := TestCard(1)
		d.cards(card)
		d.order(r, d.file(r, "a.csv"), 1, 1) // with the card's PSN, 3
		card.PSN = 0
		d.cards(card)
		_, err := d.Restore(d.ctx, restoration(func(r *ledger.Restoration) { r.PSNs = 2 }))
		d.must(err)
		psns, err := d.PSNs(d.ctx, card.PAN)
		d.must(err)
		d.same("last", 5, psns[len(psns)-1])
	}},
	{"a number that comes first after a restoration passes over the PSNs too, unless its card began later", func(d *desk) {
		_, err := d.Restore(d.ctx, restoration(func(r *ledger.Restoration) { r.PSNs = 2 }))
		d.must(err)
		old, young := TestCard(1), TestCard(2)
		young.StartDate = start.Add(3 * day)
		for range 2 { // an extract that comes again adds nothing
			d.cards(old, young)
		}
		psns, err := d.PSNs(d.ctx, old.PAN)
		d.must(err)
		d.same("old", old.PSN+2, psns[len(psns)-1])
		psns, err = d.PSNs(d.ctx, young.PAN)
		d.must(err)
		d.same("young", []int{young.PSN}, psns)
	}},
	{"doubtful request files stay open, done ones do not", func(d *desk) {
		r := d.begin()
		doubtful, done := d.file(r, "a.csv"), d.file(r, "b.csv")
		_, err := d.Restore(d.ctx, restoration(func(r *ledger.Restoration) { r.Doubtful, r.Done = []int64{doubtful}, []int64{done} }))
		d.must(err)
		open, err := d.OpenFiles(d.ctx)
		d.must(err)
		d.same("open", 1, len(open))
		d.same("state", ledger.Doubtful, open[0].State)
	}},
	{"a restoration is one transaction", func(d *desk) {
		d.begin()
		_, err := d.Restore(d.ctx, restoration(func(r *ledger.Restoration) {
			r.Counters, r.Done = map[string]int64{"card-id": 9}, []int64{4711}
		}))
		d.notFound(err)
		id, err := d.Counter(d.ctx, "card-id")
		d.must(err)
		d.same("counter", int64(0), id)
		list, err := d.Restorations(d.ctx)
		d.must(err)
		d.same("restorations", 0, len(list))
	}},
	{"an entry of the audit chain is found by its number", func(d *desk) {
		d.must(d.Append(d.ctx, entry("one")))
		d.must(d.Append(d.ctx, entry("two")))
		head, err := d.AuditHead(d.ctx)
		d.must(err)
		at, err := d.AuditAt(d.ctx, head.Seq)
		d.must(err)
		d.same("head", head, at)
		_, err = d.AuditAt(d.ctx, head.Seq+1)
		d.notFound(err)
	}},
	{"an undecided file can be cancelled, and its orders wait again", func(d *desk) {
		r := d.begin()
		file := d.file(r, "a.csv")
		d.cards(TestCard(1), TestCard(2))
		d.order(r, file, 1, 1, 2)
		id, err := d.PlanFile(d.ctx, plan(r, "alpha", 1, 2))
		d.must(err)
		_, err = d.Restore(d.ctx, restoration(func(*ledger.Restoration) {}))
		d.must(err)
		moved, err := d.CancelFile(d.ctx, ledger.FileChange{FileID: id, At: start.Add(time.Hour), Reason: "the bytes are lost"})
		d.must(err)
		d.same("moved", int64(2), moved)
		d.same("queue", 2, len(d.queuedUIDs("alpha", 0)))
	}},
}
