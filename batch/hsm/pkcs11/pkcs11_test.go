//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	cryptoki "github.com/miekg/pkcs11"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/batch/hsm/hsmtest"
	"reemboss/formats/iso"
)

func testRandom() io.Reader { return crand.Reader }

// request is the i-th of a row of different cards.
func request(i int) hsm.CVVRequest {
	return hsm.CVVRequest{Key: "cvk", PAN: iso.VectorPAN(fmt.Sprintf("411111%010d", i)), Expiry: "2911", ServiceCode: "201"}
}

func requests(n int) []hsm.CVVRequest {
	list := make([]hsm.CVVRequest, n)
	for i := range list {
		list[i] = request(i)
	}
	return list
}

// software is the software backend with the same keys.
func software(t testing.TB, keys map[string][]byte) hsm.Backend {
	t.Helper()
	set := keysetOf(t, keys)
	want := map[string]config.CardKey{}
	for name, kcv := range set.CVKs() {
		want[name] = config.CardKey{Backend: config.SoftwareKeys, KCV: kcv}
	}
	backend, err := hsm.NewSoftware(set, want, config.Test, false)
	if err != nil {
		t.Fatal(err)
	}
	return backend
}

// agree compares results with those of the software backend, without showing a value.
func agree(t testing.TB, got, want []hsm.CVVResult) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d results, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Err != nil || want[i].Err != nil {
			t.Fatalf("request %d: %v, in software %v", i, got[i].Err, want[i].Err)
		}
		if got[i].CVV.Reveal() != want[i].CVV.Reveal() {
			t.Fatalf("request %d has another value than in software", i)
		}
	}
}

// All vectors are in it, those of the second pass too.
func TestSoftHSMPassesTheSuite(t *testing.T) {
	s := newToken(t)
	imports := 0
	hsmtest.Run(t, func(t *testing.T, keys map[string][]byte) hsm.Backend {
		imports++
		own := map[string][]byte{}
		for name, pair := range keys {
			own[fmt.Sprintf("%d %s", imports, name)] = pair
		}
		want := map[string]config.CardKey{}
		for name, key := range s.ImportTestKeys(own, cryptoki.CKK_DES2) {
			_, bare, _ := strings.Cut(name, " ")
			want[bare] = key
		}
		here := s
		here.t = t
		return here.opened(s.settings(), want, nil)
	})
}

