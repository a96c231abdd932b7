package sqlite

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// write runs fn in one transaction of the writer: all of it is durable when
// write returns nil, else nothing of it is there. what names the act in errors.
// The end of ctx interrupts fn, never the commit.
func (l *Ledger) write(ctx context.Context, what string, fn func(*sqlite.Conn) error) error {
	var conn *sqlite.Conn
	select {
	case conn = <-l.writer:
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	if conn == nil {
		return fmt.Errorf("%s: %w", what, errClosed)
	}
	defer func() { l.writer <- conn }()
	if err := transact(ctx, conn, "BEGIN IMMEDIATE", l.commit(fn)); err != nil {
		return fmt.Errorf("%s: %w", what, l.told(err))
	}
	if l.options.Commit != nil {
		l.options.Commit(true)
	}
	return nil
}

// commit is fn, and then the word that its transaction is about to be committed.
func (l *Ledger) commit(fn func(*sqlite.Conn) error) func(*sqlite.Conn) error {
	if l.options.Commit == nil {
		return fn
	}
	return func(conn *sqlite.Conn) error {
		err := fn(conn)
		if err == nil {
			l.options.Commit(false)
		}
		return err
	}
}

// read runs fn on a reader, in one snapshot.
func (l *Ledger) read(ctx context.Context, what string, fn func(*sqlite.Conn) error) error {
	conn, err := l.takeReader()
	if err == nil {
		defer l.putReader(conn)
		err = transact(ctx, conn, "BEGIN", fn)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, l.told(err))
	}
	return nil
}

// callbackError is what a caller's callback returned, on its way back to it.
type callbackError struct{ error }

func (e callbackError) Unwrap() error { return e.error }

func callback(err error) error {
	if err == nil {
		return nil
	}
	return callbackError{err}
}

// stream is read for methods that call back: the callback's error goes back to
// the caller as it is.
func (l *Ledger) stream(ctx context.Context, what string, fn func(*sqlite.Conn) error) error {
	err := l.read(ctx, what, fn)
	if theirs, ok := errors.AsType[callbackError](err); ok {
		return theirs.error
	}
	return err
}

// takeReader opens another connection rather than wait: a callback that reads
// while it is streamed to can not lock itself out.
func (l *Ledger) takeReader() (*sqlite.Conn, error) {
	if l.closed.Load() {
		return nil, errClosed
	}
	select {
	case conn := <-l.readers:
		return conn, nil
	default:
		return l.connect(l.options.ReadCache, true)
	}
}

func (l *Ledger) putReader(conn *sqlite.Conn) {
	if l.closed.Load() {
		_ = conn.Close()
		return
	}
	select {
	case l.readers <- conn:
	default:
		_ = conn.Close()
	}
}

func transact(ctx context.Context, conn *sqlite.Conn, begin string, fn func(*sqlite.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := sqlitex.Execute(conn, begin, nil); err != nil {
		return err
	}
	committed := false
	defer func() {
		conn.SetInterrupt(nil)
		if !committed && !conn.AutocommitEnabled() {
			_ = sqlitex.Execute(conn, "ROLLBACK", nil) // what it could not undo, SQLite undoes at the next opening
		}
	}()
	conn.SetInterrupt(ctx.Done())
	err := fn(conn)
	conn.SetInterrupt(nil)
	if err == nil {
		err = context.Cause(ctx)
	} else if sqlite.ErrCode(err) == sqlite.ResultInterrupt && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	if err := sqlitex.Execute(conn, "COMMIT", nil); err != nil {
		return err
	}
	committed = true
	return nil
}
