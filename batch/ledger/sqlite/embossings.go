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
	"reemboss/formats/request"
)

// embossing is one of a card, with what its look-up needs besides.
type embossing struct {
	rules.Embossing
	order  int64     // 0 for a shipment that the extract told of
	file   int64     // bureau file of the order, 0 for none
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

// history is what happened to one card itself, the rest of its chain apart.
type history struct {
	successor   int64
	predecessor int64
	last        *embossing  // newest of all
	open        *embossing  // newest that the bureau does not have yet
	shipment    *embossing  // newest that it has, or had
	reissues    []time.Time // accepted, and not rejected by the bureau, in the order of acceptance
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

const linkColumns = "successor, predecessor, shipment_closed_at"

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
		for _, link := range []chainLink{toSuccessor, toPredecessor} {
			if err := followChains(conn, histories, link); err != nil {
				return err
			}
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
	h := &history{successor: r.int(), predecessor: r.int()}
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
	stmt, err := conn.Prepare(`SELECT embossed_card_id, id, uid, state, answer, created_at, bureau_file_id, kind
		FROM orders INDEXED BY orders_of_card WHERE embossed_card_id >= ? ORDER BY embossed_card_id, id`)
	if err != nil {
		return err
	}
	sent := sendTimes{conn: conn, known: map[int64]sending{}}
	return merge(stmt, sorted, func(id int64, r *row) error {
		e := &embossing{order: r.int()}
		e.UID, e.State, e.answer, e.at = r.text(), r.text(), r.int(), r.time()
		e.FileID, e.file = e.answer>>32, r.int()
		h := histories[id]
		if h == nil || e.State == string(ledger.Cancelled) {
			return nil
		}
		if e.State != string(ledger.Rejected) && r.text() == string(request.Reissue) {
			h.reissues = append(h.reissues, e.at)
		}
		if !e.open() && e.file != 0 {
			s, err := sent.of(e.file)
			switch {
			case err != nil:
				return err
			case s.again:
				e.State = string(ledger.PlannedO)
			default:
				e.SentAt, e.at = s.at, s.at
			}
		}
		h.add(e)
		return nil
	})
}

// sending is when a bureau file was sent, and whether it is on its way once more: whatever was known of its cards, they may be
// made from that, so that they are open until its end is known.
type sending struct {
	at    time.Time
	again bool
}

// sendTimes gives the sending of a bureau file and keeps what it read.
type sendTimes struct {
	conn  *sqlite.Conn
	known map[int64]sending
}

func (t sendTimes) of(file int64) (sending, error) {
	if s, ok := t.known[file]; ok {
		return s, nil
	}
	_, err := one(t.conn, "SELECT sent_at, state IN ('WRITTEN', 'INTENT', 'UPLOADED', 'RENAMING', 'UNDECIDED') FROM bureau_files WHERE id = ?", []any{file}, func(r *row) {
		t.known[file] = sending{at: r.time(), again: r.bool()}
	})
	return t.known[file], err
}

// chainLink is a direction in which chains of replacements are followed.
type chainLink func(*history) int64

func toSuccessor(h *history) int64   { return h.successor }
func toPredecessor(h *history) int64 { return h.predecessor }

// followChains adds the histories of all cards further along the chains. Few
// cards are linked, so each link of the chains is one more round.
func followChains(conn *sqlite.Conn, histories map[int64]*history, link chainLink) error {
	missing := linkedFrom(histories, slices.Collect(maps.Keys(histories)), link)
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
		missing = linkedFrom(histories, missing, link)
	}
	return nil
}

// linkedFrom gives, sorted, the cards one link further that have no history yet.
func linkedFrom(histories map[int64]*history, cards []int64, link chainLink) []int64 {
	var missing []int64
	for _, id := range cards {
		if next := link(histories[id]); next != 0 && histories[next] == nil {
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
	disputed, err := disputedOrders(conn)
	if err != nil {
		return err
	}
	for _, id := range sorted {
		card := cards[id]
		if card == nil {
			continue
		}
		last, open := chainEnds(id, histories)
		if last != nil {
			last.Disputed = disputed[last.order]
		}
		if card.Last, err = publicEmbossing(digests, last); err != nil {
			return err
		}
		if card.Open, err = publicEmbossing(digests, open); err != nil {
			return err
		}
		card.Reissues = chainReissues(id, histories)
	}
	return nil
}

// disputedOrders are those of which a disputed event waits for a person; few at any time.
func disputedOrders(conn *sqlite.Conn) (map[int64]bool, error) {
	disputed := map[int64]bool{}
	err := each(conn, "SELECT order_id FROM events INDEXED BY events_disputed WHERE dispute <> '' AND settled_at IS NULL AND order_id IS NOT NULL", nil, func(r *row) error {
		disputed[r.int()] = true
		return nil
	})
	return disputed, err
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

// chainReissues gives the reissues along the whole chain of which card id is a
// part, oldest first.
func chainReissues(id int64, histories map[int64]*history) []time.Time {
	h := histories[id]
	if h.successor == 0 && h.predecessor == 0 {
		return h.reissues
	}
	var times []time.Time
	for _, part := range chainOf(id, histories) {
		times = append(times, histories[part].reissues...)
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// chainOf gives the cards of a chain, from its first to its last as far as
// their histories are known. A damaged chain that comes back to itself ends there.
func chainOf(id int64, histories map[int64]*history) []int64 {
	seen := map[int64]bool{}
	walk := func(from int64, link chainLink) (cards []int64) {
		for at := from; at != 0 && !seen[at] && histories[at] != nil; at = link(histories[at]) {
			seen[at] = true
			cards = append(cards, at)
		}
		return cards
	}
	back := walk(id, toPredecessor)
	slices.Reverse(back)
	return append(back, walk(histories[id].successor, toSuccessor)...)
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
// extract told of, if it is under way. run is the one in which it becomes known.
func closeShipment(conn *sqlite.Conn, card int64, as ledger.OrderState, at time.Time, run int64) error {
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
		return closeOrder(conn, last, as, at, run)
	case as == ledger.Returned:
		_, err := exec(conn, "UPDATE cards SET shipment_status = ?, shipment_closed_at = ?, decided = decided | ? WHERE id = ?",
			string(as), at, int64(ledger.DecidedShipment), card)
		return err
	}
	_, err := exec(conn, "UPDATE cards SET shipment_closed_at = ? WHERE id = ?", at, card)
	return err
}

// closeOrder closes an order's shipment by an event that no bureau told of. A
// card that is in use, or came back, was at the bureau: where that has not said
// so, the event acknowledges it.
func closeOrder(conn *sqlite.Conn, shipment *embossing, as ledger.OrderState, at time.Time, run int64) error {
	e := ledger.Event{UID: shipment.UID, FileID: shipment.file, Status: string(as), At: at, Count: -1, Source: ledger.FromExtract, State: as}
	if as == ledger.Returned {
		e.Source = ledger.FromRequest
	}
	if shipment.State == string(ledger.SentO) {
		e.Acked = 1
	}
	b, err := newBooking(conn, run, "", at)
	if err != nil {
		return err
	}
	return b.event(&e, ledger.OrderState(shipment.State))
}
