package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

const requestFileColumns = `f.id, coalesce((SELECT id FROM runs WHERE seq = f.run), ''), f.extract, f.name, f.intake, f.sha256, f.size,
	f.state, f.code, f.detail, f.rows, f.holds_pan, f.notes, f.final, f.claimed_at, f.submitter, f.owner, f.approval, f.signer`

func scanRequestFile(r *row) (ledger.RequestFile, error) {
	f := ledger.RequestFile{
		ID: r.int(), RunID: r.text(), Extract: r.bool(), Name: r.text(), Intake: r.text(), SHA256: r.text(), Size: r.int(),
		State: ledger.FileState(r.text()), Code: rules.Code(r.text()), Detail: r.text(), Rows: r.int(), HoldsPAN: r.bool(),
	}
	notes := r.text()
	f.Final, f.ClaimedAt = r.text(), r.time()
	f.Submitter, f.Owner, f.Approval, f.Signer = r.text(), r.text(), r.text(), r.text()
	if notes == "" {
		return f, nil
	}
	if err := json.Unmarshal([]byte(notes), &f.Notes); err != nil {
		return f, fmt.Errorf("the notes of file %d: %w", f.ID, err)
	}
	return f, nil
}

// requestFileValues are the columns of f from run on.
func requestFileValues(f ledger.RequestFile, run int64) ([]any, error) {
	notes := ""
	if len(f.Notes) > 0 {
		text, err := json.Marshal(f.Notes)
		if err != nil {
			return nil, err
		}
		notes = string(text)
	}
	return []any{
		key(run), f.Extract, f.Name, f.Intake, f.SHA256, f.Size, string(f.State), string(f.Code), f.Detail,
		f.Rows, f.HoldsPAN, notes, f.Final, f.ClaimedAt, f.Submitter, f.Owner, f.Approval, f.Signer,
	}, nil
}

// touchFile remembers that a run had to do with a request file.
func touchFile(conn *sqlite.Conn, run, file int64) error {
	if run == 0 {
		return nil
	}
	_, err := exec(conn, "INSERT INTO file_runs (run, file) VALUES (?, ?) ON CONFLICT DO NOTHING", run, file)
	return err
}

