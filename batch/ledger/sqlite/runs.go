package sqlite

import (
	"context"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
)

const runColumns = "id, date, started_at, ended_at, starts, exit, host, version, summary"

func scanRun(r *row) ledger.Run {
	return ledger.Run{
		ID: r.text(), Date: r.text(), StartedAt: r.time(), EndedAt: r.time(), Starts: int(r.int()),
		Exit: int(r.int()), Host: r.text(), Version: r.text(), Summary: r.blob(),
	}
}

// runSeq is the number by which the other tables name a run; 0 for no run.
func runSeq(conn *sqlite.Conn, id string) (seq int64, err error) {
	if id == "" {
		return 0, nil
	}
	found, err := one(conn, "SELECT seq FROM runs WHERE id = ?", []any{id}, func(r *row) { seq = r.int() })
	if err == nil && !found {
		err = fmt.Errorf("run %q: %w", id, ledger.ErrNotFound)
	}
	return seq, err
}

// BeginRun continues the open run or opens the next of that date.
func (l *Ledger) BeginRun(ctx context.Context, at time.Time, date, host, version string) (begun ledger.Run, resumed bool, err error) {
	if _, err := time.Parse(time.DateOnly, date); err != nil {
		return ledger.Run{}, false, fmt.Errorf("begin a run: its date is written YYYY-MM-DD: %w", err)
	}
	err = l.write(ctx, "begin a run", func(conn *sqlite.Conn) error {
		changed, err := exec(conn, "UPDATE runs SET starts = starts + 1, host = ?, version = ? WHERE ended_at IS NULL", host, version)
		if err != nil {
			return err
		}
		if resumed = changed > 0; !resumed {
			if err := insertRun(conn, at, date, host, version); err != nil {
				return err
			}
			// What became known outside a run (settled by hand, an extract imported by itself) is told by the next one.
			for _, told := range []string{
				"UPDATE events SET run = (SELECT seq FROM runs WHERE ended_at IS NULL) WHERE run IS NULL",
				"UPDATE holds SET decided_run = (SELECT seq FROM runs WHERE ended_at IS NULL) WHERE decided_run IS NULL AND state <> 'HELD'",
			} {
				if _, err := exec(conn, told); err != nil {
					return err
				}
			}
		}
		_, err = one(conn, "SELECT "+runColumns+" FROM runs WHERE ended_at IS NULL", nil, func(r *row) { begun = scanRun(r) })
		return err
	})
	return begun, resumed, err
}

func insertRun(conn *sqlite.Conn, at time.Time, date, host, version string) error {
	number := int64(1)
	if _, err := one(conn, "SELECT max(coalesce((SELECT max(number) FROM runs WHERE date = ?1), 0), coalesce((SELECT value FROM counters WHERE name = 'run/' || ?1), 0)) + 1",
		[]any{date}, func(r *row) { number = r.int() }); err != nil {
		return err
	}
	if _, err := exec(conn, "INSERT INTO counters (name, value) VALUES ('runs', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"); err != nil {
		return err
	}
	_, err := exec(conn, `INSERT INTO runs (id, date, number, started_at, starts, host, version, orders_after)
		VALUES (?, ?, ?, ?, 1, ?, ?, (SELECT coalesce(max(id), 0) FROM orders))`,
		fmt.Sprintf("%s-%03d", date, number), date, number, at, host, version)
	return err
}

// FinishRun closes the open run.
func (l *Ledger) FinishRun(ctx context.Context, runID string, at time.Time, exit int, summary []byte) error {
	return l.write(ctx, "finish run "+runID, func(conn *sqlite.Conn) error {
		if _, err := runSeq(conn, runID); err != nil {
			return err
		}
		changed, err := exec(conn, "UPDATE runs SET ended_at = ?, exit = ?, summary = ? WHERE id = ? AND ended_at IS NULL", at, int64(exit), summary, runID)
		if err == nil && changed == 0 {
			err = fmt.Errorf("%w: the run is finished already", ledger.ErrConflict)
		}
		return err
	})
}

// Run finds a run by its id.
func (l *Ledger) Run(ctx context.Context, id string) (found ledger.Run, err error) {
	err = l.read(ctx, "read run "+id, func(conn *sqlite.Conn) error {
		ok, err := one(conn, "SELECT "+runColumns+" FROM runs WHERE id = ?", []any{id}, func(r *row) { found = scanRun(r) })
		if err == nil && !ok {
			err = ledger.ErrNotFound
		}
		return err
	})
	return found, err
}

// LastRuns gives the newest runs first.
func (l *Ledger) LastRuns(ctx context.Context, limit int) (runs []ledger.Run, err error) {
	err = l.read(ctx, "read the last runs", func(conn *sqlite.Conn) error {
		return each(conn, "SELECT "+runColumns+" FROM runs ORDER BY seq DESC LIMIT ?", []any{int64(limit)}, func(r *row) error {
			runs = append(runs, scanRun(r))
			return nil
		})
	})
	return runs, err
}

// EndedRuns gives the ids of all runs that ended, the oldest first.
func (l *Ledger) EndedRuns(ctx context.Context) (ids []string, err error) {
	err = l.read(ctx, "read the runs that ended", func(conn *sqlite.Conn) error {
		return each(conn, "SELECT id FROM runs WHERE ended_at IS NOT NULL ORDER BY seq", nil, func(r *row) error {
			ids = append(ids, r.text())
			return nil
		})
	})
	return ids, err
}

// RecordStage adds the time of a stage.
func (l *Ledger) RecordStage(ctx context.Context, s ledger.Stage) error {
	return l.write(ctx, "record stage "+s.Name, func(conn *sqlite.Conn) error {
		seq, err := runSeq(conn, s.RunID)
		if err != nil {
			return err
		}
		_, err = exec(conn, "INSERT INTO stages (run, name, started_at, ended_at, items) VALUES (?, ?, ?, ?, ?)", key(seq), s.Name, s.StartedAt, s.EndedAt, s.Items)
		return err
	})
}

// Stages gives a run's stages in the order of recording.
func (l *Ledger) Stages(ctx context.Context, runID string) (stages []ledger.Stage, err error) {
	err = l.read(ctx, "read the stages of run "+runID, func(conn *sqlite.Conn) error {
		seq, err := runSeq(conn, runID)
		if err != nil {
			return err
		}
		return each(conn, "SELECT name, started_at, ended_at, items FROM stages WHERE run = ? ORDER BY id", []any{seq}, func(r *row) error {
			stages = append(stages, ledger.Stage{RunID: runID, Name: r.text(), StartedAt: r.time(), EndedAt: r.time(), Items: r.int()})
			return nil
		})
	})
	return stages, err
}
