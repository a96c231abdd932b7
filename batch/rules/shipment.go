package rules

import (
	"fmt"
	"slices"
	"time"
)

// What an order is and what happens to it, in the words that the ledger and
// the return files use. An order's state is QUEUED, PLANNED, SENT, CANCELLED or
// the status of an event.
const (
	queued    = "QUEUED"
	planned   = "PLANNED"
	sent      = "SENT"
	acked     = "ACKED"
	rejected  = "REJECTED"
	produced  = "PRODUCED"
	shipped   = "SHIPPED"
	delivered = "DELIVERED"
	returned  = "RETURNED"
	lost      = "LOST"
	activated = "ACTIVATED"
	cancelled = "CANCELLED"
)

// Happened is one event of a shipment, or of a bureau file as a whole.
type Happened struct {
	Status   string    // ACKED REJECTED PRODUCED SHIPPED DELIVERED RETURNED LOST ACTIVATED; of a file RECEIVED REFUSED
	At       time.Time // its own time, by its teller; compared in whole milliseconds, as the ledger keeps it
	Code     string
	Source   string // bureau, extract, request, person
	Moved    bool   // it changed the shipment's state
	Disputed bool   // it contradicts and waits for a person, or was settled as "kept": it counts for nothing but "already known"
}

// Turn is what an event does to a shipment. The zero Turn keeps the event as
// history and changes nothing.
type Turn struct {
	Known           bool   // this very event (status, time, code) is in the history
	State           string // the new state; "" for none
	Acked, Rejected int    // postings on the balance of the shipment's file
	Dispute         string // why it contradicts, one sentence without its full stop, for a person; "" otherwise
}

// Follow says what an event does to a shipment in that state with that history
// (the event itself not in it).
//
// Events come late, twice and in any order: their own times count, not their
// arrival. A shipment goes forward only, and stays in the first closing state
// that it reached; what contradicts that changes nothing and is a dispute, for
// a person to settle. Where nothing is disputed, the state and the sum of the
// postings are the same in whatever order the events came.
//
// Over any events, the postings of a shipment that began SENT add up to one
// acknowledged card, one rejected card, or neither while it is SENT.
func Follow(state string, history []Happened, e Happened) Turn {
	switch {
	case slices.ContainsFunc(history, e.same):
		return Turn{Known: true}
	case e.Source == "bureau" && ofRefusedFile(history, e):
		return beforeRefusal(history, e)
	case open(state) || state == cancelled:
		return beforeItWasSent(state, e)
	case closing(e.Status) && closing(state):
		return closedAgain(state, history, e)
	case closing(e.Status):
		return closed(state, history, e)
	case step(e.Status) < step(acked):
		return Turn{Dispute: fmt.Sprintf("%s is nothing that happens to a card; %s", e, askTheBureau)}
	case closing(state):
		return stepAfterClosing(state, history, e)
	case step(e.Status) > step(state):
		return move(state, e.Status)
	}
	return Turn{}
}

// FollowLeft says what an event does to a shipment with that history where it
// tells of a file that the shipment left: the file was cancelled, and the card
// waits for another one or is in it. What goes well with the refusal of that file
// is history; all else is a dispute, for the card may have been made from it.
func FollowLeft(history []Happened, e Happened) Turn {
	switch {
	case slices.ContainsFunc(history, e.same):
		return Turn{Known: true}
	case ofRefusedFile(history, e):
		return beforeRefusal(history, e)
	}
	return Turn{Dispute: fmt.Sprintf("%s contradicts that its file was cancelled and that the card is made from another one; %s", e, askTheBureau)}
}

// Take is what a disputed event does when a person decides that it, and not
// what contradicts it, is right: the shipment gets its status, wherever it was.
// A card of a file that the bureau refused (PLANNED), or of one that was cancelled
// (QUEUED), was made after all; only one whose order was cancelled stays disputed.
func Take(state string, e Happened) Turn {
	if state == cancelled || !closing(e.Status) && step(e.Status) < step(acked) {
		return Follow(state, nil, e)
	}
	return move(state, e.Status)
}

// askTheBureau is how every dispute ends.
const askTheBureau = "ask the bureau which of the two is right"

// beforeItWasSent: the file of the card was refused as a whole, or has not left.
func beforeItWasSent(state string, e Happened) Turn {
	if e.Source == "extract" || e.Source == "request" {
		return Turn{}
	}
	return Turn{Dispute: fmt.Sprintf("%s contradicts the card's state %s: as far as this ledger knows the bureau has no file with the card; %s", e, state, askTheBureau)}
}

