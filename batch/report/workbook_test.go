package report

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/iso"
	"reemboss/formats/request"
)

// answers gives one answer for each line, going through the outcomes in turn.
func answersFor(t *testing.T, sheet string, first, n int) []*ledger.Told {
	var list []*ledger.Told
	for i := range n {
		told := &ledger.Told{Answer: ledger.Answer{Pos: i + 1, Sheet: sheet, Line: first + i, Kind: request.Reissue}, Card: testCard(t, int64(1001+i))}
		switch i % 4 {
		case 0:
			told.Outcome, told.Class, told.Code, told.Message = rules.Accepted, 201, "00", "reissue accepted"
			told.Order = &ledger.Order{
				UID: fmt.Sprintf("0QX7ZK3M8T2V5B9C%04d", i), Kind: request.Reissue, CardID: int64(1001 + i), EmbossedCardID: int64(900001 + i), PAN: pan(t, "411111", 900001+i),
				Expiry: 202911, Type: 3, TypeDerived: true, Bureau: "alpha", FileName: "ALPHA_000041.xml.pgp", Sequence: 41, Fee: "5.00", ExpectedDelivery: "2026-11-30",
			}
		case 1:
			told.Outcome, told.Class, told.Code, told.Codes = rules.Refused, 400, "reissue_type_conflict", []rules.Code{"reissue_type_conflict", "card_status_invalid"}
			told.Message = "Reason 3 needs a new number, type 1 keeps it: leave the type blank or write 3."
		case 2:
			told.Outcome, told.Class, told.Code, told.Message = rules.Duplicate, 409, "duplicate_row", "The same row stands above; it was answered there."
		case 3:
			told.Outcome, told.Class, told.Code, told.Message = rules.Held, 202, "00", "The bureau is held; the card waits."
		}
		list = append(list, told)
	}
	return list
}

func eachTold(list []*ledger.Told) func(context.Context, func(*ledger.Told) error) error {
	return func(_ context.Context, fn func(*ledger.Told) error) error {
		for _, t := range list {
			if err := fn(t); err != nil {
				return err
			}
		}
		return nil
	}
}

// foreign is a request workbook by another program, in testdata.
type foreign struct {
	file, sheet string
	header      []string
	headerLine  int
	rows        int
	first       string // our first column there
}

var foreigners = []foreign{
	{"libreoffice.xlsx", "Reissue", []string{"Card ID", "User ID", "Reason code", "Reissue type", "Asked on", "Note"}, 3, 7, "G"},
	{"exceljs.xlsx", "Re-emboss", []string{"card_id", "Comment", "reference"}, 2, 4, "D"},
}

