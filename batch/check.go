package batch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"reemboss/batch/durable"
	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/request"
)

// CheckedRow is what `run` would say to one row (files.md: check --json).
type CheckedRow struct {
	File    string        `json:"file"`
	Sheet   string        `json:"sheet"`
	Row     int           `json:"row"` // as a spreadsheet shows it; 0: the file as a whole
	CardID  string        `json:"card_id"`
	Request request.Kind  `json:"request"`
	Outcome rules.Outcome `json:"outcome"`
	Class   int           `json:"class"`
	Code    rules.Code    `json:"code"`
	Codes   []rules.Code  `json:"all_codes"`
	Message string        `json:"message"`
}

// Check says what a run would answer to each row of the files, in their order,
// as if they were dropped together tonight, and changes nothing. Rows are
// decided and issued by the very code of the night, with placeholders for the
// secrets; nothing is committed. A file that cannot be opened keeps the others
// from nothing: it is a [SetupError] at the end.
func (n *Night) Check(ctx context.Context, paths []string, fn func(CheckedRow) error) error {
	d := newDecider(n)
	var unopened []error
	for i, path := range paths {
		d.fileID = -int64(i + 1) // no file of the ledger: rows of different files are never "the same file"
		err := n.checkPath(ctx, d, path, fn)
		if err == nil {
			continue
		}
		err = fmt.Errorf("%s: %w", n.shown(ctx, filepath.Base(path)), err)
		var unusable *SetupError
		if !errors.As(err, &unusable) {
			return err
		}
		unopened = append(unopened, err)
	}
	return errors.Join(unopened...)
}

func (n *Night) checkPath(ctx context.Context, d *decider, path string, fn func(CheckedRow) error) error {
	name, mask := n.shown(ctx, filepath.Base(path)), n.masker(ctx)
	whole := func(code rules.Code, outcome rules.Outcome, detail string) error {
		class := rules.Class(code)
		if code == rules.Approved { // an approval: nothing is made by it
			class = approvalClass
		}
		return fn(CheckedRow{File: name, Outcome: outcome, Class: class, Code: code, Codes: []rules.Code{code}, Message: mask(detail)})
	}
	info, err := os.Stat(path)
	if err != nil {
		return setup("the file cannot be read: %w", plain(err))
	}
	if info.Size() > n.Config.Intake.MaxFileSize {
		return whole("file_too_large", rules.Refused, n.tooLarge(info.Size()))
	}
	source, err := n.submitted(path, filepath.Base(path), n.Now())
	var broken *request.FileError
	var no *durable.NotFileError
	if errors.As(err, &no) {
		return setup("the file cannot be read: %w", no)
	}
	if err == nil {
		defer source.Close()
		err = n.demandSignature(source)
	}
	switch {
	case errors.As(err, &broken):
		return whole(rules.Code(broken.Code), rules.Refused, broken.Error())
	case err != nil:
		return whole("file_unreadable", rules.Refused, fmt.Sprintf("The file cannot be read: %v.", plain(err)))
	}
	if source.signed != nil {
		content, err := source.whole()
		if err != nil {
			return err
		}
		if isApproval(content) {
			return n.checkApproval(ctx, path, content, *source.signed, whole)
		}
	}
	if err := d.submits(ctx, source.submitter()); err != nil {
		return err
	}
	first, err := n.sameContent(ctx, ledger.RequestFile{SHA256: source.sum})
	if err == nil {
		return whole("duplicate_file", rules.Duplicate, n.duplicateDetail(first))
	}
	if !errors.Is(err, ledger.ErrNotFound) {
		return err
	}
	// The first pass proves that the file can be read to its end: a broken one is refused whole, as in a run.
	file, err := request.New(source.content, source.size, n.requestOptions())
	if err == nil {
		defer file.Close()
		err = file.Each(func(*request.Row) error { return ctx.Err() })
	}
	if errors.As(err, &broken) {
		return whole(rules.Code(broken.Code), rules.Refused, broken.Error())
	}
	if err != nil {
		return err
	}
	rows := make([]*request.Row, 0, n.chunk)
	flush := func() error {
		chunk, err := d.chunk(ctx, rows)
		if err != nil {
			return err
		}
		for _, a := range chunk.Answers {
			row := CheckedRow{File: name, Sheet: a.Sheet, Row: a.Line, CardID: a.CardID, Request: a.Kind, Outcome: a.Outcome,
				Class: a.Class, Code: a.Code, Codes: a.Codes, Message: a.Message}
			if err := fn(row); err != nil {
				return err
			}
		}
		rows = rows[:0]
		d.trim()
		return ctx.Err()
	}
	err = file.Each(func(row *request.Row) error {
		if rows = append(rows, cloneRow(row)); len(rows) < n.chunk {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// checkApproval says what a run would make of a signed approval: what it decides, or why it is refused. Nothing is decided.
func (n *Night) checkApproval(ctx context.Context, path string, content []byte, by signature, whole func(rules.Code, rules.Outcome, string) error) error {
	sum, size, err := hashFile(path)
	if err != nil {
		return err
	}
	a, h, err := n.judgeApproval(ctx, ledger.RequestFile{SHA256: sum, Size: size}, content, by)
	var refused *refusedApproval
	switch {
	case errors.As(err, &refused) && refused.code == rules.DuplicateFile:
		return whole(refused.code, rules.Duplicate, refused.why)
	case errors.As(err, &refused):
		return whole(refused.code, rules.Refused, refused.why)
	case err != nil:
		return err
	}
	return whole(rules.Approved, rules.Accepted, approvalSentence(a, h, by))
}
