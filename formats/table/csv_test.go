package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// told is a row as the tests compare it: "line: a|b", a fault as "!" behind the line.
func told(r *Row) string {
	fault := ""
	if r.Fault != "" {
		fault = "!"
	}
	return fmt.Sprintf("%d%s: %s", r.Line, fault, strings.Join(r.Cells, "|"))
}

func read(t *testing.T, content string, o Options) ([]string, *File, error) {
	t.Helper()
	f, err := New(strings.NewReader(content), int64(len(content)), o)
	if err != nil {
		return nil, nil, err
	}
	var rows []string
	for i := range f.Sheets() {
		if err = f.Rows(i, func(r *Row) error { rows = append(rows, told(r)); return nil }); err != nil {
			break
		}
	}
	return rows, f, err
}

func wantRows(t *testing.T, content string, want ...string) *File {
	t.Helper()
	rows, f, err := read(t, content, Options{})
	if err != nil {
		t.Fatalf("%v", err)
	}
	if d := cmp.Diff(want, rows); d != "" {
		t.Fatalf("rows (-want +got):\n%s", d)
	}
	return f
}

func wantError(t *testing.T, err error, code, part string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Error(), part) {
		t.Fatalf("got error %v, want %s with %q", err, code, part)
	}
}

func TestRowsHaveTheNumberThatASpreadsheetShows(t *testing.T) {
	wantRows(t, "a,b\n1,\"two\nlines\"\n\n2,y\n   \n3,z", "1: a|b", "2: 1|two\nlines", "4: 2|y", "6: 3|z")
}

func TestEveryLineEndEndsALine(t *testing.T) {
	for _, end := range []string{"\n", "\r\n", "\r"} {
		wantRows(t, strings.ReplaceAll("a,b\n1,2\n\n3,\"x\ny\"\n", "\n", end), "1: a|b", "2: 1|2", "4: 3|x\ny")
	}
	wantRows(t, "a,b\r\n1,2\r3,4\n5,6", "1: a|b", "2: 1|2", "3: 3|4", "4: 5|6")
}

func TestARowWithWrongQuotingIsMalformedAndTheOthersGoOn(t *testing.T) {
	wantRows(t, "id,name\n1,5\" pipe\n2,ok\n3,\"a\"b\n4,ok\n", "1: id|name", "2!: 1|5\" pipe", "3: 2|ok", "4!: 3|a\"b", "5: 4|ok")
}

func TestAnOpenQuoteSwallowsNoRow(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"to the end":            {"id,name\n1,\"open\n2,b\n3,c\n", "1: id|name;2!: 1|open;3: 2|b;4: 3|c"},
		"to the next quote":     {"id,name\n1,\"open\n2,b\n3,\"c\"\n4,d\n", "1: id|name;2!: 1|open;3: 2|b;4: 3|c;5: 4|d"},
		"closed by another one": {"id,name\n1,\"open\n2,b\n3,c\"\n4,d\n", "1: id|name;2!: 1|open;3: 2|b;4!: 3|c;5: 4|d"},
		"in the next line":      {"id,name\n1,\"open\n3,c\"\n4,d\n", "1: id|name;2!: 1|open;3!: 3|c;4: 4|d"},
		"pieces are no rows":    {"id,name\n1,\"12 High St\n1001\nLeeds\n2,b\n", "1: id|name;2!: 1|12 High St;3!: 1001;4!: Leeds;5: 2|b"},
		"one column":            {"id\n\"1\n2\n3\n", "1: id;2!: 1;3: 2;4: 3"},
	} {
		t.Run(name, func(t *testing.T) { wantRows(t, c.content, strings.Split(c.want, ";")...) })
	}
}

func TestAnAddressOfSeveralLinesIsOneCell(t *testing.T) {
	wantRows(t, "id,address,country\n1,\"1 High St\nLeeds, LS1\",GB\n2,\"x\n\ny\",GB\n",
		"1: id|address|country", "2: 1|1 High St\nLeeds, LS1|GB", "3: 2|x\n\ny|GB")
}

