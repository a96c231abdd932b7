package layout

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// read walks the file along the description: at each point it knows which
// tags may come. What else comes is told, and where it does not leave the
// place in the file unclear, reading goes on.
func (x *xmlBody) read(in *inspector) error {
	r := &xmlReader{inspector: in}
	r.declaration()
	r.open(x.kind.root)
	r.section(x.sections.header)
	if err := r.groups(x.sections); err != nil {
		return err
	}
	r.section(x.sections.trailer)
	r.close(x.kind.root)
	r.nothingMore()
	return nil
}

// xmlReader is a scanner for the narrow XML that a layout has: tags without
// attributes, text, the five escapes. After the first break in the structure
// every method does nothing.
type xmlReader struct {
	*inspector
	name    []byte // of the next tag
	closing bool   // the next tag is an end tag
	have    bool   // name and closing are read
}

// fail notes a break in the structure, a cut file for what it is.
func (r *xmlReader) fail(err error, what string) {
	switch {
	case r.broken:
	case errors.Is(err, io.EOF):
		r.breaks(ErrCut)
	case errors.Is(err, bufio.ErrBufferFull):
		r.breaks(fmt.Errorf("a text of more than %d bytes", readBuffer))
	case err != nil:
		r.breaks(fmt.Errorf("it cannot be read: %w", err))
	default:
		r.breaks(errors.New(what))
	}
}

func (r *xmlReader) declaration() {
	line, err := r.in.ReadSlice('>')
	if err != nil {
		r.fail(err, "")
		return
	}
	if string(bytes.ToLower(line)) != xmlDeclaration {
		r.fail(nil, "it does not begin with "+xmlDeclaration)
	}
}

// peek reads the next tag unless it is read already.
func (r *xmlReader) peek() bool {
	if r.broken {
		return false
	}
	if r.have {
		return true
	}
	space, err := r.in.ReadSlice('<')
	if len(bytes.TrimSpace(bytes.TrimSuffix(space, []byte("<")))) > 0 {
		r.fail(nil, "there is text between the elements")
		return false
	}
	if err != nil {
		r.fail(err, "")
		return false
	}
	tag, err := r.in.ReadSlice('>')
	if err != nil {
		r.fail(err, "")
		return false
	}
	tag, r.closing = bytes.CutPrefix(tag[:len(tag)-1], []byte("/"))
	r.name = append(r.name[:0], tag...)
	r.have = true
	return true
}

// at says that the next tag opens (or closes) this element.
func (r *xmlReader) at(name string, closing bool) bool {
	return r.peek() && r.closing == closing && string(r.name) == name
}

func (r *xmlReader) open(name string)  { r.expect(name, false) }
func (r *xmlReader) close(name string) { r.expect(name, true) }

func (r *xmlReader) expect(name string, closing bool) {
	if r.at(name, closing) {
		r.have = false
		return
	}
	if r.broken {
		return
	}
	tag := "<" + name + ">"
	if closing {
		tag = "</" + name + ">"
	}
	r.fail(nil, tag+" is missing, or something stands before it that does not belong there")
}

func (r *xmlReader) section(s *section) {
	if s == nil {
		return
	}
	r.open(s.name)
	r.nodes(s.nodes, r.fileValue)
	r.close(s.name)
}

// groups reads all products with their records, or all records of a layout without groups.
func (r *xmlReader) groups(s sections) error {
	if s.group == nil {
		return r.records(s, nil)
	}
	for r.at(s.group.name, false) {
		r.have = false
		var values []shared
		r.nodes(s.group.nodes, func(e *element, text string) { values = append(values, shared{e, text}) })
		r.notTheLast(values)
		if !r.at(s.record.name, false) && !r.broken {
			r.wrong(fmt.Errorf("a %s without a %s", s.group.name, s.record.name))
		}
		if err := r.records(s, values); err != nil {
			return err
		}
		r.close(s.group.name)
	}
	return nil
}

// shared is a value of the group, which every record of it has.
type shared struct {
	e    *element
	text string
}

