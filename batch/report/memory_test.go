package report

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// memory is a ledger in memory: only what reports read, with hooks for what a test changes.
type memory struct {
	run       ledger.Run
	earlier   []ledger.Run // oldest first
	later     []ledger.Run // than run, likewise
	stages    []ledger.Stage
	files     []ledger.RequestFile
	sealed    []ledger.BureauFile
	told      iter.Seq[*ledger.Told]
	orders    map[int64][]ledger.Order // by bureau file, of earlier runs too
	events    []ledger.ToldEvent       // of orders and (without one) of files
	returns   []ledger.ReturnFile
	problems  []ledger.Problem
	cards     map[int64]*ledger.Known
	waits     []ledger.Waiting
	pins      map[ledger.NewPIN]int64
	queues    []ledger.Queue
	left      map[int64]int64 // file → cards that left it and wait
	written   map[string]int64
	cancelled map[string]int64
	holds     []ledger.Hold
	asked     map[int64][]ledger.HoldTally
	moved     map[int64]int64                  // by bureau file
	steps     map[int64]ledger.BureauFileState // the last one of a file's history, where it is not its state
	counts    map[string]ledger.OutcomeCounts  // by finished run
}

func (m *memory) Run(_ context.Context, id string) (ledger.Run, error) {
	if id != m.run.ID {
		return ledger.Run{}, ledger.ErrNotFound
	}
	return m.run, nil
}
func (m *memory) LastRuns(_ context.Context, limit int) ([]ledger.Run, error) {
	list := append(append(slices.Clone(m.earlier), m.run), m.later...)
	slices.Reverse(list)
	return list[:min(limit, len(list))], nil
}
func (m *memory) Stages(context.Context, string) ([]ledger.Stage, error) { return m.stages, nil }
func (m *memory) RunFiles(context.Context, string) ([]ledger.RequestFile, error) {
	return m.files, nil
}

func (m *memory) BureauFiles(_ context.Context, q ledger.FileQuery) ([]ledger.BureauFile, error) {
	var list []ledger.BureauFile
	for _, f := range m.sealed {
		state := len(q.States) == 0
		for _, s := range q.States {
			state = state || s == f.State
		}
		if state && (q.RunID == "" || f.RunID == q.RunID || f.SentRunID == q.RunID) {
			list = append(list, f)
		}
	}
	return list, nil
}

func (m *memory) Restorations(context.Context) ([]ledger.Restoration, error) { return nil, nil }

func (m *memory) AskedSince(context.Context, int64) (cards, first int64, err error) { return 0, 0, nil }
func (m *memory) OrderStates(context.Context, int64) (map[ledger.OrderState]int64, error) {
	return nil, nil
}

func (m *memory) EachFileOrder(_ context.Context, id int64, fn func(*ledger.Order) error) error {
	for _, o := range m.orders[id] {
		if err := fn(&o); err != nil {
			return err
		}
	}
	return nil
}

// FileBalances counts as the promise says: postings from events, the rest from orders.
func (m *memory) FileBalances(context.Context) (map[int64]ledger.FileBalance, error) {
	balances := map[int64]ledger.FileBalance{}
	for _, f := range m.sealed {
		if config.Reserved(f.Recipient) {
			continue
		}
		b := ledger.FileBalance{FileID: f.ID, Records: f.Records, Moved: m.moved[f.ID], ByState: map[ledger.OrderState]int64{}}
		for _, o := range m.orders[f.ID] {
			b.Orders++
			b.ByState[o.State]++
			if o.State == ledger.SentO || o.State == ledger.PlannedO && f.State == ledger.Refused {
				b.Outstanding++
			}
		}
		for _, e := range m.events {
			if e.FileID == f.ID {
				b.Acknowledged += int64(e.Acked)
				b.Rejected += int64(e.Rejected)
			}
		}
		balances[f.ID] = b
	}
	return balances, nil
}

func (m *memory) Differing(_ context.Context, id int64) (n int64, err error) {
	newest := map[string]ledger.OrderState{}
	for _, e := range m.events {
		if e.State != "" {
			newest[e.UID] = e.State
		}
	}
	for _, o := range m.orders[id] {
		if s := newest[o.UID]; s != o.State && (s != "" || o.State != ledger.SentO && o.State != ledger.PlannedO) {
			n++
		}
	}
	return n, nil
}

