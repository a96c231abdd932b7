package ledgertest

import (
	"cmp"
	"context"
	"errors"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/request"
)

var readingPromises = []promise{
	{"an answer is told with its file, order, bureau file and card", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		file := d.file(r, "a.csv")
		c := d.replacement(r, file, 2, 1, 900)
		c.Answers = append([]ledger.Answer{refused(r, file, 1)}, c.Answers...)
		d.must(d.CommitChunk(d.ctx, c))
		id := d.plan(r, "alpha", 1, 1)
		d.write(r, id)
		told := d.told(r, file)
		d.same("refused", &ledger.Told{Answer: c.Answers[0], FileName: "a.csv"}, told[0])
		order, card := c.Orders[0], TestCard(1)
		order.State, order.BureauFileID, order.FileName, order.Sequence = ledger.PlannedO, id, "alpha-00001.pgp", 1
		card.Status = "LOST"
		d.same("accepted", &ledger.Told{Answer: c.Answers[1], FileName: "a.csv", Order: &order, Card: &card, BureauFileState: ledger.Written}, told[1])
	}},
	{"a refused row is told with its card if the registry has it", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(77))
		file := d.file(r, "a.csv")
		c := chunk(r, file)
		ids := map[int]string{1: "77", 2: "0077", 3: "78", 4: "", 5: "7 7", 6: "411111******1111", 7: "77777777777777777777", 8: "-77"}
		for pos := 1; pos <= len(ids); pos++ {
			a := refused(r, file, pos)
			a.CardID = ids[pos]
			c.Answers = append(c.Answers, a)
		}
		d.must(d.CommitChunk(d.ctx, c))
		for _, told := range d.told(r, file) {
			if has, want := told.Card != nil, told.Pos <= 2; has != want {
				d.Errorf("card id %q: a card: %t, want %t", told.CardID, has, want)
			}
		}
	}},
	{"answers of a run come in (file, row) order, those of a file in row order", func(d *desk) {
		first := d.begin()
		a, b := d.file(first, "a.csv"), d.file(first, "b.csv")
		d.refuse(first, b, 3, 1)
		d.refuse(first, a, 2, 10, 1)
		d.finish(first)
		second := d.begin()
		d.refuse(second, a, 11)
		at := func(r ledger.Run, file int64) [][2]int64 {
			var got [][2]int64
			for _, t := range d.told(r, file) {
				got = append(got, [2]int64{t.FileID, int64(t.Pos)})
			}
			return got
		}
		d.same("first run", [][2]int64{{a, 1}, {a, 2}, {a, 10}, {b, 1}, {b, 3}}, at(first, 0))
		d.same("second run", [][2]int64{{a, 11}}, at(second, 0))
		d.same("file a", [][2]int64{{a, 1}, {a, 2}, {a, 10}, {a, 11}}, at(second, a))
		d.notFound(d.EachTold(d.ctx, "2020-01-01-001", 0, func(*ledger.Told) error { return nil }))
	}},
	{"answers alone are the same answers", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		file := d.file(r, "a.csv")
		d.refuse(r, file, 1)
		d.order(r, file, 2, 1)
		var got []ledger.Answer
		d.must(d.EachAnswer(d.ctx, r.ID, 0, func(a *ledger.Answer) error { got = append(got, *a); return nil }))
		var want []ledger.Answer
		for _, t := range d.told(r, 0) {
			want = append(want, t.Answer)
		}
		d.same("answers", want, got)
	}},
	{"streams are complete at sizes beyond any buffer, and end with their context", func(d *desk) {
		r := d.begin()
		file := d.file(r, "a.csv")
		const rows = 3000
		c := chunk(r, file)
		for pos := 1; pos <= rows; pos++ {
			c.Answers = append(c.Answers, refused(r, file, pos))
		}
		d.must(d.CommitChunk(d.ctx, c))
		d.same("rows", rows, len(d.told(r, file)))
		ctx, cancel := context.WithCancel(d.ctx)
		defer cancel()
		calls := 0
		err := d.EachTold(ctx, r.ID, file, func(*ledger.Told) error { calls++; cancel(); return nil })
		if !errors.Is(err, context.Canceled) || calls == rows {
			d.Errorf("after %d calls: %v", calls, err)
		}
		d.same("rows afterwards", rows, len(d.told(r, file)))
	}},
	{"tallies count a run's answers and a file's", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2), TestCard(3))
		a, b := d.file(r, "a.csv"), d.file(r, "b.csv")
		d.refuse(r, a, 1, 2)
		d.order(r, a, 3, 1, 2)
		d.must(d.CommitChunk(d.ctx, d.replacement(r, b, 1, 3, 900)))
		byOutcome := func(t []ledger.Tally, err error) []ledger.Tally {
			d.must(err)
			return sorted(t, func(x, y ledger.Tally) int {
				return cmp.Or(cmp.Compare(x.Outcome, y.Outcome), cmp.Compare(x.Kind, y.Kind))
			})
		}
		ofA := []ledger.Tally{
			{Kind: request.Reemboss, Outcome: rules.Accepted, Code: rules.Approved, Product: "visa-classic", Bureau: "alpha", N: 2},
			{Kind: request.Reemboss, Outcome: rules.Refused, Code: "card_not_found", N: 2},
		}
		d.same("file a", ofA, byOutcome(d.FileTallies(d.ctx, a)))
		d.same("run", []ledger.Tally{
			ofA[0], {Kind: request.Reissue, Outcome: rules.Accepted, Code: rules.Approved, Reason: 3, Product: "visa-classic", Bureau: "alpha", N: 1}, ofA[1],
		}, byOutcome(d.Tallies(d.ctx, r.ID)))
	}},
	{"accepted is written plus waiting, run by run", func(d *desk) {
		first := d.begin()
		uids := d.orderMixed(first)
		d.balance(first, 5, 0)
		one := d.plan(first, "alpha", 1, int64(len(uids)-1))
		d.balance(first, 5, 0)
		d.write(first, one)
		d.balance(first, 2, 3)
		d.finish(first)
		second := d.begin()
		d.cards(TestCard(6))
		d.must(d.CommitChunk(d.ctx, d.replacement(second, d.file(second, "second.csv"), 1, 6, 900)))
		d.balance(second, 1, 0)
		d.send(second, d.plan(second, "alpha", 2, 2), start)
		d.balance(first, 1, 4)
		d.balance(second, 0, 1)
		waits, err := d.Waits(d.ctx)
		d.must(err)
		d.same("waits", []ledger.Waiting{{RunID: first.ID, Bureau: "beta", Orders: 1}}, waits)
		written, err := d.WrittenOf(d.ctx, "")
		d.must(err)
		d.same("written of every run", map[string]int64{"alpha": 5}, written)
	}},
}

// refuse commits refused rows.
func (d *desk) refuse(r ledger.Run, file int64, rows ...int) {
	d.Helper()
	c := chunk(r, file)
	for _, pos := range rows {
		c.Answers = append(c.Answers, refused(r, file, pos))
	}
	d.must(d.CommitChunk(d.ctx, c))
}

// balance compares how many orders of a run wait and how many are written.
func (d *desk) balance(r ledger.Run, waiting, written int64) {
	d.Helper()
	waits, err := d.Waits(d.ctx)
	d.must(err)
	got := [2]int64{}
	for _, w := range waits {
		if w.RunID == r.ID {
			got[0] += w.Orders
		}
	}
	counts, err := d.WrittenOf(d.ctx, r.ID)
	d.must(err)
	for _, n := range counts {
		got[1] += n
	}
	d.same("waiting and written of "+r.ID, [2]int64{waiting, written}, got)
}
