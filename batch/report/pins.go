package report

import (
	"fmt"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

// This file counts new PINs: those that others must make, those that went into a
// PIN file in this run, and those that are promised and in none. A PIN itself,
// its block and its PVV are in no report.

// countPINs reads what the orders say and what is in files.
func (g *gathering) countPINs() error {
	promised, err := g.ledger.NewPINs(g.ctx, g.run.ID)
	if err != nil {
		return err
	}
	g.PINsDue = promised[ledger.PINDue]
	queues, err := g.ledger.Queues(g.ctx)
	if err != nil {
		return err
	}
	for _, q := range queues {
		if q.Recipient == config.PINRecipient {
			g.PINsWaiting += q.Orders
		}
	}
	for i := range g.files {
		switch f := &g.files[i]; {
		case f.Recipient != config.PINRecipient:
		case f.State == ledger.Planned:
			g.PINsWaiting += f.Records
		case g.writtenHere(f):
			g.PINsWritten += f.Records
		}
	}
	return nil
}

// lookAtPINs says what somebody else must see to; each row's result says it too.
func (g *gathering) lookAtPINs() {
	if g.PINsDue > 0 {
		g.Notes = append(g.Notes, fmt.Sprintf("%s due: nobody here makes it (pins.backend is none), and the result of each row says so.", pluralIs(g.PINsDue, "new PIN")))
	}
}

func pluralIs(n int64, what string) string {
	if n == 1 {
		return plural(n, what) + " is"
	}
	return plural(n, what) + " are"
}

// needPINs asks about PINs of cards that are in a bureau's file.
func (g *gathering) needPINs() {
	if g.PINsWaiting > 0 {
		g.need(fmt.Sprintf("%s in no PIN file", plural(g.PINsWaiting, "new PIN")),
			why(g.extra.Bureaus[config.PINRecipient].Waits, "Their cards are in a bureau's file; the next run makes them."), "reemboss run")
	}
}
