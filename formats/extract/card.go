// Package extract reads the card master extract: a CSV or XLSX file with one
// card a row, in any order of columns. It turns bytes into [Row]s and says
// what is wrong with each; it decides nothing about a card and keeps nothing.
package extract

import (
	"time"

	"reemboss/formats/iso"
)

// Address is where a card is sent. All fields are text as the sender wrote
// them, trimmed. Country is ISO 3166-1 alpha-2 once read.
type Address struct {
	Line1    string `json:"l1,omitempty"`
	Line2    string `json:"l2,omitempty"`
	Line3    string `json:"l3,omitempty"`
	Line4    string `json:"l4,omitempty"`
	City     string `json:"ci,omitempty"`
	Region   string `json:"rg,omitempty"`
	Postcode string `json:"pc,omitempty"`
	Country  string `json:"co,omitempty"`
}

// IsZero says that no line of the address is filled.
func (a Address) IsZero() bool { return a == Address{} }

// Card is one card as the card master tells it. Text is trimmed; a blank
// column is the empty string.
type Card struct {
	ID            int64 // 1 to 18 digits
	AccountID     string
	CustomerID    string
	ProgramID     string
	Product       string
	Type          string // PLASTIC RECURRING TEMPORARY VIRTUAL
	Status        string // upper case, aliases resolved by the caller's status table
	PAN           iso.PAN
	PSN           int // EMV 5F34, 0 to 99
	Expiry        iso.Expiry
	PrintedName   string
	Title         string
	FirstName     string
	LastName      string
	CompanyName   string
	Address       Address
	AddressStatus string // ACTIVE, INACTIVE or blank (counts as ACTIVE)
	Phone         string
	Email         string
	Language      string // ISO 639-1
	AccountNumber string
	Balance       string
	Currency      string // ISO 4217 alphabetic or numeric, as written
	PINSet        bool   // blank counts as yes
	Group         string // embossing group
	// StartDate is the first day of validity; the zero time means expiry minus validity.
	StartDate      time.Time
	ValidityMonths int // 0 means the product's
	CVKRef         string
	// ShipmentStatus is SENT SHIPPED DELIVERED RETURNED LOST or blank; ShippedAt is its time, zero when the extract had none.
	ShipmentStatus string
	ShippedAt      time.Time
}
