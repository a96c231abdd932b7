package ledgertest

import (
	"context"
	"errors"
	"slices"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

var retentionPromises = []promise{
	{"old outgoing files are those at an end, by their newest step", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2), TestCard(3), TestCard(4))
		d.order(r, d.file(r, "a.csv"), 1, 1, 2, 3, 4)
		sent := d.plan(r, "alpha", 1, 1)
		d.send(r, sent, start)
		later := d.plan(r, "alpha", 2, 1)
		d.send(r, later, start.Add(time.Hour))
		written := d.plan(r, "alpha", 3, 1)
		d.write(r, written)
		d.plan(r, "alpha", 4, 1)
		d.oldFiles(start.Add(-time.Millisecond))
		d.oldFiles(start, sent)
		d.oldFiles(start.Add(time.Hour), sent, later)
		d.oldFiles(start.Add(day), sent, later)
		d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: sent, From: []ledger.BureauFileState{ledger.Sent}, To: ledger.Sent, At: start.Add(2 * time.Hour), RunID: r.ID, Evidence: []byte("{}")}))
		d.oldFiles(start.Add(time.Hour), later) // it was sent again
	}},
	{"a cancelled file is old by its cancelling, and only if it was ever written", func(d *desk) {
		r := d.begin()
		file, _ := d.sent(r, 1, 1)
		d.refuseFile(r, d.returned(r, "ret-1"), 1, file)
		d.oldFiles(start.Add(30 * day))
		c := cancelling(r, file)
		c.At = start.Add(5 * day)
		_, err := d.CancelFile(d.ctx, c)
		d.must(err)
		d.oldFiles(start.Add(4 * day))
		d.oldFiles(start.Add(5*day), file)
		never := d.plan(r, "alpha", 2, 1)
		_, err = d.CancelFile(d.ctx, cancelling(r, never))
		d.must(err)
		d.oldFiles(start.Add(30*day), file)
	}},
	{"a request file is old by the end of the run that answered it", func(d *desk) {
		r := d.begin()
		id := d.file(r, "a.csv")
		other := d.file(r, "b.csv")
		d.finish(r)
		second := d.begin()
		d.place(r, id, "done/2026-11-21/a.csv")
		d.oldRequests(start.Add(100 * day)) // the run is open
		d.finish(second)
		end := second.StartedAt.Add(time.Hour)
		d.oldRequests(end.Add(-time.Millisecond))
		d.oldRequests(end, id)
		d.place(r, other, "done/2026-11-21/b.csv") // outside a run: by the one that claimed it
		d.oldRequests(end, id, other)
		d.place(r, id, "done/2026-11-21/a.csv")
		d.oldRequests(end, id, other)
	}},
	{"a return file is old by the end of the last run that had to do with it", func(d *desk) {
		r := d.begin()
		add := func(f ledger.ReturnFile) int64 {
			f.RunID, f.Bureau, f.Name, f.FetchedAt, f.Final = r.ID, "alpha", "n", start, "returns/alpha/n"
			id, err := d.AddReturn(d.ctx, f)
			d.must(err)
			return id
		}
		applied := add(ledger.ReturnFile{State: ledger.ReturnApplied, Settled: true})
		dismissed := add(ledger.ReturnFile{State: ledger.ReturnDismissed, Settled: true})
		unsettled := add(ledger.ReturnFile{State: ledger.ReturnApplied})
		for _, state := range []ledger.ReturnState{ledger.ReturnHeld, ledger.ReturnQuarantined, ledger.ReturnRepeated} {
			add(ledger.ReturnFile{State: state, Settled: true})
		}
		d.oldReturns(start.Add(100 * day)) // the run is open
		d.finish(r)
		end := r.StartedAt.Add(time.Hour)
		d.oldReturns(end.Add(-time.Millisecond))
		d.oldReturns(end, applied, dismissed)
		second := d.begin()
		f := d.returnOf(unsettled)
		f.Settled = true
		d.must(d.UpdateReturn(d.ctx, f, nil))
		d.oldReturns(start.Add(100*day), applied, dismissed)
		d.finish(second)
		d.oldReturns(end, applied, dismissed)
		d.oldReturns(second.StartedAt.Add(time.Hour), applied, dismissed, unsettled)
	}},
	{"where the orders of a request file are: the bureau's file, and for a reissue the card system's", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2), TestCard(3), TestCard(4))
		one, two := d.file(r, "a.csv"), d.file(r, "b.csv")
		d.order(r, one, 1, 1, 2)
		d.order(r, two, 1, 3)
		d.must(d.CommitChunk(d.ctx, d.replacement(r, one, 3, 4, 900)))
		d.refuse(r, one, 4)
		held := chunk(r, two)
		held.Answers = []ledger.Answer{refused(r, two, 2)}
		held.Answers[0].Outcome = rules.Held
		d.must(d.CommitChunk(d.ctx, held))
		d.placesOf(one, map[int64]int64{0: 3})
		bureau := d.plan(r, "alpha", 1, 4)
		d.placesOf(one, map[int64]int64{bureau: 3, 0: 1})
		told := d.plan(r, config.CardSystem, 1, 1)
		d.placesOf(one, map[int64]int64{bureau: 3, told: 1})
		d.placesOf(two, map[int64]int64{bureau: 1, 0: 1}) // a row of it is held
		d.placesOf(two+1, map[int64]int64{})
	}},
	{"what is marked as deleted is old no more, keeps its first time, and its record", func(d *desk) {
		r := d.begin()
		file, _ := d.sent(r, 1, 1)
		request := d.file(r, "a.csv")
		d.place(r, request, "done/2026-11-21/a.csv")
		back, err := d.AddReturn(d.ctx, ledger.ReturnFile{RunID: r.ID, Bureau: "alpha", Name: "n", State: ledger.ReturnApplied, Settled: true, FetchedAt: start, Final: "returns/alpha/n"})
		d.must(err)
		d.finish(r)
		old := start.Add(100 * day)
		all := []ledger.Deletion{{Kind: ledger.SealedBytes, ID: file}, {Kind: ledger.ResultFiles, ID: request}, {Kind: ledger.ReturnBytes, ID: back}}
		found, err := d.LastPlaceOf(d.ctx, "done/2026-11-21/a.csv")
		d.must(err)
		d.same("at its place", request, found.ID)
		d.notFound(d.SetDeleted(d.ctx, append(slices.Clone(all), ledger.Deletion{Kind: ledger.SealedBytes, ID: file + 1}), old))
		d.oldFiles(old, file) // all of them or none
		if err := d.SetDeleted(d.ctx, []ledger.Deletion{{Kind: "cards", ID: 1}}, old); err == nil {
			d.Error("a card was marked as deleted")
		}
		d.must(d.SetDeleted(d.ctx, all, old))
		d.must(d.SetDeleted(d.ctx, all[:1], old.Add(day)))
		d.oldFiles(old)
		d.oldRequests(old)
		d.oldReturns(old)
		for _, deletion := range all {
			at, err := d.DeletedAt(d.ctx, deletion)
			d.must(err)
			d.same("deleted at", old, at)
		}
		at, err := d.DeletedAt(d.ctx, ledger.Deletion{Kind: ledger.SealedBytes, ID: file + 1})
		d.must(err)
		d.same("not deleted", time.Time{}, at)
		_, err = d.LastPlaceOf(d.ctx, "done/2026-11-21/a.csv")
		d.notFound(err)
		d.same("state", ledger.Sent, d.outgoing(file).State)
		d.balances(file, 1, 0, 0, 1)
	}},
	{"an outgoing file is found by its id, without what is large", func(d *desk) {
		r := d.begin()
		file, _ := d.sent(r, 1, 1)
		f, err := d.OutgoingFile(d.ctx, file)
		d.must(err)
		if f.ID != file || f.State != ledger.Sent || f.Evidence == nil || f.LayoutText != nil || f.Head != nil {
			d.Errorf("%+v", f)
		}
		_, err = d.OutgoingFile(d.ctx, file+1)
		d.notFound(err)
	}},
	{"several entries go into the chain together or not at all", func(d *desk) {
		d.must(d.AppendAll(d.ctx, []ledger.AuditEntry{entry("one"), entry("two")}))
		d.must(d.AppendAll(d.ctx, nil))
		ended, cancel := context.WithCancel(d.ctx)
		cancel()
		if err := d.AppendAll(ended, []ledger.AuditEntry{entry("three"), entry("four")}); !errors.Is(err, context.Canceled) {
			d.Errorf("%v", err)
		}
		var what []string
		for _, e := range d.entries() {
			what = append(what, e.What)
		}
		d.same("entries", []string{"one", "two"}, what)
		d.must(d.VerifyAudit(d.ctx))
	}},
}

