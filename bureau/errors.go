package bureau

import (
	"errors"
	"strings"
)

// Class says who can mend a failure. It decides whether a delivery is tried
// again and what the report says.
type Class int

// Classes of failures.
const (
	Ours          Class = iota // a fault of this program or of its files
	Operator                   // configuration, or a key of ours that is not in order
	BureauPassing              // the bureau's side, and likely to pass: tried again
	BureauLasting              // the bureau's side, until somebody there or here acts
)

func (c Class) String() string {
	switch c {
	case Operator:
		return "operator"
	case BureauPassing:
		return "bureau, passing"
	case BureauLasting:
		return "bureau, lasting"
	}
	return "ours"
}

// Error is a failed step towards the bureau: what happened in one plain
// sentence, and what to do about it. It never carries content of a file.
type Error struct {
	Class Class
	Op    string // the step: "dial", "upload", "rename" …
	Host  string // host:port as configured
	What  string // what is wrong
	Do    string // what to do; "" where nothing helps but time
	Err   error  // the cause, may be nil
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Host != "" {
		b.WriteString(e.Host + ": ")
	}
	b.WriteString(e.Op + ": " + e.What)
	if e.Do != "" {
		b.WriteString("; " + e.Do)
	}
	if e.Err != nil {
		b.WriteString(" (" + e.Err.Error() + ")")
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Causes that callers tell apart with errors.Is.
var (
	// ErrNameTaken: under the final name stands a file that is not ours. It was not touched.
	ErrNameTaken = errors.New("a file that is not ours has this name")
	// ErrUndecided: nobody can know whether the bureau has the file. A person decides.
	ErrUndecided = errors.New("whether the bureau has the file cannot be known from here")
	// ErrHostKey: the server is not the one that known_hosts names.
	ErrHostKey = errors.New("the host key is not the known one")
	// ErrRefusedKey: the server does not let our key in.
	ErrRefusedKey = errors.New("the server refused our login")
	// ErrChanging: a file that waits at the bureau is not the one that was listed: it grew, shrank or went. It is left for the next night.
	ErrChanging = errors.New("the file is still changing")
	// ErrFrozenFile: the file in the outbox is not the one that was frozen.
	ErrFrozenFile = errors.New("the file differs from what the ledger recorded")
)

// ClassOf gives the class of err, [Ours] for an error that is not of this package.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	var key *KeyError
	if errors.As(err, &key) {
		return Operator
	}
	return Ours
}
