package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"reemboss/batch"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/formats/layout"
	"reemboss/testdata/proof"
)

// Backups are made at every point of a night, and after it; the nights that follow are lost with the ledger. Whatever
// is put back, the bureaus' side of everything that was ever delivered says that nothing was given or made twice.

// A night is recorded point by point. At each point another process could make a backup; the night goes on to its end and is lost.
// Restored, with a person who asks the bureaus and tells the truth, everything that was accepted is delivered once.
func TestABackupAtEveryPointOfANight(t *testing.T) {
	prepared, _ := killNight(t)
	quiet := prepared.copyOf(t)
	var points []string
	counted := map[string]int{}
	quiet.nightWith(time.Now(), func(name string) {
		counted[name]++
		points = append(points, pointName(name, counted[name]))
	})
	want := int64(len(quiet.delivered()))
	tried := 0
	for _, point := range proof.Chosen(points) {
		tried++
		t.Run(strings.ReplaceAll(point, "/", ":"), func(t *testing.T) {
			w := prepared.copyOf(t)
			at := time.Now()
			backup := filepath.Join(t.TempDir(), "backup")
			passed := map[string]int{}
			w.nightWith(at, func(name string) {
				if passed[name]++; pointName(name, passed[name]) == point {
					if _, err := batch.Backup(context.Background(), w.Dir, backup, batch.Options{Log: zerolog.Nop()}); err != nil {
						t.Fatalf("backup at %s: %v", point, err)
					}
				}
			})
			w.restore(backup, at.Add(time.Minute))
			w.asksTheBureaus(at.Add(2 * time.Minute))
			w.nightWith(at.Add(3*time.Minute), nil)
			w.asksTheBureaus(at.Add(4 * time.Minute)) // what became of a plan that was to be written
			w.nightWith(at.Add(5*time.Minute), nil)
			cards := w.nothingTwice()
			if int64(len(cards)) != want {
				t.Errorf("%d cards were delivered, an undisturbed night delivers %d", len(cards), want)
			}
			w.inside(func(n *batch.Night) {
				if _, err := n.VerifyAudit(context.Background()); err != nil {
					t.Error(err)
				}
			})
		})
	}
	t.Logf("%d of %d points", tried, len(points))
	proof.Tell(t, "backups", tried, 0)
}

// Several nights, a backup in one of them or after it, lost nights, a restore, nights on: from a seed.
func TestNothingIsGivenTwiceOverARestore(t *testing.T) {
	seeds := max(2, proof.Share(40))
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { restoredNights(t, uint64(seed)) })
	}
	proof.Tell(t, "backups", seeds, 0)
}

