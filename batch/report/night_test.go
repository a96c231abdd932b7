package report

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/extract"
	"reemboss/formats/iso"
	"reemboss/formats/request"
)

const runID = "2026-11-21-001"

var started = time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)

// pan makes a valid card number from a prefix.
func pan(t testing.TB, prefix string, n int) iso.PAN {
	body := prefix + fmt.Sprintf("%0*d", 15-len(prefix), n)
	p, err := iso.ParsePAN(body + string(iso.LuhnDigit(body)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func testCard(t testing.TB, id int64) *extract.Card {
	return &extract.Card{
		ID: id, AccountID: fmt.Sprintf("A%d", id), CustomerID: fmt.Sprintf("C%d", id), ProgramID: "100", Product: "visa-classic", Type: "PLASTIC",
		Status: "NORMAL", PAN: pan(t, "411111", int(id)), Expiry: 202711, AccountNumber: fmt.Sprintf("DE0%d", id), Balance: "-12.50", Group: "standard",
	}
}

// written is the time at which the sealed files of the small night were made.
var written = started.Add(90 * time.Second)

// smallNight is one of everything: two request files and one refused as a
// whole, all four outcomes, a file sent, one undecided, orders that wait and
// orders of an earlier run.
func smallNight(t testing.TB) *memory {
	m := &memory{
		run: ledger.Run{ID: runID, Date: "2026-11-21", StartedAt: started, Starts: 2, Host: "cards1", Version: "0.1.0"},
		stages: []ledger.Stage{
			{Name: "intake", StartedAt: started, EndedAt: started.Add(1200 * time.Millisecond), Items: 3},
			{Name: "decide", StartedAt: started.Add(2 * time.Second), EndedAt: started.Add(5 * time.Second), Items: 4},
			{Name: "decide", StartedAt: started.Add(20 * time.Second), EndedAt: started.Add(22 * time.Second), Items: 5},
			{Name: "send", StartedAt: written, EndedAt: written.Add(800 * time.Millisecond), Items: 2},
			{Name: "reconcile", StartedAt: written.Add(time.Second), EndedAt: written.Add(2 * time.Second)},
		},
		files: []ledger.RequestFile{
			{ID: 1, RunID: runID, Name: "branch north.csv", State: ledger.DecidedF, Rows: 6, SHA256: strings.Repeat("a1", 32), Final: "done/2026-11-21/branch north.csv"},
			{ID: 2, RunID: runID, Name: "branch south.xlsx", State: ledger.DecidedF, Rows: 3, SHA256: strings.Repeat("b2", 32), Notes: []string{"the hidden sheet \"old\" was not read"}},
			{ID: 3, RunID: runID, Name: "broken.csv", State: ledger.Answered, Code: "header_missing", Detail: "None of the first 20 rows names a card id column.", SHA256: strings.Repeat("c3", 32), Final: "refused/2026-11-21/broken.csv"},
		},
		sealed: []ledger.BureauFile{
			{ID: 7, Recipient: "alpha", Sequence: 41, Name: "ALPHA_000041.xml.pgp", State: ledger.Sent, RunID: runID, PlannedAt: written, WrittenAt: written, SentAt: written.Add(time.Second), SentRunID: runID, Records: 4, Size: 4096, SHA256: strings.Repeat("d4", 32)},
			{ID: 8, Recipient: "beta", Sequence: 9, Name: "BETA0009.txt.pgp", State: ledger.Undecided, RunID: runID, PlannedAt: written, WrittenAt: written, Records: 1, Size: 900, SHA256: strings.Repeat("e5", 32), LastError: "The connection ended while the file got its final name."},
			{ID: 9, Recipient: config.CardSystem, Sequence: 3, Name: "issued-000003.csv.pgp", State: ledger.Sent, RunID: runID, PlannedAt: written, WrittenAt: written, SentAt: written.Add(time.Second), SentRunID: runID, Records: 3, Size: 700, SHA256: strings.Repeat("f6", 32)},
			{ID: 5, Recipient: "alpha", Sequence: 40, Name: "ALPHA_000040.xml.pgp", State: ledger.Sent, RunID: "2026-11-18-001", PlannedAt: started.AddDate(0, 0, -3), WrittenAt: started.AddDate(0, 0, -3), SentAt: started.AddDate(0, 0, -3), SentRunID: "2026-11-18-001", Records: 2},
		},
		orders: map[int64][]ledger.Order{}, cards: map[int64]*ledger.Known{},
		waits:   []ledger.Waiting{{RunID: runID, Bureau: "beta", Orders: 1}, {RunID: "2026-11-20-001", Bureau: "beta", Orders: 2}},
		written: map[string]int64{"alpha": 3, "beta": 1},
	}
	order := func(pos int, kind request.Kind, card int64, file int) *ledger.Order {
		o := &ledger.Order{
			UID: fmt.Sprintf("U%019d", card), RunID: runID, FileID: 1, Pos: pos, Kind: kind, CardID: card, EmbossedCardID: card, PAN: pan(t, "411111", int(card)),
			Expiry: 202711, Bureau: "alpha", Product: "visa-classic", State: ledger.SentO, ExpectedDelivery: "2026-11-30", Status: "NORMAL", CreatedAt: started.Add(3 * time.Second),
		}
		switch {
		case kind == request.Reemboss:
			o.Reembossing = 1
		default:
			o.Fee, o.Type, o.Expiry = "5.00", 1, 202911
		}
		if file >= 0 {
			f := m.sealed[file]
			o.Bureau, o.BureauFileID, o.FileName, o.Sequence = f.Recipient, f.ID, f.Name, f.Sequence
			if f.State != ledger.Sent {
				o.State = ledger.PlannedO
			}
		} else {
			o.Bureau, o.State = "beta", ledger.Queued
		}
		return o
	}
	lost := order(2, request.Reissue, 1002, 0)
	lost.Reason, lost.Type, lost.TypeDerived, lost.EmbossedCardID, lost.PAN, lost.OldStatus, lost.Status = 3, 3, true, 900001, pan(t, "411111", 900001), "LOST", "CREATED"
	damaged := order(3, request.Reissue, 1003, 0)
	damaged.Reason, damaged.PSN = 1, 1
	mastercard := order(8, request.Reissue, 1008, 1)
	mastercard.Reason, mastercard.FileID, mastercard.Product = 1, 2, "mc-gold"
	waiting := order(7, request.Reemboss, 1007, -1)
	waiting.FileID = 2
	north := func(pos int, kind request.Kind, card string, outcome rules.Outcome, class int, codes ...rules.Code) ledger.Told {
		return ledger.Told{FileName: "branch north.csv", Answer: ledger.Answer{
			FileID: 1, Pos: pos, RunID: runID, Line: pos + 1, Kind: kind, CardID: card, Outcome: outcome, Class: class, Code: codes[0], Codes: codes,
		}}
	}
	answers := []ledger.Told{
		north(1, request.Reemboss, "1001", rules.Accepted, 202, "00"),
		north(2, request.Reissue, "1002", rules.Accepted, 201, "00"),
		north(3, request.Reissue, "1003", rules.Accepted, 201, "00"),
		north(4, request.Reemboss, "9999", rules.Refused, 404, "card_not_found"),
		north(5, request.Reissue, "1005", rules.Refused, 404, "customer_not_found", "card_status_invalid"),
		north(6, request.Reissue, "1002", rules.Duplicate, 409, "already_requested"),
		north(7, request.Reemboss, "1007", rules.Accepted, 202, "00"),
		north(8, request.Reissue, "1008", rules.Accepted, 201, "00"),
		north(9, request.Reemboss, "1009", rules.Held, 202, "00"),
		{FileName: "broken.csv", Answer: ledger.Answer{FileID: 3, RunID: runID, Outcome: rules.Refused, Class: 400, Code: "header_missing", Codes: []rules.Code{"header_missing"}, Message: "None of the first 20 rows names a card id column."}},
	}
	answers[0].Order, answers[1].Order, answers[2].Order, answers[6].Order, answers[7].Order = order(1, request.Reemboss, 1001, 0), lost, damaged, waiting, mastercard
	answers[5].Order = lost // a duplicate by reference repeats the first one's details
	for i := range answers {
		a := &answers[i]
		if o := a.Order; o != nil {
			a.OrderUID, a.Reason = o.UID, o.Reason
		}
		if a.Outcome == rules.Accepted {
			a.Message = "accepted"
		} else if a.Message == "" {
			a.Message = "=" + string(a.Code) + ": ask the branch." // begins like a formula on purpose
		}
		if i >= 6 && i <= 8 {
			a.FileID, a.FileName, a.Sheet, a.Pos, a.Line = 2, "branch south.xlsx", "Requests", i-5, i-2
		}
		if a.CardID != "" && a.CardID != "9999" {
			var id int64
			fmt.Sscan(a.CardID, &id)
			a.Card = testCard(t, id)
			m.cards[id] = &ledger.Known{Card: rules.Card{Card: *a.Card}}
		}
	}
	m.told = func(yield func(*ledger.Told) bool) {
		for i := range answers {
			if !yield(&answers[i]) {
				return
			}
		}
	}
	earlier := ledger.Order{UID: "U0000000000000000501", RunID: "2026-11-20-001", Kind: request.Reemboss, CardID: 501, EmbossedCardID: 501, PAN: pan(t, "411111", 501), Bureau: "alpha", State: ledger.SentO, Status: "NORMAL", Reembossing: 2}
	m.cards[501] = &ledger.Known{Card: rules.Card{Card: *testCard(t, 501)}}
	m.orders[7] = []ledger.Order{*answers[0].Order, *lost, *damaged, earlier}
	m.orders[8] = []ledger.Order{*mastercard}
	old := earlier
	old.UID, old.CardID, old.RunID = "U0000000000000000400", 400, "2026-11-18-001"
	used := old
	used.UID, used.CardID = "U0000000000000000399", 501
	m.orders[5] = []ledger.Order{old, used}
	m.happens(5, 1, ledger.Event{Status: "ACTIVATED", At: started.AddDate(0, 0, -1), Source: ledger.FromExtract, RunID: "2026-11-20-001"})
	return m
}

// extra is what the small night's ledger cannot tell.
func smallExtra() Extra {
	soon := started.AddDate(0, 0, 12)
	return Extra{
		Bureaus: map[string]Bureau{"alpha": {Name: "Alpha Cards", Acknowledges: true}, "beta": {Name: "Beta Print", Waits: "The bureau is held in the configuration (hold: true)."}},
		Reasons: map[int]Reason{1: {Name: "damaged"}, 3: {Name: "lost or stolen", NewPAN: true}},
		Keys:    []Key{{Owner: "alpha", Fingerprint: "0123456789ABCDEF0123456789ABCDEF01234567", Expires: &soon}, {Owner: "beta", Fingerprint: "89ABCDEF0123456789ABCDEF0123456789ABCDEF"}},
		Ranges:  []Range{{Name: "visa", Capacity: 1000, Used: 955, Products: []string{"visa-classic"}}},
		Notes:   []string{"late.csv was still being written and is left for the next run"},
	}
}

func sign(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(r)
	return []byte(fmt.Sprintf("signature of %d bytes\n", len(text))), err
}
