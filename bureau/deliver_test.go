package bureau

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const fileName = "alpha-000001.xml.pgp"

func deliver(t *testing.T, side *farSide, f File, from State, resend bool, h *history) (State, error) {
	t.Helper()
	return Deliver(t.Context(), side.settings, f, from, resend, h)
}

func mustDeliver(t *testing.T, side *farSide, f File, from State, resend bool, h *history) {
	t.Helper()
	if state, err := deliver(t, side, f, from, resend, h); state != Sent || err != nil {
		t.Fatalf("%s, %v", state, err)
	}
}

func wantClass(t *testing.T, err error, class Class, cause error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("want an *Error, got %v", err)
	}
	if e.Class != class || cause != nil && !errors.Is(err, cause) {
		t.Errorf("class %v, want %v with %v: %v", e.Class, class, cause, err)
	}
}

func TestDeliveryTakesEveryStepInItsOrder(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		side.settings.ReadBack = true
		f := outboxFile(t, fileName, 3<<20+17)
		h := newHistory(t, Written)
		mustDeliver(t, side, f, Written, false, h)
		if want := []State{Intent, Uploaded, Renaming, Sent}; !slices.Equal(h.steps, want) {
			t.Errorf("steps %v", h.steps)
		}
		side.holds(t, fileName, f)
		side.lacks(t, fileName+".part")
		ev := h.last
		if ev.Size != f.Size || ev.SHA256 != f.SHA256 || ev.Hash != HashReadBack || ev.Seen != SeenRenamed ||
			!ev.At.Equal(keyTime) || !strings.HasPrefix(ev.HostKey, "SHA256:") || ev.Host != host+":2222" {
			t.Errorf("evidence %+v", ev)
		}
	})
}

func TestDeliverySettings(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *farSide){
		"no stat":       func(_ *testing.T, s *farSide) { s.settings.Stat = false },
		"no read back":  func(_ *testing.T, s *farSide) { s.settings.ReadBack = false },
		"one request":   func(_ *testing.T, s *farSide) { s.settings.Concurrency = 1 },
		"many requests": func(_ *testing.T, s *farSide) { s.settings.Concurrency = 200 },
		"other suffix":  func(_ *testing.T, s *farSide) { s.settings.TempSuffix = ".tmp" },
		"one cipher":    func(_ *testing.T, s *farSide) { s.settings.Ciphers = []string{"aes256-ctr"} },
		"temporary folder": func(t *testing.T, s *farSide) {
			if err := os.Mkdir(filepath.Join(s.incoming, "tmp"), 0o700); err != nil {
				t.Fatal(err)
			}
			s.settings.TempDir = s.settings.Dir + "/tmp"
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEachServer(t, func(t *testing.T, side *farSide) {
				change(t, side)
				f := outboxFile(t, fileName, 200_000)
				mustDeliver(t, side, f, Written, false, newHistory(t, Written))
				side.holds(t, fileName, f)
				for _, folder := range []string{side.incoming, filepath.Join(side.incoming, "tmp")} {
					entries, _ := os.ReadDir(folder)
					for _, entry := range entries {
						if entry.Name() != fileName && !entry.IsDir() {
							t.Errorf("%s is left", entry.Name())
						}
					}
				}
			})
		})
	}
}

func TestFsync(t *testing.T) {
	f := outboxFile(t, fileName, 100_000)
	t.Run("OpenSSH offers it", func(t *testing.T) {
		side := startOpenSSH(t)
		side.settings.Fsync = true
		mustDeliver(t, side, f, Written, false, newHistory(t, Written))
	})
	t.Run("a server without it says so", func(t *testing.T) {
		side, _ := startSimulator(t, Faults{})
		side.settings.Fsync = true
		_, err := deliver(t, side, f, Written, false, newHistory(t, Written))
		wantClass(t, err, BureauLasting, nil)
		side.lacks(t, fileName)
	})
}

