package ledgertest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"reemboss/batch/ledger"
	"reemboss/formats/iso"
)

// Vault is a vault with fixed test keys: AES-256-GCM with a random nonce in
// front, HMAC-SHA-256.
func Vault() ledger.Vault { return NewVault() }

// TestVault is a [Vault] whose keys a test rotates. It has as many keys of each
// kind as were made; the newest is the primary one.
type TestVault struct {
	seal, index       atomic.Int64 // number of the primary key
	newest            atomic.Int64 // index key
	sealGone, idxGone atomic.Int64 // keys up to this one are not there
}

// NewVault makes a vault with one key of each kind.
func NewVault() *TestVault {
	v := &TestVault{}
	v.seal.Store(1)
	v.index.Store(1)
	v.newest.Store(1)
	return v
}

// RotateSeal and RotateIndex put a new key in the place of the primary one.
func (v *TestVault) RotateSeal()  { v.seal.Add(1) }
func (v *TestVault) RotateIndex() { v.index.Store(v.newest.Add(1)) }

// turn makes the keys before or after the primary ones primary.
func (v *TestVault) turn(by int64) {
	v.seal.Add(by)
	v.index.Add(by)
}

// Retire takes all former keys away, RetireIndex those of the index.
func (v *TestVault) Retire() {
	v.sealGone.Store(v.seal.Load() - 1)
	v.RetireIndex()
}

// RetireIndex is half of [TestVault.Retire].
func (v *TestVault) RetireIndex() { v.idxGone.Store(v.index.Load() - 1) }

// mark begins what the vault seals; the key's number follows.
const (
	mark         = 0xE5
	headerLength = 5
)

func aead(key int64) cipher.AEAD {
	sum := sha256.Sum256([]byte("test key that seals " + sealID(key)))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		panic(err)
	}
	sealer, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return sealer
}

func (v *TestVault) SealPAN(card int64, p iso.PAN) ([]byte, error) {
	header := v.SealHeader()
	return append(header, aead(v.seal.Load()).Seal(nil, nil, []byte(p.Reveal()), cardBytes(card))...), nil
}

func (v *TestVault) OpenPAN(card int64, sealed []byte) (iso.PAN, error) {
	key := keyOf(sealed)
	if key <= v.sealGone.Load() {
		return iso.PAN{}, errors.New("no key for it")
	}
	clear, err := aead(key).Open(nil, nil, sealed[headerLength:], cardBytes(card))
	if err != nil {
		return iso.PAN{}, err
	}
	return iso.ParsePAN(string(clear))
}

func (v *TestVault) SealKeyID() string { return sealID(v.seal.Load()) }

func (v *TestVault) SealHeader() []byte {
	return binary.BigEndian.AppendUint32([]byte{mark}, uint32(v.seal.Load()))
}

func (v *TestVault) SealedUnder(sealed []byte) string {
	key := keyOf(sealed)
	if key == 0 {
		return ""
	}
	return sealID(key)
}

// keyOf is the number of a sealed number's key, 0 for what is none.
func keyOf(sealed []byte) int64 {
	if len(sealed) < headerLength || sealed[0] != mark {
		return 0
	}
	return int64(binary.BigEndian.Uint32(sealed[1:]))
}

func sealID(key int64) string  { return fmt.Sprint("test-seal-", key) }
func indexID(key int64) string { return fmt.Sprint("test-index-", key) }

func (v *TestVault) IndexPAN(p iso.PAN) []byte {
	hash, err := v.IndexUnder(v.IndexKeyID(), p)
	if err != nil {
		panic("the test's vault lost its primary key")
	}
	return hash
}

func (v *TestVault) IndexUnder(id string, p iso.PAN) ([]byte, error) {
	for key := v.idxGone.Load() + 1; key <= v.newest.Load(); key++ {
		if indexID(key) == id {
			h := hmac.New(sha256.New, []byte("test key that indexes "+id))
			h.Write([]byte(p.Reveal()))
			return h.Sum(nil), nil
		}
	}
	return nil, fmt.Errorf("no index key %s", id)
}

func (v *TestVault) IndexKeyID() string { return indexID(v.index.Load()) }

func cardBytes(card int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(card)) }
