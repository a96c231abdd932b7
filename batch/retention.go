package batch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

// Retention deletes files whose configured days are over: sealed files, request
// files with their results, return files, reports. A day is 24 hours, and it
// counts from the newest step of a file's transfer, or from the end of the last run
// that worked on it. Only what is settled goes (see settledBooks), and only files
// that the ledger or the names of our reports know: what somebody put beside
// them stays, without a word. The ledger itself forgets nothing.
//
// For each file an entry stands in the audit chain before it is deleted; the
// mark that it is gone follows. A run that dies in between finds the file again,
// or finds it gone, and tells that in an entry of its own.
type retention struct {
	n        *Night
	now      time.Time
	root     *os.Root // nothing outside the workspace can be reached through it
	books    *settledBooks
	disputes map[int64]int64 // return file → disputed events of it
	due      []due
	deleted  map[string]int64 // rule → how many things
}

// due is one thing whose days are over.
type due struct {
	rule   string           // of the section retention
	paths  []string         // relative to the workspace, with slashes; not each need be there
	known  string           // size and SHA-256, where the ledger has them
	age    time.Duration    // since the moment that counts
	mark   *ledger.Deletion // nil for reports: they are found by their folder
	folder string           // removed when it is empty then; "" for none
}

// mostDue is how many things are announced together.
const mostDue = 50

// retain deletes what is due. What cannot be deleted is told in the report, and the night goes on.
func (n *Night) retain(ctx context.Context) (int64, error) {
	keep := n.Config.Retention
	if keep == (config.Retention{}) {
		return 0, nil
	}
	r := &retention{n: n, now: n.Now(), deleted: map[string]int64{}}
	var err error
	if r.root, err = os.OpenRoot(n.Dir); err != nil {
		return 0, err
	}
	defer r.root.Close()
	if r.books, err = n.settledBooks(ctx, r.now); err != nil {
		return 0, err
	}
	if r.disputes, err = n.Ledger.DisputesByReturn(ctx); err != nil {
		return 0, err
	}
	for _, part := range []struct {
		days int
		find func(ctx context.Context, before time.Time) error
	}{{keep.SealedFiles, r.sealedFiles}, {keep.Results, r.results}, {keep.Returns, r.returns}, {keep.Reports, r.reports}} {
		if part.days <= 0 {
			continue
		}
		if err := part.find(ctx, r.now.Add(-time.Duration(part.days)*24*time.Hour)); err != nil {
			return r.count(), err
		}
		if err := r.flush(ctx); err != nil {
			return r.count(), err
		}
	}
	r.tell()
	return r.count(), nil
}

// sealedFiles finds what lies in outbox/.
func (r *retention) sealedFiles(ctx context.Context, before time.Time) error {
	return r.n.Ledger.EachOldFile(ctx, before, func(f *ledger.BureauFile, last time.Time) error {
		settled, err := r.books.file(ctx, f.ID)
		if err != nil || !settled {
			return err
		}
		return r.add(ctx, due{rule: "sealed_files", paths: []string{path.Join("outbox", f.Recipient, f.Name)}, age: r.now.Sub(last),
			known: fmt.Sprintf("%d bytes, SHA-256 %s", f.Size, f.SHA256), mark: &ledger.Deletion{Kind: ledger.SealedBytes, ID: f.ID}})
	})
}

// results finds what lies in done/ and refused/.
func (r *retention) results(ctx context.Context, before time.Time) error {
	return r.n.Ledger.EachOldRequest(ctx, before, func(f *ledger.RequestFile, ended time.Time) error {
		settled, err := r.books.request(ctx, f)
		if err != nil || !settled {
			return err
		}
		paths, err := r.besides(ctx, f)
		if err != nil {
			return err
		}
		return r.add(ctx, due{rule: "results", paths: paths, age: r.now.Sub(ended), mark: &ledger.Deletion{Kind: ledger.ResultFiles, ID: f.ID}, folder: path.Dir(f.Final)})
	})
}

// besides are a request file at its last place and what we put beside it. A
// sender may have called a later file of his like that: such a one is not ours.
func (r *retention) besides(ctx context.Context, f *ledger.RequestFile) ([]string, error) {
	paths := []string{f.Final}
	stem := path.Join(path.Dir(f.Final), resultName(*f))
	if f.Extract && !strings.HasSuffix(f.Name, ".result.csv") { // of a clear extract only the result is left
		stem = strings.TrimSuffix(stem, ".result.csv")
	}
	for _, companion := range []string{".result.csv", ".result.xlsx", ".refused.csv.pgp"} {
		beside := stem + companion
		if beside == f.Final {
			continue
		}
		switch _, err := r.n.Ledger.LastPlaceOf(ctx, beside); {
		case errors.Is(err, ledger.ErrNotFound):
			paths = append(paths, beside)
		case err != nil:
			return nil, err
		}
	}
	return paths, nil
}

