package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"reemboss/batch"
	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/bureau"
	"reemboss/formats/layout"
)

// What must hold after any fault, each over whole nights of the program. The fifth, no clear card data anywhere, is in
// leak_test.go; all of them after a kill at every point are in kill_test.go.

// reembossFile drops a request for some cards into the inbox.
func (w *workspace) reembossFile(name string, cards ...plastic) {
	w.tb.Helper()
	rows := []string{"card_id,reference"}
	for _, c := range cards {
		rows = append(rows, c.id+","+name+"/"+c.id)
	}
	w.write("inbox/"+name, lines(rows...))
}

// smallNight puts forty cards into the inbox and asks for six of them: two of beta, four of alpha.
func (w *workspace) smallNight() []plastic {
	w.tb.Helper()
	extract, cards := sampleCards(w.tb, 40)
	w.write("inbox/cards/cards.csv", extract)
	w.reembossFile("a.csv", cards[:6]...)
	return cards
}

// bureauFile finds an outgoing file of a report.
func bureauFile(tb testing.TB, r *report.Reconciliation, bureauName string, sequence int64) report.BureauFile {
	tb.Helper()
	for _, f := range append(slices.Clone(r.Files), r.CardSystemFiles...) {
		if f.Bureau == bureauName && f.Sequence == sequence {
			return f
		}
	}
	tb.Fatalf("the report has no file number %d of %s", sequence, bureauName)
	return report.BureauFile{}
}

// needs says that the report asks a person for something that has both texts in it.
func needs(tb testing.TB, r *report.Reconciliation, texts ...string) {
	tb.Helper()
	for _, n := range r.NeedsPerson {
		if all := n.What + " " + n.Why + " " + n.Command; !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(all, s) }) {
			return
		}
	}
	tb.Errorf("nobody is told of %q: %+v", texts, r.NeedsPerson)
}

func balanced(tb testing.TB, r *report.Reconciliation) {
	tb.Helper()
	if r.Read != r.Accepted+r.Refused+r.Duplicate+r.Held || r.Accepted != r.Written+r.Waiting {
		tb.Errorf("not balanced: read %d accepted %d refused %d duplicate %d held %d; written %d waiting %d", r.Read, r.Accepted, r.Refused, r.Duplicate, r.Held, r.Written, r.Waiting)
	}
	for _, b := range r.Balances {
		if !b.Holds {
			tb.Errorf("balance %s does not hold", b.Name)
		}
	}
	for _, f := range r.Files {
		if f.Sent != f.Acknowledged+f.Rejected+f.Outstanding {
			tb.Errorf("%s: sent %d, acknowledged %d, rejected %d, outstanding %d", f.Name, f.Sent, f.Acknowledged, f.Rejected, f.Outstanding)
		}
	}
}

// Rows of every kind, a bureau on hold: each row has one outcome, what waits is counted and named, and a later run that
// finds the hold gone writes it.
func TestInvariant1_EveryRowHasOneOutcome(t *testing.T) {
	w := newWorkspace(t)
	w.configureBureau("alpha", "hold: false", "hold: true")
	_, requests := w.realisticNight()
	held := w.night(exitPerson)
	balanced(t, held)
	if held.Waiting == 0 || held.Written == 0 {
		t.Fatalf("written %d, waiting %d: both were to be there", held.Written, held.Waiting)
	}
	needs(t, held, "alpha", "on hold")
	if sent := w.glob("simulator/alpha/incoming/*"); len(sent) > 0 {
		t.Errorf("alpha is on hold and got %q", sent)
	}
	answers := w.everyRowHasOneAnswer(held)
	w.requestsAreWhole(requests)

	still := w.night(exitPerson)
	balanced(t, still)
	if still.Read != 0 || still.CarriedOver.Waiting != held.Waiting || still.CarriedOver.Written != 0 {
		t.Errorf("still on hold: read %d, carried over %+v, want %d waiting", still.Read, still.CarriedOver, held.Waiting)
	}

	w.configureBureau("alpha", "hold: true", "hold: false")
	released := w.night(exitComplete)
	balanced(t, released)
	if released.Read != 0 || released.CarriedOver.Written != held.Waiting || released.CarriedOver.Waiting != 0 {
		t.Errorf("released: read %d, carried over %+v, want %d written", released.Read, released.CarriedOver, held.Waiting)
	}
	// The results of the first night could not name the file yet.
	seen := map[string]int{}
	for _, m := range w.delivered() {
		seen[m.Record[layout.UID]]++
	}
	for uid := range answers {
		if seen[uid] != 1 {
			t.Errorf("order %s is in %d delivered files", uid, seen[uid])
		}
	}
	if len(seen) != len(answers) {
		t.Errorf("%d orders were delivered and %d accepted", len(seen), len(answers))
	}
	w.nothingMore()
}

