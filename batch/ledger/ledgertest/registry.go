package ledgertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"reemboss/batch/ledger"
	"reemboss/formats/extract"
	"reemboss/formats/iso"
)

var registryPromises = []promise{
	{"a card comes back with every field", func(d *desk) {
		c := TestCard(12)
		c.ShipmentStatus, c.ShippedAt = "DELIVERED", start.Add(3*time.Millisecond)
		d.store(ledger.CardWrite{Card: c, Decided: ledger.DecidedPSN, At: start})
		got := d.card(12)
		d.same("card", c, got.Card.Card)
		d.same("decided", ledger.DecidedPSN, got.Decided)
		d.same("number", c.PAN.Reveal() == got.PAN.Reveal(), true)
	}},
	{"a card without optional fields comes back without them", func(d *desk) {
		c := extract.Card{ID: 999999999999999999, Status: "NORMAL", PAN: TestPAN(5), Expiry: 202601}
		d.cards(c)
		d.same("card", c, d.card(c.ID).Card.Card)
	}},
	{"storing again replaces all fields and keeps the successor", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		d.must(d.CommitChunk(d.ctx, d.replacement(r, d.file(r, "a"), 1, 1, 900)))
		c := extract.Card{ID: 1, PAN: TestPAN(77), Status: "LOST", Expiry: 203001}
		d.cards(c)
		got := d.card(1)
		d.same("card", c, got.Card.Card)
		d.same("successor", int64(900), got.Successor)
		d.same("decided", ledger.Decided(0), got.Decided)
	}},
	{"a number and PSN that another card has is that card's error; the others are stored", func(d *desk) {
		d.cards(TestCard(1))
		taken, fine, otherPSN := TestCard(2), TestCard(3), TestCard(4)
		taken.PAN = TestPAN(1)
		otherPSN.PAN, otherPSN.PSN = TestPAN(1), 4
		problems, err := d.StoreCards(d.ctx, []ledger.CardWrite{{Card: taken, At: start}, {Card: fine, At: start}, {Card: otherPSN, At: start}}, entry("cards.imported"))
		d.must(err)
		d.same("problems", []bool{true, false, false}, []bool{errors.Is(problems[0], ledger.ErrPANTaken), problems[1] != nil, problems[2] != nil})
		n, err := d.CountCards(d.ctx)
		d.must(err)
		d.same("cards", int64(3), n)
		found, err := d.Cards(d.ctx, []int64{2})
		d.must(err)
		d.same("refused card", 0, len(found))
	}},
	{"an update whose number is taken leaves the card as it was", func(d *desk) {
		d.cards(TestCard(1), TestCard(2))
		c := TestCard(2)
		c.PAN, c.Status = TestPAN(1), "BLOCKED"
		problems, err := d.StoreCards(d.ctx, []ledger.CardWrite{{Card: c, At: start}}, entry("cards.imported"))
		d.must(err)
		d.same("taken", true, errors.Is(problems[0], ledger.ErrPANTaken))
		d.same("card", TestCard(2), d.card(2).Card.Card)
	}},
	{"known numbers are known whatever their PSN, unknown ones are not", func(d *desk) {
		d.cards(TestCard(1), TestCard(2))
		known, err := d.KnownPANs(d.ctx, []iso.PAN{TestPAN(2), TestPAN(3), TestPAN(1)})
		d.must(err)
		d.same("known", []bool{true, false, true}, known)
	}},
	{"the PSNs of a number are those of every card that has it", func(d *desk) {
		one, other := TestCard(1), TestCard(2)
		one.PSN, other.PSN, other.PAN = 7, 3, one.PAN
		d.cards(one, other, TestCard(3))
		psns, err := d.PSNs(d.ctx, one.PAN)
		d.must(err)
		d.same("PSNs", []int{3, 7}, psns)
		psns, err = d.PSNs(d.ctx, TestPAN(99))
		d.must(err)
		d.same("PSNs of an unknown number", 0, len(psns))
	}},
	{"the PSNs of a number are also those of its plastics, whatever an extract says since", func(d *desk) {
		r := d.begin()
		one, other := TestCard(1), TestCard(2)
		one.PSN, other.PSN, other.PAN = 3, 7, one.PAN
		d.cards(one, other)
		d.order(r, d.file(r, "a.csv"), 1, 1)
		one.PSN = 1
		d.cards(one)
		psns, err := d.PSNs(d.ctx, other.PAN)
		d.must(err)
		d.same("PSNs", []int{1, 3, 7}, psns)
	}},
	{"cards are found among gaps, doubles and unknown ids, in any order", func(d *desk) {
		random := rand.New(rand.NewPCG(1, 2))
		var cards []extract.Card
		there := map[int64]bool{}
		for id := int64(1); len(cards) < 400; id += 1 + int64(random.IntN(40))*int64(random.IntN(2)) {
			cards = append(cards, extract.Card{ID: id, PAN: TestPAN(id), Status: fmt.Sprint("S", id)})
			there[id] = true
		}
		d.cards(cards...)
		highest := cards[len(cards)-1].ID
		for _, wanted := range []int{1, 3, 50, 400, 3000} {
			var ids []int64
			want := map[int64]string{}
			for range wanted {
				id := random.Int64N(highest+20) - 5
				ids = append(ids, id)
				if there[id] {
					want[id] = fmt.Sprint("S", id)
				}
			}
			found, err := d.Cards(d.ctx, ids)
			d.must(err)
			got := map[int64]string{}
			for id, c := range found {
				got[id] = c.Status
			}
			d.same(fmt.Sprintf("%d ids", wanted), want, got)
		}
	}},
	{"no ids give no cards", func(d *desk) {
		found, err := d.Cards(d.ctx, nil)
		d.must(err)
		d.same("cards", 0, len(found))
	}},
}

