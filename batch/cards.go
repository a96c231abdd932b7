package batch

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"reemboss/batch/config"
	"reemboss/batch/durable"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/batch/rules"
	"reemboss/bureau"
	"reemboss/formats/extract"
	"reemboss/formats/iso"
	"reemboss/formats/table"
)

// ImportSummary is what became of a card master extract. Rows = Inserted +
// Updated + Unchanged + Refused.
type ImportSummary struct {
	File      string     `json:"file"`
	Code      rules.Code `json:"code,omitempty"` // refused as a whole
	Detail    string     `json:"detail,omitempty"`
	Rows      int64      `json:"read"`
	Inserted  int64      `json:"inserted"`
	Updated   int64      `json:"updated"`
	Unchanged int64      `json:"unchanged"`
	Refused   int64      `json:"refused"`
	Conflicts int64      `json:"conflicts"`
	Result    string     `json:"result,omitempty"` // path of the list of answers
}

func (s ImportSummary) String() string {
	return fmt.Sprintf("%d cards read: %d new, %d updated, %d unchanged, %d refused, %d conflicts with what we decided", s.Rows, s.Inserted, s.Updated, s.Unchanged, s.Refused, s.Conflicts)
}

// importExtract imports an extract that was taken from inbox/cards/. A clear
// one is deleted when all of it is durably in the registry; an encrypted one
// goes to done/. Killed before that, it is imported again from its start,
// which changes nothing twice.
func (n *Night) importExtract(ctx context.Context, f ledger.RequestFile) (ImportSummary, error) {
	source := n.Path(f.Intake)
	if _, err := os.Lstat(source); errors.Is(err, fs.ErrNotExist) && len(f.Notes) > 0 {
		return ImportSummary{Rows: f.Rows}, n.imported(ctx, f) // put away before a crash
	}
	sum, size, err := hashFile(source)
	if errors.Is(err, fs.ErrNotExist) {
		return ImportSummary{}, gone(f)
	}
	if err != nil { // it is not put away: what cannot be read cannot be sealed
		return ImportSummary{}, shut(f, err)
	}
	f.SHA256, f.Size = sum, size
	if f.Final == "" {
		place, err := n.freePlace("done", f.Name)
		if err != nil {
			return ImportSummary{}, err
		}
		f.Final = n.Relative(place)
		if err := n.keepFile(ctx, f, nil, nil); err != nil {
			return ImportSummary{}, err
		}
	}
	sealed, err := encrypted(source)
	if err != nil {
		return ImportSummary{}, err
	}
	s, err := n.importFrom(ctx, source, printable(f.Name), n.Path(f.Final), sealed)
	var broken *extract.FileError
	if errors.As(err, &broken) {
		// An extract holds card numbers: refused, it is kept sealed.
		s.Code, s.Detail = rules.Code(broken.Code), maskAll(n.safe(broken.Error()))
		f.HoldsPAN, f.Final = !sealed, ""
		return s, n.refuseFile(ctx, f, s.Code, s.Detail, rules.Refused)
	}
	if err != nil {
		return s, fmt.Errorf("import %s: %w", printable(f.Name), err)
	}
	f.Rows, f.Notes = s.Rows, []string{s.String()}
	if err := n.keepFile(ctx, f, nil, nil); err != nil {
		return s, err
	}
	n.at("cards/imported")
	if sealed {
		err = n.Files.Rename(source, n.Path(f.Final))
	} else {
		err = n.Files.Remove(source)
	}
	if err != nil {
		return s, fmt.Errorf("put %s away: %w", printable(f.Name), err)
	}
	n.at("cards/away")
	return s, n.imported(ctx, f)
}

// imported ends the way of an extract whose rows are in the registry and which was put away. Of a clear one, which is
// gone for good, the answers stay.
func (n *Night) imported(ctx context.Context, f ledger.RequestFile) error {
	if _, err := os.Lstat(n.Path(f.Final)); errors.Is(err, fs.ErrNotExist) {
		f.Final += ".result.csv"
	}
	if _, err := os.Lstat(n.Path(f.Final)); err != nil {
		return fmt.Errorf("the extract %s is neither in %s nor in %s; somebody took it away", printable(f.Name), f.Intake, f.Final)
	}
	f.State = ledger.Answered
	return n.keepFile(ctx, f, nil, n.audit("cards.imported", printable(f.Name), strings.Join(f.Notes, "; ")))
}

