package batch

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

const returnsHeader = "record_type,file_name,sequence,uid,status,count,code,description,carrier,tracking_number,occurred_at\n"

// configure changes the configuration: each pair is a text that must be in it, and what takes its place.
func (b *bench) configure(pairs ...string) {
	b.Helper()
	text, err := os.ReadFile(b.Config())
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !bytes.Contains(text, []byte(pairs[i])) {
			b.Fatalf("config.yaml has no %q", pairs[i])
		}
		text = bytes.Replace(text, []byte(pairs[i]), []byte(pairs[i+1]), 1)
	}
	if err := os.WriteFile(b.Config(), text, 0o600); err != nil {
		b.Fatal(err)
	}
}

// silent makes the simulated bureaus answer nothing by themselves.
func (b *bench) silent() {
	b.Helper()
	b.configure("answers: true", "answers: false", "simulation: {seed: 2}", "simulation: {answers: false}")
}

// answer puts a return file into the simulated bureau alpha's folder: lines without the trailer, which is added.
func (b *bench) answer(name string, lines ...string) string {
	b.Helper()
	return b.answerOf("alpha", name, lines...)
}

// answerOf is answer of another bureau.
func (b *bench) answerOf(bureau, name string, lines ...string) string {
	b.Helper()
	content := returnsHeader + strings.Join(append(lines, ""), "\n") + fmt.Sprintf("TRAILER,,,,,%d,,,,,\n", len(lines))
	return b.answerRawOf(bureau, name, content)
}

func (b *bench) answerRaw(name, content string) string {
	b.Helper()
	return b.answerRawOf("alpha", name, content)
}

func (b *bench) answerRawOf(bureau, name, content string) string {
	b.Helper()
	dir := filepath.Join(b.Simulator(bureau), "returns")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		b.Fatal(err)
	}
	return content
}

// sentCard gives the order of a card, and its line in a return file.
func (b *bench) order(card int64) ledger.Shipment {
	b.Helper()
	n := b.open()
	defer n.Close()
	list, err := n.Ledger.CardShipments(b.Context(), card)
	if err != nil || len(list) == 0 {
		b.Fatalf("orders of card %d: %v %v", card, list, err)
	}
	return list[len(list)-1]
}

func (b *bench) event(s ledger.Shipment, status string, at time.Time) string {
	return fmt.Sprintf("CARD,%s,%d,%s,%s,,,,,,%s", s.FileName, s.Sequence, s.UID, status, at.UTC().Format(time.RFC3339))
}

func (b *bench) fileEvent(s ledger.Shipment, status string, count int64, at time.Time) string {
	return fmt.Sprintf("FILE,%s,%d,,%s,%d,,,,,%s", s.FileName, s.Sequence, status, count, at.UTC().Format(time.RFC3339))
}

// mustHold checks every balance of a night.
func (b *bench) mustHold(r *report.Reconciliation) {
	b.Helper()
	for _, eq := range r.Balances {
		if !eq.Holds {
			b.Errorf("%s: %s", eq.Name, eq)
		}
	}
}

func (b *bench) file(r *report.Reconciliation, name string) report.BureauFile {
	b.Helper()
	for _, f := range r.ListedFiles() {
		if f.Name == name {
			return f
		}
	}
	b.Fatalf("the report does not show %s", name)
	return report.BureauFile{}
}

func (b *bench) returnFiles(states ...ledger.ReturnState) []ledger.ReturnFile {
	b.Helper()
	n := b.open()
	defer n.Close()
	files, err := n.Ledger.ReturnFiles(b.Context(), ledger.ReturnQuery{States: states})
	if err != nil {
		b.Fatal(err)
	}
	return files
}

// oneCard is a workspace whose card 1 was sent to alpha a moment ago.
func oneCard(t *testing.T, configure ...string) (*bench, ledger.Shipment) {
	b := newBench(t)
	b.silent()
	b.configure(configure...)
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00", "3 C3 NORMAL 411111000000003 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n")
	if r := b.run(); r.Exit != 0 || r.Accepted != 1 {
		t.Fatalf("exit %d, accepted %d: %v", r.Exit, r.Accepted, r.NeedsPerson)
	}
	return b, b.order(1)
}

