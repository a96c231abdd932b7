package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// What the inbox lies on goes away in the middle of a night, and an empty folder may be left in its place. What was taken is done, what was
// not is done by the run after it is back, and every row once; a night that could not read it is not told as a good one.
func TestAnInboxThatVanishes(t *testing.T) {
	prepared, requests := killNight(t)
	prepared.program = withoutRaceDetector(t)
	quiet := prepared.copyOf(t)
	quiet.points()
	want := lastReport(t, quiet.Dir)
	for _, point := range []string{"stage/collect", "stage/intake", "intake/looked", "intake/claiming", "intake/renamed", "intake/claiming#4", "stage/decide", "stage/write",
		"stage/release", "stage/send", "stage/retain", "stage/reconcile"} {
		for _, left := range []string{"nothing", "an empty folder"} {
			t.Run(strings.ReplaceAll(point, "/", ":")+", "+left+" is left", func(t *testing.T) {
				t.Parallel()
				w := prepared.copyOf(t)
				r := w.pausedAt(point, func() {
					if err := os.Rename(w.Inbox(), w.Path("elsewhere")); err != nil {
						t.Fatal(err)
					}
					if left == "an empty folder" {
						if err := os.MkdirAll(w.InboxCards(), 0o700); err != nil {
							t.Fatal(err)
						}
					}
				})
				unread := len(w.glob("elsewhere/*.*")) > 0
				switch {
				case r.exit == exitFault && !bytes.Contains(r.stderr, []byte("bring it back")):
					t.Errorf("it stops and does not say what to do: %s", r.stderr)
				case r.exit != exitFault && unread && left == "nothing":
					t.Errorf("files were not read, and it ends with %d", r.exit)
				case r.exit != exitFault && r.exit != exitPerson && r.exit != exitComplete:
					t.Errorf("exit %d: %s", r.exit, r.stderr)
				}
				if err := os.RemoveAll(w.Inbox()); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(w.Path("elsewhere"), w.Inbox()); err != nil {
					t.Fatal(err)
				}
				if r := w.start(nil, "--dir", w.Dir, "run"); r.exit != exitComplete && r.exit != exitPerson {
					t.Fatalf("the next run ends with %d\n%s", r.exit, r.stderr)
				}
				cards := w.delivered()
				w.everyOrderIsDeliveredOnce(w.everyRowHasOneAnswer(want), cards)
				w.sequencesHaveNoGap(cards)
				w.requestsAreWhole(requests)
				w.nothingMore()
			})
		}
	}
}

// A workspace without its inbox is told: a run that made it anew and found it empty was not a quiet night.
func TestAnInboxThatIsNotThere(t *testing.T) {
	w := newWorkspace(t)
	w.smallNight()
	w.night(exitComplete)
	w.night(exitComplete)
	if err := os.Rename(w.Inbox(), w.Path("elsewhere")); err != nil {
		t.Fatal(err)
	}
	r := w.night(exitPerson)
	needs(t, r, "inbox/ was not there")
	w.night(exitComplete)
}
