// Package ledgertest is the suite that every implementation of ledger.Ledger
// passes: one test for each promise of the interface's comments. It knows the
// interface only; what depends on the store (files, tampering, processes killed
// in the middle) is tested beside each store, with the help of [Vault], [Writer],
// [CheckWhole], [Answerer] and [CheckAnswered].
package ledgertest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/extract"
	"reemboss/formats/iso"
	"reemboss/formats/request"
)

// Run runs the suite, and what concerns card numbers once more with keys that are rotated all the time. open
// gives a new, empty ledger that seals with v; it is closed by the cleanup of its t.
func Run(t *testing.T, open func(t *testing.T, v ledger.Vault) ledger.Ledger) {
	groups := []struct {
		name  string
		tests []promise
	}{
		{"runs", runPromises},
		{"registry", registryPromises},
		{"embossings", embossingPromises},
		{"intake", intakePromises},
		{"deciding", decidingPromises},
		{"chunks", chunkPromises},
		{"files", filePromises},
		{"pins", pinPromises},
		{"returns", returnPromises},
		{"events", eventPromises},
		{"answers", answerPromises},
		{"cancelling", cancelPromises},
		{"holds", holdPromises},
		{"restorations", restorePromises},
		{"disputes", disputePromises},
		{"kept back", keptBackPromises},
		{"under way", underWayPromises},
		{"outbox", outboxPromises},
		{"reading", readingPromises},
		{"rotation", rotationPromises},
		{"audit", auditPromises},
		{"retention", retentionPromises},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, p := range g.tests {
				t.Run(p.name, func(t *testing.T) {
					v := NewVault()
					p.holds(newDesk(t, open(t, v), v))
				})
			}
		})
		if !slices.Contains([]string{"registry", "embossings", "deciding", "chunks", "files", "cancelling", "reading"}, g.name) {
			continue // no card numbers, or its own rotations
		}
		t.Run(g.name+" under rotation", func(t *testing.T) {
			for _, p := range g.tests {
				t.Run(p.name, func(t *testing.T) {
					v := NewVault()
					p.holds(newDesk(t, &restless{Ledger: open(t, v), vault: v}, v))
				})
			}
		})
	}
}

// promise is one test.
type promise struct {
	name  string
	holds func(*desk)
}

// desk is a ledger with what a test needs to work on it.
type desk struct {
	*testing.T
	ledger.Ledger
	ctx   context.Context
	vault *TestVault
	runs  int
	uids  int
}

func newDesk(t *testing.T, l ledger.Ledger, v *TestVault) *desk {
	return &desk{T: t, Ledger: l, ctx: t.Context(), vault: v}
}

// start is when every test begins.
var start = time.Date(2026, time.November, 21, 22, 0, 0, 0, time.UTC)

const (
	day  = 24 * time.Hour
	hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)

// must ends the test on an error.
func (d *desk) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

