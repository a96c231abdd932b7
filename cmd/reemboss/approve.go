package main

import "fmt"

type approveCommand struct {
	Name   string `arg:"" help:"Name of what is held; reemboss status lists it."`
	Reason string `help:"Why; it is kept in the history."`
	Print  bool   `help:"Decide nothing: print the text that is signed on another machine (gpg --clearsign) and dropped into inbox/."`
}

// Run releases what is held, or prints what a person signs to do so.
func (c *approveCommand) Run(s *session) error {
	n, err := s.open(!c.Print)
	if err != nil {
		return err
	}
	defer n.Close()
	if c.Print {
		text, err := n.ApprovalText(s, c.Name, c.Reason)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(s.out, text)
		return err
	}
	told, err := n.Approve(s, c.Name, c.Reason)
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, told)
	return nil
}
