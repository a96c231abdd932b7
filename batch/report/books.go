package report

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

// This file keeps the books of the bureau files: what each was planned with,
// and where its cards are by the rows of orders and events.

// forgottenDays is how long after it was sent a file from which nothing more
// can be expected (its bureau does not say) still stands among the open ones.
const forgottenDays = 30

// detailDays is how long after it was sent each order of a settled file is
// still compared with its events one by one. Its sums are compared for ever.
const detailDays = 100

// books are the outgoing files of the ledger up to this run, with the balance of each.
type books struct {
	files     []ledger.BureauFile // in the order recipient, number; without their layout
	balances  map[int64]ledger.FileBalance
	byID      map[int64]*ledger.BureauFile
	differing map[int64]int64 // of open and newer files: orders whose state no event explains
	touched   map[int64]bool  // files of which something became known in this run
	settled   []int           // files that are not listed one by one, as indexes
	listed    []int
}

// readBooks reads every outgoing file but those that were planned in one of the later runs.
func readBooks(ctx context.Context, l Ledger, later map[string]bool) (books, error) {
	files, err := l.BureauFiles(ctx, ledger.FileQuery{Brief: true})
	if err != nil {
		return books{}, err
	}
	b := books{byID: map[int64]*ledger.BureauFile{}, differing: map[int64]int64{}, touched: map[int64]bool{}}
	if b.balances, err = l.FileBalances(ctx); err != nil {
		return books{}, fmt.Errorf("count the cards of the bureau files: %w", err)
	}
	for _, f := range files {
		if later[f.RunID] {
			continue // planned after this run, when its report is written again
		}
		b.files = append(b.files, f)
	}
	slices.SortFunc(b.files, func(x, y ledger.BureauFile) int {
		return cmp.Or(cmp.Compare(x.Recipient, y.Recipient), cmp.Compare(x.Sequence, y.Sequence))
	})
	for i := range b.files {
		b.byID[b.files[i].ID] = &b.files[i]
	}
	return b, nil
}

// readBureauFiles reads the books and tells the sinks which files were made in this run.
func (g *gathering) readBureauFiles() (err error) {
	if g.books, err = readBooks(g.ctx, g.ledger, g.later); err != nil {
		return err
	}
	if g.sinks.begin != nil {
		g.sinks.begin(g.run, g.filesWritten())
	}
	return nil
}

// AllFiles gives every bureau file of the ledger with its balance, in the
// order of bureau and number.
func AllFiles(ctx context.Context, l Ledger) ([]BureauFile, error) {
	b, err := readBooks(ctx, l, nil)
	if err != nil {
		return nil, err
	}
	list := []BureauFile{}
	for i := range b.files {
		if f := &b.files[i]; !config.Reserved(f.Recipient) {
			list = append(list, b.show(f))
		}
	}
	return list, nil
}

// sentOnce says that the recipient has, or had, the file: it is SENT, or was
// and is refused, cancelled or on its way again.
func sentOnce(f *ledger.BureauFile) bool {
	return f.State == ledger.Sent || f.State == ledger.Refused || !f.SentAt.IsZero()
}

// outstanding are the cards of a file that the bureau has not answered: while
// a refused one is sent again, also those that wait for it.
func outstanding(f *ledger.BureauFile, b ledger.FileBalance) int64 {
	switch f.State {
	case ledger.Sent, ledger.Refused, ledger.Void:
		return b.Outstanding
	}
	return b.ByState[ledger.SentO] + b.ByState[ledger.PlannedO]
}

// show gives a file with its balance. Sent is what the plan of the file says,
// the rest what events and orders say: the sides must agree. A card system
// file and a PIN file have no orders of their own, and nobody answers them.
func (b *books) show(f *ledger.BureauFile) BureauFile {
	shown := BureauFile{
		Bureau: f.Recipient, Name: f.Name, Sequence: f.Sequence, Records: f.Records, Size: f.Size, SHA256: f.SHA256, State: f.State, RunID: f.RunID, Error: f.LastError,
	}
	if !f.SentAt.IsZero() {
		at := f.SentAt.UTC()
		shown.SentAt = &at
	}
	if config.Reserved(f.Recipient) {
		shown.Balanced = true
		if f.State == ledger.Sent {
			shown.Sent, shown.Outstanding = f.Records, f.Records
		}
		return shown
	}
	balance := b.balances[f.ID]
	shown.Moved, shown.ByState = balance.Moved, balance.ByState
	if sentOnce(f) {
		shown.Sent = f.Records
		if f.State == ledger.Void {
			shown.Sent -= balance.Moved
		}
		shown.Acknowledged, shown.Rejected, shown.Outstanding = balance.Acknowledged, balance.Rejected, outstanding(f, balance)
	}
	shown.Balanced = !slices.ContainsFunc(b.equations(f), func(e Balance) bool { return !e.Holds })
	return shown
}

