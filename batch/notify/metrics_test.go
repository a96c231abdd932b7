package notify

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"reemboss/batch/config"
	"reemboss/batch/report"
)

// metricsOf writes a night's metrics and reads them back.
func metricsOf(t *testing.T, path string, night Night, more Gauges) (string, error) {
	t.Helper()
	err := newNotifier(t, config.Notify{Metrics: config.Metrics{File: filepath.Base(path)}}, config.Events{}, nil, Options{Workspace: filepath.Dir(path)}).WriteMetrics(night, more)
	text, readErr := os.ReadFile(path)
	if readErr != nil && err == nil {
		t.Fatal(readErr)
	}
	return string(text), err
}

// fullNight has something for every metric.
func fullNight() Night {
	night := aNight()
	sooner, later := at.Add(24*time.Hour), at.Add(48*time.Hour)
	r := night.Reconciliation
	r.Balances = append(r.Balances, report.Balance{Name: "cards"})
	r.Stages = []report.Stage{{Name: "decide", Seconds: 12.5}}
	r.ByBureau = []report.BureauCount{{Bureau: "alpha"}, {Bureau: "idle"}}
	r.Files = []report.BureauFile{
		{Bureau: "alpha", Sent: 100, Acknowledged: 90, Rejected: 3, Outstanding: 7}, {Bureau: "alpha", Sent: 10, Acknowledged: 10}, {Bureau: "beta", Sent: 5, Outstanding: 5},
	}
	r.Ageing = []report.BureauAge{{Bureau: "alpha", Outstanding: 31, UnderWay: 42, Late: []report.Late{{What: "ship", Cards: 5}, {What: "ship", Cards: 6}}}}
	r.Waits = []report.Wait{{Bureau: "beta", Orders: 20, RunID: "a"}, {Bureau: "beta", Orders: 30, RunID: "b"}}
	r.Ranges = []report.Range{{Name: "visa", Capacity: 1000, Used: 250}}
	r.KeyExpiry = []report.Key{{Owner: "alpha", Expires: &later}, {Owner: "alpha", Expires: &sooner}, {Owner: "beta"}}
	return night
}

func TestMetricsSayWhatTheNightWas(t *testing.T) {
	text, err := metricsOf(t, filepath.Join(t.TempDir(), "reemboss.prom"), fullNight(), Gauges{EventsPending: 12, EventsDelivered: 34})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`reemboss_last_complete_night_timestamp_seconds 1.795400049e+09`,
		`reemboss_last_start_timestamp_seconds 1.795399209e+09`,
		`reemboss_run_exit_code 4`,
		`reemboss_run_duration_seconds 840`,
		`reemboss_stage_duration_seconds{stage="decide"} 12.5`,
		`reemboss_rows{outcome="accepted"} 1200`,
		`reemboss_rows{outcome="held"} 0`,
		`reemboss_cards{bureau="alpha",state="sent"} 110`,
		`reemboss_cards{bureau="alpha",state="acknowledged"} 100`,
		`reemboss_cards{bureau="alpha",state="rejected"} 3`,
		`reemboss_cards{bureau="beta",state="outstanding"} 5`,
		`reemboss_cards{bureau="idle",state="outstanding"} 0`,
		`reemboss_needs_person 1`,
		`reemboss_balances_broken 1`,
		`reemboss_orders_waiting{bureau="beta"} 50`,
		`reemboss_orders_waiting{bureau="alpha"} 0`,
		`reemboss_range_used_numbers{range="visa"} 250`,
		`reemboss_range_capacity_numbers{range="visa"} 1000`,
		`reemboss_key_expiry_timestamp_seconds{owner="alpha"} 1.795486449e+09`,
		`reemboss_cards_outstanding{bureau="alpha"} 31`,
		`reemboss_cards_under_way{bureau="alpha"} 42`,
		`reemboss_cards_late{bureau="alpha",what="ship"} 11`,
		`reemboss_cards_late{bureau="alpha",what="acknowledge"} 0`,
		`reemboss_events_pending 12`,
		`reemboss_events_delivered 34`,
		`reemboss_build_info{version="1.3.0"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, `owner="beta"`) {
		t.Error("a key without an end has one")
	}
}

func TestMetricsFollowTheRulesOfTheirFormat(t *testing.T) {
	text, err := metricsOf(t, filepath.Join(t.TempDir(), "reemboss.prom"), fullNight(), Gauges{})
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(bytes.NewReader([]byte(text))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// The alarm for a night that never ran hangs on this value.
func TestOnlyACompleteNightMovesTheTimeOfTheLastComplete(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reemboss.prom")
	night := func(exit int, days int) Night {
		n := aNight()
		n.Exit, n.EndedAt = exit, at.AddDate(0, 0, days)
		return n
	}
	value := func() string {
		v, known, err := readGauge(path, lastComplete)
		if err != nil || !known {
			return "absent"
		}
		return time.Unix(int64(v), 0).UTC().Format(time.DateOnly)
	}
	for i, c := range []struct {
		exit int
		want string
	}{
		{1, "absent"}, {0, "2026-11-24"}, {5, "2026-11-24"}, {1, "2026-11-24"}, {4, "2026-11-27"}, {2, "2026-11-27"}, {0, "2026-11-29"},
	} {
		if _, err := metricsOf(t, path, night(c.exit, i), Gauges{}); err != nil {
			t.Fatal(err)
		}
		if got := value(); got != c.want {
			t.Errorf("night %d, exit %d: last complete %s, want %s", i, c.exit, got, c.want)
		}
	}
}

func TestLostTimeOfTheLastCompleteNightIsSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reemboss.prom")
	if err := os.WriteFile(path, []byte(lastComplete+" soon\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	night := aNight()
	night.Exit = 1
	text, err := metricsOf(t, path, night, Gauges{})
	if err == nil || !strings.Contains(err.Error(), "last complete night is lost") {
		t.Error(err)
	}
	if strings.Contains(text, lastComplete) || !strings.Contains(text, "reemboss_run_exit_code 1\n") {
		t.Errorf("written:\n%s", text)
	}
}

// The collector runs as another user and must never see half a file.
func TestMetricsAreReadableAndReplacedWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "reemboss.prom")
	if err := os.WriteFile(path, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	old, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if _, err := metricsOf(t, path, aNight(), Gauges{}); err != nil {
		t.Fatal(err)
	}
	seen := make([]byte, 10)
	if n, _ := old.Read(seen); string(seen[:n]) != "old\n" {
		t.Errorf("the old file was written into: %q", seen[:n])
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files are left in the folder", len(entries))
	}
}

func TestMetricsThatCannotBeWrittenSayWhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gone", "reemboss.prom")
	if _, err := metricsOf(t, path, aNight(), Gauges{}); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "notify.metrics.file") {
		t.Error(err)
	}
}
