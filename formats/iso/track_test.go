package iso

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

// make builds what one line of testdata/tracks.csv asks for.
func (t Track) make(kind, layoutName string) (Secret, error) {
	if strings.Contains(layoutName, "{") {
		d := Discretionary(layoutName)
		switch kind {
		case "track1":
			return t.Track1As(d)
		case "track2":
			return t.Track2As(d)
		}
		return t.ChipTrack2As(d)
	}
	s := Scheme(layoutName)
	switch kind {
	case "track1":
		return t.Track1(s)
	case "track2":
		return t.Track2(s)
	case "chip1":
		return t.ChipTrack1(s)
	}
	return t.ChipTrack2(s)
}

func TestTrackVectors(t *testing.T) {
	for _, v := range vectors(t, "tracks.csv") {
		expiry, err := ParseExpiry(v[4])
		if err != nil {
			t.Fatal(err)
		}
		psn, _ := strconv.Atoi(v[7])
		validity, _ := strconv.Atoi(v[8])
		track := Track{PAN: VectorPAN(v[2]), Name: v[3], Expiry: expiry, ServiceCode: v[5], CVV: NewSecret(v[6]),
			PSN: psn, ValidityMonths: validity, PVKI: v[9], PVV: NewSecret(v[10])}
		got, err := track.make(v[0], v[1])
		if err != nil || got.Reveal() != v[11] {
			t.Errorf("%s %s (%s) is not the published one: %v", v[0], v[1], v[12], err)
		}
	}
}

func visaTrack(t testing.TB) Track {
	return Track{PAN: mustPAN(t, clearPAN), Name: "DOE/JANE", Expiry: 202911, ServiceCode: "201", CVV: NewSecret("561"), PSN: 1, ValidityMonths: 36}
}

func TestEveryTrackKeepsItsLimit(t *testing.T) {
	for length := MinPANLength; length <= MaxPANLength; length++ {
		body := "4" + strings.Repeat("0", length-2)
		track := visaTrack(t)
		track.PAN = mustPAN(t, body+string(LuhnDigit(body)))
		track.Name = strings.Repeat("A", 20) + "/BBBBB"
		for kind, limit := range map[string]int{"track1": MaxTrack1, "track2": MaxTrack2, "chip1": MaxTrack1, "chip2": MaxChipTrack2} {
			got, err := track.make(kind, "visa")
			if n := len(got.Reveal()); err != nil || n == 0 || n > limit {
				t.Errorf("%s of a %d-digit number has %d characters: %v", kind, length, n, err)
			}
			if kind == "chip2" && len(got.Reveal())%2 != 0 {
				t.Errorf("the chip's track 2 of a %d-digit number is no whole bytes", length)
			}
		}
	}
}

func TestMastercardTrack2IsFullAt37Characters(t *testing.T) {
	track := visaTrack(t)
	track.PAN = mustPAN(t, "5555555555554444")
	if got, err := track.Track2(Mastercard); err != nil || len(got.Reveal()) != MaxTrack2 {
		t.Errorf("%d characters: %v", len(got.Reveal()), err)
	}
	if got, err := track.ChipTrack2(Mastercard); err != nil || len(got.Reveal()) != MaxChipTrack2 || !strings.HasSuffix(got.Reveal(), "F") {
		t.Errorf("chip: %d characters: %v", len(got.Reveal()), err)
	}
}

func TestTracksAreRefused(t *testing.T) {
	tests := map[string]struct {
		kind, layout string
		change       func(*Track)
	}{
		"unknown scheme":                      {"track2", "amex", func(*Track) {}},
		"mastercard with 19 digits":           {"track2", "mastercard", func(k *Track) { k.PAN = mustPAN(t, "6304000000000000000") }},
		"mastercard with 13 digits":           {"track1", "mastercard", func(k *Track) { k.PAN = mustPAN(t, "4222222222222") }},
		"no number":                           {"track2", "visa", func(k *Track) { k.PAN = PAN{} }},
		"no expiry":                           {"track2", "visa", func(k *Track) { k.Expiry = 0 }},
		"service code of two digits":          {"track2", "visa", func(k *Track) { k.ServiceCode = "20" }},
		"service code with a letter":          {"track2", "visa", func(k *Track) { k.ServiceCode = "2O1" }},
		"no CVV":                              {"track2", "visa", func(k *Track) { k.CVV = Secret{} }},
		"CVV of two digits":                   {"chip2", "visa", func(k *Track) { k.CVV = NewSecret("49") }},
		"PSN above 99":                        {"track2", "mastercard", func(k *Track) { k.PAN = mustPAN(t, "5555555555554444"); k.PSN = 100 }},
		"validity of 0 months":                {"track2", "mastercard", func(k *Track) { k.PAN = mustPAN(t, "5555555555554444"); k.ValidityMonths = 0 }},
		"validity of 100 months":              {"track2", "mastercard", func(k *Track) { k.PAN = mustPAN(t, "5555555555554444"); k.ValidityMonths = 100 }},
		"name of one character":               {"track1", "visa", func(k *Track) { k.Name = "/" }},
		"name of 27 characters":               {"track1", "visa", func(k *Track) { k.Name = strings.Repeat("A", 26) + "/" }},
		"name with a caret":                   {"track1", "visa", func(k *Track) { k.Name = "DOE^/JANE" }},
		"name without a slash":                {"track1", "visa", func(k *Track) { k.Name = "JANE DOE" }},
		"name with two slashes":               {"track1", "visa", func(k *Track) { k.Name = "DOE/JANE/M" }},
		"name in small letters":               {"track1", "visa", func(k *Track) { k.Name = "Doe/Jane" }},
		"layout with a letter":                {"track2", "00A{cvv}", func(*Track) {}},
		"layout with an unknown name":         {"track2", "{cvv2}", func(*Track) {}},
		"layout with an open brace":           {"track2", "{cvv}{psn", func(*Track) {}},
		"layout with a PVV that is not there": {"track2", "{pvv}{cvv}", func(*Track) {}},
		"track 2 of 38 characters":            {"track2", "00000000000{cvv}", func(*Track) {}},
		"chip's track 2 of 20 bytes":          {"chip2", "000000000000{cvv}", func(*Track) {}},
		"track 1 of 77 characters":            {"track1", strings.Repeat("0", 43) + "{cvv}", func(k *Track) { k.Name = "DOE/J" }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			track := visaTrack(t)
			test.change(&track)
			got, err := track.make(test.kind, test.layout)
			if !errors.Is(err, ErrTrack) || !got.IsZero() {
				t.Fatalf("error %v, a track made: %v", err, !got.IsZero())
			}
			checkSilent(t, "the error", err.Error())
		})
	}
}

func TestContactlessStripeModeHasNoName(t *testing.T) {
	track := visaTrack(t)
	track.Name = " /"
	if got, err := track.Track1(Visa); err != nil || !strings.Contains(got.Reveal(), "^ /^") {
		t.Errorf("not made: %v", err)
	}
}

func BenchmarkTracks(b *testing.B) {
	track := visaTrack(b)
	for b.Loop() {
		for _, kind := range []string{"track1", "track2", "chip1", "chip2"} {
			if _, err := track.make(kind, "visa"); err != nil {
				b.Fatal(err)
			}
		}
	}
}
