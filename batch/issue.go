package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/issue"
	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/extract"
	"reemboss/formats/iso"
	"reemboss/formats/layout"
	"reemboss/formats/request"
)

// panRange is a configured range with its allocator.
type panRange struct {
	name  string
	alloc *issue.Allocator
}

// viewed is the state of an order that a row of this view opened.
const viewed = string(ledger.Queued)

func rangeCounter(name string) string { return "range/" + name }

const cardIDCounter = "card-id"

// issue makes the whole record of an accepted row but its secrets, checks it
// against the bureau's layout and hands the order, the new card and the change
// of the old one to the chunk. Violations instead of an order refuse the row;
// numbers that were drawn for it are then drawn again by the next row, since
// counters move only with an order.
func (d *decider) issue(ctx context.Context, row *request.Row, known *ledger.Known, dec *rules.Decision, digest string, c *ledger.Chunk) (*ledger.Order, []rules.Violation, error) {
	n, plan := d.n, dec.Plan
	product := n.Config.Products[known.Product]
	at := n.Now()
	moved := map[string]int64{}
	embossed := known.Card.Card // a copy; becomes the card whose plastic is made
	switch {
	case plan.Kind == request.Reemboss: // nothing about the card changes, nor will it after the configuration did
		keep(&embossed, product)
	case plan.NewPAN:
		pan, counter, err := d.allocate(ctx, product.Range, moved)
		if errors.Is(err, errNoNumber) {
			counter := rangeCounter(product.Range)
			d.ranges[counter] = max(d.ranges[counter], d.n.ranges[product.Range].alloc.Size()) // what is left was taken by others, or passed over by a restore
			return nil, []rules.Violation{violation("pan_range_exhausted", fmt.Sprintf("The number range %s of product %s has no number left; configure a new range, then send the row again.", product.Range, known.Product))}, nil
		}
		if err != nil {
			return nil, nil, err
		}
		moved[rangeCounter(product.Range)] = counter
		id, err := d.nextCardID(ctx, moved)
		if errors.Is(err, errNoNumber) {
			return nil, []rules.Violation{violation("pan_range_exhausted", "The range new_card_ids of the configuration has no id left for the new card; extend it, then send the row again.")}, nil
		}
		if err != nil {
			return nil, nil, err
		}
		embossed.ID, embossed.PAN, embossed.PSN = id, pan, product.FirstPSN
		embossed.Expiry = issue.NewExpiry(plan.BusinessDate, product.ValidityMonths)
		embossed.Status = plan.NewStatus
	default:
		psn, err := d.nextPSN(ctx, known)
		if err != nil {
			return nil, nil, err
		}
		embossed.PSN = psn
		earlier, err := d.n.Ledger.Expiries(ctx, known.ID)
		if err != nil {
			return nil, nil, err
		}
		embossed.Expiry = issue.NewExpiry(plan.BusinessDate, product.ValidityMonths, append(earlier, known.Expiry)...)
		if plan.NewStatus != "" {
			embossed.Status = plan.NewStatus
		}
	}
	if plan.Kind == request.Reissue {
		embossed.StartDate = plan.BusinessDate
		embossed.ValidityMonths = product.ValidityMonths
		embossed.CVKRef = issue.CVKRef(product) // the keys of this plastic, also after the configuration has others
		embossed.ShipmentStatus, embossed.ShippedAt = "", time.Time{}
		if plan.PrintedName != "" {
			embossed.PrintedName = plan.PrintedName
		}
	}
	lay := n.layouts[plan.Bureau]
	uid, err := d.uids.next(at)
	if err != nil {
		return nil, nil, err
	}
	blank, err := n.maker.Make(issue.MakeInput{Card: embossed, Plan: plan, Product: product, UID: uid})
	if err != nil {
		if v, ok := refusal(err); ok {
			return nil, []rules.Violation{v}, nil
		}
		return nil, nil, err
	}
	for field, text := range blank.Fields {
		blank.Fields[field] = iso.Transliterate(text, lay.Encodes)
	}
	check := blank.Placeholder(embossed.PAN)
	if err := lay.Check(check); err != nil {
		return nil, []rules.Violation{violation("embossing_line_invalid_format",
			fmt.Sprintf("The card does not fit the file of bureau %s: %s. Correct it at the card or in the request, then send the row again.", plan.Bureau, strings.ReplaceAll(err.Error(), "\n", "; ")))}, nil
	}
	if blank.Shortened {
		dec.Message += fmt.Sprintf(" The name is too long for the bureau and was shortened to %q.", blank.Fields[layout.EmbossedName])
	}
	record, err := json.Marshal(blank)
	if err != nil {
		return nil, nil, fmt.Errorf("keep the record of %s: %w", uid, err)
	}
	because, err := json.Marshal(dec.Because)
	if err != nil {
		return nil, nil, fmt.Errorf("keep the decision of %s: %w", uid, err)
	}
	order := ledger.Order{
		UID: uid, RunID: n.run.ID, FileID: d.fileID, Pos: row.Pos, Kind: plan.Kind,
		CardID: known.ID, EmbossedCardID: embossed.ID, PAN: embossed.PAN, PSN: embossed.PSN, Expiry: embossed.Expiry,
		Reason: plan.Reason, Type: plan.Type, TypeDerived: plan.TypeDerived,
		Bureau: plan.Bureau, Product: known.Product, SortKey: lay.SortKey(check), State: ledger.Queued,
		ShippingMethod: plan.ShippingMethod, ExpectedDelivery: plan.ExpectedDelivery.Format(time.DateOnly), Fee: plan.Fee,
		Status: embossed.Status, OldStatus: known.Status, Record: record, Decision: because, CreatedAt: at,
		MayBeHeld: n.Config.Bureaus[plan.Bureau].Holds(),
	}
	if plan.NewPAN && plan.OldStatus != "" {
		order.OldStatus = plan.OldStatus
	}
	if plan.NewPAN && product.NewPIN {
		var sentence string
		order.NewPIN, sentence = n.newPIN()
		dec.Message += " " + sentence
	}
	c.Orders = append(c.Orders, order)
	for name, value := range moved {
		d.ranges[name] = value
	}
	d.carry(known, embossed, plan, order, digest, c)
	return &order, nil, nil
}

