package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/xuri/excelize/v2"

	"reemboss/batch"
	"reemboss/batch/report"
	"reemboss/bureau"
	"reemboss/formats/layout"
)

// workspace is a temporary workspace and what a test does with it from outside.
type workspace struct {
	batch.Workspace
	tb      testing.TB
	program string   // path of the program; "" for this test binary under the name reemboss
	under   []string // what runs the program, such as strace with its arguments
}

// newWorkspace makes one with `init`. Files are complete after two milliseconds, pauses before a retry are as short.
func newWorkspace(tb testing.TB) *workspace {
	tb.Helper()
	w := &workspace{Workspace: batch.Workspace{Dir: filepath.Join(tb.TempDir(), "w")}, tb: tb}
	if r := w.start(nil, "init", w.Dir); r.exit != exitComplete {
		tb.Fatalf("init: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
	w.configure("stable_for: 1s", "stable_for: 2ms")
	w.configure("retry_pause: 2s", "retry_pause: 2ms")
	return w
}

// copyOf makes another workspace with the same files.
func (w *workspace) copyOf(tb testing.TB) *workspace {
	tb.Helper()
	return w.copyTo(tb, filepath.Join(tb.TempDir(), "w"))
}

// copyTo is copyOf at a place of the test's choice.
func (w *workspace) copyTo(tb testing.TB, dir string) *workspace {
	tb.Helper()
	c := &workspace{Workspace: batch.Workspace{Dir: dir}, tb: tb, program: w.program}
	if err := os.CopyFS(c.Dir, os.DirFS(w.Dir)); err != nil {
		tb.Fatal(err)
	}
	err := filepath.WalkDir(c.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// configure replaces a text of config.yaml at its first place.
func (w *workspace) configure(old, new string) {
	w.tb.Helper()
	text := string(w.read("config.yaml"))
	if !strings.Contains(text, old) {
		w.tb.Fatalf("config.yaml has no %q", old)
	}
	w.write("config.yaml", []byte(strings.Replace(text, old, new, 1)))
}

// configureBureau replaces a text of one bureau's section of config.yaml.
func (w *workspace) configureBureau(name, old, new string) {
	w.tb.Helper()
	text := string(w.read("config.yaml"))
	start := strings.Index(text, "\n  "+name+":\n")
	if start < 0 || !strings.Contains(text[start:], old) {
		w.tb.Fatalf("bureau %s of config.yaml has no %q", name, old)
	}
	w.write("config.yaml", []byte(text[:start]+strings.Replace(text[start:], old, new, 1)))
}

func (w *workspace) read(path ...string) []byte {
	w.tb.Helper()
	text, err := os.ReadFile(w.Path(path...))
	if err != nil {
		w.tb.Fatal(err)
	}
	return text
}

func (w *workspace) write(path string, content []byte) {
	w.tb.Helper()
	if err := os.MkdirAll(filepath.Dir(w.Path(path)), 0o700); err != nil {
		w.tb.Fatal(err)
	}
	if err := os.WriteFile(w.Path(path), content, 0o600); err != nil {
		w.tb.Fatal(err)
	}
}

func (w *workspace) remove(path string) {
	w.tb.Helper()
	if err := os.Remove(w.Path(path)); err != nil {
		w.tb.Fatal(err)
	}
}

// glob gives paths relative to the workspace, sorted.
func (w *workspace) glob(pattern string) []string {
	w.tb.Helper()
	paths, err := filepath.Glob(w.Path(pattern))
	if err != nil {
		w.tb.Fatal(err)
	}
	for i := range paths {
		paths[i] = w.Relative(paths[i])
	}
	return paths
}

// one is the only file of a pattern.
func (w *workspace) one(pattern string) string {
	w.tb.Helper()
	paths := w.glob(pattern)
	if len(paths) != 1 {
		w.tb.Fatalf("%s: want one file, have %q", pattern, paths)
	}
	return paths[0]
}

// files are all files below some folders, by their path in the workspace.
func (w *workspace) files(folders ...string) map[string]string {
	w.tb.Helper()
	all := map[string]string{}
	for _, folder := range folders {
		err := filepath.WalkDir(w.Path(folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			all[w.Relative(path)] = string(content)
			return err
		})
		if err != nil {
			w.tb.Fatal(err)
		}
	}
	return all
}

// sameFiles says which files are new, gone or changed.
func sameFiles(tb testing.TB, what string, before, after map[string]string) {
	tb.Helper()
	for _, path := range slices.Sorted(maps.Keys(before)) {
		content, there := after[path]
		if !there {
			tb.Errorf("%s: %s is gone", what, path)
		} else if content != before[path] {
			tb.Errorf("%s: %s changed", what, path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if _, there := before[path]; !there {
			tb.Errorf("%s: %s is new", what, path)
		}
	}
}

// ended is how a process ended and what it said.
type ended struct {
	exit   int // -1: killed by a signal
	killed bool
	stdout []byte
	stderr []byte
}

// start runs the program in a process of its own.
func (w *workspace) start(env []string, args ...string) ended {
	w.tb.Helper()
	cmd, out, complaints := w.command(env, args...)
	err := cmd.Run()
	return w.ended(cmd, err, out, complaints)
}

// startOrdinary is start as an account without root's rights, to which the workspace then belongs.
func (w *workspace) startOrdinary(args ...string) ended {
	w.tb.Helper()
	if err := giveAway(filepath.Dir(w.Dir)); err != nil {
		w.tb.Fatal(err)
	}
	return w.start([]string{"REEMBOSS_UID=" + strconv.Itoa(nobody)}, args...)
}

func (w *workspace) command(env []string, args ...string) (cmd *exec.Cmd, out, complaints *bytes.Buffer) {
	w.tb.Helper()
	program := w.program
	if program == "" {
		var err error
		if program, err = exec.LookPath("reemboss"); err != nil {
			w.tb.Fatal(err)
		}
	}
	line := append(append(slices.Clone(w.under), program), args...)
	cmd = exec.Command(line[0], line[1:]...)
	out, complaints = new(bytes.Buffer), new(bytes.Buffer)
	// The race detector would let every process sleep for a second at its end.
	cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), env...)
	cmd.Stdout, cmd.Stderr = out, complaints
	return cmd, out, complaints
}

// withoutRaceDetector is the program with its checkpoints for tests that start it hundreds of times: under the race
// detector each start costs five times as much and finds nothing that one night has not found. "" where it is not needed.
func withoutRaceDetector(tb testing.TB) string {
	tb.Helper()
	path, err := buildWithoutRaceDetector()
	if err != nil {
		tb.Logf("the program is used with the race detector, which takes longer: %v", err)
	}
	return path
}

// buildWithoutRaceDetector puts it beside the program under test, in the folder that is removed when all tests are done.
var buildWithoutRaceDetector = sync.OnceValues(func() (path string, err error) {
	built, ok := debug.ReadBuildInfo()
	if !ok || !slices.Contains(built.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return "", nil
	}
	program, err := exec.LookPath("reemboss")
	if err != nil {
		return "", err
	}
	path = filepath.Join(filepath.Dir(program), "quick", "reemboss")
	if out, err := exec.Command("go", "test", "-c", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go test -c: %w\n%s", err, out)
	}
	return path, nil
})

func (w *workspace) ended(cmd *exec.Cmd, err error, out, complaints *bytes.Buffer) ended {
	w.tb.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.tb.Fatal(err)
	}
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ended{exit: cmd.ProcessState.ExitCode(), killed: status.Signaled() && status.Signal() == syscall.SIGKILL, stdout: out.Bytes(), stderr: complaints.Bytes()}
}

// do runs a command of the workspace and wants its exit code.
func (w *workspace) do(exit int, args ...string) ended {
	w.tb.Helper()
	r := w.start(nil, append([]string{"--dir", w.Dir}, args...)...)
	if r.exit != exit {
		w.tb.Fatalf("%v: exit %d, want %d\n%s%s", args, r.exit, exit, r.stdout, r.stderr)
	}
	return r
}

// night runs the job to its end and gives what it tells.
func (w *workspace) night(exit int) *report.Reconciliation {
	w.tb.Helper()
	return told(w.tb, w.do(exit, "run", "--json"))
}

func told(tb testing.TB, r ended) *report.Reconciliation {
	tb.Helper()
	t := new(report.Reconciliation)
	if err := json.Unmarshal(r.stdout, t); err != nil {
		tb.Fatalf("run --json: %v\n%s%s", err, r.stdout, r.stderr)
	}
	return t
}

// killed starts a run that must die at the point.
func (w *workspace) killed(point string) ended {
	w.tb.Helper()
	r := w.start([]string{"REEMBOSS_KILL_AT=" + point}, "--dir", w.Dir, "--log-level", "debug", "run", "--json")
	if !r.killed {
		w.tb.Fatalf("the run was to be killed at %s and ended with exit code %d\n%s%s", point, r.exit, r.stdout, r.stderr)
	}
	return r
}

// points runs the night once and gives every point that it passed, in their order.
func (w *workspace) points() []string {
	w.tb.Helper()
	list := filepath.Join(w.tb.TempDir(), "points")
	if r := w.start([]string{"REEMBOSS_POINTS=" + list}, "--dir", w.Dir, "run"); r.exit != exitComplete && r.exit != exitPerson {
		w.tb.Fatalf("run: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
	text, err := os.ReadFile(list)
	if err != nil {
		w.tb.Fatal(err)
	}
	return strings.Fields(string(text))
}

// inside opens the workspace as a command would that changes nothing, for a look into the ledger.
func (w *workspace) inside(look func(*batch.Night)) {
	w.tb.Helper()
	n, err := batch.Open(context.Background(), w.Dir, batch.Options{Log: zerolog.Nop()})
	if err != nil {
		w.tb.Fatal(err)
	}
	defer n.Close()
	look(n)
}

// plastic is a card of the extract, as the tests know it.
type plastic struct{ id, customer, program, product, status, pan, expiry string }

// sampleCards are the cards of [batch.Sample] in the order of their ids: every third is mc-gold (beta), the others
// visa-classic (alpha); the tenth, twentieth … is not NORMAL.
func sampleCards(tb testing.TB, count int) (extract []byte, cards []plastic) {
	tb.Helper()
	var out bytes.Buffer
	sample := &batch.Sample{Seed: 5, Cards: count, Now: time.Now()}
	if err := sample.Extract(&out); err != nil {
		tb.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(out.Bytes())).ReadAll()
	if err != nil {
		tb.Fatal(err)
	}
	column := func(name string) int { return slices.Index(rows[0], name) }
	for _, row := range rows[1:] {
		cards = append(cards, plastic{id: row[column("card_id")], customer: row[column("customer_id")], program: row[column("program_id")],
			product: row[column("product")], status: row[column("status")], pan: row[column("pan")], expiry: row[column("expiry")]})
	}
	return out.Bytes(), cards
}

// workbook makes an XLSX with the rows on one sheet.
func workbook(tb testing.TB, rows [][]any) []byte {
	tb.Helper()
	f := excelize.NewFile()
	defer f.Close()
	for r, row := range rows {
		if err := f.SetSheetRow("Sheet1", fmt.Sprintf("A%d", r+1), &row); err != nil {
			tb.Fatal(err)
		}
	}
	return bookBytes(tb, f)
}

func bookBytes(tb testing.TB, f *excelize.File) []byte {
	tb.Helper()
	out, err := f.WriteToBuffer()
	if err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// lines makes a CSV.
func lines(rows ...string) []byte { return []byte(strings.Join(rows, "\n") + "\n") }

// realisticNight fills the inbox: an extract; a CSV of re-embossings with a row twice, a card asked for twice and bad
// rows; a workbook of reissues for every reason; a JSON body; a request file that holds a known card number; a file
// that cannot be read, and one that holds card numbers besides. It gives the cards and, by name, the request files.
func (w *workspace) realisticNight() (cards []plastic, requests map[string][]byte) {
	w.tb.Helper()
	extract, cards := sampleCards(w.tb, 60)
	w.write("inbox/cards/cards.csv", extract)
	requests = map[string][]byte{
		"a-again.csv": lines("Card ID;Reference;Remark",
			cards[0].id+";A-0;", cards[1].id+";A-1;", cards[2].id+";A-2;", cards[3].id+";A-3;", cards[4].id+";A-4;",
			cards[1].id+";A-1;", // the same row again
			cards[2].id+";A-22;asked for above already",
			"99;A-5;no such card", "1.00001E+05;A-6;a spreadsheet was here", cards[19].id+";A-7;not on demand"),
		"b-replace.xlsx": workbook(w.tb, [][]any{{"Cards to replace"}, {"Card ID", "User ID", "Reason code", "Reissue type", "Shipping method"},
			{cards[10].id, cards[10].customer, "damaged", "", "1"}, {cards[11].id, cards[11].customer, "lost", "", "2"},
			{cards[12].id, cards[12].customer, "fraud", 3, "3"}, {cards[13].id, cards[13].customer, "expired", 2, ""},
			{cards[14].id, cards[14].customer, "returned", "", ""}, {cards[16].id, cards[16].customer, "new enrolment", "", ""},
			{cards[17].id, "C1", "damaged", "", ""}, {cards[17].id, cards[17].customer, "lost", "1", ""},
			{cards[0].id, cards[0].customer, "lost", "", ""}}),
		"c-body.json":    []byte(`{"cards":[` + cards[20].id + `,"` + cards[21].id + `"]}`),
		"d-number.csv":   lines("card_id,remark", cards[22].id+",the number is "+cards[23].pan, cards[25].id+","),
		"e-nothing.csv":  lines("first,second", "1,2"),
		"f-numbers.xlsx": workbook(w.tb, [][]any{{"first", "second"}, {cards[26].pan, "x"}}),
	}
	for name, content := range requests {
		w.write("inbox/"+name, content)
	}
	return cards, requests
}

// made is one card in a file that a bureau has.
type made struct {
	bureau, file string
	sequence     int64
	layout.Record
}

// delivered opens every file under its final name at the simulated bureaus, with their own keys and the issuer's
// signature, and reads it by its layout. A file that is not whole is an error of the test.
func (w *workspace) delivered() []made {
	w.tb.Helper()
	var all []made
	for _, name := range []string{"alpha", "beta"} {
		for _, path := range w.glob("simulator/" + name + "/incoming/*.pgp") {
			clear := w.openAt(path, "simulator/"+name+"/keys/bureau.pgp")
			var records []layout.Record
			summary, err := w.layoutOf(name).Read(bytes.NewReader(clear), func(r layout.Record) error {
				records = append(records, r)
				return nil
			})
			if err != nil {
				w.tb.Fatalf("%s: %v", path, err)
			}
			for _, r := range records {
				all = append(all, made{bureau: name, file: filepath.Base(path), sequence: summary.Sequence, Record: r})
			}
		}
	}
	return all
}

func (w *workspace) layoutOf(bureauName string) *layout.Layout {
	w.tb.Helper()
	title := map[string]string{"alpha": "cardgen-v12", "beta": "fixed-v1"}[bureauName]
	text, _ := layout.Builtin(title)
	lay, err := layout.Compile(title, text)
	if err != nil {
		w.tb.Fatal(err)
	}
	return lay
}

// openAt decrypts a file with a private key of the workspace and checks our signature. The clear text stays in memory.
func (w *workspace) openAt(path, privateKey string) []byte {
	w.tb.Helper()
	private, err := bureau.ReadPrivateKey(w.Path(privateKey), nil, "", time.Now())
	if err != nil {
		w.tb.Fatal(err)
	}
	issuer, err := bureau.ReadPrivateKey(w.Path("keys/issuer.pgp"), nil, "", time.Now())
	if err != nil {
		w.tb.Fatal(err)
	}
	clear, verdict := bureau.Open(bytes.NewReader(w.read(path)), private, []*bureau.Key{issuer})
	content, err := io.ReadAll(clear)
	if err != nil {
		w.tb.Fatalf("open %s: %v", path, err)
	}
	if _, err := verdict(); err != nil {
		w.tb.Fatalf("open %s: %v", path, err)
	}
	return content
}

// cardSystem opens the files for the card system: one map a line, by column.
func (w *workspace) cardSystem() []map[string]string {
	w.tb.Helper()
	var all []map[string]string
	for _, path := range w.glob("outbox/card-system/*.pgp") {
		all = append(all, table(w.tb, w.openAt(path, "simulator/card-system/keys/card-system.pgp"))...)
	}
	return all
}

// table reads a CSV of ours with its header.
func table(tb testing.TB, text []byte) []map[string]string {
	tb.Helper()
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(rows) == 0 {
		tb.Fatalf("not a table (%d rows): %v", len(rows), err)
	}
	var all []map[string]string
	for _, row := range rows[1:] {
		line := map[string]string{}
		for i, name := range rows[0] {
			line[name] = row[i]
		}
		all = append(all, line)
	}
	return all
}

// results are the answers beside the request files in done/ and refused/, by the name of their file. Those to extracts are not among them.
func (w *workspace) results() map[string][]map[string]string {
	w.tb.Helper()
	all := map[string][]map[string]string{}
	for _, path := range append(w.glob("done/*/*.result.csv"), w.glob("refused/*/*.result.csv")...) {
		rows := table(w.tb, w.read(path))
		if len(rows) > 0 {
			if _, answer := rows[0]["transaction_id"]; !answer {
				continue
			}
		}
		all[strings.TrimSuffix(filepath.Base(path), ".result.csv")] = rows
	}
	return all
}
