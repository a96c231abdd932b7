package rules

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"reemboss/batch/config"
	"reemboss/formats/extract"
	"reemboss/formats/iso"
	"reemboss/formats/request"
)

func date(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

func TestReembossingKeepsTheCardAsItIs(t *testing.T) {
	d := ask(t, reembossRow()).decide()
	want := &Plan{Kind: request.Reemboss, Bureau: "alpha", ShippingMethod: 1, BusinessDate: date(2026, 11, 23), ExpectedDelivery: date(2026, 11, 30),
		PrintedName: "ANN BELL", NewStatus: "NORMAL",
		Address: extract.Address{Line1: "1 High Street", City: "London", Postcode: "SW1A 1AA", Country: "GB"}}
	if diff := cmp.Diff(want, d.Plan); diff != "" {
		t.Error(diff)
	}
	if d.Outcome != Accepted || d.Code != Approved || d.Class() != 202 || d.Message != "Re-embossing accepted: the same card is made again." {
		t.Errorf("%s %s %d %q", d.Outcome, d.Code, d.Class(), d.Message)
	}
}

func TestLostCardGetsANewNumber(t *testing.T) {
	q := ask(t, reissueRow("stolen"))
	q.in.Row.Fields.ShippingMethod = "2"
	q.in.Card.Product, q.in.Card.PAN = "mc-gold", pan(t, "555555000000001")
	q.policy = func(c *config.Config) {
		r := c.Reasons[3]
		r.Fee = "12.50"
		c.Reasons[3] = r
	}
	d := q.decide()
	want := &Plan{Kind: request.Reissue, Reason: 3, Type: 3, TypeDerived: true, NewPAN: true, Bureau: "beta", ShippingMethod: 2, Fee: "12.50",
		BusinessDate: date(2026, 11, 23), ExpectedDelivery: date(2026, 11, 25), PrintedName: "ANN BELL", OldStatus: "LOST", NewStatus: "CREATED",
		Address: extract.Address{Line1: "1 High Street", City: "London", Postcode: "SW1A 1AA", Country: "GB"}}
	if diff := cmp.Diff(want, d.Plan); diff != "" {
		t.Error(diff)
	}
	if d.Class() != 201 || d.Message != "Reissue accepted: new number, type 3 derived from reason 3 (lost or stolen)." {
		t.Errorf("%d %q", d.Class(), d.Message)
	}
	because := []string{
		"reason: 3 (lost or stolen), changes the number", "type: 3, derived from reason 3", "status: NORMAL is accepted for reason 3",
		"old card: NORMAL becomes LOST", "bureau: beta, by the bureau of product mc-gold", "business date: 2026-11-23 at beta",
		"delivery: 2026-11-25, 2 working days by shipping method 2", "address: of the card, GB",
	}
	if diff := cmp.Diff(because, d.Because); diff != "" {
		t.Error(diff)
	}
}

// TestStatusByReason is the whole matrix: for each reason and status whether it
// is accepted, and what becomes of the requested and of the embossed card.
func TestStatusByReason(t *testing.T) {
	const five = "NORMAL BLOCKED PENDING WARNING CREATED"
	for reason, table := range map[string]struct{ accepts, old string }{
		"1": {five, ""}, "2": {five + " EXPIRED", ""}, "3": {five + " LOST ROBBED THEFT", "LOST"},
		"4": {five + " FRAUD", "FRAUD"}, "5": {five, ""}, "6": {"NORMAL BLOCKED PENDING WARNING", "REISSUED"},
		"": {five, ""}, // re-embossing
	} {
		terminal := strings.Fields("INOPERATIVE LOST ROBBED CANCELED FRAUD DAMAGED EXPIRED DELETED BROKEN THEFT DEFECT")
		for _, status := range slices.Concat(strings.Fields("CREATED UNBOUND UNNUMBERED NORMAL REISSUED BLOCKED PENDING WARNING"), terminal) {
			row := reissueRow(reason)
			if reason == "" {
				row = reembossRow()
			}
			q := ask(t, row)
			q.in.Card.Status = status
			d := q.decide()
			if !slices.Contains(strings.Fields(table.accepts), status) {
				if !slices.Equal(d.Codes(), []Code{CardStatusInvalid}) {
					t.Errorf("reason %q, %s: %v", reason, status, d.Codes())
				}
				continue
			}
			if d.Outcome != Accepted {
				t.Errorf("reason %q, %s: %s", reason, status, d.Message)
				continue
			}
			old, embossed := table.old, status
			if table.old != "" {
				embossed = "CREATED"
				if slices.Contains(terminal, status) {
					old = ""
				}
			} else if status == "EXPIRED" {
				old, embossed = "CREATED", "CREATED"
			}
			if d.Plan.OldStatus != old || d.Plan.NewStatus != embossed || d.Plan.NewPAN != (table.old != "") {
				t.Errorf("reason %q, %s: old %q, new %q, want %q, %q", reason, status, d.Plan.OldStatus, d.Plan.NewStatus, old, embossed)
			}
		}
	}
}

// TestTypeByReason is the whole matrix of reasons and types.
func TestTypeByReason(t *testing.T) {
	for reason, blank := range map[int]int{1: 1, 2: 2, 3: 3, 4: 3, 5: 1, 6: 3} {
		for typ := range 4 {
			q := ask(t, reissueRow(strconv.Itoa(reason)))
			if typ > 0 {
				q.in.Row.Fields.ReissueType = strconv.Itoa(typ)
			}
			d, fits := q.decide(), typ == 0 || (typ == 3) == (blank == 3)
			switch {
			case !fits && !slices.Equal(d.Codes(), []Code{ReissueTypeConflict}):
				t.Errorf("reason %d, type %d: %v", reason, typ, d.Codes())
			case fits && (d.Outcome != Accepted || d.Plan.TypeDerived != (typ == 0)):
				t.Errorf("reason %d, type %d: %s", reason, typ, d.Message)
			case fits && (typ == 0 && d.Plan.Type != blank || typ != 0 && d.Plan.Type != typ):
				t.Errorf("reason %d, type %d: used %d", reason, typ, d.Plan.Type)
			}
		}
	}
}

func TestReasonWords(t *testing.T) {
	for word, reason := range map[string]int{
		"damaged": 1, "Expired": 2, "LOST": 3, "stolen": 3, "Lost or Stolen": 3, "fraud": 4, "compromised": 4, "return": 5, "returned": 5,
		"new enrolment": 6, "New_Enrolment": 6, "new-enrollment": 6, "enrolment": 6, "03": 3,
	} {
		if d := ask(t, reissueRow(word)).decide(); d.Outcome != Accepted || d.Plan.Reason != reason || d.Reason != reason {
			t.Errorf("%s: %s", word, d.Message)
		}
	}
}

func TestTransitEndsWithItsTimeOrItsClosing(t *testing.T) {
	for _, c := range []struct {
		reason string
		last   *Embossing
		closes string
	}{
		{"3", sentAgo(14 * day), ""},
		{"", sentAgo(14 * day), ""},
		{"3", &Embossing{UID: "E", State: "DELIVERED", SentAt: now.Add(-time.Hour)}, ""},
		{"3", &Embossing{UID: "E", State: "RETURNED", SentAt: now.Add(-time.Hour)}, ""},
		{"3", &Embossing{UID: "E", State: "LOST", SentAt: now.Add(-time.Hour)}, ""},
		{"3", &Embossing{UID: "E", State: "REJECTED", SentAt: now.Add(-time.Hour)}, ""},
		{"3", &Embossing{UID: "E", State: "ACTIVATED", SentAt: now.Add(-time.Hour)}, ""},
		{"5", sentAgo(day), "E-1"},
		{"5", sentAgo(30 * day), "E-1"},
		{"5", &Embossing{State: "SHIPPED", SentAt: now.Add(-2 * day)}, "imported"},
		{"5", &Embossing{UID: "E", State: "DELIVERED", SentAt: now.Add(-2 * day)}, ""},
		{"5", nil, ""},
	} {
		row := reissueRow(c.reason)
		if c.reason == "" {
			row = reembossRow()
		}
		q := ask(t, row)
		q.in.Card.Last = c.last
		d := q.decide()
		if d.Outcome != Accepted || d.Plan.ClosesTransit != c.closes {
			t.Errorf("reason %q, %+v: %s", c.reason, c.last, d.Message)
		}
		if told := strings.Contains(d.Message, "closed as returned"); told != (c.closes != "") {
			t.Errorf("reason %q: %q", c.reason, d.Message)
		}
	}
	for state, says := range map[string]string{
		"SENT": "2026-11-23 09:00 UTC; wait", "ACKED": "2026-11-23 09:00 UTC; wait", "A STATE OF LATER": "; wait",
		"PRODUCED": "2026-11-23 09:00 UTC, which has produced it; wait", "SHIPPED": "2026-11-23 09:00 UTC, which has shipped it; wait",
	} {
		q := ask(t, reissueRow("3"))
		q.in.Card.Last = &Embossing{UID: "E", State: state, SentAt: now.Add(-time.Hour)}
		d := q.decide()
		if d.Code != CardInTransit || !strings.HasPrefix(d.Message, "Unable to reissue card as last reissued card is still in shipment: ") || !strings.Contains(d.Message, says) {
			t.Errorf("%s: %s %s", state, d.Code, d.Message)
		}
	}
	q := ask(t, reissueRow("3"))
	q.in.Card.Last = &Embossing{UID: "E", State: "SENT"}
	if d := q.decide(); d.Code != CardInTransit {
		t.Errorf("a shipment without a time: %s", d.Code)
	}
}

// TestTheReissueLimitCountsItsDays: only reissues within the product's days
// count, each for so many × 24 h, and the limit itself is reached, not passed.
func TestTheReissueLimitCountsItsDays(t *testing.T) {
	ago := func(ages ...time.Duration) (times []time.Time) {
		for _, age := range ages {
			times = append(times, now.Add(-age))
		}
		return times
	}
	for _, c := range []struct {
		rule        string
		limit, days int
		reissues    []time.Time
		next        string // "": accepted
	}{
		{"off", 0, 365, ago(3*day, 2*day, day), ""},
		{"none before", 1, 365, nil, ""},
		{"one below the limit", 3, 30, ago(2*day, day), ""},
		{"one that no longer counts, to the second", 1, 30, ago(30 * day), ""},
		{"one that still counts, to the second", 1, 30, ago(30*day - time.Second), "2026-11-23 10:01 UTC"},
		{"old ones beside new ones", 2, 30, ago(300*day, 31*day, day), ""},
		{"beyond a limit that was lowered, as many must go", 1, 30, ago(20*day, 10*day, day), "2026-12-22 10:00 UTC"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			q := ask(t, reissueRow("3"))
			q.policy, q.in.Card.Reissues = limited(c.limit, c.days), c.reissues
			d := q.decide()
			if c.next == "" && d.Outcome != Accepted || c.next != "" && (d.Code != ReissueLimitReached || !strings.Contains(d.Message, "possible at "+c.next)) {
				t.Errorf("%s %s: %s", d.Outcome, d.Code, d.Message)
			}
		})
	}
}

