package bureau

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// Session delivers files to one recipient, and picks up what waits there, over
// one connection. It connects with the first request, keeps the connection for the
// next files and makes a new one when it was lost. Several goroutines may use it; it
// handles one file after the other.
type Session struct {
	settings Settings
	mu       sync.Mutex
	link     *link // nil while there is no connection
}

// Connect checks the settings and gives a session. Nothing is dialled before
// the first delivery, because the ledger must have the intent first.
func Connect(settings Settings) (*Session, error) {
	settings = settings.withDefaults()
	if err := settings.check(); err != nil {
		return nil, err
	}
	return &Session{settings: settings}, nil
}

// Close ends the connection, if there is one.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
	return nil
}

// Probe connects and looks at the folder without sending anything: for a
// check before the night.
func (s *Session) Probe(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.connected(ctx)
	if err != nil {
		return err
	}
	defer l.watch(ctx)()
	return s.remote(l).lookAtFolder()
}

func (s *Session) remote(l *link) *remote {
	return &remote{sftp: l.sftp, settings: s.settings}
}

// connected gives the connection, a new one where there is none that lives.
func (s *Session) connected(ctx context.Context) (*link, error) {
	if s.link != nil && s.link.ended() {
		s.drop()
	}
	if s.link == nil {
		l, err := newLink(ctx, s.settings)
		if err != nil {
			return nil, err
		}
		s.link = l
	}
	return s.link, nil
}

func (s *Session) drop() {
	if s.link != nil {
		s.link.close()
		s.link = nil
	}
}

// repeated calls try, with attempts counted from 1, until it succeeds, fails
// with what another attempt cannot mend, or has failed Attempts times; the last error
// stands. Between two attempts the connection is dropped, because what comes next trusts
// nothing of it, and a doubled pause is kept. The end of ctx gives stopped's error.
func (s *Session) repeated(ctx context.Context, stopped func(cause error) error, try func(attempt int) error) error {
	pauses := s.pauses()
	for attempt := 1; ; attempt++ {
		err := try(attempt)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			s.drop()
			return stopped(fmt.Errorf("%w: %v", context.Cause(ctx), err))
		}
		if ClassOf(err) != BureauPassing || errors.Is(err, ErrChanging) {
			return err
		}
		s.drop()
		if attempt == s.settings.Attempts {
			return err
		}
		if s.settings.Sleep(ctx, pauses.NextBackOff()) != nil {
			return stopped(fmt.Errorf("%w: %v", context.Cause(ctx), err))
		}
	}
}

func (s *Session) pauses() *backoff.ExponentialBackOff {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval = s.settings.RetryPause
	pauses.Multiplier = 2
	pauses.RandomizationFactor = 0
	pauses.MaxInterval = longestPause
	return pauses
}

func (s *Session) stopped(op, where string, cause error) error {
	return &Error{Class: Operator, Op: op, Host: s.settings.address(),
		What: "it was stopped " + where, Do: "the next run continues", Err: cause}
}

// link is one connection: TCP, SSH, SFTP.
type link struct {
	conn    *watchedConn
	ssh     *ssh.Client
	sftp    *sftp.Client
	hostKey string        // fingerprint, SHA256:…
	over    chan struct{} // closed when the SSH connection ended
}

func newLink(ctx context.Context, s Settings) (*link, error) {
	check, err := newHostKeyCheck(s)
	if err != nil {
		return nil, err
	}
	auth, stop, err := login(s)
	if err != nil {
		return nil, err
	}
	defer stop()
	raw, err := dial(ctx, s)
	if err != nil {
		return nil, err
	}
	l := &link{conn: &watchedConn{Conn: raw, idle: s.IdleTimeout}, over: make(chan struct{})}
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	_ = raw.SetDeadline(deadline(s.DialTimeout))
	conn, channels, requests, err := ssh.NewClientConn(l.conn, s.address(), &ssh.ClientConfig{
		Config:            ssh.Config{Ciphers: s.Ciphers},
		User:              s.User,
		Auth:              []ssh.AuthMethod{auth},
		HostKeyCallback:   check.callback,
		HostKeyAlgorithms: check.algorithms,
	})
	if err != nil {
		_ = raw.Close()
		return nil, handshakeError(s, check, err)
	}
	l.hostKey = check.shown
	l.ssh = ssh.NewClient(conn, channels, requests)
	go func() {
		_ = l.ssh.Wait()
		close(l.over)
	}()
	if l.sftp, err = l.subsystem(s.Concurrency); err != nil {
		_ = l.ssh.Close()
		return nil, subsystemError(s, err)
	}
	_ = raw.SetDeadline(time.Time{})
	return l, nil
}

