package config

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"reemboss/formats/iso"
)

// Schemes whose tracks can be made.
const (
	Visa       = "visa"
	Mastercard = "mastercard"
)

// Technologies of a card (CARD TYPE of the card generation interface).
const (
	Mag                = "Mag"
	ChipPIN            = "Chip&PIN"
	ChipPINContactless = "Chip&PIN&Contactless"
)

// HasChip says whether cards of the product carry a chip, and so an iCVV and chip tracks.
func (p Product) HasChip() bool { return p.Technology != Mag }

var (
	iin             = regexp.MustCompile(`^[0-9]{6,8}$`)
	serviceCode     = regexp.MustCompile(`^[1-79][0-4][0-7]$`)
	currencyNumeric = regexp.MustCompile(`^0[0-9]{3}$`)
	deliveryMethod  = regexp.MustCompile(`^[0-7]$`)
	kcv             = regexp.MustCompile(`^[0-9A-Fa-f]{6}$`)
	hexBytes        = regexp.MustCompile(`^([0-9A-Fa-f]{2}){0,128}$`)
	rangePrefix     = regexp.MustCompile(`^[0-9]{6,12}$`)
)

func (c *checker) products() {
	c.some("products", len(c.Products), "at least one product")
	for key, p := range c.Products {
		path := join("products", key)
		c.named(path, key, "a product")
		c.numbers(path, p)
		c.encoding(path, p)
		c.printing(path, p)
		refers(c, join(path, "bureau"), p.Bureau, "bureau", "bureaus", c.Bureaus)
		c.within(join(path, "transit_days"), int64(p.TransitDays), 0, 365, "days for which a card may be under way")
		c.within(join(path, "return_min_days"), int64(p.ReturnMinDays), 0, 365, "days after which a card can have come back")
		c.within(join(path, "reissue_limit"), int64(p.ReissueLimit), 0, 1000, "how often one card may be reissued within reissue_days (0: no limit)")
		c.within(join(path, "reissue_days"), int64(p.ReissueDays), 1, 3650, "the days in which reissues count for reissue_limit")
	}
}

// numbers checks what a card number of the product looks like and that its range makes such numbers.
func (c *checker) numbers(path string, p Product) {
	prefixFits := c.form(join(path, "prefix"), p.Prefix, iin, "the issuer's prefix (IIN), 6 to 8 digits")
	lengthFits := c.within(join(path, "pan_length"), int64(p.PANLength), iso.MinPANLength, iso.MaxPANLength, "the digits of a card number")
	if lengthFits {
		c.longEnough(path, p)
	}
	if !refers(c, join(path, "range"), p.Range, "range", "ranges", c.Ranges) {
		return
	}
	r := c.Ranges[p.Range]
	if prefixFits && r.Prefix != "" && !strings.HasPrefix(r.Prefix, p.Prefix) {
		c.wrong(join(path, "range"), "the range %s makes numbers that begin with %s, not with the product's %s; choose a range with that prefix", p.Range, r.Prefix, p.Prefix)
	}
	if lengthFits && r.PANLength != 0 && r.PANLength != p.PANLength {
		c.wrong(join(path, "range"), "the range %s makes numbers of %d digits, the product has %d; choose a range of that length", p.Range, r.PANLength, p.PANLength)
	}
}

// longEnough holds the limits that follow from tracks and chip: track 2 of
// Mastercard is full with 16 digits, a chip's PAN has 16 to 19.
func (c *checker) longEnough(path string, p Product) {
	switch {
	case p.Tracks == Mastercard && p.PANLength != 16:
		c.wrong(join(path, "pan_length"), "%d does not fit: a Mastercard number has 16 digits (its track 2 is full with them); write 16", p.PANLength)
	case p.HasChip() && p.PANLength < 16:
		c.wrong(join(path, "pan_length"), "%d does not fit a chip, which takes 16 to 19 digits; write such a length, or technology: Mag", p.PANLength)
	}
}

func (c *checker) encoding(path string, p Product) {
	c.oneOf(join(path, "tracks"), p.Tracks, "kind of tracks", Visa, Mastercard)
	c.form(join(path, "service_code"), p.ServiceCode, serviceCode, "the service code, three digits of ISO/IEC 7813 such as 201")
	c.within(join(path, "validity_months"), int64(p.ValidityMonths), 1, 99, "the months for which a card is valid")
	c.within(join(path, "first_psn"), int64(p.FirstPSN), 0, 99, "the sequence number (PSN) of a new card")
	c.cvv(join(path, "cvv.cvv1"), p.CVV.CVV1, true)
	c.cvv(join(path, "cvv.cvv2"), p.CVV.CVV2, true)
	c.cvv(join(path, "cvv.icvv"), p.CVV.ICVV, p.HasChip())
}

func (c *checker) cvv(path string, k CVVKey, required bool) {
	if required || k.Key != "" {
		refers(c, join(path, "key"), k.Key, "card verification key", "card_keys", c.CardKeys)
	}
	c.oneOf(join(path, "order"), k.Order, "order of the expiry", "YYMM", "MMYY")
}

