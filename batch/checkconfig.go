package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/batch/issue"
	"reemboss/batch/rules"
	"reemboss/bureau"
	"reemboss/formats/layout"
)

// CheckConfig looks for every mistake of a workspace's configuration: first
// its form and meaning ([config.Load]), then all that it names and that lies
// beside it: keys and their check values, pinned PGP keys, SSH keys, layouts.
// The mistakes come back together, as [config.Mistakes] in a [SetupError]. It
// touches nothing, not even the ledger. Tokens and modules that hold card keys are
// asked as at the beginning of a run, if the form of the configuration is right.
//
// A run is less strict: a bureau whose key is missing waits, the others go on.
func CheckConfig(ctx context.Context, dir string, o Options) error {
	n, err := newNight(dir, o)
	var form config.Mistakes
	if n != nil && errors.As(err, &form) {
		return n.checkKeys(ctx, form)
	}
	if err != nil {
		return err
	}
	c := &configCheck{n: n, asks: true}
	c.ownKeys(ctx)
	c.hardware(ctx)
	c.rules()
	for name, b := range n.Config.Bureaus {
		c.layout("bureaus."+name, name, b)
		c.recipient("bureaus."+name, b.Recipient)
		c.signer("bureaus."+name, b.Returns)
	}
	c.recipient("card_system", n.Config.CardSystem)
	if n.Config.PINs.Made() {
		c.recipient("pins", n.Config.PINs.Recipient)
	}
	c.secret("notify.mail.password", n.Config.Notify.Mail.Password)
	for i, w := range n.Config.Notify.Webhooks {
		c.secret(fmt.Sprintf("notify.webhooks[%d].secret", i), w.Secret)
	}
	c.secret("events.webhook.secret", n.Config.Events.Webhook.Secret)
	c.rights(o.privilege())
	if len(c.found) == 0 { // what only all of it together shows
		n.tellPINsDue()
		if err := n.openKeys(ctx); err != nil {
			return err
		}
		if err := n.openRules(); err != nil {
			return err
		}
		return n.openNotifier()
	}
	mistakes, err := config.Locate(n.Workspace.Config(), c.found)
	if err != nil {
		return &SetupError{err}
	}
	return &SetupError{mistakes}
}

