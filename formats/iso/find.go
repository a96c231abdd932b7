package iso

import "strings"

// Span is a place in a text that could be a card number: s[Start:End] is what
// is written there, separators, point and exponent included.
type Span struct {
	Start, End int // bytes
	PAN        PAN
}

// FindPANs finds every place in a text that could be a card number, for
// masking: 13 to 19 digits with a right check digit, also inside a longer run
// of digits, also with one separator (space, hyphen, dot, comma, underscore,
// slash, and the kinds of space and hyphen that do not break a line) between
// digits, and in the forms in which spreadsheets write numbers: 4111111111111111.0,
// 4.111111111111111E15, and 16 digits of which 15 were kept, whose last digit
// the other 15 give away.
//
// Spans overlap where the text can be read in more than one way; about one
// number of ten fits by chance, so the caller asks the registry which are
// cards. The time is linear in the length of the text, and nothing is
// allocated for a text with fewer than 13 digits.
func FindPANs(s string) []Span {
	if !mayHoldPAN(s) {
		return nil
	}
	var spans []Span
	var r digitRun
	for i := 0; i < len(s); {
		if !isDigit(s[i]) {
			i++
			continue
		}
		i = r.read(s, i)
		spans = r.luhnValid(spans)
		spans = r.keptFifteen(spans)
		spans = r.scientific(s, spans)
	}
	return spans
}

