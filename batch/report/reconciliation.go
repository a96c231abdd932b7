package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// Reconciliation is what a run tells: reconciliation.json, and what the page
// and the workbook show. The fields shared with
// `run --json` and `status --json` keep their names for ever; fields are only
// ever added.
type Reconciliation struct {
	RunID     string    `json:"run_id"`
	Date      string    `json:"date"`
	StartedAt time.Time `json:"started_at"`
	Host      string    `json:"host,omitempty"`
	Version   string    `json:"version,omitempty"`
	Starts    int       `json:"starts"`
	Verdict   string    `json:"verdict"`
	ExitCode  int       `json:"exit_code"`

	// Read counts answers: one for each row, and one for a file refused as a whole.
	Read      int64 `json:"read"`
	Accepted  int64 `json:"accepted"`
	Refused   int64 `json:"refused"`
	Duplicate int64 `json:"duplicate"`
	Held      int64 `json:"held"`
	Written   int64 `json:"written"`   // of the orders accepted in this run
	Waiting   int64 `json:"waiting"`   // likewise
	Cancelled int64 `json:"cancelled"` // likewise: with a file that was held

	PINsDue     int64 `json:"pins_due"`     // new PINs of orders accepted in this run that somebody else makes
	PINsWritten int64 `json:"pins_written"` // made in this run, in PIN files
	PINsWaiting int64 `json:"pins_waiting"` // promised, of cards in a bureau's file, and in no written PIN file yet; of every run

	Balances    []Balance   `json:"balances"` // those that do not hold first
	CarriedOver CarriedOver `json:"carried_over"`
	NeedsPerson []Need      `json:"needs_person"`
	Waits       []Wait      `json:"waits"`

	// Cards of every file up to this run, as they are now: Outstanding ones are sent and not answered, those UnderWay are
	// acknowledged, produced or shipped and not at their end.
	Outstanding int64        `json:"outstanding"`
	UnderWay    int64        `json:"under_way"`
	ByState     []StateCount `json:"by_state"` // of the files listed below

	Files           []BureauFile  `json:"files"`
	OpenFiles       []BureauFile  `json:"open_files"` // of earlier runs, without news: something of them is still awaited
	CardSystemFiles []BureauFile  `json:"card_system_files"`
	PINFiles        []BureauFile  `json:"pin_files"`
	RequestFiles    []RequestFile `json:"request_files"`

	Returns []ReturnFile `json:"returns"` // read, settled or refused in this run
	Events  []EventCount `json:"events"`  // of cards, that became known in this run
	Ageing  []BureauAge  `json:"ageing"`
	Nights  []NightTold  `json:"nights"` // the last of them, this one included, oldest first

	ByBureau  []BureauCount  `json:"by_bureau"`
	ByReason  []ReasonCount  `json:"by_reason"`
	ByCode    []CodeCount    `json:"by_code"`
	ByProduct []ProductCount `json:"by_product"`

	Stages    []Stage  `json:"stages"`
	KeyExpiry []Key    `json:"key_expiry"`
	Ranges    []Range  `json:"ranges"`
	Warnings  []string `json:"warnings"`
	Notes     []string `json:"notes"`

	refusals []refusal // the first maxShown, for page and workbook
}

// ListedFiles are Files and OpenFiles together, in the order of bureau and number.
func (r *Reconciliation) ListedFiles() []BureauFile {
	all := slices.Concat(r.Files, r.OpenFiles)
	slices.SortStableFunc(all, func(a, b BureauFile) int {
		return cmp.Or(cmp.Compare(a.Bureau, b.Bureau), cmp.Compare(a.Sequence, b.Sequence))
	})
	return all
}

// counts are the numbers of the night in the order in which they follow from each other.
func (r *Reconciliation) counts() []Term {
	return []Term{
		{"read", r.Read}, {"accepted", r.Accepted}, {"refused", r.Refused}, {"duplicate", r.Duplicate}, {"held", r.Held},
		{"written", r.Written}, {"waiting", r.Waiting}, {"cancelled", r.Cancelled},
	}
}

// Balance is one equation that must hold: Left is one side, the sum of Right the other.
type Balance struct {
	Name  string `json:"name"`
	Holds bool   `json:"holds"`
	Left  Term   `json:"left"`
	Right []Term `json:"right"`

	ofFile bool // of one bureau file
}

// Term is one named number of a balance.
type Term struct {
	Name string `json:"name"`
	N    int64  `json:"n"`
}

// Sum is the right side.
func (b Balance) Sum() int64 {
	var sum int64
	for _, t := range b.Right {
		sum += t.N
	}
	return sum
}

