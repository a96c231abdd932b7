package report

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEachChoiceIsACommandOfItsOwn(t *testing.T) {
	for command, want := range map[string][]string{
		"":             nil,
		"reemboss run": {"reemboss run"},
		`reemboss resolve f.pgp --delivered|--resend --reason "…"`: {
			`reemboss resolve f.pgp --delivered --reason "…"`, `reemboss resolve f.pgp --resend --reason "…"`,
		},
		"reemboss check 'a|b.csv'": {"reemboss check 'a|b.csv'"}, // a bar in a name is no choice
	} {
		if d := cmp.Diff(want, choices(command)); d != "" {
			t.Errorf("%s (-want +got):\n%s", command, d)
		}
	}
}

func TestTimeOfAStageHasItsUnit(t *testing.T) {
	for seconds, want := range map[float64]string{0: "under 1 ms", 0.008: "8 ms", 0.999: "999 ms", 1.02: "1.02 s", 119.99: "119.99 s", 200.4: "3 min 20 s"} {
		if got := took(Stage{Seconds: seconds}); got != want {
			t.Errorf("%v seconds are told as %q, want %q", seconds, got, want)
		}
	}
}

func TestDuplicatesByReferenceAreToldApart(t *testing.T) {
	var page strings.Builder
	rec := gatherSmall(t, nil)
	rec.ByCode = []CodeCount{{"00", "accepted", 5}, {"00", "duplicate", 2}}
	if err := rec.writePage(&page); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(page.String(), "asked for before, same reference"); n != 1 {
		t.Errorf("the page explains %d of two equal codes, want one", n)
	}
}
