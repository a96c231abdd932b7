package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"reemboss/batch"
	"reemboss/batch/report"
)

// BenchmarkNight is one run over REEMBOSS_BENCH_ROWS re-embossing rows (CSV) on
// a registry of as many cards, in a process of its own: the seconds of each
// stage, the rows a second, and the most memory that the process had.
func BenchmarkNight(b *testing.B) {
	rows := 20_000
	if s := os.Getenv("REEMBOSS_BENCH_ROWS"); s != "" {
		var err error
		if rows, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		night(b, rows)
	}
}

func night(b *testing.B, rows int) {
	dir := filepath.Join(b.TempDir(), "workspace")
	reembossProcess(b, "init", dir)
	sample := &batch.Sample{Seed: 3, Cards: rows, Now: time.Now(), Plain: true}
	extract := filepath.Join(b.TempDir(), "cards.csv")
	writeTo(b, extract, func(f *bufio.Writer) error { return sample.Extract(f) })
	started := time.Now()
	usage, _ := reembossProcess(b, "--dir", dir, "cards", "import", extract)
	b.Logf("import of %d cards: %.1f s, %d MiB", rows, time.Since(started).Seconds(), usage.Maxrss/1024)
	writeTo(b, filepath.Join(dir, "inbox", "reemboss.csv"), func(f *bufio.Writer) error {
		fmt.Fprintln(f, "card_id,reference")
		for i := range rows {
			fmt.Fprintf(f, "%d,R%d\n", batch.FirstCard+i, i)
		}
		return nil
	})
	started = time.Now()
	usage, output := reembossProcess(b, "--dir", dir, "run")
	took := time.Since(started).Seconds()
	b.ReportMetric(float64(rows)/took, "rows/s")
	b.ReportMetric(float64(usage.Maxrss)/1024, "MiB")
	b.Logf("run of %d rows: %.1f s, %d MiB", rows, took, usage.Maxrss/1024)
	for _, line := range strings.Split(output, "\n") { // the log has every stage, reconcile too
		var s struct {
			Stage   string
			Seconds float64
			Items   int64
		}
		if json.Unmarshal([]byte(line), &s) == nil && s.Stage != "" {
			b.Logf("  %-10s %8.1f s  %9d items", s.Stage, s.Seconds, s.Items)
		}
	}
}

// reembossProcess runs the program in a process of its own; it must end with 0.
func reembossProcess(tb testing.TB, args ...string) (*syscall.Rusage, string) {
	tb.Helper()
	path, err := exec.LookPath("reemboss")
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("reemboss %v: %v\n%s", args, err, out)
	}
	return cmd.ProcessState.SysUsage().(*syscall.Rusage), string(out)
}

// lastReport reads the newest reconciliation.json of a workspace.
func lastReport(tb testing.TB, dir string) *report.Reconciliation {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "reports", "*", "reconciliation.json"))
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no report in %s: %v", dir, err)
	}
	text, err := os.ReadFile(paths[len(paths)-1])
	if err != nil {
		tb.Fatal(err)
	}
	r := new(report.Reconciliation)
	if err := json.Unmarshal(text, r); err != nil {
		tb.Fatal(err)
	}
	return r
}

// writeTo makes a file.
func writeTo(tb testing.TB, path string, fill func(*bufio.Writer) error) {
	tb.Helper()
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	w := bufio.NewWriter(f)
	if err := fill(w); err != nil {
		tb.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
}
