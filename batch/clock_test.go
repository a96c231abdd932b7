package batch

import (
	"testing"
	"time"
)

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
