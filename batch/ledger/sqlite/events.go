package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
)

// CommitReturn writes a chunk of a return file.
func (l *Ledger) CommitReturn(ctx context.Context, c ledger.ReturnChunk) error {
	what := fmt.Sprintf("commit %d events and %d answers of return file %d", len(c.Events), len(c.Answers), c.ReturnID)
	if len(c.From) != len(c.Events) {
		return fmt.Errorf("%s: %d states are given for the orders of %d events", what, len(c.From), len(c.Events))
	}
	return l.write(ctx, what, func(conn *sqlite.Conn) error {
		run, err := runSeq(conn, c.RunID)
		if err != nil {
			return err
		}
		if err := moveReturn(conn, &c, run); err != nil {
			return err
		}
		b, err := newBooking(conn, run, c.RunID, c.At)
		if err != nil {
			return err
		}
		for i := range c.Answers {
			a := c.Answers[i]
			a.Event.ReturnID = c.ReturnID
			if err := b.answer(&a); err != nil {
				return err
			}
		}
		for i := range c.Events {
			e := c.Events[i]
			e.ReturnID = c.ReturnID
			if err := b.event(&e, c.From[i]); err != nil {
				return err
			}
		}
		if err := insertProblems(conn, &c, run); err != nil {
			return err
		}
		return appendAudit(conn, c.Entry)
	})
}

// moveReturn moves a return file on to the last line of the chunk.
func moveReturn(conn *sqlite.Conn, c *ledger.ReturnChunk, run int64) error {
	if err := returnIs(conn, c.ReturnID, ledger.ReturnHeld); err != nil {
		return err
	}
	changed, err := exec(conn, "UPDATE return_files SET pos = ?1, applied = applied + ?2, known = known + ?3, problems = problems + ?4 WHERE id = ?5 AND pos < ?1",
		int64(c.Pos), newLines(c), c.Known, int64(len(c.Problems)), c.ReturnID)
	if err == nil && changed == 0 {
		err = fmt.Errorf("%w: line %d of return file %d is in the ledger already", ledger.ErrConflict, c.Pos, c.ReturnID)
	}
	if err != nil {
		return err
	}
	return touchReturn(conn, run, c.ReturnID)
}

// newLines counts the lines of a chunk that brought something new and
// undisputed. A line about a card may bring an answer to its file as well.
func newLines(c *ledger.ReturnChunk) (n int64) {
	for i := range c.Events {
		if c.Events[i].Dispute == "" {
			n++
		}
	}
	for i := range c.Answers {
		e := &c.Answers[i].Event
		ofCard := slices.ContainsFunc(c.Events, func(other ledger.Event) bool { return other.Line == e.Line })
		if e.Dispute == "" && !ofCard {
			n++
		}
	}
	return n
}

func insertProblems(conn *sqlite.Conn, c *ledger.ReturnChunk, run int64) error {
	for i := range c.Problems {
		p := &c.Problems[i]
		if _, err := exec(conn, "INSERT INTO return_problems (return_file, line, run, code, file_name, uid, detail) VALUES (?, ?, ?, ?, ?, ?, ?)",
			c.ReturnID, int64(p.Line), key(run), p.Code, p.FileName, p.UID, p.Detail); err != nil {
			return fmt.Errorf("list line %d: %w", p.Line, err)
		}
	}
	return nil
}

// booking adds events to orders and files, in one transaction.
type booking struct {
	conn   *sqlite.Conn
	run    int64
	runID  string
	who    string    // settles; "" for a bureau
	at     time.Time // when it becomes known
	insert *sqlite.Stmt
	find   *sqlite.Stmt
	move   *sqlite.Stmt
}

const insertEventInto = `INSERT OR ROLLBACK INTO events (order_id, bureau_file_id, status, at, code, description, carrier, tracking, count, source, return_file, line,
	run, recorded_at, state, acked, rejected, dispute, settled_at, settlement) `

