package extract

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"reemboss/formats/table"
)

// Codes of a [Problem], words of the vocabulary of results.
const (
	RowMalformed   = "row_malformed"
	CardIDMissing  = "card_id_missing"
	CardIDInvalid  = "card_id_invalid"
	PrecisionLoss  = "excel_precision_loss"
	CardValidation = "card_validation_error" // any other value that is not as the contract says
)

// FileError says why an extract cannot be read, from some place on: codes
// file_unreadable, file_too_large, header_missing, header_duplicate. Rows
// before that place may have been given already, but never before the header
// of their sheet was found right. Any other error is ours.
type FileError = table.Error

// Options of an extract.
type Options struct {
	Headers       map[string][]string // further names of columns, by canonical column
	Limits        table.Limits        // Rows counts over all sheets
	Statuses      []string            // card statuses that are known; empty takes any
	StatusAliases map[string]string   // other spellings → status; keys in upper case
	Location      *time.Location      // of dates and times without a zone; nil is UTC
}

// Problem is one thing that is wrong with a row. Detail is one plain sentence
// that names the column and says what to do; it never repeats a value.
type Problem struct {
	Code   string
	Column string // canonical, "" for the row as a whole
	Detail string
}

// Row is one card as the extract has it, with all that is wrong. Cells hold
// the card number in clear: they stay in memory, or are sealed. Printing a Row
// shows its place only.
type Row struct {
	Line     int      // as a spreadsheet shows it
	Sheet    string   // "" for CSV
	Header   []string // of its sheet, as the sender wrote it
	Card     Card     // what could be read
	Problems []Problem
	Cells    []string // beside Header; further cells are appended
}

// Format shows where the row stands, and nothing of what it holds.
func (r Row) Format(s fmt.State, _ rune) {
	if r.Sheet != "" {
		fmt.Fprintf(s, "sheet %q ", r.Sheet)
	}
	fmt.Fprintf(s, "row %d", r.Line)
}

// File is an open extract. It is not for concurrent use.
type File struct {
	table   *table.File
	names   *table.Dictionary
	options Options
	notes   []string
}

// Open opens the extract at path.
func Open(path string, o Options) (*File, error) {
	return open(o, func(t table.Options) (*table.File, error) { return table.Open(path, t) })
}

// New reads an extract from r, whose first size bytes it is.
func New(r io.ReaderAt, size int64, o Options) (*File, error) {
	return open(o, func(t table.Options) (*table.File, error) { return table.New(r, size, t) })
}

// Read reads an extract from a stream, such as one that is being decrypted:
// nothing of it is put down anywhere. A CSV extract is read as it comes, so
// [File.Each] works once; a workbook is held in memory, up to 128 MiB.
func Read(r io.Reader, o Options) (*File, error) {
	return open(o, func(t table.Options) (*table.File, error) { return table.Read(r, t) })
}

func open(o Options, read func(table.Options) (*table.File, error)) (*File, error) {
	if o.Location == nil {
		o.Location = time.UTC
	}
	o.Limits = o.Limits.WithDefaults()
	known := make([]string, len(columns))
	for i, c := range columns {
		known[i] = c.name
	}
	names, err := table.NewDictionary(known, o.Headers)
	if err != nil {
		return nil, err
	}
	ofSheets := o.Limits // titles and header are no cards
	ofSheets.Rows += table.HeaderRows
	t, err := read(table.Options{Limits: ofSheets, Header: func(cells []string) int { return names.Named(cells, cardID) }})
	if err != nil {
		return nil, err
	}
	return &File{table: t, names: names, options: o}, nil
}

// Format is csv or xlsx.
func (f *File) Format() string { return string(f.table.Format()) }

// Notes are things that a person should know about how the extract was read.
// The list is complete after a call of [File.Each] that came to the end.
func (f *File) Notes() []string { return slices.Concat(f.table.Notes(), f.notes) }

// Close closes the extract.
func (f *File) Close() error { return f.table.Close() }

var errNoHeader = errors.New("no header")

// Each calls visit for every row with content, in order. The row, its Cells
// and its Problems are valid during the call only; the Card may be kept. An
// error of visit ends the reading and is given back as it is.
//
// In a workbook every visible sheet with a header is read; a sheet without one
// is noted, unless there is no other.
func (f *File) Each(visit func(*Row) error) error {
	rows, read := 0, 0
	var without, spoilt []string
	for i, s := range f.table.Sheets() {
		p := &parser{file: f, sheet: s.Name}
		err := f.table.Rows(i, func(t *table.Row) error {
			if p.header == nil {
				return p.findHeader(t)
			}
			if rows++; rows > f.options.Limits.Rows {
				return &FileError{Code: table.TooLarge, Detail: fmt.Sprintf("the extract has more than %d rows, which is the limit; split it, or raise the limit in the configuration", f.options.Limits.Rows)}
			}
			return visit(p.read(t))
		})
		if err != nil && err != errNoHeader {
			return err
		}
		if p.header != nil {
			read++
		} else if p.content {
			without = append(without, s.Name)
			if p.spoilt != "" {
				spoilt = append(spoilt, p.spoilt)
			}
		}
	}
	if read == 0 {
		detail := fmt.Sprintf("none of the first %d rows names the card id; put a header row with card_id above the rows and send the extract again", table.HeaderRows)
		return &FileError{Code: table.HeaderMissing, Detail: strings.Join(append([]string{detail}, spoilt...), "; ")}
	}
	f.notes = f.notes[:0]
	for _, name := range without {
		f.notes = append(f.notes, fmt.Sprintf("sheet %q has no header that names the card id and is not read", name))
	}
	return nil
}

