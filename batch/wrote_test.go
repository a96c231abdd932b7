package batch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reemboss/batch/ledger"
)

// A person writes a card number into a reason, or names a file or a key by it: nothing of it is kept.
func TestWhatAPersonWritesIsKeptWithoutCardNumbers(t *testing.T) {
	h := newHall(t)
	hold := h.holdTwo("branch 7")
	const number = "4111110000000010" // of card 1
	act := func(what, login string, do func(*Night) error) {
		t.Helper()
		h.as(login, func(n *Night) {
			if err := do(n); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		})
	}
	act("print", "anna", func(n *Night) error {
		text, err := n.ApprovalText(t.Context(), hold.Name, "seen "+number)
		if strings.Contains(text, number) {
			t.Error("the text to be signed has the number")
		}
		return err
	})
	act("approve", "anna", func(n *Night) error {
		_, err := n.Approve(t.Context(), hold.Name, "seen 4111 1100 0000 0010 and\nmore")
		return err
	})
	if got := h.held().Reason; got != "seen 4111 11** **** 0010 and_more" {
		t.Errorf("the reason is kept as %q", got)
	}
	extract := filepath.Join(t.TempDir(), "cards of "+number+".csv")
	if err := os.WriteFile(extract, []byte("card_id,customer_id,status,pan,program_id,product,expiry\n1,C1,NORMAL,"+number+",100,visa-classic,2029-11\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	act("import", "anna", func(n *Night) error {
		s, err := n.ImportCards(t.Context(), extract)
		if strings.Contains(s.File+s.Result, number) {
			t.Error("the import is told with the number")
		}
		return err
	})
	act("names", "anna", func(n *Night) error {
		var refused *SetupError
		if _, err := n.AddAllocation(t.Context(), number); !errors.As(err, &refused) {
			t.Errorf("a key is called by a card number: %v", err)
		}
		return n.Ledger.EachAudit(t.Context(), func(e ledger.AuditEntry) error {
			if strings.Contains(e.Subject+e.Detail, number) || strings.Contains(e.Detail, "4111 1100") {
				t.Errorf("the audit entry %s has the number", e.What)
			}
			return nil
		})
	})
	if left, _ := filepath.Glob(h.Path("done", "*", "*"+number+"*")); len(left) > 0 {
		t.Error("a file of done/ is called by the number")
	}
}
