package report

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"io"
	"regexp"
	"strings"
	"unicode/utf16"

	"reemboss/formats/iso"
)

// This file looks for card numbers in a saved workbook, in every part, before
// anybody may see it.

// maxNested is how deep workbooks embedded in workbooks are searched; what
// lies deeper counts as a find.
const maxNested = 3

// foundIn says in what kind of part of a zip archive known first finds a card
// number; "" for none. What cannot be read counts as a find: the search fails closed.
func foundIn(archive []byte, known func(string) bool, depth int) string {
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return "an archive that cannot be read"
	}
	for _, part := range z.File {
		content, err := readPart(part)
		if err != nil {
			return roleOf(part.Name) + ", which cannot be read"
		}
		if bytes.HasPrefix(content, []byte("PK\x03\x04")) {
			if depth >= maxNested || foundIn(content, known, depth+1) != "" {
				return roleOf(part.Name)
			}
			continue
		}
		if known(part.Name) || holdsKnown(content, known) {
			return roleOf(part.Name)
		}
	}
	return ""
}

// roleOf says in a reader's words what a part of a workbook is. Its name is the sender's, and may itself be the card number.
func roleOf(part string) string {
	name := strings.ToLower(part)
	for _, kind := range []struct{ place, role string }{
		{"xl/worksheets/", "a sheet (a formula, a validation, a link or another setting of it)"}, {"xl/sharedstrings", "the texts of its cells"}, {"xl/comments", "a comment"},
		{"xl/threadedcomments/", "a comment"}, {"xl/workbook.xml", "the names of its sheets or ranges"}, {"xl/drawings/", "a drawing"}, {"xl/charts/", "a chart"},
		{"xl/styles", "its styles"}, {"xl/pivot", "a pivot table"}, {"xl/tables/", "a table"}, {"xl/embeddings/", "an embedded file"}, {"xl/media/", "a picture"},
		{"xl/externallinks/", "a link to another workbook"}, {"docprops/", "the properties of the document"}, {"customxml/", "the custom data of the document"},
	} {
		if strings.HasPrefix(name, kind.place) {
			return kind.role
		}
	}
	return "a part of it that spreadsheet programs do not show"
}

func readPart(part *zip.File) ([]byte, error) {
	r, err := part.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// holdsKnown searches one part: as it stands, as UTF-16 of both orders, and,
// for XML, the texts and attributes that it stands for.
func holdsKnown(part []byte, known func(string) bool) bool {
	if runsKnown(part, known) {
		return true
	}
	for _, order := range []int{0, 1} {
		for _, offset := range []int{0, 1} {
			if bytes.Count(part, []byte{0}) > 0 && runsKnown(narrow(part, order, offset), known) {
				return true
			}
		}
	}
	if !bytes.HasPrefix(bytes.TrimPrefix(part, []byte("\xef\xbb\xbf")), []byte("<")) {
		return false
	}
	if plainSheet.Match(part[:min(len(part), 4096)]) && !characterReference.Match(part) {
		return textsKnown(part, known)
	}
	return xmlKnown(part, known)
}

// Sheets and shared strings are by far the largest parts. As they are saved
// they have no digits written as character references, so that the quick walk
// over their texts sees all that a full XML reader would.
var (
	plainSheet         = regexp.MustCompile(`^(?:\xef\xbb\xbf)?(?:<\?[^>]*>)?\s*<(?:worksheet|sst)[\s>]`)
	characterReference = regexp.MustCompile(`&#(?:x3[0-9]|[45][0-9]);`)
)

// textsKnown asks about the texts of a part with the walk that masks them.
func textsKnown(part []byte, known func(string) bool) bool {
	found := false
	walk := &redactor{part: part, mask: func(text string) string {
		found = found || known(text)
		return text // unmasked: maskCell then asks about the restored number too
	}}
	walk.run()
	return found
}

// narrow reads UTF-16 of either byte order as text; what is none gives noise that matches nothing.
func narrow(part []byte, order, offset int) []byte {
	units := make([]uint16, 0, len(part)/2)
	for i := offset; i+1 < len(part); i += 2 {
		units = append(units, uint16(part[i+order])|uint16(part[i+1-order])<<8)
	}
	return []byte(string(utf16.Decode(units)))
}

// runsKnown asks about each stretch of bytes that could be a card number, with
// whatever may separate its digits: all but ASCII letters.
func runsKnown(part []byte, known func(string) bool) bool {
	start := -1
	for i := 0; i <= len(part); i++ {
		if i < len(part) && !isLetter(part[i]) {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			if run := string(part[start:i]); iso.MayHoldPAN(run) && known(run) {
				return true
			}
			start = -1
		}
	}
	return false
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// xmlKnown asks about the texts and attributes of a part, entities resolved,
// and about the joined text of each group of runs.
func xmlKnown(part []byte, known func(string) bool) bool {
	ask := func(text string) bool {
		found := false
		maskCell(text, func(text string) string {
			found = found || iso.MayHoldPAN(text) && known(text)
			return text
		})
		return found
	}
	d := xml.NewDecoder(bytes.NewReader(part))
	d.Strict = false
	var group strings.Builder
	for {
		token, err := d.RawToken()
		if err != nil {
			return err != io.EOF // not readable: fail closed
		}
		switch t := token.(type) {
		case xml.StartElement:
			for _, a := range t.Attr {
				if ask(a.Value) {
					return true
				}
			}
			if textGroups[t.Name.Local] {
				group.Reset()
			}
		case xml.CharData:
			if ask(string(t)) {
				return true
			}
			group.Write(t)
		case xml.EndElement:
			if textGroups[t.Name.Local] && ask(group.String()) {
				return true
			}
		}
	}
}
