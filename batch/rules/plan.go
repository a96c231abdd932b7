package rules

import (
	"strconv"
	"strings"
	"time"

	"reemboss/formats/request"
)

// imported stands for the uid of a shipment that an extract told us of.
const imported = "imported"

// accepted makes the plan of a row that no rule refused, and explains it.
func (w *weighing) accepted() Decision {
	plan := &Plan{
		Kind: w.in.Row.Kind, Reason: w.reasonCode, Type: w.typ, TypeDerived: w.typeDerived, NewPAN: w.reissue && w.reason.NewPAN,
		Bureau: w.route.bureau, ShippingMethod: w.method, BusinessDate: w.date,
		Address: w.address,
	}
	plan.ExpectedDelivery = w.policy.calendars[plan.Bureau].After(plan.BusinessDate, w.policy.cfg.Shipping[w.method].WorkingDays)
	plan.PrintedName, _, _, plan.NameGiven = w.printedName()
	plan.OldStatus, plan.NewStatus = w.statusesAfter()
	if w.reissue {
		plan.Fee = w.reason.Fee
		plan.ClosesTransit = w.closes()
	}
	return Decision{
		Outcome: Accepted, Code: Approved, Plan: plan, Reason: w.reasonCode,
		Message: w.acceptance(plan), Because: w.because(plan),
	}
}

// statusesAfter gives the status of the requested card ("": unchanged) and of
// the card whose plastic is made.
//
// A new number makes a new card in CREATED; the old one gets the reason's
// status unless it is terminal already, because a terminal status is final.
// With the number kept it is one card, and an EXPIRED one begins again as CREATED.
func (w *weighing) statusesAfter() (requested, embossed string) {
	statuses := w.policy.cfg.Statuses
	switch {
	case !w.reissue:
		return "", w.status
	case !w.reason.NewPAN:
		if after, changes := statuses.KeptBecomes[w.status]; changes {
			return after, after
		}
		return "", w.status
	case w.reason.OldStatus == "" || w.reason.OldStatus == w.status || statuses.IsTerminal(w.status):
		return "", created
	default:
		return w.reason.OldStatus, created
	}
}

// created is the status of a new card.
const created = "CREATED"

// closes names the shipment that a "returned" request closes.
func (w *weighing) closes() string {
	switch {
	case !w.reason.ClosesTransit || w.inFlight == nil:
		return ""
	case w.inFlight.UID == "":
		return imported
	default:
		return w.inFlight.UID
	}
}

// acceptance is the message of an accepted row.
func (w *weighing) acceptance(plan *Plan) string {
	if plan.Kind == request.Reemboss {
		return "Re-embossing accepted: the same card is made again."
	}
	number, typ := "number kept", " as asked for with"
	if plan.NewPAN {
		number = "new number"
	}
	if plan.TypeDerived {
		typ = " derived from"
	}
	message := "Reissue accepted: " + number + ", type " + strconv.Itoa(plan.Type) + typ + " reason " + strconv.Itoa(plan.Reason) + " (" + w.reason.Name + ")."
	if plan.ClosesTransit != "" {
		message += " The shipment under way is closed as returned."
	}
	return message
}

// because explains the plan: which rule, which value. It runs once for every
// accepted row, so it joins text instead of formatting it.
func (w *weighing) because(plan *Plan) []string {
	why := make([]string, 0, 12)
	add := func(rule, value string) { why = append(why, rule+": "+value) }
	reason := strconv.Itoa(plan.Reason)
	if plan.Kind == request.Reemboss {
		add("request", "re-embossing, program "+w.card.ProgramID+" is on demand")
		add("status", w.status+" may be re-embossed")
	} else {
		add("reason", reason+" ("+w.reason.Name+"), "+numberVerb(w.reason)+" the number")
		if plan.TypeDerived {
			add("type", strconv.Itoa(plan.Type)+", derived from reason "+reason)
		} else {
			add("type", strconv.Itoa(plan.Type)+", as requested; reason "+reason+" takes "+typeList(w.reason))
		}
		add("status", w.status+" is accepted for reason "+reason)
	}
	switch {
	case plan.NewPAN && plan.OldStatus != "":
		add("old card", w.status+" becomes "+plan.OldStatus)
	case plan.NewPAN:
		add("old card", "stays "+w.status)
	case plan.OldStatus != "":
		add("card", w.status+" becomes "+plan.OldStatus)
	}
	add("bureau", plan.Bureau+", by "+w.route.why)
	add("business date", plan.BusinessDate.Format(time.DateOnly)+" at "+plan.Bureau)
	working := strconv.Itoa(w.policy.cfg.Shipping[plan.ShippingMethod].WorkingDays)
	add("delivery", plan.ExpectedDelivery.Format(time.DateOnly)+", "+working+" working days by shipping method "+strconv.Itoa(plan.ShippingMethod))
	if w.oneOff {
		add("address", "of the request, "+plan.Address.Country)
	} else {
		add("address", "of the card, "+plan.Address.Country)
	}
	if plan.NameGiven {
		add("printed name", "of the request")
	}
	if w.inFlight != nil {
		add("transit", w.transitPassed(plan))
	}
	if limit := w.product.ReissueLimit; w.reissue && limit > 0 {
		add("limit", "reissue "+strconv.Itoa(len(w.recentReissues())+1)+" of "+strconv.Itoa(limit)+" in "+days(w.product.ReissueDays))
	}
	return why
}

// transitPassed says why a shipment under way did not stop the row.
func (w *weighing) transitPassed(plan *Plan) string {
	sent := strings.TrimPrefix(moment(w.inFlight.SentAt), "at ")
	if plan.ClosesTransit != "" {
		return "reason " + strconv.Itoa(plan.Reason) + " closes the shipment of " + sent + " as returned"
	}
	return "the shipment of " + sent + " is older than " + days(w.product.TransitDays)
}
