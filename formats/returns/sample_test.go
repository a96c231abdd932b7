package returns

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is the clock of the tests.
var now = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

// told is what a file gave.
type told struct {
	Summary Summary
	Lines   []Line
	Bad     []Bad
}

// read reads a file with the clock of the tests.
func read(f *Format, content string) (told, error) {
	var got told
	var err error
	got.Summary, err = f.At(now).Read(strings.NewReader(content),
		func(l *Line) error { got.Lines = append(got.Lines, *l); return nil },
		func(b *Bad) error { got.Bad = append(got.Bad, *b); return nil })
	return got, err
}

func mustRead(t *testing.T, f *Format, content string) told {
	t.Helper()
	got, err := read(f, content)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func compile(t *testing.T, mapping string) *Format {
	t.Helper()
	var d Description
	if err := yaml.UnmarshalWithOptions([]byte(mapping), &d, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	f, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Three bureaus whose files have nothing in common are read by their mappings alone.
func TestSamplesOfBureaus(t *testing.T) {
	folders, err := filepath.Glob("../../testdata/returns/*")
	if err != nil || len(folders) < 3 {
		t.Fatal(folders, err)
	}
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			mapping, err := os.ReadFile(filepath.Join(folder, "mapping.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(returnFile(t, folder))
			if err != nil {
				t.Fatal(err)
			}
			got := mustRead(t, compile(t, string(mapping)), string(content))
			golden(t, filepath.Join(folder, "expected.json"), got)
		})
	}
}

// returnFile is the one file of a folder that is neither the mapping nor what is expected.
func returnFile(t *testing.T, folder string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if ext := filepath.Ext(path); ext != ".yaml" && ext != ".json" {
			return path
		}
	}
	t.Fatalf("no return file in %s", folder)
	return ""
}

func golden(t *testing.T, path string, got told) {
	t.Helper()
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(got); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(text.String(), "\n")); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

// The page on mappings shows the samples as they are.
func TestThePageShowsTheSamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/returns.md")
	if err != nil {
		t.Fatal(err)
	}
	mappings, err := filepath.Glob("../../testdata/returns/*/mapping.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range mappings {
		mapping, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), "```yaml\n"+string(mapping)+"```") {
			t.Errorf("docs/returns.md does not show %s as it is", path)
		}
	}
	for _, key := range fieldNames {
		if !strings.Contains(string(page), "`"+key+"`") {
			t.Errorf("docs/returns.md does not name the field %s", key)
		}
	}
}

// The page's example of our own CSV is one.
func TestThePageShowsOurCSV(t *testing.T) {
	page, err := os.ReadFile("../../docs/returns.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "```\n")
	example, _, _ := strings.Cut(after, "```")
	if got := mustRead(t, Standard(), example); got.Bad != nil || len(got.Lines) != 3 {
		t.Errorf("%+v", got)
	}
}
