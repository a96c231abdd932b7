package layout

import (
	"strings"
	"testing"
	"time"
)

func nameData() NameData {
	return NameData{
		Client: "ISSUER1", Bureau: "alpha", Product: "visa-classic", Reference: "r7", Sequence: 42, Ext: "xml",
		Time: time.Date(2026, 11, 21, 22, 30, 5, 0, time.UTC),
	}
}

func TestFileNames(t *testing.T) {
	for template, want := range map[string]string{
		"{client}_{bureau}_{date:20060102}_{sequence:06}.{ext}.pgp": "ISSUER1_alpha_20261121_000042.xml.pgp",
		"{client}_{product}_{reference}_{sequence}.xml":             "ISSUER1_visa-classic_r7_42.xml",
		"{date}-{time}-{sequence:01}":                               "20261121-223005-42",
		"x{sequence:18}":                                            "x000000000000000042",
	} {
		got, err := FileName(template, nameData())
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v", template, got, err)
		}
	}
}

func TestTemplatesThatAreRefused(t *testing.T) {
	for template, want := range map[string]string{
		"":                             "needs {sequence}",
		"{client}_{date}.xml":          "needs {sequence}",
		"{client}_{seq}.xml":           "{seq} is unknown; there are bureau, client, date, ext, product, reference, sequence, time",
		"{client:3}_{sequence}":        "{client} takes no format",
		"{sequence:x}":                 "1 to 18",
		"{sequence:19}":                "1 to 18",
		"{sequence":                    "not closed",
		"{sequence} .xml":              "letters, digits",
		"../{sequence}":                "letters, digits",
		"{sequence}}":                  "letters, digits",
		".{sequence}":                  "begin with a point",
		"{date:YYYYMMDD}_{sequence}":   "takes a Go layout",
		"{date:2006/01/02}_{sequence}": "gives a character other than",
		"{date}{sequence}":             "must not stand directly beside",
		"{sequence}0_{client}":         "must not stand directly beside",
		"v2{sequence}":                 "must not stand directly beside",
	} {
		if err := CheckFileName(template); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", template, err, want)
		}
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*NameData)
	}{
		{"a blank value", func(h *NameData) { h.Client = "" }},
		{"a slash", func(h *NameData) { h.Client = "a/b" }},
		{"a letter beyond ASCII", func(h *NameData) { h.Client = "Zürich" }},
		{"a point first", func(h *NameData) { h.Client = ".hidden" }},
		{"too long", func(h *NameData) { h.Client = strings.Repeat("x", 114) }},
		{"no sequence", func(h *NameData) { h.Sequence = 0 }},
	} {
		h := nameData()
		c.change(&h)
		if got, err := FileName("{client}_{sequence:06}", h); err == nil || got != "" {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
	}
	h := nameData()
	h.Client = strings.Repeat("x", 113)
	if got, err := FileName("{client}_{sequence:06}", h); err != nil || len(got) != MaxFileName {
		t.Errorf("a name of %d characters: %v", len(got), err)
	}
}

func TestTheSequenceIsReadOutOfAName(t *testing.T) {
	at := time.Date(2026, 11, 2, 3, 15, 0, 0, time.UTC)
	for _, template := range []string{
		"{client}_{bureau}_{date:20060102}_{sequence:06}.{ext}.pgp", "{sequence}.pgp", "{client}_{sequence:04}_{date}_{time}.{ext}", "E{sequence:03}-{date:Jan02}-{reference}",
		"{product}.{sequence}.{date:2006-01-02}",
	} {
		for _, sequence := range []int64{1, 12, 4711, 999_999_999} {
			name, err := FileName(template, NameData{Client: "our_7", Bureau: "alpha-2", Product: "visa", Reference: "r9", Sequence: sequence, Time: at, Ext: "xml"})
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := SequenceIn(template, name); !ok || got != sequence {
				t.Errorf("%s by %s: %d, %v", name, template, got, ok)
			}
			for _, other := range []string{name + ".bak", "copy of " + name, "", "x"} {
				if got, ok := SequenceIn("a{sequence}z", other); ok {
					t.Errorf("%q has number %d", other, got)
				}
			}
		}
	}
	if got, ok := SequenceIn("{bureau}_{sequence:06}.pgp", "alpha_000012.pgp.bak"); ok {
		t.Errorf("a copy has number %d", got)
	}
}
