package bureau

import (
	"bufio"
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
)

// lifeFile is what a simulated bureau remembers of a file that came: no card data.
// The uids of its cards are in a file of their own, one a line.
type lifeFile struct {
	Name     string    `json:"name"`
	Delivery int       `json:"delivery"` // from 1; more after a refusal
	SHA256   string    `json:"sha256"`   // of the sealed bytes
	Received time.Time `json:"received"` // UTC, whole seconds
	Sequence int64     `json:"sequence"`
	Cards    int64     `json:"cards"`
	Unusable string    `json:"unusable,omitempty"` // why, in one line; "" when it is good
	Told     time.Time `json:"told"`               // everything due until then is in a return file
	Before   time.Time `json:"before"`             // and until then in an earlier one than the last
	Refused  bool      `json:"refused,omitempty"`  // its refusal was told: the name may come again
	Ended    bool      `json:"ended,omitempty"`    // nothing is left to tell
	Life     *Life     `json:"life,omitempty"`     // under which it was first answered, and is until its end; nil before
}

// lifeMemory is Dir/life.json. It is read and written under a lock, so that two
// processes may play the same bureau.
type lifeMemory struct {
	dir     string
	ended   bool        // a file ended since the memory was read
	Written int         `json:"return_files"` // so many were written
	Files   []*lifeFile `json:"files"`        // in the order in which they came
}

// Places below the simulated bureau's folder.
const (
	lifeFolder    = "life"    // uids, the lock, what is being written
	refusedFolder = "refused" // sealed files that were refused, out of the way of their repetition
)

// openLife reads the memory and keeps it for this process until unlock.
func openLife(dir string) (m *lifeMemory, unlock func(), err error) {
	folder := filepath.Join(dir, lifeFolder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, nil, err
	}
	lock := flock.New(filepath.Join(folder, "lock"), flock.SetPermissions(0o600))
	if err := lock.Lock(); err != nil {
		return nil, nil, fmt.Errorf("lock the simulated bureau's memory: %w", err)
	}
	if m, err = readLife(dir); err != nil {
		_ = lock.Unlock()
		return nil, nil, err
	}
	return m, func() { _ = lock.Unlock() }, nil
}

func readLife(dir string) (*lifeMemory, error) {
	m := &lifeMemory{dir: dir}
	text, err := os.ReadFile(filepath.Join(dir, "life.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	} else if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%s is damaged; remove it and the simulated bureau begins a new life: %w", filepath.Join(dir, "life.json"), err)
	}
	return m, nil
}

func (m *lifeMemory) save() error {
	return writeWhole(m.dir, filepath.Join(m.dir, "life.json"), os.Rename, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", " ")
		return enc.Encode(m)
	})
}

// saveEnded saves what spares the next answer a look at files that ended.
func (m *lifeMemory) saveEnded() error {
	if !m.ended {
		return nil
	}
	return m.save()
}

// file is the last delivery of a name, nil for none.
func (m *lifeMemory) file(name string) *lifeFile {
	for i := len(m.Files) - 1; i >= 0; i-- {
		if m.Files[i].Name == name {
			return m.Files[i]
		}
	}
	return nil
}

// knows: a file of that name came and is being made. One whose refusal was told begins a new life.
func (m *lifeMemory) knows(name string) bool {
	f := m.file(name)
	return f != nil && !f.Refused
}

// isCopy: this very file came before and is being made.
func (m *lifeMemory) isCopy(name, sha256 string) bool {
	return m.knows(name) && m.file(name).SHA256 == sha256
}

// add remembers a file that came, the uids before the entry.
func (m *lifeMemory) add(r Received, received time.Time) error {
	f := &lifeFile{Name: r.Name, Delivery: 1, SHA256: r.SHA256, Received: received.UTC().Truncate(time.Second)}
	if earlier := m.file(r.Name); earlier != nil {
		f.Delivery = earlier.Delivery + 1
		if earlier.SHA256 != r.SHA256 {
			f.Unusable = "its name was used for other content"
		}
	}
	contents, ok := r.Summary.(Contents)
	switch {
	case r.Err != nil:
		f.Unusable = plainReason(r.Err)
	case !ok:
		return fmt.Errorf("the check of %s does not tell the uids of its cards", r.Name)
	default:
		f.Sequence = contents.Sequence()
		uids := contents.TakeUIDs()
		if f.Unusable != "" { // and the first file's cards stay what they are
			break
		}
		f.Cards = int64(len(uids))
		if err := m.writeUIDs(r.Name, uids); err != nil {
			return err
		}
	}
	m.Files = append(m.Files, f)
	return m.save()
}

func (m *lifeMemory) uidsPath(name string) string {
	return filepath.Join(m.dir, lifeFolder, name+".uids")
}

func (m *lifeMemory) writeUIDs(name string, uids []string) error {
	return writeWhole(m.dir, m.uidsPath(name), os.Rename, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 64<<10)
		for i, uid := range uids {
			if uid == "" || strings.ContainsAny(uid, "\r\n") {
				return fmt.Errorf("the uid of record %d of %s is empty or has a line break in it", i+1, name)
			}
			_, _ = out.WriteString(uid)
			_ = out.WriteByte('\n')
		}
		return out.Flush()
	})
}

// eachUID gives the uids of a file in its order.
func (m *lifeMemory) eachUID(name string, fn func(uid string)) error {
	file, err := os.Open(m.uidsPath(name))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fn(lines.Text())
	}
	return lines.Err()
}

// writeWhole puts what fill writes under path, whole and durable or not at
// all. Until then it is under a name in dir's life folder, of the same file system, that the next write takes.
func writeWhole(dir, path string, publish func(from, to string) error, fill func(io.Writer) error) (err error) {
	temporary := filepath.Join(dir, lifeFolder, "under-way")
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(file), file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if err := publish(temporary, path); err != nil {
		return err
	}
	return machine{}.SyncFolder(filepath.Dir(path))
}
