package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"reemboss/bureau"
)

// The programs of others that the night is held against, and the Debian packages that have them.
var realPackages = map[string]string{
	"gpg": "gnupg", "gpgconf": "gnupg", "/usr/sbin/sshd": "openssh-server", "/usr/lib/openssh/sftp-server": "openssh-sftp-server", "ssh-keygen": "openssh-client",
	"soffice": "libreoffice-calc-nogui", "/usr/bin/python3": "python3-openpyxl", "xmllint": "libxml2-utils", "openssl": "openssl", "chromium": "chromium",
	"pdftotext": "poppler-utils", "strace": "strace",
}

// needReal skips a test whose counterparts are not installed; in CI it fails.
func needReal(t *testing.T, tools ...string) {
	t.Helper()
	var missing []string
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, realPackages[tool])
		} else if tool == "/usr/bin/python3" && exec.Command(tool, "-c", "import openpyxl").Run() != nil {
			missing = append(missing, realPackages[tool])
		}
	}
	switch {
	case len(missing) == 0:
	case os.Getenv("CI") != "":
		t.Fatalf("not installed: apt-get install %s", strings.Join(missing, " "))
	default:
		t.Skipf("not installed: apt-get install %s", strings.Join(missing, " "))
	}
}

// pipe runs a program with input on its standard input and gives its standard
// output. Card data passes through here only, never through a file; programs
// say what is wrong on standard error, without values.
func pipe(t *testing.T, input []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, complaints.Bytes())
	}
	return out.Bytes()
}

// python runs a script of testdata/real.
func python(t *testing.T, input []byte, script string, args ...string) []byte {
	t.Helper()
	return pipe(t, input, "/usr/bin/python3", append([]string{"-B", filepath.Join("testdata", "real", script)}, args...)...)
}

// fromPython runs a script and reads the JSON that it prints.
func fromPython[T any](t *testing.T, input []byte, script string, args ...string) T {
	t.Helper()
	var into T
	if err := json.Unmarshal(python(t, input, script, args...), &into); err != nil {
		t.Fatalf("%s: what it prints is no JSON of the right form", script)
	}
	return into
}

// realGPG is GnuPG with a home folder of its own.
type realGPG struct{ home string }

func newRealGPG(t *testing.T) realGPG {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg") // short: the agent's socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		_ = os.RemoveAll(home)
	})
	return realGPG{home}
}

// run gives standard output and the status lines.
func (g realGPG) run(t *testing.T, input []byte, args ...string) (out []byte, status string) {
	t.Helper()
	cmd := exec.Command("gpg", append([]string{"--homedir", g.home, "--batch", "--no-tty", "--yes", "--status-fd", "2",
		"--pinentry-mode", "loopback", "--passphrase", "", "--trust-model", "always"}, args...)...)
	var text, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &text, &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("gpg %v: %v\n%s", args, err, complaints.Bytes())
	}
	return text.Bytes(), complaints.String()
}

// key makes a key pair for signing and encryption and gives its fingerprint and public half.
func (g realGPG) key(t *testing.T, name, primary, subkey string) (fingerprint string, public []byte) {
	t.Helper()
	_, status := g.run(t, nil, "--quick-generate-key", name, primary, "sign", "1y")
	_, rest, _ := strings.Cut(status, "KEY_CREATED ")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		t.Fatalf("gpg made no key:\n%s", status)
	}
	g.run(t, nil, "--quick-add-key", fields[1], subkey, "encrypt", "1y")
	public, _ = g.run(t, nil, "--armor", "--export", fields[1])
	return fields[1], public
}

// fingerprint is that of a key's primary key, by a part of its name.
func (g realGPG) fingerprint(t *testing.T, name string) string {
	t.Helper()
	listed, _ := g.run(t, nil, "--with-colons", "--list-keys", name)
	_, rest, _ := strings.Cut(string(listed), "\nfpr:::::::::")
	fingerprint, _, _ := strings.Cut(rest, ":")
	return fingerprint
}

// open decrypts a sealed file as its recipient would, and holds what gpg says
// of it: AES-256 with the integrity check of OpenPGP, a good signature of the issuer.
func (g realGPG) open(t *testing.T, path, issuer string) []byte {
	t.Helper()
	clear, status := g.run(t, nil, "--decrypt", path)
	for what, want := range map[string]string{
		"AES-256 with MDC":              "[GNUPG:] DECRYPTION_INFO 2 9",
		"an integrity check that holds": "[GNUPG:] GOODMDC",
		"a whole message":               "[GNUPG:] DECRYPTION_OKAY",
		"a good signature":              "[GNUPG:] GOODSIG",
		"the issuer's signature":        "[GNUPG:] VALIDSIG " + strings.ToUpper(issuer),
	} {
		if !strings.Contains(status, want) {
			t.Errorf("%s: gpg does not see %s:\n%s", filepath.Base(path), what, status)
		}
	}
	return clear
}

