package batch

import (
	"context"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

// settledBooks say of a file whether it is settled: it was delivered, and nobody
// can want its bytes again. In doubt it is not. What they found out they keep, so
// that all of it is of one moment.
type settledBooks struct {
	n        *Night
	now      time.Time
	transit  time.Duration        // the longest of any product
	disputed map[int64]bool       // outgoing files with a disputed event that waits for a person
	outgoing map[int64]bool       // outgoing file → settled
	requests map[int64]bool       // request file → settled
	since    map[string]time.Time // bureau → when its oldest unsettled file left, zero for none
}

func (n *Night) settledBooks(ctx context.Context, now time.Time) (*settledBooks, error) {
	b := &settledBooks{n: n, now: now, disputed: map[int64]bool{}, outgoing: map[int64]bool{}, requests: map[int64]bool{}, since: map[string]time.Time{}}
	for _, p := range n.Config.Products {
		b.transit = max(b.transit, time.Duration(p.TransitDays)*24*time.Hour)
	}
	events, _, err := n.Ledger.Disputes(ctx, 0)
	if err != nil {
		return nil, err
	}
	var uids []string
	for _, e := range events {
		b.disputed[e.FileID] = true
		if e.UID != "" {
			uids = append(uids, e.UID)
		}
	}
	shipments, err := n.Ledger.Shipments(ctx, uids)
	if err != nil {
		return nil, err
	}
	for _, s := range shipments { // the card may have gone into another file since
		b.disputed[s.BureauFileID] = true
	}
	return b, nil
}

// file: the recipient has it, by evidence, or it is VOID; no event of it is
// disputed; and every card that is still in it is at its end, or nothing more of
// it is owed by its bureau (the same rule as for open_files) and the time is over
// in which a second card would be refused because the first may be in the mail.
func (b *settledBooks) file(ctx context.Context, id int64) (bool, error) {
	if settled, known := b.outgoing[id]; known {
		return settled, nil
	}
	f, err := b.n.Ledger.OutgoingFile(ctx, id)
	if err != nil {
		return false, err
	}
	settled, err := b.looked(ctx, &f)
	if err == nil {
		b.outgoing[id] = settled
	}
	return settled, err
}

func (b *settledBooks) looked(ctx context.Context, f *ledger.BureauFile) (bool, error) {
	switch {
	case f.State != ledger.Sent && f.State != ledger.Void, f.State == ledger.Sent && len(f.Evidence) == 0, b.disputed[f.ID]:
		return false, nil
	case config.Reserved(f.Recipient): // nobody answers it
		return true, nil
	}
	states, err := b.n.Ledger.OrderStates(ctx, f.ID)
	if err != nil {
		return false, err
	}
	for state, orders := range states {
		if orders > 0 && !b.over(f, state) {
			return false, nil
		}
	}
	return true, nil
}

// over says that nothing more is to come of a card in that state.
func (b *settledBooks) over(f *ledger.BureauFile, s ledger.OrderState) bool {
	switch s {
	case ledger.Rejected, ledger.Delivered, ledger.Returned, ledger.Lost, ledger.Activated:
		return true
	case ledger.SentO, ledger.Acked, ledger.Produced, ledger.Shipped:
		c, known := b.n.Config.Bureaus[f.Recipient]
		owed := !known || report.Bureau{Acknowledges: c.Acknowledges, SLA: c.SLA}.Awaits(s)
		return !owed && !f.SentAt.IsZero() && b.now.Sub(f.SentAt) >= b.transit
	}
	return false
}

// request: it is answered, no row of it is held, and every card that it asked for is in a settled file.
func (b *settledBooks) request(ctx context.Context, f *ledger.RequestFile) (bool, error) {
	if settled, known := b.requests[f.ID]; known {
		return settled, nil
	}
	settled := f.State == ledger.Answered
	if settled && !f.Extract {
		files, err := b.n.Ledger.FilesOfRequest(ctx, f.ID)
		if err != nil {
			return false, err
		}
		for id := range files {
			if settled = id != 0; settled {
				if settled, err = b.file(ctx, id); err != nil {
					return false, err
				}
			}
			if !settled {
				break
			}
		}
	}
	b.requests[f.ID] = settled
	return settled, nil
}

// returned: it is applied whole, or a person dismissed it, and no event that it
// told is disputed. One with lines that could not be used is kept until all that
// the bureau had when it came is settled: such a line may be the word that is missing.
func (b *settledBooks) returned(ctx context.Context, f *ledger.ReturnFile, disputes map[int64]int64) (bool, error) {
	if f.State != ledger.ReturnApplied && f.State != ledger.ReturnDismissed && f.State != ledger.ReturnRepeated || disputes[f.ID] > 0 {
		return false, nil
	}
	if f.Problems == 0 || f.State == ledger.ReturnDismissed {
		return true, nil
	}
	since, err := b.unsettledSince(ctx, f.Bureau)
	return since.IsZero() || since.After(f.FetchedAt), err
}

// unsettledSince is when the oldest file left that the bureau has, or may have, and that is not settled; zero for none.
func (b *settledBooks) unsettledSince(ctx context.Context, bureau string) (oldest time.Time, err error) {
	if known, done := b.since[bureau]; done {
		return known, nil
	}
	files, err := b.n.Ledger.BureauFiles(ctx, ledger.FileQuery{Brief: true})
	if err != nil {
		return oldest, err
	}
	for _, f := range files {
		left := f.SentAt
		if left.IsZero() {
			left = f.WrittenAt
		}
		if f.Recipient != bureau || left.IsZero() || !oldest.IsZero() && !left.Before(oldest) {
			continue
		}
		settled, err := b.file(ctx, f.ID)
		if err != nil {
			return oldest, err
		}
		if !settled {
			oldest = left
		}
	}
	b.since[bureau] = oldest
	return oldest, nil
}
