package batch

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"reemboss/batch/ledger"
)

// What holds after a whole night, after a cancelled hold, and at the end of a sequence.

// afterNight: every file was taken, every row answered, the books balance, and what waits for a person is told.
func (m *machine) afterNight(r *Result) {
	m.Helper()
	m.mustHold(r.Reconciliation)
	if r.Read != r.Accepted+r.Refused+r.Duplicate+r.Held || r.Accepted != r.Written+r.Waiting+r.Cancelled {
		m.Fatalf("read %d accepted %d refused %d duplicate %d held %d; written %d waiting %d cancelled %d", r.Read, r.Accepted, r.Refused, r.Duplicate, r.Held, r.Written, r.Waiting, r.Cancelled)
	}
	for _, f := range r.ListedFiles() {
		if f.Sent != f.Acknowledged+f.Rejected+f.Outstanding {
			m.Fatalf("%s: sent %d, acknowledged %d, rejected %d, outstanding %d", f.Name, f.Sent, f.Acknowledged, f.Rejected, f.Outstanding)
		}
	}
	m.everyFileIsAnswered()
	m.noCopyIsDoneAgain()
	waits := m.whatWaits()
	if len(waits) > 0 && (r.Exit != 4 || len(r.NeedsPerson) == 0) || r.Exit != 0 && r.Exit != 4 {
		m.Fatalf("exit %d, and a person must know of %v; the report asks for %+v", r.Exit, waits, r.NeedsPerson)
	}
}

// whatWaits is what a person must know of.
func (m *machine) whatWaits() (list []string) {
	for _, f := range m.seen.outgoing {
		if f.state != string(ledger.Sent) && f.state != string(ledger.Void) {
			list = append(list, f.name+" "+f.state)
		}
	}
	for _, o := range m.seen.orders {
		if o.state == string(ledger.Queued) {
			list = append(list, o.uid+" QUEUED")
		}
	}
	if m.seen.disputes > 0 {
		list = append(list, "disputes")
	}
	return list
}

// everyFileIsAnswered: no request file is lost, each row has its answer, and the sender's bytes are kept.
func (m *machine) everyFileIsAnswered() {
	m.Helper()
	byName, answers := map[string]requestRow{}, map[int64]int{}
	for _, f := range m.seen.requests {
		byName[f.name] = f
		if f.state != string(ledger.Answered) {
			m.Fatalf("%s is %s after a whole night", f.name, f.state)
		}
	}
	for _, a := range m.seen.answers {
		answers[a.file]++
	}
	for _, d := range m.dropped {
		f, taken := byName[d.name]
		if !taken || fileThere(m.Path("inbox", d.name)) {
			m.Fatalf("%s was not taken (%v)", d.name, taken)
		}
		if want := d.rows; answers[f.id] != want && (f.code == "" || answers[f.id] != 1) {
			m.Fatalf("%s has %d rows and %d answers (code %q)", d.name, d.rows, answers[f.id], f.code)
		}
		m.bytesAreKept(d, f)
	}
	left, err := filepath.Glob(m.Path("state", "intake", "*"))
	if err != nil || len(left) > 0 {
		m.Fatalf("state/intake still has %v (%v)", left, err)
	}
}

func (m *machine) bytesAreKept(d *droppedFile, f requestRow) {
	m.Helper()
	content, err := os.ReadFile(m.Path(f.final))
	if os.IsNotExist(err) && m.deletes {
		return
	}
	if err == nil && strings.HasSuffix(f.final, ".pgp") {
		n := m.open()
		defer n.Close()
		content, err = m.opened(m.Path(f.final), n.ownKey)
	}
	if err != nil || !bytes.Equal(content, []byte(d.content)) {
		m.Fatalf("%s is not kept as it was dropped (%v)", d.name, err)
	}
}

// noCopyIsDoneAgain: of files with one content that were taken within 90 days of each other only one has accepted rows.
func (m *machine) noCopyIsDoneAgain() {
	m.Helper()
	accepted := map[int64]int{}
	for _, a := range m.seen.answers {
		if a.outcome == "accepted" {
			accepted[a.file]++
		}
	}
	content := map[string]string{}
	for _, d := range m.dropped {
		sum := sha256.Sum256([]byte(d.content))
		content[d.name] = hex.EncodeToString(sum[:])
	}
	first := map[string]requestRow{}
	for _, id := range slices.Sorted(maps.Keys(m.seen.requests)) {
		f := m.seen.requests[id]
		if accepted[id] == 0 || content[f.name] == "" {
			continue
		}
		if one, again := first[content[f.name]]; again && f.claimed.Sub(one.claimed) < 89*24*time.Hour {
			m.Fatalf("%s is a copy of %s, and %d rows of it were accepted", f.name, one.name, accepted[id])
		}
		first[content[f.name]] = f
	}
}

// sameRows: nothing was done.
func (m *machine) sameRows(was, now *rows) {
	m.Helper()
	if !maps.Equal(was.orders, now.orders) || !maps.Equal(was.outgoing, now.outgoing) || !maps.Equal(was.holds, now.holds) ||
		!maps.Equal(was.requests, now.requests) || !maps.Equal(was.answers, now.answers) || !maps.Equal(was.cards, now.cards) {
		m.Fatalf("something was done that was not to be done:\n%+v\n%+v", was, now)
	}
}