// input makes the result input of a foreign workbook from its bytes.
func (f foreign) input(t *testing.T, content []byte) ResultInput {
	return ResultInput{
		Dir: t.TempDir(), Name: f.file, Mask: maskSpaced, FindKnown: findClear,
		Sheets:   []SenderSheet{{Name: f.sheet, Header: f.header, HeaderLine: f.headerLine}},
		Told:     eachTold(answersFor(t, f.sheet, f.headerLine+1, f.rows)),
		Workbook: func() ([]byte, error) { return content, nil },
		Each: func(fn func(*request.Row) error) error {
			for i := range f.rows {
				if err := fn(&request.Row{Pos: i + 1, Sheet: f.sheet, Line: f.headerLine + 1 + i}); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// maskSpaced also knows the number with separators.
func maskSpaced(cell string) string {
	for _, written := range []string{clear, "4111 1111 1111 1111", "4111-1111-1111-1111"} {
		cell = strings.ReplaceAll(cell, written, "411111******1111")
	}
	return cell
}

func writeForeign(t *testing.T, f foreign) (before, after *excelize.File) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", f.file))
	if err != nil {
		t.Fatal(err)
	}
	in := f.input(t, content)
	res, err := WriteResult(context.Background(), in)
	if err != nil || res.Withheld != "" {
		t.Fatal(err, res)
	}
	written, err := os.ReadFile(res.Workbook)
	if err != nil {
		t.Fatal(err)
	}
	keep(t, "result-"+f.file, written)
	before, err = excelize.OpenReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	after, err = excelize.OpenFile(res.Workbook)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { before.Close(); after.Close() })
	return before, after
}

func TestResultWorkbookHasTheAnswers(t *testing.T) {
	for _, f := range foreigners {
		_, after := writeForeign(t, f)
		column, _, _ := excelize.CellNameToCoordinates(f.first + "1")
		for i, name := range resultColumns {
			cell, _ := excelize.CoordinatesToCellName(column+i, f.headerLine)
			if got, _ := after.GetCellValue(f.sheet, cell); got != name {
				t.Errorf("%s %s: header %q, want %q", f.file, cell, got, name)
			}
		}
		for i, told := range answersFor(t, f.sheet, f.headerLine+1, f.rows) {
			for j, want := range answerCells(told) {
				cell, _ := excelize.CoordinatesToCellName(column+j, told.Line)
				if got, _ := after.GetCellValue(f.sheet, cell); got != want {
					t.Errorf("%s %s (answer %d, %s): %q, want %q", f.file, cell, i, resultColumns[j], got, want)
				}
			}
		}
	}
}

func TestResultWorkbookIDsAreText(t *testing.T) {
	_, after := writeForeign(t, foreigners[0])
	for column, want := range map[string]excelize.CellType{"I": excelize.CellTypeSharedString, "N": excelize.CellTypeSharedString, "H": excelize.CellTypeUnset, "R": excelize.CellTypeUnset} {
		if got, _ := after.GetCellType("Reissue", column+"4"); got != want {
			t.Errorf("%s4 has type %v, want %v", column, got, want)
		}
	}
}

// sheetLook is what must not change on a sheet: values, styles, widths, heights that somebody chose, merged cells, visibility, validations.
type sheetLook struct {
	Values      [][]string
	Styles      map[string]excelize.Style
	Widths      []float64
	Heights     map[int]float64
	Merged      []string
	Visible     bool
	Validations []string
	Formulas    map[string]string
}

func lookAt(t *testing.T, f *excelize.File, sheet string, columns, rows int) sheetLook {
	t.Helper()
	look := sheetLook{Styles: map[string]excelize.Style{}, Formulas: map[string]string{}, Heights: chosenHeights(t, f, sheet, rows)}
	for r := 1; r <= rows; r++ {
		var values []string
		for c := 1; c <= columns; c++ {
			cell, _ := excelize.CoordinatesToCellName(c, r)
			v, err := f.GetCellValue(sheet, cell)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, maskCell(v, maskSpaced))
			id, _ := f.GetCellStyle(sheet, cell)
			style, err := f.GetStyle(id)
			if err != nil {
				t.Fatal(err)
			}
			look.Styles[cell] = *style
			if formula, _ := f.GetCellFormula(sheet, cell); formula != "" {
				look.Formulas[cell] = formula
			}
		}
		look.Values = append(look.Values, values)
	}
	for c := 1; c <= columns; c++ {
		name, _ := excelize.ColumnNumberToName(c)
		w, _ := f.GetColWidth(sheet, name)
		look.Widths = append(look.Widths, w)
	}
	merged, _ := f.GetMergeCells(sheet)
	for _, m := range merged {
		look.Merged = append(look.Merged, m.GetStartAxis()+":"+m.GetEndAxis())
	}
	look.Visible, _ = f.GetSheetVisible(sheet)
	validations, _ := f.GetDataValidations(sheet)
	for _, v := range validations {
		look.Validations = append(look.Validations, v.Sqref+" "+v.Formula1)
	}
	return look
}

func TestSendersPartOfTheWorkbookStaysAsItWas(t *testing.T) {
	for _, f := range foreigners {
		before, after := writeForeign(t, f)
		if diff := cmp.Diff(before.GetSheetList(), after.GetSheetList()); diff != "" {
			t.Errorf("%s: sheets: %s", f.file, diff)
		}
		for _, sheet := range before.GetSheetList() {
			columns := 12
			if sheet == f.sheet {
				columns = len(f.header)
			}
			if diff := cmp.Diff(lookAt(t, before, sheet, columns, 12), lookAt(t, after, sheet, columns, 12)); diff != "" {
				t.Errorf("%s, sheet %s changed (-before +after):\n%s", f.file, sheet, diff)
			}
		}
		for _, book := range []*excelize.File{before, after} {
			for _, name := range book.GetDefinedName() {
				if strings.Contains(name.Name, "FilterDatabase") && !strings.Contains(name.RefersTo, "$"+map[string]string{"G": "F", "D": "C"}[f.first]+"$") {
					t.Errorf("%s: the filter is now %s", f.file, name.RefersTo)
				}
			}
		}
	}
}

func TestNoKnownCardNumberInAnyPart(t *testing.T) {
	for _, f := range foreigners {
		content, err := os.ReadFile(filepath.Join("testdata", f.file))
		if err != nil {
			t.Fatal(err)
		}
		if foundIn(content, findClear, 0) == "" {
			t.Errorf("%s has no card number to be masked", f.file)
		}
		in := f.input(t, content)
		res, err := WriteResult(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		written, err := os.ReadFile(res.Workbook)
		if err != nil {
			t.Fatal(err)
		}
		if part := foundIn(written, findClear, 0); part != "" {
			t.Errorf("%s: a card number is left in %s", f.file, part)
		}
	}
}

// simpleBook makes a one-sheet request workbook, changed by the test.
func simpleBook(t *testing.T, change func(*excelize.File)) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	_ = f.SetSheetRow("Sheet1", "A1", &[]string{"card_id", "note"})
	_ = f.SetSheetRow("Sheet1", "A2", &[]string{"1001", "n"})
	change(f)
	out, err := f.WriteToBuffer()
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var simple = foreign{file: "simple.xlsx", sheet: "Sheet1", header: []string{"card_id", "note"}, headerLine: 1, rows: 1, first: "C"}

func TestWorkbookWithACardNumberThatCannotBeMaskedIsWithheld(t *testing.T) {
	for name, change := range map[string]func(*excelize.File){
		"in a formula":      func(f *excelize.File) { _ = f.SetCellFormula("Sheet1", "B2", `="`+clear+`"`) },
		"in a defined name": func(f *excelize.File) { _ = f.SetDefinedName(&excelize.DefinedName{Name: "x", RefersTo: clear}) },
		"in a sheet's name": func(f *excelize.File) { _, _ = f.NewSheet(clear) },
		"in a data validation": func(f *excelize.File) {
			dv := excelize.NewDataValidation(true)
			dv.Sqref = "B2"
			_ = dv.SetDropList([]string{clear})
			_ = f.AddDataValidation("Sheet1", dv)
		},
		"in an embedded part": func(f *excelize.File) {
			f.Pkg.Store("xl/embeddings/oleObject1.bin", []byte("\x00\x014\x001\x001\x001\x001\x001\x001\x001\x001\x001\x001\x001\x001\x001\x001\x001\x00"))
		},
		"in a nested workbook": func(f *excelize.File) {
			f.Pkg.Store("xl/embeddings/book.xlsx", simpleBook(t, func(g *excelize.File) { _ = g.SetCellStr("Sheet1", "B9", clear) }))
		},
	} {
		in := simple.input(t, simpleBook(t, change))
		res, err := WriteResult(context.Background(), in)
		if err != nil {
			t.Fatal(name, err)
		}
		if res.Workbook != "" || !strings.Contains(res.Withheld, "a card number that we know would remain in") || strings.Contains(res.Withheld, clear) {
			t.Errorf("%s: %+v", name, res)
		}
		if _, err := os.Stat(filepath.Join(in.Dir, "simple.xlsx.result.xlsx")); !os.IsNotExist(err) {
			t.Errorf("%s: the workbook was written", name)
		}
		if _, err := os.Stat(res.CSV); err != nil {
			t.Errorf("%s: no CSV: %v", name, err)
		}
	}
}

func TestCardNumbersAreMaskedWherePeopleWriteThem(t *testing.T) {
	for name, change := range map[string]func(*excelize.File){
		"a text cell":         func(f *excelize.File) { _ = f.SetCellStr("Sheet1", "B2", "see "+clear) },
		"a number":            func(f *excelize.File) { _ = f.SetCellInt("Sheet1", "B2", 4111111111111111) },
		"a number Excel cut":  func(f *excelize.File) { _ = f.SetCellInt("Sheet1", "B2", 4111111111111110) },
		"a scientific number": func(f *excelize.File) { _ = f.SetCellDefault("Sheet1", "B2", "4.111111111111111E15") },
		"runs of one cell": func(f *excelize.File) {
			_ = f.SetCellRichText("Sheet1", "B2", []excelize.RichTextRun{{Text: "41111111"}, {Text: "11111111", Font: &excelize.Font{Bold: true}}})
		},
		"a comment": func(f *excelize.File) {
			_ = f.AddComment("Sheet1", excelize.Comment{Cell: "B2", Text: "card " + clear})
		},
		"the document's title": func(f *excelize.File) { _ = f.SetDocProps(&excelize.DocProperties{Title: clear}) },
		"a header of the print": func(f *excelize.File) {
			_ = f.SetHeaderFooter("Sheet1", &excelize.HeaderFooterOptions{OddHeader: "&L" + clear})
		},
	} {
		in := simple.input(t, simpleBook(t, change))
		res, err := WriteResult(context.Background(), in)
		if err != nil {
			t.Fatal(name, err)
		}
		if res.Withheld != "" {
			t.Errorf("%s: %s", name, res.Withheld)
		}
	}
}

func TestCardNumbersAreMaskedHoweverTheyAreWritten(t *testing.T) {
	for _, written := range []string{"4111 - 1111 - 1111 - 1111", "4111  1111\t1111\n1111", "4111\u20031111\u200b1111\u00ad1111", "４１１１１１１１１１１１１１１１", "٤١١١ ١١١١ ١١١١ ١١١١"} {
		in := simple.input(t, simpleBook(t, func(f *excelize.File) {
			_ = f.SetCellStr("Sheet1", "B2", "see "+written)
			_ = f.AddComment("Sheet1", excelize.Comment{Cell: "B2", Text: "card " + written})
		}))
		in.Mask = iso.MaskLikely
		in.FindKnown = func(text string) bool { return iso.MaskLikely(text) != text }
		res, err := WriteResult(context.Background(), in)
		if err != nil || res.Withheld != "" {
			t.Errorf("%q: %v %s", iso.MaskLikely(written), err, res.Withheld)
			continue
		}
		f, err := excelize.OpenFile(res.Workbook)
		if err != nil {
			t.Fatal(err)
		}
		if cell, _ := f.GetCellValue("Sheet1", "B2"); cell != "see "+iso.MaskLikely(written) || cell == "see "+written {
			t.Errorf("%q is not masked", iso.MaskLikely(written))
		}
	}
}

func TestOurColumnsAreVisibleWhereTheSenderHidTheRest(t *testing.T) {
	in := simple.input(t, simpleBook(t, func(f *excelize.File) {
		_ = f.SetColVisible("Sheet1", "C:ZZ", false)
		_ = f.SetCellStr("Sheet1", "F40", "a note far to the right")
	}))
	res, err := WriteResult(context.Background(), in)
	if err != nil || res.Withheld != "" {
		t.Fatal(err, res)
	}
	f, err := excelize.OpenFile(res.Workbook)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if v, _ := f.GetCellValue("Sheet1", "G1"); v != "outcome" {
		t.Errorf("G1 is %q: the columns do not begin right of the used range", v)
	}
	if visible, _ := f.GetColVisible("Sheet1", "G"); !visible {
		t.Error("our first column is hidden")
	}
	if visible, _ := f.GetColVisible("Sheet1", "E"); visible {
		t.Error("a column that the sender hid is shown")
	}
}

func TestUnreadableWorkbookIsWithheldAndTheCSVStays(t *testing.T) {
	in := simple.input(t, []byte("PK\x03\x04 no workbook at all"))
	res, err := WriteResult(context.Background(), in)
	if err != nil || res.Withheld == "" || res.Rows != 1 {
		t.Error(err, res)
	}
}

func TestNothingIsSpooledToTheTemporaryFolder(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	content := simpleBook(t, func(f *excelize.File) {
		_, _ = f.NewSheet("Big")
		w, err := f.NewStreamWriter("Big")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 700 { // 21 MB of sheet, above the library's own limit
			_ = w.SetRow(fmt.Sprintf("A%d", i+1), []any{strings.Repeat("x", 30_000)})
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	})
	if err := os.RemoveAll(temp); err != nil { // whoever makes a file there now fails
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	part, err := z.Open("xl/worksheets/sheet2.xml")
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := io.Copy(io.Discard, part); n <= excelize.StreamChunkSize {
		t.Fatalf("the sheet has only %d bytes", n)
	}
	in := simple.input(t, content)
	res, err := WriteResult(context.Background(), in)
	if err != nil || res.Withheld != "" {
		t.Error(err, res)
	}
}

// What is said of a withheld workbook stands in reports, beside an original that is sealed for what it holds.
func TestWhyAWorkbookIsWithheldQuotesNothingOfIt(t *testing.T) {
	const sheet, styles = "xl/worksheets/sheet1.xml", "xl/styles.xml"
	part := func(name string) func(*excelize.File) {
		return func(f *excelize.File) { f.Pkg.Store(name, []byte("<x/>")) }
	}
	for name, book := range map[string][]byte{
		"a part's name":     simpleBook(t, part("customXml/"+clear+".xml")),
		"a folder's name":   simpleBook(t, part(clear[:8]+"-"+clear[8:]+"/x.xml")),
		"a merged cell":     altered(t, sheet, "</sheetData>", `</sheetData><mergeCells><mergeCell ref="`+clear+`"/></mergeCells>`),
		"a truth":           altered(t, sheet, "<sheetData>", `<sheetPr><outlinePr summaryBelow="`+clear+`"/></sheetPr><sheetData>`),
		"a cell's style":    altered(t, sheet, `<c r="A2"`, `<c r="A2" s="`+clear+`x"`),
		"a row's height":    altered(t, sheet, `<row r="2"`, `<row r="2" ht="`+clear+`x"`),
		"a count of styles": altered(t, styles, `<fonts count="1"`, `<fonts count="`+clear+`x"`),
		"an element's name": altered(t, styles, "<fonts", "<a:"+clear+":b/><fonts"),
		"a dimension":       altered(t, sheet, "<sheetData>", `<dimension ref="A1:`+clear+`"/><sheetData>`),
	} {
		in := simple.input(t, book)
		res, err := WriteResult(t.Context(), in)
		if err != nil {
			t.Errorf("%s ends the night: %s", name, maskSpaced(err.Error()))
			continue
		}
		if res.Withheld == "" || findClear(res.Withheld) {
			t.Errorf("%s: %s", name, maskSpaced(res.Withheld))
		}
	}
}

// altered is the simple workbook with a piece of one part replaced.
func altered(t *testing.T, part, from, to string) []byte {
	t.Helper()
	book := simpleBook(t, func(*excelize.File) {})
	in, err := zip.NewReader(bytes.NewReader(book), int64(len(book)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, p := range in.File {
		content, err := readPart(p)
		if err != nil {
			t.Fatal(err)
		}
		if p.Name == part {
			before := content
			if content = bytes.Replace(content, []byte(from), []byte(to), 1); bytes.Equal(before, content) {
				t.Fatalf("%s has no %s", part, from)
			}
		}
		add, err := w.Create(p.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := add.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
