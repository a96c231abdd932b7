package report

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// zurich works from Monday to Friday until 16:00; 23 November 2026, a Monday, is a holiday.
func zurich(t *testing.T) *rules.Calendar {
	c, err := rules.NewCalendar(config.Bureau{TimeZone: "Europe/Zurich", CutOff: "16:00", WorkingDays: []string{"mon", "tue", "wed", "thu", "fri"}, Holidays: []string{"2026-11-23"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAgeIsInTheBureausWorkingDays(t *testing.T) {
	b := Bureau{Acknowledges: true, Calendar: zurich(t), SLA: config.SLA{Acknowledge: 1}}
	sent := time.Date(2026, 11, 19, 22, 0, 0, 0, time.UTC) // Thursday, after the cut-off: of Friday
	for _, tt := range []struct {
		night string
		days  int
		late  bool
	}{
		{"2026-11-19", 0, false}, {"2026-11-20", 0, false}, {"2026-11-21", 0, false}, {"2026-11-23", 0, false}, // weekend and holiday
		{"2026-11-24", 1, false}, {"2026-11-25", 2, true},
	} {
		night, err := time.Parse(time.DateOnly, tt.night)
		if err != nil {
			t.Fatal(err)
		}
		now := night.Add(22 * time.Hour)
		if days, late := b.workingDays(sent, now), b.late(sent, now, 1); days != tt.days || late != tt.late {
			t.Errorf("%s: %d days, late %v", tt.night, days, late)
		}
	}
	if due := b.due(sent, 1); due != "2026-11-24" {
		t.Errorf("due %s", due)
	}
}

func TestWithoutACalendarDaysAreCalendarDays(t *testing.T) {
	b := Bureau{Acknowledges: true}
	if days, due := b.workingDays(started.AddDate(0, 0, -4), started), b.due(started, 2); days != 4 || due != "2026-11-23" {
		t.Errorf("%d days, due %s", days, due)
	}
}

func TestAgeing(t *testing.T) {
	rec := gatherRich(t, nil)
	if rec.Outstanding != 323+44+104 || rec.UnderWay != 791 {
		t.Errorf("outstanding %d, under way %d", rec.Outstanding, rec.UnderWay)
	}
	got := rec.Ageing[0]
	late := got.Late
	got.Late = nil
	want := BureauAge{Bureau: "alpha", Name: "Alpha Cards", Expected: true, Outstanding: 323, UnderWay: 620, Oldest: 3,
		Buckets: []AgeBucket{{"today", 205}, {"1", 0}, {"2", 0}, {"3-5", 118}, {"6-10", 0}, {"over 10", 0}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if last := late[len(late)-1]; last != (Late{"reemboss_alpha_000069.xml.pgp", lateToAcknowledge, 118, 1, 3, "2026-11-19", last.fileID}) {
		t.Errorf("%+v", last)
	}
	if gamma := rec.Ageing[2]; gamma.Expected || gamma.Outstanding != 104 || len(gamma.Late) != 0 {
		t.Errorf("a bureau that does not acknowledge: %+v", gamma)
	}
}

func TestCardsSentLaterAreNotOfThisRun(t *testing.T) {
	rec := gatherSmall(t, func(m *memory, _ *Extra) {
		m.sealed[0].SentRunID, m.later = "2026-11-22-001", []ledger.Run{{ID: "2026-11-22-001"}}
	})
	for _, a := range rec.Ageing {
		if a.Bureau == "alpha" && a.Outstanding != 1 {
			t.Errorf("%d cards are outstanding, want that of the older file", a.Outstanding)
		}
	}
}

func TestNights(t *testing.T) {
	m, extra := richNight(t)
	m.earlier[len(m.earlier)-1].Summary = []byte("{") // what a crash or an older version left
	rec, err := Gather(context.Background(), m, runID, extra)
	if err != nil {
		t.Fatal(err)
	}
	days := rec.days()
	if len(days) != 30 || days[29].Date != "2026-11-21" || days[0].Date != "2026-10-23" {
		t.Fatalf("%d days from %s to %s", len(days), days[0].Date, days[len(days)-1].Date)
	}
	gaps := 0
	for _, d := range days {
		day, err := time.Parse(time.DateOnly, d.Date)
		if err != nil {
			t.Fatal(err)
		}
		if expected := day.Weekday() == time.Sunday || d.Date == "2026-11-12"; (d.Runs == 0) != expected {
			t.Errorf("%s: %d runs", d.Date, d.Runs)
		} else if expected {
			gaps++
		}
	}
	if gaps != 5 {
		t.Errorf("%d gaps", gaps)
	}
	if d := days[28]; d.Runs != 1 || d.Read != 0 {
		t.Errorf("a night whose summary cannot be read: %+v", d)
	}
	if d := days[26]; d.ExitCode != 4 || d.Read == 0 || d.Outstanding == 0 || d.UnderWay == 0 {
		t.Errorf("%+v", d)
	}
	if d := days[29]; d.Read != 413 || d.Outstanding != rec.Outstanding {
		t.Errorf("this night: %+v", d)
	}
}

func TestRunsOfOneDayAreOneColumn(t *testing.T) {
	r := &Reconciliation{Date: "2026-11-21", Nights: []NightTold{
		{RunID: "2026-11-21-001", Date: "2026-11-21", Read: 10, ExitCode: 1, Outstanding: 7}, {RunID: "2026-11-21-002", Date: "2026-11-21", Read: 5, Outstanding: 9},
	}}
	if d := r.days()[29]; d.Runs != 2 || d.Read != 15 || d.ExitCode != 1 || d.Outstanding != 9 {
		t.Errorf("%+v", d)
	}
}

func TestUnderWayList(t *testing.T) {
	in := smallInput(t)
	m := in.Ledger.(*memory)
	in.Extra.Bureaus["alpha"] = Bureau{Acknowledges: true, SLA: config.SLA{Acknowledge: 1, Ship: 2}}
	m.happens(5, 0, ledger.Event{Status: "ACKED", At: started.AddDate(0, 0, -2)})
	m.happens(7, 1, ledger.Event{Status: "SHIPPED", At: started.Add(-time.Hour), RunID: runID})
	if _, err := WriteAll(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	files := folder(t, in.Dir)
	golden(t, "underway.csv", files["underway.csv"])
	golden(t, "late.csv", files["outstanding.csv"])
}
