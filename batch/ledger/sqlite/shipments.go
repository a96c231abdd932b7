package sqlite

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
)

// eventColumns are those of events e after its order's uid.
const eventColumns = `e.id, e.bureau_file_id, e.status, e.at, e.code, e.description, e.carrier, e.tracking, e.count, e.source, e.return_file, e.line,
	e.run, e.recorded_at, e.state, e.acked, e.rejected, e.dispute, e.settled_at, e.settlement`

func scanEvent(r *row, uid string, runs runNames) (ledger.Event, error) {
	e := ledger.Event{
		UID: uid, ID: r.int(), FileID: r.int(), Status: r.text(), At: r.time(), Code: r.text(), Description: r.text(), Carrier: r.text(), TrackingNumber: r.text(),
		Count: r.int(), Source: r.text(), ReturnID: r.int(), Line: int(r.int()),
	}
	run, err := runs.id(r.int())
	e.RunID, e.RecordedAt, e.State, e.Acked, e.Rejected = run, r.time(), ledger.OrderState(r.text()), int(r.int()), int(r.int())
	e.Dispute, e.SettledAt, e.Settlement = r.text(), r.time(), r.text()
	return e, err
}

// byOwnTime sorts events that are in the order of their ids.
func byOwnTime(events []ledger.Event) []ledger.Event {
	slices.SortStableFunc(events, func(a, b ledger.Event) int { return a.At.Compare(b.At) })
	return events
}

// shipmentReader reads orders with their events.
type shipmentReader struct {
	ledger *Ledger
	runs   runNames
	orders *sqlite.Stmt
	events *sqlite.Stmt
	left   *sqlite.Stmt
}

// newShipmentReader chooses orders o by where.
func (l *Ledger) newShipmentReader(conn *sqlite.Conn, where string) (s shipmentReader, err error) {
	s = shipmentReader{ledger: l, runs: newRunNames(conn)}
	if s.orders, err = conn.Prepare("SELECT o.id, " + shortOrderColumns + " FROM orders o" + orderTables + " WHERE " + where); err != nil {
		return s, err
	}
	if s.events, err = conn.Prepare("SELECT " + eventColumns + " FROM events e WHERE e.order_id = ? ORDER BY e.id"); err != nil {
		return s, err
	}
	s.left, err = conn.Prepare("SELECT m.from_file FROM order_moves m INDEXED BY order_moves_of JOIN bureau_files f ON f.id = m.from_file WHERE m.order_id = ? AND f." + ofBureaus + " ORDER BY m.id")
	return s, err
}

// each gives the orders that the bound statement chooses.
func (s shipmentReader) each(fn func(*ledger.Shipment)) error {
	return eachRow(s.orders, func(r *row) error {
		id := r.int()
		order, err := s.ledger.scanOrder(r, s.runs)
		if err != nil {
			return err
		}
		shipment := &ledger.Shipment{Order: *order}
		s.events.BindInt64(1, id)
		if err := eachRow(s.events, func(r *row) error {
			e, err := scanEvent(r, order.UID, s.runs)
			shipment.Events = append(shipment.Events, e)
			return err
		}); err != nil {
			return err
		}
		byOwnTime(shipment.Events)
		s.left.BindInt64(1, id)
		if err := eachRow(s.left, func(r *row) error {
			shipment.Left = append(shipment.Left, r.int())
			return nil
		}); err != nil {
			return err
		}
		fn(shipment)
		return nil
	})
}

