package batch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// `check` of a signed approval says what a run says of it, and decides nothing.
func TestCheckSaysWhatASignedApprovalWouldDo(t *testing.T) {
	for _, test := range []struct {
		name, signer, decision, digest string
		code                           rules.Code
		outcome                        rules.Outcome
		says                           string
	}{
		{"approves", "ben", "approve", "", rules.Approved, rules.Accepted, "ben approved hold-alpha-"},
		{"cancels", "anna", "cancel", "", rules.Approved, rules.Accepted, "anna cancelled hold-alpha-"},
		{"may not", "carol", "approve", "", rules.SubmitterNotAllowed, rules.Refused, "Carol may not approve 2 cards"},
		{"other cards", "ben", "approve", strings.Repeat("ab", 32), rules.ReferenceConflict, rules.Refused, "for other cards"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHall(t)
			hold := h.holdTwo("branch 7")
			if test.digest != "" {
				hold.Digest = test.digest
			}
			message := clearSigned(t, h.keys[test.signer], approvalOf(hold, test.decision, "looked at"), h.now)
			path := filepath.Join(t.TempDir(), "x.asc")
			if err := os.WriteFile(path, []byte(message), 0o600); err != nil {
				t.Fatal(err)
			}
			h.as("anybody", func(n *Night) {
				var rows []CheckedRow
				if err := n.Check(t.Context(), []string{path}, func(r CheckedRow) error { rows = append(rows, r); return nil }); err != nil {
					t.Fatal(err)
				}
				if len(rows) != 1 || rows[0].Code != test.code || rows[0].Outcome != test.outcome || !strings.Contains(rows[0].Message, test.says) {
					t.Errorf("check says %+v", rows)
				}
				if test.outcome == rules.Accepted && rows[0].Class != approvalClass {
					t.Errorf("class %d", rows[0].Class)
				}
			})
			if state := h.held().State; state != ledger.Held {
				t.Fatalf("check left the hold %s", state)
			}
			if code, _ := h.dropped("x.asc", message); code != string(test.code) {
				t.Errorf("the run says %s, check said %s", code, test.code)
			}
		})
	}
}

// A key of somebody who signs requests or approvals is told 30 days before its end, like every other key.
func TestKeysOfPeopleAreToldBeforeTheirEnd(t *testing.T) {
	for name, test := range map[string]struct {
		validity, later time.Duration
		warns           string
	}{
		"long":    {40 * 24 * time.Hour, 0, ""},
		"soon":    {20 * 24 * time.Hour, 0, "The key of ben (people) (%s) expires on "},
		"expired": {time.Hour + 24*time.Hour, 48 * time.Hour, "The key of ben (people) (%s) cannot be used: "},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHall(t)
			old := h.keys["ben"].Fingerprint()
			h.keys["ben"] = h.key("ben", test.validity)
			h.configure(old, h.keys["ben"].Fingerprint())
			h.now = h.now.Add(test.later)
			r := h.run()
			h.as("anybody", func(n *Night) {
				status, err := n.Status(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for told, warnings := range map[string][]string{"run": r.Warnings, "status": status.Warnings} {
					text := strings.Join(warnings, "\n")
					if test.warns == "" && strings.Contains(text, "people") || test.warns != "" && !strings.Contains(text, fmt.Sprintf(test.warns, h.keys["ben"].Fingerprint())) {
						t.Errorf("%s warns: %s", told, text)
					}
				}
			})
		})
	}
}

// Of a clear extract, which is gone once it is imported, the report of the run lists the answers and the refused rows, sealed.
func TestTheRefusedRowsOfAClearExtractAreListed(t *testing.T) {
	h := newHall(t)
	h.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NONSENSE 411111000000002 00")
	r := h.run()
	h.as("anybody", func(n *Night) {
		list, err := n.artifacts(t.Context(), r.RunID)
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, a := range list {
			paths = append(paths, filepath.Base(a.Path))
		}
		if got := strings.Join(paths, " "); !strings.Contains(got, "cards.csv.result.csv") || !strings.Contains(got, "cards.csv.refused.csv.pgp") {
			t.Errorf("listed are %q", got)
		}
	})
}

// Mail that came back closes its shipment and asks for another card. A hold of that, cancelled, leaves the card what it was
// before: it can be asked for again. That the mail came back stays true.
func TestACancelledHoldOfReturnedMailRestoresTheCard(t *testing.T) {
	h := newHall(t)
	first := h.holdTwo("branch 7")
	h.as("anna", func(n *Night) {
		if _, err := n.Approve(t.Context(), first.Name, ""); err != nil {
			t.Fatal(err)
		}
	})
	h.run()
	h.now = h.now.Add(48 * time.Hour)
	before := h.registry(1)
	h.drop("back.csv", "card_id,user_id,reason_code\n1,C1,5\n")
	if r := h.run(); r.Accepted != 1 || r.Waiting != 1 {
		t.Fatalf("%s", r.Verdict)
	}
	if h.registry(1) == before {
		t.Fatal("the order changed nothing")
	}
	hold := h.held()
	h.as("anybody", func(n *Night) {
		if _, err := n.CancelHold(t.Context(), hold.Name, "the letter was found"); err != nil {
			t.Fatal(err)
		}
	})
	h.run()
	if after := h.registry(1); after != before {
		t.Errorf("the card is\n%s, it was\n%s", after, before)
	}
	h.as("anybody", func(n *Night) {
		shipments, err := n.Ledger.CardShipments(t.Context(), 1)
		if err != nil || len(shipments) != 2 || shipments[0].State != ledger.Returned || shipments[1].State != ledger.Cancelled {
			t.Errorf("the shipments are %+v, %v", shipments, err)
		}
	})
	h.drop("again.csv", "card_id,user_id,reason_code,reference\n1,C1,1,new\n")
	h.run()
	h.want(h.codes("done", "again.csv"), "00")
}
