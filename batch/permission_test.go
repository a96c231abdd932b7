package batch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// may is what each person of the matrix may ask for; the configuration is made of it, and so is what is expected.
type may struct {
	requests []string
	reasons  []int
	programs []string // nil with requests: every one
	limit    int
}

var permissions = map[string]may{
	"ada":  {[]string{"reemboss"}, nil, []string{"100"}, 0},
	"ben":  {[]string{"reissue"}, []int{1, 2}, []string{"100"}, 0},
	"cleo": {[]string{"reemboss", "reissue"}, []int{1, 3}, nil, 0},
	"dora": {}, // of people, and may ask for nothing
	"eva":  {[]string{"reemboss", "reissue"}, []int{1}, []string{"100", "200"}, 3},
}

func (m may) yaml() string {
	if m.requests == nil {
		return ""
	}
	programs := `"*"`
	if m.programs != nil {
		programs = `"` + strings.Join(m.programs, `", "`) + `"`
	}
	return fmt.Sprintf("requests: [%s], reasons: %s, programs: [%s], max_cards: %d", strings.Join(m.requests, ", "), strings.ReplaceAll(fmt.Sprint(m.reasons), " ", ", "), programs, m.limit)
}

// asked is one cell of the matrix: one row of a file that somebody signed, or nobody.
type asked struct {
	by      string // "" nobody
	kind    string
	reason  int
	program string
	column  string // submitter
	card    int
}

// expected are all codes of the answer by the permissions alone, so that what the rules do is done twice, in two ways.
// left is what the person still has tonight.
func (a asked) expected(left int) (codes []string) {
	if a.kind == "reemboss" && a.program == "200" {
		codes = append(codes, "not_on_demand")
	}
	if a.by == "" {
		return codes
	}
	m := permissions[a.by]
	mayAsk := slices.Contains(m.requests, a.kind) && (a.kind == "reemboss" || slices.Contains(m.reasons, a.reason))
	foreign := a.column != "" && !strings.EqualFold(a.column, a.by) && !strings.EqualFold(a.column, a.by+"-login") && !strings.EqualFold(a.column, "Mx "+a.by)
	if !mayAsk || foreign || m.limit > 0 && left <= 0 {
		codes = append(codes, "submitter_not_allowed")
	}
	if !(m.requests != nil && m.programs == nil) && !slices.Contains(m.programs, a.program) {
		codes = append(codes, "program_not_permitted")
	}
	return codes
}

// The permission matrix, a night each where signatures are optional and where they are required: who signed × kind and
// reason × program × submitter column × the night's limit. Every row is told all that is wrong, and check says the same.
func TestThePermissionMatrix(t *testing.T) {
	for _, signatures := range []string{"optional", "required"} {
		t.Run(signatures, func(t *testing.T) {
			b := newBenchAt(t, monday())
			g := newGnuPG(t, b.now)
			people := []somebody{}
			for _, name := range []string{"ada", "ben", "cleo", "dora", "eva"} {
				people = append(people, somebody{name, "Mx " + name, g.key(name, "ed25519", "1y"), permissions[name].yaml()})
			}
			b.people(g, people...)
			b.configure("signatures: optional", "signatures: "+signatures)
			files := map[string][]asked{}
			b.matrix(g, people, files)
			var accepted, refusedFiles int64
			b.checkSaysWhatRunSays(t, func(r *Result) { accepted, refusedFiles = r.Accepted, r.Refused })
			var want int64
			spent := map[string]int{}
			for _, name := range sortedKeys(files) {
				rows := files[name]
				if rows[0].by == "" && signatures == "required" {
					b.want(b.codes("refused", name), "file_signature_invalid")
					continue
				}
				want += b.matrixHolds(name, rows, spent)
			}
			if accepted != want || want == 0 || refusedFiles == 0 {
				t.Errorf("accepted %d of %d, refused %d", accepted, want, refusedFiles)
			}
		})
	}
}

// matrixHolds compares a file's answers with what is expected, and gives how many rows were accepted.
func (b *bench) matrixHolds(name string, rows []asked, before map[string]int) (accepted int64) {
	b.Helper()
	result := b.result("done", name)
	if len(result) != len(rows) {
		b.Fatalf("%s: %d answers for %d rows", name, len(result), len(rows))
	}
	// The files of one person come in the order of their names; the rows that were accepted in the ones before count too.
	spent := before[rows[0].by]
	for i, a := range rows {
		codes := a.expected(permissions[a.by].limit - spent)
		if len(codes) == 0 {
			codes = []string{"00"}
			spent++
			accepted++
		}
		if got := result[i]["all_codes"]; got != strings.Join(codes, ";") {
			b.Errorf("%s: %+v with %d accepted before: %s, want %s: %s", name, a, spent, got, codes, result[i]["message"])
		}
	}
	before[rows[0].by] = spent
	return accepted
}

