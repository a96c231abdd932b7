package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// The night is told to a real mail server and to real web servers on this machine.

// everybody are those who want to know: web servers at one address, and a mail server.
type everybody struct {
	t    *testing.T
	web  *httptest.Server
	post net.Listener // of the mail server

	sync.Mutex
	asked   []asked
	letters []letter
}

// asked is a request that a web server of the test got, letter a mail.
type (
	asked struct {
		method, path string
		header       http.Header
		body         []byte
	}
	letter struct {
		to   string
		text []byte
	}
)

// Secrets of the two webhooks: one as Standard Webhooks writes it, one as it is.
const (
	sentenceSecret = "whsec_QSBrZXkgb2YgdGhlIHRlc3QgaXRzZWxm"
	eventsSecret   = "another key of the test"
)

// listening starts them; the workspace is to tell them of every night.
func listening(t *testing.T, w *workspace) *everybody {
	t.Helper()
	e := &everybody{t: t}
	e.opens("127.0.0.1:0")
	var err error
	if e.post, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &postbox{e: e}, nil }))
	server.Domain = "mail.bank.example"
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(e.post) }()
	t.Cleanup(func() { _ = server.Close(); <-done; e.web.Close() })
	w.tells(e)
	return e
}

// tells puts the addresses of everybody into the configuration.
func (w *workspace) tells(e *everybody) {
	w.tb.Helper()
	w.write("keys/hook.secret", []byte(sentenceSecret))
	w.write("keys/events.secret", []byte(eventsSecret))
	for old, new := range map[string]string{
		`  report_url: ""`:        `  report_url: https://reports.bank.example/cards`,
		`    host: ""`:            `    host: 127.0.0.1`,
		`    port: 587`:           fmt.Sprintf("    port: %d", e.post.Addr().(*net.TCPAddr).Port),
		`    security: starttls`:  `    security: none`,
		`    from: ""`:            `    from: Night <night@bank.example>`,
		`    to: []`:              "    to:\n      - {address: desk@bank.example, when: needed}\n      - {address: head@bank.example, when: always, attach: true}",
		`  webhooks: []`:          "  webhooks:\n    - {url: " + e.web.URL + "/always, when: always, secret: {file: keys/hook.secret}, timeout: 2s}\n    - {url: " + e.web.URL + "/needed, when: needed, secret: {file: keys/hook.secret}, timeout: 2s}",
		`    start: ""`:           `    start: ` + e.web.URL + `/ping/start`,
		`    end: ""`:             `    end: ` + e.web.URL + `/ping/end`,
		`    fail: ""`:            `    fail: ` + e.web.URL + `/ping/fail`,
		"    timeout: 10s":        "    timeout: 2s",
		`    file: ""`:            `    file: state/reemboss.prom`,
		"    url: \"\"":           "    secret: {file: keys/events.secret}\n    url: " + e.web.URL + "/events",
		"    batch: 100         ": "    batch: 2",
	} {
		w.configure(old, new)
	}
	text := string(w.read("config.yaml"))
	at := strings.LastIndex(text, "    timeout: 15s")
	w.write("config.yaml", []byte(text[:at]+"    timeout: 2s"+text[at+len("    timeout: 15s"):]))
}

// opens starts the web servers at an address.
func (e *everybody) opens(address string) {
	e.t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		e.t.Fatal(err)
	}
	e.web = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			e.t.Error(err)
		}
		e.Lock()
		defer e.Unlock()
		e.asked = append(e.asked, asked{r.Method, r.URL.Path, r.Header.Clone(), body})
	}))
	_ = e.web.Listener.Close()
	e.web.Listener = listener
	e.web.Start()
}

// postbox takes one mail.
type postbox struct {
	e  *everybody
	to string
}

func (p *postbox) Mail(string, *smtp.MailOptions) error { return nil }
func (p *postbox) Rcpt(to string, _ *smtp.RcptOptions) error {
	p.to = to
	return nil
}
func (p *postbox) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	p.e.Lock()
	defer p.e.Unlock()
	p.e.letters = append(p.e.letters, letter{p.to, text})
	return err
}
func (p *postbox) Reset()        {}
func (p *postbox) Logout() error { return nil }

