package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"
)

// writeBook writes reconciliation.xlsx: what the page shows, to work with. It
// is small by the limits of what it lists, and stays in memory until it is written.
func (r *Reconciliation) writeBook(w io.Writer) error {
	file := excelize.NewFile()
	defer file.Close()
	file.ZipWriter = func(w io.Writer) excelize.ZipWriter { return &sortedZip{to: w, parts: map[string]*bytes.Buffer{}} }
	b := &book{file: file}
	if err := b.dress(); err != nil {
		return err
	}
	for i, write := range []func(*Reconciliation) error{
		b.summary, b.needs, b.balances, b.files, b.bureaus, b.ageing, b.nights, b.returns, b.events, b.byCode, b.byReason, b.byProduct, b.refusals, b.waiting,
	} {
		if err := write(r); err != nil {
			return fmt.Errorf("sheet %d: %w", i+1, err)
		}
	}
	if err := file.DeleteSheet("Sheet1"); err != nil {
		return err
	}
	file.SetActiveSheet(0)
	return file.Write(w)
}

// book is the workbook in the making.
type book struct {
	file                                                             *excelize.File
	head, numberHead, text, small, number, plain, title, good, alarm int
}

// dress makes the styles.
func (b *book) dress() error {
	var failed error
	style := func(s excelize.Style) int {
		id, err := b.file.NewStyle(&s)
		if err != nil {
			failed = err
		}
		return id
	}
	const asText, general, grouped = 49, 0, 3
	calibri := func(size float64, bold bool, colour string) *excelize.Font {
		return &excelize.Font{Bold: bold, Color: colour, Family: "Calibri", Size: size}
	}
	wrap := &excelize.Alignment{Vertical: "top", WrapText: true}
	right := func(indent int) *excelize.Alignment {
		return &excelize.Alignment{Vertical: "top", Horizontal: "right", Indent: indent}
	}
	b.head = style(excelize.Style{Font: calibri(11, true, "FFFFFF"), Fill: fill("24364B"), Alignment: &excelize.Alignment{Vertical: "center"}})
	b.numberHead = style(excelize.Style{Font: calibri(11, true, "FFFFFF"), Fill: fill("24364B"), Alignment: &excelize.Alignment{Vertical: "center", Horizontal: "right", Indent: 1}})
	b.text = style(excelize.Style{NumFmt: asText, Alignment: wrap})
	b.small = style(excelize.Style{NumFmt: asText, Alignment: wrap, Font: calibri(8, false, "44525F")})
	b.number = style(excelize.Style{NumFmt: grouped, Alignment: right(1)}) // away from a text to its right
	b.plain = style(excelize.Style{NumFmt: general, Alignment: &excelize.Alignment{Vertical: "top", Horizontal: "left"}})
	b.title = style(excelize.Style{Font: calibri(14, true, ""), Alignment: &excelize.Alignment{Vertical: "center", WrapText: true}})
	b.good = style(excelize.Style{NumFmt: asText, Font: calibri(11, true, "0B4F1F"), Fill: fill("C6EFCE"), Alignment: wrap})
	b.alarm = style(excelize.Style{NumFmt: asText, Font: calibri(11, true, "7A0010"), Fill: fill("FFC7CE"), Alignment: wrap})
	return failed
}

func fill(colour string) excelize.Fill {
	return excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{colour}}
}

// column of a sheet: its width is in characters.
type column struct {
	name  string
	width float64
	kind  columnKind
}

type columnKind int

const (
	words   columnKind = iota
	numbers            // stands to the right, its heading too
	digest             // small, over several lines
)

// sheet writes a table: a frozen header with a filter, text as text, numbers as numbers.
func (b *book) sheet(name string, columns []column, rows int, row func(i int) []any) error {
	return b.sheetWith(name, columns, rows, row, func() error { return nil })
}

// sheetWith writes a table and then draws what belongs to it.
func (b *book) sheetWith(name string, columns []column, rows int, row func(i int) []any, draw func() error) error {
	if err := b.newSheet(name); err != nil {
		return err
	}
	s, err := b.file.NewStreamWriter(name)
	if err != nil {
		return err
	}
	header := make([]any, len(columns))
	for i, c := range columns {
		header[i] = excelize.Cell{StyleID: b.head, Value: c.name}
		if c.kind == numbers {
			header[i] = excelize.Cell{StyleID: b.numberHead, Value: c.name}
		}
		if err := s.SetColWidth(i+1, i+1, c.width); err != nil {
			return err
		}
	}
	if err := s.SetPanes(&excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}); err != nil {
		return err
	}
	if err := s.SetRow("A1", header, excelize.RowOpts{Height: 20}); err != nil {
		return err
	}
	for i := range rows {
		cells, lines := b.cells(row(i), columns)
		if err := s.SetRow(fmt.Sprintf("A%d", i+2), cells, height(lines)...); err != nil {
			return err
		}
	}
	last, err := excelize.CoordinatesToCellName(len(columns), rows+1)
	if err != nil {
		return err
	}
	if err := b.file.AutoFilter(name, "A1:"+last, nil); err != nil { // before Flush, which writes it
		return err
	}
	if err := draw(); err != nil { // likewise
		return err
	}
	err = b.file.SetDefinedName(&excelize.DefinedName{Name: "_xlnm.Print_Titles", RefersTo: "'" + name + "'!$1:$1", Scope: name})
	if err != nil {
		return err
	}
	return s.Flush()
}

