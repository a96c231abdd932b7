package batch

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"reemboss/batch/durable"
	"reemboss/batch/ledger"
)

// verify gives what a check of the audit chain says.
func (b *bench) verify() (*AuditTold, error) {
	b.Helper()
	n, err := Open(b.Context(), b.Dir, b.options()) // as the command does: without the lock, and whatever the marks say
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	return n.VerifyAudit(b.Context())
}

// audited is a workspace after three nights.
func audited(t *testing.T) *bench {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n2,C2,1\n")
	b.run()
	s := b.order(1)
	b.answer("r.csv", b.fileEvent(s, "RECEIVED", 2, b.now), b.event(s, "DELIVERED", b.now.Add(time.Minute)))
	b.run()
	b.run()
	return b
}

func TestAnUntouchedAuditChainHolds(t *testing.T) {
	b := newBench(t)
	if told, err := b.verify(); err != nil || told.Entries != 0 {
		t.Errorf("of a new workspace: %+v %v", told, err)
	}
	b = audited(t)
	told, err := b.verify()
	if err != nil || told.Heads != 3 || told.Signed != told.Entries || told.Entries < 12 {
		t.Errorf("%+v %v", told, err)
	}
}

// 1,000 random tamperings, each undone afterwards: every one is found, and named.
func TestEveryTamperingOfTheAuditChainIsFound(t *testing.T) {
	b := audited(t)
	n := b.open()
	defer n.Close()
	conn, err := sqlite.OpenConn(b.LedgerFile(), sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	do := func(query string, args ...any) {
		t.Helper()
		if err := sqlitex.Execute(conn, query, &sqlitex.ExecOptions{Args: args}); err != nil {
			t.Fatal(err)
		}
	}
	do("CREATE TEMP TABLE kept AS SELECT * FROM audit")
	do("CREATE TEMP TABLE kept_head AS SELECT * FROM audit_head")
	told, err := n.VerifyAudit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dice := rand.New(rand.NewPCG(3, 14))
	entry := func() int64 { return 1 + dice.Int64N(told.Entries) }
	columns := []string{"who", "what", "subject", "detail", "hash"}
	for i := range 1000 {
		what := "nothing"
		switch dice.IntN(6) {
		case 0, 1, 2: // one byte of a text, or one more
			column, seq, at := columns[dice.IntN(len(columns))], entry(), dice.IntN(12)
			what = column
			do("UPDATE audit SET "+column+" = substr("+column+", 1, ?) || char(? + unicode(substr("+column+" || 'a', ? + 1, 1))) || substr("+column+", ? + 2) WHERE seq = ?", at, 1+dice.IntN(3), at, at, seq)
		case 3:
			what = "time"
			do("UPDATE audit SET at = at + ? WHERE seq = ?", 1+dice.IntN(1000), entry())
		case 4:
			what = "an entry dropped"
			do("DELETE FROM audit WHERE seq = ?", entry())
		case 5:
			what = "two entries swapped"
			x := entry()
			y := 1 + x%told.Entries
			do("UPDATE audit SET seq = -1 WHERE seq = ?", x)
			do("UPDATE audit SET seq = ? WHERE seq = ?", x, y)
			do("UPDATE audit SET seq = ? WHERE seq = -1", y)
		}
		if _, err := n.VerifyAudit(t.Context()); !errors.Is(err, ledger.ErrAuditBroken) || !strings.Contains(err.Error(), "entry ") {
			t.Fatalf("tampering %d (%s) was not found: %v", i, what, err)
		}
		do("DELETE FROM audit")
		do("INSERT INTO audit SELECT * FROM kept")
	}
	if _, err := n.VerifyAudit(t.Context()); err != nil {
		t.Fatalf("undone, and still broken: %v", err)
	}
}

// Whoever can write the ledger can make a chain that holds by itself; the heads that were signed tell it from ours.
func TestAWholeNewAuditChainIsFound(t *testing.T) {
	rewrite := func(t *testing.T, b *bench, change func(*ledger.AuditEntry), upTo int64) {
		t.Helper()
		n := b.open()
		var entries []ledger.AuditEntry
		if err := n.Ledger.EachAudit(t.Context(), func(e ledger.AuditEntry) error { entries = append(entries, e); return nil }); err != nil {
			t.Fatal(err)
		}
		n.Close()
		conn, err := sqlite.OpenConn(b.LedgerFile(), sqlite.OpenReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var chain ledger.Chain
		if err := sqlitex.Execute(conn, "DELETE FROM audit", nil); err != nil {
			t.Fatal(err)
		}
		for i := range entries {
			if int64(i) >= int64(len(entries))-upTo {
				break
			}
			change(&entries[i])
			e := chain.Link(entries[i])
			if err := sqlitex.Execute(conn, "INSERT INTO audit (seq, at, who, what, subject, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
				&sqlitex.ExecOptions{Args: []any{e.Seq, e.At.UnixMilli(), e.Who, e.What, e.Subject, e.Detail, e.Hash}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := sqlitex.Execute(conn, "UPDATE audit_head SET seq = ?, hash = ?", &sqlitex.ExecOptions{Args: []any{chain.Seq, chain.Hash}}); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("with another word", func(t *testing.T) {
		b := audited(t)
		rewrite(t, b, func(e *ledger.AuditEntry) {
			if e.Seq == 4 {
				e.Who = "nobody@nowhere"
			}
		}, 0)
		if _, err := b.verify(); !errors.Is(err, ledger.ErrAuditBroken) || !strings.Contains(err.Error(), "signed at the end of run") {
			t.Errorf("%v", err)
		}
	})
	t.Run("without its end", func(t *testing.T) {
		b := audited(t)
		rewrite(t, b, func(*ledger.AuditEntry) {}, 3)
		if _, err := b.verify(); !errors.Is(err, ledger.ErrAuditBroken) || !strings.Contains(err.Error(), "is missing") {
			t.Errorf("%v", err)
		}
	})
	t.Run("and a signed head changed, or gone", func(t *testing.T) {
		b := audited(t)
		heads, err := filepath.Glob(filepath.Join(b.AuditHeads(), "*.json"))
		if err != nil || len(heads) != 3 {
			t.Fatal(heads, err)
		}
		text, _ := os.ReadFile(heads[1])
		for name, change := range map[string]func() error{
			"changed": func() error {
				return os.WriteFile(heads[1], []byte(strings.Replace(string(text), `"seq":`, `"seq":1`, 1)), 0o600)
			},
			"without signature": func() error { return os.Rename(heads[1]+".asc", heads[1]+".away") },
			"gone":              func() error { return os.Remove(heads[1]) },
		} {
			if err := change(); err != nil {
				t.Fatal(err)
			}
			if _, err := b.verify(); !errors.Is(err, ledger.ErrAuditBroken) || !strings.Contains(err.Error(), "signed head") {
				t.Errorf("%s: %v", name, err)
			}
			_ = os.Rename(heads[1]+".away", heads[1]+".asc")
			if err := os.WriteFile(heads[1], text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.verify(); err != nil {
			t.Errorf("undone, and still broken: %v", err)
		}
	})
}

// Every run that ended has its head: none of them may go, not the oldest, and not all with the nights after them signed.
func TestASignedHeadThatIsGoneIsFoundWhicheverItIs(t *testing.T) {
	for name, remove := range map[string]func(b *bench, heads []string){
		"the oldest": func(_ *bench, heads []string) { _ = errors.Join(os.Remove(heads[0]), os.Remove(heads[0]+".asc")) },
		"the newest": func(_ *bench, heads []string) { _ = errors.Join(os.Remove(heads[2]), os.Remove(heads[2]+".asc")) },
		"all":        func(b *bench, _ []string) { _ = os.RemoveAll(b.AuditHeads()) },
		"all, and a night after it": func(b *bench, _ []string) {
			_ = os.RemoveAll(b.AuditHeads())
			b.run()
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := audited(t)
			heads, err := filepath.Glob(filepath.Join(b.AuditHeads(), "*.json"))
			if err != nil || len(heads) != 3 {
				t.Fatal(heads, err)
			}
			gone := heads[0]
			if name == "the newest" {
				gone = heads[2]
			}
			remove(b, heads)
			if _, err := b.verify(); !errors.Is(err, ledger.ErrAuditBroken) || !strings.Contains(err.Error(), "its signed head "+b.Relative(gone)+" is gone") {
				t.Errorf("%v", err)
			}
		})
	}
}

// A run that was killed while it signed has a head without its signature, or one with that of the time before. The run is
// open, and signs again before it ends: nothing is broken.
func TestARunKilledWhileItSignedBreaksNoChain(t *testing.T) {
	for name, half := range map[string]func(path string) error{
		"signed, and not ended":            func(string) error { return nil },
		"without its signature":            func(path string) error { return os.Remove(path + ".asc") },
		"with that of the time before":     func(path string) error { return os.WriteFile(path+".asc", []byte("of before"), 0o600) },
		"killed before anything was there": func(path string) error { return errors.Join(os.Remove(path), os.Remove(path+".asc")) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.silent()
			b.run()
			n := b.open()
			ctx, kill := context.WithCancel(t.Context())
			n.Checkpoint = func(point string) {
				if point == "reconcile/signed" {
					kill()
				}
			}
			if _, err := n.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			heads, err := filepath.Glob(filepath.Join(b.AuditHeads(), "*.json"))
			if err != nil || len(heads) != 2 {
				t.Fatal(heads, err)
			}
			if err := half(heads[1]); err != nil {
				t.Fatal(err)
			}
			if _, err := b.verify(); err != nil {
				t.Error(err)
			}
			b.run()
			if told, err := b.verify(); err != nil || told.Heads != 2 {
				t.Errorf("after the next run: %+v %v", told, err)
			}
		})
	}
}

// What a process left that died while it signed the audit chain, or while it changed keys, goes with the next night.
func TestUnfinishedHeadsAndKeysAreSwept(t *testing.T) {
	b := newBench(t)
	b.run()
	left := []string{filepath.Join(b.AuditHeads(), durable.TempPrefix+"1"), b.Path("keys", durable.TempPrefix+"2")}
	for _, path := range left {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.run()
	for _, path := range left {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", b.Relative(path), err)
		}
	}
}
