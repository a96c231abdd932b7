package sqlite

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
	"reemboss/formats/iso"
)

// Kinds of row_keys.
const (
	sealKey  = "seal"
	indexKey = "index"
)

// noteKeys records, before rows are written under them, that rows may be under
// the primary keys.
func (l *Ledger) noteKeys(conn *sqlite.Conn) error {
	_, err := exec(conn, "INSERT OR IGNORE INTO row_keys (kind, id) VALUES (?, ?), (?, ?)", sealKey, l.vault.SealKeyID(), indexKey, l.vault.IndexKeyID())
	return err
}

// indexKeys are the keys under which a card number may be found, the primary one
// first. A listed key that the vault does not have is left out if no row is under
// it: it was retired before a count of all rows took it off the list, also on the
// ledger of which this is a copy. With a row under it nothing can be looked up.
func (l *Ledger) indexKeys(conn *sqlite.Conn) (ids []string, err error) {
	var listed []string
	if err := each(conn, "SELECT id FROM row_keys WHERE kind = ? ORDER BY id <> ?", []any{indexKey, l.vault.IndexKeyID()}, func(r *row) error {
		listed = append(listed, r.text())
		return nil
	}); err != nil {
		return nil, err
	}
	for _, id := range listed {
		if id != l.vault.IndexKeyID() {
			if _, missing := l.vault.IndexUnder(id, iso.PAN{}); missing != nil {
				if used, err := l.rowsUnder(conn, id); used || err != nil {
					return nil, errors.Join(err, missing)
				}
				continue
			}
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// rowsUnder says whether a row is under an index key that the vault does not
// have. That none is stays true as long as the vault lacks the key, and is looked
// up once: it means to read all cards.
func (l *Ledger) rowsUnder(conn *sqlite.Conn, id string) (used bool, err error) {
	if _, known := l.unused.Load(id); known {
		return false, nil
	}
	used, err = one(conn, "SELECT 1 FROM cards WHERE pan_index_key = ? LIMIT 1", []any{id}, func(*row) {})
	if err == nil && !used {
		l.unused.Store(id, true)
	}
	return used, err
}

// underOtherKey says whether another card has this number and PSN under one of
// the index keys; the unique index compares under one key only.
func (l *Ledger) underOtherKey(conn *sqlite.Conn, keys []string, card int64, p iso.PAN, psn int) (taken bool, err error) {
	for _, id := range keys {
		hash, err := l.vault.IndexUnder(id, p)
		if err != nil {
			return false, err
		}
		taken, err = one(conn, "SELECT 1 FROM cards WHERE pan_index = ? AND psn = ? AND id <> ?", []any{hash, int64(psn), card}, func(*row) {})
		if err != nil || taken {
			return taken, err
		}
	}
	return false, nil
}

// psnFree refuses a new PSN that another card of the number has, where the
// unique index cannot see it: while rows are under several index keys.
func (l *Ledger) psnFree(conn *sqlite.Conn, keys []string, c *ledger.CardChange) error {
	if len(keys) < 2 || c.PSN == nil {
		return nil
	}
	var sealed []byte
	if _, err := one(conn, "SELECT pan_sealed FROM cards WHERE id = ?", []any{c.ID}, func(r *row) { sealed = r.blob() }); err != nil {
		return err
	}
	p, err := l.openPAN(c.ID, sealed)
	if err != nil || p.IsZero() {
		return err
	}
	taken, err := l.underOtherKey(conn, keys, c.ID, p, *c.PSN)
	if err == nil && taken {
		err = fmt.Errorf("%w: card %d: %w", ledger.ErrConflict, c.ID, ledger.ErrPANTaken)
	}
	return err
}

// Which rows are under a former key. The parameters are the header of what is
// sealed under the primary key and, for cards, the primary index key.
const (
	formerCard = "c.pan_sealed IS NOT NULL AND (substr(c.pan_sealed, 1, length(?1)) <> ?1 OR c.pan_index_key IS NOT ?2)"
	formerBody = "b.pan_sealed IS NOT NULL AND substr(b.pan_sealed, 1, length(?1)) <> ?1"
)

// rekeying is the row of that table.
type rekeying struct {
	sealKey, indexKey string
	card, body        int64
	cards, orders     ledger.RekeyCount
	unreadable        int64
}

// Rekey brings rows under the primary keys.
func (l *Ledger) Rekey(ctx context.Context, limit int, entry ledger.AuditEntry) (p ledger.RekeyProgress, err error) {
	err = l.write(ctx, "bring card numbers under the new keys", func(conn *sqlite.Conn) error {
		former, err := l.formerKeys(conn)
		if err != nil || former == 0 {
			p = ledger.RekeyProgress{Ended: true, Finished: true}
			return err
		}
		if err := l.noteKeys(conn); err != nil {
			return err
		}
		state, err := l.rekeyingState(conn, entry)
		if err != nil {
			return err
		}
		ended, err := l.rekeyRows(conn, &state, limit)
		if err != nil {
			return err
		}
		p = ledger.RekeyProgress{Unreadable: state.unreadable, Ended: ended}
		if ended {
			if p.Finished, err = l.endPass(conn, &state, entry); err != nil {
				return err
			}
		}
		p.Cards, p.Orders = state.cards, state.orders
		if p.Finished {
			return nil
		}
		return storeRekeying(conn, &state)
	})
	return p, err
}

// formerKeys counts the keys beside the primary ones that rows may be under.
func (l *Ledger) formerKeys(conn *sqlite.Conn) (n int64, err error) {
	_, err = one(conn, "SELECT count(*) FROM row_keys WHERE id <> iif(kind = ?, ?, ?)", []any{sealKey, l.vault.SealKeyID(), l.vault.IndexKeyID()}, func(r *row) { n = r.int() })
	return n, err
}

// rekeyingState is where the work stands, or its beginning when the primary keys are others than then.
func (l *Ledger) rekeyingState(conn *sqlite.Conn, entry ledger.AuditEntry) (s rekeying, err error) {
	found, err := one(conn, "SELECT seal_key, index_key, card, body, cards_done, cards_left, orders_done, orders_left, unreadable FROM rekeying", nil, func(r *row) {
		s.sealKey, s.indexKey, s.card, s.body = r.text(), r.text(), r.int(), r.int()
		s.cards.Done, s.cards.Left, s.orders.Done, s.orders.Left, s.unreadable = r.int(), r.int(), r.int(), r.int(), r.int()
	})
	if err != nil || found && s.sealKey == l.vault.SealKeyID() && s.indexKey == l.vault.IndexKeyID() {
		return s, err
	}
	s = rekeying{sealKey: l.vault.SealKeyID(), indexKey: l.vault.IndexKeyID()}
	if err := l.countLeft(conn, &s); err != nil {
		return s, err
	}
	if s.cards.Left+s.orders.Left == 0 {
		return s, nil
	}
	entry.What, entry.Subject = "rotation.began", s.String()
	entry.Detail = fmt.Sprintf("%d cards and %d orders are under former keys", s.cards.Left, s.orders.Left)
	return s, appendAudit(conn, &entry)
}

func (s *rekeying) String() string {
	return fmt.Sprintf("sealing key %s, index key %s", s.sealKey, s.indexKey)
}

func (l *Ledger) countLeft(conn *sqlite.Conn, s *rekeying) error {
	header := l.vault.SealHeader()
	if _, err := one(conn, "SELECT count(*) FROM cards c WHERE "+formerCard, []any{header, s.indexKey}, func(r *row) { s.cards.Left = r.int() }); err != nil {
		return err
	}
	_, err := one(conn, "SELECT count(*) FROM order_bodies b WHERE "+formerBody, []any{header}, func(r *row) { s.orders.Left = r.int() })
	return err
}

func storeRekeying(conn *sqlite.Conn, s *rekeying) error {
	_, err := exec(conn, `INSERT OR REPLACE INTO rekeying (one, seal_key, index_key, card, body, cards_done, cards_left, orders_done, orders_left, unreadable)
		VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, s.sealKey, s.indexKey, s.card, s.body, s.cards.Done, s.cards.Left, s.orders.Done, s.orders.Left, s.unreadable)
	return err
}

// endPass counts all rows once more, those included that were written since. When
// none is left the former keys go from the list; else everything is looked at again.
func (l *Ledger) endPass(conn *sqlite.Conn, s *rekeying, entry ledger.AuditEntry) (finished bool, err error) {
	if err := l.countLeft(conn, s); err != nil {
		return false, err
	}
	if s.cards.Left+s.orders.Left > 0 {
		s.card, s.body, s.unreadable = 0, 0, 0
		return false, nil
	}
	for _, sql := range []string{"DELETE FROM row_keys", "DELETE FROM rekeying"} {
		if _, err := exec(conn, sql); err != nil {
			return false, err
		}
	}
	if err := l.noteKeys(conn); err != nil || s.cards.Done+s.orders.Done == 0 {
		return true, err
	}
	entry.What, entry.Subject = "rotation.finished", s.String()
	entry.Detail = fmt.Sprintf("%d cards and %d orders were sealed or indexed anew; nothing is under a former key", s.cards.Done, s.orders.Done)
	return true, appendAudit(conn, &entry)
}

// rekeyRows brings at most limit rows under the primary keys and says whether all were looked at.
func (l *Ledger) rekeyRows(conn *sqlite.Conn, s *rekeying, limit int) (ended bool, err error) {
	cards, err := formerRows(conn, `SELECT c.id, c.id, c.pan_sealed, c.pan_index_key IS ?2 FROM cards c
		WHERE c.id > ?3 AND `+formerCard+" ORDER BY c.id LIMIT ?4", l.vault.SealHeader(), s.indexKey, s.card, int64(limit))
	if err != nil {
		return false, err
	}
	done, err := l.rekeyCards(conn, cards, s.indexKey)
	if err != nil {
		return false, err
	}
	s.advance(&s.cards, &s.card, cards, done)
	if len(cards) == limit {
		return false, nil
	}
	bodies, err := formerRows(conn, `SELECT b.id, o.embossed_card_id, b.pan_sealed, 1 FROM order_bodies b JOIN orders o ON o.id = b.id
		WHERE b.id > ?2 AND `+formerBody+" ORDER BY b.id LIMIT ?3", l.vault.SealHeader(), s.body, int64(limit-len(cards)))
	if err != nil {
		return false, err
	}
	if done, err = l.rekeyBodies(conn, bodies); err != nil {
		return false, err
	}
	s.advance(&s.orders, &s.body, bodies, done)
	return len(bodies) < limit-len(cards), nil
}

// advance counts what became of rows.
func (s *rekeying) advance(count *ledger.RekeyCount, last *int64, rows []formerRow, done int64) {
	if len(rows) > 0 {
		*last = rows[len(rows)-1].id
	}
	count.Done += done
	count.Left = max(count.Left-done, 0)
	s.unreadable += int64(len(rows)) - done
}

// formerRow is a sealed number under a former key.
type formerRow struct {
	id      int64
	card    int64 // that it is sealed for
	sealed  []byte
	indexed bool // under the primary key, or not at all
}

func formerRows(conn *sqlite.Conn, sql string, args ...any) (rows []formerRow, err error) {
	err = each(conn, sql, args, func(r *row) error {
		rows = append(rows, formerRow{r.int(), r.int(), r.blob(), r.bool()})
		return nil
	})
	return rows, err
}

func (l *Ledger) rekeyCards(conn *sqlite.Conn, rows []formerRow, index string) (done int64, err error) {
	for _, r := range rows {
		p, err := l.vault.OpenPAN(r.card, r.sealed)
		if err != nil {
			continue // it stays, and is counted
		}
		sealed, err := l.sealPAN(r.card, p)
		if err != nil {
			return done, err
		}
		if r.indexed { // the index over all hashes is not touched
			_, err = exec(conn, "UPDATE cards SET pan_sealed = ? WHERE id = ?", sealed, r.id)
		} else {
			_, err = exec(conn, "UPDATE cards SET pan_sealed = ?, pan_index = ?, pan_index_key = ? WHERE id = ?", sealed, l.vault.IndexPAN(p), index, r.id)
		}
		if err != nil {
			return done, fmt.Errorf("card %d: %w", r.id, err)
		}
		done++
	}
	return done, nil
}

func (l *Ledger) rekeyBodies(conn *sqlite.Conn, rows []formerRow) (done int64, err error) {
	for _, r := range rows {
		p, err := l.vault.OpenPAN(r.card, r.sealed)
		if err != nil {
			continue // it stays, and is counted
		}
		sealed, err := l.sealPAN(r.card, p)
		if err != nil {
			return done, err
		}
		if _, err := exec(conn, "UPDATE order_bodies SET pan_sealed = ? WHERE id = ?", sealed, r.id); err != nil {
			return done, fmt.Errorf("order %d: %w", r.id, err)
		}
		done++
	}
	return done, nil
}

// KeyUse counts the rows under each key.
func (l *Ledger) KeyUse(ctx context.Context) (ledger.KeyUse, error) {
	use := ledger.KeyUse{Sealed: map[string]int64{}, Indexed: map[string]int64{}}
	err := l.read(ctx, "count the rows under each key", func(conn *sqlite.Conn) error {
		sealed := func(r *row) error {
			header := r.blob()
			use.Sealed[l.vault.SealedUnder(header)] += r.int()
			return nil
		}
		length := int64(len(l.vault.SealHeader()))
		for _, table := range []string{"cards", "order_bodies"} {
			if err := each(conn, "SELECT substr(pan_sealed, 1, ?), count(*) FROM "+table+" WHERE pan_sealed IS NOT NULL GROUP BY 1", []any{length}, sealed); err != nil {
				return err
			}
		}
		return each(conn, "SELECT pan_index_key, count(*) FROM cards WHERE pan_index_key IS NOT NULL GROUP BY 1", nil, func(r *row) error {
			id := r.text()
			use.Indexed[id] = r.int()
			return nil
		})
	})
	return use, err
}