// cardsAreRestored: the requested cards of a cancelled hold are what they were before their orders, but for what somebody
// else changed since; cards that it made are DELETED; every other card is as it was. A re-embossing that can not be put
// back leaves its card with what it was made of, or may have been.
func (m *machine) cardsAreRestored(h holdRow, was *rows) {
	m.Helper()
	want := maps.Clone(was.cards)
	for id, o := range m.seen.orders {
		if o.hold != h.id {
			continue
		}
		if o.state != string(ledger.Cancelled) {
			m.Fatalf("%s is cancelled, and its order %s is %s", h.name, o.uid, o.state)
		}
		if !m.canBePutBack(id, o) {
			continue
		}
		before, after, now := m.before[id], m.after[id], was.cards[o.card]
		want[o.card] = cardRow{
			status: back(before.status, after.status, now.status), start: back(before.start, after.start, now.start), cvk: back(before.cvk, after.cvk, now.cvk),
			name: back(before.name, after.name, now.name), customer: now.customer, psn: back(before.psn, after.psn, now.psn), expiry: back(before.expiry, after.expiry, now.expiry),
			validity: back(before.validity, after.validity, now.validity), successor: back(before.successor, after.successor, now.successor),
		}
		if o.embossed != o.card {
			made := was.cards[o.embossed]
			made.status = ledger.Deleted
			want[o.embossed] = made
		}
	}
	for id, c := range want {
		if m.seen.cards[id] != c {
			m.Fatalf("after %s was cancelled card %d is %+v, and should be %+v", h.name, id, m.seen.cards[id], c)
		}
	}
}

// back is a field's value of before, where it still has the one that the order gave it.
func back[T comparable](before, after, now T) T {
	if now == after {
		return before
	}
	return now
}

// noWayBackIsKnown: a hold is only refused to be cancelled where an order of it was accepted while files could not be held, or came out of a refused file.
func (m *machine) noWayBackIsKnown(h holdRow) {
	m.Helper()
	for id, o := range m.seen.orders {
		if o.hold == h.id && o.kind == "reissue" && !m.canBePutBack(id, o) {
			return
		}
	}
	m.Fatalf("%s cannot be cancelled, though every card of it could be put back", h.name)
}

// canBePutBack: the order was accepted while files of its bureau could be held, and no bureau ever had it.
func (m *machine) canBePutBack(id int64, o orderRow) bool {
	return m.returnable[id] && !m.wasInAFile(o.uid)
}

func (m *machine) wasInAFile(uid string) bool {
	for _, got := range m.has {
		for _, c := range got.cards {
			if c.uid == uid {
				return true
			}
		}
	}
	return false
}

// comeToAnEnd has nothing held, nothing on hold and no trouble any more, and persons who do what the report asks for. Then
// every accepted card is in one file that its bureau has, or was rejected by it, or cancelled by a person.
func (m *machine) comeToAnEnd() {
	m.Helper()
	m.shape(filesOf{})
	m.rewrite(`(?m)^    hold: (true|false)`, "    hold: false")
	if m.now.Before(m.latest) {
		m.now = m.latest
	}
	for range 4 {
		m.night(0, quiet)
		m.now = m.now.Add(time.Hour)
		m.doWhatIsAsked()
	}
	m.night(0, quiet)
	live := map[string]string{}
	for _, f := range m.live() {
		for _, c := range m.has[f.name].cards {
			live[c.uid] = f.name
		}
		if f.state != string(ledger.Sent) {
			m.Errorf("%s is %s at the end", f.name, f.state)
		}
	}
	for _, o := range m.seen.orders {
		cancelled, rejected := o.state == string(ledger.Cancelled), o.state == string(ledger.Rejected)
		if (live[o.uid] != "") == cancelled && !rejected && !m.madeAllTheSame(o) && !(o.state == string(ledger.SentO) && m.askedAgain(o)) {
			m.Errorf("order %s is %s at the end, and at its bureau in %q", o.uid, o.state, live[o.uid])
		}
	}
	if waits := m.whatWaits(); len(waits) > 0 {
		m.Errorf("at the end there wait %v", waits)
	}
}

func (m *machine) doWhatIsAsked() {
	m.Helper()
	m.settle(Keep)
	m.look()
	for _, h := range m.heldNow() {
		if len(m.seen.orders)%2 == 0 && m.cancelHold(h, 0) {
			continue
		}
		m.authorise(h.name, ledger.Approved)
		m.as("anna", func(n *Night) {
			if _, err := n.Approve(m.Context(), h.name, ""); err != nil {
				m.Fatalf("%s: %v", h.name, err)
			}
		})
		m.look()
	}
	for _, f := range m.inState(ledger.Undecided) {
		m.resolveFile(f, "delivered", 0)
		m.look()
	}
	for _, f := range m.inState(ledger.Refused) {
		m.resendFile(f, 0)
		if m.seen.outgoing[f.id].state == string(ledger.Refused) { // its bytes are not kept any more, or cards of it were made all the same
			m.cancelFile(m.seen.outgoing[f.id], 0)
		}
	}
}