// parser makes cards of the rows of one sheet.
type parser struct {
	file    *File
	sheet   string
	header  *table.Header
	content bool
	spoilt  string // what is wrong with a row that would be the header
	known   []place
	row     Row
}

// place is where a column stands.
type place struct {
	at     int
	column *column
}

func (p *parser) findHeader(t *table.Row) error {
	p.content = true
	if t.Line > table.HeaderRows {
		return errNoHeader
	}
	if p.spoilt == "" {
		p.spoilt = p.file.names.Spoilt(t, cardID)
	}
	h, err := p.file.names.Header(t, cardID)
	if h == nil {
		var twice *FileError
		if errors.As(err, &twice) {
			twice.Sheet = p.sheet
		}
		return err
	}
	var missing []string
	for i := range columns {
		c := &columns[i]
		switch at, there := h.At[c.name]; {
		case there:
			p.known = append(p.known, place{at, c})
		case c.required:
			missing = append(missing, c.name)
		}
	}
	if missing != nil {
		return &FileError{Code: table.HeaderMissing, Sheet: p.sheet, Line: h.Line, Detail: fmt.Sprintf(
			"the header lacks %s; add what is missing and send the extract again", strings.Join(missing, ", "))}
	}
	p.header = h
	return nil
}

// read makes a card of a row and lists all that is wrong with it.
func (p *parser) read(t *table.Row) *Row {
	r := &p.row
	*r = Row{Line: t.Line, Sheet: p.sheet, Header: p.header.Cells, Card: defaults, Problems: r.Problems[:0], Cells: append(r.Cells[:0], t.Cells...)}
	for len(r.Cells) < len(p.header.Cells) {
		r.Cells = append(r.Cells, "")
	}
	p.checkRow(t)
	for _, k := range p.known {
		p.readCell(k, table.Trim(r.Cells[k.at]), t.Mark(k.at))
	}
	return r
}

func (p *parser) checkRow(t *table.Row) {
	if t.Fault != "" {
		p.refuse(RowMalformed, "", "the row cannot be read: %s", t.Fault)
		return
	}
	for i, width := len(p.header.Cells), len(t.Cells); i < width; i++ {
		if table.Trim(t.Cells[i]) != "" || t.Mark(i) != 0 {
			p.refuse(RowMalformed, "", "there is content in column %s, where the header has no name; clear it, or put a cell that holds the delimiter in quotes", table.ColumnName(i))
			return
		}
	}
	for i, mark := range t.Marks {
		if mark&table.TooLong != 0 {
			p.refuse(RowMalformed, "", "column %s: the cell is longer than the limit; shorten it", table.ColumnName(i))
		}
	}
}

func (p *parser) readCell(k place, text string, mark table.Mark) {
	c := k.column
	switch {
	case mark&(table.ErrorCell|table.NoValue|table.BadText) != 0:
		p.refuse(RowMalformed, c.name, "column %s: the cell has an error of the spreadsheet, a formula without a value, or bytes that are no text; correct it and send the row again", c.name)
		return
	case text == "" && !c.required:
		return
	case text == "" && c.name == cardID:
		p.refuse(CardIDMissing, c.name, "column %s is blank; every row needs its card id", c.name)
		return
	case text == "":
		p.refuse(CardValidation, c.name, "column %s is blank; it must be filled", c.name)
		return
	case c.id && table.SpoiledID(text, mark, c.name == cardID || c.name == pan):
		p.refuse(PrecisionLoss, c.name, "column %s: the spreadsheet changed the number (scientific notation, more than 15 digits, a decimal point or a date); export it as text and send the row again", c.name)
		return
	}
	if wrong := c.read(p, &p.row.Card, text, mark); wrong != "" {
		code := CardValidation
		switch {
		case c.name == cardID:
			code = CardIDInvalid
		case mark&table.NoYear != 0:
			code = PrecisionLoss
		}
		p.refuse(code, c.name, "column %s: %s", c.name, wrong)
	}
}

func (p *parser) refuse(code, column, format string, args ...any) {
	p.row.Problems = append(p.row.Problems, Problem{Code: code, Column: column, Detail: fmt.Sprintf(format, args...)})
}
