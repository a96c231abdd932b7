package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"reemboss/batch/report"
	"reemboss/formats/iso"
	"reemboss/testdata/proof"
)

// damagedDir has the damaged files that can lie in a repository; what cannot (odd names, links, rights, 2 GiB) is made
// by the tests of damaged_places_test.go. expected.yaml says what must become of each.
var damagedDir = filepath.Join("..", "..", "testdata", "damaged")

// damagedCase is a line of expected.yaml.
type damagedCase struct {
	File  string `yaml:"file"`
	Wrong string `yaml:"wrong"`
	// One of these is given.
	Rows    *string `yaml:"rows"`    // "2:00 3:card_id_missing": taken, and each row with all its codes; "" for none
	Refused string  `yaml:"refused"` // refused as a whole with this code
	Stays   bool    `yaml:"stays"`   // left alone in the inbox

	Sealed bool   `yaml:"sealed"` // what is kept is sealed to the workspace's key
	Says   string `yaml:"says"`   // stands in the message of the refusal, of the first refused row, or in a note of the report
}

func damagedTable(tb testing.TB) map[string][]damagedCase {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(damagedDir, "expected.yaml"))
	if err != nil {
		tb.Fatal(err)
	}
	var groups map[string][]damagedCase
	if err := yaml.UnmarshalWithOptions(text, &groups, yaml.DisallowUnknownField()); err != nil {
		tb.Fatal(err)
	}
	return groups
}

// damagedFile is a case with what lies in the inbox for it.
type damagedFile struct {
	damagedCase
	name    string // in the inbox
	shown   string // in reports, done/ and refused/
	content []byte // nil: its bytes are not compared
}

// Every damaged file is answered as its line says, keeps its bytes, and holds up no other: a group of them is one whole
// night of the program, with a good file before all and one behind all.
func TestDamagedFilesAreAnsweredAsTheTableSays(t *testing.T) {
	program := withoutRaceDetector(t)
	groups, count := damagedTable(t), proof.Of(t, "damaged files")
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		if strings.HasPrefix(name, "made") || strings.HasPrefix(name, "extracts") {
			continue // other tests
		}
		count.Add(len(groups[name]))
		for _, c := range groups[name] {
			seen[c.File] = true
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var files []damagedFile
			for _, c := range groups[name] {
				content, err := os.ReadFile(filepath.Join(damagedDir, "requests", c.File))
				if err != nil {
					t.Fatal(err)
				}
				files = append(files, damagedFile{damagedCase: c, name: c.File, shown: c.File, content: content})
			}
			n := newDamagedNight(t, program)
			for _, f := range files {
				n.write("inbox/"+f.name, f.content)
			}
			n.run(files)
		})
	}
	for _, e := range dirEntries(t, filepath.Join(damagedDir, "requests")) {
		if !seen[e.Name()] {
			t.Errorf("%s has no line in expected.yaml", e.Name())
		}
	}
}

// damagedNight is a workspace with the cards that the damaged files ask for, and two good files around them.
type damagedNight struct {
	*workspace
	first, last plastic // of the good files
}

// damagedCards are the cards with ids 20000 to 23999, all alike; the extract has them all.
func damagedCards() (extract []byte, card func(id int) plastic) {
	card = func(id int) plastic {
		body := "411111" + fmt.Sprintf("%09d", id)
		return plastic{id: strconv.Itoa(id), customer: "C" + strconv.Itoa(id), program: "100", product: "visa-classic", status: "NORMAL",
			pan: body + string(iso.LuhnDigit(body)), expiry: iso.ExpiryOf(time.Now()).Add(20).String()}
	}
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	_ = w.Write([]string{"card_id", "customer_id", "program_id", "product", "status", "pan", "expiry", "printed_name", "address_line1", "city", "postcode", "country"})
	for id := 20000; id < 24000; id++ {
		c := card(id)
		_ = w.Write([]string{c.id, c.customer, c.program, c.product, c.status, c.pan, c.expiry, "Ada Byron", "12 Old Street", "London", "EC1A 1BB", "GB"})
	}
	w.Flush()
	return out.Bytes(), card
}

func newDamagedNight(tb testing.TB, program string) *damagedNight {
	tb.Helper()
	w := newWorkspace(tb)
	w.program = program
	w.configure("max_unpacked: 4GiB", "max_unpacked: 16MiB")
	extract, card := damagedCards()
	n := &damagedNight{workspace: w, first: card(23998), last: card(23999)}
	w.write("inbox/cards/0-cards.csv", extract)
	w.write("inbox/!first.csv", lines("card_id", n.first.id))
	w.write("inbox/~last.csv", lines("card_id", n.last.id))
	return n
}

