package main

import "fmt"

type statusCommand struct {
	JSON bool `help:"The same fields as reconciliation.json."`
}

// Run tells runs, files and what waits.
func (c *statusCommand) Run(s *session) error {
	n, err := s.open(false)
	if err != nil {
		return err
	}
	defer n.Close()
	status, err := n.Status(s)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.out, status)
	}
	if len(status.Runs) == 0 {
		fmt.Fprintln(s.out, "No run yet.")
	}
	for _, r := range status.Runs {
		fmt.Fprintf(s.out, "run %s  %s\n", r.ID, r.Told)
	}
	for _, f := range status.Files {
		fmt.Fprintf(s.out, "%-11s number %d  %-9s %6d records  %s\n", f.Bureau, f.Sequence, f.State, f.Records, f.Name)
		if f.Sent > 0 {
			fmt.Fprintf(s.out, "            sent %d = acknowledged %d + rejected %d + outstanding %d\n", f.Sent, f.Acknowledged, f.Rejected, f.Outstanding)
		}
	}
	for _, p := range status.NeedsPerson {
		fmt.Fprintf(s.out, "needs a person: %s: %s\n", p.What, p.Why)
		for _, command := range p.Choices() {
			fmt.Fprintf(s.out, "    %s\n", command)
		}
	}
	return nil
}
