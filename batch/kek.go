package batch

import (
	"context"
	"errors"
	"fmt"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/batch/hsm/pkcs11"
)

// loadKEK gives the key-encryption key of the keyset: from a file, from the
// environment, or from a file that only a key of the token opens.
func (n *Night) loadKEK(ctx context.Context) ([]byte, error) {
	ref := n.Config.Keys.Keyset
	if ref.TokenKey == "" {
		return hsm.LoadSecret(ref, n.Dir)
	}
	wrapped, err := hsm.LoadText(config.SecretRef{File: ref.File}, n.Dir)
	if err != nil {
		return nil, err
	}
	var kek []byte
	err = n.withToken(func(c pkcs11.Config) error {
		kek, err = pkcs11.UnwrapKEK(ctx, c, ref.TokenKey, wrapped)
		return err
	})
	return kek, err
}

// SecretFile gives what the file of keys.keyset_kek holds for a key-encryption
// key, as the configuration has it: the key itself as text, or encrypted under
// the token's key of keys.keyset_kek.token_key.
func (n *Night) SecretFile(ctx context.Context, kek []byte) (content []byte, err error) {
	ref := n.Config.Keys.Keyset
	switch {
	case ref.Env != "":
		return nil, setup("keys.keyset_kek is in the environment (%s): where that is set, no program of ours can change it", ref.Env)
	case ref.TokenKey == "":
		return append(hsm.EncodeSecret(kek), '\n'), nil
	}
	err = n.withToken(func(c pkcs11.Config) error {
		content, err = pkcs11.WrapKEK(ctx, c, ref.TokenKey, kek)
		return err
	})
	return content, err
}

// withToken lends the token's settings with its PIN.
func (n *Night) withToken(use func(pkcs11.Config) error) error {
	var pin []byte
	if n.Config.PKCS11.PIN != (config.SecretRef{}) {
		var err error
		if pin, err = hsm.LoadText(n.Config.PKCS11.PIN, n.Dir); err != nil {
			return fmt.Errorf("%w: %w", pkcs11.ErrPIN, err)
		}
		defer clear(pin)
	}
	return use(pkcs11.Config{Settings: n.Config.PKCS11, PIN: pin, Environment: n.Config.Environment})
}

// kekSetting is the setting that an error of loadKEK concerns.
func kekSetting(err error) string {
	switch {
	case errors.Is(err, pkcs11.ErrPIN):
		return "pkcs11.pin"
	case errors.Is(err, pkcs11.ErrToken):
		return "pkcs11"
	case errors.Is(err, pkcs11.ErrNotBuilt), errors.Is(err, pkcs11.ErrNoKey), errors.Is(err, pkcs11.ErrWrappingRights):
		return "keys.keyset_kek.token_key"
	}
	return "keys.keyset_kek"
}
