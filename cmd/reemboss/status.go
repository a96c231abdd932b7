package main

import (
	"fmt"
	"io"
	"strings"

	"reemboss/batch/report"
)

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
		if f.Hold != nil {
			printHold(s.out, f)
			continue
		}
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

// printHold tells what waits for a second person, and what that person wants to know of it.
func printHold(w io.Writer, f report.BureauFile) {
	h := f.Hold
	state := string(f.State)
	if h.Approved {
		state = "approved by " + h.DecidedBy + ", the next run writes it"
	}
	fmt.Fprintf(w, "%-11s no number  %-9s %6d records  %s\n", f.Bureau, state, f.Records, f.Name)
	if h.DecidedAt != nil && !h.Approved {
		fmt.Fprintf(w, "            by %s: %s\n", h.DecidedBy, h.Reason)
		return
	}
	for _, r := range h.ByReason {
		what := "re-embossed"
		if r.Request != "reemboss" {
			what = fmt.Sprintf("reissued, reason %d", r.Reason)
		}
		fmt.Fprintf(w, "            %d %s\n", r.Cards, what)
	}
	if len(h.Submitters) > 0 {
		fmt.Fprintf(w, "            asked for by %s\n", strings.Join(h.Submitters, ", "))
	}
	fmt.Fprintf(w, "            digest %s\n", h.Digest)
}
