package batch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/returns"
)

// What a person decides about what a bureau sent back. Each act is recorded with its reason in the audit chain.

// Settlement is the word of a person.
type Settlement string

// The words. Keep and Take are for a disputed event, Dismiss for a quarantined return file, ReadAgain for
// one of these or one with lines that were not used.
const (
	Keep      Settlement = "keep"       // what is known stands
	Take      Settlement = "take"       // the event counts, whatever it contradicts
	ReadAgain Settlement = "read-again" // what was wrong on our side is mended
	Dismiss   Settlement = "dismiss"    // nothing of the file will be used
)

// Settle settles a disputed event (what is its number) or a return file of which
// not all was used (what is its name) and says in one sentence what follows.
func (n *Night) Settle(ctx context.Context, what string, word Settlement, reason string) (string, error) {
	reason, err := n.reasoned(ctx, reason)
	if err != nil {
		return "", err
	}
	switch word {
	case Keep, Take:
		if id, err := strconv.ParseInt(what, 10, 64); err == nil {
			return n.settleEvent(ctx, id, word, reason)
		}
		return n.settleAll(ctx, what, word, reason)
	}
	return n.settleReturn(ctx, what, word, reason)
}

// settleAll settles every disputed event that one return file told of.
func (n *Night) settleAll(ctx context.Context, name string, word Settlement, reason string) (string, error) {
	files, err := n.Ledger.ReturnFiles(ctx, ledger.ReturnQuery{})
	if err != nil {
		return "", err
	}
	told := map[int64]bool{}
	for _, f := range files {
		if f.Name == name || f.Final != "" && (f.Final == filepath.ToSlash(name) || n.Path(f.Final) == name) {
			told[f.ID] = true
		}
	}
	disputes, _, err := n.Ledger.Disputes(ctx, 0)
	if err != nil {
		return "", err
	}
	var settled int
	var refused []string
	for _, e := range disputes {
		if !told[e.ReturnID] {
			continue
		}
		var cannot *SetupError
		_, err := n.settleEvent(ctx, e.ID, word, reason)
		switch {
		case errors.As(err, &cannot):
			refused = append(refused, cannot.Error())
		case err != nil:
			return "", err
		default:
			settled++
		}
	}
	switch {
	case settled+len(refused) == 0:
		return "", setup("%s is neither the number of a disputed event nor a return file with one; the report and reemboss card show the numbers", printable(name))
	case len(refused) > 0:
		return "", setup("%d events are settled and %d are not, of which the first: %s", settled, len(refused), refused[0])
	}
	return fmt.Sprintf("%d events are settled.", settled), nil
}

func (n *Night) settleEvent(ctx context.Context, id int64, word Settlement, reason string) (string, error) {
	e, err := n.Ledger.Event(ctx, id)
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return "", setup("there is no event %d; the report and reemboss card show the numbers of those that wait", id)
	case err != nil:
		return "", err
	case e.Dispute == "":
		return "", setup("event %d is not disputed; there is nothing to settle", id)
	case !e.SettledAt.IsZero():
		return "", setup("event %d was settled on %s (%s)", id, e.SettledAt.UTC().Format("2006-01-02"), e.Settlement)
	}
	subject := e.UID
	if subject == "" {
		subject = fmt.Sprintf("bureau file %d", e.FileID)
	}
	entry := n.entry("event.settled", subject, fmt.Sprintf("event %d %s: %s: %s", id, e.Status, word, reason))
	if word == Keep {
		err := n.Ledger.SettleEvent(ctx, id, n.Now(), fmt.Sprintf("kept by %s: %s", n.who, reason), nil, "", nil, entry)
		return fmt.Sprintf("What was known stands; event %d (%s) counts for nothing.", id, e.Status), err
	}
	settlement := fmt.Sprintf("taken by %s: %s", n.who, reason)
	if e.UID == "" {
		return n.takeFileEvent(ctx, e, settlement, entry)
	}
	return n.takeEvent(ctx, e, settlement, entry)
}

