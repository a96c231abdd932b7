package sqlite

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
	"reemboss/formats/extract"
)

// exitStopped is the exit code of a run that ended before its end (files.md).
const exitStopped = 5

// Restore prepares a ledger from a backup.
func (l *Ledger) Restore(ctx context.Context, r ledger.Restoration) (id int64, err error) {
	err = l.write(ctx, "restore the ledger", func(conn *sqlite.Conn) error {
		if r.At.IsZero() || r.Who == "" || r.PSNs < 0 {
			return fmt.Errorf("a restoration has a time, a person and no negative number of PSNs (%v, %q, %d)", r.At, r.Who, r.PSNs)
		}
		if _, err := exec(conn, "INSERT INTO restorations (at, who, reason, backup_at, psns, replaced_seq, replaced_hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
			r.At, r.Who, r.Reason, r.BackupAt, r.PSNs, r.Replaced.Seq, r.Replaced.Hash); err != nil {
			return err
		}
		id = conn.LastInsertRowID()
		for _, step := range []func(*sqlite.Conn, *ledger.Restoration, int64) error{endRun, skipNumbers, skipPSNs, undecide, holdAgain, settleIntake, pinsDue} {
			if err := step(conn, &r, id); err != nil {
				return err
			}
		}
		return appendAudit(conn, &r.Entry)
	})
	return id, err
}

// endRun ends the run in whose middle the backup was made: it went on under its id, and another night must not.
func endRun(conn *sqlite.Conn, r *ledger.Restoration, _ int64) error {
	_, err := exec(conn, "UPDATE runs SET ended_at = ?, exit = ? WHERE ended_at IS NULL", r.At, int64(exitStopped))
	return err
}

// skipNumbers raises the counters and records what they passed over. "begun"
// only mirrors a sequence, and "run/<date>" is set for the first time: neither skips a number of its own.
func skipNumbers(conn *sqlite.Conn, r *ledger.Restoration, id int64) error {
	for _, name := range slices.Sorted(maps.Keys(r.Counters)) {
		value, err := counter(conn, name)
		if err != nil {
			return err
		}
		to := r.Counters[name]
		if to <= value {
			continue
		}
		if err := advance(conn, ledger.Advance{Counter: name, From: value, To: to}); err != nil {
			return err
		}
		if _, err := exec(conn, "INSERT INTO skipped_numbers (restoration, counter, first, last) VALUES (?, ?, ?, ?)", id, name, value+1, to); err != nil {
			return err
		}
	}
	return nil
}

// skipPSNs notes for every card which PSNs its number must not get, from that of
// its highest plastic on: an extract may have set the card's back. What an earlier
// restoration passed over stays passed over.
func skipPSNs(conn *sqlite.Conn, r *ledger.Restoration, _ int64) error {
	if r.PSNs == 0 {
		return nil
	}
	_, err := exec(conn, `INSERT INTO skipped_psns (card_id, psn, skip) SELECT id, max(psn, coalesce((SELECT max(b.psn) FROM orders o INDEXED BY orders_of_card JOIN order_bodies b ON b.id = o.id
			WHERE o.embossed_card_id = cards.id AND o.state <> 'CANCELLED'), 0)), ? FROM cards WHERE pan_index IS NOT NULL
		ON CONFLICT (card_id) DO UPDATE SET psn = max(skipped_psns.psn + skipped_psns.skip, excluded.psn), skip = excluded.skip`, r.PSNs)
	return err
}

// skipPSNsOf notes for a card that comes first after restorations which PSNs its number must not get: a lost night may
// have known it and reissued it. One that began after them, no lost night knew.
func skipPSNsOf(conn *sqlite.Conn, c *extract.Card) error {
	_, err := exec(conn, `INSERT INTO skipped_psns (card_id, psn, skip) SELECT ?1, ?2, sum(psns) FROM restorations WHERE ?3 IS NULL OR at >= ?3 HAVING sum(psns) > 0
		ON CONFLICT (card_id) DO NOTHING`, c.ID, int64(c.PSN), c.StartDate)
	return err
}

// passedOver adds to the PSNs of a number's cards those that its lost cards may
// have: after the highest one in use then, as many as all its cards together may have got.
func passedOver(conn *sqlite.Conn, psns []int, cards []int64) ([]int, error) {
	var highest, skip int64
	for _, card := range cards {
		if _, err := one(conn, "SELECT psn, skip FROM skipped_psns WHERE card_id = ?", []any{card}, func(r *row) {
			highest = max(highest, r.int())
			skip += r.int()
		}); err != nil {
			return nil, err
		}
	}
	if skip == 0 {
		return psns, nil
	}
	for psn := int64(0); psn <= min(highest+skip, maxPSN); psn++ {
		psns = append(psns, int(psn))
	}
	return psns, nil
}

// maxPSN is the last card sequence number (EMV 5F34, two digits).
const maxPSN = 99

