package batch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgregory.net/rapid"

	"reemboss/batch/ledger"
)

// What may happen, one function each. Those that cannot happen now are left out by [rapid.T.Skip] before anything is drawn.

func (m *machine) steps() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"a request file is dropped":           func(*rapid.T) { m.requestFile() },
		"two request files are dropped":       func(*rapid.T) { m.requestFile(); m.requestFile() },
		"a copy of a request file is dropped": func(*rapid.T) { m.copyOfAFile() },
		"a card extract is dropped":           func(*rapid.T) { m.extractOfToday() },
		"a night":                             func(*rapid.T) { m.night(0, quiet) },
		"the night of the next day":           func(*rapid.T) { m.nextDay(); m.night(0, quiet) },
		"a night twice":                       func(*rapid.T) { m.nightTwice() },
		"a night is killed":                   func(*rapid.T) { m.night(m.dies(60), m.trouble()) },
		"a night with a transfer in trouble":  func(*rapid.T) { m.night(0, m.trouble()) },
		"a bureau answers":                    func(*rapid.T) { m.bureauAnswers() },
		"a bureau answers again":              func(*rapid.T) { m.bureauAnswersAgain() },
		"a bureau refuses a file":             func(*rapid.T) { m.bureauRefuses() },
		"a bureau speaks of a refused file":   func(*rapid.T) { m.bureauSpeaksOfARefusedFile() },
		"somebody approves":                   func(*rapid.T) { m.approve() },
		"somebody signs a decision":           func(*rapid.T) { m.signDecision() },
		"a hold is cancelled":                 func(*rapid.T) { m.cancelAHold() },
		"a file is cancelled":                 func(*rapid.T) { m.cancelAFile() },
		"a file is sent again":                func(*rapid.T) { m.resend() },
		"a transfer is resolved":              func(*rapid.T) { m.resolve() },
		"a dispute is settled":                func(*rapid.T) { m.settleADispute() },
		"the configuration is changed":        func(*rapid.T) { m.reconfigure() },
		"a key is rotated":                    func(*rapid.T) { m.rotate() },
		"the clock jumps":                     func(*rapid.T) { m.clock() },
	}
}

func pick[T any](m *machine, what string, from ...T) T {
	m.Helper()
	return rapid.SampledFrom(from).Draw(m.rt, what)
}

// choose draws one of a list; a step that finds it empty is left out.
func choose[T any](m *machine, what string, list []T) T {
	m.Helper()
	if len(list) == 0 {
		m.rt.Skip()
	}
	return list[rapid.IntRange(0, len(list)-1).Draw(m.rt, what)]
}

// dies draws at which named point a process is killed.
func (m *machine) dies(most int) int {
	return rapid.IntRange(1, most).Draw(m.rt, "killed at its point")
}

