package report

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

func gatherRich(t *testing.T, change func(*memory, *Extra)) *Reconciliation {
	t.Helper()
	m, extra := richNight(t)
	if change != nil {
		change(m, &extra)
	}
	rec, err := Gather(context.Background(), m, runID, extra)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// File 7 was settled months ago, file 61 is under way.
func TestTamperedLedgerIsSeen(t *testing.T) {
	state := func(file int64, from, to ledger.OrderState) func(*memory) {
		return func(m *memory) {
			i := slices.IndexFunc(m.orders[file], func(o ledger.Order) bool { return o.State == from })
			m.orders[file][i].State = to
		}
	}
	event := func(file int64, status string) func(*memory) {
		return func(m *memory) {
			i := slices.IndexFunc(m.events, func(e ledger.ToldEvent) bool { return e.FileID == file && e.Status == status && e.Dispute == "" })
			m.events = slices.Delete(m.events, i, i+1)
		}
	}
	answers := func(change func([]*ledger.Told) []*ledger.Told) func(*memory) {
		return func(m *memory) { m.told = slices.Values(change(slices.Collect(m.told))) }
	}
	for name, tt := range map[string]struct {
		change func(*memory)
		broken string // a balance that does not hold then
	}{
		"a delivered order set back to sent":             {state(7, ledger.Delivered, ledger.SentO), "000007.xml.pgp: sent = acknowledged + rejected + outstanding"},
		"a sent order said to be acknowledged":           {state(69, ledger.SentO, ledger.Acked), "000069.xml.pgp: sent = acknowledged + rejected + outstanding"},
		"a rejected order said to be acknowledged":       {state(62, ledger.Rejected, ledger.Acked), "000062.xml.pgp: rejected in its events = rejected orders"},
		"an acknowledged order taken back into the plan": {state(68, ledger.Acked, ledger.PlannedO), "000068.xml.pgp: acknowledged in its events"},
		"a lost order said to be delivered":              {state(61, ledger.Lost, ledger.Delivered), "000061.xml.pgp: orders lost = "},
		"an order deleted":                               {func(m *memory) { m.orders[7] = m.orders[7][1:] }, "000007.xml.pgp: records in the file = orders in it"},
		"an order added":                                 {func(m *memory) { m.orders[7] = append(m.orders[7], ledger.Order{UID: "X", State: ledger.Delivered}) }, "000007.xml.pgp: records in the file = orders in it"},
		"an acknowledgement deleted":                     {event(7, "ACKED"), "000007.xml.pgp: sent = acknowledged + rejected + outstanding"},
		"a rejection deleted":                            {event(62, "REJECTED"), "000062.xml.pgp: rejected in its events = rejected orders"},
		"a delivery deleted":                             {event(61, "DELIVERED"), "000061.xml.pgp: orders delivered = "},
		"the records of a file changed":                  {func(m *memory) { m.sealed[6].Records++ }, "000007.xml.pgp: records in the file = orders in it"},
		"an answer deleted":                              {answers(func(l []*ledger.Told) []*ledger.Told { return l[1:] }), "rows read = accepted + refused + duplicate + held"},
		"an accepted answer said to be refused": {answers(func(l []*ledger.Told) []*ledger.Told {
			changed := *l[0]
			changed.Outcome = rules.Refused
			l[0] = &changed
			return l
		}), "accepted = written + waiting"},
	} {
		rec := gatherRich(t, func(m *memory, _ *Extra) { tt.change(m) })
		found := slices.ContainsFunc(rec.Balances, func(b Balance) bool { return !b.Holds && strings.Contains(b.Name, tt.broken) })
		if !found || rec.Balances[0].Holds || rec.ExitCode != 4 || !strings.HasPrefix(rec.Verdict, "ALARM") {
			t.Errorf("%s: exit %d, %q, broken %v", name, rec.ExitCode, rec.Verdict, rec.broken())
		}
		if f, _, ok := strings.Cut(tt.broken, ".xml.pgp"); ok && !slices.ContainsFunc(rec.Files, func(b BureauFile) bool { return strings.Contains(b.Name, f) && !b.Balanced }) {
			t.Errorf("%s: the file is not listed as one that does not balance", name)
		}
	}
}

func TestUntouchedLedgerBalances(t *testing.T) {
	if rec := gatherRich(t, nil); len(rec.broken()) > 0 || strings.HasPrefix(rec.Verdict, "ALARM") {
		t.Errorf("%v", rec.broken())
	}
}

func TestSettledFilesAreAddedUp(t *testing.T) {
	rec := gatherRich(t, nil)
	last := rec.Balances[len(rec.Balances)-2]
	if last.Name != "all 60 settled files: sent = acknowledged + rejected + outstanding" || last.Left.N != 1200 || last.Right[0].N != 1200 {
		t.Errorf("%s: %s", last.Name, last)
	}
	for _, f := range rec.Files {
		if f.Bureau == "alpha" && f.Sequence <= 60 {
			t.Errorf("%s is settled and listed", f.Name)
		}
	}
}

func TestFileWithNewsIsListed(t *testing.T) {
	rec := gatherRich(t, func(m *memory, _ *Extra) {
		m.events = append(m.events, ledger.ToldEvent{Event: ledger.Event{UID: m.orders[7][0].UID, FileID: 7, Status: "DELIVERED", RunID: runID}, Order: &ledger.Order{}})
	})
	if !slices.ContainsFunc(rec.Files, func(f BureauFile) bool { return f.Name == "reemboss_alpha_000007.xml.pgp" }) {
		t.Error("file 7 is not listed")
	}
}

// A bureau that never acknowledges leaves its cards SENT for ever.
func TestFileOfWhichNothingMoreIsExpectedIsForgotten(t *testing.T) {
	for days, listed := range map[int]bool{29: true, 31: false} {
		rec := gatherRich(t, func(m *memory, _ *Extra) {
			i := slices.IndexFunc(m.sealed, func(f ledger.BureauFile) bool { return f.Recipient == "gamma" && f.Sequence == 11 })
			at := started.AddDate(0, 0, -days)
			m.sealed[i].SentAt, m.sealed[i].RunID, m.sealed[i].SentRunID = at, at.Format("2006-01-02")+"-001", at.Format("2006-01-02")+"-001"
		})
		if found := slices.ContainsFunc(rec.ListedFiles(), func(f BureauFile) bool { return f.Bureau == "gamma" && f.Sequence == 11 }); found != listed {
			t.Errorf("sent %d days ago: listed %v", days, found)
		}
	}
}

func TestCancelledFileBalances(t *testing.T) {
	void := func(moved int64) *Reconciliation {
		return gatherRich(t, func(m *memory, _ *Extra) {
			i := slices.IndexFunc(m.sealed, func(f ledger.BureauFile) bool { return f.State == ledger.Refused })
			f := &m.sealed[i]
			f.State, f.SentRunID = ledger.Void, runID
			m.orders[f.ID] = m.orders[f.ID][:1] // its card has another open order meanwhile
			m.orders[f.ID][0].State, m.moved[f.ID] = ledger.SentO, moved
		})
	}
	rec := void(87)
	i := slices.IndexFunc(rec.Files, func(f BureauFile) bool { return f.State == ledger.Void })
	if f := rec.Files[i]; f.Sent != 1 || f.Outstanding != 1 || f.Moved != 87 || !f.Balanced || len(rec.broken()) > 0 {
		t.Errorf("%+v, broken %v", f, rec.broken())
	}
	if rec := void(86); len(rec.broken()) != 2 {
		t.Errorf("a record got lost on the way: %v", rec.broken())
	}
}

func TestFileOnItsWayAgainBalances(t *testing.T) {
	rec := gatherRich(t, func(m *memory, _ *Extra) {
		i := slices.IndexFunc(m.sealed, func(f ledger.BureauFile) bool { return f.State == ledger.Refused })
		m.sealed[i].State = ledger.Intent
	})
	if len(rec.broken()) > 0 {
		t.Errorf("%v", rec.broken())
	}
}

func TestAllFilesHaveTheirBalances(t *testing.T) {
	m, _ := richNight(t)
	files, err := AllFiles(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 77 {
		t.Errorf("%d files", len(files))
	}
	for _, f := range files {
		if !f.Balanced || f.Sent != f.Acknowledged+f.Rejected+f.Outstanding {
			t.Errorf("%+v", f)
		}
	}
}

func TestNeedsHaveTheirCommands(t *testing.T) {
	rec := gatherRich(t, func(m *memory, _ *Extra) {
		for i := range 25 {
			m.happens(61, 2, ledger.Event{Status: "LOST", At: started, Dispute: fmt.Sprintf("dispute %d", i)})
		}
	})
	for what, want := range map[string][]string{
		"Beta Print refused reemboss_beta_000032.txt.pgp (88 records) as a whole": {
			`reemboss resend reemboss_beta_000032.txt.pgp --reason "…"`, `reemboss cancel reemboss_beta_000032.txt.pgp --reason "…"`},
		"The return file beta-return-0113.csv of Beta Print is in quarantine: trailer_count": {
			`reemboss settle beta-return-0113.csv --read-again --reason "…"`, `reemboss settle beta-return-0113.csv --dismiss --reason "…"`},
		"1 line of ALPHA_STATUS_20261121.csv.pgp from Alpha Cards could not be used":                  nil,
		"reemboss_alpha_000069.xml.pgp: 118 cards not acknowledged by Alpha Cards, due on 2026-11-19": {`reemboss resend reemboss_alpha_000069.xml.pgp --reason "…"`},
		"6 more events contradict what is known":                                                      {"reemboss status"},
	} {
		i := slices.IndexFunc(rec.NeedsPerson, func(n Need) bool { return n.What == what })
		if i < 0 {
			t.Errorf("nobody is asked: %s", what)
			continue
		}
		if got := rec.NeedsPerson[i].Choices(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	disputes := 0
	for _, n := range rec.NeedsPerson {
		if strings.Contains(n.Command, "--keep|--take") {
			disputes++
		}
	}
	if disputes != maxDisputes {
		t.Errorf("%d disputes are listed", disputes)
	}
	if why := rec.NeedsPerson[0].Why; !strings.HasPrefix(why, "The bureau says: SEQ Expected number 31.") {
		t.Errorf("the bureau's words: %q", why)
	}
}

func TestVerdictTellsWhatTheBureausAnswered(t *testing.T) {
	if v := gatherRich(t, nil).Verdict; !strings.Contains(v, "The bureaus answered: 96 acknowledged, 13 rejected, 178 produced, 67 shipped.") {
		t.Error(v)
	}
	if v := gatherSmall(t, nil).Verdict; strings.Contains(v, "answered") {
		t.Errorf("nothing came back: %s", v)
	}
}
