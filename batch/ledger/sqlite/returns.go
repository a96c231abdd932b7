package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
)

const returnFileColumns = `f.id, coalesce((SELECT id FROM runs WHERE seq = f.run), ''), f.bureau, f.name, f.size, f.sha256, f.mod_time, f.state, f.code,
	f.detail, f.signed_by, f.held, f.final, f.lines, f.settled, f.fetched_at, f.applied, f.known, f.problems, f.pos`

func scanReturnFile(r *row) ledger.ReturnFile {
	return ledger.ReturnFile{
		ID: r.int(), RunID: r.text(), Bureau: r.text(), Name: r.text(), Size: r.int(), SHA256: r.text(), ModTime: r.time(), State: ledger.ReturnState(r.text()),
		Code: r.text(), Detail: r.text(), SignedBy: r.text(), Held: r.text(), Final: r.text(), Lines: r.int(), Settled: r.bool(), FetchedAt: r.time(),
		Applied: r.int(), Known: r.int(), Problems: r.int(), Pos: int(r.int()),
	}
}

// returnFileValues are the columns of f from run to fetched_at.
func returnFileValues(f *ledger.ReturnFile, run int64) []any {
	return []any{
		key(run), f.Bureau, f.Name, f.Size, f.SHA256, f.ModTime, string(f.State), f.Code, f.Detail, f.SignedBy, f.Held, f.Final, f.Lines, f.Settled, f.FetchedAt,
	}
}

// touchReturn remembers that a run had to do with a return file.
func touchReturn(conn *sqlite.Conn, run, file int64) error {
	if run == 0 {
		return nil
	}
	_, err := exec(conn, "INSERT INTO return_runs (run, file) VALUES (?, ?) ON CONFLICT DO NOTHING", run, file)
	return err
}

// openRun is the number of the run that is open, 0 for none.
func openRun(conn *sqlite.Conn) (seq int64, err error) {
	_, err = one(conn, "SELECT seq FROM runs WHERE ended_at IS NULL", nil, func(r *row) { seq = r.int() })
	return seq, err
}

