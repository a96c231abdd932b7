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
	rest := strings.TrimLeft(strings.TrimPrefix(text, "-"), "0123456789")
	if rest == "" || len(rest) == len(text) {
		return false // digits only, or no number at all
	}
	if rest[0] != '.' && rest[0] != ',' {
		return exponent(rest, digitsOnly)
	}
	fraction := rest[1:]
	if rest = strings.TrimLeft(fraction, "0123456789"); rest == "" {
		return strings.Trim(fraction, "0") == ""
	}
	return exponent(rest, digitsOnly)
}

// exponent says that s is E and a number, whose sign may be missing where unsigned.
func exponent(s string, unsigned bool) bool {
	if s[0] != 'E' && s[0] != 'e' {
		return false
	}
	digits := strings.TrimLeft(s[1:], "+-")
	signed := len(digits) == len(s)-2
	return (signed || unsigned && len(digits) == len(s)-1) && digits != "" && strings.Trim(digits, "0123456789") == ""
}
