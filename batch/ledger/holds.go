package ledger

import (
	"context"
	"errors"
	"time"

	"reemboss/formats/request"
)

// HoldState is the way of a hold.
type HoldState string

// States of a hold. HELD and CANCELLED are states of files too where a hold is listed among them (files.md: a public promise).
const (
	Held          HoldState = "HELD"
	Approved      HoldState = "APPROVED"
	HoldCancelled HoldState = "CANCELLED"
)

// Deleted is the status of a card that a cancelled order had made.
const Deleted = "DELETED"

// ErrNoWayBack: an order of the hold changed its card, and nobody kept how the card was before.
var ErrNoWayBack = errors.New("the cards cannot be put back to what they were")

// Hold is a set of queued orders of one bureau that becomes exactly one file of
// it once a second person approves. It is set aside before a number is taken:
// one that is cancelled leaves no gap.
type Hold struct {
	ID        int64
	Name      string // unique for ever
	Bureau    string
	RunID     string // that set it aside
	Records   int64
	Digest    string // keyed, over all that is approved
	State     HoldState
	HeldAt    time.Time
	DecidedAt time.Time
	// DecidedRunID is the run in which the decision became known: its own, or the first after one that was made between two runs; "" until then.
	DecidedRunID string
	DecidedBy    string
	How          string // by which command, or by which signed file and key
	Reason       string
	// Of its bureau file, once planned.
	BureauFileID int64
	FileName     string
	// Restored says that its orders were open when the ledger was put back from a backup: a night that the ledger does not know may have made their cards.
	Restored bool
	// NoWayBack says of one that is HELD that cancelling it is ErrNoWayBack.
	NoWayBack bool
}

// HoldQuery chooses holds; empty fields choose all.
type HoldQuery struct {
	Name   string
	Bureau string
	RunID  string // that set it aside
	Open   bool   // HELD, or APPROVED and in no file yet
}

// HoldTally counts orders of a hold that agree in all of its fields: what is asked for, and by whom.
type HoldTally struct {
	Kind         request.Kind
	Reason       int
	Submitter    string // verified, of the request file
	Signer       string // fingerprint of the key that verified it
	Owner        string // of the request file
	RowSubmitter string // the row's own column
	N            int64
}

// HoldDecision decides about a hold that is HELD.
type HoldDecision struct {
	HoldID int64
	To     HoldState // Approved or HoldCancelled
	At     time.Time
	RunID  string // "" between two runs
	By     string
	How    string
	Reason string
	// Made says of a CANCELLED restored hold that its cards were made by a night that the ledger does not know: they stay what the orders made
	// them, and each counts as sent.
	Made bool
	// File is the record of the signed file that decides, updated with it; nil for a command.
	File  *RequestFile
	Entry AuditEntry
}

// Holds is the way of orders that wait for a second person. An order in a hold
// is QUEUED and in no queue; no method puts further orders into a hold.
type Holds interface {
	// SetAside takes the first h.Records orders of the queue of h.Bureau that no dispute keeps back (all, where h is Restored) into a new hold, which is HELD. Fewer orders than that, or a name that was
	// ever used, are ErrConflict.
	SetAside(ctx context.Context, h Hold, entry AuditEntry) (int64, error)
	// Holds gives holds in the order in which they were made.
	Holds(ctx context.Context, q HoldQuery) ([]Hold, error)
	// EachHoldOrder gives the orders of a hold in file order, PAN opened; those of one that is planned are its file's, and it gives none.
	EachHoldOrder(ctx context.Context, holdID int64, fn func(*Order) error) error
	// HoldTallies counts the orders of a hold that is not planned.
	HoldTallies(ctx context.Context, holdID int64) ([]HoldTally, error)
	// DecideHold approves or cancels a hold; one that is not HELD is ErrConflict. Cancelling makes its orders CANCELLED, each with an event, and puts
	// each requested card back to what it was before its order, but for fields that have other values since than the order gave them: the successor
	// goes, a card that the order made becomes DELETED and keeps its PAN, a shipment that the order closed stays closed. ErrNoWayBack, and nothing
	// is done, where an order that changed its card has no before-image ([Order.MayBeHeld]).
	DecideHold(ctx context.Context, d HoldDecision) error
	// CancelledOf counts the CANCELLED orders that a run accepted ("" any), by bureau.
	CancelledOf(ctx context.Context, acceptedIn string) (map[string]int64, error)
	// SameBytes finds the first other request file (not an extract, another id) with this SHA-256, whatever became of it; ErrNotFound.
	SameBytes(ctx context.Context, sha256 string, not int64) (RequestFile, error)
}
