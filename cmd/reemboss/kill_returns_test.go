package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"reemboss/batch"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

// answeredNight is a workspace before a night in which the bureaus answer in every way: alpha has received a file, made
// some of its cards and cannot make another, tells of a file whose transfer had no known end, contradicts itself about a
// card, writes lines and files that cannot be used, and one twice; beta refuses a file as a whole. Requests for cards
// that came back, cannot be made, or are on their way are in the inbox.
func answeredNight(t *testing.T) (w *workspace) {
	t.Helper()
	w, name := undecided(t) // alpha's number 1; cards 0, 2, 3 and 5, beta has 1 and 4
	w.do(exitComplete, "resolve", name, "--delivered", "--reason", "they have it")
	w.silent()
	w.configureBureau("alpha", "after: leave", "after: remove")
	w.configureBureau("beta", "returns: {dir: returns}", "returns: {dir: returns, after: move, move_to: returns/done}")
	_, cards := sampleCards(t, 40)
	w.reembossFile("b.csv", cards[6], cards[8])
	w.killed("sent/RENAMING")
	w.remove(w.one("simulator/alpha/incoming/*.part"))
	if f := bureauFile(t, w.night(exitPerson), "alpha", 2); f.State != ledger.Undecided {
		t.Fatalf("alpha's number 2 is %s", f.State)
	}

	at := func(minutes int) time.Time { return time.Now().Add(time.Duration(minutes) * time.Minute) }
	all := []string{
		w.told(cards[0], "SHIPPED", ",,DHL,0034-0434", at(2)),
		w.fileTold("alpha", 1, "RECEIVED", at(0)),
		w.told(cards[0], "RETURNED", "R1,moved away,,", at(3)),
		"CARD,not so,many fields",
		w.told(cards[2], "REJECTED", "012,no such plastic,,", at(1)),
		"CARD,,,ZZZZZZZZZZZZZZZZZZZZ,SHIPPED,,,,,," + at(1).UTC().Format(time.RFC3339),
		w.told(cards[6], "PRODUCED", "", at(1)), // shows that alpha has number 2
		w.fileTold("alpha", 2, "RECEIVED", at(0)),
		w.told(cards[3], "SHIPPED", "", at(1)),
	}
	w.answer("alpha", "a.csv", all...)
	w.answer("alpha", "b.csv", w.told(cards[5], "DELIVERED", "", at(2)), all[0], all[1], w.told(cards[5], "REJECTED", "E07,,,", at(3)))
	w.answer("alpha", "c-copy.csv", all...)
	w.write("simulator/alpha/returns/d-cut.csv", bytes.ReplaceAll(returnFile(all[0], all[4]), []byte("TRAILER,,,,,2"), []byte("TRAILER,,,,,3")))
	w.write("simulator/alpha/returns/e-unfinished.csv", returnFile(all[0])[:150])
	w.answer("beta", "f.csv", strings.Replace(w.fileTold("beta", 1, "REFUSED", at(0)), ",,,,", ",017,wrong layout version,,", 1))

	w.write("inbox/c.csv", lines("card_id,user_id,reason_code",
		cards[0].id+","+cards[0].customer+",returned", cards[2].id+","+cards[2].customer+",damaged", // open again
		cards[3].id+","+cards[3].customer+",damaged", cards[1].id+","+cards[1].customer+",damaged")) // shipped; to be made anew
	return w
}

