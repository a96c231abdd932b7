package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/bureau"
)

// send delivers the released files, those of one recipient in the order of
// their numbers. When one fails, the next ones of that recipient wait, unless
// the bureau takes files in any order; other recipients go on. What could not
// be sent keeps its state and its reason, and the night ends with exit code 4.
func (n *Night) send(ctx context.Context) (int64, error) {
	files, err := n.Ledger.BureauFiles(ctx, ledger.FileQuery{States: append([]ledger.BureauFileState{ledger.Undecided, ledger.Planned, ledger.Refused}, openStates...)})
	if err != nil {
		return 0, err
	}
	sessions := map[string]*bureau.Session{}
	defer func() {
		for _, s := range sessions {
			_ = s.Close()
		}
	}()
	blocked := map[string]string{} // recipient → the file that the next ones wait for
	var sent int64
	for _, f := range files { // by recipient, then number
		if err := ctx.Err(); err != nil {
			return sent, err
		}
		before, waits := blocked[f.Recipient]
		switch {
		case f.State == ledger.Planned || f.State == ledger.Undecided || f.State == ledger.Refused:
			n.block(blocked, f)
			continue
		case waits:
			if err := n.failed(ctx, f, fmt.Sprintf("waits for %s: this bureau takes files in the order of their numbers", before)); err != nil {
				return sent, err
			}
			continue
		}
		why, err := n.trySend(ctx, f, sessions)
		if err != nil {
			return sent, err
		}
		if why == "" {
			sent++
			n.progress("send", sent, int64(len(files)))
			continue
		}
		state, err := n.unsent(ctx, f, why)
		if err != nil {
			return sent, err
		}
		if state != ledger.Sent {
			n.block(blocked, f)
			continue
		}
		n.need(report.Need{What: f.Name + " could not be sent again", Why: why, Command: "reemboss resend " + f.Name + ` --reason "…"`})
	}
	return sent, nil
}

// trySend sends a file that nothing keeps here, and gives why it was not sent; "" where it was.
func (n *Night) trySend(ctx context.Context, f ledger.BureauFile, sessions map[string]*bureau.Session) (why string, err error) {
	if why = n.kept[f.ID]; why != "" {
		return why, nil
	}
	if why, err = n.overtaken(ctx, f); why != "" || err != nil {
		return why, err
	}
	_, err = n.sendOne(ctx, f, sessions, "")
	var theirs *bureau.Error
	if err == nil || stopped(err) && ctx.Err() != nil || !errors.As(err, &theirs) {
		return "", err
	}
	why = n.safe(theirs.Error())
	n.Log.Error().Str("run", n.run.ID).Str("file", f.Name).Str("class", theirs.Class.String()).Msg(why)
	return why, nil
}

// unsent keeps why a file was not sent, and puts one that was out before back to what it was. It gives the file's state.
func (n *Night) unsent(ctx context.Context, f ledger.BureauFile, why string) (ledger.BureauFileState, error) {
	if err := n.failed(ctx, f, why); err != nil {
		return f.State, err
	}
	if err := n.sentBefore(ctx, f); err != nil {
		return f.State, err
	}
	now, err := n.Ledger.FileByName(ctx, f.Name)
	return now.State, err
}

// lastOutcome is the newest end of a transfer in a file's history: SENT, UNDECIDED, REFUSED; "" for none.
func (n *Night) lastOutcome(ctx context.Context, f ledger.BureauFile) (last ledger.BureauFileState, err error) {
	history, err := n.Ledger.Deliveries(ctx, f.ID)
	for _, step := range history {
		switch step.State {
		case ledger.Sent, ledger.Undecided, ledger.Refused:
			last = step.State
		}
	}
	return last, err
}

func (n *Night) block(blocked map[string]string, f ledger.BureauFile) {
	if b, ok := n.Config.Bureaus[f.Recipient]; ok && b.AnyOrder {
		return
	}
	if _, already := blocked[f.Recipient]; !already {
		blocked[f.Recipient] = f.Name
	}
}

// failed keeps why a file was not sent; its state stays what it is.
func (n *Night) failed(ctx context.Context, f ledger.BureauFile, why string) error {
	now, err := n.Ledger.FileByName(ctx, f.Name)
	if err != nil {
		return err
	}
	if now.State == ledger.Undecided || now.LastError == why {
		return nil
	}
	return n.Ledger.ChangeFile(ctx, ledger.FileChange{FileID: f.ID, From: []ledger.BureauFileState{now.State}, To: now.State,
		At: n.Now(), RunID: n.run.ID, Size: now.Size, SHA256: now.SHA256, Error: why})
}

