package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
	"reemboss/formats/request"
)

const holdColumns = `h.id, h.name, h.bureau, (SELECT id FROM runs WHERE seq = h.run), h.records, h.digest, h.state, h.held_at, h.decided_at,
	coalesce((SELECT id FROM runs WHERE seq = h.decided_run), ''), h.decided_by, h.how, h.reason, h.bureau_file_id,
	coalesce((SELECT name FROM bureau_files WHERE id = h.bureau_file_id), ''), h.restored,
	h.state = 'HELD' AND EXISTS (SELECT 1 FROM orders o INDEXED BY orders_in_hold WHERE o.hold_id = h.id AND o.state = 'QUEUED' AND ` + noWayBack + `)`

// noWayBack says of an order o that nobody knows what its card was before.
const noWayBack = "o.kind = 'reissue' AND o.id NOT IN (SELECT order_id FROM card_before)"

func scanHold(r *row) ledger.Hold {
	return ledger.Hold{
		ID: r.int(), Name: r.text(), Bureau: r.text(), RunID: r.text(), Records: r.int(), Digest: r.text(), State: ledger.HoldState(r.text()), HeldAt: r.time(),
		DecidedAt: r.time(), DecidedRunID: r.text(), DecidedBy: r.text(), How: r.text(), Reason: r.text(), BureauFileID: r.int(), FileName: r.text(), Restored: r.bool(), NoWayBack: r.bool(),
	}
}

// SetAside takes the first orders of a bureau's queue into a new hold. OR
// ROLLBACK as in takeQueued.
func (l *Ledger) SetAside(ctx context.Context, h ledger.Hold, entry ledger.AuditEntry) (id int64, err error) {
	err = l.write(ctx, "set aside "+h.Name, func(conn *sqlite.Conn) error {
		if h.Records < 1 || h.Name == "" || h.Bureau == "" || h.Digest == "" {
			return fmt.Errorf("a hold has a bureau, a name, a digest and at least one record (%q, %q, %d)", h.Bureau, h.Name, h.Records)
		}
		run, err := runSeq(conn, h.RunID)
		if err != nil {
			return err
		}
		if _, err := exec(conn, "INSERT INTO holds (name, bureau, run, records, digest, state, held_at, restored) VALUES (?, ?, ?, ?, ?, 'HELD', ?, ?)",
			h.Name, h.Bureau, key(run), h.Records, h.Digest, h.HeldAt, h.Restored); err != nil {
			if violated(err) {
				err = fmt.Errorf("%w: the name was used before", ledger.ErrConflict)
			}
			return err
		}
		id = conn.LastInsertRowID()
		chosen := queuedOrders(h.Bureau)
		if h.Restored {
			chosen = waitingOrders
		}
		taken, err := exec(conn, "UPDATE OR ROLLBACK orders SET hold_id = ? WHERE id IN (SELECT o.id"+fmt.Sprintf(chosen, "")+")",
			append([]any{id}, queueArgs(h.Bureau, h.Records)...)...)
		if err == nil && int64(taken) != h.Records {
			err = fmt.Errorf("%w: %d orders are queued for %s, the hold has %d", ledger.ErrConflict, taken, h.Bureau, h.Records)
		}
		if err != nil {
			return err
		}
		return appendAudit(conn, &entry)
	})
	return id, err
}

// Holds gives holds in the order in which they were made.
func (l *Ledger) Holds(ctx context.Context, q ledger.HoldQuery) (holds []ledger.Hold, err error) {
	conditions, args := []string{"true"}, []any{}
	for _, c := range []struct{ condition, value string }{
		{"h.name = ?", q.Name}, {"h.bureau = ?", q.Bureau}, {"h.run = (SELECT seq FROM runs WHERE id = ?)", q.RunID},
	} {
		if c.value != "" {
			conditions, args = append(conditions, c.condition), append(args, c.value)
		}
	}
	if q.Open {
		conditions = append(conditions, "h.state <> 'CANCELLED' AND h.bureau_file_id IS NULL")
	}
	err = l.read(ctx, "read the holds", func(conn *sqlite.Conn) error {
		return each(conn, "SELECT "+holdColumns+" FROM holds h WHERE "+strings.Join(conditions, " AND ")+" ORDER BY h.id", args, func(r *row) error {
			holds = append(holds, scanHold(r))
			return nil
		})
	})
	return holds, err
}

