package rules

import (
	"testing"

	"pgregory.net/rapid"
)

// FuzzEventsBreakNoShipment drives the property of TestNoEventsBreakAShipment by coverage.
func FuzzEventsBreakNoShipment(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(rapid.MakeFuzz(noEventsBreakAShipment))
}

// FuzzEventsCommute drives that of TestUndisputedEventsCommute: the balance of a shipment whose events are not disputed
// does not depend on the order in which they came.
func FuzzEventsCommute(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(rapid.MakeFuzz(undisputedEventsCommute))
}
