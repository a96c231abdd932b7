package sqlite

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
)

// appendAudit links an entry to the chain, in the transaction of the act that
// it tells of. nil is no entry.
func appendAudit(conn *sqlite.Conn, e *ledger.AuditEntry) error {
	if e == nil {
		return nil
	}
	chain, err := auditHead(conn)
	if err != nil {
		return err
	}
	linked := chain.Link(*e)
	if _, err := exec(conn, "INSERT INTO audit (seq, at, who, what, subject, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
		linked.Seq, linked.At.UnixMilli(), linked.Who, linked.What, linked.Subject, linked.Detail, linked.Hash); err != nil {
		return fmt.Errorf("append to the audit chain: %w", err)
	}
	_, err = exec(conn, "UPDATE audit_head SET seq = ?, hash = ?", linked.Seq, linked.Hash)
	return err
}

func auditHead(conn *sqlite.Conn) (head ledger.Chain, err error) {
	found, err := one(conn, "SELECT seq, hash FROM audit_head", nil, func(r *row) { head = ledger.Chain{Seq: r.int(), Hash: r.text()} })
	if err == nil && !found {
		err = fmt.Errorf("%w: the record of its newest entry is gone", ledger.ErrAuditBroken)
	}
	return head, err
}

// Append adds one entry.
func (l *Ledger) Append(ctx context.Context, e ledger.AuditEntry) error {
	return l.write(ctx, "append to the audit chain", func(conn *sqlite.Conn) error { return appendAudit(conn, &e) })
}

// EachAudit gives the entries in order.
func (l *Ledger) EachAudit(ctx context.Context, fn func(ledger.AuditEntry) error) error {
	return l.stream(ctx, "read the audit chain", func(conn *sqlite.Conn) error { return eachAudit(conn, fn) })
}

func eachAudit(conn *sqlite.Conn, fn func(ledger.AuditEntry) error) error {
	return each(conn, "SELECT seq, at, who, what, subject, detail, hash FROM audit ORDER BY seq", nil, func(r *row) error {
		return callback(fn(ledger.AuditEntry{Seq: r.int(), At: r.time(), Who: r.text(), What: r.text(), Subject: r.text(), Detail: r.text(), Hash: r.text()}))
	})
}

// AuditHead reads the record of the newest entry.
func (l *Ledger) AuditHead(ctx context.Context) (head ledger.Chain, err error) {
	err = l.read(ctx, "read the head of the audit chain", func(conn *sqlite.Conn) error {
		head, err = auditHead(conn)
		return err
	})
	return head, err
}

// VerifyAudit recomputes the chain from its first entry.
func (l *Ledger) VerifyAudit(ctx context.Context) error {
	return l.read(ctx, "verify the audit chain", func(conn *sqlite.Conn) error {
		head, err := auditHead(conn)
		if err != nil {
			return err
		}
		var chain ledger.Chain
		if err := eachAudit(conn, func(e ledger.AuditEntry) error { return chain.Check(e) }); err != nil {
			return err
		}
		if chain.Seq < head.Seq {
			return fmt.Errorf("%w: entry %d is missing (the newest that was recorded is entry %d)", ledger.ErrAuditBroken, chain.Seq+1, head.Seq)
		}
		if chain != head {
			return fmt.Errorf("%w: entry %d is not the newest that was recorded", ledger.ErrAuditBroken, chain.Seq)
		}
		return nil
	})
}
