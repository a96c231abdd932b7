package report

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reemboss/batch/ledger"
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
		n := Need{Command: command}.single()
		if d := cmp.Diff(want, n.Choices()); d != "" {
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

// nightsToShow are the kinds of night that page and workbook must stand.
func nightsToShow(t *testing.T) map[string]Input {
	inputs := map[string]Input{}
	add := func(name string, m *memory, e Extra) {
		workspace := t.TempDir()
		inputs[name] = Input{Ledger: m, RunID: runID, Workspace: workspace, Dir: filepath.Join(workspace, "reports", runID), Extra: e}
	}
	m, e := richNight(t)
	add("rich", m, e)
	m, e = quietNight(t)
	add("quiet", m, e)
	m, e = richNight(t)
	m.orders[61][5].State = ledger.SentO           // changed by hand
	m.orders[7] = m.orders[7][1:]                  // deleted, in an old file
	m.written["alpha"]--                           // an order of tonight
	m.events = slices.Delete(m.events, 4000, 4001) // and an event
	add("alarm", m, e)
	return inputs
}

func TestPageStandsEveryKindOfNight(t *testing.T) {
	for name, in := range nightsToShow(t) {
		rec, err := WriteAll(context.Background(), in)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		files := folder(t, in.Dir)
		for file, content := range files {
			keep(t, name+"-"+file, content)
		}
		page := files["reconciliation.html"]
		if bytes.Contains(page, []byte("ZgotmplZ")) || bytes.Contains(page, []byte("NaN%")) || bytes.Contains(page, []byte("%!")) {
			t.Errorf("%s: the page has a value that could not be written", name)
		}
		if alarm := strings.HasPrefix(rec.Verdict, "ALARM"); alarm != (name == "alarm") {
			t.Errorf("%s: %s", name, rec.Verdict)
		}
		if exit := map[string]int{"rich": 4, "quiet": 0, "alarm": 4}[name]; rec.ExitCode != exit {
			t.Errorf("%s: exit code %d, want %d: %v", name, rec.ExitCode, exit, rec.NeedsPerson)
		}
	}
}

// The policy lets in the page's own style and script by their hashes, and nothing else.
func TestPolicyFitsThePage(t *testing.T) {
	_, files := writeSmall(t)
	page := string(files["reconciliation.html"])
	policy := html.UnescapeString(regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(page)[1])
	if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	for _, tag := range []string{"style", "script"} {
		text := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(page, -1)
		if len(text) != 1 || !strings.Contains(policy, tag+"-src '"+policyHash(text[0][1])+"'") {
			t.Errorf("the policy does not let in the one %s of the page", tag)
		}
	}
	if found := regexp.MustCompile(`(?i)<[a-z]+ [^>]*(\son[a-z]+=|\sstyle=)[^>]*>`).FindString(page); found != "" {
		t.Errorf("the policy stops %s", found)
	}
}

func TestEveryListCanBeSorted(t *testing.T) {
	for name, in := range nightsToShow(t) {
		if _, err := WriteAll(context.Background(), in); err != nil {
			t.Fatal(err)
		}
		page := string(folder(t, in.Dir)["reconciliation.html"])
		for _, table := range regexp.MustCompile(`<table[^>]*>`).FindAllString(page, -1) {
			if !strings.Contains(table, `class="balances"`) && !regexp.MustCompile(`class="sort" data-name="[a-z' ]+"`).MatchString(html.UnescapeString(table)) {
				t.Errorf("%s: %s", name, table)
			}
		}
	}
}

// A column is sorted by the number in each of its cells; one with more than its number says which.
func TestANumberColumnIsSortedByItsNumber(t *testing.T) {
	m, e := richNight(t)
	i := slices.IndexFunc(m.sealed, func(f ledger.BureauFile) bool { return f.State == ledger.Refused })
	f := &m.sealed[i]
	f.State, f.SentRunID, m.orders[f.ID], m.moved[f.ID] = ledger.Void, runID, nil, f.Records
	in := smallInput(t)
	in.Ledger, in.Extra = m, e
	if _, err := WriteAll(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	page := string(folder(t, in.Dir)["reconciliation.html"])
	if !strings.Contains(page, `<td class="n" data-v="88">88<br><span class="soft">88 moved</span></td>`) {
		t.Error("the records of a file of which some moved")
	}
	for _, cell := range regexp.MustCompile(`<td class="n">(.*?)</td>`).FindAllStringSubmatch(page, -1) {
		if !regexp.MustCompile(`^-?[0-9][0-9,.]*( %)?$`).MatchString(cell[1]) {
			t.Errorf("the cell %q has no number of its own", cell[1])
		}
	}
}

func TestLongListsAreCutAndSaySo(t *testing.T) {
	m, e := richNight(t)
	e.Bureaus = nil // nothing is known to be never answered: all of them are listed
	for i := range m.sealed[:60] {
		m.orders[m.sealed[i].ID][0].State = ledger.SentO
	}
	for i := range 300 {
		m.sealed = append(m.sealed, ledger.BureauFile{ID: int64(1000 + i), Recipient: "beta", Sequence: int64(100 + i), Name: fmt.Sprintf("B%d", i), State: ledger.Written, RunID: runID, Records: 0})
	}
	in := smallInput(t)
	in.Ledger, in.Extra = m, e
	rec, err := WriteAll(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	page := string(folder(t, in.Dir)["reconciliation.html"])
	if want := fmt.Sprintf("200 of %d; the others are in reconciliation.json", len(rec.ListedFiles())); !strings.Contains(page, want) {
		t.Errorf("the page does not say %q", want)
	}
	if !strings.Contains(page, "reemboss_alpha_000001.xml.pgp</span>") {
		t.Error("an old file that does not balance is not on the page")
	}
}
