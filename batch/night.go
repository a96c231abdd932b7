// Package batch is the night: its stages, in the order they run, one file each.
//
//	collect    take in what the bureaus sent back
//	intake     take files from the inbox, read each once to its end
//	decide     answer every row (package rules)
//	issue      make what the plastic will carry (package issue), row by row with decide
//	write      plan and write the sealed files
//	release    look at each frozen file once more before it may leave
//	send       deliver, exactly once
//	rekey      only while keys are being rotated: bring a part of the ledger under the new ones
//	retain     delete what was delivered and settled long ago
//	reconcile  results, reports, the verdict
//
// Each stage takes what the ledger says is ready for it and commits what it
// did. A run is therefore the same as a restart: there is no recovery path,
// only "continue". Rows move in bounded chunks; memory does not depend on the
// size of a file. A stage returns an error only when the night cannot go on;
// what concerns one file or one bureau is recorded there and the others go on.
package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"time"

	"github.com/rs/zerolog"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/batch/hsm/payshield"
	"reemboss/batch/issue"
	"reemboss/batch/ledger"
	"reemboss/batch/ledger/sqlite"
	"reemboss/batch/notify"
	"reemboss/batch/report"
	"reemboss/batch/rules"
	"reemboss/bureau"
)

// chunkRows is how many rows are decided and committed together.
const chunkRows = 5000

// Version of the program, told in reports and in the ledger.
var Version = "0.1.0"

// Night is one process working on a run. Make it with [Open]; every field that
// reaches outside (clock, sleep, random source, checkpoint) may be replaced
// before [Night.Run] by a test.
type Night struct {
	Workspace
	Config *config.Config
	Ledger ledger.Ledger
	Log    zerolog.Logger
	// Now is the clock, Sleep waits or returns the context's error, Random makes uids and session keys.
	Now    func() time.Time
	Sleep  func(ctx context.Context, d time.Duration) error
	Random io.Reader
	// Dial connects to bureaus; nil is net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Login is the login of whoever runs this process, by its user id.
	Login func() (string, error)
	// Progress is told how far a stage is; total is 0 when unknown. It may be nil.
	Progress func(stage string, done, total int64)
	// Checkpoint is called with a name at each stage boundary and at each step of
	// writing and delivery; a test ends the process there. It may be nil.
	Checkpoint func(point string)
	// ClockIsRight is a person's word that a clock which is behind the last run is right now.
	ClockIsRight bool

	ledgerOptions sqlite.Options

	chunk        int // rows decided and committed together
	piece        int // rows brought under new keys together
	keyset       *hsm.Keyset
	software     hsm.Backend    // nil without keys of backend software
	cardKeys     *hsm.Route     // every card key at its place; nil until a run begins
	opened       []openKeys     // tokens and modules
	pins         payshield.PINs // nil without PIN files
	pinModules   io.Closer      // what pins works in
	policy       *rules.Policy
	layouts      map[string]*bureauLayout
	ranges       map[string]*panRange
	maker        *issue.Maker
	ownKey       *bureau.Key
	former       []*bureau.Key // ours of before, see formerkeys.go
	marks        *marks
	zone         *time.Location
	who          string
	host         string
	notes        []string          // for the report: what this process noticed
	waiting      map[string]string // recipient → why its orders wait
	stuck        map[string]bool   // recipients of a planned file that could not be written; no later file of theirs is planned
	kept         map[int64]string  // outgoing files that may not leave in this run, and why
	elsewhere    time.Duration     // of the running stage, recorded under another name
	needs        []report.Need     // found out in this process
	untaken      untaken           // files that could not be taken from an inbox, and why
	untakenFiles int               // how many
	warnings     []string          // likewise, of those who could not be told
	reported     int               // how many warnings the written report has
	notifier     *notify.Notifier
	simulators   map[string]*bureau.Simulator
	latest       time.Time // that the clock showed
	setBack      bool      // the clock was, and a person is told
	unlock       func()
	door         *os.File // held while the ledger is open, see door.go
	run          ledger.Run
}

// Result is how a run ended.
type Result struct {
	*report.Reconciliation
	Exit int
}

// Run works the night to its end, or continues the one that was not finished.
// Tokens and modules that hold card keys prove themselves first: what is wrong
// with one is a [SetupError] and nothing was done. Any other error is a night
// that stopped before its end; the next call goes on from there.
func (n *Night) Run(ctx context.Context) (*Result, error) {
	if err := n.openNotifier(); err != nil {
		return nil, err
	}
	if err := n.openCardKeys(ctx); err != nil {
		n.tellNotBegun(ctx, err)
		return nil, err
	}
	if err := n.checkClock(ctx); err != nil {
		n.tellNotBegun(ctx, err)
		return nil, err
	}
	result, err := n.work(ctx)
	if err != nil {
		n.tellFailure(ctx, err)
	}
	return result, err
}

