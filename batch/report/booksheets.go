package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"
)

// Sheets of the workbook that have a chart, by their names.
const (
	ageingSheet = "Ageing"
	nightsSheet = "Last nights"
	reasonSheet = "By reason"
)

func (b *book) needs(r *Reconciliation) error {
	return b.sheet("Needs a person", []column{{"what", 58, words}, {"why", 76, words}, {"command", 66, words}}, len(r.NeedsPerson), func(i int) []any {
		n := r.NeedsPerson[i]
		return []any{n.What, n.Why, strings.Join(n.Choices(), "\nor ")}
	})
}

func (b *book) files(r *Reconciliation) error {
	files := slices.Concat(r.ListedFiles(), r.CardSystemFiles, r.PINFiles)
	return b.sheet("Files", []column{
		{"bureau", 13, words}, {"name", 42, words}, {"sequence", 13, numbers}, {"state", 13, words}, {"sent at", 20, words}, {"records", 12, numbers}, {"sent", 10, numbers},
		{"acknowledged", 17, numbers}, {"rejected", 12, numbers}, {"outstanding", 15, numbers}, {"moved", 11, numbers}, {"balance", 17, words}, {"size", 13, numbers},
		{"run_id", 16, words}, {"error", 44, words}, {"sha256", 26, digest},
	}, len(files), func(i int) []any {
		f := files[i]
		return []any{
			f.Bureau, f.Name, f.Sequence, string(f.State), stampOf(f.SentAt), f.Records, f.Sent, f.Acknowledged, f.Rejected, f.Outstanding, f.Moved,
			b.holds(f.Balanced), f.Size, f.RunID, f.Error, f.SHA256,
		}
	})
}

func stampOf(at *time.Time) string {
	if at == nil {
		return ""
	}
	return at.UTC().Format("2006-01-02 15:04 UTC")
}

// balances has every equation; the summary has those of single files only when they do not hold.
func (b *book) balances(r *Reconciliation) error {
	return b.sheet("Balances", []column{{"balance", 82, words}, {"state", 17, words}, {"in numbers", 82, words}}, len(r.Balances), func(i int) []any {
		e := r.Balances[i]
		return []any{e.Name, b.holds(e.Holds), e.String()}
	})
}

// bureaus shows each bureau's night and, by the state of their orders, the cards in the files of the report.
func (b *book) bureaus(r *Reconciliation) error {
	columns := []column{
		{"bureau", 13, words}, {"name", 24, words}, {"acknowledges", 16, words}, {"accepted", 13, numbers}, {"written", 12, numbers}, {"waiting", 12, numbers}, {"sent", 11, numbers},
		{"acknowledged", 17, numbers}, {"rejected", 13, numbers}, {"all outstanding", 18, numbers}, {"all under way", 17, numbers},
	}
	for _, s := range allStates {
		columns = append(columns, column{string(s), 14, numbers})
	}
	return b.sheet("Bureaus", columns, len(r.ByBureau), func(i int) []any {
		c := r.ByBureau[i]
		row := []any{c.Bureau, c.Name, yesNo(c.Acknowledges), c.Accepted, c.Written, c.Waiting, c.Sent, c.Acknowledged, c.Rejected, c.Outstanding, c.UnderWay}
		for _, s := range allStates {
			var n int64
			for _, state := range r.ByState {
				if state.Bureau == c.Bureau && state.State == s {
					n += state.Cards
				}
			}
			row = append(row, n)
		}
		return row
	})
}

// ageing shows outstanding cards by age, with a chart under the table.
func (b *book) ageing(r *Reconciliation) error {
	columns := []column{{"bureau", 24, words}, {"answer expected", 18, words}, {"outstanding", 15, numbers}, {"oldest (working days)", 23, numbers}}
	for _, bucket := range ageBuckets {
		columns = append(columns, column{bucketHead(bucket.name), 14, numbers})
	}
	columns = append(columns, column{"under way", 14, numbers}, column{"late to acknowledge", 21, numbers}, column{"late to ship", 15, numbers}, column{"late to close", 15, numbers})
	return b.sheetWith(ageingSheet, columns, len(r.Ageing), func(i int) []any {
		a := r.Ageing[i]
		row := []any{cmp.Or(a.Name, a.Bureau), yesNo(a.Expected), a.Outstanding, a.Oldest}
		for _, bucket := range a.Buckets {
			row = append(row, bucket.Cards)
		}
		late := map[string]int64{}
		for _, l := range a.Late {
			late[l.What] += l.Cards
		}
		return append(row, a.UnderWay, late[lateToAcknowledge], late[lateToShip], late[lateToClose])
	}, func() error {
		if r.Outstanding == 0 {
			return nil
		}
		return b.stackedChart(ageingSheet, len(r.Ageing), "Sent and not answered, by working days", 5, []string{"CFE3F7", "93C1EC", "4D8FD6", "E0B13C", "D9792B", "B3261E"})
	})
}

func bucketHead(name string) string {
	switch name {
	case "today":
		return name
	case "1":
		return "1 day"
	}
	return name + " days"
}

