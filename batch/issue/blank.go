package issue

import (
	"maps"

	"reemboss/formats/iso"
	"reemboss/formats/layout"
)

// Blank is the record of one card without its secrets: no card number, no CVV,
// no track. As JSON it is what an order keeps. Its fields do not change.
type Blank struct {
	// Fields are the layout's fields that anybody may see.
	Fields map[layout.Field]string `json:"f"`
	// What the secrets are made from, beside the number.
	Scheme         iso.Scheme `json:"s"`
	Name           string     `json:"n"` // SURNAME/FIRST
	Expiry         iso.Expiry `json:"x"`
	ServiceCode    string     `json:"c"`
	PSN            int        `json:"p,omitempty"`
	ValidityMonths int        `json:"v"`
	Chip           bool       `json:"h,omitempty"`
	Keys           KeyRefs    `json:"k"`
	// Shortened says that given names became initials; the result tells the sender.
	Shortened bool `json:"i,omitempty"`
}

// UID is the record's unique id.
func (b *Blank) UID() string { return b.Fields[layout.UID] }

// values are the three card verification values of a card.
type values struct{ cvv1, cvv2, icvv iso.Secret }

// placeholders have the shape of real values.
func placeholders() values {
	v := iso.NewSecret("000")
	return values{cvv1: v, cvv2: v, icvv: v}
}

// Placeholder is the record with the number and with values of the right shape
// but no meaning, to be held against the bureau's layout before the order is
// committed. A track that cannot be made (a Blank of [Maker.Make] has none) is
// left out, which the layout's check notices.
func (b *Blank) Placeholder(pan iso.PAN) layout.Record {
	record, _ := b.fill(pan, placeholders())
	return record
}

// fill adds the secrets to a copy of the fields. After an error the record lacks what could not be made.
func (b *Blank) fill(pan iso.PAN, v values) (layout.Record, error) {
	record := make(layout.Record, len(b.Fields)+9)
	maps.Copy(record, b.Fields)
	digits := pan.Reveal()
	record[layout.PAN] = digits
	record[layout.PANGrouped] = grouped(digits)
	record[layout.PANMasked] = pan.Masked()
	record[layout.CVV2] = v.cvv2.Reveal()
	if len(digits) >= 4 {
		record[layout.CVV2Face] = digits[len(digits)-4:] + " " + v.cvv2.Reveal()
	}
	for _, t := range b.tracks() {
		text, err := t.make(b.track(pan, t.pick(v)))
		if err != nil {
			return record, err
		}
		record[t.field] = text.Reveal()
	}
	return record, nil
}

// track is what a track of this card is made from.
func (b *Blank) track(pan iso.PAN, cvv iso.Secret) iso.Track {
	return iso.Track{PAN: pan, Name: b.Name, Expiry: b.Expiry, ServiceCode: b.ServiceCode, CVV: cvv, PSN: b.PSN, ValidityMonths: b.ValidityMonths}
}

// trackOf is one track of a card: its field, the value that it carries, and how it is made.
type trackOf struct {
	field layout.Field
	pick  func(values) iso.Secret
	make  func(iso.Track) (iso.Secret, error)
}

// tracks are the tracks that the card has: the stripe's with the CVV1, the chip's with the iCVV.
func (b *Blank) tracks() []trackOf {
	stripe := func(v values) iso.Secret { return v.cvv1 }
	chip := func(v values) iso.Secret { return v.icvv }
	all := [...]trackOf{
		{layout.Track1, stripe, func(t iso.Track) (iso.Secret, error) { return t.Track1(b.Scheme) }},
		{layout.Track2, stripe, func(t iso.Track) (iso.Secret, error) { return t.Track2(b.Scheme) }},
		{layout.ChipTrack1, chip, func(t iso.Track) (iso.Secret, error) { return t.ChipTrack1(b.Scheme) }},
		{layout.ChipTrack2, chip, func(t iso.Track) (iso.Secret, error) { return t.ChipTrack2(b.Scheme) }},
	}
	if b.Chip {
		return all[:]
	}
	return all[:2]
}

// maxEmbossedPAN is the room for the number on the face, in characters.
const maxEmbossedPAN = 19

// grouped writes the number in groups of four with spaces; ungrouped where that would not fit the face.
func grouped(digits string) string {
	if len(digits)+(len(digits)-1)/4 > maxEmbossedPAN {
		return digits
	}
	b := make([]byte, 0, maxEmbossedPAN)
	for i := range len(digits) {
		if i > 0 && i%4 == 0 {
			b = append(b, ' ')
		}
		b = append(b, digits[i])
	}
	return string(b)
}
