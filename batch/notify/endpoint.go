package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	firstPause  = time.Second // before the second attempt; doubled each time
	maxAnswer   = 64 << 10    // bytes of an answer that are read
	maxHeader   = 64 << 10    // bytes of an answer's header
	userAgent   = "reemboss"
	maxRootFile = 1 << 20 // bytes of a file of authorities
)

// endpoint is a URL that is called, with how long and how often.
type endpoint struct {
	n        *Notifier
	who      string // with the host, for people; never path, query or user, which may be secret
	setting  string // where it stands in the configuration
	url      string
	client   *http.Client
	each     time.Duration // of one attempt
	within   time.Duration // of all attempts and the pauses between them
	attempts int
	hidden   hidden
}

func (n *Notifier) newEndpoint(who, setting, address, caFile string, timeout time.Duration, attempts int) (*endpoint, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("%s: the address is no http or https URL", setting) // not repeated: it may hold a token
	}
	if timeout <= 0 {
		return nil, fmt.Errorf("%s: the timeout must be longer than 0", setting)
	}
	roots, err := n.roots(caFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	e := &endpoint{
		n: n, who: who + " (" + u.Scheme + "://" + u.Host + ")", setting: setting, url: address,
		each: timeout, within: timeout, attempts: attempts,
		client: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, DialContext: n.dial, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: maxHeader,
				TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			},
		},
	}
	if uri := u.RequestURI(); len(uri) > 1 {
		e.hidden.add(uri)
	}
	if password, ok := u.User.Password(); ok {
		e.hidden.add(password)
	}
	return e, nil
}

// roots are the system's authorities and those of a PEM file; nil, the system's alone, without one.
func (n *Notifier) roots(caFile string) (*x509.CertPool, error) {
	if caFile == "" {
		return nil, nil
	}
	f, err := os.Open(n.path(caFile))
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	defer f.Close()
	pem, err := io.ReadAll(io.LimitReader(f, maxRootFile))
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without authorities trusts those of the file
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM form", caFile)
	}
	return pool, nil
}

// answer is what an endpoint said to one attempt.
type answer struct {
	status int
	said   string        // the beginning of its body
	pause  time.Duration // that it asks for before the next attempt
	err    error         // no answer came
}

func (a answer) taken() bool { return a.err == nil && a.status >= 200 && a.status < 300 }

// passing says whether another attempt may do better.
func (a answer) passing() bool {
	if a.err != nil {
		var untrusted *tls.CertificateVerificationError
		return !errors.As(a.err, &untrusted)
	}
	return a.status >= 500 || a.status == http.StatusTooManyRequests
}

// call makes requests until one is taken. build is called for each attempt. A nil Failure means that the endpoint said yes.
func (e *endpoint) call(ctx context.Context, build func(context.Context) (*http.Request, error)) *Failure {
	defer e.client.CloseIdleConnections()
	return e.keepCalling(ctx, build)
}

// keepCalling is call that leaves the connection open for the next one.
func (e *endpoint) keepCalling(outer context.Context, build func(context.Context) (*http.Request, error)) *Failure {
	ctx, cancel := context.WithTimeout(outer, e.within)
	defer cancel()
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.Multiplier, pauses.RandomizationFactor = firstPause, 2, 0
	for attempt := 1; ; attempt++ {
		a := e.once(ctx, build)
		switch {
		case a.taken():
			e.n.log.Info().Str("who", e.who).Int("attempt", attempt).Msg("told")
			return nil
		case outer.Err() != nil:
			return &Failure{e.who, "the run was stopped before it answered", "start the run again, or look at the report"}
		case !a.passing(), attempt == e.attempts, ctx.Err() != nil:
			return e.failure(a, attempt)
		}
		pause := max(pauses.NextBackOff(), a.pause)
		if pause >= e.within || e.n.sleep(ctx, pause) != nil {
			return e.failure(a, attempt)
		}
		e.n.log.Warn().Str("who", e.who).Int("attempt", attempt).Int("status", a.status).Msg("not told yet, tried again")
	}
}

// once makes one attempt.
func (e *endpoint) once(ctx context.Context, build func(context.Context) (*http.Request, error)) answer {
	if e.each < e.within {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, e.each)
		defer cancel()
	}
	request, err := build(ctx)
	if err != nil {
		return answer{err: err}
	}
	request.Header.Set("User-Agent", userAgent)
	response, err := e.client.Do(request)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	// The status is the answer; a body that breaks off does not change it.
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return answer{status: response.StatusCode, said: e.hidden.said(string(body)), pause: e.n.retryAfter(response)}
}

// retryAfter is the pause that an answer asks for (RFC 9110, 10.2.3); 0 for none.
func (n *Notifier) retryAfter(r *http.Response) time.Duration {
	text := r.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(n.now()))
	}
	return 0
}

// failure says why the last attempt failed and what to do.
func (e *endpoint) failure(a answer, attempts int) *Failure {
	times := ""
	if attempts > 1 {
		times = fmt.Sprintf(" (%d attempts)", attempts)
	}
	if a.err != nil {
		why, do := e.noAnswer(a.err)
		return &Failure{e.who, why + times, do}
	}
	why, do := e.refusal(a.status)
	if a.said != "" {
		times += ": " + a.said
	}
	return &Failure{e.who, why + times, do}
}

// noAnswer explains why no answer came. The cause's own text is used without the URL that net/http puts before it.
func (e *endpoint) noAnswer(err error) (why, do string) {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not answer within " + e.each.String(), "look whether it is up; " + e.setting + " has the timeout"
	case errors.As(err, &untrusted):
		return "its certificate does not verify: " + e.hidden.said(untrusted.Err.Error()), "have the certificate mended, or name its authority in ca_file (" + e.setting + ")"
	}
	return "no connection: " + e.hidden.said(err.Error()), "look at the address (" + e.setting + "), the network and the firewall"
}

// refusal explains a status that is no yes.
func (e *endpoint) refusal(status int) (why, do string) {
	switch {
	case status >= 300 && status < 400:
		return fmt.Sprintf("it sends us elsewhere (status %d), and a redirect is never followed", status), "put the new address into " + e.setting
	case status == http.StatusGone:
		return "it is gone for good (status 410)", "take it out of " + e.setting
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fmt.Sprintf("it does not let us in (status %d)", status), "compare the secret and the address in " + e.setting + " with the receiver's"
	case status == http.StatusRequestEntityTooLarge:
		return "the request is too large for it (status 413)", "have its limit raised, or send less at once (events.webhook.batch)"
	case status == http.StatusTooManyRequests || status >= 500:
		return fmt.Sprintf("it failed (status %d)", status), "look at the receiver; its log has the reason"
	}
	return fmt.Sprintf("it refused the request (status %d)", status), "look at the receiver and at the address in " + e.setting
}
