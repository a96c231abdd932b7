package table

import (
	"bytes"
	"regexp"
	"strconv"
	"unicode/utf8"
)

// declaration is the XML declaration that a part may begin with (XML 1.0, 2.8), in UTF-8.
var declaration = regexp.MustCompile(`^<\?xml[ \t\r\n]+version=["']1\.0["']([ \t\r\n]+encoding=["'](?i:utf-8)["'])?([ \t\r\n]+standalone=["'](yes|no)["'])?[ \t\r\n]*\?>$`)

// instruction checks a processing instruction.
func (x *xmlScanner) instruction(pi []byte) error {
	target := pi[2:]
	target = target[:nameLength(target)]
	switch {
	case len(target) == 0:
		return notXML("a processing instruction has no name")
	case string(target) == "xml" && (x.rooted || !declaration.Match(pi)):
		return notXML("a part is not XML 1.0 in UTF-8")
	}
	return nil
}

// readText takes the text before the next tag, or a piece of it.
func (x *xmlScanner) readText() (tokenKind, bool, error) {
	raw, err := x.piece()
	if err != nil {
		return 0, false, err
	}
	if x.depth == 0 {
		if len(bytes.Trim(raw, " \t\r\n")) > 0 && (x.rooted || string(raw) != bomUTF8) {
			return 0, false, notXML("there is text outside the root element")
		}
		return 0, false, nil
	}
	x.scratch = x.scratch[:0]
	if x.text, err = x.clean(raw, &x.scratch); err != nil {
		return 0, false, err
	}
	return tokenText, true, nil
}

// piece takes bytes up to the next tag. A long text comes in pieces, never cut
// inside a character, a reference or a line end.
func (x *xmlScanner) piece() ([]byte, error) {
	const tail = 32 // longer than any reference
	for {
		window := x.buf[x.pos:x.end]
		if i := bytes.IndexByte(window, '<'); i >= 0 {
			x.pos += i
			return window[:i], nil
		}
		if len(window) >= xmlWindow {
			cut := len(window) - tail
			for cut > 0 && !utf8.RuneStart(window[cut]) {
				cut--
			}
			if amp := bytes.LastIndexByte(window[:cut], '&'); amp > cut-tail && bytes.IndexByte(window[amp:cut], ';') < 0 {
				cut = amp
			}
			if cut > 1 && (window[cut-1] == '\r' || window[cut-1] == ']') {
				cut--
			}
			if cut <= 0 {
				return nil, errNotText
			}
			x.pos += cut
			return window[:cut], nil
		}
		more, err := x.fill()
		if err != nil {
			return nil, err
		}
		if !more {
			window = x.buf[x.pos:x.end]
			x.pos = x.end
			return window, nil
		}
	}
}

var errNotText = notXML("a piece of text is not well-formed XML in UTF-8")

// ordinary are the bytes of text that stand for themselves.
var ordinary = func() (t [256]bool) {
	for b := ' '; b < utf8.RuneSelf; b++ {
		t[b] = b != '&' && b != '>'
	}
	t['\t'], t['\n'] = true, true
	return t
}()

// clean checks text and replaces its references. What needs no change is
// given back as it is; else the result is appended to store.
func (x *xmlScanner) clean(raw []byte, store *[]byte) ([]byte, error) {
	for _, b := range raw {
		if !ordinary[b] {
			return x.cleanSlowly(raw, store)
		}
	}
	return raw, nil
}

func (x *xmlScanner) cleanSlowly(raw []byte, store *[]byte) ([]byte, error) {
	if bytes.Contains(raw, []byte("]]>")) || !utf8.Valid(raw) || bytes.ContainsFunc(raw, forbidden) {
		return nil, errNotText
	}
	out, from := *store, len(*store)
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '&':
			end := bytes.IndexByte(raw[i:], ';')
			if end < 0 {
				return nil, notXML("a bare ampersand stands in the text")
			}
			r, ok := reference(raw[i+1 : i+end])
			if !ok {
				return nil, notXML("an unknown reference or a bare ampersand stands in the text")
			}
			out = utf8.AppendRune(out, r)
			i += end
		case '\r':
			if i+1 == len(raw) || raw[i+1] != '\n' {
				out = append(out, '\n')
			}
		default:
			out = append(out, raw[i])
		}
	}
	*store = out
	return out[from:], nil
}

// unifyEnds makes every line end an LF (XML 1.0, 2.11).
func unifyEnds(text []byte) []byte {
	if bytes.IndexByte(text, '\r') < 0 {
		return text
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
}

// forbidden are the characters that XML 1.0 has no place for (2.2).
func forbidden(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff
}

func reference(name []byte) (rune, bool) {
	switch string(name) {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	if len(name) < 2 || name[0] != '#' {
		return 0, false
	}
	digits, base := name[1:], 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(string(digits), base, 21)
	r := rune(n)
	return r, err == nil && utf8.ValidRune(r) && !forbidden(r)
}

func splitName(name []byte) (prefix, local []byte) {
	if i := bytes.IndexByte(name, ':'); i > 0 {
		return name[:i], name[i+1:]
	}
	return nil, name
}

// nameLength is the length of the name at the start of b; a name has one colon at most (Namespaces in XML 1.0, section 4).
func nameLength(b []byte) int {
	n, colons := 0, 0
	for n < len(b) && (isNameByte(b[n]) || n > 0 && (b[n] >= '0' && b[n] <= '9' || b[n] == '-' || b[n] == '.')) {
		if b[n] == ':' {
			if colons++; colons > 1 {
				break
			}
		}
		n++
	}
	return n
}

// isNameByte says that a name can begin with b. Names beyond ASCII exist in XML, but not in workbooks.
func isNameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_' || b == ':'
}
