package rules

import (
	"fmt"
	"slices"
	"time"
)

// What a bureau says of a file as a whole.
const (
	received = "RECEIVED"
	refused  = "REFUSED"
)

// FileNow is what is known of a bureau file when the bureau speaks of it.
type FileNow struct {
	State    string           // of the file: PLANNED WRITTEN INTENT UPLOADED RENAMING SENT UNDECIDED REFUSED VOID
	Records  int64            // of the plan
	ByState  map[string]int64 // its orders by their state
	EverSent bool             // it was SENT once, whatever it is now
	SentAt   time.Time        // when it was SENT last
	Sendings int              // how often it was SENT, or may have arrived; a repetition that failed is none
	Begun    time.Time        // the bureau cannot have had its newest sending earlier; zero where that is not asked for
	History  []Happened       // RECEIVED and REFUSED
}

// FileTurn is what an answer does to a file; the fields are those of the
// ledger's FileAnswer. The zero FileTurn keeps the answer as history.
type FileTurn struct {
	Known       bool // this very answer (status, time, code) is in the history
	Delivered   bool // the file was UNDECIDED or RENAMING: the bureau has it
	Acknowledge bool // every card of it that is not answered for is acknowledged
	Refuse      bool // the file goes before a person
	Dispute     string
}

// FollowFile says what a FILE line does to a bureau file: an acknowledgement
// answers for every outstanding card, and decides a delivery whose end nobody
// knew; a refusal puts the file before a person. count is the number of records
// that the bureau counted, -1 where it tells none.
//
// An answer counts for the transmission that it can belong to: one that is not
// later than a known refusal says nothing of the repetition, and only what
// happened since a repetition began shows that it arrived ([ProvesDelivery]).
func FollowFile(now FileNow, e Happened, count int64) FileTurn {
	for _, h := range now.History {
		if e.same(h) {
			return FileTurn{Known: true}
		}
	}
	switch e.Status {
	case received:
		return fileReceived(now, e, count)
	case refused:
		return fileRefused(now, e)
	}
	return FileTurn{Dispute: fmt.Sprintf("%s is nothing that happens to a file; %s", e, askTheBureau)}
}

func fileReceived(now FileNow, e Happened, count int64) FileTurn {
	refusal := lastOf(now.History, refused)
	earlier := !refusal.At.IsZero() && !e.after(refusal)
	switch {
	case count >= 0 && count != now.Records:
		return FileTurn{Dispute: fmt.Sprintf("%s contradicts the file: the bureau counted %d of %d records; %s", e, count, now.Records, askTheBureau)}
	case earlier:
		return FileTurn{}
	case now.State == "VOID":
		return FileTurn{Dispute: fmt.Sprintf("%s contradicts the file's state VOID: it was cancelled, and its cards are made from another file; %s", e, askTheBureau)}
	case now.State == "REFUSED":
		return FileTurn{Dispute: e.contradicts(refusal, "a file that was refused is not received without being sent again").Dispute}
	case now.State == "SENT":
		return FileTurn{Acknowledge: true}
	case ProvesDelivery(now, nil, e):
		return FileTurn{Delivered: true, Acknowledge: true}
	case toBeRepeated(now, e) && !refusal.before(now.SentAt): // the sending that was refused
		return FileTurn{Dispute: e.contradicts(refusal, "a file that was refused is not received without being sent again").Dispute}
	}
	turn := notSent(now, e)
	turn.Acknowledge = turn.Dispute == "" // of the sending before: its cards are still SENT
	return turn
}

func fileRefused(now FileNow, e Happened) FileTurn {
	switch {
	case now.State == "REFUSED" || now.State == "VOID" || ofAnEarlierSending(now, e):
		return FileTurn{}
	case lastOf(now.History, received).after(e): // it was received after all
		return FileTurn{}
	case now.State != "SENT" && !ProvesDelivery(now, nil, e) && !toBeRepeated(now, e):
		return notSent(now, e)
	}
	for _, state := range []string{produced, shipped, delivered, returned, lost, rejected, activated} {
		if n := now.ByState[state]; n > 0 {
			return FileTurn{Dispute: fmt.Sprintf("%s of the whole file contradicts its cards, of which %d are %s; %s", e, n, state, askTheBureau)}
		}
	}
	return FileTurn{Delivered: now.State == "UNDECIDED" || now.State == "RENAMING", Refuse: true}
}

// toBeRepeated says that an answer is about the sending of a file whose repetition
// a person asked for and that has not arrived. A refusal of it counts at once:
// where the repetition failed, the file would be called SENT.
func toBeRepeated(now FileNow, e Happened) bool {
	switch now.State {
	case "WRITTEN", "INTENT", "UPLOADED":
		return now.EverSent && !e.before(now.SentAt)
	}
	return false
}

// ProvesDelivery says that an event of the bureau, about a file or about one of
// its cards (history is then the card's), decides a transfer whose end nobody
// knew. Of a file that it had before, or a card that came from a refused one, the
// bureau may be speaking of the earlier sending: then only what happened since this
// transfer began is proof, and nothing that is not later than a refusal.
func ProvesDelivery(now FileNow, history []Happened, e Happened) bool {
	if now.State != "UNDECIDED" && now.State != "RENAMING" {
		return false
	}
	moved := !lastOf(history, refused).At.IsZero()
	if !now.EverSent && !moved {
		return true
	}
	refusal := lastOf(append(slices.Clone(now.History), history...), refused)
	return !e.At.Before(now.Begun.Truncate(time.Second)) && (refusal.At.IsZero() || e.after(refusal))
}

// ofAnEarlierSending says that a refusal belongs to a sending that was repeated
// since, by itself refused or by a person. The bureau may refuse a repetition
// before we know that it arrived, so it counts from the moment at which it can
// have arrived, not from SENT.
func ofAnEarlierSending(now FileNow, e Happened) bool {
	refusal := lastOf(now.History, refused)
	if refusal.At.IsZero() && now.Sendings < 2 {
		return false
	}
	newest := toBeRepeated(now, e) && (refusal.At.IsZero() || refusal.before(now.SentAt)) // of the sending that no refusal is known of
	return !refusal.At.IsZero() && !e.after(refusal) || e.before(now.Begun) && !newest
}

// notSent: an answer to a file that has not left, or is about to be repeated;
// then it answers the first sending.
func notSent(now FileNow, e Happened) FileTurn {
	if now.EverSent && !e.before(now.SentAt) {
		return FileTurn{}
	}
	return FileTurn{Dispute: fmt.Sprintf("%s contradicts the file's state %s: the bureau tells of a file that we have not sent; %s", e, now.State, askTheBureau)}
}
