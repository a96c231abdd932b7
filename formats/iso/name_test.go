package iso

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestEncodedName(t *testing.T) {
	tests := []struct{ last, first, printed, want string }{
		{"Doe", "Jane", "JANE DOE", "DOE/JANE"},
		{"O'Brien", "Seán", "SEAN O'BRIEN", "OBRIEN/SEAN"},
		{"O’Brien", "Ann", "", "OBRIEN/ANN"},
		{"", "", "Jane M. Doe", "DOE/JANE M."},
		{"", "Jane", "Jane M. Doe", "DOE/JANE M."},
		{"van Dyck", "", "Jan van Dyck", "VAN DYCK/JAN"},
		{"Sukarno", "", "SUKARNO", "SUKARNO/"},
		{"Sukarno", "", "", "SUKARNO/"},
		{"", "", "Madonna", "MADONNA/"},
		{"Smith-Jones", "Ann", "", "SMITH-JONES/ANN"},
		{"Groß", "Jürgen", "", "GROSS/JURGEN"},
		{"Ærø", "Søren", "", "AERO/SOREN"},
		{"Łukasz", "Wałęsa", "", "LUKASZ/WALESA"},
		{"Núñez", "María", "", "NUNEZ/MARIA"},
		{"Smith, Jr.", "John", "", "SMITH JR./JOHN"},
		{"Doe", "Jane & John", "", "DOE/JANE JOHN"},
		{"", "", "  Jane \u00a0 Doe ", "DOE/JANE"},
		{"Muller", "Jo\u0308rg", "", "MULLER/JORG"},
		{strings.Repeat("A", 20), "BBBBB", "", strings.Repeat("A", 20) + "/BBBBB"},
	}
	for _, test := range tests {
		got, err := EncodedName(test.last, test.first, test.printed)
		if err != nil || got != test.want {
			t.Errorf("%q, %q, %q: got %q (%v), want %q", test.last, test.first, test.printed, got, err, test.want)
		}
		if err := CheckEncodedName(got); err != nil {
			t.Errorf("%q: %v", got, err)
		}
	}
}

