package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"reemboss/batch"
	"reemboss/batch/report"
)

// someNights are nights at simulated bureaus that tell what a test has them
// tell: of the cards that alpha got in the first one, one each was rejected,
// delivered, returned, lost, and is told of what cannot be; beta says nothing for days and then refuses
// its first file, which a person cancels. The last night is worked by the program itself, now.
type someNights struct {
	*workspace
	cards []plastic
	uids  []string // alpha's of the first night, in the order of its file
	last  *report.Reconciliation
}

// The nights lie so far back that no weekend, holiday or cut-off keeps a bureau
// from being late: with the first one's shipping, due within five working
// days, and with acknowledging the second one, due on the next.
// The second one's cards are in transit still, for fourteen days.
const (
	oneDay      = 24 * time.Hour
	firstNight  = 20 * oneDay
	secondNight = 10 * oneDay
	thirdNight  = 2 * oneDay
)

func nightsWithAnswers(t *testing.T) *someNights {
	t.Helper()
	w := &someNights{workspace: &workspace{Workspace: batch.Workspace{Dir: filepath.Join(t.TempDir(), "w")}, tb: t}}
	now := time.Now()
	if err := batch.Init(w.Dir, now.Add(-firstNight), rand.Reader); err != nil {
		t.Fatal(err)
	}
	w.configure("stable_for: 1s", "stable_for: 2ms")
	w.configure("retry_pause: 2s", "retry_pause: 2ms")
	w.configureBureau("alpha", "answers: true", "answers: false")
	w.configureBureau("beta", "simulation: {seed: 2}", "simulation: {answers: false}")

	w.cards, _ = w.realisticNight()
	w.nightAt(now.Add(-firstNight))
	w.uids = w.outstanding("alpha")
	if len(w.uids) < 8 || len(w.outstanding("beta")) < 3 {
		t.Fatalf("the first night sent %d and %d cards", len(w.uids), len(w.outstanding("beta")))
	}

	w.ask("i-more.csv", 28, 50)
	at := now.Add(-secondNight - oneDay)
	w.answer("alpha", "alpha 1.csv", w.file("alpha", "RECEIVED", len(w.uids), at), w.card(0, "REJECTED", "E07", at.Add(time.Hour)),
		w.card(1, "PRODUCED", "", at), w.card(2, "SHIPPED", "", at), w.card(3, "SHIPPED", "", at))
	w.nightAt(now.Add(-secondNight))

	w.ask("j-more.csv", 50, 56)
	at = now.Add(-thirdNight - oneDay)
	w.answer("alpha", "alpha 2.csv", w.card(1, "DELIVERED", "", at), w.card(2, "RETURNED", "R01", at), w.card(3, "LOST", "", at),
		w.card(1, "REJECTED", "E07", at.Add(time.Hour)), strings.Replace(w.card(4, "SHIPPED", "", at), w.uids[4], "ZZZZZZZZZZZZZZZZZZZZ", 1))
	w.answer("alpha", "alpha 3.csv", strings.ReplaceAll(w.card(4, "SHIPPED", "", at), "alpha", "nobody"))
	w.answer("beta", "beta 1.csv", w.file("beta", "REFUSED", -1, at))
	w.nightAt(now.Add(-thirdNight))

	w.do(exitComplete, "cancel", filepath.Base(w.glob("outbox/beta/*")[0]), "--reason", "they cannot read it")
	w.answer("alpha", "alpha 4.csv", w.card(4, "PRODUCED", "", now.Add(-time.Hour)))
	w.answer("beta", "beta 2.csv", w.file("beta", "RECEIVED", 7, now.Add(-time.Hour))) // which is void by now
	w.ask("k-more.csv", 56, 59)
	w.ask("l-again.csv", 28, 40) // in transit
	unknown := []string{"card_id,reference"}
	for i := range 1200 { // more than the page lists, and a number with a comma
		unknown = append(unknown, fmt.Sprintf("%d,U-%d", 900001+i, i))
	}
	w.write("inbox/m-unknown.csv", lines(unknown...))
	w.last = w.night(exitPerson)
	return w
}

