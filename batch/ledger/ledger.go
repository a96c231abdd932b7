// Package ledger is what the night remembers: cards, requests, orders, bureau
// files, deliveries, runs, and an audit chain. [Ledger] is the promise; package
// sqlite keeps it in one file, and ledgertest is the suite that every
// implementation passes.
//
// Every method that writes is one transaction: after a crash all of it is
// there or nothing. A nil error means that it is durable (synchronous FULL).
// PANs are sealed before they reach the store and looked up by a keyed hash;
// no method takes or gives CVVs or tracks. Methods return errors and log
// nothing. A Ledger may be used by several goroutines.
//
// Times are kept in whole milliseconds and given back in UTC; the zero time is
// none. Methods that stream (Each…) hold no lock while fn runs: fn may call any
// other method, and what it changes does not change what is streamed. Values
// given to fn may be kept. An error of fn ends the stream and is returned as it
// is. When ctx ends, the method returns its error and a write leaves nothing.
package ledger

import (
	"context"
	"errors"
	"time"

	"reemboss/batch/rules"
	"reemboss/formats/extract"
	"reemboss/formats/iso"
	"reemboss/formats/request"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrNotFound = errors.New("not in the ledger")
	// ErrConflict: the stored state is not the one the caller expected (another worker, or a bug); nothing was written.
	ErrConflict = errors.New("the ledger's state changed meanwhile")
	// ErrRangeChanged: a PAN range's parameters differ from those recorded at its first use; they may never change under it.
	ErrRangeChanged = errors.New("the parameters of a PAN range changed after its first use")
	// ErrBehind: a counter is behind its high-water mark: the ledger is an older copy.
	ErrBehind = errors.New("the ledger is older than what has already left the house")
	// ErrBusy: another process writes, and did not end while it was waited for; nothing was done.
	ErrBusy = errors.New("another process is writing the ledger")
	// ErrDamaged: what the ledger is kept in is not what it was; nothing can be relied on.
	ErrDamaged = errors.New("the ledger's file is damaged")
)

// Vault seals and indexes PANs; package hsm's keyset is one.
type Vault interface {
	// SealPAN seals p for the card (AEAD, the card id as associated data).
	SealPAN(cardID int64, p iso.PAN) ([]byte, error)
	// OpenPAN opens what SealPAN made for the same card id, under any key that the vault has.
	OpenPAN(cardID int64, sealed []byte) (iso.PAN, error)
	// SealKeyID names the key of SealPAN, SealHeader is what all begins with that it seals, and SealedUnder names the key
	// of a sealed number of which it needs as much as SealHeader is long; "" for bytes that are none.
	SealKeyID() string
	SealHeader() []byte
	SealedUnder(sealed []byte) string
	// IndexPAN is the keyed hash of the whole PAN (HMAC-SHA-256, 32 bytes; PCI DSS 4.0.1, 3.5.1.1).
	IndexPAN(p iso.PAN) []byte
	// IndexKeyID names the key of IndexPAN; it is stored beside each hash.
	IndexKeyID() string
	// IndexUnder is the keyed hash under a key of that id: the one of IndexPAN or a former one. A key that the vault does
	// not have is an error.
	IndexUnder(keyID string, p iso.PAN) ([]byte, error)
}

// Ledger is the whole promise. Users ask for the part that they need.
type Ledger interface {
	Runs
	Registry
	Intake
	Deciding
	Files
	Holds
	Returns
	Reading
	Outbox
	Rekeying
	Audit
	Retention
	Restoring
	Close() error
}

// Run is one night; it stays open over crashes until FinishRun.
type Run struct {
	ID        string // local date and number within it: 2026-11-21-001
	Date      string // local date at its start, YYYY-MM-DD
	StartedAt time.Time
	EndedAt   time.Time // zero while open
	Starts    int       // how often a process worked on it
	Exit      int       // exit code once finished
	Host      string
	Version   string
	Summary   []byte // reconciliation.json once finished
}

