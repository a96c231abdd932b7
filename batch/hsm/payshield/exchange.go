package payshield

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// exchange sends n commands and gives each its end: settle is called exactly
// once for each item, in any order, from this goroutine, with a reply of error
// code 00 or with an error. compose makes a command when its turn comes, so that
// only what is in flight is in memory; its error is the item's.
//
// A command whose connection failed is handed over again, Retries times. When
// the tries of one are used up and no module has answered anything meanwhile,
// the others are not tried one by one: all get that error. The same when all
// slots together failed to connect as often.
func (c *Client) exchange(ctx context.Context, n int, compose func(i int) ([]byte, error), settle func(i int, r reply, err error)) {
	x := exchange{client: c, settle: settle, unsettled: make([]bool, n), done: make(chan *call, c.capacity())}
	for i := range x.unsettled {
		x.unsettled[i] = true
	}
	c.misses.reset()
	x.run(ctx, compose)
}

// capacity is the most calls that can be out at a time: in the queue, in
// flight, and one in the hand of each connection.
func (c *Client) capacity() int {
	return c.settings.InFlight + c.settings.Connections*(c.settings.InFlight+1)
}

type exchange struct {
	client    *Client
	settle    func(i int, r reply, err error)
	unsettled []bool
	done      chan *call
	next      int     // item to compose
	ready     []*call // composed, to be handed over
	out       int     // handed over
}

func (x *exchange) run(ctx context.Context, compose func(i int) ([]byte, error)) {
	c := x.client
	stopped := c.stopped
	for {
		if err := x.halted(ctx); err != nil {
			x.settleRest(err)
			return
		}
		x.compose(compose)
		var queue chan<- *call
		var head *call
		if len(x.ready) > 0 {
			head, queue = x.ready[len(x.ready)-1], c.queue
		} else if x.out == 0 {
			return
		}
		select {
		case queue <- head:
			x.ready = x.ready[:len(x.ready)-1]
			x.out++
		case k := <-x.done:
			x.out--
			if err := x.land(k); err != nil {
				x.settleRest(err)
				return
			}
		case <-ctx.Done():
		case <-c.life.Done():
		case <-stopped:
			x.refuseUnsent(c.stopErr)
			stopped = nil
		}
	}
}

// halted is why nothing more may be sent or waited for.
func (x *exchange) halted(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if x.client.life.Err() != nil {
		return ErrClosed
	}
	return nil
}

// compose makes the next command, unless one is ready or the client is stopped.
func (x *exchange) compose(compose func(i int) ([]byte, error)) {
	for len(x.ready) == 0 && x.next < len(x.unsettled) {
		i := x.next
		x.next++
		if err := x.client.isStopped(); err != nil {
			x.finish(i, reply{}, err)
			continue
		}
		message, err := compose(i)
		if err != nil {
			x.finish(i, reply{}, err)
			continue
		}
		x.ready = append(x.ready, &call{item: i, message: message, done: x.done, since: x.client.answers.Load()})
	}
}

// land ends a call or gets it ready again. An error ends all that are left.
func (x *exchange) land(k *call) error {
	c := x.client
	stop := c.isStopped()
	switch {
	case k.err == nil && k.reply.code == codeGood:
		x.end(k, nil)
	case k.err == nil:
		refused := &CodeError{Command: string(k.message[:codeSize]), Code: k.reply.code}
		if errors.Is(refused, ErrStop) {
			c.stop(refused)
		}
		x.end(k, refused)
	case stop != nil:
		x.end(k, stop)
	case c.misses.enough(c.settings.Connections*(c.settings.Retries+1), c.answers.Load()):
		x.end(k, k.err)
		return k.err
	case k.tries < c.settings.Retries:
		if k.tries++; k.tries == 1 {
			k.since = c.answers.Load()
		}
		x.ready = append(x.ready, k)
	default:
		err := fmt.Errorf("%w (tried %d times)", k.err, k.tries+1)
		unreachable := c.answers.Load() == k.since
		x.end(k, err)
		if unreachable {
			return err
		}
	}
	return nil
}

func (x *exchange) end(k *call, err error) {
	clear(k.message)
	x.finish(k.item, k.reply, err)
}

func (x *exchange) finish(i int, r reply, err error) {
	x.unsettled[i] = false
	if err != nil {
		r = reply{}
	}
	x.settle(i, r, err)
}

// refuseUnsent ends what was not handed over.
func (x *exchange) refuseUnsent(err error) {
	for _, k := range x.ready {
		x.end(k, err)
	}
	x.ready = nil
}

// settleRest gives everything that has no end yet the error. Calls that are out
// end in a channel that nobody reads.
func (x *exchange) settleRest(err error) {
	x.next = len(x.unsettled)
	for i, open := range x.unsettled {
		if open {
			x.finish(i, reply{}, err)
		}
	}
}

// stop ends the client's work for good, with the first reason.
func (c *Client) stop(err error) {
	c.stopOnce.Do(func() {
		c.stopErr = err
		close(c.stopped)
	})
}

// isStopped gives the reason, or nil.
func (c *Client) isStopped() error {
	select {
	case <-c.stopped:
		return c.stopErr
	default:
		return nil
	}
}

// serve keeps one connection, made when there is something to send.
func (c *Client) serve(slot int) {
	defer c.slots.Done()
	var next *call
	for attempt, failures := 0, 0; ; {
		if next == nil {
			select {
			case next = <-c.queue:
			case <-c.life.Done():
				return
			}
		}
		if err := c.isStopped(); err != nil {
			next.finish(reply{}, err)
			next = nil
			continue
		}
		conn, err := c.reach(slot, &attempt)
		if err == nil {
			unsent := conn.run(c.life, next, c.queue)
			if unsent != next { // it sent something
				next, failures = unsent, 0
				continue
			}
			err = conn.failure(conn.ended)
		}
		c.unconnected(err, failures)
		failures++
		next.finish(reply{}, err)
		next = nil
	}
}

// reach connects to the next address that answers. A call does not use up its
// tries on modules that are out of reach while another one answers.
func (c *Client) reach(slot int, attempt *int) (reached *conn, err error) {
	for i := range c.settings.Addresses {
		if i > 0 {
			c.notice("%v", err)
		}
		reached, err = c.connect(c.life, c.address(slot, *attempt))
		*attempt++
		if err == nil || !errors.Is(err, ErrTransport) || c.life.Err() != nil {
			break
		}
	}
	return reached, err
}

// unconnected is what follows a failure to connect.
func (c *Client) unconnected(err error, failures int) {
	if errors.Is(err, ErrStop) {
		c.stop(err)
	}
	if c.life.Err() == nil {
		c.misses.add(c.answers.Load())
		c.notice("%v", err)
	}
	c.pause(failures)
}

// pause waits after the n-th failure in a row to connect, counted from zero.
func (c *Client) pause(n int) {
	timer := time.NewTimer(c.settings.RetryPause << min(n, 3))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.stopped:
	case <-c.life.Done():
	}
}

// misses counts failures to connect since a module last answered anything.
type misses struct {
	mu      sync.Mutex
	count   int
	answers uint64
}

func (m *misses) add(answers uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if answers != m.answers {
		m.count, m.answers = 0, answers
	}
	m.count++
}

func (m *misses) enough(n int, answers uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count >= n && m.answers == answers
}

func (m *misses) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count = 0
}
