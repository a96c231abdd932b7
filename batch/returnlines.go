package batch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/bureau"
	"reemboss/formats/iso"
	"reemboss/formats/returns"
)

// apply commits the lines of a checked file in chunks, from the one where an earlier process stopped.
// What is wrong with it now and was not when it was checked (the configuration changed meanwhile) is its trouble.
func (r *returnReader) apply(ctx context.Context, file *ledger.ReturnFile) (*returnTrouble, error) {
	format, err := r.prepare(ctx, file.Bureau)
	if err != nil {
		return nil, err
	}
	a := &applying{r: r, file: file, from: file.Pos}
	trouble, err := r.open(ctx, file, func(clear io.Reader) error {
		_, err := format.Read(clear, func(l *returns.Line) error { return a.line(ctx, l) }, func(b *returns.Bad) error { return a.bad(ctx, b) })
		if a.failed == nil && err == nil {
			a.failed = a.flush(ctx)
		}
		return err
	})
	if a.failed != nil {
		return nil, a.failed
	}
	return trouble, err
}

// applying collects lines into chunks.
type applying struct {
	r      *returnReader
	file   *ledger.ReturnFile
	from   int // lines up to this one are in the ledger
	pos    int
	cards  []returns.Line
	chunk  ledger.ReturnChunk
	failed error // ours, not the file's
}

func (a *applying) line(ctx context.Context, l *returns.Line) error {
	if l.Number <= a.from {
		return nil
	}
	if l.Kind == returns.File {
		if a.failed = a.flush(ctx); a.failed == nil {
			a.pos = l.Number
			a.failed = a.bureauFile(ctx, l)
		}
		return a.failed
	}
	a.pos = l.Number
	a.cards = append(a.cards, *l)
	return a.full(ctx)
}

func (a *applying) bad(ctx context.Context, b *returns.Bad) error {
	if b.Number <= a.from {
		return nil
	}
	a.pos = b.Number
	a.problem(ctx, b.Number, lineMalformed, b.FileName, b.UID, b.Problem)
	return a.full(ctx)
}

func (a *applying) full(ctx context.Context) error {
	if len(a.cards)+len(a.chunk.Problems) >= a.r.n.chunk {
		a.failed = a.flush(ctx)
	}
	return a.failed
}

// problem adds what a person must look at. A card number of ours may stand in anything that a bureau wrote.
func (a *applying) problem(ctx context.Context, line int, code, fileName, uid, detail string) {
	mask := a.r.n.masker(ctx)
	fileName, uid, detail = mask(fileName), mask(uid), mask(detail)
	a.chunk.Problems = append(a.chunk.Problems, ledger.Problem{ReturnID: a.file.ID, Line: line, Code: code, FileName: fileName, UID: uid, Detail: detail})
}

// flush decides the collected lines against what is known and commits them.
func (a *applying) flush(ctx context.Context) error {
	n := a.r.n
	if len(a.cards)+len(a.chunk.Problems)+len(a.chunk.Answers) == 0 {
		return nil
	}
	// By uid: neighbours in the ledger are written together. The events of one card in the order of their own times, so
	// that what a shuffled file tells of it is taken step by step.
	slices.SortStableFunc(a.cards, func(x, y returns.Line) int {
		return cmp.Or(strings.Compare(x.UID, y.UID), x.OccurredAt.Compare(y.OccurredAt))
	})
	uids := make([]string, len(a.cards))
	for i := range a.cards {
		uids[i] = a.cards[i].UID
	}
	known, err := n.Ledger.Shipments(ctx, uids)
	if err != nil {
		return err
	}
	now := n.Now()
	speaksOf := make([]*ledger.Shipment, len(a.cards))
	for i := range a.cards { // first of all: where one line shows that a file arrived, all of them speak of cards that the bureau has
		if speaksOf[i] = a.shipment(ctx, known, &a.cards[i]); speaksOf[i] == nil {
			continue
		}
		if a.fileOf(speaksOf[i], &a.cards[i]) != speaksOf[i].BureauFileID { // of a file before
			continue
		}
		if err := a.delivered(ctx, known, speaksOf[i], &a.cards[i]); err != nil {
			return err
		}
	}
	for i, s := range speaksOf {
		if s != nil {
			a.follow(ctx, s, &a.cards[i], now)
		}
	}
	a.chunk.ReturnID, a.chunk.RunID, a.chunk.Pos, a.chunk.At = a.file.ID, n.run.ID, a.pos, now
	if err := n.Ledger.CommitReturn(ctx, a.chunk); err != nil {
		return err
	}
	if len(a.chunk.Answers) > 0 {
		if err := n.marks.raise(ctx, n.Ledger); err != nil {
			return err
		}
		if err := a.r.reload(ctx, a.chunk.Answers); err != nil {
			return err
		}
	}
	a.r.lines += int64(len(a.cards) + len(a.chunk.Problems))
	n.progress("collect", a.r.lines, 0)
	a.cards, a.chunk = a.cards[:0], ledger.ReturnChunk{}
	n.at("collect/chunk")
	return nil
}

