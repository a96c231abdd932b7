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
// layout's check to name. Names on cards have rules of their own ([NameRules]).
func Transliterate(s string, has func(rune) bool) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !has(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range norm.NFC.String(s) {
		if to := transliterated(r); !has(r) && to != "" && !strings.ContainsFunc(to, func(t rune) bool { return !has(t) }) {
			b.WriteString(to)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// transliterated gives a character by the built-in table, else by unidecode; "" where neither has it.
func transliterated(r rune) string {
	upper := unicode.ToUpper(r)
	to, ok := builtin[upper]
	if !ok && unicode.IsLetter(r) {
		return unidecode.Unidecode(string(r))
	}
	if unicode.IsLower(r) {
		to = strings.ToLower(to)
	}
	return to
}
