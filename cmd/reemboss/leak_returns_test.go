package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"reemboss/batch"
	"reemboss/batch/ledger"
)

// carelessBureau is a workspace of three cards with alpha and one with beta, whose return files, not collected yet, hold
// card numbers wherever a bureau could put them: in every column, in lines that can be used and in lines that cannot, in
// files that are taken, quarantined, left and sealed, and in the name of one. It gives their paths too: what a bureau
// keeps in clear is the bureau's.
func carelessBureau(t *testing.T, tell func(*workspace)) (w *workspace, s *secrets, theirs []string) {
	t.Helper()
	w = newWorkspace(t)
	if tell != nil {
		tell(w)
	}
	extract, cards := sampleCards(t, 90)
	s = newSecrets()
	for _, c := range cards {
		s.pan(c.pan, "the number of card "+c.id)
	}
	const stranger = "5555550000990012" // of our ranges, and nobody's
	s.pan(stranger, "a number that we do not know")
	w.write("inbox/cards/cards.csv", extract)
	w.write("inbox/a.csv", lines("card_id,user_id,reason_code", cards[0].id+","+cards[0].customer+",lost", cards[2].id+","+cards[2].customer+",damaged",
		cards[3].id+","+cards[3].customer+",damaged", cards[1].id+","+cards[1].customer+",damaged"))
	w.night(exitComplete)
	w.secretsOfTheNight(s)

	pan := func(i int) string { return cards[i].pan }
	at := time.Now()
	issued := w.cardSystem()[0]["pan"] // which no extract ever told us
	line := func(card int, status, rest string) string { return w.told(cards[card], status, rest, at) }
	column := func(text string, columns ...int) string { // the line with a card number in these columns
		cells := strings.Split(text, ",")
		for _, c := range columns {
			cells[c] = pan(20 + c)
		}
		return strings.Join(cells, ",")
	}
	shipped := line(2, "SHIPPED", "")
	w.answer("alpha", "a-texts.csv",
		line(0, "REJECTED", "7,card "+issued+" is none of ours,,"),
		line(2, "PRODUCED", pan(2)+","+spaced(pan(4))+" and "+pan(5)+","+pan(6)+","+pan(7)),
		line(3, "SHIPPED", "E07,name = "+stranger+",DHL,"+spaced(pan(8))),
		line(3, "DELIVERED", ",track ;"+pan(3)+"=29062010000012345678?,,"))
	w.answer("alpha", "b-columns.csv", column(shipped, 0), column(shipped, 1), column(shipped, 2), column(shipped, 3), column(shipped, 4), column(shipped, 5), column(shipped, 10), // bad lines, and a file that is none
		pan(31), strings.Repeat(pan(32)+",", 12))
	w.answer("alpha", "c-bad-lines.csv", column(shipped, 0), column(shipped, 3), column(shipped, 4), column(shipped, 5), column(shipped, 10), pan(31), strings.Repeat(pan(32)+",", 12), `"`+pan(33)+`,x`, shipped)
	w.answer("alpha", "d-"+pan(34)+".csv", line(2, "DELIVERED", ""), line(2, "REJECTED", pan(35)+","+pan(36)+",,"))
	w.write("simulator/alpha/returns/e-cut.csv", bytes.Replace(returnFile(line(2, "SHIPPED", pan(37)+",,,")), []byte("TRAILER,,,,,1"), []byte("TRAILER,,,,,7"), 1))
	w.write("simulator/alpha/returns/f-unfinished.csv", returnFile(line(2, "SHIPPED", pan(38)+",,,"))[:200])
	w.write("simulator/alpha/returns/g-shape.csv", lines(pan(39)+",second", "x,"+pan(40), "TRAILER,1"))
	w.write("simulator/alpha/returns/h-utf16.csv", utf16File(string(returnFile(line(2, "LOST", pan(41)+","+pan(42)+",,")))))
	w.write("simulator/alpha/returns/i-sealed.csv.pgp", w.sealExtract(returnFile(line(2, "LOST", pan(43)+",,,"))))
	w.answer("beta", "refused.csv", strings.Replace(w.fileTold("beta", 1, "REFUSED", at), ",,,,", fmt.Sprintf(",%s,see %s,,", pan(44), spaced(pan(45))), 1))
	return w, s, slices.Collect(maps.Keys(w.files("simulator/alpha/returns", "simulator/beta/returns")))
}

// leaksButFor searches a copy of the workspace without the files that are the bureaus' own.
func (s *secrets) leaksButFor(t *testing.T, w *workspace, theirs []string, said ...[]byte) []string {
	t.Helper()
	ours := w.copyOf(t)
	for _, path := range theirs {
		if len(ours.glob(path)) > 0 {
			ours.remove(path)
		}
	}
	return s.leaks(ours, said...)
}

