package rules

import (
	"fmt"
	"time"

	"reemboss/batch/config"
)

// Calendar counts a bureau's days. Dates are midnight UTC of the calendar day
// meant, whatever the bureau's time zone, so that they compare and print alike.
type Calendar struct {
	zone     *time.Location
	cutOff   time.Duration // after local midnight on the clock, not elapsed time: summer time does not move it
	works    [7]bool       // by time.Weekday
	holidays map[time.Time]bool
}

// NewCalendar reads the calendar of a bureau's configuration.
func NewCalendar(b config.Bureau) (*Calendar, error) {
	c := &Calendar{holidays: make(map[time.Time]bool, len(b.Holidays))}
	var err error
	if c.zone, err = time.LoadLocation(b.TimeZone); err != nil {
		return nil, fmt.Errorf("time zone: %w", err)
	}
	cut, err := time.Parse("15:04", b.CutOff)
	if err != nil {
		return nil, fmt.Errorf("cut-off: %w", err)
	}
	c.cutOff = time.Duration(cut.Hour())*time.Hour + time.Duration(cut.Minute())*time.Minute
	any := false
	for _, text := range b.WorkingDays {
		day, ok := config.Weekday(text)
		if !ok {
			return nil, fmt.Errorf("working days: %q is no weekday", text)
		}
		c.works[day], any = true, true
	}
	if !any {
		return nil, fmt.Errorf("working days: there is none")
	}
	for _, text := range b.Holidays {
		day, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return nil, fmt.Errorf("holidays: %w", err)
		}
		c.holidays[day] = true
	}
	return c, nil
}

// BusinessDate is the working day at the bureau to which an order of that
// moment belongs, and on which the bureau produces it: the local date before
// the cut-off of a working day, else the next working day.
func (c *Calendar) BusinessDate(at time.Time) time.Time {
	local := at.In(c.zone)
	date := dateOf(local)
	clock := time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute
	if c.WorkingDay(date) && clock < c.cutOff {
		return date
	}
	return c.After(date, 1)
}

// After is the date that many working days after date; 0 is date itself.
func (c *Calendar) After(date time.Time, workingDays int) time.Time {
	for workingDays > 0 {
		date = date.AddDate(0, 0, 1)
		if c.WorkingDay(date) {
			workingDays--
		}
	}
	return date
}

// WorkingDaysBetween counts the working days after from, up to and including to.
func (c *Calendar) WorkingDaysBetween(from, to time.Time) int {
	n := 0
	for date := from.AddDate(0, 0, 1); !date.After(to); date = date.AddDate(0, 0, 1) {
		if c.WorkingDay(date) {
			n++
		}
	}
	return n
}

// Date is the calendar day at the bureau, which need not be one on which it works.
func (c *Calendar) Date(at time.Time) time.Time { return dateOf(at.In(c.zone)) }

// Due is the instant before which an answer is in time that was promised within
// so many working days of the business date of at: the end of the bureau's
// local day. It is the next midnight on the bureau's clock, or the first moment
// of the next day where summer time leaves that midnight out.
func (c *Calendar) Due(at time.Time, workingDays int) time.Time {
	next := c.After(c.BusinessDate(at), workingDays).AddDate(0, 0, 1)
	year, month, day := next.Date()
	midnight := time.Date(year, month, day, 0, 0, 0, 0, c.zone)
	// Where clocks jump over midnight, time.Date may give the hour before instead.
	if shown := c.Date(midnight); shown.Before(next) {
		local := midnight.In(c.zone)
		midnight = midnight.Add(24*time.Hour - time.Duration(local.Hour())*time.Hour - time.Duration(local.Minute())*time.Minute)
	}
	return midnight
}

// WorkingDay says whether the bureau works on that date.
func (c *Calendar) WorkingDay(date time.Time) bool {
	return c.works[date.Weekday()] && !c.holidays[date]
}

// dateOf is the calendar day that a local time shows.
func dateOf(local time.Time) time.Time {
	year, month, day := local.Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}