// mayHoldPAN is the fast way out of a text without 13 digits and without an exponent.
func mayHoldPAN(s string) bool {
	n := 0
	for i := range len(s) {
		if c := s[i]; isDigit(c) {
			if n++; n >= MinPANLength {
				return true
			}
		} else if (c == 'E' || c == 'e') && i > 0 && (isDigit(s[i-1]) || s[i-1] == '.') {
			return true
		}
	}
	return false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// digitRun is a run of digits with at most one separator between two of them.
type digitRun struct {
	digits []byte
	at     []int // byte offset of each digit
}

// read takes the run that begins at i and gives the offset after it.
func (r *digitRun) read(s string, i int) int {
	r.digits, r.at = r.digits[:0], r.at[:0]
	for i < len(s) {
		if !isDigit(s[i]) {
			n := separator(s[i:])
			if n == 0 || i+n >= len(s) || !isDigit(s[i+n]) {
				break
			}
			i += n
		}
		r.digits, r.at = append(r.digits, s[i]), append(r.at, i)
		i++
	}
	return i
}

// separator gives the bytes of the one separator at the beginning of s, 0 for none.
func separator(s string) int {
	switch s[0] {
	case ' ', '-', '.', ',', '_', '/', '\'':
		return 1
	case 0xc2, 0xe2:
		for _, sep := range []string{"\u00a0", "\u2007", "\u2009", "\u202f", "\u2010", "\u2011", "\u2012", "\u2013"} {
			if strings.HasPrefix(s, sep) {
				return len(sep)
			}
		}
	}
	return 0
}

// luhnValid adds every part of the run that has a right check digit. sums holds,
// for each parity of the doubled positions, the Luhn sum of the digits so far.
func (r *digitRun) luhnValid(spans []Span) []Span {
	if len(r.digits) < MinPANLength {
		return spans
	}
	sums := [2][]int{make([]int, len(r.digits)+1), make([]int, len(r.digits)+1)}
	for i, c := range r.digits {
		plain := int(c - '0')
		doubled := plain * 2
		if doubled > 9 {
			doubled -= 9
		}
		sums[i%2][i+1] = sums[i%2][i] + doubled
		sums[1-i%2][i+1] = sums[1-i%2][i] + plain
	}
	for start := range r.digits {
		for end := min(start+MaxPANLength, len(r.digits)); end >= start+MinPANLength; end-- {
			if parity := sums[end%2]; (parity[end]-parity[start])%10 == 0 {
				spans = append(spans, r.span(start, end, string(r.digits[start:end])))
			}
		}
	}
	return spans
}

func (r *digitRun) span(start, end int, digits string) Span {
	return Span{Start: r.at[start], End: r.at[end-1] + 1, PAN: PAN{digits: &digits}}
}

// keptFifteen adds every whole number of 16 digits whose last became 0 in a
// spreadsheet: 15 digits determine the check digit.
func (r *digitRun) keptFifteen(spans []Span) []Span {
	if len(r.digits) < 16 {
		return spans
	}
	for start := 0; start < len(r.digits); {
		end := start + 1
		for end < len(r.digits) && r.at[end] == r.at[end-1]+1 {
			end++
		}
		if end-start == 16 {
			spans = r.restored(spans, start)
		}
		start = end
	}
	if len(r.digits) == 16 && r.at[15] != r.at[0]+15 { // in groups
		spans = r.restored(spans, 0)
	}
	return spans
}

func (r *digitRun) restored(spans []Span, start int) []Span {
	digits, ok := withCheckDigit(string(r.digits[start : start+16]))
	if !ok || digits[15] == '0' { // luhnValid has the latter
		return spans
	}
	return append(spans, r.span(start, start+16, digits))
}

// withCheckDigit gives 16 digits, the last of which was lost, their check digit.
func withCheckDigit(digits string) (string, bool) {
	if len(digits) != 16 || digits[15] != '0' {
		return "", false
	}
	return digits[:15] + string(LuhnDigit(digits[:15])), true
}

// scientific adds a run that ends with the mantissa of a number in scientific
// notation: one digit, a point, digits, then E and an exponent. The span goes
// to the end of the exponent.
func (r *digitRun) scientific(s string, spans []Span) []Span {
	after := r.at[len(r.at)-1] + 1
	if after < len(s) && s[after] == '.' { // "4.E15"
		after++
	}
	exponent, end := exponentAt(s, after)
	length := exponent + 1
	if length < MinPANLength || length > MaxPANLength {
		return spans
	}
	start, ok := r.mantissa(s)
	if !ok {
		return spans
	}
	mantissa := string(r.digits[start:])
	digits := (mantissa + strings.Repeat("0", max(0, length-len(mantissa))))[:length]
	if !LuhnValid(digits) {
		if digits, ok = withCheckDigit(digits); !ok {
			return spans
		}
	}
	return append(spans, Span{Start: r.at[start], End: end, PAN: PAN{digits: &digits}})
}

// mantissa gives the index of the first digit of the "d" or "d.ddd" at the end of the run.
func (r *digitRun) mantissa(s string) (int, bool) {
	first := len(r.at) - 1
	for first > 0 && r.at[first-1] == r.at[first]-1 {
		first--
	}
	if point := r.at[first] - 1; first > 0 && (s[point] == '.' || s[point] == ',') && r.at[first-1] == point-1 {
		first--
		return first, first == 0 || r.at[first-1] != r.at[first]-1
	}
	return first, first == len(r.at)-1
}

// exponentAt reads E, an optional plus and one to three digits at i; 0 for none.
func exponentAt(s string, i int) (exponent, end int) {
	if i >= len(s) || s[i] != 'E' && s[i] != 'e' {
		return 0, 0
	}
	i++
	if i < len(s) && s[i] == '+' {
		i++
	}
	for end = i; end < len(s) && end < i+3 && isDigit(s[end]); end++ {
		exponent = exponent*10 + int(s[end]-'0')
	}
	return exponent, end
}

// MaskSpans hides, in every span, the digits of the card number but its first
// six and last four, and every digit of an exponent. Separators and the text around the spans
// stay; the length does not change. Where spans overlap, a digit that one of
// them hides is hidden.
func MaskSpans(s string, spans []Span) string {
	if len(spans) == 0 {
		return s
	}
	masked := []byte(s)
	for _, span := range spans {
		length, exponent := span.PAN.Len(), false
		for i, k := span.Start, 0; i < span.End; i++ {
			switch c := s[i]; {
			case c == 'E' || c == 'e':
				exponent = true
			case !isDigit(c):
			default:
				if exponent || k >= 6 && k < length-4 {
					masked[i] = '*'
				}
				k++
			}
		}
	}
	return string(masked)
}

// MaskLikely masks what is a card number as far as its form can say: [FindPANs]
// finds it, and it begins as those of a scheme and has as many digits. For words
// that a person typed, where there is no registry to ask: dates, counters and
// names of files stay readable.
func MaskLikely(s string) string {
	spans := FindPANs(s)
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
