package main

import (
	"archive/zip"
	"bytes"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"reemboss/batch"
	"reemboss/bureau"
)

// Faults known from other programs of this kind, each with the tests that hold it off. Those of one package stand in
// that package; those of a whole night stand here.
//
//	an upload that failed is told as success          bureau: TestKnownFault_ShortUploadIsNotSuccess
//	the count of bytes returned is taken as proof     bureau: TestKnownFault_ShortUploadIsNotSuccess, TestReadBackFindsWhatTheSizeHides
//	a frozen PGP library, an expired key is used      TestImportsGoDownOnly, TestOrdersWaitForAFitKeyOfTheBureau, bureau: TestReadPublicKeyRefuses
//	a permanent error becomes success in the retries  bureau: TestKnownFault_PermanentErrorIsNotSuccess; TestInvariant7_FailureIsToldAndSuccessHasEvidence
//	a retry sends the unread rest of a buffer         bureau: TestKnownFault_RetryRewinds
//	with a setting missing a sealed name holds clear text  bureau: TestKnownFault_MissingSettingNeverSendsClear; TestKnownFault_MissingSettingWritesNothing
//	encrypt-and-sign sends only the signature         bureau: TestKnownFault_EncryptAndSignCarriesContent
//	a crash strands the files set aside               TestKnownFault_CrashStrandsNoFile
//	clean-up deletes inputs whose upload failed       TestKnownFault_CleanUpKeepsWhatWasNotSent
//	two files of one second overwrite each other      TestKnownFault_TwoFilesOfOneSecond
//	a killed job stays "started"                      TestKnownFault_KilledJobIsContinued
//	good items are written twice after a write error  TestKnownFault_WriteErrorWritesNothingTwice
//	the target is deleted when a rename is refused    bureau: TestKnownFault_RenameRefusedKeepsTarget
//	an atomic write without fsync of the folder       TestKnownFault_FoldersAreSynced, TestKnownFault_FilesMoveInOnePlace
//	damaged XML ends a sheet early without an error   TestKnownFault_DamagedSheetIsRefusedWhole
//	clear copies of sheets in the temporary folder    TestKnownFault_SheetsLeaveNoClearCopies
//	a missing column reads as empty, the last of two equal headers counts   TestKnownFault_MissingAndDoubleColumns

// Set aside by a run that died before midnight, the files are finished by the run after midnight, under the number and
// the date of the run that took them.
func TestKnownFault_CrashStrandsNoFile(t *testing.T) {
	w := newWorkspace(t)
	cards := w.smallNight()
	w.write("inbox/b.csv", lines("card_id", cards[7].id))
	w.killed("intake/renamed#3")
	w.reembossFile("c.csv", cards[9]) // comes after the crash
	r := w.nightAt(time.Now().AddDate(0, 0, 1))
	if r.Exit != exitComplete || r.Read != 8 || r.Accepted != 8 || r.Starts != 2 {
		t.Errorf("exit %d, read %d, accepted %d, starts %d", r.Exit, r.Read, r.Accepted, r.Starts)
	}
	if left := w.files("state/intake", "inbox"); len(left) > 0 {
		t.Errorf("%d files are stranded", len(left))
	}
	for _, name := range []string{"a.csv", "b.csv", "c.csv"} {
		w.one("done/" + r.Date + "/" + name)
	}
	if got := len(w.delivered()); got != 8 {
		t.Errorf("%d cards were delivered, want 8", got)
	}
	if tomorrow := w.nightAt(time.Now().AddDate(0, 0, 1)); tomorrow.Read != 0 || tomorrow.RunID == r.RunID {
		t.Errorf("the next run is %s and read %d", tomorrow.RunID, tomorrow.Read)
	}
}

// nightAt runs the job in this process at another time.
func (w *workspace) nightAt(at time.Time) *batch.Result {
	w.tb.Helper()
	n, err := batch.Open(context.Background(), w.Dir, batch.Options{Lock: true, Log: zerolog.Nop(), Now: func() time.Time { return at }})
	if err != nil {
		w.tb.Fatal(err)
	}
	defer n.Close()
	r, err := n.Run(context.Background())
	if err != nil {
		w.tb.Fatal(err)
	}
	return r
}

