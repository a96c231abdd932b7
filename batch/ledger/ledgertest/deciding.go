package ledgertest

import (
	"errors"
	"fmt"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/iso"
	"reemboss/formats/request"
)

var decidingPromises = []promise{
	{"a reference is claimed by an accepted row and by no other", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		file := d.file(r, "a.csv")
		no := refused(r, file, 1)
		no.Reference = "ref-no"
		yes, o := d.accepted(r, file, 2, 1)
		yes.Reference = "ref-yes"
		c := chunk(r, file)
		c.Answers, c.Orders = []ledger.Answer{no, yes}, []ledger.Order{o}
		d.must(d.CommitChunk(d.ctx, c))
		found, err := d.References(d.ctx, []string{"ref-no", "ref-yes", "ref-unknown", ""})
		d.must(err)
		d.same("references", map[string]ledger.Prior{
			"ref-yes": {Prior: rules.Prior{ContentDigest: "content 1", FileID: file, RowDigest: "row 2"}, Answer: yes},
		}, found)
	}},
	{"the last position is that of the last row with an answer", func(d *desk) {
		r := d.begin()
		file, other := d.file(r, "a.csv"), d.file(r, "b.csv")
		for _, pos := range []int{1, 2, 7} {
			c := chunk(r, file)
			c.Answers = []ledger.Answer{refused(r, file, pos)}
			d.must(d.CommitChunk(d.ctx, c))
			last, err := d.LastPos(d.ctx, file)
			d.must(err)
			d.same("last", pos, last)
		}
		last, err := d.LastPos(d.ctx, other)
		d.must(err)
		d.same("last of a file without answers", 0, last)
	}},
	{"a counter starts at 0 and moves only from the value that was seen", func(d *desk) {
		r := d.begin()
		file := d.file(r, "a.csv")
		value, err := d.Counter(d.ctx, "card-id")
		d.must(err)
		d.same("untouched", int64(0), value)
		move := func(from, to int64) error {
			c := chunk(r, file)
			c.Advances = []ledger.Advance{{Counter: "card-id", From: from, To: to}, {Counter: "range/visa", From: from, To: to}}
			return d.CommitChunk(d.ctx, c)
		}
		d.must(move(0, 10))
		d.conflict(move(9, 12))
		if err := move(10, 9); err == nil {
			d.Error("a counter went back")
		}
		d.must(move(10, 11))
		all, err := d.Counters(d.ctx)
		d.must(err)
		d.same("counters", map[string]int64{"card-id": 11, "range/visa": 11, "runs": 1}, all)
	}},
	{"a range's parameters never change after its first use", func(d *desk) {
		first := ledger.RangeParams{Name: "visa", Prefix: "411111", Key: "alloc-1", Tweak: "aa", PANLength: 16, From: 5, To: 99}
		d.must(d.EnsureRange(d.ctx, first))
		d.must(d.EnsureRange(d.ctx, first))
		for _, change := range []func(*ledger.RangeParams){
			func(p *ledger.RangeParams) { p.Prefix = "411112" },
			func(p *ledger.RangeParams) { p.Key = "alloc-2" },
			func(p *ledger.RangeParams) { p.Tweak = "" },
			func(p *ledger.RangeParams) { p.PANLength = 19 },
			func(p *ledger.RangeParams) { p.From = 4 },
			func(p *ledger.RangeParams) { p.To = 100 },
		} {
			changed := first
			change(&changed)
			if err := d.EnsureRange(d.ctx, changed); !errors.Is(err, ledger.ErrRangeChanged) {
				d.Errorf("%+v: error %v, want ErrRangeChanged", changed, err)
			}
		}
		other := first
		other.Name, other.Prefix = "gold", "555555"
		d.must(d.EnsureRange(d.ctx, other))
		d.must(d.EnsureRange(d.ctx, first))
	}},
}

