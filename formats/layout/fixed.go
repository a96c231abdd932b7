package layout

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// fixedKind writes lines of one length: a header, one detail for each record,
// a trailer. Numbers stand right with zeros before them, text stands left with
// blanks behind it.
type fixedKind struct {
	length  int    // characters of every line, which are its bytes
	lineEnd string // "\r\n", "\n" or nothing
	charset charset
}

func (*fixedKind) keys() []string        { return []string{"record_length", "line_end"} }
func (*fixedKind) elementKeys() []string { return []string{"type", "at"} }
func (*fixedKind) sections() []string    { return []string{"header", "record", "trailer"} }
func (*fixedKind) marks() []twinMark     { return []twinMark{twinMask, twinStars} }
func (*fixedKind) charsets() []string    { return []string{"ascii", "iso-8859-1", "windows-1252"} }
func (*fixedKind) nests() bool           { return false }

var lineEnds = map[string]string{"crlf": "\r\n", "lf": "\n", "none": ""}

// maxLine is the longest line that a description may ask for.
const maxLine = 64 << 10

func (k *fixedKind) settings(b *builder, f fields) {
	k.charset = b.charset
	k.length = b.number(f, "record_length", 1, maxLine)
	k.lineEnd = choice(&b.clerk, f, "line_end", lineEnds, "crlf")
}

// elementTypes are the two ways in which a text stands in its columns.
var elementTypes = map[string]bool{"text": false, "number": true}

func (k *fixedKind) element(b *builder, at ast.Node, f fields, e *element) {
	if e.max == 0 {
		b.say(at, `"length" is missing`)
	}
	e.at = b.number(f, "at", 1, maxLine)
	counts := e.source == fromHash || e.source == fromNumber || e.head == headSequence || e.head == headRecords || e.head == headProducts
	usual := "text"
	if counts {
		usual = "number"
	}
	e.number = choice(&b.clerk, f, "type", elementTypes, usual)
	e.left = !e.number
	switch {
	case e.source == fromText && e.number, counts && !e.number:
		b.say(at, `"type" does not fit here: constants are text, counts and totals are numbers`)
	case e.source == fromHash && e.max > 18:
		b.say(at, "a hash total has at most 18 digits")
	case e.number && e.source == fromField && e.min == e.max && !e.required:
		b.say(at, `a number of exactly one length needs "required: true": blank and zeros would look the same`)
	}
	if e.number {
		e.class = classes["digits"]
	}
}

// fixedBody holds the columns of each kind of line.
type fixedBody struct {
	fixedKind
	header, detail, trailer []*element // header and trailer are nil where the layout has none
}

func (k *fixedKind) body(b *builder, s sections) body {
	body := &fixedBody{fixedKind: *k}
	body.header = k.line(b, s.header)
	body.detail = k.line(b, s.record)
	body.trailer = k.line(b, s.trailer)
	k.tellApart(b, s)
	return body
}

// line holds that the elements of a section are the record length together
// and begin where the description says.
func (k *fixedKind) line(b *builder, s *section) []*element {
	if s == nil {
		return nil
	}
	var columns []*element
	width := 0
	for _, n := range s.nodes {
		if n.leaf.at > 0 && n.leaf.at != width+1 {
			b.say(n.at, `%s begins in column %d, not in %d ("at")`, n.name, width+1, n.leaf.at)
		}
		width += n.leaf.max
		columns = append(columns, n.leaf)
	}
	if width != k.length {
		b.say(s.at, `the elements have %d characters together, "record_length" says %d`, width, k.length)
	}
	return columns
}

// tellApart holds that a reader can tell header, detail and trailer apart by their first element.
func (k *fixedKind) tellApart(b *builder, s sections) {
	if s.header == nil && s.trailer == nil {
		return
	}
	var marks []string
	s.each(func(part *section) {
		first := part.nodes[0].leaf
		same := len(marks) > 0 && first.max != len(marks[0])
		if first.source != fromText || len(first.text) != first.max || utf8.RuneCountInString(first.text) != first.max || same || slices.Contains(marks, first.text) {
			b.say(part.at, `the first element of each kind of line is a "text" of its own, and all have one length`)
		}
		marks = append(marks, first.text)
	})
}

func (x *fixedBody) begin(dst []byte, header []string) ([]byte, error) {
	return x.append(dst, x.header, header)
}

func (x *fixedBody) record(dst []byte, texts []string, _ place) ([]byte, error) {
	return x.append(dst, x.detail, texts)
}

func (x *fixedBody) end(dst []byte, trailer []string) ([]byte, error) {
	return x.append(dst, x.trailer, trailer)
}

var (
	zeros  = strings.Repeat("0", maxLength)
	blanks = strings.Repeat(" ", maxLength)
)

// append adds a line and asserts its length. Every text was checked before, so
// that a wrong length can only be a fault of this package.
func (x *fixedBody) append(dst []byte, columns []*element, texts []string) ([]byte, error) {
	if columns == nil {
		return dst, nil
	}
	start := len(dst)
	for i, e := range columns {
		dst = e.appendColumn(dst, texts[i])
	}
	if n := len(dst) - start; n != x.length {
		return dst[:start], fmt.Errorf("internal: a line of %d characters in a layout of %d", n, x.length)
	}
	return append(dst, x.lineEnd...), nil
}

func (e *element) appendColumn(dst []byte, text string) []byte {
	if e.number {
		dst = append(dst, zeros[:max(e.max-len(text), 0)]...)
		return append(dst, text...)
	}
	start := len(dst)
	dst = e.charset.append(dst, text)
	return append(dst, blanks[:max(e.max-(len(dst)-start), 0)]...)
}
