package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
)

// ErrDamaged: the file is a ledger, and some of its pages are not what they were.
var ErrDamaged = ledger.ErrDamaged

// andThen is what a person does about a ledger's file that is damaged. SQLite calls a page that the disk fails to read
// (EIO) damaged too; that passes with the disk's trouble, and a restore for it would be the greater one.
const andThen = "nothing more is done with it: look at the disk first, one that fails to read it has the same effect; if the next run says this again, " +
	"put back the newest copy of the file and of its -wal together, or a backup with reemboss restore"

// told gives what SQLite says of the file and the disk the words that a person
// needs; every call of a [Ledger] returns its errors through it. Damaged pages are
// [ErrDamaged], another process that writes and does not end is [ledger.ErrBusy].
func (l *Ledger) told(err error) error {
	if errors.Is(err, ErrDamaged) || errors.Is(err, ledger.ErrBusy) { // told where it was found
		return err
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return fmt.Errorf("%w: %s, or it and its -wal do not belong together (%w); %s", ErrDamaged, l.path, err, andThen)
	case sqlite.ResultBusy:
		return fmt.Errorf("%w: a run is at work, or one hangs, and did not end what it wrote within %s; try again later (%w)", ledger.ErrBusy, l.options.Wait, err)
	case sqlite.ResultIOErr: // a disk that is full when SQLite makes its shared memory is told as a broken one
		return fmt.Errorf("%w; look at the disk: it is full or broken", err)
	case sqlite.ResultCantOpen, sqlite.ResultReadOnly, sqlite.ResultPerm: // since it was opened: rights are looked at before
		return fmt.Errorf("%w; look whether %s and its folder may still be written by this account, and whether their file system is still mounted writable", err, l.path)
	}
	return err
}

// damaged is [ErrDamaged] for what SQLite says of broken pages, and err for anything else.
func damaged(err error) error {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// leftLog says that a WAL with something in it lies beside the file: a process that had it open died, or has it open now.
func leftLog(path string) bool {
	info, err := os.Stat(path + "-wal")
	return err == nil && info.Size() > 0
}

// closeBesideLog closes the last connection without bringing the WAL into the
// file: one that may only read goes after it, and that one cannot. Where it cannot
// even be opened conn stays open, and ends with the process.
func (l *Ledger) closeBesideLog(conn *sqlite.Conn) error {
	reader, err := sqlite.OpenConn(l.path, sqlite.OpenReadOnly)
	if err != nil {
		return nil
	}
	if _, err := pragmaInt(reader, "user_version"); err != nil { // it has the WAL open from its first reading on
		return reader.Close()
	}
	return errors.Join(conn.Close(), reader.Close())
}

// CheckLeft checks a ledger beside which [Open] found a WAL with something in it,
// and no other. The ledger is then what file and WAL say together, and nothing
// in either names the other: with an older copy of the file under it the newest
// pages are there and the ones below are not. So all is read as by
// [Ledger.CheckIntegrity], and the audit chain, to which every night adds, must be
// there from 1 to its recorded newest entry. It costs as much as the reading of
// the file: on one core about 4 s for a million cards. Its error wraps [ErrDamaged];
// nothing was changed then, and Close leaves both files as they lie.
func (l *Ledger) CheckLeft(ctx context.Context) error {
	if !l.left {
		return nil
	}
	err := l.CheckIntegrity(ctx)
	if err == nil {
		err = l.read(ctx, "count the audit chain", func(conn *sqlite.Conn) error { return damaged(chainWhole(conn)) })
	}
	if errors.Is(err, ErrDamaged) {
		l.options.KeepLog = true
		return fmt.Errorf("%s and the -wal that a killed process left beside it do not belong together, or are damaged (%w); %s", l.path, err, andThen)
	}
	if err == nil {
		l.left = false
	}
	return err
}

// chainWhole counts the entries of the audit chain against the record of the newest; what is in them is [Ledger.VerifyAudit]'s.
func chainWhole(conn *sqlite.Conn) error {
	head, err := auditHead(conn)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	var entries, first, last int64
	if _, err := one(conn, "SELECT count(*), coalesce(min(seq), 1), coalesce(max(seq), 0) FROM audit", nil,
		func(r *row) { entries, first, last = r.int(), r.int(), r.int() }); err != nil {
		return err
	}
	if first != 1 || last != head.Seq || entries != last {
		return fmt.Errorf("%w: its audit log has %d entries, from %d to %d, and should have %d", ErrDamaged, entries, first, last, head.Seq)
	}
	hash := ledger.Chain{}.Hash
	if _, err := one(conn, "SELECT hash FROM audit WHERE seq = ?", []any{last}, func(r *row) { hash = r.text() }); err != nil {
		return err
	}
	if hash != head.Hash {
		return fmt.Errorf("%w: entry %d of its audit log is not the newest that was recorded", ErrDamaged, last)
	}
	return nil
}
