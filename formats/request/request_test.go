package request

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/unicode"

	"reemboss/formats/table"
)

func file(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// workbook writes a workbook: its sheets in order, each a name and a grid.
func workbook(t *testing.T, f *excelize.File) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "requests.xlsx")
	if err := f.SaveAs(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func grid(t *testing.T, f *excelize.File, sheet string, rows ...[]any) {
	t.Helper()
	if _, err := f.NewSheet(sheet); err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		if err := f.SetSheetRow(sheet, fmt.Sprintf("A%d", i+1), &row); err != nil {
			t.Fatal(err)
		}
	}
}

// told is a row as the tests compare it: position, place, kind, the five main fields, codes of problems.
func told(r *Row) string {
	f := r.Fields
	var codes []string
	for _, p := range r.Problems {
		codes = append(codes, p.Code+"("+p.Column+")")
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s@%d %s %s,%s,%s,%s,%s %s", r.Pos, r.Sheet, r.Line, r.Kind, f.CardID, f.UserID, f.ReasonCode, f.ReissueType, f.Reference, strings.Join(codes, " ")))
}

func open(t testing.TB, path string, o Options) *File {
	t.Helper()
	f, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func rows(t *testing.T, f *File) []string {
	t.Helper()
	var got []string
	if err := f.Each(func(r *Row) error { got = append(got, told(r)); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func wantRows(t *testing.T, f *File, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, rows(t, f)); d != "" {
		t.Fatalf("rows (-want +got):\n%s", d)
	}
}

func wantFileError(t *testing.T, err error, code, part string) {
	t.Helper()
	var e *FileError
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Error(), part) {
		t.Fatalf("got error %v, want %s with %q", err, code, part)
	}
}

func TestAReasonCodeColumnMakesAReissueFile(t *testing.T) {
	f := open(t, file(t, "a.csv", "Card ID;User-ID;REASON_CODE;reissueType;Reference\n1; 7 ;damaged;1;r1\n2;8;3;;\n"), Options{})
	wantRows(t, f, "1 @2 reissue 1,7,damaged,1,r1", "2 @3 reissue 2,8,3,,")
	f = open(t, file(t, "b.csv", "reference,card_id\nr1,1\n"), Options{})
	wantRows(t, f, "1 @2 reemboss 1,,,,r1")
	if s := f.Sheets()[0]; s.Kind != Reemboss || s.HeaderLine != 1 || !cmp.Equal(s.Header, []string{"reference", "card_id"}) {
		t.Errorf("%+v", s)
	}
}

func TestTheHeaderIsFoundUnderTitles(t *testing.T) {
	f := open(t, file(t, "a.csv", "Cards to send again\nby the branch, on Monday\n\nCard No.,comment\n1,x\n"), Options{})
	wantRows(t, f, "1 @5 reemboss 1,,,,")
	_, err := Open(file(t, "b.csv", strings.Repeat("title\n", 20)+"card_id\n1\n"), Options{})
	wantFileError(t, err, HeaderMissing, "first 20 rows")
	open(t, file(t, "c.csv", strings.Repeat("title\n", 19)+"card_id\n1\n"), Options{})
}

func TestTwoColumnsOfOneMeaningAreRefused(t *testing.T) {
	_, err := Open(file(t, "a.csv", "card_id,note,Card Number\n1,x,2\n"), Options{Headers: map[string][]string{"card_id": {"card number"}}})
	wantFileError(t, err, HeaderDuplicate, "columns A and C both mean card_id")
}

func TestAHeaderWithoutRowsIsTaken(t *testing.T) {
	wantRows(t, open(t, file(t, "a.csv", "card_id,reason_code\n\n,\n"), Options{}))
}

func TestAReissueSheetWithoutUserIDsIsReadWithBlankOnes(t *testing.T) {
	wantRows(t, open(t, file(t, "a.csv", "card_id,reason_code\n1,2\n"), Options{}), "1 @2 reissue 1,,2,,")
}

func TestRowsThatCannotBeReadAreMalformedAndTheOthersGoOn(t *testing.T) {
	f := open(t, file(t, "a.csv", "card_id,user_id,reason_code\n1,2,3\n1,\"2\"x,3\n1,2,3,,\n1,2,3,4\n5,6\n"), Options{})
	wantRows(t, f, "1 @2 reissue 1,2,3,,", "2 @3 reissue 1,2\"x,3,, row_malformed()", "3 @4 reissue 1,2,3,,",
		"4 @5 reissue 1,2,3,, row_malformed()", "5 @6 reissue 5,6,,,")
	var cells [][]string
	if err := f.Each(func(r *Row) error { cells = append(cells, append([]string(nil), r.Cells...)); return nil }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"1", "2", "3", "4"}, cells[3]); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"5", "6", ""}, cells[4]); d != "" {
		t.Error(d)
	}
}