// subsystem starts SFTP in a session of its own, whose bytes are the sign of life that watch
// waits for: a server that only answers on the SSH level, sshd with ClientAliveInterval say, is silent.
func (l *link) subsystem(concurrency int) (*sftp.Client, error) {
	session, err := l.ssh.NewSession()
	if err != nil {
		return nil, err
	}
	in, err := session.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	remarks, err := session.StderrPipe()
	if err != nil {
		return nil, err
	}
	go func() { _, _ = io.Copy(io.Discard, remarks) }() // unread they would fill the window
	if err := session.RequestSubsystem("sftp"); err != nil {
		return nil, err
	}
	return sftp.NewClientPipe(heard{out, l.conn}, spoken{in, l.conn}, sftp.MaxConcurrentRequestsPerFile(concurrency), sftp.UseFstat(true))
}

func dial(ctx context.Context, s Settings) (net.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, s.DialTimeout)
	defer cancel()
	conn, err := s.Dial(limited, "tcp", s.dialAddress())
	if err == nil {
		return conn, nil
	}
	e := &Error{Class: BureauPassing, Op: "dial", Host: s.address(), What: "the server does not answer",
		Do: "check host, port and firewall if it lasts", Err: err}
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		e.Class, e.What, e.Do = Operator, "there is no host of this name", "correct delivery.host"
	}
	return nil, e
}

func handshakeError(s Settings, check *hostKeyCheck, err error) error {
	if check.refusal != nil {
		return check.refusal
	}
	var negotiation *ssh.AlgorithmNegotiationError
	switch {
	case errors.As(err, &negotiation):
		return &Error{Class: BureauLasting, Op: "handshake", Host: s.address(),
			What: "the server and we have no " + negotiation.What + " in common",
			Do:   "set delivery.ciphers to one the server offers, pin a host key of a kind it has, or ask the bureau for a current server", Err: err}
	case check.shown != "" && refusedLogin(err):
		return &Error{Class: BureauLasting, Op: "login", Host: s.address(),
			What: "the server does not let the user " + s.User + " in with our key",
			Do:   "check delivery.user and delivery.key_file, and ask the bureau to register the public key",
			Err:  errors.Join(ErrRefusedKey, err)}
	}
	return &Error{Class: BureauPassing, Op: "handshake", Host: s.address(),
		What: "the server ended the connection before the login", Do: "ask the bureau if it lasts", Err: err}
}

// refusedLogin knows the client's own last word and OpenSSH's; the library has no type for either.
func refusedLogin(err error) bool {
	text := err.Error()
	return strings.Contains(text, "unable to authenticate") || strings.Contains(text, "authentication failures")
}

func subsystemError(s Settings, err error) error {
	if strings.Contains(err.Error(), "subsystem request failed") {
		return &Error{Class: BureauLasting, Op: "sftp", Host: s.address(), What: "the login works and the server offers no SFTP",
			Do: "ask the bureau to allow the sftp subsystem for the user " + s.User, Err: err}
	}
	return &Error{Class: BureauPassing, Op: "sftp", Host: s.address(), What: "SFTP did not start after the login",
		Do: "ask the bureau if it lasts", Err: err}
}

func (l *link) ended() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

func (l *link) close() {
	_ = l.conn.Conn.Close() // first: a server that is silent must not hold us up
	_ = l.sftp.Close()
	_ = l.ssh.Close()
}

// watch makes silence and the end of ctx end the connection, until the result is called.
func (l *link) watch(ctx context.Context) (release func()) {
	l.conn.arm(true)
	unlink := context.AfterFunc(ctx, func() { _ = l.conn.Conn.Close() })
	return func() {
		unlink()
		l.conn.arm(false)
	}
}

// watchedConn fails when no byte of SFTP moves for the idle time while it is armed.
// Between two files it is not: a connection may rest.
type watchedConn struct {
	net.Conn
	idle  time.Duration
	mu    sync.Mutex
	armed bool
}

func (c *watchedConn) arm(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = on
	if on {
		_ = c.SetDeadline(deadline(c.idle))
	} else {
		_ = c.SetDeadline(time.Time{})
	}
}

// heard is what the server says by SFTP.
type heard struct {
	io.Reader
	conn *watchedConn
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.conn.alive()
	}
	return n, err
}

// spoken is what we say by SFTP.
type spoken struct {
	io.WriteCloser
	conn *watchedConn
}

func (s spoken) Write(p []byte) (int, error) {
	n, err := s.WriteCloser.Write(p)
	if n > 0 {
		s.conn.alive()
	}
	return n, err
}

func (c *watchedConn) alive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed {
		_ = c.SetDeadline(deadline(c.idle))
	}
}

// deadline is wall time: it is the kernel that keeps it.
func deadline(d time.Duration) time.Time { return time.Now().Add(d) }
