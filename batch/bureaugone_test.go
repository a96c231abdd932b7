package batch

import (
	"os"
	"strings"
	"testing"
	"time"

	"reemboss/batch/ledger"
)

// Orders wait for a bureau that is in config.yaml no more: every report says so, and they go on once it is back.
func TestOrdersOfABureauThatIsGoneWaitWithTheReason(t *testing.T) {
	b := newBench(t)
	b.silent()
	b.configure("hold: false", "hold: true")
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n")
	b.run()
	text, err := os.ReadFile(b.Config())
	if err != nil {
		t.Fatal(err)
	}
	whole := string(text)
	i, j := strings.Index(whole, "  alpha:\n"), strings.Index(whole, "  beta:\n")
	without := strings.ReplaceAll(whole[:i]+whole[j:], "bureau: alpha", "bureau: beta")
	if err := os.WriteFile(b.Config(), []byte(without), 0o600); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(24 * time.Hour)
	r := b.run()
	if r.Exit != 4 || len(r.NeedsPerson) != 1 || !strings.Contains(r.NeedsPerson[0].Why, "config.yaml has no bureau alpha any more") {
		t.Fatalf("exit %d: %+v", r.Exit, r.NeedsPerson)
	}
	if err := os.WriteFile(b.Config(), []byte(strings.Replace(whole, "hold: true", "hold: false", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(24 * time.Hour)
	if r := b.run(); r.Exit != 0 || b.order(1).State != ledger.SentO {
		t.Errorf("exit %d, %s: %+v", r.Exit, b.order(1).State, r.NeedsPerson)
	}
}