func TestIDsThatASpreadsheetSpoiledAreRefused(t *testing.T) {
	f := open(t, file(t, "a.csv", "card_id;user_id;reference;postcode\n4.11E+15;1;a;1\n123.0;1;a;1\n1;2,0;a;1\n1;2;1.2E+05;1\n1;2;12.0;1\n1;12E5;a;4E+5\n"), Options{})
	wantRows(t, f,
		"1 @2 reemboss 4.11E+15,1,,,a excel_precision_loss(card_id)",
		"2 @3 reemboss 123.0,1,,,a excel_precision_loss(card_id)",
		"3 @4 reemboss 1,2,0,,,a excel_precision_loss(user_id)",
		"4 @5 reemboss 1,2,,,1.2E+05 excel_precision_loss(reference)",
		"5 @6 reemboss 1,2,,,12.0",
		"6 @7 reemboss 1,12E5,,,a")
}

func TestAWorkbookWithBothKinds(t *testing.T) {
	x := excelize.NewFile()
	grid(t, x, "Sheet1", []any{"About this workbook"})
	grid(t, x, "Again", []any{"Card ID"}, []any{101}, []any{"102"}, []any{4111111111111111})
	grid(t, x, "New", []any{}, []any{"", "card_id", "user_id", "reason_code"}, []any{"", 201, "u1", 3})
	grid(t, x, "Empty")
	grid(t, x, "Secret", []any{"card_id"}, []any{999})
	if err := x.SetSheetVisible("Secret", false, true); err != nil {
		t.Fatal(err)
	}
	f := open(t, workbook(t, x), Options{})
	wantRows(t, f, "1 Again@2 reemboss 101,,,,", "2 Again@3 reemboss 102,,,,", "3 Again@4 reemboss 4111111111111111,,,, excel_precision_loss(card_id)", "4 New@3 reissue 201,u1,3,,")
	if d := cmp.Diff([]string{`sheet "Secret" is hidden and is not read`, `sheet "Sheet1" has no header that names the card id and is not read`}, f.Notes()); d != "" {
		t.Error(d)
	}
	if f.Format() != "xlsx" || len(f.Sheets()) != 2 || f.Sheets()[1].HeaderLine != 2 {
		t.Errorf("%s %+v", f.Format(), f.Sheets())
	}
}

func TestAWorkbookWithoutAnyHeaderIsRefused(t *testing.T) {
	x := excelize.NewFile()
	grid(t, x, "Sheet1", []any{"number"}, []any{1})
	_, err := Open(workbook(t, x), Options{})
	wantFileError(t, err, HeaderMissing, "card_id")
}

func TestErrorAndFormulaCellsOfKnownColumns(t *testing.T) {
	x := excelize.NewFile()
	grid(t, x, "Sheet1", []any{"card_id", "user_id", "note"}, []any{nil, 2, 3}, []any{4, 5, nil}, []any{7, 8, 9})
	for cell, formula := range map[string]string{"A2": "=1+1", "C3": "=1+1"} {
		if err := x.SetCellFormula("Sheet1", cell, formula); err != nil {
			t.Fatal(err)
		}
	}
	wantRows(t, open(t, workbook(t, x), Options{}), "1 Sheet1@2 reemboss ,2,,, row_malformed(card_id)", "2 Sheet1@3 reemboss 4,5,,,", "3 Sheet1@4 reemboss 7,8,,,")
}

