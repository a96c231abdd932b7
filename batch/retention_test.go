package batch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

// keep configures for how many days things are kept.
func (b *bench) keep(sealed, results, returns, reports int) {
	b.Helper()
	b.rewrite(`(?m)^  sealed_files: \d+`, fmt.Sprintf("  sealed_files: %d", sealed))
	b.rewrite(`(?m)^  results: \d+`, fmt.Sprintf("  results: %d", results))
	b.rewrite(`(?m)^  returns: \d+`, fmt.Sprintf("  returns: %d", returns))
	b.rewrite(`(?m)^  reports: \d+`, fmt.Sprintf("  reports: %d", reports))
}

// lies are the files below folders of the workspace, relative to it.
func (b *bench) lies(patterns ...string) (list []string) {
	b.Helper()
	for _, pattern := range patterns {
		found, err := filepath.Glob(b.Path(pattern))
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range found {
			if info, err := os.Lstat(p); err == nil && !info.IsDir() {
				list = append(list, b.Relative(p))
			}
		}
	}
	return list
}

// deletions are the subjects of the audit entries of that word.
func (b *bench) deletions(what string) (subjects []string) {
	b.Helper()
	n := b.open()
	defer n.Close()
	err := n.Ledger.EachAudit(b.Context(), func(e ledger.AuditEntry) error {
		if e.What == what {
			subjects = append(subjects, e.Subject)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return subjects
}

// nightOf is a workspace whose first run, at its start, sent a card that keeps its number and one with a new number to
// alpha, and whose second, a day later, heard that both arrived.
func nightOf(t *testing.T) (b *bench, start time.Time) {
	b = newBench(t)
	b.silent()
	b.now = b.now.Truncate(time.Second)
	start = b.now
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00", "3 C3 NORMAL 411111000000003 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n2,C2,3\n")
	if r := b.run(); r.Exit != 0 {
		t.Fatalf("exit %d: %+v", r.Exit, r.NeedsPerson)
	}
	b.now = start.AddDate(0, 0, 1)
	first, second := b.order(1), b.order(2)
	b.answer("r.csv", b.fileEvent(first, "RECEIVED", 2, start.Add(time.Hour)), b.event(first, "DELIVERED", start.Add(2*time.Hour)), b.event(second, "DELIVERED", start.Add(2*time.Hour)))
	if r := b.run(); r.Exit != 0 {
		t.Fatalf("exit %d: %+v", r.Exit, r.NeedsPerson)
	}
	return b, start
}

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

// Each kind of file stays until the moment at which its days are over, and goes then, announced in the audit chain.
func TestFilesAreDeletedWhenTheirDaysAreOver(t *testing.T) {
	b, start := nightOf(t)
	b.keep(20, 30, 40, 50)
	first := b.order(1).RunID
	sealed, results, returns, reports := b.lies("outbox/*/*"), b.lies("done/*/*"), b.lies("returns/*/*"), b.lies("reports/"+first+"/*")
	if len(sealed) != 2 || len(results) != 3 || len(returns) != 1 || len(reports) < 10 {
		t.Fatalf("%v\n%v\n%v\n%v", sealed, results, returns, reports)
	}
	patterns := []string{"outbox/*/*", "done/*/*", "returns/*/*", "reports/" + first + "/*"}
	left := slices.Concat(sealed, results, returns, reports)
	var deleted []string
	for _, step := range []struct {
		after time.Duration
		goes  []string
		told  string
	}{
		{days(20), sealed, "2 sealed files"},
		{days(30), results, "2 request files with their results"},
		{days(41), returns, "1 return file"},
		{days(50), reports, "1 run's reports"},
	} {
		for _, at := range []time.Duration{step.after - time.Millisecond, step.after} {
			b.now = start.Add(at)
			r := b.run()
			b.mustHold(r.Reconciliation)
			goes := at == step.after
			if told := slices.ContainsFunc(r.Notes, func(s string) bool { return strings.Contains(s, step.told) }); r.Exit != 0 || told != goes {
				t.Errorf("after %v: exit %d, notes %v, needs %+v", at, r.Exit, r.Notes, r.NeedsPerson)
			}
			if goes {
				deleted = append(deleted, step.goes...)
				left = slices.DeleteFunc(left, func(p string) bool { return slices.Contains(step.goes, p) })
			}
			if now := b.lies(patterns...); !slices.Equal(now, left) {
				t.Errorf("after %v there are %v\nwant %v", at, now, left)
			}
		}
	}
	if announced := b.deletions("retention.deleting"); !slices.Equal(sortedTexts(announced[:len(deleted)]), sortedTexts(deleted)) {
		t.Errorf("announced %v\ndeleted %v", announced, deleted)
	}
	for _, folder := range []string{"done/" + start.In(time.UTC).Format(time.DateOnly), "reports/" + first} {
		if _, err := os.Lstat(b.Path(folder)); !os.IsNotExist(err) {
			t.Errorf("the empty folder %s is still there", folder)
		}
	}
	if _, err := b.verify(); err != nil {
		t.Error(err)
	}
	n := b.open()
	defer n.Close()
	if _, err := n.Resend(t.Context(), filepath.Base(sealed[0]), "they lost it"); err == nil || !strings.Contains(err.Error(), "deleted by retention on ") {
		t.Errorf("sent again: %v", err)
	}
	if _, err := n.Report(t.Context(), first); err != nil {
		t.Errorf("the report of that run: %v", err)
	}
	if s := b.Path("state", "audit", first+".json"); !fileThere(s) {
		t.Error("a signed head of the audit chain is gone")
	}
}

func sortedTexts(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

func fileThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Without retention, and with a clock that went back, nothing goes.
func TestNothingIsDeletedWithoutRetentionOrBeforeItsTime(t *testing.T) {
	b, start := nightOf(t)
	before := b.lies("outbox/*/*", "done/*/*", "returns/*/*")
	b.now = start.AddDate(2, 0, 0)
	n := b.open()
	n.run = ledger.Run{ID: "now"}
	if k, err := n.retain(t.Context()); err != nil || k != 0 {
		t.Errorf("%d deleted, %v", k, err)
	}
	n.Close()
	b.keep(14, 1, 1, 1)
	b.now = start // all that was done then is yet to come, or has just been
	n = b.open()
	n.run = ledger.Run{ID: "now"}
	if k, err := n.retain(t.Context()); err != nil || k != 0 {
		t.Errorf("%d deleted, %v", k, err)
	}
	if now := b.lies("outbox/*/*", "done/*/*", "returns/*/*"); !slices.Equal(now, before) {
		t.Errorf("%v", now)
	}
}

// The promise: nothing goes that was not delivered and settled, however old it is.
func TestWhatIsNotSettledIsKept(t *testing.T) {
	b, start := nightOf(t)
	b.keep(14, 1, 1, 1)
	file := b.outgoing("alpha")[0]
	const told = "acknowledges: true\n    sla: {acknowledge: 1, ship: 5, close: 30}"
	for _, c := range []struct {
		name    string
		file    ledger.BureauFileState
		order   ledger.OrderState // of card 1; the other was delivered
		bureau  string            // what alpha promises
		after   int               // days
		settled bool
	}{
		{"delivered", ledger.Sent, ledger.Delivered, told, 1000, true},
		{"rejected", ledger.Sent, ledger.Rejected, told, 1000, true},
		{"returned", ledger.Sent, ledger.Returned, told, 1000, true},
		{"lost", ledger.Sent, ledger.Lost, told, 1000, true},
		{"activated", ledger.Sent, ledger.Activated, told, 1000, true},
		{"cancelled, what is left of it at its end", ledger.Void, ledger.Rejected, told, 1000, true},
		{"planned", ledger.Planned, ledger.Delivered, told, 1000, false},
		{"held", "HELD", ledger.Delivered, told, 1000, false},
		{"written", ledger.Written, ledger.Delivered, told, 1000, false},
		{"intent", ledger.Intent, ledger.Delivered, told, 1000, false},
		{"uploaded", ledger.Uploaded, ledger.Delivered, told, 1000, false},
		{"renaming", ledger.Renaming, ledger.Delivered, told, 1000, false},
		{"undecided", ledger.Undecided, ledger.Delivered, told, 1000, false},
		{"refused", ledger.Refused, ledger.Delivered, told, 1000, false},
		{"outstanding", ledger.Sent, ledger.SentO, told, 1000, false},
		{"acknowledged", ledger.Sent, ledger.Acked, told, 1000, false},
		{"produced", ledger.Sent, ledger.Produced, told, 1000, false},
		{"shipped", ledger.Sent, ledger.Shipped, told, 1000, false},
		{"planned in a sent file", ledger.Sent, ledger.PlannedO, told, 1000, false},
		{"a state that nobody knows", ledger.Sent, "EATEN", told, 1000, false},
		{"outstanding at a bureau that tells nothing, on its way", ledger.Sent, ledger.SentO, "acknowledges: false", 13, false},
		{"outstanding at a bureau that tells nothing, long ago", ledger.Sent, ledger.SentO, "acknowledges: false", 14, true},
		{"shipped, and no more is promised, on its way", ledger.Sent, ledger.Shipped, "acknowledges: true\n    sla: {acknowledge: 1, ship: 5}", 13, false},
		{"shipped, and no more is promised, long ago", ledger.Sent, ledger.Shipped, "acknowledges: true\n    sla: {acknowledge: 1, ship: 5}", 14, true},
		{"acknowledged, and its shipping is promised", ledger.Sent, ledger.Acked, "acknowledges: true\n    sla: {acknowledge: 1, ship: 5}", 1000, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{TB: t, Workspace: b.Workspace, now: start.Add(days(c.after))}
			b.ledgerSQL("UPDATE bureau_files SET state = ? WHERE id = ?", string(c.file), file.ID)
			b.ledgerSQL("UPDATE orders SET state = ? WHERE bureau_file_id = ? AND kind = 'reissue' AND card_id = 1", string(c.order), file.ID)
			n := b.open()
			defer n.Close()
			alpha := n.Config.Bureaus["alpha"]
			alpha.Acknowledges = strings.Contains(c.bureau, "acknowledges: true")
			alpha.SLA.Acknowledge, alpha.SLA.Ship, alpha.SLA.Close = 0, 0, 0
			if strings.Contains(c.bureau, "ship: 5") {
				alpha.SLA.Acknowledge, alpha.SLA.Ship = 1, 5
			}
			if strings.Contains(c.bureau, "close: 30") {
				alpha.SLA.Close = 30
			}
			n.Config.Bureaus["alpha"] = alpha
			books, err := n.settledBooks(t.Context(), n.Now())
			if err != nil {
				t.Fatal(err)
			}
			if settled, err := books.file(t.Context(), file.ID); err != nil || settled != c.settled {
				t.Errorf("the file is settled: %v, %v", settled, err)
			}
			if c.settled {
				return
			}
			n.run = ledger.Run{ID: "now"}
			if _, err := n.retain(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, p := range []string{"outbox/alpha/" + file.Name, "reports/" + file.RunID + "/manifest.json"} {
				if !fileThere(b.Path(p)) {
					t.Errorf("%s was deleted", p)
				}
			}
			if kept := b.lies("done/*/a.csv", "done/*/a.csv.result.csv"); len(kept) != 2 {
				t.Errorf("of the request file there are %v", kept)
			}
		})
	}
}

// A bureau that nobody configured any more may still owe word; what is disputed waits for a person.
func TestAnUnknownBureauAndADisputeKeepAFile(t *testing.T) {
	b, start := nightOf(t)
	b.now = start.AddDate(0, 0, 2)
	b.answer("late.csv", b.event(b.order(1), "LOST", start.Add(20*time.Hour)))
	if r := b.run(); r.Exit != 4 {
		t.Fatalf("exit %d", r.Exit)
	}
	b.keep(14, 1, 1, 1)
	b.now = start.AddDate(2, 0, 0)
	patterns := []string{"outbox/alpha/*", "done/*/a.csv*", "returns/alpha/late.csv", "reports/" + b.order(1).RunID + "/*"}
	kept := b.lies(patterns...)
	if r := b.run(); !slices.Equal(b.lies(patterns...), kept) || r.Exit != 4 {
		t.Errorf("with a dispute, exit %d, there are %v", r.Exit, b.lies(patterns...))
	}
	if err := b.settle("late.csv", Keep); err != nil {
		t.Fatal(err)
	}
	b.ledgerSQL("UPDATE orders SET state = 'SHIPPED' WHERE card_id = 1")
	n := b.open()
	books, err := n.settledBooks(t.Context(), b.now)
	if err != nil {
		t.Fatal(err)
	}
	delete(n.Config.Bureaus, "alpha")
	if settled, err := books.file(t.Context(), b.fileID(n, "alpha")); err != nil || settled {
		t.Errorf("a card that is shipped by a bureau unknown is settled: %v %v", settled, err)
	}
	n.Close()
	b.ledgerSQL("UPDATE orders SET state = 'DELIVERED' WHERE card_id = 1")
	b.run()
	if left := b.lies(patterns...); len(left) > 0 {
		t.Errorf("settled, there are still %v", left)
	}
}

func (b *bench) fileID(n *Night, recipient string) int64 {
	b.Helper()
	files, err := n.Ledger.BureauFiles(b.Context(), ledger.FileQuery{})
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range files {
		if f.Recipient == recipient {
			return f.ID
		}
	}
	b.Fatalf("no file of %s", recipient)
	return 0
}

// A request file stays with its result while one of its cards is in no file yet; the sealed file of the others may go.
func TestAResultWaitsForItsLastCard(t *testing.T) {
	b := newBench(t)
	b.silent()
	start := b.now
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.gold(3)
	b.configure("  beta:\n", "  beta:\n    hold: true\n")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n3,C3,1\n")
	b.run()
	s := b.order(1)
	b.answer("r.csv", b.fileEvent(s, "RECEIVED", 1, start), b.event(s, "DELIVERED", start.Add(time.Minute)))
	b.keep(14, 1, 0, 1)
	b.now = start.AddDate(1, 0, 0)
	b.run()
	b.now = start.AddDate(1, 0, 2)
	b.run()
	if len(b.lies("outbox/alpha/*")) != 0 || len(b.lies("done/*/a.csv", "done/*/a.csv.result.csv")) != 2 || !fileThere(filepath.Join(b.Reports(s.RunID), "manifest.json")) {
		t.Errorf("outbox %v, done %v", b.lies("outbox/alpha/*"), b.lies("done/*/*"))
	}
}

// A quarantined return file stays until a person dismisses it; one with a line that could not be used, while that line
// may be the missing word of a card.
func TestReturnFilesThatAreNotSettledAreKept(t *testing.T) {
	b := newBench(t)
	b.silent()
	b.keep(0, 0, 5, 0)
	start := b.now
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n")
	b.run()
	s := b.order(1)
	b.now = start.Add(time.Hour)
	b.answer("bad.csv", b.fileEvent(s, "RECEIVED", 1, start), "CARD,no")
	b.answerRaw("cut.csv", returnsHeader+"TRAILER,,,,,7,,,,,\n")
	b.run()
	for _, day := range []int{10, 20} {
		b.now = start.AddDate(0, 0, day)
		b.run()
		if left := b.lies("returns/alpha/*.csv", "returns/alpha/quarantine/*"); len(left) != 3 {
			t.Errorf("day %d: %v", day, left)
		}
	}
	if err := b.settle("cut.csv", Dismiss); err != nil {
		t.Fatal(err)
	}
	b.answer("end.csv", b.event(s, "DELIVERED", start.Add(time.Minute)))
	b.now = start.AddDate(0, 0, 21)
	b.run()
	if left := b.lies("returns/alpha/*.csv", "returns/alpha/quarantine/*"); fmt.Sprint(left) != "[returns/alpha/end.csv]" {
		t.Errorf("settled, there are %v", left)
	}
}

// A run that dies at any step of a deletion is continued; all of it is deleted and marked, and the chain holds.
func TestRetentionKilledAtEachPoint(t *testing.T) {
	for point, visits := range map[string][]int{"stage/retain": {0}, "retention/announcing": {0}, "retention/announced": {1}, "retention/removing": {0, 4, 20}, "retention/emptied": {0, 1},
		"retention/removed": {1}, "retention/marked": {0, 3}} {
		for _, visit := range visits {
			t.Run(fmt.Sprintf("%s %d", point, visit), func(t *testing.T) {
				b, start := nightOf(t)
				b.keep(14, 1, 1, 1)
				b.now = start.AddDate(1, 0, 0)
				if !b.runKilledAt(point, visit) {
					t.Fatal("the point was never passed")
				}
				r := b.run()
				b.mustHold(r.Reconciliation)
				if left := b.lies("outbox/*/*", "done/*/*", "returns/*/*"); len(left) > 0 || r.Exit != 0 {
					t.Errorf("exit %d, there are %v", r.Exit, left)
				}
				if runs, _ := os.ReadDir(b.Path("reports")); len(runs) != 1 || runs[0].Name() != r.RunID {
					t.Errorf("reports of %v", runs)
				}
				if _, err := b.verify(); err != nil {
					t.Error(err)
				}
				before := len(b.deletions("retention.deleting")) + len(b.deletions("retention.gone"))
				b.run()
				if after := len(b.deletions("retention.deleting")) + len(b.deletions("retention.gone")); after-before > 10 { // the reports of one run, and nothing a second time
					t.Errorf("%d entries more", after-before)
				}
			})
		}
	}
}

// A link in the place of one of our files is not followed, removed or marked; a person is told.
func TestALinkIsNotFollowed(t *testing.T) {
	for _, whole := range []bool{false, true} {
		b, start := nightOf(t)
		b.keep(14, 0, 0, 0)
		precious := filepath.Join(t.TempDir(), "precious")
		if err := os.Mkdir(precious, 0o700); err != nil {
			t.Fatal(err)
		}
		name := b.outgoing("alpha")[0].Name
		target := filepath.Join(precious, name)
		if err := os.WriteFile(target, []byte("another's"), 0o600); err != nil {
			t.Fatal(err)
		}
		link, to := filepath.Join(b.Outbox("alpha"), name), target
		if whole {
			link, to = b.Outbox("alpha"), precious
		}
		if err := os.RemoveAll(link); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
		b.now = start.AddDate(1, 0, 0)
		for range 2 {
			r := b.run()
			if needs := b.needs(r.Reconciliation, b.Relative(link)); r.Exit != 4 || len(needs) != 1 || !strings.Contains(needs[0].Why, "is a link") {
				t.Errorf("exit %d, %+v", r.Exit, r.NeedsPerson)
			}
			if !fileThere(target) || !fileThere(link) {
				t.Error("the link or what it shows is gone")
			}
			if len(b.lies("outbox/card-system/*")) > 0 {
				t.Error("the other files were not deleted")
			}
		}
	}
}

// Whatever stands in the ledger, nothing but our files in our folders can be deleted.
func TestNoPathLeadsElsewhere(t *testing.T) {
	b, start := nightOf(t)
	b.keep(0, 1, 0, 0)
	outside := filepath.Join(filepath.Dir(b.Dir), "outside")
	if err := os.WriteFile(outside, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.now = start.AddDate(1, 0, 0)
	for _, place := range []string{"../outside", outside, "done/../../outside", "keys/kek", "done/../keys/kek", "state/ledger.sqlite", "config.yaml", "inbox/x", "done", "done//x", "."} {
		b.ledgerSQL("UPDATE request_files SET final = ? WHERE name = 'a.csv'", place)
		n := b.open()
		n.run = ledger.Run{ID: "now"}
		if _, err := n.retain(t.Context()); err != nil {
			t.Errorf("%s: %v", place, err)
		}
		if len(n.needs) != 1 {
			t.Errorf("%s: %+v", place, n.needs)
		}
		n.Close()
		for _, p := range []string{outside, b.Path("keys", "kek"), b.LedgerFile(), b.Config(), b.Path("done")} {
			if !fileThere(p) {
				t.Fatalf("%s: %s is gone", place, p)
			}
		}
	}
}

// What somebody put beside our files stays, and so does the folder; nobody is told of it every night.
func TestWhatTheLedgerDoesNotKnowIsLeftAlone(t *testing.T) {
	b, start := nightOf(t)
	b.keep(14, 1, 1, 1)
	first := b.order(1).RunID
	date := filepath.Base(filepath.Dir(b.lies("done/*/a.csv")[0]))
	foreign := []string{"done/" + date + "/notes.txt", "outbox/alpha/notes.txt", "returns/alpha/notes.txt", "reports/" + first + "/notes.txt", "reports/elsewhere.txt"}
	for _, p := range foreign {
		if err := os.WriteFile(b.Path(p), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.now = start.AddDate(1, 0, 0)
	noted := func(r *report.Reconciliation) bool {
		return slices.ContainsFunc(r.Notes, func(s string) bool { return strings.Contains(s, "keeps 1 files") })
	}
	if r := b.run(); r.Exit != 0 || !noted(r.Reconciliation) {
		t.Errorf("exit %d, notes %v", r.Exit, r.Notes)
	}
	if r := b.run(); r.Exit != 0 || noted(r.Reconciliation) {
		t.Errorf("again: exit %d, notes %v", r.Exit, r.Notes)
	}
	if left := b.lies("done/*/*", "outbox/*/*", "returns/*/*", "reports/"+first+"/*", "reports/*.txt"); !slices.Equal(left, foreign) {
		t.Errorf("there are %v", left)
	}
}

// A sender's file may be called like the result of another: it is its own, and goes when its own days are over.
func TestAFileCalledLikeAResultIsNotDeletedWithIt(t *testing.T) {
	start := monday() // an hour later is the same day
	b := newBenchAt(t, start)
	b.keep(0, 1, 0, 0)
	b.drop("o.csv", "nothing that can be read")
	b.run()
	b.now = start.Add(time.Hour)
	b.drop("o.csv.result.xlsx", "no workbook")
	b.run()
	if both := b.lies("refused/*/o.csv", "refused/*/o.csv.result.xlsx"); len(both) != 2 {
		t.Fatalf("%v", b.lies("refused/*/*"))
	}
	b.now = start.Add(days(1))
	b.run()
	if left := b.lies("refused/*/o.csv", "refused/*/o.csv.result.xlsx"); len(left) != 1 || !strings.HasSuffix(left[0], ".xlsx") {
		t.Errorf("%v", left)
	}
}
