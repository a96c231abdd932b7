package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/formats/extract"
	"reemboss/formats/iso"
	"reemboss/formats/request"
)

// weighing is one row with all that can be read from it and looked up for it,
// before any rule judges. A part that could not be settled says so by its ok
// flag, and the rules that need it stay silent: another one has spoken.
type weighing struct {
	policy  *Policy
	in      Input
	fields  *request.Fields
	card    *Card // nil: unknown, or the id is no id
	reissue bool

	reasonCode  int // 0: none, or not known
	reason      config.Reason
	typ         int  // reissue type
	typeDerived bool // the type was blank
	method      int  // shipping method, 0: not known

	program   config.Program
	programOK bool
	product   config.Product
	productOK bool
	status    string // of the card, aliases resolved

	route    route
	date     time.Time // business date at the bureau, or in our time zone where no bureau is found
	address  extract.Address
	oneOff   bool       // the address is the request's
	country  bool       // the address's country is one
	inFlight *Embossing // under way: handed to the bureau and not closed

	violations []Violation
}

func (p *Policy) weigh(in Input) *weighing {
	w := &weighing{policy: p, in: in, fields: &in.Row.Fields, reissue: in.Row.Kind == request.Reissue}
	if !w.spoiled("card_id") {
		w.card = in.Card
	}
	w.settleReason()
	w.settleMethod()
	if w.card == nil {
		return w
	}
	w.program, w.programOK = p.cfg.Programs[w.card.ProgramID]
	w.product, w.productOK = p.cfg.Products[w.card.Product]
	w.status = p.cfg.Statuses.Resolve(w.card.Status)
	w.route = p.route(w)
	w.date = p.businessDate(w.route.bureau, in.Now)
	w.settleAddress()
	if last := w.card.Last; last != nil && underWay(last.State) {
		w.inFlight = last
	}
	return w
}

// found adds a violation.
func (w *weighing) found(code Code, format string, args ...any) {
	w.violations = append(w.violations, Violation{code, fmt.Sprintf(format, args...)})
}

// spoiled says that the row's reader already refused the cell of that column;
// what came through in its place means nothing.
func (w *weighing) spoiled(column string) bool {
	names := w.policy.columns[column]
	for _, problem := range w.in.Row.Problems {
		if names[config.Fold(problem.Column)] {
			return true
		}
	}
	return false
}

// halfRead says that the row's reader could not read some of the row and names
// no column: a cell that is blank may not have been.
func (w *weighing) halfRead() bool {
	for _, problem := range w.in.Row.Problems {
		if problem.Column == "" {
			return true
		}
	}
	return false
}

func (w *weighing) settleReason() {
	if !w.reissue || w.spoiled("reason_code") {
		return
	}
	code, ok := w.policy.ReasonCode(w.fields.ReasonCode)
	if !ok {
		return
	}
	w.reasonCode, w.reason = code, w.policy.cfg.Reasons[code]
	if w.spoiled("reissue_type") {
		return
	}
	if w.fields.ReissueType == "" {
		w.typ, w.typeDerived = w.reason.DefaultType, true
	} else if typ, ok := small(w.fields.ReissueType); ok && typ >= 1 && typ <= 3 {
		w.typ = typ
	}
}

// reasonCode reads a reason code: its digits or a word for it.
// ReasonCode reads a reason code, as a number or in one of its words; false where nothing is known by it.
func (p *Policy) ReasonCode(text string) (int, bool) {
	code, isNumber := small(text)
	if !isNumber {
		code = p.words[config.Fold(text)]
	}
	_, known := p.cfg.Reasons[code]
	return code, known
}

// small reads a number of one or two digits.
func small(text string) (int, bool) {
	if text == "" || len(text) > 2 || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

func (w *weighing) settleMethod() {
	w.method = 1
	if !w.reissue || w.fields.ShippingMethod == "" || w.spoiled("shipping_method") {
		return
	}
	method, ok := small(w.fields.ShippingMethod)
	if _, known := w.policy.cfg.Shipping[method]; !ok || !known {
		method = 0
	}
	w.method = method
}

// settleAddress takes the one-off address of the request, as a whole, or the
// card's. Country becomes ISO 3166-1 alpha-2, the postcode capitals.
func (w *weighing) settleAddress() {
	w.address, w.oneOff = w.card.Address, false
	if !w.fields.Address.IsZero() {
		w.address, w.oneOff = w.fields.Address, true
	}
	if alpha2, _, _, ok := iso.Country(w.address.Country); ok {
		w.address.Country, w.country = alpha2, true
	}
	w.address.Postcode = strings.ToUpper(strings.TrimSpace(w.address.Postcode))
}

// printedName is the name to emboss: the request's, where a reissue brings one, else the card's.
func (w *weighing) printedName() (printed, last, first string, given bool) {
	if w.reissue && w.fields.PrintedName != "" {
		return w.fields.PrintedName, "", "", true
	}
	return w.card.PrintedName, w.card.LastName, w.card.FirstName, false
}

// keepsNumber says that the card keeps its number (re-embossing, or a reason
// that keeps it). It is false while the reason is not known.
func (w *weighing) keepsNumber() bool {
	return !w.reissue || w.reasonCode != 0 && !w.reason.NewPAN
}
