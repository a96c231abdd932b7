package main

import (
	"bytes"
	"crypto/rand"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/xuri/excelize/v2"

	"reemboss/batch"
	"reemboss/bureau"
)

// Every script of testdata/script is a session with the program, from outside:
// what a person types, which exit code comes back, what lies where afterwards.
//
// Each starts in an empty folder with cards.csv, a card master extract of a
// dozen cards (testdata/script/cards.csv; $EXPIRY and the like in it are
// dates near today), and REEMBOSS_DIR=w. `reemboss` is the program itself, in
// a process of its own. Beside the commands of testscript there are those of
// [scriptCommands].
func TestScripts(t *testing.T) {
	cards, err := os.ReadFile(filepath.Join("testdata", "script", "cards.csv"))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireUniqueNames:  true,
		RequireExplicitExec: false,
		Setup: func(env *testscript.Env) error {
			for name, value := range scriptDates(time.Now()) {
				env.Setenv(name, value)
			}
			env.Setenv("REEMBOSS_DIR", "w")
			// Without this the race detector holds every process for a second at its end.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			text := os.Expand(string(cards), env.Getenv)
			return os.WriteFile(filepath.Join(env.WorkDir, "cards.csv"), []byte(text), 0o600)
		},
		Cmds: scriptCommands,
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, fmt.Errorf("unknown condition %s", name)
			}
			return os.Geteuid() == 0, nil
		},
	})
}

// scriptDates are the dates that scripts and their files name. TODAY is the date of the sample configuration's time zone.
func scriptDates(now time.Time) map[string]string {
	if london, err := time.LoadLocation("Europe/London"); err == nil {
		now = now.In(london)
	}
	return map[string]string{
		"TODAY":     now.Format(time.DateOnly),
		"YESTERDAY": now.Add(-24 * time.Hour).Format(time.RFC3339), // to the second: "a day old" is 24 hours
		"LONG_AGO":  now.AddDate(0, 0, -15).Format(time.DateOnly),  // more than transit_days
		"NEXT_YEAR": now.AddDate(1, 0, 0).Format("2006"),
		"EXPIRY":    now.AddDate(1, 0, 0).Format("2006") + "-06",
		"EXPIRED":   now.AddDate(-1, 0, 0).Format("2006") + "-06",
	}
}

// scriptCommands are the words that a session has beside those of testscript.
var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"fast":      fast,
	"configure": configure,
	"exitcode":  exitCodeIs,
	"interrupt": interrupt,
	"growing":   growing,
	"ordinary":  ordinary,
	"lock":      holdLock,
	"expand":    expandFiles,
	"answer":    answerFile,
	"damage":    damage,
	"remember":  remember,
	"unchanged": unchanged,
	"private":   private,
	"ls":        listPaths,
	"show":      show,
	"pick":      pick,
	"json":      jsonIs,
	"received":  received,
	"issued":    issued,
	"agree":     agree,
	"seal":      seal,
	"unseal":    unseal,
	"workbook":  makeWorkbook,
	"sheet":     showSheet,
}

// scriptTB lets a command use what other tests of this package do with a workspace.
type scriptTB struct {
	testing.TB
	ts *testscript.TestScript
}

func (s scriptTB) Helper()                           {}
func (s scriptTB) Fatal(args ...any)                 { s.ts.Fatalf("%s", fmt.Sprint(args...)) }
func (s scriptTB) Fatalf(format string, args ...any) { s.ts.Fatalf(format, args...) }
func (s scriptTB) Errorf(format string, args ...any) { s.ts.Fatalf(format, args...) }

// scriptWorkspace is the workspace of the script: REEMBOSS_DIR.
func scriptWorkspace(ts *testscript.TestScript) *workspace {
	return &workspace{Workspace: batch.Workspace{Dir: ts.MkAbs(ts.Getenv("REEMBOSS_DIR"))}, tb: scriptTB{ts: ts}}
}

// ordinary: from here on the program works as an account without root's rights, which owns everything of the script
// (said again, also what was made since). Where the tests are not run by root it does so anyway.
//
//	ordinary
func ordinary(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 0, "ordinary")
	ts.Check(giveAway(ts.Getenv("WORK")))
	ts.Setenv("REEMBOSS_UID", strconv.Itoa(nobody))
}