func TestTheReissueLimitIsForReissues(t *testing.T) {
	q := ask(t, reembossRow())
	q.policy, q.in.Card.Reissues = limited(1, 30), []time.Time{now.Add(-day)}
	if d := q.decide(); d.Outcome != Accepted {
		t.Errorf("a re-embossing: %s", d.Message)
	}
	q = ask(t, reissueRow("3"))
	q.policy, q.in.Card.Reissues = limited(2, 30), []time.Time{now.Add(-day)}
	if d := q.decide(); !slices.Contains(d.Because, "limit: reissue 2 of 2 in 30 days") {
		t.Errorf("%v", d.Because)
	}
}

func TestTheSameRowOfAFileIsADuplicate(t *testing.T) {
	accepted := &Embossing{UID: "E-1", State: "QUEUED", FileID: 7, RowDigest: "row"}
	q := ask(t, reissueRow("3"))
	q.in.Card.Open, q.in.Card.Last, q.in.Card.Successor, q.in.Card.Status = accepted, accepted, 5, "LOST"
	if d := q.decide(); d.Outcome != Duplicate || !slices.Equal(d.Codes(), []Code{DuplicateRow}) || d.Class() != 409 || d.Message == "" {
		t.Errorf("%s %v", d.Outcome, d.Codes())
	}
	// The reference does not change that: it is the same row.
	q.in.Row.Fields.Reference, q.in.Reference = "R-1", &Prior{ContentDigest: "content", FileID: 7, RowDigest: "row"}
	if d := q.decide(); d.Outcome != Duplicate || d.Code != DuplicateRow {
		t.Errorf("with a reference: %s %s", d.Outcome, d.Code)
	}
	// In another file it is another request for a card that has an open order.
	q = ask(t, reissueRow("3"))
	q.in.FileID, q.in.Card.Open = 8, accepted
	if d := q.decide(); d.Outcome != Refused || d.Code != AlreadyRequested {
		t.Errorf("in another file: %s %s", d.Outcome, d.Code)
	}
	// Rows without a digest are never called the same.
	q.in.FileID, q.in.RowDigest, q.in.Card.Open = 7, "", &Embossing{State: "QUEUED", FileID: 7}
	if d := q.decide(); d.Code != AlreadyRequested {
		t.Errorf("without a digest: %s", d.Code)
	}
}

