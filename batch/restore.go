package batch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/ledger/sqlite"
	"reemboss/formats/iso"
)

// A restore puts the ledger of a backup in the place of the present one. What
// happened since the backup, the lost nights, this ledger will never know; so
// nothing that they may have given out is given out again (a person says by how
// much numbers skip ahead), and nothing that they may have done is done again
// without a person's word:
//
//	counters            max(backup, marks, present ledger, outbox/ and reports/) + what the person says; what lies between is recorded
//	PSNs                each card number passes over as many as the person says
//	the open run        ends with exit code 5; its id is not used again
//	outgoing files      planned and not known to have arrived: UNDECIDED
//	orders in no file   HELD, whatever was approved before
//	request files       claimed and not decided: refused by the next run as a whole
//	new PINs            of cards in a bureau's file that are in no PIN file: due
//
// All this is done to the copy from the backup, in state/backup/restoring/,
// before it takes the place of the ledger by one rename (swap.go).

// Skip is by how much numbers skip ahead.
type Skip struct {
	Sequences int64 // of each recipient's files
	Cards     int64 // of new cards: ids, and numbers of each PAN range
	PSNs      int64 // of each card number
	Runs      int64 // numbers of runs
}

// RestoreRequest is what a person asks for. A nil field of Skip was not said.
type RestoreRequest struct {
	File                         string
	Sequences, Cards, PSNs, Runs *int64
	Reason                       string
}

// RestoreTold is what a restore did.
type RestoreTold struct {
	MadeAt    time.Time  `json:"made_at"` // the backup
	Entries   int64      `json:"audit_entries"`
	Aside     string     `json:"replaced,omitempty"` // where the replaced ledger is, relative to the workspace; "" for none
	Skipped   []SkipTold `json:"skipped"`
	Exhausted []string   `json:"exhausted"` // ranges of card numbers, and new_card_ids, that it used up
	Undecided []string   `json:"undecided"` // outgoing files
	Held      []string   `json:"held"`      // holds
	Doubtful  []string   `json:"doubtful"`  // request files that the next run refuses
	Gone      []string   `json:"gone"`      // request files whose bytes are not where the ledger says
}

// SkipTold are the numbers of a counter that are not given out any more.
type SkipTold struct {
	Counter string `json:"counter"`
	First   int64  `json:"first"`
	Last    int64  `json:"last"`
}

// told says that the person has said all the numbers.
func (r RestoreRequest) told() bool {
	return r.Sequences != nil && r.Cards != nil && r.PSNs != nil && r.Runs != nil
}

