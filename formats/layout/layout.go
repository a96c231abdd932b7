// Package layout turns records into bureau files and bureau files into
// records. What a file looks like is not code but a description, a YAML text
// with a version: which elements, in which order, drawn from which field of
// the neutral [Record], how long, of which characters. docs/layouts.md tells
// how to write one. Two are built in: cardgen-v12 (XML, the Card Generation
// Interface, data format 12) and fixed-v1 (fixed width with header, detail and
// trailer).
//
// [Compile] reads a description strictly and reports all its mistakes with
// line and column. [Layout.Check] says everything that keeps a record out of
// the file: a value that does not fit is an error of that record and is never
// cut. [Layout.NewWriter] streams records into a file whose counts and order
// it holds; the same head and records give the same bytes, always.
// [Layout.NewTwin] writes the masked twin, the file that people may see: that
// no secret field can reach it is proved when the description is compiled, not
// when the twin is written. [Layout.Read] is the other side: it takes a file
// apart with code of its own, sharing with the writer only what the
// description demands of each element, and tells all that is wrong.
//
// No error of this package repeats a value, whatever field it is of.
//
// The package decides nothing about a card, keeps nothing, and does no I/O
// but on the readers and writers that it is given.
package layout

import (
	"cmp"
	"embed"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// Kind is a family of layouts.
type Kind string

// The kinds there are.
const (
	XML   Kind = "xml"
	Fixed Kind = "fixed"
)

//go:embed *.yaml
var builtin embed.FS

// Builtin gives the description of a built-in layout.
func Builtin(name string) (text []byte, ok bool) {
	if !fs.ValidPath(name) || path.Base(name) != name {
		return nil, false
	}
	text, err := builtin.ReadFile(name + ".yaml")
	return text, err == nil
}

// Names are those of the built-in layouts, in alphabetical order.
func Names() []string {
	files, _ := fs.Glob(builtin, "*.yaml") // the pattern is well-formed, the only error there is
	for i, file := range files {
		files[i] = strings.TrimSuffix(file, ".yaml")
	}
	slices.Sort(files)
	return files
}

// Layout is a compiled description. It does not change and may be used by
// several goroutines.
type Layout struct {
	name, version, extension string
	kind                     Kind
	source                   []byte
	together                 []Field // records with the same value stand together, level by level
	rules                    []rule
	file, twin               *form
}

// form is one shape in which records are written: the bureau's file or its masked twin.
type form struct {
	header, trailer []*element
	record          []*element // the group's and the record's, in their order
	when            []Field    // for each of record: it is there only where this field is filled; "" always
	rules           []rule     // none in the twin
	body            body
}

// body is what a kind makes of a form.
type body interface {
	// begin and end append what stands before and after all records, with the texts of header and trailer.
	begin(dst []byte, header []string) ([]byte, error)
	end(dst []byte, trailer []string) ([]byte, error)
	// record appends a record, given the texts of its elements.
	record(dst []byte, texts []string, at place) ([]byte, error)
	// read takes a file apart and tells the inspector what it finds. Its error is one of the function that takes the records.
	read(in *inspector) error
}

// place is where a record stands in its file.
type place struct {
	rec   Record
	first bool // of the file
	opens bool // the first of its product
}

// Compile reads a description. name is what the layout is called in titles
// and messages. The error is a [*DescriptionError] with every mistake.
func Compile(name string, text []byte) (*Layout, error) {
	b := &builder{}
	l := b.layout(name, text)
	if len(b.mistakes) > 0 {
		slices.SortStableFunc(b.mistakes, func(x, y Mistake) int {
			return cmp.Or(cmp.Compare(x.Line, y.Line), cmp.Compare(x.Column, y.Column), strings.Compare(x.Text, y.Text))
		})
		return nil, &DescriptionError{Name: name, Mistakes: slices.Compact(b.mistakes)}
	}
	if l == nil {
		return nil, errors.New("internal: a description without a layout and without a mistake")
	}
	return l, nil
}

// Title is name and version, "cardgen-v12 version 12".
func (l *Layout) Title() string { return l.name + " version " + l.version }

// Name is what the layout was compiled under.
func (l *Layout) Name() string { return l.name }

// Kind is the family of the layout.
func (l *Layout) Kind() Kind { return l.kind }

// Extension is that of the file's name, without a point.
func (l *Layout) Extension() string { return l.extension }

// Encodes says whether the files of this layout can hold a character. What
// single elements allow of it is for [Layout.Check].
func (l *Layout) Encodes(r rune) bool {
	if r < utf8.RuneSelf {
		return true
	}
	for _, e := range l.file.record {
		if !e.charset.has(r) {
			return false
		}
	}
	return true
}

// Text is the description itself, to be frozen with each file that is planned.
func (l *Layout) Text() []byte { return slices.Clone(l.source) }

// SortKey orders records: those that the layout wants together get keys with
// the same beginning. Records in the order of their keys (compared byte by
// byte), and of their uids where keys are equal, are in an order that the
// writer takes. The key holds no secret field.
func (l *Layout) SortKey(rec Record) string {
	parts := make([]string, len(l.together))
	for i, f := range l.together {
		parts[i] = rec[f]
	}
	return strings.Join(parts, "\x1f")
}

// ProductKey tells the products of a file apart: [Head].Products is the number
// of different ones among its records.
func (l *Layout) ProductKey(rec Record) string {
	if len(l.together) == 0 {
		return ""
	}
	return rec[l.together[0]]
}

// Check gives every violation of a record against the layout and its masked
// twin, joined, each a [*FieldError]; nil for a record that both writers will take. Where a secret is
// not known yet, the record must hold a placeholder of the right shape: a
// track with the right number, name, expiry and service code.
func (l *Layout) Check(rec Record) error {
	var f faults
	l.file.check(rec, l.file.texts(rec, 1, nil), &f)
	var twin faults
	l.twin.check(rec, l.twin.texts(rec, 1, nil), &twin)
	for _, err := range twin.found { // most elements stand in both
		if !slices.ContainsFunc(f.found, func(known error) bool { return known.Error() == err.Error() }) {
			f.found = append(f.found, err)
		}
	}
	return f.join()
}

// texts appends the text of each element for a record; what is not in the
// file for this record has "".
func (f *form) texts(rec Record, number int64, texts []string) []string {
	for i, e := range f.record {
		if when := f.when[i]; when != "" && rec[when] == "" {
			texts = append(texts, "")
			continue
		}
		texts = append(texts, e.ofRecord(rec, number))
	}
	return texts
}

func (f *form) check(rec Record, texts []string, to *faults) {
	for i, e := range f.record {
		if when := f.when[i]; when == "" || rec[when] != "" {
			e.check(texts[i], to)
		}
	}
	for _, r := range f.rules {
		r.check(rec, to)
	}
}
