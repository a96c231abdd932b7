package ledger

import (
	"context"
	"time"
)

// ReturnState is the way of a file that a bureau sent.
type ReturnState string

// States of a return file.
const (
	ReturnHeld        ReturnState = "HELD"        // its bytes are ours, in state/returns; not every line is in the ledger
	ReturnApplied     ReturnState = "APPLIED"     // every line is in the ledger; it lies in returns/<bureau>/
	ReturnQuarantined ReturnState = "QUARANTINED" // refused as a whole; waits for a person
	ReturnDismissed   ReturnState = "DISMISSED"   // a person dropped a quarantined one
	ReturnRepeated    ReturnState = "REPEATED"    // the same content came before; nothing of it was done
)

// ReturnFile is a file that a bureau sent.
type ReturnFile struct {
	ID        int64
	RunID     string // that fetched it
	Bureau    string
	Name      string    // the bureau's, base name
	Size      int64     // bytes as they came
	SHA256    string    // hex, of the bytes as they came
	ModTime   time.Time // at the bureau
	State     ReturnState
	Code      string // why it was quarantined: one word
	Detail    string // and one sentence
	SignedBy  string // fingerprint; "" when it carries no signature
	Held      string // path relative to the workspace while it is ours
	Final     string // likewise, of its last place
	Lines     int64  // before the trailer
	Applied   int64  // lines with an event (of an order or of a file) that was new and is not disputed
	Known     int64  // lines whose event the ledger had already
	Problems  int64  // problems listed: lines that are bad, unknown, disputed
	Pos       int    // the last line that is in the ledger
	Settled   bool   // what the configuration says of the bureau's own copy (leave, remove, move) is done
	FetchedAt time.Time
}

// ReturnQuery chooses return files; zero fields choose all.
type ReturnQuery struct {
	RunID  string // that fetched it, or in which a line of it was applied or its record was updated
	Bureau string
	States []ReturnState
	// Unsettled: only those whose copy at the bureau is still to be removed or moved.
	Unsettled bool
}

// Source of an event.
const (
	FromBureau  = "bureau"  // a line of a return file
	FromExtract = "extract" // a card master extract showed the card in use
	FromRequest = "request" // a reissue for reason 5 said that the mail came back
	FromPerson  = "person"  // settled by hand
)

// Event is one thing that happened to an order, or (UID "") to a bureau file as
// a whole. Events are only ever added; a shipment's state follows from them.
//
// Acked and Rejected are postings: what the event adds to the file's
// acknowledged and rejected cards (+1, 0, -1). A file's balance is their sum.
type Event struct {
	ID             int64
	UID            string    // of the order; "" for the file as a whole
	FileID         int64     // bureau file
	Status         string    // the event's own word: ACKED … LOST, RECEIVED, REFUSED, ACTIVATED
	At             time.Time // when it happened, by its teller
	Code           string
	Description    string
	Carrier        string
	TrackingNumber string
	Count          int64 // FILE RECEIVED: records the bureau counted; -1 for none
	Source         string
	ReturnID       int64  // return file, 0 for none
	Line           int    // of the return file
	RunID          string // in which it became known; "" outside a run
	RecordedAt     time.Time
	State          OrderState // what the order became by it; "" when it changed nothing. Of a file as a whole it is only kept
	Acked          int
	Rejected       int
	// Dispute says why the event contradicts what is known, one sentence; it then changed nothing and waits for a person.
	Dispute    string
	SettledAt  time.Time // of a disputed one
	Settlement string    // "kept: reason" or "taken: reason", by whom
}

// Shipment is an order with all that happened to it, oldest event (by its own time) first.
type Shipment struct {
	Order
	Events []Event
	Left   []int64 // VOID bureau files that it was taken out of, the last one last; it may be back in one of them
}

// Problem is a line of a return file that could not be used.
type Problem struct {
	ReturnID int64
	Line     int
	Code     string // line_malformed, uid_unknown, uid_elsewhere, event_disputed, file_disputed
	FileName string
	UID      string
	Detail   string // one sentence: what is wrong and what to do; never a card number
}

// FileAnswer is what a bureau says of a file as a whole, with what follows from it.
type FileAnswer struct {
	Event Event // UID ""
	// Delivered: the file was UNDECIDED or RENAMING (by a person's word also REFUSED, or about to be sent again), and this answer shows that the bureau has it: it becomes SENT with
	// Evidence, and its orders SENT.
	Delivered bool
	Evidence  []byte
	// Acknowledge: every order of the file that is SENT becomes ACKED, each by an event of its own (Acked +1) at the same time.
	Acknowledge bool
	// Refuse: the file becomes REFUSED. Its orders that are SENT or ACKED go back to PLANNED, each by an event REFUSED of its own (ACKED: Acked -1), and
	// their cards are open again; an order whose card has another open order meanwhile stays as it is.
	Refuse bool
	Entry  *AuditEntry
}

