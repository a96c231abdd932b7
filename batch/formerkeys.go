package batch

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/bureau"
)

// Our own PGP key changes, and what was sealed to the one before stays: extracts
// and return files still under way, refused originals, signed heads of the audit
// chain. keys.former opens and verifies those; nothing new is sealed to a former key.

// openFormerKeys reads the PGP keys that ours replaced. They may have expired.
func (n *Night) openFormerKeys() error {
	for i, f := range n.Config.Keys.Former {
		key, err := n.formerKey(f)
		if err != nil {
			return setup("keys.former[%d]: %w", i, err)
		}
		n.former = append(n.former, key)
	}
	return nil
}

func (n *Night) formerKey(f config.FormerKey) (*bureau.Key, error) {
	ref := f.Passphrase
	if ref == (config.SecretRef{}) {
		ref = n.Config.Keys.Passphrase
	}
	var passphrase []byte
	if ref != (config.SecretRef{}) {
		var err error
		if passphrase, err = hsm.LoadText(ref, n.Dir); err != nil {
			return nil, fmt.Errorf("passphrase: %w", err)
		}
		defer clear(passphrase)
	}
	return bureau.ReadFormerKey(n.Resolve(f.KeyFile), passphrase, f.Fingerprint)
}

// openForUs is [bureau.Open] with our key and those it replaced.
func (n *Night) openForUs(r io.Reader, signers []*bureau.Key) (io.Reader, func() (string, error)) {
	return bureau.Open(r, n.ownKey, signers, n.former...)
}

// ours are the keys that we signed with: the one in use first.
func (n *Night) ours() []*bureau.Key { return append([]*bureau.Key{n.ownKey}, n.former...) }

// verifyOurs checks a detached signature by our key or one that it replaced.
func (n *Night) verifyOurs(text, signature []byte) error {
	var err error
	for _, key := range n.ours() {
		if err = bureau.VerifyDetached(bytes.NewReader(text), signature, key); !errors.Is(err, bureau.ErrUnknownSigner) {
			return err
		}
	}
	return err
}

// signerOf is the key that a plan says its file is signed with: ours, or a
// former one that may still sign. nil where there is none.
func (n *Night) signerOf(fingerprint string) *bureau.Key {
	for _, key := range n.ours() {
		if key.Fingerprint() == fingerprint && key.MaySign(n.Now()) == nil {
			return key
		}
	}
	return nil
}
