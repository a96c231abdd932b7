package ledgertest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"reemboss/batch/ledger"
	"reemboss/formats/iso"
)

// Vault is a vault with fixed test keys: AES-256-GCM with a random nonce in
// front, HMAC-SHA-256.
func Vault() ledger.Vault {
	key := sha256.Sum256([]byte("test key that seals"))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return vault{aead}
}

type vault struct{ aead cipher.AEAD }

func (v vault) SealPAN(card int64, p iso.PAN) ([]byte, error) {
	return v.aead.Seal(nil, nil, []byte(p.Reveal()), cardBytes(card)), nil
}

func (v vault) OpenPAN(card int64, sealed []byte) (iso.PAN, error) {
	clear, err := v.aead.Open(nil, nil, sealed, cardBytes(card))
	if err != nil {
		return iso.PAN{}, err
	}
	return iso.ParsePAN(string(clear))
}

func (v vault) IndexPAN(p iso.PAN) []byte {
	h := hmac.New(sha256.New, []byte("test key that indexes"))
	h.Write([]byte(p.Reveal()))
	return h.Sum(nil)
}

func (v vault) IndexKeyID() string { return "test-index-1" }

func cardBytes(card int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(card)) }
