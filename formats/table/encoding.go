package table

import (
	"bytes"
	"io"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

const (
	bomUTF8    = "\xef\xbb\xbf"
	bomUTF16LE = "\xff\xfe"
	bomUTF16BE = "\xfe\xff"
)

// charset is how the bytes of a text file become UTF-8.
//
// UTF-16 is decoded as a stream. Otherwise each line is settled by itself: it
// is UTF-8 if it can be, else Windows-1252, unless the file is known to be
// UTF-8 (strict): then the line is damaged, and guessing would print a wrong
// name on a card.
type charset struct {
	name   string
	utf16  bool
	endian unicode.Endianness
	strict bool // UTF-8, and nothing else
	known  bool // strict is settled; else the first line that is not ASCII settles it
}

// charsetOf looks at the beginning of a file.
func charsetOf(head []byte) charset {
	switch {
	case bytes.HasPrefix(head, []byte(bomUTF8)):
		return charset{name: "UTF-8 with a byte order mark", strict: true, known: true}
	case bytes.HasPrefix(head, []byte(bomUTF16LE)):
		return charset{name: "UTF-16, little endian", utf16: true, endian: unicode.LittleEndian}
	case bytes.HasPrefix(head, []byte(bomUTF16BE)):
		return charset{name: "UTF-16, big endian", utf16: true, endian: unicode.BigEndian}
	}
	var zeros [2]int
	for i, b := range head {
		if b == 0 {
			zeros[i%2]++
		}
	}
	// Text of a European language in UTF-16 has a zero in most of its high bytes and in no low byte.
	switch half := len(head) / 2; {
	case half > 0 && zeros[0] == 0 && zeros[1]*2 > half:
		return charset{name: "UTF-16 without a byte order mark, little endian", utf16: true, endian: unicode.LittleEndian}
	case half > 0 && zeros[1] == 0 && zeros[0]*2 > half:
		return charset{name: "UTF-16 without a byte order mark, big endian", utf16: true, endian: unicode.BigEndian}
	}
	return charset{name: "ASCII"}
}

// survey reads a whole eight-bit file and settles whether it is UTF-8: when at
// least as much in it is well-formed UTF-8 beyond ASCII as is not.
func (c *charset) survey(r io.Reader) error {
	if c.utf16 {
		return nil
	}
	var good, bad int
	buf := make([]byte, sampleSize)
	kept := 0
	for {
		n, err := io.ReadFull(r, buf[kept:])
		chunk := buf[:kept+n]
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			return err
		}
		if bytes.IndexByte(chunk, 0) >= 0 {
			return errBinary
		}
		g, b, rest := countUTF8(chunk, last)
		good, bad = good+g, bad+b
		kept = copy(buf, chunk[len(chunk)-rest:])
		if last {
			break
		}
	}
	if c.known {
		return nil
	}
	c.known = good+bad > 0
	c.strict = c.known && good >= bad
	switch {
	case c.strict:
		c.name = "UTF-8"
	case c.known:
		c.name = "Windows-1252"
	}
	return nil
}

var errBinary = unreadable("the file holds NUL bytes and is no text; save the sheet as .xlsx or .csv and send it again")

// countUTF8 counts the characters beyond ASCII that are well-formed and the
// bytes that are not; rest is the length of an unfinished character at the end.
func countUTF8(p []byte, last bool) (good, bad, rest int) {
	for i := 0; i < len(p); {
		if p[i] < utf8.RuneSelf {
			i++
			continue
		}
		if !last && !utf8.FullRune(p[i:]) {
			return good, bad, len(p) - i
		}
		r, size := utf8.DecodeRune(p[i:])
		if r == utf8.RuneError && size == 1 {
			bad++
		} else {
			good++
		}
		i += size
	}
	return good, bad, 0
}

// stream undoes UTF-16 and takes a byte order mark away.
func (c *charset) stream(r io.Reader) io.Reader {
	if c.utf16 {
		return transform.NewReader(r, unicode.UTF16(c.endian, unicode.UseBOM).NewDecoder())
	}
	return &skipBOM{src: r}
}

// decode gives a line as UTF-8, appended to dst. What cannot be text in the
// file's encoding becomes U+FFFD.
func (c *charset) decode(dst, line []byte) []byte {
	if utf8.Valid(line) {
		if !c.known && !isASCII(line) {
			c.known, c.strict = true, true
		}
		return append(dst, line...)
	}
	if !c.known {
		c.known = true
	}
	if c.strict {
		return append(dst, bytes.ToValidUTF8(line, []byte("\uFFFD"))...)
	}
	for _, b := range line {
		dst = utf8.AppendRune(dst, charmap.Windows1252.DecodeByte(b))
	}
	return dst
}

func isASCII(p []byte) bool {
	for _, b := range p {
		if b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// skipBOM passes a stream on without a UTF-8 byte order mark at its beginning.
type skipBOM struct {
	src  io.Reader
	done bool
	kept []byte
}

func (s *skipBOM) Read(p []byte) (int, error) {
	if !s.done {
		s.done = true
		head := make([]byte, len(bomUTF8))
		n, err := io.ReadFull(s.src, head)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return 0, err
		}
		if head = head[:n]; string(head) != bomUTF8 {
			s.kept = head
		}
	}
	if len(s.kept) > 0 {
		n := copy(p, s.kept)
		s.kept = s.kept[n:]
		return n, nil
	}
	return s.src.Read(p)
}
