package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reemboss/batch"
	"reemboss/batch/ledger"
)

// The host keys of OpenSSH's server are those that ssh-keygen prints; one is pinned by its fingerprint alone, and
// another one in its place is an alarm until a person says --replace.
func TestAHostKeyOfOpenSSHIsPinned(t *testing.T) {
	needReal(t, "/usr/sbin/sshd", "/usr/lib/openssh/sftp-server", "ssh-keygen")
	w := newWorkspace(t)
	server, other := startRealServer(t, w.read("keys/ssh_ed25519.pub")), startRealServer(t, w.read("keys/ssh_ed25519.pub"))
	w.configureBureau("alpha", "simulator: true", "simulator: false")
	w.configureBureau("alpha", "host: alpha.simulator", "host: 127.0.0.1")
	w.configureBureau("alpha", "port: 22", fmt.Sprintf("port: %d", server.port))
	known := string(w.read("keys/known_hosts"))
	fingerprint := keygenPrints(t, server.pinned)

	r := w.do(exitPerson, "bureau", "pin-host", "alpha")
	if want := "reemboss bureau pin-host alpha --fingerprint " + fingerprint + "\n"; !bytes.Contains(r.stdout, []byte(want)) {
		t.Fatalf("no %q in\n%s", want, r.stdout)
	}
	if string(w.read("keys/known_hosts")) != known {
		t.Error("looking changed known_hosts")
	}
	w.do(exitUsage, "bureau", "pin-host", "alpha", "--fingerprint", keygenPrints(t, other.pinned))
	w.do(exitComplete, "bureau", "pin-host", "alpha", "--fingerprint", fingerprint)
	if got := string(w.read("keys/known_hosts")); got != known+server.pinned+"\n" {
		t.Errorf("known_hosts:\n%s", got)
	}
	w.do(exitComplete, "bureau", "pin-host", "alpha")
	w.do(exitComplete, "bureau", "pin-host", "alpha", "--fingerprint", fingerprint) // again: nothing to do

	// The same address with another key.
	hosts := strings.Replace(other.pinned, fmt.Sprintf(":%d", other.port), fmt.Sprintf(":%d", server.port), 1)
	w.write("keys/known_hosts", []byte(known+hosts+"\n"))
	if r := w.do(exitPerson, "bureau", "pin-host", "alpha"); !bytes.Contains(r.stdout, []byte("ALARM")) || !bytes.Contains(r.stdout, []byte(fingerprint+" --replace")) {
		t.Errorf("a changed key:\n%s", r.stdout)
	}
	if r := w.do(exitUsage, "bureau", "pin-host", "alpha", "--fingerprint", fingerprint); !bytes.Contains(r.stderr, []byte("somebody may be in between")) {
		t.Errorf("a changed key is pinned without --replace:\n%s", r.stderr)
	}
	w.do(exitComplete, "bureau", "pin-host", "alpha", "--fingerprint", fingerprint, "--replace")
	if got := string(w.read("keys/known_hosts")); got != known+server.pinned+"\n" {
		t.Errorf("known_hosts:\n%s", got)
	}
	var pinned []string
	w.inside(func(n *batch.Night) {
		if err := n.Ledger.EachAudit(t.Context(), func(e ledger.AuditEntry) error {
			if e.What == "bureau.host_pinned" {
				pinned = append(pinned, e.Detail)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
	if len(pinned) != 2 || !strings.HasSuffix(pinned[0], fingerprint) || !strings.Contains(pinned[1], "instead of") {
		t.Errorf("the audit log has %q", pinned)
	}
}

// keygenPrints is the fingerprint that ssh-keygen -l prints for a line of known_hosts.
func keygenPrints(t *testing.T, line string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(path, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(pipe(t, nil, "ssh-keygen", "-l", "-f", path)))
	if len(fields) < 2 {
		t.Fatalf("ssh-keygen says %q", fields)
	}
	return fields[1]
}
