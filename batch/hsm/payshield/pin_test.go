package payshield_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"reemboss/batch/hsm"
	"reemboss/batch/hsm/payshield"
	"reemboss/batch/hsm/payshield/payshieldtest"
	"reemboss/formats/iso"
)

// Keys of published PIN vectors: the PIN verification key pair of pvv-thalessim-2 and the
// zone PIN key of thalessimulatorlibrary's test of JG, both under the public test LMK.
const (
	publishedPVK = "U183DF6EA5EDFF7D5C91C8F2BA6451884"
	publishedZPK = "U1EF828AA8F6B80EB83E19FBC373F3A85"
)

// withPINs are settings with PIN keys; check values are those of the published keys.
func withPINs(t *testing.T, address string, pinLength int) payshield.Config {
	t.Helper()
	pvk, err := hex.DecodeString("86190176866EC17FB32685ADB6ADA83B")
	if err != nil {
		t.Fatal(err)
	}
	s := settings(address)
	s.PINLength = pinLength
	s.Keys["pvk"] = payshield.Key{Use: payshield.PVK, Token: iso.NewSecret(publishedPVK), KCV: payshieldtest.KCV(pvk)}
	s.Keys["zpk"] = payshield.Key{Use: payshield.ZPK, Token: iso.NewSecret(publishedZPK), KCV: "6F1E3F"}
	return s
}

func pinsOf(t *testing.T, s payshield.Config) payshield.PINs {
	t.Helper()
	pins, err := open(t, s).PINs()
	if err != nil {
		t.Fatal(err)
	}
	return pins
}

// value gives the only result's value.
func value(t *testing.T, results []payshield.PINResult) iso.Secret {
	t.Helper()
	if len(results) != 1 || results[0].Err != nil {
		t.Fatalf("%d results: %v", len(results), results[0].Err)
	}
	return results[0].Value
}

var (
	oldPAN = iso.VectorPAN("55000002532" + "10") // account 550000025321
	newPAN = iso.VectorPAN("4000001234562")
)

func TestPINVerificationValueAndBlockAreThePublishedOnes(t *testing.T) {
	sim := payshieldtest.New()
	pins := pinsOf(t, withPINs(t, listen(t, sim, nil), 5))
	pin := iso.NewSecret(sim.SealPIN("550000025321", "1234"))
	ctx := context.Background()
	if got := value(t, pins.PVVs(ctx, []payshield.PVVRequest{{Key: "pvk", PVKI: 1, PAN: oldPAN, PIN: pin}})); got.Reveal() != "0481" {
		t.Error("the PIN verification value is another")
	}
	block := value(t, pins.PINBlocks(ctx, []payshield.PINBlockRequest{{Key: "zpk", Format: payshield.ISOFormat0, PAN: oldPAN, PIN: pin}}))
	if block.Reveal() != "91DDDA0A7C12CFAA" {
		t.Error("the PIN block is another")
	}
}

func TestARandomPINStaysTheSamePINUnderANewNumber(t *testing.T) {
	for _, length := range []int{5, 8, 13} {
		sim := payshieldtest.New()
		sim.PINLength = length
		pins := pinsOf(t, withPINs(t, listen(t, sim, nil), length))
		ctx := context.Background()
		const n = 200
		var wanted []payshield.PINRequest
		for range n {
			wanted = append(wanted, payshield.PINRequest{PAN: oldPAN, Digits: 4})
		}
		made := pins.RandomPINs(ctx, wanted)
		var bind []payshield.RebindRequest
		for _, r := range made {
			bind = append(bind, payshield.RebindRequest{Old: oldPAN, New: newPAN, PIN: r.Value})
		}
		bound := pins.RebindPINs(ctx, bind)
		different := map[string]bool{}
		for i := range made {
			if made[i].Err != nil || bound[i].Err != nil {
				t.Fatalf("PIN %d: %v, %v", i, made[i].Err, bound[i].Err)
			}
			again := pins.RebindPINs(ctx, []payshield.RebindRequest{{Old: newPAN, New: oldPAN, PIN: bound[i].Value}})
			if value(t, again).Reveal() != made[i].Value.Reveal() || bound[i].Value.Reveal() == made[i].Value.Reveal() {
				t.Fatalf("PIN %d is another, bound back", i)
			}
			different[made[i].Value.Reveal()] = true
		}
		if len(different) < n*9/10 {
			t.Errorf("%d different PINs of %d", len(different), n)
		}
	}
}

