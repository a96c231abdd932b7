package batch

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"reemboss/batch/config"
	"reemboss/batch/ledger/sqlite"
	"reemboss/bureau"
	"reemboss/formats/iso"
)

// A backup is what the workspace remembers, as it was at one moment: a copy of
// the ledger, the high-water marks and the signed heads of the audit chain, one
// tar stream with its list in front, signed and sealed to the workspace's own
// key (and the escrow key of keys.escrow). It may be made while a night runs.
// What it does not hold: private keys, the keyset, the configuration, request
// files, sealed files, reports.

// ErrBackup: another backup of the workspace is being made (exit code 3).
var ErrBackup = errors.New("another backup of this workspace is being made")

// backupFormat is the number of what a backup looks like inside.
const backupFormat = 1

// backupList is manifest.json, the first part of a backup.
type backupList struct {
	Format     int              `json:"format"`
	MadeAt     time.Time        `json:"made_at"`
	MadeBy     string           `json:"made_by"` // user@host
	Version    string           `json:"version"`
	SigningKey string           `json:"signing_key"` // fingerprint of the workspace's PGP key
	Workspace  string           `json:"workspace"`   // keyed: only the same keyset gives it
	Schema     int              `json:"schema"`
	OpenRun    string           `json:"open_run,omitempty"` // in whose middle the backup was made
	Cards      int64            `json:"cards"`
	Audit      auditMark        `json:"audit"`
	Counters   map[string]int64 `json:"counters"`
	Parts      []backupPart     `json:"parts"`
}

// backupPart is a file of the stream.
type backupPart struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	path   string
}

// Names of the parts.
const (
	partList   = "manifest.json"
	partLedger = "ledger.sqlite"
	partMarks  = "marks.json"
	partHeads  = "audit/"
)

// BackupTold is what a backup has.
type BackupTold struct {
	Name     string           `json:"name"`
	Size     int64            `json:"size"`
	SHA256   string           `json:"sha256"` // of the sealed bytes
	MadeAt   time.Time        `json:"made_at"`
	Cards    int64            `json:"cards"`
	Entries  int64            `json:"audit_entries"`
	OpenRun  string           `json:"open_run,omitempty"`
	Counters map[string]int64 `json:"counters"`
	SealedTo []string         `json:"sealed_to"` // fingerprints
}

// Backup writes the backup of a workspace into a new file, which is whole or not
// there and never replaces another. It takes no lock of a run. What it needs for
// a while is as much room in state/backup/ as the ledger has, sealed as the
// ledger is; what a crash leaves there the next backup removes. Errors:
// [SetupError], [ErrBackup], [ErrReplaced], [ledger.ErrBusy], [ledger.ErrBehind]
// for a ledger that is an older copy and worth no backup, [ledger.ErrDamaged].
func Backup(ctx context.Context, dir, path string, o Options) (*BackupTold, error) {
	n, err := openOwn(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	if err := freeForBackup(path); err != nil {
		return nil, err
	}
	if _, err := os.Stat(n.LedgerFile()); errors.Is(err, fs.ErrNotExist) {
		return nil, setup("there is no ledger in %s yet; there is nothing to back up", n.Dir)
	}
	if n.keyset, err = n.openKeyset(ctx); err != nil {
		return nil, &SetupError{err}
	}
	unlock, err := n.lockBackups()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := n.openLedger(ctx, false); err != nil {
		return nil, err
	}
	defer n.leaveDoor()
	defer n.Ledger.Close()
	return n.backup(ctx, path)
}

// openOwn opens the configuration and our PGP keys, for an act that changes the workspace.
func openOwn(ctx context.Context, dir string, o Options) (*Night, error) {
	o.Lock = true
	n, err := newNight(dir, o)
	if err != nil {
		return nil, err
	}
	if err := n.allowed(o.privilege()); err != nil {
		return nil, err
	}
	passphrase, err := n.passphrase()
	if err != nil {
		return nil, err
	}
	defer clear(passphrase)
	if n.ownKey, err = bureau.ReadPrivateKey(n.Resolve(n.Config.Keys.SigningKey), passphrase, n.Config.Keys.Fingerprint, n.Now()); err != nil {
		return nil, &SetupError{err}
	}
	return n, n.openFormerKeys()
}

// freeForBackup refuses a name that is taken, before any work.
func freeForBackup(path string) error {
	switch _, err := os.Lstat(path); {
	case err == nil:
		return setup("%s is there already, and a backup never replaces a file; give another name", path)
	case !errors.Is(err, fs.ErrNotExist):
		return setup("%s: %w", path, plain(err))
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return setup("%s is no folder to put a backup into", filepath.Dir(path))
	}
	return nil
}

// lockBackups keeps other backups out and clears what one left that died.
func (n *Night) lockBackups() (unlock func(), err error) {
	if err := n.Files.MkdirAll(n.Backups()); err != nil {
		return nil, fmt.Errorf("make the folder of backups: %w", err)
	}
	l := flock.New(filepath.Join(n.Backups(), "lock"), flock.SetPermissions(0o600))
	switch ok, err := l.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock the folder of backups: %w", err)
	case !ok:
		return nil, ErrBackup
	}
	if err := n.Files.RemoveAll(n.copying()); err != nil {
		_ = l.Unlock()
		return nil, fmt.Errorf("clear what a backup left: %w", err)
	}
	return func() { _ = l.Unlock() }, nil
}

