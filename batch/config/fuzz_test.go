package config

import (
	"errors"
	"strings"
	"testing"
)

// FuzzParse holds that every mistake has a line and a column of the text and a sentence, that they come in the order of
// the file, and that the same text has the same mistakes.
func FuzzParse(f *testing.F) {
	example := string(Example(SampleValues))
	f.Add(example)
	f.Add("")
	f.Add("environment: test\nproducts: {a: {prefix: 411111}}\nbureaus:\n  alpha: {layout: 7}\n")
	f.Add(strings.Replace(example, "transit_days: 14", "transit_days: many", 1))
	f.Add("a: &a [*a]\n<<: *a\n")
	f.Add("? [x]\n: {y: !!binary =}\n--- \n%YAML\n")
	f.Add(strings.Repeat("a: {", 200))
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			return
		}
		c, err := Parse("config.yaml", []byte(text), "")
		if err == nil {
			if c == nil {
				t.Fatal("neither a configuration nor a mistake")
			}
			return
		}
		var wrong Mistakes
		if !errors.As(err, &wrong) || len(wrong) == 0 {
			t.Fatalf("not mistakes: %v", err)
		}
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + 2
		for i, m := range wrong {
			if m.Line < 1 || m.Column < 1 || m.Line > lines || m.Message == "" {
				t.Errorf("a mistake without its place: %s", m)
			}
			if i > 0 && m.Line < wrong[i-1].Line {
				t.Errorf("%s comes after %s", m, wrong[i-1])
			}
		}
		if _, again := Parse("config.yaml", []byte(text), ""); again == nil || again.Error() != err.Error() {
			t.Errorf("read again it says %v, not %v", again, err)
		}
	})
}
