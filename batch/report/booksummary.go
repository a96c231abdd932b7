package report

import (
	"fmt"
	"strings"

	"github.com/xuri/excelize/v2"
)

const summarySheet = "Summary"

// summaryColumns are those of the first sheet, which has no one heading.
var summaryColumns = []column{{"", 50, words}, {"", 17, words}, {"", 62, words}, {"", 66, words}}

// summaryWriter writes the first sheet line by line and keeps the first error.
type summaryWriter struct {
	book   *book
	stream *excelize.StreamWriter
	line   int
	err    error
}

// summary is the first sheet: verdict, counts with a chart, balances, what needs a person.
func (b *book) summary(r *Reconciliation) error {
	if err := b.newSheet(summarySheet); err != nil {
		return err
	}
	stream, err := b.file.NewStreamWriter(summarySheet)
	if err != nil {
		return err
	}
	w := &summaryWriter{book: b, stream: stream}
	for i, c := range summaryColumns {
		if err := stream.SetColWidth(i+1, i+1, c.width); err != nil {
			return err
		}
	}
	w.verdict(r)
	w.counts(r)
	w.head("Balance", "", "In numbers", "")
	for _, eq := range r.Balances {
		if eq.ofFile && eq.Holds {
			continue
		}
		w.put(eq.Name, b.holds(eq.Holds), eq.String())
		w.merge("C", "D")
	}
	if len(r.NeedsPerson) > 0 {
		w.head("Needs a person", "", "Why", "Command")
	}
	for _, n := range r.NeedsPerson {
		w.put(n.What, "", n.Why, strings.Join(n.Choices(), "\nor "))
	}
	if len(r.Warnings)+len(r.Notes) > 0 {
		w.head("Warnings and notes", "", "", "")
	}
	for _, text := range r.Warnings {
		w.remark("Warning: " + text)
	}
	for _, text := range r.Notes {
		w.remark(text)
	}
	if w.err != nil {
		return w.err
	}
	return stream.Flush()
}

func (w *summaryWriter) verdict(r *Reconciliation) {
	w.row([]any{excelize.Cell{StyleID: w.book.title, Value: Neutral(r.Verdict)}}, excelize.RowOpts{Height: 44})
	w.merge("A", "D")
	w.put("Run", r.RunID)
	w.put("Exit code", excelize.Cell{StyleID: w.book.plain, Value: r.ExitCode})
}

// counts writes the numbers of the night and draws the outcomes beside them.
func (w *summaryWriter) counts(r *Reconciliation) {
	w.head("Counts", "Rows")
	for _, t := range r.counts() {
		w.put(t.Name, t.N)
	}
	w.put("sent and not answered, all files", r.Outstanding)
	w.put("answered and on their way, all files", r.UnderWay)
	last := w.line - 2 - len(r.counts()) + 5 // read, then the four outcomes
	if w.err == nil && r.Read > 0 {
		w.err = w.book.chart(last-3, last) // before Flush, which writes the reference to it
	}
}

// row writes the next line as it is.
func (w *summaryWriter) row(cells []any, opts ...excelize.RowOpts) {
	w.line++
	if w.err == nil {
		w.err = w.stream.SetRow(fmt.Sprintf("A%d", w.line), cells, opts...)
	}
}

// put dresses the next line and makes it high enough.
func (w *summaryWriter) put(values ...any) {
	cells, lines := w.book.cells(values, summaryColumns)
	w.row(cells, height(lines)...)
}

// remark is a line across all columns.
func (w *summaryWriter) remark(text string) {
	width := 0.0
	for _, c := range summaryColumns {
		width += c.width
	}
	w.row([]any{excelize.Cell{StyleID: w.book.text, Value: Neutral(text)}}, height(wrapped(text, int(width)))...)
	w.merge("A", "D")
}

// head begins a part: an empty line and headings, that of a number to the right.
func (w *summaryWriter) head(headings ...string) {
	w.row(nil)
	cells := make([]any, len(headings))
	for i, h := range headings {
		cells[i] = excelize.Cell{StyleID: w.book.head, Value: h}
		if h == "Rows" {
			cells[i] = excelize.Cell{StyleID: w.book.numberHead, Value: h}
		}
	}
	w.row(cells, excelize.RowOpts{Height: 18})
}

// merge joins the cells of the line just written.
func (w *summaryWriter) merge(from, to string) {
	if w.err == nil {
		w.err = w.stream.MergeCell(fmt.Sprintf("%s%d", from, w.line), fmt.Sprintf("%s%d", to, w.line))
	}
}

// holds is the cell that says whether a balance does.
func (b *book) holds(ok bool) excelize.Cell {
	if ok {
		return excelize.Cell{StyleID: b.good, Value: "holds"}
	}
	return excelize.Cell{StyleID: b.alarm, Value: "DOES NOT HOLD"}
}

// chart draws the outcomes, which stand in the lines first to last.
func (b *book) chart(first, last int) error {
	dark := excelize.Font{Color: "16202B", Size: 10, Family: "Calibri"}
	return b.file.AddChart(summarySheet, fmt.Sprintf("C%d", first-2), &excelize.Chart{
		Type: excelize.Bar,
		Series: []excelize.ChartSeries{{
			Name:       "Rows",
			Categories: fmt.Sprintf("%s!$A$%d:$A$%d", summarySheet, first, last), Values: fmt.Sprintf("%s!$B$%d:$B$%d", summarySheet, first, last),
			Fill: fill("2A62B0"), DataLabel: excelize.ChartDataLabel{Font: dark},
		}},
		Title: excelize.ChartTitle{Paragraph: []excelize.RichTextRun{{
			Text: "What became of the rows", Font: &excelize.Font{Color: "16202B", Size: 12, Bold: true, Family: "Calibri"},
		}}},
		Legend:    excelize.ChartLegend{Position: "none"},
		PlotArea:  excelize.ChartPlotArea{ShowVal: true},
		YAxis:     excelize.ChartAxis{None: true},
		XAxis:     excelize.ChartAxis{ReverseOrder: true, Font: dark},
		Dimension: excelize.ChartDimension{Width: 440, Height: 185},
	})
}
