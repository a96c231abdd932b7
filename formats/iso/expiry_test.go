package iso

import (
	"testing"
	"time"
)

func TestParseExpiry(t *testing.T) {
	for in, want := range map[string]Expiry{"2029-11": 202911, "11/29": 202911, "1999-12": 199912, "01/00": 200001} {
		if got, err := ParseExpiry(in); err != nil || got != want {
			t.Errorf("%q is %d (%v), want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "2029-13", "2029-00", "13/29", "00/29", "1129", "2911", "2029/11", "29-11", "+029-11", "2029-1", "1/29", "0000-01", " 11/29"} {
		if got, err := ParseExpiry(in); err == nil {
			t.Errorf("%q was read as %d", in, got)
		}
	}
}

func TestExpiryForms(t *testing.T) {
	e := NewExpiry(2028, 2)
	for got, want := range map[string]string{
		e.YYMM(): "2802", e.MMYY(): "0228", e.Face(): "02/28", e.String(): "2028-02", e.LastDay().Format(time.DateOnly): "2028-02-29",
		e.Add(-2).String(): "2027-12", e.Add(11).String(): "2029-01", NewExpiry(2028, 13).String(): "2029-01", Expiry(0).String(): "",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestACardIsValidToTheLastDayOfItsMonth(t *testing.T) {
	e := NewExpiry(2028, 2)
	if e.Expired(time.Date(2028, 2, 29, 23, 59, 0, 0, time.UTC)) {
		t.Error("expired on its last day")
	}
	if !e.Expired(time.Date(2028, 3, 1, 0, 0, 0, 0, time.UTC)) {
		t.Error("valid after its last day")
	}
}
