package batch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"reemboss/batch/config"
	"reemboss/batch/durable"
	"reemboss/batch/hsm"
	"reemboss/batch/issue"
	"reemboss/batch/ledger"
	"reemboss/batch/ledger/sqlite"
	"reemboss/batch/rules"
	"reemboss/bureau"
	"reemboss/formats/layout"
)

// systemRandom is the kernel's source of random bytes.
var systemRandom io.Reader = rand.Reader

// Options are what a command gives a night. Zero fields get the real thing.
type Options struct {
	Lock       bool // the command changes something: take the workspace's lock
	Log        zerolog.Logger
	Now        func() time.Time
	Sleep      func(ctx context.Context, d time.Duration) error
	Random     io.Reader
	Disk       durable.Disk // what is written to; not the ledger, whose files are SQLite's
	Progress   func(stage string, done, total int64)
	Checkpoint func(point string)
	// Ledger is how the ledger's file is opened.
	Ledger sqlite.Options
	// Dial connects to bureaus; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// UserID is the account that the process works as; nil: its effective user id.
	UserID func() int
	// Access says what keeps the process from reading (4), writing (2) or entering (1) a path; nil: the kernel.
	Access func(path string, how uint32) error
}

// privilege is who works, and whether the workspace is to change.
func (o Options) privilege() privilege {
	who := privilege{uid: os.Geteuid(), change: o.Lock, access: o.Access}
	if o.UserID != nil {
		who.uid = o.UserID()
	}
	if who.access == nil {
		who.access = access
	}
	return who
}

// SetupError is a mistake of the configuration or of the keys it names: exit code 2, nothing was done.
type SetupError struct{ Err error }

func (e *SetupError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *SetupError) Unwrap() error { return e.Err }

func setup(format string, args ...any) error { return &SetupError{fmt.Errorf(format, args...)} }

// bureauLayout is a bureau's compiled layout.
type bureauLayout struct{ *layout.Layout }

// productOf is the product's part of a layout's sort key.
func productOf(sortKey string) string {
	product, _, _ := strings.Cut(sortKey, "\x1f")
	return product
}

// Open loads a workspace and checks all that a night stands on, rights of files
// first, keys and check values included, before it touches anything; card keys in tokens and modules
// are left to [Night.Run]. Errors: [SetupError],
// [ErrLocked], [ledger.ErrBehind] for a ledger that is an older copy, [ledger.ErrDamaged], [ErrMarksDamaged].
func Open(ctx context.Context, dir string, o Options) (*Night, error) {
	n, err := newNight(dir, o)
	if err != nil {
		return nil, err
	}
	if err := n.allowed(o.privilege()); err != nil {
		return nil, err
	}
	if o.Lock {
		if err := n.reachRun(o.privilege()); err != nil {
			return nil, err
		}
	}
	if err := n.openKeys(ctx); err != nil {
		return nil, err
	}
	if err := n.openRules(); err != nil {
		return nil, err
	}
	if o.Lock {
		if n.unlock, err = n.Workspace.lock(); err != nil {
			return nil, err
		}
		if err := n.keyset.Reread(); err != nil { // the lock's last holder may have rotated the keys
			n.unlock()
			return nil, setup("%w", err)
		}
	}
	if err := n.openLedger(ctx, o.Lock); err != nil {
		if n.Ledger != nil {
			_ = n.Ledger.Close()
		}
		n.leaveDoor()
		if n.unlock != nil {
			n.unlock()
		}
		return nil, err
	}
	return n, nil
}

// newNight loads the configuration of a workspace, and nothing else of it.
func newNight(dir string, o Options) (*Night, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, setup("find the workspace: %w", err)
	}
	w := Workspace{Dir: dir, Files: durable.Files{Disk: o.Disk}}
	cfg, err := config.Load(w.Config())
	if errors.Is(err, fs.ErrNotExist) && cfg == nil {
		return nil, setup("%s is no workspace: it has no config.yaml; name the workspace with --dir or REEMBOSS_DIR, or make one with reemboss init DIR", dir)
	}
	if cfg == nil {
		return nil, &SetupError{err}
	}
	n := &Night{Workspace: w, Config: cfg, Log: o.Log, Now: o.Now, Sleep: o.Sleep, Random: o.Random, Progress: o.Progress, Checkpoint: o.Checkpoint, Dial: o.Dial, ledgerOptions: o.Ledger,
		chunk: chunkRows, piece: rekeyRows, waiting: map[string]string{}, stuck: map[string]bool{}, kept: map[int64]string{}, simulators: map[string]*bureau.Simulator{}}
	n.ledgerOptions.Create = true
	if n.Now == nil {
		n.Now = time.Now
	}
	if n.Sleep == nil {
		n.Sleep = sleep
	}
	if n.Random == nil {
		n.Random = systemRandom
	}
	n.Login = ownLogin
	n.who, n.host = identity()
	if err != nil { // with mistakes a configuration is good for looking further, and for nothing else
		return n, &SetupError{err}
	}
	if n.zone, err = time.LoadLocation(cfg.TimeZone); err != nil {
		return nil, setup("time_zone: %w", err)
	}
	return n, nil
}

// openKeys opens the keyset and our PGP key and proves the card verification keys of backend software.
func (n *Night) openKeys(ctx context.Context) error {
	kek, err := n.loadKEK(ctx)
	if err != nil {
		return setup("key-encryption key: %w", err)
	}
	defer clear(kek)
	if n.keyset, err = hsm.OpenKeyset(n.Keyset(), kek); err != nil {
		return setup("keyset: %w", err)
	}
	n.keyset.Files = n.Files
	if err := n.softwareKeys(); err != nil {
		return err
	}
	passphrase, err := n.passphrase()
	if err != nil {
		return err
	}
	if n.ownKey, err = bureau.ReadPrivateKey(n.Resolve(n.Config.Keys.SigningKey), passphrase, n.Config.Keys.Fingerprint, n.Now()); err != nil {
		return &SetupError{err}
	}
	return n.openFormerKeys()
}