// notTheLast tells a product whose records are parted into two groups that follow each other.
func (r *xmlReader) notTheLast(values []shared) {
	for _, v := range values {
		if v.e.field == r.order.fields[0] && r.order.began && v.text == r.order.current[0] {
			r.wrong(ErrOrder)
		}
	}
}

func (r *xmlReader) records(s sections, group []shared) error {
	for r.at(s.record.name, false) {
		r.have = false
		r.begin()
		for _, v := range group {
			r.value(v.e, v.text)
		}
		r.nodes(s.record.nodes, r.value)
		r.close(s.record.name)
		if r.broken {
			return nil
		}
		if err := r.end(); err != nil {
			return err
		}
	}
	return nil
}

// nodes reads elements in their order. One that is missing is told; reading
// goes on with the one that is there if the description has it further on.
func (r *xmlReader) nodes(nodes []*node, take func(*element, string)) {
	for i, n := range nodes {
		if r.broken {
			return
		}
		if !r.at(n.name, false) {
			if n.when != "" {
				continue
			}
			if r.broken || !r.resumes(nodes[i+1:], n) {
				return
			}
			continue
		}
		r.have = false
		if n.leaf != nil {
			r.leaf(n, take)
			continue
		}
		r.nodes(n.children, take)
		r.close(n.name)
		if n.when != "" && r.record != nil && r.record[n.when] == "" {
			r.wrong(fmt.Errorf("%s stands there although %s is blank", n.name, n.when))
		}
	}
}

// resumes tells that n is missing, and whether a later element is what comes instead.
func (r *xmlReader) resumes(later []*node, n *node) bool {
	for _, m := range later {
		if r.at(m.name, false) {
			r.wrong(fmt.Errorf("%s is missing, or not in its place", n.name))
			return true
		}
	}
	if r.closing {
		r.wrong(fmt.Errorf("%s is missing, or not in its place", n.name))
		return true
	}
	r.fail(nil, "something stands where "+n.name+" should be")
	return false
}

func (r *xmlReader) leaf(n *node, take func(*element, string)) {
	raw, err := r.in.ReadSlice('<')
	if err != nil {
		r.fail(err, "")
		return
	}
	text, err := unescape(raw[:len(raw)-1])
	if err != nil {
		r.wrong(n.leaf.fault(err.Error()))
	}
	tag, err := r.in.ReadSlice('>')
	if err != nil {
		r.fail(err, "")
		return
	}
	if len(tag) != len(n.name)+2 || tag[0] != '/' || string(tag[1:len(tag)-1]) != n.name {
		r.fail(nil, n.name+" is not closed")
		return
	}
	take(n.leaf, text)
}

var errEscape = errors.New("has a character that must be escaped, or an escape other than &lt; &gt; &amp; &apos; &quot;")

// unescape takes the five escapes back.
func unescape(raw []byte) (string, error) {
	if bytes.IndexByte(raw, '&') < 0 && !bytes.ContainsAny(raw, `>'"`) {
		return string(raw), nil
	}
	var s strings.Builder
	for len(raw) > 0 {
		c, size := raw[0], 1
		if c == '&' {
			if c, size = escaped(raw); c == 0 {
				return s.String(), errEscape
			}
		} else if c == '>' || c == '\'' || c == '"' {
			return s.String(), errEscape
		}
		s.WriteByte(c)
		raw = raw[size:]
	}
	return s.String(), nil
}

// escaped is the character of the escape that raw begins with, and its length.
func escaped(raw []byte) (byte, int) {
	for c, text := range escapes {
		if text != "" && bytes.HasPrefix(raw, []byte(text)) {
			return byte(c), len(text)
		}
	}
	return 0, 0
}

func (r *xmlReader) nothingMore() {
	if r.broken {
		return
	}
	rest := make([]byte, 1)
	for {
		_, err := r.in.Read(rest)
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			r.fail(err, "")
			return
		case len(bytes.TrimSpace(rest)) > 0:
			r.breaks(errors.New("there is something after its end"))
			return
		}
	}
}