// returns finds what lies in returns/.
func (r *retention) returns(ctx context.Context, before time.Time) error {
	return r.n.Ledger.EachOldReturn(ctx, before, func(f *ledger.ReturnFile, last time.Time) error {
		settled, err := r.books.returned(ctx, f, r.disputes)
		if err != nil || !settled {
			return err
		}
		paths := []string{f.Final}
		if f.State == ledger.ReturnDismissed {
			paths = append(paths, f.Final+".result.csv") // why it was quarantined
		}
		return r.add(ctx, due{rule: "returns", paths: paths, age: r.now.Sub(last), known: "of the return file with SHA-256 " + f.SHA256, mark: &ledger.Deletion{Kind: ledger.ReturnBytes, ID: f.ID}})
	})
}

// reports finds the folders of finished runs. This run is the newest: its own is never among them.
func (r *retention) reports(ctx context.Context, before time.Time) error {
	entries, err := fs.ReadDir(r.root.FS(), "reports")
	if err != nil {
		return r.unreachable("reports", err)
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == r.n.run.ID {
			continue
		}
		run, err := r.n.Ledger.Run(ctx, e.Name())
		if errors.Is(err, ledger.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if run.EndedAt.IsZero() || run.EndedAt.After(before) {
			continue
		}
		settled, err := r.runSettled(ctx, run.ID)
		if err != nil {
			return err
		}
		if !settled {
			continue
		}
		if err := r.addReports(ctx, run); err != nil {
			return err
		}
	}
	return nil
}

func (r *retention) addReports(ctx context.Context, run ledger.Run) error {
	folder := path.Join("reports", run.ID)
	entries, err := fs.ReadDir(r.root.FS(), folder)
	if err != nil {
		return r.unreachable(folder, err)
	}
	d := due{rule: "reports", age: r.now.Sub(run.EndedAt), folder: folder}
	for _, e := range entries {
		if report.IsReport(e.Name()) {
			d.paths = append(d.paths, path.Join(folder, e.Name()))
		}
	}
	switch foreign := len(entries) - len(d.paths); {
	case len(entries) == 0: // a run died before it removed the folder
		return r.remove(d)
	case len(d.paths) == 0:
		return nil
	case foreign > 0:
		r.n.note("%s keeps %d files that are none of our reports", folder, foreign)
	}
	return r.add(ctx, d)
}

// runSettled says that every file that went out, came in or came back in a run is settled.
func (r *retention) runSettled(ctx context.Context, id string) (bool, error) {
	files, err := r.n.Ledger.BureauFiles(ctx, ledger.FileQuery{RunID: id, Brief: true})
	if err != nil {
		return false, err
	}
	for _, f := range files {
		if settled, err := r.books.file(ctx, f.ID); err != nil || !settled {
			return false, err
		}
	}
	requests, err := r.n.Ledger.RunFiles(ctx, id)
	if err != nil {
		return false, err
	}
	for i := range requests {
		if settled, err := r.books.request(ctx, &requests[i]); err != nil || !settled {
			return false, err
		}
	}
	back, err := r.n.Ledger.ReturnFiles(ctx, ledger.ReturnQuery{RunID: id})
	if err != nil {
		return false, err
	}
	for i := range back {
		if settled, err := r.books.returned(ctx, &back[i], r.disputes); err != nil || !settled {
			return false, err
		}
	}
	return true, nil
}

// add keeps a thing for the next flush.
func (r *retention) add(ctx context.Context, d due) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.due = append(r.due, d); len(r.due) < mostDue {
		return nil
	}
	return r.flush(ctx)
}

// flush announces what is kept in the audit chain, deletes it, and marks it as deleted.
func (r *retention) flush(ctx context.Context) error {
	var entries []ledger.AuditEntry
	var things []due
	for _, d := range r.due {
		there, found, err := r.look(d)
		if err != nil {
			r.refused(d, err)
			continue
		}
		d.paths = there
		things, entries = append(things, d), append(entries, found...)
	}
	r.due = nil
	if len(things) == 0 {
		return nil
	}
	r.n.at("retention/announcing")
	if err := r.n.Ledger.AppendAll(ctx, entries); err != nil {
		return err
	}
	r.n.at("retention/announced")
	var gone []ledger.Deletion
	for _, d := range things {
		if err := r.remove(d); err != nil {
			r.refused(d, err)
			continue
		}
		r.deleted[d.rule]++
		if d.mark != nil {
			gone = append(gone, *d.mark)
		}
	}
	r.n.at("retention/removed")
	// What was deleted is recorded even when the process was asked to stop meanwhile.
	if err := r.n.Ledger.SetDeleted(context.WithoutCancel(ctx), gone, r.now); err != nil {
		return err
	}
	r.n.at("retention/marked")
	return nil
}

// errNotOurs: what lies at a path is not a file that we wrote there.
var errNotOurs = errors.New("is a link or a device, or leads out of the workspace, and is none of our files; look at who put it there")

