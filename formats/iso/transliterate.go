package iso

import (
	"strings"
	"unicode"

	"github.com/mozillazg/go-unidecode"
	"golang.org/x/text/unicode/norm"
)

// Transliterate writes the characters of an address or another text of a
// letter that has lacks in ones that it has, keeping upper and lower case: Ł
// becomes L, ß becomes ss. What has no transliteration stays as it is, for the
// layout's check to name; a mark that belongs to another letter (a virama, say)
// goes. The blank that a sign may end with where more follows does not end the
// text. Names on cards have rules of their own ([NameRules]).
func Transliterate(s string, has func(rune) bool) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !has(r) }) {
		return s
	}
	var b strings.Builder
	lacks := func(r rune) bool { return !has(r) }
	for _, r := range norm.NFC.String(s) {
		if to := transliterated(r); lacks(r) && (to != "" || unicode.IsMark(r)) && !strings.ContainsFunc(to, lacks) {
			b.WriteString(to)
		} else {
			b.WriteRune(r)
		}
	}
	if strings.HasSuffix(s, " ") {
		return b.String()
	}
	return strings.TrimRight(b.String(), " ")
}

// transliterated gives a character by the built-in table, else by unidecode; "" where neither has it.
func transliterated(r rune) string {
	upper := unicode.ToUpper(r)
	to, ok := builtin[upper]
	if !ok && (unicode.IsLetter(r) || unicode.IsMark(r)) {
		return unidecode.Unidecode(string(r))
	}
	if unicode.IsLower(r) {
		to = strings.ToLower(to)
	}
	return to
}
