package report

import (
	"fmt"
	"slices"

	"reemboss/batch/ledger"
)

// balance sets up every equation of the run. Those that do not hold come first.
func (g *gathering) balance() {
	g.Balances = []Balance{
		equation("rows read = accepted + refused + duplicate + held", Term{"read", g.rowsRead()},
			Term{"accepted", g.Accepted}, Term{"refused", g.Refused}, Term{"duplicate", g.Duplicate}, Term{"held", g.Held}),
		g.acceptedBalance(),
	}
	for _, i := range g.listed {
		for _, e := range g.equations(&g.files[i]) {
			e.ofFile = true
			g.Balances = append(g.Balances, e)
		}
	}
	g.Balances = append(g.Balances, g.wholeBalances()...)
	g.Balances = append(g.Balances, g.settledBalances()...)
	slices.SortStableFunc(g.Balances, func(a, b Balance) int {
		switch {
		case a.Holds == b.Holds:
			return 0
		case b.Holds:
			return -1
		}
		return 1
	})
}

// acceptedBalance names what was cancelled only where something was.
func (g *gathering) acceptedBalance() Balance {
	name, right := "accepted = written + waiting", []Term{{"written", g.Written}, {"waiting", g.Waiting}}
	if g.Cancelled > 0 {
		name, right = name+" + cancelled", append(right, Term{"cancelled", g.Cancelled})
	}
	return equation(name, Term{"accepted", g.Accepted}, right...)
}

// settledBalances are the equations of the files that are not listed one by
// one, added up: each of them holds, or it would be listed.
func (g *gathering) settledBalances() []Balance {
	if len(g.settled) == 0 {
		return nil
	}
	var records, orders, moved, sent, acknowledged, rejected, open int64
	for _, i := range g.settled {
		f := &g.files[i]
		b := g.balances[f.ID]
		records, orders, moved = records+f.Records, orders+b.Orders, moved+b.Moved
		sent += f.Records - b.Moved
		acknowledged, rejected, open = acknowledged+b.Acknowledged, rejected+b.Rejected, open+outstanding(f, b)
	}
	name := fmt.Sprintf("all %s: ", plural(int64(len(g.settled)), "settled file"))
	list := []Balance{
		equation(name+"sent = acknowledged + rejected + outstanding", Term{"sent", sent}, Term{"acknowledged", acknowledged}, Term{"rejected", rejected}, Term{"outstanding", open}),
	}
	right := []Term{{"orders", orders}}
	if moved > 0 {
		right = append(right, Term{"moved to later files", moved})
	}
	return append(list, equation(name+"records in the files = orders in them", Term{"records", records}, right...))
}

func equation(name string, left Term, right ...Term) Balance {
	b := Balance{Name: name, Left: left, Right: right}
	b.Holds = left.N == b.Sum()
	return b
}

// rowsRead is what the readers counted, file by file, before any row was
// decided: the side of the balance that does not come from the answers. A
// file that is not decided to its end yet (the run was stopped), or that an
// earlier run decided in part, counts with the answers it has.
func (g *gathering) rowsRead() int64 {
	var rows int64
	for _, f := range g.RequestFiles {
		switch {
		case f.Code != "": // refused whole, an extract too: one answer, row 0
			rows++
		case f.Kind != "requests":
		case f.ofRun && (f.State == ledger.DecidedF || f.State == ledger.Answered):
			rows += f.Rows
		default:
			rows += f.answers
		}
	}
	return rows
}

// broken are the balances that do not hold.
func (r *Reconciliation) broken() []Balance {
	var list []Balance
	for _, b := range r.Balances {
		if !b.Holds {
			list = append(list, b)
		}
	}
	return list
}

// String is the balance as an equation with its numbers.
func (b Balance) String() string {
	text := thousands(b.Left.N) + " " + b.Left.Name
	for i, t := range b.Right {
		sign := " + "
		if i == 0 {
			sign = " = "
			if !b.Holds {
				sign = " ≠ "
			}
		}
		text += sign + thousands(t.N) + " " + t.Name
	}
	return text
}
