package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
	"reemboss/formats/extract"
	"reemboss/formats/iso"
)

// cardColumns are the fields of an extract's card, in the order in which
// bindCard and scanCard take them.
var cardColumns = []string{
	"id", "account_id", "customer_id", "program_id", "product", "type", "status", "pan_sealed", "psn", "expiry",
	"printed_name", "title", "first_name", "last_name", "company_name",
	"address_line1", "address_line2", "address_line3", "address_line4", "city", "region", "postcode", "country",
	"address_status", "phone", "email", "language", "account_number", "balance", "currency", "pin_set", "embossing_group",
	"start_date", "validity_months", "cvk_ref", "shipment_status", "shipped_at",
}

// storedColumns are those that StoreCards and a new card write.
var storedColumns = append(cardColumns[:len(cardColumns):len(cardColumns)], "pan_index", "pan_index_key", "decided", "updated_at")

func bindCard(b *binder, c *extract.Card, sealed []byte) {
	b.int(c.ID)
	for _, v := range [...]string{c.AccountID, c.CustomerID, c.ProgramID, c.Product, c.Type, c.Status} {
		b.text(v)
	}
	b.blob(sealed)
	b.int(int64(c.PSN))
	b.int(int64(c.Expiry))
	a := &c.Address
	for _, v := range [...]string{
		c.PrintedName, c.Title, c.FirstName, c.LastName, c.CompanyName,
		a.Line1, a.Line2, a.Line3, a.Line4, a.City, a.Region, a.Postcode, a.Country,
		c.AddressStatus, c.Phone, c.Email, c.Language, c.AccountNumber, c.Balance, c.Currency,
	} {
		b.text(v)
	}
	b.bool(c.PINSet)
	b.text(c.Group)
	b.text(dateText(c.StartDate))
	b.int(int64(c.ValidityMonths))
	b.text(c.CVKRef)
	b.text(c.ShipmentStatus)
	b.time(c.ShippedAt)
}

func dateText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}

// scanCard takes cardColumns after the id and opens the PAN.
func (l *Ledger) scanCard(id int64, r *row) (c extract.Card, err error) {
	c.ID = id
	for _, v := range [...]*string{&c.AccountID, &c.CustomerID, &c.ProgramID, &c.Product, &c.Type, &c.Status} {
		*v = r.text()
	}
	sealed := r.blob()
	c.PSN, c.Expiry = int(r.int()), iso.Expiry(r.int())
	a := &c.Address
	for _, v := range [...]*string{
		&c.PrintedName, &c.Title, &c.FirstName, &c.LastName, &c.CompanyName,
		&a.Line1, &a.Line2, &a.Line3, &a.Line4, &a.City, &a.Region, &a.Postcode, &a.Country,
		&c.AddressStatus, &c.Phone, &c.Email, &c.Language, &c.AccountNumber, &c.Balance, &c.Currency,
	} {
		*v = r.text()
	}
	c.PINSet, c.Group, c.StartDate, c.ValidityMonths, c.CVKRef = r.bool(), r.text(), r.date(), int(r.int()), r.text()
	c.ShipmentStatus, c.ShippedAt = r.text(), r.time()
	c.PAN, err = l.openPAN(id, sealed)
	return c, err
}

// sealPAN seals a number for a card; no number is no blob.
func (l *Ledger) sealPAN(card int64, p iso.PAN) ([]byte, error) {
	if p.IsZero() {
		return nil, nil
	}
	sealed, err := l.vault.SealPAN(card, p)
	if err != nil {
		return nil, fmt.Errorf("seal the number of card %d: %w", card, err)
	}
	return sealed, nil
}

func (l *Ledger) openPAN(card int64, sealed []byte) (iso.PAN, error) {
	if len(sealed) == 0 {
		return iso.PAN{}, nil
	}
	p, err := l.vault.OpenPAN(card, sealed)
	if err != nil {
		return iso.PAN{}, fmt.Errorf("open the sealed number of card %d: %w", card, err)
	}
	return p, nil
}

// cardWriter writes whole cards.
type cardWriter struct {
	ledger *Ledger
	conn   *sqlite.Conn
	stmt   *sqlite.Stmt
	key    string   // of the index
	keys   []string // all that rows of the index may be under
}

const (
	insertOnly = ""
	orReplace  = " ON CONFLICT (id) DO UPDATE SET "
)

func (l *Ledger) newCardWriter(conn *sqlite.Conn, onConflict string) (cardWriter, error) {
	if err := l.noteKeys(conn); err != nil {
		return cardWriter{}, err
	}
	keys, err := l.indexKeys(conn)
	if err != nil {
		return cardWriter{}, err
	}
	sql := "INSERT INTO cards (" + strings.Join(storedColumns, ", ") + ") VALUES (?" + strings.Repeat(", ?", len(storedColumns)-1) + ")"
	if onConflict == orReplace {
		sets := make([]string, 0, len(storedColumns))
		for _, column := range storedColumns[1:] {
			sets = append(sets, column+" = excluded."+column)
		}
		sql += onConflict + strings.Join(sets, ", ")
	}
	stmt, err := conn.Prepare(sql)
	return cardWriter{l, conn, stmt, l.vault.IndexKeyID(), keys}, err
}

// errIDTaken tells an insert's conflict of ids from one of PANs.
var errIDTaken = errors.New("the card exists already")

