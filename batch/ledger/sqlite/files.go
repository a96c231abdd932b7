package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

const bureauFileColumns = `f.id, f.recipient, f.sequence, f.name, f.state, coalesce((SELECT id FROM runs WHERE seq = f.run), ''), f.planned_at, f.records,
	(SELECT id FROM holds WHERE bureau_file_id = f.id),
	f.layout, f.layout_text, f.head, f.plain_digest, f.recipient_key, f.signing_key, f.size, f.sha256, f.written_at, f.sent_at,
	coalesce((SELECT id FROM runs WHERE seq = f.sent_run), ''), f.evidence, f.last_error`

func scanBureauFile(r *row) ledger.BureauFile {
	return ledger.BureauFile{
		ID: r.int(), Recipient: r.text(), Sequence: r.int(), Name: r.text(), State: ledger.BureauFileState(r.text()), RunID: r.text(),
		PlannedAt: r.time(), Records: r.int(), HoldID: r.int(), Layout: r.text(), LayoutText: r.blob(), Head: r.blob(), PlainDigest: r.text(),
		RecipientKey: r.text(), SigningKey: r.text(), Size: r.int(), SHA256: r.text(), WrittenAt: r.time(), SentAt: r.time(),
		SentRunID: r.text(), Evidence: r.blob(), LastError: r.text(),
	}
}

// PlanFile takes the recipient's next number and the first orders of its queue.
func (l *Ledger) PlanFile(ctx context.Context, p ledger.Plan) (id int64, err error) {
	f := &p.File
	err = l.write(ctx, "plan the file "+f.Name, func(conn *sqlite.Conn) error {
		run, err := runSeq(conn, f.RunID)
		if err != nil {
			return err
		}
		if err := advance(conn, ledger.Advance{Counter: "sequence/" + f.Recipient, From: f.Sequence - 1, To: f.Sequence}); err != nil {
			return err
		}
		if id, err = insertPlan(conn, f, run); err != nil {
			return err
		}
		if f.HoldID != 0 {
			err = takeHeld(conn, f, id)
		} else {
			err = takeQueued(conn, f, id)
		}
		if err == nil {
			err = forgetBefore(conn, id)
		}
		if err != nil {
			return err
		}
		return appendAudit(conn, &p.Entry)
	})
	return id, err
}

