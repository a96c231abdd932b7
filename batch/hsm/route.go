package hsm

import (
	"context"
	"errors"
	"fmt"

	"reemboss/formats/iso"
)

// ErrShort is a backend's that gave another number of answers than it was asked questions: which is whose is unknown.
var ErrShort = errors.New("the card key backend gave another number of answers than it was asked for")

// Place is where some keys are: the backend that computes with them, and what verifies its values.
type Place struct {
	Name     string // of the backend, for errors
	Keys     []string
	Backend  Backend
	Verifier Verifier
}

// Route is one [Backend] and [Verifier] over several. Each key has exactly one
// place; a request goes to the place of its key and to no other, whatever becomes
// of it there. There is no fall-back.
type Route struct {
	places []Place
	of     map[string]int // key → place
}

var (
	_ Backend  = (*Route)(nil)
	_ Verifier = (*Route)(nil)
)

// NewRoute joins places. A key in two of them, and a place without backend or verifier, is an error.
func NewRoute(places ...Place) (*Route, error) {
	r := &Route{places: places, of: map[string]int{}}
	for i, p := range places {
		if p.Backend == nil || p.Verifier == nil {
			return nil, fmt.Errorf("backend %s cannot compute or cannot verify", p.Name)
		}
		for _, key := range p.Keys {
			if other, twice := r.of[key]; twice {
				return nil, fmt.Errorf("card key %s has two places: %s and %s", key, places[other].Name, p.Name)
			}
			r.of[key] = i
		}
	}
	return r, nil
}

// CVVs implements [Backend]. The requests of one place stay together and in
// their order, so that a hardware module gets them as one batch. The error of a
// key without a place wraps [ErrRequest] and [ErrNoKey].
func (r *Route) CVVs(ctx context.Context, requests []CVVRequest) []CVVResult {
	results := make([]CVVResult, len(requests))
	r.split(requests, func(p Place, which []int) {
		part := pick(requests, which)
		answers := p.Backend.CVVs(ctx, part)
		for n, i := range which {
			if len(answers) != len(part) {
				results[i].Err = fmt.Errorf("%w (%s)", ErrShort, p.Name)
			} else {
				results[i] = answers[n]
			}
		}
	}, func(i int, err error) { results[i].Err = err })
	return results
}

// VerifyCVVs implements [Verifier]: each value is verified where its key is.
func (r *Route) VerifyCVVs(ctx context.Context, requests []CVVRequest, values []iso.Secret) []error {
	errs := make([]error, len(requests))
	r.split(requests, func(p Place, which []int) {
		part := pick(requests, which)
		answers := p.Verifier.VerifyCVVs(ctx, part, pick(values, which))
		for n, i := range which {
			if len(answers) != len(part) {
				errs[i] = fmt.Errorf("%w (%s)", ErrShort, p.Name)
			} else {
				errs[i] = answers[n]
			}
		}
	}, func(i int, err error) { errs[i] = err })
	return errs
}

// split gives each place that is concerned the indices of its requests, and refuses those whose key has none.
func (r *Route) split(requests []CVVRequest, ask func(p Place, which []int), refuse func(i int, err error)) {
	parts := make([][]int, len(r.places))
	for i := range requests {
		place, known := r.of[requests[i].Key]
		if !known {
			refuse(i, fmt.Errorf("%w: %w: there is no card key %q", ErrRequest, ErrNoKey, requests[i].Key))
			continue
		}
		if parts[place] == nil {
			parts[place] = make([]int, 0, len(requests)-i)
		}
		parts[place] = append(parts[place], i)
	}
	for place, which := range parts {
		if len(which) > 0 {
			ask(r.places[place], which)
		}
	}
}

// pick gives the elements at some indices; where these are all, the list itself.
func pick[T any](list []T, which []int) []T {
	if len(which) == len(list) {
		return list
	}
	part := make([]T, len(which))
	for n, i := range which {
		part[n] = list[i]
	}
	return part
}
