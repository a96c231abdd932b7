package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writesItself is what may change a file system without durable.Disk, and why.
var writesItself = map[string]string{
	"batch/durable/disk.go":         "is the machine's own",
	"batch/durable/read.go":         "opens for reading only",
	"batch/ledger/sqlite/sqlite.go": "makes the empty file that SQLite then writes itself",
	"batch/ledger/sqlite/copy.go":   "makes the empty file that SQLite then writes itself",
	"bureau/pickup_folder.go":       "is the machine's own where no disk is given",
	"bureau/sshkey.go":              "makes a key for a command, not in a night",
	"bureau/simulator.go":           "is the bureau's side",
	"bureau/simulator_sftp.go":      "is the bureau's side",
	"bureau/simulator_answer.go":    "is the bureau's side",
	"bureau/life_memory.go":         "is the bureau's side",
	"cmd/reemboss/demo.go":          "makes the folder of a demonstration",
	"testdata/proof/proof.go":       "counts for the tests",
}

// What a night writes goes through the one seam, or a fault of the disk would be tried everywhere but there.
func TestEveryWriteGoesThroughTheDisk(t *testing.T) {
	changes := []string{"WriteFile", "Create", "CreateTemp", "MkdirTemp", "OpenFile", "Rename", "Remove", "RemoveAll", "Mkdir", "MkdirAll", "Link", "Symlink", "Truncate"}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if _, known := writesItself[filepath.ToSlash(rel)]; known {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			call, ok := node.(*ast.SelectorExpr)
			if !ok || !slices.Contains(changes, call.Sel.Name) {
				return true
			}
			if of, ok := call.X.(*ast.Ident); ok && (of.Name == "os" || of.Name == "root") {
				t.Errorf("%s: %s.%s is not seen by a disk of the tests: use durable.Files", set.Position(call.Pos()), of.Name, call.Sel.Name)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
