package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"

	"reemboss/batch"
	"reemboss/batch/ledger"
)

// spoken is what processes said, and which commands were asked for, with --json and without.
type spoken struct {
	*featured
	t         *testing.T
	temporary string
	said      [][]byte
	asked     map[string]bool
}

// say runs a command of the workspace; exits are the codes that it may have.
func (s *spoken) say(exits []int, args ...string) ended {
	s.t.Helper()
	r := s.start([]string{"TMPDIR=" + s.temporary}, append([]string{"--dir", s.Dir, "--log-level", "debug"}, args...)...)
	if !slices.Contains(exits, r.exit) {
		s.t.Errorf("%s: exit %d, want %v\n%s", maskedText(strings.Join(args, " ")), r.exit, exits, maskedText(string(r.stderr)))
	}
	s.hear(r, args...)
	return r
}

func (s *spoken) hear(r ended, args ...string) {
	for _, text := range [][]byte{r.stdout, r.stderr} {
		s.said = append(s.said, append([]byte(maskedText("reemboss "+strings.Join(args, " "))+"\n"), text...))
	}
	asked := strings.Join(args, " ")
	if slices.Contains(args, "--json") {
		asked = "--json " + asked
	}
	s.asked[asked] = true
}

// wasAsked says that a command of that name was, or one of it with --json.
func (s *spoken) wasAsked(path string, json bool) bool {
	for asked := range s.asked {
		line, had := strings.CutPrefix(asked, "--json ")
		if (line == path || strings.HasPrefix(line, path+" ")) && (!json || had) {
			return true
		}
	}
	return false
}

// everyCommand are the paths of all commands that the program has; true: it has --json.
func everyCommand(t *testing.T) map[string]bool {
	t.Helper()
	parser, err := kong.New(new(commands), kong.Name("reemboss"), kong.Vars{"version": "", "loglevel": "info"})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, leaf := range parser.Model.Leaves(true) {
		path := strings.TrimPrefix(leaf.Path(), "reemboss ")
		all[path] = slices.ContainsFunc(leaf.Flags, func(f *kong.Flag) bool { return f.Name == "json" })
	}
	return all
}

var (
	fine     = []int{exitComplete}
	complete = []int{exitComplete, exitPerson}
	refused  = []int{exitUsage, exitPerson}
	anyhow   = []int{exitComplete, exitUsage, exitPerson}
)

// A night with every feature on, and every command that there is, most of them given a card number where none belongs. Then
// every byte is searched of the workspace, the simulators' folders included, of what the processes said and what anybody
// was told, of the rows of the ledger, of arguments and environment, of the dump of a process that was made to crash in
// the middle: no card number, track, PIN or PIN block of the night in any spelling, no CVV or PVV beside its card.
func TestInvariant5_NothingClearAnywhereWithEveryFeatureOn(t *testing.T) {
	f := everyFeature(t)
	requests, careless := f.carelessNight()
	f.s.join(careless)
	maps.Copy(requests, f.signedRequests())
	for name, content := range requests {
		f.write("inbox/"+name, content)
	}
	s := &spoken{featured: f, t: t, temporary: t.TempDir(), asked: map[string]bool{}}
	s.theNight(requests)
	s.allTheOthers(requests)
	s.crashes()

	pins := f.secretsOfPINs()
	control := f.secretsOfTheNight(f.s)
	if pins < 10 || len(control) < 30 {
		t.Errorf("only %d PINs and %d cards were made", pins, len(control))
	}
	for path, json := range everyCommand(t) {
		if !s.wasAsked(path, json) {
			t.Errorf("reemboss %s was never asked for, with --json: %v", path, json)
		}
	}
	s.toldToOthers()
	s.said = append(s.said, f.rows())
	for _, place := range f.s.leaksButFor(t, f.workspace, f.theirs, s.said...) {
		t.Error(place)
	}
	if left := len(dirEntries(t, s.temporary)); left > 0 {
		t.Errorf("%d files are left in the temporary folder", left)
	}
	for i, text := range control { // the search finds what is there
		hits := 0
		f.s.search("", text, func(string, string) { hits++ })
		if hits == 0 {
			t.Errorf("the search does not find the secrets of opened file %d", i)
		}
	}
}