func TestTheSameReferenceWithTheSameContentIsAnsweredAgain(t *testing.T) {
	q := ask(t, reissueRow("3"))
	q.in.Row.Fields.Reference, q.in.Reference = "R-1", &Prior{ContentDigest: "content", FileID: 3, RowDigest: "else"}
	q.in.Card.Successor, q.in.Card.Status = 5, "LOST" // what the first request did
	d := q.decide()
	if d.Outcome != Duplicate || d.Code != Approved || len(d.Violations) != 0 || d.Plan != nil || d.Message != "" {
		t.Errorf("%s %s %v", d.Outcome, d.Code, d.Violations)
	}
}

func TestTheRequestsNameAndAddressCountInsteadOfTheCards(t *testing.T) {
	q := ask(t, reissueRow("1"))
	q.in.Row.Fields.PrintedName = "ANN MILLER"
	q.in.Row.Fields.Address = extract.Address{Line1: "Hauptstr. 1", City: "Berlin", Postcode: "10115", Country: "deu"}
	q.in.Card.AddressStatus, q.in.Card.Address = "INACTIVE", extract.Address{}
	d := q.decide()
	if d.Outcome != Accepted {
		t.Fatal(d.Message)
	}
	if p := d.Plan; p.PrintedName != "ANN MILLER" || !p.NameGiven || p.Address.Country != "DE" || p.Address.City != "Berlin" {
		t.Errorf("%+v", p)
	}
	// Re-embossing changes nothing about the card; its name is the card's.
	q = ask(t, reembossRow())
	q.in.Row.Fields.PrintedName = "A/B"
	if d := q.decide(); d.Outcome != Accepted || d.Plan.PrintedName != "ANN BELL" || d.Plan.NameGiven {
		t.Error(d.Message)
	}
}

