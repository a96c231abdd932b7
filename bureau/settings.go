package bureau

import (
	"context"
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Settings say where a bureau's server is and how it behaves. Zero values
// take the default named beside them.
type Settings struct {
	Host string
	Port int // 22
	// DialAddress is dialled instead of Host:Port, for a server on a port that
	// changes (the simulator). The host key is looked up under Host:Port all the same.
	DialAddress string

	User           string
	PrivateKeyPath string // mode 0600; "" means the SSH agent
	AgentSocket    string // "" means the environment's SSH_AUTH_SOCK
	KnownHosts     string // path; a host that is not in it is refused

	Dir        string // remote folder of the final names; "" is the login's own
	TempSuffix string // of the temporary name; .part
	TempDir    string // remote folder of temporary names; Dir. Same file system, or the rename is refused
	// Stat: the server answers a look at one name. Where it does not (some
	// allow listing only), false makes us list the folder.
	Stat bool
	// ReadBack: the content may be read back and hashed after the upload.
	ReadBack bool
	// TakenAway: the bureau moves files away as soon as they have their final
	// name. It turns "gone from both names" from UNDECIDED into SENT.
	TakenAway   bool
	Fsync       bool     // ask for fsync@openssh.com before the temporary file is closed
	Concurrency int      // write requests in flight; 64
	Ciphers     []string // in order of preference; AES-GCM first

	DialTimeout time.Duration // for connection and login; 30 s
	IdleTimeout time.Duration // no byte from the server for so long in the middle of a request is a lost connection; 60 s
	Attempts    int           // in all; 3
	RetryPause  time.Duration // before the second attempt, doubled each time; 5 s

	Dial  func(ctx context.Context, network, address string) (net.Conn, error) // net.Dialer
	Now   func() time.Time                                                     // time.Now
	Sleep func(ctx context.Context, d time.Duration) error                     // a timer; returns ctx's error when that comes first
}

// longestPause caps the doubled pauses between attempts.
const longestPause = 15 * time.Minute

// gcmFirst is the default order of ciphers: AES-GCM is the fastest where the processor has AES.
var gcmFirst = []string{
	ssh.CipherAES256GCM, ssh.CipherAES128GCM, ssh.CipherChaCha20Poly1305,
	ssh.CipherAES256CTR, ssh.CipherAES192CTR, ssh.CipherAES128CTR,
}

func (s Settings) withDefaults() Settings {
	orInt := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	orTime := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	orInt(&s.Port, 22)
	orInt(&s.Concurrency, 64)
	orInt(&s.Attempts, 3)
	orTime(&s.DialTimeout, 30*time.Second)
	orTime(&s.IdleTimeout, 60*time.Second)
	orTime(&s.RetryPause, 5*time.Second)
	if s.TempSuffix == "" {
		s.TempSuffix = ".part"
	}
	if len(s.Ciphers) == 0 {
		s.Ciphers = gcmFirst
	}
	if s.Dial == nil {
		s.Dial = (&net.Dialer{}).DialContext
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Sleep == nil {
		s.Sleep = sleep
	}
	return s
}

// check finds what no attempt can succeed with.
func (s Settings) check() error {
	wrong := func(what, do string) error {
		return &Error{Class: Operator, Op: "settings", Host: s.address(), What: what, Do: do}
	}
	switch {
	case s.Host == "":
		return wrong("no host is given", "set delivery.host")
	case s.User == "":
		return wrong("no user is given", "set delivery.user")
	case s.KnownHosts == "":
		return wrong("no known_hosts file is given, and no server is trusted without one", "set delivery.known_hosts")
	case strings.ContainsAny(s.TempSuffix, "/\x00"):
		return wrong("the temporary suffix has a slash in it", "use delivery.temp_dir for another folder")
	}
	supported := ssh.SupportedAlgorithms().Ciphers
	for _, cipher := range s.Ciphers {
		if !slices.Contains(supported, cipher) {
			return wrong(fmt.Sprintf("the cipher %q is unknown or no longer safe", cipher), "use one of "+strings.Join(supported, ", "))
		}
	}
	return nil
}

// address is the name of the server in known_hosts and in messages.
func (s Settings) address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

func (s Settings) dialAddress() string {
	if s.DialAddress != "" {
		return s.DialAddress
	}
	return s.address()
}

func (s Settings) finalPath(name string) string { return path.Join(s.Dir, name) }

func (s Settings) temporaryPath(name string) string {
	dir := s.Dir
	if s.TempDir != "" {
		dir = s.TempDir
	}
	return path.Join(dir, name+s.TempSuffix)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