// keep gives a card what its first embossing by us takes from the product, so
// that every later one is the same: start date (expiry minus validity),
// validity, and keys with the service code.
func keep(card *extract.Card, product config.Product) {
	if card.ValidityMonths == 0 {
		card.ValidityMonths = product.ValidityMonths
	}
	if card.StartDate.IsZero() {
		first := card.Expiry.Add(-card.ValidityMonths)
		card.StartDate = time.Date(first.Year(), time.Month(first.Month()), 1, 0, 0, 0, 0, time.UTC)
	}
	if card.CVKRef == "" {
		card.CVKRef = issue.CVKRef(product)
	}
}

// carry puts what the order changes into the chunk and into the view of the rows that follow.
func (d *decider) carry(known *ledger.Known, embossed extract.Card, plan *rules.Plan, order ledger.Order, digest string, c *ledger.Chunk) {
	open := &rules.Embossing{UID: order.UID, State: viewed, FileID: d.fileID, RowDigest: digest}
	change := ledger.CardChange{ID: known.ID, CloseTransit: plan.ClosesTransit != ""}
	switch {
	case plan.NewPAN:
		c.NewCards = append(c.NewCards, ledger.NewCard{Card: embossed, Predecessor: known.ID})
		change.Successor = embossed.ID
		if plan.OldStatus != "" {
			change.Status = &plan.OldStatus
			known.Status = plan.OldStatus
		}
		if known.Successor == 0 {
			d.chained = append(d.chained, known)
		}
		known.Successor = embossed.ID
		successor := &ledger.Known{Card: rules.Card{Card: embossed, Last: open, Open: open}}
		d.cards[embossed.ID] = successor
	case plan.Kind == request.Reissue:
		change.PSN, change.Expiry, change.StartDate = &embossed.PSN, &embossed.Expiry, &embossed.StartDate
		change.ValidityMonths, change.CVKRef, change.PrintedName = &embossed.ValidityMonths, &embossed.CVKRef, &embossed.PrintedName
		if embossed.Status != known.Status {
			change.Status = &embossed.Status
		}
		known.Card.Card = embossed
		number := d.sameNumber(embossed.PAN)
		d.psns[number] = append(d.psns[number], embossed.PSN)
	}
	if plan.Kind == request.Reemboss && (known.StartDate.IsZero() || known.ValidityMonths == 0 || known.CVKRef == "") {
		change.StartDate, change.ValidityMonths, change.CVKRef = &embossed.StartDate, &embossed.ValidityMonths, &embossed.CVKRef
		known.Card.Card = embossed
	}
	if plan.Kind == request.Reissue {
		d.changed[known.ID], d.changed[embossed.ID] = true, true
	}
	for _, before := range d.chained {
		if d.ends(before, order.EmbossedCardID) {
			before.Last, before.Open = open, open
		}
	}
	known.Last, known.Open = open, open
	if change.Status != nil || change.PSN != nil || change.StartDate != nil || change.Successor != 0 || change.CloseTransit {
		c.Changes = append(c.Changes, change)
	}
}