// Nobody answers at the bureau for three nights. The request file has its answers, the sealed file stays and is the very
// one that goes out in the fourth.
func TestKnownFault_CleanUpKeepsWhatWasNotSent(t *testing.T) {
	w := newWorkspace(t)
	w.smallNight()
	known := w.read("keys/known_hosts")
	w.write("keys/known_hosts", bytes.ReplaceAll(known, []byte("alpha.simulator"), []byte("another.host")))
	w.configureBureau("alpha", "attempts: 5", "attempts: 1")
	w.night(exitPerson)
	path := w.one("outbox/alpha/*")
	frozen := w.read(path)
	for range 2 {
		r := w.night(exitPerson)
		needs(t, r, filepath.Base(path))
		if r.Read != 0 {
			t.Errorf("read %d", r.Read)
		}
	}
	w.one("done/*/a.csv")
	w.write("keys/known_hosts", known)
	w.night(exitComplete)
	if !bytes.Equal(w.read(w.one("simulator/alpha/incoming/*")), frozen) || !bytes.Equal(w.read(path), frozen) {
		t.Error("what went out is not the file of the first night")
	}
}

// Files made within one second have names and numbers of their own, and a template without the number is refused. Request
// files of one name on one day keep what belongs to each.
func TestKnownFault_TwoFilesOfOneSecond(t *testing.T) {
	w := newWorkspace(t)
	w.configureBureau("alpha", "max_records: 0", "max_records: 1")
	cards := w.smallNight()
	r := w.night(exitComplete)
	if files := w.glob("simulator/alpha/incoming/*"); len(files) != 4 || len(w.glob("outbox/alpha/*")) != 4 || len(w.glob("reports/*/*alpha*.masked.xml")) != 4 {
		t.Errorf("four files were made, there are %q", files)
	}
	if got := len(w.delivered()); got != 6 || r.Written != 6 {
		t.Errorf("%d cards were delivered, %d written, want 6", got, r.Written)
	}
	w.reembossFile("a.csv", cards[6])
	w.reembossFile("b.csv", cards[7])
	w.night(exitComplete)
	w.reembossFile("a.csv", cards[8])
	w.night(exitComplete)
	for name, rows := range map[string]int{"a.csv": 6, "a-2.csv": 1, "a-3.csv": 1, "b.csv": 1} {
		if got := len(w.results()[name]); got != rows {
			t.Errorf("the result of %s has %d rows, want %d", name, got, rows)
		}
		w.one("done/*/" + name)
	}
	w.sequencesHaveNoGap(w.delivered())

	w.configureBureau("alpha", `{sequence:06}`, `{time:150405}`)
	if complaint := w.do(exitUsage, "run").stderr; !bytes.Contains(complaint, []byte("sequence")) {
		t.Errorf("a name without the number: %s", complaint)
	}
}

// No state of a killed run needs a person: status tells it, and the next run takes it over under its id.
func TestKnownFault_KilledJobIsContinued(t *testing.T) {
	w := newWorkspace(t)
	w.smallNight()
	w.killed("write/planned")
	if said := w.do(exitComplete, "status").stdout; !bytes.Contains(said, []byte("not finished; the next run continues it")) {
		t.Errorf("status: %s", said)
	}
	w.killed("sent/INTENT")
	r := w.night(exitComplete)
	if r.Starts != 3 || !strings.HasSuffix(r.RunID, "-001") {
		t.Errorf("run %s has %d starts", r.RunID, r.Starts)
	}
	if said := w.do(exitComplete, "status").stdout; bytes.Contains(said, []byte("not finished")) {
		t.Errorf("status: %s", said)
	}
}

