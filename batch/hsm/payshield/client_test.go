package payshield_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"reemboss/batch/hsm"
	"reemboss/batch/hsm/hsmtest"
	"reemboss/batch/hsm/payshield"
	"reemboss/batch/hsm/payshield/payshieldtest"
	"reemboss/formats/iso"
)

// testPair is the public test key pair; its published check value is testKCV.
var testPair = []byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10}

const testKCV = "08D7B4"

func cvk(pair []byte) payshield.Key {
	return payshield.Key{Token: iso.NewSecret(payshieldtest.Token(payshieldtest.CVK, pair)), KCV: payshieldtest.KCV(pair)}
}

// settings are for a module at the addresses, with the test pair as key "cvk".
func settings(addresses ...string) payshield.Config {
	return payshield.Config{Addresses: addresses, LMKCheck: payshieldtest.LMKCheck[:6], Keys: map[string]payshield.Key{"cvk": cvk(testPair)}}
}

// piped connects to the module in memory.
func piped(sim *payshieldtest.Simulator) payshield.Config {
	s := settings("hsm.example:1500")
	s.Dial = func(context.Context, string, string) (net.Conn, error) { return sim.Pipe(), nil }
	return s
}

func open(t testing.TB, s payshield.Config) *payshield.Client {
	t.Helper()
	client, err := payshield.Open(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func listen(t testing.TB, sim *payshieldtest.Simulator, secured *tls.Config) string {
	t.Helper()
	address, err := sim.Listen(secured)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	return address
}

// cards are n requests under key "cvk" and what they must give, by the software code path.
func cards(t testing.TB, n int) (requests []hsm.CVVRequest, want []string) {
	t.Helper()
	for i := range n {
		requests = append(requests, hsm.CVVRequest{Key: "cvk", PAN: iso.VectorPAN(fmt.Sprintf("411111%010d", i*37)), Expiry: "2911", ServiceCode: "201"})
		want = append(want, reference(requests[i]))
	}
	return requests, want
}

// reference is a card verification value by the simulator's cryptography,
// called directly: no connection, no client. Published vectors prove it.
func reference(r hsm.CVVRequest) string {
	token := payshieldtest.Token(payshieldtest.CVK, testPair)
	answer := payshieldtest.New().Reply([]byte("0000CW" + token + r.PAN.Reveal() + ";" + r.Expiry + r.ServiceCode))
	return string(answer[8:])
}

func TestClientPassesTheSuiteOverTCP(t *testing.T) {
	hsmtest.Run(t, func(t *testing.T, keys map[string][]byte) hsm.Backend {
		s := settings(listen(t, payshieldtest.New(), nil))
		s.Keys = named(keys, cvk)
		return open(t, s)
	})
}

func TestClientPassesTheSuiteOverTLS(t *testing.T) {
	p := newPKI(t)
	hsmtest.Run(t, func(t *testing.T, keys map[string][]byte) hsm.Backend {
		s := settings(listen(t, payshieldtest.New(), p.server(t, true)))
		s.Keys, s.TLS = named(keys, cvk), p.client(t)
		return open(t, s)
	})
}

func TestClientPassesTheSuiteWithKeyBlocksAndALongHeader(t *testing.T) {
	hsmtest.Run(t, func(t *testing.T, keys map[string][]byte) hsm.Backend {
		sim := payshieldtest.New()
		sim.HeaderLength = 12
		s := settings(listen(t, sim, nil))
		s.HeaderLength, s.LMK, s.Connections = 12, "00", 1
		s.Keys = named(keys, func(pair []byte) payshield.Key {
			return payshield.Key{Token: iso.NewSecret(sim.KeyBlock(payshieldtest.CVK, pair)), KCV: payshieldtest.KCV(pair)}
		})
		return open(t, s)
	})
}

func named(keys map[string][]byte, key func([]byte) payshield.Key) map[string]payshield.Key {
	made := map[string]payshield.Key{}
	for name, pair := range keys {
		made[name] = key(pair)
	}
	return made
}

func TestTheTestKeyGivesTheKnownAnswers(t *testing.T) {
	sim := payshieldtest.New()
	s := settings(listen(t, sim, nil))
	s.TestKey = "cvk"
	open(t, s)
	if sim.Commands()["CW"] != 3 {
		t.Errorf("known answers were asked for %d times", sim.Commands()["CW"])
	}
	lying := payshieldtest.New()
	lying.Misbehave = payshieldtest.LieOneIn(3)
	s.Addresses = []string{listen(t, lying, nil)}
	if _, err := payshield.Open(context.Background(), s); !errors.Is(err, hsm.ErrSelfTest) {
		t.Errorf("a lying module opens: %v", err)
	}
}

func TestAnotherLMKStopsTheRun(t *testing.T) {
	sim := payshieldtest.New()
	sim.Check = "99999976A5A3A4D8"
	_, err := payshield.Open(context.Background(), settings(listen(t, sim, nil)))
	if !errors.Is(err, payshield.ErrLMK) || !errors.Is(err, payshield.ErrStop) || !strings.Contains(err.Error(), "999999") || !strings.Contains(err.Error(), "397B0B") {
		t.Errorf("%v", err)
	}
	if sent := sim.Commands(); len(sent) != 1 || sent["NC"] == 0 {
		t.Errorf("the module got %v", sent)
	}
}

func TestTheSecondModuleMustHaveTheSameLMK(t *testing.T) {
	other := payshieldtest.New()
	other.Check = "99999976A5A3A4D8"
	_, err := payshield.Open(context.Background(), settings(listen(t, payshieldtest.New(), nil), listen(t, other, nil)))
	if !errors.Is(err, payshield.ErrLMK) {
		t.Errorf("%v", err)
	}
}

func TestAKeyThatIsNotTheConfiguredOneStopsTheRun(t *testing.T) {
	pinKey := func(use payshield.Use, kind, kcv string) payshield.Key {
		return payshield.Key{Use: use, Token: iso.NewSecret(payshieldtest.Token(kind, testPair)), KCV: kcv}
	}
	damaged := payshield.Key{Token: iso.NewSecret("U" + strings.Repeat("0", 32)), KCV: testKCV}
	wrong := cvk(testPair)
	wrong.KCV = "111111"
	for name, test := range map[string]struct {
		keys  map[string]payshield.Key
		cause error
		text  []string
	}{
		"another card verification key": {map[string]payshield.Key{"cvk": wrong}, hsm.ErrKCV, []string{"key cvk", testKCV, "111111"}},
		"another PIN verification key":  {map[string]payshield.Key{"pvk": pinKey(payshield.PVK, payshieldtest.PVK, "222222")}, payshield.ErrPINKey, []string{"key pvk", "222222"}},
		"another zone key":              {map[string]payshield.Key{"zpk": pinKey(payshield.ZPK, payshieldtest.ZPK, "333333")}, payshield.ErrPINKey, []string{"key zpk"}},
		"a damaged token":               {map[string]payshield.Key{"cvk": damaged}, payshield.ErrStop, []string{"key cvk", "code 10", "parity"}},
		"two mistakes":                  {map[string]payshield.Key{"a": wrong, "b": wrong}, hsm.ErrKCV, []string{"key a", "key b"}},
	} {
		s := settings(listen(t, payshieldtest.New(), nil))
		s.Keys = test.keys
		client, err := payshield.Open(context.Background(), s)
		if client != nil || !errors.Is(err, test.cause) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, text := range test.text {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %q does not say %s", name, err, text)
			}
		}
	}
}

func TestSettingsThatCannotBe(t *testing.T) {
	good := cvk(testPair)
	for name, change := range map[string]func(*payshield.Config){
		"no address":           func(s *payshield.Config) { s.Addresses = nil },
		"no port":              func(s *payshield.Config) { s.Addresses = []string{"hsm1"} },
		"a short header":       func(s *payshield.Config) { s.HeaderLength = 3 },
		"no LMK check value":   func(s *payshield.Config) { s.LMKCheck = "" },
		"an LMK of letters":    func(s *payshield.Config) { s.LMK = "A1" },
		"an odd PIN length":    func(s *payshield.Config) { s.PINLength = 20 },
		"too many connections": func(s *payshield.Config) { s.Connections = 1000 },
		"a clear key": func(s *payshield.Config) {
			s.Keys["x"] = payshield.Key{Token: iso.NewSecret("0123456789ABCDEF"), KCV: testKCV}
		},
		"a token with delimiter": func(s *payshield.Config) {
			s.Keys["x"] = payshield.Key{Token: iso.NewSecret("S00072C0TN00N;0000000"), KCV: testKCV}
		},
		"no check value":      func(s *payshield.Config) { s.Keys["x"] = payshield.Key{Token: good.Token} },
		"an unknown test key": func(s *payshield.Config) { s.TestKey = "other" },
		"no certificate":      func(s *payshield.Config) { s.TLS = &payshield.TLS{CA: []byte("nothing")} },
		"half a pair":         func(s *payshield.Config) { s.TLS = &payshield.TLS{PrivateKey: []byte("nothing")} },
	} {
		s := settings("hsm.example:1500")
		change(&s)
		s.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("dialled") }
		if _, err := payshield.Open(context.Background(), s); err == nil || errors.Is(err, payshield.ErrTransport) {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
}

func TestTheModulesCertificateIsVerified(t *testing.T) {
	good, foreign := newPKI(t), newPKI(t)
	for name, test := range map[string]struct {
		client *payshield.TLS
		text   string
	}{
		"of another authority": {&payshield.TLS{CA: foreign.ca}, "certificate"},
		"of another name":      {&payshield.TLS{CA: good.ca, ServerName: "other.example"}, "certificate"},
		"ours is missing":      {&payshield.TLS{CA: good.ca}, ""},
		"ours is a stranger's": {foreign.mixed(t, good.ca), ""},
	} {
		s := settings(listen(t, payshieldtest.New(), good.server(t, true)))
		s.TLS, s.RetryPause = test.client, time.Millisecond
		client, err := payshield.Open(context.Background(), s)
		if client != nil || err == nil || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v", name, err)
		}
		if (test.text != "") != errors.Is(err, payshield.ErrStop) {
			t.Errorf("%s: stops the run: %v", name, errors.Is(err, payshield.ErrStop))
		}
	}
	s := settings(listen(t, payshieldtest.New(), nil)) // a module that speaks no TLS
	s.TLS, s.ConnectTimeout = &payshield.TLS{CA: good.ca}, 50*time.Millisecond
	if _, err := payshield.Open(context.Background(), s); !errors.Is(err, payshield.ErrTransport) {
		t.Errorf("plain TCP where TLS is configured: %v", err)
	}
}

func TestOneOfTwoModulesIsEnough(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	s := settings(dead.Addr().String(), listen(t, payshieldtest.New(), nil))
	s.RetryPause = time.Millisecond
	var mu sync.Mutex
	var told []string
	s.Notice = func(sentence string) { mu.Lock(); told = append(told, sentence); mu.Unlock() }
	requests, want := cards(t, 500)
	for i, result := range open(t, s).CVVs(context.Background(), requests) {
		if result.Err != nil || result.CVV.Reveal() != want[i] {
			t.Fatalf("card %d: %v", i, result.Err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(told) == 0 || !strings.Contains(told[0], dead.Addr().String()) {
		t.Errorf("the operator was told %q", told)
	}
}

func TestNobodyAnswers(t *testing.T) {
	s := settings("hsm1.example:1500", "hsm2.example:1500")
	s.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") }
	_, err := payshield.Open(context.Background(), s)
	if !errors.Is(err, payshield.ErrTransport) || !strings.Contains(err.Error(), "hsm1.example:1500") || !strings.Contains(err.Error(), "hsm2.example:1500") {
		t.Errorf("%v", err)
	}
}

func TestVerificationFindsALie(t *testing.T) {
	sim := payshieldtest.New()
	sim.Misbehave = payshieldtest.LieOneIn(1000)
	client := open(t, settings(listen(t, sim, nil)))
	requests, want := cards(t, 3000)
	var values []iso.Secret
	for i, result := range client.CVVs(context.Background(), requests) {
		if result.Err != nil {
			t.Fatalf("card %d: %v", i, result.Err)
		}
		values = append(values, result.CVV)
	}
	lies := 0
	for i, err := range client.VerifyCVVs(context.Background(), requests, values) {
		if lie := values[i].Reveal() != want[i]; lie {
			lies++
			if !errors.Is(err, hsm.ErrCVVWrong) {
				t.Errorf("card %d: the lie is taken: %v", i, err)
			}
		} else if err != nil {
			t.Errorf("card %d: %v", i, err)
		}
	}
	if lies != 3 {
		t.Errorf("%d lies in 3000 values", lies)
	}
}

func TestVerifyRefusesWhatIsNoValue(t *testing.T) {
	client := open(t, settings(listen(t, payshieldtest.New(), nil)))
	requests, want := cards(t, 4)
	requests[3].Key = "other"
	errs := client.VerifyCVVs(context.Background(), requests, []iso.Secret{iso.NewSecret(want[0]), {}, iso.NewSecret("12;"), iso.NewSecret(want[3])})
	if errs[0] != nil || !errors.Is(errs[1], hsm.ErrCVVWrong) || !errors.Is(errs[2], hsm.ErrCVVWrong) || !errors.Is(errs[3], hsm.ErrRequest) {
		t.Errorf("%v", errs)
	}
}

func TestSeveralCallersShareTheConnections(t *testing.T) {
	sim := payshieldtest.New()
	s := settings(listen(t, sim, nil))
	s.Connections, s.InFlight = 2, 8
	client := open(t, s)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			requests, want := cards(t, 400)
			for i, result := range client.CVVs(context.Background(), requests) {
				if result.Err != nil || result.CVV.Reveal() != want[i] {
					t.Errorf("card %d: %v", i, result.Err)
				}
			}
		})
	}
	callers.Wait()
	if n := sim.Connections(); n > 2 {
		t.Errorf("%d connections, configured are 2", n)
	}
}

func TestNothingPrintedShowsASecret(t *testing.T) {
	s := settings(listen(t, payshieldtest.New(), nil))
	p := newPKI(t)
	token := s.Keys["cvk"].Token.Reveal()
	client := open(t, s)
	s.TLS = p.client(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		text := fmt.Sprintf(verb, client) + fmt.Sprintf(verb, s) + fmt.Sprintf(verb, s.TLS) + fmt.Sprintf(verb, *s.TLS)
		for what, secret := range map[string]string{"a token": token, "a private key": "PRIVATE", "a private key in numbers": fmt.Sprint(s.TLS.PrivateKey[:8])} {
			if strings.Contains(text, strings.Trim(secret, "[]")) {
				t.Errorf("%s shows %s", verb, what)
			}
		}
	}
}

// pki is an authority with certificates for 127.0.0.1.
type pki struct {
	ca   []byte
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &pki{ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), cert: cert, key: key}
}

func (p *pki) issue(t testing.TB) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, p.cert, &private.PublicKey, p.key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}

func (p *pki) server(t testing.TB, asksForOurs bool) *tls.Config {
	t.Helper()
	cert, key := p.issue(t)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if asksForOurs {
		s.ClientAuth, s.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		s.ClientCAs.AddCert(p.cert)
	}
	return s
}

func (p *pki) client(t testing.TB) *payshield.TLS { return p.mixed(t, p.ca) }

// mixed trusts an authority and has a certificate of this one.
func (p *pki) mixed(t testing.TB, ca []byte) *payshield.TLS {
	t.Helper()
	cert, key := p.issue(t)
	return &payshield.TLS{CA: ca, Certificate: cert, PrivateKey: key}
}