// Single DES is one function, whatever the token calls the key. SoftHSM over
// OpenSSL 3 lists CKM_DES_ECB and fails in it: then the backend must not open.
func TestEveryKeyTypeGivesTheSameValuesOrDoesNotOpen(t *testing.T) {
	for name, kind := range map[string]uint{"CKK_DES2": cryptoki.CKK_DES2, "CKK_DES3": cryptoki.CKK_DES3, "CKK_DES": cryptoki.CKK_DES} {
		t.Run(name, func(t *testing.T) {
			s := newToken(t)
			b, err := s.open(s.settings(), s.ImportTestKeys(map[string][]byte{"cvk": classicPair}, kind), nil)
			if kind == cryptoki.CKK_DES && err != nil {
				if !is(err, cryptoki.CKR_MECHANISM_INVALID) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			agree(t, b.CVVs(context.Background(), requests(1000)), software(t, map[string][]byte{"cvk": classicPair}).CVVs(context.Background(), requests(1000)))
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// REEMBOSS_SOAK_CARDS is how many cards are compared; without it 20,000.
func TestSoftHSMAgreesWithSoftware(t *testing.T) {
	cards := 20_000
	if text := os.Getenv("REEMBOSS_SOAK_CARDS"); text != "" {
		var err error
		if cards, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 4))
	keys := map[string][]byte{}
	for i := range 3 {
		keys[fmt.Sprintf("cvk-%d", i)] = randomPair(random)
	}
	s := newToken(t)
	token, inSoftware := s.opened(s.settings(), s.ImportTestKeys(keys, cryptoki.CKK_DES2), nil), software(t, keys)
	for done := 0; done < cards; {
		list := make([]hsm.CVVRequest, min(5000+random.IntN(3000), cards-done))
		for i := range list {
			list[i] = randomCard(random, len(keys))
		}
		agree(t, token.CVVs(context.Background(), list), inSoftware.CVVs(context.Background(), list))
		done += len(list)
	}
}

func randomPair(random *rand.Rand) []byte {
	pair := make([]byte, hsm.CVKLength)
	for i := range pair {
		b := byte(random.Uint32()) &^ 1
		ones := 0
		for bit := range 8 {
			ones += int(b >> bit & 1)
		}
		pair[i] = b | byte(1-ones%2)
	}
	return pair
}

func randomCard(random *rand.Rand, keys int) hsm.CVVRequest {
	digits := func(n int) string {
		text := make([]byte, n)
		for i := range text {
			text[i] = byte('0' + random.IntN(10))
		}
		return string(text)
	}
	return hsm.CVVRequest{Key: fmt.Sprintf("cvk-%d", random.IntN(keys)), PAN: iso.VectorPAN(digits(12 + random.IntN(8))), Expiry: digits(4), ServiceCode: digits(3)}
}

func TestAKeyThatIsNotTheConfiguredOneStopsTheRun(t *testing.T) {
	s, keys := classic(t)
	other := s.ImportTestKeys(map[string][]byte{"other": append(append([]byte(nil), classicPair[8:]...), classicPair[:8]...)}, cryptoki.CKK_DES2)["other"]
	changed := func(change func(*config.CardKey)) map[string]config.CardKey {
		k := keys["cvk"]
		change(&k)
		return map[string]config.CardKey{"cvk": k}
	}
	for name, test := range map[string]struct {
		keys  map[string]config.CardKey
		cause error
		text  []string
	}{
		"another check value":    {changed(func(k *config.CardKey) { k.KCV = "AAAAAA" }), hsm.ErrKCV, []string{"cvk", classicKCV, "AAAAAA"}},
		"the halves exchanged":   {changed(func(k *config.CardKey) { k.LabelA, k.LabelB = k.LabelB, k.LabelA }), ErrRights, []string{"key A", "key B", "CKA_ENCRYPT", "CKA_DECRYPT"}},
		"B of another key":       {changed(func(k *config.CardKey) { k.LabelB = other.LabelB }), hsm.ErrKCV, []string{"cvk-a", "other-b"}},
		"no such label":          {changed(func(k *config.CardKey) { k.LabelB = "nobody" }), ErrNoKey, []string{"card key cvk", "key B", `"nobody"`}},
		"a key of software":      {changed(func(k *config.CardKey) { k.Backend = config.SoftwareKeys }), nil, []string{"cvk", "software"}},
		"no key":                 {nil, ErrNoKey, nil},
		"all mistakes are told":  {map[string]config.CardKey{"x": changed(func(k *config.CardKey) { k.KCV = "AAAAAA" })["cvk"], "y": {Backend: config.PKCS11Keys, LabelA: "p", LabelB: "q"}}, hsm.ErrKCV, []string{"card key x", `"p"`, `"q"`}},
		"a pair of one half":     {changed(func(k *config.CardKey) { k.LabelB = k.LabelA }), ErrRights, []string{"CKA_DECRYPT"}},
		"a check value too long": {changed(func(k *config.CardKey) { k.KCV += "05" }), hsm.ErrKCV, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := s.open(s.settings(), test.keys, nil)
			if err == nil {
				_ = b.Close()
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

func TestALabelMustBeOneKeysOnly(t *testing.T) {
	s, keys := classic(t)
	s.ImportTestKeys(map[string][]byte{"cvk": classicPair}, cryptoki.CKK_DES2)
	if _, err := s.open(s.settings(), keys, nil); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), "several") {
		t.Errorf("%v", err)
	}
}

func TestProductionRefusesKeysThatAreNotKeptWell(t *testing.T) {
	for name, test := range map[string]struct {
		change *cryptoki.Attribute
		inTest bool // environment test takes it
	}{
		"extractable":     {cryptoki.NewAttribute(cryptoki.CKA_EXTRACTABLE, true), true},
		"not sensitive":   {cryptoki.NewAttribute(cryptoki.CKA_SENSITIVE, false), true},
		"wraps":           {cryptoki.NewAttribute(cryptoki.CKA_WRAP, true), true},
		"unwraps":         {cryptoki.NewAttribute(cryptoki.CKA_UNWRAP, true), true},
		"both directions": {cryptoki.NewAttribute(cryptoki.CKA_DECRYPT, true), true},
		"no encryption":   {cryptoki.NewAttribute(cryptoki.CKA_ENCRYPT, false), false},
		"no key of DES":   {cryptoki.NewAttribute(cryptoki.CKA_KEY_TYPE, cryptoki.CKK_GENERIC_SECRET), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newToken(t)
			keys := s.ImportTestKeys(map[string][]byte{"cvk": classicPair}, cryptoki.CKK_DES2, test.change)
			for _, environment := range []string{config.Production, "", config.Test} {
				b, err := Open(context.Background(), Config{Settings: s.settings(), PIN: []byte(testPIN), Environment: environment}, keys)
				if b != nil {
					_ = b.Close()
				}
				if wants := environment == config.Test && test.inTest; (err == nil) != wants {
					t.Errorf("environment %q: %v", environment, err)
				}
				if err != nil && !errors.Is(err, ErrRights) && !errors.Is(err, ErrNoKey) {
					t.Errorf("environment %q: %v is another error", environment, err)
				}
			}
		})
	}
}

func TestWhatKeepsATokenClosed(t *testing.T) {
	s, keys := classic(t)
	s.addToken("second")
	s.addToken("second")
	for name, test := range map[string]struct {
		change func(*Config)
		cause  error
		text   string
	}{
		"wrong PIN":              {func(c *Config) { c.PIN = []byte("111111") }, ErrPIN, "each wrong try counts"},
		"no PIN":                 {func(c *Config) { c.PIN = nil }, ErrPIN, "demands one"},
		"no such token":          {func(c *Config) { c.Settings.Token = "lost" }, ErrToken, `there is no token "lost"; there are "`},
		"no such serial number":  {func(c *Config) { c.Settings.Token, c.Settings.Serial = "", "4711" }, ErrToken, "serial number 4711"},
		"a label of two tokens":  {func(c *Config) { c.Settings.Token = "second" }, ErrToken, "pkcs11.serial"},
		"no library":             {func(c *Config) { c.Settings.Module = "/nowhere/lib.so" }, ErrToken, "/nowhere/lib.so"},
		"a library of no token":  {func(c *Config) { c.Settings.Module = os.Args[0] }, ErrToken, "cannot be loaded"},
		"an incomplete section":  {func(c *Config) { c.Settings.Batch = 0 }, ErrToken, "section pkcs11"},
		"a test key that is not": {func(c *Config) { c.Settings.TestLabelA, c.Settings.TestLabelB = "t-a", "t-b" }, hsm.ErrSelfTest, `"t-a"`},
	} {
		t.Run(name, func(t *testing.T) {
			c := Config{Settings: s.settings(), PIN: []byte(testPIN), Environment: config.Production}
			test.change(&c)
			b, err := Open(context.Background(), c, keys)
			if err == nil || b != nil {
				t.Fatal("the token opened")
			}
			if !errors.Is(err, test.cause) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v", err)
			}
			if strings.Contains(err.Error()+fmt.Sprintf("%v %+v", c, &c), string(c.PIN)) && len(c.PIN) > 0 {
				t.Error("the PIN is shown")
			}
		})
	}
}

func TestATokenIsFoundByItsSerialNumber(t *testing.T) {
	s, keys := classic(t)
	s.addToken(testToken)
	var serials []string
	s.asked(func(m *cryptoki.Ctx) {
		slots, err := m.GetSlotList(true)
		if err != nil {
			t.Fatal(err)
		}
		for _, slot := range slots {
			if info, err := m.GetTokenInfo(slot); err == nil && trim(info.Label) == testToken {
				serials = append(serials, trim(info.SerialNumber))
			}
		}
	})
	found := 0
	for _, serial := range serials {
		settings := s.settings()
		settings.Token, settings.Serial = "", serial
		b, err := s.open(settings, keys, nil)
		if err == nil {
			found++
			_ = b.Close()
		} else if !errors.Is(err, ErrNoKey) {
			t.Error(err)
		}
	}
	if len(serials) != 2 || found != 1 {
		t.Errorf("%d tokens, %d with the key", len(serials), found)
	}
}

// A token that lets no program make keys has the public pair under labels of its own.
func TestThePublicTestKeyMayBeInTheToken(t *testing.T) {
	s, keys := classic(t)
	settings := s.settings()
	settings.TestLabelA, settings.TestLabelB = "known-a", "known-b"
	s.ImportTestKeys(map[string][]byte{"known": classicPair}, cryptoki.CKK_DES2)
	s.opened(settings, keys, noKeysMade)
	settings.TestLabelA, settings.TestLabelB = "wrong-a", "wrong-b"
	s.ImportTestKeys(map[string][]byte{"wrong": append(append([]byte(nil), classicPair[8:]...), classicPair[:8]...)}, cryptoki.CKK_DES2)
	if _, err := s.open(settings, keys, noKeysMade); !errors.Is(err, hsm.ErrSelfTest) || !strings.Contains(err.Error(), "answer 1") {
		t.Errorf("a test key that is another: %v", err)
	}
	settings.TestLabelA, settings.TestLabelB = "three-a", "three-b"
	s.ImportTestKeys(map[string][]byte{"three": classicPair}, cryptoki.CKK_DES3)
	if _, err := s.open(settings, keys, noKeysMade); !errors.Is(err, hsm.ErrSelfTest) || !strings.Contains(err.Error(), "another mechanism") {
		t.Errorf("a test key of another type: %v", err)
	}
}

func TestTheTestKeyIsTakenAwayAgain(t *testing.T) {
	s, keys := classic(t)
	s.opened(s.settings(), keys, nil)
	s.asked(func(m *cryptoki.Ctx) {
		session := s.login(m)
		if err := m.FindObjectsInit(session, []*cryptoki.Attribute{cryptoki.NewAttribute(cryptoki.CKA_CLASS, cryptoki.CKO_SECRET_KEY)}); err != nil {
			t.Fatal(err)
		}
		found, _, err := m.FindObjects(session, 100)
		if err != nil || len(found) != 2 {
			t.Errorf("%d keys in the token: %v", len(found), err)
		}
	})
}

func TestASampleIsVerifiedInTheToken(t *testing.T) {
	s, keys := classic(t)
	b := s.opened(s.settings(), keys, nil)
	list := requests(500)
	values := make([]iso.Secret, len(list))
	for i, result := range b.CVVs(context.Background(), list) {
		values[i] = result.CVV
	}
	list = append(list, hsm.CVVRequest{Key: "cvk", PAN: iso.VectorPAN("4123456700238593"), Expiry: "2912", ServiceCode: "201"}, request(7), request(8), request(9))
	list[503].Key = "nobody"
	wrong := iso.NewSecret(string('0'+('9'-values[7].Reveal()[0])) + values[7].Reveal()[1:]) // another first digit: nine minus it
	errs := b.VerifyCVVs(context.Background(), list, append(values, iso.NewSecret("851"), wrong, iso.Secret{}, values[9]))
	for i, err := range errs {
		switch {
		case i < 501 && err != nil:
			t.Fatalf("value %d is right: %v", i, err)
		case (i == 501 || i == 502) && !errors.Is(err, hsm.ErrCVVWrong):
			t.Errorf("value %d is wrong: %v", i, err)
		case i == 503 && !errors.Is(err, hsm.ErrRequest):
			t.Errorf("there is no key: %v", err)
		case err != nil && strings.Contains(err.Error(), values[7].Reveal()):
			t.Error("an error shows a value")
		}
	}
}

func TestACancelledOpenGivesNothing(t *testing.T) {
	s, keys := classic(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if b, err := Open(ctx, Config{Settings: s.settings(), PIN: []byte(testPIN)}, keys); b != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	s.opened(s.settings(), keys, nil) // and leaves the library as it was
}

func TestAClosedBackendComputesNothing(t *testing.T) {
	s, keys := classic(t)
	b, err := s.open(s.settings(), keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	for _, result := range b.CVVs(context.Background(), requests(3)) {
		if !errors.Is(result.Err, errClosed) || !result.CVV.IsZero() {
			t.Errorf("%v", result.Err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", b, b, b); strings.Contains(text, testPIN) {
		t.Error("the PIN is shown")
	}
}

var sink []hsm.CVVResult

// BenchmarkBatches tells values a second in batches and one by one, each with
// all sessions at work; batches must be ten times as fast, or they are no batches.
func BenchmarkBatches(b *testing.B) {
	s, keys := classic(b)
	settings := s.settings()
	batched := s.opened(settings, keys, nil)
	settings.Batch = 1
	single := s.opened(settings, keys, nil)
	list := requests(20_000)
	started := time.Now()
	sink = single.CVVs(context.Background(), list)
	alone := float64(len(list)) / time.Since(started).Seconds()
	for b.Loop() {
		sink = batched.CVVs(context.Background(), list)
	}
	together := float64(b.N) * float64(len(list)) / b.Elapsed().Seconds()
	b.ReportMetric(alone, "alone/s")
	b.ReportMetric(together, "batched/s")
	b.ReportMetric(together/alone, "ratio")
	if together < 10*alone {
		b.Errorf("batches are only %.1f times as fast as one by one", together/alone)
	}
}
