package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"reemboss/batch/durable"
	"reemboss/batch/ledger"
)

// marks are the highest counters (sequences, PAN ranges, card ids, runs) whose
// values may have left the house, and the newest entry of the audit chain that
// is known to have been there. They lie beside the ledger in a file of their
// own, so that a ledger put back from yesterday is noticed before it gives a
// number twice, or does anything a second time.
//
// A counter moves in the ledger first; its mark is raised, durably, before
// anything that carries the number is written or sent, and with it the mark of
// the chain, whose entries tell of every act. So a crash in between leaves the
// ledger ahead of the mark, which is harmless, and a ledger behind its mark is
// always an older copy, or has lost its newest transactions.
//
// Only who holds the workspace's lock raises marks.
type marks struct {
	path  string
	files durable.Files
	there bool // the file was read, or written
	high  map[string]int64
	audit ledger.Chain // zero for marks of an earlier version
	// restoring is what a restoration is about to put in place; see swap.go.
	restoring *restoring
}

type marksFile struct {
	About     string           `json:"about"`
	Counters  map[string]int64 `json:"counters"`
	Audit     *auditMark       `json:"audit,omitempty"`
	Restoring *restoring       `json:"restoring,omitempty"`
}

// auditMark is an entry of the audit chain.
type auditMark struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// ErrMarksDamaged: they are there and say nothing. A person puts them back (exit code 4), as where they are gone.
var ErrMarksDamaged = errors.New("the high-water marks are damaged")

func readMarks(path string, files durable.Files) (*marks, error) {
	m := &marks{path: path, files: files, high: map[string]int64{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the high-water marks: %w", err)
	}
	if err := m.parse(text); err != nil {
		return nil, fmt.Errorf("%w: %s (%w); do not delete them: they keep numbers from being given twice. Put them back from a copy of today, or restore a backup with reemboss restore", ErrMarksDamaged, path, err)
	}
	return m, nil
}

func (m *marks) parse(text []byte) error {
	var f marksFile
	if err := json.Unmarshal(text, &f); err != nil {
		return err
	}
	for name, value := range f.Counters {
		m.high[name] = value
	}
	if f.Audit != nil {
		m.audit = ledger.Chain{Seq: f.Audit.Seq, Hash: f.Audit.Hash}
	}
	m.restoring = f.Restoring
	m.there = m.restoring == nil || len(m.high) > 0 || m.audit.Seq > 0 // else a restoration alone wrote them
	return nil
}

// marked is what marks look at.
type marked interface {
	ledger.Deciding
	AuditHead(ctx context.Context) (ledger.Chain, error)
	AuditAt(ctx context.Context, seq int64) (ledger.Chain, error)
}

// check compares the ledger with the marks. A counter behind its mark, an entry
// of the audit chain that is not there or is another one, and marks that are
// gone though numbers were given out, are [ledger.ErrBehind].
func (m *marks) check(ctx context.Context, l marked) error {
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
	slices.Sort(behind)
	if !m.there && issued(have) {
		behind = append(behind, "state/marks.json is not there, and nobody can tell whether this is the newest ledger")
	}
	if m.audit.Seq > 0 {
		switch at, err := l.AuditAt(ctx, m.audit.Seq); {
		case errors.Is(err, ledger.ErrNotFound):
			behind = append(behind, fmt.Sprintf("entry %d of the audit log is not in it", m.audit.Seq))
		case err != nil:
			return err
		case at != m.audit:
			behind = append(behind, fmt.Sprintf("entry %d of its audit log is not the one that was there", m.audit.Seq))
		}
	}
	if len(behind) > 0 {
		return fmt.Errorf("%w: %s; nothing is issued or sent until the newest ledger is back in state/, or, where it is lost, a backup is put back with reemboss restore", ledger.ErrBehind, strings.Join(behind, "; "))
	}
	return nil
}

// issued says that a number of some file was taken. Marks are there before the first one is.
func issued(counters map[string]int64) bool {
	for name, value := range counters {
		if value > 0 && strings.HasPrefix(name, "sequence/") {
			return true
		}
	}
	return false
}

// raise lifts the marks to the ledger's counters and to the newest entry of its chain. After a nil error they are durable.
func (m *marks) raise(ctx context.Context, l marked) error {
	have, err := l.Counters(ctx)
	if err != nil {
		return err
	}
	head, err := l.AuditHead(ctx)
	if err != nil {
		return err
	}
	higher := m.restoring != nil
	for name, value := range have {
		if value > m.high[name] {
			m.high[name], higher = value, true
		}
	}
	if head.Seq > m.audit.Seq {
		m.audit, higher = head, true
	}
	if !higher {
		return nil
	}
	m.restoring = nil // it was not put in place
	return m.write()
}

// text is the file of the marks.
func (m *marks) text() ([]byte, error) {
	f := marksFile{
		About:    "High-water marks: numbers up to these may have left the house. Never delete or lower them.",
		Counters: m.high, Restoring: m.restoring,
	}
	if m.audit.Seq > 0 {
		f.Audit = &auditMark{Seq: m.audit.Seq, Hash: m.audit.Hash}
	}
	text, err := json.MarshalIndent(f, "", "  ")
	return append(text, '\n'), err
}

func (m *marks) write() error {
	text, err := m.text()
	if err != nil {
		return fmt.Errorf("raise the high-water marks: %w", err)
	}
	if err := m.files.Write(m.path, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
		return fmt.Errorf("raise the high-water marks: %w", err)
	}
	m.there = true
	return nil
}
