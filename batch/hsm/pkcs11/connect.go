//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	cryptoki "github.com/miekg/pkcs11"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/formats/iso"
)

// connection is a token that has proven itself: sessions, logged in, and the
// keys as it knows them. Handles mean nothing in another connection.
type connection struct {
	module   module
	sessions chan cryptoki.SessionHandle // those that nobody uses
	pairs    map[string]pair
	lose     func()        // nobody begins anything in it any more
	gone     chan struct{} // closed by lose
	closed   int           // sessions that drain has closed
}

type pair struct{ a, b half }

// connect opens sessions, logs in, finds every key and has all of it proven.
// All that is wrong with the keys is told at once.
func (b *backend) connect(ctx context.Context) (*connection, error) {
	switch err := b.module.Initialize(); {
	case err == nil:
		b.initialized = true
	case !is(err, cryptoki.CKR_CRYPTOKI_ALREADY_INITIALIZED):
		return nil, failed("begin with "+b.settings.Module, err)
	}
	slot, flags, err := findSlot(b.module, b.settings)
	if err != nil {
		return nil, err
	}
	gone := make(chan struct{})
	c := &connection{module: b.module, sessions: make(chan cryptoki.SessionHandle, b.settings.Sessions), pairs: map[string]pair{},
		lose: sync.OnceFunc(func() { close(gone) }), gone: gone}
	err = c.open(slot, b.settings.Sessions)
	if err == nil {
		err = c.use(func(s cryptoki.SessionHandle) error {
			if err := login(b.module, s, flags, b.pin); err != nil {
				return err
			}
			return c.prove(ctx, objects{b.module, s}, b)
		})
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *connection) open(slot uint, sessions int) error {
	for n := range sessions {
		s, err := c.module.OpenSession(slot, cryptoki.CKF_SERIAL_SESSION)
		if is(err, cryptoki.CKR_SESSION_COUNT) {
			return fmt.Errorf("%w (it permits %d here; lower pkcs11.sessions)", failed("open a session", err), n)
		}
		if err != nil {
			return failed("open a session", err)
		}
		c.sessions <- s
	}
	return nil
}

// use lends a session of a connection that nobody else knows yet.
func (c *connection) use(do func(cryptoki.SessionHandle) error) error {
	s := <-c.sessions
	defer func() { c.sessions <- s }()
	return do(s)
}

// login logs the user in, once, for all sessions. It does not use up the last
// try of a PIN: a night that runs from a timetable must not lock the token.
func login(m module, s cryptoki.SessionHandle, flags uint, pin iso.Secret) error {
	switch {
	case flags&cryptoki.CKF_USER_PIN_LOCKED != 0:
		return fmt.Errorf("%w: it is locked; the security officer of the token must set a new one", ErrPIN)
	case flags&cryptoki.CKF_USER_PIN_FINAL_TRY != 0:
		return fmt.Errorf("%w again: one more wrong PIN locks it; check the PIN and log in once by hand (pkcs11-tool --login)", ErrPIN)
	case pin.IsZero() && flags&cryptoki.CKF_LOGIN_REQUIRED == 0:
		return nil
	case pin.IsZero():
		return fmt.Errorf("%w: it demands one, and pkcs11.pin gives none", ErrPIN)
	}
	err := m.Login(s, cryptoki.CKU_USER, pin.Reveal())
	switch {
	case err == nil || is(err, cryptoki.CKR_USER_ALREADY_LOGGED_IN):
		return nil
	case is(err, cryptoki.CKR_PIN_INCORRECT, cryptoki.CKR_PIN_INVALID, cryptoki.CKR_PIN_LEN_RANGE):
		return fmt.Errorf("%w: it is wrong (%w); correct what pkcs11.pin names before the next run: each wrong try counts", ErrPIN, err)
	case is(err, cryptoki.CKR_PIN_LOCKED, cryptoki.CKR_PIN_EXPIRED, cryptoki.CKR_USER_PIN_NOT_INITIALIZED):
		return fmt.Errorf("%w: %w; the security officer of the token must set a new one", ErrPIN, err)
	}
	return failed("log in", err)
}

// prove finds every key and holds it against its configuration; then the known
// answers must come out, once for each combination of key types in use.
func (c *connection) prove(ctx context.Context, o objects, b *backend) error {
	var wrong []error
	kinds := map[[2]uint]bool{}
	for _, name := range slices.Sorted(maps.Keys(b.keys)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := o.card(name, b.keys[name], b.strict, b.settings.Batch)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		c.pairs[name] = p
		kinds[[2]uint{p.a.kind, p.b.kind}] = true
	}
	for combination := range kinds {
		if err := o.knownAnswers(combination[0], combination[1], b.settings); err != nil {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

// card finds one card key and holds its check value against the configured one.
func (o objects) card(name string, want config.CardKey, strict bool, batch int) (pair, error) {
	owner := "card key " + name
	a, b, err := o.pair(owner, want.LabelA, want.LabelB, strict)
	if err != nil {
		return pair{}, err
	}
	kcv, err := checkValue(des{o.module, o.session, a, b}, batch)
	if err != nil {
		return pair{}, fmt.Errorf("%s: %w", owner, err)
	}
	if !strings.EqualFold(kcv, want.KCV) {
		return pair{}, fmt.Errorf("%s: %w: the token's keys %q and %q give %s, card_keys.%s.kcv says %s", owner, hsm.ErrKCV, want.LabelA, want.LabelB, kcv, name, want.KCV)
	}
	return pair{a, b}, nil
}

// checkValue is the check value of a pair: the first three bytes of the triple
// encryption of a block of zeros. The block is the first of a whole batch, some
// of whose blocks are computed alone too: a token that chains blocks, mixes
// them up or takes no more than some at once is found before the first card.
func checkValue(d des, batch int) (string, error) {
	blocks := make([]byte, blockLength*batch)
	for i := range batch {
		binary.BigEndian.PutUint64(blocks[blockLength*i:], uint64(i))
	}
	together, err := d.triple(blocks)
	if is(err, cryptoki.CKR_DATA_LEN_RANGE, cryptoki.CKR_ENCRYPTED_DATA_LEN_RANGE) {
		return "", fmt.Errorf("%w; it takes fewer at once: lower pkcs11.batch", err)
	}
	if err != nil {
		return "", err
	}
	for _, i := range []int{0, batch / 2, batch - 1} {
		at := blockLength * i
		alone, err := d.triple(blocks[at : at+blockLength])
		if err != nil {
			return "", err
		}
		if !bytes.Equal(alone, together[at:at+blockLength]) {
			return "", fmt.Errorf("%w: block %d of %d gives another result than alone", hsm.ErrSelfTest, i+1, batch)
		}
	}
	return fmt.Sprintf("%X", together[:3]), nil
}

// knownAnswers holds the token against published values under the public test
// key: keys of this session only, or those that the configuration names.
func (o objects) knownAnswers(kindA, kindB uint, settings config.PKCS11) error {
	return hsm.KnownAnswerTest(func(key []byte, requests []hsm.CVVRequest) ([]iso.Secret, error) {
		d := des{module: o.module, session: o.session}
		var err error
		if settings.TestLabelA != "" {
			d.a, d.b, err = o.residentTestPair(kindA, kindB, settings)
		} else if d.a, d.b, err = o.makeTestPair(key, kindA, kindB); err == nil {
			defer o.destroy(d.a, d.b)
		}
		if err != nil {
			return nil, err
		}
		all := make([]int, len(requests))
		for i := range all {
			all[i] = i
		}
		return d.cvvs(blocksOf(requests, all))
	})
}

func (o objects) makeTestPair(key []byte, kindA, kindB uint) (a, b half, err error) {
	const instead = "make a key for this session (a token that lets no program do so needs the public test key in it: pkcs11.test_label_a and test_label_b)"
	if a, err = o.create(key[:blockLength], kindA, roleA); err != nil {
		return a, b, failed(instead, err)
	}
	if b, err = o.create(key[blockLength:], kindB, roleB); err != nil {
		o.destroy(a)
		return a, b, failed(instead, err)
	}
	return a, b, nil
}

func (o objects) residentTestPair(kindA, kindB uint, settings config.PKCS11) (a, b half, err error) {
	a, b, err = o.pair("public test key", settings.TestLabelA, settings.TestLabelB, false)
	if err == nil && (a.kind != kindA || b.kind != kindB) {
		err = fmt.Errorf("the public test key has the types 0x%X and 0x%X, a card key has 0x%X and 0x%X, so it would prove another mechanism; put it into the token with the same types", a.kind, b.kind, kindA, kindB)
	}
	return a, b, err
}

// destroy takes keys of this session away again. Where that fails they go with the session.
func (o objects) destroy(halves ...half) {
	for _, h := range halves {
		_ = o.module.DestroyObject(o.session, h.object)
	}
}

// drain waits until nobody uses a session and closes all; what is closed stays
// closed, so that it may be tried again. It says whether all are: a session
// must not be closed under its user.
func (c *connection) drain(timeout time.Duration) bool {
	late := time.NewTimer(timeout)
	defer late.Stop()
	for c.closed < cap(c.sessions) {
		select {
		case s := <-c.sessions:
			_ = c.module.CloseSession(s) // it may be gone already, which is as good
			c.closed++
		case <-late.C:
			return false
		}
	}
	return true
}

// close closes the sessions of a connection that nobody uses yet.
func (c *connection) close() {
	for range len(c.sessions) {
		_ = c.module.CloseSession(<-c.sessions)
	}
}