var chunkPromises = []promise{
	{"a chunk writes answers, orders, new cards, changes, counters and its entry", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		file := d.file(r, "a.csv")
		c := d.replacement(r, file, 4, 1, 900)
		c.Advances = []ledger.Advance{{Counter: "range/visa", From: 0, To: 3}}
		d.must(d.CommitChunk(d.ctx, c))
		old, made := d.card(1), d.card(900)
		d.same("old status", "LOST", old.Status)
		d.same("old decided", ledger.DecidedStatus, old.Decided)
		d.same("successor", int64(900), old.Successor)
		d.same("new card", c.NewCards[0].Card, made.Card.Card)
		d.same("new decided", ledger.DecidedPAN|ledger.DecidedPSN|ledger.DecidedExpiry|ledger.DecidedStatus, made.Decided)
		d.same("queue", []string{c.Orders[0].UID}, d.queuedUIDs("alpha", 0))
		told := d.told(r, file)
		d.same("answer", c.Answers[0], told[0].Answer)
		d.same("order", &c.Orders[0], told[0].Order)
		counter, err := d.Counter(d.ctx, "range/visa")
		d.must(err)
		d.same("counter", int64(3), counter)
		d.same("entries", 2, len(d.entries()))
	}},
	{"what is set on a card is marked as decided, the rest stays", func(d *desk) {
		r := d.begin()
		d.store(ledger.CardWrite{Card: TestCard(1), Decided: ledger.DecidedShipment, At: start})
		psn, expiry, from, months, key, name := 4, iso.Expiry(203001), start.Truncate(day), 48, "cvk-2", "A LIND"
		c := chunk(r, d.file(r, "a.csv"))
		c.Changes = []ledger.CardChange{{ID: 1, PSN: &psn, Expiry: &expiry, StartDate: &from, ValidityMonths: &months, CVKRef: &key, PrintedName: &name}}
		d.must(d.CommitChunk(d.ctx, c))
		want := TestCard(1)
		want.PSN, want.Expiry, want.StartDate, want.ValidityMonths, want.CVKRef, want.PrintedName = psn, expiry, from, months, key, name
		got := d.card(1)
		d.same("card", want, got.Card.Card)
		d.same("decided", ledger.DecidedShipment|ledger.DecidedPSN|ledger.DecidedExpiry, got.Decided)
	}},
	{"a duplicate by reference names the first one's order", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		first := d.order(r, d.file(r, "a.csv"), 1, 1)[0]
		file := d.file(r, "b.csv")
		again := refused(r, file, 1)
		again.Outcome, again.Class, again.Code, again.OrderUID = rules.Duplicate, 409, rules.Approved, first.UID
		c := chunk(r, file)
		c.Answers = []ledger.Answer{again}
		d.must(d.CommitChunk(d.ctx, c))
		told := d.told(r, file)
		d.same("uid", first.UID, told[0].OrderUID)
		d.same("order", &first, told[0].Order)
	}},
	{"a conflict leaves nothing of the chunk", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2), TestCard(3), TestCard(4), TestCard(5))
		file := d.file(r, "a.csv")
		d.must(d.CommitChunk(d.ctx, d.replacement(r, file, 1, 1, 900)))
		used := d.order(r, file, 2, 2)[0]
		d.claim(r, file, 3, 3, "ref")
		d.finish(r)
		for _, c := range conflicts(d, d.begin(), r, file, used) {
			before := d.snapshot(file)
			err := d.CommitChunk(d.ctx, c.chunk)
			if !errors.Is(err, ledger.ErrConflict) {
				d.Errorf("%s: error %v, want ErrConflict", c.name, err)
			}
			if c.taken && !errors.Is(err, ledger.ErrPANTaken) {
				d.Errorf("%s: error %v, want ErrPANTaken too", c.name, err)
			}
			d.same(c.name, before, d.snapshot(file))
		}
	}},
	{"a chunk that does not agree with itself is refused", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2))
		file := d.file(r, "a.csv")
		for name, spoil := range map[string]func(*ledger.Chunk){
			"accepted without an order":   func(c *ledger.Chunk) { c.Orders = nil },
			"an order without its answer": func(c *ledger.Chunk) { c.Answers = nil },
			"an order of a refused row":   func(c *ledger.Chunk) { c.Answers[0].Outcome = rules.Refused },
			"another order named":         func(c *ledger.Chunk) { c.Answers[0].OrderUID = "other" },
			"two orders for a row":        func(c *ledger.Chunk) { c.Orders = append(c.Orders, c.Orders[0]) },
			"an answer of another file":   func(c *ledger.Chunk) { c.Answers[0].FileID++ },
			"an order of another file":    func(c *ledger.Chunk) { c.Orders[0].FileID++ },
			"an order that is not queued": func(c *ledger.Chunk) { c.Orders[0].State = ledger.SentO },
			"an unknown run":              func(c *ledger.Chunk) { c.RunID, c.Answers[0].RunID, c.Orders[0].RunID = "x", "x", "x" },
		} {
			a, o := d.accepted(r, file, 1, 1)
			c := chunk(r, file)
			c.Answers, c.Orders = []ledger.Answer{a}, []ledger.Order{o}
			spoil(&c)
			if err := d.CommitChunk(d.ctx, c); err == nil {
				d.Errorf("%s: no error", name)
			}
		}
		d.same("orders", 0, len(d.queuedUIDs("alpha", 0)))
		d.same("answers", 0, len(d.told(r, file)))
	}},
	{"re-embossings of a card are counted from 1, reissues apart", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2))
		d.ship(r, 1, 1, start)
		a, o := d.accepted(r, d.file(r, "reissue.csv"), 1, 1)
		o.Kind, o.Reason = request.Reissue, 1
		c := chunk(r, a.FileID)
		c.Answers, c.Orders = []ledger.Answer{a}, []ledger.Order{o}
		d.must(d.CommitChunk(d.ctx, c))
		d.send(r, d.plan(r, "alpha", 2, 1), start.Add(day))
		d.order(r, d.file(r, "b.csv"), 1, 1, 2)
		counts := map[int64][]int{}
		d.must(d.EachTold(d.ctx, r.ID, 0, func(t *ledger.Told) error {
			counts[t.Order.CardID] = append(counts[t.Order.CardID], t.Order.Reembossing)
			return nil
		}))
		d.same("counts", map[int64][]int{1: {1, 0, 2}, 2: {1}}, counts)
	}},
	{"a chain may grow and a reference be repeated within one chunk", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		c := d.replacement(r, d.file(r, "a.csv"), 1, 1, 900)
		c.Answers[0].Reference = "ref"
		again := refused(r, c.FileID, 2)
		again.Outcome, again.Reference, again.OrderUID = rules.Duplicate, "ref", c.Orders[0].UID
		c.Answers = append(c.Answers, again)
		c.NewCards = append(c.NewCards, ledger.NewCard{Card: TestCard(901), Predecessor: 900})
		d.must(d.CommitChunk(d.ctx, c))
		d.same("successor of the first", int64(900), d.card(1).Successor)
		d.same("successor of the second", int64(901), d.card(900).Successor)
		d.same("order of the repeated row", c.Orders[0].UID, d.told(r, c.FileID)[1].Order.UID)
	}},
	{"a card may be ordered again once its order is sent", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		d.ship(r, 1, 1, start)
		d.order(r, d.file(r, "b.csv"), 1, 1)
	}},
}

