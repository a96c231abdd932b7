package ledgertest

import (
	"errors"
	"fmt"
	"time"

	"reemboss/batch/ledger"
)

var runPromises = []promise{
	{"the first run of a date has number 001", func(d *desk) {
		r, resumed, err := d.BeginRun(d.ctx, start, "2026-11-21", "h", "v")
		d.must(err)
		d.same("run", ledger.Run{ID: "2026-11-21-001", Date: "2026-11-21", StartedAt: start, Starts: 1, Host: "h", Version: "v"}, r)
		d.same("resumed", false, resumed)
	}},
	{"an open run is continued, also on the next date", func(d *desk) {
		d.begin()
		r, resumed, err := d.BeginRun(d.ctx, start.Add(day), "2026-11-22", "h2", "v2")
		d.must(err)
		d.same("run", ledger.Run{ID: "2026-11-21-001", Date: "2026-11-21", StartedAt: start, Starts: 2, Host: "h2", Version: "v2"}, r)
		d.same("resumed", true, resumed)
	}},
	{"numbers go on within a date and begin again with the next", func(d *desk) {
		for _, want := range []string{"2026-11-21-001", "2026-11-21-002"} {
			r, _, err := d.BeginRun(d.ctx, start, "2026-11-21", "h", "v")
			d.must(err)
			d.same("id", want, r.ID)
			d.finish(r)
		}
		r, _, err := d.BeginRun(d.ctx, start.Add(day), "2026-11-22", "h", "v")
		d.must(err)
		d.same("id", "2026-11-22-001", r.ID)
	}},
	{"a finished run keeps its exit code and summary and is not finished twice", func(d *desk) {
		r := d.begin()
		end := start.Add(time.Hour + 7*time.Millisecond)
		d.must(d.FinishRun(d.ctx, r.ID, end, 4, []byte(`{"read":1}`)))
		r.EndedAt, r.Exit, r.Summary = end, 4, []byte(`{"read":1}`)
		got, err := d.Ledger.Run(d.ctx, r.ID)
		d.must(err)
		d.same("run", r, got)
		d.conflict(d.FinishRun(d.ctx, r.ID, end, 0, nil))
	}},
	{"unknown runs are not found", func(d *desk) {
		_, err := d.Ledger.Run(d.ctx, "2026-01-01-001")
		d.notFound(err)
		d.notFound(d.FinishRun(d.ctx, "2026-01-01-001", start, 0, nil))
		d.notFound(d.RecordStage(d.ctx, ledger.Stage{RunID: "2026-01-01-001"}))
	}},
	{"the last runs come newest first", func(d *desk) {
		for range 3 {
			d.finish(d.begin())
		}
		runs, err := d.LastRuns(d.ctx, 2)
		d.must(err)
		if len(runs) != 2 {
			d.Fatalf("%d runs for a limit of 2", len(runs))
		}
		d.same("newest", "2026-11-23-001", runs[0].ID)
		d.same("before it", "2026-11-22-001", runs[1].ID)
	}},
	{"all runs that ended are told, the oldest first, and not the open one", func(d *desk) {
		for range 3 {
			d.finish(d.begin())
		}
		d.begin()
		ids, err := d.EndedRuns(d.ctx)
		d.must(err)
		d.same("runs", "[2026-11-21-001 2026-11-22-001 2026-11-23-001]", fmt.Sprint(ids))
	}},
	{"stages are kept in their order, a repeated one too", func(d *desk) {
		r := d.begin()
		want := []ledger.Stage{
			{RunID: r.ID, Name: "intake", StartedAt: start, EndedAt: start.Add(time.Second), Items: 3},
			{RunID: r.ID, Name: "decide", StartedAt: start.Add(time.Second), EndedAt: start.Add(2 * time.Second), Items: 9},
			{RunID: r.ID, Name: "intake", StartedAt: start.Add(time.Minute), EndedAt: start.Add(time.Hour), Items: 0},
		}
		for _, s := range want {
			d.must(d.RecordStage(d.ctx, s))
		}
		got, err := d.Stages(d.ctx, r.ID)
		d.must(err)
		d.same("stages", want, got)
	}},
}

func (d *desk) conflict(err error) {
	d.Helper()
	if !errors.Is(err, ledger.ErrConflict) {
		d.Errorf("error %v, want ErrConflict", err)
	}
}

func (d *desk) notFound(err error) {
	d.Helper()
	if !errors.Is(err, ledger.ErrNotFound) {
		d.Errorf("error %v, want ErrNotFound", err)
	}
}
