package iso

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of a track in characters, without sentinels and LRC (ISO/IEC 7813).
const (
	MaxTrack1 = 76
	MaxTrack2 = 37
	// MaxChipTrack2 is 19 bytes, two hexadecimal digits each (EMV tag 57).
	MaxChipTrack2 = 38
)

// ErrTrack is wrapped by every error of a track. None of them contains card data.
var ErrTrack = errors.New("the track cannot be made")

// Scheme is the payment scheme whose track layout a card has.
type Scheme string

// The schemes with a built-in layout of the discretionary data.
const (
	Visa       Scheme = "visa"
	Mastercard Scheme = "mastercard"
)

// Discretionary describes the discretionary data of a track: literal digits,
// and in braces what is put between them:
//
//	{cvv}       three digits (CVV1 on a stripe, iCVV on a chip)
//	{validity}  months of validity, two digits
//	{psn}       PAN sequence number, two digits
//	{pvki}      PIN verification key index, one digit
//	{pvv}       PIN verification value, four digits
//
// The layout belongs to the issuer, so it is data.
type Discretionary string

// layout is what one scheme puts on its two tracks (Card Generation Interface, version 12).
type layout struct {
	track1, track2 Discretionary
	panLength      int // 0: any of 13 to 19
}

func (s Scheme) layout() (layout, error) {
	switch s {
	case Visa:
		return layout{track1: "00{cvv}000000", track2: "{cvv}00000"}, nil
	case Mastercard:
		return layout{track1: "00000{cvv}0000000", track2: "000000{validity}{cvv}{psn}", panLength: 16}, nil
	}
	return layout{}, fmt.Errorf("%w: there is no track layout %q; use visa or mastercard", ErrTrack, string(s))
}

// Track is what the tracks of one card are made from. For a stripe CVV is the
// CVV1, for the chip the iCVV; ServiceCode is the card's own on both.
type Track struct {
	PAN            PAN
	Name           string // as [EncodedName] makes it: SURNAME/FIRST
	Expiry         Expiry
	ServiceCode    string // three digits
	CVV            Secret // three digits
	PSN            int    // 0 to 99; Mastercard's track 2
	ValidityMonths int    // 1 to 99; Mastercard's track 2
	PVKI           string // one digit, where a layout asks for it
	PVV            Secret // four digits, where a layout asks for it
}

// Track1 is the magnetic track 1 in the scheme's layout: format code B, at
// most [MaxTrack1] characters, no sentinels, no LRC.
func (t Track) Track1(s Scheme) (Secret, error) {
	l, err := t.fits(s)
	if err != nil {
		return Secret{}, err
	}
	return t.Track1As(l.track1)
}

// Track2 is the magnetic track 2 in the scheme's layout, at most [MaxTrack2] characters.
func (t Track) Track2(s Scheme) (Secret, error) {
	l, err := t.fits(s)
	if err != nil {
		return Secret{}, err
	}
	return t.Track2As(l.track2)
}

// ChipTrack1 is track 1 as the chip carries it: the same layout; t.CVV is the iCVV.
func (t Track) ChipTrack1(s Scheme) (Secret, error) { return t.Track1(s) }

// ChipTrack2 is the track 2 equivalent data (EMV tag 57) in hexadecimal
// digits: D for the separator, F after an odd number of digits, at most
// [MaxChipTrack2] digits; t.CVV is the iCVV.
func (t Track) ChipTrack2(s Scheme) (Secret, error) {
	l, err := t.fits(s)
	if err != nil {
		return Secret{}, err
	}
	return t.ChipTrack2As(l.track2)
}

// Track1As is [Track.Track1] with discretionary data of the issuer's own layout.
func (t Track) Track1As(d Discretionary) (Secret, error) {
	if err := CheckEncodedName(t.Name); err != nil {
		return Secret{}, fmt.Errorf("%w: %w", ErrTrack, err)
	}
	b := make([]byte, 0, MaxTrack1)
	b = append(b, 'B')
	b = append(b, t.PAN.Reveal()...)
	b = append(b, '^')
	b = append(b, t.Name...)
	b = append(b, '^')
	b, err := t.tail(b, d)
	return whole(b, err, MaxTrack1, "track 1")
}

