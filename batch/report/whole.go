package report

import (
	"encoding/json"
	"fmt"

	"reemboss/batch/ledger"
)

// This file compares the ledger as a whole with itself and with what earlier
// nights told, so that a row which was deleted or changed since is seen though
// no file and no run of its own misses it.

// toldNight is a finished night with the summary that it ended with.
type toldNight struct {
	run ledger.Run
	NightTold
	known bool // the summary has its numbers
	now   ledger.OutcomeCounts
}

// readWhole counts all orders and files, and the answers of the nights before
// this one that are finished. This one has its own balances, and a report that is
// written again after its end says the same.
func (g *gathering) readWhole() (err error) {
	if g.totals, err = g.ledger.Totals(g.ctx); err != nil {
		return err
	}
	runs, err := g.ledger.LastRuns(g.ctx, nightsShown+1)
	if err != nil {
		return err
	}
	first := firstNight(g.run.Date)
	for _, r := range runs {
		if g.earlier(r.ID) && !r.EndedAt.IsZero() && r.Date >= first {
			g.told = append(g.told, newToldNight(r))
		}
	}
	if len(g.told) == 0 {
		return nil
	}
	since := g.told[0].run.StartedAt
	for _, n := range g.told { // not the oldest one's: its clock may have been set back since
		if n.run.StartedAt.Before(since) {
			since = n.run.StartedAt
		}
	}
	counts, err := g.ledger.NightCounts(g.ctx, since)
	for i := range g.told {
		g.told[i].now = counts[g.told[i].run.ID]
	}
	return err
}

// newToldNight reads a summary. What an older version wrote differently has no
// numbers here; its exit code is known all the same.
func newToldNight(r ledger.Run) toldNight {
	var told struct {
		NightTold
		Events []EventCount `json:"events"`
	}
	err := json.Unmarshal(r.Summary, &told)
	t := toldNight{run: r, NightTold: told.NightTold, known: err == nil && told.RunID == r.ID}
	t.RunID, t.Date, t.ExitCode = r.ID, r.Date, r.Exit
	t.countAnswers(told.Events)
	return t
}

// wholeBalances are the equations of the whole ledger.
func (g *gathering) wholeBalances() []Balance {
	t := g.totals
	name, right := "all orders = orders in bureau files + orders in no file", []Term{{"in bureau files", t.InFiles}, {"in no file", t.InNone}}
	if t.Cancelled > 0 {
		name, right = name+" + cancelled ones", append(right, Term{"cancelled", t.Cancelled})
	}
	list := []Balance{
		equation(name, Term{"orders", t.Orders}, right...),
		equation("bureau files whose state is not the last step of their history = 0", Term{"files of another state", t.StateStrangers}, Term{"allowed", 0}),
	}
	var nights, told int64
	var now ledger.OutcomeCounts
	var changed []Balance
	for i := range g.told {
		n := &g.told[i]
		if !n.known {
			continue
		}
		changed = append(changed, n.changed()...)
		nights, told = nights+1, told+n.Read
		now.Accepted, now.Refused, now.Duplicate, now.Held = now.Accepted+n.now.Accepted, now.Refused+n.now.Refused, now.Duplicate+n.now.Duplicate, now.Held+n.now.Held
	}
	if nights == 0 || len(changed) > 0 {
		return append(list, changed...)
	}
	return append(list, equation(plural(nights, "finished night")+" of the last 30 days: rows told then = rows in the ledger now", Term{"told", told},
		Term{"accepted", now.Accepted}, Term{"refused", now.Refused}, Term{"duplicate", now.Duplicate}, Term{"held", now.Held}))
}

// changed are the counts of the night that the ledger no longer gives.
func (n *toldNight) changed() (list []Balance) {
	for _, c := range []struct {
		rows      string
		told, now int64
	}{
		{"rows", n.Read, n.now.Read}, {"accepted rows", n.Accepted, n.now.Accepted}, {"refused rows", n.Refused, n.now.Refused},
		{"duplicate rows", n.Duplicate, n.now.Duplicate}, {"held rows", n.Held, n.now.Held},
	} {
		e := equation(fmt.Sprintf("night %s: %s told then = %s in the ledger now", n.RunID, c.rows, c.rows), Term{c.rows + " told then", c.told}, Term{"in the ledger now", c.now})
		if !e.Holds {
			list = append(list, e)
		}
	}
	return list
}
