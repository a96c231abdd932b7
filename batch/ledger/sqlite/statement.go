package sqlite

import (
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
)

// binder gives a statement its parameters, one after the other.
type binder struct {
	stmt *sqlite.Stmt
	at   int
}

func (b *binder) int(v int64) {
	b.at++
	b.stmt.BindInt64(b.at, v)
}

func (b *binder) bool(v bool) {
	b.at++
	b.stmt.BindBool(b.at, v)
}

func (b *binder) text(v string) {
	b.at++
	b.stmt.BindText(b.at, v)
}

// blob binds NULL for an empty one.
func (b *binder) blob(v []byte) {
	b.at++
	if len(v) == 0 {
		b.stmt.BindNull(b.at)
		return
	}
	b.stmt.BindBytes(b.at, v)
}

// time binds milliseconds, NULL for the zero time.
func (b *binder) time(v time.Time) {
	b.at++
	if v.IsZero() {
		b.stmt.BindNull(b.at)
		return
	}
	b.stmt.BindInt64(b.at, v.UnixMilli())
}

// key binds a foreign key, NULL for 0.
func (b *binder) key(v int64) {
	b.at++
	if v == 0 {
		b.stmt.BindNull(b.at)
		return
	}
	b.stmt.BindInt64(b.at, v)
}

// maybeText binds NULL for nil.
func (b *binder) maybeText(v *string) {
	if v != nil {
		b.text(*v)
		return
	}
	b.at++
	b.stmt.BindNull(b.at)
}

// maybeInt binds NULL for nil.
func (b *binder) maybeInt(v *int) {
	if v != nil {
		b.int(int64(*v))
		return
	}
	b.at++
	b.stmt.BindNull(b.at)
}

// row takes a result's columns, one after the other.
type row struct {
	stmt *sqlite.Stmt
	at   int
}

func (r *row) next() int {
	r.at++
	return r.at - 1
}

func (r *row) int() int64   { return r.stmt.ColumnInt64(r.next()) } // 0 for NULL
func (r *row) bool() bool   { return r.stmt.ColumnInt64(r.next()) != 0 }
func (r *row) text() string { return r.stmt.ColumnText(r.next()) }

// null says whether the next column is NULL, and stays before it.
func (r *row) null() bool { return r.stmt.ColumnIsNull(r.at) }

func (r *row) blob() []byte {
	column := r.next()
	n := r.stmt.ColumnLen(column)
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	r.stmt.ColumnBytes(column, b)
	return b
}

func (r *row) time() time.Time {
	column := r.next()
	if r.stmt.ColumnIsNull(column) {
		return time.Time{}
	}
	return time.UnixMilli(r.stmt.ColumnInt64(column)).UTC()
}

func (r *row) date() time.Time {
	t, _ := time.Parse(time.DateOnly, r.text()) // '' is the zero time
	return t
}

// run steps a statement that gives no rows and says how many rows it changed.
func run(conn *sqlite.Conn, stmt *sqlite.Stmt) (int, error) {
	defer stmt.Reset()
	if _, err := stmt.Step(); err != nil {
		return 0, err
	}
	return conn.Changes(), nil
}

// exec runs a statement that gives no rows. args: int64, bool, string, []byte,
// time.Time and key.
func exec(conn *sqlite.Conn, sql string, args ...any) (changed int, err error) {
	stmt, err := prepare(conn, sql, args)
	if err != nil {
		return 0, err
	}
	return run(conn, stmt)
}

// each runs a query and gives its rows to fn.
func each(conn *sqlite.Conn, sql string, args []any, fn func(*row) error) error {
	stmt, err := prepare(conn, sql, args)
	if err != nil {
		return err
	}
	return eachRow(stmt, fn)
}

// eachRow steps a bound statement to its end.
func eachRow(stmt *sqlite.Stmt, fn func(*row) error) error {
	defer stmt.Reset()
	r := &row{stmt: stmt}
	for {
		found, err := stmt.Step()
		if err != nil || !found {
			return err
		}
		r.at = 0
		if err := fn(r); err != nil {
			return err
		}
	}
}

// one runs a query for its first row; found is false if there is none.
func one(conn *sqlite.Conn, sql string, args []any, fn func(*row)) (found bool, err error) {
	stmt, err := prepare(conn, sql, args)
	if err != nil {
		return false, err
	}
	defer stmt.Reset()
	if found, err = stmt.Step(); err != nil || !found {
		return false, err
	}
	fn(&row{stmt: stmt})
	return true, nil
}

// key is a foreign key; 0 is NULL.
type key int64

func prepare(conn *sqlite.Conn, sql string, args []any) (*sqlite.Stmt, error) {
	stmt, err := conn.Prepare(sql)
	if err != nil {
		return nil, err
	}
	b := binder{stmt: stmt}
	for _, arg := range args {
		switch v := arg.(type) {
		case int64:
			b.int(v)
		case bool:
			b.bool(v)
		case string:
			b.text(v)
		case []byte:
			b.blob(v)
		case time.Time:
			b.time(v)
		case key:
			b.key(int64(v))
		default:
			return nil, fmt.Errorf("a statement was given a %T", arg)
		}
	}
	return stmt, nil
}

// violated says that err is a broken UNIQUE constraint or primary key.
func violated(err error) bool {
	code := sqlite.ErrCode(err)
	return code == sqlite.ResultConstraintUnique || code == sqlite.ResultConstraintPrimaryKey || code == sqlite.ResultConstraintRowID
}

// maxSkipped is how many rows a merge steps over before it seeks instead: a
// step costs a tenth of a seek.
const maxSkipped = 8

// merge gives fn the rows whose first column, a key by which stmt orders and
// from whose first parameter on it selects, is one of the sorted keys. It walks
// rows and keys side by side where they lie close, and seeks where they do not.
func merge(stmt *sqlite.Stmt, keys []int64, fn func(key int64, r *row) error) error {
	defer stmt.Reset()
	for len(keys) > 0 {
		if err := stmt.Reset(); err != nil {
			return err
		}
		stmt.BindInt64(1, keys[0])
		rest, err := mergeRun(stmt, keys, fn)
		if err != nil {
			return err
		}
		keys = rest
	}
	return nil
}

// mergeRun walks from the first key on and gives the keys that are left, from a
// key that lies too far away for walking.
func mergeRun(stmt *sqlite.Stmt, keys []int64, fn func(key int64, r *row) error) ([]int64, error) {
	r := &row{stmt: stmt}
	for skipped := 0; skipped <= maxSkipped; {
		found, err := stmt.Step()
		if err != nil || !found {
			return nil, err
		}
		at := stmt.ColumnInt64(0)
		for keys[0] < at {
			if keys = keys[1:]; len(keys) == 0 {
				return nil, nil
			}
		}
		if keys[0] > at {
			skipped++
			continue
		}
		skipped = 0
		r.at = 1
		if err := fn(at, r); err != nil {
			return nil, err
		}
	}
	return keys, nil
}
