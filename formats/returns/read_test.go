package returns

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/charmap"
	utf "golang.org/x/text/encoding/unicode"
)

const (
	columns = "record_type,file_name,sequence,uid,status,count,code,description,carrier,tracking_number,occurred_at\n"
	shipped = "CARD,acme_20261120_000007.xml.pgp,7,01M2W7K9X40000A1B2C3,SHIPPED,,00,on its way,DHL,00340434161094,2026-11-21T10:00:00+01:00\n"
	// pan is a test number with a right check digit that no scheme gives out.
	pan = "4111111111111111"
)

// ours is our CSV with these lines and a trailer that is right.
func ours(lines ...string) string {
	return columns + strings.Join(lines, "") + fmt.Sprintf("TRAILER,,,,,%d,,,,,\n", len(lines))
}

// card is a CARD line of our CSV with one field changed.
func card(of field, value string) string {
	fields := strings.Split(strings.TrimSuffix(shipped, "\n"), ",")
	fields[of] = value
	return strings.Join(fields, ",") + "\n"
}

var wantShipped = Line{
	Number: 2, Kind: Card, FileName: "acme_20261120_000007.xml.pgp", Sequence: 7, UID: "01M2W7K9X40000A1B2C3", Status: Shipped, Count: NoCount,
	Code: "00", Description: "on its way", Carrier: "DHL", TrackingNumber: "00340434161094", OccurredAt: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC),
}

