package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

// FileBalances counts orders, events and moves, each in one pass over an index
// that has all of it.
func (l *Ledger) FileBalances(ctx context.Context) (map[int64]ledger.FileBalance, error) {
	balances := map[int64]*ledger.FileBalance{}
	count := func(r *row, add func(*ledger.FileBalance)) error {
		if b := balances[r.int()]; b != nil {
			add(b)
		}
		return nil
	}
	err := l.read(ctx, "count the cards of the outgoing files", func(conn *sqlite.Conn) error {
		if err := each(conn, "SELECT id, records FROM bureau_files WHERE "+ofBureaus, nil, func(r *row) error {
			id := r.int()
			balances[id] = &ledger.FileBalance{FileID: id, Records: r.int(), ByState: map[ledger.OrderState]int64{}}
			return nil
		}); err != nil {
			return err
		}
		return errors.Join(
			each(conn, countStates, nil, func(r *row) error {
				return count(r, func(b *ledger.FileBalance) {
					state, n := ledger.OrderState(r.text()), r.int()
					b.ByState[state] = n
					b.Orders += n
				})
			}),
			each(conn, sumPostings, nil, func(r *row) error {
				return count(r, func(b *ledger.FileBalance) { b.Acknowledged, b.Rejected = r.int(), r.int() })
			}),
			each(conn, countMoves, nil, func(r *row) error {
				return count(r, func(b *ledger.FileBalance) { b.Moved = r.int() })
			}),
		)
	})
	if err != nil {
		return nil, err
	}
	counted := make(map[int64]ledger.FileBalance, len(balances))
	for id, b := range balances {
		b.Outstanding = b.ByState[ledger.SentO] + b.ByState[ledger.PlannedO]
		counted[id] = *b
	}
	return counted, nil
}

// Differing looks up the newest event of each order of the file.
func (l *Ledger) Differing(ctx context.Context, fileID int64) (differing int64, err error) {
	err = l.read(ctx, fmt.Sprintf("compare orders and events of outgoing file %d", fileID), func(conn *sqlite.Conn) error {
		return each(conn, `SELECT o.state, (SELECT e.state FROM events e WHERE e.order_id = o.id AND e.state <> '' ORDER BY e.id DESC LIMIT 1)
			FROM orders o WHERE o.bureau_file_id = ?`, []any{fileID}, func(r *row) error {
			if state, made := r.text(), r.text(); state != made && !(unanswered(state) && (made == "" || unanswered(made))) {
				differing++
			}
			return nil
		})
	})
	return differing, err
}

// unanswered says that an order in this state is so by its file, whatever was told of it.
func unanswered(state string) bool { return openState(state) || state == string(ledger.SentO) }

// Totals counts orders and steps of files, each over an index that has all of it.
func (l *Ledger) Totals(ctx context.Context) (t ledger.Totals, err error) {
	err = l.read(ctx, "count all orders and files", func(conn *sqlite.Conn) error {
		for _, count := range []struct {
			n   *int64
			sql string
		}{
			{&t.Orders, "SELECT count(*) FROM orders"},
			{&t.InFiles, "SELECT coalesce(sum(n), 0) FROM (" + countInFiles + ") g JOIN bureau_files f ON f.id = g.bureau_file_id AND f." + ofBureaus},
			{&t.InNone, `SELECT (SELECT count(*) FROM orders INDEXED BY orders_queued WHERE state = 'QUEUED' AND hold_id IS NULL AND bureau_file_id IS NULL) +
				(SELECT count(*) FROM orders INDEXED BY orders_in_hold WHERE hold_id IS NOT NULL AND state = 'QUEUED' AND bureau_file_id IS NULL)`},
			{&t.Cancelled, "SELECT count(*) FROM orders INDEXED BY orders_in_hold WHERE hold_id IS NOT NULL AND state = 'CANCELLED'"},
			{&t.StateStrangers, `SELECT count(*) FROM bureau_files f
				WHERE f.state <> coalesce((SELECT d.state FROM deliveries d WHERE d.file = f.id ORDER BY d.id DESC LIMIT 1), 'PLANNED')`},
		} {
			if _, err := one(conn, count.sql, nil, func(r *row) { *count.n = r.int() }); err != nil {
				return err
			}
		}
		return nil
	})
	return t, err
}

