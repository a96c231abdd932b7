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
)

// tellingTime bounds how long the end of a night that failed or was stopped may take to be told.
const tellingTime = 2 * time.Minute

// openNotifier reads what notifying needs: a secret that is missing is a mistake of the configuration, found before the night begins.
func (n *Night) openNotifier() (err error) {
	n.notifier, err = notify.New(n.Config.Notify, n.Config.Events, func(ref config.SecretRef) ([]byte, error) { return hsm.LoadText(ref, n.Dir) },
		notify.Options{Workspace: n.Dir, Now: n.Now, Sleep: n.Sleep, Log: n.Log})
	if err != nil {
		return setup("who is told of a night: %w", err)
	}
	return nil
}

// tell brings the events of the night to their webhook and tells everybody who
// wants to know. What could not be told stands in the report, which is then
// written once more. After a crash it is told again: at least once.
func (n *Night) tell(ctx context.Context, r *report.Reconciliation) (*report.Reconciliation, error) {
	gauges, err := n.passEvents(ctx, r.RunID)
	if err != nil {
		return r, err
	}
	if r, err = n.withNeeds(ctx, r); err != nil {
		return r, err
	}
	n.at("reconcile/tell")
	night := n.told(r.ExitCode, r.Verdict, r)
	n.failures(n.notifier.Ended(ctx, night))
	n.at("reconcile/told")
	if r, err = n.withNeeds(ctx, r); err != nil {
		return r, err
	}
	if err := n.notifier.WriteMetrics(n.told(r.ExitCode, r.Verdict, r), gauges); err != nil {
		n.needs = append(n.needs, report.Need{What: "the metrics of the night are not written", Why: err.Error(), Command: "reemboss config check"})
		n.Log.Error().Str("run", n.run.ID).Msg(err.Error())
	}
	return n.withNeeds(ctx, r)
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
	g.EventsDelivered, g.EventsPending, err = n.notifier.Events(ctx, n.Ledger)
	var refused notify.Failure
	if errors.As(err, &refused) {
		n.failures([]notify.Failure{refused})
		return g, ctx.Err()
	}
	return g, err
}

// failures puts those who were not reached before a person.
func (n *Night) failures(list []notify.Failure) {
	for _, f := range list {
		n.Log.Error().Str("run", n.run.ID).Str("who", f.Who).Msg(f.Error())
		n.needs = append(n.needs, report.Need{What: f.Who + " was not told", Why: f.Why + "; " + f.Do, Command: "reemboss config check"})
	}
}

// withNeeds writes the reports again when something was found out since.
func (n *Night) withNeeds(ctx context.Context, r *report.Reconciliation) (*report.Reconciliation, error) {
	if len(n.needs) == n.reported {
		return r, nil
	}
	return n.writeReports(ctx, r.RunID)
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
	night := n.told(exit, fmt.Sprintf("The night %s: %v.", word, cause), nil)
	for _, f := range n.notifier.Ended(ctx, night) {
		n.Log.Error().Str("run", n.run.ID).Str("who", f.Who).Msg(f.Error())
	}
	if err := n.notifier.WriteMetrics(night, notify.Gauges{}); err != nil {
		n.Log.Error().Str("run", n.run.ID).Msg(err.Error())
	}
}
