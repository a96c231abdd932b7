package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"reemboss/batch"
	"reemboss/batch/ledger"
)

// An error has the exit code of what a person does about it, however deep it lies; a mistake of the setup comes first.
func TestErrorsHaveTheirExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, exitComplete},
		{errors.New("a fault"), exitFault},
		{&batch.SetupError{Err: errors.New("no key")}, exitUsage},
		{batch.ErrLocked, exitLocked},
		{ledger.ErrBusy, exitLocked},
		{ledger.ErrBehind, exitPerson},
		{ledger.ErrDamaged, exitPerson},
		{&batch.SetupError{Err: ledger.ErrDamaged}, exitUsage}, // of a backup that a restore refuses
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("a stage: %w", err)
		}
		if got := exitOf(context.Background(), err); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.want)
		}
	}
}