func TestJSONOfReembossing(t *testing.T) {
	f := open(t, file(t, "a.json", ` {"submitter":"x", "cards":[1,"2",123456789012345678, 1e3, 12.0, null, {"a":[1]}, true]}`), Options{})
	wantRows(t, f, "1 @1 reemboss 1,,,,", "2 @2 reemboss 2,,,,", "3 @3 reemboss 123456789012345678,,,,",
		"4 @4 reemboss 1e3,,,, excel_precision_loss(card_id)", "5 @5 reemboss 12.0,,,, excel_precision_loss(card_id)",
		"6 @6 reemboss ,,,,", "7 @7 reemboss ,,,, row_malformed(card_id)", "8 @8 reemboss true,,,, row_malformed(card_id)")
	if d := cmp.Diff([]string{"card_id"}, f.Sheets()[0].Header); d != "" || len(f.Notes()) != 1 || f.Format() != "json" {
		t.Error(d, f.Notes())
	}
}

func TestJSONOfReissues(t *testing.T) {
	one := open(t, file(t, "a.json", `{"cardId":5,"userId":"u","reasonCode":3,"reissueType":"","reference":"r"}`), Options{})
	wantRows(t, one, "1 @1 reissue 5,u,3,,r")
	f := open(t, file(t, "b.json", bom+`[{"cardId":"5","userId":1,"reasonCode":"lost","colour":"red"}, {"card_id":6,"cardId":7}, 8, {"cardId":9,"colour":{"a":1}}]`), Options{})
	wantRows(t, f, "1 @1 reissue 5,1,lost,,", "2 @2 reissue 6,,,, row_malformed(card_id)", "3 @3 reissue ,,,, row_malformed()", "4 @4 reissue 9,,,, row_malformed()")
	if d := cmp.Diff([]string{"card_id", "user_id", "reason_code", "reissue_type", "reference", "colour"}, f.Sheets()[0].Header); d != "" {
		t.Error(d)
	}
	err := f.Each(func(r *Row) error {
		if r.Pos == 1 && !cmp.Equal(r.Cells, []string{"5", "1", "lost", "", "", "red"}) {
			t.Errorf("cells %q", r.Cells)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, open(t, file(t, "c.json", "[]"), Options{}))
}

const bom = "\ufeff"

func TestJSONThatNamesNoCard(t *testing.T) {
	for _, content := range []string{`{}`, `{"cards":[]}`, `{"cards":null}`, `{"reference":"r"}`} {
		_, err := Open(file(t, "a.json", content), Options{})
		wantFileError(t, err, CardIDMissing, "names no card")
	}
}

func TestJSONThatIsDamagedIsRefusedWhole(t *testing.T) {
	for _, content := range []string{`{"cards":[1,2`, `{"cards":[1,2]`, `{"cards":[1,]}`, `{"cards":[1] "a":1}`, `{"cards":[1]}{}`, `{"cards":[1]} x`, `{"cards":[01]}`,
		`{"cards":[1],"cards":[2]}`, `{"cards":{"a":1}}`, `{"cards":[1],"cardId":2}`, `[{"cardId":1}`, "{\"cards\":[\"a\xff\"]}", `["a]`, `{"cardId":`} {
		_, err := Open(file(t, "a.json", content), Options{})
		wantFileError(t, err, FileUnreadable, "")
	}
}

func TestPGPFilesSayWhatToSend(t *testing.T) {
	for name, content := range map[string]string{"a.csv.pgp": "x", "a.ASC": "card_id\n1\n", "a.csv": "-----BEGIN PGP SIGNED MESSAGE-----\n"} {
		_, err := Open(file(t, name, content), Options{})
		wantFileError(t, err, FileUnreadable, "PGP")
	}
}

func TestContentDecidesAndNotTheName(t *testing.T) {
	wantRows(t, open(t, file(t, "a.xlsx", "card_id\n1\n"), Options{}), "1 @2 reemboss 1,,,,")
	wantRows(t, open(t, file(t, "a.csv", `{"cards":[1]}`), Options{}), "1 @1 reemboss 1,,,,")
	wantRows(t, open(t, file(t, "b.csv", "[card_id],[user_id]\n1,2\n"), Options{}), "1 @2 reemboss 1,2,,,")
}

func TestRowsOfAllSheetsCountTowardsTheLimit(t *testing.T) {
	x := excelize.NewFile()
	grid(t, x, "Sheet1", []any{"card_id"}, []any{1}, []any{2})
	grid(t, x, "Sheet2", []any{"card_id"}, []any{3}, []any{4})
	f := open(t, workbook(t, x), Options{Limits: table.Limits{Rows: 3}})
	wantFileError(t, f.Each(func(*Row) error { return nil }), FileTooLarge, "more than 3 rows")
	_, err := Open(file(t, "a.json", `{"cards":[1,2,3,4]}`), Options{Limits: table.Limits{Rows: 3}})
	wantFileError(t, err, FileTooLarge, "more than 3 rows")
}

func TestEachGivesTheSameRowsEveryTime(t *testing.T) {
	for _, path := range []string{
		file(t, "a.csv", "card_id,name\n1,\"open\n2,b\n3,c\xfc\n"),
		file(t, "a.json", `[{"cardId":1,"x":2},{"cardId":1,"cardId":2}]`),
	} {
		f := open(t, path, Options{})
		first := rows(t, f)
		wantRows(t, f, first...)
		wantRows(t, f, first...)
	}
}

func TestAnErrorOfTheCallerComesBackAsItIs(t *testing.T) {
	stop := errors.New("stop")
	for _, path := range []string{file(t, "a.csv", "card_id\n1\n2\n"), file(t, "a.json", `{"cards":[1,2]}`)} {
		n := 0
		err := open(t, path, Options{}).Each(func(*Row) error { n++; return stop })
		if err != stop || n != 1 {
			t.Errorf("%v after %d rows", err, n)
		}
	}
}

func TestAFileThatIsNotThereIsNoRefusedFile(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "gone.csv"), Options{})
	var refused *FileError
	if !errors.Is(err, os.ErrNotExist) || errors.As(err, &refused) {
		t.Fatal(err)
	}
}

