package rules

import (
	"fmt"
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
// later than a known refusal says nothing of the repetition.
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
	case now.State == "VOID":
		return FileTurn{Dispute: fmt.Sprintf("%s contradicts the file's state VOID: it was cancelled and its cards went into a later file; %s", e, askTheBureau)}
	case now.State == "REFUSED" && !earlier:
		return FileTurn{Dispute: e.contradicts(refusal, "a file that was refused is not received without being sent again").Dispute}
	case earlier:
		return FileTurn{}
	case atTheBureau(now.State):
		return FileTurn{Delivered: now.State != "SENT", Acknowledge: true}
	}
	return notSent(now, e)
}

func fileRefused(now FileNow, e Happened) FileTurn {
	switch {
	case now.State == "REFUSED" || now.State == "VOID" || ofAnEarlierSending(now, e):
		return FileTurn{}
	case !atTheBureau(now.State):
		return notSent(now, e)
	}
	for _, state := range []string{produced, shipped, delivered, returned, lost, rejected, activated} {
		if n := now.ByState[state]; n > 0 {
			return FileTurn{Dispute: fmt.Sprintf("%s of the whole file contradicts its cards, of which %d are %s; %s", e, n, state, askTheBureau)}
		}
	}
	return FileTurn{Delivered: now.State != "SENT", Refuse: true}
}

// atTheBureau says that the bureau can have the file.
func atTheBureau(state string) bool {
	return state == "SENT" || state == "UNDECIDED" || state == "RENAMING"
}

// ofAnEarlierSending says that a refusal belongs to a sending that is known to
// have been refused, and not to the repetition.
func ofAnEarlierSending(now FileNow, e Happened) bool {
	refusal := lastOf(now.History, refused)
	if refusal.At.IsZero() {
		return false
	}
	return !e.after(refusal) || e.At.Before(now.SentAt)
}

// notSent: an answer to a file that has not left, or is about to be repeated;
// then it answers the first sending.
func notSent(now FileNow, e Happened) FileTurn {
	if now.EverSent && !e.At.Before(now.SentAt) {
		return FileTurn{}
	}
	return FileTurn{Dispute: fmt.Sprintf("%s contradicts the file's state %s: the bureau tells of a file that we have not sent; %s", e, now.State, askTheBureau)}
}
