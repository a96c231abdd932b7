package notify

import (
	"context"
	"net/http"
	"strings"
	"time"
)

const pingAttempts = 2

// newPing makes one of the heartbeat's URLs; nil where there is none. Each attempt has the whole timeout.
func (n *Notifier) newPing(which, address string, timeout time.Duration) (*endpoint, error) {
	if address == "" {
		return nil, nil
	}
	e, err := n.newEndpoint("heartbeat "+which, "notify.heartbeat."+which, address, "", timeout, pingAttempts)
	if err != nil {
		return nil, err
	}
	e.within = pingAttempts*timeout + firstPause
	return e, nil
}

// Began pings the heartbeat's start. An error is for the log: the night goes on without it.
func (n *Notifier) Began(ctx context.Context, runID string) error {
	if n.start == nil {
		return nil
	}
	n.log.Debug().Str("run", runID).Msg("heartbeat start")
	if f := n.start.call(ctx, n.start.ping("")); f != nil {
		return *f
	}
	return nil
}

// pingEnd pings end or fail, as the night went.
func (n *Notifier) pingEnd(ctx context.Context, night Night) []Failure {
	e, text := n.end, ""
	if !night.complete() {
		e, text = n.fail, "FAILED, run "+line(night.RunID)+": "+line(night.Verdict)
	}
	if e == nil {
		return nil
	}
	if f := e.call(ctx, e.ping(text)); f != nil {
		return []Failure{*f}
	}
	return nil
}

// ping is a GET, or a POST of a text where there is one to tell.
func (e *endpoint) ping(text string) func(context.Context) (*http.Request, error) {
	return func(ctx context.Context) (*http.Request, error) {
		if text == "" {
			return http.NewRequestWithContext(ctx, http.MethodGet, e.url, nil)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, strings.NewReader(text))
		if err == nil {
			request.Header.Set("Content-Type", "text/plain; charset=utf-8")
		}
		return request, err
	}
}
