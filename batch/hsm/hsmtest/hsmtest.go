// Package hsmtest is the suite that every card verification backend passes:
// software, a hardware module, a simulator of one. It holds the backend to the
// contract of [hsm.Backend] and to the public test vectors, those that were
// published wrong included.
package hsmtest

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"reemboss/batch/hsm"
	"reemboss/formats/iso"
)

// Open gives a backend that has the named key pairs of 16 bytes (all of odd
// parity) and no others.
type Open func(t *testing.T, keys map[string][]byte) hsm.Backend

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, open Open)
	}{
		{"public vectors match, wrong ones do not", vectorsMatch},
		{"order of the requests is kept", orderKept},
		{"an error is one request's only", errorsApart},
		{"no error shows card data", errorsSilent},
		{"the date order changes the value", dateOrder},
		{"the three values differ", threeValues},
		{"the same request gives the same value", sameAgain},
		{"no requests give no results", nothing},
		{"a large slice", large},
		{"a cancelled context ends every request", cancelled},
		{"a context that ends on the way leaves a right value or its error", cancelledOnTheWay},
		{"several goroutines at once", concurrent},
		{"a backend that verifies finds the wrong values", verified},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

//go:embed testdata/cvv.csv
var cvvTable []byte

// Vector is one published value. Matches is false for one that is wrong: a
// right backend gives another.
type Vector struct {
	ID, Expiry, ServiceCode, CVV string
	Key                          []byte
	PAN                          iso.PAN
	Matches                      bool
}

// Vectors are the published values with their verdicts. Keys are as published; one has even parity.
func Vectors(t testing.TB) []Vector {
	t.Helper()
	r := csv.NewReader(bytes.NewReader(cvvTable))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	list := make([]Vector, 0, len(rows))
	for _, row := range rows {
		key, err := hex.DecodeString(row[1])
		if err != nil {
			t.Fatalf("%s: %v", row[0], err)
		}
		list = append(list, Vector{ID: row[0], Key: key, PAN: iso.VectorPAN(row[2]), Expiry: row[3], ServiceCode: row[4], CVV: row[5], Matches: row[6] == "match"})
	}
	return list
}

// withOddParity sets the parity bits, which are no part of the key.
func withOddParity(key []byte) []byte {
	odd := append([]byte(nil), key...)
	for i, b := range odd {
		ones := 0
		for bit := 1; bit < 8; bit++ {
			ones += int(b >> bit & 1)
		}
		odd[i] = b&^1 | byte(1-ones%2)
	}
	return odd
}

func vectorsMatch(t *testing.T, open Open) {
	vectors := Vectors(t)
	keys := map[string][]byte{}
	var requests []hsm.CVVRequest
	for _, v := range vectors {
		keys[v.ID] = withOddParity(v.Key)
		requests = append(requests, hsm.CVVRequest{Key: v.ID, PAN: v.PAN, Expiry: v.Expiry, ServiceCode: v.ServiceCode})
	}
	results := open(t, keys).CVVs(context.Background(), requests)
	if len(results) != len(vectors) {
		t.Fatalf("%d results for %d requests", len(results), len(vectors))
	}
	for i, v := range vectors {
		switch {
		case results[i].Err != nil:
			t.Errorf("%s: %v", v.ID, results[i].Err)
		case (results[i].CVV.Reveal() == v.CVV) != v.Matches:
			t.Errorf("%s: matches %v, must be %v", v.ID, !v.Matches, v.Matches)
		}
	}
}

const trialKey = "trial"

func trialKeys() map[string][]byte {
	return map[string][]byte{trialKey: {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10}}
}

// request is the i-th of a row of different cards.
func request(i int) hsm.CVVRequest {
	body := fmt.Sprintf("411111%09d", i)
	return hsm.CVVRequest{Key: trialKey, PAN: iso.VectorPAN(body + string(iso.LuhnDigit(body))), Expiry: "2911", ServiceCode: "201"}
}

func orderKept(t *testing.T, open Open) {
	backend := open(t, trialKeys())
	var requests []hsm.CVVRequest
	for i := range 300 {
		requests = append(requests, request(i))
	}
	together := backend.CVVs(context.Background(), requests)
	for i := range requests {
		alone := backend.CVVs(context.Background(), requests[i:i+1])
		if together[i].Err != nil || alone[0].Err != nil || together[i].CVV.Reveal() != alone[0].CVV.Reveal() {
			t.Fatalf("result %d is not that of request %d", i, i)
		}
	}
}

// wrong are requests that cannot be answered.
func wrong() []hsm.CVVRequest {
	var list []hsm.CVVRequest
	for _, change := range []func(*hsm.CVVRequest){
		func(r *hsm.CVVRequest) { r.Key = "no such key" },
		func(r *hsm.CVVRequest) { r.PAN = iso.PAN{} },
		func(r *hsm.CVVRequest) { r.PAN = iso.VectorPAN("41111111111") },
		func(r *hsm.CVVRequest) { r.PAN = iso.VectorPAN("41111111111111111111") },
		func(r *hsm.CVVRequest) { r.PAN = iso.VectorPAN("4111 1111 1111 1111") },
		func(r *hsm.CVVRequest) { r.Expiry = "11/29" },
		func(r *hsm.CVVRequest) { r.Expiry = "29" },
		func(r *hsm.CVVRequest) { r.Expiry = "29-1" },
		func(r *hsm.CVVRequest) { r.ServiceCode = "20" },
		func(r *hsm.CVVRequest) { r.ServiceCode = "2O1" },
		func(r *hsm.CVVRequest) { r.ServiceCode = "" },
	} {
		r := request(1)
		change(&r)
		list = append(list, r)
	}
	return list
}

func errorsApart(t *testing.T, open Open) {
	var requests []hsm.CVVRequest
	for i, r := range wrong() {
		requests = append(requests, request(i), r)
	}
	results := open(t, trialKeys()).CVVs(context.Background(), append(requests, request(99)))
	for i, result := range results {
		isWrong := i%2 == 1
		switch {
		case isWrong && (!errors.Is(result.Err, hsm.ErrRequest) || !result.CVV.IsZero()):
			t.Errorf("request %d was answered: %v", i, result.Err)
		case !isWrong && (result.Err != nil || len(result.CVV.Reveal()) != 3):
			t.Errorf("request %d suffered from its neighbour: %v", i, result.Err)
		}
	}
}

func errorsSilent(t *testing.T, open Open) {
	for _, result := range open(t, trialKeys()).CVVs(context.Background(), wrong()) {
		if text := fmt.Sprintf("%v %+v", result.Err, result); strings.Contains(text, "1111111") {
			t.Error("an error shows a card number")
		}
	}
}

func dateOrder(t *testing.T, open Open) {
	yymm, mmyy := request(1), request(1)
	yymm.Expiry, mmyy.Expiry = "2512", "1225"
	results := open(t, trialKeys()).CVVs(context.Background(), []hsm.CVVRequest{yymm, mmyy})
	if results[0].Err != nil || results[1].Err != nil || results[0].CVV.Reveal() == results[1].CVV.Reveal() {
		t.Error("YYMM and MMYY give one value")
	}
}

func threeValues(t *testing.T, open Open) {
	var requests []hsm.CVVRequest
	for _, code := range []string{"201", hsm.ServiceCVV2, hsm.ServiceICVV} {
		r := request(1)
		r.ServiceCode = code
		requests = append(requests, r)
	}
	seen := map[string]bool{}
	for _, result := range open(t, trialKeys()).CVVs(context.Background(), requests) {
		if result.Err != nil {
			t.Error(result.Err)
		}
		seen[result.CVV.Reveal()] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d different values of CVV1, CVV2 and iCVV", len(seen))
	}
}

func sameAgain(t *testing.T, open Open) {
	backend := open(t, trialKeys())
	first := backend.CVVs(context.Background(), []hsm.CVVRequest{request(7), request(7)})
	again := open(t, trialKeys()).CVVs(context.Background(), []hsm.CVVRequest{request(7)})
	if first[0].CVV.Reveal() != first[1].CVV.Reveal() || first[0].CVV.Reveal() != again[0].CVV.Reveal() {
		t.Error("one request gave two values")
	}
}

func nothing(t *testing.T, open Open) {
	if results := open(t, trialKeys()).CVVs(context.Background(), nil); len(results) != 0 {
		t.Errorf("%d results", len(results))
	}
}

func large(t *testing.T, open Open) {
	requests := make([]hsm.CVVRequest, 20_000)
	for i := range requests {
		requests[i] = request(i)
	}
	counts := map[string]int{}
	for i, result := range open(t, trialKeys()).CVVs(context.Background(), requests) {
		value := result.CVV.Reveal()
		if result.Err != nil || len(value) != 3 || strings.Trim(value, "0123456789") != "" {
			t.Fatalf("request %d: %v, %d characters", i, result.Err, len(value))
		}
		counts[value]++
	}
	if len(counts) < 990 { // of 1000; a constant or a truncated value shows here
		t.Errorf("only %d different values", len(counts))
	}
}

func cancelled(t *testing.T, open Open) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for i, result := range open(t, trialKeys()).CVVs(ctx, []hsm.CVVRequest{request(1), request(2)}) {
		if !errors.Is(result.Err, context.Canceled) || !result.CVV.IsZero() {
			t.Errorf("request %d: %v", i, result.Err)
		}
	}
}

