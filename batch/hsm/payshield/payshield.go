// Package payshield computes card verification values in a payShield hardware
// security module through its host commands, over TCP or TLS. The keys stay in
// the module: what is configured here are tokens, the keys encrypted under the
// module's local master key (LMK).
//
// A [Client] holds a few connections, to one module or to several that have the
// same LMK, and keeps many commands in flight on each. Replies come in any
// order and are matched by the message header that the module gives back.
//
// What is promised:
//
//   - Before the first command of a connection the module has shown the LMK
//     check value that is configured; before [Open] returns every key has shown
//     its own, and the test key, where one is configured, the known answers.
//   - A value belongs to the request that it is given for, or there is an error.
//     A reply that is too short, too long, not of digits, to another command, of
//     a header that is not in flight, or a second time, gives no value to anyone
//     and closes the connection. What a reply cannot show is that a digit of the
//     value itself was changed on the way or computed wrong: against the one
//     stands TLS, against the other [Client.VerifyCVVs] on a sample.
//   - Only a failure of the connection is tried again, a bounded number of times
//     and never on the same connection. A refusal is not: one that concerns every
//     card ([ErrStop]) stops the client for good.
//   - No error holds a key, a card number, a PIN or a value.
//
// There is no fall-back to another backend. The commands are those that the
// maker documents: NC, BU, CW and CY, and for PINs JA, DG, JG and QK.
// Package payshieldtest is a simulator with the public test LMK.
package payshield

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"reemboss/batch/hsm"
	"reemboss/formats/iso"
)

// Backend is the name of this backend in the configuration.
const Backend = "payshield"

// Commands and what they are for.
const (
	cmdDiagnose   = "NC"
	cmdCheckValue = "BU"
	cmdCVV        = "CW"
	cmdVerifyCVV  = "CY"
	cmdRandomPIN  = "JA"
	cmdPVV        = "DG"
	cmdPINBlock   = "JG"
	cmdRebindPIN  = "QK"
)

// Errors of the client. A wrong check value of a card verification key is
// [hsm.ErrKCV], wrong known answers are [hsm.ErrSelfTest].
var (
	ErrTransport = errors.New("the HSM was not reached or did not answer as it must")
	ErrLMK       = errors.New("the HSM has another LMK than the configured one; no command was sent to it")
	ErrPINKey    = errors.New("the check value of a PIN key is not the configured one")
	ErrClosed    = errors.New("the connection to the HSM was closed by this program")
)

// Client is an [hsm.Backend] and an [hsm.Verifier]. It may be used by several goroutines.
type Client struct {
	settings Config
	queue    chan *call
	answers  atomic.Uint64 // replies matched so far
	misses   misses

	life  context.Context // ends with Close
	close context.CancelFunc
	slots sync.WaitGroup

	stopOnce sync.Once
	stopped  chan struct{} // closed when stopErr is set
	stopErr  error
}

var (
	_ hsm.Backend  = (*Client)(nil)
	_ hsm.Verifier = (*Client)(nil)
)

// Open connects to the modules and proves them: each must show the configured
// LMK check value ([ErrLMK]), each key its check value ([hsm.ErrKCV],
// [ErrPINKey]), the test key the known answers ([hsm.ErrSelfTest]). A module
// that is out of reach is no error while another answers. All that is wrong with
// keys is told at once. Close the client when it is no longer needed.
func Open(ctx context.Context, settings Config) (*Client, error) {
	settings, err := settings.complete()
	if err != nil {
		return nil, fmt.Errorf("payshield: %w", err)
	}
	c := &Client{settings: settings, queue: make(chan *call, settings.InFlight), stopped: make(chan struct{})}
	c.life, c.close = context.WithCancel(context.Background())
	for i := range settings.Connections {
		c.slots.Add(1)
		go c.serve(i)
	}
	if err := c.prove(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("payshield: %w", err)
	}
	return c, nil
}

// Close ends all connections and waits for the client's goroutines. What is in
// flight gets [ErrClosed]. It may be called more than once.
func (c *Client) Close() error {
	c.close()
	c.slots.Wait()
	return nil
}

// Format keeps key tokens out of everything that is printed.
func (c *Client) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("payshield.Client")) }

// prove is what must hold before the first card.
func (c *Client) prove(ctx context.Context) error {
	if err := c.proveModules(ctx); err != nil {
		return err
	}
	if err := c.proveKeys(ctx); err != nil {
		return err
	}
	return c.proveAnswers(ctx)
}

