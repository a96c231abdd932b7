// Package table reads sheets of text cells from CSV and XLSX bytes. It is the
// strict, streaming floor below the readers of requests and card extracts.
//
// What it promises:
//
//   - Every row of a sheet is either given to the caller or is the reason of
//     an error. Nothing is skipped in silence: a truncated or damaged workbook
//     is an [Error], a CSV row with wrong quoting is a row with a Fault, and
//     the rows after it go on.
//   - A cell is text. A number never passes through a float (dates do, and
//     are marked); what a spreadsheet may have changed is marked per cell
//     ([Mark]), because only the reader above knows which columns are ids.
//   - A row has the number that a spreadsheet shows: a line break inside
//     quotes does not start a row, a blank line is a row.
//   - Memory does not depend on the size of the file, but for the shared
//     strings of a workbook, which have a limit. Nothing is ever written, so
//     that no clear copy of a sheet is left anywhere.
//   - The kind of file is told by its content, never by its name.
//
// What it does not do: look for the header (the caller does, with
// [Dictionary]), convert values, or decide anything.
//
// No error and no Fault repeats the content of a cell.
package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Codes of an [Error], words of the vocabulary that results and reports use.
const (
	Unreadable = "file_unreadable"
	TooLarge   = "file_too_large"
)

// Error says why a file, from some place on, cannot be read. Detail is one
// plain sentence that says what to do. Sheet and Line are where it was
// noticed; "" and 0 mean the file as a whole. A failing disk is not an Error:
// it comes as it is.
type Error struct {
	Code   string
	Sheet  string
	Line   int
	Detail string
}

// Error is the sentence with its place.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Sheet != "" {
		fmt.Fprintf(&b, "sheet %q: ", e.Sheet)
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, "row %d: ", e.Line)
	}
	return b.String() + e.Detail
}

func unreadable(format string, args ...any) *Error {
	return &Error{Code: Unreadable, Detail: fmt.Sprintf(format, args...)}
}

func tooLarge(format string, args ...any) *Error {
	return &Error{Code: TooLarge, Detail: fmt.Sprintf(format, args...)}
}

// Format is the kind of file.
type Format string

// The formats.
const (
	CSV  Format = "csv"
	XLSX Format = "xlsx"
)

// Options are the limits, and how the caller knows a header.
type Options struct {
	Limits Limits
	// Header says how many columns a row names that the caller knows; 0 means
	// that the row is no header. It settles the delimiter of a CSV file and
	// may be nil.
	Header func(cells []string) int
}

// Limits bound what a file may cost. A zero field has the default that stands beside it.
type Limits struct {
	FileSize int64 // bytes of the file; 1 GiB
	Unpacked int64 // bytes of a workbook, unpacked: each part and all together; 2 GiB
	Strings  int64 // bytes of a workbook's shared strings, which are held in memory; 128 MiB
	Rows     int   // rows with content of one sheet; 5,000,000
	Columns  int   // columns of a row; 1,000
	Field    int   // bytes of a cell; 32,767
}

// WithDefaults fills the zero fields.
func (l Limits) WithDefaults() Limits {
	if l.FileSize <= 0 {
		l.FileSize = 1 << 30
	}
	if l.Unpacked <= 0 {
		l.Unpacked = 2 << 30
	}
	if l.Strings <= 0 {
		l.Strings = 128 << 20
	}
	if l.Rows <= 0 {
		l.Rows = 5_000_000
	}
	if l.Columns <= 0 {
		l.Columns = 1_000
	}
	if l.Field <= 0 {
		l.Field = 32_767
	}
	return l
}

// record is the most bytes that one row may have, all cells together.
func (l Limits) record() int { return max(1<<20, 2*l.Field) }

// Mark is what is particular about a cell; marks combine.
type Mark uint8

// The marks.
const (
	Number    Mark = 1 << iota // a number to the spreadsheet, not text
	Lossy                      // a number above 15 digits, in scientific notation, or written like 123.0
	Date                       // a date or time to the spreadsheet, rendered as ISO 8601
	NoYear                     // a date shown without its year, such as 5-Nov: most likely it was never meant as one
	ErrorCell                  // an error value such as #REF!
	NoValue                    // a formula without a cached value
	TooLong                    // longer than the limit; the text is cut
	BadText                    // holds bytes that are no text in the file's encoding
)

// Row is one row with content. It is valid during the call only; its strings stay valid.
type Row struct {
	Line  int      // as a spreadsheet shows it, from 1
	Cells []string // without blank cells at the end
	Marks []Mark   // beside Cells; nil when no cell is marked
	// Fault says, in one sentence, why the row cannot be read as it stands; Cells are then a best guess.
	Fault string
}

// Mark is the mark of cell i, 0 beyond the row's end.
func (r *Row) Mark(i int) Mark {
	if i < len(r.Marks) {
		return r.Marks[i]
	}
	return 0
}

// Sheet is one sheet that can be read. A CSV file has one, without a name.
type Sheet struct {
	Name string
}

