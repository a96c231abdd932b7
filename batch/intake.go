package batch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/batch/rules"
	"reemboss/formats/iso"
	"reemboss/formats/request"
	"reemboss/formats/table"
)

// intake takes complete files from the inbox, in the order of their names, and
// reads each once to its end. Card extracts come first: the rows of tonight are
// decided on tonight's cards.
//
// Taking a file is one rename into state/intake/; before it the file is the
// sender's and untouched, after it the ledger knows it.
func (n *Night) intake(ctx context.Context) (int64, error) {
	if err := n.claimed(ctx); err != nil {
		return 0, err
	}
	if err := n.refuseDoubtful(ctx); err != nil {
		return 0, err
	}
	ready, err := n.ready(ctx)
	if err != nil {
		return 0, err
	}
	var items int64
	for _, extracts := range []bool{true, false} {
		if err := n.take(ctx, ready, extracts); err != nil {
			return items, err
		}
		read, err := n.readTaken(ctx, extracts)
		items += read
		if err != nil {
			return items, err
		}
	}
	return items, nil
}

// readTaken imports the extracts that were taken, or checks the request files.
func (n *Night) readTaken(ctx context.Context, extracts bool) (int64, error) {
	files, err := n.Ledger.OpenFiles(ctx)
	if err != nil {
		return 0, err
	}
	var items int64
	for _, f := range files {
		if f.State != ledger.Claimed || f.Extract != extracts {
			continue
		}
		if err := ctx.Err(); err != nil {
			return items, err
		}
		if f.Extract {
			summary, err := n.importExtract(ctx, f)
			if err := n.troubled(err); err != nil {
				return items, err
			}
			items += summary.Rows
			continue
		}
		if err := n.troubled(n.checkFile(ctx, f)); err != nil {
			return items, err
		}
		items++
	}
	return items, nil
}

// claimed settles files whose claim a crash cut: what did not reach
// state/intake/ is still the sender's, in the inbox, and is forgotten here.
func (n *Night) claimed(ctx context.Context) error {
	files, err := n.Ledger.OpenFiles(ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.State != ledger.Claiming {
			continue
		}
		info, err := os.Lstat(n.Path(f.Intake))
		switch {
		case err == nil && !info.Mode().IsRegular():
			if err := n.giveBack(ctx, f, f.Name); err != nil {
				return err
			}
		case err == nil:
			if err := n.dropMarker(f, f.Name); err != nil {
				return err
			}
			f.State = ledger.Claimed
			if err := n.Ledger.UpdateFile(ctx, f, nil, n.audit("file.taken", printable(f.Name), "")); err != nil {
				return err
			}
		case errors.Is(err, fs.ErrNotExist):
			if err := n.Ledger.DropFile(ctx, f.ID); err != nil {
				return err
			}
		default:
			return fmt.Errorf("look at %s: %w", f.Intake, err)
		}
	}
	return nil
}

func (n *Night) audit(what, subject, detail string) *ledger.AuditEntry {
	e := n.entry(what, subject, detail)
	return &e
}

// candidate is a file of the inbox at one look.
type candidate struct {
	folder, name string
	extract      bool
	size         int64
	changed      time.Time
	marked       bool // its done-marker is there
}

func (c candidate) path() string { return filepath.Join(c.folder, c.name) }

// ready gives the files that may be taken: the done-marker is there, or two
// looks show the same size and time. The others stay for the next run.
func (n *Night) ready(ctx context.Context) (list []candidate, err error) {
	first, err := n.look(ctx)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	again := first
	for _, c := range first {
		if !c.marked {
			n.at("intake/looked")
			if err := n.Sleep(ctx, n.Config.Intake.StableFor); err != nil {
				return nil, err
			}
			if again, err = n.look(ctx); err != nil {
				return nil, err
			}
			break
		}
	}
	seen := map[string]candidate{}
	for _, c := range again {
		seen[c.path()] = c
	}
	for _, c := range first {
		now, there := seen[c.path()]
		if !there {
			continue
		}
		if !now.marked && (now.size != c.size || !now.changed.Equal(c.changed)) {
			n.note("%s is still being written; it is left in the inbox for the next run", filepath.Join(n.Relative(c.folder), n.shown(ctx, c.name)))
			continue
		}
		list = append(list, now)
	}
	return list, nil
}

// take claims the extracts among the files that are ready, or the others.
func (n *Night) take(ctx context.Context, ready []candidate, extracts bool) error {
	for i, c := range ready {
		if c.extract != extracts {
			continue
		}
		if err := n.claim(ctx, c, i+1); err != nil {
			return err
		}
	}
	return nil
}

// shown is a sender's file name as it may be told and kept: a card number in it, if the index knows it by now, is masked.
func (n *Night) shown(ctx context.Context, name string) string {
	return maskedName(printable(name), n.masker(ctx))
}