// takeEvent makes an order what a disputed event says.
func (n *Night) takeEvent(ctx context.Context, e ledger.Event, settlement string, entry ledger.AuditEntry) (string, error) {
	found, err := n.Ledger.Shipments(ctx, []string{e.UID})
	if err != nil {
		return "", err
	}
	s := found[e.UID]
	switch {
	case s == nil:
		return "", setup("the order of event %d is not in the ledger", e.ID)
	case s.State == ledger.Cancelled:
		return "", setup("the order of event %d was cancelled, so its card is in no file; settle it with --keep", e.ID)
	case s.State == ledger.Queued:
		if err := n.madeFromLeft(ctx, &e, s); err != nil {
			return "", err
		}
	case s.BureauFileID != e.FileID:
		return "", setup("the card went into a later file (%s) since, and the event speaks of the one before; settle event %d with --keep", s.FileName, e.ID)
	}
	taken := e
	taken.ID, taken.Source, taken.Dispute, taken.RecordedAt, taken.RunID = 0, ledger.FromPerson, "", n.Now(), ""
	turn := rules.Take(string(s.State), rules.Happened{Status: e.Status, At: e.At, Code: e.Code, Source: ledger.FromPerson})
	taken.State, taken.Acked, taken.Rejected = ledger.OrderState(turn.State), turn.Acked, turn.Rejected
	if err := n.Ledger.SettleEvent(ctx, e.ID, n.Now(), settlement, &taken, s.State, nil, entry); err != nil {
		return "", err
	}
	return fmt.Sprintf("The card is now %s (it was %s).", taken.State, s.State), nil
}

// madeFromLeft says why the card of a queued order cannot have been made from a file that the order left; nil where it
// can, and then the event is of that file.
func (n *Night) madeFromLeft(ctx context.Context, e *ledger.Event, s *ledger.Shipment) error {
	if s.HoldID != 0 {
		held, err := n.Ledger.Holds(ctx, ledger.HoldQuery{Bureau: s.Bureau, Open: true})
		if err != nil {
			return err
		}
		for _, h := range held {
			if h.ID == s.HoldID && h.Restored {
				return setup("the card waits in %s since the ledger was restored: reemboss resolve %s --delivered where its cards were made, else settle event %d with --keep", h.Name, h.Name, e.ID)
			}
		}
	}
	switch {
	case len(s.Left) == 0:
		return setup("the card waits for the bureau's next file and was in none before, so nothing can have happened to it; settle event %d with --keep", e.ID)
	case e.FileID == 0: // of a ledger that did not keep which
		e.FileID = s.Left[len(s.Left)-1]
	}
	return nil
}

// takeFileEvent lets a disputed answer about a whole file count.
func (n *Night) takeFileEvent(ctx context.Context, e ledger.Event, settlement string, entry ledger.AuditEntry) (string, error) {
	f, err := n.fileByID(ctx, e.FileID)
	if err != nil {
		return "", err
	}
	taken := e
	taken.ID, taken.Source, taken.Dispute, taken.RecordedAt, taken.RunID = 0, ledger.FromPerson, "", n.Now(), ""
	answer := ledger.FileAnswer{Event: taken, Delivered: f.State == ledger.Undecided || f.State == ledger.Renaming,
		Acknowledge: e.Status == returns.Received, Refuse: e.Status == returns.Refused}
	had := f.State == ledger.Sent
	switch f.State {
	case ledger.Void:
		return n.takeVoid(ctx, e, f, answer, settlement, entry)
	case ledger.Refused: // the bureau took it after all
		answer.Delivered = answer.Acknowledge
	case ledger.Written, ledger.Intent, ledger.Uploaded: // of the sending before, that is about to be repeated
		last, err := n.lastOutcome(ctx, f)
		if err != nil {
			return "", err
		}
		answer.Delivered = last == ledger.Undecided // it had it, though a person was told that it had not
		had = last == ledger.Sent
	}
	if !answer.Delivered && !had {
		return "", setup("%s is %s: what the bureau says of it cannot count; settle event %d with --keep", f.Name, f.State, e.ID)
	}
	said := "acknowledged; every card of it that was outstanding is"
	if answer.Refuse {
		said = "refused; send it again or cancel it"
	}
	if answer.Delivered {
		answer.Evidence = []byte(fmt.Sprintf(`{"decided_by":%q,"event":%d}`, n.who, e.ID))
	}
	if err := n.Ledger.SettleEvent(ctx, e.ID, n.Now(), settlement, nil, "", &answer, entry); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s counts as %s.", f.Name, said), n.marks.raise(ctx, n.Ledger)
}

