package layout

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestGoldenFiles(t *testing.T) {
	for _, name := range Names() {
		l := compiled(t, name)
		t.Run(name, func(t *testing.T) { golden(t, name+"."+l.Extension(), written(t, l, night())) })
		t.Run(name+" twin", func(t *testing.T) { golden(t, name+".masked."+l.Extension(), twinOf(t, l, night())) })
	}
}

func TestTheSameHeadAndRecordsGiveTheSameBytes(t *testing.T) {
	for _, name := range Names() {
		l := compiled(t, name)
		again, err := Compile(name, l.Text())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(written(t, l, night()), written(t, again, night())) {
			t.Errorf("%s: two writings differ", name)
		}
	}
}

func TestAHeadThatWentThroughJSONGivesTheSameBytes(t *testing.T) {
	l := compiled(t, "cardgen-v12")
	stored, err := json.Marshal(headOf(night()))
	if err != nil {
		t.Fatal(err)
	}
	var h Head
	if err := json.Unmarshal(stored, &h); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	fill(t, l.NewWriter(&b, h), night())
	if !bytes.Equal(b.Bytes(), written(t, l, night())) {
		t.Error("the file of the stored head differs")
	}
}

func TestTitleNamesTheVersion(t *testing.T) {
	if got := compiled(t, "cardgen-v12").Title(); got != "cardgen-v12 version 12" {
		t.Errorf("got %q", got)
	}
}

func TestBuiltinTakesNamesOnly(t *testing.T) {
	for _, name := range []string{"", "none", "../layout/cardgen-v12", "./cardgen-v12", "cardgen-v12.yaml"} {
		if _, ok := Builtin(name); ok {
			t.Errorf("%q is a built-in layout", name)
		}
	}
}
