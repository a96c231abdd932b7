package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// When to warn.
const (
	warnKeyDays     = 30 // days before a key ends (domain rule: PGP keys, 30 days ahead)
	warnRangeNights = 90 // nights that a range still lasts
)

// maxBroken is how many balances that do not hold are asked about one by one.
const maxBroken = 10

// look finds what is to be warned of: keys that end, ranges that fill up.
func (g *gathering) look() {
	g.Warnings = append(g.Warnings, g.extra.Warnings...)
	g.Notes = append(g.Notes, g.extra.Notes...)
	for _, f := range g.RequestFiles {
		for _, note := range f.Notes {
			g.Notes = append(g.Notes, f.Name+": "+note)
		}
	}
	g.lookAtPINs()
	for _, k := range g.extra.Keys {
		g.KeyExpiry = append(g.KeyExpiry, g.keyWarning(k))
	}
	ranges := slices.Clone(g.extra.Ranges)
	slices.SortFunc(ranges, func(a, b Range) int { return strings.Compare(a.Name, b.Name) })
	for _, r := range ranges {
		g.Ranges = append(g.Ranges, g.rangeWarning(r))
	}
}

func (g *gathering) keyWarning(k Key) Key {
	if k.Problem != "" {
		then := ""
		if k.Signs {
			then = "; what it signs is refused"
		}
		g.Warnings = append(g.Warnings, fmt.Sprintf("The key of %s (%s) cannot be used: %s%s.", k.Owner, k.Fingerprint, strings.TrimRight(k.Problem, "."), then))
	}
	if k.Expires == nil {
		return k
	}
	end := k.Expires.UTC()
	k.Expires = &end
	k.Days = int(end.Sub(g.run.StartedAt) / (24 * time.Hour))
	switch {
	case !end.After(g.run.StartedAt):
		g.Warnings = append(g.Warnings, fmt.Sprintf("The key of %s (%s) expired on %s: nothing can be sealed with it; install its successor.", k.Owner, k.Fingerprint, end.Format(time.DateOnly)))
	case k.Days <= warnKeyDays:
		g.Warnings = append(g.Warnings, fmt.Sprintf("The key of %s (%s) expires on %s, in %s; ask for its successor now.", k.Owner, k.Fingerprint, end.Format(time.DateOnly), plural(int64(k.Days), "day")))
	}
	return k
}

// rangeWarning counts tonight's new numbers and says how long the range lasts.
func (g *gathering) rangeWarning(r Range) Range {
	r.Tonight, r.NightsLeft = 0, -1
	for _, t := range g.tallies {
		if t.Outcome == "accepted" && g.extra.Reasons[t.Reason].NewPAN && slices.Contains(r.Products, t.Product) {
			r.Tonight += t.N
		}
	}
	left := r.Capacity - r.Used
	if r.Tonight > 0 {
		r.NightsLeft = left / r.Tonight
	}
	switch {
	case left <= 0:
		g.Warnings = append(g.Warnings, fmt.Sprintf("The number range %s is used up; configure another before the next new number is asked for.", r.Name))
	case fillLevel(r.Used, r.Capacity) > 0, r.NightsLeft >= 0 && r.NightsLeft < warnRangeNights:
		g.Warnings = append(g.Warnings, fmt.Sprintf("The number range %s is %s full; %s.", r.Name, percent(r.Used, r.Capacity), r.forecast()))
	}
	return r
}

// fillLevel is the highest of the levels 90, 70 and 50 percent that a range has reached; 0 below.
func fillLevel(used, capacity int64) int64 {
	for _, level := range []int64{90, 70, 50} {
		if used*100 >= capacity*level {
			return level
		}
	}
	return 0
}

func (r Range) forecast() string {
	if r.NightsLeft < 0 {
		return plural(r.Capacity-r.Used, "number") + " left, none used this night"
	}
	return fmt.Sprintf("%s left, about %s like this one", plural(r.Capacity-r.Used, "number"), plural(r.NightsLeft, "night"))
}

