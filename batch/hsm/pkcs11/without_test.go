//go:build !pkcs11 || !cgo

package pkcs11_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"reemboss/batch/config"
	"reemboss/batch/hsm/pkcs11"
)

func TestABinaryWithoutPKCS11SaysSo(t *testing.T) {
	keys := map[string]config.CardKey{"cvk": {Backend: config.PKCS11Keys, LabelA: "a", LabelB: "b"}}
	b, err := pkcs11.Open(context.Background(), pkcs11.Config{Settings: config.PKCS11{Module: "/opt/hsm/lib.so"}}, keys)
	if b != nil || !errors.Is(err, pkcs11.ErrNotBuilt) || !strings.Contains(err.Error(), "-tags pkcs11") {
		t.Errorf("%v", err)
	}
}