// shipment finds the order that a CARD line speaks of; a line about none, or about another's, is listed.
func (a *applying) shipment(ctx context.Context, known map[string]*ledger.Shipment, l *returns.Line) *ledger.Shipment {
	s := known[l.UID]
	switch {
	case s == nil:
		a.problem(ctx, l.Number, uidUnknown, l.FileName, l.UID, "No card that we ever sent has this uid; ask the bureau which card it means.")
		return nil
	case s.Bureau != a.file.Bureau:
		a.problem(ctx, l.Number, uidElsewhere, l.FileName, l.UID, fmt.Sprintf("This card was given to %s, not to %s; ask both bureaus.", s.Bureau, a.file.Bureau))
		return nil
	}
	if file := a.fileOf(s, l); file != s.BureauFileID && !slices.Contains(s.Left, file) {
		a.problem(ctx, l.Number, uidElsewhere, l.FileName, l.UID, fmt.Sprintf("This card is not in that file but in %s; ask the bureau which of the two it means.", orNone(s.FileName)))
		return nil
	}
	return s
}

// fileOf is the file of which a CARD line tells: the one that it names, else the one that the card is in, or the last that it left.
func (a *applying) fileOf(s *ledger.Shipment, l *returns.Line) int64 {
	if f := a.r.files.find(a.file.Bureau, l); f != nil && (l.FileName != "" || l.Sequence != 0) {
		return f.ID
	}
	if s.BureauFileID == 0 && len(s.Left) > 0 {
		return s.Left[len(s.Left)-1]
	}
	return s.BureauFileID
}

func orNone(name string) string {
	if name == "" {
		return "none, it waits for its next one"
	}
	return name
}

// delivered: a line about a card of a file whose transfer has no known end
// shows that the bureau has the file, and decides it.
func (a *applying) delivered(ctx context.Context, known map[string]*ledger.Shipment, s *ledger.Shipment, l *returns.Line) error {
	f := a.r.files.byID[s.BureauFileID]
	if f == nil || f.State != ledger.Undecided && f.State != ledger.Renaming {
		return nil
	}
	now, err := a.r.fileNow(ctx, f)
	if err != nil {
		return err
	}
	e := a.event(ctx, l)
	if !rules.ProvesDelivery(now, happened(s.Events), rules.Happened{Status: e.Status, At: e.At, Source: ledger.FromBureau}) {
		return nil
	}
	evidence, err := a.evidence(f, l)
	if err != nil {
		return err
	}
	e.UID, e.FileID, e.Count = "", f.ID, returns.NoCount
	a.chunk.Answers = append(a.chunk.Answers, ledger.FileAnswer{Event: e, Delivered: true, Evidence: evidence, Entry: a.r.n.audit("file.sent", f.Name, string(evidence))})
	f.State = ledger.Sent
	for _, other := range known {
		if other.BureauFileID == f.ID && other.State == ledger.PlannedO {
			other.State = ledger.SentO
		}
	}
	return nil
}