// realServer is OpenSSH's sshd with its sftp-server, one process for each connection, as inetd would start them.
type realServer struct {
	port   int
	home   string // its folder on this disk
	pinned string // line for known_hosts
	user   string
}

func startRealServer(t *testing.T, clientKey []byte) realServer {
	t.Helper()
	if os.Geteuid() == 0 { // sshd demands an empty folder of root's
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	hostKey := filepath.Join(dir, "ssh_host_ed25519_key")
	pipe(t, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", hostKey)
	public, err := os.ReadFile(hostKey + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	host, _, _, _, err := ssh.ParseAuthorizedKey(public)
	if err != nil {
		t.Fatal(err)
	}
	settings := filepath.Join(dir, "sshd_config")
	writeReal(t, filepath.Join(dir, "authorized_keys"), clientKey)
	writeReal(t, settings, []byte("HostKey "+hostKey+"\nAuthorizedKeysFile "+filepath.Join(dir, "authorized_keys")+`
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel ERROR
Subsystem sftp /usr/lib/openssh/sftp-server
`))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { serveSSHD(listener, settings, &running) })
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait() // the night is over, its connections are closed
	})
	port := listener.Addr().(*net.TCPAddr).Port
	return realServer{port: port, home: filepath.Join(dir, "home"), pinned: bureau.KnownHostsLine("127.0.0.1", port, host), user: strings.TrimSpace(string(pipe(t, nil, "id", "-un")))}
}

func serveSSHD(listener net.Listener, settings string, running *sync.WaitGroup) {
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
		cmd := exec.Command("/usr/sbin/sshd", "-i", "-e", "-f", settings)
		cmd.Stdin, cmd.Stdout = file, file
		err = cmd.Start()
		_ = file.Close()
		if err == nil {
			running.Go(func() { _ = cmd.Wait() })
		}
	}
}

// folder makes a folder at the server and gives the delivery settings for it.
func (s realServer) folder(t *testing.T, name string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(s.home, name), 0o700); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("delivery: {method: sftp, host: 127.0.0.1, port: %d, user: %s, key_file: keys/ssh_ed25519, known_hosts: keys/known_hosts, dir: %q, read_back: true}", s.port, s.user, filepath.Join(s.home, name))
}

// convert has LibreOffice open files and save them in another format; it gives the folder where they are.
func convert(t *testing.T, to string, paths ...string) string {
	t.Helper()
	out := t.TempDir()
	pipe(t, nil, "soffice", append([]string{"-env:UserInstallation=file://" + filepath.ToSlash(filepath.Join(t.TempDir(), "profile")),
		"--headless", "--norestore", "--convert-to", to, "--outdir", out}, paths...)...)
	return out
}

// sheetsToCSV is LibreOffice's filter for every sheet as a CSV in UTF-8, values as they are and not as they are shown.
const sheetsToCSV = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,false,false,false,false,-1"

// verification computes verification values with OpenSSL alone: single DES is
// triple DES with one key, and the algorithm's end is triple DES by itself.
type verification struct{ a, b string } // hexadecimal

func (v verification) values(t *testing.T, of [][3]string) []string {
	t.Helper()
	var first, second []byte
	for _, in := range of { // PAN, expiry, service code
		digits := in[0] + in[1] + in[2]
		block, err := hex.DecodeString(digits + strings.Repeat("0", 32-len(digits)))
		if err != nil {
			t.Fatal("a card number, expiry or service code is not of digits")
		}
		first, second = append(first, block[:8]...), append(second, block[8:]...)
	}
	x := pipe(t, first, "openssl", "enc", "-e", "-des-ede", "-K", v.a+v.a, "-nopad", "-nosalt")
	for i := range x {
		x[i] ^= second[i]
	}
	r := pipe(t, x, "openssl", "enc", "-e", "-des-ede", "-K", v.a+v.b, "-nopad", "-nosalt")
	values := make([]string, len(of))
	for i := range values {
		text := hex.EncodeToString(r[8*i : 8*i+8])
		digits := strings.Map(func(c rune) rune { return keepRune(c, c <= '9') }, text) +
			strings.Map(func(c rune) rune { return keepRune(c-'a'+'0', c > '9') }, text)
		values[i] = digits[:3]
	}
	return values
}

func keepRune(c rune, keep bool) rune {
	if keep {
		return c
	}
	return -1
}

func writeReal(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readReal(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// randomSource is where a key file that a test changes gets its nonce.
var randomSource = rand.Reader
