package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// ErrInUse: another process has the file open.
var ErrInUse = errors.New("another process has the ledger open")

// SchemaVersion is the newest schema that this program knows.
func SchemaVersion() (int, error) {
	scripts, err := schemaScripts()
	return len(scripts), err
}

// CopyTo writes the ledger as it is at this moment into a new file (mode 0600),
// while others go on reading and writing. The copy is one file without a WAL
// and is not yet durable; path must be free or empty. What an error or a crash
// leaves under path is a part, to be removed.
func (l *Ledger) CopyTo(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return fmt.Errorf("copy the ledger: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("copy the ledger: %w", err)
	}
	if l.closed.Load() {
		return errClosed
	}
	conn, err := l.connect(l.options.ReadCache, false)
	if err != nil {
		return fmt.Errorf("copy the ledger: %w", err)
	}
	conn.SetInterrupt(ctx.Done())
	err = sqlitex.ExecuteTransient(conn, "VACUUM INTO ?", &sqlitex.ExecOptions{Args: []any{path}})
	if sqlite.ErrCode(err) == sqlite.ResultInterrupt && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err := errors.Join(l.told(err), conn.Close()); err != nil {
		return fmt.Errorf("copy the ledger: %w", err)
	}
	return nil
}

// CheckIntegrity reads every page and index of the file, and every reference
// between tables. Its error wraps [ErrDamaged] where something does not hold.
func (l *Ledger) CheckIntegrity(ctx context.Context) error {
	return l.read(ctx, "check the ledger's file", func(conn *sqlite.Conn) error {
		var found []string
		for _, check := range []string{"PRAGMA integrity_check(5)", "PRAGMA foreign_key_check"} {
			if err := sqlitex.ExecuteTransient(conn, check, &sqlitex.ExecOptions{ResultFunc: func(stmt *sqlite.Stmt) error {
				if told := stmt.ColumnText(0); told != "ok" {
					found = append(found, told)
				}
				return nil
			}}); err != nil {
				return damaged(err)
			}
		}
		if len(found) > 0 {
			return fmt.Errorf("%w: %d places, the first: %s", ErrDamaged, len(found), found[0])
		}
		return nil
	})
}

// Fold brings what is in the WAL of a ledger that nobody has open into its
// file, durably, and removes the WAL: after it the file alone is the ledger. One
// that somebody has open is [ErrInUse], one with broken pages [ErrDamaged], what is
// no ledger [ErrNotLedger]; each stays as it is.
func Fold(path string) error {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return fmt.Errorf("fold the ledger %s: %w", path, err)
	}
	mode := ""
	for _, pragma := range []string{"synchronous = FULL", "journal_mode = DELETE"} {
		err = errors.Join(err, sqlitex.ExecuteTransient(conn, "PRAGMA "+pragma, &sqlitex.ExecOptions{ResultFunc: func(stmt *sqlite.Stmt) error {
			mode = stmt.ColumnText(0)
			return nil
		}}))
	}
	switch {
	case sqlite.ErrCode(err).ToPrimary() == sqlite.ResultBusy || err == nil && mode != "delete":
		err = ErrInUse
	case sqlite.ErrCode(err).ToPrimary() == sqlite.ResultNotADB:
		err = ErrNotLedger
	case sqlite.ErrCode(err).ToPrimary() == sqlite.ResultCorrupt:
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("fold the ledger %s: %w", path, err)
	}
	return nil
}
