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
	night := func(change func(*ledger.OutcomeCounts)) func(*memory) {
		return func(m *memory) {
			c := m.counts["2026-11-20-001"]
			change(&c)
			m.counts["2026-11-20-001"] = c
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
		"a lost order said to be delivered":              {state(61, ledger.Lost, ledger.Delivered), "000061.xml.pgp: orders whose state no event explains = 0"},
		"a rejected and a delivered order swapped": {func(m *memory) {
			for i := range m.orders[63] {
				switch o := &m.orders[63][i]; o.State {
				case ledger.Rejected:
					o.State = ledger.Delivered
				case ledger.Delivered:
					o.State = ledger.Rejected
				}
			}
		}, "000063.xml.pgp: orders whose state no event explains = 0"},
		"a file deleted": {func(m *memory) { m.sealed = slices.Delete(m.sealed, 3, 4) }, "all orders = orders in bureau files + orders in no file"},
		"a sent file called void": {func(m *memory) {
			m.sealed[6].State, m.steps = ledger.Void, map[int64]ledger.BureauFileState{7: ledger.Sent}
		}, "bureau files whose state is not the last step of their history = 0"},
		"an answer of an earlier night deleted":   {night(func(c *ledger.OutcomeCounts) { c.Read, c.Refused = c.Read-1, c.Refused-1 }), "night 2026-11-20-001: rows told then = rows in the ledger now"},
		"an answer of an earlier night changed":   {night(func(c *ledger.OutcomeCounts) { c.Accepted, c.Refused = c.Accepted+1, c.Refused-1 }), "night 2026-11-20-001: accepted rows told then = accepted rows in the ledger now"},
		"all answers of an earlier night deleted": {night(func(c *ledger.OutcomeCounts) { *c = ledger.OutcomeCounts{} }), "night 2026-11-20-001: rows told then = rows in the ledger now"},
		"an order deleted":                        {func(m *memory) { m.orders[7] = m.orders[7][1:] }, "000007.xml.pgp: records in the file = orders in it"},
		"an order added":                          {func(m *memory) { m.orders[7] = append(m.orders[7], ledger.Order{UID: "X", State: ledger.Delivered}) }, "000007.xml.pgp: records in the file = orders in it"},
		"an acknowledgement deleted":              {event(7, "ACKED"), "000007.xml.pgp: sent = acknowledged + rejected + outstanding"},
		"a rejection deleted":                     {event(62, "REJECTED"), "000062.xml.pgp: rejected in its events = rejected orders"},
		"a delivery deleted":                      {event(61, "DELIVERED"), "000061.xml.pgp: orders whose state no event explains = 0"},
		"the records of a file changed":           {func(m *memory) { m.sealed[6].Records++ }, "000007.xml.pgp: records in the file = orders in it"},
		"an answer deleted":                       {answers(func(l []*ledger.Told) []*ledger.Told { return l[1:] }), "rows read = accepted + refused + duplicate + held"},
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

func TestNightsThatAreAsTheyWereToldAreAddedUp(t *testing.T) {
	rec := gatherRich(t, nil)
	i := slices.IndexFunc(rec.Balances, func(b Balance) bool { return strings.Contains(b.Name, "rows told then = rows in the ledger now") })
	if i < 0 || rec.Balances[i].Name != "24 finished nights of the last 30 days: rows told then = rows in the ledger now" || rec.Balances[i].Left.N == 0 || !rec.Balances[i].Holds {
		t.Errorf("%v", rec.Balances)
	}
}

// An older version wrote its summary differently: nothing can be compared.
func TestNightWithoutNumbersIsNotCompared(t *testing.T) {
	rec := gatherRich(t, func(m *memory, _ *Extra) {
		for i := range m.earlier {
			m.earlier[i].Summary, m.counts = []byte("{}"), nil
		}
	})
	if len(rec.broken()) > 0 || len(rec.Nights) != 25 {
		t.Errorf("%d nights, broken %v", len(rec.Nights), rec.broken())
	}
}

// A part that does not change the sum proves nothing of it.
func TestNoBalanceComparesANumberWithItself(t *testing.T) {
	for _, b := range gatherSmall(t, nil).Balances {
		if strings.HasPrefix(b.Name, "carried over") {
			t.Errorf("%s: %s", b.Name, b)
		}
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

// File 7 was settled long ago; it may be VOID as well.
func TestFileOfWhichAReturnFileSpeaksIsListed(t *testing.T) {
	for name, news := range map[string]func(*memory){
		"nothing": func(*memory) {},
		"a line that could not be used": func(m *memory) {
			m.problems = append(m.problems, ledger.Problem{ReturnID: 1, Line: 9, Code: "uid_elsewhere", FileName: "reemboss_alpha_000007.xml.pgp"})
		},
		"an event of the file as a whole": func(m *memory) {
			m.events = append(m.events, ledger.ToldEvent{Event: ledger.Event{FileID: 7, Status: "RECEIVED", RunID: runID, Count: -1}})
		},
	} {
		rec := gatherRich(t, func(m *memory, _ *Extra) {
			m.sealed[6].State, m.moved[7], m.orders[7] = ledger.Void, m.sealed[6].Records, nil
			m.events = slices.DeleteFunc(m.events, func(e ledger.ToldEvent) bool { return e.FileID == 7 })
			news(m)
		})
		if listed := slices.ContainsFunc(rec.Files, func(f BureauFile) bool { return f.Sequence == 7 && f.State == ledger.Void }); listed != (name != "nothing") {
			t.Errorf("%s: listed %v, broken %v", name, listed, rec.broken())
		}
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
			m.happens(61, 2, ledger.Event{Status: "LOST", At: started, ReturnID: int64(1 + i/22), Dispute: fmt.Sprintf("dispute %d", i)})
		}
		m.happens(61, 2, ledger.Event{Status: "LOST", At: started, Dispute: "from an extract"})
		m.returns[0].Final = "returns/alpha/2026-11-21 ALPHA_STATUS.csv.pgp"
		m.returns[2].Final = "returns/beta/2-beta-return-0113.csv"
	})
	for what, want := range map[string][]string{
		"Beta Print refused reemboss_beta_000032.txt.pgp (88 records) as a whole": {
			`reemboss resend reemboss_beta_000032.txt.pgp --reason "…"`, `reemboss cancel reemboss_beta_000032.txt.pgp --reason "…"`},
		"The return file beta-return-0113.csv of Beta Print is in quarantine: trailer_count": {
			`reemboss settle returns/beta/2-beta-return-0113.csv --read-again --reason "…"`, `reemboss settle returns/beta/2-beta-return-0113.csv --dismiss --reason "…"`},
		"1 line of ALPHA_STATUS_20261121.csv.pgp from Alpha Cards could not be used": {
			`reemboss settle 'returns/alpha/2026-11-21 ALPHA_STATUS.csv.pgp' --read-again --reason "…"`},
		"reemboss_alpha_000069.xml.pgp: 118 cards not acknowledged by Alpha Cards, due on 2026-11-19": {`reemboss resend reemboss_alpha_000069.xml.pgp --reason "…"`},
		"1 more event contradicts what is known":                                                      {"reemboss status"},
		"3 more events of ALPHA_STATUS_20261121.csv.pgp contradict what is known": {
			`reemboss settle 'returns/alpha/2026-11-21 ALPHA_STATUS.csv.pgp' --keep --reason "…"`, `reemboss settle 'returns/alpha/2026-11-21 ALPHA_STATUS.csv.pgp' --take --reason "…"`},
		"3 more events of beta-return-0112.csv contradict what is known": {
			`reemboss settle beta-return-0112.csv --keep --reason "…"`, `reemboss settle beta-return-0112.csv --take --reason "…"`},
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
		if strings.Contains(n.What, ": LOST of ") || strings.Contains(n.What, ": REJECTED of ") {
			disputes++
		}
		for _, command := range n.Choices() {
			if strings.Contains(command, "|") {
				t.Errorf("a pipe: %s", command)
			}
		}
	}
	if disputes != maxDisputes {
		t.Errorf("%d disputes are listed", disputes)
	}
	if why := rec.NeedsPerson[0].Why; !strings.HasPrefix(why, "The bureau says: SEQ Expected number 31.") {
		t.Errorf("the bureau's words: %q", why)
	}
}

// What a person cannot do is not offered.
func TestDisputeOffersWhatIsPossible(t *testing.T) {
	for name, tt := range map[string]struct {
		file  ledger.BureauFileState // of file 68
		order func(*ledger.Order)    // its first, nil for an event of the file as a whole
		event ledger.Event
		take  bool
		says  string
	}{
		"received, other count":      {ledger.Sent, nil, ledger.Event{Status: "RECEIVED", Count: 9}, true, "--take acknowledges all cards of the file, though the bureau counted 9 and the file has 123 records."},
		"refused, sent":              {ledger.Sent, nil, ledger.Event{Status: "REFUSED", Count: -1}, true, "or take what this event says."},
		"received, undecided":        {ledger.Undecided, nil, ledger.Event{Status: "RECEIVED", Count: -1}, true, ""},
		"received, renaming":         {ledger.Renaming, nil, ledger.Event{Status: "RECEIVED", Count: -1}, true, ""},
		"received after refusal":     {ledger.Refused, nil, ledger.Event{Status: "RECEIVED", Count: -1}, true, ""},
		"received, void, cards wait": {ledger.Void, nil, ledger.Event{Status: "RECEIVED", Count: -1, ID: 1}, true, ""},
		"received, void":             {ledger.Void, nil, ledger.Event{Status: "RECEIVED", Count: 9}, false, "The file is VOID: what the bureau says of it cannot count. Keep what is known."},
		"refused, planned":           {ledger.Planned, nil, ledger.Event{Status: "REFUSED"}, false, "The file is PLANNED"},
		"refused, written":           {ledger.Written, nil, ledger.Event{Status: "REFUSED"}, false, "The file is WRITTEN"},
		"refused, uploaded":          {ledger.Uploaded, nil, ledger.Event{Status: "REFUSED"}, false, "The file is UPLOADED"},
		"a card in its file":         {ledger.Sent, func(*ledger.Order) {}, ledger.Event{Status: "LOST"}, true, ""},
		"a card that waits":          {ledger.Sent, func(o *ledger.Order) { o.State, o.BureauFileID = ledger.Queued, 0 }, ledger.Event{Status: "LOST"}, false, "The card waits for the bureau's next file and was in none before"},
		"a card that went on":        {ledger.Sent, func(o *ledger.Order) { o.BureauFileID, o.FileName = 69, "later.xml.pgp" }, ledger.Event{Status: "LOST"}, false, "The card went into another file (later.xml.pgp) since."},
	} {
		m, extra := richNight(t)
		m.sealed[67].State = tt.file
		m.left = map[int64]int64{68: tt.event.ID}
		e := tt.event
		e.ID, e.FileID, e.At, e.Dispute = 7777, 68, started, "it is not so"
		o := m.orders[68][0]
		o.BureauFileID = 68
		if tt.order != nil {
			tt.order(&o)
			e.UID = o.UID
		}
		g := &gathering{Reconciliation: &Reconciliation{}, ctx: t.Context(), ledger: m, extra: extra, books: books{byID: map[int64]*ledger.BureauFile{68: &m.sealed[67]}}}
		if err := g.needDispute(&e, map[bool]*ledger.Shipment{true: {Order: o}}[tt.order != nil]); err != nil {
			t.Fatal(err)
		}
		need := g.NeedsPerson[0]
		want := []string{`reemboss settle 7777 --keep --reason "…"`}
		if tt.take {
			want = append(want, `reemboss settle 7777 --take --reason "…"`)
		}
		if got := need.Choices(); !slices.Equal(got, want) || !strings.Contains(need.Why, tt.says) {
			t.Errorf("%s: %q, %s", name, got, need.Why)
		}
		if card := fmt.Sprintf("Card %d (%s, %s) of reemboss_alpha_000068.xml.pgp: LOST", o.EmbossedCardID, o.UID, o.PAN.Masked()); tt.order != nil && !strings.HasPrefix(need.What, card) {
			t.Errorf("%s: %s", name, need.What)
		}
	}
}

func TestWaitSaysWhatIsTrueOfEveryWait(t *testing.T) {
	rec := gatherSmall(t, func(_ *memory, e *Extra) { e.Bureaus["beta"] = Bureau{Name: "Beta Print"} })
	i := slices.IndexFunc(rec.NeedsPerson, func(n Need) bool { return strings.Contains(n.What, "in no file, accepted in run 2026-11-20-001") })
	if i < 0 || rec.NeedsPerson[i].Why != "They are in no file yet; the next run writes one." {
		t.Errorf("%+v", rec.NeedsPerson)
	}
}

// What came late and changed nothing is no news, and what is refused by now did not go to the bureau.
func TestVerdictCountsWhatChanged(t *testing.T) {
	late := gatherRich(t, func(m *memory, _ *Extra) {
		m.events = append(m.events, ledger.ToldEvent{Event: ledger.Event{UID: m.orders[61][0].UID, FileID: 61, Status: "PRODUCED", RunID: runID, Source: ledger.FromBureau}, Order: &ledger.Order{Bureau: "alpha"}})
	})
	if !strings.Contains(late.Verdict, " 178 produced") {
		t.Error(late.Verdict)
	}
	sent := func(state ledger.BureauFileState) string {
		return gatherRich(t, func(m *memory, _ *Extra) {
			i := slices.IndexFunc(m.sealed, func(f ledger.BureauFile) bool { return f.Recipient == "alpha" && f.Sequence == 70 })
			m.sealed[i].State = state
			for k := range m.orders[m.sealed[i].ID][:map[bool]int{false: len(m.orders[m.sealed[i].ID])}[state == ledger.Sent]] {
				m.orders[m.sealed[i].ID][k].State = ledger.PlannedO
			}
		}).Verdict
	}
	for state, files := range map[ledger.BureauFileState]string{ledger.Sent: "in 2 files", ledger.Refused: "in 1 file", ledger.Undecided: "in 1 file"} {
		if v := sent(state); !strings.Contains(v, files) {
			t.Errorf("%s: %s", state, v)
		}
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
