package payshield

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// call is one command on its way: message in, reply or failure out.
type call struct {
	item    int    // of the exchange it belongs to
	message []byte // command and fields; card data, wiped when it is done with
	tries   int    // failed so far
	since   uint64 // replies that the client had matched when it was made, or when it first failed

	reply reply
	err   error
	done  chan<- *call // has room: sending to it never blocks
}

func (k *call) finish(r reply, err error) {
	k.reply, k.err = r, err
	k.done <- k
}

// flight is a call that was sent and waits for its reply.
type flight struct {
	call     *call
	header   string
	deadline time.Time
	landed   bool // answered or given up
}

// conn is one connection to a module. It ends in one of two ways: at once, when
// it fails or brings something that is no reply; or, when a reply is overdue, by
// taking no new commands and closing when what is in flight has landed. Either
// way a command that is tried again goes to another connection, and a header is
// never in use twice.
type conn struct {
	address string
	net     net.Conn
	in      *bufio.Reader
	out     *bufio.Writer
	headers *headers
	timeout time.Duration
	client  *Client

	window chan struct{} // one token for each command in flight
	over   chan struct{} // closed when the connection has failed
	tired  chan struct{} // closed when a reply is overdue
	idle   chan struct{} // closed when it is tired and nothing is in flight

	mu       sync.Mutex
	inFlight map[string]*flight
	late     map[string]bool // headers of commands given up; their replies are dropped
	order    []*flight       // as sent; the first is in flight
	timer    *time.Timer
	ended    error
}

// connect dials a module and looks at its LMK. Errors wrap [ErrTransport], or
// [ErrStop] when the module is not the configured one.
func (c *Client) connect(ctx context.Context, address string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.settings.ConnectTimeout)
	defer cancel()
	raw, err := c.dial(ctx, address)
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return nil, fmt.Errorf("%w: HSM %s: its TLS certificate is not one of the configured authority and name: %w", ErrStop, address, err)
	case err != nil:
		return nil, fmt.Errorf("%w: HSM %s: %w", ErrTransport, address, err)
	}
	n := newConn(c, address, raw)
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	err = n.diagnose()
	if !stop() && err == nil {
		err = fmt.Errorf("%w: %w", ErrTransport, context.Cause(ctx))
	}
	if err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("HSM %s: %w", address, err)
	}
	return n, nil
}

func newConn(c *Client, address string, raw net.Conn) *conn {
	return &conn{
		address: address, net: raw, client: c, timeout: c.settings.Timeout,
		in: bufio.NewReader(raw), out: bufio.NewWriterSize(raw, 16<<10), headers: newHeaders(c.settings.HeaderLength),
		window: make(chan struct{}, c.settings.InFlight),
		over:   make(chan struct{}), tired: make(chan struct{}), idle: make(chan struct{}),
		inFlight: map[string]*flight{}, late: map[string]bool{},
	}
}

// diagnose sends NC, alone on the connection, and compares the LMK's check value.
func (n *conn) diagnose() error {
	header := n.headers.next()
	if _, err := n.net.Write(appendFrame(nil, header, n.client.command(cmdDiagnose))); err != nil {
		return fmt.Errorf("%w: %w", ErrTransport, err)
	}
	frame, err := readFrame(n.in, make([]byte, maxReply), len(header))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTransport, err)
	}
	r, err := parseReply(frame, len(header))
	if err != nil {
		return fmt.Errorf("%w: %w; it may be set to another header length than the %d characters configured", ErrTransport, err, len(header))
	}
	if r.header != header || r.response != responseTo(cmdDiagnose) {
		return fmt.Errorf("%w: %w: not the reply to %s", ErrTransport, errGarbled, cmdDiagnose)
	}
	return n.compareLMK(r)
}

// checkSize is the length of the check value in the reply to NC; the firmware's number follows.
const checkSize = 16

func (n *conn) compareLMK(r reply) error {
	want := strings.ToUpper(n.client.settings.LMKCheck)
	switch {
	case r.code != codeGood:
		refused := &CodeError{Command: cmdDiagnose, Code: r.code}
		if errors.Is(refused, ErrStop) {
			return fmt.Errorf("%w: %w", ErrStop, refused)
		}
		return fmt.Errorf("%w: %w", ErrTransport, refused) // unwell: another module may do
	case len(r.fields) < checkSize || !isHexText(r.fields[:checkSize]):
		return fmt.Errorf("%w: %w: no LMK check value in the reply to %s", ErrTransport, errGarbled, cmdDiagnose)
	case !strings.HasPrefix(strings.ToUpper(r.fields), want):
		return fmt.Errorf("%w: %w: the HSM shows %s, the configuration says %s", ErrStop, ErrLMK, r.fields[:len(want)], want)
	}
	return nil
}

// run sends what comes from the queue, first the call that caused the
// connection, until the connection is over or tired or the client is closed. It
// gives back a call that it took and did not send.
func (n *conn) run(ctx context.Context, first *call, queue <-chan *call) (unsent *call) {
	readerDone := make(chan struct{})
	go func() {
		defer close(readerDone)
		n.end(n.read())
	}()
	stop := context.AfterFunc(ctx, func() { n.end(ErrClosed) })
	n.window <- struct{}{}
	for next := first; next != nil && unsent == nil; {
		if n.send(next) {
			next = n.take(queue)
		} else {
			unsent = next
		}
	}
	n.flush()
	select {
	case <-n.over:
	case <-n.idle:
		n.end(nil)
	}
	stop()
	<-readerDone
	return unsent
}

