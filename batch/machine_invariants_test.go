package batch

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"reemboss/batch/ledger"
	"reemboss/formats/layout"
)

// model is what the people and the bureaus around a workspace know, and what
// was seen of it. It decides nothing that the program decides.
type model struct {
	seen     *rows            // after the newest step
	names    int              // names given so far
	master   map[int64]string // card → status, as the card master has it
	dropped  []*droppedFile
	returned []returnedFile

	has      map[string]*atBureau // file name → what a recipient has under it
	refused  map[string]bool      // file name → the bureau refused it and has not got it again since
	told     map[string]bool      // file name → the bureau told something else of it
	again    map[string]bool      // file name → a person sends it again
	resolved map[string]bool      // file name → a person decided its transfer

	authorised map[string]bool        // "hold/state" → somebody who may has decided so
	atDecide   map[int64]cardRow      // cards before the last night decided anything
	before     map[int64]cardRow      // order → its requested card before it
	after      map[int64]cardRow      // order → its requested card after it
	returnable map[int64]bool         // order → it was accepted while files of its bureau could be held
	made       map[string]string      // card number and PSN → card and expiry
	scanned    map[string]scannedFile // path → what was looked through
	numbers    map[string]bool        // card numbers that must stand nowhere in clear
	searched   int                    // how many of them all of scanned was looked through for

	mayHold bool // alpha's files may be held
	deletes bool // retention is on, or was
}

type droppedFile struct {
	name, content string
	rows          int
}

type returnedFile struct {
	bureau string
	lines  []string
}

type atBureau struct {
	content []byte
	cards   []plastic
}

type plastic struct{ uid, pan, psn, expiry string }

type scannedFile struct {
	size int64
	at   time.Time
}

func newModel() model {
	return model{
		seen: &rows{}, master: map[int64]string{}, has: map[string]*atBureau{}, refused: map[string]bool{}, told: map[string]bool{},
		again: map[string]bool{}, resolved: map[string]bool{}, authorised: map[string]bool{}, before: map[int64]cardRow{}, after: map[int64]cardRow{},
		returnable: map[int64]bool{}, made: map[string]string{}, scanned: map[string]scannedFile{}, numbers: map[string]bool{},
	}
}

func (m *machine) authorise(hold string, state ledger.HoldState) {
	m.authorised[hold+"/"+string(state)] = true
}

// look reads the ledger and what the bureaus have, and holds the invariants against it.
func (m *machine) look() {
	m.Helper()
	was := m.seen
	m.seen = m.ledgerRows()
	m.arrivals()
	m.nothingIsRewritten(was)
	m.everyOrderIsInOnePlace()
	m.nothingDisputedIsPlanned(was)
	m.everyNumberIsOneFile()
	m.filesMoveAsTheyMay(was)
	m.holdsAreDecidedByWhoMay(was)
	m.noCardIsMadeTwice()
	m.auditHolds(was)
	m.rememberOrders(was)
	m.count(was)
	m.resolved = map[string]bool{}
}

// arrivals opens what a recipient has newly got: it decrypts to what the plan fixed. What it has never changes.
func (m *machine) arrivals() {
	m.Helper()
	var n *Night
	for _, f := range m.seen.outgoing {
		path := m.arrivesAt(f)
		content, err := os.ReadFile(path)
		if err == nil { // again, where it was refused: what it refuses the bureau takes away
			m.refused[f.name] = false
		}
		had := m.has[f.name]
		switch {
		case err != nil && had != nil && f.recipient != "card-system" && !m.refused[f.name]:
			m.Fatalf("%s is gone from its bureau", f.name)
		case err != nil || f.recipient == "card-system" && f.state != string(ledger.Sent):
			continue
		case had != nil && !bytes.Equal(had.content, content):
			m.Fatalf("%s was changed under its final name", f.name)
		case had != nil:
			continue
		}
		if n == nil {
			n = m.open()
			defer n.Close()
		}
		if sum, _, err := hashFile(path); err != nil || sum != f.sha {
			m.Fatalf("%s is not the frozen file (%v)", f.name, err)
		}
		m.has[f.name] = m.opensAsPlanned(n, f, path, content)
	}
	for _, bureau := range []string{"alpha", "beta"} {
		entries, err := os.ReadDir(filepath.Join(m.Simulator(bureau), "incoming"))
		if err != nil && !os.IsNotExist(err) {
			m.Fatal(err)
		}
		for _, e := range entries {
			if name := strings.TrimSuffix(e.Name(), ".part"); m.seen.outgoingNamed(name).recipient != bureau {
				m.Fatalf("%s has %s, which no plan knows", bureau, e.Name())
			}
		}
	}
}

