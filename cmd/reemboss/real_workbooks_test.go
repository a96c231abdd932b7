package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/csv"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/batch/rules"
	"reemboss/formats/request"
	cells "reemboss/formats/table"
)

// readsAsOpenpyxl compares every cell of the visible sheets, but for numbers that neither of the two can vouch for.
func (n *realNight) readsAsOpenpyxl(t *testing.T) {
	for _, name := range []string{"1-again.xlsx", "2-replacements.xlsx"} {
		path := filepath.Join(t.TempDir(), name)
		writeReal(t, path, n.sent[name])
		want := fromPython[map[string]map[string]map[string]string](t, nil, "cells.py", path)
		f, err := cells.New(bytes.NewReader(n.sent[name]), int64(len(n.sent[name])), cells.Options{})
		if err != nil {
			t.Fatal(err)
		}
		compared := 0
		for i, sheet := range f.Sheets() {
			err := f.Rows(i, func(r *cells.Row) error {
				theirs := want[sheet.Name][strconv.Itoa(r.Line)]
				for column, text := range r.Cells {
					if r.Mark(column)&cells.Lossy != 0 {
						continue
					}
					compared++
					if text != theirs[strconv.Itoa(column)] {
						t.Errorf("%s, sheet %s, row %d, column %d: openpyxl reads another text than we", name, sheet.Name, r.Line, column)
					}
				}
				for column := range theirs {
					if at, err := strconv.Atoi(column); err != nil || at >= len(r.Cells) {
						t.Errorf("%s, sheet %s, row %d: openpyxl has column %s, we have not", name, sheet.Name, r.Line, column)
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		if len(f.Sheets()) != len(want) || compared < 100 {
			t.Errorf("%s: %d sheets and %d cells compared, openpyxl has %d sheets", name, len(f.Sheets()), compared, len(want))
		}
	}
}

// unknownNumber is the cell of a number that no card has, and that begins like those of a product: it is masked too.
const unknownNumber = "Replacements!C27"

// resultWorkbooks holds each result workbook against what was sent, and against the CSV, with openpyxl's eyes.
func (n *realNight) resultWorkbooks(t *testing.T) {
	comment := ""
	for _, row := range n.answers["2-replacements.xlsx"] {
		if strings.Contains(row["Comment"], "the number is") {
			comment = "Replacements!A" + row["row"]
			if strings.Contains(row["Comment"], n.cards[111].pan) || !strings.HasSuffix(row["Comment"], maskedNumber(n.cards[111].pan)) {
				t.Error("the card number in a comment is not masked in the CSV")
			}
		}
	}
	if comment == "" {
		t.Fatal("the row with a card number in its comment is gone")
	}
	for name, masked := range map[string][]string{"1-again.xlsx": nil, "2-replacements.xlsx": {comment, unknownNumber}} {
		original := filepath.Join(t.TempDir(), name)
		writeReal(t, original, n.sent[name])
		python(t, nil, "kept.py", append([]string{original, n.Path(n.one("done/*/" + name + ".result.xlsx")), n.Path(n.one("done/*/" + name + ".result.csv"))}, masked...)...)
	}
}

// opensInLibreOffice has LibreOffice open the result workbooks and the report and compares the answers that it sees with the CSV.
func (n *realNight) opensInLibreOffice(t *testing.T) {
	books := []string{n.Path(n.one("done/*/1-again.xlsx.result.xlsx")), n.Path(n.one("done/*/2-replacements.xlsx.result.xlsx")), n.Path(n.one("reports/*/reconciliation.xlsx"))}
	out := convert(t, sheetsToCSV, books...)
	seen := 0
	for _, name := range []string{"1-again.xlsx", "2-replacements.xlsx"} {
		for _, row := range n.answers[name] {
			shown := readSheet(t, filepath.Join(out, name+".result-"+row["sheet"]+".csv"))
			top := slices.IndexFunc(shown, func(cells []string) bool { return slices.Contains(cells, "outcome") })
			line, err := strconv.Atoi(row["row"])
			if err != nil || top < 0 || line > len(shown) {
				t.Fatalf("%s, sheet %s: LibreOffice sees no answer to row %s", name, row["sheet"], row["row"])
			}
			first := slices.Index(shown[top], "outcome")
			for i, column := range shown[top][first:] {
				if got := shown[line-1][first+i]; column != "" && got != row[column] && !sameAmount(got, row[column]) {
					t.Errorf("%s, sheet %s, row %d: LibreOffice shows %s %q, the CSV says %q", name, row["sheet"], line, column, got, row[column])
				}
			}
			seen++
		}
	}
	if seen < 70 {
		t.Errorf("only %d answers were compared", seen)
	}
	if sheets, err := filepath.Glob(filepath.Join(out, "reconciliation-*.csv")); err != nil || len(sheets) < 3 {
		t.Errorf("LibreOffice sees %d sheets of the report", len(sheets))
	}
}

func readSheet(t *testing.T, path string) [][]string {
	t.Helper()
	r := csv.NewReader(bytes.NewReader(readReal(t, path)))
	r.FieldsPerRecord, r.LazyQuotes = -1, true
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func sameAmount(a, b string) bool {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && x == y
}

// withoutStyles is a workbook with the ids of cards in its first column, as a small exporter writes it: no part of styles.
func withoutStyles(t *testing.T, ids ...int) []byte {
	t.Helper()
	book := excelize.NewFile()
	defer book.Close()
	for i, cell := range append([]any{"card_id"}, anys(ids)...) {
		if err := book.SetCellValue("Sheet1", "A"+strconv.Itoa(i+1), cell); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := book.WriteToBuffer()
	if err != nil {
		t.Fatal(err)
	}
	parts, err := zip.NewReader(bytes.NewReader(whole.Bytes()), int64(whole.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var small bytes.Buffer
	w := zip.NewWriter(&small)
	named := regexp.MustCompile(`<(?:Override|Relationship) [^>]*/styles\.xml"[^>]*>(?:</\w+>)?|<Relationship [^>]*"styles\.xml"[^>]*>(?:</\w+>)?`)
	for _, part := range parts.File {
		if part.Name == "xl/styles.xml" {
			continue
		}
		in, err := part.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if text = named.ReplaceAll(text, nil); bytes.Contains(text, []byte("styles.xml")) {
			t.Fatalf("%s still names the styles", part.Name)
		}
		out, err := w.Create(part.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return small.Bytes()
}

func anys(ids []int) (list []any) {
	for _, id := range ids {
		list = append(list, id)
	}
	return list
}

func TestLibreOfficeOpensTheResultOfAWorkbookWithoutStyles(t *testing.T) {
	needReal(t, "soffice")
	content := withoutStyles(t, 1001)
	told := &ledger.Told{Answer: ledger.Answer{Pos: 1, Sheet: "Sheet1", Line: 2, CardID: "1001", Kind: request.Reemboss, Outcome: rules.Refused, Class: 400, Code: "card_id_invalid", Message: "No such card."}}
	res, err := report.WriteResult(t.Context(), report.ResultInput{
		Dir: t.TempDir(), Name: "small.xlsx",
		Sheets: []report.SenderSheet{{Name: "Sheet1", Header: []string{"card_id"}, HeaderLine: 1}},
		Each: func(visit func(*request.Row) error) error {
			return visit(&request.Row{Pos: 1, Sheet: "Sheet1", Line: 2})
		},
		Told:      func(_ context.Context, visit func(*ledger.Told) error) error { return visit(told) },
		Mask:      func(cell string) string { return cell },
		FindKnown: func(string) bool { return false },
		Workbook:  func() ([]byte, error) { return content, nil },
	})
	if err != nil || res.Workbook == "" {
		t.Fatal(err, res)
	}
	rows := readSheet(t, filepath.Join(convert(t, sheetsToCSV, res.Workbook), "small.xlsx.result-Sheet1.csv"))
	if len(rows) != 2 || rows[0][0] != "card_id" || rows[0][1] != "outcome" || rows[1][0] != "1001" || rows[1][1] != "refused" {
		t.Errorf("LibreOffice sees %q", rows)
	}
}
