package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/report"
)

const (
	hookAttempts = 3
	maxNeeds     = 50       // things that need a person in one message; the report has all
	minHookKey   = 16       // bytes
	encodedKey   = "whsec_" // begins a key that is written in base64 (Standard Webhooks)
	pageName     = "reconciliation.html"
)

// hook is an endpoint whose requests are signed as Standard Webhooks 1.0 has
// it: HMAC-SHA256 over id, timestamp and body, so that none of the three can be
// changed or replayed later under another.
type hook struct {
	*endpoint
	key []byte // nil: unsigned
}

func (n *Notifier) newHook(who, setting, address, caFile string, timeout time.Duration, ref config.SecretRef, secrets Secrets) (*hook, error) {
	e, err := n.newEndpoint(who, setting, address, caFile, timeout, hookAttempts)
	if err != nil {
		return nil, err
	}
	h := &hook{endpoint: e}
	if ref == (config.SecretRef{}) {
		return h, nil
	}
	text, err := secrets(ref)
	if err != nil {
		return nil, fmt.Errorf("%s: secret: %w", setting, err)
	}
	h.hidden.add(string(text))
	if h.key, err = hookKey(string(text)); err != nil {
		return nil, fmt.Errorf("%s: secret: %w", setting, err)
	}
	return h, nil
}

// hookKey is the key that a secret stands for: what follows whsec_ in base64, any other text as it is.
func hookKey(text string) ([]byte, error) {
	key := []byte(text)
	if encoded, ok := strings.CutPrefix(text, encodedKey); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, fmt.Errorf("what follows %s is no base64", encodedKey) // the decoder's own error may quote the secret
		}
	}
	if len(key) < minHookKey {
		return nil, fmt.Errorf("the key has %d bytes, it needs at least %d; make one with: echo %s$(openssl rand -base64 32)", len(key), minHookKey, encodedKey)
	}
	return key, nil
}

// post brings body to the hook. id is the same for every repeat of it.
func (h *hook) post(id, contentType string, body []byte) func(context.Context) (*http.Request, error) {
	return func(ctx context.Context) (*http.Request, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		at := strconv.FormatInt(h.n.now().Unix(), 10)
		request.Header.Set("Content-Type", contentType)
		request.Header.Set("Webhook-Id", id)
		request.Header.Set("Webhook-Timestamp", at)
		if h.key != nil {
			request.Header.Set("Webhook-Signature", "v1,"+sign(h.key, id, at, body))
		}
		return request, nil
	}
}

// sign is the signature in base64.
func sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// webhook is a hook that gets the night's sentence.
type webhook struct {
	*hook
	when string
}

// Sentence is the body of a webhook: the night for a machine. Its fields are only ever added to.
type Sentence struct {
	RunID     string    `json:"run_id"`
	Date      string    `json:"date"`
	Host      string    `json:"host"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	Word      string    `json:"word"` // OK, NEEDS A PERSON, FAILED
	Verdict   string    `json:"verdict"`
	ExitCode  int       `json:"exit_code"`
	// Needs are the first 50; NeedsCount is how many there are.
	Needs      []report.Need `json:"needs"`
	NeedsCount int           `json:"needs_count"`
	// Counts and BalancesHold are null when the night ended before it was reconciled.
	Counts       *Counts `json:"counts"`
	BalancesHold *bool   `json:"balances_hold"`
	ReportURL    string  `json:"report_url"` // "" when there is none
}

// Counts are the rows of the night.
type Counts struct {
	Read      int64 `json:"read"`
	Accepted  int64 `json:"accepted"`
	Refused   int64 `json:"refused"`
	Duplicate int64 `json:"duplicate"`
	Held      int64 `json:"held"`
	Written   int64 `json:"written"`
	Waiting   int64 `json:"waiting"`
	Cancelled int64 `json:"cancelled"`
}

func (n *Notifier) sentence(night Night) Sentence {
	s := Sentence{
		RunID: night.RunID, Date: night.Date, Host: night.Host, StartedAt: night.StartedAt.UTC(), EndedAt: night.EndedAt.UTC(),
		Word: night.word(), Verdict: line(night.Verdict), ExitCode: night.Exit,
		Needs: cleanNeeds(night.Needs), NeedsCount: len(night.Needs), ReportURL: n.link(night),
	}
	if r := night.Reconciliation; r != nil {
		hold := len(broken(r)) == 0
		s.BalancesHold = &hold
		s.Counts = &Counts{Read: r.Read, Accepted: r.Accepted, Refused: r.Refused, Duplicate: r.Duplicate, Held: r.Held, Written: r.Written, Waiting: r.Waiting, Cancelled: r.Cancelled}
	}
	return s
}

// cleanNeeds are the first of them, each text one line.
func cleanNeeds(needs []report.Need) []report.Need {
	list := make([]report.Need, 0, min(len(needs), maxNeeds))
	for _, need := range needs[:min(len(needs), maxNeeds)] {
		cleaned := report.Need{What: line(need.What), Why: line(need.Why), Command: line(need.Command)}
		for _, other := range need.Or {
			cleaned.Or = append(cleaned.Or, line(other))
		}
		list = append(list, cleaned)
	}
	return list
}

func broken(r *report.Reconciliation) []report.Balance {
	var list []report.Balance
	for _, b := range r.Balances {
		if !b.Holds {
			list = append(list, b)
		}
	}
	return list
}

// link is where a browser finds the night's page; "" for nowhere.
func (n *Notifier) link(night Night) string {
	if n.reportURL == "" || night.Page == "" {
		return ""
	}
	return strings.TrimRight(n.reportURL, "/") + "/" + url.PathEscape(night.RunID) + "/" + pageName
}

func (n *Notifier) tellWebhooks(ctx context.Context, night Night) []Failure {
	var failures []Failure
	for _, w := range n.webhooks {
		if !night.wanted(w.when) {
			continue
		}
		body, err := json.Marshal(n.sentence(night))
		if err != nil {
			failures = append(failures, Failure{w.who, "the sentence cannot be written as JSON: " + err.Error(), "tell the makers"})
			continue
		}
		if f := w.call(ctx, w.post("msg_"+night.telling(w.url), "application/json", body)); f != nil {
			failures = append(failures, *f)
		}
	}
	return failures
}
