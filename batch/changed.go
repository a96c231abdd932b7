package batch

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/formats/request"
)

// A sender may go on writing into a file that was taken: it still has it open. Until its rows are decided that only
// costs a night (see grown). Once they are, their answers stand, whatever the file says by now: a file that goes on
// where the decided rows end is read on; any other one is put away, with a result made of the answers alone.

// answeredRows are the answers that rows of a file have, one at a time beside a walk over the file.
type answeredRows struct {
	count int // position of the last row that has one
	same  bool
	next  func() (*ledger.Told, error, bool)
	stop  func()
}

// answeredRows gives the answers of a file; count is 0 for one of which no row is decided.
func (n *Night) answeredRows(ctx context.Context, f ledger.RequestFile) (*answeredRows, error) {
	count, err := n.Ledger.LastPos(ctx, f.ID)
	a := &answeredRows{count: count, same: true, stop: func() {}}
	if err != nil || count == 0 {
		return a, err
	}
	a.next, a.stop = iter.Pull2(func(yield func(*ledger.Told, error) bool) {
		enough := errors.New("enough")
		err := n.Ledger.EachTold(ctx, "", f.ID, func(t *ledger.Told) error {
			if !yield(t, nil) {
				return enough
			}
			return nil
		})
		if err != nil && !errors.Is(err, enough) {
			yield(nil, err)
		}
	})
	return a, nil
}

// meet compares the next row of the file with the answer for its place: same says after the walk whether all agree.
func (a *answeredRows) meet(n *Night, row *request.Row) error {
	if row.Pos > a.count || !a.same {
		return nil
	}
	t, err, ok := a.next()
	if err != nil {
		return fmt.Errorf("read the answers: %w", err)
	}
	a.same = ok && t.Pos == row.Pos && t.Line == row.Line && t.RowDigest == n.keyset.Digest("row", digestParts(string(row.Kind), row.Cells)...)
	return nil
}

// goesOn says, once the file was walked through to its row number rows, that it has every decided row as it was.
func (a *answeredRows) goesOn(rows int64) bool { return a.same && rows >= int64(a.count) }

// refuseChanged ends the way of a file whose rows are decided and that is no longer the file they stood in. It gets no
// answer of its own, for each of its rows has one; a person is told.
func (n *Night) refuseChanged(ctx context.Context, f ledger.RequestFile, rows int) error {
	f.State, f.Code, f.Rows = ledger.DecidedF, "file_unreadable", int64(rows)
	f.Detail = fmt.Sprintf("It was changed after its %d rows were decided. They stand as they were decided, by row and card id in its result; nothing of what it says now was done.", rows)
	n.need(report.Need{What: printable(f.Name) + " was changed after its rows were decided",
		Why: f.Detail + " Compare it with its result, and send what is missing in a file with a new name."})
	n.Log.Warn().Str("run", n.run.ID).Str("file", printable(f.Name)).Str("code", string(f.Code)).Msg(f.Detail)
	return n.keepFile(ctx, f, nil, n.audit("file.refused", printable(f.Name), "changed after its rows were decided"))
}

// changedSince says that an error of reading a file again means that it changed since it was checked: then it was whole.
func changedSince(err error) bool {
	var damaged *request.FileError
	return errors.As(err, &damaged) || errors.Is(err, report.ErrRowsDiffer)
}
