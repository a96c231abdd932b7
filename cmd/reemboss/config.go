package main

import (
	"errors"
	"fmt"

	"reemboss/batch"
	"reemboss/batch/config"
	"reemboss/formats/iso"
)

type configCommand struct {
	Check configCheckCommand `cmd:"" help:"Every mistake of the configuration, with line and column."`
}

type configCheckCommand struct {
	JSON bool `help:"The mistakes as JSON."`
}

// Run checks the configuration, then the keys and layouts it names.
func (c *configCheckCommand) Run(s *session) error {
	err := batch.CheckConfig(s, s.dir, batch.Options{Log: s.logger()})
	var mistakes config.Mistakes
	if c.JSON && (err == nil || errors.As(err, &mistakes)) {
		for i := range mistakes {
			mistakes[i].Message, mistakes[i].Path = iso.MaskLikely(mistakes[i].Message), iso.MaskLikely(mistakes[i].Path)
		}
		if err := printJSON(s.out, append([]config.Mistake{}, mistakes...)); err != nil {
			return err
		}
		if len(mistakes) > 0 {
			return exitCode(exitUsage)
		}
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s: no mistake found; keys, check values and layouts are as it says\n", batch.Workspace{Dir: s.dir}.Config())
	return nil
}
