package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"reemboss/formats/iso"
)

// person is a line of testdata/real/people.csv: who gets a letter, what must
// stand on the card (face, track) and the country's number, typed by hand.
type person map[string]string

// realCard is a card of the night's extract.
type realCard struct {
	id, customer, product, group, pan, psn, expiry string
	person                                         person
	bureau                                         string // who must make it
}

// answer is what the card's own request must be answered. The bureau beta takes
// Windows-1252, and an Arabic address has no transliteration into it.
func (c realCard) answer() string {
	if c.bureau == "beta" && c.person["language"] == "ar" {
		return "embossing_line_invalid_format"
	}
	return "00"
}

// realDesigns are the designs by turns: both schemes, chip and stripe, 16 and 19 digits, at each of the bureaus.
var realDesigns = []struct {
	product, prefix, group, bureau string
	digits                         int
}{
	{"visa-classic", "411111", "", "alpha", 16}, {"mc-gold", "555555", "", "beta", 16}, {"visa-long", "433333", "", "alpha", 19},
	{"visa-stripe", "422222", "", "alpha", 16}, {"mc-gold", "555555", "to-alpha", "alpha", 16}, {"visa-classic", "411111", "to-beta", "beta", 16},
	{"visa-long", "433333", "to-beta", "beta", 19},
}

func realPeople(t *testing.T) []person {
	t.Helper()
	var all []person
	for _, line := range table(t, readReal(t, filepath.Join("testdata", "real", "people.csv"))) {
		all = append(all, line)
	}
	return all
}

// realCards makes count cards for the people by turns.
func realCards(t *testing.T, count int, now time.Time) []realCard {
	t.Helper()
	people := realPeople(t)
	cards := make([]realCard, count)
	for i := range cards {
		d := realDesigns[i%len(realDesigns)]
		body := d.prefix + fmt.Sprintf("%0*d", d.digits-len(d.prefix)-1, 104729*(i+1))
		id := strconv.Itoa(100001 + i)
		if i >= 84 && i%4 == 0 {
			id = fmt.Sprintf("%d%06d", 100200300400, i) // 18 digits, in text formats only
		}
		cards[i] = realCard{id: id, customer: fmt.Sprintf("00%d", 7000+i), product: d.product, group: d.group, bureau: d.bureau,
			pan: body + string(iso.LuhnDigit(body)), psn: []string{"00", "01", "07"}[i%3], expiry: iso.ExpiryOf(now).Add(3 + i%40).String(), person: people[i%len(people)]}
	}
	return cards
}

var realPersonColumns = []string{"title", "first_name", "last_name", "printed_name", "company_name", "address_line1", "address_line2",
	"address_line3", "address_line4", "city", "region", "postcode", "country", "phone", "language"}

func realExtract(t *testing.T, cards []realCard) []byte {
	t.Helper()
	rows := [][]string{append([]string{"Card-ID", "customer id", "PROGRAM_ID", "product", "status", "pan", "psn", "expiry", "embossing_group", "account_number", "balance", "currency"}, realPersonColumns...)}
	for i, c := range cards {
		row := []string{c.id, c.customer, "100", c.product, "NORMAL", c.pan, c.psn, c.expiry, c.group, fmt.Sprintf("%010d", 77000+i), fmt.Sprintf("%d.%02d", 17*i, i), "EUR"}
		for _, column := range realPersonColumns {
			row = append(row, c.person[column])
		}
		rows = append(rows, row)
	}
	return commaText(t, ',', rows)
}

func commaText(t *testing.T, comma rune, rows [][]string) []byte {
	t.Helper()
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	w.Comma = comma
	if err := w.WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// odsCell is an id in a sheet of LibreOffice: text, number, thousands, date, formula or blank.
type odsCell struct{ Kind, Value string }

type odsRow struct {
	ID                          odsCell
	Reference, Remark, Expected string
	Collapsed                   bool
}

// libreOfficeWorkbook asks for 24 cards again, the sheet made in LibreOffice and saved by it as .xlsx.
func libreOfficeWorkbook(t *testing.T, cards []realCard, hidden []realCard) []byte {
	t.Helper()
	in := struct {
		Header, Hidden []string
		Rows           []odsRow
	}{Header: []string{"Card No.", "Reference", "Asked on", "Remark", "Expected"}}
	for _, c := range hidden {
		in.Hidden = append(in.Hidden, c.id)
	}
	kinds := []string{"text", "number", "thousands", "formula"}
	for i, c := range cards {
		cell := odsCell{kinds[i%len(kinds)], c.id}
		if cell.Kind == "formula" {
			cell.Value = []string{c.id + "+0", `CONCATENATE(&quot;` + c.id[:2] + `&quot;;&quot;` + c.id[2:] + `&quot;)`}[i/4%2]
		}
		in.Rows = append(in.Rows, odsRow{ID: cell, Reference: fmt.Sprintf("LO-%02d", i), Expected: c.answer(), Collapsed: i == 5})
	}
	bad := func(kind, value, remark, code string) {
		in.Rows = append(in.Rows, odsRow{ID: odsCell{kind, value}, Reference: "LO-" + remark, Remark: remark, Expected: code})
	}
	bad("number", "1234567890123456", "sixteen digits", "excel_precision_loss")
	bad("number", "1.5", "a fraction", "card_id_invalid")
	bad("date", "2026-03-01", "a date", "excel_precision_loss")
	bad("formula", "1/0", "an error", "row_malformed")
	bad("text", "4,11E+15", "scientific text", "excel_precision_loss")
	bad("blank", "", "no id", "card_id_missing")
	bad("text", "99", "unknown", "card_not_found")
	layout, err := template.ParseFiles(filepath.Join("testdata", "real", "again.fods.tmpl"))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := layout.Execute(&text, in); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "again.fods")
	writeReal(t, source, text.Bytes())
	return readReal(t, filepath.Join(convert(t, "xlsx", source), "again.xlsx"))
}