func TestProblemsRepeatNoCell(t *testing.T) {
	const number = "4111111111111111"
	f := open(t, file(t, "a.csv", "card_id,user_id\n"+number+".0,\""+number+"\"x\n"+number+",1,"+number+"\n"+number+".0,2\n"), Options{})
	err := f.Each(func(r *Row) error {
		if len(r.Problems) == 0 {
			t.Errorf("row %d has no problem", r.Line)
		}
		for _, p := range r.Problems {
			if strings.Contains(p.Detail, number[:8]) {
				t.Errorf("row %d: a problem repeats a cell", r.Line)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func BenchmarkCSV(b *testing.B) {
	const n = 200_000
	var content strings.Builder
	content.WriteString("card_id,user_id,reason_code,reissue_type,reference\n")
	for i := range n {
		fmt.Fprintf(&content, "%d,%d,%d,,ref-%d\n", 100000+i, 5000+i, 1+i%6, i)
	}
	f := open(b, file(b, "a.csv", content.String()), Options{})
	b.ReportAllocs()
	for b.Loop() {
		count := 0
		if err := f.Each(func(*Row) error { count++; return nil }); err != nil || count != n {
			b.Fatal(count, err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkJSON(b *testing.B) {
	const n = 200_000
	content := `{"cards":[1` + strings.Repeat(",1234567", n-1) + "]}"
	f := open(b, file(b, "a.json", content), Options{})
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Each(func(*Row) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "rows/s")
}

func TestJSONInUTF16IsRead(t *testing.T) {
	content, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(` {"cards":["7"]}`)
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, open(t, file(t, "a.json", content), Options{}), "1 @1 reemboss 7,,,,")
}
