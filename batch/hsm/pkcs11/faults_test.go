//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cryptoki "github.com/miekg/pkcs11"

	"reemboss/batch/hsm"
)

// spoilt is a module between the backend and the real one.
type spoilt struct {
	module
	before func(call string) error     // an error is the module's answer
	after  func(in, out []byte) []byte // of an encryption
	create func() error
}

func (s spoilt) answer(call string, do func() error) error {
	if s.before != nil {
		if err := s.before(call); err != nil {
			return err
		}
	}
	return do()
}

func (s spoilt) EncryptInit(h cryptoki.SessionHandle, m []*cryptoki.Mechanism, o cryptoki.ObjectHandle) error {
	return s.answer("EncryptInit", func() error { return s.module.EncryptInit(h, m, o) })
}

func (s spoilt) DecryptInit(h cryptoki.SessionHandle, m []*cryptoki.Mechanism, o cryptoki.ObjectHandle) error {
	return s.answer("DecryptInit", func() error { return s.module.DecryptInit(h, m, o) })
}

func (s spoilt) Encrypt(h cryptoki.SessionHandle, in []byte) (out []byte, err error) {
	err = s.answer("Encrypt", func() error { out, err = s.module.Encrypt(h, in); return err })
	if err == nil && s.after != nil {
		out = s.after(in, out)
	}
	return out, err
}

func (s spoilt) Decrypt(h cryptoki.SessionHandle, in []byte) (out []byte, err error) {
	err = s.answer("Decrypt", func() error { out, err = s.module.Decrypt(h, in); return err })
	return out, err
}

func (s spoilt) OpenSession(slot, flags uint) (h cryptoki.SessionHandle, err error) {
	err = s.answer("OpenSession", func() error { h, err = s.module.OpenSession(slot, flags); return err })
	return h, err
}

func (s spoilt) Login(h cryptoki.SessionHandle, user uint, pin string) error {
	return s.answer("Login", func() error { return s.module.Login(h, user, pin) })
}

func (s spoilt) CreateObject(h cryptoki.SessionHandle, a []*cryptoki.Attribute) (cryptoki.ObjectHandle, error) {
	if s.create != nil {
		if err := s.create(); err != nil {
			return 0, err
		}
	}
	return s.module.CreateObject(h, a)
}

// noKeysMade is a token that lets no program make a key.
func noKeysMade(m module) module {
	return spoilt{module: m, create: func() error { return cryptoki.Error(cryptoki.CKR_TEMPLATE_INCONSISTENT) }}
}

func TestATokenThatProvesNothingStaysClosed(t *testing.T) {
	s, keys := classic(t)
	if _, err := s.open(s.settings(), keys, noKeysMade); !errors.Is(err, hsm.ErrSelfTest) || !strings.Contains(err.Error(), "pkcs11.test_label_a") {
		t.Errorf("%v", err)
	}
}

// Each of these tokens has the right check value, so only the other proofs find it.
func TestATokenThatComputesWrongIsFoundBeforeTheFirstCard(t *testing.T) {
	s, keys := classic(t)
	for name, test := range map[string]struct {
		after func(in, out []byte) []byte
		cause error
	}{
		"blocks are chained": {func(_, out []byte) []byte { // from the second block on, as in CBC
			for i := 8; i < len(out); i++ {
				out[i] ^= out[i-8]
			}
			return out
		}, hsm.ErrSelfTest},
		"the last block is wrong": {func(_, out []byte) []byte {
			if len(out) > 8 {
				out[len(out)-8]++
			}
			return out
		}, hsm.ErrSelfTest},
		"a block is missing": {func(_, out []byte) []byte { return out[:max(8, len(out)-8)] }, ErrToken},
		"some numbers are wrong": {func(in, out []byte) []byte {
			if in[0] == 0x41 && in[1] == 0x23 {
				out[0]++
			}
			return out
		}, hsm.ErrSelfTest},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := s.open(s.settings(), keys, func(m module) module { return spoilt{module: m, after: test.after} })
			if err == nil {
				_ = b.Close()
				t.Fatal("the token opened")
			}
			if !errors.Is(err, test.cause) || errors.Is(err, hsm.ErrKCV) {
				t.Errorf("%v", err)
			}
		})
	}
}

// countdown fails the n-th call from now on with a code, once; it counts on all goroutines.
func countdown(n *atomic.Int64, code uint) func(string) error {
	return func(string) error {
		if n.Add(-1) == 0 {
			return cryptoki.Error(code)
		}
		return nil
	}
}

