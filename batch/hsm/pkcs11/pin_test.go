//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	cryptoki "github.com/miekg/pkcs11"
)

func TestAPINIsNotTriedToDeath(t *testing.T) {
	for name, test := range map[string]struct {
		flags uint
		text  string
	}{
		"locked":   {cryptoki.CKF_USER_PIN_LOCKED, "security officer"},
		"last try": {cryptoki.CKF_USER_PIN_FINAL_TRY, "by hand"},
	} {
		t.Run(name, func(t *testing.T) {
			s, keys := classic(t)
			tries := 0
			_, err := s.open(s.settings(), keys, func(m module) module {
				return flagged{spoilt{module: m, before: func(call string) error {
					if call == "Login" {
						tries++
					}
					return nil
				}}, test.flags}
			})
			if !errors.Is(err, ErrPIN) || !strings.Contains(err.Error(), test.text) || tries > 0 {
				t.Errorf("%d tries: %v", tries, err)
			}
		})
	}
}

type flagged struct {
	module
	flags uint
}

func (f flagged) GetTokenInfo(slot uint) (cryptoki.TokenInfo, error) {
	info, err := f.module.GetTokenInfo(slot)
	info.Flags |= f.flags
	return info, err
}

// A reconnection meets the PIN that was changed in the meantime once, not once a batch.
func TestAReconnectionTriesThePINOnce(t *testing.T) {
	s, keys := classic(t)
	var tries, refuse atomic.Int64
	b := s.opened(s.settings(), keys, func(m module) module {
		return spoilt{module: m, before: func(call string) error {
			switch {
			case refuse.Load() == 0:
			case call == "Login":
				tries.Add(1)
				return cryptoki.Error(cryptoki.CKR_PIN_INCORRECT)
			default:
				if call == "Encrypt" {
					return cryptoki.Error(cryptoki.CKR_USER_NOT_LOGGED_IN)
				}
			}
			return nil
		}}
	})
	refuse.Store(1)
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for _, result := range b.CVVs(context.Background(), requests(2000)) {
				if !errors.Is(result.Err, ErrToken) || !errors.Is(result.Err, ErrPIN) {
					t.Errorf("%v", result.Err)
					return
				}
			}
		})
	}
	callers.Wait()
	if tries.Load() != 1 {
		t.Errorf("the PIN was tried %d times", tries.Load())
	}
}
