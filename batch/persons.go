package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/bureau"
	"reemboss/formats/returns"
)

// What a person decides about an outgoing file. Each act is recorded with its
// reason in the file's history and in the audit chain.

// file finds an outgoing file by name; the folder in front and a missing .pgp do not matter.
func (n *Night) file(ctx context.Context, name string) (ledger.BureauFile, error) {
	base := filepath.Base(name)
	f, err := n.Ledger.FileByName(ctx, base)
	if errors.Is(err, ledger.ErrNotFound) && !strings.HasSuffix(base, ".pgp") {
		f, err = n.Ledger.FileByName(ctx, base+".pgp")
	}
	if errors.Is(err, ledger.ErrNotFound) {
		return f, setup("no outgoing file is called %s; reemboss status lists them", printable(base))
	}
	return f, err
}

// given refuses a decision without a reason: nobody could account for it later.
func given(reason string) error {
	switch strings.TrimSpace(reason) {
	case "":
		return setup("--reason is blank; say how it is known, it is kept in the history")
	case "…", "...":
		return setup("--reason is only the dots of the report's command; write how it is known, it is kept in the history")
	}
	return nil
}

// reasoned is a given reason as it may be kept: people write card numbers into it, and it stays in histories, reports, mails and the audit log.
func (n *Night) reasoned(ctx context.Context, reason string) (string, error) {
	return n.wrote(ctx, reason), given(reason)
}

// wrote is what a person wrote as it may be kept and told.
func (n *Night) wrote(ctx context.Context, text string) string { return n.masker(ctx)(printable(text)) }

// undisputed refuses to send a file again, or to make its cards in another one, while what the bureau tells of it, or of
// one of its cards, contradicts that the bureau has made nothing of it.
func (n *Night) undisputed(ctx context.Context, f ledger.BureauFile) error {
	if f.State != ledger.Refused && f.State != ledger.Undecided {
		return nil
	}
	why, err := n.contradicted(ctx, f)
	if err == nil && why != "" {
		err = setup("%s: %s", f.Name, why)
	}
	return err
}

// contradicted says which disputed events of a file, or of its cards, wait for a person; "" for none.
func (n *Night) contradicted(ctx context.Context, f ledger.BureauFile) (string, error) {
	all, _, err := n.Ledger.Disputes(ctx, 0)
	if err != nil {
		return "", err
	}
	var ids []int64
	for _, e := range all {
		if e.FileID == f.ID {
			ids = append(ids, e.ID)
		}
	}
	if len(ids) == 0 {
		return "", nil
	}
	return "the bureau tells of it what contradicts that it made nothing of it: " + settleFirst(ids), nil
}

// settleFirst says what to do about disputed events before a card is made that they may speak of.
func settleFirst(ids []int64) string {
	const told = 10 // the others stand in the report of a later night, or are settled with their return file
	var names []string
	for _, id := range ids[:min(len(ids), told)] {
		names = append(names, strconv.FormatInt(id, 10))
	}
	more := ""
	if len(ids) > told {
		more = fmt.Sprintf(" and %d more", len(ids)-told)
	}
	return fmt.Sprintf("settle event %s%s first (reemboss settle EVENT --keep or --take), or a card may be made twice", strings.Join(names, ", "), more)
}

// unmade refuses to send a refused file again of which a card was made after all: the same bytes would make it twice.
func (n *Night) unmade(ctx context.Context, f ledger.BureauFile) error {
	if f.State != ledger.Refused {
		return nil
	}
	states, err := n.Ledger.OrderStates(ctx, f.ID)
	if err != nil {
		return err
	}
	made := ledger.Made(states)
	if made == 0 {
		return nil
	}
	return setup("%s of %s came to be made all the same, and the same bytes would make %s again: reemboss cancel puts the others into the next file", counted(made, "card"), f.Name, them(made))
}

func them(n int64) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