// NightCounts goes once through the answers of each run's request files.
func (l *Ledger) NightCounts(ctx context.Context, since time.Time) (map[string]ledger.OutcomeCounts, error) {
	counts := map[string]ledger.OutcomeCounts{}
	err := l.read(ctx, "count the answers of the last runs", func(conn *sqlite.Conn) error {
		return each(conn, `SELECT r.id, r.seq, fr.file FROM runs r JOIN file_runs fr ON fr.run = r.seq
			WHERE r.started_at >= ? AND r.ended_at IS NOT NULL`, []any{since}, func(r *row) error {
			id, run, file := r.text(), r.int(), r.int()
			c := counts[id]
			_, err := one(conn, countOutcomes, []any{answerID(file, 0), answerID(file+1, 0), run}, func(r *row) {
				c.Read, c.Accepted, c.Refused, c.Duplicate, c.Held = c.Read+r.int(), c.Accepted+r.int(), c.Refused+r.int(), c.Duplicate+r.int(), c.Held+r.int()
			})
			if c.Read > 0 {
				counts[id] = c
			}
			return err
		})
	})
	return counts, err
}

// DisputesByReturn counts over the few that wait.
func (l *Ledger) DisputesByReturn(ctx context.Context) (map[int64]int64, error) {
	counts := map[int64]int64{}
	err := l.read(ctx, "count the disputed events by return file", func(conn *sqlite.Conn) error {
		return each(conn, "SELECT return_file FROM events INDEXED BY events_disputed WHERE dispute <> '' AND settled_at IS NULL", nil, func(r *row) error {
			counts[r.int()]++
			return nil
		})
	})
	return counts, err
}

// FilesAnswered goes through the events of files as a whole, which are few.
func (l *Ledger) FilesAnswered(ctx context.Context, runID string) (files []int64, err error) {
	err = l.read(ctx, "read which files were answered in run "+runID, func(conn *sqlite.Conn) error {
		run, err := namedRun(conn, runID)
		if err != nil {
			return err
		}
		return each(conn, "SELECT DISTINCT bureau_file_id FROM events INDEXED BY events_of_file WHERE order_id IS NULL AND run = ? ORDER BY bureau_file_id", []any{run}, func(r *row) error {
			files = append(files, r.int())
			return nil
		})
	})
	return files, err
}

const (
	// ofBureaus leaves out the files of the reserved recipients, whose orders are in a bureau's file too.
	ofBureaus    = "recipient NOT IN ('" + config.CardSystem + "', '" + config.PINRecipient + "')"
	countStates  = "SELECT bureau_file_id, state, count(*) FROM orders INDEXED BY orders_by_state WHERE bureau_file_id IS NOT NULL GROUP BY bureau_file_id, state"
	sumPostings  = "SELECT bureau_file_id, sum(acked), sum(rejected) FROM events INDEXED BY events_postings WHERE acked <> 0 OR rejected <> 0 GROUP BY bureau_file_id"
	countInFiles = "SELECT bureau_file_id, count(*) AS n FROM orders INDEXED BY orders_by_state WHERE bureau_file_id IS NOT NULL GROUP BY bureau_file_id"
	// Of one run and file. Without GROUP BY nothing is sorted.
	countOutcomes = `SELECT count(*), sum(outcome = 'accepted'), sum(outcome = 'refused'), sum(outcome = 'duplicate'), sum(outcome = 'held')
		FROM answers WHERE id >= ? AND id < ? AND run = ?`
	countMoves = "SELECT m.from_file, count(*) FROM order_moves m JOIN orders o ON o.id = m.order_id WHERE o.bureau_file_id IS NOT m.from_file GROUP BY m.from_file"
)

// EachUnderWay goes through the files in the order in which they were sent.
func (l *Ledger) EachUnderWay(ctx context.Context, states []ledger.OrderState, fn func(o *ledger.Order, since time.Time) error) error {
	return l.stream(ctx, "read the orders under way", func(conn *sqlite.Conn) error {
		readers, err := l.newStateReaders(conn, states)
		if err != nil {
			return err
		}
		defer func() {
			for _, s := range readers {
				_ = s.stmt.Finalize()
			}
		}()
		return each(conn, "SELECT id FROM bureau_files WHERE "+ofBureaus+" ORDER BY sent_at, id", nil, func(r *row) error {
			return mergeStates(readers, r.int(), fn)
		})
	})
}

// stateReader gives the orders of one state of a file, by uid.
type stateReader struct {
	ledger *Ledger
	runs   runNames
	stmt   *sqlite.Stmt
	order  *ledger.Order // next one, nil after the last
	since  time.Time
}

