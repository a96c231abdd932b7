package table

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"
)

// Sizes of the XML scanner.
const (
	xmlWindow = 64 << 10 // first size of the window; text is given in pieces of at most this size
	maxTag    = 1 << 20  // bytes of one tag with its attributes
	maxDepth  = 256      // elements inside each other
)

// space is a namespace, as far as a workbook needs it.
type space uint8

const (
	spaceNone    space = iota
	spaceMain          // SpreadsheetML, transitional or strict
	spaceRel           // r:id of SpreadsheetML
	spacePackage       // package relationships
	spaceOther
)

// The strict variant of ISO/IEC 29500-1 has namespaces of its own.
var spaces = map[string]space{
	"http://schemas.openxmlformats.org/spreadsheetml/2006/main":           spaceMain,
	"http://purl.oclc.org/ooxml/spreadsheetml/main":                       spaceMain,
	"http://schemas.openxmlformats.org/officeDocument/2006/relationships": spaceRel,
	"http://purl.oclc.org/ooxml/officeDocument/relationships":             spaceRel,
	"http://schemas.openxmlformats.org/package/2006/relationships":        spacePackage,
}

type tokenKind uint8

const (
	tokenStart tokenKind = iota
	tokenEnd
	tokenText
	tokenEOF
)

// xmlScanner is a strict pull scanner for one XML 1.0 part in UTF-8. What is
// not well-formed is an error: tags that do not match, a bare ampersand, bytes
// that are no UTF-8, anything after the root, an end before the root is
// closed. A DOCTYPE is refused, so that there are no entities to expand.
type xmlScanner struct {
	src      io.Reader
	buf      []byte
	pos, end int
	srcErr   error

	name  []byte // local name of the element just read
	space space  // its namespace
	text  []byte // of the text just read, valid until the next call
	attrs []xmlAttr

	depth    int
	names    []byte // qualified names of the open elements, one after the other
	nameEnds []int
	bindings []binding
	empty    bool // the start tag just read was <x/>, its end comes next
	rooted   bool
	scratch  []byte
	attrText []byte
}

type xmlAttr struct {
	prefix, name, value []byte
}

type binding struct {
	depth  int
	prefix string
	space  space
}

func newXMLScanner(src io.Reader) *xmlScanner {
	return &xmlScanner{src: src, buf: make([]byte, xmlWindow)}
}

func notXML(format string, args ...any) error {
	return unreadable("the workbook is damaged (%s); open it in the spreadsheet program, save it again and send that", fmt.Sprintf(format, args...))
}

// fill reads more into the window. It gives false at the end of the part.
func (x *xmlScanner) fill() (bool, error) {
	if x.srcErr != nil {
		if x.srcErr == io.EOF {
			return false, nil
		}
		return false, x.srcErr
	}
	if x.pos > 0 {
		copy(x.buf, x.buf[x.pos:x.end])
		x.end -= x.pos
		x.pos = 0
	}
	if x.end == len(x.buf) {
		x.buf = append(x.buf, make([]byte, len(x.buf))...)
	}
	n, err := io.ReadAtLeast(x.src, x.buf[x.end:], 1)
	x.end += n
	x.srcErr = err
	if n > 0 {
		return true, nil
	}
	if err != io.EOF {
		return false, err
	}
	return false, nil
}

// next reads the next token. Comments and processing instructions are passed over.
func (x *xmlScanner) next() (tokenKind, error) {
	if x.empty {
		x.empty = false
		return tokenEnd, x.pop()
	}
	x.closeBindings()
	for {
		if x.pos == x.end {
			if more, err := x.fill(); err != nil || !more {
				return tokenEOF, x.atEnd(err)
			}
		}
		if x.buf[x.pos] != '<' {
			kind, some, err := x.readText()
			if err != nil || some {
				return kind, err
			}
			continue
		}
		kind, some, err := x.readMarkup()
		if err != nil || some {
			return kind, err
		}
	}
}

func (x *xmlScanner) atEnd(err error) error {
	switch {
	case err != nil:
		return err
	case x.depth > 0:
		return notXML("a part ends in the middle")
	case !x.rooted:
		return notXML("a part is empty")
	}
	return nil
}

