package iso

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

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
		"a space, a dash, a space":    {"4111 - 1111 - 1111 - 1111", "4111111111111111", "4111 - 1111 - 1111 - 1111"},
		"different gaps":              {"4111, 1111: 1111\t-\n1111", "4111111111111111", "4111, 1111: 1111\t-\n1111"},
		"cells of a line":             {"\"4111\",\"1111\",\"1111\",\"1111\"", "4111111111111111", "4111\",\"1111\",\"1111\",\"1111"},
		"beside other numbers, apart": {"7: 4111  1111  1111  1111; 08/27", "4111111111111111", "4111  1111  1111  1111"},
		"last digit lost, apart":      {"no. 4111 | 1111 | 1111 | 1110, 27", "4111111111111111", "4111 | 1111 | 1111 | 1110"},
		"full width":                  {"x４１１１１１１１１１１１１１１１", "4111111111111111", "４１１１１１１１１１１１１１１１"},
		"Arabic-Indic":                {"٤١١١ ١١١١ ١١١١ ١١١١", "4111111111111111", "٤١١١ ١١١١ ١١١١ ١١١١"},
		"beyond the basic plane":      {"𝟰𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭", "4111111111111111", "𝟰𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭𝟭"},
		"bytes of Windows-1252":       {"4111\xa01111\x961111\xad1111", "4111111111111111", "4111\xa01111\x961111\xad1111"},
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
	for _, text := range []string{"", "12 digits: 411111111111", "4111    1111    1111    1111", "4222222222223", "411111******1111", "411111***1111 2026",
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
		"4111 - 1111 - 1111 - 1111": "4111 - 11** - **** - 1111",
		"（４１１１１１１１１１１１１１１１）":                            "（４１１１１１******１１１１）",
		"4111111111111111=27082011234567890":            "411111******1111=*****************",
		"x;4111111111111111=2708 2011 23?; B 5":         "x;411111******1111=**** **** **?; B 5",
		"4111111111111111D2708201123F, see 5":           "411111******1111D***********, see 5",
		"B4111111111111111^TEST/ANNA K^2708201?done":    "B411111******1111^********* *********?done",
		"4111111111111111 Dear all":                     "411111******1111 Dear all",
		"4111111111111111Dear all":                      "411111******1111Dear all",
		"4111111111111111 = 2708, and 20 lines\n1 more": "411111******1111 = ****, and 20 lines\n1 more",
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

func TestANumberOverCellsIsMaskedInEachOfThem(t *testing.T) {
	mask := func(text string) string { return MaskSpans(text, FindPANs(text)) }
	for _, c := range []struct{ cells, want string }{
		{"4111 1111 1111 1111", "4111 11** **** 1111"},
		{"1001x 41111111 11111111 x", "1001x 411111** ****1111 x"},
		{"4111111111111111", "411111******1111"},
		{"Zürich４１１１ 1111\xff 11111111 Łódź", "Zürich４１１１ 11**\xff ****1111 Łódź"},
		{"411111111111 x 1111", "411111111111 x 1111"},
		{"4111  1111 11111111", "4111  11** ****1111"},
		{"4111    1111 11111111", "4111    1111 11111111"}, // further apart than in any card number
	} {
		cells := strings.Split(c.cells, " ")
		changed := MaskAcross(cells, mask)
		if got := strings.Join(cells, " "); got != c.want || changed != (c.cells != c.want) {
			t.Errorf("%q %v, want %q", got, changed, c.want)
		}
	}
}

// A number with one of these before each group stands apart from digits that are no part of it.
var (
	separators = []string{"", "", " ", "-", ".", "\u00a0", "\u2011"}
	gaps       = []string{" - ", "  ", "--", ", ", ": ", "\t", "\n", "\r\n", "|", ":", "*", "+", "\\", "\"", "\",\"", " = ", "\u2003", "\u2014", "\u2212", "\u3000", "\u200b", "\u00ad",
		" \u2014 ", "\u200b\u2060\ufeff", "\x1b", "\xa0", "\x96", " \x97 ", "\xad", "\u20e3"}
	zeros = []rune{'0', '0', '\u0660', '\u0966', '\uff10', '\U0001d7ce'}
)

func TestEveryPANWhoseDigitsStandApartIsFoundAndMasked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.StringMatching(`[1-9][0-9]{11,17}`).Draw(t, "body")
		pan := body + string(LuhnDigit(body))
		var b strings.Builder
		b.WriteString(rapid.StringMatching(`([a-z0-9 .,E]{0,8}[a-z,])?`).Draw(t, "before"))
		for i := range len(pan) {
			if i > 0 && rapid.IntRange(0, 2).Draw(t, "group") == 0 {
				b.WriteString(rapid.SampledFrom(gaps).Draw(t, "gap"))
			}
			b.WriteRune(rapid.SampledFrom(zeros).Draw(t, "script") + rune(pan[i]-'0'))
		}
		b.WriteString(rapid.StringMatching(`([a-z,;][a-z0-9 .,E]{0,8})?`).Draw(t, "after"))
		text := b.String()
		if _, ok := found(text, pan); !ok {
			t.Fatal("a number was not found")
		}
		checkMasked(t, text)
	})
}

