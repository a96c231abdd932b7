// Package pkcs11 is the backend of [hsm] whose card keys are in a token: a
// hardware module behind its vendor's PKCS#11 library. The keys never leave it.
//
// The half of the package that talks to a token needs cgo and the build tag
// pkcs11 (go build -tags pkcs11). Without them [Open] is [ErrNotBuilt] and the
// binary stays static.
//
// A key pair is two secret keys of the token, found by their labels: A may
// encrypt, B may decrypt. R = E_A(D_B(E_A(E_A(B1) xor B2))) is four calls for a
// whole batch of cards, because the token takes their blocks in one piece. The
// mechanism follows from the type of the key: CKM_DES3_ECB for CKK_DES2 (A‖A)
// and CKK_DES3 (A‖A‖A), which is single DES; CKM_DES_ECB for CKK_DES. That a
// token offers a mechanism proves nothing; whether it computes right is decided
// at every connection, before the first card:
//
//   - the check value of each pair, computed through the token, is the configured one;
//   - a whole batch gives, block for block, what its blocks give alone;
//   - a public test key pair of the same types gives the published values.
//
// docs/hsm.md says what each of these finds and how the keys get into a token.
//
// A connection that the token lost is opened again, with all of these proofs,
// and the batch that met the loss is repeated, once. Every other failure of the
// token ends the backend: what is not computed yet and all that is asked for
// later gets an error that wraps [ErrToken]. There is no other way to a value.
package pkcs11

import (
	"errors"
	"fmt"
	"io"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
)

// Errors of a token. None contains the PIN, a key or card data. Beside them
// [Open] gives [hsm.ErrKCV] and [hsm.ErrSelfTest].
var (
	ErrNotBuilt = errors.New("this binary was built without PKCS#11; build it with cgo and the tag pkcs11: CGO_ENABLED=1 go build -tags pkcs11 ./cmd/reemboss")
	ErrToken    = errors.New("the PKCS#11 token failed")
	ErrPIN      = errors.New("the PKCS#11 token does not take the PIN")
	ErrNoKey    = errors.New("the PKCS#11 token has no such key")
	ErrRights   = errors.New("the attributes of the PKCS#11 key are not those of a card verification key")
	// Of the key that wraps key-encryption keys: ErrWrapped is what [UnwrapKEK] says of other bytes than [WrapKEK] made with that key.
	ErrWrapped        = errors.New("the file holds no key-encryption key that this key of the PKCS#11 token wrapped")
	ErrWrappingRights = errors.New("the attributes of the PKCS#11 key are not those of a key that wraps others")
)

// Config is what a token is opened with.
type Config struct {
	Settings    config.PKCS11
	PIN         []byte // of the token's user; copied
	Environment string // any but [config.Test] refuses keys that are not kept well
}

// Format keeps the PIN out of everything that is printed.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "token %q of %s", c.Settings.Token, c.Settings.Module)
}

// Backend is an open token. Its [hsm.Verifier] computes in the token too, where
// the only keys are, but card by card and with packing and decimal digits of its own.
type Backend interface {
	hsm.Backend
	hsm.Verifier

	// Close ends the sessions, and with the last one the login. It waits for
	// what is being computed, no longer than Settings.Timeout: an error then
	// says that the library still runs, which the end of the process ends.
	io.Closer
}
