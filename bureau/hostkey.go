package bureau

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// KnownHostsLine is the line that pins key for host and port in a known_hosts file.
func KnownHostsLine(host string, port int, key ssh.PublicKey) string {
	return knownhosts.Line([]string{net.JoinHostPort(host, strconv.Itoa(port))}, key)
}

// FetchHostKey asks the server of s for its best host key, see [FetchHostKeys].
func FetchHostKey(ctx context.Context, s Settings) (ssh.PublicKey, error) {
	return fetchHostKey(ctx, s, slices.Concat(hostKeyFamilies...))
}

// fetchHostKey asks for a host key of some kinds.
func fetchHostKey(ctx context.Context, s Settings, algorithms []string) (ssh.PublicKey, error) {
	s = s.withDefaults()
	var key ssh.PublicKey
	stop := errors.New("only the host key was asked for")
	conn, err := dial(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(deadline(s.DialTimeout))
	_, _, _, err = ssh.NewClientConn(conn, s.address(), &ssh.ClientConfig{
		User:              s.User,
		Config:            ssh.Config{Ciphers: s.Ciphers},
		HostKeyAlgorithms: algorithms,
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
			key = k
			return stop
		},
	})
	if key == nil {
		return nil, &Error{Class: BureauPassing, Op: "host key", Host: s.address(), What: "the server did not show its host key", Do: "check host and port", Err: err}
	}
	return key, nil
}

// hostKeyCheck compares the server's key with known_hosts, fail closed.
type hostKeyCheck struct {
	address    string
	known      []knownhosts.KnownKey
	algorithms []string // for the handshake; nil for a host that is not known
	compare    ssh.HostKeyCallback
	shown      string // fingerprint of the key that was accepted
	refusal    *Error
}

func newHostKeyCheck(s Settings) (*hostKeyCheck, error) {
	c := &hostKeyCheck{address: s.address()}
	compare, err := knownhosts.New(s.KnownHosts)
	if err != nil {
		what := "known_hosts cannot be read"
		if errors.Is(err, fs.ErrNotExist) {
			what = "the known_hosts file does not exist"
		}
		return nil, &Error{Class: Operator, Op: "host key", Host: c.address, What: what,
			Do: "pin the bureau's host key in " + s.KnownHosts, Err: err}
	}
	c.compare = compare
	c.known = knownKeys(compare, c.address)
	c.algorithms = algorithmsOf(c.known)
	return c, nil
}

// knownKeys are the keys pinned for address: what the comparison says it
// wanted instead of a key that nobody has.
func knownKeys(compare ssh.HostKeyCallback, address string) []knownhosts.KnownKey {
	var mismatch *knownhosts.KeyError
	if err := compare(address, &net.TCPAddr{IP: net.IPv4zero}, nobodysKey{}); errors.As(err, &mismatch) {
		return mismatch.Want
	}
	return nil
}

type nobodysKey struct{}

func (nobodysKey) Type() string                        { return "nobody" }
func (nobodysKey) Marshal() []byte                     { return []byte("nobody") }
func (nobodysKey) Verify([]byte, *ssh.Signature) error { return errors.New("nobody's key") }

// algorithmsOf makes the server show a key of a kind that is pinned. Without
// it a server with two keys might show the other one, which would look like a changed key.
func algorithmsOf(known []knownhosts.KnownKey) []string {
	var algorithms []string
	for _, k := range known {
		names := []string{k.Key.Type()}
		if names[0] == ssh.KeyAlgoRSA {
			names = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, name := range names {
			if !slices.Contains(algorithms, name) {
				algorithms = append(algorithms, name)
			}
		}
	}
	return algorithms
}

// callback is what the handshake calls; the refusal is kept, because the
// handshake's own error hides it.
func (c *hostKeyCheck) callback(address string, remote net.Addr, key ssh.PublicKey) error {
	err := c.compare(address, remote, key)
	if err == nil {
		c.shown = ssh.FingerprintSHA256(key)
		return nil
	}
	c.refusal = c.explain(key, err)
	return c.refusal
}

func (c *hostKeyCheck) explain(key ssh.PublicKey, err error) *Error {
	shown := key.Type() + " " + ssh.FingerprintSHA256(key)
	e := &Error{Op: "host key", Host: c.address, Err: ErrHostKey}
	var revoked *knownhosts.RevokedError
	switch {
	case errors.As(err, &revoked):
		e.Class = BureauLasting
		e.What = fmt.Sprintf("the server shows the key %s, which known_hosts marks as revoked", shown)
		e.Do = "nothing was sent; call the bureau"
	case len(c.known) == 0:
		e.Class = Operator
		e.What = fmt.Sprintf("the host is not in known_hosts; it shows the key %s", shown)
		e.Do = "compare that fingerprint with the one the bureau gave you, then reemboss bureau pin-host BUREAU --fingerprint " + ssh.FingerprintSHA256(key)
	default:
		var want []string
		for _, k := range c.known {
			want = append(want, k.Key.Type()+" "+ssh.FingerprintSHA256(k.Key))
		}
		e.Class = BureauLasting
		e.What = fmt.Sprintf("the host key changed: known_hosts has %s, the server shows %s", strings.Join(want, " and "), shown)
		e.Do = "nothing was sent; somebody may be in between: ask the bureau by telephone before you pin the new key"
	}
	return e
}

// login gives what proves who we are, and a function to call after the handshake.
func login(s Settings) (ssh.AuthMethod, func(), error) {
	if s.PrivateKeyPath == "" {
		return agentLogin(s)
	}
	signer, err := ReadSSHKey(s.PrivateKeyPath)
	if err != nil {
		return nil, nil, &Error{Class: Operator, Op: "login", Host: s.address(), What: "our SSH key cannot be used", Err: err}
	}
	return ssh.PublicKeys(signer), func() {}, nil
}

func agentLogin(s Settings) (ssh.AuthMethod, func(), error) {
	socket := s.AgentSocket
	if socket == "" {
		socket = os.Getenv("SSH_AUTH_SOCK")
	}
	refuse := func(what string, err error) (ssh.AuthMethod, func(), error) {
		return nil, nil, &Error{Class: Operator, Op: "login", Host: s.address(), What: what,
			Do: "start an agent and add the key, or set delivery.key_file", Err: err}
	}
	if socket == "" {
		return refuse("no key file is configured and there is no SSH agent (SSH_AUTH_SOCK is empty)", nil)
	}
	signers, stop, err := agentKeys(socket)
	switch {
	case err != nil:
		return refuse("no key file is configured and the SSH agent does not answer", err)
	case len(signers) == 0:
		stop()
		return refuse("no key file is configured and the SSH agent holds no key", nil)
	}
	return ssh.PublicKeys(signers...), stop, nil
}
