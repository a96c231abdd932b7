package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strconv"
	"strings"

	"reemboss/batch/durable"
	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/iso"
	"reemboss/formats/request"
)

// MaxWorkbookRows is the most rows of a request workbook that gets a result
// workbook; a larger one has its result as CSV only.
const MaxWorkbookRows = 100_000

// ErrRowsDiffer says that a request file and its answers in the ledger do not
// have the same rows. Nothing is written then: a result that is shifted by one
// row tells every sender the answer of somebody else.
var ErrRowsDiffer = errors.New("the request file and its answers differ")

// SenderSheet is one sheet of a request file, in the order of the file; a CSV
// or JSON file has one, without a name.
type SenderSheet struct {
	Name       string
	Header     []string // as the sender wrote it; empty for a sheet that holds no requests
	HeaderLine int      // the row number of the header that a spreadsheet shows, from 1
}

// ResultInput is one answered request file.
type ResultInput struct {
	// Dir is the folder of the result, Name the sender's file name with its extension.
	Dir, Name string
	Files     durable.Files
	// Sheets and Each are the sender's rows once more; both nil for a file that was refused as a whole, and for one that
	// changed after its rows were decided: then the result has the answers alone, with the card ids as they were asked for.
	Sheets []SenderSheet
	Each   func(func(*request.Row) error) error
	// Told gives the file's answers in row order, each time anew (ledger.Reading.EachTold of the file, with cards).
	Told func(ctx context.Context, fn func(*ledger.Told) error) error
	// Mask gives a cell with every known card number in it masked.
	Mask func(cell string) string
	// HoldsPAN says that a card number was found in the file, whose original is sealed for it: it may stand over several
	// cells of a row. Only then rows are searched as a whole.
	HoldsPAN bool
	// Workbook gives the sender's workbook in memory (never by way of a clear file of ours); nil when the file is none.
	Workbook func() ([]byte, error)
	// FindKnown says whether a text holds a known card number in clear. Needed with Workbook.
	FindKnown func(text string) bool
	// MaxUnpacked limits the bytes of the workbook once unpacked; 0 for 1 GiB.
	MaxUnpacked int64
}

// Result is what was written for one request file.
type Result struct {
	CSV      string // path
	Workbook string // path, "" when there is none
	Rows     int64
	// Withheld says in one sentence why a workbook has no result workbook; "" when it has one or the file is no workbook.
	Withheld string
}

// resultColumns are appended to the sender's, in this order (a public promise).
var resultColumns = []string{
	"outcome", "class", "code", "message", "all_codes", "reissue_type_used", "card_number", "new_card_reference_id",
	"new_card_number", "new_expiry", "account_number", "balance", "fee", "expected_delivery_date", "transaction_id",
	"bureau", "file_name", "sequence", "uid",
}

