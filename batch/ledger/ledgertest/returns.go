package ledgertest

import (
	"errors"
	"fmt"
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

var returnPromises = []promise{
	{"a return file comes back with every field", func(d *desk) {
		r := d.begin()
		want := ledger.ReturnFile{
			RunID: r.ID, Bureau: "alpha", Name: "ret-1.csv.pgp", Size: 4711, SHA256: hash, ModTime: start.Add(-time.Hour), State: ledger.ReturnQuarantined, Code: "trailer_missing",
			Detail: "the last line is no trailer", SignedBy: "FP", Held: "state/returns/1", Final: "returns/alpha/1", Lines: 9, Settled: true, FetchedAt: start,
		}
		id, err := d.AddReturn(d.ctx, want)
		d.must(err)
		want.ID = id
		d.returnFiles(ledger.ReturnQuery{}, want)
		want.State, want.Code, want.Detail, want.Lines, want.Settled = ledger.ReturnDismissed, "", "", 10, false
		e := entry("returns.dismissed")
		d.must(d.UpdateReturn(d.ctx, want, &e))
		d.returnFiles(ledger.ReturnQuery{}, want)
		want.ID++
		d.notFound(d.UpdateReturn(d.ctx, want, nil))
		d.same("entries", 1, len(d.entries()))
	}},
	{"an update leaves alone what was applied", func(d *desk) {
		r := d.begin()
		o := d.ship(r, 1, 1, start)
		id := d.returned(r, "ret-1")
		c := returnChunk(r, id, 3, event(o, "ACKED", ledger.Acked, 1, 0))
		c.Known, c.Problems = 4, []ledger.Problem{{Line: 2, Code: "uid_unknown"}}
		d.commit(c, ledger.SentO)
		f := d.returnOf(id)
		d.same("line, applied, known, problems", [4]int64{3, 1, 4, 1}, [4]int64{int64(f.Pos), f.Applied, f.Known, f.Problems})
		f.State, f.Pos, f.Applied, f.Known, f.Problems = ledger.ReturnApplied, 0, 0, 0, 0
		d.must(d.UpdateReturn(d.ctx, f, nil))
		f = d.returnOf(id)
		d.same("state", ledger.ReturnApplied, f.State)
		d.same("line, applied, known, problems", [4]int64{3, 1, 4, 1}, [4]int64{int64(f.Pos), f.Applied, f.Known, f.Problems})
	}},
	{"return files are chosen by run, bureau, state and what is still to do at the bureau", func(d *desk) {
		first := d.begin()
		o := d.ship(first, 1, 1, start)
		add := func(r ledger.Run, bureau string, state ledger.ReturnState, settled bool) int64 {
			id, err := d.AddReturn(d.ctx, ledger.ReturnFile{RunID: r.ID, Bureau: bureau, Name: "n", State: state, Settled: settled})
			d.must(err)
			return id
		}
		one, two := add(first, "alpha", ledger.ReturnHeld, false), add(first, "alpha", ledger.ReturnApplied, true)
		late := add(first, "beta", ledger.ReturnApplied, false)
		d.finish(first)
		second := d.begin()
		three := add(second, "beta", ledger.ReturnHeld, true)
		d.chosen(ledger.ReturnQuery{}, one, two, late, three)
		d.chosen(ledger.ReturnQuery{Bureau: "alpha"}, one, two)
		d.chosen(ledger.ReturnQuery{States: []ledger.ReturnState{ledger.ReturnHeld, ledger.ReturnRepeated}}, one, three)
		d.chosen(ledger.ReturnQuery{Unsettled: true}, one, late)
		d.chosen(ledger.ReturnQuery{Bureau: "alpha", States: []ledger.ReturnState{ledger.ReturnApplied}}, two)
		d.chosen(ledger.ReturnQuery{RunID: first.ID}, one, two, late)
		d.chosen(ledger.ReturnQuery{RunID: second.ID}, three)
		d.commit(returnChunk(second, one, 1, event(o, "ACKED", ledger.Acked, 1, 0)), ledger.SentO)
		settled := d.returnOf(late)
		settled.Settled = true
		d.must(d.UpdateReturn(d.ctx, settled, nil))
		d.chosen(ledger.ReturnQuery{RunID: second.ID}, one, late, three)
	}},
	{"the same content is found at the same bureau only, repeats apart", func(d *desk) {
		r := d.begin()
		add := func(bureau, sha256 string, state ledger.ReturnState) int64 {
			id, err := d.AddReturn(d.ctx, ledger.ReturnFile{RunID: r.ID, Bureau: bureau, Name: "n", SHA256: sha256, State: state})
			d.must(err)
			return id
		}
		add("alpha", hash, ledger.ReturnRepeated)
		add("beta", hash, ledger.ReturnApplied)
		add("alpha", "other", ledger.ReturnApplied)
		_, err := d.SameReturn(d.ctx, "alpha", hash, 0)
		d.notFound(err)
		first := add("alpha", hash, ledger.ReturnHeld)
		second := add("alpha", hash, ledger.ReturnApplied)
		found, err := d.SameReturn(d.ctx, "alpha", hash, 0)
		d.must(err)
		d.same("first", first, found.ID)
		found, err = d.SameReturn(d.ctx, "alpha", hash, first)
		d.must(err)
		d.same("another", second, found.ID)
	}},
	{"content of which lines were not used counts as new", func(d *desk) {
		r := d.begin()
		for _, state := range []ledger.ReturnState{ledger.ReturnQuarantined, ledger.ReturnDismissed, ledger.ReturnApplied} {
			id, err := d.AddReturn(d.ctx, ledger.ReturnFile{RunID: r.ID, Bureau: "alpha", Name: "n", SHA256: hash, State: ledger.ReturnHeld})
			d.must(err)
			c := returnChunk(r, id, 1)
			c.Problems = []ledger.Problem{{Line: 1, Code: "line_malformed"}}
			d.must(d.CommitReturn(d.ctx, c))
			f := d.returnOf(id)
			f.State = state
			d.must(d.UpdateReturn(d.ctx, f, nil))
		}
		_, err := d.SameReturn(d.ctx, "alpha", hash, 0)
		d.notFound(err)
	}},
	{"a file seen before is known by bureau, name, size and time; the newest counts", func(d *desk) {
		r := d.begin()
		add := func(size int64, modified time.Time) int64 {
			id, err := d.AddReturn(d.ctx, ledger.ReturnFile{RunID: r.ID, Bureau: "alpha", Name: "ret", Size: size, ModTime: modified, State: ledger.ReturnApplied})
			d.must(err)
			return id
		}
		add(10, start)
		newest := add(10, start)
		add(11, start)
		add(10, start.Add(time.Second))
		timeless := add(10, time.Time{})
		found, err := d.SeenReturn(d.ctx, "alpha", "ret", 10, start)
		d.must(err)
		d.same("id", newest, found.ID)
		found, err = d.SeenReturn(d.ctx, "alpha", "ret", 10, time.Time{})
		d.must(err)
		d.same("id of the one without a time", timeless, found.ID)
		for _, other := range []struct {
			bureau, name string
			size         int64
			modified     time.Time
		}{{"beta", "ret", 10, start}, {"alpha", "ret2", 10, start}, {"alpha", "ret", 12, start}, {"alpha", "ret", 10, start.Add(time.Minute)}} {
			_, err := d.SeenReturn(d.ctx, other.bureau, other.name, other.size, other.modified)
			d.notFound(err)
		}
	}},
	{"lines that are in the ledger are not applied again", func(d *desk) {
		r := d.begin()
		o := d.ship(r, 1, 1, start)
		id := d.returned(r, "ret-1")
		d.commit(returnChunk(r, id, 5, event(o, "ACKED", ledger.Acked, 1, 0)), ledger.SentO)
		for _, pos := range []int{4, 5} {
			c := returnChunk(r, id, pos, event(o, "PRODUCED", ledger.Produced, 0, 0))
			c.From = []ledger.OrderState{ledger.Acked}
			d.conflict(d.CommitReturn(d.ctx, c))
		}
		d.shipment(o, ledger.Acked, "ACKED")
		d.commit(returnChunk(r, id, 6, event(o, "PRODUCED", ledger.Produced, 0, 0)), ledger.Acked)
		d.shipment(o, ledger.Produced, "ACKED", "PRODUCED")
	}},
	{"lines are applied of a held file only", func(d *desk) {
		r := d.begin()
		id := d.returned(r, "ret-1")
		f := d.returnOf(id)
		f.State = ledger.ReturnApplied
		d.must(d.UpdateReturn(d.ctx, f, nil))
		d.conflict(d.CommitReturn(d.ctx, returnChunk(r, id, 1)))
		d.notFound(d.CommitReturn(d.ctx, returnChunk(r, id+1, 1)))
	}},
	{"a chunk that does not fit leaves nothing", func(d *desk) {
		r := d.begin()
		o := d.ship(r, 1, 1, start)
		id := d.returned(r, "ret-1")
		before := len(d.entries())
		e := entry("returns.applied")
		unknown := event(o, "SHIPPED", ledger.Shipped, 0, 0)
		unknown.UID = "no such order"
		for _, second := range []ledger.Event{event(o, "SHIPPED", ledger.Shipped, 0, 0), unknown} {
			c := returnChunk(r, id, 3, event(o, "ACKED", ledger.Acked, 1, 0), second)
			c.From = []ledger.OrderState{ledger.SentO, ledger.Produced}
			c.Problems, c.Entry = []ledger.Problem{{Line: 3, Code: "line_malformed"}}, &e
			c.Answers = []ledger.FileAnswer{{Event: ledger.Event{FileID: o.BureauFileID, Status: "RECEIVED", At: start, Source: ledger.FromBureau}}}
			if err := d.CommitReturn(d.ctx, c); !errors.Is(err, ledger.ErrConflict) && !errors.Is(err, ledger.ErrNotFound) {
				d.Errorf("error %v", err)
			}
		}
		d.shipment(o, ledger.SentO)
		d.same("file", 0, d.returnOf(id).Pos)
		d.problems(r)
		d.same("answers", 0, len(d.fileEvents(o.BureauFileID)))
		d.same("entries", before, len(d.entries()))
		d.balances(o.BureauFileID, 1, 0, 0, 1)
	}},
	{"problems come back by return file and line, those of the run", func(d *desk) {
		first := d.begin()
		one, two := d.returned(first, "ret-1"), d.returned(first, "ret-2")
		at := func(id int64, line int) ledger.Problem {
			return ledger.Problem{ReturnID: id, Line: line, Code: "uid_unknown", FileName: "f.pgp", UID: "u", Detail: fmt.Sprintf("line %d tells of no card", line)}
		}
		add := func(r ledger.Run, id int64, pos int, lines ...int) {
			c := returnChunk(r, id, pos)
			for _, line := range lines {
				c.Problems = append(c.Problems, at(id, line))
			}
			d.must(d.CommitReturn(d.ctx, c))
		}
		add(first, two, 4, 4, 2)
		add(first, one, 9, 7)
		d.finish(first)
		second := d.begin()
		add(second, one, 11, 11, 10)
		d.problems(first, at(one, 7), at(two, 2), at(two, 4))
		d.problems(second, at(one, 10), at(one, 11))
		d.notFound(d.EachProblem(d.ctx, "2020-01-01-001", func(*ledger.Problem, *ledger.ReturnFile) error { return nil }))
	}},
	{"a file that is rewound begins anew, without its problems", func(d *desk) {
		r := d.begin()
		o := d.ship(r, 1, 1, start)
		id := d.returned(r, "ret-1")
		c := returnChunk(r, id, 2, event(o, "ACKED", ledger.Acked, 1, 0))
		c.Problems = []ledger.Problem{{Line: 2, Code: "uid_unknown"}}
		d.commit(c, ledger.SentO)
		d.conflict(d.RewindReturn(d.ctx, id, "again", entry("returns.rewound")))
		for _, was := range []ledger.ReturnState{ledger.ReturnQuarantined, ledger.ReturnApplied} {
			f := d.returnOf(id)
			f.State, f.Code, f.Detail, f.Held, f.Final = was, "file_unknown", "no such file", "", "its place"
			d.must(d.UpdateReturn(d.ctx, f, nil))
			d.must(d.RewindReturn(d.ctx, id, "again", entry("returns.rewound")))
			f.State, f.Code, f.Detail, f.Held, f.Pos, f.Applied, f.Known, f.Problems = ledger.ReturnHeld, "", "", "again", 0, 0, 0, 0
			d.same("file", f, d.returnOf(id))
			d.problems(r)
			again := returnChunk(r, id, 2)
			again.Known = 1
			d.must(d.CommitReturn(d.ctx, again))
		}
		d.notFound(d.RewindReturn(d.ctx, id+1, "again", entry("returns.rewound")))
		d.shipment(o, ledger.Acked, "ACKED")
	}},
	{"whatever happens to files and orders, the whole ledger agrees with itself", func(d *desk) {
		r := d.begin()
		file, orders := d.sent(r, 1, 1, 2, 3)
		totals := func(orders, inFiles, inNone int64) {
			d.Helper()
			got, err := d.Totals(d.ctx)
			d.must(err)
			d.same("totals", ledger.Totals{Orders: orders, InFiles: inFiles, InNone: inNone}, got)
			for _, f := range d.allOutgoing() {
				differing, err := d.Differing(d.ctx, f)
				d.must(err)
				d.same(fmt.Sprintf("orders of file %d that differ from their events", f), int64(0), differing)
			}
		}
		totals(3, 3, 0)
		id := d.returned(r, "ret-1")
		d.commit(returnChunk(r, id, 1, event(orders[0], "ACKED", ledger.Acked, 1, 0), disputed(orders[1])), ledger.SentO, ledger.SentO)
		totals(3, 3, 0)
		d.refuseFile(r, id, 2, file)
		totals(3, 3, 0)
		_, err := d.CancelFile(d.ctx, cancelling(r, file))
		d.must(err)
		totals(3, 0, 3)
		waiting, _, err := d.Disputes(d.ctx, 0)
		d.must(err)
		d.must(d.SettleEvent(d.ctx, waiting[0].ID, start, "kept: they erred", nil, "", nil, entry("event.settled")))
		later := d.plan(r, "alpha", 2, 2)
		totals(3, 2, 1)
		d.send(r, later, start)
		totals(3, 2, 1)
	}},
	{"the answers of finished runs are counted by run and outcome", func(d *desk) {
		first := d.begin()
		file := d.file(first, "a.csv")
		d.cards(TestCard(1))
		d.order(first, file, 1, 1)
		c := chunk(first, file)
		c.Answers = []ledger.Answer{refused(first, file, 2), refused(first, file, 3)}
		c.Answers[1].Outcome = rules.Held
		d.must(d.CommitChunk(d.ctx, c))
		d.finish(first)
		second := d.begin()
		c = chunk(second, file)
		c.Answers = []ledger.Answer{refused(second, file, 4)}
		c.Answers[0].Outcome = rules.Duplicate
		d.must(d.CommitChunk(d.ctx, c))
		counts := func(since time.Time, want map[string]ledger.OutcomeCounts) {
			d.Helper()
			got, err := d.NightCounts(d.ctx, since)
			d.must(err)
			d.same("counts", want, got)
		}
		one, two := ledger.OutcomeCounts{Read: 3, Accepted: 1, Refused: 1, Held: 1}, ledger.OutcomeCounts{Read: 1, Duplicate: 1}
		counts(first.StartedAt, map[string]ledger.OutcomeCounts{first.ID: one})
		d.finish(second)
		counts(first.StartedAt, map[string]ledger.OutcomeCounts{first.ID: one, second.ID: two})
		counts(second.StartedAt, map[string]ledger.OutcomeCounts{second.ID: two})
	}},
	{"disputes are counted by the return file that told of them, while they wait", func(d *desk) {
		r := d.begin()
		_, orders := d.sent(r, 1, 1, 2)
		kept := d.dispute(r, "ret-1", orders[0])
		d.commit(returnChunk(r, d.returned(r, "ret-2"), 2, disputed(orders[0]), disputed(orders[1])), ledger.SentO, ledger.SentO)
		waiting, _, err := d.Disputes(d.ctx, 0)
		d.must(err)
		d.must(d.SettleEvent(d.ctx, kept, start, "kept: they erred", nil, "", nil, entry("event.settled")))
		counts, err := d.DisputesByReturn(d.ctx)
		d.must(err)
		d.same("counts", map[int64]int64{waiting[1].ReturnID: 2}, counts)
	}},
	{"the files that were answered as a whole in a run are known", func(d *desk) {
		first := d.begin()
		file, _ := d.sent(first, 1, 1)
		other, orders := d.sent(first, 2, 2)
		id := d.returned(first, "ret-1")
		d.commit(returnChunk(first, id, 1, event(orders[0], "ACKED", ledger.Acked, 1, 0)), ledger.SentO)
		d.reply(first, id, 2, answer(file, "RECEIVED"), answer(file, "RECEIVED"))
		d.finish(first)
		second := d.begin()
		d.reply(second, d.returned(second, "ret-2"), 1, answer(other, "RECEIVED"))
		for run, want := range map[string]int64{first.ID: file, second.ID: other} {
			got, err := d.FilesAnswered(d.ctx, run)
			d.must(err)
			d.same("answered in "+run, []int64{want}, got)
		}
		_, err := d.FilesAnswered(d.ctx, "2020-01-01-001")
		d.notFound(err)
	}},
}

// allOutgoing are the ids of all outgoing files.
func (d *desk) allOutgoing() (ids []int64) {
	d.Helper()
	files, err := d.BureauFiles(d.ctx, ledger.FileQuery{})
	d.must(err)
	for _, f := range files {
		ids = append(ids, f.ID)
	}
	return ids
}

// returned records a return file of alpha whose lines may be applied.
func (d *desk) returned(r ledger.Run, name string) int64 {
	d.Helper()
	id, err := d.AddReturn(d.ctx, ledger.ReturnFile{RunID: r.ID, Bureau: "alpha", Name: name, SHA256: name, State: ledger.ReturnHeld, FetchedAt: start})
	d.must(err)
	return id
}

func (d *desk) returnOf(id int64) ledger.ReturnFile {
	d.Helper()
	files, err := d.ReturnFiles(d.ctx, ledger.ReturnQuery{})
	d.must(err)
	for _, f := range files {
		if f.ID == id {
			return f
		}
	}
	d.Fatalf("return file %d is not there", id)
	return ledger.ReturnFile{}
}

func (d *desk) returnFiles(q ledger.ReturnQuery, want ...ledger.ReturnFile) {
	d.Helper()
	got, err := d.ReturnFiles(d.ctx, q)
	d.must(err)
	d.same("return files", want, got)
}

func (d *desk) chosen(q ledger.ReturnQuery, want ...int64) {
	d.Helper()
	files, err := d.ReturnFiles(d.ctx, q)
	d.must(err)
	var got []int64
	for _, f := range files {
		got = append(got, f.ID)
	}
	d.same(fmt.Sprintf("return files of %+v", q), want, got)
}

// problems compares a run's problems.
func (d *desk) problems(r ledger.Run, want ...ledger.Problem) {
	d.Helper()
	var got []ledger.Problem
	d.must(d.EachProblem(d.ctx, r.ID, func(p *ledger.Problem, f *ledger.ReturnFile) error {
		d.same("file of the problem", p.ReturnID, f.ID)
		got = append(got, *p)
		return nil
	}))
	d.same("problems of "+r.ID, want, got)
}

// returnChunk is a chunk of a return file up to a line.
func returnChunk(r ledger.Run, id int64, pos int, events ...ledger.Event) ledger.ReturnChunk {
	return ledger.ReturnChunk{ReturnID: id, RunID: r.ID, Pos: pos, At: r.StartedAt, Events: events}
}

// commit commits c, whose events find their orders in these states.
func (d *desk) commit(c ledger.ReturnChunk, from ...ledger.OrderState) {
	d.Helper()
	c.From = from
	d.must(d.CommitReturn(d.ctx, c))
}