// printing checks what the bureau's file says of the product. Lengths are those
// of the card generation interface, version 12.
func (c *checker) printing(path string, p Product) {
	c.short(join(path, "reference"), p.Reference, 50)
	c.short(join(path, "carrier_type"), p.CarrierType, 30)
	c.short(join(path, "chip_type"), p.ChipType, 10)
	c.need(join(path, "carrier_type"), p.CarrierType, "the carrier's type as the bureau knows it, at most 30 characters")
	if c.oneOf(join(path, "technology"), p.Technology, "technology", Mag, ChipPIN, ChipPINContactless) {
		switch {
		case p.HasChip():
			c.need(join(path, "chip_type"), p.ChipType, "the chip application's name, such as VisaCard or Mastercard")
		case p.ChipType != "":
			c.wrong(join(path, "chip_type"), "a magnetic stripe card (technology: Mag) has no chip; take chip_type out")
		}
	}
	c.form(join(path, "currency"), p.Currency, currencyNumeric, "an ISO 4217 numeric code with four digits, such as 0826")
	for method, code := range p.Delivery {
		at := join(path, "delivery."+strconv.Itoa(method))
		refers(c, at, strconv.Itoa(method), "shipping method", "shipping", c.Shipping)
		c.form(at, code, deliveryMethod, "the delivery method, one digit from 0 to 7")
	}
	for field := range p.Fixed {
		if !slices.Contains(fixedFields, field) {
			c.wrong(join(path, "fixed."+field), "%q is no field that may have a fixed text; %s", field, hint(field, fixedFields))
		}
	}
}

// fixedFields are the fields of a record that a product may fix: no secret, and
// nothing that belongs to the card or its holder.
var fixedFields = []string{
	"logo_front_id", "logo_back_id", "image_id", "carrier_logo_id", "emboss_line4", "thermal_line1", "thermal_line2",
	"qrcode", "fulfil1", "fulfil2", "delivery_code", "language", "bulk_address_line1", "bulk_address_line2",
	"bulk_address_line3", "bulk_city", "bulk_county", "bulk_postcode", "bulk_country",
}

func (c *checker) short(path, text string, most int) {
	if n := len([]rune(text)); n > most {
		c.wrong(path, "has %d characters; the bureau's file takes at most %d", n, most)
	}
}

func (c *checker) ranges() {
	c.some("ranges", len(c.Ranges), "at least one range of card numbers")
	for key, r := range c.Ranges {
		path := join("ranges", key)
		c.named(path, key, "a range")
		c.need(join(path, "key"), r.Key, "the name of the allocation key in the keyset")
		if !hexBytes.MatchString(r.Tweak) {
			c.wrong(join(path, "tweak"), "must be pairs of hex digits, at most 128 pairs")
		}
		prefixFits := c.form(join(path, "prefix"), r.Prefix, rangePrefix, "what the numbers begin with, 6 to 12 digits")
		lengthFits := c.within(join(path, "pan_length"), int64(r.PANLength), iso.MinPANLength, iso.MaxPANLength, "the digits of a card number")
		if prefixFits && lengthFits {
			c.body(path, r)
		}
	}
	c.overlaps()
}

// body checks from and to: prefix + body + check digit make the number.
func (c *checker) body(path string, r Range) {
	digits := r.bodyDigits()
	if digits < 1 {
		c.wrong(join(path, "prefix"), "leaves no digit between itself and the check digit of a number of %d digits; shorten it", r.PANLength)
		return
	}
	last := power10(digits) - 1
	if !c.written(join(path, "to")) {
		c.wrong(join(path, "to"), "is missing; write the last body of the range, at most %d (%d digits)", last, digits)
		return
	}
	fromFits := c.within(join(path, "from"), r.From, 0, last, fmt.Sprintf("the first body of %d digits", digits))
	if c.within(join(path, "to"), r.To, 0, last, fmt.Sprintf("the last body of %d digits", digits)) && fromFits && r.To < r.From {
		c.wrong(join(path, "to"), "%d is before from, %d; the range goes upwards", r.To, r.From)
	}
}

// bodyDigits is how many digits stand between the prefix and the check digit.
func (r Range) bodyDigits() int { return r.PANLength - len(r.Prefix) - 1 }

func power10(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

// overlaps notes ranges that would make the same number.
func (c *checker) overlaps() {
	type span struct{ key, low, high string }
	var spans []span
	for _, key := range slices.Sorted(maps.Keys(c.Ranges)) {
		r := c.Ranges[key]
		if n := r.bodyDigits(); rangePrefix.MatchString(r.Prefix) && n >= 1 && n <= 12 && r.From <= r.To && r.From >= 0 {
			spans = append(spans, span{key, fmt.Sprintf("%s%0*d", r.Prefix, n, r.From), fmt.Sprintf("%s%0*d", r.Prefix, n, r.To)})
		}
	}
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Compare(c.d.places[join("ranges", a.key)].key.line, c.d.places[join("ranges", b.key)].key.line)
	})
	for i, b := range spans {
		for _, a := range spans[:i] {
			if len(a.low) == len(b.low) && a.low <= b.high && b.low <= a.high {
				c.wrong(join("ranges", b.key), "overlaps the range %s: both would make the same card numbers; move from and to apart", a.key)
			}
		}
	}
}

// highestCardID is the greatest card id: 18 digits.
const highestCardID = 999_999_999_999_999_999

func (c *checker) newCardIDs() {
	const path = "new_card_ids"
	ids := c.NewCardIDs
	if !c.written(path) {
		c.wrong(path, "is missing; write from and to of the card ids for new cards, a range that no extract uses")
		return
	}
	fromFits := c.within(join(path, "from"), ids.From, 1, highestCardID, "the first card id for new cards")
	if c.within(join(path, "to"), ids.To, 1, highestCardID, "the last card id for new cards") && fromFits && ids.To < ids.From {
		c.wrong(join(path, "to"), "%d is before from, %d; the range goes upwards", ids.To, ids.From)
	}
}
