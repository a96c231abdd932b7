package batch

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What has the name of a file and is none is told, one sentence a kind; what is made by tools, or is ours, is not.
func TestWhatIsNoFileIsToldOnce(t *testing.T) {
	b := newBench(t)
	b.silent()
	const number = "4111110000010012"
	for _, name := range []string{"d01.csv", "d02.xlsx", "d03.json", "d04.csv.asc", "d05.PGP", "d06.csv", "d07.csv", "archive", ".ssh.csv"} {
		if err := os.Mkdir(b.Path("inbox", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	old := b.now.Add(-25 * time.Hour)
	for _, name := range []string{"..x.csv", ".y.csv", ".in." + number + ".csv", ".new.csv", "._mac.csv", ".b.csv.swp", ".~lock.b.csv#"} {
		b.drop(name, "card_id\n1\n")
		if name != ".new.csv" && name != "..x.csv" {
			if err := os.Chtimes(b.Path("inbox", name), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	returns := filepath.Join(b.Simulator("alpha"), "returns")
	err := errors.Join(syscall.Mkfifo(b.Path("inbox", "pipe.csv"), 0o600), os.Symlink("d01.csv", b.Path("inbox", "link.csv")),
		os.Mkdir(filepath.Join(b.InboxCards(), "cards.csv"), 0o700), os.MkdirAll(filepath.Join(returns, "day.csv"), 0o700))
	if err != nil {
		t.Fatal(err)
	}
	r := b.run()
	var told []string
	for _, note := range r.Notes {
		if strings.Contains(note, "inbox") || strings.Contains(note, "returns folder") {
			told = append(told, note)
		}
	}
	slices.Sort(told)
	want := []string{
		"..x.csv, .in.411111xxxxxx0012.csv, .y.csv in inbox are hidden by the dot that their names begin with, and are not read: give them names without the dot",
		".ssh.csv, d01.csv, d02.xlsx, d03.json, d04.csv.asc and 3 more in inbox are no files (each is a folder); they are left alone: put the files themselves there",
		"cards.csv in inbox/cards is a folder, not a file; it is left alone: put the file itself there",
		"day.csv in the returns folder of alpha is a folder, not a file; it is left alone: put the file itself there",
		"link.csv in inbox is a link, not a file; it is left alone: put the file itself there",
		"pipe.csv in inbox is a pipe, socket or device, not a file; it is left alone: put the file itself there",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told:\n%s\nwant:\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
	if r.Exit != 0 {
		t.Errorf("exit %d: %s", r.Exit, r.Verdict)
	}
}
