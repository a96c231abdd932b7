package payshieldtest

import (
	"crypto/cipher"
	"crypto/des"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/bits"
	"strings"
)

// Kinds of keys, by their key type code under a variant LMK.
const (
	CVK = "402" // card verification key pair: LMK pair 14-15, variant 4
	PVK = "002" // PIN verification key pair: LMK pair 14-15
	ZPK = "001" // zone PIN key: LMK pair 06-07
	ZMK = "000" // zone master key: LMK pair 04-05
)

// LMKCheck is the check value of the LMK that the simulator shows. How a module
// makes it from the LMK is not published; this one is the simulator's own.
const LMKCheck = "397B0B7A75A3A4D8"

// Pairs of the public test LMK: every description of it prints them, and it
// protects nothing.
var (
	pair0203 = unhex("20202020202020203131313131313131") // PINs
	pair0405 = unhex("40404040404040405151515151515151")
	pair0607 = unhex("61616161616161617070707070707070")
	pair1415 = unhex("E0E0010101010101F1F1010101010101")
)

// Variants of the LMK: those of a key type go on the first byte of the pair,
// those of the halves of a double-length key (scheme U) on the first byte of its
// second half.
const variant4 = 0xDE

var halves = [2]byte{0xA6, 0x5A}

// protector is what a kind of key is encrypted under.
func protector(kind string) (pair []byte, variant byte, known bool) {
	switch kind {
	case CVK:
		return pair1415, variant4, true
	case PVK:
		return pair1415, 0, true
	case ZPK:
		return pair0607, 0, true
	case ZMK:
		return pair0405, 0, true
	}
	return nil, 0, false
}

// Token encrypts a double-length key under the test LMK: U and 32 hexadecimal
// digits. It panics on a key that has not 16 bytes or a kind that is none.
func Token(kind string, key []byte) string {
	pair, variant, known := protector(kind)
	if !known || len(key) != 16 {
		panic("payshieldtest: no such kind of key, or not 16 bytes")
	}
	sealed := make([]byte, 16)
	for i := range halves {
		underVariant(pair, variant, halves[i]).Encrypt(sealed[8*i:], key[8*i:8*i+8])
	}
	return fmt.Sprintf("U%X", sealed)
}

// openToken decrypts a token of scheme U, or X (no variants of the halves).
func openToken(kind string, scheme byte, sealed []byte) []byte {
	pair, variant, _ := protector(kind)
	key := make([]byte, 16)
	for i, half := range halves {
		if scheme == 'X' {
			half = 0
		}
		underVariant(pair, variant, half).Decrypt(key[8*i:], sealed[8*i:8*i+8])
	}
	return key
}

func underVariant(pair []byte, variant, half byte) cipher.Block {
	lmk := append([]byte(nil), pair...)
	lmk[0] ^= variant
	lmk[8] ^= half
	return tripleDES(lmk)
}

func tripleDES(pair []byte) cipher.Block {
	block, err := des.NewTripleDESCipher(append(append([]byte(nil), pair...), pair[:8]...))
	if err != nil {
		panic(err)
	}
	return block
}

// KCV is the check value of a double-length key: six hexadecimal digits.
func KCV(key []byte) string { return longKCV(key)[:6] }

func longKCV(key []byte) string {
	var zeros [8]byte
	tripleDES(key).Encrypt(zeros[:], zeros[:])
	return fmt.Sprintf("%X", zeros[:])
}

// blockUsages are what a key block's header says of its key.
var blockUsages = map[string]string{CVK: "C0", PVK: "V2", ZPK: "P0"}

// blockLength is that of the simulator's key blocks behind the S: header, key, authenticator.
const blockLength = 16 + 48 + 8

// KeyBlock gives a key a token in the form of a key block, which only this
// simulator knows. What stands behind the header is a digest: to a host a key
// block is opaque.
func (s *Simulator) KeyBlock(kind string, key []byte) string {
	sum := sha256.Sum256(append([]byte(kind), key...))
	token := fmt.Sprintf("S0%04d%sTN00N0000%s", blockLength, blockUsages[kind], strings.ToUpper(hex.EncodeToString(sum[:28])))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocks[token] = append([]byte(nil), key...)
	return token
}

func oddParity(key []byte) bool {
	for _, b := range key {
		if bits.OnesCount8(b)%2 == 0 {
			return false
		}
	}
	return true
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