// follow decides what one line does to its card.
func (a *applying) follow(ctx context.Context, s *ledger.Shipment, l *returns.Line, now time.Time) {
	e := a.event(ctx, l)
	e.UID, e.FileID = s.UID, a.fileOf(s, l)
	what := rules.Happened{Status: e.Status, At: e.At, Code: particulars(&e), Source: ledger.FromBureau}
	var turn rules.Turn
	if e.FileID == s.BureauFileID {
		turn = rules.Follow(string(s.State), happened(s.Events), what)
	} else {
		turn = rules.FollowLeft(happened(s.Events), what)
	}
	if turn.Known {
		a.chunk.Known++
		return
	}
	if !s.SentAt.IsZero() && e.FileID == s.BureauFileID && e.At.Before(s.SentAt.AddDate(-1, 0, 0)) { // a clock that was never set
		turn = rules.Turn{Dispute: fmt.Sprintf("%s at %s is more than a year before the card was sent; ask the bureau when it was", e.Status, e.At.UTC().Format(time.DateOnly))}
	}
	e.State, e.Acked, e.Rejected, e.Dispute = ledger.OrderState(turn.State), turn.Acked, turn.Rejected, turn.Dispute
	e.RunID, e.RecordedAt = a.r.n.run.ID, now
	a.chunk.Events, a.chunk.From = append(a.chunk.Events, e), append(a.chunk.From, s.State)
	if turn.Dispute != "" {
		a.problem(ctx, l.Number, eventDisputed, a.r.files.name(e.FileID), s.UID, sentence(errors.New(turn.Dispute)))
	}
	if e.State != "" {
		s.State = e.State
	}
	s.Events = append(s.Events, e)
}

// particulars tell two events of one status and time apart: the bureau's code, and the letter's tracking number.
func particulars(e *ledger.Event) string {
	if e.TrackingNumber == "" {
		return e.Code
	}
	return e.Code + " " + e.TrackingNumber
}

// happened gives the rules a history.
func happened(events []ledger.Event) []rules.Happened {
	list := make([]rules.Happened, len(events))
	for i, e := range events {
		list[i] = rules.Happened{Status: e.Status, At: e.At, Code: particulars(&e), Source: e.Source, Moved: e.State != "", Disputed: e.Dispute != ""}
	}
	return list
}

// event is a line as the ledger keeps it. The reader has masked what looks like a card number; what is one of ours, however it is written, goes here.
func (a *applying) event(ctx context.Context, l *returns.Line) ledger.Event {
	mask := a.r.n.masker(ctx)
	tracking := iso.MaskSpans(l.TrackingNumber, iso.FindEvident(l.TrackingNumber)) // by chance, or a card number in the wrong column: in doubt it is hidden
	return ledger.Event{
		Status: l.Status, At: l.OccurredAt, Code: mask(l.Code), Description: mask(l.Description), Carrier: mask(l.Carrier), TrackingNumber: mask(tracking),
		Count: l.Count, Source: ledger.FromBureau, ReturnID: a.file.ID, Line: l.Number, RunID: a.r.n.run.ID, RecordedAt: a.r.n.Now(),
	}
}

// evidence is what an acknowledgement shows of a file whose transfer had no known end.
func (a *applying) evidence(f *ledger.BureauFile, l *returns.Line) ([]byte, error) {
	text, err := json.Marshal(map[string]any{"acknowledged_in": a.file.Name, "line": l.Number, "status": l.Status, "occurred_at": l.OccurredAt,
		"return_sha256": a.file.SHA256, "size": f.Size, "sha256": f.SHA256})
	if err != nil {
		return nil, fmt.Errorf("keep the evidence of %s: %w", f.Name, err)
	}
	return text, nil
}

// bureauFile decides what a FILE line does to its file, and commits it alone.
func (a *applying) bureauFile(ctx context.Context, l *returns.Line) error {
	n := a.r.n
	f := a.r.files.find(a.file.Bureau, l)
	if f == nil { // a line that names no file: the reader lets none through, and check saw every other
		a.problem(ctx, l.Number, lineMalformed, "", "", "The line speaks of a file and names none; ask the bureau.")
		return a.flush(ctx)
	}
	now, err := a.r.fileNow(ctx, f)
	if err != nil {
		return err
	}
	e := a.event(ctx, l)
	e.FileID = f.ID
	turn := rules.FollowFile(now, rules.Happened{Status: e.Status, At: e.At, Code: e.Code, Source: ledger.FromBureau}, l.Count)
	if turn.Known {
		a.chunk.Known++
		a.chunk.Answers = nil
		return a.commitFile(ctx)
	}
	e.Dispute = turn.Dispute
	answer := ledger.FileAnswer{Event: e, Delivered: turn.Delivered, Acknowledge: turn.Acknowledge, Refuse: turn.Refuse}
	if turn.Delivered {
		if answer.Evidence, err = a.evidence(f, l); err != nil {
			return err
		}
	}
	switch {
	case turn.Dispute != "":
		a.problem(ctx, l.Number, bureauFileDisputed, f.Name, "", sentence(errors.New(turn.Dispute)))
	case turn.Refuse:
		a.chunk.Entry = n.audit("file.refused", f.Name, limit(strings.TrimSpace(e.Code+" "+e.Description), 200))
	case turn.Acknowledge:
		a.chunk.Entry = n.audit("file.acknowledged", f.Name, fmt.Sprintf("line %d of %s", l.Number, printable(a.file.Name)))
	}
	a.chunk.Answers = []ledger.FileAnswer{answer}
	return a.commitFile(ctx)
}

