package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/formats/layout"
)

// What runs leave outside state/: sealed files in outbox/, one folder each in
// reports/. The ledger knows a run before its report and a file's plan before
// its bytes, whatever crashes; so what it does not know was made by a run that
// another ledger remembers, and this one is an older copy, or a new one. That is
// noticed even where all of state/ was put back, with marks as old as the ledger.

// traces are what a ledger does not know of what lies on the disk.
type traces struct {
	sealed map[string][]sealedTrace // by recipient
	runs   []runTrace               // in the order of their ids
}

// sealedTrace is a file of the outbox; its number is 0 where its name is none that the configuration gives.
type sealedTrace struct {
	name     string
	sequence int64
}

// runTrace is a run that has a folder of reports.
type runTrace struct {
	id, date string
	number   int64 // of that date
}

var runID = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2})-(\d{3,})$`)

// traces looks for what a ledger does not know.
func (n *Night) traces(ctx context.Context, l ledger.Ledger) (*traces, error) {
	files, err := l.BureauFiles(ctx, ledger.FileQuery{Brief: true})
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, f := range files {
		known[f.Recipient+"/"+f.Name], known[f.Recipient+"/"+f.Name+unsettled] = true, true
	}
	t := &traces{sealed: map[string][]sealedTrace{}}
	for _, recipient := range n.recipients() {
		names, err := n.unknown(n.Outbox(recipient), func(name string) bool { return known[recipient+"/"+name] }, sealedBytes)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			t.sealed[recipient] = append(t.sealed[recipient], sealedTrace{name, n.sequenceIn(recipient, name)})
		}
	}
	t.runs, err = n.unknownRuns(ctx, l)
	return t, err
}

// sequenceIn is the number in a file's name, 0 where it is none of this recipient's names.
func (n *Night) sequenceIn(recipient, name string) int64 {
	template := cardSystemName
	switch b, ok := n.Config.Bureaus[recipient]; {
	case ok:
		template = b.FileName
	case recipient == config.PINRecipient:
		template = pinFileName
	}
	number, _ := layout.SequenceIn(template, strings.TrimSuffix(name, unsettled))
	return number
}

func (n *Night) unknownRuns(ctx context.Context, l ledger.Ledger) (list []runTrace, err error) {
	entries, err := os.ReadDir(n.Path("reports")) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list reports: %w", err)
	}
	for _, e := range entries {
		parts := runID.FindStringSubmatch(e.Name())
		if parts == nil || !e.IsDir() {
			continue
		}
		number, err := strconv.ParseInt(parts[2], 10, 64)
		if err != nil {
			continue
		}
		switch _, err := l.Run(ctx, e.Name()); {
		case errors.Is(err, ledger.ErrNotFound):
			list = append(list, runTrace{id: e.Name(), date: parts[1], number: number})
		case err != nil:
			return nil, err
		}
	}
	return list, nil
}

// since are the traces that no restore passed over: the numbers of those are not given out any more.
func (t *traces) since(restorations []ledger.Restoration) *traces {
	passed := func(counter string, number int64) bool {
		return slices.ContainsFunc(restorations, func(r ledger.Restoration) bool {
			return slices.ContainsFunc(r.Skipped, func(s ledger.Skipped) bool { return s.Counter == counter && s.First <= number && number <= s.Last })
		})
	}
	left := &traces{sealed: map[string][]sealedTrace{}}
	for recipient, files := range t.sealed {
		for _, f := range files {
			if f.sequence == 0 || !passed("sequence/"+recipient, f.sequence) {
				left.sealed[recipient] = append(left.sealed[recipient], f)
			}
		}
	}
	for _, r := range t.runs {
		if !passed(runCounter(r.date), r.number) {
			left.runs = append(left.runs, r)
		}
	}
	return left
}

// notOlder is the error of a ledger beside traces that it does not know, and that no restore passed over.
func (n *Night) notOlder(ctx context.Context) error {
	t, err := n.traces(ctx, n.Ledger)
	if err != nil || len(t.sealed)+len(t.runs) == 0 {
		return err
	}
	restorations, err := n.Ledger.Restorations(ctx)
	if err != nil {
		return err
	}
	begun, err := n.Ledger.LastRuns(ctx, 1)
	if err != nil {
		return err
	}
	t = t.since(restorations)
	var tell []string
	for _, recipient := range slices.Sorted(maps.Keys(t.sealed)) {
		var names []string
		for _, f := range t.sealed[recipient] {
			if f.sequence > 0 || len(begun)+len(restorations) == 0 { // a name that is none of ours speaks only to a ledger that never worked
				names = append(names, f.name)
			}
		}
		if len(names) > 0 {
			tell = append(tell, fmt.Sprintf("outbox/%s/ has %s", recipient, some(names)))
		}
	}
	if len(t.runs) > 0 {
		var ids []string
		for _, r := range t.runs {
			ids = append(ids, r.id)
		}
		tell = append(tell, "reports/ has "+some(ids))
	}
	if len(tell) == 0 {
		return nil
	}
	return fmt.Errorf("%w: runs that it does not know left their files: %s; nothing is issued or sent until the newest state/ is back, or, where it is lost, a backup is put back with reemboss restore (this ledger too may be: reemboss backup FILE, then restore it). What is no work of this workspace, move out of these folders", ledger.ErrBehind, strings.Join(tell, "; "))
}

// nameFree is the error of a file of the outbox that has the name of one that is only to be planned: bytes of a night that
// this ledger does not know are never overwritten. (Those of a plan are, by the same bytes.)
func (n *Night) nameFree(recipient, name string) error {
	for _, name := range []string{name, name + unsettled} {
		switch info, err := os.Lstat(filepath.Join(n.Outbox(recipient), name)); {
		case err == nil && !info.Mode().IsRegular(): // nothing that a rename would replace
		case err == nil:
			return fmt.Errorf("%w: outbox/%s/%s is there, and its number was not given out yet; nothing more is issued. If another run of this workspace made it, the ledger is an older copy: put the newest state/ back, or a backup with reemboss restore; if none did, move it elsewhere", ledger.ErrBehind, recipient, name)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}

// runCounter is the counter of a restored ledger for the runs of a date.
func runCounter(date string) string { return "run/" + date }

// beyond are the newest of the unknown runs: those that neither the marks nor the replaced ledger count. The backup
// counts restored runs, marks and ledger known ones; what is between them has its traces here too.
func (t *traces) beyond(restored, known map[string]int64) []runTrace {
	return t.runs[min(int64(len(t.runs)), max(0, known["runs"]-restored["runs"])):]
}

// numbers are those that the names of sealed files and the ids of runs have: counters had these values at least.
func (t *traces) numbers() map[string]int64 {
	least := map[string]int64{}
	for recipient, files := range t.sealed {
		for _, f := range files {
			least["sequence/"+recipient] = max(least["sequence/"+recipient], f.sequence)
		}
	}
	for _, r := range t.runs {
		least[runCounter(r.date)] = max(least[runCounter(r.date)], r.number)
	}
	return least
}

// uncounted says that there are bureau files beyond what counters say: nothing tells how many cards they have.
func (t *traces) uncounted(counters map[string]int64) bool {
	for recipient, files := range t.sealed {
		if !config.Reserved(recipient) && slices.ContainsFunc(files, func(f sealedTrace) bool { return f.sequence > counters["sequence/"+recipient] }) {
			return true
		}
	}
	return false
}

// countedByReports are the values that counters had at least after the runs that nothing but their reports counts. Such a run may
// have taken a new card, and a number of each range, for every row that it read.
func (n *Night) countedByReports(t *traces, restored, known map[string]int64) map[string]int64 {
	beyond := t.beyond(restored, known)
	least := map[string]int64{"runs": known["runs"] + int64(len(beyond))}
	var rows int64
	for _, r := range beyond {
		told := n.reportOf(r.id)
		rows += told.Read
		for _, f := range told.Files {
			if name := "sequence/" + f.Bureau; f.Hold == nil {
				least[name] = max(least[name], f.Sequence)
			}
		}
	}
	least[cardIDCounter] = known[cardIDCounter] + rows
	for name := range n.Config.Ranges {
		least[rangeCounter(name)] = known[rangeCounter(name)] + rows
	}
	return least
}

// reportOf reads what a run reported; of a report that cannot be read nothing is known.
func (n *Night) reportOf(id string) (told report.Reconciliation) {
	if text, err := os.ReadFile(filepath.Join(n.Path("reports"), id, "reconciliation.json")); err == nil {
		_ = json.Unmarshal(text, &told)
	}
	return told
}
