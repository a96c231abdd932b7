package iso

import "testing"

// A card number that somebody typed is masked; what only has as many digits stays as it is.
func TestMaskLikelyTellsCardNumbersFromNamesAndDates(t *testing.T) {
	for text, want := range map[string]string{
		"no card 4111111111111111 here":                  "no card 411111******1111 here",
		"no card 4111 1111 1111 1111 here":               "no card 4111 11** **** 1111 here",
		"5555555555554444.csv":                           "555555******4444.csv",
		"2223003122003222":                               "222300******3222",
		"378282246310005":                                "378282*****0005",
		"30569309025904":                                 "305693****5904",
		"6011111111111117":                               "601111******1117",
		"3530111333300000":                               "353011******0000",
		"reemboss_alpha_20261122_000003.xml.pgp":         "reemboss_alpha_20261122_000003.xml.pgp",
		"hold-alpha-2026-11-22-002-16 of 2026-11-22-001": "hold-alpha-2026-11-22-002-16 of 2026-11-22-001",
		"1795331535607":                                  "1795331535607",
		"4111111111111112":                               "4111111111111112",
	} {
		if got := MaskLikely(text); got != want {
			t.Errorf("%s becomes %s, want %s", text, got, want)
		}
	}
}
