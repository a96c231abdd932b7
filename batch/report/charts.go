package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"reemboss/batch/ledger"
)

// This file lays out the page's charts. They are plain SVG whose lengths are
// percentages, so that they fit a phone and a sheet of paper without a script,
// and each says the same in words.

// stackedBar shows how a whole falls into parts.
type stackedBar struct {
	Title string
	Note  string // beside the title
	Words string // the same for somebody who cannot see it
	Parts []part
}

// part is a piece of a bar; X and Width in percent of it.
type part struct {
	Name, Class string
	N           int64
	X, Width    string
	Share       string
}

// piece is a part to be.
type piece struct {
	name, class string
	n           int64
}

func outcomePieces(o Outcomes) []piece {
	return []piece{{"accepted", "accepted", o.Accepted}, {"refused", "refused", o.Refused}, {"duplicate", "duplicate", o.Duplicate}, {"held", "held", o.Held}}
}

// stack lays pieces beside each other in a bar whose full length is of (0:
// their sum). A piece that is not empty is at least half a percent wide, so
// that it can be seen.
func stack(title string, of int64, pieces ...piece) stackedBar {
	bar := stackedBar{Title: title}
	var whole int64
	for _, p := range pieces {
		whole += p.n
	}
	full := 100.0
	if of > 0 {
		full = max(1, 100*float64(whole)/float64(of))
	}
	widths := make([]float64, len(pieces))
	sum := 0.0
	for i, p := range pieces {
		if p.n > 0 {
			widths[i] = max(0.5, full*float64(p.n)/float64(whole))
			sum += widths[i]
		}
	}
	x := 0.0
	var words []string
	for i, p := range pieces {
		width := widths[i] * full / max(sum, 0.5)
		bar.Parts = append(bar.Parts, part{p.name, p.class, p.n, fmt.Sprintf("%.3f", x), fmt.Sprintf("%.3f", width), percent(p.n, whole)})
		if p.n > 0 {
			words = append(words, thousands(p.n)+" "+p.name)
		}
		x += width
	}
	bar.Words = title + ": " + cmp.Or(strings.Join(words, ", "), "none")
	return bar
}

// barChart is several bars with one key.
type barChart struct {
	Bars []stackedBar
	Key  []part // those that occur
}

func newBarChart(bars []stackedBar) barChart {
	c := barChart{Bars: bars}
	for _, b := range bars {
		for _, p := range b.Parts {
			i := slices.IndexFunc(c.Key, func(k part) bool { return k.Name == p.Name })
			if i < 0 {
				i = len(c.Key)
				c.Key = append(c.Key, part{Name: p.Name, Class: p.Class})
			}
			c.Key[i].N += p.N
		}
	}
	c.Key = slices.DeleteFunc(c.Key, func(k part) bool { return k.N == 0 })
	return c
}

// maxBars is how many bars a chart of reasons, products or bureaus has at most.
const maxBars = 12

// outcomeChart compares groups of rows, the largest first.
func outcomeChart(titles []string, outcomes []Outcomes) barChart {
	order := make([]int, len(titles))
	var most int64
	for i := range order {
		order[i] = i
		most = max(most, outcomes[i].Read)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(outcomes[b].Read, outcomes[a].Read) })
	var bars []stackedBar
	for _, i := range order[:min(len(order), maxBars)] {
		bar := stack(titles[i], most, outcomePieces(outcomes[i])...)
		bar.Note = thousands(outcomes[i].Read)
		bars = append(bars, bar)
	}
	return newBarChart(bars)
}

func (r *Reconciliation) reasonChart() barChart {
	var titles []string
	var outcomes []Outcomes
	for _, c := range r.ByReason {
		titles, outcomes = append(titles, c.Title()), append(outcomes, c.Outcomes)
	}
	return outcomeChart(titles, outcomes)
}

