package hsm_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/batch/hsm/hsmtest"
	"reemboss/formats/iso"
)

const testKCV = "08D7B4"

func testPair(t testing.TB) []byte {
	t.Helper()
	pair, err := hex.DecodeString("0123456789ABCDEFFEDCBA9876543210")
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func kek() []byte { return []byte("0123456789abcdef0123456789abcdef") }

func newKeyset(t testing.TB, spec hsm.Spec) *hsm.Keyset {
	t.Helper()
	set, err := hsm.CreateKeyset(filepath.Join(t.TempDir(), "keyset.json"), kek(), rand.Reader, spec)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func withCVK(t testing.TB, name string, pair []byte) *hsm.Keyset {
	t.Helper()
	set := newKeyset(t, hsm.Spec{})
	if err := set.AddCVK(name, pair, rand.Reader); err != nil {
		t.Fatal(err)
	}
	return set
}

func TestSoftwareBackendPassesTheSuite(t *testing.T) {
	hsmtest.Run(t, func(t *testing.T, keys map[string][]byte) hsm.Backend {
		set := newKeyset(t, hsm.Spec{})
		for name, pair := range keys {
			if err := set.AddCVK(name, pair, rand.Reader); err != nil {
				t.Fatal(err)
			}
		}
		want := map[string]config.CardKey{}
		for name, kcv := range set.CVKs() {
			want[name] = config.CardKey{Backend: "software", KCV: strings.ToLower(kcv)}
		}
		backend, err := hsm.NewSoftware(set, want, config.Test, false)
		if err != nil {
			t.Fatal(err)
		}
		return backend
	})
}

func TestSoftwareKeysAreForTestsOnly(t *testing.T) {
	set := withCVK(t, "cvk", testPair(t))
	want := map[string]config.CardKey{"cvk": {Backend: "software", KCV: testKCV}}
	for _, test := range []struct {
		environment string
		allow       bool
		refused     bool
	}{{config.Test, false, false}, {config.Production, false, true}, {"", false, true}, {config.Production, true, false}} {
		_, err := hsm.NewSoftware(set, want, test.environment, test.allow)
		if errors.Is(err, hsm.ErrSoftwareKeys) != test.refused || (err != nil) != test.refused {
			t.Errorf("environment %q, allowed %v: %v", test.environment, test.allow, err)
		}
	}
}

func TestAKeyThatIsNotTheConfiguredOneStopsTheRun(t *testing.T) {
	set := withCVK(t, "cvk", testPair(t))
	tests := map[string]struct {
		want  map[string]config.CardKey
		cause error
		text  []string
	}{
		"another check value": {map[string]config.CardKey{"cvk": {KCV: "AAAAAA"}}, hsm.ErrKCV, []string{"cvk", testKCV, "AAAAAA"}},
		"no check value":      {map[string]config.CardKey{"cvk": {}}, hsm.ErrKCV, []string{"cvk", testKCV}},
		"no such key":         {map[string]config.CardKey{"other": {KCV: testKCV}}, hsm.ErrNoKey, []string{"other"}},
		"another backend":     {map[string]config.CardKey{"cvk": {Backend: "pkcs11", KCV: testKCV}}, nil, []string{"cvk", "pkcs11"}},
		"two mistakes":        {map[string]config.CardKey{"a": {KCV: "111111"}, "cvk": {KCV: "222222"}}, hsm.ErrKCV, []string{"a", "222222"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			backend, err := hsm.NewSoftware(set, test.want, config.Test, false)
			if err == nil || backend != nil {
				t.Fatal("the backend opened")
			}
			if test.cause != nil && !errors.Is(err, test.cause) {
				t.Errorf("%v is no %v", err, test.cause)
			}
			for _, text := range test.text {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not name %s", err, text)
				}
			}
		})
	}
}

func TestVerifyFindsAWrongValue(t *testing.T) {
	set := withCVK(t, "cvk", testPair(t))
	pan := iso.VectorPAN("4123456789012345")
	request := hsm.CVVRequest{Key: "cvk", PAN: pan, Expiry: "8701", ServiceCode: "101"}
	unknown := request
	unknown.Key = "other"
	errs := set.VerifyCVVs(context.Background(), []hsm.CVVRequest{request, request, unknown, request},
		[]iso.Secret{iso.NewSecret("561"), iso.NewSecret("562"), iso.NewSecret("561"), {}})
	if errs[0] != nil || !errors.Is(errs[1], hsm.ErrCVVWrong) || !errors.Is(errs[2], hsm.ErrNoKey) || !errors.Is(errs[3], hsm.ErrCVVWrong) {
		t.Errorf("%v", errs)
	}
	if strings.Contains(fmt.Sprint(errs), "561") || strings.Contains(fmt.Sprint(errs), "4123456789012345") {
		t.Error("an error shows card data")
	}
}

func BenchmarkSoftwareBackend(b *testing.B) {
	set := withCVK(b, "cvk", testPair(b))
	backend, err := hsm.NewSoftware(set, map[string]config.CardKey{"cvk": {KCV: testKCV}}, config.Test, false)
	if err != nil {
		b.Fatal(err)
	}
	requests := make([]hsm.CVVRequest, 1000)
	for i := range requests {
		requests[i] = hsm.CVVRequest{Key: "cvk", PAN: iso.VectorPAN(fmt.Sprintf("411111%010d", i)), Expiry: "2911", ServiceCode: "201"}
	}
	b.ReportAllocs()
	for b.Loop() {
		backend.CVVs(context.Background(), requests)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(requests)), "ns/cvv")
}
