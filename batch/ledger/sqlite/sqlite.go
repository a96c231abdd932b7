// Package sqlite keeps the ledger in one SQLite file. It promises what package
// ledger promises and passes ledgertest.
//
// Durability: WAL with synchronous FULL. One connection writes, one call at a
// time; a call is one BEGIN IMMEDIATE … COMMIT, and returns nil only after the
// WAL is on the disk. Readers have connections of their own and see the state
// of the moment in which they began; they never wait for the writer, nor it
// for them. A long reader lets the WAL grow.
//
// Secrets: a PAN is in the file as a sealed blob and as a keyed hash, and in no
// other form. Names and addresses are in it in clear, as in the card master.
// Files have mode 0600, freed pages are overwritten (secure_delete), sorting
// stays in memory, nothing is mapped.
//
// Size and speed: made for registries and nights of millions of rows. Answers
// are numbered by (file, row), so that they need no index; the part of an order
// that changes is a narrow table of its own. The index over keyed hashes is the
// only one that is touched in random order. Memory: the page caches, 64 MiB to
// write and 16 MiB a reader, and what the caller's chunk needs.
package sqlite

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitemigration"
	"zombiezen.com/go/sqlite/sqlitex"

	"reemboss/batch/durable"
	"reemboss/batch/ledger"
)

var _ ledger.Ledger = (*Ledger)(nil)

//go:embed schema/*.sql
var schemaFiles embed.FS

// applicationID marks a ledger's file (SQLite's application_id): "rEmb".
const applicationID = 0x72456d62

// Errors of [Open].
var (
	// ErrNewer: the file was made by a newer program.
	ErrNewer = errors.New("the ledger was made by a newer version of reemboss; use that version or a newer one")
	// ErrNotLedger: the file is something else.
	ErrNotLedger = errors.New("the file is not a ledger of reemboss")
	errClosed    = errors.New("the ledger is closed")
)

// Options of [Open].
type Options struct {
	// Create makes the file if it does not exist.
	Create bool
	// WriteCache and ReadCache are the page caches of the writer and of each reader, in bytes. 0 means 64 and 16 MiB.
	WriteCache, ReadCache int64
	// Wait is for how long another process that writes is waited for; 0 means 30 s.
	Wait time.Duration
	// MaxPages limits the file, in pages of 8 KiB; 0 for no limit but the disk's.
	MaxPages int64
	// KeepLog: Close leaves a WAL that lay there at Open, for the next one who checks it ([Ledger.CheckLeft]).
	KeepLog bool
	// Commit is called before each write transaction is committed, and after it is durable. It may be nil; tests end
	// the process there.
	Commit func(durable bool)
}

const (
	pageSize      = 8192
	defaultWait   = 30 * time.Second
	idleReaders   = 3
	checkpointAt  = 4000 // pages of WAL, 32 MiB
	defaultWrite  = 64 << 20
	defaultRead   = 16 << 20
	walSizeLimit  = 64 << 20 // a longer WAL is cut back after its checkpoint
	fileMode      = 0o600
	directoryMode = 0o700
)

// Ledger is an open ledger file.
type Ledger struct {
	path    string
	vault   ledger.Vault
	options Options
	writer  chan *sqlite.Conn // holds the one writer while nobody writes; closed by Close
	readers chan *sqlite.Conn // idle ones
	closed  atomic.Bool
	left    bool     // a WAL with something in it lay there, and nobody has checked it yet
	unused  sync.Map // ids of listed index keys under which no row is and that the vault does not have
}

// Open opens the ledger in path and brings its schema up to date. Without
// Create a missing file is an error that wraps fs.ErrNotExist. v seals and
// indexes PANs and stays the caller's.
func Open(path string, v ledger.Vault, o Options) (*Ledger, error) {
	if o.WriteCache == 0 {
		o.WriteCache = defaultWrite
	}
	if o.Wait == 0 {
		o.Wait = defaultWait
	}
	if o.ReadCache == 0 {
		o.ReadCache = defaultRead
	}
	l := &Ledger{path: path, vault: v, options: o, writer: make(chan *sqlite.Conn, 1), readers: make(chan *sqlite.Conn, idleReaders)}
	if err := l.prepareFile(); err != nil {
		return nil, fmt.Errorf("open the ledger %s: %w", path, err)
	}
	l.left = leftLog(path)
	conn, err := l.connect(o.WriteCache, false)
	if err != nil {
		return nil, fmt.Errorf("open the ledger %s: %w", path, l.told(err))
	}
	if err := migrate(conn); err != nil {
		return nil, errors.Join(fmt.Errorf("open the ledger %s: %w", path, l.told(err)), conn.Close())
	}
	if err := limitPages(conn, o.MaxPages); err != nil {
		return nil, errors.Join(fmt.Errorf("open the ledger %s: %w", path, l.told(err)), conn.Close())
	}
	l.writer <- conn
	return l, nil
}

