package main

import (
	"encoding/json"
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
	File      string `arg:"" help:"Name of the outgoing file, or of what a restore held."`
	Delivered bool   `help:"The recipient has it." xor:"verdict" required:""`
	Resend    bool   `help:"The recipient does not have it: send the same bytes again." xor:"verdict" required:""`
	Reason    string `help:"How that is known; it is kept in the history." required:""`
	JSON      bool   `help:"Print the file's state as JSON."`
}

// Run settles an UNDECIDED transfer, or what a restore held and a lost night had made.
func (c *resolveCommand) Run(s *session) error {
	if done, err := c.hold(s); done || err != nil {
		return err
	}
	return settle(s, c.JSON, func(n *batch.Night) (ledger.BureauFile, error) {
		if c.Delivered {
			return n.ResolveDelivered(s, c.File, c.Reason)
		}
		return n.ResolveResend(s, c.File, c.Reason)
	})
}

// hold settles a hold; done is false where the name is none's.
func (c *resolveCommand) hold(s *session) (done bool, err error) {
	n, err := s.open(true)
	if err != nil {
		return false, err
	}
	defer n.Close()
	if _, held, err := n.HoldNamed(s, c.File); err != nil || !held {
		return false, err
	}
	if c.Resend {
		return false, &batch.SetupError{Err: fmt.Errorf("%s is no file yet; reemboss approve has it written", c.File)}
	}
	orders, err := n.ResolveHold(s, c.File, c.Reason)
	if err != nil {
		return false, err
	}
	if c.JSON {
		return true, printJSON(s.out, map[string]any{"name": c.File, "sequence": 0, "state": ledger.HoldCancelled, "made": orders})
	}
	fmt.Fprintf(s.out, "%s is settled; its %d cards were made by a lost night, are not made again, and count as sent\n", c.File, orders)
	fmt.Fprintln(s.out, "No later file to the card system or with PINs will have them; ask both whether they got them from that night.")
	return true, nil
}

type cancelCommand struct {
	File   string `arg:"" help:"Name of the outgoing file that the bureau refused, of a planned one that cannot be written, of one that did not arrive and whose bytes are lost, or of what is held."`
	Reason string `help:"Why; it is kept in the history." required:""`
	JSON   bool   `help:"Print the file's state as JSON."`
}

// Run gives up a file that was refused or could never be written (its number is VOID, its orders go into the next one)
// or a hold (its orders are CANCELLED).
func (c *cancelCommand) Run(s *session) error {
	n, err := s.open(true)
	if err != nil {
		return err
	}
	defer n.Close()
	if _, held, err := n.HoldNamed(s, c.File); err != nil || held {
		if err != nil {
			return err
		}
		return c.hold(s, n)
	}
	f, moved, err := n.Cancel(s, c.File, c.Reason)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.out, map[string]any{"name": f.Name, "bureau": f.Recipient, "sequence": f.Sequence, "state": f.State, "moved": moved})
	}
	fmt.Fprintf(s.out, "%s is %s; %d of its %d cards go into the next file of %s with the next run\n", f.Name, f.State, moved, f.Records, f.Recipient)
	return nil
}

// hold drops what is held.
func (c *cancelCommand) hold(s *session, n *batch.Night) error {
	orders, err := n.CancelHold(s, c.File, c.Reason)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.out, map[string]any{"name": c.File, "sequence": 0, "state": ledger.HoldCancelled, "cancelled": orders})
	}
	fmt.Fprintf(s.out, "%s is %s; no number was taken, %d orders are cancelled and their cards are what they were before\n", c.File, ledger.HoldCancelled, orders)
	return nil
}

type settleCommand struct {
	What      string `arg:"" help:"Number of a disputed event, or name of a return file that is in quarantine or has lines that could not be used."`
	Keep      bool   `help:"What is known stands; the event counts for nothing." xor:"verdict" required:""`
	Take      bool   `help:"The event is right, whatever it contradicts." xor:"verdict" required:""`
	ReadAgain bool   `help:"What was wrong on our side is mended: read the return file again with the next run." xor:"verdict" required:""`
	Dismiss   bool   `help:"Nothing of the return file will be used." xor:"verdict" required:""`
	Reason    string `help:"How that is known; it is kept in the history." required:""`
}

// Run settles what a bureau told and nobody here can believe or refute.
func (c *settleCommand) Run(s *session) error {
	n, err := s.open(true)
	if err != nil {
		return err
	}
	defer n.Close()
	word := batch.Dismiss
	switch {
	case c.Keep:
		word = batch.Keep
	case c.Take:
		word = batch.Take
	case c.ReadAgain:
		word = batch.ReadAgain
	}
	told, err := n.Settle(s, c.What, word, c.Reason)
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, told)
	return nil
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
		if !failed && stoodThere(f) {
			fmt.Fprintln(s.out, "It stood at the bureau already, and nothing was sent. If the bureau will not take it up there, have it taken away and send it again.")
		}
	}
	if failed {
		fmt.Fprintf(s.err, "reemboss: %v\n", theirs)
	}
	if failed || f.State != ledger.Sent {
		return exitCode(exitPerson)
	}
	return nil
}

// stoodThere says that a file is SENT because the bureau still had it under its name.
func stoodThere(f ledger.BureauFile) bool {
	var ev bureau.Evidence
	return f.State == ledger.Sent && json.Unmarshal(f.Evidence, &ev) == nil && ev.Seen == bureau.SeenAlreadySent
}
