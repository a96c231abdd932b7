//go:build pkcs11 && cgo

package pkcs11

import (
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"

	cryptoki "github.com/miekg/pkcs11"

	"reemboss/batch/hsm"
	"reemboss/formats/iso"
)

const blockLength = 8

// des computes under one key pair in one session of a token. blocks are any
// number of whole blocks, each for itself (ECB).
type des struct {
	module  module
	session cryptoki.SessionHandle
	a, b    half
}

func (d des) encryptA(blocks []byte) ([]byte, error) {
	if err := d.module.EncryptInit(d.session, d.a.mechanism(), d.a.object); err != nil {
		return nil, failed("begin to encrypt under key A", err)
	}
	out, err := d.module.Encrypt(d.session, blocks)
	if err != nil {
		return nil, failed(fmt.Sprintf("encrypt %d blocks under key A", len(blocks)/blockLength), err)
	}
	return sameLength(out, blocks)
}

func (d des) decryptB(blocks []byte) ([]byte, error) {
	if err := d.module.DecryptInit(d.session, d.b.mechanism(), d.b.object); err != nil {
		return nil, failed("begin to decrypt under key B", err)
	}
	out, err := d.module.Decrypt(d.session, blocks)
	if err != nil {
		return nil, failed(fmt.Sprintf("decrypt %d blocks under key B", len(blocks)/blockLength), err)
	}
	return sameLength(out, blocks)
}

func sameLength(out, in []byte) ([]byte, error) {
	if len(out) != len(in) {
		return nil, fmt.Errorf("%w: it gave %d bytes for %d", ErrToken, len(out), len(in))
	}
	return out, nil
}

// triple is the triple encryption under the pair: encrypt A, decrypt B, encrypt A.
func (d des) triple(blocks []byte) ([]byte, error) {
	x, err := d.encryptA(blocks)
	if err != nil {
		return nil, err
	}
	if x, err = d.decryptB(x); err != nil {
		return nil, err
	}
	return d.encryptA(x)
}

// cvvs gives the values of a batch: b1 and b2 are the first and the second blocks of its cards.
func (d des) cvvs(b1, b2 []byte) ([]iso.Secret, error) {
	x, err := d.encryptA(b1)
	if err != nil {
		return nil, err
	}
	subtle.XORBytes(x, x, b2)
	r, err := d.triple(x)
	if err != nil {
		return nil, err
	}
	values := make([]iso.Secret, len(r)/blockLength)
	for i := range values {
		values[i] = hsm.CVVOf([blockLength]byte(r[blockLength*i:]))
	}
	return values, nil
}

// blocksOf puts the blocks of requests side by side, as cvvs wants them.
func blocksOf(requests []hsm.CVVRequest, which []int) (b1, b2 []byte) {
	b1 = make([]byte, 0, blockLength*len(which))
	b2 = make([]byte, 0, blockLength*len(which))
	for _, i := range which {
		first, second := requests[i].Blocks()
		b1, b2 = append(b1, first[:]...), append(b2, second[:]...)
	}
	return b1, b2
}

// alone is the second way to a value: one card, text operations, and nothing in
// common with cvvs but the token.
func (d des) alone(r hsm.CVVRequest) (iso.Secret, error) {
	digits := r.PAN.Reveal() + r.Expiry + r.ServiceCode
	packed, err := hex.DecodeString(digits + strings.Repeat("0", 32-len(digits)))
	if err != nil {
		return iso.Secret{}, fmt.Errorf("%w: it is not made of digits", hsm.ErrRequest) // the cause would show one
	}
	x, err := d.encryptA(packed[:blockLength])
	if err != nil {
		return iso.Secret{}, err
	}
	for i := range x {
		x[i] ^= packed[blockLength+i]
	}
	if x, err = d.triple(x); err != nil {
		return iso.Secret{}, err
	}
	first, second := "", ""
	for _, c := range hex.EncodeToString(x) {
		if strings.ContainsRune("0123456789", c) {
			first += string(c)
		} else {
			second += string(c - 'a' + '0')
		}
	}
	return iso.NewSecret((first + second)[:3]), nil
}
