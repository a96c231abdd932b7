package ledgertest

import (
	"cmp"
	"errors"
	"time"

	"reemboss/batch/ledger"
	"reemboss/formats/iso"
	"reemboss/formats/request"
)

var holdPromises = []promise{
	{"orders set aside are in no queue and wait", func(d *desk) {
		r := d.begin()
		file := d.file(r, "a.csv")
		d.cards(TestCard(1), TestCard(2), TestCard(3))
		orders := d.order(r, file, 1, 1, 2, 3)
		hold := d.setAside(r, "h1", 2)
		d.same("queue", []string{orders[2].UID}, d.queuedUIDs("alpha", 0))
		d.same("hold", []string{orders[0].UID, orders[1].UID}, d.holdUIDs(hold))
		d.queues(ledger.Queue{Recipient: "alpha", Orders: 1})
		waits, err := d.Waits(d.ctx)
		d.must(err)
		d.same("waits", []ledger.Waiting{{RunID: r.ID, Bureau: "alpha", Hold: "h1", Orders: 2}, {RunID: r.ID, Bureau: "alpha", Orders: 1}},
			sorted(waits, func(a, b ledger.Waiting) int { return cmp.Compare(b.Orders, a.Orders) }))
		d.same("open", "QUEUED", d.card(1).Open.State)
	}},
	{"a hold is one transaction, and its name is used once", func(d *desk) {
		r := d.begin()
		file := d.file(r, "a.csv")
		d.cards(TestCard(1), TestCard(2))
		d.order(r, file, 1, 1, 2)
		_, err := d.SetAside(d.ctx, hold(r, "h1", 3), entry("hold.made"))
		d.conflict(err)
		d.same("queued", 2, len(d.queuedUIDs("alpha", 0)))
		d.setAside(r, "h1", 1)
		_, err = d.SetAside(d.ctx, hold(r, "h1", 1), entry("hold.made"))
		d.conflict(err)
	}},
	{"holds are found by name, bureau, run and what is open", func(d *desk) {
		r := d.begin()
		file := d.file(r, "a.csv")
		d.cards(TestCard(1), TestCard(2))
		d.order(r, file, 1, 1, 2)
		first := d.setAside(r, "h1", 1)
		d.setAside(r, "h2", 1)
		want := hold(r, "h1", 1)
		want.ID, want.State = first, ledger.Held
		got, err := d.Holds(d.ctx, ledger.HoldQuery{Name: "h1"})
		d.must(err)
		d.same("hold", []ledger.Hold{want}, got)
		for _, q := range []ledger.HoldQuery{{}, {Bureau: "alpha"}, {RunID: r.ID}, {Open: true}} {
			d.holds(q, "h1", "h2")
		}
		d.holds(ledger.HoldQuery{Bureau: "beta"})
		d.must(d.DecideHold(d.ctx, decision(r, first, ledger.HoldCancelled)))
		d.holds(ledger.HoldQuery{Open: true}, "h2")
		d.holds(ledger.HoldQuery{RunID: r.ID}, "h1", "h2")
	}},
	{"an approved hold becomes one file, whole", func(d *desk) {
		r := d.begin()
		file := d.file(r, "a.csv")
		d.cards(TestCard(1), TestCard(2), TestCard(3))
		orders := d.order(r, file, 1, 1, 2, 3)
		id := d.setAside(r, "h1", 2)
		p := plan(r, "alpha", 1, 2)
		p.File.HoldID = id
		_, err := d.PlanFile(d.ctx, p)
		d.conflict(err) // not approved
		d.must(d.DecideHold(d.ctx, decision(r, id, ledger.Approved)))
		wrong := plan(r, "alpha", 1, 1)
		wrong.File.HoldID = id
		_, err = d.PlanFile(d.ctx, wrong)
		d.conflict(err)
		planned, err := d.PlanFile(d.ctx, p)
		d.must(err)
		d.same("file", []string{orders[0].UID, orders[1].UID}, d.fileUIDs(planned))
		d.same("hold", 0, len(d.holdUIDs(id)))
		holds, err := d.Holds(d.ctx, ledger.HoldQuery{Name: "h1"})
		d.must(err)
		d.same("its file", planned, holds[0].BureauFileID)
		d.same("its name", p.File.Name, holds[0].FileName)
		again := plan(r, "alpha", 2, 2)
		again.File.HoldID = id
		_, err = d.PlanFile(d.ctx, again)
		d.conflict(err)
		d.holds(ledger.HoldQuery{Open: true})
	}},
	{"a hold is decided once", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		d.order(r, d.file(r, "a.csv"), 1, 1)
		id := d.setAside(r, "h1", 1)
		d.must(d.DecideHold(d.ctx, decision(r, id, ledger.Approved)))
		d.conflict(d.DecideHold(d.ctx, decision(r, id, ledger.Approved)))
		d.conflict(d.DecideHold(d.ctx, decision(r, id, ledger.HoldCancelled)))
		d.notFound(d.DecideHold(d.ctx, decision(r, id+1, ledger.Approved)))
		holds, err := d.Holds(d.ctx, ledger.HoldQuery{})
		d.must(err)
		h := holds[0]
		d.same("decision", []string{"APPROVED", "berta", "by command", "looked at", r.ID}, []string{string(h.State), h.DecidedBy, h.How, h.Reason, h.DecidedRunID})
	}},
	{"a decision and its signed file are one", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		d.order(r, d.file(r, "a.csv"), 1, 1)
		id := d.setAside(r, "h1", 1)
		signed, err := d.AddFile(d.ctx, ledger.RequestFile{RunID: r.ID, Name: "a.asc", State: ledger.Claimed, Owner: "anna"})
		d.must(err)
		c := decision(r, id, ledger.Approved)
		c.File = &ledger.RequestFile{ID: signed, RunID: r.ID, Name: "a.asc", State: ledger.DecidedF, SHA256: "feed", Submitter: "berta", Signer: "BE27", Owner: "anna", Approval: "h1"}
		d.must(d.DecideHold(d.ctx, c))
		c.File = &ledger.RequestFile{ID: signed, RunID: r.ID, Name: "other"}
		d.conflict(d.DecideHold(d.ctx, c))
		found, err := d.SameBytes(d.ctx, "feed", 0)
		d.must(err)
		d.same("file", []string{"a.asc", "berta", "BE27", "anna", "h1", "DECIDED"}, []string{found.Name, found.Submitter, found.Signer, found.Owner, found.Approval, string(found.State)})
		_, err = d.SameBytes(d.ctx, "feed", signed)
		d.notFound(err)
	}},
	{"who asked for the orders of a hold is counted", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2), TestCard(3))
		file, err := d.AddFile(d.ctx, ledger.RequestFile{RunID: r.ID, Name: "s.csv", SHA256: hash, State: ledger.Checked, Submitter: "anna", Signer: "AF1E", Owner: "sftp"})
		d.must(err)
		d.order(r, file, 1, 1, 2)
		d.order(r, d.file(r, "a.csv"), 1, 3)
		tallies, err := d.HoldTallies(d.ctx, d.setAside(r, "h1", 3))
		d.must(err)
		d.same("tallies", []ledger.HoldTally{
			{Kind: request.Reemboss, Submitter: "anna", Signer: "AF1E", Owner: "sftp", RowSubmitter: "branch 7", N: 2}, {Kind: request.Reemboss, RowSubmitter: "branch 7", N: 1},
		}, sorted(tallies, func(a, b ledger.HoldTally) int { return cmp.Compare(b.N, a.N) }))
	}},
	{"a cancelled order counts for nothing", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		order := d.order(r, d.file(r, "a.csv"), 1, 1)[0]
		id := d.setAside(r, "h1", 1)
		d.must(d.DecideHold(d.ctx, decision(r, id, ledger.HoldCancelled)))
		c := d.card(1)
		if c.Open != nil || c.Last != nil || len(c.Reissues) != 0 {
			d.Errorf("open %v, last %v, reissues %v", c.Open, c.Last, c.Reissues)
		}
		expiries, err := d.Expiries(d.ctx, 1)
		d.must(err)
		d.same("expiries", []iso.Expiry(nil), expiries)
		d.balance(r, 0, 0)
		cancelled, err := d.CancelledOf(d.ctx, r.ID)
		d.must(err)
		d.same("cancelled", map[string]int64{"alpha": 1}, cancelled)
		totals, err := d.Totals(d.ctx)
		d.must(err)
		d.same("totals", ledger.Totals{Orders: 1, Cancelled: 1}, totals)
		d.same("hold", []string{order.UID}, d.holdUIDs(id))
		d.shipment(order, ledger.Cancelled, "CANCELLED")
		again := d.order(r, d.file(r, "b.csv"), 1, 1)[0]
		if s := d.shipmentOf(again.UID); s.Reembossing != 1 {
			d.Errorf("the re-embossing after it counts as number %d", s.Reembossing)
		}
	}},
	{"cancelling puts a card back that keeps its number", func(d *desk) {
		r := d.begin()
		before := TestCard(1)
		before.PSN, before.Status = 3, "EXPIRED"
		d.cards(before)
		d.reissue(r, 1, true)
		if c := d.card(1); c.PSN != 4 || c.Decided == 0 {
			d.Fatalf("the order changed nothing: %+v", c)
		}
		d.must(d.DecideHold(d.ctx, decision(r, d.setAside(r, "h1", 1), ledger.HoldCancelled)))
		c := d.card(1)
		d.same("card", before, c.Card.Card)
		d.same("decided", ledger.Decided(0), c.Decided)
	}},
	{"cancelling leaves what somebody else changed since", func(d *desk) {
		r := d.begin()
		before := TestCard(1)
		before.PSN = 3
		d.cards(before)
		d.reissue(r, 1, true)
		moved := d.card(1).Card.Card
		moved.Status, moved.PrintedName = "CANCELED", "ANOTHER NAME"
		d.store(ledger.CardWrite{Card: moved, Decided: ledger.DecidedPSN | ledger.DecidedExpiry, At: start})
		d.must(d.DecideHold(d.ctx, decision(r, d.setAside(r, "h1", 1), ledger.HoldCancelled)))
		c := d.card(1)
		d.same("left", []string{"CANCELED", "ANOTHER NAME"}, []string{c.Status, c.PrintedName})
		d.same("put back", []any{3, before.Expiry}, []any{c.PSN, c.Expiry})
	}},
	{"cancelling a new number unlinks and deletes the new card", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		c := d.replacement(r, d.file(r, "a.csv"), 1, 1, 900)
		c.Orders[0].MayBeHeld = true
		d.must(d.CommitChunk(d.ctx, c))
		d.must(d.DecideHold(d.ctx, decision(r, d.setAside(r, "h1", 1), ledger.HoldCancelled)))
		old, made := d.card(1), d.card(900)
		d.same("old card", []any{TestCard(1).Status, int64(0)}, []any{old.Status, old.Successor})
		d.same("new card", []any{ledger.Deleted, TestPAN(900)}, []any{made.Status, made.PAN})
		if old.Last != nil || made.Last != nil {
			d.Errorf("embossings %v, %v", old.Last, made.Last)
		}
		known, err := d.KnownPANs(d.ctx, []iso.PAN{TestPAN(900)})
		d.must(err)
		d.same("number known", []bool{true}, known)
		for _, card := range []int64{1, 900} { // the history of both tells of it
			shipments, err := d.CardShipments(d.ctx, card)
			d.must(err)
			if len(shipments) != 1 || shipments[0].State != ledger.Cancelled {
				d.Errorf("shipments of card %d: %+v", card, shipments)
			}
		}
		d.must(d.CommitChunk(d.ctx, d.replacement(r, d.file(r, "b.csv"), 1, 1, 901)))
	}},
	{"without a before-image nothing is cancelled", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		d.reissue(r, 1, false)
		id := d.setAside(r, "h1", 1)
		after := d.card(1)
		if err := d.DecideHold(d.ctx, decision(r, id, ledger.HoldCancelled)); !errors.Is(err, ledger.ErrNoWayBack) {
			d.Errorf("the error is %v", err)
		}
		d.same("card", after, d.card(1))
		d.holds(ledger.HoldQuery{Open: true}, "h1")
		list, err := d.Holds(d.ctx, ledger.HoldQuery{Name: "h1"})
		d.must(err)
		d.same("no way back", true, list[0].NoWayBack)
	}},
	{"what was cancelled between two runs is told by the next", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		d.order(r, d.file(r, "a.csv"), 1, 1)
		id := d.setAside(r, "h1", 1)
		d.finish(r)
		c := decision(r, id, ledger.HoldCancelled)
		c.RunID = ""
		d.must(d.DecideHold(d.ctx, c))
		next := d.begin()
		holds, err := d.Holds(d.ctx, ledger.HoldQuery{})
		d.must(err)
		d.same("run", next.ID, holds[0].DecidedRunID)
		var told []string
		d.must(d.EachEvent(d.ctx, next.ID, func(e *ledger.ToldEvent) error {
			told = append(told, e.Status+" "+e.Code+" "+e.Description)
			return nil
		}))
		d.same("events", []string{"CANCELLED cancelled looked at"}, told)
	}},
	{"orders of a held file that was refused wait in no hold", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		d.order(r, d.file(r, "a.csv"), 1, 1)
		id := d.setAside(r, "h1", 1)
		d.must(d.DecideHold(d.ctx, decision(r, id, ledger.Approved)))
		p := plan(r, "alpha", 1, 1)
		p.File.HoldID = id
		file, err := d.PlanFile(d.ctx, p)
		d.must(err)
		d.send(r, file, r.StartedAt)
		d.refuseFile(r, d.returned(r, "r.csv"), 1, file)
		moved, err := d.CancelFile(d.ctx, cancelling(r, file))
		d.must(err)
		d.same("moved", int64(1), moved)
		d.same("queued", 1, len(d.queuedUIDs("alpha", 0)))
	}},
}