func wantArgs(ts *testscript.TestScript, neg bool, args []string, least int, usage string) {
	if neg || len(args) < least {
		ts.Fatalf("usage: %s", usage)
	}
}

// one is the only path of a pattern.
func onePath(ts *testscript.TestScript, pattern string) string {
	paths, err := filepath.Glob(ts.MkAbs(pattern))
	ts.Check(err)
	if len(paths) != 1 {
		ts.Fatalf("%s: want one file, have %q", pattern, paths)
	}
	return paths[0]
}

// readText gives a file (a pattern of one), or what the last program wrote where it is called stdout.
func readText(ts *testscript.TestScript, name string) string {
	if name == "stdout" {
		return ts.ReadFile(name)
	}
	return ts.ReadFile(onePath(ts, name))
}

// fast: two looks at the inbox and a second attempt at a bureau are milliseconds apart.
func fast(ts *testscript.TestScript, neg bool, args []string) {
	w := scriptWorkspace(ts)
	w.configure("stable_for: 1s", "stable_for: 2ms")
	w.configure("retry_pause: 2s", "retry_pause: 2ms")
}

// configure OLD NEW replaces a text of config.yaml at its first place; \n stands for a new line.
func configure(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 2, "configure OLD NEW")
	lines := strings.NewReplacer(`\n`, "\n")
	scriptWorkspace(ts).configure(lines.Replace(args[0]), lines.Replace(args[1]))
}

// exitCodeIs: exitcode N program args… wants that exit code.
func exitCodeIs(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 2, "exitcode N program args…")
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s: exit code %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// interrupt N TEXT program args… starts the program, sends it SIGTERM when it has written the text, and wants exit code N.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 3, "interrupt N TEXT program args…")
	heard := &listener{text: args[1], said: make(chan struct{})}
	path, err := exec.LookPath(args[2])
	ts.Check(err)
	cmd := exec.Command(path, args[3:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), heard, heard
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "REEMBOSS_DIR="+ts.Getenv("REEMBOSS_DIR"))
	ts.Check(cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	select {
	case <-heard.said:
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	case <-ended:
	case <-time.After(time.Minute):
		ts.Check(cmd.Process.Kill())
	}
	<-ended
	fmt.Fprint(ts.Stdout(), heard.all())
	if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != args[0] {
		ts.Fatalf("%s: exit code %s, want %s", strings.Join(args[2:], " "), got, args[0])
	}
}

// listener keeps what a program writes and says when a text was in it.
type listener struct {
	sync.Mutex
	text string
	said chan struct{}
	buf  bytes.Buffer
}

func (l *listener) Write(p []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	before := strings.Contains(l.buf.String(), l.text)
	l.buf.Write(p)
	if !before && strings.Contains(l.buf.String(), l.text) {
		close(l.said)
	}
	return len(p), nil
}

func (l *listener) all() string {
	l.Lock()
	defer l.Unlock()
	return l.buf.String()
}

// growing FILE program args… runs the program while somebody writes to the file, from before its start to after its end.
func growing(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 2, "growing FILE program args…")
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_WRONLY, 0)
	ts.Check(err)
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := f.WriteString("\n"); err != nil {
				stopped <- err
				return
			}
			select {
			case <-stop:
				stopped <- f.Close()
				return
			case <-tick.C:
			}
		}
	}()
	err = ts.Exec(args[1], args[2:]...)
	close(stop)
	ts.Check(errors.Join(err, <-stopped))
}

// lock takes the workspace's lock, as another run has it; `! lock` gives it back.
func holdLock(ts *testscript.TestScript, neg bool, args []string) {
	path := scriptWorkspace(ts).LockFile()
	if neg {
		ts.Check(locks.release(path))
		return
	}
	l := flock.New(path)
	ok, err := l.TryLock()
	ts.Check(err)
	if !ok {
		ts.Fatalf("%s is locked already", path)
	}
	locks.held.Store(path, l)
	ts.Defer(func() { _ = locks.release(path) })
}

// locks are those that scripts hold, by path.
var locks heldLocks

type heldLocks struct{ held sync.Map }

func (h *heldLocks) release(path string) error {
	if l, there := h.held.LoadAndDelete(path); there {
		return l.(*flock.Flock).Unlock()
	}
	return nil
}