// Title names a request and its reason for people.
func (c ReasonCount) Title() string {
	switch {
	case c.Request == "reissue" && c.Reason != 0:
		return fmt.Sprintf("reissue, %d %s", c.Reason, c.Name)
	case c.Request == "reissue":
		return "reissue, " + c.Name
	}
	return c.Name
}

func (r *Reconciliation) productChart() barChart {
	var titles []string
	var outcomes []Outcomes
	for _, c := range r.ByProduct {
		titles, outcomes = append(titles, cmp.Or(c.Product, noProduct)), append(outcomes, c.Outcomes)
	}
	return outcomeChart(titles, outcomes)
}

// bureauChart shows what became, at each bureau, of the rows that were accepted.
func (r *Reconciliation) bureauChart() barChart {
	var most int64
	for _, b := range r.ByBureau {
		most = max(most, b.Written+b.Waiting)
	}
	var bars []stackedBar
	for _, b := range r.ByBureau {
		if b.Written+b.Waiting > 0 {
			bar := stack(cmp.Or(b.Name, b.Bureau, "no bureau"), most, piece{"written", "written", b.Written}, piece{"waiting", "waiting", b.Waiting})
			bar.Note = thousands(b.Written + b.Waiting)
			bars = append(bars, bar)
		}
	}
	return newBarChart(bars)
}

// stateWords say where a card is.
var stateWords = map[ledger.OrderState]string{
	ledger.PlannedO: "in a file not at the bureau", ledger.SentO: "sent, not answered", ledger.Acked: "acknowledged", ledger.Rejected: "rejected", ledger.Produced: "produced",
	ledger.Shipped: "shipped", ledger.Delivered: "delivered", ledger.Returned: "returned", ledger.Lost: "lost", ledger.Activated: "in use",
}

// whereChart shows where the cards of the listed files are, by bureau.
func (r *Reconciliation) whereChart() barChart {
	var names []string
	cards := map[string]map[ledger.OrderState]int64{}
	sums := map[string]int64{}
	for _, c := range r.ByState {
		if cards[c.Bureau] == nil {
			cards[c.Bureau] = map[ledger.OrderState]int64{}
			names = append(names, c.Bureau)
		}
		cards[c.Bureau][c.State] += c.Cards
		sums[c.Bureau] += c.Cards
	}
	var bars []stackedBar
	for _, name := range names {
		var pieces []piece
		for _, s := range allStates {
			pieces = append(pieces, piece{stateWords[s], strings.ToLower(string(s)), cards[name][s]})
		}
		bar := stack(r.bureauTitle(name), 0, pieces...)
		bar.Note = plural(sums[name], "card")
		bars = append(bars, bar)
	}
	return newBarChart(bars)
}

func (r *Reconciliation) bureauTitle(bureau string) string {
	for _, b := range r.ByBureau {
		if b.Bureau == bureau {
			return cmp.Or(b.Name, bureau)
		}
	}
	return bureau
}

// ageWords name the buckets in the key of the chart.
var ageWords = []string{"today", "1 day", "2 days", "3–5 days", "6–10 days", "over 10 days"}

// ageChart shows how long what is outstanding has been so, by bureau.
func (r *Reconciliation) ageChart() barChart {
	var most int64
	for _, a := range r.Ageing {
		most = max(most, a.Outstanding)
	}
	var bars []stackedBar
	for _, a := range r.Ageing {
		if a.Outstanding == 0 {
			continue
		}
		var pieces []piece
		for i, b := range a.Buckets {
			pieces = append(pieces, piece{ageWords[i], fmt.Sprintf("age%d", i), b.Cards})
		}
		bar := stack(cmp.Or(a.Name, a.Bureau), most, pieces...)
		bar.Note = plural(a.Outstanding, "card")
		if !a.Expected {
			bar.Note += ", no answer expected"
			bar.Words += ", no answer expected"
		}
		bars = append(bars, bar)
	}
	return newBarChart(bars)
}

// Sizes of the charts of nights, in pixels, as the page's template has them; widths are in percent.
const (
	nightsHeight = 130.0
	nightsTop    = 18.0 // above the bars, for marks
)

