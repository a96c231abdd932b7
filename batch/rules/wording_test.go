package rules

import "testing"

func TestAMessageShowsNothingOfATrack(t *testing.T) {
	const number = "4111111111111111"
	for text, want := range map[string]string{
		number + "=27082011234567890":       `"************1111=*****************"`,
		"B" + number + "^TEST/ANNA^2708201": `"B************1111^*****************"`,
		"see " + number:                     `"see ************1111"`,
	} {
		if got := shown(text); got != want {
			t.Errorf("shown as %s, want %s", got, want)
		}
		if got := harmless(text); got != want[1:len(want)-1] {
			t.Errorf("a sentence becomes %s, want %s", got, want)
		}
	}
}
