package report

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"reemboss/batch/ledger"
)

func TestReturnsList(t *testing.T) {
	m, extra := richNight(t)
	m.problems[0].Detail = "=No order has this uid; the line says " + clear + "."
	in := smallInput(t)
	in.Ledger, in.Extra = m, extra
	rec, err := WriteAll(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "returns.csv", folder(t, in.Dir)["returns.csv"])
	if len(rec.Returns) != 3 || rec.Returns[0].Applied != 219 || rec.Returns[2].State != ledger.ReturnQuarantined {
		t.Errorf("%+v", rec.Returns)
	}
}

func TestReturnsListIsLimitedAndSaysSo(t *testing.T) {
	m, extra := richNight(t)
	in := smallInput(t)
	in.Ledger, in.Extra, in.MaxOutstanding = m, extra, 1
	rec, err := WriteAll(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(rec.Notes, "\n"); !strings.Contains(notes, "returns.csv lists the first 1 of 2 lines") || !strings.Contains(notes, "underway.csv lists the oldest 1 of 791 records") {
		t.Errorf("%s", notes)
	}
}

// told gives the events that the stream writes for what became known.
func told(t *testing.T, run string, happened ...ledger.Event) []Event {
	t.Helper()
	var out bytes.Buffer
	m := smallNight(t)
	m.run.ID = run
	e := newEventStream(context.Background(), &out, m, smallExtra().Bureaus)
	e.begin(m.run, nil)
	m.events = nil
	for _, h := range happened {
		m.happens(7, 1, h)
	}
	for i := range m.events {
		if err := e.returned(&m.events[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.close(); err != nil {
		t.Fatal(err)
	}
	var list []Event
	for line := range bytes.Lines(out.Bytes()) {
		var event Event
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatal(err)
		}
		list = append(list, event)
	}
	return list
}

func TestRejectionIsTold(t *testing.T) {
	at := started.Add(-time.Hour)
	list := told(t, runID, ledger.Event{Status: "REJECTED", Code: "012", Description: "Unregistered plastic " + clear, At: at})
	if len(list) != 1 || list[0].Type != "cards.card_rejection.v1" || !list[0].Time.Equal(at) || list[0].Subject != "900001" {
		t.Fatalf("%+v", list)
	}
	data := list[0].Data.(map[string]any)
	for field, want := range map[string]string{
		"error_code": "012", "error_description": "Unregistered plastic 411111******1111", "outcome": "rejected", "tracking": "ALPHA_000041.xml.pgp",
		"uid": "U0000000000000001002", "card_id": "900001", "program_id": "100", "customer_id": "C1002", "run_id": runID,
	} {
		if data[field] != want {
			t.Errorf("%s is %v, want %s", field, data[field], want)
		}
	}
}

func TestThePostIsTold(t *testing.T) {
	at := started.Add(-time.Hour)
	for _, status := range []string{"SHIPPED", "DELIVERED", "RETURNED", "LOST"} {
		list := told(t, runID, ledger.Event{Status: status, At: at, Carrier: "Swiss Post", TrackingNumber: "CH123"})
		if len(list) != 1 || list[0].Type != "cards.control_post.v1" {
			t.Fatalf("%s: %+v", status, list)
		}
		data := list[0].Data.(map[string]any)
		if data["status"] != status || data["carrier"] != "Swiss Post" || data["tracking_number"] != "CH123" || data["occurred_at"] != at.Format(time.RFC3339) || data["outcome"] != strings.ToLower(status) {
			t.Errorf("%s: %v", status, data)
		}
	}
}

func TestOnlyFactsAreTold(t *testing.T) {
	for _, e := range []ledger.Event{{Status: "ACKED"}, {Status: "PRODUCED"}, {Status: "ACTIVATED"}, {Status: "REJECTED", Dispute: "it was delivered"}} {
		if list := told(t, runID, e); len(list) != 0 {
			t.Errorf("%+v is told", e)
		}
	}
}

func TestIDsOfReturnEventsDependOnCardStatusCodeAndTime(t *testing.T) {
	at := started.Add(-time.Hour)
	id := func(run string, e ledger.Event) string { return told(t, run, e)[0].ID }
	base := id(runID, ledger.Event{Status: "SHIPPED", At: at, Carrier: "A", RunID: runID})
	if again := id("2026-12-01-007", ledger.Event{Status: "SHIPPED", At: at.In(time.FixedZone("", 3600)), Carrier: "B"}); again != base {
		t.Error("the id depends on the run, the zone or the carrier")
	}
	if other := id(runID, ledger.Event{Status: "SHIPPED", At: at.Add(time.Millisecond)}); other == base {
		t.Error("another time has the same id")
	}
	if other := id(runID, ledger.Event{Status: "REJECTED", Code: "034", At: at}); other == id(runID, ledger.Event{Status: "REJECTED", Code: "012", At: at}) {
		t.Error("another code of the bureau has the same id")
	}
	if other := id(runID, ledger.Event{Status: "DELIVERED", At: at}); other == base {
		t.Error("another status has the same id")
	}
}

// An order whose first file was refused and cancelled stands in a second one:
// to a consumer that drops known ids this is news.
func TestRecordInALaterFileHasItsOwnEvent(t *testing.T) {
	f := &ledger.BureauFile{ID: 9, Name: "second.xml.pgp"}
	o := &ledger.Order{UID: "U1"}
	moved := &ledger.Shipment{Events: []ledger.Event{{FileID: 8, Status: "REFUSED"}, {FileID: 9, Status: "ACKED"}}}
	stayed := &ledger.Shipment{Events: []ledger.Event{{FileID: 9, Status: "REFUSED"}}}
	if recordKey(f, o, moved) != "U1/second.xml.pgp" || recordKey(f, o, stayed) != "U1" || recordKey(f, o, nil) != "U1" {
		t.Error("the keys of the record's event")
	}
}