func TestOurOwnCSV(t *testing.T) {
	got := mustRead(t, Standard(), ours(shipped, "FILE,acme_20261120_000007.xml.pgp,7,,RECEIVED,12,,counts agree,,,2026-11-20T22:00:00Z\n"))
	want := told{
		Summary: Summary{Lines: 2, Cards: 1, Encoding: "ASCII"},
		Lines: []Line{wantShipped, {
			Number: 3, Kind: File, FileName: "acme_20261120_000007.xml.pgp", Sequence: 7, Status: Received, Count: 12,
			Description: "counts agree", OccurredAt: time.Date(2026, 11, 20, 22, 0, 0, 0, time.UTC),
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Whatever writes a file does not change what it says.
func TestSameLinesWhateverWroteThem(t *testing.T) {
	text := ours(shipped, "\n", "  \n")
	text = strings.Replace(text, "TRAILER,,,,,3", "TRAILER,,,,,1", 1)
	utf16 := func(order utf.Endianness) string {
		s, err := utf.UTF16(order, utf.UseBOM).NewEncoder().String(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	reversed := "occurred_at , Tracking_Number,CARRIER,description,code,count,status,uid,sequence,file_name,RECORD_TYPE\n" +
		"2026-11-21T10:00:00+01:00,00340434161094,DHL,\"on its way\",00,,shipped, 01M2W7K9X40000A1B2C3 ,7,acme_20261120_000007.xml.pgp,card\n,,,,,1,,,,,trailer\n"
	for name, content := range map[string]string{
		"LF":                        text,
		"CRLF":                      strings.ReplaceAll(text, "\n", "\r\n"),
		"CR":                        strings.ReplaceAll(text, "\n", "\r"),
		"no line end at the end":    strings.TrimSuffix(text, "\n"),
		"blank lines after it":      text + "\n \t\r\n  ",
		"byte order mark":           markUTF8 + text,
		"UTF-16, little endian":     utf16(utf.LittleEndian),
		"UTF-16, big endian":        utf16(utf.BigEndian),
		"other order, other case":   reversed,
		"a column that nobody asks": strings.ReplaceAll(ours(shipped), "\n", ",plant\n"),
	} {
		t.Run(name, func(t *testing.T) {
			if got := mustRead(t, Standard(), content); !cmp.Equal(got.Lines, []Line{wantShipped}) || got.Bad != nil || got.Summary.Lines != 1 {
				t.Errorf("%+v", got)
			}
			var lines []Line
			_, err := Standard().At(now).Read(iotest.OneByteReader(strings.NewReader(content)), func(l *Line) error { lines = append(lines, *l); return nil }, nil)
			if err != nil || !cmp.Equal(lines, []Line{wantShipped}) {
				t.Errorf("byte by byte: %v %+v", err, lines)
			}
		})
	}
}

func TestAFileThatIsNotWhole(t *testing.T) {
	whole := ours(shipped, shipped)
	for _, c := range []struct {
		name, content string
		want          error
		says          string
	}{
		{"empty", "", ErrNoTrailer, "it is empty"},
		{"nothing but blank lines", "\n\r\n", ErrNoTrailer, "it ends with line 2"},
		{"no trailer", columns + shipped, ErrNoTrailer, "it ends with line 2"},
		{"cut in the names of the columns", columns[:30], ErrNoTrailer, "line 1, its last, is cut short"},
		{"cut in a line", columns + shipped + shipped[:40], ErrNoTrailer, "line 3, its last, is cut short"},
		{"cut in a quoted field", columns + shipped + `CARD,"acme`, ErrNoTrailer, "line 3"},
		{"cut in the trailer's count", columns + strings.Repeat(shipped, 12) + "TRAILER,,,,,1", ErrNoTrailer, "line 14"},
		{"cut in the trailer's name", columns + shipped + "TRAI", ErrNoTrailer, "line 3"},
		{"cut in a line that is too long", columns + shipped + strings.Repeat("x", 3*maxLine), ErrNoTrailer, "line 3"},
		{"a line after the trailer", whole + shipped, ErrContradicts, "line 5 stands after the trailer in line 4"},
		{"half a line after the trailer", whole + "CARD", ErrContradicts, "line 5"},
		{"two trailers", whole + "TRAILER,,,,,2,,,,,\n", ErrContradicts, "two trailers, in lines 4 and 5"},
		{"a trailer that counts too many", columns + shipped + "TRAILER,,,,,2,,,,,\n", ErrContradicts, "counts 2 lines, and 1 stand before it"},
		{"a trailer that counts the names too", ours(shipped, shipped)[:len(whole)-len("2,,,,,\n")] + "3,,,,,\n", ErrContradicts, "counts 3 lines, and 2"},
		{"a trailer without a count", columns + shipped + "TRAILER,,,,,,,,,,\n", ErrUnreadable, "line 3 has no count"},
		{"a trailer whose count is no number", columns + "TRAILER,,,,,none,,,,,\n", ErrUnreadable, "line 2 has no count"},
		{"a column is missing", strings.Replace(whole, ",uid,", ",id,", 1), ErrUnreadable, `lacks column "uid"`},
		{"a column is there twice", strings.Replace(whole, "carrier,", "UID,", 1), ErrUnreadable, `names column "uid" twice, in places 4 and 9`},
		{"another program's file", "PK\x03\x04\x00\x00\n", ErrUnreadable, "control characters"},
		{"names beyond measure", strings.Repeat("x,", maxLine) + "\n", ErrUnreadable, "longer than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := read(Standard(), c.content)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %v with %q", err, c.want, c.says)
			}
			if got.Bad != nil {
				t.Errorf("a line that is still being written was told as bad: %+v", got.Bad)
			}
		})
	}
}

// However far a bureau has written a file, the part of it is never taken for
// the whole, but for the trailer's last, empty fields.
func TestNoPartOfAFileIsAWholeOne(t *testing.T) {
	whole := ours(shipped, card(description, `"left; at ""the"" door"`), shipped)
	for n := range len(whole) - len(",,,,,\n") {
		got, err := read(Standard(), whole[:n])
		if !errors.Is(err, ErrNoTrailer) || got.Bad != nil {
			t.Fatalf("%d of %d bytes: %v, bad %+v", n, len(whole), err, got.Bad)
		}
	}
}

// A bad line is told, in its place, and no other is touched by it.
func TestBadLines(t *testing.T) {
	for _, c := range []struct {
		name, line string
		says       string
		uid        string
	}{
		{"unknown record type", card(recordType, "KARD"), `record_type: "KARD" is no record type`, ""},
		{"no record type", card(recordType, ""), `record_type: ""`, ""},
		{"unknown status", card(status, "GONE"), `status: "GONE" is no status of a CARD line`, wantShipped.UID},
		{"a file's status on a card", card(status, Received), `is no status of a CARD line`, wantShipped.UID},
		{"a card's status on a file", "FILE,f,,,SHIPPED,,,,,,2026-11-20T22:00:00Z\n", `is no status of a FILE line`, ""},
		{"no status", card(status, ""), "status is empty", wantShipped.UID},
		{"no uid", card(uid, ""), "uid is empty", ""},
		{"no file name on a FILE line", "FILE,,,,RECEIVED,,,,,,2026-11-20T22:00:00Z\n", "file_name is empty", ""},
		{"a field too few", strings.Replace(shipped, "DHL,", "", 1), "10 fields instead of 11", wantShipped.UID},
		{"a field too many", strings.Replace(shipped, "DHL,", "DHL,,", 1), "12 fields instead of 11", wantShipped.UID},
		{"no time", card(occurredAt, "soon"), `occurred_at: "soon" is no time`, wantShipped.UID},
		{"a time without an offset", card(occurredAt, "2026-11-21T10:00:00"), "is no time", wantShipped.UID},
		{"an empty time", card(occurredAt, ""), "occurred_at is empty", wantShipped.UID},
		{"a time not filled in", card(occurredAt, "0001-01-01T00:00:00Z"), "before the year 2000", wantShipped.UID},
		{"a time more than a day ahead", card(occurredAt, "2026-11-23T06:00:01Z"), "2026-11-23T06:00:01Z is more than 24 hours ahead", wantShipped.UID},
		{"a sequence that is no number", card(sequence, "7a"), `sequence: "7a" is no number`, wantShipped.UID},
		{"a sequence below zero", card(sequence, "-7"), `sequence: "-7" is no number`, wantShipped.UID},
		{"a count that is no number", "FILE,f,,,RECEIVED,many,,,,,2026-11-20T22:00:00Z\n", `count: "many" is no number`, ""},
		{"a count beyond measure", "FILE,f,,,RECEIVED," + strings.Repeat("9", 19) + ",,,,,2026-11-20T22:00:00Z\n", "is no number", ""},
		{"a uid too long", card(uid, strings.Repeat("U", 65)), "uid is longer than 64 bytes", strings.Repeat("U", 65)},
		{"a description too long", card(description, strings.Repeat("é", 501)), "description is longer than 1000 bytes", wantShipped.UID},
		{"a bare quote", card(description, `the "door"`), "a quote stands within a field", ""},
		{"a quote that stays open", card(description, `"at the door`), "open at the end of the line", ""},
		{"text after a quote", card(description, `"at" the door`), "after a closing quote", ""},
		{"a control character", card(description, "ring\x07"), "control characters", ""},
		{"a NUL", card(description, "\x00"), "control characters", ""},
		{"bytes that are nothing", card(description, "\x81"), "nothing in the file's encoding", ""},
		{"a line beyond measure", card(description, strings.Repeat("x", maxLine)), "longer than 65536 bytes", ""},
		{"a line far beyond measure", card(description, strings.Repeat("x", 10*maxLine)), "longer than 65536 bytes", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mustRead(t, Standard(), ours(shipped, c.line, shipped))
			if len(got.Bad) != 1 || got.Bad[0].Number != 3 || !strings.Contains(got.Bad[0].Problem, c.says) || got.Bad[0].UID != c.uid {
				t.Errorf("%+v, want %q of uid %q", got.Bad, c.says, c.uid)
			}
			if len(got.Lines) != 2 || got.Lines[1].Number != 4 || got.Summary.Lines != 3 || got.Summary.Cards != 2 || got.Summary.Bad != 1 {
				t.Errorf("the other lines: %+v %+v", got.Summary, got.Lines)
			}
		})
	}
}

func TestATimeUpToADayAheadIsTaken(t *testing.T) {
	if got := mustRead(t, Standard(), ours(card(occurredAt, "2026-11-23T06:00:00Z"))); got.Bad != nil {
		t.Error(got.Bad)
	}
}

// A card number that a bureau puts anywhere comes out masked.
func TestCardNumbersAreMasked(t *testing.T) {
	track := ";" + pan + "=29112010000012300000?"
	for _, c := range []struct {
		name, line  string
		shows, bads string // of the line, or of the bad one
	}{
		{"description", card(description, "card "+pan+" was bent"), "card 411111******1111 was bent", ""},
		{"description with a track", card(description, "read "+track+" twice"), "read ;411111******1111=********************? twice", ""},
		{"code", card(code, pan), "411111******1111", ""},
		{"carrier", card(carrier, "4111-1111-1111-1111"), "4111-11**-****-1111", ""},
		{"uid", card(uid, pan), "", "uid looks like a card number"},
		{"uid with zeros before it", card(uid, "0000"+pan), "", "uid looks like a card number"},
		{"record type", card(recordType, pan), "", "record_type: a value that looks like a card number"},
		{"status", card(status, track), "", "status: a value that looks like a card number"},
		{"sequence", card(sequence, pan+"x"), "", "sequence: a value that looks like a card number"},
		{"time", card(occurredAt, pan), "", "occurred_at: a value that looks like a card number"},
		{"file name of a bad line", "CARD,x" + pan + ".txt,,,GONE,,,,,,\n", "", "no status"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mustRead(t, Standard(), ours(c.line))
			all := strings.ReplaceAll(strings.ReplaceAll(fmt.Sprintf("%+v", got), "-", ""), " ", "")
			if strings.Contains(all, pan) || strings.Contains(all, "000012300000") {
				t.Error("card data comes out in clear")
			}
			if c.bads != "" && (len(got.Bad) != 1 || !strings.Contains(got.Bad[0].Problem, c.bads)) {
				t.Errorf("%d bad lines, want one with %q", len(got.Bad), c.bads)
			}
			if c.shows == "" {
				return
			}
			if l := got.Lines; len(l) != 1 || l[0].Description != c.shows && l[0].Code != c.shows && l[0].Carrier != c.shows {
				t.Errorf("%d lines, want one with %q", len(l), c.shows)
			}
		})
	}
}

// Names that are looked up stay as they are written: a date and a number beside it pass for a card number too often.
func TestNamesAreNotTakenForCardNumbers(t *testing.T) {
	// Twenty characters of ours whose last 13 have a right check digit.
	const luhn = "01M2W7K0000000000000"
	got := mustRead(t, Standard(), ours(card(uid, luhn), card(trackingNumber, pan), card(status, "GONE")))
	if len(got.Lines) != 2 || got.Lines[0].UID != luhn || got.Lines[1].TrackingNumber != pan {
		t.Errorf("%d lines", len(got.Lines))
	}
	for n := range 200 {
		name := fmt.Sprintf("acme_20261120_%06d.xml.pgp", n)
		if maskName(name) != name {
			t.Errorf("%s is masked", name)
		}
	}
	if masked := maskName("20261120_" + pan); strings.Contains(masked, pan) {
		t.Error("a card number beside a date comes out in clear")
	}
}

func TestEncodings(t *testing.T) {
	const text = "Übergabe in Łódź für 5 €"
	line := card(description, text)
	latin := func(page *charmap.Charmap, s string) string {
		out, err := page.NewEncoder().String(s)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	western := strings.NewReplacer("Ł", "L", "ź", "z").Replace(line)
	french := strings.ReplaceAll(western, "€", "E")
	own := func(encoding string) *Format {
		f, err := Compile(Description{Encoding: encoding})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, c := range []struct {
		encoding, content, want string
		found                   string
	}{
		{"", line, text, "UTF-8"},
		{"utf-8", line, text, "UTF-8"},
		{"", latin(charmap.Windows1252, western), "Übergabe in Lódz für 5 €", "Windows-1252"},
		{"windows-1252", latin(charmap.Windows1252, western), "Übergabe in Lódz für 5 €", "Windows-1252"},
		{"windows-1250", latin(charmap.Windows1250, line), text, "Windows-1250"},
		{"iso-8859-1", latin(charmap.ISO8859_1, french), "Übergabe in Lódz für 5 E", "ISO-8859-1"},
		{"iso-8859-2", latin(charmap.ISO8859_2, strings.ReplaceAll(line, "€", "E")), "Übergabe in Łódź für 5 E", "ISO-8859-2"},
		{"ISO-8859-15", latin(charmap.ISO8859_15, western), "Übergabe in Lódz für 5 €", "ISO-8859-15"},
		{"ibm850", latin(charmap.CodePage850, french), "Übergabe in Lódz für 5 E", "IBM850"},
	} {
		t.Run(c.encoding+" "+c.found, func(t *testing.T) {
			got := mustRead(t, own(c.encoding), ours(c.content))
			if len(got.Lines) != 1 || got.Lines[0].Description != c.want || got.Summary.Encoding != c.found {
				t.Errorf("%+v", got)
			}
		})
	}
	t.Run("a line that is no UTF-8 is bad where UTF-8 is sure", func(t *testing.T) {
		foreign := latin(charmap.Windows1252, western)
		for name, got := range map[string]told{
			"by the mapping":         mustRead(t, own("utf-8"), ours(foreign, shipped)),
			"by the byte order mark": mustRead(t, own(""), markUTF8+ours(foreign, shipped)),
		} {
			if len(got.Lines) != 1 || len(got.Bad) != 1 || !strings.Contains(got.Bad[0].Problem, "no UTF-8") {
				t.Errorf("%s: %+v", name, got)
			}
		}
	})
	t.Run("half a UTF-16 character makes its line bad", func(t *testing.T) {
		utf16, _ := utf.UTF16(utf.LittleEndian, utf.UseBOM).NewEncoder().String(ours(card(description, "X"), shipped))
		got := mustRead(t, own("utf-16"), strings.Replace(utf16, "X\x00", "\x00\xd8", 1))
		if len(got.Lines) != 1 || len(got.Bad) != 1 {
			t.Errorf("%+v", got)
		}
	})
	for name, c := range map[string]struct{ encoding, content string }{
		"UTF-16 without its mark":             {"utf-16", ours(shipped)},
		"UTF-8's mark in a Windows-1252 file": {"windows-1252", markUTF8 + ours(shipped)},
		"UTF-16's mark in a UTF-8 file":       {"utf-8", markUTF16BE + "\x00r"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := read(own(c.encoding), c.content); !errors.Is(err, ErrUnreadable) {
				t.Error(err)
			}
		})
	}
}

func TestErrorsOfOthersComeBackAsTheyAre(t *testing.T) {
	stop := errors.New("stop")
	content := ours(shipped, card(status, "GONE"))
	_, err := Standard().At(now).Read(strings.NewReader(content), func(*Line) error { return stop }, nil)
	if err != stop { //nolint:errorlint // as it is
		t.Error(err)
	}
	_, err = Standard().At(now).Read(strings.NewReader(content), nil, func(*Bad) error { return stop })
	if err != stop { //nolint:errorlint // as it is
		t.Error(err)
	}
	broken := io.MultiReader(strings.NewReader(columns+shipped), iotest.ErrReader(stop))
	_, err = Standard().At(now).Read(broken, nil, nil)
	if !errors.Is(err, stop) || errors.Is(err, ErrNoTrailer) {
		t.Error(err)
	}
}

// Without At the system's clock counts.
func TestTheSystemsClock(t *testing.T) {
	late := card(occurredAt, time.Now().Add(25*time.Hour).Format(time.RFC3339))
	sum, err := Standard().Read(strings.NewReader(ours(late)), nil, nil)
	if err != nil || sum.Bad != 1 {
		t.Error(sum, err)
	}
}

func TestOurCSVMayBeginWithoutItsNames(t *testing.T) {
	named := ours(shipped, "FILE,acme_20261120_000007.xml.pgp,7,,RECEIVED,12,,counts agree,,,2026-11-20T22:00:00Z\n")
	_, bare, _ := strings.Cut(named, "\n")
	want, got := mustRead(t, Standard(), named), mustRead(t, Standard(), bare)
	for i := range got.Lines {
		got.Lines[i].Number++ // the line of the names
	}
	if d := cmp.Diff(want.Lines, got.Lines); d != "" || got.Summary.Lines != want.Summary.Lines || got.Bad != nil {
		t.Errorf("(-with names +without):\n%s", d)
	}
}
