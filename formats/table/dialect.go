package table

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

// delimiters that are looked for, the most common first.
var delimiters = []rune{',', ';', '\t', '|'}

// sampleRows is how many rows decide about the delimiter.
const sampleRows = 100

// openText settles encoding and delimiter. whole gives the file from its
// start, more says that head is not all of it, again that whole may be called
// more than once: then the whole file decides about the encoding, else its head.
func (f *File) openText(head []byte, whole func() io.Reader, more, again bool, header func([]string) int) error {
	c := charsetOf(head)
	if !c.utf16 && bytes.IndexByte(head, 0) >= 0 {
		return errBinary
	}
	if end := bytes.LastIndexByte(head, '\n'); more && end > 0 && !c.utf16 {
		head = head[:end+1] // whole lines
	}
	survey := whole
	if !again {
		survey = func() io.Reader { return bytes.NewReader(head) }
	}
	if err := c.survey(survey()); err != nil {
		return err
	}
	if again && !c.known {
		c.known, c.strict = true, true // ASCII to the end
	}
	comma, told, err := delimiterOf(head, c, header, f.limits)
	if err != nil {
		return err
	}
	f.format, f.sheets = CSV, []Sheet{{}}
	f.note("text is read as %s, with %s between cells", c.name, delimiterName(comma))
	f.walk = func(_ int, visit func(*Row) error) error {
		return walkText(newRecords(whole(), c, comma, f.limits), told, visit)
	}
	return nil
}

func delimiterName(comma rune) string {
	if comma == '\t' {
		return "a tab"
	}
	return `"` + string(comma) + `"`
}

func walkText(r *records, told bool, visit func(*Row) error) error {
	if told {
		// The line "sep=;" is an instruction to the spreadsheet and no row of the sheet.
		if _, _, err := r.lines.next(); err != nil {
			return endOf(err)
		}
	}
	var row Row
	for n := 1; ; n++ {
		if err := r.next(&row); err != nil {
			return endOf(err)
		}
		if n > r.limits.Rows {
			return tooLarge("the file has more than %d rows, which is the limit; split it, or raise the limit in the configuration", r.limits.Rows)
		}
		if err := visit(&row); err != nil {
			return err
		}
	}
}

func endOf(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// delimiterOf tells what stands between cells; told says that the first line names it.
func delimiterOf(head []byte, c charset, header func([]string) int, l Limits) (comma rune, told bool, err error) {
	if line, _, err := newLines(c.stream(bytes.NewReader(head)), sampleSize).next(); err == nil {
		if comma, ok := toldDelimiter(string(line)); ok {
			return comma, true, nil
		}
	}
	best := verdict{comma: delimiters[0]}
	for i, comma := range delimiters {
		v, err := tryDelimiter(head, c, comma, header, l)
		if err != nil {
			return 0, false, err
		}
		if i == 0 || v.better(best) {
			best = v
		}
	}
	return best.comma, false, nil
}

// toldDelimiter reads the line "sep=;" with which Excel tells itself the delimiter.
func toldDelimiter(line string) (rune, bool) {
	line = strings.Trim(line, `" `)
	if len(line) < 5 || !strings.EqualFold(line[:4], "sep=") {
		return 0, false
	}
	comma, size := utf8.DecodeRuneInString(line[4:])
	usable := comma != '"' && comma != utf8.RuneError && comma >= ' ' || comma == '\t'
	return comma, usable && strings.Trim(line[4+size:], string(comma)+`"`) == ""
}

// verdict is how well a delimiter fits the sample.
type verdict struct {
	comma  rune
	named  int // columns that the best header row among the first names
	steady int // rows that have the usual number of cells, where that is above one
	width  int // the usual number of cells
}

// better compares: a header that is understood settles it, then the delimiter
// that gives most rows the same number of cells, then the one that gives more cells.
func (v verdict) better(w verdict) bool {
	switch {
	case v.named != w.named:
		return v.named > w.named
	case v.steady != w.steady:
		return v.steady > w.steady
	}
	return v.width > w.width
}

func tryDelimiter(head []byte, c charset, comma rune, header func([]string) int, l Limits) (verdict, error) {
	v := verdict{comma: comma}
	widths := map[int]int{}
	r := newRecords(bytes.NewReader(head), c, comma, l)
	var row Row
	for range sampleRows {
		if err := r.next(&row); err != nil {
			if err == io.EOF {
				break
			}
			return v, err
		}
		if header != nil && row.Line <= HeaderRows {
			v.named = max(v.named, header(row.Cells))
		}
		if row.Fault == "" && len(row.Cells) > 1 {
			widths[len(row.Cells)]++
		}
	}
	for width, rows := range widths {
		if rows > v.steady || rows == v.steady && width > v.width {
			v.steady, v.width = rows, width
		}
	}
	return v, nil
}