func restoredNights(t *testing.T, seed uint64) {
	w := newWorkspace(t)
	w.configureBureau("alpha", "max_records: 0", "max_records: 3")
	dice := rand.New(rand.NewPCG(seed, 11))
	extract, cards := sampleCards(t, 12)
	w.write("inbox/cards/cards.csv", extract)
	at := time.Now()
	number, runs := 0, map[string]int{}
	night := func(checkpoint func(string)) *batch.Result {
		number++
		rows := []string{"card_id,user_id,reason_code"}
		for _, i := range dice.Perm(len(cards))[:5] {
			rows = append(rows, fmt.Sprintf("%s,%s,%d", cards[i].id, cards[i].customer, []int{1, 1, 2, 3}[dice.IntN(4)]))
		}
		w.write(fmt.Sprintf("inbox/night-%02d.csv", number), lines(rows...))
		r := w.nightWith(at, checkpoint)
		if runs[r.RunID]++; runs[r.RunID] > 1 {
			t.Errorf("night %d: the run id %s was given twice", number, r.RunID)
		}
		if dice.IntN(3) > 0 { // else the next night is of the same date
			at = at.AddDate(0, 0, 15) // what was sent is in the mail no more
		}
		return r
	}
	for range 1 + dice.IntN(2) {
		night(nil)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	back := func() {
		if _, err := batch.Backup(context.Background(), w.Dir, backup, batch.Options{Log: zerolog.Nop()}); err != nil {
			t.Fatal(err)
		}
	}
	if dice.IntN(3) == 0 {
		back()
	} else {
		left := 1 + dice.IntN(40)
		night(func(string) {
			if left--; left == 0 {
				back()
			}
		})
		if left > 0 {
			back()
		}
	}
	lost := 1 + dice.IntN(3)
	for range lost {
		night(nil)
	}
	if dice.IntN(2) == 0 { // the whole disk is lost but for what was delivered
		for _, path := range w.glob("state/*") {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.restore(backup, at)
	w.asksTheBureaus(at)
	first := night(nil)
	if strangers := w.unknownSealed(); len(strangers) > 0 {
		needs(t, first.Reconciliation, "not in the ledger", filepath.Base(strangers[0]))
	}
	for range 3 {
		w.asksTheBureaus(at)
		at = at.AddDate(0, 0, 15)
		night(nil)
	}
	plastics := map[string]string{}
	for _, m := range w.nothingTwice() { // all of them reissues
		plastic := m.Record[layout.PAN] + "/" + m.Record[layout.PSN]
		if other := plastics[plastic]; other != "" {
			t.Errorf("seed %d: %s and %s have a card with the same number and PSN", seed, other, m.file)
		}
		plastics[plastic] = m.file
	}
	ids := map[string]string{}
	for name, rows := range w.results() {
		for _, row := range rows {
			id := row["new_card_reference_id"]
			if row["outcome"] != "accepted" || id == "" || id == row["card_id"] {
				continue
			}
			if other := ids[id]; other != "" {
				t.Errorf("seed %d: the card id %s was given in %s and in %s", seed, id, other, name)
			}
			ids[id] = name
		}
	}
	if len(ids) == 0 || len(plastics) < 10 {
		t.Errorf("seed %d: %d new cards and %d plastics: the nights did nothing", seed, len(ids), len(plastics))
	}
}

// nightWith runs the job in this process.
func (w *workspace) nightWith(at time.Time, checkpoint func(string)) *batch.Result {
	w.tb.Helper()
	n, err := batch.Open(context.Background(), w.Dir, batch.Options{Lock: true, Log: zerolog.Nop(), Now: func() time.Time { return at }, Checkpoint: checkpoint})
	if err != nil {
		w.tb.Fatal(err)
	}
	defer n.Close()
	r, err := n.Run(context.Background())
	if err != nil {
		w.tb.Fatal(err)
	}
	return r
}

// restore puts a backup back, as the one who asks for it was told to.
func (w *workspace) restore(backup string, at time.Time) *batch.RestoreTold {
	w.tb.Helper()
	sequences, cards, psns, runs := int64(20), int64(50), int64(5), int64(10)
	told, err := batch.Restore(context.Background(), w.Dir, batch.Options{Log: zerolog.Nop(), Now: func() time.Time { return at }},
		batch.RestoreRequest{File: backup, Sequences: &sequences, Cards: &cards, PSNs: &psns, Runs: &runs, Reason: "the disk broke"})
	if err != nil {
		w.tb.Fatal(err)
	}
	return told
}

// asksTheBureaus settles what a restore left open, by what the bureaus have.
func (w *workspace) asksTheBureaus(at time.Time) {
	w.tb.Helper()
	made := map[string]bool{}
	for _, m := range w.delivered() {
		made[m.Record[layout.UID]] = true
	}
	ctx := context.Background()
	n, err := batch.Open(ctx, w.Dir, batch.Options{Lock: true, Log: zerolog.Nop(), Now: func() time.Time { return at }})
	if err != nil {
		w.tb.Fatal(err)
	}
	defer n.Close()
	files, err := n.Ledger.BureauFiles(ctx, ledger.FileQuery{States: []ledger.BureauFileState{ledger.Undecided}})
	if err != nil {
		w.tb.Fatal(err)
	}
	for _, f := range files {
		there := w.Path("simulator", f.Recipient, "incoming", f.Name)
		if f.Recipient == "card-system" {
			there = filepath.Join(w.Outbox(f.Recipient), f.Name)
		}
		if _, err := os.Stat(there); err == nil {
			_, err = n.ResolveDelivered(ctx, f.Name, "it has the file")
			if err != nil {
				w.tb.Fatalf("%s: %v", f.Name, err)
			}
		} else if _, err := n.ResolveResend(ctx, f.Name, "it does not have the file"); err != nil {
			w.tb.Fatalf("%s: %v", f.Name, err)
		}
	}
	holds, err := n.Ledger.Holds(ctx, ledger.HoldQuery{Open: true})
	if err != nil {
		w.tb.Fatal(err)
	}
	for _, h := range holds {
		var uids []string
		if err := n.Ledger.EachHoldOrder(ctx, h.ID, func(o *ledger.Order) error { uids = append(uids, o.UID); return nil }); err != nil {
			w.tb.Fatal(err)
		}
		there := slices.IndexFunc(uids, func(uid string) bool { return made[uid] }) >= 0
		if missing := slices.IndexFunc(uids, func(uid string) bool { return !made[uid] }) >= 0; there && missing {
			w.tb.Fatalf("%s: the bureau has some of its cards", h.Name)
		}
		if there {
			_, err = n.ResolveHold(ctx, h.Name, "the bureau has them")
		} else {
			_, err = n.Approve(ctx, h.Name, "the bureau does not have them")
		}
		if err != nil {
			w.tb.Fatalf("%s: %v", h.Name, err)
		}
	}
}

// unknownSealed are the files of the outboxes that the ledger does not know.
func (w *workspace) unknownSealed() (list []string) {
	w.tb.Helper()
	w.inside(func(n *batch.Night) {
		for _, path := range w.glob("outbox/*/*.pgp") {
			if _, err := n.Ledger.FileByName(context.Background(), filepath.Base(path)); err != nil {
				list = append(list, path)
			}
		}
	})
	return list
}

// nothingTwice looks at everything that the bureaus ever got: each order once, and once only what any result says was
// accepted; each number of a bureau is one file.
func (w *workspace) nothingTwice() []made {
	w.tb.Helper()
	cards := w.delivered()
	seen, numbers := map[string]string{}, map[string]string{}
	for _, m := range cards {
		uid := m.Record[layout.UID]
		if other := seen[uid]; other != "" {
			w.tb.Errorf("order %s is in %s and in %s", uid, other, m.file)
		}
		seen[uid] = m.file
		number := fmt.Sprint(m.bureau, " ", m.sequence)
		if other := numbers[number]; other != "" && other != m.file {
			w.tb.Errorf("number %s is %s and %s", number, other, m.file)
		}
		numbers[number] = m.file
	}
	for name, rows := range w.results() {
		for _, row := range rows {
			if row["outcome"] == "accepted" && seen[row["uid"]] == "" {
				w.tb.Errorf("%s says that order %s was accepted, and no bureau has it", name, row["uid"])
			}
		}
	}
	return cards
}

// A ledger from before a night, put into the place of the newest one by hand, is noticed by every command that changes
// something, whatever that night did; also when only the newest transactions are lost, or the ledger lies there without its marks.
func TestAnOlderLedgerIsNoticedWhateverTheNightDid(t *testing.T) {
	for name, request := range map[string]string{
		"a new number":      "card_id,user_id,reason_code\n%s,%s,lost\n",
		"the same number":   "card_id,user_id,reason_code\n%s,%s,damaged\n",
		"a refused row":     "card_id,user_id,reason_code\n%s,C0%s,damaged\n",
		"nothing but a run": "",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			cards := w.smallNight()
			w.night(exitComplete)
			older := w.ledgerFiles()
			if request != "" {
				w.write("inbox/b.csv", []byte(fmt.Sprintf(request, cards[7].id, cards[7].customer)))
			}
			if r := w.start(nil, "--dir", w.Dir, "run"); r.exit != exitComplete {
				t.Fatalf("exit %d: %s", r.exit, r.stderr)
			}
			newest := w.ledgerFiles()
			w.putLedger(older)
			for _, args := range [][]string{{"run"}, {"cards", "import", "x.csv"}, {"backup", filepath.Join(t.TempDir(), "b")}, {"report", time.Now().UTC().Format(time.DateOnly) + "-001"}, {"approve", "x"}, {"keys", "rotate", "sealing"}} {
				r := w.do(exitPerson, args...)
				if !strings.Contains(string(r.stderr), "older than what has already left the house") || !strings.Contains(string(r.stderr), "reemboss restore") {
					t.Errorf("%s: %s", args, r.stderr)
				}
			}
			w.putLedger(newest)
			w.do(exitComplete, "run")
			marks := w.read("state/marks.json")
			w.remove("state/marks.json")
			if r := w.do(exitPerson, "run"); !strings.Contains(string(r.stderr), "marks.json is not there") {
				t.Error(string(r.stderr))
			}
			for _, damaged := range []string{"", string(marks[:len(marks)/2])} {
				w.write("state/marks.json", []byte(damaged))
				if r := w.do(exitPerson, "run"); !strings.Contains(string(r.stderr), "do not delete them") {
					t.Error(string(r.stderr))
				}
			}
			w.write("state/marks.json", marks)
			w.do(exitComplete, "run")
		})
	}
}

// Killed, a run leaves its newest transactions in the WAL. Who loses that file alone has an older ledger.
func TestALedgerWithoutItsWALIsNoticed(t *testing.T) {
	for _, point := range []string{"stage/intake", "stage/send", "sent/INTENT", "sent/SENT", "reconcile/signed"} {
		t.Run(strings.ReplaceAll(point, "/", ":"), func(t *testing.T) {
			w := newWorkspace(t)
			w.smallNight()
			w.night(exitComplete)
			w.reembossFile("b.csv", plastic{id: "900"})
			_, cards := sampleCards(t, 40)
			w.reembossFile("c.csv", cards[9:12]...)
			w.killed(point)
			if info, err := os.Stat(w.LedgerFile() + "-wal"); err != nil || info.Size() == 0 {
				t.Fatalf("the killed run left no WAL: %v", err)
			}
			w.remove("state/ledger.sqlite-wal")
			_ = os.Remove(w.LedgerFile() + "-shm")
			if r := w.do(exitPerson, "run"); !strings.Contains(string(r.stderr), "older than what has already left the house") {
				t.Error(string(r.stderr))
			}
		})
	}
}

// ledgerFiles are the ledger's file and what belongs to it.
func (w *workspace) ledgerFiles() map[string][]byte {
	files := map[string][]byte{}
	for _, path := range w.glob("state/ledger.sqlite*") {
		files[filepath.Base(path)] = w.read(path)
	}
	return files
}

func (w *workspace) putLedger(files map[string][]byte) {
	for _, path := range w.glob("state/ledger.sqlite*") {
		w.remove(path)
	}
	for name, content := range files {
		w.write("state/"+name, content)
	}
}

// Killed at every point, a restore leaves the old ledger or the new one, and both can be worked with: the old one goes
// on, the new one is restored whole; the restore can be given again either way.
func TestARestoreKilledAtEveryPoint(t *testing.T) {
	prepared := newWorkspace(t)
	prepared.program = withoutRaceDetector(t)
	prepared.smallNight()
	prepared.night(exitComplete)
	prepared.do(exitComplete, "backup", prepared.Path("b"))
	_, cards := sampleCards(t, 40)
	prepared.reembossFile("b.csv", cards[9:12]...)
	prepared.killed("stage/send") // what is lost has its newest transactions in the WAL
	args := func(w *workspace) []string {
		return []string{"restore", w.Path("b"), "--skip-sequences", "3", "--skip-cards", "3", "--skip-psns", "3", "--skip-runs", "3", "--reason", "the disk broke"}
	}
	list := filepath.Join(t.TempDir(), "points")
	quiet := prepared.copyOf(t)
	if r := quiet.start([]string{"REEMBOSS_POINTS=" + list}, append([]string{"--dir", quiet.Dir}, args(quiet)...)...); r.exit != exitComplete {
		t.Fatalf("exit %d: %s", r.exit, r.stderr)
	}
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	points := strings.Fields(string(text))
	if len(points) < 9 {
		t.Fatalf("points: %q", points)
	}
	for i, point := range points {
		t.Run(strings.ReplaceAll(point, "/", ":"), func(t *testing.T) {
			w := prepared.copyOf(t)
			if r := w.start([]string{"REEMBOSS_KILL_AT=" + point}, append([]string{"--dir", w.Dir}, args(w)...)...); !r.killed {
				t.Fatalf("not killed: exit %d: %s", r.exit, r.stderr)
			}
			restored := i >= slices.Index(points, "restore/renamed")
			w.do(exitComplete, "status")
			if i%2 == 0 { // again, after a look
				if r := w.start(nil, append([]string{"--dir", w.Dir}, args(w)...)...); r.exit != exitComplete {
					t.Fatalf("again: exit %d: %s", r.exit, r.stderr)
				}
				restored = true
			}
			r := w.start(nil, "--dir", w.Dir, "run", "--json")
			if want := map[bool]int{true: exitPerson, false: exitComplete}[restored]; r.exit != want {
				t.Fatalf("run: exit %d, want %d: %s", r.exit, want, r.stderr)
			}
			var result report.Reconciliation
			if err := json.Unmarshal([]byte(r.stdout), &result); err != nil {
				t.Fatal(err)
			}
			if restored {
				needs(t, &result, "outbox/", "not in the ledger")
			}
			w.do(exitComplete, "audit", "verify")
			w.nothingTwice()
			w.do(map[bool]int{true: exitPerson, false: exitComplete}[restored], "run")
		})
	}
}
