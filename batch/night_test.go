package batch

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"reemboss/batch/ledger"
	"reemboss/bureau"
	"reemboss/formats/iso"
)

// bench is a workspace with simulated bureaus and a clock that the test moves.
type bench struct {
	testing.TB
	Workspace
	now time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return newBenchAt(t, monday().Add(123_456_789*time.Nanosecond)) // times are seldom whole
}

// monday is ten o'clock of the last Monday before today: no night of a test meets a weekend, a day on which something is
// overdue or midnight only because of when the test was started.
func monday() time.Time {
	now := time.Now().UTC()
	back := 1 + (int(now.Weekday())+5)%7 // from Monday 7, from Tuesday 1, from Sunday 6
	return time.Date(now.Year(), now.Month(), now.Day()-back, 10, 0, 0, 0, time.UTC)
}

func newBenchAt(t *testing.T, now time.Time) *bench {
	t.Helper()
	b := &bench{TB: t, Workspace: Workspace{Dir: filepath.Join(t.TempDir(), "w")}, now: now}
	if err := Init(b.Dir, b.now, rand.Reader); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) open() *Night {
	b.Helper()
	n, err := Open(b.Context(), b.Dir, Options{Lock: true, Log: zerolog.Nop(), Now: b.still(),
		Sleep: func(context.Context, time.Duration) error { return nil }})
	if err != nil {
		b.Fatal(err)
	}
	held := n // which a test that ended would keep, until the last of its neighbours has
	b.Cleanup(func() { _ = held.Close(); held = nil })
	return n
}

// still is a clock that stands where the bench's stands now: what a night that was killed left running may read it beside the test.
func (b *bench) still() func() time.Time {
	at := b.now
	return func() time.Time { return at }
}

func (b *bench) drop(name, content string) {
	b.Helper()
	if err := os.WriteFile(b.Path("inbox", name), []byte(content), 0o600); err != nil {
		b.Fatal(err)
	}
}

// cards puts an extract into the inbox: each line is id, customer, status and the PAN's body without its check digit, psn.
func (b *bench) cards(lines ...string) {
	b.Helper()
	var out strings.Builder
	out.WriteString("card_id,customer_id,status,pan,psn,program_id,product,expiry,printed_name,address_line1,city,postcode,country\n")
	for _, l := range lines {
		f := strings.Fields(l)
		fmt.Fprintf(&out, "%s,%s,%s,%s%c,%s,100,visa-classic,%s,Anna Smith,1 Street,Berlin,10115,DE\n",
			f[0], f[1], f[2], f[3], iso.LuhnDigit(f[3]), f[4], iso.ExpiryOf(b.now).Add(10))
	}
	if err := os.WriteFile(filepath.Join(b.InboxCards(), "cards.csv"), []byte(out.String()), 0o600); err != nil {
		b.Fatal(err)
	}
}

// run works a night in a process of its own, as far as the ledger can tell.
func (b *bench) run(prepare ...func(*Night)) *Result {
	b.Helper()
	n := b.open()
	for _, p := range prepare {
		p(n)
	}
	r, err := n.Run(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if err := n.Close(); err != nil {
		b.Fatal(err)
	}
	return r
}

// codes reads the code column of a result, row by row.
func (b *bench) codes(folder, name string) []string {
	b.Helper()
	paths, err := filepath.Glob(b.Path(folder, "*", name+".result.csv"))
	if err != nil || len(paths) != 1 {
		b.Fatalf("results of %s in %s: %v %v", name, folder, paths, err)
	}
	f, err := os.Open(paths[0])
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		b.Fatal(err)
	}
	column, list := -1, []string{}
	for i, name := range rows[0] {
		if name == "code" {
			column = i
		}
	}
	for _, row := range rows[1:] {
		list = append(list, row[column])
	}
	return list
}

func (b *bench) want(got []string, want ...string) {
	b.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.Errorf("codes %v, want %v", got, want)
	}
}

