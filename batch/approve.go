package batch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/bureau"
)

// What a second person decides about a hold: by `reemboss approve` and
// `reemboss cancel`, or by a signed file (approval.go). Every decision, and
// every approval that is refused, is in the audit chain.

// notPermitted is why somebody may not approve a hold, one sentence.
type notPermitted struct{ why string }

func (e *notPermitted) Error() string { return e.why }

// Approve releases a hold for the person whose login this process runs under
// and says what happens next. It writes nothing: the next run does. Who may not
// is told so ([SetupError]), and the audit chain has it.
func (n *Night) Approve(ctx context.Context, name, reason string) (string, error) {
	h, err := n.findHold(ctx, name)
	if err != nil {
		return "", err
	}
	if err := stillHeld(h); err != nil {
		return "", err
	}
	if err := n.undisputedHold(ctx, h); err != nil {
		return "", err
	}
	person, err := n.permitted(ctx, h)
	var refused *notPermitted
	if errors.As(err, &refused) {
		if err := n.Ledger.Append(ctx, n.entry("approval.refused", h.Name, refused.why)); err != nil {
			return "", err
		}
		return "", setup("%s is not approved: %s", h.Name, refused.why)
	}
	if err != nil {
		return "", err
	}
	n.at("approve/decide")
	err = n.Ledger.DecideHold(ctx, ledger.HoldDecision{HoldID: h.ID, To: ledger.Approved, At: n.Now(), By: person, How: "reemboss approve by " + n.who, Reason: n.wrote(ctx, reason),
		Entry: n.entry("hold.approved", h.Name, fmt.Sprintf("by %s, %s, digest %s", person, n.who, h.Digest))})
	if err != nil {
		return "", err
	}
	n.at("approve/decided")
	return fmt.Sprintf("%s is approved by %s; the next run writes its %s for %s as one file.", h.Name, person, counted(h.Records, "card"), h.Bureau), nil
}

// permitted gives the person of this process's login, who may approve the hold; else the error is a [*notPermitted].
func (n *Night) permitted(ctx context.Context, h ledger.Hold) (string, error) {
	login, err := n.Login()
	if err != nil {
		return "", &notPermitted{fmt.Sprintf("nobody can tell who asks (%v); approve with a signed file", err)}
	}
	if h.Restored && !n.Config.Bureaus[h.Bureau].HoldsFile(h.Records) { // held for the sake of the restore alone
		return n.who, nil
	}
	person := ""
	for _, key := range slices.Sorted(maps.Keys(n.Config.People)) {
		if n.Config.People[key].Login == login && login != "" { // to the letter: Ben and ben may be two accounts
			person = key
		}
	}
	if person == "" {
		return "", &notPermitted{fmt.Sprintf("the login %s is nobody's in people", login)}
	}
	return person, n.mayApprove(ctx, h, person)
}

// mayApprove says why a person may not release a hold; nil where he or she may. Nobody releases a card that he or she asked for.
func (n *Night) mayApprove(ctx context.Context, h ledger.Hold, person string) error {
	p := n.Config.People[person]
	if !p.MayApprove(h.Bureau, h.Records) {
		return &notPermitted{fmt.Sprintf("%s may not approve %s for %s (people.%s.approves)", person, counted(h.Records, "card"), h.Bureau, person)}
	}
	asked, err := n.Ledger.HoldTallies(ctx, h.ID)
	if err != nil {
		return err
	}
	for _, t := range asked {
		how := ""
		switch {
		case isPerson(person, p, t.Submitter), signedBy(p, t.Signer):
			how = "signed the request file"
		case p.Login != "" && strings.EqualFold(p.Login, t.Owner):
			how = "put the request file into the inbox"
		case isPerson(person, p, t.RowSubmitter):
			how = "is named as the submitter"
		default:
			continue
		}
		return &notPermitted{fmt.Sprintf("%s %s of %s in it, and nobody approves a card that he or she asked for; ask somebody else", person, how, counted(t.N, "card"))}
	}
	return nil
}

// signedBy says whether a key is the person's own, whatever the configuration called its owner then.
func signedBy(p config.Person, fingerprint string) bool {
	own, ok := bureau.NormalFingerprint(p.Fingerprint)
	return ok && fingerprint != "" && own == fingerprint
}

// isPerson says whether a name that somebody wrote means the person: by key, name or login.
func isPerson(key string, p config.Person, written string) bool {
	written = strings.TrimSpace(written)
	if written == "" {
		return false
	}
	return slices.ContainsFunc([]string{key, p.Name, p.Login}, func(known string) bool {
		return strings.EqualFold(strings.TrimSpace(known), written)
	})
}

// HoldNamed finds a hold; ok is false where none has this name.
func (n *Night) HoldNamed(ctx context.Context, name string) (h ledger.Hold, ok bool, err error) {
	found, err := n.Ledger.Holds(ctx, ledger.HoldQuery{Name: name})
	if err != nil || name == "" || len(found) == 0 {
		return h, false, err
	}
	return found[0], true, nil
}

