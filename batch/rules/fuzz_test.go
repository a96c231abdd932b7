package rules

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// FuzzEventsBreakNoShipment drives the property of TestNoEventsBreakAShipment by coverage.
func FuzzEventsBreakNoShipment(f *testing.F) {
	f.Add(drawn())
	f.Fuzz(rapid.MakeFuzz(noEventsBreakAShipment))
}

// FuzzEventsCommute drives that of TestUndisputedEventsCommute: the balance of a shipment whose events are not disputed
// does not depend on the order in which they came.
func FuzzEventsCommute(f *testing.F) {
	f.Add(drawn())
	f.Fuzz(rapid.MakeFuzz(undisputedEventsCommute))
}

// drawn is enough to draw a whole sequence of events from; of less rapid makes none.
func drawn() []byte {
	seed := make([]byte, 1<<16)
	_, _ = rand.NewChaCha8([32]byte{}).Read(seed) // never an error
	return seed
}
