package main

import (
	"encoding/json"
	"fmt"
	"io"

	"reemboss/batch"
)

type runCommand struct {
	JSON         bool `help:"Print reconciliation.json."`
	ClockIsRight bool `help:"The machine's clock is behind the last run and is right: it was wrong then."`
}

// Run works the night.
func (c *runCommand) Run(s *session) error {
	n, err := s.open(true)
	if err != nil {
		batch.TellNotOpened(s, s.dir, batch.Options{Log: s.logger()}, err)
		return err
	}
	defer n.Close()
	n.ClockIsRight = c.ClockIsRight
	result, err := n.Run(s)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := printJSON(s.out, result.Reconciliation); err != nil {
			return err
		}
		return done(result.Exit)
	}
	printNight(s.out, n, result)
	return done(result.Exit)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printNight tells a night in a few lines.
func printNight(w io.Writer, n *batch.Night, r *batch.Result) {
	fmt.Fprintf(w, "%s\n\n", r.Verdict)
	fmt.Fprintf(w, "  read %d = accepted %d + refused %d + duplicate %d + held %d\n", r.Read, r.Accepted, r.Refused, r.Duplicate, r.Held)
	fmt.Fprintf(w, "  accepted %d = written %d + waiting %d", r.Accepted, r.Written, r.Waiting)
	if r.Cancelled > 0 {
		fmt.Fprintf(w, " + cancelled %d", r.Cancelled)
	}
	fmt.Fprintln(w)
	for _, f := range r.Files {
		if f.Hold != nil {
			fmt.Fprintf(w, "  %-11s %d records, %s (%s)\n", f.Bureau, f.Records, f.State, f.Name)
			continue
		}
		fmt.Fprintf(w, "  %-11s number %d: %d records, %s (%s)\n", f.Bureau, f.Sequence, f.Records, f.State, f.Name)
		if f.Acknowledged+f.Rejected > 0 {
			fmt.Fprintf(w, "              sent %d = acknowledged %d + rejected %d + outstanding %d\n", f.Sent, f.Acknowledged, f.Rejected, f.Outstanding)
		}
	}
	if len(r.NeedsPerson) > 0 {
		fmt.Fprintf(w, "\nNeeds a person:\n")
		for _, p := range r.NeedsPerson {
			fmt.Fprintf(w, "  - %s: %s\n", p.What, p.Why)
			for _, command := range p.Choices() {
				fmt.Fprintf(w, "      %s\n", command)
			}
		}
	}
	fmt.Fprintf(w, "\nReport: %s\n", n.Path("reports", r.RunID, "reconciliation.html"))
}
