// Package iso holds the small, exact things that every card is made of: the
// PAN (ISO/IEC 7812), the expiry date, the service code, magnetic tracks 1 and
// 2 (ISO/IEC 7813), the chip's track 2 equivalent (EMV tag 57) and the names
// that are embossed and encoded.
//
// A [PAN] and a [Secret] never show what they hold by accident: every way in
// which Go prints, formats or marshals a value gives the masked form. Only
// Reveal gives the clear value, so that a search for "Reveal" finds every
// place where clear card data is handled.
//
// The package does no I/O and takes no decision.
package iso

import (
	"errors"
	"fmt"
	"strings"
)

// Lengths of a PAN in digits (ISO/IEC 7812-1; shorter test numbers are not accepted).
const (
	MinPANLength = 13
	MaxPANLength = 19
)

// Errors of [ParsePAN]. None of them contains the number.
var (
	ErrPANLength = errors.New("a card number has 13 to 19 digits")
	ErrPANDigits = errors.New("a card number has digits only")
	ErrPANLuhn   = errors.New("the check digit of the card number is wrong (Luhn)")
)

// PAN is a primary account number. The zero PAN is "none".
//
// The digits stand behind a pointer: fmt prints fields of unexported parents
// without asking their methods, and then shows an address, not a number.
type PAN struct{ digits *string }

// ParsePAN takes 13 to 19 digits with a right check digit. Spaces and hyphens
// between digits are taken out. The error never repeats the input.
func ParsePAN(s string) (PAN, error) {
	if strings.ContainsAny(s, " -") {
		s = strings.Map(withoutSeparators, s)
	}
	if !digits(s, len(s)) {
		return PAN{}, ErrPANDigits
	}
	if len(s) < MinPANLength || len(s) > MaxPANLength {
		return PAN{}, ErrPANLength
	}
	if !LuhnValid(s) {
		return PAN{}, ErrPANLuhn
	}
	return PAN{digits: &s}, nil
}

func withoutSeparators(r rune) rune {
	if r == ' ' || r == '-' {
		return -1
	}
	return r
}

// VectorPAN takes digits of any number without looking at their check digit:
// most published test vectors of card cryptography have a wrong one. Cards come
// from [ParsePAN] only.
func VectorPAN(digits string) PAN { return PAN{digits: &digits} }

// Reveal gives the digits in clear. The caller keeps them in memory only.
func (p PAN) Reveal() string {
	if p.digits == nil {
		return ""
	}
	return *p.digits
}

// IsZero says that there is no number.
func (p PAN) IsZero() bool { return p.digits == nil }

// Equal compares two numbers.
func (p PAN) Equal(q PAN) bool { return p.Reveal() == q.Reveal() }

// Len is the number of digits.
func (p PAN) Len() int { return len(p.Reveal()) }

// Masked shows the first six and the last four digits (PCI DSS 4.0.1, 3.4.1).
func (p PAN) Masked() string { return Mask(p.Reveal()) }

// Mask hides all but the first six and the last four digits of s. What is too
// short to hide anything that way is hidden whole.
func Mask(s string) string {
	if len(s) < MinPANLength {
		return strings.Repeat("*", len(s))
	}
	return s[:6] + strings.Repeat("*", len(s)-10) + s[len(s)-4:]
}

// String, GoString, Format, MarshalText and MarshalJSON all give the masked form.
func (p PAN) String() string { return p.Masked() }

// GoString gives the masked form for %#v.
func (p PAN) GoString() string { return "iso.PAN(" + p.Masked() + ")" }

// Format gives the masked form for every verb.
func (p PAN) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(p.Masked())) }

// MarshalText gives the masked form to encoders.
func (p PAN) MarshalText() ([]byte, error) { return []byte(p.Masked()), nil }

// MarshalJSON gives the masked form to encoding/json and zerolog.
func (p PAN) MarshalJSON() ([]byte, error) { return []byte(`"` + p.Masked() + `"`), nil }

// Secret is card data that is never shown, not even in part: a CVV, a track, a
// PIN block. Every way to print it gives "[secret]".
type Secret struct{ text *string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{text: &s} }

// Reveal gives the text in clear. The caller keeps it in memory only.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero says that there is nothing inside.
func (s Secret) IsZero() bool { return s.text == nil || *s.text == "" }

const redacted = "[secret]"

// String gives "[secret]", like GoString, Format, MarshalText and MarshalJSON.
func (s Secret) String() string { return redacted }

// GoString gives "[secret]" for %#v.
func (s Secret) GoString() string { return redacted }

// Format gives "[secret]" for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText gives "[secret]" to encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON gives "[secret]" to encoding/json and zerolog.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LuhnDigit gives the check digit '0'–'9' for the digits of body (ISO/IEC
// 7812-1, Annex B). body must hold digits only.
func LuhnDigit(body string) byte {
	sum := 0
	for i, double := len(body)-1, true; i >= 0; i, double = i-1, !double {
		d := int(body[i] - '0')
		if double {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return byte('0' + (10-sum%10)%10)
}

// LuhnValid says whether the last digit of s is its check digit.
func LuhnValid(s string) bool {
	return len(s) > 1 && digits(s, len(s)) && LuhnDigit(s[:len(s)-1]) == s[len(s)-1]
}
