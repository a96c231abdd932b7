package issue

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
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
	if got := CVKRef(visaProduct()); got != "cvk-visa:YYMM" {
		t.Errorf("one key is written as %q", got)
	}
	for _, text := range []string{":YYMM", "cvv3=cvk-old", "cvv1=", "=", "cvk-old:", "cvv1=cvk-old:yymm", "cvv1=cvk-old,,"} {
		if _, err := cardRefs(text, product.CVV); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

// newBackend has the classic test key under every name.
func newBackend(t testing.TB) (hsm.Backend, *hsm.Keyset) {
	t.Helper()
	set, err := hsm.CreateKeyset(filepath.Join(t.TempDir(), "keyset.json"), bytes.Repeat([]byte{1}, 32), rand.Reader, hsm.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	pair := unhex(t, "0123456789ABCDEFFEDCBA9876543210")
	want := map[string]config.CardKey{}
	for _, name := range []string{"cvk-visa", "cvk-mastercard", "cvk-old"} {
		if err := set.AddCVK(name, pair, rand.Reader); err != nil {
			t.Fatal(err)
		}
		want[name] = config.CardKey{Backend: hsm.SoftwareBackend, KCV: "08D7B4"}
	}
	backend, err := hsm.NewSoftware(set, want, config.Test, false)
	if err != nil {
		t.Fatal(err)
	}
	return backend, set
}

func completed(t testing.TB, backend hsm.Backend, in MakeInput) layout.Record {
	t.Helper()
	records, errs := Complete(context.Background(), backend, []Item{{PAN: in.Card.PAN, Blank: made(t, in)}})
	if errs[0] != nil {
		t.Fatal(errs[0])
	}
	return records[0]
}

// December 2025 under the classic test key: CVV2 765 and iCVV 133 are published, CVV1 139 is that of the track vector.
func TestCompleteMakesThePublishedValues(t *testing.T) {
	backend, _ := newBackend(t)
	in := visaInput(t)
	in.Card.Expiry = 202512
	r := completed(t, backend, in)
	for f, want := range map[layout.Field]string{
		layout.PAN: "4111111111111111", layout.PANGrouped: "4111 1111 1111 1111", layout.PANMasked: "411111******1111",
		layout.CVV2: "765", layout.CVV2Face: "1111 765",
		layout.Track1: "B4111111111111111^OBRIEN/SEAN^251220100139000000", layout.Track2: "4111111111111111=251220113900000",
		layout.ChipTrack1: "B4111111111111111^OBRIEN/SEAN^251220100133000000", layout.ChipTrack2: "4111111111111111D251220113300000",
	} {
		if r[f] != want {
			t.Errorf("field %s is not the published one", f)
		}
	}
}

func TestMastercardTracksCarryValidityAndPSN(t *testing.T) {
	backend, _ := newBackend(t)
	r := completed(t, backend, mastercardInput(t))
	for f, form := range map[layout.Field]string{
		layout.Track1: `^B5555555555554444\^OBRIEN/SEAN\^291120100000\d{3}0000000$`, layout.Track2: `^5555555555554444=291120100000048\d{3}02$`,
		layout.ChipTrack2: `^5555555555554444D291120100000048\d{3}02F$`,
	} {
		if !regexp.MustCompile(form).MatchString(r[f]) {
			t.Errorf("field %s has another form", f)
		}
	}
}

func TestTheDateOrderOfAKeyChangesItsValue(t *testing.T) {
	backend, _ := newBackend(t)
	in := visaInput(t)
	in.Card.Expiry = 202512
	in.Product.CVV.CVV2.Order = MMYY
	if r := completed(t, backend, in); r[layout.CVV2] != "151" {
		t.Error("the CVV2 of 1225 is not the published one")
	}
}

func TestReembossingMakesTheSameRecordAgain(t *testing.T) {
	backend, _ := newBackend(t)
	in := mastercardInput(t)
	// A reissue: new expiry, next PSN, a name of its own, the keys of today.
	in.Plan = &rules.Plan{Kind: request.Reissue, Reason: 1, Bureau: "alpha", PrintedName: "Seán Roe", NameGiven: true, BusinessDate: day(2027, 2, 3)}
	in.Card.Expiry, in.Card.PSN = NewExpiry(in.Plan.BusinessDate, in.Product.ValidityMonths, in.Card.Expiry), NextPSN(in.Card.PSN)
	in.Card.StartDate, in.Card.ValidityMonths, in.Card.CVKRef, in.Card.PrintedName = in.Plan.BusinessDate, in.Product.ValidityMonths, CVKRef(in.Product), in.Plan.PrintedName
	first := completed(t, backend, in)
	// Years later the product has other keys and another validity.
	in.Plan = &rules.Plan{Kind: request.Reemboss, Bureau: "alpha", PrintedName: "Seán Roe", BusinessDate: day(2029, 9, 9)}
	in.Product.ValidityMonths, in.Product.CVV = 12, config.CVV{CVV1: config.CVVKey{Key: "cvk-visa", Order: MMYY}, CVV2: config.CVVKey{Key: "cvk-visa", Order: MMYY}, ICVV: config.CVVKey{Key: "cvk-visa"}}
	again := completed(t, backend, in)
	for f := range first {
		if first[f] != again[f] {
			t.Errorf("field %s changed", f)
		}
	}
	if len(first) != len(again) {
		t.Errorf("%d fields, then %d", len(first), len(again))
	}
}

func TestABlankHoldsNoSecretAndComesBackFromJSON(t *testing.T) {
	backend, _ := newBackend(t)
	in := mastercardInput(t)
	b := made(t, in)
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	for f := range b.Fields {
		if f.Secret() {
			t.Errorf("field %s is in the blank", f)
		}
	}
	if bytes.Contains(text, []byte("555555")) || bytes.Contains(text, []byte("4444")) || len(text) > 1200 {
		t.Errorf("%d bytes, or the number is in them", len(text))
	}
	var back Blank
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(&back); err != nil || !bytes.Equal(again, text) {
		t.Errorf("it comes back as another: %v", err)
	}
	records, errs := Complete(context.Background(), backend, []Item{{PAN: in.Card.PAN, Blank: &back}})
	if errs[0] != nil || !maps.Equal(records[0], completed(t, backend, in)) {
		t.Errorf("it gives another record: %v", errs[0])
	}
}

func TestAPlaceholderHasTheShapeOfTheRecord(t *testing.T) {
	backend, _ := newBackend(t)
	for name, in := range map[string]MakeInput{"visa": visaInput(t), "mastercard": mastercardInput(t)} {
		place, record := made(t, in).Placeholder(in.Card.PAN), completed(t, backend, in)
		if len(place) != len(record) {
			t.Errorf("%s: %d fields, the record has %d", name, len(place), len(record))
		}
		for f := range record {
			if len(place[f]) != len(record[f]) {
				t.Errorf("%s: field %s has another length", name, f)
			}
		}
	}
}

func TestRecordsFitTheBuiltInLayouts(t *testing.T) {
	backend, _ := newBackend(t)
	magnetic := visaInput(t)
	magnetic.Product.ChipType, magnetic.Product.Technology, magnetic.Card.PAN = "", "Mag", mustPAN(t, "4222222222222")
	long := visaInput(t)
	long.Card.PAN = mustPAN(t, "4000000000000000006")
	for _, name := range []string{"cardgen-v12", "fixed-v1"} {
		text, ok := layout.Builtin(name)
		if !ok {
			t.Fatalf("no layout %s", name)
		}
		l, err := layout.Compile(name, text)
		if err != nil {
			t.Fatal(err)
		}
		for kind, in := range map[string]MakeInput{"visa": visaInput(t), "mastercard": mastercardInput(t), "magnetic": magnetic, "19 digits": long} {
			if err := l.Check(made(t, in).Placeholder(in.Card.PAN)); err != nil {
				t.Errorf("%s, %s with placeholders: %v", name, kind, err)
			}
			if err := l.Check(completed(t, backend, in)); err != nil {
				t.Errorf("%s, %s: %v", name, kind, err)
			}
		}
	}
}

func TestTheFaceHasRoomFor19Characters(t *testing.T) {
	for digits, want := range map[string]string{
		"4111111111111111": "4111 1111 1111 1111", "4222222222222": "4222 2222 2222 2", "41111111111111110": "41111111111111110", "4000000000000000006": "4000000000000000006", "": "",
	} {
		if got := grouped(digits); got != want {
			t.Errorf("%d digits are written with %d characters", len(digits), len(got))
		}
	}
}

// failing answers as the function says.
type failing func(i int, r hsm.CVVRequest) hsm.CVVResult

func (f failing) CVVs(_ context.Context, requests []hsm.CVVRequest) []hsm.CVVResult {
	var results []hsm.CVVResult
	for i, r := range requests {
		results = append(results, f(i, r))
	}
	return results
}

func TestAnItemThatFailsLeavesTheOthersAlone(t *testing.T) {
	in := visaInput(t)
	magnetic := in
	magnetic.Product.ChipType = ""
	var items []Item
	for _, in := range []MakeInput{in, magnetic, in, magnetic} { // 3, 2, 3, 2 values
		items = append(items, Item{PAN: in.Card.PAN, Blank: made(t, in)})
	}
	broken := errors.New("module lost")
	records, errs := Complete(context.Background(), failing(func(i int, _ hsm.CVVRequest) hsm.CVVResult {
		if i == 6 { // the CVV2 of the third card
			return hsm.CVVResult{Err: broken}
		}
		return hsm.CVVResult{CVV: iso.NewSecret("123")}
	}), items)
	for i := range items {
		if failed := i == 2; failed != errors.Is(errs[i], broken) || failed != (records[i] == nil) {
			t.Errorf("item %d: %v, a record: %v", i, errs[i], records[i] != nil)
		}
	}
	if !strings.HasPrefix(errs[2].Error(), "CVV2: ") {
		t.Errorf("%v does not name the value", errs[2])
	}
	if _, ok := records[1][layout.ChipTrack2]; ok {
		t.Error("a stripe card has a chip track")
	}
}

func TestAValueOfAWrongFormMakesNoRecord(t *testing.T) {
	in := visaInput(t)
	for _, value := range []string{"", "12", "1234", "12A"} {
		records, errs := Complete(context.Background(), failing(func(int, hsm.CVVRequest) hsm.CVVResult { return hsm.CVVResult{CVV: iso.NewSecret(value)} }),
			[]Item{{PAN: in.Card.PAN, Blank: made(t, in)}})
		if errs[0] == nil || records[0] != nil {
			t.Errorf("a value of %d characters went on a card", len(value))
		}
	}
}

type short struct{}

func (short) CVVs(context.Context, []hsm.CVVRequest) []hsm.CVVResult { return make([]hsm.CVVResult, 2) }

func TestABackendThatGivesTooFewValuesIsNoticed(t *testing.T) {
	in := visaInput(t)
	if _, errs := Complete(context.Background(), short{}, []Item{{PAN: in.Card.PAN, Blank: made(t, in)}}); errs[0] == nil {
		t.Error("nobody noticed")
	}
}

func TestVerifySampleFindsEveryChangedSecret(t *testing.T) {
	backend, keyset := newBackend(t)
	in := mastercardInput(t)
	magnetic := visaInput(t)
	magnetic.Product.ChipType = ""
	items := []Item{{PAN: in.Card.PAN, Blank: made(t, in)}, {PAN: magnetic.Card.PAN, Blank: made(t, magnetic)}}
	records, errs := Complete(context.Background(), backend, items)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := VerifySample(ctx, keyset, items, records); err != nil {
		t.Fatal(err)
	}
	for i, record := range records {
		for _, f := range slices.Sorted(maps.Keys(record)) {
			if !f.Secret() {
				continue
			}
			for at := range record[f] {
				changed := slices.Clone(records)
				changed[i] = maps.Clone(record)
				text := []byte(record[f])
				if text[at]++; text[at] == '9'+1 {
					text[at] = '0'
				}
				changed[i][f] = string(text)
				err := VerifySample(ctx, keyset, items, changed)
				if !errors.Is(err, ErrSample) || !strings.Contains(err.Error(), items[i].Blank.UID()) {
					t.Errorf("record %d: character %d of %s was changed: %v", i, at, f, err)
				}
				if err != nil && (strings.Contains(err.Error(), "4444") || strings.Contains(err.Error(), "1111")) {
					t.Error("the error shows card data")
				}
			}
		}
	}
	swapped := []layout.Record{records[1], records[0]}
	if err := VerifySample(ctx, keyset, items, swapped); !errors.Is(err, ErrSample) {
		t.Errorf("swapped records: %v", err)
	}
	if err := VerifySample(ctx, keyset, items, records[:1]); !errors.Is(err, ErrSample) {
		t.Errorf("a record is missing: %v", err)
	}
}

func benchmarkItems(b *testing.B, n int) []Item {
	items := make([]Item, n)
	for i := range items {
		in := visaInput(b)
		body := fmt.Sprintf("411111%09d", i)
		in.Card.PAN = mustPAN(b, body+string(iso.LuhnDigit(body)))
		items[i] = Item{PAN: in.Card.PAN, Blank: made(b, in)}
	}
	return items
}

func perCard(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/card")
}

func BenchmarkComplete(b *testing.B) {
	backend, _ := newBackend(b)
	items := benchmarkItems(b, 512)
	b.ReportAllocs()
	for b.Loop() {
		if _, errs := Complete(context.Background(), backend, items); errs[0] != nil {
			b.Fatal(errs[0])
		}
	}
	perCard(b, len(items))
}

func BenchmarkMake(b *testing.B) {
	m, in := maker(b), visaInput(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Make(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBlankJSON(b *testing.B) {
	blank := made(b, visaInput(b))
	text, err := json.Marshal(blank)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			_, _ = json.Marshal(blank)
		}
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			var back Blank
			_ = json.Unmarshal(text, &back)
		}
	})
}

func BenchmarkVerifySample(b *testing.B) {
	backend, keyset := newBackend(b)
	items := benchmarkItems(b, 64)
	records, _ := Complete(context.Background(), backend, items)
	for b.Loop() {
		if err := VerifySample(context.Background(), keyset, items, records); err != nil {
			b.Fatal(err)
		}
	}
	perCard(b, len(items))
}
