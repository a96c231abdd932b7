package bureau

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"reemboss/testdata/proof"
)

// harmful are the places of a delivery where its connection may be harmed: every end of a message, one
// byte before it and one after, and a grid between them; towards the server and from it.
func (n *nearSide) harmful(t *testing.T, grid int64) []harm {
	t.Helper()
	n.wire.harms(nil)
	n.nights(t, n.as("clean.pgp"), 1, nil)
	return n.wire.latest.places(grid)
}

// places are those of what went over one connection.
func (l *lanes) places(grid int64) []harm {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []harm
	for _, lane := range []*lane{l.up, l.down} {
		var places []int64
		for _, end := range lane.ends {
			places = append(places, end-1, end, end+1)
		}
		for at := int64(0); at < lane.passed; at += grid {
			places = append(places, at)
		}
		slices.Sort(places)
		for _, at := range slices.Compact(places) {
			if at >= 0 {
				all = append(all, harm{up: lane == l.up, after: at})
			}
		}
	}
	return all
}

// Wherever the connection is cut or falls silent, once or in every attempt of a night,
// the file is there once in the end, whole, and every error on the way is a passing one.
func TestConnectionHarmedAnywhere(t *testing.T) {
	count := proof.Of(t, "SFTP cuts")
	for _, readBack := range []bool{false, true} {
		inFakeTime(t, 40_000, Faults{}, func(t *testing.T, side *nearSide) {
			side.settings.ReadBack, side.settings.Concurrency = readBack, 4
			for _, place := range proof.Chosen(side.harmful(t, 97)) {
				for _, place.kind = range []harmKind{cutThere, silence} {
					for _, often := range []int{1, 3} {
						name := fmt.Sprintf("%s-%v-%d-%d.pgp", place.kind, place.up, place.after, often)
						f := side.as(name)
						side.wire.harms(func(dial int) harm {
							if dial <= often {
								return place
							}
							return harm{}
						})
						o := side.nights(t, f, 3, nil)
						if side.wire.cameToPass() == 0 {
							continue // the session had ended before
						}
						broken := side.violations(t, f, o, false)
						if o.state != Sent {
							broken = append(broken, fmt.Sprintf("it ended in %s: %v", o.state, o.err))
						}
						for _, err := range o.errs {
							if ClassOf(err) != BureauPassing {
								broken = append(broken, fmt.Sprintf("the class is %v: %v", ClassOf(err), err))
							}
						}
						count.Point(t, name, broken...)
					}
				}
			}
		})
	}
}

// answers are what a request may get instead of its yes, and the classes an error on it may have.
var answers = []struct {
	name    string
	answer  error
	classes []Class
}{
	{"failure", sftp.ErrSSHFxFailure, []Class{BureauPassing}},
	{"permission denied", sftp.ErrSSHFxPermissionDenied, []Class{BureauLasting}},
	{"unsupported", sftp.ErrSSHFxOpUnsupported, []Class{BureauLasting}},
	{"quota", sftp.ErrSSHFxOk + quotaExceeded, []Class{BureauPassing}},
	{"vendor code", sftp.ErrSSHFxOk + 4711, []Class{BureauPassing}},
	{"connection lost", sftp.ErrSSHFxConnectionLost, []Class{BureauPassing}},
	{"hang up", ErrHangUp, []Class{BureauPassing}},
	{"nothing, for ever", errNothing, []Class{BureauPassing}},
}

var errNothing = errors.New("no answer comes")

// failing gives every hook the same fault: what answer says, for the calls that fails names.
func failing(answer error, fails func(call int32) bool) (Faults, *atomic.Int32) {
	var calls atomic.Int32
	fail := func() error {
		if !fails(calls.Add(1)) {
			return nil
		}
		if answer == errNothing {
			time.Sleep(1000 * time.Hour)
			return ErrHangUp
		}
		return answer
	}
	one, two := func(string) error { return fail() }, func(string, string) error { return fail() }
	three := func(string, int64, int) error { return fail() }
	return Faults{
		BeforeOpen: one, BeforeClose: one, BeforeStat: one, BeforeRead: one, BeforeRemove: one, BeforeList: one,
		BeforeWrite: three, BeforeReadAt: three, BeforeRename: two, AfterRename: two,
	}, &calls
}

