package report

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

var update = flag.Bool("update", false, "write the golden files anew")

// keep leaves a file that a test wrote in the folder that KEEP_REPORTS names, to be looked at.
func keep(t *testing.T, name string, content []byte) {
	t.Helper()
	dir := os.Getenv("KEEP_REPORTS")
	if dir == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// golden compares with testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", name, diff)
	}
}

func gatherSmall(t *testing.T, change func(*memory, *Extra)) *Reconciliation {
	t.Helper()
	m, extra := smallNight(t), smallExtra()
	if change != nil {
		change(m, &extra)
	}
	rec, err := Gather(context.Background(), m, runID, extra)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestReconciliationJSON(t *testing.T) {
	var out bytes.Buffer
	if err := gatherSmall(t, nil).writeJSON(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "reconciliation.json", out.Bytes())
}

func TestSharedFieldsAreThere(t *testing.T) {
	text, err := json.Marshal(gatherSmall(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for _, field := range strings.Fields("run_id read accepted refused duplicate held written waiting files") {
		if _, ok := got[field]; !ok {
			t.Errorf("no field %s", field)
		}
	}
	first := got["files"].([]any)[0].(map[string]any)
	for _, field := range strings.Fields("bureau name sequence records size sha256 state sent acknowledged rejected outstanding") {
		if _, ok := first[field]; !ok {
			t.Errorf("files[0] has no field %s", field)
		}
	}
}

func TestEmptyListsAreNotNull(t *testing.T) {
	m := &memory{run: ledger.Run{ID: runID}, told: func(func(*ledger.Told) bool) {}}
	rec, err := Gather(context.Background(), m, runID, Extra{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("null")) {
		t.Errorf("null in %s", text)
	}
	if rec.ExitCode != 0 || rec.Verdict != "No request came in. Everything balances and nothing waits." {
		t.Errorf("an empty night: exit %d, %q", rec.ExitCode, rec.Verdict)
	}
}

func TestBalancesThatDoNotHoldComeFirst(t *testing.T) {
	rec := gatherSmall(t, func(m *memory, _ *Extra) { m.written["alpha"] = 2 })
	if rec.Balances[0].Holds || rec.Balances[0].Name != "accepted = written + waiting" {
		t.Errorf("the first balance is %q, holds %v", rec.Balances[0].Name, rec.Balances[0].Holds)
	}
	if rec.ExitCode != 4 || !strings.HasPrefix(rec.Verdict, "ALARM") || !strings.HasPrefix(rec.NeedsPerson[0].What, "A balance does not hold") {
		t.Errorf("exit %d, verdict %q, first need %q", rec.ExitCode, rec.Verdict, rec.NeedsPerson[0].What)
	}
}

func TestRowsWithoutAnswerBreakTheBalance(t *testing.T) {
	rec := gatherSmall(t, func(m *memory, _ *Extra) { m.files[0].Rows = 7 })
	if rec.Balances[0].Holds || rec.Balances[0].Left.N != 11 {
		t.Errorf("11 rows read and 10 answered: %v", rec.Balances[0])
	}
}

func TestFileStillBeingDecidedCountsItsAnswers(t *testing.T) {
	rec := gatherSmall(t, func(m *memory, e *Extra) {
		m.files[0].State, m.files[0].Rows = ledger.Checked, 50
		e.Exit, e.Fault = 5, "asked to stop"
	})
	if !rec.Balances[0].Holds || rec.ExitCode != 5 {
		t.Errorf("a stopped run: %v, exit %d", rec.Balances[0], rec.ExitCode)
	}
	if rec.Verdict != "The night stopped before its end; the next run continues: asked to stop." {
		t.Errorf("verdict %q", rec.Verdict)
	}
}

func TestLaterRunsAreNotThisOnes(t *testing.T) {
	rec := gatherSmall(t, func(m *memory, _ *Extra) {
		m.later = []ledger.Run{{ID: "2026-11-22-001"}}
		m.waits = append(m.waits, ledger.Waiting{RunID: "2026-11-22-001", Bureau: "beta", Orders: 50})
		m.sealed = append(m.sealed, ledger.BureauFile{ID: 99, RunID: "2026-11-22-001", Recipient: "beta", Sequence: 10, State: ledger.Written})
	})
	if rec.Waiting != 1 || rec.CarriedOver.Waiting != 2 || len(rec.ListedFiles()) != 3 {
		t.Errorf("waiting %d, carried over %d, files %d", rec.Waiting, rec.CarriedOver.Waiting, len(rec.ListedFiles()))
	}
}

// After a clock was set back, an earlier run has the greater id: what it left is carried over and not forgotten.
func TestTheIDsOfRunsDoNotTellTheirOrder(t *testing.T) {
	const before, after = "2035-01-01-001", "2026-01-01-001"
	rec := gatherSmall(t, func(m *memory, _ *Extra) {
		m.earlier, m.later = append(m.earlier, ledger.Run{ID: before}), []ledger.Run{{ID: after}}
		m.waits = append(m.waits, ledger.Waiting{RunID: before, Bureau: "beta", Orders: 50}, ledger.Waiting{RunID: after, Bureau: "beta", Orders: 3})
		m.sealed = append(m.sealed, ledger.BureauFile{ID: 99, RunID: before, Recipient: "beta", Sequence: 10, State: ledger.Undecided, Name: "lost.pgp"},
			ledger.BureauFile{ID: 100, RunID: after, Recipient: "beta", Sequence: 11, State: ledger.Written})
	})
	if rec.Waiting != 1 || rec.CarriedOver.Waiting != 52 || len(rec.ListedFiles()) != 4 {
		t.Errorf("waiting %d, carried over %d, files %d", rec.Waiting, rec.CarriedOver.Waiting, len(rec.ListedFiles()))
	}
	if !slices.ContainsFunc(rec.NeedsPerson, func(n Need) bool { return strings.Contains(n.What, "lost.pgp") }) {
		t.Errorf("nobody is asked about the UNDECIDED file: %+v", rec.NeedsPerson)
	}
}

func TestFileWithoutAnOrderOfItsPlanBreaksTheBalance(t *testing.T) {
	rec := gatherSmall(t, func(m *memory, _ *Extra) { m.orders[7] = m.orders[7][1:] })
	if rec.Balances[0].Holds || rec.Balances[0].String() != "4 sent ≠ 0 acknowledged + 0 rejected + 3 outstanding" {
		t.Errorf("a record was lost: %v", rec.Balances[0])
	}
}

func TestCarriedOverOrders(t *testing.T) {
	want := CarriedOver{Before: 3, Written: 1, Waiting: 2}
	if got := gatherSmall(t, nil).CarriedOver; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestKeyThatEndsWithinThirtyDaysIsWarnedOf(t *testing.T) {
	for days, warned := range map[int]bool{31: false, 30: true, 0: true, -1: true} {
		rec := gatherSmall(t, func(_ *memory, e *Extra) {
			end := started.AddDate(0, 0, days)
			e.Keys, e.Ranges = []Key{{Owner: "alpha", Expires: &end}}, nil
		})
		if (len(rec.Warnings) == 1) != warned {
			t.Errorf("%d days: warnings %q", days, rec.Warnings)
		}
	}
}

func TestKeyThatCannotBeUsedIsWarnedOf(t *testing.T) {
	rec := gatherSmall(t, func(_ *memory, e *Extra) { e.Keys, e.Ranges = []Key{{Owner: "beta", Problem: "it was revoked"}}, nil })
	if len(rec.Warnings) != 1 || !strings.Contains(rec.Warnings[0], "it was revoked") {
		t.Errorf("%q", rec.Warnings)
	}
}

func TestRangeForecast(t *testing.T) {
	for _, tt := range []struct {
		used, nights int64
		warned       bool
	}{{100, 900, false}, {800, 200, true}, {915, 85, true}, {1000, 0, true}} {
		rec := gatherSmall(t, func(_ *memory, e *Extra) {
			e.Keys, e.Ranges = nil, []Range{{Name: "visa", Capacity: 1000, Used: tt.used, Products: []string{"visa-classic"}}}
		})
		if r := rec.Ranges[0]; r.Tonight != 1 || r.NightsLeft != tt.nights || (len(rec.Warnings) == 1) != tt.warned {
			t.Errorf("%d used: %+v, warnings %q", tt.used, r, rec.Warnings)
		}
	}
}

func TestExitCode(t *testing.T) {
	calm := func(m *memory, e *Extra) {
		m.waits, m.written = nil, map[string]int64{"alpha": 3, "beta": 2}
		m.files = m.files[:2]
		m.sealed[1].State, m.sealed[1].SentAt, m.sealed[1].SentRunID = ledger.Sent, written, runID
		m.orders[8][0].State = ledger.SentO
		all := m.told
		m.told = func(yield func(*ledger.Told) bool) {
			for t := range all {
				if t.FileID != 3 && t.Outcome != "held" && !yield(t) {
					return
				}
			}
		}
		m.files[1].Rows = 2
	}
	for name, tt := range map[string]struct {
		change func(*memory, *Extra)
		exit   int
	}{
		"complete and balanced": {func(*memory, *Extra) {}, 0},
		"a fault":               {func(_ *memory, e *Extra) { e.Exit = 1 }, 1},
		"stopped":               {func(_ *memory, e *Extra) { e.Exit = 5 }, 5},
		"an undecided transfer": {func(m *memory, _ *Extra) { m.sealed[1].State = ledger.Undecided }, 4},
		"a failed transfer":     {func(m *memory, _ *Extra) { m.sealed[1].State = ledger.Intent }, 4},
		"a refused file":        {func(m *memory, _ *Extra) { m.sealed[1].State, m.orders[8][0].State = ledger.Refused, ledger.PlannedO }, 4},
		"a dispute": {func(m *memory, _ *Extra) {
			m.happens(7, 0, ledger.Event{Status: "REJECTED", At: written, Dispute: "it was delivered"})
		}, 4},
		"a return file in quarantine": {func(m *memory, _ *Extra) {
			m.returns = []ledger.ReturnFile{{ID: 1, RunID: "2026-11-01-001", State: ledger.ReturnQuarantined}}
		}, 4},
		"a line that cannot be used": {func(m *memory, _ *Extra) {
			m.returns = []ledger.ReturnFile{{ID: 1, RunID: runID, State: ledger.ReturnApplied}}
			m.problems = []ledger.Problem{{ReturnID: 1, Line: 4, Code: "uid_unknown"}}
		}, 4},
		"cards late at a bureau that acknowledges": {func(_ *memory, e *Extra) {
			e.Bureaus["alpha"] = Bureau{Acknowledges: true, SLA: config.SLA{Acknowledge: 1}}
		}, 4},
		"cards late at a bureau that does not": {func(_ *memory, e *Extra) { e.Bureaus["alpha"] = Bureau{SLA: config.SLA{Acknowledge: 1}} }, 0},
		"cards not shipped in time": {func(m *memory, e *Extra) {
			e.Bureaus["alpha"] = Bureau{Acknowledges: true, SLA: config.SLA{Ship: 1}}
			m.happens(5, 0, ledger.Event{Status: "ACKED", At: started.AddDate(0, 0, -2)})
		}, 0},
		"earlier orders wait": {func(m *memory, _ *Extra) {
			m.waits = []ledger.Waiting{{RunID: "2026-11-01-001", Bureau: "beta", Orders: 1}}
		}, 4},
		"somebody else's need": {func(_ *memory, e *Extra) { e.NeedsPerson = []Need{{What: "conflicts"}} }, 4},
	} {
		rec := gatherSmall(t, func(m *memory, e *Extra) { calm(m, e); tt.change(m, e) })
		if rec.ExitCode != tt.exit {
			t.Errorf("%s: exit %d, want %d (%v)", name, rec.ExitCode, tt.exit, rec.NeedsPerson)
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
