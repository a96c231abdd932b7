package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"reemboss/batch"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/formats/layout"
)

// killNight is a night with everything in it that has a step of its own: two files for one bureau, one for the other,
// one for the card system, an extract, request files of every kind, refused ones, sealed ones.
func killNight(tb testing.TB) (w *workspace, requests map[string][]byte) {
	w = newWorkspace(tb)
	w.configureBureau("alpha", "max_records: 0", "max_records: 5")
	_, requests = w.realisticNight()
	return w, requests
}

// A night is recorded point by point; then, for every one of them, the same night is killed there and started again.
// Whatever the point, it ends as if nothing had happened.
func TestKilledAtEveryStageBoundary(t *testing.T) {
	prepared, requests := killNight(t)
	prepared.program = withoutRaceDetector(t)
	quiet := prepared.copyOf(t)
	points := quiet.points()
	want := lastReport(t, quiet.Dir)
	quiet.holds(requests, want)
	t.Logf("%d points", len(points))
	for _, name := range []string{"stage/intake", "cards/away", "decide/committed#4", "write/sealed#4", "sent/UPLOADED#3", "sent/SENT#4", "answer/sealed#2", "reconcile/finished"} {
		if !slices.Contains(points, name) {
			t.Errorf("the night does not pass %s: %s", name, points)
		}
	}
	for i, point := range points {
		t.Run(strings.ReplaceAll(point, "/", ":"), func(t *testing.T) {
			if testing.Short() && i%4 != 0 {
				t.Skip("one point of four with -short")
			}
			t.Parallel()
			w := prepared.copyOf(t)
			w.killed(point)
			w.delivered() // what has its final name is whole, always
			r := w.start(killAgain(points, i), "--dir", w.Dir, "run")
			if r.killed {
				r = w.start(nil, "--dir", w.Dir, "run")
			}
			// Two request files were refused, so the night ends with 4, unless it had ended before it was killed.
			finished := len(w.glob("reports/*")) > 1
			if r.exit != exitPerson && !(finished && r.exit == exitComplete) {
				t.Fatalf("started again: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
			}
			w.holds(requests, want)
			w.nothingMore()
		})
	}
}

// killAgain kills every third recovery too, some steps further on. Its count of points begins anew and it skips
// what is done, so it dies where it first comes to a point of that name.
func killAgain(points []string, i int) (env []string) {
	if i%3 != 0 {
		return nil
	}
	name, _, _ := strings.Cut(points[min(i+5, len(points)-1)], "#")
	return []string{"REEMBOSS_KILL_AT=" + name}
}

// holds checks everything that must be true after a finished night.
func (w *workspace) holds(requests map[string][]byte, want *report.Reconciliation) {
	w.tb.Helper()
	w.sameTotals(want)
	answers := w.everyRowHasOneAnswer(want)
	cards := w.delivered()
	w.everyOrderIsDeliveredOnce(answers, cards)
	w.sequencesHaveNoGap(cards)
	w.requestsAreWhole(requests)
	if left := w.files("state/intake", "inbox"); len(left) > 0 {
		w.tb.Errorf("left behind: %q", slices.Sorted(maps.Keys(left)))
	}
	for path := range w.files("outbox", "simulator", "done", "refused", "reports", "state", "keys") {
		if strings.Contains(path, ".reemboss-tmp-") || strings.HasSuffix(path, ".part") {
			w.tb.Errorf("%s was left by a process that died", path)
		}
	}
	w.inside(func(n *batch.Night) {
		if err := n.Ledger.VerifyAudit(context.Background()); err != nil {
			w.tb.Error(err)
		}
	})
}

// sameTotals compares the first run's report with that of the undisturbed night.
func (w *workspace) sameTotals(want *report.Reconciliation) {
	w.tb.Helper()
	got := w.reportOf(want.RunID)
	totals := func(r *report.Reconciliation) string {
		s := fmt.Sprintf("%s: read %d accepted %d refused %d duplicate %d held %d written %d waiting %d exit %d", r.RunID,
			r.Read, r.Accepted, r.Refused, r.Duplicate, r.Held, r.Written, r.Waiting, r.ExitCode)
		for _, f := range append(slices.Clone(r.Files), r.CardSystemFiles...) {
			s += fmt.Sprintf("\n%s number %d: %d records %s sent %d acknowledged %d rejected %d outstanding %d", f.Bureau, f.Sequence, f.Records, f.State, f.Sent, f.Acknowledged, f.Rejected, f.Outstanding)
		}
		return s
	}
	if totals(got) != totals(want) {
		w.tb.Errorf("the night ends otherwise than the undisturbed one:\n%s\nwant\n%s", totals(got), totals(want))
	}
	for _, b := range got.Balances {
		if !b.Holds {
			w.tb.Errorf("balance %s does not hold", b.Name)
		}
	}
}

func (w *workspace) reportOf(runID string) *report.Reconciliation {
	w.tb.Helper()
	return told(w.tb, ended{stdout: w.read("reports", runID, "reconciliation.json")})
}

// everyRowHasOneAnswer reads all results and compares them with the totals.
func (w *workspace) everyRowHasOneAnswer(want *report.Reconciliation) (accepted map[string]map[string]string) {
	w.tb.Helper()
	accepted = map[string]map[string]string{}
	var read int64
	for name, rows := range w.results() {
		seen := map[string]bool{}
		for _, row := range rows {
			read++
			at := row["sheet"] + " " + row["row"]
			if seen[at] {
				w.tb.Errorf("%s: row %s has two answers", name, at)
			}
			seen[at] = true
			switch row["outcome"] {
			case "accepted":
				if row["uid"] == "" || accepted[row["uid"]] != nil {
					w.tb.Errorf("%s: row %s is accepted under uid %q", name, at, row["uid"])
				}
				accepted[row["uid"]] = row
			case "refused", "duplicate", "held":
			default:
				w.tb.Errorf("%s: row %s has the outcome %q", name, at, row["outcome"])
			}
		}
	}
	if read != want.Read || int64(len(accepted)) != want.Accepted {
		w.tb.Errorf("the results have %d rows and %d accepted ones, the night %d and %d", read, len(accepted), want.Read, want.Accepted)
	}
	return accepted
}

// everyOrderIsDeliveredOnce opens the bureaus' files and the card system's.
func (w *workspace) everyOrderIsDeliveredOnce(answers map[string]map[string]string, cards []made) {
	w.tb.Helper()
	seen := map[string]made{}
	plastics := map[string]string{}
	for _, m := range cards {
		uid := m.Record[layout.UID]
		answer := answers[uid]
		if first, twice := seen[uid]; twice {
			w.tb.Errorf("order %s is in %s and in %s", uid, first.file, m.file)
		} else if answer == nil {
			w.tb.Errorf("order %s of %s is in no result", uid, m.file)
		} else if answer["file_name"] != m.file || answer["bureau"] != m.bureau || answer["sequence"] != fmt.Sprint(m.sequence) {
			w.tb.Errorf("order %s: the result says %s of %s number %s, it is in %s of %s number %d", uid, answer["file_name"], answer["bureau"], answer["sequence"], m.file, m.bureau, m.sequence)
		}
		seen[uid] = m
		plastic := m.Record[layout.PAN] + "/" + m.Record[layout.PSN]
		if other := plastics[plastic]; other != "" {
			w.tb.Errorf("orders %s and %s are for one PAN and PSN", other, uid)
		}
		plastics[plastic] = uid
	}
	for uid := range answers {
		if _, there := seen[uid]; !there {
			w.tb.Errorf("order %s was accepted and no bureau has it", uid)
		}
	}
	w.cardSystemKnowsEachReissue(answers, seen)
}

func (w *workspace) cardSystemKnowsEachReissue(answers map[string]map[string]string, seen map[string]made) {
	w.tb.Helper()
	knows, ids := map[string]bool{}, map[string]bool{}
	for _, line := range w.cardSystem() {
		uid := line["uid"]
		m := seen[uid]
		if knows[uid] {
			w.tb.Errorf("the card system is told of order %s twice", uid)
		}
		knows[uid] = true
		if line["pan"] != m.Record[layout.PAN] || line["file_name"] != m.file {
			w.tb.Errorf("order %s: what the card system is told is not what the bureau has", uid)
		}
		if id := line["new_card_id"]; id != "" && ids[id] {
			w.tb.Errorf("two new cards have the id %s", id)
		} else if id != "" {
			ids[id] = true
		}
	}
	for uid, row := range answers {
		if reissue := row["reissue_type_used"] != ""; reissue != knows[uid] {
			w.tb.Errorf("order %s: a reissue %v, the card system knows it %v", uid, reissue, knows[uid])
		}
	}
}

// sequencesHaveNoGap looks at the ledger, the bureaus' folders and what the files say of themselves.
func (w *workspace) sequencesHaveNoGap(cards []made) {
	w.tb.Helper()
	w.inside(func(n *batch.Night) {
		files, err := n.Ledger.BureauFiles(context.Background(), ledger.FileQuery{})
		if err != nil {
			w.tb.Fatal(err)
		}
		next, known := map[string]int64{}, map[string]bool{}
		for _, f := range files {
			if next[f.Recipient]++; f.Sequence != next[f.Recipient] {
				w.tb.Errorf("%s has number %d where %d was due", f.Name, f.Sequence, next[f.Recipient])
			}
			if known[f.Name] {
				w.tb.Errorf("the name %s was given twice", f.Name)
			}
			known[f.Name] = true
		}
		for _, path := range append(w.glob("simulator/*/incoming/*"), w.glob("outbox/*/*")...) {
			if !known[filepath.Base(path)] {
				w.tb.Errorf("%s is in no ledger", path)
			}
		}
	})
	numbers := map[string]bool{}
	for _, m := range cards {
		numbers[fmt.Sprint(m.bureau, m.sequence, m.file)] = true
	}
	if want := len(w.glob("simulator/*/incoming/*.pgp")); len(numbers) != want {
		w.tb.Errorf("%d files at the bureaus say %d different numbers", want, len(numbers))
	}
}

// requestsAreWhole finds every request file in done/ or refused/ with its bytes, in clear or sealed to ourselves.
func (w *workspace) requestsAreWhole(requests map[string][]byte) {
	w.tb.Helper()
	for name, content := range requests {
		clear := append(w.glob("done/*/"+name), w.glob("refused/*/"+name)...)
		sealed := append(w.glob("done/*/"+name+".pgp"), w.glob("refused/*/"+name+".pgp")...)
		switch {
		case len(clear)+len(sealed) != 1:
			w.tb.Errorf("%s lies in %q %q", name, clear, sealed)
		case len(clear) == 1 && !bytes.Equal(w.read(clear[0]), content):
			w.tb.Errorf("%s changed", clear[0])
		case len(sealed) == 1 && !bytes.Equal(w.openAt(sealed[0], "keys/issuer.pgp"), content):
			w.tb.Errorf("%s does not hold the sender's bytes", sealed[0])
		}
	}
}

// nothingMore runs the finished night once more: nothing is read, nothing changes, nothing is sent.
func (w *workspace) nothingMore() {
	w.tb.Helper()
	folders := []string{"simulator", "outbox", "done", "refused", "returns", "inbox", "keys"}
	before, marks := w.files(folders...), w.given()
	again := w.night(exitComplete)
	if again.Read != 0 || again.Accepted != 0 || again.Written != 0 || again.Waiting != 0 || len(again.Files) != 0 {
		w.tb.Errorf("a finished night, run again, read %d, accepted %d, wrote %d, waits %d, has files %v", again.Read, again.Accepted, again.Written, again.Waiting, again.Files)
	}
	sameFiles(w.tb, "a finished night, run again", before, w.files(folders...))
	if !maps.Equal(marks, w.given()) {
		w.tb.Error("a finished night, run again, moved the high-water marks")
	}
}

// given are the high-water marks of all that is given out. A run that did nothing was a run all the same: their number is left out.
func (w *workspace) given() map[string]int64 {
	w.tb.Helper()
	var marks struct{ Counters map[string]int64 }
	if err := json.Unmarshal(w.read("state", "marks.json"), &marks); err != nil {
		w.tb.Fatal(err)
	}
	delete(marks.Counters, "runs")
	return marks.Counters
}

// Killed at the one moment when an extract is gone from the intake and the ledger does not say so yet, the night goes on.
func TestExtractPutAwayBeforeAKillIsNotMissed(t *testing.T) {
	for name, seal := range map[string]bool{"clear": false, "encrypted": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			extract, cards := sampleCards(t, 40)
			file := "cards.csv"
			if seal {
				file, extract = "cards.csv.pgp", w.sealExtract(extract)
			}
			w.write("inbox/cards/"+file, extract)
			w.reembossFile("a.csv", cards[0])
			w.killed("cards/away")
			r := w.night(exitComplete)
			if r.Accepted != 1 {
				t.Errorf("accepted %d", r.Accepted)
			}
			w.one("done/*/" + file + ".result.csv")
			if kept := len(w.glob("done/*/" + file)); (kept == 1) != seal {
				t.Errorf("the extract itself is kept %d times", kept)
			}
			w.inside(func(n *batch.Night) {
				files, err := n.Ledger.RunFiles(context.Background(), r.RunID)
				if err != nil || len(files) != 2 {
					t.Fatalf("%d files: %v", len(files), err)
				}
				if f := files[0]; f.State != ledger.Answered || f.Rows != 40 {
					t.Errorf("the extract is %s with %d rows", f.State, f.Rows)
				}
				if _, err := os.Stat(n.Path(files[0].Final)); errors.Is(err, fs.ErrNotExist) {
					t.Errorf("its last place %s does not exist", files[0].Final)
				}
			})
		})
	}
}

// A done-marker whose file was taken by a process that died must not speak for the next file of that name.
func TestDoneMarkerOfAKilledClaimIsRemoved(t *testing.T) {
	w := newWorkspace(t)
	w.configure(`done_marker: ""`, `done_marker: ".done"`)
	cards := w.smallNight()
	w.write("inbox/a.csv.done", nil)
	w.killed("intake/renamed#2")
	w.night(exitComplete)
	if left := w.glob("inbox/*.done"); len(left) > 0 {
		t.Errorf("the marker is left: %q", left)
	}
	w.reembossFile("a.csv", cards[8])
	w.write("inbox/a.csv.done", nil)
	if r := w.night(exitComplete); r.Accepted != 1 || len(w.glob("inbox/*.*")) != 0 {
		t.Errorf("accepted %d, the inbox has %s", r.Accepted, fmt.Sprint(w.glob("inbox/*.*")))
	}
}