// One number may serve several holders, told apart by the PSN: a reissue of one takes no other's.
func TestAReissueNeverTakesThePSNOfAnotherHolder(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000001 01", "3 C3 NORMAL 411111000000001 03")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n2,C2,1\n")
	if r := b.run(); r.Accepted != 2 || r.Exit != 0 {
		t.Fatalf("accepted %d, exit %d", r.Accepted, r.Exit)
	}
	n := b.open()
	cards, err := n.Ledger.Cards(t.Context(), []int64{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	if got := []int{cards[1].PSN, cards[2].PSN, cards[3].PSN}; fmt.Sprint(got) != "[4 5 3]" {
		t.Errorf("PSNs %v; 03 is the highest, so 04 comes next, then 05: 00, 01 and what lies between may be on a plastic", got)
	}
}

// An extract that is older than the one before it takes a PSN back, not the plastic that has it.
func TestAStaleExtractGivesNoPSNTwice(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n")
	b.run()
	for _, psn := range []string{"01", "00"} { // it shows ours once, and then the one of before
		b.cards("1 C1 NORMAL 411111000000001 " + psn)
		b.run()
	}
	b.now = b.now.AddDate(0, 0, 20)
	b.drop("b.csv", "card_id,user_id,reason_code\n1,C1,2\n")
	b.run()
	b.want(b.codes("done", "b.csv"), "00")
	if o := b.order(1); o.PSN != 2 {
		t.Errorf("PSN %02d; 01 is on the plastic before", o.PSN)
	}
}

// The answer to a row does not depend on where the chunks of a file end, and check says what run does.
func TestChunksAndCheckGiveTheSameAnswers(t *testing.T) {
	content := "card_id,user_id,reason_code\n1,C1,3\n2,C2,1\n3,C3,4\n1,C1,3\n2,C2,1\n2,C2,2\n900000000000,C1,3\n4,C4,1\n3,C3,1\n"
	want := []string{"00", "00", "00", "duplicate_row", "duplicate_row", "already_requested", "already_requested", "card_not_found", "already_requested"}
	for _, chunk := range []int{1, 2, 3, chunkRows} {
		b := newBench(t)
		b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00", "3 C3 NORMAL 411111000000003 00")
		b.run()
		b.drop("a.csv", content)
		n := b.open()
		n.chunk = chunk
		var checked []string
		err := n.Check(t.Context(), []string{b.Path("inbox", "a.csv")}, func(r CheckedRow) error {
			checked = append(checked, string(r.Code))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		b.run(func(n *Night) { n.chunk = chunk })
		b.want(checked, want...)
		b.want(b.codes("done", "a.csv"), want...)
	}
}

// An order for the last card of a chain answers for every card before it, also within one chunk.
func TestAnOrderAnswersForTheWholeChain(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,3\n")
	b.run()
	b.now = b.now.AddDate(0, 0, 20) // past transit_days
	b.drop("b.csv", "card_id,user_id,reason_code\n900000000000,C1,3\n1,C1,3\n")
	b.run()
	b.want(b.codes("done", "b.csv"), "00", "already_requested")
}

func TestACopyInTheSameNightIsADuplicateFile(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id\n1\n")
	b.drop("b.csv", "card_id\n1\n")
	b.run()
	b.want(b.codes("done", "a.csv"), "00")
	b.want(b.codes("refused", "b.csv"), "duplicate_file")
}

// Invariant 8: what a sender sent is never replaced, also when its name is that of a result.
func TestAResultNeverReplacesAFile(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	first := "card_id\n1\n"
	b.drop("o.csv.result.csv", first)
	b.run()
	b.drop("o.csv", "card_id\n2\n")
	b.run()
	kept, err := os.ReadFile(b.Path("done", b.now.Format(time.DateOnly), "o.csv.result.csv"))
	if err != nil || string(kept) != first {
		t.Errorf("the first file is now %q (%v)", kept, err)
	}
	b.want(b.codes("done", "o-2.csv"), "00")
}

// A sender that stalls longer than two looks goes on writing into the file that we took: what came later is answered too, once.
func TestAFileThatGrowsAfterItWasTakenIsAnsweredWhole(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	b.drop("a.csv", "card_id\n1\n")
	b.run(func(n *Night) {
		n.Checkpoint = func(point string) {
			if point != "stage/write" {
				return
			}
			paths, err := filepath.Glob(filepath.Join(n.Intake(), "*"))
			if err != nil || len(paths) != 1 {
				t.Fatalf("taken: %v %v", paths, err)
			}
			f, err := os.OpenFile(paths[0], os.O_APPEND|os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString("2\n")
			}
			if err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
		}
	})
	r := b.run()
	b.want(b.codes("done", "a.csv"), "00", "00")
	if r.Exit != 0 {
		t.Errorf("exit %d: %s", r.Exit, r.Verdict)
	}
}

// A file that somebody took out of state/intake/ stops nobody else's.
func TestAFileThatIsGoneStopsNoOther(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	b.drop("a.csv", "card_id\n1\n")
	b.drop("b.csv", "card_id\n2\n")
	r := b.run(func(n *Night) {
		n.Checkpoint = func(point string) {
			if point == "stage/decide" {
				paths, _ := filepath.Glob(filepath.Join(n.Intake(), "*"))
				if len(paths) != 2 {
					t.Fatalf("taken: %v", paths)
				}
				if err := os.Remove(paths[0]); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	b.want(b.codes("done", "b.csv"), "00")
	if r.Exit != 4 || len(r.NeedsPerson) == 0 {
		t.Errorf("exit %d, needs %v; a person must be told", r.Exit, r.NeedsPerson)
	}
}

// A simulated bureau, or any, that cannot be used keeps its files; the other bureau gets its own.
func TestATroubledBureauStopsNoOther(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id\n1\n")
	if err := os.Remove(filepath.Join(b.Simulator("alpha"), "keys", "authorized_keys")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second night finds the file where the first left it
		if r := b.run(); r.Exit != 4 || len(r.NeedsPerson) == 0 {
			t.Errorf("exit %d, needs %v", r.Exit, r.NeedsPerson)
		}
	}
}

// Invariant 9: a copy of the ledger from before a transfer must not send the file again.
func TestALedgerFromBeforeATransferIsNoticed(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id\n1\n")
	copied := filepath.Join(t.TempDir(), "ledger.sqlite")
	b.run(func(n *Night) {
		n.Checkpoint = func(point string) {
			if point != "stage/send" {
				return
			}
			for _, suffix := range []string{"", "-wal"} {
				content, err := os.ReadFile(b.LedgerFile() + suffix)
				if err == nil {
					err = os.WriteFile(copied+suffix, content, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(b.LedgerFile() + suffix)
		if content, err := os.ReadFile(copied + suffix); err == nil {
			if err := os.WriteFile(b.LedgerFile()+suffix, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, err := Open(t.Context(), b.Dir, Options{Lock: true, Log: zerolog.Nop()})
	if err == nil || !strings.Contains(err.Error(), "begun/alpha") {
		t.Errorf("an older ledger was opened: %v", err)
	}
}

// The same reference with the same content is answered again; content is what the row means, not how it is spelt.
func TestAReferenceAnswersTheSameContentAgain(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id,user_id,reason_code,reference\n1,C1,damaged,R1\n")
	b.run()
	b.drop("b.csv", "card_id,user_id,reason_code,reference\n001,C1,1,R1\n1,C1,2,R1\n")
	b.run()
	b.want(b.codes("done", "b.csv"), "00", "reference_conflict")
}

// Nothing about a re-embossed card changes, whatever became of the product meanwhile: keys, orders, service code, start date.
func TestAReembossingRepeatsTheLastPlastic(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id\n1\n")
	b.run()
	text, err := os.ReadFile(b.Config())
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "service_code: \"201\"", "service_code: \"101\"", 1)
	changed = strings.Replace(changed, "validity_months: 36", "validity_months: 60", 1)
	if changed == string(text) {
		t.Fatal("the sample configuration has another service code")
	}
	if err := os.WriteFile(b.Config(), []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.AddDate(0, 0, 20)
	b.drop("b.csv", "card_id,reference\n1,again\n")
	b.run()
	n := b.open()
	files, err := n.Ledger.BureauFiles(t.Context(), ledger.FileQuery{})
	if err != nil || len(files) != 2 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	var records []string
	for _, f := range files {
		err := n.Ledger.EachFileOrder(t.Context(), f.ID, func(o *ledger.Order) error {
			records = append(records, strings.ReplaceAll(string(o.Record), o.UID, "UID"))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if records[0] != records[1] {
		t.Errorf("the records differ:\n%s\n%s", records[0], records[1])
	}
}

// A field that only the masked twin has refuses its row too, never the file.
func TestAFieldOfTheTwinRefusesItsRow(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	path := filepath.Join(b.InboxCards(), "cards.csv")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i, l := range lines {
		lines[i] = l + "," + []string{"account_number", strings.Repeat("A", 26), "A2"}[i]
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.drop("a.csv", "card_id\n1\n2\n")
	b.run()
	b.want(b.codes("done", "a.csv"), "embossing_line_invalid_format", "00")
}

// A range whose last numbers were taken by others is full, and a person is told.
func TestAFullRangeIsTold(t *testing.T) {
	b := newBench(t)
	text, err := os.ReadFile(b.Config())
	if err != nil {
		t.Fatal(err)
	}
	i := strings.Index(string(text), "visa-new:")
	from := strings.Index(string(text[i:]), "from:") + i
	to := strings.Index(string(text[i:]), "to:") + i
	end := func(at int) int { return at + strings.IndexAny(string(text[at:]), ",}\n#") }
	changed := string(text[:from]) + "from: 700 " + string(text[end(from):to]) + "to: 702 " + string(text[end(to):])
	if err := os.WriteFile(b.Config(), []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00", "3 C3 NORMAL 411111000000003 00", "4 C4 NORMAL 411111000000701 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,3\n2,C2,3\n3,C3,3\n")
	r := b.run()
	b.want(b.codes("done", "a.csv"), "00", "00", "pan_range_exhausted")
	if r.Exit != 4 || len(r.NeedsPerson) == 0 {
		t.Errorf("exit %d, needs %v", r.Exit, r.NeedsPerson)
	}
}

// An encrypted extract that was cut or changed on its way is refused whole, wherever the damage is; nothing of it enters the registry.
func TestADamagedEncryptedExtractIsRefused(t *testing.T) {
	b := newBench(t)
	sample := &Sample{Seed: 5, Cards: 3000, Now: b.now}
	var sealed bytes.Buffer
	n := b.open()
	w, err := bureau.Seal(&sealed, bureau.Sealing{To: []*bureau.Key{n.ownKey}, Signer: n.ownKey, FileName: "cards.csv", Time: b.now})
	if err == nil {
		err = sample.Extract(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = n.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(sealed.Bytes())
	flipped[len(flipped)*9/10] ^= 1
	for name, content := range map[string][]byte{"cut.pgp": sealed.Bytes()[:sealed.Len()/2], "flipped.pgp": flipped, "short.pgp": sealed.Bytes()[:sealed.Len()-30]} {
		if err := os.WriteFile(filepath.Join(b.InboxCards(), name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r := b.run(); r.Exit != 4 {
		t.Errorf("exit %d", r.Exit)
	}
	for _, name := range []string{"cut.pgp", "flipped.pgp", "short.pgp"} {
		b.want(b.codes("refused", name), "file_unreadable")
	}
	if cards, err := b.open().Ledger.CountCards(t.Context()); err != nil || cards != 0 {
		t.Errorf("%d cards came in, %v", cards, err)
	}
}

// A repetition that fails takes nothing back: the bureau had the file, and the next ones do not wait for it.
func TestAFailedRepetitionStaysSent(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	b.drop("a.csv", "card_id\n1\n")
	name := b.run().Files[0].Name
	if err := os.WriteFile(filepath.Join(b.Simulator("alpha"), "incoming", name), []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := b.open()
	if _, err := n.Resend(t.Context(), name, "  "); err == nil {
		t.Error("a repetition without a reason was taken")
	}
	f, err := n.Resend(t.Context(), name, "they lost it")
	var theirs *bureau.Error
	if !errors.As(err, &theirs) || f.State != ledger.Sent {
		t.Errorf("state %s, %v", f.State, err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	b.drop("b.csv", "card_id\n2\n")
	r := b.run()
	if r.Files[len(r.Files)-1].State != ledger.Sent {
		t.Errorf("the next file is %s", r.Files[len(r.Files)-1].State)
	}
}