// theNight: the run that finds everything in the inbox, what people decide, and the runs after it.
func (s *spoken) theNight(requests map[string][]byte) {
	s.t.Helper()
	pan := func(i int) string { return s.cards[i].pan }
	s.say(fine, "config", "check")
	s.paused("write/sealed", func(pid int) {
		for _, file := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err != nil {
				s.t.Error(err)
			}
			s.said = append(s.said, text)
		}
	})
	s.say(complete, "run", "--json")
	night := lastReport(s.t, s.Dir)
	balanced(s.t, night)
	s.say(complete, "keys", "rotate", "sealing")
	s.say(complete, "keys", "rotate", "index")
	holds := s.openHolds()
	if len(holds) < 3 {
		s.t.Fatalf("%d files are held; the night has too few cards for alpha", len(holds))
	}
	for i, hold := range holds {
		text := s.say(fine, "approve", hold, "--print", "--reason", "number "+pan(i)).stdout
		s.say(refused, "approve", hold, "--reason", "I asked for "+pan(i)) // carol brought the files
		switch i % 4 {
		case 0:
			s.approved(hold, "seen with "+spaced(pan(i)))
		case 1:
			s.write(fmt.Sprintf("inbox/approval-%d.asc", i), s.clearSigned("carol", text)) // refused
		case 2:
			s.write(fmt.Sprintf("inbox/approval-%s.asc", pan(i)), s.clearSigned("ben", text))
		case 3:
			s.say(fine, "cancel", hold, "--reason", "not "+pan(i), "--json")
		}
	}
	s.say(complete, "run")
	for _, hold := range s.openHolds() {
		s.write("inbox/"+hold+".asc", s.clearSigned("ben", s.say(fine, "approve", hold, "--print", "--reason", "now").stdout))
	}
	s.changedFile()
	s.undecidedFile()
	s.say(complete, "run", "--json")
	s.returnsSettled(night.RunID)
}

// approved is what `reemboss approve` does for dora, under whose login no test runs.
func (s *spoken) approved(hold, reason string) {
	s.t.Helper()
	n, err := batch.Open(s.t.Context(), s.Dir, batch.Options{Lock: true})
	if err != nil {
		s.t.Fatal(err)
	}
	defer n.Close()
	n.Login = func() (string, error) { return "dora", nil }
	told, err := n.Approve(s.t.Context(), hold, reason)
	if err != nil {
		s.t.Error(err)
	}
	s.said = append(s.said, []byte(told))
}

// changedFile: somebody writes into a file that was checked already.
func (s *spoken) changedFile() {
	s.t.Helper()
	s.write("inbox/y-changed.csv", lines("card_id,remark", s.cards[89].id+",", s.cards[6].id+",", s.cards[7].id+","))
	r := s.start([]string{"REEMBOSS_KILL_AT=stage/decide"}, "--dir", s.Dir, "run")
	s.hear(r, "run")
	for _, path := range s.glob("state/intake/*") {
		if bytes.HasPrefix(s.read(path), []byte("card_id,remark")) {
			s.write(path, append(s.read(path), lines(s.cards[89].pan+",x", s.cards[8].id+","+s.cards[89].pan)...))
		}
	}
	s.say(complete, "run")
}

