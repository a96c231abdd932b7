package issue

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/rules"
	"reemboss/formats/extract"
	"reemboss/formats/iso"
	"reemboss/formats/layout"
	"reemboss/formats/request"
)

func day(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC) }

func mustPAN(t testing.TB, digits string) iso.PAN {
	t.Helper()
	p, err := iso.ParsePAN(digits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func cvvOf(key string) config.CVV {
	k := config.CVVKey{Key: key, Order: "YYMM"}
	return config.CVV{CVV1: k, CVV2: k, ICVV: k}
}

func visaProduct() config.Product {
	return config.Product{Name: "Visa Classic", Prefix: "411111", PANLength: 16, Tracks: "visa", ServiceCode: "201", ValidityMonths: 36,
		CVV: cvvOf("cvk-visa"), Reference: "VISA-CLASSIC", Technology: "Chip&PIN&Contactless", ChipType: "VisaCard", Currency: "0826",
		CarrierType: "STANDARD", Delivery: map[int]string{1: "0", 2: "1", 3: "2"}, Fixed: map[string]string{"logo_front_id": "VC-FRONT", "language": "en"}}
}

func mastercardProduct() config.Product {
	p := visaProduct()
	p.Tracks, p.ValidityMonths, p.CVV, p.Reference, p.ChipType = "mastercard", 48, cvvOf("cvk-mastercard"), "", "Mastercard"
	return p
}

func testConfig() *config.Config {
	return &config.Config{
		Bureaus: map[string]config.Bureau{
			"alpha": {Charset: iso.ASCIIUpper, MaxName: 26},
			"short": {Charset: iso.ASCIIUpper, MaxName: 21, ShortenName: true},
			"latin": {Charset: iso.Latin1Upper, MaxName: 26, Transliterate: map[string]string{"ü": "UE"}},
		},
		CardKeys: map[string]config.CardKey{"cvk-visa": {}, "cvk-mastercard": {}, "cvk-old": {}},
		Shipping: map[int]config.Shipping{1: {Name: "normal"}, 2: {Name: "urgent"}, 3: {Name: "vip"}},
	}
}

func maker(t testing.TB) *Maker {
	t.Helper()
	m, err := NewMaker(testConfig())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func visaInput(t testing.TB) MakeInput {
	return MakeInput{
		UID:     "01KAHYTEST0000000001",
		Product: visaProduct(),
		Card: extract.Card{ID: 1000000123, CustomerID: "C1", Product: "visa-classic", PAN: mustPAN(t, "4111111111111111"), PSN: 2, Expiry: 202911,
			PrintedName: "Seán O’Brien", Title: "Mr", FirstName: "Seán", LastName: "O'Brien", CompanyName: "Acme", Phone: "+353 1 234", Email: "s@example.invalid",
			AccountNumber: "ACC1", Currency: "EUR", Address: extract.Address{Line1: "1 Main St", Line2: "Flat 2", City: "Dublin", Postcode: "D01", Country: "IRL"}},
		Plan: &rules.Plan{Kind: request.Reemboss, Bureau: "alpha", ShippingMethod: 2, BusinessDate: day(2026, 11, 21)},
	}
}

func mastercardInput(t testing.TB) MakeInput {
	in := visaInput(t)
	in.Product, in.Card.Product, in.Card.PAN = mastercardProduct(), "mc-gold", mustPAN(t, "5555555555554444")
	return in
}

func made(t testing.TB, in MakeInput) *Blank {
	t.Helper()
	b, err := maker(t).Make(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestABlankHasEveryFieldThatCanBeKnown(t *testing.T) {
	want := map[layout.Field]string{
		layout.UID: "01KAHYTEST0000000001", layout.RequestType: "Replacement", layout.ProductRef: "VISA-CLASSIC", layout.CardID: "1000000123", layout.AccountNo: "ACC1",
		layout.Title: "Mr", layout.FirstName: "Seán", layout.LastName: "O'Brien", layout.Company: "Acme",
		layout.Address1: "1 Main St", layout.Address2: "Flat 2", layout.City: "Dublin", layout.Postcode: "D01", layout.Country: "372", layout.CountryA2: "IE",
		layout.Mobile: "+353 1 234", layout.Email: "s@example.invalid", layout.Language: "en",
		layout.CarrierType: "STANDARD", layout.DeliveryMeth: "1", layout.ShippingName: "urgent", layout.LogoFront: "VC-FRONT",
		layout.Technology: "Chip&PIN&Contactless", layout.Currency: "0978", layout.EmbossedName: "SEAN O'BRIEN",
		layout.StartFace: "11/26", layout.ExpiryFace: "11/29", layout.StartDate: "261101", layout.ExpiryDate: "291130",
		layout.PSN: "02", layout.ServiceCode: "201", layout.ChipType: "VisaCard", layout.ChipName: "OBRIEN/SEAN",
	}
	if got := made(t, visaInput(t)).Fields; !maps.Equal(got, want) {
		for f := range maps.Keys(want) {
			if got[f] != want[f] {
				t.Errorf("%s is %q, want %q", f, got[f], want[f])
			}
		}
		for f := range maps.Keys(got) {
			if _, ok := want[f]; !ok {
				t.Errorf("%s is %q, want none", f, got[f])
			}
		}
	}
}

func TestFieldsFollowTheirSource(t *testing.T) {
	tests := map[string]struct {
		change func(*MakeInput)
		want   map[layout.Field]string
	}{
		"the plan's address counts": {func(in *MakeInput) {
			in.Plan.Address = extract.Address{Line1: "PO Box 1", City: "Lyon", Postcode: "69001", Country: "250"}
		}, map[layout.Field]string{layout.Address1: "PO Box 1", layout.Address2: "", layout.Country: "250", layout.CountryA2: "FR"}},
		"small country number": {func(in *MakeInput) { in.Card.Address.Country = "AU" }, map[layout.Field]string{layout.Country: "036"}},
		"no shipping method is the normal one": {func(in *MakeInput) { in.Plan.ShippingMethod = 0 },
			map[layout.Field]string{layout.DeliveryMeth: "0", layout.ShippingName: "normal"}},
		"the product's currency without one":   {func(in *MakeInput) { in.Card.Currency = "" }, map[layout.Field]string{layout.Currency: "0826"}},
		"numeric currency":                     {func(in *MakeInput) { in.Card.Currency = "36" }, map[layout.Field]string{layout.Currency: "0036"}},
		"the card's language before the fixed": {func(in *MakeInput) { in.Card.Language = "fr" }, map[layout.Field]string{layout.Language: "fr"}},
		"the product's key without reference":  {func(in *MakeInput) { in.Product.Reference = "" }, map[layout.Field]string{layout.ProductRef: "visa-classic"}},
		"the card's start date":                {func(in *MakeInput) { in.Card.StartDate = day(2026, 3, 17) }, map[layout.Field]string{layout.StartDate: "260317", layout.StartFace: "03/26"}},
		"the card's validity":                  {func(in *MakeInput) { in.Card.ValidityMonths = 24 }, map[layout.Field]string{layout.StartDate: "271101"}},
		"a new number for a lost card replaces it": {func(in *MakeInput) {
			in.Plan.Kind, in.Plan.NewPAN, in.Plan.Reason = request.Reissue, true, 3
		}, map[layout.Field]string{layout.RequestType: "Replacement"}},
		"a new enrolment is new": {func(in *MakeInput) {
			in.Plan.Kind, in.Plan.NewPAN, in.Plan.Reason = request.Reissue, true, 6
		}, map[layout.Field]string{layout.RequestType: "New"}},
		"carrier name from the printed one": {func(in *MakeInput) { in.Card.FirstName, in.Card.LastName = "", "" },
			map[layout.Field]string{layout.FirstName: "Seán", layout.LastName: "O’Brien"}},
		"magnetic stripe has no chip": {func(in *MakeInput) { in.Product.ChipType, in.Product.Technology = "", "Mag" },
			map[layout.Field]string{layout.ChipType: "", layout.ChipName: "", layout.Technology: "Mag", layout.PSN: "02"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := visaInput(t)
			test.change(&in)
			got := made(t, in).Fields
			for f, want := range test.want {
				if got[f] != want {
					t.Errorf("%s is %q, want %q", f, got[f], want)
				}
			}
		})
	}
}

func TestEmbossedTrackAndChipNameAreOne(t *testing.T) {
	tests := map[string]struct {
		change            func(*MakeInput)
		embossed, encoded string
		shortened         bool
	}{
		"parts of the card":     {func(*MakeInput) {}, "SEAN O'BRIEN", "OBRIEN/SEAN", false},
		"name of the request":   {func(in *MakeInput) { in.Plan.PrintedName, in.Plan.NameGiven = "Seán O'Brien Roe", true }, "SEAN O'BRIEN ROE", "ROE/SEAN OBRIEN", false},
		"printed name of later": {func(in *MakeInput) { in.Card.PrintedName = "Seán Roe" }, "SEAN ROE", "ROE/SEAN", false},
		"surname of two words": {func(in *MakeInput) {
			in.Card.PrintedName, in.Card.LastName, in.Card.FirstName = "Jan van Dyck", "van Dyck", "Jan Pieter"
		}, "JAN VAN DYCK", "VAN DYCK/JAN PIETER", false},
		"charset and rules of the bureau": {func(in *MakeInput) {
			in.Plan.Bureau, in.Card.PrintedName, in.Card.LastName, in.Card.FirstName = "latin", "Jürgen Ångström", "Ångström", "Jürgen"
		}, "JUERGEN ÅNGSTRÖM", "ANGSTROM/JUERGEN", false},
		"shortened, and it says so": {func(in *MakeInput) {
			in.Plan.Bureau, in.Card.PrintedName = "short", "Bartholomew Quentin Fitzgerald"
		}, "B Q FITZGERALD", "FITZGERALD/BARTHOLOMEW Q", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := visaInput(t)
			test.change(&in)
			b := made(t, in)
			if b.Fields[layout.EmbossedName] != test.embossed || b.Fields[layout.ChipName] != test.encoded || b.Name != test.encoded || b.Shortened != test.shortened {
				t.Errorf("embossed %q, chip %q, track %q, shortened %v", b.Fields[layout.EmbossedName], b.Fields[layout.ChipName], b.Name, b.Shortened)
			}
		})
	}
}

func TestMakeRefusesWithACode(t *testing.T) {
	tests := map[string]struct {
		change func(*MakeInput)
		code   rules.Code
	}{
		"name too long":        {func(in *MakeInput) { in.Card.PrintedName = strings.Repeat("A", 27) }, rules.InvalidPrintedName},
		"name with a slash":    {func(in *MakeInput) { in.Card.PrintedName = "DOE/JANE" }, rules.InvalidPrintedName},
		"name that has no map": {func(in *MakeInput) { in.Plan.PrintedName = "JANE 😀" }, rules.InvalidPrintedName},
		"no such bureau":       {func(in *MakeInput) { in.Plan.Bureau = "omega" }, rules.EmbosserNotConfigured},
		"PSN past 99":          {func(in *MakeInput) { in.Card.PSN = NextPSN(99) }, rules.PSNExhausted},
		"country":              {func(in *MakeInput) { in.Card.Address.Country = "UK" }, rules.CardValidationError},
		"currency":             {func(in *MakeInput) { in.Card.Currency = "XYZ" }, rules.CardValidationError},
		"unknown key":          {func(in *MakeInput) { in.Card.CVKRef = "cvk-gone" }, rules.CardValidationError},
		"unreadable key":       {func(in *MakeInput) { in.Card.CVKRef = "cvk-visa:DDMM" }, rules.CardValidationError},
		"19 digits on Mastercard": {func(in *MakeInput) {
			in.Product = mastercardProduct()
			in.Card.PAN = mustPAN(t, "6304000000000000000")
		}, rules.EmbossingLineInvalidFormat},
		"13 digits on a chip": {func(in *MakeInput) { in.Card.PAN = mustPAN(t, "4222222222222") }, rules.EmbossingLineInvalidFormat},
		"no number":           {func(in *MakeInput) { in.Product.ChipType, in.Card.PAN = "", iso.PAN{} }, rules.EmbossingLineInvalidFormat},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := visaInput(t)
			test.change(&in)
			b, err := maker(t).Make(in)
			var refusal *Refusal
			if b != nil || !errors.As(err, &refusal) || refusal.Code != test.code {
				t.Fatalf("made %v, %v", b != nil, err)
			}
			if d := refusal.Detail; !strings.HasSuffix(d, ".") || strings.Contains(d, "11111111") || strings.ToUpper(d[:1]) != d[:1] {
				t.Errorf("%q is no plain sentence", d)
			}
		})
	}
}

func TestCheckNameAgreesWithMake(t *testing.T) {
	m := maker(t)
	if err := m.CheckName("alpha", "Seán O’Brien", "O'Brien", "Seán"); err != nil {
		t.Error(err)
	}
	for _, printed := range []string{"", "A/B", strings.Repeat("A", 27)} {
		if m.CheckName("alpha", printed, "", "") == nil {
			t.Errorf("%q was taken", printed)
		}
	}
	if m.CheckName("omega", "Jane Doe", "", "") == nil {
		t.Error("an unknown bureau was taken")
	}
}

func TestNewMakerNamesTheBureau(t *testing.T) {
	cfg := testConfig()
	cfg.Bureaus["odd"] = config.Bureau{Charset: "ebcdic"}
	if _, err := NewMaker(cfg); err == nil || !strings.Contains(err.Error(), "odd") {
		t.Error(err)
	}
}

func TestExpiryOfAReissue(t *testing.T) {
	for _, test := range []struct {
		date     time.Time
		validity int
		old      iso.Expiry
		want     iso.Expiry
	}{
		{day(2026, 11, 21), 36, 202712, 202911},
		{day(2026, 11, 21), 36, 202911, 202912}, // never the old one: the CVV2 would be the old one
		{day(2026, 12, 31), 36, 202912, 203001},
		{day(2026, 11, 21), 36, 0, 202911},
		{day(2026, 1, 1), 99, 0, 203404},
	} {
		if got := NewExpiry(test.date, test.validity, test.old); got != test.want {
			t.Errorf("%s plus %d months, old %s: %s, want %s", test.date.Format(time.DateOnly), test.validity, test.old, got, test.want)
		}
	}
}

func TestACardKeepsItsKeys(t *testing.T) {
	product := visaProduct()
	product.CVV.CVV2 = config.CVVKey{Key: "cvk-mastercard", Order: "MMYY"}
	one := KeyRef{Key: "cvk-visa"}
	products := KeyRefs{CVV1: one, CVV2: KeyRef{Key: "cvk-mastercard", MMYY: true}, ICVV: one}
	old := KeyRef{Key: "cvk-old"}
	oldMMYY := KeyRef{Key: "cvk-old", MMYY: true}
	for text, want := range map[string]KeyRefs{
		"":                                    products,
		CVKRef(product):                       products,
		"cvk-old":                             {CVV1: old, CVV2: oldMMYY, ICVV: old}, // orders stay the product's
		"cvk-old:YYMM":                        {CVV1: old, CVV2: old, ICVV: old},
		"cvv2=cvk-old":                        {CVV1: one, CVV2: oldMMYY, ICVV: one},
		"cvv1=cvk-old:MMYY,icvv=cvk-old:YYMM": {CVV1: oldMMYY, CVV2: products.CVV2, ICVV: old},
	} {
		in := visaInput(t)
		in.Product, in.Card.CVKRef = product, text
		if got := made(t, in).Keys; got != want {
			t.Errorf("%q gives %v, want %v", text, got, want)
		}
	}
	if got := CVKRef(visaProduct()); got != "cvv1=cvk-visa:YYMM,cvv2=cvk-visa:YYMM,icvv=cvk-visa:YYMM,service=201" {
		t.Errorf("one key is written as %q", got)
	}
	in := visaInput(t)
	in.Card.CVKRef, in.Product.ServiceCode = CVKRef(in.Product), "101"
	if got := made(t, in).ServiceCode; got != "201" {
		t.Errorf("a card that keeps service code 201 was made with %s", got)
	}
	for _, text := range []string{"service=20", "service=abc", ":YYMM", "cvv3=cvk-old", "cvv1=", "=", "cvk-old:", "cvv1=cvk-old:yymm", "cvv1=cvk-old,,"} {
		if _, err := cardRefs(text, product.CVV); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
