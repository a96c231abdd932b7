package batch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"reemboss/batch/ledger"
)

// wordAt is which argument of the functions that make an entry of the audit log is its word.
var wordAt = map[string]int{"entry": 0, "audit": 0, "recorded": 1, "again": 2}

// auditWords reads the sources of a package for every word that it can put into the audit log. A word that it cannot
// read is an error of the test: whoever writes one must be found.
func auditWords(t *testing.T, dir string, words map[string]bool) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d sources in %s: %v", len(paths), dir, err)
	}
	files := token.NewFileSet()
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			ast.Inspect(f, func(node ast.Node) bool {
				for _, word := range wordsOf(t, files, f, node) {
					words[word] = true
				}
				return true
			})
		}
	}
}

// wordsOf are the words of a call that makes an entry, or of an assignment to its word.
func wordsOf(t *testing.T, files *token.FileSet, f *ast.FuncDecl, node ast.Node) (words []string) {
	t.Helper()
	switch node := node.(type) {
	case *ast.AssignStmt:
		for i, to := range node.Lhs {
			if s, ok := to.(*ast.SelectorExpr); ok && s.Sel.Name == "What" && i < len(node.Rhs) && strings.HasPrefix(literal(node.Rhs[i]), "rotation.") {
				words = append(words, literal(node.Rhs[i]))
			}
		}
	case *ast.CallExpr:
		called, ok := node.Fun.(*ast.SelectorExpr)
		if !ok {
			return nil
		}
		at, makes := wordAt[called.Sel.Name]
		if !makes || at >= len(node.Args) {
			return nil
		}
		switch word := node.Args[at].(type) {
		case *ast.BasicLit:
			words = append(words, literal(word))
			if called.Sel.Name == "recorded" {
				words = append(words, literal(word)+"_failed")
			}
		case *ast.BinaryExpr: // "file." and a state; or a word that recorded was given, with its ending
			if literal(word.X) == "file." {
				return []string{"file." + strings.ToLower(string(ledger.Sent)), "file." + strings.ToLower(string(ledger.Undecided))}
			}
			if literal(word.Y) != "_failed" {
				t.Errorf("%s: a word of the audit log that cannot be read here", files.Position(word.Pos()))
			}
		case *ast.Ident:
			words = append(words, assigned(f, word.Name)...)
			if _, hands := wordAt[f.Name.Name]; len(words) == 0 && !hands {
				t.Errorf("%s: a word of the audit log that cannot be read here", files.Position(word.Pos()))
			}
		default:
			t.Errorf("%s: a word of the audit log that cannot be read here", files.Position(node.Pos()))
		}
	}
	return slices.DeleteFunc(words, func(w string) bool { return w == "" })
}

// assigned are the texts that a variable of a function is given.
func assigned(f *ast.FuncDecl, name string) (texts []string) {
	ast.Inspect(f, func(node ast.Node) bool {
		a, ok := node.(*ast.AssignStmt)
		if !ok || len(a.Lhs) != len(a.Rhs) {
			return true
		}
		for i, to := range a.Lhs {
			if v, ok := to.(*ast.Ident); ok && v.Name == name && literal(a.Rhs[i]) != "" {
				texts = append(texts, literal(a.Rhs[i]))
			}
		}
		return true
	})
	return texts
}

// literal is the text of a string literal, "" of anything else.
func literal(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
		text, _ := strconv.Unquote(l.Value) // the compiler read it
		return text
	}
	return ""
}

// The table in docs/audit.md has every word that the program writes, and no other.
func TestTheTableOfAuditWordsIsComplete(t *testing.T) {
	written := map[string]bool{}
	auditWords(t, ".", written)
	auditWords(t, "ledger/sqlite", written)
	text, err := os.ReadFile("../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\| ([^|]+) \\| ([^|]+) \\|$").FindAllStringSubmatch(string(text), -1) {
		if told[row[1]] {
			t.Errorf("%s is in the table twice", row[1])
		}
		told[row[1]] = true
	}
	for _, word := range slices.Sorted(maps.Keys(written)) {
		if !told[word] {
			t.Errorf("%s is written and not in docs/audit.md", word)
		}
	}
	for _, word := range slices.Sorted(maps.Keys(told)) {
		if !written[word] {
			t.Errorf("%s is in docs/audit.md and never written", word)
		}
	}
	if len(written) < 30 {
		t.Errorf("only %d words were found in the sources", len(written))
	}
}