// heard gives what came since the last time, and in which order the web servers were asked.
func (e *everybody) heard() (paths []string, web map[string][]asked, mails map[string][]letter) {
	e.Lock()
	defer e.Unlock()
	web, mails = map[string][]asked{}, map[string][]letter{}
	for _, a := range e.asked {
		if len(paths) == 0 || paths[len(paths)-1] != a.path {
			paths = append(paths, a.path)
		}
		web[a.path] = append(web[a.path], a)
	}
	for _, l := range e.letters {
		mails[l.to] = append(mails[l.to], l)
	}
	e.asked, e.letters = nil, nil
	return paths, web, mails
}

// signed verifies a request as docs/notifications.md has its receiver do it.
func (a asked) signed(t *testing.T, key []byte) {
	t.Helper()
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", a.header.Get("webhook-id"), a.header.Get("webhook-timestamp"))
	mac.Write(a.body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if a.header.Get("webhook-id") == "" || a.header.Get("webhook-signature") != want {
		t.Errorf("%s %s is signed %q, want %q", a.method, a.path, a.header.Get("webhook-signature"), want)
	}
}

// sentence is the body of the webhook that gets the night's sentence.
type sentence struct {
	RunID        string `json:"run_id"`
	Word         string `json:"word"`
	Verdict      string `json:"verdict"`
	ExitCode     int    `json:"exit_code"`
	NeedsCount   int    `json:"needs_count"`
	BalancesHold *bool  `json:"balances_hold"`
	ReportURL    string `json:"report_url"`
}

func (a asked) sentence(t *testing.T) (s sentence) {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sentenceSecret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	a.signed(t, key)
	if err := json.Unmarshal(a.body, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// events are those of signed batches, in their order, each as one line.
func events(t *testing.T, batches []asked) (lines []string) {
	t.Helper()
	for _, a := range batches {
		a.signed(t, []byte(eventsSecret))
		var list []json.RawMessage
		if err := json.Unmarshal(a.body, &list); err != nil {
			t.Fatal(err)
		}
		if len(list) > 2 || a.header.Get("Content-Type") != "application/cloudevents-batch+json" {
			t.Errorf("a batch of %d events, %s", len(list), a.header.Get("Content-Type"))
		}
		for _, event := range list {
			lines = append(lines, string(event))
		}
	}
	return lines
}

// eventsOf are the lines of the events.ndjson of runs.
func (w *workspace) eventsOf(runs ...string) (lines []string) {
	w.tb.Helper()
	for _, run := range runs {
		if text := strings.TrimSpace(string(w.read("reports", run, "events.ndjson"))); text != "" {
			lines = append(lines, strings.Split(text, "\n")...)
		}
	}
	return lines
}

// metric is the value of a metric, named with its labels as the text format has them. The file must be one that Prometheus reads.
func (w *workspace) metric(name string) float64 {
	w.tb.Helper()
	text := w.read("state", "reemboss.prom")
	if problems, err := promlint.New(bytes.NewReader(text)).Lint(); err != nil || len(problems) > 0 {
		w.tb.Fatalf("the metrics: %v %v", problems, err)
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), name+" "); found {
			number, err := strconv.ParseFloat(value, 64)
			if err != nil {
				w.tb.Fatalf("%s: %v", name, err)
			}
			return number
		}
	}
	w.tb.Fatalf("there is no metric %s", name)
	return 0
}

// A quiet night is told to those who always want to know, and to the heartbeat; the events come in their order, in signed batches.
func TestAQuietNightIsTold(t *testing.T) {
	w := newWorkspace(t)
	e := listening(t, w)
	w.smallNight()
	r := w.night(exitComplete)
	paths, web, mails := e.heard()
	if got := strings.Join(paths, " "); got != "/ping/start /events /ping/end /always" {
		t.Errorf("the web servers were asked %s", got)
	}
	if got := web["/always"][0].sentence(t); got.RunID != r.RunID || got.Word != "OK" || got.Verdict != r.Verdict || got.ExitCode != 0 || got.NeedsCount != 0 ||
		got.BalancesHold == nil || !*got.BalancesHold || got.ReportURL != "https://reports.bank.example/cards/"+r.RunID+"/reconciliation.html" {
		t.Errorf("the sentence is %+v", got)
	}
	if got, want := events(t, web["/events"]), w.eventsOf(r.RunID); strings.Join(got, "\n") != strings.Join(want, "\n") || len(want) == 0 {
		t.Errorf("%d events came, want %d:\n%s", len(got), len(want), got)
	}
	if len(mails) != 1 || len(mails["head@bank.example"]) != 1 {
		t.Fatalf("mails went to %d addresses", len(mails))
	}
	m := opened(t, mails["head@bank.example"][0].text)
	if !strings.Contains(m.subject, "OK, run "+r.RunID) || !strings.Contains(m.text, r.Verdict) || m.attached["reconciliation.html"] != string(w.read("reports", r.RunID, "reconciliation.html")) {
		t.Errorf("the mail %q has %q and %d attachments", m.subject, m.text, len(m.attached))
	}
	for name, want := range map[string]float64{"reemboss_run_exit_code": 0, "reemboss_needs_person": 0, "reemboss_balances_broken": 0, "reemboss_events_pending": 0, "reemboss_events_delivered": float64(len(w.eventsOf(r.RunID)))} {
		if got := w.metric(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if got := w.metric(`reemboss_rows{outcome="accepted"}`); got != 6 {
		t.Errorf("reemboss_rows accepted is %v", got)
	}
	if at := time.Unix(int64(w.metric("reemboss_last_complete_night_timestamp_seconds")), 0); time.Since(at) > time.Hour {
		t.Errorf("the last complete night ended %v", at)
	}
}

// What needs a person is told to those who want to know only then; the night was complete, so that the heartbeat hears its end.
func TestANightThatNeedsAPersonIsTold(t *testing.T) {
	w := newWorkspace(t)
	e := listening(t, w)
	cards := w.smallNight()
	w.night(exitComplete)
	e.heard()
	w.answer("alpha", "r.csv", strings.Replace(w.fileTold("alpha", 1, "REFUSED", time.Now()), ",,,,", ",017,wrong layout version,,", 1))
	w.answer("beta", "r.csv", w.told(cards[1], "SHIPPED", "", time.Now()))
	r := w.night(exitPerson)
	paths, web, mails := e.heard()
	if got := strings.Join(paths, " "); got != "/ping/start /events /ping/end /always /needed" {
		t.Errorf("the web servers were asked %s", got)
	}
	if got := web["/needed"][0].sentence(t); got.Word != "NEEDS A PERSON" || got.ExitCode != 4 || got.NeedsCount != 1 || got.Verdict != r.Verdict {
		t.Errorf("the sentence is %+v", got)
	}
	if got, want := events(t, web["/events"]), w.eventsOf(r.RunID); strings.Join(got, "\n") != strings.Join(want, "\n") || len(want) == 0 {
		t.Errorf("%d events came, want %d", len(got), len(want))
	}
	for _, to := range []string{"desk@bank.example", "head@bank.example"} {
		if len(mails[to]) != 1 {
			t.Fatalf("%d mails for %s", len(mails[to]), to)
		}
		m := opened(t, mails[to][0].text)
		if !strings.Contains(m.subject, "NEEDS A PERSON") || !strings.Contains(m.text, "reemboss cancel") || !strings.Contains(m.text, "017 wrong layout version") {
			t.Errorf("the mail to %s: %q\n%s", to, m.subject, m.text)
		}
	}
	if w.metric("reemboss_run_exit_code") != 4 || w.metric("reemboss_needs_person") != 1 {
		t.Error("the metrics do not say that a person is needed")
	}
}

// Nobody answers: telling decides nothing, so that the night ends as it would have, and warns of who was not told. The
// events wait in the ledger; the next run brings them, each once, those of the earlier night first.
func TestWhoIsNotReachedIsToldTheNextNight(t *testing.T) {
	w := newWorkspace(t)
	e := listening(t, w)
	cards := w.smallNight()
	address, patient := e.web.Listener.Addr().String(), w.read("config.yaml")
	e.web.Close()
	w.write("config.yaml", bytes.ReplaceAll(patient, []byte("timeout: 2s"), []byte("timeout: 200ms")))
	down := w.night(exitComplete)
	w.write("config.yaml", patient)
	balanced(t, down)
	if down.Accepted != 6 || down.Written != 6 {
		t.Errorf("accepted %d, written %d", down.Accepted, down.Written)
	}
	warned := strings.Join(down.Warnings, "\n")
	if strings.Count(warned, "was not told") < 3 || !strings.Contains(warned, fmt.Sprintf("%d events that wait", len(w.eventsOf(down.RunID)))) {
		t.Errorf("the warnings do not name who was not told: %q", down.Warnings)
	}
	if page := string(w.read("reports", down.RunID, "reconciliation.html")); !strings.Contains(page, "was not told") {
		t.Error("the page does not warn of it")
	}
	if strings.Contains(warned, "/always") || strings.Contains(warned, "/ping") {
		t.Errorf("a URL is told whole, and its path may be a secret: %s", warned)
	}
	waiting := w.eventsOf(down.RunID)
	if got := w.metric("reemboss_events_pending"); got != float64(len(waiting)) {
		t.Errorf("%v events wait, want %d", got, len(waiting))
	}
	_, _, mails := e.heard()
	if len(mails["head@bank.example"]) != 1 {
		t.Errorf("who could be reached got %d mails", len(mails["head@bank.example"]))
	}

	e.opens(address)
	w.answer("beta", "r.csv", w.told(cards[1], "SHIPPED", "", time.Now()))
	up := w.night(exitComplete)
	_, web, _ := e.heard()
	got, want := events(t, web["/events"]), w.eventsOf(down.RunID, up.RunID)
	if strings.Join(got, "\n") != strings.Join(want, "\n") || len(want) <= len(waiting) {
		t.Errorf("%d events came, want %d", len(got), len(want))
	}
	if w.metric("reemboss_events_pending") != 0 {
		t.Error("events still wait")
	}
	w.night(exitComplete)
	if _, web, _ = e.heard(); len(web["/events"]) != 0 {
		t.Error("what was taken came again")
	}
}

// A night that is stopped is told as failed, and one that is killed is noticed by the ping that does not come. The run
// that continues it tells of its end.
func TestANightThatDoesNotReachItsEndIsNoticed(t *testing.T) {
	w := newWorkspace(t)
	e := listening(t, w)
	w.smallNight()
	w.killed("stage/write")
	if paths, _, mails := e.heard(); strings.Join(paths, " ") != "/ping/start" || len(mails) != 0 {
		t.Errorf("a killed night asked for %q and wrote %d mails", paths, len(mails))
	}
	if r := w.start([]string{"REEMBOSS_STOP_AT=stage/send"}, "--dir", w.Dir, "run"); r.exit != exitStopped {
		t.Fatalf("exit %d\n%s", r.exit, r.stderr)
	}
	paths, web, mails := e.heard()
	if got := strings.Join(paths, " "); got != "/ping/start /ping/fail /always /needed" {
		t.Errorf("a stopped night asked for %s", got)
	}
	if got := web["/always"][0].sentence(t); got.Word != "FAILED" || got.ExitCode != 5 || got.BalancesHold != nil {
		t.Errorf("the sentence is %+v", got)
	}
	if ping := web["/ping/fail"][0]; ping.method != http.MethodPost || !strings.Contains(string(ping.body), "stopped") {
		t.Errorf("the ping is a %s: %s", ping.method, ping.body)
	}
	if len(mails["desk@bank.example"]) != 1 || w.metric("reemboss_run_exit_code") != 5 {
		t.Error("the stop was not told by mail and metric")
	}
	w.night(exitComplete)
	if paths, _, _ := e.heard(); strings.Join(paths, " ") != "/ping/start /events /ping/end /always" {
		t.Errorf("the night that went on asked for %q", paths)
	}
}

// mailOpened is a mail as its reader's program has it.
type mailOpened struct {
	subject, text, html string
	attached            map[string]string
}

func opened(t *testing.T, raw []byte) *mailOpened {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	o := &mailOpened{attached: map[string]string{}}
	if o.subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		t.Fatal(err)
	}
	o.part(t, m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), "", m.Body)
	return o
}

func (o *mailOpened) part(t *testing.T, contentType, encoding, file string, body io.Reader) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(kind, "multipart/") {
		for parts := multipart.NewReader(body, params["boundary"]); ; {
			p, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			o.part(t, p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p.FileName(), p)
		}
	}
	switch encoding {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	content, err := io.ReadAll(body)
	switch {
	case err != nil:
		t.Fatal(err)
	case file != "":
		o.attached[file] = string(content)
	case kind == "text/plain":
		o.text = strings.ReplaceAll(string(content), "\r\n", "\n")
	default:
		o.html = string(content)
	}
}
