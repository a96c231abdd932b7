package request

import (
	"fmt"
	"strings"

	"reemboss/formats/table"
)

// Names of the columns that this package itself needs to know.
const (
	cardID      = "card_id"
	userID      = "user_id"
	reasonCode  = "reason_code"
	reissueType = "reissue_type"
	reference   = "reference"
)

// fields says where each column goes.
var fields = map[string]func(*Fields) *string{
	cardID:            func(f *Fields) *string { return &f.CardID },
	userID:            func(f *Fields) *string { return &f.UserID },
	reasonCode:        func(f *Fields) *string { return &f.ReasonCode },
	reissueType:       func(f *Fields) *string { return &f.ReissueType },
	reference:         func(f *Fields) *string { return &f.Reference },
	"submitter":       func(f *Fields) *string { return &f.Submitter },
	"shipping_method": func(f *Fields) *string { return &f.ShippingMethod },
	"printed_name":    func(f *Fields) *string { return &f.PrintedName },
	"embossing_group": func(f *Fields) *string { return &f.EmbossingGroup },
	"address_line1":   func(f *Fields) *string { return &f.Address.Line1 },
	"address_line2":   func(f *Fields) *string { return &f.Address.Line2 },
	"address_line3":   func(f *Fields) *string { return &f.Address.Line3 },
	"address_line4":   func(f *Fields) *string { return &f.Address.Line4 },
	"city":            func(f *Fields) *string { return &f.Address.City },
	"region":          func(f *Fields) *string { return &f.Address.Region },
	"postcode":        func(f *Fields) *string { return &f.Address.Postcode },
	"country":         func(f *Fields) *string { return &f.Address.Country },
}

// DefaultHeaders are the further names of columns that are known when
// [Options] gives none.
func DefaultHeaders() map[string][]string {
	return map[string][]string{
		cardID:            {"Card No.", "Card Reference"},
		userID:            {"Customer ID", "Cardholder ID"},
		reasonCode:        {"Reason", "Reissue Reason"},
		reissueType:       {"Type"},
		reference:         {"Ref", "Request Reference"},
		"submitter":       {"Submitted by"},
		"shipping_method": {"Shipping", "Delivery Method"},
		"printed_name":    {"Name on card", "Embossed name"},
		"embossing_group": {"Group"},
		"postcode":        {"Postal Code", "ZIP", "ZIP Code"},
		"region":          {"State", "Province", "County"},
		"city":            {"Town"},
	}
}

// columns are the columns of one sheet.
type columns struct {
	sheet  int // of the table
	width  int // of the header
	known  []column
	cells  []string
	marked []Problem
}

type column struct {
	at    int
	name  string
	field func(*Fields) *string
}

func newColumns(sheet int, h *table.Header) *columns {
	c := &columns{sheet: sheet, width: len(h.Cells)}
	for i := range h.Cells {
		for name, at := range h.At {
			if at == i {
				c.known = append(c.known, column{at: at, name: name, field: fields[name]})
			}
		}
	}
	return c
}

// read makes the request of a row of the table.
func (c *columns) read(t *table.Row, row *Row) {
	c.cells = append(c.cells[:0], t.Cells...)
	for len(c.cells) < c.width {
		c.cells = append(c.cells, "")
	}
	c.marked = c.marked[:0]
	c.checkRow(t)
	row.Fields = Fields{}
	for _, k := range c.known {
		text := table.Trim(c.cells[k.at])
		*k.field(&row.Fields) = text
		if spoiled(k.name, text, t.Mark(k.at)) {
			c.refuse(PrecisionLoss, k.name, "column %s (%s): the spreadsheet changed the id (scientific notation, more than 15 digits, a decimal point or a date), so it is not sure which one is meant; format the column as text, enter the id again and send the row again", k.name, table.ColumnName(k.at))
		}
	}
	row.Cells, row.Problems = c.cells, c.marked
}

// checkRow finds what makes the row malformed.
func (c *columns) checkRow(t *table.Row) {
	if t.Fault != "" {
		c.refuse(RowMalformed, "", "the row cannot be read: %s", t.Fault)
	}
	for i := c.width; i < len(t.Cells); i++ {
		if t.Fault == "" && (table.Trim(t.Cells[i]) != "" || t.Mark(i) != 0) {
			c.refuse(RowMalformed, "", "there is content in column %s, where the header has no name; clear it, give the column a name, or put a cell that holds the delimiter in quotes", table.ColumnName(i))
			break
		}
	}
	if t.Marks == nil {
		return
	}
	for i, mark := range t.Marks {
		if mark&table.TooLong != 0 {
			c.refuse(RowMalformed, "", "column %s: the cell is longer than the limit; shorten it", table.ColumnName(i))
		}
	}
	for _, k := range c.known {
		where := table.ColumnName(k.at)
		switch mark := t.Mark(k.at); {
		case mark&table.ErrorCell != 0:
			c.refuse(RowMalformed, k.name, "column %s (%s): the cell shows an error of the spreadsheet; correct it and send the row again", k.name, where)
		case mark&table.NoValue != 0:
			c.refuse(RowMalformed, k.name, "column %s (%s): the cell has a formula without a value; open the workbook in the spreadsheet program, save it and send it again", k.name, where)
		case mark&table.BadText != 0:
			c.refuse(RowMalformed, k.name, "column %s (%s): the cell holds bytes that are no text in the file's encoding; save the file as UTF-8 and send the row again", k.name, where)
		}
	}
}

func (c *columns) refuse(code, column, format string, args ...any) {
	c.marked = append(c.marked, Problem{Code: code, Column: column, Detail: fmt.Sprintf(format, args...)})
}

// spoiled says that an id may not be the one that the sender meant. A
// reference that is text may well be written 123.0.
func spoiled(column, text string, mark table.Mark) bool {
	switch column {
	case cardID:
		return table.SpoiledID(text, mark, true)
	case userID:
		return table.SpoiledID(text, mark, false)
	case reference:
		return table.SpoiledID(text, mark, false) && (mark&table.Number != 0 || mark&table.Lossy != 0 || strings.ContainsAny(text, "eE"))
	}
	return false
}