// ImportCards imports an extract that lies anywhere. The file stays where it is, the answers go to done/<date>/.
func (n *Night) ImportCards(ctx context.Context, path string) (ImportSummary, error) {
	n.run.Date = n.Now().In(n.zone).Format("2006-01-02")
	sealed, err := encrypted(path)
	if err != nil {
		return ImportSummary{}, setup("read the extract: %w", plain(err))
	}
	name := n.shown(ctx, filepath.Base(path))
	place, err := n.freePlace("done", name)
	if err != nil {
		return ImportSummary{}, err
	}
	s, err := n.importFrom(ctx, path, name, place, sealed)
	var broken *extract.FileError
	if errors.As(err, &broken) {
		s.Code, s.Detail = rules.Code(broken.Code), maskAll(n.safe(broken.Error()))
		return s, nil
	}
	if err != nil {
		return s, err
	}
	return s, n.Ledger.Append(ctx, n.entry("cards.imported", s.File, s.String()))
}

// encrypted says whether a file is an encrypted OpenPGP message, binary or armoured.
func encrypted(path string) (bool, error) {
	f, err := durable.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	start := make([]byte, bureau.FormHead)
	k, err := io.ReadFull(f, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false, err
	}
	form, _ := bureau.FormOf(start[:k])
	return form == bureau.Encrypted, nil
}

// openExtract reads an extract; an encrypted one is decrypted as it is read and never lies anywhere in clear. The caller closes in.
func (n *Night) openExtract(in *os.File, sealed bool) (file *extract.File, verdict func() error, err error) {
	options := extract.Options{Limits: n.tableLimits(), Statuses: n.Config.Statuses.Known(), StatusAliases: n.Config.Statuses.Aliases, Location: n.zone}
	if !sealed {
		if n.Config.Environment == config.Production {
			return nil, nil, &extract.FileError{Code: "file_unreadable", Detail: "in production an extract must come PGP-encrypted to the workspace's key; encrypt the sheet itself to it and send that"}
		}
		info, err := in.Stat()
		if err != nil {
			return nil, nil, err
		}
		file, err = extract.New(in, info.Size(), options)
		return file, func() error { return nil }, n.inTheOpen(err, sealed)
	}
	clear, check := n.openForUs(bufio.NewReaderSize(in, 1<<16), nil)
	file, err = extract.Read(clear, options)
	if err != nil {
		return nil, nil, unreadable(n.inTheOpen(err, sealed))
	}
	return file, func() error {
		if _, err := io.Copy(io.Discard, clear); err != nil {
			return unreadable(err)
		}
		_, err := check()
		return unreadable(err)
	}, nil
}

// whichKey names the key to which an extract is encrypted.
func (n *Night) whichKey() string {
	return fmt.Sprintf("the workspace's key (fingerprint %s; reemboss keys export-public pgp gives it)", n.Config.Keys.Fingerprint)
}

// inTheOpen answers an extract that is no sheet. What is the matter with a sheet in the open is cured by sending the sheet;
// an extract holds card numbers, and nobody is told to send it but encrypted.
func (n *Night) inTheOpen(err error, sealed bool) error {
	var broken *extract.FileError
	switch {
	case errors.Is(err, table.ErrPGP) && sealed:
		return &extract.FileError{Code: table.Unreadable, Detail: "what was encrypted is itself PGP encrypted or signed; encrypt the sheet itself, once, to " + n.whichKey() + " and send that"}
	case errors.Is(err, table.ErrPGP):
		return &extract.FileError{Code: table.Unreadable, Detail: "the extract is PGP and not encrypted, such as signed text; encrypt the sheet itself, once, to " + n.whichKey() + " and send that"}
	case sealed && errors.As(err, &broken) && broken.Code == table.Unreadable:
		again := *broken
		again.Detail += "; encrypt it to " + n.whichKey() + " before you send it"
		return &again
	}
	return err
}

// unreadable makes a failed decryption the refusal of the file; a refusal stays what it is.
func unreadable(err error) error {
	var broken *extract.FileError
	if err == nil || errors.As(err, &broken) {
		return err
	}
	return &extract.FileError{Code: "file_unreadable", Detail: fmt.Sprintf("the extract cannot be decrypted with the workspace's key: %v; encrypt it to that key (keys/issuer.asc) and send it again", err)}
}