func (n *Night) work(ctx context.Context) (*Result, error) {
	now := n.Now()
	run, resumed, err := n.Ledger.BeginRun(ctx, now, now.In(n.zone).Format(time.DateOnly), n.host, Version)
	if err != nil {
		return nil, fmt.Errorf("begin the run: %w", err)
	}
	n.run = run
	n.Log.Info().Str("run", run.ID).Bool("continued", resumed).Msg("run started")
	if err := n.Ledger.Append(ctx, n.entry("run.started", run.ID, "")); err != nil {
		return nil, err
	}
	if err := n.marks.raise(ctx, n.Ledger); err != nil { // before anything is told under the run's id
		return nil, err
	}
	if err := n.notifier.Began(ctx, run.ID); err != nil {
		n.Log.Warn().Str("run", run.ID).Msg(err.Error())
	}
	if err := n.sweep(n.places()...); err != nil {
		return nil, err
	}
	for _, stage := range []struct {
		name string
		work func(context.Context) (items int64, err error)
	}{
		{"collect", n.collect},
		{"intake", n.intake},
		{"decide", n.decide}, // with issue: see decide.go
		{"write", n.write},
		{"release", n.release},
		{"send", n.send},
		{"retain", n.retain},
	} {
		n.at("stage/" + stage.name)
		if err := n.timed(ctx, stage.name, stage.work); err != nil {
			return nil, err
		}
	}
	if err := n.rekey(ctx); err != nil {
		return nil, fmt.Errorf("rekey: %w", err)
	}
	n.at("stage/reconcile")
	return n.reconcile(ctx)
}

// places are the folders that a run, an import or a repeated report writes files into.
func (n *Night) places() []string {
	list := []string{n.Path("state"), n.Intake(), n.HeldReturns(), n.AuditHeads(), n.Path("keys")}
	for name := range n.Config.Bureaus {
		list = append(list, n.Path("returns", name), n.Path("returns", name, "quarantine"))
	}
	for _, parent := range []string{"reports", "done", "refused"} {
		entries, err := os.ReadDir(n.Path(parent))
		if err != nil {
			continue // it is made when it is needed
		}
		for _, e := range entries {
			if e.IsDir() {
				list = append(list, n.Path(parent, e.Name()))
			}
		}
	}
	for _, r := range n.recipients() {
		list = append(list, n.Outbox(r))
	}
	return list
}

// timed runs one stage and records how long it took, less what the stage recorded for another one meanwhile.
func (n *Night) timed(ctx context.Context, name string, work func(context.Context) (int64, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	started := n.Now()
	n.elsewhere = 0
	items, err := work(ctx)
	n.watchClock(started)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	started = started.Add(n.elsewhere)
	if items > 0 {
		n.progress(name, items, items)
	}
	n.Log.Info().Str("run", n.run.ID).Str("stage", name).Int64("items", items).Float64("seconds", n.Now().Sub(started).Seconds()).Msg("stage done")
	return n.Ledger.RecordStage(ctx, ledger.Stage{RunID: n.run.ID, Name: name, StartedAt: started, EndedAt: n.Now(), Items: items})
}

// Close gives tokens, modules and the lock back and closes the ledger.
func (n *Night) Close() error {
	for _, s := range n.simulators {
		_ = s.Close()
	}
	var raised error
	if n.unlock != nil && n.marks != nil { // an act of a person moves no counter, and must be missed all the same
		raised = n.marks.raise(context.Background(), n.Ledger)
	}
	err := errors.Join(raised, n.closeCardKeys(), n.Ledger.Close())
	n.leaveDoor()
	if n.unlock != nil {
		n.unlock()
		n.unlock = nil
	}
	return err
}

func (n *Night) at(point string) {
	if n.Checkpoint != nil {
		n.Checkpoint(point)
	}
}

func (n *Night) progress(stage string, done, total int64) {
	if n.Progress != nil {
		n.Progress(stage, done, total)
	}
}

// note keeps a sentence for the report and logs it.
func (n *Night) note(format string, args ...any) {
	sentence := n.safe(fmt.Sprintf(format, args...))
	n.notes = append(n.notes, sentence)
	n.Log.Warn().Str("run", n.run.ID).Msg(sentence)
}

// entry is an audit entry by this process.
func (n *Night) entry(what, subject, detail string) ledger.AuditEntry {
	return ledger.AuditEntry{At: n.Now(), Who: n.who, What: what, Subject: n.safe(subject), Detail: n.safe(detail)}
}

// sleep waits for d or until the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// identity is who works: user@host.
func identity() (who, host string) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown-host"
	}
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if name == "" {
		name = fmt.Sprintf("uid-%d", os.Getuid())
	}
	return name + "@" + host, host
}

// stopped says whether err only means that this process was asked to stop (exit code 5).
func stopped(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
