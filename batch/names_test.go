package batch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"reemboss/batch/ledger"
)

// What alpha's and beta's files are called in the sample configuration, and a name that says neither the bureau nor the date.
const (
	usualName = `file_name: "{client}_{bureau}_{date:20060102}_{sequence:06}.{ext}.pgp"`
	plainName = `file_name: "ISSUER_{sequence:06}.out.pgp"`
)

// A bureau whose next file would have a name that was used before, by another bureau here, or that gets none at all, waits for a
// person; the others get their files. With another file_name it gets its own, under the number that it had not used.
func TestAFileWithoutANameOfItsOwnStopsItsBureauOnly(t *testing.T) {
	for name, c := range map[string]struct {
		last           int64
		template, says string
	}{
		"used by another bureau": {0, plainName, "ISSUER_000001.out.pgp was that of number 1 of alpha"},
		"grown too long":         {99_999_999, fmt.Sprintf(`file_name: "%s_{sequence}.pgp"`, strings.Repeat("N", 112)), "at most 120 are allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.silent()
			b.configure(usualName, plainName)
			b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
			b.gold(3)
			b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n")
			b.run()
			b.ledgerSQL(fmt.Sprintf("INSERT INTO counters (name, value) VALUES ('sequence/beta', %d)", c.last))
			b.configure(plainName, `file_name: "OLD_{sequence:06}.{ext}.pgp"`, usualName, c.template)
			b.drop("b.csv", "card_id,user_id,reason_code\n2,C2,1\n3,C3,1\n")
			for range 2 {
				b.now = b.now.Add(time.Hour)
				r := b.run()
				if r.Exit != 4 || b.order(2).State != ledger.SentO || b.order(3).State != ledger.Queued {
					t.Fatalf("exit %d, %s, %s", r.Exit, b.order(2).State, b.order(3).State)
				}
				if needs := b.needs(r.Reconciliation, "beta"); len(needs) == 0 || !strings.Contains(needs[0].Why, c.says) || !strings.Contains(needs[0].Why, "file_name") {
					t.Errorf("told %+v", r.NeedsPerson)
				}
			}
			b.configure(c.template, usualName)
			if r := b.run(); r.Exit != 0 || b.order(3).State != ledger.SentO || b.order(3).Sequence != c.last+1 {
				t.Errorf("exit %d, %s in number %d", r.Exit, b.order(3).State, b.order(3).Sequence)
			}
		})
	}
}
