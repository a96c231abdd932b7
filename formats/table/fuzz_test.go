package table

import (
	"bytes"
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// FuzzCSVAgainstStandard holds that where encoding/csv takes a text and we find no fault in it, both read the same cells
// in the same rows, whatever the delimiter.
func FuzzCSVAgainstStandard(f *testing.F) {
	for _, seed := range []string{"a,b\n1,2\n", "a,\"b\nc\"\n1,\n", "\"a\"\"b\",c\r\n,\r\n", "a\n\n\nb", "x,\"\"\n"} {
		f.Add(seed, uint8(0))
		f.Add(strings.ReplaceAll(seed, ",", ";"), uint8(1))
	}
	f.Fuzz(func(t *testing.T, content string, which uint8) {
		comma := delimiters[int(which)%len(delimiters)]
		standard := csv.NewReader(strings.NewReader(content))
		standard.Comma, standard.FieldsPerRecord = comma, -1
		if strings.ContainsRune(strings.ReplaceAll(content, "\r\n", "\n"), '\r') || strings.ContainsAny(content, "\x00\ufeff") || isASCII([]byte(content)) == false {
			return // line ends, marks and encodings that encoding/csv does not know
		}
		rows, err := standard.ReadAll()
		if err != nil {
			return
		}
		var want [][]string
		for _, cells := range rows {
			if cells = trimBlank(cells); len(cells) > 0 {
				want = append(want, cells)
			}
		}
		r := newRecords(strings.NewReader(content), charset{known: true, strict: true}, comma, Limits{}.WithDefaults())
		var got [][]string
		for {
			var row Row
			err := r.next(&row)
			if err != nil {
				if endOf(err) != nil {
					t.Fatal(err)
				}
				break
			}
			if row.Fault != "" || row.Marks != nil {
				return
			}
			got = append(got, slices.Clone(row.Cells))
		}
		if !slices.EqualFunc(want, got, slices.Equal[[]string]) {
			t.Fatalf("encoding/csv reads %q, we read %q", want, got)
		}
	})
}

// FuzzWorkbook holds that any bytes that begin like a workbook are read to their end or are an error of the file: never a
// panic, no row out of order, the same rows when read again. That they are the right rows is held against excelize by
// TestRandomWorkbooksReadAsExcelizeReadsThem.
func FuzzWorkbook(f *testing.F) {
	entries, err := filepath.Glob("../../testdata/damaged/requests/*.xlsx")
	if err != nil || len(entries) < 50 {
		f.Fatalf("%d workbooks: %v", len(entries), err)
	}
	for _, path := range entries {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if len(content) < 8<<10 {
			f.Add(content)
		}
	}
	limits := Limits{Unpacked: 1 << 20, Strings: 1 << 18}
	read := func(content []byte) (lines []int, cells []string, err error) {
		file, err := New(bytes.NewReader(content), int64(len(content)), Options{Limits: limits})
		if err != nil {
			return nil, nil, err
		}
		for i := range file.Sheets() {
			last := 0
			err := file.Rows(i, func(r *Row) error {
				if r.Line <= last {
					return errors.New("a row is out of order")
				}
				last = r.Line
				lines, cells = append(lines, r.Line), append(cells, r.Cells...)
				return nil
			})
			if err != nil {
				return lines, cells, err
			}
		}
		return lines, cells, nil
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > 64<<10 {
			return
		}
		lines, cells, err := read(content)
		var damaged *Error
		if err != nil && (!errors.As(err, &damaged) || damaged.Detail == "") {
			t.Fatal(err)
		}
		again, same, err2 := read(content)
		if (err == nil) != (err2 == nil) || !slices.Equal(lines, again) || !slices.Equal(cells, same) {
			t.Error("read again it is another")
		}
	})
}
