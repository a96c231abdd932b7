package ledger

import "context"

// Rekeying brings what is stored under the vault's primary keys when these were
// rotated, a part at a time, while everything stays open and is found:
//
//   - a sealed PAN names its key and opens under any key that the vault has;
//   - the ledger keeps, in one transaction with the rows, the ids of the keys
//     that rows may be under. A PAN is looked up under each of these index keys,
//     and a card whose PAN and PSN another card has under any of them is
//     refused as under one. With one key in use there is one look-up;
//   - only when a count over all rows finds none under a former key is that key
//     taken from the list.
//
// A key that rows are under and the vault does not have fails every look-up: a
// card number that cannot be found must not be taken for an unknown one.
type Rekeying interface {
	// Rekey seals and indexes at most limit rows anew, in one transaction, and says how far the work is; Ended and
	// nothing done when there is nothing to do, which costs no reading of rows. Call it until Ended. Where it stands is
	// in the ledger: whoever calls it next goes on. Rows that do not open are left as they are and counted. entry gives
	// At and Who of the audit entries rotation.began and rotation.finished, which are written with the first and the
	// last row of a rotation.
	Rekey(ctx context.Context, limit int, entry AuditEntry) (RekeyProgress, error)
	// KeyUse counts, over all rows, what is under each key. It reads everything: seconds for a million cards.
	KeyUse(ctx context.Context) (KeyUse, error)
}

// RekeyProgress is how far a rotation is.
type RekeyProgress struct {
	Cards, Orders RekeyCount
	// Unreadable rows did not open, in this pass; they stay under the former key.
	Unreadable int64
	// Ended: every row was looked at.
	Ended bool
	// Finished: Ended, and no row is under another key than the primary ones.
	Finished bool
}

// Left is how many rows are under former keys.
func (p RekeyProgress) Left() int64 { return p.Cards.Left + p.Orders.Left }

// RekeyCount counts rows of one kind: those done since the rotation began and those that are left.
type RekeyCount struct{ Done, Left int64 }

// KeyUse is how many sealed and how many indexed numbers are under each key id.
type KeyUse struct {
	Sealed  map[string]int64
	Indexed map[string]int64
}
