package report

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/xuri/excelize/v2"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// This file makes the result workbook: the sender's own, with our columns to
// the right of what is there.

// defaultUnpacked is the most bytes of a workbook, unpacked, that is taken.
const defaultUnpacked = 1 << 30

// errWithheld is why a result workbook is not written; the CSV has it all. It
// is told beside an original that may be kept sealed, so it says what part of
// the workbook is concerned and what is wrong with it, in our words: errors of
// the library and names of parts are the sender's bytes, and hold card numbers.
type errWithheld struct{ why string }

func (e errWithheld) Error() string { return e.why }

// writeWorkbook writes <name>.result.xlsx, or says in res why not.
func writeWorkbook(ctx context.Context, in ResultInput, res *Result) error {
	path := filepath.Join(in.Dir, in.Name+".result.xlsx")
	content, err := colourWorkbook(ctx, in)
	var withheld errWithheld
	if errors.As(err, &withheld) {
		res.Withheld = fmt.Sprintf("%s has no result workbook, only the CSV: %s", in.Name, withheld.why)
		return in.Files.Remove(path) // one of an earlier try
	}
	if err != nil {
		return fmt.Errorf("write the result workbook of %s: %w", in.Name, err)
	}
	err = in.Files.Write(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	if err != nil {
		return fmt.Errorf("write the result workbook of %s: %w", in.Name, err)
	}
	res.Workbook = path
	return nil
}

// colourWorkbook gives the finished workbook, searched. A workbook that the
// library cannot handle must not stop the night: it is withheld.
func colourWorkbook(ctx context.Context, in ResultInput) (content []byte, err error) {
	defer func() {
		if recover() != nil { // what the panic says may quote cells
			content, err = nil, errWithheld{"the workbook has something that cannot be written again"}
		}
	}()
	for _, sheet := range in.Sheets {
		if in.FindKnown(sheet.Name) {
			return nil, errWithheld{"the name of a sheet is a card number that we know"}
		}
	}
	original, err := in.Workbook()
	if err != nil {
		return nil, fmt.Errorf("read it again: %w", err)
	}
	book, err := openWorkbook(original, in)
	if err != nil {
		return nil, err
	}
	defer book.Close()
	if err := appendColumns(ctx, book, in); err != nil {
		return nil, err
	}
	saved, err := book.WriteToBuffer()
	if err != nil {
		return nil, errWithheld{"the library that writes workbooks cannot save it"}
	}
	if part := foundIn(saved.Bytes(), in.FindKnown, 0); part != "" {
		return nil, errWithheld{"a card number that we know would remain in " + part}
	}
	return saved.Bytes(), nil
}

// openWorkbook opens the sender's workbook in memory, all parts masked before
// any is read. The library spools a part above its limit to a clear file in
// the temporary folder; limits that are equal leave it no reason to.
func openWorkbook(original []byte, in ResultInput) (*excelize.File, error) {
	limit := in.MaxUnpacked
	if limit <= 0 {
		limit = defaultUnpacked
	}
	book, err := excelize.OpenReader(bytes.NewReader(original), excelize.Options{UnzipSizeLimit: limit, UnzipXMLSizeLimit: limit})
	if err != nil {
		return nil, errWithheld{notOpened(original, limit)}
	}
	book.Pkg.Range(func(name, part any) bool {
		if n := strings.ToLower(name.(string)); strings.HasSuffix(n, ".xml") {
			book.Pkg.Store(name, maskPart(part.([]byte), in.Mask))
		}
		return true
	})
	if err := giveStyles(book); err != nil {
		return nil, errors.Join(err, book.Close())
	}
	return book, nil
}

// notOpened says why the library cannot open a workbook, as far as its archive shows.
func notOpened(original []byte, limit int64) string {
	archive, err := zip.NewReader(bytes.NewReader(original), int64(len(original)))
	if err != nil {
		return "its archive is damaged"
	}
	var unpacked uint64
	for _, part := range archive.File {
		unpacked += part.UncompressedSize64
	}
	if unpacked > uint64(limit) {
		return fmt.Sprintf("it has more than %d bytes when unpacked, the most that is written again", limit)
	}
	return "the library that writes workbooks does not understand one of its parts"
}

// unwritable withholds a workbook because of one of its sheets, whose name was searched before.
func unwritable(sheet string) error {
	return errWithheld{fmt.Sprintf("sheet %q has something that the library that writes workbooks does not understand", sheet)}
}

// resultWidths are the widths of the appended columns in characters, in the
// order of resultColumns, as runs of columns that are equally wide: each run
// costs a third of a second where the sender gave all 16,384 columns a width.
var resultWidths = []struct {
	columns int
	width   float64
}{{1, 12}, {1, 8}, {1, 28}, {1, 76}, {1, 34}, {4, 24}, {4, 17}, {2, 26}, {1, 13}, {1, 36}, {1, 11}, {1, 26}}

// sheetPlan is where our columns go on one sheet.
type sheetPlan struct {
	name   string
	column int // first of ours, from 1
	rows   loadedRows
}

// appendColumns writes headers and answers.
func appendColumns(ctx context.Context, book *excelize.File, in ResultInput) error {
	look, err := newPalette(book)
	if err != nil {
		return err
	}
	plans, loaded := map[string]sheetPlan{}, map[any]bool{}
	for _, sheet := range in.Sheets {
		if len(sheet.Header) == 0 || sheet.HeaderLine < 1 {
			continue
		}
		plan, err := planSheet(book, sheet, loaded)
		if err != nil {
			return err
		}
		if err := plan.writeHeader(book, sheet.HeaderLine, look); err != nil {
			return unwritable(sheet.Name)
		}
		plans[sheet.Name] = plan
	}
	return in.Told(ctx, func(t *ledger.Told) error {
		plan, ok := plans[t.Sheet]
		if !ok {
			return fmt.Errorf("%w: an answer is for sheet %q, which has no requests", ErrRowsDiffer, t.Sheet)
		}
		if err := plan.writeAnswer(book, t, look); err != nil {
			return unwritable(t.Sheet)
		}
		return nil
	})
}

// planSheet finds the first column to the right of everything the sheet has:
// contents, header, merged cells. Cells that are only formatted do not count,
// some producers format whole rows to the last column.
func planSheet(book *excelize.File, sheet SenderSheet, loaded map[any]bool) (sheetPlan, error) {
	used, err := usedColumns(book, sheet)
	if err != nil {
		return sheetPlan{}, err
	}
	merged, err := book.GetMergeCells(sheet.Name)
	if err != nil {
		return sheetPlan{}, unwritable(sheet.Name)
	}
	ours := newlyLoaded(book, loaded) // to ask for merged cells loads the sheet
	for _, m := range merged {
		if column, _, err := excelize.CellNameToCoordinates(m.GetEndAxis()); err == nil {
			used = max(used, column)
		}
	}
	if used+len(resultColumns) > excelize.MaxColumns {
		return sheetPlan{}, errWithheld{fmt.Sprintf("sheet %q has no room for more columns", sheet.Name)}
	}
	return sheetPlan{sheet.Name, used + 1, ours}, nil
}

// usedColumns is the last column with contents, or of the header. To be asked
// before the sheet is loaded: the rows of a loaded one are first written out again.
func usedColumns(book *excelize.File, sheet SenderSheet) (int, error) {
	used := len(sheet.Header)
	rows, err := book.Rows(sheet.Name)
	if err != nil {
		return 0, unwritable(sheet.Name)
	}
	defer rows.Close()
	for rows.Next() {
		cells, err := rows.Columns(excelize.Options{RawCellValue: true})
		if err != nil {
			return 0, unwritable(sheet.Name)
		}
		for len(cells) > used && cells[len(cells)-1] == "" {
			cells = cells[:len(cells)-1]
		}
		used = max(used, len(cells))
	}
	return used, nil
}

// writeHeader writes and dresses our part of the header row.
func (p sheetPlan) writeHeader(book *excelize.File, line int, look palette) error {
	for i, name := range resultColumns {
		if err := book.SetCellStr(p.name, p.cell(i, line), name); err != nil {
			return err
		}
	}
	if err := book.SetCellStyle(p.name, p.cell(0, line), p.cell(len(resultColumns)-1, line), look.header); err != nil {
		return err
	}
	return p.widen(book)
}

// widen gives our columns, and no others, their widths, and shows them where
// the sender hid everything to the right.
func (p sheetPlan) widen(book *excelize.File) error {
	column, hidden := p.column, false
	for _, run := range resultWidths {
		first, last := letters(column), letters(column+run.columns-1)
		for i := range run.columns {
			visible, err := book.GetColVisible(p.name, letters(column+i))
			if err != nil {
				return err
			}
			hidden = hidden || !visible
		}
		if err := book.SetColWidth(p.name, first, last, run.width); err != nil {
			return err
		}
		column += run.columns
	}
	if !hidden {
		return nil
	}
	return book.SetColVisible(p.name, letters(p.column)+":"+letters(column-1), true)
}

// writeAnswer writes one answer beside its row.
func (p sheetPlan) writeAnswer(book *excelize.File, t *ledger.Told, look palette) error {
	colours := look.outcome[t.Outcome]
	p.rows.reserve(t.Line, p.column+len(resultColumns)-1)
	if err := book.SetCellStyle(p.name, p.cell(0, t.Line), p.cell(len(resultColumns)-1, t.Line), colours.text); err != nil {
		return err
	}
	if err := book.SetCellStyle(p.name, p.cell(0, t.Line), p.cell(0, t.Line), colours.strong); err != nil {
		return err
	}
	detail := detailOf(t)
	for i, text := range detail.cells() {
		if text == "" {
			continue
		}
		if err := p.writeCell(book, i, t.Line, text, colours); err != nil {
			return err
		}
	}
	return p.wrapLong(book, t.Line, detail, colours)
}

// wrapLong breaks a long message or list of codes into lines, where the row
// has or can be given the height for them.
func (p sheetPlan) wrapLong(book *excelize.File, line int, d detail, colours shade) error {
	lines := max(linesOf(d.message, columnMessage), linesOf(d.allCodes, columnAllCodes))
	if lines == 1 || !p.rows.fit(line, lines) {
		return nil
	}
	return book.SetCellStyle(p.name, p.cell(columnMessage, line), p.cell(columnAllCodes, line), colours.long)
}

// linesOf is how many lines a text takes in the i-th of our columns.
func linesOf(text string, i int) int {
	for _, run := range resultWidths {
		if i < run.columns {
			return wrapped(text, int(1.15*run.width)) // a width counts digits of 11 points; our letters are smaller
		}
		i -= run.columns
	}
	return 1
}

// writeCell writes class and amounts as numbers, everything else, ids above all, as text.
func (p sheetPlan) writeCell(book *excelize.File, i, line int, text string, colours shade) error {
	cell := p.cell(i, line)
	money := i == columnBalance || i == columnFee
	if (money || i == columnClass) && isAmount(text) && len(text) <= 15 {
		number, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return err
		}
		style := colours.number
		if money {
			style = colours.money
		}
		if err := book.SetCellStyle(p.name, cell, cell, style); err != nil {
			return err
		}
		return book.SetCellFloat(p.name, cell, number, -1, 64)
	}
	return book.SetCellStr(p.name, cell, Neutral(text))
}

