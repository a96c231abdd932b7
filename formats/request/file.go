package request

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"reemboss/formats/table"
)

// Codes that this package gives, words of the vocabulary of results.
const (
	FileUnreadable  = table.Unreadable
	FileTooLarge    = table.TooLarge
	HeaderMissing   = table.HeaderMissing
	HeaderDuplicate = table.HeaderDuplicate
	CardIDMissing   = "card_id_missing" // a JSON body without cards
	RowMalformed    = "row_malformed"
	PrecisionLoss   = "excel_precision_loss"
)

// FileError says why a file is refused as a whole. Detail is one plain
// sentence that says what to do; it never repeats a cell. Any other error of
// this package is ours, such as a disk that fails.
type FileError = table.Error

// Options of [Open].
type Options struct {
	// Headers are further names of columns, by canonical column; nil stands
	// for [DefaultHeaders]. The canonical names themselves are always known;
	// case, spaces, hyphens, underscores and dots never matter.
	Headers map[string][]string
	Limits  table.Limits // Rows counts over all sheets
}

// Sheet is one sheet with requests.
type Sheet struct {
	Name       string // "" for CSV and JSON
	Kind       Kind
	Header     []string // as the sender wrote it; for JSON canonical names, and other keys as they are
	HeaderLine int      // the row number that a spreadsheet shows; 0 for JSON
}

// File is an open request file. It is not for concurrent use.
type File struct {
	format string
	sheets []Sheet
	notes  []string
	limits table.Limits

	table   *table.File
	columns []*columns // beside sheets
	json    *body
	close   func() error
}

// Open opens a request file and finds out all but its rows: its format, its
// sheets, their headers and what they ask for. A file that cannot be taken is
// a [*FileError].
//
// The header is the first among the first 20 rows of a sheet that names the
// card id; what stands above is a title. A sheet with a reason_code column
// asks for reissues, any other for re-embossing. A reissue sheet without a
// user_id column is read, with blank user ids: what that means is a rule, and
// each row gets its answer.
func Open(path string, o Options) (*File, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".pgp", ".asc", ".gpg", ".sig":
		return nil, &FileError{Code: FileUnreadable, Detail: "the file is PGP encrypted or signed; send the sheet itself, as .xlsx, .csv or .json"}
	}
	source, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	stat, err := source.Stat()
	if err == nil && !stat.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, source.Close())
	}
	f, err := New(source, stat.Size(), o)
	if err != nil {
		return nil, errors.Join(err, source.Close())
	}
	f.close = source.Close
	return f, nil
}

// New is [Open] for a request file that is r's first size bytes, such as what
// was signed by its sender and lies in memory only. The caller keeps r until
// the last call and closes it.
func New(r io.ReaderAt, size int64, o Options) (*File, error) {
	names, err := dictionary(o.Headers)
	if err != nil {
		return nil, err
	}
	limits := o.Limits.WithDefaults()
	isJSON, err := beginsLikeJSON(r, size)
	if err != nil {
		return nil, err
	}
	if isJSON {
		return openJSON(r, size, names, limits)
	}
	ofSheets := limits // titles and header are no rows of the sender's, but rows of his sheet
	ofSheets.Rows += table.HeaderRows
	t, err := table.New(r, size, table.Options{Limits: ofSheets, Header: func(cells []string) int { return names.Named(cells, cardID) }})
	if err != nil {
		return nil, err
	}
	f := &File{format: string(t.Format()), table: t, limits: limits}
	if err := f.findHeaders(names); err != nil {
		return nil, err
	}
	return f, nil
}

func dictionary(headers map[string][]string) (*table.Dictionary, error) {
	if headers == nil {
		headers = DefaultHeaders()
	}
	return table.NewDictionary(slices.Sorted(maps.Keys(fields)), headers)
}

// errFound ends the search for a header.
var errFound = errors.New("found")

