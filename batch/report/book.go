package report

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/xuri/excelize/v2"
)

// writeBook writes reconciliation.xlsx: what the page shows, to work with. It
// is small by the limits of what it lists, and stays in memory until it is written.
func (r *Reconciliation) writeBook(w io.Writer) error {
	file := excelize.NewFile()
	defer file.Close()
	file.ZipWriter = func(w io.Writer) excelize.ZipWriter { return &sortedZip{to: w, parts: map[string]*bytes.Buffer{}} }
	b := &book{file: file}
	if err := b.dress(); err != nil {
		return err
	}
	for i, write := range []func(*Reconciliation) error{b.summary, b.files, b.byCode, b.byReason, b.byProduct, b.refusals, b.waiting} {
		if err := write(r); err != nil {
			return fmt.Errorf("sheet %d: %w", i+1, err)
		}
	}
	if err := file.DeleteSheet("Sheet1"); err != nil {
		return err
	}
	file.SetActiveSheet(0)
	return file.Write(w)
}

// book is the workbook in the making.
type book struct {
	file                                   *excelize.File
	head, text, number, title, good, alarm int
}

// dress makes the styles.
func (b *book) dress() error {
	var failed error
	style := func(s excelize.Style) int {
		id, err := b.file.NewStyle(&s)
		if err != nil {
			failed = err
		}
		return id
	}
	const asText, grouped = 49, 3
	wrap := &excelize.Alignment{Vertical: "top", WrapText: true}
	b.head = style(excelize.Style{Font: &excelize.Font{Bold: true, Color: "FFFFFF", Family: "Calibri", Size: 11}, Fill: fill("24364B"), Alignment: &excelize.Alignment{Vertical: "center"}})
	b.text = style(excelize.Style{NumFmt: asText, Alignment: wrap})
	b.number = style(excelize.Style{NumFmt: grouped, Alignment: &excelize.Alignment{Vertical: "top"}})
	b.title = style(excelize.Style{Font: &excelize.Font{Bold: true, Family: "Calibri", Size: 14}, Alignment: &excelize.Alignment{Vertical: "center", WrapText: true}})
	b.good = style(excelize.Style{NumFmt: asText, Font: &excelize.Font{Color: "0B4F1F", Bold: true, Family: "Calibri", Size: 11}, Fill: fill("C6EFCE"), Alignment: wrap})
	b.alarm = style(excelize.Style{NumFmt: asText, Font: &excelize.Font{Color: "7A0010", Bold: true, Family: "Calibri", Size: 11}, Fill: fill("FFC7CE"), Alignment: wrap})
	return failed
}

func fill(colour string) excelize.Fill {
	return excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{colour}}
}

// column of a sheet.
type column struct {
	name  string
	width float64
}

// sheet writes a table: a frozen header with a filter, text as text, numbers as numbers.
func (b *book) sheet(name string, columns []column, rows int, row func(i int) []any) error {
	if err := b.newSheet(name); err != nil {
		return err
	}
	s, err := b.file.NewStreamWriter(name)
	if err != nil {
		return err
	}
	header := make([]any, len(columns))
	for i, c := range columns {
		header[i] = excelize.Cell{StyleID: b.head, Value: c.name}
		if err := s.SetColWidth(i+1, i+1, c.width); err != nil {
			return err
		}
	}
	if err := s.SetPanes(&excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}); err != nil {
		return err
	}
	if err := s.SetRow("A1", header, excelize.RowOpts{Height: 20}); err != nil {
		return err
	}
	for i := range rows {
		if err := s.SetRow(fmt.Sprintf("A%d", i+2), b.cells(row(i))); err != nil {
			return err
		}
	}
	last, err := excelize.CoordinatesToCellName(len(columns), rows+1)
	if err != nil {
		return err
	}
	if err := b.file.AutoFilter(name, "A1:"+last, nil); err != nil { // before Flush, which writes it
		return err
	}
	return s.Flush()
}

// cells dresses values: what is no number is a text, neutral.
func (b *book) cells(values []any) []any {
	for i, v := range values {
		switch v := v.(type) {
		case excelize.Cell:
		case string:
			values[i] = excelize.Cell{StyleID: b.text, Value: Neutral(v)}
		default:
			values[i] = excelize.Cell{StyleID: b.number, Value: v}
		}
	}
	return values
}

