package batch

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reemboss/bureau"
	"reemboss/testdata/proof"
)

// TestAnySequenceOfEventsKeepsTheInvariants draws sequences of what may happen
// to a workspace: request files and copies of them, card extracts, nights,
// kills at any named point of a night or of a person's command, transfers that
// end nowhere, bureaus that answer, refuse or cannot be reached, persons who
// approve, cancel, send again, resolve and settle, changes of the
// configuration, of keys and of the clock. After each step the invariants of
// machine_invariants_test.go are held against the ledger as it is on the disk,
// the workspace and what the bureaus have; at the end of a sequence everything
// is brought to its end, and every accepted card was made once or cancelled.
//
// A sequence that fails is made shorter, and the failure says how to repeat it
// (-rapid.failfile, -rapid.seed). -rapid.checks is the number of sequences,
// -rapid.steps their mean length. Unless told otherwise, the same few
// sequences come each time; where REEMBOSS_PROVE is set they are many and new.
func TestAnySequenceOfEventsKeepsTheInvariants(t *testing.T) {
	if proof.Whole() {
		unlessGiven(t, "rapid.steps", "50")
	} else {
		unlessGiven(t, "rapid.seed", "20261001")
	}
	unlessGiven(t, "rapid.checks", fmt.Sprint(max(3, proof.Share(150))))
	unlessGiven(t, "rapid.shrinktime", "2m")
	first := newMachineWorkspace(t)
	steps, sequences := 0, 0
	happened := map[string]int{}
	defer func() {
		t.Logf("%d sequences, in which happened: %v", sequences, happened)
		proof.Tell(t, "state machine steps", steps, 0)
	}()
	var drawn []string
	rapid.Check(t, func(rt *rapid.T) {
		sequences++
		m := newMachine(t, rt, first)
		m.happened = happened
		m.filesOfAlpha()
		acts := m.steps()
		drawn = slices.Collect(maps.Keys(acts))
		for name, act := range acts {
			acts[name] = func(rt *rapid.T) {
				act(rt)
				happened[name]++ // it was not left out
			}
		}
		acts[""] = func(*rapid.T) {
			steps++
			m.look()
			m.nothingIsClear()
			m.now = m.now.Add(time.Minute)
		}
		rt.Repeat(acts)
		m.comeToAnEnd()
		m.nothingIsClear()
	})
	if !proof.Whole() {
		return
	}
	for _, name := range append(drawn, "kills", "files >UNDECIDED", "files SENT>REFUSED", "orders CANCELLED", "disputes") {
		if happened[name] == 0 {
			t.Errorf("in %d sequences it never happened: %s", sequences, name)
		}
	}
}

// unlessGiven sets a flag for this test that the command line does not give.
func unlessGiven(t *testing.T, name, value string) {
	t.Helper()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if given {
		return
	}
	before := flag.Lookup(name).Value.String()
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(name, before) })
}

// sequence is a test whose failures are those of a drawn sequence, which is then made shorter. Of what is to be closed after
// it only the newest is kept: a workspace is open once, so the one before is closed, and hundreds of them need much memory.
type sequence struct {
	testing.TB
	rt   *rapid.T
	last *func()
}

func newSequence(t *testing.T, rt *rapid.T) sequence {
	s := sequence{t, rt, new(func())}
	rt.Cleanup(func() {
		if *s.last != nil {
			(*s.last)()
		}
	})
	return s
}

func (s sequence) Helper()                      { s.rt.Helper() }
func (s sequence) Context() context.Context     { return s.rt.Context() }
func (s sequence) Cleanup(f func())             { *s.last = f }
func (s sequence) Log(args ...any)              { s.rt.Helper(); s.rt.Log(args...) }
func (s sequence) Logf(f string, args ...any)   { s.rt.Helper(); s.rt.Logf(f, args...) }
func (s sequence) Error(args ...any)            { s.rt.Helper(); s.rt.Error(args...) }
func (s sequence) Errorf(f string, args ...any) { s.rt.Helper(); s.rt.Errorf(f, args...) }
func (s sequence) Fatal(args ...any)            { s.rt.Helper(); s.rt.Fatal(args...) }
func (s sequence) Fatalf(f string, args ...any) { s.rt.Helper(); s.rt.Fatalf(f, args...) }
func (s sequence) Fail()                        { s.rt.Fail() }
func (s sequence) FailNow()                     { s.rt.FailNow() }
func (s sequence) Failed() bool                 { return s.rt.Failed() }
func (s sequence) Skip(args ...any)             { s.rt.Skip(args...) }
func (s sequence) Skipf(f string, args ...any)  { s.rt.Skipf(f, args...) }
func (s sequence) SkipNow()                     { s.rt.SkipNow() }