// answeredStates are those of an order that the bureau answered or somebody else did.
var answeredStates = []ledger.OrderState{
	ledger.Acked, ledger.Rejected, ledger.Produced, ledger.Shipped, ledger.Delivered, ledger.Returned, ledger.Lost, ledger.Activated,
}

// equations are those of one bureau file. The last ones compare orders with
// events in detail and are there only when they do not hold.
func (b *books) equations(f *ledger.BureauFile) []Balance {
	balance := b.balances[f.ID]
	var list []Balance
	if sentOnce(f) {
		left, name := Term{"sent", f.Records}, ": sent = acknowledged + rejected + outstanding"
		right := []Term{{"acknowledged", balance.Acknowledged}, {"rejected", balance.Rejected}, {"outstanding", outstanding(f, balance)}}
		if f.State == ledger.Void {
			left.Name, name = "records", ": records = moved to later files + acknowledged + rejected + outstanding"
			right = append([]Term{{"moved to later files", balance.Moved}}, right...)
		}
		list = append(list, equation(f.Name+name, left, right...))
	}
	name, right := ": records in the file = orders in it", []Term{{"orders", balance.Orders}}
	if balance.Moved > 0 {
		name, right = name+" + moved to later files", append(right, Term{"moved to later files", balance.Moved})
	}
	list = append(list, equation(f.Name+name, Term{"records", f.Records}, right...))
	return append(list, contradictions(f, balance, b.differing[f.ID])...)
}

// contradictions are equations between the postings of events and the states
// of orders that do not hold: a state that no event explains, an event that is
// gone. The orders one by one (differing) are looked at in open and newer files only.
func contradictions(f *ledger.BureauFile, b ledger.FileBalance, differing int64) []Balance {
	var list []Balance
	add := func(name string, left Term, right ...Term) {
		if e := equation(f.Name+name, left, right...); !e.Holds {
			list = append(list, e)
		}
	}
	var beyond int64
	for _, s := range answeredStates {
		if s != ledger.Rejected {
			beyond += b.ByState[s]
		}
	}
	add(": acknowledged in its events = orders acknowledged or beyond", Term{"acknowledged", b.Acknowledged}, Term{"orders acknowledged or beyond", beyond})
	add(": rejected in its events = rejected orders", Term{"rejected", b.Rejected}, Term{"rejected orders", b.ByState[ledger.Rejected]})
	add(": orders whose state no event explains = 0", Term{"orders whose state no event explains", differing}, Term{"allowed", 0})
	return list
}

// listFiles chooses the files that are listed one by one: those of this run or
// with news in it, those that are not sent or decided, and those whose books do
// not balance, whatever their age; and, apart from them, those of earlier runs of
// which something is still to be heard.
func (g *gathering) listFiles() (err error) {
	for i := range g.files {
		f := &g.files[i]
		open := !config.Reserved(f.Recipient) && g.open(f)
		if !config.Reserved(f.Recipient) && (open || g.touched[f.ID] || g.run.StartedAt.Sub(f.SentAt) < detailDays*24*time.Hour) {
			if g.differing[f.ID], err = g.ledger.Differing(g.ctx, f.ID); err != nil {
				return err
			}
		}
		switch {
		case config.Reserved(f.Recipient):
			if g.ofThisRun(f) || f.State != ledger.Sent && f.State != ledger.Void {
				list := &g.CardSystemFiles
				if f.Recipient == config.PINRecipient {
					list = &g.PINFiles
				}
				*list = append(*list, g.show(f))
			}
			continue
		case g.ofThisRun(f), g.touched[f.ID], f.State != ledger.Sent && f.State != ledger.Void, !g.show(f).Balanced:
			g.listed = append(g.listed, i)
			g.Files = append(g.Files, g.show(f))
		case open:
			g.listed = append(g.listed, i)
			g.OpenFiles = append(g.OpenFiles, g.show(f))
		default:
			g.settled = append(g.settled, i)
		}
		g.countCards(f)
	}
	slices.SortStableFunc(g.ByState, func(a, b StateCount) int {
		return cmp.Or(cmp.Compare(a.Bureau, b.Bureau), cmp.Compare(stateRank(a.State), stateRank(b.State)))
	})
	return nil
}

