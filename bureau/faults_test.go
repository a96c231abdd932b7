package bureau

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"
)

// The answer to the rename is lost, after the server did it or before it heard of it.
func TestRenameWithoutAnAnswer(t *testing.T) {
	for name, plan := range map[string]cut{"it happened": cutAnswer, "it never arrived": cutRequest} {
		t.Run(name, func(t *testing.T) {
			onEachServer(t, func(t *testing.T, side *farSide) {
				proxy := startCutter(t, side)
				f := outboxFile(t, fileName, 70_000)
				h := newHistory(t, Written)
				h.on = func(to State) {
					if to == Renaming {
						proxy.arm(plan, 0)
					}
				}
				mustDeliver(t, side, f, Written, false, h)
				if !slices.Equal(h.steps, []State{Intent, Uploaded, Renaming, Sent}) {
					t.Errorf("steps %v", h.steps)
				}
				if cuts, dials := proxy.count(); cuts != 1 || dials != 2 {
					t.Errorf("%d cuts, %d connections", cuts, dials)
				}
				if h.last.Attempt != 2 {
					t.Errorf("attempt %d", h.last.Attempt)
				}
				if plan == cutAnswer && h.last.Seen != SeenThere {
					t.Errorf("seen: %s", h.last.Seen)
				}
				side.holds(t, fileName, f)
				side.lacks(t, fileName+".part")
			})
		})
	}
}

// The same, and the bureau moved the file away before we could look.
func TestRenameWithoutAnAnswerAndTheFileTakenAway(t *testing.T) {
	for _, takenAway := range []bool{true, false} {
		var folder string
		side, _ := startSimulator(t, Faults{AfterRename: func(_, to string) error {
			if err := os.Remove(filepath.Join(folder, to)); err != nil {
				return err
			}
			return ErrHangUp
		}})
		folder, side.settings.TakenAway = side.incoming, takenAway
		h := newHistory(t, Written)
		state, err := deliver(t, side, outboxFile(t, fileName, 5000), Written, false, h)
		if takenAway {
			if state != Sent || err != nil || h.last.Seen != SeenTakenAway {
				t.Errorf("%s, %v, %s", state, err, h.last.Seen)
			}
			continue
		}
		wantClass(t, err, BureauLasting, ErrUndecided)
		if state != Undecided || h.state != Undecided {
			t.Errorf("%s", state)
		}
	}
}

// Where the folder is gone, or is another one than that of the rename, names that are not there prove nothing.
func TestNothingIsTakenAwayFromWhereItNeverWas(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	side.settings.TakenAway = true
	f := outboxFile(t, fileName, 5000)
	for name, asked := range map[string]*Evidence{
		"another folder":           {Host: side.settings.address(), Name: "in/" + fileName},
		"another host":             {Host: "old.example:22", Name: side.settings.finalPath(fileName)},
		"another login":            {User: "old"},
		"another temporary name":   {Temporary: side.settings.finalPath(fileName) + ".tmp"},
		"another temporary folder": {Temporary: "tmp/" + fileName + ".part"},
		"before it was recorded":   nil,
	} {
		f.Asked = asked
		if asked != nil { // all else is as it was
			was := side.asked(fileName)
			asked.Host, asked.Name = cmp.Or(asked.Host, was.Host), cmp.Or(asked.Name, was.Name)
			asked.User, asked.Temporary = cmp.Or(asked.User, was.User), cmp.Or(asked.Temporary, was.Temporary)
		}
		state, err := deliver(t, side, f, Renaming, false, newHistory(t, Renaming))
		wantClass(t, err, BureauLasting, ErrUndecided)
		if state != Undecided {
			t.Errorf("%s: %s", name, state)
		}
	}
	f.Asked = side.asked(fileName)
	mustDeliver(t, side, f, Renaming, false, newHistory(t, Renaming))
}

// A rename that did not happen is asked for again under the temporary name that the file has, whatever suffix or folder is configured since.
func TestARenameIsAskedForAgainUnderTheNameThatTheFileHas(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	f := outboxFile(t, fileName, 5000)
	f.Asked = side.asked(fileName)
	side.put(t, fileName+".part", readAll(t, f.LocalPath))
	side.settings.TakenAway, side.settings.TempSuffix = true, ".tmp"
	h := newHistory(t, Renaming)
	mustDeliver(t, side, f, Renaming, false, h)
	side.holds(t, fileName, f)
	side.lacks(t, fileName+".part")
	if h.last.Seen != SeenRenamed {
		t.Errorf("seen: %s", h.last.Seen)
	}
}

