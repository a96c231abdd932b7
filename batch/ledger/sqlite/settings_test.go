package sqlite

import (
	"os"
	"path/filepath"
	"testing"
)

// What a connection to the ledger must have, or a promise is empty. SQLite takes a setting that it does not know, or does
// not like at that moment, without an error.
func TestConnectionsAreSetAsPromised(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := os.WriteFile(path, nil, fileMode); err != nil {
		t.Fatal(err)
	}
	l := &Ledger{path: path}
	for name, readOnly := range map[string]bool{"the writer": false, "a reader": true} {
		conn, err := l.connect(1<<20, readOnly)
		if err != nil {
			t.Fatal(err)
		}
		for setting, c := range map[string]struct {
			want    int64
			because string
		}{
			"synchronous":    {2, "FULL: a commit is on the disk before it is told"},
			"foreign_keys":   {1, "an order without its card is refused"},
			"secure_delete":  {1, "what is deleted is overwritten"},
			"temp_store":     {2, "MEMORY: no row lies in a temporary file"},
			"mmap_size":      {0, "a broken disk is an error, not a signal"},
			"trusted_schema": {0, "a foreign file runs nothing"},
			"page_size":      {pageSize, "the file was made so"},
		} {
			got, err := pragmaInt(conn, setting)
			if err != nil || got != c.want {
				t.Errorf("%s: %s is %d, %v; want %d: %s", name, setting, got, err, c.want, c.because)
			}
		}
		if only, err := pragmaInt(conn, "query_only"); err != nil || (only == 1) != readOnly {
			t.Errorf("%s: query_only is %d, %v", name, only, err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
