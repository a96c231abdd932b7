package payshield

import (
	"context"
	"errors"
	"fmt"

	"reemboss/batch/hsm"
	"reemboss/formats/iso"
)

// ErrNoPINs says that PIN work is not set up.
var ErrNoPINs = errors.New("the HSM is not set up for PINs: configure the length of PINs encrypted under its LMK")

// Under an AES LMK an encrypted PIN is J and 32 hexadecimal digits.
const (
	aesPINLength = 33
	aesPINScheme = 'J'
)

// PINs is what a module does with PINs. A clear PIN exists in the module only:
// a PIN here is one encrypted under the LMK and bound to an account number, the
// twelve digits of the PAN before its check digit. Each function gives one
// result for each request, in the same order; an error of one leaves the others
// alone and wraps [hsm.ErrRequest] when the request itself is wrong.
//
// Results are secrets: they go into a sealed file or a column of their own and
// never into a log.
type PINs interface {
	// RandomPINs makes a new PIN for each account (JA). A request that is sent
	// again gives another PIN.
	RandomPINs(ctx context.Context, requests []PINRequest) []PINResult
	// PVVs computes PIN verification values of four digits (DG).
	PVVs(ctx context.Context, requests []PVVRequest) []PINResult
	// PINBlocks encrypts PINs under a zone PIN key (JG): 16 hexadecimal digits.
	PINBlocks(ctx context.Context, requests []PINBlockRequest) []PINResult
	// RebindPINs binds the PIN of an old PAN to a new one (QK); it stays the same PIN.
	RebindPINs(ctx context.Context, requests []RebindRequest) []PINResult
}

// PINRequest asks for a random PIN.
type PINRequest struct {
	PAN    iso.PAN
	Digits int // 4 to 12
}

// PVVRequest asks for a PIN verification value.
type PVVRequest struct {
	Key  string     // name of the PIN verification key pair
	PVKI int        // its index, 0 to 6
	PAN  iso.PAN    // the account that PIN is bound to
	PIN  iso.Secret // encrypted under the LMK
}

// PINBlockFormat is the module's code of a PIN block format.
type PINBlockFormat string

// Formats of ISO 9564-1.
const (
	ISOFormat0 PINBlockFormat = "01"
	ISOFormat3 PINBlockFormat = "47" // filled at random: the same PIN gives another block each time
)

// PINBlockRequest asks for a PIN block.
type PINBlockRequest struct {
	Key    string // name of the zone PIN key
	Format PINBlockFormat
	PAN    iso.PAN
	PIN    iso.Secret // encrypted under the LMK
}

// RebindRequest asks for the same PIN under another account number.
type RebindRequest struct {
	Old, New iso.PAN
	PIN      iso.Secret // encrypted under the LMK, bound to Old
}

// PINResult is the answer to one request, or why there is none.
type PINResult struct {
	Value iso.Secret
	Err   error
}

// PINs gives the module's PIN capability, or [ErrNoPINs].
func (c *Client) PINs() (PINs, error) {
	if c.settings.PINLength == 0 {
		return nil, ErrNoPINs
	}
	return pins{c}, nil
}

type pins struct{ client *Client }

func (p pins) RandomPINs(ctx context.Context, requests []PINRequest) []PINResult {
	return p.exchange(ctx, len(requests), func(i int) ([]byte, error) { return p.randomPINCommand(requests[i]) })
}

func (p pins) randomPINCommand(r PINRequest) ([]byte, error) {
	account, err := accountOf(r.PAN)
	if err != nil {
		return nil, err
	}
	longest := 12
	if p.client.settings.PINLength != aesPINLength {
		longest = p.client.settings.PINLength - 1
	}
	if r.Digits < 4 || r.Digits > longest {
		return nil, fmt.Errorf("%w: a PIN of %d digits; this HSM makes 4 to %d", hsm.ErrRequest, r.Digits, longest)
	}
	return p.client.command(cmdRandomPIN, account, fmt.Sprintf("%02d", r.Digits)), nil
}

