package batch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"reemboss/batch/config"
)

// Who may read and write what, looked at before anything else is done.
//
// A secret that another account of this machine may read is no secret, and what
// another may write decides for us: both stop every command, at once and with
// all that is wrong. What is not there is no matter of this file; who needs it says so.
//
// Ours means: of the account that we run as, or of root, who may do everything
// anyway. Root itself reads any workspace; to change one of another account it
// must become that account, or the next run of that account finds files that it may not open.

// errRoot: production runs under an account of its own.
var errRoot = errors.New("in environment: production nothing that changes the workspace runs as root; start it as the account that owns the workspace (cron: the user's name before the command)")

// privilege is who this process is to the files of the workspace.
type privilege struct {
	uid    int // effective
	change bool
	access func(path string, how uint32) error
}

// allowed says whether a command may begin: not as root where production
// changes, and with no right or owner wrong. All that is wrong is told at once, a line each.
func (n *Night) allowed(who privilege) error {
	if who.change && who.uid == 0 && n.Config.Environment == config.Production {
		return &SetupError{errRoot}
	}
	var errs []error
	for _, m := range n.rights(who) {
		errs = append(errs, errors.New(m.Message))
	}
	if len(errs) > 0 {
		return &SetupError{errors.Join(errs...)}
	}
	return n.reach(who)
}

// rights are all files and folders whose rights or owner are wrong, each with the
// setting that names it ("" for a place that every workspace has).
func (n *Night) rights(who privilege) []config.Mistake {
	var found []config.Mistake
	note := func(at string, err error) {
		if err != nil {
			found = append(found, config.Mistake{Path: at, Message: err.Error()})
		}
	}
	for _, p := range n.guarded() {
		note("", n.judge(who, p.path, p.may))
	}
	for _, s := range n.secretFiles() {
		note(s.at, n.judge(who, n.Resolve(s.file), onlyOurs))
	}
	return found
}

// place is a file or folder of the workspace with what must hold of it.
type place struct {
	path string
	may  func(name string, info fs.FileInfo) error
}

// guarded are the places that every workspace has. What others may drop files
// into (inbox/, returns/) a group may write, everyone never: whoever may write
// there may ask for cards. What is ours alone nobody else may write.
func (n *Night) guarded() []place {
	list := []place{{n.Dir, notWritten}, {n.Workspace.Config(), notWritten}, {n.Path("keys"), onlyOurs}, {n.Keyset(), onlyOurs},
		{n.Path("state"), notWritten}, {n.Intake(), notWritten}, {n.LedgerFile(), onlyOurs}, {n.MarksFile(), notWritten},
		{n.Path("outbox"), notWritten}, {n.Path("done"), notByAll}, {n.Path("refused"), notByAll}, {n.Path("reports"), notByAll},
		{n.Inbox(), notByAll}, {n.InboxCards(), notByAll}, {n.Path("returns"), notByAll}}
	for _, name := range n.recipients() {
		list = append(list, place{n.Outbox(name), notWritten}, place{n.Path("returns", name), notByAll})
	}
	return list
}

// judge holds one place against its rule; one that is not there is no matter here.
func (n *Night) judge(who privilege, path string, may func(string, fs.FileInfo) error) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the rights of %s cannot be looked at: %w", n.called(path), plain(err))
	}
	if err := may(n.called(path), info); err != nil {
		return err
	}
	if owner, known := userOf(info); known && owner != 0 && owner != who.uid && (who.uid != 0 || who.change) {
		return fmt.Errorf("%s belongs to uid %d and this runs as uid %d; run it as the account that owns the workspace, or chown the file to that account",
			n.called(path), owner, who.uid)
	}
	return nil
}

// called is a path as a person finds it: relative within the workspace.
func (n *Night) called(path string) string {
	if path == n.Dir {
		return "the workspace " + n.Dir
	}
	if rel := n.Relative(path); rel != ".." && !strings.HasPrefix(rel, "../") {
		return rel
	}
	return path
}

// onlyOurs: nobody but the owner may read, write or enter it.
func onlyOurs(name string, info fs.FileInfo) error {
	mode := info.Mode().Perm()
	switch {
	case mode&0o077 == 0:
		return nil
	case info.IsDir():
		return fmt.Errorf("%s has mode %04o and others may enter it; chmod 700 it, and change the keys in it that others could have read", name, mode)
	}
	return fmt.Errorf("%s has mode %04o and may be read by others than its owner; chmod 600 it and, where others could have read it, change what is in it", name, mode)
}

// notWritten: nobody but the owner may write it.
func notWritten(name string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%s has mode %04o and may be written by others than its owner; chmod go-w it and look whether its content is still yours", name, mode)
	}
	return nil
}

// notByAll: its owner and a group may write it.
func notByAll(name string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o002 != 0 {
		return fmt.Errorf("%s has mode %04o and every account of this machine may write it; chmod o-w it, and give those who drop files there a group", name, mode)
	}
	return nil
}

// secretFile is a file that a setting names and only we may read.
type secretFile struct{ at, file string }

// secretFiles are all of them, by the path of the setting; a file that several settings name stands once.
func (n *Night) secretFiles() []secretFile {
	c := n.Config
	list := []secretFile{
		{"keys.signing_key", c.Keys.SigningKey}, {"keys.keyset_kek", c.Keys.Keyset.File}, {"keys.passphrase", c.Keys.Passphrase.File},
		{"pkcs11.pin", c.PKCS11.PIN.File}, {"payshield.tls.key_file", c.PayShield.TLS.KeyFile},
		{"notify.mail.password", c.Notify.Mail.Password.File}, {"events.webhook.secret", c.Events.Webhook.Secret.File},
		{"card_system.delivery.key_file", c.CardSystem.Delivery.KeyFile}, {"pins.delivery.key_file", c.PINs.Delivery.KeyFile},
	}
	for i, w := range c.Notify.Webhooks {
		list = append(list, secretFile{fmt.Sprintf("notify.webhooks[%d].secret", i), w.Secret.File})
	}
	for name, b := range c.Bureaus {
		list = append(list, secretFile{"bureaus." + name + ".delivery.key_file", b.Delivery.KeyFile})
	}
	for i, f := range c.Keys.Former {
		list = append(list, secretFile{fmt.Sprintf("keys.former[%d].key_file", i), f.KeyFile},
			secretFile{fmt.Sprintf("keys.former[%d].passphrase", i), f.Passphrase.File})
	}
	slices.SortFunc(list, func(a, b secretFile) int { return strings.Compare(a.at, b.at) })
	seen := map[string]bool{"": true}
	return slices.DeleteFunc(list, func(s secretFile) bool {
		path := ""
		if s.file != "" {
			path = filepath.Clean(n.Resolve(s.file))
		}
		again := seen[path]
		seen[path] = true
		return again
	})
}