// holds is the cell that says whether a balance does.
func (b *book) holds(ok bool) excelize.Cell {
	if ok {
		return excelize.Cell{StyleID: b.good, Value: "holds"}
	}
	return excelize.Cell{StyleID: b.alarm, Value: "DOES NOT HOLD"}
}

// newSheet makes a sheet that prints on as many landscape pages as it is long, and one wide.
func (b *book) newSheet(name string) error {
	if _, err := b.file.NewSheet(name); err != nil {
		return err
	}
	landscape, a4, one, endless, fit := "landscape", 9, 1, 0, true
	if err := b.file.SetSheetProps(name, &excelize.SheetPropsOptions{FitToPage: &fit}); err != nil {
		return err
	}
	return b.file.SetPageLayout(name, &excelize.PageLayoutOptions{Orientation: &landscape, Size: &a4, FitToWidth: &one, FitToHeight: &endless})
}

// summary is the first sheet: verdict, balances, what needs a person, counts with a chart.
func (b *book) summary(r *Reconciliation) error {
	const name = "Summary"
	if err := b.newSheet(name); err != nil {
		return err
	}
	s, err := b.file.NewStreamWriter(name)
	if err != nil {
		return err
	}
	for i, width := range []float64{68, 18, 84, 64} {
		if err := s.SetColWidth(i+1, i+1, width); err != nil {
			return err
		}
	}
	line := 0
	put := func(values ...any) {
		line++
		if err == nil {
			err = s.SetRow(fmt.Sprintf("A%d", line), b.cells(values))
		}
	}
	head := func(words ...string) {
		cells := make([]any, len(words))
		for i, w := range words {
			cells[i] = excelize.Cell{StyleID: b.head, Value: w}
		}
		put()
		put(cells...)
	}
	line++
	err = s.SetRow("A1", []any{excelize.Cell{StyleID: b.title, Value: Neutral(r.Verdict)}}, excelize.RowOpts{Height: 44})
	if err == nil {
		err = s.MergeCell("A1", "D1")
	}
	put("Run", r.RunID, "exit code", r.ExitCode)
	head("Balance", "", "In numbers")
	for _, eq := range r.Balances {
		put(eq.Name, b.holds(eq.Holds), eq.String())
	}
	if len(r.NeedsPerson) > 0 {
		head("Needs a person", "", "Why", "Command")
		for _, n := range r.NeedsPerson {
			put(n.What, "", n.Why, n.Command)
		}
	}
	for _, w := range r.Warnings {
		put("Warning", "", w)
	}
	for _, n := range r.Notes {
		put("Note", "", n)
	}
	head("Counts", "Rows")
	first := line + 1
	for _, t := range []Term{{"accepted", r.Accepted}, {"refused", r.Refused}, {"duplicate", r.Duplicate}, {"held", r.Held}} {
		put(t.Name, t.N)
	}
	last := line
	for _, t := range []Term{{"read", r.Read}, {"written", r.Written}, {"waiting", r.Waiting}} {
		put(t.Name, t.N)
	}
	if err == nil && r.Read > 0 {
		err = b.chart(name, first, last) // before Flush, which writes the reference to it
	}
	if err != nil {
		return err
	}
	return s.Flush()
}

// chart draws the outcomes beside their counts.
func (b *book) chart(sheet string, first, last int) error {
	return b.file.AddChart(sheet, fmt.Sprintf("C%d", first), &excelize.Chart{
		Type: excelize.Bar,
		Series: []excelize.ChartSeries{{
			Name:       "Rows",
			Categories: fmt.Sprintf("%s!$A$%d:$A$%d", sheet, first, last), Values: fmt.Sprintf("%s!$B$%d:$B$%d", sheet, first, last),
			Fill: fill("2A62B0"),
		}},
		Title:     excelize.ChartTitle{Paragraph: []excelize.RichTextRun{{Text: "What became of the rows"}}},
		Legend:    excelize.ChartLegend{Position: "none"},
		PlotArea:  excelize.ChartPlotArea{ShowVal: true},
		YAxis:     excelize.ChartAxis{None: true},
		XAxis:     excelize.ChartAxis{ReverseOrder: true},
		Dimension: excelize.ChartDimension{Width: 440, Height: 220},
	})
}

