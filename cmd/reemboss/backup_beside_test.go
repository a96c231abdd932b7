package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// Another process makes one backup after the other while a night runs. None holds the night up, each is whole, and from
// any of them everything that was accepted comes to be delivered once.
func TestBackupsWhileANightRuns(t *testing.T) {
	w, requests := killNight(t)
	w.program = withoutRaceDetector(t)
	quiet := w.copyOf(t)
	quiet.points()
	want, wanted := lastReport(t, quiet.Dir), len(quiet.delivered())
	folder, at := t.TempDir(), time.Now()

	cmd, out, complaints := w.command(nil, "--dir", w.Dir, "run")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the ledger", func() bool { return len(w.glob("state/marks.json")) == 1 })
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var made []string
	var night ended
	for running := true; running; {
		select {
		case err := <-done:
			night, running = w.ended(cmd, err, out, complaints), false
		default:
			path := filepath.Join(folder, fmt.Sprint(len(made)))
			switch r := w.start(nil, "--dir", w.Dir, "backup", path); {
			case r.exit == exitComplete:
				made = append(made, path)
			case r.exit != exitLocked || !bytes.Contains(r.stderr, []byte("try again later")):
				t.Errorf("a backup beside a run: exit %d\n%s", r.exit, r.stderr)
			}
		}
	}
	if night.exit != exitPerson || len(made) == 0 {
		t.Fatalf("exit %d, %d backups\n%s", night.exit, len(made), night.stderr)
	}
	t.Logf("%d backups", len(made))
	w.holds(requests, want)
	for _, path := range []string{made[0], made[len(made)/2], made[len(made)-1]} {
		c := w.copyOf(t)
		c.restore(path, at.Add(time.Minute))
		c.asksTheBureaus(at.Add(2 * time.Minute))
		c.nightWith(at.Add(3*time.Minute), nil)
		c.asksTheBureaus(at.Add(4 * time.Minute)) // what became of a plan that was to be written
		c.nightWith(at.Add(5*time.Minute), nil)
		if cards := c.nothingTwice(); len(cards) != wanted {
			t.Errorf("%d cards were delivered, an undisturbed night delivers %d", len(cards), wanted)
		}
	}
}
