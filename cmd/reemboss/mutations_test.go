package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"reemboss/testdata/proof"
)

// repository is where the module begins, seen from here.
const repository = "../.."

// mutation is a deliberate breakage of the protocol; the words are explained in testdata/mutations.yaml.
type mutation struct {
	Name    string `yaml:"name"`
	Promise string `yaml:"promise"`
	Package string `yaml:"package"`
	Test    string `yaml:"test"`
	Says    string `yaml:"says"`
	Changes []struct {
		File string `yaml:"file"`
		Old  string `yaml:"old"`
		New  string `yaml:"new"`
	} `yaml:"changes"`
}

func mutations(tb testing.TB) []mutation {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "testdata", "mutations.yaml"))
	if err != nil {
		tb.Fatal(err)
	}
	var list []mutation
	if err := yaml.UnmarshalWithOptions(text, &list, yaml.DisallowUnknownField()); err != nil {
		tb.Fatal(err)
	}
	return list
}

// Each breakage of the list still fits the code, still compiles, and names a test that exists. That the test catches it
// is TestMutationsAreCaught, where everything is proven.
func TestMutationsFitTheCode(t *testing.T) {
	list := mutations(t)
	if len(list) < 10 {
		t.Errorf("there are %d mutations, ten were promised", len(list))
	}
	for _, m := range list {
		t.Run(m.Name, func(t *testing.T) {
			if _, err := regexp.Compile(m.Says); err != nil || m.Says == "" || m.Promise == "" {
				t.Errorf("what must be said is %q (%v), the promise %q", m.Says, err, m.Promise)
			}
			if !slices.Contains(testsOf(t, m.Package), topLevel(m.Test)) {
				t.Errorf("package %s has no test %s", m.Package, m.Test)
			}
			build := []string{"build", "-overlay", m.overlay(t)}
			for _, c := range m.Changes {
				build = append(build, "./"+path.Dir(c.File))
			}
			if out, err := goCommand(slices.Compact(build)...).CombinedOutput(); err != nil {
				t.Errorf("the broken form does not compile, so it proves nothing: %v\n%s", err, out)
			}
		})
	}
}

// The table of docs/reliability.md is the list.
func TestMutationsAreInTheDocs(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	const head = "| broken | what would no longer hold | caught by |\n|---|---|---|\n"
	_, after, found := strings.Cut(string(text), head)
	if !found {
		t.Fatalf("there is no table of mutations:\n%s", head)
	}
	table, _, _ := strings.Cut(after, "\n\n")
	var want strings.Builder
	for _, m := range mutations(t) {
		fmt.Fprintf(&want, "| %s | %s | `%s`: `%s` |\n", m.Name, m.Promise, m.Package, m.Test)
	}
	if strings.TrimSpace(table) != strings.TrimSpace(want.String()) {
		t.Errorf("the table must be\n%s%s", head, want.String())
	}
}

// Each breakage makes its test fail, with a word about the right thing; without it the test passes. It compiles the
// packages once for each; TestMutationsFitTheCode looks at all of them every time.
func TestMutationsAreCaught(t *testing.T) {
	survivors, list := 0, proof.Chosen(mutations(t))
	for _, m := range list {
		t.Run(m.Name, func(t *testing.T) {
			if err := m.caught(t); err != nil {
				survivors++
				t.Error(err)
			}
		})
	}
	proof.Tell(t, "mutations", len(list), survivors)
}

// caught runs the test with the breakage and without it.
func (m *mutation) caught(t *testing.T) error {
	whole, err := m.runTest()
	if err != nil {
		return fmt.Errorf("%s fails without the mutation too: %w\n%s", m.Test, err, whole)
	}
	broken, err := m.runTest("-overlay", m.overlay(t))
	switch {
	case err == nil:
		return fmt.Errorf("%s passes although the protocol is broken", m.Test)
	case !strings.Contains(broken, "--- FAIL: "+topLevel(m.Test)):
		return fmt.Errorf("%s did not fail, something else did: %w\n%s", m.Test, err, broken)
	case strings.Contains(broken, "panic:"):
		return fmt.Errorf("%s does not judge, it dies:\n%s", m.Test, broken)
	case !regexp.MustCompile(m.Says).MatchString(broken):
		return fmt.Errorf("%s fails and does not say %q:\n%s", m.Test, m.Says, broken)
	}
	return nil
}

// runTest runs the test alone; that it ran at all is part of its success.
func (m *mutation) runTest(flags ...string) (said string, err error) {
	var names []string
	for name := range strings.SplitSeq(m.Test, "/") {
		names = append(names, "^"+regexp.QuoteMeta(strings.ReplaceAll(name, " ", "_"))+"$")
	}
	args := append([]string{"test", "-count=1", "-timeout=10m", "-v", "-run", strings.Join(names, "/")}, flags...)
	out, err := goCommand(append(args, "./"+m.Package)...).CombinedOutput()
	if ran := "--- PASS: " + strings.ReplaceAll(m.Test, " ", "_") + " ("; err == nil && !strings.Contains(string(out), ran) {
		err = errors.New("no test of that name ran to its end")
	}
	return string(out), err
}

// overlay is the file that tells the go command which files are to be taken in another form.
func (m *mutation) overlay(t *testing.T) string {
	t.Helper()
	broken := map[string]string{} // file → its broken text
	for _, c := range m.Changes {
		path, err := filepath.Abs(filepath.Join(repository, filepath.FromSlash(c.File)))
		if err != nil {
			t.Fatal(err)
		}
		if broken[path] == "" {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			broken[path] = string(text)
		}
		if n := strings.Count(broken[path], c.Old); n != 1 || c.Old == "" {
			t.Fatalf("%s has this %d times and must have it once:\n%s", c.File, n, c.Old)
		}
		broken[path] = strings.Replace(broken[path], c.Old, c.New, 1)
	}
	folder := t.TempDir()
	var overlay struct{ Replace map[string]string }
	overlay.Replace = map[string]string{}
	for path, text := range broken {
		overlay.Replace[path] = filepath.Join(folder, fmt.Sprintf("%d.go", len(overlay.Replace)))
		if err := os.WriteFile(overlay.Replace[path], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(list, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return list
}

// goCommand works on the whole module, and proves nothing further itself.
func goCommand(args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir = repository
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "REEMBOSS_") })
	return cmd
}

func topLevel(test string) string {
	name, _, _ := strings.Cut(test, "/")
	return name
}

// The page on reliability names tests that exist.
func TestReliabilityNamesItsTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	proven, _, _ := strings.Cut(string(text), "## Mutations")
	named := 0
	for _, of := range regexp.MustCompile("`((?:cmd|batch|bureau|formats)[a-z/]*)`: ((?:`\\w+`(?:, )?)+)").FindAllStringSubmatch(proven, -1) {
		for _, name := range regexp.MustCompile(`\w+`).FindAllString(of[2], -1) {
			if named++; !slices.Contains(testsOf(t, of[1]), "Test"+name) {
				t.Errorf("%s has no Test%s", of[1], name)
			}
		}
	}
	if named < 25 {
		t.Errorf("only %d tests are named", named)
	}
}

// testsOf are the tests of a package by their names.
func testsOf(t *testing.T, folder string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repository, filepath.FromSlash(folder), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}
