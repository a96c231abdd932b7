package bureau

import (
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// KeyDescription is what can be told of a PGP key, usable or not. It holds no secret.
type KeyDescription struct {
	Fingerprint string
	UserID      string
	Algorithm   string // of the primary key, such as Ed25519 or RSA 3072
	Made        time.Time
	Expires     time.Time // of the first part that expires; zero for never
	Private     bool      // the file has the private half
}

// DescribeKey describes the key that is pinned by its fingerprint in a file
// (the only one, where fingerprint is ""). It does not say whether the key may be
// used: [ReadPublicKey] and [ReadPrivateKey] do. Its errors are [*KeyError].
func DescribeKey(path, fingerprint string) (*KeyDescription, error) {
	content, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	entity, err := pinned(content, path, fingerprint)
	if err != nil {
		return nil, err
	}
	d := &KeyDescription{Fingerprint: fingerprintOf(entity), Algorithm: algorithmOf(entity.PrimaryKey), Made: entity.PrimaryKey.CreationTime.UTC(), Private: entity.PrivateKey != nil}
	if _, identity := entity.PrimaryIdentity(time.Time{}, nil); identity != nil {
		d.UserID = identity.Name
	}
	d.Expires = endOf(entity)
	return d, nil
}

// endOf is when the first part in use expires, whatever the time is now: the
// primary key, the newest subkey to encrypt to, the newest to sign with.
func endOf(entity *openpgp.Entity) time.Time {
	self, err := entity.PrimarySelfSignature(time.Time{}, nil)
	if err != nil {
		return time.Time{}
	}
	ends := []time.Time{lifetimeEnd(entity.PrimaryKey, self)}
	for _, fits := range []func(keyPart) bool{keyPart.mayEncrypt, func(p keyPart) bool { return p.self.FlagSign }} {
		var newest *keyPart
		for i := range entity.Subkeys {
			subkey := &entity.Subkeys[i]
			binding, err := subkey.LatestValidBindingSignature(time.Time{}, nil)
			if err != nil {
				continue
			}
			part := keyPart{public: subkey.PublicKey, self: binding}
			if fits(part) && (newest == nil || !binding.CreationTime.Before(newest.self.CreationTime)) {
				newest = &part
			}
		}
		if newest != nil {
			ends = append(ends, lifetimeEnd(newest.public, newest.self))
		}
	}
	return earliest(ends)
}

func lifetimeEnd(key *packet.PublicKey, self *packet.Signature) time.Time {
	if secs := self.KeyLifetimeSecs; secs != nil && *secs != 0 {
		return key.CreationTime.Add(time.Duration(*secs) * time.Second).UTC()
	}
	return time.Time{}
}

// algorithmOf names algorithm and size of a key.
func algorithmOf(key *packet.PublicKey) string {
	bits, err := key.BitLength()
	size := ""
	if err == nil {
		size = fmt.Sprintf(" %d", bits)
	}
	curve, _ := key.Curve()
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly, packet.PubKeyAlgoRSAEncryptOnly:
		return "RSA" + size
	case packet.PubKeyAlgoDSA:
		return "DSA" + size
	case packet.PubKeyAlgoElGamal:
		return "ElGamal" + size
	case packet.PubKeyAlgoEdDSA, packet.PubKeyAlgoEd25519:
		return "Ed25519"
	case packet.PubKeyAlgoEd448:
		return "Ed448"
	case packet.PubKeyAlgoECDSA:
		return "ECDSA " + string(curve)
	}
	return fmt.Sprintf("algorithm %d", key.PubKeyAlgo)
}