// undecide puts every outgoing file whose arrival is not known to a person: a lost night may have sent it.
func undecide(conn *sqlite.Conn, r *ledger.Restoration, _ int64) error {
	const open = "state IN ('PLANNED', 'WRITTEN', 'INTENT', 'UPLOADED', 'RENAMING')"
	if _, err := exec(conn, `INSERT INTO deliveries (file, run, at, state, error, reason)
		SELECT id, (SELECT max(seq) FROM runs), ?1, 'UNDECIDED', ?2, 'the ledger was restored' FROM bureau_files WHERE `+open+" ORDER BY id", r.At, r.Trouble); err != nil {
		return err
	}
	_, err := exec(conn, "UPDATE bureau_files SET state = 'UNDECIDED', last_error = ? WHERE "+open, r.Trouble)
	return err
}

// holdAgain takes back what was approved and is in no file: it may be in one that a lost night made.
func holdAgain(conn *sqlite.Conn, _ *ledger.Restoration, _ int64) error {
	_, err := exec(conn, `UPDATE holds SET state = 'HELD', restored = 1, decided_at = NULL, decided_run = NULL, decided_by = '', how = '', reason = ''
		WHERE state <> 'CANCELLED' AND bureau_file_id IS NULL`)
	return err
}

func settleIntake(conn *sqlite.Conn, r *ledger.Restoration, _ int64) error {
	for _, set := range []struct {
		state ledger.FileState
		files []int64
	}{{ledger.Doubtful, r.Doubtful}, {ledger.Answered, r.Done}} {
		for _, file := range set.files {
			changed, err := exec(conn, "UPDATE request_files SET state = ? WHERE id = ? AND state <> 'ANSWERED'", string(set.state), file)
			if err == nil && changed == 0 {
				err = fmt.Errorf("request file %d: %w", file, ledger.ErrNotFound)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// pinsDue: a lost night may have made the PINs of cards that are in a bureau's file. A second PIN would make the first one wrong.
func pinsDue(conn *sqlite.Conn, _ *ledger.Restoration, _ int64) error {
	_, err := exec(conn, "UPDATE OR ROLLBACK orders SET new_pin = 'due' WHERE new_pin = 'file' AND bureau_file_id IS NOT NULL AND pin_file_id IS NULL")
	return err
}

// keepMade leaves the cards of a restored hold as its orders made them, and notes that each is in the mail: the guard
// against a second card counts from the decision, for nobody knows better.
func keepMade(conn *sqlite.Conn, d *ledger.HoldDecision) error {
	restored := false
	if _, err := one(conn, "SELECT restored FROM holds WHERE id = ?", []any{d.HoldID}, func(r *row) { restored = r.bool() }); err != nil {
		return err
	}
	if !restored {
		return fmt.Errorf("%w: no restoration made this hold, and nobody but the next run makes its cards", ledger.ErrConflict)
	}
	_, err := exec(conn, "UPDATE cards SET shipment_status = 'SENT', shipped_at = ?2, shipment_closed_at = NULL, decided = decided | ?3, updated_at = ?2 WHERE id IN (SELECT embossed_card_id FROM orders WHERE id IN ("+ordersOf+"))",
		d.HoldID, d.At, int64(ledger.DecidedShipment))
	return err
}

// Restorations reads what was restored.
func (l *Ledger) Restorations(ctx context.Context) (list []ledger.Restoration, err error) {
	err = l.read(ctx, "read the restorations", func(conn *sqlite.Conn) error {
		if err := each(conn, "SELECT id, at, who, reason, backup_at, psns, replaced_seq, replaced_hash FROM restorations ORDER BY id", nil, func(r *row) error {
			list = append(list, ledger.Restoration{ID: r.int(), At: r.time(), Who: r.text(), Reason: r.text(), BackupAt: r.time(), PSNs: r.int(),
				Replaced: ledger.Chain{Seq: r.int(), Hash: r.text()}})
			return nil
		}); err != nil {
			return err
		}
		for i := range list {
			if err := each(conn, "SELECT counter, first, last FROM skipped_numbers WHERE restoration = ? ORDER BY counter", []any{list[i].ID}, func(r *row) error {
				list[i].Skipped = append(list[i].Skipped, ledger.Skipped{Counter: r.text(), First: r.int(), Last: r.int()})
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// AuditAt reads one entry's number and hash.
func (l *Ledger) AuditAt(ctx context.Context, seq int64) (at ledger.Chain, err error) {
	err = l.read(ctx, fmt.Sprintf("read entry %d of the audit chain", seq), func(conn *sqlite.Conn) error {
		found, err := one(conn, "SELECT seq, hash FROM audit WHERE seq = ?", []any{seq}, func(r *row) { at = ledger.Chain{Seq: r.int(), Hash: r.text()} })
		if err == nil && !found {
			err = ledger.ErrNotFound
		}
		return err
	})
	return at, err
}
