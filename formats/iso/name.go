package iso

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mozillazg/go-unidecode"
	"golang.org/x/text/unicode/norm"
)

// Limits of a name in characters (ISO/IEC 7813): on a track it has 2 to 26;
// no bureau embosses more than 26.
const (
	MinEncodedName = 2
	MaxName        = 26
)

// ErrName is wrapped by every error of a name. The sentence may show the name.
var ErrName = errors.New("the name cannot be put on a card")

// NameParts is the one value from which the embossed, the track and the chip
// name of a card come. Printed is what the cardholder wants to read on the
// card; Last and First, where known, say which part of it is the surname.
type NameParts struct {
	Last, First string
	Printed     string
}

// EncodedName gives the name for track 1 and the chip: SURNAME/FIRST, 2 to 26
// of A–Z, 0–9, space, full stop, hyphen and the one slash (ISO/IEC 7813).
// Other signs that may be embossed are left out (O'BRIEN is OBRIEN). Without
// last and first the last word of printed is the surname; a name of one word
// is "SURNAME/". A slash in the input, a letter that no rule maps and a name
// that is too long are errors: nothing is cut.
func EncodedName(last, first, printed string) (string, error) {
	rules, err := NewNameRules(ASCIIUpper, MaxName, false, nil)
	if err != nil {
		return "", err
	}
	name, _, err := rules.Encode(NameParts{Last: last, First: first, Printed: printed})
	return name, err
}

// CheckEncodedName says what is wrong with a name for a track. " /" (no name
// at all) is right: contactless magnetic stripe mode has it.
func CheckEncodedName(name string) error {
	if len(name) < MinEncodedName || len(name) > MaxName {
		return fmt.Errorf("%w: on a track it has %d to %d characters, this one has %d", ErrName, MinEncodedName, MaxName, len(name))
	}
	slashes := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '/':
			slashes++
		case !encodable(rune(c)):
			return fmt.Errorf("%w: on a track it has A–Z, 0–9, space, full stop and hyphen only", ErrName)
		}
	}
	if slashes != 1 {
		return fmt.Errorf("%w: on a track it has one slash, between surname and first name", ErrName)
	}
	return nil
}

func encodable(r rune) bool {
	return r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == ' ' || r == '.' || r == '-'
}

// Character sets of bureaus.
const (
	// ASCIIUpper: A–Z, 0–9, space and . - ' & ,
	ASCIIUpper = "ascii-upper"
	// Latin1Upper: the same and the capital letters of ISO/IEC 8859-1.
	Latin1Upper = "latin1-upper"
)

func charset(name string) (func(rune) bool, bool) {
	ascii := func(r rune) bool { return encodable(r) || r == '\'' || r == '&' || r == ',' }
	switch name {
	case ASCIIUpper:
		return ascii, true
	case Latin1Upper:
		return func(r rune) bool { return ascii(r) || r >= 'À' && r <= 'Þ' && r != '×' }, true
	}
	return nil, false
}

// KnownCharset says whether [NewNameRules] takes the character set.
func KnownCharset(name string) bool {
	_, ok := charset(name)
	return ok
}

// builtin is the transliteration that every bureau gets below its own rules.
// Latin, Greek and Cyrillic letters that it does not name go through go-unidecode.
var builtin = map[rune]string{
	'ß': "SS", 'ẞ': "SS", 'Ø': "O", 'Æ': "AE", 'Ł': "L", 'Ñ': "N", 'Œ': "OE", 'Þ': "TH", 'Ð': "D", 'Đ': "D",
	'’': "'", '‘': "'", 'ʼ': "'", '`': "'", '´': "'", '′': "'",
	'‐': "-", '‑': "-", '‒': "-", '–': "-", '—': "-", '−': "-",
	'\u00a0': " ", '\u2007': " ", '\u2009': " ", '\u202f': " ",
}

// NameRules is how one bureau embosses names. It may be used by several goroutines.
type NameRules struct {
	allowed func(rune) bool
	limit   int
	shorten bool
	extra   map[string]string // upper case, NFC
	longest int               // characters of the longest key of extra
}