// Stage is the time one stage of a run took in one process.
type Stage struct {
	RunID     string
	Name      string
	StartedAt time.Time
	EndedAt   time.Time
	Items     int64
}

// Runs is the history of nights.
type Runs interface {
	// BeginRun continues the open run, if there is one (resumed: Starts is one more, Host and Version are the
	// newest process's), or opens the next of that local date; events that became known outside a run are then this one's.
	BeginRun(ctx context.Context, at time.Time, date, host, version string) (run Run, resumed bool, err error)
	RecordStage(ctx context.Context, s Stage) error
	Stages(ctx context.Context, runID string) ([]Stage, error)
	// FinishRun closes the run. One that is closed already is ErrConflict.
	FinishRun(ctx context.Context, runID string, at time.Time, exit int, summary []byte) error
	Run(ctx context.Context, id string) (Run, error) // ErrNotFound
	// LastRuns gives the newest first.
	LastRuns(ctx context.Context, limit int) ([]Run, error)
	// EndedRuns gives the ids of all runs that ended, the oldest first.
	EndedRuns(ctx context.Context) ([]string, error)
}

// Decided is a set of card fields that we decided and that no extract has shown yet.
type Decided uint8

// The fields an extract may not overwrite until it has shown our value once.
const (
	DecidedPAN Decided = 1 << iota
	DecidedPSN
	DecidedExpiry
	DecidedStatus
	DecidedShipment
)

// Known is a card of the registry.
type Known struct {
	rules.Card
	Decided Decided
}

// CardWrite inserts a card or replaces all its fields (never its successor, which only a commit of decisions sets).
type CardWrite struct {
	Card    extract.Card
	Decided Decided
	// Activated closes the newest shipment of the card, if it is under way, as ACTIVATED: an extract moved the card
	// from CREATED to NORMAL.
	Activated bool
	At        time.Time
}

// Registry is the card registry.
type Registry interface {
	// Cards gives those of ids that exist, each with the newest and the open embossing of its whole chain of
	// replacements. ids need not be sorted; many ids are read by an ordered scan, not one by one (ids that lie close
	// together cost least). Newest is by the time sent, for an open one by the time ordered. A shipment that the
	// extract told of counts as an embossing without UID, its state the extract's.
	Cards(ctx context.Context, ids []int64) (map[int64]*Known, error)
	// StoreCards writes cards. A PAN and PSN that another card already has is that card's error in the result
	// (same index, nil for stored); the others are stored. 20,000 cards a call are quicker than 2,000: the index of
	// keyed hashes is touched everywhere by every call.
	StoreCards(ctx context.Context, cards []CardWrite, entry AuditEntry) ([]error, error)
	// KnownPANs says which of pans the index knows (any PSN).
	KnownPANs(ctx context.Context, pans []iso.PAN) ([]bool, error)
	// PSNs gives the PSNs, rising, that this card number is not to get: those under which the registry has it (several cards may share one),
	// those of every order that embossed one of these cards, whatever an extract says since (but for CANCELLED ones), and those that a restoration passed over.
	PSNs(ctx context.Context, pan iso.PAN) ([]int, error)
	// Expiries gives those of every order that embossed the card, oldest first, whatever became of it, but for CANCELLED ones: no plastic has theirs.
	Expiries(ctx context.Context, cardID int64) ([]iso.Expiry, error)
	// CountCards is the number of cards.
	CountCards(ctx context.Context) (int64, error)
}

// ErrPANTaken is StoreCards' per-card error.
var ErrPANTaken = errors.New("another card has this card number and PSN")

// FileState is the way of a request file.
type FileState string

// States of a request file or a card extract.
const (
	Claiming FileState = "CLAIMING" // about to be renamed into state/intake
	Claimed  FileState = "CLAIMED"  // ours; not yet read to its end
	Checked  FileState = "CHECKED"  // read to its end once; its rows may be decided
	DecidedF FileState = "DECIDED"  // every row has its answer, or the file as a whole has
	Answered FileState = "ANSWERED" // results written, file at its last place
)