// sometimes draws whether a person's command is killed, and where; mostly 0.
func (m *machine) sometimes() int {
	return pick(m, "killed at point", 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
}

const lastCard = 20 // of the card master; 1 and 2 have one number

// body is the card number of the card master's card, without its check digit.
func body(id int64) string {
	switch {
	case id == 2:
		return body(1)
	case id%3 == 0:
		return fmt.Sprintf("555555%09d", id)
	}
	return fmt.Sprintf("411111%09d", id)
}

func cardNumber(id int64) string { return body(id) + string(luhn(body(id))) }

// extract drops the card master as it is now.
func (m *machine) extract() {
	m.Helper()
	var lines strings.Builder
	lines.WriteString("card_id,customer_id,status,pan,psn,program_id,product,expiry,printed_name,address_line1,city,postcode,country\n")
	for id := int64(1); id <= lastCard; id++ {
		product, psn, program := "visa-classic", 0, 100
		if id%3 == 0 {
			product = "mc-gold"
		}
		if id == 2 {
			psn = 1
		}
		if id%10 == 0 {
			program = 200
		}
		if m.master[id] == "" {
			m.master[id] = "NORMAL"
		}
		fmt.Fprintf(&lines, "%d,C%d,%s,%s,%02d,%d,%s,2029-10,Anna Smith,1 Street,Berlin,10115,DE\n", id, id, m.master[id], cardNumber(id), psn, program, product)
	}
	m.names++
	if err := os.WriteFile(filepath.Join(m.InboxCards(), fmt.Sprintf("master-%03d.csv", m.names)), []byte(lines.String()), 0o600); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) extractOfToday() {
	for range pick(m, "cards with another status", 1, 2, 3) {
		id := rapid.Int64Range(1, lastCard).Draw(m.rt, "card")
		m.master[id] = pick(m, "status", "NORMAL", "BLOCKED", "CREATED", "PENDING", "LOST", "EXPIRED")
	}
	m.extract()
}

// requestFile drops a request file of up to five rows, right and wrong.
func (m *machine) requestFile() {
	reissue := pick(m, "asks for", "reissue", "reissue", "reemboss") == "reissue"
	var text strings.Builder
	text.WriteString("card_id,reference,submitter\n")
	if reissue {
		text.Reset()
		text.WriteString("card_id,user_id,reason_code,reissue_type,reference,submitter\n")
	}
	n := rapid.IntRange(1, 5).Draw(m.rt, "rows")
	for range n {
		card := m.someCard()
		reference := pick(m, "reference", "", "", "", "", "", "", "R1", "R2", "R3", "R4", "R5", "a card number")
		if reference == "a card number" {
			reference = cardNumber(3)
		}
		submitter := pick(m, "submitter", "", "", "branch 7", "ben", "Carol Example")
		if !reissue {
			fmt.Fprintf(&text, "%d,%s,%s\n", card, reference, submitter)
			continue
		}
		holder := m.holder(card)
		if pick(m, "holder", "its own", "its own", "its own", "its own", "another") == "another" {
			holder = "C0"
		}
		reason := pick(m, "reason", "1", "3", "5", "2", "4", "6", "lost", "9")
		fmt.Fprintf(&text, "%d,%s,%s,%s,%s,%s\n", card, holder, reason, pick(m, "type", "", "", "", "1", "3"), reference, submitter)
	}
	m.dropRequest(text.String(), n)
}

// someCard draws a card: of the card master, one that a reissue made, or one that nobody knows.
func (m *machine) someCard() int64 {
	made := []int64{lastCard + 1}
	for id := range m.seen.cards {
		if id > lastCard {
			made = append(made, id)
		}
	}
	slices.Sort(made)
	which := rapid.IntRange(1, lastCard+len(made)).Draw(m.rt, "card")
	if which <= lastCard {
		return int64(which)
	}
	return made[which-lastCard-1]
}

func (m *machine) holder(card int64) string {
	if c, known := m.seen.cards[card]; known {
		return c.customer
	}
	return fmt.Sprintf("C%d", card)
}

func (m *machine) dropRequest(content string, n int) {
	m.names++
	d := &droppedFile{name: fmt.Sprintf("f%03d.csv", m.names), content: content, rows: n}
	m.dropped = append(m.dropped, d)
	m.drop(d.name, content)
}

func (m *machine) copyOfAFile() {
	d := choose(m, "file", m.dropped)
	m.dropRequest(d.content, d.rows)
}

// Trouble of a night's transfers.
type trouble string

const (
	quiet       trouble = "none"
	lostForEver trouble = "a transfer is lost"
	takenAway   trouble = "a transfer ends nowhere, and the bureau has the file"
	unreachable trouble = "alpha lets nobody in"
)

func (m *machine) trouble() trouble {
	return pick(m, "trouble", quiet, lostForEver, takenAway, unreachable)
}

// night works a night, perhaps until it is killed.
func (m *machine) night(dies int, what trouble) {
	m.Helper()
	door := filepath.Join(m.Simulator("alpha"), "keys", "authorized_keys")
	if what == unreachable {
		if err := os.Rename(door, door+".away"); err != nil {
			m.Fatal(err)
		}
	}
	var r *Result
	died := m.process(dies, func(_ *Night, point string) {
		switch {
		case point == "stage/decide":
			m.atDecide = m.ledgerRows().cards
		case point == "sent/RENAMING" && (what == lostForEver || what == takenAway):
			m.lose(what == takenAway)
		}
	}, func(n *Night) {
		var err error
		if r, err = n.Run(m.Context()); err != nil {
			m.Fatalf("the night stopped: %v", err)
		}
	})
	if what == unreachable {
		if err := os.Rename(door+".away", door); err != nil {
			m.Fatal(err)
		}
	}
	m.giveBack()
	if !died {
		m.look()
		m.afterNight(r)
	}
}

// nightTwice: a finished night run again changes nothing and sends nothing.
func (m *machine) nightTwice() {
	m.night(0, quiet)
	first := m.seen
	m.night(0, quiet)
	m.sameRows(first, m.seen)
}

// live are the files that a bureau has and did not refuse, in the order of their names.
func (m *machine) live() (list []outgoingRow) {
	for _, f := range m.seen.outgoing {
		if m.has[f.name] != nil && !m.refused[f.name] && f.recipient != "card-system" {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b outgoingRow) int { return strings.Compare(a.name, b.name) })
	return list
}

// bureauAnswers drops a return file about one file: anything may happen to a card, late and in any order.
func (m *machine) bureauAnswers() {
	f := choose(m, "file", m.live())
	var lines []string
	for range rapid.IntRange(1, 4).Draw(m.rt, "lines") {
		at := m.latest.Add(-time.Duration(pick(m, "hours ago", 0, 1, 5, 30)) * time.Hour).UTC().Format(time.RFC3339)
		cards := m.has[f.name].cards
		uid := cards[rapid.IntRange(0, len(cards)-1).Draw(m.rt, "card")].uid
		status := pick(m, "status", "RECEIVED", "ACKED", "REJECTED", "PRODUCED", "SHIPPED", "DELIVERED", "RETURNED", "LOST", "a wrong count", "an unknown card")
		switch status {
		case "RECEIVED":
			lines = append(lines, fmt.Sprintf("FILE,%s,%d,,RECEIVED,%d,,,,,%s", f.name, f.sequence, f.records, at))
		case "a wrong count":
			lines = append(lines, fmt.Sprintf("FILE,%s,%d,,RECEIVED,%d,,,,,%s", f.name, f.sequence, f.records+1, at))
		case "an unknown card":
			lines = append(lines, fmt.Sprintf("CARD,%s,%d,00000000000000000000,SHIPPED,,,,,,%s", f.name, f.sequence, at))
		default:
			lines = append(lines, fmt.Sprintf("CARD,%s,%d,%s,%s,,,,,,%s", f.name, f.sequence, uid, status, at))
		}
	}
	m.told[f.name] = true
	m.answerFile(f.recipient, lines)
}

func (m *machine) answerFile(bureau string, lines []string) {
	m.names++
	m.returned = append(m.returned, returnedFile{bureau, lines})
	m.answerOf(bureau, fmt.Sprintf("r%03d.csv", m.names), lines...)
}

func (m *machine) bureauAnswersAgain() {
	r := choose(m, "return file", m.returned)
	lines := r.lines
	if pick(m, "the same", true, false) {
		lines = slices.Clone(lines)
		slices.Reverse(lines)
	}
	m.answerFile(r.bureau, lines)
}

// bureauRefuses: a file that it refuses the bureau takes away, makes no card of it, and tells nothing else.
func (m *machine) bureauRefuses() {
	fresh := slices.DeleteFunc(m.live(), func(f outgoingRow) bool { return m.told[f.name] })
	if m.now.Before(m.latest) {
		m.rt.Skip()
	}
	f := choose(m, "file", fresh)
	m.refused[f.name] = true
	if err := os.Remove(m.arrivesAt(f)); err != nil {
		m.Fatal(err)
	}
	m.answerFile(f.recipient, []string{fmt.Sprintf("FILE,%s,%d,,REFUSED,,E01,,,,%s", f.name, f.sequence, m.now.UTC().Format(time.RFC3339))})
}

// bureauSpeaksOfARefusedFile: what contradicts its refusal, whatever became of the file since. In truth it made nothing of it.
func (m *machine) bureauSpeaksOfARefusedFile() {
	var list []outgoingRow
	for _, f := range m.seen.outgoing {
		if m.refused[f.name] {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b outgoingRow) int { return strings.Compare(a.name, b.name) })
	f := choose(m, "file", list)
	at := m.latest.Add(-time.Duration(pick(m, "hours ago", 0, 1)) * time.Hour).UTC().Format(time.RFC3339)
	line := fmt.Sprintf("FILE,%s,%d,,RECEIVED,%d,,,,,%s", f.name, f.sequence, f.records, at)
	if status := pick(m, "status", "RECEIVED", "PRODUCED", "SHIPPED", "DELIVERED", "LOST"); status != "RECEIVED" {
		line = fmt.Sprintf("CARD,%s,%d,%s,%s,,,,,,%s", f.name, f.sequence, m.has[f.name].cards[0].uid, status, at)
	}
	m.answerFile(f.recipient, []string{line})
}

// heldNow are the holds that wait for a decision.
func (m *machine) heldNow() (list []holdRow) {
	for _, h := range m.seen.holds {
		if h.state == string(ledger.Held) {
			list = append(list, h)
		}
	}
	slices.SortFunc(list, func(a, b holdRow) int { return strings.Compare(a.name, b.name) })
	return list
}

// mayApprove is the rule of newHall's people: anna everything, ben alpha, carol one card of alpha, dora beta; nobody his own.
func (m *machine) mayApprove(who string, h holdRow) bool {
	switch {
	case who == "anna":
	case who == "ben" && h.bureau == "alpha":
	case who == "carol" && h.bureau == "alpha" && h.records == 1:
	default:
		return false
	}
	for _, o := range m.seen.orders {
		asked := strings.ToLower(m.seen.answers[o.answer].submitter)
		if o.hold == h.id && asked != "" && strings.Fields(asked)[0] == who {
			return false
		}
	}
	return true
}

func (m *machine) approve() {
	h, who := choose(m, "hold", m.heldNow()), pick(m, "who", "anna", "ben", "carol", "dora", "mallory")
	may := m.mayApprove(who, h)
	if may {
		m.authorise(h.name, ledger.Approved)
	}
	var err error
	died := m.process(m.sometimes(), nil, func(n *Night) {
		n.Login = func() (string, error) { return who, nil }
		_, err = n.Approve(m.Context(), h.name, "looked at")
	})
	if died {
		return
	}
	before := m.seen
	m.look()
	disputed := may && err != nil && m.seen.disputes > 0
	if may != (err == nil) && !disputed {
		m.Fatalf("%s approves %s: %v", who, h.name, err)
	}
	if err != nil {
		m.refusedBySetup(err)
		m.sameRows(before, m.seen)
	}
}

// refusedBySetup: what a person may not do is refused with a sentence, not with a fault.
func (m *machine) refusedBySetup(err error) {
	m.Helper()
	var refused *SetupError
	if !errors.As(err, &refused) {
		m.Fatalf("refused with %v", err)
	}
}

// signDecision drops a signed decision into the inbox; the next night takes it.
func (m *machine) signDecision() {
	h, who, word := choose(m, "hold", m.heldNow()), pick(m, "who", "anna", "ben", "carol", "dora"), pick(m, "decision", "approve", "cancel")
	about := ledger.Hold{Name: h.name, Digest: h.digest}
	switch {
	case pick(m, "digest", "right", "right", "right", "wrong") == "wrong":
		about.Digest = strings.Repeat("0", len(h.digest))
	case !m.mayApprove(who, h):
	case word == "cancel":
		m.authorise(h.name, ledger.HoldCancelled)
	default:
		m.authorise(h.name, ledger.Approved)
	}
	m.names++
	m.drop(fmt.Sprintf("decision-%03d.asc", m.names), clearSigned(m, m.people[who], approvalOf(about, word, "looked at"), m.now))
}

func (m *machine) cancelAHold() {
	m.cancelHold(choose(m, "hold", m.heldNow()), m.sometimes())
}

func (m *machine) cancelHold(h holdRow, dies int) (done bool) {
	m.authorise(h.name, ledger.HoldCancelled)
	before := m.seen
	var err error
	died := m.process(dies, nil, func(n *Night) { _, err = n.CancelHold(m.Context(), h.name, "not wanted") })
	m.look()
	switch {
	case died && m.seen.holds[h.id].state == h.state: // before it was durable
		m.sameRows(before, m.seen)
	case err != nil:
		m.refusedBySetup(err)
		m.sameRows(before, m.seen)
		m.noWayBackIsKnown(h)
	default:
		m.cardsAreRestored(h, before)
		return true
	}
	return false
}

// inState are the files in a state, in the order of their names.
func (m *machine) inState(state ledger.BureauFileState) (list []outgoingRow) {
	for _, f := range m.seen.outgoing {
		if f.state == string(state) {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b outgoingRow) int { return strings.Compare(a.name, b.name) })
	return list
}

func (m *machine) cancelAFile() {
	m.cancelFile(choose(m, "file", append(m.inState(ledger.Refused), m.inState(ledger.Sent)...)), m.sometimes())
}

func (m *machine) cancelFile(f outgoingRow, dies int) {
	before := m.seen
	var err error
	died := m.process(dies, nil, func(n *Night) { _, _, err = n.Cancel(m.Context(), f.name, "made anew") })
	m.look()
	if now := m.seen.outgoing[f.id]; err != nil || now.state != string(ledger.Void) {
		if !died {
			m.refusedBySetup(err)
		}
		m.sameRows(before, m.seen)
	}
}

func (m *machine) resend() {
	list := append(m.inState(ledger.Refused), m.inState(ledger.Sent)...)
	list = slices.DeleteFunc(list, func(f outgoingRow) bool { return f.recipient == "card-system" })
	if m.now.Before(m.latest) {
		m.rt.Skip()
	}
	m.resendFile(choose(m, "file", list), m.sometimes())
}

func (m *machine) resendFile(f outgoingRow, dies int) {
	var err error
	died := m.process(dies, nil, func(n *Night) {
		m.again[f.name] = true
		_, err = n.Resend(m.Context(), f.name, "the bureau asked for it")
	})
	before := m.seen
	m.look()
	if !died && err != nil {
		m.refusedBySetup(err) // its bytes are not kept any more, or what the bureau tells of it contradicts
		m.again[f.name] = false
		m.sameRows(before, m.seen)
	}
}

func (m *machine) resolve() {
	f := choose(m, "file", m.inState(ledger.Undecided))
	m.resolveFile(f, pick(m, "word", "resend", "delivered"), m.sometimes())
}

// resolveFile: the person knows what is true, but may well send again what is there.
func (m *machine) resolveFile(f outgoingRow, word string, dies int) {
	var err error
	m.resolved[f.name] = true
	died := m.process(dies, nil, func(n *Night) {
		if word == "delivered" && m.has[f.name] != nil && !m.refused[f.name] {
			_, err = n.ResolveDelivered(m.Context(), f.name, "the bureau has it")
			return
		}
		m.again[f.name] = true
		_, err = n.ResolveResend(m.Context(), f.name, "the bureau was asked")
	})
	if died || err == nil {
		return
	}
	if m.seen.disputes == 0 {
		m.Fatalf("%s is not resolved: %v", f.name, err)
	}
	m.refusedBySetup(err) // what the bureau tells of it contradicts, and is settled first
	m.again[f.name], m.resolved[f.name] = false, false
}

func (m *machine) settleADispute() {
	if m.seen.disputes == 0 {
		m.rt.Skip()
	}
	m.settle(pick(m, "word", Keep, Take))
}

// settle settles what is disputed: of a file as a whole by what is true.
func (m *machine) settle(word Settlement) {
	if word == Take { // the hold of a card that was made is dissolved
		for _, h := range m.seen.holds {
			m.authorise(h.name, ledger.HoldCancelled)
			m.authorise(h.name, "dissolved")
		}
	}
	m.process(0, nil, func(n *Night) {
		list, _, err := n.Ledger.Disputes(m.Context(), 0)
		if err != nil {
			m.Fatal(err)
		}
		for _, e := range list {
			word := word
			if e.UID == "" {
				f := m.seen.outgoing[e.FileID]
				if word = Keep; (e.Status == "REFUSED") == m.refused[f.name] {
					word = Take
				}
			}
			_, err := n.Settle(m.Context(), strconv.FormatInt(e.ID, 10), word, "the bureau was asked")
			if err != nil {
				m.refusedBySetup(err)
				if _, err = n.Settle(m.Context(), strconv.FormatInt(e.ID, 10), Keep, "the bureau was asked"); err != nil {
					m.Fatalf("event %d is not settled: %v", e.ID, err)
				}
			}
		}
	})
}

// reconfigure changes what operations may change any day.
func (m *machine) reconfigure() {
	switch what := pick(m, "setting", "files", "hold", "order", "after", "retention"); what {
	case "files":
		m.filesOfAlpha()
	case "hold":
		m.rewrite(`(?m)^    hold: (true|false)`, fmt.Sprintf("    hold: %v", pick(m, "alpha is on hold", true, false)))
	case "order":
		m.rewrite(`(?m)^    any_order: (true|false)`, fmt.Sprintf("    any_order: %v", pick(m, "any order", true, false)))
	case "after":
		m.rewrite(`(?m)^      after: (leave|remove)`, "      after: "+pick(m, "after", "leave", "remove"))
	case "retention":
		if pick(m, "retention", "for ever", "days") == "for ever" {
			m.keep(0, 0, 0, 0)
			return
		}
		m.keep(14, 2, 3, 1)
		m.deletes = true
	}
}

// filesOf says how many records a file of alpha has at most (0: any number), and which a second person approves: all, or those of more cards.
type filesOf struct {
	most     int
	approved bool
	above    int
}

func (m *machine) filesOfAlpha() {
	m.shape(pick(m, "files of alpha", filesOf{}, filesOf{approved: true}, filesOf{above: 1}, filesOf{most: 2, approved: true}, filesOf{most: 3, above: 1}, filesOf{most: 3, above: 2}, filesOf{most: 1}, filesOf{most: 2}))
}

func (m *machine) shape(f filesOf) {
	m.mayHold = f.approved || f.above > 0
	m.rewrite(`(?m)^    max_records: \d+`, fmt.Sprintf("    max_records: %d", f.most))
	m.rewrite(`(?m)^      always: (true|false)`, fmt.Sprintf("      always: %v", f.approved))
	m.rewrite(`(?m)^      above: \d+`, fmt.Sprintf("      above: %d", f.above))
}

func (m *machine) rotate() {
	what := pick(m, "key", "sealing", "index")
	m.process(pick(m, "killed at point", 0, 0, 1, 2, 3), nil, func(n *Night) {
		if _, err := n.Rotate(m.Context(), what); err != nil {
			m.Fatal(err)
		}
	})
}

func (m *machine) clock() { m.goOn(pick(m, "hours", 1, 24, 72, 15*24, 95*24, -1, -3)) }

func (m *machine) nextDay() { m.goOn(24) }

func (m *machine) goOn(hours int) {
	m.now = m.now.Add(time.Duration(hours) * time.Hour)
	if m.now.After(m.latest) {
		m.latest = m.now
	}
}
