package batch

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"golang.org/x/crypto/ssh"

	"reemboss/batch/durable"
	"reemboss/batch/hsm"
	"reemboss/bureau"
)

// What a person does with the keys of a workspace. Each act holds the
// workspace's lock and is an entry of the audit log, written before the act:
// one that a crash cut short is there, and doing it again is harmless. An act
// that failed has a second entry that says so. config.yaml is never edited:
// what must stand there is given back, for a person to write.

// OpenKeyring opens a workspace for a change of its keys: with lock, keyset and
// ledger, and without proving what may be about to change (card keys, PAN
// ranges, our PGP key). Errors as [Open].
func OpenKeyring(ctx context.Context, dir string, o Options) (*Night, error) {
	o.Lock = true
	n, err := newNight(dir, o)
	if err != nil {
		return nil, err
	}
	if err := n.allowed(o.privilege()); err != nil {
		return nil, err
	}
	if n.unlock, err = n.Workspace.lock(); err != nil {
		return nil, err
	}
	if n.keyset, err = n.openKeyset(ctx); err != nil {
		n.unlock()
		return nil, &SetupError{err}
	}
	if err := n.openLedger(ctx, true); err != nil {
		if n.Ledger != nil {
			_ = n.Ledger.Close()
		}
		n.leaveDoor()
		n.unlock()
		return nil, err
	}
	return n, nil
}

// recorded does what a person asked for, with its entries of the audit log.
func (n *Night) recorded(ctx context.Context, what, subject, detail string, act func() error) error {
	subject, detail = n.wrote(ctx, subject), n.wrote(ctx, detail) // they hold words of the command line
	n.at("keys/begin")
	if err := n.Ledger.Append(ctx, n.entry(what, subject, detail)); err != nil {
		return err
	}
	n.at("keys/recorded")
	if err := act(); err != nil {
		failed := n.entry(what+"_failed", subject, n.wrote(ctx, err.Error()))
		return errors.Join(err, n.Ledger.Append(context.WithoutCancel(ctx), failed))
	}
	n.at("keys/done")
	return nil
}

// asSetup makes what is wrong with a key the operator's error.
func asSetup(err error) error {
	for _, theirs := range []error{hsm.ErrKeyTaken, hsm.ErrParity, hsm.ErrKeyLength, hsm.ErrNoKey, hsm.ErrPrimary, hsm.ErrFixed, hsm.ErrFormer, fs.ErrExist} {
		if errors.Is(err, theirs) {
			return &SetupError{err}
		}
	}
	return err
}

// ExportPGP gives the armoured public half of our PGP key.
func ExportPGP(dir string, o Options) ([]byte, error) {
	n, err := newNight(dir, o)
	if err != nil {
		return nil, err
	}
	passphrase, err := n.passphrase()
	if err != nil {
		return nil, err
	}
	key, err := bureau.ReadPrivateKey(n.Resolve(n.Config.Keys.SigningKey), passphrase, n.Config.Keys.Fingerprint, n.Now())
	if err != nil {
		return nil, &SetupError{err}
	}
	return key.Armored(false)
}

// ExportSSH gives the lines of authorized_keys for our SSH keys, each with the recipients that it is for.
func ExportSSH(dir string, o Options) ([]byte, error) {
	n, err := newNight(dir, o)
	if err != nil {
		return nil, err
	}
	var lines []byte
	for _, l := range n.logins() {
		key, err := bureau.ReadSSHPublicKey(n.Resolve(l.file))
		if err != nil {
			return nil, &SetupError{err}
		}
		line := strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(key)), "\n")
		lines = append(lines, line+" reemboss for "+strings.Join(l.recipients, " ")+"\n"...)
	}
	if len(lines) == 0 {
		return nil, setup("the configuration names no SSH key file (delivery.key_file): an agent has the key, and ssh-add -L prints its public half")
	}
	return lines, nil
}

// WritePublic makes a file that everybody may read, whole or not at all; an existing one is an error (fs.ErrExist).
func WritePublic(path string, content []byte) error {
	err := durable.Files{}.CreateMode(path, 0o644, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	return asSetup(err)
}
