package report

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// maxShown is how many refusals page and workbook can show; refusals.csv has all.
const maxShown = 5_000

// reportingStage is the stage that writes the reports.
const reportingStage = "reconcile"

// Gather computes a run's reconciliation from the ledger. It writes nothing.
func Gather(ctx context.Context, l Ledger, runID string, extra Extra) (*Reconciliation, error) {
	g, err := gather(ctx, l, runID, extra, sinks{})
	if err != nil {
		return nil, fmt.Errorf("reconcile run %s: %w", runID, err)
	}
	return g.Reconciliation, nil
}

// sinks take each answer and each record on the way, so that the lists of a
// report come from the same walk as its counts. A nil func takes nothing.
type sinks struct {
	begin  func(ledger.Run, []*ledger.BureauFile) // the bureau files whose bytes were made in this run
	told   func(*ledger.Told) error
	record func(*ledger.BureauFile, *ledger.Order) error
	file   func(*ledger.BureauFile) error // after its records
	event  func(*ledger.ToldEvent) error
	// returned takes each return file of the run (with no problem), and each problem after its file.
	returned func(*ledger.ReturnFile, *ledger.Problem) error
}

// gathering is the reconciliation in the making, with what its parts share.
type gathering struct {
	*Reconciliation
	ctx     context.Context
	ledger  Ledger
	run     ledger.Run
	extra   Extra
	later   map[string]bool // runs that began after it
	sinks   sinks
	tallies []ledger.Tally
	books
	product     productCounts
	written     map[string]int64    // by bureau, accepted in this run
	cancelled   map[string]int64    // likewise
	unusable    map[int64]int64     // lines that could not be used, by return file
	returnFiles []ledger.ReturnFile // of this run
	answered    map[string]int64    // what bureaus told in this run, by status
	totals      ledger.Totals
	told        []toldNight // newest first
}

func gather(ctx context.Context, l Ledger, runID string, extra Extra, s sinks) (*gathering, error) {
	run, err := l.Run(ctx, runID)
	if err != nil {
		return nil, err
	}
	later, err := laterRuns(ctx, l, runID)
	if err != nil {
		return nil, err
	}
	g := &gathering{ctx: ctx, ledger: l, run: run, later: later, extra: extra, sinks: s, Reconciliation: &Reconciliation{
		RunID: run.ID, Date: run.Date, StartedAt: run.StartedAt, Host: run.Host, Version: run.Version, Starts: run.Starts,
	}}
	for _, step := range []func() error{
		g.countAnswers, g.countOrders, g.countCancelled, g.readBureauFiles, g.countPINs, g.readRequestFiles, g.walkAnswers, g.countProducts, g.walkRecords,
		g.walkEvents, g.readReturns, g.readStages, g.listFiles, g.listHolds, g.readWhole,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	g.CarriedOver.Before = g.CarriedOver.Written + g.CarriedOver.Waiting + g.CarriedOver.Cancelled
	g.age()
	g.countBureaus()
	g.balance()
	g.look()
	if err := g.judge(); err != nil {
		return nil, err
	}
	if extra.Mask != nil {
		g.hideNumbers(extra.Mask)
	}
	g.tellNights()
	g.fillEmpty()
	return g, nil
}

// countAnswers counts what became of the rows.
func (g *gathering) countAnswers() (err error) {
	if g.tallies, err = g.ledger.Tallies(g.ctx, g.run.ID); err != nil {
		return err
	}
	var all Outcomes
	reasons, codes := map[ReasonCount]*Outcomes{}, map[CodeCount]int64{}
	for _, t := range g.tallies {
		all.add(t.Outcome, t.N)
		at(reasons, ReasonCount{Request: string(t.Kind), Reason: t.Reason, Name: g.reasonName(t)}).add(t.Outcome, t.N)
		codes[CodeCount{Code: t.Code, Outcome: t.Outcome}] += t.N
	}
	g.Read, g.Accepted, g.Refused, g.Duplicate, g.Held = all.Read, all.Accepted, all.Refused, all.Duplicate, all.Held
	for key, o := range reasons {
		key.Outcomes = *o
		g.ByReason = append(g.ByReason, key)
	}
	slices.SortFunc(g.ByReason, func(a, b ReasonCount) int {
		return cmp.Or(cmp.Compare(a.Request, b.Request), cmp.Compare(a.Reason, b.Reason))
	})
	for key, n := range codes {
		key.N = n
		g.ByCode = append(g.ByCode, key)
	}
	slices.SortFunc(g.ByCode, func(a, b CodeCount) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Outcome, b.Outcome))
	})
	return nil
}