// What another login, another host or another folder shows under the names is not that of which the rename was asked.
func TestWhatStandsElsewhereTellsNothingOfARename(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	for _, change := range []func(*Evidence){
		func(asked *Evidence) { asked.User = "old" }, func(asked *Evidence) { asked.Host = "old.example:22" }, func(asked *Evidence) { asked.Name = "in/" + fileName },
	} {
		f := outboxFile(t, fileName, 5000)
		f.Asked = side.asked(fileName)
		change(f.Asked)
		for _, name := range []string{fileName + ".part", fileName} {
			side.put(t, name, readAll(t, f.LocalPath))
			state, err := deliver(t, side, f, Renaming, false, newHistory(t, Renaming))
			if wantClass(t, err, BureauLasting, ErrUndecided); state != Undecided {
				t.Errorf("%s there, %+v: %s", name, f.Asked, state)
			}
			if err := os.Remove(filepath.Join(side.incoming, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// asked is the record of a rename as these settings ask for it.
func (s *farSide) asked(name string) *Evidence {
	final := s.settings.finalPath(name)
	return &Evidence{Host: s.settings.address(), User: s.settings.User, Name: final, Temporary: final + ".part"}
}

func TestNothingIsTakenAwayFromAFolderThatIsNotThere(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		side.settings.TakenAway, side.settings.Dir = true, "nowhere"
		state, err := deliver(t, side, outboxFile(t, fileName, 5000), Renaming, false, newHistory(t, Renaming))
		wantClass(t, err, BureauLasting, nil)
		if state != Renaming {
			t.Errorf("%s", state)
		}
	})
}

func TestRenameConfirmedAndTheFileTakenAway(t *testing.T) {
	var folder string
	side, _ := startSimulator(t, Faults{AfterRename: func(_, to string) error { return os.Remove(filepath.Join(folder, to)) }})
	folder = side.incoming
	h := newHistory(t, Written)
	mustDeliver(t, side, outboxFile(t, fileName, 5000), Written, false, h)
	if h.last.Seen != SeenTakenAfter {
		t.Errorf("seen: %s", h.last.Seen)
	}
}

func TestServerThatConfirmsARenameAndDoesNothing(t *testing.T) {
	side, _ := startSimulator(t, Faults{BeforeRename: func(string, string) error { return ErrPretend }})
	h := newHistory(t, Written)
	state, err := deliver(t, side, outboxFile(t, fileName, 5000), Written, false, h)
	wantClass(t, err, BureauPassing, nil)
	if state != Uploaded {
		t.Errorf("the state is %s", state)
	}
}

// Transfer tools delete the target when the rename is refused.
func TestKnownFault_RenameRefusedKeepsTarget(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		f := outboxFile(t, fileName, 5000)
		stranger := []byte("the bureau's own file, just arrived")
		h := newHistory(t, Written)
		h.on = func(to State) {
			if to == Renaming { // between the last look and the rename
				side.put(t, fileName, stranger)
			}
		}
		state, err := deliver(t, side, f, Written, false, h)
		if side.habits.replaces {
			side.holds(t, fileName, f)
			return
		}
		wantClass(t, err, BureauLasting, ErrNameTaken)
		if state != Uploaded {
			t.Errorf("the state is %s", state)
		}
		if !bytes.Equal(side.onDisk(t, fileName), stranger) {
			t.Error("the target was changed")
		}
		side.holds(t, fileName+".part", f)
	})
}

// A stranger's file of our very size beside a refusal proves nothing, without a hash.
func TestRefusedRenameBesideAFileOfOurSizeIsForAPerson(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		h := newHistory(t, Written)
		h.on = func(to State) {
			if to == Renaming {
				side.put(t, fileName, make([]byte, 5000))
			}
		}
		f := outboxFile(t, fileName, 5000)
		state, err := deliver(t, side, f, Written, false, h)
		if side.habits.replaces {
			side.holds(t, fileName, f)
			return
		}
		wantClass(t, err, BureauLasting, ErrUndecided)
		if state != Undecided {
			t.Errorf("the state is %s", state)
		}
	})
}

func TestRefusedRenameIsTriedAgain(t *testing.T) {
	var refusals atomic.Int32
	side, _ := startSimulator(t, Faults{BeforeRename: func(string, string) error {
		if refusals.Add(1) == 1 {
			return sftp.ErrSSHFxFailure
		}
		return nil
	}})
	f := outboxFile(t, fileName, 5000)
	h := newHistory(t, Written)
	mustDeliver(t, side, f, Written, false, h)
	if !slices.Equal(h.steps, []State{Intent, Uploaded, Renaming, Uploaded, Renaming, Sent}) {
		t.Errorf("steps %v", h.steps)
	}
	side.holds(t, fileName, f)
}