// orderStateIn is the state of the orders that are in a hold.
func orderStateIn(conn *sqlite.Conn, hold int64) (ledger.OrderState, error) {
	state := ledger.Queued
	found, err := one(conn, "SELECT state FROM holds WHERE id = ?", []any{hold}, func(r *row) {
		if ledger.HoldState(r.text()) == ledger.HoldCancelled {
			state = ledger.Cancelled
		}
	})
	if err == nil && !found {
		err = ledger.ErrNotFound
	}
	return state, err
}

// EachHoldOrder gives the orders of a hold.
func (l *Ledger) EachHoldOrder(ctx context.Context, holdID int64, fn func(*ledger.Order) error) error {
	return l.stream(ctx, fmt.Sprintf("read the orders of hold %d", holdID), func(conn *sqlite.Conn) error {
		state, err := orderStateIn(conn, holdID)
		if err != nil {
			return err
		}
		return l.eachOrder(conn, " FROM orders o INDEXED BY orders_in_hold%s WHERE o.hold_id = ? AND o.state = ? ORDER BY o.sort_key, o.uid",
			[]any{holdID, string(state)}, fn)
	})
}

// HoldTallies counts in one pass over the rows, as tallies does.
func (l *Ledger) HoldTallies(ctx context.Context, holdID int64) (list []ledger.HoldTally, err error) {
	at := map[ledger.HoldTally]int{}
	err = l.read(ctx, fmt.Sprintf("count the orders of hold %d", holdID), func(conn *sqlite.Conn) error {
		if _, err := orderStateIn(conn, holdID); err != nil {
			return err
		}
		return each(conn, `SELECT o.kind, ob.reason, coalesce(f.submitter, ''), coalesce(f.signer, ''), coalesce(f.owner, ''), coalesce(a.submitter, '')
			FROM orders o INDEXED BY orders_in_hold JOIN order_bodies ob ON ob.id = o.id
			LEFT JOIN answers a ON a.id = o.answer LEFT JOIN request_files f ON f.id = o.answer >> 32 WHERE o.hold_id = ?`, []any{holdID}, func(r *row) error {
			t := ledger.HoldTally{Kind: request.Kind(r.text()), Reason: int(r.int()), Submitter: r.text(), Signer: r.text(), Owner: r.text(), RowSubmitter: r.text()}
			i, ok := at[t]
			if !ok {
				i = len(list)
				at[t] = i
				list = append(list, t)
			}
			list[i].N++
			return nil
		})
	})
	return list, err
}

// DecideHold approves or cancels a hold that is HELD.
func (l *Ledger) DecideHold(ctx context.Context, d ledger.HoldDecision) error {
	return l.write(ctx, fmt.Sprintf("decide hold %d", d.HoldID), func(conn *sqlite.Conn) error {
		run, err := runSeq(conn, d.RunID)
		if err != nil {
			return err
		}
		if err := isHeld(conn, d.HoldID); err != nil {
			return err
		}
		switch d.To {
		case ledger.Approved:
		case ledger.HoldCancelled:
			err = cancelHold(conn, &d, run)
		default:
			err = fmt.Errorf("a hold is approved or cancelled, not made %s", d.To)
		}
		if err != nil {
			return err
		}
		if _, err := exec(conn, "UPDATE holds SET state = ?, decided_at = ?, decided_run = ?, decided_by = ?, how = ?, reason = ? WHERE id = ?",
			string(d.To), d.At, key(run), d.By, d.How, d.Reason, d.HoldID); err != nil {
			return err
		}
		if d.File != nil {
			if _, err := updateFile(conn, *d.File); err != nil {
				return err
			}
		}
		return appendAudit(conn, &d.Entry)
	})
}

func isHeld(conn *sqlite.Conn, hold int64) error {
	var state ledger.HoldState
	found, err := one(conn, "SELECT state FROM holds WHERE id = ?", []any{hold}, func(r *row) { state = ledger.HoldState(r.text()) })
	switch {
	case err != nil:
		return err
	case !found:
		return ledger.ErrNotFound
	case state != ledger.Held:
		return fmt.Errorf("%w: the hold is %s", ledger.ErrConflict, state)
	}
	return nil
}

