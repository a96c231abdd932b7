package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/extract"
	"reemboss/formats/iso"
	"reemboss/formats/request"
)

// decide answers every row of the checked files, in the order in which the
// files were taken. Rows go in chunks: a chunk's cards are looked up together,
// each row is decided with what the rows before it changed, issued at once, and
// the whole chunk is one transaction of the ledger.
//
// Decide and issue alternate row by row because they depend on each other: a
// card whose record does not fit the bureau's layout is refused, and only then
// may a later row for the same card be accepted.
func (n *Night) decide(ctx context.Context) (int64, error) {
	files, err := n.Ledger.OpenFiles(ctx)
	if err != nil {
		return 0, err
	}
	d := newDecider(n)
	var items int64
	for _, f := range files {
		if f.Extract || f.State != ledger.Checked {
			continue
		}
		rows, err := d.file(ctx, f)
		items += rows
		if err := n.troubled(err); err != nil {
			return items, err
		}
		d.forget()
	}
	if d.issued > 0 {
		at := n.Now()
		n.elsewhere = d.issuing
		n.Log.Info().Str("run", n.run.ID).Str("stage", "issue").Int64("items", d.issued).Float64("seconds", d.issuing.Seconds()).Msg("stage done")
		err = n.Ledger.RecordStage(ctx, ledger.Stage{RunID: n.run.ID, Name: "issue", StartedAt: at.Add(-d.issuing), EndedAt: at, Items: d.issued})
	}
	return items, err
}

// decider holds what the rows of one chunk see: the ledger, and on top of it
// what earlier rows of the chunk changed. [Night.Check] uses it without ever
// committing; then the view lives as long as the check.
type decider struct {
	n       *Night
	fileID  int64
	cards   map[int64]*ledger.Known
	chained []*ledger.Known            // cards in view that have a successor
	psns    map[string][]int           // digest of a number → PSNs given to it in this view
	changed map[int64]bool             // cards that a reissue of this view changed or made
	opened  map[int64]*rules.Embossing // orders of cards that nothing else changed
	priors  map[string]ledger.Prior
	ranges  map[string]int64 // counters moved in this chunk, their value
	loaded  map[string]int64 // the same as the ledger has them
	uids    uidSource
	issued  int64
	issuing time.Duration

	submitter *rules.Submitter // who signed the file at work, nil for nobody
	spent     map[string]int64 // accepted rows of this night, by submitter; of those with a limit only
}

func newDecider(n *Night) *decider {
	d := &decider{n: n, uids: uidSource{random: n.Random}, spent: map[string]int64{}}
	d.forget()
	return d
}

func (d *decider) forget() {
	d.cards, d.priors = map[int64]*ledger.Known{}, map[string]ledger.Prior{}
	d.chained, d.psns, d.opened = nil, map[string][]int{}, map[int64]*rules.Embossing{}
	d.changed = map[int64]bool{}
	d.ranges, d.loaded = map[string]int64{}, map[string]int64{}
}

