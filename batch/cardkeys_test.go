package batch

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/batch/hsm/payshield"
	"reemboss/batch/hsm/payshield/payshieldtest"
	"reemboss/batch/issue"
	"reemboss/batch/ledger"
	"reemboss/bureau"
	"reemboss/formats/layout"
)

// visaPair is the key pair that hardware holds in these tests: the public one.
var visaPair = []byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10}

// cardKey writes another place for a card key.
func (b *bench) cardKey(name, place string) {
	b.Helper()
	b.rewrite(`(?m)^  `+name+`: \{.*\}$`, "  "+name+": {"+place+"}")
}

// rewrite replaces the one place of the configuration that a pattern finds.
func (b *bench) rewrite(pattern, with string) {
	b.Helper()
	text, err := os.ReadFile(b.Config())
	if err != nil {
		b.Fatal(err)
	}
	found := regexp.MustCompile(pattern).FindAllIndex(text, -1)
	if len(found) != 1 {
		b.Fatalf("config.yaml has %d times %s", len(found), pattern)
	}
	text = slices.Concat(text[:found[0][0]], []byte(with), text[found[0][1]:])
	if err := os.WriteFile(b.Config(), text, 0o600); err != nil {
		b.Fatal(err)
	}
}

func inModule(pair []byte) string {
	return fmt.Sprintf(`backend: payshield, kcv: %q, token: %s`, payshieldtest.KCV(pair), payshieldtest.Token(payshieldtest.CVK, pair))
}

// module is a simulated module that listens; the workspace's key cvk-visa is in it.
func (b *bench) module(misbehave func(payshieldtest.Command) payshieldtest.Fault) *payshieldtest.Simulator {
	b.Helper()
	b.cardKey("cvk-visa", inModule(visaPair))
	b.configure(`lmk_check: ""`, `lmk_check: "`+payshieldtest.LMKCheck[:6]+`"`, "retry_pause: 250ms", "retry_pause: 1ms", "retries: 3 ", "retries: 1 ")
	return b.nextModule(misbehave, nil)
}

// nextModule takes the place of the one before.
func (b *bench) nextModule(misbehave func(payshieldtest.Command) payshieldtest.Fault, secured *tls.Config) *payshieldtest.Simulator {
	b.Helper()
	sim := payshieldtest.New()
	sim.Misbehave = misbehave
	address, err := sim.Listen(secured)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(sim.Close)
	b.rewrite(`(?m)^  addresses: .*$`, "  addresses: ['"+address+"']")
	return sim
}

