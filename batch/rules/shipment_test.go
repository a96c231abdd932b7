package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// at is an hour of the shipments in these tests.
func at(hour int) time.Time { return now.Add(time.Duration(hour) * time.Hour) }

func told(status string, hour int) Happened {
	return Happened{Status: status, At: at(hour), Source: "bureau"}
}

// shipment is an order that events are applied to as collect applies them.
type shipment struct {
	state           string
	history         []Happened
	acked, rejected int
	turns           []Turn
}

func (s *shipment) tell(e Happened) Turn {
	turn := Follow(s.state, s.history, e)
	s.turns = append(s.turns, turn)
	if turn.Known {
		return turn
	}
	e.Moved, e.Disputed = turn.State != "", turn.Dispute != ""
	s.history = append(s.history, e)
	if turn.State != "" {
		s.state = turn.State
	}
	s.acked += turn.Acked
	s.rejected += turn.Rejected
	return turn
}

func (s *shipment) disputed() bool {
	return slices.ContainsFunc(s.turns, func(t Turn) bool { return t.Dispute != "" })
}

// TestWhatAnEventDoes is told as lives: what happened (status@hour), then the
// event in question.
func TestWhatAnEventDoes(t *testing.T) {
	for _, c := range []struct {
		rule   string
		before string // events in the order of their arrival; every one of them but those with ! is no dispute
		event  string
		want   Turn // Dispute: words of it
	}{
		{"an acknowledgement", "", "ACKED@1", Turn{State: "ACKED", Acked: 1}},
		{"a bureau that does not acknowledge", "", "SHIPPED@3", Turn{State: "SHIPPED", Acked: 1}},
		{"a step on", "ACKED@1", "PRODUCED@2", Turn{State: "PRODUCED"}},
		{"a step left out", "ACKED@1", "SHIPPED@3", Turn{State: "SHIPPED"}},
		{"rejected at once", "", "REJECTED@1", Turn{State: "REJECTED", Rejected: 1}},
		{"rejected after it was acknowledged", "ACKED@1", "REJECTED@2", Turn{State: "REJECTED", Acked: -1, Rejected: 1}},
		{"spoiled in production", "ACKED@1 PRODUCED@2", "REJECTED@3", Turn{State: "REJECTED", Acked: -1, Rejected: 1}},
		{"delivered", "SHIPPED@3", "DELIVERED@4", Turn{State: "DELIVERED"}},
		{"in use, though nobody told of it", "", "ACTIVATED@9", Turn{State: "ACTIVATED", Acked: 1}},
		{"in use before the bureau shipped it, by its own account", "SHIPPED@9", "ACTIVATED@3", Turn{State: "ACTIVATED"}},

		{"told twice", "ACKED@1", "ACKED@1", Turn{Known: true}},
		{"told twice, a step back meanwhile", "ACKED@1 SHIPPED@3", "ACKED@1", Turn{Known: true}},
		{"a dispute told twice", "SHIPPED@3 REJECTED@4!", "REJECTED@4", Turn{Known: true}},
		{"the same status at another time is no repetition", "DELIVERED@4", "DELIVERED@5", Turn{}},
		{"the same rejection with another code is history", "REJECTED@4", "REJECTED@4/012", Turn{}},

		{"late: a shipment never goes back", "SHIPPED@3", "PRODUCED@2", Turn{}},
		{"late, though its time is later", "SHIPPED@3", "ACKED@5", Turn{}},
		{"late, after the end", "DELIVERED@4", "SHIPPED@3", Turn{}},
		{"at the moment of the end", "DELIVERED@4", "SHIPPED@4", Turn{}},
		{"an acknowledgement has no time of its own that counts", "REJECTED@2", "ACKED@3", Turn{}},
		{"produced, then rejected, told the other way round", "REJECTED@3", "PRODUCED@2", Turn{}},
		{"a card in use says more than any step", "ACTIVATED@3", "SHIPPED@9", Turn{}},
		{"delivered and in use agree", "ACTIVATED@3", "DELIVERED@2", Turn{}},
		{"in use and delivered agree", "DELIVERED@2", "ACTIVATED@3", Turn{}},
		{"a bureau that confirms what the request said", "SHIPPED@3 RETURNED@9", "RETURNED@8", Turn{}},

		{"delivered, then rejected", "DELIVERED@4", "REJECTED@5", Turn{Dispute: "REJECTED at 2026-11-23 15:00:00 UTC contradicts DELIVERED at 2026-11-23 14:00:00 UTC"}},
		{"delivered and returned", "DELIVERED@4", "RETURNED@9", Turn{Dispute: "one end"}},
		{"in use and returned", "ACTIVATED@4", "RETURNED@9", Turn{Dispute: "one end"}},
		{"lost, then delivered", "LOST@9", "DELIVERED@12", Turn{Dispute: "one end"}},
		{"rejected, then delivered", "REJECTED@1", "DELIVERED@4", Turn{Dispute: "one end"}},
		{"shipped, then rejected", "SHIPPED@3", "REJECTED@4", Turn{Dispute: "is not shipped"}},
		{"shipped, and rejected before that", "SHIPPED@3", "REJECTED@2", Turn{Dispute: "is not shipped"}},
		{"rejected, then shipped", "REJECTED@4", "SHIPPED@3", Turn{Dispute: "is not shipped"}},
		{"produced after it was rejected", "PRODUCED@3", "REJECTED@2", Turn{Dispute: "not produced any more"}},
		{"rejected before it was produced", "REJECTED@2", "PRODUCED@3", Turn{Dispute: "after its end"}},
		{"shipped after it was delivered", "SHIPPED@5", "DELIVERED@4", Turn{Dispute: "after its end"}},
		{"delivered before it was shipped", "DELIVERED@4", "SHIPPED@5", Turn{Dispute: "after its end"}},
		{"produced after it was lost", "SHIPPED@3 PRODUCED@6", "LOST@5", Turn{Dispute: "PRODUCED at 2026-11-23 16:00:00 UTC"}},
		{"a disputed event counts for nothing", "PRODUCED@3 REJECTED@2!", "DELIVERED@5", Turn{State: "DELIVERED"}},
		{"of several times of the end the newest counts", "DELIVERED@4 DELIVERED@8", "SHIPPED@5", Turn{}},
		{"a word that is none", "", "EATEN@1", Turn{Dispute: "EATEN"}},
		{"a word that is a state only", "ACKED@1", "SENT@2", Turn{Dispute: "SENT"}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := &shipment{state: "SENT"}
			for _, text := range strings.Fields(c.before) {
				bare, disputed := strings.CutSuffix(text, "!")
				if turn := s.tell(parse(t, bare)); (turn.Dispute != "") != disputed {
					t.Fatalf("before: %s: %q", text, turn.Dispute)
				}
			}
			expectTurn(t, s.tell(parse(t, c.event)), c.want)
		})
	}
}

