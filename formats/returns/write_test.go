package returns

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"reemboss/formats/iso"
)

// TestWriteThenRead: what Write writes, Standard reads, line by line the same.
func TestWriteThenRead(t *testing.T) {
	// Letters of many scripts, signs that CSV quotes, no blank at an end, nothing that passes for a card number.
	text := rapid.StringMatching(`([a-zÄßŁ€日"',;|#=.-][ a-z0-9"',;äé/]{0,30}[a-z"',;ü])?`)
	line := rapid.Custom(func(t *rapid.T) Line {
		l := Line{
			Kind: File, FileName: "f" + text.Draw(t, "file name"), Sequence: rapid.Int64Range(0, 1e12).Draw(t, "sequence"), Count: rapid.Int64Range(NoCount, 1e12).Draw(t, "count"),
			Code: text.Draw(t, "code"), Description: text.Draw(t, "description"),
			OccurredAt: time.Unix(rapid.Int64Range(946684800, now.Unix()).Draw(t, "at"), rapid.Int64Range(0, 999999999).Draw(t, "nanoseconds")).UTC(),
		}
		l.Status = rapid.SampledFrom(fileStatuses).Draw(t, "status")
		if rapid.Bool().Draw(t, "card") {
			l.Kind, l.Count, l.Status = Card, NoCount, rapid.SampledFrom(cardStatuses).Draw(t, "status")
			l.UID = rapid.StringMatching(`01[A-Z][0-9A-Z]{17}`).Draw(t, "uid")
			l.FileName = rapid.SampledFrom([]string{"", l.FileName}).Draw(t, "file name or none")
			l.Carrier, l.TrackingNumber = text.Draw(t, "carrier"), rapid.StringMatching(`[0-9A-Z]{0,24}`).Draw(t, "tracking number")
		}
		for _, masked := range []*string{&l.Code, &l.Description, &l.Carrier} {
			if len(iso.FindEvident(*masked)) > 0 {
				*masked = ""
			}
		}
		return l
	})
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(line, 0, 30).Draw(t, "lines")
		var file strings.Builder
		if err := Write(&file, want); err != nil {
			t.Fatal(err)
		}
		got, err := read(Standard(), file.String())
		if err != nil || got.Bad != nil {
			t.Fatal(err, got.Bad)
		}
		for i := range want {
			want[i].Number = i + 2
		}
		if len(want) == 0 {
			want = nil
		}
		if diff := cmp.Diff(want, got.Lines); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWriteMakesOurCSV(t *testing.T) {
	var file strings.Builder
	l := wantShipped
	l.Description = ` at "the" door `
	if err := Write(&file, []Line{l}); err != nil {
		t.Fatal(err)
	}
	want := columns + `CARD,acme_20261120_000007.xml.pgp,7,01M2W7K9X40000A1B2C3,SHIPPED,,00,"at ""the"" door",DHL,00340434161094,2026-11-21T09:00:00Z` + "\nTRAILER,,,,,1,,,,,\n"
	if diff := cmp.Diff(want, file.String()); diff != "" {
		t.Error(diff)
	}
}

// A line that could not be read back is not written, and the file gets no trailer.
func TestWriteRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Line){
		"a kind of its own":          func(l *Line) { l.Kind = "TRAILER" },
		"a file's status on a card":  func(l *Line) { l.Status = Received },
		"no uid":                     func(l *Line) { l.UID = " " },
		"a card number as uid":       func(l *Line) { l.UID = pan },
		"a count on a card":          func(l *Line) { l.Count = 3 },
		"a sequence below zero":      func(l *Line) { l.Sequence = -1 },
		"no time":                    func(l *Line) { l.OccurredAt = time.Time{} },
		"a time beyond the calendar": func(l *Line) { l.OccurredAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a line break":               func(l *Line) { l.Description = "at\nthe door" },
		"text that is no UTF-8":      func(l *Line) { l.Carrier = "D\xffL" },
		"a text too long":            func(l *Line) { l.Code = strings.Repeat("x", 1001) },
		"a file without a name":      func(l *Line) { *l = Line{Kind: File, Status: Refused, Count: NoCount, OccurredAt: now} },
		"a file with a uid": func(l *Line) {
			*l = Line{Kind: File, FileName: "f", UID: "u", Status: Refused, Count: NoCount, OccurredAt: now}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := wantShipped
			spoil(&l)
			var file strings.Builder
			err := Write(&file, []Line{wantShipped, l})
			if err == nil || !strings.HasPrefix(err.Error(), "line 2 of the return file") || strings.Contains(err.Error(), pan) {
				t.Error(err)
			}
			if strings.Contains(file.String(), "TRAILER") {
				t.Error("the file has a trailer")
			}
		})
	}
}