// file decides the rows of one file that have no answer yet.
func (d *decider) file(ctx context.Context, f ledger.RequestFile) (int64, error) {
	n := d.n
	d.fileID = f.ID
	last, err := n.Ledger.LastPos(ctx, f.ID)
	if err != nil {
		return 0, err
	}
	source, err := n.submittedAgain(f, last)
	if errors.Is(err, errChanged) {
		return 0, n.grown(ctx, f)
	}
	if err != nil {
		return 0, err
	}
	defer source.Close()
	if last == 0 {
		// A file of the same content may have been decided since this one was checked.
		if first, err := n.sameContent(ctx, f); err == nil {
			return 0, n.refuseFile(ctx, f, "duplicate_file", n.duplicateDetail(first), rules.Duplicate)
		} else if !errors.Is(err, ledger.ErrNotFound) {
			return 0, err
		}
	}
	file, err := request.New(source.content, source.size, n.requestOptions())
	if changedSince(err) {
		return 0, n.grown(ctx, f)
	}
	if err != nil {
		return 0, fmt.Errorf("read %s again: %w", f.Intake, err)
	}
	defer file.Close()
	if err := d.submits(ctx, f.Submitter); err != nil {
		return 0, err
	}

	var items int64
	rows := make([]*request.Row, 0, n.chunk)
	commit := func() error {
		if len(rows) == 0 {
			return nil
		}
		chunk, err := d.chunk(ctx, rows)
		if err != nil {
			return err
		}
		chunk.RunID, chunk.FileID, chunk.At = n.run.ID, f.ID, n.Now()
		chunk.Entry = n.audit("rows.decided", printable(f.Name), fmt.Sprintf("rows %d to %d: %d accepted", rows[0].Pos, rows[len(rows)-1].Pos, len(chunk.Orders)))
		n.at("decide/commit")
		if err := n.Ledger.CommitChunk(ctx, chunk); err != nil {
			return fmt.Errorf("%s: commit rows: %w", printable(f.Name), err)
		}
		n.at("decide/committed")
		d.forget()
		items += int64(len(rows))
		rows = rows[:0]
		n.progress("decide", int64(last)+items, f.Rows)
		return ctx.Err()
	}
	err = file.Each(func(row *request.Row) error {
		if row.Pos <= last {
			return nil
		}
		rows = append(rows, cloneRow(row))
		if len(rows) == n.chunk {
			return commit()
		}
		return nil
	})
	if changedSince(err) { // what was read before the damage stands; the next run sees what the rest is
		return items, n.grown(ctx, f)
	}
	if err == nil {
		err = commit()
	}
	if err != nil {
		return items, err
	}
	f.State = ledger.DecidedF
	return items, n.keepFile(ctx, f, nil, n.audit("file.decided", printable(f.Name), fmt.Sprintf("%d rows", f.Rows)))
}

// grown puts a file back to be checked whole: its sender went on writing after
// it was taken. Rows that have their answer keep it; those that came later are decided by the next run.
func (n *Night) grown(ctx context.Context, f ledger.RequestFile) error {
	n.note("%s was still being written after it was taken; the next run reads it again", printable(f.Name))
	f.State, f.SHA256, f.Submitter, f.Signer, f.Final, f.Notes, f.Rows = ledger.Claimed, "", "", "", "", nil, 0
	return n.keepFile(ctx, f, nil, nil)
}

func cloneRow(row *request.Row) *request.Row {
	c := *row
	c.Cells = append([]string(nil), row.Cells...)
	c.Problems = append([]request.Problem(nil), row.Problems...)
	return &c
}

// chunk decides rows that stand next to each other in one file.
func (d *decider) chunk(ctx context.Context, rows []*request.Row) (ledger.Chunk, error) {
	var c ledger.Chunk
	if err := d.load(ctx, rows); err != nil {
		return c, err
	}
	mask := d.n.masker(ctx)
	for _, row := range rows {
		answer, err := d.row(ctx, row, mask, &c)
		if err != nil {
			return c, err
		}
		c.Answers = append(c.Answers, answer)
	}
	for name, value := range d.ranges {
		if from := d.loaded[name]; value != from {
			c.Advances = append(c.Advances, ledger.Advance{Counter: name, From: from, To: value})
		}
	}
	return c, nil
}

// load brings the cards and references of the rows into view; what the view already has stays.
func (d *decider) load(ctx context.Context, rows []*request.Row) error {
	ids := make([]int64, 0, len(rows))
	var references []string
	for _, row := range rows {
		if id, ok := rules.ParseCardID(row.Fields.CardID); ok && d.cards[id] == nil {
			ids = append(ids, id)
		}
		if r := row.Fields.Reference; r != "" {
			r = d.n.referenceKey(r)
			if _, ok := d.priors[r]; !ok {
				references = append(references, r)
			}
		}
	}
	if err := d.view(ctx, ids); err != nil {
		return err
	}
	if len(references) == 0 {
		return nil
	}
	priors, err := d.n.Ledger.References(ctx, references)
	if err != nil {
		return fmt.Errorf("look up references: %w", err)
	}
	for r, p := range priors {
		d.priors[r] = p
	}
	return nil
}

// view looks cards up, and the successors of those that were replaced: an order
// for the last card of a chain concerns every card before it.
func (d *decider) view(ctx context.Context, ids []int64) error {
	for len(ids) > 0 {
		cards, err := d.n.Ledger.Cards(ctx, ids)
		if err != nil {
			return fmt.Errorf("look up cards: %w", err)
		}
		ids = ids[:0]
		for id, card := range cards {
			if d.cards[id] != nil {
				continue
			}
			d.cards[id] = card
			if open := d.opened[id]; open != nil {
				card.Last, card.Open = open, open
			}
			if card.Successor == 0 {
				continue
			}
			d.chained = append(d.chained, card)
			if d.cards[card.Successor] == nil {
				ids = append(ids, card.Successor)
			}
		}
	}
	return nil
}

