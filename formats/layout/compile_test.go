package layout

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// small is a good description on which the mistakes below are made.
const small = `kind: fixed
version: "1"
extension: txt
encoding: ascii
record_length: 24
header:
  elements:
    - {name: TYPE, text: HD, length: 2}
    - {name: DATE, head: time, format: YYYYMMDD, length: 22}
record:
  elements:
    - {name: TYPE, text: DT, length: 2}
    - {name: UID, from: uid, length: 20, required: true}
    - {name: PSN, from: psn, length: 2, min: 2, required: true, type: number}
`

func TestASmallDescriptionCompiles(t *testing.T) {
	if _, err := Compile("small", []byte(small)); err != nil {
		t.Fatal(err)
	}
}

func TestMistakesAreToldWithLineAndColumn(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", "version", "versoin", "1:1:"},
		{"unknown key is named", "version", "versoin", `2:1: a description of this kind has no key "versoin"`},
		{"key twice", "encoding: ascii", "encoding: ascii\nencoding: ascii", `5:1: "encoding" stands here twice`},
		{"kind", "kind: fixed", "kind: edifact", `1:7: "kind" must be one of fixed, xml`},
		{"extension", "txt", ".txt", `3:12: "extension"`},
		{"encoding of the kind", "ascii", "utf-8", `4:11: "encoding" of this kind must be one of ascii, iso-8859-1, windows-1252`},
		{"record length", "24", "25", `10:1: the elements have 24 characters together, "record_length" says 25`},
		{"record length as text", ": 24", `: "24"`, `5:16: "record_length" takes a whole number`},
		{"unknown element key", "from: psn", "form: psn", `14:19: an element has no key "form"`},
		{"no source", "from: psn, ", "", "14:7: an element of the record takes exactly one of from, text, number"},
		{"two sources", "from: psn", "from: psn, text: a", "14:7: an element of the record takes exactly one of"},
		{"unknown field", "psn", "psm", `14:25: there is no field "psm"`},
		{"head of the record", "from: psn", "head: sequence", "an element of the record takes exactly one of"},
		{"unknown head", "head: time", "head: tyme", `9:26: "head" must be one of client, order_ref`},
		{"date format", "YYYYMMDD", "jjmmtt", "9:40: a date format is made of"},
		{"date without format", "format: YYYYMMDD, ", "", `9:7: "format" is for the head's time, which needs it`},
		{"yes for true", "length: 20, required: true", "length: 20, required: yes", `13:52: "required" takes true or false`},
		{"length missing", "length: 2, min", "min", `14:7: "length" is missing`},
		{"min above length", "min: 2", "min: 3", `14:7: "min" is above "length"`},
		{"length 0", "length: 2, min", "length: 0, min", `14:38: "length" takes a whole number from 1 to 9999`},
		{"unknown class", "min: 2", "allow: numbers", `14:48: "allow" must be one of`},
		{"constant too long", "text: DT, length: 2", "text: DTX, length: 2", "12:7: a text that this element names does not fit it: TYPE has 3 characters"},
		{"marks not apart", "text: DT", "text: HD", `10:1: the first element of each kind of line is a "text" of its own`},
		{"uid too short", "from: uid, length: 20", "from: uid, length: 19", "10:1: the record needs an element from: uid"},
		{"uid not required", "length: 20, required: true", "length: 20", "10:1: the record needs an element from: uid"},
		{"column", "text: DT", "text: DT, at: 2", `12:7: TYPE begins in column 1, not in 2 ("at")`},
		{"number that may be blank", "required: true, type", "type", `14:7: a number of exactly one length needs "required: true"`},
		{"secret without a mark", "from: psn", "from: cvv2", "14:7: the masked twin would show a secret here"},
		{"mask on what is no number", "from: psn", "twin: mask, from: cvv2", "14:7: twin: mask is for a card number"},
		{"mark of another kind", "from: psn", "twin: omit, from: psn", `14:25: "twin" of this kind must be one of [mask stars]`},
		{"together on a secret", "header:", "together: [pan]\nheader:", `6:12: "together" takes fields that are not secret`},
		{"together on what is not there", "header:", "together: [city]\nheader:", `6:12: "city" must stand in the record, unchanged`},
		{"rule on what is not there", "header:", "rules: [{equal: [psn, city]}]\nheader:", `6:23: a rule compares fields that stand in the record`},
		{"rule on an unknown part", "header:", "rules: [{equal: [uid, psn.name]}]\nheader:", `6:23: psn has no part "name"`},
		{"rule of one", "header:", "rules: [{equal: [uid]}]\nheader:", `a rule compares at least two fields`},
		{"map that cannot be read back", "from: psn", "from: psn, map: {a: x, b: x}", `14:42: "map" needs a text of its own`},
		{"class of its own that is built in", "header:", "classes: {digits: a-z}\nheader:", `6:11: the class "digits" is built in`},
		{"class backwards", "header:", "classes: {mine: z-a}\nheader:", `6:17: the range z-a runs backwards`},
		{"hash total without a number", "record:\n", "trailer: {elements: [{name: T, text: TR, length: 2}, {name: H, hash: pan, length: 16, twin: stars}, {name: F, text: '', length: 6}]}\nrecord:\n", "10:54: a hash total needs an element from: pan"},
		{"section of another kind", "record:\n", "group: {elements: []}\nrecord:\n", `10:1: a description of this kind has no key "group"`},
		{"no record", "record:\n", "trailer:\n", `"record" is missing`},
		{"not YAML", "kind: fixed", "kind: [fixed", "this is not YAML"},
		{"alias", "version: \"1\"", "version: &v \"1\"", `2:1: "version" takes one text`},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(small, c.old, c.new, 1)
			if text == small {
				t.Fatal("the mistake changes nothing")
			}
			_, err := Compile("small", []byte(text))
			var wrong *DescriptionError
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got:\n%v\nwant %q", err, c.want)
			}
		})
	}
}

