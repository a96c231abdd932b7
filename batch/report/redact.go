package report

import (
	"bytes"
	"encoding/xml"
	"math/big"
	"strings"

	"reemboss/formats/iso"
)

// This file masks card numbers in the XML parts of a workbook. It works on the
// bytes and changes nothing but the text that it masks, so that whatever a
// producer put into its parts stays as it was.

// span is a piece of a part.
type span struct{ from, to int }

// edit replaces a piece of a part by another text.
type edit struct {
	span
	text []byte
}

// maskPart gives an XML part with card numbers masked in cells, shared
// strings, comments, drawings, headers, footers and document properties. A
// part that is no XML that we understand comes back as it is; the search of
// the saved workbook then has the last word.
func maskPart(part []byte, mask func(string) string) []byte {
	walk := &redactor{part: part, mask: mask}
	walk.run()
	if len(walk.edits) == 0 {
		return part
	}
	var out bytes.Buffer
	done := 0
	for _, e := range walk.edits {
		out.Write(part[done:e.from])
		out.Write(e.text)
		done = e.to
	}
	out.Write(part[done:])
	return out.Bytes()
}

// Elements whose texts belong together: a number split over differently
// formatted runs is still a number.
var textGroups = map[string]bool{"si": true, "is": true, "text": true, "p": true}

// Elements whose text is masked on its own.
var textElements = map[string]bool{
	"t": true, "text": true, "oddHeader": true, "oddFooter": true, "evenHeader": true, "evenFooter": true, "firstHeader": true,
	"firstFooter": true, "title": true, "subject": true, "creator": true, "keywords": true, "description": true, "lastModifiedBy": true,
	"category": true, "lpwstr": true, "Company": true, "Manager": true,
}

// redactor walks over the tags of one part.
type redactor struct {
	part  []byte
	mask  func(string) string
	pos   int
	edits []edit

	element string // the innermost open element
	group   []span // texts of the open group
	inGroup string
	cell    cellTag
}

// cellTag is the worksheet cell being read.
type cellTag struct {
	open    bool
	kind    string
	kindAt  span // ` t="…"` within the tag
	value   span // text of <v>
	formula bool
}

func (r *redactor) run() {
	for r.pos < len(r.part) {
		r.token()
	}
}

// token takes the next tag and the text before it.
func (r *redactor) token() {
	open := bytes.IndexByte(r.part[r.pos:], '<')
	if open < 0 {
		r.pos = len(r.part)
		return
	}
	text := span{r.pos, r.pos + open}
	tagAt := text.to
	rest := r.part[tagAt:]
	switch {
	case bytes.HasPrefix(rest, []byte("<!--")):
		r.skip(tagAt, "-->")
	case bytes.HasPrefix(rest, []byte("<![CDATA[")):
		r.skip(tagAt, "]]>")
	case bytes.HasPrefix(rest, []byte("<?")), bytes.HasPrefix(rest, []byte("<!")):
		r.skip(tagAt, ">")
	default:
		r.pos = tagEnd(r.part, tagAt)
		r.tag(text, span{tagAt, r.pos})
	}
}

func (r *redactor) skip(from int, end string) {
	n := bytes.Index(r.part[from:], []byte(end))
	if n < 0 {
		r.pos = len(r.part)
		return
	}
	r.pos = from + n + len(end)
}

// tagEnd finds the end of the tag that begins at from; a > in an attribute's quotes does not end it.
func tagEnd(part []byte, from int) int {
	var quote byte
	for i := from + 1; i < len(part); i++ {
		switch c := part[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return i + 1
		}
	}
	return len(part)
}

// tag takes one start, end or empty tag with the text that stood before it.
func (r *redactor) tag(text, tag span) {
	body := r.part[tag.from:tag.to]
	closing := bytes.HasPrefix(body, []byte("</"))
	empty := bytes.HasSuffix(body, []byte("/>"))
	name := localName(body)
	if closing {
		r.text(name, text)
		r.close(name)
		return
	}
	r.element = name
	switch {
	case name == "c" && !empty:
		r.cell = cellTag{open: true}
		r.cell.kind, r.cell.kindAt = typeAttribute(body, tag.from)
	case name == "f" && r.cell.open:
		r.cell.formula = true
	case textGroups[name] && !empty && r.inGroup == "":
		r.inGroup, r.group = name, r.group[:0]
	}
}

// text takes the text of an element that ends.
func (r *redactor) text(name string, at span) {
	switch {
	case r.element != name: // text after a child: no part that we know has any
	case r.cell.open && name == "v":
		r.cell.value = at
	case r.inGroup != "" && (name == "t" || name == r.inGroup):
		r.group = append(r.group, at)
	case textElements[name]:
		r.replace([]span{at})
	}
	r.element = ""
}

