package sqlite_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	zombiezen "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"reemboss/batch/ledger"
	"reemboss/batch/ledger/ledgertest"
	"reemboss/batch/ledger/sqlite"
	"reemboss/batch/rules"
	"reemboss/formats/request"
)

// tamper runs SQL on a ledger's file behind its back.
func tamper(t *testing.T, path, sql string) {
	t.Helper()
	conn, err := zombiezen.OpenConn(path, zombiezen.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sqlitex.ExecuteScript(conn, sql, nil), conn.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestAuditNamesTheFirstEntryThatDoesNotHold(t *testing.T) {
	tests := []struct{ name, sql, says string }{
		{"a text changed", "UPDATE audit SET detail = 'other' WHERE seq = 3", "entry 3 (file.sent)"},
		{"a time changed", "UPDATE audit SET at = at + 1 WHERE seq = 2", "entry 2 "},
		{"text moved between fields", "UPDATE audit SET subject = subject || detail, detail = '' WHERE seq = 4", "entry 4 "},
		{"an entry removed", "DELETE FROM audit WHERE seq = 2", "entry 2 is missing"},
		{"the first removed", "DELETE FROM audit WHERE seq = 1", "entry 1 is missing"},
		{"the newest removed", "DELETE FROM audit WHERE seq > 4", "entry 5 is missing"},
		{"all removed", "DELETE FROM audit", "entry 1 is missing"},
		{"two swapped", "UPDATE audit SET seq = 99 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 99", "entry 2 "},
		{"removed and numbered anew", "DELETE FROM audit WHERE seq = 2; UPDATE audit SET seq = seq - 1 WHERE seq > 2", "entry 2 "},
		{"an entry added", "INSERT INTO audit SELECT 6, at, who, what, subject, detail, hash FROM audit WHERE seq = 5", "entry 6 "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			l := openAt(t, path)
			for range 5 {
				if err := l.Append(t.Context(), ledger.AuditEntry{At: time.Unix(1e9, 0), Who: "op@host", What: "file.sent", Subject: "f", Detail: "d"}); err != nil {
					t.Fatal(err)
				}
			}
			tamper(t, path, test.sql)
			err := l.VerifyAudit(t.Context())
			if !errors.Is(err, ledger.ErrAuditBroken) || !strings.Contains(fmt.Sprint(err), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
		})
	}
}

func TestOpenTellsWhyAFileCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	made := filepath.Join(dir, "made.db")
	if err := openAt(t, made).Close(); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer.db")
	openAt(t, newer)
	tamper(t, newer, "PRAGMA user_version = 99")
	foreign := filepath.Join(dir, "foreign.db")
	openAt(t, foreign)
	tamper(t, foreign, "PRAGMA application_id = 7")
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, bytes.Repeat([]byte("not a database\n"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		filepath.Join(dir, "no.db"): fs.ErrNotExist,
		newer:                       sqlite.ErrNewer,
		foreign:                     sqlite.ErrNotLedger,
		text:                        sqlite.ErrNotLedger,
		dir:                         sqlite.ErrNotLedger,
		made:                        nil,
	} {
		l, err := sqlite.Open(path, ledgertest.Vault(), sqlite.Options{})
		if !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", filepath.Base(path), err, want)
		}
		if err == nil {
			err = l.Close()
		}
		if err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("the error does not name the file: %v", err)
		}
	}
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "ledger.db")
	if err := openAt(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	l := openAt(t, path)
	if err := l.Append(t.Context(), ledger.AuditEntry{What: "x"}); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		state, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if mode := state.Mode().Perm(); mode != 0o600 {
			t.Errorf("ledger.db%s has mode %o", suffix, mode)
		}
	}
}

func TestAClosedLedgerSaysSo(t *testing.T) {
	l := openAt(t, filepath.Join(t.TempDir(), "ledger.db"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), ledger.AuditEntry{}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("writing: %v", err)
	}
	if _, err := l.CountCards(t.Context()); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("reading: %v", err)
	}
}

func TestTwoProcessesSeeOneLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	first, second := openAt(t, path), openAt(t, path)
	if _, err := first.StoreCards(t.Context(), []ledger.CardWrite{{Card: ledgertest.TestCard(1)}}, ledger.AuditEntry{}); err != nil {
		t.Fatal(err)
	}
	if n, err := second.CountCards(t.Context()); err != nil || n != 1 {
		t.Errorf("%d cards, error %v", n, err)
	}
}

func TestNoClearPANInTheDatabaseOrItsWAL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := openAt(t, path)
	cards := int64(300)
	reissueAll(t, l, cards)
	searched := map[string]int{}
	look := func() {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			content, err := os.ReadFile(path + suffix)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			searched[suffix] += len(content)
			for n := range cards {
				for _, id := range []int64{n, newIDs + n} {
					if bytes.Contains(content, []byte(ledgertest.TestPAN(id).Reveal())) {
						t.Fatalf("ledger.db%s holds the number of card %d in clear", suffix, id)
					}
				}
			}
		}
	}
	look()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	look()
	if searched[""] == 0 || searched["-wal"] == 0 {
		t.Errorf("bytes searched: %v", searched)
	}
}

