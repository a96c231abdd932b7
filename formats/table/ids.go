package table

import "strings"

// SpoiledID says that a spreadsheet, or a program that took an id for a
// number, may have changed the id in a cell. A text cell is judged by its
// shape: "4.11E+15", "4,11E+15" and "123.0" were numbers once. An id that has
// digits only is a number even as 1e3.
func SpoiledID(text string, mark Mark, digitsOnly bool) bool {
	if mark&(Lossy|Date) != 0 {
		return true
	}
	rest := afterDigits(strings.TrimPrefix(text, "-"))
	if rest == "" || len(rest) == len(text) {
		return false // digits only, or no number at all
	}
	if rest[0] != '.' && rest[0] != ',' {
		return exponent(rest, digitsOnly)
	}
	fraction := rest[1:]
	if rest = afterDigits(fraction); rest == "" {
		return strings.Trim(fraction, "0") == ""
	}
	return exponent(rest, digitsOnly)
}

// exponent says that s is E and a number, whose sign may be missing where unsigned.
func exponent(s string, unsigned bool) bool {
	if s[0] != 'E' && s[0] != 'e' {
		return false
	}
	digits := s[1:]
	signed := digits != "" && (digits[0] == '+' || digits[0] == '-')
	if signed {
		digits = digits[1:]
	}
	return (signed || unsigned) && digits != "" && afterDigits(digits) == ""
}

// afterDigits is s without the digits that it begins with.
func afterDigits(s string) string {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return s[i:]
}
