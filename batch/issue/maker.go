package issue

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/rules"
	"reemboss/formats/extract"
	"reemboss/formats/iso"
	"reemboss/formats/layout"
	"reemboss/formats/request"
)

// Maker makes blanks under one configuration. It may be used by several goroutines.
type Maker struct {
	names    map[string]*iso.NameRules // by bureau
	keys     map[string]bool
	shipping map[int]string // names of the shipping methods
}

// NewMaker compiles what the configuration says of names, keys and shipping.
// The error names the bureau whose rules for names are wrong.
func NewMaker(cfg *config.Config) (*Maker, error) {
	m := &Maker{names: map[string]*iso.NameRules{}, keys: map[string]bool{}, shipping: map[int]string{}}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(cfg.Bureaus)) {
		b := cfg.Bureaus[name]
		names, err := iso.NewNameRules(b.Charset, b.MaxName, b.ShortenName, b.Transliterate)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("bureau %s: %w", name, err))
		}
		m.names[name] = names
	}
	for name := range cfg.CardKeys {
		m.keys[name] = true
	}
	for method, s := range cfg.Shipping {
		m.shipping[method] = s.Name
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return m, nil
}

// CheckName says whether a bureau can emboss and encode a name; nil if it can.
// printed is what stands on the card, last and first where they are known. The
// error is one plain sentence.
func (m *Maker) CheckName(bureau, printed, last, first string) error {
	_, err := m.name(bureau, printed, last, first)
	return err
}

// name is the embossed and the encoded name of one card.
type name struct {
	embossed, encoded string
	shortened         bool
}

// name makes both names from one value. last and first count only where the
// printed name mentions the surname; else (a request brought another name) the
// printed name speaks for itself.
func (m *Maker) name(bureau, printed, last, first string) (name, error) {
	names := m.names[bureau]
	if names == nil {
		return name{}, fmt.Errorf("the configuration has no bureau %s", bureau)
	}
	embossed, shortEmbossed, err := names.Emboss(printed)
	if err != nil {
		return name{}, err
	}
	parts := iso.NameParts{Printed: printed}
	if names.Mentions(printed, last) {
		parts.Last, parts.First = last, first
	}
	encoded, shortEncoded, err := names.Encode(parts)
	if err != nil {
		return name{}, err
	}
	return name{embossed: embossed, encoded: encoded, shortened: shortEmbossed || shortEncoded}, nil
}

// MakeInput is what a record is made from.
type MakeInput struct {
	// Card is the card whose plastic is made, with the PAN, PSN, expiry, start
	// date, validity and cvk_ref that this plastic has. A blank cvk_ref means the
	// product's keys, no validity the product's, no start date expiry minus validity.
	Card    extract.Card
	Plan    *rules.Plan
	Product config.Product // the card's
	UID     string
}

// Make makes the record of a card, all but its secrets. An error that is a
// [*Refusal] is the row's: invalid_printed_name, psn_exhausted,
// card_validation_error (country, currency or cvk_ref that nobody knows) or
// embossing_line_invalid_format (a track that cannot be made).
func (m *Maker) Make(in MakeInput) (*Blank, error) {
	card, plan := in.Card, in.Plan
	last, first := card.LastName, card.FirstName
	if plan.NameGiven {
		last, first = "", ""
	}
	printed := plan.PrintedName
	if printed == "" {
		printed = card.PrintedName
	}
	names, err := m.name(plan.Bureau, printed, last, first)
	if err != nil {
		if _, known := m.names[plan.Bureau]; !known {
			return nil, refuse(rules.EmbosserNotConfigured, "No bureau %s is configured for this card; add the bureau or the route, then send the row again.", plan.Bureau)
		}
		return nil, refuse(rules.InvalidPrintedName, "The printed name does not fit: %s.", strings.TrimPrefix(err.Error(), iso.ErrName.Error()+": "))
	}
	if card.PSN < 0 || card.PSN > MaxPSN {
		return nil, refuse(rules.PSNExhausted, "The card has used its last sequence number (%d); give it a new number (reason 3, 4 or 6).", MaxPSN)
	}
	keys, err := m.keyRefs(card, in.Product)
	if err != nil {
		return nil, err
	}
	b := &Blank{
		Scheme: iso.Scheme(in.Product.Tracks), Name: names.encoded, Expiry: card.Expiry, ServiceCode: in.Product.ServiceCode,
		PSN: card.PSN, ValidityMonths: card.ValidityMonths, Chip: in.Product.ChipType != "", Keys: keys, Shortened: names.shortened,
	}
	if keys.service != "" {
		b.ServiceCode, b.Keys.service = keys.service, ""
	}
	if b.ValidityMonths == 0 {
		b.ValidityMonths = in.Product.ValidityMonths
	}
	if !b.Chip {
		b.Keys.ICVV = KeyRef{}
	}
	if b.Fields, err = m.fields(in, b, names.embossed); err != nil {
		return nil, err
	}
	if err := b.encodes(card.PAN); err != nil {
		return nil, err
	}
	return b, nil
}

// encodes holds the limits of tracks and chip before there is any value.
func (b *Blank) encodes(pan iso.PAN) error {
	if n := pan.Len(); b.Chip && n < 16 {
		return refuse(rules.EmbossingLineInvalidFormat, "A card number of %d digits does not fit a chip, which takes 16 to 19; give the card another product or a new number.", n)
	}
	for _, t := range b.tracks() {
		if _, err := t.make(b.track(pan, t.pick(placeholders()))); err != nil {
			return refuse(rules.EmbossingLineInvalidFormat, "The card does not fit its tracks: %s.", strings.TrimPrefix(err.Error(), iso.ErrTrack.Error()+": "))
		}
	}
	return nil
}

