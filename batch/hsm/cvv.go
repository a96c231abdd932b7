package hsm

import (
	"crypto/cipher"
	"crypto/des"
	"encoding/binary"
	"errors"
	"fmt"

	"reemboss/formats/iso"
)

// CVKLength is the length in bytes of a card verification key pair: A, then B.
const CVKLength = 16

// Errors of the card verification value. None contains card data.
var (
	ErrRequest  = errors.New("the request for a card verification value is wrong")
	ErrCVVWrong = errors.New("a card verification value is not what it must be")
)

// cvvKey is a key pair with its key schedules computed once.
type cvvKey struct {
	single cipher.Block // DES under A
	triple cipher.Block // encrypt under A, decrypt under B, encrypt under A
}

func newCVVKey(pair []byte) (*cvvKey, error) {
	if len(pair) != CVKLength {
		return nil, fmt.Errorf("a card verification key pair has %d bytes, not %d", CVKLength, len(pair))
	}
	single, err := des.NewCipher(pair[:8])
	if err != nil {
		return nil, err
	}
	triple, err := des.NewTripleDESCipher(append(append(make([]byte, 0, 24), pair...), pair[:8]...))
	if err != nil {
		return nil, err
	}
	return &cvvKey{single: single, triple: triple}, nil
}

// cvv computes the value: X = DES_A(B1) xor B2, R = the triple encryption of X,
// the first three decimal digits of [decimalise](R).
func (k *cvvKey) cvv(pan, expiry, service string) iso.Secret {
	b1, b2 := cvvBlocks(pan, expiry, service)
	k.single.Encrypt(b1[:], b1[:])
	x := binary.BigEndian.Uint64(b1[:]) ^ binary.BigEndian.Uint64(b2[:])
	binary.BigEndian.PutUint64(b1[:], x)
	k.triple.Encrypt(b1[:], b1[:])
	return CVVOf(b1)
}

// cvvBlocks packs PAN, expiry and service code, filled with zeros on the right
// to 32 digits, into two blocks, two digits a byte.
func cvvBlocks(pan, expiry, service string) (b1, b2 [8]byte) {
	var packed [16]byte
	n := 0
	for _, part := range [3]string{pan, expiry, service} {
		for i := range len(part) {
			packed[n/2] |= (part[i] - '0') << (4 * (1 - n%2))
			n++
		}
	}
	copy(b1[:], packed[:8])
	copy(b2[:], packed[8:])
	return b1, b2
}

// decimalise takes the decimal digits of the block's hexadecimal form from left
// to right and then, in a second pass, A–F as 0–5: 16 digits. Most blocks have
// three in the first pass; about one in 19,200 needs the second.
func decimalise(block [8]byte) (digits [16]byte) {
	n := 0
	for pass := byte(0); pass < 2; pass++ {
		for i := range 16 {
			nibble := block[i/2] >> (4 * (1 - i%2)) & 15
			if nibble < 10 && pass == 0 {
				digits[n] = '0' + nibble
				n++
			} else if nibble >= 10 && pass == 1 {
				digits[n] = '0' + nibble - 10
				n++
			}
		}
	}
	return digits
}

// checkRequest says what is wrong with a request, naming nothing that is secret.
func checkRequest(r CVVRequest) error {
	pan := r.PAN.Reveal()
	switch {
	case len(pan) < 12 || len(pan) > iso.MaxPANLength || !allDigits(pan):
		return fmt.Errorf("%w: the card number has %d characters, not 12 to 19 digits", ErrRequest, len(pan))
	case len(r.Expiry) != 4 || !allDigits(r.Expiry):
		return fmt.Errorf("%w: the expiry is fed as four digits", ErrRequest)
	case len(r.ServiceCode) != 3 || !allDigits(r.ServiceCode):
		return fmt.Errorf("%w: the service code is fed as three digits", ErrRequest)
	}
	return nil
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// kcvTDES is the check value of a double-length key: the first three bytes of
// the encryption of a block of zeros, in hexadecimal.
func kcvTDES(pair []byte) (string, error) {
	key, err := newCVVKey(pair)
	if err != nil {
		return "", err
	}
	var zeros [8]byte
	key.triple.Encrypt(zeros[:], zeros[:])
	return fmt.Sprintf("%X", zeros[:3]), nil
}

// oddParity says whether every byte of a DES key has an odd number of ones.
func oddParity(key []byte) bool {
	for _, b := range key {
		if parityBit(b) != b&1 {
			return false
		}
	}
	return true
}

// setOddParity sets the lowest bit of each byte; the key stays the same key.
func setOddParity(key []byte) {
	for i, b := range key {
		key[i] = b&^1 | parityBit(b)
	}
}

// parityBit is what the lowest bit of b must be.
func parityBit(b byte) byte {
	ones := byte(1)
	for b >>= 1; b != 0; b >>= 1 {
		ones ^= b & 1
	}
	return ones
}
