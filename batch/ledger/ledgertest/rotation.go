package ledgertest

import (
	"context"
	"errors"
	"slices"
	"strings"

	"reemboss/batch/ledger"
	"reemboss/formats/iso"
)

// restless is a ledger whose keys are rotated before every other writing of
// cards and orders, with a piece of the work after each.
type restless struct {
	ledger.Ledger
	vault  *TestVault
	writes int
}

func (l *restless) StoreCards(ctx context.Context, cards []ledger.CardWrite, e ledger.AuditEntry) ([]error, error) {
	l.rotate()
	problems, err := l.Ledger.StoreCards(ctx, cards, e)
	return problems, errors.Join(err, l.piece(ctx))
}

func (l *restless) CommitChunk(ctx context.Context, c ledger.Chunk) error {
	l.rotate()
	if err := l.Ledger.CommitChunk(ctx, c); err != nil {
		return err
	}
	return l.piece(ctx)
}

func (l *restless) rotate() {
	if l.writes++; l.writes%2 == 1 {
		l.vault.RotateIndex()
		l.vault.RotateSeal()
	}
}

// piece is a row of every first three writings; else the whole, so that the keys do not become too many.
func (l *restless) piece(ctx context.Context) error {
	limit := 1
	if l.writes%3 == 0 {
		limit = 10_000
	}
	_, err := l.Rekey(ctx, limit, entry("rotation"))
	return err
}

// rotateBoth puts new keys in the place of both.
func (d *desk) rotateBoth() {
	d.vault.RotateSeal()
	d.vault.RotateIndex()
}

// rekey does one piece of the work.
func (d *desk) rekey(limit int) ledger.RekeyProgress {
	d.Helper()
	p, err := d.Rekey(d.ctx, limit, entry(""))
	d.must(err)
	return p
}

// rekeyAll does all of it, n rows at a time.
func (d *desk) rekeyAll(n int) ledger.RekeyProgress {
	d.Helper()
	for range 1000 {
		if p := d.rekey(n); p.Ended {
			return p
		}
	}
	d.Fatal("it does not end")
	return ledger.RekeyProgress{}
}

// registered stores cards 1 to n and orders one of each.
func (d *desk) registered(n int64) (r ledger.Run, orders []ledger.Order) {
	d.Helper()
	r = d.begin()
	var ids []int64
	for id := int64(1); id <= n; id++ {
		d.cards(TestCard(id))
		ids = append(ids, id)
	}
	return r, d.order(r, d.file(r, "registered"), 1, ids...)
}

// allFound: every number of cards 1 to n opens and is found, and no other.
func (d *desk) allFound(n int64) {
	d.Helper()
	var ids []int64
	pans := []iso.PAN{TestPAN(99_999)}
	for id := int64(1); id <= n; id++ {
		ids, pans = append(ids, id), append(pans, TestPAN(id))
	}
	known, err := d.KnownPANs(d.ctx, pans)
	d.must(err)
	cards, err := d.Cards(d.ctx, ids)
	d.must(err)
	d.same("an unknown number is known", false, known[0])
	for i, id := range ids {
		psns, err := d.PSNs(d.ctx, TestPAN(id))
		d.must(err)
		if !known[i+1] || !slices.Equal(psns, []int{3}) || cards[id] == nil || !cards[id].PAN.Equal(TestPAN(id)) {
			d.Errorf("card %d is not found, or does not open", id)
		}
	}
	d.must(d.EachQueued(d.ctx, "alpha", 0, func(o *ledger.Order) error {
		if !o.PAN.Equal(TestPAN(o.EmbossedCardID)) {
			d.Errorf("the number of order %s is another", o.UID)
		}
		return nil
	}))
}

func (d *desk) keyUse() ledger.KeyUse {
	d.Helper()
	use, err := d.KeyUse(d.ctx)
	d.must(err)
	return use
}

