package config

import "testing"

// ben may release files of alpha.
const ben = `people: {ben: {login: ben, approves: {bureaus: [alpha], max_cards: 100}}}`

const fingerprintOfBen = "00000000000000000000000000000000000000B1"

func TestMistakesAboutPeople(t *testing.T) {
	expectMistakes(t, []change{
		{"nobody at all", "people: {}", "people: {ben: {name: Ben}}", "{name: Ben}", "people.ben", "neither login nor key_file"},
		{"a key without its fingerprint", "people: {}", "people: {ben: {key_file: b.asc}}", "ben: ", "people.ben.fingerprint", "whole fingerprint"},
		{"a short fingerprint", "people: {}", "people: {ben: {key_file: b.asc, fingerprint: B1}}", "B1}", "people.ben.fingerprint", "40 hex digits"},
		{"a fingerprint without its key", "people: {}", "people: {ben: {fingerprint: \"" + fingerprintOfBen + "\"}}", "ben: ", "people.ben.key_file", "there is a fingerprint"},
		{"a login that is none", "people: {}", "people: {ben: {login: ben example}}", "ben example", "people.ben.login", "does not fit"},
		{"one login for two", "people: {}", "people: {anna: {login: ben}, ben: {login: Ben}}", "Ben}", "people.ben.login", "is the login of anna too"},
		{"a person's key", "people: {}", `people: {"ben example": {login: ben}}`, "{login: ben}", "people.ben example", "cannot name a person"},
		{"releases nothing", "people: {}", "people: {ben: {login: ben, approves: {max_cards: 1}}}", "approves: ", "people.ben.approves.bureaus", "may release nothing"},
		{"a bureau that is none", "people: {}", "people: {ben: {login: ben, approves: {bureaus: [alfa]}}}", "alfa", "people.ben.approves.bureaus[0]", `did you mean "alpha"?`},
		{"a bureau twice", "people: {}", "people: {ben: {login: ben, approves: {bureaus: [beta, beta]}}}", "beta]", "people.ben.approves.bureaus[1]", "twice"},
		{"a bureau beside every one", "people: {}", `people: {ben: {login: ben, approves: {bureaus: ["*", beta]}}}`, "beta]", "people.ben.approves.bureaus[1]", "which is every bureau"},
		{"a limit below zero", "people: {}", "people: {ben: {login: ben, approves: {bureaus: [beta], max_cards: -1}}}", "-1", "people.ben.approves.max_cards", "0: no limit"},
		{"approvals that never count", "valid_for: 72h ", "valid_for: 1s ", "1s", "approvals.valid_for", "from 1m0s"},
	})
}

func TestMistakesAboutFilesThatAreHeld(t *testing.T) {
	expectMistakes(t, []change{
		{"nobody may approve", "always: false          # true: every file", "always: true", "always: true", "bureaus.alpha.approval", "nobody of people may"},
		{"a threshold below zero", "above: 0               # files", "above: -1 # files", "-1 ", "bureaus.alpha.approval.above", "0: no threshold"},
	})
	expectMistakes(t, []change{
		{"nobody may approve that many", "above: 0               # files", "above: 100 # files", "always: false          # true: every file", "bureaus.alpha.approval", "101 cards and more"},
		{"a threshold beside always", "always: false          # true: every file\n      above: 0", "always: true\n      above: 5", "5 ", "bureaus.alpha.approval.above", "says nothing beside always"},
	}, "people: {}", ben)
	expectMistakes(t, []change{
		{"a threshold that is never passed", "max_records: 0 ", "max_records: 50 ", "50 # files", "bureaus.alpha.approval.above", "is never passed"},
	}, "people: {}", ben, "above: 0               # files", "above: 50 # files")
}

func TestApprovalsAsTheyMayBe(t *testing.T) {
	for _, c := range [][]string{
		{"people: {}", ben, "always: false          # true: every file", "always: true"},
		{"people: {}", ben, "above: 0               # files", "above: 99 # files"},
		{"people: {}", `people: {ben: {key_file: b.asc, fingerprint: "` + fingerprintOfBen + `", approves: {bureaus: ["*"]}}}`, "above: 0               # files", "above: 99999 # files"},
		{"people: {}", `people: {"4711": {login: "CORP\\ben"}}`},
	} {
		if m := mistakesOf(t, example(t, c...)); len(m) > 0 {
			t.Errorf("%q: %v", c, m)
		}
	}
}

func TestWhatIsHeldAndWhoMayApprove(t *testing.T) {
	above := Bureau{Approval: BureauApproval{Above: 100}}
	if above.HoldsFile(100) || !above.HoldsFile(101) || (Bureau{}).HoldsFile(1_000_000) || !(Bureau{Approval: BureauApproval{Always: true}}).HoldsFile(1) {
		t.Error("the threshold is not the first size that is free")
	}
	p := Person{Approves: Approves{Bureaus: []string{"alpha"}, MaxCards: 10}}
	if !p.MayApprove("alpha", 10) || p.MayApprove("alpha", 11) || p.MayApprove("beta", 1) || (Person{}).MayApprove("alpha", 1) {
		t.Error("may approve what was not permitted, or not what was")
	}
	if every := (Person{Approves: Approves{Bureaus: []string{"*"}}}); !every.MayApprove("beta", 1_000_000) {
		t.Error("* is not every bureau without a limit")
	}
}