// countCards adds up what is outstanding and under way in all files, and where the cards of the listed ones are.
func (g *gathering) countCards(f *ledger.BureauFile) {
	by := g.balances[f.ID].ByState
	g.Outstanding += by[ledger.SentO]
	g.UnderWay += by[ledger.Acked] + by[ledger.Produced] + by[ledger.Shipped]
	if n := len(g.listed); n == 0 || &g.files[g.listed[n-1]] != f {
		return
	}
	for state, cards := range by {
		if cards == 0 {
			continue
		}
		i := slices.IndexFunc(g.ByState, func(c StateCount) bool { return c.Bureau == f.Recipient && c.State == state })
		if i < 0 {
			i = len(g.ByState)
			g.ByState = append(g.ByState, StateCount{Bureau: f.Recipient, State: state})
		}
		g.ByState[i].Cards += cards
	}
}

// allStates in the order of a card's way.
var allStates = append([]ledger.OrderState{ledger.PlannedO, ledger.SentO}, answeredStates...)

func stateRank(s ledger.OrderState) int { return slices.Index(allStates, s) }

func (g *gathering) ofThisRun(f *ledger.BureauFile) bool {
	return f.RunID == g.run.ID || f.SentRunID == g.run.ID
}

// open says that a file is not sent or decided, or that something is still to
// be heard of a card in it.
func (g *gathering) open(f *ledger.BureauFile) bool {
	if f.State != ledger.Sent && f.State != ledger.Void {
		return true
	}
	fresh := g.run.StartedAt.Sub(f.SentAt) < forgottenDays*24*time.Hour
	for state, n := range g.balances[f.ID].ByState {
		if n > 0 && (stateOpen(state) && fresh || g.awaited(f.Recipient, state)) {
			return true
		}
	}
	return false
}

func stateOpen(s ledger.OrderState) bool {
	return s == ledger.PlannedO || s == ledger.SentO || s == ledger.Acked || s == ledger.Produced || s == ledger.Shipped
}

// awaited says whether the bureau is to tell more of a card in this state: by
// its configuration, or always where there is none.
func (g *gathering) awaited(name string, s ledger.OrderState) bool {
	b, known := g.extra.Bureaus[name]
	return stateOpen(s) && (!known || b.Awaits(s))
}

// Awaits says whether the bureau owes word of a card in this state.
func (b Bureau) Awaits(s ledger.OrderState) bool {
	switch s {
	case ledger.PlannedO:
		return true
	case ledger.SentO:
		return b.Acknowledges
	case ledger.Acked, ledger.Produced:
		return b.SLA.Ship > 0 || b.SLA.Close > 0
	case ledger.Shipped:
		return b.SLA.Close > 0
	}
	return false
}

// writtenHere says that the file's bytes were made in this run.
func (g *gathering) writtenHere(f *ledger.BureauFile) bool {
	if f.State == ledger.Planned || f.State == ledger.Void && f.WrittenAt.IsZero() {
		return false
	}
	return f.RunID == g.run.ID || !f.WrittenAt.Before(g.run.StartedAt) && (g.run.EndedAt.IsZero() || !f.WrittenAt.After(g.run.EndedAt))
}

// filesWritten are the bureau files whose bytes were made in this run.
func (g *gathering) filesWritten() []*ledger.BureauFile {
	var files []*ledger.BureauFile
	for i := range g.files {
		if f := &g.files[i]; !config.Reserved(f.Recipient) && g.writtenHere(f) {
			files = append(files, f)
		}
	}
	return files
}
