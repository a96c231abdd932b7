// Package hsm is where the keys are: the sealed [Keyset] of a workspace, and
// the [Backend] that computes card verification values.
//
// A Backend takes a slice of requests and gives a slice of results in the same
// order, because a hardware module is fast only when asked for many at a time.
// It never falls back to another backend. Before the first card it proves
// itself: every key's check value must be the configured one and known answers
// must come out; otherwise it does not open and no card is made. Package
// hsmtest is the suite that every backend passes.
//
// The algorithm of the card verification value is one for Visa (CVV),
// Mastercard (CVC) and UnionPay (CVN); which of CVV1, CVV2 and iCVV comes out
// depends on the service code fed in: the card's own, 000 or 999.
//
// Keys and values are held in memory only, in clear. No error, log line or
// printed value of this package contains a key, a card number or a CVV.
// [Harden] keeps the kernel from writing the process's memory to a disk.
package hsm

import (
	"context"

	"reemboss/formats/iso"
)

// Service codes that select a value.
const (
	ServiceCVV2 = "000" // printed on the card
	ServiceICVV = "999" // on the chip's tracks
)

// CVVRequest asks for one card verification value.
type CVVRequest struct {
	Key         string  // name of the key pair
	PAN         iso.PAN // 12 to 19 digits
	Expiry      string  // four digits as fed: YYMM or MMYY
	ServiceCode string  // three digits as fed
}

// CVVResult is the answer to one request: a value of three digits, or why there is none.
type CVVResult struct {
	CVV iso.Secret
	Err error
}

// Backend computes card verification values. It may be used by several goroutines.
type Backend interface {
	// CVVs gives one result for each request, in the same order. An error of
	// one request leaves the others alone; it wraps [ErrRequest] when the
	// request itself is wrong. Once ctx is done, what is not computed yet gets
	// its error. The same request always gives the same value.
	CVVs(ctx context.Context, requests []CVVRequest) []CVVResult
}

// Verifier computes values again, by other means than the [Backend] that made them.
type Verifier interface {
	// VerifyCVVs compares values with what the requests must give; the result
	// has nil for each that is right and an error that wraps [ErrCVVWrong] for
	// each that is not.
	VerifyCVVs(ctx context.Context, requests []CVVRequest, values []iso.Secret) []error
}
