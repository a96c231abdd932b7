package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"reemboss/batch/ledger"
	"reemboss/batch/ledger/sqlite"
)

// How a restored ledger takes the place of the present one:
//
//  1. the present one is made one file and gets a second name in state/backup/replaced-<time>/
//  2. the marks say what is to come: the newest entry of the new ledger's chain
//  3. one rename puts the new ledger in its place
//  4. signed heads of lost nights move aside, those of the backup are put there, the marks become the new ledger's
//
// Before 3 the ledger is the old one, and the marks know it. From 3 on the
// marks say that the new one is the ledger, and whoever opens it with the lock
// ends the restore first. Nothing is deleted.

// restoring is what marks say while a restore is under way.
type restoring struct {
	Seq   int64  `json:"seq"`
	Hash  string `json:"hash"`
	Aside string `json:"aside"` // where what is replaced goes, relative to the workspace
}

// swap puts the ledger that lies ready in its place; it gives the folder with the replaced one, "" where there was none.
func (n *Night) swap(ctx context.Context, head ledger.Chain) (aside string, err error) {
	folder, err := n.asideFolder()
	if err != nil {
		return "", err
	}
	replaced, err := n.setLedgerAside(folder)
	if err != nil {
		return "", fmt.Errorf("keep the replaced ledger: %w", err)
	}
	n.at("restore/aside")
	n.marks.restoring = &restoring{Seq: head.Seq, Hash: head.Hash, Aside: n.Relative(folder)}
	if err := n.marks.write(); err != nil {
		return "", err
	}
	n.at("restore/marked")
	for _, suffix := range []string{"-wal", "-shm", "-journal"} { // only a ledger that could not be opened still has them; they are set aside
		if err := n.Files.Remove(n.LedgerFile() + suffix); err != nil {
			return "", err
		}
	}
	n.at("restore/rename")
	if err := n.Files.Rename(filepath.Join(n.restoringIn(), partLedger), n.LedgerFile()); err != nil {
		return "", fmt.Errorf("put the restored ledger in its place: %w", err)
	}
	n.at("restore/renamed")
	if err := n.openLedger(ctx, true); err != nil {
		return "", err
	}
	if err := n.Ledger.Close(); err != nil {
		return "", err
	}
	if replaced {
		aside = n.Relative(folder)
	}
	return aside, nil
}

// asideFolder makes the folder for what is replaced.
func (n *Night) asideFolder() (string, error) {
	name := "replaced-" + n.Now().UTC().Format("20060102T150405Z")
	for k := 1; ; k++ {
		folder := filepath.Join(n.Backups(), name)
		if k > 1 {
			folder += fmt.Sprintf("-%d", k)
		}
		if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
			return folder, n.Files.MkdirAll(folder)
		} else if err != nil {
			return "", err
		}
	}
}

// setLedgerAside gives the present ledger and its marks a second name. One that cannot be opened is kept with all its files.
func (n *Night) setLedgerAside(folder string) (there bool, err error) {
	if text, err := os.ReadFile(n.MarksFile()); err == nil {
		if err := n.writeWhole(filepath.Join(folder, filepath.Base(n.MarksFile())), text); err != nil {
			return false, err
		}
	}
	if _, err := os.Lstat(n.LedgerFile()); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	switch err := sqlite.Fold(n.LedgerFile()); {
	case errors.Is(err, sqlite.ErrInUse):
		return false, ErrLooked
	case err != nil && !errors.Is(err, sqlite.ErrNotLedger) && !errors.Is(err, sqlite.ErrDamaged): // its WAL may hold the newest transactions
		return false, fmt.Errorf("%w; mend that, or move %s with its -wal and -shm away yourself, and give the command again", err, n.Relative(n.LedgerFile()))
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		from := n.LedgerFile() + suffix
		err := n.Files.Link(from, filepath.Join(folder, filepath.Base(from)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return true, nil
}

// endRestore does what is left of a restore whose ledger is in its place. Each step may be repeated.
func (n *Night) endRestore(ctx context.Context) error {
	r := n.marks.restoring
	if r == nil {
		return nil
	}
	at, err := n.Ledger.AuditAt(ctx, r.Seq)
	if errors.Is(err, ledger.ErrNotFound) || err == nil && at.Hash != r.Hash {
		return nil // it is still the old one
	}
	if err != nil {
		return err
	}
	if err := n.placeHeads(n.Path(r.Aside)); err != nil {
		return fmt.Errorf("put the signed heads of the audit log in their place: %w", err)
	}
	n.at("restore/heads")
	counters, err := n.Ledger.Counters(ctx)
	if err != nil {
		return err
	}
	head, err := n.Ledger.AuditHead(ctx)
	if err != nil {
		return err
	}
	for name, value := range counters {
		n.marks.high[name] = max(n.marks.high[name], value)
	}
	n.marks.audit, n.marks.restoring = head, nil
	if err := n.marks.write(); err != nil {
		return err
	}
	n.at("restore/ended")
	return n.Files.RemoveAll(n.restoringIn())
}

// endCutRestore ends an earlier restore whose ledger is in its place, before another one clears what it left: the signed
// heads of that ledger lie there alone. Where the ledger is the old one or cannot be read there is nothing to end.
func (n *Night) endCutRestore(ctx context.Context) (err error) {
	if n.marks.restoring == nil {
		return nil
	}
	l, err := sqlite.Open(n.LedgerFile(), n.keyset, sqlite.Options{})
	if err != nil {
		return nil
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if _, err := l.AuditAt(ctx, n.marks.restoring.Seq); err != nil {
		return nil
	}
	n.Ledger = l
	return n.endRestore(ctx)
}

// placeHeads makes state/audit/ what the restored chain was signed with: heads that the backup does not have are of lost
// nights and move aside.
func (n *Night) placeHeads(aside string) error {
	from := filepath.Join(n.restoringIn(), partHeads)
	heads, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // done, and cleared
	}
	if err != nil {
		return err
	}
	keep := map[string][]byte{}
	for _, e := range heads {
		if keep[e.Name()], err = os.ReadFile(filepath.Join(from, e.Name())); err != nil {
			return err
		}
	}
	if err := errors.Join(n.Files.MkdirAll(n.AuditHeads()), n.Files.MkdirAll(filepath.Join(aside, partHeads))); err != nil {
		return err
	}
	present, err := os.ReadDir(n.AuditHeads())
	if err != nil {
		return err
	}
	for _, e := range present {
		path := filepath.Join(n.AuditHeads(), e.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Equal(text, keep[e.Name()]) {
			delete(keep, e.Name())
			continue
		}
		if err := n.Files.Rename(path, filepath.Join(aside, partHeads, e.Name())); err != nil {
			return err
		}
	}
	for name, text := range keep {
		if err := n.writeWhole(filepath.Join(n.AuditHeads(), name), text); err != nil {
			return err
		}
	}
	return nil
}
