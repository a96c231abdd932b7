package returns

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Each mapping is what an operator writes; the file is what the bureau sends.
func TestMappings(t *testing.T) {
	const delimited = "fields: {record_type: 1, uid: 2, status: 3, occurred_at: 4, description: 5, TRAILER.count: 2}\nrecords: {C: CARD, T: TRAILER, S: SKIP}\n"
	const stamp = "|2026-11-21T10:00:00Z|"
	for _, c := range []struct {
		name, mapping, content string
		lines                  []string // "number status uid description"
		bad                    []string // parts of the problems
	}{
		{
			"a record type of no interest is skipped and counts",
			"delimiter: '|'\n" + delimited,
			"S|anything\nC|u1|SHIPPED" + stamp + "\nT|2\n",
			[]string{"2 SHIPPED u1 "}, nil,
		},
		{
			"a status of no interest is skipped, whatever else the line lacks",
			"delimiter: '|'\nstatuses: {PACKED: SKIP, X: LOST}\n" + delimited,
			"C||packed||\nC|u1|x" + stamp + "\nT|2\n",
			[]string{"2 LOST u1 "}, nil,
		},
		{
			"every other status of no interest",
			"delimiter: '|'\nstatuses: {'*': SKIP, X: LOST}\n" + delimited,
			"C|u1|||\nC|u1|what" + stamp + "\nC|u1|X" + stamp + "\nT|3\n",
			[]string{"3 LOST u1 "}, nil,
		},
		{
			"one word, two meanings",
			"delimiter: '|'\nfields: {record_type: 1, uid: 2, FILE.file_name: 2, FILE.description: '', status: 3, occurred_at: 4, description: 5, TRAILER.count: 2}\n" +
				"records: {C: CARD, F: FILE, T: TRAILER}\nstatuses: {FILE.OK: RECEIVED, CARD.OK: ACKED}\n",
			"F|file|ok|2026-11-21T10:00:00Z\nC|u1|OK" + stamp + "\nT|2\n",
			[]string{"1 RECEIVED  ", "2 ACKED u1 "}, nil,
		},
		{
			"a code is told in words where the line brings none",
			"delimiter: '|'\nfields: {record_type: 1, uid: 2, status: 3, occurred_at: 4, description: 5, code: 6, TRAILER.count: 2}\nrecords: {C: CARD, T: TRAILER}\ncodes: {E1: no stock}\n",
			"C|u1|REJECTED" + stamp + "|e1\nC|u2|REJECTED" + stamp + "no photo|E1\nC|u3|REJECTED" + stamp + "|E2\nT|3\n",
			[]string{"1 REJECTED u1 no stock", "2 REJECTED u2 no photo", "3 REJECTED u3 "}, nil,
		},
		{
			"tabs, and quotes that are characters",
			"delimiter: tab\nunquoted: true\n" + delimited,
			"C\tu1\tSHIPPED\t2026-11-21T10:00:00Z\t\"5\" card\nT\t1\n",
			[]string{`1 SHIPPED u1 "5" card`}, nil,
		},
		{
			"a delimiter beyond ASCII",
			"delimiter: ¦\n" + delimited,
			strings.ReplaceAll("C|u1|SHIPPED"+stamp+"\"a ¦ b\"\nT|1\n", "|", "¦"),
			[]string{"1 SHIPPED u1 a ¦ b"}, nil,
		},
		{
			"without columns, a line must reach the last place, and may be longer",
			"delimiter: '|'\n" + delimited,
			"C|u1|SHIPPED|2026-11-21T10:00:00Z\nC|u2|SHIPPED" + stamp + "\nC|u3|SHIPPED" + stamp + "|x\nT|3\n",
			[]string{"2 SHIPPED u2 ", "3 SHIPPED u3 "}, []string{"4 fields, and at least 5"},
		},
		{
			"columns are asked for by number beside names",
			"delimiter: '|'\nheader: true\nfields: {record_type: Type, uid: 2, status: State, occurred_at: When, TRAILER.count: 2}\nrecords: {CARD: CARD, TRAILER: TRAILER}\n",
			"When|Id|State|TYPE\n2026-11-21T10:00:00Z|u1|SHIPPED|CARD\n|1||TRAILER\n",
			[]string{"2 SHIPPED u1 "}, nil,
		},
		{
			"a trailer that counts cards, bad ones too, and lines that may be cards",
			"delimiter: '|'\ntrailer_counts: cards\n" + delimited,
			"S|x\nC|u1|SHIPPED" + stamp + "\nC|u2|GONE" + stamp + "\nC|\"u3\nT|3\n",
			[]string{"2 SHIPPED u1 "}, []string{`"GONE"`, "open at the end"},
		},
		{
			"a trailer without a count",
			"delimiter: '|'\ntrailer_counts: none\n" + strings.Replace(delimited, ", TRAILER.count: 2", "", 1),
			"C|u1|SHIPPED" + stamp + "\nT\n",
			[]string{"1 SHIPPED u1 "}, nil,
		},
		{
			"the header line's time counts for lines that bring none",
			"delimiter: '|'\nfields: {record_type: 1, HEADER.occurred_at: 2, uid: 2, status: 3, TRAILER.count: 2}\nrecords: {H: HEADER, C: CARD, T: TRAILER}\ntime_format: YYYYMMDDhhmm\n",
			"C|u0|SHIPPED\nH|202611201000\nC|u1|SHIPPED\nT|3\n",
			[]string{"3 SHIPPED u1 "}, []string{"occurred_at is empty"},
		},
		{
			"the header line's date, and the line's time; the line's own date wins",
			"delimiter: '|'\nfields: {record_type: 1, HEADER.occurred_date: 2, uid: 2, status: 3, occurred_time: 4, occurred_date: 5, TRAILER.count: 2}\nrecords: {H: HEADER, C: CARD, T: TRAILER}\ntime_format: YYYYMMDD hhmm\n",
			"C|u0|SHIPPED|1000|\nH|20261120\nC|u1|SHIPPED|1000|\nC|u2|SHIPPED|1000|20261121\nC|u3|SHIPPED|1000|20270101\nT|5\n",
			[]string{"3 SHIPPED u1 ", "4 SHIPPED u2 "}, []string{`occurred_date (column 5): "1000" is no time`, "24 hours ahead"},
		},
		{
			"fixed places are characters, not bytes",
			"shape: fixed\nfields: {record_type: 1-1, uid: 2-5, description: 6-15, status: 16-22, occurred_at: 23-42, TRAILER.count: 2-5}\nrecords: {C: CARD, T: TRAILER}\n",
			"Cu1  Tür für ÄÖSHIPPED2026-11-21T10:00:00Z\nCu2  plain     LOST   2026-11-21T10:00:00Z and more\nT0002\n",
			[]string{"1 SHIPPED u1 Tür für ÄÖ", "2 LOST u2 plain"}, nil,
		},
		{
			"what is missing at a fixed line's end is blank",
			"shape: fixed\nfields: {record_type: 1-1, uid: 2-5, status: 6-12, occurred_at: 13-32, description: 33-60, code: 61-64, TRAILER.count: 2-9}\nrecords: {C: CARD, T: TRAILER}\n",
			"Cu1  SHIPPED2026-11-21T10:00:00Zat the dö\nCu2  SHIPPED2026-11-21\nCu3\nT3\n",
			[]string{"1 SHIPPED u1 at the dö"}, []string{`occurred_at (characters 13-32): "2026-11-21"`, "status (characters 6-12) is empty"},
		},
		{
			"a fixed line of another length",
			"shape: fixed\nlength: 32\nfields: {record_type: 1-1, uid: 2-5, status: 6-12, occurred_at: 13-32, TRAILER.count: 2-9}\nrecords: {C: CARD, T: TRAILER}\n",
			"Cu1  SHIPPED2026-11-21T10:00:00Z\nCu2  SHIPPED2026-11-21T10:00:00Z \nCü3  SHIPPED2026-11-21T10:00:00Z\nT3" + strings.Repeat(" ", 30) + "\n",
			[]string{"1 SHIPPED u1 ", "3 SHIPPED ü3 "}, []string{"33 characters instead of 32"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mustRead(t, compile(t, quotedNumbers(c.mapping)), c.content)
			var lines []string
			for _, l := range got.Lines {
				lines = append(lines, strings.Join([]string{string(rune('0' + l.Number)), l.Status, l.UID, l.Description}, " "))
			}
			if diff := cmp.Diff(c.lines, lines); diff != "" {
				t.Error(diff)
			}
			if len(got.Bad) != len(c.bad) {
				t.Fatalf("%+v", got.Bad)
			}
			for i, says := range c.bad {
				if !strings.Contains(got.Bad[i].Problem, says) {
					t.Errorf("%q, want %q", got.Bad[i].Problem, says)
				}
			}
		})
	}
}

