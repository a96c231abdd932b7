package iso

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Expiry is the month after whose last day a card is no longer valid, as
// year*100+month (202911 is November 2029). The zero Expiry is "none". It
// sorts and compares as a number.
type Expiry int

// ErrExpiry says how an expiry is written.
var ErrExpiry = errors.New("an expiry is written YYYY-MM or MM/YY, with a month from 01 to 12")

// NewExpiry makes the expiry of a year and a month; the month may run past
// December (13 is January of the next year).
func NewExpiry(year, month int) Expiry {
	n := year*12 + month - 1
	return Expiry(n/12*100 + n%12 + 1)
}

// ExpiryOf is the month of t.
func ExpiryOf(t time.Time) Expiry { return NewExpiry(t.Year(), int(t.Month())) }

// ParseExpiry reads "YYYY-MM" or "MM/YY" (2000–2099).
func ParseExpiry(s string) (Expiry, error) {
	var year, month string
	switch {
	case len(s) == 7 && s[4] == '-':
		year, month = s[:4], s[5:]
	case len(s) == 5 && s[2] == '/':
		year, month = "20"+s[3:], s[:2]
	default:
		return 0, ErrExpiry
	}
	y, errYear := strconv.ParseUint(year, 10, 16)
	m, errMonth := strconv.ParseUint(month, 10, 8)
	if errYear != nil || errMonth != nil || m < 1 || m > 12 || y < 1950 {
		return 0, ErrExpiry
	}
	return NewExpiry(int(y), int(m)), nil
}

// Year and Month take the expiry apart.
func (e Expiry) Year() int { return int(e) / 100 }

// Month is 1 to 12.
func (e Expiry) Month() int { return int(e) % 100 }

// Add moves the expiry by months (may be negative).
func (e Expiry) Add(months int) Expiry { return NewExpiry(e.Year(), e.Month()+months) }

// LastDay is the last day of validity, at midnight UTC.
func (e Expiry) LastDay() time.Time {
	return time.Date(e.Year(), time.Month(e.Month())+1, 0, 0, 0, 0, 0, time.UTC)
}

// Expired says whether the card is past its last day of validity on the given business date.
func (e Expiry) Expired(businessDate time.Time) bool { return e < ExpiryOf(businessDate) }

// YYMM is the order on tracks (and, by default, in a CVV).
func (e Expiry) YYMM() string { return fmt.Sprintf("%02d%02d", e.Year()%100, e.Month()) }

// MMYY is the order that some issuers feed into CVV2.
func (e Expiry) MMYY() string { return fmt.Sprintf("%02d%02d", e.Month(), e.Year()%100) }

// Face is MM/YY, as embossed.
func (e Expiry) Face() string { return fmt.Sprintf("%02d/%02d", e.Month(), e.Year()%100) }

// String is YYYY-MM; empty for "none".
func (e Expiry) String() string {
	if e == 0 {
		return ""
	}
	return fmt.Sprintf("%04d-%02d", e.Year(), e.Month())
}