// takeVoid lets a bureau's word count that it has a file which was cancelled: the cards of it that wait for another file
// were made from it, and go back into it. It stays VOID, for its bytes are never sent again.
func (n *Night) takeVoid(ctx context.Context, e ledger.Event, f ledger.BureauFile, answer ledger.FileAnswer, settlement string, entry ledger.AuditEntry) (string, error) {
	waiting, err := n.Ledger.LeftWaiting(ctx, f.ID)
	if err != nil {
		return "", err
	}
	if waiting == 0 || !answer.Acknowledge {
		return "", setup("%s is VOID and no card that left it waits for another file: what the bureau says of it cannot count; settle event %d with --keep", f.Name, e.ID)
	}
	if err := n.Ledger.SettleEvent(ctx, e.ID, n.Now(), settlement, nil, "", &answer, entry); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s counts as acknowledged: %s of it that waited for another file will not be made again.", f.Name, counted(waiting, "card")), n.marks.raise(ctx, n.Ledger)
}

func (n *Night) fileByID(ctx context.Context, id int64) (ledger.BureauFile, error) {
	files, err := n.Ledger.BureauFiles(ctx, ledger.FileQuery{Brief: true})
	for _, f := range files {
		if f.ID == id {
			return f, err
		}
	}
	if err == nil {
		err = fmt.Errorf("bureau file %d: %w", id, ledger.ErrNotFound)
	}
	return ledger.BureauFile{}, err
}

// settleReturn settles a return file of which not all was used. To read again what
// was applied is harmless: what the ledger has of it is known.
func (n *Night) settleReturn(ctx context.Context, name string, word Settlement, reason string) (string, error) {
	file, err := n.unused(ctx, name, word)
	if err != nil {
		return "", err
	}
	entry := n.entry("return.settled", printable(file.Name), string(word)+": "+reason)
	if word == ReadAgain {
		if file.State == ledger.ReturnApplied { // a quarantined one's bytes are held
			if err := n.holdPlaced(&file); err != nil {
				return "", err
			}
		}
		if err := n.Ledger.RewindReturn(ctx, file.ID, file.Held, entry); err != nil {
			return "", err
		}
		return fmt.Sprintf("The next run reads %s again.", printable(file.Name)), nil
	}
	held := n.Path(file.Held)
	file.State, file.Held = ledger.ReturnDismissed, ""
	if err := n.Ledger.UpdateReturn(ctx, file, &entry); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is dismissed; it stays in %s and nothing of it is used.", printable(file.Name), file.Final), n.Files.Remove(held)
}

// unused finds by its name, or by where it lies, the return file that a word is
// for: a quarantined one, and to be read again also one with lines that were not
// used; by its place any that was applied, for a mapping may have skipped too much.
func (n *Night) unused(ctx context.Context, name string, word Settlement) (ledger.ReturnFile, error) {
	states, none := []ledger.ReturnState{ledger.ReturnQuarantined}, "no quarantined return file is called %s; reemboss status lists them"
	if word == ReadAgain {
		states, none = append(states, ledger.ReturnApplied), "no return file that is in quarantine, or has lines that could not be used, is called %s; reemboss status and the reports name them"
	}
	files, err := n.Ledger.ReturnFiles(ctx, ledger.ReturnQuery{States: states})
	if err != nil {
		return ledger.ReturnFile{}, err
	}
	var found []ledger.ReturnFile
	for _, f := range files {
		if f.Final == filepath.ToSlash(name) || n.Path(f.Final) == name {
			return f, nil
		}
		if (f.State == ledger.ReturnQuarantined || f.Problems > 0) && (f.Name == name || filepath.Base(f.Final) == filepath.Base(name)) {
			found = append(found, f)
		}
	}
	switch len(found) {
	case 0:
		return ledger.ReturnFile{}, setup(none, printable(name))
	case 1:
		return found[0], nil
	}
	var places []string
	for _, f := range found {
		places = append(places, f.Final)
	}
	return ledger.ReturnFile{}, setup("several such return files are called %s; name one by its place: %s", printable(name), strings.Join(places, ", "))
}
