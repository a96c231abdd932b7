package batch

import (
	"testing"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/extract"
	"reemboss/formats/iso"
)

var testStatuses = config.Statuses{
	Initial: []string{"CREATED"}, Active: []string{"NORMAL", "REISSUED"}, Temporary: []string{"BLOCKED"}, Terminal: []string{"LOST", "EXPIRED"},
}

func testPAN(t *testing.T, body string) iso.PAN {
	t.Helper()
	pan, err := iso.ParsePAN(body + string(iso.LuhnDigit(body)))
	if err != nil {
		t.Fatal(err)
	}
	return pan
}

func testKnown(t *testing.T, status string, decided ledger.Decided) *ledger.Known {
	return &ledger.Known{Decided: decided, Card: rules.Card{Card: extract.Card{ID: 7, Status: status, PSN: 1, Expiry: 202911, PAN: testPAN(t, "411111000000001")}}}
}

// What an extract may overwrite, card by card (docs/files.md).
func TestExtractAgainstWhatWeDecided(t *testing.T) {
	all := ledger.DecidedPAN | ledger.DecidedPSN | ledger.DecidedExpiry | ledger.DecidedStatus
	for _, c := range []struct {
		name      string
		have      string
		decided   ledger.Decided
		change    func(*extract.Card)
		want      func(extract.Card) bool
		conflicts int
		left      ledger.Decided
		activated bool
	}{
		{"what nobody decided is the extract's", "NORMAL", 0, func(c *extract.Card) { c.PSN, c.Expiry, c.Status = 3, 203001, "BLOCKED" },
			func(c extract.Card) bool { return c.PSN == 3 && c.Expiry == 203001 && c.Status == "BLOCKED" }, 0, 0, false},
		{"what we decided stays until the extract shows it", "NORMAL", all, func(c *extract.Card) { c.PSN, c.Expiry = 0, 202701 },
			func(c extract.Card) bool { return c.PSN == 1 && c.Expiry == 202911 }, 2, ledger.DecidedPSN | ledger.DecidedExpiry, false},
		{"an extract that shows ours has its fields back", "NORMAL", all, func(*extract.Card) {},
			func(c extract.Card) bool { return c.PSN == 1 }, 0, 0, false},
		{"another number is a conflict", "NORMAL", ledger.DecidedPAN, func(c *extract.Card) { c.PAN = testPAN(t, "411111000000002") },
			func(c extract.Card) bool { return c.PAN.Equal(testPAN(t, "411111000000001")) }, 1, ledger.DecidedPAN, false},
		{"a final status never moves back", "LOST", 0, func(c *extract.Card) { c.Status = "NORMAL" },
			func(c extract.Card) bool { return c.Status == "LOST" }, 1, 0, false},
		{"from one final status to another", "LOST", 0, func(c *extract.Card) { c.Status = "EXPIRED" },
			func(c extract.Card) bool { return c.Status == "EXPIRED" }, 0, 0, false},
		{"a card that we made becomes active", "CREATED", ledger.DecidedStatus, func(c *extract.Card) { c.Status = "NORMAL" },
			func(c extract.Card) bool { return c.Status == "NORMAL" }, 0, 0, true},
	} {
		have := testKnown(t, c.have, c.decided)
		card := have.Card.Card
		c.change(&card)
		got, conflicts := merge(have, card, testStatuses)
		if !c.want(got.Card) || len(conflicts) != c.conflicts || got.Decided != c.left || got.Activated != c.activated {
			t.Errorf("%s: status %s PSN %d expiry %s, %d conflicts, decided %b, activated %v", c.name,
				got.Card.Status, got.Card.PSN, got.Card.Expiry, len(conflicts), got.Decided, got.Activated)
		}
	}
}

