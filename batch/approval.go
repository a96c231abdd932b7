package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"reemboss/batch/durable"
	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/bureau"
	"reemboss/formats/request"
)

// A signed approval file is a decision about a hold that somebody makes on
// another machine and drops into the inbox. What it is, its content says, not
// its name: a PGP-signed text of five lines,
//
//	reemboss approval 1
//	hold: hold-alpha-2026-11-21-001-1
//	digest: 5f0c…
//	decision: approve
//	reason: looked at the list
//
// It counts once, for exactly the cards of the digest, and not for longer than
// approvals.valid_for from its signature on.

// approvalBegins is the first line of an approval.
const approvalBegins = "reemboss approval 1"

// mostOfApproval is the most bytes of a signed approval file and of its text.
const mostOfApproval = 64 << 10

// Words of the line decision.
const (
	wordApprove = "approve"
	wordCancel  = "cancel"
)

// approval is the text of an approval file.
type approval struct {
	hold, digest, decision, reason string
}

// ApprovalText is what a person signs to release a hold, to be completed or changed before: `reemboss approve NAME --print`.
func (n *Night) ApprovalText(ctx context.Context, name, reason string) (string, error) {
	h, err := n.findHold(ctx, name)
	if err != nil {
		return "", err
	}
	if err := stillHeld(h); err != nil {
		return "", err
	}
	if strings.ContainsAny(reason, "\r\n") {
		return "", setup("--reason is one line")
	}
	return fmt.Sprintf("%s\nhold: %s\ndigest: %s\ndecision: %s\nreason: %s\n", approvalBegins, h.Name, h.Digest, wordApprove, n.wrote(ctx, reason)), nil
}

// isApproval says whether signed content is an approval, well made or not.
func isApproval(content []byte) bool {
	line, _, _ := bytes.Cut(content, []byte("\n"))
	return string(bytes.TrimRight(line, " \t\r")) == approvalBegins
}

// parseApproval reads the text of an approval: these lines, in this order, and no others.
func parseApproval(content []byte) (approval, error) {
	var a approval
	lines := strings.Split(strings.ReplaceAll(strings.TrimRight(string(content), " \t\r\n"), "\r\n", "\n"), "\n")
	fields := []struct {
		name  string
		value *string
	}{{"hold", &a.hold}, {"digest", &a.digest}, {"decision", &a.decision}, {"reason", &a.reason}}
	if len(lines) != len(fields)+1 {
		return a, fmt.Errorf("it has %s and not %d; reemboss approve NAME --print shows how it is written", counted(int64(len(lines)), "line"), len(fields)+1)
	}
	for i, f := range fields {
		name, value, ok := strings.Cut(lines[i+1], ":")
		if !ok || name != f.name {
			return a, fmt.Errorf("its line %d is not %q; reemboss approve NAME --print shows how it is written", i+2, f.name+": …")
		}
		*f.value = strings.TrimSpace(value)
	}
	if a.decision != wordApprove && a.decision != wordCancel {
		return a, fmt.Errorf("its decision is neither %s nor %s", wordApprove, wordCancel)
	}
	if a.decision == wordCancel {
		if err := given(a.reason); err != nil {
			return a, errors.New("it gives no reason to cancel; say why, it is kept in the history")
		}
	}
	return a, nil
}

// approvalFile decides a hold, where what somebody of people signed is an approval; done is
// false for any other file, which is then read as a request file.
func (n *Night) approvalFile(ctx context.Context, f ledger.RequestFile, s *submission) (done bool, err error) {
	if s.signed == nil || s.size > mostOfApproval {
		return false, nil
	}
	content, err := s.whole()
	if err != nil || !isApproval(content) {
		return false, err
	}
	if f.SHA256, f.Size, err = hashFile(n.Path(f.Intake)); err != nil {
		return true, err
	}
	f.Submitter, f.Signer = s.signed.person, s.signed.fingerprint
	return true, n.signedApproval(ctx, f, content, *s.signed)
}

