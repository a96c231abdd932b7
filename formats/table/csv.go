package table

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// records reads the rows of a text file. Below it is encoding/csv, which gets
// one physical line at a time and only when it asks for one: so the lines that
// a row took are known, and a row that went wrong can be taken back to its
// first line.
//
// Where a quote is opened and never properly closed, the row it stands in has
// a Fault and the lines after it are read anew, each by itself. Of these, a
// line counts as a row only if it has as many cells as the row before the
// damage; the others have a Fault too. So no row is swallowed, and no piece of
// a longer text is taken for a row.
type records struct {
	lines   *lines
	charset charset
	limits  Limits
	csv     *csv.Reader
	comma   rune

	held   []byte // the lines of the row in progress, each with an LF
	ends   []int  // where each of them ends
	served int    // how much of held encoding/csv has
	cut    bool   // a line of it was too long
	err    error  // of the source

	replay []byte // lines that are read anew
	opened int    // row whose quote is to blame, while they are
	line   int    // of the row in progress
	width  int    // cells of the last row without a fault
	marks  []Mark
}

func newRecords(src io.Reader, c charset, comma rune, l Limits) *records {
	r := &records{lines: newLines(c.stream(src), l.record()), charset: c, comma: comma, limits: l}
	r.reset()
	return r
}

func (r *records) reset() {
	r.csv = csv.NewReader(r)
	r.csv.Comma, r.csv.FieldsPerRecord, r.csv.ReuseRecord = r.comma, -1, true
}

// Read hands encoding/csv the row in progress, one line at a time.
func (r *records) Read(p []byte) (int, error) {
	if r.served == len(r.held) {
		if len(r.held) > r.limits.record() {
			return 0, io.EOF // a quote that is open for this long was never closed
		}
		if err := r.pull(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.held[r.served:])
	r.served += n
	return n, nil
}

// pull adds one physical line to the row in progress.
func (r *records) pull() error {
	if i := bytes.IndexByte(r.replay, '\n'); i >= 0 {
		r.held = append(r.held, r.replay[:i+1]...)
		r.replay = r.replay[i+1:]
	} else if r.err != nil {
		return r.err
	} else {
		line, cut, err := r.lines.next()
		if err == nil && bytes.IndexByte(line, 0) >= 0 {
			err = errBinary
		}
		if err != nil {
			r.err = err
			return err
		}
		r.opened = 0
		r.cut = r.cut || cut
		r.held = append(r.charset.decode(r.held, line), '\n')
	}
	r.ends = append(r.ends, len(r.held))
	return nil
}

// next reads the next row with content into row. At the end it gives io.EOF.
func (r *records) next(row *Row) error {
	for {
		r.held, r.ends, r.served, r.cut = r.held[:0], r.ends[:0], 0, false
		if err := r.pull(); err != nil {
			return err
		}
		r.line++
		if r.ends[0] == 1 {
			continue // blank
		}
		*row = Row{Line: r.line}
		if err := r.read(row); err != nil {
			return err
		}
		if row.Cells = trimBlank(row.Cells); len(row.Cells) > 0 || row.Fault != "" {
			return nil
		}
	}
}

func (r *records) read(row *Row) error {
	if r.cut {
		return r.broken(row, "the row is longer than the limit; shorten it or split the file")
	}
	damage := r.opened
	cells, err := r.csv.Read()
	if r.err != nil && r.err != io.EOF {
		return r.err
	}
	switch {
	case r.cut:
		return r.broken(row, "the row is longer than the limit, or a quote in it is never closed")
	case err != nil:
		return r.broken(row, r.explain(err))
	case len(r.ends) > 1 && r.swallows(cells):
		return r.broken(row, "a quote in it seems never to be closed: the lines after it look like rows; put the quote right and send the row again")
	case damage > 0 && len(r.ends) == 1 && len(cells) != r.width:
		row.Fault = "it stands behind a quote, further up, that is never closed; put that quote right and send the row again"
	}
	if damage == 0 && row.Fault == "" {
		r.width = len(cells)
	}
	row.Cells = cells
	r.mark(row)
	return nil
}

// broken makes a row with a fault out of the first line, and gives the other lines back.
func (r *records) broken(row *Row, fault string) error {
	first := r.held[:r.ends[0]-1]
	row.Fault = fault
	row.Cells = guess(string(first[:min(len(first), r.limits.record())]), r.comma)
	if len(r.ends) > 1 {
		r.replay = append(append([]byte(nil), r.held[r.ends[0]:]...), r.replay...)
		r.opened = r.line
	}
	r.mark(row)
	r.reset()
	return nil
}

func (r *records) explain(err error) string {
	var parse *csv.ParseError
	switch {
	case len(r.ends) > 1:
		return "a quote in it is never closed, or closed in the wrong place; put the quote right and send the row again"
	case errors.As(err, &parse) && errors.Is(parse.Err, csv.ErrBareQuote):
		return "a quote stands inside a cell that is not quoted; put the cell in quotes and write the quote inside it twice"
	case errors.Is(err, csv.ErrQuote):
		return "after the closing quote of a cell there is more text, or the quote is never closed; write a quote inside a cell twice"
	}
	return "it is no row of a CSV file; save the sheet again as .csv or .xlsx"
}

// swallows says that a row of several lines took in lines that are rows by
// their shape: as many cells as the row before, and digits alone where this
// row has digits alone. For the last line only the cells before the closing
// quote count.
func (r *records) swallows(cells []string) bool {
	if len(cells) != r.width || r.width < 2 {
		return false
	}
	for i := 1; i < len(r.ends); i++ {
		parts := strings.Split(string(r.held[r.ends[i-1]:r.ends[i]-1]), string(r.comma))
		if len(parts) != r.width {
			continue
		}
		for k, part := range parts {
			if strings.Contains(part, `"`) {
				break
			}
			if allDigits(part) && allDigits(cells[k]) {
				return true
			}
		}
	}
	return false
}

func allDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// guess splits a line that is no proper CSV, so that its cells can be shown and masked one by one.
func guess(line string, comma rune) []string {
	cells := strings.Split(line, string(comma))
	for i, c := range cells {
		cells[i] = strings.Trim(strings.TrimSpace(c), `"`)
	}
	return cells
}

// mark finds the cells that are too long or no text, and rows of too many cells.
func (r *records) mark(row *Row) {
	if len(row.Cells) > r.limits.Columns {
		row.Cells = row.Cells[:r.limits.Columns]
		row.Fault = "it has more columns than the limit; delete what stands to the right of the table"
	}
	bad := bytes.Contains(r.held, []byte("\uFFFD"))
	if !bad && len(r.held) <= r.limits.Field {
		return
	}
	r.marks = append(r.marks[:0], make([]Mark, len(row.Cells))...)
	for i, c := range row.Cells {
		if bad && strings.ContainsRune(c, utf8.RuneError) {
			r.marks[i] |= BadText
			row.Marks = r.marks
		}
		if len(c) > r.limits.Field {
			row.Cells[i] = strings.ToValidUTF8(c[:r.limits.Field], "")
			r.marks[i] |= TooLong
			row.Marks = r.marks
		}
	}
}

func trimBlank(cells []string) []string {
	n := len(cells)
	for n > 0 && (cells[n-1] == "" || strings.TrimSpace(cells[n-1]) == "") {
		n--
	}
	return cells[:n]
}