// NewNameRules makes the rules of a bureau: its character set (ascii-upper or
// latin1-upper; "" is ascii-upper), the longest name it embosses (1 to 26
// characters; 0 is 26), whether a longer one may be shortened by rule, and
// transliterations that come before the built-in ones. An error names the
// setting that is wrong.
func NewNameRules(charsetName string, limit int, shorten bool, extra map[string]string) (*NameRules, error) {
	if charsetName == "" {
		charsetName = ASCIIUpper
	}
	allowed, ok := charset(charsetName)
	if !ok {
		return nil, fmt.Errorf("there is no character set %q; use %s or %s", charsetName, ASCIIUpper, Latin1Upper)
	}
	if limit == 0 {
		limit = MaxName
	}
	if limit < 1 || limit > MaxName {
		return nil, fmt.Errorf("an embossed name has at most 1 to %d characters, not %d", MaxName, limit)
	}
	r := &NameRules{allowed: allowed, limit: limit, shorten: shorten, extra: map[string]string{}}
	for from, to := range extra {
		key := strings.ToUpper(norm.NFC.String(from))
		if key == "" {
			return nil, errors.New("a transliteration rule has nothing on its left side")
		}
		to = strings.ToUpper(norm.NFC.String(to))
		for _, c := range to {
			if !allowed(c) {
				return nil, fmt.Errorf("the transliteration of %q has %q, which the character set %s lacks", from, c, charsetName)
			}
		}
		r.extra[key] = to
		r.longest = max(r.longest, utf8.RuneCountInString(key))
	}
	return r, nil
}

// Emboss gives the name as it stands on the card: upper case, transliterated
// into the bureau's characters, single spaces. shortened says that given names
// became initials, which the caller reports. A letter that no rule maps, a
// slash, a name of nothing and one that is too long are errors.
func (r *NameRules) Emboss(printed string) (name string, shortened bool, err error) {
	text, err := r.spell(printed, r.allowed)
	if err != nil {
		return "", false, err
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		return "", false, fmt.Errorf("%w: it is empty", ErrName)
	}
	last := len(words) - 1
	return r.fit(words[:last], r.limit, func(given []string) string {
		return strings.Join(append(given[:len(given):len(given)], words[last]), " ")
	})
}

// Encode gives the name for track 1 and the chip, see [EncodedName]. Its limit
// is always 26; shortened is as in [NameRules.Emboss].
func (r *NameRules) Encode(n NameParts) (name string, shortened bool, err error) {
	surname, first, err := r.split(n)
	if err != nil {
		return "", false, err
	}
	if surname == "" {
		return "", false, fmt.Errorf("%w: no letter of it may stand on a track", ErrName)
	}
	name, shortened, err = r.fit(strings.Fields(first), MaxName, func(given []string) string {
		return surname + "/" + strings.Join(given, " ")
	})
	if err == nil {
		err = CheckEncodedName(name)
	}
	return name, shortened, err
}

// split finds surname and given names, in the characters of a track.
func (r *NameRules) split(n NameParts) (surname, first string, err error) {
	if strings.ContainsRune(n.Last+n.First+n.Printed, '/') {
		return "", "", unmapped('/')
	}
	surname, first = n.Last, n.First
	switch words := strings.Fields(n.Printed); {
	case strings.TrimSpace(n.Last) == "" && len(words) == 0:
		return "", "", fmt.Errorf("%w: it is empty", ErrName)
	case strings.TrimSpace(n.Last) == "":
		surname, first = words[len(words)-1], strings.Join(words[:len(words)-1], " ")
	case strings.TrimSpace(n.First) == "":
		first = strings.Join(givenBefore(words, strings.Fields(n.Last)), " ")
	}
	if surname, err = r.encodedPart(surname); err != nil {
		return "", "", err
	}
	first, err = r.encodedPart(first)
	return surname, first, err
}

// Mentions says whether the printed name has the surname in it, word by word,
// as both would stand on a track. A printed name that does not is another
// person's or another form of the name; its own last word is then the surname.
func (r *NameRules) Mentions(printed, surname string) bool {
	whole, err := r.encodedPart(printed)
	if err != nil {
		return false
	}
	part, err := r.encodedPart(surname)
	return err == nil && part != "" && strings.Contains(" "+whole+" ", " "+part+" ")
}