// openpyxlWorkbook asks for replacements on one sheet and for the same cards on another; known is a card number that stands in a comment.
func openpyxlWorkbook(t *testing.T, cards []realCard, known string) []byte {
	t.Helper()
	type card struct {
		ID       string `json:"id"`
		Customer string `json:"customer"`
		Answer   string `json:"answer"`
	}
	in := struct {
		Cards []card `json:"cards"`
		PAN   string `json:"pan"`
	}{PAN: known}
	for _, c := range cards {
		in.Cards = append(in.Cards, card{c.id, c.customer, c.answer()})
	}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeReal(t, filepath.Join(dir, "cards.json"), text)
	python(t, nil, "replacements.py", filepath.Join(dir, "cards.json"), filepath.Join(dir, "out.xlsx"))
	return readReal(t, filepath.Join(dir, "out.xlsx"))
}

// westernCSV is a CSV as a Windows program saves it in western Europe:
// Windows-1252, semicolons, CRLF. Each row has an address of its own.
func westernCSV(t *testing.T, cards []realCard) []byte {
	t.Helper()
	rows := [][]string{{"Card ID", "Ref", "Street", "Address 2", "Town", "Postal Code", "Country Code", "Remark", "Expected"}}
	streets := []string{"Große Straße 5–7", "Rue de l’Église 3", "Œrtelstraat 9", "Plaça d'Espanya 1", "Kleiner Weg „B“ 2", "Allée des Saules 12 ½"}
	for i, c := range cards {
		remark, street := "gebühr 5 €", streets[i%len(streets)]
		if i == 2 {
			remark = "a line\r\nbreak; and a semicolon"
		}
		ref, answer := fmt.Sprintf("W-%02d", i), "00"
		if i == 1 {
			ref, answer = "", "00 then duplicate_row"
		}
		switch i {
		case 4: // an address line has 50 characters, which are not bytes
			street = strings.Repeat("ü", 50)
		case 5:
			street, answer = strings.Repeat("ü", 51), "embossing_line_invalid_format"
		}
		rows = append(rows, []string{c.id, ref, street, "Tür ×" + strconv.Itoa(i), "Saarbrücken", "66111", "DE", remark, answer})
	}
	again := func(row []string, answer string) { rows = append(rows, append(slices.Clone(row[:8]), answer)) }
	again(rows[1], "00 once more") // the same reference with the same request: the same answer, nothing done
	again(rows[2], rows[2][8])
	again(rows[3], "already_requested;reference_conflict")
	rows[len(rows)-1][2] = "Elsewhere 1"
	rows = append(rows, make([]string, 9),
		[]string{cards[1].id, "W-99", "Somewhere 1", "", "Nowhere", "1", "DE", "no German postcode", "already_requested;account_address_zipcode_invalid"},
		[]string{"100001.0", "W-98", "", "", "", "", "", "", "excel_precision_loss"})
	text := strings.ReplaceAll(strings.ReplaceAll(string(commaText(t, ';', rows)), "\r\n", "\n"), "\n", "\r\n")
	encoded, err := charmap.Windows1252.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(encoded)
}

// unicodeTSV is "Unicode text" as Excel saves it: UTF-16 with a mark, tabs.
func unicodeTSV(t *testing.T, cards []realCard) []byte {
	t.Helper()
	rows := [][]string{{"Liste der Karten – Ελληνικά"}, {"cardId", "userId", "reasonCode", "reissueType", "Shipping method", "Σημείωση", "Expected"}}
	reasons := []string{"1", "expired", "lost", "4", "returned", "6", "damaged", "stolen"}
	for i, c := range cards {
		rows = append(rows, []string{c.id, c.customer, reasons[i%len(reasons)], "", strconv.Itoa(1 + i%3), "οδός 日本", c.answer()})
	}
	rows = append(rows, []string{cards[0].id, cards[0].customer, "damaged", "9", "8", "", "reissue_type_invalid;shipping_method_invalid;already_requested"})
	encoded, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(string(commaText(t, '\t', rows)))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(encoded)
}

// jsonBody is the body of a re-embossing request: strings and integers.
func jsonBody(cards []realCard) []byte {
	var ids []string
	for i, c := range cards {
		if i%2 == 0 {
			ids = append(ids, strconv.Quote(c.id))
		} else {
			ids = append(ids, c.id)
		}
	}
	return []byte(`{"cards": [` + strings.Join(ids, ", ") + `]}`)
}
