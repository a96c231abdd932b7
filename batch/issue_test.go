package batch

import (
	"crypto/rand"
	"sort"
	"testing"
	"time"
)

// A uid has 20 characters, is never given twice, and rises with time, so that records stand in the order in which they were accepted.
func TestUIDsRiseAndNeverRepeat(t *testing.T) {
	s := uidSource{random: rand.Reader}
	at := time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)
	var list []string
	for i := range 5000 {
		if i == 2500 {
			at = at.Add(-time.Hour) // a clock that is set back changes nothing
		}
		uid, err := s.next(at.Add(time.Duration(i/1000) * time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		if len(uid) != 20 {
			t.Fatalf("%q has %d characters", uid, len(uid))
		}
		list = append(list, uid)
	}
	if !sort.StringsAreSorted(list) {
		t.Error("uids do not rise")
	}
	seen := map[string]bool{}
	for _, uid := range list {
		if seen[uid] {
			t.Fatalf("%s was given twice", uid)
		}
		seen[uid] = true
	}
}