func (r *redactor) close(name string) {
	switch {
	case name == r.inGroup:
		r.replace(r.group)
		r.inGroup = ""
	case name == "c" && r.cell.open:
		r.closeCell()
		r.cell = cellTag{}
	}
}

// replace masks texts that belong together: all of it goes where the first was.
func (r *redactor) replace(texts []span) {
	var whole strings.Builder
	for _, at := range texts {
		whole.WriteString(unescape(r.part[at.from:at.to]))
	}
	if !iso.MayHoldPAN(whole.String()) {
		return
	}
	masked := r.mask(whole.String())
	if masked == whole.String() {
		return
	}
	for i, at := range texts {
		e := edit{span: at}
		if i == 0 {
			e.text = escape(masked)
		}
		r.edits = append(r.edits, e)
	}
}

// closeCell masks a cell whose value stands in the sheet itself, a number; it
// becomes a text cell. A cell with a formula is left alone: to take the formula
// away breaks others, and to leave it brings the number back. The search of
// the saved workbook then stops it.
func (r *redactor) closeCell() {
	c := r.cell
	if c.formula || c.kind != "" && c.kind != "n" && c.kind != "str" {
		return
	}
	text := unescape(r.part[c.value.from:c.value.to])
	if c.kind != "str" {
		text = plainInteger(text)
	}
	if !iso.MayHoldPAN(text) {
		return
	}
	if masked := maskCell(text, r.mask); masked != text {
		r.edits = append(r.edits, edit{c.kindAt, []byte(` t="str"`)}, edit{c.value, escape(masked)})
	}
}

// maskCell masks a cell. A spreadsheet keeps 15 digits of a number: of a card
// number of 16 that became a number the last digit is 0, and what is left
// still gives the whole, because the lost digit is the check digit.
func maskCell(cell string, mask func(string) string) string {
	if masked := mask(cell); masked != cell {
		return masked
	}
	digits := plainInteger(cell)
	if len(digits) != 16 || !isDigits(digits) {
		return cell
	}
	restored := digits[:15] + string(iso.LuhnDigit(digits[:15]))
	for _, number := range []string{digits, restored} {
		if mask(number) != number {
			return iso.Mask(digits)
		}
	}
	return cell
}

// plainInteger writes a number such as 4.1E+15 with all its digits; anything
// that is no whole number stays as it is.
func plainInteger(number string) string {
	if !strings.ContainsAny(number, "Ee.") || len(number) > 40 {
		return number
	}
	exact, ok := new(big.Rat).SetString(number)
	if !ok || !exact.IsInt() || exact.Num().BitLen() > 80 {
		return number
	}
	return exact.Num().String()
}

// localName is the name of a tag without its prefix.
func localName(tag []byte) string {
	name := bytes.TrimLeft(tag, "</")
	if end := bytes.IndexAny(name, " \t\r\n/>"); end >= 0 {
		name = name[:end]
	}
	if colon := bytes.IndexByte(name, ':'); colon >= 0 {
		name = name[colon+1:]
	}
	return string(name)
}

// typeAttribute finds a cell's t attribute. Without one its place is right
// behind the tag's name, of length 0.
func typeAttribute(tag []byte, at int) (kind string, where span) {
	for i := 1; i < len(tag)-3; i++ {
		if tag[i] != 't' || !isSpace(tag[i-1]) || tag[i+1] != '=' {
			continue
		}
		quote := tag[i+2]
		end := bytes.IndexByte(tag[i+3:], quote)
		if end < 0 {
			break
		}
		return string(tag[i+3 : i+3+end]), span{at + i - 1, at + i + 3 + end + 1}
	}
	name := bytes.IndexAny(tag, " \t\r\n/>")
	return "", span{at + name, at + name}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// unescape gives the text that a piece of XML stands for; a piece that is no
// XML is its own text.
func unescape(piece []byte) string {
	if bytes.IndexByte(piece, '&') < 0 {
		return string(piece)
	}
	var text struct {
		Text string `xml:",chardata"`
	}
	wrapped := append(append([]byte("<t>"), piece...), "</t>"...)
	if err := xml.Unmarshal(wrapped, &text); err != nil {
		return string(piece)
	}
	return text.Text
}

func escape(text string) []byte {
	var out bytes.Buffer
	_ = xml.EscapeText(&out, []byte(text)) // a bytes.Buffer takes everything
	return out.Bytes()
}
