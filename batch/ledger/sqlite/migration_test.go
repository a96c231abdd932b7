package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	zombiezen "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"reemboss/batch/ledger"
)

// firstVersion is a ledger as the first schema left it: a file of four orders
// that was sent, of which one shipment was closed by an extract, one by a
// request and two are outstanding; the newest is a reissue that the card system
// was told of.
const firstVersion = `
PRAGMA application_id = 1917152610;
PRAGMA user_version = 1;
INSERT INTO runs (seq, id, date, number, started_at, starts, host, version, orders_after) VALUES (1, '2026-11-21-001', '2026-11-21', 1, 1000, 1, 'h', 'v', 0);
INSERT INTO bureau_files (id, recipient, sequence, name, state, run, records, layout, plain_digest, recipient_key, signing_key, sent_at, sent_run, evidence)
  VALUES (1, 'alpha', 1, 'a.pgp', 'SENT', 1, 4, 'l', 'd', 'k', 's', 5000, 1, X'7B7D'), (2, 'card-system', 1, 'c.pgp', 'WRITTEN', 1, 1, 'l', 'd', 'k', 's', NULL, NULL, NULL);
INSERT INTO orders (id, uid, run, answer, kind, card_id, embossed_card_id, bureau, product, sort_key, state, created_at, closed_at, bureau_file_id, card_system_file_id)
  VALUES (1, 'u1', 1, 1, 'reemboss', 11, 11, 'alpha', 'p', '', 'ACTIVATED', 2000, 9000, 1, NULL), (2, 'u2', 1, 2, 'reemboss', 12, 12, 'alpha', 'p', '', 'RETURNED', 2000, 8000, 1, NULL),
         (3, 'u3', 1, 3, 'reemboss', 13, 13, 'alpha', 'p', '', 'SENT', 2000, NULL, 1, NULL), (4, 'u4', 1, 4, 'reissue', 14, 14, 'alpha', 'p', '', 'SENT', 2000, NULL, 1, 2);
INSERT INTO order_bodies (id, psn, expiry, reason, type, type_derived, shipping_method, expected_delivery, fee, status, old_status, reembossing)
  SELECT id, 0, 202911, 0, 0, 0, 1, '', '', '', '', 0 FROM orders;`

func TestALedgerOfTheFirstVersionIsBroughtUpToDate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	schema, err := os.ReadFile(filepath.Join("schema", "001_first.sql"))
	must(t, err)
	conn, err := zombiezen.OpenConn(path, zombiezen.OpenReadWrite|zombiezen.OpenCreate)
	must(t, err)
	must(t, errors.Join(sqlitex.ExecuteScript(conn, string(schema), nil), sqlitex.ExecuteScript(conn, firstVersion, nil), conn.Close()))

	l := openAt(t, path)
	balances, err := l.FileBalances(t.Context())
	must(t, err)
	if b := balances[1]; b.Records != 4 || b.Acknowledged != 2 || b.Rejected != 0 || b.Outstanding != 2 {
		t.Errorf("balance %+v", b)
	}
	found, err := l.Shipments(t.Context(), []string{"u1", "u2", "u3"})
	must(t, err)
	for uid, want := range map[string]struct {
		source string
		at     time.Time
	}{"u1": {ledger.FromExtract, time.UnixMilli(9000)}, "u2": {ledger.FromRequest, time.UnixMilli(8000)}} {
		events := found[uid].Events
		if len(events) != 1 || events[0].Source != want.source || !events[0].At.Equal(want.at) || events[0].State != found[uid].State || events[0].Acked != 1 {
			t.Errorf("events of %s: %+v", uid, events)
		}
	}
	if len(found["u3"].Events) != 0 {
		t.Errorf("an outstanding order has events: %+v", found["u3"].Events)
	}
	var told []string
	must(t, l.EachFileOrder(t.Context(), 2, func(o *ledger.Order) error { told = append(told, o.UID); return nil }))
	if len(told) != 1 || told[0] != "u4" {
		t.Errorf("the card system's file has %v", told)
	}
	must(t, l.EachQueued(t.Context(), "pins", 0, func(o *ledger.Order) error {
		t.Errorf("an order of before PIN files needs a PIN: %s", o.UID)
		return nil
	}))
}