// CarriedOver counts orders that earlier runs accepted and left to this one:
// Before = Written (in this run) + Waiting (still) + Cancelled (since the run before, or in this one).
type CarriedOver struct {
	Before    int64 `json:"before"`
	Written   int64 `json:"written"`
	Waiting   int64 `json:"waiting"`
	Cancelled int64 `json:"cancelled"`
}

// Need is something that a person must settle, with the command that does it.
type Need struct {
	What    string `json:"what"`
	Why     string `json:"why"`
	Command string `json:"command"`
	// Or holds further commands to choose from.
	Or []string `json:"or,omitempty"`
}

// Wait counts accepted orders that are in no written file.
type Wait struct {
	RunID  string `json:"run_id"` // that accepted them
	Bureau string `json:"bureau"`
	Orders int64  `json:"orders"`
	Hold   string `json:"hold,omitempty"` // in which they wait
	Reason string `json:"reason"`
}

// BureauFile is one outgoing file: of this run, or of an earlier one while it
// is not settled. Sent = Acknowledged + Rejected + Outstanding, in records;
// of a cancelled file, Sent are the records that were not moved to a later one.
type BureauFile struct {
	Bureau       string                 `json:"bureau"`
	Name         string                 `json:"name"`
	Sequence     int64                  `json:"sequence"`
	Records      int64                  `json:"records"`
	Size         int64                  `json:"size"`
	SHA256       string                 `json:"sha256"`
	State        ledger.BureauFileState `json:"state"`
	Sent         int64                  `json:"sent"`
	Acknowledged int64                  `json:"acknowledged"`
	Rejected     int64                  `json:"rejected"`
	Outstanding  int64                  `json:"outstanding"`
	// Moved are records of a cancelled file that went into a later one.
	Moved    int64                       `json:"moved,omitempty"`
	ByState  map[ledger.OrderState]int64 `json:"by_state,omitempty"` // its orders
	Balanced bool                        `json:"balanced"`           // every equation of it holds
	RunID    string                      `json:"run_id"`             // that planned it
	SentAt   *time.Time                  `json:"sent_at,omitempty"`
	Error    string                      `json:"error,omitempty"`
	// Hold is there where this is no file yet, or never was: a hold, HELD or CANCELLED, without a number.
	Hold *HoldTold `json:"hold,omitempty"`
}

// RequestFile is one file that was taken from the inbox, with what became of its rows.
type RequestFile struct {
	Name      string           `json:"name"`
	Kind      string           `json:"kind"` // requests, cards, or approval
	State     ledger.FileState `json:"state"`
	SHA256    string           `json:"sha256"`
	Code      rules.Code       `json:"code,omitempty"` // refused as a whole
	Detail    string           `json:"detail,omitempty"`
	Rows      int64            `json:"rows"`
	Accepted  int64            `json:"accepted"`
	Refused   int64            `json:"refused"`
	Duplicate int64            `json:"duplicate"`
	Held      int64            `json:"held"`
	Final     string           `json:"final,omitempty"`
	SignedBy  string           `json:"signed_by,omitempty"` // a person of the configuration
	Notes     []string         `json:"notes,omitempty"`

	id      int64
	ofRun   bool // taken in this run, not in an earlier one
	answers int64
}

// BureauCount is a bureau's night.
type BureauCount struct {
	Bureau       string `json:"bureau"`
	Name         string `json:"name,omitempty"`
	Acknowledges bool   `json:"acknowledges"`
	Accepted     int64  `json:"accepted"`
	Waiting      int64  `json:"waiting"`
	Written      int64  `json:"written"`      // accepted in this run and written
	Cancelled    int64  `json:"cancelled"`    // accepted in this run and cancelled
	Sent         int64  `json:"sent"`         // records of the files sent in this run
	Acknowledged int64  `json:"acknowledged"` // in this run
	Rejected     int64  `json:"rejected"`     // in this run
	Outstanding  int64  `json:"outstanding"`  // all of its cards that are sent and not answered
	UnderWay     int64  `json:"under_way"`    // all that are answered and not at their end
}

// ReasonCount counts by request and reason; reason 0 is a re-embossing, or a
// reissue whose reason could not be read.
type ReasonCount struct {
	Request string `json:"request"` // reemboss, reissue; "" for a file as a whole
	Reason  int    `json:"reason"`
	Name    string `json:"name"`
	Outcomes
}

// CodeCount counts by code.
type CodeCount struct {
	Code    rules.Code    `json:"code"`
	Outcome rules.Outcome `json:"outcome"`
	N       int64         `json:"n"`
}

// words says what code and outcome leave open: a duplicate by reference repeats
// the first one's code.
func (c CodeCount) words() string {
	if c.Outcome == rules.Duplicate && c.Code == rules.Approved {
		return "asked for before, same reference"
	}
	return ""
}

