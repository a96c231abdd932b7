package main

import (
	"cmp"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"reemboss/batch"
	"reemboss/batch/config"
	"reemboss/bureau"
)

type bureauCommand struct {
	PinHost  bureauPinHostCommand  `cmd:"" help:"Show a bureau's SSH host keys, and pin the one whose fingerprint the bureau told by another way."`
	Simulate bureauSimulateCommand `cmd:"" help:"Start the simulated bureaus of the workspace and say what they receive, until interrupted."`
}

type bureauSimulateCommand struct {
	Bureau string `arg:"" optional:"" help:"Only this bureau."`
	Addr   string `help:"Loopback address and port to listen on." default:"127.0.0.1:0"`

	Answer bool   `help:"Write return files every few seconds." xor:"answers"`
	Once   bool   `help:"Write the return files that are due, and end; nothing listens." xor:"answers"`
	At     string `help:"With --once: as if it were then (2026-10-01T06:00:00Z, or from now: +30h). What is told is told: an earlier time then brings nothing." placeholder:"TIME"`

	Seed        *int  `help:"Of all that is left to chance." group:"Answers, instead of the configuration's simulation; for files of which nothing was told yet"`
	Reject      *int  `help:"Percent of the cards that are rejected." group:"Answers, instead of the configuration's simulation; for files of which nothing was told yet"`
	Return      *int  `help:"Percent of the cards whose mail comes back." group:"Answers, instead of the configuration's simulation; for files of which nothing was told yet"`
	Lose        *int  `help:"Percent of the cards that are lost on the way." group:"Answers, instead of the configuration's simulation; for files of which nothing was told yet"`
	Late        *int  `help:"Percent of the events that are told late." group:"Answers, instead of the configuration's simulation; for files of which nothing was told yet"`
	LateDays    *int  `help:"How many days late at most." group:"Answers, instead of the configuration's simulation; for files of which nothing was told yet"`
	Twice       *int  `help:"Percent of the events that are told twice." group:"Answers, instead of the configuration's simulation; for files of which nothing was told yet"`
	RefuseFiles *int  `help:"Percent of the files that are refused as a whole." group:"Answers, instead of the configuration's simulation; for files of which nothing was told yet"`
	Shuffle     *bool `help:"Lines of a return file in no order." negatable:"" group:"Answers, instead of the configuration's simulation; for files of which nothing was told yet"`
}

// answerEvery is the pause of --answer.
const answerEvery = 2 * time.Second

// Run serves until it is interrupted, or answers once.
func (c *bureauSimulateCommand) Run(s *session) error {
	n, err := s.open(false)
	if err != nil {
		return err
	}
	defer n.Close()
	names, err := c.names(n)
	if err != nil {
		return err
	}
	at, err := c.time(n)
	if err != nil {
		return err
	}
	var simulators []*bureau.Simulator
	for _, name := range names {
		c.override(n, name)
		sim, err := n.NewSimulatorFor(name, batch.SimulatorEars{
			Received: func(r bureau.Received) { fmt.Fprintln(s.out, batch.DescribeReceived(name, r)) },
			Answered: func(file string, answers []bureau.Answer) {
				fmt.Fprintln(s.out, batch.DescribeAnswers(name, n.Path("simulator", name, "returns", file), answers))
			},
		})
		if err != nil {
			return err
		}
		simulators = append(simulators, sim)
		if c.Once {
			err = errors.Join(c.once(s, name, sim, at), sim.Close())
			if err != nil {
				return err
			}
			continue
		}
		if err := sim.Start(s, c.Addr); err != nil {
			return &batch.SetupError{Err: err}
		}
		defer sim.Close()
		fmt.Fprintf(s.out, "%s listens on %s; files go to %s\n", name, sim.Addr(), n.Path("simulator", name, "incoming"))
	}
	if c.Once {
		return nil
	}
	return c.serve(s, n, simulators)
}

// names are the simulated bureaus that were asked for.
func (c *bureauSimulateCommand) names(n *batch.Night) ([]string, error) {
	var names []string
	for name, b := range n.Config.Bureaus {
		if b.Simulator && (c.Bureau == "" || c.Bureau == name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, &batch.SetupError{Err: fmt.Errorf("the configuration has no simulated bureau %s (simulator: true)", c.Bureau)}
	}
	sort.Strings(names)
	return names, nil
}

// time is when --once answers.
func (c *bureauSimulateCommand) time(n *batch.Night) (time.Time, error) {
	if c.At == "" {
		return n.Now(), nil
	}
	if !c.Once {
		return time.Time{}, &batch.SetupError{Err: errors.New("--at goes with --once: a bureau that runs keeps the real time")}
	}
	if n.Config.Environment != config.Test {
		return time.Time{}, &batch.SetupError{Err: errors.New("--at is for environment: test")}
	}
	if ahead, err := time.ParseDuration(c.At); err == nil && strings.HasPrefix(c.At, "+") {
		return n.Now().Add(ahead), nil
	}
	at, err := time.Parse(time.RFC3339, c.At)
	if err != nil {
		return time.Time{}, &batch.SetupError{Err: fmt.Errorf("--at %q is no time such as 2026-10-01T06:00:00Z, and no time from now such as +30h", c.At)}
	}
	return at, nil
}

// override puts the flags in the place of the configuration. A bureau that was
// asked to answer answers, also where nobody fetches it.
func (c *bureauSimulateCommand) override(n *batch.Night, name string) {
	b := n.Config.Bureaus[name]
	s := &b.Simulation
	for _, share := range []struct {
		flag *int
		of   *int
	}{
		{c.Seed, &s.Seed}, {c.Reject, &s.Reject}, {c.Return, &s.Return}, {c.Lose, &s.Lose}, {c.Late, &s.Late},
		{c.LateDays, &s.LateDays}, {c.Twice, &s.Twice}, {c.RefuseFiles, &s.RefuseFiles},
	} {
		if share.flag != nil {
			*share.of = *share.flag
		}
	}
	if c.Shuffle != nil {
		s.Shuffle = *c.Shuffle
	}
	if c.Answer || c.Once {
		s.Answers, b.Returns.Dir = true, cmp.Or(b.Returns.Dir, "returns")
	}
	n.Config.Bureaus[name] = b
}

func (c *bureauSimulateCommand) once(s *session, name string, sim *bureau.Simulator, at time.Time) error {
	written, err := sim.Answer(at)
	if err == nil && len(written) == 0 {
		fmt.Fprintf(s.out, "%s has nothing new to tell at %s\n", name, at.UTC().Format(time.RFC3339))
	}
	return err
}

// serve waits for the interruption, answering meanwhile where that was asked for.
func (c *bureauSimulateCommand) serve(s *session, n *batch.Night, simulators []*bureau.Simulator) error {
	if !c.Answer {
		<-s.Done()
		return nil
	}
	tick := time.NewTicker(answerEvery)
	defer tick.Stop()
	for {
		for _, sim := range simulators {
			if _, err := sim.Answer(n.Now()); err != nil {
				return err
			}
		}
		select {
		case <-s.Done():
			return nil
		case <-tick.C:
		}
	}
}