func (n *Night) passphrase() ([]byte, error) {
	ref := n.Config.Keys.Passphrase
	if ref == (config.SecretRef{}) {
		return nil, nil
	}
	secret, err := hsm.LoadText(ref, n.Dir)
	if err != nil {
		return nil, setup("passphrase of our PGP key: %w", err)
	}
	return secret, nil
}

// openRules compiles the policy, the layouts and the PAN ranges.
func (n *Night) openRules() error {
	var err error
	if n.maker, err = issue.NewMaker(n.Config); err != nil {
		return &SetupError{err}
	}
	if n.policy, err = rules.New(n.Config, n.maker.CheckName); err != nil {
		return &SetupError{err}
	}
	n.layouts = map[string]*bureauLayout{}
	names := map[string]string{} // of a first file → its bureau
	for _, name := range slices.Sorted(maps.Keys(n.Config.Bureaus)) {
		b := n.Config.Bureaus[name]
		lay, err := n.loadLayout(b.Layout)
		if err != nil {
			return setup("layout of bureau %s: %w", name, err)
		}
		first, err := layout.FileName(b.FileName, layout.NameData{Client: b.Client, Bureau: name, Sequence: 1, Time: n.Now(), Ext: lay.Extension()})
		if err != nil {
			return setup("file_name of bureau %s: %w", name, err)
		}
		if other, taken := names[first]; taken {
			return setup("file_name of bureaus %s and %s gives both the name %s, and a name is used once only; put {bureau} into it", other, name, first)
		}
		names[first] = name
		n.layouts[name] = &bureauLayout{lay}
	}
	n.ranges = map[string]*panRange{}
	for name, r := range n.Config.Ranges {
		key, err := n.keyset.Allocation(r.Key)
		if err != nil {
			return setup("range %s: %w", name, err)
		}
		alloc, err := issue.NewAllocator(rangeParams(name, r), key)
		if err != nil {
			return setup("range %s: %w", name, err)
		}
		n.ranges[name] = &panRange{name: name, alloc: alloc}
	}
	return nil
}

func rangeParams(name string, r config.Range) ledger.RangeParams {
	return ledger.RangeParams{Name: name, Prefix: r.Prefix, Key: r.Key, Tweak: r.Tweak, PANLength: r.PANLength, From: r.From, To: r.To}
}

func (n *Night) loadLayout(name string) (*layout.Layout, error) {
	if text, ok := layout.Builtin(name); ok {
		return layout.Compile(name, text)
	}
	text, err := os.ReadFile(n.Resolve(name))
	if err != nil {
		return nil, fmt.Errorf("%q is none of the built-in layouts (%s) and no file that can be read: %w", name, strings.Join(layout.Names(), ", "), err)
	}
	return layout.Compile(filepath.Base(name), text)
}

// openLedger opens what is remembered and compares it with what it stands on.
func (n *Night) openLedger(ctx context.Context, change bool) error {
	if change {
		n.missingInboxes()
		if err := n.prepare(n.recipients()); err != nil {
			return setup("%w", err)
		}
		if err := n.movable(); err != nil {
			return setup("%w", err)
		}
	}
	if err := n.enterDoor(false); err != nil {
		return err
	}
	options := n.ledgerOptions
	options.KeepLog = !change // who only looks leaves what a killed process left to the one who checks it
	opened, err := sqlite.Open(n.LedgerFile(), n.keyset, options)
	if err != nil {
		return fmt.Errorf("open the ledger: %w", err)
	}
	n.Ledger = opened // only now: an interface that holds a nil pointer is not nil
	if n.marks, err = readMarks(n.MarksFile(), n.Files); err != nil {
		return err
	}
	if !change {
		return nil
	}
	if err := opened.CheckLeft(ctx); err != nil { // before anything is decided by it
		return err
	}
	if err := n.endRestore(ctx); err != nil {
		return fmt.Errorf("end the restore that was cut: %w", err)
	}
	if err := n.marks.check(ctx, n.Ledger); err != nil {
		return err
	}
	if err := n.notOlder(ctx); err != nil {
		return err
	}
	for name, r := range n.Config.Ranges {
		if err := n.Ledger.EnsureRange(ctx, rangeParams(name, r)); err != nil {
			if errors.Is(err, ledger.ErrRangeChanged) {
				return setup("range %s: %w; give the new parameters to a new range with another name", name, err)
			}
			return err
		}
	}
	return nil
}

// recipients are all who get files, in the order of their names.
func (n *Night) recipients() []string {
	list := []string{config.CardSystem}
	if n.Config.PINs.Made() {
		list = append(list, config.PINRecipient)
	}
	for name := range n.Config.Bureaus {
		list = append(list, name)
	}
	sort.Strings(list)
	return list
}

// recipientKey reads a recipient's pinned key; an expired, revoked, weak or wrong one is an error and no file is made.
// An escrow key that is not usable is one too.
func (n *Night) recipientKey(r config.Recipient) (*bureau.Key, error) {
	if _, err := n.escrowKey(r); err != nil {
		return nil, err
	}
	return bureau.ReadPublicKey(n.Resolve(r.PGP.KeyFile), r.PGP.Fingerprint, n.Now())
}