func (b *book) files(r *Reconciliation) error {
	files := append(slices.Clone(r.Files), r.CardSystemFiles...)
	return b.sheet("Files", []column{
		{"bureau", 14}, {"name", 42}, {"sequence", 11}, {"records", 11}, {"size", 13}, {"state", 13}, {"sent", 11}, {"acknowledged", 15},
		{"rejected", 11}, {"outstanding", 14}, {"run_id", 18}, {"error", 50}, {"sha256", 68},
	}, len(files), func(i int) []any {
		f := files[i]
		return []any{f.Bureau, f.Name, f.Sequence, f.Records, f.Size, string(f.State), f.Sent, f.Acknowledged, f.Rejected, f.Outstanding, f.RunID, f.Error, f.SHA256}
	})
}

func (b *book) byCode(r *Reconciliation) error {
	return b.sheet("By code", []column{{"code", 34}, {"outcome", 14}, {"rows", 12}}, len(r.ByCode), func(i int) []any {
		c := r.ByCode[i]
		return []any{string(c.Code), string(c.Outcome), c.N}
	})
}

func (b *book) byReason(r *Reconciliation) error {
	return b.sheet("By reason", []column{{"request", 14}, {"reason", 10}, {"name", 28}, {"read", 12}, {"accepted", 12}, {"refused", 12}, {"duplicate", 12}, {"held", 12}},
		len(r.ByReason), func(i int) []any {
			c := r.ByReason[i]
			return []any{c.Request, c.Reason, c.Name, c.Read, c.Accepted, c.Refused, c.Duplicate, c.Held}
		})
}

func (b *book) byProduct(r *Reconciliation) error {
	return b.sheet("By product", []column{{"product", 24}, {"read", 12}, {"accepted", 12}, {"refused", 12}, {"duplicate", 12}, {"held", 12}},
		len(r.ByProduct), func(i int) []any {
			c := r.ByProduct[i]
			return []any{c.Product, c.Read, c.Accepted, c.Refused, c.Duplicate, c.Held}
		})
}

// refusals lists the first of them; refusals.csv has all.
func (b *book) refusals(r *Reconciliation) error {
	return b.sheet("Refusals", []column{
		{"file", 30}, {"sheet", 16}, {"row", 9}, {"card_id", 21}, {"request", 12}, {"outcome", 12}, {"class", 8}, {"code", 30}, {"all_codes", 40}, {"message", 90},
	}, len(r.refusals), func(i int) []any {
		f := r.refusals[i]
		return []any{f.File, f.Sheet, f.Row, f.CardID, f.Request, f.Outcome, f.Class, f.Code, f.Codes, f.Message}
	})
}

func (b *book) waiting(r *Reconciliation) error {
	return b.sheet("Waiting", []column{{"bureau", 16}, {"orders", 12}, {"accepted in run", 20}, {"why", 80}}, len(r.Waits), func(i int) []any {
		w := r.Waits[i]
		return []any{w.Bureau, w.Orders, w.RunID, w.Reason}
	})
}

// sortedZip writes the parts of a workbook in the order of their names, so
// that the same content is the same bytes. It holds them until Close; the
// workbook of a run is small by its limits.
type sortedZip struct {
	to    io.Writer
	parts map[string]*bytes.Buffer
}

// Create begins a part.
func (z *sortedZip) Create(name string) (io.Writer, error) {
	z.parts[name] = new(bytes.Buffer)
	return z.parts[name], nil
}

// AddFS is not used by the writer of a workbook.
func (z *sortedZip) AddFS(fs.FS) error { return fmt.Errorf("a workbook has no folders to add") }

// Close writes the archive; the list of content types is first, as readers expect it.
func (z *sortedZip) Close() error {
	out := zip.NewWriter(z.to)
	const types = "[Content_Types].xml"
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(z.parts)), func(n string) bool { return n == types })
	for _, name := range append([]string{types}, names...) {
		if z.parts[name] == nil {
			continue
		}
		w, err := out.Create(name)
		if err != nil {
			return err
		}
		content := z.parts[name].Bytes()
		if name == types {
			content = sortDefaults(content)
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	return out.Close()
}

var defaultTypes = regexp.MustCompile(`(?:<Default [^>]*></Default>)+`)

// sortDefaults orders the content types by file ending; the library takes them from a map.
func sortDefaults(types []byte) []byte {
	return defaultTypes.ReplaceAllFunc(types, func(list []byte) []byte {
		const end = "</Default>"
		each := strings.SplitAfter(string(list), end)
		slices.Sort(each)
		return []byte(strings.Join(each, ""))
	})
}
