package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"
)

// maxRefusalsOnPage keeps the page small enough for a phone and a printer.
const maxRefusalsOnPage = 100

//go:embed page.html.tmpl
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"count":   thousands,
	"choices": choices,
	"product": func(name string) string { return cmp.Or(name, noProduct) },
	"stamp":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
	"day":     func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
}).Parse(pageText))

// page is the reconciliation with what only the page needs: bars and words.
type page struct {
	*Reconciliation
	Mood, Pill   string
	Broken       []Balance
	Tiles        []Term
	Bars         []stackedBar
	Codes        []codeBar
	StageBars    []stageBar
	RangeBars    []rangeBar
	Refusals     []refusal
	NotAccepted  int64
	RefusalsLeft bool
	FileRefused  bool // at least one as a whole
}

// stackedBar shows how a whole falls into parts.
type stackedBar struct {
	Title string
	Words string // the same for somebody who cannot see it
	Parts []part
}

// part is a piece of a bar; X and Width in percent of it.
type part struct {
	Name     string
	N        int64
	X, Width string
	Share    string
}

type codeBar struct {
	CodeCount
	Width, Share string
	Words        string // what the code alone leaves open
}

type stageBar struct {
	Stage
	Width, Share string
	Took         string
}

type rangeBar struct {
	Range
	Width, Share, Forecast string
	Full                   bool
}

// writePage writes reconciliation.html: one page that needs no other file and no network.
func (r *Reconciliation) writePage(w io.Writer) error {
	p := page{Reconciliation: r, Broken: r.broken(), Codes: codeBars(r.ByCode), StageBars: stageBars(r.Stages), RangeBars: rangeBars(r.Ranges)}
	p.Mood, p.Pill = r.mood()
	p.Tiles = r.counts()
	p.Bars = r.bars()
	p.Refusals = r.refusals[:min(len(r.refusals), maxRefusalsOnPage)]
	p.NotAccepted = r.Read - r.Accepted
	p.RefusalsLeft = p.NotAccepted > int64(len(p.Refusals))
	p.FileRefused = slices.ContainsFunc(r.RequestFiles, func(f RequestFile) bool { return f.Code != "" })
	return pageTemplate.Execute(w, p)
}

// mood is the colour of the page's head and the two words in it.
func (r *Reconciliation) mood() (class, words string) {
	switch {
	case len(r.broken()) > 0:
		return "alarm", "Does not balance"
	case r.ExitCode == 1:
		return "alarm", "Failed"
	case r.ExitCode == 5:
		return "person", "Stopped, will continue"
	case r.ExitCode == 4:
		return "person", "Needs a person"
	}
	return "", "Complete and balanced"
}

func (r *Reconciliation) bars() []stackedBar {
	var bars []stackedBar
	if r.Read > 0 {
		bars = append(bars, stack("What became of the rows", Term{"accepted", r.Accepted}, Term{"refused", r.Refused}, Term{"duplicate", r.Duplicate}, Term{"held", r.Held}))
	}
	if r.Accepted > 0 {
		bars = append(bars, stack("What became of the accepted ones", Term{"written", r.Written}, Term{"waiting", r.Waiting}))
	}
	return bars
}

// stack lays parts beside each other. A part that is not empty is at least half a percent wide, so that it can be seen.
func stack(title string, terms ...Term) stackedBar {
	bar := stackedBar{Title: title}
	var whole int64
	for _, t := range terms {
		whole += t.N
	}
	widths := make([]float64, len(terms))
	sum := 0.0
	for i, t := range terms {
		if t.N > 0 {
			widths[i] = max(0.5, 100*float64(t.N)/float64(whole))
			sum += widths[i]
		}
	}
	x := 0.0
	var words []string
	for i, t := range terms {
		width := widths[i] * 100 / max(sum, 1)
		bar.Parts = append(bar.Parts, part{t.Name, t.N, fmt.Sprintf("%.3f", x), fmt.Sprintf("%.3f", width), percent(t.N, whole)})
		words = append(words, fmt.Sprintf("%s %d", t.Name, t.N))
		x += width
	}
	bar.Words = title + ": " + strings.Join(words, ", ")
	return bar
}

// codeBars shows the share of each code in all answers.
func codeBars(codes []CodeCount) []codeBar {
	var all int64
	for _, c := range codes {
		all += c.N
	}
	bars := make([]codeBar, len(codes))
	for i, c := range codes {
		bars[i] = codeBar{c, width(c.N, all), percent(c.N, all), c.words()}
	}
	return bars
}

func stageBars(stages []Stage) []stageBar {
	var all int64
	for _, s := range stages {
		all += milliseconds(s)
	}
	bars := make([]stageBar, len(stages))
	for i, s := range stages {
		bars[i] = stageBar{s, width(milliseconds(s), all), percent(milliseconds(s), all), took(s)}
	}
	return bars
}

// took is the time of a stage with its unit: 8 ms, 1.02 s, 3 min 20 s.
func took(s Stage) string {
	switch ms := milliseconds(s); {
	case ms == 0:
		return "under 1 ms"
	case ms < 1000:
		return fmt.Sprintf("%d ms", ms)
	case ms < 120_000:
		return fmt.Sprintf("%.2f s", float64(ms)/1000)
	default:
		return fmt.Sprintf("%d min %d s", ms/60_000, ms/1000%60)
	}
}

// choices gives each way that a command offers as a command of its own: copied
// into a shell, the bar between two options would be a pipe.
func choices(command string) []string {
	if command == "" {
		return nil
	}
	words := strings.Split(command, " ")
	for i, word := range words {
		if !strings.HasPrefix(word, "--") || !strings.Contains(word, "|") {
			continue
		}
		var all []string
		for choice := range strings.SplitSeq(word, "|") {
			words[i] = choice
			all = append(all, strings.Join(words, " "))
		}
		return all
	}
	return []string{command}
}

func milliseconds(s Stage) int64 { return int64(s.Seconds*1000 + 0.5) }

func rangeBars(ranges []Range) []rangeBar {
	bars := make([]rangeBar, len(ranges))
	for i, r := range ranges {
		bars[i] = rangeBar{r, width(r.Used, r.Capacity), percent(r.Used, r.Capacity), r.forecast(), fillLevel(r.Used, r.Capacity) > 0}
	}
	return bars
}

// width is a bar's length in percent.
func width(n, of int64) string {
	if n <= 0 || of <= 0 {
		return "0"
	}
	return fmt.Sprintf("%.2f", min(100, max(0.5, 100*float64(n)/float64(of))))
}
