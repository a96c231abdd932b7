package config

import (
	"fmt"
	"strings"
)

// escrow checks the second key that a recipient's files are encrypted to: both
// of its keys or none, and another one than the first.
func (c *checker) escrow(at string, p PGP) {
	e := p.Escrow
	if e == (EscrowKey{}) && !c.written(join(at, "escrow")) {
		return
	}
	c.need(join(at, "escrow.key_file"), e.KeyFile, "the file of the escrow key's public half, such as keys/escrow.asc; without an escrow key leave escrow out")
	c.fingerprint(join(at, "escrow.fingerprint"), e.Fingerprint)
	if e.Fingerprint != "" && strings.EqualFold(e.Fingerprint, p.Fingerprint) {
		c.wrong(join(at, "escrow.fingerprint"), "is the recipient's own key; an escrow key is a second one, or leave escrow out")
	}
}

// ownEscrow checks the second key of backups as a recipient's.
func (c *checker) ownEscrow() {
	c.escrow("keys", PGP{Fingerprint: c.Keys.Fingerprint, Escrow: c.Keys.Escrow})
}

// formerKeys checks the PGP keys that ours replaced.
func (c *checker) formerKeys() {
	seen := map[string]string{strings.ToUpper(c.Keys.Fingerprint): "keys.fingerprint"}
	for i, f := range c.Keys.Former {
		at := fmt.Sprintf("keys.former[%d]", i)
		c.need(join(at, "key_file"), f.KeyFile, "the file of the PGP private key that was in use before, such as keys/issuer.pgp")
		c.fingerprint(join(at, "fingerprint"), f.Fingerprint)
		c.secret(join(at, "passphrase"), f.Passphrase, false)
		id := strings.ToUpper(f.Fingerprint)
		if first, twice := seen[id]; twice && id != "" {
			c.wrong(join(at, "fingerprint"), "is the key of %s too; a former key is another one, and stands in the list once", first)
			continue
		}
		seen[id] = join(at, "fingerprint")
	}
}
