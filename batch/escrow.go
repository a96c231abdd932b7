package batch

import (
	"fmt"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/bureau"
)

// A recipient's files may be encrypted to a second key, the escrow key, such as
// one that the issuer keeps in a safe: either private key alone opens them. The
// plan freezes both, and a file whose escrow key is not usable waits as it does
// for its recipient's.

// escrowKey reads a recipient's pinned escrow key; nil where there is none.
func (n *Night) escrowKey(r config.Recipient) (*bureau.Key, error) {
	e := r.PGP.Escrow
	if e.KeyFile == "" {
		return nil, nil
	}
	key, err := bureau.ReadPublicKey(n.Resolve(e.KeyFile), e.Fingerprint, n.Now())
	if err != nil {
		return nil, fmt.Errorf("escrow: %w", err)
	}
	return key, nil
}

// escrowLine tells a recipient's escrow key with its end, or why it cannot be used.
func (n *Night) escrowLine(name string, r config.Recipient) report.Key {
	line := report.Key{Owner: name + " (escrow)", Fingerprint: r.PGP.Escrow.Fingerprint}
	key, err := n.escrowKey(r)
	if err != nil {
		line.Problem = err.Error()
	} else if end := key.ExpiresAt(); !end.IsZero() {
		line.Expires = &end
	}
	return line
}

// freezeEscrow puts the recipient's escrow key into the plan.
func (n *Night) freezeEscrow(h *head, recipient string) error {
	r, err := n.recipient(recipient)
	if err != nil {
		return err
	}
	key, err := n.escrowKey(r)
	if err != nil || key == nil {
		return err
	}
	public, err := key.Armored(false)
	if err != nil {
		return err
	}
	h.EscrowKey, h.EscrowFingerprint = string(public), key.Fingerprint()
	return nil
}

// plannedKeys are the keys that the plan froze: the recipient's, then the escrow key.
func (n *Night) plannedKeys(f ledger.BureauFile, h head) ([]*bureau.Key, error) {
	r, _ := n.recipient(f.Recipient) // where it is gone from the configuration, what was frozen counts alone
	key, err := n.frozenKey(h.Key, f.RecipientKey, "the key that the plan of "+f.Name+" froze", r.PGP.KeyFile)
	if err != nil {
		return nil, err
	}
	if h.EscrowFingerprint == "" {
		return []*bureau.Key{key}, nil
	}
	escrow, err := n.frozenKey(h.EscrowKey, h.EscrowFingerprint, "the escrow key that the plan of "+f.Name+" froze", r.PGP.Escrow.KeyFile)
	if err != nil {
		return nil, err
	}
	return []*bureau.Key{key, escrow}, nil
}

// frozenKey is a key as the plan has it. Where that copy has expired, the
// configured file serves if it holds the same key, prolonged.
func (n *Night) frozenKey(armoured, fingerprint, what, file string) (*bureau.Key, error) {
	key, err := bureau.ParsePublicKey([]byte(armoured), what, fingerprint, n.Now())
	if err == nil || file == "" {
		return key, err
	}
	if key, newer := bureau.ReadPublicKey(n.Resolve(file), fingerprint, n.Now()); newer == nil {
		return key, nil
	}
	return nil, err
}
