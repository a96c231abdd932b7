package main

import (
	"errors"
	"fmt"

	"reemboss/batch/ledger"
)

type auditCommand struct {
	Verify auditVerifyCommand `cmd:"" help:"Check the chain of the audit log and the heads that were signed at the ends of runs."`
}

type auditVerifyCommand struct {
	JSON bool `help:"Print what was found as JSON."`
}

// Run checks the chain. One that does not hold waits for a person.
func (c *auditVerifyCommand) Run(s *session) error {
	n, err := s.open(false)
	if err != nil {
		return err
	}
	defer n.Close()
	told, err := n.VerifyAudit(s)
	broken := errors.Is(err, ledger.ErrAuditBroken)
	switch {
	case err != nil && !broken:
		return err
	case broken && c.JSON:
		err = printJSON(s.out, map[string]any{"holds": false, "problem": err.Error()})
	case broken:
		fmt.Fprintf(s.err, "reemboss: %v\n", err)
		err = nil
	case c.JSON:
		return printJSON(s.out, map[string]any{"holds": true, "entries": told.Entries, "signed": told.Signed, "run_id": told.RunID, "heads": told.Heads})
	default:
		fmt.Fprintf(s.out, "The audit chain holds: %d entries, %d of them signed", told.Entries, told.Signed)
		if told.RunID != "" {
			fmt.Fprintf(s.out, " at the end of run %s", told.RunID)
		}
		fmt.Fprintln(s.out, ".")
		return nil
	}
	if err != nil {
		return err
	}
	return exitCode(exitPerson)
}