// ReturnChunk is a bounded set of lines with all that follows from them, committed together.
type ReturnChunk struct {
	ReturnID int64
	RunID    string
	Pos      int // the last line of it; the file's Pos moves there. One at or before the stored Pos is ErrConflict
	At       time.Time
	Answers  []FileAnswer // in order, before Events
	Events   []Event      // in order; State "" changes no order. Each order's state must be From, see EventFrom
	From     []OrderState // of the same index as Events: the state its order has when the event is applied, else ErrConflict
	Problems []Problem
	Known    int64
	Entry    *AuditEntry
}

// FileBalance is a bureau file's cards, counted from the rows of orders and
// events at this moment. They come from different rows on purpose: Acknowledged
// and Rejected are sums of postings of events, Outstanding counts orders by
// their state, Records is the plan's.
type FileBalance struct {
	FileID       int64
	Records      int64
	Orders       int64 // rows that are in the file
	Moved        int64 // rows that left a VOID file for a later one, and were not put back
	Acknowledged int64
	Rejected     int64
	Outstanding  int64 // SENT or PLANNED; of a file that was never sent, all
	ByState      map[OrderState]int64
}

// Totals are counts of rows over the whole ledger at one moment.
type Totals struct {
	Orders  int64 // all of them
	InFiles int64 // those whose bureau file is in the ledger
	InNone  int64 // those that are QUEUED and in no file
	// Cancelled are those that a cancelled hold took with it.
	Cancelled int64
	// StateStrangers are outgoing files, the card system's too, whose state is not the newest step of their history (PLANNED where there is none).
	StateStrangers int64
}

// OutcomeCounts counts answers; Read is all of them.
type OutcomeCounts struct{ Read, Accepted, Refused, Duplicate, Held int64 }

// Returns is what collect needs, and what asks about shipments.
type Returns interface {
	// AddReturn records a file whose bytes are safely ours. A name at a bureau may come again with other content.
	AddReturn(ctx context.Context, f ReturnFile) (int64, error)
	// UpdateReturn replaces the record of f.ID, its Pos, Applied, Known and Problems excepted (ErrNotFound).
	UpdateReturn(ctx context.Context, f ReturnFile, entry *AuditEntry) error
	// ReturnFiles gives them in the order of their ids.
	ReturnFiles(ctx context.Context, q ReturnQuery) ([]ReturnFile, error)
	// SameReturn finds the first other return file of the bureau with this SHA-256 that is HELD, or APPLIED without a problem: of any other, lines were not
	// used. ErrNotFound.
	SameReturn(ctx context.Context, bureau, sha256 string, not int64) (ReturnFile, error)
	// SeenReturn finds the newest return file fetched from the bureau under this name with this size and time; ErrNotFound.
	SeenReturn(ctx context.Context, bureau, name string, size int64, modified time.Time) (ReturnFile, error)
	// CommitReturn writes c whole or not at all. ReturnID, RunID and RecordedAt of its events are the chunk's. ErrConflict, besides what
	// ReturnChunk tells: a return file that is not HELD; an event with a state or a posting whose FileID (0: any) is not its order's file; a
	// Delivered file that is neither UNDECIDED nor RENAMING; a refusal of a file that the bureau can not have. ErrNotFound: an order, a
	// file or a run that the ledger does not have. A closing state ends the transit of the card. A disputed event has neither state nor postings.
	CommitReturn(ctx context.Context, c ReturnChunk) error
	// RewindReturn puts a QUARANTINED or APPLIED file back to HELD at its start, with its bytes in held (a person mended what was wrong on our side): its
	// problems are forgotten and its lines counted anew; events that came of it stay, and so does Final until it is placed again. Any other state is ErrConflict.
	RewindReturn(ctx context.Context, id int64, held string, entry AuditEntry) error

	// Shipments gives orders by their uids; those that the ledger does not have are missing. Events oldest first. The order has no Record and no Decision.
	Shipments(ctx context.Context, uids []string) (map[string]*Shipment, error)
	// CardShipments gives every order that asked for the card or embossed it, and those along its chain of replacements in both directions, oldest first.
	CardShipments(ctx context.Context, cardID int64) ([]Shipment, error)
	// FileEvents gives the events of a bureau file as a whole, oldest (by its own time) first.
	FileEvents(ctx context.Context, fileID int64) ([]Event, error)
	// SettleEvent settles a disputed event; one that is not, or is settled, is ErrConflict. taken, if not nil, is what it then does:
	// a new event of the order (from: the state it must have) or an answer of the file. RecordedAt of these is at, their RunID counts.
	//
	// A person's event of a QUEUED order, of a VOID file that the order left, puts the order back into that file, and a person's Acknowledge of a VOID file
	// puts back all that wait: their cards were made from it. Their holds become CANCELLED and the other orders of these stand in the queue again; an
	// order in a hold of a restoration is ErrConflict, or stays.
	SettleEvent(ctx context.Context, id int64, at time.Time, settlement string, taken *Event, from OrderState, answer *FileAnswer, entry AuditEntry) error
	// Event gives one event by its id; ErrNotFound.
	Event(ctx context.Context, id int64) (Event, error)
	// Disputes gives the unsettled disputed events, oldest id first, at most limit (0: all), and how many there are.
	Disputes(ctx context.Context, limit int64) ([]Event, int64, error)
	// KeptBack gives the unsettled disputed events that keep orders of a bureau's queue (holdID 0), or of a hold of it, back: see Queues.
	KeptBack(ctx context.Context, bureau string, holdID int64) ([]int64, error)
	// LeftWaiting counts the orders that left a VOID file and that a person's word about it puts back: QUEUED, and in no hold of a restoration.
	LeftWaiting(ctx context.Context, fileID int64) (int64, error)
	// DisputesByReturn counts the unsettled disputed events by the return file that told of them, 0 for none.
	DisputesByReturn(ctx context.Context) (map[int64]int64, error)
	// FilesAnswered gives the bureau files of which an event as a whole became known in a run, in the order of their ids.
	FilesAnswered(ctx context.Context, runID string) ([]int64, error)

	// FileBalances counts every bureau file's cards (card system files have none), by file id, from the rows.
	FileBalances(ctx context.Context) (map[int64]FileBalance, error)
	// Differing counts a file's orders whose state is not the one that their newest event (by id) with a State gave them: an answered
	// order (ACKED and beyond, REJECTED) without just that event, an order that waits for an answer although its event is one.
	Differing(ctx context.Context, fileID int64) (int64, error)
	// Totals counts over the whole ledger what must agree with itself.
	Totals(ctx context.Context) (Totals, error)
	// NightCounts counts the answers of each finished run begun at or after since, by the id of the run; one without answers is missing.
	NightCounts(ctx context.Context, since time.Time) (map[string]OutcomeCounts, error)
	// EachUnderWay gives the orders (without Record and Decision) in one of the states, by the time their file was sent (oldest first), then file, then uid; since is
	// the own time of the event that gave the order its state (the file's SentAt for SENT and PLANNED).
	EachUnderWay(ctx context.Context, states []OrderState, fn func(o *Order, since time.Time) error) error
	// EachEvent gives the events of orders that became known in a run, in the order of their ids, each with its order (without Record and
	// Decision) and card.
	EachEvent(ctx context.Context, runID string, fn func(*ToldEvent) error) error
	// EachProblem gives the problems of the lines applied in a run, in the order of return file and line.
	EachProblem(ctx context.Context, runID string, fn func(*Problem, *ReturnFile) error) error
	// EventTallies counts the events of orders that became known in a run.
	EventTallies(ctx context.Context, runID string) ([]EventTally, error)
}