func TestACountryWithoutAFormatNeedsNoPostcode(t *testing.T) {
	q := ask(t, reembossRow())
	q.in.Card.Address.Country, q.in.Card.Address.Postcode = "AE", ""
	if d := q.decide(); d.Outcome != Accepted {
		t.Error(d.Message)
	}
}

func TestTheFirstMatchingRouteCounts(t *testing.T) {
	routing := []config.Route{{Program: "200", Group: "vip", Bureau: "beta"}, {Group: "gift", Bureau: "beta"}, {Program: "200", Bureau: "beta"}}
	for _, c := range []struct{ program, group, bureau string }{
		{"100", "", "alpha"}, {"100", "gift", "beta"}, {"200", "vip", "beta"}, {"200", "", "beta"}, {"200", "unheard-of", ""}, {"100", "vip", "alpha"},
	} {
		q := ask(t, reissueRow("3"))
		q.policy = func(cfg *config.Config) { cfg.Routing = routing }
		q.in.Card.ProgramID, q.in.Card.Group = c.program, c.group
		d := q.decide()
		if c.bureau == "" && d.Code != EmbosserNotConfigured || c.bureau != "" && (d.Plan == nil || d.Plan.Bureau != c.bureau) {
			t.Errorf("%+v: %s %s", c, d.Code, d.Message)
		}
	}
	// A re-embossing may name the group itself.
	q := ask(t, reembossRow())
	q.policy = func(cfg *config.Config) { cfg.Routing = routing }
	q.in.Row.Fields.EmbossingGroup = "gift"
	if d := q.decide(); d.Plan == nil || d.Plan.Bureau != "beta" {
		t.Error(d.Message)
	}
}