func TestEncodedNameIsRefused(t *testing.T) {
	tests := map[string]struct{ last, first, printed string }{
		"nothing at all":             {"", "", " "},
		"slash in the surname":       {"Doe/Roe", "Jane", ""},
		"slash in the first name":    {"Doe", "J/R", ""},
		"slash in the printed name":  {"Doe", "Jane", "JANE DOE/ROE"},
		"27 characters":              {strings.Repeat("A", 20), "BBBBBB", ""},
		"a sign that no rule maps":   {"Doe", "Jane%", ""},
		"a caret":                    {"", "", "JANE ^DOE"},
		"an emoji":                   {"", "", "JANE 😀"},
		"a line break inside a word": {"", "", "JANE D\x00OE"},
		"no letter left":             {"'", "Jane", ""},
		"bytes that are no text":     {"Doe\xff", "Jane", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := EncodedName(test.last, test.first, test.printed); !errors.Is(err, ErrName) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestMentions(t *testing.T) {
	r := rulesOf(t, ASCIIUpper, 26, false, nil)
	for _, test := range []struct {
		printed, surname string
		want             bool
	}{
		{"SEAN OBRIEN", "O'Brien", true}, {"Jan van Dyck", "van Dyck", true}, {"J GROSS", "Groß", true}, {"DOE JANE", "Doe", true},
		{"JANE ROE", "Doe", false}, {"JANE DOESON", "Doe", false}, {"JANE DOE", "", false}, {"JANE/DOE", "Doe", false},
	} {
		if got := r.Mentions(test.printed, test.surname); got != test.want {
			t.Errorf("%q mentions %q: %v", test.printed, test.surname, got)
		}
	}
}

func rulesOf(t *testing.T, charset string, limit int, shorten bool, extra map[string]string) *NameRules {
	t.Helper()
	r, err := NewNameRules(charset, limit, shorten, extra)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEmboss(t *testing.T) {
	german := map[string]string{"ü": "UE", "Ö": "oe", "Mac Donald": "MACDONALD"}
	tests := []struct {
		charset string
		limit   int
		extra   map[string]string
		in      string
		want    string
	}{
		{ASCIIUpper, 26, nil, "Jane Doe", "JANE DOE"},
		{ASCIIUpper, 26, nil, "Seán O’Brien", "SEAN O'BRIEN"},
		{ASCIIUpper, 26, nil, "ßØÆŁÑ’", "SSOAELN'"},
		{ASCIIUpper, 26, nil, "ßøæłñ’", "SSOAELN'"},
		{ASCIIUpper, 26, nil, "Jörg Müller", "JORG MULLER"},
		{ASCIIUpper, 26, german, "Jörg Müller", "JOERG MUELLER"},
		{ASCIIUpper, 26, german, "Jo\u0308rg Mac Donald", "JOERG MACDONALD"},
		{Latin1Upper, 26, nil, "Jörg Müller-Ñíguez", "JÖRG MÜLLER-ÑÍGUEZ"},
		{Latin1Upper, 26, nil, "Łukasz Groß ÿ", "LUKASZ GROSS Y"},
		{Latin1Upper, 26, german, "Jörg Müller", "JOERG MUELLER"},
		{ASCIIUpper, 26, nil, "Юрий Гагарин", "IURII GAGARIN"},
		{ASCIIUpper, 26, nil, "  Jane\u00a0 M–Doe ", "JANE M-DOE"},
		{ASCIIUpper, 0, nil, strings.Repeat("A", 26), strings.Repeat("A", 26)},
		{ASCIIUpper, 21, nil, "ABCDEFGHIJ KLMNOPQRST", "ABCDEFGHIJ KLMNOPQRST"},
		{"", 26, nil, "Smith & Sons, Ltd.", "SMITH & SONS, LTD."},
	}
	for _, test := range tests {
		got, shortened, err := rulesOf(t, test.charset, test.limit, false, test.extra).Emboss(test.in)
		if err != nil || got != test.want || shortened {
			t.Errorf("%s %q: got %q (shortened %v, %v), want %q", test.charset, test.in, got, shortened, err, test.want)
		}
	}
}

func TestANameIsNeverCutSilently(t *testing.T) {
	long := "Maximiliana Josephine Alexandra Hohenlohe"
	if got, _, err := rulesOf(t, ASCIIUpper, 26, false, nil).Emboss(long); !errors.Is(err, ErrName) {
		t.Errorf("a long name became %q, %v", got, err)
	}
	shorten := rulesOf(t, ASCIIUpper, 26, true, nil)
	for in, want := range map[string]string{
		long:                                    "MAXIMILIANA J A HOHENLOHE",
		"Maximiliana Alexandra Hohenlohe":       "MAXIMILIANA A HOHENLOHE",
		"Maximiliana Josephine Hohenlohe-Lange": "M J HOHENLOHE-LANGE",
	} {
		got, shortened, err := shorten.Emboss(in)
		if err != nil || got != want || !shortened {
			t.Errorf("%q: got %q (reported %v, %v), want %q", in, got, shortened, err, want)
		}
	}
	if got, shortened, err := shorten.Encode(NameParts{Last: "Hohenlohe", First: "Maximiliana Josephine"}); err != nil || got != "HOHENLOHE/MAXIMILIANA J" || !shortened {
		t.Errorf("on a track: got %q (reported %v, %v)", got, shortened, err)
	}
	if got, _, err := shorten.Emboss(strings.Repeat("A", 27)); !errors.Is(err, ErrName) {
		t.Errorf("a surname of 27 characters became %q, %v", got, err)
	}
}

func TestEmbossIsRefused(t *testing.T) {
	for _, in := range []string{"", "  ", "JANE/DOE", "JANE %B", "JANE^DOE", "JANE;DOE", "JANE=DOE", "JANE?DOE", "a\tb\x01", "€", "Jane_Doe", "\xff"} {
		if got, _, err := rulesOf(t, Latin1Upper, 26, true, nil).Emboss(in); !errors.Is(err, ErrName) {
			t.Errorf("%q became %q, %v", in, got, err)
		}
	}
}

func TestNewNameRulesNamesTheWrongSetting(t *testing.T) {
	for name, make := range map[string]func() (*NameRules, error){
		"character set": func() (*NameRules, error) { return NewNameRules("ebcdic", 26, false, nil) },
		"27 characters": func() (*NameRules, error) { return NewNameRules(ASCIIUpper, 27, false, nil) },
		"negative":      func() (*NameRules, error) { return NewNameRules(ASCIIUpper, -1, false, nil) },
		"nothing left":  func() (*NameRules, error) { return NewNameRules(ASCIIUpper, 26, false, map[string]string{"": "A"}) },
		"wrong right":   func() (*NameRules, error) { return NewNameRules(ASCIIUpper, 26, false, map[string]string{"Ä": "Æ"}) },
		"slash":         func() (*NameRules, error) { return NewNameRules(ASCIIUpper, 26, false, map[string]string{"Ä": "/"}) },
	} {
		if _, err := make(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestNamesOfAnyInputKeepTheirRules(t *testing.T) {
	for _, charset := range []string{ASCIIUpper, Latin1Upper} {
		allowed, _ := charsetOf(t, charset)
		rules := rulesOf(t, charset, 21, true, map[string]string{"ü": "UE"})
		rapid.Check(t, func(t *rapid.T) {
			in := rapid.OneOf(rapid.String(), rapid.StringMatching(`[A-Za-zäöüßÀ-ž' .-]{1,40}`)).Draw(t, "name")
			if name, _, err := rules.Emboss(in); err == nil {
				if n := utf8.RuneCountInString(name); n < 1 || n > 21 || strings.TrimSpace(name) != name || strings.Contains(name, "  ") {
					t.Fatalf("%q became %q", in, name)
				}
				for _, c := range name {
					if !allowed(c) {
						t.Fatalf("%q became %q", in, name)
					}
				}
			}
			if name, _, err := rules.Encode(NameParts{Printed: in}); err == nil {
				if err := CheckEncodedName(name); err != nil {
					t.Fatalf("%q became %q: %v", in, name, err)
				}
			}
		})
	}
}

func charsetOf(t *testing.T, name string) (func(rune) bool, bool) {
	t.Helper()
	f, ok := charset(name)
	if !ok || !KnownCharset(name) {
		t.Fatal("not a character set")
	}
	return f, ok
}

func BenchmarkNames(b *testing.B) {
	r, err := NewNameRules(ASCIIUpper, 26, false, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		_, _, _ = r.Emboss("Jürgen O’Brien")
		_, _, _ = r.Encode(NameParts{Last: "O’Brien", First: "Jürgen"})
	}
}