// nightChart is one column for each day.
type nightChart struct {
	Words   string
	Columns []nightColumn
	Highest string // the number at the top line
	Key     []part
}

// nightColumn: X is its left edge, Middle its middle, Width in percent.
type nightColumn struct {
	X, Middle, Width string
	Title            string // what a pointer on it shows
	Label            string // under some of the columns
	Mark             string // "", person, fault or stopped
	Gap              bool   // no run on this day
	Rects            []nightRect
}

type nightRect struct{ Class, Y, Height string }

// nightCharts are the rows of the last nights and the cards that were open at their ends.
func (r *Reconciliation) nightCharts() []nightChart {
	days := r.days()
	if len(days) == 0 {
		return nil
	}
	rows := layNights(days, func(d dayOf) []piece {
		return []piece{{"accepted", "accepted", d.Accepted}, {"refused, duplicate or held", "refused", d.Refused + d.Duplicate + d.Held}}
	})
	open := layNights(days, func(d dayOf) []piece {
		return []piece{{"answered and on their way", "acked", d.UnderWay}, {"sent, not answered", "sent", d.Outstanding}}
	})
	runs, troubled := 0, 0
	for _, d := range days {
		runs += d.Runs
		if d.ExitCode != 0 {
			troubled++
		}
	}
	rows.Words = fmt.Sprintf("Rows of the last %d days: %s, on %s something failed, stopped or needed a person; at most %s rows a day. The table below has the numbers.",
		nightsShown, plural(int64(runs), "run"), plural(int64(troubled), "day"), rows.Highest)
	open.Words = fmt.Sprintf("Cards open at the end of each day: at most %s, %s now.", open.Highest, thousands(r.Outstanding+r.UnderWay))
	return []nightChart{rows, open}
}

func layNights(days []dayOf, pieces func(dayOf) []piece) nightChart {
	var chart nightChart
	var highest int64 = 1
	for _, d := range days {
		var sum int64
		for _, p := range pieces(d) {
			sum += p.n
		}
		highest = max(highest, sum)
	}
	chart.Highest = thousands(highest)
	for _, p := range pieces(days[0]) {
		chart.Key = append(chart.Key, part{Name: p.name, Class: p.class})
	}
	slot := 100 / float64(len(days))
	for i, d := range days {
		c := nightColumn{
			X: fmt.Sprintf("%.3f", float64(i)*slot+slot*0.14), Middle: fmt.Sprintf("%.3f", (float64(i)+0.5)*slot), Width: fmt.Sprintf("%.3f", slot*0.72),
			Gap: d.Runs == 0, Mark: map[int]string{1: "fault", 4: "person", 5: "stopped"}[d.ExitCode], Title: d.title(),
		}
		if (len(days)-1-i)%7 == 0 && i > 0 {
			c.Label = dayWords(d.Date)
		}
		bottom := nightsTop + nightsHeight
		for _, p := range pieces(d) {
			if p.n > 0 {
				height := max(1, nightsHeight*float64(p.n)/float64(highest))
				bottom -= height
				c.Rects = append(c.Rects, nightRect{p.class, fmt.Sprintf("%.1f", bottom), fmt.Sprintf("%.1f", height)})
			}
		}
		chart.Columns = append(chart.Columns, c)
	}
	return chart
}

func dayWords(date string) string {
	day, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return date
	}
	return day.Format("2 Jan")
}

func (d dayOf) title() string {
	if d.Runs == 0 {
		return d.Date + ": no run"
	}
	text := fmt.Sprintf("%s: %s read, %s accepted; %s and %s open", d.Date, thousands(d.Read), thousands(d.Accepted), plural(d.Outstanding, "outstanding card"), thousands(d.UnderWay)+" on their way")
	if words := exitWords[d.ExitCode]; words != "" {
		text += "; " + words
	}
	return text
}

// exitWords say what an exit code of a run meant.
var exitWords = map[int]string{1: "failed", 4: "needed a person", 5: "stopped before its end"}
