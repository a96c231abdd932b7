package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/bureau"
	"reemboss/formats/request"
)

// reconcile answers the senders, writes the reports and ends the run. It may
// be repeated: over the same ledger it writes the same again.
func (n *Night) reconcile(ctx context.Context) (*Result, error) {
	if err := n.timed(ctx, "answer", n.answer); err != nil {
		return nil, err
	}
	n.listen()
	if err := n.strays(ctx); err != nil {
		return nil, err
	}
	if err := n.grewAfter(ctx); err != nil {
		return nil, err
	}
	n.at("reconcile/reports")
	started := n.Now()
	r, err := n.writeReports(ctx, n.run.ID)
	if err != nil {
		return nil, err
	}
	if r, err = n.tell(ctx, r); err != nil {
		return nil, err
	}
	n.Log.Info().Str("run", n.run.ID).Str("stage", "reconcile").Float64("seconds", n.Now().Sub(started).Seconds()).Msg("stage done")
	summary, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("keep the report of the run: %w", err)
	}
	n.at("reconcile/finish")
	if err := n.Ledger.Append(ctx, n.entry("run.finished", n.run.ID, fmt.Sprintf("exit code %d", r.ExitCode))); err != nil {
		return nil, err
	}
	if err := n.signAudit(ctx); err != nil {
		return nil, err
	}
	n.at("reconcile/signed")
	if err := n.Ledger.FinishRun(ctx, n.run.ID, n.Now(), r.ExitCode, summary); err != nil {
		return nil, fmt.Errorf("finish the run: %w", err)
	}
	n.at("reconcile/finished")
	ctx = context.WithoutCancel(ctx) // the night is over: who stops it now still learns how it ended
	if err := n.marks.raise(ctx, n.Ledger); err != nil {
		return nil, err
	}
	n.Log.Info().Str("run", n.run.ID).Int("exit", r.ExitCode).Msg(r.Verdict)
	return &Result{Reconciliation: r, Exit: r.ExitCode}, nil
}

// Report writes the reports of a run again.
func (n *Night) Report(ctx context.Context, runID string) (*report.Reconciliation, error) {
	run, err := n.Ledger.Run(ctx, runID)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, setup("there is no run %s; reemboss status lists them", printable(runID))
	}
	if err != nil {
		return nil, err
	}
	n.run = run
	return n.writeReports(ctx, runID)
}

func (n *Night) writeReports(ctx context.Context, runID string) (*report.Reconciliation, error) {
	extra, err := n.extra(ctx)
	if err != nil {
		return nil, err
	}
	artifacts, err := n.artifacts(ctx, runID)
	if err != nil {
		return nil, err
	}
	n.reported = len(n.warnings)
	return report.WriteAll(ctx, report.Input{
		Files:  n.Files,
		Ledger: n.Ledger, RunID: runID, Workspace: n.Dir, Dir: n.Reports(runID), Extra: extra, Artifacts: artifacts,
		Sign: func(r io.Reader) ([]byte, error) { return bureau.SignDetached(r, n.ownKey, n.Now()) },
	})
}

// extra is what the reports need and the ledger cannot tell.
func (n *Night) extra(ctx context.Context) (report.Extra, error) {
	e := report.Extra{Bureaus: map[string]report.Bureau{}, Reasons: map[int]report.Reason{}, Notes: n.notes, Warnings: n.warnings, Mask: n.safe, Untaken: n.untakenFiles}
	for name, b := range n.Config.Bureaus {
		waits := n.waiting[name]
		if waits == "" && b.Hold {
			waits = "the bureau is on hold; set hold: false in config.yaml, then the next run writes them"
		}
		disputed, err := n.keptBack(ctx, name, 0)
		if err != nil {
			return e, err
		}
		if disputed != "" {
			waits = strings.TrimPrefix(waits+". Besides, "+disputed, ". Besides, ")
		}
		e.Bureaus[name] = report.Bureau{Name: b.Name, Acknowledges: b.Acknowledges, Waits: waits, Calendar: n.policy.Calendar(name), SLA: b.SLA}
	}
	e.Bureaus[config.CardSystem] = report.Bureau{Name: "card system", Waits: n.waiting[config.CardSystem]}
	e.Bureaus[config.PINRecipient] = report.Bureau{Name: "PIN files", Waits: n.waiting[config.PINRecipient]}
	if why := n.waiting[config.CardSystem]; why != "" {
		e.NeedsPerson = append(e.NeedsPerson, report.Need{What: "the card system's file is not written", Why: why, Command: "reemboss config check"})
	}
	for code, r := range n.Config.Reasons {
		e.Reasons[code] = report.Reason{Name: r.Name, NewPAN: r.NewPAN}
	}
	e.NeedsPerson = append(e.NeedsPerson, n.needs...)
	e.Keys = n.keys()
	for name, r := range n.ranges {
		used, err := n.Ledger.Counter(ctx, rangeCounter(name))
		if err != nil {
			return e, err
		}
		fill := report.Range{Name: name, Capacity: r.alloc.Size(), Used: used}
		for product, p := range n.Config.Products {
			if p.Range == name {
				fill.Products = append(fill.Products, product)
			}
		}
		sort.Strings(fill.Products)
		e.Ranges = append(e.Ranges, fill)
	}
	return e, nil
}

