package table

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
	"pgregory.net/rapid"
)

// Whatever excelize writes, in either of its two ways, is read by us as excelize itself reads it.
func TestRandomWorkbooksReadAsExcelizeReadsThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("aZ09 é<>&\"'_x-ßŁ🙂\n\t")), 0, 12, -1)
		value := rapid.OneOf(text.AsAny(), rapid.IntRange(-1e9, 1e15-1).AsAny(), rapid.Bool().AsAny(), rapid.Just(any(nil)))
		grid := rapid.SliceOfN(rapid.SliceOfN(value, 0, 6), 1, 8).Draw(t, "grid")
		content, err := written(grid, rapid.Bool().Draw(t, "stream"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := excelizeRows(content)
		if err != nil {
			t.Fatal(err)
		}
		f, err := New(bytes.NewReader(content), int64(len(content)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[int][]string{}
		err = f.Rows(0, func(r *Row) error { got[r.Line] = append([]string(nil), r.Cells...); return nil })
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

// written writes a grid with excelize: as shared strings, or as inline strings.
func written(grid [][]any, stream bool) ([]byte, error) {
	f := excelize.NewFile()
	if stream {
		w, err := f.NewStreamWriter("Sheet1")
		if err != nil {
			return nil, err
		}
		for i, row := range grid {
			if err := w.SetRow(fmt.Sprintf("A%d", i+1), row); err != nil {
				return nil, err
			}
		}
		if err := w.Flush(); err != nil {
			return nil, err
		}
	} else {
		for i, row := range grid {
			if err := f.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+1), &row); err != nil {
				return nil, err
			}
		}
	}
	var b bytes.Buffer
	err := f.Write(&b)
	return b.Bytes(), err
}

func excelizeRows(content []byte) (map[int][]string, error) {
	f, err := excelize.OpenReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	rows, err := f.GetRows("Sheet1")
	if err != nil {
		return nil, err
	}
	kept := map[int][]string{}
	for i, row := range rows {
		if row = trimBlank(row); len(row) > 0 {
			kept[i+1] = row
		}
	}
	return kept, nil
}

func FuzzXLSXSheet(f *testing.F) {
	f.Add(row(1, `<c r="A1" t="s"><v>1</v></c><c r="C1"><f>A1</f><v>4.1E+5</v></c>`))
	f.Add(row(3, `<c t="inlineStr"><is><r><t>a</t></r><rPh><t>b</t></rPh></is></c>`) + `<!-- x --><row/>`)
	f.Add(`<row r="2"><c r="A2" t="str"><v><![CDATA[x]]></v></c></row>`)
	f.Fuzz(func(t *testing.T, rows string) {
		content := book(rows).bytes()
		file, err := New(strings.NewReader(content), int64(len(content)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		last := 0
		err = file.Rows(0, func(r *Row) error {
			if r.Line <= last {
				t.Errorf("row %d after row %d", r.Line, last)
			}
			last = r.Line
			return nil
		})
		if err == nil && !wellFormed(sheetXML(rows)) {
			t.Error("a sheet that is not well-formed was read without an error")
		}
	})
}

// FuzzXML holds that what our scanner takes, encoding/xml takes too, with the same text.
func FuzzXML(f *testing.F) {
	for _, seed := range []string{"<a/>", "<a b='1'>&lt;x</a>", "<?xml version=\"1.0\"?><a><!-- c --><b/>t</a> ", "<a>\r\n&#13;</a>", "<a><![CDATA[<]]></a>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		var ours strings.Builder
		x := newXMLScanner(strings.NewReader(content))
		for {
			kind, err := x.next()
			if err != nil {
				return
			}
			if kind == tokenText {
				ours.Write(x.text)
			}
			if kind == tokenEOF {
				break
			}
		}
		theirs, err := textOf(content)
		if err != nil {
			t.Fatalf("taken, but encoding/xml says %v", err)
		}
		if ours.String() != theirs {
			t.Fatalf("text %q, encoding/xml says %q", ours.String(), theirs)
		}
	})
}

func wellFormed(content string) bool {
	_, err := textOf(content)
	return err == nil
}

func textOf(content string) (string, error) {
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(content, bomUTF8)))
	var text strings.Builder
	for depth := 0; ; {
		token, err := d.Token()
		if err == io.EOF {
			return text.String(), nil
		}
		if err != nil {
			return "", err
		}
		switch token := token.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth > 0 {
				text.Write(token)
			}
		}
	}
}

// FuzzCSV holds that nothing is lost: the letters and digits of the file are
// those of its rows, in their order, malformed rows and all.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"a,b\n1,2\n", "a;b\r\n\"x\ny\";2\r\n", "a\n\"1\n2\n", "a|b\n\n\n1", "a,b\n1,\"open\n2,b\"\n", "a,b\n1,\xfc\n", "a\tb\r1\t\"\"\"\"\r"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if charsetOf(content).utf16 || bytes.Contains(bytes.ToLower(content), []byte("sep=")) {
			return
		}
		if kind, err := recognise(content); err != nil || kind != CSV {
			return
		}
		file, err := New(bytes.NewReader(content), int64(len(content)), Options{})
		if err != nil {
			return
		}
		last := 0
		var got []byte
		err = file.Rows(0, func(r *Row) error {
			if r.Line <= last {
				t.Errorf("row %d after row %d", r.Line, last)
			}
			last = r.Line
			for _, c := range r.Cells {
				got = append(got, c...)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := lettersAndDigits(content); !bytes.Equal(want, lettersAndDigits(got)) {
			t.Fatalf("rows hold %q, the file %q", lettersAndDigits(got), want)
		}
	})
}

func lettersAndDigits(p []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r < 0x80 && (isNameByte(byte(r)) && r != ':' || r >= '0' && r <= '9') {
			return r
		}
		return -1
	}, p)
}