// A retry of a peer sent the unread rest of a buffer.
func TestKnownFault_RetryRewinds(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		proxy := startCutter(t, side)
		proxy.arm(cutAfter, 1<<20)
		f := outboxFile(t, fileName, 3<<20)
		h := newHistory(t, Written)
		mustDeliver(t, side, f, Written, false, h)
		if cuts, dials := proxy.count(); cuts != 1 || dials != 2 {
			t.Errorf("%d cuts, %d connections", cuts, dials)
		}
		side.holds(t, fileName, f)
		side.lacks(t, fileName+".part")
	})
}

// The connection is cut after every so many bytes of a whole delivery: it
// ends in SENT with the whole file there each time.
func TestConnectionCutAnywhere(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		proxy := startCutter(t, side)
		content := readAll(t, outboxFile(t, "x", 60_000).LocalPath)
		for after := 1; ; after += 7000 {
			f := frozen(t, "cut-"+time.Duration(after).String()+".pgp", content)
			proxy.arm(cutAfter, after)
			state, err := deliver(t, side, f, Written, false, newHistory(t, Written))
			if state != Sent || err != nil {
				t.Fatalf("cut after %d bytes: %s, %v", after, state, err)
			}
			side.holds(t, f.RemoteName, f)
			proxy.mu.Lock()
			unused := proxy.plan == cutAfter
			proxy.mu.Unlock()
			if unused {
				return // the delivery ended before the cut: every place was had
			}
		}
	})
}

// A library told a short upload as success.
func TestKnownFault_ShortUploadIsNotSuccess(t *testing.T) {
	const room = 100_000
	full := func(answer error) func(string, int64, int) error {
		return func(_ string, offset int64, _ int) error {
			if offset >= room {
				return answer
			}
			return nil
		}
	}
	for name, faults := range map[string]Faults{
		"the disk is full":                    {BeforeWrite: full(sftp.ErrSSHFxFailure)},
		"the disk is full and it is not told": {BeforeWrite: full(ErrPretend)},
		"it is told when the file is closed":  {BeforeClose: func(string) error { return sftp.ErrSSHFxFailure }},
	} {
		t.Run(name, func(t *testing.T) {
			side, _ := startSimulator(t, faults)
			h := newHistory(t, Written)
			state, err := deliver(t, side, outboxFile(t, fileName, 3*room), Written, false, h)
			wantClass(t, err, BureauPassing, nil)
			if state != Intent || !slices.Equal(h.steps, []State{Intent}) {
				t.Errorf("%s, steps %v", state, h.steps)
			}
			side.lacks(t, fileName)
		})
	}
}

// A hole in the middle leaves the size right; only reading back finds it.
func TestReadBackFindsWhatTheSizeHides(t *testing.T) {
	side, _ := startSimulator(t, Faults{BeforeWrite: func(_ string, offset int64, _ int) error {
		if offset == 32<<10 {
			return ErrPretend
		}
		return nil
	}})
	side.settings.ReadBack = true
	_, err := deliver(t, side, outboxFile(t, fileName, 200_000), Written, false, newHistory(t, Written))
	wantClass(t, err, BureauPassing, nil)
	side.lacks(t, fileName)
}

func TestServerThatForbidsReadingBackIsNamed(t *testing.T) {
	side, _ := startSimulator(t, Faults{BeforeRead: func(string) error { return sftp.ErrSSHFxPermissionDenied }})
	side.settings.ReadBack = true
	_, err := deliver(t, side, outboxFile(t, fileName, 1000), Written, false, newHistory(t, Written))
	wantClass(t, err, BureauLasting, nil)
}

func TestServerThatForbidsStatIsServedByListing(t *testing.T) {
	side, _ := startSimulator(t, Faults{BeforeStat: func(string) error { return sftp.ErrSSHFxPermissionDenied }})
	f := outboxFile(t, fileName, 1000)
	_, err := deliver(t, side, f, Written, false, newHistory(t, Written))
	wantClass(t, err, BureauLasting, nil)
	side.settings.Stat = false
	mustDeliver(t, side, f, Written, false, newHistory(t, Written))
}

// What was delivered is SENT even where the server keeps our temporary file.
func TestTemporaryFileThatMayNotBeRemovedIsNamedInTheEvidence(t *testing.T) {
	side, _ := startSimulator(t, Faults{BeforeRemove: func(string) error { return sftp.ErrSSHFxPermissionDenied }})
	f := outboxFile(t, fileName, 1000)
	side.put(t, fileName, readAll(t, f.LocalPath))
	side.put(t, fileName+".part", readAll(t, f.LocalPath))
	h := newHistory(t, Renaming)
	mustDeliver(t, side, f, Renaming, false, h)
	if h.last.Left != incoming+"/"+fileName+".part" {
		t.Errorf("left %q", h.last.Left)
	}
}

