package layout

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// carried is the part of a record that a layout's file shows as it is.
func carried(l *Layout, r Record) Record {
	shown := Record{}
	for i, e := range l.file.record {
		there := l.file.when[i] == "" || r[l.file.when[i]] != ""
		if e.plain() && there && r[e.field] != "" {
			shown[e.field] = r[e.field]
		}
	}
	return shown
}

// readBack gives the records of a file.
func readBack(t interface{ Fatal(...any) }, l *Layout, file []byte) ([]Record, Summary) {
	var records []Record
	sum, err := l.Read(bytes.NewReader(file), func(r Record) error {
		maps.DeleteFunc(r, func(_ Field, v string) bool { return v == "" })
		records = append(records, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records, sum
}

func sameRecords(l *Layout, want, got []Record) string {
	shown := make([]map[Field]string, len(want))
	for i, r := range want {
		shown[i] = carried(l, r)
	}
	found := make([]map[Field]string, len(got))
	for i, r := range got {
		found[i] = r
	}
	return cmp.Diff(shown, found)
}

func TestReadGivesBackWhatWasWritten(t *testing.T) {
	for _, name := range Names() {
		l := compiled(t, name)
		records, sum := readBack(t, l, written(t, l, night()))
		if diff := sameRecords(l, night(), records); diff != "" {
			t.Errorf("%s (-written +read):\n%s", name, diff)
		}
		want := Summary{Title: l.Title(), Sequence: 7, Reference: "000000000007", Records: 5, Products: 3, First: night()[0][UID], Last: night()[4][UID]}
		if name == "fixed-v1" {
			want.Reference, want.HashTotal = "REF-0007", "0000000000000178"
		}
		if sum != want {
			t.Errorf("%s: got %+v, want %+v", name, sum, want)
		}
	}
}

// Whatever Check accepts, Write and Read give back.
func TestWhatCheckAcceptsGoesThroughTheFileUnchanged(t *testing.T) {
	// Fields that rules hold together stay those of a whole card.
	var bound = map[Field]bool{
		UID: true, PAN: true, PANGrouped: true, Track1: true, Track2: true, ChipTrack1: true, ChipTrack2: true,
		ChipName: true, ServiceCode: true, ExpiryDate: true, ExpiryFace: true,
	}
	for _, name := range Names() {
		l := compiled(t, name)
		accepted, tried := 0, 0
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			r := rapid.SampledFrom(night()).Draw(t, "card")
			for i, e := range l.file.record {
				if e.source != fromField || bound[e.field] || !rapid.Bool().Draw(t, fmt.Sprint("change ", i)) {
					continue
				}
				r[e.field] = valueFor(e).Draw(t, e.name)
			}
			tried++
			if l.Check(r) != nil {
				return
			}
			accepted++
			var b bytes.Buffer
			w := l.NewWriter(&b, headOf([]Record{r}))
			if err := errors.Join(w.Write(r), w.Close()); err != nil {
				t.Fatal(err)
			}
			got, _ := readBack(t, l, b.Bytes())
			if diff := sameRecords(l, []Record{r}, got); diff != "" {
				t.Fatalf("(-written +read):\n%s", diff)
			}
		}))
		if accepted*4 < tried {
			t.Errorf("%s: only %d of %d records were accepted, which proves little", name, accepted, tried)
		}
	}
}

// valueFor draws a text that the element may well take.
func valueFor(e *element) *rapid.Generator[string] {
	switch {
	case len(e.oneOf) > 0:
		return rapid.SampledFrom(e.oneOf)
	case e.out != nil:
		return rapid.SampledFrom(slices.Sorted(maps.Keys(e.out)))
	}
	text := rapid.StringOfN(rapid.SampledFrom(runesFor(e)), max(e.min, 1), e.max, -1)
	if e.required {
		return text
	}
	return rapid.OneOf(text, rapid.Just(""))
}