// keys tells each PGP key with its end, or why it cannot be used: ours, the recipients', those of people.
func (n *Night) keys() []report.Key {
	own := report.Key{Owner: "workspace", Fingerprint: n.ownKey.Fingerprint()}
	if end := n.ownKey.ExpiresAt(); !end.IsZero() {
		own.Expires = &end
	}
	list := []report.Key{own}
	for _, name := range n.recipients() {
		r, err := n.recipient(name)
		if err != nil {
			continue
		}
		k := report.Key{Owner: name, Fingerprint: r.PGP.Fingerprint}
		key, err := bureau.ReadPublicKey(n.Resolve(r.PGP.KeyFile), r.PGP.Fingerprint, n.Now())
		if err != nil {
			k.Problem = err.Error()
		} else if end := key.ExpiresAt(); !end.IsZero() {
			k.Expires = &end
		}
		list = append(list, k)
		if r.PGP.Escrow.KeyFile != "" {
			list = append(list, n.escrowLine(name, r))
		}
	}
	return append(list, n.peopleLines()...)
}

// listen asks the simulated bureaus of this process what they found in the files. A real bureau answers with a return file.
func (n *Night) listen() {
	for _, name := range n.recipients() {
		sim := n.simulators[name]
		if sim == nil {
			continue
		}
		for _, r := range sim.Received() {
			if r.Err != nil {
				n.need(report.Need{What: fmt.Sprintf("the simulated bureau %s could not use %s", name, r.Name), Why: r.Err.Error()})
			}
		}
	}
}

// answer writes the result of each decided file and puts the file at its last place.
func (n *Night) answer(ctx context.Context) (int64, error) {
	files, err := n.Ledger.OpenFiles(ctx)
	if err != nil {
		return 0, err
	}
	var items int64
	for _, f := range files {
		if f.State != ledger.DecidedF {
			continue
		}
		if err := ctx.Err(); err != nil {
			return items, err
		}
		if err := n.troubled(unanswerable(f, n.answerFile(ctx, f))); err != nil {
			return items, fmt.Errorf("%s: %w", printable(f.Name), err)
		}
		items++
	}
	return items, nil
}

// unanswerable is the trouble of a decided file that for want of a right, or of a way, gets no result or not to its last
// place: the others get theirs, and the next run goes on with it. Any other error is given back.
func unanswerable(f ledger.RequestFile, err error) error {
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) && !errors.Is(err, syscall.EXDEV) {
		return err
	}
	folder := "done/ and refused/ and what is in them"
	if f.Final != "" {
		folder = filepath.ToSlash(filepath.Dir(f.Final)) + "/"
	}
	return &fileTrouble{what: printable(f.Name) + " is decided and has no answer yet",
		why: fmt.Sprintf("Its rows stand as they were decided, but its result cannot be written or the file not be put beside it (%v). Give the account that runs this the right to write %s, which must lie on the mount of state/intake/; the next run goes on with it.", plain(err), folder)}
}

// answerFile: the last place is recorded first, then the results are written beside it, then the file moves there. Each step may be repeated.
func (n *Night) answerFile(ctx context.Context, f ledger.RequestFile) error {
	folder := "done"
	if f.Code != "" {
		folder = "refused"
	}
	if f.Final == "" {
		same, err := n.stillSame(ctx, &f)
		if err != nil {
			return err
		}
		if !same {
			return n.grown(ctx, f)
		}
		place, err := n.freePlace(folder, f.Name)
		if err != nil {
			return err
		}
		f.Final = n.Relative(place)
		if f.HoldsPAN {
			f.Final += ".pgp"
		}
		if err := n.keepFile(ctx, f, nil, nil); err != nil {
			return err
		}
	}
	n.at("answer/placed")
	notes, err := n.writeResult(ctx, f)
	if changedSince(err) {
		return n.grown(ctx, f)
	}
	if err != nil {
		return err
	}
	f.Notes = append(f.Notes, notes...)
	n.at("answer/result")
	if err := n.place(f); err != nil {
		return err
	}
	n.at("answer/moved")
	f.State = ledger.Answered
	return n.keepFile(ctx, f, nil, n.audit("file.answered", printable(f.Name), f.Final))
}