// take waits for room in the window and then for a call; before it waits it
// flushes. nil: no more calls for this connection.
func (n *conn) take(queue <-chan *call) *call {
	select {
	case n.window <- struct{}{}:
	default:
		if !n.flush() {
			return nil
		}
		select {
		case n.window <- struct{}{}:
		case <-n.over:
			return nil
		case <-n.tired:
			return nil
		}
	}
	select {
	case next := <-queue:
		return next
	default:
	}
	if !n.flush() {
		return nil
	}
	select {
	case next := <-queue:
		return next
	case <-n.over:
	case <-n.tired:
	}
	return nil
}

// flush sends what is written. It is called by the goroutine of run only.
func (n *conn) flush() bool {
	err := n.net.SetWriteDeadline(time.Now().Add(n.timeout))
	if err == nil {
		err = n.out.Flush()
	}
	if err != nil {
		n.end(err)
	}
	return err == nil
}

// send puts a call in flight and writes its frame; the caller has a token of
// the window for it. false: the connection is over or tired, the call was not sent.
func (n *conn) send(k *call) bool {
	if n.out.Available() < lengthSize+n.headers.length+len(k.message) && !n.flush() {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended != nil || n.isTired() {
		return false
	}
	f := &flight{call: k, header: n.unusedHeader(), deadline: time.Now().Add(n.timeout)}
	if _, err := n.out.Write(appendFrame(n.out.AvailableBuffer(), f.header, k.message)); err != nil {
		return false // an earlier flush failed
	}
	n.inFlight[f.header] = f
	n.order = append(n.order, f)
	if n.timer == nil {
		n.timer = time.AfterFunc(n.timeout, n.expire)
	}
	return true
}

// unusedHeader passes over headers whose replies may still come.
func (n *conn) unusedHeader() string {
	for {
		if h := n.headers.next(); n.inFlight[h] == nil && !n.late[h] {
			return h
		}
	}
}

// read lands replies until the connection fails or brings something else.
func (n *conn) read() error {
	buffer := make([]byte, maxReply)
	defer clear(buffer)
	for {
		frame, err := readFrame(n.in, buffer, n.headers.length)
		if errors.Is(err, io.EOF) {
			return errors.New("the HSM closed the connection")
		}
		if err != nil {
			return err
		}
		r, err := parseReply(frame, n.headers.length)
		if err == nil {
			err = n.land(r)
		}
		if err != nil {
			return err
		}
	}
}

// land gives a reply to the call that it answers. It fails on a reply that
// answers none.
func (n *conn) land(r reply) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.late[r.header] {
		delete(n.late, r.header)
		return nil
	}
	f := n.inFlight[r.header]
	if f == nil {
		return fmt.Errorf("%w: its header is not one in flight", errGarbled)
	}
	command := string(f.call.message[:codeSize])
	if r.response != responseTo(command) {
		return fmt.Errorf("%w: it answers %s to %s", errGarbled, r.response, command)
	}
	if r.code == codeGood && !n.client.shape(command).fits(r.fields) {
		return fmt.Errorf("%w: %d characters behind %s%s are not what belongs there", errGarbled, len(r.fields), r.response, r.code)
	}
	n.remove(f)
	n.client.answers.Add(1)
	f.call.finish(r, nil)
	<-n.window
	return nil
}

// remove takes a flight out; the lock is held.
func (n *conn) remove(f *flight) {
	f.landed = true
	delete(n.inFlight, f.header)
	for len(n.order) > 0 && n.order[0].landed {
		n.order = n.order[1:]
	}
	if n.isTired() && len(n.inFlight) == 0 && n.ended == nil {
		close(n.idle)
	}
}

func (n *conn) isTired() bool {
	select {
	case <-n.tired:
		return true
	default:
		return false
	}
}

// expire gives up the commands whose replies are overdue; from then on the connection is tired.
func (n *conn) expire() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended != nil {
		return
	}
	now := time.Now()
	for len(n.order) > 0 && !n.order[0].deadline.After(now) {
		f := n.order[0]
		if !n.isTired() {
			close(n.tired)
		}
		n.late[f.header] = true
		n.remove(f)
		f.call.finish(reply{}, n.failure(fmt.Errorf("no reply within %v", n.timeout)))
	}
	n.timer = nil
	if len(n.order) > 0 {
		n.timer = time.AfterFunc(n.order[0].deadline.Sub(now), n.expire)
	}
}

// end closes the connection, once, and fails what is in flight. A nil error is
// that of a tired connection with nothing left.
func (n *conn) end(err error) {
	if lost := n.close(err); lost > 0 && !errors.Is(err, ErrClosed) {
		n.client.notice("HSM %s: connection lost with %d commands in flight: %v", n.address, lost, err)
	}
}

// close does what [conn.end] says; it counts what was in flight.
func (n *conn) close(err error) (lost int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended != nil {
		return 0
	}
	if err == nil {
		err = net.ErrClosed
	}
	n.ended = err
	_ = n.net.Close()
	if n.timer != nil {
		n.timer.Stop()
	}
	lost = len(n.inFlight)
	for _, f := range n.inFlight {
		f.landed = true
		f.call.finish(reply{}, n.failure(err))
	}
	clear(n.inFlight)
	close(n.over)
	return lost
}

// failure is the error of a call that its connection let down.
func (n *conn) failure(err error) error {
	return fmt.Errorf("%w: HSM %s: %w", ErrTransport, n.address, err)
}