// maskedName masks with x: an asterisk in a file name is a trap for every shell.
func maskedName(name string, mask func(string) string) string {
	if masked := mask(name); masked != name {
		return strings.ReplaceAll(masked, "*", "x")
	}
	return name
}

// look lists the files of both inboxes, extracts first, each in the order of
// names. Folders, hidden files, done-markers and links are not files for us; a
// link is named in the report.
func (n *Night) look(ctx context.Context) ([]candidate, error) {
	var list []candidate
	for _, box := range []struct {
		folder  string
		extract bool
	}{{n.InboxCards(), true}, {n.Inbox(), false}} {
		entries, err := os.ReadDir(box.folder) // sorted by name
		if err != nil {
			return nil, cmp.Or(n.vanished(box.folder), fmt.Errorf("list %s: %w", n.Relative(box.folder), err))
		}
		for _, e := range entries {
			if e.IsDir() || strings.HasPrefix(e.Name(), ".") || n.isMarker(e.Name()) {
				continue
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("look at %s in %s: %w", e.Name(), n.Relative(box.folder), err)
			}
			if !info.Mode().IsRegular() {
				n.noteOnce("%s in %s is a link or a device, not a file; it is left alone: put the file itself there", n.shown(ctx, e.Name()), n.Relative(box.folder))
				continue
			}
			c := candidate{folder: box.folder, name: e.Name(), extract: box.extract, size: info.Size(), changed: info.ModTime()}
			if m := n.Config.Intake.DoneMarker; m != "" {
				_, err := os.Lstat(c.path() + m)
				c.marked = err == nil
			}
			list = append(list, c)
		}
	}
	return list, nil
}

func (n *Night) isMarker(name string) bool {
	m := n.Config.Intake.DoneMarker
	return m != "" && strings.HasSuffix(name, m)
}

func (n *Night) noteOnce(format string, args ...any) {
	sentence := fmt.Sprintf(format, args...)
	for _, s := range n.notes {
		if s == sentence {
			return
		}
	}
	n.note("%s", sentence)
}

// printable keeps characters of a sender's file name out of logs and reports that command a terminal, end a line or turn
// the direction of writing (a name that ends in "vsc.exe" turned round reads as one that ends in "exe.csv").
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return '_'
		}
		return r
	}, name)
}

// claim renames one file into state/intake/.
func (n *Night) claim(ctx context.Context, c candidate, number int) error {
	place := ""
	for k := number; ; k++ {
		place = filepath.Join(n.Intake(), fmt.Sprintf("%s.%02d.%04d", n.run.ID, n.run.Starts, k))
		if _, err := os.Lstat(place); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return fmt.Errorf("look at %s: %w", n.Relative(place), err)
		}
	}
	f := ledger.RequestFile{RunID: n.run.ID, Extract: c.extract, Name: n.shown(ctx, c.name), Intake: n.Relative(place),
		Size: c.size, State: ledger.Claiming, ClaimedAt: n.Now(), Owner: ownerOf(c.path())}
	id, err := n.Ledger.AddFile(ctx, f)
	if err != nil {
		return fmt.Errorf("record %s: %w", printable(f.Name), err)
	}
	f.ID = id
	n.at("intake/claiming")
	if err := n.Files.Rename(c.path(), place); err != nil {
		if errors.Is(err, fs.ErrNotExist) { // the sender took it back
			n.note("%s was gone when it was to be taken; nothing of it was done", printable(f.Name))
			return errors.Join(n.Ledger.DropFile(ctx, id), n.vanished(c.folder))
		}
		if _, there := os.Lstat(place); there == nil { // renamed, but not known to be durable: the next run looks again
			return fmt.Errorf("take %s: %w", printable(f.Name), err)
		}
		n.note("%s could not be taken: %v; it stays in the inbox", printable(f.Name), plain(err))
		return n.Ledger.DropFile(ctx, id)
	}
	n.at("intake/renamed")
	if info, err := os.Lstat(place); err == nil && !info.Mode().IsRegular() {
		return n.giveBack(ctx, f, c.name)
	}
	if err := n.dropMarker(f, c.name); err != nil {
		return err
	}
	f.State = ledger.Claimed
	return n.Ledger.UpdateFile(ctx, f, nil, n.audit("file.taken", printable(f.Name), ""))
}

