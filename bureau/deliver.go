package bureau

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
)

// Deliver brings one file to the recipient over a connection of its own; see
// [Session.Deliver].
func Deliver(ctx context.Context, settings Settings, f File, from State, resend bool, j Journal) (State, error) {
	session, err := Connect(settings)
	if err != nil {
		return from, err
	}
	defer func() { _ = session.Close() }()
	return session.Deliver(ctx, f, from, resend, j)
}

// Deliver takes f from the recorded state from to SENT, or as far as it
// gets, and gives the last state that j recorded. A nil error means SENT, with
// evidence. From SENT it does nothing; from UNDECIDED it does nothing and
// fails. Passing errors are tried again from the start of the file, Attempts times
// in all; the result keeps the last error.
//
// resend is for a file that had been SENT before: where the same file is still
// there, that is success and nothing is sent.
//
// The process may be killed at any point: Deliver called again with the
// recorded state brings the file there once, or ends in UNDECIDED.
func (s *Session) Deliver(ctx context.Context, f File, from State, resend bool, j Journal) (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &delivery{session: s, file: f, state: from, resend: resend, journal: j}
	err := d.run(ctx)
	return d.state, err
}

// delivery is one file on its way.
type delivery struct {
	session *Session
	file    File
	resend  bool
	journal Journal

	state   State // as recorded
	attempt int
	link    *link
	remote  *remote
	fresh   bool     // the temporary file was checked in this attempt
	hash    HashKind // how it was compared
	answer  reply    // to the rename of this attempt
	refusal error    // what came with a no
}

func (d *delivery) run(ctx context.Context) error {
	if err := d.admit(); err != nil || d.state == Sent {
		return err
	}
	return d.session.repeated(ctx, d.stopped, func(attempt int) error {
		d.attempt = attempt
		return d.try(ctx)
	})
}

func (d *delivery) stopped(cause error) error {
	return d.session.stopped("deliver "+d.file.RemoteName, "in the state "+string(d.state), cause)
}

// admit refuses what must not be tried at all, before anything is recorded or sent.
func (d *delivery) admit() error {
	switch d.state {
	case Sent:
		return nil
	case Undecided:
		return d.undecided("an earlier transfer had no known end")
	case Written, Intent, Uploaded, Renaming:
	default:
		return d.ours(fmt.Sprintf("the state %q is not one of a delivery", d.state))
	}
	name := d.file.RemoteName
	if name == "" || name == "." || name == ".." || len(name)+len(d.session.settings.TempSuffix) > 255 || strings.ContainsAny(name, "/\\\x00\r\n") {
		return d.ours(fmt.Sprintf("%q is not a file name", name))
	}
	if d.state == Renaming {
		return nil // nothing more is read from the outbox
	}
	return d.checkLocal()
}

// checkLocal compares the frozen file with the ledger's record before anything is sent.
func (d *delivery) checkLocal() error {
	local, err := os.Open(d.file.LocalPath)
	if err != nil {
		return frozenFileError(&d.file, "cannot be read", err)
	}
	defer func() { _ = local.Close() }()
	h := sha256.New()
	size, err := io.Copy(h, local)
	if err != nil {
		return frozenFileError(&d.file, "cannot be read", err)
	}
	if size != d.file.Size || hex.EncodeToString(h.Sum(nil)) != d.file.SHA256 {
		return frozenFileError(&d.file, "is not what was frozen", ErrFrozenFile)
	}
	return nil
}