func (d *desk) oldFiles(before time.Time, want ...int64) {
	d.Helper()
	var got []int64
	d.must(d.EachOldFile(d.ctx, before, func(f *ledger.BureauFile, last time.Time) error {
		if last.After(before) || last.Before(f.SentAt) {
			d.Errorf("file %d, sent %v: its newest step is told as %v", f.ID, f.SentAt, last)
		}
		got = append(got, f.ID)
		return nil
	}))
	d.same("old outgoing files", want, got)
}

func (d *desk) oldRequests(before time.Time, want ...int64) {
	d.Helper()
	var got []int64
	d.must(d.EachOldRequest(d.ctx, before, func(f *ledger.RequestFile, ended time.Time) error {
		if ended.IsZero() || ended.After(before) {
			d.Errorf("file %d: the run's end is told as %v", f.ID, ended)
		}
		got = append(got, f.ID)
		return nil
	}))
	d.same("old request files", want, got)
}

func (d *desk) oldReturns(before time.Time, want ...int64) {
	d.Helper()
	var got []int64
	d.must(d.EachOldReturn(d.ctx, before, func(f *ledger.ReturnFile, last time.Time) error {
		if last.Before(f.FetchedAt) || last.After(before) {
			d.Errorf("return file %d: its last time is told as %v", f.ID, last)
		}
		got = append(got, f.ID)
		return nil
	}))
	d.same("old return files", want, got)
}

func (d *desk) placesOf(request int64, want map[int64]int64) {
	d.Helper()
	got, err := d.FilesOfRequest(d.ctx, request)
	d.must(err)
	d.same("where its orders are", want, got)
}

// place answers a request file.
func (d *desk) place(r ledger.Run, id int64, final string) {
	d.Helper()
	d.must(d.UpdateFile(d.ctx, ledger.RequestFile{ID: id, RunID: r.ID, Name: "n", State: ledger.Answered, Final: final, ClaimedAt: start}, nil, nil))
}
