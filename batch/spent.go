package batch

import (
	"context"
	"fmt"
	"time"

	"reemboss/batch/rules"
)

// This file counts what each submitter had accepted in a night. The limit is of
// a local date, whatever runs and files it has: the count comes from the ledger
// when a submitter's first file is decided, and goes on with every accepted row.
// A process that died took only uncommitted rows with it; the next one counts
// what was committed.

// submits says whose file is decided from now on; "" for one that nobody signed.
// A person whom the configuration no longer knows may ask for nothing.
func (d *decider) submits(ctx context.Context, person string) error {
	d.submitter = nil
	if person == "" {
		return nil
	}
	if d.submitter = d.n.policy.Submitter(person); d.submitter == nil {
		return fmt.Errorf("the file was signed by %s, whom people of the configuration does not have", person)
	}
	if _, counted := d.spent[person]; counted || !d.submitter.Limited() {
		return nil
	}
	spent, err := d.n.Ledger.AcceptedOf(ctx, person, d.n.date())
	if err != nil {
		return fmt.Errorf("count the cards of %s in this night: %w", person, err)
	}
	d.spent[person] = spent
	return nil
}

func (d *decider) spentBy(s *rules.Submitter) int64 {
	if s == nil {
		return 0
	}
	return d.spent[s.Key]
}

// spend counts a row that was accepted and issued.
func (d *decider) spend() {
	if d.submitter.Limited() {
		d.spent[d.submitter.Key]++
	}
}

// date is the local date of the night: the run's, or today's where nothing runs.
func (n *Night) date() string {
	if n.run.Date != "" {
		return n.run.Date
	}
	return n.Now().In(n.zone).Format(time.DateOnly)
}
