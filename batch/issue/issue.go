// Package issue makes what the plastic will carry: new card numbers
// ([Allocator], FF1), expiry and PSN, names, and the whole record of a card in
// two steps.
//
// [Maker.Make] makes a [Blank]: all of the record but its secrets. It is what
// the ledger keeps of an order, with every decision frozen, so that the same
// record comes out later whatever configuration and registry say by then. It
// holds no card number, no CVV and no track.
//
// [Complete] adds the secrets, for many cards in one call of the HSM. Its
// records live in memory only, between the ledger and the PGP writer.
// [VerifySample] computes a share of them again by other means.
//
// Re-embossing changes nothing: PAN, PSN, expiry, start date, validity, keys
// and name are the card's, so every value comes out as on the last plastic. A
// reissue has a new expiry, and with it new values.
//
// The package decides nothing about whether a card may be made and does no I/O.
package issue

import (
	"slices"
	"time"

	"reemboss/batch/rules"
	"reemboss/formats/iso"
)

// Refusal says that a card cannot be made as asked: the row's fault, not the
// program's. Detail is one plain sentence for the sender and shows no card data.
type Refusal struct {
	Code   rules.Code
	Detail string
}

// Error gives code and sentence.
func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Detail }

// MaxPSN is the last PAN sequence number (EMV 5F34 has two digits).
const MaxPSN = 99

// NewExpiry is the expiry of a reissued card: the month of the business date
// plus the validity; where an earlier plastic of the number has that, one month
// later, and so on, since with the number kept the same expiry would give an old
// CVV2 again: of the card before this one, or, where the bureau rejected that
// one, of the plastic still in use. A new number has no earlier plastic.
func NewExpiry(businessDate time.Time, validityMonths int, earlier ...iso.Expiry) iso.Expiry {
	e := iso.ExpiryOf(businessDate).Add(validityMonths)
	for slices.Contains(earlier, e) {
		e = e.Add(1)
	}
	return e
}

// NextPSN is the PSN of a reissue that keeps the number. Above [MaxPSN] there
// is none: [Maker.Make] refuses it with psn_exhausted.
func NextPSN(old int) int { return old + 1 }