// claim commits one order with a reference.
func (d *desk) claim(r ledger.Run, file int64, pos int, card int64, reference string) {
	d.Helper()
	a, o := d.accepted(r, file, pos, card)
	a.Reference = reference
	c := chunk(r, file)
	c.Answers, c.Orders = []ledger.Answer{a}, []ledger.Order{o}
	d.must(d.CommitChunk(d.ctx, c))
}

// snapshot is all that a chunk could change.
func (d *desk) snapshot(file int64) map[string]any {
	d.Helper()
	cards, err := d.Cards(d.ctx, []int64{1, 2, 3, 4, 5, 900, 901})
	d.must(err)
	counters, err := d.Counters(d.ctx)
	d.must(err)
	seen := map[string]any{
		"queue": d.queuedUIDs("alpha", 0), "told": len(d.told(ledger.Run{}, file)), "counters": fmt.Sprint(counters), "entries": len(d.entries()),
	}
	for id, c := range cards {
		seen[fmt.Sprint("card ", id)] = fmt.Sprint(c.Status, c.PSN, c.Expiry, c.Successor, c.Decided, c.PAN)
	}
	return seen
}

type conflict struct {
	name  string
	taken bool // the error also says that the number is taken
	chunk ledger.Chunk
}

// conflicts are chunks that begin well and end against what is stored: card 1
// was replaced by 900 with an open order, cards 2 (order used) and 3 (reference
// "ref") have open orders, cards 4 and 5 are free.
func conflicts(d *desk, r, finished ledger.Run, file int64, used ledger.Order) []conflict {
	var all []conflict
	add := func(name string, pos int, card int64, spoil func(*ledger.Chunk)) {
		a, o := d.accepted(r, file, pos, card)
		psn := 9
		c := chunk(r, file)
		c.Advances = []ledger.Advance{{Counter: "card-id", From: 0, To: 1}}
		c.Answers, c.Orders = []ledger.Answer{refused(r, file, 50), a}, []ledger.Order{o}
		c.Changes = []ledger.CardChange{{ID: 5, PSN: &psn}}
		if spoil != nil {
			spoil(&c)
		}
		all = append(all, conflict{name: name, chunk: c})
	}
	newCard := func(id, pan int64) func(*ledger.Chunk) {
		return func(c *ledger.Chunk) {
			made := TestCard(id)
			made.PAN = TestPAN(pan)
			c.NewCards = []ledger.NewCard{{Card: made, Predecessor: 4}}
		}
	}
	add("row answered before", 2, 4, nil)
	add("counter moved meanwhile", 9, 4, func(c *ledger.Chunk) { c.Advances[0].From = 7; c.Advances[0].To = 8 })
	add("order number used before", 9, 4, func(c *ledger.Chunk) { c.Orders[0].UID, c.Answers[1].OrderUID = used.UID, used.UID })
	add("card with an open order", 9, 2, nil)
	add("replaced card with an open order", 9, 1, nil)
	add("embossed card of an open order", 9, 900, nil)
	add("card with an open order embossed for another card", 9, 4, func(c *ledger.Chunk) { c.Orders[0].EmbossedCardID = 2 })
	add("reference claimed before", 9, 4, func(c *ledger.Chunk) { c.Answers[1].Reference = "ref" })
	add("change of an unknown card", 9, 4, func(c *ledger.Chunk) { c.Changes[0].ID = 777 })
	add("closing the transit of an unknown card", 9, 4, func(c *ledger.Chunk) { c.Changes[0] = ledger.CardChange{ID: 777, CloseTransit: true} })
	add("card that has another successor", 9, 4, func(c *ledger.Chunk) { c.Changes[0] = ledger.CardChange{ID: 1, Successor: 5} })
	add("new card with a taken id", 9, 4, newCard(3, 901))
	add("new card with a taken number", 9, 4, newCard(901, 2))
	all[len(all)-1].taken = true
	add("finished run", 9, 4, func(c *ledger.Chunk) {
		c.RunID, c.Orders[0].RunID = finished.ID, finished.ID
		for i := range c.Answers {
			c.Answers[i].RunID = finished.ID
		}
	})
	return all
}
