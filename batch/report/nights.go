package report

import (
	"slices"
	"time"
)

// nightsShown is how many days the chart of nights goes back, this one included.
const nightsShown = 30

// NightTold is one night as its own report told it.
type NightTold struct {
	RunID        string `json:"run_id"`
	Date         string `json:"date"`
	Read         int64  `json:"read"`
	Accepted     int64  `json:"accepted"`
	Refused      int64  `json:"refused"`
	Duplicate    int64  `json:"duplicate"`
	Held         int64  `json:"held"`
	Outstanding  int64  `json:"outstanding"` // cards sent and not answered, at its end
	UnderWay     int64  `json:"under_way"`   // cards answered and not at their end, at its end
	ExitCode     int    `json:"exit_code"`
	Acknowledged int64  `json:"acknowledged"` // by the bureaus, in this night
	Rejected     int64  `json:"rejected"`
}

// tellNights takes the nights before this one from the summaries that they
// ended with, and this one from what was just computed: so a report that is
// written again after the run ended says the same.
func (g *gathering) tellNights() {
	for i := range g.told {
		g.Nights = append(g.Nights, g.told[i].NightTold)
	}
	slices.Reverse(g.Nights)
	now := NightTold{
		RunID: g.RunID, Date: g.Date, Read: g.Read, Accepted: g.Accepted, Refused: g.Refused, Duplicate: g.Duplicate, Held: g.Held,
		Outstanding: g.Outstanding, UnderWay: g.UnderWay, ExitCode: g.ExitCode,
	}
	now.countAnswers(g.Events)
	g.Nights = append(g.Nights, now)
}

func (n *NightTold) countAnswers(events []EventCount) {
	n.Acknowledged, n.Rejected = 0, 0
	for _, e := range events {
		if e.Disputed {
			continue
		}
		n.Acknowledged += e.Acked
		if e.Status == "REJECTED" {
			n.Rejected += e.N
		}
	}
}

// firstNight is the first date of the chart that ends with date.
func firstNight(date string) string {
	day, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return ""
	}
	return day.AddDate(0, 0, 1-nightsShown).Format(time.DateOnly)
}

// dayOf is one day of the chart: its runs together, or none.
type dayOf struct {
	Date string
	Runs int
	NightTold
}

// days lays the nights out by date, one entry for each day, also where there was no run.
func (r *Reconciliation) days() []dayOf {
	last, err := time.Parse(time.DateOnly, r.Date)
	if err != nil {
		return nil
	}
	list := make([]dayOf, nightsShown)
	for i := range list {
		list[i].Date = last.AddDate(0, 0, i-nightsShown+1).Format(time.DateOnly)
	}
	for _, n := range r.Nights {
		i := slices.IndexFunc(list, func(d dayOf) bool { return d.Date == n.Date })
		if i < 0 {
			continue
		}
		d := &list[i]
		d.Runs++
		d.Read, d.Accepted, d.Refused, d.Duplicate, d.Held = d.Read+n.Read, d.Accepted+n.Accepted, d.Refused+n.Refused, d.Duplicate+n.Duplicate, d.Held+n.Held
		d.Outstanding, d.UnderWay, d.RunID = n.Outstanding, n.UnderWay, n.RunID // at the end of its last run
		if worse(n.ExitCode) > worse(d.ExitCode) {
			d.ExitCode = n.ExitCode
		}
	}
	return list
}

// worse orders exit codes by what they ask for: 0, a stop that went on, a person, a fault.
func worse(exit int) int { return slices.Index([]int{0, 5, 4, 1}, exit) }