// ordersOf are the ids of the orders that wait in a hold.
const ordersOf = "SELECT id FROM orders INDEXED BY orders_in_hold WHERE hold_id = ?1 AND state = 'QUEUED'"

// cancelHold takes the orders of a hold back, with all that they did to cards.
func cancelHold(conn *sqlite.Conn, d *ledger.HoldDecision, run int64) error {
	undo, code := takeBack, "cancelled"
	if d.Made {
		undo, code = keepMade, "made"
	}
	if err := undo(conn, d); err != nil {
		return err
	}
	for _, step := range []struct {
		sql  string
		args []any
	}{
		{insertEventInto + "SELECT id, NULL, 'CANCELLED', ?2, ?6, ?3, '', '', -1, ?4, NULL, 0, ?5, ?2, 'CANCELLED', 0, 0, '', NULL, '' FROM orders WHERE id IN (" + ordersOf + ") ORDER BY uid",
			[]any{d.HoldID, d.At, d.Reason, ledger.FromPerson, key(run), code}},
		{"DELETE FROM open_cards WHERE card_id IN (SELECT card_id FROM orders WHERE id IN (" + ordersOf + ") UNION ALL SELECT embossed_card_id FROM orders WHERE id IN (" + ordersOf + "))",
			[]any{d.HoldID}},
	} {
		if _, err := exec(conn, step.sql, step.args...); err != nil {
			return err
		}
	}
	cancelled, err := exec(conn, "UPDATE OR ROLLBACK orders SET state = 'CANCELLED', closed_at = ?2 WHERE id IN ("+ordersOf+")", d.HoldID, d.At)
	if err != nil {
		return err
	}
	var records int64
	_, err = one(conn, "SELECT records FROM holds WHERE id = ?", []any{d.HoldID}, func(r *row) { records = r.int() })
	if err == nil && int64(cancelled) != records {
		err = fmt.Errorf("the hold was made of %d orders and has %d", records, cancelled)
	}
	return err
}

// takeBack makes the cards of a hold what they were before its orders.
func takeBack(conn *sqlite.Conn, d *ledger.HoldDecision) error {
	var lacking int64
	if _, err := one(conn, "SELECT count(*) FROM orders o WHERE o.id IN ("+ordersOf+") AND "+noWayBack,
		[]any{d.HoldID}, func(r *row) { lacking = r.int() }); err != nil {
		return err
	}
	if lacking > 0 {
		return fmt.Errorf("%d reissues: %w", lacking, ledger.ErrNoWayBack)
	}
	if err := putBack(conn, d); err != nil {
		return err
	}
	_, err := exec(conn, "UPDATE cards SET status = ?2, decided = decided | ?3, updated_at = ?4 WHERE id IN (SELECT embossed_card_id FROM orders WHERE id IN ("+ordersOf+") AND embossed_card_id <> card_id)",
		d.HoldID, ledger.Deleted, int64(ledger.DecidedStatus), d.At)
	return err
}

// CancelledOf counts cancelled orders by bureau.
func (l *Ledger) CancelledOf(ctx context.Context, acceptedIn string) (map[string]int64, error) {
	cancelled := map[string]int64{}
	err := l.read(ctx, "count the cancelled orders", func(conn *sqlite.Conn) error {
		run, err := runSeq(conn, acceptedIn)
		if err != nil {
			return err
		}
		return each(conn, "SELECT bureau FROM orders INDEXED BY orders_in_hold WHERE hold_id IS NOT NULL AND state = 'CANCELLED' AND (?1 = 0 OR run = ?1)", []any{run}, func(r *row) error {
			cancelled[r.text()]++
			return nil
		})
	})
	return cancelled, err
}

// before is a card as it was, and what an order set.
type before struct {
	at                             int // index of the order in its chunk
	change                         *ledger.CardChange
	status, start, cvk, name       string
	psn, expiry, validity, decided int64
}