// A loss at any call of a run: the values are the same.
func TestALostConnectionIsMadeAgain(t *testing.T) {
	s, keys := classic(t)
	settings := s.settings()
	settings.Batch, settings.Sessions = 16, 2
	list := requests(64)
	want := software(t, map[string][]byte{"cvk": classicPair}).CVVs(context.Background(), list)
	for _, code := range []uint{cryptoki.CKR_SESSION_HANDLE_INVALID, cryptoki.CKR_DEVICE_REMOVED, cryptoki.CKR_USER_NOT_LOGGED_IN} {
		for n := int64(1); ; n++ {
			var left atomic.Int64
			b := s.opened(settings, keys, func(m module) module { return spoilt{module: m, before: countdown(&left, code)} })
			left.Store(n)
			results := b.CVVs(context.Background(), list)
			reached := left.Load() <= 0
			agree(t, results, want)
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			if !reached {
				if n < 30 {
					t.Fatalf("a run makes only %d calls", n)
				}
				break
			}
		}
	}
}

// Any other failure at any call: right values or errors, and nothing after it.
func TestAnyOtherFailureEndsTheBackend(t *testing.T) {
	s, keys := classic(t)
	settings := s.settings()
	settings.Batch, settings.Sessions = 16, 2
	list := requests(64)
	want := software(t, map[string][]byte{"cvk": classicPair}).CVVs(context.Background(), list)
	for n := int64(1); n <= 32; n++ {
		var left atomic.Int64
		b := s.opened(settings, keys, func(m module) module {
			return spoilt{module: m, before: countdown(&left, cryptoki.CKR_FUNCTION_FAILED)}
		})
		left.Store(n)
		failed := 0
		for i, result := range b.CVVs(context.Background(), list) {
			switch {
			case result.Err == nil && result.CVV.Reveal() != want[i].CVV.Reveal():
				t.Fatalf("call %d: request %d has another value", n, i)
			case result.Err != nil:
				failed++
				if !errors.Is(result.Err, ErrToken) || !is(result.Err, cryptoki.CKR_FUNCTION_FAILED) || !result.CVV.IsZero() {
					t.Fatalf("call %d: %v", n, result.Err)
				}
			}
		}
		if failed == 0 {
			t.Errorf("call %d failed and nobody was told", n)
		}
		left.Store(0)
		for _, result := range b.CVVs(context.Background(), list[:2]) {
			if !errors.Is(result.Err, ErrToken) {
				t.Errorf("after call %d: %v", n, result.Err)
			}
		}
	}
}

func TestASecondLossOfABatchIsTheEnd(t *testing.T) {
	s, keys := classic(t)
	var sinceLogin, proofs atomic.Int64 // encryptions
	b := s.opened(s.settings(), keys, func(m module) module {
		return spoilt{module: m, before: func(call string) error {
			switch {
			case call == "Login":
				sinceLogin.Store(0)
			case call == "Encrypt" && sinceLogin.Add(1) > proofs.Load() && proofs.Load() > 0:
				return cryptoki.Error(cryptoki.CKR_DEVICE_ERROR)
			}
			return nil
		}}
	})
	proofs.Store(sinceLogin.Load()) // from now on a connection proves itself and is lost
	for _, result := range b.CVVs(context.Background(), requests(3)) {
		if !errors.Is(result.Err, ErrToken) || !is(result.Err, cryptoki.CKR_DEVICE_ERROR) {
			t.Errorf("%v", result.Err)
		}
	}
	if b.reconnected != 1 {
		t.Errorf("%d reconnections", b.reconnected)
	}
}

func TestATokenThatIsLostTooOftenIsTheEnd(t *testing.T) {
	s, keys := classic(t)
	b := s.opened(s.settings(), keys, nil)
	for losses := 1; losses <= mostReconnections+1; losses++ {
		s.closeSessions()
		for _, result := range b.CVVs(context.Background(), requests(600)) {
			if (result.Err != nil) != (losses > mostReconnections) || result.Err != nil && !errors.Is(result.Err, ErrToken) {
				t.Fatalf("loss %d: %v", losses, result.Err)
			}
		}
	}
}

// closeSessions takes all sessions away, as a token that was pulled out and put back does.
func (s softhsm) closeSessions() {
	s.t.Helper()
	s.asked(func(m *cryptoki.Ctx) {
		slot, _, err := findSlot(m, s.settings())
		if err != nil {
			s.t.Fatal(err)
		}
		if err := m.CloseAllSessions(slot); err != nil {
			s.t.Fatal(err)
		}
	})
}

