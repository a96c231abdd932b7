package returns

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func places(changes ...string) map[string]string {
	all := map[string]string{"record_type": "1", "uid": "2", "status": "3", "occurred_at": "4", "TRAILER.count": "2"}
	return change(all, changes)
}

func spans(changes ...string) map[string]string {
	return change(map[string]string{"record_type": "1-2", "uid": "3-22", "status": "23-24", "occurred_at": "25-44", "TRAILER.count": "3-8"}, changes)
}

// change sets "key: value", and takes "key" away.
func change(all map[string]string, changes []string) map[string]string {
	for _, c := range changes {
		key, value, found := strings.Cut(c, ": ")
		if all[key] = value; !found {
			delete(all, key)
		}
	}
	return all
}

func TestCompileRefuses(t *testing.T) {
	cards := map[string]string{"C": "CARD", "T": "TRAILER"}
	both := map[string]string{"C": "CARD", "F": "FILE", "T": "TRAILER"}
	for _, c := range []struct {
		name string
		d    Description
		key  string
		says string
	}{
		{"a shape that is none", Description{Shape: "xml"}, "shape", "neither"},
		{"an encoding that nobody knows", Description{Encoding: "ebcdic"}, "encoding", "ibm850, iso-8859-1,"},
		{"a delimiter of two characters", Description{Delimiter: "||"}, "delimiter", "not one character"},
		{"a delimiter that is a quote", Description{Delimiter: `"`}, "delimiter", "cannot part"},
		{"a delimiter that is a letter", Description{Delimiter: "x"}, "delimiter", "cannot part"},
		{"a fixed file with a delimiter", Description{Shape: "fixed", Delimiter: ";"}, "delimiter", "has none"},
		{"a fixed file with quotes", Description{Shape: "fixed", Unquoted: true}, "unquoted", ""},
		{"a fixed file with a header", Description{Shape: "fixed", Header: true}, "header", "SKIP"},
		{"a fixed file with columns", Description{Shape: "fixed", Columns: 4}, "columns", ""},
		{"a fixed file without places", Description{Shape: "fixed"}, "fields", "needs the places"},
		{"a length below zero", Description{Shape: "fixed", Length: -1}, "length", ""},
		{"a delimited file with a length", Description{Length: 80}, "length", "fixed"},
		{"columns beside a header", Description{Columns: 11}, "columns", "header"},
		{"columns below zero", Description{Columns: -1, Fields: places()}, "columns", "not within"},

		{"an unknown field", Description{Records: cards, Fields: places("iban: 5")}, "fields.iban", "no such field"},
		{"an unknown field of a record type", Description{Records: cards, Fields: places("CARD.iban: 5")}, "fields.CARD.iban", "no such field"},
		{"a record type that is none", Description{Records: cards, Fields: places("KARTE.uid: 5")}, "fields.KARTE.uid", "none of CARD"},
		{"a field that lines do not bring", Description{Records: cards, Fields: places("TRAILER.uid: 5")}, "fields.TRAILER.uid", "brings no uid"},
		{"a place for lines that never come", Description{Records: cards, Fields: places("FILE.count: 5")}, "fields.FILE.count", "no word of records is FILE"},
		{"a record type of its own place", Description{Records: cards, Fields: places("CARD.record_type: 5")}, "fields.CARD.record_type", "no record_type"},
		{"a name without a header", Description{Records: cards, Fields: places("uid: Kennung")}, "fields.uid", "header: true"},
		{"a span in a delimited file", Description{Records: cards, Fields: places("uid: 2-9")}, "fields.uid", "no column's number"},
		{"column 0", Description{Records: cards, Fields: places("uid: 0")}, "fields.uid", "no column's number"},
		{"a column beyond the last", Description{Records: cards, Columns: 4, Fields: places("code: 5")}, "fields.code", "beyond the 4"},
		{"a column in a fixed file", Description{Shape: "fixed", Records: cards, Fields: spans("uid: 2")}, "fields.uid", "FIRST-LAST"},
		{"a span that ends before it begins", Description{Shape: "fixed", Records: cards, Fields: spans("uid: 9-3")}, "fields.uid", "FIRST-LAST"},
		{"a span with blanks", Description{Shape: "fixed", Records: cards, Fields: spans("uid: 3 - 9")}, "fields.uid", "FIRST-LAST"},
		{"a span beyond the line", Description{Shape: "fixed", Length: 40, Records: cards, Fields: spans()}, "fields.occurred_at", "beyond the length of 40"},
		{"an empty place", Description{Records: cards, Fields: places("uid: ")}, "fields.uid", "no place"},
		{"a text for a uid", Description{Records: cards, Fields: places("uid: =X")}, "fields.uid", "status, code"},
		{"overlapping places", Description{Shape: "fixed", Records: cards, Fields: spans("code: 44-46")}, "fields.occurred_at", "overlaps characters 44-46 of code"},
		{"a place on the record type", Description{Shape: "fixed", Records: cards, Fields: spans("TRAILER.count: 2-8")}, "fields.TRAILER.count", "characters 1-2 of record_type (TRAILER lines)"},

		{"no record type", Description{Records: cards, Fields: places("record_type")}, "fields.record_type", "missing"},
		{"no uid", Description{Records: cards, Fields: places("uid")}, "fields.uid", "missing"},
		{"no status", Description{Records: cards, Fields: places("status")}, "fields.status", "CARD"},
		{"no time", Description{Records: cards, Fields: places("occurred_at")}, "fields.occurred_at", "missing"},
		{"half a time", Description{Records: cards, Fields: places("occurred_at", "occurred_date: 4")}, "fields.occurred_at", "missing"},
		{"no file name for FILE lines", Description{Records: both, Fields: places()}, "fields.file_name", "FILE"},
		{"no status for FILE lines", Description{Records: both, Fields: places("status", "CARD.status: 3", "file_name: 5")}, "fields.status", "FILE.status"},
		{"no count for the trailer", Description{Records: cards, Fields: places("TRAILER.count")}, "fields.TRAILER.count", "trailer_counts: none"},

		{"a record word for nothing of ours", Description{Records: map[string]string{"C": "KARTE"}, Fields: places()}, "records.C", "none of CARD"},
		{"records without a trailer", Description{Records: map[string]string{"C": "CARD"}, Fields: places()}, "records", "TRAILER"},
		{"records that tell nothing", Description{Records: map[string]string{"T": "TRAILER"}, Fields: places()}, "records", "tell nothing"},
		{"every other line a trailer", Description{Records: map[string]string{"*": "TRAILER"}, Fields: places()}, "records.*", "TRAILER"},
		{"a record word twice", Description{Records: map[string]string{"c": "CARD", "C ": "FILE", "T": "TRAILER"}, Fields: places()}, "records.c", "twice"},

		{"a status that is not ours", Description{Statuses: map[string]string{"9": "GONE"}}, "statuses.9", "none of RECEIVED REFUSED"},
		{"ACTIVATED, which no bureau knows", Description{Statuses: map[string]string{"9": "ACTIVATED"}}, "statuses.9", "none of"},
		{"a card's status for a file", Description{Statuses: map[string]string{"FILE.9": "LOST"}}, "statuses.FILE.9", "no status of a FILE"},
		{"a status word twice", Description{Statuses: map[string]string{"ok": "ACKED", "OK": "SHIPPED"}}, "statuses.ok", "twice"},
		{"a fixed text that is no status", Description{Records: cards, Fields: places("status: =FINE"), Statuses: map[string]string{"OK": "ACKED"}}, "fields.status", `"FINE"`},
		{"a code twice", Description{Codes: map[string]string{"e1": "a", "E1": "b"}}, "codes.e1", "twice"},

		{"a letter that no pattern has", Description{TimeFormat: "YYYY-MM-DD HH:mm"}, "time_format", `"HH"`},
		{"a pattern in a Go layout", Description{TimeFormat: "2006-01-02"}, "time_format", "digit"},
		{"a pattern without a day", Description{TimeFormat: "YYYY-MM hh:mm"}, "time_format", "needs a year"},
		{"a pattern with two months", Description{TimeFormat: "YYYY-MM-DD MMM"}, "time_format", "comes twice"},
		{"minutes without hours", Description{TimeFormat: "YYYYMMDD mm"}, "time_format", "minutes need hours"},
		{"an unknown zone", Description{TimeZone: "Europe/Bielefeld"}, "time_zone", "IANA"},
		{"the machine's own zone", Description{TimeZone: "Local"}, "time_zone", "IANA"},
		{"a trailer that counts something else", Description{TrailerCounts: "bytes"}, "trailer_counts", "lines, cards"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := Compile(c.d)
			var wrong *DescriptionError
			if !errors.As(err, &wrong) || f != nil {
				t.Fatalf("%v", err)
			}
			if wrong.Key != c.key || !strings.Contains(wrong.Problem, c.says) {
				t.Errorf("%v, want %s with %q", err, c.key, c.says)
			}
		})
	}
}

