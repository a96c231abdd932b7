// Command reemboss is the nightly job of card issuers and their bureaus: it
// reads re-embossing and reissue requests, answers every row, writes sealed
// embosser files, delivers them and accounts for every card.
//
// This package wires and nothing else: one file per command, each turning
// flags into a call of package batch and its result into words and an exit
// code (exit.go).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"reemboss/batch"
	"reemboss/batch/hsm"
)

// commands are all that this version can do; what is not built is not here.
type commands struct {
	Dir      string `help:"The workspace." env:"REEMBOSS_DIR" default:"." type:"path" placeholder:"DIR"`
	LogLevel string `help:"What is logged to standard error: debug, info, warn, error." enum:"debug,info,warn,error" default:"${loglevel}"`

	Demo    demoCommand    `cmd:"" help:"A whole night on sample data against bureaus in the same process, then shows what it did."`
	Init    initCommand    `cmd:"" help:"Make a workspace: folders, fresh keys, simulated bureaus, a commented configuration."`
	Run     runCommand     `cmd:"" help:"The nightly job. Safe to start again at any time; it continues where the last one stopped."`
	Check   checkCommand   `cmd:"" help:"What run would say to each row of the files, without doing it."`
	Cards   cardsCommand   `cmd:"" help:"The card registry."`
	Status  statusCommand  `cmd:"" help:"Runs, outgoing files and their balance, what waits for a person."`
	Approve approveCommand `cmd:"" help:"Release a file that is held for a second person; the next run writes it."`
	Resend  resendCommand  `cmd:"" help:"Send a file once more: the same bytes, recorded."`
	Resolve resolveCommand `cmd:"" help:"Decide a transfer whose end nobody can know from here."`
	Cancel  cancelCommand  `cmd:"" help:"Give up a file that the bureau refused or that can never be written (its number is VOID, its cards go into the next file), or one that is held (its orders are cancelled)."`
	Settle  settleCommand  `cmd:"" help:"Decide what a bureau told and what contradicts it."`
	Card    cardCommand    `cmd:"" help:"The whole history of one card."`
	Backup  backupCommand  `cmd:"" help:"What the workspace remembers, sealed, in one file; also while a night runs."`
	Restore restoreCommand `cmd:"" help:"Put a backup back: numbers skip ahead by what you say, and nothing that a lost night may have done is done again without a person."`
	Audit   auditCommand   `cmd:"" help:"The audit log."`
	Report  reportCommand  `cmd:"" help:"Write the reports of a run again."`
	Bureau  bureauCommand  `cmd:"" help:"A bureau's host key; a bureau to try against."`
	Keys    keysCommand    `cmd:"" help:"The keys: what there is, whether it lasts, new ones, rotation."`
	Config  configCommand  `cmd:"" help:"The configuration."`

	Version kong.VersionFlag `help:"Print the version."`
}

// session is what every command works with.
type session struct {
	context.Context
	dir   string
	level string
	out   io.Writer // what the command answers
	err   io.Writer // logs, progress, complaints
	// seams are set by tests only: another disk, dialer, checkpoint, word of commits.
	seams batch.Options
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, batch.Options{})) }

// run is main without the process around it.
func run(args []string, out, errOut io.Writer, seams batch.Options) (code int) {
	if err := hsm.Harden(); err != nil {
		fmt.Fprintf(errOut, "reemboss: %v\n", err)
		return exitFault
	}
	// Asked to stop, the night ends at its next safe point; asked twice, at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	var c commands
	exited := -1
	parser, err := kong.New(&c, kong.Name("reemboss"), kong.Writers(out, errOut), kong.Exit(func(code int) { exited = code }),
		kong.Description("Re-embossing and reissue of cards: requests in, sealed embosser files out, every card accounted for."),
		kong.Vars{"version": "reemboss " + batch.Version, "loglevel": defaultLevel(errOut)},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.UsageOnError())
	if err != nil {
		fmt.Fprintf(errOut, "reemboss: %v\n", err)
		return exitFault
	}
	k, err := parser.Parse(args)
	if exited >= 0 { // --help, --version
		return exited
	}
	if err != nil {
		explain(errOut, fmt.Errorf("%w (reemboss --help shows what there is)", err))
		return exitUsage
	}
	s := &session{Context: ctx, dir: c.Dir, level: c.LogLevel, out: out, err: errOut, seams: seams}
	err = k.Run(s)
	var code4 exitCode
	if errors.As(err, &code4) {
		return int(code4)
	}
	if err != nil {
		explain(errOut, err)
	}
	return exitOf(ctx, err)
}
