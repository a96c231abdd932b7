package ledgertest

import (
	"context"
	"errors"
	"time"

	"reemboss/batch/ledger"
)

var auditPromises = []promise{
	{"entries come back in order, linked by their hashes", func(d *desk) {
		var chain ledger.Chain
		var want []ledger.AuditEntry
		for _, what := range []string{"run.started", "file.taken", "run.finished"} {
			e := ledger.AuditEntry{At: start.Add(1234567 * time.Nanosecond), Who: "op@host", What: what, Subject: "s", Detail: "ü"}
			d.must(d.Append(d.ctx, e))
			want = append(want, chain.Link(e))
		}
		d.same("entries", want, d.entries())
		d.must(d.VerifyAudit(d.ctx))
	}},
	{"an empty chain holds", func(d *desk) { d.must(d.VerifyAudit(d.ctx)) }},
	{"an act and its entry are one: what failed left no entry", func(d *desk) {
		r := d.begin()
		file := d.file(r, "a.csv")
		d.cards(TestCard(1))
		d.order(r, file, 1, 1)
		before := d.entries()
		a, o := d.accepted(r, file, 2, 1) // the card has an open order
		c := chunk(r, file)
		c.Answers, c.Orders = []ledger.Answer{a}, []ledger.Order{o}
		d.conflict(d.CommitChunk(d.ctx, c))
		_, err := d.PlanFile(d.ctx, plan(r, "alpha", 2, 1))
		d.conflict(err)
		d.same("entries", before, d.entries())
		d.must(d.VerifyAudit(d.ctx))
	}},
	{"every act that has an entry appends it", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		file := d.file(r, "a.csv")
		e := entry("file.taken")
		d.must(d.UpdateFile(d.ctx, ledger.RequestFile{ID: file, RunID: r.ID, Name: "a.csv", State: ledger.Checked}, nil, &e))
		d.order(r, file, 1, 1)
		id := d.plan(r, "alpha", 1, 1)
		e = entry("file.written")
		d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: id, From: []ledger.BureauFileState{ledger.Planned}, To: ledger.Written, At: start, Size: 1, SHA256: hash, Entry: &e}))
		var whats []string
		for _, e := range d.entries() {
			whats = append(whats, e.What)
		}
		d.same("entries", []string{"cards.imported", "file.taken", "orders.accepted", "file.planned", "file.written"}, whats)
	}},
	{"the callback's error ends the stream and comes back as it is", func(d *desk) {
		d.must(d.Append(d.ctx, entry("a")))
		d.must(d.Append(d.ctx, entry("b")))
		enough := errors.New("enough")
		calls := 0
		err := d.EachAudit(d.ctx, func(ledger.AuditEntry) error { calls++; return enough })
		if err != enough || calls != 1 {
			d.Errorf("%d calls, error %v", calls, err)
		}
	}},
	{"a context that ended stops reading and writing", func(d *desk) {
		ended, cancel := context.WithCancel(d.ctx)
		cancel()
		if err := d.Append(ended, entry("a")); !errors.Is(err, context.Canceled) {
			d.Errorf("append: %v", err)
		}
		if err := d.VerifyAudit(ended); !errors.Is(err, context.Canceled) {
			d.Errorf("verify: %v", err)
		}
		d.same("entries", 0, len(d.entries()))
	}},
}