func TestTheLastDayOfACardIsTheLastOfItsMonth(t *testing.T) {
	for at, accepted := range map[time.Time]bool{
		time.Date(2026, 11, 30, 15, 59, 0, 0, time.UTC): true,  // a Monday, the last business date of the month
		time.Date(2026, 11, 30, 16, 0, 0, 0, time.UTC):  false, // after the cut-off it is 1 December
	} {
		q := ask(t, reembossRow())
		q.in.Now, q.in.Card.Expiry = at, iso.NewExpiry(2026, 11)
		if d := q.decide(); (d.Outcome == Accepted) != accepted {
			t.Errorf("%s: %s", at, d.Message)
		}
	}
}

func TestRefuseSortsAndKeepsTheReason(t *testing.T) {
	q := ask(t, reissueRow("4"))
	d := sample(t, nil).Refuse(q.in, Violation{InternalError, "Ours."}, Violation{EmbossingLineInvalidFormat, "Too long."})
	if d.Outcome != Refused || d.Code != EmbossingLineInvalidFormat || d.Reason != 4 || d.Message != "Too long. Ours." || d.Class() != 412 {
		t.Errorf("%+v", d)
	}
	if d := sample(t, nil).Refuse(q.in); d.Code != InternalError {
		t.Errorf("%s", d.Code)
	}
}

func TestNewWantsWhatItNeeds(t *testing.T) {
	if _, err := New(&config.Config{}, nil); err == nil {
		t.Error("a policy without a check of names")
	}
	cfg := &config.Config{TimeZone: "UTC", Products: map[string]config.Product{"p": {Bureau: "nowhere"}}}
	if _, err := New(cfg, func(_, _, _, _ string) error { return nil }); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a product without its bureau: %v", err)
	}
}

