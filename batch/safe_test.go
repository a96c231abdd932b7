package batch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

// A note, a warning, a need, an entry of the audit log and what is kept of a file may quote anything: a number in them is masked.
func TestWhateverQuotesACardNumberIsKeptMasked(t *testing.T) {
	b, _ := oneCard(t)
	number := b.number(1)
	n := b.open()
	files, err := n.Ledger.RunFiles(t.Context(), lastRun(t, n).ID)
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	quoting := "a library says: invalid value " + number + "x, written " + number[:8] + "-" + number[8:]
	n.run = lastRun(t, n)
	n.note("%s", quoting)
	n.noteOnce("%s once", quoting)
	n.warn("%s", quoting)
	n.need(report.Need{What: quoting, Why: quoting, Command: quoting, Or: []string{quoting}})
	f := files[len(files)-1]
	f.Notes, f.Detail = []string{quoting}, quoting
	if err := n.keepFile(t.Context(), f, nil, n.audit("file.refused", quoting, quoting)); err != nil {
		t.Fatal(err)
	}
	if f.Notes[0] != quoting {
		t.Error("the caller's own note is changed")
	}
	if _, err := n.Report(t.Context(), n.run.ID); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	b.nowhere(number)
}

// What a former version kept in clear is shown by no report that is written again.
func TestAReportMasksWhatTheLedgerHasInClear(t *testing.T) {
	b, _ := oneCard(t)
	number := b.number(1)
	n := b.open()
	run := lastRun(t, n)
	files, err := n.Ledger.RunFiles(t.Context(), run.ID)
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	f := files[len(files)-1]
	f.Notes = []string{"it has no result workbook: invalid cell name " + number}
	if err := n.Ledger.UpdateFile(t.Context(), f, nil, nil); err != nil {
		t.Fatal(err)
	}
	r, err := n.Report(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(r.Notes, " "); strings.Contains(notes, number) || !strings.Contains(notes, number[:6]+"******"+number[12:]) {
		t.Errorf("the notes are %s", onlyLetters(notes))
	}
	for _, path := range glob(t, filepath.Join(n.Reports(run.ID), "reconciliation.*")) {
		content, err := os.ReadFile(path)
		if err != nil || strings.Contains(string(content), number) {
			t.Errorf("%s shows the card number: %v", filepath.Base(path), err)
		}
	}
}

func lastRun(t *testing.T, n *Night) ledger.Run {
	t.Helper()
	runs, err := n.Ledger.LastRuns(t.Context(), 1)
	if err != nil || len(runs) != 1 {
		t.Fatal(err)
	}
	return runs[0]
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %v", pattern, err)
	}
	return paths
}

// The original is sealed for a number that stands over several cells, so the result beside it hides it too.
func TestACardNumberOverCellsIsMaskedInTheResult(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00", "3 C3 NORMAL 411111000000003 00", "4 C4 NORMAL 411111000000004 00")
	number := b.number(2)
	four := strings.Join([]string{number[:4], number[4:8], number[8:12], number[12:]}, ",")
	two := number[:8] + "," + number[8:]
	b.drop("four.csv", "card_id,a,b,c,d\n1,"+four+"\n")
	b.drop("header.csv", "card_id,"+two+"\n2,x,y\n")
	b.drop("address.csv", "card_id,address_line1,address_line2,city,postcode,country\n3,"+two+",Berlin,10115,DE\n")
	book := excelize.NewFile()
	defer book.Close()
	for row, line := range []string{"card_id,a,b,c,d", "4," + four} {
		for column, cell := range strings.Split(line, ",") {
			at, _ := excelize.CoordinatesToCellName(column+1, row+1)
			if err := book.SetCellStr("Sheet1", at, cell); err != nil {
				t.Fatal(err)
			}
		}
	}
	content, err := book.WriteToBuffer()
	if err != nil {
		t.Fatal(err)
	}
	b.drop("book.xlsx", content.String())
	b.run()
	for name, want := range map[string]string{"four.csv": "00", "header.csv": "00", "address.csv": "row_malformed", "book.xlsx": "00"} {
		b.want(b.codes("done", name), want)
		glob(t, b.Path("done", "*", name+".pgp"))
	}
	if books, _ := filepath.Glob(b.Path("done", "*", "*.result.xlsx")); len(books) > 0 {
		t.Errorf("a result workbook shows the number: %q", books)
	}
	row := b.result("done", "four.csv")[0]
	if got := []string{row["a"], row["b"], row["c"], row["d"]}; !slices.Equal(got, []string{number[:4], number[4:6] + "**", "****", number[12:]}) {
		t.Errorf("the cells are %q", got)
	}
	b.nowhere(number)
}