func TestAllMistakesAreToldAtOnceInTheirOrder(t *testing.T) {
	text := strings.NewReplacer("txt", ".txt", "ascii", "ebcdic", "psn", "psm", "YYYYMMDD", "x").Replace(small)
	_, err := Compile("small", []byte(text))
	var wrong *DescriptionError
	if !errors.As(err, &wrong) {
		t.Fatalf("got %v", err)
	}
	var at []int
	for _, m := range wrong.Mistakes {
		at = append(at, m.Line)
	}
	if !slices.Equal(slices.Compact(at), []int{3, 4, 9, 14}) {
		t.Errorf("mistakes in lines %v:\n%v", at, err)
	}
}

func TestXMLMistakes(t *testing.T) {
	text, _ := Builtin("cardgen-v12")
	for _, c := range []struct{ name, old, new, want string }{
		{"element twice", "{name: ADD2,", "{name: ADD1,", `"ADD1" stands here twice`},
		{"name that is none", "{name: ADD2,", "{name: 2ADD,", `"name" is missing or not`},
		{"root", "root: CARDGEN", "root: CARD GEN", `"root" is missing or not the name of an element`},
		{"when on an unknown field", "when: chip_type\n", "when: chip\n", `there is no field "chip"`},
		{"group of another field", "from: product_ref", "from: city", `a "group" shows the first field of "together"`},
		{"secret in the twin", ", allow: track1, twin: omit}", ", allow: track1}", "the masked twin would show a secret here"},
		{"stars", "allow: track1, twin: omit", "allow: track1, twin: stars", `"twin" of this kind must be one of [omit mask only]`},
		{"pad of a text", "head: order_ref,", "head: order_ref, pad: 3,", `"pad" is for the head's sequence, records and products`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Compile("x", []byte(strings.Replace(string(text), c.old, c.new, 1)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got:\n%v\nwant %q", err, c.want)
			}
		})
	}
}

