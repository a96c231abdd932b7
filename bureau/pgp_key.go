package bureau

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// KeyKind says what is wrong with a PGP key.
type KeyKind string

// Kinds of [KeyError].
const (
	KeyMissing          KeyKind = "missing"           // no such file
	KeyUnreadable       KeyKind = "unreadable"        // not an OpenPGP key
	KeyExposed          KeyKind = "exposed"           // a private key that others on this machine may read
	KeyWrongFingerprint KeyKind = "wrong fingerprint" // not the pinned key, or the pin is not a full fingerprint
	KeyNotYetValid      KeyKind = "not yet valid"     // made in the future of this machine's clock
	KeyExpired          KeyKind = "expired"           // primary key or the subkey that is needed
	KeyRevoked          KeyKind = "revoked"           // primary key or the subkey that is needed
	KeyWeak             KeyKind = "weak"              // RSA below 2048 bits, DSA, ElGamal, SHA-1 self-signature
	KeyNoEncryption     KeyKind = "no encryption key" // nothing in it may be encrypted to
	KeyNoSigning        KeyKind = "no signing key"    // nothing in it may sign
	KeyNotPrivate       KeyKind = "not private"       // a public key where the private one is needed
	KeyWrongPassphrase  KeyKind = "wrong passphrase"  // or none for a locked key
)

// KeyError is a key that must not be used, in one sentence for the operator.
type KeyError struct {
	Kind        KeyKind
	Path        string // "" for a key that is not from a file
	Fingerprint string // "" where none was read
	Detail      string
	Err         error
}

func (e *KeyError) Error() string {
	var b strings.Builder
	b.WriteString("pgp key ")
	if e.Path != "" {
		b.WriteString(e.Path + " ")
	}
	if e.Fingerprint != "" {
		b.WriteString("(" + e.Fingerprint + ") ")
	}
	b.WriteString("is not used: " + e.Detail)
	if e.Err != nil {
		fmt.Fprintf(&b, " (%v)", e.Err)
	}
	return b.String()
}

func (e *KeyError) Unwrap() error { return e.Err }

// Key is an OpenPGP key that passed the checks of [ReadPublicKey],
// [ReadPrivateKey] or [GenerateKey]. It is not changed after that and may be
// used by several goroutines.
type Key struct {
	entity *openpgp.Entity
	usable usableKeys
}

// GenerateKey makes a key pair for signing and encryption: Ed25519 and
// X25519 in version 4 form, which GnuPG 2.2 reads. validity 0 means that it
// never expires. Name and email become the user id and must not contain
// parentheses, angle brackets or NUL.
func GenerateKey(name, email string, now time.Time, validity time.Duration) (*Key, error) {
	if validity < 0 || validity/time.Second > 1<<32-1 {
		return nil, fmt.Errorf("make a pgp key for %s: a validity of %s is not possible", name, validity)
	}
	config := &packet.Config{
		Algorithm:       packet.PubKeyAlgoEdDSA,
		Curve:           packet.Curve25519,
		DefaultCipher:   packet.CipherAES256,
		KeyLifetimeSecs: uint32(validity / time.Second),
		Time:            func() time.Time { return now },
	}
	entity, err := openpgp.NewEntity(name, "", email, config)
	if err != nil {
		return nil, fmt.Errorf("make a pgp key for %s: %w", name, err)
	}
	return newKey(entity, "", now, forBoth)
}

// Armored is the key in ASCII armour, for a file. With private it holds the
// unlocked private key and belongs in a file of mode 0600.
func (k *Key) Armored(private bool) ([]byte, error) {
	if !private {
		return armored(openpgp.PublicKeyType, k.entity.Serialize)
	}
	if !k.IsPrivate() {
		return nil, &KeyError{Kind: KeyNotPrivate, Fingerprint: k.Fingerprint(), Detail: "its private half is not there"}
	}
	return armored(openpgp.PrivateKeyType, func(w io.Writer) error {
		return k.entity.SerializePrivateWithoutSigning(w, nil)
	})
}