// overtaken says why a repetition that a crash cut does not go on: the bureau told meanwhile what the person who asked for it
// did not know. "" for a file that is sent for the first time, and for one that may have arrived, at which to look is no harm.
func (n *Night) overtaken(ctx context.Context, f ledger.BureauFile) (string, error) {
	if f.State == ledger.Renaming {
		return "", nil
	}
	last, err := n.lastOutcome(ctx, f)
	switch {
	case err != nil || last == "":
		return "", err
	case last != ledger.Sent:
		return n.contradicted(ctx, f)
	}
	asked, err := n.askedAgain(ctx, f)
	if err != nil {
		return "", err
	}
	told, err := n.Ledger.FileEvents(ctx, f.ID)
	for _, e := range told {
		if e.Status == returns.Received && e.Dispute == "" && !e.RecordedAt.Before(asked) {
			return "the bureau acknowledged it after the repetition was asked for, and before anything was sent", err
		}
	}
	return "", err
}

// askedAgain is when the repetition at work was asked for.
func (n *Night) askedAgain(ctx context.Context, f ledger.BureauFile) (at time.Time, err error) {
	history, err := n.Ledger.Deliveries(ctx, f.ID)
	for _, step := range history {
		switch {
		case step.State == ledger.Sent:
			at = time.Time{}
		case step.State == ledger.Written && at.IsZero():
			at = step.At
		}
	}
	return at, err
}

// ResolveDelivered settles an UNDECIDED transfer: a person knows that the recipient has the file. So may one do who said that
// it has not, as long as nothing was sent since: the repetition is given up.
func (n *Night) ResolveDelivered(ctx context.Context, name, reason string) (ledger.BureauFile, error) {
	reason, err := n.reasoned(ctx, reason)
	if err != nil {
		return ledger.BureauFile{}, err
	}
	f, err := n.maybeDelivered(ctx, name)
	if err != nil {
		return f, err
	}
	evidence, err := json.Marshal(map[string]any{"decided_by": n.who, "reason": reason, "size": f.Size, "at": n.Now().UTC()})
	if err != nil {
		return f, fmt.Errorf("keep the decision: %w", err)
	}
	err = n.Ledger.ChangeFile(ctx, ledger.FileChange{FileID: f.ID, From: []ledger.BureauFileState{f.State}, To: ledger.Sent,
		At: n.Now(), RunID: f.RunID, Evidence: evidence, Reason: reason, Entry: n.audit("file.resolved", f.Name, "delivered: "+reason)})
	if err != nil {
		return f, err
	}
	return n.Ledger.FileByName(ctx, f.Name)
}

// ResolveResend settles an UNDECIDED transfer: a person knows that the recipient does not have the file. The same bytes go out again.
func (n *Night) ResolveResend(ctx context.Context, name, reason string) (ledger.BureauFile, error) {
	reason, err := n.reasoned(ctx, reason)
	if err != nil {
		return ledger.BureauFile{}, err
	}
	f, err := n.undecided(ctx, name)
	if err != nil {
		return f, err
	}
	if f.SHA256 == "" { // a restored ledger knows its plan and no bytes: the next run makes it and sends it
		err := n.Ledger.ChangeFile(ctx, ledger.FileChange{FileID: f.ID, From: []ledger.BureauFileState{ledger.Undecided}, To: ledger.Planned,
			At: n.Now(), RunID: f.RunID, Reason: reason, Entry: n.audit("file.resolved", f.Name, "to be written: "+reason)})
		if err != nil {
			return f, err
		}
		return n.Ledger.FileByName(ctx, f.Name)
	}
	if err := n.undisputed(ctx, f); err != nil {
		return f, err
	}
	return n.again(ctx, f, "file.resolved", "resend: "+reason, reason)
}

// maybeDelivered finds a file of which nobody but a person knows whether it arrived: an UNDECIDED one, or one that was and
// is to be sent again, and of which nothing was renamed since.
func (n *Night) maybeDelivered(ctx context.Context, name string) (ledger.BureauFile, error) {
	f, err := n.file(ctx, name)
	if err != nil {
		return f, err
	}
	switch f.State {
	case ledger.Written, ledger.Intent, ledger.Uploaded:
		last, err := n.lastOutcome(ctx, f)
		if err != nil || last == ledger.Undecided {
			return f, err
		}
	}
	return n.undecided(ctx, name)
}