// refuseSubmitted refuses a file as a whole that could not be opened. Where its text can be seen to be an approval, the
// audit log says that one was refused; nobody can say that of a message whose signature does not hold and that is packed.
func (n *Night) refuseSubmitted(ctx context.Context, f ledger.RequestFile, broken *request.FileError) error {
	seen, err := n.seemsApproval(f)
	if err != nil {
		return err
	}
	if seen {
		return n.refuseApproval(ctx, f, rules.Code(broken.Code), sentenceStart(broken.Error())+".")
	}
	return n.refuseUnreadable(ctx, f, broken)
}

// seemsApproval looks for the first line of an approval in the text of a clear-signed file.
func (n *Night) seemsApproval(f ledger.RequestFile) (bool, error) {
	file, err := durable.Open(n.Path(f.Intake))
	if err != nil {
		return false, err
	}
	defer file.Close()
	head, err := io.ReadAll(io.LimitReader(file, bureau.FormHead))
	if err != nil {
		return false, err
	}
	form, _ := bureau.FormOf(head)
	return form == bureau.ClearSigned && bytes.Contains(head, []byte("\n"+approvalBegins)), nil
}

// refusedApproval is an approval file that changes nothing: with which code, and why.
type refusedApproval struct {
	code rules.Code
	why  string
}

func (e *refusedApproval) Error() string { return e.why }

func refuseWith(code rules.Code, format string, args ...any) error {
	return &refusedApproval{code, fmt.Sprintf(format, args...)}
}

// signedApproval carries out what a signed approval says, or refuses it.
func (n *Night) signedApproval(ctx context.Context, f ledger.RequestFile, content []byte, by signature) error {
	a, h, err := n.judgeApproval(ctx, f, content, by)
	if err == nil {
		f.Approval = h.Name
		err = n.decideBySigned(ctx, f, a, h, by)
	}
	var refused *refusedApproval
	if errors.As(err, &refused) {
		return n.refuseApproval(ctx, f, refused.code, refused.why)
	}
	return err
}

// judgeApproval finds what is wrong with a signed approval: its age, its text, its hold, its signer's rights.
func (n *Night) judgeApproval(ctx context.Context, f ledger.RequestFile, content []byte, by signature) (a approval, h ledger.Hold, err error) {
	if valid := n.Config.Approvals.ValidFor; n.Now().Sub(by.at) > valid {
		return a, h, refuseWith(rules.FileSignatureInvalid, "The approval was signed at %s, and one counts for %s (approvals.valid_for); sign it again.", by.at.UTC().Format("2006-01-02 15:04 UTC"), valid)
	}
	before, err := n.Ledger.SameBytes(ctx, f.SHA256, f.ID)
	if err == nil {
		return a, h, refuseWith(rules.DuplicateFile, "The same approval file came before, on %s as %s; an approval counts once.", before.ClaimedAt.In(n.zone).Format("2006-01-02"), printable(before.Name))
	}
	if !errors.Is(err, ledger.ErrNotFound) {
		return a, h, err
	}
	if a, err = parseApproval(content); err != nil {
		return a, h, refuseWith(rules.FileUnreadable, "The approval cannot be understood: %v.", err)
	}
	h, ok, err := n.HoldNamed(ctx, a.hold)
	switch {
	case err != nil:
		return a, h, err
	case !ok:
		return a, h, refuseWith(rules.ReferenceConflict, "Nothing that is held is called %s; reemboss status lists what is.", n.masker(ctx)(limit(printable(a.hold), 100)))
	case h.State != ledger.Held:
		return a, h, refuseWith(rules.DuplicateFile, "%s.", sentenceStart(decidedAlready(h)))
	case !strings.EqualFold(a.digest, h.Digest):
		return a, h, refuseWith(rules.ReferenceConflict, "The approval is for other cards than those of %s: its digest is not the one that reemboss status shows.", h.Name)
	}
	if h.Restored {
		restorations, err := n.Ledger.Restorations(ctx)
		if err != nil {
			return a, h, err
		}
		if len(restorations) > 0 && by.at.Before(restorations[len(restorations)-1].At) {
			return a, h, refuseWith(rules.ReferenceConflict, "The approval was signed before the ledger was restored, and a night since then may have made the cards of %s. Ask %s whether it has them; if not, sign it again.", h.Name, h.Bureau)
		}
	}
	disputed, err := n.disputedHold(ctx, h)
	if err != nil {
		return a, h, err
	}
	if disputed != "" {
		return a, h, refuseWith(rules.ReferenceConflict, "%s is not decided: %s; sign it again then.", h.Name, disputed)
	}
	err = n.mayApprove(ctx, h, by.person)
	var not *notPermitted
	if errors.As(err, &not) {
		return a, h, refuseWith(rules.SubmitterNotAllowed, "%s.", sentenceStart(not.why))
	}
	return a, h, err
}