// readBefore reads the cards that the chunk's orders are about to change, where
// those may be cancelled.
func readBefore(conn *sqlite.Conn, c *ledger.Chunk) ([]before, error) {
	orders := map[int64]int{}
	for i := range c.Orders {
		if c.Orders[i].MayBeHeld {
			orders[c.Orders[i].CardID] = i
		}
	}
	var list []before
	for i := range c.Changes {
		order, ok := orders[c.Changes[i].ID]
		if !ok {
			continue
		}
		b := before{at: order, change: &c.Changes[i]}
		found, err := one(conn, "SELECT status, psn, expiry, start_date, validity_months, cvk_ref, printed_name, decided FROM cards WHERE id = ?", []any{b.change.ID}, func(r *row) {
			b.status, b.psn, b.expiry, b.start, b.validity, b.cvk, b.name, b.decided = r.text(), r.int(), r.int(), r.text(), r.int(), r.text(), r.text(), r.int()
		})
		if err != nil {
			return nil, err
		}
		if found { // what the chunk changes of a card that does not exist is refused below
			list = append(list, b)
		}
	}
	return list, nil
}

// keepBefore stores what readBefore read, with the ids of the chunk's orders.
func keepBefore(conn *sqlite.Conn, list []before, ids []int64) error {
	if len(list) == 0 {
		return nil
	}
	stmt, err := conn.Prepare(`INSERT INTO card_before (order_id, card_id, status, status_set, psn, psn_set, expiry, expiry_set, start_date, start_date_set,
		validity_months, validity_months_set, cvk_ref, cvk_ref_set, printed_name, printed_name_set, successor_set, decided)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	for i := range list {
		list[i].bind(&binder{stmt: stmt}, ids[list[i].at])
		if _, err := run(conn, stmt); err != nil {
			return fmt.Errorf("keep card %d as it was: %w", list[i].change.ID, err)
		}
	}
	return nil
}

func (b *before) bind(v *binder, order int64) {
	c := b.change
	v.int(order)
	v.int(c.ID)
	v.text(b.status)
	v.maybeText(c.Status)
	v.int(b.psn)
	v.maybeInt(c.PSN)
	v.int(b.expiry)
	if c.Expiry != nil {
		v.int(int64(*c.Expiry))
	} else {
		v.maybeInt(nil)
	}
	v.text(b.start)
	if c.StartDate != nil {
		v.text(dateText(*c.StartDate))
	} else {
		v.maybeText(nil)
	}
	v.int(b.validity)
	v.maybeInt(c.ValidityMonths)
	v.text(b.cvk)
	v.maybeText(c.CVKRef)
	v.text(b.name)
	v.maybeText(c.PrintedName)
	v.key(c.Successor)
	v.int(b.decided)
}

// putBack makes each requested card of a hold what it was before its order. A
// field has its old value again where it still has the one that the order gave
// it, and is then marked as decided only where it was so before.
func putBack(conn *sqlite.Conn, d *ledger.HoldDecision) error {
	sets := []string{"successor = iif(cards.successor = b.successor_set, 0, cards.successor)", "updated_at = ?2"}
	marks := []string{"0"}
	for _, f := range []struct {
		column string
		mark   ledger.Decided
	}{
		{"status", ledger.DecidedStatus}, {"psn", ledger.DecidedPSN}, {"expiry", ledger.DecidedExpiry},
		{"start_date", 0}, {"validity_months", 0}, {"cvk_ref", 0}, {"printed_name", 0},
	} {
		same := fmt.Sprintf("cards.%[1]s = b.%[1]s_set", f.column)
		sets = append(sets, fmt.Sprintf("%[1]s = iif(%[2]s, b.%[1]s, cards.%[1]s)", f.column, same))
		if f.mark != 0 {
			marks = append(marks, fmt.Sprintf("iif(%s, %d, 0)", same, f.mark))
		}
	}
	mask := "(" + strings.Join(marks, " | ") + ")"
	sets = append(sets, "decided = (cards.decided & ~"+mask+") | (b.decided & "+mask+")")
	_, err := exec(conn, "UPDATE cards SET "+strings.Join(sets, ", ")+" FROM card_before b WHERE cards.id = b.card_id AND b.order_id IN ("+ordersOf+")", d.HoldID, d.At)
	if violated(err) {
		err = fmt.Errorf("another card has the number and sequence number of one of them by now: %w", errors.Join(ledger.ErrNoWayBack, ledger.ErrPANTaken))
	}
	return err
}

// forgetBefore drops the cards as they were before the orders of a file: what
// may be made is not taken back any more.
func forgetBefore(conn *sqlite.Conn, file int64) error {
	_, err := exec(conn, "DELETE FROM card_before WHERE (SELECT bureau_file_id FROM orders WHERE id = order_id) = ?", file)
	return err
}