// values are the right ones of a row of cards, computed undisturbed.
func values(t *testing.T, backend hsm.Backend, requests []hsm.CVVRequest) []iso.Secret {
	t.Helper()
	list := make([]iso.Secret, len(requests))
	for i, result := range backend.CVVs(context.Background(), requests) {
		if result.Err != nil {
			t.Fatalf("request %d: %v", i, result.Err)
		}
		list[i] = result.CVV
	}
	return list
}

func row(first, n int) []hsm.CVVRequest {
	requests := make([]hsm.CVVRequest, n)
	for i := range requests {
		requests[i] = request(first + i)
	}
	return requests
}

// Wherever the end meets the computation, no request has neither or both, and no value is another's.
func cancelledOnTheWay(t *testing.T, open Open) {
	backend, requests := open(t, trialKeys()), row(0, 5000)
	right := values(t, backend, requests)
	ctx, cancel := context.WithCancel(context.Background())
	var canceller sync.WaitGroup
	canceller.Go(cancel)
	results := backend.CVVs(ctx, requests)
	canceller.Wait()
	for i, result := range results {
		switch {
		case result.Err == nil && result.CVV.Reveal() != right[i].Reveal():
			t.Fatalf("request %d has another value", i)
		case result.Err != nil && (!errors.Is(result.Err, context.Canceled) || !result.CVV.IsZero()):
			t.Fatalf("request %d: %v", i, result.Err)
		}
	}
}