// The disk refuses the second of three files. The run says so and stops; the next one writes what is missing and nothing twice.
func TestKnownFault_WriteErrorWritesNothingTwice(t *testing.T) {
	w := newWorkspace(t)
	w.configureBureau("alpha", "max_records: 0", "max_records: 2")
	w.smallNight()
	prepared := w.copyOf(t)
	prepared.night(exitComplete)
	names := prepared.glob("outbox/alpha/*")
	if len(names) != 2 {
		t.Fatalf("alpha was to get two files: %q", names)
	}
	if err := os.Mkdir(w.Path(names[1]), 0o700); err != nil { // in the way of the second one
		t.Fatal(err)
	}
	r := w.do(exitFault, "run")
	if !bytes.Contains(r.stderr, []byte(filepath.Base(names[1]))) {
		t.Errorf("told: %s", r.stderr)
	}
	first := w.read(names[0])
	w.remove(names[1])
	w.night(exitComplete)
	if !bytes.Equal(w.read(names[0]), first) {
		t.Error("the file that was good was written anew")
	}
	uids := map[string]int{}
	for _, m := range w.delivered() {
		uids[string(m.Record["uid"])]++
	}
	if len(uids) != 6 {
		t.Errorf("%d orders were delivered, want 6: %v", len(uids), uids)
	}
	w.sequencesHaveNoGap(w.delivered())
}

// Without its key, its fingerprint or the whole pgp section a bureau gets nothing, rather than something clear; an
// encrypted extract that cannot be opened leaves nothing clear either.
func TestKnownFault_MissingSettingWritesNothing(t *testing.T) {
	section := regexp.MustCompile(`(?m)^    pgp:\n(?:      .*\n)+`)
	for name, cut := range map[string]*regexp.Regexp{
		"no pgp section": section,
		"no fingerprint": regexp.MustCompile(`(?m)^      fingerprint: .*\n`),
		"no key file":    regexp.MustCompile(`(?m)^      key_file: keys/bureaus/alpha.asc\n`),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			w.smallNight()
			text := w.read("config.yaml")
			at := cut.FindIndex(text)
			w.write("config.yaml", append(bytes.Clone(text[:at[0]]), text[at[1]:]...))
			before := w.files("inbox", "outbox", "simulator", "done")
			w.do(exitUsage, "run")
			w.do(exitUsage, "config", "check")
			sameFiles(t, "refused configuration", before, w.files("inbox", "outbox", "simulator", "done"))
		})
	}
	t.Run("an encrypted extract for another key", func(t *testing.T) {
		w, other := newWorkspace(t), newWorkspace(t)
		extract, cards := sampleCards(t, 40)
		w.write("inbox/cards/cards.csv.pgp", other.sealExtract(extract))
		w.reembossFile("a.csv", cards[0])
		r := w.night(exitPerson)
		needs(t, r, "cards.csv.pgp", "file_unreadable")
		if r.Refused != 2 {
			t.Errorf("refused %d, want the extract and the row for a card that nobody knows", r.Refused)
		}
		s := newSecrets()
		for _, c := range cards {
			s.pan(c.pan, "the number of card "+c.id)
		}
		for _, place := range s.leaks(w) {
			t.Error(place)
		}
	})
	t.Run("a clear extract in production", func(t *testing.T) {
		w := newWorkspace(t)
		own, err := bureau.ReadPrivateKey(w.Path("keys/issuer.pgp"), nil, "", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		extract, _ := sampleCards(t, 40)
		w.write("inbox/cards/cards.csv", extract)
		w.configure("environment: test", "environment: production")
		w.configure("allow_software_keys: false", "allow_software_keys: true")
		for _, name := range []string{"alpha", "beta"} {
			w.configureBureau(name, "simulator: true", "simulator: false")
		}
		r := w.startOrdinary("--dir", w.Dir, "run") // production does nothing as root
		if r.exit != exitPerson || !bytes.Contains(r.stderr, []byte("PGP-encrypted")) {
			t.Fatalf("exit %d\n%s", r.exit, r.stderr)
		}
		clear, verdict := bureau.Open(bytes.NewReader(w.read(w.one("refused/*/cards.csv.pgp"))), own, []*bureau.Key{own})
		kept, err := io.ReadAll(clear)
		if _, bad := verdict(); err != nil || bad != nil || !bytes.Equal(kept, extract) {
			t.Errorf("the refused extract is not kept sealed and whole: %v %v", err, bad)
		}
	})
}