func (p pins) PVVs(ctx context.Context, requests []PVVRequest) []PINResult {
	return p.exchange(ctx, len(requests), func(i int) ([]byte, error) { return p.pvvCommand(requests[i]) })
}

func (p pins) pvvCommand(r PVVRequest) ([]byte, error) {
	account, pin, err := p.bound(r.PAN, r.PIN)
	if err != nil {
		return nil, err
	}
	if r.PVKI < 0 || r.PVKI > 6 {
		return nil, fmt.Errorf("%w: the index of a PIN verification key is 0 to 6, not %d", hsm.ErrRequest, r.PVKI)
	}
	token, err := p.client.token(r.Key, PVK)
	if err != nil {
		return nil, err
	}
	return p.client.command(cmdPVV, token, pin, account, fmt.Sprint(r.PVKI)), nil
}

func (p pins) PINBlocks(ctx context.Context, requests []PINBlockRequest) []PINResult {
	return p.exchange(ctx, len(requests), func(i int) ([]byte, error) { return p.pinBlockCommand(requests[i]) })
}

func (p pins) pinBlockCommand(r PINBlockRequest) ([]byte, error) {
	account, pin, err := p.bound(r.PAN, r.PIN)
	if err != nil {
		return nil, err
	}
	if r.Format != ISOFormat0 && r.Format != ISOFormat3 {
		return nil, fmt.Errorf("%w: there is no PIN block format %q; it is %s (ISO 0) or %s (ISO 3)", hsm.ErrRequest, r.Format, ISOFormat0, ISOFormat3)
	}
	token, err := p.client.token(r.Key, ZPK)
	if err != nil {
		return nil, err
	}
	return p.client.command(cmdPINBlock, token, string(r.Format), account, pin), nil
}

func (p pins) RebindPINs(ctx context.Context, requests []RebindRequest) []PINResult {
	return p.exchange(ctx, len(requests), func(i int) ([]byte, error) { return p.rebindCommand(requests[i]) })
}

func (p pins) rebindCommand(r RebindRequest) ([]byte, error) {
	old, pin, err := p.bound(r.Old, r.PIN)
	if err != nil {
		return nil, err
	}
	account, err := accountOf(r.New)
	if err != nil {
		return nil, err
	}
	return p.client.command(cmdRebindPIN, pin, old, account), nil
}

func (p pins) exchange(ctx context.Context, n int, compose func(i int) ([]byte, error)) []PINResult {
	results := make([]PINResult, n)
	p.client.exchange(ctx, n, compose, func(i int, r reply, err error) {
		if results[i].Err = err; err == nil {
			results[i].Value = iso.NewSecret(r.fields)
		}
	})
	return results
}

// bound gives the account number and the encrypted PIN of a request.
func (p pins) bound(pan iso.PAN, pin iso.Secret) (account, encrypted string, err error) {
	if account, err = accountOf(pan); err != nil {
		return "", "", err
	}
	encrypted = pin.Reveal()
	if !p.client.shape(cmdRandomPIN).fits(encrypted) {
		return "", "", fmt.Errorf("%w: the encrypted PIN has %d characters and is not one of %d under the LMK", hsm.ErrRequest, len(encrypted), p.client.settings.PINLength)
	}
	return account, encrypted, nil
}

// accountOf gives the twelve digits before the check digit, to which PINs are bound.
func accountOf(pan iso.PAN) (string, error) {
	digits := pan.Reveal()
	if len(digits) < iso.MinPANLength || len(digits) > iso.MaxPANLength || !all(digits, isDigit) {
		return "", fmt.Errorf("%w: the card number has %d characters, not %d to %d digits", hsm.ErrRequest, len(digits), iso.MinPANLength, iso.MaxPANLength)
	}
	return digits[len(digits)-13 : len(digits)-1], nil
}
