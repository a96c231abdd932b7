package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"reemboss/batch/ledger"
)

// claimed settles files whose claim a crash cut: what did not reach
// state/intake/ is still the sender's, in the inbox, and is forgotten here.
func (n *Night) claimed(ctx context.Context) error {
	files, err := n.Ledger.OpenFiles(ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.State != ledger.Claiming {
			continue
		}
		info, err := os.Lstat(n.Path(f.Intake))
		switch {
		case err == nil && !info.Mode().IsRegular():
			if err := n.giveBack(ctx, f, f.Name); err != nil {
				return err
			}
		case err == nil:
			if err := n.dropMarker(f, f.Name); err != nil {
				return err
			}
			f.State = ledger.Claimed
			if err := n.keepFile(ctx, f, nil, n.audit("file.taken", printable(f.Name), "")); err != nil {
				return err
			}
		case errors.Is(err, fs.ErrNotExist):
			if err := n.Ledger.DropFile(ctx, f.ID); err != nil {
				return err
			}
		default:
			return fmt.Errorf("look at %s: %w", f.Intake, err)
		}
	}
	return nil
}

// candidate is a file of the inbox at one look.
type candidate struct {
	folder, name string
	extract      bool
	size         int64
	changed      time.Time
	marked       bool // its done-marker is there
}

func (c candidate) path() string { return filepath.Join(c.folder, c.name) }

// ready gives the files that may be taken: the done-marker is there, or two
// looks show the same size and time. The others stay for the next run.
func (n *Night) ready(ctx context.Context) (list []candidate, err error) {
	first, err := n.look(ctx)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	again := first
	for _, c := range first {
		if !c.marked {
			n.at("intake/looked")
			if err := n.Sleep(ctx, n.Config.Intake.StableFor); err != nil {
				return nil, err
			}
			if again, err = n.look(ctx); err != nil {
				return nil, err
			}
			break
		}
	}
	seen := map[string]candidate{}
	for _, c := range again {
		seen[c.path()] = c
	}
	for _, c := range first {
		now, there := seen[c.path()]
		if !there {
			continue
		}
		if !now.marked && (now.size != c.size || !now.changed.Equal(c.changed)) {
			n.note("%s is still being written; it is left in the inbox for the next run", filepath.Join(n.Relative(c.folder), n.shown(ctx, c.name)))
			continue
		}
		list = append(list, now)
	}
	return list, nil
}

// take claims the extracts among the files that are ready, or the others.
func (n *Night) take(ctx context.Context, ready []candidate, extracts bool) error {
	for i, c := range ready {
		if c.extract != extracts {
			continue
		}
		if err := n.claim(ctx, c, i+1); err != nil {
			return err
		}
	}
	return nil
}

// look lists the files of both inboxes, extracts first, each in the order of
// names. Folders, hidden files, done-markers and links are not files for us;
// what a sender may have meant as one is named in the report (passed.go).
func (n *Night) look(ctx context.Context) ([]candidate, error) {
	var list []candidate
	for _, box := range []struct {
		folder  string
		extract bool
	}{{n.InboxCards(), true}, {n.Inbox(), false}} {
		entries, err := os.ReadDir(box.folder) // sorted by name
		if err != nil {
			return nil, cmp.Or(n.vanished(box.folder), fmt.Errorf("list %s: %w", n.Relative(box.folder), err))
		}
		var passed passedOver
		for _, e := range entries {
			if n.isMarker(e.Name()) || (e.IsDir() || strings.HasPrefix(e.Name(), ".")) && !likeAFile(e.Name()) {
				continue
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("look at %s in %s: %w", e.Name(), n.Relative(box.folder), err)
			}
			if kind := n.noRequest(info); kind != "" {
				passed.add(kind, n.shown(ctx, e.Name()))
				continue
			}
			c := candidate{folder: box.folder, name: e.Name(), extract: box.extract, size: info.Size(), changed: info.ModTime()}
			if m := n.Config.Intake.DoneMarker; m != "" {
				_, err := os.Lstat(c.path() + m)
				c.marked = err == nil
			}
			list = append(list, c)
		}
		passed.tell(n, n.Relative(box.folder))
	}
	return list, nil
}