// RequestFile is a file that was taken from the inbox.
type RequestFile struct {
	ID        int64
	RunID     string
	Extract   bool   // a card master extract, not a request file
	Name      string // the sender's, base name
	Intake    string // path relative to the workspace while it is ours
	SHA256    string // hex, of the bytes; of a signed file, of what was signed
	Size      int64
	State     FileState
	Code      rules.Code // "" or why it was refused as a whole (also duplicate_file)
	Detail    string
	Rows      int64    // rows read in the check
	HoldsPAN  bool     // some cell is a card number that the index knows: the original is kept sealed
	Notes     []string // for the report: hidden sheets not read, encoding found, …
	Final     string   // path relative to the workspace where it (or its sealed form) lies
	ClaimedAt time.Time
	Submitter string // the person of the configuration whose signature was verified; "" for a file that is not signed
	Signer    string // fingerprint of that person's key then: the configuration may call the person otherwise later. "" also for a file from before this was kept
	Owner     string // login of the owner of the file in the inbox; "" where it is not known
	Approval  string // name of the hold that a signed approval file decides; "" for any other file
}

// Answer is what became of one row.
type Answer struct {
	FileID        int64
	Pos           int // of the row in the file, from 1; 0: the file as a whole
	RunID         string
	Sheet         string
	Line          int
	Kind          request.Kind // "" for a file as a whole
	CardID        string       // as the sender wrote it, masked when it is a card number
	Outcome       rules.Outcome
	Class         int // 201 202 400 403 404 409 412 500
	Code          rules.Code
	Codes         []rules.Code // all, in the vocabulary's order
	Message       string
	Reference     string
	Submitter     string
	ContentDigest string // keyed, of the known fields
	RowDigest     string // keyed, of all cells
	Reason        int    // reason code once understood, else 0
	// OrderUID is the order of an accepted row; of a duplicate by reference, the first one's.
	OrderUID string
}

// Intake is the way of files from the inbox to their last place.
type Intake interface {
	// AddFile records a file about to be claimed and gives its id.
	AddFile(ctx context.Context, f RequestFile) (int64, error)
	// UpdateFile replaces the record of f.ID (ErrNotFound). With answer set (a file refused as a whole), that row 0
	// goes in with it; one that is already there is ErrConflict.
	UpdateFile(ctx context.Context, f RequestFile, answer *Answer, entry *AuditEntry) error
	// OpenFiles gives files that are not ANSWERED, in the order of their ids.
	OpenFiles(ctx context.Context) ([]RequestFile, error)
	// RunFiles gives the files answered or claimed in a run.
	RunFiles(ctx context.Context, runID string) ([]RequestFile, error)
	// SameContent finds the first other request file (not an extract, another id) with this SHA-256, claimed since or
	// later, that had an accepted row; ErrNotFound.
	SameContent(ctx context.Context, sha256 string, since time.Time, not int64) (RequestFile, error)
	// DropFile forgets a file that was recorded but never claimed; any other is ErrConflict.
	DropFile(ctx context.Context, id int64) error
}

// OrderState is the way of one embossing.
type OrderState string

// States of an order. Between PLANNED and SENT the state of its file tells more. QUEUED and PLANNED are open: a card has at most one open order.
// A CANCELLED one never was in a file that left, and counts for nothing: not as an embossing of its card, its expiry, or a reissue.
const (
	Queued    OrderState = "QUEUED"
	PlannedO  OrderState = "PLANNED" // in a file that the bureau does not have: not sent yet, or refused as a whole
	SentO     OrderState = "SENT"    // handed over, nothing heard: outstanding
	Acked     OrderState = "ACKED"
	Rejected  OrderState = "REJECTED"
	Produced  OrderState = "PRODUCED"
	Shipped   OrderState = "SHIPPED"
	Delivered OrderState = "DELIVERED"
	Returned  OrderState = "RETURNED"
	Lost      OrderState = "LOST"
	Activated OrderState = "ACTIVATED" // an extract showed the card in use
	Cancelled OrderState = "CANCELLED" // with the hold in which it waited
)

