package report

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"reemboss/batch/ledger"
)

// This file tells of files that wait for a second person. A hold has no number,
// and stands among the files of its bureau until it is in one.

// HoldTold is what stands beside a file that is HELD, or was CANCELLED.
type HoldTold struct {
	Digest string    `json:"digest"` // an approval is for exactly these cards
	HeldAt time.Time `json:"held_at"`
	// Approved says that a person has approved it: the next run writes it.
	Approved bool `json:"approved"`
	// Restored says that the ledger was put back from a backup since these cards were accepted: a lost night may have made them.
	Restored bool `json:"restored,omitempty"`
	// NoWayBack says that it cannot be cancelled: an order of it changed its card, and nobody knows what the card was before.
	NoWayBack  bool         `json:"no_way_back,omitempty"`
	DecidedAt  *time.Time   `json:"decided_at,omitempty"`
	DecidedBy  string       `json:"decided_by,omitempty"`
	How        string       `json:"how,omitempty"`
	Reason     string       `json:"reason,omitempty"`
	ByReason   []HoldReason `json:"by_reason"`
	Submitters []string     `json:"submitters"` // who signed, brought or is named in the request files; none of them may approve
}

// HoldReason counts the cards of a hold by what is asked for; reason 0 is a re-embossing.
type HoldReason struct {
	Request string `json:"request"`
	Reason  int    `json:"reason"`
	Cards   int64  `json:"cards"`
}

// States of a hold among files (a public promise).
const (
	fileHeld      = ledger.BureauFileState(ledger.Held)
	fileCancelled = ledger.BureauFileState(ledger.HoldCancelled)
)

// Waits says of a file that it waits for a second person's word.
func (f *BureauFile) waits() bool { return f.Hold != nil && f.State == fileHeld && !f.Hold.Approved }

// showHold gives a hold as it stands among files.
func showHold(h *ledger.Hold, tallies []ledger.HoldTally) BureauFile {
	f := BureauFile{Bureau: h.Bureau, Name: h.Name, Records: h.Records, State: fileHeld, Balanced: true, RunID: h.RunID}
	told := &HoldTold{Digest: h.Digest, HeldAt: h.HeldAt.UTC(), Approved: h.State == ledger.Approved, Restored: h.Restored, NoWayBack: h.NoWayBack, DecidedBy: h.DecidedBy, How: h.How, Reason: h.Reason,
		ByReason: []HoldReason{}, Submitters: []string{}}
	if !h.DecidedAt.IsZero() {
		at := h.DecidedAt.UTC()
		told.DecidedAt = &at
	}
	if h.State == ledger.HoldCancelled {
		f.State = fileCancelled
	}
	reasons, submitters := map[HoldReason]int64{}, map[string]bool{}
	for _, t := range tallies {
		reasons[HoldReason{Request: string(t.Kind), Reason: t.Reason}] += t.N
		for _, who := range []string{t.Submitter, t.Owner, t.RowSubmitter} {
			if who != "" {
				submitters[who] = true
			}
		}
	}
	for r, cards := range reasons {
		r.Cards = cards
		told.ByReason = append(told.ByReason, r)
	}
	slices.SortFunc(told.ByReason, func(a, b HoldReason) int {
		return cmp.Or(cmp.Compare(a.Request, b.Request), cmp.Compare(a.Reason, b.Reason))
	})
	told.Submitters = append(told.Submitters, slices.Sorted(maps.Keys(submitters))...)
	f.Hold = told
	return f
}