// undecidedFile: a transfer whose end nobody knows, and who decides it.
func (s *spoken) undecidedFile() {
	s.t.Helper()
	s.write("inbox/z-more.csv", lines("card_id,remark", s.cards[61].id+",", s.cards[60].id+","))
	r := s.start([]string{"REEMBOSS_KILL_AT=sent/RENAMING"}, "--dir", s.Dir, "run")
	s.hear(r, "run")
	parts := s.glob("simulator/*/incoming/*.part")
	if !r.killed || len(parts) != 1 {
		s.t.Fatalf("killed %v, %d files under their temporary names", r.killed, len(parts))
	}
	s.remove(parts[0])
	s.say([]int{exitPerson}, "run")
	name := strings.TrimSuffix(filepath.Base(parts[0]), ".part")
	s.say(fine, "resolve", name, "--resend", "--reason", "they have not, see "+s.cards[4].pan, "--json")
	s.say(fine, "resend", name, "--reason", "once more, see "+spaced(s.cards[5].pan), "--json")
	s.say(refused, "resolve", name, "--delivered", "--reason", s.cards[6].pan)
}

// returnsSettled: what the bureaus told and nobody can believe, and a file that they refused.
func (s *spoken) returnsSettled(runID string) {
	s.t.Helper()
	night := s.reportOf(runID)
	refusedFile := bureauFile(s.t, night, "beta", 1)
	s.say(fine, "cancel", refusedFile.Name, "--reason", "it is refused, see "+s.cards[7].pan, "--json")
	for _, r := range night.Returns {
		if r.State == ledger.ReturnQuarantined {
			s.say(anyhow, "settle", r.Name, "--read-again", "--reason", "once more "+s.cards[8].pan)
		}
	}
	s.say(fine, "settle", fmt.Sprint(s.disputed(batch.FirstCard+2)), "--take", "--reason", "they are right "+s.cards[9].pan)
	s.say(fine, "bureau", "simulate", "--once", "--at", "+30h", "--reject", "30", "--return", "30", "--lose", "10")
	s.theirs = append(s.theirs, slices.Collect(maps.Keys(s.files("simulator/alpha/returns", "simulator/beta/returns")))...)
	s.say(complete, "run", "--json")
	s.say(complete, "run")
}

// allTheOthers are the commands that no night needs, and all of them with card numbers as words.
func (s *spoken) allTheOthers(requests map[string][]byte) {
	s.t.Helper()
	runID := lastReport(s.t, s.Dir).RunID
	pan := s.cards[3].pan
	for i := range s.cards {
		if i < 12 {
			s.say(fine, "card", s.cards[i].id, "--json")
			s.say(fine, "card", s.cards[i].id)
		}
	}
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"report", runID}, {"report", runID, "--json"}, {"audit", "verify"}, {"audit", "verify", "--json"},
		{"config", "check", "--json"}, {"keys", "list"}, {"keys", "list", "--rows", "--json"}, {"keys", "check"}, {"keys", "check", "--json"},
		{"bureau", "pin-host", "alpha"}, {"bureau", "pin-host", "alpha", "--json"}, {"keys", "export-public", "pgp"}, {"keys", "export-public", "ssh"},
		{"keys", "add", "cvk", "drawn", "--generate"}, {"keys", "add", "allocation", "later"}, {"keys", "rotate", "kek"}, {"keys", "rotate", "pgp"}, {"keys", "rotate", "ssh"}, {"run"},
		{"keys", "retire", "sealing", "1"}, {"keys", "retire", "index", "1"}} {
		s.say(anyhow, args...)
	}
	own := s.Path("keys/people/anna.asc")
	s.say(anyhow, "keys", "add", "pgp", own, "--for", "people/anna", "--fingerprint", s.people["anna"].Fingerprint(), "--json")
	copies := s.t.TempDir()
	for _, name := range slices.Sorted(maps.Keys(requests)) {
		path := filepath.Join(copies, name)
		if err := os.WriteFile(path, requests[name], 0o600); err != nil {
			s.t.Fatal(err)
		}
		s.say(anyhow, "check", "--json", path)
		s.say(anyhow, "check", path)
		s.say(anyhow, "cards", "import", "--json", path)
	}
	extract, _ := sampleCards(s.t, 90)
	path := filepath.Join(copies, "cards of "+pan+".csv")
	if err := os.WriteFile(path, append(extract, lines("1,2,3", pan+",x,"+pan)...), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.say(anyhow, "cards", "import", path)
	s.say(anyhow, "cards", "import", "--json", path, filepath.Join(copies, pan))
	skip := []string{"--skip-sequences", "3", "--skip-cards", "4", "--skip-psns", "2", "--skip-runs", "1", "--reason", "disk of " + pan}
	for i, json := range [][]string{nil, {"--json"}} {
		inside, outside := s.Path("returns", fmt.Sprintf("%d.backup", i)), filepath.Join(copies, fmt.Sprintf("%s-%d.backup", pan, i))
		s.say(fine, append([]string{"backup", inside}, json...)...)
		s.say(fine, append([]string{"backup", outside}, json...)...)
		s.say(anyhow, append([]string{"restore", outside}, json...)...)
		s.say(complete, append(append([]string{"restore", outside}, skip...), json...)...)
	}
	s.say(anyhow, "run", "--json")
	s.wordsAreNumbers(pan)
	s.demonstration()
}