// runesFor are characters of which an element takes most.
func runesFor(e *element) []rune {
	var list []rune
	for _, r := range "Aa0 7&<>'\"äßÉ€-./Ł=^*F" {
		if e.judge(r) == fine && (!e.number || r != '0') {
			list = append(list, r)
		}
	}
	return list
}

// damage is a change of a good file and what Read must say about it.
type damage struct {
	name, layout string
	change       func(string) string
	want         string
}

func replaced(old, new string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, new, 1) }
}

var damages = []damage{
	{"cut in the middle", "cardgen-v12", func(s string) string { return s[:len(s)/2] }, "it ends too early"},
	{"cut before its end tag", "cardgen-v12", replaced("</CARDGEN>\n", ""), "it ends too early"},
	{"empty", "cardgen-v12", func(string) string { return "" }, "it ends too early"},
	{"bytes after its end", "cardgen-v12", func(s string) string { return s + "\n<CARDGEN/>" }, "the file: there is something after its end"},
	{"count of cards", "cardgen-v12", replaced("<NO_OF_CARDS>5", "<NO_OF_CARDS>6"), "does not agree with the header"},
	{"both counts", "cardgen-v12", func(s string) string {
		return regexp.MustCompile("(<NO_OF_CA[A-Z]*>)5").ReplaceAllString(s, "${1}6")
	}, "the file: it says 6 records and has 5"},
	{"count of products", "cardgen-v12", replaced("<NO_OF_PRODUCTS>3", "<NO_OF_PRODUCTS>4"), "the file: it says 4 products and has 3"},
	{"version", "cardgen-v12", replaced(">12<", ">11<"), "DATA_FORMAT_VERSION is not what the layout has here"},
	{"date", "cardgen-v12", replaced("21-11-2026", "11-21-2026"), "FILEDATE is not a date of the form DD-MM-YYYY"},
	{"missing element", "cardgen-v12", replaced("<ADD3></ADD3>\n", ""), "record 1 (uid 26112103000000000001): ADD3 is missing, or not in its place"},
	{"elements swapped", "cardgen-v12", replaced("<ADD2>Flat 2</ADD2>\n<ADD3></ADD3>", "<ADD3></ADD3>\n<ADD2>Flat 2</ADD2>"), "ADD2 is missing, or not in its place"},
	{"unknown element", "cardgen-v12", replaced("<ADD3>", "<ADDX></ADDX><ADD3>"), "something stands where ADD3 should be"},
	{"attribute", "cardgen-v12", replaced("<ADD3>", `<ADD3 a="b">`), "something stands where ADD3 should be"},
	{"empty element closed in itself", "cardgen-v12", replaced("<ADD3></ADD3>", "<ADD3/>"), "something stands where ADD3 should be"},
	{"bare ampersand", "cardgen-v12", replaced("&amp; &quot;", "& &quot;"), "CARRIER/SNAME (last_name) has a character that must be escaped"},
	{"unescaped quote", "cardgen-v12", replaced("O&apos;Brien", "O'Brien"), "must be escaped"},
	{"text between elements", "cardgen-v12", replaced("<ADD3>", "x<ADD3>"), "there is text between the elements"},
	{"element not closed", "cardgen-v12", replaced("</ADD3>", "</ADD4>"), "ADD3 is not closed"},
	{"too long", "cardgen-v12", replaced("Flat 2", strings.Repeat("x", 51)), "CARRIER/ADD2 (address_line2) has 51 characters, at most 50 fit"},
	{"required and empty", "cardgen-v12", replaced("STANDARD", ""), "CARRIER/CARRIER_TYPE (carrier_type) may not be empty"},
	{"a uid twice", "cardgen-v12", replaced("26112101000000000005", "26112101000000000004"), "its uid was in the file before"},
	{"a product in two parts", "cardgen-v12", replaced("</RECORD>\n<RECORD>", "</RECORD>\n</PRODUCT><PRODUCT><PRODUCT_REF>MC-GOLD</PRODUCT_REF><RECORD>"), "do not stand together"},
	{"products mixed", "cardgen-v12", replaced("<PRODUCT_REF>VISA-CLASSIC", "<PRODUCT_REF>GIFT"), "do not stand together"},
	{"a product without a record", "cardgen-v12", replaced("<PRODUCT>", "<PRODUCT><PRODUCT_REF>X</PRODUCT_REF></PRODUCT><PRODUCT>"), "a PRODUCT without a RECORD"},
	{"chip name unlike track 1", "cardgen-v12", replaced("<NAME>OBRIEN/ZOE", "<NAME>OBRIEN/ZO"), "must be the same"},
	{"CHIP without its type", "cardgen-v12", replaced("<TYPE>Mastercard</TYPE>", "<TYPE></TYPE>"), "CHIP stands there although chip_type is blank"},
	{"not UTF-8 declared", "cardgen-v12", replaced("utf-8", "latin1"), "it does not begin with <?xml"},

	{"cut in the middle", "fixed-v1", func(s string) string { return s[:len(s)/2] }, "it ends too early"},
	{"without its trailer", "fixed-v1", func(s string) string { return s[:strings.LastIndex(s, "TR000")] }, "it ends too early"},
	{"without its last line end", "fixed-v1", func(s string) string { return s[:len(s)-2] }, "it ends too early"},
	{"empty", "fixed-v1", func(string) string { return "" }, "it ends too early"},
	{"bytes after its end", "fixed-v1", func(s string) string { return s + "x\r\n" }, "the file: there is something after its end"},
	{"without its header", "fixed-v1", func(s string) string { return s[1302:] }, "the file: it does not begin with its header"},
	{"line too long", "fixed-v1", replaced("Flat 2", "Flat 22"), "record 1: DT line has 1301 characters, it must have exactly 1300"},
	{"line end of another system", "fixed-v1", replaced("\r\nDT", "\nDT"), "HD line has 1301 characters"},
	{"unknown kind of line", "fixed-v1", replaced("\r\nDT", "\r\nDX"), "a line of a kind that the layout does not have"},
	{"a detail lost", "fixed-v1", func(s string) string { return s[:1302] + s[2604:] }, "the file: it says 5 records and has 4"},
	{"hash total", "fixed-v1", replaced("TR0000000050000000000000178", "TR0000000050000000000000179"), "the file: its hash total is not that of its records"},
	{"control number", "fixed-v1", replaced("0000000007", "0000000008"), "CONTROL_NUMBER does not agree with the header"},
	{"running number", "fixed-v1", replaced("DT000000002", "DT000000003"), "RECORD_NUMBER is not the running number of the record"},
	{"filler not blank", "fixed-v1", func(s string) string { return s[:1299] + "x" + s[1300:] }, "FILLER is not what the layout has here"},
	{"number with a letter", "fixed-v1", replaced("        0756", "        07X6"), `CURRENCY (currency) has a character that is not allowed here, the layout takes "digits"`},
}