// ProductCount counts by product: of an accepted row the order's, of any other
// the requested card's; "" where the row names no card that the registry knows.
type ProductCount struct {
	Product string `json:"product"`
	Outcomes
}

// Outcomes counts answers by outcome.
type Outcomes struct {
	Read      int64 `json:"read"`
	Accepted  int64 `json:"accepted"`
	Refused   int64 `json:"refused"`
	Duplicate int64 `json:"duplicate"`
	Held      int64 `json:"held"`
}

func (o *Outcomes) add(outcome rules.Outcome, n int64) {
	o.Read += n
	switch outcome {
	case rules.Accepted:
		o.Accepted += n
	case rules.Refused:
		o.Refused += n
	case rules.Duplicate:
		o.Duplicate += n
	case rules.Held:
		o.Held += n
	}
}

// Stage is the time of one stage, all starts of the run together. The stage
// that writes this report is not in it: it has not ended yet.
type Stage struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	Items   int64   `json:"items"`
}

// Key is a PGP or SSH key with its end.
type Key struct {
	Owner       string     `json:"owner"` // bureau, card-system, pins, the workspace, or a person as "anna (people)"
	Fingerprint string     `json:"fingerprint"`
	Expires     *time.Time `json:"expires,omitempty"` // nil: never
	Problem     string     `json:"problem,omitempty"` // why it cannot be used, one sentence
	Days        int        `json:"days"`              // from the start of the run to Expires; computed
	Signs       bool       `json:"-"`                 // a person's: what it signs is taken, nothing is sealed with it
}

// Range is how full a card number range is. Next is the first body that was
// not given out yet, as the ledger's counter has it plus From.
type Range struct {
	Name     string   `json:"name"`
	Capacity int64    `json:"capacity"`
	Used     int64    `json:"used"`
	Products []string `json:"products,omitempty"` // that draw from it
	Tonight  int64    `json:"tonight"`            // new numbers in this run; computed
	// NightsLeft is how many nights like this one it lasts; -1 when none was used. Computed.
	NightsLeft int64 `json:"nights_left"`
}

// Extra is what the ledger cannot tell.
type Extra struct {
	// Exit is 1 or 5 when the run did not reach its end, Fault then says why in one sentence. 0 lets the report decide between 0 and 4.
	Exit  int
	Fault string
	// Bureaus by their names in the configuration.
	Bureaus map[string]Bureau
	// Reasons is the reason table: name, and whether it takes a new number.
	Reasons map[int]Reason
	Keys    []Key
	Ranges  []Range // Tonight and NightsLeft are filled in
	// NeedsPerson, Warnings and Notes are added to what the ledger shows.
	NeedsPerson []Need
	Warnings    []string
	Notes       []string
	// Mask gives a text with every card number in it masked that is known; nil where nobody can be asked.
	Mask func(text string) string
	// Untaken is how many files of the inbox could not be taken: something came in, and nothing of it was read.
	Untaken int
}

// Bureau is what a report needs of a bureau's configuration.
type Bureau struct {
	Name         string
	Acknowledges bool
	// Calendar counts its working days; nil for calendar days, UTC.
	Calendar Calendar
	SLA      config.SLA
	// Waits says why its orders wait, one sentence; "" when nothing holds them back.
	Waits string
}

// Reason is a row of the reason table.
type Reason struct {
	Name   string
	NewPAN bool
}

// refusal is one answer that is not accepted, as page, workbook and
// refusals.csv show it.
type refusal struct {
	File, Sheet string
	Row         int
	CardID      string
	Request     string
	Outcome     string
	Class       int
	Code, Codes string
	Message     string
}

// CodeList is every code of the refusal.
func (r refusal) CodeList() []string { return strings.Split(r.Codes, ";") }

// StateCount counts the cards in the files of a bureau by the state of their order.
type StateCount struct {
	Bureau string            `json:"bureau"`
	State  ledger.OrderState `json:"state"`
	Cards  int64             `json:"cards"`
}

// Nothing is the reconciliation of a workspace that has had no run: every list is there and empty.
func Nothing() *Reconciliation {
	return &Reconciliation{
		Balances: []Balance{}, NeedsPerson: []Need{}, Waits: []Wait{}, Files: []BureauFile{}, OpenFiles: []BureauFile{}, CardSystemFiles: []BureauFile{}, PINFiles: []BureauFile{}, RequestFiles: []RequestFile{},
		ByState: []StateCount{}, Returns: []ReturnFile{}, Events: []EventCount{}, Ageing: []BureauAge{}, Nights: []NightTold{},
		ByBureau: []BureauCount{}, ByReason: []ReasonCount{}, ByCode: []CodeCount{}, ByProduct: []ProductCount{},
		Stages: []Stage{}, KeyExpiry: []Key{}, Ranges: []Range{}, Warnings: []string{}, Notes: []string{},
	}
}