// proveModules looks at the LMK of each address.
func (c *Client) proveModules(ctx context.Context) error {
	var unreached []error
	for _, address := range c.settings.Addresses {
		conn, err := c.connect(ctx, address)
		switch {
		case errors.Is(err, ErrTransport):
			unreached = append(unreached, err)
			c.notice("HSM %s is out of reach: %v", address, err)
		case err != nil:
			return err
		default:
			_ = conn.net.Close()
		}
	}
	if len(unreached) == len(c.settings.Addresses) {
		return fmt.Errorf("no HSM answers: %w", errors.Join(unreached...))
	}
	return nil
}

// proveKeys compares every key's check value with the configured one.
func (c *Client) proveKeys(ctx context.Context) error {
	names := c.settings.keyNames()
	wrong := make([]error, len(names))
	c.exchange(ctx, len(names), func(i int) ([]byte, error) {
		return c.checkValueCommand(c.settings.Keys[names[i]]), nil
	}, func(i int, r reply, err error) {
		key := c.settings.Keys[names[i]]
		switch kcv := r.fields; {
		case err != nil:
			wrong[i] = fmt.Errorf("key %s: %w", names[i], err)
		case !strings.EqualFold(kcv, key.KCV):
			wrong[i] = fmt.Errorf("key %s: %w: the HSM computes %s, the configuration says %s", names[i], key.Use.mismatch(), kcv, key.KCV)
		}
	})
	return errors.Join(wrong...)
}

// knownAnswers are public vectors under the public test key: the classic one,
// one of a 13-digit number, one that needs the second pass.
var knownAnswers = []struct{ pan, expiry, service, cvv string }{
	{"4123456789012345", "8701", "101", "561"},
	{"4999988887777", "9105", "111", "649"},
	{"4123456700238593", "2912", "201", "851"},
}

// proveAnswers computes known values, where a test key is configured.
func (c *Client) proveAnswers(ctx context.Context) error {
	if c.settings.TestKey == "" {
		return nil
	}
	var requests []hsm.CVVRequest
	for _, known := range knownAnswers {
		requests = append(requests, hsm.CVVRequest{Key: c.settings.TestKey, PAN: iso.VectorPAN(known.pan), Expiry: known.expiry, ServiceCode: known.service})
	}
	for i, result := range c.CVVs(ctx, requests) {
		if result.Err != nil {
			return fmt.Errorf("%w: answer %d: %w", hsm.ErrSelfTest, i+1, result.Err)
		}
		if result.CVV.Reveal() != knownAnswers[i].cvv {
			return fmt.Errorf("%w: answer %d under test key %s is another", hsm.ErrSelfTest, i+1, c.settings.TestKey)
		}
	}
	return nil
}

// checkValueCommand asks for a key's check value of six hexadecimal digits.
// Longer ones need the authorised state.
func (c *Client) checkValueCommand(key Key) []byte {
	token := key.Token.Reveal()
	length, kind := "1", key.Use.keyType()
	if token[0] == keyBlockScheme {
		length, kind = "F", "FFF"
	}
	return c.command(cmdCheckValue, "FF", length, token, ";", kind, ";001")
}

// command joins a command with its fields and, where one is configured, the LMK identifier.
func (c *Client) command(code string, fields ...string) []byte {
	message := append(make([]byte, 0, 128), code...)
	for _, f := range fields {
		message = append(message, f...)
	}
	if c.settings.LMK != "" {
		message = append(append(message, '%'), c.settings.LMK...)
	}
	return message
}

func (c *Client) notice(format string, a ...any) {
	if c.settings.Notice != nil {
		c.settings.Notice(fmt.Sprintf(format, a...))
	}
}

func (c *Client) address(slot, attempt int) string {
	return c.settings.Addresses[(slot+attempt)%len(c.settings.Addresses)]
}

// dial opens a plain or a TLS connection.
func (c *Client) dial(ctx context.Context, address string) (net.Conn, error) {
	plain, err := c.settings.Dial(ctx, "tcp", address)
	if err != nil || c.settings.TLS == nil {
		return plain, err
	}
	secured, err := c.settings.TLS.handshake(ctx, plain, address)
	if err != nil {
		_ = plain.Close()
		return nil, err
	}
	return secured, nil
}

func sortedNames(keys map[string]Key) []string {
	names := make([]string, 0, len(keys))
	for name := range keys {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