// copying is where the copy of the ledger lies while it is sealed.
func (n *Night) copying() string { return filepath.Join(n.Backups(), "copying") }

func (n *Night) backup(ctx context.Context, path string) (*BackupTold, error) {
	keys, err := n.backupKeys()
	if err != nil {
		return nil, err
	}
	if err := n.marks.check(ctx, n.Ledger); err != nil { // the marks were read before: a ledger at work is never behind them
		return nil, err
	}
	marks, err := n.marks.text()
	if err != nil {
		return nil, err
	}
	name := n.wrote(ctx, filepath.Base(path))
	n.at("backup/begin")
	if err := n.Ledger.Append(ctx, n.entry("ledger.backup", name, "")); err != nil {
		return nil, err
	}
	n.at("backup/copy")
	defer n.Files.RemoveAll(n.copying())
	list, err := n.copyParts(ctx, marks)
	if err != nil {
		return nil, n.backupFailed(ctx, name, err)
	}
	n.at("backup/copied")
	told := &BackupTold{Name: iso.MaskLikely(path), MadeAt: list.MadeAt, Cards: list.Cards, Entries: list.Audit.Seq, OpenRun: list.OpenRun, Counters: list.Counters}
	for _, key := range keys {
		told.SealedTo = append(told.SealedTo, key.Fingerprint())
	}
	if err := n.sealBackup(ctx, path, keys, list, told); err != nil {
		return nil, n.backupFailed(ctx, name, err)
	}
	n.at("backup/written")
	detail := fmt.Sprintf("%d bytes, SHA-256 %s, of entry %d of the audit log", told.Size, told.SHA256, told.Entries)
	if err := n.Ledger.Append(context.WithoutCancel(ctx), n.entry("ledger.backed_up", name, detail)); err != nil {
		return nil, fmt.Errorf("%s is there and whole, and the audit log does not say so: %w", name, err)
	}
	return told, nil
}

func (n *Night) backupFailed(ctx context.Context, name string, err error) error {
	return errors.Join(err, n.Ledger.Append(context.WithoutCancel(ctx), n.entry("ledger.backup_failed", name, plain(err).Error())))
}

// backupKeys are those that open a backup: our own, and the escrow key.
func (n *Night) backupKeys() ([]*bureau.Key, error) {
	keys := []*bureau.Key{n.ownKey}
	escrow, err := n.escrowKey(config.Recipient{PGP: config.PGP{Escrow: n.Config.Keys.Escrow}})
	if err != nil {
		return nil, setup("keys: %w", err)
	}
	if escrow != nil {
		keys = append(keys, escrow)
	}
	return keys, nil
}

// copyParts gathers the parts in state/backup/copying/. The copy of the ledger is
// read to its last page before anybody relies on it.
func (n *Night) copyParts(ctx context.Context, marks []byte) (*backupList, error) {
	folder := n.copying()
	if err := n.Files.MkdirAll(folder); err != nil {
		return nil, err
	}
	list := &backupList{Format: backupFormat, MadeAt: n.Now().UTC(), MadeBy: n.who, Version: Version, SigningKey: n.ownKey.Fingerprint(), Workspace: n.workspaceID()}
	copied := filepath.Join(folder, partLedger)
	if err := n.Ledger.(copier).CopyTo(ctx, copied); err != nil {
		return nil, err
	}
	if err := n.describe(ctx, copied, list); err != nil {
		return nil, fmt.Errorf("look at the copy of the ledger: %w", err)
	}
	heads, err := n.copyHeads(folder, list.Audit.Seq)
	if err != nil {
		return nil, err
	}
	if err := n.restorable(ctx, copied, filepath.Join(folder, partHeads)); err != nil {
		return nil, err
	}
	if err := n.writeWhole(filepath.Join(folder, partMarks), marks); err != nil {
		return nil, err
	}
	for _, name := range append([]string{partLedger, partMarks}, heads...) {
		part := backupPart{Name: name, path: filepath.Join(folder, filepath.FromSlash(name))}
		if part.SHA256, part.Size, err = hashFile(part.path); err != nil {
			return nil, err
		}
		list.Parts = append(list.Parts, part)
	}
	return list, nil
}