func TestAPINOfAnotherAccountIsThatItemsError(t *testing.T) {
	sim := payshieldtest.New()
	sim.PINLength = 13
	pins := pinsOf(t, withPINs(t, listen(t, sim, nil), 13))
	good, foreign := iso.NewSecret(sim.SealPIN("550000025321", "1234")), iso.NewSecret(sim.SealPIN("550000025399", "1234"))
	results := pins.PVVs(context.Background(), []payshield.PVVRequest{
		{Key: "pvk", PVKI: 1, PAN: oldPAN, PIN: good}, {Key: "pvk", PVKI: 1, PAN: oldPAN, PIN: foreign}, {Key: "pvk", PVKI: 1, PAN: oldPAN, PIN: good}})
	var refused *payshield.CodeError
	if results[0].Err != nil || results[2].Err != nil || !errors.As(results[1].Err, &refused) || refused.Code != "14" || !results[1].Value.IsZero() {
		t.Errorf("%v", results)
	}
}

func TestPINRequestsThatCannotBe(t *testing.T) {
	sim := payshieldtest.New()
	pins := pinsOf(t, withPINs(t, listen(t, sim, nil), 5))
	good := iso.NewSecret(sim.SealPIN("550000025321", "1234"))
	ctx := context.Background()
	results := pins.RandomPINs(ctx, []payshield.PINRequest{{PAN: oldPAN, Digits: 3}, {PAN: oldPAN, Digits: 5}, {Digits: 4}, {PAN: iso.VectorPAN("123456789012"), Digits: 4}})
	results = append(results, pins.PVVs(ctx, []payshield.PVVRequest{
		{Key: "cvk", PVKI: 1, PAN: oldPAN, PIN: good}, {Key: "pvk", PVKI: 7, PAN: oldPAN, PIN: good}, {Key: "pvk", PVKI: 1, PAN: oldPAN}, {Key: "pvk", PVKI: 1, PAN: oldPAN, PIN: iso.NewSecret("1234")}})...)
	results = append(results, pins.PINBlocks(ctx, []payshield.PINBlockRequest{
		{Key: "pvk", Format: payshield.ISOFormat0, PAN: oldPAN, PIN: good}, {Key: "zpk", Format: "99", PAN: oldPAN, PIN: good}, {Key: "zpk", PAN: oldPAN, PIN: good}})...)
	results = append(results, pins.RebindPINs(ctx, []payshield.RebindRequest{{Old: oldPAN, PIN: good}, {New: newPAN, PIN: good}, {Old: oldPAN, New: newPAN}})...)
	for i, r := range results {
		if !errors.Is(r.Err, hsm.ErrRequest) || !r.Value.IsZero() {
			t.Errorf("request %d is taken: %v", i, r.Err)
		}
		if text := fmt.Sprintf("%v", r); strings.Contains(text, "25321") || strings.Contains(text, good.Reveal()) {
			t.Errorf("request %d shows card data", i)
		}
	}
	if sent := sim.Commands(); sent["JA"]+sent["DG"]+sent["JG"]+sent["QK"] != 0 {
		t.Errorf("the module was asked: %v", sent)
	}
}

func TestWithoutThePINLengthThereIsNoPINWork(t *testing.T) {
	if pins, err := open(t, settings(listen(t, payshieldtest.New(), nil))).PINs(); pins != nil || !errors.Is(err, payshield.ErrNoPINs) {
		t.Errorf("%v", err)
	}
}

// The account number change is off in a module until its officers allow it.
func TestADisabledPINCommandSaysWhatToDo(t *testing.T) {
	sim := payshieldtest.New()
	sim.Disabled = map[string]bool{"QK": true}
	pins := pinsOf(t, withPINs(t, listen(t, sim, nil), 5))
	pin := iso.NewSecret(sim.SealPIN("550000025321", "1234"))
	results := pins.RebindPINs(context.Background(), []payshield.RebindRequest{{Old: oldPAN, New: newPAN, PIN: pin}})
	if err := results[0].Err; !errors.Is(err, payshield.ErrStop) || !strings.Contains(err.Error(), "QK") || !strings.Contains(err.Error(), "enable") {
		t.Errorf("%v", err)
	}
}