// Restore puts a backup back. It holds the workspace's lock and wants the ledger
// for itself. After a crash at any point the ledger is the old one or the new
// one, and the command can be given again. Errors: [SetupError] (nothing was
// changed: the file is not a backup of this workspace, is damaged, or was made
// by a newer program; a number was not said), [ErrLocked], [ErrLooked].
func Restore(ctx context.Context, dir string, o Options, r RestoreRequest) (*RestoreTold, error) {
	if r.told() { // else it is asked for with the numbers
		if err := given(r.Reason); err != nil {
			return nil, err
		}
	}
	r.Reason = iso.MaskLikely(printable(r.Reason)) // no index says yet what is a card number
	n, err := openOwn(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	if n.unlock, err = n.Workspace.lock(); err != nil {
		return nil, err
	}
	defer func() { n.unlock() }()
	if n.keyset, err = n.openKeyset(ctx); err != nil {
		return nil, &SetupError{err}
	}
	if err := n.enterDoor(true); err != nil {
		return nil, err
	}
	defer n.leaveDoor()
	if err := n.prepare(n.recipients()); err != nil {
		return nil, setup("%w", err)
	}
	return n.restore(ctx, r)
}

// restoringIn is where a backup is unpacked and made ready.
func (w Workspace) restoringIn() string { return filepath.Join(w.Backups(), "restoring") }

func (n *Night) restore(ctx context.Context, r RestoreRequest) (*RestoreTold, error) {
	folder := n.restoringIn()
	var err error
	n.marks, err = readMarks(n.MarksFile(), n.Files)
	if errors.Is(err, ErrMarksDamaged) { // they are set aside; without them a person says more
		n.marks, err = &marks{path: n.MarksFile(), files: n.Files, high: map[string]int64{}}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := n.endCutRestore(ctx); err != nil {
		return nil, fmt.Errorf("end the restore that was cut: %w", err)
	}
	if err := errors.Join(n.Files.RemoveAll(folder), n.Files.MkdirAll(folder)); err != nil {
		return nil, fmt.Errorf("make the folder of the restore: %w", err)
	}
	list, err := n.unpack(ctx, r.File, folder)
	if err != nil {
		return nil, errors.Join(err, n.Files.RemoveAll(folder))
	}
	n.at("restore/unpacked")
	staged, err := n.openStaged(ctx, folder, list)
	if err != nil {
		return nil, errors.Join(err, n.Files.RemoveAll(folder))
	}
	present := n.present(ctx)
	told, head, err := n.makeReady(ctx, staged, list, present, r)
	if err := errors.Join(err, staged.Close()); err != nil {
		return nil, errors.Join(err, n.Files.RemoveAll(folder))
	}
	if err := sqlite.Fold(filepath.Join(folder, partLedger)); err != nil {
		return nil, err
	}
	n.at("restore/ready")
	told.Aside, err = n.swap(ctx, head)
	return told, err
}

// openStaged opens the unpacked ledger and checks all of it: pages, audit chain, signed heads, keys.
func (n *Night) openStaged(ctx context.Context, folder string, list *backupList) (_ *sqlite.Ledger, err error) {
	l, err := sqlite.Open(filepath.Join(folder, partLedger), n.keyset, sqlite.Options{})
	if err != nil {
		return nil, setup("the ledger of the backup cannot be opened: %w; nothing was changed", err)
	}
	defer func() {
		if err != nil {
			_ = l.Close()
		}
	}()
	if err := l.CheckIntegrity(ctx); err != nil {
		return nil, setup("the ledger of the backup: %w; nothing was changed", err)
	}
	if _, err := n.verifyAudit(ctx, l, filepath.Join(folder, partHeads)); err != nil {
		return nil, setup("the audit log of the backup: %w; nothing was changed", err)
	}
	head, err := l.AuditHead(ctx)
	if err != nil {
		return nil, err
	}
	if head != (ledger.Chain{Seq: list.Audit.Seq, Hash: list.Audit.Hash}) {
		return nil, setup("the ledger of the backup is not the one that its list speaks of; nothing was changed")
	}
	if err := n.keysOpen(ctx, l); err != nil {
		return nil, err
	}
	return l, nil
}

// keysOpen says whether the keyset has the keys of the backup's rows: one that was retired since is missed now, not in the night.
func (n *Night) keysOpen(ctx context.Context, l ledger.Ledger) error {
	use, err := l.KeyUse(ctx)
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for _, k := range n.keyset.Keys() {
		have[k.ID] = true
	}
	for _, ids := range []map[string]int64{use.Sealed, use.Indexed} {
		for _, id := range slices.Sorted(maps.Keys(ids)) {
			if id != "" && !have[id] && ids[id] > 0 {
				return setup("%d card numbers of the backup are under the key %s, which was retired from the keyset since; put the keyset of then back; nothing was changed", ids[id], id)
			}
		}
	}
	return nil
}

// presentLedger is what the disk says of the ledger that is to be replaced.
type presentLedger struct {
	there    bool // and can be read
	head     ledger.Chain
	counters map[string]int64
}

// present looks at the ledger that is to be replaced. One that is missing or cannot be read says nothing.
func (n *Night) present(ctx context.Context) (p presentLedger) {
	l, err := sqlite.Open(n.LedgerFile(), n.keyset, sqlite.Options{})
	if err != nil {
		return p
	}
	defer l.Close()
	head, err := l.AuditHead(ctx)
	if err != nil {
		return p
	}
	counters, err := l.Counters(ctx)
	if err != nil {
		return p
	}
	return presentLedger{there: true, head: head, counters: counters}
}

// makeReady does to the unpacked ledger all that must be done before it is used, and gives the newest entry of its chain.
func (n *Night) makeReady(ctx context.Context, l *sqlite.Ledger, list *backupList, present presentLedger, r RestoreRequest) (*RestoreTold, ledger.Chain, error) {
	none := ledger.Chain{}
	backup, err := l.Counters(ctx)
	if err != nil {
		return nil, none, err
	}
	known := n.lowest(backup, n.marks.high, present.counters)
	left, err := n.traces(ctx, l)
	if err != nil {
		return nil, none, err
	}
	earlier, err := l.Restorations(ctx)
	if err != nil {
		return nil, none, err
	}
	left = left.since(earlier)
	counted := n.countedByReports(left, backup, known)
	lowest := n.lowest(known, counted, left.numbers())
	since := n.since(list, present)
	beyond := int64(len(left.beyond(backup, known)))
	since.files = left.uncounted(n.lowest(known, counted))
	since.marked = since.marked && beyond == 0 && !since.files
	since.went = since.went || len(left.runs)+len(left.sealed) > 0
	since.runs += beyond
	skip, err := n.skip(r, list, backup, lowest, since)
	if err != nil {
		return nil, none, err
	}
	told := &RestoreTold{MadeAt: list.MadeAt, Entries: list.Audit.Seq, Skipped: []SkipTold{}, Exhausted: []string{}, Undecided: []string{}, Held: []string{}, Doubtful: []string{}, Gone: []string{}}
	restoration := ledger.Restoration{At: n.Now(), Who: n.who, Reason: r.Reason, BackupAt: list.MadeAt, Replaced: present.head, PSNs: skip.PSNs,
		Trouble: fmt.Sprintf("The ledger was restored from a backup of %s, and a night since then may have sent this file. Ask its recipient whether it is there.", list.MadeAt.Format("2006-01-02 15:04 UTC"))}
	runs, err := l.LastRuns(ctx, auditRuns)
	if err != nil {
		return nil, none, err
	}
	restoration.Counters = n.raised(lowest, backup, skip, runs)
	told.Exhausted = n.exhausted(backup, restoration.Counters)
	if err := n.undecidedBy(ctx, l, told); err != nil {
		return nil, none, err
	}
	if err := n.intakeBy(ctx, l, &restoration, told); err != nil {
		return nil, none, err
	}
	restoration.Entry = n.entry("ledger.restored", iso.MaskLikely(printable(filepath.Base(r.File))), n.restoredDetail(list, present, skip, r.Reason))
	n.at("restore/begin")
	if _, err := l.Restore(ctx, restoration); err != nil {
		return nil, none, err
	}
	if err := n.holdRestored(ctx, l, runs, told); err != nil {
		return nil, none, err
	}
	restorations, err := l.Restorations(ctx)
	if err != nil {
		return nil, none, err
	}
	for _, s := range restorations[len(restorations)-1].Skipped {
		told.Skipped = append(told.Skipped, SkipTold(s))
	}
	head, err := l.AuditHead(ctx)
	if err != nil {
		return nil, none, err
	}
	if list.OpenRun != "" { // it has ended now, and every run that ended has its signed head
		err = n.signHead(list.OpenRun, head, filepath.Join(n.restoringIn(), partHeads))
	}
	return told, head, err
}

// restoredDetail is what the audit log says of a restore.
func (n *Night) restoredDetail(list *backupList, present presentLedger, skip Skip, reason string) string {
	replaced := "no ledger that could be read was replaced"
	if present.there {
		replaced = fmt.Sprintf("the replaced ledger ended with entry %d (%s)", present.head.Seq, present.head.Hash)
	}
	return fmt.Sprintf("backup of %s, entry %d; %s; skipped ahead by %d sequences, %d cards, %d psns, %d runs: %s",
		list.MadeAt.Format(time.RFC3339), list.Audit.Seq, replaced, skip.Sequences, skip.Cards, skip.PSNs, skip.Runs, reason)
}

// lowest are the counters as everything that is left knows them: the highest
// value of each, and 0 for one that nobody moved yet.
func (n *Night) lowest(sources ...map[string]int64) map[string]int64 {
	all := map[string]int64{cardIDCounter: 0, "runs": 0}
	for _, r := range n.recipients() {
		all["sequence/"+r] = 0
	}
	for name := range n.Config.Ranges {
		all[rangeCounter(name)] = 0
	}
	for _, source := range sources {
		for name, value := range source {
			all[name] = max(all[name], value)
		}
	}
	return all
}

// raised are the counters after the restore.
func (n *Night) raised(lowest, backup map[string]int64, skip Skip, runs []ledger.Run) map[string]int64 {
	to := maps.Clone(lowest)
	for name, value := range lowest {
		switch {
		case strings.HasPrefix(name, "sequence/"):
			to[name] = value + skip.Sequences
		case strings.HasPrefix(name, "range/"), name == cardIDCounter:
			to[name] = value + skip.Cards
		case name == "runs":
			to[name] = value + skip.Runs
		}
	}
	// Only today's runs can meet a lost one of the same date.
	date := n.Now().In(n.zone).Format(time.DateOnly)
	today := runCounter(date)
	if lost := to["runs"] - backup["runs"]; lost > 0 {
		to[today] = max(to[today], lastOfDate(runs, date)+lost)
	}
	return to
}

// exhausted names the ranges that had numbers left and have none after the restore.
func (n *Night) exhausted(backup, raised map[string]int64) []string {
	list := []string{}
	usedUp := func(counter, name string, size int64) {
		if backup[counter] < size && raised[counter] >= size {
			list = append(list, name)
		}
	}
	usedUp(cardIDCounter, "new_card_ids", n.Config.NewCardIDs.To-n.Config.NewCardIDs.From+1)
	for _, name := range slices.Sorted(maps.Keys(n.Config.Ranges)) {
		r := n.Config.Ranges[name]
		usedUp(rangeCounter(name), "ranges."+name, r.To-r.From+1)
	}
	return list
}

// lastOfDate is the highest number of the runs of a date.
func lastOfDate(runs []ledger.Run, date string) (last int64) {
	for _, r := range runs {
		if number, ok := strings.CutPrefix(r.ID, date+"-"); ok {
			if v, err := strconv.ParseInt(number, 10, 64); err == nil {
				last = max(last, v)
			}
		}
	}
	return last
}

// undecidedBy names the outgoing files that the restore puts to a person.
func (n *Night) undecidedBy(ctx context.Context, l ledger.Ledger, told *RestoreTold) error {
	files, err := l.BureauFiles(ctx, ledger.FileQuery{Brief: true, States: append([]ledger.BureauFileState{ledger.Planned, ledger.Undecided}, openStates...)})
	for _, f := range files {
		told.Undecided = append(told.Undecided, f.Name)
	}
	return err
}

// intakeBy sorts the request files under way: those that are still where the
// ledger says and not decided to their end are doubtful; those that are gone were
// taken on by a lost night, or lay on a disk that is lost.
func (n *Night) intakeBy(ctx context.Context, l ledger.Ledger, r *ledger.Restoration, told *RestoreTold) error {
	files, err := l.OpenFiles(ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		_, err := os.Lstat(n.Path(f.Intake))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look at %s: %w", f.Intake, err)
		}
		gone := err != nil
		if gone && f.Final != "" {
			_, err := os.Lstat(n.Path(f.Final))
			gone = err != nil
		}
		switch {
		case gone && f.State == ledger.Claiming: // still in the inbox as far as the ledger knows; the next run forgets the claim
		case gone:
			r.Done = append(r.Done, f.ID)
			told.Gone = append(told.Gone, printable(f.Name))
		case f.Extract, f.State == ledger.DecidedF, f.State == ledger.Doubtful:
		default:
			r.Doubtful = append(r.Doubtful, f.ID)
			told.Doubtful = append(told.Doubtful, printable(f.Name))
		}
	}
	return nil
}

// holdRestored sets every order that waits in a bureau's queue aside, in files of
// the size that the bureau takes, and names all holds that wait now. The names
// have the time: another restore of the same backup makes other holds.
func (n *Night) holdRestored(ctx context.Context, l *sqlite.Ledger, runs []ledger.Run, told *RestoreTold) error {
	queues, err := l.Queues(ctx)
	if err != nil {
		return err
	}
	at := n.Now().UTC()
	for _, q := range queues {
		if config.Reserved(q.Recipient) {
			continue
		}
		number := 0
		for free := q.Orders; free > 0; {
			number++
			h := ledger.Hold{Name: fmt.Sprintf("hold-%s-restored-%s-%d", q.Recipient, at.Format("20060102T150405Z"), number), Bureau: q.Recipient, RunID: runs[0].ID,
				Records: fileSize(n.Config.Bureaus[q.Recipient], free), HeldAt: at, Restored: true}
			if h.Digest, err = n.holdDigest(q.Recipient, func(fn func(*ledger.Order) error) error { return l.EachWaiting(ctx, q.Recipient, h.Records, fn) }); err != nil {
				return fmt.Errorf("hold %s: %w", h.Name, err)
			}
			if _, err := l.SetAside(ctx, h, n.entry("hold.made", h.Name, fmt.Sprintf("%s, %d records, restored, digest %s", q.Recipient, h.Records, h.Digest))); err != nil {
				return fmt.Errorf("hold %s: %w", h.Name, err)
			}
			free -= h.Records
		}
	}
	open, err := l.Holds(ctx, ledger.HoldQuery{Open: true})
	for _, h := range open {
		told.Held = append(told.Held, h.Name)
	}
	return err
}