// What an extract says of a shipment counts again once an extract has shown ours.
func TestAnExtractsShipmentAfterOurEmbossing(t *testing.T) {
	sent := time.Date(2026, 11, 20, 22, 0, 0, 0, time.UTC)
	have := testKnown(t, "NORMAL", 0)
	have.Last = &rules.Embossing{UID: "U", State: "SENT", SentAt: sent}
	show := func(status string, at time.Time) (extract.Card, int) {
		card := have.Card.Card
		card.ShipmentStatus, card.ShippedAt = status, at
		got, conflicts := merge(have, card, testStatuses)
		return got.Card, len(conflicts)
	}
	if c, conflicts := show("DELIVERED", sent.Add(time.Hour)); c.ShipmentStatus != "" || conflicts != 1 {
		t.Errorf("before ours was shown: %q with %d conflicts; ours stays, the difference is listed", c.ShipmentStatus, conflicts)
	}
	if c, conflicts := show("SENT", sent.AddDate(0, -1, 0)); c.ShipmentStatus != "" || conflicts != 1 {
		t.Errorf("an older shipment: %q with %d conflicts", c.ShipmentStatus, conflicts)
	}
	shown, conflicts := show("SENT", time.Time{})
	if shown.ShipmentStatus != "SENT" || !shown.ShippedAt.Equal(sent) || conflicts != 0 {
		t.Errorf("ours shown: %q at %s with %d conflicts", shown.ShipmentStatus, shown.ShippedAt, conflicts)
	}
	have.Card.Card = shown
	if c, conflicts := show("DELIVERED", time.Time{}); c.ShipmentStatus != "DELIVERED" || conflicts != 0 {
		t.Errorf("after ours was shown: %q with %d conflicts; the extract's counts", c.ShipmentStatus, conflicts)
	}
}

// An extract that tells days means days of its own clocks, at which a night may belong to another day than in UTC.
func TestAnExtractShowsAShipmentByTheDay(t *testing.T) {
	for zone, sent := range map[string]time.Time{
		"Europe/Berlin":       time.Date(2026, 11, 20, 21, 30, 0, 0, time.UTC), // 22:30
		"America/Los_Angeles": time.Date(2026, 11, 21, 6, 30, 0, 0, time.UTC),  // 22:30 of the 20th
		"UTC":                 time.Date(2026, 11, 20, 22, 30, 0, 0, time.UTC),
	} {
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for day, want := range map[int]string{19: "", 20: "SENT"} {
			have := testKnown(t, "NORMAL", 0)
			have.Last = &rules.Embossing{UID: "U", State: "SENT", SentAt: sent}
			card := have.Card.Card
			card.ShipmentStatus, card.ShippedAt = "SENT", time.Date(2026, 11, day, 0, 0, 0, 0, location)
			if got, _ := merge(have, card, testStatuses); got.Card.ShipmentStatus != want {
				t.Errorf("%s: what went out at %s and is told of the %dth: %q, want %q", zone, sent.In(location), day, got.Card.ShipmentStatus, want)
			}
		}
	}
}

func TestACardNumberInAnotherColumnIsFound(t *testing.T) {
	n := &Night{Config: &config.Config{Products: map[string]config.Product{"classic": {Prefix: "411111", PANLength: 16}}}}
	own, other := testPAN(t, "411111000000001"), testPAN(t, "411111000000002")
	for name, c := range map[string]struct {
		card   extract.Card
		column string
	}{
		"its own, spaced":        {extract.Card{PAN: own, AccountNumber: "4111 1100 0000 0013"}, "account_number"},
		"its own, apart":         {extract.Card{PAN: own, AccountNumber: "４１１１ - 1100 | 0000\t0013"}, "account_number"},
		"another's, apart":       {extract.Card{PAN: own, Phone: "call 4111\u200b1100: 0000, " + other.Reveal()[12:]}, "phone"},
		"another card's":         {extract.Card{PAN: own, Phone: "call " + other.Reveal()}, "phone"},
		"instead of the card id": {extract.Card{PAN: own, ID: 4111110000000013}, "card_id"},
		"instead of the program": {extract.Card{PAN: own, ProgramID: own.Reveal()}, "program_id"},
		"none":                   {extract.Card{PAN: own, ID: 7, AccountNumber: "DE0012345"}, ""},
		"a number of nobody's":   {extract.Card{PAN: own, AccountNumber: "4222222222222220"}, ""},
	} {
		if column, found := n.numberElsewhere(c.card); column != c.column || found != (c.column != "") {
			t.Errorf("%s: found %v in %q, want it in %q", name, found, column, c.column)
		}
	}
}
