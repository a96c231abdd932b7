package config

import (
	"regexp"
	"strings"
	"testing"
)

func TestMistakesAboutWhatABureauSendsBack(t *testing.T) {
	expectMistakes(t, []change{
		{"promise below zero", "acknowledge: 1 ", "acknowledge: -1 ", "-1", "bureaus.alpha.sla.acknowledge", "from 0 to 250"},
		{"promise beyond a year", "ship: 5 ", "ship: 251 ", "251", "bureaus.alpha.sla.ship", "working days until a card is shipped"},
		{"end before the shipping", "close: 0 ", "close: 4 ", "4 ", "bureaus.alpha.sla.close", "write at least 5, or 0"},
		{"acknowledgements that nobody fetches", "    returns: {dir: returns}\n    simulation: {seed: 2}\n", "    simulation: {seed: 2}\n", "true\n    simulation", "bureaus.beta.acknowledges", "every file would be overdue"},
		{"a shape without a folder", "acknowledges: true\n    returns: {dir: returns}", "returns: {after: remove}", "returns: {after", "bureaus.beta.returns.dir", "nothing is fetched"},
		{"pattern empty", "pattern: \"*.csv *.csv.pgp\"", "pattern: \" \"", "\" \"", "bureaus.alpha.returns.pattern", "such as *.csv"},
		{"pattern with a folder", "pattern: \"*.csv *.csv.pgp\"", "pattern: \"*.csv out/*.csv\"", "\"*.csv out", "bureaus.alpha.returns.pattern", `"out/*.csv" holds a path separator`},
		{"pattern that is none", "pattern: \"*.csv *.csv.pgp\"", "pattern: \"*.csv [a\"", "\"*.csv [a", "bureaus.alpha.returns.pattern", `"[a" is no pattern`},
		{"what becomes of a file", "after: leave", "after: delete", "delete", "bureaus.alpha.returns.after", "known are leave, move, remove"},
		{"moved nowhere", "after: leave", "after: move", "\"\"            # remote folder for move", "bureaus.alpha.returns.move_to", "the bureau's folder for return files that we have"},
		{"moved to where it is", "after: leave           # what becomes of the bureau's copy once we have it: leave, remove or move\n      move_to: \"\"", "after: move\n      move_to: returns/", "returns/", "bureaus.alpha.returns.move_to", "is the folder that return files come from"},
		{"a place for what is not moved", "move_to: \"\"", "move_to: archive", "archive", "bureaus.alpha.returns.move_to", "while after is leave"},
		{"signer without a fingerprint", "sealed: false ", "signer: {key_file: keys/a.asc}\n      sealed: true ", "signer: {key", "bureaus.alpha.returns.signer.fingerprint", "40 hex digits"},
		{"signer without a key", "sealed: false ", "signer: {fingerprint: 000000000000000000000000000000000000000D}\n      sealed: true ", "signer: {finger", "bureaus.alpha.returns.signer.key_file", "is missing"},
		{"unknown key of a mapping", "mapping: {}", "mapping: {delimeter: ;}", "delimeter", "bureaus.alpha.returns.mapping.delimeter", `did you mean "delimiter"?`},
		{"shape", "mapping: {}", "mapping: {shape: xml}", "xml", "bureaus.alpha.returns.mapping.shape", "delimited"},
		{"a place that is none", "mapping: {}", "mapping: {fields: {record_type: 1, uid: first}}", "first", "bureaus.alpha.returns.mapping.fields.uid", "first"},
		{"zone of a mapping", "mapping: {}", "mapping: {time_zone: Europe/Lundon}", "Europe/Lundon", "bureaus.alpha.returns.mapping.time_zone", "Europe/Lundon"},
		{"a mapping with a mistake of form is looked at no further", "mapping: {}", "mapping: {shape: xml, header: 1}", "1}", "bureaus.alpha.returns.mapping.header", "must be true or false"},
	})
}

