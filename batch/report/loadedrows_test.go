package report

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// chosenHeights are the heights of the rows whose height is not automatic.
func chosenHeights(t *testing.T, f *excelize.File, sheet string, rows int) map[int]float64 {
	t.Helper()
	known := map[any]bool{}
	f.Sheet.Range(func(path, _ any) bool { known[path] = true; return true })
	if _, err := f.GetMergeCells(sheet); err != nil { // loads it
		t.Fatal(err)
	}
	loaded := newlyLoaded(f, known)
	if !loaded.rows.IsValid() {
		t.Fatalf("the rows of sheet %q are not where this version of the library had them", sheet)
	}
	heights := map[int]float64{}
	for i := range min(rows, loaded.rows.Len()) {
		if row := loaded.rows.Index(i); row.FieldByName("CustomHeight").Bool() {
			heights[i+1], _ = f.GetRowHeight(sheet, i+1)
		}
	}
	return heights
}

// longNight answers two rows with a message of about 300 characters and one with a short one.
func longNight(in ResultInput) ResultInput {
	var list []*ledger.Told
	for i, message := range []string{strings.Repeat("the reason ", 27), strings.Repeat("the reason ", 27), "accepted"} {
		list = append(list, &ledger.Told{Answer: ledger.Answer{
			Pos: i + 1, Sheet: "Sheet1", Line: i + 2, Outcome: rules.Refused, Class: 400, Code: "reason_code_invalid", Message: message,
		}})
	}
	in.Told = eachTold(list)
	return in
}

func TestLongMessagesGetLinesWhereTheRowIsFree(t *testing.T) {
	content := simpleBook(t, func(f *excelize.File) {
		_ = f.SetSheetRow("Sheet1", "A3", &[]string{"1002", "a height that the sender chose"})
		_ = f.SetSheetRow("Sheet1", "A4", &[]string{"1003", ""})
		_ = f.SetRowHeight("Sheet1", 3, 18)
	})
	f := simple
	f.rows = 3
	res, err := WriteResult(context.Background(), longNight(f.input(t, content)))
	if err != nil || res.Withheld != "" {
		t.Fatal(err, res)
	}
	content, err = os.ReadFile(res.Workbook)
	if err != nil {
		t.Fatal(err)
	}
	keep(t, "long.xlsx", content)
	after, err := excelize.OpenFile(res.Workbook)
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	if d := cmp.Diff(map[int]float64{3: 18}, chosenHeights(t, after, "Sheet1", 4)); d != "" {
		t.Errorf("heights that are not automatic (-want +got):\n%s", d)
	}
	for row, want := range map[int]struct {
		wraps   bool
		atLeast float64
		atMost  float64
	}{2: {true, 45, 80}, 3: {false, 18, 18}, 4: {false, 15, 15}} {
		cell, _ := excelize.CoordinatesToCellName(3+columnMessage, row)
		id, _ := after.GetCellStyle("Sheet1", cell)
		style, err := after.GetStyle(id)
		if err != nil {
			t.Fatal(err)
		}
		if style.Alignment.WrapText != want.wraps {
			t.Errorf("row %d: the message wraps: %v, want %v", row, style.Alignment.WrapText, want.wraps)
		}
		if h, _ := after.GetRowHeight("Sheet1", row); h < want.atLeast || h > want.atMost {
			t.Errorf("row %d is %v points high, want %v to %v", row, h, want.atLeast, want.atMost)
		}
	}
}

func TestWrappedLines(t *testing.T) {
	for text, want := range map[string]int{
		"": 1, "short": 1, "ten chars.": 1, "ten chars. more": 2, "a word and another": 2, strings.Repeat("x", 25): 3, "ab " + strings.Repeat("x", 25): 4,
	} {
		if got := wrapped(text, 10); got != want {
			t.Errorf("%q takes %d lines of ten characters, want %d", text, got, want)
		}
	}
}
