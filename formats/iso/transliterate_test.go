package iso

import "testing"

func TestTransliterateWritesOnlyWhatIsLacking(t *testing.T) {
	ascii := func(r rune) bool { return r < 0x80 }
	latin1 := func(r rune) bool { return r < 0x100 }
	for _, c := range []struct {
		in, want string
		has      func(rune) bool
	}{
		{"ul. Długa 7", "ul. Dluga 7", latin1},
		{"Straße 5", "Straße 5", latin1},
		{"Straße 5", "Strasse 5", ascii},
		{"Ærøskøbing", "AErøskøbing", func(r rune) bool { return ascii(r) || r == 'ø' }},
		{"O’Brien", "O'Brien", latin1},
		{"Łódź", "Lódz", latin1},
		{"東京", "Dong Jing", latin1}, // each sign alone is "Dong " and "Jing "
		{"東京 1", "Dong Jing  1", latin1},
		{"दिल्ली", "dillii", latin1},       // vowel signs and a virama are marks
		{"x\u0338 ́y", "x y", latin1},      // marks that no letter takes up
		{"القاهرة 5", "اlqاhr@ 5", latin1}, // a letter without a transliteration is the layout's to name
		{"blank ", "blank ", latin1},
		{"Łódź ", "Lódz ", latin1},
		{"snowman ☃", "snowman ☃", latin1},
	} {
		if got := Transliterate(c.in, c.has); got != c.want {
			t.Errorf("Transliterate(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}
