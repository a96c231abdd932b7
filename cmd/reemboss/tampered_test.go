package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"reemboss/batch/report"
)

// told is a CARD line about the newest order of a card; rest is code, description, carrier and tracking number.
func (w *workspace) told(c plastic, status, rest string, at time.Time) string {
	w.tb.Helper()
	s := w.newestOrder(c.number(w.tb))
	if rest == "" {
		rest = ",,,"
	}
	return fmt.Sprintf("CARD,%s,%d,%s,%s,,%s,%s", s.FileName, s.Sequence, s.UID, status, rest, at.UTC().Format(time.RFC3339))
}

// fileTold is a FILE line about an outgoing file.
func (w *workspace) fileTold(recipient string, sequence int64, status string, at time.Time) string {
	w.tb.Helper()
	f := w.sentFile(recipient, sequence)
	return fmt.Sprintf("FILE,%s,%d,,%s,%d,,,,,%s", f.Name, f.Sequence, status, f.Records, at.UTC().Format(time.RFC3339))
}

// number is the card's id.
func (c plastic) number(tb testing.TB) (id int64) {
	tb.Helper()
	if _, err := fmt.Sscan(c.id, &id); err != nil {
		tb.Fatal(err)
	}
	return id
}

// silent makes the simulated bureaus tell nothing by themselves.
func (w *workspace) silent() {
	w.tb.Helper()
	w.configureBureau("alpha", "answers: true", "answers: false")
	w.configureBureau("beta", "simulation: {seed: 2}", "simulation: {answers: false}")
}

// tamper changes the ledger behind the program's back, as somebody with a SQLite shell does.
func (w *workspace) tamper(script string) {
	w.tb.Helper()
	conn, err := sqlite.OpenConn(w.Path("state", "ledger.sqlite"), sqlite.OpenReadWrite)
	if err != nil {
		w.tb.Fatal(err)
	}
	if err := sqlitex.ExecuteScript(conn, script, nil); err != nil {
		w.tb.Fatal(err)
	}
	if conn.Changes() == 0 {
		w.tb.Fatalf("nothing was changed by %s", script)
	}
	if err := conn.Close(); err != nil {
		w.tb.Fatal(err)
	}
}

// alarmed wants the report to say first that its books are broken.
func alarmed(tb testing.TB, what string, r *report.Reconciliation, exit int) {
	tb.Helper()
	if exit != exitPerson || r.ExitCode != exitPerson {
		tb.Errorf("%s: exit code %d, in the report %d, want 4", what, exit, r.ExitCode)
	}
	if !strings.HasPrefix(r.Verdict, "ALARM") {
		tb.Errorf("%s: the verdict is %q", what, r.Verdict)
	}
	if len(r.Balances) == 0 || r.Balances[0].Holds {
		tb.Fatalf("%s: the broken balance is not the first", what)
	}
	if len(r.NeedsPerson) == 0 || !strings.HasPrefix(r.NeedsPerson[0].What, "A balance does not hold: ") {
		tb.Errorf("%s: nobody is asked about the balance first: %+v", what, r.NeedsPerson)
	}
}