func refuse(code rules.Code, format string, args ...any) error {
	return &Refusal{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// keyRefs are the keys of this card; a name that card_keys lacks refuses it.
func (m *Maker) keyRefs(card extract.Card, product config.Product) (KeyRefs, error) {
	refs, err := cardRefs(card.CVKRef, product.CVV)
	if err != nil {
		return refs, refuse(rules.CardValidationError, "The column cvk_ref of the card cannot be read: %s; correct the card in the card system.", err)
	}
	for _, ref := range []KeyRef{refs.CVV1, refs.CVV2, refs.ICVV} {
		if !m.keys[ref.Key] && (ref.Key != "" || product.ChipType != "") {
			return refs, refuse(rules.CardValidationError, "The card needs the card verification key %q, which card_keys of the configuration lacks; add the key or correct cvk_ref.", ref.Key)
		}
	}
	return refs, nil
}

// fields fills every field of the record that is no secret and can be known.
func (m *Maker) fields(in MakeInput, b *Blank, embossed string) (map[layout.Field]string, error) {
	card, plan, product := in.Card, in.Plan, in.Product
	currency, err := currencyOf(card, product)
	if err != nil {
		return nil, err
	}
	f := make(map[layout.Field]string, 48)
	for field, text := range product.Fixed {
		f[layout.Field(field)] = text
	}
	method := max(plan.ShippingMethod, 1)
	start := startDate(card, b)
	first, last := carrierName(card)
	for field, text := range map[layout.Field]string{
		layout.UID: in.UID, layout.RequestType: requestType(plan), layout.ProductRef: or(product.Reference, card.Product),
		layout.CardID: strconv.FormatInt(card.ID, 10), layout.AccountNo: card.AccountNumber,
		layout.Title: card.Title, layout.FirstName: first, layout.LastName: last, layout.Company: card.CompanyName,
		layout.Mobile: card.Phone, layout.Email: card.Email, layout.Language: card.Language,
		layout.CarrierType: product.CarrierType, layout.DeliveryMeth: product.Delivery[method], layout.ShippingName: m.shipping[method],
		layout.Technology: product.Technology, layout.Currency: currency, layout.EmbossedName: embossed,
		layout.StartFace: iso.ExpiryOf(start).Face(), layout.ExpiryFace: b.Expiry.Face(),
		layout.StartDate: start.Format(yymmdd), layout.ExpiryDate: b.Expiry.LastDay().Format(yymmdd),
		layout.PSN: fmt.Sprintf("%02d", b.PSN), layout.ServiceCode: b.ServiceCode, layout.ChipType: product.ChipType,
	} {
		put(f, field, text)
	}
	if b.Chip {
		put(f, layout.ChipName, b.Name)
	}
	return f, address(f, card, plan)
}

// yymmdd is the form of dates on a chip.
const yymmdd = "060102"

// put sets a field that has a text; a fixed text stays where the card has none.
func put(f map[layout.Field]string, field layout.Field, text string) {
	if text != "" {
		f[field] = text
	}
}

func or(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// address puts the plan's address (the request's or the card's) with the country's codes.
func address(f map[layout.Field]string, card extract.Card, plan *rules.Plan) error {
	a := plan.Address
	if a.IsZero() {
		a = card.Address
	}
	alpha2, _, numeric, ok := iso.Country(a.Country)
	if !ok {
		return refuse(rules.CardValidationError, "The country of the address is no ISO 3166-1 code; correct it at the card or in the request.")
	}
	for field, text := range map[layout.Field]string{
		layout.Address1: a.Line1, layout.Address2: a.Line2, layout.Address3: a.Line3, layout.Address4: a.Line4,
		layout.City: a.City, layout.Region: a.Region, layout.Postcode: a.Postcode, layout.Country: numeric, layout.CountryA2: alpha2,
	} {
		put(f, field, text)
	}
	return nil
}

// newEnrolment is the reason whose card is no replacement of another (domain: reasons).
const newEnrolment = 6

// requestType is New for a new enrolment; all else replaces a card that the holder has or had.
func requestType(plan *rules.Plan) string {
	if plan.Kind == request.Reissue && plan.NewPAN && plan.Reason == newEnrolment {
		return "New"
	}
	return "Replacement"
}

// carrierName is the name on the letter; a card without its parts has them from the printed name.
func carrierName(card extract.Card) (first, last string) {
	if card.FirstName != "" || card.LastName != "" {
		return card.FirstName, card.LastName
	}
	words := strings.Fields(card.PrintedName)
	if len(words) == 0 {
		return "", ""
	}
	return strings.Join(words[:len(words)-1], " "), words[len(words)-1]
}

// startDate is the first day of validity: the card's, else the first of the month that lies the validity before the expiry.
func startDate(card extract.Card, b *Blank) time.Time {
	if !card.StartDate.IsZero() {
		return card.StartDate
	}
	e := b.Expiry.Add(-b.ValidityMonths)
	return time.Date(e.Year(), time.Month(e.Month()), 1, 0, 0, 0, 0, time.UTC)
}

// currencyOf is the card's currency, else the product's, in four digits.
func currencyOf(card extract.Card, product config.Product) (string, error) {
	code := or(card.Currency, product.Currency)
	numeric, ok := iso.CurrencyNumeric(code)
	if !ok {
		return "", refuse(rules.CardValidationError, "The currency of the card is no ISO 4217 code; correct it in the card system.")
	}
	return numeric, nil
}
