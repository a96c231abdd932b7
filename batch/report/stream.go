package report

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/extract"
	"reemboss/formats/request"
)

// carriedChunk is how many cards of carried-over orders are looked up at once.
const carriedChunk = 500

// eventStream writes events.ndjson while the answers and records of a run are walked.
type eventStream struct {
	ctx      context.Context
	out      *bufio.Writer
	json     *json.Encoder
	n        int64
	run      ledger.Run
	bureaus  map[string]Bureau
	ledger   Ledger
	written  map[int64]*ledger.BureauFile  // files whose bytes were made in this run
	programs map[int64]map[string]struct{} // by file
	carried  []ledger.Order                // not told by an answer of this run, cards not looked up yet
}

func newEventStream(ctx context.Context, w io.Writer, l Ledger, bureaus map[string]Bureau) *eventStream {
	out := bufio.NewWriterSize(w, 64<<10)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return &eventStream{
		ctx: ctx, out: out, json: encoder, bureaus: bureaus, ledger: l,
		written: map[int64]*ledger.BureauFile{}, programs: map[int64]map[string]struct{}{},
	}
}

// begin tells the stream of the run and of the files that were written in it.
func (e *eventStream) begin(run ledger.Run, files []*ledger.BureauFile) {
	e.run = run
	for _, f := range files {
		e.written[f.ID] = f
		e.programs[f.ID] = map[string]struct{}{}
	}
}

// told writes the events of one answer: the request's own, that of the record
// that it became, or that of the record that could not be made.
func (e *eventStream) told(t *ledger.Told) error {
	if t.Kind == "" {
		return nil // a file as a whole is no request
	}
	if err := e.requestEvent(t); err != nil {
		return err
	}
	if t.Outcome == rules.Accepted && t.Order != nil {
		if f := e.written[t.Order.BureauFileID]; f != nil {
			return e.recordEvent(f, t.Order, t.Card, t.Order.UID)
		}
		return nil
	}
	if !failsEmbossing[t.Code] {
		return nil
	}
	data := EmbossingEvent{CardEvent: e.card(t), ErrorType: string(t.Code), ErrorMessage: t.Message, Reembossing: t.Kind == request.Reemboss}
	if t.Card != nil {
		data.EmbossingGroup = t.Card.Group
	}
	return e.emit(eventEmbossing, answerKey(t), e.answerTime(t), data.CardID, data)
}

// failsEmbossing are the codes of a card whose record could not be made or sent to any bureau.
var failsEmbossing = map[rules.Code]bool{
	"embossing_line_invalid_format": true, "invalid_printed_name": true, "embosser_not_configured": true,
	"psn_exhausted": true, "pan_range_exhausted": true, "internal_error": true,
}

func (e *eventStream) requestEvent(t *ledger.Told) error {
	card := e.card(t)
	if t.Kind == request.Reemboss {
		return e.emit(eventReembossing, answerKey(t), e.answerTime(t), card.CardID, card)
	}
	d := detailOf(t)
	data := ReissueEvent{
		CardEvent: card, ReasonCode: t.Reason, CardNumber: d.cardNumber, NewCardNumber: d.newCardNumber, NewExpiry: d.newExpiry, Fee: d.fee,
		ExpectedDeliveryDate: d.delivery, TransactionID: d.transaction, ResponseCode: d.code, ResponseDescription: d.message,
	}
	if o := t.Order; o != nil {
		data.ReissueType, data.ReissueTypeDerived, data.NewCardReferenceID = o.Type, o.TypeDerived, o.EmbossedCardID
		data.OldCardStatus, data.NewCardStatus, data.NewPIN = o.OldStatus, o.Status, string(o.NewPIN)
	}
	return e.emit(eventReissue, answerKey(t), e.answerTime(t), card.CardID, data)
}

// card is what every event about a requested card has.
func (e *eventStream) card(t *ledger.Told) CardEvent {
	c := CardEvent{CardID: t.CardID, Outcome: string(t.Outcome), RunID: e.run.ID}
	if t.Outcome != rules.Accepted {
		c.Validation = ValidationResult{string(t.Code), t.Message}
	}
	if t.Card != nil && !hasCode(t.Codes, "customer_not_found") {
		c.ProgramID, c.AccountID, c.CustomerID, c.CardStatus = t.Card.ProgramID, t.Card.AccountID, t.Card.CustomerID, t.Card.Status
	}
	if t.Order != nil {
		c.UID, c.Embosser = t.Order.UID, e.embosser(t.Order.Bureau)
	}
	return c
}

func (e *eventStream) embosser(bureau string) Embosser {
	return Embosser{bureau, e.bureaus[bureau].Name}
}

// recordEvent writes the event of one record of a bureau file. The card is the
// requested one, nil when the registry has none.
func (e *eventStream) recordEvent(f *ledger.BureauFile, o *ledger.Order, card *extract.Card, key string) error {
	id := strconv.FormatInt(o.EmbossedCardID, 10)
	data := EmbossingEvent{
		CardEvent: CardEvent{CardID: id, CardStatus: o.Status, Embosser: e.embosser(f.Recipient), Outcome: string(rules.Accepted), UID: o.UID, RunID: o.RunID},
		Tracking:  f.Name, Reembossing: o.Kind == request.Reemboss, ReembossingCounter: o.Reembossing,
	}
	if card != nil {
		data.ProgramID, data.AccountID, data.CustomerID, data.EmbossingGroup = card.ProgramID, card.AccountID, card.CustomerID, card.Group
		e.programs[f.ID][card.ProgramID] = struct{}{}
	}
	return e.emit(eventEmbossing, key, f.WrittenAt, id, data)
}

