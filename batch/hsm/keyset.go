package hsm

import (
	"crypto/aes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"reemboss/batch/durable"
	"reemboss/formats/iso"
)

// Errors of a keyset that callers tell apart.
var (
	ErrNoKey    = errors.New("the keyset has no such key")
	ErrKeyTaken = errors.New("the keyset has a key of this name already")
	ErrSealed   = errors.New("the sealed card number cannot be opened")
)

// Keyset holds the workspace's own keys, each for one purpose:
//
//   - card numbers at rest: AES-256-GCM (a tink keyset; sealed under its
//     primary key, opened under any);
//   - the blind index of card numbers and the digests: HMAC-SHA-256;
//   - allocation of new numbers: AES, by name;
//   - card verification: key pairs for DES, by name.
//
// Every key has an id and a check value, see [Keyset.Keys]; of a kind there
// may be several keys, one of them primary, so that a rotation is a new key
// ([Keyset.Rotate]). The file is described at [CreateKeyset]. A Keyset may be
// used by several goroutines, and is a ledger.Vault and a [Verifier].
//
// What is asked for under a key that the Keyset does not hold makes it read its
// file again, once: another process may have rotated the keys since.
type Keyset struct {
	// Files is how a changed keyset is written. Set it before the first change; the zero value writes to this machine's disk.
	Files durable.Files

	path string

	mu      sync.RWMutex // guards held and wrapped; taken to write or to read the file, too
	held    heldKeys
	wrapped kekCipher

	use atomic.Pointer[ciphers] // of held; replaced whole
}

// ciphers are the held keys ready to be used.
type ciphers struct {
	seal     tink.AEAD
	sealIDs  map[string]bool // of every key that opens
	sealID   string
	index    map[string]*macPool // by key id
	indexID  string
	digests  *macPool
	digestID string
}

var (
	_ Verifier = (*Keyset)(nil)
)

// ciphers makes the keys ready to be used.
func (h *heldKeys) ciphers() (*ciphers, error) {
	c := &ciphers{sealIDs: map[string]bool{}, index: map[string]*macPool{}}
	handle, err := h.panHandle()
	if err != nil {
		return nil, fmt.Errorf("the key for card numbers: %w", err)
	}
	if c.seal, err = aead.New(handle); err != nil {
		return nil, fmt.Errorf("the key for card numbers: %w", err)
	}
	sealing, err := primary(h.PAN, "the key for card numbers")
	if err != nil {
		return nil, err
	}
	index, err := primary(h.Index, "the key of the index")
	if err != nil {
		return nil, err
	}
	digest, err := primary(h.Digest, "the key of digests")
	if err != nil {
		return nil, err
	}
	for _, key := range h.PAN {
		c.sealIDs[key.ID] = true
	}
	for _, key := range h.Index {
		c.index[key.ID] = newMACPool(key.Key)
	}
	c.digests = newMACPool(digest.Key)
	c.sealID, c.indexID, c.digestID = sealing.ID, index.ID, digest.ID
	return c, nil
}

// SealPAN implements ledger.Vault: AES-256-GCM under the primary key with the
// card id as associated data; 33 bytes longer than the number.
func (k *Keyset) SealPAN(cardID int64, p iso.PAN) ([]byte, error) {
	if p.IsZero() {
		return nil, errors.New("there is no card number to seal")
	}
	sealed, err := k.use.Load().seal.Encrypt([]byte(p.Reveal()), cardContext(cardID))
	if err != nil {
		return nil, fmt.Errorf("seal the number of card %d: %w", cardID, err)
	}
	return sealed, nil
}

// OpenPAN implements ledger.Vault. The error wraps [ErrSealed]: other bytes,
// another card id, or a key that the keyset does not have.
func (k *Keyset) OpenPAN(cardID int64, sealed []byte) (iso.PAN, error) {
	use := k.use.Load()
	if id := k.SealedUnder(sealed); id != "" && !use.sealIDs[id] {
		if err := k.Reread(); err != nil {
			return iso.PAN{}, fmt.Errorf("card %d: %w under key %s: %w", cardID, ErrSealed, id, err)
		}
		use = k.use.Load()
	}
	digits, err := use.seal.Decrypt(sealed, cardContext(cardID))
	if err != nil {
		return iso.PAN{}, fmt.Errorf("card %d: %w", cardID, ErrSealed)
	}
	p, err := iso.ParsePAN(string(digits))
	if err != nil {
		return iso.PAN{}, fmt.Errorf("card %d: %w: %w", cardID, ErrSealed, err)
	}
	return p, nil
}

