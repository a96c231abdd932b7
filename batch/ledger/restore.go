package ledger

import (
	"context"
	"time"
)

// Doubtful is the state of a request file that was claimed, and not decided to
// its end, when a ledger was put back from a backup: its rows may have been done
// since, by nights that this ledger knows nothing of. It is refused as a whole.
const Doubtful FileState = "DOUBTFUL"

// Skipped are numbers of a counter that a restoration passed over, both ends
// included. Each was given out by a night that the ledger does not know, or by none.
type Skipped struct {
	Counter     string
	First, Last int64
}

// Restoration is what is done to a ledger that comes from a backup before it is
// used again: nothing that a lost night may have given out or done is given out
// or done a second time without a person's word.
type Restoration struct {
	ID       int64
	At       time.Time
	Who      string
	Reason   string
	BackupAt time.Time // when the backup was made
	Replaced Chain     // newest entry of the ledger that was replaced; zero where none could be read
	// Counters are the values that counters have at least from now on. What lies between is recorded as skipped.
	Counters map[string]int64
	// PSNs is how many sequence numbers beyond those in use each card number passes over.
	PSNs int64
	// Trouble becomes the LastError of each file that is put to a person, one sentence.
	Trouble string
	// Doubtful request files are refused by the next run; Done ones are ANSWERED without a last place: their bytes are
	// no longer where the ledger says.
	Doubtful, Done []int64
	Entry          AuditEntry
	// Skipped is given by Restorations, not taken.
	Skipped []Skipped
}

// Restoring puts a ledger from a backup to use.
type Restoring interface {
	// Restore is one transaction over a ledger that nobody works with: the open run ends with exit code 5; counters are
	// raised, never lowered; outgoing files that were planned and are not known to have arrived become UNDECIDED; holds in
	// no file become HELD again and are marked as restored; orders in a bureau file that are in no PIN file yet have their PIN
	// due. Orders in queues stay there: the caller sets them aside. It gives the restoration's number.
	Restore(ctx context.Context, r Restoration) (int64, error)
	// EachWaiting gives the first limit orders of a bureau's queue as EachQueued does, and those too that a dispute keeps back: a hold that is Restored takes
	// them all.
	EachWaiting(ctx context.Context, bureau string, limit int64, fn func(*Order) error) error
	// Restorations gives them in their order, without Counters, Trouble, Doubtful, Done and Entry.
	Restorations(ctx context.Context) ([]Restoration, error)
	// AuditAt is the entry of that number of the audit chain, as the end of a chain; ErrNotFound.
	AuditAt(ctx context.Context, seq int64) (Chain, error)
}
