package main

import "fmt"

type reportCommand struct {
	RunID string `arg:"" name:"run" help:"Id of the run, such as 2026-11-21-001."`
	JSON  bool   `help:"Print reconciliation.json."`
}

// Run writes the reports of a finished run again.
func (c *reportCommand) Run(s *session) error {
	n, err := s.open(true)
	if err != nil {
		return err
	}
	defer n.Close()
	r, err := n.Report(s, c.RunID)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(s.out, r)
	} else {
		_, err = fmt.Fprintf(s.out, "%s\n", n.Reports(c.RunID))
	}
	if err != nil {
		return err
	}
	for _, b := range r.Balances {
		if !b.Holds {
			fmt.Fprintf(s.err, "reemboss: %s\n", r.Verdict)
			return exitCode(exitPerson)
		}
	}
	return nil
}