func cardContext(cardID int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(cardID))
}

// SealKeyID implements ledger.Vault.
func (k *Keyset) SealKeyID() string { return k.use.Load().sealID }

// sealMark is the first of the bytes that tink puts before what it seals; the key's id follows, four bytes.
const sealMark = 1

// SealedUnder implements ledger.Vault.
func (k *Keyset) SealedUnder(sealed []byte) string {
	if len(sealed) < 5 || sealed[0] != sealMark {
		return ""
	}
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(sealed[1:])), 10)
}

// SealHeader implements ledger.Vault.
func (k *Keyset) SealHeader() []byte {
	id, _ := strconv.ParseUint(k.SealKeyID(), 10, 32) // panHandle has parsed it
	return binary.BigEndian.AppendUint32([]byte{sealMark}, uint32(id))
}

// IndexPAN implements ledger.Vault: HMAC-SHA-256 of all digits.
func (k *Keyset) IndexPAN(p iso.PAN) []byte {
	use := k.use.Load()
	return use.index[use.indexID].sum(p.Reveal())
}

// IndexUnder implements ledger.Vault. [ErrNoKey].
func (k *Keyset) IndexUnder(keyID string, p iso.PAN) ([]byte, error) {
	key := k.use.Load().index[keyID]
	if key == nil {
		if err := k.Reread(); err != nil {
			return nil, fmt.Errorf("index key %s: %w: %w", keyID, ErrNoKey, err)
		}
		if key = k.use.Load().index[keyID]; key == nil {
			return nil, fmt.Errorf("index key %s: %w; put the keyset back that has it (%s)", keyID, ErrNoKey, k.path)
		}
	}
	return key.sum(p.Reveal()), nil
}

// IndexKeyID implements ledger.Vault.
func (k *Keyset) IndexKeyID() string { return k.use.Load().indexID }

// Digest is HMAC-SHA-256 over purpose and parts under the digest key, in
// hexadecimal. Each part goes in with its length before it, so that no two
// lists of parts are the same bytes, and no purpose gives another's digest.
func (k *Keyset) Digest(purpose string, parts ...[]byte) string {
	digests := k.use.Load().digests
	mac := digests.get()
	defer digests.put(mac)
	begin(mac, digestOfParts, purpose)
	for _, part := range parts {
		writePart(mac, part)
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// NewDigest is a digest of a stream under the digest key: HMAC-SHA-256 over
// purpose, then what is written. Its values are never those of [Keyset.Digest].
func (k *Keyset) NewDigest(purpose string) hash.Hash {
	d := &streamDigest{Hash: hmac.New(sha256.New, k.use.Load().digests.key), purpose: purpose}
	d.Reset()
	return d
}

// DigestKeyID names the key of digests.
func (k *Keyset) DigestKeyID() string { return k.use.Load().digestID }

// First byte of what is digested: parts or a stream.
const (
	digestOfParts  = 'P'
	digestOfStream = 'S'
)

func begin(mac hash.Hash, form byte, purpose string) {
	_, _ = mac.Write([]byte{form})
	writePart(mac, []byte(purpose))
}

func writePart(mac hash.Hash, part []byte) {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(part)))
	_, _ = mac.Write(length[:])
	_, _ = mac.Write(part)
}

type streamDigest struct {
	hash.Hash
	purpose string
}

// Reset implements [hash.Hash]: the purpose stays.
func (d *streamDigest) Reset() {
	d.Hash.Reset()
	begin(d.Hash, digestOfStream, d.purpose)
}

// macPool keeps keyed hashes; making one costs as much as a digest.
type macPool struct {
	key  []byte
	pool sync.Pool
}

