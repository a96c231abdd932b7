package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

// This file tells how long the bureaus have had cards, in their own working
// days, and who is late. A card's age are the bureau's working days since the
// business date on which its file was sent: a file sent on Monday evening, after
// the cut-off, is of Tuesday, and on Wednesday a day old.

// Calendar counts a bureau's working days; rules.Calendar is one. Dates are
// midnight UTC of the day meant.
type Calendar interface {
	// Date is the calendar day at the bureau.
	Date(at time.Time) time.Time
	// BusinessDate is the working day to which a moment belongs.
	BusinessDate(at time.Time) time.Time
	// WorkingDaysBetween counts the working days after from, up to and with to.
	WorkingDaysBetween(from, to time.Time) int
	// Due is the end of the working day so many working days after the business date of at.
	Due(at time.Time, workingDays int) time.Time
}

// everyDay is the calendar of a bureau of which none is known: calendar days, UTC.
type everyDay struct{}

func (everyDay) Date(at time.Time) time.Time {
	year, month, day := at.UTC().Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

func (d everyDay) BusinessDate(at time.Time) time.Time { return d.Date(at) }

func (everyDay) WorkingDaysBetween(from, to time.Time) int {
	return int(to.Sub(from) / (24 * time.Hour))
}

func (d everyDay) Due(at time.Time, days int) time.Time { return d.Date(at).AddDate(0, 0, days+1) }

// calendar is the bureau's, or calendar days.
func (b Bureau) calendar() Calendar {
	if b.Calendar == nil {
		return everyDay{}
	}
	return b.Calendar
}

// workingDays is the age of something sent at that moment.
func (b Bureau) workingDays(sent, now time.Time) int {
	c := b.calendar()
	return max(0, c.WorkingDaysBetween(c.BusinessDate(sent), c.Date(now)))
}

// due is the last date on which the bureau is in time; "" where nothing is agreed.
func (b Bureau) due(sent time.Time, within int) string {
	if !b.Acknowledges || within <= 0 {
		return ""
	}
	c := b.calendar()
	return c.Date(c.Due(sent, within).Add(-time.Millisecond)).Format(time.DateOnly)
}

// late says that the time agreed with the bureau is over.
func (b Bureau) late(sent, now time.Time, within int) bool {
	return b.Acknowledges && within > 0 && !now.Before(b.calendar().Due(sent, within))
}

// BureauAge is how old the cards are that a bureau has.
type BureauAge struct {
	Bureau string `json:"bureau"`
	Name   string `json:"name,omitempty"`
	// Expected: the bureau acknowledges; else what is outstanding is not expected to be answered.
	Expected    bool        `json:"expected"`
	Outstanding int64       `json:"outstanding"` // sent and not answered
	UnderWay    int64       `json:"under_way"`   // acknowledged, produced or shipped
	Oldest      int         `json:"oldest"`      // working days since the oldest outstanding card was sent
	Buckets     []AgeBucket `json:"buckets"`     // of what is outstanding
	Late        []Late      `json:"late"`
}

// AgeBucket counts outstanding cards by working days since they were sent.
type AgeBucket struct {
	WorkingDays string `json:"working_days"` // today, 1, 2, 3-5, 6-10, over 10
	Cards       int64  `json:"cards"`
}

// What a bureau is late with.
const (
	lateToAcknowledge = "acknowledge"
	lateToShip        = "ship"
	lateToClose       = "close"
)

// Late is a breach of what was agreed with the bureau, by file.
type Late struct {
	FileName    string `json:"file_name"`
	What        string `json:"what"` // acknowledge, ship, close
	Cards       int64  `json:"cards"`
	Within      int    `json:"within"`       // working days that were agreed
	WorkingDays int    `json:"working_days"` // that have passed
	Due         string `json:"due"`          // date
	fileID      int64
}

// ageBuckets are the last ages of each bucket; the last one is open.
var ageBuckets = []struct {
	name string
	upTo int
}{{"today", 0}, {"1", 1}, {"2", 2}, {"3-5", 5}, {"6-10", 10}, {"over 10", int(^uint(0) >> 1)}}

func newBureauAge() *BureauAge {
	age := &BureauAge{Buckets: make([]AgeBucket, len(ageBuckets)), Late: []Late{}}
	for i, b := range ageBuckets {
		age.Buckets[i].WorkingDays = b.name
	}
	return age
}

// age counts by the files' balances: all outstanding cards of a file are of one age.
func (g *gathering) age() {
	ages := map[string]*BureauAge{}
	of := func(bureau string) *BureauAge {
		if ages[bureau] == nil {
			ages[bureau] = newBureauAge()
		}
		return ages[bureau]
	}
	for name := range g.extra.Bureaus {
		if !config.Reserved(name) {
			of(name)
		}
	}
	for i := range g.files {
		f := &g.files[i]
		if config.Reserved(f.Recipient) || f.SentAt.IsZero() || g.laterSent(f) {
			continue
		}
		of(f.Recipient).add(g.extra.Bureaus[f.Recipient], f, g.balances[f.ID].ByState, g.run.StartedAt)
	}
	for _, name := range slices.Sorted(maps.Keys(ages)) {
		a, b := ages[name], g.extra.Bureaus[name]
		a.Bureau, a.Name, a.Expected = name, b.Name, b.Acknowledges
		g.Ageing = append(g.Ageing, *a)
		g.warnLate(a)
	}
}

// laterSent: sent after this run, when its report is written again.
func (g *gathering) laterSent(f *ledger.BureauFile) bool { return g.later[f.SentRunID] }

// add counts one file.
func (a *BureauAge) add(b Bureau, f *ledger.BureauFile, by map[ledger.OrderState]int64, now time.Time) {
	days := b.workingDays(f.SentAt, now)
	if n := by[ledger.SentO]; n > 0 {
		i := slices.IndexFunc(ageBuckets, func(bucket struct {
			name string
			upTo int
		}) bool {
			return days <= bucket.upTo
		})
		a.Buckets[i].Cards += n
		a.Outstanding += n
		a.Oldest = max(a.Oldest, days)
	}
	making := by[ledger.Acked] + by[ledger.Produced]
	a.UnderWay += making + by[ledger.Shipped]
	if f.State != ledger.Sent {
		return
	}
	toClose := by[ledger.Shipped]
	if b.SLA.Ship == 0 {
		toClose += making
	}
	for _, l := range []Late{
		{What: lateToAcknowledge, Cards: by[ledger.SentO], Within: b.SLA.Acknowledge},
		{What: lateToShip, Cards: making, Within: b.SLA.Ship},
		{What: lateToClose, Cards: toClose, Within: b.SLA.Close},
	} {
		if l.Cards > 0 && b.late(f.SentAt, now, l.Within) {
			l.fileID, l.FileName, l.WorkingDays, l.Due = f.ID, f.Name, days, b.due(f.SentAt, l.Within)
			a.Late = append(a.Late, l)
		}
	}
}

// pastWords are what is not done, by what the bureau is late with.
var pastWords = map[string]string{lateToAcknowledge: "acknowledged", lateToShip: "shipped", lateToClose: "delivered, returned or lost"}

// warnLate warns, once a bureau, of cards that are late on their way. What is
// not acknowledged is more than a warning: see needAnswers.
func (g *gathering) warnLate(a *BureauAge) {
	for _, what := range []string{lateToShip, lateToClose} {
		var cards, files int64
		oldest := Late{WorkingDays: -1}
		for _, l := range a.Late {
			if l.What == what {
				cards, files = cards+l.Cards, files+1
				if l.WorkingDays > oldest.WorkingDays {
					oldest = l
				}
			}
		}
		if files > 0 {
			g.Warnings = append(g.Warnings, fmt.Sprintf("%s is late: %s in %s not %s within %s; the oldest stand in %s and were due on %s.",
				cmp.Or(a.Name, a.Bureau), plural(cards, "card"), plural(files, "file"), pastWords[what], plural(int64(oldest.Within), "working day"), oldest.FileName, oldest.Due))
		}
	}
}

// needAnswers asks a person about each file whose acknowledgement is overdue.
func (g *gathering) needAnswers() error {
	for _, a := range g.Ageing {
		for _, l := range a.Late {
			if l.What == lateToAcknowledge {
				if err := g.needAnswer(&a, l); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (g *gathering) needAnswer(a *BureauAge, l Late) error {
	what := fmt.Sprintf("%s: %s not acknowledged by %s, due on %s", l.FileName, plural(l.Cards, "card"), cmp.Or(a.Name, a.Bureau), l.Due)
	why := fmt.Sprintf("The bureau is to answer within %s. Ask the bureau whether it has the file; if it has not, ", plural(int64(l.Within), "working day"))
	since, first, err := g.ledger.AskedSince(g.ctx, l.fileID)
	if err != nil {
		return fmt.Errorf("read what was asked for since %s: %w", l.FileName, err)
	}
	if since > 0 {
		g.need(what, why+askedSince(since, first)+" Have the bureau refuse it in a return file: reemboss cancel then puts its other cards into the next file.")
		return nil
	}
	g.need(what, why+"send the same bytes again.", "reemboss resend "+Quoted(l.FileName)+` --reason "…"`)
	return nil
}

// askedSince says why a file is not sent again.
func askedSince(cards, first int64) string {
	if cards == 1 {
		return fmt.Sprintf("it is not to be sent again: its card %d was asked for again since, and would be made twice.", first)
	}
	return fmt.Sprintf("it is not to be sent again: %d of its cards were asked for again since (card %d is one of them), and would be made twice.", cards, first)
}