// File is an open CSV or XLSX file. It is not for concurrent use.
type File struct {
	limits  Limits
	format  Format
	sheets  []Sheet
	notes   []string
	date04  bool
	walk    func(sheet int, visit func(*Row) error) error
	close   func() error
	watched *watched
}

// Open opens the file at path.
func Open(path string, o Options) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	stat, err := f.Stat()
	if err == nil && !stat.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	t, err := New(f, stat.Size(), o)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	t.close = f.Close
	return t, nil
}

// New reads from r, whose first size bytes are the file. The caller keeps r
// until the last call and closes it.
func New(r io.ReaderAt, size int64, o Options) (*File, error) {
	f := &File{limits: o.Limits.WithDefaults(), watched: &watched{src: r}}
	if size > f.limits.FileSize {
		return nil, tooLarge("the file has %d bytes, the limit is %d; split it, or raise the limit in the configuration", size, f.limits.FileSize)
	}
	head := make([]byte, min(size, sampleSize))
	if _, err := f.watched.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	if err := f.open(head, size, o.Header); err != nil {
		return nil, f.watched.blame(err)
	}
	return f, nil
}

func (f *File) open(head []byte, size int64, header func([]string) int) error {
	switch kind, err := recognise(head); {
	case err != nil:
		return f.explainOLE(err, size)
	case kind == XLSX:
		return f.openWorkbook(f.watched, size)
	}
	whole := func() io.Reader { return io.NewSectionReader(f.watched, 0, size) }
	return f.openText(head, whole, size > int64(len(head)), true, header)
}

// Read reads a file that comes as a stream, such as one that is being
// decrypted. A CSV file is read as it comes, so that [File.Rows] works once; a
// workbook is held in memory, up to 128 MiB.
func Read(r io.Reader, o Options) (*File, error) {
	head := make([]byte, sampleSize)
	n, err := io.ReadFull(r, head)
	if head = head[:n]; err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	more := err == nil
	f := &File{limits: o.Limits.WithDefaults(), watched: &watched{}}
	kind, err := recognise(head)
	if err != nil {
		return nil, err
	}
	limit := f.limits.FileSize
	if kind == XLSX {
		limit = min(limit, maxHeldWorkbook)
	}
	stream := io.MultiReader(bytes.NewReader(head), &capped{src: r, left: limit - int64(n), limit: limit})
	if kind == XLSX {
		whole, err := io.ReadAll(stream)
		if err != nil {
			return nil, err
		}
		return New(bytes.NewReader(whole), int64(len(whole)), o)
	}
	used := false
	once := func() io.Reader {
		if used {
			return &failing{errors.New("a stream can be read once only")}
		}
		used = true
		return stream
	}
	if err := f.openText(head, once, more, false, o.Header); err != nil {
		return nil, err
	}
	return f, nil
}

// maxHeldWorkbook is the most bytes of a workbook that comes as a stream.
const maxHeldWorkbook = 128 << 20

// Format is what the content turned out to be.
func (f *File) Format() Format { return f.format }

// Sheets are the visible worksheets in the order of their tabs.
func (f *File) Sheets() []Sheet { return f.sheets }

// Date1904 says that serial dates of this workbook count from 1904 (older Macintosh files).
func (f *File) Date1904() bool { return f.date04 }

// Notes are things that a person should know about how the file was read:
// encoding, sheets that were not read. Hidden rows and merged cells are
// noticed while a sheet is read, so the list is complete after [File.Rows].
func (f *File) Notes() []string { return f.notes }

func (f *File) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, n := range f.notes {
		if n == text {
			return
		}
	}
	f.notes = append(f.notes, text)
}

// Rows calls visit for every row with content of a sheet (an index into
// [File.Sheets]), in order. It stops at the first error of visit and returns
// it as it is. It may be called as often as wanted (but see [Read]) and gives
// the same rows each time.
func (f *File) Rows(sheet int, visit func(*Row) error) error {
	return f.watched.blame(f.walk(sheet, visit))
}

// Close closes what [Open] opened.
func (f *File) Close() error {
	if f.close == nil {
		return nil
	}
	return f.close()
}

// errBeforeStart: an archive's own index points before the first byte.
var errBeforeStart = errors.New("the file points before its own beginning")

// watched remembers an input error of the source, so that a failing disk is
// not taken for a damaged file, nor a damaged file for a failing disk.
type watched struct {
	src io.ReaderAt
	err error
}

func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errBeforeStart
	}
	n, err := w.src.ReadAt(p, off)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

func (w *watched) blame(err error) error {
	var damaged *Error
	if w.err != nil && errors.As(err, &damaged) {
		return fmt.Errorf("read the file: %w", w.err)
	}
	return err
}

// capped ends a stream with an error where it passes the limit of the file size.
type capped struct {
	src   io.Reader
	left  int64
	limit int64
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, tooLarge("the file has more than %d bytes, which is the limit; split it, or raise the limit in the configuration", c.limit)
	}
	return n, err
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }
