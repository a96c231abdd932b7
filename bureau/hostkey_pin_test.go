package bureau

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func hostKeyOf(t *testing.T) (key ssh.PublicKey, text string) {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err == nil {
		key, err = ssh.NewPublicKey(public)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// Whatever known_hosts said of the server, afterwards it pins the one key and nothing else for it, and every other line is as it was.
func TestPinningAHostKeyReplacesOnlyItsOwnLines(t *testing.T) {
	key, line := hostKeyOf(t)
	_, old := hostKeyOf(t)
	const host = "[sftp.example.com]:2222"
	s := Settings{Host: "sftp.example.com", Port: 2222}
	for _, c := range []struct{ name, before, kept string }{
		{"no file", "", ""},
		{"another host", "other.example.com " + old + "\n", "other.example.com " + old + "\n"},
		{"the host's old key", host + " " + old + "\n", ""},
		{"the host twice", host + " " + old + "\n# ours\n" + host + " " + old + " comment\n", "# ours\n"},
		{"with another host", "other.example.com," + host + " " + old + "\n", "other.example.com " + old + "\n"},
		{"hashed", knownhosts.HashHostname(host) + " " + old + "\n", ""},
		{"another host hashed", knownhosts.HashHostname("x.example.com") + " " + old + "\n", "x"},
		{"without a line end", "other.example.com " + old, "other.example.com " + old + "\n"},
		{"the same name at port 22", "sftp.example.com " + old + "\n", "sftp.example.com " + old + "\n"},
		{"an authority", "@cert-authority *.example.com " + old + "\n", "@cert-authority *.example.com " + old + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			after, err := PinHostKey([]byte(c.before), s, key)
			if err != nil {
				t.Fatal(err)
			}
			want := c.kept + host + " " + line + "\n"
			if c.kept == "x" {
				want = c.before + host + " " + line + "\n"
			}
			if string(after) != want {
				t.Errorf("got\n%swant\n%s", after, want)
			}
			s.KnownHosts = filepath.Join(t.TempDir(), "known_hosts")
			if err := os.WriteFile(s.KnownHosts, after, 0o600); err != nil {
				t.Fatal(err)
			}
			pinned, err := PinnedHostKeys(s)
			if err != nil || len(pinned) != 1 || string(pinned[0].Marshal()) != string(key.Marshal()) {
				t.Errorf("pinned: %d keys, %v", len(pinned), err)
			}
		})
	}
	for name, before := range map[string]string{
		"a pattern that covers other hosts": "[*.example.com]:2222 " + old + "\n",
		"a key that is revoked":             "@revoked * " + line + "\n",
	} {
		if _, err := PinHostKey([]byte(before), s, key); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