func TestAQuoteThatIsOpenForTooLongIsGivenUp(t *testing.T) {
	var b strings.Builder
	b.WriteString("id,name\n1,\"open\n")
	for i := range 200_000 {
		fmt.Fprintf(&b, "%d,name\n", i)
	}
	rows, _, err := read(t, b.String(), Options{})
	if err != nil || len(rows) != 200_002 || rows[1] != "2!: 1|open" || rows[200_001] != "200002: 199999|name" {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
}

func TestALineBeyondTheLimitIsOneMalformedRow(t *testing.T) {
	f, err := New(strings.NewReader("id\n"+strings.Repeat("9", 3<<20)+"\n2\n"), 3<<20+6, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	if err := f.Rows(0, func(r *Row) error { lines = append(lines, fmt.Sprint(r.Line, r.Fault != "")); return nil }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"1 false", "2 true", "3 false"}, lines); d != "" {
		t.Fatal(d)
	}
}

func TestACellBeyondTheLimitIsMarked(t *testing.T) {
	f, err := New(strings.NewReader("id,name\n1,abcdef\n"), 17, Options{Limits: Limits{Field: 4}})
	if err != nil {
		t.Fatal(err)
	}
	err = f.Rows(0, func(r *Row) error {
		if r.Line == 2 && (r.Mark(1) != TooLong || r.Mark(0) != 0 || r.Cells[1] != "abcd") {
			t.Errorf("marks %v, cells %q", r.Marks, r.Cells)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEncodingsAreSettledByUs(t *testing.T) {
	const text = "id;name\r\n1;Müller\r\n2;Zoë – ok\r\n"
	windows, err := charmap.Windows1252.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	utf16 := func(e unicode.Endianness, b unicode.BOMPolicy) string {
		s, err := unicode.UTF16(e, b).NewEncoder().String(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, content := range map[string]string{
		"UTF-8":                        text,
		"UTF-8 with a byte order mark": bomUTF8 + text,
		"Windows-1252":                 windows,
		"UTF-16, little endian":        utf16(unicode.LittleEndian, unicode.UseBOM),
		"UTF-16, big endian":           utf16(unicode.BigEndian, unicode.UseBOM),
		"UTF-16 without a byte order mark, little endian": utf16(unicode.LittleEndian, unicode.IgnoreBOM),
		"UTF-16 without a byte order mark, big endian":    utf16(unicode.BigEndian, unicode.IgnoreBOM),
	} {
		t.Run(name, func(t *testing.T) {
			f := wantRows(t, content, "1: id|name", "2: 1|Müller", "3: 2|Zoë – ok")
			if !strings.Contains(f.Notes()[0], "as "+name+",") {
				t.Errorf("notes %q", f.Notes())
			}
		})
	}
}

func TestOneDamagedCellDoesNotTurnAFileIntoWindows1252(t *testing.T) {
	content := "id,name\n1,M\xfcller\n2,Müller\n3,Zoë\n"
	f, err := New(strings.NewReader(content), int64(len(content)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = f.Rows(0, func(r *Row) error {
		if want := r.Line == 2; want != (r.Mark(1)&BadText != 0) {
			t.Errorf("row %d: mark %v, cell %q", r.Line, r.Mark(1), r.Cells[1])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPastedEncodingsAreReadLineByLine(t *testing.T) {
	wantRows(t, "id,name\n1,M\xfcller\n2,Zo\xeb\n3,Müller\n", "1: id|name", "2: 1|Müller", "3: 2|Zoë", "4: 3|Müller")
}

func TestTheDelimiterIsFoundInHardCases(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"decimal commas":      {"id;amount\n1;2,50\n2;3,75\n", "1: id|amount;2: 1|2,50;3: 2|3,75"},
		"commas in quotes":    {"id;name\n1;\"a,b,c\"\n2;\"d,e,f\"\n", "1: id|name;2: 1|a,b,c;3: 2|d,e,f"},
		"title row":           {"Cards, all of them, by date\n\nid|name\n1|x\n2|y\n", "1: Cards, all of them, by date;3: id|name;4: 1|x;5: 2|y"},
		"tabs":                {"id\tname\n1\tx, y\n", "1: id|name;2: 1|x, y"},
		"one column":          {"id\n1\n2\n", "1: id;2: 1;3: 2"},
		"quoted header":       {"\"id\";\"name, first\"\n1;\"a\nb\"\n", "1: id|name, first;2: 1|a\nb"},
		"trailing delimiters": {"id;name;;\n1;x;;\n;;;\n2;y;;\n", "1: id|name;2: 1|x;4: 2|y"},
		"told":                {"sep=;\nid;a,b,c\n1;x,y,z\n", "1: id|a,b,c;2: 1|x,y,z"},
		"told in quotes":      {"\"sep=|\"\r\nid|a\r\n", "1: id|a"},
	} {
		t.Run(name, func(t *testing.T) { wantRows(t, c.content, strings.Split(c.want, ";")...) })
	}
}

func TestAKnownHeaderSettlesTheDelimiter(t *testing.T) {
	d, err := NewDictionary([]string{"card_id", "reason_code"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	content := "a,b,c\nd,e,f\nCard ID;Reason Code\n1;x,y,z\n2;x,y,z\n"
	rows, _, err := read(t, content, Options{Header: func(c []string) int { return d.Named(c, "card_id") }})
	if err != nil || rows[2] != "3: Card ID|Reason Code" {
		t.Fatal(rows, err)
	}
}

func TestWhatIsNoTableIsRefusedWithWhatToDo(t *testing.T) {
	for name, c := range map[string]struct{ content, part string }{
		"nothing":      {"", "empty"},
		"NUL bytes":    {"id,name\n1,a\x00b\n", "NUL"},
		"NUL far in":   {"id\n" + strings.Repeat("12345\n", 100_000) + "\x00", "NUL"},
		"old Excel":    {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("\x00", 600), "save it as .xlsx"},
		"password":     {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("\x00", 600) + string(encryptedPackage), "password"},
		"PDF":          {"%PDF-1.7\n", "PDF"},
		"gzip":         {"\x1f\x8b\x08\x00", "unpack"},
		"HTML":         {"<html><table><tr><td>1</td></tr></table></html>", "HTML"},
		"armoured PGP": {"-----BEGIN PGP MESSAGE-----\n\n", "PGP"},
		"binary PGP":   {"\x85\x01\x0c\x03\x00\x01\x02", "PGP"},
		"UTF-32":       {"\xff\xfe\x00\x00i\x00\x00\x00", "UTF-32"},
		"a zip":        {zipOf(map[string]string{"a.txt": "x"}), "no workbook"},
		"ods":          {zipOf(map[string]string{"mimetype": "x", "content.xml": "<a/>"}), "OpenDocument"},
		"docx":         {zipOf(map[string]string{"word/document.xml": "x"}), "no workbook"},
		"half a zip":   {"PK\x03\x04abcdef", "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := read(t, c.content, Options{})
			wantError(t, err, Unreadable, c.part)
		})
	}
}

func TestLimitsOfAFile(t *testing.T) {
	_, _, err := read(t, "id\n1\n2\n", Options{Limits: Limits{FileSize: 5}})
	wantError(t, err, TooLarge, "limit is 5")
	_, _, err = read(t, "id\n1\n2\n", Options{Limits: Limits{Rows: 2}})
	wantError(t, err, TooLarge, "more than 2 rows")
	rows, _, err := read(t, "id\na,b,c,d\n", Options{Limits: Limits{Columns: 3}})
	if err != nil || rows[1] != "2!: a|b|c" {
		t.Fatal(rows, err)
	}
}

func TestADiskThatFailsIsNoDamagedFile(t *testing.T) {
	broken := errors.New("input/output error")
	_, err := New(failingAt{err: broken}, 100, Options{})
	var damage *Error
	if !errors.Is(err, broken) || errors.As(err, &damage) {
		t.Fatalf("%v", err)
	}
}

type failingAt struct{ err error }

func (f failingAt) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestAStreamIsReadLikeAFile(t *testing.T) {
	content := "id;name\r\n1;\"a\r\nb\"\r\n2;Zo\xeb\r\n"
	want, _, err := read(t, content, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := Read(iotest.OneByteReader(strings.NewReader(content)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := f.Rows(0, func(r *Row) error { got = append(got, told(r)); return nil }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	if err := f.Rows(0, func(*Row) error { return nil }); err == nil {
		t.Fatal("a stream was read twice")
	}
}

func TestALargeStreamEndsAtItsLimit(t *testing.T) {
	f, err := Read(io.MultiReader(strings.NewReader("id\n"), &endless{}), Options{Limits: Limits{FileSize: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, f.Rows(0, func(*Row) error { return nil }), TooLarge, "limit")
}

type endless struct{}

func (*endless) Read(p []byte) (int, error) { return copy(p, "12345\n"), nil }

func TestRowsAreTheSameEachTime(t *testing.T) {
	content := []byte("id,name\n1,\"open\n2,b\n3,\xff\n")
	f, err := New(bytes.NewReader(content), int64(len(content)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var passes [2][]string
	for i := range passes {
		if err := f.Rows(0, func(r *Row) error { passes[i] = append(passes[i], told(r)); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(passes[0], passes[1]); d != "" {
		t.Fatal(d)
	}
}

func TestColumnNames(t *testing.T) {
	for i, want := range map[int]string{0: "A", 25: "Z", 26: "AA", 701: "ZZ", 702: "AAA", 16383: "XFD"} {
		if got := ColumnName(i); got != want {
			t.Errorf("column %d is %s, want %s", i, got, want)
		}
	}
}

func TestSpoiledIDs(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "123": false, "ABC": false, "-5": false, "4.11E+15": true, "4,11E+15": true, "4E+15": true, "1e3": true,
		"123.0": true, "123,00": true, "123.": true, "123.5": false, "A1E5": false, "12-34": false, "1E": false, "E5": false, "1e+": false,
	} {
		if got := SpoiledID(text, 0, true); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if SpoiledID("12E5", 0, false) {
		t.Error("an id may hold letters: 12E5 is no number there")
	}
}

func TestHeaderNamesAreAlikeInManySpellings(t *testing.T) {
	d, err := NewDictionary([]string{"card_id", "user_id"}, map[string][]string{"user_id": {"Customer"}, "elsewhere": {"Card ID"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"card_id", "Card ID", "CARD-ID", "cardId", " card.id: ", "Card\u00a0ID*", "card\nid"} {
		if d.Column(name) != "card_id" {
			t.Errorf("%q is not the card id", name)
		}
	}
	if d.Column("customer") != "user_id" || d.Column("cards") != "" || d.Column("") != "" {
		t.Error("wrong column")
	}
	if _, err := NewDictionary([]string{"card_id", "user_id"}, map[string][]string{"user_id": {"Card Id"}}); err == nil {
		t.Error("one name for two columns was taken")
	}
}

// generated is a CSV file of any length that nobody holds: rows of 16 bytes.
type generated struct{ rows int64 }

func (g generated) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off < g.rows*16 {
		line := fmt.Sprintf("%09d,abcde\n", off/16)
		c := copy(p[n:], line[off%16:])
		n, off = n+c, off+int64(c)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func TestMemoryDoesNotDependOnTheSizeOfTheFile(t *testing.T) {
	const rows = 300_000
	f, err := New(generated{rows}, rows*16, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	err = f.Rows(0, func(*Row) error {
		if n++; n%50_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			if grown := int64(now.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
				t.Errorf("after %d rows the heap has grown by %d bytes", n, grown)
			}
		}
		return nil
	})
	if err != nil || n != rows {
		t.Fatal(n, err)
	}
}
