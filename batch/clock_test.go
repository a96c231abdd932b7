package batch

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reemboss/batch/ledger"
)

// clockBench is a bench whose keys were made two years ago, so that only the clock itself can stop a run.
func clockBench(t *testing.T) *bench {
	now := monday()
	b := newBenchAt(t, now.AddDate(-2, 0, 0))
	b.now = now
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00", "3 C3 NORMAL 411111000000003 00", "4 C4 NORMAL 411111000000004 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,3\n2,C2,1\n")
	if r := b.run(); r.Exit != 0 {
		t.Fatalf("exit %d: %+v", r.Exit, r.NeedsPerson)
	}
	return b
}

// setBack says what a run tells of the clock.
func setBack(r *Result) (told []string) {
	for _, need := range r.NeedsPerson {
		if strings.Contains(need.What, "clock was set back") {
			told = append(told, need.What)
		}
	}
	return told
}

// numbersOnce: every number of a bureau is one file, in order, and every id of a run, uid, new card and name of a file is there once.
func (b *bench) numbersOnce() {
	b.Helper()
	n := b.open()
	defer n.Close()
	files, err := n.Ledger.BureauFiles(b.Context(), ledger.FileQuery{})
	if err != nil {
		b.Fatal(err)
	}
	next, uids, cards := map[string]int64{}, map[string]bool{}, map[int64]bool{}
	for _, f := range files {
		if next[f.Recipient]++; f.Sequence != next[f.Recipient] {
			b.Errorf("%s has number %d, due was %d", f.Name, f.Sequence, next[f.Recipient])
		}
		if f.Recipient != "alpha" {
			continue
		}
		err := n.Ledger.EachFileOrder(b.Context(), f.ID, func(o *ledger.Order) error {
			if uids[o.UID] || cards[o.EmbossedCardID] {
				b.Errorf("order %s or its card is there twice", o.UID)
			}
			uids[o.UID], cards[o.EmbossedCardID] = true, true
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := n.Close(); err != nil {
		b.Fatal(err)
	}
	if _, err := b.verify(); err != nil {
		b.Error(err)
	}
}

// Set back between two runs: what must be given once is, what was done is not done again, and a person is told, once.
func TestAClockSetBackBetweenRunsIsTold(t *testing.T) {
	for name, back := range map[string]time.Duration{"an hour": time.Hour, "a day": 24*time.Hour - time.Minute} {
		t.Run(name, func(t *testing.T) {
			b := clockBench(t)
			b.now = b.now.Add(-back)
			b.drop("again.csv", "card_id,user_id,reason_code\n1,C1,3\n2,C2,1\n") // the same bytes
			b.drop("b.csv", "card_id,user_id,reason_code\n2,C2,1\n3,C3,3\n")
			r := b.run()
			if told := setBack(r); len(told) != 1 || r.Exit != 4 {
				t.Errorf("exit %d, told %q", r.Exit, r.NeedsPerson)
			}
			b.want(b.codes("refused", "again.csv"), "duplicate_file")
			b.want(b.codes("done", "b.csv"), "card_in_transit", "00")
			b.numbersOnce()
			b.drop("c.csv", "card_id,user_id,reason_code\n4,C4,3\n")
			if r := b.run(); r.Exit != 0 {
				t.Errorf("the next run ends with %d: %+v", r.Exit, r.NeedsPerson)
			}
			b.numbersOnce()
			b.agesAreNoNonsense()
		})
	}
}

// agesAreNoNonsense: what was sent later than now is not outstanding for a negative time.
func (b *bench) agesAreNoNonsense() {
	b.Helper()
	for _, path := range b.lies("reports/*/*") {
		if name := filepath.Base(path); name == "outstanding.csv" || name == "reconciliation.json" {
			for _, nonsense := range []string{",-", `"seconds": -`, `"oldest": -`, `"working_days": -`} {
				if text := string(b.read(path)); strings.Contains(text, nonsense) {
					b.Errorf("%s has a negative number after %q", path, nonsense)
				}
			}
		}
	}
}

// More than a day back, cards would get wrong dates: nothing is done until a person says which time was right.
func TestAClockFarBehindTheLastRunStops(t *testing.T) {
	for name, back := range map[string]func(time.Time) time.Time{
		"two days": func(at time.Time) time.Time { return at.AddDate(0, 0, -2) },
		"a year":   func(at time.Time) time.Time { return at.AddDate(-1, 0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			b := clockBench(t)
			right := b.now
			b.now = back(b.now)
			b.drop("b.csv", "card_id,user_id,reason_code\n3,C3,3\n")
			n := b.open()
			_, err := n.Run(t.Context())
			var cause *SetupError
			if !errors.As(err, &cause) || !strings.Contains(err.Error(), "Set the clock") {
				t.Fatalf("it ran, or says %v", err)
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			if runs := b.lies("inbox/b.csv"); len(runs) != 1 || len(b.lies("reports/*/reconciliation.json")) != 1 {
				t.Error("something was done all the same")
			}

			// The clock was wrong then and is right now: a person says so once.
			behind := b.now
			r := b.run(func(n *Night) { n.ClockIsRight = true })
			if told := setBack(r); len(told) != 1 || r.Exit != 4 || r.Accepted != 1 {
				t.Errorf("exit %d, accepted %d, told %q", r.Exit, r.Accepted, r.NeedsPerson)
			}
			b.numbersOnce()
			b.agesAreNoNonsense()
			b.now = behind.Add(time.Hour)
			if r := b.run(); len(setBack(r)) != 0 {
				t.Errorf("told again: %+v", r.NeedsPerson)
			}
			b.now = right.AddDate(0, 0, 1) // forward is what clocks do
			b.drop("c.csv", "card_id,user_id,reason_code\n1,C1,3\n")
			if r := b.run(); len(setBack(r)) != 0 {
				t.Errorf("told of a clock that went on: %+v", r.NeedsPerson)
			}
			b.numbersOnce()
		})
	}
}

// Set back in the middle of a run, at each of its stages: the run ends, everything is where it belongs, a person is told.
func TestAClockSetBackInTheMiddleOfARun(t *testing.T) {
	for _, back := range []time.Duration{time.Hour, 365 * 24 * time.Hour} {
		for _, point := range []string{"intake/renamed", "decide/commit", "write/plan", "write/bytes", "send/RENAMING", "send/SENT"} {
			t.Run(strings.ReplaceAll(point, "/", ":")+" "+back.String(), func(t *testing.T) {
				b := clockBench(t)
				start := b.now.Add(time.Hour)
				b.now = start
				b.drop("b.csv", "card_id,user_id,reason_code\n3,C3,3\n4,C4,1\n")
				var clock atomic.Pointer[time.Time] // the bureaus read it while the night moves it
				clock.Store(&start)
				r := b.run(func(n *Night) {
					n.Now = func() time.Time { return *clock.Load() }
					n.Checkpoint = func(at string) {
						if at == point {
							behind := start.Add(-back)
							clock.Store(&behind)
						}
					}
				})
				b.now = *clock.Load()
				if told := setBack(r); len(told) != 1 || r.Exit != 4 {
					t.Errorf("exit %d, told %q", r.Exit, r.NeedsPerson)
				}
				if r.Accepted != 2 || r.Written != 2 || !slices.Equal(b.codes("done", "b.csv"), []string{"00", "00"}) {
					t.Errorf("accepted %d, written %d", r.Accepted, r.Written)
				}
				b.numbersOnce()
				b.agesAreNoNonsense()
				b.now = start.Add(time.Hour)
				if r := b.run(); r.Read != 0 || r.Exit != 0 {
					t.Errorf("the next run read %d and ends with %d: %+v", r.Read, r.Exit, r.NeedsPerson)
				}
			})
		}
	}
}

// A clock that is put right by seconds is no news.
func TestAClockPutRightByALittleIsNotTold(t *testing.T) {
	b := clockBench(t)
	b.now = b.now.Add(-clockSlack)
	if r := b.run(); r.Exit != 0 {
		t.Errorf("exit %d: %+v", r.Exit, r.NeedsPerson)
	}
}

// A night that began before the one before it, by a clock that was set back, counts like any other.
func TestBooksHoldAfterTheClockWasSetBack(t *testing.T) {
	b := newBenchAt(t, time.Date(2026, 10, 2, 12, 0, 0, 0, time.UTC))
	b.silent()
	b.now = b.now.Add(24 * time.Hour)
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	b.drop("a.csv", "card_id\n1\n")
	b.run()
	b.now = b.now.Add(-time.Hour)
	b.drop("b.csv", "card_id\n2\n3\n")
	b.run()
	b.now = b.now.Add(2 * time.Hour)
	b.mustHold(b.run().Reconciliation)
}
