package batch

import (
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// The rows of a ledger as they are on the disk, read past all code that wrote them.

type orderRow struct {
	uid, state, bureau, kind                                   string
	id, card, embossed, answer, file, systemFile, hold, reason int64
}

type outgoingRow struct {
	name, recipient, state, sha, digest string
	id, sequence, records               int64
}

type holdRow struct {
	name, bureau, state, digest string
	id, records, file           int64
}

type requestRow struct {
	name, state, code, final string
	id, rows, holdsPAN       int64
	claimed                  time.Time
}

type answerRow struct {
	outcome, code, submitter, reference string
	file, pos, order                    int64
}

type cardRow struct {
	status, start, cvk, name, customer string
	psn, expiry, validity, successor   int64
}

type auditRow struct{ what, hash string }

// rows is a whole ledger.
type rows struct {
	orders   map[int64]orderRow
	outgoing map[int64]outgoingRow
	holds    map[int64]holdRow
	requests map[int64]requestRow
	answers  map[int64]answerRow // by id: file, then position
	cards    map[int64]cardRow
	audit    []auditRow
	disputes int64
	disputed map[int64]bool // orders of which a dispute tells
}

func (b *bench) ledgerRows() *rows {
	b.Helper()
	r := &rows{map[int64]orderRow{}, map[int64]outgoingRow{}, map[int64]holdRow{}, map[int64]requestRow{}, map[int64]answerRow{}, map[int64]cardRow{}, nil, 0, map[int64]bool{}}
	if !fileThere(b.LedgerFile()) { // before the first process
		return r
	}
	conn, err := sqlite.OpenConn(b.LedgerFile(), sqlite.OpenReadWrite)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	for _, q := range []struct {
		sql string
		row func(s *sqlite.Stmt)
	}{
		{`SELECT o.id, uid, state, bureau, kind, card_id, embossed_card_id, answer, coalesce(bureau_file_id, 0), coalesce(card_system_file_id, 0), coalesce(hold_id, 0), b.reason
			FROM orders o JOIN order_bodies b ON b.id = o.id`, func(s *sqlite.Stmt) {
			r.orders[s.ColumnInt64(0)] = orderRow{id: s.ColumnInt64(0), uid: s.ColumnText(1), state: s.ColumnText(2), bureau: s.ColumnText(3), kind: s.ColumnText(4),
				card: s.ColumnInt64(5), embossed: s.ColumnInt64(6), answer: s.ColumnInt64(7), file: s.ColumnInt64(8), systemFile: s.ColumnInt64(9), hold: s.ColumnInt64(10), reason: s.ColumnInt64(11)}
		}},
		{"SELECT id, name, recipient, state, sha256, plain_digest, sequence, records FROM bureau_files", func(s *sqlite.Stmt) {
			r.outgoing[s.ColumnInt64(0)] = outgoingRow{id: s.ColumnInt64(0), name: s.ColumnText(1), recipient: s.ColumnText(2), state: s.ColumnText(3), sha: s.ColumnText(4),
				digest: s.ColumnText(5), sequence: s.ColumnInt64(6), records: s.ColumnInt64(7)}
		}},
		{"SELECT id, name, bureau, state, digest, records, coalesce(bureau_file_id, 0) FROM holds", func(s *sqlite.Stmt) {
			r.holds[s.ColumnInt64(0)] = holdRow{id: s.ColumnInt64(0), name: s.ColumnText(1), bureau: s.ColumnText(2), state: s.ColumnText(3), digest: s.ColumnText(4),
				records: s.ColumnInt64(5), file: s.ColumnInt64(6)}
		}},
		{"SELECT id, name, state, code, final, rows, holds_pan, claimed_at FROM request_files WHERE extract = 0", func(s *sqlite.Stmt) {
			r.requests[s.ColumnInt64(0)] = requestRow{id: s.ColumnInt64(0), name: s.ColumnText(1), state: s.ColumnText(2), code: s.ColumnText(3), final: s.ColumnText(4),
				rows: s.ColumnInt64(5), holdsPAN: s.ColumnInt64(6), claimed: time.UnixMilli(s.ColumnInt64(7)).UTC()}
		}},
		{"SELECT id, outcome, code, submitter, reference, coalesce(order_id, 0) FROM answers", func(s *sqlite.Stmt) {
			id := s.ColumnInt64(0)
			r.answers[id] = answerRow{file: id >> 32, pos: id & (1<<32 - 1), outcome: s.ColumnText(1), code: s.ColumnText(2), submitter: s.ColumnText(3), reference: s.ColumnText(4), order: s.ColumnInt64(5)}
		}},
		{"SELECT id, status, start_date, cvk_ref, printed_name, psn, expiry, validity_months, successor, customer_id FROM cards", func(s *sqlite.Stmt) {
			r.cards[s.ColumnInt64(0)] = cardRow{status: s.ColumnText(1), start: s.ColumnText(2), cvk: s.ColumnText(3), name: s.ColumnText(4),
				psn: s.ColumnInt64(5), expiry: s.ColumnInt64(6), validity: s.ColumnInt64(7), successor: s.ColumnInt64(8), customer: s.ColumnText(9)}
		}},
		{"SELECT what, hash FROM audit ORDER BY seq", func(s *sqlite.Stmt) { r.audit = append(r.audit, auditRow{s.ColumnText(0), s.ColumnText(1)}) }},
		{"SELECT count(*) FROM events WHERE dispute <> '' AND settled_at IS NULL", func(s *sqlite.Stmt) { r.disputes = s.ColumnInt64(0) }},
		{"SELECT order_id FROM events WHERE dispute <> '' AND settled_at IS NULL AND order_id IS NOT NULL", func(s *sqlite.Stmt) { r.disputed[s.ColumnInt64(0)] = true }},
	} {
		err := sqlitex.Execute(conn, q.sql, &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error { q.row(s); return nil }})
		if err != nil {
			b.Fatal(err)
		}
	}
	return r
}

// outgoingNamed finds an outgoing file; the zero row for none.
func (r *rows) outgoingNamed(name string) outgoingRow {
	for _, f := range r.outgoing {
		if f.name == name {
			return f
		}
	}
	return outgoingRow{}
}
