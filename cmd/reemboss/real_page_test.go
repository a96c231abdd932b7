package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"reemboss/batch"
	"reemboss/batch/report"
)

// someNights are nights at simulated bureaus that tell what a test has them
// tell: of the cards that alpha got in the first one, one each was rejected,
// delivered, returned, lost, and is told of what cannot be; beta says nothing for days and then refuses
// its first file, which a person cancels. The last night is worked by the program itself, now.
type someNights struct {
	*workspace
	cards []plastic
	uids  []string // alpha's of the first night, in the order of its file
	last  *report.Reconciliation
}

// Nights lie so far back that nobody's holidays keep beta from being late.
const firstNight = 9 * 24 * time.Hour

func nightsWithAnswers(t *testing.T) *someNights {
	t.Helper()
	w := &someNights{workspace: &workspace{Workspace: batch.Workspace{Dir: filepath.Join(t.TempDir(), "w")}, tb: t}}
	now := time.Now()
	if err := batch.Init(w.Dir, now.Add(-firstNight), rand.Reader); err != nil {
		t.Fatal(err)
	}
	w.configure("stable_for: 1s", "stable_for: 2ms")
	w.configure("retry_pause: 2s", "retry_pause: 2ms")
	w.configureBureau("alpha", "answers: true", "answers: false")
	w.configureBureau("beta", "simulation: {seed: 2}", "simulation: {answers: false}")

	w.cards, _ = w.realisticNight()
	unknown := []string{"card_id,reference"}
	for i := range 1200 {
		unknown = append(unknown, fmt.Sprintf("%d,U-%d", 900001+i, i))
	}
	w.write("inbox/h-unknown.csv", lines(unknown...))
	w.nightAt(now.Add(-firstNight))
	w.uids = w.outstanding("alpha")
	if len(w.uids) < 8 || len(w.outstanding("beta")) < 3 {
		t.Fatalf("the first night sent %d and %d cards", len(w.uids), len(w.outstanding("beta")))
	}

	w.ask("i-more.csv", 28, 50)
	at := now.Add(-7 * 24 * time.Hour)
	w.answer("alpha", "alpha 1.csv", w.file("alpha", "RECEIVED", len(w.uids), at), w.card(0, "REJECTED", "E07", at.Add(time.Hour)),
		w.card(1, "PRODUCED", "", at), w.card(2, "SHIPPED", "", at), w.card(3, "SHIPPED", "", at))
	w.nightAt(now.Add(-6 * 24 * time.Hour))

	w.ask("j-more.csv", 50, 56)
	at = now.Add(-3 * 24 * time.Hour)
	w.answer("alpha", "alpha 2.csv", w.card(1, "DELIVERED", "", at), w.card(2, "RETURNED", "R01", at), w.card(3, "LOST", "", at),
		w.card(1, "REJECTED", "E07", at.Add(time.Hour)), strings.Replace(w.card(4, "SHIPPED", "", at), w.uids[4], "ZZZZZZZZZZZZZZZZZZZZ", 1))
	w.answer("alpha", "alpha 3.csv", strings.ReplaceAll(w.card(4, "SHIPPED", "", at), "alpha", "nobody"))
	w.answer("beta", "beta 1.csv", w.file("beta", "REFUSED", -1, at))
	w.nightAt(now.Add(-2 * 24 * time.Hour))

	w.do(exitComplete, "cancel", filepath.Base(w.glob("outbox/beta/*")[0]), "--reason", "they cannot read it")
	w.answer("alpha", "alpha 4.csv", w.card(4, "PRODUCED", "", now.Add(-time.Hour)))
	w.last = w.night(exitPerson)
	return w
}

// nightAt works a night as if it were then.
func (w *someNights) nightAt(then time.Time) {
	w.tb.Helper()
	n, err := batch.Open(context.Background(), w.Dir, batch.Options{Lock: true, Log: zerolog.Nop(), Now: func() time.Time { return then },
		Sleep: func(context.Context, time.Duration) error { return nil }})
	if err != nil {
		w.tb.Fatal(err)
	}
	defer n.Close()
	if _, err := n.Run(context.Background()); err != nil {
		w.tb.Fatal(err)
	}
}

// ask drops a request file for some of the cards.
func (w *someNights) ask(name string, from, to int) {
	w.tb.Helper()
	rows := []string{"card_id,customer_id,reason_code"}
	for _, c := range w.cards[from:to] {
		rows = append(rows, c.id+","+c.customer+",damaged")
	}
	w.write("inbox/"+name, lines(rows...))
}

// outstanding are the uids that wait for a bureau's answer, as the newest report lists them.
func (w *workspace) outstanding(bureau string) (uids []string) {
	w.tb.Helper()
	lists := w.glob("reports/*/outstanding.csv")
	for _, row := range table(w.tb, w.read(lists[len(lists)-1])) {
		if row["bureau"] == bureau {
			uids = append(uids, row["uid"])
		}
	}
	return uids
}

// returnFile is one in our own shape: lines with their trailer.
func returnFile(told ...string) []byte {
	head := "record_type,file_name,sequence,uid,status,count,code,description,carrier,tracking_number,occurred_at"
	return lines(append(append([]string{head}, told...), fmt.Sprintf("TRAILER,,,,,%d,,,,,", len(told)))...)
}

// answer puts a return file into a simulated bureau's folder.
func (w *workspace) answer(bureau, name string, told ...string) {
	w.tb.Helper()
	w.write("simulator/"+bureau+"/returns/"+name, returnFile(told...))
}

// card is a line on one of alpha's cards, file one on a bureau's first file.
func (w *someNights) card(i int, status, code string, at time.Time) string {
	return cardLine(filepath.Base(w.glob("outbox/alpha/*")[0]), w.uids[i], status, code, at)
}

func (w *someNights) file(bureau, status string, count int, at time.Time) string {
	return fileLine(filepath.Base(w.glob("outbox/" + bureau + "/*")[0]), status, count, at)
}

func cardLine(file, uid, status, code string, at time.Time) string {
	return fmt.Sprintf("CARD,%s,,%s,%s,,%s,,,,%s", file, uid, status, code, at.UTC().Format(time.RFC3339))
}

// fileLine has no count where it is negative.
func fileLine(file, status string, count int, at time.Time) string {
	counted := fmt.Sprint(count)
	if count < 0 {
		counted = ""
	}
	return fmt.Sprintf("FILE,%s,,,%s,%s,,,,,%s", file, status, counted, at.UTC().Format(time.RFC3339))
}

func TestTryX(t *testing.T) {
	w := nightsWithAnswers(t)
	pipe(t, nil, "rm", "-rf", "/tmp/authorR/n")
	pipe(t, nil, "cp", "-r", w.Dir, "/tmp/authorR/n")
	b := startBrowser(t)
	p := b.open(t, w.Path("reports", w.last.RunID, "reconciliation.html"), desk)
	t.Log(p.asked(), p.complained())
	t.Log(len(p.printed()))
	for _, n := range w.last.NeedsPerson { t.Log(n.What, n.Why) }
}