// The k-th request of the first night fails, or all from the k-th on, for every k, in every way: the file is
// there once in the end, and the class of each error is the right one.
func TestEveryRequestFailsInEveryWay(t *testing.T) {
	count := proof.Of(t, "SFTP answers")
	for _, a := range answers {
		for _, lasting := range []bool{false, true} {
			for at := int32(1); ; at++ {
				var night atomic.Int32
				faults, calls := failing(a.answer, func(call int32) bool {
					return night.Load() == 1 && (call == at || lasting && call > at)
				})
				var first int32 // requests of the first night
				inFakeTime(t, 80_000, faults, func(t *testing.T, side *nearSide) {
					o := side.nights(t, side.file, 3, func(n int) {
						if n == 2 {
							first = calls.Load()
						}
						night.Store(int32(n))
					})
					broken := side.violations(t, side.file, o, false)
					if o.state != Sent {
						broken = append(broken, fmt.Sprintf("it ended in %s: %v", o.state, o.err))
					}
					for _, err := range o.errs {
						if !slices.Contains(a.classes, ClassOf(err)) {
							broken = append(broken, fmt.Sprintf("the class is %v: %v", ClassOf(err), err))
						}
					}
					count.Point(t, fmt.Sprintf("%s at request %d, lasting %v", a.name, at, lasting), broken...)
				})
				if first == 0 && calls.Load() < at || first > 0 && first < at {
					break
				}
			}
		}
	}
}

// collected fetches what waits and moves it away, as the night does: the place is durable before
// anything changes at the bureau.
func collected(ctx context.Context, s *Session, dir string, kept map[string][]byte) error {
	files, err := s.Waiting(ctx, dir, []string{"*.csv"})
	for _, f := range files {
		var places shelf
		if err := s.Fetch(ctx, dir, f, places.open); err != nil {
			return err
		}
		kept[f.Name] = places.last()
		if err := s.SetAside(ctx, dir, f.Name, dir+"/"+done); err != nil {
			return err
		}
	}
	return err
}

// Wherever the connection is harmed while return files are picked up, each comes whole and lies once among
// those that are done.
func TestPickUpHarmedAnywhere(t *testing.T) {
	count := proof.Of(t, "SFTP pick-up cuts")
	inFakeTime(t, 1000, Faults{}, func(t *testing.T, side *nearSide) {
		content := map[string][]byte{"a.csv": bytes.Repeat([]byte("a"), 9000), "b.csv": bytes.Repeat([]byte("b"), 40_000)}
		one := func(place harm) []string {
			var broken []string
			for name, bytes := range content {
				side.returned(t, name, bytes)
				_ = os.Remove(filepath.Join(side.returns(), done, name))
			}
			kept := map[string][]byte{}
			side.wire.harms(func(dial int) harm {
				if dial == 1 {
					return place
				}
				return harm{}
			})
			s, err := Connect(side.settings)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			if err := collected(t.Context(), s, outgoing, kept); err != nil {
				broken = append(broken, err.Error())
			}
			for name, want := range content {
				moved, err := os.ReadFile(filepath.Join(side.returns(), done, name))
				if err != nil || !bytes.Equal(moved, want) || !bytes.Equal(kept[name], want) {
					broken = append(broken, fmt.Sprintf("%s is not there once and whole: %v", name, err))
				}
			}
			for folder, want := range map[string]int{"": 0, done: len(content)} {
				found, err := filepath.Glob(filepath.Join(side.returns(), folder, "*.csv"))
				if err != nil || len(found) != want {
					broken = append(broken, fmt.Sprintf("%d files in %q", len(found), folder))
				}
			}
			return broken
		}
		one(harm{})
		for _, place := range proof.Chosen(side.wire.latest.places(97)) {
			for _, place.kind = range []harmKind{cutThere, silence} {
				count.Point(t, fmt.Sprintf("%v after %d, towards the server %v", place.kind, place.after, place.up), one(place)...)
			}
		}
	})
}