// look gives those paths of a thing that are there and the entries that announce their deletion.
func (r *retention) look(d due) (there []string, entries []ledger.AuditEntry, err error) {
	days := fmt.Sprintf("%d days old, retention.%s", int(d.age/(24*time.Hour)), d.rule)
	for _, p := range d.paths {
		info, err := r.regular(p)
		if err != nil {
			return nil, nil, err
		}
		if info == nil {
			continue
		}
		known := fmt.Sprintf("%d bytes", info.Size())
		if len(there) == 0 && d.known != "" {
			known = d.known
		}
		there = append(there, p)
		entries = append(entries, r.n.entry("retention.deleting", p, known+", "+days))
	}
	if len(there) == 0 {
		entries = append(entries, r.n.entry("retention.gone", d.paths[0], "it was not there any more, "+days))
	}
	return there, entries, nil
}

// regular looks at a file, without following a link anywhere on the way to it; nil when it is not there.
func (r *retention) regular(p string) (info fs.FileInfo, err error) {
	top, below, _ := strings.Cut(p, "/")
	switch {
	case !filepath.IsLocal(p), path.Clean(p) != p, below == "":
		return nil, &fs.PathError{Op: "delete", Path: p, Err: errNotOurs}
	case top != "outbox" && top != "done" && top != "refused" && top != "returns" && top != "reports":
		return nil, &fs.PathError{Op: "delete", Path: p, Err: errNotOurs}
	}
	for at := range len(p) + 1 {
		if at < len(p) && p[at] != '/' {
			continue
		}
		info, err = r.root.Lstat(p[:at])
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, err
		case at < len(p) && !info.IsDir(), at == len(p) && !info.Mode().IsRegular():
			return nil, &fs.PathError{Op: "delete", Path: p[:at], Err: errNotOurs}
		}
	}
	return info, nil
}

// remove deletes the files of a thing, durably, and its folder where that is empty then.
func (r *retention) remove(d due) error {
	for _, p := range d.paths {
		r.n.at("retention/removing")
		if err := r.n.Files.RemoveIn(r.root, p); err != nil {
			return err
		}
	}
	if d.folder == "" {
		return nil
	}
	if entries, err := fs.ReadDir(r.root.FS(), d.folder); err != nil || len(entries) > 0 {
		return nil // gone before, or still in use
	}
	r.n.at("retention/emptied")
	return r.n.Files.RemoveIn(r.root, d.folder)
}

// unreachable lets a folder that is not there be, and tells of any other trouble with it.
func (r *retention) unreachable(folder string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		r.refused(due{paths: []string{folder}}, err)
	}
	return nil
}

// refused asks a person about what could not be deleted. It stays, and the next run tries again.
func (r *retention) refused(d due, err error) {
	at := d.paths[0]
	var place *fs.PathError
	if errors.As(err, &place) {
		at = r.n.Relative(place.Path)
	}
	what := r.n.safe(at + " is older than its retention and could not be deleted")
	for _, need := range r.n.needs {
		if need.What == what { // a link on the way to many
			return
		}
	}
	r.n.Log.Error().Str("run", r.n.run.ID).Str("path", r.n.safe(at)).Msg(r.n.safe(plain(err).Error()))
	why := sentence(plain(err))
	if errors.Is(err, errNotOurs) {
		why = "It " + plain(err).Error() + "."
	}
	r.n.need(report.Need{What: what, Why: why, Command: "reemboss run"})
}

func (r *retention) count() (things int64) {
	for _, k := range r.deleted {
		things += k
	}
	return things
}

// tell says in the report how much was deleted.
func (r *retention) tell() {
	var parts []string
	for _, kind := range []struct{ rule, one, many string }{
		{"sealed_files", "sealed file", "sealed files"}, {"results", "request file with its result", "request files with their results"},
		{"returns", "return file", "return files"}, {"reports", "run's reports", "runs' reports"},
	} {
		switch k := r.deleted[kind.rule]; k {
		case 0:
		case 1:
			parts = append(parts, "1 "+kind.one)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", k, kind.many))
		}
	}
	if len(parts) == 0 {
		return
	}
	sentence := "Deleted by retention: " + strings.Join(parts, ", ") + "; the audit log names each file."
	r.n.notes = append(r.n.notes, sentence)
	r.n.Log.Info().Str("run", r.n.run.ID).Msg(sentence)
}

// stillKept refuses what needs the bytes of a file that retention deleted.
func (n *Night) stillKept(ctx context.Context, f ledger.BureauFile) error {
	at, err := n.Ledger.DeletedAt(ctx, ledger.Deletion{Kind: ledger.SealedBytes, ID: f.ID})
	if err != nil || at.IsZero() {
		return err
	}
	instead := "have the cards of it that are missing asked for anew"
	if f.State == ledger.Refused {
		instead = "reemboss cancel puts its cards into the next file"
	}
	return setup("%s was deleted by retention on %s (retention.sealed_files), and only the very same bytes may go out again; %s", f.Name, at.In(n.zone).Format(time.DateOnly), instead)
}
