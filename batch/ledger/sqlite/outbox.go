package sqlite

import (
	"context"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
)

// Enqueue stores events that were never stored before.
func (l *Ledger) Enqueue(ctx context.Context, events []ledger.OutboxEvent, at time.Time) (added int64, err error) {
	err = l.write(ctx, "store events for the webhook", func(conn *sqlite.Conn) error {
		added = 0
		stmt, err := conn.Prepare("INSERT INTO outbox (id, run, body, attempts, stored_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING")
		if err != nil {
			return err
		}
		for i := range events {
			e := &events[i]
			seq, err := runSeq(conn, e.RunID)
			if err != nil {
				return err
			}
			b := binder{stmt: stmt}
			b.text(e.ID)
			b.key(seq)
			b.blob(e.Body)
			b.int(int64(e.Attempts))
			b.time(at)
			changed, err := run(conn, stmt)
			if err != nil {
				return fmt.Errorf("event %s: %w", e.ID, err)
			}
			added += int64(changed)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return added, nil
}

// Pending gives events that no webhook took yet.
func (l *Ledger) Pending(ctx context.Context, after string, limit int) (events []ledger.OutboxEvent, err error) {
	if limit <= 0 {
		limit = -1 // all
	}
	err = l.read(ctx, "read the events for the webhook", func(conn *sqlite.Conn) error {
		begin := int64(0)
		if after != "" {
			found, err := one(conn, "SELECT seq FROM outbox WHERE id = ?", []any{after}, func(r *row) { begin = r.int() })
			if err == nil && !found {
				err = fmt.Errorf("event %s: %w", after, ledger.ErrNotFound)
			}
			if err != nil {
				return err
			}
		}
		runs := newRunNames(conn)
		return each(conn, "SELECT id, run, body, attempts FROM outbox WHERE delivered_at IS NULL AND seq > ? ORDER BY seq LIMIT ?", []any{begin, int64(limit)}, func(r *row) (err error) {
			e := ledger.OutboxEvent{ID: r.text()}
			if e.RunID, err = runs.id(r.int()); err != nil {
				return err
			}
			e.Body, e.Attempts = r.blob(), int(r.int())
			events = append(events, e)
			return nil
		})
	})
	return events, err
}

// CountPending counts them.
func (l *Ledger) CountPending(ctx context.Context) (n int64, err error) {
	err = l.read(ctx, "count the events for the webhook", func(conn *sqlite.Conn) error {
		_, err := one(conn, "SELECT count(*) FROM outbox WHERE delivered_at IS NULL", nil, func(r *row) { n = r.int() })
		return err
	})
	return n, err
}

// Delivered takes events out of the queue; of one that left it before, nothing changes.
func (l *Ledger) Delivered(ctx context.Context, ids []string, at time.Time) error {
	return l.write(ctx, "take delivered events out of the queue", func(conn *sqlite.Conn) error {
		return eachID(ids, func(id string) (int, error) {
			return exec(conn, "UPDATE outbox SET delivered_at = coalesce(delivered_at, ?), body = NULL, last_error = '' WHERE id = ?", at, id)
		})
	})
}

// NotDelivered keeps why an attempt failed.
func (l *Ledger) NotDelivered(ctx context.Context, ids []string, at time.Time, why string) error {
	return l.write(ctx, "count an attempt to deliver events", func(conn *sqlite.Conn) error {
		return eachID(ids, func(id string) (int, error) {
			return exec(conn, "UPDATE outbox SET attempts = attempts + 1, tried_at = ?, last_error = ? WHERE id = ?", at, why, id)
		})
	})
}

func eachID(ids []string, change func(id string) (int, error)) error {
	for _, id := range ids {
		changed, err := change(id)
		if err == nil && changed == 0 {
			err = fmt.Errorf("event %s: %w", id, ledger.ErrNotFound)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
