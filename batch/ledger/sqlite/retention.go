package sqlite

import (
	"context"
	"fmt"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

// tableOf is where the records of a kind stand.
var tableOf = map[ledger.DeletedKind]string{ledger.SealedBytes: "bureau_files", ledger.ResultFiles: "request_files", ledger.ReturnBytes: "return_files"}

// undeleted chooses the rows f of a kind's table that are not marked.
func undeleted(kind ledger.DeletedKind) string {
	return " NOT EXISTS (SELECT 1 FROM deletions d WHERE d.kind = '" + string(kind) + "' AND d.id = f.id) "
}

// outgoingColumns are those of an outgoing file without what is large.
var outgoingColumns = strings.NewReplacer("f.layout_text", "NULL", "f.head", "NULL").Replace(bureauFileColumns)

// EachOldFile goes through the outgoing files once.
func (l *Ledger) EachOldFile(ctx context.Context, before time.Time, fn func(*ledger.BureauFile, time.Time) error) error {
	return l.stream(ctx, "read the outgoing files that are old", func(conn *sqlite.Conn) error {
		return each(conn, "SELECT "+outgoingColumns+`, g.last FROM bureau_files f JOIN (SELECT b.id, max(coalesce(b.sent_at, 0), coalesce((SELECT max(at) FROM deliveries WHERE file = b.id), 0)) AS last
			FROM bureau_files b) g ON g.id = f.id WHERE f.state IN ('SENT', 'VOID') AND f.sha256 <> '' AND g.last <= ? AND`+undeleted(ledger.SealedBytes)+"ORDER BY f.id",
			[]any{before}, func(r *row) error {
				f := scanBureauFile(r)
				return callback(fn(&f, r.time()))
			})
	})
}

// EachOldRequest goes through the request files once. One that came to its last
// place outside a run counts from the run that claimed it.
func (l *Ledger) EachOldRequest(ctx context.Context, before time.Time, fn func(*ledger.RequestFile, time.Time) error) error {
	return l.stream(ctx, "read the request files that are old", func(conn *sqlite.Conn) error {
		return each(conn, "SELECT "+requestFileColumns+`, e.ended_at FROM request_files f JOIN runs e ON e.seq = coalesce((SELECT a.run FROM answered_in a WHERE a.file = f.id), f.run)
			WHERE f.state = 'ANSWERED' AND f.final <> '' AND e.ended_at <= ? AND`+undeleted(ledger.ResultFiles)+"ORDER BY f.id", []any{before}, func(r *row) error {
			f, err := scanRequestFile(r)
			if err != nil {
				return err
			}
			return callback(fn(&f, r.time()))
		})
	})
}

// EachOldReturn goes through the return files once.
func (l *Ledger) EachOldReturn(ctx context.Context, before time.Time, fn func(*ledger.ReturnFile, time.Time) error) error {
	const runsOf = "FROM return_runs t JOIN runs e ON e.seq = t.run WHERE t.file = f.id"
	return l.stream(ctx, "read the return files that are old", func(conn *sqlite.Conn) error {
		return each(conn, "SELECT "+returnFileColumns+", max(f.fetched_at, coalesce((SELECT max(e.ended_at) "+runsOf+`), 0)) FROM return_files f
			WHERE f.state IN ('APPLIED', 'DISMISSED') AND f.settled AND f.final <> '' AND f.fetched_at <= ?1
			AND NOT EXISTS (SELECT 1 `+runsOf+" AND (e.ended_at IS NULL OR e.ended_at > ?1)) AND"+undeleted(ledger.ReturnBytes)+"ORDER BY f.id", []any{before}, func(r *row) error {
			f := scanReturnFile(r)
			return callback(fn(&f, r.time()))
		})
	})
}

// OutgoingFile finds one by its id.
func (l *Ledger) OutgoingFile(ctx context.Context, id int64) (ledger.BureauFile, error) {
	what := fmt.Sprintf("read outgoing file %d", id)
	files, err := l.bureauFiles(ctx, what, outgoingColumns, "WHERE f.id = ?", id)
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s: %w", what, ledger.ErrNotFound)
	}
	if err != nil {
		return ledger.BureauFile{}, err
	}
	return files[0], nil
}