func TestSeveralFilesGoOverOneConnection(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		proxy := startCutter(t, side)
		session, err := Connect(side.settings)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = session.Close() }()
		if err := session.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, name := range names(5) {
			f := outboxFile(t, name, 50_000)
			if state, err := session.Deliver(t.Context(), f, Written, false, newHistory(t, Written)); state != Sent {
				t.Fatal(state, err)
			}
			side.holds(t, name, f)
		}
		if _, dials := proxy.count(); dials != 1 {
			t.Errorf("%d connections", dials)
		}
	})
}

// A second run takes the state SENT from the ledger and does not even connect.
func TestInvariant6_SentIsNotSentAgain(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	proxy := startCutter(t, side)
	h := newHistory(t, Sent)
	mustDeliver(t, side, File{RemoteName: fileName}, Sent, false, h)
	if _, dials := proxy.count(); dials != 0 || len(h.steps) != 0 {
		t.Errorf("%d connections, steps %v", dials, h.steps)
	}
}

func TestUndecidedIsNeverSentByItself(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	proxy := startCutter(t, side)
	f := outboxFile(t, fileName, 1000)
	for _, resend := range []bool{false, true} {
		h := newHistory(t, Undecided)
		state, err := deliver(t, side, f, Undecided, resend, h)
		if state != Undecided || len(h.steps) != 0 {
			t.Errorf("%s, steps %v", state, h.steps)
		}
		wantClass(t, err, BureauLasting, ErrUndecided)
	}
	if _, dials := proxy.count(); dials != 0 {
		t.Errorf("%d connections", dials)
	}
}

// A file under our name that this delivery did not put there stays, and a person is asked.
func TestInvariant3_AForeignFileIsNeverOverwritten(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		f := outboxFile(t, fileName, 70_000)
		for name, foreign := range map[string][]byte{
			"of another size": []byte("somebody else's"),
			"of our size":     bytes.Repeat([]byte{7}, 70_000),
			"our very bytes":  readAll(t, f.LocalPath), // in the state WRITTEN nothing was sent: it cannot be ours
		} {
			for _, from := range []State{Written, Intent, Uploaded} {
				t.Run(name+" from "+string(from), func(t *testing.T) {
					side.put(t, fileName, foreign)
					h := newHistory(t, from)
					state, err := deliver(t, side, f, from, false, h)
					wantClass(t, err, BureauLasting, ErrNameTaken)
					if state == Sent || state == Undecided {
						t.Errorf("the state is %s", state)
					}
					if !bytes.Equal(side.onDisk(t, fileName), foreign) {
						t.Error("the foreign file changed")
					}
				})
			}
		}
	})
}

func TestResend(t *testing.T) {
	for _, readBack := range []bool{false, true} {
		onEachServer(t, func(t *testing.T, side *farSide) {
			side.settings.ReadBack = readBack
			f := outboxFile(t, fileName, 70_000)
			mustDeliver(t, side, f, Written, false, newHistory(t, Written))

			t.Run("still there: nothing is sent", func(t *testing.T) {
				h := newHistory(t, Written)
				mustDeliver(t, side, f, Written, true, h)
				if !slices.Equal(h.steps, []State{Intent, Sent}) || h.last.Seen != SeenAlreadySent {
					t.Errorf("steps %v, %s", h.steps, h.last.Seen)
				}
				if want := map[bool]HashKind{true: HashReadBack, false: HashNone}[readBack]; h.last.Hash != want {
					t.Errorf("hash %q", h.last.Hash)
				}
			})
			t.Run("another file there: it stays", func(t *testing.T) {
				foreign := []byte("not ours")
				if readBack {
					foreign = make([]byte, f.Size)
				}
				side.put(t, fileName, foreign)
				_, err := deliver(t, side, f, Written, true, newHistory(t, Written))
				wantClass(t, err, BureauLasting, ErrNameTaken)
				if !bytes.Equal(side.onDisk(t, fileName), foreign) {
					t.Error("it changed")
				}
			})
		})
	}
	t.Run("taken away by the bureau: the same bytes again", func(t *testing.T) {
		side := startOpenSSH(t)
		f := outboxFile(t, fileName, 70_000)
		mustDeliver(t, side, f, Written, false, newHistory(t, Written))
		if err := os.Remove(filepath.Join(side.incoming, fileName)); err != nil {
			t.Fatal(err)
		}
		mustDeliver(t, side, f, Written, true, newHistory(t, Written))
		side.holds(t, fileName, f)
	})
}

