package batch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"reemboss/batch/durable"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/batch/rules"
	"reemboss/bureau"
)

// What lost nights left on the disk: sealed files and request files that the
// ledger does not know. They are named in every report until a person puts them
// away; nothing here is sent, decided or deleted.

// strays tells of sealed files in the outbox and of request files in state/intake/ that the ledger does not know.
func (n *Night) strays(ctx context.Context) error {
	if err := n.afterRestore(ctx); err != nil {
		return err
	}
	t, err := n.traces(ctx, n.Ledger)
	if err != nil {
		return err
	}
	for _, recipient := range n.recipients() {
		var lost []string
		for _, s := range t.sealed[recipient] {
			lost = append(lost, s.name)
		}
		if len(lost) > 0 {
			n.need(report.Need{What: fmt.Sprintf("sealed files in outbox/%s/ are not in the ledger: %s", recipient, some(lost)),
				Why: "A night that the ledger does not know made them, before the ledger was replaced by an older one. They are not sent from here. Ask " + recipient + " which of them it has, and keep them outside outbox/."})
		}
	}
	open, err := n.Ledger.OpenFiles(ctx)
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for _, f := range open {
		taken[filepath.Base(f.Intake)] = true
	}
	lost, err := n.unknown(n.Intake(), func(name string) bool { return taken[name] }, func(string) bool { return true })
	if err != nil {
		return err
	}
	if len(lost) > 0 {
		n.need(report.Need{What: "request files in state/intake/ are not in the ledger: " + some(lost),
			Why: "A night that the ledger does not know took them, and may have had their cards made. Compare them with what the bureaus got; move what was not done back into inbox/, and the rest elsewhere."})
	}
	return nil
}

// afterRestore tells, in the first run after a restore, which numbers no file will have: a bureau that looks for gaps must know.
func (n *Night) afterRestore(ctx context.Context) error {
	restorations, err := n.Ledger.Restorations(ctx)
	if err != nil || len(restorations) == 0 {
		return err
	}
	newest := restorations[len(restorations)-1]
	runs, err := n.Ledger.LastRuns(ctx, 2)
	if err != nil || len(runs) > 1 && runs[1].StartedAt.After(newest.At) {
		return err
	}
	n.note("The ledger was restored at %s by %s from a backup of %s: %s", newest.At.In(n.zone).Format("2006-01-02 15:04"), newest.Who, newest.BackupAt.In(n.zone).Format("2006-01-02 15:04"), newest.Reason)
	for _, s := range newest.Skipped {
		if recipient, ok := strings.CutPrefix(s.Counter, "sequence/"); ok {
			n.note("Numbers %d to %d of %s are skipped since: a night that the ledger does not know used them, or none did", s.First, s.Last, recipient)
		}
	}
	return nil
}

// unknown lists the regular files of a folder that are not known and are of a kind.
func (n *Night) unknown(folder string, known, kind func(string) bool) (names []string, err error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", n.Relative(folder), err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() && !known(e.Name()) && !strings.HasPrefix(e.Name(), durable.TempPrefix) && kind(filepath.Join(folder, e.Name())) {
			names = append(names, printable(e.Name()))
		}
	}
	return names, nil
}

// sealedBytes says that a file is a PGP message: notes that somebody left beside ours are not our matter.
func sealedBytes(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	start := make([]byte, bureau.FormHead)
	form, _ := bureau.FormOf(start[:readStart(f, start)])
	return form == bureau.Encrypted
}

// some names at most five.
func some(names []string) string {
	slices.Sort(names)
	if len(names) > 5 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:5], ", "), len(names)-5)
	}
	return strings.Join(names, ", ")
}

// refuseDoubtful ends the way of request files that were under way when the backup was made from which this ledger came:
// a night that it does not know may have done their rows. What was decided before stands.
func (n *Night) refuseDoubtful(ctx context.Context) error {
	files, err := n.Ledger.OpenFiles(ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.State != ledger.Doubtful {
			continue
		}
		if err := n.refuseOne(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

func (n *Night) refuseOne(ctx context.Context, f ledger.RequestFile) error {
	const code rules.Code = "internal_error"
	answered, err := n.Ledger.LastPos(ctx, f.ID)
	if err != nil {
		return err
	}
	if answered == 0 {
		return n.refuseFile(ctx, f, code, "The ledger was restored from a backup, and a night since then may have done what this file asks for. Nothing of it is done now. Compare it with what the bureaus got, and send what was not done in a file with a new name.", rules.Refused)
	}
	f.State, f.Code, f.Rows = ledger.DecidedF, code, int64(answered)
	f.Detail = fmt.Sprintf("The ledger was restored from a backup that was made while this file was decided. Its first %d rows stand as they were decided, by row and card id in its result; whether the rest was done by a night since then nobody can know from here.", answered)
	n.need(report.Need{What: printable(f.Name) + " was being decided when the backup was made", Why: f.Detail + " Compare it with what the bureaus got, and send what was not done in a file with a new name."})
	return n.keepFile(ctx, f, nil, n.audit("file.refused", printable(f.Name), "the ledger was restored while it was decided"))
}