// sendOne delivers one frozen file from the state it is in. Where it is sent again
// because a person said so, the recipient may have it under its name already.
func (n *Night) sendOne(ctx context.Context, f ledger.BureauFile, sessions map[string]*bureau.Session, reason string) (ledger.BureauFileState, error) {
	last, err := n.lastOutcome(ctx, f)
	if err != nil {
		return f.State, err
	}
	recipient, err := n.recipient(f.Recipient)
	if err != nil {
		return f.State, &bureau.Error{Class: bureau.Operator, Op: "find the recipient", What: err.Error(), Do: "Put it back into the configuration."}
	}
	j := &journal{n: n, f: f, state: f.State, reason: reason}
	if recipient.Delivery.Method == config.Folder {
		return j.folder(ctx, last)
	}
	if fetched, err := n.mayBeFetched(ctx, f); err != nil {
		return f.State, err
	} else if fetched && f.State != ledger.Renaming {
		return j.undecided(ctx, j.unknown(fmt.Sprintf("it lay in outbox/%s/ under its name while %s fetched its files there, and since then the configuration has another method; nobody can know whether it was fetched", f.Recipient, f.Recipient)))
	}
	s := sessions[f.Recipient]
	if s == nil {
		settings, err := n.settings(f.Recipient, recipient.Delivery)
		if err != nil {
			return f.State, err
		}
		if s, err = bureau.Connect(settings); err != nil {
			return f.State, err
		}
		sessions[f.Recipient] = s
	}
	out := bureau.File{LocalPath: filepath.Join(n.Outbox(f.Recipient), f.Name), RemoteName: f.Name, Size: f.Size, SHA256: f.SHA256}
	if out.Asked, err = n.asked(ctx, f); err != nil {
		return f.State, err
	}
	state, err := s.Deliver(ctx, out, bureau.State(f.State), last != "", j)
	return ledger.BureauFileState(state), err
}

// asked is where the rename of a file was asked for whose end is not known; nil for any other.
func (n *Night) asked(ctx context.Context, f ledger.BureauFile) (asked *bureau.Evidence, err error) {
	if f.State != ledger.Renaming {
		return nil, nil
	}
	history, err := n.Ledger.Deliveries(ctx, f.ID)
	for _, step := range history {
		var ev bureau.Evidence
		if step.State == ledger.Renaming && json.Unmarshal(step.Evidence, &ev) == nil {
			asked = &ev
		}
	}
	return asked, err
}

func (n *Night) recipient(name string) (config.Recipient, error) {
	switch {
	case name == config.CardSystem:
		return n.Config.CardSystem, nil
	case name == config.PINRecipient && n.Config.PINs.Made():
		return n.Config.PINs.Recipient, nil
	case name == config.PINRecipient:
		return config.Recipient{}, errNoPINs
	}
	b, ok := n.Config.Bureaus[name]
	if !ok {
		return config.Recipient{}, fmt.Errorf("the configuration has no bureau %s any more", name)
	}
	return b.Recipient, nil
}

// settings gives package bureau what the configuration says of a way of delivery.
func (n *Night) settings(name string, d config.Delivery) (bureau.Settings, error) {
	s := bureau.Settings{
		Host: d.Host, Port: d.Port, User: d.User, PrivateKeyPath: n.Resolve(d.KeyFile), KnownHosts: n.Resolve(d.KnownHosts),
		Dir: d.Dir, TempSuffix: d.TempSuffix, TempDir: d.TempDir, Stat: d.Stat, ReadBack: d.ReadBack, TakenAway: d.TakenAway,
		Fsync: d.Fsync, Concurrency: d.Concurrency, Ciphers: d.Ciphers, DialTimeout: d.DialTimeout, IdleTimeout: d.IdleTimeout,
		Attempts: d.Attempts, RetryPause: d.RetryPause, Dial: n.Dial,
	}
	if b := n.Config.Bureaus[name]; b.Simulator {
		sim, err := n.simulator(name)
		if err != nil {
			return s, &bureau.Error{Class: bureau.Operator, Op: "start the simulated bureau", What: err.Error(), Do: "mend its keys in simulator/" + name + "/keys"}
		}
		s.DialAddress = sim.Addr()
	}
	return s, nil
}

