package iso

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func found(s, digits string) (Span, bool) {
	spans := FindPANs(s)
	var best Span // of several spans of one number the longest
	for _, sp := range spans {
		if sp.PAN.Reveal() == digits && sp.End-sp.Start > best.End-best.Start {
			best = sp
		}
	}
	return best, best.End > 0
}

func TestFindPANs(t *testing.T) {
	tests := map[string]struct{ text, pan, at string }{
		"alone":                       {"4111111111111111", "4111111111111111", "4111111111111111"},
		"in a sentence":               {"card 4111111111111111, please", "4111111111111111", "4111111111111111"},
		"in groups":                   {"4111 1111 1111 1111", "4111111111111111", "4111 1111 1111 1111"},
		"with hyphens":                {"no.4111-1111-1111-1111!", "4111111111111111", "4111-1111-1111-1111"},
		"with dots":                   {"4111.1111.1111.1111", "4111111111111111", "4111.1111.1111.1111"},
		"with mixed separators":       {"4-2 2.2 2222-22222", "4222222222222", "4-2 2.2 2222-22222"},
		"with no-break spaces":        {"4111\u00a01111\u00a01111\u00a01111", "4111111111111111", "4111\u00a01111\u00a01111\u00a01111"},
		"13 digits":                   {"x4222222222222x", "4222222222222", "4222222222222"},
		"19 digits":                   {"6304000000000000000", "6304000000000000000", "6304000000000000000"},
		"inside a longer run":         {"00994111111111111111777", "4111111111111111", "4111111111111111"},
		"after another number":        {"5 4111111111111111", "4111111111111111", "4111111111111111"},
		"float of a spreadsheet":      {"4111111111111111.0", "4111111111111111", "4111111111111111"},
		"scientific":                  {"4.111111111111111E15", "4111111111111111", "4.111111111111111E15"},
		"scientific with a plus":      {"4.111111111111111e+15", "4111111111111111", "4.111111111111111e+15"},
		"scientific, zeros left out":  {"5.1051051051051E15", "5105105105105100", "5.1051051051051E15"},
		"scientific after a number":   {"no 7 4.111111111111111E15", "4111111111111111", "4.111111111111111E15"},
		"scientific of 19 digits":     {"6.304E18", "6304000000000000000", "6.304E18"},
		"scientific, comma as point":  {"4,111111111111111E+15", "4111111111111111", "4,111111111111111E+15"},
		"scientific, more digits":     {"4.11111111111111100E15", "4111111111111111", "4.11111111111111100E15"},
		"last digit lost":             {"4111111111111110", "4111111111111111", "4111111111111110"},
		"last digit lost, float":      {"4111111111111110.0", "4111111111111111", "4111111111111110"},
		"last digit lost, in groups":  {"4111 1111 1111 1110", "4111111111111111", "4111 1111 1111 1110"},
		"last digit lost, scientific": {"4.11111111111111E+15", "4111111111111111", "4.11111111111111E+15"},
		"two in one cell, the second": {"4111111111111111;5555555555554444", "5555555555554444", "5555555555554444"},
		"track 2":                     {"4111111111111111=29112015610000", "4111111111111111", "4111111111111111"},
		"thousands with commas":       {"4,111,111,111,111,111", "4111111111111111", "4,111,111,111,111,111"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			span, ok := found(test.text, test.pan)
			if !ok {
				t.Fatal("not found")
			}
			if test.at != "" && test.text[span.Start:span.End] != test.at {
				t.Errorf("found at bytes %d to %d", span.Start, span.End)
			}
		})
	}
}

func TestFindPANsLeavesOthersAlone(t *testing.T) {
	for _, text := range []string{"", "12 digits: 411111111111", "4111  1111  1111  1111", "4222222222223", "4111:1111:1111:1111",
		"Jane Doe", "2026-11-21", "E15", "4.2222E5", "4.222222222223E12", "4.1E-15", "1.5e3", "4111x1111111111111"} {
		if spans := FindPANs(text); len(spans) != 0 {
			t.Errorf("%q holds %d", text, len(spans))
		}
	}
}

func TestMaskSpans(t *testing.T) {
	for text, want := range map[string]string{
		"card 4111 1111 1111 1111!": "card 4111 11** **** 1111!",
		"4111111111111111.0":        "411111******1111.0",
		"4.111111111111111E15":      "4.11111******1111E**",
		"5.1051051051051E15":        "5.10510******51E**",
		"4111111111111110":          "411111******1110",
		"Jane":                      "Jane",
	} {
		var spans []Span
		for _, span := range FindPANs(text) {
			if n := span.PAN.Len(); n == 16 {
				spans = append(spans, span)
			}
		}
		if got := MaskSpans(text, spans); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

var separators = []string{"", "", " ", "-", ".", "\u00a0", "\u2011"}

func TestEveryWrittenPANIsFoundAndMasked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.StringMatching(`[1-9][0-9]{11,17}`).Draw(t, "body")
		pan := body + string(LuhnDigit(body))
		var b strings.Builder
		b.WriteString(rapid.StringMatching(`[a-z0-9 .,E]{0,8}`).Draw(t, "before"))
		for i := range len(pan) {
			if i > 0 {
				b.WriteString(rapid.SampledFrom(separators).Draw(t, "separator"))
			}
			b.WriteByte(pan[i])
		}
		b.WriteString(rapid.StringMatching(`[a-z0-9 .,E]{0,8}`).Draw(t, "after"))
		text := b.String()
		if _, ok := found(text, pan); !ok {
			t.Fatal("a number was not found")
		}
		checkMasked(t, text)
	})
}

// checkMasked holds what masking promises of any text.
func checkMasked(t interface {
	Fatal(...any)
	Helper()
}, text string) {
	t.Helper()
	spans := FindPANs(text)
	masked := MaskSpans(text, spans)
	if len(masked) != len(text) {
		t.Fatal("masking changed the length")
	}
	for i := range len(text) {
		inside := slices.ContainsFunc(spans, func(s Span) bool { return s.Start <= i && i < s.End })
		if masked[i] != text[i] && (!inside || masked[i] != '*' || !isDigit(text[i])) {
			t.Fatal("masking changed something else than digits of a span")
		}
	}
	for _, s := range spans {
		if n := s.PAN.Len(); n < MinPANLength || n > MaxPANLength || !LuhnValid(s.PAN.Reveal()) || s.Start < 0 || s.End > len(text) || s.Start >= s.End {
			t.Fatal("a span is no card number")
		}
	}
	for _, s := range FindPANs(masked) {
		if strings.Contains(masked[s.Start:s.End], s.PAN.Reveal()) { // else it was restored from digits that are not there
			t.Fatal("a card number is left after masking")
		}
	}
}

func FuzzFindPANs(f *testing.F) {
	for _, s := range []string{"4111111111111111", "4.111111111111111E15", "4111 1111\u00a01111-1110.0", "1E15 1.0e+18", "\xc2\xe2\x80", "00000000000000000000000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkMasked(t, s) })
}

func TestACellWithoutThirteenDigitsCostsNothing(t *testing.T) {
	cell := "Jane Doe, 10 Downing Street, SW1A 2AA, +44 20 7925"
	if n := testing.AllocsPerRun(100, func() { FindPANs(cell) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFindPANs(b *testing.B) {
	for name, cell := range map[string]string{"no digits": "Jane Doe, Downing Street", "card id": "1000000123", "card": "4111111111111111"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				FindPANs(cell)
			}
		})
	}
}
