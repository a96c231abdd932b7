package sqlite_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	zombiezen "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"reemboss/batch/hsm"
	"reemboss/batch/ledger"
	"reemboss/batch/ledger/ledgertest"
	"reemboss/batch/ledger/sqlite"
	"reemboss/batch/rules"
	"reemboss/formats/iso"
	"reemboss/formats/request"
)

const (
	killedRotator = "rotator" // of killedWriter

	rotatedCards = 1500 // and as many orders
	rotationKill = 200
)

var rotationKEK = bytes.Repeat([]byte{7}, hsm.KEKLength)

// rotated opens a ledger with the keyset beside it, as every process does.
func rotated(path string) (*hsm.Keyset, *sqlite.Ledger, error) {
	keys, err := hsm.OpenKeyset(path+".keys", rotationKEK)
	if err != nil {
		return nil, nil, err
	}
	l, err := sqlite.Open(path, keys, sqlite.Options{Create: true})
	return keys, l, err
}

// rotateUntilKilled rotates both keys, brings all under the new ones in small
// pieces, and does it again.
func rotateUntilKilled(ctx context.Context, path string) error {
	keys, l, err := rotated(path)
	if err != nil {
		return err
	}
	fmt.Println("begins")
	for {
		p, err := l.Rekey(ctx, 211, ledger.AuditEntry{At: time.Unix(1e9, 0), Who: "test"})
		if err != nil {
			return err
		}
		if p.Ended && !p.Finished {
			return fmt.Errorf("a pass ended with %d rows left, %d of them unreadable", p.Left(), p.Unreadable)
		}
		if !p.Finished {
			continue
		}
		for _, kind := range []string{hsm.KindPAN, hsm.KindIndex} {
			if _, err := keys.Rotate(kind, time.Unix(1e9, 0), rand.Reader); err != nil {
				return err
			}
			if err := retireOldest(keys, kind); err != nil {
				return err
			}
		}
	}
}

// retireOldest keeps a few former keys, as an operator does for the sake of backups.
func retireOldest(keys *hsm.Keyset, kind string) error {
	ids := slices.DeleteFunc(keys.Keys(), func(l hsm.KeyLine) bool { return l.Kind != kind })
	if len(ids) <= 4 {
		return nil
	}
	return keys.Retire(kind, ids[0].ID, rand.Reader)
}

// Rotation under way, killed at random points: every number still opens and is
// still found, by who comes after and by who reads all the while.
func TestARotationKilledAnywhereLosesNoNumber(t *testing.T) {
	if ranWithoutRaceDetector(t) {
		return
	}
	path := filepath.Join(t.TempDir(), "ledger.db")
	_, err := hsm.CreateKeyset(path+".keys", rotationKEK, rand.Reader, hsm.Spec{})
	must(t, err)
	_, l, err := rotated(path)
	must(t, err)
	registerAll(t, l)
	must(t, l.Close())

	_, reader, err := rotated(path) // opened before any rotation, and kept open
	must(t, err)
	reads, stop := make(chan int), make(chan struct{})
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				reads <- n
				return
			default:
				findSome(t, reader, int64(n))
			}
		}
	}()

	middle := 0
	for kill := range rotationKill {
		killRotator(t, path, kill)
		keys, l, err := rotated(path)
		must(t, err)
		findAll(t, l)
		use, err := l.KeyUse(t.Context())
		must(t, err)
		if len(use.Sealed) > 1 || len(use.Indexed) > 1 || use.Sealed[keys.SealKeyID()] == 0 {
			middle++
		}
		must(t, l.Close())
		if t.Failed() {
			t.Fatalf("after kill %d", kill+1)
		}
	}
	close(stop)
	t.Logf("%d of %d kills in the middle of a rotation, %d readings beside", middle, rotationKill, <-reads)
	must(t, reader.Close())
	if middle < rotationKill/4 {
		t.Errorf("only %d kills hit a rotation", middle)
	}
	rotationEnds(t, path)
}

