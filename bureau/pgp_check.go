package bureau

import (
	"crypto"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// keyUse is what a key must be good for.
type keyUse int

const (
	forEncryption keyUse = 1 << iota
	forSigning
	forBoth = forEncryption | forSigning
)

// usableKeys are the parts of a key that are in use. A part that the key has
// but that was not asked for may be nil.
type usableKeys struct {
	encrypt *packet.PublicKey
	sign    *packet.PublicKey
	signer  *packet.PrivateKey // of sign
	expires time.Time          // of the first part in use; zero for never
}

// minRSABits is the least RSA modulus that is taken (NIST SP 800-131A).
const minRSABits = 2048

// newKey checks entity for use at now and wraps it.
func newKey(entity *openpgp.Entity, path string, now time.Time, use keyUse) (*Key, error) {
	usable, err := usableAt(entity, now, use)
	if err != nil {
		err.Path = path
		return nil, err
	}
	return &Key{entity: entity, usable: usable}, nil
}

// at checks again for a later time: a key may have expired since it was read.
func (k *Key) at(now time.Time, use keyUse) (usableKeys, error) {
	usable, err := usableAt(k.entity, now, use)
	if err != nil {
		return usableKeys{}, err
	}
	return usable, nil
}

func usableAt(entity *openpgp.Entity, now time.Time, use keyUse) (usableKeys, *KeyError) {
	refuse := func(kind KeyKind, format string, args ...any) *KeyError {
		return &KeyError{Kind: kind, Fingerprint: fingerprintOf(entity), Detail: fmt.Sprintf(format, args...)}
	}
	primary, err := primaryPart(entity, now)
	if err != nil {
		return usableKeys{}, err
	}
	parts := append([]keyPart{primary}, subkeyParts(entity, now)...)

	var usable usableKeys
	expires := []time.Time{primary.expires}
	if encrypt, err := choose(parts, keyPart.mayEncrypt); err == nil {
		usable.encrypt = encrypt.public
		expires = append(expires, encrypt.expires)
	} else if use&forEncryption != 0 {
		if err.Kind == "" {
			return usableKeys{}, refuse(KeyNoEncryption, "nothing in it may be encrypted to; ask its owner for a key with an encryption subkey")
		}
		return usableKeys{}, refuse(err.Kind, "its encryption subkey %s", err.Detail)
	}
	if use&forSigning != 0 {
		sign, err := choose(parts, keyPart.maySign)
		if err != nil && err.Kind == "" {
			return usableKeys{}, refuse(KeyNoSigning, "nothing in it may sign")
		}
		if err != nil {
			return usableKeys{}, refuse(err.Kind, "its signing key %s", err.Detail)
		}
		usable.sign, usable.signer = sign.public, sign.private
		expires = append(expires, sign.expires)
	}
	usable.expires = earliest(expires)
	return usable, nil
}

func earliest(times []time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// keyPart is a primary key or a subkey with what its newest self-signature says.
type keyPart struct {
	public  *packet.PublicKey
	private *packet.PrivateKey
	self    *packet.Signature
	expires time.Time
	// Why it must not be used; "" when it may.
	kind   KeyKind
	reason string
}

func (p keyPart) mayEncrypt() bool {
	return p.public.PubKeyAlgo.CanEncrypt() && p.self.FlagsValid && (p.self.FlagEncryptCommunications || p.self.FlagEncryptStorage)
}

// maySign holds for parts whose private half is there: an offline primary key cannot.
func (p keyPart) maySign() bool {
	return p.public.PubKeyAlgo.CanSign() && p.self.FlagsValid && p.self.FlagSign && p.private != nil && !p.private.Dummy()
}

// choose gives the newest usable part that fits; its error has the kind ""
// when none fits at all, else it tells why the newest one is not usable.
func choose(parts []keyPart, fits func(keyPart) bool) (keyPart, *KeyError) {
	var best, refused *keyPart
	for i := range parts {
		p := &parts[i]
		if !fits(*p) {
			continue
		}
		slot := &best
		if p.kind != "" {
			slot = &refused
		}
		// The primary stands first and only serves where no subkey does.
		if *slot == nil || !(*slot).public.IsSubkey || !p.self.CreationTime.Before((*slot).self.CreationTime) {
			*slot = p
		}
	}
	switch {
	case best != nil:
		return *best, nil
	case refused != nil:
		return keyPart{}, &KeyError{Kind: refused.kind, Detail: refused.reason}
	}
	return keyPart{}, &KeyError{}
}

// primaryPart checks the primary key; without a good one nothing of the key is good.
func primaryPart(entity *openpgp.Entity, now time.Time) (keyPart, *KeyError) {
	refuse := func(kind KeyKind, detail string) (keyPart, *KeyError) {
		return keyPart{}, &KeyError{Kind: kind, Fingerprint: fingerprintOf(entity), Detail: detail}
	}
	if entity.Revoked(now) {
		return refuse(KeyRevoked, "its owner revoked it; ask for the key that replaces it")
	}
	self, err := entity.PrimarySelfSignature(now, nil)
	if err != nil {
		if entity.PrimaryKey.CreationTime.After(now) {
			return refuse(KeyNotYetValid, fmt.Sprintf("it was made at %s, later than now (%s); check this machine's clock",
				plainTime(entity.PrimaryKey.CreationTime), plainTime(now)))
		}
		if _, late := entity.PrimarySelfSignature(time.Time{}, nil); late == nil {
			return refuse(KeyExpired, "its self-signature is not valid at this time; ask its owner for a current one")
		}
		return refuse(KeyUnreadable, "no user id in it has a valid self-signature that is not revoked")
	}
	part := checked(keyPart{public: entity.PrimaryKey, private: entity.PrivateKey, self: self}, now)
	if direct, err := entity.LatestValidDirectSignature(now, nil); err == nil {
		other := checked(keyPart{public: entity.PrimaryKey, self: direct}, now)
		part.expires = earliest([]time.Time{part.expires, other.expires})
		if part.kind == "" {
			part.kind, part.reason = other.kind, other.reason
		}
	}
	if part.kind != "" {
		return refuse(part.kind, "it "+part.reason)
	}
	return part, nil
}

func subkeyParts(entity *openpgp.Entity, now time.Time) []keyPart {
	var parts []keyPart
	for i := range entity.Subkeys {
		subkey := &entity.Subkeys[i]
		self, err := subkey.LatestValidBindingSignature(now, nil)
		if err != nil {
			continue // not bound to this key at this time: not part of it
		}
		part := checked(keyPart{public: subkey.PublicKey, private: subkey.PrivateKey, self: self}, now)
		if subkey.Revoked(self, now) {
			part.kind, part.reason = KeyRevoked, "is revoked; ask for the key that replaces it"
		}
		parts = append(parts, part)
	}
	return parts
}

// checked fills in when p expires and why it must not be used.
func checked(p keyPart, now time.Time) keyPart {
	if secs := p.self.KeyLifetimeSecs; secs != nil && *secs != 0 {
		p.expires = p.public.CreationTime.Add(time.Duration(*secs) * time.Second)
	}
	weakness := weaknessOf(p)
	switch {
	case p.public.CreationTime.After(now):
		p.kind, p.reason = KeyNotYetValid, "was made at "+plainTime(p.public.CreationTime)+", later than now; check this machine's clock"
	case !p.expires.IsZero() && !p.expires.After(now):
		p.kind, p.reason = KeyExpired, "expired at "+plainTime(p.expires)+"; ask its owner to extend it or for a new one"
	case p.self.SigExpired(now):
		p.kind, p.reason = KeyExpired, "has a self-signature that expired; ask its owner for a current one"
	case weakness != "":
		p.kind, p.reason = KeyWeak, "is too weak: "+weakness
	}
	return p
}

func weaknessOf(p keyPart) string {
	switch p.public.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly, packet.PubKeyAlgoRSAEncryptOnly:
		if bits, err := p.public.BitLength(); err != nil || bits < minRSABits {
			return fmt.Sprintf("RSA with %d bits, at least %d are needed", bits, minRSABits)
		}
	case packet.PubKeyAlgoDSA:
		return "DSA, which is no longer safe"
	case packet.PubKeyAlgoElGamal:
		return "ElGamal, which is no longer safe"
	}
	if p.self.Hash == crypto.SHA1 || p.self.Hash == crypto.MD5 || p.self.Hash == crypto.RIPEMD160 {
		return "its self-signature uses " + p.self.Hash.String() + "; its owner can sign it again with SHA-256"
	}
	return ""
}

func plainTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