// giveBack puts what was swapped for a link or a device between the look and the claim back into the inbox, where it is
// left alone. It is never opened: a link leads anywhere, a pipe would hold the night for ever.
func (n *Night) giveBack(ctx context.Context, f ledger.RequestFile, name string) error {
	box := n.Inbox()
	if f.Extract {
		box = n.InboxCards()
	}
	back := filepath.Join(box, name)
	switch _, err := os.Lstat(back); {
	case err == nil: // its name has a new file; the link itself holds no bytes
		if err := n.Files.Remove(n.Path(f.Intake)); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("look at %s: %w", n.Relative(back), err)
	default:
		if err := n.Files.Rename(n.Path(f.Intake), back); err != nil {
			return fmt.Errorf("give %s back: %w", printable(f.Name), err)
		}
	}
	n.noteOnce("%s in %s is a link or a device, not a file; it is left alone: put the file itself there", printable(f.Name), n.Relative(box))
	return n.Ledger.DropFile(ctx, f.ID)
}

// dropMarker removes the done-marker of a file that was taken under name, or it would speak for the next file of that name.
func (n *Night) dropMarker(f ledger.RequestFile, name string) error {
	if n.Config.Intake.DoneMarker == "" {
		return nil
	}
	box := n.Inbox()
	if f.Extract {
		box = n.InboxCards()
	}
	return n.Files.Remove(filepath.Join(box, name) + n.Config.Intake.DoneMarker)
}

// plain takes the path out of a file error: workspace paths mean nothing to the reader of a report.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}

// checkFile reads a request file once to its end. A file that cannot be read
// whole is refused whole, before any row of it has been decided.
func (n *Night) checkFile(ctx context.Context, f ledger.RequestFile) error {
	path := n.Path(f.Intake)
	if info, err := os.Stat(path); err == nil && info.Size() > n.Config.Intake.MaxFileSize { // not even its hash is worth the time
		f.Size = info.Size()
		return n.refuseFile(ctx, f, "file_too_large", fmt.Sprintf("the file has %d bytes, the limit is %d; split it, or raise the limit in the configuration",
			f.Size, n.Config.Intake.MaxFileSize), rules.Refused)
	}
	source, err := n.submitted(path, f.Name, f.ClaimedAt)
	var broken *request.FileError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return gone(f)
	case errors.As(err, &broken):
		return n.refuseSubmitted(ctx, f, broken)
	case err != nil:
		return n.refuseFile(ctx, f, "file_unreadable", fmt.Sprintf("The file cannot be read: %v. Check its rights and drop it again.", plain(err)), rules.Refused)
	}
	defer source.Close()
	if done, err := n.approvalFile(ctx, f, source); done || err != nil {
		return err
	}
	answered, err := n.answeredRows(ctx, f)
	if err != nil {
		return err
	}
	defer answered.stop()
	if answered.count > 0 && f.Submitter != source.submitter() {
		return n.refuseChanged(ctx, f, answered.count)
	}
	f.SHA256, f.Size, f.Submitter = source.sum, source.size, source.submitter()
	if err := n.demandSignature(source); err != nil {
		return n.refuseUnreadable(ctx, f, err)
	}
	if answered.count == 0 {
		first, err := n.sameContent(ctx, f)
		if err == nil {
			return n.refuseFile(ctx, f, "duplicate_file", n.duplicateDetail(first), rules.Duplicate)
		}
		if !errors.Is(err, ledger.ErrNotFound) {
			return err
		}
	}
	file, err := request.New(source.content, source.size, n.requestOptions())
	if err != nil {
		return n.refuseUnreadable(ctx, f, err)
	}
	defer file.Close()
	scan := &panScan{registry: n.Ledger, ours: n.ourNumber}
	err = file.Each(func(row *request.Row) error {
		f.Rows++
		if f.Rows%chunkRows == 0 {
			n.progress("intake", f.Rows, 0)
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if err := answered.meet(n, row); err != nil {
			return err
		}
		return scan.cells(ctx, row.Cells)
	})
	if err == nil {
		err = scan.settle(ctx)
	}
	answered.stop()
	if err != nil {
		return n.refuseUnreadable(ctx, f, err)
	}
	if !answered.goesOn(f.Rows) {
		return n.refuseChanged(ctx, f, answered.count)
	}
	for _, s := range file.Sheets() {
		if err := scan.cells(ctx, s.Header); err != nil {
			return err
		}
	}
	if err := scan.settle(ctx); err != nil {
		return err
	}
	f.Notes = file.Notes()
	mask := n.masker(ctx)
	for i, note := range f.Notes {
		f.Notes[i] = mask(note) // they name sheets
	}
	f.HoldsPAN = scan.found
	if !f.HoldsPAN {
		// Title rows, other sheets, comments and document properties are no rows, yet they stay with the file.
		if f.HoldsPAN, err = n.contentHoldsPAN(ctx, source.content, source.size); err != nil {
			return err
		}
	}
	f.State = ledger.Checked
	detail := fmt.Sprintf("%d rows, SHA-256 %s", f.Rows, f.SHA256)
	if source.signed != nil {
		detail += ", " + source.signed.String()
	}
	return n.Ledger.UpdateFile(ctx, f, nil, n.audit("file.checked", printable(f.Name), detail))
}

