package layout

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// alphabet gives text of exactly n characters that an element of this class
// takes, with characters of more than one byte where it may.
func alphabet(e *element, n int) string {
	letters := []rune("Ä")
	switch {
	case e.number:
		letters = []rune("7")
	case e.class.name != "any":
		letters = []rune{e.class.ranges[0][0] + 1}
	}
	return strings.Repeat(string(letters), n)
}

// lengthFaults are the violations of length of one field.
func lengthFaults(err error, element string) []*FieldError {
	return slices.DeleteFunc(faultsOf(err), func(f *FieldError) bool { return f.Element != element || f.Limit == 0 })
}

// faultsOf takes a joined error apart.
func faultsOf(err error) []*FieldError {
	var list []*FieldError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			var f *FieldError
			if errors.As(e, &f) {
				list = append(list, f)
			}
		}
	}
	return list
}

func TestEveryLimitTakesExactlyItsLength(t *testing.T) {
	for _, name := range Names() {
		l := compiled(t, name)
		for _, e := range l.file.record {
			if e.source != fromField || e.out != nil {
				continue
			}
			t.Run(name+"/"+e.name, func(t *testing.T) {
				r := visaCard(1)
				r[e.field] = alphabet(e, e.max)
				if f := lengthFaults(l.Check(r), e.name); len(f) > 0 {
					t.Errorf("%d characters: %v", e.max, f[0])
				}
				r[e.field] = alphabet(e, e.max+1)
				f := lengthFaults(l.Check(r), e.name)
				if len(f) != 1 || f[0].Limit != e.max || f[0].Length != e.max+1 || f[0].Field != e.field {
					t.Errorf("%d characters: got %+v", e.max+1, f)
				}
				if e.min > 1 {
					r[e.field] = alphabet(e, e.min-1)
					if f := lengthFaults(l.Check(r), e.name); len(f) != 1 {
						t.Errorf("%d characters: got %v", e.min-1, f)
					}
				}
			})
		}
	}
}

func TestEveryRequiredElementIsRequired(t *testing.T) {
	for _, name := range Names() {
		l := compiled(t, name)
		for _, e := range l.file.record {
			if e.source != fromField {
				continue
			}
			r := visaCard(1)
			r[e.field] = ""
			refused := slices.ContainsFunc(faultsOf(l.Check(r)), func(f *FieldError) bool {
				return f.Element == e.name && f.Reason == "may not be empty"
			})
			if refused != e.required {
				t.Errorf("%s %s: required is %t, an empty one is refused: %t", name, e.name, e.required, refused)
			}
		}
	}
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	for _, c := range []struct {
		name, layout string
		change       Record
		want         string // part of the error
	}{
		{"control character", "cardgen-v12", Record{Address2: "Flat\t2"}, "CARRIER/ADD2 (address_line2) has a control character or one that does not print (character 5)"},
		{"line break", "fixed-v1", Record{Address2: "Flat\n2"}, "does not print"},
		{"zero-width character", "cardgen-v12", Record{City: "Zü\u200brich"}, "CITY (city) has a control character or one that does not print (character 3)"},
		{"broken UTF-8", "cardgen-v12", Record{City: "Z\xfcrich"}, "does not print"},
		{"outside Windows-1252", "fixed-v1", Record{City: "Łódź"}, "CITY (city) has a character that windows-1252 does not have (character 1)"},
		{"letter in a country", "cardgen-v12", Record{Country: "CHE"}, `COUNTRY (country_numeric) has a character that is not allowed here, the layout takes "digits"`},
		{"small letter on the chip", "cardgen-v12", Record{ChipName: "OBRIEN/Zoe"}, "CHIP/NAME (chip_name)"},
		{"sentinel on track 2", "cardgen-v12", Record{Track2: ";" + visaCard(1)[Track2]}, "CARD/TRACK2 (track2) has a character that is not allowed here"},
		{"unknown request type", "cardgen-v12", Record{RequestType: "Renewal"}, "must be one of New, Replacement"},
		{"request type without a letter in the map", "fixed-v1", Record{RequestType: "PIN_MAILER"}, "a value that the layout's map does not name"},
		{"delivery method 8", "cardgen-v12", Record{DeliveryMeth: "8"}, "DELV_METHOD (delivery_method) must be one of"},
		{"currency of three digits", "cardgen-v12", Record{Currency: "756"}, "must have exactly 4"},
		{"chip name unlike track 1", "cardgen-v12", Record{ChipName: "BRIEN/ZOE"}, "CHIP/NAME (chip_name) does not agree: chip_name and track1.name must be the same"},
		{"chip without a name", "cardgen-v12", Record{ChipName: ""}, "does not agree"},
		{"track of another card", "cardgen-v12", Record{Track2: visaCard(2)[Track2]}, "CARD/TRACK2 (track2) does not agree: track2.pan and pan_grouped.digits must be the same"},
		{"track 1 without a name", "fixed-v1", Record{Track1: "B4111"}, "is not built so that track1.name can be read from it"},
		{"trailing blank that columns would lose", "fixed-v1", Record{Address2: "Flat 2 "}, "ends with a blank"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := visaCard(1)
			maps.Copy(r, c.change)
			err := compiled(t, c.layout).Check(r)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestCheckTellsAllThatIsWrong(t *testing.T) {
	r := visaCard(1)
	r[Address1], r[City], r[Country], r[UID] = strings.Repeat("x", 51), "a\x00b", "7", ""
	var got []string
	for _, f := range faultsOf(compiled(t, "cardgen-v12").Check(r)) {
		got = append(got, f.Element)
	}
	if want := []string{"UID", "CARRIER/ADD1", "CARRIER/CITY", "CARRIER/COUNTRY"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWholeRecordsPass(t *testing.T) {
	for _, name := range Names() {
		l := compiled(t, name)
		for _, r := range night() {
			if err := l.Check(r); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestNoErrorRepeatsAValue(t *testing.T) {
	for _, name := range Names() {
		l := compiled(t, name)
		for _, f := range Fields() {
			const value = "QZ4111111111111111QZ\x01€Ł"
			r := visaCard(1)
			r[f] = strings.Repeat(value, 6)
			text := fmt.Sprint(l.Check(r))
			if strings.Contains(text, "QZ") || strings.Contains(text, "4111") {
				t.Errorf("%s %s: the error shows the value", name, f)
			}
		}
	}
}

func TestARecordPrintsItsUIDOnly(t *testing.T) {
	r := visaCard(1)
	pan := r[PAN]
	for _, text := range []string{fmt.Sprint(r), fmt.Sprintf("%v %+v %#v %s %q %x", r, r, r, r, r, r), fmt.Sprint([]Record{r}), fmt.Sprintf("%v", struct{ R Record }{r})} {
		if strings.Contains(text, pan) || strings.Contains(text, r[LastName]) || !strings.Contains(text, r[UID]) {
			t.Error("a printed record shows more or less than its uid")
		}
	}
}