func TestStaleTemporaryFileOfOursIsReplaced(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		f := outboxFile(t, fileName, 70_000)
		side.put(t, fileName+".part", make([]byte, 100_000))
		side.put(t, "another.pgp.part", []byte("somebody's"))
		mustDeliver(t, side, f, Intent, false, newHistory(t, Intent))
		side.holds(t, fileName, f)
		if side.onDisk(t, fileName+".part") != nil {
			t.Error("what an earlier attempt left under our temporary name is still there")
		}
		if string(side.onDisk(t, "another.pgp.part")) != "somebody's" {
			t.Error("a temporary file that is not ours was touched")
		}
	})
}

func TestAFolderUnderOurTemporaryNameIsNotRemoved(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		if err := os.Mkdir(filepath.Join(side.incoming, fileName+".part"), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := deliver(t, side, outboxFile(t, fileName, 10), Written, false, newHistory(t, Written))
		wantClass(t, err, BureauLasting, nil)
		if _, err := os.Stat(filepath.Join(side.incoming, fileName+".part")); err != nil {
			t.Error(err)
		}
	})
}

func TestALinkUnderTheFinalNameIsNotOurFile(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		f := outboxFile(t, fileName, 1000)
		side.put(t, "target", readAll(t, f.LocalPath))
		if err := os.Symlink("target", filepath.Join(side.incoming, fileName)); err != nil {
			t.Fatal(err)
		}
		state, err := deliver(t, side, f, Written, true, newHistory(t, Written))
		if side.habits.showsTargets {
			if state != Sent { // the very bytes, behind a link that nobody can see
				t.Error(state, err)
			}
			return
		}
		wantClass(t, err, BureauLasting, ErrNameTaken)
	})
}

func TestNothingIsSentOfAFileThatChangedInTheOutbox(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	proxy := startCutter(t, side)
	for name, spoil := range map[string]func(f *File){
		"another content": func(f *File) { writeFile(t, f.LocalPath, make([]byte, f.Size), 0o600) },
		"cut":             func(f *File) { _ = os.Truncate(f.LocalPath, f.Size-1) },
		"gone":            func(f *File) { _ = os.Remove(f.LocalPath) },
	} {
		t.Run(name, func(t *testing.T) {
			f := outboxFile(t, fileName, 5000)
			spoil(&f)
			h := newHistory(t, Written)
			state, err := deliver(t, side, f, Written, false, h)
			wantClass(t, err, Ours, nil)
			if state != Written || len(h.steps) != 0 {
				t.Errorf("%s, steps %v", state, h.steps)
			}
		})
	}
	if _, dials := proxy.count(); dials != 0 {
		t.Errorf("%d connections", dials)
	}
}

func TestStopAskedForIsNoFailureOfTheBureau(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	side, _ := startSimulator(t, Faults{BeforeWrite: func(string, int64, int) error { stop(); return nil }})
	h := newHistory(t, Written)
	state, err := Deliver(ctx, side.settings, outboxFile(t, fileName, 8<<20), Written, false, h)
	if state == Sent || !errors.Is(err, context.Canceled) {
		t.Errorf("%s, %v", state, err)
	}
	wantClass(t, err, Operator, nil)
	mustDeliver(t, side, outboxFile(t, "next.pgp", 100), Written, false, newHistory(t, Written))
}

func TestSilentServerIsALostConnection(t *testing.T) {
	hold := make(chan struct{})
	side, _ := startSimulator(t, Faults{BeforeStat: func(string) error { <-hold; return nil }})
	defer close(hold)
	side.settings.IdleTimeout = 50 * time.Millisecond
	side.settings.Attempts = 2
	_, err := deliver(t, side, outboxFile(t, fileName, 100), Written, false, newHistory(t, Written))
	wantClass(t, err, BureauPassing, nil)
}
