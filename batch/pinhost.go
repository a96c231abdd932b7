package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"reemboss/batch/config"
	"reemboss/bureau"
)

// A server is trusted by its host key, and the key by a person who compared its
// fingerprint with what the bureau told by another way than the network. So the
// fingerprint is an argument and never a yes.

// ShownHostKey is a host key of a server.
type ShownHostKey struct {
	Type        string `json:"type"`
	Fingerprint string `json:"fingerprint"`      // SHA256:…, as ssh-keygen -l prints it
	Pinned      bool   `json:"pinned,omitempty"` // known_hosts has it
	key         ssh.PublicKey
}

// HostKeys is what a bureau's server shows, beside what is pinned.
type HostKeys struct {
	Bureau     string         `json:"bureau"`
	Server     string         `json:"server"` // host:port
	KnownHosts string         `json:"known_hosts"`
	Shown      []ShownHostKey `json:"shown"`
	Pinned     []ShownHostKey `json:"pinned"`
	settings   bureau.Settings
}

// ErrHostKeyChanged: another host key is pinned, which somebody in between could be the reason for.
var ErrHostKeyChanged = errors.New("another host key is pinned for this server: somebody may be in between; ask the bureau by telephone, and only if it changed its key, say --replace")

// HostKeys asks the server of a recipient for its host keys. A simulated bureau
// is started for it; nothing is changed, and nobody logs in.
func (n *Night) HostKeys(ctx context.Context, name string) (*HostKeys, error) {
	to, err := n.recipient(name)
	if err != nil {
		return nil, setup("%w; known are %s", err, strings.Join(n.recipients(), ", "))
	}
	if to.Delivery.Method != config.SFTP {
		return nil, setup("%s gets its files in a folder (delivery.method), and no server has a key to pin", name)
	}
	settings, err := n.settings(name, to.Delivery)
	if err != nil {
		return nil, err
	}
	h := &HostKeys{Bureau: name, Server: fmt.Sprintf("%s:%d", to.Delivery.Host, to.Delivery.Port), KnownHosts: to.Delivery.KnownHosts, settings: settings}
	pinned, err := bureau.PinnedHostKeys(settings)
	if err != nil {
		return nil, &SetupError{err}
	}
	shown, err := bureau.FetchHostKeys(ctx, settings)
	if err != nil {
		return nil, err
	}
	h.Pinned, h.Shown = described(pinned, nil), described(shown, pinned)
	return h, nil
}

func described(keys, pinned []ssh.PublicKey) []ShownHostKey {
	list := []ShownHostKey{}
	for _, key := range keys {
		kind, fingerprint := bureau.DescribeSSHKey(key)
		known := slices.ContainsFunc(pinned, func(p ssh.PublicKey) bool { return string(p.Marshal()) == string(key.Marshal()) })
		list = append(list, ShownHostKey{Type: kind, Fingerprint: fingerprint, Pinned: known, key: key})
	}
	return list
}

// Settled: every key that is pinned is shown, and one is.
func (h *HostKeys) Settled() bool {
	return len(h.Pinned) > 0 && !h.changed() && slices.ContainsFunc(h.Shown, func(k ShownHostKey) bool { return k.Pinned })
}

func (h *HostKeys) changed() bool {
	return slices.ContainsFunc(h.Pinned, func(p ShownHostKey) bool {
		return !slices.ContainsFunc(h.Shown, func(k ShownHostKey) bool { return k.Fingerprint == p.Fingerprint })
	})
}

// Alarm is [ErrHostKeyChanged] when the server does not show what is pinned for it.
func (h *HostKeys) Alarm() error {
	if h.changed() {
		return ErrHostKeyChanged
	}
	return nil
}

// PinHost pins the host key that has the fingerprint, which the bureau told by
// another way, if the server shows it; where another key is pinned only with
// replace, and then that one is gone. known_hosts is replaced whole or not at all.
func (n *Night) PinHost(ctx context.Context, h *HostKeys, fingerprint string, replace bool) (ShownHostKey, error) {
	i := slices.IndexFunc(h.Shown, func(k ShownHostKey) bool { return k.Fingerprint == normalSHA256(fingerprint) })
	if i < 0 {
		return ShownHostKey{}, setup("the server %s does not show a key with the fingerprint %s: nothing was pinned. If that is what the bureau told, somebody may be in between", h.Server, printable(fingerprint))
	}
	chosen := h.Shown[i]
	if chosen.Pinned && len(h.Pinned) == 1 {
		return chosen, nil
	}
	if len(h.Pinned) > 0 && !replace {
		return ShownHostKey{}, &SetupError{ErrHostKeyChanged}
	}
	path := n.Resolve(h.settings.KnownHosts)
	known, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return ShownHostKey{}, &SetupError{err}
	}
	text, err := bureau.PinHostKey(known, h.settings, chosen.key)
	if err != nil {
		return ShownHostKey{}, &SetupError{err}
	}
	detail := chosen.Type + " " + chosen.Fingerprint
	for _, p := range h.Pinned {
		detail += ", instead of " + p.Type + " " + p.Fingerprint
	}
	err = n.recorded(ctx, "bureau.host_pinned", h.Bureau+" "+h.Server, detail, func() error {
		if err := n.replaceKnownHosts(path, text); err != nil {
			return err
		}
		now, err := bureau.PinnedHostKeys(h.settings)
		if err == nil && (len(now) != 1 || string(now[0].Marshal()) != string(chosen.key.Marshal())) {
			err = fmt.Errorf("%s was written, and does not pin the key; look at its other lines", h.KnownHosts)
		}
		return err
	})
	return chosen, err
}

// replaceKnownHosts writes the file; one that others could read stays readable, it holds no secret.
func (n *Night) replaceKnownHosts(path string, text []byte) error {
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm() &^ 0o022
	}
	return n.Files.WriteMode(path, mode, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// normalSHA256 is a fingerprint as it is printed, whatever a person copied around it.
func normalSHA256(text string) string {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	if text != "" && !strings.HasPrefix(text, "SHA256:") {
		text = "SHA256:" + text
	}
	return text
}

// ShowHostKeys is [Night.HostKeys] of a workspace in which nothing is to change.
func ShowHostKeys(ctx context.Context, dir string, o Options, name string) (*HostKeys, error) {
	n, err := newNight(dir, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, s := range n.simulators {
			_ = s.Close()
		}
	}()
	return n.HostKeys(ctx, name)
}