// wordsAreNumbers: a person types or pastes a card number where the program wants something else.
func (s *spoken) wordsAreNumbers(pan string) {
	s.t.Helper()
	for k, number := range []string{pan, spaced(pan)} {
		for i, args := range [][]string{{number}, {"run", number}, {"run", "--" + number}, {"card", number}, {"card", number, "--json"}, {"report", number, "--json"}, {"approve", number, "--reason", number},
			{"approve", number, "--print"}, {"cancel", number, "--reason", number}, {"resend", number, "--reason", number}, {"resolve", number, "--delivered", "--reason", number},
			{"settle", number, "--take", "--reason", number}, {"settle", "x" + number, "--dismiss", "--reason", number}, {"check", number}, {"check", "--json", number + ".csv"}, {"cards", "import", number},
			{"bureau", "pin-host", number}, {"bureau", "simulate", number, "--once"}, {"bureau", "simulate", "--once", "--at", number}, {"bureau", "simulate", "--once", "--seed", number},
			{"keys", "add", "cvk", number, "--file", number}, {"keys", "add", "cvk", "x", "--components", number + "," + number}, {"keys", "add", "cvk", "x", "--file", own(s), "--kcv", number},
			{"keys", "add", "pgp", number, "--for", number}, {"keys", "add", "pgp", own(s), "--for", number, "--fingerprint", number}, {"keys", "add", "pgp", own(s), "--for", "people/anna", "--fingerprint", number},
			{"keys", "add", "pgp", own(s), "--for", "people/" + number, "--fingerprint", s.people["anna"].Fingerprint()}, {"keys", "add", "allocation", number}, {"keys", "rotate", number}, {"keys", "retire", "sealing", number}, {"keys", "retire", number, "x"}, {"keys", "export-public", number},
			{"keys", "rotate", "kek", "--out", s.Path("nowhere", number), "--token-key", number}} {
			if k == 0 || i%4 == 0 { // in groups of four for some of them
				s.say([]int{exitUsage, exitPerson, exitFault, exitComplete}, args...)
			}
		}
	}
	spoilt := s.copyOf(s.t)
	text := string(s.read("config.yaml"))
	for _, change := range [][2]string{{`"411111"`, `"` + pan + `"`}, {"bureau: alpha", "bureau: " + pan}, {"time_zone: Europe/London", "time_zone: " + pan}, {"  100: {", "  " + pan + ": {"},
		{"from: 500000000", "from: " + pan}, {"stable_for: 2ms", "stable_for: " + pan}, {"people:\n", "people:\n  " + pan + ": {login: " + pan + "}\n"}} {
		spoilt.write("config.yaml", []byte(strings.Replace(text, change[0], change[1], 1)))
		for _, args := range [][]string{{"config", "check"}, {"config", "check", "--json"}, {"run"}} {
			r := spoilt.start(nil, append([]string{"--dir", spoilt.Dir}, args...)...)
			s.said = append(s.said, r.stdout, r.stderr)
		}
	}
}