func (w cardWriter) write(c *extract.Card, decided ledger.Decided, at time.Time) error {
	sealed, err := w.ledger.sealPAN(c.ID, c.PAN)
	if err != nil {
		return err
	}
	if !c.PAN.IsZero() && len(w.keys) > 1 {
		taken, err := w.ledger.underOtherKey(w.conn, w.keys, c.ID, c.PAN, c.PSN)
		if err != nil {
			return fmt.Errorf("store card %d: %w", c.ID, err)
		}
		if taken {
			return ledger.ErrPANTaken
		}
	}
	b := binder{stmt: w.stmt}
	bindCard(&b, c, sealed)
	if c.PAN.IsZero() {
		b.blob(nil)
		b.blob(nil)
	} else {
		b.blob(w.ledger.vault.IndexPAN(c.PAN))
		b.text(w.key)
	}
	b.int(int64(decided))
	b.time(at)
	_, err = run(w.conn, w.stmt)
	switch code := sqlite.ErrCode(err); {
	case err == nil:
		return nil
	case code == sqlite.ResultConstraintUnique:
		return ledger.ErrPANTaken
	case violated(err):
		return errIDTaken
	}
	return fmt.Errorf("store card %d: %w", c.ID, err)
}

// StoreCards writes cards of an extract.
func (l *Ledger) StoreCards(ctx context.Context, cards []ledger.CardWrite, entry ledger.AuditEntry) ([]error, error) {
	problems := make([]error, len(cards))
	err := l.write(ctx, "store cards", func(conn *sqlite.Conn) error {
		w, err := l.newCardWriter(conn, orReplace)
		if err != nil {
			return err
		}
		now, err := openRun(conn)
		if err != nil {
			return err
		}
		restored, err := one(conn, "SELECT 1 FROM restorations WHERE psns > 0 LIMIT 1", nil, func(*row) {})
		if err != nil {
			return err
		}
		for i := range cards {
			problems[i] = nil
			stored := true
			if restored {
				if stored, err = one(conn, "SELECT 1 FROM cards WHERE id = ?", []any{cards[i].Card.ID}, func(*row) {}); err != nil {
					return err
				}
			}
			if err := w.write(&cards[i].Card, cards[i].Decided, cards[i].At); errors.Is(err, ledger.ErrPANTaken) {
				problems[i] = fmt.Errorf("card %d: %w", cards[i].Card.ID, err)
				continue
			} else if err != nil {
				return err
			}
			if !stored {
				if err := skipPSNsOf(conn, &cards[i].Card); err != nil {
					return err
				}
			}
			if cards[i].Activated {
				if err := closeShipment(conn, cards[i].Card.ID, ledger.Activated, cards[i].At, now); err != nil {
					return err
				}
			}
		}
		return appendAudit(conn, &entry)
	})
	if err != nil {
		return nil, err
	}
	return problems, nil
}

// KnownPANs looks up keyed hashes.
func (l *Ledger) KnownPANs(ctx context.Context, pans []iso.PAN) ([]bool, error) {
	known := make([]bool, len(pans))
	err := l.read(ctx, "look up card numbers", func(conn *sqlite.Conn) error {
		keys, err := l.indexKeys(conn)
		if err != nil {
			return err
		}
		for i, pan := range pans {
			for _, id := range keys {
				hash, err := l.vault.IndexUnder(id, pan)
				if err != nil {
					return err
				}
				known[i], err = one(conn, "SELECT 1 FROM cards WHERE pan_index = ? LIMIT 1", []any{hash}, func(*row) {})
				if err != nil {
					return err
				}
				if known[i] {
					break
				}
			}
		}
		return nil
	})
	return known, err
}

// PSNs looks up one number by its keyed hashes.
func (l *Ledger) PSNs(ctx context.Context, pan iso.PAN) (psns []int, err error) {
	err = l.read(ctx, "look up the PSNs of a card number", func(conn *sqlite.Conn) error {
		keys, err := l.indexKeys(conn)
		if err != nil {
			return err
		}
		var cards []int64
		for _, id := range keys {
			hash, err := l.vault.IndexUnder(id, pan)
			if err != nil {
				return err
			}
			if err := each(conn, "SELECT psn, id FROM cards WHERE pan_index = ?", []any{hash}, func(r *row) error {
				psns = append(psns, int(r.int()))
				cards = append(cards, r.int())
				return nil
			}); err != nil {
				return err
			}
		}
		for _, card := range cards {
			if err := each(conn, `SELECT b.psn FROM orders o INDEXED BY orders_of_card JOIN order_bodies b ON b.id = o.id
				WHERE o.embossed_card_id = ? AND o.state <> 'CANCELLED'`, []any{card}, func(r *row) error {
				psns = append(psns, int(r.int()))
				return nil
			}); err != nil {
				return err
			}
		}
		if psns, err = passedOver(conn, psns, cards); err != nil {
			return err
		}
		slices.Sort(psns)
		psns = slices.Compact(psns)
		return nil
	})
	return psns, err
}

// Expiries looks up the orders of a card.
func (l *Ledger) Expiries(ctx context.Context, cardID int64) (expiries []iso.Expiry, err error) {
	err = l.read(ctx, fmt.Sprintf("look up the expiries of card %d", cardID), func(conn *sqlite.Conn) error {
		return each(conn, `SELECT b.expiry FROM orders o INDEXED BY orders_of_card JOIN order_bodies b ON b.id = o.id
			WHERE o.embossed_card_id = ? AND o.state <> 'CANCELLED' ORDER BY o.id`, []any{cardID}, func(r *row) error {
			expiries = append(expiries, iso.Expiry(r.int()))
			return nil
		})
	})
	return expiries, err
}

// CountCards counts the registry.
func (l *Ledger) CountCards(ctx context.Context) (n int64, err error) {
	err = l.read(ctx, "count the cards", func(conn *sqlite.Conn) error {
		_, err := one(conn, "SELECT count(*) FROM cards", nil, func(r *row) { n = r.int() })
		return err
	})
	return n, err
}
