package main

import (
	"errors"
	"fmt"
	"os"

	"reemboss/batch"
)

type demoCommand struct {
	Folder string `arg:"" optional:"" name:"dir" help:"A new or empty folder; a temporary one if left out." type:"path"`
	Cards  int    `help:"How many cards to make." default:"3000"`
}

// Run shows a night.
func (c *demoCommand) Run(s *session) error {
	folder := c.Folder
	if folder == "" {
		var err error
		if folder, err = os.MkdirTemp("", "reemboss-demo-"); err != nil {
			return fmt.Errorf("make a temporary folder: %w", err)
		}
	}
	if s.level == "info" { // the demo is for people; its story is on standard output
		s.level = "error"
	}
	options := batch.Options{Log: s.logger(), Progress: s.progress()}
	n, result, err := batch.Demo(s, folder, c.Cards, options, s.out)
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out)
	printNight(s.out, n, result)
	if err := errors.Join(n.ShowDemo(s.out), n.Close()); err != nil {
		return err
	}
	n, result, err = batch.DemoAnswers(s, folder, options)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\nA day later, when the bureaus have answered:\n\n")
	printNight(s.out, n, result)
	return n.Close()
}
