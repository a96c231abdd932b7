package batch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/formats/extract"
	"reemboss/formats/iso"
)

// Conflict is a difference between an extract and what we decided; ours stays.
type Conflict struct {
	Field  string
	Detail string
}

// merge lays an extract's card over the one that the registry has. The extract
// wins, but it never moves a terminal status back, and what we decided stays
// until the extract has shown our value once (files.md, "Card master extract").
func merge(have *ledger.Known, card extract.Card, statuses config.Statuses) (ledger.CardWrite, []Conflict) {
	if have == nil {
		return ledger.CardWrite{Card: card}, nil
	}
	m := merging{have: have, card: card, decided: have.Decided}
	m.protect(ledger.DecidedPAN, "pan", have.PAN.Equal(card.PAN), func() { m.card.PAN = have.PAN })
	m.protect(ledger.DecidedPSN, "psn", have.PSN == card.PSN, func() { m.card.PSN = have.PSN })
	m.protect(ledger.DecidedExpiry, "expiry", have.Expiry == card.Expiry, func() { m.card.Expiry = have.Expiry })
	m.status(statuses)
	m.shipment()
	m.embossing()
	return ledger.CardWrite{Card: m.card, Decided: m.decided, Activated: have.Status == "CREATED" && m.card.Status == "NORMAL"}, m.conflicts
}

type merging struct {
	have      *ledger.Known
	card      extract.Card
	decided   ledger.Decided
	conflicts []Conflict
}

// protect keeps our value of a field that we decided; once the extract shows it, the field is the extract's again.
func (m *merging) protect(field ledger.Decided, name string, same bool, keep func()) {
	if m.decided&field == 0 {
		return
	}
	if same {
		m.decided &^= field
		return
	}
	keep()
	m.conflicts = append(m.conflicts, Conflict{Field: name, Detail: fmt.Sprintf("The extract still has another %s than the one that we issued; ours stays until the extract shows it.", name)})
}

func (m *merging) status(s config.Statuses) {
	ours, theirs := m.have.Status, m.card.Status
	keep := func() { m.card.Status = ours }
	// From CREATED a card that we made becomes active by itself: the extract that says so has seen ours.
	same := ours == theirs || ours == "CREATED" && contains(s.Active, theirs)
	m.protect(ledger.DecidedStatus, "status", same, keep)
	if contains(s.Terminal, ours) && !contains(s.Terminal, theirs) && m.card.Status != ours {
		keep()
		m.conflicts = append(m.conflicts, Conflict{Field: "status",
			Detail: fmt.Sprintf("The extract says %s, but the card is %s, which is final; %s stays.", theirs, ours, ours)})
	}
}

// shipment: an extract tells of embossings that were not ours; once we embossed the card, ours count.
func (m *merging) shipment() {
	last := m.have.Last
	ours := last != nil && last.UID != ""
	if m.card.ShipmentStatus == "" {
		m.card.ShipmentStatus, m.card.ShippedAt = m.have.ShipmentStatus, m.have.ShippedAt
		return
	}
	if m.card.ShippedAt.IsZero() && m.card.ShipmentStatus == m.have.ShipmentStatus {
		m.card.ShippedAt = m.have.ShippedAt // "the time of import" is the first one's
	}
	if !ours {
		return
	}
	theirs := m.card
	if shown := m.have.ShippedAt.Equal(last.SentAt); shown && !last.SentAt.IsZero() {
		return // an extract has shown ours before: the shipment is the extract's again
	}
	if !last.SentAt.IsZero() && showsSent(theirs, last.SentAt) {
		m.card.ShippedAt = last.SentAt
		return
	}
	m.card.ShipmentStatus, m.card.ShippedAt = m.have.ShipmentStatus, m.have.ShippedAt
	if theirs.ShipmentStatus != m.have.ShipmentStatus {
		m.conflicts = append(m.conflicts, Conflict{Field: "shipment_status",
			Detail: fmt.Sprintf("The extract says %s, but we embossed this card since; ours counts until an extract has shown it as SENT.", theirs.ShipmentStatus)})
	}
}

// showsSent: the extract knows that the card went out on the day that we sent it, or later. Days are those of the extract's own clocks.
func showsSent(c extract.Card, sentAt time.Time) bool {
	year, month, day := sentAt.In(c.ShippedAt.Location()).Date()
	begins := time.Date(year, month, day, 0, 0, 0, 0, c.ShippedAt.Location())
	return (c.ShipmentStatus == "SENT" || c.ShipmentStatus == "SHIPPED") && (c.ShippedAt.IsZero() || !c.ShippedAt.Before(begins))
}

// embossing: what the next embossing needs to be the same stays where the extract does not say it.
func (m *merging) embossing() {
	if m.card.StartDate.IsZero() && m.card.Expiry == m.have.Expiry {
		m.card.StartDate = m.have.StartDate
	}
	if m.card.ValidityMonths == 0 && m.card.Expiry == m.have.Expiry {
		m.card.ValidityMonths = m.have.ValidityMonths
	}
	if m.card.CVKRef == "" && m.card.Expiry == m.have.Expiry {
		m.card.CVKRef = m.have.CVKRef
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// numberElsewhere names a column, other than pan, that holds a card number:
// the card's own, or one of a configured product (its prefix, length and a right
// check digit). It would lie in clear in the registry.
func (n *Night) numberElsewhere(c extract.Card) (column string, found bool) {
	for _, f := range []struct{ column, value string }{
		{"card_id", strconv.FormatInt(c.ID, 10)}, {"account_id", c.AccountID}, {"customer_id", c.CustomerID}, {"program_id", c.ProgramID},
		{"printed_name", c.PrintedName}, {"first_name", c.FirstName}, {"last_name", c.LastName}, {"company_name", c.CompanyName}, {"title", c.Title},
		{"address_line1", c.Address.Line1}, {"address_line2", c.Address.Line2}, {"address_line3", c.Address.Line3}, {"address_line4", c.Address.Line4},
		{"city", c.Address.City}, {"region", c.Address.Region}, {"postcode", c.Address.Postcode}, {"phone", c.Phone}, {"email", c.Email},
		{"language", c.Language}, {"account_number", c.AccountNumber}, {"balance", c.Balance}, {"currency", c.Currency},
		{"embossing_group", c.Group}, {"cvk_ref", c.CVKRef},
	} {
		if len(f.value) >= iso.MinPANLength && (holdsDigits(f.value, c.PAN) || n.holdsOurNumber(f.value)) {
			return f.column, true
		}
	}
	return "", false
}

// holdsDigits finds a number also where its check digit is wrong.
func holdsDigits(text string, pan iso.PAN) bool {
	return !pan.IsZero() && strings.Contains(iso.Digits(text), pan.Reveal())
}

// holdsOurNumber finds what could only be a number of one of our products.
func (n *Night) holdsOurNumber(text string) bool {
	return slices.ContainsFunc(iso.FindPANs(text), func(s iso.Span) bool { return n.ourNumber(s.PAN) })
}

// ourNumber says whether a number is one of a configured product: its prefix and its length.
func (n *Night) ourNumber(pan iso.PAN) bool {
	for _, p := range n.Config.Products {
		if pan.Len() == p.PANLength && strings.HasPrefix(pan.Reveal(), p.Prefix) {
			return true
		}
	}
	return false
}
