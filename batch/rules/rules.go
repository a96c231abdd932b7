// Package rules decides: request + card + policy → [Decision]. It is pure: no
// clock, no file, no ledger; the same input always gives the same decision.
// Every rule adds what it finds, so that a row's answer names all that is
// wrong with it, in the order of the vocabulary ([Codes]).
package rules

import (
	"time"

	"reemboss/formats/extract"
	"reemboss/formats/request"
)

// Outcome is what became of a row.
type Outcome string

// The four outcomes; every row read has exactly one.
const (
	Accepted  Outcome = "accepted"
	Refused   Outcome = "refused"
	Duplicate Outcome = "duplicate"
	Held      Outcome = "held"
)

// Code is one word of the vocabulary (codes.go).
type Code string

// Approved is the code of an accepted row.
const Approved Code = "00"

// Violation is one thing that is wrong with a row.
type Violation struct {
	Code   Code   `json:"code"`
	Detail string `json:"detail"` // one plain sentence: what is wrong here and what to do; never a clear card number
}

// Embossing is what the ledger knows of the last embossing of a card or of one along its chain of replacements.
type Embossing struct {
	UID    string
	State  string    // QUEUED PLANNED: open, before the bureau has it. SENT ACKED PRODUCED SHIPPED: under way. DELIVERED RETURNED LOST REJECTED ACTIVATED: closed
	SentAt time.Time // when it was handed to the bureau; zero while open
	// Disputed: something that contradicts the state was told, and nobody has settled it yet.
	Disputed bool
	// FileID and RowDigest tell the request that opened it: an identical row of the same file is duplicate_row.
	FileID    int64
	RowDigest string
}

// Card is a card of the registry with what surrounds it.
type Card struct {
	extract.Card
	Successor int64 // card id that replaced this one, 0 for none
	// Last is the newest embossing of the card and of every successor in its chain (nil for none); Open is the open one, if any.
	Last *Embossing
	Open *Embossing
	// Reissues are the times at which reissues of the card and along its chain of replacements, forwards and back, were
	// accepted, oldest first; those that the bureau rejected are not in it.
	Reissues []time.Time
}

// Input is all that a decision depends on.
type Input struct {
	Row       *request.Row
	FileID    int64
	RowDigest string // of all cells
	Card      *Card  // nil: the registry has no such card
	// Reference is the accepted request that used the row's reference first, nil for none.
	Reference     *Prior
	ContentDigest string // of the fields that we know
	// Submitter signed the row's file; nil: nobody did, and the rules of submitters do not apply.
	Submitter *Submitter
	// Spent is how many rows of the submitter were accepted in this night before this one.
	Spent int64
	Now   time.Time
}

// Prior is the answer given to an earlier request with the same reference.
type Prior struct {
	ContentDigest string
	FileID        int64
	RowDigest     string
}

// Plan is what an accepted row leads to.
type Plan struct {
	Kind             request.Kind
	Reason           int  // 1–6; 0 for re-embossing
	Type             int  // reissue type used
	TypeDerived      bool // the type was blank and follows from the reason
	NewPAN           bool
	Bureau           string
	ShippingMethod   int
	BusinessDate     time.Time // at the bureau
	ExpectedDelivery time.Time
	PrintedName      string
	Address          extract.Address
	// NameGiven: the request brought PrintedName; the card's first and last name then say nothing of it.
	NameGiven     bool
	OldStatus     string // status of the requested card afterwards ("" : unchanged)
	NewStatus     string // status of the embossed card afterwards
	ClosesTransit string // uid of the shipment that reason 5 closes ("imported" where it has none), "" for none
	Fee           string
}

// Decision is the explained answer to one row.
type Decision struct {
	Outcome    Outcome
	Code       Code        // the first violation's, Approved when accepted
	Violations []Violation // in the order of the vocabulary
	Plan       *Plan       // when accepted
	// Reason is the reason code once understood, also of a refused row; else 0.
	Reason int
	// Message tells a person the whole answer; "" where an earlier answer is given again.
	Message string
	// Because explains: which rule, which value, one short entry each. It is kept with the order.
	Because []string
}
