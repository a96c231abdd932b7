package table

import (
	"archive/zip"
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func zipOf(parts map[string]string) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range parts {
		p, err := w.Create(name)
		if err == nil {
			_, err = p.Write([]byte(content))
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

// Namespaces of the transitional and the strict variant.
const (
	transitional = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
	strictMain   = "http://purl.oclc.org/ooxml/spreadsheetml/main"
	relNS        = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
	strictRel    = "http://purl.oclc.org/ooxml/officeDocument/relationships"
	packageNS    = "http://schemas.openxmlformats.org/package/2006/relationships"
)

// made is a workbook that a test makes by hand, part by part.
type made map[string]string

// book is a workbook with one sheet whose sheetData holds rows.
func book(rows string) made {
	return made{
		"_rels/.rels": `<Relationships xmlns="` + packageNS + `"><Relationship Id="r1" Type="` + relNS + `/officeDocument" Target="xl/workbook.xml"/></Relationships>`,
		"xl/workbook.xml": `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<workbook xmlns="` + transitional + `" xmlns:r="` + relNS + `"><workbookPr/><sheets><sheet name="Cards" sheetId="1" r:id="rId1"/></sheets></workbook>`,
		"xl/_rels/workbook.xml.rels": `<Relationships xmlns="` + packageNS + `">
<Relationship Id="rId1" Type="` + relNS + `/worksheet" Target="worksheets/sheet1.xml"/>
<Relationship Id="rId2" Type="` + relNS + `/styles" Target="styles.xml"/>
<Relationship Id="rId3" Type="` + relNS + `/sharedStrings" Target="/xl/sharedStrings.xml"/></Relationships>`,
		"xl/styles.xml": `<styleSheet xmlns="` + transitional + `"><numFmts><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd"/><numFmt numFmtId="165" formatCode="00000"/>` +
			`<numFmt numFmtId="166" formatCode="&quot;day&quot; 0.0"/></numFmts><cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>` +
			`<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/><xf numFmtId="165"/><xf numFmtId="22"/><xf numFmtId="16"/><xf numFmtId="166"/><xf numFmtId="20"/></cellXfs></styleSheet>`,
		"xl/sharedStrings.xml":     `<sst xmlns="` + transitional + `"><si><t>card_id</t></si><si><r><rPr><b/></rPr><t xml:space="preserve">rich </t></r><r><t>text</t></r><rPh sb="0" eb="1"><t>phonetic</t></rPh><phoneticPr fontId="1"/></si><si><t>a &amp; b_x0041__x005F_x0041_</t></si><si/></sst>`,
		"xl/worksheets/sheet1.xml": sheetXML(rows),
	}
}

func sheetXML(rows string) string {
	return `<worksheet xmlns="` + transitional + `"><dimension ref="A1"/><sheetData>` + rows + `</sheetData></worksheet>`
}

func (m made) with(part, content string) made { m[part] = content; return m }

func (m made) replace(part, old, with string) made {
	if !strings.Contains(m[part], old) {
		panic("nothing to replace in " + part)
	}
	m[part] = strings.ReplaceAll(m[part], old, with)
	return m
}

func (m made) bytes() string { return zipOf(m) }

func row(n int, cells string) string { return fmt.Sprintf(`<row r="%d">%s</row>`, n, cells) }

// marksOf reads the first row and gives its cells with their marks.
func marksOf(t *testing.T, m made) (cells []string, marks []Mark) {
	t.Helper()
	content := m.bytes()
	f, err := New(strings.NewReader(content), int64(len(content)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = f.Rows(0, func(r *Row) error {
		for i, c := range r.Cells {
			cells, marks = append(cells, c), append(marks, r.Mark(i))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return cells, marks
}

func TestCellsOfEveryKind(t *testing.T) {
	for name, c := range map[string]struct {
		cell string
		want string
		mark Mark
	}{
		"shared":                  {`<c r="A1" t="s"><v>0</v></c>`, "card_id", 0},
		"rich text":               {`<c r="A1" t="s"><v>1</v></c>`, "rich text", 0},
		"escapes":                 {`<c r="A1" t="s"><v>2</v></c>`, "a & bA_x0041_", 0},
		"inline":                  {`<c r="A1" t="inlineStr"><is><t>in &lt;line&#x21;</t></is></c>`, "in <line!", 0},
		"inline rich":             {`<c r="A1" t="inlineStr"><is><r><t>a</t></r><r><t>b</t></r></is></c>`, "ab", 0},
		"CDATA":                   {`<c r="A1" t="inlineStr"><is><t><![CDATA[a<&b]]></t></is></c>`, "a<&b", 0},
		"number":                  {`<c r="A1"><v>42</v></c>`, "42", Number},
		"fifteen digits":          {`<c r="A1"><v>123456789012345</v></c>`, "123456789012345", Number},
		"sixteen digits":          {`<c r="A1"><v>4111111111111110</v></c>`, "4111111111111110", Number | Lossy},
		"scientific":              {`<c r="A1"><v>4.11E+15</v></c>`, "4.11E+15", Number | Lossy},
		"point nought":            {`<c r="A1"><v>123.0</v></c>`, "123", Number | Lossy},
		"fraction":                {`<c r="A1"><v>12.5</v></c>`, "12.5", Number},
		"fraction of a float":     {`<c r="A1"><v>0.30000000000000004</v></c>`, "0.3", Number | Lossy},
		"leading zeros by format": {`<c r="A1" s="3"><v>123</v></c>`, "00123", Number},
		"true":                    {`<c r="A1" t="b"><v>1</v></c>`, "TRUE", 0},
		"error":                   {`<c r="A1" t="e"><f>#REF!</f><v>#REF!</v></c>`, "#REF!", ErrorCell},
		"formula":                 {`<c r="A1"><f>1+1</f><v>2</v></c>`, "2", Number},
		"formula, text":           {`<c r="A1" t="str"><f>"a"</f><v>a</v></c>`, "a", 0},
		"formula without value":   {`<c r="A1"><f>1+1</f></c>`, "", NoValue},
		"formula, blank value":    {`<c r="A1"><f>1+1</f><v></v></c>`, "", NoValue},
		"text formula, no value":  {`<c r="A1" t="str"><f>A2</f></c>`, "", NoValue},
		"date":                    {`<c r="A1" s="1"><v>45321</v></c>`, "2024-01-30", Number | Date},
		"custom date":             {`<c r="A1" s="2"><v>45321</v></c>`, "2024-01-30", Number | Date},
		"date and time":           {`<c r="A1" s="4"><v>45321.75</v></c>`, "2024-01-30T18:00:00", Number | Date},
		"time":                    {`<c r="A1" s="7"><v>0.5</v></c>`, "12:00:00", Number | Date},
		"day and month":           {`<c r="A1" s="5"><v>45321</v></c>`, "2024-01-30", Number | Date | NoYear},
		"d in quotes is no date":  {`<c r="A1" s="6"><v>45321</v></c>`, "45321", Number},
		"strict date":             {`<c r="A1" t="d"><v>2024-01-30</v></c>`, "2024-01-30", Date},
		"first of March 1900":     {`<c r="A1" s="1"><v>61</v></c>`, "1900-03-01", Number | Date},
		"the day that never was":  {`<c r="A1" s="1"><v>60</v></c>`, "60", Number},
		"without a reference":     {`<c><v>7</v></c>`, "7", Number},
	} {
		t.Run(name, func(t *testing.T) {
			cells, marks := marksOf(t, book(row(1, c.cell)))
			if len(cells) != 1 || cells[0] != c.want || marks[0] != c.mark {
				t.Fatalf("got %q %v, want %q %v", cells, marks, c.want, c.mark)
			}
		})
	}
}

func TestDatesFrom1904(t *testing.T) {
	cells, _ := marksOf(t, book(row(1, `<c r="A1" s="1"><v>43859</v></c>`)).replace("xl/workbook.xml", "<workbookPr/>", `<workbookPr date1904="1"/>`))
	if cells[0] != "2024-01-30" {
		t.Fatal(cells)
	}
}

func TestBlankRowsAndCellsAreLeftOut(t *testing.T) {
	rows := row(2, `<c r="B2"><v>1</v></c><c r="D2" s="1"/>`) + row(5, `<c r="A5" t="inlineStr"><is><t> </t></is></c>`) + `<row r="9" hidden="1"><c r="A9"><v>3</v></c></row>`
	f := wantRows(t, book(rows).bytes(), "2: |1", "9: 3")
	if d := cmp.Diff([]string{`sheet "Cards" has 1 hidden row, which is read like the others`}, f.Notes()); d != "" {
		t.Error(d)
	}
}

func TestTheStrictVariantIsRead(t *testing.T) {
	m := book(row(1, `<c r="A1" t="s"><v>0</v></c>`))
	for part := range m {
		m[part] = strings.NewReplacer(transitional, strictMain, relNS, strictRel).Replace(m[part])
	}
	wantRows(t, m.bytes(), "1: card_id")
}

func TestPrefixedElementsAreRead(t *testing.T) {
	m := book("").with("xl/worksheets/sheet1.xml", `<x:worksheet xmlns:x="`+transitional+`"><x:sheetData><x:row r="1"><x:c r="A1"><x:v>5</x:v></x:c></x:row></x:sheetData></x:worksheet>`)
	wantRows(t, m.bytes(), "1: 5")
}

func TestHiddenSheetsAreNotReadAndNamed(t *testing.T) {
	for _, state := range []string{"hidden", "veryHidden"} {
		m := book(row(1, `<c r="A1"><v>1</v></c>`)).replace("xl/workbook.xml", "<sheets>", `<sheets><sheet name="Secret" sheetId="7" state="`+state+`" r:id="rId1"/>`)
		f := wantRows(t, m.bytes(), "1: 1")
		if d := cmp.Diff([]string{`sheet "Secret" is hidden and is not read`}, f.Notes()); d != "" {
			t.Error(d)
		}
	}
	_, _, err := read(t, book("").replace("xl/workbook.xml", `sheetId="1"`, `sheetId="1" state="hidden"`).bytes(), Options{})
	wantError(t, err, Unreadable, "no visible worksheet")
}

func TestSheetsThatAreNoWorksheetsAreNotRead(t *testing.T) {
	m := book(row(1, `<c r="A1"><v>1</v></c>`)).
		replace("xl/workbook.xml", "<sheets>", `<sheets><sheet name="Chart" sheetId="7" r:id="rId9"/>`).
		replace("xl/_rels/workbook.xml.rels", "</Relationships>", `<Relationship Id="rId9" Type="`+relNS+`/chartsheet" Target="chartsheets/sheet1.xml"/></Relationships>`)
	f := wantRows(t, m.bytes(), "1: 1")
	if d := cmp.Diff([]string{`sheet "Chart" is no worksheet (chartsheet) and is not read`}, f.Notes()); d != "" {
		t.Error(d)
	}
	_, _, err := read(t, book("").replace("xl/_rels/workbook.xml.rels", "rId1", "rId8").bytes(), Options{})
	wantError(t, err, Unreadable, `where its sheet "Cards" is`)
	_, _, err = read(t, book("").replace("_rels/.rels", "workbook.xml", "workbook.bin").bytes(), Options{})
	wantError(t, err, Unreadable, "save it as .xlsx")
}

func TestMergedCellsAreTold(t *testing.T) {
	m := book(row(1, `<c r="A1"><v>1</v></c>`)).replace("xl/worksheets/sheet1.xml", "</sheetData>", `</sheetData><mergeCells count="1"><mergeCell ref="A1:B1"/></mergeCells>`)
	if f := wantRows(t, m.bytes(), "1: 1"); len(f.Notes()) != 1 || !strings.Contains(f.Notes()[0], "merged") {
		t.Error(f.Notes())
	}
}

// A row iterator of a well-known library ends early on such files and says nothing.
func TestADamagedSheetIsAnErrorAndNeverFewerRows(t *testing.T) {
	good := row(1, `<c r="A1"><v>1</v></c>`) + row(2, `<c r="A2" t="inlineStr"><is><t>x</t></is></c>`)
	for name, rows := range map[string]string{
		"bare ampersand":       row(1, `<c r="A1" t="inlineStr"><is><t>a & b</t></is></c>`),
		"unknown entity":       row(1, `<c r="A1" t="inlineStr"><is><t>&nbsp;</t></is></c>`),
		"invalid UTF-8":        row(1, "<c r=\"A1\" t=\"inlineStr\"><is><t>a\xff</t></is></c>"),
		"control character":    row(1, "<c r=\"A1\" t=\"inlineStr\"><is><t>a\x01</t></is></c>"),
		"wrong end tag":        `<row r="1"><c r="A1"><v>1</v></row></c>`,
		"unclosed tag":         `<row r="1"><c r="A1"><v>1</v></c`,
		"attribute twice":      row(1, `<c r="A1" r="A1"><v>1</v></c>`),
		"unquoted attribute":   row(1, `<c r=A1><v>1</v></c>`),
		"row twice":            row(1, "") + row(1, ""),
		"rows out of order":    row(2, "") + row(1, ""),
		"absurd row":           row(99999999, ""),
		"row zero":             row(0, ""),
		"cell twice":           row(1, `<c r="A1"/><c r="A1"/>`),
		"cells out of order":   row(1, `<c r="B1"/><c r="A1"/>`),
		"cell of another row":  row(1, `<c r="A2"/>`),
		"absurd cell":          row(1, `<c r="XFE1"/>`),
		"no cell reference":    row(1, `<c r="1"/>`),
		"text among rows":      good + "123",
		"unknown element":      `<rows/>`,
		"unknown in a row":     row(1, `<cell/>`),
		"two values":           row(1, `<c r="A1"><v>1</v><v>2</v></c>`),
		"no number":            row(1, `<c r="A1"><v>abc</v></c>`),
		"unknown type":         row(1, `<c r="A1" t="x"><v>1</v></c>`),
		"string that is not":   row(1, `<c r="A1" t="s"><v>99</v></c>`),
		"sheetData twice":      `</sheetData><sheetData>`,
		"document type":        `</sheetData></worksheet><!DOCTYPE a>`,
		"two roots":            `</sheetData></worksheet><worksheet><sheetData>`,
		"undeclared namespace": row(1, `<y:c r="A1"/>`),
		"element in a value":   row(1, `<c r="A1"><v>1<x/></v></c>`),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := read(t, book(rows).bytes(), Options{})
			wantError(t, err, Unreadable, `sheet "Cards"`)
		})
	}
	_, _, err := read(t, book(row(1, `<c r="XFE1"/>`)).bytes(), Options{})
	wantError(t, err, Unreadable, "beyond the last column that a sheet can have (XFD)")
	whole := sheetXML(good)
	for cut := range len(whole) {
		_, _, err := read(t, book("").with("xl/worksheets/sheet1.xml", whole[:cut]).bytes(), Options{})
		wantError(t, err, Unreadable, `sheet "Cards"`)
	}
	wantRows(t, book(good).bytes(), "1: 1", "2: x")
}

func TestADamagedArchiveIsAnError(t *testing.T) {
	var rows strings.Builder
	for i := range 2_000 {
		rows.WriteString(row(i+1, fmt.Sprintf(`<c r="A%d"><v>%d</v></c>`, i+1, i*7919)))
	}
	content := book(rows.String()).bytes()
	for cut := len(zipMagic); cut < len(content); cut += 101 {
		if _, _, err := read(t, content[:cut], Options{}); err == nil {
			t.Fatalf("cut at byte %d of %d: no error", cut, len(content))
		}
	}
	want, _, err := read(t, content, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for at := 30; at < len(content); at += 97 {
		damaged := []byte(content)
		damaged[at] ^= 0x10
		if rows, _, err := read(t, string(damaged), Options{}); err == nil && !cmp.Equal(rows, want) {
			t.Fatalf("a changed byte at %d changed the rows, without an error", at)
		}
	}
}

func TestAPartThatStandsTwiceIsRefused(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range []string{"xl/a.xml", "XL/A.xml"} {
		if _, err := w.Create(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, _, err := read(t, b.String(), Options{})
	wantError(t, err, Unreadable, "twice")
}

func TestAZipBombIsStopped(t *testing.T) {
	m := book("").with("xl/worksheets/sheet1.xml", sheetXML(strings.Repeat(" ", 20<<20)))
	_, _, err := read(t, m.bytes(), Options{Limits: Limits{Unpacked: 1 << 20}})
	wantError(t, err, TooLarge, "unpacked")

	m = book("").with("xl/sharedStrings.xml", `<sst xmlns="`+transitional+`">`+strings.Repeat("<si><t>abcdefgh</t></si>", 10_000)+`</sst>`)
	_, _, err = read(t, m.bytes(), Options{Limits: Limits{Strings: 50_000}})
	wantError(t, err, TooLarge, "texts")

	m = book("").with("xl/sharedStrings.xml", `<sst xmlns="`+transitional+`"><si><t>`+strings.Repeat("a", 10<<20)+`</t></si></sst>`)
	_, _, err = read(t, m.bytes(), Options{Limits: Limits{Strings: 1 << 20}})
	wantError(t, err, TooLarge, "texts")
}

func TestLimitsOfASheet(t *testing.T) {
	_, _, err := read(t, book(row(1, `<c r="A1"><v>1</v></c>`)+row(2, `<c r="A2"><v>1</v></c>`)).bytes(), Options{Limits: Limits{Rows: 1}})
	wantError(t, err, TooLarge, "more than 1 rows")
	rows, _, err := read(t, book(row(1, `<c r="A1"><v>1</v></c><c r="XFD1"><v>2</v></c>`)).bytes(), Options{})
	if err != nil || rows[0] != "1!: 1" {
		t.Fatal(rows, err)
	}
	for _, cell := range []string{
		`<c r="A1" t="inlineStr"><is><t>` + strings.Repeat("é", 200_000) + `</t></is></c>`,
		`<c r="A1" t="str"><v>` + strings.Repeat("&amp;", 200_000) + `</v></c>`,
	} {
		cells, marks := marksOf(t, book(row(1, cell)))
		if marks[0] != TooLong || len(cells[0]) > 32_767 {
			t.Errorf("mark %v, %d bytes", marks[0], len(cells[0]))
		}
	}
}

func TestLongTextAcrossTheScannersWindowIsWhole(t *testing.T) {
	for shift := range 40 {
		text := strings.Repeat("a", 65_500+shift) + "é&amp;\r\n🙂" + strings.Repeat("b", 70_000)
		x := newXMLScanner(strings.NewReader("<a>" + text + "</a>"))
		var got strings.Builder
		for {
			kind, err := x.next()
			if err != nil {
				t.Fatal(err)
			}
			if kind == tokenEOF {
				break
			}
			if kind == tokenText {
				got.Write(x.text)
			}
		}
		if want := strings.NewReplacer("&amp;", "&", "\r\n", "\n").Replace(text); got.String() != want {
			t.Fatalf("shift %d: text of %d bytes became %d bytes", shift, len(want), got.Len())
		}
	}
}

func TestNumberFormats(t *testing.T) {
	for code, want := range map[string]numberFormat{
		"General": {}, "0.00": {}, "#,##0": {}, "@": {}, "0.00E+00": {}, `[Red]0;-0`: {}, `"yyyy"0`: {}, "00000": {digits: 5},
		"yyyy-mm-dd": {date: true}, `dd/mm/yy;@`: {date: true}, "[$-409]d-mmm": {date: true, noYear: true}, "mmm": {date: true, noYear: true},
		"h:mm AM/PM": {clock: true}, "mm:ss.0": {clock: true}, "[h]:mm": {clock: true}, "yyyy-mm-dd hh:mm": {date: true, clock: true},
		`0" days"`: {}, `0\d`: {}, "mm/yy": {date: true},
	} {
		if got := parseFormat(code); got != want {
			t.Errorf("%s: %+v, want %+v", code, got, want)
		}
	}
}