// importFrom reads an extract twice: once to its end to know that it is whole,
// then in chunks into the registry. Answers go to <place>.result.csv, refused
// rows with all their cells to <place>.refused.csv.pgp, sealed to ourselves.
func (n *Night) importFrom(ctx context.Context, source, name, place string, sealed bool) (ImportSummary, error) {
	s := ImportSummary{File: name}
	if err := n.eachCard(source, sealed, func(*extract.Row) error { return ctx.Err() }); err != nil {
		return s, err
	}
	i := &importing{n: n, summary: s, entry: n.entry("cards.stored", name, "")}
	restorations, err := n.Ledger.Restorations(ctx)
	if err != nil {
		return s, err
	}
	for _, r := range restorations {
		for _, skipped := range r.Skipped {
			if skipped.Counter == cardIDCounter {
				i.passed = append(i.passed, skipped)
			}
		}
	}
	s.Result = place + ".result.csv"
	err = n.Files.Write(s.Result, func(w io.Writer) error {
		i.answers = csv.NewWriter(w)
		if err := i.answers.Write([]string{"sheet", "row", "card_id", "outcome", "code", "message"}); err != nil {
			return err
		}
		return i.work(ctx, source, place, sealed)
	})
	result := s.Result
	n.progress("cards", i.summary.Rows, i.summary.Rows)
	s = i.summary
	s.Result = result
	if err != nil {
		return s, err
	}
	if s.Refused+s.Conflicts > 0 {
		n.note("%s: rows refused: %d, conflicts with what we decided: %d; %s lists them", name, s.Refused, s.Conflicts, n.Relative(result))
	}
	return s, nil
}

func (n *Night) eachCard(source string, sealed bool, visit func(*extract.Row) error) error {
	in, err := durable.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	file, verdict, err := n.openExtract(in, sealed)
	if err != nil {
		return err
	}
	defer file.Close()
	var ours error // of visit: not the file's fault
	err = file.Each(func(row *extract.Row) error {
		ours = visit(row)
		return ours
	})
	switch {
	case ours != nil:
		return ours
	case err == nil:
		return verdict()
	case !sealed:
		return err
	}
	if damaged := verdict(); damaged != nil { // what cannot be read may be what was changed on its way
		return damaged
	}
	return unreadable(err)
}

// importRows is how many cards are stored together: each transaction touches
// the whole index of keyed hashes, so fewer and larger ones are quicker.
const importRows = 20000

// importing is one extract on its way into the registry.
type importing struct {
	n       *Night
	summary ImportSummary
	entry   ledger.AuditEntry
	answers *csv.Writer
	refused *sealedRows
	rows    []extract.Row
	passed  []ledger.Skipped // new card ids that restorations passed over
}

func (i *importing) work(ctx context.Context, source, place string, sealed bool) error {
	i.refused = &sealedRows{n: i.n, path: place + ".refused.csv.pgp"}
	defer i.refused.abandon()
	err := i.n.eachCard(source, sealed, func(row *extract.Row) error {
		kept := *row
		kept.Cells = append([]string(nil), row.Cells...)
		kept.Problems = append([]extract.Problem(nil), row.Problems...)
		if i.rows = append(i.rows, kept); len(i.rows) < importRows {
			return nil
		}
		return i.chunk(ctx)
	})
	if err == nil {
		err = i.chunk(ctx)
	}
	if err == nil {
		err = i.refused.close()
	}
	if err != nil {
		return err
	}
	i.answers.Flush()
	return i.answers.Error()
}

// chunk lays the gathered rows over the registry and stores what changed.
func (i *importing) chunk(ctx context.Context) error {
	if len(i.rows) == 0 {
		return nil
	}
	n := i.n
	ids := make([]int64, 0, len(i.rows))
	for _, r := range i.rows {
		if r.Card.ID > 0 {
			ids = append(ids, r.Card.ID)
		}
	}
	known, err := n.Ledger.Cards(ctx, ids)
	if err != nil {
		return err
	}
	told := make([]importAnswer, len(i.rows))
	var writes []ledger.CardWrite
	var of []int // row of each write
	for k := range i.rows {
		row := &i.rows[k]
		have := known[row.Card.ID]
		if told[k] = i.check(row, have); told[k].outcome == "refused" {
			continue
		}
		write, conflicts := merge(have, row.Card, n.Config.Statuses)
		write.At = n.Now()
		if write.Card.ShipmentStatus != "" && write.Card.ShippedAt.IsZero() {
			write.Card.ShippedAt = write.At
		}
		told[k].conflicts = conflicts
		switch {
		case have == nil:
			told[k].outcome = "inserted"
		case sameCard(have, write):
			told[k].outcome = "unchanged"
			continue
		default:
			told[k].outcome = "updated"
		}
		writes, of = append(writes, write), append(of, k)
		next := &ledger.Known{Decided: write.Decided}
		if have != nil {
			*next = *have
		}
		next.Card.Card, next.Decided = write.Card, write.Decided
		known[row.Card.ID] = next // a later row of the same card sees this one
	}
	if len(writes) > 0 {
		i.entry.At, i.entry.Detail = n.Now(), fmt.Sprintf("%d cards", len(writes))
		errs, err := n.Ledger.StoreCards(ctx, writes, i.entry)
		if err != nil {
			return fmt.Errorf("store cards: %w", err)
		}
		taken := refusedRow("card_validation_error", "Another card of the registry has this card number and PSN; correct the extract.")
		stored, failed := map[int64]bool{}, map[int64]bool{}
		for w, err := range errs {
			if stored[writes[w].Card.ID] = stored[writes[w].Card.ID] || err == nil; err != nil {
				failed[writes[w].Card.ID], told[of[w]] = true, taken
			}
		}
		for k := range told { // a row that repeats one that was not stored changed nothing of nothing
			if id := i.rows[k].Card.ID; told[k].outcome == "unchanged" && failed[id] && !stored[id] {
				told[k] = taken
			}
		}
	}
	return i.tell(ctx, told)
}