// NewPIN says whether an order's card needs a new PIN, and where it comes from.
type NewPIN string

// Kinds of new PINs. They are decided with the order and stay, whatever the configuration says later.
const (
	NoNewPIN  NewPIN = ""     // the number is kept, and the PIN with it; or the product has none
	PINInFile NewPIN = "file" // made here, once, for a PIN file
	PINDue    NewPIN = "due"  // somebody else makes it
)

// Order is one embossing that was accepted.
type Order struct {
	UID              string // 20 characters, rising with time, unique for ever
	RunID            string
	FileID           int64 // request file
	Pos              int
	Kind             request.Kind
	CardID           int64   // the card of the request
	EmbossedCardID   int64   // the card whose plastic is made (another one after a new number)
	PAN              iso.PAN // of the embossed card; sealed in the store
	PSN              int
	Expiry           iso.Expiry
	Reason           int
	Type             int
	TypeDerived      bool
	Bureau           string
	Product          string
	SortKey          string // records that the layout wants together have equal beginnings
	State            OrderState
	ShippingMethod   int
	ExpectedDelivery string // YYYY-MM-DD
	Fee              string
	Status           string // of the embossed card after the order
	OldStatus        string // of the requested card after the order
	NewPIN           NewPIN
	Reembossing      int    // the how-manieth re-embossing of its card this is, from 1; 0 for a reissue; counted by the ledger
	Record           []byte // the layout record without its secrets, JSON
	Decision         []byte // why: rules.Decision.Because, JSON
	CreatedAt        time.Time
	// MayBeHeld says, when the order is committed, that its card is kept as it was before: its bureau's files may be held, and a held one cancelled.
	MayBeHeld bool
	HoldID    int64 // in which it waits, or was cancelled; 0 for none
	// Of its bureau file, once planned.
	BureauFileID int64
	FileName     string
	Sequence     int64
	SentAt       time.Time
}

// NewCard is a card record made by a new-number reissue.
type NewCard struct {
	Card        extract.Card
	Predecessor int64
}

// CardChange is what a decision changes of a card; nil pointers leave a field alone.
type CardChange struct {
	ID        int64
	Status    *string
	PSN       *int
	Expiry    *iso.Expiry
	StartDate *time.Time
	// What the next embossing must repeat; nil leaves each alone.
	ValidityMonths *int
	CVKRef         *string
	PrintedName    *string
	Successor      int64 // 0 leaves it alone
	// CloseTransit closes the newest shipment of the card (order or imported) as RETURNED.
	CloseTransit bool
}

// Advance moves a counter from an expected value to a new one; a different stored value is ErrConflict.
type Advance struct {
	Counter  string
	From, To int64
}

// Chunk is a bounded set of answers with all that follows from them, committed together. Its RunID and FileID are
// those of every answer and order in it. Every accepted answer names one order of the chunk, every order is named
// by the accepted answer at its Pos.
type Chunk struct {
	RunID    string
	FileID   int64
	At       time.Time
	Answers  []Answer
	Orders   []Order
	NewCards []NewCard
	Changes  []CardChange
	Advances []Advance
	Entry    *AuditEntry
}

// RangeParams are recorded at a range's first use and may never change under it.
type RangeParams struct {
	Name, Prefix, Key, Tweak string
	PANLength                int
	From, To                 int64
}

// Prior is the accepted request that first used a reference.
type Prior struct {
	rules.Prior
	Answer Answer
}

