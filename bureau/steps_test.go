package bureau

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
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

// The temporary file was whole when it was uploaded. Before another attempt renames it, it is looked at again.
func TestATemporaryFileIsCheckedInEachAttempt(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		proxy := startCutter(t, side)
		f := outboxFile(t, fileName, 50_000)
		damaged := false
		h := newHistory(t, Written)
		h.on = func(to State) {
			if to == Uploaded && !damaged {
				damaged = true
				side.put(t, fileName+".part", make([]byte, 20_000))
				proxy.arm(cutRequest, 0)
			}
		}
		mustDeliver(t, side, f, Written, false, h)
		if want := []State{Intent, Uploaded, Intent, Uploaded, Renaming, Sent}; !slices.Equal(h.steps, want) {
			t.Errorf("steps %v", h.steps)
		}
		side.holds(t, fileName, f)
	})
}

// The frozen file is compared once more while it is read for the transfer, by its content and not by its size.
func TestAFileThatChangesAfterItsCheckIsNotDelivered(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	side.settings.ReadBack = false
	f := outboxFile(t, fileName, 50_000)
	h := newHistory(t, Written)
	h.on = func(to State) {
		if to == Intent {
			writeFile(t, f.LocalPath, make([]byte, 50_000), 0o600)
		}
	}
	_, err := deliver(t, side, f, Written, false, h)
	wantClass(t, err, Ours, ErrFrozenFile)
	side.lacks(t, fileName)
}

// living wants a context that has not ended, whatever was asked of the delivery.
type living struct{ *history }

func (l living) Record(ctx context.Context, to State, ev Evidence, errText string) error {
	if ctx.Err() != nil {
		l.t.Errorf("%s cannot be recorded: %v", to, ctx.Err())
	}
	return l.history.Record(ctx, to, ev, errText)
}

// What happened is recorded also when a stop was asked for a moment before.
func TestAStopKeepsNoStepFromBeingRecorded(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	for _, at := range []State{Intent, Uploaded, Renaming, Sent} {
		ctx, stop := context.WithCancel(t.Context())
		h := newHistory(t, Written)
		settings := side.settings
		settings.Now = func() time.Time { // the last thing before a step is recorded
			if next := follows[h.state][0]; next == at {
				stop()
			}
			return keyTime
		}
		name := string(at) + ".pgp"
		_, err := Deliver(ctx, settings, outboxFile(t, name, 1000), Written, false, living{h})
		stop()
		if h.state != at || (err == nil) != (at == Sent) {
			t.Errorf("stopped while %s was recorded: %s, %v", at, h.state, err)
		}
	}
}