func TestFieldsThatChangeOnTheirWay(t *testing.T) {
	const text = `{kind: xml, version: "2", extension: xml, encoding: utf-8, root: R, classes: {capitals: "A-Z ÄÖÜ-"}, forbid: "#$",
record: {name: C, elements: [
 {name: UID, from: uid, length: 20, required: true},
 {name: NAME, from: embossed_name, length: 26, transform: [upper], allow: capitals},
 {name: EXP, from: expiry_date, length: 7, format: MM/YYYY},
 {name: START, from: start_face, length: 4, transform: [digits]},
 {name: KIND, from: request_type, length: 1, map: {New: N, Replacement: R}},
 {name: LINE, from: thermal_line1, length: 20}]}}`
	l, err := Compile("own", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r := Record{UID: "26112101000000000001", EmbossedName: "Jürg Vogt-Ähr", ExpiryDate: "291130", StartFace: "11/26", RequestType: "Replacement"}
	file := string(written(t, l, []Record{r}))
	for _, want := range []string{"<NAME>JÜRG VOGT-ÄHR</NAME>", "<EXP>11/2029</EXP>", "<START>1126</START>", "<KIND>R</KIND>"} {
		if !strings.Contains(file, want) {
			t.Errorf("%s is not in\n%s", want, file)
		}
	}
	r[ExpiryDate], r[Thermal1], r[EmbossedName] = "291330", "a#b", "X Æ"
	for _, want := range []string{"EXP (expiry_date) is not a date of the form MM/YYYY", "LINE (thermal_line1) has a character that the layout reserves (character 2)", `NAME (embossed_name) has a character that is not allowed here, the layout takes "capitals" (character 3)`} {
		if err := l.Check(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestALayoutWithoutHeaderAndTrailerCanBeReadBack(t *testing.T) {
	text := small[:strings.Index(small, "header:")] + small[strings.Index(small, "record:\n"):] + "line_end: none\n"
	l, err := Compile("bare", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	records := []Record{{UID: "26112101000000000001", PSN: "00"}, {UID: "26112101000000000002", PSN: "07"}}
	file := written(t, l, records)
	if string(file) != "DT2611210100000000000100DT2611210100000000000207" {
		t.Errorf("got %s", file)
	}
	got, _ := readBack(t, l, file)
	if diff := sameRecords(l, records, got); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
	if _, err := l.Read(strings.NewReader(string(file[:30])), nil); !errors.Is(err, ErrCut) {
		t.Errorf("a cut file: %v", err)
	}
}

func TestTheGuideNamesEveryFieldClassAndTransform(t *testing.T) {
	guide, err := os.ReadFile("../../docs/layouts.md")
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, f := range Fields() {
		words = append(words, string(f))
	}
	for name := range classes {
		words = append(words, name)
	}
	for name := range transforms {
		words = append(words, name)
	}
	for name := range headSources {
		words = append(words, string(name))
	}
	for name := range placeholders {
		words = append(words, "{"+name)
	}
	words = append(words, elementKeys...)
	words = append(words, commonKeys...)
	for _, w := range words {
		if !strings.Contains(string(guide), "`"+w) {
			t.Errorf("docs/layouts.md does not name `%s`", w)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(small)
	for _, name := range Names() {
		text, _ := Builtin(name)
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Compile("fuzz", []byte(text))
		if (l == nil) == (err == nil) {
			t.Fatal("neither a layout nor a mistake, or both")
		}
		var wrong *DescriptionError
		if err != nil && !errors.As(err, &wrong) {
			t.Fatal(err)
		}
		if l != nil {
			_ = l.Check(visaCard(1)) // must not panic
		}
	})
}

func FuzzRead(f *testing.F) {
	var layouts []*Layout
	for _, name := range Names() {
		l := compiled(f, name)
		layouts = append(layouts, l)
		f.Add(written(f, l, night()[:1]))
		f.Add(written(f, l, night()))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, l := range layouts {
			var records []Record
			sum, err := l.Read(strings.NewReader(string(file)), func(r Record) error { records = append(records, r); return nil })
			if err != nil {
				continue
			}
			if int64(len(records)) != sum.Records {
				t.Fatal("a good file gave fewer records than it counts")
			}
			for _, r := range records {
				if err := l.Check(r); err != nil {
					t.Fatalf("a record of a good file does not pass: %v", err)
				}
			}
		}
	})
}
