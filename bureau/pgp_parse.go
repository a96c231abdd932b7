package bureau

import "time"

// ParsePublicKey is [ReadPublicKey] for a key that is in memory: the one that
// a file's plan froze. name stands in errors where a path would.
func ParsePublicKey(content []byte, name, fingerprint string, now time.Time) (*Key, error) {
	entity, err := pinned(content, name, fingerprint)
	if err != nil {
		return nil, err
	}
	withoutPrivateHalf(entity)
	return newKey(entity, name, now, forEncryption)
}