// A sheet with damaged XML is refused as a whole: none of the rows before the damage is done, none after it is lost in silence.
func TestKnownFault_DamagedSheetIsRefusedWhole(t *testing.T) {
	_, cards := sampleCards(t, 40)
	var rows [][]any
	rows = append(rows, []any{"Card ID"})
	for _, c := range cards[:9] {
		rows = append(rows, []any{c.id})
	}
	good := workbook(t, rows)
	for name, damage := range map[string]func(sheet []byte) []byte{
		"cut":      func(sheet []byte) []byte { return sheet[:len(sheet)*2/3] },
		"a bare &": func(sheet []byte) []byte { return bytes.Replace(sheet, []byte(`r="A6"`), []byte(`r="A6" x="&"`), 1) },
		"a bad tag": func(sheet []byte) []byte {
			return bytes.Replace(sheet, []byte(`<row r="6"`), []byte(`<row r="6"><<`), 1)
		},
		"invalid UTF-8": func(sheet []byte) []byte {
			return bytes.Replace(sheet, []byte(`<row r="6"`), []byte("<row r=\"6\" s=\"\xff\xfe\""), 1)
		},
		"an open end":    func(sheet []byte) []byte { return bytes.Replace(sheet, []byte(`</sheetData>`), nil, 1) },
		"nothing at all": func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			w.smallNight()
			w.remove("inbox/a.csv")
			broken := withPart(t, good, "xl/worksheets/sheet1.xml", damage)
			w.write("inbox/b.xlsx", broken)
			r := w.night(exitPerson)
			needs(t, r, "b.xlsx", "file_unreadable")
			if r.Read != 1 || r.Refused != 1 || r.Accepted != 0 {
				t.Errorf("read %d, refused %d, accepted %d", r.Read, r.Refused, r.Accepted)
			}
			w.requestsAreWhole(map[string][]byte{"b.xlsx": broken})
		})
	}
}

// withPart changes one part of an archive.
func withPart(tb testing.TB, archive []byte, name string, change func([]byte) []byte) []byte {
	tb.Helper()
	in, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		tb.Fatal(err)
	}
	var out bytes.Buffer
	made, changed := zip.NewWriter(&out), false
	for _, part := range in.File {
		r, err := part.Open()
		if err != nil {
			tb.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			tb.Fatal(err)
		}
		if part.Name == name {
			after := change(bytes.Clone(content))
			changed = !bytes.Equal(content, after)
			content = after
		}
		part, err := made.Create(part.Name)
		if err == nil {
			_, err = part.Write(content)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := made.Close(); err != nil || !changed {
		tb.Fatalf("%s was to be changed: %v", name, err)
	}
	return out.Bytes()
}

// Workbooks with card numbers are read, coloured and refused without a copy in the temporary folder, not even while it
// happens or after a kill.
func TestKnownFault_SheetsLeaveNoClearCopies(t *testing.T) {
	w := newWorkspace(t)
	w.carelessNight()
	for _, point := range []string{"cards/imported#2", "decide/committed#3", "answer/result#3", ""} {
		temporary := t.TempDir()
		r := w.start([]string{"TMPDIR=" + temporary, "REEMBOSS_KILL_AT=" + point}, "--dir", w.Dir, "run")
		if r.killed != (point != "") {
			t.Fatalf("killed %v at %q, exit %d\n%s", r.killed, point, r.exit, r.stderr)
		}
		if left := dirEntries(t, temporary); len(left) > 0 {
			t.Errorf("killed at %q, the temporary folder has %v", point, left)
		}
	}
}

// A column that must be there and is not refuses the file, and so do two of one name; neither is read as empty or as the last one.
func TestKnownFault_MissingAndDoubleColumns(t *testing.T) {
	_, cards := sampleCards(t, 40)
	a, b := cards[0], cards[1]
	for name, c := range map[string]struct {
		text string
		code string
	}{
		"two of one name":      {"card_id,card_id\n" + a.id + "," + b.id + "\n", "header_duplicate"},
		"two names of one":     {"card_id,Card No.\n" + a.id + "," + b.id + "\n", "header_duplicate"},
		"no card id":           {"reference\nx\n", "header_missing"},
		"a reissue, no user":   {"card_id,reason_code\n" + a.id + ",damaged\n", "customer_not_found"},
		"a reissue, no reason": {"card_id,user_id,reason_code\n" + a.id + "," + a.customer + ",\n", "reason_code_missing"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			w.smallNight()
			w.remove("inbox/a.csv")
			w.write("inbox/b.csv", []byte(c.text))
			if r := w.start(nil, "--dir", w.Dir, "run"); r.exit != exitComplete && r.exit != exitPerson {
				t.Fatalf("exit %d\n%s", r.exit, r.stderr)
			}
			rows := w.results()["b.csv"]
			if len(rows) != 1 || rows[0]["outcome"] != "refused" || !strings.Contains(rows[0]["all_codes"], c.code) {
				t.Errorf("want %s, the result says %v", c.code, rows)
			}
		})
	}
	t.Run("an extract without status", func(t *testing.T) {
		w := newWorkspace(t)
		w.write("inbox/cards/cards.csv", lines("card_id,customer_id,program_id,product,pan,expiry,printed_name", "1,C1,100,visa-classic,"+a.pan+",2031-01,A B"))
		r := w.night(exitPerson)
		needs(t, r, "cards.csv", "status")
	})
}