// Spelled as people and programs spell them, card numbers are evident where no registry is asked.
func TestAGroupedCardNumberIsEvident(t *testing.T) {
	for _, gap := range gaps {
		for text, masked := range map[string]string{
			strings.Join([]string{"4111", "1111", "1111", "1111"}, gap): strings.Join([]string{"4111", "11**", "****", "1111"}, gap),
			strings.Join([]string{"3782", "822463", "10005"}, gap):      strings.Join([]string{"3782", "82****", "*0005"}, gap),
		} {
			if got := MaskLikely("no " + text + "."); got != "no "+masked+"." {
				t.Errorf("%q becomes %q", masked, got)
			}
		}
	}
}

func TestEveryDecimalDigitOfUnicodeHasItsValue(t *testing.T) {
	for _, zero := range []rune{'0', '\u0660', '\u06f0', '\u07c0', '\u0966', '\u0e50', '\u1a80', '\u1a90', '\uff10', '\U000104a0', '\U0001d7ce', '\U0001d7d8', '\U0001d7f6', '\U0001fbf0'} {
		for value := range rune(10) {
			text := string(zero + value)
			if digit, width := digitAt(text, 0); digit != byte('0'+value) || width != len(text) {
				t.Errorf("%U is %q of %d bytes", zero+value, digit, width)
			}
		}
	}
	for _, r := range "²①〇½Ⅷxé" {
		if _, width := digitAt(string(r), 0); width != 0 {
			t.Errorf("%U is a digit", r)
		}
	}
}

// Numbers that stand side by side in ordinary texts are joined for the registry only; where it is not asked, they stay.
func TestOrdinaryTextsAreNoEvidentCardNumbers(t *testing.T) {
	ordinary := map[string]func(n int) string{
		"a moment":             func(n int) string { return fmt.Sprintf("2026-11-%02d 10:%02d:%02d", 1+n%28, n%60, n*7%60) },
		"a moment, days first": func(n int) string { return fmt.Sprintf("%02d.11.2026 10:%02d:%02d", 1+n%31, n%60, n*7%60) },
		"a moment and its fraction": func(n int) string {
			return fmt.Sprintf("2034-11-%02dT10:%02d:%02d.%06d", 1+n%28, n%60, n*7%60, n*7919%1000000)
		},
		"a moment in a sentence": func(n int) string {
			return fmt.Sprintf("from 2026-11-%02d 10:%02d:00 to 2026-12-01 09:00:00", 1+n%28, n%60)
		},
		"two telephone numbers":  func(n int) string { return fmt.Sprintf("+44 20 7925 %04d; +49 (0) 171 - %07d", n, n*7919) },
		"a telephone number":     func(n int) string { return fmt.Sprintf("+55 (11) 9 %04d : %04d", n, n*31%10000) },
		"an address":             func(n int) string { return fmt.Sprintf("%d, 41st Street; 4111 AB; PO Box: %04d, %05d", n, n, n*31) },
		"card ids in a sentence": func(n int) string { return fmt.Sprintf("%d, %d, %d", 411110+n, 511111+n, 411112+n*2) },
		"card ids, one a line":   func(n int) string { return fmt.Sprintf("%d\n%d\r\n%d", 4100000+n, 5100001+n, 4100002+n*3) },
		"card ids of ten digits": func(n int) string { return fmt.Sprintf("4000%06d; 4000%06d", n, n*7) },
		"amounts":                func(n int) string { return fmt.Sprintf("4,%03d.00 + 5,%03d.50 + 12,345,678.00", n%1000, n*7%1000) },
		"a tracking number":      func(n int) string { return fmt.Sprintf("DHL 00 : %010d", n*7919) },
		"a row of counts":        func(n int) string { return fmt.Sprintf("41 | 5 | 1234 | %d | %d | 2026", n, n*3) },
		"an IBAN, by colons":     func(n int) string { return fmt.Sprintf("DE44 : 10010517 : %010d", n*7919) },
	}
	for name, text := range ordinary {
		for n := range 2000 {
			if spans := FindEvident(text(n)); slices.ContainsFunc(spans, func(s Span) bool { return strings.Trim(text(n)[s.Start:s.End], "0123456789 ,.-/_'") != "" }) {
				t.Errorf("%s: %s is taken for a card number", name, text(n))
				break
			}
		}
	}
}

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
	rest := masked
	for i := 0; i < len(text); {
		_, width := utf8.DecodeRuneInString(text[i:])
		if strings.HasPrefix(rest, text[i:i+width]) {
			rest, i = rest[width:], i+width
			continue
		}
		_, digit := digitAt(text, i)
		inside := digit > 0 && slices.ContainsFunc(spans, func(s Span) bool { return s.Start <= i && i < s.End })
		onTrack := slices.ContainsFunc(spans, func(s Span) bool {
			return s.End < i && i < s.End+maxTrack+4 && strings.ContainsAny(text[s.End:i], "=^Dd")
		})
		if !strings.HasPrefix(rest, "*") || !inside && !onTrack {
			t.Fatal("masking changed something else than digits of a span and the rest of a track")
		}
		rest, i = rest[1:], i+width
	}
	if rest != "" {
		t.Fatal("masking added something")
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
	for _, s := range []string{"4111111111111111", "4.111111111111111E15", "4111 1111\u00a01111-1110.0", "1E15 1.0e+18", "\xc2\xe2\x80", "４１１１ - 1111\t1111\xa01111=2708201", "B4111111111111111^A/B^27?", "00000000000000000000000"} {
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
	for name, cell := range map[string]string{"no digits": "Jane Doe, Downing Street", "card id": "1000000123", "card": "4111111111111111",
		"letters beyond ASCII": "Jürgen Müller, Straße", "a page of ids": strings.Repeat("1000000123,2026-11-22,damaged\n", 1000)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				FindPANs(cell)
			}
		})
	}
}
