package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"reemboss/batch"
	"reemboss/batch/rules"
)

type checkCommand struct {
	JSON  bool     `help:"One JSON object a row."`
	Files []string `arg:"" help:"Request files." type:"path"`
}

// Run says what a run would answer.
func (c *checkCommand) Run(s *session) error {
	n, err := s.open(false)
	if err != nil {
		return err
	}
	defer n.Close()
	encoder := json.NewEncoder(s.out)
	encoder.SetEscapeHTML(false)
	counts := map[rules.Outcome]int{}
	err = n.Check(s, c.Files, func(r batch.CheckedRow) error {
		counts[r.Outcome]++
		if c.JSON {
			return encoder.Encode(r)
		}
		where := fmt.Sprintf("%s row %d", r.File, r.Row)
		if r.Sheet != "" {
			where = fmt.Sprintf("%s sheet %s row %d", r.File, r.Sheet, r.Row)
		}
		_, err := fmt.Fprintf(s.out, "%-9s %s card %s: %s %s\n", r.Outcome, where, r.CardID, r.Code, r.Message)
		return err
	})
	var unopened *batch.SetupError
	if c.JSON || err != nil && !errors.As(err, &unopened) {
		return err
	}
	fmt.Fprintf(s.out, "\naccepted %d, refused %d, duplicate %d, held %d; nothing was done\n",
		counts[rules.Accepted], counts[rules.Refused], counts[rules.Duplicate], counts[rules.Held])
	return err
}
