package batch

import (
	"context"
	"slices"

	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/formats/iso"
)

// This file is the way of every sentence that is kept, logged or reported. What senders, bureaus and libraries say is
// quoted in many of them (names of sheets, parts and files, errors), and may hold a card number. So none of them gets
// to a log, the ledger or a report but through here; the reports ask once more, for what former versions kept.

// safe is a text with every card number masked that the index knows or that one of our products could have. It asks
// without the context of the run: what is told of a night that is being stopped is masked no less, and no more.
func (n *Night) safe(text string) string {
	if n.Ledger == nil || n.Config == nil { // told before anybody could be asked
		return iso.MaskLikely(text)
	}
	return n.masker(context.Background())(text)
}

// need puts something before a person, in the report.
func (n *Night) need(need report.Need) {
	need.What, need.Why, need.Command = n.safe(need.What), n.safe(need.Why), n.safe(need.Command)
	need.Or = slices.Clone(need.Or)
	for i, command := range need.Or {
		need.Or[i] = n.safe(command)
	}
	n.needs = append(n.needs, need)
}

// keepFile changes a request file in the ledger, and with it what is told of it as a whole.
func (n *Night) keepFile(ctx context.Context, f ledger.RequestFile, answer *ledger.Answer, entry *ledger.AuditEntry) error {
	f.Detail = n.safe(f.Detail)
	f.Notes = slices.Clone(f.Notes)
	for i, note := range f.Notes {
		f.Notes[i] = n.safe(note)
	}
	if answer != nil {
		kept := *answer
		kept.Message = n.safe(kept.Message)
		answer = &kept
	}
	return n.Ledger.UpdateFile(ctx, f, answer, entry)
}
