package main

import (
	"fmt"
	"sort"

	"reemboss/batch"
	"reemboss/bureau"
)

type bureauCommand struct {
	Simulate bureauSimulateCommand `cmd:"" help:"Start the simulated bureaus of the workspace and say what they receive, until interrupted."`
}

type bureauSimulateCommand struct {
	Bureau string `arg:"" optional:"" help:"Only this bureau."`
	Addr   string `help:"Loopback address and port to listen on." default:"127.0.0.1:0"`
}

// Run serves until it is interrupted.
func (c *bureauSimulateCommand) Run(s *session) error {
	n, err := s.open(false)
	if err != nil {
		return err
	}
	defer n.Close()
	var names []string
	for name, b := range n.Config.Bureaus {
		if b.Simulator && (c.Bureau == "" || c.Bureau == name) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	if len(names) == 0 {
		return &batch.SetupError{Err: fmt.Errorf("the configuration has no simulated bureau %s (simulator: true)", c.Bureau)}
	}
	for _, name := range names {
		sim, err := n.NewSimulator(name, func(r bureau.Received) { fmt.Fprintln(s.out, batch.DescribeReceived(name, r)) })
		if err != nil {
			return err
		}
		if err := sim.Start(s, c.Addr); err != nil {
			return &batch.SetupError{Err: err}
		}
		defer sim.Close()
		fmt.Fprintf(s.out, "%s listens on %s; files go to %s\n", name, sim.Addr(), n.Path("simulator", name, "incoming"))
	}
	<-s.Done()
	return nil
}
