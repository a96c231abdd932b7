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

func TestWorkingDaysBetweenTwoDates(t *testing.T) {
	c := calendarOf(t, "Europe/London", "16:00", "2026-12-25", "2026-12-28", "2027-01-01")
	for _, w := range []struct {
		rule, from, to string
		want           int
	}{
		{"the same day", "2026-11-23", "2026-11-23", 0},
		{"the next day counts, the first does not", "2026-11-23", "2026-11-24", 1},
		{"a week", "2026-11-23", "2026-11-30", 5},
		{"over a weekend", "2026-11-27", "2026-11-30", 1},
		{"to a Sunday", "2026-11-27", "2026-11-29", 0},
		{"from a Saturday", "2026-11-28", "2026-11-30", 1},
		{"a run of holidays", "2026-12-24", "2027-01-04", 4},
		{"a holiday is none", "2026-12-31", "2027-01-01", 0},
		{"backwards", "2026-11-30", "2026-11-23", 0},
	} {
		from, _ := time.Parse(time.DateOnly, w.from)
		to, _ := time.Parse(time.DateOnly, w.to)
		if got := c.WorkingDaysBetween(from, to); got != w.want {
			t.Errorf("%s: %d working days after %s up to %s, want %d", w.rule, got, w.from, w.to, w.want)
		}
	}
}

func TestAnAnswerIsDueAtTheEndOfTheBureausDay(t *testing.T) {
	christmas := []string{"2026-12-25", "2026-12-28"}
	for _, c := range []struct {
		rule, zone, at string
		days           int
		want           string
		holidays       []string
	}{
		{"before the cut-off", "Europe/London", "2026-11-23T15:59:00Z", 1, "2026-11-25T00:00:00Z", nil},
		{"at the cut-off the promise begins a day later", "Europe/London", "2026-11-23T16:00:00Z", 1, "2026-11-26T00:00:00Z", nil},
		{"none is the end of the business date", "Europe/London", "2026-11-23T10:00:00Z", 0, "2026-11-24T00:00:00Z", nil},
		{"sent on a Saturday", "Europe/London", "2026-11-28T02:00:00Z", 1, "2026-12-02T00:00:00Z", nil},
		{"a run of holidays", "Europe/London", "2026-12-23T10:00:00Z", 2, "2026-12-30T00:00:00Z", christmas},
		// Clocks in London: UTC until 29 March 2026, then UTC+1 until 25 October 2026.
		{"into summer time", "Europe/London", "2026-03-27T10:00:00Z", 1, "2026-03-30T23:00:00Z", nil},
		{"the Friday before", "Europe/London", "2026-03-26T10:00:00Z", 1, "2026-03-28T00:00:00Z", nil},
		{"out of summer time", "Europe/London", "2026-10-23T10:00:00Z", 1, "2026-10-27T00:00:00Z", nil},
		{"the last summer Friday", "Europe/London", "2026-10-22T10:00:00Z", 1, "2026-10-23T23:00:00Z", nil},
		{"the cut-off is on the summer clock", "Europe/London", "2026-07-01T15:00:00Z", 1, "2026-07-03T23:00:00Z", nil},
		{"the bureau's day, not ours", "Asia/Tokyo", "2026-11-23T20:00:00Z", 1, "2026-11-25T15:00:00Z", nil},
		// In Cairo 24 April 2026 has no 00:00, and 29 October 2026 has its last hour twice.
		{"a day that begins at one o'clock", "Africa/Cairo", "2026-04-22T10:00:00Z", 1, "2026-04-23T22:00:00Z", nil},
		{"a day with its last hour twice", "Africa/Cairo", "2026-10-28T10:00:00Z", 1, "2026-10-29T22:00:00Z", nil},
	} {
		t.Run(c.rule, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, c.at)
			if err != nil {
				t.Fatal(err)
			}
			if got := calendarOf(t, c.zone, "16:00", c.holidays...).Due(at, c.days).UTC().Format(time.RFC3339); got != c.want {
				t.Errorf("%d working days from %s in %s: %s, want %s", c.days, c.at, c.zone, got, c.want)
			}
		})
	}
}

// TestDueIsTheFirstMomentOfADay wherever clocks change: at the bureau it is the
// day after the last one, and a moment before it still is that day.
func TestDueIsTheFirstMomentOfADay(t *testing.T) {
	var calendars []*Calendar
	for _, zone := range []string{"Europe/London", "Africa/Cairo", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe", "Atlantic/Azores"} {
		calendars = append(calendars, calendarOf(t, zone, "16:00", "2026-12-25"))
	}
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom(calendars).Draw(t, "calendar")
		at := time.Unix(rapid.Int64Range(1_770_000_000, 1_800_000_000).Draw(t, "at"), 0)
		days := rapid.IntRange(0, 10).Draw(t, "days")
		last, due := c.After(c.BusinessDate(at), days), c.Due(at, days)
		if !c.Date(due).Equal(last.AddDate(0, 0, 1)) || !c.Date(due.Add(-time.Millisecond)).Equal(last) {
			t.Fatalf("%s and %d days: due %s, the last day is %s", at, days, due.In(c.zone), last)
		}
		if c.WorkingDaysBetween(c.BusinessDate(at), last) != days {
			t.Fatalf("%s: %d working days up to %s", at, c.WorkingDaysBetween(c.BusinessDate(at), last), last)
		}
	})
}

func TestThePolicyGivesTheCalendarOfABureau(t *testing.T) {
	p := sample(t, nil)
	if p.Calendar("beta").BusinessDate(now).Format(time.DateOnly) != "2026-11-23" || p.Calendar("gamma") != nil {
		t.Error("a bureau has its calendar, and what is no bureau has none")
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
