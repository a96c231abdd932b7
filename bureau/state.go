package bureau

import (
	"context"
	"time"
)

// State is how far a file got on its way. The words are those of the ledger
// and of the reports.
type State string

// States of a delivery, in their order.
const (
	Written   State = "WRITTEN"   // frozen here, nothing sent
	Intent    State = "INTENT"    // a transfer began; nothing of ours was renamed
	Uploaded  State = "UPLOADED"  // whole under its temporary name
	Renaming  State = "RENAMING"  // the rename may have happened
	Sent      State = "SENT"      // under its final name, with evidence
	Undecided State = "UNDECIDED" // nobody can know; a person decides
)

// follows are the steps that Deliver records. A ledger may refuse any other.
var follows = map[State][]State{
	Written:  {Intent},
	Intent:   {Uploaded, Sent, Undecided}, // Sent: a resend found the file already there; Undecided: it vanished right after its upload
	Uploaded: {Renaming, Intent, Sent},    // Intent: the temporary file is gone, uploaded again
	Renaming: {Sent, Undecided, Uploaded}, // Uploaded: the rename was refused and did not happen
}

// MayBecome says whether Deliver ever records next after s.
func (s State) MayBecome(next State) bool {
	for _, allowed := range follows[s] {
		if allowed == next {
			return true
		}
	}
	return false
}

// HashKind says how the content on the server was compared with ours.
type HashKind string

// Kinds of comparison. SFTP has no hash of its own that servers agree on.
const (
	HashNone     HashKind = "none"             // size only
	HashReadBack HashKind = "sha256 read back" // read back whole and hashed by us
)

// Seen says what the word SENT stands on.
type Seen string

// What was seen when a file became SENT.
const (
	SeenRenamed     Seen = "rename confirmed, file seen under its final name"
	SeenTakenAfter  Seen = "rename confirmed, file taken away since"
	SeenThere       Seen = "no answer to the rename, file found under its final name"
	SeenTakenAway   Seen = "no answer to the rename, both names gone, and this bureau takes files away at once"
	SeenAlreadySent Seen = "resend: the same file was already there"
)

// Evidence is what is known of the file at a step. The ledger keeps it.
type Evidence struct {
	Name   string    `json:"name"`           // final name with its folder
	Size   int64     `json:"size"`           // bytes; from UPLOADED on as seen at the server
	SHA256 string    `json:"sha256"`         // of our bytes
	Hash   HashKind  `json:"hash"`           // whether the server's bytes were compared too
	At     time.Time `json:"at"`             // our clock
	Host   string    `json:"host"`           // host:port as configured
	User   string    `json:"user,omitempty"` // of the login, at RENAMING
	// Temporary is the name, with its folder, that was asked to become Name; at RENAMING. "" in what earlier versions recorded.
	Temporary string `json:"temporary,omitempty"`
	HostKey   string `json:"host_key,omitempty"` // fingerprint, SHA256:…; "" before the server was met
	Seen      Seen   `json:"seen,omitempty"`     // from SENT on
	Left      string `json:"left,omitempty"`     // a temporary name of ours that the server did not let us remove
	Attempt   int    `json:"attempt"`            // from 1
}

// Journal keeps the steps of one delivery; the ledger implements it.
type Journal interface {
	// Record must be durable before it returns nil. After an error nothing
	// more is sent or renamed: the delivery stops, and the next one continues from
	// whatever state the ledger then has. errText is one sentence where the
	// step is a step back or UNDECIDED, else "".
	Record(ctx context.Context, to State, ev Evidence, errText string) error
}

// File is a frozen file and what the ledger recorded of it.
type File struct {
	LocalPath  string
	RemoteName string // final name, without a folder
	Size       int64  // bytes
	SHA256     string // hex, of the bytes
	// Asked is what was recorded when an earlier process asked for the rename; nil where that is not known. From RENAMING on
	// it is held against the settings: a place, a login or a temporary name that is another one since tells nothing.
	Asked *Evidence
}