// sentenceStart makes the first letter a capital one.
func sentenceStart(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// approvalSentence is what a signed approval that counts does.
func approvalSentence(a approval, h ledger.Hold, by signature) string {
	if a.decision == wordCancel {
		return fmt.Sprintf("%s cancelled %s (%s for %s): %s", by.person, h.Name, counted(h.Records, "card"), h.Bureau, a.reason)
	}
	return fmt.Sprintf("%s approved %s (%s for %s).", by.person, h.Name, counted(h.Records, "card"), h.Bureau)
}

// decideBySigned decides the hold and the file in one step: a run that is cut before finds both as they were.
func (n *Night) decideBySigned(ctx context.Context, f ledger.RequestFile, a approval, h ledger.Hold, by signature) error {
	f.State, f.Detail = ledger.DecidedF, approvalSentence(a, h, by)
	to, what := ledger.Approved, "hold.approved"
	if a.decision == wordCancel {
		to, what = ledger.HoldCancelled, "hold.cancelled"
	}
	reason := n.wrote(ctx, a.reason)
	f.Detail = n.wrote(ctx, f.Detail)
	n.at("approval/decide")
	err := n.Ledger.DecideHold(ctx, ledger.HoldDecision{HoldID: h.ID, To: to, At: n.Now(), RunID: n.run.ID, By: by.person, Reason: reason, File: &f,
		How:   fmt.Sprintf("signed file %s, SHA-256 %s, key %s", printable(f.Name), f.SHA256, by.fingerprint),
		Entry: n.entry(what, h.Name, fmt.Sprintf("by %s, %s signed with key %s at %s, SHA-256 %s, digest %s", by.person, printable(f.Name), by.fingerprint, by.at.UTC().Format("2006-01-02T15:04:05Z"), f.SHA256, h.Digest))})
	if errors.Is(err, ledger.ErrNoWayBack) {
		return refuseWith(rules.ReferenceConflict, "%s.", sentenceStart(cannotCancel(h)))
	}
	if err == nil {
		n.at("approval/decided")
	}
	return err
}

// refuseApproval answers an approval file that changes nothing.
func (n *Night) refuseApproval(ctx context.Context, f ledger.RequestFile, code rules.Code, why string) error {
	if f.SHA256 == "" {
		sum, size, err := hashFile(n.Path(f.Intake))
		if err != nil {
			return err
		}
		f.SHA256, f.Size = sum, size
	}
	if err := n.Ledger.Append(ctx, n.entry("approval.refused", printable(f.Name), string(code)+": "+n.masker(ctx)(why))); err != nil {
		return err
	}
	outcome := rules.Refused
	if code == rules.DuplicateFile {
		outcome = rules.Duplicate
	}
	return n.refuseFile(ctx, f, code, why, outcome)
}

// approvalTold is the one row of the result of an approval file that counted.
func approvalTold(f ledger.RequestFile) func(context.Context, func(*ledger.Told) error) error {
	return func(_ context.Context, fn func(*ledger.Told) error) error {
		return fn(&ledger.Told{FileName: f.Name, Answer: ledger.Answer{FileID: f.ID, RunID: f.RunID, Outcome: rules.Accepted, Class: approvalClass, Code: rules.Approved,
			Codes: []rules.Code{rules.Approved}, Message: f.Detail}})
	}
}

// approvalClass: done, and nothing was made by it (200 in the sense of HTTP).
const approvalClass = 200
