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
