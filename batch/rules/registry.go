package rules

import (
	"slices"
	"strings"

	"reemboss/batch/config"
	"reemboss/formats/extract"
)

// This file judges what the registry says of the card and its holder.

// cardCanBeEmbossed: the record must name what the configuration knows and hold
// what the plastic needs. Limits of the number: domain of tracks and chip
// (Mastercard 16 digits, chip 16 to 19). The card's key reference is read, and
// refused where it names no key, by package issue.
func cardCanBeEmbossed(w *weighing) {
	if w.card == nil {
		return
	}
	wrong := func(format string, args ...any) {
		w.found(CardValidationError, format+"; correct it in the card master and send the row again after the next extract.", args...)
	}
	c := w.card
	if !w.programOK {
		wrong("The card's program %s is not in the configuration", shown(c.ProgramID))
	}
	if !w.productOK {
		wrong("The card's product %s is not in the configuration", shown(c.Product))
	}
	if c.PAN.IsZero() {
		wrong("The card has no card number")
	} else if w.productOK && w.keepsNumber() && !lengthFits(w.product, c.PAN.Len()) {
		wrong("The card's number has %d digits, which tracks and chip of product %s cannot hold", c.PAN.Len(), c.Product)
	}
	if c.Expiry == 0 {
		wrong("The card has no expiry")
	}
	if c.PSN < 0 || c.PSN > maxPSN {
		wrong("The card's sequence number %d is not from 0 to %d", c.PSN, maxPSN)
	}
}

func lengthFits(p config.Product, digits int) bool {
	return (p.Tracks != config.Mastercard || digits == 16) && (!p.HasChip() || digits >= 16)
}

func programIsOnDemand(w *weighing) {
	if !w.reissue && w.programOK && !w.program.OnDemand {
		w.found(NotOnDemand, "Cards of program %s may not be re-embossed, because it is not on demand; ask for a reissue instead.", shown(w.card.ProgramID))
	}
}

func accountIsThere(w *weighing) {
	if w.productOK && w.product.AccountRequired && w.card.AccountID == "" {
		w.found(AccountNotFound, "The card has no account, which product %s needs; complete it in the card master and send the row again after the next extract.", w.card.Product)
	}
}

func phoneIsThere(w *weighing) {
	if w.productOK && w.product.PhoneRequired && w.card.Phone == "" {
		w.found(AccountPhoneNotFound, "The card has no phone number, which product %s needs; complete it in the card master and send the row again after the next extract.", w.card.Product)
	}
}

// addressIsWhole: a first line, the city and a country are needed of whichever address counts.
func addressIsWhole(w *weighing) {
	if w.card == nil {
		return
	}
	var lacks []string
	for _, part := range []struct{ column, text string }{
		{"address_line1", w.address.Line1}, {"city", w.address.City}, {"country", w.address.Country},
	} {
		if part.text == "" {
			lacks = append(lacks, part.column)
		}
	}
	switch {
	case len(lacks) > 0 && w.oneOff:
		w.found(AccountAddressNotFound, "The delivery address of the request lacks %s; it replaces the card's as a whole, so complete it or leave it blank, and send the row again.", strings.Join(lacks, " and "))
	case len(lacks) > 0:
		w.found(AccountAddressNotFound, "The card's address lacks %s; complete it in the card master or give a whole address in the request, and send the row again.", strings.Join(lacks, " and "))
	case !w.country:
		w.found(AccountAddressNotFound, "The country %s of %s is no ISO 3166-1 code; correct it and send the row again.", shown(w.address.Country), w.whoseAddress())
	}
}

func (w *weighing) whoseAddress() string {
	if w.oneOff {
		return "the request's address"
	}
	return "the card's address"
}

func addressIsActive(w *weighing) {
	if w.card != nil && !w.oneOff && strings.EqualFold(w.card.AddressStatus, "INACTIVE") {
		w.found(AccountAddressInactive, "The card's address is inactive; correct it in the card master or give one in the request, and send the row again.")
	}
}