func (m *memory) Totals(context.Context) (t ledger.Totals, err error) {
	for _, orders := range m.orders {
		t.Orders += int64(len(orders))
	}
	for _, w := range m.waits {
		t.Orders += w.Orders
		t.InNone += w.Orders
	}
	for _, f := range m.sealed {
		t.InFiles += int64(len(m.orders[f.ID]))
		if step, ok := m.steps[f.ID]; ok && step != f.State {
			t.StateStrangers++
		}
	}
	return t, nil
}

func (m *memory) NightCounts(context.Context, time.Time) (map[string]ledger.OutcomeCounts, error) {
	return m.counts, nil
}

func (m *memory) DisputesByReturn(context.Context) (map[int64]int64, error) {
	counts := map[int64]int64{}
	for _, e := range m.events {
		if e.Dispute != "" && e.SettledAt.IsZero() {
			counts[e.ReturnID]++
		}
	}
	return counts, nil
}

func (m *memory) FilesAnswered(_ context.Context, run string) (files []int64, err error) {
	for _, e := range m.events {
		if e.UID == "" && e.RunID == run {
			files = append(files, e.FileID)
		}
	}
	return files, nil
}

func (m *memory) FileEvents(_ context.Context, id int64) ([]ledger.Event, error) {
	var list []ledger.Event
	for _, e := range m.events {
		if e.UID == "" && e.FileID == id {
			list = append(list, e.Event)
		}
	}
	return list, nil
}

func (m *memory) ReturnFiles(_ context.Context, q ledger.ReturnQuery) ([]ledger.ReturnFile, error) {
	var list []ledger.ReturnFile
	for _, f := range m.returns {
		if (q.RunID == "" || f.RunID == q.RunID) && (len(q.States) == 0 || slices.Contains(q.States, f.State)) {
			list = append(list, f)
		}
	}
	return list, nil
}

