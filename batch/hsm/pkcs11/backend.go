//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	cryptoki "github.com/miekg/pkcs11"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/formats/iso"
)

// mostReconnections is how often a backend opens a lost connection again, in
// its life. A token that is lost more often is not one to make cards with.
const mostReconnections = 3

// verifyBatch is how many values one session verifies before others have their turn.
const verifyBatch = 32

var errClosed = errors.New("the PKCS#11 token was closed")

// backend implements [Backend]. The calls of a library cannot be interrupted:
// they are made by goroutines of their own, for which nobody waits longer than
// the caller's context and the timeout permit.
type backend struct {
	settings config.PKCS11
	pin      iso.Secret
	strict   bool
	keys     map[string]config.CardKey
	module   module

	life        context.Context // its cause is why nothing is computed any more
	end         context.CancelCauseFunc
	current     atomic.Pointer[connection]
	turn        chan struct{} // held by who connects, reconnects or closes; guards what follows
	initialized bool          // by us, so ours to finalize
	reconnected int
}

// Open loads the library, connects to the token and has it prove itself, with
// every key of keys (card_keys, all of backend pkcs11). Errors: [ErrToken],
// [ErrPIN], [ErrNoKey], [ErrRights], [hsm.ErrKCV], [hsm.ErrSelfTest]; all that is
// wrong with the keys is told at once. It takes no longer than Settings.Timeout
// for each key and twice more.
//
// One process opens a token once: the login and the library's state belong to the process.
func Open(ctx context.Context, c Config, keys map[string]config.CardKey) (Backend, error) {
	b, err := open(ctx, c, keys, load)
	if err != nil {
		return nil, err // not b: an interface that holds a nil pointer is not nil
	}
	return b, nil
}

func open(ctx context.Context, c Config, keys map[string]config.CardKey, load func(path string) (module, error)) (*backend, error) {
	if err := check(c.Settings, keys); err != nil {
		return nil, err
	}
	b := &backend{settings: c.Settings, pin: iso.NewSecret(string(c.PIN)), strict: c.Environment != config.Test, keys: keys, turn: make(chan struct{}, 1)}
	b.life, b.end = context.WithCancelCause(context.Background())
	limited, stop := context.WithTimeoutCause(ctx, time.Duration(len(keys)+2)*c.Settings.Timeout,
		fmt.Errorf("%w: it does not answer", ErrToken))
	defer stop()
	done := make(chan error, 1)
	b.turn <- struct{}{}
	go func() {
		err := b.start(limited, load)
		<-b.turn
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			return b, nil
		}
		return nil, errors.Join(err, b.Close())
	case <-limited.Done():
		// What runs looks at the context itself; only a call that hangs keeps
		// it, and the library with it, until the process ends.
		return nil, errors.Join(context.Cause(limited), b.Close())
	}
}

func (b *backend) start(ctx context.Context, load func(path string) (module, error)) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.module, err = load(b.settings.Module); err != nil {
		return err
	}
	c, err := b.connect(ctx)
	if err != nil {
		return err
	}
	b.current.Store(c)
	return nil
}

// check refuses what the configuration's check would have refused.
func check(s config.PKCS11, keys map[string]config.CardKey) error {
	if s.Module == "" || s.Token == "" && s.Serial == "" || s.Sessions < 1 || s.Batch < 1 || s.Timeout <= 0 {
		return fmt.Errorf("%w: the section pkcs11 is not complete", ErrToken)
	}
	if len(keys) == 0 {
		return fmt.Errorf("%w: there is no card key of backend %s", ErrNoKey, config.PKCS11Keys)
	}
	var wrong []error
	for name, k := range keys {
		if k.Backend != config.PKCS11Keys {
			wrong = append(wrong, fmt.Errorf("card key %s: the PKCS#11 backend cannot serve backend %q", name, k.Backend))
		}
	}
	return errors.Join(wrong...)
}