// After a night that collected return files with card numbers wherever a bureau could put them, none is in clear on our
// disk, in anything that a process said, in a mail, in what a web server was sent, or in the metrics.
func TestInvariant5_NothingClearAnywhereAfterReturns(t *testing.T) {
	var e *everybody
	w, s, theirs := carelessBureau(t, func(w *workspace) { e = listening(t, w) })
	w.program = withoutRaceDetector(t)
	temporary := t.TempDir()
	var said [][]byte
	say := func(args ...string) ended {
		t.Helper()
		r := w.start([]string{"TMPDIR=" + temporary}, append([]string{"--dir", w.Dir, "--log-level", "debug"}, args...)...)
		if r.exit == exitFault {
			t.Fatalf("%v: exit %d\n%s", args[0], r.exit, maskedText(string(r.stderr)))
		}
		said = append(said, r.stdout, r.stderr)
		return r
	}
	w.reembossFile("b.csv", w.cardsAgain()...)
	say("run", "--json")
	night := lastReport(t, w.Dir)
	balanced(t, night)
	states := map[ledger.ReturnState]int{}
	for _, f := range night.Returns {
		states[f.State]++
	}
	if states[ledger.ReturnApplied] < 5 || states[ledger.ReturnQuarantined] < 3 || len(night.NeedsPerson) < 6 {
		t.Errorf("return files %v, needs %d: the night did not see what was prepared", states, len(night.NeedsPerson))
	}
	for _, id := range []int{0, 1, 2, 3} {
		say("card", fmt.Sprint(batch.FirstCard+id))
		say("card", fmt.Sprint(batch.FirstCard+id), "--json")
	}
	say("status")
	say("status", "--json")
	say("report", night.RunID, "--json")
	refused := bureauFile(t, night, "beta", 1)
	say("cancel", refused.Name, "--reason", "it is refused", "--json")
	say("resend", refused.Name, "--reason", "it is cancelled")
	for _, f := range night.Returns {
		if f.State == ledger.ReturnQuarantined {
			say("settle", f.Name, "--read-again", "--reason", "once more")
		}
	}
	say("settle", fmt.Sprint(w.disputed(batch.FirstCard+2)), "--take", "--reason", "they are right")
	say("bureau", "simulate", "--once")
	say("run")
	say("run", "--json")
	for _, f := range lastReport(t, w.Dir).NeedsPerson {
		if name, quarantined := strings.CutPrefix(f.Command, "reemboss settle "); quarantined {
			name, _, _ = strings.Cut(name, " ")
			say("settle", name, "--dismiss", "--reason", "never mind")
		}
	}
	say("run")

	_, web, mails := e.heard()
	if len(web["/events"]) == 0 || len(web["/needed"]) == 0 || len(mails) != 2 {
		t.Errorf("nobody was told: %d batches, %d sentences, mails to %d", len(web["/events"]), len(web["/needed"]), len(mails))
	}
	for _, path := range slices.Sorted(maps.Keys(web)) {
		for _, a := range web[path] {
			said = append(said, a.body, []byte(fmt.Sprint(a.path, a.header)))
		}
	}
	for _, letters := range mails {
		for _, l := range letters {
			m := opened(t, l.text)
			said = append(said, l.text, []byte(m.subject+"\n"+m.text+"\n"+m.html), []byte(m.attached["reconciliation.html"]))
		}
	}
	w.secretsOfTheNight(s)
	w.read("state", "reemboss.prom") // it is among the files that are searched
	if len(w.glob("simulator/alpha/life/*")) == 0 {
		t.Error("the simulated bureau keeps no life to be searched")
	}
	for _, place := range s.leaksButFor(t, w, theirs, said...) {
		t.Error(place)
	}
	if left := len(dirEntries(t, temporary)); left > 0 {
		t.Errorf("%d files are left in the temporary folder", left)
	}
	hits := 0
	for _, path := range theirs { // the search finds what is there
		s.search(path, w.read(path), func(string, string) { hits++ })
	}
	if hits < 40 {
		t.Errorf("the search finds only %d of the numbers that the bureaus wrote", hits)
	}
}

// cardsAgain are cards that were told of, for another request.
func (w *workspace) cardsAgain() []plastic {
	w.tb.Helper()
	_, cards := sampleCards(w.tb, 90)
	return []plastic{cards[2], cards[3], cards[5]}
}

// Killed while it collects them, the same holds: nothing of a return file lies on our disk in clear before it was looked at.
func TestInvariant5_NothingClearAnywhereAfterACollectThatWasKilled(t *testing.T) {
	prepared, s, theirs := carelessBureau(t, nil)
	prepared.program = withoutRaceDetector(t)
	for _, point := range []string{"collect/fetched", "collect/fetched#3", "collect/held#2", "collect/chunk", "collect/placed", "collect/placed#3", "collect/done#4", "reconcile/reports", "reconcile/finish"} {
		t.Run(strings.NewReplacer("/", ":", "#", ":").Replace(point), func(t *testing.T) {
			t.Parallel()
			w := prepared.copyOf(t)
			killed := w.killed(point)
			for _, place := range s.leaksButFor(t, w, theirs, killed.stdout, killed.stderr) {
				t.Error("after the kill: " + place)
			}
			r := w.start(nil, "--dir", w.Dir, "--log-level", "debug", "run")
			if r.exit != exitPerson {
				t.Fatalf("started again: exit %d\n%s", r.exit, maskedText(string(r.stderr)))
			}
			for _, place := range s.leaksButFor(t, w, theirs, r.stdout, r.stderr) {
				t.Error("after the night: " + place)
			}
		})
	}
}
