package batch

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// What a sender wrote commands neither a terminal nor a spreadsheet of who reads a result or the page; the original stays as it came.
func TestControlCharactersOfASenderStandInNothingForPeople(t *testing.T) {
	b := newBench(t)
	content := "card_id,user_id,reason_code,reference,comment\n" +
		"\x1b[31m100007,C1,damaged,\u009b31m,\x1b]0;pwn\x07\n" + "7,\x1b[2J,\u009bdamaged,\x07,x;=cmd|1\n"
	b.drop("a.csv", content)
	b.run()
	var read []string
	for _, pattern := range []string{"done/*/*.result.csv", "reports/*/*.html", "reports/*/*.csv"} {
		found, err := filepath.Glob(b.Path(filepath.FromSlash(pattern)))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		read = append(read, found...)
	}
	for _, path := range read {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, control := range []string{"\x1b", "\x07", "\u009b", ";=cmd"} {
			if bytes.Contains(text, []byte(control)) {
				t.Errorf("%s has %q", b.Relative(path), control)
			}
		}
	}
	if kept := b.kept("done", "a.csv"); string(kept) != content {
		t.Error("the original was changed")
	}
}
