package table

import (
	"bytes"
	"strconv"
	"strings"
)

// What a worksheet can have at most (Excel's own limits).
const (
	maxSheetRow    = 1_048_576
	maxSheetColumn = 16_384
)

// sheetScanner reads the rows of one worksheet.
//
// It is strict where a row could be lost: rows and cells must come in order,
// none twice, and nothing that is not known may stand among them.
type sheetScanner struct {
	*xmlScanner
	book   *workbook
	name   string
	visit  func(*Row) error
	inRow  int // the row in progress
	column int // the last cell read, index from 1

	row   Row
	cells []cell
	text  []byte // of all cells of the row that are not shared strings
	value []byte // of the cell in progress

	hiddenRows int
	counted    int // rows with content
}

// cell is a cell of the row in progress: a shared string, or a piece of the row's text.
type cell struct {
	shared   string
	from, to int
	mark     Mark
}

func (w *workbook) walk(sheet int, visit func(*Row) error) error {
	part := w.sheets[sheet]
	p, err := w.open(part.part)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	s := &sheetScanner{xmlScanner: newXMLScanner(p), book: w, name: part.name}
	stopped := false
	s.visit = func(r *Row) error {
		err := visit(r)
		stopped = err != nil
		return err
	}
	err = s.read()
	if damage, ok := err.(*Error); ok && !stopped && damage.Sheet == "" { // an Error of our own, as yet without its place
		at := *damage
		at.Sheet, at.Line = s.name, s.inRow
		return &at
	}
	return err
}

func (s *sheetScanner) read() error {
	if kind, err := s.next(); err != nil || kind != tokenStart || !s.is("worksheet") {
		return orNot(err, "a sheet is no worksheet")
	}
	seen := false
	for {
		kind, err := s.next()
		if err != nil {
			return err
		}
		if kind == tokenEOF {
			break
		}
		if kind != tokenStart {
			continue
		}
		switch {
		case s.is("sheetData"):
			if seen {
				return notXML("a sheet has its rows twice")
			}
			seen = true
			err = s.readRows()
		case s.is("cols"):
			err = s.readColumns()
		case s.is("mergeCells"):
			s.book.file.note("sheet %q has merged cells; only the first cell of each holds the value, the others count as blank", s.name)
			err = s.skip()
		default:
			err = s.skip()
		}
		if err != nil {
			return err
		}
	}
	if !seen {
		return notXML("a sheet has no rows element")
	}
	switch {
	case s.hiddenRows == 1:
		s.book.file.note("sheet %q has 1 hidden row, which is read like the others", s.name)
	case s.hiddenRows > 1:
		s.book.file.note("sheet %q has %d hidden rows, which are read like the others", s.name, s.hiddenRows)
	}
	return nil
}

func orNot(err error, what string) error {
	if err != nil {
		return err
	}
	return notXML("%s", what)
}

func (s *sheetScanner) readColumns() error {
	for depth := s.depth - 1; s.depth > depth; {
		kind, err := s.next()
		if err != nil {
			return err
		}
		if kind == tokenStart && s.is("col") && isTrue(s.attr("hidden")) {
			s.book.file.note("sheet %q has hidden columns, which are read like the others", s.name)
		}
	}
	return nil
}

func (s *sheetScanner) readRows() error {
	for {
		kind, err := s.next()
		switch {
		case err != nil:
			return err
		case kind == tokenEnd:
			return nil
		case kind == tokenText:
			err = s.blankOnly()
		case s.is("row"):
			err = s.readRow()
		default:
			err = notXML("something that is no row stands among the rows")
		}
		if err != nil {
			return err
		}
	}
}

// blankOnly refuses text where only elements may stand.
func (s *sheetScanner) blankOnly() error {
	if len(bytes.Trim(s.xmlScanner.text, " \t\r\n")) > 0 {
		return notXML("text stands between the cells")
	}
	return nil
}

func (s *sheetScanner) readRow() error {
	number := s.inRow + 1
	if r := s.attr("r"); r != nil {
		number = smallNumber(r)
	}
	if number <= s.inRow || number > maxSheetRow {
		return notXML("the row after row %d has the wrong number", s.inRow)
	}
	s.inRow, s.column = number, 0
	if isTrue(s.attr("hidden")) {
		s.hiddenRows++
	}
	s.cells, s.text = s.cells[:0], s.text[:0]
	s.row = Row{Line: number, Cells: s.row.Cells[:0], Marks: s.row.Marks[:0]}
	for {
		kind, err := s.next()
		switch {
		case err != nil:
			return err
		case kind == tokenEnd:
			return s.endRow()
		case kind == tokenText:
			err = s.blankOnly()
		case s.is("c"):
			err = s.readCell()
		case string(s.name) == "extLst":
			err = s.skip()
		default:
			err = notXML("something that is no cell stands among the cells")
		}
		if err != nil {
			return err
		}
	}
}