// checkKeys looks at the keys that a configuration names which has other
// mistakes, as far as they do not stand where the keys are named.
func (n *Night) checkKeys(ctx context.Context, form config.Mistakes) error {
	c := &configCheck{n: n}
	c.ownKeys(ctx)
	for name, b := range n.Config.Bureaus {
		c.recipient("bureaus."+name, b.Recipient)
	}
	c.recipient("card_system", n.Config.CardSystem)
	if n.Config.PINs.Made() {
		c.recipient("pins", n.Config.PINs.Recipient)
	}
	found := slices.DeleteFunc(c.found, func(m config.Mistake) bool {
		section := m.Path[:max(strings.LastIndexByte(m.Path, '.'), 0)]
		return slices.ContainsFunc(form, func(f config.Mistake) bool {
			return f.Path == m.Path || f.Path == section || strings.HasPrefix(f.Path, section+".fingerprint")
		})
	})
	located, err := config.Locate(n.Workspace.Config(), found)
	if err != nil {
		return &SetupError{err}
	}
	for _, m := range located {
		if !slices.Contains(form, m) {
			form = append(form, m)
		}
	}
	slices.SortStableFunc(form, func(a, b config.Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &SetupError{form}
}

// configCheck gathers what is wrong, by the path of the value that says it.
type configCheck struct {
	n     *Night
	asks  bool // tokens, too
	found []config.Mistake
}

func (c *configCheck) wrong(path string, err error) {
	if err != nil {
		c.found = append(c.found, config.Mistake{Path: path, Message: err.Error()})
	}
}

// keyset opens the keyset. Where a token has its key, the token is asked only if the form is right.
func (c *configCheck) keyset(ctx context.Context) *hsm.Keyset {
	if c.n.Config.Keys.Keyset.TokenKey != "" && !c.asks {
		return nil
	}
	kek, err := c.n.loadKEK(ctx)
	if err != nil {
		c.wrong(kekSetting(err), err)
		return nil
	}
	keyset, err := hsm.OpenKeyset(c.n.Keyset(), kek)
	c.wrong("keys.keyset_kek", err)
	if err != nil {
		return nil
	}
	return keyset
}

// ownKeys: the keyset with its allocation and verification keys, and our PGP key.
func (c *configCheck) ownKeys(ctx context.Context) {
	cfg := c.n.Config
	if keyset := c.keyset(ctx); keyset != nil {
		for name, r := range cfg.Ranges {
			_, err := keyset.Allocation(r.Key)
			c.wrong("ranges."+name+".key", err)
		}
		for name, key := range keysIn(cfg, config.SoftwareKeys) {
			_, err := hsm.NewSoftware(keyset, map[string]config.CardKey{name: key}, cfg.Environment, cfg.AllowSoftwareKeys)
			c.wrong("card_keys."+name+".kcv", err)
		}
	}
	passphrase, err := c.n.passphrase()
	if err != nil {
		c.wrong("keys.passphrase", err)
		return
	}
	_, err = bureau.ReadPrivateKey(c.n.Resolve(cfg.Keys.SigningKey), passphrase, cfg.Keys.Fingerprint, c.n.Now())
	c.wrong("keys.signing_key", err)
	for i, f := range cfg.Keys.Former {
		_, err := c.n.formerKey(f)
		c.wrong(fmt.Sprintf("keys.former[%d].key_file", i), err)
	}
}

// rights: files that others may read or write, where nothing said so before.
func (c *configCheck) rights(who privilege) {
	for _, m := range c.n.rights(who) {
		told := func(f config.Mistake) bool { return m.Path != "" && f.Path == m.Path }
		if !slices.ContainsFunc(c.found, told) {
			c.found = append(c.found, m)
		}
	}
}

// hardware: tokens and modules answer, and each key in them has its check value.
func (c *configCheck) hardware(ctx context.Context) {
	for _, h := range hardware {
		keys := keysIn(c.n.Config, h.backend)
		if len(keys) == 0 && !c.n.pinsIn(h.backend) {
			continue
		}
		opened, err := h.open(ctx, c.n, keys)
		if err != nil { // all that is wrong, in one line
			c.wrong(h.at(err), errors.New(strings.ReplaceAll(err.Error(), "\n", "; ")))
			continue
		}
		c.wrong(h.backend, opened.Close())
	}
}

func (c *configCheck) rules() {
	maker, err := issue.NewMaker(c.n.Config)
	if err == nil {
		_, err = rules.New(c.n.Config, maker.CheckName)
	}
	c.wrong("products", err)
}

func (c *configCheck) layout(at, name string, b config.Bureau) {
	lay, err := c.n.loadLayout(b.Layout)
	if err != nil {
		c.wrong(at+".layout", err)
		return
	}
	_, err = layout.FileName(b.FileName, layout.NameData{Client: b.Client, Bureau: name, Sequence: 1, Time: c.n.Now(), Ext: lay.Extension()})
	c.wrong(at+".file_name", err)
}

// recipient: the pinned PGP key, and what an SFTP session stands on.
func (c *configCheck) recipient(at string, r config.Recipient) {
	_, err := bureau.ReadPublicKey(c.n.Resolve(r.PGP.KeyFile), r.PGP.Fingerprint, c.n.Now())
	c.wrong(at+".pgp.key_file", err)
	_, err = c.n.escrowKey(r)
	c.wrong(at+".pgp.escrow.key_file", err)
	if r.Delivery.Method == config.Folder {
		return
	}
	if r.Delivery.KeyFile != "" {
		_, err := bureau.ReadSSHKey(c.n.Resolve(r.Delivery.KeyFile))
		c.wrong(at+".delivery.key_file", err)
	}
	if _, err := os.Stat(c.n.Resolve(r.Delivery.KnownHosts)); err != nil {
		c.wrong(at+".delivery.known_hosts", fmt.Errorf("%s cannot be read: %w; put the bureau's host key there", r.Delivery.KnownHosts, plain(err)))
	}
}

// secret: what a reference names is there.
func (c *configCheck) secret(at string, ref config.SecretRef) {
	if ref == (config.SecretRef{}) {
		return
	}
	_, err := hsm.LoadText(ref, c.n.Dir)
	c.wrong(at, err)
}

// signer: the key that return files are signed with, where it is another than the one we seal to.
func (c *configCheck) signer(at string, r config.Returns) {
	if r.Signer.KeyFile == "" {
		return
	}
	_, err := bureau.ReadPublicKey(c.n.Resolve(r.Signer.KeyFile), r.Signer.Fingerprint, c.n.Now())
	c.wrong(at+".returns.signer.key_file", err)
}
