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

// answeredOrders are those of the file that [Answerer] answers.
const answeredOrders = 10 * crashRows

// Answerer has a file of orders sent and then commits chunks of a return file
// without end, each with events, a problem and an audit entry: the first ones
// acknowledge every order, those after them change nothing. It is meant to be
// killed. committed is called after each chunk.
func Answerer(ctx context.Context, l ledger.Ledger, committed func(chunks int64)) error {
	r, _, err := l.BeginRun(ctx, start, start.Format("2006-01-02"), "host", "v1")
	if err != nil {
		return err
	}
	if err := sendCrashFile(ctx, l, r); err != nil {
		return err
	}
	f, err := crashReturn(ctx, l, r)
	if err != nil {
		return err
	}
	for n := int64(f.Pos) / crashRows; ; n++ {
		if err := l.CommitReturn(ctx, crashReturnChunk(r, f.ID, n)); err != nil {
			return err
		}
		committed(n + 1)
	}
}

// sendCrashFile does what is still to do until the orders are SENT.
func sendCrashFile(ctx context.Context, l ledger.Ledger, r ledger.Run) error {
	file, err := crashFile(ctx, l, r)
	if err != nil {
		return err
	}
	last, err := l.LastPos(ctx, file)
	if err != nil {
		return err
	}
	if last == 0 {
		c := chunk(r, file)
		for i := range int64(answeredOrders) {
			addReplacement(&c, int(i)+1, 1_000_000+i, 500_000_000+i)
		}
		c.Changes = nil // nobody stored the replaced cards
		for i := range c.NewCards {
			c.NewCards[i].Predecessor = 0
		}
		if err := l.CommitChunk(ctx, c); err != nil {
			return err
		}
	}
	files, err := l.BureauFiles(ctx, ledger.FileQuery{})
	if err != nil {
		return err
	}
	if len(files) == 0 {
		p := plan(r, "alpha", 1, answeredOrders)
		if p.File.ID, err = l.PlanFile(ctx, p); err != nil {
			return err
		}
		p.File.State = ledger.Planned
		files = append(files, p.File)
	}
	if files[0].State != ledger.Planned {
		return nil
	}
	return l.ChangeFile(ctx, ledger.FileChange{FileID: files[0].ID, From: []ledger.BureauFileState{ledger.Planned}, To: ledger.Sent, At: start, RunID: r.ID, Evidence: []byte("{}")})
}

func crashReturn(ctx context.Context, l ledger.Ledger, r ledger.Run) (ledger.ReturnFile, error) {
	files, err := l.ReturnFiles(ctx, ledger.ReturnQuery{})
	if err != nil || len(files) > 0 {
		return append(files, ledger.ReturnFile{})[0], err
	}
	f := ledger.ReturnFile{RunID: r.ID, Bureau: "alpha", Name: "crash.ret", State: ledger.ReturnHeld}
	f.ID, err = l.AddReturn(ctx, f)
	return f, err
}

func crashReturnChunk(r ledger.Run, id, n int64) ledger.ReturnChunk {
	e := entry("returns.applied")
	c := ledger.ReturnChunk{ReturnID: id, RunID: r.ID, Pos: int((n + 1) * crashRows), At: start, Known: 1, Entry: &e}
	first := n * crashRows
	for i := range int64(crashRows) {
		o := ledger.Order{UID: fmt.Sprintf("%020d", (first+i)%answeredOrders+1)}
		told, from := event(o, "ACKED", ledger.Acked, 1, 0), ledger.SentO
		if first >= answeredOrders {
			told, from = event(o, "PRODUCED", "", 0, 0), ledger.Acked
		}
		c.Events, c.From = append(c.Events, told), append(c.From, from)
	}
	c.Problems = []ledger.Problem{{Line: c.Pos, Code: "uid_unknown"}}
	return c
}

// CheckAnswered says what is torn in a ledger on which [Answerer] was killed,
// and how many chunks it holds: line, counts, events, problems, states and
// balance agree.
func CheckAnswered(ctx context.Context, l ledger.Ledger) (chunks int64, err error) {
	files, err := l.ReturnFiles(ctx, ledger.ReturnQuery{})
	if err != nil || len(files) != 1 {
		return 0, errors.Join(err, fmt.Errorf("%d return files", len(files)))
	}
	f := files[0]
	chunks = int64(f.Pos) / crashRows
	events, problems := int64(0), int64(0)
	if err := errors.Join(
		l.EachEvent(ctx, f.RunID, func(*ledger.ToldEvent) error { events++; return nil }),
		l.EachProblem(ctx, f.RunID, func(*ledger.Problem, *ledger.ReturnFile) error { problems++; return nil }),
	); err != nil {
		return 0, err
	}
	if f.Pos%crashRows != 0 || f.Applied != int64(f.Pos) || f.Known != chunks || f.Problems != chunks || events != f.Applied || problems != chunks {
		return 0, fmt.Errorf("return file %+v with %d events and %d problems", f, events, problems)
	}
	balances, err := l.FileBalances(ctx)
	if err != nil {
		return 0, err
	}
	acked := min(events, answeredOrders)
	for _, b := range balances {
		if b.Acknowledged != acked || b.ByState[ledger.Acked] != acked || b.Outstanding != answeredOrders-acked {
			return 0, fmt.Errorf("%d events and the balance %+v", events, b)
		}
	}
	return chunks, l.VerifyAudit(ctx)
}
