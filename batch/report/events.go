package report

import (
	"time"
)

// Event types (a public promise). card_rejection and control_post tell what
// came back from a bureau.
const (
	eventReembossing = "cards.reembossing.v1"
	eventReissue     = "cards.reissue.v1"
	eventEmbossing   = "cards.embossing.v1"
	eventSummary     = "cards.embossing_summary.v1"
	eventRejection   = "cards.card_rejection.v1"
	eventPost        = "cards.control_post.v1"
)

// eventSource is the source of every event; with the id it names an event for ever.
const eventSource = "/reemboss"

// Event is a CloudEvent 1.0 in JSON, one line of events.ndjson. Its id depends
// on what the event is about and on nothing else, so that a report which is
// written again repeats the ids and a consumer can drop what it knows.
type Event struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Time            time.Time `json:"time"`
	Subject         string    `json:"subject"`
	DataContentType string    `json:"datacontenttype"`
	Data            any       `json:"data"`
}

// Embosser is a bureau in an event.
type Embosser struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// ValidationResult is the outcome of the checks: type is the answer's code, error its sentence; both empty when all is well.
type ValidationResult struct {
	Type  string `json:"type"`
	Error string `json:"error"`
}

// CardEvent is the data of cards.reembossing.v1: what became of one request.
type CardEvent struct {
	CardID     string           `json:"card_id"` // as requested
	ProgramID  string           `json:"program_id"`
	AccountID  string           `json:"account_id"`
	CustomerID string           `json:"customer_id"`
	CardStatus string           `json:"card_status"`
	Embosser   Embosser         `json:"embosser"`
	Validation ValidationResult `json:"validation_results"`
	Outcome    string           `json:"outcome"`
	UID        string           `json:"uid,omitempty"`
	RunID      string           `json:"run_id"`
}

// ReissueEvent is the data of cards.reissue.v1.
type ReissueEvent struct {
	CardEvent
	ReasonCode           int    `json:"reason_code"`
	ReissueType          int    `json:"reissue_type,omitempty"`
	ReissueTypeDerived   bool   `json:"reissue_type_derived,omitempty"`
	CardNumber           string `json:"card_number,omitempty"` // masked
	NewCardReferenceID   int64  `json:"new_card_reference_id,omitempty"`
	NewCardNumber        string `json:"new_card_number,omitempty"` // masked
	NewExpiry            string `json:"new_expiry,omitempty"`
	Fee                  string `json:"fee,omitempty"`
	ExpectedDeliveryDate string `json:"expected_delivery_date,omitempty"`
	TransactionID        string `json:"transaction_id,omitempty"`
	ResponseCode         string `json:"response_code"`
	ResponseDescription  string `json:"response_description"`
	OldCardStatus        string `json:"old_card_status,omitempty"`
	NewCardStatus        string `json:"new_card_status,omitempty"`
	NewPIN               string `json:"new_pin,omitempty"` // file: a PIN file has it; due: somebody else makes it; empty: none is needed
}

// EmbossingEvent is the data of cards.embossing.v1: one record of a bureau
// file, or a card whose record could not be made (error_type not empty).
type EmbossingEvent struct {
	CardEvent
	EmbossingGroup     string `json:"embossing_group"`
	ErrorType          string `json:"error_type"`
	ErrorMessage       string `json:"error_message"`
	Reembossing        bool   `json:"reembossing"`
	ReembossingCounter int    `json:"reembossing_counter"` // the how-manieth re-embossing of the card, from 1; 0 for a reissue
	Tracking           string `json:"tracking"`            // file name
}

// SummaryEvent is the data of cards.embossing_summary.v1.
type SummaryEvent struct {
	FileID             string    `json:"file_id"`
	ProgramID          string    `json:"program_id"` // several, joined by a comma, where the file has cards of several
	EmbosserID         string    `json:"embosser_id"`
	EmbossingTime      time.Time `json:"embossing_time"`
	FileName           string    `json:"file_name"`
	GenerationDate     string    `json:"generation_date"`
	SequentialNumber   int64     `json:"sequential_number"`
	TotalEmbossedCards int64     `json:"total_embossed_cards"`
}

// RejectionEvent is the data of cards.card_rejection.v1: a bureau rejected one
// record, in its own code and words, or (code cancelled, no file name) a person
// cancelled the hold in which it waited. The outcome is rejected or cancelled,
// and the run the one in which it became known.
type RejectionEvent struct {
	CardEvent
	ErrorCode        string    `json:"error_code"`
	ErrorDescription string    `json:"error_description"`
	Tracking         string    `json:"tracking"` // file name
	OccurredAt       time.Time `json:"occurred_at"`
}

// PostEvent is the data of cards.control_post.v1: what happened to the plastic
// on its way. The outcome is shipped, delivered, returned or lost.
type PostEvent struct {
	CardEvent
	Status         string    `json:"status"` // SHIPPED, DELIVERED, RETURNED, LOST
	Carrier        string    `json:"carrier"`
	TrackingNumber string    `json:"tracking_number"`
	OccurredAt     time.Time `json:"occurred_at"`
	Tracking       string    `json:"tracking"` // file name
}
