package layout

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"reemboss/formats/iso"
)

// FieldError is one violation of a record, or of a file's header or trailer,
// against the layout. It names the element and what is wrong and never
// repeats the value.
type FieldError struct {
	Element string // as the layout calls it, after its parent where it has one: CARRIER/ADD1
	Field   Field  // what the element is drawn from; "" for header and trailer
	Limit   int    // characters allowed, where the length is what is wrong
	Length  int    // characters found, where the length is what is wrong
	Reason  string // reads on after the element's name: "may not be empty"
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Element + " " + e.Reason
	}
	return e.Element + " (" + string(e.Field) + ") " + e.Reason
}

// RecordError is a problem that [Layout.Read] found, with the place where it
// is: the record's number from 1 and its uid, or number 0 for the file as a
// whole.
type RecordError struct {
	Record int64
	UID    string // "" where it could not be read
	Err    error
}

func (e *RecordError) Error() string {
	switch {
	case e.Record == 0:
		return "the file: " + e.Err.Error()
	case e.UID == "":
		return fmt.Sprintf("record %d: %v", e.Record, e.Err)
	}
	return fmt.Sprintf("record %d (uid %s): %v", e.Record, e.UID, e.Err)
}

// Unwrap gives the problem itself, a [*FieldError] for a value.
func (e *RecordError) Unwrap() error { return e.Err }

// ErrCut says that a file ends before its layout does.
var ErrCut = errors.New("it ends too early: a part is missing, ask for it again")

// Mistake is one thing that is wrong with a description.
type Mistake struct {
	Line, Column int // from 1
	Text         string
}

// DescriptionError lists all mistakes of a description, in their order.
type DescriptionError struct {
	Name     string
	Mistakes []Mistake
}

func (e *DescriptionError) Error() string {
	lines := make([]string, len(e.Mistakes))
	for i, m := range e.Mistakes {
		lines[i] = fmt.Sprintf("%s:%d:%d: %s", e.Name, m.Line, m.Column, m.Text)
	}
	return strings.Join(lines, "\n")
}

// faults collects violations; the zero faults is ready to use.
type faults struct{ found []error }

func (f *faults) add(e *FieldError) { f.found = append(f.found, e) }

func (f *faults) join() error { return errors.Join(f.found...) }

// shownUID is a uid as errors may show it. A file whose columns have shifted
// can have anything where the uid should be, so that what could be a card
// number is masked.
func shownUID(uid string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, uid)
	if len(clean) > maxUID {
		clean = clean[:maxUID]
	}
	runs := strings.FieldsFunc(clean, func(r rune) bool { return r < '0' || r > '9' })
	if slices.ContainsFunc(runs, looksLikePAN) || looksLikePAN(iso.Digits(uid)) {
		return strings.Repeat("*", len(clean))
	}
	return clean
}

// maxUID is the length of a uid that every layout must take.
const maxUID = 20

func looksLikePAN(digits string) bool {
	return len(digits) >= iso.MinPANLength && len(digits) <= iso.MaxPANLength && iso.LuhnValid(digits)
}