// nights shows the last nights, newest last, with a chart under the table.
func (b *book) nights(r *Reconciliation) error {
	return b.sheetWith(nightsSheet, []column{
		{"date", 14, words}, {"run_id", 18, words}, {"end", 22, words}, {"read", 11, numbers}, {"accepted", 13, numbers}, {"refused", 12, numbers}, {"duplicate", 14, numbers}, {"held", 11, numbers},
		{"acknowledged", 17, numbers}, {"rejected", 13, numbers}, {"outstanding", 15, numbers}, {"under way", 14, numbers},
	}, len(r.Nights), func(i int) []any {
		n := r.Nights[i]
		return []any{n.Date, n.RunID, cmp.Or(exitWords[n.ExitCode], "complete"), n.Read, n.Accepted, n.Refused, n.Duplicate, n.Held, n.Acknowledged, n.Rejected, n.Outstanding, n.UnderWay}
	}, func() error {
		return b.columnChart(nightsSheet, len(r.Nights), "Rows a night", 5, []string{"1C7C54", "B3261E", "A66A00", "2A62B0"})
	})
}

func (b *book) returns(r *Reconciliation) error {
	return b.sheet("Returns", []column{
		{"bureau", 13, words}, {"name", 40, words}, {"state", 16, words}, {"lines", 11, numbers}, {"new", 11, numbers}, {"known", 11, numbers}, {"problems", 13, numbers},
		{"code", 18, words}, {"detail", 66, words}, {"fetched at", 21, words}, {"sha256", 26, digest},
	}, len(r.Returns), func(i int) []any {
		f := r.Returns[i]
		return []any{f.Bureau, f.Name, string(f.State), f.Lines, f.Applied, f.Known, f.Problems, f.Code, f.Detail, stampOf(&f.FetchedAt), f.SHA256}
	})
}

func (b *book) events(r *Reconciliation) error {
	return b.sheet("Card events", []column{{"bureau", 16, words}, {"event", 26, words}, {"code", 16, words}, {"contradicts the known", 24, words}, {"cards", 12, numbers}}, len(r.Events), func(i int) []any {
		e := r.Events[i]
		return []any{e.Bureau, strings.ToLower(e.Status), e.Code, yesNo(e.Disputed), e.N}
	})
}

// byReason has a chart of the outcomes under its table.
func (b *book) byReason(r *Reconciliation) error {
	columns := append([]column{{"request and reason", 34, words}, {"request", 14, words}, {"reason", 11, numbers}}, outcomeColumns...)
	return b.sheetWith(reasonSheet, columns, len(r.ByReason), func(i int) []any {
		c := r.ByReason[i]
		var reason any = c.Reason
		if c.Reason == 0 {
			reason = ""
		}
		return append([]any{c.Title(), c.Request, reason}, c.values()...)
	}, func() error {
		if r.Read == 0 {
			return nil
		}
		return b.stackedChart(reasonSheet, len(r.ByReason), "Outcomes by reason", 5, []string{"1C7C54", "B3261E", "A66A00", "2A62B0"})
	})
}

// series are neighbouring columns of a sheet's table, the first of them numbered from 1.
func (b *book) series(sheet string, rows, first int, colours []string) []excelize.ChartSeries {
	var list []excelize.ChartSeries
	for i, colour := range colours {
		column := letters(first + i)
		list = append(list, excelize.ChartSeries{
			Name:       fmt.Sprintf("'%s'!$%s$1", sheet, column),
			Categories: fmt.Sprintf("'%s'!$A$2:$A$%d", sheet, rows+1),
			Values:     fmt.Sprintf("'%s'!$%s$2:$%s$%d", sheet, column, column, rows+1),
			Fill:       fill(colour),
		})
	}
	return list
}

// stackedChart draws the table's rows as stacked bars, from the column first on, two lines below the table.
func (b *book) stackedChart(sheet string, rows int, title string, first int, colours []string) error {
	return b.draw(sheet, rows, excelize.Chart{
		Type: excelize.BarStacked, Series: b.series(sheet, rows, first, colours), Title: chartTitle(title),
		XAxis: excelize.ChartAxis{ReverseOrder: true, Font: chartFont}, YAxis: excelize.ChartAxis{MajorGridLines: true, Font: chartFont},
		Dimension: excelize.ChartDimension{Width: 900, Height: uint(min(620, 150+38*rows))},
	})
}

// columnChart draws them as stacked columns.
func (b *book) columnChart(sheet string, rows int, title string, first int, colours []string) error {
	return b.draw(sheet, rows, excelize.Chart{
		Type: excelize.ColStacked, Series: b.series(sheet, rows, first, colours), Title: chartTitle(title),
		XAxis: excelize.ChartAxis{Font: chartFont}, YAxis: excelize.ChartAxis{MajorGridLines: true, Font: chartFont},
		Dimension: excelize.ChartDimension{Width: 1000, Height: 340},
	})
}

var chartFont = excelize.Font{Color: "16202B", Size: 10, Family: "Calibri"}

func chartTitle(text string) excelize.ChartTitle {
	return excelize.ChartTitle{Paragraph: []excelize.RichTextRun{{Text: text, Font: &excelize.Font{Color: "16202B", Size: 12, Bold: true, Family: "Calibri"}}}}
}

func (b *book) draw(sheet string, rows int, chart excelize.Chart) error {
	chart.Legend = excelize.ChartLegend{Position: "bottom"}
	gap := uint(60)
	chart.GapWidth = &gap
	return b.file.AddChart(sheet, fmt.Sprintf("A%d", rows+4), &chart)
}