// quotedNumbers lets the mappings above name columns as an operator would.
func quotedNumbers(mapping string) string {
	for _, n := range []string{"1", "2", "3", "4", "5", "6"} {
		mapping = strings.ReplaceAll(mapping, ": "+n+",", ": '"+n+"',")
		mapping = strings.ReplaceAll(mapping, ": "+n+"}", ": '"+n+"'}")
	}
	return mapping
}

func TestATrailerThatCountsCardsAndIsWrong(t *testing.T) {
	f := compile(t, "delimiter: '|'\ntrailer_counts: cards\nfields: {record_type: '1', uid: '2', status: '3', occurred_at: '4', TRAILER.count: '2'}\nrecords: {C: CARD, T: TRAILER, S: SKIP}")
	const card = "C|u|LOST|2026-11-21T10:00:00Z\n"
	for _, content := range []string{"S|\n" + card + "T|2\n", card + card + "T|1\n", card + "C|\"u\nT|3\n", "T|1\n"} {
		if _, err := read(f, content); !errors.Is(err, ErrContradicts) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// A FILE line that has no place for a time happened when it is read.
func TestAnAcknowledgementWithoutATime(t *testing.T) {
	f := compile(t, "delimiter: '|'\nfields: {record_type: '1', file_name: '2', status: =RECEIVED, TRAILER.count: '2'}\nrecords: {ACK: FILE, END: TRAILER}")
	got := mustRead(t, f, "ACK|acme.txt\nEND|1\n")
	want := []Line{{Number: 1, Kind: File, FileName: "acme.txt", Status: Received, Count: NoCount, OccurredAt: now}}
	if diff := cmp.Diff(want, got.Lines); diff != "" {
		t.Error(diff)
	}
	if later := f.At(now.Add(time.Hour)); later.now.Equal(f.At(now).now) || !f.now.IsZero() {
		t.Error("At changed the format itself")
	}
}
