package rules

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"reemboss/batch/config"
)

func calendarOf(t testing.TB, zone, cutOff string, holidays ...string) *Calendar {
	t.Helper()
	c, err := NewCalendar(config.Bureau{TimeZone: zone, CutOff: cutOff, WorkingDays: []string{"mon", "tue", "wed", "thu", "fri"}, Holidays: holidays})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBusinessDate(t *testing.T) {
	for _, c := range []struct {
		rule, zone, cutOff, at string // at: RFC 3339
		want                   string
		holidays               []string
	}{
		{"before the cut-off", "Europe/London", "16:00", "2026-11-23T15:59:59Z", "2026-11-23", nil},
		{"at the cut-off it is the next day", "Europe/London", "16:00", "2026-11-23T16:00:00Z", "2026-11-24", nil},
		{"Friday after the cut-off is Monday", "Europe/London", "16:00", "2026-11-27T16:01:00Z", "2026-11-30", nil},
		{"Saturday is Monday", "Europe/London", "16:00", "2026-11-28T02:00:00Z", "2026-11-30", nil},
		{"Sunday after the cut-off is Monday, not Tuesday", "Europe/London", "16:00", "2026-11-29T20:00:00Z", "2026-11-30", nil},
		{"a holiday is the day after", "Europe/London", "16:00", "2026-12-25T09:00:00Z", "2026-12-29", []string{"2026-12-25", "2026-12-28"}},
		{"the eve of a holiday after the cut-off", "Europe/London", "16:00", "2026-12-24T17:00:00Z", "2026-12-29", []string{"2026-12-25", "2026-12-28"}},
		{"the bureau's date, not ours: ahead", "Asia/Tokyo", "16:00", "2026-11-23T20:00:00Z", "2026-11-24", nil},
		{"the bureau's date, not ours: behind", "America/Los_Angeles", "23:00", "2026-11-24T05:00:00Z", "2026-11-23", nil},
		{"cut-off at midnight: always the next day", "UTC", "00:00", "2026-11-23T00:00:00Z", "2026-11-24", nil},
		// Clocks in Berlin: UTC+1 until 29 March 2026, then UTC+2 until 25 October 2026.
		{"winter, before the cut-off", "Europe/Berlin", "15:00", "2026-03-27T13:59:00Z", "2026-03-27", nil},
		{"winter, at the cut-off", "Europe/Berlin", "15:00", "2026-03-27T14:00:00Z", "2026-03-30", nil},
		{"summer, at the cut-off, an hour earlier in UTC", "Europe/Berlin", "15:00", "2026-03-30T13:00:00Z", "2026-03-31", nil},
		{"summer, before the cut-off", "Europe/Berlin", "15:00", "2026-03-30T12:59:00Z", "2026-03-30", nil},
		{"winter again", "Europe/Berlin", "15:00", "2026-10-26T13:59:00Z", "2026-10-26", nil},
		// A day without the hour 02–03, a cut-off on the clock and not in hours since midnight.
		{"the day clocks go forward is a Sunday", "Europe/Berlin", "15:00", "2026-03-29T10:00:00Z", "2026-03-30", nil},
		// In Cairo summer time begins on a Friday at midnight: 24 April 2026 has no 00:00.
		{"a day without midnight", "Africa/Cairo", "15:00", "2026-04-24T11:59:00Z", "2026-04-24", nil},
		{"a day without midnight, at the cut-off", "Africa/Cairo", "15:00", "2026-04-24T12:00:00Z", "2026-04-27", nil},
	} {
		t.Run(c.rule, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, c.at)
			if err != nil {
				t.Fatal(err)
			}
			if got := calendarOf(t, c.zone, c.cutOff, c.holidays...).BusinessDate(at).Format(time.DateOnly); got != c.want {
				t.Errorf("%s at %s: %s, want %s", c.at, c.zone, got, c.want)
			}
		})
	}
}

func TestDeliveryCountsWorkingDaysAfterTheProductionDate(t *testing.T) {
	c := calendarOf(t, "Europe/London", "16:00", "2026-12-25", "2026-12-28", "2027-01-01")
	for _, w := range []struct {
		from string
		days int
		want string
	}{
		{"2026-11-23", 5, "2026-11-30"}, {"2026-11-23", 2, "2026-11-25"}, {"2026-11-23", 1, "2026-11-24"}, {"2026-11-23", 0, "2026-11-23"},
		{"2026-11-27", 1, "2026-11-30"}, {"2026-12-23", 2, "2026-12-29"}, {"2026-12-24", 5, "2027-01-05"},
	} {
		from, err := time.Parse(time.DateOnly, w.from)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.After(from, w.days).Format(time.DateOnly); got != w.want {
			t.Errorf("%d working days after %s: %s, want %s", w.days, w.from, got, w.want)
		}
	}
}

func TestACalendarNeedsWhatItCountsBy(t *testing.T) {
	for _, b := range []config.Bureau{
		{TimeZone: "Nowhere/Land", CutOff: "16:00", WorkingDays: []string{"mon"}},
		{TimeZone: "UTC", CutOff: "4pm", WorkingDays: []string{"mon"}},
		{TimeZone: "UTC", CutOff: "16:00"},
		{TimeZone: "UTC", CutOff: "16:00", WorkingDays: []string{"someday"}},
		{TimeZone: "UTC", CutOff: "16:00", WorkingDays: []string{"mon"}, Holidays: []string{"Christmas"}},
	} {
		if _, err := NewCalendar(b); err == nil {
			t.Errorf("%+v makes a calendar", b)
		}
	}
}

// TestBusinessDateNeverGoesBack: later orders never belong to an earlier day,
// the day is one on which the bureau works, and it is not before the order.
func TestBusinessDateNeverGoesBack(t *testing.T) {
	calendars := []*Calendar{calendarOf(t, "Europe/Berlin", "15:00", "2026-12-25"), calendarOf(t, "Pacific/Apia", "23:59"), calendarOf(t, "America/New_York", "00:00")}
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom(calendars).Draw(t, "calendar")
		at := time.Unix(rapid.Int64Range(1_770_000_000, 1_800_000_000).Draw(t, "at"), 0)
		later := at.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "hours")) * time.Hour)
		date := c.BusinessDate(at)
		if c.BusinessDate(later).Before(date) || !c.WorkingDay(date) || date.Before(dateOf(at.In(c.zone))) {
			t.Fatalf("%s gives %s, %s gives %s", at, date, later, c.BusinessDate(later))
		}
	})
}