var embossingPromises = []promise{
	{"a card that was never embossed has none", func(d *desk) {
		d.cards(TestCard(1))
		d.embossings(1, "", "")
	}},
	{"an order is open until its file is sent", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		file := d.file(r, "a.csv")
		o := d.order(r, file, 5, 1)[0]
		d.embossings(1, "QUEUED", "QUEUED")
		open := d.card(1).Open
		d.same("uid", o.UID, open.UID)
		d.same("file", file, open.FileID)
		d.same("row digest", "row 5", open.RowDigest)
		d.same("sent", true, open.SentAt.IsZero())
		id := d.plan(r, "alpha", 1, 1)
		d.embossings(1, "PLANNED", "PLANNED")
		d.write(r, id)
		d.embossings(1, "PLANNED", "PLANNED")
		at := start.Add(time.Minute)
		d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: id, From: []ledger.BureauFileState{ledger.Written}, To: ledger.Sent, At: at, Evidence: []byte("{}")}))
		d.embossings(1, "SENT", "")
		d.same("sent", at, d.card(1).Last.SentAt)
	}},
	{"the newest order counts", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		d.ship(r, 1, 1, start)
		second := d.ship(r, 2, 1, start.Add(day))
		d.same("last", second.UID, d.card(1).Last.UID)
	}},
	{"a shipment that the extract told of counts when it is newer than the orders", func(d *desk) {
		r := d.begin()
		for id := int64(1); id <= 3; id++ {
			d.cards(TestCard(id))
		}
		for id, shipped := range map[int64]time.Duration{1: -day, 2: day} {
			c := TestCard(id)
			c.ShipmentStatus, c.ShippedAt = "SHIPPED", start.Add(shipped)
			d.cards(c)
		}
		d.ship(r, 1, 1, start)
		d.embossings(1, "SENT", "")
		d.embossings(2, "SHIPPED", "")
		d.same("uid", "", d.card(2).Last.UID)
		d.same("sent", start.Add(day), d.card(2).Last.SentAt)
		d.embossings(3, "", "")
	}},
	{"the newest and the open embossing are those of the whole chain", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		file := d.file(r, "a.csv")
		for i, link := range [][2]int64{{1, 900}, {900, 901}, {901, 902}} {
			c := d.replacement(r, file, i+1, link[0], link[1])
			c.Orders[0].CreatedAt = start.Add(time.Duration(i) * time.Hour)
			d.must(d.CommitChunk(d.ctx, c))
			if i < 2 {
				d.send(r, d.plan(r, "alpha", int64(i+1), 1), start.Add(time.Duration(i)*time.Hour+time.Minute))
			}
		}
		for _, id := range []int64{1, 900, 901, 902} {
			d.embossings(id, "QUEUED", "QUEUED")
			d.same("row digest", "row 3", d.card(id).Open.RowDigest)
		}
		d.same("successor", int64(900), d.card(1).Successor)
		d.same("successor", int64(902), d.card(901).Successor)
		d.send(r, d.plan(r, "alpha", 3, 1), start.Add(3*time.Hour))
		for _, id := range []int64{1, 900, 901, 902} {
			d.embossings(id, "SENT", "")
			d.same("sent", start.Add(3*time.Hour), d.card(id).Last.SentAt)
		}
	}},
	{"a chain that comes back to itself ends", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1), TestCard(2))
		c := chunk(r, d.file(r, "a.csv"))
		c.Changes = []ledger.CardChange{{ID: 1, Successor: 2}, {ID: 2, Successor: 1}}
		d.must(d.CommitChunk(d.ctx, c))
		d.order(r, d.file(r, "b.csv"), 1, 2)
		d.embossings(1, "QUEUED", "QUEUED")
	}},
	{"an activated card's shipment is closed", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		d.ship(r, 1, 1, start)
		d.store(ledger.CardWrite{Card: TestCard(1), Activated: true, At: start.Add(day)})
		d.embossings(1, "ACTIVATED", "")
	}},
	{"an activated card's imported shipment is closed until a newer one is told of", func(d *desk) {
		c := TestCard(1)
		c.ShipmentStatus, c.ShippedAt = "SENT", start
		d.cards(c)
		d.embossings(1, "SENT", "")
		d.store(ledger.CardWrite{Card: c, Activated: true, At: start.Add(day)})
		d.embossings(1, "ACTIVATED", "")
		d.cards(c)
		d.embossings(1, "ACTIVATED", "")
		c.ShippedAt = start.Add(2 * day)
		d.cards(c)
		d.embossings(1, "SENT", "")
	}},
	{"activation closes the shipment, not the order that waits behind it", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		sent := d.ship(r, 1, 1, start)
		d.order(r, d.file(r, "b.csv"), 1, 1)
		d.store(ledger.CardWrite{Card: TestCard(1), Activated: true, At: start.Add(day)})
		d.embossings(1, "QUEUED", "QUEUED")
		files, err := d.BureauFiles(d.ctx, ledger.FileQuery{})
		d.must(err)
		states, err := d.OrderStates(d.ctx, files[0].ID)
		d.must(err)
		d.same("state of "+sent.UID, map[ledger.OrderState]int64{ledger.Activated: 1}, states)
	}},
	{"a returned shipment is closed with the order that replaces it", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		d.ship(r, 1, 1, start.Add(-3*day))
		a, o := d.accepted(r, d.file(r, "b.csv"), 1, 1)
		c := chunk(r, a.FileID)
		c.Answers, c.Orders = []ledger.Answer{a}, []ledger.Order{o}
		c.Changes = []ledger.CardChange{{ID: 1, CloseTransit: true}}
		d.must(d.CommitChunk(d.ctx, c))
		d.embossings(1, "QUEUED", "QUEUED")
		files, err := d.BureauFiles(d.ctx, ledger.FileQuery{})
		d.must(err)
		states, err := d.OrderStates(d.ctx, files[0].ID)
		d.must(err)
		d.same("orders of the first file", map[ledger.OrderState]int64{ledger.Returned: 1}, states)
	}},
	{"a returned shipment that the extract told of is closed and marked as decided", func(d *desk) {
		r := d.begin()
		card := TestCard(1)
		card.ShipmentStatus, card.ShippedAt = "SHIPPED", start.Add(-2*day)
		d.cards(card)
		c := chunk(r, d.file(r, "a.csv"))
		c.Changes = []ledger.CardChange{{ID: 1, CloseTransit: true}}
		d.must(d.CommitChunk(d.ctx, c))
		d.embossings(1, "RETURNED", "")
		got := d.card(1)
		d.same("shipment", "RETURNED", got.ShipmentStatus)
		d.same("decided", ledger.DecidedShipment, got.Decided)
	}},
	{"closing a transit that is over changes nothing", func(d *desk) {
		r := d.begin()
		card := TestCard(1)
		card.ShipmentStatus, card.ShippedAt = "DELIVERED", start.Add(-2*day)
		d.cards(card)
		c := chunk(r, d.file(r, "a.csv"))
		c.Changes = []ledger.CardChange{{ID: 1, CloseTransit: true}}
		d.must(d.CommitChunk(d.ctx, c))
		d.embossings(1, "DELIVERED", "")
	}},
}

// embossings compares the states of a card's newest and open embossing; "" is none.
func (d *desk) embossings(id int64, last, open string) {
	d.Helper()
	c := d.card(id)
	got := [2]string{}
	if c.Last != nil {
		got[0] = c.Last.State
	}
	if c.Open != nil {
		got[1] = c.Open.State
	}
	d.same(fmt.Sprintf("newest and open embossing of card %d", id), [2]string{last, open}, got)
}