// The seeds' case: a card on its way is refused 412; the bureau's word that the mail came back opens it.
func TestACardInTransitIsRefusedUntilTheBureauTellsItsReturn(t *testing.T) {
	b, s := oneCard(t)
	b.now = b.now.Add(20 * time.Hour)
	b.drop("b.csv", "card_id,user_id,reason_code\n1,C1,2\n")
	b.run()
	b.want(b.codes("done", "b.csv"), "card_in_transit")
	result, err := filepath.Glob(b.Path("done", "*", "b.csv.result.csv"))
	if err != nil || len(result) != 1 {
		t.Fatal(result, err)
	}
	text, _ := os.ReadFile(result[0])
	if !strings.Contains(string(text), "412") || !strings.Contains(string(text), "Unable to reissue card as last reissued card is still in shipment") {
		t.Errorf("the answer is not the known one: %s", text)
	}
	b.answer("r1.csv", b.event(s, "RETURNED", b.now))
	b.now = b.now.Add(time.Hour)
	b.drop("c.csv", "card_id,user_id,reason_code\n1,C1,5\n")
	r := b.run()
	b.want(b.codes("done", "c.csv"), "00")
	b.mustHold(r.Reconciliation)
	if f := b.file(r.Reconciliation, s.FileName); f.Acknowledged != 1 || f.Outstanding != 0 {
		t.Errorf("%+v", f)
	}
}

// Every closing event of the bureau opens the card for its next request; a step on the way does not.
func TestWhatClosesAShipment(t *testing.T) {
	for status, want := range map[string]string{
		"ACKED": "card_in_transit", "PRODUCED": "card_in_transit", "SHIPPED": "card_in_transit",
		"REJECTED": "00", "DELIVERED": "00", "RETURNED": "00", "LOST": "00",
	} {
		t.Run(status, func(t *testing.T) {
			b, s := oneCard(t)
			b.answer("r.csv", b.event(s, status, b.now.Add(time.Minute)))
			b.now = b.now.Add(time.Hour)
			b.drop("b.csv", "card_id,user_id,reason_code\n1,C1,2\n")
			b.mustHold(b.run().Reconciliation)
			b.want(b.codes("done", "b.csv"), want)
		})
	}
}

func TestAnAcknowledgedFileIsAcknowledgedCardByCard(t *testing.T) {
	b, s := oneCard(t)
	b.answer("r.csv", b.fileEvent(s, "RECEIVED", 1, b.now))
	r := b.run()
	if f := b.file(r.Reconciliation, s.FileName); r.Exit != 0 || f.Sent != 1 || f.Acknowledged != 1 || f.Outstanding != 0 {
		t.Errorf("exit %d, %+v", r.Exit, f)
	}
	b.mustHold(r.Reconciliation)
	if s := b.order(1); s.State != ledger.Acked || len(s.Events) != 1 {
		t.Errorf("%s %+v", s.State, s.Events)
	}
}

// The same content under another name, the same lines in another file, the same file again: nothing is counted twice.
func TestAReturnFileReadTwiceCountsOnce(t *testing.T) {
	b, s := oneCard(t)
	content := b.answer("r.csv", b.event(s, "PRODUCED", b.now), b.event(s, "SHIPPED", b.now.Add(time.Minute)))
	b.run()
	b.answerRaw("copy.csv", content)
	b.answer("other.csv", b.event(s, "SHIPPED", b.now.Add(time.Minute)), b.event(s, "PRODUCED", b.now))
	r := b.run()
	b.mustHold(r.Reconciliation)
	if f := b.file(r.Reconciliation, s.FileName); r.Exit != 0 || f.Acknowledged != 1 {
		t.Errorf("exit %d, %+v", r.Exit, f)
	}
	if s := b.order(1); s.State != ledger.Shipped || len(s.Events) != 2 {
		t.Errorf("%s with %d events, want SHIPPED with 2", s.State, len(s.Events))
	}
	if repeated := b.returnFiles(ledger.ReturnRepeated); len(repeated) != 1 || repeated[0].Name != "copy.csv" {
		t.Errorf("repeated: %+v", repeated)
	}
	r = b.run() // the files lie there still: they are not even fetched
	if len(b.returnFiles()) != 3 || r.Exit != 0 {
		t.Errorf("%d return files, exit %d", len(b.returnFiles()), r.Exit)
	}
}

