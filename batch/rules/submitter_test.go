package rules

import (
	"slices"
	"strings"
	"testing"

	"reemboss/batch/config"
)

// people are those whom the tests of this file let sign.
func people(c *config.Config) {
	c.People = map[string]config.Person{
		"anna": {Name: "Anna Bell", Login: "abell", Submits: config.Submits{Requests: []string{"reemboss", "reissue"}, Reasons: []int{1, 3}, Programs: []string{"100"}, MaxCards: 5}},
		"ben":  {Submits: config.Submits{Requests: []string{"reemboss"}, Programs: []string{"*"}}},
		"cleo": {Name: "Cleo", Submits: config.Submits{Requests: []string{"reissue"}, Reasons: []int{3}, Programs: []string{"*"}, MaxCards: 1}},
		"dora": {Name: "Dora"},
	}
}

func TestWhatWhoSignedMayAskFor(t *testing.T) {
	for name, c := range map[string]struct {
		by     string // "" nobody
		reason string // "" re-embossing
		spoil  func(q *question)
		want   []Code // none: accepted
		says   string
	}{
		"nobody signed: nobody is asked":           {"", "4", func(q *question) { q.in.Row.Fields.Submitter = "branch 7" }, nil, ""},
		"kind and program":                         {"anna", "", nil, nil, ""},
		"kind, reason and program":                 {"anna", "3", nil, nil, ""},
		"a reason in words":                        {"anna", "damaged", nil, nil, ""},
		"another reason":                           {"anna", "4", nil, []Code{SubmitterNotAllowed}, "Anna Bell, who signed the file, may not ask for reissues for reason 4 (fraud"},
		"another kind":                             {"ben", "3", nil, []Code{SubmitterNotAllowed}, "ben, who signed the file, may not ask for reissues;"},
		"another kind, the other way":              {"cleo", "", nil, []Code{SubmitterNotAllowed}, "Cleo, who signed the file, may not ask for re-embossing;"},
		"every program":                            {"cleo", "3", func(q *question) { q.in.Card.ProgramID = "200" }, nil, ""},
		"another program":                          {"anna", "3", func(q *question) { q.in.Card.ProgramID = "200" }, []Code{ProgramNotPermitted}, `may not make requests for program "200"`},
		"a program that nobody knows":              {"anna", "3", func(q *question) { q.in.Card.ProgramID = "999" }, []Code{CardValidationError, ProgramNotPermitted}, `program "999"`},
		"of people, and may ask for nothing":       {"dora", "3", nil, []Code{SubmitterNotAllowed, ProgramNotPermitted}, "ask operations for the right"},
		"an unknown card has no program":           {"anna", "3", func(q *question) { q.in.Card = nil }, []Code{CardNotFound}, ""},
		"the column: the key":                      {"anna", "", func(q *question) { q.in.Row.Fields.Submitter = "ANNA" }, nil, ""},
		"the column: the name":                     {"anna", "", func(q *question) { q.in.Row.Fields.Submitter = " anna bell " }, nil, ""},
		"the column: the login":                    {"anna", "", func(q *question) { q.in.Row.Fields.Submitter = "ABell" }, nil, ""},
		"the column: blanks":                       {"ben", "", func(q *question) { q.in.Row.Fields.Submitter = "  " }, nil, ""},
		"the column: somebody else":                {"anna", "", func(q *question) { q.in.Row.Fields.Submitter = "ben" }, []Code{SubmitterNotAllowed}, `The submitter column says "ben", and Anna Bell signed the file`},
		"a login that nobody has is not blank":     {"ben", "", func(q *question) { q.in.Row.Fields.Submitter = "-" }, []Code{SubmitterNotAllowed}, `"-"`},
		"one card is left":                         {"anna", "", func(q *question) { q.in.Spent = 4 }, nil, ""},
		"no card is left":                          {"anna", "", func(q *question) { q.in.Spent = 5 }, []Code{SubmitterNotAllowed}, "Anna Bell may ask for 5 cards in one night, and so many were accepted tonight; send the row again tomorrow"},
		"one card a night":                         {"cleo", "3", func(q *question) { q.in.Spent = 1 }, []Code{SubmitterNotAllowed}, "1 card in one night"},
		"no limit":                                 {"ben", "", func(q *question) { q.in.Spent = 1 << 40 }, nil, ""},
		"all that is wrong, in order, once a code": {"ben", "4", func(q *question) { q.in.Row.Fields.Submitter, q.in.Row.Fields.UserID = "x", "U-2" }, []Code{SubmitterNotAllowed, SubmitterNotAllowed, CustomerNotFound}, `says "x"`},
		"a reason that is none is told, no more":   {"anna", "9", nil, []Code{ReasonCodeInvalid}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			row := reembossRow()
			if c.reason != "" {
				row = reissueRow(c.reason)
			}
			q := ask(t, row)
			q.policy = people
			policy := sample(t, people)
			q.in.Submitter = policy.Submitter(c.by)
			if (q.in.Submitter == nil) != (c.by == "") {
				t.Fatal("the policy does not know the person")
			}
			if c.spoil != nil {
				c.spoil(q)
			}
			d := policy.Decide(q.in)
			if c.want == nil && d.Outcome != Accepted || c.want != nil && !slices.Equal(d.Codes(), c.want) {
				t.Errorf("%s %v, want %v", d.Outcome, d.Codes(), c.want)
			}
			if !strings.Contains(d.Message, c.says) {
				t.Errorf("it says %q", d.Message)
			}
		})
	}
}

// An earlier answer costs nothing, so the night's limit does not keep it back; the other rights do.
func TestAnEarlierAnswerIsGivenToWhoMayAsk(t *testing.T) {
	policy := sample(t, people)
	for _, c := range []struct {
		by   string
		want Outcome
	}{{"anna", Duplicate}, {"cleo", Duplicate}, {"ben", Refused}, {"dora", Refused}} {
		q := ask(t, reissueRow("3"))
		q.in.Row.Fields.Reference, q.in.Reference = "R-1", &Prior{ContentDigest: "content", FileID: 3, RowDigest: "else"}
		q.in.Submitter, q.in.Spent = policy.Submitter(c.by), 100
		if d := policy.Decide(q.in); d.Outcome != c.want || slices.Contains(d.Codes(), ReferenceConflict) {
			t.Errorf("%s: %s %v", c.by, d.Outcome, d.Codes())
		}
	}
}

func TestWhatASubmitterColumnSaysIsNeverACardNumber(t *testing.T) {
	policy := sample(t, people)
	q := ask(t, reembossRow())
	number := q.in.Card.PAN.Reveal()
	q.in.Row.Fields.Submitter, q.in.Submitter = number, policy.Submitter("anna")
	if d := policy.Decide(q.in); d.Code != SubmitterNotAllowed || strings.Contains(d.Message, number[:12]) {
		t.Errorf("%s repeats the value", d.Code)
	}
}