// ranWithoutRaceDetector runs the test in a program built without it, if this one
// was built with it: 200 processes and their ledgers take half a minute there, and minutes here.
func ranWithoutRaceDetector(t *testing.T) bool {
	t.Helper()
	built, ok := debug.ReadBuildInfo()
	if !ok || !slices.Contains(built.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return false
	}
	program := filepath.Join(t.TempDir(), "sqlite.test")
	if out, err := exec.Command("go", "test", "-c", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the test without the race detector: %v\n%s", err, out)
	}
	out, err := exec.Command(program, "-test.run", "^"+t.Name()+"$", "-test.v").CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("without the race detector: %v", err)
	}
	return true
}

// registerAll stores the cards and orders one of each.
func registerAll(t *testing.T, l ledger.Ledger) {
	t.Helper()
	ctx, at := t.Context(), time.Unix(1e9, 0)
	run, _, err := l.BeginRun(ctx, at, "2026-11-21", "h", "v")
	must(t, err)
	file, err := l.AddFile(ctx, ledger.RequestFile{RunID: run.ID, Name: "a.csv", State: ledger.Checked, ClaimedAt: at})
	must(t, err)
	c := ledger.Chunk{RunID: run.ID, FileID: file, At: at}
	var writes []ledger.CardWrite
	for id := int64(1); id <= rotatedCards; id++ {
		writes = append(writes, ledger.CardWrite{Card: ledgertest.TestCard(id), At: at})
		uid := fmt.Sprintf("%020d", id)
		c.Answers = append(c.Answers, ledger.Answer{FileID: file, Pos: int(id), RunID: run.ID, Kind: request.Reemboss, CardID: fmt.Sprint(id), Outcome: rules.Accepted, OrderUID: uid})
		c.Orders = append(c.Orders, ledger.Order{
			UID: uid, RunID: run.ID, FileID: file, Pos: int(id), Kind: request.Reemboss, CardID: id, EmbossedCardID: id, PAN: ledgertest.TestPAN(id),
			Bureau: "alpha", State: ledger.Queued, CreatedAt: at,
		})
	}
	_, err = l.StoreCards(ctx, writes, ledger.AuditEntry{At: at, What: "cards.imported"})
	must(t, err)
	must(t, l.CommitChunk(ctx, c))
}

// killRotator lets a process rotate and kills it after a random while, some before they have begun.
func killRotator(t *testing.T, path string, n int) {
	t.Helper()
	process := exec.Command(os.Args[0])
	process.Env = append(os.Environ(), killedWriter+"="+killedRotator, killedPath+"="+path)
	var said bytes.Buffer
	process.Stderr = &said
	out, err := process.StdoutPipe()
	must(t, err)
	must(t, process.Start())
	random := mathrand.New(mathrand.NewPCG(uint64(n), 4))
	if n%10 != 0 {
		bufio.NewScanner(out).Scan()
	}
	kill := time.AfterFunc(time.Duration(random.Int64N(int64(60*time.Millisecond))), func() { _ = process.Process.Kill() })
	defer kill.Stop()
	if err := process.Wait(); err == nil || process.ProcessState.Exited() {
		t.Fatalf("the rotation ended by itself: %v\n%s", err, said.String())
	}
}

// findAll: every number opens, is found under its PSN and cannot be taken by another card; of cards and of orders.
func findAll(t *testing.T, l *sqlite.Ledger) {
	t.Helper()
	ctx := t.Context()
	var ids []int64
	var pans []iso.PAN
	for id := int64(1); id <= rotatedCards; id++ {
		ids, pans = append(ids, id), append(pans, ledgertest.TestPAN(id))
	}
	known, err := l.KnownPANs(ctx, append(pans, ledgertest.TestPAN(rotatedCards+1)))
	must(t, err)
	cards, err := l.Cards(ctx, ids)
	must(t, err)
	for i, id := range ids {
		if !known[i] || cards[id] == nil || !cards[id].PAN.Equal(pans[i]) {
			t.Errorf("card %d is not found or does not open", id)
		}
	}
	if known[rotatedCards] {
		t.Error("an unknown number is known")
	}
	orders := 0
	must(t, l.EachQueued(ctx, "alpha", 0, func(o *ledger.Order) error {
		orders++
		if !o.PAN.Equal(ledgertest.TestPAN(o.EmbossedCardID)) {
			t.Errorf("order of card %d: another number", o.EmbossedCardID)
		}
		return nil
	}))
	if orders != rotatedCards {
		t.Errorf("%d orders", orders)
	}
	findSome(t, l, mathrand.Int64())
	taken := ledgertest.TestCard(rotatedCards + 1 + mathrand.Int64N(1000))
	taken.PAN = ledgertest.TestPAN(1 + mathrand.Int64N(rotatedCards))
	problems, err := l.StoreCards(ctx, []ledger.CardWrite{{Card: taken, At: time.Unix(1e9, 0)}}, ledger.AuditEntry{})
	must(t, err)
	if !errors.Is(problems[0], ledger.ErrPANTaken) {
		t.Errorf("a number was given to a second card: %v", problems[0])
	}
}