// nightAt works a night as if it were then.
func (w *someNights) nightAt(then time.Time) {
	w.tb.Helper()
	n, err := batch.Open(context.Background(), w.Dir, batch.Options{Lock: true, Log: zerolog.Nop(), Now: func() time.Time { return then },
		Sleep: func(context.Context, time.Duration) error { return nil }})
	if err != nil {
		w.tb.Fatal(err)
	}
	defer n.Close()
	if _, err := n.Run(context.Background()); err != nil {
		w.tb.Fatal(err)
	}
}

// ask drops a request file for some of the cards.
func (w *someNights) ask(name string, from, to int) {
	w.tb.Helper()
	rows := []string{"card_id,customer_id,reason_code"}
	for _, c := range w.cards[from:to] {
		rows = append(rows, c.id+","+c.customer+",damaged")
	}
	w.write("inbox/"+name, lines(rows...))
}

// outstanding are the uids that wait for a bureau's answer, as the newest report lists them.
func (w *workspace) outstanding(bureau string) (uids []string) {
	w.tb.Helper()
	lists := w.glob("reports/*/outstanding.csv")
	for _, row := range table(w.tb, w.read(lists[len(lists)-1])) {
		if row["bureau"] == bureau {
			uids = append(uids, row["uid"])
		}
	}
	return uids
}

// returnFile is one in our own shape: lines with their trailer.
func returnFile(told ...string) []byte {
	head := "record_type,file_name,sequence,uid,status,count,code,description,carrier,tracking_number,occurred_at"
	return lines(append(append([]string{head}, told...), fmt.Sprintf("TRAILER,,,,,%d,,,,,", len(told)))...)
}

// answer puts a return file into a simulated bureau's folder.
func (w *workspace) answer(bureau, name string, told ...string) {
	w.tb.Helper()
	w.write("simulator/"+bureau+"/returns/"+name, returnFile(told...))
}

// card is a line on one of alpha's cards, file one on a bureau's first file.
func (w *someNights) card(i int, status, code string, at time.Time) string {
	return cardLine(filepath.Base(w.glob("outbox/alpha/*")[0]), w.uids[i], status, code, at)
}

func (w *someNights) file(bureau, status string, count int, at time.Time) string {
	return fileLine(filepath.Base(w.glob("outbox/" + bureau + "/*")[0]), status, count, at)
}

func cardLine(file, uid, status, code string, at time.Time) string {
	return fmt.Sprintf("CARD,%s,,%s,%s,,%s,,,,%s", file, uid, status, code, at.UTC().Format(time.RFC3339))
}

// fileLine has no count where it is negative.
func fileLine(file, status string, count int, at time.Time) string {
	counted := fmt.Sprint(count)
	if count < 0 {
		counted = ""
	}
	return fmt.Sprintf("FILE,%s,,,%s,%s,,,,,%s", file, status, counted, at.UTC().Format(time.RFC3339))
}

// The page as a person has it who opens it from the report's folder.
func TestThePageInChromium(t *testing.T) {
	needReal(t, "chromium", "pdftotext")
	w := nightsWithAnswers(t)
	path := w.Path("reports", w.last.RunID, "reconciliation.html")
	b := startBrowser(t)
	t.Run("whatever a page asks for or complains of is noticed", func(t *testing.T) { pageThatMisbehaves(t, b) })
	t.Run("it asks for nothing and complains of nothing", func(t *testing.T) { quietPage(t, b, path) })
	t.Run("numbers sort as numbers", func(t *testing.T) { numbersSort(t, b.open(t, path, desk)) })
	t.Run("days sort as days", func(t *testing.T) { daysSort(t, b.open(t, path, desk)) })
	t.Run("words sort as words, by the keyboard too", func(t *testing.T) { wordsSort(t, b.open(t, path, desk)) })
	t.Run("every heading sorts its column", func(t *testing.T) { everyColumnSorts(t, b.open(t, path, desk)) })
	t.Run("a filter hides rows and says how many are left", func(t *testing.T) { filters(t, b.open(t, path, desk), w.last) })
	t.Run("paper has what is folded and filtered away", func(t *testing.T) { prints(t, b.open(t, path, desk), w.last) })
	t.Run("a phone shows it without moving it sideways", func(t *testing.T) { fitsAPhone(t, b, path) })
}