// postcodeFitsCountry: where a country has a format, the postcode is needed and must match it whole.
func postcodeFitsCountry(w *weighing) {
	if w.card == nil || !w.country || w.oneOff && w.spoiled("postcode") {
		return
	}
	format, has := w.policy.postcodes[w.address.Country]
	switch {
	case !has || format.MatchString(w.address.Postcode):
	case w.address.Postcode == "":
		w.found(AccountAddressZipcodeInvalid, "%s has no postcode, which %s needs; fill it in and send the row again.", upperFirst(w.whoseAddress()), w.address.Country)
	default:
		w.found(AccountAddressZipcodeInvalid, "The postcode %s of %s does not fit the country %s; correct it and send the row again.", shown(w.address.Postcode), w.whoseAddress(), w.address.Country)
	}
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func statusIsAccepted(w *weighing) {
	accepted, what := w.policy.cfg.ReembossStatuses, "re-embossing"
	if w.reissue {
		accepted, what = w.reason.Statuses, "a reissue for reason "+w.reason.Name
	}
	if w.card == nil || w.reissue && w.reasonCode == 0 || slices.Contains(accepted, w.status) {
		return
	}
	w.found(CardStatusInvalid, "The card is %s; %s takes %s: change the status first or ask otherwise, and send the row again.", w.status, what, list(accepted))
}

func typeHasPlastic(w *weighing) {
	if w.card == nil {
		return
	}
	if t := cardType(w.card.Card); !w.policy.embossed[t] {
		w.found(CardTypeInvalid, "The card is of type %s, which has no plastic; leave the row out.", shown(t))
	}
}

func cardType(c extract.Card) string {
	if c.Type == "" {
		return "PLASTIC"
	}
	return strings.ToUpper(c.Type)
}

// notExpired: the same card is not made again past its last day; a reissue gives it a new expiry.
func notExpired(w *weighing) {
	if w.card != nil && !w.reissue && w.card.Expiry != 0 && w.card.Expiry.Expired(w.date) {
		w.found(CardExpired, "The card expired at the end of %s and is not made again; ask for a reissue with reason 2 (expired).", w.card.Expiry)
	}
}

// pinWasSet: a card that keeps its number keeps its PIN, so outside on-demand
// programs there must be one.
func pinWasSet(w *weighing) {
	if w.card != nil && w.reissue && w.keepsNumber() && w.programOK && !w.program.OnDemand && !w.card.PINSet {
		w.found(CardPCIPasswordUnchanged, "The PIN of the card was never set, and the card keeps its number and PIN; have the cardholder set it and send the row again after the next extract.")
	}
}

// bureauIsConfigured: a card that no bureau takes is refused, never dropped.
func bureauIsConfigured(w *weighing) {
	if w.card == nil || w.route.bureau != "" || w.route.group == "" && !w.productOK {
		return
	}
	w.found(EmbosserNotConfigured, "No bureau is configured for program %s with embossing group %s; ask operations to add the route, and send the row again.", shown(w.card.ProgramID), shown(w.route.group))
}

func nameCanBeEmbossed(w *weighing) {
	if w.card == nil || w.route.bureau == "" || w.reissue && w.spoiled("printed_name") {
		return
	}
	printed, last, first, _ := w.printedName()
	if err := w.policy.names(w.route.bureau, printed, last, first); err != nil {
		w.found(InvalidPrintedName, "The printed name cannot be embossed: %s. Correct or shorten it and send the row again.", harmless(err.Error()))
	}
}

// maxPSN is the last card sequence number (EMV tag 5F34 has two digits).
const maxPSN = 99

func sequenceNumberIsLeft(w *weighing) {
	if w.card != nil && w.reissue && w.keepsNumber() && w.card.PSN == maxPSN {
		w.found(PSNExhausted, "The card's sequence number has reached %d, and this reason keeps the number; ask for a new number with reason 3, 4 or 6.", maxPSN)
	}
}
