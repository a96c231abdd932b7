package returns

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	utf "golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// encoding is the one that a description names.
type encoding struct {
	kind encodingKind
	page *charmap.Charmap // onePage
	name string           // onePage
}

type encodingKind int

const (
	guessed encodingKind = iota // UTF-8 or, by its byte order mark, UTF-16; Windows-1252 for a line that is no UTF-8
	utf8Only
	utf16Only
	onePage
)

var encodings = map[string]encoding{
	"utf-8":        {kind: utf8Only},
	"utf-16":       {kind: utf16Only},
	"windows-1250": {kind: onePage, page: charmap.Windows1250, name: "Windows-1250"},
	"windows-1252": {kind: onePage, page: charmap.Windows1252, name: "Windows-1252"},
	"iso-8859-1":   {kind: onePage, page: charmap.ISO8859_1, name: "ISO-8859-1"},
	"iso-8859-2":   {kind: onePage, page: charmap.ISO8859_2, name: "ISO-8859-2"},
	"iso-8859-15":  {kind: onePage, page: charmap.ISO8859_15, name: "ISO-8859-15"},
	"ibm850":       {kind: onePage, page: charmap.CodePage850, name: "IBM850"},
}

func encodingNamed(name string) (encoding, bool) {
	if name == "" {
		return encoding{}, true
	}
	e, ok := encodings[strings.ToLower(name)]
	return e, ok
}

func encodingNames() string { return strings.Join(slices.Sorted(maps.Keys(encodings)), ", ") }

const (
	markUTF8    = "\xef\xbb\xbf"
	markUTF16LE = "\xff\xfe"
	markUTF16BE = "\xfe\xff"
)

// charset turns the lines of one file into text.
type charset struct {
	encoding
	utf16   bool
	skip    int // bytes of a byte order mark
	plain   bool
	foreign bool // a line was Windows-1252 because it was no UTF-8
}

// charsetOf settles by the first bytes of a file what its bytes mean.
func (e encoding) charsetOf(head []byte) (charset, error) {
	c := charset{encoding: e, plain: true}
	switch {
	case bytes.HasPrefix(head, []byte(markUTF8)):
		if e.kind != guessed && e.kind != utf8Only {
			return c, fmt.Errorf("%w: it begins with the byte order mark of UTF-8, which is not the encoding of the mapping", ErrUnreadable)
		}
		c.kind, c.skip = utf8Only, len(markUTF8)
	case bytes.HasPrefix(head, []byte(markUTF16LE)), bytes.HasPrefix(head, []byte(markUTF16BE)):
		// ÿþ and þÿ could begin a text of one page, but no line of a return file.
		if e.kind != guessed && e.kind != utf16Only {
			return c, fmt.Errorf("%w: it begins with the byte order mark of UTF-16, which is not the encoding of the mapping", ErrUnreadable)
		}
		c.utf16 = true
	case e.kind == utf16Only && len(head) > 0:
		return c, fmt.Errorf("%w: it has no byte order mark, which UTF-16 needs", ErrUnreadable)
	}
	return c, nil
}

// stream gives the bytes that lines are cut from: UTF-16 as UTF-8, without a byte order mark.
func (c *charset) stream(r io.Reader) (io.Reader, error) {
	if c.utf16 {
		return transform.NewReader(r, utf.UTF16(utf.LittleEndian, utf.ExpectBOM).NewDecoder()), nil
	}
	_, err := io.CopyN(io.Discard, r, int64(c.skip))
	return r, err
}

// text gives a line as text. problem is "" when it can be one.
func (c *charset) text(line []byte) (s, problem string) {
	ascii, control := survey(line)
	if control {
		return "", "the line holds control characters; ask the bureau for the file as text"
	}
	if ascii {
		return string(line), ""
	}
	c.plain = false
	valid := utf8.Valid(line)
	switch {
	case c.kind == onePage:
		s = pageText(c.page, line)
	case valid:
		s = string(line)
	case c.kind == guessed:
		c.foreign = true
		s = pageText(charmap.Windows1252, line)
	default:
		return "", "the line is no UTF-8; ask the bureau, or name its encoding in returns.mapping.encoding"
	}
	// Decoders give U+FFFD for what is nothing; in valid UTF-8 it is a character like any other.
	damaged := (c.utf16 || c.kind == onePage || !valid) && strings.ContainsRune(s, utf8.RuneError)
	if damaged {
		return "", "the line holds bytes that are nothing in the file's encoding; ask the bureau, or name another one in returns.mapping.encoding"
	}
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) {
		return "", "the line holds control characters; ask the bureau for the file as text"
	}
	return s, ""
}

func survey(line []byte) (ascii, control bool) {
	ascii = true
	for _, b := range line {
		switch {
		case b >= utf8.RuneSelf:
			ascii = false
		case b < ' ' && b != '\t' || b == 0x7f:
			control = true
		}
	}
	return ascii, control
}

func pageText(page *charmap.Charmap, line []byte) string {
	var s strings.Builder
	s.Grow(len(line) + len(line)/4)
	for _, b := range line {
		s.WriteRune(page.DecodeByte(b))
	}
	return s.String()
}

// found names the encoding of the lines so far.
func (c *charset) found() string {
	switch {
	case c.utf16:
		return "UTF-16"
	case c.kind == onePage:
		return c.name
	case c.foreign:
		return "Windows-1252"
	case c.plain:
		return "ASCII"
	}
	return "UTF-8"
}
