package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// When to warn.
const (
	warnKeyDays     = 30 // days before a key ends (domain rule: PGP keys, 30 days ahead)
	warnRangeNights = 90 // nights that a range still lasts
)

// look finds what is to be warned of: keys that end, ranges that fill up.
func (g *gathering) look() {
	g.Warnings = append(g.Warnings, g.extra.Warnings...)
	g.Notes = append(g.Notes, g.extra.Notes...)
	for _, f := range g.RequestFiles {
		for _, note := range f.Notes {
			g.Notes = append(g.Notes, f.Name+": "+note)
		}
	}
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
		g.Warnings = append(g.Warnings, fmt.Sprintf("The key of %s (%s) cannot be used: %s.", k.Owner, k.Fingerprint, strings.TrimRight(k.Problem, ".")))
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
func (g *gathering) judge() {
	for _, b := range g.broken() {
		g.need("A balance does not hold: "+b.Name, b.String()+". Rows or cards are missing or counted twice; release nothing before it is explained.", "reemboss report "+g.RunID)
	}
	for _, f := range g.files {
		g.needFile(f)
	}
	for _, w := range g.Waits {
		g.needWait(w)
	}
	for _, f := range g.RequestFiles {
		g.needRequestFile(f)
	}
	for _, t := range g.tallies {
		switch t.Code {
		case rules.PANRangeExhausted:
			g.need(plural(t.N, "row")+" refused for want of a number", "A range of card numbers or of new card ids is used up; configure a new one, then have the rows sent again.", "reemboss config check")
		case rules.InternalError:
			g.need(plural(t.N, "row")+" failed by a fault of ours", "refusals.csv names them; tell the makers, then have the rows sent again.", "")
		}
	}
	if g.Held > 0 {
		g.need(plural(g.Held, "row")+" held", "They are decided, and wait for somebody's word.", "reemboss status")
	}
	g.NeedsPerson = append(g.NeedsPerson, g.extra.NeedsPerson...)
	switch {
	case g.extra.Exit != 0:
		g.ExitCode = g.extra.Exit
	case len(g.NeedsPerson) > 0:
		g.ExitCode = 4
	}
	g.Verdict = g.verdict()
}

func (g *gathering) need(what, why, command string) {
	g.NeedsPerson = append(g.NeedsPerson, Need{What: what, Why: why, Command: command})
}

// needFile tells of an outgoing file that is not sent.
func (g *gathering) needFile(f ledger.BureauFile) {
	what := fmt.Sprintf("%s for %s (%s) is not sent: %s", f.Name, f.Recipient, plural(f.Records, "record"), f.State)
	switch f.State {
	case ledger.Sent, ledger.Planned: // what is only planned stands under the orders that wait
		return
	case ledger.Undecided:
		what = fmt.Sprintf("%s for %s (%s) may or may not have arrived: %s", f.Name, f.Recipient, plural(f.Records, "record"), f.State)
		g.need(what, why(f.LastError, "The connection was lost while the file got its final name, and nobody here can know whether it did. Ask the bureau whether it has the file."),
			"reemboss resolve "+quoted(f.Name)+` --delivered|--resend --reason "…"`)
	default:
		g.need(what, why(f.LastError, "The transfer did not come to its end."), "reemboss run")
	}
}

func (g *gathering) needWait(w Wait) {
	reason := w.Reason
	for _, f := range g.files {
		if reason == "" && f.Recipient == w.Bureau && f.State == ledger.Planned {
			reason = f.LastError
		}
	}
	since := ""
	if w.RunID != g.run.ID {
		since = ", accepted in run " + w.RunID
	}
	g.need(fmt.Sprintf("%s for %s in no file%s", plural(w.Orders, "accepted order"), w.Bureau, since),
		why(reason, "The run ended before their file was written."), "reemboss run")
}

func (g *gathering) needRequestFile(f RequestFile) {
	if f.Code == "" {
		return
	}
	where := f.Final
	if where == "" {
		where = f.Name
	}
	if f.Code == "duplicate_file" {
		g.need(f.Name+" was not done again", why(f.Detail, "The same content came before."), "reemboss status")
		return
	}
	again := "reemboss check "
	if f.Kind == "cards" {
		again = "reemboss cards import "
	}
	command := again + quoted(where)
	if f.Kind != "cards" && strings.HasSuffix(where, ".pgp") { // sealed to us because it holds card numbers
		command = "gpg --decrypt " + quoted(where)
	}
	g.need(f.Name+" was refused as a whole: "+string(f.Code), why(f.Detail, "Nothing of it was done."), command)
}

// quoted is a file name as a shell takes it.
func quoted(name string) string {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/+,:@") == "" {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

func why(known, otherwise string) string {
	if known != "" {
		return known
	}
	return otherwise
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

// done says how much was asked for and how much was made.
func (g *gathering) done() string {
	if g.Read == 0 && len(g.Files) == 0 {
		return "No request came in."
	}
	sent, files := int64(0), int64(0)
	for _, f := range g.Files {
		if f.State == ledger.Sent {
			sent, files = sent+f.Records, files+1
		}
	}
	text := fmt.Sprintf("%s of %s accepted", thousands(g.Accepted), plural(g.Read, "row"))
	if files > 0 {
		text += fmt.Sprintf(", %s sent to the bureaus in %s", plural(sent, "card"), plural(files, "file"))
	}
	var rest []string
	for _, t := range []Term{{"refused", g.Refused}, {"duplicate", g.Duplicate}, {"held", g.Held}, {"waiting", g.Waiting}} {
		if t.N > 0 {
			rest = append(rest, thousands(t.N)+" "+t.Name)
		}
	}
	if len(rest) > 0 {
		text += "; " + strings.Join(rest, ", ")
	}
	return text + "."
}

// plural is n with its noun.
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return thousands(n) + " " + noun + "s"
}

// thousands writes n with a comma between groups of three digits.
func thousands(n int64) string {
	text := fmt.Sprint(n)
	digits := strings.TrimPrefix(text, "-")
	sign := text[:len(text)-len(digits)]
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// percent is part of whole, rounded down to a tenth so that 100 % means all of it.
func percent(part, whole int64) string {
	if whole <= 0 {
		return "0 %"
	}
	tenths := part * 1000 / whole
	if tenths%10 == 0 {
		return fmt.Sprintf("%d %%", tenths/10)
	}
	return fmt.Sprintf("%d.%d %%", tenths/10, tenths%10)
}