// judge decides what needs a person, the exit code and the verdict.
func (g *gathering) judge() error {
	broken := g.broken()
	for _, b := range broken[:min(len(broken), maxBroken)] {
		g.need("A balance does not hold: "+b.Name, b.String()+". Rows or cards are missing or counted twice; release nothing before it is explained.", "reemboss report "+g.RunID)
	}
	if more := len(broken) - maxBroken; more > 0 {
		g.need(plural(int64(more), "more balance")+" that must hold and do not", "reconciliation.json has them all, first of all balances.", "reemboss report "+g.RunID)
	}
	for i := range g.files {
		if err := g.needFile(&g.files[i]); err != nil {
			return err
		}
	}
	if err := g.needSettlements(); err != nil {
		return err
	}
	g.needHolds()
	g.needLines(g.returnFiles)
	if err := g.needAnswers(); err != nil {
		return err
	}
	for _, w := range g.Waits {
		g.needWait(w)
	}
	g.needPINs()
	for _, f := range g.RequestFiles {
		g.needRequestFile(f)
	}
	for _, t := range g.tallies {
		switch t.Code {
		case rules.PANRangeExhausted:
			g.need(plural(t.N, "row")+" refused for want of a number", "A range of card numbers or of new card ids is used up; configure a new one, then have the rows sent again.", "reemboss config check")
		case rules.InternalError:
			g.need(plural(t.N, "row")+" failed by a fault of ours", "refusals.csv names them; tell the makers, then have the rows sent again.")
		}
	}
	if g.Held > 0 {
		g.need(plural(g.Held, "row")+" held", "They are decided, and wait for somebody's word.", "reemboss status")
	}
	for _, n := range g.extra.NeedsPerson {
		g.NeedsPerson = append(g.NeedsPerson, n.single())
	}
	switch {
	case g.extra.Exit != 0:
		g.ExitCode = g.extra.Exit
	case len(g.NeedsPerson) > 0:
		g.ExitCode = 4
	}
	g.Verdict = g.verdict()
	return nil
}

// hideNumbers masks card numbers in every sentence that may quote what a sender, a bureau or a library wrote. They come
// masked; what former versions kept in the ledger may not be.
func (g *gathering) hideNumbers(mask func(string) string) {
	each := func(texts []string) {
		for i, text := range texts {
			texts[i] = mask(text)
		}
	}
	each(g.Notes)
	each(g.Warnings)
	for i := range g.RequestFiles {
		f := &g.RequestFiles[i]
		f.Detail = mask(f.Detail)
		each(f.Notes)
	}
	for i := range g.NeedsPerson {
		need := &g.NeedsPerson[i]
		need.What, need.Why, need.Command = mask(need.What), mask(need.Why), mask(need.Command)
		each(need.Or)
	}
	g.Verdict = mask(g.Verdict)
}

// verdict is the night in one sentence.
func (g *gathering) verdict() string {
	if broken := g.broken(); len(broken) > 0 {
		return fmt.Sprintf("ALARM: %s: %s.", balancesBroken(len(broken)), broken[0])
	}
	if g.extra.Exit != 0 {
		word := "stopped before its end; the next run continues"
		if g.extra.Exit == 1 {
			word = "failed"
		}
		return "The night " + word + ": " + strings.TrimRight(why(g.extra.Fault, "see the log"), ".") + "."
	}
	night := g.done()
	switch n := len(g.NeedsPerson); {
	case n == 1:
		return night + " One thing needs a person."
	case n > 1:
		return fmt.Sprintf("%s %d things need a person.", night, n)
	}
	return night + " Everything balances and nothing waits."
}

func balancesBroken(n int) string {
	if n == 1 {
		return "a balance does not hold"
	}
	return fmt.Sprintf("%d balances do not hold", n)
}

// done says how much was asked for, how much was made, and what the bureaus answered.
func (g *gathering) done() string {
	cards, files := g.sentNow()
	text := "No request came in"
	switch {
	case g.Read == 0 && g.extra.Untaken > 0:
		text = "No request was read"
	case g.Read > 0:
		text = fmt.Sprintf("%s of %s accepted", thousands(g.Accepted), plural(g.Read, "row"))
	}
	if files > 0 {
		text += fmt.Sprintf(", %s sent to the bureaus in %s", plural(cards, "card"), plural(files, "file"))
	}
	var rest []string
	for _, t := range []Term{{"refused", g.Refused}, {"duplicate", g.Duplicate}, {"held", g.Held}, {"waiting", g.Waiting}, {"cancelled", g.Cancelled}} {
		if t.N > 0 {
			rest = append(rest, thousands(t.N)+" "+t.Name)
		}
	}
	if len(rest) > 0 {
		text += "; " + strings.Join(rest, ", ")
	}
	if left := g.extra.Untaken; left > 0 {
		text += "; " + plural(int64(left), "file") + " in the inbox could not be taken"
	}
	if told := g.answers(); told != "" {
		text += ". The bureaus answered: " + told
	}
	return text + "."
}

// sentNow counts what went to the bureaus in this run, and is not refused or in doubt by now.
func (g *gathering) sentNow() (cards, files int64) {
	for i := range g.files {
		f := &g.files[i]
		if f.State == ledger.Refused || f.State == ledger.Undecided {
			continue
		}
		if !config.Reserved(f.Recipient) && f.SentRunID == g.run.ID && sentOnce(f) {
			cards, files = cards+f.Records, files+1
		}
	}
	return cards, files
}