const newIDs = 500_000_000

// reissueAll stores cards, replaces each by a new one and plans the file.
func reissueAll(t *testing.T, l ledger.Ledger, cards int64) {
	t.Helper()
	ctx, at := t.Context(), time.Unix(1e9, 0)
	run, _, err := l.BeginRun(ctx, at, "2026-11-21", "h", "v")
	must(t, err)
	file, err := l.AddFile(ctx, ledger.RequestFile{RunID: run.ID, Name: "a.csv", State: ledger.Checked, ClaimedAt: at})
	must(t, err)
	c := ledger.Chunk{RunID: run.ID, FileID: file, At: at}
	var writes []ledger.CardWrite
	for n := range cards {
		uid := fmt.Sprintf("%020d", n)
		made := ledgertest.TestCard(newIDs + n)
		writes = append(writes, ledger.CardWrite{Card: ledgertest.TestCard(n), At: at})
		c.Answers = append(c.Answers, ledger.Answer{FileID: file, Pos: int(n) + 1, RunID: run.ID, Kind: request.Reissue, CardID: fmt.Sprint(n), Outcome: rules.Accepted, OrderUID: uid})
		c.Orders = append(c.Orders, ledger.Order{
			UID: uid, RunID: run.ID, FileID: file, Pos: int(n) + 1, Kind: request.Reissue, CardID: n, EmbossedCardID: newIDs + n, PAN: made.PAN,
			Bureau: "alpha", State: ledger.Queued, CreatedAt: at,
		})
		c.NewCards = append(c.NewCards, ledger.NewCard{Card: made, Predecessor: n})
	}
	_, err = l.StoreCards(ctx, writes, ledger.AuditEntry{At: at})
	must(t, err)
	must(t, l.CommitChunk(ctx, c))
	_, err = l.PlanFile(ctx, ledger.Plan{File: ledger.BureauFile{Recipient: "alpha", Sequence: 1, Name: "f", RunID: run.ID, Records: cards}})
	must(t, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// killedWriter and killedPath are set in the process that
// TestAKilledWriterLeavesWholeChunks starts and kills.
const (
	killedWriter = "REEMBOSS_TEST_KILLED_WRITER"
	killedPath   = "REEMBOSS_TEST_KILLED_PATH"
)

// writers write without end; each has what looks for a torn chunk.
var writers = map[string]struct {
	write func(context.Context, ledger.Ledger, func(int64)) error
	check func(context.Context, ledger.Ledger) (int64, error)
}{
	"decisions": {ledgertest.Writer, ledgertest.CheckWhole},
	"returns":   {ledgertest.Answerer, ledgertest.CheckAnswered},
}

func TestMain(m *testing.M) {
	if name := os.Getenv(killedWriter); name != "" {
		fmt.Fprintln(os.Stderr, writeUntilKilled(name, os.Getenv(killedPath)))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func writeUntilKilled(name, path string) error {
	if name == killedRotator {
		return rotateUntilKilled(context.Background(), path)
	}
	l, err := sqlite.Open(path, ledgertest.Vault(), sqlite.Options{Create: true})
	if err != nil {
		return err
	}
	return writers[name].write(context.Background(), l, func(n int64) { fmt.Println(n) })
}

func TestAKilledWriterLeavesWholeChunks(t *testing.T) {
	for name, w := range writers {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			told := int64(0)
			for round := range 6 {
				told = killWriter(t, name, path, told, time.Duration(round)*7*time.Millisecond)
				l, err := sqlite.Open(path, ledgertest.Vault(), sqlite.Options{})
				must(t, err)
				chunks, err := w.check(t.Context(), l)
				must(t, err)
				must(t, l.Close())
				if chunks < told || chunks > told+1 {
					t.Fatalf("round %d: %d chunks are there, %d were told to be durable", round, chunks, told)
				}
				told = chunks
			}
		})
	}
}

// killWriter starts a writer, lets it tell two chunks more, waits for a moment
// somewhere in the next one and kills it. It gives the last chunk told.
func killWriter(t *testing.T, name, path string, told int64, into time.Duration) int64 {
	t.Helper()
	writer := exec.Command(os.Args[0])
	writer.Env = append(os.Environ(), killedWriter+"="+name, killedPath+"="+path)
	writer.Stderr = os.Stderr
	out, err := writer.StdoutPipe()
	must(t, err)
	must(t, writer.Start())
	lines := bufio.NewScanner(out)
	kill := time.AfterFunc(time.Minute, func() { _ = writer.Process.Kill() })
	defer kill.Stop()
	for first := told; lines.Scan(); {
		if _, err := fmt.Sscan(lines.Text(), &told); err != nil {
			t.Fatalf("the writer said %q", lines.Text())
		}
		if told == first+2 {
			kill.Reset(into)
		}
	}
	if err := writer.Wait(); err == nil || writer.ProcessState.Exited() {
		t.Fatalf("the writer ended by itself: %v", err)
	}
	return told
}
