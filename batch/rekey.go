package batch

import (
	"context"
	"fmt"
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

// A rotation in the background of a run: the rows of the ledger come under the
// primary keys of the keyset a piece at a time, after the files have left, in a
// bounded part of each run. Larger pieces are quicker (the index of keyed hashes
// is touched everywhere by each) and keep the ledger's writer longer: one takes a
// few seconds.
const (
	rekeyRows = 20_000
	rekeyTime = 30 * time.Second
)

// rekey goes on with a rotation, if there is one, until it is finished or this
// run's time for it is over. What goes wrong with it is told and does not end the
// night: everything opens and is found under the former keys as well.
func (n *Night) rekey(ctx context.Context) error {
	n.at("stage/rekey")
	started := n.Now()
	var first, now ledger.RekeyProgress
	for pieces := 0; ; pieces++ {
		n.at("rekey/piece")
		p, err := n.Ledger.Rekey(ctx, n.piece, n.entry("", "", ""))
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			n.need(report.Need{What: "card numbers could not be brought under the new keys", Why: err.Error() + ". Everything still opens under the former keys: keep them. The next run goes on.", Command: "reemboss run"})
			return nil
		}
		n.at("rekey/pieced")
		if now = p; pieces == 0 {
			first = p
		}
		n.progress("rekey", p.Cards.Done+p.Orders.Done, p.Cards.Done+p.Orders.Done+p.Left())
		if p.Ended || n.Now().Sub(started) >= rekeyTime {
			break
		}
	}
	if first.Finished && first.Cards.Done+first.Orders.Done == 0 {
		return nil // no rotation
	}
	n.tellRotation(now)
	return n.Ledger.RecordStage(ctx, ledger.Stage{RunID: n.run.ID, Name: "rekey", StartedAt: started, EndedAt: n.Now(), Items: now.Cards.Done + now.Orders.Done})
}

// tellRotation puts where a rotation stands into the report and the log.
func (n *Night) tellRotation(p ledger.RekeyProgress) {
	switch {
	case p.Finished:
		n.note("every card number is under the new keys (%d cards, %d orders were sealed anew); the former keys stay in the keyset until keys retire takes them out, because older copies of the ledger need them", p.Cards.Done, p.Orders.Done)
	case p.Ended && p.Unreadable > 0:
		n.need(report.Need{What: fmt.Sprintf("%d sealed card numbers do not open under any key", p.Unreadable),
			Why: "They stay as they are; the rotation does not finish while they are there. Put the keyset back that has their key, or find what damaged the ledger.", Command: "reemboss run"})
	default:
		n.note("card numbers are being sealed anew: %d left; the next run goes on", p.Left())
	}
}