// Every balance is computed from the rows of the ledger. Whoever changes one of them is told on: by the next run, and by
// the report of the old one written again; and the report of a run in which nothing happened looks at old files too.
func TestATamperedLedgerIsAnAlarm(t *testing.T) {
	prepared := newWorkspace(t)
	prepared.program = withoutRaceDetector(t)
	prepared.silent()
	cards := prepared.smallNight()
	prepared.night(exitComplete)
	now := time.Now()
	prepared.answer("alpha", "r.csv", prepared.fileTold("alpha", 1, "RECEIVED", now),
		prepared.told(cards[0], "SHIPPED", "", now), prepared.told(cards[2], "REJECTED", "012,no such plastic,,", now))
	first := prepared.night(exitComplete)
	balanced(t, first)
	if f := bureauFile(t, first, "alpha", 1); f.Acknowledged != 3 || f.Rejected != 1 {
		t.Fatalf("alpha's file: acknowledged %d, rejected %d", f.Acknowledged, f.Rejected)
	}

	alpha := "(SELECT id FROM bureau_files WHERE recipient = 'alpha')"
	for name, c := range map[string]struct{ script, broken string }{
		"an order is called produced":            {"UPDATE orders SET state = 'PRODUCED' WHERE id = (SELECT max(id) FROM orders WHERE state = 'ACKED')", "orders whose state no event explains = 0"},
		"an order is called delivered":           {"UPDATE orders SET state = 'DELIVERED' WHERE state = 'SHIPPED'", "orders whose state no event explains = 0"},
		"a rejected order is called sent":        {"UPDATE orders SET state = 'SENT' WHERE state = 'REJECTED'", "sent = acknowledged + rejected + outstanding"},
		"a sent order is called acknowledged":    {"UPDATE orders SET state = 'ACKED' WHERE id = (SELECT min(id) FROM orders WHERE state = 'SENT')", "sent = acknowledged + rejected + outstanding"},
		"an order is called by no known state":   {"UPDATE orders SET state = 'GONE' WHERE state = 'SHIPPED'", "acknowledged in its events = orders acknowledged or beyond"},
		"an order is deleted":                    {"DELETE FROM orders WHERE state = 'SHIPPED'", "records in the file = orders in it"},
		"an order is in no file":                 {"UPDATE orders SET bureau_file_id = NULL WHERE state = 'SHIPPED'", "records in the file = orders in it"},
		"an order is moved to another file":      {"UPDATE orders SET bureau_file_id = (SELECT id FROM bureau_files WHERE recipient = 'beta') WHERE state = 'SHIPPED'", "records in the file = orders in it"},
		"an acknowledgement is deleted":          {"DELETE FROM events WHERE id = (SELECT min(id) FROM events WHERE acked = 1)", "sent = acknowledged + rejected + outstanding"},
		"a rejection is deleted":                 {"DELETE FROM events WHERE rejected = 1", "acknowledged in its events = orders acknowledged or beyond"},
		"a step is deleted":                      {"DELETE FROM events WHERE status = 'SHIPPED'", "orders whose state no event explains = 0"},
		"an acknowledgement counts twice":        {"UPDATE events SET acked = 2 WHERE id = (SELECT min(id) FROM events WHERE acked = 1)", "sent = acknowledged + rejected + outstanding"},
		"an acknowledgement is for another file": {"UPDATE events SET bureau_file_id = (SELECT id FROM bureau_files WHERE recipient = 'beta') WHERE id = (SELECT min(id) FROM events WHERE acked = 1)", "sent = acknowledged + rejected + outstanding"},
		"the plan of a file has one record more": {"UPDATE bureau_files SET records = records + 1 WHERE id = " + alpha, "sent = acknowledged + rejected + outstanding"},
		"the plan of a file has one record less": {"UPDATE bureau_files SET records = records - 1 WHERE id = " + alpha, "sent = acknowledged + rejected + outstanding"},
		"two orders change their places":         {"UPDATE orders SET state = CASE state WHEN 'SHIPPED' THEN 'ACKED' ELSE 'SHIPPED' END WHERE state = 'SHIPPED' OR id = (SELECT max(id) FROM orders WHERE state = 'ACKED')", "orders whose state no event explains = 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := prepared.copyOf(t)
			w.tamper(c.script)
			again := w.start(nil, "--dir", w.Dir, "report", first.RunID, "--json")
			repeated := told(t, again)
			alarmed(t, "the report written again", repeated, again.exit)
			if !strings.Contains(repeated.Balances[0].Name, c.broken) {
				t.Errorf("the first balance is %q, want %q", repeated.Balances[0].Name, c.broken)
			}
			page := string(w.read("reports", first.RunID, "reconciliation.html"))
			if !strings.Contains(page, "ALARM") {
				t.Error("the page does not begin with the alarm")
			}
			r := w.start(nil, "--dir", w.Dir, "run", "--json")
			alarmed(t, "the next run", told(t, r), r.exit)
		})
	}
}

// Likewise the answers of a run: its report, written again, does not hide that they are not those of its orders.
func TestTamperedAnswersAreAnAlarm(t *testing.T) {
	prepared := newWorkspace(t)
	prepared.program = withoutRaceDetector(t)
	cards := prepared.smallNight()
	prepared.write("inbox/b.csv", lines("card_id", "99", cards[1].id))
	first := prepared.night(exitComplete)
	if first.Accepted != 6 || first.Refused != 2 {
		t.Fatalf("accepted %d, refused %d", first.Accepted, first.Refused)
	}
	one := "WHERE id = (SELECT min(id) FROM answers WHERE outcome = 'accepted')"
	for name, c := range map[string]struct{ script, broken string }{
		"an accepted row is called refused":   {"UPDATE answers SET outcome = 'refused' " + one, "accepted = written + waiting"},
		"an accepted row is called duplicate": {"UPDATE answers SET outcome = 'duplicate' " + one, "accepted = written + waiting"},
		"a refused row is called accepted":    {"UPDATE answers SET outcome = 'accepted' WHERE id = (SELECT min(id) FROM answers WHERE outcome = 'refused')", "accepted = written + waiting"},
		"an answer is deleted":                {"DELETE FROM answers WHERE id = (SELECT min(id) FROM answers WHERE outcome = 'refused')", "rows read = accepted + refused + duplicate + held"},
		"an accepted answer is deleted":       {"DELETE FROM answers " + one, "rows read = accepted + refused + duplicate + held"},
		"an answer is of another run":         {"UPDATE answers SET run = NULL " + one, "rows read = accepted + refused + duplicate + held"},
		"an order is deleted":                 {"DELETE FROM orders WHERE id = (SELECT min(id) FROM orders)", "accepted = written + waiting"},
		"a file has read more rows":           {"UPDATE request_files SET rows = rows + 1 WHERE name = 'a.csv'", "rows read = accepted + refused + duplicate + held"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := prepared.copyOf(t)
			w.tamper(c.script)
			r := w.start(nil, "--dir", w.Dir, "report", first.RunID, "--json")
			repeated := told(t, r)
			alarmed(t, "the report written again", repeated, r.exit)
			if repeated.Balances[0].Name != c.broken {
				t.Errorf("the first broken balance is %q, want %q", repeated.Balances[0].Name, c.broken)
			}
			if _, err := os.Stat(filepath.Join(w.Reports(first.RunID), "reconciliation.xlsx")); err != nil {
				t.Error(err)
			}
		})
	}
}