func TestReturnsAreNotLookedForWhereWePutFiles(t *testing.T) {
	expectMistakes(t, []change{
		{"where we keep them", "{dir: returns}", "{dir: ./returns/beta}", "./returns", "bureaus.beta.returns.dir", "such as from-bureau"},
		{"where we put what goes out", "{dir: returns}", "{dir: outbox/beta}", "outbox", "bureaus.beta.returns.dir", "of the workspace's own"},
	}, "      host: beta.simulator\n", "      method: folder\n      host: beta.simulator\n")
}

func TestMistakesAboutASimulatedBureau(t *testing.T) {
	expectMistakes(t, []change{
		{"seed", "seed: 1\n", "seed: -1\n", "-1", "bureaus.alpha.simulation.seed", "from 0"},
		{"share", "refuse_files: 0 ", "refuse_files: 101 ", "101", "bureaus.alpha.simulation.refuse_files", "from 0 to 100"},
		{"share below zero", " lose: 0 ", " lose: -1 ", "-1", "bureaus.alpha.simulation.lose", "from 0 to 100"},
		{"more ends than cards", "reject: 1 ", "reject: 100 ", "answers: true", "bureaus.alpha.simulation", "101 percent together"},
		{"late days", "late_days: 3", "late_days: 400", "400", "bureaus.alpha.simulation.late_days", "from 0 to 365"},
		{"a step of more than a year", "ship_after: 6h", "ship_after: 9000h", "9000h", "bureaus.alpha.simulation.ship_after", "from 0s to 8760h"},
		{"a step backwards", "ship_after: 6h", "ship_after: -6h", "-6h", "bureaus.alpha.simulation.ship_after", "is not a duration"},
	})
}

func TestMistakesAboutTheReissueLimit(t *testing.T) {
	expectMistakes(t, []change{
		{"limit", "reissue_limit: 0 ", "reissue_limit: -1 ", "-1", "products.visa-classic.reissue_limit", "0: no limit"},
		{"days", "reissue_days: 365 ", "reissue_days: 0 ", "0 ", "products.visa-classic.reissue_days", "from 1 to 3650"},
	})
}

func TestReturnsAsABureauMayWantThem(t *testing.T) {
	const fingerprint = "000000000000000000000000000000000000000D"
	for _, c := range [][]string{
		{"    acknowledges: true\n    returns: {dir: returns}", "    acknowledges: false"},
		{"after: leave", "after: remove"},
		{"after: leave", "after: move", "move_to: \"\"", "move_to: returns/done"},
		{"sealed: false", "sealed: true"},
		{"sealed: false", "signer: {key_file: keys/a.asc, fingerprint: " + fingerprint + "}\n      sealed: true"},
		{"close: 0 ", "close: 5 "},
		{"ship: 5 ", "ship: 0 ", "close: 0 ", "close: 1 "},
		{"{dir: returns}", "{dir: from-beta}", "      host: beta.simulator\n", "      method: folder\n      host: beta.simulator\n"},
	} {
		if m := mistakesOf(t, example(t, c...)); len(m) > 0 {
			t.Errorf("%q: %v", c, m)
		}
	}
}

// TestTheMappingInTheSamplesCommentIsOne takes the comment off the example of a
// bureau's own shape.
func TestTheMappingInTheSamplesCommentIsOne(t *testing.T) {
	text := example(t, "      mapping: {}\n", "")
	text = strings.Replace(text, "      # The shape of its files;", "      mapping:\n      # The shape of its files;", 1)
	lines := regexp.MustCompile(`(?m)^      #   ( *[a-z_]+: )`)
	if n := len(lines.FindAllString(text, -1)); n != 14 {
		t.Fatalf("%d keys of a mapping in the comment", n)
	}
	c := parsed(t, lines.ReplaceAllString(text, "        $1"))
	if m := c.Bureaus["alpha"].Returns.Mapping; m.Delimiter != ";" || m.Statuses["rej"] != "REJECTED" || m.Fields["TRAILER.count"] == "" {
		t.Errorf("%+v", m)
	}
}
