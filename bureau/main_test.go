package bureau

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// farSide is a server that the delivery suite runs against.
type farSide struct {
	settings Settings
	incoming string // its folder on this disk
	habits   habits
}

// habits are what a real server does otherwise than the rest (docs/delivery.md, "Servers tried").
type habits struct {
	replaces     bool // its plain rename replaces a file; only our looks before it guard a name
	showsTargets bool // asked for a link's own attributes, it tells those of the file behind it
}

// servers are all of them. Each call of start gives a fresh one.
var servers = []struct {
	name  string
	start func(t *testing.T) *farSide
}{
	{"simulator", func(t *testing.T) *farSide { side, _ := startSimulator(t, Faults{}); return side }},
	{"openssh", func(t *testing.T) *farSide { return startOpenSSH(t) }},
	{"proftpd", startProFTPD},
	{"asyncssh", startAsyncSSH},
	{"lsh", startLSH},
}

func onEachServer(t *testing.T, test func(t *testing.T, side *farSide)) {
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) { test(t, server.start(t)) })
	}
}

// host is the name under which the servers are pinned; nobody resolves it.
const host = "sftp.bureau.example"

func baseSettings(t *testing.T, addr string, hostKey ssh.PublicKey, clientKey string) Settings {
	t.Helper()
	pinned := writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), []byte(KnownHostsLine(host, 2222, hostKey)+"\n"), 0o600)
	return Settings{
		Host: host, Port: 2222, DialAddress: addr,
		User: "issuer", PrivateKeyPath: clientKey, KnownHosts: pinned,
		Dir: incoming, Stat: true,
		DialTimeout: 20 * time.Second, IdleTimeout: 20 * time.Second,
		Now:   func() time.Time { return keyTime },
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
}

func newKeys(t *testing.T) (hostKey ssh.Signer, hostPath string, client ssh.Signer, clientPath string) {
	t.Helper()
	dir := t.TempDir()
	hostPath, clientPath = filepath.Join(dir, "host"), filepath.Join(dir, "client")
	hostKey, err := GenerateHostKey(hostPath)
	if err != nil {
		t.Fatal(err)
	}
	client, err = GenerateClientKey(clientPath)
	if err != nil {
		t.Fatal(err)
	}
	return hostKey, hostPath, client, clientPath
}

// simulatorKeys are made once: their making is not what is tested.
var simulatorKeys = sync.OnceValues(func() (bureauKey, issuer *Key) {
	for _, k := range []**Key{&bureauKey, &issuer} {
		made, err := GenerateKey("test", "", keyTime, 0)
		if err != nil {
			panic(err)
		}
		*k = made
	}
	return bureauKey, issuer
})

func startSimulator(t *testing.T, faults Faults) (*farSide, *Simulator) {
	t.Helper()
	hostKey, _, client, clientPath := newKeys(t)
	bureauKey, issuer := simulatorKeys()
	config := SimulatorConfig{
		Name: "alpha", Dir: t.TempDir(), HostKey: hostKey, ClientKeys: []ssh.PublicKey{client.PublicKey()},
		Key: bureauKey, Signers: []*Key{issuer}, Faults: faults,
	}
	s := runSimulator(t, config)
	return &farSide{
		settings: baseSettings(t, s.Addr(), hostKey.PublicKey(), clientPath),
		incoming: filepath.Join(config.Dir, incoming),
	}, s
}