// pageThatMisbehaves holds the recorder against a page that does everything that ours must not do.
func pageThatMisbehaves(t *testing.T, b *realBrowser) {
	path := filepath.Join(t.TempDir(), "page.html")
	writeReal(t, path, []byte(`<!DOCTYPE html><title>x</title><img src="http://images.example/pixel.png"><link rel="stylesheet" href="style.css">
<script>console.warn("beware"); console.error("alas"); fetch("https://news.example/").catch(function () {})</script><script>throw new Error("thrown")</script>`))
	p := b.open(t, path, desk)
	asked, complaints := strings.Join(p.asked(), " "), p.complained()
	for _, url := range []string{"http://images.example/pixel.png", "https://news.example/", fileURL(filepath.Join(filepath.Dir(path), "style.css"))} {
		if !strings.Contains(asked, url) {
			t.Errorf("%s was asked for and is not in %s", url, asked)
		}
	}
	for _, what := range []string{"beware", "alas", "thrown", "ERR_NAME_NOT_RESOLVED"} {
		if !strings.Contains(complaints, what) {
			t.Errorf("%q was not noticed: %s", what, complaints)
		}
	}
}

// quietPage holds that the page is alone with itself, also when everything on it is used.
func quietPage(t *testing.T, b *realBrowser, path string) {
	p := b.open(t, path, desk)
	if !seen[bool](p, `document.querySelector('meta[http-equiv="Content-Security-Policy"]').content.startsWith("default-src 'none';") && document.querySelectorAll("table.sort").length > 9`) {
		t.Error("the page has no policy that keeps everything out, or not its tables")
	}
	p.click(`document.querySelector("details.fold summary")`)
	p.click(`document.querySelector("button.copy")`)
	if said := seen[string](p, `document.querySelector("button.copy").textContent`); said == "Copy" {
		t.Error("the button that copies a command does nothing")
	}
	seen[bool](p, `document.querySelectorAll("button").forEach(function (b) { b.click(); }) || true`)
	p.drawn()
	if asked := p.asked(); len(asked) != 1 || asked[0] != fileURL(path) {
		t.Errorf("the page asks for %q", asked)
	}
	if complaints := p.complained(); complaints != "" {
		t.Errorf("the page complains:\n%s", complaints)
	}
}

// tableOf is the expression of a table of the page, by the name that it has there.
func tableOf(name string) string {
	return fmt.Sprintf("document.querySelector('table[data-name=%q]')", name)
}

// headingOf is that of a column's heading.
func headingOf(table, heading string) string {
	return fmt.Sprintf("Array.from(%s.tHead.rows[0].cells).find(function (th) { return th.querySelector('button').textContent === %q; })", tableOf(table), heading)
}

// column gives a column's cells from the top, those that are shown.
func column(p *realTab, table, heading string) []string {
	p.t.Helper()
	return seen[[]string](p, fmt.Sprintf(`(function (table, i) {
		return Array.from(table.tBodies[0].rows).filter(function (r) { return r.checkVisibility(); }).map(function (r) { return r.cells[i].innerText.split("\n")[0].trim(); });
	})(%s, %s.cellIndex)`, tableOf(table), headingOf(table, heading)))
}

// sorted says how the column's heading says that it is sorted, as a screen reader would read it.
func sorted(p *realTab, table, heading string) string {
	p.t.Helper()
	return seen[string](p, headingOf(table, heading)+`.getAttribute("aria-sort")`)
}

// unfold opens the fold in which a table is.
func unfold(p *realTab, table string) {
	p.t.Helper()
	p.click(tableOf(table) + `.closest("details").querySelector("summary")`)
}

// sortsBothWays clicks a heading twice: first and second are its orders.
func sortsBothWays(p *realTab, table, heading, first, second string, ordered func(a, b string) int) {
	p.t.Helper()
	if said := sorted(p, table, heading); said != "none" {
		p.t.Errorf("%s, %s: %s before anybody sorted it", table, heading, said)
	}
	for _, want := range []string{first, second} {
		p.click(headingOf(table, heading) + `.querySelector("button")`)
		cells := column(p, table, heading)
		if len(cells) < 3 {
			p.t.Errorf("%s, %s: only %d rows", table, heading, len(cells))
		}
		up := slices.Clone(cells)
		if want == "descending" {
			slices.Reverse(up)
		}
		if said := sorted(p, table, heading); said != want || !slices.IsSortedFunc(up, ordered) {
			p.t.Errorf("%s, %s: it says %s, want %s: %q", table, heading, said, want, cells)
		}
	}
}