func (m *machine) opensAsPlanned(n *Night, f outgoingRow, path string, content []byte) *atBureau {
	m.Helper()
	text, err := m.opened(path, m.privates[f.recipient])
	if err != nil {
		m.Fatalf("%s cannot be opened: %v", f.name, err)
	}
	digest := n.keyset.NewDigest("file")
	digest.Write(text)
	if hex.EncodeToString(digest.Sum(nil)) != f.digest {
		m.Fatalf("%s has not the digest of its plan", f.name)
	}
	got := &atBureau{content: content}
	if f.recipient == "card-system" {
		for _, row := range m.rowsOf(text) {
			got.cards = append(got.cards, plastic{row["uid"], row["pan"], row["psn"], row["expiry"]})
		}
	} else if _, err := n.layouts[f.recipient].Read(bytes.NewReader(text), func(r layout.Record) error {
		got.cards = append(got.cards, plastic{r[layout.UID], r[layout.PAN], r[layout.PSN], r[layout.ExpiryDate]})
		return nil
	}); err != nil {
		m.Fatalf("%s cannot be read: %v", f.name, err)
	}
	var planned, found []string
	for _, o := range m.seen.orders {
		if o.file == f.id || f.recipient == "card-system" && o.systemFile == f.id {
			planned = append(planned, o.uid)
		}
	}
	for _, c := range got.cards {
		found = append(found, c.uid)
		m.numbers[c.pan] = true
	}
	slices.Sort(planned)
	slices.Sort(found)
	if !slices.Equal(planned, found) || int64(len(found)) != f.records {
		m.Fatalf("%s has the orders %v, its plan %d: %v", f.name, found, f.records, planned)
	}
	return got
}

// nothingIsRewritten: an answer, an order, a number, a name and frozen bytes are for ever.
func (m *machine) nothingIsRewritten(was *rows) {
	m.Helper()
	for id, a := range was.answers {
		if m.seen.answers[id] != a {
			m.Fatalf("row %d of request file %d was answered %+v, and now %+v", a.pos, a.file, a, m.seen.answers[id])
		}
	}
	for id, o := range was.orders {
		now := m.seen.orders[id]
		if now.uid != o.uid || now.card != o.card || now.embossed != o.embossed || now.bureau != o.bureau || now.answer != o.answer {
			m.Fatalf("order %+v became %+v", o, now)
		}
		if o.state == string(ledger.Cancelled) && now != o {
			m.Fatalf("the cancelled order %+v became %+v", o, now)
		}
		if o.systemFile != 0 && now.systemFile != o.systemFile && m.has[was.outgoing[o.systemFile].name] != nil {
			m.Fatalf("the card system was told of %s, and is told again", o.uid)
		}
	}
	for id, f := range was.outgoing {
		now := m.seen.outgoing[id]
		if now.name != f.name || now.recipient != f.recipient || now.sequence != f.sequence || now.records != f.records || now.digest != f.digest || f.sha != "" && now.sha != f.sha {
			m.Fatalf("outgoing file %+v became %+v", f, now)
		}
	}
	for id, h := range was.holds {
		now := m.seen.holds[id]
		if now.name != h.name || now.digest != h.digest || now.records != h.records || h.file != 0 && now.file != h.file {
			m.Fatalf("hold %+v became %+v", h, now)
		}
	}
}