// The same cards asked for again and again, while their orders wait, while they are written and while they are on their way.
func TestInvariant2_NoOrderInTwoFilesNoCardWithTwoOpenOrders(t *testing.T) {
	w := newWorkspace(t)
	w.configureBureau("alpha", "hold: false", "hold: true")
	cards := w.smallNight()
	w.night(exitPerson)
	w.reembossFile("b.csv", cards[:6]...)
	waiting := w.night(exitPerson)
	if waiting.Accepted != 0 {
		t.Errorf("%d second orders were accepted for cards whose first one is open or on its way", waiting.Accepted)
	}
	for i, row := range w.results()["b.csv"] {
		want := "already_requested"
		if i%3 == 1 { // beta is not on hold: these are with the bureau
			want = "card_in_transit"
		}
		if row["code"] != want {
			t.Errorf("card %s: %s, want %s", row["card_id"], row["code"], want)
		}
	}
	w.configureBureau("alpha", "hold: true", "hold: false")
	w.killed("sent/RENAMING")
	w.reembossFile("c.csv", cards[:7]...)
	if r := w.night(exitComplete); r.Accepted != 1 {
		t.Errorf("accepted %d, want the one card that nobody asked for before", r.Accepted)
	}
	uids, ids := map[string]string{}, map[string]string{}
	for _, m := range w.delivered() {
		uid, card := m.Record[layout.UID], m.Record[layout.PAN]
		if other := uids[uid] + ids[card]; other != "" {
			t.Errorf("order %s of %s: the order or its card is in %s too", uid, m.file, other)
		}
		uids[uid], ids[card] = m.file, m.file
	}
	if len(uids) != 7 {
		t.Errorf("%d cards were delivered, want 7", len(uids))
	}
}

// A stranger's file stands under the name of ours. It stays as it is, ours and the next one wait, a person is told, and
// once the name is free both go out in their order.
func TestInvariant3_FinalNamesAreCompleteAndNeverOverwritten(t *testing.T) {
	w := newWorkspace(t)
	w.configureBureau("alpha", "max_records: 0", "max_records: 3")
	w.smallNight()
	w.killed("stage/send")
	var names []string
	for _, path := range w.glob("outbox/alpha/*") {
		names = append(names, filepath.Base(path))
	}
	if len(names) != 2 {
		t.Fatalf("alpha was to get two files: %q", names)
	}
	taken := "simulator/alpha/incoming/" + names[0]
	w.write(taken, []byte("not ours"))
	r := w.night(exitPerson)
	needs(t, r, names[0], "stands a file")
	needs(t, r, names[1], "waits for "+names[0])
	if got := string(w.read(taken)); got != "not ours" {
		t.Error("the stranger's file was changed")
	}
	if at := w.glob("simulator/alpha/incoming/*"); len(at) != 1 {
		t.Errorf("number 2 overtook number 1: %q", at)
	}
	w.remove(taken)
	r = w.night(exitComplete)
	first, second := bureauFile(t, r, "alpha", 1), bureauFile(t, r, "alpha", 2)
	if first.State != ledger.Sent || second.State != ledger.Sent || second.SentAt.Before(*first.SentAt) {
		t.Errorf("number 1 is %s, number 2 is %s, sent at %v and %v", first.State, second.State, first.SentAt, second.SentAt)
	}
	w.sequencesHaveNoGap(w.delivered())
}

