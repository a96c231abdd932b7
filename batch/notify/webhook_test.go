package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reemboss/batch/config"
)

// asked is one request that a receiver got.
type asked struct {
	method, path string
	header       http.Header
	body         string
}

// receiver is a server that keeps what it is sent and answers with a list of
// statuses, the last of them for ever; none is 204.
type receiver struct {
	*httptest.Server
	statuses []int
	header   http.Header // of its answers
	said     string      // body of its answers

	mu  sync.Mutex
	got []asked
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, asked{q.Method, q.URL.RequestURI(), q.Header, string(body)})
	for name, values := range r.header {
		w.Header()[name] = values
	}
	status := http.StatusNoContent
	if len(r.statuses) > 0 {
		status = r.statuses[min(len(r.got), len(r.statuses))-1]
	}
	w.WriteHeader(status)
	if status != http.StatusNoContent {
		_, _ = io.WriteString(w, r.said)
	}
}

func (r *receiver) all() []asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func receive(t *testing.T, r *receiver) *receiver {
	t.Helper()
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// hooksTo is the configuration of webhooks that hear of every night; each may be signed with the secret of the variable HOOK.
func hooksTo(signed bool, urls ...string) config.Notify {
	cfg := config.Notify{ReportURL: "https://reports.bank.example"}
	for _, u := range urls {
		w := config.Webhook{URL: u, When: config.Always, Timeout: 15 * time.Second}
		if signed {
			w.Secret.Env = "HOOK"
		}
		cfg.Webhooks = append(cfg.Webhooks, w)
	}
	return cfg
}

var hookKeyBytes = []byte("0123456789abcdef0123456789abcdef")

// signedRight checks a signature from the specification's words, not with the code under test.
func signedRight(q asked, key []byte) bool {
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", q.header.Get("webhook-id"), q.header.Get("webhook-timestamp"), q.body)
	return q.header.Get("webhook-signature") == "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// The vector was made with openssl dgst -sha256 -hmac, not with this program.
func TestSignatureOfAKnownMessage(t *testing.T) {
	key := bytes.Repeat([]byte{'k'}, 24)
	const want = "bYr7Rz93bX8WqNI5XVthzq7NE/LcYrDkos9dgSLYHOc="
	if got := sign(key, "msg_1", "1700000000", []byte(`{"a":1}`)); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestWebhookGetsTheSignedSentence(t *testing.T) {
	for name, secret := range map[string]string{
		"a text": string(hookKeyBytes), "base64": "whsec_" + base64.StdEncoding.EncodeToString(hookKeyBytes),
	} {
		t.Run(name, func(t *testing.T) {
			r := receive(t, &receiver{})
			n := newNotifier(t, hooksTo(true, r.URL+"/night"), config.Events{}, map[string]string{"HOOK": secret}, Options{})
			night := aNight()
			night.Page = "reports/2026-11-23-1/reconciliation.html"
			none(t, n.Ended(t.Context(), night))
			none(t, n.Ended(t.Context(), night))
			got := r.all()
			if len(got) != 2 || got[0].method != http.MethodPost || got[0].path != "/night" || got[0].header.Get("Content-Type") != "application/json" {
				t.Fatalf("requests: %+v", got)
			}
			if !signedRight(got[0], hookKeyBytes) || got[0].header.Get("webhook-timestamp") != fmt.Sprint(at.Unix()) {
				t.Errorf("signature %q", got[0].header.Get("webhook-signature"))
			}
			if id := got[0].header.Get("webhook-id"); id == "" || id != got[1].header.Get("webhook-id") {
				t.Error("a repeat has another webhook-id")
			}
			var body map[string]any
			if err := json.Unmarshal([]byte(got[0].body), &body); err != nil {
				t.Fatal(err)
			}
			for field, want := range map[string]any{
				"run_id": "2026-11-23-1", "date": "2026-11-23", "verdict": night.Verdict, "exit_code": 4.0, "balances_hold": true, "word": "NEEDS A PERSON",
				"report_url": "https://reports.bank.example/2026-11-23-1/reconciliation.html", "needs_count": 1.0,
			} {
				if body[field] != want {
					t.Errorf("%s is %v, want %v", field, body[field], want)
				}
			}
			if needs, ok := body["needs"].([]any); !ok || len(needs) != 1 || fmt.Sprint(needs[0].(map[string]any)["or"]) != "[reemboss resolve beta-0007.pgp --resend]" {
				t.Errorf("needs: %v", body["needs"])
			}
			if counts, ok := body["counts"].(map[string]any); !ok || counts["accepted"] != 1200.0 || counts["waiting"] != 50.0 {
				t.Errorf("counts: %v", body["counts"])
			}
		})
	}
}

func TestWebhookOfANightWithoutBooks(t *testing.T) {
	r := receive(t, &receiver{})
	night := aNight()
	night.Exit, night.Reconciliation, night.Needs = 1, nil, nil
	none(t, newNotifier(t, hooksTo(false, r.URL), config.Events{}, nil, Options{}).Ended(t.Context(), night))
	got := r.all()[0]
	if got.header.Get("webhook-signature") != "" || got.header.Get("webhook-id") == "" {
		t.Errorf("without a secret: %v", got.header)
	}
	for _, want := range []string{`"counts":null`, `"balances_hold":null`, `"needs":[]`, `"report_url":""`, `"word":"FAILED"`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("%s is missing in %s", want, got.body)
		}
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	elsewhere := receive(t, &receiver{})
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := receive(t, &receiver{statuses: []int{status}, header: http.Header{"Location": {elsewhere.URL}}})
		f := one(t, newNotifier(t, hooksTo(true, r.URL), config.Events{}, map[string]string{"HOOK": string(hookKeyBytes)}, Options{}).Ended(t.Context(), aNight()))
		if !strings.Contains(f.Why, "redirect") || len(r.all()) != 1 {
			t.Errorf("%d: %v, %d requests", status, f, len(r.all()))
		}
	}
	if n := len(elsewhere.all()); n != 0 {
		t.Errorf("%d signed bodies went elsewhere", n)
	}
}

func TestWhichAnswersAreTriedAgain(t *testing.T) {
	for _, c := range []struct {
		name     string
		statuses []int
		header   http.Header
		requests int
		waited   []time.Duration
		why      string // "": told
	}{
		{"fault, then yes", []int{500, 200}, nil, 2, []time.Duration{time.Second}, ""},
		{"busy, then yes", []int{429, 503, 202}, nil, 3, []time.Duration{time.Second, 2 * time.Second}, ""},
		{"it says when", []int{503, 200}, http.Header{"Retry-After": {"7"}}, 2, []time.Duration{7 * time.Second}, ""},
		{"it says when by the clock", []int{503, 200}, http.Header{"Retry-After": {at.Add(4 * time.Second).Format(http.TimeFormat)}}, 2, []time.Duration{4 * time.Second}, ""},
		{"it wants more than the timeout", []int{503, 200}, http.Header{"Retry-After": {"3600"}}, 1, nil, "status 503"},
		{"fault for ever", []int{502}, nil, 3, []time.Duration{time.Second, 2 * time.Second}, "status 502) (3 attempts)"},
		{"gone", []int{410}, nil, 1, nil, "gone for good"},
		{"not let in", []int{401}, nil, 1, nil, "does not let us in"},
		{"refused", []int{422}, nil, 1, nil, "status 422"},
		{"too large", []int{413}, nil, 1, nil, "too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := receive(t, &receiver{statuses: c.statuses, header: c.header})
			waited := &pauses{}
			failures := newNotifier(t, hooksTo(false, r.URL), config.Events{}, nil, Options{Sleep: waited.sleep}).Ended(t.Context(), aNight())
			if got := r.all(); len(got) != c.requests || !slices.Equal(*waited, c.waited) {
				t.Errorf("%d requests, waited %v", len(got), *waited)
			} else if len(got) > 1 && (got[0].body != got[1].body || got[0].header.Get("webhook-id") != got[1].header.Get("webhook-id")) {
				t.Error("the second attempt is another message")
			}
			switch {
			case c.why == "":
				none(t, failures)
			case !strings.Contains(one(t, failures).Why, c.why):
				t.Error(failures)
			}
		})
	}
}

func TestWebhookGivesUpOnASlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := newPipes()
		server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
			_, _ = io.Copy(io.Discard, q.Body)
			<-q.Context().Done()
		})}
		go func() { _ = server.Serve(listener) }()
		defer server.Close()
		began := time.Now()
		n := newNotifier(t, hooksTo(false, "http://slow.example/TOKEN"), config.Events{}, nil, Options{Dial: listener.dial})
		f := one(t, n.Ended(t.Context(), aNight()))
		if took := time.Since(began); took != 15*time.Second || f.Why != "it did not answer within 15s" {
			t.Errorf("%v after %s", f, took)
		}
	})
}

func TestWebhookStopsWithTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, context.Canceled)
		defer cancel()
		began := time.Now()
		n := newNotifier(t, hooksTo(false, "http://nobody.example"), config.Events{}, nil, Options{Dial: newPipes().dial})
		if f := one(t, n.Ended(ctx, aNight())); !strings.Contains(f.Why, "stopped") || time.Since(began) != time.Second {
			t.Errorf("%v after %s", f, time.Since(began))
		}
	})
}

func TestOneFailingWebhookKeepsNoOtherFromBeingTold(t *testing.T) {
	bad, good := receive(t, &receiver{statuses: []int{500}}), receive(t, &receiver{})
	n := newNotifier(t, hooksTo(false, "http://127.0.0.1:1/", bad.URL, good.URL), config.Events{}, nil, Options{})
	failures := n.Ended(t.Context(), aNight())
	if len(failures) != 2 || !strings.HasPrefix(failures[0].Who, "webhook 1 (http://127.0.0.1:1)") || !strings.HasPrefix(failures[1].Who, "webhook 2 (") || len(good.all()) != 1 {
		t.Errorf("%d requests at the good one; %v", len(good.all()), failures)
	}
	if !strings.Contains(failures[0].Why, "no connection") || failures[0].Do == "" {
		t.Error(failures[0])
	}
}

