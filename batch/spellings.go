package batch

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// This file reads bytes, of which nobody has said what they are, in each way in which digits may stand in them. The search
// for card numbers looks at all of these readings: what one of them gets wrong holds no number that the registry knows.

// readings gives the texts that a block of a file may stand for: as it is, decoded from UTF-16 or UTF-32, with written-out
// characters (JSON, XML) as themselves, and what is left of it without tags. units says that all of the file is UTF-16.
func readings(block []byte, units bool) []string {
	texts := []string{string(withoutZeros(block))}
	zeros := bytes.Count(block, []byte{0})
	if units || zeros > len(block)/128 { // of compressed bytes half as many are zero
		texts = append(texts, narrow(block, 2, true), narrow(block, 2, false))
	}
	if zeros > len(block)/2 {
		texts = append(texts, narrow(block, 4, true), narrow(block, 4, false))
	}
	for _, text := range slices.Clone(texts) {
		if plain := writtenOut(text); plain != text {
			texts = append(texts, plain)
		}
		if strings.Contains(text, "</") || strings.Contains(text, "/>") {
			texts = append(texts, writtenOut(withoutTags(text)))
		}
	}
	return texts
}

// utf16Marked says that a file begins with the mark of UTF-16.
func utf16Marked(start []byte) bool {
	return bytes.HasPrefix(start, []byte("\xff\xfe")) || bytes.HasPrefix(start, []byte("\xfe\xff"))
}

// withoutZeros leaves the zero bytes out.
func withoutZeros(block []byte) []byte {
	if bytes.IndexByte(block, 0) < 0 {
		return block
	}
	text := make([]byte, 0, len(block)/2+1)
	for _, b := range block {
		if b != 0 {
			text = append(text, b)
		}
	}
	return text
}

// narrow decodes units of two bytes (UTF-16) or four (UTF-32). What is no such text gives noise.
func narrow(block []byte, unit int, little bool) string {
	var b strings.Builder
	b.Grow(len(block) / unit)
	high := rune(-1)
	for i := 0; i+unit <= len(block); i += unit {
		var r rune
		for k := range unit {
			at := k
			if little {
				at = unit - 1 - k
			}
			r = r<<8 | rune(block[i+at])
		}
		if unit == 2 && utf16.IsSurrogate(r) {
			if pair := utf16.DecodeRune(high, r); pair != unicode.ReplacementChar {
				b.WriteRune(pair)
				high = -1
			} else {
				high = r
			}
			continue
		}
		high = -1
		b.WriteRune(r)
	}
	return b.String()
}

// writtenOut puts characters in the place of what stands for them: \u0034 and \n in JSON, &#52; and &#x34; in XML and HTML.
// Every entity with a name (&nbsp;) becomes a blank.
func writtenOut(text string) string {
	first := strings.IndexAny(text, `\&`)
	if first < 0 {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	b.WriteString(text[:first])
	high := rune(-1)
	for i := first; i < len(text); {
		r, width := escaped(text[i:])
		switch {
		case width == 0:
			b.WriteByte(text[i])
			width, r = 1, -1
		case utf16.IsSurrogate(r):
			if pair := utf16.DecodeRune(high, r); pair != unicode.ReplacementChar {
				b.WriteRune(pair)
				r = -1
			}
		default:
			b.WriteRune(r)
		}
		high = r
		i += width
	}
	return b.String()
}

// escaped gives the character that an escape at the beginning of a text stands for, and the bytes of the escape; 0 for none.
func escaped(text string) (r rune, width int) {
	switch {
	case len(text) < 2:
		return 0, 0
	case text[0] == '\\' && text[1] == 'u' && len(text) >= 6:
		if unit, err := strconv.ParseUint(text[2:6], 16, 16); err == nil {
			return rune(unit), 6
		}
	case text[0] == '\\' && strings.IndexByte("nrtbf", text[1]) >= 0:
		return ' ', 2
	case text[0] == '&':
		return entity(text)
	}
	return 0, 0
}

func entity(text string) (r rune, width int) {
	const longest = 16
	end := strings.IndexByte(text[:min(len(text), longest)], ';')
	if end < 2 {
		return 0, 0
	}
	name := text[1:end]
	number, isNumber := strings.CutPrefix(name, "#")
	if !isNumber {
		return ' ', end + 1
	}
	base := 10
	if hex := strings.TrimLeft(number, "xX"); hex != number {
		number, base = hex, 16
	}
	value, err := strconv.ParseUint(number, base, 32)
	if err != nil || value > unicode.MaxRune {
		return 0, 0
	}
	return rune(value), end + 1
}

// Tags that end a text: in place of one a letter stands, or a line end where people see the next text beside it. All other
// tags are left out: a number that is partly bold is still a number.
var (
	endsText = map[string]bool{"c": true, "v": true, "f": true, "row": true, "si": true, "is": true, "text": true, "comment": true, "p": true}
	endsLine = map[string]bool{"td": true, "th": true, "tr": true, "li": true, "div": true, "br": true}
)

// withoutTags gives what of an XML or HTML text is no tag.
func withoutTags(text string) string {
	var b strings.Builder
	b.Grow(len(text) / 2)
	for {
		open := strings.IndexByte(text, '<')
		if open < 0 || open+1 == len(text) {
			break
		}
		b.WriteString(text[:open])
		text = text[open:]
		if next := text[1] | 0x20; text[1] != '/' && text[1] != '!' && text[1] != '?' && (next < 'a' || next > 'z') {
			b.WriteByte('<')
			text = text[1:]
			continue
		}
		end := strings.IndexByte(text, '>')
		if end < 0 {
			break // no tag ends any more; looked for once, or a text of < alone would take its length squared
		}
		switch name := tagName(text[1:end]); {
		case endsText[name]:
			b.WriteByte('x')
		case endsLine[name]:
			b.WriteByte('\n')
		}
		text = text[end+1:]
	}
	b.WriteString(text)
	return b.String()
}

// tagName is the name of a tag without its prefix.
func tagName(tag string) string {
	tag = strings.TrimPrefix(tag, "/")
	if end := strings.IndexAny(tag, " \t\r\n/"); end >= 0 {
		tag = tag[:end]
	}
	return tag[strings.IndexByte(tag, ':')+1:]
}

// readable says that a block is a text as people here can read it: of four characters at most one is none (a byte that is
// no UTF-8, or a control character). Zero bytes do not count. EBCDIC is no such text, nor are bytes that something packed.
func readable(block []byte) bool {
	text, all, odd := withoutZeros(block), 0, 0
	for len(text) > 0 {
		r, width := utf8.DecodeRune(text)
		if r == utf8.RuneError && width == 1 || unicode.IsControl(r) && !unicode.IsSpace(r) {
			odd++
		}
		all++
		text = text[width:]
	}
	return odd <= all/4
}
