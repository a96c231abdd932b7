//go:build !pkcs11 || !cgo

package pkcs11

import (
	"context"

	"reemboss/batch/config"
)

// Open is [ErrNotBuilt]: this build has no PKCS#11.
func Open(context.Context, Config, map[string]config.CardKey) (Backend, error) {
	return nil, ErrNotBuilt
}

// WrapKEK is [ErrNotBuilt]: this build has no PKCS#11.
func WrapKEK(context.Context, Config, string, []byte) ([]byte, error) { return nil, ErrNotBuilt }

// UnwrapKEK is [ErrNotBuilt]: this build has no PKCS#11.
func UnwrapKEK(context.Context, Config, string, []byte) ([]byte, error) { return nil, ErrNotBuilt }
