package layout

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// charset is the encoding of a file. encode is nil for UTF-8, which has every
// character; else it gives the one byte of a character, if there is one.
type charset struct {
	name   string
	encode func(rune) (byte, bool)
	decode func(byte) rune
}

// charsets by the name that a description uses.
var charsets = map[string]charset{
	"utf-8":        {name: "utf-8"},
	"ascii":        {name: "ascii", encode: asciiByte, decode: asciiRune},
	"iso-8859-1":   {name: "iso-8859-1", encode: charmap.ISO8859_1.EncodeRune, decode: charmap.ISO8859_1.DecodeByte},
	"windows-1252": {name: "windows-1252", encode: charmap.Windows1252.EncodeRune, decode: charmap.Windows1252.DecodeByte},
}

func asciiByte(r rune) (byte, bool) { return byte(r), r < utf8.RuneSelf }

func asciiRune(b byte) rune {
	if b < utf8.RuneSelf {
		return rune(b)
	}
	return utf8.RuneError
}

func (c charset) has(r rune) bool {
	if c.encode == nil {
		return true
	}
	_, ok := c.encode(r)
	return ok
}

// append adds s in the charset's bytes. Every character was checked before.
func (c charset) append(dst []byte, s string) []byte {
	if c.encode == nil {
		return append(dst, s...)
	}
	for _, r := range s {
		b, _ := c.encode(r)
		dst = append(dst, b)
	}
	return dst
}

// text turns the bytes of a one-byte charset into text; ASCII, by far the most, is not looked at twice.
func (c charset) text(b []byte) string {
	if !slices.ContainsFunc(b, func(b byte) bool { return b >= utf8.RuneSelf }) {
		return string(b)
	}
	var s strings.Builder
	for _, b := range b {
		s.WriteRune(c.decode(b))
	}
	return s.String()
}

// class is a set of characters that an element allows. A class without ranges allows all.
type class struct {
	name   string
	ranges [][2]rune
}

func (c class) has(r rune) bool {
	if len(c.ranges) == 0 {
		return true
	}
	return slices.ContainsFunc(c.ranges, func(in [2]rune) bool { return in[0] <= r && r <= in[1] })
}

// within says that every character of c is in other.
func (c class) within(other class) bool {
	if len(c.ranges) == 0 {
		return len(other.ranges) == 0
	}
	for _, in := range c.ranges {
		for r := in[0]; r <= in[1]; r++ {
			if !other.has(r) {
				return false
			}
		}
	}
	return true
}

// classes that every description can name. Tracks have no sentinels and no
// LRC (ISO/IEC 7813); a name on a track or a chip has A–Z, 0–9, space, point,
// hyphen and the one slash only.
var classes = map[string]class{
	"any":          {name: "any"},
	"digits":       mustClass("digits", "0-9"),
	"digits-space": mustClass("digits-space", "0-9 "),
	"masked":       mustClass("masked", "0-9*"),
	"face-date":    mustClass("face-date", "0-9/"),
	"hex":          mustClass("hex", "0-9A-F"),
	"letters":      mustClass("letters", "A-Za-z"),
	"alphanumeric": mustClass("alphanumeric", "A-Za-z0-9"),
	"name":         mustClass("name", "A-Z0-9 ./-"),
	"track1":       mustClass("track1", "A-Z0-9 ./^-"),
	"track2":       mustClass("track2", "0-9="),
	"chip-track2":  mustClass("chip-track2", "0-9DF"),
}

func mustClass(name, set string) class {
	c, err := parseClass(name, set)
	if err != nil {
		panic(err)
	}
	return c
}

// parseClass reads a set: characters that stand for themselves and ranges such
// as A-Z. A hyphen that stands first or last is a hyphen.
func parseClass(name, set string) (class, error) {
	c := class{name: name}
	runes := []rune(set)
	for i := 0; i < len(runes); i++ {
		lo, hi := runes[i], runes[i]
		if i+2 < len(runes) && runes[i+1] == '-' {
			hi = runes[i+2]
			i += 2
		}
		if hi < lo {
			return class{}, fmt.Errorf("the range %c-%c runs backwards", lo, hi)
		}
		if !unicode.IsPrint(lo) || !unicode.IsPrint(hi) {
			return class{}, fmt.Errorf("a class has characters that print only")
		}
		c.ranges = append(c.ranges, [2]rune{lo, hi})
	}
	if len(c.ranges) == 0 {
		return class{}, fmt.Errorf("a class has at least one character")
	}
	return c, nil
}

// printable refuses control characters, unpaired surrogates, noncharacters and
// what is invisible (zero-width and direction marks): none of them can be
// embossed, printed or seen in a listing.
func printable(r rune) bool { return r != utf8.RuneError && unicode.IsGraphic(r) }