// CVVs implements [hsm.Backend]: the requests of each key in batches, as many
// at a time as there are sessions.
func (b *backend) CVVs(ctx context.Context, requests []hsm.CVVRequest) []hsm.CVVResult {
	results := make([]hsm.CVVResult, len(requests))
	var jobs []job
	for _, key := range b.byKey(requests, func(i int, err error) { results[i].Err = err }) {
		for at := range slices.Chunk(key.at, b.settings.Batch) {
			b1, b2 := blocksOf(requests, at)
			jobs = append(jobs, job{key.name, at, func(d des) ([]iso.Secret, error) { return d.cvvs(b1, b2) }})
		}
	}
	b.run(ctx, jobs, func(i int, value iso.Secret, err error) { results[i] = hsm.CVVResult{CVV: value, Err: err} })
	return results
}

// VerifyCVVs implements [hsm.Verifier].
func (b *backend) VerifyCVVs(ctx context.Context, requests []hsm.CVVRequest, values []iso.Secret) []error {
	errs := make([]error, len(requests))
	var jobs []job
	for _, key := range b.byKey(requests, func(i int, err error) { errs[i] = err }) {
		for at := range slices.Chunk(key.at, verifyBatch) {
			own := make([]hsm.CVVRequest, len(at))
			for n, i := range at {
				own[n] = requests[i]
			}
			jobs = append(jobs, job{key.name, at, func(d des) ([]iso.Secret, error) { return d.eachAlone(own) }})
		}
	}
	b.run(ctx, jobs, func(i int, value iso.Secret, err error) {
		if err == nil && subtle.ConstantTimeCompare([]byte(value.Reveal()), []byte(values[i].Reveal())) != 1 {
			err = fmt.Errorf("%w (key %s, service code fed %s)", hsm.ErrCVVWrong, requests[i].Key, requests[i].ServiceCode)
		}
		errs[i] = err
	})
	return errs
}