// Killed wherever a step of it ends, the night in which the bureaus answered goes on where it was: each line has counted
// once, all balances hold, what the bureaus keep and what we keep of their files is as configured.
func TestCollectKilledAtEveryPoint(t *testing.T) {
	prepared := answeredNight(t)
	prepared.program = withoutRaceDetector(t)
	ears := listenForEvents(t)
	prepared.write("keys/events-secret", []byte("a secret of the test"))
	prepared.configure("    url: \"\"", "    secret: {file: keys/events-secret}\n    url: "+ears.URL+"/own")
	own := func(t *testing.T, name string) *workspace {
		w := prepared.copyOf(t)
		w.configure(ears.URL+"/own", ears.URL+"/"+name)
		return w
	}
	quiet := own(t, "quiet")
	points := quiet.points()
	want, books := lastReport(t, quiet.Dir), quiet.books()
	answeredAsItShould(t, want, books)
	quiet.collected()
	ears.heard(t, quiet, want.RunID, "quiet")
	for _, name := range []string{"collect/fetched#5", "collect/held#4", "collect/chunk#3", "collect/answer#4", "collect/placed#4", "collect/done#4", "collect/settled#5", "reconcile/events"} {
		if !slices.Contains(points, name) {
			t.Errorf("the night does not pass %s: %s", name, points)
		}
	}
	t.Logf("%d points", len(points))
	for i, point := range points {
		name := strings.NewReplacer("/", ":", "#", ":").Replace(point)
		t.Run(name, func(t *testing.T) {
			if testing.Short() && i%4 != 0 {
				t.Skip("one point of four with -short")
			}
			t.Parallel()
			w := own(t, name)
			w.killed(point)
			r := w.start(killAgain(points, i), "--dir", w.Dir, "run")
			if r.killed {
				r = w.start(nil, "--dir", w.Dir, "run")
			}
			if r.exit != exitPerson {
				t.Fatalf("started again: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
			}
			w.sameTotals(want)
			w.sameBooks(books)
			w.collected()
			ears.heard(t, w, want.RunID, name)
			w.collectsNothingMore()
			ears.quietSince(t, name)
		})
	}
}

// answeredAsItShould holds the undisturbed night against what its return files say.
func answeredAsItShould(t *testing.T, r *report.Reconciliation, books string) {
	t.Helper()
	balanced(t, r)
	for _, want := range []struct {
		bureau                        string
		sequence                      int64
		state                         ledger.BureauFileState
		acknowledged, rejected, still int64
	}{{"alpha", 1, ledger.Sent, 3, 1, 0}, {"alpha", 2, ledger.Sent, 2, 0, 0}, {"alpha", 3, ledger.Sent, 0, 0, 2}, {"beta", 1, ledger.Refused, 0, 0, 2}} {
		f := bureauFile(t, r, want.bureau, want.sequence)
		if f.State != want.state || f.Acknowledged != want.acknowledged || f.Rejected != want.rejected || f.Outstanding != want.still {
			t.Errorf("%s number %d: %+v, want %+v", want.bureau, want.sequence, f, want)
		}
	}
	if r.Accepted != 2 || r.Refused != 2 || len(r.NeedsPerson) != 4 {
		t.Errorf("accepted %d, refused %d, needs %+v", r.Accepted, r.Refused, r.NeedsPerson)
	}
	needs(t, r, "d-cut.csv", "contradicts")
	needs(t, r, "017 wrong layout version", "reemboss resend")
	needs(t, r, "2 lines of a.csv")
	needs(t, r, "contradicts", "reemboss settle")
	if !strings.Contains(books, "c-copy.csv REPEATED") {
		t.Errorf("the copy was not recognised:\n%s", books)
	}
}

// books are what the ledger knows of files, cards and return files, in words that do not depend on how often a process died.
func (w *workspace) books() string {
	w.tb.Helper()
	var out strings.Builder
	ctx := context.Background()
	w.inside(func(n *batch.Night) {
		must := func(err error) {
			w.tb.Helper()
			if err != nil {
				w.tb.Fatal(err)
			}
		}
		must(n.Ledger.VerifyAudit(ctx))
		returned, err := n.Ledger.ReturnFiles(ctx, ledger.ReturnQuery{})
		must(err)
		names := map[int64]string{}
		slices.SortFunc(returned, func(a, b ledger.ReturnFile) int { return strings.Compare(a.Name, b.Name) })
		for _, f := range returned {
			names[f.ID] = f.Name
			if f.State == ledger.ReturnRepeated {
				f.Final = "" // the first one's place, if it had one by then
			}
			fmt.Fprintf(&out, "%s %s %s code %q lines %d applied %d known %d problems %d to %d settled %v in %s\n", f.Bureau, f.Name, f.State, f.Code, f.Lines, f.Applied, f.Known, f.Problems, f.Pos, f.Settled, f.Final)
		}
		tell := func(e ledger.Event) {
			fmt.Fprintf(&out, "  %s %s %s %q %q acked %+d rejected %+d line %d of %s %q\n", e.Status, e.At.UTC().Format(time.RFC3339), e.State, e.Code, e.Description, e.Acked, e.Rejected, e.Line, names[e.ReturnID], e.Dispute)
		}
		files, err := n.Ledger.BureauFiles(ctx, ledger.FileQuery{})
		must(err)
		balances, err := n.Ledger.FileBalances(ctx)
		must(err)
		for _, f := range files {
			b := balances[f.ID]
			b.FileID = 0
			fmt.Fprintf(&out, "%s %d %s of %d: %+v\n", f.Recipient, f.Sequence, f.State, f.Records, b)
			events, err := n.Ledger.FileEvents(ctx, f.ID)
			must(err)
			for _, e := range events {
				tell(e)
			}
		}
		for id := int64(batch.FirstCard); id < batch.FirstCard+10; id++ {
			shipments, err := n.Ledger.CardShipments(ctx, id)
			must(err)
			for _, s := range shipments {
				fmt.Fprintf(&out, "card %d, order of run %s in %s %d: %s\n", id, s.RunID, s.Bureau, s.Sequence, s.State)
				for _, e := range s.Events {
					tell(e)
				}
			}
		}
		runs, err := n.Ledger.LastRuns(ctx, 10)
		must(err)
		for _, run := range runs {
			must(n.Ledger.EachProblem(ctx, run.ID, func(p *ledger.Problem, f *ledger.ReturnFile) error {
				fmt.Fprintf(&out, "%s line %d: %s\n", f.Name, p.Line, p.Code)
				return nil
			}))
		}
	})
	return out.String()
}

func (w *workspace) sameBooks(want string) {
	w.tb.Helper()
	got := strings.Split(w.books(), "\n")
	for i, line := range strings.Split(want, "\n") {
		if i >= len(got) || got[i] != line {
			w.tb.Fatalf("the books differ from those of the undisturbed night at line %d:\n%s\nwant there\n%s", i+1, strings.Join(got[min(i, len(got)):], "\n"), line)
		}
	}
	if lines := strings.Count(want, "\n") + 1; len(got) != lines {
		w.tb.Fatalf("the books have more than those of the undisturbed night: %s", strings.Join(got[lines:], "\n"))
	}
}

// collected: state/returns holds quarantined files only, each file of the bureaus lies in its place as it came, and the
// bureaus have what they are to have.
func (w *workspace) collected() {
	w.tb.Helper()
	quarantined := map[string]bool{}
	w.inside(func(n *batch.Night) {
		files, err := n.Ledger.ReturnFiles(context.Background(), ledger.ReturnQuery{})
		if err != nil {
			w.tb.Fatal(err)
		}
		for _, f := range files {
			if f.State == ledger.ReturnQuarantined {
				quarantined[f.Held] = true
			}
			if held := f.Held != ""; held != (f.State == ledger.ReturnQuarantined) {
				w.tb.Errorf("%s is %s and held: %v", f.Name, f.State, held)
			}
			if f.State == ledger.ReturnRepeated {
				continue
			}
			if final := w.read(f.Final); int64(len(final)) != f.Size {
				w.tb.Errorf("%s has %d bytes, %s came with %d", f.Final, len(final), f.Name, f.Size)
			}
		}
	})
	if left := slices.Sorted(maps.Keys(w.files("state/returns"))); len(left) != 1 || !quarantined[left[0]] {
		w.tb.Errorf("state/returns holds %q, in quarantine are %v", left, quarantined)
	}
	for folder, want := range map[string]string{"returns": "alpha/a.csv alpha/b.csv alpha/quarantine/d-cut.csv alpha/quarantine/d-cut.csv.result.csv beta/f.csv",
		"simulator/alpha/returns": "e-unfinished.csv", "simulator/beta/returns": "done/f.csv"} {
		var got []string
		for _, path := range slices.Sorted(maps.Keys(w.files(folder))) {
			got = append(got, strings.TrimPrefix(path, folder+"/"))
		}
		if strings.Join(got, " ") != want {
			w.tb.Errorf("%s has %q, want %q", folder, got, want)
		}
	}
	for path := range w.files("outbox", "simulator", "returns", "reports", "state") {
		if strings.Contains(path, ".reemboss-tmp-") || strings.HasSuffix(path, ".part") {
			w.tb.Errorf("%s was left by a process that died", path)
		}
	}
	w.sequencesHaveNoGap(w.delivered())
}

// collectsNothingMore runs the finished night once more: the unfinished file is looked at, nothing else, and what waits for a person still does.
func (w *workspace) collectsNothingMore() {
	w.tb.Helper()
	folders := []string{"simulator", "outbox", "done", "refused", "returns", "inbox", "state/returns"}
	before := w.files(folders...)
	again := w.night(exitPerson)
	if again.Read != 0 || len(again.Returns) != 0 || len(again.Events) != 0 {
		w.tb.Errorf("run again it read %d rows, %d return files, %d events", again.Read, len(again.Returns), len(again.Events))
	}
	balanced(w.tb, again)
	sameFiles(w.tb, "run again", before, w.files(folders...))
}

// eventEars is a webhook for the events of many workspaces, each at a path of its own.
type eventEars struct {
	*httptest.Server
	sync.Mutex
	ids   map[string]map[string]int // path → id → how often it came
	after map[string]int            // deliveries when the night was over
}

func listenForEvents(t *testing.T) *eventEars {
	e := &eventEars{ids: map[string]map[string]int{}, after: map[string]int{}}
	e.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var events []struct{ ID string }
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &events)
		}
		e.Lock()
		defer e.Unlock()
		path := strings.TrimPrefix(r.URL.Path, "/")
		if e.ids[path] == nil {
			e.ids[path] = map[string]int{}
		}
		if err != nil {
			t.Errorf("%s: the events cannot be read: %v", path, err)
		}
		for _, event := range events {
			e.ids[path][event.ID]++
		}
	}))
	t.Cleanup(e.Close)
	return e
}

// heard wants every event of the night's file to have come at least once, and no other.
func (e *eventEars) heard(t *testing.T, w *workspace, runID, path string) {
	t.Helper()
	want := map[string]int{}
	for _, line := range bytes.Split(bytes.TrimSpace(w.read("reports", runID, "events.ndjson")), []byte("\n")) {
		var event struct{ ID string }
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatal(err)
		}
		want[event.ID]++
	}
	e.Lock()
	defer e.Unlock()
	for id, n := range want {
		if n != 1 || e.ids[path][id] == 0 {
			t.Errorf("event %s stands %d times in events.ndjson and came %d times", id, n, e.ids[path][id])
		}
	}
	for id, n := range e.ids[path] {
		if want[id] == 0 {
			t.Errorf("event %s came %d times and is none of the night's", id, n)
		}
		e.after[path] += n
	}
}

// quietSince wants nothing more to have come since [eventEars.heard]: what was taken is not sent again.
func (e *eventEars) quietSince(t *testing.T, path string) {
	t.Helper()
	e.Lock()
	defer e.Unlock()
	var now int
	for _, n := range e.ids[path] {
		now += n
	}
	if now != e.after[path] {
		t.Errorf("%d events came after the night, all of them known", now-e.after[path])
	}
}