// ArmoredLocked is the private key in ASCII armour, locked with passphrase
// (AES-256 below a salted, iterated hash).
func (k *Key) ArmoredLocked(passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, errors.New("lock a pgp key: the passphrase is empty")
	}
	open, err := k.Armored(true)
	if err != nil {
		return nil, err
	}
	copied, err := parseKeys(open) // locking changes the entity: not ours
	if err != nil {
		return nil, err
	}
	if err := copied[0].EncryptPrivateKeys(passphrase, &packet.Config{DefaultCipher: packet.CipherAES256}); err != nil {
		return nil, fmt.Errorf("lock pgp key %s: %w", k.Fingerprint(), err)
	}
	return armored(openpgp.PrivateKeyType, func(w io.Writer) error {
		return copied[0].SerializePrivateWithoutSigning(w, nil)
	})
}

func armored(blockType string, serialize func(io.Writer) error) ([]byte, error) {
	var out bytes.Buffer
	w, err := armor.Encode(&out, blockType, nil)
	if err != nil {
		return nil, err
	}
	if err := serialize(w); err != nil {
		return nil, fmt.Errorf("write a pgp key: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return append(out.Bytes(), '\n'), nil
}

// Fingerprint is the full fingerprint of the primary key, upper case hex.
func (k *Key) Fingerprint() string { return fingerprintOf(k.entity) }

// UserID is the name and mail address the key was made for.
func (k *Key) UserID() string {
	if _, identity := k.entity.PrimaryIdentity(time.Time{}, nil); identity != nil {
		return identity.Name
	}
	return ""
}

// IsPrivate says whether the key can sign or open.
func (k *Key) IsPrivate() bool { return k.entity.PrivateKey != nil }

// ExpiresAt is when the first of the parts in use (primary key, encryption
// subkey, signing subkey) expires; the zero time when none does.
func (k *Key) ExpiresAt() time.Time { return k.usable.expires }

// ExpiresWithin says whether the key will have expired by now + d. The
// report warns at 30 days.
func (k *Key) ExpiresWithin(now time.Time, d time.Duration) bool {
	return !k.usable.expires.IsZero() && !k.usable.expires.After(now.Add(d))
}

// ReadPublicKey reads the key that is pinned by its full fingerprint from an
// armoured or binary file, and checks that it may be encrypted to at now. A
// private half in the file is ignored. All errors are [*KeyError].
func ReadPublicKey(path, fingerprint string, now time.Time) (*Key, error) {
	content, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	return ParsePublicKey(content, path, fingerprint, now)
}

// ReadPrivateKey reads our own key: it signs what goes out and opens what
// comes in. The file must be 0600 or stricter. passphrase is ignored when the key is
// not locked; fingerprint may be "" where the file holds one key only.
func ReadPrivateKey(path string, passphrase []byte, fingerprint string, now time.Time) (*Key, error) {
	content, err := readPrivateFile(path)
	if err != nil {
		return nil, err
	}
	entity, err := privateEntity(content, path, passphrase, fingerprint)
	if err != nil {
		return nil, err
	}
	return newKey(entity, path, now, forSigning)
}

func privateEntity(content []byte, path string, passphrase []byte, fingerprint string) (*openpgp.Entity, error) {
	entity, err := pinned(content, path, fingerprint)
	if err != nil {
		return nil, err
	}
	if entity.PrivateKey == nil {
		return nil, &KeyError{Kind: KeyNotPrivate, Path: path, Fingerprint: fingerprintOf(entity),
			Detail: "the file holds the public half only; name the file with the private key"}
	}
	return entity, unlock(entity, path, passphrase)
}

// ReadFormerKey reads a key of ours that another one replaced: it still opens
// what was sealed to it, and says whether we signed something, also after it
// expired. File, passphrase and fingerprint are as for [ReadPrivateKey].
func ReadFormerKey(path string, passphrase []byte, fingerprint string) (*Key, error) {
	content, err := readPrivateFile(path)
	if err != nil {
		return nil, err
	}
	entity, err := privateEntity(content, path, passphrase, fingerprint)
	if err != nil {
		return nil, err
	}
	return &Key{entity: entity}, nil
}

func readPrivateFile(path string) ([]byte, error) {
	content, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, &KeyError{Kind: KeyExposed, Path: path, Detail: fmt.Sprintf(
			"its mode is %#o and others may read it; chmod 600 it, and replace the key if they may have", info.Mode().Perm())}
	}
	return content, nil
}

func readKeyFile(path string) ([]byte, error) {
	content, err := readRegular(path)
	switch {
	case errors.Is(err, errNoFile):
		return nil, &KeyError{Kind: KeyUnreadable, Path: path, Detail: "it is a folder, a pipe or a device, and no file; name the file with the key itself"}
	case errors.Is(err, fs.ErrNotExist):
		return nil, &KeyError{Kind: KeyMissing, Path: path, Detail: "the file does not exist; put the key there or correct the path"}
	case err != nil:
		return nil, &KeyError{Kind: KeyUnreadable, Path: path, Detail: "the file cannot be read", Err: err}
	}
	return content, nil
}

var errNoFile = errors.New("it is a folder, a pipe or a device, and no file")

// readRegular reads a file whole. What is no file is errNoFile and is not read: a pipe would be waited for without end.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errNoFile
	}
	return os.ReadFile(path)
}

