package batch

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/hsm/payshield"
	"reemboss/batch/ledger"
	"reemboss/formats/iso"
	"reemboss/formats/layout"
)

// This file makes the PIN files. With a new number the old PIN is of no use: the
// PVV and the PIN block depend on the number. So each order whose product says
// so (products.X.new_pin) gets a random PIN, made in a payShield and never in
// clear here, as a PIN block under the zone PIN key with its PVV, in a file of
// its own for a recipient of its own. The file has no card number; uid and card
// ids link it to what others know of the card.
//
// No card gets two PINs. A module makes another PIN each time it is asked, and
// neither PIN nor block may be stored. So the plan of a PIN file fixes all but
// the PINs, and its digest leaves them out; they are made while the sealed bytes
// are written. Until the ledger says WRITTEN these lie, as those of every file,
// under a name that nobody fetches (outbox.go), and a crash discards them: no PIN
// had left, the next run makes others. WRITTEN keeps the digest of the whole text
// and freezes the bytes.

// errNoPINs keeps what an earlier configuration began.
var errNoPINs = errors.New("pins.backend is none, while new PINs were promised; put payshield back until they are delivered")

// errPINs is wrapped by what keeps PINs from being made. The file waits; the
// cards, which are in files of their own, go out.
var errPINs = errors.New("the PINs could not be made")

// Names of the PIN keys in the client of the modules. No card key's has a point.
const (
	zonePINKey = "pins.zpk"
	pinPVK     = "pins.pvk"
)

// pinsIn says whether PINs are made in a backend.
func (n *Night) pinsIn(backend string) bool {
	return n.Config.PINs.Made() && backend == config.PayShieldKeys
}

// pinSettings adds the PIN keys, which are then proven with the card keys.
func (n *Night) pinSettings(s *payshield.Config) {
	p := n.Config.PINs
	if !p.Made() {
		return
	}
	s.PINLength = n.Config.PayShield.PINLength
	s.Keys[zonePINKey] = payshield.Key{Token: iso.NewSecret(p.ZPK.Reveal()), KCV: p.ZPKCheck, Use: payshield.ZPK}
	s.Keys[pinPVK] = payshield.Key{Token: iso.NewSecret(p.PVK.Reveal()), KCV: p.PVKCheck, Use: payshield.PVK}
}

// openPINs takes the PIN capability of opened modules.
func (n *Night) openPINs(modules openKeys) (err error) {
	n.pinModules = modules
	client, ok := modules.(interface {
		PINs() (payshield.PINs, error)
	})
	if !ok {
		return payshield.ErrNoPINs
	}
	n.pins, err = client.PINs()
	return err
}

// newPIN says where the new PIN of an order comes from, and how its row is told.
func (n *Night) newPIN() (ledger.NewPIN, string) {
	if n.Config.PINs.Made() {
		return ledger.PINInFile, "A new PIN goes out in the PIN file."
	}
	return ledger.PINDue, "The PIN is due: none is made here, so have a new PIN made for the new number before the card is used."
}

// tellPINsDue names the products whose PINs nobody here makes.
func (n *Night) tellPINsDue() {
	if due := n.Config.PINsDue(); len(due) > 0 {
		n.Log.Warn().Msg("pins.backend is none and new_pin is true for " + strings.Join(due, ", ") + ": results of new numbers say that the PIN is due; no PIN is made here")
	}
}

// pinHead is what the plan of a PIN file fixes beside the orders.
type pinHead struct {
	Digits   int    `json:"digits"`
	Format   string `json:"format"`
	PVKI     int    `json:"pvki"`
	ZPKCheck string `json:"zpk_check"`
	PVKCheck string `json:"pvk_check"`
}

// queuedFor counts the orders that wait for a recipient.
func (n *Night) queuedFor(ctx context.Context, recipient string) (orders int64, err error) {
	queues, err := n.Ledger.Queues(ctx)
	for _, q := range queues {
		if q.Recipient == recipient {
			orders = q.Orders
		}
	}
	return orders, err
}

// writePINFile makes the PINs of the cards that are in a bureau's file. What
// keeps it from that is told with what waits.
func (n *Night) writePINFile(ctx context.Context) (int64, error) {
	records, err := n.queuedFor(ctx, config.PINRecipient)
	if err != nil || records == 0 || n.stuck[config.PINRecipient] {
		return 0, err
	}
	p := n.Config.PINs
	if n.pins == nil {
		n.wait(config.PINRecipient, errNoPINs.Error())
		return 0, nil
	}
	key, err := n.recipientKey(p.Recipient)
	if err != nil {
		n.wait(config.PINRecipient, err.Error())
		return 0, nil
	}
	public, err := key.Armored(false)
	if err != nil {
		return 0, err
	}
	at := n.Now().In(n.zone).Truncate(time.Second)
	h := head{Key: string(public), Compress: p.PGP.Compress, Layout: layout.Head{Time: at, Records: records},
		PINs: &pinHead{Digits: p.Length, Format: p.Format, PVKI: p.PVKI, ZPKCheck: p.ZPKCheck, PVKCheck: p.PVKCheck}}
	f := ledger.BureauFile{Recipient: config.PINRecipient, Records: records, Layout: "pins version 1"}
	f, err = n.plan(ctx, f, h, key, pinFileName, "csv", at, func(fn func(*ledger.Order) error) error {
		return n.Ledger.EachQueued(ctx, config.PINRecipient, records, fn)
	})
	if err != nil {
		return 0, n.unplanned(config.PINRecipient, err)
	}
	return records, n.finish(ctx, f)
}

