package table

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// HeaderRows is how many rows of a sheet are searched for its header; titles may stand above it.
const HeaderRows = 20

// Dictionary knows the names of columns in the many ways in which people write them.
type Dictionary struct {
	canonical map[string]string // name without case and separators → column
}

// NewDictionary knows every column by its own name and by the further names
// that aliases give. Two columns that share a name are a mistake of the configuration.
func NewDictionary(columns []string, aliases map[string][]string) (*Dictionary, error) {
	d := &Dictionary{canonical: map[string]string{}}
	for _, c := range columns {
		if err := d.add(c, c); err != nil {
			return nil, err
		}
	}
	names := make([]string, 0, len(aliases))
	for c := range aliases {
		names = append(names, c)
	}
	slices.Sort(names)
	for _, c := range names {
		if !slices.Contains(columns, c) {
			continue // a column of another kind of file
		}
		for _, alias := range aliases[c] {
			if err := d.add(alias, c); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

func (d *Dictionary) add(name, column string) error {
	key := Normalise(name)
	if key == "" {
		return fmt.Errorf("header name %q of column %s has no letter and no digit", name, column)
	}
	if other, taken := d.canonical[key]; taken && other != column {
		return fmt.Errorf("header name %q stands for both %s and %s; leave it in one of them", name, other, column)
	}
	d.canonical[key] = column
	return nil
}

// Column is the column that a header cell names, "" for an unknown one. Case
// and everything but letters and digits is left out: "Card ID", "card_id",
// "CARD-ID:" and "cardId" are one name.
func (d *Dictionary) Column(name string) string { return d.canonical[Normalise(name)] }

// Normalise is a name as it is compared: lower case, letters and digits only.
func Normalise(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
}

// Header is a header row with the places of the columns that are known.
type Header struct {
	Line  int
	Cells []string
	At    map[string]int // column → index of its cell
}

// Has says that the column is there.
func (h *Header) Has(column string) bool { _, ok := h.At[column]; return ok }

// Header takes row as a header if one of its cells names the column key, else
// it gives nil. Two cells that name the same column are an error with the code
// header_duplicate.
func (d *Dictionary) Header(row *Row, key string) (*Header, error) {
	if row.Fault != "" || row.Line > HeaderRows || !slices.ContainsFunc(row.Cells, func(c string) bool { return d.Column(c) == key }) {
		return nil, nil
	}
	if slices.ContainsFunc(row.Cells, func(c string) bool { return strings.ContainsAny(c, "\u0085\u2028\u2029") }) {
		return nil, &Error{Code: Unreadable, Line: row.Line, Detail: "the lines end with a character that is no end of a line (U+0085, U+2028 or U+2029), so that the rows stand in the header; save the file with ordinary line ends and send it again"}
	}
	h := &Header{Line: row.Line, Cells: make([]string, len(row.Cells)), At: map[string]int{}}
	for i, cell := range row.Cells {
		h.Cells[i] = Trim(cell)
		column := d.Column(cell)
		if column == "" {
			continue
		}
		if first, twice := h.At[column]; twice {
			return nil, &Error{Code: HeaderDuplicate, Line: row.Line, Detail: fmt.Sprintf(
				"columns %s and %s both mean %s; delete or rename one of them", ColumnName(first), ColumnName(i), column)}
		}
		h.At[column] = i
	}
	return h, nil
}

// Spoilt says, of a row with a fault that seems to be the header because it
// names the column key, where it stands and what is wrong with it; "" for any other row.
func (d *Dictionary) Spoilt(row *Row, key string) string {
	if row.Fault == "" || !slices.ContainsFunc(row.Cells, func(c string) bool { return d.Column(c) == key }) {
		return ""
	}
	return fmt.Sprintf("row %d looks like it, but %s", row.Line, row.Fault)
}

// Named counts the known columns that cells name, 0 unless key is among them.
// It is what [Options] wants as Header.
func (d *Dictionary) Named(cells []string, key string) int {
	named, found := 0, false
	for _, c := range cells {
		if column := d.Column(c); column != "" {
			named++
			found = found || column == key
		}
	}
	if !found {
		return 0
	}
	return named
}

// Codes of an [Error] about the header.
const (
	HeaderMissing   = "header_missing"
	HeaderDuplicate = "header_duplicate"
)

// ColumnName is what a spreadsheet calls the column with index i: A, B … Z, AA.
func ColumnName(i int) string {
	var b [8]byte
	n := len(b)
	for i++; i > 0; i = (i - 1) / 26 {
		n--
		b[n] = byte('A' + (i-1)%26)
	}
	return string(b[n:])
}

// Trim takes white space off both ends of a cell, with the no-break and
// zero-width spaces that web pages and word processors leave.
func Trim(s string) string {
	if s == "" || plain(s[0]) && plain(s[len(s)-1]) {
		return s
	}
	return strings.TrimFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || r == '\u200b' || r == '\u2060' || r == '\ufeff'
	})
}

func plain(b byte) bool { return b > ' ' && b < 0x7f }