// The retry layer of a peer turned a permanent error into success.
func TestKnownFault_PermanentErrorIsNotSuccess(t *testing.T) {
	for name, faults := range map[string]Faults{
		"no right to create": {BeforeOpen: func(string) error { return sftp.ErrSSHFxPermissionDenied }},
		"no right to write":  {BeforeWrite: func(string, int64, int) error { return sftp.ErrSSHFxPermissionDenied }},
		"no right to rename": {BeforeRename: func(string, string) error { return sftp.ErrSSHFxPermissionDenied }},
		"no rename at all":   {BeforeRename: func(string, string) error { return sftp.ErrSSHFxOpUnsupported }},
	} {
		t.Run(name, func(t *testing.T) {
			side, _ := startSimulator(t, faults)
			side.settings.Attempts = 5
			side.settings.Sleep = func(context.Context, time.Duration) error {
				t.Error("a lasting error was tried again")
				return nil
			}
			state, err := deliver(t, side, outboxFile(t, fileName, 100_000), Written, false, newHistory(t, Written))
			wantClass(t, err, BureauLasting, nil)
			if state == Sent {
				t.Error("it is SENT")
			}
			side.lacks(t, fileName)
		})
	}
}

func TestPassingErrorsAreTriedAgainWithDoubledPauses(t *testing.T) {
	side, _ := startSimulator(t, Faults{BeforeOpen: func(string) error { return sftp.ErrSSHFxFailure }})
	var pauses []time.Duration
	side.settings.Attempts, side.settings.RetryPause = 4, 2*time.Second
	side.settings.Sleep = func(_ context.Context, d time.Duration) error {
		pauses = append(pauses, d)
		return nil
	}
	_, err := deliver(t, side, outboxFile(t, fileName, 1000), Written, false, newHistory(t, Written))
	wantClass(t, err, BureauPassing, nil)
	if !slices.Equal(pauses, []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second}) {
		t.Errorf("pauses %v", pauses)
	}
}

// Every hook of the simulator fails once, with an answer and with a cut, at
// each of its calls in turn, until a delivery meets no failure.
func TestEveryOperationFailsOnce(t *testing.T) {
	for name, failure := range map[string]error{"refused": sftp.ErrSSHFxFailure, "cut": ErrHangUp} {
		for _, readBack := range []bool{false, true} {
			for at := int32(1); ; at++ {
				var calls atomic.Int32
				fail := func() error {
					if calls.Add(1) == at {
						return failure
					}
					return nil
				}
				one := func(string) error { return fail() }
				two := func(string, string) error { return fail() }
				side, _ := startSimulator(t, Faults{
					BeforeOpen: one, BeforeClose: one, BeforeStat: one, BeforeRead: one, BeforeRemove: one, BeforeList: one,
					BeforeWrite:  func(string, int64, int) error { return fail() },
					BeforeRename: two, AfterRename: two,
				})
				side.settings.ReadBack = readBack
				f := outboxFile(t, fileName, 80_000)
				state, err := deliver(t, side, f, Written, false, newHistory(t, Written))
				if state != Sent || err != nil {
					// A refused reading of our own file back is lasting by decision.
					if !(readBack && name == "refused" && ClassOf(err) == BureauLasting) {
						t.Fatalf("%s at operation %d, read back %v: %s, %v", name, at, readBack, state, err)
					}
					side.lacks(t, fileName)
				} else {
					side.holds(t, fileName, f)
					side.lacks(t, fileName+".part")
				}
				if calls.Load() < at {
					break
				}
			}
		}
	}
}

func TestConnectionLostBetweenFilesIsMadeAnew(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		side.settings.Attempts = 2
		session, err := Connect(side.settings)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = session.Close() }()
		first, second := outboxFile(t, "1.pgp", 1000), outboxFile(t, "2.pgp", 1000)
		if _, err := session.Deliver(t.Context(), first, Written, false, newHistory(t, Written)); err != nil {
			t.Fatal(err)
		}
		_ = session.link.conn.Conn.Close()
		if _, err := session.Deliver(t.Context(), second, Written, false, newHistory(t, Written)); err != nil {
			t.Fatal(err)
		}
		side.holds(t, "2.pgp", second)
	})
}

func TestErrorsTellWhatToDo(t *testing.T) {
	err := (&remote{settings: Settings{Host: "h", Port: 22}}).failed("create", "in/x.part", os.ErrPermission)
	const want = "h:22: create in/x.part: the server does not permit it; ask the bureau for the right to list, create, remove our own and rename in in (permission denied)"
	if err.Error() != want {
		t.Errorf("got %s", err)
	}
	if ClassOf(errors.New("x")) != Ours {
		t.Error("an unknown error is not ours")
	}
}