// pinFileName is the name of its files.
const pinFileName = "{bureau}_{date:20060102}_{sequence:06}.{ext}.pgp"

// samePINKeys: the keys of the plan are those that the modules have proven.
func (n *Night) samePINKeys(f ledger.BureauFile, h head) error {
	p := n.Config.PINs
	switch {
	case n.pins == nil:
		return errNoPINs
	case h.PINs == nil:
		return fmt.Errorf("the plan of %s does not say how its PINs are made", f.Name)
	case !strings.EqualFold(h.PINs.ZPKCheck, p.ZPKCheck):
		return fmt.Errorf("the plan of %s names the zone PIN key with the check value %s, which is not the configured one; put it back until the file is written", f.Name, h.PINs.ZPKCheck)
	case !strings.EqualFold(h.PINs.PVKCheck, p.PVKCheck):
		return fmt.Errorf("the plan of %s names the PIN verification key with the check value %s, which is not the configured one; put it back until the file is written", f.Name, h.PINs.PVKCheck)
	}
	return nil
}

// fileText makes the clear text of a planned file, and the digests of what it wrote.
type fileText struct {
	write   func(clear, twin io.Writer) error
	planned hash.Hash // of what the plan fixed
	whole   hash.Hash // of a PIN file, with its PINs; nil of any other, whose plan fixed all
}

func (n *Night) textOf(ctx context.Context, f ledger.BureauFile, h head) fileText {
	orders := func(fn func(*ledger.Order) error) error { return n.Ledger.EachFileOrder(ctx, f.ID, fn) }
	t := fileText{planned: n.keyset.NewDigest("file")}
	if f.Recipient != config.PINRecipient {
		t.write = func(clear, twin io.Writer) error {
			return n.clearText(ctx, f, h, orders, io.MultiWriter(clear, t.planned), twin)
		}
		return t
	}
	t.whole = n.keyset.NewDigest("file")
	t.write = func(clear, _ io.Writer) error {
		return n.writePINText(ctx, f, h, orders, io.MultiWriter(clear, t.whole), t.planned)
	}
	return t
}

// pinColumns are the header of a PIN file, a public promise.
const pinColumns = "run,uid,card_id,new_card_id,pin_block,pin_block_format,zpk_check,pvv,pvki\n"

// madePIN is a new PIN as it leaves the module.
type madePIN struct{ block, pvv iso.Secret }

