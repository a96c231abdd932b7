package ledgertest

import (
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

var pinPromises = []promise{
	{"PINs go to a file of their own, once each, by order number", func(d *desk) {
		r := d.begin()
		uids := d.newNumbers(r, ledger.PINInFile, ledger.PINDue, ledger.NoNewPIN, ledger.PINInFile)
		want := []string{uids[0], uids[3]}
		d.same("before a bureau file", 0, len(d.queuedUIDs(config.PINRecipient, 0)))
		bureau := d.plan(r, "alpha", 1, 4)
		d.queues(ledger.Queue{Recipient: config.CardSystem, Orders: 4}, ledger.Queue{Recipient: config.PINRecipient, Orders: 2})
		d.same("queue", want, d.queuedUIDs(config.PINRecipient, 0))
		d.same("its first", want[:1], d.queuedUIDs(config.PINRecipient, 1))
		id := d.plan(r, config.PINRecipient, 1, 2)
		d.same("file", want, d.fileUIDs(id))
		d.same("queue", 0, len(d.queuedUIDs(config.PINRecipient, 0)))
		d.sendPINs(r, id)
		states, err := d.OrderStates(d.ctx, bureau)
		d.must(err)
		d.same("its sending changes no order", map[ledger.OrderState]int64{ledger.PlannedO: 4}, states)
		states, err = d.OrderStates(d.ctx, id)
		d.must(err)
		d.same("orders of the PIN file", map[ledger.OrderState]int64{ledger.PlannedO: 2}, states)
		d.same("for the card system", 4, len(d.queuedUIDs(config.CardSystem, 0)))
	}},
	{"an order says for ever where its PIN comes from, and a run how many need one", func(d *desk) {
		r := d.begin()
		kinds := []ledger.NewPIN{ledger.PINInFile, ledger.PINDue, ledger.NoNewPIN, ledger.PINDue}
		d.newNumbers(r, kinds...)
		id := d.plan(r, "alpha", 1, 4)
		var got []ledger.NewPIN
		d.must(d.EachFileOrder(d.ctx, id, func(o *ledger.Order) error {
			got = append(got, o.NewPIN)
			return nil
		}))
		d.same("PINs", kinds, got)
		counts, err := d.NewPINs(d.ctx, r.ID)
		d.must(err)
		d.same("counts", map[ledger.NewPIN]int64{ledger.PINInFile: 1, ledger.PINDue: 2}, counts)
		d.finish(r)
		counts, err = d.NewPINs(d.ctx, d.begin().ID)
		d.must(err)
		d.same("counts of the next run", map[ledger.NewPIN]int64{}, counts)
	}},
	{"an order that leaves its bureau file gets no second PIN", func(d *desk) {
		r := d.begin()
		d.newNumbers(r, ledger.PINInFile, ledger.PINInFile)
		first := d.plan(r, "alpha", 1, 1)
		pins := d.plan(r, config.PINRecipient, 1, 1)
		told := d.fileUIDs(pins)
		d.send(r, first, start)
		d.refuseFile(r, d.returned(r, "ret-1"), 1, first)
		moved, err := d.CancelFile(d.ctx, cancelling(r, first))
		d.must(err)
		d.same("moved", int64(1), moved)
		d.plan(r, "alpha", 2, 2)
		d.same("in the PIN file", told, d.fileUIDs(pins))
		d.same("queue", 1, len(d.queuedUIDs(config.PINRecipient, 0)))
	}},
	{"a written PIN file has the digest of its text with the PINs; no other file changes its plan's", func(d *desk) {
		r := d.begin()
		d.newNumbers(r, ledger.PINInFile)
		bureau := d.plan(r, "alpha", 1, 1)
		id := d.plan(r, config.PINRecipient, 1, 1)
		written := ledger.FileChange{From: []ledger.BureauFileState{ledger.Planned, ledger.Written}, To: ledger.Written, At: start, RunID: r.ID, Size: 99, SHA256: hash}
		change := func(file int64, digest string) error {
			c := written
			c.FileID, c.PlainDigest = file, digest
			return d.ChangeFile(d.ctx, c)
		}
		if change(bureau, "other") == nil {
			d.Error("a bureau's file got another digest than its plan")
		}
		if change(id, "") == nil {
			d.Error("a PIN file was written without the digest of its PINs")
		}
		d.same("digest of the plan", "digest", d.digest(config.PINRecipient))
		d.must(change(id, "with PINs"))
		d.same("digest", "with PINs", d.digest(config.PINRecipient))
		d.must(change(id, ""))
		d.must(change(id, "with PINs"))
		d.conflict(change(id, "with other PINs"))
		d.same("digest", "with PINs", d.digest(config.PINRecipient))
		d.must(change(bureau, ""))
		d.same("digest of the bureau's file", "digest", d.digest("alpha"))
	}},
	{"a PIN file is no bureau's in balances and totals", func(d *desk) {
		r := d.begin()
		d.newNumbers(r, ledger.PINInFile, ledger.PINInFile)
		bureau := d.plan(r, "alpha", 1, 2)
		d.send(r, bureau, start)
		d.sendPINs(r, d.plan(r, config.PINRecipient, 1, 2))
		balances, err := d.FileBalances(d.ctx)
		d.must(err)
		d.same("balances", 1, len(balances))
		totals, err := d.Totals(d.ctx)
		d.must(err)
		d.same("totals", ledger.Totals{Orders: 2, InFiles: 2}, totals)
		n := 0
		d.must(d.EachUnderWay(d.ctx, []ledger.OrderState{ledger.SentO}, func(*ledger.Order, time.Time) error { n++; return nil }))
		d.same("outstanding", 2, n)
	}},
}

// newNumbers accepts a new-number reissue for each kind and gives their order numbers.
func (d *desk) newNumbers(r ledger.Run, kinds ...ledger.NewPIN) (uids []string) {
	d.Helper()
	file := d.file(r, "pins.csv")
	for i, kind := range kinds {
		old := int64(i + 1)
		d.cards(TestCard(old))
		c := d.replacement(r, file, i+1, old, 900+old)
		c.Orders[0].NewPIN = kind
		d.must(d.CommitChunk(d.ctx, c))
		uids = append(uids, c.Orders[0].UID)
	}
	return uids
}

// sendPINs writes and sends a planned PIN file.
func (d *desk) sendPINs(r ledger.Run, file int64) {
	d.Helper()
	d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: file, From: []ledger.BureauFileState{ledger.Planned}, To: ledger.Written, At: start, RunID: r.ID, Size: 99, SHA256: hash, PlainDigest: "with PINs"}))
	d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: file, From: []ledger.BureauFileState{ledger.Written}, To: ledger.Sent, At: start, RunID: r.ID, Evidence: []byte(`{"size":99}`)}))
}

// digest is that of the recipient's first file.
func (d *desk) digest(recipient string) string {
	d.Helper()
	f, err := d.FileByName(d.ctx, recipient+"-00001.pgp")
	d.must(err)
	return f.PlainDigest
}