// Deciding is what the stages decide and issue need.
type Deciding interface {
	// References finds, for each reference in refs that an accepted request used, that request.
	References(ctx context.Context, refs []string) (map[string]Prior, error)
	// LastPos is the position of the last row of the file that has an answer; 0 for none.
	LastPos(ctx context.Context, fileID int64) (int, error)
	// AcceptedOf counts the rows of files signed by a submitter that the runs of a local date (YYYY-MM-DD) accepted.
	AcceptedOf(ctx context.Context, submitter, date string) (int64, error)
	// Counter gives a counter's value, 0 if it was never moved. Names: "sequence/<recipient>", "begun/<recipient>", "range/<name>", "card-id", "runs"
	// (how many were ever opened), "run/<date>" (the last number that a run of that date may have, where a restoration set it).
	Counter(ctx context.Context, name string) (int64, error)
	// Counters gives all of them, for the high-water marks.
	Counters(ctx context.Context) (map[string]int64, error)
	// EnsureRange records p at first use; later it compares (ErrRangeChanged).
	EnsureRange(ctx context.Context, p RangeParams) error
	// CommitChunk writes c whole or not at all, in the order counters, shipments closed, new cards, changes, orders,
	// answers. ErrConflict: an answer that is already there for its (file, pos); a counter that is not at From; an
	// order whose UID was used, or whose requested or embossed card has an open order in either role; a reference that
	// an accepted row claimed before; a changed card that does not exist or has another successor; a new card whose id
	// is taken or (also ErrPANTaken) whose PAN and PSN are; a run that is finished. What it sets on cards is marked as
	// decided: PAN, PSN, expiry and status of a new card, those set on a changed one, the shipment that it closes.
	// An order's Reembossing is counted, not taken from c.
	CommitChunk(ctx context.Context, c Chunk) error
}

// BureauFileState is the way of an outgoing file.
type BureauFileState string

// States of an outgoing file (files.md: a public promise).
const (
	Planned   BureauFileState = "PLANNED"   // number, name, orders and digest are fixed
	Written   BureauFileState = "WRITTEN"   // its sealed bytes are frozen in the outbox
	Intent    BureauFileState = "INTENT"    // a transfer began
	Uploaded  BureauFileState = "UPLOADED"  // whole under its temporary name
	Renaming  BureauFileState = "RENAMING"  // the rename may have happened
	Sent      BureauFileState = "SENT"      // with evidence
	Undecided BureauFileState = "UNDECIDED" // nobody can know; a person, or the bureau's acknowledgement, decides
	Refused   BureauFileState = "REFUSED"   // the bureau refused it as a whole; a person decides: the same bytes again, or cancel
	Void      BureauFileState = "VOID"      // cancelled: its number is used up and stands for nothing; its orders went to a later file
)

// BureauFile is a sealed file for a bureau, for the card system or for whoever gets the PINs.
type BureauFile struct {
	ID           int64
	Recipient    string // bureau, "card-system" or "pins"
	Sequence     int64  // from 1, no gap, no repeat
	Name         string
	State        BureauFileState
	RunID        string // that planned it
	PlannedAt    time.Time
	Records      int64
	HoldID       int64  // of the hold that it is made of; 0: of the queue
	Layout       string // name and version
	LayoutText   []byte // the description itself, so that a later configuration cannot change the file
	Head         []byte // JSON: what the layout's header needs, fixed in the plan
	PlainDigest  string // keyed digest of the clear text; of a PIN file until it is Written, of all but its PINs
	RecipientKey string // fingerprint
	SigningKey   string // fingerprint
	Size         int64  // sealed bytes
	SHA256       string // of the sealed bytes
	WrittenAt    time.Time
	SentAt       time.Time
	SentRunID    string
	Evidence     []byte // JSON, of the newest delivery
	LastError    string // why it is not sent, one sentence; "" when nothing is wrong
}

// Plan is a bureau file to be: it takes the number Sequence and the first Records orders of the recipient's queue, or
// exactly those of the APPROVED hold File.HoldID.
type Plan struct {
	File  BureauFile
	Entry AuditEntry
}

