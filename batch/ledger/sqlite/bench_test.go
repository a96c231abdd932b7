package sqlite_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/ledger/ledgertest"
	"reemboss/batch/ledger/sqlite"
	"reemboss/batch/rules"
	"reemboss/formats/request"
)

// An operation of these benchmarks is one chunk; with -benchtime 50x the
// registry has a million cards, with -benchtime 200x the night a million rows.
const (
	importChunk = 20_000
	nightChunk  = 5_000
)

func perSecond(b *testing.B, rows int) {
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// storeCards stores cards from..from+n-1.
func storeCards(b *testing.B, l *sqlite.Ledger, from int64, n int) {
	writes := make([]ledger.CardWrite, n)
	for i := range writes {
		writes[i] = ledger.CardWrite{Card: ledgertest.TestCard(from + int64(i)), At: time.Unix(1e9, 0)}
	}
	if _, err := l.StoreCards(b.Context(), writes, ledger.AuditEntry{}); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkStoreCards(b *testing.B) {
	l := openAt(b, filepath.Join(b.TempDir(), "ledger.db"))
	for i := range b.N {
		storeCards(b, l, int64(i)*importChunk+1, importChunk)
	}
	perSecond(b, importChunk)
}

// An operation is a piece of a rotation of both keys; with -benchtime 50x of a million cards.
func BenchmarkRekey(b *testing.B) {
	v := ledgertest.NewVault()
	l := openWith(b, filepath.Join(b.TempDir(), "ledger.db"), v)
	for i := range b.N {
		storeCards(b, l, int64(i)*importChunk+1, importChunk)
	}
	v.RotateSeal()
	v.RotateIndex()
	b.ResetTimer()
	for range b.N {
		_, err := l.Rekey(b.Context(), importChunk, ledger.AuditEntry{})
		must(b, err)
	}
	perSecond(b, importChunk)
}

// bench is a night on a registry of b.N chunks of cards.
type bench struct {
	*sqlite.Ledger
	run  ledger.Run
	file int64
}

func newBench(b *testing.B) bench {
	l := openAt(b, filepath.Join(b.TempDir(), "ledger.db"))
	run, _, err := l.BeginRun(b.Context(), time.Unix(1e9, 0), "2026-11-21", "h", "v")
	must(b, err)
	file, err := l.AddFile(b.Context(), ledger.RequestFile{RunID: run.ID, Name: "big.csv", State: ledger.Checked, ClaimedAt: time.Unix(1e9, 0)})
	must(b, err)
	return bench{l, run, file}
}

// chunk is the n-th chunk of the night: every card once, in the order of ids.
func (n bench) chunk(number int) ledger.Chunk {
	c := ledger.Chunk{RunID: n.run.ID, FileID: n.file, At: time.Unix(1e9, 0), Entry: &ledger.AuditEntry{What: "orders.accepted"}}
	record := append(append([]byte(`{"text":"`), bytes.Repeat([]byte("1 High Street "), 50)...), `"}`...)
	for i := range nightChunk {
		pos := number*nightChunk + i + 1
		uid := fmt.Sprintf("%020d", pos)
		c.Answers = append(c.Answers, ledger.Answer{
			FileID: n.file, Pos: pos, RunID: n.run.ID, Line: pos, Kind: request.Reemboss, CardID: fmt.Sprint(pos), Outcome: rules.Accepted, Class: 202, Code: "00",
			Codes: []rules.Code{"00"}, Message: "accepted: the card is sent to the embosser again", ContentDigest: "0123456789abcdef0123456789abcdef",
			RowDigest: "0123456789abcdef0123456789abcdef", OrderUID: uid,
		})
		c.Orders = append(c.Orders, ledger.Order{
			UID: uid, RunID: n.run.ID, FileID: n.file, Pos: pos, Kind: request.Reemboss, CardID: int64(pos), EmbossedCardID: int64(pos), PAN: ledgertest.TestPAN(int64(pos)),
			Expiry: 202911, Bureau: "alpha", Product: "visa-classic", State: ledger.Queued, ShippingMethod: 1, ExpectedDelivery: "2026-11-28", Fee: "0.00",
			Status: "NORMAL", OldStatus: "NORMAL", Record: record, Decision: []byte(`["status NORMAL may be embossed","program 100 is on demand"]`), CreatedAt: time.Unix(1e9, 0),
		})
	}
	return c
}

func BenchmarkCommitChunk(b *testing.B) {
	n := newBench(b)
	for i := range b.N {
		b.StopTimer()
		c := n.chunk(i)
		b.StartTimer()
		must(b, n.CommitChunk(b.Context(), c))
	}
	perSecond(b, nightChunk)
}

// night commits b.N chunks on as many cards.
func (n bench) night(b *testing.B) {
	for i := range b.N {
		storeCards(b, n.Ledger, int64(i)*nightChunk+1, nightChunk)
		must(b, n.CommitChunk(b.Context(), n.chunk(i)))
	}
}

func BenchmarkCards(b *testing.B) {
	n := newBench(b)
	n.night(b)
	total := int64(b.N) * nightChunk
	for _, look := range []struct {
		name string
		id   func(chunk, i int) int64
	}{
		{"in order", func(chunk, i int) int64 { return int64(chunk*nightChunk+i) + 1 }},
		{"at random", func(int, int) int64 { return rand.Int64N(total) + 1 }},
	} {
		start := time.Now()
		ids := make([]int64, nightChunk)
		for chunk := range b.N {
			for i := range ids {
				ids[i] = look.id(chunk, i)
			}
			if _, err := n.Cards(b.Context(), ids); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(total)/time.Since(start).Seconds(), look.name[:2]+"-"+look.name[3:]+"-rows/s")
	}
}

func BenchmarkFileOfAWholeNight(b *testing.B) {
	n := newBench(b)
	n.night(b)
	total := int64(b.N) * nightChunk
	id := int64(0)
	stage := func(name string, work func() error) {
		start := time.Now()
		must(b, work())
		b.ReportMetric(float64(total)/time.Since(start).Seconds(), name+"-rows/s")
	}
	stage("plan", func() (err error) {
		id, err = n.PlanFile(b.Context(), ledger.Plan{File: ledger.BureauFile{Recipient: "alpha", Sequence: 1, Name: "f", RunID: n.run.ID, Records: total}})
		return err
	})
	stage("EachFileOrder", func() error { return n.EachFileOrder(b.Context(), id, func(*ledger.Order) error { return nil }) })
	stage("sent", func() error {
		return n.ChangeFile(b.Context(), ledger.FileChange{FileID: id, From: []ledger.BureauFileState{ledger.Planned}, To: ledger.Sent, Evidence: []byte("{}")})
	})
	stage("EachTold", func() error { return n.EachTold(b.Context(), n.run.ID, 0, func(*ledger.Told) error { return nil }) })
	stage("EachAnswer", func() error {
		return n.EachAnswer(b.Context(), n.run.ID, 0, func(*ledger.Answer) error { return nil })
	})
	stage("Tallies", func() error { _, err := n.Tallies(b.Context(), n.run.ID); return err })
	stage("WrittenOf", func() error { _, err := n.WrittenOf(b.Context(), n.run.ID); return err })
}

// BenchmarkReturns answers a file of b.N chunks of orders: the bureau has it,
// then one event for each card.
func BenchmarkReturns(b *testing.B) {
	n := newBench(b)
	n.night(b)
	total := int64(b.N) * nightChunk
	id, err := n.PlanFile(b.Context(), ledger.Plan{File: ledger.BureauFile{Recipient: "alpha", Sequence: 1, Name: "f", RunID: n.run.ID, Records: total}})
	must(b, err)
	must(b, n.ChangeFile(b.Context(), ledger.FileChange{FileID: id, From: []ledger.BureauFileState{ledger.Planned}, To: ledger.Sent, At: time.Unix(1e9, 0), Evidence: []byte("{}")}))
	file, err := n.AddReturn(b.Context(), ledger.ReturnFile{RunID: n.run.ID, Bureau: "alpha", Name: "r", State: ledger.ReturnHeld})
	must(b, err)
	chunk := func(pos int) ledger.ReturnChunk {
		return ledger.ReturnChunk{ReturnID: file, RunID: n.run.ID, Pos: pos, At: time.Unix(1e9, 0), Entry: &ledger.AuditEntry{What: "returns.applied"}}
	}
	stage := func(name string, work func() error) {
		start := time.Now()
		must(b, work())
		b.ReportMetric(float64(total)/time.Since(start).Seconds(), name+"-rows/s")
	}
	stage("acknowledge", func() error {
		c := chunk(1)
		c.Answers = []ledger.FileAnswer{{Event: ledger.Event{FileID: id, Status: "RECEIVED", At: time.Unix(1e9, 0), Source: ledger.FromBureau, Line: 1}, Acknowledge: true}}
		return n.CommitReturn(b.Context(), c)
	})
	uids := func(number int) []string {
		var uids []string
		for i := range nightChunk {
			uids = append(uids, fmt.Sprintf("%020d", number*nightChunk+i+1))
		}
		return uids
	}
	stage("Shipments", func() error {
		for number := range b.N {
			if _, err := n.Shipments(b.Context(), uids(number)); err != nil {
				return err
			}
		}
		return nil
	})
	stage("CommitReturn", func() error {
		for number := range b.N {
			c := chunk(2 + (number+1)*nightChunk)
			for i, uid := range uids(number) {
				c.Events = append(c.Events, ledger.Event{
					UID: uid, FileID: id, Status: "SHIPPED", State: ledger.Shipped, At: time.Unix(1e9+60, 0), Carrier: "ROYAL MAIL", TrackingNumber: "RM0123456789GB",
					Count: -1, Source: ledger.FromBureau, Line: 2 + number*nightChunk + i,
				})
				c.From = append(c.From, ledger.Acked)
			}
			if err := n.CommitReturn(b.Context(), c); err != nil {
				return err
			}
		}
		return nil
	})
	stage("FileBalances", func() error { _, err := n.FileBalances(b.Context()); return err })
	stage("EachUnderWay", func() error {
		return n.EachUnderWay(b.Context(), []ledger.OrderState{ledger.SentO, ledger.Shipped}, func(*ledger.Order, time.Time) error { return nil })
	})
	stage("EachEvent", func() error { return n.EachEvent(b.Context(), n.run.ID, func(*ledger.ToldEvent) error { return nil }) })
	stage("EventTallies", func() error { _, err := n.EventTallies(b.Context(), n.run.ID); return err })
}