// everyOrderIsInOnePlace: held, waiting, in one live file, or cancelled; one order for each accepted row, one open order of each card.
func (m *machine) everyOrderIsInOnePlace() {
	m.Helper()
	open := map[int64]string{}
	for id, o := range m.seen.orders {
		a := m.seen.answers[o.answer]
		if a.outcome != "accepted" || a.order != id {
			m.Fatalf("order %s belongs to the answer %+v", o.uid, a)
		}
		f, h := m.seen.outgoing[o.file], m.seen.holds[o.hold]
		var right bool
		switch o.state {
		case string(ledger.Queued):
			right = o.file == 0 && (o.hold == 0 || h.state == string(ledger.Held) || h.state == string(ledger.Approved) && h.file == 0)
		case string(ledger.Cancelled):
			right = o.file == 0 && h.state == string(ledger.HoldCancelled)
		case string(ledger.PlannedO):
			right = f.id != 0 && f.state != string(ledger.Void) && f.state != string(ledger.Sent)
		case string(ledger.SentO):
			right = f.id != 0 && (f.state != string(ledger.Void) || m.askedAgain(o)) && f.state != string(ledger.Planned)
		default:
			right = f.id != 0 && (f.state != string(ledger.Void) || o.state == string(ledger.Rejected) || m.madeAllTheSame(o))
		}
		if !right || f.id != 0 && f.recipient != o.bureau {
			m.Fatalf("order %s is %s in %s (%s), hold %s (%s)", o.uid, o.state, f.name, f.state, h.name, h.state)
		}
		if o.state != string(ledger.Queued) && o.state != string(ledger.PlannedO) {
			continue
		}
		for card := range maps.Keys(map[int64]bool{o.card: true, o.embossed: true}) {
			if other := open[card]; other != "" {
				m.Fatalf("card %d has two open orders: %s and %s", card, o.uid, other)
			}
			open[card] = o.uid
		}
	}
	for id, a := range m.seen.answers {
		if o := m.seen.orders[a.order]; a.outcome == "accepted" && o.answer != id {
			m.Fatalf("the accepted row %d of request file %d has no order", a.pos, a.file)
		}
	}
}

// nothingDisputedIsPlanned: a card that may have been made goes into no file before a person settled it.
func (m *machine) nothingDisputedIsPlanned(was *rows) {
	m.Helper()
	for id := range m.seen.disputed {
		if o := m.seen.orders[id]; was.orders[id].state == string(ledger.Queued) && o.state != string(ledger.Queued) {
			m.Fatalf("order %s was QUEUED and is %s, and what its bureau tells of it is not settled", o.uid, o.state)
		}
	}
}

// askedAgain: the card of an order was asked for once more, so that no later file takes the order.
func (m *machine) askedAgain(o orderRow) bool {
	for id, other := range m.seen.orders {
		if id > o.id && (other.card == o.card || other.card == o.embossed) {
			return true
		}
	}
	return false
}

// madeAllTheSame: somebody tells what came of a card whose file its bureau refused.
func (m *machine) madeAllTheSame(o orderRow) bool {
	switch ledger.OrderState(o.state) {
	case ledger.Queued, ledger.PlannedO, ledger.SentO, ledger.Acked:
		return false
	}
	return m.refused[m.seen.outgoing[o.file].name]
}

// arrivesAt is where a recipient has a file.
func (m *machine) arrivesAt(f outgoingRow) string {
	if f.recipient == "card-system" {
		return filepath.Join(m.Outbox(f.recipient), f.name)
	}
	return filepath.Join(m.Simulator(f.recipient), "incoming", f.name)
}