// same compares what is wanted with what came.
func (d *desk) same(what string, want, got any) {
	d.Helper()
	if diff := cmp.Diff(want, got, cmp.Comparer(iso.PAN.Equal)); diff != "" {
		d.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestPAN is the n-th card number of the suite: 16 digits with a right check digit.
func TestPAN(n int64) iso.PAN {
	body := fmt.Sprintf("411111%09d", n)
	p, err := iso.ParsePAN(body + string(iso.LuhnDigit(body)))
	if err != nil {
		panic("the suite makes a number that is none")
	}
	return p
}

// TestCard is a card with every field set.
func TestCard(id int64) extract.Card {
	return extract.Card{
		ID: id, AccountID: "A1", CustomerID: "C7", ProgramID: "100", Product: "visa-classic", Type: "PLASTIC", Status: "NORMAL",
		PAN: TestPAN(id), PSN: 3, Expiry: 202911, PrintedName: "ÅSA O'BRIEN", Title: "DR", FirstName: "Åsa", LastName: "O'Brien", CompanyName: "Lind & Co",
		Address: extract.Address{
			Line1: "1 High Street", Line2: "Flat 2", Line3: "c/o Lind", Line4: "North", City: "Leeds", Region: "Yorkshire", Postcode: "LS1 1AA", Country: "GB",
		},
		AddressStatus: "ACTIVE", Phone: "+44123", Email: "a@example.org", Language: "en", AccountNumber: "DE02", Balance: "12.30", Currency: "GBP",
		PINSet: true, Group: "G1", StartDate: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), ValidityMonths: 36, CVKRef: "cvk-1",
	}
}

// begin opens a run on the n-th day of the test.
func (d *desk) begin() ledger.Run {
	d.Helper()
	at := start.Add(time.Duration(d.runs) * day)
	d.runs++
	r, _, err := d.BeginRun(d.ctx, at, at.Format(time.DateOnly), "host", "v1")
	d.must(err)
	return r
}

func (d *desk) finish(r ledger.Run) {
	d.Helper()
	d.must(d.FinishRun(d.ctx, r.ID, r.StartedAt.Add(time.Hour), 0, []byte("{}")))
}

// file records a request file that may be decided.
func (d *desk) file(r ledger.Run, name string) int64 {
	d.Helper()
	id, err := d.AddFile(d.ctx, ledger.RequestFile{RunID: r.ID, Name: name, SHA256: hash, Size: 10, State: ledger.Checked, Rows: 100, ClaimedAt: r.StartedAt})
	d.must(err)
	return id
}

// cards stores cards with nothing decided.
func (d *desk) cards(cards ...extract.Card) {
	d.Helper()
	writes := make([]ledger.CardWrite, len(cards))
	for i, c := range cards {
		writes[i] = ledger.CardWrite{Card: c, At: start}
	}
	d.store(writes...)
}

func (d *desk) store(writes ...ledger.CardWrite) {
	d.Helper()
	problems, err := d.StoreCards(d.ctx, writes, entry("cards.imported"))
	d.must(err)
	for _, problem := range problems {
		d.must(problem)
	}
}

// card reads one card that must be there.
func (d *desk) card(id int64) *ledger.Known {
	d.Helper()
	found, err := d.Cards(d.ctx, []int64{id})
	d.must(err)
	if found[id] == nil {
		d.Fatalf("card %d is not there", id)
	}
	return found[id]
}

func entry(what string) ledger.AuditEntry {
	return ledger.AuditEntry{At: start, Who: "op@host", What: what, Subject: "s", Detail: "d"}
}

// refused is an answer that accepts nothing.
func refused(r ledger.Run, file int64, pos int) ledger.Answer {
	return ledger.Answer{
		FileID: file, Pos: pos, RunID: r.ID, Line: pos + 1, Kind: request.Reemboss, CardID: "77", Outcome: rules.Refused, Class: 404,
		Code: "card_not_found", Codes: []rules.Code{"card_not_found", "card_expired"}, Message: "no such card", ContentDigest: "c", RowDigest: "r",
	}
}

// accepted is an answer with its order of the same card again.
func (d *desk) accepted(r ledger.Run, file int64, pos int, card int64) (ledger.Answer, ledger.Order) {
	d.uids++
	uid := fmt.Sprintf("26112122%012d", d.uids)
	a := ledger.Answer{
		FileID: file, Pos: pos, RunID: r.ID, Sheet: "Sheet1", Line: pos + 1, Kind: request.Reemboss, CardID: fmt.Sprint(card), Outcome: rules.Accepted,
		Class: 202, Code: rules.Approved, Codes: []rules.Code{rules.Approved}, Message: "accepted", Submitter: "branch 7",
		ContentDigest: fmt.Sprintf("content %d", card), RowDigest: fmt.Sprintf("row %d", pos), OrderUID: uid,
	}
	o := ledger.Order{
		UID: uid, RunID: r.ID, FileID: file, Pos: pos, Kind: request.Reemboss, CardID: card, EmbossedCardID: card, PAN: TestPAN(card), PSN: 3, Expiry: 202911,
		Bureau: "alpha", Product: "visa-classic", SortKey: "k", State: ledger.Queued, ShippingMethod: 1, ExpectedDelivery: "2026-11-28", Fee: "0.00",
		Status: "NORMAL", OldStatus: "NORMAL", Reembossing: 1, Record: []byte(`{"product_ref":"VC"}`), Decision: []byte(`["status NORMAL may be embossed"]`), CreatedAt: r.StartedAt,
	}
	return a, o
}

// chunk is an empty chunk of a file.
func chunk(r ledger.Run, file int64) ledger.Chunk {
	e := entry("orders.accepted")
	return ledger.Chunk{RunID: r.ID, FileID: file, At: r.StartedAt, Entry: &e}
}

// order commits one re-embossing for each card, in rows from pos on, and gives the orders.
func (d *desk) order(r ledger.Run, file int64, pos int, cards ...int64) []ledger.Order {
	d.Helper()
	c := chunk(r, file)
	for i, card := range cards {
		a, o := d.accepted(r, file, pos+i, card)
		c.Answers, c.Orders = append(c.Answers, a), append(c.Orders, o)
	}
	d.must(d.CommitChunk(d.ctx, c))
	return c.Orders
}

// replacement is the chunk of a new-number reissue of card old by card new.
func (d *desk) replacement(r ledger.Run, file int64, pos int, old, new int64) ledger.Chunk {
	a, o := d.accepted(r, file, pos, old)
	a.Kind, a.Class, a.Reason = request.Reissue, 201, 3
	o.Kind, o.Reason, o.Type, o.Reembossing = request.Reissue, 3, 3, 0
	o.EmbossedCardID, o.PAN, o.PSN, o.Status, o.OldStatus = new, TestPAN(new), 0, "CREATED", "LOST"
	made := TestCard(new)
	made.Status, made.PSN = "CREATED", 0
	lost := "LOST"
	c := chunk(r, file)
	c.Answers, c.Orders = []ledger.Answer{a}, []ledger.Order{o}
	c.NewCards = []ledger.NewCard{{Card: made, Predecessor: old}}
	c.Changes = []ledger.CardChange{{ID: old, Status: &lost, Successor: new}}
	return c
}

// plan is a plan of the recipient's next file.
func plan(r ledger.Run, recipient string, sequence, records int64) ledger.Plan {
	return ledger.Plan{Entry: entry("file.planned"), File: ledger.BureauFile{
		Recipient: recipient, Sequence: sequence, Name: fmt.Sprintf("%s-%05d.pgp", recipient, sequence), RunID: r.ID, PlannedAt: r.StartedAt, Records: records,
		Layout: "cardgen-v12 1", LayoutText: []byte("<layout/>"), Head: []byte(`{"n":1}`), PlainDigest: "digest", RecipientKey: "RK", SigningKey: "SK",
	}}
}

func (d *desk) plan(r ledger.Run, recipient string, sequence, records int64) int64 {
	d.Helper()
	id, err := d.PlanFile(d.ctx, plan(r, recipient, sequence, records))
	d.must(err)
	return id
}

func (d *desk) write(r ledger.Run, file int64) {
	d.Helper()
	d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: file, From: []ledger.BureauFileState{ledger.Planned}, To: ledger.Written, At: r.StartedAt, RunID: r.ID, Size: 99, SHA256: hash}))
}

