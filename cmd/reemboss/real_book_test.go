package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"reemboss/batch/report"
)

// openedBook is a workbook as LibreOffice has it in memory: what it writes of it in its own form, as one XML text.
type openedBook struct {
	sheets  []*openedSheet
	filters map[string]string // range with filter buttons, by sheet
}

type openedSheet struct {
	name   string
	titles int            // rows that are repeated on every page
	rows   [][]openedCell // without what is empty at the end
	charts [][]string     // ranges of the series of each chart
	wrong  []string       // formulas, and cells that are an error
}

type openedCell struct{ kind, text string }

func openInLibreOffice(t *testing.T, path string) *openedBook {
	t.Helper()
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	d := xml.NewDecoder(bytes.NewReader(readReal(t, filepath.Join(convert(t, "fods", path), name+".fods"))))
	r := openedReader{book: &openedBook{filters: map[string]string{}}}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return r.book
		} else if err != nil {
			t.Fatalf("LibreOffice's form of %s: %v", name, err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			r.begin(e)
		case xml.CharData:
			if r.line && r.cell.kind == "string" {
				r.cell.text += string(e)
			}
		case xml.EndElement:
			r.end(e.Name.Local)
		}
	}
}

// openedReader is where it is in the text. Within a chart there are tables too, which are copies.
type openedReader struct {
	book        *openedBook
	sheet       *openedSheet
	row         []openedCell
	cell        *openedCell
	rows, cells int  // how often the row and the cell stand there
	charts      int  // open ones
	titles      bool // within the rows that are repeated
	line        bool // within a line of a cell's text
}

func (r *openedReader) begin(e xml.StartElement) {
	switch in := e.Name.Local; {
	case in == "object":
		r.charts++
		r.sheet.charts = append(r.sheet.charts, nil)
	case r.charts > 0:
		if last := len(r.sheet.charts) - 1; in == "series" {
			r.sheet.charts[last] = append(r.sheet.charts[last], attribute(e, "values-cell-range-address"))
		}
	case in == "table":
		r.sheet = &openedSheet{name: attribute(e, "name")}
		r.book.sheets = append(r.book.sheets, r.sheet)
	case in == "table-header-rows":
		r.titles = true
	case in == "table-row":
		r.row, r.rows = nil, times(e, "number-rows-repeated")
	case in == "table-cell", in == "covered-table-cell":
		r.cell, r.cells = &openedCell{kind: attribute(e, "value-type")}, times(e, "number-columns-repeated")
		if r.cell.kind == "float" {
			r.cell.text = attribute(e, "value")
		}
		if formula := attribute(e, "formula"); formula != "" {
			r.sheet.wrong = append(r.sheet.wrong, formula)
		}
	case in == "p" && r.cell != nil:
		if r.line = true; r.cell.text != "" && r.cell.kind == "string" {
			r.cell.text += "\n"
		}
	case in == "database-range" && attribute(e, "display-filter-buttons") == "true":
		sheet, _, _ := strings.Cut(strings.ReplaceAll(attribute(e, "target-range-address"), "'", ""), ".")
		r.book.filters[sheet] = cellRange(attribute(e, "target-range-address"), sheet)
	}
}

func (r *openedReader) end(in string) {
	switch {
	case in == "object":
		r.charts--
	case r.charts > 0:
	case in == "p":
		r.line = false
	case in == "table-header-rows":
		r.titles = false
	case (in == "table-cell" || in == "covered-table-cell") && r.cell != nil:
		if errorText.MatchString(r.cell.text) {
			r.sheet.wrong = append(r.sheet.wrong, r.cell.text)
		}
		r.row = append(r.row, slices.Repeat([]openedCell{*r.cell}, r.cells)...)
		r.cell = nil
	case in == "table-row":
		for len(r.row) > 0 && r.row[len(r.row)-1].kind == "" {
			r.row = r.row[:len(r.row)-1]
		}
		if r.titles {
			r.sheet.titles += r.rows
		}
		if len(r.row) > 0 || r.rows < 100 { // not the rest of a sheet
			r.sheet.rows = append(r.sheet.rows, slices.Repeat([][]openedCell{r.row}, r.rows)...)
		}
	case in == "table":
		for len(r.sheet.rows) > 0 && len(r.sheet.rows[len(r.sheet.rows)-1]) == 0 {
			r.sheet.rows = r.sheet.rows[:len(r.sheet.rows)-1]
		}
	}
}

// times is how often something is repeated.
func times(e xml.StartElement, name string) int {
	if n, err := strconv.Atoi(attribute(e, name)); err == nil {
		return n
	}
	return 1
}