// givenBefore gives the printed words before the surname, nil when they do not end with it.
func givenBefore(printed, surname []string) []string {
	n := len(printed) - len(surname)
	if n < 0 {
		return nil
	}
	for i, word := range surname {
		if !strings.EqualFold(word, printed[n+i]) {
			return nil
		}
	}
	return printed[:n]
}

func (r *NameRules) encodedPart(s string) (string, error) {
	ascii, _ := charset(ASCIIUpper)
	text, err := r.spell(s, ascii)
	if err != nil {
		return "", err
	}
	text = strings.Map(func(c rune) rune {
		if encodable(c) {
			return c
		}
		return -1
	}, text)
	return strings.Join(strings.Fields(text), " "), nil
}

// fit tries the name as it is and then, if the bureau asks for it, with more
// and more given names as initials, from the last of them to the first.
func (r *NameRules) fit(given []string, limit int, join func([]string) string) (string, bool, error) {
	name := join(given)
	if utf8.RuneCountInString(name) <= limit {
		return name, false, nil
	}
	if !r.shorten {
		return "", false, fmt.Errorf("%w: %q has %d characters, at most %d fit; give a shorter printed name", ErrName, name, utf8.RuneCountInString(name), limit)
	}
	short := append([]string(nil), given...)
	for i := len(short) - 1; i >= 0; i-- {
		initial, _ := utf8.DecodeRuneInString(short[i])
		short[i] = string(initial)
		if name := join(short); utf8.RuneCountInString(name) <= limit {
			return name, true, nil
		}
	}
	return "", false, fmt.Errorf("%w: %q has more than %d characters even with initials; give a shorter printed name", ErrName, name, limit)
}

// spell writes s in capital letters of the characters that allowed takes.
func (r *NameRules) spell(s string, allowed func(rune) bool) (string, error) {
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%w: it is not valid text (UTF-8)", ErrName)
	}
	text := []rune(strings.ToUpper(norm.NFC.String(s)))
	var b strings.Builder
	for i := 0; i < len(text); {
		if to, n := r.rule(text[i:]); n > 0 {
			if err := r.write(&b, to, allowed); err != nil {
				return "", err
			}
			i += n
			continue
		}
		to, ok := latin(text[i], allowed)
		if !ok {
			return "", unmapped(text[i])
		}
		b.WriteString(to)
		i++
	}
	return strings.Join(strings.Fields(b.String()), " "), nil
}

// write puts the right side of a bureau's rule; what a track lacks of it is transliterated further.
func (r *NameRules) write(b *strings.Builder, to string, allowed func(rune) bool) error {
	for _, c := range to {
		further, ok := latin(c, allowed)
		if !ok {
			return unmapped(c)
		}
		b.WriteString(further)
	}
	return nil
}

// rule finds the longest of the bureau's own rules at the beginning of text.
func (r *NameRules) rule(text []rune) (to string, n int) {
	for n = min(r.longest, len(text)); n > 0; n-- {
		if to, ok := r.extra[string(text[:n])]; ok {
			return to, n
		}
	}
	return "", 0
}

// latin gives one character in the characters that allowed takes.
func latin(c rune, allowed func(rune) bool) (string, bool) {
	if allowed(c) {
		return string(c), true
	}
	to, ok := builtin[c]
	switch {
	case ok:
	case unicode.Is(unicode.Mn, c): // a mark that no letter takes up (NFC): the letter stays
		return "", true
	case romanised(c):
		to = strings.ToUpper(unidecode.Unidecode(string(c)))
	}
	if to == "" {
		return "", false
	}
	for _, t := range to {
		if !allowed(t) {
			return "", false
		}
	}
	return to, true
}

// romanised says whether go-unidecode spells a letter as its readers would:
// letters of alphabets. A sign of another script has several spellings, by
// language and by holder; there a bureau's own rules or another printed name
// must say it.
func romanised(c rune) bool {
	return unicode.IsLetter(c) && unicode.In(c, unicode.Latin, unicode.Greek, unicode.Cyrillic)
}

func unmapped(c rune) error {
	if c == '/' {
		return fmt.Errorf("%w: a slash may not stand in it", ErrName)
	}
	return fmt.Errorf("%w: %q (U+%04X) has no transliteration; add one for the bureau or give another printed name", ErrName, c, c)
}