// try is one attempt over one connection, from whatever state is recorded.
func (d *delivery) try(ctx context.Context) error {
	if d.state == Written {
		if err := d.record(ctx, Intent, Evidence{Size: d.file.Size}, ""); err != nil {
			return err
		}
	}
	l, err := d.session.connected(ctx)
	if err != nil {
		return err
	}
	defer l.watch(ctx)()
	d.link, d.remote = l, d.session.remote(l)
	d.fresh, d.hash, d.answer, d.refusal = false, HashNone, replyLost, nil
	for d.state != Sent {
		if err := d.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *delivery) step(ctx context.Context) error {
	switch d.state {
	case Intent:
		return d.upload(ctx)
	case Uploaded:
		return d.startRename(ctx)
	default:
		return d.settle(ctx)
	}
}

// upload makes the temporary file, whole and checked.
func (d *delivery) upload(ctx context.Context) error {
	done, err := d.lookBefore(ctx)
	if err != nil || done {
		return err
	}
	if err := d.remote.clear(d.temporary()); err != nil {
		return err
	}
	if err := d.remote.write(d.temporary(), &d.file); err != nil {
		return err
	}
	if err := d.checkTemporary(ctx); err != nil {
		return err
	}
	d.fresh = true
	return d.record(ctx, Uploaded, Evidence{Size: d.file.Size}, "")
}

// lookBefore is the look at the final name while nothing of ours was renamed.
// A file there is not ours, unless this is a resend of what had been there.
func (d *delivery) lookBefore(ctx context.Context) (done bool, err error) {
	seen, err := d.remote.look(d.final(), &d.file, d.resend && d.session.settings.ReadBack)
	switch {
	case err != nil || seen == absent:
		return false, err
	case d.resend && seen.ours():
		return true, d.recordSent(ctx, seen, SeenAlreadySent)
	}
	return false, d.nameTaken()
}

// checkTemporary compares what the server has with what was sent.
func (d *delivery) checkTemporary(ctx context.Context) error {
	seen, err := d.remote.look(d.temporary(), &d.file, d.session.settings.ReadBack)
	if err != nil {
		return err
	}
	e := &Error{Class: BureauPassing, Op: "upload", Host: d.session.settings.address()}
	switch {
	case seen == other:
		e.What = d.temporary() + " differs from what was sent, though the server confirmed every write"
		e.Do = "ask the bureau for a full disk, a quota or a filter if it lasts"
		return e
	case seen == absent:
		return d.vanished(ctx)
	case d.session.settings.ReadBack && seen != verified:
		e.Class = BureauLasting
		e.What = "the server does not let us read back " + d.temporary()
		e.Do = "set delivery.read_back to false, or ask the bureau for the right to read"
		return e
	}
	d.compared(seen)
	return nil
}

// vanished is for a temporary file that the server took whole, to its close, and that is gone a moment
// later: the bureau took it, or its server renames by itself. Sending it again might make its cards twice.
func (d *delivery) vanished(ctx context.Context) error {
	seen, err := d.remote.look(d.final(), &d.file, d.session.settings.ReadBack)
	if err != nil {
		seen = other
	}
	what := d.temporary() + " is gone right after its upload"
	if seen != absent {
		what += ", " + describe(d.final(), seen)
	}
	return d.stay(ctx, what+" (a bureau must leave names that end in "+d.session.settings.TempSuffix+" alone)")
}

// startRename makes sure that the rename is right, records that it may happen, and asks for it.
func (d *delivery) startRename(ctx context.Context) error {
	done, err := d.lookBefore(ctx)
	if err != nil || done {
		return err
	}
	if !d.fresh {
		seen, err := d.remote.look(d.temporary(), &d.file, d.session.settings.ReadBack)
		if err != nil {
			return err
		}
		if !seen.ours() {
			return d.record(ctx, Intent, Evidence{Size: d.file.Size}, "the temporary file is no longer there whole; it is sent again from its start")
		}
		d.compared(seen)
	}
	if err := d.record(ctx, Renaming, Evidence{Size: d.file.Size}, ""); err != nil {
		return err
	}
	return d.rename()
}

// rename asks once. Only a lost answer is an error here: after a yes or a no
// settle looks what became of it.
func (d *delivery) rename() error {
	answer, err := d.remote.rename(d.temporary(), d.final())
	d.answer, d.refusal = answer, err
	if answer == replyLost {
		return err
	}
	return nil
}

// settle looks at both names and says what became of the rename.
func (d *delivery) settle(ctx context.Context) error {
	final, temporary, err := d.lookAtBoth()
	if err != nil {
		return err
	}
	found := judge(d.answer, final, temporary, d.session.settings.TakenAway)
	if found == takenAway {
		if err := d.lookedInPlace(); err != nil {
			return err
		}
	}
	if why := d.misplaced(found); why != "" {
		return d.stay(ctx, why)
	}
	switch found {
	case delivered, deliveredTwice:
		return d.recordSent(ctx, final, d.seenThere())
	case takenAway:
		return d.recordSent(ctx, absent, d.seenGone())
	case renameAgain:
		return d.rename()
	case renameRefused:
		return d.back(ctx, d.refused())
	case finalNameTaken:
		return d.back(ctx, d.nameTaken())
	}
	return d.stay(ctx, fmt.Sprintf("%s, %s", describe(d.final(), final), describe(d.temporary(), temporary)))
}

// misplaced says why what is seen here tells nothing of the rename that an earlier process asked for: that was elsewhere. ""
// where it tells. That both names are gone tells only where the temporary one is on record and is the one that is configured.
func (d *delivery) misplaced(found verdict) string {
	asked, settings := d.file.Asked, d.session.settings
	switch {
	case d.answer != replyLost: // it was asked for here, in this attempt
		return ""
	case asked != nil && (asked.Host != settings.address() || asked.Name != d.final() || asked.User != "" && asked.User != settings.User):
		return fmt.Sprintf("it was asked to become %s at %s, and since then the configuration has another place or login, where it cannot be", asked.Name, asked.Host)
	case found != takenAway:
		return ""
	case asked == nil || asked.Temporary == "":
		return "both names are gone, and the temporary name that it had when it was asked to become " + d.final() + " is not on record"
	case asked.Temporary != d.configuredTemporary():
		return fmt.Sprintf("neither %s nor %s is there, and since the rename was asked for the configuration has another temporary name", d.final(), asked.Temporary)
	}
	return ""
}

// lookedInPlace: that names are gone says something only where their folders are there.
func (d *delivery) lookedInPlace() error {
	if d.answer == replyYes {
		return nil
	}
	return d.remote.lookAtFolder()
}

// stay records UNDECIDED, with what was seen.
func (d *delivery) stay(ctx context.Context, seen string) error {
	undecided := d.undecided(seen)
	if err := d.record(ctx, Undecided, Evidence{Size: d.file.Size}, undecided.Error()); err != nil {
		return err
	}
	return undecided
}

// lookAtBoth compares contents where that may be done and was not done
// before a rename that the server confirmed.
func (d *delivery) lookAtBoth() (final, temporary sighting, err error) {
	readBack := d.session.settings.ReadBack
	if final, err = d.remote.look(d.final(), &d.file, readBack && d.answer != replyYes); err != nil {
		return final, temporary, err
	}
	temporary, err = d.remote.look(d.temporary(), &d.file, readBack && final == absent)
	return final, temporary, err
}

// recordSent first removes what is left of ours under the temporary name: after
// SENT nobody would. A server that refuses that does not make the delivery less
// of one; what stays there is named in the evidence.
func (d *delivery) recordSent(ctx context.Context, final sighting, seen Seen) error {
	d.compared(final)
	ev := Evidence{Size: d.file.Size, Seen: seen}
	if seen != SeenTakenAway && seen != SeenTakenAfter {
		if err := d.remote.clear(d.temporary()); err != nil {
			if ClassOf(err) == BureauPassing && !answered(err) {
				return err
			}
			ev.Left = d.temporary()
		}
	}
	return d.record(ctx, Sent, ev, "")
}

func (d *delivery) seenThere() Seen {
	if d.answer == replyYes {
		return SeenRenamed
	}
	return SeenThere
}

func (d *delivery) seenGone() Seen {
	if d.answer == replyYes {
		return SeenTakenAfter
	}
	return SeenTakenAway
}

// back returns to UPLOADED when it is certain that the rename did not happen.
func (d *delivery) back(ctx context.Context, cause error) error {
	if err := d.record(ctx, Uploaded, Evidence{Size: d.file.Size}, cause.Error()); err != nil {
		return err
	}
	return cause
}

func (d *delivery) refused() error {
	if d.refusal != nil {
		return d.refusal
	}
	return &Error{Class: BureauPassing, Op: "rename to " + d.final(), Host: d.session.settings.address(),
		What: "the server confirmed the rename and did not do it", Do: "ask the bureau if it lasts"}
}

func (d *delivery) compared(seen sighting) {
	if seen == verified {
		d.hash = HashReadBack
	}
}

// record makes the step durable. It is done even when a stop was asked for
// meanwhile: what happened must be on record.
func (d *delivery) record(ctx context.Context, to State, ev Evidence, errText string) error {
	settings := d.session.settings
	ev.Name, ev.SHA256, ev.Hash = d.final(), d.file.SHA256, d.hash
	ev.At, ev.Host, ev.Attempt = settings.Now(), settings.address(), d.attempt
	if d.link != nil {
		ev.HostKey = d.link.hostKey
	}
	if ev.Hash == "" {
		ev.Hash = HashNone
	}
	if to == Renaming {
		ev.Temporary, ev.User = d.temporary(), settings.User
	}
	if err := d.journal.Record(context.WithoutCancel(ctx), to, ev, errText); err != nil {
		return &Error{Class: Ours, Op: "deliver " + d.file.RemoteName, What: "the step " + string(to) + " could not be recorded",
			Do: "the next run continues from what the ledger has", Err: err}
	}
	d.state = to
	if to == Renaming {
		d.file.Asked = &ev
	}
	return nil
}

func (d *delivery) final() string { return d.session.settings.finalPath(d.file.RemoteName) }

// temporary is where the bytes lie until the rename; once that was asked for, where they lay then, whatever is configured since.
func (d *delivery) temporary() string {
	if d.state == Renaming && d.file.Asked != nil && d.file.Asked.Temporary != "" {
		return d.file.Asked.Temporary
	}
	return d.configuredTemporary()
}

func (d *delivery) configuredTemporary() string {
	return d.session.settings.temporaryPath(d.file.RemoteName)
}

func (d *delivery) nameTaken() error {
	return &Error{Class: BureauLasting, Op: "deliver " + d.file.RemoteName, Host: d.session.settings.address(),
		What: "at " + d.final() + " stands a file that this delivery did not put there; it was left as it is",
		Do:   "ask the bureau what it is. If a run of this workspace made it that the ledger does not know, because an older copy was put back, put a backup back with reemboss restore and skip more numbers; else have it moved, and the next run sends ours", Err: ErrNameTaken}
}

func (d *delivery) undecided(seen string) error {
	return &Error{Class: BureauLasting, Op: "deliver " + d.file.RemoteName, Host: d.session.settings.address(),
		What: "nobody can know whether the bureau has it: " + seen,
		Do:   "ask the bureau, then say reemboss resolve " + d.file.RemoteName + " --delivered or --resend", Err: ErrUndecided}
}

func (d *delivery) ours(what string) error {
	return &Error{Class: Ours, Op: "deliver " + d.file.RemoteName, What: what}
}

func describe(name string, s sighting) string {
	switch s {
	case absent:
		return name + " is not there"
	case whole, verified:
		return name + " is there with our size"
	}
	return name + " is there and is not our file"
}