func TestNoSecretOfAWebhookIsInAFailure(t *testing.T) {
	const secret = "a secret that signs"
	path := "/services/T000/TOKENTOKEN?key=KEYKEY"
	echo := "you sent " + path + " signed with " + secret + " or " + base64.StdEncoding.EncodeToString([]byte(secret)) + "\x1b[31m\r\n" + strings.Repeat("x", 5000)
	r := receive(t, &receiver{statuses: []int{400}, said: echo})
	down := receive(t, &receiver{})
	down.Close()
	n := newNotifier(t, hooksTo(true, r.URL+path, down.URL+path, strings.Replace(down.URL, "http://", "http://user:PASSWORD@", 1)), config.Events{}, map[string]string{"HOOK": secret}, Options{})
	failures := n.Ended(t.Context(), aNight())
	if len(failures) != 3 {
		t.Fatalf("failures: %v", failures)
	}
	for _, f := range failures {
		for _, secret := range []string{"TOKENTOKEN", "KEYKEY", secret, base64.StdEncoding.EncodeToString([]byte(secret)), "PASSWORD", "Post ", "\x1b", "\n"} {
			if strings.Contains(f.Error(), secret) {
				t.Errorf("a secret or a control character is in: %q", f.Error())
			}
		}
	}
	if why := failures[0].Why; !strings.Contains(why, "you sent [hidden] signed with [hidden]") || len([]rune(why)) > maxSaid+60 {
		t.Errorf("%d characters: %s", len([]rune(why)), why)
	}
}

func TestCertificateOfAWebhookIsVerified(t *testing.T) {
	r := &receiver{}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.StartTLS()
	t.Cleanup(r.Close)
	waited := &pauses{}
	f := one(t, newNotifier(t, hooksTo(false, r.URL), config.Events{}, nil, Options{Sleep: waited.sleep}).Ended(t.Context(), aNight()))
	if !strings.Contains(f.Why, "certificate does not verify") || len(r.all()) != 0 || len(*waited) != 0 {
		t.Errorf("%v; %d requests, waited %v", f, len(r.all()), *waited)
	}

	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := hooksTo(false, r.URL)
	cfg.Webhooks[0].CAFile = "ca.pem" // relative to the workspace
	none(t, newNotifier(t, cfg, config.Events{}, nil, Options{Workspace: dir}).Ended(t.Context(), aNight()))
}

func TestHookKeys(t *testing.T) {
	for secret, want := range map[string]int{
		"0123456789abcdef": 16, "0123456789abcde": 0, "whsec_" + base64.StdEncoding.EncodeToString(hookKeyBytes): 32, "whsec_AAAA": 0, "whsec_not base64 at all!": 0,
	} {
		key, err := hookKey(secret)
		if len(key) != want || (err == nil) != (want > 0) {
			if want > 0 || err == nil {
				t.Errorf("%q: %d bytes, %v", secret, len(key), err)
			}
		}
	}
}