// Shipments looks orders up by their uids.
func (l *Ledger) Shipments(ctx context.Context, uids []string) (map[string]*ledger.Shipment, error) {
	shipments := make(map[string]*ledger.Shipment, len(uids))
	err := l.read(ctx, "look up shipments", func(conn *sqlite.Conn) error {
		reader, err := l.newShipmentReader(conn, "o.uid = ?")
		if err != nil {
			return err
		}
		for _, uid := range uids {
			reader.orders.BindText(1, uid)
			if err := reader.each(func(s *ledger.Shipment) { shipments[uid] = s }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return shipments, nil
}

// CardShipments gives the orders along the chain of replacements of a card. An
// order that asked for one card of a chain embossed one of it.
func (l *Ledger) CardShipments(ctx context.Context, cardID int64) (shipments []ledger.Shipment, err error) {
	err = l.read(ctx, fmt.Sprintf("read the shipments of card %d", cardID), func(conn *sqlite.Conn) error {
		histories := map[int64]*history{cardID: {}}
		if _, err := one(conn, "SELECT "+linkColumns+" FROM cards WHERE id = ?", []any{cardID}, func(r *row) { histories[cardID] = scanHistory(r, "", time.Time{}) }); err != nil {
			return err
		}
		for _, link := range []chainLink{toSuccessor, toPredecessor} {
			if err := followChains(conn, histories, link); err != nil {
				return err
			}
		}
		reader, err := l.newShipmentReader(conn, "o.embossed_card_id = ?")
		if err != nil {
			return err
		}
		add := func(s *ledger.Shipment) { shipments = append(shipments, *s) }
		chain := chainOf(cardID, histories)
		for _, card := range chain {
			reader.orders.BindInt64(1, card)
			if err := reader.each(add); err != nil {
				return err
			}
		}
		return l.cancelledOf(conn, chain, add)
	})
	slices.SortFunc(shipments, func(a, b ledger.Shipment) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.UID, b.UID))
	})
	return shipments, err
}

// cancelledOf gives the cancelled orders that asked for one of the cards and would have replaced it: the chain knows nothing of them any more.
func (l *Ledger) cancelledOf(conn *sqlite.Conn, chain []int64, add func(*ledger.Shipment)) error {
	reader, err := l.newShipmentReader(conn, `o.state = 'CANCELLED' AND o.embossed_card_id <> o.card_id AND o.embossed_card_id <> ?2
		AND o.id IN (SELECT order_id FROM card_before WHERE card_id = ?1)`)
	if err != nil {
		return err
	}
	for i, card := range chain {
		reader.orders.BindInt64(1, card)
		reader.orders.BindInt64(2, 0)
		if i+1 < len(chain) { // a chain that was asked for by the cancelled card itself has its order already
			reader.orders.BindInt64(2, chain[i+1])
		}
		if err := reader.each(add); err != nil {
			return err
		}
	}
	return nil
}

// FileEvents gives the events of a bureau file as a whole.
func (l *Ledger) FileEvents(ctx context.Context, fileID int64) ([]ledger.Event, error) {
	events, err := l.events(ctx, fmt.Sprintf("read the events of outgoing file %d", fileID), "WHERE e.bureau_file_id = ? AND e.order_id IS NULL ORDER BY e.id", fileID)
	return byOwnTime(events), err
}

// Event gives one event.
func (l *Ledger) Event(ctx context.Context, id int64) (ledger.Event, error) {
	what := fmt.Sprintf("read event %d", id)
	events, err := l.events(ctx, what, "WHERE e.id = ?", id)
	if err == nil && len(events) == 0 {
		err = fmt.Errorf("%s: %w", what, ledger.ErrNotFound)
	}
	if err != nil {
		return ledger.Event{}, err
	}
	return events[0], nil
}

// Disputes gives the disputed events that wait for a person.
func (l *Ledger) Disputes(ctx context.Context, limit int64) (events []ledger.Event, total int64, err error) {
	if limit <= 0 {
		limit = -1 // all
	}
	const waiting = "e.dispute <> '' AND e.settled_at IS NULL"
	err = l.read(ctx, "read the disputed events", func(conn *sqlite.Conn) (err error) {
		if events, err = readEvents(conn, "WHERE "+waiting+" ORDER BY e.id LIMIT ?", limit); err != nil {
			return err
		}
		_, err = one(conn, "SELECT count(*) FROM events e WHERE "+waiting, nil, func(r *row) { total = r.int() })
		return err
	})
	return events, total, err
}

func (l *Ledger) events(ctx context.Context, what, where string, args ...any) (events []ledger.Event, err error) {
	err = l.read(ctx, what, func(conn *sqlite.Conn) (err error) {
		events, err = readEvents(conn, where, args...)
		return err
	})
	return events, err
}

func readEvents(conn *sqlite.Conn, where string, args ...any) (events []ledger.Event, err error) {
	runs := newRunNames(conn)
	err = each(conn, "SELECT o.uid, "+eventColumns+" FROM events e LEFT JOIN orders o ON o.id = e.order_id "+where, args, func(r *row) error {
		e, err := scanEvent(r, r.text(), runs)
		events = append(events, e)
		return err
	})
	return events, err
}