func own(s *spoken) string { return s.Path("keys/people/anna.asc") }

// demonstration: the demo makes cards of its own; they are searched for in what it leaves and says.
func (s *spoken) demonstration() {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), "demo")
	r := s.start([]string{"TMPDIR=" + s.temporary}, "--log-level", "debug", "demo", dir, "--cards", "200")
	s.hear(r, "demo")
	if r.exit != exitComplete && r.exit != exitPerson {
		s.t.Fatalf("demo: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
	demo := &workspace{Workspace: batch.Workspace{Dir: dir}, tb: s.tb, program: s.program}
	demo.secretsOfTheNight(s.s)
	for _, place := range s.s.leaks(demo, r.stdout, r.stderr) {
		s.t.Error("demo: " + place)
	}
	fresh := filepath.Join(s.t.TempDir(), "fresh")
	s.hear(s.start(nil, "init", fresh), "init")
}

// paused runs until a point, where the running process is looked at; then it is killed.
func (s *spoken) paused(point string, look func(pid int)) {
	s.t.Helper()
	cmd, hold, said := s.waitingAt(cmp.Or(s.program, "reemboss"), point, "GOTRACEBACK=all", "--dir", s.Dir, "--log-level", "debug", "run")
	defer hold.Close()
	look(cmd.Process.Pid)
	if err := cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = cmd.Wait()
	s.said = append(s.said, said.Bytes())
}

// crashes makes copies of the workspace, with new requests, crash in the middle of a night in every way in which a Go program
// prints the stacks of all that it does: on a signal, and by a panic of its own.
func (s *spoken) crashes() {
	s.t.Helper()
	points := []string{"cards/imported", "decide/commit", "write/bytes", "write/sealed", "sent/UPLOADED", "answer/result"}
	for i, point := range points {
		c := s.copyOf(s.t)
		extract, _ := sampleCards(s.t, 90)
		c.write("inbox/cards/cards.csv", extract)
		c.write("inbox/a.csv", lines("card_id,user_id,reason_code,remark", s.cards[0].id+",,,"+s.cards[10].pan, s.cards[70].id+","+s.cards[70].customer+",lost,"))
		var said string
		if i%2 == 0 {
			_, said = c.crashedAt(cmp.Or(s.program, "reemboss"), point, syscall.SIGQUIT, "--dir", c.Dir, "run")
		} else {
			said = string(c.start([]string{"REEMBOSS_PANIC_AT=" + point, "GOTRACEBACK=system"}, "--dir", c.Dir, "run").stderr)
		}
		if !strings.Contains(said, "goroutine ") {
			s.t.Errorf("at %s nothing crashed:\n%s", point, maskedText(said))
		}
		s.said = append(s.said, []byte(said))
	}
}

// toldToOthers adds what mail server and web servers got.
func (s *spoken) toldToOthers() {
	s.t.Helper()
	_, web, mails := s.ears.heard()
	if len(web["/events"]) == 0 || len(web["/needed"]) == 0 || len(mails) != 2 {
		s.t.Errorf("nobody was told: %d batches, %d sentences, mails to %d", len(web["/events"]), len(web["/needed"]), len(mails))
	}
	for _, path := range slices.Sorted(maps.Keys(web)) {
		for _, a := range web[path] {
			s.said = append(s.said, a.body, []byte(fmt.Sprint(a.path, a.header)))
		}
	}
	for _, letters := range mails {
		for _, l := range letters {
			m := opened(s.t, l.text)
			s.said = append(s.said, l.text, []byte(m.subject+"\n"+m.text+"\n"+m.html), []byte(m.attached["reconciliation.html"]))
		}
	}
}