// everyNumberIsOneFile: the numbers of a recipient's files are 1, 2, 3 …, each once, in order.
func (m *machine) everyNumberIsOneFile() {
	m.Helper()
	numbers, names := map[string][]int64{}, map[string]bool{}
	for _, f := range m.seen.outgoing {
		numbers[f.recipient] = append(numbers[f.recipient], f.sequence)
		if names[f.name] {
			m.Fatalf("the name %s was given twice", f.name)
		}
		names[f.name] = true
	}
	for recipient, list := range numbers {
		slices.Sort(list)
		for i, number := range list {
			if number != int64(i+1) {
				m.Fatalf("the numbers of %s are %v", recipient, list)
			}
		}
	}
}

// filesMoveAsTheyMay: what is called sent is there; only a bureau or a person decides a transfer without an end; VOID is for ever;
// what is refused the bureau refused.
func (m *machine) filesMoveAsTheyMay(was *rows) {
	m.Helper()
	for id, f := range m.seen.outgoing {
		before := was.outgoing[id]
		if m.again[f.name] && f.state == string(ledger.Sent) {
			m.again[f.name] = false
		}
		switch {
		case f.state == string(ledger.Sent) && m.has[f.name] == nil && f.recipient != "card-system":
			m.Fatalf("%s is SENT, and its bureau has it not", f.name)
		case before.state == string(ledger.Void) && f.state != before.state:
			m.Fatalf("%s was VOID and is %s", f.name, f.state)
		case before.state == string(ledger.Undecided) && f.state != before.state && !m.resolved[f.name] && !(m.told[f.name] || m.refused[f.name]):
			m.Fatalf("%s was UNDECIDED and became %s by itself", f.name, f.state)
		case before.state == string(ledger.Sent) && f.state != before.state && f.state != string(ledger.Refused) && !m.again[f.name]:
			m.Fatalf("%s was SENT and became %s by itself", f.name, f.state)
		case f.state == string(ledger.Refused) && !m.refused[f.name]:
			m.Fatalf("%s is REFUSED, and its bureau has it", f.name)
		}
	}
}

// holdsAreDecidedByWhoMay: a decision is somebody's who may; a hold has the orders of its first day, and they go into one file or are all cancelled; or all leave it, where
// a person believed the bureau that it made one of them.
func (m *machine) holdsAreDecidedByWhoMay(was *rows) {
	m.Helper()
	orders := map[int64][]string{}
	for _, o := range m.seen.orders {
		if o.hold != 0 {
			orders[o.hold] = append(orders[o.hold], o.state)
		}
	}
	for id, h := range m.seen.holds {
		if h.state != string(ledger.Held) && !m.authorised[h.name+"/"+h.state] {
			m.Fatalf("%s is %s, and nobody who may decided so", h.name, h.state)
		}
		if old := was.holds[id].state; old != "" && old != string(ledger.Held) && old != h.state {
			m.Fatalf("%s was %s and is %s", h.name, old, h.state)
		}
		dissolved := h.state == string(ledger.HoldCancelled) && len(orders[id]) == 0 && m.authorised[h.name+"/dissolved"]
		if h.file == 0 && int64(len(orders[id])) != h.records && !dissolved {
			m.Fatalf("%s of %d orders has %v", h.name, h.records, orders[id])
		}
		if f := m.seen.outgoing[h.file]; h.file != 0 && (h.state != string(ledger.Approved) || f.records != h.records) {
			m.Fatalf("%s (%s, %d orders) became %s of %d", h.name, h.state, h.records, f.name, f.records)
		}
	}
}

