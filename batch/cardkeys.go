package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/batch/hsm/payshield"
	"reemboss/batch/hsm/pkcs11"
	"reemboss/formats/iso"
)

// This file brings the card verification keys together. A key has one place,
// the backend that the configuration names, and there is no way from one to
// another. Keys in software are proven when a workspace is opened. Tokens and
// modules are opened when a run begins, before it does anything, and stay open
// until the night is closed; a command that makes no card needs none of them.

// keysIn are the card keys of one backend.
func keysIn(cfg *config.Config, backend string) map[string]config.CardKey {
	keys := map[string]config.CardKey{}
	for name, k := range cfg.CardKeys {
		if k.Backend == backend {
			keys[name] = k
		}
	}
	return keys
}

// softwareKeys proves the keys of backend software; without any there is nothing to refuse.
func (n *Night) softwareKeys() (err error) {
	keys := keysIn(n.Config, config.SoftwareKeys)
	if len(keys) == 0 {
		return nil
	}
	n.software, err = hsm.NewSoftware(n.keyset, keys, n.Config.Environment, n.Config.AllowSoftwareKeys)
	if err != nil {
		return &SetupError{err}
	}
	return nil
}

// openCardKeys opens every place that card keys are in, once. What is wrong with
// one of them is a [SetupError] and no card is made.
func (n *Night) openCardKeys(ctx context.Context) error {
	if n.cardKeys != nil {
		return nil
	}
	var places []hsm.Place
	if n.software != nil {
		places = append(places, hsm.Place{Name: config.SoftwareKeys, Keys: named(keysIn(n.Config, config.SoftwareKeys)), Backend: n.software, Verifier: n.keyset})
	}
	for _, h := range hardware {
		keys := keysIn(n.Config, h.backend)
		if len(keys) == 0 && !n.pinsIn(h.backend) {
			continue
		}
		opened, err := h.open(ctx, n, keys)
		if err == nil && n.pinsIn(h.backend) {
			err = n.openPINs(opened)
		}
		if err != nil {
			_ = n.closeCardKeys()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return setup("card keys of backend %s: %w", h.backend, err)
		}
		if len(keys) == 0 {
			continue // PINs only
		}
		n.opened = append(n.opened, opened)
		places = append(places, hsm.Place{Name: h.backend, Keys: named(keys), Backend: opened, Verifier: opened})
	}
	route, err := hsm.NewRoute(places...)
	if err != nil {
		_ = n.closeCardKeys()
		return &SetupError{err}
	}
	n.cardKeys = route
	return nil
}

// closeCardKeys gives tokens and modules back.
func (n *Night) closeCardKeys() error {
	var errs []error
	for _, o := range n.opened {
		errs = append(errs, o.Close())
	}
	if n.pinModules != nil {
		errs = append(errs, n.pinModules.Close()) // once more, where they hold card keys too
	}
	n.opened, n.cardKeys, n.pinModules, n.pins = nil, nil, nil, nil
	return errors.Join(errs...)
}

func named(keys map[string]config.CardKey) []string {
	names := make([]string, 0, len(keys))
	for name := range keys {
		names = append(names, name)
	}
	return names
}

// openKeys is a token or a client of modules: what computes verifies too, in the hardware, by its own second way.
type openKeys interface {
	hsm.Backend
	hsm.Verifier
	io.Closer
}

// hardware are the backends whose keys are not with us.
var hardware = []struct {
	backend string
	open    func(ctx context.Context, n *Night, keys map[string]config.CardKey) (openKeys, error)
	at      func(err error) string // the setting that an error of open concerns
}{
	{config.PKCS11Keys, openToken, tokenSetting},
	{config.PayShieldKeys, openModules, modulesSetting},
}

func openToken(ctx context.Context, n *Night, keys map[string]config.CardKey) (openKeys, error) {
	pin, err := hsm.LoadText(n.Config.PKCS11.PIN, n.Dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", pkcs11.ErrPIN, err)
	}
	defer clear(pin)
	token, err := pkcs11.Open(ctx, pkcs11.Config{Settings: n.Config.PKCS11, PIN: pin, Environment: n.Config.Environment}, keys)
	if err != nil {
		return nil, err
	}
	return token, nil
}

func tokenSetting(err error) string {
	switch {
	case errors.Is(err, pkcs11.ErrPIN):
		return "pkcs11.pin"
	case errors.Is(err, pkcs11.ErrNotBuilt), errors.Is(err, pkcs11.ErrNoKey), errors.Is(err, pkcs11.ErrRights), errors.Is(err, hsm.ErrKCV):
		return "card_keys"
	}
	return "pkcs11"
}

// errTLS is wrapped by what is wrong with the files of payshield.tls.
var errTLS = errors.New("TLS to the host security modules")

func openModules(ctx context.Context, n *Night, keys map[string]config.CardKey) (openKeys, error) {
	settings, err := n.modules(keys)
	if err != nil {
		return nil, err
	}
	client, err := payshield.Open(ctx, settings)
	if err != nil {
		return nil, err
	}
	return client, nil
}

func modulesSetting(err error) string {
	switch {
	case errors.Is(err, errTLS):
		return "payshield.tls"
	case errors.Is(err, payshield.ErrLMK):
		return "payshield.lmk_check"
	case errors.Is(err, hsm.ErrKCV):
		return "card_keys"
	case errors.Is(err, payshield.ErrPINKey):
		return "pins"
	case errors.Is(err, hsm.ErrSelfTest):
		return "payshield.test_key"
	case errors.Is(err, payshield.ErrTransport):
		return "payshield.addresses"
	}
	return "payshield"
}

// modules are the client's settings as the configuration has them.
func (n *Night) modules(keys map[string]config.CardKey) (payshield.Config, error) {
	p := n.Config.PayShield
	s := payshield.Config{Addresses: p.Addresses, HeaderLength: p.HeaderLength, LMK: p.LMK, LMKCheck: p.LMKCheck, TestKey: p.TestKey,
		Connections: p.Connections, InFlight: p.InFlight, Timeout: p.Timeout, ConnectTimeout: p.ConnectTimeout, Retries: p.Retries, RetryPause: p.RetryPause,
		Keys: map[string]payshield.Key{}, Notice: func(sentence string) { n.Log.Warn().Msg(sentence) }}
	if p.Retries == 0 {
		s.Retries = -1 // its zero is the default, ours is none
	}
	for name, k := range keys {
		s.Keys[name] = payshield.Key{Token: iso.NewSecret(k.Token.Reveal()), KCV: k.KCV, Use: payshield.CVK}
	}
	n.pinSettings(&s)
	if p.TLS.CAFile == "" {
		return s, nil
	}
	s.TLS = &payshield.TLS{ServerName: p.TLS.ServerName}
	var err error
	if s.TLS.CA, err = os.ReadFile(n.Resolve(p.TLS.CAFile)); err != nil {
		return s, fmt.Errorf("%w: authority: %w", errTLS, err)
	}
	if p.TLS.CertificateFile == "" {
		return s, nil
	}
	if s.TLS.Certificate, err = os.ReadFile(n.Resolve(p.TLS.CertificateFile)); err != nil {
		return s, fmt.Errorf("%w: our certificate: %w", errTLS, err)
	}
	if s.TLS.PrivateKey, err = hsm.LoadText(config.SecretRef{File: p.TLS.KeyFile}, n.Dir); err != nil {
		return s, fmt.Errorf("%w: private key: %w", errTLS, err)
	}
	return s, nil
}