func (n *Night) undecided(ctx context.Context, name string) (ledger.BureauFile, error) {
	f, err := n.file(ctx, name)
	if err == nil && f.State != ledger.Undecided {
		err = setup("%s is %s, not UNDECIDED; there is nothing to resolve", f.Name, f.State)
	}
	return f, err
}

// Resend sends a file that was SENT, or that the bureau REFUSED, once more: the same bytes under the same name and number, recorded.
func (n *Night) Resend(ctx context.Context, name, reason string) (ledger.BureauFile, error) {
	reason, err := n.reasoned(ctx, reason)
	if err != nil {
		return ledger.BureauFile{}, err
	}
	f, err := n.file(ctx, name)
	if err != nil {
		return f, err
	}
	if f.State != ledger.Sent && f.State != ledger.Refused {
		return f, setup("%s is %s; only a file that was SENT or REFUSED can be sent again (an UNDECIDED one: reemboss resolve; a VOID one never; the others go out with the next run)", f.Name, f.State)
	}
	if err := n.undisputed(ctx, f); err != nil {
		return f, err
	}
	if err := n.unmade(ctx, f); err != nil {
		return f, err
	}
	if err := n.notAskedSince(ctx, f); err != nil {
		return f, err
	}
	return n.again(ctx, f, "file.resent", reason, reason)
}

// notAskedSince refuses to send a file again of which a card was asked for once more since, or replaced: its bytes cannot be
// changed, and that card would be made twice, or under the number of a stolen one.
func (n *Night) notAskedSince(ctx context.Context, f ledger.BureauFile) error {
	cards, first, err := n.Ledger.AskedSince(ctx, f.ID)
	if err != nil || cards == 0 {
		return err
	}
	others := "where the bureau does not have it, have the bureau refuse it in a return file, then reemboss cancel puts its other cards into the next file"
	if f.State == ledger.Refused {
		others = "reemboss cancel puts its other cards into the next file"
	}
	if cards == 1 {
		return setup("%s is not sent again: its card %d was asked for again since, and would be made twice; %s", f.Name, first, others)
	}
	return setup("%s is not sent again: %d of its cards were asked for again since (card %d is one of them), and would be made twice; %s", f.Name, cards, first, others)
}

// again puts a frozen file back to WRITTEN, with the reason, and delivers it.
func (n *Night) again(ctx context.Context, f ledger.BureauFile, what, detail, reason string) (ledger.BureauFile, error) {
	if err := n.stillKept(ctx, f); err != nil {
		return f, err
	}
	if err := n.intact(f); err != nil {
		instead := ""
		switch f.State {
		case ledger.Undecided:
			instead = ". Where they are lost and the recipient does not have them, reemboss cancel puts its cards into the next file"
		case ledger.Refused:
			instead = ". Where they are lost, reemboss cancel puts its cards into the next file"
		}
		return f, setup("%s cannot be sent again: %w; only the very same bytes may go out%s", f.Name, plain(err), instead)
	}
	err := n.Ledger.ChangeFile(ctx, ledger.FileChange{FileID: f.ID, From: []ledger.BureauFileState{f.State}, To: ledger.Written,
		At: n.Now(), RunID: f.RunID, Reason: reason, Size: f.Size, SHA256: f.SHA256, Evidence: n.leaves(f.Recipient), Entry: n.audit(what, f.Name, detail)})
	if err != nil {
		return f, err
	}
	if err := n.giveName(ctx, f); err != nil {
		return f, err
	}
	f.State = ledger.Written
	n.run.ID = f.RunID
	sessions := map[string]*bureau.Session{}
	_, sendErr := n.sendOne(ctx, f, sessions, reason)
	for _, s := range sessions {
		_ = s.Close()
	}
	var theirs *bureau.Error
	if errors.As(sendErr, &theirs) {
		if _, err := n.unsent(ctx, f, theirs.Error()); err != nil {
			return f, err
		}
	}
	now, err := n.Ledger.FileByName(ctx, f.Name)
	if err != nil {
		return f, err
	}
	return now, sendErr
}

