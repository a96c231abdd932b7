package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	zombiezen "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"reemboss/batch/ledger"
)

// The ledger of the migration test, brought up to date: file 1 has an ACTIVATED, a RETURNED and two SENT orders. Whoever
// changes a row is seen in one of the counts.
func TestWhatWasChangedByHandIsCounted(t *testing.T) {
	schema, err := os.ReadFile(filepath.Join("schema", "001_first.sql"))
	must(t, err)
	const history = "INSERT INTO deliveries (file, run, at, state, error, reason) VALUES (1, 1, 1, 'WRITTEN', '', ''), (1, 1, 2, 'SENT', '', ''), (2, 1, 1, 'WRITTEN', '', '');"
	whole := ledger.Totals{Orders: 4, InFiles: 4}
	for name, tt := range map[string]struct {
		sql       string
		totals    ledger.Totals
		differing int64
	}{
		"nothing":                       {"", whole, 0},
		"the row of a file deleted":     {"PRAGMA foreign_keys = OFF; DELETE FROM bureau_files WHERE id = 1", ledger.Totals{Orders: 4}, 0},
		"an order of no file":           {"UPDATE orders SET bureau_file_id = NULL WHERE id = 1", ledger.Totals{Orders: 4, InFiles: 3}, 0},
		"an order of the card system":   {"UPDATE orders SET bureau_file_id = 2 WHERE id = 3", ledger.Totals{Orders: 4, InFiles: 3}, 0},
		"an order that waits":           {"UPDATE orders SET bureau_file_id = NULL, state = 'QUEUED' WHERE id = 3", ledger.Totals{Orders: 4, InFiles: 3, InNone: 1}, 0},
		"a file called void":            {"UPDATE bureau_files SET state = 'VOID' WHERE id = 1", ledger.Totals{Orders: 4, InFiles: 4, StateStrangers: 1}, 0},
		"a history deleted":             {"DELETE FROM deliveries", ledger.Totals{Orders: 4, InFiles: 4, StateStrangers: 2}, 0},
		"two answered orders swapped":   {"UPDATE orders SET state = iif(state = 'RETURNED', 'ACTIVATED', 'RETURNED') WHERE id IN (1, 2)", whole, 2},
		"an answered order called sent": {"UPDATE orders SET state = 'SENT' WHERE id = 1", whole, 1},
		"a sent order called acked":     {"UPDATE orders SET state = 'ACKED' WHERE id = 3", whole, 1},
		"an event deleted":              {"DELETE FROM events WHERE order_id = 2", whole, 1},
		"a state that nobody knows":     {"UPDATE orders SET state = 'GONE' WHERE id = 4", whole, 1},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			conn, err := zombiezen.OpenConn(path, zombiezen.OpenReadWrite|zombiezen.OpenCreate)
			must(t, err)
			must(t, errors.Join(sqlitex.ExecuteScript(conn, string(schema), nil), sqlitex.ExecuteScript(conn, firstVersion+history, nil), conn.Close()))
			l := openAt(t, path)
			tamper(t, path, tt.sql)
			totals, err := l.Totals(t.Context())
			must(t, err)
			if totals != tt.totals {
				t.Errorf("totals %+v, want %+v", totals, tt.totals)
			}
			if n, err := l.Differing(t.Context(), 1); err != nil || n != tt.differing {
				t.Errorf("%d orders differ from their events (%v), want %d", n, err, tt.differing)
			}
		})
	}
}