// cells dresses values: what is no number is a text, neutral. It says how many
// lines the highest cell needs in columns so wide.
func (b *book) cells(values []any, columns []column) (cells []any, lines int) {
	lines = 1
	for i, v := range values {
		switch v := v.(type) {
		case excelize.Cell:
		case string:
			style, width := b.text, 1.1*columns[i].width // most letters are narrower than a digit, which the width counts
			if columns[i].kind == digest {
				style, width = b.small, 1.3*width // in the smaller letters
			}
			values[i] = excelize.Cell{StyleID: style, Value: Neutral(v)}
			lines = max(lines, wrapped(v, int(width)))
		default:
			values[i] = excelize.Cell{StyleID: b.number, Value: v}
		}
	}
	return values, lines
}

// height is given to rows of more than one line: not every program makes it
// itself, and then a long text runs over the row below.
func height(lines int) []excelize.RowOpts {
	if lines <= 1 {
		return nil
	}
	return []excelize.RowOpts{{Height: min(409, 15*float64(lines)+1)}} // 409 points is the most there is
}

// wrapped is the number of lines that text takes in a cell of so many
// characters: broken at line ends and spaces, a longer word wherever the line ends.
func wrapped(text string, width int) int {
	lines := 0
	for line := range strings.SplitSeq(text, "\n") {
		lines += wrappedLine(line, width)
	}
	return lines
}

func wrappedLine(text string, width int) int {
	lines, used := 1, 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case used == 0:
			used = n
		case used+1+n <= width:
			used += 1 + n
		default:
			lines, used = lines+1, n
		}
		for ; used > width; used -= width {
			lines++
		}
	}
	return lines
}

// newSheet makes a sheet that prints on as many landscape pages as it is long, and one wide.
func (b *book) newSheet(name string) error {
	if _, err := b.file.NewSheet(name); err != nil {
		return err
	}
	landscape, a4, one, endless, fit, margin := "landscape", 9, 1, 0, true, 0.4
	if err := b.file.SetSheetProps(name, &excelize.SheetPropsOptions{FitToPage: &fit}); err != nil {
		return err
	}
	if err := b.file.SetPageMargins(name, &excelize.PageLayoutMarginsOptions{Left: &margin, Right: &margin, Top: &margin, Bottom: &margin}); err != nil {
		return err
	}
	return b.file.SetPageLayout(name, &excelize.PageLayoutOptions{Orientation: &landscape, Size: &a4, FitToWidth: &one, FitToHeight: &endless})
}

func (b *book) byCode(r *Reconciliation) error {
	return b.sheet("By code", []column{{"outcome", 14, words}, {"code", 34, words}, {"rows", 12, numbers}, {"meaning", 56, words}}, len(r.ByCode), func(i int) []any {
		c := r.ByCode[i]
		return []any{string(c.Outcome), string(c.Code), c.N, c.words()}
	})
}

// outcomeColumns stand in each of the counts.
var outcomeColumns = []column{{"read", 12, numbers}, {"accepted", 13, numbers}, {"refused", 12, numbers}, {"duplicate", 14, numbers}, {"held", 12, numbers}}

func (o Outcomes) values() []any { return []any{o.Read, o.Accepted, o.Refused, o.Duplicate, o.Held} }

func (b *book) byProduct(r *Reconciliation) error {
	return b.sheet("By product", append([]column{{"product", 28, words}}, outcomeColumns...), len(r.ByProduct), func(i int) []any {
		c := r.ByProduct[i]
		return append([]any{cmp.Or(c.Product, noProduct)}, c.values()...)
	})
}

// refusals lists the first of them; refusals.csv has all.
func (b *book) refusals(r *Reconciliation) error {
	return b.sheet("Refusals", []column{
		{"file", 28, words}, {"sheet", 15, words}, {"row", 10, numbers}, {"card_id", 20, words}, {"request", 12, words}, {"outcome", 12, words},
		{"class", 10, numbers}, {"code", 30, words}, {"all_codes", 36, words}, {"message", 76, words},
	}, len(r.refusals), func(i int) []any {
		f := r.refusals[i]
		return []any{f.File, f.Sheet, f.Row, f.CardID, f.Request, f.Outcome, f.Class, f.Code, f.Codes, f.Message}
	})
}

func (b *book) waiting(r *Reconciliation) error {
	return b.sheet("Waiting", []column{{"bureau", 16, words}, {"orders", 12, numbers}, {"accepted in run", 20, words}, {"why", 80, words}}, len(r.Waits), func(i int) []any {
		w := r.Waits[i]
		return []any{w.Bureau, w.Orders, w.RunID, w.Reason}
	})
}
