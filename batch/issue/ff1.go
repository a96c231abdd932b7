package issue

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Limits of an FF1 text here, in decimal digits. NIST SP 800-38G (revision 1)
// wants a domain of at least a million; both halves must fit 64 bits.
const (
	ff1MinDigits = 6
	ff1MaxDigits = 36
)

// ff1 is FF1 of NIST SP 800-38G for radix 10: format-preserving encryption of
// texts of a fixed number of digits, and so a permutation of the numbers
// 0 to 10^n - 1. It may be used by several goroutines.
type ff1 struct {
	block cipher.Block
	u, v  uint64 // 10 to the power of the digits of the left and the right half
	n     int
	tweak []byte
	start [aes.BlockSize]byte // CBC-MAC state after the constant block P
	b     int                 // bytes of a half in Q
	pad   int                 // zero bytes between tweak and round number
}

// newFF1 makes the permutation of texts of n digits under an AES key of 16, 24 or 32 bytes.
func newFF1(key, tweak []byte, n int) (*ff1, error) {
	if n < ff1MinDigits || n > ff1MaxDigits {
		return nil, fmt.Errorf("FF1 needs %d to %d digits here, not %d", ff1MinDigits, ff1MaxDigits, n)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("an allocation key has 16, 24 or 32 bytes, not %d", len(key))
	}
	left := n / 2
	right := n - left
	f := &ff1{block: block, u: power10(left), v: power10(right), n: n, tweak: append([]byte(nil), tweak...)}
	f.b = (bits.Len64(f.v-1) + 7) / 8
	f.pad = (16 - (len(tweak)+f.b+1)%16) % 16
	p := [aes.BlockSize]byte{1, 2, 1, 0, 0, 10, 10, byte(left)}
	binary.BigEndian.PutUint32(p[8:], uint32(n))
	binary.BigEndian.PutUint32(p[12:], uint32(len(tweak)))
	block.Encrypt(f.start[:], p[:])
	return f, nil
}

func power10(n int) uint64 {
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}

// encrypt permutes a text given as its two halves.
func (f *ff1) encrypt(a, b uint64) (uint64, uint64) {
	var w cbcMAC
	for i := byte(0); i < 10; i++ {
		modulus := f.modulus(i)
		c := addMod(a, f.round(&w, i, b, modulus), modulus)
		a, b = b, c
	}
	return a, b
}

// decrypt is the inverse of encrypt.
func (f *ff1) decrypt(a, b uint64) (uint64, uint64) {
	var w cbcMAC
	for i := byte(10); i > 0; i-- {
		modulus := f.modulus(i - 1)
		c := addMod(b, modulus-f.round(&w, i-1, a, modulus), modulus)
		a, b = c, a
	}
	return a, b
}

func (f *ff1) modulus(round byte) uint64 {
	if round%2 == 0 {
		return f.u
	}
	return f.v
}

// addMod adds x and y, at most modulus each, modulo modulus (below 2^63).
func addMod(x, y, modulus uint64) uint64 { return (x + y) % modulus }

// cbcMAC is PRF(P ‖ Q) while Q is written to it.
type cbcMAC struct {
	mac [aes.BlockSize]byte
	at  int
}

func (w *cbcMAC) put(block cipher.Block, c byte) {
	w.mac[w.at] ^= c
	if w.at++; w.at == aes.BlockSize {
		block.Encrypt(w.mac[:], w.mac[:])
		w.at = 0
	}
}

// round is y modulo the modulus: steps 6i to 6v of algorithm 7. A half of up to
// 18 digits needs 8 or 12 bytes of S, so the first block of S is all of it.
func (f *ff1) round(w *cbcMAC, i byte, half, modulus uint64) uint64 {
	w.mac, w.at = f.start, 0
	for _, c := range f.tweak {
		w.put(f.block, c)
	}
	for range f.pad {
		w.put(f.block, 0)
	}
	w.put(f.block, i)
	for shift := 8 * (f.b - 1); shift >= 0; shift -= 8 {
		w.put(f.block, byte(half>>shift))
	}
	mac := &w.mac
	d := 4*((f.b+3)/4) + 4 // 8 or 12 bytes
	if d == 8 {
		return binary.BigEndian.Uint64(mac[:8]) % modulus
	}
	return bits.Rem64(uint64(binary.BigEndian.Uint32(mac[:4])), binary.BigEndian.Uint64(mac[4:12]), modulus)
}

// permute is the permutation of the numbers 0 to 10^n - 1 (n up to 19).
func (f *ff1) permute(x uint64) uint64 {
	a, b := f.encrypt(x/f.v, x%f.v)
	return a*f.v + b
}