// expand FILE… replaces $TODAY and the like in files of the script, and what [bureauWords] knows.
func expandFiles(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 1, "expand FILE…")
	for _, name := range args {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(os.Expand(ts.ReadFile(name), bureauWords(ts))), 0o600))
	}
}

// damage FILE… overwrites the beginning of a file, as a failing disk does.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 1, "damage FILE…")
	for _, name := range args {
		f, err := os.OpenFile(onePath(ts, name), os.O_WRONLY, 0)
		ts.Check(err)
		_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, 4096), 0)
		ts.Check(errors.Join(err, f.Close()))
	}
}

// remembered are the files of a workspace as they were, by its folder.
var remembered sync.Map

// remember keeps every file of the workspace, for `unchanged`.
func remember(ts *testscript.TestScript, neg bool, args []string) {
	w := scriptWorkspace(ts)
	remembered.Store(w.Dir, w.files("."))
}

// unchanged [FOLDER…] wants every file below the folders (all, where none is named) to be as remembered, none gone and none new.
func unchanged(ts *testscript.TestScript, neg bool, args []string) {
	w := scriptWorkspace(ts)
	kept, there := remembered.Load(w.Dir)
	if !there || neg {
		ts.Fatalf("usage: remember, then unchanged [FOLDER…]")
	}
	before, now := below(kept.(map[string]string), args), below(w.files("."), args)
	sameFiles(scriptTB{ts: ts}, "unchanged", before, now)
}

func below(files map[string]string, folders []string) map[string]string {
	some := map[string]string{}
	for path, content := range files {
		if len(folders) == 0 || slices.ContainsFunc(folders, func(f string) bool { return strings.HasPrefix(path, f+"/") || path == f }) {
			some[path] = content
		}
	}
	return some
}

// private wants every folder of the workspace to be 0700 and every file 0600.
func private(ts *testscript.TestScript, neg bool, args []string) {
	w := scriptWorkspace(ts)
	ts.Check(filepath.WalkDir(w.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if got := info.Mode().Perm(); got != want {
			return fmt.Errorf("%s has mode %04o, want %04o", w.Relative(path), got, want)
		}
		return nil
	}))
}

// seal IN OUT KEYFILE encrypts a file to a public key, as the card master does with its extract.
func seal(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 3, "seal IN OUT KEYFILE")
	now := time.Now()
	to, err := bureau.ReadPublicKey(ts.MkAbs(args[2]), "", now)
	ts.Check(err)
	sender, err := bureau.GenerateKey("card master", "card.master@example.invalid", now, time.Hour)
	ts.Check(err)
	var out bytes.Buffer
	in, err := bureau.Seal(&out, bureau.Sealing{To: []*bureau.Key{to}, Signer: sender, FileName: args[0], Time: now, Rand: rand.Reader})
	ts.Check(err)
	_, err = io.WriteString(in, ts.ReadFile(args[0]))
	ts.Check(errors.Join(err, in.Close()))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), out.Bytes(), 0o600))
}

// unseal FILE prints what was sealed to the workspace's own key. Card numbers are masked.
func unseal(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 1, "unseal FILE")
	w := scriptWorkspace(ts)
	clear := w.openAt(w.Relative(onePath(ts, args[0])), "keys/issuer.pgp")
	fmt.Fprint(ts.Stdout(), maskedText(string(clear)))
}

// makeWorkbook: workbook OUT SHEET=FILE.csv… makes an XLSX with a sheet of text cells for each CSV.
func makeWorkbook(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 2, "workbook OUT SHEET=FILE.csv…")
	f := excelize.NewFile()
	defer f.Close()
	for i, arg := range args[1:] {
		sheet, from, _ := strings.Cut(arg, "=")
		if i == 0 {
			ts.Check(f.SetSheetName("Sheet1", sheet))
		} else {
			_, err := f.NewSheet(sheet)
			ts.Check(err)
		}
		rows, err := csv.NewReader(strings.NewReader(ts.ReadFile(from))).ReadAll()
		ts.Check(err)
		for r, row := range rows {
			ts.Check(f.SetSheetRow(sheet, fmt.Sprintf("A%d", r+1), &row))
		}
	}
	ts.Check(f.SaveAs(ts.MkAbs(args[0])))
}