// smallNumber reads a positive number of up to seven digits, -1 for anything else.
func smallNumber(b []byte) int {
	if len(b) == 0 || len(b) > 7 {
		return -1
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// place moves to the cell's column, by its reference such as BC12 if it has one.
func (s *sheetScanner) place(ref []byte) error {
	column := s.column + 1
	if ref != nil {
		n := 0
		for n < len(ref) && n < 4 && ref[n] >= 'A' && ref[n] <= 'Z' {
			n++
		}
		if n == 0 || smallNumber(ref[n:]) != s.inRow {
			return notXML("a cell does not belong to its row")
		}
		column = 0
		for _, c := range ref[:n] {
			column = column*26 + int(c-'A') + 1
		}
	}
	if column > maxSheetColumn {
		return notXML("a cell stands beyond the last column that a sheet can have (XFD)")
	}
	if column <= s.column {
		return notXML("the cells of a row are not in order")
	}
	s.column = column
	return nil
}

// readCell reads the cell whose start tag was just read.
func (s *sheetScanner) readCell() error {
	if err := s.place(s.attr("r")); err != nil {
		return err
	}
	kind, format := kindOf(s.attr("t")), numberFormat{}
	if kind == unknownCell {
		return notXML("a cell is of an unknown type")
	}
	if style := s.attr("s"); style != nil && kind == numberCell {
		if n := smallNumber(style); n >= 0 && n < len(s.book.styles) {
			format = s.book.styles[n]
		}
	}
	s.value = s.value[:0]
	var formula, valued, inline, long bool
	for {
		token, err := s.next()
		switch {
		case err != nil:
			return err
		case token == tokenEnd:
			if !valued && !inline && !formula {
				return nil // a style and no content
			}
			if formula && !valued && !inline {
				return s.keep(cell{mark: NoValue})
			}
			return s.addCell(kind, format, formula, long)
		case token == tokenText:
			err = s.blankOnly()
		case s.is("v"):
			if valued {
				return notXML("a cell has two values")
			}
			valued = true
			long, err = s.readValue()
		case s.is("f"):
			formula = true
			err = s.skip()
		case s.is("is"):
			inline = true
			limit := s.book.limits.Field
			err = richText(s.xmlScanner, func(piece []byte) { s.value = append(s.value, piece...) }, int64(limit))
			long = len(s.value) > limit
		case string(s.name) == "extLst":
			err = s.skip()
		default:
			err = notXML("something unknown stands in a cell")
		}
		if err != nil {
			return err
		}
	}
}

// readValue reads the text of v into value; long says that it was cut.
func (s *sheetScanner) readValue() (long bool, err error) {
	for {
		kind, err := s.next()
		switch {
		case err != nil:
			return false, err
		case kind == tokenEnd:
			return len(s.value) > s.book.limits.Field, nil
		case kind == tokenStart:
			return false, notXML("the value of a cell holds an element")
		case len(s.value) <= s.book.limits.Field:
			s.value = append(s.value, s.xmlScanner.text...)
		}
	}
}

type cellKind uint8

const (
	numberCell cellKind = iota
	sharedCell
	textCell // inlineStr, str
	boolCell
	errorCell
	dateCell
	unknownCell
)

func kindOf(t []byte) cellKind {
	switch string(t) {
	case "", "n":
		return numberCell
	case "s":
		return sharedCell
	case "inlineStr", "str":
		return textCell
	case "b":
		return boolCell
	case "e":
		return errorCell
	case "d":
		return dateCell
	}
	return unknownCell
}

func (s *sheetScanner) addCell(kind cellKind, format numberFormat, formula, long bool) error {
	c := cell{from: len(s.text)}
	value := s.value
	if kind != textCell {
		value = bytes.Trim(value, " \t\r\n")
	}
	switch {
	case long:
		value = value[:min(len(value), s.book.limits.Field)]
		s.text = append(s.text, bytes.ToValidUTF8(value, nil)...)
		c.mark = TooLong
	case kind == textCell:
		s.text = append(s.text, value...)
	case len(value) == 0:
		if !formula {
			return nil
		}
		c.mark = NoValue
	case kind == sharedCell:
		shared, ok := s.book.strings.at(smallNumber(value))
		if !ok {
			return notXML("a cell refers to a text that is not there")
		}
		if c.shared = shared; len(shared) > s.book.limits.Field {
			c.shared, c.mark = strings.ToValidUTF8(shared[:s.book.limits.Field], ""), TooLong
		}
	case kind == boolCell:
		if s.text = append(s.text, "FALSE"...); isTrue(value) {
			s.text = append(s.text[:c.from], "TRUE"...)
		}
	case kind == errorCell:
		s.text = append(s.text, value...)
		c.mark = ErrorCell
	case kind == dateCell:
		s.text = append(s.text, value...)
		c.mark = Date
	default:
		var err error
		if s.text, c.mark, err = renderNumber(s.text, value, format, s.book.file.date04); err != nil {
			return err
		}
	}
	if len(s.text) > s.book.limits.record() {
		s.text, c.mark = s.text[:c.from], TooLong
	}
	c.to = len(s.text)
	return s.keep(c)
}

func (s *sheetScanner) keep(c cell) error {
	if c.from == c.to && c.shared == "" && c.mark == 0 {
		return nil
	}
	if s.column > s.book.limits.Columns {
		s.row.Fault = "it has more columns than the limit; delete what stands to the right of the table"
		return nil
	}
	for len(s.cells) < s.column-1 {
		s.cells = append(s.cells, cell{})
	}
	s.cells = append(s.cells, c)
	return nil
}

// endRow hands the row over, if it has any content.
func (s *sheetScanner) endRow() error {
	text := string(s.text)
	marked, content := false, s.row.Fault != ""
	for i := range s.cells {
		c := &s.cells[i]
		t := c.shared
		if t == "" {
			t = text[c.from:c.to]
		}
		if strings.IndexByte(t, 0) >= 0 { // written as _x0000_
			c.mark |= BadText
		}
		s.row.Cells = append(s.row.Cells, t)
		s.row.Marks = append(s.row.Marks, c.mark)
		marked = marked || c.mark != 0
		content = content || c.mark&(ErrorCell|NoValue|TooLong) != 0
	}
	if content {
		// A cell without text can still be one that refuses the row.
	} else if s.row.Cells = trimBlank(s.row.Cells); len(s.row.Cells) == 0 {
		return nil
	}
	row := s.row
	if row.Marks = row.Marks[:len(row.Cells)]; !marked {
		row.Marks = nil
	}
	if s.counted++; s.counted > s.book.limits.Rows {
		return tooLarge("the sheet has more than %d rows, which is the limit; split it, or raise the limit in the configuration", s.book.limits.Rows)
	}
	return s.visit(&row)
}

// renderNumber writes a number as text without passing it through a float, but
// for dates, and for fractions that have more digits than a spreadsheet shows.
func renderNumber(dst, raw []byte, f numberFormat, date1904 bool) ([]byte, Mark, error) {
	digits, fraction, exponent, ok := numberShape(raw)
	if !ok {
		return dst, 0, notXML("a cell is said to be a number, but is none")
	}
	mark := Number
	if f.date || f.clock {
		if out, ok := renderDate(dst, raw, f, date1904); ok {
			mark |= Date
			if f.noYear {
				mark |= NoYear
			}
			return out, mark, nil
		}
	}
	if exponent || digits > 15 || fraction == 0 {
		mark |= Lossy
	}
	switch {
	case fraction > 0 && !exponent && digits > 15:
		if n, err := strconv.ParseFloat(string(raw), 64); err == nil {
			return strconv.AppendFloat(dst, n, 'g', 15, 64), mark, nil
		}
	case fraction == 0 && !exponent:
		raw = raw[:bytes.IndexByte(raw, '.')] // 123.0 is shown as 123
	case f.digits > len(raw) && fraction < 0 && !exponent && raw[0] != '-':
		for range f.digits - len(raw) {
			dst = append(dst, '0')
		}
	}
	return append(dst, raw...), mark, nil
}

// numberShape takes a number apart: how many significant digits, whether it has an exponent, and
// what its fraction is: -1 for none, 0 for zeros only, else the digits of it.
func numberShape(raw []byte) (digits, fraction int, exponent, ok bool) {
	fraction = -1
	some := false
	for i, c := range raw {
		switch {
		case c >= '0' && c <= '9':
			some = true
			if digits > 0 || c != '0' {
				digits++
			}
			if fraction >= 0 && c != '0' {
				fraction++
			}
		case c == '.' && fraction < 0:
			fraction = 0
		case (c == '-' || c == '+') && i == 0:
		case (c == 'e' || c == 'E') && some:
			return digits, fraction, true, exponentOK(raw[i+1:])
		default:
			return 0, 0, false, false
		}
	}
	return digits, fraction, false, some
}

func exponentOK(b []byte) bool {
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		b = b[1:]
	}
	return len(b) > 0 && smallNumber(b) >= 0
}