func TestAReturnFileWithoutItsTrailerIsLeft(t *testing.T) {
	b, s := oneCard(t)
	whole := b.answer("r.csv", b.event(s, "SHIPPED", b.now), b.event(s, "DELIVERED", b.now.Add(time.Minute)))
	for _, cut := range []int{0, 40, len(returnsHeader) + 30, strings.Index(whole, "TRAILER"), len(whole) - 12} {
		b.answerRaw("r.csv", whole[:cut])
		if r := b.run(); r.Exit != 0 || b.order(1).State != ledger.SentO {
			t.Fatalf("cut at %d: exit %d, order %s, %v", cut, r.Exit, b.order(1).State, r.NeedsPerson)
		}
	}
	if left, _ := os.ReadDir(b.HeldReturns()); len(left) > 0 {
		t.Errorf("state/returns still holds %v", left)
	}
	b.answerRaw("r.csv", whole)
	b.run()
	if s := b.order(1); s.State != ledger.Delivered {
		t.Errorf("the whole file left the order %s", s.State)
	}
	kept, err := os.ReadFile(b.Path("returns", "alpha", "r.csv"))
	if err != nil || string(kept) != whole {
		t.Errorf("what the bureau sent is not kept as it came: %v", err)
	}
}

func TestAFileThatContradictsItselfChangesNothing(t *testing.T) {
	for name, wrong := range map[string]func(b *bench, s ledger.Shipment) string{
		"contradicts": func(b *bench, s ledger.Shipment) string {
			return returnsHeader + b.event(s, "SHIPPED", b.now) + "\nTRAILER,,,,,2,,,,,\n"
		},
		"file_unknown": func(b *bench, s ledger.Shipment) string {
			s.FileName = "nobody_000001.xml.pgp"
			return returnsHeader + b.event(s, "SHIPPED", b.now) + "\nTRAILER,,,,,1,,,,,\n"
		},
		"unreadable": func(*bench, ledger.Shipment) string { return "what,is,this\n1,2,3\nTRAILER,,,,,1,,,,,\n" },
	} {
		t.Run(name, func(t *testing.T) {
			b, s := oneCard(t)
			content := b.answerRaw("r.csv", wrong(b, s))
			r := b.run()
			if r.Exit != 4 || len(r.NeedsPerson) != 1 || !strings.Contains(r.NeedsPerson[0].Command, "reemboss settle") {
				t.Errorf("exit %d, %+v", r.Exit, r.NeedsPerson)
			}
			if s := b.order(1); s.State != ledger.SentO || len(s.Events) > 0 {
				t.Errorf("the order is %s with %d events", s.State, len(s.Events))
			}
			kept, err := os.ReadFile(b.Path("returns", "alpha", "quarantine", "r.csv"))
			if err != nil || string(kept) != content {
				t.Errorf("the file is not kept as it came: %v", err)
			}
			if files := b.returnFiles(ledger.ReturnQuarantined); len(files) != 1 || files[0].Code != name {
				t.Errorf("%+v", files)
			}
			if r := b.run(); r.Exit != 4 {
				t.Errorf("the next night forgot it: exit %d", r.Exit)
			}
			n := b.open()
			if _, err := n.Settle(t.Context(), "r.csv", Dismiss, "not ours"); err != nil {
				t.Fatal(err)
			}
			n.Close()
			if r := b.run(); r.Exit != 0 {
				t.Errorf("dismissed, and still exit %d: %+v", r.Exit, r.NeedsPerson)
			}
		})
	}
}

// A file for beta in alpha's folder.
func TestAReturnFileForAnotherBureauIsQuarantined(t *testing.T) {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	b.configure("routing:\n", "routing:\n  - {program: \"100\", group: \"\", bureau: beta}\n")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n")
	b.run()
	s := b.order(1)
	if s.Bureau != "beta" {
		t.Fatalf("the card went to %s", s.Bureau)
	}
	b.answer("r.csv", b.event(s, "SHIPPED", b.now))
	if r := b.run(); r.Exit != 4 || b.order(1).State != ledger.SentO {
		t.Errorf("exit %d, order %s", r.Exit, b.order(1).State)
	}
	if files := b.returnFiles(ledger.ReturnQuarantined); len(files) != 1 || files[0].Code != "other_bureau" || !strings.Contains(files[0].Detail, "beta") {
		t.Errorf("%+v", files)
	}
}

