package bureau

import (
	"errors"
	"fmt"
	"testing"
)

// What the bureau may see at each step, when it is recorded: what comes after it has not begun. A step that cannot be
// recorded ends the delivery there.
func TestNothingIsDoneBeforeTheStepBeforeItIsDurable(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		proxy := startCutter(t, side)
		for _, c := range []struct {
			at               State
			final, temporary bool
		}{
			{at: Intent},
			{at: Uploaded, temporary: true},
			{at: Renaming, temporary: true},
			{at: Sent, final: true},
		} {
			for _, durable := range []bool{true, false} {
				name := fmt.Sprintf("%s-%v.pgp", c.at, durable)
				f := outboxFile(t, name, 50_000)
				_, before := proxy.count()
				h := newHistory(t, Written)
				h.dieAt, h.kept = c.at, durable
				if _, err := deliver(t, side, f, Written, false, h); !errors.Is(err, errKilled) {
					t.Fatalf("at %s it was to stop: %v", c.at, err)
				}
				if _, dials := proxy.count(); (dials > before) != (c.at != Intent) {
					t.Errorf("at %s there were %d connections", c.at, dials-before)
				}
				if final := side.onDisk(t, name) != nil; final != c.final {
					t.Errorf("at %s, durable %v, the final name is given: %v", c.at, durable, final)
				}
				if temporary := side.onDisk(t, name+".part") != nil; temporary != c.temporary {
					t.Errorf("at %s, durable %v, the temporary file is there: %v", c.at, durable, temporary)
				}
			}
		}
	})
}
