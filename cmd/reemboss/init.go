package main

import (
	"crypto/rand"
	"fmt"
	"time"

	"reemboss/batch"
)

type initCommand struct {
	Folder string `arg:"" name:"dir" help:"A new or empty folder." type:"path"`
}

// Run makes the workspace.
func (c *initCommand) Run(s *session) error {
	if err := batch.Init(c.Folder, time.Now(), rand.Reader); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s is a workspace with fresh keys and two simulated bureaus.\n\n", c.Folder)
	fmt.Fprintf(s.out, "  put card extracts into   %s\n", batch.Workspace{Dir: c.Folder}.InboxCards())
	fmt.Fprintf(s.out, "  put request files into   %s\n", batch.Workspace{Dir: c.Folder}.Inbox())
	fmt.Fprintf(s.out, "  then run                 reemboss --dir %s run\n", c.Folder)
	return nil
}
