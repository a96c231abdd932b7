// Package request reads re-embossing and reissue request files: CSV, XLSX and
// JSON. It turns bytes into [Row]s, tells the two kinds apart, and reports
// what cannot be read; what a row means and whether it may be done is decided
// above.
package request

import "reemboss/formats/extract"

// Kind is what a row asks for.
type Kind string

// The two requests.
const (
	Reemboss Kind = "reemboss" // the same card again
	Reissue  Kind = "reissue"  // a card replaced for a reason
)

// Fields are the columns that we know, as the sender wrote them (trimmed,
// nothing converted); an absent column is the empty string.
type Fields struct {
	CardID         string
	UserID         string
	ReasonCode     string
	ReissueType    string
	Reference      string
	Submitter      string
	ShippingMethod string
	PrintedName    string
	EmbossingGroup string
	Address        extract.Address
}

// Problem is something wrong with a row that only its reader can know. Code is
// a code of the vocabulary (row_malformed, excel_precision_loss); Detail is one
// plain sentence that names the column and says what to do, without ever
// repeating a cell that may hold a card number.
type Problem struct {
	Code   string
	Column string
	Detail string
}

// Row is one request.
type Row struct {
	Pos      int    // 1 for the first row of the file, rising across its sheets
	Sheet    string // "" for CSV and JSON
	SheetNo  int    // index into File.Sheets
	Line     int    // the row number that a spreadsheet shows; for JSON the index from 1
	Kind     Kind
	Fields   Fields
	Cells    []string // every cell of the row in the sender's order, as text
	Problems []Problem
}
