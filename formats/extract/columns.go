package extract

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"reemboss/formats/iso"
	"reemboss/formats/table"
)

// Columns that this package needs to know by name.
const (
	cardID = "card_id"
	pan    = "pan"
)

// column is one column of the extract.
type column struct {
	name     string
	required bool // the column must be there, and filled in every row
	id       bool // a number that a spreadsheet may spoil
	// read takes a value that is not blank into the card and says what is wrong with it, "" for nothing.
	read func(p *parser, c *Card, text string, mark table.Mark) string
}

// defaults is a card of which only the columns without a default are blank.
var defaults = Card{Type: "PLASTIC", PINSet: true}

// columns are all columns of an extract, in the order in which problems are listed.
var columns = []column{
	{name: cardID, required: true, id: true, read: readCardID},
	{name: "account_id", id: true, read: text(func(c *Card) *string { return &c.AccountID })},
	{name: "customer_id", required: true, id: true, read: text(func(c *Card) *string { return &c.CustomerID })},
	{name: "program_id", required: true, id: true, read: text(func(c *Card) *string { return &c.ProgramID })},
	{name: "product", required: true, read: text(func(c *Card) *string { return &c.Product })},
	{name: "card_type", read: word(func(c *Card) *string { return &c.Type }, "PLASTIC", "RECURRING", "TEMPORARY", "VIRTUAL")},
	{name: "status", required: true, read: readStatus},
	{name: pan, required: true, id: true, read: readPAN},
	{name: "psn", read: number(func(c *Card) *int { return &c.PSN }, 0, 99)},
	{name: "expiry", required: true, read: readExpiry},
	{name: "printed_name", required: true, read: text(func(c *Card) *string { return &c.PrintedName })},
	{name: "title", read: text(func(c *Card) *string { return &c.Title })},
	{name: "first_name", read: text(func(c *Card) *string { return &c.FirstName })},
	{name: "last_name", read: text(func(c *Card) *string { return &c.LastName })},
	{name: "company_name", read: text(func(c *Card) *string { return &c.CompanyName })},
	{name: "address_line1", read: text(func(c *Card) *string { return &c.Address.Line1 })},
	{name: "address_line2", read: text(func(c *Card) *string { return &c.Address.Line2 })},
	{name: "address_line3", read: text(func(c *Card) *string { return &c.Address.Line3 })},
	{name: "address_line4", read: text(func(c *Card) *string { return &c.Address.Line4 })},
	{name: "city", read: text(func(c *Card) *string { return &c.Address.City })},
	{name: "region", read: text(func(c *Card) *string { return &c.Address.Region })},
	{name: "postcode", read: text(func(c *Card) *string { return &c.Address.Postcode })},
	{name: "country", read: readCountry},
	{name: "address_status", read: word(func(c *Card) *string { return &c.AddressStatus }, "ACTIVE", "INACTIVE")},
	{name: "phone", id: true, read: text(func(c *Card) *string { return &c.Phone })},
	{name: "email", read: text(func(c *Card) *string { return &c.Email })},
	{name: "language", read: text(func(c *Card) *string { return &c.Language })},
	{name: "account_number", id: true, read: text(func(c *Card) *string { return &c.AccountNumber })},
	{name: "balance", read: text(func(c *Card) *string { return &c.Balance })},
	{name: "currency", read: text(func(c *Card) *string { return &c.Currency })},
	{name: "pin_set", read: readPINSet},
	{name: "embossing_group", read: text(func(c *Card) *string { return &c.Group })},
	{name: "start_date", read: readStartDate},
	{name: "validity_months", read: number(func(c *Card) *int { return &c.ValidityMonths }, 1, 999)},
	{name: "cvk_ref", read: text(func(c *Card) *string { return &c.CVKRef })},
	{name: "shipment_status", read: word(func(c *Card) *string { return &c.ShipmentStatus }, "SENT", "SHIPPED", "DELIVERED", "RETURNED", "LOST")},
	{name: "shipped_at", read: readShippedAt},
}

func text(field func(*Card) *string) func(*parser, *Card, string, table.Mark) string {
	return func(_ *parser, c *Card, text string, _ table.Mark) string {
		*field(c) = text
		return ""
	}
}

// word takes one of a few words, in any case.
func word(field func(*Card) *string, words ...string) func(*parser, *Card, string, table.Mark) string {
	return func(_ *parser, c *Card, text string, _ table.Mark) string {
		text = strings.ToUpper(text)
		if !slices.Contains(words, text) {
			return "write one of " + strings.Join(words, ", ")
		}
		*field(c) = text
		return ""
	}
}

