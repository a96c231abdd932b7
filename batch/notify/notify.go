// Package notify tells people and machines how a night went: by mail, by a
// webhook with the night's sentence, by the pings of a heartbeat and as metrics
// in a file; and it brings the events of the outbox to their webhook.
//
// What it promises:
//
//   - Telling never decides anything. Nothing here changes what the night did,
//     and no failure here fails it: each comes back as a [Failure] with who was
//     not reached, why, and what to do. None keeps another recipient from being told.
//   - At least once. A process that dies in [Notifier.Ended] may tell again; a
//     repeat carries the same Message-ID and webhook-id, so that it is recognised.
//     Events leave the outbox only after their receiver said yes.
//   - Certificates are always verified, STARTTLS is demanded and not asked for,
//     and no redirect is followed: what is signed for one place goes to no other.
//   - No password, no signing key and no path of a URL (paths hold tokens) is in
//     an error, a log line or a mail. Card numbers are not: whoever makes a [Night]
//     has masked them.
//
// Every wait is bounded by a timeout of the configuration, every size by a
// constant. The package opens no ledger; what it needs of it is [ledger.Outbox].
package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"reemboss/batch/config"
	"reemboss/batch/durable"
	"reemboss/batch/report"
)

// Night is what is told. Its texts may hold names that a sender chose; they are
// cleaned before they go into a header, a mail or a log.
type Night struct {
	RunID, Verdict      string
	Exit                int // exit code of the run
	Needs               []report.Need
	Date, Host, Version string // Date: YYYY-MM-DD, of the run
	StartedAt, EndedAt  time.Time
	Page                string                 // path of reconciliation.html, absolute or relative to the workspace; "" for none
	Reconciliation      *report.Reconciliation // nil when the night failed before it was made
}

// Exit codes that this package tells apart (docs/operations.md).
const (
	exitComplete    = 0
	exitNeedsPerson = 4
)

// complete says whether the night reached its end, be it with something left for a person.
func (n Night) complete() bool { return n.Exit == exitComplete || n.Exit == exitNeedsPerson }

// wanted says whether a recipient that is to be told when hears of this night.
func (n Night) wanted(when string) bool { return when == config.Always || n.Exit != exitComplete }

// word is the night in one to three words.
func (n Night) word() string {
	switch n.Exit {
	case exitComplete:
		return "OK"
	case exitNeedsPerson:
		return "NEEDS A PERSON"
	}
	return "FAILED"
}

// telling names this end of this run, told to one recipient, for ever. Exit and
// verdict are in it because a run that stopped and was continued ends twice,
// and the second end must not pass for a copy of the first.
func (n Night) telling(recipient string) string {
	return digest("night", n.RunID, fmt.Sprint(n.Exit), n.Verdict, recipient)
}

// Failure is a recipient that was not told. It is an error of one sentence.
type Failure struct {
	Who string // "mail to ops@bank.example", "webhook 2 (https://hooks.example)"
	Why string // what happened, without secrets
	Do  string // what a person can do about it
}

func (f Failure) Error() string { return f.Who + ": " + f.Why + "; " + f.Do }

// Secrets gives the secret that a reference names.
type Secrets func(config.SecretRef) ([]byte, error)

// Options are what reaches outside. Zero fields have the real thing.
type Options struct {
	Workspace string // what relative paths are relative to
	Files     durable.Files
	Now       func() time.Time
	Sleep     func(ctx context.Context, d time.Duration) error // waits, or gives the context's error
	Dial      func(ctx context.Context, network, address string) (net.Conn, error)
	Log       zerolog.Logger // who was told, and what is tried again; failures are returned
}

// Notifier tells. It is made once for a run and may be used by one goroutine at a time.
type Notifier struct {
	reportURL string
	workspace string
	files     durable.Files
	now       func() time.Time
	sleep     func(ctx context.Context, d time.Duration) error
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	log       zerolog.Logger

	mailer      *mailer // nil: no mail
	webhooks    []webhook
	start       *endpoint // of the heartbeat; nil: none
	end         *endpoint
	fail        *endpoint
	metricsFile string
	events      *hook // nil: none
	batch       int   // events of one request
}

// New makes a notifier. It reads every secret and every file of authorities that the
// configuration names, and gives all that is wrong with them at once. It connects to nothing.
func New(cfg config.Notify, events config.Events, secrets Secrets, o Options) (*Notifier, error) {
	n := &Notifier{reportURL: cfg.ReportURL, workspace: o.Workspace, files: o.Files, now: o.Now, sleep: o.Sleep, dial: o.Dial, log: o.Log}
	n.real()
	var mistakes []error
	note := func(err error) {
		if err != nil {
			mistakes = append(mistakes, err)
		}
	}
	var err error
	if cfg.Mail.Host != "" {
		n.mailer, err = n.newMailer(cfg.Mail, secrets)
		note(err)
	}
	for i, w := range cfg.Webhooks {
		h, err := n.newHook(fmt.Sprintf("webhook %d", i+1), fmt.Sprintf("notify.webhooks, entry %d", i+1), w.URL, w.CAFile, w.Timeout, w.Secret, secrets)
		note(err)
		n.webhooks = append(n.webhooks, webhook{hook: h, when: w.When})
	}
	n.start, err = n.newPing("start", cfg.Heartbeat.Start, cfg.Heartbeat.Timeout)
	note(err)
	n.end, err = n.newPing("end", cfg.Heartbeat.End, cfg.Heartbeat.Timeout)
	note(err)
	n.fail, err = n.newPing("fail", cfg.Heartbeat.Fail, cfg.Heartbeat.Timeout)
	note(err)
	if cfg.Metrics.File != "" {
		n.metricsFile = n.path(cfg.Metrics.File)
	}
	if hook := events.Webhook; hook.URL != "" {
		n.events, err = n.newHook("event webhook", "events.webhook", hook.URL, hook.CAFile, hook.Timeout, hook.Secret, secrets)
		note(err)
		n.batch = hook.Batch
		if hook.Batch < 1 {
			note(errors.New("events.webhook: batch must be at least 1"))
		}
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return n, nil
}

// real puts the real thing where the options say nothing.
func (n *Notifier) real() {
	if n.now == nil {
		n.now = time.Now
	}
	if n.sleep == nil {
		n.sleep = wait
	}
	if n.dial == nil {
		n.dial = (&net.Dialer{}).DialContext
	}
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// path makes a path of the configuration one that can be opened.
func (n *Notifier) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(n.workspace, name)
}

// Ended tells how the night ended: the heartbeat first, because an alarm hangs
// on it, then the webhooks, then the mails. Each recipient is tried, whatever
// became of the others; those that were not reached come back.
//
// A run that was told to stop has a cancelled context; give Ended one that is not.
func (n *Notifier) Ended(ctx context.Context, night Night) []Failure {
	night.EndedAt = n.ended(night)
	failures := n.pingEnd(ctx, night)
	failures = append(failures, n.tellWebhooks(ctx, night)...)
	return append(failures, n.tellByMail(ctx, night)...)
}
