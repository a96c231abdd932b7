package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"reemboss/batch/ledger"
)

// The headers of the lists of open cards are public promises. age_days are
// days of 24 hours, working_days those of the bureau, both since the card was
// handed over; due and overdue follow what was agreed with the bureau and are
// blank or "no" where nothing is.
var (
	outstandingHeader = []string{"bureau", "file_name", "sequence", "uid", "card_number", "sent_at", "age_days", "working_days", "due", "overdue", "card_id"}
	underWayHeader    = []string{"bureau", "file_name", "sequence", "uid", "card_number", "state", "since", "age_days", "working_days", "expected_delivery", "overdue", "sent_at", "card_id"}
)

// openList is a list of cards that a bureau has, the oldest first.
type openList struct {
	name   string
	words  string // what is listed
	header []string
	states []ledger.OrderState
	cells  func(o *ledger.Order, since time.Time, a fileAge) []string
}

var openLists = []openList{
	{outstandingName, "sent and not answered", outstandingHeader, []ledger.OrderState{ledger.SentO}, outstandingCells},
	{underWayName, "answered and not at their end", underWayHeader, []ledger.OrderState{ledger.Acked, ledger.Produced, ledger.Shipped}, underWayCells},
}

// fileAge is what the cards of one file have in common.
type fileAge struct {
	file                                  int64
	sent, age, workingDays, due           string
	lateToAnswer, lateToShip, lateToClose bool
}

func newFileAge(file int64, sent time.Time, b Bureau, now time.Time) fileAge {
	toShip := b.SLA.Ship
	if toShip == 0 {
		toShip = b.SLA.Close
	}
	return fileAge{
		file: file, sent: sent.UTC().Format(time.RFC3339), age: ageDays(sent, now), workingDays: strconv.Itoa(b.workingDays(sent, now)), due: b.due(sent, b.SLA.Acknowledge),
		lateToAnswer: b.late(sent, now, b.SLA.Acknowledge), lateToShip: b.late(sent, now, toShip), lateToClose: b.late(sent, now, b.SLA.Close),
	}
}

// write lists at most limit cards of files sent in or before the run. It gives
// the number listed and, from the balances, how many there are.
func (l openList) write(ctx context.Context, w io.Writer, from Ledger, g *gathering, limit int64) (listed, all int64, err error) {
	t, err := newTable(w, l.header...)
	if err != nil {
		return 0, 0, err
	}
	for i := range g.files {
		if f := &g.files[i]; !g.laterSent(f) {
			for _, s := range l.states {
				all += g.balances[f.ID].ByState[s]
			}
		}
	}
	var age fileAge
	err = from.EachUnderWay(ctx, l.states, func(o *ledger.Order, since time.Time) error {
		if f := g.byID[o.BureauFileID]; f == nil || g.laterSent(f) {
			return nil
		}
		if t.rows >= limit {
			return errEnough
		}
		if age.file != o.BureauFileID {
			age = newFileAge(o.BureauFileID, o.SentAt, g.extra.Bureaus[o.Bureau], g.run.StartedAt)
		}
		return t.add(l.cells(o, since, age))
	})
	if err != nil && !errors.Is(err, errEnough) {
		return t.rows, all, fmt.Errorf("read the cards under way: %w", err)
	}
	return t.rows, all, t.close()
}

func outstandingCells(o *ledger.Order, _ time.Time, a fileAge) []string {
	return append(openCells(o), a.sent, a.age, a.workingDays, a.due, yesNo(a.lateToAnswer), cardID(o))
}

func underWayCells(o *ledger.Order, since time.Time, a fileAge) []string {
	late := a.lateToShip
	if o.State == ledger.Shipped {
		late = a.lateToClose
	}
	return append(openCells(o), string(o.State), since.UTC().Format(time.RFC3339), a.age, a.workingDays, o.ExpectedDelivery, yesNo(late), a.sent, cardID(o))
}

func openCells(o *ledger.Order) []string {
	return []string{Neutral(o.Bureau), Neutral(o.FileName), strconv.FormatInt(o.Sequence, 10), o.UID, o.PAN.Masked()}
}

// cardID is the embossed card's.
func cardID(o *ledger.Order) string { return strconv.FormatInt(o.EmbossedCardID, 10) }

func ageDays(since, now time.Time) string {
	return strconv.Itoa(max(0, int(now.Sub(since)/(24*time.Hour))))
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}