// importAnswer is what became of one row of an extract.
type importAnswer struct {
	outcome   string // inserted updated unchanged refused
	code      rules.Code
	message   string
	conflicts []Conflict
}

func refusedRow(code rules.Code, message string) importAnswer {
	return importAnswer{outcome: "refused", code: code, message: message}
}

// check says what is wrong with a row that only the configuration and the registry can know.
func (i *importing) check(row *extract.Row, have *ledger.Known) importAnswer {
	n := i.n
	if len(row.Problems) > 0 {
		var details []string
		for _, p := range row.Problems {
			details = append(details, p.Detail)
		}
		return refusedRow(rules.Code(row.Problems[0].Code), strings.Join(details, "; "))
	}
	if column, found := n.numberElsewhere(row.Card); found {
		return refusedRow("card_validation_error", fmt.Sprintf("Column %s holds a card number, which would then lie in clear; take it out of that column.", column))
	}
	if _, ok := n.Config.Products[row.Card.Product]; !ok {
		return refusedRow("card_validation_error", fmt.Sprintf("The configuration has no product %q; correct the extract or configure the product.", limit(maskAll(row.Card.Product), 40)))
	}
	if ids := n.Config.NewCardIDs; have == nil && row.Card.ID >= ids.From && row.Card.ID <= ids.To && !i.ofLostNight(row.Card.ID-ids.From+1) {
		return refusedRow("card_id_invalid", "The card id lies in new_card_ids, the range that we give to new cards, and we made no such card; correct the id or the range.")
	}
	return importAnswer{}
}

// ofLostNight says that a new card's number in its range may be of a night that the ledger does not know.
func (i *importing) ofLostNight(number int64) bool {
	return slices.ContainsFunc(i.passed, func(s ledger.Skipped) bool { return s.First <= number && number <= s.Last })
}

// maskAll hides everything that looks like a card number: of an extract's the index may not know them yet.
func maskAll(text string) string { return iso.MaskSpans(text, iso.FindEvident(text)) }

// sameCard says that a write would change nothing.
func sameCard(have *ledger.Known, w ledger.CardWrite) bool {
	a, b := have.Card.Card, w.Card
	if !a.PAN.Equal(b.PAN) || have.Decided != w.Decided || !a.StartDate.Equal(b.StartDate) || !a.ShippedAt.Equal(b.ShippedAt) {
		return false
	}
	b.PAN, b.StartDate, b.ShippedAt = a.PAN, a.StartDate, a.ShippedAt
	return a == b
}

// tell writes the answers of a chunk and seals its refused rows.
func (i *importing) tell(ctx context.Context, told []importAnswer) error {
	for k, a := range told {
		row := &i.rows[k]
		s := &i.summary
		s.Rows++
		switch a.outcome {
		case "inserted":
			s.Inserted++
		case "updated":
			s.Updated++
		case "unchanged":
			s.Unchanged++
		default:
			s.Refused++
			if err := i.refused.add(row, a); err != nil {
				return fmt.Errorf("keep a refused row: %w", err)
			}
		}
		message := a.message
		for _, c := range a.conflicts {
			s.Conflicts++
			message = strings.TrimSpace(message + " " + c.Detail)
		}
		code := a.code
		if code == "" {
			code = rules.Approved
		}
		id := ""
		if row.Card.ID > 0 {
			if id = strconv.FormatInt(row.Card.ID, 10); holdsDigits(id, row.Card.PAN) || i.n.holdsOurNumber(id) {
				id = maskAll(id)
			}
		}
		if err := i.answers.Write([]string{report.Neutral(maskAll(row.Sheet)), strconv.Itoa(row.Line), id, a.outcome, string(code), report.Neutral(message)}); err != nil {
			return err
		}
	}
	i.rows = i.rows[:0]
	i.n.progress("cards", i.summary.Rows, 0)
	return ctx.Err()
}
