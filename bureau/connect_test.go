package bureau

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// refused delivers and wants nothing to arrive.
func refused(t *testing.T, side *farSide, class Class, cause error) error {
	t.Helper()
	h := newHistory(t, Written)
	state, err := deliver(t, side, outboxFile(t, fileName, 5000), Written, false, h)
	wantClass(t, err, class, cause)
	if state != Intent {
		t.Errorf("the state is %s", state)
	}
	side.lacks(t, fileName)
	side.lacks(t, fileName+".part")
	return err
}

func TestHostKey(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		pinned := side.settings.KnownHosts
		shown, err := FetchHostKey(t.Context(), side.settings)
		if err != nil {
			t.Fatal(err)
		}
		t.Run("changed: refused, with both fingerprints", func(t *testing.T) {
			stranger := otherHostKey(t)
			side.settings.KnownHosts = writeFile(t, filepath.Join(t.TempDir(), "kh"), []byte(KnownHostsLine(host, 2222, stranger)+"\n"), 0o600)
			err := refused(t, side, BureauLasting, ErrHostKey)
			for _, fingerprint := range []string{ssh.FingerprintSHA256(stranger), ssh.FingerprintSHA256(shown)} {
				if !strings.Contains(err.Error(), fingerprint) {
					t.Errorf("no %s in: %v", fingerprint, err)
				}
			}
		})
		t.Run("unknown: refused, with its fingerprint", func(t *testing.T) {
			side.settings.KnownHosts = writeFile(t, filepath.Join(t.TempDir(), "kh"), []byte(KnownHostsLine("another.example", 22, shown)+"\n"), 0o600)
			err := refused(t, side, Operator, ErrHostKey)
			if !strings.Contains(err.Error(), ssh.FingerprintSHA256(shown)) {
				t.Error(err)
			}
		})
		t.Run("no known_hosts file", func(t *testing.T) {
			side.settings.KnownHosts = filepath.Join(t.TempDir(), "none")
			refused(t, side, Operator, nil)
		})
		t.Run("revoked", func(t *testing.T) {
			line := "@revoked " + KnownHostsLine(host, 2222, shown)
			side.settings.KnownHosts = writeFile(t, filepath.Join(t.TempDir(), "kh"), []byte(line+"\n"), 0o600)
			refused(t, side, BureauLasting, ErrHostKey)
		})
		t.Run("the fetched key pins it", func(t *testing.T) {
			side.settings.KnownHosts = writeFile(t, filepath.Join(t.TempDir(), "kh"), []byte(KnownHostsLine(host, 2222, shown)+"\n"), 0o600)
			mustDeliver(t, side, outboxFile(t, fileName, 100), Written, false, newHistory(t, Written))
		})
		side.settings.KnownHosts = pinned
	})
}

// A server with keys of several kinds must show the kind that is pinned.
func TestHostKeyOfThePinnedKindIsAskedFor(t *testing.T) {
	rsa := filepath.Join(t.TempDir(), "rsa")
	needs(t, "ssh-keygen")
	runCommand(t, "ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", rsa)
	side := startOpenSSH(t, "HostKey "+rsa)
	public, _, _, _, err := ssh.ParseAuthorizedKey(readAll(t, rsa+".pub"))
	if err != nil {
		t.Fatal(err)
	}
	side.settings.KnownHosts = writeFile(t, filepath.Join(t.TempDir(), "kh"), []byte(KnownHostsLine(host, 2222, public)+"\n"), 0o600)
	mustDeliver(t, side, outboxFile(t, fileName, 100), Written, false, newHistory(t, Written))
}

func TestLoginRefused(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		_, _, _, side.settings.PrivateKeyPath = newKeys(t)
		side.settings.Sleep = func(context.Context, time.Duration) error {
			t.Error("a refused key was tried again")
			return nil
		}
		refused(t, side, BureauLasting, ErrRefusedKey)
	})
}

func TestLoginKeyMustBePrivateToUs(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	good := side.settings.PrivateKeyPath
	for name, path := range map[string]string{
		"not there": good + "x",
		"no key":    writeFile(t, filepath.Join(t.TempDir(), "k"), []byte("nonsense"), 0o600),
	} {
		t.Run(name, func(t *testing.T) {
			side.settings.PrivateKeyPath = path
			refused(t, side, Operator, nil)
		})
	}
	t.Run("others may read it", func(t *testing.T) {
		side.settings.PrivateKeyPath = good
		if err := os.Chmod(good, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := refused(t, side, Operator, nil); !strings.Contains(err.Error(), "chmod 600") {
			t.Error(err)
		}
	})
	t.Run("locked with a passphrase", func(t *testing.T) {
		needs(t, "ssh-keygen")
		locked := filepath.Join(t.TempDir(), "locked")
		runCommand(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", locked)
		side.settings.PrivateKeyPath = locked
		if err := refused(t, side, Operator, nil); !strings.Contains(err.Error(), "agent") {
			t.Error(err)
		}
	})
}

func TestLoginThroughTheAgent(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		key, err := ssh.ParseRawPrivateKey(readAll(t, side.settings.PrivateKeyPath))
		if err != nil {
			t.Fatal(err)
		}
		side.settings.PrivateKeyPath = ""
		side.settings.AgentSocket = startAgent(t)
		t.Run("without a key in it", func(t *testing.T) { refused(t, side, Operator, nil) })
		side.settings.AgentSocket = startAgent(t, agent.AddedKey{PrivateKey: key})
		mustDeliver(t, side, outboxFile(t, fileName, 100), Written, false, newHistory(t, Written))
		t.Run("by the environment", func(t *testing.T) {
			t.Setenv("SSH_AUTH_SOCK", side.settings.AgentSocket)
			side.settings.AgentSocket = ""
			mustDeliver(t, side, outboxFile(t, "2.pgp", 100), Written, false, newHistory(t, Written))
			t.Setenv("SSH_AUTH_SOCK", "")
			_, err := deliver(t, side, outboxFile(t, "3.pgp", 100), Written, false, newHistory(t, Written))
			wantClass(t, err, Operator, nil)
		})
	})
}

