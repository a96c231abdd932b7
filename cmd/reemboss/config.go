package main

import (
	"errors"
	"fmt"

	"reemboss/batch"
	"reemboss/batch/config"
)

type configCommand struct {
	Check configCheckCommand `cmd:"" help:"Every mistake of the configuration, with line and column."`
}

type configCheckCommand struct {
	JSON bool `help:"The mistakes as JSON."`
}

// Run checks the configuration, then the keys and layouts it names.
func (c *configCheckCommand) Run(s *session) error {
	w := batch.Workspace{Dir: s.dir}
	_, err := config.Load(w.Config())
	if err != nil {
		var mistakes config.Mistakes
		if c.JSON && errors.As(err, &mistakes) {
			if err := printJSON(s.out, mistakes); err != nil {
				return err
			}
			return exitCode(exitUsage)
		}
		return &batch.SetupError{Err: err}
	}
	n, err := s.open(false)
	if err != nil {
		return err
	}
	defer n.Close()
	if c.JSON {
		return printJSON(s.out, []config.Mistake{})
	}
	fmt.Fprintf(s.out, "%s: no mistake found; keys, check values and layouts are as it says\n", w.Config())
	return nil
}
