package ledger

import (
	"context"
	"time"
)

// DeletedKind is what retention deletes by its record in the ledger.
type DeletedKind string

// The kinds.
const (
	SealedBytes DeletedKind = "sealed"  // of an outgoing file
	ResultFiles DeletedKind = "results" // a request file or extract at its last place, with what lies beside it
	ReturnBytes DeletedKind = "returns" // a return file at its last place
)

// Deletion names a record whose bytes retention deleted.
type Deletion struct {
	Kind DeletedKind
	ID   int64 // of the BureauFile, RequestFile or ReturnFile
}

// Retention is what the deletion of old files needs. The records themselves
// stay for ever, and so do orders, events and the audit chain.
type Retention interface {
	// EachOldFile gives outgoing files, without their layout and head, that are SENT or VOID, were written, are not
	// marked as deleted, and whose newest step is at or before before (last), in the order of their ids.
	EachOldFile(ctx context.Context, before time.Time, fn func(f *BureauFile, last time.Time) error) error
	// EachOldRequest gives request files and extracts that are ANSWERED, have a last place and are not marked as
	// deleted, where the run that answered them ended at or before before (ended), in the order of their ids.
	EachOldRequest(ctx context.Context, before time.Time, fn func(f *RequestFile, ended time.Time) error) error
	// EachOldReturn gives return files that are APPLIED or DISMISSED, settled at the bureau, have a last place and are not
	// marked as deleted, that were fetched at or before before and whose runs (those that fetched, applied or settled them) all
	// ended at or before it; last is the latest of these times. In the order of their ids.
	EachOldReturn(ctx context.Context, before time.Time, fn func(f *ReturnFile, last time.Time) error) error
	// OutgoingFile gives one by its id, without its layout and head; ErrNotFound.
	OutgoingFile(ctx context.Context, id int64) (BureauFile, error)
	// FilesOfRequest counts the orders that a request file's accepted rows made by the outgoing file that they are in now: the bureau's, and for a
	// reissue the card system's as well. Under 0 are those that are not in one of them yet, and rows that are held.
	FilesOfRequest(ctx context.Context, requestFileID int64) (map[int64]int64, error)
	// LastPlaceOf gives the request file, among those that are not marked as deleted, whose last place is path; ErrNotFound.
	LastPlaceOf(ctx context.Context, path string) (RequestFile, error)
	// AppendAll is Append for several entries, all of them or none.
	AppendAll(ctx context.Context, entries []AuditEntry) error
	// SetDeleted marks records as deleted, all of them or none. One that was marked before keeps its time; one that the ledger does not have is
	// ErrNotFound.
	SetDeleted(ctx context.Context, deletions []Deletion, at time.Time) error
	// DeletedAt is when the record was marked, the zero time when it was not.
	DeletedAt(ctx context.Context, d Deletion) (time.Time, error)
}