func (f *File) findHeaders(names *table.Dictionary) error {
	var without, spoilt []string
	for i, s := range f.table.Sheets() {
		header, content, wrong, err := f.findHeader(i, names)
		switch {
		case err != nil:
			var t *table.Error
			if errors.As(err, &t) && t.Sheet == "" {
				t.Sheet = s.Name
			}
			return err
		case header != nil:
			f.addSheet(i, s.Name, header)
		case content:
			without = append(without, s.Name)
			if wrong != "" {
				spoilt = append(spoilt, wrong)
			}
		}
	}
	if len(f.sheets) == 0 {
		detail := fmt.Sprintf("none of the first %d rows names the card id; put a header row with card_id above the rows and send the file again", table.HeaderRows)
		return &FileError{Code: HeaderMissing, Detail: strings.Join(slices.Concat([]string{detail}, spoilt, f.table.Notes()), "; ")}
	}
	for _, name := range without {
		f.notes = append(f.notes, fmt.Sprintf("sheet %q has no header that names the card id and is not read", name))
	}
	return nil
}

// findHeader looks at the first rows of a sheet; content says that it has any,
// spoilt what is wrong with a row that would be the header.
func (f *File) findHeader(sheet int, names *table.Dictionary) (h *table.Header, content bool, spoilt string, err error) {
	err = f.table.Rows(sheet, func(row *table.Row) error {
		content = true
		if row.Line > table.HeaderRows {
			return errFound
		}
		if spoilt == "" {
			spoilt = names.Spoilt(row, cardID)
		}
		var err error
		if h, err = names.Header(row, cardID); h != nil && err == nil {
			err = errFound
		}
		return err
	})
	if err == errFound {
		err = nil
	}
	return h, content, spoilt, err
}

func (f *File) addSheet(index int, name string, h *table.Header) {
	kind := Reemboss
	if h.Has(reasonCode) {
		kind = Reissue
	}
	f.sheets = append(f.sheets, Sheet{Name: name, Kind: kind, Header: h.Cells, HeaderLine: h.Line})
	f.columns = append(f.columns, newColumns(index, h))
}

// Format is csv, xlsx or json.
func (f *File) Format() string { return f.format }

// Sheets are the sheets with requests, in the order of their tabs; a CSV or JSON file has one.
func (f *File) Sheets() []Sheet { return f.sheets }

// Notes are things that a person should know about how the file was read:
// the encoding, sheets that were not read, hidden rows. The list is complete
// after a call of [File.Each] that came to the end.
func (f *File) Notes() []string {
	if f.table == nil {
		return f.notes
	}
	return slices.Concat(f.table.Notes(), f.notes)
}

// Each calls visit for every row, in the sender's order; rows without content
// are none. It may be called as often as wanted and gives the same rows each
// time. The row, its Cells and its Problems are valid during the call only;
// the strings in them stay valid. An error of visit ends the reading and is
// given back as it is; a file that turns out to be damaged is a [*FileError].
func (f *File) Each(visit func(*Row) error) error {
	if f.json != nil {
		return f.json.each(visit)
	}
	row := &Row{}
	for n, c := range f.columns {
		header := f.sheets[n].HeaderLine
		err := f.table.Rows(c.sheet, func(t *table.Row) error {
			if t.Line <= header {
				return nil
			}
			if row.Pos++; row.Pos > f.limits.Rows {
				return tooManyRows(f.limits)
			}
			row.Sheet, row.SheetNo, row.Line, row.Kind = f.sheets[n].Name, n, t.Line, f.sheets[n].Kind
			c.read(t, row)
			return visit(row)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func tooManyRows(l table.Limits) error {
	return &FileError{Code: FileTooLarge, Detail: fmt.Sprintf("the file has more than %d rows, which is the limit; split it, or raise the limit in the configuration", l.Rows)}
}

// Close closes what [Open] opened.
func (f *File) Close() error {
	if f.close == nil {
		return nil
	}
	return f.close()
}

// beginsLikeJSON looks at the first character that is not white space.
func beginsLikeJSON(r io.ReaderAt, size int64) (bool, error) {
	head := make([]byte, min(size, 512))
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return false, err
	}
	text := afterBlanks(head[:n])
	if list, ok := bytes.CutPrefix(text, []byte("[")); ok {
		list = afterBlanks(list)
		return len(list) == 0 || bytes.IndexByte([]byte(`{["]-0123456789`), list[0]) >= 0, nil // not [card_id],[user_id]
	}
	return bytes.HasPrefix(text, []byte("{")), nil
}

// afterBlanks passes over white space and what a byte order mark or UTF-16 puts around it.
func afterBlanks(text []byte) []byte {
	for len(text) > 0 && bytes.IndexByte([]byte("\xef\xbb\xbf\xff\xfe\x00 \t\r\n"), text[0]) >= 0 {
		text = text[1:]
	}
	return text
}
