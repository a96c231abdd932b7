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

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/batch/rules"
	"reemboss/formats/iso"
	"reemboss/formats/layout"
	"reemboss/formats/request"
)

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
