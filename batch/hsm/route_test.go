package hsm_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/batch/hsm/hsmtest"
	"reemboss/formats/iso"
)

// place is a software backend with its own keyset.
func place(t testing.TB, name string, keys map[string][]byte) hsm.Place {
	t.Helper()
	set := newKeyset(t, hsm.Spec{})
	want := map[string]config.CardKey{}
	for key, pair := range keys {
		if err := set.AddCVK(key, pair, rand.Reader); err != nil {
			t.Fatal(err)
		}
		want[key] = config.CardKey{KCV: set.CVKs()[key]}
	}
	backend, err := hsm.NewSoftware(set, want, config.Test, false)
	if err != nil {
		t.Fatal(err)
	}
	return hsm.Place{Name: name, Keys: slices.Sorted(maps.Keys(keys)), Backend: backend, Verifier: set}
}

// dealt deals keys out to three places.
func dealt(t testing.TB, keys map[string][]byte) []hsm.Place {
	t.Helper()
	hands := [3]map[string][]byte{{}, {}, {}}
	for i, name := range slices.Sorted(maps.Keys(keys)) {
		hands[i%3][name] = keys[name]
	}
	var places []hsm.Place
	for i, hand := range hands {
		places = append(places, place(t, fmt.Sprintf("place %d", i), hand))
	}
	return places
}

func route(t testing.TB, places ...hsm.Place) *hsm.Route {
	t.Helper()
	r, err := hsm.NewRoute(places...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestARouteOverThreePlacesPassesTheSuite(t *testing.T) {
	hsmtest.Run(t, func(t *testing.T, keys map[string][]byte) hsm.Backend { return route(t, dealt(t, keys)...) })
}

func TestAKeyHasOnePlace(t *testing.T) {
	a, b := place(t, "a", map[string][]byte{"cvk": testPair(t)}), place(t, "b", map[string][]byte{"cvk": testPair(t)})
	if _, err := hsm.NewRoute(a, b); err == nil || !strings.Contains(err.Error(), "cvk has two places: a and b") {
		t.Errorf("one key in two places: %v", err)
	}
	a.Verifier = nil
	if _, err := hsm.NewRoute(a); err == nil {
		t.Error("a place that verifies nothing was taken")
	}
}

var errDown = errors.New("the module is down")

// watched counts what a place was asked for; down fails all of it, short loses the last answer.
type watched struct {
	hsm.Place
	asked map[string]int
	down  bool
	short bool
}

func (w *watched) note(requests []hsm.CVVRequest) {
	for _, r := range requests {
		w.asked[r.Key]++
	}
}

func (w *watched) CVVs(ctx context.Context, requests []hsm.CVVRequest) []hsm.CVVResult {
	w.note(requests)
	results := w.Backend.CVVs(ctx, requests)
	for i := range results {
		if w.down {
			results[i] = hsm.CVVResult{Err: errDown}
		}
	}
	if w.short {
		return results[:len(results)-1]
	}
	return results
}

func (w *watched) VerifyCVVs(ctx context.Context, requests []hsm.CVVRequest, values []iso.Secret) []error {
	w.note(requests)
	errs := w.Verifier.VerifyCVVs(ctx, requests, values)
	for i := range errs {
		if w.down {
			errs[i] = errDown
		}
	}
	if w.short {
		return errs[:len(errs)-1]
	}
	return errs
}

// Whatever is asked for, each request has the answer that one backend with all
// keys gives, or the failure of its own place; no place sees another's key.
func TestEachRequestGoesToThePlaceOfItsKeyOnly(t *testing.T) {
	keys := map[string][]byte{}
	for i, v := range hsmtest.Vectors(t)[:6] {
		keys[fmt.Sprintf("cvk-%d", i)] = odd(v.Key)
	}
	whole := place(t, "whole", keys)
	places := dealt(t, keys)
	owner := map[string]int{}
	for i, p := range places {
		for _, key := range p.Keys {
			owner[key] = i
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		var doubles [3]*watched
		var behind []hsm.Place
		for i, p := range places {
			doubles[i] = &watched{Place: p, asked: map[string]int{}, down: rapid.Bool().Draw(t, "down"), short: rapid.IntRange(0, 5).Draw(t, "short") == 0}
			behind = append(behind, hsm.Place{Name: p.Name, Keys: p.Keys, Backend: doubles[i], Verifier: doubles[i]})
		}
		r, err := hsm.NewRoute(behind...)
		if err != nil {
			t.Fatal(err)
		}
		requests := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) hsm.CVVRequest {
			return hsm.CVVRequest{Key: fmt.Sprintf("cvk-%d", rapid.IntRange(0, 6).Draw(t, "key")), PAN: iso.VectorPAN(rapid.StringMatching(`4[0-9]{15}`).Draw(t, "number")),
				Expiry: rapid.SampledFrom([]string{"2912", "1229", "29"}).Draw(t, "expiry"), ServiceCode: "201"}
		}), 0, 40).Draw(t, "requests")
		right := whole.Backend.CVVs(context.Background(), requests)
		results := r.CVVs(context.Background(), requests)
		values, asked := make([]iso.Secret, len(requests)), map[string]int{}
		for i, request := range requests {
			values[i] = right[i].CVV
			at, known := owner[request.Key]
			switch got := results[i]; {
			case !known:
				if !errors.Is(got.Err, hsm.ErrRequest) || !errors.Is(got.Err, hsm.ErrNoKey) {
					t.Fatalf("request %d has no key: %v", i, got.Err)
				}
				continue
			case doubles[at].short && !errors.Is(got.Err, hsm.ErrShort), !doubles[at].short && doubles[at].down && !errors.Is(got.Err, errDown),
				(doubles[at].short || doubles[at].down) && !got.CVV.IsZero():
				t.Fatalf("request %d was answered by another place: %v", i, got.Err)
			case !doubles[at].short && !doubles[at].down && (got.CVV.Reveal() != right[i].CVV.Reveal() || fmt.Sprint(got.Err) != fmt.Sprint(right[i].Err)):
				t.Fatalf("request %d has another answer than from one backend: %v", i, got.Err)
			}
			asked[request.Key]++
		}
		for i, err := range r.VerifyCVVs(context.Background(), requests, values) {
			at, known := owner[requests[i].Key]
			good := known && !doubles[at].short && !doubles[at].down && right[i].Err == nil
			if (err == nil) != good {
				t.Fatalf("verification of %d: %v", i, err)
			}
		}
		for i, w := range doubles {
			for key, n := range w.asked {
				if owner[key] != i || n != 2*asked[key] {
					t.Fatalf("%s was asked %d times for %s, which stood in %d requests", w.Name, n, key, asked[key])
				}
			}
		}
	})
}

// odd sets the parity bits, which are no part of the key.
func odd(key []byte) []byte {
	set := append([]byte(nil), key...)
	for i, b := range set {
		ones := 0
		for bit := 1; bit < 8; bit++ {
			ones += int(b >> bit & 1)
		}
		set[i] = b&^1 | byte(1-ones%2)
	}
	return set
}
