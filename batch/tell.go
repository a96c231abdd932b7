package batch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/batch/notify"
	"reemboss/batch/report"
	"reemboss/formats/iso"
)

// tellingTime bounds how long the end of a night that failed or was stopped may take to be told.
const tellingTime = 2 * time.Minute

// deliveringTime bounds how long a night stays with a webhook that takes its
// events slowly; the rest waits in the outbox.
const deliveringTime = 10 * time.Minute

// openNotifier reads what notifying needs: a secret that is missing is a mistake of the configuration, found before the night begins.
func (n *Night) openNotifier() (err error) {
	n.notifier, err = notify.New(n.Config.Notify, n.Config.Events, func(ref config.SecretRef) ([]byte, error) { return hsm.LoadText(ref, n.Dir) },
		notify.Options{Workspace: n.Dir, Files: n.Files, Now: n.Now, Sleep: n.Sleep, Log: n.Log})
	if err != nil {
		return setup("who is told of a night: %w", err)
	}
	return nil
}

// tell brings the events of the night to their webhook and tells everybody who
// wants to know. Telling decides nothing: what could not be told is a warning of
// the report, which is then written once more, and changes no exit code. After a
// crash it is told again: at least once.
func (n *Night) tell(ctx context.Context, r *report.Reconciliation) (*report.Reconciliation, error) {
	gauges, err := n.passEvents(ctx, r.RunID)
	if err != nil {
		return r, err
	}
	if r, err = n.withWarnings(ctx, r); err != nil {
		return r, err
	}
	n.at("reconcile/tell")
	night := n.told(r.ExitCode, r.Verdict, r)
	n.failures(n.notifier.Ended(ctx, night))
	n.at("reconcile/told")
	if err := n.notifier.WriteMetrics(n.told(r.ExitCode, r.Verdict, r), gauges); err != nil {
		n.warn("The metrics of the night are not written: %v.", err)
	}
	return n.withWarnings(ctx, r)
}

// told is what notifications say of the running night.
func (n *Night) told(exit int, verdict string, r *report.Reconciliation) notify.Night {
	night := notify.Night{RunID: n.run.ID, Verdict: verdict, Exit: exit, Date: n.run.Date, Host: n.host, Version: Version, StartedAt: n.run.StartedAt, EndedAt: n.Now(), Reconciliation: r}
	if r != nil {
		night.Needs, night.Page = r.NeedsPerson, filepath.Join(n.Reports(n.run.ID), "reconciliation.html")
	}
	return night
}

// passEvents puts the events of the night into the outbox and delivers what waits there, earlier nights' too.
func (n *Night) passEvents(ctx context.Context, runID string) (g notify.Gauges, err error) {
	if n.Config.Events.Webhook.URL == "" {
		return g, nil
	}
	f, err := os.Open(filepath.Join(n.Reports(runID), "events.ndjson"))
	if err != nil {
		return g, err
	}
	defer f.Close()
	if _, err := notify.EnqueueEvents(ctx, n.Ledger, runID, f, n.Now()); err != nil {
		return g, fmt.Errorf("put the events into the outbox: %w", err)
	}
	n.at("reconcile/events")
	limited, cancel := context.WithTimeout(ctx, deliveringTime)
	defer cancel()
	g.EventsDelivered, g.EventsPending, err = n.notifier.Events(limited, n.Ledger)
	var refused notify.Failure
	switch {
	case ctx.Err() != nil:
		return g, ctx.Err()
	case errors.As(err, &refused):
		n.warn("%s was not told: %s. The next run goes on with the %d events that wait. (%s.)", refused.Who, refused.Why, g.EventsPending, refused.Do)
		return g, nil
	case limited.Err() != nil:
		g.EventsPending, err = n.Ledger.CountPending(ctx)
		n.warn("The event webhook took %d events in %s; the next run goes on with the %d that wait.", g.EventsDelivered, deliveringTime, g.EventsPending)
	}
	return g, err
}

// failures warns of those who were not reached.
func (n *Night) failures(list []notify.Failure) {
	for _, f := range list {
		n.warn("%s was not told: %s; %s.", f.Who, f.Why, f.Do)
	}
}

func (n *Night) warn(format string, args ...any) {
	sentence := n.safe(fmt.Sprintf(format, args...))
	n.warnings = append(n.warnings, sentence)
	n.Log.Error().Str("run", n.run.ID).Msg(sentence)
}

// withWarnings writes the reports again when something was found out since.
func (n *Night) withWarnings(ctx context.Context, r *report.Reconciliation) (*report.Reconciliation, error) {
	if len(n.warnings) == n.reported {
		return r, nil
	}
	return n.writeReports(ctx, r.RunID)
}

// TellNotOpened tells that a night could not even begin: somebody waits for its
// heartbeat. Without a configuration that can be read nobody can be told.
func TellNotOpened(ctx context.Context, dir string, o Options, cause error) {
	n, err := newNight(dir, o)
	if n == nil || err != nil || errors.Is(cause, ErrLocked) || n.openNotifier() != nil {
		return
	}
	n.tellNotBegun(ctx, cause)
}

func (n *Night) tellNotBegun(ctx context.Context, cause error) {
	exit := 2
	if stopped(cause) {
		exit = 5
	}
	n.run.ID, n.run.Date, n.run.StartedAt = "not begun", n.Now().In(n.zone).Format(time.DateOnly), n.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellingTime)
	defer cancel()
	night := n.told(exit, iso.MaskLikely(fmt.Sprintf("The night did not begin: %v.", cause)), nil)
	for _, f := range n.notifier.Ended(ctx, night) {
		n.Log.Error().Str("who", f.Who).Msg(f.Error())
	}
	if err := n.notifier.WriteMetrics(night, notify.Gauges{}); err != nil {
		n.Log.Error().Msg(err.Error())
	}
}

// tellFailure tells that a night ended before its end, if anybody can still be told.
func (n *Night) tellFailure(ctx context.Context, cause error) {
	if n.notifier == nil || n.run.ID == "" {
		return
	}
	exit, word := 1, "failed"
	if stopped(cause) && ctx.Err() != nil {
		exit, word = 5, "was stopped before its end; the next run continues"
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellingTime)
	defer cancel()
	night := n.told(exit, iso.MaskLikely(fmt.Sprintf("The night %s: %v.", word, cause)), nil)
	for _, f := range n.notifier.Ended(ctx, night) {
		n.Log.Error().Str("run", n.run.ID).Str("who", f.Who).Msg(f.Error())
	}
	var gauges notify.Gauges
	gauges.EventsPending, _ = n.Ledger.CountPending(ctx) //nolint:errcheck // a ledger that cannot be read is told by the failure itself
	if err := n.notifier.WriteMetrics(night, gauges); err != nil {
		n.Log.Error().Str("run", n.run.ID).Msg(err.Error())
	}
}