// sentBefore puts a file whose repetition failed before anything of it was
// renamed back to what it was: SENT with the evidence of then (the recipient has
// had it, and the files after it need not wait), or REFUSED.
func (n *Night) sentBefore(ctx context.Context, f ledger.BureauFile) error {
	now, err := n.Ledger.FileByName(ctx, f.Name)
	if err != nil || now.SentAt.IsZero() || len(now.Evidence) == 0 {
		return err
	}
	switch now.State {
	case ledger.Written, ledger.Intent, ledger.Uploaded:
	default:
		return nil
	}
	back := ledger.FileChange{FileID: f.ID, From: []ledger.BureauFileState{now.State}, To: ledger.Sent, At: now.SentAt,
		RunID: now.SentRunID, Evidence: now.Evidence, Error: now.LastError, Reason: "the repetition failed; it was sent before",
		Entry: n.audit("file.resend_failed", f.Name, now.LastError)}
	last, err := n.lastOutcome(ctx, f)
	if err != nil {
		return err
	}
	switch last {
	case ledger.Undecided: // a person knows that the bureau does not have it: the next run sends it
		return nil
	case ledger.Refused:
		back.To, back.At, back.Evidence, back.Reason = ledger.Refused, n.Now(), nil, "the repetition failed; the bureau had refused it"
	}
	return n.Ledger.ChangeFile(ctx, back)
}

// bytesLost says that the frozen bytes of a file are gone, so that nobody can send them, and that its recipient does not have
// it: nothing of it was renamed or could be fetched, or whoever cancels it says so. One that was SENT or REFUSED is that again
// after the next run, and one that could be fetched is UNDECIDED.
func (n *Night) bytesLost(ctx context.Context, f ledger.BureauFile) (bool, error) {
	switch f.State {
	case ledger.Undecided:
	case ledger.Written, ledger.Intent, ledger.Uploaded:
		last, err := n.lastOutcome(ctx, f)
		if err != nil || last == ledger.Sent || last == ledger.Refused {
			return false, err
		}
		if fetched, err := n.mayBeFetched(ctx, f); err != nil || fetched {
			return false, err
		}
	default:
		return false, nil
	}
	return f.SHA256 != "" && n.intact(f) != nil, nil
}

// Cancel gives up a file that the bureau refused as a whole, that could not
// be written and so never left, or that did not arrive and whose bytes are lost: its number becomes VOID and its orders go into
// the recipient's next file. It gives how many went.
func (n *Night) Cancel(ctx context.Context, name, reason string) (f ledger.BureauFile, moved int64, err error) {
	if reason, err = n.reasoned(ctx, reason); err != nil {
		return f, 0, err
	}
	if f, err = n.file(ctx, name); err != nil {
		return f, 0, err
	}
	lost, err := n.bytesLost(ctx, f)
	if err != nil {
		return f, 0, err
	}
	if f.State != ledger.Refused && !neverWritten(f) && !lost {
		return f, 0, setup("%s is %s; only a file that the bureau REFUSED, a PLANNED one that could not be written, or one that did not arrive and whose bytes in the outbox are lost, can be cancelled: any other may have been made, or goes out with the next run", f.Name, f.State)
	}
	if lost && !config.Reserved(f.Recipient) {
		states, err := n.Ledger.OrderStates(ctx, f.ID)
		if err != nil {
			return f, 0, err
		}
		if states[ledger.PlannedO] == 0 {
			return f, 0, setup("%s was SENT before this repetition, and no card of it waits for another file: reemboss resolve --delivered makes it SENT again; ask anew for the cards that the bureau does not have", f.Name)
		}
	}
	if err := n.undisputed(ctx, f); err != nil {
		return f, 0, err
	}
	if err := n.clearUnwritten(f); err != nil {
		return f, 0, err
	}
	n.at("cancel/decide")
	moved, err = n.Ledger.CancelFile(ctx, ledger.FileChange{FileID: f.ID, From: []ledger.BureauFileState{f.State}, To: ledger.Void,
		At: n.Now(), Reason: reason, Entry: n.audit("file.cancelled", f.Name, reason)})
	if err != nil {
		return f, 0, err
	}
	f, err = n.Ledger.FileByName(ctx, f.Name)
	return f, moved, err
}