// sameContent finds an earlier file with the content of f of which a row was accepted; ledger.ErrNotFound.
func (n *Night) sameContent(ctx context.Context, f ledger.RequestFile) (ledger.RequestFile, error) {
	return n.Ledger.SameContent(ctx, f.SHA256, n.duplicatesSince(f.ClaimedAt), f.ID)
}

// duplicateDetail says where the same content was taken first.
func (n *Night) duplicateDetail(first ledger.RequestFile) string {
	return fmt.Sprintf("The same content was already taken on %s as %s (run %s); nothing of it was done again. To ask for the same cards once more, send a file with new content.",
		first.ClaimedAt.In(n.zone).Format(time.DateOnly), printable(first.Name), first.RunID)
}

func (n *Night) requestOptions() request.Options {
	return request.Options{Headers: n.Config.Headers, Limits: n.tableLimits()}
}

func (n *Night) tableLimits() table.Limits {
	in := n.Config.Intake
	return table.Limits{FileSize: in.MaxFileSize, Unpacked: in.MaxUnpacked, Rows: in.MaxRows, Field: in.MaxField}
}

// refuseUnreadable turns a reader's error into the refusal of the whole file; anything else is ours and stops the stage.
func (n *Night) refuseUnreadable(ctx context.Context, f ledger.RequestFile, err error) error {
	var broken *request.FileError
	if !errors.As(err, &broken) {
		return err
	}
	return n.refuseFile(ctx, f, rules.Code(broken.Code), broken.Error(), rules.Refused)
}

// refuseFile answers a file as a whole (row 0), unless rows of it have their answers.
func (n *Night) refuseFile(ctx context.Context, f ledger.RequestFile, code rules.Code, detail string, outcome rules.Outcome) error {
	if answered, err := n.Ledger.LastPos(ctx, f.ID); err != nil {
		return err
	} else if answered > 0 {
		return n.refuseChanged(ctx, f, answered)
	}
	holds, err := n.bytesHoldPAN(ctx, n.Path(f.Intake))
	if err != nil {
		return err
	}
	f.HoldsPAN = f.HoldsPAN || holds
	detail = n.masker(ctx)(detail) // it may name a sheet
	f.State, f.Code, f.Detail = ledger.DecidedF, code, detail
	answer := &ledger.Answer{FileID: f.ID, RunID: n.run.ID, Outcome: outcome, Class: rules.Class(code), Code: code,
		Codes: []rules.Code{code}, Message: detail}
	n.Log.Warn().Str("run", n.run.ID).Str("file", printable(f.Name)).Str("code", string(code)).Msg(detail)
	return n.Ledger.UpdateFile(ctx, f, answer, n.audit("file.refused", printable(f.Name), string(code)))
}

// hashFile gives the SHA-256 (hex) and the size of a file.
func hashFile(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

// fileTrouble is what keeps one file of the inbox where it is while the others
// go on; a person settles it.
type fileTrouble struct{ what, why string }

func (t *fileTrouble) Error() string { return t.what + ": " + t.why }

// troubled keeps a file's trouble for the report; any other error is given back.
func (n *Night) troubled(err error) error {
	var t *fileTrouble
	if !errors.As(err, &t) {
		return err
	}
	n.Log.Error().Str("run", n.run.ID).Msg(t.Error())
	n.needs = append(n.needs, report.Need{What: t.what, Why: t.why})
	return nil
}

// gone is the trouble of a file that somebody took out of state/intake/.
func gone(f ledger.RequestFile) error {
	return &fileTrouble{what: fmt.Sprintf("%s cannot go on", printable(f.Name)),
		why: fmt.Sprintf("its bytes are no longer in %s; put the very file back there under that name", f.Intake)}
}

// panScan asks the index about everything that could be a card number, many at a time.
type panScan struct {
	registry ledger.Registry
	ours     func(iso.PAN) bool
	pending  []iso.PAN
	found    bool
}

func (s *panScan) cells(ctx context.Context, cells []string) error {
	if s.found {
		return nil
	}
	for _, cell := range cells {
		for _, span := range iso.FindPANs(cell) {
			s.found = s.found || s.ours(span.PAN)
			s.pending = append(s.pending, span.PAN)
		}
	}
	if len(s.pending) < 1000 {
		return nil
	}
	return s.settle(ctx)
}

func (s *panScan) settle(ctx context.Context) error {
	if s.found || len(s.pending) == 0 {
		return nil
	}
	known, err := s.registry.KnownPANs(ctx, s.pending)
	if err != nil {
		return err
	}
	s.pending = s.pending[:0]
	for _, k := range known {
		s.found = s.found || k
	}
	return nil
}