func TestReadTellsWhatIsWrong(t *testing.T) {
	for _, d := range damages {
		t.Run(d.layout+"/"+d.name, func(t *testing.T) {
			l := compiled(t, d.layout)
			good := string(written(t, l, night()))
			bad := d.change(good)
			if bad == good {
				t.Fatal("the damage changes nothing")
			}
			_, err := l.Read(strings.NewReader(bad), nil)
			if err == nil || !strings.Contains(err.Error(), d.want) {
				t.Errorf("got %v\nwant %q", err, d.want)
			}
		})
	}
}

func TestReadGivesOnlyGoodRecordsAndGoesOn(t *testing.T) {
	for _, name := range Names() {
		l := compiled(t, name)
		file := strings.Replace(string(written(t, l, night())), "^2911", "^2912", 1)
		var uids []string
		_, err := l.Read(strings.NewReader(file), func(r Record) error { uids = append(uids, r[UID]); return nil })
		if err == nil || len(uids) != 4 || uids[0] != night()[1][UID] {
			t.Errorf("%s: %d records given, %v", name, len(uids), err)
		}
	}
}

func TestReadErrorsShowNoValue(t *testing.T) {
	for _, name := range Names() {
		l := compiled(t, name)
		good := written(t, l, night())
		for at := 0; at < len(good); at += 7 {
			for _, bad := range [][]byte{
				append(bytes.Clone(good[:at]), good[min(at+3, len(good)):]...),
				append(append(bytes.Clone(good[:at]), '#'), good[at:]...),
				good[:at],
			} {
				_, err := l.Read(bytes.NewReader(bad), nil)
				if text := fmt.Sprint(err); strings.Contains(text, "41111100") || strings.Contains(text, "55555500") || strings.Contains(text, "OBRIEN") {
					t.Fatalf("%s, damaged at %d: the error shows a value", name, at)
				}
			}
		}
	}
}

