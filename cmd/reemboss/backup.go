package main

import (
	"fmt"
	"io"
	"strings"

	"reemboss/batch"
)

type backupCommand struct {
	File string `arg:"" help:"The file to be made; it must not be there." type:"path"`
	JSON bool   `help:"Print what was backed up as JSON."`
}

// notInBackup says what a backup does not have; docs/operations.md says how to keep it.
const notInBackup = "Not in it: the keyset and its key-encryption key, our PGP and SSH keys, config.yaml, request files and outbox/. Keep them as docs/operations.md says, or this file opens for nobody."

// Run makes a backup.
func (c *backupCommand) Run(s *session) error {
	told, err := batch.Backup(s, s.dir, c.File, s.options())
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.out, told)
	}
	fmt.Fprintf(s.out, "%s: %d bytes, %d cards, %d runs, %d entries of the audit log, sealed to %s, SHA-256 %s\n",
		told.Name, told.Size, told.Cards, told.Counters["runs"], told.Entries, strings.Join(told.SealedTo, " and "), told.SHA256)
	if told.OpenRun != "" {
		fmt.Fprintf(s.out, "It was made in the middle of run %s.\n", told.OpenRun)
	}
	fmt.Fprintln(s.out, notInBackup)
	return nil
}

type restoreCommand struct {
	File          string `arg:"" help:"The backup." type:"path"`
	SkipSequences *int64 `help:"By how much the numbers of each recipient's files skip ahead." placeholder:"N"`
	SkipCards     *int64 `help:"By how much card ids and the numbers of each PAN range skip ahead." placeholder:"N"`
	SkipPSNs      *int64 `name:"skip-psns" help:"How many sequence numbers (PSN) each card number passes over." placeholder:"N"`
	SkipRuns      *int64 `help:"By how much the numbers of runs skip ahead." placeholder:"N"`
	Reason        string `help:"Why; it is kept in the audit log."`
	JSON          bool   `help:"Print what was done as JSON."`
}

// Run puts a backup back.
func (c *restoreCommand) Run(s *session) error {
	told, err := batch.Restore(s, s.dir, s.options(), batch.RestoreRequest{File: c.File, Reason: c.Reason,
		Sequences: c.SkipSequences, Cards: c.SkipCards, PSNs: c.SkipPSNs, Runs: c.SkipRuns})
	if err != nil {
		return err
	}
	if c.JSON {
		if err := printJSON(s.out, told); err != nil {
			return err
		}
	} else {
		printRestored(s.out, told)
	}
	if len(told.Exhausted)+len(told.Undecided)+len(told.Held)+len(told.Doubtful)+len(told.Gone) > 0 {
		return exitCode(exitPerson)
	}
	return nil
}

// printRestored tells what a restore did and what a person has to do now.
func printRestored(w io.Writer, told *batch.RestoreTold) {
	fmt.Fprintf(w, "The ledger is that of the backup of %s, %d entries of the audit log.\n", told.MadeAt.Format("2006-01-02 15:04 UTC"), told.Entries)
	if told.Aside != "" {
		fmt.Fprintf(w, "The one before is in %s.\n", told.Aside)
	}
	for _, skipped := range told.Skipped {
		bureau, ok := strings.CutPrefix(skipped.Counter, "sequence/")
		switch {
		case !ok:
		case skipped.First == skipped.Last:
			fmt.Fprintf(w, "%s: number %d is not used any more; tell it, and ask whether it got it.\n", bureau, skipped.First)
		default:
			fmt.Fprintf(w, "%s: numbers %d to %d are not used any more; tell it, and ask which of them it got.\n", bureau, skipped.First, skipped.Last)
		}
	}
	for _, name := range told.Exhausted {
		fmt.Fprintf(w, "%s has no number left: name another range in the configuration before the next run, or every card that needs one is refused.\n", name)
	}
	for _, list := range []struct {
		names []string
		what  string
	}{
		{told.Undecided, "may have been sent since; ask its recipient, then reemboss resolve"},
		{told.Held, "is held: a lost night may have had its cards made; ask the bureau, then reemboss approve, resolve or cancel"},
		{told.Doubtful, "was under way; the next run refuses it, and what was not done is to be asked for again"},
		{told.Gone, "is no longer where this ledger says; look for it in done/ and refused/"},
	} {
		for _, name := range list.names {
			fmt.Fprintf(w, "%s %s.\n", name, list.what)
		}
	}
	fmt.Fprintln(w, "Import a fresh extract of the card master before the next run: it has the cards of the lost nights.")
}