// machine is a workspace, what its bureaus and persons know, and what was seen of it.
type machine struct {
	*bench
	*astray
	model
	rt        *rapid.T
	people    map[string]*bureau.Key // private
	privates  map[string]*bureau.Key // of the recipients
	processes uint64                 // begun so far
	latest    time.Time              // that the clock ever showed
	happened  map[string]int         // in all sequences, for the log
}

// newMachineWorkspace is a workspace with people who may approve, on a first of October.
func newMachineWorkspace(t *testing.T) *hall {
	h := newHallAt(t, time.Date(2026, 10, 1, 21, 30, 0, 0, time.UTC))
	h.silent()
	h.configure("always: true", "always: false")
	h.now = h.now.Add(24 * time.Hour)
	return h
}

func newMachine(t *testing.T, rt *rapid.T, first *hall) *machine {
	dir, err := os.MkdirTemp(t.TempDir(), "machine")
	if err != nil {
		t.Fatal(err)
	}
	rt.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &bench{TB: newSequence(t, rt), Workspace: Workspace{Dir: filepath.Join(dir, "w")}, now: first.now}
	m := &machine{bench: b, astray: newAstray(b), model: newModel(), rt: rt, people: first.keys, privates: map[string]*bureau.Key{}, latest: first.now}
	if err := copyTree(first.Dir, b.Dir); err != nil {
		b.Fatal(err)
	}
	m.privates["alpha"], m.privates["beta"] = b.recipientsKey("alpha", "keys", "bureau.pgp"), b.recipientsKey("beta", "keys", "bureau.pgp")
	m.privates["card-system"] = b.recipientsKey("card-system", "keys", "card-system.pgp")
	m.extract()
	return m
}

// process works in a process of its own. At its dies-th named point (0: never) it is killed: what is on the disk at that
// moment is what the next one finds. Each point is given to passing before.
func (m *machine) process(dies int, passing func(n *Night, point string), work func(n *Night)) (died bool) {
	m.Helper()
	m.processes++
	n := m.open()
	n.chunk, n.piece = 2, 3
	n.Random = rand.NewChaCha8([32]byte{byte(m.processes), byte(m.processes >> 8)})
	image := m.Dir + ".killed"
	n.Checkpoint = func(point string) {
		if passing != nil {
			passing(n, point)
		}
		if dies--; dies == 0 {
			if err := copyTree(m.Dir, image); err != nil {
				m.Fatal(err)
			}
			panic(killed{point})
		}
	}
	func() {
		defer func() {
			if r := recover(); r != nil {
				at, ours := r.(killed)
				if !ours {
					panic(r)
				}
				died = true
				m.Logf("killed at %s", at.point)
				m.happened["kills"]++
				m.happened["killed at "+at.point[:strings.IndexByte(at.point+"/", '/')]]++
			}
		}()
		work(n)
	}()
	if err := n.Close(); err != nil {
		m.Fatal(err)
	}
	if died {
		if err := errors.Join(os.RemoveAll(m.Dir), os.Rename(image, m.Dir)); err != nil {
			m.Fatal(err)
		}
	}
	return died
}

// copyTree copies a folder as it is, with rights and times.
func copyTree(from, to string) error {
	type stamped struct {
		path string
		at   time.Time
	}
	var folders []stamped
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, below)
		if d.IsDir() {
			folders = append(folders, stamped{target, info.ModTime()})
			return os.MkdirAll(target, info.Mode().Perm())
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no file", path)
		}
		content, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(target, content, info.Mode().Perm())
		}
		return errors.Join(err, os.Chtimes(target, info.ModTime(), info.ModTime()))
	})
	for _, f := range slices.Backward(folders) {
		err = errors.Join(err, os.Chtimes(f.path, f.at, f.at))
	}
	return err
}
