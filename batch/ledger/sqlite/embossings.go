package sqlite

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// embossing is one of a card, with what its look-up needs besides.
type embossing struct {
	rules.Embossing
	order  int64     // 0 for a shipment that the extract told of
	answer int64     // of the request that opened it
	at     time.Time // by which the newest is chosen: sent, else ordered
}

func (e *embossing) open() bool { return openState(e.State) }

func openState(state string) bool {
	return state == string(ledger.Queued) || state == string(ledger.PlannedO)
}

func underWay(state string) bool {
	switch state {
	case "SENT", "ACKED", "PRODUCED", "SHIPPED":
		return true
	}
	return false
}

// newer says whether e comes after f, of which either may be nil. Of two at the
// same time the later order counts; an order counts before a shipment told of.
func (e *embossing) newer(f *embossing) bool {
	if e == nil || f == nil {
		return e != nil
	}
	if !e.at.Equal(f.at) {
		return e.at.After(f.at)
	}
	return e.order > f.order
}

// history is what happened to one card itself, its successors apart.
type history struct {
	successor int64
	last      *embossing // newest of all
	open      *embossing // newest that the bureau does not have yet
	shipment  *embossing // newest that it has, or had
}

func (h *history) add(e *embossing) {
	if e.newer(h.last) {
		h.last = e
	}
	if e.open() {
		if e.newer(h.open) {
			h.open = e
		}
	} else if e.newer(h.shipment) {
		h.shipment = e
	}
}

const linkColumns = "successor, shipment_closed_at"

// Cards gives cards with the embossings of their chains.
func (l *Ledger) Cards(ctx context.Context, ids []int64) (map[int64]*ledger.Known, error) {
	cards := make(map[int64]*ledger.Known, len(ids))
	err := l.read(ctx, "read cards", func(conn *sqlite.Conn) error {
		wanted := slices.Clone(ids)
		slices.Sort(wanted)
		wanted = slices.Compact(wanted)
		histories, err := l.readCards(conn, wanted, cards)
		if err != nil {
			return err
		}
		if err := readOrders(conn, wanted, histories); err != nil {
			return err
		}
		if err := followSuccessors(conn, histories); err != nil {
			return err
		}
		return attachEmbossings(conn, wanted, cards, histories)
	})
	if err != nil {
		return nil, err
	}
	return cards, nil
}

// readCards fills cards and begins the history of each with the shipment that
// the extract told of.
func (l *Ledger) readCards(conn *sqlite.Conn, sorted []int64, cards map[int64]*ledger.Known) (map[int64]*history, error) {
	stmt, err := conn.Prepare("SELECT " + strings.Join(cardColumns, ", ") + ", decided, " + linkColumns + " FROM cards WHERE id >= ? ORDER BY id")
	if err != nil {
		return nil, err
	}
	histories := make(map[int64]*history, len(sorted))
	err = merge(stmt, sorted, func(id int64, r *row) error {
		card, err := l.scanCard(id, r)
		if err != nil {
			return err
		}
		known := &ledger.Known{Card: rules.Card{Card: card}, Decided: ledger.Decided(r.int())}
		histories[id] = scanHistory(r, card.ShipmentStatus, card.ShippedAt)
		known.Successor = histories[id].successor
		cards[id] = known
		return nil
	})
	return histories, err
}

// scanHistory takes linkColumns.
func scanHistory(r *row, status string, shippedAt time.Time) *history {
	h := &history{successor: r.int()}
	if closed := r.time(); underWay(status) && !closed.IsZero() && !shippedAt.After(closed) {
		status = string(ledger.Activated)
	}
	if status != "" {
		h.add(&embossing{Embossing: rules.Embossing{State: status, SentAt: shippedAt}, at: shippedAt})
	}
	return h
}

// readOrders adds to histories the orders that embossed one of the sorted cards.
func readOrders(conn *sqlite.Conn, sorted []int64, histories map[int64]*history) error {
	stmt, err := conn.Prepare(`SELECT embossed_card_id, id, uid, state, answer, created_at, bureau_file_id
		FROM orders INDEXED BY orders_of_card WHERE embossed_card_id >= ? ORDER BY embossed_card_id, id`)
	if err != nil {
		return err
	}
	sent := sendTimes{conn: conn, known: map[int64]time.Time{}}
	return merge(stmt, sorted, func(id int64, r *row) error {
		e := &embossing{order: r.int()}
		e.UID, e.State, e.answer, e.at = r.text(), r.text(), r.int(), r.time()
		e.FileID = e.answer >> 32
		if file := r.int(); !e.open() && file != 0 {
			at, err := sent.of(file)
			if err != nil {
				return err
			}
			e.SentAt, e.at = at, at
		}
		if h := histories[id]; h != nil {
			h.add(e)
		}
		return nil
	})
}

