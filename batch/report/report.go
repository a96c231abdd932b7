// Package report tells people and machines what became of a night: a result
// beside each request file, and the folder reports/<run>/ for the run.
//
// Everything is computed from what the ledger has, never from counters of the
// process that did the work, so that the reports of a run can be written again
// at any time and say the same ([WriteAll]). What the ledger cannot know (the
// expiry of keys, how full a number range is, why a bureau is held) comes in as
// [Extra]. The package decides nothing about a row, moves no request file and
// sends nothing.
//
// # What is promised
//
//   - Every file appears whole or not at all (package durable). Of a run's
//     folder manifest.json is the last: where it is, everything it names is.
//   - A result has exactly one row for each row that was read, in the sender's
//     order. Rows and answers that do not match are an error ([ErrRowsDiffer]),
//     never a shift.
//   - No card number in clear: card numbers are shown as first six and last
//     four; a sender's cell that is a known card number is masked; a workbook in
//     which one remains is not written.
//   - Memory does not grow with the number of rows, save for the result
//     workbook, which is made for at most [MaxWorkbookRows] rows.
//
// # CSV
//
// UTF-8 without a byte order mark, comma, quoted as in RFC 4180, lines end with
// LF. A cell of a result that begins with = + - @ (also in full width), spaces
// before it not counted, or with a tab or an end of line gets an apostrophe in
// front, so that no spreadsheet takes it for a formula; so does what follows a
// semicolon, a tab or an end of line within a cell. Other control characters are
// written as _. The one exception are amounts that we write ourselves: a balance of -12.50 is a plain
// number and stays one.
package report

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"reemboss/batch/ledger"
)

// Ledger is the part of the ledger that the reports of a run are computed from.
type Ledger interface {
	Run(ctx context.Context, id string) (ledger.Run, error)
	Stages(ctx context.Context, runID string) ([]ledger.Stage, error)
	RunFiles(ctx context.Context, runID string) ([]ledger.RequestFile, error)
	BureauFiles(ctx context.Context, q ledger.FileQuery) ([]ledger.BureauFile, error)
	EachFileOrder(ctx context.Context, fileID int64, fn func(*ledger.Order) error) error
	Restorations(ctx context.Context) ([]ledger.Restoration, error)
	AskedSince(ctx context.Context, fileID int64) (cards, first int64, err error)
	OrderStates(ctx context.Context, fileID int64) (map[ledger.OrderState]int64, error)
	FileBalances(ctx context.Context) (map[int64]ledger.FileBalance, error)
	Differing(ctx context.Context, fileID int64) (int64, error)
	Totals(ctx context.Context) (ledger.Totals, error)
	NightCounts(ctx context.Context, since time.Time) (map[string]ledger.OutcomeCounts, error)
	FileEvents(ctx context.Context, fileID int64) ([]ledger.Event, error)
	ReturnFiles(ctx context.Context, q ledger.ReturnQuery) ([]ledger.ReturnFile, error)
	EachProblem(ctx context.Context, runID string, fn func(*ledger.Problem, *ledger.ReturnFile) error) error
	EachEvent(ctx context.Context, runID string, fn func(*ledger.ToldEvent) error) error
	EventTallies(ctx context.Context, runID string) ([]ledger.EventTally, error)
	EachUnderWay(ctx context.Context, states []ledger.OrderState, fn func(o *ledger.Order, since time.Time) error) error
	Disputes(ctx context.Context, limit int64) ([]ledger.Event, int64, error)
	LeftWaiting(ctx context.Context, fileID int64) (int64, error)
	DisputesByReturn(ctx context.Context) (map[int64]int64, error)
	FilesAnswered(ctx context.Context, runID string) ([]int64, error)
	Shipments(ctx context.Context, uids []string) (map[string]*ledger.Shipment, error)
	LastRuns(ctx context.Context, limit int) ([]ledger.Run, error)
	Cards(ctx context.Context, ids []int64) (map[int64]*ledger.Known, error)
	EachTold(ctx context.Context, runID string, fileID int64, fn func(*ledger.Told) error) error
	EachAnswer(ctx context.Context, runID string, fileID int64, fn func(*ledger.Answer) error) error
	Tallies(ctx context.Context, runID string) ([]ledger.Tally, error)
	Waits(ctx context.Context) ([]ledger.Waiting, error)
	WrittenOf(ctx context.Context, acceptedIn string) (map[string]int64, error)
	NewPINs(ctx context.Context, acceptedIn string) (map[ledger.NewPIN]int64, error)
	Queues(ctx context.Context) ([]ledger.Queue, error)
	CancelledOf(ctx context.Context, acceptedIn string) (map[string]int64, error)
	Holds(ctx context.Context, q ledger.HoldQuery) ([]ledger.Hold, error)
	HoldTallies(ctx context.Context, holdID int64) ([]ledger.HoldTally, error)
}

// Neutral is cell with an apostrophe in front where a spreadsheet could take
// it for a formula or a command (CSV injection), and so within it behind what some
// spreadsheets take for the end of a cell: a semicolon, a tab, the end of a line (a
// comma is quoted). Control characters but these are replaced by _: who prints a
// result on a terminal must not have it commanded.
func Neutral(cell string) string {
	cell = strings.Map(uncontrolled, cell)
	if !strings.ContainsAny(cell, ";\t\r\n") {
		if formula(cell) {
			return "'" + cell
		}
		return cell
	}
	var b strings.Builder
	if strings.IndexByte("\t\r\n", cell[0]) >= 0 {
		b.WriteByte('\'')
	}
	for rest := cell; rest != ""; {
		if formula(rest) {
			b.WriteByte('\'')
		}
		end := strings.IndexAny(rest, ";\t\r\n") + 1
		if end == 0 {
			end = len(rest)
		}
		b.WriteString(rest[:end])
		rest = rest[end:]
	}
	return b.String()
}

// formula says that a cell begins as formulas do. Blanks before, and what is not seen, do not count.
func formula(cell string) bool {
	first, _ := utf8.DecodeRuneInString(strings.TrimLeftFunc(cell, func(r rune) bool { return unicode.In(r, unicode.Zs, unicode.Cf) }))
	return strings.ContainsRune("=+-@＝＋－＠", first)
}

// uncontrolled replaces characters that command a terminal; tabs and ends of lines stay.
func uncontrolled(r rune) rune {
	if unicode.IsControl(r) && r != '\t' && r != '\r' && r != '\n' {
		return '_'
	}
	return r
}

// amount is a decimal number as it is, and anything else neutralised.
func amount(cell string) string {
	if isAmount(cell) {
		return cell
	}
	return Neutral(cell)
}

// isAmount says that cell is a plain decimal number: digits with at most one
// minus in front and one point between them.
func isAmount(cell string) bool {
	whole, fraction, point := strings.Cut(strings.TrimPrefix(cell, "-"), ".")
	return isDigits(whole) && (!point || isDigits(fraction))
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// table writes one CSV and counts its rows.
type table struct {
	w    *csv.Writer
	rows int64
}

// newTable begins a CSV with its header.
func newTable(w io.Writer, header ...string) (*table, error) {
	t := &table{w: csv.NewWriter(w)}
	if err := t.w.Write(header); err != nil {
		return nil, fmt.Errorf("write the header: %w", err)
	}
	return t, nil
}

// add writes one row; its cells are neutral already.
func (t *table) add(cells []string) error {
	t.rows++
	return t.w.Write(cells)
}

// close hands everything on to the underlying writer.
func (t *table) close() error {
	t.w.Flush()
	return t.w.Error()
}