// amount is a number as the page writes it: 1,200 or 12.5 %.
func amount(text string) float64 {
	n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.ReplaceAll(text, ",", ""), "%")), 64)
	if err != nil {
		return math.Inf(-1) // an empty cell
	}
	return n
}

func byAmount(a, b string) int { return cmp.Compare(amount(a), amount(b)) }

func numbersSort(t *testing.T, p *realTab) {
	cells := column(p, "the answers", "Rows")
	if byText := slices.Sorted(slices.Values(cells)); slices.IsSortedFunc(byText, byAmount) {
		t.Fatalf("these numbers sort as words alike: %q", cells)
	}
	sortsBothWays(p, "the answers", "Rows", "descending", "ascending", byAmount) // the most is looked for first
	if sorted(p, "the answers", "Code") != "none" {
		t.Error("two columns say that they are sorted")
	}
}

func daysSort(t *testing.T, p *realTab) {
	sortsBothWays(p, "what is late", "Due", "ascending", "descending", strings.Compare)
	unfold(p, "the nights")
	sortsBothWays(p, "the nights", "Run", "ascending", "descending", strings.Compare)
}

func wordsSort(t *testing.T, p *realTab) {
	sortsBothWays(p, "the answers", "Code", "ascending", "descending", strings.Compare)
	if sorted(p, "the answers", "Code") != "descending" {
		t.Fatal("it is not sorted downwards")
	}
	seen[bool](p, headingOf("the answers", "Code")+`.querySelector("button").focus() || true`)
	p.press("Enter", 13, "\r")
	if sorted(p, "the answers", "Code") != "ascending" {
		t.Error("the Enter key on a heading does not sort")
	}
}

// everyColumnSorts clicks each heading of each table, folded ones too: the rows
// stay the same ones, and numbers stand in the order of their first line, in which the column's number is.
func everyColumnSorts(t *testing.T, p *realTab) {
	type outcome struct {
		Table, Heading string
		Numeric        bool
		Lost           bool       // rows are gone, or there twice
		Cells          [][]string // after the first click and after the second
		Said           []string
	}
	all := seen[[]outcome](p, `(function () {
		var all = [];
		document.querySelectorAll("details").forEach(function (d) { d.open = true; });
		document.querySelectorAll("table.sort").forEach(function (table) {
			var whole = function () { return Array.from(table.tBodies[0].rows).map(function (r) { return r.innerText; }).sort().join("\n"); }, before = whole();
			Array.from(table.tHead.rows[0].cells).forEach(function (th, i) {
				var o = {Table: table.dataset.name, Heading: th.querySelector("button").textContent, Numeric: th.classList.contains("n"), Cells: [], Said: [], Lost: false};
				for (var k = 0; k < 2; k++) {
					th.querySelector("button").click();
					o.Said.push(th.getAttribute("aria-sort"));
					o.Lost = o.Lost || whole() !== before;
					o.Cells.push(Array.from(table.tBodies[0].rows).map(function (r) { return r.cells[i] ? r.cells[i].dataset.v || r.cells[i].innerText.split("\n")[0] : ""; }));
				}
				all.push(o);
			});
		});
		return all;
	})()`)
	if len(all) < 60 {
		t.Errorf("the page has only %d headings", len(all))
	}
	for _, o := range all {
		want := []string{"ascending", "descending"}
		if o.Numeric {
			want = []string{"descending", "ascending"}
		}
		if o.Lost || !slices.Equal(o.Said, want) {
			t.Errorf("%s, %s: rows are lost: %v; it says %q", o.Table, o.Heading, o.Lost, o.Said)
		}
		for i, cells := range o.Cells {
			if want[i] == "descending" {
				slices.Reverse(cells)
			}
			if o.Numeric && !slices.IsSortedFunc(cells, byAmount) {
				t.Errorf("%s, %s: %s gives, from below, %q", o.Table, o.Heading, want[i], cells)
			}
		}
	}
}

