package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// endsSoon is start for what must not wait: after a quarter of a minute it is ended, and the test with it.
func (w *workspace) endsSoon(args ...string) ended {
	w.tb.Helper()
	cmd, out, complaints := w.command(nil, append([]string{"--dir", w.Dir}, args...)...)
	if err := cmd.Start(); err != nil {
		w.tb.Fatal(err)
	}
	limit := time.AfterFunc(15*time.Second, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !limit.Stop() {
		w.tb.Fatalf("%v waits without end\n%s", args, complaints.Bytes())
	}
	return w.ended(cmd, err, out, complaints)
}

// What is no file is refused before it is opened: a pipe without a writer would be waited for, a device read, without end.
func TestWhatIsNoFileIsNotOpened(t *testing.T) {
	w := newWorkspace(t)
	w.do(exitComplete, "run") // there is a ledger, and thus something to restore
	dir, err := os.MkdirTemp("", "nofile")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := syscall.Mkfifo(at("pipe.csv"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("pipe.csv", at("link.csv")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(at("folder.csv"), 0o700); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", at("s.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for path, kind := range map[string]string{at("pipe.csv"): "a pipe", at("link.csv"): "a pipe", at("folder.csv"): "a folder", at("s.csv"): "a socket", "/dev/zero": "a device", "/dev/null": "a device"} {
		for _, command := range [][]string{
			{"check", path}, {"check", "--json", path}, {"cards", "import", path},
			{"restore", path, "--skip-sequences", "1", "--skip-cards", "1", "--skip-psns", "1", "--skip-runs", "1", "--reason", "try"},
			{"keys", "add", "cvk", "new", "--file", path, "--kcv", "ABCDEF"}, {"keys", "add", "cvk", "new", "--components", path + "," + path},
			{"keys", "add", "pgp", path, "--for", "escrow"}, {"keys", "add", "pgp", path, "--for", "escrow", "--fingerprint", strings.Repeat("A", 40)},
			{"backup", path},
		} {
			r := w.endsSoon(command...)
			said := string(r.stderr)
			told := strings.Contains(said, kind+", and no file") || command[1] == "add" && strings.Contains(said, "a folder, a pipe or a device, and no file") ||
				command[0] == "backup" && strings.Contains(said, "is there already")
			if r.exit != exitUsage || !told || strings.Count(said, "\n") != 1 {
				t.Errorf("%s %v: exit %d\n%s", kind, command, r.exit, said)
			}
		}
	}
}

func TestCheckEndsWhenItIsAskedTo(t *testing.T) {
	w := newWorkspace(t)
	w.do(exitComplete, "run")
	var rows bytes.Buffer
	rows.WriteString("card_id\n")
	for id := range 30000 {
		fmt.Fprintln(&rows, 1+id)
	}
	path := filepath.Join(t.TempDir(), "long.csv")
	writeReal(t, path, rows.Bytes())
	cmd, _, complaints := w.command(nil, "--dir", w.Dir, "check", path)
	cmd.Stdout = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if _, err := lines.ReadString('\n'); err != nil { // the rest waits until somebody reads it
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != exitStopped {
		t.Errorf("exit %d, want %d\n%s", got, exitStopped, complaints.Bytes())
	}
}