// TestDecideIsPure: the same input has the same decision, input and card are
// left alone, and every decision keeps the promises of its outcome.
func TestDecideIsPure(t *testing.T) {
	p, good := sample(t, nil), card(t)
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, good)
		before := fmt.Sprintf("%+v %+v %+v", *in.Row, in.Card, in.Reference)
		d := p.Decide(in)
		if !reflect.DeepEqual(d, p.Decide(in)) || !reflect.DeepEqual(d, sampleAgain(p).Decide(in)) {
			t.Fatal("two decisions on one input")
		}
		if after := fmt.Sprintf("%+v %+v %+v", *in.Row, in.Card, in.Reference); after != before {
			t.Fatal("the decision changed its input")
		}
		switch d.Outcome {
		case Accepted:
			if d.Plan == nil || d.Code != Approved || len(d.Violations) > 0 || d.Plan.Bureau == "" || d.Plan.ExpectedDelivery.Before(d.Plan.BusinessDate) {
				t.Fatalf("%+v", d)
			}
			if in.Card == nil || in.Card.Successor != 0 || in.Card.Open != nil {
				t.Fatal("accepted although the card is unknown, replaced or has an open order")
			}
		case Refused:
			if d.Plan != nil || len(d.Violations) == 0 || d.Code != d.Violations[0].Code {
				t.Fatalf("%+v", d)
			}
			codes := Codes()
			for i, v := range d.Violations {
				if !slices.Contains(codes, v.Code) || i > 0 && slices.Index(codes, d.Violations[i-1].Code) > slices.Index(codes, v.Code) {
					t.Fatalf("not in order: %v", d.Codes())
				}
				if !strings.HasSuffix(v.Detail, ".") {
					t.Fatalf("no sentence: %q", v.Detail)
				}
			}
		case Duplicate:
			if d.Plan != nil || d.Code != Approved && d.Code != DuplicateRow {
				t.Fatalf("%+v", d)
			}
		default:
			t.Fatalf("outcome %q", d.Outcome)
		}
	})
}

func sampleAgain(p *Policy) *Policy {
	again, err := New(p.cfg, p.names)
	if err != nil {
		panic(err)
	}
	return again
}

func drawInput(t *rapid.T, good *Card) Input {
	pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	row := &request.Row{Kind: request.Kind(pick("kind", "reemboss", "reissue", "reissue")), Fields: request.Fields{
		CardID: pick("id", "1001", "1001", "", "4.11E+15", "x", "0"), UserID: pick("user", "U-1", "U-1", "", "U-2"),
		ReasonCode: pick("reason", "1", "2", "3", "4", "5", "6", "lost", "", "9"), ReissueType: pick("type", "", "", "1", "2", "3", "z"),
		ShippingMethod: pick("method", "", "1", "3", "7"), EmbossingGroup: pick("group", "", "", "vip"), PrintedName: pick("name", "", "NEW NAME", "A/B"),
		Reference: pick("reference", "", "R"),
	}}
	if rapid.Bool().Draw(t, "problem") {
		row.Problems = []request.Problem{{Code: pick("problem code", "row_malformed", "excel_precision_loss"), Column: pick("column", "", "card_id", "Reason"), Detail: "A cell is wrong."}}
	}
	in := Input{Row: row, FileID: 1, RowDigest: pick("row digest", "a", "b"), ContentDigest: "c", Now: now}
	if rapid.IntRange(0, 9).Draw(t, "known") > 0 {
		c := *good
		c.Status = pick("status", "NORMAL", "NORMAL", "CREATED", "EXPIRED", "LOST", "REISSUED")
		c.ProgramID, c.Product = pick("program", "100", "200", "?"), pick("product", "visa-classic", "mc-gold", "?")
		c.PSN, c.PINSet = rapid.IntRange(0, 99).Draw(t, "psn"), rapid.Bool().Draw(t, "pin")
		c.Address.Country = pick("country", "GB", "GB", "", "??")
		if rapid.Bool().Draw(t, "shipped") {
			c.Last = &Embossing{UID: "E", State: pick("state", "QUEUED", "SENT", "SHIPPED", "DELIVERED"), SentAt: now.Add(-time.Duration(rapid.IntRange(0, 30).Draw(t, "age")) * day), FileID: 1, RowDigest: pick("its row", "a", "z")}
			if open(c.Last.State) {
				c.Open = c.Last
			}
		}
		in.Card = &c
	}
	if row.Fields.Reference != "" && rapid.Bool().Draw(t, "used") {
		in.Reference = &Prior{ContentDigest: pick("content", "c", "d"), FileID: 9}
	}
	return in
}

func BenchmarkDecide(b *testing.B) {
	p, q := sample(b, nil), ask(b, reissueRow("3"))
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(q.in)
	}
}
