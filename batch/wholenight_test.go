package batch

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"reemboss/batch/config"
	"reemboss/batch/durable"
	"reemboss/batch/ledger"
	"reemboss/bureau"
	"reemboss/formats/iso"
	"reemboss/formats/layout"
)

// wholeNight is a prepared workspace in which the next night does a little of everything, and how it ends when nothing
// happens: return files of the night before, an extract, requests of both kinds with good and bad rows, one with a card
// number in it, a refused file, a file that somebody approved and one that waits for approval, files for two bureaus and
// the card system, the retention of what is old, and metrics.
type wholeNight struct {
	*bench
	requests map[string]string
	numbers  [][]byte // of the cards, in clear
	steps    []string // of the disk, in the undisturbed night
	want     string   // totals and answers
	exit     int
}

func prepareNight(t *testing.T) *wholeNight {
	t.Helper()
	b := newBenchAt(t, monday().AddDate(0, 0, -20))
	b.silent()
	b.configure("max_records: 0", "max_records: 4", "after: leave", "after: remove", "stable_for: 1s", "stable_for: 1ms",
		"people: {}", `people: {ben: {login: ben, approves: {bureaus: ["*"]}}}`,
		"    returns: {dir: returns}\n", "    returns: {dir: returns, after: move, move_to: returns/done}\n    approval: {always: true}\n",
		"  metrics:\n    file: \"\"", "  metrics:\n    file: metrics.prom")
	b.keep(0, 14, 0, 0)
	w := &wholeNight{bench: b}
	var extract bytes.Buffer
	if err := (&Sample{Seed: 5, Cards: 30, Now: b.now}).Extract(&extract); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(extract.Bytes())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows[1:] {
		w.numbers = append(w.numbers, []byte(row[slices.Index(rows[0], "pan")]))
	}
	cards := func(content []byte) {
		if err := os.WriteFile(filepath.Join(b.InboxCards(), "cards.csv"), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cards(extract.Bytes())
	b.drop("old.csv", "card_id\n100016\n")
	b.run()
	b.now = b.now.AddDate(0, 0, 20)
	b.drop("first.csv", "card_id\n100001\n100002\n100003\n100004\n")
	r := b.run()
	b.as("ben", func(n *Night) {
		for _, f := range r.Files {
			if f.Hold != nil {
				if _, err := n.Approve(t.Context(), f.Name, "looked at"); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	shipped, rejected := b.order(100001), b.order(100003)
	b.answer("a.csv", b.fileEvent(shipped, "RECEIVED", 3, b.now), b.event(shipped, "SHIPPED", b.now.Add(2*time.Minute)), b.event(shipped, "RETURNED", b.now.Add(3*time.Minute)),
		b.event(rejected, "REJECTED", b.now.Add(time.Minute)), "CARD,not so,many fields")
	cards(bytes.Join(bytes.SplitAfter(extract.Bytes(), []byte("\n"))[:3], nil))
	w.requests = map[string]string{
		"a-again.csv":   "Card ID;Reference\n100005;A-4\n100006;A-5\n100006;A-5\n99;A-6\n100020;A-7\n",
		"b-replace.csv": "card_id,user_id,reason_code\n100001,C700000,returned\n100003,C700002,damaged\n100007,C700006,lost\n100008,C700007,fraud\n100009,C700008,expired\n100004,C700003,damaged\n",
		"d-number.csv":  fmt.Sprintf("card_id,remark\n100012,the number is %s\n", w.numbers[12]),
		"e-nothing.csv": "first,second\n1,2\n",
	}
	b.files(w.requests)
	b.now = b.now.Add(time.Hour)

	quiet, disk := w.copyTo(t), &watchedDisk{}
	result, err := quiet.night(disk)
	if err != nil {
		t.Fatal(err)
	}
	w.steps, w.exit, w.want = disk.names, result.Exit, quiet.told()
	if result.Exit != 4 || result.Accepted == 0 || result.Refused == 0 || result.Duplicate == 0 || result.Waiting == 0 || len(result.Files) < 4 {
		t.Fatalf("exit %d, %s", result.Exit, w.want)
	}
	w.keptBy(quiet)
	return w
}

// copyTo makes another workspace that is the same.
func (w *wholeNight) copyTo(t *testing.T) *wholeNight {
	t.Helper()
	return w.cloned(t, func(to string) error { return newJournal().clone(w.Dir, to, true) })
}

func (w *wholeNight) cloned(t *testing.T, fill func(to string) error) *wholeNight {
	t.Helper()
	c := *w
	c.bench = &bench{TB: t, Workspace: Workspace{Dir: filepath.Join(t.TempDir(), "w")}, now: w.now}
	if err := fill(c.Dir); err != nil {
		t.Fatal(err)
	}
	return &c
}

// night works a night on a disk, to its end or to the error that ends it.
func (w *wholeNight) night(disk *watchedDisk, prepare ...func(*Night)) (*Result, error) {
	o := Options{Lock: true, Log: zerolog.Nop(), Now: w.still(), Sleep: func(context.Context, time.Duration) error { return nil }}
	if disk != nil {
		o.Disk = disk
	}
	n, err := Open(w.Context(), w.Dir, o)
	if err != nil {
		return nil, err
	}
	for _, p := range prepare {
		p(n)
	}
	result, err := n.Run(w.Context())
	if closed := n.Close(); err == nil && closed != nil {
		return nil, closed
	}
	return result, err
}

// told is what the results and the last report but one night's say, without what differs from try to try.
func (w *wholeNight) told() string {
	w.Helper()
	var all []string
	for _, folder := range []string{"done", "refused"} {
		paths, err := filepath.Glob(w.Path(folder, "*", "*.result.csv"))
		if err != nil {
			w.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				w.Fatal(err)
			}
			for _, row := range w.rowsOf(text) {
				all = append(all, strings.Join([]string{filepath.Base(path), row["row"], row["outcome"], row["code"], row["all_codes"], row["bureau"], row["file_name"]}, " "))
			}
		}
	}
	n := w.open()
	defer n.Close()
	files, err := n.Ledger.BureauFiles(w.Context(), ledger.FileQuery{})
	if err != nil {
		w.Fatal(err)
	}
	balances, err := n.Ledger.FileBalances(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	for _, f := range files {
		balance := balances[f.ID]
		balance.FileID = 0
		all = append(all, fmt.Sprintf("%s %d %s of %d: %+v", f.Name, f.Sequence, f.State, f.Records, balance))
	}
	for id := int64(FirstCard); id < FirstCard+12; id++ {
		shipments, err := n.Ledger.CardShipments(w.Context(), id)
		if err != nil {
			w.Fatal(err)
		}
		for _, s := range shipments {
			all = append(all, fmt.Sprintf("card %d, number %d of %s: %s, %d events", id, s.Sequence, s.Bureau, s.State, len(s.Events)))
		}
	}
	return strings.Join(all, "\n")
}

// ends works the night to its end without faults and wants all promises kept (docs/reliability.md).
func (w *wholeNight) ends(t *testing.T, c *wholeNight) {
	t.Helper()
	c.now = c.now.Add(time.Second) // what a later run accepts comes after what an earlier one did
	result, err := c.night(nil)
	if err != nil {
		t.Fatalf("the next run: %v", err)
	}
	if result.Exit != w.exit {
		t.Errorf("the next run: exit %d, want %d: %s %+v", result.Exit, w.exit, result.Verdict, result.NeedsPerson)
	}
	w.keptBy(c)
}

// keptBy checks the promises, by their numbers, in a workspace whose night is over.
func (w *wholeNight) keptBy(c *wholeNight) {
	c.Helper()
	if got := c.told(); got != w.want { // 1
		c.Errorf("1: it ends otherwise than the undisturbed night: %s", differing(w.want, got))
	}
	w.stillKept(c)
}

// differing are the lines that only one of two texts has.
func differing(want, got string) string {
	var out strings.Builder
	for _, side := range [][3]string{{"-", want, got}, {"+", got, want}} {
		others := strings.Split(side[2], "\n")
		for _, line := range strings.Split(side[1], "\n") {
			if !slices.Contains(others, line) {
				out.WriteString("\n" + side[0] + " " + line)
			}
		}
	}
	return out.String()
}

// given are the high-water marks of all that is given out. A run that did nothing was a run all the same: their number is left out.
func (w *wholeNight) given() map[string]int64 {
	w.Helper()
	m, err := readMarks(w.MarksFile(), durable.Files{})
	if err != nil {
		w.Fatal(err)
	}
	delete(m.high, "runs")
	return m.high
}

// stillKept are the promises that do not say how the night ends.
func (w *wholeNight) stillKept(c *wholeNight) {
	c.Helper()
	n := c.open()
	c.filesKept(n) // 2, 3, 4, 7, 9
	if err := n.Ledger.VerifyAudit(c.Context()); err != nil {
		c.Error(err)
	}
	if err := n.Close(); err != nil {
		c.Fatal(err)
	}
	c.nothingClear()      // 5
	c.requestsKept()      // 8
	c.nothingUnfinished() // 6
	folders := []string{"simulator", "outbox", "done", "refused", "returns", "inbox", "keys"}
	before, given := c.contents(folders...), c.given()
	again, err := c.night(nil)
	if err != nil || again.Read != 0 || again.Exit != w.exit {
		c.Fatalf("6: run again: %v, %+v", err, again)
	}
	c.mustHold(again.Reconciliation)
	if !maps.Equal(given, c.given()) {
		c.Error("6: run again, it gave numbers out")
	}
	if after := c.contents(folders...); !maps.Equal(before, after) {
		c.Error("6: run again, files changed, came or went")
	}
}

// filesKept opens every file with its recipient's key and holds it against the ledger.
func (w *wholeNight) filesKept(n *Night) {
	w.Helper()
	files, err := n.Ledger.BureauFiles(w.Context(), ledger.FileQuery{})
	if err != nil {
		w.Fatal(err)
	}
	next, orders, plastics := map[string]int64{}, map[string]string{}, map[string]string{}
	known := map[string]bool{}
	for _, f := range files {
		known[f.Name] = true
		if next[f.Recipient]++; f.Sequence != next[f.Recipient] || f.State != ledger.Sent {
			w.Errorf("3: %s has number %d where %d was due, and is %s", f.Name, f.Sequence, next[f.Recipient], f.State)
		}
		place, key := filepath.Join(w.Simulator(f.Recipient), "incoming", f.Name), "bureau.pgp"
		if f.Recipient == config.CardSystem {
			place, key = filepath.Join(w.Outbox(f.Recipient), f.Name), "card-system.pgp"
		}
		text := w.unsealed(n, place, filepath.Join(w.Simulator(f.Recipient), "keys", key))
		digest := n.keyset.NewDigest("file")
		digest.Write(text)
		if hex.EncodeToString(digest.Sum(nil)) != f.PlainDigest {
			w.Errorf("4: %s has not the digest of its plan", f.Name)
		}
		var ev bureau.Evidence
		if err := json.Unmarshal(f.Evidence, &ev); err != nil || ev.Size != f.Size || ev.SHA256 != f.SHA256 || ev.Seen == "" {
			w.Errorf("7: %s is SENT on the evidence %s", f.Name, f.Evidence)
		}
		if f.Recipient == config.CardSystem {
			continue
		}
		inFile := map[string]bool{}
		_, err := n.layouts[f.Recipient].Read(bytes.NewReader(text), func(r layout.Record) error {
			uid, plastic := r[layout.UID], r[layout.PAN]+r[layout.PANGrouped]+"/"+r[layout.PSN]
			if orders[uid] != "" || plastics[plastic] != "" {
				w.Errorf("2, 9: order %s of %s, or its PAN and PSN, is in %s%s too", uid, f.Name, orders[uid], plastics[plastic])
			}
			orders[uid], plastics[plastic], inFile[uid] = f.Name, f.Name, true
			return nil
		})
		if err != nil {
			w.Errorf("3: %s: %v", f.Name, err)
		}
		planned := 0
		err = n.Ledger.EachFileOrder(w.Context(), f.ID, func(o *ledger.Order) error {
			if planned++; !inFile[o.UID] {
				w.Errorf("2: order %s is not in %s", o.UID, f.Name)
			}
			return nil
		})
		if err != nil || planned != len(inFile) {
			w.Errorf("2: %s has %d cards, planned were %d (%v)", f.Name, len(inFile), planned, err)
		}
	}
	for _, pattern := range []string{"simulator/*/incoming/*", "outbox/*/*"} {
		for _, path := range w.lies(pattern) {
			if !known[filepath.Base(path)] {
				w.Errorf("3: %s is in no plan", path)
			}
		}
	}
}

func (w *wholeNight) unsealed(n *Night, path, key string) []byte {
	w.Helper()
	sealed, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	private, err := bureau.ReadPrivateKey(key, nil, "", w.now)
	if err != nil {
		w.Fatal(err)
	}
	var text bytes.Buffer
	clear, verdict := bureau.Open(bytes.NewReader(sealed), private, []*bureau.Key{n.ownKey})
	if _, err = text.ReadFrom(clear); err == nil {
		_, err = verdict()
	}
	if err != nil {
		w.Fatalf("3: %s: %v", filepath.Base(path), err)
	}
	return text.Bytes()
}

var ourNumbers = regexp.MustCompile(`^(?:411111|555555)[ -]?\d{2}[ -]?\d{4}[ -]?\d{4}`)

// nothingClear searches all files but those that their sender still has in the inbox.
func (w *wholeNight) nothingClear() {
	w.Helper()
	for path, content := range w.contents(".") {
		if strings.HasPrefix(path, "inbox/") || strings.HasPrefix(path, "state/intake/") {
			continue
		}
		if place := clearNumber(content); place != "" {
			w.Errorf("5: %s has a card number in clear (%s)", path, place)
		}
	}
}

// clearNumber gives a number of our ranges, masked, that stands in a text.
func clearNumber(text string) string {
	for _, prefix := range []string{"411111", "555555"} {
		for rest := text; ; {
			at := strings.Index(rest, prefix)
			if at < 0 {
				break
			}
			if found := ourNumbers.FindString(rest[at:min(at+24, len(rest))]); found != "" {
				if pan, err := iso.ParsePAN(strings.NewReplacer(" ", "", "-", "").Replace(found)); err == nil {
					return pan.String()
				}
			}
			rest = rest[at+len(prefix):]
		}
	}
	return ""
}

// requestsKept finds every request file once with its bytes, in clear or sealed to ourselves.
func (w *wholeNight) requestsKept() {
	w.Helper()
	for name, content := range w.requests {
		places := w.lies("done/*/"+name, "refused/*/"+name, "done/*/"+name+".pgp", "refused/*/"+name+".pgp")
		if len(places) != 1 {
			w.Errorf("8: %s lies in %q", name, places)
			continue
		}
		folder, _, _ := strings.Cut(places[0], "/")
		if kept := w.kept(folder, name); string(kept) != content {
			w.Errorf("8: %s is not what its sender sent", places[0])
		}
	}
}

// nothingUnfinished: no nameless file, nothing on its way.
func (w *wholeNight) nothingUnfinished() {
	w.Helper()
	for path := range w.contents(".") {
		base := filepath.Base(path)
		if strings.HasPrefix(base, ".reemboss-tmp-") || strings.HasSuffix(base, ".part") || strings.HasPrefix(path, "inbox/") || strings.HasPrefix(path, "state/intake/") || strings.HasPrefix(path, "state/returns/") {
			w.Errorf("6: %s is left", path)
		}
	}
}

// contents are all files at or below some places, by their path in the workspace.
func (w *wholeNight) contents(places ...string) map[string]string {
	w.Helper()
	all := map[string]string{}
	for _, place := range places {
		err := filepath.WalkDir(w.Path(place), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			all[w.Relative(path)] = string(text)
			return err
		})
		if err != nil {
			w.Fatal(err)
		}
	}
	return all
}