// findSome looks for a few numbers, in any state of a rotation.
func findSome(t *testing.T, l *sqlite.Ledger, seed int64) {
	random := mathrand.New(mathrand.NewPCG(uint64(seed), 5))
	ids, pans := make([]int64, 20), make([]iso.PAN, 20)
	for i := range ids {
		ids[i] = 1 + random.Int64N(rotatedCards)
		pans[i] = ledgertest.TestPAN(ids[i])
	}
	ctx := context.Background()
	known, err := l.KnownPANs(ctx, pans)
	if err != nil || slices.Contains(known, false) {
		t.Errorf("not every number is known: %v", err)
	}
	cards, err := l.Cards(ctx, ids)
	if err != nil {
		t.Errorf("cards: %v", err)
	}
	for i, id := range ids {
		if psns, err := l.PSNs(ctx, pans[i]); err != nil || !slices.Contains(psns, 3) {
			t.Errorf("card %d: PSNs %v, %v", id, psns, err)
		}
		if cards[id] == nil || !cards[id].PAN.Equal(pans[i]) {
			t.Errorf("card %d does not open", id)
		}
	}
}

// rotationEnds goes on until all is under the newest keys, which then are enough.
func rotationEnds(t *testing.T, path string) {
	t.Helper()
	keys, l, err := rotated(path)
	must(t, err)
	for finished := false; !finished; {
		p, err := l.Rekey(t.Context(), 1000, ledger.AuditEntry{At: time.Unix(1e9, 0), Who: "test"})
		must(t, err)
		finished = p.Finished
	}
	use, err := l.KeyUse(t.Context())
	must(t, err)
	if use.Sealed[keys.SealKeyID()] != 2*rotatedCards || use.Indexed[keys.IndexKeyID()] != rotatedCards || len(use.Sealed) != 1 || len(use.Indexed) != 1 {
		t.Errorf("use of keys: %v", use)
	}
	for _, line := range keys.Keys() {
		if !line.Primary && (line.Kind == hsm.KindPAN || line.Kind == hsm.KindIndex) {
			must(t, keys.Retire(line.Kind, line.ID, rand.Reader))
		}
	}
	must(t, l.Close())
	_, l, err = rotated(path)
	must(t, err)
	findAll(t, l)
	must(t, l.VerifyAudit(t.Context()))
	must(t, l.Close())
}

// Every column of a sealed number or of its index is one that a rotation knows.
func TestARotationKnowsEverySealedNumber(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	openAt(t, path)
	conn, err := zombiezen.OpenConn(path, zombiezen.OpenReadOnly)
	must(t, err)
	defer conn.Close()
	var found []string
	must(t, sqlitex.ExecuteTransient(conn, `SELECT m.name || '.' || c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'
		AND (c.name GLOB '*pan_*' OR c.name GLOB '*_pan' OR c.name GLOB '*sealed*' OR c.name GLOB '*index_key*')`, &sqlitex.ExecOptions{ResultFunc: func(s *zombiezen.Stmt) error {
		found = append(found, s.ColumnText(0))
		return nil
	}}))
	slices.Sort(found)
	want := []string{"cards.pan_index", "cards.pan_index_key", "cards.pan_sealed", "order_bodies.pan_sealed", "pan_ranges.pan_length", "rekeying.index_key", "request_files.holds_pan"}
	if !slices.Equal(found, want) {
		t.Errorf("columns %s, known are %s: what seals or indexes numbers belongs into Rekey and KeyUse", strings.Join(found, ", "), strings.Join(want, ", "))
	}
}
