package batch

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"reemboss/batch/config"
	"reemboss/batch/durable"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/formats/iso"
)

// ledgerSQL changes the ledger behind its back.
func (b *bench) ledgerSQL(query string, args ...any) {
	b.Helper()
	conn, err := sqlite.OpenConn(b.LedgerFile(), sqlite.OpenReadWrite)
	if err == nil {
		err = sqlitex.Execute(conn, query, &sqlitex.ExecOptions{Args: args})
	}
	if err == nil {
		err = conn.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
}

// gold puts a card of bureau beta into the inbox.
func (b *bench) gold(id int64) {
	b.Helper()
	body := fmt.Sprintf("555555%09d", id)
	text := "card_id,customer_id,status,pan,program_id,product,expiry,printed_name,address_line1,city,postcode,country\n" +
		fmt.Sprintf("%d,C%d,NORMAL,%s%c,100,mc-gold,%s,Anna Smith,1 Street,Berlin,10115,DE\n", id, id, body, iso.LuhnDigit(body), iso.ExpiryOf(b.now).Add(10))
	if err := os.WriteFile(filepath.Join(b.InboxCards(), fmt.Sprintf("gold-%d.csv", id)), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

// spoiltPlan is a workspace whose first file of alpha was planned, with a card of beta queued, and
// whose run died there; the digest of that plan can never be met again.
func spoiltPlan(t *testing.T) *bench {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	b.gold(3)
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n2,C2,3\n3,C3,1\n")
	if !b.runKilledAt("write/planned", 0) {
		t.Fatal("nothing was planned")
	}
	b.ledgerSQL("UPDATE bureau_files SET plain_digest = 'another' WHERE recipient = 'alpha'")
	return b
}

func (b *bench) needs(r *report.Reconciliation, name string) (found []report.Need) {
	for _, n := range r.NeedsPerson {
		if strings.Contains(n.What, name) {
			found = append(found, n)
		}
	}
	return found
}

func (b *bench) cancel(name string) (moved int64, err error) {
	b.Helper()
	n := b.open()
	defer n.Close()
	_, moved, err = n.Cancel(b.Context(), name, "the plan is damaged")
	return moved, err
}

// A plan that can never be met keeps its own bureau's files back and no other's, night after night, and the report has the way out.
func TestAPlanThatCannotBeMetStopsItsBureauOnly(t *testing.T) {
	b := spoiltPlan(t)
	b.drop("b.csv", "card_id\n9\n")
	for night := range 2 {
		r := b.run()
		b.mustHold(r.Reconciliation)
		f := b.plan()
		needs := b.needs(r.Reconciliation, f.Name)
		if r.Exit != 4 || f.State != ledger.Planned || len(needs) != 1 || needs[0].Command != "reemboss cancel "+f.Name+` --reason "…"` || !strings.Contains(needs[0].Why, "digest of the plan") {
			t.Errorf("night %d: exit %d, %s, %+v", night, r.Exit, f.State, needs)
		}
		if left, _ := filepath.Glob(b.Path("outbox", "alpha", "*")); len(left) > 0 {
			t.Errorf("night %d: the outbox has %v", night, left)
		}
		if s := b.order(3); s.State != ledger.SentO {
			t.Errorf("night %d: the other bureau's card is %s", night, s.State)
		}
		if s := b.order(1); s.State != ledger.PlannedO {
			t.Errorf("night %d: the card is %s", night, s.State)
		}
		n, err := Open(t.Context(), b.Dir, b.options()) // without the lock, as status has it
		if err != nil {
			t.Fatal(err)
		}
		status, err := n.Status(t.Context())
		if err != nil || len(b.needs(status.Reconciliation, f.Name)) != 1 {
			t.Errorf("night %d: status asks for %+v, %v", night, status.NeedsPerson, err)
		}
		if steps, err := n.Ledger.Deliveries(t.Context(), f.ID); err != nil || len(steps) != 1 {
			t.Errorf("night %d: its history is %+v, %v", night, steps, err)
		}
		n.Close()
	}
}

// Later orders of the bureau wait for the file that cannot be written; cancelled, its number is void and all go into the next one.
func TestACancelledPlanGivesItsOrdersBack(t *testing.T) {
	b := spoiltPlan(t)
	b.run()
	spoilt := b.plan()
	b.cards("4 C4 NORMAL 411111000000004 00")
	b.drop("c.csv", "card_id,user_id,reason_code\n4,C4,1\n1,C1,1\n")
	b.run()
	b.want(b.codes("done", "c.csv"), "00", "already_requested")
	if s := b.order(4); s.State != ledger.Queued {
		t.Errorf("the later order is %s", s.State)
	}
	moved, err := b.cancel(spoilt.Name)
	if err != nil || moved != 2 {
		t.Fatalf("%d moved, %v", moved, err)
	}
	r := b.run()
	b.mustHold(r.Reconciliation)
	next := b.plan()
	if r.Exit != 0 || next.Sequence != 2 || next.Records != 3 || next.State != ledger.Sent || b.state(spoilt.Name).State != ledger.Void {
		t.Errorf("exit %d, %+v; the first is %s; needs %+v", r.Exit, next, b.state(spoilt.Name).State, r.NeedsPerson)
	}
	if _, err := b.cancel(spoilt.Name); err == nil {
		t.Error("cancelled twice")
	}
	n := b.open()
	defer n.Close()
	again, err := n.Report(t.Context(), spoilt.RunID) // a file that never was is none of its run's
	if err != nil {
		t.Fatal(err)
	}
	b.mustHold(again)
	text, err := os.ReadFile(filepath.Join(b.Reports(spoilt.RunID), "manifest.json"))
	if err != nil || strings.Contains(string(text), spoilt.Name) {
		t.Errorf("the manifest names %s: %v", spoilt.Name, err)
	}
}

// A file that a crash left planned and that nothing keeps from being written goes out with the next run, and is not cancelled.
func TestAPlanThatNothingKeepsIsNotCancelled(t *testing.T) {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n")
	b.runKilledAt("write/planned", 0)
	if _, err := b.cancel(b.plan().Name); err == nil || !strings.Contains(err.Error(), "goes out with the next run") {
		t.Errorf("%v", err)
	}
	if r := b.run(); r.Exit != 0 {
		t.Errorf("exit %d", r.Exit)
	}
}

// Once what kept a file from being written is mended, the planned file itself goes out.
func TestAPlanThatIsMendedGoesOut(t *testing.T) {
	b := spoiltPlan(t)
	b.ledgerSQL("UPDATE bureau_files SET plain_digest = 'another', signing_key = '0' || signing_key WHERE recipient = 'alpha'")
	r := b.run()
	f := b.plan()
	if needs := b.needs(r.Reconciliation, f.Name); r.Exit != 4 || len(needs) != 1 || !strings.Contains(needs[0].Why, "our signing key") {
		t.Errorf("exit %d, %+v", r.Exit, needs)
	}
	b.ledgerSQL("UPDATE bureau_files SET signing_key = substr(signing_key, 2), plain_digest = '' WHERE recipient = 'alpha'")
	f = b.plan()
	n := b.open()
	n.run = ledger.Run{ID: f.RunID}
	if err := n.openCardKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	var h head
	if err := json.Unmarshal(f.Head, &h); err != nil {
		t.Fatal(err)
	}
	digest, err := n.planDigest(t.Context(), f, h, func(fn func(*ledger.Order) error) error { return n.Ledger.EachFileOrder(t.Context(), f.ID, fn) })
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	b.ledgerSQL("UPDATE bureau_files SET plain_digest = ? WHERE recipient = 'alpha'", digest)
	if r := b.run(); r.Exit != 0 || b.plan().State != ledger.Sent || b.plan().Sequence != 1 || b.plan().LastError != "" {
		t.Errorf("exit %d, %+v", r.Exit, b.plan())
	}
}

// The card system's file gives way like a bureau's: the next one tells the same orders.
func TestACancelledCardSystemFileIsToldAgain(t *testing.T) {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,3\n")
	if !b.runKilledAt("write/planned", 1) {
		t.Fatal("no second plan")
	}
	b.ledgerSQL("UPDATE bureau_files SET plain_digest = 'another' WHERE recipient = ?", config.CardSystem)
	first := b.outgoing(config.CardSystem)[0]
	if r := b.run(); r.Exit != 4 || len(b.needs(r.Reconciliation, first.Name)) != 1 || b.order(1).State != ledger.SentO {
		t.Errorf("exit %d, %+v, the card is %s", r.Exit, r.NeedsPerson, b.order(1).State)
	}
	if moved, err := b.cancel(first.Name); err != nil || moved != 1 {
		t.Fatalf("%d moved, %v", moved, err)
	}
	r := b.run()
	b.mustHold(r.Reconciliation)
	files := b.outgoing(config.CardSystem)
	if r.Exit != 0 || len(files) != 2 || files[0].State != ledger.Void || files[1].State != ledger.Sent || files[1].Sequence != 2 || files[1].Records != 1 {
		t.Errorf("exit %d, %+v", r.Exit, files)
	}
}

// outgoing are the files of a recipient, by number.
func (b *bench) outgoing(recipient string) (list []ledger.BureauFile) {
	b.Helper()
	n := b.open()
	defer n.Close()
	files, err := n.Ledger.BureauFiles(b.Context(), ledger.FileQuery{})
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range files {
		if f.Recipient == recipient {
			list = append(list, f)
		}
	}
	return list
}

// What a crash left in the outbox goes with the cancelled plan, unless its recipient may have fetched it there.
func TestWhatACrashLeftOfACancelledPlan(t *testing.T) {
	for _, fetched := range []bool{false, true} {
		b := spoiltPlan(t)
		b.run()
		if fetched {
			b.configure("method: sftp ", "method: folder ", "dir: returns  ", "dir: from-alpha  ")
		}
		name := b.plan().Name
		left := filepath.Join(b.Outbox("alpha"), name)
		if err := os.WriteFile(left, []byte("sealed"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := b.cancel(name)
		_, there := os.Lstat(left)
		if fetched && (err == nil || there != nil || !strings.Contains(err.Error(), "may have fetched it")) || !fetched && (err != nil || !os.IsNotExist(there)) {
			t.Errorf("fetched %v: %v, there %v", fetched, err, there)
		}
	}
}

// Killed between the leftover and the ledger, the command may be given again.
func TestACancelThatDiesIsGivenAgain(t *testing.T) {
	b := spoiltPlan(t)
	b.run()
	name := b.plan().Name
	if err := b.Files.MkdirAll(b.Outbox("alpha")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.Outbox("alpha"), name), []byte("sealed"), 0o600); err != nil {
		t.Fatal(err)
	}
	func() {
		n := b.open()
		defer n.Close()
		defer func() {
			if recover() == nil {
				t.Error("the point was never passed")
			}
		}()
		n.Checkpoint = func(point string) { panic(killed{point}) }
		_, _, err := n.Cancel(t.Context(), name, "the plan is damaged")
		t.Error(err)
	}()
	if moved, err := b.cancel(name); err != nil || moved != 2 {
		t.Errorf("%d moved, %v", moved, err)
	}
}

// flipping is a disk that changes a byte of the first sealed file that gets its name.
type flipping struct {
	durable.Disk
	done bool
}

func (d *flipping) Rename(from, to string) error {
	if err := d.Disk.Rename(from, to); err != nil || d.done || !strings.HasSuffix(to, ".pgp"+unsettled) {
		return err
	}
	d.done = true
	content, err := os.ReadFile(to)
	if err != nil {
		return err
	}
	content[len(content)/2] ^= 1
	return os.WriteFile(to, content, 0o600)
}

// What is written is read again from the disk before it is WRITTEN: bytes that a disk changed are made again, and not kept for a person.
func TestAFileThatTheDiskChangedIsMadeAgain(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id\n1\n")
	n := b.open()
	n.Files.Disk = &flipping{Disk: durable.Machine{}}
	if _, err := n.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "look at the disk") {
		t.Errorf("the damage is told as %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if r := b.run(); r.Exit != 0 || r.Written != 1 {
		t.Errorf("exit %d, written %d: %+v", r.Exit, r.Written, r.NeedsPerson)
	}
}

// A bureau whose numbers, or whose records, no longer fit its layout waits for a person; the others get their files.
func TestAFileThatDoesNotFitItsLayoutStopsItsBureauOnly(t *testing.T) {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.gold(3)
	b.run()
	b.ledgerSQL("INSERT INTO counters (name, value) VALUES ('sequence/beta', 9999999999)") // CONTROL_NUMBER of fixed-v1 has ten places
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n3,C3,1\n")
	for range 2 {
		r := b.run()
		if r.Exit != 4 || b.order(1).State != ledger.SentO || b.order(3).State != ledger.Queued {
			t.Fatalf("exit %d, %s, %s", r.Exit, b.order(1).State, b.order(3).State)
		}
		if needs := b.needs(r.Reconciliation, "beta"); len(needs) == 0 || !strings.Contains(needs[0].Why, "CONTROL_NUMBER") {
			t.Errorf("told %+v", r.NeedsPerson)
		}
	}
}
