package rules

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reemboss/batch/config"
	"reemboss/formats/extract"
	"reemboss/formats/iso"
	"reemboss/formats/request"
)

// now is a Monday, 10:00 in London, before every cut-off.
var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// sample is the sample configuration as it is compiled for deciding, changed by change.
func sample(t testing.TB, change func(*config.Config)) *Policy {
	t.Helper()
	cfg, err := config.Parse("config.example.yaml", config.Example(config.SampleValues), "")
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(cfg)
	}
	p, err := New(cfg, func(_, printed, last, first string) error {
		if strings.Contains(printed+last+first, "/") {
			return errors.New("a slash is not allowed in " + printed)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pan completes digits with their check digit, so that no whole number stands in the source.
func pan(t testing.TB, digits string) iso.PAN {
	t.Helper()
	p, err := iso.ParsePAN(digits + string(iso.LuhnDigit(digits)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// card is one that every request is accepted for; program 100 is on demand, 200 is not.
func card(t testing.TB) *Card {
	t.Helper()
	return &Card{Card: extract.Card{
		ID: 1001, AccountID: "A-1", CustomerID: "U-1", ProgramID: "100", Product: "visa-classic", Type: "PLASTIC", Status: "NORMAL",
		PAN: pan(t, "411111000000001"), PSN: 1, Expiry: iso.NewExpiry(2027, 5), PrintedName: "ANN BELL", FirstName: "Ann", LastName: "Bell",
		Address: extract.Address{Line1: "1 High Street", City: "London", Postcode: "sw1a 1aa", Country: "GB"}, Phone: "+44", PINSet: true,
	}}
}

func reembossRow() *request.Row {
	return &request.Row{Pos: 1, Line: 2, Kind: request.Reemboss, Fields: request.Fields{CardID: "1001"}}
}

func reissueRow(reason string) *request.Row {
	return &request.Row{Pos: 1, Line: 2, Kind: request.Reissue, Fields: request.Fields{CardID: "1001", UserID: "U-1", ReasonCode: reason}}
}

// question is an input under construction: an accepted request that a test spoils.
type question struct {
	t      testing.TB
	policy func(*config.Config)
	in     Input
}

func ask(t testing.TB, row *request.Row) *question {
	return &question{t: t, in: Input{Row: row, FileID: 7, RowDigest: "row", ContentDigest: "content", Card: card(t), Now: now}}
}

func (q *question) decide() Decision { return sample(q.t, q.policy).Decide(q.in) }

func sentAgo(age time.Duration) *Embossing {
	return &Embossing{UID: "E-1", State: "SENT", SentAt: now.Add(-age), FileID: 3, RowDigest: "other"}
}

// TestEachCodeHasItsRow: for every code that a row can earn here, a request
// that is right but for one thing earns that code and no other.
func TestEachCodeHasItsRow(t *testing.T) {
	for _, c := range []struct {
		code  Code
		kind  string // reason code, or "" for re-embossing
		spoil func(q *question)
		says  string
	}{
		{RowMalformed, "3", func(q *question) {
			q.in.Row.Problems = []request.Problem{{Code: "row_malformed", Column: "City", Detail: "Column City shows #REF!; correct it."}}
		}, "#REF!"},
		{CardIDMissing, "", func(q *question) { q.in.Row.Fields.CardID, q.in.Card = "", nil }, "no card id"},
		{CardIDInvalid, "", func(q *question) { q.in.Row.Fields.CardID, q.in.Card = "12a", nil }, `"12a"`},
		{CardIDInvalid, "", func(q *question) { q.in.Row.Fields.CardID, q.in.Card = "1234567890123456789", nil }, `***6789`},
		{CardIDInvalid, "", func(q *question) { q.in.Row.Fields.CardID, q.in.Card = "-5", nil }, `"-5"`},
		{ExcelPrecisionLoss, "", func(q *question) { q.in.Row.Fields.CardID, q.in.Card = "4.11E+15", nil }, "4.11E+15"},
		{ExcelPrecisionLoss, "", func(q *question) { q.in.Row.Fields.CardID, q.in.Card = "4,11E+15", nil }, "card id"},
		{ExcelPrecisionLoss, "", func(q *question) { q.in.Row.Fields.CardID, q.in.Card = "123.0", nil }, "123.0"},
		{ExcelPrecisionLoss, "3", func(q *question) { q.in.Row.Fields.UserID = "1.23E+11" }, "user id"},
		{ExcelPrecisionLoss, "", func(q *question) {
			q.in.Row.Fields.CardID = ""
			q.in.Row.Problems = []request.Problem{{Code: "excel_precision_loss", Column: "Card ID", Detail: "The id has more than 15 digits."}}
		}, "more than 15"},
		{ReasonCodeMissing, "", func(q *question) { q.in.Row.Kind, q.in.Row.Fields.UserID = request.Reissue, "U-1" }, "1 (damaged), 2 (expired)"},
		{ReasonCodeInvalid, "7", func(*question) {}, `"7"`},
		{ReasonCodeInvalid, "eaten", func(*question) {}, `"eaten"`},
		{ReasonCodeInvalid, "3.0", func(*question) {}, `"3.0"`},
		{ReissueTypeInvalid, "3", func(q *question) { q.in.Row.Fields.ReissueType = "4" }, `"4"`},
		{ReissueTypeInvalid, "3", func(q *question) { q.in.Row.Fields.ReissueType = "new" }, `"new"`},
		{ReissueTypeConflict, "3", func(q *question) { q.in.Row.Fields.ReissueType = "1" }, "changes the number"},
		{ReissueTypeConflict, "1", func(q *question) { q.in.Row.Fields.ReissueType = "3" }, "write 1 or 2"},
		{ShippingMethodInvalid, "3", func(q *question) { q.in.Row.Fields.ShippingMethod = "9" }, "1 (normal), 2 (urgent) or 3 (VIP)"},
		{CardValidationError, "3", func(q *question) { q.in.Card.ProgramID = "999" }, `"999"`},
		{CardValidationError, "3", func(q *question) { q.in.Card.Product = "visa-platinum" }, "visa-platinum"},
		{CardValidationError, "3", func(q *question) { q.in.Card.PAN = iso.PAN{} }, "no card number"},
		{CardValidationError, "1", func(q *question) { q.in.Card.PAN = pan(q.t, "41111100000000") }, "15 digits"},
		{CardValidationError, "3", func(q *question) { q.in.Card.Expiry = 0 }, "no expiry"},
		{CardValidationError, "3", func(q *question) { q.in.Card.PSN = 100 }, "100"},
		{NotOnDemand, "", func(q *question) { q.in.Card.ProgramID = "200" }, "program \"200\""},
		{CardNotFound, "", func(q *question) { q.in.Card = nil }, `"1001"`},
		{CardNotFound, "", func(q *question) { q.in.Row.Fields.CardID, q.in.Card = "900719925474099000", nil }, "spreadsheet"},
		{CustomerNotFound, "3", func(q *question) { q.in.Row.Fields.UserID = "" }, "no user id"},
		{CustomerNotFound, "3", func(q *question) { q.in.Row.Fields.UserID = "U-2" }, `"U-2"`},
		{AccountNotFound, "3", func(q *question) {
			q.policy, q.in.Card.AccountID = product(func(p *config.Product) { p.AccountRequired = true }), ""
		}, "visa-classic"},
		{AccountPhoneNotFound, "3", func(q *question) {
			q.policy, q.in.Card.Phone = product(func(p *config.Product) { p.PhoneRequired = true }), ""
		}, "visa-classic"},
		{AccountAddressNotFound, "3", func(q *question) { q.in.Card.Address = extract.Address{} }, "address_line1 and city and country"},
		{AccountAddressNotFound, "3", func(q *question) { q.in.Card.Address.City = "" }, "lacks city"},
		{AccountAddressNotFound, "3", func(q *question) { q.in.Row.Fields.Address.City = "Leeds" }, "replaces the card's as a whole"},
		{AccountAddressNotFound, "3", func(q *question) { q.in.Card.Address.Country = "XX" }, `"XX"`},
		{AccountAddressInactive, "3", func(q *question) { q.in.Card.AddressStatus = "INACTIVE" }, "inactive"},
		{AccountAddressZipcodeInvalid, "3", func(q *question) { q.in.Card.Address.Postcode = "1234" }, `"1234"`},
		{AccountAddressZipcodeInvalid, "3", func(q *question) { q.in.Card.Address.Postcode = "" }, "which GB needs"},
		{ReferenceConflict, "3", func(q *question) {
			q.in.Row.Fields.Reference, q.in.Reference = "R-1", &Prior{ContentDigest: "else", FileID: 7, RowDigest: "else"}
		}, `"R-1"`},
		{AlreadyRequested, "3", func(q *question) {
			q.in.Card.Open = &Embossing{UID: "E-1", State: "QUEUED", FileID: 7, RowDigest: "else"}
			q.in.Card.Last = q.in.Card.Open
		}, "already open"},
		{AlreadyRequested, "", func(q *question) {
			q.in.Card.Last = &Embossing{UID: "E-1", State: "PLANNED", FileID: 6, RowDigest: "row"}
		}, "already open"},
		{CardAlreadyReplaced, "3", func(q *question) { q.in.Card.Successor = 900000000001 }, "card 900000000001"},
		{CardInTransit, "3", func(q *question) { q.in.Card.Last = sentAgo(14*day - time.Second) }, "Unable to reissue card as last reissued card is still in shipment"},
		{CardInTransit, "", func(q *question) { q.in.Card.Last = sentAgo(time.Hour) }, "Unable to reissue card as last reissued card is still in shipment"},
		{CardInTransit, "5", func(q *question) { q.in.Card.Last = sentAgo(day - time.Second) }, "cannot have come back before 1 day"},
		{CardStatusInvalid, "3", func(q *question) { q.in.Card.Status = "CANCELLED" }, "The card is CANCELED"},
		{CardStatusInvalid, "", func(q *question) { q.in.Card.Status = "REISSUED" }, "CREATED, NORMAL, BLOCKED, PENDING or WARNING"},
		{CardTypeInvalid, "3", func(q *question) { q.in.Card.Type = "VIRTUAL" }, "VIRTUAL"},
		{CardExpired, "", func(q *question) { q.in.Card.Expiry = iso.NewExpiry(2026, 10) }, "2026-10"},
		{CardPCIPasswordUnchanged, "1", func(q *question) { q.in.Card.ProgramID, q.in.Card.PINSet = "200", false }, "never set"},
		{InvalidPrintedName, "3", func(q *question) { q.in.Row.Fields.PrintedName = "A/B" }, "slash"},
		{EmbosserNotConfigured, "3", func(q *question) { q.in.Card.Group = "nobody" }, `group "nobody"`},
		{EmbosserNotConfigured, "", func(q *question) { q.in.Row.Fields.EmbossingGroup = "gold" }, `group "gold"`},
		{ReissueLimitReached, "3", func(q *question) {
			q.policy, q.in.Card.Reissues = limited(2, 30), []time.Time{now.Add(-20 * day), now.Add(-time.Hour)}
		}, "reissued 2 times since 2026-11-03 10:00 UTC, and its product allows 2 times in 30 days; wait, the next one is possible at 2026-12-03 10:00 UTC"},
		{PSNExhausted, "1", func(q *question) { q.in.Card.PSN = 99 }, "99"},
	} {
		t.Run(string(c.code)+" "+c.says, func(t *testing.T) {
			row := reembossRow()
			if c.kind != "" {
				row = reissueRow(c.kind)
			}
			q := ask(t, row)
			c.spoil(q)
			d := q.decide()
			if d.Outcome != Refused || d.Plan != nil || !slices.Equal(d.Codes(), []Code{c.code}) {
				t.Fatalf("%s %v: %s", d.Outcome, d.Codes(), d.Message)
			}
			if !strings.Contains(d.Message, c.says) || d.Message != d.Violations[0].Detail || d.Class() != Class(c.code) {
				t.Errorf("class %d, message %q, want %q in it", d.Class(), d.Message, c.says)
			}
		})
	}
}

// limited sets the reissue limit of visa-classic.
func limited(limit, days int) func(*config.Config) {
	return product(func(p *config.Product) { p.ReissueLimit, p.ReissueDays = limit, days })
}

// product changes visa-classic.
func product(change func(*config.Product)) func(*config.Config) {
	return func(c *config.Config) {
		p := c.Products["visa-classic"]
		change(&p)
		c.Products["visa-classic"] = p
	}
}

func TestARowIsToldAllThatIsWrongInTheOrderOfTheVocabulary(t *testing.T) {
	q := ask(t, reissueRow("1"))
	q.policy = product(func(p *config.Product) { p.PhoneRequired, p.AccountRequired = true, true })
	f, c := &q.in.Row.Fields, q.in.Card
	f.ReissueType, f.ShippingMethod, f.UserID, f.PrintedName, f.Reference = "3", "9", "U-2", "A/B", "R-1"
	q.in.Reference = &Prior{ContentDigest: "else"}
	q.in.Row.Problems = []request.Problem{{Code: "row_malformed", Column: "region", Detail: "Column region cannot be read."}}
	c.ProgramID, c.PINSet, c.PSN, c.Group, c.Type, c.Status, c.AddressStatus, c.Address.Postcode = "200", false, 99, "", "TEMPORARY", "DELETED", "INACTIVE", "X"
	c.AccountID, c.Phone, c.Expiry, c.Successor = "", "", 0, 2
	c.Last, c.Open = sentAgo(day), &Embossing{State: "QUEUED"}
	want := []Code{RowMalformed, ReissueTypeConflict, ShippingMethodInvalid, CardValidationError, CustomerNotFound, AccountNotFound,
		AccountPhoneNotFound, AlreadyRequested, ReferenceConflict, CardAlreadyReplaced, CardInTransit, CardStatusInvalid, CardTypeInvalid,
		CardPCIPasswordUnchanged, AccountAddressInactive, AccountAddressZipcodeInvalid, InvalidPrintedName, PSNExhausted}
	d := q.decide()
	if diff := cmp.Diff(want, d.Codes()); diff != "" {
		t.Error(diff)
	}
	if d.Code != RowMalformed || d.Class() != 400 || strings.Count(d.Message, ".") < len(want) {
		t.Errorf("outcome %s %d: %s", d.Code, d.Class(), d.Message)
	}
}

func TestARowThatTheReaderCouldNotReadIsNotCalledBlank(t *testing.T) {
	q := ask(t, &request.Row{Kind: request.Reissue, Problems: []request.Problem{{Code: "row_malformed", Detail: "The row cannot be read."}}})
	q.in.Card = nil
	if d := q.decide(); !slices.Equal(d.Codes(), []Code{RowMalformed}) {
		t.Errorf("%v: %s", d.Codes(), d.Message)
	}
}

// What stands in such a cell is not what was sent; in the place of a card number it is our mask, and nobody is told that the mask is wrong.
func TestACellThatTheReaderRefusedIsNotJudgedAgain(t *testing.T) {
	for column, spoil := range map[string]func(*request.Fields){
		"printed_name": func(f *request.Fields) { f.PrintedName = "A/B" },
		"postcode": func(f *request.Fields) {
			f.Address = extract.Address{Line1: "Weg 1", City: "Wien", Postcode: "411111******1111", Country: "AT"}
		},
	} {
		q := ask(t, reissueRow("3"))
		spoil(&q.in.Row.Fields)
		q.in.Row.Problems = []request.Problem{{Code: "row_malformed", Column: column, Detail: "Column " + column + " holds a card number; take it out and send the row again."}}
		d := q.decide()
		if !slices.Equal(d.Codes(), []Code{RowMalformed}) || strings.Count(d.Message, ".") != 1 {
			t.Errorf("%s: %v: %s", column, d.Codes(), d.Message)
		}
		q.in.Row.Problems = nil
		if d := q.decide(); len(d.Violations) != 1 {
			t.Errorf("%s, and the reader took it: %s", column, d.Message)
		}
	}
}

func TestAnUnknownCodeOfTheReaderIsARowMalformed(t *testing.T) {
	q := ask(t, reembossRow())
	q.in.Row.Problems = []request.Problem{{Code: "strange", Column: "x", Detail: "Something is wrong."}}
	if d := q.decide(); d.Code != RowMalformed {
		t.Errorf("%s", d.Code)
	}
}

func TestWhatTheReaderSaidBecomesASentence(t *testing.T) {
	q := ask(t, reembossRow())
	q.in.Row.Problems = []request.Problem{{Code: "row_malformed", Column: "x", Detail: "column x: clear it"}, {Code: "row_malformed", Column: "y"}}
	if d := q.decide(); d.Message != "Column x: clear it. "+Sentence(RowMalformed) {
		t.Errorf("%q", d.Message)
	}
}

func TestBlankUserIDIsToldOfAnUnknownCardToo(t *testing.T) {
	q := ask(t, reissueRow("3"))
	q.in.Card, q.in.Row.Fields.UserID = nil, ""
	if d := q.decide(); !slices.Equal(d.Codes(), []Code{CardNotFound, CustomerNotFound}) {
		t.Errorf("%v", d.Codes())
	}
}

func TestNoMessageRepeatsWhatCouldBeACardNumber(t *testing.T) {
	number := pan(t, "411111000000001").Reveal()
	spaced := number[:4] + " " + number[4:8] + " " + number[8:12] + " " + number[12:]
	for _, text := range []string{number, spaced, number + "00", "x" + number} {
		q := ask(t, reissueRow("3"))
		f := &q.in.Row.Fields
		f.CardID, f.UserID, f.ReasonCode, f.ReissueType, f.ShippingMethod, f.Reference, f.PrintedName = text, text, text, text, text, text, text+"/"
		f.Address = extract.Address{Line1: text, City: text, Postcode: text, Country: "GB"}
		q.in.Card.Group, q.in.Reference = text, &Prior{ContentDigest: "else"}
		q.in.Row.Kind = request.Reissue
		q.in.Card.ProgramID, q.in.Card.Product, q.in.Card.Type = text, text, text
		d := q.decide()
		digits := func(s string) string {
			return strings.Map(func(r rune) rune {
				if r >= '0' && r <= '9' {
					return r
				}
				return -1
			}, s)
		}
		for _, v := range d.Violations {
			if strings.Contains(digits(v.Detail), number[:12]) {
				t.Errorf("the message of %s repeats a value of %d characters", v.Code, len(text))
			}
		}
		if len(d.Violations) < 8 {
			t.Errorf("only %v", d.Codes())
		}
	}
}