func insertPlan(conn *sqlite.Conn, f *ledger.BureauFile, run int64) (int64, error) {
	if f.Records < 1 || f.Sequence < 1 || f.Name == "" || f.Recipient == "" {
		return 0, fmt.Errorf("a plan has a recipient, a name, a number from 1 and at least one record (%q, %q, %d, %d)", f.Recipient, f.Name, f.Sequence, f.Records)
	}
	_, err := exec(conn, `INSERT INTO bureau_files (recipient, sequence, name, state, run, planned_at, records, layout, layout_text, head, plain_digest, recipient_key, signing_key)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		f.Recipient, f.Sequence, f.Name, string(ledger.Planned), key(run), f.PlannedAt, f.Records,
		f.Layout, f.LayoutText, f.Head, f.PlainDigest, f.RecipientKey, f.SigningKey)
	if violated(err) {
		err = fmt.Errorf("%w: the name, or the number %d of %s, was used before", ledger.ErrConflict, f.Sequence, f.Recipient)
	}
	return conn.LastInsertRowID(), err
}

// takeHeld puts the orders of an approved hold into the file. OR ROLLBACK as in takeQueued.
func takeHeld(conn *sqlite.Conn, f *ledger.BureauFile, id int64) error {
	changed, err := exec(conn, "UPDATE holds SET bureau_file_id = ? WHERE id = ? AND bureau = ? AND state = 'APPROVED' AND bureau_file_id IS NULL", id, f.HoldID, f.Recipient)
	if err == nil && changed == 0 {
		err = fmt.Errorf("%w: the hold is not approved, or in a file already", ledger.ErrConflict)
	}
	if err != nil {
		return err
	}
	taken, err := exec(conn, `UPDATE OR ROLLBACK orders SET state = 'PLANNED', bureau_file_id = ?, hold_id = NULL
		WHERE id IN (SELECT id FROM orders INDEXED BY orders_in_hold WHERE hold_id = ? AND state = 'QUEUED')`, id, f.HoldID)
	if err == nil && int64(taken) != f.Records {
		err = fmt.Errorf("%w: the hold has %d orders, the plan has %d", ledger.ErrConflict, taken, f.Records)
	}
	return err
}

// takeQueued puts the first orders of the queue into the file. OR ROLLBACK
// (nothing of the plan would stay anyway) spares SQLite from keeping, in memory,
// what a failed update would have to put back.
func takeQueued(conn *sqlite.Conn, f *ledger.BureauFile, id int64) error {
	set := "state = 'PLANNED', bureau_file_id = ?"
	switch f.Recipient {
	case config.CardSystem:
		set = "card_system_file_id = ?"
	case config.PINRecipient:
		set = "pin_file_id = ?"
	}
	chosen := "SELECT o.id" + fmt.Sprintf(queuedOrders(f.Recipient), "")
	taken, err := exec(conn, "UPDATE OR ROLLBACK orders SET "+set+" WHERE id IN ("+chosen+")", append([]any{id}, queueArgs(f.Recipient, f.Records)...)...)
	if err == nil && int64(taken) != f.Records {
		err = fmt.Errorf("%w: %d orders are queued for %s, the plan has %d", ledger.ErrConflict, taken, f.Recipient, f.Records)
	}
	return err
}

// ChangeFile moves a file on.
func (l *Ledger) ChangeFile(ctx context.Context, c ledger.FileChange) error {
	return l.write(ctx, fmt.Sprintf("move outgoing file %d to %s", c.FileID, c.To), func(conn *sqlite.Conn) error {
		run, err := runSeq(conn, c.RunID)
		if err != nil {
			return err
		}
		switch {
		case c.To == ledger.Void:
			return errors.New("a file becomes VOID by being cancelled")
		case c.To == ledger.Refused && slices.Contains(c.From, ledger.Sent):
			return errors.New("a file that is SENT becomes REFUSED by its bureau's answer")
		}
		return changeFile(conn, &c, run)
	})
}

// changeFile is one step of a file, with all that belongs to it.
func changeFile(conn *sqlite.Conn, c *ledger.FileChange, run int64) error {
	if err := checkStep(conn, c); err != nil {
		return err
	}
	var err error
	switch c.To {
	case ledger.Intent, ledger.Sent:
		err = begun(conn, c.FileID)
	}
	if err != nil {
		return err
	}
	switch c.To {
	case ledger.Written:
		err = storeWritten(conn, c)
	case ledger.Sent:
		err = storeSent(conn, c, run)
	}
	if err != nil {
		return err
	}
	return storeStep(conn, c, run)
}

// storeStep puts a file into its new state and records the step in its history.
func storeStep(conn *sqlite.Conn, c *ledger.FileChange, run int64) error {
	if _, err := exec(conn, "UPDATE bureau_files SET state = ?, last_error = ? WHERE id = ?", string(c.To), c.Error, c.FileID); err != nil {
		return err
	}
	if _, err := exec(conn, "INSERT INTO deliveries (file, run, at, state, error, reason, evidence) VALUES (?, ?, ?, ?, ?, ?, ?)",
		c.FileID, key(run), c.At, string(c.To), c.Error, c.Reason, c.Evidence); err != nil {
		return err
	}
	return appendAudit(conn, c.Entry)
}

// CancelFile gives up a file that its bureau refused, that was never written, or whose bytes are lost:
// the number is used up and the orders wait for the recipient's next file.
func (l *Ledger) CancelFile(ctx context.Context, c ledger.FileChange) (moved int64, err error) {
	c.From, c.To = []ledger.BureauFileState{ledger.Refused, ledger.Planned, ledger.Undecided, ledger.Written, ledger.Intent, ledger.Uploaded}, ledger.Void
	err = l.write(ctx, fmt.Sprintf("cancel outgoing file %d", c.FileID), func(conn *sqlite.Conn) error {
		run, err := runSeq(conn, c.RunID)
		if err != nil {
			return err
		}
		if err := notHad(conn, c.FileID); err != nil {
			return err
		}
		if err := changeFile(conn, &c, run); err != nil {
			return err
		}
		moved, err = cancelled(conn, &c, run)
		return err
	})
	if err != nil {
		return 0, err
	}
	return moved, nil
}

// notHad refuses to cancel a file that its recipient has had, and that is only to be sent again.
func notHad(conn *sqlite.Conn, id int64) error {
	f, err := outgoing(conn, id)
	switch f.state {
	case ledger.Written, ledger.Intent, ledger.Uploaded:
		if f.wasSent {
			return fmt.Errorf("%w: the file is %s and was SENT before", ledger.ErrConflict, f.state)
		}
	}
	return err
}

// queueAgain takes the orders out of a cancelled file, and out of the hold that it was made from; their cards stay taken.
func queueAgain(conn *sqlite.Conn, c *ledger.FileChange, run int64) (int64, error) {
	recorded, err := exec(conn, `INSERT OR ROLLBACK INTO order_moves (order_id, from_file, at, reason, run)
		SELECT id, bureau_file_id, ?2, ?3, ?4 FROM orders WHERE bureau_file_id = ?1 AND state = 'PLANNED' ORDER BY id`, c.FileID, c.At, c.Reason, key(run))
	if err != nil {
		return 0, err
	}
	moved, err := exec(conn, "UPDATE OR ROLLBACK orders SET state = 'QUEUED', bureau_file_id = NULL, hold_id = NULL WHERE bureau_file_id = ? AND state = 'PLANNED'", c.FileID)
	if err == nil && moved != recorded {
		err = fmt.Errorf("%d orders left the file, %d moves were recorded", moved, recorded)
	}
	return int64(moved), err
}

func checkStep(conn *sqlite.Conn, c *ledger.FileChange) error {
	var state ledger.BureauFileState
	pins, frozen := false, false
	found, err := one(conn, "SELECT state, recipient, sha256 <> '' FROM bureau_files WHERE id = ?", []any{c.FileID}, func(r *row) {
		state, pins, frozen = ledger.BureauFileState(r.text()), r.text() == config.PINRecipient, r.bool()
	})
	switch {
	case err != nil:
		return err
	case !found:
		return ledger.ErrNotFound
	case !slices.Contains(c.From, state):
		return fmt.Errorf("%w: the file is %s, expected was %v", ledger.ErrConflict, state, c.From)
	case c.To == ledger.Written && (c.Size <= 0 || c.SHA256 == ""):
		return errors.New("a written file has a size and a SHA-256")
	case c.PlainDigest != "" && (!pins || c.To != ledger.Written):
		return errors.New("only a PIN file that is written has another digest than its plan")
	case c.PlainDigest == "" && pins && c.To == ledger.Written && !frozen:
		return errors.New("a PIN file that is written has the digest of its text with the PINs")
	case c.To == ledger.Sent && len(c.Evidence) == 0:
		return errors.New("a file is sent only with evidence")
	}
	return nil
}

// begun raises the counter of the recipient's files that may have left the house.
func begun(conn *sqlite.Conn, fileID int64) error {
	_, err := exec(conn, `INSERT INTO counters (name, value) SELECT 'begun/' || recipient, sequence FROM bureau_files WHERE id = ?
		ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)`, fileID)
	return err
}

// storeWritten freezes the sealed bytes: size and digests are set once.
func storeWritten(conn *sqlite.Conn, c *ledger.FileChange) error {
	changed, err := exec(conn, `UPDATE bureau_files SET size = ?1, sha256 = ?2, written_at = coalesce(written_at, ?3), plain_digest = iif(?5 = '', plain_digest, ?5)
		WHERE id = ?4 AND (sha256 = '' OR (size = ?1 AND sha256 = ?2 AND ?5 IN ('', plain_digest)))`, c.Size, c.SHA256, c.At, c.FileID, c.PlainDigest)
	if err == nil && changed == 0 {
		err = fmt.Errorf("%w: the file was written with other bytes before", ledger.ErrConflict)
	}
	return err
}

func storeSent(conn *sqlite.Conn, c *ledger.FileChange, run int64) error {
	if _, err := exec(conn, "UPDATE bureau_files SET evidence = ?, sent_at = ?, sent_run = ? WHERE id = ?", c.Evidence, c.At, key(run), c.FileID); err != nil {
		return err
	}
	// bureau_file_id knows bureaus' files only, so that a card system file and a PIN file change no order.
	if _, err := exec(conn, `DELETE FROM open_cards WHERE card_id IN (
		SELECT card_id FROM orders WHERE bureau_file_id = ?1 AND state = 'PLANNED' UNION ALL
		SELECT embossed_card_id FROM orders WHERE bureau_file_id = ?1 AND state = 'PLANNED' AND embossed_card_id <> card_id)`, c.FileID); err != nil {
		return err
	}
	_, err := exec(conn, "UPDATE OR ROLLBACK orders SET state = 'SENT' WHERE bureau_file_id = ? AND state = 'PLANNED'", c.FileID)
	return err
}

// BureauFiles gives outgoing files.
func (l *Ledger) BureauFiles(ctx context.Context, q ledger.FileQuery) ([]ledger.BureauFile, error) {
	var conditions []string
	var args []any
	if q.RunID != "" {
		conditions = append(conditions, "(SELECT seq FROM runs WHERE id = ?) IN (f.run, f.sent_run)")
		args = append(args, q.RunID)
	}
	if len(q.States) > 0 {
		conditions = append(conditions, "f.state IN (?"+strings.Repeat(", ?", len(q.States)-1)+")")
		for _, state := range q.States {
			args = append(args, string(state))
		}
	}
	where := ""
	if len(conditions) > 0 {
		where = "WHERE " + strings.Join(conditions, " AND ")
	}
	columns := bureauFileColumns
	if q.Brief {
		columns = strings.NewReplacer("f.layout_text", "NULL", "f.head", "NULL", "f.evidence", "NULL").Replace(columns)
	}
	return l.bureauFiles(ctx, "read the outgoing files", columns, where+" ORDER BY f.recipient, f.sequence", args...)
}

// FileByName finds one by its name.
func (l *Ledger) FileByName(ctx context.Context, name string) (ledger.BureauFile, error) {
	files, err := l.bureauFiles(ctx, "read the outgoing file "+name, bureauFileColumns, "WHERE f.name = ?", name)
	if err != nil {
		return ledger.BureauFile{}, err
	}
	if len(files) == 0 {
		return ledger.BureauFile{}, fmt.Errorf("outgoing file %s: %w", name, ledger.ErrNotFound)
	}
	return files[0], nil
}

func (l *Ledger) bureauFiles(ctx context.Context, what, columns, where string, args ...any) (files []ledger.BureauFile, err error) {
	err = l.read(ctx, what, func(conn *sqlite.Conn) error {
		return each(conn, "SELECT "+columns+" FROM bureau_files f "+where, args, func(r *row) error {
			files = append(files, scanBureauFile(r))
			return nil
		})
	})
	return files, err
}

// Deliveries is the history of an outgoing file.
func (l *Ledger) Deliveries(ctx context.Context, fileID int64) (steps []ledger.Delivery, err error) {
	err = l.read(ctx, fmt.Sprintf("read the history of outgoing file %d", fileID), func(conn *sqlite.Conn) error {
		return each(conn, `SELECT file, coalesce((SELECT id FROM runs WHERE seq = run), ''), at, state, error, reason, evidence
			FROM deliveries WHERE file = ? ORDER BY id`, []any{fileID}, func(r *row) error {
			steps = append(steps, ledger.Delivery{
				FileID: r.int(), RunID: r.text(), At: r.time(), State: ledger.BureauFileState(r.text()),
				Error: r.text(), Reason: r.text(), Evidence: r.blob(),
			})
			return nil
		})
	})
	return steps, err
}
