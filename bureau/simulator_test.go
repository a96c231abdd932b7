package bureau

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// visitor is an SFTP client that does what we would not.
func visitor(t *testing.T, side *farSide) *sftp.Client {
	t.Helper()
	l, err := newLink(t.Context(), side.settings.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l.sftp
}

func countLines(_ string, clear io.Reader) (any, error) {
	content, err := io.ReadAll(clear)
	if bytes.Contains(content, []byte("bad")) {
		return nil, errors.New("record 2 is bad")
	}
	return bytes.Count(content, []byte("\n")), err
}

func TestSimulatorOpensWhatArrives(t *testing.T) {
	bureauKey, issuer := simulatorKeys()
	mallory := testKey(t, "mallory")
	hostKey, _, client, clientPath := newKeys(t)
	config := SimulatorConfig{
		Name: "alpha", Dir: t.TempDir(), HostKey: hostKey, ClientKeys: []ssh.PublicKey{client.PublicKey()},
		Key: bureauKey, Signers: []*Key{issuer}, Check: countLines,
	}
	s := runSimulator(t, config)
	side := &farSide{settings: baseSettings(t, s.Addr(), hostKey.PublicKey(), clientPath), incoming: filepath.Join(config.Dir, incoming)}
	to := []*Key{bureauKey}
	for name, content := range map[string][]byte{
		"1-good.pgp":    sealed(t, Sealing{To: to, Signer: issuer, Time: keyTime}, []byte("one\ntwo\n")),
		"2-refused.pgp": sealed(t, Sealing{To: to, Signer: issuer, Time: keyTime}, []byte("one\nbad\n")),
		"3-foreign.pgp": sealed(t, Sealing{To: to, Signer: mallory, Time: keyTime}, []byte("one\n")),
		"4-clear.pgp":   []byte("one\n"),
	} {
		mustDeliver(t, side, frozen(t, name, content), Written, false, newHistory(t, Written))
	}
	check := func(s *Simulator) {
		t.Helper()
		got := s.Received()
		if len(got) != 4 {
			t.Fatalf("%d files", len(got))
		}
		good := got[0]
		content := side.onDisk(t, good.Name)
		if good.Err != nil || good.Summary != 2 || good.SignedBy != issuer.Fingerprint() || good.Size != int64(len(content)) ||
			good.SHA256 != frozen(t, "x", content).SHA256 {
			t.Errorf("%+v", good)
		}
		for i, want := range []string{1: "record 2 is bad", 2: ErrUnknownSigner.Error(), 3: ""} {
			if r := got[i]; i > 0 && (r.Err == nil || !strings.Contains(r.Err.Error(), want) || r.SignedBy != "" || r.Summary != nil) {
				t.Errorf("%+v", r)
			}
		}
	}
	check(s)

	// After a restart it has what it had, and gives no name twice.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = runSimulator(t, config)
	check(s)
	side.settings.DialAddress = s.Addr()
	_, err := deliver(t, side, outboxFile(t, "1-good.pgp", 100), Written, false, newHistory(t, Written))
	wantClass(t, err, BureauLasting, ErrNameTaken)
}

// Nothing but what came over the wire is in its folder (invariant 5).
func TestInvariant5_SimulatorWritesNothingClear(t *testing.T) {
	side, s := startSimulator(t, Faults{})
	bureauKey, issuer := simulatorKeys()
	marker := bytes.Repeat([]byte("%B0000000000000000^"), 5000)
	f := frozen(t, fileName, sealed(t, Sealing{To: []*Key{bureauKey}, Signer: issuer, Time: keyTime}, marker))
	mustDeliver(t, side, f, Written, false, newHistory(t, Written))
	if got := s.Received(); len(got) != 1 || got[0].Err != nil {
		t.Fatalf("%+v", got)
	}
	err := filepath.WalkDir(filepath.Dir(side.incoming), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if path != filepath.Join(side.incoming, fileName) || bytes.Contains(readAll(t, path), marker[:19]) {
			t.Errorf("%s holds something else", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSimulatorListensOnLoopbackOnly(t *testing.T) {
	hostKey, _, client, _ := newKeys(t)
	bureauKey, issuer := simulatorKeys()
	s, err := NewSimulator(SimulatorConfig{Dir: t.TempDir(), HostKey: hostKey, ClientKeys: []ssh.PublicKey{client.PublicKey()}, Key: bureauKey, Signers: []*Key{issuer}})
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.org:0", "127.0.0.1"} {
		if err := s.Start(t.Context(), addr); err == nil {
			t.Errorf("it listens on %s", addr)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestSimulatorThatTrustsNobodyIsRefused(t *testing.T) {
	hostKey, _, client, _ := newKeys(t)
	bureauKey, issuer := simulatorKeys()
	whole := SimulatorConfig{Dir: t.TempDir(), HostKey: hostKey, ClientKeys: []ssh.PublicKey{client.PublicKey()}, Key: bureauKey, Signers: []*Key{issuer}}
	for i, spoil := range []func(*SimulatorConfig){
		func(c *SimulatorConfig) { c.HostKey = nil },
		func(c *SimulatorConfig) { c.ClientKeys = nil },
		func(c *SimulatorConfig) { c.Key = nil },
		func(c *SimulatorConfig) { c.Signers = nil },
	} {
		config := whole
		spoil(&config)
		if _, err := NewSimulator(config); err == nil {
			t.Errorf("configuration %d was taken", i)
		}
	}
}

func TestNobodyGetsOutOfTheSimulatorsFolder(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	secret := filepath.Join(filepath.Dir(side.incoming), "keys")
	writeFile(t, secret, []byte("test key"), 0o600)
	for link, target := range map[string]string{"link": secret, "up": ".."} {
		if err := os.Symlink(target, filepath.Join(side.incoming, link)); err != nil {
			t.Fatal(err)
		}
	}
	c := visitor(t, side)
	for _, path := range []string{"../keys", "incoming/../../keys", "/keys", secret, "incoming/link", "incoming/up/keys"} {
		if f, err := c.Open(path); err == nil {
			if _, err := f.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s was read", path)
			}
		}
		if f, err := c.Create(path); err == nil {
			_, _ = f.Write([]byte("x"))
			_ = f.Close()
			t.Errorf("%s was written", path)
		}
		_ = c.Remove(path)
	}
	if string(readAll(t, secret)) != "test key" {
		t.Error("the file outside changed")
	}
	for what, err := range map[string]error{
		"mkdir":   c.Mkdir("incoming/x"),
		"symlink": c.Symlink("/etc/passwd", "incoming/x"),
		"link":    c.Link(secret, "incoming/x"),
		"chmod":   c.Chmod("incoming/link", 0o777),
		"cut":     c.Truncate("incoming/link", 0),
	} {
		if err == nil {
			t.Errorf("%s is possible", what)
		}
	}
}

func TestSimulatorOffersNothingButSFTP(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	l, err := newLink(t.Context(), side.settings.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for name, start := range map[string]func(*ssh.Session) error{
		"a command":         func(s *ssh.Session) error { return s.Start("id") },
		"a shell":           func(s *ssh.Session) error { return s.Shell() },
		"another subsystem": func(s *ssh.Session) error { return s.RequestSubsystem("netconf") },
		"a terminal":        func(s *ssh.Session) error { return s.RequestPty("vt100", 24, 80, nil) },
		"an agent forwarded": func(s *ssh.Session) error {
			_, err := s.SendRequest("auth-agent-req@openssh.com", true, nil)
			return errOr(err)
		},
	} {
		session, err := l.ssh.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if err := start(session); err == nil {
			t.Errorf("%s is possible", name)
		}
		_ = session.Close()
	}
	if conn, err := l.ssh.Dial("tcp", side.settings.DialAddress); err == nil {
		_ = conn.Close()
		t.Error("it forwards connections")
	}
}

// errOr: SendRequest tells a refusal in its first result only; it never is granted here.
func errOr(err error) error {
	if err == nil {
		return errors.New("not granted")
	}
	return err
}

func TestSimulatorGivesANameOnce(t *testing.T) {
	side, s := startSimulator(t, Faults{})
	c := visitor(t, side)
	write := func(name, content string) error {
		f, err := c.OpenFile(name, os.O_WRONLY|os.O_CREATE)
		if err != nil {
			return err
		}
		_, err = f.Write([]byte(content))
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(write("incoming/a.part", "first"), c.Rename("incoming/a.part", "incoming/a"), write("incoming/b.part", "second")); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"rename over it":                         c.Rename("incoming/b.part", "incoming/a"),
		"posix rename over it":                   c.PosixRename("incoming/b.part", "incoming/a"),
		"writing it again":                       write("incoming/a", "second"),
		"removing it":                            c.Remove("incoming/a"),
		"writing a temporary file that is there": write("incoming/b.part", "third"),
	} {
		if err == nil {
			t.Errorf("%s is possible", what)
		}
	}
	if err := os.Remove(filepath.Join(side.incoming, "a")); err != nil { // the bureau moves it on
		t.Fatal(err)
	}
	if err := c.Rename("incoming/b.part", "incoming/a"); err == nil {
		t.Error("a name was given twice")
	}
	if got := fmt.Sprint(len(s.Received())); got != "1" {
		t.Errorf("%s files", got)
	}
}

// A direct upload that the connection's end cut short is not a file that arrived.
func TestHalfAFileIsNotReceived(t *testing.T) {
	side, s := startSimulator(t, Faults{})
	l, err := newLink(t.Context(), side.settings.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.sftp.OpenFile("incoming/direct", os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	l.close()
	if err := s.Close(); err != nil { // waits for the connection's end
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.received) != 0 {
		t.Error("it counts as received")
	}
}

func TestSimulatorShowsItsTwoFolders(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	side.put(t, "x.pgp", []byte("x"))
	c := visitor(t, side)
	for folder, want := range map[string]string{"/": "[incoming returns]", "/incoming": "[x.pgp]", "/returns": "[done]", "/returns/done": "[]"} {
		entries, err := c.ReadDir(folder)
		names := []string{}
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		if err != nil || fmt.Sprint(names) != want {
			t.Errorf("%s: %v, %v", folder, names, err)
		}
	}
}

// Return files can be read, removed, and moved to those that are done; nothing else.
func TestWhatClientsMayDoInReturns(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	for _, name := range []string{"a.csv", "b.csv", "done/a.csv"} {
		side.returned(t, name, []byte(name))
	}
	c := visitor(t, side)
	for what, err := range map[string]error{
		"make a file":          errOfCreate(c, "returns/new"),
		"write over one":       errOfCreate(c, "returns/a.csv"),
		"make a folder":        c.Mkdir("returns/x"),
		"rename in place":      c.Rename("returns/a.csv", "returns/c.csv"),
		"move into incoming":   c.Rename("returns/a.csv", "incoming/a.csv"),
		"move out of incoming": c.Rename("incoming/x", "returns/x"),
		"rename over one done": c.Rename("returns/a.csv", "returns/done/a.csv"),
		"posix rename":         c.PosixRename("returns/a.csv", "returns/done/a.csv"),
		"bring one back":       c.Rename("returns/done/a.csv", "returns/c.csv"),
		"remove one done":      c.Remove("returns/done/a.csv"),
		"remove the folder":    c.RemoveDirectory("returns/done"),
		"remove it as a file":  c.Remove("returns/done"),
	} {
		if err == nil {
			t.Errorf("%s is possible", what)
		}
	}
	if err := errors.Join(c.Remove("returns/a.csv"), c.Rename("returns/b.csv", "returns/done/b.csv")); err != nil {
		t.Error(err)
	}
}

func errOfCreate(c *sftp.Client, name string) error {
	f, err := c.OpenFile(name, os.O_WRONLY|os.O_CREATE)
	if err == nil {
		_ = f.Close()
	}
	return err
}