// expectTurn compares turns; a dispute needs the words, and how every one ends.
func expectTurn(t *testing.T, got, want Turn) {
	t.Helper()
	words := want.Dispute
	if words != "" && strings.Contains(got.Dispute, words) && strings.HasSuffix(got.Dispute, askTheBureau) {
		want.Dispute = got.Dispute
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// parse reads STATUS@HOUR or STATUS@HOUR/CODE.
func parse(t *testing.T, text string) Happened {
	t.Helper()
	status, rest, _ := strings.Cut(text, "@")
	clock, code, _ := strings.Cut(rest, "/")
	var hour int
	if _, err := fmt.Sscan(clock, &hour); err != nil {
		t.Fatal(err)
	}
	e := told(status, hour)
	e.Code = code
	if status == "ACTIVATED" {
		e.Source = "extract"
	}
	return e
}

// A card of a refused file that was made all the same: a person may say so while no other file has it.
func TestTakingACardOfARefusedFile(t *testing.T) {
	e := told("DELIVERED", 4)
	expectTurn(t, Take("PLANNED", e), Turn{State: "DELIVERED", Acked: 1})
	expectTurn(t, Take("QUEUED", e), Turn{State: "DELIVERED", Acked: 1})
	expectTurn(t, Take("CANCELLED", e), Turn{Dispute: "the bureau has no file with the card"})
}

// What is not later than the refusal of the file says nothing of its repetition.
func TestEventsOfARefusedFile(t *testing.T) {
	history := []Happened{told("REFUSED", 5)}
	for _, state := range []string{"PLANNED", "QUEUED", "SENT", "ACKED"} {
		expectTurn(t, Follow(state, history, told("ACKED", 4)), Turn{})
		expectTurn(t, Follow(state, history, told("REJECTED", 5)), Turn{})
		expectTurn(t, Follow(state, history, told("SHIPPED", 4)), Turn{Dispute: "a file of which cards are made is not refused"})
	}
	expectTurn(t, Follow("SENT", history, told("ACKED", 6)), Turn{State: "ACKED", Acked: 1})
}

func TestACardThatTheBureauDoesNotHave(t *testing.T) {
	for _, state := range []string{"PLANNED", "QUEUED"} {
		e := told("DELIVERED", 4)
		expectTurn(t, Follow(state, nil, e), Turn{Dispute: "contradicts the card's state " + state + ": as far as this ledger knows the bureau has no file with the card"})
		e.Source = "extract"
		expectTurn(t, Follow(state, nil, e), Turn{})
	}
}

func TestAnEndWithoutATimeContradictsNoStep(t *testing.T) {
	expectTurn(t, Follow("DELIVERED", nil, told("SHIPPED", 4)), Turn{})
	expectTurn(t, Follow("SHIPPED", nil, told("REJECTED", 4)), Turn{Dispute: "SHIPPED at an unknown time"})
}

// TestTimesAreComparedAsTheLedgerKeepsThem: the ledger gives whole milliseconds
// back, and a line that is told again has its microseconds again.
func TestTimesAreComparedAsTheLedgerKeepsThem(t *testing.T) {
	e := told("ACKED", 1)
	e.At = e.At.Add(123456 * time.Nanosecond)
	kept := e
	kept.At = e.At.Truncate(time.Millisecond)
	expectTurn(t, Follow("ACKED", []Happened{kept}, e), Turn{Known: true})
}

func TestWhatAPersonTakesMovesTheShipmentWhereverItWas(t *testing.T) {
	for _, c := range []struct {
		state, event string
		want         Turn
	}{
		{"DELIVERED", "REJECTED@5", Turn{State: "REJECTED", Acked: -1, Rejected: 1}},
		{"REJECTED", "SHIPPED@5", Turn{State: "SHIPPED", Acked: 1, Rejected: -1}},
		{"DELIVERED", "RETURNED@5", Turn{State: "RETURNED"}},
		{"DELIVERED", "SHIPPED@5", Turn{State: "SHIPPED"}},
		{"SENT", "REJECTED@5", Turn{State: "REJECTED", Rejected: 1}},
		{"SENT", "EATEN@5", Turn{Dispute: "EATEN"}},
	} {
		expectTurn(t, Take(c.state, parse(t, c.event)), c.want)
	}
}

// life draws what truly happens to a card: steps in their order, some of them
// never told, and perhaps an end.
func life(t *rapid.T) (events []Happened, end string) {
	hour, end := 0, "SENT"
	add := func(status string) {
		hour += rapid.IntRange(0, 48).Draw(t, "hours")
		events, end = append(events, told(status, hour)), status
	}
	ends := []string{"", "ACTIVATED", "REJECTED", "DELIVERED", "RETURNED", "LOST"}
	last := rapid.SampledFrom(ends).Draw(t, "end")
	for _, status := range []string{"ACKED", "PRODUCED", "SHIPPED"} {
		if rapid.Bool().Draw(t, status) && (status != "SHIPPED" || last != "REJECTED") {
			add(status)
		}
	}
	if last != "" {
		add(last)
	}
	return events, end
}

// TestTheOrderOfArrivalDoesNotCount: a card's true life, told in any order and
// partly twice, always ends in its true state, and its file's balance counts it once.
func TestTheOrderOfArrivalDoesNotCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events, end := life(t)
		arrivals := slices.Clone(events)
		for _, e := range events {
			if rapid.Bool().Draw(t, "twice") {
				arrivals = append(arrivals, e)
			}
		}
		arrivals = rapid.Permutation(arrivals).Draw(t, "arrivals")
		s := &shipment{state: "SENT"}
		for _, e := range arrivals {
			if turn := s.tell(e); turn.Dispute != "" {
				t.Fatalf("%v: %s", arrivals, turn.Dispute)
			}
		}
		if s.state != end || len(s.history) != len(events) {
			t.Fatalf("%v: ends %s with %d events, want %s with %d", arrivals, s.state, len(s.history), end, len(events))
		}
		wantAcked, wantRejected := side(end)
		if s.acked != wantAcked || s.rejected != wantRejected {
			t.Fatalf("%v: %d acknowledged, %d rejected at %s", arrivals, s.acked, s.rejected, end)
		}
	})
}