// A bad line, an unknown uid and a card of another file are listed with their lines; the others go on.
func TestBadLinesAreListedAndTheOthersGoOn(t *testing.T) {
	b, s := oneCard(t)
	unknown, later := s, s
	unknown.UID = "ZZZZZZZZZZZZZZZZZZZZ"
	b.drop("b.csv", "card_id,user_id,reason_code\n2,C2,1\n")
	b.run()
	later.UID = b.order(2).UID
	b.answer("r.csv", "CARD,,,"+s.UID+",FLOWN,,,,,,2026-11-21T10:00:00Z", b.event(unknown, "SHIPPED", b.now), b.event(later, "SHIPPED", b.now), "CARD,,,"+s.UID+",SHIPPED,,,,,,yesterday",
		b.event(s, "SHIPPED", b.now))
	r := b.run()
	if r.Exit != 4 {
		t.Errorf("exit %d", r.Exit)
	}
	b.mustHold(r.Reconciliation)
	if s := b.order(1); s.State != ledger.Shipped {
		t.Errorf("the good line was not taken: %s", s.State)
	}
	if s := b.order(2); s.State != ledger.SentO {
		t.Errorf("a line with the wrong file was taken: %s", s.State)
	}
	text, err := os.ReadFile(filepath.Join(b.Reports(r.RunID), "returns.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprint(rows)
	for _, want := range []string{"line_malformed", "uid_unknown", "uid_elsewhere"} {
		if !strings.Contains(all, want) {
			t.Errorf("returns.csv names no %s: %s", want, all)
		}
	}
	if r := b.run(); r.Exit != 0 {
		t.Errorf("lines of a night that is over still need a person: %+v", r.NeedsPerson)
	}
}

func TestCRLFAndWindows1252(t *testing.T) {
	b, s := oneCard(t)
	line := strings.Replace(b.event(s, "REJECTED", b.now), "REJECTED,,,,", "REJECTED,,012,Plastik für Köln fehlt,", 1)
	content := strings.ReplaceAll(returnsHeader+line+"\nTRAILER,,,,,1,,,,,\n", "\n", "\r\n")
	content = strings.NewReplacer("ü", "\xfc", "ö", "\xf6").Replace(content)
	b.answerRaw("r.csv", content)
	r := b.run()
	b.mustHold(r.Reconciliation)
	s = b.order(1)
	if f := b.file(r.Reconciliation, s.FileName); s.State != ledger.Rejected || f.Rejected != 1 || s.Events[0].Description != "Plastik für Köln fehlt" || s.Events[0].Code != "012" {
		t.Errorf("%s %+v %+v", s.State, f, s.Events)
	}
	kept, _ := os.ReadFile(b.Path("returns", "alpha", "r.csv"))
	if string(kept) != content {
		t.Error("the file was not kept byte for byte")
	}
}

// What contradicts stays a person's: nothing is overwritten, and both words of the person are recorded.
func TestContradictoryEventsWaitForAPerson(t *testing.T) {
	for _, word := range []Settlement{Keep, Take} {
		t.Run(string(word), func(t *testing.T) {
			b, s := oneCard(t)
			b.answer("r.csv", b.event(s, "DELIVERED", b.now.Add(time.Minute)), b.event(s, "REJECTED", b.now.Add(2*time.Minute)))
			b.now = b.now.Add(time.Hour)
			r := b.run()
			b.mustHold(r.Reconciliation)
			s = b.order(1)
			if r.Exit != 4 || s.State != ledger.Delivered || len(s.Events) != 2 || s.Events[1].Dispute == "" {
				t.Fatalf("exit %d, %s, %+v", r.Exit, s.State, s.Events)
			}
			if r := b.run(); r.Exit != 4 {
				t.Errorf("the next night forgot it")
			}
			n := b.open()
			if _, err := n.Settle(t.Context(), fmt.Sprint(s.Events[1].ID), word, "telephone"); err != nil {
				t.Fatal(err)
			}
			if _, err := n.Settle(t.Context(), fmt.Sprint(s.Events[1].ID), word, "telephone"); err == nil {
				t.Error("it was settled twice")
			}
			n.Close()
			r = b.run()
			b.mustHold(r.Reconciliation)
			want := ledger.Delivered
			if word == Take {
				want = ledger.Rejected
			}
			if s := b.order(1); s.State != want || r.Exit != 0 {
				t.Errorf("%s, exit %d: %+v", s.State, r.Exit, r.NeedsPerson)
			}
		})
	}
}

// 100,000 lines, most of them said twice, shuffled over several chunks.
func TestAHundredThousandReturnLines(t *testing.T) {
	b := newBench(t)
	b.silent()
	var cards []string
	var requests strings.Builder
	requests.WriteString("card_id\n")
	for i := 1; i <= 2000; i++ {
		cards = append(cards, fmt.Sprintf("%d C%d NORMAL 4111110%08d 00", i, i, i))
		fmt.Fprintln(&requests, i)
	}
	b.cards(cards...)
	b.drop("a.csv", requests.String())
	b.run()
	n := b.open()
	var uids []string
	files, err := n.Ledger.BureauFiles(t.Context(), ledger.FileQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var file ledger.BureauFile
	for _, f := range files {
		if f.Recipient == "alpha" {
			file = f
		}
	}
	if err := n.Ledger.EachFileOrder(t.Context(), file.ID, func(o *ledger.Order) error { uids = append(uids, o.UID); return nil }); err != nil {
		t.Fatal(err)
	}
	n.Close()
	steps := []string{"ACKED", "PRODUCED", "SHIPPED", "DELIVERED"}
	var lines []string
	for i := range 100_000 {
		step := steps[(i*7)%4]
		lines = append(lines, fmt.Sprintf("CARD,%s,%d,%s,%s,,,,,,%s", file.Name, file.Sequence, uids[(i*13)%len(uids)], step, b.now.Add(time.Duration((i*7)%4)*time.Minute).UTC().Format(time.RFC3339)))
	}
	b.answer("r.csv", lines...)
	b.now = b.now.Add(time.Hour)
	r := b.run()
	b.mustHold(r.Reconciliation)
	if f := b.file(r.Reconciliation, file.Name); f.Acknowledged != 2000 || f.Outstanding != 0 || r.Exit != 0 {
		t.Errorf("exit %d, %+v %+v", r.Exit, f, r.NeedsPerson)
	}
	if got := b.returnFiles(); len(got) != 1 || got[0].Lines != 100_000 || got[0].Applied+got[0].Known != 100_000 {
		t.Errorf("%+v", got)
	}
}

// killed ends a night at the given visit of a point, as kill -9 would for the ledger and the disk.
type killed struct{ point string }

func (b *bench) runKilledAt(point string, visit int) (died bool) {
	n := b.open()
	defer n.Close()
	defer func() {
		if r := recover(); r != nil {
			if _, ours := r.(killed); !ours {
				panic(r)
			}
			died = true
		}
	}()
	n.chunk, n.piece = 2, 3
	n.Checkpoint = func(p string) {
		if p == point {
			if visit--; visit < 0 {
				panic(killed{p})
			}
		}
	}
	if _, err := n.Run(context.WithoutCancel(b.Context())); err != nil {
		b.Fatal(err)
	}
	return false
}

// Collect dies at each of its points and begins again: nothing is lost, nothing counted twice.
func TestCollectKilledAtEachPoint(t *testing.T) {
	for _, point := range []string{"collect/fetched", "collect/held", "collect/chunk", "collect/answer", "collect/placed", "collect/done", "collect/settled"} {
		for visit := range 2 {
			t.Run(fmt.Sprintf("%s %d", point, visit), func(t *testing.T) {
				b, s := oneCard(t, "after: leave", "after: remove")
				b.answer("a.csv", b.fileEvent(s, "RECEIVED", 1, b.now), b.event(s, "PRODUCED", b.now.Add(time.Minute)), b.event(s, "SHIPPED", b.now.Add(2*time.Minute)),
					b.event(s, "PRODUCED", b.now.Add(time.Minute)), b.event(s, "DELIVERED", b.now.Add(3*time.Minute)))
				b.answer("b.csv", b.event(s, "LOST", b.now.Add(4*time.Minute)), "CARD,bad", b.fileEvent(s, "RECEIVED", 1, b.now))
				b.now = b.now.Add(time.Hour)
				died := b.runKilledAt(point, visit)
				if !died && visit == 0 {
					t.Fatal("the point was never passed")
				}
				r := b.run()
				b.mustHold(r.Reconciliation)
				s = b.order(1)
				if s.State != ledger.Delivered || len(s.Events) != 5 { // the file's, three of the card, the disputed one
					t.Errorf("%s with %d events: %+v", s.State, len(s.Events), s.Events)
				}
				files := b.returnFiles()
				if len(files) != 2 || files[0].State != ledger.ReturnApplied || files[1].State != ledger.ReturnApplied || !files[0].Settled {
					t.Errorf("%+v", files)
				}
				if left, _ := os.ReadDir(b.HeldReturns()); len(left) > 0 {
					t.Errorf("state/returns still holds %v", left)
				}
				if left, _ := filepath.Glob(filepath.Join(b.Simulator("alpha"), "returns", "*.csv")); len(left) > 0 {
					t.Errorf("the bureau still has %v", left)
				}
			})
		}
	}
}

// Who asks a night to stop while a simulated bureau is about to answer is not told to mend that bureau.
func TestAStopBesideASimulatedBureauIsAStop(t *testing.T) {
	b := newBench(t)
	n := b.open()
	defer n.Close()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, _, err := n.returnsFolder(ctx, "alpha"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