func newMACPool(key []byte) *macPool {
	return &macPool{key: key, pool: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

func (p *macPool) sum(text string) []byte {
	mac := p.get()
	defer p.put(mac)
	_, _ = io.WriteString(mac, text)
	return mac.Sum(make([]byte, 0, sha256.Size))
}

func (p *macPool) get() hash.Hash { return p.pool.Get().(hash.Hash) }

func (p *macPool) put(mac hash.Hash) {
	mac.Reset()
	p.pool.Put(mac)
}

// Allocation gives the key of a PAN range, 16, 24 or 32 bytes (AES). [ErrNoKey].
func (k *Keyset) Allocation(name string) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key, err := named(k.held.Allocation, name)
	if err != nil {
		return nil, fmt.Errorf("allocation key %s: %w", name, err)
	}
	return append([]byte(nil), key...), nil
}

// cvk gives a card verification key pair. [ErrNoKey].
func (k *Keyset) cvk(name string) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return named(k.held.CVK, name)
}

// CVKs gives the check value of each card verification key pair, six
// hexadecimal digits, by its name.
func (k *Keyset) CVKs() map[string]string {
	checks := map[string]string{}
	for _, line := range k.Keys() {
		if line.Kind == KindCVK {
			checks[line.Name] = line.Check
		}
	}
	return checks
}

// AddCVK puts a card verification key pair of 16 bytes under a new name
// ([ErrKeyTaken]) and writes the file; a nil key is drawn from rnd. A key with
// wrong parity is refused ([ErrParity]): it was mistyped. rnd also gives the
// key's id and the file's nonce. After an error nothing has changed.
func (k *Keyset) AddCVK(name string, key []byte, rnd io.Reader) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.change(rnd, func(held *heldKeys) error {
		if err := held.addCVK(name, key, rnd); err != nil {
			return fmt.Errorf("card key %s: %w", name, err)
		}
		return nil
	})
}

// Format keeps the keys out of everything that is printed.
func (k *Keyset) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "hsm.Keyset("+k.path+")") }

// MarshalJSON keeps the keys out of everything that is encoded.
func (k *Keyset) MarshalJSON() ([]byte, error) { return []byte(`"hsm.Keyset"`), nil }

// Kinds of keys.
const (
	KindPAN        = "card numbers"
	KindIndex      = "index"
	KindDigest     = "digest"
	KindAllocation = "allocation"
	KindCVK        = "card verification"
)

// KeyLine is one key as a person may see it.
type KeyLine struct {
	Kind    string
	Name    string // of allocation and card verification keys
	ID      string
	Check   string // check value, six hexadecimal digits
	Primary bool   // what is new is made under it
	// MadeAt is since when the key is in use; zero for one that was put in from elsewhere, or is from before this was kept.
	MadeAt time.Time
}

// Keys lists all keys, by kind, in the order in which they were made.
//
// The check value of a DES pair or an AES key is the first three bytes of the
// encryption of zeros; of an HMAC key, of the HMAC of nothing.
func (k *Keyset) Keys() []KeyLine {
	k.mu.RLock()
	defer k.mu.RUnlock()
	lines := []KeyLine{}
	for _, group := range []struct {
		kind  string
		keys  []heldKey
		check func([]byte) (string, error)
	}{
		{KindPAN, k.held.PAN, kcvAES}, {KindIndex, k.held.Index, kcvHMAC}, {KindDigest, k.held.Digest, kcvHMAC},
		{KindAllocation, k.held.Allocation, kcvAES}, {KindCVK, k.held.CVK, kcvTDES},
	} {
		for _, key := range group.keys {
			check, err := group.check(key.Key)
			if err != nil { // a key of a wrong length does not open
				check = "??????"
			}
			lines = append(lines, KeyLine{Kind: group.kind, Name: key.Name, ID: key.ID, Check: check, Primary: key.Primary, MadeAt: key.MadeAt})
		}
	}
	return lines
}

func kcvAES(key []byte) (string, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return "", err
	}
	var zeros [aes.BlockSize]byte
	block.Encrypt(zeros[:], zeros[:])
	return fmt.Sprintf("%X", zeros[:3]), nil
}

func kcvHMAC(key []byte) (string, error) {
	return fmt.Sprintf("%X", hmac.New(sha256.New, key).Sum(nil)[:3]), nil
}
