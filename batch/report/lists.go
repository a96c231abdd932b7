package report

import (
	"errors"
	"strconv"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// refusalsHeader is a public promise.
var refusalsHeader = []string{"file", "sheet", "row", "card_id", "request", "outcome", "class", "code", "all_codes", "message"}

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