func newBooking(conn *sqlite.Conn, run int64, runID string, at time.Time) (*booking, error) {
	b := &booking{conn: conn, run: run, runID: runID, at: at}
	for _, s := range []struct {
		stmt **sqlite.Stmt
		sql  string
	}{
		{&b.insert, insertEventInto + "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, '')"},
		{&b.find, "SELECT id, coalesce(bureau_file_id, 0), state FROM orders WHERE uid = ?"},
		{&b.move, "UPDATE orders SET state = ?, closed_at = ? WHERE id = ?"},
	} {
		var err error
		if *s.stmt, err = conn.Prepare(s.sql); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// add writes one event; order 0 is the file as a whole.
func (b *booking) add(e *ledger.Event, order int64) error {
	v := binder{stmt: b.insert}
	v.key(order)
	v.key(e.FileID)
	v.text(e.Status)
	v.time(e.At)
	v.text(e.Code)
	v.text(e.Description)
	v.text(e.Carrier)
	v.text(e.TrackingNumber)
	v.int(e.Count)
	v.text(e.Source)
	v.key(e.ReturnID)
	v.int(int64(e.Line))
	v.key(b.run)
	v.time(b.at)
	v.text(string(e.State))
	v.int(int64(e.Acked))
	v.int(int64(e.Rejected))
	v.text(e.Dispute)
	_, err := run(b.conn, b.insert)
	return err
}

// event adds an event of an order and moves the order on.
func (b *booking) event(e *ledger.Event, from ledger.OrderState) error {
	order, file, state, err := b.order(e.UID)
	switch {
	case err != nil:
		return err
	case state != from:
		return fmt.Errorf("%w: order %s is %s, expected was %s", ledger.ErrConflict, e.UID, state, from)
	case e.FileID == 0:
		e.FileID = file
	}
	changes := e.State != "" || e.Acked != 0 || e.Rejected != 0
	if changes && state == ledger.Queued && e.Source == ledger.FromPerson {
		if err := b.putBack(e.FileID, order); err != nil {
			return fmt.Errorf("put order %s back into the file that it left: %w", e.UID, err)
		}
		file, state = e.FileID, ledger.SentO
	}
	switch {
	case changes && (file == 0 || e.FileID != file):
		return fmt.Errorf("%w: order %s is in outgoing file %d, the event is of file %d", ledger.ErrConflict, e.UID, file, e.FileID)
	case changes && e.Dispute != "":
		return fmt.Errorf("the disputed event of order %s changes something", e.UID)
	case openState(string(e.State)):
		return fmt.Errorf("no event of order %s alone makes it %s", e.UID, e.State)
	}
	if err := b.add(e, order); err != nil {
		return fmt.Errorf("store an event of order %s: %w", e.UID, err)
	}
	if e.State == "" || e.State == state {
		return nil
	}
	return b.moveOrder(order, state, e)
}

func (b *booking) order(uid string) (id, file int64, state ledger.OrderState, err error) {
	b.find.BindText(1, uid)
	found := false
	err = eachRow(b.find, func(r *row) error {
		id, file, state, found = r.int(), r.int(), ledger.OrderState(r.text()), true
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("order %s: %w", uid, ledger.ErrNotFound)
	}
	return id, file, state, err
}

// moveOrder puts an order into its new state. One that was open (of a file that
// was refused) is so no more.
func (b *booking) moveOrder(order int64, from ledger.OrderState, e *ledger.Event) error {
	if openState(string(from)) {
		if _, err := exec(b.conn, `DELETE FROM open_cards WHERE order_id = ?1 AND card_id IN (
			SELECT card_id FROM orders WHERE id = ?1 UNION ALL SELECT embossed_card_id FROM orders WHERE id = ?1)`, order); err != nil {
			return err
		}
	}
	v := binder{stmt: b.move}
	v.text(string(e.State))
	if closing(e.State) {
		v.time(e.At)
	} else {
		v.time(time.Time{})
	}
	v.int(order)
	_, err := run(b.conn, b.move)
	return err
}

// closing says that a shipment in this state is under way no more.
func closing(state ledger.OrderState) bool {
	return !openState(string(state)) && !underWay(string(state))
}

// answer adds what a bureau says of a file as a whole, and what follows from it.
func (b *booking) answer(a *ledger.FileAnswer) error {
	e := &a.Event
	switch {
	case e.UID != "" || e.Acked != 0 || e.Rejected != 0:
		return errors.New("the answer to a file as a whole names no order and posts nothing")
	case e.Dispute != "" && (a.Delivered || a.Acknowledge || a.Refuse):
		return errors.New("the disputed answer to a file as a whole changes something")
	case a.Acknowledge && a.Refuse:
		return errors.New("a file is acknowledged or refused, not both")
	}
	file, err := outgoing(b.conn, e.FileID)
	if err != nil {
		return fmt.Errorf("outgoing file %d: %w", e.FileID, err)
	}
	if a.Delivered {
		c := ledger.FileChange{FileID: e.FileID, From: []ledger.BureauFileState{ledger.Undecided, ledger.Renaming}, To: ledger.Sent, At: b.at, RunID: b.runID, Evidence: a.Evidence}
		if e.Source == ledger.FromPerson {
			c.From = append(c.From, ledger.Refused, ledger.Written, ledger.Intent, ledger.Uploaded)
		}
		if err := changeFile(b.conn, &c, b.run); err != nil {
			return fmt.Errorf("the answer to outgoing file %d: %w", e.FileID, err)
		}
		file.state, file.wasSent = ledger.Sent, true
	}
	if err := b.add(e, 0); err != nil {
		return fmt.Errorf("store the answer to outgoing file %d: %w", e.FileID, err)
	}
	if err := appendAudit(b.conn, a.Entry); err != nil {
		return err
	}
	switch {
	case a.Acknowledge && file.state == ledger.Void && e.Source == ledger.FromPerson:
		if err := b.putBack(e.FileID, 0); err != nil {
			return fmt.Errorf("put the orders back that left outgoing file %d: %w", e.FileID, err)
		}
		return b.acknowledge(e)
	case a.Acknowledge:
		return b.acknowledge(e)
	case a.Refuse:
		return b.refuse(e, file)
	}
	return nil
}

// outgoingState is what an answer needs to know of a file.
type outgoingState struct {
	state   ledger.BureauFileState
	wasSent bool
}

func outgoing(conn *sqlite.Conn, id int64) (f outgoingState, err error) {
	found, err := one(conn, "SELECT state, sent_at IS NOT NULL FROM bureau_files WHERE id = ?", []any{id}, func(r *row) {
		f = outgoingState{ledger.BureauFileState(r.text()), r.bool()}
	})
	if err == nil && !found {
		err = ledger.ErrNotFound
	}
	return f, err
}

// eventOfEach are the columns of insertEventInto for an event of each of a
// file's orders o, which follows from one of the file as a whole. Its status is
// ?1, the order's new state ?2, the posting an expression.
func eventOfEach(acked string) string {
	return "SELECT o.id, o.bureau_file_id, ?1, ?3, ?4, ?5, '', '', -1, ?6, ?7, ?8, ?9, ?10, ?2, " + acked + ", 0, '', NULL, '' FROM orders o INDEXED BY orders_by_state WHERE o.bureau_file_id = ?11 AND "
}

func (b *booking) eventOfEachArgs(e *ledger.Event, status string, state ledger.OrderState) []any {
	return []any{status, string(state), e.At, e.Code, e.Description, e.Source, key(e.ReturnID), int64(e.Line), key(b.run), b.at, e.FileID}
}

// acknowledge makes the outstanding orders of a file ACKED: one statement for
// their events and one for their states, however many they are. OR ROLLBACK as
// in takeQueued.
func (b *booking) acknowledge(e *ledger.Event) error {
	events, err := exec(b.conn, insertEventInto+eventOfEach("1")+"o.state = 'SENT' ORDER BY o.uid", b.eventOfEachArgs(e, string(ledger.Acked), ledger.Acked)...)
	if err != nil {
		return fmt.Errorf("acknowledge the orders of outgoing file %d: %w", e.FileID, err)
	}
	orders, err := exec(b.conn, "UPDATE OR ROLLBACK orders SET state = 'ACKED' WHERE bureau_file_id = ? AND state = 'SENT'", e.FileID)
	if err == nil && orders != events {
		err = fmt.Errorf("%d orders became ACKED with %d events", orders, events)
	}
	if err != nil {
		return fmt.Errorf("acknowledge the orders of outgoing file %d: %w", e.FileID, err)
	}
	return nil
}

// askedSince says of an order o that its card was asked for again after it, or was replaced: another order makes the card,
// and o must not be made besides. A request that was cancelled never was one.
const askedSince = `(EXISTS (SELECT 1 FROM orders n INDEXED BY orders_of_card WHERE n.embossed_card_id = o.embossed_card_id AND n.id > o.id AND n.state <> 'CANCELLED')
	OR EXISTS (SELECT 1 FROM cards r WHERE r.id = o.embossed_card_id AND r.successor <> 0))`

// AskedSince counts the cards of a bureau's file that were asked for again.
func (l *Ledger) AskedSince(ctx context.Context, fileID int64) (cards, first int64, err error) {
	err = l.read(ctx, fmt.Sprintf("look for newer requests for the cards of outgoing file %d", fileID), func(conn *sqlite.Conn) error {
		_, err := one(conn, "SELECT count(*), coalesce(min(o.embossed_card_id), 0) FROM orders o INDEXED BY orders_by_state WHERE o.bureau_file_id = ? AND "+askedSince, []any{fileID},
			func(r *row) { cards, first = r.int(), r.int() })
		return err
	})
	return cards, first, err
}

// refuse takes a file back: its orders that the bureau had, that stand in
// nobody's way and whose cards nobody asked for again are open again. Of the others only the newer order is made.
func (b *booking) refuse(e *ledger.Event, file outgoingState) error {
	if err := b.refuseFile(e, file); err != nil {
		return fmt.Errorf("refuse outgoing file %d: %w", e.FileID, err)
	}
	const free = `o.state IN ('SENT', 'ACKED') AND NOT EXISTS (SELECT 1 FROM open_cards c WHERE c.card_id IN (o.card_id, o.embossed_card_id)) AND NOT ` + askedSince
	_, err := exec(b.conn, insertEventInto+eventOfEach("-(o.state = 'ACKED')")+free, b.eventOfEachArgs(e, string(ledger.Refused), ledger.PlannedO)...)
	if err != nil {
		return fmt.Errorf("refuse the orders of outgoing file %d: %w", e.FileID, err)
	}
	if _, err := exec(b.conn, `INSERT OR ROLLBACK INTO open_cards (card_id, order_id)
		SELECT o.card_id, o.id FROM orders o WHERE o.bureau_file_id = ?1 AND `+free+` UNION ALL
		SELECT o.embossed_card_id, o.id FROM orders o WHERE o.bureau_file_id = ?1 AND o.embossed_card_id <> o.card_id AND `+free, e.FileID); err != nil {
		return fmt.Errorf("open the orders of outgoing file %d: %w", e.FileID, err)
	}
	if _, err := exec(b.conn, `UPDATE OR ROLLBACK orders SET state = 'PLANNED', closed_at = NULL WHERE bureau_file_id = ? AND state IN ('SENT', 'ACKED')
		AND EXISTS (SELECT 1 FROM open_cards c WHERE c.card_id = embossed_card_id AND c.order_id = orders.id)`, e.FileID); err != nil {
		return fmt.Errorf("take back the orders of outgoing file %d: %w", e.FileID, err)
	}
	return nil
}

func (b *booking) refuseFile(e *ledger.Event, file outgoingState) error {
	switch file.state {
	case ledger.Sent, ledger.Renaming, ledger.Undecided, ledger.Refused:
	case ledger.Written, ledger.Intent, ledger.Uploaded: // on its way once more
		if !file.wasSent {
			return fmt.Errorf("%w: the file is %s, the bureau can not have it", ledger.ErrConflict, file.state)
		}
	default:
		return fmt.Errorf("%w: the file is %s", ledger.ErrConflict, file.state)
	}
	return storeStep(b.conn, &ledger.FileChange{FileID: e.FileID, To: ledger.Refused, At: b.at, Error: refusal(e)}, b.run)
}

// refusal is why a refused file is not sent.
func refusal(e *ledger.Event) string {
	why := "the bureau refused the file as a whole"
	if e.Code != "" {
		why += ", code " + e.Code
	}
	if e.Description != "" {
		why += ": " + e.Description
	}
	return why
}

// SettleEvent closes a dispute, with what follows if the event is taken.
func (l *Ledger) SettleEvent(ctx context.Context, id int64, at time.Time, settlement string, taken *ledger.Event, from ledger.OrderState, answer *ledger.FileAnswer, entry ledger.AuditEntry) error {
	return l.write(ctx, fmt.Sprintf("settle event %d", id), func(conn *sqlite.Conn) error {
		disputed, err := settle(conn, id, at, settlement)
		if err != nil {
			return err
		}
		if taken != nil {
			e := *taken
			if e.UID != disputed.UID {
				return fmt.Errorf("the event is of order %q, not of %q", disputed.UID, e.UID)
			}
			if err := bookAlone(conn, e.RunID, entry.Who, at, func(b *booking) error { return b.event(&e, from) }); err != nil {
				return err
			}
		}
		if answer != nil {
			a := *answer
			if disputed.UID != "" || a.Event.FileID != disputed.FileID {
				return fmt.Errorf("the event is none of outgoing file %d as a whole", a.Event.FileID)
			}
			if err := bookAlone(conn, a.Event.RunID, entry.Who, at, func(b *booking) error { return b.answer(&a) }); err != nil {
				return err
			}
		}
		return appendAudit(conn, &entry)
	})
}

// settle marks a disputed event as settled, once, and gives it.
func settle(conn *sqlite.Conn, id int64, at time.Time, settlement string) (ledger.Event, error) {
	found, err := readEvents(conn, "WHERE e.id = ?", id)
	switch {
	case err != nil:
		return ledger.Event{}, err
	case len(found) == 0:
		return ledger.Event{}, ledger.ErrNotFound
	case found[0].Dispute == "":
		return ledger.Event{}, fmt.Errorf("%w: the event is not disputed", ledger.ErrConflict)
	case !found[0].SettledAt.IsZero():
		return ledger.Event{}, fmt.Errorf("%w: the event was settled before: %s", ledger.ErrConflict, found[0].Settlement)
	}
	_, err = exec(conn, "UPDATE events SET settled_at = ?, settlement = ? WHERE id = ?", at.UnixMilli(), settlement, id)
	return found[0], err
}

func bookAlone(conn *sqlite.Conn, runID, who string, at time.Time, fn func(*booking) error) error {
	run, err := runSeq(conn, runID)
	if err != nil {
		return err
	}
	b, err := newBooking(conn, run, runID, at)
	if err != nil {
		return err
	}
	b.who = who
	return fn(b)
}
