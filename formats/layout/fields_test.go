package layout

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"
)

// fieldConstants are the values of all constants of record.go.
func fieldConstants(t *testing.T) []Field {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "record.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var list []Field
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			text, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			list = append(list, Field(text))
		}
		return true
	})
	return list
}

func TestEveryFieldIsEitherOpenOrSecret(t *testing.T) {
	constants := fieldConstants(t)
	for _, f := range constants {
		if openFields[f] == secretFields[f] {
			t.Errorf("%s must be on exactly one of the two lists", f)
		}
	}
	if len(constants) != len(Fields()) {
		t.Errorf("%d constants, %d fields on the lists", len(constants), len(Fields()))
	}
}

func TestAFieldThatNobodyListedIsSecret(t *testing.T) {
	if !Field("cvv9").Secret() {
		t.Error("an unknown field counts as open")
	}
}

func TestARecordStoresWithoutItsSecrets(t *testing.T) {
	stored, err := json.Marshal(visaCard(1))
	if err != nil {
		t.Fatal(err)
	}
	var back Record
	if err := json.Unmarshal(stored, &back); err != nil {
		t.Fatal(err)
	}
	for f, v := range visaCard(1) {
		if f.Secret() && back[f] != "" || !f.Secret() && back[f] != v {
			t.Errorf("%s is not stored as it must be", f)
		}
	}
}
