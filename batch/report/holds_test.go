package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"reemboss/batch/ledger"
	"reemboss/formats/request"
)

// A hold stands among the files without a number, is asked about once, and what was cancelled stays in the balance.
func TestHoldsStandAmongTheFiles(t *testing.T) {
	m := smallNight(t)
	at := m.run.StartedAt
	m.holds = []ledger.Hold{
		{ID: 1, Name: "hold-alpha-" + runID + "-1", Bureau: "alpha", RunID: runID, Records: 2, Digest: "d1", State: ledger.Held, HeldAt: at},
		{ID: 2, Name: "hold-alpha-old", Bureau: "alpha", RunID: "2026-01-01-001", Records: 1, State: ledger.Approved, DecidedBy: "ben", HeldAt: at, DecidedAt: at},
		{ID: 3, Name: "hold-alpha-gone", Bureau: "alpha", RunID: "2026-01-01-001", Records: 1, State: ledger.HoldCancelled, DecidedRunID: runID, DecidedAt: at},
		{ID: 4, Name: "hold-alpha-written", Bureau: "alpha", RunID: runID, Records: 1, State: ledger.Approved, BureauFileID: 1},
		{ID: 5, Name: "hold-alpha-long-gone", Bureau: "alpha", RunID: "2026-01-01-001", Records: 1, State: ledger.HoldCancelled, DecidedRunID: "2026-01-02-001"},
		{ID: 6, Name: "hold-alpha-later", Bureau: "alpha", RunID: "2099-01-01-001", Records: 1, State: ledger.Held},
	}
	m.later = []ledger.Run{{ID: "2099-01-01-001"}}
	m.asked = map[int64][]ledger.HoldTally{1: {{Kind: request.Reissue, Reason: 3, Submitter: "anna", Owner: "clerk", N: 2}}}
	m.waits = append(m.waits, ledger.Waiting{RunID: runID, Bureau: "alpha", Hold: m.holds[0].Name, Orders: 2}, ledger.Waiting{RunID: "2026-01-01-001", Bureau: "alpha", Hold: "hold-alpha-old", Orders: 1})
	m.written = map[string]int64{"beta": 1}
	m.cancelled = map[string]int64{"alpha": 1}
	r, err := Gather(t.Context(), m, runID, Extra{})
	if err != nil {
		t.Fatal(err)
	}
	listed := func(files []BureauFile) (list []string) {
		for _, f := range files {
			if f.Hold != nil {
				list = append(list, fmt.Sprint(f.Name, " ", f.State, " ", f.Sequence, " ", f.Hold.Approved, " ", strings.Join(f.Hold.Submitters, "+"), f.Hold.ByReason))
			}
		}
		return list
	}
	if got := fmt.Sprint(listed(r.Files)); got != "[hold-alpha-"+runID+"-1 HELD 0 false anna+clerk[{reissue 3 2}] hold-alpha-gone CANCELLED 0 false []]" {
		t.Errorf("files %s", got)
	}
	if got := fmt.Sprint(listed(r.OpenFiles)); got != "[hold-alpha-old HELD 0 true []]" {
		t.Errorf("open files %s", got)
	}
	var asked []string
	for _, n := range r.NeedsPerson {
		for _, command := range n.Choices() {
			if strings.Contains(command, "hold-") {
				asked = append(asked, command)
			}
		}
	}
	if fmt.Sprintf("%q", asked) != fmt.Sprintf("%q", []string{"reemboss approve hold-alpha-" + runID + "-1", "reemboss cancel hold-alpha-" + runID + `-1 --reason "…"`}) {
		t.Errorf("asked %q", asked)
	}
	i := slices.IndexFunc(r.Balances, func(b Balance) bool { return b.Name == "accepted = written + waiting + cancelled" })
	if i < 0 || !r.Balances[i].Holds || r.Cancelled != 1 {
		t.Errorf("cancelled %d, balances %v", r.Cancelled, r.Balances)
	}
	for _, w := range r.Waits {
		if w.Hold == m.holds[0].Name && w.Reason != "held for a second person: reemboss approve "+w.Hold {
			t.Errorf("waits because %q", w.Reason)
		}
	}
}

// A command that the report prints works: a hold that cannot be cancelled is offered for approval alone.
func TestAHoldWithoutAWayBackIsNotOfferedForCancelling(t *testing.T) {
	for _, restored := range []bool{false, true} {
		f := BureauFile{Name: "h1", Bureau: "alpha", Records: 1, State: fileHeld, Hold: &HoldTold{Restored: restored, NoWayBack: true}}
		g := &gathering{Reconciliation: &Reconciliation{Files: []BureauFile{f}}}
		g.needHolds()
		need := g.NeedsPerson[0]
		if text := strings.Join(need.Choices(), " "); strings.Contains(text, "cancel") || !strings.Contains(need.Why, "cannot be cancelled") {
			t.Errorf("restored %t: %s %s", restored, need.Why, text)
		}
	}
}
