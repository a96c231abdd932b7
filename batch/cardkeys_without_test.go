//go:build !pkcs11 || !cgo

package batch

import (
	"errors"
	"os"
	"testing"

	"reemboss/batch/hsm/pkcs11"
)

func TestABinaryWithoutPKCS11StopsWhereATokenIsConfigured(t *testing.T) {
	b := newBench(t)
	b.cardKey("cvk-visa", `backend: pkcs11, kcv: "08D7B4", label_a: a, label_b: b`)
	b.configure(`module: ""  `, "module: "+b.Path("keys", "token-pin")+" ", `token: ""  `, "token: CARDS ", "# pin: {file", "pin: {file")
	if err := os.WriteFile(b.Path("keys", "token-pin"), []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := b.stops()
	var mistake *SetupError
	if !errors.Is(err, pkcs11.ErrNotBuilt) || !errors.As(err, &mistake) {
		t.Errorf("%v", err)
	}
}
