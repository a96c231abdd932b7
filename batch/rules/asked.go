package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"reemboss/batch/config"
)

// This file judges what a row says: its ids, codes and choices.

// whatItsReaderFound takes over what only the reader of the file could see.
func whatItsReaderFound(w *weighing) {
	for _, problem := range w.in.Row.Problems {
		code := Code(problem.Code)
		if !Known(code) {
			code = RowMalformed
		}
		w.found(code, "%s", asSentence(problem.Detail, code))
	}
}

// Forms that a spreadsheet gives to a number that it did not keep: 4.11E+15, 123.0.
var (
	scientific = regexp.MustCompile(`^[+-]?\d+(?:[.,]\d+)?[eE][+-]?\d+$`)
	pointZero  = regexp.MustCompile(`^\d+[.,]0*$`)
)

func spreadsheetForm(text string) bool {
	return scientific.MatchString(text) || pointZero.MatchString(text)
}

const asText = "format the column as text, enter the number again and send the row again."

func cardIDIsANumber(w *weighing) {
	text := w.fields.CardID
	if w.spoiled("card_id") {
		return
	}
	_, ok := ParseCardID(text)
	switch {
	case ok:
	case text == "" && w.halfRead():
	case text == "":
		w.found(CardIDMissing, "%s", Sentence(CardIDMissing))
	case spreadsheetForm(text):
		w.found(ExcelPrecisionLoss, "The spreadsheet has changed the card id to %s; %s", shown(text), asText)
	default:
		w.found(CardIDInvalid, "The card id %s is not a whole number of 1 to 18 digits; correct it and send the row again.", shown(text))
	}
}

func reasonIsKnown(w *weighing) {
	if !w.reissue || w.spoiled("reason_code") || w.reasonCode != 0 {
		return
	}
	if w.fields.ReasonCode == "" && w.halfRead() {
		return
	}
	if w.fields.ReasonCode == "" {
		w.found(ReasonCodeMissing, "The row has no reason code; write %s and send the row again.", w.policy.reasonList())
		return
	}
	w.found(ReasonCodeInvalid, "The reason code %s is not known; write %s and send the row again.", shown(w.fields.ReasonCode), w.policy.reasonList())
}

// reasonList is "1 (damaged), 2 (expired) … or 6 (new enrolment)".
func (p *Policy) reasonList() string {
	var codes []int
	for code := range p.cfg.Reasons {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	words := make([]string, len(codes))
	for i, code := range codes {
		words[i] = fmt.Sprintf("%d (%s)", code, p.cfg.Reasons[code].Name)
	}
	return list(words)
}

// typeFitsReason: the reason decides whether the number is kept. An explicit
// type that says otherwise is refused rather than followed: it could print a
// stolen number again.
func typeFitsReason(w *weighing) {
	text := w.fields.ReissueType
	if !w.reissue || text == "" || w.spoiled("reissue_type") {
		return
	}
	typ, ok := small(text)
	switch {
	case !ok || typ < 1 || typ > 3:
		w.found(ReissueTypeInvalid, "The reissue type %s is not known; write 1, 2 or 3, or leave it blank, and send the row again.", shown(text))
	case w.reasonCode != 0 && !slices.Contains(w.reason.Types, typ):
		w.found(ReissueTypeConflict, "Reissue type %d contradicts reason %d (%s), which %s the number; leave the type blank or write %s, and send the row again.",
			typ, w.reasonCode, w.reason.Name, numberVerb(w.reason), typeList(w.reason))
	}
}

func numberVerb(r config.Reason) string {
	if r.NewPAN {
		return "changes"
	}
	return "keeps"
}

func typeList(r config.Reason) string {
	words := make([]string, len(r.Types))
	for i, t := range r.Types {
		words[i] = strconv.Itoa(t)
	}
	return list(words)
}

func shippingMethodIsKnown(w *weighing) {
	if w.method != 0 {
		return
	}
	var methods []int
	for m := range w.policy.cfg.Shipping {
		methods = append(methods, m)
	}
	slices.Sort(methods)
	words := make([]string, len(methods))
	for i, m := range methods {
		words[i] = fmt.Sprintf("%d (%s)", m, w.policy.cfg.Shipping[m].Name)
	}
	w.found(ShippingMethodInvalid, "The shipping method %s is not known; write %s, or leave it blank, and send the row again.", shown(w.fields.ShippingMethod), list(words))
}

// cardIsRegistered: an id that is one must be in the registry.
func cardIsRegistered(w *weighing) {
	if w.card != nil || w.spoiled("card_id") {
		return
	}
	if _, ok := ParseCardID(w.fields.CardID); !ok {
		return
	}
	w.found(CardNotFound, "There is no card %s%s; check the id, and that the card was in an extract, and send the row again.", shown(w.fields.CardID), roundedHint(w.fields.CardID))
}

// roundedHint: a spreadsheet keeps 15 digits of a number and makes the rest zeros.
func roundedHint(id string) string {
	if len(id) > 15 && strings.Trim(id[15:], "0") == "" {
		return " (it ends in zeros after 15 digits, as if a spreadsheet had rounded it)"
	}
	return ""
}

// userIsTheHolder: a reissue names the cardholder's user id, and it must be this card's.
func userIsTheHolder(w *weighing) {
	user := w.fields.UserID
	if !w.reissue || w.spoiled("user_id") {
		return
	}
	switch {
	case user == "" && w.halfRead():
	case user == "":
		w.found(CustomerNotFound, "The row has no user id; fill in that of the card's holder and send the row again.")
	case w.card != nil && w.card.CustomerID == user:
	case spreadsheetForm(user):
		w.found(ExcelPrecisionLoss, "The spreadsheet has changed the user id to %s; %s", shown(user), asText)
	case w.card != nil:
		w.found(CustomerNotFound, "The user id %s is not that of this card's holder; correct it and send the row again.", shown(user))
	}
}