// ends says whether the chain of replacements that begins at a card comes to id.
func (d *decider) ends(card *ledger.Known, id int64) bool {
	for range d.chained { // no chain is longer, and none runs in a circle for ever
		if card.Successor == id {
			return true
		}
		if card = d.cards[card.Successor]; card == nil || card.Successor == 0 {
			return false
		}
	}
	return false
}

// trim forgets all that the ledger can tell again. [Night.Check] commits
// nothing and so keeps what its rows changed: of a re-embossed card its order only.
func (d *decider) trim() {
	for id, card := range d.cards {
		open := card.Open != nil && card.Open.State == viewed
		switch {
		case card.Successor != 0 || open && d.changed[id]:
			continue
		case open:
			d.opened[id] = card.Open
		}
		delete(d.cards, id)
	}
}

// row decides and issues one row; what follows from it goes into c and into the view.
func (d *decider) row(ctx context.Context, row *request.Row, mask func(string) string, c *ledger.Chunk) (ledger.Answer, error) {
	n := d.n
	d.noCardNumbers(row, mask)
	in := rules.Input{
		Row: row, FileID: d.fileID, Now: n.Now(),
		RowDigest:     n.keyset.Digest("row", digestParts(string(row.Kind), row.Cells)...),
		ContentDigest: n.contentDigest(row),
		Submitter:     d.submitter, Spent: d.spentBy(d.submitter),
	}
	var known *ledger.Known
	if id, ok := rules.ParseCardID(row.Fields.CardID); ok {
		if known = d.cards[id]; known != nil {
			in.Card = &known.Card
		}
	}
	reference := ""
	var prior ledger.Prior
	if row.Fields.Reference != "" {
		reference = n.referenceKey(row.Fields.Reference)
		if p, ok := d.priors[reference]; ok {
			prior = p
			in.Reference = &p.Prior
		}
	}
	decision := n.policy.Decide(in)
	var order *ledger.Order
	if decision.Outcome == rules.Accepted {
		started := time.Now()
		var violations []rules.Violation
		var err error
		order, violations, err = d.issue(ctx, row, known, &decision, in.RowDigest, c)
		d.issuing += time.Since(started)
		d.issued++
		if err != nil {
			return ledger.Answer{}, err
		}
		if len(violations) > 0 {
			decision = n.policy.Refuse(in, violations...)
		}
	}
	answer := d.answer(row, in, decision, reference, mask)
	switch {
	case decision.Outcome == rules.Accepted:
		d.spend()
		answer.OrderUID = order.UID
		if reference != "" {
			d.priors[reference] = ledger.Prior{Prior: rules.Prior{ContentDigest: in.ContentDigest, FileID: d.fileID, RowDigest: in.RowDigest}, Answer: answer}
		}
	case decision.Outcome == rules.Duplicate && decision.Code != "duplicate_row" && in.Reference != nil:
		repeat(&answer, prior.Answer)
	}
	return answer, nil
}

// repeat gives the first answer again, as a duplicate.
func repeat(answer *ledger.Answer, first ledger.Answer) {
	answer.Outcome, answer.Class, answer.Code, answer.Codes = rules.Duplicate, first.Class, first.Code, first.Codes
	answer.OrderUID = first.OrderUID
	answer.Message = "Answered before under this reference; nothing was done again. The answer was: " + first.Message
}

func (d *decider) answer(row *request.Row, in rules.Input, dec rules.Decision, reference string, mask func(string) string) ledger.Answer {
	a := ledger.Answer{
		FileID: d.fileID, Pos: row.Pos, RunID: d.n.run.ID, Sheet: mask(row.Sheet), Line: row.Line, Kind: row.Kind,
		CardID: mask(row.Fields.CardID), Outcome: dec.Outcome, Class: rules.Class(dec.Code), Code: dec.Code,
		Reference: reference, Submitter: mask(row.Fields.Submitter),
		ContentDigest: in.ContentDigest, RowDigest: in.RowDigest,
	}
	if d.submitter != nil {
		a.Submitter = d.submitter.Key
	}
	if len(a.CardID) > 40 {
		a.CardID = a.CardID[:40] + "…"
	}
	if dec.Outcome == rules.Accepted {
		a.Class, a.Codes = acceptedClass(row.Kind), []rules.Code{rules.Approved}
		a.Reason, a.Message = dec.Plan.Reason, dec.Message
		return a
	}
	var sentences []string
	for _, v := range dec.Violations {
		if !slices.Contains(a.Codes, v.Code) {
			a.Codes = append(a.Codes, v.Code)
		}
		sentences = append(sentences, v.Detail)
	}
	a.Message = mask(strings.Join(sentences, " "))
	a.Reason = dec.Reason
	return a
}

