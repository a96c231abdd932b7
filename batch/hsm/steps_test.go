package hsm

import (
	"errors"
	"strings"
	"testing"

	"reemboss/formats/iso"
)

// stepwise computes with the steps that other backends are given, on the keys of the software one.
func stepwise(pair []byte, requests []CVVRequest) ([]iso.Secret, error) {
	key, err := newCVVKey(pair)
	if err != nil {
		return nil, err
	}
	values := make([]iso.Secret, len(requests))
	for i, r := range requests {
		if err := r.Check(); err != nil {
			return nil, err
		}
		b1, b2 := r.Blocks()
		key.single.Encrypt(b1[:], b1[:])
		for n := range b1 {
			b1[n] ^= b2[n]
		}
		key.triple.Encrypt(b1[:], b1[:])
		values[i] = CVVOf(b1)
	}
	return values, nil
}

func TestKnownAnswersTellARightBackendFromAWrongOne(t *testing.T) {
	if err := KnownAnswerTest(stepwise); err != nil {
		t.Error(err)
	}
	for name, cvvs := range map[string]func([]byte, []CVVRequest) ([]iso.Secret, error){
		"an error": func([]byte, []CVVRequest) ([]iso.Secret, error) { return nil, errors.New("mechanism invalid") },
		"too few":  func(pair []byte, requests []CVVRequest) ([]iso.Secret, error) { return stepwise(pair, requests[:2]) },
		"another order": func(pair []byte, requests []CVVRequest) ([]iso.Secret, error) {
			values, err := stepwise(pair, requests)
			values[0], values[1] = values[1], values[0]
			return values, err
		},
		"another key": func(pair []byte, requests []CVVRequest) ([]iso.Secret, error) {
			return stepwise(append(append([]byte(nil), pair[8:]...), pair[:8]...), requests)
		},
	} {
		err := KnownAnswerTest(cvvs)
		if !errors.Is(err, ErrSelfTest) {
			t.Errorf("%s passed: %v", name, err)
			continue
		}
		for _, known := range knownAnswers {
			if strings.Contains(err.Error(), known.pan) || strings.Contains(err.Error(), known.cvv) {
				t.Errorf("%s: the error shows card data", name)
			}
		}
	}
}
