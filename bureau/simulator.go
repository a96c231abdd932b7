package bureau

import (
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

	"golang.org/x/crypto/ssh"
)

// SimulatorConfig says what a simulated bureau has and whom it knows.
type SimulatorConfig struct {
	Name       string          // for messages
	Dir        string          // files arrive in Dir/incoming, which is made
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
// To an SFTP client it shows / with one folder in it, /incoming.
type Simulator struct {
	config   SimulatorConfig
	root     *os.Root // Dir/incoming
	listener net.Listener
	stop     context.CancelFunc
	busy     sync.WaitGroup // connections
	one      sync.Mutex     // one file is opened after the other

	mu       sync.Mutex
	unopened int        // files that arrived and were not yet opened
	idle     *sync.Cond // unopened fell to 0
	conns    map[net.Conn]bool
	received map[string]*Received // nil while it is being opened
	closed   bool
}

// incoming is the folder that clients see.
const incoming = "incoming"

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
	switch {
	case config.HostKey == nil:
		return nil, fmt.Errorf("simulated bureau %s: no host key is given", config.Name)
	case len(config.ClientKeys) == 0:
		return nil, fmt.Errorf("simulated bureau %s: no client key is given, nobody could log in", config.Name)
	case config.Key == nil || !config.Key.IsPrivate():
		return nil, fmt.Errorf("simulated bureau %s: no private PGP key is given to open files with", config.Name)
	case len(config.Signers) == 0:
		return nil, fmt.Errorf("simulated bureau %s: no signer is given, every file would be refused", config.Name)
	}
	folder := filepath.Join(config.Dir, incoming)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("simulated bureau %s: %w", config.Name, err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("simulated bureau %s: %w", config.Name, err)
	}
	s := &Simulator{config: config, root: root, conns: map[net.Conn]bool{}, received: map[string]*Received{}}
	s.idle = sync.NewCond(&s.mu)
	return s, nil
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
	s.listener = listener
	ctx, s.stop = context.WithCancel(ctx)
	context.AfterFunc(ctx, s.hangUp)
	s.busy.Add(1)
	go s.accept()
	return nil
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
	return s.root.Close()
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
// names, once all of them were opened and checked. Files of earlier lives are opened again.
func (s *Simulator) Received() []Received {
	names, err := s.finalNames()
	if err != nil {
		s.config.Log("simulated bureau %s: %v", s.config.Name, err)
	}
	for _, name := range names {
		s.arrived(name)
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
		s.mu.Lock()
		defer s.mu.Unlock()
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
