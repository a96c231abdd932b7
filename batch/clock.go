package batch

import (
	"context"
	"fmt"
	"time"

	"reemboss/batch/report"
)

// A clock that was set back. Nothing that must be given once comes from the
// clock: numbers, ids of runs, uids and names count on from the ledger, and what
// is kept for a time is kept longer. But expiries of new cards, dates of files
// and of delivery, and whether a card has expired, are read from it.

const (
	// clockSlack is how far the clock may go back untold: it was put right by a little.
	clockSlack = time.Minute
	// clockStop is how far back it ends a run before its begin: from here on cards would carry wrong dates.
	clockStop = 24 * time.Hour
)

// checkClock compares the clock with the newest moment of the last run. Further
// back than [clockStop] is a [SetupError], unless a person said that the clock is
// right now (ClockIsRight): then it was wrong before. Less is told in the report.
func (n *Night) checkClock(ctx context.Context) error {
	runs, err := n.Ledger.LastRuns(ctx, 1)
	if err != nil || len(runs) == 0 {
		return err
	}
	last := runs[0].StartedAt
	if runs[0].EndedAt.After(last) {
		last = runs[0].EndedAt
	}
	now := n.Now()
	if back := last.Sub(now.Round(0)); back > clockStop && !n.ClockIsRight {
		return setup("this machine's clock shows %s, and run %s was working at %s already: new cards would get wrong dates, so nothing was done. Set the clock; if it is right now and was wrong then, start reemboss run --clock-is-right once",
			moment(now), runs[0].ID, moment(last))
	}
	n.watchClock(last)
	return nil
}

// watchClock tells a person, once in a process, that the clock shows less than it did at an earlier moment.
func (n *Night) watchClock(earlier time.Time) {
	now := n.Now().Round(0) // wall time: the monotonic clock of the process never goes back
	if earlier = earlier.Round(0); earlier.After(n.latest) {
		n.latest = earlier
	}
	back := n.latest.Sub(now)
	if back <= clockSlack || n.setBack {
		return
	}
	n.setBack = true
	n.Log.Error().Str("run", n.run.ID).Dur("back", back).Msg("the clock was set back")
	n.need(report.Need{What: "this machine's clock was set back by " + back.Round(time.Second).String(),
		Why: fmt.Sprintf("It showed %s before and %s after. Numbers, names and answers do not depend on it; the dates of this run do (expiries of new cards, expected deliveries, names of folders). Find out why it was wrong, and look at the expiries if a month ended in between.", moment(n.latest), moment(now))})
}

func moment(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }
