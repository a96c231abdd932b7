package main

import (
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
	n, result, err := batch.Demo(s, folder, c.Cards, batch.Options{Log: s.logger(), Progress: s.progress()}, s.out)
	if err != nil {
		return err
	}
	defer n.Close()
	fmt.Fprintln(s.out)
	printNight(s.out, n, result)
	return n.ShowDemo(s.out)
}