// fileNow is what the rules need to know of a bureau file when the bureau speaks of it.
func (r *returnReader) fileNow(ctx context.Context, f *ledger.BureauFile) (now rules.FileNow, err error) {
	now = rules.FileNow{State: string(f.State), Records: f.Records, ByState: map[string]int64{}, EverSent: !f.SentAt.IsZero(), SentAt: f.SentAt}
	history, err := r.n.Ledger.FileEvents(ctx, f.ID)
	if err != nil {
		return now, err
	}
	now.History = happened(history)
	states, err := r.n.Ledger.OrderStates(ctx, f.ID)
	if err != nil {
		return now, err
	}
	for state, count := range states {
		now.ByState[string(state)] = count
	}
	steps, err := r.n.Ledger.Deliveries(ctx, f.ID)
	now.Sendings, now.Begun = sendings(steps)
	return now, err
}

// sendings counts how often a file was SENT, or may have arrived (UNDECIDED), and says from when on the bureau can
// have had the newest of these transfers, ended or not: its rename, or its start
// where it was not renamed. A repetition that failed put the file back to the SENT
// of then, with the time of then; it is no sending. Nor is one that found the file
// there already and sent nothing. A night that keeps why a file is not sent records
// its state once more; the rename is the first of these.
func sendings(steps []ledger.Delivery) (count int, begun time.Time) {
	var sent, sentBegun, before time.Time
	var last ledger.BureauFileState
	var maybe int // 1 where the newest counted one may not have arrived
	for _, step := range steps {
		switch step.State {
		case ledger.Written:
			before = begun
		case ledger.Intent:
			begun = step.At
		case ledger.Renaming:
			if last != ledger.Renaming {
				begun = step.At
			}
		case ledger.Undecided:
			if last != ledger.Undecided {
				count, maybe = count+1, 1
			}
		case ledger.Sent:
			switch {
			case count > 0 && step.At.Equal(sent):
				begun = sentBegun
			case last != ledger.Undecided && maybe == 1 && decided(step): // the one that is counted arrived, and nothing was sent since
				begun = before
			case thereAlready(step):
				count, begun = max(count-maybe, 1), before
			case last != ledger.Undecided: // else it is counted
				count++
			}
			sent, sentBegun, maybe = step.At, begun, 0
		}
		last = step.State
	}
	return count, begun
}

// thereAlready says that a file became SENT because it still stood at the bureau; nothing was sent.
func thereAlready(step ledger.Delivery) bool {
	var ev bureau.Evidence
	return json.Unmarshal(step.Evidence, &ev) == nil && ev.Seen == bureau.SeenAlreadySent
}

// decided says that a person knew that the recipient has a file.
func decided(step ledger.Delivery) bool {
	var by struct {
		Who string `json:"decided_by"`
	}
	return json.Unmarshal(step.Evidence, &by) == nil && by.Who != ""
}

// commitFile commits what a FILE line did, also when it did nothing: its position counts.
func (a *applying) commitFile(ctx context.Context) error {
	n := a.r.n
	a.chunk.ReturnID, a.chunk.RunID, a.chunk.Pos, a.chunk.At = a.file.ID, n.run.ID, a.pos, n.Now()
	if err := n.Ledger.CommitReturn(ctx, a.chunk); err != nil {
		return err
	}
	answers := a.chunk.Answers
	a.chunk = ledger.ReturnChunk{}
	a.r.lines++
	if err := n.marks.raise(ctx, n.Ledger); err != nil {
		return err
	}
	n.at("collect/answer")
	return a.r.reload(ctx, answers)
}

// reload reads again the bureau files that answers may have moved.
func (r *returnReader) reload(ctx context.Context, answers []ledger.FileAnswer) error {
	for _, answer := range answers {
		f := r.files.byID[answer.Event.FileID]
		if f == nil {
			continue
		}
		now, err := r.n.Ledger.FileByName(ctx, f.Name)
		if err != nil {
			return err
		}
		*f = now
	}
	return nil
}
