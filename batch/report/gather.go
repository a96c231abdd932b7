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
	rec, _, err := gather(ctx, l, runID, extra, sinks{})
	if err != nil {
		return nil, fmt.Errorf("reconcile run %s: %w", runID, err)
	}
	return rec, nil
}

// sinks take each answer and each record on the way, so that the lists of a
// report come from the same walk as its counts. A nil func takes nothing.
type sinks struct {
	begin  func(ledger.Run, []*ledger.BureauFile) // the bureau files whose bytes were made in this run
	told   func(*ledger.Told) error
	record func(*ledger.BureauFile, *ledger.Order) error
	file   func(*ledger.BureauFile) error // after its records
}

// gathering is the reconciliation in the making, with what its parts share.
type gathering struct {
	*Reconciliation
	ctx     context.Context
	ledger  Ledger
	run     ledger.Run
	extra   Extra
	sinks   sinks
	tallies []ledger.Tally
	files   []ledger.BureauFile
	product productCounts
	written map[string]int64 // by bureau, accepted in this run
}

func gather(ctx context.Context, l Ledger, runID string, extra Extra, s sinks) (*Reconciliation, []ledger.BureauFile, error) {
	run, err := l.Run(ctx, runID)
	if err != nil {
		return nil, nil, err
	}
	g := &gathering{ctx: ctx, ledger: l, run: run, extra: extra, sinks: s, Reconciliation: &Reconciliation{
		RunID: run.ID, Date: run.Date, StartedAt: run.StartedAt, Host: run.Host, Version: run.Version, Starts: run.Starts,
	}}
	for _, step := range []func() error{g.countAnswers, g.countOrders, g.readBureauFiles, g.readRequestFiles, g.walkAnswers, g.countProducts, g.walkRecords, g.readStages} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	g.countBureaus()
	g.balance()
	g.look()
	g.judge()
	g.fillEmpty()
	return g.Reconciliation, g.files, nil
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
		if w.RunID > g.run.ID || w.Orders == 0 {
			continue // accepted after this run, when its report is written again
		}
		if w.RunID == g.run.ID {
			g.Waiting += w.Orders
		} else {
			g.CarriedOver.Waiting += w.Orders
		}
		g.Waits = append(g.Waits, Wait{RunID: w.RunID, Bureau: w.Bureau, Orders: w.Orders, Reason: g.extra.Bureaus[w.Bureau].Waits})
	}
	slices.SortFunc(g.Waits, func(a, b Wait) int { return cmp.Or(cmp.Compare(a.Bureau, b.Bureau), cmp.Compare(a.RunID, b.RunID)) })
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
		if f.Extract {
			kind = "cards"
		}
		g.RequestFiles = append(g.RequestFiles, RequestFile{
			Name: f.Name, Kind: kind, State: f.State, SHA256: f.SHA256, Code: f.Code, Detail: f.Detail, Rows: f.Rows, Final: f.Final, Notes: f.Notes,
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

// notSent are the states of a file that is still on its way.
var notSent = []ledger.BureauFileState{ledger.Planned, ledger.Written, ledger.Intent, ledger.Uploaded, ledger.Renaming, ledger.Undecided}

// readBureauFiles lists the files planned or sent in this run, and those of
// earlier runs that are not sent yet.
func (g *gathering) readBureauFiles() error {
	files, err := g.ledger.BureauFiles(g.ctx, ledger.FileQuery{RunID: g.run.ID})
	if err != nil {
		return err
	}
	open, err := g.ledger.BureauFiles(g.ctx, ledger.FileQuery{States: notSent})
	if err != nil {
		return err
	}
	known := map[int64]bool{}
	for _, f := range append(files, open...) {
		if known[f.ID] || f.RunID > g.run.ID {
			continue
		}
		known[f.ID] = true
		g.files = append(g.files, f)
	}
	slices.SortFunc(g.files, func(a, b ledger.BureauFile) int {
		return cmp.Or(cmp.Compare(a.Recipient, b.Recipient), cmp.Compare(a.Sequence, b.Sequence))
	})
	for _, f := range g.files {
		shown, err := g.showFile(f)
		if err != nil {
			return err
		}
		if f.Recipient == config.CardSystem {
			g.CardSystemFiles = append(g.CardSystemFiles, shown)
		} else {
			g.Files = append(g.Files, shown)
		}
	}
	if g.sinks.begin != nil {
		g.sinks.begin(g.run, g.filesWritten())
	}
	return nil
}

// AllFiles gives every bureau file of the ledger with its balance, in the
// order of bureau and number.
func AllFiles(ctx context.Context, l Ledger) ([]BureauFile, error) {
	g := &gathering{ctx: ctx, ledger: l}
	files, err := l.BureauFiles(ctx, ledger.FileQuery{})
	if err != nil {
		return nil, err
	}
	list := []BureauFile{}
	for _, f := range files {
		if f.Recipient == config.CardSystem {
			continue
		}
		shown, err := g.showFile(f)
		if err != nil {
			return nil, err
		}
		list = append(list, shown)
	}
	return list, nil
}

// showFile gives a file with its balance. Sent is what the plan of the file
// says, outstanding what the orders in it say: the two must agree.
func (g *gathering) showFile(f ledger.BureauFile) (BureauFile, error) {
	shown := BureauFile{
		Bureau: f.Recipient, Name: f.Name, Sequence: f.Sequence, Records: f.Records, Size: f.Size, SHA256: f.SHA256, State: f.State, RunID: f.RunID, Error: f.LastError,
	}
	if f.State != ledger.Sent {
		return shown, nil
	}
	at := f.SentAt.UTC()
	shown.SentAt, shown.Sent, shown.Outstanding = &at, f.Records, f.Records
	if f.Recipient == config.CardSystem {
		return shown, nil // its orders are those of the bureau files
	}
	states, err := g.ledger.OrderStates(g.ctx, f.ID)
	if err != nil {
		return shown, fmt.Errorf("count the orders of %s: %w", f.Name, err)
	}
	shown.Outstanding = 0
	for _, n := range states {
		shown.Outstanding += n // nothing comes back from a bureau yet: none is acknowledged or rejected
	}
	return shown, nil
}

// writtenHere says that the file's bytes were made in this run.
func (g *gathering) writtenHere(f *ledger.BureauFile) bool {
	if f.State == ledger.Planned {
		return false
	}
	return f.RunID == g.run.ID || !f.WrittenAt.Before(g.run.StartedAt) && (g.run.EndedAt.IsZero() || !f.WrittenAt.After(g.run.EndedAt))
}

// filesWritten are the bureau files whose bytes were made in this run.
func (g *gathering) filesWritten() []*ledger.BureauFile {
	var files []*ledger.BureauFile
	for i := range g.files {
		if f := &g.files[i]; f.Recipient != config.CardSystem && g.writtenHere(f) {
			files = append(files, f)
		}
	}
	return files
}

// walkRecords goes once through the records of the files written in this run:
// what was carried over, and the sinks.
func (g *gathering) walkRecords() error {
	for _, f := range g.filesWritten() {
		err := g.ledger.EachFileOrder(g.ctx, f.ID, func(o *ledger.Order) error {
			if o.RunID < g.run.ID {
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
	g.CarriedOver.Before = g.CarriedOver.Written + g.CarriedOver.Waiting
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
		g.Stages[i].Seconds += s.EndedAt.Sub(s.StartedAt).Round(time.Millisecond).Seconds()
		g.Stages[i].Items += s.Items
	}
	return nil
}

// countBureaus joins what is known of each bureau.
func (g *gathering) countBureaus() {
	bureaus := map[string]*BureauCount{}
	for name := range g.extra.Bureaus {
		if name != config.CardSystem {
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
	for _, w := range g.Waits {
		at(bureaus, w.Bureau).Waiting += w.Orders
	}
	for _, f := range g.Files {
		at(bureaus, f.Bureau).Sent += f.Sent
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
	notNil(&g.CardSystemFiles)
	notNil(&g.RequestFiles)
	notNil(&g.ByBureau)
	notNil(&g.ByReason)
	notNil(&g.ByCode)
	notNil(&g.ByProduct)
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