// counter gives a counter as the rows of this chunk have moved it.
func (d *decider) counter(ctx context.Context, name string, moved map[string]int64) (int64, error) {
	if v, ok := moved[name]; ok {
		return v, nil
	}
	if v, ok := d.ranges[name]; ok {
		return v, nil
	}
	v, err := d.n.Ledger.Counter(ctx, name)
	if err != nil {
		return 0, err
	}
	d.ranges[name], d.loaded[name] = v, v
	return v, nil
}

// allocate draws the next number of a range. One that the index knows already is passed over (invariant 9).
func (d *decider) allocate(ctx context.Context, name string, moved map[string]int64) (iso.PAN, int64, error) {
	r := d.n.ranges[name]
	counter, err := d.counter(ctx, rangeCounter(name), moved)
	if err != nil {
		return iso.PAN{}, 0, err
	}
	for ; counter < r.alloc.Size(); counter++ {
		pan, err := r.alloc.At(counter)
		if err != nil {
			return iso.PAN{}, 0, fmt.Errorf("draw a number of range %s: %w", name, err)
		}
		known, err := d.n.Ledger.KnownPANs(ctx, []iso.PAN{pan})
		if err != nil {
			return iso.PAN{}, 0, err
		}
		if !known[0] {
			return pan, counter + 1, nil
		}
	}
	return iso.PAN{}, 0, errNoNumber
}

// nextCardID draws the id of a new card, the new card reference id of the answer.
func (d *decider) nextCardID(ctx context.Context, moved map[string]int64) (int64, error) {
	used, err := d.counter(ctx, cardIDCounter, moved)
	if err != nil {
		return 0, err
	}
	ids := d.n.Config.NewCardIDs
	for ; ids.From+used <= ids.To; used++ {
		id := ids.From + used
		known, err := d.n.Ledger.Cards(ctx, []int64{id})
		if err != nil {
			return 0, err
		}
		if known[id] == nil { // an extract may have brought cards before the range was set
			moved[cardIDCounter] = used + 1
			return id, nil
		}
	}
	return 0, errNoNumber
}

// nextPSN is the PSN of a card that keeps its number: the one after the highest
// that any card with the number has (one number may serve several holders). One
// below may be free in the ledger and still be on the plastic of another holder,
// whose next one is only held, say.
func (d *decider) nextPSN(ctx context.Context, known *ledger.Known) (int, error) {
	taken, err := d.n.Ledger.PSNs(ctx, known.PAN)
	if err != nil {
		return 0, err
	}
	taken = append(taken, d.psns[d.sameNumber(known.PAN)]...)
	return issue.NextPSN(slices.Max(append(taken, known.PSN))), nil
}

// sameNumber tells card numbers apart within this process, without one of them in clear.
func (d *decider) sameNumber(p iso.PAN) string {
	return d.n.keyset.Digest("number", []byte(p.Reveal()))
}

func violation(code rules.Code, detail string) rules.Violation {
	return rules.Violation{Code: code, Detail: detail}
}

// refusal says whether an error of package issue is the row's, with its code.
func refusal(err error) (rules.Violation, bool) {
	var r *issue.Refusal
	if errors.As(err, &r) {
		return violation(r.Code, r.Detail), true
	}
	return rules.Violation{}, false
}

// uidSource makes the unique ids of embossings: 20 characters of Crockford's
// base 32, ten of time (ms), four of a counter within one millisecond's chunk, six random.
// They rise within a process, and a ledger put back from a copy never makes one twice.
type uidSource struct {
	random io.Reader
	last   int64
	count  uint32
}

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

func (s *uidSource) next(at time.Time) (string, error) {
	ms := at.UnixMilli()
	if ms > s.last {
		s.last, s.count = ms, 0
	} else if s.count++; s.count >= 1<<20 {
		s.last, s.count = s.last+1, 0
	}
	var r [4]byte
	if _, err := io.ReadFull(s.random, r[:]); err != nil {
		return "", fmt.Errorf("draw a random number: %w", err)
	}
	tail := uint64(s.count)<<30 | uint64(r[0]&0x3f)<<24 | uint64(r[1])<<16 | uint64(r[2])<<8 | uint64(r[3])
	var out [20]byte
	for i, v := 9, uint64(s.last); i >= 0; i, v = i-1, v>>5 {
		out[i] = crockford[v&31]
	}
	for i := 19; i >= 10; i, tail = i-1, tail>>5 {
		out[i] = crockford[tail&31]
	}
	return string(out[:]), nil
}
