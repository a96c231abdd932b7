package report

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/runes"
	"golang.org/x/text/transform"

	"reemboss/batch/ledger"
)

// What the page shows at most of each list, to stay small enough for a phone
// and a printer. reconciliation.json and the lists beside the page have all.
const (
	maxRefusalsOnPage = 100
	maxFilesOnPage    = 200
	maxBalancesOnPage = 100
	maxReturnsOnPage  = 100
	maxEventsOnPage   = 100
)

// The page's template, its look and its script.
var (
	//go:embed page.html.tmpl
	pageText string
	//go:embed page.css
	pageStyle string
	//go:embed page.js
	pageScript string
)

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"count":   thousands,
	"product": func(name string) string { return cmp.Or(name, noProduct) },
	"stamp":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
	"day":     func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"exit":    func(code int) string { return cmp.Or(exitWords[code], "complete") },
	"event": func(status string) string {
		return cmp.Or(stateWords[ledger.OrderState(status)], strings.ToLower(status))
	},
}).Parse(pageText))

// page is the reconciliation with what only the page needs: charts and words.
type page struct {
	*Reconciliation
	Style                   template.CSS
	Script                  template.JS
	StyleHash, ScriptHash   string // that the policy lets in
	Mood, Pill              string
	Broken                  []Balance
	RunBalances, OfFiles    []Balance
	BrokenLeft, AllBroken   int64
	OfFilesLeft, AllOfFiles int64
	Tiles                   []Term
	Bars                    []stackedBar
	Where, Ages             barChart
	ReasonBars              barChart
	ProductBars             barChart
	BureauBars              barChart
	NightCharts             []nightChart
	NightsBack              []NightTold // newest first
	Late                    []lateRow
	ShownFiles              []BureauFile
	FilesLeft               int64
	ShownReturns            []ReturnFile
	ReturnsLeft             int64
	ShownEvents             []EventCount
	EventsLeft              int64
	Codes                   []codeBar
	StageBars               []stageBar
	RangeBars               []rangeBar
	Refusals                []refusal
	NotAccepted             int64
	RefusalsLeft            bool
	FileRefused             bool // at least one as a whole
}

// lateRow is a breach with its bureau.
type lateRow struct {
	Bureau string
	Late
}

// Done says in words what is not done in time.
func (l lateRow) Done() string { return "not " + pastWords[l.What] }

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

// writePage writes reconciliation.html: one page that needs no other file and
// no network. Its policy lets nothing in but its own style and script, by their hashes.
// A control character that a sender wrote stands in it as _.
func (r *Reconciliation) writePage(w io.Writer) error {
	p := page{
		Reconciliation: r, Style: template.CSS(pageStyle), Script: template.JS(pageScript), StyleHash: policyHash(pageStyle), ScriptHash: policyHash(pageScript),
		Tiles: r.counts(), Bars: r.bars(), Where: r.whereChart(), Ages: r.ageChart(),
		ReasonBars: r.reasonChart(), ProductBars: r.productChart(), BureauBars: r.bureauChart(), NightCharts: r.nightCharts(),
		Codes: codeBars(r.ByCode), StageBars: stageBars(r.Stages), RangeBars: rangeBars(r.Ranges),
	}
	p.Mood, p.Pill = r.mood()
	p.Broken, p.BrokenLeft = first(r.broken(), maxBalancesOnPage)
	p.AllBroken = int64(len(p.Broken)) + p.BrokenLeft
	p.NightsBack = slices.Clone(r.Nights)
	slices.Reverse(p.NightsBack)
	for _, b := range r.Balances {
		switch {
		case b.ofFile && b.Holds:
			p.OfFiles = append(p.OfFiles, b)
		case !b.ofFile:
			p.RunBalances = append(p.RunBalances, b)
		}
	}
	p.AllOfFiles = int64(len(p.OfFiles))
	p.OfFiles, p.OfFilesLeft = first(p.OfFiles, maxBalancesOnPage)
	for _, a := range r.Ageing {
		for _, l := range a.Late {
			p.Late = append(p.Late, lateRow{cmp.Or(a.Name, a.Bureau), l})
		}
	}
	p.ShownFiles, p.FilesLeft = filesOnPage(r.ListedFiles())
	p.ShownReturns, p.ReturnsLeft = first(r.Returns, maxReturnsOnPage)
	p.ShownEvents, p.EventsLeft = first(r.Events, maxEventsOnPage)
	p.Refusals, _ = first(r.refusals, maxRefusalsOnPage)
	p.NotAccepted = r.Read - r.Accepted
	p.RefusalsLeft = p.NotAccepted > int64(len(p.Refusals))
	p.FileRefused = slices.ContainsFunc(r.RequestFiles, func(f RequestFile) bool { return f.Code != "" })
	printed := transform.NewWriter(w, runes.Map(uncontrolled))
	if err := pageTemplate.Execute(printed, p); err != nil {
		return err
	}
	return printed.Close()
}

// policyHash is a source of the content security policy: the text with this hash and no other.
func policyHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// first gives at most n of list, and how many are left.
func first[T any](list []T, n int) (shown []T, left int64) {
	n = min(n, len(list))
	return list[:n], int64(len(list) - n)
}

// filesOnPage chooses, where there are too many, those that do not balance and the newest.
func filesOnPage(files []BureauFile) (shown []BureauFile, left int64) {
	if len(files) <= maxFilesOnPage {
		return files, 0
	}
	order := slices.Clone(files)
	slices.SortStableFunc(order, func(a, b BureauFile) int {
		switch {
		case a.Balanced == b.Balanced:
			return cmp.Compare(b.RunID, a.RunID)
		case a.Balanced:
			return 1
		}
		return -1
	})
	shown, left = first(order, maxFilesOnPage)
	slices.SortFunc(shown, func(a, b BureauFile) int {
		return cmp.Or(cmp.Compare(a.Bureau, b.Bureau), cmp.Compare(a.Sequence, b.Sequence))
	})
	return shown, left
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
		bars = append(bars, stack("What became of the rows", 0, outcomePieces(Outcomes{r.Read, r.Accepted, r.Refused, r.Duplicate, r.Held})...))
	}
	if r.Accepted > 0 {
		bars = append(bars, stack("What became of the accepted ones", 0, piece{"written", "written", r.Written}, piece{"waiting", "waiting", r.Waiting}, piece{"cancelled", "refused", r.Cancelled}))
	}
	return bars
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
