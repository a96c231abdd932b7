package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// References finds the accepted requests that used references.
func (l *Ledger) References(ctx context.Context, refs []string) (map[string]ledger.Prior, error) {
	found := map[string]ledger.Prior{}
	err := l.read(ctx, "look up references", func(conn *sqlite.Conn) error {
		stmt, err := conn.Prepare("SELECT " + answerColumns + ` FROM answers a LEFT JOIN orders o ON o.id = a.order_id
			WHERE a.reference = ? AND a.reference <> '' AND a.outcome = 'accepted'`)
		if err != nil {
			return err
		}
		runs := newRunNames(conn)
		for _, ref := range refs {
			stmt.BindText(1, ref)
			if err := eachRow(stmt, func(r *row) error {
				answer, err := scanAnswer(r, runs)
				found[ref] = ledger.Prior{
					Prior:  rules.Prior{ContentDigest: answer.ContentDigest, FileID: answer.FileID, RowDigest: answer.RowDigest},
					Answer: answer,
				}
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}

// LastPos is the last row of a file that has an answer.
func (l *Ledger) LastPos(ctx context.Context, fileID int64) (pos int, err error) {
	err = l.read(ctx, fmt.Sprintf("look for the last answered row of file %d", fileID), func(conn *sqlite.Conn) error {
		_, err := one(conn, "SELECT coalesce(max(id), 0) FROM answers WHERE id > ? AND id < ?", []any{answerID(fileID, 0), answerID(fileID+1, 0)},
			func(r *row) { pos = int(r.int() & maxPos) })
		return err
	})
	return pos, err
}

// Counter gives a counter's value.
func (l *Ledger) Counter(ctx context.Context, name string) (value int64, err error) {
	err = l.read(ctx, "read the counter "+name, func(conn *sqlite.Conn) error {
		value, err = counter(conn, name)
		return err
	})
	return value, err
}

// Counters gives all counters.
func (l *Ledger) Counters(ctx context.Context) (map[string]int64, error) {
	counters := map[string]int64{}
	err := l.read(ctx, "read the counters", func(conn *sqlite.Conn) error {
		return each(conn, "SELECT name, value FROM counters", nil, func(r *row) error {
			name := r.text()
			counters[name] = r.int()
			return nil
		})
	})
	return counters, err
}

func counter(conn *sqlite.Conn, name string) (value int64, err error) {
	_, err = one(conn, "SELECT value FROM counters WHERE name = ?", []any{name}, func(r *row) { value = r.int() })
	return value, err
}

// advance moves a counter from the value that the caller saw.
func advance(conn *sqlite.Conn, a ledger.Advance) error {
	value, err := counter(conn, a.Counter)
	switch {
	case err != nil:
		return err
	case value != a.From:
		return fmt.Errorf("%w: the counter %s is at %d, not at %d", ledger.ErrConflict, a.Counter, value, a.From)
	case a.To < a.From:
		return fmt.Errorf("the counter %s never goes back (from %d to %d)", a.Counter, a.From, a.To)
	}
	_, err = exec(conn, "INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", a.Counter, a.To)
	return err
}

// EnsureRange records a range's parameters at its first use.
func (l *Ledger) EnsureRange(ctx context.Context, p ledger.RangeParams) error {
	return l.write(ctx, "check the range "+p.Name, func(conn *sqlite.Conn) error {
		recorded := ledger.RangeParams{Name: p.Name}
		found, err := one(conn, "SELECT prefix, key, tweak, pan_length, low, high FROM pan_ranges WHERE name = ?", []any{p.Name}, func(r *row) {
			recorded.Prefix, recorded.Key, recorded.Tweak = r.text(), r.text(), r.text()
			recorded.PANLength, recorded.From, recorded.To = int(r.int()), r.int(), r.int()
		})
		switch {
		case err != nil:
			return err
		case !found:
			_, err := exec(conn, "INSERT INTO pan_ranges (name, prefix, key, tweak, pan_length, low, high) VALUES (?, ?, ?, ?, ?, ?, ?)",
				p.Name, p.Prefix, p.Key, p.Tweak, int64(p.PANLength), p.From, p.To)
			return err
		case recorded != p:
			return fmt.Errorf("%w: it was first used with prefix %s, %d digits, %d to %d, key %s, tweak %q; use a new range name for other parameters",
				ledger.ErrRangeChanged, recorded.Prefix, recorded.PANLength, recorded.From, recorded.To, recorded.Key, recorded.Tweak)
		}
		return nil
	})
}

// CommitChunk writes a chunk whole or not at all.
func (l *Ledger) CommitChunk(ctx context.Context, c ledger.Chunk) error {
	what := fmt.Sprintf("commit %d answers of file %d", len(c.Answers), c.FileID)
	orderOf, err := matchOrders(&c)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return l.write(ctx, what, func(conn *sqlite.Conn) error {
		run, err := chunkRun(conn, &c)
		if err != nil {
			return err
		}
		for _, a := range c.Advances {
			if err := advance(conn, a); err != nil {
				return err
			}
		}
		before, err := readBefore(conn, &c)
		if err != nil {
			return err
		}
		if err := l.changeCards(conn, &c, run); err != nil {
			return err
		}
		ids, err := l.insertOrders(conn, &c, run)
		if err != nil {
			return err
		}
		if err := keepBefore(conn, before, ids); err != nil {
			return err
		}
		if err := insertAnswers(conn, &c, run, ids, orderOf); err != nil {
			return err
		}
		return appendAudit(conn, c.Entry)
	})
}

// matchOrders checks that the chunk agrees with itself, and gives for each
// answer the index of the order that it accepted, or -1.
func matchOrders(c *ledger.Chunk) ([]int, error) {
	byPos := make(map[int]int, len(c.Orders))
	for i := range c.Orders {
		o := &c.Orders[i]
		if o.FileID != c.FileID || o.RunID != c.RunID || o.State != ledger.Queued {
			return nil, fmt.Errorf("order %s is of run %q, file %d and %s; the chunk is of run %q, file %d, and its orders are QUEUED", o.UID, o.RunID, o.FileID, o.State, c.RunID, c.FileID)
		}
		if _, twice := byPos[o.Pos]; twice {
			return nil, fmt.Errorf("row %d has two orders", o.Pos)
		}
		byPos[o.Pos] = i
	}
	orderOf := make([]int, len(c.Answers))
	matched := 0
	for i := range c.Answers {
		a := &c.Answers[i]
		orderOf[i] = -1
		if a.FileID != c.FileID || a.RunID != c.RunID {
			return nil, fmt.Errorf("the answer to row %d is of run %q, file %d; the chunk is of run %q, file %d", a.Pos, a.RunID, a.FileID, c.RunID, c.FileID)
		}
		if a.Outcome != rules.Accepted {
			continue
		}
		order, ok := byPos[a.Pos]
		if !ok || c.Orders[order].UID != a.OrderUID {
			return nil, fmt.Errorf("row %d was accepted without the order that it names (%q)", a.Pos, a.OrderUID)
		}
		orderOf[i] = order
		matched++
	}
	if matched != len(c.Orders) {
		return nil, fmt.Errorf("%d orders for %d accepted rows", len(c.Orders), matched)
	}
	return orderOf, nil
}

// chunkRun finds the chunk's run, which must be open, and its request file.
func chunkRun(conn *sqlite.Conn, c *ledger.Chunk) (run int64, err error) {
	open := false
	found, err := one(conn, "SELECT seq, ended_at IS NULL FROM runs WHERE id = ?", []any{c.RunID}, func(r *row) { run, open = r.int(), r.bool() })
	switch {
	case err != nil:
		return 0, err
	case !found:
		return 0, fmt.Errorf("run %q: %w", c.RunID, ledger.ErrNotFound)
	case !open:
		return 0, fmt.Errorf("%w: run %s is finished", ledger.ErrConflict, c.RunID)
	}
	found, err = one(conn, "SELECT 1 FROM request_files WHERE id = ?", []any{c.FileID}, func(*row) {})
	if err == nil && !found {
		err = fmt.Errorf("file %d: %w", c.FileID, ledger.ErrNotFound)
	}
	if err != nil {
		return 0, err
	}
	return run, touchFile(conn, run, c.FileID)
}

// changeCards closes shipments first, while the newest one is still the one
// that the decision was about.
func (l *Ledger) changeCards(conn *sqlite.Conn, c *ledger.Chunk, run int64) error {
	for i := range c.Changes {
		if !c.Changes[i].CloseTransit {
			continue
		}
		if err := closeShipment(conn, c.Changes[i].ID, ledger.Returned, c.At, run); err != nil {
			return err
		}
	}
	if err := l.insertNewCards(conn, c); err != nil {
		return err
	}
	keys, err := l.indexKeys(conn)
	if err != nil {
		return err
	}
	for i := range c.Changes {
		if err := l.psnFree(conn, keys, &c.Changes[i]); err != nil {
			return err
		}
		if err := changeCard(conn, &c.Changes[i], c.At); err != nil {
			return err
		}
	}
	return nil
}

const newCardDecided = ledger.DecidedPAN | ledger.DecidedPSN | ledger.DecidedExpiry | ledger.DecidedStatus

func (l *Ledger) insertNewCards(conn *sqlite.Conn, c *ledger.Chunk) error {
	if len(c.NewCards) == 0 {
		return nil
	}
	w, err := l.newCardWriter(conn, insertOnly)
	if err != nil {
		return err
	}
	for i := range c.NewCards {
		n := &c.NewCards[i]
		switch err := w.write(&n.Card, newCardDecided, c.At); {
		case errors.Is(err, ledger.ErrPANTaken), errors.Is(err, errIDTaken):
			return fmt.Errorf("%w: new card %d: %w", ledger.ErrConflict, n.Card.ID, err)
		case err != nil:
			return err
		}
		if n.Predecessor == 0 {
			continue
		}
		if _, err := exec(conn, "UPDATE cards SET predecessor = ? WHERE id = ?", n.Predecessor, n.Card.ID); err != nil {
			return err
		}
		if err := setSuccessor(conn, n.Predecessor, n.Card.ID); err != nil {
			return err
		}
	}
	return nil
}

// setSuccessor links a card to the one that replaced it, once for ever.
func setSuccessor(conn *sqlite.Conn, card, successor int64) error {
	changed, err := exec(conn, "UPDATE cards SET successor = ? WHERE id = ? AND successor IN (0, ?)", successor, card, successor)
	if err == nil && changed == 0 {
		err = fmt.Errorf("%w: card %d does not exist or was replaced by another card", ledger.ErrConflict, card)
	}
	return err
}

// changeCard sets the fields that are not nil.
func changeCard(conn *sqlite.Conn, c *ledger.CardChange, at time.Time) error {
	sets, values, decided := []string{"decided = decided | ?", "updated_at = ?"}, []any{int64(0), at}, ledger.Decided(0)
	set := func(column string, value any, marks ledger.Decided) {
		sets, values = append(sets, column+" = ?"), append(values, value)
		decided |= marks
	}
	if c.Status != nil {
		set("status", *c.Status, ledger.DecidedStatus)
	}
	if c.PSN != nil {
		set("psn", int64(*c.PSN), ledger.DecidedPSN)
	}
	if c.Expiry != nil {
		set("expiry", int64(*c.Expiry), ledger.DecidedExpiry)
	}
	if c.StartDate != nil {
		set("start_date", dateText(*c.StartDate), 0)
	}
	if c.ValidityMonths != nil {
		set("validity_months", int64(*c.ValidityMonths), 0)
	}
	if c.CVKRef != nil {
		set("cvk_ref", *c.CVKRef, 0)
	}
	if c.PrintedName != nil {
		set("printed_name", *c.PrintedName, 0)
	}
	values[0] = int64(decided)
	changed, err := exec(conn, "UPDATE cards SET "+strings.Join(sets, ", ")+" WHERE id = ?", append(values, c.ID)...)
	switch {
	case violated(err):
		return fmt.Errorf("%w: card %d: %w", ledger.ErrConflict, c.ID, ledger.ErrPANTaken)
	case err != nil:
		return fmt.Errorf("change card %d: %w", c.ID, err)
	case changed == 0:
		return fmt.Errorf("%w: card %d is not in the registry", ledger.ErrConflict, c.ID)
	case c.Successor != 0:
		return setSuccessor(conn, c.ID, c.Successor)
	}
	return nil
}

// insertAnswers writes the answers; ids are those of the chunk's orders.
func insertAnswers(conn *sqlite.Conn, c *ledger.Chunk, run int64, ids []int64, orderOf []int) error {
	w, err := newAnswerWriter(conn, c.FileID, run)
	if err != nil {
		return err
	}
	for i := range c.Answers {
		a := &c.Answers[i]
		order := int64(0)
		switch {
		case orderOf[i] >= 0:
			order = ids[orderOf[i]]
		case a.OrderUID != "":
			if order, err = orderID(conn, a.OrderUID); err != nil {
				return err
			}
		}
		if err := w.insert(a, order); err != nil {
			return err
		}
	}
	return nil
}

func orderID(conn *sqlite.Conn, uid string) (id int64, err error) {
	found, err := one(conn, "SELECT id FROM orders WHERE uid = ?", []any{uid}, func(r *row) { id = r.int() })
	if err == nil && !found {
		err = fmt.Errorf("order %s: %w", uid, ledger.ErrNotFound)
	}
	return id, err
}