// run is the night and all that must hold after it.
func (n *damagedNight) run(files []damagedFile) *report.Reconciliation {
	n.tb.Helper()
	want := exitComplete
	for _, f := range files {
		if f.Refused != "" {
			want = exitPerson
		}
	}
	r := n.start(nil, "--dir", n.Dir, "--log-level", "debug", "run", "--json")
	switch r.exit {
	case want:
	case exitComplete, exitPerson:
		n.tb.Errorf("exit %d, want %d", r.exit, want)
	default:
		n.tb.Fatalf("exit %d, want %d\n%s", r.exit, want, r.stderr)
	}
	told := told(n.tb, r)
	balanced(n.tb, told)
	n.holds(files, told)
	s := newSecrets()
	s.pan(n.first.pan, "the first card's number")
	s.pan(n.last.pan, "the last card's number")
	_, card := damagedCards()
	for i, f := range files {
		s.pan(card(firstMade+i).pan, "the number in "+f.File)
	}
	for _, place := range s.leaks(n.workspace, r.stdout, r.stderr) {
		n.tb.Error(place)
	}
	return told
}

// holds compares what became of each file with its line.
func (n *damagedNight) holds(files []damagedFile, told *report.Reconciliation) {
	n.tb.Helper()
	results := n.results()
	for _, name := range []string{"!first.csv", "~last.csv"} {
		if rows := results[name]; len(rows) != 1 || rows[0]["code"] != "00" {
			n.tb.Errorf("the good file %s was held up: %v", name, rows)
		}
	}
	for _, f := range files {
		rows, answered := results[f.shown]
		switch {
		case f.Stays:
			n.stays(f, answered, told)
		case !answered:
			n.tb.Errorf("%s (%s) has no answer", f.File, f.Wrong)
		default:
			n.answered(f, rows, told)
			n.kept(f)
		}
	}
	if left := n.glob("state/intake/*"); len(left) > 0 {
		n.tb.Errorf("state/intake still has %q", left)
	}
}

func (n *damagedNight) stays(f damagedFile, answered bool, told *report.Reconciliation) {
	n.tb.Helper()
	if _, err := os.Lstat(n.Path("inbox", f.name)); err != nil || answered {
		n.tb.Errorf("%s (%s) was to stay in the inbox: %v", f.File, f.Wrong, err)
	}
	if err := os.RemoveAll(n.Path("inbox", f.name)); err != nil { // not to be followed by what looks through the workspace
		n.tb.Error(err)
	}
	if notes := strings.Join(told.Notes, "\n"); !strings.Contains(notes, f.Says) {
		n.tb.Errorf("%s (%s): the notes do not say %q:\n%s", f.File, f.Wrong, f.Says, notes)
	}
}

// answered compares the rows of a result.
func (n *damagedNight) answered(f damagedFile, rows []map[string]string, told *report.Reconciliation) {
	n.tb.Helper()
	var got []string
	message := ""
	for _, row := range rows {
		line := row["row"] + ":" + row["all_codes"]
		if row["sheet"] != "" && row["sheet"] != "Sheet1" {
			line = row["sheet"] + "!" + line
		}
		got = append(got, line)
		if row["outcome"] != "accepted" && message == "" {
			message = row["message"]
		}
	}
	want := "0:" + f.Refused
	if f.Rows != nil {
		want = *f.Rows
	}
	if have := strings.Join(got, " "); have != want {
		n.tb.Errorf("%s (%s):\n got %s\nwant %s\n%s", f.File, f.Wrong, have, want, message)
	}
	said := message + "\n" + strings.Join(told.Notes, "\n")
	for _, file := range told.RequestFiles {
		if file.Name == f.shown {
			said += "\n" + strings.Join(file.Notes, "\n")
		}
	}
	if !strings.Contains(said, f.Says) {
		n.tb.Errorf("%s (%s): nobody is told %q:\n%s", f.File, f.Wrong, f.Says, said)
	}
}

// kept wants the sender's bytes in done/ or refused/, sealed where the line says so and only there.
func (n *damagedNight) kept(f damagedFile) {
	n.tb.Helper()
	folder := "done"
	if f.Refused != "" {
		folder = "refused"
	}
	var clear, sealed []string
	for _, e := range n.glob(folder + "/*/*") {
		switch filepath.Base(e) {
		case f.shown:
			clear = append(clear, e)
		case f.shown + ".pgp":
			sealed = append(sealed, e)
		}
	}
	switch {
	case len(clear)+len(sealed) != 1:
		n.tb.Errorf("%s (%s) lies in %q %q", f.File, f.Wrong, clear, sealed)
	case f.Sealed != (len(sealed) == 1):
		n.tb.Errorf("%s (%s) is kept as %q", f.File, f.Wrong, append(clear, sealed...))
	case f.content == nil:
	case len(clear) == 1 && !bytes.Equal(n.read(clear[0]), f.content), len(sealed) == 1 && !bytes.Equal(n.openAt(sealed[0], "keys/issuer.pgp"), f.content):
		n.tb.Errorf("%s (%s): other bytes are kept than the sender's", f.File, f.Wrong)
	}
}
