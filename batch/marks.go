package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"reemboss/batch/durable"
	"reemboss/batch/ledger"
)

// marks are the highest counters (sequences, PAN ranges, card ids) whose
// values may have left the house. They lie beside the ledger in a file of their
// own, so that a ledger put back from yesterday is noticed before it gives a
// number twice.
//
// A counter moves in the ledger first; its mark is raised, durably, before
// anything that carries the number is written or sent. So a crash in between
// leaves the ledger ahead of the mark, which is harmless, and a ledger behind
// its mark is always an older copy.
type marks struct {
	path  string
	files durable.Files
	high  map[string]int64
}

type marksFile struct {
	About    string           `json:"about"`
	Counters map[string]int64 `json:"counters"`
}

func readMarks(path string, files durable.Files) (*marks, error) {
	m := &marks{path: path, files: files, high: map[string]int64{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the high-water marks: %w", err)
	}
	var f marksFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("the high-water marks in %s are damaged (%w); do not delete them: they keep numbers from being given twice", path, err)
	}
	for name, value := range f.Counters {
		m.high[name] = value
	}
	return m, nil
}

// check compares the ledger with the marks. A counter behind its mark is [ledger.ErrBehind].
func (m *marks) check(ctx context.Context, l ledger.Deciding) error {
	have, err := l.Counters(ctx)
	if err != nil {
		return err
	}
	var behind []string
	for name, high := range m.high {
		if have[name] < high {
			behind = append(behind, fmt.Sprintf("%s is %d, but %d was given out already", name, have[name], high))
		}
	}
	if len(behind) > 0 {
		return fmt.Errorf("%w: %s; nothing is issued or sent until the newest ledger is back in state/", ledger.ErrBehind, strings.Join(behind, "; "))
	}
	return nil
}

// raise lifts the marks to the ledger's counters. After a nil error they are durable.
func (m *marks) raise(ctx context.Context, l ledger.Deciding) error {
	have, err := l.Counters(ctx)
	if err != nil {
		return err
	}
	higher := false
	for name, value := range have {
		if value > m.high[name] {
			m.high[name], higher = value, true
		}
	}
	if !higher {
		return nil
	}
	err = m.files.Write(m.path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(marksFile{
			About:    "High-water marks: numbers up to these may have left the house. Never delete or lower them.",
			Counters: m.high,
		})
	})
	if err != nil {
		return fmt.Errorf("raise the high-water marks: %w", err)
	}
	return nil
}