// at gives the entry of m at key, made when it is not there.
func at[K comparable, V any](m map[K]*V, key K) *V {
	if m[key] == nil {
		m[key] = new(V)
	}
	return m[key]
}

func (g *gathering) reasonName(t ledger.Tally) string {
	switch {
	case t.Kind == "":
		return "file as a whole"
	case t.Reason != 0:
		return g.extra.Reasons[t.Reason].Name
	case t.Kind == "reemboss":
		return "re-embossing"
	}
	return "reason not understood"
}

// countOrders counts what became of the accepted rows, from the orders and
// not from the answers: the two sides of a balance must not come from one number.
func (g *gathering) countOrders() (err error) {
	if g.written, err = g.ledger.WrittenOf(g.ctx, g.run.ID); err != nil {
		return err
	}
	for _, n := range g.written {
		g.Written += n
	}
	waits, err := g.ledger.Waits(g.ctx)
	if err != nil {
		return err
	}
	for _, w := range waits {
		if g.later[w.RunID] || w.Orders == 0 {
			continue // accepted after this run, when its report is written again
		}
		if w.RunID == g.run.ID {
			g.Waiting += w.Orders
		} else {
			g.CarriedOver.Waiting += w.Orders
		}
		g.Waits = append(g.Waits, Wait{RunID: w.RunID, Bureau: w.Bureau, Orders: w.Orders, Hold: w.Hold, Reason: g.waitsFor(w.Bureau)})
	}
	slices.SortFunc(g.Waits, func(a, b Wait) int {
		return cmp.Or(cmp.Compare(a.Bureau, b.Bureau), cmp.Compare(a.RunID, b.RunID), cmp.Compare(a.Hold, b.Hold))
	})
	return nil
}

// readRequestFiles lists what was taken from the inbox.
func (g *gathering) readRequestFiles() error {
	files, err := g.ledger.RunFiles(g.ctx, g.run.ID)
	if err != nil {
		return err
	}
	slices.SortFunc(files, func(a, b ledger.RequestFile) int { return cmp.Compare(a.ID, b.ID) })
	for _, f := range files {
		kind := "requests"
		switch {
		case f.Extract:
			kind = "cards"
		case f.Approval != "":
			kind = "approval"
		}
		g.RequestFiles = append(g.RequestFiles, RequestFile{
			Name: f.Name, Kind: kind, State: f.State, SHA256: f.SHA256, Code: f.Code, Detail: f.Detail, Rows: f.Rows, Final: f.Final, SignedBy: f.Submitter, Notes: f.Notes,
			id: f.ID, ofRun: f.RunID == g.run.ID,
		})
	}
	return nil
}

// walkAnswers goes once through the run's answers: counts by file and product
// and, for the lists, the first refusals and the sink.
func (g *gathering) walkAnswers() error {
	index := map[int64]*RequestFile{}
	for i := range g.RequestFiles {
		index[g.RequestFiles[i].id] = &g.RequestFiles[i]
	}
	count := func(a *ledger.Answer) {
		if f := index[a.FileID]; f != nil {
			f.count(a.Outcome)
		}
	}
	if g.sinks.told == nil { // counts alone need neither orders nor, but for those not accepted, cards
		return g.ledger.EachAnswer(g.ctx, g.run.ID, 0, func(a *ledger.Answer) error {
			count(a)
			return g.product.answer(g.ctx, g.ledger, a)
		})
	}
	return g.ledger.EachTold(g.ctx, g.run.ID, 0, func(t *ledger.Told) error {
		count(&t.Answer)
		g.product.told(t)
		if t.Outcome != rules.Accepted && len(g.refusals) < maxShown {
			g.refusals = append(g.refusals, refusalOf(t))
		}
		return g.sinks.told(t)
	})
}

func (f *RequestFile) count(o rules.Outcome) {
	f.answers++
	switch o {
	case rules.Accepted:
		f.Accepted++
	case rules.Refused:
		f.Refused++
	case rules.Duplicate:
		f.Duplicate++
	case rules.Held:
		f.Held++
	}
}

