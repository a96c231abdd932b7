package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// refusalsHeader and outstandingHeader are public promises.
var (
	refusalsHeader    = []string{"file", "sheet", "row", "card_id", "request", "outcome", "class", "code", "all_codes", "message"}
	outstandingHeader = []string{"bureau", "file_name", "sequence", "uid", "card_number", "sent_at", "age_days"}
)

// refusalOf takes from an answer what the lists of refusals show. The ledger
// keeps the card id masked where the sender wrote a card number.
func refusalOf(t *ledger.Told) refusal {
	return refusal{
		File: t.FileName, Sheet: t.Sheet, Row: t.Line, CardID: t.CardID, Request: string(t.Kind), Outcome: string(t.Outcome), Class: t.Class,
		Code: string(t.Code), Codes: joinCodes(codesOf(t)), Message: t.Message,
	}
}

// cells gives the refusal in the order of refusalsHeader, neutral.
func (r refusal) cells() []string {
	cells := []string{r.File, r.Sheet, strconv.Itoa(r.Row), r.CardID, r.Request, r.Outcome, strconv.Itoa(r.Class), r.Code, r.Codes, r.Message}
	for i, cell := range cells {
		cells[i] = Neutral(cell)
	}
	return cells
}

// addRefusal writes an answer that is not accepted to refusals.csv.
func addRefusal(t *table, told *ledger.Told) error {
	if told.Outcome == rules.Accepted {
		return nil
	}
	return t.add(refusalOf(told).cells())
}

// errEnough ends a walk whose rest is not needed.
var errEnough = errors.New("enough")

// writeOutstanding lists the records that were sent and not answered, the
// oldest first, at most limit of them. It gives the number listed and how
// many there are. A record's age is counted at the start of the run.
func writeOutstanding(ctx context.Context, w io.Writer, l Ledger, runID string, at time.Time, limit int64) (listed, all int64, err error) {
	t, err := newTable(w, outstandingHeader...)
	if err != nil {
		return 0, 0, err
	}
	files, err := l.BureauFiles(ctx, ledger.FileQuery{States: []ledger.BureauFileState{ledger.Sent}})
	if err != nil {
		return 0, 0, err
	}
	slices.SortFunc(files, func(a, b ledger.BureauFile) int {
		return cmp.Or(a.SentAt.Compare(b.SentAt), cmp.Compare(a.Recipient, b.Recipient), cmp.Compare(a.Sequence, b.Sequence))
	})
	for _, f := range files {
		if f.Recipient == config.CardSystem || f.SentRunID > runID {
			continue
		}
		states, err := l.OrderStates(ctx, f.ID)
		if err != nil {
			return t.rows, all, err
		}
		all += states[ledger.SentO] // others are closed meanwhile: activated, returned
		err = l.EachFileOrder(ctx, f.ID, func(o *ledger.Order) error {
			if t.rows >= limit {
				return errEnough
			}
			if o.State != ledger.SentO {
				return nil
			}
			return t.add(outstandingCells(f, o, at))
		})
		if err != nil && !errors.Is(err, errEnough) {
			return t.rows, all, fmt.Errorf("read the records of %s: %w", f.Name, err)
		}
	}
	return t.rows, all, t.close()
}

func outstandingCells(f ledger.BureauFile, o *ledger.Order, at time.Time) []string {
	age := max(0, int(at.Sub(f.SentAt)/(24*time.Hour)))
	return []string{
		Neutral(f.Recipient), Neutral(f.Name), strconv.FormatInt(f.Sequence, 10), o.UID, o.PAN.Masked(),
		f.SentAt.UTC().Format(time.RFC3339), strconv.Itoa(age),
	}
}
