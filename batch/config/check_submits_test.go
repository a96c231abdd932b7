package config

import (
	"strings"
	"testing"
)

// signerKey and otherKey are full fingerprints of no key.
const (
	signerKey = "00000000000000000000000000000000000000A1"
	otherKey  = "00000000000000000000000000000000000000A2"
)

// anna is somebody who submits; her submits are left to the test.
func anna(submits string) string {
	return "people: {anna: {login: anna, key_file: keys/anna.asc, fingerprint: \"" + signerKey + "\", submits: {" + submits + "}}}"
}

const mayAll = `requests: [reemboss, reissue], reasons: [1, 2], programs: ["*"]`

func TestMistakesAboutWhoSubmits(t *testing.T) {
	expectMistakes(t, []change{
		{"a kind that is none", "people: {}", anna(`requests: [reissues], programs: ["*"]`), "reissues", "people.anna.submits.requests[0]", `did you mean "reissue"?`},
		{"a kind twice", "people: {}", anna(`requests: [reemboss, reemboss], programs: ["*"]`), "reemboss], p", "people.anna.submits.requests[1]", "twice"},
		{"nothing permitted", "people: {}", anna(`programs: ["*"]`), "submits: ", "people.anna.submits.requests", "may ask for nothing"},
		{"a reason that is none", "people: {}", anna(`requests: [reissue], reasons: [1, 9], programs: ["*"]`), "9]", "people.anna.submits.reasons[1]", `"9" is no reason`},
		{"a reason twice", "people: {}", anna(`requests: [reissue], reasons: [1, 1], programs: ["*"]`), "1], programs", "people.anna.submits.reasons[1]", "twice"},
		{"reissues for no reason", "people: {}", anna(`requests: [reissue], programs: ["*"]`), "submits: ", "people.anna.submits.reasons", "no reissue"},
		{"reasons of no reissue", "people: {}", anna(`requests: [reemboss], reasons: [1], programs: ["*"]`), "[1]", "people.anna.submits.reasons", "only reissues have a reason"},
		{"a program that is none", "people: {}", anna(`requests: [reemboss], programs: ["300"]`), `"300"`, "people.anna.submits.programs[0]", `"300" is no program`},
		{"no program", "people: {}", anna(`requests: [reemboss]`), "submits: ", "people.anna.submits.programs", `["*"] for every one`},
		{"a program beside every one", "people: {}", anna(`requests: [reemboss], programs: ["*", "100"]`), `"100"`, "people.anna.submits.programs[1]", "which is every program"},
		{"a limit below zero", "people: {}", anna(mayAll + ", max_cards: -1"), "-1", "people.anna.submits.max_cards", "0: no limit"},
		{"no key to sign with", "people: {}", "people: {anna: {login: anna, submits: {" + mayAll + "}}}", "anna: ", "people.anna.key_file", "known by their signature"},
		{"one key for two people", "people: {}", "people: {anna: {login: anna, key_file: a.asc, fingerprint: \"" + signerKey + "\"}, ben: {login: ben, key_file: b.asc, fingerprint: \"" + strings.ToLower(signerKey) + "\"}}",
			"\"" + strings.ToLower(signerKey), "people.ben.fingerprint", "is the key of anna too"},
		{"a rule for signatures that is none", "signatures: optional", "signatures: always", "always", "intake.signatures", "known are optional, required"},
		{"signatures that nobody makes", "signatures: optional", "signatures: required", "required", "intake.signatures", "every request file would be refused"},
	})
	expectMistakes(t, []change{
		{"signed files that anybody may send again", "duplicate_days: 90", "duplicate_days: 0", "0  ", "intake.duplicate_days", "a second time by anybody"},
	}, "people: {}", anna(mayAll))
}

func TestSubmitsAsTheyMayBe(t *testing.T) {
	for _, c := range [][]string{
		{"people: {}", anna(mayAll)},
		{"people: {}", anna(mayAll), "signatures: optional", "signatures: required"},
		{"people: {}", anna(`requests: [reemboss], programs: ["100", "200"], max_cards: 1`)},
		{"people: {}", anna(`requests: [reissue], reasons: [3], programs: ["200"]`)},
		{"people: {}", "people: {anna: {login: anna, key_file: a.asc, fingerprint: \"" + signerKey + "\"}, ben: {login: ben, key_file: b.asc, fingerprint: \"" + otherKey + "\"}}"},
		{"duplicate_days: 90", "duplicate_days: 0"},
	} {
		if m := mistakesOf(t, example(t, c...)); len(m) > 0 {
			t.Errorf("%q: %v", c, m)
		}
	}
}
