package iso

import (
	"strings"
	"testing"

	"golang.org/x/text/currency"
	"golang.org/x/text/language"
)

// The oracle of the table is golang.org/x/text, which keeps the same facts for
// CLDR (but also knows territories that ISO 3166-1 does not list).
func TestCountriesAgreeWithAnIndependentTable(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range countries() {
		if seen[c.alpha2] {
			continue
		}
		seen[c.alpha2] = true
		region, err := language.ParseRegion(c.alpha2)
		if err != nil || region.ISO3() != c.alpha3 {
			t.Errorf("%s: alpha-3 %s here, %s there (%v)", c.alpha2, c.alpha3, region.ISO3(), err)
		}
		if m49 := region.M49(); threeDigits(m49) != c.numeric {
			t.Errorf("%s: numeric %s here, %03d there", c.alpha2, c.numeric, m49)
		}
	}
	if len(seen) != 249 || len(countries()) != 3*249 {
		t.Errorf("%d countries, %d codes; ISO 3166-1 has 249", len(seen), len(countries()))
	}
}

func threeDigits(n int) string {
	return string([]byte{byte('0' + n/100), byte('0' + n/10%10), byte('0' + n%10)})
}

func TestCountryTakesEveryKindOfCode(t *testing.T) {
	for _, in := range []string{"GB", "gb", " GBR ", "gbr", "826"} {
		if a2, a3, n, ok := Country(in); !ok || a2 != "GB" || a3 != "GBR" || n != "826" {
			t.Errorf("%q is %s %s %s %v", in, a2, a3, n, ok)
		}
	}
	for _, in := range []string{"4", "04", "004", "AF"} { // a spreadsheet takes leading zeros away
		if _, _, n, ok := Country(in); !ok || n != "004" {
			t.Errorf("%q is %s %v", in, n, ok)
		}
	}
	for _, in := range []string{"", "UK", "XK", "EU", "ZZ", "000", "999", "0826", "England", "G", "-4"} {
		if a2, _, _, ok := Country(in); ok {
			t.Errorf("%q was taken as %s", in, a2)
		}
	}
}

func TestCurrencyNumeric(t *testing.T) {
	for in, want := range map[string]string{"GBP": "0826", "gbp": "0826", "826": "0826", "0826": "0826", "36": "0036", "AUD": "0036", "EUR": "0978",
		"USD": "0840", " jpy ": "0392", "ALL": "0008", "8": "0008", "XCG": "0532", "ANG": "0532", "532": "0532", "ZWG": "0924", "VED": "0926"} {
		if got, ok := CurrencyNumeric(in); !ok || got != want {
			t.Errorf("%q is %q %v, want %s", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "GB", "XYZ", "000", "0000", "00826", "ABCD", "1"} {
		if got, ok := CurrencyNumeric(in); ok {
			t.Errorf("%q was taken as %s", in, got)
		}
	}
}

func TestCurrencyTableIsWellFormed(t *testing.T) {
	numbers := map[string]string{}
	for entry := range strings.FieldsFuncSeq(currencyTable, func(r rune) bool { return r == ',' || r == '\n' }) {
		f := strings.Fields(entry)
		if len(f) != 2 || len(f[0]) != 3 || !digits(f[1], 3) {
			t.Fatalf("entry %q", entry)
		}
		if other, taken := numbers[f[1]]; taken {
			t.Errorf("%s and %s have one number", f[0], other)
		}
		numbers[f[1]] = f[0]
	}
	if len(numbers) < 170 {
		t.Errorf("%d currencies only", len(numbers))
	}
	// Every currency that is money somewhere today, says golang.org/x/text, is
	// in the table; its data is of 2018 and still has two that left then.
	for q := currency.Query(); q.Next(); {
		if code := q.Unit().String(); q.IsTender() && code != "MRO" && code != "VEF" {
			if _, ok := CurrencyNumeric(code); !ok {
				t.Errorf("%s is missing", code)
			}
		}
	}
}
