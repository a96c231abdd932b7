package iso

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaskSpans hides, in every span, the digits of the card number but its first
// six and last four, every digit of an exponent, and what of a track follows the
// number. An asterisk stands for each character that is hidden; separators and
// the text around the spans stay. Where spans overlap, a character that one of
// them hides is hidden.
func MaskSpans(s string, spans []Span) string {
	if len(spans) == 0 {
		return s
	}
	m := mask{text: s, hidden: make([]bool, len(s))}
	for _, span := range spans {
		m.number(span)
		m.track(span.End)
	}
	return m.String()
}

// mask is a text of which characters are hidden.
type mask struct {
	text   string
	hidden []bool // by the first byte of a character
}

func (m *mask) number(span Span) {
	length, exponent := span.PAN.Len(), false
	for i, k := span.Start, 0; i < span.End; {
		_, width := digitAt(m.text, i)
		switch c := m.text[i]; {
		case width > 0:
			if exponent || k >= 6 && k < length-4 {
				m.hidden[i] = true
			}
			k++
		case c == 'E' || c == 'e':
			exponent = true
		}
		i += max(width, 1)
	}
}

// maxTrack is how many bytes behind a card number are taken for its track's: track 1 has 79 characters at most.
const maxTrack = 128

// track hides what follows a card number on a track, from its separator at i to its end sentinel: = or D and digits
// (track 2, ISO/IEC 7813, and its equivalent on a chip), or ^ and a name (track 1).
func (m *mask) track(i int) {
	for blanks := 0; blanks < 2 && i < len(m.text) && m.text[i] == ' '; blanks++ {
		i++
	}
	if i+1 >= len(m.text) {
		return
	}
	end := min(len(m.text), i+maxTrack)
	switch m.text[i] {
	case '^':
		m.name(i+1, end)
	case '=':
		m.trackDigits(i+1, end)
	case 'D', 'd':
		if _, width := digitAt(m.text, i+1); width > 0 {
			m.trackDigits(i+1, end)
		}
	}
}

// name hides all of a line but blanks up to the end sentinel.
func (m *mask) name(i, end int) {
	for i < end && m.text[i] != '?' && m.text[i] != '\n' {
		_, width := utf8.DecodeRuneInString(m.text[i:])
		m.hidden[i] = m.text[i] != ' '
		i += width
	}
}

// trackDigits hides letters and digits, and goes on behind a gap where a digit follows.
func (m *mask) trackDigits(i, end int) {
	for i < end && m.text[i] != '?' && m.text[i] != '\n' {
		r, width := utf8.DecodeRuneInString(m.text[i:])
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			m.hidden[i] = true
			i += width
			continue
		}
		next, _, digit := nextDigit(m.text, i)
		if digit == 0 {
			return
		}
		i = next
	}
}

func (m *mask) String() string {
	var b strings.Builder
	b.Grow(len(m.text))
	for i := 0; i < len(m.text); {
		if !m.hidden[i] {
			b.WriteByte(m.text[i])
			i++
			continue
		}
		_, width := utf8.DecodeRuneInString(m.text[i:])
		b.WriteByte('*')
		i += width
	}
	return b.String()
}

// MaskLikely masks what is a card number as far as its form can say: [FindEvident]
// finds it, and it begins as those of a scheme and has as many digits. For words
// that a person typed, where there is no registry to ask: dates, counters and
// names of files stay readable.
func MaskLikely(s string) string {
	spans := FindEvident(s)
	likely := spans[:0]
	for _, span := range spans {
		if ofScheme(span.PAN.Reveal()) {
			likely = append(likely, span)
		}
	}
	return MaskSpans(s, likely)
}

// ofScheme says that digits begin as the numbers of a scheme do (ISO/IEC 7812 issuer identification numbers) and are as many.
func ofScheme(digits string) bool {
	length, begins := len(digits), digits[:4]
	switch {
	case begins[0] == '4':
		return length == 13 || length == 16 || length >= 18
	case begins >= "5100" && begins <= "5599", begins >= "2221" && begins <= "2720":
		return length == 16
	case begins[0] == '5', begins[0] == '6':
		return length >= 16
	case begins >= "3528" && begins <= "3589":
		return length >= 16
	case begins[:2] == "34", begins[:2] == "37":
		return length == 15
	case begins[0] == '3':
		return length == 14 || length == 16
	}
	return false
}

// MaskAcross masks card numbers whose digits stand in several cells of a row, as [MaskSpans] does within one text. mask
// gives a text with the numbers in it hidden, each character by one asterisk; it is asked about the cells as a line with
// one comma between two of them, where they stand no further apart than in any file. The cells are changed in place;
// changed says whether any was.
func MaskAcross(cells []string, mask func(string) string) (changed bool) {
	line := strings.Join(cells, ",")
	if !MayHoldPAN(line) {
		return false
	}
	masked := mask(line)
	if masked == line {
		return false
	}
	for i, cell := range cells {
		end := 0
		for range utf8.RuneCountInString(cell) {
			_, width := utf8.DecodeRuneInString(masked[end:])
			end += width
		}
		cells[i], masked = masked[:end], masked[min(end+1, len(masked)):] // behind the comma
	}
	return true
}