func (n *Night) findHold(ctx context.Context, name string) (ledger.Hold, error) {
	h, ok, err := n.HoldNamed(ctx, name)
	if err == nil && !ok {
		err = setup("nothing that is held is called %s; reemboss status lists what is", printable(name))
	}
	return h, err
}

// stillHeld refuses to decide a hold twice.
func stillHeld(h ledger.Hold) error {
	if h.State == ledger.Held {
		return nil
	}
	return setup("%s", decidedAlready(h))
}

// decidedAlready says what became of a hold.
func decidedAlready(h ledger.Hold) string {
	text := fmt.Sprintf("%s was %s by %s at %s", h.Name, strings.ToLower(string(h.State)), h.DecidedBy, h.DecidedAt.UTC().Format("2006-01-02 15:04 UTC"))
	if h.FileName != "" {
		text += " and is in " + h.FileName
	}
	return text + "; there is nothing left to decide"
}

// undisputedHold refuses to decide a hold while the bureau tells of a card of it what contradicts that the card was not made.
func (n *Night) undisputedHold(ctx context.Context, h ledger.Hold) error {
	why, err := n.disputedHold(ctx, h)
	if err == nil && why != "" {
		err = setup("%s is not decided: %s", h.Name, why)
	}
	return err
}

// disputedHold says what a person must settle before a hold can be decided, or written; "" for nothing.
func (n *Night) disputedHold(ctx context.Context, h ledger.Hold) (string, error) {
	why, err := n.keptBack(ctx, h.Bureau, h.ID)
	if why != "" && h.Restored {
		why += fmt.Sprintf(". Where its cards were made by a lost night: reemboss resolve %s --delivered", h.Name)
	}
	return why, err
}

// keptBack says which disputed events keep orders of a bureau's queue (hold 0), or of a hold, back; "" for none.
func (n *Night) keptBack(ctx context.Context, bureau string, hold int64) (string, error) {
	ids, err := n.Ledger.KeptBack(ctx, bureau, hold)
	if err != nil || len(ids) == 0 {
		return "", err
	}
	return "what the bureau tells contradicts that none of these cards was made: " + settleFirst(ids), nil
}

// CancelHold drops a hold: no number was taken, its orders are CANCELLED, and
// each card is what it was before, but for what somebody else changed since. It
// gives how many orders it had.
func (n *Night) CancelHold(ctx context.Context, name, reason string) (int64, error) {
	reason, err := n.reasoned(ctx, reason)
	if err != nil {
		return 0, err
	}
	h, err := n.findHold(ctx, name)
	if err != nil {
		return 0, err
	}
	if err := stillHeld(h); err != nil {
		return 0, err
	}
	if err := n.undisputedHold(ctx, h); err != nil {
		return 0, err
	}
	n.at("cancel/decide")
	err = n.Ledger.DecideHold(ctx, ledger.HoldDecision{HoldID: h.ID, To: ledger.HoldCancelled, At: n.Now(), By: n.who, How: "reemboss cancel", Reason: reason,
		Entry: n.entry("hold.cancelled", h.Name, reason)})
	if errors.Is(err, ledger.ErrNoWayBack) {
		return 0, setup("%s", cannotCancel(h))
	}
	if err != nil {
		return 0, err
	}
	n.at("cancel/decided")
	return h.Records, nil
}

// ResolveHold settles a hold of a restore whose cards were made all the same, by
// a night that the ledger does not know: its orders are CANCELLED and nothing of
// it is made again, its cards stay what the orders made them and count as sent
// from now on. It gives how many orders it had.
func (n *Night) ResolveHold(ctx context.Context, name, reason string) (int64, error) {
	reason, err := n.reasoned(ctx, reason)
	if err != nil {
		return 0, err
	}
	h, err := n.findHold(ctx, name)
	if err != nil {
		return 0, err
	}
	if err := stillHeld(h); err != nil {
		return 0, err
	}
	if !h.Restored {
		return 0, setup("%s waits for a second person and was not made by a restore; nobody can have made its cards: reemboss approve or reemboss cancel", h.Name)
	}
	n.at("resolve/decide")
	err = n.Ledger.DecideHold(ctx, ledger.HoldDecision{HoldID: h.ID, To: ledger.HoldCancelled, Made: true, At: n.Now(), By: n.who, How: "reemboss resolve --delivered", Reason: reason,
		Entry: n.entry("hold.resolved", h.Name, "its cards were made by a lost night: "+reason)})
	if err != nil {
		return 0, err
	}
	n.at("resolve/decided")
	return h.Records, nil
}

func cannotCancel(h ledger.Hold) string {
	if h.Restored {
		return h.Name + " cannot be cancelled: an order of it changed its card, and nobody knows what the card was before; have it approved if its cards were not made, or reemboss resolve it --delivered if they were"
	}
	return h.Name + " cannot be cancelled: an order of it changed its card before this bureau's files could be held, or was in a file that the bureau refused, and nobody knows what the card was before; have it approved instead"
}

// counted is a number of things in words: 1 card, 2 cards.
func counted(n int64, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
