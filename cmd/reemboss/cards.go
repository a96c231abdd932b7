package main

import (
	"fmt"

	"reemboss/batch"
)

type cardsCommand struct {
	Import cardsImportCommand `cmd:"" help:"Import card master extracts (CSV or XLSX, or either PGP-encrypted to the workspace's key)."`
}

type cardsImportCommand struct {
	JSON  bool     `help:"One JSON object a file."`
	Files []string `arg:"" help:"Card master extracts." type:"path"`
}

// Run imports the files, one after the other.
func (c *cardsImportCommand) Run(s *session) error {
	n, err := s.open(true)
	if err != nil {
		return err
	}
	defer n.Close()
	code := exitComplete
	for _, path := range c.Files {
		summary, err := n.ImportCards(s, path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if summary.Code != "" {
			code = exitPerson
		}
		if c.JSON {
			if err := printJSON(s.out, summary); err != nil {
				return err
			}
			continue
		}
		printImport(s, summary)
	}
	return done(code)
}

func printImport(s *session, i batch.ImportSummary) {
	if i.Code != "" {
		fmt.Fprintf(s.out, "%s refused: %s %s\n", i.File, i.Code, i.Detail)
		return
	}
	fmt.Fprintf(s.out, "%s: read %d = new %d + updated %d + unchanged %d + refused %d; conflicts %d\n", i.File, i.Rows, i.Inserted, i.Updated, i.Unchanged, i.Refused, i.Conflicts)
	if i.Refused+i.Conflicts > 0 {
		fmt.Fprintf(s.out, "  every row's answer: %s\n", i.Result)
	}
}
