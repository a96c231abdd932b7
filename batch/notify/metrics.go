package notify

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"reemboss/batch/report"
)

const lastComplete = "reemboss_last_complete_night_timestamp_seconds"

// Gauges are what the metrics tell beside the night.
type Gauges struct {
	EventsPending   int64 // in the outbox after the night's delivery
	EventsDelivered int64 // to the webhook in this night
}

// WriteMetrics writes the night into the file of the textfile collector,
// readable by everybody, whole or not at all. Without a file it does nothing.
//
// The time of the last complete night moves only when a night was complete
// (exit 0 or 4); else the file's old value stays, for an alarm hangs on it. Where the old
// file cannot be read the metric is left out, which an alarm on its absence
// notices, and the error says so; the other metrics are written all the same.
func (n *Notifier) WriteMetrics(night Night, more Gauges) error {
	if n.metricsFile == "" {
		return nil
	}
	complete, known, lost := n.lastComplete(night)
	registry := prometheus.NewRegistry()
	g := gauges{registry}
	if known {
		g.one(lastComplete, "When the last night ended that was complete (exit code 0 or 4). Alert when it is too long ago, or absent.", complete)
	}
	g.night(night, n.ended(night))
	g.events(more)
	if night.Reconciliation != nil {
		g.reconciliation(night.Reconciliation)
	}
	if err := n.writeText(registry); err != nil {
		return fmt.Errorf("write the metrics to %s: %w; look at notify.metrics.file and whether its folder is there and may be written", n.metricsFile, err)
	}
	return lost
}

// writeText writes what is gathered as the text that the collector reads.
func (n *Notifier) writeText(from prometheus.Gatherer) error {
	families, err := from.Gather()
	if err != nil {
		return err
	}
	return n.files.WriteAmongOthers(n.metricsFile, 0o644, func(w io.Writer) error {
		for _, family := range families {
			if _, err := expfmt.MetricFamilyToText(w, family); err != nil {
				return err
			}
		}
		return nil
	})
}

// ended is when the night ended: now, where it does not say.
func (n *Notifier) ended(night Night) time.Time {
	if night.EndedAt.IsZero() {
		return n.now()
	}
	return night.EndedAt
}

func (n *Notifier) lastComplete(night Night) (value float64, known bool, err error) {
	if night.complete() {
		return seconds(n.ended(night)), true, nil
	}
	value, known, err = readGauge(n.metricsFile, lastComplete)
	if err != nil {
		err = fmt.Errorf("the time of the last complete night is lost, for the old metrics cannot be read: %w; the next complete night mends it", err)
	}
	return value, known, err
}

// readGauge finds the value of a metric without labels in a file that this
// package wrote; a file that is not there has none.
func readGauge(path, name string) (value float64, known bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), name+" ")
		if !ok {
			continue
		}
		if value, err = strconv.ParseFloat(strings.TrimSpace(text), 64); err != nil {
			return 0, false, fmt.Errorf("%s: %s has no number", path, name)
		}
		return value, true, nil
	}
	return 0, false, lines.Err()
}

func seconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }

// gauges registers what is known. Labels come from the configuration (bureaus,
// ranges, owners of keys) and from fixed lists, never from requests.
type gauges struct{ *prometheus.Registry }

func (g gauges) one(name, help string, value float64) {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	gauge.Set(value)
	g.MustRegister(gauge)
}

func (g gauges) many(name, help string, labels ...string) *prometheus.GaugeVec {
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	g.MustRegister(vec)
	return vec
}

func (g gauges) night(night Night, ended time.Time) {
	g.one("reemboss_last_start_timestamp_seconds", "When the run that this file tells of was started.", seconds(night.StartedAt))
	g.one("reemboss_last_end_timestamp_seconds", "When it ended, in whatever way.", seconds(ended))
	g.one("reemboss_run_duration_seconds", "How long it took from its start to its end.", ended.Sub(night.StartedAt).Seconds())
	g.one("reemboss_run_exit_code", "Its exit code: 0 complete, 1 a fault, 4 complete and something needs a person, 5 stopped before its end.", float64(night.Exit))
	g.one("reemboss_needs_person", "Things that wait for a person; the report names each with the command that settles it.", float64(len(night.Needs)))
	g.many("reemboss_build_info", "The version of the program; the value is always 1.", "version").WithLabelValues(line(night.Version)).Set(1)
}

func (g gauges) events(more Gauges) {
	g.one("reemboss_events_pending", "Events that the webhook has not taken yet; they are sent again in the next run.", float64(more.EventsPending))
	g.one("reemboss_events_delivered", "Events that the webhook took in this run.", float64(more.EventsDelivered))
}