// newStateReaders makes a statement of its own for each state: together they
// give the orders of a file by uid without sorting them.
func (l *Ledger) newStateReaders(conn *sqlite.Conn, states []ledger.OrderState) (readers []*stateReader, err error) {
	runs := newRunNames(conn)
	wanted := slices.Clone(states)
	slices.Sort(wanted)
	for _, state := range slices.Compact(wanted) {
		stmt, _, err := conn.PrepareTransient(`SELECT coalesce((SELECT e.at FROM events e WHERE e.order_id = o.id AND e.state = o.state ORDER BY e.id DESC LIMIT 1), o.closed_at), ` +
			shortOrderColumns + ` FROM orders o INDEXED BY orders_by_state` + orderTables + ` WHERE o.bureau_file_id = ? AND o.state = ? ORDER BY o.uid`)
		if err != nil {
			for _, s := range readers {
				_ = s.stmt.Finalize()
			}
			return nil, err
		}
		stmt.BindText(2, string(state))
		readers = append(readers, &stateReader{ledger: l, runs: runs, stmt: stmt})
	}
	return readers, nil
}

// next steps to the next order.
func (s *stateReader) next() error {
	s.order = nil
	found, err := s.stmt.Step()
	if err != nil || !found {
		return err
	}
	r := &row{stmt: s.stmt}
	s.since = r.time()
	if s.order, err = s.ledger.scanOrder(r, s.runs); err != nil {
		return err
	}
	switch s.order.State {
	case ledger.SentO, ledger.PlannedO:
		s.since = s.order.SentAt
	}
	return nil
}

func mergeStates(readers []*stateReader, file int64, fn func(*ledger.Order, time.Time) error) error {
	for _, s := range readers {
		if err := s.stmt.Reset(); err != nil {
			return err
		}
		s.stmt.BindInt64(1, file)
		if err := s.next(); err != nil {
			return err
		}
	}
	for {
		var first *stateReader
		for _, s := range readers {
			if s.order != nil && (first == nil || s.order.UID < first.order.UID) {
				first = s
			}
		}
		if first == nil {
			return nil
		}
		if err := fn(first.order, first.since); err != nil {
			return callback(err)
		}
		if err := first.next(); err != nil {
			return err
		}
	}
}

// EachEvent gives the events of orders that became known in a run.
func (l *Ledger) EachEvent(ctx context.Context, runID string, fn func(*ledger.ToldEvent) error) error {
	return l.stream(ctx, "read the events of run "+runID, func(conn *sqlite.Conn) error {
		run, err := namedRun(conn, runID)
		if err != nil {
			return err
		}
		runs := newRunNames(conn)
		return each(conn, "SELECT o.uid, "+eventColumns+", c.id, c.program_id, c.account_id, c.customer_id, c.status, "+shortOrderColumns+
			" FROM events e INDEXED BY events_of_run JOIN orders o ON o.id = e.order_id"+orderTables+
			" LEFT JOIN cards c ON c.id = o.embossed_card_id WHERE e.run = ? ORDER BY e.id", []any{run}, func(r *row) error {
			told, err := l.scanTold(r, runs)
			if err != nil {
				return err
			}
			return callback(fn(told))
		})
	})
}

func (l *Ledger) scanTold(r *row, runs runNames) (told *ledger.ToldEvent, err error) {
	told = &ledger.ToldEvent{}
	if told.Event, err = scanEvent(r, r.text(), runs); err != nil {
		return nil, err
	}
	known := !r.null()
	card := &ledger.CardFacts{ID: r.int(), ProgramID: r.text(), AccountID: r.text(), CustomerID: r.text(), Status: r.text()}
	if known {
		told.Card = card
	}
	told.Order, err = l.scanOrder(r, runs)
	return told, err
}

// EventTallies counts in one pass over the rows, as tallies does. The bureau is
// the order's: an event may have come while its order was in no file.
func (l *Ledger) EventTallies(ctx context.Context, runID string) (tallies []ledger.EventTally, err error) {
	counts := map[ledger.EventTally]*ledger.EventTally{}
	err = l.read(ctx, "count the events of run "+runID, func(conn *sqlite.Conn) error {
		run, err := namedRun(conn, runID)
		if err != nil {
			return err
		}
		return each(conn, `SELECT o.bureau, e.status, e.code, e.dispute <> '', e.acked FROM events e INDEXED BY events_of_run
			JOIN orders o ON o.id = e.order_id WHERE e.run = ?`, []any{run}, func(r *row) error {
			key := ledger.EventTally{Bureau: r.text(), Status: r.text(), Code: r.text(), Disputed: r.bool()}
			t := counts[key]
			if t == nil {
				t = &ledger.EventTally{Bureau: key.Bureau, Status: key.Status, Code: key.Code, Disputed: key.Disputed}
				counts[key] = t
			}
			t.N++
			t.Acked += r.int()
			return nil
		})
	})
	for _, t := range counts {
		tallies = append(tallies, *t)
	}
	return tallies, err
}