func (p sheetPlan) cell(i, line int) string { return letters(p.column+i) + strconv.Itoa(line) }

// letters is the name of a column; planSheet has made sure that there is one.
func letters(column int) string {
	name, err := excelize.ColumnNumberToName(column)
	if err != nil {
		return ""
	}
	return name
}

// shade is how the cells of one outcome look.
type shade struct{ strong, text, long, number, money int }

// palette holds the style ids of our columns in one workbook.
type palette struct {
	header  int
	outcome map[rules.Outcome]shade
}

// Colours of an outcome: a strong and a light ground, and a text colour with a
// contrast of at least 7:1 on both. The outcome is always in words too.
var outcomeColours = map[rules.Outcome]struct{ strong, light, ink string }{
	rules.Accepted:  {"C6EFCE", "EAF7EC", "0B4F1F"},
	rules.Refused:   {"FFC7CE", "FDEBED", "7A0010"},
	rules.Duplicate: {"FFE699", "FFF7DD", "5C4100"},
	rules.Held:      {"BDD7EE", "E8F1F9", "12395E"},
}

func newPalette(book *excelize.File) (palette, error) {
	thin := []excelize.Border{
		{Type: "bottom", Color: "D9D9D9", Style: 1}, {Type: "right", Color: "D9D9D9", Style: 1},
		{Type: "left", Color: "D9D9D9", Style: 1}, {Type: "top", Color: "D9D9D9", Style: 1},
	}
	p := palette{outcome: map[rules.Outcome]shade{}}
	var failed error
	indent := map[string]int{"left": 1, "right": 1}
	style := func(ground, ink string, bold bool, format int, horizontal string, wrap bool) int {
		id, err := book.NewStyle(&excelize.Style{
			Fill: excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{ground}}, Border: thin, NumFmt: format,
			Font:      &excelize.Font{Color: ink, Bold: bold, Family: "Calibri", Size: 10},
			Alignment: &excelize.Alignment{Vertical: "center", Horizontal: horizontal, Indent: indent[horizontal], WrapText: wrap},
		})
		if err != nil {
			failed = errWithheld{"its styles cannot be extended"}
		}
		return id
	}
	const general, twoDecimals, text = 0, 4, 49 // built-in number formats
	p.header = style("24364B", "FFFFFF", true, text, "left", false)
	for _, outcome := range []rules.Outcome{rules.Accepted, rules.Refused, rules.Duplicate, rules.Held} {
		c := outcomeColours[outcome]
		p.outcome[outcome] = shade{
			strong: style(c.strong, c.ink, true, text, "left", false),
			text:   style(c.light, c.ink, false, text, "left", false), long: style(c.light, c.ink, false, text, "left", true),
			number: style(c.light, c.ink, false, general, "center", false), money: style(c.light, c.ink, false, twoDecimals, "right", false),
		}
	}
	return p, failed
}