func limitPages(conn *sqlite.Conn, most int64) error {
	if most == 0 {
		return nil
	}
	return sqlitex.ExecuteTransient(conn, fmt.Sprintf("PRAGMA max_page_count = %d", most), nil)
}

// prepareFile sees to it that the file exists and is ours alone before SQLite
// opens it: its WAL and shared memory inherit the mode.
func (l *Ledger) prepareFile() error {
	state, err := os.Stat(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && l.options.Create:
		return createEmpty(l.path)
	case err != nil:
		return err
	case !state.Mode().IsRegular():
		return ErrNotLedger
	case state.Mode().Perm()&^fileMode != 0:
		return os.Chmod(l.path, fileMode)
	}
	return nil
}

func createEmpty(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), directoryMode); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return durable.Files{}.SyncFolder(filepath.Dir(path))
}

// connect opens one connection. The page size counts only for a file that is
// still empty.
func (l *Ledger) connect(cache int64, queryOnly bool) (*sqlite.Conn, error) {
	conn, err := sqlite.OpenConn(l.path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(l.options.Wait)
	for _, pragma := range []string{
		fmt.Sprintf("page_size = %d", pageSize),
		"journal_mode = WAL",
		"synchronous = FULL",
		"foreign_keys = ON",
		"secure_delete = ON",
		"temp_store = MEMORY",
		"mmap_size = 0",
		"trusted_schema = OFF",
		fmt.Sprintf("cache_size = -%d", cache>>10),
		fmt.Sprintf("wal_autocheckpoint = %d", checkpointAt),
		fmt.Sprintf("journal_size_limit = %d", walSizeLimit),
		fmt.Sprintf("query_only = %t", queryOnly),
	} {
		if err := sqlitex.ExecuteTransient(conn, "PRAGMA "+pragma, nil); err != nil {
			if sqlite.ErrCode(err) == sqlite.ResultNotADB {
				err = fmt.Errorf("%w: %w; %s", ErrDamaged, ErrNotLedger, andThen)
			}
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

// migrate applies what the file's schema lacks. It takes the write lock only if
// something is lacking, so that a second process can look at the ledger while a
// long transaction runs.
func migrate(conn *sqlite.Conn) error {
	scripts, err := schemaScripts()
	if err != nil {
		return err
	}
	version, err := pragmaInt(conn, "user_version")
	if err != nil {
		return err
	}
	id, err := pragmaInt(conn, "application_id")
	if err != nil {
		return err
	}
	switch {
	case version > 0 && id != applicationID:
		return ErrNotLedger
	case version > int64(len(scripts)):
		return fmt.Errorf("%w (its schema is %d, this program knows %d)", ErrNewer, version, len(scripts))
	case version == int64(len(scripts)):
		return nil
	}
	if err := sqlitemigration.Migrate(context.Background(), conn, sqlitemigration.Schema{AppID: applicationID, Migrations: scripts}); err != nil {
		return fmt.Errorf("bring the schema from %d to %d: %w", version, len(scripts), err)
	}
	return nil
}

// schemaScripts are the migrations in the order of their numbers.
func schemaScripts() ([]string, error) {
	names, err := fs.Glob(schemaFiles, "schema/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	scripts := make([]string, 0, len(names))
	for _, name := range names {
		text, err := schemaFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		scripts = append(scripts, string(text))
	}
	return scripts, nil
}

func pragmaInt(conn *sqlite.Conn, name string) (value int64, err error) {
	err = sqlitex.ExecuteTransient(conn, "PRAGMA "+name, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			value = stmt.ColumnInt64(0)
			return nil
		},
	})
	return value, err
}

// Close waits for the writer and closes the file. The last process to close it
// brings the WAL into the database file and removes it, save where it is kept
// (KeepLog, or a [Ledger.CheckLeft] that failed).
func (l *Ledger) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	conn := <-l.writer
	close(l.writer)
	var errs []error
	for {
		select {
		case reader := <-l.readers:
			errs = append(errs, reader.Close())
			continue
		default:
		}
		break
	}
	closing := conn.Close
	if l.left && l.options.KeepLog {
		closing = func() error { return l.closeBesideLog(conn) }
	}
	if err := errors.Join(append(errs, closing())...); err != nil {
		return fmt.Errorf("close the ledger %s: %w", l.path, err)
	}
	return nil
}