// FileChange moves an outgoing file from one state to the next.
type FileChange struct {
	FileID int64
	From   []BureauFileState // the stored state must be one of them, else ErrConflict
	To     BureauFileState
	At     time.Time
	RunID  string
	// Size and SHA256 are stored when To is Written, where both are needed and may not differ from those of an earlier
	// time (ErrConflict). Evidence, SentAt and SentRunID are stored when To is Sent, where Evidence is needed; the orders
	// of a bureau's file become SENT. A card system file and a PIN file change no order.
	Size     int64
	SHA256   string
	Evidence []byte
	// PlainDigest replaces the plan's when a PIN file becomes Written: PINs are made with the bytes, so that only then
	// the whole text has one. It is needed there, may not differ from that of an earlier time (ErrConflict), and is
	// refused for any other file.
	PlainDigest string
	Error       string // becomes LastError
	Reason      string // a person's, for resend and resolve
	Entry       *AuditEntry
}

// Delivery is one step in the history of an outgoing file.
type Delivery struct {
	FileID   int64
	RunID    string
	At       time.Time
	State    BureauFileState
	Error    string
	Reason   string
	Evidence []byte
}

// Queue is what waits for a recipient's next file.
type Queue struct {
	Recipient string
	Orders    int64
	Disputed  int64 // of them, those that a disputed event keeps back
}

// Files is what the stages write, release and send need.
type Files interface {
	// Queues counts the orders that are in no file of their recipient yet: for a bureau its QUEUED orders that are in no hold, for
	// "card-system" the reissue orders that are in a bureau file and in no card system file, for "pins" those of
	// PINInFile that are in a bureau file and in no PIN file.
	// Disputed are those of a bureau of which a disputed event tells that waits for a person, or that left a VOID file of which one tells: they go into
	// no file and no hold before it is settled.
	Queues(ctx context.Context) ([]Queue, error)
	// EachQueued gives the first limit (0: all) of the others in file order: by SortKey, then UID; for the card system and for PINs by UID. PAN opened.
	EachQueued(ctx context.Context, recipient string, limit int64, fn func(*Order) error) error
	// PlanFile takes the next sequence of the recipient (it must equal File.Sequence, else ErrConflict), stores the
	// plan and puts the first File.Records queued orders, or those of the hold, into it, in one transaction. Fewer orders than that, or a name
	// that was ever used, are ErrConflict, and so is a hold that is not APPROVED, or planned. The counter "sequence/<recipient>" moves with it.
	PlanFile(ctx context.Context, p Plan) (int64, error)
	// CancelFile makes a file that the bureau REFUSED, that is PLANNED and was never written, that is UNDECIDED, or that is WRITTEN, INTENT or UPLOADED
	// and was never SENT, VOID. Its orders that are PLANNED become QUEUED for the
	// bureau's next file; those of a card system file stand in its queue again. Each move is recorded; it gives how many. Any other state is
	// ErrConflict. The number stays used. From and To of c are not looked at.
	CancelFile(ctx context.Context, c FileChange) (moved int64, err error)
	// EachFileOrder gives the orders of a file in file order.
	EachFileOrder(ctx context.Context, fileID int64, fn func(*Order) error) error
	// AskedSince counts the cards of a bureau's file that were asked for again by a later order which was not cancelled, or that
	// were replaced, and gives the lowest of their ids (0 for none): sending the file once more would make them twice.
	AskedSince(ctx context.Context, fileID int64) (cards, first int64, err error)
	// OrderStates counts the orders of a file by their state.
	OrderStates(ctx context.Context, fileID int64) (map[OrderState]int64, error)
	// ChangeFile moves a file on and records the step in its history, also a step to the state that it has. The first step beyond WRITTEN
	// raises the counter "begun/<recipient>" to the file's sequence: from there on the file may have left the house. To VOID leads
	// CancelFile only, from SENT to REFUSED only what the bureau says (FileAnswer).
	ChangeFile(ctx context.Context, c FileChange) error
	// BureauFiles gives files in the order recipient, sequence. States empty: every state. RunID empty: every run; else files planned or sent in it.
	BureauFiles(ctx context.Context, q FileQuery) ([]BureauFile, error)
	// FileByName finds one by its name; ErrNotFound.
	FileByName(ctx context.Context, name string) (BureauFile, error)
	// Deliveries is the history of a file, oldest first.
	Deliveries(ctx context.Context, fileID int64) ([]Delivery, error)
}

