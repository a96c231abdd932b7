package extract

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"reemboss/formats/iso"
	"reemboss/formats/table"
)

// Test numbers that schemes publish; no card has them.
const (
	visa       = "4111111111111111"
	mastercard = "5555555555554444"
)

const required = "card_id,customer_id,program_id,product,status,pan,expiry,printed_name"

// good is a row for required, without its line end.
const good = "1,c1,100,visa-classic,NORMAL," + visa + ",2029-11,ANNA LEE"

func read(t *testing.T, content string, o Options) ([]Row, error) {
	t.Helper()
	f, err := New(strings.NewReader(content), int64(len(content)), o)
	if err != nil {
		return nil, err
	}
	return all(f)
}

func all(f *File) ([]Row, error) {
	var rows []Row
	err := f.Each(func(r *Row) error {
		kept := *r
		kept.Problems = append([]Problem(nil), r.Problems...)
		kept.Cells = append([]string(nil), r.Cells...)
		rows = append(rows, kept)
		return nil
	})
	return rows, err
}

// one reads an extract of one row that has, beside the required columns, column with value.
func one(t *testing.T, column, value string, o Options) Row {
	t.Helper()
	rows, err := read(t, required+","+column+"\n"+good+",\""+value+"\"\n", o)
	if err != nil || len(rows) != 1 {
		t.Fatal(len(rows), err)
	}
	return rows[0]
}

func codes(r Row) string {
	var all []string
	for _, p := range r.Problems {
		all = append(all, p.Code+"("+p.Column+")")
	}
	return strings.Join(all, " ")
}

func wantFileError(t *testing.T, err error, code, part string) {
	t.Helper()
	var e *FileError
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Error(), part) {
		t.Fatalf("got error %v, want %s with %q", err, code, part)
	}
}

func TestAWholeCard(t *testing.T) {
	names, values := []string{}, []string{}
	for _, pair := range [][2]string{
		{"Card-ID", "123456789012345678"}, {"Account ID", "a1"}, {"customerId", "c1"}, {"PROGRAM_ID", "100"}, {"product", "visa-classic"},
		{"card_type", "plastic"}, {"status", "Cancelled"}, {"pan", "4111 1111 1111 1111"}, {"psn", "07"}, {"expiry", "11/29"},
		{"printed_name", " ANNA LEE "}, {"title", "Ms"}, {"first_name", "Anna"}, {"last_name", "Lee"}, {"company_name", "Lee & Co"},
		{"address_line1", "1 High St"}, {"address_line2", "b"}, {"address_line3", "c"}, {"address_line4", "d"}, {"city", "Leeds"}, {"region", "Yorks"},
		{"postcode", "LS1 1AA"}, {"country", "gbr"}, {"address_status", "active"}, {"phone", "+44 1"}, {"email", "a@b.c"}, {"language", "en"},
		{"account_number", "0012"}, {"balance", "12.50"}, {"currency", "GBP"}, {"pin_set", "No"}, {"embossing_group", "g"},
		{"start_date", "2026-11-30"}, {"validity_months", "36"}, {"cvk_ref", "k1"}, {"shipment_status", "sent"}, {"shipped_at", "2026-11-01T10:00:00Z"}, {"colour", "red"},
	} {
		names, values = append(names, pair[0]), append(values, pair[1])
	}
	o := Options{Statuses: []string{"CANCELED"}, StatusAliases: map[string]string{"CANCELLED": "CANCELED"}}
	rows, err := read(t, strings.Join(names, ";")+"\n"+strings.Join(values, ";")+"\n", o)
	if err != nil || len(rows) != 1 || len(rows[0].Problems) != 0 {
		t.Fatal(err, len(rows), codes(rows[0]))
	}
	number, err := iso.ParsePAN(visa)
	if err != nil {
		t.Fatal(err)
	}
	want := Card{
		ID: 123456789012345678, AccountID: "a1", CustomerID: "c1", ProgramID: "100", Product: "visa-classic", Type: "PLASTIC", Status: "CANCELED",
		PAN: number, PSN: 7, Expiry: 202911, PrintedName: "ANNA LEE", Title: "Ms", FirstName: "Anna", LastName: "Lee", CompanyName: "Lee & Co",
		Address:       Address{Line1: "1 High St", Line2: "b", Line3: "c", Line4: "d", City: "Leeds", Region: "Yorks", Postcode: "LS1 1AA", Country: "GB"},
		AddressStatus: "ACTIVE", Phone: "+44 1", Email: "a@b.c", Language: "en", AccountNumber: "0012", Balance: "12.50", Currency: "GBP", PINSet: false, Group: "g",
		StartDate: time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC), ValidityMonths: 36, CVKRef: "k1",
		ShipmentStatus: "SENT", ShippedAt: time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC),
	}
	if d := cmp.Diff(want, rows[0].Card, cmp.Comparer(iso.PAN.Equal)); d != "" {
		t.Error(d)
	}
}