// anything draws an event without regard to what happened before.
func anything(t *rapid.T) Happened {
	e := told(rapid.SampledFrom([]string{"ACKED", "REJECTED", "PRODUCED", "SHIPPED", "DELIVERED", "RETURNED", "LOST", "ACTIVATED", "SENT", "EATEN"}).Draw(t, "status"),
		rapid.IntRange(0, 12).Draw(t, "hour"))
	e.Code = rapid.SampledFrom([]string{"", "012"}).Draw(t, "code")
	e.Source = rapid.SampledFrom([]string{"bureau", "extract", "request"}).Draw(t, "source")
	return e
}

// TestNoEventsBreakAShipment: whatever is told, a shipment that began SENT is
// counted at most once, on the side of its state, and never leaves its end.
func TestNoEventsBreakAShipment(t *testing.T) { rapid.Check(t, noEventsBreakAShipment) }

func noEventsBreakAShipment(t *rapid.T) {
	s := &shipment{state: "SENT"}
	for range rapid.IntRange(1, 15).Draw(t, "events") {
		before, e := s.state, anything(t)
		turn := s.tell(e)
		if closing(before) && s.state != before {
			t.Fatalf("%s took the shipment from %s to %s", e, before, s.state)
		}
		if !closing(s.state) && step(s.state) < step(before) {
			t.Fatalf("%s took the shipment back from %s to %s", e, before, s.state)
		}
		if turn.State == "" && (turn.Acked != 0 || turn.Rejected != 0) || turn.Dispute != "" && turn.State != "" {
			t.Fatalf("%s: %+v", e, turn)
		}
		if a, r := side(s.state); s.acked != a || s.rejected != r {
			t.Fatalf("%d acknowledged, %d rejected at %s", s.acked, s.rejected, s.state)
		}
	}
}

// TestUndisputedEventsCommute: where any events are taken without a dispute in
// two orders, both end alike. A card that is delivered and in use may show either.
func TestUndisputedEventsCommute(t *testing.T) { rapid.Check(t, undisputedEventsCommute) }

func undisputedEventsCommute(t *rapid.T) {
	var events []Happened
	for range rapid.IntRange(1, 6).Draw(t, "events") {
		events = append(events, anything(t))
	}
	one, other := &shipment{state: "SENT"}, &shipment{state: "SENT"}
	for _, e := range events {
		one.tell(e)
	}
	for _, e := range rapid.Permutation(events).Draw(t, "other order") {
		other.tell(e)
	}
	if one.disputed() || other.disputed() {
		return
	}
	inUse := func(state string) string { return strings.Replace(state, "ACTIVATED", "DELIVERED", 1) }
	if inUse(one.state) != inUse(other.state) || one.acked != other.acked || one.rejected != other.rejected {
		t.Fatalf("%v: %s %d %d, or %s %d %d", events, one.state, one.acked, one.rejected, other.state, other.acked, other.rejected)
	}
}
