//go:build !pkcs11 || !cgo

package batch

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"reemboss/batch/hsm/pkcs11"
)

func TestABinaryWithoutPKCS11SaysSoOfAKeysetUnderATokensKey(t *testing.T) {
	b := newBench(t)
	b.configure(`module: ""  `, "module: "+b.Path("keys", "kek")+" ", `token: ""  `, "token: CARDS ", "# pin: {file", "pin: {file",
		"{file: keys/kek}", "{file: keys/kek, token_key: reemboss-kek}")
	if err := os.WriteFile(b.Path("keys", "token-pin"), []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	var mistake *SetupError
	if _, err := Open(t.Context(), b.Dir, Options{Log: zerolog.Nop()}); !errors.Is(err, pkcs11.ErrNotBuilt) || !errors.As(err, &mistake) {
		t.Errorf("%v", err)
	}
	if err := CheckConfig(t.Context(), b.Dir, Options{Log: zerolog.Nop()}); err == nil || !strings.Contains(err.Error(), "keys.keyset_kek.token_key") {
		t.Errorf("config check: %v", err)
	}
}
