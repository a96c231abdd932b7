package batch

import (
	"context"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// CardHistory is all that happened to a card and to those that it replaced or
// that replaced it: `reemboss card ID`. Card numbers are masked.
type CardHistory struct {
	CardID     int64             `json:"card_id"`
	CardNumber string            `json:"card_number"`
	PSN        int               `json:"psn"`
	Expiry     string            `json:"expiry"` // YYYY-MM
	Status     string            `json:"status"`
	Product    string            `json:"product"`
	ProgramID  string            `json:"program_id"`
	ReplacedBy int64             `json:"replaced_by,omitempty"`
	Imported   *ImportedShipment `json:"imported_shipment,omitempty"`
	Shipments  []ShipmentHistory `json:"shipments"`
}

// ImportedShipment is what the extract told of a card's shipment.
type ImportedShipment struct {
	State string     `json:"state"`
	At    *time.Time `json:"at,omitempty"`
}

// ShipmentHistory is one embossing from the request to its end.
type ShipmentHistory struct {
	UID              string            `json:"uid"`
	Request          string            `json:"request"`
	Reason           int               `json:"reason_code,omitempty"`
	Reembossing      int               `json:"reembossing_counter,omitempty"`
	RunID            string            `json:"run_id"`
	CardID           int64             `json:"card_id"`          // of the request
	EmbossedCardID   int64             `json:"embossed_card_id"` // whose plastic was made
	CardNumber       string            `json:"card_number"`
	PSN              int               `json:"psn"`
	Expiry           string            `json:"expiry"`
	Bureau           string            `json:"bureau"`
	FileName         string            `json:"file_name,omitempty"`
	Sequence         int64             `json:"sequence,omitempty"`
	Hold             string            `json:"hold,omitempty"` // in which it waits, or was cancelled
	State            ledger.OrderState `json:"state"`
	AcceptedAt       time.Time         `json:"accepted_at"`
	SentAt           *time.Time        `json:"sent_at,omitempty"`
	ExpectedDelivery string            `json:"expected_delivery_date,omitempty"`
	Events           []EventHistory    `json:"events"`
}

// EventHistory is one thing that was told of a shipment.
type EventHistory struct {
	Event          int64             `json:"event"` // its number, for reemboss settle
	At             time.Time         `json:"at"`
	Status         string            `json:"status"`
	State          ledger.OrderState `json:"state,omitempty"` // what the shipment became by it
	Source         string            `json:"source"`
	Code           string            `json:"code,omitempty"`
	Description    string            `json:"description,omitempty"`
	Carrier        string            `json:"carrier,omitempty"`
	TrackingNumber string            `json:"tracking_number,omitempty"`
	FileName       string            `json:"file_name,omitempty"` // the bureau file that the card was in then
	ReturnFile     string            `json:"return_file,omitempty"`
	Line           int               `json:"line,omitempty"`
	KnownSince     time.Time         `json:"known_since"`
	Dispute        string            `json:"dispute,omitempty"`
	Settlement     string            `json:"settlement,omitempty"`
}

// Card tells the whole history of a card, found by its id or by the uid of an embossing.
func (n *Night) Card(ctx context.Context, which string) (*CardHistory, error) {
	id, ok := rules.ParseCardID(which)
	if !ok {
		found, err := n.Ledger.Shipments(ctx, []string{which})
		if err != nil {
			return nil, err
		}
		if found[which] == nil {
			return nil, setup("%s is neither a card id nor the uid of an embossing; outstanding.csv and underway.csv have both", n.masker(ctx)(printable(which)))
		}
		id = found[which].EmbossedCardID
	}
	cards, err := n.Ledger.Cards(ctx, []int64{id})
	if err != nil {
		return nil, err
	}
	card := cards[id]
	if card == nil {
		return nil, setup("there is no card %s in the registry; cards come in with reemboss cards import", n.masker(ctx)(which))
	}
	h := &CardHistory{CardID: id, CardNumber: card.PAN.Masked(), PSN: card.PSN, Expiry: card.Expiry.String(), Status: card.Status,
		Product: card.Product, ProgramID: card.ProgramID, ReplacedBy: card.Successor, Shipments: []ShipmentHistory{}}
	if card.ShipmentStatus != "" {
		h.Imported = &ImportedShipment{State: card.ShipmentStatus, At: timeOrNil(card.ShippedAt)}
	}
	shipments, err := n.Ledger.CardShipments(ctx, id)
	if err != nil {
		return nil, err
	}
	names, err := n.fileNames(ctx)
	if err != nil {
		return nil, err
	}
	for i := range shipments {
		h.Shipments = append(h.Shipments, shipmentHistory(&shipments[i], names))
	}
	return h, nil
}

// fileNames are the names of return files, of bureau files and of holds by their ids.
type fileNames struct{ returned, sent, held map[int64]string }

func (n *Night) fileNames(ctx context.Context) (fileNames, error) {
	names := fileNames{map[int64]string{}, map[int64]string{}, map[int64]string{}}
	holds, err := n.Ledger.Holds(ctx, ledger.HoldQuery{})
	if err != nil {
		return names, err
	}
	for _, h := range holds {
		names.held[h.ID] = h.Name
	}
	files, err := n.Ledger.ReturnFiles(ctx, ledger.ReturnQuery{})
	if err != nil {
		return names, err
	}
	for _, f := range files {
		names.returned[f.ID] = f.Name
	}
	sent, err := n.Ledger.BureauFiles(ctx, ledger.FileQuery{Brief: true})
	for _, f := range sent {
		if !config.Reserved(f.Recipient) {
			names.sent[f.ID] = f.Name
		}
	}
	return names, err
}

func shipmentHistory(s *ledger.Shipment, names fileNames) ShipmentHistory {
	h := ShipmentHistory{
		UID: s.UID, Request: string(s.Kind), Reason: s.Reason, Reembossing: s.Reembossing, RunID: s.RunID, CardID: s.CardID, EmbossedCardID: s.EmbossedCardID,
		CardNumber: s.PAN.Masked(), PSN: s.PSN, Expiry: s.Expiry.String(), Bureau: s.Bureau, FileName: s.FileName, Sequence: s.Sequence, Hold: names.held[s.HoldID], State: s.State,
		AcceptedAt: s.CreatedAt.UTC(), SentAt: timeOrNil(s.SentAt), ExpectedDelivery: s.ExpectedDelivery, Events: []EventHistory{},
	}
	for _, e := range s.Events {
		h.Events = append(h.Events, EventHistory{
			Event: e.ID, At: e.At.UTC(), Status: e.Status, State: e.State, Source: e.Source, Code: e.Code, Description: e.Description, Carrier: e.Carrier,
			TrackingNumber: e.TrackingNumber, ReturnFile: names.returned[e.ReturnID], FileName: names.sent[e.FileID], Line: e.Line, KnownSince: e.RecordedAt.UTC(), Dispute: e.Dispute, Settlement: e.Settlement,
		})
	}
	return h
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
