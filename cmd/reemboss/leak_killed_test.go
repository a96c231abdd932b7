package main

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"reemboss/testdata/proof"
)

// killedMoments is how often a process is killed.
func killedMoments() int { return max(3, proof.Share(50)) }

// moments are random ones at which processes of one workspace are killed, with what lay on its disk after each.
type moments struct {
	*featured
	t     *testing.T
	rnd   *rand.Rand
	cards []plastic // more than the features' own
	rows  []string  // of their extract, with its header
	waves int
	kept  map[[sha256.Size]byte]bool
	left  []leftOver
	said  [][]byte
}

// leftOver is a file as it lay there after a moment, where it had not lain so before.
type leftOver struct{ moment, path, content string }

// Killed with SIGKILL at random moments, in the middle of a night or of what a person does, half of them between two
// instructions that nobody chose: nothing of what then lies on the disk is in clear, the write-ahead log included, but for
// what is still the sender's own (the inbox, and what was taken from it and not yet answered). The next process goes on
// each time; new extracts, requests, approvals and answers of the bureaus keep coming. At the end the night is finished
// and all is searched once more.
func TestInvariant5_NothingClearAnywhereAfterKillsAtRandomMoments(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("REEMBOSS_LEAK_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("REEMBOSS_LEAK_SEED=%d", seed)
	m := &moments{featured: everyFeature(t), t: t, rnd: rand.New(rand.NewPCG(seed, 5)), kept: map[[sha256.Size]byte]bool{}}
	extract, cards := sampleCards(t, 500)
	m.rows, m.cards = strings.Split(strings.TrimSpace(string(extract)), "\n"), cards
	for _, c := range cards {
		m.s.pan(c.pan, "the number of card "+c.id)
	}
	requests, careless := m.carelessNight()
	m.s.join(careless)
	for name, content := range m.signedRequests() {
		m.write("inbox/"+name, content)
	}
	t.Logf("%d requests wait", len(requests))
	kills, wanted := 0, killedMoments()
	for tries := 0; kills < wanted && tries < 4*wanted; tries++ {
		if tries%4 == 3 {
			m.wave()
		}
		if moment, killed := m.moment(); killed {
			kills++
			m.keep(fmt.Sprintf("moment %d, %s", kills, moment))
		}
	}
	if kills < wanted {
		t.Errorf("only %d processes could be killed", kills)
	}
	m.finish()
	m.search(kills)
}

// wave brings new cards, requests for them, answers of the bureaus, and lets somebody approve what is held.
func (m *moments) wave() {
	m.t.Helper()
	const size = 20
	from := 90 + m.waves*size
	if from+size > len(m.cards) {
		return
	}
	m.waves++
	extract := lines(append([]string{m.rows[0]}, m.rows[1+from:1+from+size]...)...)
	if m.waves%2 == 0 {
		m.write(fmt.Sprintf("inbox/cards/wave-%d.csv.pgp", m.waves), m.sealExtract(extract))
	} else {
		m.write(fmt.Sprintf("inbox/cards/wave-%d.csv", m.waves), extract)
	}
	text := []string{"card_id,user_id,reason_code,remark"}
	for i, c := range m.cards[from : from+size] {
		text = append(text, c.id+","+c.customer+","+[]string{"lost", "damaged", "fraud"}[i%3]+",see "+spaced(c.pan))
	}
	if m.waves%2 == 0 {
		m.write(fmt.Sprintf("inbox/wave-%d.csv", m.waves), lines(text...))
	} else {
		m.write(fmt.Sprintf("inbox/wave-%d.csv.asc", m.waves), m.clearSigned("anna", lines(text...)))
	}
	for i, hold := range m.openHolds() {
		if text := m.start(nil, "--dir", m.Dir, "approve", hold, "--print", "--reason", "wave").stdout; i < 3 {
			m.write("inbox/"+hold+".asc", m.clearSigned("ben", text))
		}
	}
	m.start(nil, "--dir", m.Dir, "bureau", "simulate", "--once", "--at", fmt.Sprintf("+%dh", 30*m.waves), "--reject", "20")
	m.theirs = append(m.theirs, slices.Collect(maps.Keys(m.files("simulator/alpha/returns", "simulator/beta/returns")))...)
}

// moment starts something and kills it: at its nth point, or from outside after some milliseconds.
func (m *moments) moment() (told string, killed bool) {
	m.t.Helper()
	args := []string{"run", "--json"}
	if m.rnd.IntN(5) == 0 {
		path := filepath.Join(m.t.TempDir(), "by hand.csv")
		if err := os.WriteFile(path, lines(m.rows[:91]...), 0o600); err != nil {
			m.t.Fatal(err)
		}
		acts := [][]string{{"cards", "import", path}, {"keys", "rotate", "sealing"}, {"keys", "rotate", "index"}, {"keys", "rotate", "kek"}, {"status", "--json"}}
		if sent := m.glob("simulator/alpha/incoming/*.pgp"); len(sent) > 0 {
			acts = append(acts, []string{"resend", filepath.Base(sent[m.rnd.IntN(len(sent))]), "--reason", "again " + m.cards[1].pan})
		}
		args = acts[m.rnd.IntN(len(acts))]
	}
	var env []string
	after := time.Duration(-1)
	if m.rnd.IntN(2) == 0 {
		nth := 1 + m.rnd.IntN(60)
		if args[0] != "run" {
			nth = 1 + m.rnd.IntN(3)
		}
		env, told = []string{fmt.Sprintf("REEMBOSS_KILL_AFTER=%d", nth)}, fmt.Sprintf("%s killed at its point %d", args[0], nth)
	} else {
		after = time.Duration(5+m.rnd.IntN(400)) * time.Millisecond
		told = fmt.Sprintf("%s killed after %v", args[0], after)
	}
	cmd, out, complaints := m.command(env, append([]string{"--dir", m.Dir, "--log-level", "debug"}, args...)...)
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	if after >= 0 {
		timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // one that has ended is none to kill
		defer timer.Stop()
	}
	r := m.ended(cmd, cmd.Wait(), out, complaints)
	if r.exit == exitFault {
		m.t.Fatalf("%s ended with exit code 1\n%s", told, maskedText(string(r.stderr)))
	}
	m.said = append(m.said, r.stdout, r.stderr)
	return told, r.killed
}

// keep notes every file that is not as it was at an earlier moment, but for the senders' and the bureaus' own.
func (m *moments) keep(moment string) {
	m.t.Helper()
	for path, content := range m.files(".") {
		if strings.HasPrefix(path, "inbox/") || strings.HasPrefix(path, "state/intake/") || strings.HasPrefix(path, "simulator/") && strings.Contains(path, "/returns/") {
			continue
		}
		if sum := sha256.Sum256([]byte(path + "\x00" + content)); !m.kept[sum] {
			m.kept[sum] = true
			m.left = append(m.left, leftOver{moment, path, content})
		}
	}
}

// finish works until nothing is held, nothing is left in the inbox and the bureaus have all.
func (m *moments) finish() {
	m.t.Helper()
	for range 4 {
		for _, hold := range m.openHolds() {
			text := m.start(nil, "--dir", m.Dir, "approve", hold, "--print", "--reason", "the end").stdout
			m.write("inbox/"+hold+".asc", m.clearSigned("ben", text))
		}
		r := m.start(nil, "--dir", m.Dir, "--log-level", "debug", "run")
		if r.exit != exitComplete && r.exit != exitPerson {
			m.t.Fatalf("the last night: exit %d\n%s", r.exit, maskedText(string(r.stderr)))
		}
		m.said = append(m.said, r.stdout, r.stderr)
	}
	if left := m.files("state/intake", "inbox"); len(left) > 0 {
		m.t.Errorf("%d files are left in the inbox and the intake", len(left))
	}
}

// search looks through all that was kept, and through the workspace at its end, for all that is known by now.
func (m *moments) search(kills int) {
	m.t.Helper()
	pins, control := m.secretsOfPINs(), m.secretsOfTheNight(m.s)
	if pins < 10 || len(control) < 30 {
		m.t.Errorf("only %d PINs and %d cards were made", pins, len(control))
	}
	hunt, violated, bytes := m.s.hunt(), map[string]bool{}, 0
	for _, l := range m.left {
		bytes += len(l.content)
		search := hunt.search
		if strings.HasPrefix(l.path, "state/ledger.sqlite") {
			search = hunt.pieces
		}
		search(l.path, []byte(l.content), func(place, what string) {
			violated[l.moment] = true
			m.t.Errorf("%s: %s: %s", l.moment, maskedText(place), what)
		})
	}
	m.said = append(m.said, m.featured.rows())
	for _, place := range m.s.leaksButFor(m.t, m.workspace, m.theirs, m.said...) {
		violated["the end"] = true
		m.t.Error("at the end: " + place)
	}
	m.t.Logf("%d moments, %d files changed by them, %d MB, %d PINs, %d cards", kills, len(m.left), bytes>>20, pins, len(control))
	proof.Tell(m.t, "moments searched for leaks", kills, len(violated))
}
