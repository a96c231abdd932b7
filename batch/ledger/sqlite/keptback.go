package sqlite

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
)

// This file is about orders that a disputed event keeps back: what a bureau tells
// contradicts that it has made nothing of them. Until a person settled it they go
// into no file, and where they were made after all they are put back into the VOID
// file that they left.

// openDisputes are the events e that wait for a person: few, by an index of their own.
const openDisputes = "FROM events e INDEXED BY events_disputed WHERE e.dispute <> '' AND e.settled_at IS NULL"

// ofDisputed are the ids of the orders of which a disputed event tells, or that left a file of which one tells.
const ofDisputed = "SELECT e.order_id " + openDisputes + " AND e.order_id IS NOT NULL UNION ALL SELECT m.order_id FROM order_moves m INDEXED BY order_moves_from WHERE m.from_file IN (SELECT e.bureau_file_id " + openDisputes + ")"

// Orders o that may be put back into the file ?1: they left it, and wait in no hold of a restoration, of which only a
// person knows what a lost night made. All of them, and the one ?2.
const (
	waitsAgain  = "o.state = 'QUEUED' AND o.bureau_file_id IS NULL AND (o.hold_id IS NULL OR o.hold_id IN (SELECT id FROM holds WHERE restored = 0))"
	allThatLeft = waitsAgain + " AND o.id IN (SELECT m.order_id FROM order_moves m INDEXED BY order_moves_from WHERE m.from_file = ?1)"
	oneThatLeft = waitsAgain + " AND o.id = ?2 AND EXISTS (SELECT 1 FROM order_moves m INDEXED BY order_moves_of WHERE m.order_id = o.id AND m.from_file = ?1)"
)

// KeptBack looks up the order of each disputed event, and goes once through those that left a file of which one tells.
func (l *Ledger) KeptBack(ctx context.Context, bureau string, holdID int64) (events []int64, err error) {
	err = l.read(ctx, "look for disputes about the orders that wait for "+bureau, func(conn *sqlite.Conn) error {
		const waits = "o.state = 'QUEUED' AND o.bureau = ?1 AND o.hold_id IS ?2"
		return each(conn, "SELECT e.id "+openDisputes+` AND (EXISTS (SELECT 1 FROM orders o WHERE o.id = e.order_id AND `+waits+`)
			OR e.bureau_file_id IN (SELECT m.from_file FROM order_moves m INDEXED BY order_moves_from CROSS JOIN orders o ON o.id = m.order_id
				WHERE m.from_file IN (SELECT e.bureau_file_id `+openDisputes+`) AND `+waits+`)) ORDER BY e.id`,
			[]any{bureau, key(holdID)}, func(r *row) error {
				events = append(events, r.int())
				return nil
			})
	})
	return events, err
}

// LeftWaiting counts the orders that an answer can put back.
func (l *Ledger) LeftWaiting(ctx context.Context, fileID int64) (waiting int64, err error) {
	err = l.read(ctx, fmt.Sprintf("count the orders that left outgoing file %d and wait", fileID), func(conn *sqlite.Conn) error {
		_, err := one(conn, "SELECT count(*) FROM orders o WHERE "+allThatLeft, []any{fileID}, func(r *row) { waiting = r.int() })
		return err
	})
	return waiting, err
}

// putBack puts the queued orders that left a VOID file, or one of them, back into it: their cards were made from it. A
// hold in which one of them waited is dissolved, for nobody approved the others alone.
func (b *booking) putBack(file, order int64) error {
	which, args := allThatLeft, []any{file}
	if order != 0 {
		which, args = oneThatLeft, append(args, order)
	}
	var void bool
	if _, err := one(b.conn, "SELECT state = 'VOID' FROM bureau_files WHERE id = ?", []any{file}, func(r *row) { void = r.bool() }); err != nil {
		return err
	}
	if !void {
		return fmt.Errorf("%w: only a VOID file gets orders back, and outgoing file %d is none", ledger.ErrConflict, file)
	}
	if err := b.dissolve("SELECT o.hold_id FROM orders o WHERE o.hold_id IS NOT NULL AND "+which, args); err != nil {
		return err
	}
	if _, err := exec(b.conn, "DELETE FROM open_cards WHERE card_id IN (SELECT o.card_id FROM orders o WHERE "+which+" UNION ALL SELECT o.embossed_card_id FROM orders o WHERE "+which+")", args...); err != nil {
		return err
	}
	back, err := exec(b.conn, "UPDATE OR ROLLBACK orders AS o SET state = 'SENT', bureau_file_id = ?1 WHERE "+which, args...)
	if err == nil && back == 0 {
		err = fmt.Errorf("%w: no order that left outgoing file %d waits for another one", ledger.ErrConflict, file)
	}
	return err
}

// dissolve cancels holds without their orders, which stand in their bureau's queue again.
func (b *booking) dissolve(holds string, args []any) error {
	var ids []int64
	if err := each(b.conn, "SELECT DISTINCT * FROM ("+holds+")", args, func(r *row) error {
		ids = append(ids, r.int())
		return nil
	}); err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := exec(b.conn, "UPDATE holds SET state = 'CANCELLED', decided_at = ?, decided_run = ?, decided_by = ?, how = 'reemboss settle', reason = ? WHERE id = ?",
			b.at, key(b.run), b.who, "a card of it was made from an earlier file; the others wait for another one", id); err != nil {
			return err
		}
		if _, err := exec(b.conn, "UPDATE OR ROLLBACK orders SET hold_id = NULL WHERE hold_id = ? AND state = 'QUEUED'", id); err != nil {
			return err
		}
	}
	return nil
}
