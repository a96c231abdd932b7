package batch

import (
	"archive/zip"
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"golang.org/x/text/encoding/charmap"
)

const sheetSpace = `xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"`

// workbook is a workbook of two sheets, of which the second is hidden, in rows of XML, with other parts.
func workbook(t *testing.T, rows, hidden string, others ...string) string {
	t.Helper()
	const types = `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>` +
		`<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>` +
		`<Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>` +
		`<Override PartName="/xl/worksheets/sheet2.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>`
	const relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
	related := func(kind string, targets ...string) string {
		text := `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">`
		for i, target := range targets {
			text += fmt.Sprintf(`<Relationship Id="rId%d" Type="%s%s" Target="%s"/>`, i+1, relation, kind, target)
		}
		return text + `</Relationships>`
	}
	sheet := func(rows string) string {
		return `<worksheet ` + sheetSpace + `><sheetData>` + rows + `</sheetData></worksheet>`
	}
	parts := append([]string{"[Content_Types].xml", types, "_rels/.rels", related("officeDocument", "xl/workbook.xml"),
		"xl/workbook.xml", `<workbook ` + sheetSpace + `><sheets><sheet name="A" sheetId="1" r:id="rId1"/><sheet name="B" sheetId="2" state="hidden" r:id="rId2"/></sheets></workbook>`,
		"xl/_rels/workbook.xml.rels", related("worksheet", "worksheets/sheet1.xml", "worksheets/sheet2.xml"),
		"xl/worksheets/sheet1.xml", sheet(rows), "xl/worksheets/sheet2.xml", sheet(hidden)}, others...)
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	for i := 0; i < len(parts); i += 2 {
		w, err := archive.Create(parts[i])
		if err == nil {
			_, err = w.Write([]byte(parts[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// rowOf is a row of a sheet, its cells in XML.
func rowOf(number int, cells ...string) string {
	row := fmt.Sprintf(`<row r="%d">`, number)
	for i, cell := range cells {
		row += fmt.Sprintf(`<c r="%c%d" t="inlineStr"><is>%s</is></c>`, 'A'+i, number, cell)
	}
	return row + `</row>`
}

// requestTable is a heading and a row of a request, from a row on.
func requestTable(from int) string {
	return rowOf(from, "<t>card_id</t>", "<t>user_id</t>", "<t>reason_code</t>") + rowOf(from+1, "<t>7</t>", "<t>C1</t>", "<t>damaged</t>")
}

func inUTF16(text string, high, low int) string {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		pair := []byte{byte(unit >> 8), byte(unit)}
		out = append(out, pair[high], pair[low])
	}
	return string(out)
}

func inCharset(t *testing.T, of *charmap.Charmap, text string) string {
	t.Helper()
	out, err := of.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func escapedDigits(number, form string) string {
	var b strings.Builder
	for _, digit := range number {
		fmt.Fprintf(&b, form, digit)
	}
	return b.String()
}

// An original is kept sealed where only a decoder finds the card number in it, and where nobody here can look.
func TestAnOriginalWithACardNumberInAnotherSpellingIsSealed(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	number := b.number(2)
	spaced, dashed := inGroups("\u00a0")(number), inGroups(" \u2014 ")(number)
	good := "\ncard_id,user_id,reason_code,comment\n7,C1,damaged,Müller\n"
	runs := "<r><t>card " + number[:6] + `</t></r><r><rPr><b/><sz val="11"/><rFont val="Calibri"/></rPr><t>` + number[6:] + "</t></r>"
	references := "<t>" + escapedDigits(number, "&#%d;") + "</t>"
	sealed := map[string]string{
		"title in Windows-1252.csv":      inCharset(t, charmap.Windows1252, "Card "+spaced+good),
		"title in UTF-16, marked.csv":    inUTF16("\ufeffCard "+dashed+good, 1, 0),
		"title in UTF-16LE.csv":          inUTF16("Card "+spaced+good, 1, 0),
		"title in UTF-16BE.csv":          inUTF16("Card "+inGroups("\u3000")(number)+good, 0, 1),
		"refused in Windows-1252.csv":    inCharset(t, charmap.Windows1252, "no heading Card "+dashed+"\n"),
		"refused in UTF-16, marked.csv":  inUTF16("\ufeffno heading Card "+inScript('\uff10')(number)+"\n", 0, 1),
		"refused in UTF-16LE.csv":        inUTF16("no heading Card "+dashed+"\n", 1, 0),
		"refused in UTF-32.csv":          "\xff\xfe\x00\x00" + strings.Join(strings.Split("x"+number+"\n", ""), "\x00\x00\x00") + "\x00\x00\x00",
		"refused in EBCDIC.csv":          inCharset(t, charmap.CodePage037, "card_id,user_id,reason_code,comment\n7,C1,damaged,card "+number+"\n"),
		"cut.json":                       `{"cards": [{"cardId": "7", "note": "` + escapedDigits(number, "\\u%04x"),
		"lines in a cut.json":            `{"cards": [{"cardId": "7", "note": "` + inGroups("\\n")(number),
		"runs in a title.xlsx":           workbook(t, rowOf(1, runs)+requestTable(2), ""),
		"runs on a hidden sheet.xlsx":    workbook(t, requestTable(1), rowOf(1, runs)),
		"runs in a comment.xlsx":         workbook(t, requestTable(1), "", "xl/comments1.xml", `<comments `+sheetSpace+`><commentList><comment ref="A1"><text>`+runs+`</text></comment></commentList></comments>`),
		"runs in a refused book.xlsx":    workbook(t, rowOf(1, runs), ""),
		"references, hidden.xlsx":        workbook(t, requestTable(1), rowOf(1, references)),
		"references in UTF-16.xlsx":      workbook(t, requestTable(1), "", "xl/comments1.xml", inUTF16("\ufeff<comments><text>"+strings.NewReplacer("<r>", "", "</r>", "").Replace(runs)+"</text></comments>", 1, 0)),
		"references in a refused.csv":    "no heading, " + escapedDigits(number, "&#x%x;"),
		"partly bold in a page.csv":      "<html><table><tr><td>" + number[:4] + "<b>" + number[4:] + "</b></td></tr></table></html>",
		"across blocks, with breaks.csv": strings.Repeat("x", blockSize-40) + inGroups("&nbsp;<br/>")(number),
	}
	clear := map[string]string{
		"German in Windows-1252.csv": inCharset(t, charmap.Windows1252, "Grüße\ncard_id,user_id,reason_code\n8,C1,Schäden\n"),
		"refused in Windows.csv":     inCharset(t, charmap.Windows1252, "Grüße aus Köln, ohne Überschrift\n"),
		"UTF-16 without a card.csv":  inUTF16("\ufeffGrüße 2026-11-22 10:00:00, 1000001, 1000002\n", 1, 0),
		"an ordinary book.xlsx":      workbook(t, requestTable(1), rowOf(1, "<t>1000001</t>", "<t>1000002</t>")),
		"an ordinary list.csv":       "card_id,user_id,reason_code\n8,C1,damaged\n",
	}
	for name, content := range sealed {
		b.drop(name, content)
	}
	for name, content := range clear {
		b.drop(name, content)
	}
	b.run()
	for name := range sealed {
		if b.keptClear(name) {
			t.Errorf("%s is kept in clear", name)
		}
	}
	for name := range clear {
		if !b.keptClear(name) {
			t.Errorf("%s is sealed without need", name)
		}
	}
	b.nowhere(number)
}

// keptClear says whether the original of a request file is kept as it came, or sealed.
func (b *bench) keptClear(name string) bool {
	b.Helper()
	var plain, sealed []string
	for _, folder := range []string{"done", "refused"} {
		p, _ := filepath.Glob(b.Path(folder, "*", name))
		s, _ := filepath.Glob(b.Path(folder, "*", name+".pgp"))
		plain, sealed = append(plain, p...), append(sealed, s...)
	}
	if len(plain)+len(sealed) != 1 {
		b.Fatalf("%s lies in %v %v", name, plain, sealed)
	}
	return len(plain) == 1
}

func TestReadings(t *testing.T) {
	for name, c := range map[string]struct {
		content, want string
		units         bool
	}{
		"surrogates":              {inUTF16("a\U0001d7d8b", 1, 0), "a\U0001d7d8b", true},
		"surrogates, escaped":     {`x \ud835\udfd8 y`, "x \U0001d7d8 y", false},
		"a half of a pair":        {inUTF16("a\U0001d7d8b", 1, 0)[:4], "a", true},
		"references":              {"&#52;&#x31;&nbsp;1&amp;", "41 1 ", false},
		"no references":           {"a & b; &#; &#x; &#99999999999;", "a & b; &#; &#x; &#99999999999;", false},
		"no escapes":              {`a\b \u00 \`, `a\b \u00 \`, false},
		"tags within a word":      {`<a:t x="1">4</a:t><b/>1`, "41", false},
		"tags between cells":      {"<c><v>4</v></c><c><v>1</v></c>", "xx4xxxx1xx", false},
		"lines of a page":         {"<td>4</td><br>1 < 2 </i>", "\n4\n\n1 < 2 ", false},
		"a tag that does not end": {"</i>4 <b", "4 <b", false},
	} {
		found := false
		texts := readings([]byte(c.content), c.units)
		for _, text := range texts {
			found = found || text == c.want
		}
		if !found {
			t.Errorf("%s: %q is not among %q", name, c.want, texts)
		}
	}
}

// Tags that never end are looked for once: with a search for each the block would take minutes.
func TestTagsThatNeverEnd(t *testing.T) {
	text := strings.Repeat("<a", 1<<19)
	if got := withoutTags(text); got != text {
		t.Errorf("%d of %d characters are left", len(got), len(text))
	}
}
