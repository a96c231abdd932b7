package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"reemboss/batch"
	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/formats/iso"
)

// Exit codes, a promise to cron and to scripts.
const (
	exitComplete = 0 // complete and balanced
	exitFault    = 1 // a fault of ours
	exitUsage    = 2 // usage or configuration
	exitLocked   = 3 // another run holds the lock, or the ledger
	exitPerson   = 4 // complete, and something waits for a person
	exitStopped  = 5 // stopped before its end; the next run continues
)

// exitCode is a result that is no error: the command did its work and says so by its code.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// done makes a command's exit code of a complete result.
func done(code int) error {
	if code == exitComplete {
		return nil
	}
	return exitCode(code)
}

// exitOf sorts an error into the codes.
func exitOf(ctx context.Context, err error) int {
	var setup *batch.SetupError
	switch {
	case err == nil:
		return exitComplete
	case errors.As(err, &setup):
		return exitUsage
	case errors.Is(err, batch.ErrLocked), errors.Is(err, batch.ErrBackup), errors.Is(err, batch.ErrLooked), errors.Is(err, batch.ErrReplaced), errors.Is(err, ledger.ErrBusy):
		return exitLocked
	case errors.Is(err, ledger.ErrBehind), errors.Is(err, ledger.ErrDamaged), errors.Is(err, batch.ErrMarksDamaged):
		return exitPerson
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return exitStopped
	default:
		return exitFault
	}
}

// explain prints an error for a person: each mistake of a configuration on a line of its own. What it quotes of a command
// line or of the configuration may be a card number that somebody pasted.
func explain(w io.Writer, err error) {
	var mistakes config.Mistakes
	if errors.As(err, &mistakes) {
		fmt.Fprintln(w, iso.MaskLikely(mistakes.Error()))
		return
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "reemboss: stopped before the end of the run; start it again and it goes on from there")
		return
	}
	fmt.Fprintf(w, "reemboss: %s\n", iso.MaskLikely(err.Error()))
}