func TestAnErrorOfTheTakerStopsReading(t *testing.T) {
	enough := errors.New("enough")
	for _, name := range Names() {
		l := compiled(t, name)
		n := 0
		_, err := l.Read(bytes.NewReader(written(t, l, night())), func(Record) error { n++; return enough })
		if err != enough || n != 1 {
			t.Errorf("%s: %v after %d records", name, err, n)
		}
	}
}

func TestReadTellsAFailingSource(t *testing.T) {
	broken := errors.New("the disk is gone")
	for _, name := range Names() {
		l := compiled(t, name)
		file := written(t, l, night())
		_, err := l.Read(io.MultiReader(bytes.NewReader(file[:2000]), iotest.ErrReader(broken)), nil)
		if !errors.Is(err, broken) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestProblemsAreCountedBeyondAThousand(t *testing.T) {
	var records []Record
	for n := range 1200 {
		records = append(records, visaCard(n))
	}
	l := compiled(t, "cardgen-v12")
	file := strings.ReplaceAll(string(written(t, l, records)), "Flat 2", strings.Repeat("x", 51))
	_, err := l.Read(strings.NewReader(file), nil)
	if err == nil || !strings.HasSuffix(err.Error(), "and 200 more problems") {
		t.Error("the last line does not count what is not listed")
	}
}

func TestAUIDThatCouldBeACardNumberIsNotShown(t *testing.T) {
	for _, uid := range []string{"4111111111111111", "A4111111111111111B", "4111 - 1111 - 1111 - 1111", "4111111111111111xxxxxxxxxxxx"} {
		if strings.Contains(shownUID(uid), "4111") {
			t.Errorf("the uid of %d characters is shown", len(uid))
		}
	}
	if got := shownUID("26112101000000000005"); got != "26112101000000000005" {
		t.Errorf("a uid is hidden: %s", got)
	}
}

func BenchmarkRead(b *testing.B) {
	for _, name := range Names() {
		b.Run(name, func(b *testing.B) {
			l := compiled(b, name)
			var records []Record
			for n := range 1000 {
				records = append(records, visaCard(n))
			}
			file := written(b, l, records)
			b.SetBytes(int64(len(file)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Read(bytes.NewReader(file), func(Record) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestACardNumberInAnOpenFieldIsMaskedHoweverItIsWritten(t *testing.T) {
	for _, written := range []string{"4111111111111111", "4111 - 1111 - 1111 - 1111", "４１１１１１１１１１１１１１１１"} {
		for name, rec := range map[string]Record{"beside the number": {PAN: "4111111111111111"}, "beside the mask": {PANMasked: "411111******1111"}} {
			if got := scrubbed(written, rec); got != "411111******1111" {
				t.Errorf("%s, a number of %d bytes is shown", name, len(written))
			}
		}
	}
}
