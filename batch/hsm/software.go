package hsm

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"strings"

	"reemboss/batch/config"
	"reemboss/formats/iso"
)

// SoftwareBackend is the name of this backend in the configuration.
const SoftwareBackend = "software"

// Errors that keep the software backend closed.
var (
	ErrSoftwareKeys = errors.New("card verification keys in software are refused outside environment test; keep them in an HSM, or set allow_software_keys: true")
	ErrKCV          = errors.New("the check value of a card verification key is not the configured one")
	ErrParity       = errors.New("a byte of the DES key has even parity: the key was mistyped or damaged")
	ErrSelfTest     = errors.New("the known-answer test of the card verification value failed; no card is made")
)

type software struct {
	keys map[string]*cvvKey
}

// NewSoftware opens the backend whose keys come from the keyset. want is the
// configuration's card_keys. It refuses, with an error that wraps
// [ErrSoftwareKeys], any environment but test unless allow is set. Each wanted
// key must be in the keyset ([ErrNoKey]) with right parity ([ErrParity]) and
// the wanted check value ([ErrKCV]: the error names key and both values); then
// the known answers must come out ([ErrSelfTest]). All that is wrong is told at once.
func NewSoftware(keyset *Keyset, want map[string]config.CardKey, environment string, allow bool) (Backend, error) {
	if environment != config.Test && !allow {
		return nil, fmt.Errorf("%w (environment: %s)", ErrSoftwareKeys, environment)
	}
	names := make([]string, 0, len(want))
	for name := range want {
		names = append(names, name)
	}
	sort.Strings(names)
	s := &software{keys: map[string]*cvvKey{}}
	var wrong []error
	for _, name := range names {
		key, err := openCardKey(keyset, name, want[name])
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		s.keys[name] = key
	}
	if err := selfTest(); err != nil {
		wrong = append(wrong, err)
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return s, nil
}

// openCardKey takes one key from the keyset and holds it against the configuration.
func openCardKey(keyset *Keyset, name string, want config.CardKey) (*cvvKey, error) {
	if want.Backend != "" && want.Backend != SoftwareBackend {
		return nil, fmt.Errorf("card key %s: the software backend cannot serve backend %q", name, want.Backend)
	}
	pair, err := keyset.cvk(name)
	if err != nil {
		return nil, fmt.Errorf("card key %s: %w", name, err)
	}
	if !oddParity(pair) {
		return nil, fmt.Errorf("card key %s: %w", name, ErrParity)
	}
	kcv, err := kcvTDES(pair)
	if err != nil {
		return nil, fmt.Errorf("card key %s: %w", name, err)
	}
	if !strings.EqualFold(kcv, want.KCV) {
		return nil, fmt.Errorf("card key %s: %w: the keyset's key has %s, card_keys.%s.kcv says %s", name, ErrKCV, kcv, name, want.KCV)
	}
	return newCVVKey(pair)
}

// knownAnswers are public vectors: the classic one, one of a 13-digit number, one that needs the second pass.
var knownAnswers = []struct{ pan, expiry, service, cvv string }{
	{"4123456789012345", "8701", "101", "561"},
	{"4999988887777", "9105", "111", "649"},
	{"4123456700238593", "2912", "201", "851"},
}

// selfTest holds both code paths against the known answers, under the public test key.
func selfTest() error {
	return knownAnswerTest(func(pair []byte, pan, expiry, service string) (string, error) {
		key, err := newCVVKey(pair)
		if err != nil {
			return "", err
		}
		value := key.cvv(pan, expiry, service).Reveal()
		if value != plainCVV(pair, pan, expiry, service).Reveal() {
			return "", errors.New("the two implementations disagree")
		}
		return value, nil
	})
}

func knownAnswerTest(cvv func(pair []byte, pan, expiry, service string) (string, error)) error {
	pair := []byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10}
	for i, known := range knownAnswers {
		value, err := cvv(pair, known.pan, known.expiry, known.service)
		if err != nil {
			return fmt.Errorf("%w: answer %d: %w", ErrSelfTest, i+1, err)
		}
		if value != known.cvv {
			return fmt.Errorf("%w: answer %d is another", ErrSelfTest, i+1)
		}
	}
	return nil
}

// CVVs implements [Backend].
func (s *software) CVVs(ctx context.Context, requests []CVVRequest) []CVVResult {
	results := make([]CVVResult, len(requests))
	erased(func() { s.compute(ctx, requests, results) })
	return results
}

// compute fills in the results, one for each request.
func (s *software) compute(ctx context.Context, requests []CVVRequest, results []CVVResult) {
	name, key := "", (*cvvKey)(nil)
	for i, r := range requests {
		if i%1024 == 0 && ctx.Err() != nil {
			for ; i < len(requests); i++ {
				results[i].Err = ctx.Err()
			}
			break
		}
		if key == nil || r.Key != name {
			name, key = r.Key, s.keys[r.Key]
		}
		if key == nil {
			results[i].Err = fmt.Errorf("%w: there is no card key %q", ErrRequest, r.Key)
		} else if err := checkRequest(r); err != nil {
			results[i].Err = err
		} else {
			results[i].CVV = key.cvv(r.PAN.Reveal(), r.Expiry, r.ServiceCode)
		}
	}
}

// Format keeps the keys out of everything that is printed.
func (s *software) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("hsm.software")) }

// VerifyCVVs implements [Verifier] with [plainDES] and the keyset's keys.
func (k *Keyset) VerifyCVVs(ctx context.Context, requests []CVVRequest, values []iso.Secret) []error {
	errs := make([]error, len(requests))
	for i, r := range requests {
		if err := ctx.Err(); err != nil {
			errs[i] = err
			continue
		}
		errs[i] = k.verifyCVV(r, values[i])
	}
	return errs
}

func (k *Keyset) verifyCVV(r CVVRequest, value iso.Secret) error {
	pair, err := k.cvk(r.Key)
	if err != nil {
		return err
	}
	if err := checkRequest(r); err != nil {
		return err
	}
	want := plainCVV(pair, r.PAN.Reveal(), r.Expiry, r.ServiceCode)
	if subtle.ConstantTimeCompare([]byte(want.Reveal()), []byte(value.Reveal())) != 1 {
		return fmt.Errorf("%w (key %s, service code fed %s)", ErrCVVWrong, r.Key, r.ServiceCode)
	}
	return nil
}

// plainCVV is the second code path: text operations and [plainDES].
func plainCVV(pair []byte, pan, expiry, service string) iso.Secret {
	a, b := binary.BigEndian.Uint64(pair[:8]), binary.BigEndian.Uint64(pair[8:])
	digits := pan + expiry + service
	digits += strings.Repeat("0", 32-len(digits))
	var block [2]uint64
	for i := range digits {
		block[i/16] = block[i/16]<<4 | uint64(digits[i]-'0')
	}
	x := plainDES(a, block[0], false) ^ block[1]
	r := fmt.Sprintf("%016x", plainDES(a, plainDES(b, plainDES(a, x, false), true), false))
	decimal := strings.Map(func(c rune) rune { return keepIf(c, c <= '9', 0) }, r)
	decimal += strings.Map(func(c rune) rune { return keepIf(c, c >= 'a', 'a'-'0') }, r)
	return iso.NewSecret(decimal[:3])
}

func keepIf(c rune, keep bool, less rune) rune {
	if !keep {
		return -1
	}
	return c - less
}