func (m *memory) EachProblem(_ context.Context, run string, fn func(*ledger.Problem, *ledger.ReturnFile) error) error {
	for _, p := range m.problems {
		for _, f := range m.returns {
			if f.ID == p.ReturnID && f.RunID == run {
				if err := fn(&p, &f); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (m *memory) EachEvent(_ context.Context, run string, fn func(*ledger.ToldEvent) error) error {
	for _, e := range m.events {
		if e.UID != "" && e.RunID == run {
			if err := fn(&e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *memory) EventTallies(_ context.Context, run string) ([]ledger.EventTally, error) {
	counts, acked := map[ledger.EventTally]int64{}, map[ledger.EventTally]int64{}
	for _, e := range m.events {
		if e.UID != "" && e.RunID == run {
			key := ledger.EventTally{Bureau: e.Order.Bureau, Status: e.Status, Code: e.Code, Disputed: e.Dispute != ""}
			counts[key]++
			acked[key] += int64(e.Acked)
		}
	}
	var list []ledger.EventTally
	for key, n := range counts {
		key.Acked = acked[key]
		key.N = n
		list = append(list, key)
	}
	return list, nil
}

func (m *memory) EachUnderWay(_ context.Context, states []ledger.OrderState, fn func(*ledger.Order, time.Time) error) error {
	files := slices.Clone(m.sealed)
	slices.SortFunc(files, func(a, b ledger.BureauFile) int { return cmp.Or(a.SentAt.Compare(b.SentAt), cmp.Compare(a.ID, b.ID)) })
	for _, f := range files {
		orders := slices.Clone(m.orders[f.ID])
		slices.SortFunc(orders, func(a, b ledger.Order) int { return strings.Compare(a.UID, b.UID) })
		for _, o := range orders {
			if !slices.Contains(states, o.State) {
				continue
			}
			o.BureauFileID, o.FileName, o.Sequence, o.SentAt, o.Bureau = f.ID, f.Name, f.Sequence, f.SentAt, f.Recipient
			since := f.SentAt
			for _, e := range m.events {
				if e.UID == o.UID && e.State == o.State {
					since = e.At
				}
			}
			if err := fn(&o, since); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *memory) Disputes(_ context.Context, limit int64) (list []ledger.Event, all int64, err error) {
	for _, e := range m.events {
		if e.Dispute == "" || !e.SettledAt.IsZero() {
			continue
		}
		if all++; limit == 0 || all <= limit {
			list = append(list, e.Event)
		}
	}
	return list, all, nil
}

func (m *memory) Shipments(_ context.Context, uids []string) (map[string]*ledger.Shipment, error) {
	found := map[string]*ledger.Shipment{}
	for _, id := range slices.Sorted(maps.Keys(m.orders)) {
		for _, o := range m.orders[id] {
			if slices.Contains(uids, o.UID) {
				found[o.UID] = &ledger.Shipment{Order: o}
			}
		}
	}
	for _, e := range m.events {
		if s := found[e.UID]; s != nil {
			s.Events = append(s.Events, e.Event)
		}
	}
	return found, nil
}

func (m *memory) Cards(_ context.Context, ids []int64) (map[int64]*ledger.Known, error) {
	found := map[int64]*ledger.Known{}
	for _, id := range ids {
		if c := m.cards[id]; c != nil {
			found[id] = c
		}
	}
	return found, nil
}

func (m *memory) EachTold(_ context.Context, _ string, file int64, fn func(*ledger.Told) error) error {
	for t := range m.told {
		if file == 0 || t.FileID == file {
			if err := fn(t); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *memory) EachAnswer(ctx context.Context, run string, file int64, fn func(*ledger.Answer) error) error {
	return m.EachTold(ctx, run, file, func(t *ledger.Told) error { return fn(&t.Answer) })
}

func (m *memory) Tallies(context.Context, string) ([]ledger.Tally, error) {
	counts := map[ledger.Tally]int64{}
	for t := range m.told {
		key := ledger.Tally{Kind: t.Kind, Outcome: t.Outcome, Code: t.Code, Reason: t.Reason}
		if t.Outcome == rules.Accepted {
			key.Product, key.Bureau = t.Order.Product, t.Order.Bureau
		}
		counts[key]++
	}
	var list []ledger.Tally
	for key, n := range counts {
		key.N = n
		list = append(list, key)
	}
	return list, nil
}

func (m *memory) Waits(context.Context) ([]ledger.Waiting, error) { return m.waits, nil }
func (m *memory) NewPINs(context.Context, string) (map[ledger.NewPIN]int64, error) {
	return m.pins, nil
}
func (m *memory) LeftWaiting(_ context.Context, file int64) (int64, error) {
	return m.left[file], nil
}
func (m *memory) Queues(context.Context) ([]ledger.Queue, error) { return m.queues, nil }
func (m *memory) CancelledOf(context.Context, string) (map[string]int64, error) {
	return m.cancelled, nil
}
func (m *memory) Holds(context.Context, ledger.HoldQuery) ([]ledger.Hold, error) { return m.holds, nil }
func (m *memory) HoldTallies(_ context.Context, id int64) ([]ledger.HoldTally, error) {
	return m.asked[id], nil
}
func (m *memory) WrittenOf(context.Context, string) (map[string]int64, error) {
	return m.written, nil
}

// happens adds an event of an order to the books, with what follows from it: the order's state and the postings.
func (m *memory) happens(file int64, at int, e ledger.Event) {
	o := &m.orders[file][at]
	e.ID, e.UID, e.FileID = int64(len(m.events)+1), o.UID, file
	if e.Source == "" {
		e.Source = ledger.FromBureau
	}
	if e.Dispute == "" {
		e.State = ledger.OrderState(e.Status)
		if o.State == ledger.SentO {
			e.Acked = 1
		}
		if e.State == ledger.Rejected {
			e.Acked, e.Rejected = e.Acked-1, 1
		}
		o.State = e.State
	}
	var card *ledger.CardFacts
	if known := m.cards[o.CardID]; known != nil {
		card = &ledger.CardFacts{ID: known.ID, ProgramID: known.ProgramID, AccountID: known.AccountID, CustomerID: known.CustomerID, Status: known.Status}
	}
	order := *o
	for _, f := range m.sealed {
		if f.ID == file {
			order.FileName, order.Bureau, order.Sequence, order.SentAt = f.Name, f.Recipient, f.Sequence, f.SentAt
		}
	}
	m.events = append(m.events, ledger.ToldEvent{Event: e, Order: &order, Card: card})
}