func (g gauges) reconciliation(r *report.Reconciliation) {
	g.one("reemboss_balances_broken", "Balances that do not hold. Anything but 0 is an alarm: cards or rows are missing or counted twice.", float64(len(broken(r))))
	g.rows(r)
	g.bureaus(r)
	g.ageing(r)
	g.stock(r)
	stages := g.many("reemboss_stage_duration_seconds", "How long each stage of the run took.", "stage")
	for _, s := range r.Stages {
		stages.WithLabelValues(s.Name).Add(s.Seconds)
	}
}

func (g gauges) rows(r *report.Reconciliation) {
	rows := g.many("reemboss_rows", "Rows of request files that were answered in this run, by outcome.", "outcome")
	for _, t := range []report.Term{{Name: "accepted", N: r.Accepted}, {Name: "refused", N: r.Refused}, {Name: "duplicate", N: r.Duplicate}, {Name: "held", N: r.Held}} {
		rows.WithLabelValues(t.Name).Set(float64(t.N))
	}
}

// bureaus tells of each bureau's cards. One that had nothing stands at 0, for an alarm on a metric that is not there never rings.
func (g gauges) bureaus(r *report.Reconciliation) {
	cards := g.many("reemboss_cards", "Cards in the bureau files of this report, by what their bureau said of them.", "bureau", "state")
	waiting := g.many("reemboss_orders_waiting", "Accepted orders that are in no written file yet.", "bureau")
	add := func(bureau string, sent, acknowledged, rejected, outstanding int64) {
		cards.WithLabelValues(bureau, "sent").Add(float64(sent))
		cards.WithLabelValues(bureau, "acknowledged").Add(float64(acknowledged))
		cards.WithLabelValues(bureau, "rejected").Add(float64(rejected))
		cards.WithLabelValues(bureau, "outstanding").Add(float64(outstanding))
	}
	for _, b := range r.ByBureau {
		add(b.Bureau, 0, 0, 0, 0)
		waiting.WithLabelValues(b.Bureau).Add(0)
	}
	for _, f := range r.ListedFiles() {
		add(f.Bureau, f.Sent, f.Acknowledged, f.Rejected, f.Outstanding)
	}
	for _, w := range r.Waits {
		waiting.WithLabelValues(w.Bureau).Add(float64(w.Orders))
	}
}

// ageing tells of each bureau's cards of all nights that are not at their end.
func (g gauges) ageing(r *report.Reconciliation) {
	outstanding := g.many("reemboss_cards_outstanding", "Cards of all nights that were sent and that the bureau has not answered.", "bureau")
	underWay := g.many("reemboss_cards_under_way", "Cards of all nights that the bureau has acknowledged, produced or shipped, and that are not at their end.", "bureau")
	late := g.many("reemboss_cards_late", "Cards with which the bureau is later than agreed (its sla), by what it is late with.", "bureau", "what")
	for _, a := range r.Ageing {
		outstanding.WithLabelValues(a.Bureau).Set(float64(a.Outstanding))
		underWay.WithLabelValues(a.Bureau).Set(float64(a.UnderWay))
		for _, what := range []string{"acknowledge", "ship", "close"} {
			late.WithLabelValues(a.Bureau, what).Set(0)
		}
		for _, l := range a.Late {
			late.WithLabelValues(a.Bureau, l.What).Add(float64(l.Cards))
		}
	}
}

// stock tells of what runs out: number ranges and keys.
func (g gauges) stock(r *report.Reconciliation) {
	used := g.many("reemboss_range_used_numbers", "Card numbers that were given out of the range.", "range")
	capacity := g.many("reemboss_range_capacity_numbers", "Card numbers that the range has in all.", "range")
	for _, s := range r.Ranges {
		used.WithLabelValues(s.Name).Set(float64(s.Used))
		capacity.WithLabelValues(s.Name).Set(float64(s.Capacity))
	}
	expiry := g.many("reemboss_key_expiry_timestamp_seconds", "When the first of the owner's keys expires; a key without an end is left out.", "owner")
	first := map[string]time.Time{}
	for _, k := range r.KeyExpiry {
		if known, ok := first[k.Owner]; k.Expires != nil && (!ok || k.Expires.Before(known)) {
			first[k.Owner] = *k.Expires
		}
	}
	for owner, end := range first {
		expiry.WithLabelValues(owner).Set(seconds(end))
	}
}
