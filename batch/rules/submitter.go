package rules

import (
	"slices"
	"strings"

	"reemboss/batch/config"
	"reemboss/formats/request"
)

// This file judges who asks: what the person who signed a request file may ask
// for (submits of the configuration). What is not permitted is refused; a file
// that nobody signed is not judged here, because its sender is not known.

// Submitter is a person of the configuration with what he or she may ask for.
type Submitter struct {
	Key      string // of people
	name     string // for sentences
	known    []string
	requests []string
	reasons  []int
	programs []string
	limit    int64
}

// submitters compiles everybody of people: who submits nothing may sign too, and is refused row by row.
func submitters(people map[string]config.Person) map[string]*Submitter {
	compiled := make(map[string]*Submitter, len(people))
	for key, p := range people {
		s := &Submitter{Key: key, name: p.Name, requests: p.Submits.Requests, reasons: p.Submits.Reasons, programs: p.Submits.Programs, limit: int64(p.Submits.MaxCards)}
		if s.name == "" {
			s.name = key
		}
		for _, known := range []string{key, p.Name, p.Login} {
			if known != "" {
				s.known = append(s.known, known)
			}
		}
		compiled[key] = s
	}
	return compiled
}

// Submitter is the person of that key in people; nil for nobody.
func (p *Policy) Submitter(key string) *Submitter { return p.people[key] }

// Name is how sentences call the person.
func (s *Submitter) Name() string { return s.name }

// Limited says that the person's nights have a limit, so that accepted rows must be counted.
func (s *Submitter) Limited() bool { return s != nil && s.limit > 0 }

func (s *Submitter) may(kind request.Kind) bool { return slices.Contains(s.requests, string(kind)) }

func (s *Submitter) mayUse(program string) bool {
	return slices.Contains(s.programs, config.EveryProgram) || slices.Contains(s.programs, program)
}

// is compares without regard to case and to blanks around.
func (s *Submitter) is(name string) bool {
	return slices.ContainsFunc(s.known, func(known string) bool {
		return strings.EqualFold(strings.TrimSpace(known), strings.TrimSpace(name))
	})
}

// mayAsk says that no rule about the submitter but the night's limit stands
// against the row. Only then is an earlier answer given again: it tells of a
// card, and repeating it costs nothing.
func (w *weighing) mayAsk() bool {
	before := len(w.violations)
	submitterMayAsk(w)
	programIsPermitted(w)
	may := len(w.violations) == before
	w.violations = w.violations[:before]
	return may
}

const askOperations = "ask operations for the right, or have somebody send it who has it."

// submitterMayAsk: the kind of request, its reason, and nobody else's name in the submitter column.
func submitterMayAsk(w *weighing) {
	s := w.in.Submitter
	if s == nil {
		return
	}
	switch {
	case !s.may(w.in.Row.Kind) && w.reissue:
		w.found(SubmitterNotAllowed, "%s, who signed the file, may not ask for reissues; %s", s.name, askOperations)
	case !s.may(w.in.Row.Kind):
		w.found(SubmitterNotAllowed, "%s, who signed the file, may not ask for re-embossing; %s", s.name, askOperations)
	case w.reasonCode != 0 && !slices.Contains(s.reasons, w.reasonCode):
		w.found(SubmitterNotAllowed, "%s, who signed the file, may not ask for reissues for reason %d (%s); %s", s.name, w.reasonCode, w.reason.Name, askOperations)
	}
	if column := w.fields.Submitter; strings.TrimSpace(column) != "" && !w.spoiled("submitter") && !s.is(column) {
		w.found(SubmitterNotAllowed, "The submitter column says %s, and %s signed the file; leave it blank, or have the one sign who is named.", shown(column), s.name)
	}
}

// nightsLimitIsLeft: so many rows of one person are accepted in one night (by our local date), over all files and runs of it.
func nightsLimitIsLeft(w *weighing) {
	s := w.in.Submitter
	if !s.Limited() || w.in.Spent < s.limit {
		return
	}
	w.found(SubmitterNotAllowed, "%s may ask for %s in one night, and so many were accepted tonight; send the row again tomorrow, or have somebody send it who has cards left.", s.name, cards(s.limit))
}

// programIsPermitted: the card's program, whatever is asked for it.
func programIsPermitted(w *weighing) {
	if s := w.in.Submitter; s != nil && w.card != nil && !s.mayUse(w.card.ProgramID) {
		w.found(ProgramNotPermitted, "%s, who signed the file, may not make requests for program %s; %s", s.name, shown(w.card.ProgramID), askOperations)
	}
}
