package bureau

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// The delivery suite's other servers. Each has habits of its own (docs/delivery.md, "Servers tried");
// all listen on a loopback address only.

// far makes a folder at a server whose clients see this disk's paths.
func far(t *testing.T, addr, user string, hostKey ssh.PublicKey, clientPath string) *farSide {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "home", incoming)
	for _, made := range []string{folder, filepath.Join(filepath.Dir(folder), outgoing, done)} {
		if err := os.MkdirAll(made, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	settings := baseSettings(t, addr, hostKey, clientPath)
	settings.User, settings.Dir = user, folder
	return &farSide{settings: settings, incoming: folder}
}

// startProFTPD runs ProFTPD with mod_sftp, one process for each connection, as inetd would.
func startProFTPD(t *testing.T) *farSide {
	t.Helper()
	proftpd := needs(t, "proftpd")
	hostKey, hostPath, client, clientPath := newKeys(t)
	dir := t.TempDir()
	users := writeFile(t, filepath.Join(dir, "users"), fmt.Appendf(nil, "issuer:x:%d:%d::%s:/bin/sh\n", os.Getuid(), os.Getgid(), dir), 0o600)
	writeFile(t, filepath.Join(dir, "authorized"), rfc4716(client.PublicKey()), 0o600)
	lines := []string{
		"ModulePath /usr/lib/proftpd", "LoadModule mod_sftp.c", "ServerType inetd", "ServerName bureau", "DefaultServer on", "Port 0",
		fmt.Sprintf("User %s\nGroup %s", userName(), groupName()), "RootLogin on", "RequireValidShell off", "UseFtpUsers off",
		"AuthOrder mod_auth_file.c", "AuthUserFile " + users, "UseReverseDNS off", "UseIPv6 off", "DelayEngine off",
		"WtmpLog off", "TransferLog none", "SystemLog none", "ScoreboardFile none", "PidFile " + filepath.Join(dir, "pid"),
		"SFTPEngine on", "SFTPHostKey " + hostPath, "SFTPAuthMethods publickey", "SFTPAuthorizedUserKeys file:" + filepath.Join(dir, "authorized"),
	}
	config := writeFile(t, filepath.Join(dir, "proftpd.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
	addr := serveProcesses(t, func(conn *os.File) *exec.Cmd {
		cmd := exec.Command(proftpd, "-n", "-c", config)
		cmd.Stdin, cmd.Stdout = conn, conn
		return cmd
	})
	side := far(t, addr, "issuer", hostKey.PublicKey(), clientPath)
	side.habits.showsTargets = true
	return side
}

// rfc4716 is the form of a public key that ProFTPD reads.
func rfc4716(key ssh.PublicKey) []byte {
	encoded := strings.Fields(string(ssh.MarshalAuthorizedKey(key)))[1]
	return fmt.Appendf(nil, "---- BEGIN SSH2 PUBLIC KEY ----\n%s\n---- END SSH2 PUBLIC KEY ----\n", encoded)
}

func groupName() string {
	out, err := exec.Command("id", "-gn").Output()
	if err != nil {
		return "root"
	}
	return strings.TrimSpace(string(out))
}

// startLSH runs GNU lsh's program for SFTP, one process for each session, behind a small SSH server
// of this process.
func startLSH(t *testing.T) *farSide {
	t.Helper()
	program := needs(t, "/usr/lib/lsh-server/sftp-server")
	hostKey, _, client, clientPath := newKeys(t)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), client.PublicKey().Marshal()) {
			return nil, errUnknownClient
		}
		return nil, nil
	}}
	config.AddHostKey(hostKey)
	listener := listen(t)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serveProgram(conn, config, program)
		}
	}()
	side := far(t, listener.Addr().String(), "issuer", hostKey.PublicKey(), clientPath)
	side.habits.replaces = true
	return side
}

// serveProgram is one connection of one session whose SFTP program speaks for.
func serveProgram(raw net.Conn, config *ssh.ServerConfig, program string) {
	defer func() { _ = raw.Close() }()
	conn, channels, requests, err := ssh.NewServerConn(raw, config)
	if err != nil {
		return
	}
	gone, end := context.WithCancel(context.Background())
	go func() {
		_ = conn.Wait()
		end()
	}()
	go ssh.DiscardRequests(requests)
	for channel := range channels {
		accepted, asked, err := channel.Accept()
		if err != nil {
			return
		}
		for request := range asked {
			_ = request.Reply(request.Type == "subsystem", nil)
			if request.Type == "subsystem" {
				break
			}
		}
		go ssh.DiscardRequests(asked)
		// It spins for ever where a connection is cut in the middle: it is ended with the connection, and
		// its processor time is limited for the case that nobody is left to end it.
		cmd := exec.CommandContext(gone, "/bin/sh", "-c", `ulimit -t 10; exec "$0"`, program)
		cmd.Stdin, cmd.Stdout = accepted, accepted
		_ = cmd.Run()
		_ = accepted.Close()
	}
}

// asyncSSH is one process for all tests. It ends when its standard input does, so also when
// the tests are killed.
type asyncSSH struct {
	process *exec.Cmd // kept: its end of the pipe must not be closed
	stdin   io.WriteCloser
	addr    string
	hostKey ssh.PublicKey
	client  []byte // private key
}

func startAsyncSSH(t *testing.T) *farSide {
	t.Helper()
	needs(t, "/usr/bin/python3")
	s, err := runAsyncSSH()
	if err != nil {
		t.Fatal(err)
	}
	return far(t, s.addr, "issuer", s.hostKey, writeFile(t, filepath.Join(t.TempDir(), "client"), s.client, 0o600))
}

const asyncSSHServer = `
import asyncio, sys, warnings
warnings.simplefilter("ignore")
import asyncssh
async def main():
    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[asyncssh.read_private_key(sys.argv[1])],
        authorized_client_keys=asyncssh.read_authorized_keys(sys.argv[2]),
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel))
    print("127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
asyncio.run(main())
`

var runAsyncSSH = sync.OnceValues(func() (*asyncSSH, error) {
	dir, err := os.MkdirTemp("", "reemboss-asyncssh-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it has read its keys by then
	hostPath, clientPath := filepath.Join(dir, "host"), filepath.Join(dir, "client")
	hostKey, err := GenerateHostKey(hostPath)
	if err != nil {
		return nil, err
	}
	if _, err := GenerateClientKey(clientPath); err != nil {
		return nil, err
	}
	s := &asyncSSH{process: exec.Command("/usr/bin/python3", "-c", asyncSSHServer, hostPath, clientPath+".pub"), hostKey: hostKey.PublicKey()}
	if s.client, err = os.ReadFile(clientPath); err != nil {
		return nil, err
	}
	if s.stdin, err = s.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("asyncssh did not start: %w", err)
	}
	s.addr = strings.TrimSpace(line)
	return s, nil
})

func TestNamesWithSpacesAndLetters(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		for _, name := range []string{"alpha 01 (2).xml.pgp", "Zürich.pgp", "a'b\"c*?.pgp", "-rf.pgp", ".hidden.pgp"} {
			f := outboxFile(t, name, 5000)
			mustDeliver(t, side, f, Written, false, newHistory(t, Written))
			side.holds(t, name, f)
			side.lacks(t, name+".part")
		}
	})
}