// listHolds puts the holds of the ledger that are in no file among the files:
// those made or cancelled in this run, and earlier ones that still wait.
func (g *gathering) listHolds() error {
	holds, err := g.ledger.Holds(g.ctx, ledger.HoldQuery{})
	if err != nil {
		return err
	}
	for i := range holds {
		h := &holds[i]
		cancelled := h.State == ledger.HoldCancelled
		ofThisRun := h.RunID == g.run.ID || cancelled && h.DecidedRunID == g.run.ID
		if g.later[h.RunID] || h.BureauFileID != 0 || cancelled && !ofThisRun {
			continue
		}
		tallies, err := g.ledger.HoldTallies(g.ctx, h.ID)
		if err != nil {
			return err
		}
		if ofThisRun {
			g.Files = append(g.Files, showHold(h, tallies))
		} else {
			g.OpenFiles = append(g.OpenFiles, showHold(h, tallies))
		}
	}
	for i := range g.Waits {
		if w := &g.Waits[i]; w.Hold != "" {
			w.Reason = heldWaits(w.Hold, w.Reason, g.ListedFiles())
		}
	}
	for _, list := range []*[]BureauFile{&g.Files, &g.OpenFiles} {
		slices.SortStableFunc(*list, func(a, b BureauFile) int { return cmp.Compare(a.Bureau, b.Bureau) })
	}
	return nil
}

// countCancelled counts what was accepted and then cancelled with a hold.
func (g *gathering) countCancelled() (err error) {
	if g.cancelled, err = g.ledger.CancelledOf(g.ctx, g.run.ID); err != nil {
		return err
	}
	for _, n := range g.cancelled {
		g.Cancelled += n
	}
	return nil
}

// heldWaits says why the orders of a hold wait.
func heldWaits(hold, otherwise string, files []BureauFile) string {
	for i := range files {
		if files[i].Name == hold && files[i].waits() && files[i].Hold.Restored {
			return "held since the ledger was restored: reemboss approve, resolve or cancel " + hold
		}
		if files[i].Name == hold && files[i].waits() {
			return "held for a second person: reemboss approve " + hold
		}
	}
	return otherwise
}

// needHolds asks for a second person's word about each hold that waits for it.
func (g *gathering) needHolds() {
	for _, f := range g.ListedFiles() {
		if !f.waits() {
			continue
		}
		if f.Hold.Restored {
			g.need(fmt.Sprintf("%s (%s for %s) is held: the ledger was restored", f.Name, plural(f.Records, "card"), g.bureauName(f.Bureau)),
				"Its cards were asked for before the backup was made, and a night that this ledger does not know may have had them made. Compare with what the bureau got: approve it if they were not made, resolve it as delivered if they were"+
					f.orCancel(", cancel it if nobody wants them."),
				f.choices("reemboss approve "+Quoted(f.Name), "reemboss resolve "+Quoted(f.Name)+` --delivered --reason "…"`)...)
			continue
		}
		because := "Nothing of it is written and no number is taken until somebody approves it who asked for none of its cards."
		if len(f.Hold.Submitters) > 0 {
			because += " They were asked for by " + strings.Join(f.Hold.Submitters, ", ") + "."
		}
		g.need(fmt.Sprintf("%s (%s for %s) is held for a second person", f.Name, plural(f.Records, "card"), g.bureauName(f.Bureau)), because+f.orCancel(""),
			f.choices("reemboss approve "+Quoted(f.Name))...)
	}
}

// orCancel ends the sentence about a hold: with may, or with why it cannot be cancelled.
func (f *BureauFile) orCancel(may string) string {
	switch {
	case !f.Hold.NoWayBack:
		return may
	case may != "":
		return "; it cannot be cancelled, since nobody knows what its cards were before."
	}
	return " It cannot be cancelled, since nobody knows what its cards were before."
}

// choices are the commands that settle a hold: those given, and cancel where it can be.
func (f *BureauFile) choices(commands ...string) []string {
	if f.Hold.NoWayBack {
		return commands
	}
	return append(commands, "reemboss cancel "+Quoted(f.Name)+` --reason "…"`)
}

// AllHolds gives every hold of the ledger that became no file, in the order of bureau and age.
func AllHolds(ctx context.Context, l Ledger) ([]BureauFile, error) {
	holds, err := l.Holds(ctx, ledger.HoldQuery{})
	if err != nil {
		return nil, err
	}
	var list []BureauFile
	for i := range holds {
		if holds[i].BureauFileID != 0 {
			continue
		}
		tallies, err := l.HoldTallies(ctx, holds[i].ID)
		if err != nil {
			return nil, err
		}
		list = append(list, showHold(&holds[i], tallies))
	}
	slices.SortStableFunc(list, func(a, b BureauFile) int { return cmp.Compare(a.Bureau, b.Bureau) })
	return list, nil
}