// matrix puts the cards and the signed files of the whole matrix into the workspace.
func (b *bench) matrix(g *gnupg, people []somebody, files map[string][]asked) {
	b.Helper()
	card, extract := 0, strings.Builder{}
	extract.WriteString("card_id,customer_id,status,pan,psn,program_id,product,expiry,printed_name,address_line1,city,postcode,country\n")
	for _, signer := range append([]somebody{{}}, people...) {
		for _, kind := range []string{"reemboss", "reissue"} {
			name := fmt.Sprintf("%s-%s.csv", map[bool]string{true: "nobody", false: signer.key}[signer.key == ""], kind)
			content := "card_id,submitter\n"
			if kind == "reissue" {
				content = "card_id,submitter,user_id,reason_code\n"
			}
			for _, reason := range map[string][]int{"reemboss": {0}, "reissue": {1, 2, 3}}[kind] {
				for _, program := range []string{"100", "200"} {
					for _, column := range []string{"", strings.ToUpper(signer.key), signer.name, signer.key + "-login", "somebody else"} {
						card++
						fmt.Fprintf(&extract, "%d,C%d,NORMAL,%s,00,%s,visa-classic,2035-01,Anna Smith,1 Street,Berlin,10115,DE\n", card, card, b.number(card), program)
						a := asked{signer.key, kind, reason, program, column, card}
						files[name] = append(files[name], a)
						if content += fmt.Sprintf("%d,%s", card, column); kind == "reissue" {
							content += fmt.Sprintf(",C%d,%d", card, reason)
						}
						content += "\n"
					}
				}
			}
			if signer.key != "" {
				content = g.sign(signer.fingerprint, content, "--sign")
			}
			b.drop(name, content)
		}
	}
	if err := os.WriteFile(filepath.Join(b.InboxCards(), "cards.csv"), []byte(extract.String()), 0o600); err != nil {
		b.Fatal(err)
	}
}

func sortedKeys(files map[string][]asked) []string {
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// The limit is of the local date: over all files and runs of it, and tomorrow begins anew. What is asked again under a reference costs nothing.
func TestTheLimitIsOfTheNightAndNotOfTheRun(t *testing.T) {
	b := newBenchAt(t, monday())
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00", "3 C3 NORMAL 411111000000003 00", "4 C4 NORMAL 411111000000004 00")
	g := newGnuPG(t, b.now)
	anna := g.key("anna", "ed25519", "1y")
	b.people(g, somebody{"anna", "Anna Bell", anna, mayAskAll + ", max_cards: 2"})
	b.drop("a.csv.asc", g.sign(anna, "card_id,reference\n1,R1\n99,R9\n", "--clearsign"))
	b.run()
	b.want(b.codes("done", "a.csv.asc"), "00", "card_not_found")
	b.drop("b.csv.asc", g.sign(anna, "card_id,reference\n2,R2\n3,R3\n1,R1\n", "--clearsign"))
	b.drop("c.csv", "card_id\n4\n") // nobody signed it: no limit counts it, and none stops it
	b.checkSaysWhatRunSays(t, nil)
	b.want(b.codes("done", "b.csv.asc"), "00", "submitter_not_allowed", "00")
	b.want(b.codes("done", "c.csv"), "00")
	if said := b.result("done", "b.csv.asc")[1]["message"]; !strings.Contains(said, "Anna Bell may ask for 2 cards in one night") || !strings.Contains(said, "tomorrow") {
		t.Errorf("it says %q", said)
	}
	b.now = b.now.AddDate(0, 0, 1)
	b.drop("d.csv.asc", g.at(b.now).sign(anna, "card_id,reference\n3,R3\n", "--clearsign"))
	b.run()
	b.want(b.codes("done", "d.csv.asc"), "00")
}

// An answer that was given under a reference is given again only to who may ask for it: it tells of a card.
func TestAnEarlierAnswerIsNotToldToWhoMayNotAsk(t *testing.T) {
	b, g, anna := signedBench(t, 1)
	ben := g.key("ben", "ed25519", "1y")
	b.people(g, somebody{"anna", "", anna, mayAskAll}, somebody{"ben", "", ben, `requests: [reemboss], programs: ["100"]`})
	b.drop("a.csv.asc", g.sign(anna, "card_id,user_id,reason_code,reference\n1,C1,3,R1\n", "--clearsign"))
	b.run()
	b.drop("b.csv.asc", g.sign(ben, "card_id,user_id,reason_code,reference\n1,C1,lost,R1\n", "--clearsign"))
	b.run()
	row := b.result("done", "b.csv.asc")[0]
	if row["outcome"] != "refused" || !strings.HasPrefix(row["all_codes"], "submitter_not_allowed;") || strings.Contains(row["all_codes"], "reference_conflict") || row["new_card_number"] != "" {
		t.Errorf("%v", row)
	}
}
