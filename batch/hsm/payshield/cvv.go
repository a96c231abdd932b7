package payshield

import (
	"context"
	"errors"
	"fmt"

	"reemboss/batch/hsm"
	"reemboss/formats/iso"
)

const (
	minPANLength = 12 // as far as the algorithm goes; cards have 13
	cvvLength    = 3
)

// shape is what stands behind error code 00 in the reply to a command. Anything
// else is no reply.
type shape struct {
	length int
	is     func(byte) bool
}

func (s shape) fits(fields string) bool {
	if s.length == aesPINLength && len(fields) == s.length && fields[0] == aesPINScheme {
		return all(fields[1:], isHex)
	}
	return len(fields) == s.length && all(fields, s.is)
}

func (c *Client) shape(command string) shape {
	switch command {
	case cmdCheckValue:
		return shape{6, isHex}
	case cmdCVV:
		return shape{cvvLength, isDigit}
	case cmdVerifyCVV:
		return shape{0, isDigit}
	case cmdPVV:
		return shape{4, isDigit}
	case cmdPINBlock:
		return shape{16, isHex}
	case cmdRandomPIN, cmdRebindPIN:
		if c.settings.PINLength == aesPINLength {
			return shape{aesPINLength, func(byte) bool { return false }}
		}
		return shape{c.settings.PINLength, isHex}
	}
	return shape{-1, isDigit} // no reply fits a command that is not ours
}

// CVVs implements [hsm.Backend] with command CW.
func (c *Client) CVVs(ctx context.Context, requests []hsm.CVVRequest) []hsm.CVVResult {
	results := make([]hsm.CVVResult, len(requests))
	c.exchange(ctx, len(requests), func(i int) ([]byte, error) { return c.cvvCommand(requests[i]) }, func(i int, r reply, err error) {
		if results[i].Err = err; err == nil {
			results[i].CVV = iso.NewSecret(r.fields)
		}
	})
	return results
}

// VerifyCVVs implements [hsm.Verifier] with command CY: the module computes the
// values again and compares. It is meant for a sample; every value costs as much as making it.
func (c *Client) VerifyCVVs(ctx context.Context, requests []hsm.CVVRequest, values []iso.Secret) []error {
	errs := make([]error, len(requests))
	c.exchange(ctx, len(requests), func(i int) ([]byte, error) { return c.verifyCommand(requests[i], values[i]) }, func(i int, _ reply, err error) {
		var refused *CodeError
		if errors.As(err, &refused) && refused.Command == cmdVerifyCVV && refused.Code == codeWrong {
			err = wrongCVV(requests[i])
		}
		errs[i] = err
	})
	return errs
}

func (c *Client) cvvCommand(r hsm.CVVRequest) ([]byte, error) {
	token, err := c.checkCVV(r)
	if err != nil {
		return nil, err
	}
	return c.command(cmdCVV, token, r.PAN.Reveal(), ";", r.Expiry, r.ServiceCode), nil
}

func (c *Client) verifyCommand(r hsm.CVVRequest, value iso.Secret) ([]byte, error) {
	token, err := c.checkCVV(r)
	if err != nil {
		return nil, err
	}
	if !c.shape(cmdCVV).fits(value.Reveal()) {
		return nil, wrongCVV(r)
	}
	return c.command(cmdVerifyCVV, token, value.Reveal(), r.PAN.Reveal(), ";", r.Expiry, r.ServiceCode), nil
}

func wrongCVV(r hsm.CVVRequest) error {
	return fmt.Errorf("%w (key %s, service code fed %s)", hsm.ErrCVVWrong, r.Key, r.ServiceCode)
}

// checkCVV gives the key's token, or says what is wrong with a request, naming nothing that is secret.
func (c *Client) checkCVV(r hsm.CVVRequest) (token string, err error) {
	pan := r.PAN.Reveal()
	switch {
	case len(pan) < minPANLength || len(pan) > iso.MaxPANLength || !all(pan, isDigit):
		return "", fmt.Errorf("%w: the card number has %d characters, not %d to %d digits", hsm.ErrRequest, len(pan), minPANLength, iso.MaxPANLength)
	case len(r.Expiry) != 4 || !all(r.Expiry, isDigit):
		return "", fmt.Errorf("%w: the expiry is fed as four digits", hsm.ErrRequest)
	case len(r.ServiceCode) != 3 || !all(r.ServiceCode, isDigit):
		return "", fmt.Errorf("%w: the service code is fed as three digits", hsm.ErrRequest)
	}
	return c.token(r.Key, CVK)
}

// token gives the token of a key that is for the use.
func (c *Client) token(name string, use Use) (string, error) {
	key, ok := c.settings.Keys[name]
	if !ok || key.Use != use {
		return "", fmt.Errorf("%w: there is no %s %q", hsm.ErrRequest, use, name)
	}
	return key.Token.Reveal(), nil
}