// writePINText streams the lines of a PIN file: to planned without the PINs, and
// to sealed with them, made on the way. With sealed nil none is made.
func (n *Night) writePINText(ctx context.Context, f ledger.BureauFile, h head, orders eachOrder, sealed, planned io.Writer) error {
	if h.PINs == nil {
		return fmt.Errorf("the plan of %s does not say how its PINs are made", f.Name)
	}
	if err := writeTo(sealed, planned, []byte(pinColumns)); err != nil {
		return err
	}
	var records int64
	batch := make([]*ledger.Order, 0, secretsBatch)
	flush := func() error {
		if err := n.writePINLines(ctx, *h.PINs, batch, sealed, planned); err != nil {
			return err
		}
		records += int64(len(batch))
		if sealed != nil {
			n.progress("write", records, f.Records)
		}
		batch = batch[:0]
		return ctx.Err()
	}
	err := orders(func(o *ledger.Order) error {
		if batch = append(batch, o); len(batch) == cap(batch) {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err == nil && records != f.Records {
		err = fmt.Errorf("the ledger gave %d orders for a plan of %d", records, f.Records)
	}
	return err
}

// writeTo writes the same to both, of which the first may be nil.
func writeTo(sealed, planned io.Writer, text []byte) error {
	if sealed != nil {
		if _, err := sealed.Write(text); err != nil {
			return err
		}
	}
	_, err := planned.Write(text)
	return err
}

func (n *Night) writePINLines(ctx context.Context, p pinHead, batch []*ledger.Order, sealed, planned io.Writer) error {
	if len(batch) == 0 {
		return nil
	}
	made := make([]madePIN, len(batch))
	if sealed != nil {
		var err error
		if made, err = n.makePINs(ctx, p, batch); err != nil {
			return err
		}
	}
	var line [256]byte
	defer clear(line[:])
	for i, o := range batch {
		if _, err := planned.Write(pinLine(line[:0], o, p, madePIN{})); err != nil {
			return err
		}
		if sealed == nil {
			continue
		}
		if _, err := sealed.Write(pinLine(line[:0], o, p, made[i])); err != nil {
			return err
		}
	}
	return nil
}

// pinLine makes a line: numbers, codes and hexadecimal digits only, of which none needs a quote.
func pinLine(line []byte, o *ledger.Order, p pinHead, made madePIN) []byte {
	line = append(append(line, o.RunID...), ',')
	line = append(append(line, o.UID...), ',')
	line = append(strconv.AppendInt(line, o.CardID, 10), ',')
	line = append(strconv.AppendInt(line, o.EmbossedCardID, 10), ',')
	line = append(append(line, made.block.Reveal()...), ',')
	line = append(append(line, p.Format...), ',')
	line = append(append(line, p.ZPKCheck...), ',')
	line = append(append(line, made.pvv.Reveal()...), ',')
	return append(strconv.AppendInt(line, int64(p.PVKI), 10), '\n')
}

// makePINs has a random PIN made for each order (JA), its PVV (DG) and its block
// (JG). Errors wrap [errPINs], name the order and hold no card data.
func (n *Night) makePINs(ctx context.Context, p pinHead, orders []*ledger.Order) ([]madePIN, error) {
	random := make([]payshield.PINRequest, len(orders))
	for i, o := range orders {
		random[i] = payshield.PINRequest{PAN: o.PAN, Digits: p.Digits}
	}
	pins, err := pinValues(ctx, orders, "PIN", n.pins.RandomPINs(ctx, random))
	if err != nil {
		return nil, err
	}
	made := make([]madePIN, len(orders))
	if err := n.completePINs(ctx, p, orders, pins, made); err != nil {
		return nil, err
	}
	return made, n.samplePINs(ctx, p, orders, pins, made)
}

// completePINs has PVV and block computed of PINs that there are.
func (n *Night) completePINs(ctx context.Context, p pinHead, orders []*ledger.Order, pins []iso.Secret, made []madePIN) error {
	verify, enclose := make([]payshield.PVVRequest, len(orders)), make([]payshield.PINBlockRequest, len(orders))
	for i, o := range orders {
		verify[i] = payshield.PVVRequest{Key: pinPVK, PVKI: p.PVKI, PAN: o.PAN, PIN: pins[i]}
		enclose[i] = payshield.PINBlockRequest{Key: zonePINKey, Format: payshield.PINBlockFormat(p.Format), PAN: o.PAN, PIN: pins[i]}
	}
	pvvs, err := pinValues(ctx, orders, "PVV", n.pins.PVVs(ctx, verify))
	if err != nil {
		return err
	}
	blocks, err := pinValues(ctx, orders, "PIN block", n.pins.PINBlocks(ctx, enclose))
	if err != nil {
		return err
	}
	for i := range made {
		made[i] = madePIN{block: blocks[i], pvv: pvvs[i]}
	}
	return nil
}

// pinValues gives the values of a module's answers, all or none.
func pinValues(ctx context.Context, orders []*ledger.Order, what string, results []payshield.PINResult) ([]iso.Secret, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(results) != len(orders) {
		return nil, fmt.Errorf("%w: %d answers to %d questions", errPINs, len(results), len(orders))
	}
	values := make([]iso.Secret, len(results))
	for i, r := range results {
		if r.Err != nil {
			return nil, fmt.Errorf("%w: %s of order %s: %w", errPINs, what, orders[i].UID, r.Err)
		}
		values[i] = r.Value
	}
	return values, nil
}

// samplePINs has a share computed once more: the same PIN has the same PVV and,
// in a format that is not filled at random, the same block. A module that
// computes wrong now and then is found by it, one that always does is not.
func (n *Night) samplePINs(ctx context.Context, p pinHead, orders []*ledger.Order, pins []iso.Secret, made []madePIN) error {
	var some []*ledger.Order
	var theirs []iso.Secret
	var first []madePIN
	for i := 0; i < len(orders); i += sampleOneIn {
		some, theirs, first = append(some, orders[i]), append(theirs, pins[i]), append(first, made[i])
	}
	again := make([]madePIN, len(some))
	if err := n.completePINs(ctx, p, some, theirs, again); err != nil {
		return err
	}
	for i := range some {
		what := ""
		switch {
		case again[i].pvv.Reveal() != first[i].pvv.Reveal():
			what = "PVV"
		case p.Format == string(payshield.ISOFormat0) && again[i].block.Reveal() != first[i].block.Reveal():
			what = "PIN block"
		default:
			continue
		}
		return fmt.Errorf("%w: order %s has another %s than a moment ago for the same PIN; look at the HSM", errPINs, some[i].UID, what)
	}
	return nil
}
