package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"reemboss/batch/report"
	"reemboss/testdata/proof"
)

// pausedAt runs the night up to a point, does something to its files there, and lets it go on to its end.
func (w *workspace) pausedAt(point string, meanwhile func()) ended {
	w.tb.Helper()
	w.write("state/points", nil)
	cmd, out, complaints := w.command([]string{"REEMBOSS_PAUSE_AT=" + point, "REEMBOSS_POINTS=" + w.Path("state", "points")}, "--dir", w.Dir, "run", "--json")
	hold, err := cmd.StdinPipe()
	if err != nil {
		w.tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.tb.Fatal(err)
	}
	waitFor(w.tb, point, func() bool {
		return bytes.Contains(append([]byte("\n"), w.read("state", "points")...), []byte("\n"+point+"\n"))
	})
	meanwhile()
	if err := hold.Close(); err != nil {
		w.tb.Fatal(err)
	}
	err = cmd.Wait()
	return w.ended(cmd, err, out, complaints)
}

// change does something to a file while a night reads it.
type change func(tb testing.TB, path string)

func appended(text string) change {
	return func(tb testing.TB, path string) {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(text)
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

func shrunkTo(size int64) change {
	return func(tb testing.TB, path string) {
		if err := os.Truncate(path, size); err != nil {
			tb.Fatal(err)
		}
	}
}

func rewritten(content string) change {
	return func(tb testing.TB, path string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

func taken(tb testing.TB, path string) {
	if err := os.Remove(path); err != nil {
		tb.Fatal(err)
	}
}

func swappedFor(make func(path string) error) change {
	return func(tb testing.TB, path string) {
		taken(tb, path)
		if err := make(path); err != nil {
			tb.Fatal(err)
		}
	}
}

// A file changes at one exact moment of the night. That night and the next, the good files around it are answered; no
// row is answered twice or decided on bytes that nobody sent; and what cannot go on is told to a person.
func TestFilesThatChangeWhileTheyAreRead(t *testing.T) {
	const content = "card_id,remark\n20001,a\n20002,b\n20003,c\n"
	half := int64(strings.Index(content, "002,b"))
	all, one := "2:00 3:00 4:00", "2:00 3:00 4:00 5:00"
	count := proof.Of(t, "files that change")
	fifo := func(path string) error { return syscall.Mkfifo(path, 0o600) }
	link := func(path string) error { return os.Symlink("/etc/passwd", path) }
	for name, c := range map[string]struct {
		point          string
		inbox          bool // the file is still the sender's
		do             change
		first          string // its rows after the night in which it changed, "-" when it has no answer
		then           string // after the next one
		trouble, stuck bool
	}{
		"grows between the looks":                     {"intake/looked", true, appended("20004,d\n"), "-", one, false, false},
		"taken back between the looks":                {"intake/looked", true, taken, "-", "-", false, false},
		"a link between the looks":                    {"intake/looked", true, swappedFor(link), "-", "-", false, false},
		"taken back at the claim":                     {"intake/claiming#3", true, taken, "-", "-", false, false},
		"a link at the claim":                         {"intake/claiming#3", true, swappedFor(link), "-", "-", false, false},
		"a pipe at the claim":                         {"intake/claiming#3", true, swappedFor(fifo), "-", "-", false, false},
		"grows once it is taken":                      {"intake/renamed#3", false, appended("20004,d\n"), one, one, false, false},
		"shrinks once it is taken":                    {"intake/renamed#3", false, shrunkTo(half), "2:00 3:card_not_found", "2:00 3:card_not_found", false, false},
		"gone once it is taken":                       {"intake/renamed#3", false, taken, "-", "-", true, true},
		"grows once it is checked":                    {"stage/decide", false, appended("20004,d\n"), "-", one, false, false},
		"shrinks once it is checked":                  {"stage/decide", false, shrunkTo(half), "-", "2:00 3:card_not_found", false, false},
		"another file once it is checked":             {"stage/decide", false, rewritten("nothing\n"), "-", "0:header_missing", false, false},
		"another card once it is checked":             {"stage/decide", false, rewritten(strings.Replace(content, "20002", "20007", 1)), "-", all, false, false},
		"gone once it is checked":                     {"stage/decide", false, taken, "-", "-", true, true},
		"grows once it is decided":                    {"decide/committed#2", false, appended("20004,d\n"), "-", one, false, false},
		"shrinks once it is decided":                  {"decide/committed#2", false, shrunkTo(half), "-", all, false, true},
		"another file once it is decided":             {"decide/committed#2", false, rewritten("nothing\n"), "-", all, false, true},
		"another card once it is decided":             {"decide/committed#2", false, rewritten(strings.Replace(content, "20002", "20007", 1)), "-", all, false, true},
		"gone once it is decided":                     {"decide/committed#2", false, taken, "-", "-", true, true},
		"grows while its result is written":           {"answer/placed#2", false, appended("20004,d\n"), "-", one, false, false},
		"another file while its result is written":    {"answer/placed#2", false, rewritten("nothing\n"), "-", all, false, true},
		"gone while its result is written":            {"answer/placed#2", false, taken, "-", "-", true, true},
		"grows between its result and its last place": {"answer/result#2", false, appended("20004,d\n"), all, all, false, false},
	} {
		count.Add(1)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDamagedNight(t, withoutRaceDetector(t))
			w.write("inbox/changing.csv", []byte(content))
			r := w.pausedAt(c.point, func() {
				path := w.Path("inbox", "changing.csv")
				if !c.inbox {
					path = w.takenAs(content)
				}
				c.do(t, path)
			})
			w.answeredBeside(r, c.trouble)
			w.rowsOf("changing.csv", c.first)
			w.write("inbox/next.csv", asksFor(20100))
			next := w.start(nil, "--dir", w.Dir, "run", "--json")
			w.answeredBeside(next, c.stuck)
			w.rowsOf("changing.csv", c.then)
			w.rowsOf("next.csv", "2:00")
			cards := map[string]bool{}
			for _, m := range w.delivered() {
				if cards[m.Record["pan"]] {
					t.Error("a card was embossed twice")
				}
				cards[m.Record["pan"]] = true
			}
		})
	}
}

// takenAs is the place in state/intake of the file with this content.
func (w *workspace) takenAs(content string) string {
	w.tb.Helper()
	for path, text := range w.files("state/intake") {
		if text == content {
			return w.Path(path)
		}
	}
	w.tb.Fatal("the file is not in state/intake")
	return ""
}

// answeredBeside wants a night to have come to its end, the good files answered, and a person told where something is stuck.
func (n *damagedNight) answeredBeside(r ended, trouble bool) *report.Reconciliation {
	n.tb.Helper()
	if r.exit != exitComplete && r.exit != exitPerson {
		n.tb.Fatalf("exit %d\n%s", r.exit, r.stderr)
	}
	report := told(n.tb, r)
	balanced(n.tb, report)
	n.rowsOf("!first.csv", "2:00")
	n.rowsOf("~last.csv", "2:00")
	if trouble {
		needs(n.tb, report, "changing.csv")
	}
	return report
}

// rowsOf wants the rows of a file's answer; "-" for none.
func (n *damagedNight) rowsOf(name, want string) {
	n.tb.Helper()
	rows, answered := n.results()[name]
	var got []string
	for _, row := range rows {
		got = append(got, row["row"]+":"+row["all_codes"])
	}
	have := strings.Join(got, " ")
	if !answered {
		have = "-"
	}
	if have != want {
		n.tb.Errorf("%s: got %s, want %s", name, have, want)
	}
}

// A sparse file of 2 GiB is refused for its size: neither hashed nor read into memory, and kept as it came.
func TestTwoGibibytesAreRefusedQuickly(t *testing.T) {
	n := newDamagedNight(t, withoutRaceDetector(t))
	n.write("inbox/huge.csv", []byte("card_id\n20001\n"))
	if err := os.Truncate(n.Path("inbox", "huge.csv"), 2<<30); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	r := n.do(exitPerson, "run", "--json")
	t.Logf("the night took %v\n%s", time.Since(started).Round(time.Millisecond), r.stderr)
	n.rowsOf("huge.csv", "0:file_too_large")
	n.rowsOf("!first.csv", "2:00")
	n.rowsOf("~last.csv", "2:00")
	var stat syscall.Stat_t
	path := n.one("refused/*/huge.csv")
	if err := syscall.Stat(n.Path(path), &stat); err != nil || stat.Size != 2<<30 || stat.Blocks > 1000 {
		t.Errorf("%s has %d bytes in %d blocks: %v", path, stat.Size, stat.Blocks, err)
	}
}

// Files and folders whose rights do not let us, seen by a program that is not root: what can be taken is answered, what
// cannot be read or moved stays where it is, and each night a person is told of it, with what to do.
func TestFilesWithoutRights(t *testing.T) {
	n := newDamagedNight(t, withoutRaceDetector(t))
	id := 20000
	for name, mode := range map[string]os.FileMode{"a-0000.csv": 0, "b-0200.csv": 0o200, "c-0400.csv": 0o400, "d-0111.csv": 0o111, "e-0777.csv": 0o777, "f-4644.csv": 0o644 | os.ModeSetuid} {
		id++
		n.write("inbox/"+name, asksFor(id))
		if err := os.Chmod(n.Path("inbox", name), mode); err != nil {
			t.Fatal(err)
		}
	}
	n.write("inbox/cards/z-0000.csv", lines("card_id"))
	if err := os.Chmod(n.Path("inbox", "cards", "z-0000.csv"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(n.Path("inbox", "closed"), 0); err != nil {
		t.Fatal(err)
	}
	report := n.answeredBeside(n.asNobody("run", "--json"), false)
	for name, want := range map[string]string{"a-0000.csv": "-", "b-0200.csv": "-", "c-0400.csv": "2:00", "d-0111.csv": "-", "e-0777.csv": "2:00", "f-4644.csv": "2:00", "z-0000.csv": "-"} {
		n.rowsOf(name, want)
	}
	needs(t, report, "a-0000.csv, b-0200.csv, d-0111.csv in inbox/ could not be taken", "the right to read it")
	needs(t, report, "z-0000.csv in inbox/cards/ could not be taken", "the right to read it", "card numbers may lie there in clear")
	if !strings.Contains(report.Verdict, "4 files in the inbox could not be taken") {
		t.Errorf("the verdict is %q", report.Verdict)
	}
	for _, name := range []string{"inbox/a-0000.csv", "inbox/b-0200.csv", "inbox/d-0111.csv", "inbox/cards/z-0000.csv"} {
		if err := os.Chmod(n.Path(name), 0o600); err != nil {
			t.Errorf("it does not lie where its sender put it: %v", err)
		}
	}

	// With the right they are taken. An inbox that we may not change: its files stay, and a person is told each night.
	n.answeredBeside(n.asNobody("run", "--json"), false)
	n.rowsOf("a-0000.csv", "2:00")
	n.write("inbox/later.csv", asksFor(20050))
	if err := os.Chmod(n.Inbox(), 0o500); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		report = n.answeredBeside(n.asNobody("run", "--json"), false)
		needs(t, report, "later.csv in inbox/ could not be taken", "permission denied", "the right to write inbox/")
		n.rowsOf("later.csv", "-")
	}

	// One that we may not even look into is named, and nothing is begun.
	if err := os.Chmod(n.Inbox(), 0); err != nil {
		t.Fatal(err)
	}
	if r := n.asNobody("run"); r.exit != exitUsage || !bytes.Contains(r.stderr, []byte("inbox/cards")) || !bytes.Contains(r.stderr, []byte("permission denied")) {
		t.Errorf("a closed inbox: exit %d\n%s", r.exit, r.stderr)
	}
	if err := os.Chmod(n.Inbox(), 0o700); err != nil {
		t.Fatal(err)
	}
	n.answeredBeside(n.asNobody("run", "--json"), false)
	n.rowsOf("later.csv", "2:00")
}

// asNobody runs the program without the rights of root, if it would have them. The workspace is nobody's from then on.
func (n *damagedNight) asNobody(args ...string) ended {
	n.tb.Helper()
	cmd, out, complaints := n.command(nil, append([]string{"--dir", n.Dir}, args...)...)
	if os.Getuid() == 0 {
		program := filepath.Join(filepath.Dir(n.Dir), "reemboss")
		content, err := os.ReadFile(cmd.Path)
		if err == nil {
			err = os.WriteFile(program, content, 0o755)
		}
		for _, folder := range []string{filepath.Dir(n.Dir), filepath.Dir(filepath.Dir(n.Dir))} {
			if err == nil {
				err = os.Chmod(folder, 0o755)
			}
		}
		if err == nil {
			err = filepath.WalkDir(n.Dir, func(path string, _ os.DirEntry, err error) error {
				if err != nil {
					return err
				}
				return os.Lchown(path, nobody, nobody)
			})
		}
		if err != nil {
			n.tb.Fatal(err)
		}
		cmd.Path = program
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	err := cmd.Run()
	return n.ended(cmd, err, out, complaints)
}