// cellRange is a range of a sheet without the sheet's name: A1:C5.
func cellRange(area, sheet string) string {
	return strings.ReplaceAll(strings.ReplaceAll(area, "'", ""), sheet+".", "")
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name && !strings.Contains(a.Name.Space, "calc") { // LibreOffice has a value type of its own besides
			return a.Value
		}
	}
	return ""
}

var errorText = regexp.MustCompile(`^(#[A-Z/0]+[!?]?|Err:\d+)$`)

// column gives the cells under a heading of the first row.
func (s *openedSheet) column(t *testing.T, heading string) []openedCell {
	t.Helper()
	at := slices.IndexFunc(s.rows[0], func(c openedCell) bool { return c.text == heading })
	if at < 0 {
		t.Fatalf("sheet %s has no column %s", s.name, heading)
	}
	var cells []openedCell
	for _, row := range s.rows[1:] {
		if at < len(row) {
			cells = append(cells, row[at])
		}
	}
	return cells
}

// sum adds the numbers in a range such as 'Last nights'.E2:'Last nights'.E5; what is no number of this sheet is an error.
func (s *openedSheet) sum(t *testing.T, area string) (sum int64) {
	t.Helper()
	from, to, _ := strings.Cut(cellRange(area, s.name), ":")
	x1, y1, err1 := excelize.CellNameToCoordinates(from)
	x2, y2, err2 := excelize.CellNameToCoordinates(to)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatalf("sheet %s has a chart of %s: %v", s.name, area, err)
	}
	for y := y1; y <= y2; y++ {
		for x := x1; x <= x2; x++ {
			if y > len(s.rows) || x > len(s.rows[y-1]) || s.rows[y-1][x-1].kind != "float" {
				t.Fatalf("sheet %s has a chart of %s, and row %d has no number there", s.name, area, y)
			}
			n, err := strconv.ParseInt(s.rows[y-1][x-1].text, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}

func (b *openedBook) sheet(t *testing.T, name string) *openedSheet {
	t.Helper()
	at := slices.IndexFunc(b.sheets, func(s *openedSheet) bool { return s.name == name })
	if at < 0 {
		t.Fatalf("LibreOffice sees no sheet %s", name)
	}
	return b.sheets[at]
}

// bookSheets are the workbook's sheets in their order.
var bookSheets = []string{"Summary", "Needs a person", "Balances", "Files", "Bureaus", "Ageing", "Last nights", "Returns", "Card events", "By code", "By reason", "By product", "Refusals", "Waiting"}

func TestTheWorkbookInLibreOffice(t *testing.T) {
	needReal(t, "soffice", "/usr/bin/python3")
	w := nightsWithAnswers(t)
	path := w.Path("reports", w.last.RunID, "reconciliation.xlsx")
	b := openInLibreOffice(t, path)
	t.Run("the sheets stand in their order", func(t *testing.T) {
		var names []string
		for _, s := range b.sheets {
			names = append(names, s.name)
		}
		if d := cmp.Diff(bookSheets, names); d != "" {
			t.Error(d)
		}
	})
	t.Run("each table has its filter and its heading on every page", func(t *testing.T) { filtersAndTitles(t, b) })
	t.Run("each heading stays where it is", func(t *testing.T) { frozenHeadings(t, path) })
	t.Run("four charts show what the tables say", func(t *testing.T) { chartsShow(t, b, w.last) })
	t.Run("what identifies is text and what counts is a number", func(t *testing.T) { textAndNumbers(t, b) })
	t.Run("nothing is computed and nothing is an error", func(t *testing.T) {
		for _, s := range b.sheets {
			if len(s.wrong) > 0 {
				t.Errorf("sheet %s has %q", s.name, s.wrong)
			}
		}
	})
	t.Run("it says what the report says", func(t *testing.T) { saysTheSame(t, b, w.last) })
}

func filtersAndTitles(t *testing.T, b *openedBook) {
	for _, s := range b.sheets[1:] {
		corner, err := excelize.CoordinatesToCellName(len(s.rows[0]), len(s.rows))
		if err != nil {
			t.Fatal(err)
		}
		if got := b.filters[s.name]; got != "A1:"+corner {
			t.Errorf("sheet %s has its filter at %q, want A1:%s", s.name, got, corner)
		}
		if s.titles != 1 {
			t.Errorf("sheet %s repeats %d rows on every page", s.name, s.titles)
		}
	}
}

// frozenHeadings has openpyxl look: LibreOffice keeps nothing of a view when it only converts.
func frozenHeadings(t *testing.T, path string) {
	panes := fromPython[map[string]string](t, nil, "panes.py", path)
	for _, name := range bookSheets[1:] {
		if panes[name] != "A2" {
			t.Errorf("sheet %s is frozen at %q", name, panes[name])
		}
	}
}

// chartsShow adds up what each chart draws.
func chartsShow(t *testing.T, b *openedBook, last *report.Reconciliation) {
	var answers int64
	for _, n := range last.Nights {
		answers += n.Read
	}
	want := map[string]int64{"Summary": last.Read, "Ageing": last.Outstanding, "Last nights": answers, "By reason": last.Read}
	series := map[string]int{"Summary": 1, "Ageing": 6, "Last nights": 4, "By reason": 4}
	for _, s := range b.sheets {
		if len(s.charts) != min(1, series[s.name]) {
			t.Errorf("sheet %s has %d charts", s.name, len(s.charts))
			continue
		}
		if len(s.charts) == 0 {
			continue
		}
		var drawn int64
		for _, area := range s.charts[0] {
			drawn += s.sum(t, area)
		}
		if len(s.charts[0]) != series[s.name] || drawn != want[s.name] || drawn == 0 {
			t.Errorf("the chart of %s draws %d in %d series, want %d in %d", s.name, drawn, len(s.charts[0]), want[s.name], series[s.name])
		}
	}
}

func textAndNumbers(t *testing.T, b *openedBook) {
	for sheet, columns := range map[string][2][]string{
		"Files":       {{"bureau", "name", "state", "sent at", "run_id", "sha256"}, {"sequence", "records", "sent", "acknowledged", "rejected", "outstanding", "moved", "size"}},
		"Bureaus":     {{"bureau"}, {"accepted", "sent", "all outstanding", "SENT", "LOST"}},
		"Ageing":      {{"bureau"}, {"outstanding", "today", "1 day", "under way", "late to ship"}},
		"Last nights": {{"date", "run_id", "end"}, {"read", "outstanding", "under way"}},
		"Returns":     {{"bureau", "name", "sha256", "fetched at"}, {"lines", "new", "known", "problems"}},
		"Card events": {{"bureau", "event"}, {"cards"}},
		"By code":     {{"code"}, {"rows"}},
		"Refusals":    {{"file", "card_id", "code"}, {"row", "class"}},
	} {
		s := b.sheet(t, sheet)
		for i, kind := range []string{"string", "float"} {
			for _, heading := range columns[i] {
				cells := s.column(t, heading)
				if len(cells) == 0 {
					t.Errorf("sheet %s has nothing under %s", sheet, heading)
				}
				for _, c := range cells {
					if c.kind != kind {
						t.Errorf("sheet %s, %s: %q is a %s, want a %s", sheet, heading, c.text, c.kind, kind)
						break
					}
				}
			}
		}
	}
}

func saysTheSame(t *testing.T, b *openedBook, last *report.Reconciliation) {
	if verdict := b.sheet(t, "Summary").rows[0][0].text; verdict != last.Verdict {
		t.Errorf("it says %q", verdict)
	}
	texts := func(sheet, heading string) (all []string) {
		for _, c := range b.sheet(t, sheet).column(t, heading) {
			all = append(all, c.text)
		}
		return all
	}
	var names, outstanding, needs, nights, returned []string
	for _, f := range append(last.ListedFiles(), last.CardSystemFiles...) {
		names, outstanding = append(names, f.Name), append(outstanding, strconv.FormatInt(f.Outstanding, 10))
	}
	for _, n := range last.NeedsPerson {
		needs = append(needs, n.What)
	}
	for _, n := range last.Nights {
		nights = append(nights, n.RunID)
	}
	for _, f := range last.Returns {
		returned = append(returned, f.Name)
	}
	for _, column := range []struct {
		sheet, heading string
		want           []string
	}{
		{"Files", "name", names}, {"Files", "outstanding", outstanding}, {"Needs a person", "what", needs}, {"Last nights", "run_id", nights}, {"Returns", "name", returned},
	} {
		if d := cmp.Diff(column.want, texts(column.sheet, column.heading)); d != "" {
			t.Errorf("sheet %s, %s: %s", column.sheet, column.heading, d)
		}
	}
	if refused := len(b.sheet(t, "Refusals").rows) - 1; int64(refused) != last.Read-last.Accepted {
		t.Errorf("%d refusals are listed of %d", refused, last.Read-last.Accepted)
	}
}
