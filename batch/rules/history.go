package rules

import (
	"time"
)

// This file judges what was asked and done before: repeated rows, references,
// open orders, replacements and cards on their way.

const day = 24 * time.Hour

// answeredBefore is the answer to a row that asks again for what was accepted
// already: an identical row of the same file, or the same reference with the
// same content. Both are duplicates, not refusals; for the reference the caller
// gives the first answer again.
func (w *weighing) answeredBefore() (Decision, bool) {
	if len(w.in.Row.Problems) > 0 {
		return Decision{}, false
	}
	switch {
	case w.sameRow():
		d := w.refused([]Violation{{DuplicateRow, Sentence(DuplicateRow)}})
		d.Outcome, d.Because = Duplicate, []string{"duplicate: the same row of this file was accepted"}
		return d, true
	case w.sameReference():
		return Decision{
			Outcome: Duplicate, Code: Approved, Reason: w.reasonCode,
			Because: []string{"duplicate: the same reference with the same content was accepted"},
		}, true
	}
	return Decision{}, false
}

// sameReference says that an accepted row had the same reference and the same content.
func (w *weighing) sameReference() bool {
	prior := w.in.Reference
	return prior != nil && prior.ContentDigest != "" && prior.ContentDigest == w.in.ContentDigest
}

// sameRow says that an identical row of this file was accepted. Only accepted
// rows leave a trace here: a refused one never makes a later one a duplicate.
func (w *weighing) sameRow() bool {
	if w.in.RowDigest == "" {
		return false
	}
	if p := w.in.Reference; p != nil && p.FileID == w.in.FileID && p.RowDigest == w.in.RowDigest {
		return true
	}
	if w.card == nil {
		return false
	}
	for _, e := range []*Embossing{w.card.Open, w.card.Last} {
		if e != nil && e.FileID == w.in.FileID && e.RowDigest == w.in.RowDigest {
			return true
		}
	}
	return false
}

func referenceIsFree(w *weighing) {
	if w.in.Reference != nil && !w.sameReference() {
		w.found(ReferenceConflict, "The reference %s was used for a request with other content; use a new reference and send the row again.", shown(w.fields.Reference))
	}
}

// noOpenOrder: a card has at most one order that the bureau does not have yet.
func noOpenOrder(w *weighing) {
	if w.card == nil {
		return
	}
	if w.card.Open != nil || w.card.Last != nil && open(w.card.Last.State) {
		w.found(AlreadyRequested, "%s", Sentence(AlreadyRequested))
	}
}

func notReplaced(w *weighing) {
	if w.card != nil && w.card.Successor != 0 {
		w.found(CardAlreadyReplaced, "The card was replaced by card %s; ask for that one instead.", shownID(w.card.Successor))
	}
}

// stillInShipment is the answer's wording that callers of the reissue interface know.
const stillInShipment = "Unable to reissue card as last reissued card is still in shipment"

// notInTransit: no second card while the last one may still be under way, for
// transit_days × 24 h from its handing over to the bureau. A reason that says
// that the mail came back closes a shipment that is old enough for it.
// What is disputed counts as under way, whatever its state: one of the two cards
// that are spoken of may be in the mail.
func notInTransit(w *weighing) {
	if w.card != nil && w.card.Last != nil && w.card.Last.Disputed {
		w.found(CardInTransit, "%s: what the bureau tells of it contradicts itself; have it settled (reemboss settle), and send the row again then.", stillInShipment)
		return
	}
	last := w.inFlight
	if last == nil || !w.productOK {
		return
	}
	if w.reissue && w.reason.ClosesTransit {
		if !w.olderThan(last, w.product.ReturnMinDays) {
			w.found(CardInTransit, "%s: it was handed to the bureau %s%s, and mail cannot have come back before %s; check that it did, and send the row again then.",
				stillInShipment, moment(last.SentAt), howFar(last.State), days(w.product.ReturnMinDays))
		}
		return
	}
	if !w.olderThan(last, w.product.TransitDays) {
		w.found(CardInTransit, "%s: it was handed to the bureau %s%s; wait until it is delivered or returned, at the latest %s after that, and send the row again.",
			stillInShipment, moment(last.SentAt), howFar(last.State), days(w.product.TransitDays))
	}
}

// howFar says what the bureau told of a shipment under way since it was handed over.
func howFar(state string) string {
	switch state {
	case produced:
		return ", which has produced it"
	case shipped:
		return ", which has shipped it"
	}
	return ""
}

// notReissuedTooOften: a product may limit how often one card is reissued
// within reissue_days × 24 h, whatever the reasons and whichever numbers it had.
func notReissuedTooOften(w *weighing) {
	if w.card == nil || !w.reissue || !w.productOK || w.product.ReissueLimit <= 0 {
		return
	}
	recent, limit := w.recentReissues(), w.product.ReissueLimit
	if len(recent) < limit {
		return
	}
	next := recent[len(recent)-limit].Add(time.Duration(w.product.ReissueDays)*day + time.Minute - 1) // told in whole minutes
	w.found(ReissueLimitReached, "The card was reissued %s since %s, and its product allows %s in %s; wait, the next one is possible %s, and send the row again then.",
		times(len(recent)), instant(recent[0]), times(limit), days(w.product.ReissueDays), moment(next))
}

// recentReissues are the accepted reissues that the product's limit counts, oldest first.
func (w *weighing) recentReissues() []time.Time {
	span := time.Duration(w.product.ReissueDays) * day
	for i, at := range w.card.Reissues {
		if w.in.Now.Sub(at) < span {
			return w.card.Reissues[i:]
		}
	}
	return nil
}

// olderThan says that the shipment was handed over at least n × 24 h ago. One
// without a time counts as just handed over.
func (w *weighing) olderThan(e *Embossing, n int) bool {
	return !e.SentAt.IsZero() && w.in.Now.Sub(e.SentAt) >= time.Duration(n)*day
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	return "at " + instant(t)
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// open says that the bureau does not have the order yet.
func open(state string) bool { return state == queued || state == planned }

// underWay says that the bureau has the order and nothing closed it. A state
// that is not known here counts: better ask than emboss twice.
func underWay(state string) bool {
	return state != "" && !open(state) && !closing(state)
}
