package report

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/request"
)

func smallInput(t *testing.T) Input {
	workspace := t.TempDir()
	dir := filepath.Join(workspace, "reports", runID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ALPHA_000041.masked.xml"), []byte("<masked/>"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(workspace, "north.result.csv"), []byte("sheet,row\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Input{
		Ledger: smallNight(t), RunID: runID, Workspace: workspace, Dir: dir, Extra: smallExtra(), Sign: sign,
		Artifacts: []Artifact{{Path: "north.result.csv", Kind: "result", Rows: 6}, {Path: "gone.result.csv", Kind: "result", Rows: 3}},
	}
}

func writeSmall(t *testing.T) (Input, map[string][]byte) {
	t.Helper()
	in := smallInput(t)
	if _, err := WriteAll(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	return in, folder(t, in.Dir)
}

func folder(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	content := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if content[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return content
}

func TestLists(t *testing.T) {
	_, files := writeSmall(t)
	golden(t, "refusals.csv", files["refusals.csv"])
	golden(t, "outstanding.csv", files["outstanding.csv"])
	golden(t, "events.ndjson", files["events.ndjson"])
}

func TestReportsWrittenAgainAreTheSame(t *testing.T) {
	in, first := writeSmall(t)
	m := in.Ledger.(*memory)
	m.run.EndedAt, m.run.Exit, m.run.Summary = started.AddDate(0, 0, 1), 4, first["reconciliation.json"] // FinishRun came between
	if _, err := WriteAll(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	for name, content := range folder(t, in.Dir) {
		if !bytes.Equal(content, first[name]) {
			t.Errorf("%s differs when it is written again", name)
		}
	}
	if len(first) != 11 {
		t.Errorf("%d files in the folder", len(first))
	}
}

func TestManifestNamesEveryFile(t *testing.T) {
	_, files := writeSmall(t)
	var m Manifest
	if err := json.Unmarshal(files["manifest.json"], &m); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, f := range m.Files {
		counts[f.Path] = f.Count
		if f.Kind != "report" && f.Kind != "masked_twin" {
			continue
		}
		content := files[filepath.Base(f.Path)]
		sum := sha256.Sum256(content)
		if f.SHA256 != hex.EncodeToString(sum[:]) || f.Size != int64(len(content)) {
			t.Errorf("%s: size or hash is wrong", f.Path)
		}
	}
	reports := "reports/" + runID + "/"
	want := map[string]int64{
		reports + "reconciliation.html": 0, reports + "reconciliation.xlsx": 0, reports + "reconciliation.json": 0, reports + "refusals.csv": 5,
		reports + "outstanding.csv": 5, reports + "underway.csv": 0, reports + "returns.csv": 0, reports + "events.ndjson": 16, reports + "ALPHA_000041.masked.xml": 4, "north.result.csv": 6, "gone.result.csv": 3,
		"outbox/alpha/ALPHA_000041.xml.pgp": 4, "outbox/beta/BETA0009.txt.pgp": 1, "outbox/card-system/issued-000003.csv.pgp": 3,
	}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	signature, _ := sign(bytes.NewReader(files["manifest.json"]))
	if !bytes.Equal(signature, files["manifest.json.asc"]) {
		t.Error("the signature is not that of the manifest")
	}
}

func TestFaultLeavesNoManifest(t *testing.T) {
	in, _ := writeSmall(t)
	in.Sign = func(io.Reader) ([]byte, error) { return nil, errors.New("no key") }
	if _, err := WriteAll(context.Background(), in); err == nil {
		t.Fatal("no error")
	}
	if _, err := os.Stat(filepath.Join(in.Dir, "manifest.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an older manifest is still there: %v", err)
	}
}

func TestEventsAreCloudEvents(t *testing.T) {
	_, files := writeSmall(t)
	ids, kinds := map[string]bool{}, map[string]int{}
	for line := range bytes.Lines(files["events.ndjson"]) {
		var event map[string]any
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatal(err)
		}
		for _, field := range strings.Fields("specversion id source type time subject datacontenttype data") {
			if _, ok := event[field]; !ok {
				t.Errorf("no %s in %s", field, line)
			}
		}
		id := event["id"].(string)
		if ids[id] {
			t.Errorf("the id %s comes twice", id)
		}
		ids[id] = true
		kinds[event["type"].(string)]++
	}
	want := map[string]int{"cards.reembossing.v1": 4, "cards.reissue.v1": 5, "cards.embossing.v1": 5, "cards.embossing_summary.v1": 2}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("types (-want +got):\n%s", diff)
	}
}

func TestEventIDsDoNotDependOnTheRun(t *testing.T) {
	ids := func(run string) (list []string) {
		var out bytes.Buffer
		m := smallNight(t)
		m.run.ID = run
		e := newEventStream(context.Background(), &out, m, nil)
		e.begin(m.run, nil)
		for told := range m.told {
			if err := e.told(told); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.close(); err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(out.Bytes()) {
			var event Event
			if err := json.Unmarshal(line, &event); err != nil {
				t.Fatal(err)
			}
			list = append(list, event.ID)
		}
		return list
	}
	if diff := cmp.Diff(ids(runID), ids("2026-12-01-007")); diff != "" {
		t.Error(diff)
	}
}

func TestCardWhoseRecordCannotBeMadeIsTold(t *testing.T) {
	var out bytes.Buffer
	e := newEventStream(context.Background(), &out, smallNight(t), nil)
	told := &ledger.Told{Answer: ledger.Answer{
		FileID: 1, Pos: 5, Kind: request.Reemboss, CardID: "1005", Outcome: rules.Refused, Code: "embossing_line_invalid_format", Message: "The name is too long.",
	}, Card: testCard(t, 1005)}
	if err := e.told(told); err != nil {
		t.Fatal(err)
	}
	if err := e.close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `"type":"cards.embossing.v1"`) || !strings.Contains(out.String(), `"error_type":"embossing_line_invalid_format","error_message":"The name is too long.","reembossing":true`) {
		t.Error(out.String())
	}
}

func TestSomebodyElsesCardIsNotTold(t *testing.T) {
	told := &ledger.Told{Answer: ledger.Answer{Outcome: rules.Refused, Code: "customer_not_found", Codes: []rules.Code{"customer_not_found"}}, Card: testCard(t, 1005)}
	if d := detailOf(told); d.cardNumber != "" || d.accountNumber != "" || d.balance != "" {
		t.Errorf("%+v", d)
	}
}

func TestOutstandingIsLimitedAndSaysSo(t *testing.T) {
	in := smallInput(t)
	in.MaxOutstanding = 2
	rec, err := WriteAll(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(readCSV(t, filepath.Join(in.Dir, "outstanding.csv"))); n != 3 {
		t.Errorf("%d lines", n)
	}
	if !strings.Contains(strings.Join(rec.Notes, "\n"), "outstanding.csv lists the oldest 2 of 5 records") {
		t.Errorf("notes %q", rec.Notes)
	}
}

func TestNoClearCardNumberInAnyReport(t *testing.T) {
	_, files := writeSmall(t)
	full := regexp.MustCompile(`4111110000[0-9]{6}|41111190000[0-9]{5}`)
	for name, content := range files {
		if full.Match(content) {
			t.Errorf("%s has a card number in clear", name)
		}
	}
	if part := foundIn(files["reconciliation.xlsx"], full.MatchString, 0); part != "" {
		t.Errorf("reconciliation.xlsx has a card number in clear in %s", part)
	}
}

func TestPageNeedsNothingElse(t *testing.T) {
	_, files := writeSmall(t)
	page := files["reconciliation.html"]
	keep(t, "small.html", page)
	keep(t, "small.xlsx", files["reconciliation.xlsx"])
	if found := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9]|@import|url\(|<link|<img|<iframe|\ssrc=`).Find(page); found != nil {
		t.Errorf("the page refers to something outside: %s", found)
	}
	for _, want := range []string{"5 things need a person", "reemboss resolve BETA0009.txt.pgp", "refusals.csv", "ALPHA_000041.xml.pgp", "<svg", "header_missing"} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if bytes.Contains(page, []byte("ZgotmplZ")) || bytes.Contains(page, []byte("&lt;svg")) {
		t.Error("the template engine refused a value")
	}
}

func TestPageParses(t *testing.T) {
	_, files := writeSmall(t)
	page := regexp.MustCompile(`(?s)<script>.*?</script>`).ReplaceAll(files["reconciliation.html"], nil)
	d := xml.NewDecoder(bytes.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var open []string
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			open = append(open, token.Name.Local)
		case xml.EndElement:
			if last := open[len(open)-1]; last != token.Name.Local {
				t.Fatalf("</%s> closes <%s>", token.Name.Local, last)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) != 0 {
		t.Errorf("not closed: %v", open)
	}
}

func TestPageShowsABrokenBalanceFirst(t *testing.T) {
	in := smallInput(t)
	in.Ledger.(*memory).written["alpha"] = 1
	if _, err := WriteAll(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	page := string(folder(t, in.Dir)["reconciliation.html"])
	broken, needs := strings.Index(page, "Balances that do not hold"), strings.Index(page, "Needs a person (")
	if broken < 0 || broken > needs || !strings.Contains(page, `class="hero alarm"`) {
		t.Errorf("at %d, what needs a person at %d", broken, needs)
	}
}

func TestBookHasItsSheets(t *testing.T) {
	_, files := writeSmall(t)
	f, err := excelize.OpenReader(bytes.NewReader(files["reconciliation.xlsx"]))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := []string{
		"Summary", "Needs a person", "Balances", "Files", "Bureaus", "Ageing", "Last nights", "Returns", "Card events", "By code", "By reason", "By product", "Refusals", "Waiting",
	}
	if diff := cmp.Diff(want, f.GetSheetList()); diff != "" {
		t.Error(diff)
	}
	for name, part := range map[string]string{"the filter of a list": "xl/worksheets/sheet3.xml", "the chart": "xl/charts/chart1.xml"} {
		if content, ok := f.Pkg.Load(part); !ok || name == "the filter of a list" && !bytes.Contains(content.([]byte), []byte("<autoFilter")) {
			t.Errorf("%s is not there", name)
		}
	}
	if content, _ := f.Pkg.Load("xl/worksheets/sheet2.xml"); !bytes.Contains(content.([]byte), []byte("<drawing")) {
		t.Error("the summary does not show its chart")
	}
	if v, _ := f.GetCellValue("Refusals", "J5"); !strings.HasPrefix(v, "'=") {
		t.Errorf("a message that begins like a formula is %q", v)
	}
	if kind, _ := f.GetCellType("Refusals", "D2"); kind == excelize.CellTypeUnset {
		t.Error("card ids are numbers")
	}
}

// TestReportMemoryDoesNotGrow writes the reports of a night with 50,000 answers.
func TestReportMemoryDoesNotGrow(t *testing.T) {
	const n = 50_000
	var highest uint64
	m := smallNight(t)
	m.sealed = m.sealed[:1]
	m.sealed[0].Records, m.orders[7] = n/2, nil
	m.told = func(yield func(*ledger.Told) bool) {
		card := testCard(t, 1001)
		for i := 1; i <= n; i++ {
			if i%5_000 == 0 {
				var mem runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&mem)
				highest = max(highest, mem.HeapAlloc)
			}
			told := &ledger.Told{FileName: "big.csv", Answer: ledger.Answer{FileID: 1, Pos: i, Line: i + 1, Kind: request.Reemboss, CardID: fmt.Sprint(i), Outcome: rules.Accepted, Class: 202, Code: "00"}, Card: card}
			told.Order = &ledger.Order{UID: fmt.Sprintf("U%019d", i), Kind: request.Reemboss, RunID: runID, Bureau: "alpha", BureauFileID: 7, PAN: card.PAN, CardID: int64(i)}
			if i%2 == 0 {
				told.Outcome, told.Class, told.Code, told.Order = rules.Refused, 404, "card_not_found", nil
				told.Message = "The registry has no card with this id: check the id, or import the extract that has it."
			}
			if !yield(told) {
				return
			}
		}
	}
	in := smallInput(t)
	in.Ledger = m
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	rec, err := WriteAll(context.Background(), in)
	if err != nil || rec.Read != n {
		t.Fatal(err)
	}
	if grown := int64(highest) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d KiB over %d answers", grown>>10, n)
	}
	keep(t, "big.html", folder(t, in.Dir)["reconciliation.html"])
}