// sendTimes gives the time at which a bureau file was sent and keeps what it read.
type sendTimes struct {
	conn  *sqlite.Conn
	known map[int64]time.Time
}

func (t sendTimes) of(file int64) (time.Time, error) {
	if at, ok := t.known[file]; ok {
		return at, nil
	}
	_, err := one(t.conn, "SELECT sent_at FROM bureau_files WHERE id = ?", []any{file}, func(r *row) { t.known[file] = r.time() })
	return t.known[file], err
}

// followSuccessors adds the histories of all cards further down the chains.
// Few cards have a successor, so each link of the chains is one more round.
func followSuccessors(conn *sqlite.Conn, histories map[int64]*history) error {
	missing := successorsOf(histories, slices.Collect(maps.Keys(histories)))
	for len(missing) > 0 {
		for _, id := range missing {
			h := &history{}
			if _, err := one(conn, "SELECT shipment_status, shipped_at, "+linkColumns+" FROM cards WHERE id = ?", []any{id}, func(r *row) {
				status, shipped := r.text(), r.time()
				h = scanHistory(r, status, shipped)
			}); err != nil {
				return err
			}
			histories[id] = h
		}
		if err := readOrders(conn, missing, histories); err != nil {
			return err
		}
		missing = successorsOf(histories, missing)
	}
	return nil
}

// successorsOf gives, sorted, the successors of cards that have no history yet.
func successorsOf(histories map[int64]*history, cards []int64) []int64 {
	var missing []int64
	for _, id := range cards {
		if next := histories[id].successor; next != 0 && histories[next] == nil {
			missing = append(missing, next)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// attachEmbossings gives every card the newest and the open embossing of its chain.
func attachEmbossings(conn *sqlite.Conn, sorted []int64, cards map[int64]*ledger.Known, histories map[int64]*history) error {
	digests, err := conn.Prepare("SELECT row_digest FROM answers WHERE id = ?")
	if err != nil {
		return err
	}
	for _, id := range sorted {
		card := cards[id]
		if card == nil {
			continue
		}
		last, open := chainEnds(id, histories)
		if card.Last, err = publicEmbossing(digests, last); err != nil {
			return err
		}
		if card.Open, err = publicEmbossing(digests, open); err != nil {
			return err
		}
	}
	return nil
}

// chainEnds looks along the chain that begins with card id. A damaged chain
// that comes back to itself ends there.
func chainEnds(id int64, histories map[int64]*history) (last, open *embossing) {
	h := histories[id]
	if h.successor == 0 {
		return h.last, h.open
	}
	seen := map[int64]bool{}
	for ; id != 0 && !seen[id]; id = histories[id].successor {
		seen[id] = true
		h := histories[id]
		if h.last.newer(last) {
			last = h.last
		}
		if h.open.newer(open) {
			open = h.open
		}
	}
	return last, open
}

func publicEmbossing(digests *sqlite.Stmt, e *embossing) (*rules.Embossing, error) {
	if e == nil {
		return nil, nil
	}
	out := e.Embossing
	if e.answer == 0 {
		return &out, nil
	}
	digests.BindInt64(1, e.answer)
	err := eachRow(digests, func(r *row) error {
		out.RowDigest = r.text()
		return nil
	})
	return &out, err
}

// closeShipment closes the newest shipment of a card, an order's or one that an
// extract told of, if it is under way.
func closeShipment(conn *sqlite.Conn, card int64, as ledger.OrderState, at time.Time) error {
	histories := map[int64]*history{}
	if _, err := one(conn, "SELECT shipment_status, shipped_at, "+linkColumns+" FROM cards WHERE id = ?", []any{card}, func(r *row) {
		status, shipped := r.text(), r.time()
		histories[card] = scanHistory(r, status, shipped)
	}); err != nil {
		return err
	}
	if histories[card] == nil {
		return fmt.Errorf("%w: card %d is not in the registry", ledger.ErrConflict, card)
	}
	if err := readOrders(conn, []int64{card}, histories); err != nil {
		return err
	}
	last := histories[card].shipment
	switch {
	case last == nil || !underWay(last.State):
		return nil
	case last.order != 0:
		_, err := exec(conn, "UPDATE orders SET state = ?, closed_at = ? WHERE id = ?", string(as), at, last.order)
		return err
	case as == ledger.Returned:
		_, err := exec(conn, "UPDATE cards SET shipment_status = ?, shipment_closed_at = ?, decided = decided | ? WHERE id = ?",
			string(as), at, int64(ledger.DecidedShipment), card)
		return err
	}
	_, err := exec(conn, "UPDATE cards SET shipment_closed_at = ? WHERE id = ?", at, card)
	return err
}
