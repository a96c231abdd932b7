package bureau

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"
)

// strangely delivers one file to a server with faults, for up to three nights, and wants it to end in
// want without a broken promise.
func strangely(t *testing.T, want State, faults func(side *nearSide) Faults, then func(t *testing.T, side *nearSide, o outcome)) {
	t.Helper()
	var side nearSide
	hooks := faults(&side)
	inFakeTime(t, 100_000, hooks, func(t *testing.T, made *nearSide) {
		side.farSide = made.farSide
		began := time.Now()
		o := made.nights(t, made.file, 3, nil)
		if o.state != want {
			t.Errorf("it ended in %s: %v", o.state, o.err)
		}
		for _, broken := range made.violations(t, made.file, o, true) {
			t.Error(broken)
		}
		if took := time.Since(began); took > 80*time.Hour {
			t.Errorf("it took %v", took)
		}
		if then != nil {
			then(t, made, o)
		}
	})
}

// part is where the temporary file lies on this disk.
func (side *nearSide) part() string { return filepath.Join(side.incoming, fileName+".part") }

// A server that gives the final name itself, or takes a temporary file away, may have made cards
// of it: it is sent once, and then a person is asked.
func TestFileThatVanishesRightAfterItsUploadIsNotSentAgain(t *testing.T) {
	for name, atClose := range map[string]func(part string) error{
		"renamed on close": func(part string) error { return os.Rename(part, strings.TrimSuffix(part, ".part")) },
		"taken on close":   os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			uploads := 0
			strangely(t, Undecided, func(side *nearSide) Faults {
				return Faults{
					BeforeOpen:  func(string) error { uploads++; return nil },
					BeforeClose: func(string) error { return atClose(side.part()) },
				}
			}, func(t *testing.T, _ *nearSide, o outcome) {
				if uploads != 1 || !slices.Equal(o.steps, []State{Intent, Undecided}) {
					t.Errorf("%d uploads, steps %v", uploads, o.steps)
				}
			})
		})
	}
}

// sshd with ClientAliveInterval keeps a connection alive whose SFTP server hangs.
func TestServerThatHangsAndIsKeptAliveIsALostConnection(t *testing.T) {
	strangely(t, Intent, func(*nearSide) Faults {
		return Faults{KeepAlive: 15 * time.Second, BeforeOpen: func(string) error { time.Sleep(10 * time.Hour); return ErrHangUp }}
	}, func(t *testing.T, _ *nearSide, o outcome) {
		wantClass(t, o.err, BureauPassing, nil)
	})
}

// Every request of one kind hangs: each attempt ends after the idle time, none as success.
func TestServerThatHangsForEver(t *testing.T) {
	hang := func() error { time.Sleep(1000 * time.Hour); return ErrHangUp }
	one, two := func(string) error { return hang() }, func(string, string) error { return hang() }
	for name, faults := range map[string]Faults{
		"open": {BeforeOpen: one}, "write": {BeforeWrite: func(string, int64, int) error { return hang() }},
		"close": {BeforeClose: one}, "stat": {BeforeStat: one}, "rename": {BeforeRename: two},
		"login": {BeforeLogin: hang}, "session": {BeforeSession: hang}, "hello": {BeforeHello: hang},
	} {
		t.Run(name, func(t *testing.T) {
			want := Intent
			if name == "rename" {
				want = Renaming
			}
			strangely(t, want, func(*nearSide) Faults { return faults }, func(t *testing.T, _ *nearSide, o outcome) {
				for _, err := range append(o.errs, o.err) {
					wantClass(t, err, BureauPassing, nil)
				}
			})
		})
	}
}

func TestSlowServerIsWaitedFor(t *testing.T) {
	slow := func() error { time.Sleep(59 * time.Second); return nil }
	one, two := func(string) error { return slow() }, func(string, string) error { return slow() }
	strangely(t, Sent, func(*nearSide) Faults {
		return Faults{BeforeOpen: one, BeforeWrite: func(string, int64, int) error { return slow() }, BeforeClose: one, BeforeStat: one, BeforeRename: two}
	}, func(t *testing.T, _ *nearSide, o outcome) {
		if o.nights != 1 || o.last.Attempt != 1 {
			t.Errorf("%d nights, attempt %d", o.nights, o.last.Attempt)
		}
	})
}

// The server has no room for another session, or takes no connection, for a night and a half.
func TestTooManySessionsPass(t *testing.T) {
	refusals := func() func() error {
		var asked atomic.Int32
		return func() error {
			if asked.Add(1) <= 4 {
				return errors.New("too many")
			}
			return nil
		}
	}
	for name, faults := range map[string]Faults{
		"no session":    {BeforeSession: refusals()},
		"no connection": {BeforeHello: refusals()},
	} {
		t.Run(name, func(t *testing.T) {
			strangely(t, Sent, func(*nearSide) Faults { return faults }, func(t *testing.T, _ *nearSide, o outcome) {
				if o.nights != 2 {
					t.Errorf("%d nights", o.nights)
				}
				for _, err := range o.errs {
					wantClass(t, err, BureauPassing, nil)
				}
			})
		})
	}
}

