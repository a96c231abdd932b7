package bureau

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// SimulatorConfig says what a simulated bureau has and whom it knows.
type SimulatorConfig struct {
	Name       string          // for messages
	Dir        string          // files arrive in Dir/incoming and answers lie in Dir/returns; both are made
	HostKey    ssh.Signer      // what it shows
	ClientKeys []ssh.PublicKey // who may log in, under any user name
	Key        *Key            // private: opens what arrives
	Signers    []*Key          // who may have signed it; nobody known means that everything is refused
	// Check reads the clear content of a file to its end and says what is in
	// it. What it returns must hold no card data. nil: every content is taken.
	Check      func(name string, clear io.Reader) (report any, err error)
	TempSuffix string // of names that are not final yet; .part
	Faults     Faults // none in a trial; tests set them
	// Told hears of each file once it was opened, one after the other; it may be nil.
	Told func(Received)
	Log  func(format string, args ...any)
	Now  func() time.Time // when a file came; time.Now

	// Life, if set, makes it answer, see [Simulator.Answer]. Check must then say [Contents] of a good file.
	Life *Life
	// WriteAnswers writes a return file; it is there where Life is.
	WriteAnswers func(w io.Writer, answers []Answer) error
	// Answered hears of each return file once it is in its place; it may be nil.
	Answered func(file string, answers []Answer)
	// SealTo, if set, gets the return files sealed, and signed with Key.
	SealTo *Key
}

// Received is a file that came under its final name.
type Received struct {
	Name     string
	Size     int64  // sealed bytes
	SHA256   string // hex, of the sealed bytes
	SignedBy string // fingerprint; "" when the file could not be trusted
	Summary  any    // what Check said
	Err      error  // why the bureau would refuse the file; nil when it is good
}

// Simulator is a bureau on a loopback port. It speaks SFTP with those who
// hold a known key, stores files in one folder that nobody gets out of, refuses to
// give a name twice, and opens each file once it has its final name: in
// memory, nothing clear is written. The files stay through a restart.
//
// To an SFTP client it shows / with two folders in it: /incoming, where files are
// put, and /returns, where its answers can be read, removed and moved into /returns/done.
type Simulator struct {
	config   SimulatorConfig
	root     *os.Root // Dir/incoming
	out      *os.Root // Dir/returns
	listener net.Listener
	stop     context.CancelFunc
	busy     sync.WaitGroup // connections
	one      sync.Mutex     // one file is opened after the other

	mu       sync.Mutex
	unopened int        // files that arrived and were not yet opened
	idle     *sync.Cond // unopened fell to 0
	conns    map[net.Conn]bool
	received map[string]*Received // nil while it is being opened
	unnoted  error                // files whose arrival could not be remembered
	closed   bool
}

// Folders that clients see.
const (
	incoming = "incoming"
	outgoing = "returns"
	done     = "done" // in outgoing
)

// NewSimulator makes the folders and checks the configuration. Nothing listens yet.
func NewSimulator(config SimulatorConfig) (*Simulator, error) {
	if config.TempSuffix == "" {
		config.TempSuffix = ".part"
	}
	if config.Log == nil {
		config.Log = func(string, ...any) {}
	}
	if config.Told == nil {
		config.Told = func(Received) {}
	}
	if config.Answered == nil {
		config.Answered = func(string, []Answer) {}
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("simulated bureau %s: %w", config.Name, err)
	}
	s := &Simulator{config: config, conns: map[net.Conn]bool{}, received: map[string]*Received{}}
	s.idle = sync.NewCond(&s.mu)
	if err := s.makeFolders(); err != nil {
		return nil, fmt.Errorf("simulated bureau %s: %w", config.Name, err)
	}
	return s, nil
}

func (c *SimulatorConfig) check() error {
	switch {
	case c.HostKey == nil:
		return errors.New("no host key is given")
	case len(c.ClientKeys) == 0:
		return errors.New("no client key is given, nobody could log in")
	case c.Key == nil || !c.Key.IsPrivate():
		return errors.New("no private PGP key is given to open files with")
	case len(c.Signers) == 0:
		return errors.New("no signer is given, every file would be refused")
	case c.Life == nil:
		return nil
	case c.WriteAnswers == nil || c.Check == nil:
		return errors.New("it is to answer and nothing is given to read files or to write answers with")
	}
	return c.Life.check()
}

func (s *Simulator) makeFolders() (err error) {
	in, out := filepath.Join(s.config.Dir, incoming), filepath.Join(s.config.Dir, outgoing)
	for _, folder := range []string{in, filepath.Join(out, done)} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	if s.root, err = os.OpenRoot(in); err != nil {
		return err
	}
	s.out, err = os.OpenRoot(out)
	return err
}

// Start listens on addr, which must be a loopback address; port 0 takes a
// free one, which [Simulator.Addr] tells. The end of ctx closes it.
func (s *Simulator) Start(ctx context.Context, addr string) error {
	if err := onlyLoopback(addr); err != nil {
		return fmt.Errorf("simulated bureau %s: %w", s.config.Name, err)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("simulated bureau %s: %w", s.config.Name, err)
	}
	s.serveOn(ctx, listener)
	return nil
}