// walkRecords goes once through the records of the files written in this run:
// what was carried over, and the sinks.
func (g *gathering) walkRecords() error {
	for _, f := range g.filesWritten() {
		err := g.ledger.EachFileOrder(g.ctx, f.ID, func(o *ledger.Order) error {
			if g.earlier(o.RunID) {
				g.CarriedOver.Written++
			}
			if g.sinks.record == nil {
				return nil
			}
			return g.sinks.record(f, o)
		})
		if err != nil {
			return fmt.Errorf("read the records of %s: %w", f.Name, err)
		}
		if g.sinks.file != nil {
			if err := g.sinks.file(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// readStages adds up the stages over all starts of the run, in the order in which they first began.
func (g *gathering) readStages() error {
	stages, err := g.ledger.Stages(g.ctx, g.run.ID)
	if err != nil {
		return err
	}
	slices.SortStableFunc(stages, func(a, b ledger.Stage) int { return a.StartedAt.Compare(b.StartedAt) })
	for _, s := range stages {
		if s.Name == reportingStage {
			continue
		}
		i := slices.IndexFunc(g.Stages, func(known Stage) bool { return known.Name == s.Name })
		if i < 0 {
			i = len(g.Stages)
			g.Stages = append(g.Stages, Stage{Name: s.Name})
		}
		g.Stages[i].Seconds += max(0, s.EndedAt.Sub(s.StartedAt)).Round(time.Millisecond).Seconds() // a clock may have been set back meanwhile
		g.Stages[i].Items += s.Items
	}
	return nil
}

// countBureaus joins what is known of each bureau.
func (g *gathering) countBureaus() {
	bureaus := map[string]*BureauCount{}
	for name := range g.extra.Bureaus {
		if !config.Reserved(name) {
			at(bureaus, name)
		}
	}
	for _, t := range g.tallies {
		if t.Outcome == rules.Accepted {
			at(bureaus, t.Bureau).Accepted += t.N
		}
	}
	for bureau, n := range g.written {
		at(bureaus, bureau).Written += n
	}
	for bureau, n := range g.cancelled {
		at(bureaus, bureau).Cancelled += n
	}
	for _, w := range g.Waits {
		at(bureaus, w.Bureau).Waiting += w.Orders
	}
	for i := range g.files {
		if f := &g.files[i]; !config.Reserved(f.Recipient) && f.SentRunID == g.run.ID && sentOnce(f) {
			at(bureaus, f.Recipient).Sent += f.Records
		}
	}
	for _, e := range g.Events {
		if e.Disputed {
			continue
		}
		at(bureaus, e.Bureau).Acknowledged += e.Acked
		if e.Status == string(ledger.Rejected) {
			at(bureaus, e.Bureau).Rejected += e.N
		}
	}
	for _, a := range g.Ageing {
		b := at(bureaus, a.Bureau)
		b.Outstanding, b.UnderWay = a.Outstanding, a.UnderWay
	}
	for _, name := range slices.Sorted(maps.Keys(bureaus)) {
		b := bureaus[name]
		b.Bureau, b.Name, b.Acknowledges = name, g.extra.Bureaus[name].Name, g.extra.Bureaus[name].Acknowledges
		g.ByBureau = append(g.ByBureau, *b)
	}
}

// fillEmpty makes empty lists of missing ones: a machine that reads the JSON finds [] and never null.
func (g *gathering) fillEmpty() {
	notNil(&g.Balances)
	notNil(&g.NeedsPerson)
	notNil(&g.Waits)
	notNil(&g.Files)
	notNil(&g.OpenFiles)
	notNil(&g.CardSystemFiles)
	notNil(&g.PINFiles)
	notNil(&g.RequestFiles)
	notNil(&g.ByBureau)
	notNil(&g.ByReason)
	notNil(&g.ByCode)
	notNil(&g.ByProduct)
	notNil(&g.ByState)
	notNil(&g.Returns)
	notNil(&g.Events)
	notNil(&g.Ageing)
	notNil(&g.Nights)
	notNil(&g.Stages)
	notNil(&g.KeyExpiry)
	notNil(&g.Ranges)
	notNil(&g.Warnings)
	notNil(&g.Notes)
}

func notNil[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}