// WriteResult writes <name>.result.csv and, for a workbook of at most
// [MaxWorkbookRows] rows, <name>.result.xlsx into in.Dir. An earlier result is
// replaced. A workbook that cannot be coloured, or in which a known card
// number would remain, is withheld and told ([Result.Withheld]); that is no
// error, because the CSV has every answer.
func WriteResult(ctx context.Context, in ResultInput) (*Result, error) {
	if in.Mask == nil || in.Workbook != nil && in.FindKnown == nil {
		return nil, fmt.Errorf("write the result of %s: nobody says which cells are card numbers", in.Name)
	}
	res := &Result{CSV: filepath.Join(in.Dir, in.Name+".result.csv")}
	whole, across := false, false
	err := in.Files.Write(res.CSV, func(w io.Writer) (err error) {
		res.Rows, whole, across, err = writeResultCSV(ctx, w, in)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("write the result of %s: %w", in.Name, err)
	}
	switch {
	case in.Workbook == nil || whole:
		return res, nil
	case across:
		res.Withheld = fmt.Sprintf("%s has no result workbook, only the CSV: a card number that we know stands over several cells of a row", in.Name)
		return res, in.Files.Remove(filepath.Join(in.Dir, in.Name+".result.xlsx")) // one of an earlier try
	case res.Rows > MaxWorkbookRows:
		res.Withheld = fmt.Sprintf("%s has %d rows; a workbook of more than %d rows gets its result as CSV only", in.Name, res.Rows, MaxWorkbookRows)
		return res, nil
	}
	return res, writeWorkbook(ctx, in, res)
}

// writeResultCSV walks the sender's rows and the answers side by side. across says that a card number stood over several
// cells of a row; it is masked.
func writeResultCSV(ctx context.Context, w io.Writer, in ResultInput) (rows int64, whole, across bool, err error) {
	answers := pullTold(ctx, in.Told)
	defer answers.stop()
	if err := answers.advance(); err != nil {
		return 0, false, false, err
	}
	columns := senderColumns(in.Sheets, in.Mask)
	if in.HoldsPAN {
		across = iso.MaskAcross(columns.header, in.Mask)
	}
	alone := in.Each == nil && answers.now != nil && answers.now.Pos > 0
	if alone {
		columns.header = []string{"card_id"}
	}
	out, err := newTable(w, append(append([]string{"sheet", "row"}, columns.header...), resultColumns...)...)
	if err != nil {
		return 0, false, false, err
	}
	if alone {
		rows, err := writeAlone(out, answers, in.Mask)
		return rows, false, false, err
	}
	if answers.now != nil && answers.now.Pos == 0 {
		return out.rows, true, false, writeWhole(out, columns, answers)
	}
	if in.Each != nil {
		err = in.Each(func(row *request.Row) error {
			if err := answers.matches(row, in.Mask); err != nil {
				return err
			}
			cells := columns.place(row, in.Mask)
			if in.HoldsPAN && iso.MaskAcross(cells[2:], in.Mask) {
				across = true
			}
			for i, cell := range cells {
				cells[i] = Neutral(cell)
			}
			if err := out.add(append(cells, answerCells(answers.now)...)); err != nil {
				return err
			}
			return answers.advance()
		})
	}
	if err != nil {
		return out.rows, false, across, err
	}
	if answers.now != nil {
		return out.rows, false, across, fmt.Errorf("%w: the file ends after %d rows, and there is an answer for row %d of it", ErrRowsDiffer, out.rows, answers.now.Pos)
	}
	return out.rows, false, across, out.close()
}

// writeWhole writes the one row, row 0, of a file refused as a whole.
func writeWhole(out *table, columns senderLayout, answers *toldCursor) error {
	cells := append([]string{"", "0"}, make([]string, len(columns.header))...)
	if err := out.add(append(cells, answerCells(answers.now)...)); err != nil {
		return err
	}
	if err := answers.advance(); err != nil {
		return err
	}
	if answers.now != nil {
		return fmt.Errorf("%w: the file is refused as a whole, and there is an answer for row %d of it", ErrRowsDiffer, answers.now.Pos)
	}
	return out.close()
}

// writeAlone writes the answers without the sender's rows, which are no longer those that were decided.
func writeAlone(out *table, answers *toldCursor, mask func(string) string) (rows int64, err error) {
	for answers.now != nil {
		place := []string{Neutral(answers.now.Sheet), strconv.Itoa(answers.now.Line), Neutral(mask(answers.now.CardID))}
		if err := out.add(append(place, answerCells(answers.now)...)); err != nil {
			return out.rows, err
		}
		if err := answers.advance(); err != nil {
			return out.rows, err
		}
	}
	return out.rows, out.close()
}

// toldCursor turns the ledger's walk over answers into one that the walk over
// the sender's rows can drive, one answer in memory at a time.
type toldCursor struct {
	now  *ledger.Told // nil past the end
	next func() (*ledger.Told, error, bool)
	stop func()
}

func pullTold(ctx context.Context, each func(context.Context, func(*ledger.Told) error) error) *toldCursor {
	next, stop := iter.Pull2(func(yield func(*ledger.Told, error) bool) {
		err := each(ctx, func(t *ledger.Told) error {
			if !yield(t, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(nil, err)
		}
	})
	return &toldCursor{next: next, stop: stop}
}

func (c *toldCursor) advance() error {
	told, err, ok := c.next()
	c.now = nil
	if err != nil {
		return fmt.Errorf("read the answers: %w", err)
	}
	if ok {
		c.now = told
	}
	return nil
}

// matches says that the answer at hand is the one of this row. An answer keeps
// the sheet's name with every known card number in it masked.
func (c *toldCursor) matches(row *request.Row, mask func(string) string) error {
	sheet := mask(row.Sheet)
	if c.now == nil {
		return fmt.Errorf("%w: %s has no answer", ErrRowsDiffer, place(sheet, row.Line))
	}
	if c.now.Pos != row.Pos || c.now.Sheet != sheet || c.now.Line != row.Line {
		return fmt.Errorf("%w: %s meets the answer for %s", ErrRowsDiffer, place(sheet, row.Line), place(c.now.Sheet, c.now.Line))
	}
	return nil
}

func place(sheet string, line int) string {
	if sheet == "" {
		return fmt.Sprintf("row %d", line)
	}
	return fmt.Sprintf("row %d of sheet %q", line, sheet)
}

// senderLayout is the union of the columns of all sheets, each column where
// it first appears.
type senderLayout struct {
	header []string
	column [][]int // [sheet][column of the sheet] → column of the union
}

// senderColumns joins the sheets' headers. Within one sheet equal names stay
// apart (the second "note" is the second "note" of the union); between sheets
// the n-th of a name is the n-th of that name.
func senderColumns(sheets []SenderSheet, mask func(string) string) senderLayout {
	type nth struct {
		name string
		n    int
	}
	var l senderLayout
	known := map[nth]int{}
	for _, sheet := range sheets {
		seen := map[string]int{}
		columns := make([]int, len(sheet.Header))
		for i, name := range sheet.Header {
			key := nth{name, seen[name]}
			seen[name]++
			if _, ok := known[key]; !ok {
				known[key] = len(l.header)
				l.header = append(l.header, Neutral(mask(name)))
			}
			columns[i] = known[key]
		}
		l.column = append(l.column, columns)
	}
	return l
}

// place gives the row's cells where they stand in the result, masked one by one
// and not yet neutral: sheet, row, then the union's columns. A cell to the right of the header's last column has no
// column in the result and is left out.
func (l senderLayout) place(row *request.Row, mask func(string) string) []string {
	cells := make([]string, 2+len(l.header), 2+len(l.header)+len(resultColumns))
	cells[0], cells[1] = mask(row.Sheet), strconv.Itoa(row.Line)
	if row.SheetNo >= len(l.column) {
		return cells
	}
	for i, cell := range row.Cells {
		if i < len(l.column[row.SheetNo]) {
			cells[2+l.column[row.SheetNo][i]] = maskCell(cell, mask)
		}
	}
	return cells
}

// detail is what a result says of one answer, column by column.
type detail struct {
	outcome, class, code, message, allCodes, reissueType, cardNumber, newCardID, newCardNumber, newExpiry,
	accountNumber, balance, fee, delivery, transaction, bureau, fileName, sequence, uid string
}

// detailOf collects it. Of a refused row only the masked card number is told,
// and not even that when the sender named somebody else's card.
func detailOf(t *ledger.Told) detail {
	d := detail{
		outcome: string(t.Outcome), class: strconv.Itoa(t.Class), code: string(t.Code), message: messageOf(t), allCodes: joinCodes(codesOf(t)),
	}
	if t.Card != nil && !hasCode(t.Codes, "customer_not_found") {
		d.cardNumber = t.Card.PAN.Masked()
	}
	if t.Order == nil {
		return d
	}
	d.ofOrder(t.Order)
	if t.Card != nil {
		d.accountNumber, d.balance = t.Card.AccountNumber, t.Card.Balance
	}
	return d
}

// ofOrder adds what follows from the order: where it is, and of a reissue the new card.
func (d *detail) ofOrder(o *ledger.Order) {
	d.fee, d.delivery, d.transaction, d.uid = o.Fee, o.ExpectedDelivery, o.UID, o.UID
	d.bureau, d.fileName = o.Bureau, o.FileName
	if o.Sequence > 0 {
		d.sequence = strconv.FormatInt(o.Sequence, 10)
	}
	if o.Kind != request.Reissue {
		return
	}
	d.reissueType = strconv.Itoa(o.Type)
	d.newCardID = strconv.FormatInt(o.EmbossedCardID, 10)
	d.newCardNumber, d.newExpiry = o.PAN.Masked(), o.Expiry.String()
}

// cells gives the detail in the order of resultColumns.
func (d detail) cells() []string {
	return []string{
		d.outcome, d.class, d.code, d.message, d.allCodes, d.reissueType, d.cardNumber, d.newCardID, d.newCardNumber, d.newExpiry,
		d.accountNumber, d.balance, d.fee, d.delivery, d.transaction, d.bureau, d.fileName, d.sequence, d.uid,
	}
}

// answerCells are the appended cells of one row, neutral.
func answerCells(t *ledger.Told) []string {
	d := detailOf(t)
	cells := d.cells()
	for i, cell := range cells {
		cells[i] = Neutral(cell)
	}
	cells[columnBalance], cells[columnFee] = amount(d.balance), amount(d.fee)
	return cells
}

// Columns of resultColumns that are treated apart.
const (
	columnOutcome  = 0
	columnClass    = 1
	columnMessage  = 3
	columnAllCodes = 4
	columnBalance  = 11
	columnFee      = 12
)

// messageOf is the answer's sentence. reissue_type_used stays a bare number
// for scripts; that a blank type was derived from the reason stands here.
func messageOf(t *ledger.Told) string {
	if t.Order == nil || !t.Order.TypeDerived || strings.Contains(t.Message, "derived") {
		return t.Message
	}
	derived := fmt.Sprintf("reissue type %d derived from the reason", t.Order.Type)
	if t.Message == "" {
		return derived
	}
	return strings.TrimRight(t.Message, ".") + "; " + derived
}

// codesOf are all codes of an answer: those of its violations, else its one
// code. An accepted row violates nothing.
func codesOf(t *ledger.Told) []rules.Code {
	if len(t.Codes) > 0 || t.Code == "" || t.Outcome == rules.Accepted {
		return t.Codes
	}
	return []rules.Code{t.Code}
}

func joinCodes(codes []rules.Code) string {
	words := make([]string, len(codes))
	for i, c := range codes {
		words[i] = string(c)
	}
	return strings.Join(words, ";")
}

func hasCode(codes []rules.Code, code rules.Code) bool {
	for _, c := range codes {
		if c == code {
			return true
		}
	}
	return false
}