// journal writes each step of a delivery into the ledger before the next one is taken.
type journal struct {
	n      *Night
	f      ledger.BureauFile
	state  ledger.BureauFileState
	reason string
}

// Record implements [bureau.Journal].
func (j *journal) Record(ctx context.Context, to bureau.State, ev bureau.Evidence, trouble string) error {
	n := j.n
	n.at("send/" + string(to))
	change := ledger.FileChange{FileID: j.f.ID, From: []ledger.BureauFileState{j.state}, To: ledger.BureauFileState(to),
		At: n.Now(), RunID: n.run.ID, Error: trouble, Reason: j.reason}
	if change.To == ledger.Sent || change.To == ledger.Undecided || change.To == ledger.Renaming {
		text, err := json.Marshal(ev)
		if err != nil {
			return fmt.Errorf("keep the evidence of %s: %w", j.f.Name, err)
		}
		change.Evidence = text
	}
	if change.To == ledger.Sent || change.To == ledger.Undecided {
		change.Entry = n.audit("file."+strings.ToLower(string(to)), j.f.Name, string(change.Evidence))
	}
	// What was begun is recorded even when the process was asked to stop meanwhile.
	if err := n.Ledger.ChangeFile(context.WithoutCancel(ctx), change); err != nil {
		return fmt.Errorf("record %s of %s: %w", to, j.f.Name, err)
	}
	j.state = change.To
	n.at("sent/" + string(to))
	if change.To == ledger.Intent || change.To == ledger.Sent { // an older copy of the ledger must not send the file again
		return n.marks.raise(context.WithoutCancel(ctx), n.Ledger)
	}
	return nil
}

// folder delivers by leaving the frozen file in the outbox, where its recipient fetches it. One that is gone before it is
// SENT may have been fetched, or removed, and one whose rename was asked for while the recipient was sent its files may be
// there: nobody knows.
func (j *journal) folder(ctx context.Context, last ledger.BureauFileState) (ledger.BureauFileState, error) {
	if j.state == ledger.Renaming {
		return j.undecided(ctx, j.unknown("a rename was asked for at its server, and since then the configuration has method: folder; nobody can know whether that happened"))
	}
	if j.n.gone(j.f) {
		gone := j.unknown(fmt.Sprintf("it is gone from outbox/%s/, and nobody can know whether %s fetched it there", j.f.Recipient, j.f.Recipient))
		if last == ledger.Sent || last == ledger.Refused {
			return j.state, gone // nothing new was left for it
		}
		return j.undecided(ctx, gone)
	}
	ev := j.here()
	ev.Seen = "frozen file left in the outbox for its recipient"
	err := j.Record(ctx, bureau.Sent, ev, "")
	return j.state, err
}

// unknown is the error of a file of which nobody can know whether its recipient has it, and that is not looked for.
func (j *journal) unknown(what string) *bureau.Error {
	do := "ask, then say reemboss resolve " + j.f.Name + " --delivered or --resend"
	if j.n.gone(j.f) {
		do = "ask, then say reemboss resolve " + j.f.Name + " --delivered, or cancel it with reemboss cancel"
	}
	return &bureau.Error{Class: bureau.BureauLasting, Op: "deliver " + j.f.Name, What: what, Do: do, Err: bureau.ErrUndecided}
}

// undecided records why nobody can know.
func (j *journal) undecided(ctx context.Context, why *bureau.Error) (ledger.BureauFileState, error) {
	if err := j.Record(ctx, bureau.Undecided, j.here(), why.Error()); err != nil {
		return j.state, err
	}
	return j.state, why
}

// here is what is known of the file on this side.
func (j *journal) here() bureau.Evidence {
	return bureau.Evidence{Size: j.f.Size, Name: j.f.Name, SHA256: j.f.SHA256, At: j.n.Now()}
}

// simulator gives the running simulated bureau, starting it when it is first needed.
func (n *Night) simulator(name string) (*bureau.Simulator, error) {
	if s := n.simulators[name]; s != nil {
		return s, nil
	}
	s, err := n.NewSimulator(name, nil)
	if err != nil {
		return nil, err
	}
	if err := s.Start(context.Background(), "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start the simulated bureau %s: %w", name, err)
	}
	n.simulators[name] = s
	return s, nil
}
