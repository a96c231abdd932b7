package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// ErrAuditBroken: an entry of the audit chain was changed, removed or moved.
var ErrAuditBroken = errors.New("the audit chain does not hold")

// Chain is the end of an audit chain. The zero Chain is the end of an empty
// one. Every implementation of [Audit] links and checks entries with it, so
// that a chain can be carried from one store to another.
type Chain struct {
	Seq  int64
	Hash string // of entry Seq; "" before the first
}

// Link gives e the number after the chain's end, its time in whole
// milliseconds of UTC, and its hash, and moves the chain on.
func (c *Chain) Link(e AuditEntry) AuditEntry {
	e.Seq = c.Seq + 1
	e.At = e.At.UTC().Truncate(time.Millisecond)
	e.Hash = e.hashAfter(c.Hash)
	c.Seq, c.Hash = e.Seq, e.Hash
	return e
}

// Check says whether e, as it is stored, is the next entry, and moves the chain
// on. Its error wraps ErrAuditBroken and names the entry.
func (c *Chain) Check(e AuditEntry) error {
	if e.Seq != c.Seq+1 {
		return fmt.Errorf("%w: entry %d is missing (entry %d follows entry %d)", ErrAuditBroken, c.Seq+1, e.Seq, c.Seq)
	}
	if e.Hash != e.hashAfter(c.Hash) {
		return fmt.Errorf("%w: entry %d (%s) is not what was recorded", ErrAuditBroken, e.Seq, e.What)
	}
	c.Seq, c.Hash = e.Seq, e.Hash
	return nil
}

// hashAfter is hex SHA-256 over the hash before, the number, the time in
// milliseconds since 1970 (both 8 bytes, big endian) and the four texts, every
// text after its length (8 bytes).
func (e AuditEntry) hashAfter(before string) string {
	h := sha256.New()
	number := func(n int64) {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
	text := func(s string) {
		number(int64(len(s)))
		h.Write([]byte(s))
	}
	text(before)
	number(e.Seq)
	number(e.At.UnixMilli())
	for _, s := range []string{e.Who, e.What, e.Subject, e.Detail} {
		text(s)
	}
	return hex.EncodeToString(h.Sum(nil))
}