// Every delivered file, opened with the bureau's key, gives the very bytes whose keyed digest the plan committed before the first of them was written.
func TestInvariant4_DeliveredFilesHaveTheDigestOfTheirPlan(t *testing.T) {
	w := newWorkspace(t)
	w.realisticNight()
	w.night(exitPerson)
	w.inside(func(n *batch.Night) {
		kek, err := hsm.LoadSecret(n.Config.Keys.Keyset, n.Dir)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := hsm.OpenKeyset(n.Keyset(), kek)
		if err != nil {
			t.Fatal(err)
		}
		files, err := n.Ledger.BureauFiles(context.Background(), ledger.FileQuery{})
		if err != nil || len(files) != 3 {
			t.Fatalf("%d files: %v", len(files), err)
		}
		for _, f := range files {
			path, key := "simulator/"+f.Recipient+"/incoming/"+f.Name, "bureau.pgp"
			if f.Recipient == "card-system" {
				path, key = "outbox/card-system/"+f.Name, "card-system.pgp"
			}
			digest := keys.NewDigest("file")
			digest.Write(w.openAt(path, "simulator/"+f.Recipient+"/keys/"+key))
			if got := hex.EncodeToString(digest.Sum(nil)); got != f.PlainDigest {
				t.Errorf("%s has the digest %s, its plan %s", f.Name, got, f.PlainDigest)
			}
			if !bytes.Equal(w.read(path), w.read("outbox", f.Recipient, f.Name)) {
				t.Errorf("%s is not the frozen file", f.Name)
			}
		}
	})
}

// Killed, killed again in the recovery and again in the recovery of that, the night ends like any other; run once more it does nothing.
func TestInvariant6_RecoveryKilledAgainEndsTheSame(t *testing.T) {
	w, requests := killNight(t)
	quiet := w.copyOf(t)
	quiet.points()
	for _, point := range []string{"cards/away", "intake/renamed#3", "decide/committed#2", "write/sealed", "write/written", "sent/UPLOADED",
		"sent/RENAMING", "send/SENT", "sent/INTENT", "answer/moved", "answer/sealed", "reconcile/finish"} {
		w.killed(point)
	}
	r := w.night(exitPerson)
	if r.Starts != 13 {
		t.Errorf("the run counts %d starts, want 13", r.Starts)
	}
	w.holds(requests, lastReport(t, quiet.Dir))
	w.nothingMore()
}

// What fails is told, in the exit code and in the report, and what is called sent has evidence and is there.
func TestInvariant7_FailureIsToldAndSuccessHasEvidence(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(w *workspace)
		told  []string
	}{
		"nobody answers": {func(w *workspace) {
			w.configureBureau("alpha", "simulator: true", "simulator: false")
			w.configureBureau("alpha", "host: alpha.simulator", "host: 127.0.0.1")
			w.configureBureau("alpha", "port: 22", "port: 1")
			w.configureBureau("alpha", "attempts: 5", "attempts: 2")
			w.write("keys/known_hosts", bytes.ReplaceAll(w.read("keys/known_hosts"), []byte("alpha.simulator"), []byte("[127.0.0.1]:1")))
		}, []string{"alpha", "INTENT", "does not answer", "reemboss run"}},
		"another host key": {func(w *workspace) {
			swap := strings.NewReplacer("alpha.simulator", "beta.simulator", "beta.simulator", "alpha.simulator")
			w.write("keys/known_hosts", []byte(swap.Replace(string(w.read("keys/known_hosts")))))
		}, []string{"alpha", "host key"}},
		"our login is not known there": {func(w *workspace) {
			stranger, err := bureau.GenerateClientKey(w.Path("stranger"))
			if err != nil {
				w.tb.Fatal(err)
			}
			w.write("simulator/alpha/keys/authorized_keys", ssh.MarshalAuthorizedKey(stranger.PublicKey()))
		}, []string{"alpha", "login"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			w.smallNight()
			c.spoil(w)
			r := w.night(exitPerson)
			balanced(t, r)
			needs(t, r, c.told...)
			if strings.Contains(r.Verdict, "nothing waits") {
				t.Errorf("the verdict: %s", r.Verdict)
			}
			w.whatIsSentHasEvidence()
		})
	}
	t.Run("a quiet night", func(t *testing.T) {
		w := newWorkspace(t)
		w.smallNight()
		w.night(exitComplete)
		w.whatIsSentHasEvidence()
	})
}

