package notify

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
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/report"
)

// at is the clock of the tests.
var at = time.Date(2026, 11, 23, 2, 14, 9, 0, time.UTC)

// aNight is one that needs a person.
func aNight() Night {
	return Night{
		RunID: "2026-11-23-1", Verdict: "1,200 of 1,300 rows accepted. One thing needs a person.", Exit: 4,
		Needs: []report.Need{{What: "beta-0007.pgp may or may not have arrived", Why: "The connection was lost.", Command: "reemboss resolve beta-0007.pgp --delivered", Or: []string{"reemboss resolve beta-0007.pgp --resend"}}},
		Date:  "2026-11-23", Host: "cards01", Version: "1.3.0", StartedAt: at.Add(-14 * time.Minute), EndedAt: at,
		Reconciliation: &report.Reconciliation{
			Read: 1300, Accepted: 1200, Refused: 90, Duplicate: 10, Written: 1150, Waiting: 50,
			Balances: []report.Balance{{Name: "rows", Holds: true, Left: report.Term{Name: "read", N: 1300}}},
		},
	}
}

// secretsOf gives the texts of a map by the name of the environment variable.
func secretsOf(texts map[string]string) Secrets {
	return func(ref config.SecretRef) ([]byte, error) {
		text, ok := texts[ref.Env]
		if !ok {
			return nil, errors.New("environment variable " + ref.Env + " holds no secret")
		}
		return []byte(text), nil
	}
}

// pauses records what would have been waited.
type pauses []time.Duration

func (p *pauses) sleep(ctx context.Context, d time.Duration) error {
	*p = append(*p, d)
	return ctx.Err()
}

// newNotifier makes a notifier with the tests' clock that waits for nothing.
func newNotifier(t *testing.T, cfg config.Notify, events config.Events, texts map[string]string, o Options) *Notifier {
	t.Helper()
	o.Now = func() time.Time { return at }
	if o.Sleep == nil {
		o.Sleep = (&pauses{}).sleep
	}
	n, err := New(cfg, events, secretsOf(texts), o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// authority is a certificate authority of a test's own.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	File string // its certificate, PEM
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t), File: filepath.Join(t.TempDir(), "ca.pem")}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.File, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// server is the TLS side of a host.
func (a *authority) server(host string) *tls.Config {
	a.t.Helper()
	key := newKey(a.t)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// to dials one address, whatever is asked for.
func to(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
}

// pipes is a listener in memory, for tests within a bubble of synctest.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.accept <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func one(t *testing.T, failures []Failure) Failure {
	t.Helper()
	if len(failures) != 1 {
		t.Fatalf("%d failures, want one: %v", len(failures), failures)
	}
	return failures[0]
}

func none(t *testing.T, failures []Failure) {
	t.Helper()
	if len(failures) != 0 {
		t.Fatalf("failures: %v", failures)
	}
}

func TestNewNamesEveryMistakeAndNoSecret(t *testing.T) {
	cfg := config.Notify{
		Mail:      config.Mail{Host: "mail.example", Security: config.StartTLS, Timeout: time.Second, User: "u", Password: config.SecretRef{Env: "MAIL"}},
		Webhooks:  []config.Webhook{{URL: "hooks.example/TOKEN-IN-PATH", Timeout: time.Second}, {URL: "https://hooks.example", Timeout: time.Second, Secret: config.SecretRef{Env: "BAD"}}},
		Heartbeat: config.Heartbeat{Start: "https://beat.example/x"},
	}
	_, err := New(cfg, config.Events{Webhook: config.EventHook{URL: "https://e.example", Timeout: time.Second, CAFile: "missing.pem"}},
		secretsOf(map[string]string{"BAD": "whsec_!!not base64!!"}), Options{Workspace: t.TempDir()})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"notify.mail: password", "notify.webhooks, entry 1: the address", "entry 2: secret", "notify.heartbeat.start: the timeout", "events.webhook: ca_file"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in: %v", want, err)
		}
	}
	for _, secret := range []string{"TOKEN-IN-PATH", "not base64!!"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("a secret is in the error: %v", err)
		}
	}
}

func TestWhoIsToldWhen(t *testing.T) {
	for _, c := range []struct {
		when string
		exit int
		want bool
	}{
		{config.WhenNeeded, 0, false}, {config.WhenNeeded, 4, true}, {config.WhenNeeded, 1, true}, {config.WhenNeeded, 5, true},
		{config.Always, 0, true}, {config.Always, 4, true}, {"", 0, false}, {"", 4, true},
	} {
		if got := (Night{Exit: c.exit}).wanted(c.when); got != c.want {
			t.Errorf("exit %d, when %q: told %v, want %v", c.exit, c.when, got, c.want)
		}
	}
}

// A run that stopped and was continued ends twice; the second end is no copy of the first.
func TestTellingNamesOneEndOfOneRunToOneRecipient(t *testing.T) {
	base := aNight()
	other := []Night{base, base, base}
	other[0].RunID, other[1].Exit, other[2].Verdict = "2026-11-24-1", 0, "All is well."
	if base.telling("a") != aNight().telling("a") {
		t.Error("the same end has two names")
	}
	for _, n := range append(other, base) {
		if n.telling("b") == base.telling("a") || n.telling("a") == base.telling("a") && n.RunID+n.Verdict != base.RunID+base.Verdict {
			t.Errorf("%s, exit %d, has the name of another", n.RunID, n.Exit)
		}
	}
}