// number takes a whole number from low to high.
func number(field func(*Card) *int, low, high int) func(*parser, *Card, string, table.Mark) string {
	return func(_ *parser, c *Card, text string, _ table.Mark) string {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil || int(n) < low || int(n) > high {
			return "write a whole number from " + strconv.Itoa(low) + " to " + strconv.Itoa(high)
		}
		*field(c) = int(n)
		return ""
	}
}

// maxCardIDDigits keeps a card id inside an int64.
const maxCardIDDigits = 18

func readCardID(_ *parser, c *Card, text string, _ table.Mark) string {
	id, err := strconv.ParseUint(text, 10, 63)
	if err != nil || len(text) > maxCardIDDigits || id == 0 {
		return "a card id is a whole number of 1 to 18 digits, above zero"
	}
	c.ID = int64(id)
	return ""
}

func readStatus(p *parser, c *Card, text string, _ table.Mark) string {
	status := strings.ToUpper(text)
	if alias, ok := p.file.options.StatusAliases[status]; ok {
		status = alias
	}
	if known := p.file.options.Statuses; len(known) > 0 && !slices.Contains(known, status) {
		return "the card status is not known; write one of " + strings.Join(known, ", ")
	}
	c.Status = status
	return ""
}

func readPAN(_ *parser, c *Card, text string, _ table.Mark) string {
	number, err := iso.ParsePAN(text)
	if err != nil {
		return err.Error()
	}
	c.PAN = number
	return ""
}

// readExpiry takes YYYY-MM and MM/YY, and what a spreadsheet makes of them: a
// date, or the serial number of one. A spreadsheet takes 05/28 for the 28th of
// May of this year and shows it without the year: that is no expiry any more.
func readExpiry(p *parser, c *Card, text string, mark table.Mark) string {
	switch {
	case mark&table.NoYear != 0:
		return "the spreadsheet took the expiry for a day and a month; format the column as text, write the expiry as YYYY-MM and send the row again"
	case mark&table.Date != 0 && len(text) > len("2006-01"):
		text = text[:len("2006-01")]
	case mark&table.Number != 0 && mark&table.Lossy == 0:
		if day, ok := p.serial(text); ok {
			text = day.Format("2006-01")
		}
	}
	expiry, err := iso.ParseExpiry(text)
	if err != nil {
		return err.Error()
	}
	c.Expiry = expiry
	return ""
}

// serial reads the serial number of a day from 1954 to 2173 in a cell that has lost its date format.
func (p *parser) serial(text string) (time.Time, bool) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n < 20_000 || n > 99_999 {
		return time.Time{}, false
	}
	return table.SerialDate(float64(n), p.file.table.Date1904())
}

func readCountry(_ *parser, c *Card, text string, _ table.Mark) string {
	alpha2, _, _, ok := iso.Country(text)
	if !ok {
		return "the country is not known; write its ISO 3166-1 code of two letters, three letters or three digits"
	}
	c.Address.Country = alpha2
	return ""
}

func readPINSet(_ *parser, c *Card, text string, _ table.Mark) string {
	switch strings.ToLower(text) {
	case "yes", "y", "true", "1":
		c.PINSet = true
	case "no", "n", "false", "0":
		c.PINSet = false
	default:
		return "write yes or no"
	}
	return ""
}

func readStartDate(p *parser, c *Card, text string, mark table.Mark) string {
	t, ok := p.moment(text, mark)
	if !ok {
		return "write a date as YYYY-MM-DD"
	}
	c.StartDate = time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	return ""
}

func readShippedAt(p *parser, c *Card, text string, mark table.Mark) string {
	t, ok := p.moment(text, mark)
	if !ok {
		return "write a time as RFC 3339 (2006-01-02T15:04:05Z) or a date as YYYY-MM-DD"
	}
	c.ShippedAt = t
	return ""
}

// moment reads a date, an RFC 3339 time, a spreadsheet's time without a zone, or a serial number.
func (p *parser) moment(text string, mark table.Mark) (time.Time, bool) {
	if mark&table.NoYear != 0 {
		return time.Time{}, false
	}
	if mark&table.Number != 0 && mark&table.Date == 0 {
		if day, ok := p.serial(text); ok {
			text = day.Format(time.DateOnly)
		}
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, true
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04:05", time.DateTime} {
		if t, err := time.ParseInLocation(layout, text, p.file.options.Location); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
