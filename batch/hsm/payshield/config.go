package payshield

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"reemboss/batch/hsm"
	"reemboss/formats/iso"
)

// Values of settings that are left out.
const (
	DefaultConnections    = 4
	DefaultInFlight       = 64
	DefaultRetries        = 3
	DefaultTimeout        = 5 * time.Second
	DefaultConnectTimeout = 5 * time.Second
	DefaultRetryPause     = 250 * time.Millisecond
	maxConnections        = 64
	maxInFlight           = 4096
	maxHeaderLength       = 255
)

// Config says where the modules are and what they must be. Numbers and times
// that are zero take their default.
type Config struct {
	Addresses []string // host:port of each module; all have the same LMK
	TLS       *TLS     // nil: plain TCP, for a network that is physically closed or a tunnel

	HeaderLength int    // characters of the message header as set in the module, at least [MinHeaderLength]; 4
	LMK          string // identifier of the LMK to use, two digits; "": the one of the port
	LMKCheck     string // check value of the LMK as NC and the console show it: 6 to 16 hexadecimal digits, the leading ones compared

	Keys    map[string]Key // by name
	TestKey string         // name of the key that holds the public test pair, for known answers; "" for none

	PINLength int // characters of a PIN encrypted under the LMK: 5 to 13, or 33 under an AES LMK; 0: no PIN work

	Connections    int           // to all modules together; not more than the modules allow
	InFlight       int           // commands on one connection that wait for their reply
	Timeout        time.Duration // of one command, from sending it to its reply
	ConnectTimeout time.Duration // of connecting, TLS and the LMK's check value together
	Retries        int           // further tries of a command after a failure of its connection; -1 for none
	RetryPause     time.Duration // before the first further try to connect; doubled up to 8 times itself

	Dial   func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer
	Notice func(sentence string)                                                // told of lost connections and modules out of reach; may be nil; called from several goroutines
}

// Use is what a key is for.
type Use int

// Uses of keys.
const (
	CVK Use = iota // card verification key pair: CW, CY
	PVK            // PIN verification key pair: DG
	ZPK            // zone PIN key: JG
)

// keyType is the key type code of a key under a variant LMK.
func (u Use) keyType() string { return [...]string{CVK: "402", PVK: "002", ZPK: "001"}[u] }

func (u Use) String() string {
	return [...]string{CVK: "card verification key", PVK: "PIN verification key", ZPK: "zone PIN key"}[u]
}

// mismatch is the error of a key whose check value is another.
func (u Use) mismatch() error {
	if u == CVK {
		return hsm.ErrKCV
	}
	return ErrPINKey
}

// Key is a key in the module, known by its token.
type Key struct {
	Token iso.Secret // U and 32 hexadecimal digits under a variant LMK, or a key block that begins with S
	KCV   string     // check value: six hexadecimal digits
	Use   Use
}

// TLS secures the connections. The module's certificate is always verified.
type TLS struct {
	CA          []byte // PEM: who may have signed the module's certificate; empty: the system's authorities
	Certificate []byte // PEM: our certificate, where the module asks for one
	PrivateKey  []byte // PEM: its key
	ServerName  string // the name in the module's certificate; "": the host of the address

	config *tls.Config
}

// Format keeps the private key out of everything that is printed.
func (t TLS) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("payshield.TLS")) }

// complete gives the settings with defaults filled in, or says all that is wrong with them.
func (s Config) complete() (Config, error) {
	setDefault(&s.HeaderLength, MinHeaderLength)
	setDefault(&s.Connections, DefaultConnections)
	setDefault(&s.InFlight, DefaultInFlight)
	setDefault(&s.Retries, DefaultRetries)
	setDefault(&s.Timeout, DefaultTimeout)
	setDefault(&s.ConnectTimeout, DefaultConnectTimeout)
	setDefault(&s.RetryPause, DefaultRetryPause)
	s.Retries = max(s.Retries, 0)
	if s.Dial == nil {
		s.Dial = new(net.Dialer).DialContext
	}
	wrong := append(s.checkNumbers(), s.checkKeys()...)
	if s.TLS != nil {
		secured, err := s.TLS.complete()
		if err != nil {
			wrong = append(wrong, err)
		}
		s.TLS = secured
	}
	return s, errors.Join(wrong...)
}

func setDefault[T int | time.Duration](value *T, otherwise T) {
	if *value == 0 {
		*value = otherwise
	}
}