func filters(t *testing.T, p *realTab, last *report.Reconciliation) {
	const name = "what was not accepted"
	tools := tableOf(name) + `.closest(".scroll").previousElementSibling`
	told := func() string { return seen[string](p, tools+`.querySelector("output").textContent`) }
	shown := func() []string { return column(p, name, "Codes") }
	if rows := shown(); told() != "100 rows" || len(rows) != 100 || last.Read-last.Accepted < 1000 {
		t.Fatalf("the page shows %d rows and says %s", len(rows), told())
	}
	p.enter(tools+`.querySelector("input")`, "transit card_IN")
	rows := shown()
	if len(rows) == 0 || told() != fmt.Sprintf("%d of 100 rows", len(rows)) {
		t.Errorf("%d rows are shown, and it says %s", len(rows), told())
	}
	for _, code := range rows {
		if code != "card_in_transit" {
			t.Errorf("a row with %s is shown", code)
		}
	}
	if others := len(column(p, "the answers", "Code")); others < 2 {
		t.Errorf("the filter of one table leaves %d rows of another", others)
	}
	p.click(headingOf(name, "Card") + `.querySelector("button")`)
	if again := shown(); len(again) != len(rows) {
		t.Errorf("sorting shows %d rows where the filter left %d", len(again), len(rows))
	}
	p.enter(tools+`.querySelector("input")`, "no such row")
	if rows := shown(); len(rows) != 0 || told() != "0 of 100 rows" {
		t.Errorf("%d rows are shown, and it says %s", len(rows), told())
	}
	p.enter(tools+`.querySelector("input")`, "")
	if rows := shown(); len(rows) != 100 || told() != "100 rows" {
		t.Errorf("%d rows are shown, and it says %s", len(rows), told())
	}
}

// prints holds that what somebody folded and filtered away on the screen is on paper, and afterwards as it was on the screen.
func prints(t *testing.T, p *realTab, last *report.Reconciliation) {
	p.enter(tableOf("the return files")+`.closest(".scroll").previousElementSibling.querySelector("input")`, "no such row")
	onScreen := seen[string](p, "document.body.innerText")
	// A cell's lines are broken where the paper ends.
	paper := strings.Join(strings.Fields(p.printed()), "")
	for _, f := range last.Returns {
		if strings.Contains(onScreen, f.Name) {
			t.Errorf("the return file %s was filtered away and is on the screen", f.Name)
		}
		if !strings.Contains(paper, strings.ReplaceAll(f.Name, " ", "")) {
			t.Errorf("the return file %s was filtered away and is not on paper", f.Name)
		}
	}
	folded := 0
	for _, n := range last.Nights {
		if strings.Contains(onScreen, n.RunID) {
			continue // this one, and one whose orders wait
		}
		folded++
		if !strings.Contains(paper, n.RunID) {
			t.Errorf("the night %s is folded and not on paper", n.RunID)
		}
	}
	for _, f := range last.ListedFiles() {
		if !strings.Contains(paper, f.Name) {
			t.Errorf("the bureau file %s is not on paper", f.Name)
		}
	}
	if folded < 2 || len(last.Returns) < 2 {
		t.Errorf("only %d nights were folded and %d return files filtered away", folded, len(last.Returns))
	}
	for _, ofScreen := range []string{"Copy", "Filter", "▲", "↕"} {
		if strings.Contains(paper, ofScreen) {
			t.Errorf("%q is of no use on paper", ofScreen)
		}
	}
	if after := seen[string](p, "document.body.innerText"); after != onScreen {
		t.Error("after printing the screen shows something else than before")
	}
}

func fitsAPhone(t *testing.T, b *realBrowser, path string) {
	for _, width := range []int{390, 320} {
		p := b.open(t, path, screen{width, 844, true})
		seen[bool](p, `document.querySelectorAll("details").forEach(function (d) { d.open = true; }) || true`)
		p.drawn()
		type size struct {
			Page, Window int
			Wide         []string
		}
		s := seen[size](p, `(function () {
			var root = document.documentElement, wide = Array.from(document.querySelectorAll("main *")).filter(function (e) {
				return !e.closest(".scroll, svg, pre") && e.getBoundingClientRect().right > root.clientWidth + 1;
			}).map(function (e) { return e.outerHTML.slice(0, 80); });
			return {Page: Math.max(root.scrollWidth, document.body.scrollWidth), Window: Math.round(window.innerWidth), Wide: wide.slice(0, 5)};
		})()`)
		if s.Page > width || s.Window != width || len(s.Wide) > 0 {
			t.Errorf("on %d pixels the page has %d and the window %d: %q", width, s.Page, s.Window, s.Wide)
		}
	}
}
