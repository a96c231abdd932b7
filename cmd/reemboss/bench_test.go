package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"reemboss/batch"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

// BenchmarkNight is one run over REEMBOSS_BENCH_ROWS re-embossing rows (CSV) on
// a registry of as many cards, in a process of its own: the seconds of each
// stage, the rows a second, and the most memory that the process had.
func BenchmarkNight(b *testing.B) {
	rows := benchRows(b)
	for b.Loop() {
		dir := filepath.Join(b.TempDir(), "workspace")
		reembossProcess(b, "init", dir)
		night(b, dir, rows)
	}
}

// BenchmarkReturns is one run that collects a return file of REEMBOSS_BENCH_ROWS
// cards that were sent the night before, in a process of its own: that alpha has
// received their file, and one line for each of them (made, shipped, every
// hundredth rejected), in no order. It tells the seconds of collect, its lines
// a second, and the most memory that the process had.
func BenchmarkReturns(b *testing.B) {
	rows := benchRows(b)
	for b.Loop() {
		dir := filepath.Join(b.TempDir(), "workspace")
		reembossProcess(b, "init", dir)
		w := &workspace{Workspace: batch.Workspace{Dir: dir}, tb: b}
		w.silent()
		w.configure("bureau: beta\n", "bureau: alpha\n") // of mc-gold: all cards in one file
		night(b, dir, rows)
		collect(b, w, rows)
	}
}

// benchRows is how large a night is measured.
func benchRows(b *testing.B) int {
	s := os.Getenv("REEMBOSS_BENCH_ROWS")
	if s == "" {
		return 20_000
	}
	rows, err := strconv.Atoi(s)
	if err != nil {
		b.Fatal(err)
	}
	return rows
}

func night(b *testing.B, dir string, rows int) {
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
	stages(b, output)
}

// stages prints each stage that a log tells of, reconcile too, and gives their seconds.
func stages(b *testing.B, output string) map[string]float64 {
	seconds := map[string]float64{}
	for _, line := range strings.Split(output, "\n") {
		var s struct {
			Stage   string
			Seconds float64
			Items   int64
		}
		if json.Unmarshal([]byte(line), &s) == nil && s.Stage != "" {
			b.Logf("  %-10s %8.1f s  %9d items", s.Stage, s.Seconds, s.Items)
			seconds[s.Stage] = s.Seconds
		}
	}
	return seconds
}

// collect lets alpha answer for every card of the night before.
func collect(b *testing.B, w *workspace, rows int) {
	path := filepath.Join(w.Simulator("alpha"), "returns", "r.csv")
	writeTo(b, path, func(f *bufio.Writer) error { return answerAll(f, w, rows) })
	started := time.Now()
	usage, output := reembossProcess(b, "--dir", w.Dir, "run")
	took := time.Since(started).Seconds()
	b.Logf("run that collects %d lines: %.1f s, %d MiB", rows+1, took, usage.Maxrss/1024)
	seconds := stages(b, output)["collect"]
	b.Logf("collect: %.0f lines/s", float64(rows+1)/seconds)
	b.ReportMetric(float64(rows+1)/seconds, "lines/s")
	b.ReportMetric(float64(usage.Maxrss)/1024, "MiB")
	r := lastReport(b, w.Dir)
	if f := bureauFile(b, r, "alpha", 1); !f.Balanced || f.Rejected != int64((rows+99)/100) || f.Acknowledged+f.Rejected != int64(rows) {
		b.Fatalf("of %d cards %d are acknowledged and %d rejected", rows, f.Acknowledged, f.Rejected)
	}
}

// answerAll writes a return file for every card of alpha's first file. The uids come from the result of the requests.
func answerAll(f *bufio.Writer, w *workspace, rows int) error {
	sent := w.sentFile("alpha", 1)
	at := time.Now().UTC().Format(time.RFC3339)
	fmt.Fprintf(f, "record_type,file_name,sequence,uid,status,count,code,description,carrier,tracking_number,occurred_at\n")
	fmt.Fprintf(f, "FILE,%s,1,,RECEIVED,%d,,,,,%s\n", sent.Name, rows, at)
	var uids []string
	w.inside(func(n *batch.Night) {
		err := n.Ledger.EachFileOrder(context.Background(), sent.ID, func(o *ledger.Order) error {
			uids = append(uids, o.UID)
			return nil
		})
		if err != nil {
			w.tb.Fatal(err)
		}
	})
	if len(uids) != rows {
		return fmt.Errorf("alpha's first file has %d cards, want %d", len(uids), rows)
	}
	dice := rand.New(rand.NewPCG(1, 2))
	dice.Shuffle(rows, func(i, j int) { uids[i], uids[j] = uids[j], uids[i] })
	for i, uid := range uids {
		step := "PRODUCED,,,,,"
		switch {
		case i%100 == 0:
			step = "REJECTED,,012,Unregistered plastic,,"
		case i%2 == 0:
			step = "SHIPPED,,,,DHL,0034043416" + strconv.Itoa(i)
		}
		fmt.Fprintf(f, "CARD,%s,1,%s,%s,%s\n", sent.Name, uid, step, at)
	}
	fmt.Fprintf(f, "TRAILER,,,,,%d,,,,,\n", rows+1)
	return nil
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
