package report

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// noProduct is shown for rows that name no card we know.
const noProduct = "(no known card)"

// productCounts counts the answers that are not accepted by the product of the
// card that was asked for; accepted ones are counted from the tallies, whose
// product is the order's. "" stands for a row that names no card we know.
type productCounts struct {
	byProduct map[string]*Outcomes
	open      []openAnswer // cards not looked up yet, at most carriedChunk
}

// openAnswer is an answer whose card is still to be looked up.
type openAnswer struct {
	card    int64
	outcome rules.Outcome
}

func (c *productCounts) add(product string, outcome rules.Outcome, n int64) {
	if c.byProduct == nil {
		c.byProduct = map[string]*Outcomes{}
	}
	at(c.byProduct, product).add(outcome, n)
}

// told counts an answer that brings its card.
func (c *productCounts) told(t *ledger.Told) {
	switch {
	case t.Outcome == rules.Accepted:
	case t.Card == nil:
		c.add("", t.Outcome, 1)
	default:
		c.add(t.Card.Product, t.Outcome, 1)
	}
}

// answer counts an answer that comes without its card, which is looked up with many others.
func (c *productCounts) answer(ctx context.Context, l Ledger, a *ledger.Answer) error {
	if a.Outcome == rules.Accepted {
		return nil
	}
	id, err := strconv.ParseUint(a.CardID, 10, 63)
	if err != nil { // none, or a card number that stands masked: no card, as in EachTold
		c.add("", a.Outcome, 1)
		return nil
	}
	c.open = append(c.open, openAnswer{int64(id), a.Outcome})
	if len(c.open) < carriedChunk {
		return nil
	}
	return c.lookUp(ctx, l)
}

// lookUp counts the answers whose cards were not looked up yet.
func (c *productCounts) lookUp(ctx context.Context, l Ledger) error {
	if len(c.open) == 0 {
		return nil
	}
	ids := make([]int64, len(c.open))
	for i, a := range c.open {
		ids[i] = a.card
	}
	cards, err := l.Cards(ctx, ids)
	if err != nil {
		return err
	}
	for _, a := range c.open {
		product := ""
		if known := cards[a.card]; known != nil {
			product = known.Product
		}
		c.add(product, a.outcome, 1)
	}
	c.open = c.open[:0]
	return nil
}

// countProducts joins accepted and other rows, in the order of the names of the products.
func (g *gathering) countProducts() error {
	if err := g.product.lookUp(g.ctx, g.ledger); err != nil {
		return err
	}
	for _, t := range g.tallies {
		if t.Outcome == rules.Accepted {
			g.product.add(t.Product, t.Outcome, t.N)
		}
	}
	for _, product := range slices.Sorted(maps.Keys(g.product.byProduct)) {
		g.ByProduct = append(g.ByProduct, ProductCount{product, *g.product.byProduct[product]})
	}
	return nil
}