// AddFile records a file about to be claimed.
func (l *Ledger) AddFile(ctx context.Context, f ledger.RequestFile) (id int64, err error) {
	err = l.write(ctx, "record the file "+f.Name, func(conn *sqlite.Conn) error {
		run, err := runSeq(conn, f.RunID)
		if err != nil {
			return err
		}
		values, err := requestFileValues(f, run)
		if err != nil {
			return err
		}
		if _, err := exec(conn, `INSERT INTO request_files (run, extract, name, intake, sha256, size, state, code, detail, rows, holds_pan, notes, final, claimed_at,
			submitter, owner, approval, signer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, values...); err != nil {
			return err
		}
		id = conn.LastInsertRowID()
		if id > maxFileID {
			return fmt.Errorf("the ledger has no number left for another file (%d)", maxFileID)
		}
		return touchFile(conn, run, id)
	})
	return id, err
}

// UpdateFile replaces the record of f.ID, with the answer to the file as a
// whole where it has one.
func (l *Ledger) UpdateFile(ctx context.Context, f ledger.RequestFile, answer *ledger.Answer, entry *ledger.AuditEntry) error {
	return l.write(ctx, fmt.Sprintf("update the record of file %s", f.Name), func(conn *sqlite.Conn) error {
		run, err := updateFile(conn, f)
		if err != nil {
			return err
		}
		if err := insertFileAnswer(conn, f.ID, run, answer); err != nil {
			return err
		}
		if err := answered(conn, &f); err != nil {
			return err
		}
		return appendAudit(conn, entry)
	})
}

// updateFile replaces the record and gives the number of its run.
func updateFile(conn *sqlite.Conn, f ledger.RequestFile) (int64, error) {
	run, err := runSeq(conn, f.RunID)
	if err != nil {
		return 0, err
	}
	values, err := requestFileValues(f, run)
	if err != nil {
		return 0, err
	}
	changed, err := exec(conn, `UPDATE request_files SET run = ?, extract = ?, name = ?, intake = ?, sha256 = ?, size = ?, state = ?, code = ?, detail = ?,
		rows = ?, holds_pan = ?, notes = ?, final = ?, claimed_at = ?, submitter = ?, owner = ?, approval = ?, signer = ? WHERE id = ?`, append(values, f.ID)...)
	if err == nil && changed == 0 {
		err = fmt.Errorf("file %d: %w", f.ID, ledger.ErrNotFound)
	}
	if err != nil {
		return 0, err
	}
	return run, touchFile(conn, run, f.ID)
}

// insertFileAnswer writes row 0, the answer to the file as a whole.
func insertFileAnswer(conn *sqlite.Conn, file, run int64, a *ledger.Answer) error {
	if a == nil {
		return nil
	}
	if a.Pos != 0 || a.Outcome == rules.Accepted {
		return fmt.Errorf("the answer to a file as a whole is row 0 and accepts nothing (row %d, %s)", a.Pos, a.Outcome)
	}
	if a.RunID != "" {
		var err error
		if run, err = runSeq(conn, a.RunID); err != nil {
			return err
		}
		if err := touchFile(conn, run, file); err != nil {
			return err
		}
	}
	answers, err := newAnswerWriter(conn, file, run)
	if err != nil {
		return err
	}
	return answers.insert(a, 0)
}

// OpenFiles gives the files that are not ANSWERED.
func (l *Ledger) OpenFiles(ctx context.Context) ([]ledger.RequestFile, error) {
	return l.requestFiles(ctx, "read the open files", "WHERE f.state <> 'ANSWERED' ORDER BY f.id")
}

// RunFiles gives the files that a run claimed, refused or answered.
func (l *Ledger) RunFiles(ctx context.Context, runID string) ([]ledger.RequestFile, error) {
	return l.requestFiles(ctx, "read the files of run "+runID,
		"WHERE f.id IN (SELECT file FROM file_runs WHERE run = (SELECT seq FROM runs WHERE id = ?)) ORDER BY f.id", runID)
}

// SameContent finds an earlier request file with the same bytes of which a row
// was accepted.
func (l *Ledger) SameContent(ctx context.Context, sha256 string, since time.Time, not int64) (ledger.RequestFile, error) {
	files, err := l.requestFiles(ctx, "look for a file with the same content", `WHERE f.sha256 = ? AND f.id <> ? AND NOT f.extract AND f.claimed_at >= ?
		AND EXISTS (SELECT 1 FROM answers WHERE id > f.id << 32 AND id < (f.id + 1) << 32 AND outcome = 'accepted') ORDER BY f.id LIMIT 1`, sha256, not, since.UnixMilli())
	if err != nil {
		return ledger.RequestFile{}, err
	}
	if len(files) == 0 {
		return ledger.RequestFile{}, fmt.Errorf("a file with this content: %w", ledger.ErrNotFound)
	}
	return files[0], nil
}

// SameBytes finds an earlier request file with the same bytes.
func (l *Ledger) SameBytes(ctx context.Context, sha256 string, not int64) (ledger.RequestFile, error) {
	files, err := l.requestFiles(ctx, "look for a file with the same bytes", "WHERE f.sha256 = ? AND f.id <> ? AND NOT f.extract ORDER BY f.id LIMIT 1", sha256, not)
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("a file with these bytes: %w", ledger.ErrNotFound)
	}
	if err != nil {
		return ledger.RequestFile{}, err
	}
	return files[0], nil
}

func (l *Ledger) requestFiles(ctx context.Context, what, where string, args ...any) (files []ledger.RequestFile, err error) {
	err = l.read(ctx, what, func(conn *sqlite.Conn) error {
		return each(conn, "SELECT "+requestFileColumns+" FROM request_files f "+where, args, func(r *row) error {
			f, err := scanRequestFile(r)
			files = append(files, f)
			return err
		})
	})
	return files, err
}

// DropFile forgets a file that was never claimed.
func (l *Ledger) DropFile(ctx context.Context, id int64) error {
	return l.write(ctx, fmt.Sprintf("forget file %d", id), func(conn *sqlite.Conn) error {
		state := ""
		found, err := one(conn, "SELECT state FROM request_files WHERE id = ?", []any{id}, func(r *row) { state = r.text() })
		switch {
		case err != nil:
			return err
		case !found:
			return ledger.ErrNotFound
		case state != string(ledger.Claiming):
			return fmt.Errorf("%w: the file is %s", ledger.ErrConflict, state)
		}
		if _, err := exec(conn, "DELETE FROM file_runs WHERE file = ?", id); err != nil {
			return err
		}
		_, err = exec(conn, "DELETE FROM request_files WHERE id = ?", id)
		return err
	})
}