// has makes sure that n bytes are in the window.
func (x *xmlScanner) has(n int) (bool, error) {
	for x.end-x.pos < n {
		if more, err := x.fill(); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

func (x *xmlScanner) readMarkup() (kind tokenKind, some bool, err error) {
	if ok, err := x.has(2); err != nil || !ok {
		return 0, false, orDamaged(err)
	}
	switch x.buf[x.pos+1] {
	case '/':
		tag, err := x.tag()
		if err != nil {
			return 0, false, err
		}
		return tokenEnd, true, x.endTag(tag)
	case '?':
		body, err := x.until("?>")
		if err == nil {
			err = x.instruction(body)
		}
		return 0, false, err
	case '!':
		return x.readDeclaration()
	}
	tag, err := x.tag()
	if err != nil {
		return 0, false, err
	}
	return tokenStart, true, x.startTag(tag)
}

func orDamaged(err error) error {
	if err != nil {
		return err
	}
	return notXML("a part ends in the middle")
}

func (x *xmlScanner) readDeclaration() (tokenKind, bool, error) {
	const cdata, comment = "<![CDATA[", "<!--"
	if ok, err := x.has(len(comment)); err != nil || !ok {
		return 0, false, orDamaged(err)
	}
	if string(x.buf[x.pos:x.pos+len(comment)]) == comment {
		body, err := x.until("-->")
		if err == nil && (len(body) < len("<!---->") || bytes.Contains(body[4:len(body)-3], []byte("--"))) {
			err = notXML("a comment is not well-formed")
		}
		return 0, false, err
	}
	if ok, err := x.has(len(cdata)); err != nil || !ok {
		return 0, false, orDamaged(err)
	}
	if string(x.buf[x.pos:x.pos+len(cdata)]) != cdata {
		return 0, false, notXML("a part has a document type declaration, which no workbook has")
	}
	if x.depth == 0 {
		return 0, false, notXML("there is text outside the root element")
	}
	body, err := x.until("]]>")
	if err != nil {
		return 0, false, err
	}
	x.text = unifyEnds(body[len(cdata) : len(body)-len("]]>")])
	return tokenText, true, nil
}

// until takes everything up to and with the mark.
func (x *xmlScanner) until(mark string) ([]byte, error) {
	from := 2
	for {
		if i := bytes.Index(x.buf[min(x.pos+from, x.end):x.end], []byte(mark)); i >= 0 {
			body := x.buf[x.pos : x.pos+from+i+len(mark)]
			x.pos += len(body)
			if !utf8.Valid(body) || bytes.ContainsFunc(body, forbidden) {
				return nil, errNotText
			}
			return body, nil
		}
		if x.end-x.pos > maxTag {
			return nil, notXML("a comment or a piece of text is far too long")
		}
		if more, err := x.fill(); err != nil || !more {
			return nil, orDamaged(err)
		}
	}
}

// tag takes one tag, from < to >.
func (x *xmlScanner) tag() ([]byte, error) {
	quote := byte(0)
	for i := 1; ; i++ {
		if x.pos+i >= x.end {
			if i > maxTag {
				return nil, notXML("a tag is far too long")
			}
			if more, err := x.fill(); err != nil || !more {
				return nil, orDamaged(err)
			}
		}
		switch b := x.buf[x.pos+i]; {
		case b == '<':
			return nil, notXML("a tag is not closed")
		case quote != 0:
			if b == quote {
				quote = 0
			}
		case b == '>':
			tag := x.buf[x.pos : x.pos+i+1]
			x.pos += i + 1
			return tag, nil
		case b == '"' || b == '\'':
			quote = b
		}
	}
}

func (x *xmlScanner) endTag(tag []byte) error {
	name := bytes.TrimRight(tag[2:len(tag)-1], " \t\r\n")
	if x.depth == 0 || !bytes.Equal(name, x.top()) {
		return notXML("an end tag does not match its start tag")
	}
	return x.pop()
}

func (x *xmlScanner) top() []byte {
	from := 0
	if x.depth > 1 {
		from = x.nameEnds[x.depth-2]
	}
	return x.names[from:x.nameEnds[x.depth-1]]
}

// pop leaves the innermost element and sets name and space to it.
func (x *xmlScanner) pop() error {
	qualified := x.top()
	prefix, local := splitName(qualified)
	x.scratch = append(x.scratch[:0], local...)
	x.name, x.space = x.scratch, x.resolve(prefix)
	x.depth--
	x.names = x.names[:len(x.names)-len(qualified)]
	x.nameEnds = x.nameEnds[:x.depth]
	return nil
}

// closeBindings forgets the namespaces of elements that are closed.
func (x *xmlScanner) closeBindings() {
	for n := len(x.bindings); n > 0 && x.bindings[n-1].depth > x.depth; n-- {
		x.bindings = x.bindings[:n-1]
	}
}

func (x *xmlScanner) resolve(prefix []byte) space {
	for i := len(x.bindings) - 1; i >= 0; i-- {
		if b := &x.bindings[i]; b.prefix == string(prefix) {
			return b.space
		}
	}
	return spaceNone
}

func (x *xmlScanner) startTag(tag []byte) error {
	if x.depth == 0 && x.rooted {
		return notXML("there is more than one root element")
	}
	if x.depth == maxDepth {
		return notXML("elements are nested too deep")
	}
	body := tag[1 : len(tag)-1]
	if n := len(body); n > 0 && body[n-1] == '/' {
		body, x.empty = body[:n-1], true
	}
	n := nameLength(body)
	if n == 0 {
		return notXML("a tag has no name")
	}
	x.rooted = true
	x.depth++
	x.names = append(x.names, body[:n]...)
	x.nameEnds = append(x.nameEnds, len(x.names))
	if err := x.readAttrs(body[n:]); err != nil {
		return err
	}
	prefix, local := splitName(body[:n])
	x.name, x.space = local, x.resolve(prefix)
	if x.space == spaceNone && len(prefix) > 0 && string(prefix) != "xml" {
		return notXML("a namespace prefix is not declared")
	}
	return nil
}

func (x *xmlScanner) readAttrs(b []byte) error {
	x.attrs, x.attrText = x.attrs[:0], x.attrText[:0]
	for {
		rest := bytes.TrimLeft(b, " \t\r\n")
		if len(rest) == 0 {
			return nil
		}
		n := nameLength(rest)
		if n == 0 || len(rest) == len(b) {
			return notXML("a tag is not well-formed")
		}
		name := rest[:n]
		rest = bytes.TrimLeft(rest[n:], " \t\r\n")
		if len(rest) == 0 || rest[0] != '=' {
			return notXML("an attribute has no value")
		}
		rest = bytes.TrimLeft(rest[1:], " \t\r\n")
		if len(rest) == 0 || rest[0] != '"' && rest[0] != '\'' {
			return notXML("the value of an attribute is not quoted")
		}
		end := bytes.IndexByte(rest[1:], rest[0])
		if end < 0 {
			return notXML("the value of an attribute is not closed")
		}
		if err := x.addAttr(name, rest[1:1+end]); err != nil {
			return err
		}
		b = rest[end+2:]
	}
}

func (x *xmlScanner) addAttr(name, value []byte) error {
	value, err := x.clean(value, &x.attrText)
	if err != nil {
		return err
	}
	prefix, local := splitName(name)
	for i := range x.attrs {
		if bytes.Equal(x.attrs[i].name, local) && bytes.Equal(x.attrs[i].prefix, prefix) {
			return notXML("an attribute stands twice in a tag")
		}
	}
	x.attrs = append(x.attrs, xmlAttr{prefix: prefix, name: local, value: value})
	switch {
	case len(prefix) == 0 && string(local) == "xmlns":
		x.bind("", value)
	case string(prefix) == "xmlns":
		x.bind(string(local), value)
	}
	return nil
}

func (x *xmlScanner) bind(prefix string, uri []byte) {
	known, ok := spaces[string(uri)]
	if !ok && len(uri) > 0 {
		known = spaceOther
	}
	x.bindings = append(x.bindings, binding{depth: x.depth, prefix: prefix, space: known})
}

// attr is the value of an attribute without a prefix, nil when it is not there.
func (x *xmlScanner) attr(name string) []byte {
	for i := range x.attrs {
		if a := &x.attrs[i]; len(a.prefix) == 0 && string(a.name) == name {
			return a.value
		}
	}
	return nil
}

// attrIn is the value of an attribute in a namespace.
func (x *xmlScanner) attrIn(s space, name string) []byte {
	for i := range x.attrs {
		if a := &x.attrs[i]; len(a.prefix) > 0 && string(a.name) == name && x.resolve(a.prefix) == s {
			return a.value
		}
	}
	return nil
}

// is says that the element just read has this name in the main namespace.
func (x *xmlScanner) is(name string) bool { return x.space == spaceMain && string(x.name) == name }

// skip passes over the rest of the element that was just started.
func (x *xmlScanner) skip() error {
	for depth := x.depth - 1; x.depth > depth; {
		if _, err := x.next(); err != nil {
			return err
		}
	}
	return nil
}
