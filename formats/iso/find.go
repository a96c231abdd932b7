package iso

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Span is a place in a text that could be a card number: s[Start:End] is what
// is written there, separators, point and exponent included.
type Span struct {
	Start, End int // bytes
	PAN        PAN
	// Loose says that the digits stand together no more closely than those of a list, a date with its time or two
	// telephone numbers do: only who can ask the registry, or knows the prefix, may take it for a card number.
	Loose bool
}

// FindPANs finds every place in a text that could be a card number, for
// masking: 13 to 19 decimal digits of any script with a right check digit. Between
// two of them up to three characters may stand that are neither letters nor
// numbers: spaces, dashes, punctuation, ends of lines, what is not seen, bytes
// that are no UTF-8; two asterisks are a mask and separate. It is found also
// inside a longer run of digits (where they stand with one space, hyphen, dot,
// comma, underscore, slash or apostrophe between them at most; else between
// groups of digits), and in the forms in which spreadsheets write numbers: 4111111111111111.0,
// 4.111111111111111E15, and 16 digits of which 15 were kept, whose last digit
// the other 15 give away.
//
// Spans overlap where the text can be read in more than one way; about one
// number of ten fits by chance, so the caller asks the registry which are
// cards. Who cannot ask takes [FindEvident]. The time is linear in the length of
// the text, and nothing is allocated for a text with fewer than 13 digits.
func FindPANs(s string) []Span {
	if !MayHoldPAN(s) {
		return nil
	}
	var spans []Span
	var r digitRun
	for i := 0; i < len(s); {
		if _, width := digitAt(s, i); width == 0 {
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

// FindEvident finds what is a card number as far as a text alone can say: the
// spans of [FindPANs] that are not loose.
func FindEvident(s string) []Span {
	return slices.DeleteFunc(FindPANs(s), func(span Span) bool { return span.Loose })
}

// MayHoldPAN is the fast way out of a text without 13 digits that stand
// together and without an exponent: [FindPANs] finds nothing there.
func MayHoldPAN(s string) bool {
	digits, gap := 0, 0
	for i := 0; ; {
		for digits == 0 && i < len(s) && classes[s[i]] <= noDigit {
			i++
		}
		if i >= len(s) {
			return false
		}
		width := 1
		switch classes[s[i]] {
		case letter:
			digits = 0
		case exponent:
			if i > 0 && (isDigit(s[i-1]) || s[i-1] == '.') {
				return true
			}
			digits = 0
		case decimalDigit:
			from := i
			for i < len(s) && isDigit(s[i]) {
				i++
			}
			digits, gap, width = digits+i-from, 0, 0
		case mark:
			if gap++; gap > maxGap || s[i] == '*' && separator(s, i) == 0 {
				digits = 0
			}
		case noDigit, maybeDigit:
			if _, width = digitAt(s, i); width > 0 {
				digits, gap = digits+1, 0
				break
			}
			width = separator(s, i)
			if gap++; width == 0 || gap > maxGap {
				digits, width = 0, max(width, 1)
			}
		}
		if digits >= MinPANLength {
			return true
		}
		i += width
	}
}

// class is what a byte of a text is to who looks for card numbers.
type class byte

const (
	mark class = iota
	letter
	noDigit // beyond ASCII, no first byte of a digit
	maybeDigit
	exponent
	decimalDigit
)

var classes = func() (of [256]class) {
	for c := range of {
		switch {
		case c >= firstDigitLead:
			of[c] = maybeDigit
		case c >= utf8.RuneSelf:
			of[c] = noDigit
		case isDigit(byte(c)):
			of[c] = decimalDigit
		case c|0x20 == 'e':
			of[c] = exponent
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			of[c] = letter
		}
	}
	return of
}()

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// firstDigitLead is the first byte of the first decimal digit beyond ASCII, U+0660 ARABIC-INDIC DIGIT ZERO.
const firstDigitLead = 0xd9

// digitAt gives the decimal digit of any script at i and its bytes, 0 where there is none.
func digitAt(s string, i int) (digit byte, width int) {
	c := s[i]
	if isDigit(c) {
		return c, 1
	}
	if c < firstDigitLead {
		return 0, 0
	}
	r, width := utf8.DecodeRuneInString(s[i:])
	if !unicode.IsDigit(r) {
		return 0, 0
	}
	return decimal(r), width
}

// decimal is the value of a decimal digit (Nd) as ASCII. Each script has its ten in a row (Unicode 4.6).
func decimal(r rune) byte {
	for _, t := range unicode.Nd.R16 {
		if r <= rune(t.Hi) {
			return '0' + byte((r-rune(t.Lo))%10)
		}
	}
	for _, t := range unicode.Nd.R32 {
		if r <= rune(t.Hi) {
			return '0' + byte((r-rune(t.Lo))%10)
		}
	}
	return '0'
}

// Digits gives the decimal digits of a text, of any script, as ASCII; letters and all else are left out.
func Digits(s string) string {
	var digits []byte
	for i := 0; i < len(s); {
		digit, width := digitAt(s, i)
		if width > 0 {
			digits = append(digits, digit)
		}
		i += max(width, 1)
	}
	return string(digits)
}

// maxGap is how many characters may stand between two digits of a card number.
const maxGap = 3

// separator gives the bytes of the character at i that may stand between two digits, 0 for none.
func separator(s string, i int) int {
	switch classes[s[i]] {
	case noDigit, maybeDigit:
		r, width := utf8.DecodeRuneInString(s[i:])
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			return 0
		}
		return width
	case mark:
		if s[i] == '*' && i+1 < len(s) && s[i+1] == '*' {
			return 0
		}
		return 1
	}
	return 0
}

// usual says that a gap is what people put between the groups of one number, or of thousands.
func usual(gap string) bool {
	switch gap {
	case " ", "-", ".", ",", "_", "/", "'", "\u00a0", "\u2007", "\u2009", "\u202f", "\u2010", "\u2011", "\u2012", "\u2013":
		return true
	}
	return false
}

// joint is what stands before a digit.
type joint byte

const (
	joined joint = iota // nothing
	spaced              // a usual separator
	apart               // anything else
)

// digitRun is a run of digits with at most three separators between two of them.
type digitRun struct {
	digits []byte // as ASCII
	places []place
	sums   [2][]byte
}

// place is where and how a digit of a run stands.
type place struct {
	at, end int // bytes
	gaps    int // how many digits of the run up to this one are apart
	before  joint
}

// read takes the run that begins at i and gives the offset after it.
func (r *digitRun) read(s string, i int) int {
	if r.digits == nil {
		r.digits, r.places = make([]byte, 0, MaxPANLength+1), make([]place, 0, MaxPANLength+1)
	}
	r.digits, r.places = r.digits[:0], r.places[:0]
	digit, width := digitAt(s, i)
	before, gaps := apart, 0
	for width > 0 {
		if before == apart {
			gaps++
		}
		r.digits, r.places = append(r.digits, digit), append(r.places, place{i, i + width, gaps, before})
		i += width
		var next int
		if next, digit, width = nextDigit(s, i); width == 0 {
			break
		}
		switch {
		case next == i:
			before = joined
		case usual(s[i:next]):
			before = spaced
		default:
			before = apart
		}
		i = next
	}
	return i
}

// nextDigit gives the digit at i or behind the separators there, and where it is; width 0 for none.
func nextDigit(s string, i int) (at int, digit byte, width int) {
	for gap := 0; i < len(s); gap++ {
		if digit, width = digitAt(s, i); width > 0 {
			return i, digit, width
		}
		n := separator(s, i)
		if n == 0 || gap == maxGap {
			break
		}
		i += n
	}
	return i, 0, 0
}

// luhnValid adds every part of the run that has a right check digit.
func (r *digitRun) luhnValid(spans []Span) []Span {
	if len(r.digits) < MinPANLength {
		return spans
	}
	r.sum()
	for start := range r.digits {
		for end := min(start+MaxPANLength, len(r.digits)); end >= start+MinPANLength; end-- {
			if parity := r.sums[end%2]; parity[end] == parity[start] && (!r.spread(start, end) || r.whole(start, end)) {
				spans = append(spans, r.span(start, end, string(r.digits[start:end])))
			}
		}
	}
	return spans
}

// sum fills sums: for each parity of the doubled positions, the last digit of
// the Luhn sum of the digits so far.
func (r *digitRun) sum() {
	even, odd := append(r.sums[0][:0], 0), append(r.sums[1][:0], 0)
	for i, c := range r.digits {
		plain := c - '0'
		doubled := plain * 2
		if doubled > 9 {
			doubled -= 9
		}
		if i%2 == 1 {
			plain, doubled = doubled, plain
		}
		even, odd = append(even, (even[i]+doubled)%10), append(odd, (odd[i]+plain)%10)
	}
	r.sums = [2][]byte{even, odd}
}

// spread says that digits of a part stand apart.
func (r *digitRun) spread(start, end int) bool { return r.places[end-1].gaps > r.places[start].gaps }

// whole says that a part cuts no group of digits at its ends.
func (r *digitRun) whole(start, end int) bool {
	return r.places[start].before != joined && (end == len(r.digits) || r.places[end].before != joined)
}

// alone says that a part is all there is between digits that stand apart.
func (r *digitRun) alone(start, end int) bool {
	return r.places[start].before == apart && (end == len(r.digits) || r.places[end].before == apart)
}

// grouped says that a whole part is in groups as card numbers are: digit by digit, by fours, or 4-6-5 and 4-6-4.
func (r *digitRun) grouped(start, end int) bool {
	if !r.whole(start, end) {
		return false
	}
	group, from := 0, start
	ones, fours, amex := true, true, true
	for i := start + 1; i <= end; i++ {
		if i < end && r.places[i].before == joined {
			continue
		}
		size, last := i-from, i == end
		ones = ones && size == 1
		fours = fours && (size == 4 || last && size < 4)
		amex = amex && (group == 0 && size == 4 || group == 1 && size == 6 || group == 2 && last && (size == 4 || size == 5))
		group, from = group+1, i
	}
	return ones || fours || amex
}

func (r *digitRun) span(start, end int, digits string) Span {
	loose := r.spread(start, end) && !(r.grouped(start, end) && ofScheme(digits))
	return Span{Start: r.places[start].at, End: r.places[end-1].end, PAN: PAN{digits: &digits}, Loose: loose}
}

// keptFifteen adds every whole number of 16 digits whose last became 0 in a
// spreadsheet: 15 digits determine the check digit.
func (r *digitRun) keptFifteen(spans []Span) []Span {
	const kept = 16
	for start, end := 0, kept; end <= len(r.digits); start, end = start+1, end+1 {
		if r.digits[end-1] == '0' && r.whole(start, end) && (r.group(start, end) || r.alone(start, end) || r.grouped(start, end)) {
			spans = r.restored(spans, start)
		}
	}
	return spans
}

// group says that nothing stands between the digits of a part.
func (r *digitRun) group(start, end int) bool {
	for _, p := range r.places[start+1 : end] {
		if p.before != joined {
			return false
		}
	}
	return true
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
	after := r.places[len(r.places)-1].end
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
	return append(spans, Span{Start: r.places[start].at, End: end, PAN: PAN{digits: &digits}})
}

// mantissa gives the index of the first digit of the "d" or "d.ddd" at the end of the run.
func (r *digitRun) mantissa(s string) (int, bool) {
	first := len(r.places) - 1
	for first > 0 && r.places[first].before == joined {
		first--
	}
	if point := r.places[first].at - 1; first > 0 && (s[point] == '.' || s[point] == ',') && r.places[first-1].end == point {
		first--
		return first, r.places[first].before != joined
	}
	return first, first == len(r.places)-1
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