// send writes and sends a planned file at a time.
func (d *desk) send(r ledger.Run, file int64, at time.Time) {
	d.Helper()
	d.write(r, file)
	d.must(d.ChangeFile(d.ctx, ledger.FileChange{FileID: file, From: []ledger.BureauFileState{ledger.Written}, To: ledger.Sent, At: at, RunID: r.ID, Evidence: []byte(`{"size":99}`)}))
}

// ship orders, plans and sends a re-embossing of one card.
func (d *desk) ship(r ledger.Run, sequence, card int64, at time.Time) ledger.Order {
	d.Helper()
	o := d.order(r, d.file(r, fmt.Sprintf("ship-%d", sequence)), 1, card)[0]
	o.BureauFileID = d.plan(r, "alpha", sequence, 1)
	d.send(r, o.BureauFileID, at)
	return o
}

func (d *desk) queuedUIDs(recipient string, limit int64) []string {
	d.Helper()
	return d.uidsOf(func(fn func(*ledger.Order) error) error { return d.EachQueued(d.ctx, recipient, limit, fn) })
}

func (d *desk) fileUIDs(file int64) []string {
	d.Helper()
	return d.uidsOf(func(fn func(*ledger.Order) error) error { return d.EachFileOrder(d.ctx, file, fn) })
}

func (d *desk) uidsOf(each func(func(*ledger.Order) error) error) []string {
	d.Helper()
	var uids []string
	d.must(each(func(o *ledger.Order) error {
		uids = append(uids, o.UID)
		return nil
	}))
	return uids
}

func (d *desk) told(r ledger.Run, file int64) []*ledger.Told {
	d.Helper()
	var told []*ledger.Told
	d.must(d.EachTold(d.ctx, r.ID, file, func(t *ledger.Told) error {
		told = append(told, t)
		return nil
	}))
	return told
}

func (d *desk) entries() []ledger.AuditEntry {
	d.Helper()
	var entries []ledger.AuditEntry
	d.must(d.EachAudit(d.ctx, func(e ledger.AuditEntry) error {
		entries = append(entries, e)
		return nil
	}))
	return entries
}

func sorted[T any](s []T, less func(a, b T) int) []T {
	slices.SortFunc(s, less)
	return s
}
