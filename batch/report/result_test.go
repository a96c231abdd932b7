package report

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/iso"
	"reemboss/formats/request"
)

// clear is a known card number of the tests, never of a real card.
var clear = "4111111111111111"

func maskClear(cell string) string {
	return strings.ReplaceAll(cell, clear, iso.Mask(clear))
}

func findClear(text string) bool {
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, text)
	return strings.Contains(digits, clear)
}

// rowsOf gives request rows with the cells, numbered as on a sheet whose header is in line 1.
func rowsOf(sheet string, sheetNo, before int, cells ...[]string) iter.Seq[*request.Row] {
	return func(yield func(*request.Row) bool) {
		for i, c := range cells {
			if !yield(&request.Row{Pos: before + i + 1, Sheet: sheet, SheetNo: sheetNo, Line: i + 2, Cells: c}) {
				return
			}
		}
	}
}

func eachRow(seqs ...iter.Seq[*request.Row]) func(func(*request.Row) error) error {
	return func(fn func(*request.Row) error) error {
		for _, seq := range seqs {
			for r := range seq {
				if err := fn(r); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func (m *memory) ofFile(id int64) func(context.Context, func(*ledger.Told) error) error {
	return func(ctx context.Context, fn func(*ledger.Told) error) error { return m.EachTold(ctx, runID, id, fn) }
}

// north is the small night's first request file.
func north(t *testing.T) ResultInput {
	return ResultInput{
		Dir: t.TempDir(), Name: "branch north.csv", Told: smallNight(t).ofFile(1), Mask: maskClear,
		Sheets: []SenderSheet{{Header: []string{"Card ID", "note", "outcome", "note"}, HeaderLine: 1}},
		Each: eachRow(rowsOf("", 0, 0,
			[]string{"1001", "plain", "theirs", ""}, []string{"1002", "=1+1", "", "-5"}, []string{"1003", clear, "", "0012"},
			[]string{"9999", "+46 8 123", "", ""}, []string{"1005", "\ttab", "", "Ö,\"x\""}, []string{"1002", "line\nbreak", ""})),
	}
}

func TestResultCSV(t *testing.T) {
	in := north(t)
	res, err := WriteResult(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(in.Dir, "branch north.csv.result.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if res.Rows != 6 || res.Workbook != "" || res.Withheld != "" {
		t.Errorf("%+v", res)
	}
	golden(t, "result.csv", text)
}

func TestResultOfAFileRefusedAsAWhole(t *testing.T) {
	in := ResultInput{Dir: t.TempDir(), Name: "broken.csv", Told: smallNight(t).ofFile(3), Mask: maskClear}
	if _, err := WriteResult(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	rows := readCSV(t, filepath.Join(in.Dir, "broken.csv.result.csv"))
	if len(rows) != 2 || rows[1][1] != "0" || rows[1][4] != "header_missing" || rows[1][2] != "refused" {
		t.Errorf("%q", rows)
	}
}

func TestResultOfAFileWithoutRows(t *testing.T) {
	in := north(t)
	in.Told = func(context.Context, func(*ledger.Told) error) error { return nil }
	in.Each = eachRow()
	if _, err := WriteResult(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	if rows := readCSV(t, filepath.Join(in.Dir, "branch north.csv.result.csv")); len(rows) != 1 {
		t.Errorf("%q", rows)
	}
}

func TestRowsAndAnswersThatDifferAreAnError(t *testing.T) {
	one := []string{"1"}
	answer := func(pos, line int) *ledger.Told {
		return &ledger.Told{Answer: ledger.Answer{Pos: pos, Line: line, Outcome: rules.Refused}}
	}
	for name, tt := range map[string]struct {
		rows iter.Seq[*request.Row]
		told []*ledger.Told
	}{
		"a row without an answer":  {rowsOf("", 0, 0, one, one), []*ledger.Told{answer(1, 2)}},
		"an answer without a row":  {rowsOf("", 0, 0, one), []*ledger.Told{answer(1, 2), answer(2, 3)}},
		"an answer missing within": {rowsOf("", 0, 0, one, one, one), []*ledger.Told{answer(1, 2), answer(3, 4)}},
		"another line":             {rowsOf("", 0, 0, one), []*ledger.Told{answer(1, 3)}},
		"another sheet":            {rowsOf("Other", 0, 0, one), []*ledger.Told{answer(1, 2)}},
		"row 0 and another":        {rowsOf("", 0, 0, one), []*ledger.Told{answer(0, 0), answer(1, 2)}},
	} {
		in := ResultInput{
			Dir: t.TempDir(), Name: "x.csv", Mask: maskClear, Sheets: []SenderSheet{{Header: []string{"card_id"}}}, Each: eachRow(tt.rows),
			Told: func(_ context.Context, fn func(*ledger.Told) error) error {
				for _, a := range tt.told {
					if err := fn(a); err != nil {
						return err
					}
				}
				return nil
			},
		}
		_, err := WriteResult(context.Background(), in)
		if !errors.Is(err, ErrRowsDiffer) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(in.Dir); len(left) != 0 {
			t.Errorf("%s: something was written: %v", name, left)
		}
	}
}

func TestLedgerFaultEndsTheResult(t *testing.T) {
	fault := errors.New("disk I/O error")
	in := north(t)
	all := in.Told
	in.Told = func(ctx context.Context, fn func(*ledger.Told) error) error {
		n := 0
		return all(ctx, func(told *ledger.Told) error {
			if n++; n > 2 {
				return fault
			}
			return fn(told)
		})
	}
	if _, err := WriteResult(context.Background(), in); !errors.Is(err, fault) {
		t.Errorf("%v", err)
	}
}

func TestColumnsOfAllSheetsAreJoined(t *testing.T) {
	l := senderColumns([]SenderSheet{{Header: []string{"card_id", "note", "note"}}, {Header: []string{"reason_code", "note", "card_id"}}}, maskClear)
	if got := strings.Join(l.header, ","); got != "card_id,note,note,reason_code" {
		t.Errorf("header %s", got)
	}
	row := &request.Row{Sheet: "B", SheetNo: 1, Line: 9, Cells: []string{"3", "hello", "77"}}
	if got := strings.Join(l.place(row, maskClear), ","); got != "B,9,77,hello,,3" {
		t.Errorf("row %s", got)
	}
}

func TestCSVInjectionIsNeutralised(t *testing.T) {
	for cell, want := range map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\tx": "'\tx", "\rx": "'\rx", "\x00": "_", "  =1": "'  =1",
		"＝1": "'＝1", "": "", "abc": "abc", "0012": "0012", "a=b": "a=b", " x": " x", "'=1": "'=1", "Ö": "Ö",
		"x;=cmd|1": "x;'=cmd|1", "x\t@SUM(1)": "x\t'@SUM(1)", "x\n-1": "x\n'-1", "x\r\n+1": "x\r\n'+1", "x; =1": "x;' =1", "=1;=2": "'=1;'=2", ";=1": ";'=1", "\t=1": "'\t'=1",
		"x,=1": "x,=1", "a;b;c": "a;b;c", "a\nb": "a\nb", "\ufeff=1": "'\ufeff=1", "x;＝1": "x;'＝1", "\n": "'\n",
		"\x1b]0;pwn\x07": "_]0;pwn_", "\x1b=1": "_=1", "x\u009b31m": "x_31m", "a\x7fb": "a_b", "a\u200eb": "a\u200eb",
	} {
		if got := Neutral(cell); got != want {
			t.Errorf("%q: %q, want %q", cell, got, want)
		}
	}
	for cell, want := range map[string]string{"-12.50": "-12.50", "5": "5", "-": "'-", "-1+cmd|x": "'-1+cmd|x", "--1": "'--1", "-1.": "'-1.", "1.2.3": "1.2.3", "": ""} {
		if got := amount(cell); got != want {
			t.Errorf("amount %q: %q, want %q", cell, got, want)
		}
	}
}

// TestResultMemoryDoesNotGrow writes 50,000 answers and looks at the heap on the way.
func TestResultMemoryDoesNotGrow(t *testing.T) {
	const n = 50_000
	var highest uint64
	watch := func(i int) {
		if i%5_000 == 0 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			highest = max(highest, m.HeapAlloc)
		}
	}
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	in := ResultInput{
		Dir: t.TempDir(), Name: "big.csv", Mask: maskClear, Sheets: []SenderSheet{{Header: []string{"card_id", "note"}}},
		Each: func(fn func(*request.Row) error) error {
			for i := 1; i <= n; i++ {
				watch(i)
				if err := fn(&request.Row{Pos: i, Line: i + 1, Cells: []string{fmt.Sprint(i), "note"}}); err != nil {
					return err
				}
			}
			return nil
		},
		Told: func(_ context.Context, fn func(*ledger.Told) error) error {
			card := testCard(t, 1001)
			for i := 1; i <= n; i++ {
				told := &ledger.Told{Answer: ledger.Answer{Pos: i, Line: i + 1, Outcome: rules.Accepted, Class: 202, Code: "00"}, Card: card, Order: &ledger.Order{UID: fmt.Sprint(i)}}
				if err := fn(told); err != nil {
					return err
				}
			}
			return nil
		},
	}
	res, err := WriteResult(context.Background(), in)
	if err != nil || res.Rows != n {
		t.Fatal(res, err)
	}
	if grown := int64(highest) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("the heap grew by %d KiB over %d rows", grown>>10, n)
	}
}

func readCSV(t *testing.T, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