func TestDefaultsOfWhatIsBlank(t *testing.T) {
	rows, err := read(t, required+",card_type,psn,pin_set\n"+good+",,,\n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c := rows[0].Card; len(rows[0].Problems) != 0 || c.Type != "PLASTIC" || c.PSN != 0 || !c.PINSet || !c.ShippedAt.IsZero() {
		t.Errorf("%s, type %s, PSN %d, PIN %v", codes(rows[0]), c.Type, c.PSN, c.PINSet)
	}
}

func TestAllThatIsWrongWithARowIsListed(t *testing.T) {
	rows, err := read(t, required+",psn,country,pin_set\nx,,100,p,NORMAL,4111111111111112,2029-13,,100,Freedonia,maybe\n"+good+",0,,\n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	const want = "card_id_invalid(card_id) card_validation_error(customer_id) card_validation_error(pan) card_validation_error(psn) " +
		"card_validation_error(expiry) card_validation_error(printed_name) card_validation_error(country) card_validation_error(pin_set)"
	if got := codes(rows[0]); got != want || len(rows[1].Problems) != 0 {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestCardIDsHaveOneToEighteenDigits(t *testing.T) {
	for id, want := range map[string]string{
		"1": "", "007": "", "999999999999999999": "", "": "card_id_missing(card_id)", "0": "card_id_invalid(card_id)", "-1": "card_id_invalid(card_id)", "+1": "card_id_invalid(card_id)",
		"1234567890123456789": "card_id_invalid(card_id)", "1a": "card_id_invalid(card_id)", "1E+05": "excel_precision_loss(card_id)", "12.0": "excel_precision_loss(card_id)",
	} {
		rows, err := read(t, required+"\n"+id+strings.TrimPrefix(good, "1")+"\n", Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := codes(rows[0]); got != want {
			t.Errorf("id %q: %q, want %q", id, got, want)
		}
	}
}

func TestStatusesAreThoseOfTheOptions(t *testing.T) {
	o := Options{Statuses: []string{"NORMAL"}}
	rows, err := read(t, required+"\n"+good+"\n"+strings.Replace(good, "NORMAL", "WEIRD", 1)+"\n", o)
	if err != nil || codes(rows[0]) != "" || codes(rows[1]) != "card_validation_error(status)" {
		t.Fatal(err, codes(rows[0]), codes(rows[1]))
	}
}

func TestValuesOfSingleColumns(t *testing.T) {
	for _, c := range []struct{ column, value, wrong string }{
		{"country", "GB", ""}, {"country", "826", ""}, {"country", "40", ""}, {"country", "UK!", CardValidation},
		{"psn", "99", ""}, {"psn", "100", CardValidation}, {"psn", "-1", CardValidation},
		{"card_type", "Virtual", ""}, {"card_type", "metal", CardValidation},
		{"address_status", "inactive", ""}, {"address_status", "old", CardValidation},
		{"shipment_status", "LOST", ""}, {"shipment_status", "GONE", CardValidation},
		{"shipped_at", "2026-11-01", ""}, {"shipped_at", "01/11/2026", CardValidation},
		{"start_date", "2026-02-30", CardValidation},
		{"pin_set", "TRUE", ""}, {"pin_set", "maybe", CardValidation},
		{"validity_months", "0", CardValidation}, {"account_number", "1.2E+09", PrecisionLoss},
	} {
		r := one(t, c.column, c.value, Options{})
		if want := strings.TrimSuffix(c.wrong+"("+c.column+")", "("+c.column+")"); (c.wrong == "") != (len(r.Problems) == 0) || len(r.Problems) > 0 && r.Problems[0].Code != want {
			t.Errorf("%s %q: %s", c.column, c.value, codes(r))
		}
	}
}

func TestADateWithoutAZoneIsInTheGivenOne(t *testing.T) {
	zone := time.FixedZone("test", -3*60*60)
	if got := one(t, "shipped_at", "2026-11-01", Options{Location: zone}).Card.ShippedAt; !got.Equal(time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)) {
		t.Error(got)
	}
}

func TestAMissingColumnIsNamed(t *testing.T) {
	_, err := read(t, "title\ncard_id,pan,status\n1,2,3\n", Options{})
	wantFileError(t, err, table.HeaderMissing, "row 2: the header lacks customer_id, program_id, product, expiry, printed_name")
	_, err = read(t, "a,b\n1,2\n", Options{})
	wantFileError(t, err, table.HeaderMissing, "card id")
}

func TestTwoEqualHeadersAreRefused(t *testing.T) {
	_, err := read(t, required+",Card ID\n"+good+",2\n", Options{})
	wantFileError(t, err, table.HeaderDuplicate, "columns A and I both mean card_id")
}

func TestNoMessageAndNoPrintShowsACardNumber(t *testing.T) {
	content := required + "\n" + good + "\n" +
		strings.ReplaceAll(good, visa, visa[:15]+"2") + "\n" +
		strings.ReplaceAll(good, visa, visa+".0") + "\n" +
		visa + visa + strings.TrimPrefix(good, "1") + "\n" +
		strings.ReplaceAll(good, "ANNA LEE", "\""+visa+"\"x") + "\n" + good + "," + visa + "\n"
	rows, err := read(t, content, Options{})
	if err != nil || len(rows) != 6 {
		t.Fatal(len(rows), err)
	}
	for _, r := range rows {
		shown := fmt.Sprintf("%v %+v %#v %s %v", r, r, &r, r, r.Problems)
		if strings.Contains(shown, visa[:8]) {
			t.Errorf("row %d shows a card number", r.Line)
		}
	}
	if codes(rows[5]) != "row_malformed()" || codes(rows[2]) != "excel_precision_loss(pan)" {
		t.Error(codes(rows[5]), codes(rows[2]))
	}
}

// workbook is an extract as a spreadsheet program saves it.
func workbook(t *testing.T, fill func(f *excelize.File) error) string {
	t.Helper()
	f := excelize.NewFile()
	header := strings.Split(required+",shipped_at", ",")
	if err := f.SetSheetRow("Sheet1", "A1", &header); err != nil {
		t.Fatal(err)
	}
	if err := f.SetSheetRow("Sheet1", "A2", &[]any{1, "c1", 100, "visa-classic", "NORMAL", visa, "2029-11", "ANNA LEE"}); err != nil {
		t.Fatal(err)
	}
	if err := fill(f); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cards.xlsx")
	if err := f.SaveAs(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhatASpreadsheetMakesOfAnExpiry(t *testing.T) {
	dated := func(format int, value any) func(*excelize.File) error {
		return func(f *excelize.File) error {
			style, err := f.NewStyle(&excelize.Style{NumFmt: format})
			if err != nil {
				return err
			}
			return errors.Join(f.SetCellValue("Sheet1", "G2", value), f.SetCellStyle("Sheet1", "G2", "G2", style))
		}
	}
	for name, c := range map[string]struct {
		fill func(*excelize.File) error
		want iso.Expiry
		code string
	}{
		"text":                         {dated(49, "11/29"), 202911, ""},
		"a date":                       {dated(14, 47453), 202912, ""},
		"month and year":               {dated(17, 47453), 202912, ""},
		"a date without its format":    {dated(0, 47453), 202912, ""},
		"a day and a month":            {dated(16, 47453), 0, "excel_precision_loss(expiry)"},
		"a number that is no date":     {dated(0, 1129), 0, "card_validation_error(expiry)"},
		"a number cell in text format": {dated(49, 1), 0, "card_validation_error(expiry)"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Open(workbook(t, c.fill), Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			rows, err := all(f)
			if err != nil || rows[0].Card.Expiry != c.want || codes(rows[0]) != c.code || rows[0].Sheet != "Sheet1" {
				t.Fatal(err, rows[0].Card.Expiry, codes(rows[0]))
			}
		})
	}
}

func TestACardNumberThatIsANumberCellIsSpoiled(t *testing.T) {
	path := workbook(t, func(f *excelize.File) error { return f.SetCellValue("Sheet1", "F2", 4111111111111110) })
	f, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if rows, err := all(f); err != nil || codes(rows[0]) != "excel_precision_loss(pan)" {
		t.Fatal(err, codes(rows[0]))
	}
}

func TestADecryptedStreamIsReadWithoutAnyFile(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "nowhere"))
	sheet, err := os.ReadFile(workbook(t, func(*excelize.File) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"csv": required + "\n" + good + "\n", "xlsx": string(sheet)} {
		f, err := Read(strings.NewReader(content), Options{})
		if err != nil {
			t.Fatal(name, err)
		}
		rows, err := all(f)
		if err != nil || len(rows) != 1 || codes(rows[0]) != "" || rows[0].Card.ID != 1 || f.Format() != name {
			t.Fatal(name, err, len(rows))
		}
	}
}

func TestCellsStandBesideTheHeader(t *testing.T) {
	rows, err := read(t, required+",colour\n"+good+"\n", Options{})
	if err != nil || len(rows[0].Cells) != len(rows[0].Header) || rows[0].Header[8] != "colour" {
		t.Fatal(err, len(rows[0].Cells))
	}
}

func BenchmarkCSV(b *testing.B) {
	const n = 50_000
	var content strings.Builder
	content.WriteString(required + ",account_id,psn,first_name,last_name,address_line1,address_line2,city,region,postcode,country,phone,email,language,account_number,balance,currency,pin_set\n")
	for i := range n {
		fmt.Fprintf(&content, "%d,c%d,100,mc-gold,NORMAL,%s,2029-11,ANNA LEE,a%d,0,Anna,Lee,1 High Street,,Leeds,Yorks,LS1 1AA,GB,+441132000000,a@example.com,en,0012345678,12.50,GBP,yes\n", 100+i, i, mastercard, i)
	}
	f, err := New(strings.NewReader(content.String()), int64(content.Len()), Options{Statuses: []string{"CREATED", "NORMAL"}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		count := 0
		if err := f.Each(func(r *Row) error { count += 1 + len(r.Problems); return nil }); err != nil || count != n {
			b.Fatal(count, err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "rows/s")
}