// FileQuery chooses bureau files.
type FileQuery struct {
	RunID  string
	States []BureauFileState
	Brief  bool // without LayoutText, Head and Evidence
}

// Told is an answer with all that a result, a report or an event says of it.
type Told struct {
	Answer
	FileName string // of the request file
	// Order is nil unless accepted (or a duplicate by reference of an accepted one).
	Order *Order
	// Card is nil when the registry has none. Its PAN is the requested card's.
	Card *extract.Card
	// BureauFileState of the order's file, "" while queued.
	BureauFileState BureauFileState
}

// Tally counts answers that agree in all of its fields. Product and Bureau are those of an accepted row's order.
type Tally struct {
	Kind    request.Kind
	Outcome rules.Outcome
	Code    rules.Code
	Reason  int
	Product string
	Bureau  string
	N       int64
}

// Waiting counts accepted orders that are in no written file.
type Waiting struct {
	RunID  string // that accepted them
	Bureau string
	Hold   string // name of the hold in which they wait, "" for none
	Orders int64
}

// Reading is what reports need.
type Reading interface {
	// EachTold gives the answers of a file in row order (fileID > 0, of every run) or of a run in (file, row) order
	// (fileID 0), each with its order and card.
	EachTold(ctx context.Context, runID string, fileID int64, fn func(*Told) error) error
	// EachAnswer is EachTold without orders and cards, several times as quick.
	EachAnswer(ctx context.Context, runID string, fileID int64, fn func(*Answer) error) error
	// Tallies counts a run's answers.
	Tallies(ctx context.Context, runID string) ([]Tally, error)
	// FileTallies counts the answers of one request file.
	FileTallies(ctx context.Context, fileID int64) ([]Tally, error)
	// Waits counts, over all runs, accepted orders that are QUEUED or whose bureau file is only PLANNED.
	Waits(ctx context.Context) ([]Waiting, error)
	// WrittenOf counts the orders accepted in acceptedIn ("" any) that stand in bureau files written (state beyond PLANNED) in or before now; per bureau.
	WrittenOf(ctx context.Context, acceptedIn string) (map[string]int64, error)
	// NewPINs counts the orders accepted in a run that need a new PIN, by where it comes from.
	NewPINs(ctx context.Context, acceptedIn string) (map[NewPIN]int64, error)
}

// AuditEntry is one line of the audit chain.
type AuditEntry struct {
	Seq     int64 // from 1
	At      time.Time
	Who     string // user@host
	What    string // run.started, file.taken, cards.imported, orders.accepted, file.planned, file.sent, file.resolved …
	Subject string
	Detail  string // never card data
	Hash    string // hex SHA-256 over the previous entry's hash and this one's fields
}

// Audit is append-only; each entry's hash covers the one before it.
type Audit interface {
	Append(ctx context.Context, e AuditEntry) error
	// EachAudit gives the entries in order with their stored hashes.
	EachAudit(ctx context.Context, fn func(AuditEntry) error) error
	// AuditHead is the newest entry's number and hash.
	AuditHead(ctx context.Context) (Chain, error)
	// VerifyAudit recomputes the chain (see Chain); the error wraps ErrAuditBroken and names the first entry that does
	// not hold: changed, removed (the newest ones too), or in another place.
	VerifyAudit(ctx context.Context) error
}
