// Package returns reads what a bureau sends back: acknowledgements of files and
// what happened to single cards. It knows our own CSV and, by a [Description],
// the file of any other bureau. It decides nothing and remembers nothing.
package returns

import (
	"errors"
	"time"
)

// Kind is what a line speaks of.
type Kind string

// Kinds of lines. Trailer and header lines are not given out.
const (
	File Kind = "FILE" // the whole bureau file
	Card Kind = "CARD" // one record of it
)

// Our status words. A FILE line has Received or Refused, a CARD line any of the others.
const (
	Received  = "RECEIVED"
	Refused   = "REFUSED"
	Acked     = "ACKED"
	Rejected  = "REJECTED"
	Produced  = "PRODUCED"
	Shipped   = "SHIPPED"
	Delivered = "DELIVERED"
	Returned  = "RETURNED"
	Lost      = "LOST"
)

// NoCount is the Count of a line that brings none.
const NoCount = -1

// Line is one event that a bureau tells of.
type Line struct {
	Number         int // of the line in the file, from 1
	Kind           Kind
	FileName       string // the bureau file; "" where a CARD line brings none
	Sequence       int64  // of the bureau file; 0 for none
	UID            string // CARD
	Status         string // ours
	Count          int64  // FILE: records received; NoCount for none
	Code           string // the bureau's own, as it wrote it
	Description    string
	Carrier        string
	TrackingNumber string
	OccurredAt     time.Time // UTC
}

// Bad is a line that cannot be used. The others go on.
type Bad struct {
	Number   int
	FileName string // where it could be read; no card number in clear
	UID      string // likewise
	Problem  string // one sentence: what is wrong, in which column, what to do; never a card number in clear
}

// Summary is what a file said of itself.
type Summary struct {
	Lines    int64 // before the trailer
	Cards    int64 // good CARD lines
	Bad      int64
	Encoding string // found
}

// What is wrong with a file as a whole; nothing of it may be used.
var (
	// ErrNoTrailer: the file ends before its trailer. It is still being written, or was cut short: leave it where it is.
	ErrNoTrailer = errors.New("the file has no trailer yet")
	// ErrContradicts: the file contradicts itself: the trailer's count, lines after the trailer.
	ErrContradicts = errors.New("the file contradicts itself")
	// ErrUnreadable: no file of this shape (header missing, not the encoding it should have).
	ErrUnreadable = errors.New("the file cannot be read as a return file")
)