func (n *Night) isMarker(name string) bool {
	m := n.Config.Intake.DoneMarker
	return m != "" && strings.HasSuffix(name, m)
}

// claim renames one file into state/intake/. One that cannot be read or renamed stays in the inbox, and a person is told.
func (n *Night) claim(ctx context.Context, c candidate, number int) error {
	if err := c.unreadable(); err != nil {
		n.stays(c, n.shown(ctx, c.name), err)
		return nil
	}
	place := ""
	for k := number; ; k++ {
		place = filepath.Join(n.Intake(), fmt.Sprintf("%s.%02d.%04d", n.run.ID, n.run.Starts, k))
		if _, err := os.Lstat(place); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return fmt.Errorf("look at %s: %w", n.Relative(place), err)
		}
	}
	f := ledger.RequestFile{RunID: n.run.ID, Extract: c.extract, Name: n.shown(ctx, c.name), Intake: n.Relative(place),
		Size: c.size, State: ledger.Claiming, ClaimedAt: n.Now(), Owner: ownerOf(c.path())}
	id, err := n.Ledger.AddFile(ctx, f)
	if err != nil {
		return fmt.Errorf("record %s: %w", printable(f.Name), err)
	}
	f.ID = id
	n.at("intake/claiming")
	if err := n.Files.Rename(c.path(), place); err != nil {
		if errors.Is(err, fs.ErrNotExist) { // the sender took it back
			n.note("%s was gone when it was to be taken; nothing of it was done", printable(f.Name))
			return errors.Join(n.Ledger.DropFile(ctx, id), n.vanished(c.folder))
		}
		if _, there := os.Lstat(place); !errors.Is(there, fs.ErrNotExist) { // renamed, or nobody can see whether: the next run looks again
			return fmt.Errorf("take %s: %w", printable(f.Name), err)
		}
		n.stays(c, f.Name, err)
		return n.Ledger.DropFile(ctx, id)
	}
	n.at("intake/renamed")
	if info, err := os.Lstat(place); err == nil && !info.Mode().IsRegular() {
		return n.giveBack(ctx, f, c.name)
	}
	if err := n.dropMarker(f, c.name); err != nil {
		return err
	}
	f.State = ledger.Claimed
	return n.keepFile(ctx, f, nil, n.audit("file.taken", printable(f.Name), ""))
}

// giveBack puts what was swapped for a link or a device between the look and the claim back into the inbox, where it is
// left alone. It is never opened: a link leads anywhere, a pipe would hold the night for ever.
func (n *Night) giveBack(ctx context.Context, f ledger.RequestFile, name string) error {
	box := n.Inbox()
	if f.Extract {
		box = n.InboxCards()
	}
	back := filepath.Join(box, name)
	switch _, err := os.Lstat(back); {
	case err == nil: // its name has a new file; the link itself holds no bytes
		if err := n.Files.Remove(n.Path(f.Intake)); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("look at %s: %w", n.Relative(back), err)
	default:
		if err := n.Files.Rename(n.Path(f.Intake), back); err != nil {
			return fmt.Errorf("give %s back: %w", printable(f.Name), err)
		}
	}
	n.noteOnce("%s in %s is a link or a device, not a file; it is left alone: put the file itself there", printable(f.Name), n.Relative(box))
	return n.Ledger.DropFile(ctx, f.ID)
}

// dropMarker removes the done-marker of a file that was taken under name, or it would speak for the next file of that name.
func (n *Night) dropMarker(f ledger.RequestFile, name string) error {
	if n.Config.Intake.DoneMarker == "" {
		return nil
	}
	box := n.Inbox()
	if f.Extract {
		box = n.InboxCards()
	}
	return n.Files.Remove(filepath.Join(box, name) + n.Config.Intake.DoneMarker)
}
