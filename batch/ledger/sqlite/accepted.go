package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"
)

// AcceptedOf counts what the runs of a local date accepted of one submitter's
// files. Answers have no index for it and need none: those of a file stand
// together, and a night has few files.
func (l *Ledger) AcceptedOf(ctx context.Context, submitter, date string) (n int64, err error) {
	err = l.read(ctx, "count what "+submitter+" had accepted on "+date, func(conn *sqlite.Conn) error {
		_, err := one(conn, `SELECT count(*) FROM runs r JOIN file_runs t ON t.run = r.seq JOIN request_files f ON f.id = t.file
			JOIN answers a ON a.id > f.id << 32 AND a.id < (f.id + 1) << 32
			WHERE r.date = ? AND f.submitter = ? AND a.run = r.seq AND a.outcome = 'accepted'`, []any{date, submitter}, func(r *row) { n = r.int() })
		return err
	})
	return n, err
}