func (d des) eachAlone(requests []hsm.CVVRequest) ([]iso.Secret, error) {
	values := make([]iso.Secret, len(requests))
	for i, r := range requests {
		var err error
		if values[i], err = d.alone(r); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// keyed are the places of the requests for one key.
type keyed struct {
	name string
	at   []int
}

// byKey sorts the good requests by their keys, in the order in which these
// first come; refuse gets the others.
func (b *backend) byKey(requests []hsm.CVVRequest, refuse func(i int, err error)) []keyed {
	var list []keyed
	place := map[string]int{}
	for i, r := range requests {
		if _, ok := b.keys[r.Key]; !ok {
			refuse(i, fmt.Errorf("%w: there is no card key %q", hsm.ErrRequest, r.Key))
			continue
		}
		if err := r.Check(); err != nil {
			refuse(i, err)
			continue
		}
		n, ok := place[r.Key]
		if !ok {
			n, place[r.Key] = len(list), len(list)
			list = append(list, keyed{name: r.Key})
		}
		list[n].at = append(list[n].at, i)
	}
	return list
}

// job is work for one session: the values of the requests at some places. What
// it touches is its own, because nobody may be waiting for it any more.
type job struct {
	key  string
	at   []int
	work func(des) ([]iso.Secret, error)
}

// run does jobs and delivers a value or an error for each of their places, on
// the caller's goroutine. It comes back when all is done, ctx is, the backend
// has ended, or the token answered nothing for the timeout.
func (b *backend) run(ctx context.Context, jobs []job, deliver func(i int, value iso.Secret, err error)) {
	type outcome struct {
		n      int
		values []iso.Secret
		err    error
	}
	outcomes := make(chan outcome, len(jobs))
	working, stop := context.WithCancel(ctx)
	defer stop()
	var taken atomic.Int64
	for range min(b.settings.Sessions, len(jobs)) {
		go func() {
			for n := int(taken.Add(1)) - 1; n < len(jobs); n = int(taken.Add(1)) - 1 {
				values, err := b.compute(working, jobs[n])
				outcomes <- outcome{n, values, err}
			}
		}()
	}
	settled := make([]bool, len(jobs))
	silence := time.NewTimer(b.settings.Timeout)
	defer silence.Stop()
	var ended error
	for left := len(jobs); left > 0 && ended == nil; {
		select {
		case o := <-outcomes:
			jobs[o.n].deliver(o.values, o.err, deliver)
			settled[o.n], left = true, left-1
			silence.Reset(b.settings.Timeout)
		case <-ctx.Done():
			ended = ctx.Err()
		case <-b.life.Done():
			ended = context.Cause(b.life)
		case <-silence.C:
			b.end(fmt.Errorf("%w: it answered nothing for %s", ErrToken, b.settings.Timeout))
			ended = context.Cause(b.life)
		}
	}
	for n, j := range jobs {
		if !settled[n] {
			j.deliver(nil, ended, deliver)
		}
	}
}

func (j job) deliver(values []iso.Secret, err error, deliver func(i int, value iso.Secret, err error)) {
	for n, i := range j.at {
		if err != nil {
			deliver(i, iso.Secret{}, err)
		} else {
			deliver(i, values[n], nil)
		}
	}
}

// compute does one job. A connection that was lost is replaced and the job
// repeated, once; every other failure ends the backend.
func (b *backend) compute(ctx context.Context, j job) ([]iso.Secret, error) {
	c := b.current.Load()
	for again := false; ; again = true {
		values, err := b.on(ctx, c, j)
		switch {
		case !lost(err) || ctx.Err() != nil || b.life.Err() != nil:
			return values, err
		case again:
			b.end(err)
			return nil, err
		}
		if c, err = b.reconnect(ctx, c, err); err != nil {
			return nil, err
		}
	}
}

// on does a job in a session of c once one is free.
func (b *backend) on(ctx context.Context, c *connection, j job) ([]iso.Secret, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := context.Cause(b.life); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-b.life.Done():
		return nil, context.Cause(b.life)
	case <-c.gone:
		return nil, errStale
	case s := <-c.sessions:
		defer func() { c.sessions <- s }()
		select {
		case <-c.gone:
			return nil, errStale
		default:
		}
		p := c.pairs[j.key]
		values, err := j.work(des{c.module, s, p.a, p.b})
		// Before anybody else gets the session, in which an operation may be left half done.
		if lost(err) {
			c.lose()
		} else if err != nil {
			b.end(err)
		}
		return values, err
	}
}

// reconnect replaces a connection that was lost, unless somebody else already has.
func (b *backend) reconnect(ctx context.Context, c *connection, cause error) (*connection, error) {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-b.life.Done():
		return nil, context.Cause(b.life)
	}
	if err := context.Cause(b.life); err != nil {
		return nil, err
	}
	if now := b.current.Load(); now != c {
		return now, nil
	}
	c.lose()
	b.reconnected++
	next, err := b.replace(context.WithoutCancel(ctx), c)
	if err != nil {
		b.end(fmt.Errorf("%w: the connection was lost (%w) and could not be made again: %w", ErrToken, codeOf(cause), err))
		return nil, context.Cause(b.life)
	}
	b.current.Store(next)
	return next, nil
}

func (b *backend) replace(ctx context.Context, c *connection) (*connection, error) {
	if b.reconnected > mostReconnections {
		return nil, fmt.Errorf("it was opened again %d times already", mostReconnections)
	}
	if !c.drain(b.settings.Timeout) {
		return nil, errors.New("a call does not come back")
	}
	return b.connect(ctx)
}

// Close implements [Backend].
func (b *backend) Close() error {
	b.end(errClosed)
	late := time.NewTimer(b.settings.Timeout)
	defer late.Stop()
	running := fmt.Errorf("close the PKCS#11 token: a call of %s does not come back", b.settings.Module)
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-late.C:
		return running
	}
	if c := b.current.Swap(nil); c != nil && !c.drain(b.settings.Timeout) {
		return running
	}
	if !b.initialized {
		return nil
	}
	b.initialized = false
	if err := b.module.Finalize(); err != nil && !is(err, cryptoki.CKR_CRYPTOKI_NOT_INITIALIZED) {
		return fmt.Errorf("close the PKCS#11 token: %w", err)
	}
	return nil
}

// Format keeps the PIN out of everything that is printed.
func (b *backend) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("pkcs11.backend")) }
