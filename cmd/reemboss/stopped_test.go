package main

import (
	"strings"
	"sync/atomic"
	"testing"

	"reemboss/testdata/proof"
)

// Asked to stop at any point of a night, it ends at its next safe one with exit code 5, or had nothing left to do; the next run
// goes on from there, and it ends as if nobody had stopped it.
func TestStoppedAtEveryPoint(t *testing.T) {
	prepared, requests := killNight(t)
	prepared.program = withoutRaceDetector(t)
	quiet := prepared.copyOf(t)
	points := quiet.points()
	want := lastReport(t, quiet.Dir)
	tried, broken := 0, new(atomic.Int64)
	t.Run("points", func(t *testing.T) {
		for _, point := range proof.Chosen(points) {
			tried++
			t.Run(strings.ReplaceAll(point, "/", ":"), func(t *testing.T) {
				t.Parallel()
				t.Cleanup(func() {
					if t.Failed() {
						broken.Add(1)
					}
				})
				w := prepared.copyOf(t)
				r := w.start([]string{"REEMBOSS_STOP_AT=" + point}, "--dir", w.Dir, "run")
				finished := len(w.glob("reports/*/reconciliation.json")) > 0
				switch {
				case r.exit == exitStopped && strings.Contains(string(r.stderr), "start it again"):
				case r.exit == exitPerson && finished: // it had come to its end
				default:
					t.Fatalf("exit %d\n%s%s", r.exit, r.stdout, r.stderr)
				}
				w.delivered() // what has its final name is whole, always
				next := w.start(nil, "--dir", w.Dir, "run")
				if next.exit != exitPerson && !(next.exit == exitComplete && r.exit == exitPerson) {
					t.Fatalf("started again: exit %d\n%s%s", next.exit, next.stdout, next.stderr)
				}
				w.holds(requests, want)
				w.nothingMore()
			})
		}
	})
	proof.Tell(t, "stops asked for", tried, int(broken.Load()))
}
