package layout

import (
	"github.com/goccy/go-yaml/ast"
)

// xmlKind writes elements, each on a line of its own, UTF-8, without
// attributes. An element that may be empty is written empty; what stands
// under "when" is left out where its field is blank.
type xmlKind struct{ root string }

func (*xmlKind) keys() []string        { return []string{"root"} }
func (*xmlKind) elementKeys() []string { return nil }
func (*xmlKind) sections() []string    { return []string{"header", "group", "record", "trailer"} }
func (*xmlKind) marks() []twinMark     { return []twinMark{twinOmit, twinMask, twinOnly} }
func (*xmlKind) charsets() []string    { return []string{"utf-8"} }
func (*xmlKind) nests() bool           { return true }

func (k *xmlKind) settings(b *builder, f fields) {
	k.root = b.text(f, "root")
	if !elementNameForm.MatchString(k.root) {
		b.say(f.at("root", nil), `"root" is missing or not the name of an element`)
	}
}

func (*xmlKind) element(b *builder, at ast.Node, _ fields, e *element) {
	if e.source == fromHash && (e.max < 1 || e.max > 18) {
		b.say(at, `a hash total needs a "length" from 1 to 18`)
	}
}

const xmlDeclaration = `<?xml version="1.0" encoding="utf-8"?>`

// xmlBody holds the file as pieces of fixed text with the places of the values between them.
type xmlBody struct {
	kind      *xmlKind
	sections  sections
	beginning []xmlPiece
	opening   []xmlPiece // of a group
	closing   []byte     // of a group
	records   []xmlPiece
	ending    []xmlPiece
}

// xmlPiece is fixed text and then, unless value is negative, a value. Where
// when is set, the piece has neither: it skips the next pieces for a record
// in which that field is blank.
type xmlPiece struct {
	fixed []byte
	value int
	when  Field
	skip  int
}

func (k *xmlKind) body(_ *builder, s sections) body {
	body := &xmlBody{kind: k, sections: s}
	start := xmlPress{pending: []byte(xmlDeclaration + "\n<" + k.root + ">\n")}
	start.section(s.header)
	body.beginning = start.finish("")

	var group, record, end xmlPress
	if s.group != nil {
		group.open(s.group.name)
		group.nodes(s.group.nodes)
		body.closing = []byte("</" + s.group.name + ">\n")
		end.pending = append(end.pending, body.closing...)
	}
	body.opening = group.finish("")
	record.value = group.value
	record.section(s.record)
	body.records = record.finish("")
	end.section(s.trailer)
	body.ending = end.finish("</" + k.root + ">\n")
	return body
}

// xmlPress makes pieces: it gathers fixed text until a value comes.
type xmlPress struct {
	pieces  []xmlPiece
	pending []byte
	value   int // number of values so far
}

func (p *xmlPress) section(s *section) {
	if s == nil {
		return
	}
	p.open(s.name)
	p.nodes(s.nodes)
	p.close(s.name)
}

func (p *xmlPress) open(name string)  { p.pending = append(p.pending, "<"+name+">\n"...) }
func (p *xmlPress) close(name string) { p.pending = append(p.pending, "</"+name+">\n"...) }

func (p *xmlPress) nodes(nodes []*node) {
	for _, n := range nodes {
		switch {
		case n.leaf != nil:
			p.pending = append(p.pending, "<"+n.name+">"...)
			p.put(p.value)
			p.value++
			p.close(n.name)
		case n.when == "":
			p.open(n.name)
			p.nodes(n.children)
			p.close(n.name)
		default:
			p.conditional(n)
		}
	}
}

func (p *xmlPress) conditional(n *node) {
	p.put(-1)
	gate := len(p.pieces)
	p.pieces = append(p.pieces, xmlPiece{value: -1, when: n.when})
	p.open(n.name)
	p.nodes(n.children)
	p.close(n.name)
	p.put(-1)
	p.pieces[gate].skip = len(p.pieces) - gate - 1
}

// put ends the gathered text with a value, or without one.
func (p *xmlPress) put(value int) {
	p.pieces = append(p.pieces, xmlPiece{fixed: p.pending, value: value})
	p.pending = nil
}

func (p *xmlPress) finish(fixed string) []xmlPiece {
	p.pending = append(p.pending, fixed...)
	p.put(-1)
	return p.pieces
}

func (x *xmlBody) begin(dst []byte, header []string) ([]byte, error) {
	return appendPieces(dst, x.beginning, nil, header), nil
}

func (x *xmlBody) record(dst []byte, texts []string, at place) ([]byte, error) {
	if at.opens && len(x.closing) > 0 {
		if !at.first {
			dst = append(dst, x.closing...)
		}
		dst = appendPieces(dst, x.opening, at.rec, texts)
	}
	return appendPieces(dst, x.records, at.rec, texts), nil
}

func (x *xmlBody) end(dst []byte, trailer []string) ([]byte, error) {
	return appendPieces(dst, x.ending, nil, trailer), nil
}

func appendPieces(dst []byte, pieces []xmlPiece, rec Record, texts []string) []byte {
	for i := 0; i < len(pieces); i++ {
		p := &pieces[i]
		if p.when != "" && rec[p.when] == "" {
			i += p.skip
			continue
		}
		dst = append(dst, p.fixed...)
		if p.value >= 0 {
			dst = appendEscaped(dst, texts[p.value])
		}
	}
	return dst
}

// escapes of the five reserved characters.
var escapes = ['>' + 1]string{'&': "&amp;", '<': "&lt;", '>': "&gt;", '\'': "&apos;", '"': "&quot;"}

// appendEscaped adds s with the reserved characters escaped.
func appendEscaped(dst []byte, s string) []byte {
	from := 0
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= '>' && escapes[c] != "" {
			dst = append(dst, s[from:i]...)
			dst = append(dst, escapes[c]...)
			from = i + 1
		}
	}
	return append(dst, s[from:]...)
}