// record takes a record of a file written in this run. Those whose answer is
// of this run were told with it.
func (e *eventStream) record(f *ledger.BureauFile, o *ledger.Order) error {
	if o.RunID == e.run.ID {
		return nil
	}
	e.carried = append(e.carried, *o)
	if len(e.carried) < carriedChunk {
		return nil
	}
	return e.flushCarried(f)
}

func (e *eventStream) flushCarried(f *ledger.BureauFile) error {
	if len(e.carried) == 0 {
		return nil
	}
	ids, uids := make([]int64, len(e.carried)), make([]string, len(e.carried))
	for i := range e.carried {
		ids[i], uids[i] = e.carried[i].CardID, e.carried[i].UID
	}
	cards, err := e.ledger.Cards(e.ctx, ids)
	if err != nil {
		return err
	}
	shipments, err := e.ledger.Shipments(e.ctx, uids)
	if err != nil {
		return err
	}
	for i := range e.carried {
		o := &e.carried[i]
		var card *extract.Card
		if known := cards[o.CardID]; known != nil {
			card = &known.Card.Card
		}
		if err := e.recordEvent(f, o, card, recordKey(f, o, shipments[o.UID])); err != nil {
			return err
		}
	}
	e.carried = e.carried[:0]
	return nil
}

// recordKey names the event of a record for ever: by the order, and by the
// file too where the order stood in an earlier file that was refused and cancelled.
func recordKey(f *ledger.BureauFile, o *ledger.Order, s *ledger.Shipment) string {
	if s == nil {
		return o.UID
	}
	for i := range s.Events {
		if before := s.Events[i].FileID; before != 0 && before != f.ID {
			return o.UID + "/" + f.Name
		}
	}
	return o.UID
}

// file writes the summary of a file after its records.
func (e *eventStream) file(f *ledger.BureauFile) error {
	if err := e.flushCarried(f); err != nil {
		return err
	}
	id := f.Recipient + "-" + strconv.FormatInt(f.Sequence, 10)
	return e.emit(eventSummary, id, f.WrittenAt, f.Name, SummaryEvent{
		FileID: id, ProgramID: strings.Join(slices.Sorted(maps.Keys(e.programs[f.ID])), ","), EmbosserID: f.Recipient,
		EmbossingTime: f.WrittenAt.UTC(), FileName: f.Name, GenerationDate: f.PlannedAt.UTC().Format(time.DateOnly),
		SequentialNumber: f.Sequence, TotalEmbossedCards: f.Records,
	})
}

// returned writes the event of a card that was rejected, or that went its way
// in the post. What contradicts the known is no fact yet, and is not told; a
// card that is taken, acknowledged or produced has no event type.
func (e *eventStream) returned(t *ledger.ToldEvent) error {
	if t.Order == nil || t.Dispute != "" {
		return nil
	}
	id := strconv.FormatInt(t.Order.EmbossedCardID, 10)
	card := CardEvent{
		CardID: id, Embosser: e.embosser(t.Order.Bureau), CardStatus: t.Order.Status, Outcome: strings.ToLower(t.Status), UID: t.UID, RunID: e.run.ID,
	}
	if t.Card != nil {
		card.ProgramID, card.AccountID, card.CustomerID, card.CardStatus = t.Card.ProgramID, t.Card.AccountID, t.Card.CustomerID, t.Card.Status
	}
	at := t.At.UTC()
	key := t.UID + "/" + t.Status + "/" + t.Code + "/" + at.Format(time.RFC3339Nano)
	switch ledger.OrderState(t.Status) {
	case ledger.Rejected:
		said := bureauWords(t.Description)
		card.Validation = ValidationResult{t.Code, said}
		return e.emit(eventRejection, key, at, id, RejectionEvent{CardEvent: card, ErrorCode: t.Code, ErrorDescription: said, Tracking: t.Order.FileName, OccurredAt: at})
	case ledger.Cancelled: // by a person here, before any bureau heard of it
		said := bureauWords(t.Description)
		card.Validation = ValidationResult{t.Code, said}
		return e.emit(eventRejection, key, at, id, RejectionEvent{CardEvent: card, ErrorCode: t.Code, ErrorDescription: said, OccurredAt: at})
	case ledger.Shipped, ledger.Delivered, ledger.Returned, ledger.Lost:
		return e.emit(eventPost, key, at, id, PostEvent{
			CardEvent: card, Status: t.Status, Carrier: bureauWords(t.Carrier), TrackingNumber: t.TrackingNumber, OccurredAt: at, Tracking: t.Order.FileName,
		})
	}
	return nil
}

// answerKey names an answer for ever: the request file in the ledger and the row's position in it.
func answerKey(t *ledger.Told) string {
	return strconv.FormatInt(t.FileID, 10) + "/" + strconv.Itoa(t.Pos)
}

// answerTime is when the order was accepted; an answer without one has the time of its run.
func (e *eventStream) answerTime(t *ledger.Told) time.Time {
	if t.Order != nil && t.Outcome == rules.Accepted {
		return t.Order.CreatedAt
	}
	return e.run.StartedAt
}

func (e *eventStream) emit(kind, key string, at time.Time, subject string, data any) error {
	sum := sha256.Sum256([]byte(kind + "\x00" + key))
	e.n++
	return e.json.Encode(Event{
		SpecVersion: "1.0", ID: hex.EncodeToString(sum[:16]), Source: eventSource, Type: kind, Time: at.UTC(),
		Subject: subject, DataContentType: "application/json", Data: data,
	})
}

func (e *eventStream) close() error { return e.out.Flush() }