func startAgent(t *testing.T, keys ...agent.AddedKey) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // short: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ring := agent.NewKeyring()
	for _, key := range keys {
		if err := ring.Add(key); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_ = agent.ServeAgent(ring, conn)
			}()
		}
	}()
	return socket
}

func TestFolderThatIsNotThere(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		for _, stat := range []bool{true, false} {
			broken := *side
			broken.settings.Stat, broken.settings.Dir = stat, side.settings.Dir+"/none"
			if err := refused(t, &broken, BureauLasting, os.ErrNotExist); !strings.Contains(err.Error(), "/none does not exist") {
				t.Error(err)
			}
			session, err := Connect(broken.settings)
			if err != nil {
				t.Fatal(err)
			}
			wantClass(t, session.Probe(t.Context()), BureauLasting, os.ErrNotExist)
			_ = session.Close()
		}
	})
}

func TestReadOnlyFolder(t *testing.T) {
	t.Run("openssh", func(t *testing.T) {
		side := startOpenSSH(t, "Subsystem sftp "+sftpServer()+" -R")
		refused(t, side, BureauLasting, os.ErrPermission)
	})
	t.Run("simulator", func(t *testing.T) {
		side, _ := startSimulator(t, Faults{})
		side.settings.Dir = "/"
		refused(t, side, BureauLasting, os.ErrPermission)
	})
}

func TestServerWithoutSFTP(t *testing.T) {
	side := startOpenSSH(t, "Subsystem none /bin/false\nForceCommand /bin/false")
	if err := refused(t, side, BureauPassing, nil); !strings.Contains(err.Error(), "SFTP did not start") {
		t.Error(err)
	}
}

func TestNobodyListens(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	listener := listen(t)
	side.settings.DialAddress = listener.Addr().String()
	_ = listener.Close()
	refused(t, side, BureauPassing, nil)
}

func TestOnlyTheConfiguredAddressIsDialled(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	var dialled []string
	side.settings.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled = append(dialled, network+" "+address)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	mustDeliver(t, side, outboxFile(t, fileName, 100), Written, false, newHistory(t, Written))
	if len(dialled) != 1 || dialled[0] != "tcp "+side.settings.DialAddress {
		t.Errorf("dialled %v", dialled)
	}
	side.settings.DialAddress = ""
	side.settings.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
		dialled = append(dialled, address)
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	refused(t, &farSide{settings: side.settings, incoming: t.TempDir()}, Operator, nil)
	if dialled[1] != host+":2222" {
		t.Errorf("dialled %v", dialled)
	}
}

func TestSettingsThatCannotWorkAreRefusedBeforeAnything(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	for name, spoil := range map[string]func(*Settings){
		"no host":        func(s *Settings) { s.Host = "" },
		"no user":        func(s *Settings) { s.User = "" },
		"no known_hosts": func(s *Settings) { s.KnownHosts = "" },
		"unsafe cipher":  func(s *Settings) { s.Ciphers = []string{"3des-cbc"} },
		"suffix path":    func(s *Settings) { s.TempSuffix = "/x" },
	} {
		t.Run(name, func(t *testing.T) {
			settings := side.settings
			spoil(&settings)
			_, err := Connect(settings)
			wantClass(t, err, Operator, nil)
		})
	}
	for _, name := range []string{"", ".", "..", "a/b", "a\\b", "a\nb", strings.Repeat("x", 255)} {
		f := outboxFile(t, "x", 10)
		f.RemoteName = name
		h := newHistory(t, Written)
		if _, err := deliver(t, side, f, Written, false, h); err == nil || len(h.steps) != 0 {
			t.Errorf("the name %q was taken", name)
		}
	}
}

func TestKeysAreNeverReplaced(t *testing.T) {
	_, hostPath, _, clientPath := newKeys(t)
	for _, path := range []string{hostPath, clientPath} {
		before := string(readAll(t, path))
		if _, err := GenerateClientKey(path); !errors.Is(err, os.ErrExist) {
			t.Errorf("made again: %v", err)
		}
		if string(readAll(t, path)) != before {
			t.Error("the key was replaced")
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
	needs(t, "ssh-keygen")
	if out := runCommand(t, "ssh-keygen", "-y", "-f", clientPath); !strings.HasPrefix(string(readAll(t, clientPath+".pub")), strings.Join(strings.Fields(out)[:2], " ")) {
		t.Error("OpenSSH reads another public key")
	}
}