// copier is a ledger that can be copied while others use it.
type copier interface {
	CopyTo(ctx context.Context, path string) error
}

// workspaceID is the same for every backup of a workspace and for no other: it is keyed by the keyset.
func (n *Night) workspaceID() string { return n.keyset.Digest("workspace", []byte("backup")) }

// copyHeads copies the signed heads of entries that the copy of the ledger has. A
// run signs its head before it ends, so that every run that ended in the copy has one by now.
func (n *Night) copyHeads(folder string, last int64) (names []string, err error) {
	to := filepath.Join(folder, partHeads)
	if err := n.Files.MkdirAll(to); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(n.AuditHeads())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(n.AuditHeads(), e.Name()))
		if err != nil {
			return nil, err
		}
		signature, err := os.ReadFile(filepath.Join(n.AuditHeads(), e.Name()+".asc"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		var head signedHead
		if err := json.Unmarshal(text, &head); err == nil && (head.Seq > last || n.verifyOurs(text, signature) != nil) {
			continue // of a run at work, which signs another one before it ends
		}
		for name, content := range map[string][]byte{e.Name(): text, e.Name() + ".asc": signature} {
			if err := n.writeWhole(filepath.Join(to, name), content); err != nil {
				return nil, err
			}
		}
		names = append(names, partHeads+e.Name(), partHeads+e.Name()+".asc")
	}
	return names, nil
}

// describe opens the copy, checks all of it and says what is in it.
func (n *Night) describe(ctx context.Context, path string, list *backupList) (err error) {
	copied, err := sqlite.Open(path, n.keyset, sqlite.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, copied.Close()) }()
	if err := copied.CheckIntegrity(ctx); err != nil {
		return err
	}
	if list.Schema, err = sqlite.SchemaVersion(); err != nil {
		return err
	}
	if list.Counters, err = copied.Counters(ctx); err != nil {
		return err
	}
	if list.Cards, err = copied.CountCards(ctx); err != nil {
		return err
	}
	head, err := copied.AuditHead(ctx)
	if err != nil {
		return err
	}
	list.Audit = auditMark{Seq: head.Seq, Hash: head.Hash}
	runs, err := copied.LastRuns(ctx, 1)
	if err == nil && len(runs) > 0 && runs[0].EndedAt.IsZero() {
		list.OpenRun = runs[0].ID
	}
	return err
}

// restorable holds the copy against the copied heads as a restore will: one that it would refuse is no backup, and that is
// said while there is something to mend.
func (n *Night) restorable(ctx context.Context, path, heads string) (err error) {
	copied, err := sqlite.Open(path, n.keyset, sqlite.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, copied.Close()) }()
	if _, err := n.verifyAudit(ctx, copied, heads); err != nil {
		return setup("no backup was made, for a restore would refuse it: %w; see reemboss audit verify, and put back into state/audit/ what is missing there", err)
	}
	return nil
}

// sealBackup streams the parts into the sealed file.
func (n *Night) sealBackup(ctx context.Context, path string, keys []*bureau.Key, list *backupList, told *BackupTold) error {
	sum := sha256.New()
	err := n.Files.Create(path, func(w io.Writer) error {
		counted := &countingWriter{w: io.MultiWriter(w, sum)}
		sealed, err := bureau.Seal(counted, bureau.Sealing{To: keys, Signer: n.ownKey, FileName: "backup.tar", Time: n.Now(), Compress: true, Rand: n.Random})
		if err != nil {
			return err
		}
		buffered := newBuffer(sealed)
		if err := writeParts(ctx, buffered, list); err != nil {
			return err // the message stays without its end and its file without a name
		}
		if err := errors.Join(buffered.Flush(), sealed.Close()); err != nil {
			return err
		}
		told.Size = counted.n
		n.at("backup/sealed")
		return ctx.Err()
	})
	if errors.Is(err, fs.ErrExist) {
		return setup("%s is there already, and a backup never replaces a file; give another name", path)
	}
	told.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return err
}

// writeParts writes the tar stream: the list, then the parts in its order.
func writeParts(ctx context.Context, w io.Writer, list *backupList) error {
	out := tar.NewWriter(w)
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	header := func(name string, size int64) error {
		return out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: list.MadeAt.Truncate(time.Second), Format: tar.FormatPAX})
	}
	if err := header(partList, int64(len(text))); err != nil {
		return err
	}
	if _, err := out.Write(text); err != nil {
		return err
	}
	for _, part := range list.Parts {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := header(part.Name, part.Size); err != nil {
			return err
		}
		f, err := os.Open(part.path)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("%s: %w", part.Name, err)
		}
	}
	return out.Close()
}

// writeWhole makes a file of bytes that are there already.
func (n *Night) writeWhole(path string, content []byte) error {
	return n.Files.Write(path, func(w io.Writer) error { _, err := w.Write(content); return err })
}