// The real thing: another program of the same process takes sessions, login or library away.
func TestSoftHSMTakesTheConnectionAway(t *testing.T) {
	list := requests(1000)
	for name, take := range map[string]func(softhsm){
		"sessions": softhsm.closeSessions,
		"login": func(s softhsm) {
			s.asked(func(m *cryptoki.Ctx) {
				if err := m.Logout(s.login(m)); err != nil {
					s.t.Fatal(err)
				}
			})
		},
		"library": func(s softhsm) {
			s.asked(func(m *cryptoki.Ctx) {
				if err := m.Finalize(); err != nil {
					s.t.Fatal(err)
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, keys := classic(t)
			b := s.opened(s.settings(), keys, nil)
			take(s)
			agree(t, b.CVVs(context.Background(), list), software(t, map[string][]byte{"cvk": classicPair}).CVVs(context.Background(), list))
			if b.reconnected != 1 {
				t.Errorf("%d reconnections", b.reconnected)
			}
		})
	}
}

// removed takes the token itself away while the backend is open.
func (s softhsm) removed() {
	s.t.Helper()
	s.asked(func(m *cryptoki.Ctx) {
		if err := m.Finalize(); err != nil {
			s.t.Fatal(err)
		}
	})
	if err := os.RemoveAll(s.folder); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Mkdir(s.folder, 0o700); err != nil {
		s.t.Fatal(err)
	}
}

func TestATokenRemovedInARunEndsIt(t *testing.T) {
	s, keys := classic(t)
	b := s.opened(s.settings(), keys, nil)
	s.removed()
	for range 2 {
		for i, result := range b.CVVs(context.Background(), requests(600)) {
			if !errors.Is(result.Err, ErrToken) || !result.CVV.IsZero() {
				t.Fatalf("request %d: %v", i, result.Err)
			}
			if i == 0 && !strings.Contains(result.Err.Error(), "there is no token") {
				t.Errorf("%v", result.Err)
			}
		}
	}
	if b.reconnected != 1 {
		t.Errorf("%d reconnections", b.reconnected)
	}
}

// A token of the same name with other keys is not taken for the first.
func TestATokenExchangedInARunEndsIt(t *testing.T) {
	s, keys := classic(t)
	b := s.opened(s.settings(), keys, nil)
	s.removed()
	s.addToken(testToken)
	s.ImportTestKeys(map[string][]byte{"cvk": append(append([]byte(nil), classicPair[8:]...), classicPair[:8]...)}, cryptoki.CKK_DES2)
	for _, result := range b.CVVs(context.Background(), requests(3)) {
		if !errors.Is(result.Err, ErrToken) || !errors.Is(result.Err, hsm.ErrKCV) || !result.CVV.IsZero() {
			t.Errorf("%v", result.Err)
		}
	}
}

// held is a module whose encryption hangs while the gate is shut.
func held(m module, shut *atomic.Bool, gate chan struct{}) module {
	return spoilt{module: m, before: func(call string) error {
		if call == "Encrypt" && shut.Load() {
			<-gate
		}
		return nil
	}}
}

func TestNobodyWaitsForATokenThatHangs(t *testing.T) {
	s, keys := classic(t)
	t.Run("a context ends the waiting, not the backend", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var shut atomic.Bool
			gate := make(chan struct{})
			b, err := s.open(s.settings(), keys, func(m module) module { return held(m, &shut, gate) })
			if err != nil {
				t.Fatal(err)
			}
			shut.Store(true)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			for _, result := range b.CVVs(ctx, requests(600)) {
				if !errors.Is(result.Err, context.DeadlineExceeded) {
					t.Fatalf("%v", result.Err)
				}
			}
			shut.Store(false)
			close(gate)
			for _, result := range b.CVVs(t.Context(), requests(600)) {
				if result.Err != nil {
					t.Fatal(result.Err)
				}
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("without one the timeout ends the backend", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var shut atomic.Bool
			gate := make(chan struct{})
			b, err := s.open(s.settings(), keys, func(m module) module { return held(m, &shut, gate) })
			if err != nil {
				t.Fatal(err)
			}
			shut.Store(true)
			started := time.Now()
			for _, result := range b.CVVs(t.Context(), requests(600)) {
				if !errors.Is(result.Err, ErrToken) || !strings.Contains(result.Err.Error(), "1m0s") {
					t.Fatalf("%v", result.Err)
				}
			}
			if time.Since(started) != s.settings().Timeout {
				t.Errorf("it took %s", time.Since(started))
			}
			if err := b.Close(); err == nil {
				t.Error("the library was taken away under a call")
			}
			close(gate)
			synctest.Wait()
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("opening has an end too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var shut atomic.Bool
			shut.Store(true)
			gate := make(chan struct{})
			if _, err := s.open(s.settings(), keys, func(m module) module { return held(m, &shut, gate) }); !errors.Is(err, ErrToken) {
				t.Errorf("%v", err)
			}
			close(gate)
			synctest.Wait()
		})
		s.asked(func(m *cryptoki.Ctx) {
			if err := m.Finalize(); err != nil { // what nobody could close
				t.Error(err)
			}
		})
	})
}

func TestSessionsThatATokenDoesNotHaveAreToldSo(t *testing.T) {
	s, keys := classic(t)
	var opened atomic.Int64
	_, err := s.open(s.settings(), keys, func(m module) module {
		return spoilt{module: m, before: func(call string) error {
			if call == "OpenSession" && opened.Add(1) > 2 {
				return cryptoki.Error(cryptoki.CKR_SESSION_COUNT)
			}
			return nil
		}}
	})
	if !errors.Is(err, ErrToken) || !strings.Contains(err.Error(), "permits 2 here; lower pkcs11.sessions") {
		t.Errorf("%v", err)
	}
}
