package hsm

import (
	"errors"
	"fmt"

	"reemboss/formats/iso"
)

// This file is for backends whose keys are elsewhere: the steps of a value that
// are no DES, and the known answers by which such a backend proves itself.

// Check says what is wrong with a request, in an error that wraps [ErrRequest]
// and shows no card data. Whether there is a key of that name is the backend's to say.
func (r CVVRequest) Check() error { return checkRequest(r) }

// Blocks are B1 and B2 of a request that passed [CVVRequest.Check].
func (r CVVRequest) Blocks() (b1, b2 [8]byte) {
	return cvvBlocks(r.PAN.Reveal(), r.Expiry, r.ServiceCode)
}

// CVVOf takes the value from R, the last block: the first three of its decimal digits.
func CVVOf(r [8]byte) iso.Secret {
	digits := decimalise(r)
	return iso.NewSecret(string(digits[:3]))
}

// KnownAnswerTest holds what cvvs computes under a public test key pair against
// published values, one that needs the second pass included. All are asked for
// in one call. The error wraps [ErrSelfTest].
func KnownAnswerTest(cvvs func(pair []byte, requests []CVVRequest) ([]iso.Secret, error)) error {
	requests := make([]CVVRequest, len(knownAnswers))
	for i, known := range knownAnswers {
		requests[i] = CVVRequest{Key: "known answers", PAN: iso.VectorPAN(known.pan), Expiry: known.expiry, ServiceCode: known.service}
	}
	values, err := cvvs([]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10}, requests)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSelfTest, err)
	}
	if len(values) != len(requests) {
		return fmt.Errorf("%w: %d answers to %d questions", ErrSelfTest, len(values), len(requests))
	}
	var wrong []error
	for i, known := range knownAnswers {
		if values[i].Reveal() != known.cvv {
			wrong = append(wrong, fmt.Errorf("%w: answer %d is another", ErrSelfTest, i+1))
		}
	}
	return errors.Join(wrong...)
}