// ofRefusedFile: the event is not later than the refusal of the file that the card was in then.
func ofRefusedFile(history []Happened, e Happened) bool {
	refusal := lastOf(history, refused)
	return !refusal.At.IsZero() && !e.after(refusal)
}

// beforeRefusal: an acknowledgement or a rejection goes well with the refusal of
// all that followed, and says nothing of the repetition. A card that was made goes not.
func beforeRefusal(history []Happened, e Happened) Turn {
	if e.Status == acked || e.Status == rejected {
		return Turn{}
	}
	return e.contradicts(lastOf(history, refused), "a file of which cards are made is not refused")
}

// closedAgain: a closing event of a shipment that is closed. A card that is
// used was delivered, so these two agree; the first of them stays.
func closedAgain(state string, history []Happened, e Happened) Turn {
	inUse := state == activated && e.Status == delivered || state == delivered && e.Status == activated
	if e.Status == state || inUse {
		return Turn{}
	}
	return e.contradicts(lastOf(history, state), "a card has one end")
}

// closed: a closing event of a shipment that is under way.
func closed(state string, history []Happened, e Happened) Turn {
	shipping, making := lastOf(history, shipped), lastOf(history, produced)
	switch e.Status {
	case rejected:
		if state == shipped || !shipping.At.IsZero() {
			return e.contradicts(shipping, "a card that is rejected is not shipped")
		}
		if making.after(e) {
			return e.contradicts(making, "a card that is rejected is not produced any more")
		}
	case delivered, returned, lost:
		for _, other := range []Happened{shipping, making} {
			if other.after(e) {
				return e.contradicts(other, "nothing is made or shipped after its end")
			}
		}
	}
	return move(state, e.Status)
}

// stepAfterClosing: a step of a shipment that is closed. It is late news,
// unless it can only have happened after the end or in place of it.
func stepAfterClosing(state string, history []Happened, e Happened) Turn {
	end := lastOf(history, state)
	switch {
	case state == rejected && e.Status == shipped:
		return e.contradicts(end, "a card that is rejected is not shipped")
	case e.Status == acked, state == activated, end.At.IsZero(), !e.after(end):
		return Turn{}
	}
	return e.contradicts(end, "nothing is made or shipped after its end")
}

// move is the turn from one state to the next. What it posts is the difference
// of the sides on which the two states stand: SENT on neither.
func move(from, to string) Turn {
	wasAcked, wasRejected := side(from)
	isAcked, isRejected := side(to)
	return Turn{State: to, Acked: isAcked - wasAcked, Rejected: isRejected - wasRejected}
}

// side is where a card in that state counts in its file's balance.
func side(state string) (ackedCards, rejectedCards int) {
	switch state {
	case rejected:
		return 0, 1
	case queued, planned, sent, cancelled:
		return 0, 0
	}
	return 1, 0
}

// closing says that the state, or the status of an event, ends a shipment.
func closing(status string) bool {
	switch status {
	case rejected, delivered, returned, lost, activated:
		return true
	}
	return false
}

// step is the place of a state or status on the way of a card that is under
// way, 0 for none.
func step(status string) int {
	return 1 + slices.Index([]string{sent, acked, produced, shipped}, status)
}

// lastOf is the newest event, by its own time, of that status. Without one it
// has no time.
func lastOf(history []Happened, status string) Happened {
	last := Happened{Status: status}
	for _, h := range history {
		if h.Status == status && !h.Disputed && (last.At.IsZero() || h.after(last)) {
			last = h
		}
	}
	return last
}

func (e Happened) same(other Happened) bool {
	return e.Status == other.Status && e.Code == other.Code && e.At.UnixMilli() == other.At.UnixMilli()
}

func (e Happened) after(other Happened) bool { return e.At.UnixMilli() > other.At.UnixMilli() }

// before says that an event was before a moment of ours. Bureaus tell times to the
// second or to the minute, and one in the same second, or minute, was not.
func (e Happened) before(moment time.Time) bool {
	exact := time.Second
	if e.At.Truncate(time.Minute).Equal(e.At) {
		exact = time.Minute
	}
	return e.At.Before(moment.Truncate(exact))
}

// String is the event as a person reads it: SHIPPED at 2026-11-23 10:00:00 UTC.
func (e Happened) String() string {
	if e.At.IsZero() {
		return e.Status + " at an unknown time"
	}
	return e.Status + " at " + e.At.UTC().Format("2006-01-02 15:04:05 UTC")
}

func (e Happened) contradicts(other Happened, why string) Turn {
	return Turn{Dispute: fmt.Sprintf("%s contradicts %s: %s; %s", e, other, why, askTheBureau)}
}