var rotationPromises = []promise{
	{"with nothing rotated there is nothing to do", func(d *desk) {
		d.same("empty", ledger.RekeyProgress{Ended: true, Finished: true}, d.rekey(10))
		d.registered(3)
		d.same("progress", ledger.RekeyProgress{Ended: true, Finished: true}, d.rekey(10))
		for _, e := range d.entries() {
			if strings.HasPrefix(e.What, "rotation.") {
				d.Errorf("an entry %s", e.What)
			}
		}
	}},
	{"everything opens and is found at every step, and comes under the new keys", func(d *desk) {
		d.registered(7)
		d.same("before", ledger.KeyUse{Sealed: map[string]int64{"test-seal-1": 14}, Indexed: map[string]int64{"test-index-1": 7}}, d.keyUse())
		d.rotateBoth()
		d.allFound(7)
		d.same("first piece", ledger.RekeyProgress{Cards: ledger.RekeyCount{Done: 4, Left: 3}, Orders: ledger.RekeyCount{Left: 7}}, d.rekey(4))
		d.allFound(7)
		d.same("in between", ledger.KeyUse{Sealed: map[string]int64{"test-seal-1": 10, "test-seal-2": 4}, Indexed: map[string]int64{"test-index-1": 3, "test-index-2": 4}}, d.keyUse())
		d.same("second piece", ledger.RekeyProgress{Cards: ledger.RekeyCount{Done: 7}, Orders: ledger.RekeyCount{Done: 1, Left: 6}}, d.rekey(4))
		d.allFound(7)
		end := d.rekeyAll(4)
		d.same("end", ledger.RekeyProgress{Cards: ledger.RekeyCount{Done: 7}, Orders: ledger.RekeyCount{Done: 7}, Ended: true, Finished: true}, end)
		d.same("after", ledger.KeyUse{Sealed: map[string]int64{"test-seal-2": 14}, Indexed: map[string]int64{"test-index-2": 7}}, d.keyUse())
		d.vault.Retire()
		d.allFound(7)
		d.same("once more", ledger.RekeyProgress{Ended: true, Finished: true}, d.rekey(10))
	}},
	{"a rotation of one key leaves the other as it is", func(d *desk) {
		d.registered(3)
		d.vault.RotateSeal()
		d.rekeyAll(2)
		d.same("sealing", ledger.KeyUse{Sealed: map[string]int64{"test-seal-2": 6}, Indexed: map[string]int64{"test-index-1": 3}}, d.keyUse())
		d.vault.RotateIndex()
		d.same("progress", ledger.RekeyCount{}, d.rekeyAll(2).Orders)
		d.same("index", ledger.KeyUse{Sealed: map[string]int64{"test-seal-2": 6}, Indexed: map[string]int64{"test-index-2": 3}}, d.keyUse())
		d.allFound(3)
	}},
	{"a second rotation in the middle of the first one goes on with the newest keys", func(d *desk) {
		d.registered(6)
		d.rotateBoth()
		d.rekey(3)
		d.rotateBoth()
		d.allFound(6)
		d.rekeyAll(5)
		d.same("after", ledger.KeyUse{Sealed: map[string]int64{"test-seal-3": 12}, Indexed: map[string]int64{"test-index-3": 6}}, d.keyUse())
		d.allFound(6)
	}},
	{"a number and PSN that a card has under a former key is taken", func(d *desk) {
		d.registered(4)
		d.rotateBoth()
		d.rekey(2) // cards 1 and 2
		for id := int64(1); id <= 4; id++ {
			taken := TestCard(50 + id)
			taken.PAN = TestPAN(id)
			problems, err := d.StoreCards(d.ctx, []ledger.CardWrite{{Card: taken, At: start}}, entry("cards.imported"))
			d.must(err)
			if !errors.Is(problems[0], ledger.ErrPANTaken) {
				d.Errorf("card %d: %v", id, problems[0])
			}
			d.cards(TestCard(id)) // itself it may be written again
		}
		d.allFound(4)
	}},
	{"a new card with a number that a card has under a former key is refused", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2), TestCard(3))
		d.rotateBoth()
		d.rekey(1)
		for pos, id := range []int64{1, 3} {
			c := d.replacement(r, d.file(r, "a"), pos+1, 2, 900)
			c.NewCards[0].Card.PAN, c.NewCards[0].Card.PSN = TestPAN(id), 3
			if err := d.CommitChunk(d.ctx, c); !errors.Is(err, ledger.ErrConflict) || !errors.Is(err, ledger.ErrPANTaken) {
				d.Errorf("card %d: %v", id, err)
			}
		}
	}},
	{"a PSN that a card has under a former key is taken", func(d *desk) {
		r := d.begin()
		one, other := TestCard(1), TestCard(2)
		other.PAN, other.PSN = one.PAN, 4
		d.cards(one, other)
		d.rotateBoth()
		d.rekey(1) // card 1 is under the new keys, card 2 is not
		for _, id := range []int64{1, 2} {
			c := chunk(r, d.file(r, "a"))
			psn := int(5 - id) // the other one's: 4, 3
			if id == 2 {
				psn = 3
			}
			c.Changes = []ledger.CardChange{{ID: id, PSN: &psn}}
			if err := d.CommitChunk(d.ctx, c); !errors.Is(err, ledger.ErrConflict) || !errors.Is(err, ledger.ErrPANTaken) {
				d.Errorf("card %d: %v", id, err)
			}
			free := 8
			c.Changes[0].PSN = &free
			d.must(d.CommitChunk(d.ctx, c))
			back := map[int64]int{1: 3, 2: 4}[id]
			c.Changes[0].PSN = &back
			d.must(d.CommitChunk(d.ctx, c))
		}
		psns, err := d.PSNs(d.ctx, one.PAN)
		d.must(err)
		d.same("PSNs of a number under two keys", []int{3, 4}, psns)
	}},
	{"what is written in the middle is under the new keys and not done again", func(d *desk) {
		d.registered(4)
		d.rotateBoth()
		d.rekey(1)
		d.cards(TestCard(4), TestCard(5))
		end := d.rekeyAll(3)
		d.same("cards", int64(3), end.Cards.Done)
		d.same("left", int64(0), end.Left())
		d.allFound(5)
	}},
	{"rows that came under a former key behind the work are found before its end", func(d *desk) {
		d.registered(4)
		d.rotateBoth()
		d.rekey(3)
		d.vault.turn(-1)
		d.cards(TestCard(1))
		d.vault.turn(1)
		end := d.rekeyAll(3)
		d.same("finished at once", false, end.Finished)
		d.same("left", int64(1), end.Cards.Left)
		d.same("finished", true, d.rekeyAll(3).Finished)
		d.allFound(4)
	}},
	{"a number that does not open is counted and stops nothing", func(d *desk) {
		d.registered(3)
		d.vault.RotateSeal()
		d.cards(TestCard(4))
		d.vault.Retire() // too early: cards 1 to 3 and their orders are under it
		d.rotateBoth()
		end := d.rekeyAll(2)
		d.same("progress", ledger.RekeyProgress{Cards: ledger.RekeyCount{Done: 1, Left: 3}, Orders: ledger.RekeyCount{Left: 3}, Unreadable: 6, Ended: true}, end)
		known, err := d.KnownPANs(d.ctx, []iso.PAN{TestPAN(1), TestPAN(4)})
		d.must(err)
		d.same("known", []bool{true, true}, known)
		d.same("again", end.Unreadable, d.rekeyAll(2).Unreadable)
	}},
	{"an index key that the vault lost fails every look-up instead of finding nothing", func(d *desk) {
		d.registered(2)
		d.rotateBoth()
		d.vault.Retire()
		if known, err := d.KnownPANs(d.ctx, []iso.PAN{TestPAN(1)}); err == nil {
			d.Errorf("%v", known)
		}
		if _, err := d.PSNs(d.ctx, TestPAN(1)); err == nil {
			d.Error("PSNs were found")
		}
		if _, err := d.StoreCards(d.ctx, []ledger.CardWrite{{Card: TestCard(9), At: start}}, entry("cards.imported")); err == nil {
			d.Error("a card was stored whose number nobody could compare")
		}
	}},
	{"an index key that the vault lost, and under which no row is any more, stops nothing", func(d *desk) {
		d.registered(2)
		d.rotateBoth()
		d.cards(TestCard(1), TestCard(2)) // written anew, and no count of all rows since
		d.same("use", map[string]int64{"test-index-2": 2}, d.keyUse().Indexed)
		d.vault.RetireIndex()
		d.allFound(2)
		d.cards(TestCard(3))
		d.same("finished", true, d.rekeyAll(10).Finished)
		d.vault.RotateIndex()
		d.vault.RetireIndex() // with rows under it now
		if known, err := d.KnownPANs(d.ctx, []iso.PAN{TestPAN(1)}); err == nil {
			d.Errorf("%v", known)
		}
	}},
	{"a card without a number has no key", func(d *desk) {
		c := TestCard(1)
		c.PAN = iso.PAN{}
		d.cards(c)
		d.rotateBoth()
		d.same("finished", true, d.rekeyAll(5).Finished)
		d.same("card", c, d.card(1).Card.Card)
		d.same("use", ledger.KeyUse{Sealed: map[string]int64{}, Indexed: map[string]int64{}}, d.keyUse())
	}},
	{"a rotation is in the audit chain once, with its first and its last row", func(d *desk) {
		d.registered(3)
		d.rotateBoth()
		d.rekeyAll(2)
		d.rekeyAll(2)
		var told []string
		for _, e := range d.entries() {
			if strings.HasPrefix(e.What, "rotation.") {
				told = append(told, e.What+": "+e.Subject+": "+e.Detail)
				if e.Who != "op@host" || !e.At.Equal(start) {
					d.Errorf("%s by %s at %s", e.What, e.Who, e.At)
				}
			}
		}
		d.same("entries", []string{
			"rotation.began: sealing key test-seal-2, index key test-index-2: 3 cards and 3 orders are under former keys",
			"rotation.finished: sealing key test-seal-2, index key test-index-2: 3 cards and 3 orders were sealed or indexed anew; nothing is under a former key",
		}, told)
		d.must(d.VerifyAudit(d.ctx))
	}},
}