// Every mistake is the same one each time, although maps have no order.
func TestMistakesAreTheSameEachTime(t *testing.T) {
	d := Description{Fields: places("iban: 1", "bic: 2", "uid: x"), Statuses: map[string]string{"a": "A", "b": "B"}}
	_, first := Compile(d)
	for range 50 {
		if _, err := Compile(d); err.Error() != first.Error() {
			t.Fatalf("%v, then %v", first, err)
		}
	}
}

func TestTheZeroDescriptionIsOurCSV(t *testing.T) {
	f, err := Compile(Description{})
	if err != nil || !f.header || f.delimiter != "," {
		t.Fatal(f, err)
	}
	if !slices.Equal(slices.Sorted(maps.Keys(f.records.of)), []string{"CARD", "FILE", "TRAILER"}) || !reflect.DeepEqual(f.places, Standard().places) {
		t.Errorf("%+v", f)
	}
}

// A time without an offset is what the clocks of the zone show; doubtful ones are read as RFC 5545, 3.3.5 has it.
func TestLocalTimes(t *testing.T) {
	for _, c := range []struct{ name, format, zone, text, want string }{
		{"winter", "DD.MM.YYYY hh:mm", "Europe/Berlin", "22.11.2026 00:05", "2026-11-21T23:05:00Z"},
		{"summer", "DD.MM.YYYY hh:mm", "Europe/Berlin", "22.07.2026 00:05", "2026-07-21T22:05:00Z"},
		{"before the gap", "DD.MM.YYYY hh:mm", "Europe/Berlin", "29.03.2026 01:59", "2026-03-29T00:59:00Z"},
		{"in the gap: by the clock not yet put forward", "DD.MM.YYYY hh:mm", "Europe/Berlin", "29.03.2026 02:30", "2026-03-29T01:30:00Z"},
		{"after the gap", "DD.MM.YYYY hh:mm", "Europe/Berlin", "29.03.2026 03:30", "2026-03-29T01:30:00Z"},
		{"before the overlap", "DD.MM.YYYY hh:mm", "Europe/Berlin", "25.10.2026 01:59", "2026-10-24T23:59:00Z"},
		{"in the overlap: the first of the two", "DD.MM.YYYY hh:mm", "Europe/Berlin", "25.10.2026 02:30", "2026-10-25T00:30:00Z"},
		{"after the overlap", "DD.MM.YYYY hh:mm", "Europe/Berlin", "25.10.2026 03:00", "2026-10-25T02:00:00Z"},
		{"in the gap of New York", "YYYY-MM-DD hh:mm", "America/New_York", "2026-03-08 02:30", "2026-03-08T07:30:00Z"},
		{"in the overlap of New York", "YYYY-MM-DD hh:mm", "America/New_York", "2026-11-01 01:30", "2026-11-01T05:30:00Z"},
		{"a gap of half an hour, at Lord Howe", "YYYY-MM-DD hh:mm", "Australia/Lord_Howe", "2026-10-04 02:15", "2026-10-03T15:45:00Z"},
		{"a day that Samoa left out", "YYYY-MM-DD hh:mm", "Pacific/Apia", "2011-12-30 12:00", "2011-12-30T22:00:00Z"},
		{"a day alone", "YYYYMMDD", "Europe/Berlin", "20261122", "2026-11-21T23:00:00Z"},
		{"two digits of a year", "DD/MM/YY hh:mm:ss", "", "22/11/26 00:05:06", "2026-11-22T00:05:06Z"},
		{"a month's name", "DD-MMM-YYYY", "", "09-nov-2026", "2026-11-09T00:00:00Z"},
		{"an offset wins over the zone", "YYYYMMDDThhmmssZ", "Europe/Berlin", "20261122T000506-0330", "2026-11-22T03:35:06Z"},
		{"an offset with a colon", "YYYY-MM-DD hh:mm:ss Z", "", "2026-11-22 00:05:06 +05:30", "2026-11-21T18:35:06Z"},
		{"an offset of hours", "YYYY-MM-DD hh:mmZ", "", "2026-11-22 00:05+02", "2026-11-21T22:05:00Z"},
		{"the letter Z", "YYYY-MM-DD hh:mmZ", "Europe/Berlin", "2026-11-22 00:05Z", "2026-11-22T00:05:00Z"},
		{"29 February", "YYYY-MM-DD", "", "2024-02-29", "2024-02-29T00:00:00Z"},
		{"RFC 3339", "", "", "2026-11-22T00:05:06.5+01:00", "2026-11-21T23:05:06.5Z"},
		{"RFC 3339 without offset, in the mapping's zone", "rfc3339", "Europe/Berlin", "2026-11-22T00:05:06", "2026-11-21T23:05:06Z"},
		{"Unix seconds", "unix", "Europe/Berlin", "1795305906", "2026-11-22T00:05:06Z"},

		{"no such day", "YYYY-MM-DD", "", "2026-02-29", ""},
		{"no such month", "YYYY-MM-DD", "", "2026-13-01", ""},
		{"no such hour", "YYYY-MM-DD hh:mm", "", "2026-11-22 24:00", ""},
		{"no such second", "YYYY-MM-DD hh:mm:ss", "", "2026-11-22 23:59:60", ""},
		{"no such month's name", "DD-MMM-YYYY", "", "09-NVE-2026", ""},
		{"letters between two months", "DD-MMM-YYYY", "", "09-ANF-2026", ""},
		{"too short", "YYYY-MM-DD hh:mm", "", "2026-11-22", ""},
		{"too long", "YYYY-MM-DD", "", "2026-11-22 00:05", ""},
		{"another sign", "YYYY-MM-DD", "", "2026/11/22", ""},
		{"blanks for zeros", "YYYY-MM-DD", "", "2026- 1-22", ""},
		{"no offset", "YYYY-MM-DD hh:mmZ", "Europe/Berlin", "2026-11-22 00:05", ""},
		{"an offset beyond the earth", "YYYY-MM-DD hh:mmZ", "", "2026-11-22 00:05+15:00", ""},
		{"RFC 3339 without offset", "", "", "2026-11-22T00:05:06", ""},
		{"Unix milliseconds", "unix", "", "1795305906000", ""},
		{"Unix seconds below zero", "unix", "", "-1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := Compile(Description{TimeFormat: c.format, TimeZone: c.zone})
			if err != nil {
				t.Fatal(err)
			}
			at, ok := f.time.parse(c.text)
			got := ""
			if ok {
				got = at.Format(time.RFC3339Nano)
			}
			if got != c.want {
				t.Errorf("%s is %q, want %q", c.text, got, c.want)
			}
		})
	}
}
