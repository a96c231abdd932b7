package ledgertest

import (
	"context"
	"errors"
	"fmt"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/request"
)

// crashRows is the size of a chunk of [Writer].
const crashRows = 200

// Writer commits chunks of new-number reissues without end, each with a
// counter, new cards, changes of old ones and an audit entry. It is meant to be
// killed. committed is called after each chunk.
func Writer(ctx context.Context, l ledger.Ledger, committed func(chunks int64)) error {
	r, _, err := l.BeginRun(ctx, start, start.Format("2006-01-02"), "host", "v1")
	if err != nil {
		return err
	}
	file, err := crashFile(ctx, l, r)
	if err != nil {
		return err
	}
	done, err := l.Counter(ctx, "card-id")
	if err != nil {
		return err
	}
	for n := done / crashRows; ; n++ {
		if err := commitCrashChunk(ctx, l, r, file, n); err != nil {
			return err
		}
		committed(n + 1)
	}
}

func crashFile(ctx context.Context, l ledger.Ledger, r ledger.Run) (int64, error) {
	files, err := l.OpenFiles(ctx)
	if err != nil {
		return 0, err
	}
	if len(files) > 0 {
		return files[0].ID, nil
	}
	return l.AddFile(ctx, ledger.RequestFile{RunID: r.ID, Name: "crash.csv", State: ledger.Checked, ClaimedAt: start})
}

func commitCrashChunk(ctx context.Context, l ledger.Ledger, r ledger.Run, file, n int64) error {
	writes := make([]ledger.CardWrite, crashRows)
	for i := range writes {
		writes[i] = ledger.CardWrite{Card: TestCard(1_000_000 + n*crashRows + int64(i)), At: start}
	}
	if _, err := l.StoreCards(ctx, writes, entry("cards.imported")); err != nil {
		return err
	}
	c := chunk(r, file)
	c.Advances = []ledger.Advance{{Counter: "card-id", From: n * crashRows, To: (n + 1) * crashRows}}
	for i := range int64(crashRows) {
		number := n*crashRows + i
		addReplacement(&c, int(number)+1, 1_000_000+number, 500_000_000+number)
	}
	return l.CommitChunk(ctx, c)
}

func addReplacement(c *ledger.Chunk, pos int, old, new int64) {
	uid := fmt.Sprintf("%020d", pos)
	status := "LOST"
	made := TestCard(new)
	c.Answers = append(c.Answers, ledger.Answer{
		FileID: c.FileID, Pos: pos, RunID: c.RunID, Kind: request.Reissue, CardID: fmt.Sprint(old), Outcome: rules.Accepted, Code: rules.Approved, OrderUID: uid,
	})
	c.Orders = append(c.Orders, ledger.Order{
		UID: uid, RunID: c.RunID, FileID: c.FileID, Pos: pos, Kind: request.Reissue, CardID: old, EmbossedCardID: new, PAN: made.PAN, Bureau: "alpha", State: ledger.Queued, CreatedAt: start,
	})
	c.NewCards = append(c.NewCards, ledger.NewCard{Card: made, Predecessor: old})
	c.Changes = append(c.Changes, ledger.CardChange{ID: old, Status: &status, Successor: new})
}

// CheckWhole says what is torn in a ledger on which [Writer] was killed, and
// how many chunks it holds. A chunk is there with all that belongs to it or not
// at all, and the audit chain holds.
func CheckWhole(ctx context.Context, l ledger.Ledger) (chunks int64, err error) {
	issued, err := l.Counter(ctx, "card-id")
	if err != nil {
		return 0, err
	}
	if issued%crashRows != 0 {
		return 0, fmt.Errorf("the counter is at %d: part of a chunk", issued)
	}
	orders := int64(0)
	err = l.EachQueued(ctx, "alpha", 0, func(o *ledger.Order) error {
		orders++
		return checkReplaced(ctx, l, o)
	})
	if err != nil {
		return 0, err
	}
	last := 0
	if files, err := l.OpenFiles(ctx); err != nil {
		return 0, err
	} else if len(files) == 1 {
		if last, err = l.LastPos(ctx, files[0].ID); err != nil {
			return 0, err
		}
	}
	if orders != issued || int64(last) != issued {
		return 0, fmt.Errorf("%d orders, last row %d, counter at %d", orders, last, issued)
	}
	return issued / crashRows, l.VerifyAudit(ctx)
}

func checkReplaced(ctx context.Context, l ledger.Ledger, o *ledger.Order) error {
	if o.Pos%20 != 0 {
		return nil // a sample is enough
	}
	cards, err := l.Cards(ctx, []int64{o.CardID, o.EmbossedCardID})
	if err != nil {
		return err
	}
	old, made := cards[o.CardID], cards[o.EmbossedCardID]
	if old == nil || made == nil || old.Successor != made.ID || old.Status != "LOST" || old.Open == nil || old.Open.UID != o.UID {
		return errors.New("order " + o.UID + " is there without its cards")
	}
	return nil
}