// certified makes one certificate for both ends, puts it beside the configuration and gives the module's settings.
func (b *bench) certified() *tls.Config {
	b.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		b.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		b.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
	for name, content := range map[string][]byte{"hsm.pem": certificate, "hsm.key": key} {
		if err := os.WriteFile(b.Path("keys", name), content, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	b.configure(`tls: {ca_file: "", certificate_file: "", key_file: "",`, `tls: {ca_file: keys/hsm.pem, certificate_file: keys/hsm.pem, key_file: keys/hsm.key,`)
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		b.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(certificate)
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted, MinVersion: tls.VersionTLS12}
}

// plastics puts count cards and a request to emboss each again into the inbox; every third is mc-gold if gold is set.
func (b *bench) plastics(count int, gold bool) {
	b.Helper()
	var cards, asked strings.Builder
	cards.WriteString("card_id,customer_id,status,pan,psn,program_id,product,expiry,printed_name,address_line1,city,postcode,country\n")
	asked.WriteString("card_id\n")
	for i := range count {
		product, prefix := "visa-classic", "411111"
		if gold && i%3 == 1 {
			product, prefix = "mc-gold", "555555"
		}
		body := fmt.Sprintf("%s%09d", prefix, i)
		fmt.Fprintf(&cards, "%d,C%d,NORMAL,%s%c,00,100,%s,2029-11,Anna Smith,1 Street,Berlin,10115,DE\n", i+1, i+1, body, luhn(body), product)
		fmt.Fprintf(&asked, "%d\n", i+1)
	}
	if err := os.WriteFile(filepath.Join(b.InboxCards(), "cards.csv"), []byte(cards.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	b.drop("again.csv", asked.String())
}

// inSoftware verifies by the software's second code path, with the pairs that are elsewhere in the night.
func inSoftware(t *testing.T, pairs map[string][]byte) hsm.Verifier {
	t.Helper()
	set, err := hsm.CreateKeyset(filepath.Join(t.TempDir(), "keyset.json"), []byte("0123456789abcdef0123456789abcdef"), rand.Reader, hsm.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range pairs {
		if err := set.AddCVK(name, pair, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	return set
}

// everyValue opens what each bureau received and holds every value in it, on the
// face and on each track, against verifier. It wants count cards, each once.
func (b *bench) everyValue(count int, verifier map[string]hsm.Verifier) {
	b.Helper()
	n := b.open()
	defer n.Close()
	files, err := n.Ledger.BureauFiles(b.Context(), ledger.FileQuery{})
	if err != nil {
		b.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range files {
		if config.Reserved(f.Recipient) {
			continue
		}
		if f.State != ledger.Sent {
			b.Errorf("%s is %s", f.Name, f.State)
			continue
		}
		var items []issue.Item
		err := n.Ledger.EachFileOrder(b.Context(), f.ID, func(o *ledger.Order) error {
			blank := new(issue.Blank)
			items = append(items, issue.Item{PAN: o.PAN, Blank: blank})
			return json.Unmarshal(o.Record, blank)
		})
		if err != nil {
			b.Fatal(err)
		}
		records := b.sealedRecords(n, f)
		if err := issue.VerifySample(b.Context(), verifier[f.Recipient], items, records); err != nil {
			b.Errorf("%s: %v", f.Name, err)
		}
		for _, r := range records {
			if seen[r[layout.PAN]] {
				b.Error("a card was embossed twice")
			}
			seen[r[layout.PAN]] = true
		}
	}
	if len(seen) != count {
		b.Errorf("the bureaus have %d cards, want %d", len(seen), count)
	}
}

// sealedRecords opens a file as its bureau does.
func (b *bench) sealedRecords(n *Night, f ledger.BureauFile) (records []layout.Record) {
	b.Helper()
	private, err := bureau.ReadPrivateKey(filepath.Join(b.Simulator(f.Recipient), "keys", "bureau.pgp"), nil, "", b.now)
	if err != nil {
		b.Fatal(err)
	}
	sealed, err := os.ReadFile(filepath.Join(b.Simulator(f.Recipient), "incoming", f.Name))
	if err != nil {
		b.Fatal(err)
	}
	opened, verdict := bureau.Open(bytes.NewReader(sealed), private, []*bureau.Key{n.ownKey})
	text, err := io.ReadAll(opened)
	if err == nil {
		_, err = verdict()
	}
	if err != nil {
		b.Fatal(err)
	}
	_, err = n.layouts[f.Recipient].Read(bytes.NewReader(text), func(r layout.Record) error {
		// A layout has a number and a value in one form; the other follows.
		if r[layout.PAN] == "" {
			r[layout.PAN] = strings.ReplaceAll(r[layout.PANGrouped], " ", "")
		}
		if face := r[layout.CVV2Face]; r[layout.CVV2] == "" && len(face) > 3 {
			r[layout.CVV2] = face[len(face)-3:]
		} else if number := r[layout.PAN]; face == "" && len(number) > 4 {
			r[layout.CVV2Face] = number[len(number)-4:] + " " + r[layout.CVV2]
		}
		records = append(records, r)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return records
}

// stops runs a night that must not come to its end, and gives why.
func (b *bench) stops(prepare ...func(*Night)) error {
	b.Helper()
	n := b.open()
	for _, p := range prepare {
		p(n)
	}
	_, err := n.Run(b.Context())
	if err == nil {
		b.Fatal("the night came to its end")
	}
	if err := n.Close(); err != nil {
		b.Error(err)
	}
	return err
}

// keyset is the workspace's own.
func (b *bench) keyset() *hsm.Keyset {
	b.Helper()
	n := b.open()
	defer n.Close()
	return n.keyset
}

func (b *bench) nothingLeft() {
	b.Helper()
	for _, pattern := range []string{"simulator/*/incoming/*", "outbox/alpha/*"} {
		if found, _ := filepath.Glob(b.Path(pattern)); len(found) > 0 {
			b.Errorf("there is %v", found)
		}
	}
}

// One product's key is in a module over TLS, the other's in the keyset: each value comes from its own place.
func TestANightWithKeysInAModuleAndInSoftware(t *testing.T) {
	b := newBench(t)
	b.module(nil)
	sim := b.nextModule(nil, b.certified())
	b.configure(`test_key: ""`, "test_key: cvk-visa")
	b.plastics(700, true)
	if err := CheckConfig(t.Context(), b.Dir, Options{Log: zerolog.Nop()}); err != nil {
		t.Fatalf("config check: %v", err)
	}
	if r := b.run(); r.Accepted != 700 || r.Exit != 0 {
		t.Fatalf("accepted %d, exit %d", r.Accepted, r.Exit)
	}
	if asked := sim.Commands(); asked["CW"] == 0 || asked["CY"] == 0 || asked["CY"] > asked["CW"]/20 {
		t.Errorf("the module was asked %v", asked)
	}
	b.everyValue(700, map[string]hsm.Verifier{"alpha": inSoftware(t, map[string][]byte{"cvk-visa": visaPair}), "beta": b.keyset()})
}

func TestCommandsThatMakeNoCardNeedNoModule(t *testing.T) {
	b := newBench(t)
	sim := b.module(nil)
	b.open()
	if asked := sim.Commands(); len(asked) > 0 {
		t.Errorf("the module was asked %v", asked)
	}
}

func TestAModuleThatIsNotAsConfiguredStopsTheRunBeforeAnyCard(t *testing.T) {
	for _, c := range []struct{ rule, pattern, with, at, says string }{
		{"another LMK", `lmk_check: "[0-9A-F]+"`, `lmk_check: "000000"`, "payshield.lmk_check", "another LMK"},
		{"another key", `kcv: "08D7B4", token`, `kcv: "08D7B5", token`, "card_keys", "the HSM computes"},
		{"nobody there", `addresses: \['127.0.0.1:[0-9]+'\]`, `addresses: ['127.0.0.1:1']`, "payshield.addresses", "no HSM answers"},
		{"a key that is not the test key", `test_key: ""`, "test_key: cvk-visa", "payshield.test_key", "known-answer test"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			b := newBench(t)
			b.module(func(command payshieldtest.Command) payshieldtest.Fault {
				if command.Code == "CW" {
					return payshieldtest.Fault{Kind: payshieldtest.Lie}
				}
				return payshieldtest.Fault{}
			})
			b.rewrite(c.pattern, c.with)
			b.plastics(3, false)
			err := b.stops()
			var mistake *SetupError
			if !errors.As(err, &mistake) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("the run: %v", err)
			}
			if _, err := os.Stat(b.Path("inbox", "again.csv")); err != nil {
				t.Error("the request was taken from the inbox")
			}
			b.nothingLeft()
			var found config.Mistakes
			err = CheckConfig(t.Context(), b.Dir, Options{Log: zerolog.Nop()})
			if !errors.As(err, &found) || len(found) != 1 || found[0].Path != c.at || found[0].Line < 2 || !strings.Contains(found[0].Message, c.says) {
				t.Errorf("config check: %v", err)
			}
			if token := payshieldtest.Token(payshieldtest.CVK, visaPair); strings.Contains(fmt.Sprint(err), token) {
				t.Error("a token is printed")
			}
		})
	}
}

// dies is a module that ends at the n-th value.
func (b *bench) dies(n int64) {
	var sim *payshieldtest.Simulator
	var made atomic.Int64
	ready := make(chan struct{})
	sim = b.nextModule(func(c payshieldtest.Command) payshieldtest.Fault {
		<-ready
		if c.Code == "CW" && made.Add(1) == n {
			go sim.Close()
		}
		if made.Load() >= n {
			return payshieldtest.Fault{Kind: payshieldtest.Drop}
		}
		return payshieldtest.Fault{}
	}, nil)
	close(ready)
}

// The module dies while the file is planned, while it is written, and in between; the next run goes on, with the plan that there is.
func TestAModuleThatDiesWhileCardsAreMade(t *testing.T) {
	const cards = 600
	for _, c := range []struct {
		at      int64 // values; each pass over the file makes three a card
		planned bool
	}{{10, false}, {3*cards + 10, false}, {6*cards + 10, true}, {8 * cards, true}} {
		t.Run(fmt.Sprintf("after %d values", c.at), func(t *testing.T) {
			b := newBench(t)
			b.module(nil)
			b.plastics(cards, false)
			b.dies(c.at)
			err := b.stops()
			var mistake *SetupError
			if !errors.Is(err, payshield.ErrTransport) || errors.As(err, &mistake) {
				t.Errorf("the night stopped: %v", err)
			}
			b.nothingLeft()
			before := b.plan()
			if (before.PlainDigest != "") != c.planned {
				t.Errorf("there is a plan: %v", before.PlainDigest != "")
			}
			b.nextModule(nil, nil)
			if r := b.run(); r.Accepted != cards || r.Exit != 0 {
				t.Fatalf("the next run: accepted %d, exit %d", r.Accepted, r.Exit)
			}
			if after := b.plan(); c.planned && (after.PlainDigest != before.PlainDigest || after.Name != before.Name) {
				t.Error("the file is not the one that was planned")
			}
			b.everyValue(cards, map[string]hsm.Verifier{"alpha": inSoftware(t, map[string][]byte{"cvk-visa": visaPair})})
		})
	}
}

// plan is the file of bureau alpha, if there is one.
func (b *bench) plan() (f ledger.BureauFile) {
	b.Helper()
	n := b.open()
	defer n.Close()
	files, err := n.Ledger.BureauFiles(b.Context(), ledger.FileQuery{})
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range files {
		if file.Recipient == "alpha" {
			f = file
		}
	}
	return f
}

// One command at a time: which value is the wrong one is then no chance. One in
// seven meets the first value of card 101, which is in the sample. One in a
// thousand meets none that is, but another card each time the text is made.
func TestAModuleThatLiesReleasesNothing(t *testing.T) {
	for _, c := range []struct {
		oneIn int
		says  string
	}{{7, "record "}, {1000, "other card verification values than a moment ago"}} {
		t.Run(fmt.Sprintf("one in %d", c.oneIn), func(t *testing.T) {
			b := newBench(t)
			b.module(nil)
			b.nextModule(payshieldtest.LieOneIn(c.oneIn), nil)
			b.configure("connections: 4 ", "connections: 1 ", "in_flight: 64 ", "in_flight: 1 ")
			b.plastics(400, false)
			if err := b.stops(); !errors.Is(err, issue.ErrSample) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("the night stopped: %v", err)
			}
			b.nothingLeft()
			b.nextModule(nil, nil)
			if r := b.run(); r.Accepted != 400 || r.Exit != 0 {
				t.Fatalf("with a good module: accepted %d, exit %d", r.Accepted, r.Exit)
			}
			b.everyValue(400, map[string]hsm.Verifier{"alpha": inSoftware(t, map[string][]byte{"cvk-visa": visaPair})})
		})
	}
}

// A module that begins to lie once the file is planned: the sample finds it and the night stops, or the digest of the
// plan is another, and a person is asked. With a good module the planned file goes out.
func TestAModuleThatLiesAfterPlanningReleasesNothing(t *testing.T) {
	b := newBench(t)
	b.module(nil)
	var lying atomic.Bool
	lie := payshieldtest.LieOneIn(1000)
	b.nextModule(func(c payshieldtest.Command) payshieldtest.Fault {
		if !lying.Load() {
			return payshieldtest.Fault{}
		}
		return lie(c)
	}, nil)
	b.plastics(400, false)
	n := b.open()
	n.Checkpoint = func(point string) {
		if point == "write/planned" {
			lying.Store(true)
		}
	}
	r, err := n.Run(t.Context())
	if closed := n.Close(); closed != nil {
		t.Fatal(closed)
	}
	planned := b.plan()
	switch {
	case err == nil:
		if needs := b.needs(r.Reconciliation, planned.Name); r.Exit != 4 || len(needs) != 1 || !strings.Contains(needs[0].Why, "digest of the plan") {
			t.Errorf("exit %d, %+v", r.Exit, r.NeedsPerson)
		}
	case !errors.Is(err, issue.ErrSample):
		t.Errorf("the night stopped: %v", err)
	}
	b.nothingLeft()
	b.nextModule(nil, nil)
	if r := b.run(); r.Exit != 0 || b.plan().State != ledger.Sent || b.plan().PlainDigest != planned.PlainDigest || b.plan().Records != 400 {
		t.Fatalf("with a good module: exit %d, %+v", r.Exit, b.plan())
	}
}

func TestARunThatIsStoppedWhileTheModuleIsAskedIsNoMistake(t *testing.T) {
	b := newBench(t)
	b.module(func(payshieldtest.Command) payshieldtest.Fault { return payshieldtest.Fault{Kind: payshieldtest.Hang} })
	n := b.open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := n.Run(ctx)
	var mistake *SetupError
	if !errors.Is(err, context.Canceled) || errors.As(err, &mistake) {
		t.Errorf("%v", err)
	}
}

// One of two modules is out of reach: the night goes on with the other, and the log says so.
func TestAModuleOutOfReachIsTold(t *testing.T) {
	b := newBench(t)
	b.module(nil)
	b.configure("addresses: ['", "addresses: ['127.0.0.1:1', '")
	b.plastics(5, false)
	var log bytes.Buffer
	r := b.run(func(n *Night) { n.Log = zerolog.New(zerolog.SyncWriter(&log)) })
	if r.Exit != 0 || !strings.Contains(log.String(), "HSM 127.0.0.1:1 is out of reach") {
		t.Errorf("exit %d, log:\n%s", r.Exit, log.String())
	}
}

// The defaults of the configuration are those of the client.
func TestDefaultsOfPayShield(t *testing.T) {
	cfg, err := config.Parse("config.yaml", config.Example(config.SampleValues), "")
	if err != nil {
		t.Fatal(err)
	}
	p := cfg.PayShield
	if p.HeaderLength != payshield.MinHeaderLength || p.Connections != payshield.DefaultConnections || p.InFlight != payshield.DefaultInFlight || p.Retries != payshield.DefaultRetries ||
		p.Timeout != payshield.DefaultTimeout || p.ConnectTimeout != payshield.DefaultConnectTimeout || p.RetryPause != payshield.DefaultRetryPause {
		t.Errorf("%+v", p)
	}
}