// noCardIsMadeTwice: at the bureaus an order is in one file that they make, of which the ledger knows, and a number with its PSN is one card.
func (m *machine) noCardIsMadeTwice() {
	m.Helper()
	byUID := map[string]orderRow{}
	for _, o := range m.seen.orders {
		byUID[o.uid] = o
	}
	at, told := map[string]string{}, map[string]string{}
	for name, got := range m.has {
		f := m.seen.outgoingNamed(name)
		for _, c := range got.cards {
			o := byUID[c.uid]
			if f.recipient == "card-system" {
				if other := told[c.uid]; other != "" {
					m.Fatalf("the card system was told of %s in %s and in %s", c.uid, other, name)
				}
				told[c.uid] = name
				continue
			}
			if other, is := m.made[c.pan+"/"+c.psn], fmt.Sprintf("card %d, expiry %s", o.embossed, c.expiry); other != "" && other != is {
				m.Fatalf("one card number with the PSN %s is %s and, for order %s, %s", c.psn, other, c.uid, is)
			} else {
				m.made[c.pan+"/"+c.psn] = is
			}
			if m.refused[name] {
				continue
			}
			if other := at[c.uid]; other != "" {
				m.Fatalf("order %s is in %s and in %s", c.uid, other, name)
			}
			if at[c.uid] = name; o.file != f.id {
				m.Fatalf("%s of the bureau has order %s, which the ledger has in %q as %s", name, c.uid, m.seen.outgoing[o.file].name, o.state)
			}
		}
	}
}

// auditHolds: the chain holds, and nothing of it ever goes or changes.
func (m *machine) auditHolds(was *rows) {
	m.Helper()
	if len(m.seen.audit) < len(was.audit) || !slices.Equal(m.seen.audit[:len(was.audit)], was.audit) {
		m.Fatalf("the audit chain had %d entries, and now other %d", len(was.audit), len(m.seen.audit))
	}
	if len(m.seen.audit) == len(was.audit) {
		return
	}
	if _, err := m.verify(); err != nil {
		m.Fatalf("the audit chain is broken: %v", err)
	}
}

// nothingIsClear: no card number stands in a file, but in what senders dropped and nobody took yet.
func (m *machine) nothingIsClear() {
	m.Helper()
	for id := int64(1); id <= lastCard; id++ {
		m.numbers[cardNumber(id)] = true
	}
	if len(m.numbers) > m.searched { // what was looked through may hold a number that nobody knew then
		clear(m.scanned)
		m.searched = len(m.numbers)
	}
	err := filepath.WalkDir(m.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if path == m.Path("inbox") || path == m.Path("state", "intake") {
				return fs.SkipDir
			}
			return err
		}
		info, err := d.Info()
		if now := (scannedFile{info.Size(), info.ModTime()}); err != nil || m.scanned[path] == now {
			return err
		} else {
			m.scanned[path] = now
		}
		content, err := os.ReadFile(path)
		for pan := range m.numbers {
			if bytes.Contains(content, []byte(pan)) {
				m.Fatalf("a card number stands in %s", m.Relative(path))
			}
		}
		return err
	})
	if err != nil {
		m.Fatal(err)
	}
}

// count says what came of a step.
func (m *machine) count(was *rows) {
	for id, o := range m.seen.orders {
		if before := was.orders[id]; o.state != before.state {
			m.happened["orders "+o.state]++
		}
	}
	for id, f := range m.seen.outgoing {
		if before := was.outgoing[id]; f.state != before.state && f.recipient != "card-system" {
			m.happened["files "+before.state+">"+f.state]++
		}
	}
	for id, h := range m.seen.holds {
		if before := was.holds[id]; h.state != before.state {
			m.happened["holds "+h.state]++
		}
	}
	if m.seen.disputes > was.disputes {
		m.happened["disputes"]++
	}
}

// rememberOrders keeps how each new order's card was before it and is now.
func (m *machine) rememberOrders(was *rows) {
	for id, o := range m.seen.orders {
		if _, known := was.orders[id]; !known {
			m.before[id], m.after[id] = m.atDecide[o.card], m.seen.cards[o.card]
			m.returnable[id] = o.bureau == "alpha" && m.mayHold
		}
	}
}
