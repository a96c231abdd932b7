package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport is the house (docs/architecture.md): for each package what of ours
// it may use. "x/..." means x and everything below it.
var mayImport = map[string][]string{
	"cmd/reemboss":                      {"batch/...", "bureau", "formats/..."},
	"batch":                             {"batch/...", "bureau", "formats/..."},
	"batch/report":                      {"batch/durable", "batch/ledger", "batch/rules", "batch/config", "formats/..."},
	"batch/issue":                       {"batch/hsm", "batch/ledger", "batch/rules", "batch/config", "formats/..."},
	"batch/hsm":                         {"batch/config", "batch/durable", "formats/iso"},
	"batch/hsm/pkcs11":                  {"batch/hsm", "batch/config", "formats/iso"},
	"batch/hsm/payshield":               {"batch/hsm", "formats/iso"},
	"batch/hsm/payshield/payshieldtest": {},
	"batch/hsm/hsmtest":                 {"batch/hsm", "batch/config", "formats/iso"},
	"batch/ledger":                      {"batch/rules", "formats/..."},
	"batch/ledger/sqlite":               {"batch/ledger", "batch/rules", "batch/config", "batch/durable", "formats/..."},
	"batch/ledger/ledgertest":           {"batch/ledger", "batch/rules", "batch/config", "formats/..."},
	"batch/rules":                       {"batch/config", "formats/..."},
	"batch/notify":                      {"batch/report", "batch/ledger", "batch/config", "batch/durable"},
	"batch/config":                      {"formats/iso", "formats/returns"},
	"batch/durable":                     {},
	"formats/request":                   {"formats/table", "formats/extract", "formats/iso"},
	"formats/extract":                   {"formats/table", "formats/iso"},
	"formats/returns":                   {"formats/table", "formats/iso"},
	"formats/layout":                    {"formats/iso"},
	"formats/table":                     {},
	"formats/iso":                       {},
	"bureau":                            {},
	"testdata/proof":                    {},
}

// Imports go down only: formats and bureau know neither batch nor each other, rules know no ledger, nothing knows cmd.
func TestImportsGoDownOnly(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(rel)
		seen[folder] = true
		allowed, known := mayImport[folder]
		if !known {
			t.Errorf("%s is a package without a place in the house: give it one here and in docs/architecture.md", folder)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if ours, ok := strings.CutPrefix(name, "reemboss/"); ok && !permitted(allowed, ours) {
				t.Errorf("%s imports %s, which is not below it", path, ours)
			}
			if strings.HasPrefix(name, "golang.org/x/crypto/openpgp") {
				t.Errorf("%s imports the frozen openpgp", path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder := range mayImport {
		if !seen[folder] {
			t.Errorf("%s has a place in the house but no code", folder)
		}
	}
}

func permitted(allowed []string, name string) bool {
	return slices.ContainsFunc(allowed, func(a string) bool {
		below, deep := strings.CutSuffix(a, "/...")
		return a == name || deep && (name == below || strings.HasPrefix(name, below+"/"))
	})
}
