package bureau

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
)

// wire is a network in memory, between one simulator and us: its time is the bubble's. A write never
// blocks, as long as the receiver's window of SSH holds it.
type wire struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once

	mu     sync.Mutex
	dials  int
	plan   func(dial int) harm // for the dial-th connection, from 1; nil harms none
	harmed int                 // connections whose harm came to pass
	latest *lanes              // the connection made last
}

// harm is what happens to a connection after so many bytes in one direction.
type harm struct {
	kind  harmKind
	up    bool // towards the server
	after int64
}

type harmKind int

const (
	unharmed harmKind = iota
	cutThere          // what passed is still read, then both ends see the end
	silence           // nothing more comes through that way, and nobody is told
)

func (k harmKind) String() string { return [...]string{"unharmed", "cut", "silence"}[k] }

func newWire() *wire { return &wire{accepted: make(chan net.Conn, 16), closed: make(chan struct{})} }

// Dial is [Settings.Dial].
func (w *wire) Dial(_ context.Context, _, _ string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dials++
	l := newLanes(w)
	if w.plan != nil {
		l.harm = w.plan(w.dials)
	}
	w.latest = l
	select {
	case <-w.closed:
		return nil, errors.New("nobody listens")
	case w.accepted <- &wireEnd{read: l.up, write: l.down}:
		return &wireEnd{read: l.down, write: l.up}, nil
	}
}

func (w *wire) Accept() (net.Conn, error) {
	select {
	case <-w.closed:
		return nil, net.ErrClosed
	case conn := <-w.accepted:
		return conn, nil
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

func (w *wire) Addr() net.Addr { return loopback }

var loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2222}

// harms plans from now on, and counts connections and harms from 0.
func (w *wire) harms(plan func(dial int) harm) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plan, w.dials, w.harmed = plan, 0, 0
}

func (w *wire) cameToPass() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.harmed
}

// lanes are both directions of one connection.
type lanes struct {
	wire     *wire
	mu       sync.Mutex
	harm     harm
	done     bool
	up, down *lane
}

func newLanes(w *wire) *lanes {
	l := &lanes{wire: w}
	l.up, l.down = &lane{of: l}, &lane{of: l}
	l.up.more, l.down.more = sync.NewCond(&l.mu), sync.NewCond(&l.mu)
	return l
}

// lane is one direction. All is guarded by its lanes' mutex.
type lane struct {
	of      *lanes
	more    *sync.Cond
	waiting []byte
	passed  int64
	ends    []int64 // where each write ended
	shut    bool    // nothing more is written
	gone    bool    // the reader closed its end
	until   time.Time
}

func (l *lane) read(p []byte) (int, error) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	for len(l.waiting) == 0 {
		switch {
		case l.gone:
			return 0, net.ErrClosed
		case l.shut:
			return 0, io.EOF
		case !l.until.IsZero() && !time.Now().Before(l.until):
			return 0, os.ErrDeadlineExceeded
		}
		l.more.Wait()
	}
	n := copy(p, l.waiting)
	l.waiting = l.waiting[n:]
	return n, nil
}

func (l *lane) write(p []byte) (int, error) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if l.shut || l.gone {
		return 0, io.ErrClosedPipe
	}
	through := len(p)
	h := l.of.harm
	if h.kind != unharmed && (l == l.of.up) == h.up && l.passed+int64(len(p)) >= h.after {
		through = int(max(h.after-l.passed, 0))
		l.of.come()
	}
	l.waiting = append(l.waiting, p[:through]...)
	l.passed += int64(through)
	l.ends = append(l.ends, l.passed)
	l.more.Broadcast()
	if l.shut {
		return through, io.ErrClosedPipe
	}
	return len(p), nil
}

// come lets the harm happen, with mu held.
func (l *lanes) come() {
	if !l.done {
		l.done = true
		l.wire.harm()
	}
	if l.harm.kind == cutThere {
		for _, lane := range []*lane{l.up, l.down} {
			lane.shut = true
			lane.more.Broadcast()
		}
	}
}

func (w *wire) harm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.harmed++
}

// wireEnd is one end of a connection.
type wireEnd struct{ read, write *lane }

func (e *wireEnd) Read(p []byte) (int, error)  { return e.read.read(p) }
func (e *wireEnd) Write(p []byte) (int, error) { return e.write.write(p) }

func (e *wireEnd) Close() error {
	e.read.of.mu.Lock()
	defer e.read.of.mu.Unlock()
	e.read.gone, e.write.shut = true, true
	e.read.more.Broadcast()
	e.write.more.Broadcast()
	return nil
}

func (e *wireEnd) LocalAddr() net.Addr              { return loopback }
func (e *wireEnd) RemoteAddr() net.Addr             { return loopback }
func (e *wireEnd) SetWriteDeadline(time.Time) error { return nil } // a write never waits
func (e *wireEnd) SetDeadline(t time.Time) error    { return e.SetReadDeadline(t) }

func (e *wireEnd) SetReadDeadline(t time.Time) error {
	e.read.of.mu.Lock()
	defer e.read.of.mu.Unlock()
	e.read.until = t
	if !t.IsZero() {
		time.AfterFunc(time.Until(t), e.read.more.Broadcast)
	}
	return nil
}

// nearSide is a simulator on a wire, in a bubble of fake time, and what it has seen.
type nearSide struct {
	*farSide
	wire *wire
	file File // its bytes are those of every delivery

	mu      sync.Mutex
	renames map[string][]string // for each final name the SHA-256 of what got it, each time
}

// inFakeTime runs test against a simulator with faults, whose time passes only while all wait.
func inFakeTime(t *testing.T, size int, faults Faults, test func(t *testing.T, side *nearSide)) {
	t.Helper()
	bureauKey, issuer := simulatorKeys() // outside: they outlive the bubble
	file := outboxFile(t, fileName, size)
	synctest.Test(t, func(t *testing.T) {
		hostKey, _, client, clientPath := newKeys(t)
		side := &nearSide{wire: newWire(), file: file, renames: map[string][]string{}}
		config := SimulatorConfig{
			Name: "alpha", Dir: t.TempDir(), HostKey: hostKey, ClientKeys: []ssh.PublicKey{client.PublicKey()},
			Key: bureauKey, Signers: []*Key{issuer}, Faults: side.watching(faults),
		}
		s, err := NewSimulator(config)
		if err != nil {
			t.Fatal(err)
		}
		s.serveOn(t.Context(), side.wire)
		defer func() { _ = s.Close() }()
		settings := baseSettings(t, "wire", hostKey.PublicKey(), clientPath)
		settings.Dial, settings.Sleep, settings.Now = side.wire.Dial, nil, nil // the bubble's own clock
		settings.DialTimeout, settings.IdleTimeout = 30*time.Second, 60*time.Second
		side.farSide = &farSide{settings: settings, incoming: filepath.Join(config.Dir, incoming)}
		test(t, side)
	})
}

// watching adds to faults a look at what gets a final name, at the moment it gets it.
func (n *nearSide) watching(faults Faults) Faults {
	inner := faults.AfterRename
	faults.AfterRename = func(from, to string) error {
		content, err := os.ReadFile(filepath.Join(n.incoming, to))
		if err != nil {
			return err
		}
		n.mu.Lock()
		n.renames[to] = append(n.renames[to], sumOf(content))
		n.mu.Unlock()
		if inner != nil {
			return inner(from, to)
		}
		return nil
	}
	return faults
}

// as is the file under another name.
func (n *nearSide) as(name string) File {
	f := n.file
	f.RemoteName = name
	return f
}