// Track2As is [Track.Track2] with discretionary data of the issuer's own layout.
func (t Track) Track2As(d Discretionary) (Secret, error) {
	b, err := t.track2(d, '=')
	return whole(b, err, MaxTrack2, "track 2")
}

// ChipTrack2As is [Track.ChipTrack2] with discretionary data of the issuer's own layout.
func (t Track) ChipTrack2As(d Discretionary) (Secret, error) {
	b, err := t.track2(d, 'D')
	if len(b)%2 == 1 {
		b = append(b, 'F')
	}
	return whole(b, err, MaxChipTrack2, "the chip's track 2")
}

func (t Track) track2(d Discretionary, separator byte) ([]byte, error) {
	b := make([]byte, 0, MaxChipTrack2)
	b = append(b, t.PAN.Reveal()...)
	b = append(b, separator)
	return t.tail(b, d)
}

// whole is the last look at a track: its length. Nothing is ever cut.
func whole(b []byte, err error, limit int, name string) (Secret, error) {
	if err != nil {
		return Secret{}, err
	}
	if len(b) > limit {
		return Secret{}, fmt.Errorf("%w: %s would have %d characters, at most %d fit", ErrTrack, name, len(b), limit)
	}
	return NewSecret(string(b)), nil
}

// fits holds the scheme's rule for the length of the PAN.
func (t Track) fits(s Scheme) (layout, error) {
	l, err := s.layout()
	if err == nil && l.panLength != 0 && t.PAN.Len() != l.panLength {
		err = fmt.Errorf("%w: a %s track needs a card number of %d digits, this one has %d", ErrTrack, s, l.panLength, t.PAN.Len())
	}
	return l, err
}

// tail appends YYMM, service code and the discretionary data.
func (t Track) tail(b []byte, d Discretionary) ([]byte, error) {
	switch {
	case t.PAN.IsZero():
		return nil, fmt.Errorf("%w: there is no card number", ErrTrack)
	case t.Expiry == 0:
		return nil, fmt.Errorf("%w: there is no expiry", ErrTrack)
	case !digits(t.ServiceCode, 3):
		return nil, fmt.Errorf("%w: a service code has three digits", ErrTrack)
	}
	b = appendTwo(b, t.Expiry.Year()%100)
	b = appendTwo(b, t.Expiry.Month())
	b = append(b, t.ServiceCode...)
	for rest := string(d); rest != ""; {
		if rest[0] != '{' {
			if rest[0] < '0' || rest[0] > '9' {
				return nil, fmt.Errorf("%w: discretionary data has digits and {names} only, not %q", ErrTrack, rest[0])
			}
			b, rest = append(b, rest[0]), rest[1:]
			continue
		}
		name, after, closed := strings.Cut(rest[1:], "}")
		if !closed {
			return nil, fmt.Errorf("%w: a { of the discretionary data has no }", ErrTrack)
		}
		var err error
		if b, err = t.value(b, name); err != nil {
			return nil, err
		}
		rest = after
	}
	return b, nil
}

// value appends what stands for one name of a [Discretionary].
func (t Track) value(b []byte, name string) ([]byte, error) {
	text, length := "", 0
	switch name {
	case "cvv":
		text, length = t.CVV.Reveal(), 3
	case "pvv":
		text, length = t.PVV.Reveal(), 4
	case "pvki":
		text, length = t.PVKI, 1
	case "validity":
		if t.ValidityMonths < 1 || t.ValidityMonths > 99 {
			return nil, fmt.Errorf("%w: the validity is 1 to 99 months, not %d", ErrTrack, t.ValidityMonths)
		}
		return appendTwo(b, t.ValidityMonths), nil
	case "psn":
		if t.PSN < 0 || t.PSN > 99 {
			return nil, fmt.Errorf("%w: the PSN is 0 to 99, not %d", ErrTrack, t.PSN)
		}
		return appendTwo(b, t.PSN), nil
	default:
		return nil, fmt.Errorf("%w: discretionary data knows {cvv} {validity} {psn} {pvki} {pvv}, not {%s}", ErrTrack, name)
	}
	if !digits(text, length) {
		return nil, fmt.Errorf("%w: {%s} needs %d digits", ErrTrack, name, length)
	}
	return append(b, text...), nil
}

func appendTwo(b []byte, n int) []byte { return append(b, byte('0'+n/10%10), byte('0'+n%10)) }

// digits says whether s is n decimal digits.
func digits(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