// AddReturn records a file that a bureau sent.
func (l *Ledger) AddReturn(ctx context.Context, f ledger.ReturnFile) (id int64, err error) {
	err = l.write(ctx, "record the return file "+f.Name, func(conn *sqlite.Conn) error {
		run, err := runSeq(conn, f.RunID)
		if err != nil {
			return err
		}
		if _, err := exec(conn, `INSERT INTO return_files (run, bureau, name, size, sha256, mod_time, state, code, detail, signed_by, held, final, lines, settled, fetched_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, returnFileValues(&f, run)...); err != nil {
			return err
		}
		id = conn.LastInsertRowID()
		return touchReturn(conn, run, id)
	})
	return id, err
}

// UpdateReturn replaces the record of f.ID, but for what CommitReturn counts.
func (l *Ledger) UpdateReturn(ctx context.Context, f ledger.ReturnFile, entry *ledger.AuditEntry) error {
	return l.write(ctx, "update the record of return file "+f.Name, func(conn *sqlite.Conn) error {
		run, err := runSeq(conn, f.RunID)
		if err != nil {
			return err
		}
		changed, err := exec(conn, `UPDATE return_files SET run = ?, bureau = ?, name = ?, size = ?, sha256 = ?, mod_time = ?, state = ?, code = ?, detail = ?,
			signed_by = ?, held = ?, final = ?, lines = ?, settled = ?, fetched_at = ? WHERE id = ?`, append(returnFileValues(&f, run), f.ID)...)
		if err != nil {
			return err
		}
		if changed == 0 {
			return fmt.Errorf("return file %d: %w", f.ID, ledger.ErrNotFound)
		}
		now, err := openRun(conn)
		if err != nil {
			return err
		}
		if err := touchReturn(conn, now, f.ID); err != nil {
			return err
		}
		return appendAudit(conn, entry)
	})
}

// RewindReturn forgets what the first reading of a file listed; the events that
// it brought stay, and are known when they come again.
func (l *Ledger) RewindReturn(ctx context.Context, id int64, held string, entry ledger.AuditEntry) error {
	return l.write(ctx, fmt.Sprintf("read return file %d again", id), func(conn *sqlite.Conn) error {
		if err := returnIs(conn, id, ledger.ReturnQuarantined, ledger.ReturnApplied); err != nil {
			return err
		}
		if _, err := exec(conn, "UPDATE return_files SET state = ?, held = ?, code = '', detail = '', applied = 0, known = 0, problems = 0, pos = 0 WHERE id = ?",
			string(ledger.ReturnHeld), held, id); err != nil {
			return err
		}
		if _, err := exec(conn, "DELETE FROM return_problems WHERE return_file = ?", id); err != nil {
			return err
		}
		return appendAudit(conn, &entry)
	})
}

// returnIs checks that the state of a return file is one of those.
func returnIs(conn *sqlite.Conn, id int64, want ...ledger.ReturnState) error {
	var state ledger.ReturnState
	found, err := one(conn, "SELECT state FROM return_files WHERE id = ?", []any{id}, func(r *row) { state = ledger.ReturnState(r.text()) })
	switch {
	case err != nil:
		return err
	case !found:
		return fmt.Errorf("return file %d: %w", id, ledger.ErrNotFound)
	case !slices.Contains(want, state):
		return fmt.Errorf("%w: return file %d is %s, expected was %v", ledger.ErrConflict, id, state, want)
	}
	return nil
}

// ReturnFiles gives return files in the order of their ids.
func (l *Ledger) ReturnFiles(ctx context.Context, q ledger.ReturnQuery) ([]ledger.ReturnFile, error) {
	conditions, args := []string{"true"}, []any(nil)
	if q.RunID != "" {
		conditions = append(conditions, "f.id IN (SELECT file FROM return_runs WHERE run = (SELECT seq FROM runs WHERE id = ?))")
		args = append(args, q.RunID)
	}
	if q.Bureau != "" {
		conditions, args = append(conditions, "f.bureau = ?"), append(args, q.Bureau)
	}
	if len(q.States) > 0 {
		conditions = append(conditions, "f.state IN (?"+strings.Repeat(", ?", len(q.States)-1)+")")
		for _, state := range q.States {
			args = append(args, string(state))
		}
	}
	if q.Unsettled {
		conditions = append(conditions, "f.settled = 0")
	}
	return l.returnFiles(ctx, "read the return files", "WHERE "+strings.Join(conditions, " AND ")+" ORDER BY f.id", args...)
}

// SameReturn finds an earlier return file with the same bytes, all lines of which were used or are to be.
func (l *Ledger) SameReturn(ctx context.Context, bureau, sha256 string, not int64) (ledger.ReturnFile, error) {
	return l.returnFile(ctx, "look for a return file of "+bureau+" with the same content",
		"WHERE f.bureau = ? AND f.sha256 = ? AND f.id <> ? AND (f.state = ? OR f.state = ? AND f.problems = 0) ORDER BY f.id LIMIT 1",
		bureau, sha256, not, string(ledger.ReturnHeld), string(ledger.ReturnApplied))
}

// SeenReturn finds the newest return file that lay at the bureau like this.
func (l *Ledger) SeenReturn(ctx context.Context, bureau, name string, size int64, modified time.Time) (ledger.ReturnFile, error) {
	return l.returnFile(ctx, "look for the return file "+name+" of "+bureau,
		"WHERE f.bureau = ? AND f.name = ? AND f.size = ? AND f.mod_time IS ? ORDER BY f.id DESC LIMIT 1", bureau, name, size, modified)
}

func (l *Ledger) returnFile(ctx context.Context, what, where string, args ...any) (ledger.ReturnFile, error) {
	files, err := l.returnFiles(ctx, what, where, args...)
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s: %w", what, ledger.ErrNotFound)
	}
	if err != nil {
		return ledger.ReturnFile{}, err
	}
	return files[0], nil
}

func (l *Ledger) returnFiles(ctx context.Context, what, where string, args ...any) (files []ledger.ReturnFile, err error) {
	err = l.read(ctx, what, func(conn *sqlite.Conn) error {
		return each(conn, "SELECT "+returnFileColumns+" FROM return_files f "+where, args, func(r *row) error {
			files = append(files, scanReturnFile(r))
			return nil
		})
	})
	return files, err
}

// EachProblem gives the problems of a run, file by file.
func (l *Ledger) EachProblem(ctx context.Context, runID string, fn func(*ledger.Problem, *ledger.ReturnFile) error) error {
	return l.stream(ctx, "read the problems of run "+runID, func(conn *sqlite.Conn) error {
		run, err := namedRun(conn, runID)
		if err != nil {
			return err
		}
		var files []ledger.ReturnFile
		if err := each(conn, "SELECT "+returnFileColumns+" FROM return_files f WHERE f.id IN (SELECT file FROM return_runs WHERE run = ?) ORDER BY f.id",
			[]any{run}, func(r *row) error {
				files = append(files, scanReturnFile(r))
				return nil
			}); err != nil {
			return err
		}
		for i := range files {
			if err := eachProblemOf(conn, run, &files[i], fn); err != nil {
				return err
			}
		}
		return nil
	})
}

func eachProblemOf(conn *sqlite.Conn, run int64, f *ledger.ReturnFile, fn func(*ledger.Problem, *ledger.ReturnFile) error) error {
	return each(conn, "SELECT line, code, file_name, uid, detail FROM return_problems WHERE return_file = ? AND run = ? ORDER BY line, id", []any{f.ID, run}, func(r *row) error {
		return callback(fn(&ledger.Problem{ReturnID: f.ID, Line: int(r.int()), Code: r.text(), FileName: r.text(), UID: r.text(), Detail: r.text()}, f))
	})
}

// namedRun is runSeq for methods that need a run.
func namedRun(conn *sqlite.Conn, id string) (int64, error) {
	run, err := runSeq(conn, id)
	if err == nil && run == 0 {
		err = fmt.Errorf("no run is named: %w", ledger.ErrNotFound)
	}
	return run, err
}