// stillSame says that a decided file is what was decided, and looks once more for card numbers in it: one may have
// become known since the file was checked. Of a file refused as a whole, and of an approval, the bytes are looked at,
// whatever they are now: no row depends on them.
func (n *Night) stillSame(ctx context.Context, f *ledger.RequestFile) (bool, error) {
	path := n.Path(f.Intake)
	if f.Code != "" || f.Approval != "" {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return false, gone(*f)
		}
		if f.HoldsPAN {
			return true, nil
		}
		var err error
		f.HoldsPAN, err = n.bytesHoldPAN(ctx, path)
		return true, err
	}
	source, err := n.submittedOnce(*f)
	if err != nil {
		return false, err
	}
	defer source.Close()
	if !sameSubmission(source, *f) {
		return false, nil
	}
	if !f.HoldsPAN {
		f.HoldsPAN, err = n.contentHoldsPAN(ctx, source.content, source.size)
	}
	return true, err
}

// freePlace finds a name in done/<date>/ or refused/<date>/ that neither a file nor one of its companions has: a.csv, then a-2.csv …
func (n *Night) freePlace(folder, name string) (string, error) {
	dir := n.Path(folder, n.run.Date)
	if err := n.Files.MkdirAll(dir); err != nil {
		return "", fmt.Errorf("make %s: %w", n.Relative(dir), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	taken := map[string]bool{}
	for _, e := range entries {
		taken[e.Name()] = true
	}
	name = printable(name)
	// A name has at most 255 bytes; its longest companion must fit too.
	ext := filepath.Ext(name)
	stem := limit(strings.TrimSuffix(name, ext), 200)
	if ext = limit(ext, 20); len(stem)+len(ext) < len(name) {
		name = stem + ext
	}
	for k := 1; ; k++ {
		candidate := name
		if k > 1 {
			candidate = fmt.Sprintf("%s-%d%s", stem, k, ext)
		}
		free := true
		for _, companion := range []string{"", ".pgp", ".result.csv", ".result.xlsx", ".refused.csv.pgp"} {
			free = free && !taken[candidate+companion]
		}
		if free {
			return filepath.Join(dir, candidate), nil
		}
	}
}

// place moves a file to its last place, sealed where it holds a known card number.
func (n *Night) place(f ledger.RequestFile) error {
	from, to := n.Path(f.Intake), n.Path(f.Final)
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(to); err == nil {
			return nil // moved before a crash
		}
		return gone(f)
	}
	if !f.HoldsPAN {
		return n.Files.Rename(from, to)
	}
	if err := n.sealForUs(from, to, f.Name); err != nil {
		return err
	}
	n.at("answer/sealed")
	n.tellGrown(f, f.Intake)
	return n.Files.Remove(from)
}

func limit(s string, bytes int) string {
	if len(s) <= bytes {
		return s
	}
	return strings.ToValidUTF8(s[:bytes], "")
}

// resultName is the name that a file's result begins with: the name at its last place, without the mark of sealing that we added.
func resultName(f ledger.RequestFile) string {
	name := filepath.Base(f.Final)
	if f.HoldsPAN {
		name = strings.TrimSuffix(name, ".pgp")
	}
	return name
}

// maxResultWorkbook is the most bytes, unpacked, of a workbook that gets a
// coloured copy: it is made in memory. A larger one has its result as CSV.
const maxResultWorkbook = 512 << 20

// writeResult writes <name>.result.csv and, for a workbook, <name>.result.xlsx.
func (n *Night) writeResult(ctx context.Context, f ledger.RequestFile) (notes []string, err error) {
	in := report.ResultInput{
		Dir: filepath.Dir(n.Path(f.Final)), Files: n.Files, Name: resultName(f), Mask: n.masker(ctx), HoldsPAN: f.HoldsPAN, FindKnown: n.knownIn(ctx), MaxUnpacked: min(n.Config.Intake.MaxUnpacked, maxResultWorkbook),
		Told: func(ctx context.Context, fn func(*ledger.Told) error) error {
			return n.Ledger.EachTold(ctx, "", f.ID, fn)
		},
	}
	source := n.Path(f.Intake)
	if _, err := os.Lstat(source); errors.Is(err, fs.ErrNotExist) {
		return nil, nil // moved before a crash, and the result was written before that
	}
	switch {
	case f.Code != "":
	case f.Approval != "":
		in.Told = approvalTold(f)
	default:
		sent, err := n.submittedOnce(f)
		if err != nil {
			return nil, err
		}
		defer sent.Close()
		file, err := request.New(sent.content, sent.size, n.requestOptions())
		if err != nil {
			return nil, fmt.Errorf("read it again for its result: %w", err)
		}
		defer file.Close()
		for _, s := range file.Sheets() {
			in.Sheets = append(in.Sheets, report.SenderSheet{Name: s.Name, Header: s.Header, HeaderLine: s.HeaderLine})
		}
		in.Each = file.Each
		if file.Format() == "xlsx" {
			in.Workbook = sent.whole
		}
	}
	result, err := report.WriteResult(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("write its result: %w", err)
	}
	if result.Withheld != "" {
		notes = append(notes, result.Withheld)
	}
	return notes, nil
}

// artifacts are the files of a run that do not lie in its report folder: what became of each file of the inbox.
func (n *Night) artifacts(ctx context.Context, runID string) ([]report.Artifact, error) {
	files, err := n.Ledger.RunFiles(ctx, runID)
	if err != nil {
		return nil, err
	}
	var list []report.Artifact
	for _, f := range files {
		if f.Final == "" || f.RunID != runID {
			continue
		}
		final := n.Path(f.Final)
		beside := filepath.Join(filepath.Dir(final), resultName(f))
		paths := []string{final, beside + ".result.csv", beside + ".result.xlsx", beside + ".refused.csv.pgp"}
		if f.Extract { // the last place of a clear one, which is gone, is that of its answers
			paths = append(paths, strings.TrimSuffix(beside, ".result.csv")+".refused.csv.pgp")
		}
		for _, path := range paths {
			if _, err := os.Lstat(path); err == nil && !slices.ContainsFunc(list, func(a report.Artifact) bool { return a.Path == n.Relative(path) }) {
				a := report.Artifact{Path: n.Relative(path), Rows: f.Rows}
				if strings.HasSuffix(path, ".refused.csv.pgp") {
					a.Rows = 0 // how many of them only its reader can tell
				}
				list = append(list, a)
			}
		}
	}
	return list, nil
}

// Status is where things stand now.
type Status struct {
	*report.Reconciliation
	Runs []RunStatus `json:"runs"`
}

// RunStatus is one line about a run.
type RunStatus struct {
	ID        string    `json:"run_id"`
	StartedAt time.Time `json:"started_at"`
	Open      bool      `json:"open"` // not finished: the next run continues it
	Exit      int       `json:"exit_code"`
	Told      string    `json:"told"`
}

// Status tells the last runs, the newest run's balance, every outgoing file that is not settled and what waits for a person;
// before all, that the ledger is an older copy.
func (n *Night) Status(ctx context.Context) (*Status, error) {
	runs, err := n.Ledger.LastRuns(ctx, 10)
	if err != nil {
		return nil, err
	}
	s := &Status{Reconciliation: report.Nothing(), Runs: []RunStatus{}}
	for _, r := range runs {
		status := RunStatus{ID: r.ID, StartedAt: r.StartedAt, Open: r.EndedAt.IsZero(), Exit: r.Exit}
		if status.Open {
			status.Told = "not finished; the next run continues it"
		} else {
			status.Told = fmt.Sprintf("finished with exit code %d", r.Exit)
		}
		s.Runs = append(s.Runs, status)
	}
	atWork, older, err := n.standing(ctx)
	if err != nil {
		return nil, err
	}
	if len(runs) == 0 {
		s.NeedsPerson = append(s.NeedsPerson, older...)
		return s, nil
	}
	n.run = runs[0]
	extra, err := n.extra(ctx)
	if err != nil {
		return nil, err
	}
	if s.Reconciliation, err = report.Gather(ctx, n.Ledger, runs[0].ID, extra); err != nil {
		return nil, err
	}
	if s.Files, err = report.AllFiles(ctx, n.Ledger); err != nil {
		return nil, err
	}
	held, err := report.AllHolds(ctx, n.Ledger)
	if err != nil {
		return nil, err
	}
	s.Files = append(s.Files, held...)
	if atWork { // what a run at work has not done yet needs nobody
		s.Runs[0].Told, s.NeedsPerson = "at work", []report.Need{}
	}
	s.NeedsPerson = slices.Insert(s.NeedsPerson, 0, older...)
	return s, nil
}

// standing says whether a run is at work, and, where none is, what the next one would find: that the ledger is an older copy.
func (n *Night) standing(ctx context.Context) (atWork bool, older []report.Need, err error) {
	unlock, err := n.lock()
	if err != nil {
		return errors.Is(err, ErrLocked), nil, nil //nolint:nilerr // who may only look may not lock
	}
	defer unlock()
	err = n.marks.check(ctx, n.Ledger)
	if err == nil {
		err = n.notOlder(ctx)
	}
	if !errors.Is(err, ledger.ErrBehind) {
		return false, nil, err
	}
	return false, []report.Need{{What: "the ledger", Why: sentence(err), Command: "reemboss restore FILE"}}, nil
}