func TestLoginThatIsNoLongerKnownIsForAPerson(t *testing.T) {
	var asked atomic.Int32
	strangely(t, Sent, func(*nearSide) Faults {
		return Faults{BeforeLogin: func() error {
			if asked.Add(1) <= 2 {
				return errUnknownClient
			}
			return nil
		}}
	}, func(t *testing.T, _ *nearSide, o outcome) {
		for _, err := range o.errs {
			wantClass(t, err, BureauLasting, ErrRefusedKey)
		}
		if len(o.errs) == 0 {
			t.Error("it was let in")
		}
	})
}

// Codes of later protocol versions and of vendors, each for the k-th write of the first night.
func TestFullDiskInAllItsWords(t *testing.T) {
	for name, answer := range map[string]error{
		"failure": sftp.ErrSSHFxFailure, "no space": sftp.ErrSSHFxOk + noSpace, "quota": sftp.ErrSSHFxOk + quotaExceeded, "vendor": sftp.ErrSSHFxOk + 1000,
	} {
		for kth := range int32(4) {
			var writes atomic.Int32
			strangely(t, Sent, func(*nearSide) Faults {
				return Faults{BeforeWrite: func(string, int64, int) error {
					if n := writes.Add(1); n > kth && n <= kth+12 {
						return answer
					}
					return nil
				}}
			}, func(t *testing.T, side *nearSide, o outcome) {
				for _, err := range o.errs {
					wantClass(t, err, BureauPassing, nil)
				}
				if o.last.Attempt == 1 && o.nights == 1 {
					t.Errorf("%s from the write %d on was no failure", name, kth+1)
				}
			})
		}
	}
}

// bare takes every extension out of the server's greeting: no posix-rename, no statvfs, no fsync.
type bare struct {
	io.ReadWriteCloser
	greeted bool
}

const versionPacket = 2 // SSH_FXP_VERSION

func (b *bare) Write(p []byte) (int, error) {
	if b.greeted || len(p) < 9 || p[4] != versionPacket {
		return b.ReadWriteCloser.Write(p)
	}
	b.greeted = true
	short := slices.Clone(p[:9]) // length, type, version
	binary.BigEndian.PutUint32(short, 5)
	_, err := b.ReadWriteCloser.Write(short)
	return len(p), err
}

func TestServerWithoutAnyExtension(t *testing.T) {
	var greetings []*bare
	strangely(t, Sent, func(*nearSide) Faults {
		return Faults{Packets: func(stream io.ReadWriteCloser) io.ReadWriteCloser {
			greetings = append(greetings, &bare{ReadWriteCloser: stream})
			return greetings[len(greetings)-1]
		}}
	}, func(t *testing.T, _ *nearSide, _ outcome) {
		if len(greetings) != 1 || !greetings[0].greeted {
			t.Error("it was not bare")
		}
	})
}

// reordering holds answers back for a moment and gives the last one first.
type reordering struct {
	io.ReadWriteCloser
	mu      sync.Mutex
	held    []byte   // the begin of a packet
	packets [][]byte // whole ones that wait
	turned  int
}

func (r *reordering) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = append(r.held, p...)
	for len(r.held) >= 4 {
		end := 4 + int(binary.BigEndian.Uint32(r.held))
		if len(r.held) < end {
			break
		}
		r.packets = append(r.packets, bytes.Clone(r.held[:end]))
		r.held = r.held[end:]
		if len(r.packets) == 1 {
			time.AfterFunc(time.Second, r.flush)
		}
	}
	return len(p), nil
}

func (r *reordering) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.packets) > 1 {
		r.turned++
	}
	slices.Reverse(r.packets)
	_, _ = r.ReadWriteCloser.Write(bytes.Join(r.packets, nil))
	r.packets = nil
}

// SFTP lets a server answer in any order.
func TestAnswersInAnotherOrder(t *testing.T) {
	var stream *reordering
	strangely(t, Sent, func(*nearSide) Faults {
		return Faults{Packets: func(s io.ReadWriteCloser) io.ReadWriteCloser {
			stream = &reordering{ReadWriteCloser: s}
			return stream
		}}
	}, func(t *testing.T, side *nearSide, _ outcome) {
		if stream.turned == 0 {
			t.Error("no answer was turned")
		}
		side.holds(t, fileName, side.file)
	})
}

// Another key in the middle of a delivery's nights: nothing more is said to that server.
func TestHostKeyThatChangesBetweenTwoAttempts(t *testing.T) {
	inFakeTime(t, 10_000, Faults{}, func(t *testing.T, side *nearSide) {
		stranger := writeFile(t, filepath.Join(t.TempDir(), "kh"), []byte(KnownHostsLine(host, 2222, otherHostKey(t))+"\n"), 0o600)
		pinned := side.settings.KnownHosts
		o := side.nights(t, side.file, 3, func(night int) {
			side.settings.KnownHosts = map[int]string{1: pinned, 2: stranger}[night]
			if night == 3 {
				side.settings.KnownHosts = pinned
			}
			side.wire.harms(func(int) harm {
				return harm{kind: map[bool]harmKind{true: cutThere}[night == 1], up: true, after: 6000}
			})
		})
		if o.state != Sent || len(o.errs) != 2 {
			t.Fatal(o.state, o.err, o.errs)
		}
		wantClass(t, o.errs[0], BureauPassing, nil)
		wantClass(t, o.errs[1], BureauLasting, ErrHostKey)
		for _, broken := range side.violations(t, side.file, o, false) {
			t.Error(broken)
		}
	})
}