// FilesOfRequest goes once through the answers of the request file.
func (l *Ledger) FilesOfRequest(ctx context.Context, id int64) (map[int64]int64, error) {
	counts := map[int64]int64{}
	err := l.read(ctx, fmt.Sprintf("read where the orders of request file %d are", id), func(conn *sqlite.Conn) error {
		return each(conn, `SELECT coalesce(o.bureau_file_id, 0), iif(o.kind = 'reissue', coalesce(o.card_system_file_id, 0), -1), iif(o.new_pin = 'file', coalesce(o.pin_file_id, 0), -1)
			FROM answers a LEFT JOIN orders o ON o.id = a.order_id
			WHERE a.id >= ? AND a.id < ? AND a.outcome IN ('accepted', 'held') AND coalesce(o.state, '') <> 'CANCELLED'`, []any{answerID(id, 0), answerID(id+1, 0)}, func(r *row) error {
			bureau, cardSystem, pins := r.int(), r.int(), r.int()
			if bureau == 0 || cardSystem == 0 || pins == 0 {
				counts[0]++
			}
			for _, file := range []int64{bureau, cardSystem, pins} {
				if file > 0 {
					counts[file]++
				}
			}
			return nil
		})
	})
	return counts, err
}

// LastPlaceOf looks a place up by its index.
func (l *Ledger) LastPlaceOf(ctx context.Context, path string) (ledger.RequestFile, error) {
	files, err := l.requestFiles(ctx, "look for the request file whose last place is "+path, "WHERE f.final = ? AND f.final <> '' AND"+undeleted(ledger.ResultFiles)+"ORDER BY f.id LIMIT 1", path)
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("a request file whose last place is %s: %w", path, ledger.ErrNotFound)
	}
	if err != nil {
		return ledger.RequestFile{}, err
	}
	return files[0], nil
}

// AppendAll adds entries in one transaction.
func (l *Ledger) AppendAll(ctx context.Context, entries []ledger.AuditEntry) error {
	return l.write(ctx, "append to the audit chain", func(conn *sqlite.Conn) error {
		for i := range entries {
			if err := appendAudit(conn, &entries[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// SetDeleted marks records.
func (l *Ledger) SetDeleted(ctx context.Context, deletions []ledger.Deletion, at time.Time) error {
	return l.write(ctx, "mark what retention deleted", func(conn *sqlite.Conn) error {
		for _, d := range deletions {
			table, known := tableOf[d.Kind]
			if !known {
				return fmt.Errorf("nothing of kind %q is deleted by retention", d.Kind)
			}
			there, err := one(conn, "SELECT 1 FROM "+table+" WHERE id = ?", []any{d.ID}, func(*row) {})
			if err != nil {
				return err
			}
			if !there {
				return fmt.Errorf("%s %d: %w", d.Kind, d.ID, ledger.ErrNotFound)
			}
			if _, err := exec(conn, "INSERT INTO deletions (kind, id, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", string(d.Kind), d.ID, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeletedAt looks a mark up.
func (l *Ledger) DeletedAt(ctx context.Context, d ledger.Deletion) (at time.Time, err error) {
	err = l.read(ctx, "look whether retention deleted a file", func(conn *sqlite.Conn) error {
		_, err := one(conn, "SELECT at FROM deletions WHERE kind = ? AND id = ?", []any{string(d.Kind), d.ID}, func(r *row) { at = r.time() })
		return err
	})
	return at, err
}

// answered remembers in which run a request file came to its last place.
func answered(conn *sqlite.Conn, f *ledger.RequestFile) error {
	if f.State != ledger.Answered {
		return nil
	}
	run, err := openRun(conn)
	if err != nil || run == 0 {
		return err
	}
	_, err = exec(conn, "INSERT INTO answered_in (file, run) VALUES (?, ?) ON CONFLICT DO NOTHING", f.ID, run)
	return err
}

// tellAgain takes the orders out of a cancelled file of the card system or of PINs: they stand in its queue again.
func tellAgain(conn *sqlite.Conn, c *ledger.FileChange, run int64, column string) (int64, error) {
	if _, err := exec(conn, `INSERT OR ROLLBACK INTO order_moves (order_id, from_file, at, reason, run)
		SELECT id, `+column+`, ?2, ?3, ?4 FROM orders WHERE `+column+` = ?1 ORDER BY id`, c.FileID, c.At, c.Reason, key(run)); err != nil {
		return 0, err
	}
	moved, err := exec(conn, "UPDATE OR ROLLBACK orders SET "+column+" = NULL WHERE "+column+" = ?", c.FileID)
	return int64(moved), err
}

// cancelled takes the orders out of a file that became VOID.
func cancelled(conn *sqlite.Conn, c *ledger.FileChange, run int64) (int64, error) {
	recipient, err := recipientOf(conn, c.FileID)
	if err != nil {
		return 0, err
	}
	switch recipient {
	case config.CardSystem:
		return tellAgain(conn, c, run, "card_system_file_id")
	case config.PINRecipient:
		return tellAgain(conn, c, run, "pin_file_id")
	}
	return queueAgain(conn, c, run)
}