var fullFingerprint = regexp.MustCompile(`^([0-9A-F]{40}|[0-9A-F]{64})$`)

// NormalFingerprint is a fingerprint without spaces, colons and 0x, in upper
// case; ok is false when it is not a full one (40 hex digits, 64 for version 6).
func NormalFingerprint(s string) (normal string, ok bool) {
	normal = strings.ToUpper(strings.NewReplacer(" ", "", ":", "").Replace(s))
	normal = strings.TrimPrefix(normal, "0X")
	return normal, fullFingerprint.MatchString(normal)
}

// pinned finds the one key of content that is meant.
func pinned(content []byte, path, fingerprint string) (*openpgp.Entity, error) {
	entities, err := parseKeys(content)
	if err != nil {
		return nil, &KeyError{Kind: KeyUnreadable, Path: path, Detail: "the file is not an OpenPGP key", Err: err}
	}
	if fingerprint == "" && len(entities) == 1 {
		return entities[0], nil
	}
	want, ok := NormalFingerprint(fingerprint)
	if !ok {
		return nil, &KeyError{Kind: KeyWrongFingerprint, Path: path, Detail: fmt.Sprintf(
			"%q does not pin it: a full fingerprint of 40 hex digits is needed, compared with its owner by another way than the key came", fingerprint)}
	}
	var found []string
	for _, entity := range entities {
		if fingerprintOf(entity) == want {
			return entity, nil
		}
		found = append(found, fingerprintOf(entity))
	}
	return nil, &KeyError{Kind: KeyWrongFingerprint, Path: path, Detail: fmt.Sprintf(
		"the configuration pins %s and the file holds %s; ask the owner which is right before you change either", want, strings.Join(found, ", "))}
}

func parseKeys(content []byte) (openpgp.EntityList, error) {
	entities, err := readRing(content)
	if err == nil && len(entities) == 0 {
		err = errors.New("no key in it")
	}
	return entities, err
}

func readRing(content []byte) (openpgp.EntityList, error) {
	if bytes.HasPrefix(bytes.TrimSpace(content), []byte("-----BEGIN PGP")) {
		return openpgp.ReadArmoredKeyRing(bytes.NewReader(content))
	}
	return openpgp.ReadKeyRing(bytes.NewReader(content))
}

func unlock(entity *openpgp.Entity, path string, passphrase []byte) error {
	err := entity.DecryptPrivateKeys(passphrase)
	locked := entity.PrivateKey.Encrypted
	for _, subkey := range entity.Subkeys {
		locked = locked || subkey.PrivateKey != nil && subkey.PrivateKey.Encrypted
	}
	if err == nil && !locked {
		return nil
	}
	detail := "the passphrase does not open it"
	if len(passphrase) == 0 {
		detail = "it is locked and no passphrase is configured"
	}
	return &KeyError{Kind: KeyWrongPassphrase, Path: path, Fingerprint: fingerprintOf(entity), Detail: detail, Err: err}
}

func withoutPrivateHalf(entity *openpgp.Entity) {
	entity.PrivateKey = nil
	for i := range entity.Subkeys {
		entity.Subkeys[i].PrivateKey = nil
	}
}

func fingerprintOf(entity *openpgp.Entity) string {
	return fmt.Sprintf("%X", entity.PrimaryKey.Fingerprint)
}