// hold is what is set aside of alpha's queue.
func hold(r ledger.Run, name string, records int64) ledger.Hold {
	return ledger.Hold{Name: name, Bureau: "alpha", RunID: r.ID, Records: records, Digest: "digest of " + name, HeldAt: r.StartedAt}
}

func (d *desk) setAside(r ledger.Run, name string, records int64) int64 {
	d.Helper()
	id, err := d.SetAside(d.ctx, hold(r, name, records), entry("hold.made"))
	d.must(err)
	return id
}

func decision(r ledger.Run, id int64, to ledger.HoldState) ledger.HoldDecision {
	return ledger.HoldDecision{HoldID: id, To: to, At: r.StartedAt, RunID: r.ID, By: "berta", How: "by command", Reason: "looked at", Entry: entry("hold.decided")}
}

func (d *desk) holdUIDs(id int64) []string {
	d.Helper()
	return d.uidsOf(func(fn func(*ledger.Order) error) error { return d.EachHoldOrder(d.ctx, id, fn) })
}

// holds compares the names of the chosen holds.
func (d *desk) holds(q ledger.HoldQuery, want ...string) {
	d.Helper()
	found, err := d.Holds(d.ctx, q)
	d.must(err)
	var got []string
	for _, h := range found {
		got = append(got, h.Name)
	}
	d.same("holds", want, got)
}

// reissue commits a reissue of a card that keeps its number and sets all that such a one sets.
func (d *desk) reissue(r ledger.Run, card int64, mayBeHeld bool) {
	d.Helper()
	file := d.file(r, "reissue.csv")
	a, o := d.accepted(r, file, 1, card)
	a.Kind, a.Class, a.Reason = request.Reissue, 201, 1
	o.Kind, o.Reason, o.Type, o.Reembossing, o.MayBeHeld = request.Reissue, 1, 1, 0, mayBeHeld
	status, psn, expiry, from, months, ref, name := "CREATED", 4, iso.Expiry(203105), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), 54, "cvk-2", "NEW NAME"
	c := chunk(r, file)
	c.Answers, c.Orders = []ledger.Answer{a}, []ledger.Order{o}
	c.Changes = []ledger.CardChange{{ID: card, Status: &status, PSN: &psn, Expiry: &expiry, StartDate: &from, ValidityMonths: &months, CVKRef: &ref, PrintedName: &name}}
	d.must(d.CommitChunk(d.ctx, c))
	changed := d.card(card).Card.Card
	d.same("changed", []any{status, psn, expiry, name}, []any{changed.Status, changed.PSN, changed.Expiry, changed.PrintedName})
}