func (s Config) checkNumbers() (wrong []error) {
	refuse := func(is bool, format string, a ...any) {
		if is {
			wrong = append(wrong, fmt.Errorf(format, a...))
		}
	}
	refuse(len(s.Addresses) == 0, "no address of an HSM is configured")
	for _, address := range s.Addresses {
		_, _, err := net.SplitHostPort(address)
		refuse(err != nil, "%q is no address; write host:port, for example hsm1.example:1500", address)
	}
	refuse(s.HeaderLength < MinHeaderLength || s.HeaderLength > maxHeaderLength,
		"the message header has %d characters, not %d to %d; set the header length in the HSM's host settings and here", s.HeaderLength, MinHeaderLength, maxHeaderLength)
	refuse(s.LMK != "" && (len(s.LMK) != 2 || !all(s.LMK, isDigit)), "the LMK identifier is two digits, for example 00")
	refuse(len(s.LMKCheck) < 6 || len(s.LMKCheck) > 16 || !isHexText(s.LMKCheck), "the LMK check value is 6 to 16 hexadecimal digits, as the HSM's console shows it")
	refuse(s.PINLength != 0 && s.PINLength != aesPINLength && (s.PINLength < 5 || s.PINLength > 13),
		"an encrypted PIN has 5 to 13 characters, or %d under an AES LMK, not %d; the HSM's security settings say how many", aesPINLength, s.PINLength)
	refuse(s.Connections < 1 || s.Connections > maxConnections, "connections is %d, not 1 to %d", s.Connections, maxConnections)
	refuse(s.InFlight < 1 || s.InFlight > maxInFlight, "in flight is %d, not 1 to %d", s.InFlight, maxInFlight)
	refuse(s.Timeout < 0 || s.ConnectTimeout < 0 || s.RetryPause < 0, "a time limit is negative")
	return wrong
}

func (s Config) checkKeys() (wrong []error) {
	for _, name := range s.keyNames() {
		if err := s.Keys[name].check(); err != nil {
			wrong = append(wrong, fmt.Errorf("key %s: %w", name, err))
		}
	}
	if s.TestKey != "" {
		if key, ok := s.Keys[s.TestKey]; !ok || key.Use != CVK {
			wrong = append(wrong, fmt.Errorf("test key %s is none of the card verification keys", s.TestKey))
		}
	}
	return wrong
}

func (s Config) keyNames() []string { return sortedNames(s.Keys) }

const keyBlockScheme = 'S'

// check says what is wrong with a key, without its token.
func (k Key) check() error {
	token := k.Token.Reveal()
	variant := len(token) == 33 && token[0] == 'U' && all(token[1:], isHex)
	block := len(token) > 17 && len(token) <= 512 && token[0] == keyBlockScheme && all(token, isTokenCharacter)
	switch {
	case k.Use < CVK || k.Use > ZPK:
		return errors.New("it has no use")
	case !variant && !block:
		return fmt.Errorf("the token has %d characters and is neither U and 32 hexadecimal digits in capitals nor a key block that begins with S", len(token))
	case len(k.KCV) != 6 || !isHexText(k.KCV):
		return errors.New("the check value is six hexadecimal digits")
	}
	return nil
}

// isTokenCharacter leaves out the delimiters of commands.
func isTokenCharacter(c byte) bool { return isCodeCharacter(c) || c >= 'a' && c <= 'z' }

func isHexText(s string) bool {
	return all(s, func(c byte) bool { return isHex(c) || c >= 'a' && c <= 'f' })
}

// complete reads certificates and key.
func (t *TLS) complete() (*TLS, error) {
	done := *t
	done.config = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if len(t.CA) > 0 {
		done.config.RootCAs = x509.NewCertPool()
		if !done.config.RootCAs.AppendCertsFromPEM(t.CA) {
			return nil, errors.New("there is no certificate in the PEM text of the HSM's authority")
		}
	}
	if len(t.Certificate) > 0 || len(t.PrivateKey) > 0 {
		pair, err := tls.X509KeyPair(t.Certificate, t.PrivateKey)
		if err != nil {
			return nil, fmt.Errorf("our TLS certificate and its key: %w", err)
		}
		done.config.Certificates = []tls.Certificate{pair}
	}
	return &done, nil
}

func (t *TLS) handshake(ctx context.Context, plain net.Conn, address string) (net.Conn, error) {
	config := t.config
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		config = config.Clone()
		config.ServerName = host
	}
	secured := tls.Client(plain, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return secured, nil
}