// acceptedClass: 201 a reissue, 202 a re-embossing (domain: the seeds' HTTP meaning).
func acceptedClass(kind request.Kind) int {
	if kind == request.Reissue {
		return 201
	}
	return 202
}

// noCardNumbers refuses a row that brings a card number in a field that we keep or print, or over several of them.
func (d *decider) noCardNumbers(row *request.Row, mask func(string) string) {
	fields := []struct {
		column string
		value  *string
	}{
		{"printed_name", &row.Fields.PrintedName}, {"reference", &row.Fields.Reference}, {"submitter", &row.Fields.Submitter},
		{"address_line1", &row.Fields.Address.Line1}, {"address_line2", &row.Fields.Address.Line2},
		{"address_line3", &row.Fields.Address.Line3}, {"address_line4", &row.Fields.Address.Line4},
		{"city", &row.Fields.Address.City}, {"region", &row.Fields.Address.Region}, {"postcode", &row.Fields.Address.Postcode},
	}
	for _, f := range fields {
		if len(*f.value) < 13 {
			continue
		}
		if masked := mask(*f.value); masked != *f.value {
			*f.value = masked
			row.Problems = append(row.Problems, request.Problem{Code: "row_malformed", Column: f.column,
				Detail: fmt.Sprintf("Column %s holds a card number; take it out and send the row again.", f.column)})
		}
	}
	values := make([]string, len(fields))
	for i, f := range fields {
		values[i] = *f.value
	}
	if !iso.MaskAcross(values, mask) {
		return
	}
	var columns []string
	for i, f := range fields {
		if values[i] != *f.value {
			columns, *f.value = append(columns, f.column), values[i]
		}
	}
	row.Problems = append(row.Problems, request.Problem{Code: "row_malformed", Column: columns[0],
		Detail: fmt.Sprintf("Columns %s hold a card number between them; take it out and send the row again.", strings.Join(columns, " and "))})
}

// referenceKey is how a sender's reference is kept: as it is, or its keyed digest where it looks like a card number.
func (n *Night) referenceKey(reference string) string {
	if len(iso.FindPANs(reference)) > 0 || len(reference) > 200 {
		return "digest:" + n.keyset.Digest("reference", []byte(reference))[:32]
	}
	return reference
}

// contentDigest covers what a row means: the same reference with other content
// is a conflict. Ids are whole numbers, and a reason is the same as a word or a code.
func (n *Night) contentDigest(row *request.Row) string {
	f := row.Fields
	card, reason := f.CardID, f.ReasonCode
	if id, ok := rules.ParseCardID(card); ok {
		card = strconv.FormatInt(id, 10)
	}
	if code, ok := n.policy.ReasonCode(reason); ok {
		reason = strconv.Itoa(code)
	}
	return n.keyset.Digest("content", digestParts(string(row.Kind), []string{card, f.UserID, reason, f.ReissueType, f.ShippingMethod,
		f.PrintedName, f.EmbossingGroup, addressText(f.Address)})...)
}

func addressText(a extract.Address) string {
	return strings.Join([]string{a.Line1, a.Line2, a.Line3, a.Line4, a.City, a.Region, a.Postcode, a.Country}, "\x00")
}

// digestParts leaves trailing blank cells out: they are no content.
func digestParts(kind string, cells []string) [][]byte {
	for len(cells) > 0 && cells[len(cells)-1] == "" {
		cells = cells[:len(cells)-1]
	}
	parts := make([][]byte, 0, len(cells)+1)
	parts = append(parts, []byte(kind))
	for _, c := range cells {
		parts = append(parts, []byte(c))
	}
	return parts
}

var errNoNumber = errors.New("no number left")