// whatIsSentHasEvidence: SENT, the evidence in the ledger and the file at the bureau go together or not at all.
func (w *workspace) whatIsSentHasEvidence() {
	w.tb.Helper()
	w.inside(func(n *batch.Night) {
		files, err := n.Ledger.BureauFiles(context.Background(), ledger.FileQuery{})
		if err != nil {
			w.tb.Fatal(err)
		}
		for _, f := range files {
			if config.Reserved(f.Recipient) {
				continue // it is fetched from the outbox
			}
			there := len(w.glob("simulator/"+f.Recipient+"/incoming/"+f.Name)) == 1
			if sent := f.State == ledger.Sent; sent != there {
				w.tb.Errorf("%s is %s and stands at the bureau: %v", f.Name, f.State, there)
			} else if !sent {
				continue
			}
			var ev bureau.Evidence
			if err := json.Unmarshal(f.Evidence, &ev); err != nil {
				w.tb.Fatal(err)
			}
			if ev.Size != f.Size || ev.SHA256 != f.SHA256 || ev.At.IsZero() || ev.Seen == "" || ev.Hash == "" || ev.HostKey == "" {
				w.tb.Errorf("%s is SENT on the evidence %s", f.Name, f.Evidence)
			}
		}
	})
}

// A file is the sender's until it is taken: one that still grows, a hidden one, a link, a folder are left as they are.
// Killed before the rename it is where it was, after it it is whole in state/intake/.
func TestInvariant8_RequestFilesAreUntouchedOrMovedWhole(t *testing.T) {
	t.Run("one that grows is left for the next run", func(t *testing.T) {
		w := newWorkspace(t)
		cards := w.smallNight()
		w.reembossFile("b.csv", cards[6])
		cmd, out, complaints := w.command([]string{"REEMBOSS_PAUSE_AT=intake/looked", "REEMBOSS_POINTS=" + w.Path("state", "points")}, "--dir", w.Dir, "run", "--json")
		hold, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the first look", func() bool {
			return len(w.glob("state/points")) == 1 && bytes.Contains(w.read("state", "points"), []byte("intake/looked"))
		})
		content := append(w.read("inbox", "b.csv"), []byte(cards[7].id+",B-7\n")...)
		w.write("inbox/b.csv", content)
		if err := hold.Close(); err != nil {
			t.Fatal(err)
		}
		err = cmd.Wait()
		r := w.ended(cmd, err, out, complaints)
		if r.exit != exitComplete { // a file that still changes is no error
			t.Fatalf("exit %d\n%s", r.exit, r.stderr)
		}
		first := told(t, r)
		if first.Accepted != 6 || !strings.Contains(strings.Join(first.Notes, "\n"), "b.csv is still being written") {
			t.Errorf("accepted %d, notes %q", first.Accepted, first.Notes)
		}
		if !bytes.Equal(w.read("inbox", "b.csv"), content) {
			t.Error("the growing file was changed")
		}
		if next := w.night(exitComplete); next.Accepted != 2 {
			t.Errorf("the next run accepted %d, want 2", next.Accepted)
		}
	})
	t.Run("what is no file of ours stays", func(t *testing.T) {
		w := newWorkspace(t)
		w.smallNight()
		w.write("inbox/.hidden.csv", lines("card_id", "1"))
		w.write("inbox/folder/x.csv", lines("card_id", "1"))
		w.write("elsewhere.csv", lines("card_id", "1"))
		if err := os.Symlink(w.Path("elsewhere.csv"), w.Path("inbox", "link.csv")); err != nil {
			t.Fatal(err)
		}
		if r := w.night(exitComplete); r.Read != 6 || !strings.Contains(strings.Join(r.Notes, "\n"), "link.csv") {
			t.Errorf("read %d, notes %q", r.Read, r.Notes)
		}
		if got := slices.Sorted(maps.Keys(w.files("inbox"))); len(got) != 3 {
			t.Errorf("the inbox has %q", got)
		}
	})
	t.Run("killed around the rename", func(t *testing.T) {
		w := newWorkspace(t)
		w.smallNight()
		content := w.read("inbox", "a.csv")
		w.killed("intake/claiming#2")
		if !bytes.Equal(w.read("inbox", "a.csv"), content) {
			t.Error("before the rename the file was changed")
		}
		w.killed("intake/renamed")
		if len(w.glob("inbox/*.csv")) != 0 {
			t.Error("after the rename the file is still in the inbox")
		}
		whole := slices.ContainsFunc(slices.Collect(maps.Values(w.files("state/intake"))), func(s string) bool { return s == string(content) })
		if !whole {
			t.Error("after the rename the file is not whole in state/intake")
		}
		w.night(exitComplete)
		w.requestsAreWhole(map[string][]byte{"a.csv": content})
	})
}