func runSimulator(t *testing.T, config SimulatorConfig) *Simulator {
	t.Helper()
	s, err := NewSimulator(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// startOpenSSH runs OpenSSH's sshd, one process for each connection, as inetd would.
// options are further lines of its configuration; Subsystem is set unless they do.
func startOpenSSH(t *testing.T, options ...string) *farSide {
	t.Helper()
	sshd := needs(t, "sshd")
	if os.Geteuid() == 0 { // it demands an empty folder of root's
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	hostKey, hostPath, client, clientPath := newKeys(t)
	dir := t.TempDir()
	folder := filepath.Join(dir, "home", incoming)
	for _, made := range []string{folder, filepath.Join(dir, "home", outgoing, done)} {
		if err := os.MkdirAll(made, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	authorized := writeFile(t, filepath.Join(dir, "authorized"), ssh.MarshalAuthorizedKey(client.PublicKey()), 0o600)
	config := "HostKey " + hostPath + "\nAuthorizedKeysFile " + authorized + `
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel ERROR
`
	config += strings.Join(options, "\n") + "\n"
	if !strings.Contains(config, "Subsystem sftp ") {
		config += "Subsystem sftp " + sftpServer() + "\n"
	}
	path := writeFile(t, filepath.Join(dir, "sshd_config"), []byte(config), 0o600)
	addr := serveProcesses(t, func(conn *os.File) *exec.Cmd {
		cmd := exec.Command(sshd, "-i", "-e", "-f", path)
		cmd.Stdin, cmd.Stdout = conn, conn
		return cmd
	})
	settings := baseSettings(t, addr, hostKey.PublicKey(), clientPath)
	settings.User = userName()
	settings.Dir = folder
	return &farSide{settings: settings, incoming: folder}
}

func sftpServer() string {
	for _, path := range []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server", "/usr/libexec/sftp-server"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return "internal-sftp"
}

func userName() string {
	out, err := exec.Command("id", "-un").Output()
	if err != nil {
		return "root"
	}
	return string(bytes.TrimSpace(out))
}

func serveProcesses(t *testing.T, command func(*os.File) *exec.Cmd) string {
	t.Helper()
	listener := listen(t)
	var mu sync.Mutex
	var processes []*exec.Cmd
	var running sync.WaitGroup
	running.Add(1)
	go func() {
		defer running.Done()
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			file, err := conn.(*net.TCPConn).File()
			_ = conn.Close()
			if err != nil {
				continue
			}
			cmd := command(file)
			err = cmd.Start()
			_ = file.Close()
			if err != nil {
				continue
			}
			mu.Lock()
			processes = append(processes, cmd)
			mu.Unlock()
			running.Add(1)
			go func() {
				defer running.Done()
				_ = cmd.Wait()
			}()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, cmd := range processes {
			_ = cmd.Process.Kill()
		}
		mu.Unlock()
		running.Wait()
	})
	return listener.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// outboxFile makes a frozen file of size random bytes.
func outboxFile(t *testing.T, name string, size int) File {
	t.Helper()
	content := make([]byte, size)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	return frozen(t, name, content)
}

func frozen(t *testing.T, name string, content []byte) File {
	t.Helper()
	path := writeFile(t, filepath.Join(t.TempDir(), name), content, 0o600)
	sum := sha256.Sum256(content)
	return File{LocalPath: path, RemoteName: name, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
}

// history is a ledger in memory that can die at a step.
type history struct {
	t     *testing.T
	state State
	steps []State
	last  Evidence
	texts []string
	// dieAt: at this step Record fails, afterwards when kept is set, before else.
	dieAt State
	kept  bool
	on    func(to State) // called after the step is durable
}

var errKilled = errors.New("the process was killed here")

func (h *history) Record(_ context.Context, to State, ev Evidence, errText string) error {
	if h.state != "" && !h.state.MayBecome(to) {
		h.t.Errorf("%s does not follow %s", to, h.state)
	}
	if to == h.dieAt && !h.kept {
		return errKilled
	}
	h.state, h.last = to, ev
	h.steps, h.texts = append(h.steps, to), append(h.texts, errText)
	if to == h.dieAt {
		return errKilled
	}
	if h.on != nil {
		h.on(to)
	}
	return nil
}

func newHistory(t *testing.T, from State) *history { return &history{t: t, state: from} }

// onDisk is the content under a name at the server, nil where there is none.
func (side *farSide) onDisk(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(side.incoming, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func (side *farSide) put(t *testing.T, name string, content []byte) {
	t.Helper()
	writeFile(t, filepath.Join(side.incoming, name), content, 0o600)
}

// returned puts a file into the bureau's folder of returns and gives its place.
func (side *farSide) returned(t *testing.T, name string, content []byte) string {
	t.Helper()
	return writeFile(t, filepath.Join(side.returns(), name), content, 0o600)
}

func (side *farSide) returns() string { return filepath.Join(filepath.Dir(side.incoming), outgoing) }

// returnsDir is that folder as clients name it.
func (side *farSide) returnsDir() string {
	if side.settings.Dir == incoming {
		return outgoing
	}
	return side.returns()
}

func (side *farSide) holds(t *testing.T, name string, f File) {
	t.Helper()
	if !bytes.Equal(side.onDisk(t, name), readAll(t, f.LocalPath)) {
		t.Errorf("%s at the server is not our file", name)
	}
}

func (side *farSide) lacks(t *testing.T, name string) {
	t.Helper()
	if side.onDisk(t, name) != nil {
		t.Errorf("%s stands at the server", name)
	}
}

func readAll(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func otherHostKey(t *testing.T) ssh.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// cutter is a proxy that cuts connections at a chosen moment.
type cutter struct {
	target string
	addr   string
	mu     sync.Mutex
	plan   cut
	left   int // bytes towards the server before cutAfter
	cuts   int
	dials  int
}

type cut int

const (
	cutNothing cut = iota
	cutAnswer      // the next bytes from the server are swallowed: what was asked happened
	cutRequest     // the next bytes to the server are swallowed: it never heard
	cutAfter       // once left bytes went to the server
)

func startCutter(t *testing.T, side *farSide) *cutter {
	t.Helper()
	listener := listen(t)
	c := &cutter{target: side.settings.DialAddress, addr: listener.Addr().String()}
	side.settings.DialAddress = c.addr
	var running sync.WaitGroup
	running.Add(1)
	go func() {
		defer running.Done()
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Add(1)
			go func() {
				defer running.Done()
				c.serve(conn)
			}()
		}
	}()
	t.Cleanup(func() { _ = listener.Close() })
	return c
}

func (c *cutter) arm(plan cut, left int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.plan, c.left = plan, left
}

func (c *cutter) serve(client net.Conn) {
	c.mu.Lock()
	c.dials++
	c.mu.Unlock()
	server, err := net.Dial("tcp", c.target)
	if err != nil {
		_ = client.Close()
		return
	}
	var both sync.WaitGroup
	both.Add(2)
	closeBoth := func() { _ = client.Close(); _ = server.Close() }
	go func() { defer both.Done(); defer closeBoth(); c.pass(client, server, true) }()
	go func() { defer both.Done(); defer closeBoth(); c.pass(server, client, false) }()
	both.Wait()
}

func (c *cutter) pass(from, to net.Conn, towardsServer bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && c.cutHere(n, towardsServer) {
			return
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (c *cutter) cutHere(n int, towardsServer bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plan == cutAfter && towardsServer {
		c.left -= n
	}
	hit := c.plan == cutAnswer && !towardsServer || c.plan == cutRequest && towardsServer || c.plan == cutAfter && c.left <= 0
	if hit {
		c.plan = cutNothing
		c.cuts++
	}
	return hit
}

func (c *cutter) count() (cuts, dials int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cuts, c.dials
}

func names(n int) []string {
	var all []string
	for i := range n {
		all = append(all, "alpha-"+strconv.Itoa(i+1)+".xml.pgp")
	}
	return all
}

func runCommand(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
