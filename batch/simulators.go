package batch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"reemboss/bureau"
	"reemboss/formats/layout"
)

// NewSimulator makes the simulated bureau of the configuration, with the keys
// that `init` put into simulator/<bureau>/keys/. It reads every record against
// the layout that the configuration names. told, if any, hears of each file.
func (n *Night) NewSimulator(name string, told func(bureau.Received)) (*bureau.Simulator, error) {
	keys := func(file string) string { return filepath.Join(n.Simulator(name), "keys", file) }
	host, err := bureau.ReadSSHKey(keys("ssh_host_ed25519"))
	if err != nil {
		return nil, setup("host key of the simulated bureau %s: %w", name, err)
	}
	clients, err := authorizedKeys(keys("authorized_keys"))
	if err != nil {
		return nil, setup("known clients of the simulated bureau %s: %w", name, err)
	}
	private, err := bureau.ReadPrivateKey(keys("bureau.pgp"), nil, "", n.Now())
	if err != nil {
		return nil, &SetupError{err}
	}
	issuer, err := bureau.ReadPublicKey(keys("issuer.asc"), n.Config.Keys.Fingerprint, n.Now())
	if err != nil {
		return nil, &SetupError{err}
	}
	lay := n.layouts[name]
	d := n.Config.Bureaus[name].Delivery
	return bureau.NewSimulator(bureau.SimulatorConfig{
		Name: name, Dir: n.Simulator(name), HostKey: host, ClientKeys: clients, Key: private, Signers: []*bureau.Key{issuer},
		TempSuffix: d.TempSuffix, Told: told,
		Check: func(_ string, clear io.Reader) (any, error) {
			summary, err := lay.Read(clear, func(layout.Record) error { return nil })
			return summary, err
		},
		Log: func(format string, args ...any) { n.Log.Debug().Str("simulator", name).Msgf(format, args...) },
	})
}

// authorizedKeys reads public keys in OpenSSH's form, one a line.
func authorizedKeys(path string) ([]ssh.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var keys []ssh.PublicKey
	for len(bytes.TrimSpace(text)) > 0 {
		key, _, _, rest, err := ssh.ParseAuthorizedKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		keys, text = append(keys, key), rest
	}
	return keys, nil
}

// DescribeReceived tells in one line what a simulated bureau found in a file.
func DescribeReceived(name string, r bureau.Received) string {
	if r.Err != nil {
		return fmt.Sprintf("%s cannot use %s: %v", name, r.Name, r.Err)
	}
	if s, ok := r.Summary.(layout.Summary); ok {
		line := fmt.Sprintf("%s received %s: number %d, %d cards", name, r.Name, s.Sequence, s.Records)
		if s.Products > 0 {
			line += fmt.Sprintf(" of %d products", s.Products)
		}
		return line + fmt.Sprintf(", every record as %s wants it, signed by %s", s.Title, last(r.SignedBy, 16))
	}
	text, _ := json.Marshal(r.Summary) //nolint:errcheck // only shown
	return fmt.Sprintf("%s received %s: %s", name, r.Name, text)
}

func last(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[len(s)-n:]
}