// waitFor polls for something that another process does.
func waitFor(tb testing.TB, what string, there func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(30 * time.Second); !there(); {
		if time.Now().After(deadline) {
			tb.Fatalf("%s: waited 30 seconds", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// A ledger put back from before the night would give its numbers a second time. It is noticed before anything is taken,
// issued or sent; with the newest one back the work goes on.
func TestInvariant9_ALedgerBehindItsMarksStops(t *testing.T) {
	for name, request := range map[string]func(w *workspace, cards []plastic){
		"a sequence": func(w *workspace, cards []plastic) { w.reembossFile("b.csv", cards[6:9]...) },
		"a PAN range": func(w *workspace, cards []plastic) {
			w.configureBureau("alpha", "hold: false", "hold: true") // no file, so only numbers of the range are given
			w.write("inbox/b.csv", lines("card_id,user_id,reason_code", cards[6].id+","+cards[6].customer+",lost"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			cards := w.smallNight()
			w.night(exitComplete)
			older := map[string][]byte{}
			for _, path := range w.glob("state/ledger.sqlite*") {
				older[path] = w.read(path)
			}
			request(w, cards)
			if r := w.start(nil, "--dir", w.Dir, "run"); r.exit != exitComplete && r.exit != exitPerson {
				t.Fatalf("exit %d\n%s", r.exit, r.stderr)
			}
			newest := map[string][]byte{}
			for _, path := range w.glob("state/ledger.sqlite*") {
				newest[path] = w.read(path)
				w.remove(path)
			}
			for path, content := range older {
				w.write(path, content)
			}
			w.reembossFile("c.csv", cards[9], cards[10])
			before := w.files("simulator", "outbox", "inbox", "done", "refused")
			r := w.do(exitPerson, "run")
			if !strings.Contains(string(r.stderr), "older than what has already left the house") {
				t.Errorf("told: %s", r.stderr)
			}
			sameFiles(t, "behind the marks", before, w.files("simulator", "outbox", "inbox", "done", "refused"))

			for _, path := range w.glob("state/ledger.sqlite*") {
				w.remove(path)
			}
			for path, content := range newest {
				w.write(path, content)
			}
			if r := w.start(nil, "--dir", w.Dir, "run"); r.exit != exitComplete && r.exit != exitPerson {
				t.Fatalf("with the newest ledger: exit %d\n%s", r.exit, r.stderr)
			}
			w.sequencesHaveNoGap(w.delivered())
		})
	}
}

// The range gives its numbers in an order of its own. One that some card already has is passed over, whoever brought it.
func TestInvariant9_ANumberThatTheIndexKnowsIsPassedOver(t *testing.T) {
	w := newWorkspace(t)
	extract, cards := sampleCards(t, 40)
	lost := lines("card_id,user_id,reason_code", cards[0].id+","+cards[0].customer+",lost")
	w.write("inbox/cards/cards.csv", extract)
	w.write("inbox/a.csv", lost)
	twin := w.copyOf(t)
	w.night(exitComplete)
	first := w.cardSystem()[0]["pan"]

	twin.write("inbox/cards/cards.csv", bytes.Replace(extract, []byte(cards[3].pan), []byte(first), 1))
	twin.night(exitComplete)
	got := twin.cardSystem()
	if len(got) != 1 || got[0]["pan"] == first || got[0]["pan"] == "" {
		t.Errorf("%d numbers were issued, and the first of the range, which a card has, was not passed over", len(got))
	}
}