// The folder of every file that is renamed, linked or removed is made durable before the run is over, seen from the
// system calls. Files of SQLite are its own.
func TestKnownFault_FoldersAreSynced(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("no strace here: TestKnownFault_FilesMoveInOnePlace alone holds this")
	}
	w := newWorkspace(t)
	w.smallNight()
	program, err := exec.LookPath("reemboss")
	if err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	if quick := withoutRaceDetector(t); quick != "" {
		program = quick
	}
	cmd := exec.Command(strace, "-f", "-y", "-qq", "-s", "4096", "-o", trace, "-e", "trace=rename,renameat,renameat2,link,linkat,unlink,unlinkat,fsync,fdatasync", program, "--dir", w.Dir, "run")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("strace cannot trace here: %v\n%s", err, out)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	moved := regexp.MustCompile(`(?:rename|link)[a-z0-9]*\(.*"([^"]+)"(?:, [A-Z0-9_|]+)?\)\s+= 0`)
	synced := regexp.MustCompile(`f(?:data)?sync\(\d+<([^>]+)>\)?`)
	open := map[string]string{} // folder → the call that changed it and is not durable yet
	moves := 0
	for line := range strings.Lines(string(text)) {
		if m := moved.FindStringSubmatch(line); m != nil {
			path := m[1]
			if strings.Contains(path, "ledger.sqlite") || strings.Contains(path, "/simulator/") || strings.Contains(path, batchTemp) || !strings.HasPrefix(path, w.Dir) {
				continue
			}
			moves++
			open[filepath.Dir(path)] = strings.TrimSpace(line)
		} else if m := synced.FindStringSubmatch(line); m != nil {
			delete(open, m[1])
		}
	}
	if moves < 10 {
		t.Fatalf("the trace has only %d moves", moves)
	}
	for folder, call := range open {
		t.Errorf("%s is never synced after %s", w.Relative(folder), call)
	}
}

// batchTemp begins the names of files that were never given a place: removing one needs no sync.
const batchTemp = ".reemboss-tmp-"

// Files are renamed, linked and removed in package durable and nowhere else, so that none forgets the folder.
func TestKnownFault_FilesMoveInOnePlace(t *testing.T) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && rel != "." || rel == "bureau" || rel == filepath.Join("batch", "durable")) {
			return filepath.SkipDir // bureau writes on the far side, and there the protocol of delivery rules
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if from, ok := call.X.(*ast.Ident); ok && from.Name == "os" {
				switch call.Sel.Name {
				case "Rename", "Link", "Symlink", "Remove", "RemoveAll", "WriteFile", "Create", "CreateTemp":
					t.Errorf("%s: os.%s; package durable does that", files.Position(call.Pos()), call.Sel.Name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
