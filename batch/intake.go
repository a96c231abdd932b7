package batch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode"

	"reemboss/batch/durable"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/batch/rules"
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
	n.tellUntaken()
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

func (n *Night) audit(what, subject, detail string) *ledger.AuditEntry {
	e := n.entry(what, subject, detail)
	return &e
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

func (n *Night) noteOnce(format string, args ...any) {
	sentence := n.safe(fmt.Sprintf(format, args...))
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
		return n.refuseFile(ctx, f, "file_too_large", n.tooLarge(f.Size), rules.Refused)
	}
	source, err := n.submitted(path, f.Name, f.ClaimedAt)
	var broken *request.FileError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return gone(f)
	case errors.As(err, &broken):
		return n.refuseSubmitted(ctx, f, broken)
	case errors.Is(err, fs.ErrPermission):
		return shut(f, err)
	case err != nil:
		return n.refuseFile(ctx, f, "file_unreadable", fmt.Sprintf("The file cannot be read: %v. Look at the disk and drop it again.", plain(err)), rules.Refused)
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
	f.SHA256, f.Size, f.Submitter, f.Signer = source.sum, source.size, source.submitter(), source.signer()
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
	scan := n.newScan()
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
		if file.Format() == "xlsx" { // of a text the bytes are searched, with what stands between its cells
			return scan.row(ctx, row.Cells)
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
	return n.keepFile(ctx, f, nil, n.audit("file.checked", printable(f.Name), detail))
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
	detail = n.safe(detail) // it may name a sheet
	f.State, f.Code, f.Detail = ledger.DecidedF, code, detail
	answer := &ledger.Answer{FileID: f.ID, RunID: n.run.ID, Outcome: outcome, Class: rules.Class(code), Code: code,
		Codes: []rules.Code{code}, Message: detail}
	n.Log.Warn().Str("run", n.run.ID).Str("file", printable(f.Name)).Str("code", string(code)).Msg(detail)
	return n.keepFile(ctx, f, answer, n.audit("file.refused", printable(f.Name), string(code)))
}

func (n *Night) tooLarge(size int64) string {
	return fmt.Sprintf("the file has %d bytes, the limit is %d; split it, or raise the limit in the configuration", size, n.Config.Intake.MaxFileSize)
}

// hashFile gives the SHA-256 (hex) and the size of a file.
func hashFile(path string) (sum string, size int64, err error) {
	f, err := durable.Open(path)
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
	n.Log.Error().Str("run", n.run.ID).Msg(n.safe(t.Error()))
	n.need(report.Need{What: t.what, Why: t.why})
	return nil
}

// gone is the trouble of a file that somebody took out of state/intake/.
func gone(f ledger.RequestFile) error {
	return &fileTrouble{what: fmt.Sprintf("%s cannot go on", printable(f.Name)),
		why: fmt.Sprintf("its bytes are no longer in %s; put the very file back there under that name", f.Intake)}
}