// ToldEvent is an event with its order and the embossed card (nil when the registry has none).
type ToldEvent struct {
	Event
	Order *Order
	Card  *CardFacts
}

// CardFacts are what an event tells of a card: no number.
type CardFacts struct {
	ID                                       int64
	ProgramID, AccountID, CustomerID, Status string
}

// EventTally counts events that agree in bureau, status, code and being disputed.
type EventTally struct {
	Bureau   string
	Status   string
	Code     string
	Disputed bool
	N        int64
	Acked    int64 // their postings: cards that became acknowledged by them
}

// OutboxEvent is an event that a webhook must get.
type OutboxEvent struct {
	ID       string // the CloudEvent's
	RunID    string
	Body     []byte // the CloudEvent, JSON
	Attempts int
}

// Outbox holds the events that a webhook has not taken yet.
type Outbox interface {
	// Enqueue stores events; one whose ID was ever stored is left out. It gives how many were new.
	Enqueue(ctx context.Context, events []OutboxEvent, at time.Time) (int64, error)
	// Pending gives the oldest undelivered ones after the one with id after ("" for the first), in the order in which they were stored.
	// limit 0: all. The event named by after may have been delivered since; one that was never stored is ErrNotFound.
	Pending(ctx context.Context, after string, limit int) ([]OutboxEvent, error)
	// CountPending is how many are undelivered.
	CountPending(ctx context.Context) (int64, error)
	// Delivered takes events out of the queue; their ids stay known, their bodies are dropped. Here and in NotDelivered, an id that was never
	// stored is ErrNotFound, and nothing is changed.
	Delivered(ctx context.Context, ids []string, at time.Time) error
	// NotDelivered counts an attempt and keeps why.
	NotDelivered(ctx context.Context, ids []string, at time.Time, why string) error
}

// Made counts the orders of whose card somebody tells that it was made, of a file's orders by their state.
func Made(states map[OrderState]int64) (cards int64) {
	for _, state := range []OrderState{Produced, Shipped, Delivered, Returned, Lost, Activated} {
		cards += states[state]
	}
	return cards
}