func concurrent(t *testing.T, open Open) {
	backend := open(t, trialKeys())
	right := values(t, backend, row(0, 4000))
	var callers sync.WaitGroup
	for first := 0; first < len(right); first += 500 {
		callers.Go(func() {
			for i, result := range backend.CVVs(context.Background(), row(first, 500)) {
				if result.Err != nil || result.CVV.Reveal() != right[first+i].Reveal() {
					t.Errorf("request %d has another value than alone: %v", first+i, result.Err)
					return
				}
			}
		})
	}
	callers.Wait()
}

// verified holds a backend that is a [hsm.Verifier] too to that contract.
func verified(t *testing.T, open Open) {
	backend := open(t, trialKeys())
	verifier, ok := backend.(hsm.Verifier)
	if !ok {
		return
	}
	requests := row(0, 100)
	list := values(t, backend, requests)
	for i, err := range verifier.VerifyCVVs(context.Background(), requests, list) {
		if err != nil {
			t.Fatalf("value %d is right: %v", i, err)
		}
	}
	wrong := append([]iso.Secret(nil), list...)
	for i, value := range list {
		if i%10 == 3 {
			wrong[i] = iso.NewSecret(value.Reveal()[:2] + string('0'+('9'-value.Reveal()[2])))
		}
	}
	wrong[50] = iso.Secret{}
	for i, err := range verifier.VerifyCVVs(context.Background(), requests, wrong) {
		isWrong := i%10 == 3 || i == 50
		if (err != nil) != isWrong || isWrong && !errors.Is(err, hsm.ErrCVVWrong) {
			t.Errorf("value %d: %v", i, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for i, err := range verifier.VerifyCVVs(ctx, requests[:2], list[:2]) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("value %d: %v", i, err)
		}
	}
}
