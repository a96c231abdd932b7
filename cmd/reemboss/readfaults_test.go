package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"reemboss/testdata/proof"
)

// What a night opens, reads, lists and looks at it cannot: once, or from then on. It never panics and never reads less
// than there is as if it were all; what it did not do the next run does, or its sender is told.
func TestSystemCallsThatReadFail(t *testing.T) {
	needStrace(t)
	count := proof.Of(t, "fault points")
	c := prepareCrashes(t)
	anywhere := func(*workspace) []string { return nil }
	const open, read, list, look = "openat", "read", "getdents64", "newfstatat"
	for _, inject := range proof.Chosen(c.injections(t, []strace{
		{open, "error=EIO:when=%d", 12}, {open, "error=EIO:when=%d+", 12}, {open, "error=EACCES:when=%d", 12}, {open, "error=EACCES:when=%d+", 12},
		{read, "error=EIO:when=%d", 12}, {read, "error=EIO:when=%d+", 12}, {list, "error=EIO:when=%d", 4}, {list, "error=EIO:when=%d+", 4},
		{look, "error=EIO:when=%d", 12}, {look, "error=EIO:when=%d+", 12},
	}, anywhere)) {
		count.Try(t, inject[1], func(t *testing.T) {
			w := c.prepared.copyOf(t)
			r, trace, struck := w.traced(t, inject[0], inject[1])
			if !struck {
				count.Missed()
			}
			if r.exit < 0 || bytes.Contains(r.stderr, []byte("goroutine ")) {
				t.Fatalf("it died: exit %d\n%s", r.exit, r.stderr)
			}
			w.nothingClear(w.delivered())
			if r := w.meetsBureaus(t); r.exit != exitPerson && r.exit != exitComplete {
				t.Fatalf("the next run: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
			}
			c.keepsOrRefuses(w)
			if t.Failed() {
				at := bytes.Index(trace, []byte("(INJECTED)"))
				t.Logf("exit %d after %s\n%s", r.exit, trace[bytes.LastIndexByte(trace[:max(at, 0)], '\n')+1:max(at, 0)], r.stderr)
			}
		})
	}
}

// keepsOrRefuses checks what must hold where a request file that could not be read may have been refused.
func (c *crashes) keepsOrRefuses(w *workspace) {
	w.tb.Helper()
	balanced(w.tb, w.reportOf(c.want.RunID)) // 1
	w.answeredWholeOrRefused(c.answers)
	cards := w.delivered()
	w.everyOrderIsInItsFile(cards) // 2, 9
	w.sequencesHaveNoGap(cards)    // 3
	w.digestsAreThePlanned()       // 4
	w.nothingClear(cards)          // 5
	w.whatIsSentHasEvidence()      // 7
	w.requestsAreWhole(c.requests) // 8
	if left := w.files("state/intake", "inbox"); len(left) > 0 {
		w.tb.Errorf("8: left behind: %q", slices.Sorted(maps.Keys(left)))
	}
	folders := []string{"simulator", "outbox", "done", "refused", "inbox", "keys"}
	before, marks := w.files(folders...), w.given()
	r := w.meetsBureaus(w.tb.(*testing.T))
	if r.exit != exitPerson && r.exit != exitComplete {
		w.tb.Errorf("6: run again: exit %d\n%s", r.exit, r.stderr)
	}
	sameFiles(w.tb, "6: a finished night, run again", before, w.files(folders...))
	if !maps.Equal(marks, w.given()) {
		w.tb.Error("6: a finished night, run again, moved the high-water marks")
	}
}

// answeredWholeOrRefused wants of each file as many answers as without the fault, each row one, or its refusal as a whole.
func (w *workspace) answeredWholeOrRefused(undisturbed []string) {
	w.tb.Helper()
	rowsOf := func(answers []string) map[string][]string {
		rows := map[string][]string{}
		for _, a := range answers {
			fields := strings.Split(a, " ")
			rows[fields[0]] = append(rows[fields[0]], fmt.Sprint(fields[1:3]))
		}
		return rows
	}
	got := w.answered()
	rows, want := rowsOf(got), rowsOf(undisturbed)
	for name := range want {
		refused := slices.ContainsFunc(got, func(a string) bool { return strings.HasPrefix(a, name+"  0 refused file_unreadable ") })
		if !slices.Equal(rows[name], want[name]) && !(refused && len(rows[name]) == 1) {
			w.tb.Errorf("1: %s has the answers %q, want the rows %q, or one refusal", name, rows[name], want[name])
		}
	}
	for name := range rows {
		if want[name] == nil && name != "more.csv" { // the extract, which is answered where it could not be read
			w.tb.Errorf("1: %s is answered, and nobody asked", name)
		}
	}
}
