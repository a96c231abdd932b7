package report

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"
)

// smallBook is a workbook as a small exporter writes it: the given parts, of them one sheet "Sheet1" with three requests.
func smallBook(t *testing.T, parts map[string]string, relations, overrides string) []byte {
	t.Helper()
	all := map[string]string{
		"[Content_Types].xml": `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">` +
			`<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>` +
			`<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>` +
			`<Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>` + overrides + `</Types>`,
		"_rels/.rels": `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">` +
			`<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>`,
		"xl/workbook.xml": `<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">` +
			`<sheets><sheet name="Sheet1" sheetId="1" r:id="rIdStyles1"/></sheets></workbook>`,
		"xl/_rels/workbook.xml.rels": `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">` +
			`<Relationship Id="rIdStyles1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/>` + relations + `</Relationships>`,
		"xl/worksheets/sheet1.xml": `<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>` +
			`<row r="1"><c r="A1" t="inlineStr"><is><t>card_id</t></is></c></row><row r="2"><c r="A2" s="0"><v>1001</v></c></row>` +
			`<row r="3"><c r="A3"><v>1002</v></c></row><row r="4"><c r="A4"><v>1003</v></c></row></sheetData></worksheet>`,
	}
	for name, text := range parts {
		all[name] = text
	}
	var file bytes.Buffer
	w := zip.NewWriter(&file)
	for name, text := range all {
		part, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestAWorkbookWithoutStylesGetsItsResultWorkbook(t *testing.T) {
	const sheet = `<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">%s</styleSheet>`
	related := func(target string) string {
		return fmt.Sprintf(`<Relationship Id="rId7" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target=%q/>`, target)
	}
	typed := func(name string) string {
		return fmt.Sprintf(`<Override PartName=%q ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"/>`, name)
	}
	const bold = `<fonts><font><b/><sz val="14"/><name val="Arial"/></font></fonts><fills><fill><patternFill patternType="none"/></fill></fills><borders><border/></borders>` +
		`<cellXfs><xf numFmtId="0" fontId="0" fillId="0" borderId="0" applyFont="1"/></cellXfs>`
	for name, c := range map[string]struct {
		content []byte
		font    string // of the sender's cells
	}{
		"no part":                    {smallBook(t, nil, "", ""), "Calibri"},
		"a part with nothing in it":  {smallBook(t, map[string]string{stylesPart: fmt.Sprintf(sheet, "")}, related("styles.xml"), typed("/xl/styles.xml")), "Calibri"},
		"a part with fonts only":     {smallBook(t, map[string]string{stylesPart: fmt.Sprintf(sheet, `<fonts count="1"><font><sz val="9"/><name val="Arial"/></font></fonts>`)}, related("/xl/styles.xml"), typed("/xl/styles.xml")), "Arial"},
		"a part that counts nothing": {smallBook(t, map[string]string{stylesPart: fmt.Sprintf(sheet, bold)}, related("styles.xml"), typed("/xl/styles.xml")), "Arial"},
		"a part of another name":     {smallBook(t, map[string]string{"xl/looks/all.xml": fmt.Sprintf(sheet, bold)}, related("looks/all.xml"), typed("/xl/looks/all.xml")), "Arial"},
		"a part named and missing":   {smallBook(t, nil, related("styles.xml"), typed("/xl/styles.xml")), "Calibri"},
	} {
		t.Run(name, func(t *testing.T) {
			f := foreign{file: "small.xlsx", sheet: "Sheet1", header: []string{"card_id"}, headerLine: 1, rows: 3}
			res, err := WriteResult(context.Background(), f.input(t, c.content))
			if err != nil || res.Withheld != "" {
				t.Fatal(err, res.Withheld)
			}
			written, err := os.ReadFile(res.Workbook)
			if err != nil {
				t.Fatal(err)
			}
			keep(t, "result-styles-"+strings.ReplaceAll(name, " ", "-")+".xlsx", written)
			onePartOfStyles(t, written)
			after, err := excelize.OpenFile(filepath.Clean(res.Workbook))
			if err != nil {
				t.Fatal(err)
			}
			defer after.Close()
			if got := styleAt(t, after, "A2"); got.Font == nil || got.Font.Family != c.font || got.Fill.Pattern != 0 {
				t.Errorf("the sender's cell has the font %+v and the fill %+v, want %s on nothing", got.Font, got.Fill, c.font)
			}
			if got := styleAt(t, after, "B1"); got.Font == nil || got.Font.Family != "Calibri" || got.Font.Color != "FFFFFF" || got.Fill.Pattern != 1 {
				t.Errorf("our header looks like %+v %+v", got.Font, got.Fill)
			}
			if got, _ := after.GetCellValue("Sheet1", "B2"); got != "accepted" {
				t.Errorf("the first answer is %q", got)
			}
		})
	}
}

func styleAt(t *testing.T, book *excelize.File, cell string) *excelize.Style {
	t.Helper()
	id, err := book.GetCellStyle("Sheet1", cell)
	if err != nil {
		t.Fatal(err)
	}
	style, err := book.GetStyle(id)
	if err != nil {
		t.Fatal(err)
	}
	return style
}

// onePartOfStyles: the package has one part of styles, with its content type and one relation to it.
func onePartOfStyles(t *testing.T, workbook []byte) {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(workbook), int64(len(workbook)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"[Content_Types].xml":        `<Override PartName="/xl/styles.xml" ContentType="` + typeOfStyles + `">`,
		"xl/_rels/workbook.xml.rels": `Type="` + relationOfStyles + `"`,
		stylesPart:                   `<cellStyleXfs count="1">`,
	} {
		part, err := r.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if _, err := text.ReadFrom(part); err != nil {
			t.Fatal(err)
		}
		if strings.Count(text.String(), want) != 1 {
			t.Errorf("%s does not say %s once", name, want)
		}
	}
}
