package sqlite

import (
	"context"
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/formats/iso"
	"reemboss/formats/request"
)

// insertOrders writes the chunk's orders and gives their ids, in their order.
func (l *Ledger) insertOrders(conn *sqlite.Conn, c *ledger.Chunk, run int64) ([]int64, error) {
	if err := l.noteKeys(conn); err != nil {
		return nil, err
	}
	head, err := conn.Prepare(`INSERT INTO orders (uid, run, answer, kind, card_id, embossed_card_id, bureau, product, sort_key, state, created_at, new_pin)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return nil, err
	}
	body, err := conn.Prepare(`INSERT INTO order_bodies (id, pan_sealed, psn, expiry, reason, type, type_derived, shipping_method,
		expected_delivery, fee, status, old_status, record, decision, reembossing) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
		iif(?, (SELECT count(*) FROM orders INDEXED BY orders_of_card WHERE embossed_card_id = ? AND kind = 'reemboss' AND state <> 'CANCELLED'), 0))`)
	if err != nil {
		return nil, err
	}
	open, err := conn.Prepare("INSERT INTO open_cards (card_id, order_id) VALUES (?, ?)")
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(c.Orders))
	for i := range c.Orders {
		o := &c.Orders[i]
		if err := insertOrderHead(conn, head, o, run); err != nil {
			return nil, err
		}
		ids[i] = conn.LastInsertRowID()
		if err := openCards(conn, open, o, ids[i]); err != nil {
			return nil, err
		}
		if err := l.insertOrderBody(conn, body, o, ids[i]); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func insertOrderHead(conn *sqlite.Conn, stmt *sqlite.Stmt, o *ledger.Order, runSeq int64) error {
	b := binder{stmt: stmt}
	b.text(o.UID)
	b.int(runSeq)
	b.int(answerID(o.FileID, o.Pos))
	b.text(string(o.Kind))
	b.int(o.CardID)
	b.int(o.EmbossedCardID)
	b.text(o.Bureau)
	b.text(o.Product)
	b.text(o.SortKey)
	b.text(string(o.State))
	b.int(o.CreatedAt.UnixMilli())
	b.text(string(o.NewPIN))
	_, err := run(conn, stmt)
	if violated(err) {
		return fmt.Errorf("%w: the order number %s was used before", ledger.ErrConflict, o.UID)
	}
	if err != nil {
		return fmt.Errorf("store order %s: %w", o.UID, err)
	}
	return nil
}

// openCards takes the cards of a new order: the requested one and, where it is
// another, the embossed one. A card that an open order has already, in either
// role, can not be taken.
func openCards(conn *sqlite.Conn, stmt *sqlite.Stmt, o *ledger.Order, order int64) error {
	cards := []int64{o.CardID, o.EmbossedCardID}
	if o.CardID == o.EmbossedCardID {
		cards = cards[:1]
	}
	for _, card := range cards {
		b := binder{stmt: stmt}
		b.int(card)
		b.int(order)
		_, err := run(conn, stmt)
		if violated(err) {
			return fmt.Errorf("%w: card %d (row %d of file %d) has an open order already", ledger.ErrConflict, card, o.Pos, o.FileID)
		}
		if err != nil {
			return fmt.Errorf("store order %s: %w", o.UID, err)
		}
	}
	return nil
}

func (l *Ledger) insertOrderBody(conn *sqlite.Conn, stmt *sqlite.Stmt, o *ledger.Order, id int64) error {
	sealed, err := l.sealPAN(o.EmbossedCardID, o.PAN)
	if err != nil {
		return err
	}
	b := binder{stmt: stmt}
	b.int(id)
	b.blob(sealed)
	b.int(int64(o.PSN))
	b.int(int64(o.Expiry))
	b.int(int64(o.Reason))
	b.int(int64(o.Type))
	b.bool(o.TypeDerived)
	b.int(int64(o.ShippingMethod))
	b.text(o.ExpectedDelivery)
	b.text(o.Fee)
	b.text(o.Status)
	b.text(o.OldStatus)
	b.blob(o.Record)
	b.blob(o.Decision)
	b.bool(o.Kind == request.Reemboss)
	b.int(o.EmbossedCardID)
	if _, err := run(conn, stmt); err != nil {
		return fmt.Errorf("store order %s: %w", o.UID, err)
	}
	return nil
}

// orderColumns are those of orders o joined with order_bodies ob and left
// joined with bureau_files bf.
const orderColumns = `o.uid, o.run, o.answer, o.kind, o.card_id, o.embossed_card_id, o.bureau, o.product, o.sort_key, o.state, o.created_at, o.hold_id, o.new_pin,
	ob.pan_sealed, ob.psn, ob.expiry, ob.reason, ob.type, ob.type_derived, ob.shipping_method, ob.expected_delivery, ob.fee, ob.status, ob.old_status,
	ob.reembossing, ob.record, ob.decision, bf.id, bf.name, bf.sequence, bf.sent_at`

// shortOrderColumns leave out what only the writing of a file needs.
var shortOrderColumns = strings.Replace(orderColumns, "ob.record, ob.decision", "NULL, NULL", 1)

const orderTables = ` JOIN order_bodies ob ON ob.id = o.id LEFT JOIN bureau_files bf ON bf.id = o.bureau_file_id`

func (l *Ledger) scanOrder(r *row, runs runNames) (*ledger.Order, error) {
	o := &ledger.Order{UID: r.text()}
	run, err := runs.id(r.int())
	if err != nil {
		return nil, err
	}
	answer := r.int()
	o.RunID, o.FileID, o.Pos = run, answer>>32, int(answer&maxPos)
	o.Kind, o.CardID, o.EmbossedCardID = request.Kind(r.text()), r.int(), r.int()
	o.Bureau, o.Product, o.SortKey, o.State, o.CreatedAt = r.text(), r.text(), r.text(), ledger.OrderState(r.text()), r.time()
	o.HoldID, o.NewPIN = r.int(), ledger.NewPIN(r.text())
	sealed := r.blob()
	o.PSN, o.Expiry, o.Reason, o.Type, o.TypeDerived = int(r.int()), iso.Expiry(r.int()), int(r.int()), int(r.int()), r.bool()
	o.ShippingMethod, o.ExpectedDelivery, o.Fee, o.Status, o.OldStatus = int(r.int()), r.text(), r.text(), r.text(), r.text()
	o.Reembossing, o.Record, o.Decision = int(r.int()), r.blob(), r.blob()
	o.BureauFileID, o.FileName, o.Sequence, o.SentAt = r.int(), r.text(), r.int(), r.time()
	o.PAN, err = l.openPAN(o.EmbossedCardID, sealed)
	return o, err
}

// queuedOrders chooses the orders that wait for a recipient and that no dispute keeps back, in file order.
// Its arguments are queueArgs of the recipient.
func queuedOrders(recipient string) string {
	switch recipient {
	case config.CardSystem:
		return " FROM orders o INDEXED BY orders_for_card_system%s WHERE o.kind = 'reissue' AND o.bureau_file_id IS NOT NULL AND o.card_system_file_id IS NULL ORDER BY o.uid LIMIT ?"
	case config.PINRecipient:
		return " FROM orders o INDEXED BY orders_for_pins%s WHERE o.new_pin = 'file' AND o.bureau_file_id IS NOT NULL AND o.pin_file_id IS NULL ORDER BY o.uid LIMIT ?"
	}
	return strings.Replace(waitingOrders, "ORDER BY", "AND o.id NOT IN ("+ofDisputed+") ORDER BY", 1)
}

// waitingOrders chooses the orders in a bureau's queue, those too that a dispute keeps back, in file order. Its arguments are those of queuedOrders.
const waitingOrders = " FROM orders o INDEXED BY orders_queued%s WHERE o.state = 'QUEUED' AND o.hold_id IS NULL AND o.bureau = ? ORDER BY o.sort_key, o.uid LIMIT ?"

func queueArgs(recipient string, limit int64) []any {
	if limit <= 0 {
		limit = -1 // all
	}
	if config.Reserved(recipient) {
		return []any{limit}
	}
	return []any{recipient, limit}
}

// fileOrders chooses the orders of a file, in file order.
func fileOrders(recipient string) string {
	switch recipient {
	case config.CardSystem:
		return " FROM orders o INDEXED BY orders_in_card_system_file%s WHERE o.card_system_file_id = ? ORDER BY o.uid"
	case config.PINRecipient:
		return " FROM orders o INDEXED BY orders_in_pin_file%s WHERE o.pin_file_id = ? ORDER BY o.uid"
	}
	return " FROM orders o INDEXED BY orders_in_file%s WHERE o.bureau_file_id = ? ORDER BY o.sort_key, o.uid"
}

func (l *Ledger) eachOrder(conn *sqlite.Conn, from string, args []any, fn func(*ledger.Order) error) error {
	runs := newRunNames(conn)
	return each(conn, "SELECT "+orderColumns+fmt.Sprintf(from, orderTables), args, func(r *row) error {
		o, err := l.scanOrder(r, runs)
		if err != nil {
			return err
		}
		return callback(fn(o))
	})
}

// Queues counts the orders that are in no file of their recipient yet.
func (l *Ledger) Queues(ctx context.Context) (queues []ledger.Queue, err error) {
	err = l.read(ctx, "count the queues", func(conn *sqlite.Conn) error {
		if err := each(conn, "SELECT bureau, count(*) FROM orders INDEXED BY orders_queued WHERE state = 'QUEUED' AND hold_id IS NULL GROUP BY bureau", nil, func(r *row) error {
			queues = append(queues, ledger.Queue{Recipient: r.text(), Orders: r.int()})
			return nil
		}); err != nil {
			return err
		}
		if err := countDisputed(conn, queues); err != nil {
			return err
		}
		for _, own := range []struct{ recipient, count string }{
			{config.CardSystem, "SELECT count(*) FROM orders INDEXED BY orders_for_card_system WHERE kind = 'reissue' AND bureau_file_id IS NOT NULL AND card_system_file_id IS NULL"},
			{config.PINRecipient, "SELECT count(*) FROM orders INDEXED BY orders_for_pins WHERE new_pin = 'file' AND bureau_file_id IS NOT NULL AND pin_file_id IS NULL"},
		} {
			if _, err := one(conn, own.count, nil, func(r *row) {
				if n := r.int(); n > 0 {
					queues = append(queues, ledger.Queue{Recipient: own.recipient, Orders: n})
				}
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return queues, err
}

// EachQueued gives the first orders of a queue.
func (l *Ledger) EachQueued(ctx context.Context, recipient string, limit int64, fn func(*ledger.Order) error) error {
	return l.stream(ctx, "read the orders queued for "+recipient, func(conn *sqlite.Conn) error {
		return l.eachOrder(conn, queuedOrders(recipient), queueArgs(recipient, limit), fn)
	})
}

// countDisputed counts the orders of each queue that a dispute keeps back.
func countDisputed(conn *sqlite.Conn, queues []ledger.Queue) error {
	return each(conn, "SELECT bureau, count(*) FROM orders WHERE id IN ("+ofDisputed+") AND state = 'QUEUED' AND hold_id IS NULL GROUP BY bureau", nil, func(r *row) error {
		bureau, n := r.text(), r.int()
		for i := range queues {
			if queues[i].Recipient == bureau {
				queues[i].Disputed = n
			}
		}
		return nil
	})
}

// EachWaiting gives the first orders of a bureau's queue, those too that a dispute keeps back.
func (l *Ledger) EachWaiting(ctx context.Context, bureau string, limit int64, fn func(*ledger.Order) error) error {
	return l.stream(ctx, "read the orders that wait for "+bureau, func(conn *sqlite.Conn) error {
		return l.eachOrder(conn, waitingOrders, queueArgs(bureau, limit), fn)
	})
}

// EachFileOrder gives the orders of a file.
func (l *Ledger) EachFileOrder(ctx context.Context, fileID int64, fn func(*ledger.Order) error) error {
	return l.stream(ctx, fmt.Sprintf("read the orders of outgoing file %d", fileID), func(conn *sqlite.Conn) error {
		recipient, err := recipientOf(conn, fileID)
		if err != nil {
			return err
		}
		return l.eachOrder(conn, fileOrders(recipient), []any{fileID}, fn)
	})
}

// OrderStates counts the orders of a file by state.
func (l *Ledger) OrderStates(ctx context.Context, fileID int64) (map[ledger.OrderState]int64, error) {
	states := map[ledger.OrderState]int64{}
	err := l.read(ctx, fmt.Sprintf("count the orders of outgoing file %d", fileID), func(conn *sqlite.Conn) error {
		recipient, err := recipientOf(conn, fileID)
		if err != nil {
			return err
		}
		from := "orders INDEXED BY orders_by_state WHERE bureau_file_id = ?"
		switch recipient {
		case config.CardSystem:
			from = "orders INDEXED BY orders_in_card_system_file WHERE card_system_file_id = ?"
		case config.PINRecipient:
			from = "orders INDEXED BY orders_in_pin_file WHERE pin_file_id = ?"
		}
		return each(conn, "SELECT state, count(*) FROM "+from+" GROUP BY state", []any{fileID}, func(r *row) error {
			state := ledger.OrderState(r.text())
			states[state] = r.int()
			return nil
		})
	})
	return states, err
}

func recipientOf(conn *sqlite.Conn, fileID int64) (recipient string, err error) {
	found, err := one(conn, "SELECT recipient FROM bureau_files WHERE id = ?", []any{fileID}, func(r *row) { recipient = r.text() })
	if err == nil && !found {
		err = ledger.ErrNotFound
	}
	return recipient, err
}