// serveOn begins to answer what listener accepts.
func (s *Simulator) serveOn(ctx context.Context, listener net.Listener) {
	s.listener = listener
	ctx, s.stop = context.WithCancel(ctx)
	context.AfterFunc(ctx, s.hangUp)
	s.busy.Add(1)
	go s.accept()
}

func onlyLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%s is not a loopback address, and a simulator is not for a network; use 127.0.0.1:0", addr)
	}
	return nil
}

// Addr is the address it listens on, host:port.
func (s *Simulator) Addr() string { return s.listener.Addr().String() }

// Close ends every connection and waits for files that are being opened.
func (s *Simulator) Close() error {
	if s.stop != nil {
		s.stop()
		s.hangUp()
		s.busy.Wait()
	}
	s.mu.Lock()
	s.waitOpened()
	s.mu.Unlock()
	return errors.Join(s.root.Close(), s.out.Close())
}

func (s *Simulator) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	_ = s.listener.Close()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

func (s *Simulator) accept() {
	defer s.busy.Done()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		if !s.keep(conn) {
			_ = conn.Close()
			return
		}
		s.busy.Add(1)
		go func() {
			defer s.busy.Done()
			defer s.forget(conn)
			s.serve(conn)
		}()
	}
}

func (s *Simulator) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.conns[conn] = true
	}
	return !s.closed
}

func (s *Simulator) forget(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// Received tells of every file that has its final name, in the order of the
// names, once all of them were opened and checked. Files of earlier processes are
// opened again; where there is a [Life], only those that it does not remember.
func (s *Simulator) Received() []Received {
	names, err := s.finalNames()
	if err != nil {
		s.config.Log("simulated bureau %s: %v", s.config.Name, err)
	}
	memory := &lifeMemory{}
	if s.config.Life != nil {
		if memory, err = readLife(s.config.Dir); err != nil {
			s.config.Log("simulated bureau %s: %v", s.config.Name, err)
			memory = &lifeMemory{}
		}
	}
	for _, name := range names {
		if !memory.knows(name) {
			s.arrived(name)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waitOpened()
	var all []Received
	for _, r := range s.received {
		all = append(all, *r)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

// waitOpened waits, with mu held, until no file is being opened.
func (s *Simulator) waitOpened() {
	for s.unopened > 0 {
		s.idle.Wait()
	}
}

func (s *Simulator) finalNames() ([]string, error) {
	folder, err := s.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = folder.Close() }()
	entries, err := folder.ReadDir(-1)
	var names []string
	for _, entry := range entries {
		if entry.Type().IsRegular() && s.isFinal(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, err
}

// isFinal: directly in incoming and without the suffix of a transfer under way.
func (s *Simulator) isFinal(name string) bool {
	return !strings.Contains(name, "/") && !strings.HasSuffix(name, s.config.TempSuffix)
}

// stamp puts the simulator's own time on a file that is about to be final: when it came is
// then known after a kill too.
func (s *Simulator) stamp(name string) error {
	now := s.config.Now()
	return s.root.Chtimes(name, now, now)
}

// arrived opens a file that got its final name, once.
func (s *Simulator) arrived(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.received[name]; known {
		return
	}
	s.received[name] = nil
	s.unopened++
	go func() {
		s.one.Lock()
		defer s.one.Unlock()
		r := s.open(name)
		if r.Err != nil {
			s.config.Log("simulated bureau %s: %s is refused: %v", s.config.Name, name, r.Err)
		} else {
			s.config.Log("simulated bureau %s: %s is good, %d bytes, signed by %s", s.config.Name, name, r.Size, r.SignedBy)
		}
		s.config.Told(r)
		var noteErr error
		if s.config.Life != nil {
			noteErr = s.note(r)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.unnoted = cmp.Or(s.unnoted, noteErr)
		s.received[name] = &r
		s.unopened--
		s.idle.Broadcast()
	}()
}

// open decrypts, verifies and checks a file in memory.
func (s *Simulator) open(name string) Received {
	r := Received{Name: name}
	file, err := s.root.Open(name)
	if err != nil {
		r.Err = err
		return r
	}
	defer func() { _ = file.Close() }()
	h := sha256.New()
	sealed := &counted{r: io.TeeReader(file, h)}
	clear, verdict := Open(sealed, s.config.Key, s.config.Signers)
	var summary any
	var checkErr error
	if s.config.Check != nil {
		summary, checkErr = s.config.Check(name, clear)
	}
	_, readErr := io.Copy(io.Discard, clear) // to its end: the signature stands there
	signer, signErr := verdict()
	_, restErr := io.Copy(io.Discard, sealed)
	r.Size, r.SHA256 = sealed.n, hex.EncodeToString(h.Sum(nil))
	if r.Err = firstError(readErr, signErr, checkErr, restErr); r.Err == nil {
		r.SignedBy, r.Summary = signer, summary
	}
	return r
}

func firstError(errs ...error) error {
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return errs[i]
	}
	return nil
}

type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

var errUnknownClient = errors.New("this key is not known here")
