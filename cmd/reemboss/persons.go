package main

import (
	"errors"
	"fmt"

	"reemboss/batch"
	"reemboss/batch/ledger"
	"reemboss/bureau"
)

type resendCommand struct {
	File   string `arg:"" help:"Name of the outgoing file."`
	Reason string `help:"Why; it is kept in the history." required:""`
	JSON   bool   `help:"Print the file's state as JSON."`
}

// Run sends the same bytes again.
func (c *resendCommand) Run(s *session) error {
	return settle(s, c.JSON, func(n *batch.Night) (ledger.BureauFile, error) { return n.Resend(s, c.File, c.Reason) })
}

type resolveCommand struct {
	File      string `arg:"" help:"Name of the outgoing file."`
	Delivered bool   `help:"The recipient has it." xor:"verdict" required:""`
	Resend    bool   `help:"The recipient does not have it: send the same bytes again." xor:"verdict" required:""`
	Reason    string `help:"How that is known; it is kept in the history." required:""`
	JSON      bool   `help:"Print the file's state as JSON."`
}

// Run settles an UNDECIDED transfer.
func (c *resolveCommand) Run(s *session) error {
	return settle(s, c.JSON, func(n *batch.Night) (ledger.BureauFile, error) {
		if c.Delivered {
			return n.ResolveDelivered(s, c.File, c.Reason)
		}
		return n.ResolveResend(s, c.File, c.Reason)
	})
}

// settle runs what a person decided about one file and tells its state. A transfer that failed again waits for a person.
func settle(s *session, asJSON bool, act func(*batch.Night) (ledger.BureauFile, error)) error {
	n, err := s.open(true)
	if err != nil {
		return err
	}
	defer n.Close()
	f, err := act(n)
	var theirs *bureau.Error
	failed := errors.As(err, &theirs)
	if err != nil && !failed {
		return err
	}
	if asJSON {
		if err := printJSON(s.out, map[string]any{"name": f.Name, "bureau": f.Recipient, "sequence": f.Sequence, "state": f.State, "error": f.LastError}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(s.out, "%s is %s\n", f.Name, f.State)
	}
	if failed {
		fmt.Fprintf(s.err, "reemboss: %v\n", theirs)
	}
	if f.State != ledger.Sent {
		return exitCode(exitPerson)
	}
	return nil
}
