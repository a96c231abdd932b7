package bureau

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// uidLines reads a file that has a uid on every line.
func uidLines(_ string, clear io.Reader) (any, error) {
	found := &lineContents{}
	lines := bufio.NewScanner(clear)
	for lines.Scan() {
		if lines.Text() == "bad" {
			return nil, errors.New("record 2 is bad")
		}
		found.uids = append(found.uids, lines.Text())
	}
	return found, lines.Err()
}

type lineContents struct{ uids []string }

func (*lineContents) Sequence() int64           { return 41 }
func (c *lineContents) TakeUIDs() []string      { u := c.uids; c.uids = nil; return u }
func jsonAnswers(w io.Writer, a []Answer) error { return json.NewEncoder(w).Encode(a) }

// livingBureau is a simulated bureau that answers, with a client of it.
type livingBureau struct {
	t      *testing.T
	config SimulatorConfig
	sim    *Simulator
	side   *farSide
	now    time.Time
}

func startLiving(t *testing.T, life Life, change func(*SimulatorConfig)) *livingBureau {
	t.Helper()
	hostKey, _, client, clientPath := newKeys(t)
	bureauKey, issuer := simulatorKeys()
	b := &livingBureau{t: t, now: keyTime}
	b.config = SimulatorConfig{
		Name: "alpha", Dir: t.TempDir(), HostKey: hostKey, ClientKeys: []ssh.PublicKey{client.PublicKey()}, Key: bureauKey, Signers: []*Key{issuer},
		Check: uidLines, Life: &life, WriteAnswers: jsonAnswers, Now: func() time.Time { return b.now }, Log: t.Logf,
	}
	if change != nil {
		change(&b.config)
	}
	b.sim = runSimulator(t, b.config)
	b.side = &farSide{settings: baseSettings(t, b.sim.Addr(), hostKey.PublicKey(), clientPath), incoming: filepath.Join(b.config.Dir, incoming)}
	return b
}

func (b *livingBureau) restart() {
	b.t.Helper()
	if err := b.sim.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.sim = runSimulator(b.t, b.config)
	b.side.settings.DialAddress = b.sim.Addr()
}

func (b *livingBureau) sealed(name string, uids ...string) File {
	b.t.Helper()
	bureauKey, issuer := simulatorKeys()
	content := strings.Join(uids, "\n") + "\n"
	return frozen(b.t, name, sealed(b.t, Sealing{To: []*Key{bureauKey}, Signer: issuer, Time: keyTime}, []byte(content)))
}

func (b *livingBureau) deliver(f File) {
	b.t.Helper()
	mustDeliver(b.t, b.side, f, Written, false, newHistory(b.t, Written))
	b.sim.mu.Lock()
	b.sim.waitOpened()
	b.sim.mu.Unlock()
}

// answer moves the clock and gives what was told: "STATUS uid".
func (b *livingBureau) answer(after time.Duration) []string {
	b.t.Helper()
	b.now = b.now.Add(after)
	names, err := b.sim.Answer(b.now)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.told(names)
}

func (b *livingBureau) told(names []string) (lines []string) {
	b.t.Helper()
	for _, name := range names {
		var answers []Answer
		if err := json.Unmarshal(readAll(b.t, filepath.Join(b.side.returns(), name)), &answers); err != nil {
			b.t.Fatal(err)
		}
		for _, a := range answers {
			line := a.Status + " " + a.UID
			if a.File {
				line = fmt.Sprintf("FILE %s %d %d", a.Status, a.Sequence, a.Count)
			}
			lines = append(lines, line)
		}
	}
	return lines
}

func (b *livingBureau) wants(what string, got []string, want ...string) {
	b.t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		b.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

const aFile = "acme_000041.xml.pgp"

func TestSimulatorAnswersStepByStep(t *testing.T) {
	b := startLiving(t, plainLife(), nil)
	b.deliver(b.sealed(aFile, "u1", "u2"))
	b.wants("at once", b.answer(0))
	b.wants("after the acknowledgement", b.answer(10*time.Minute), "FILE RECEIVED 41 2")
	b.wants("the same time again", b.answer(0))
	b.wants("an earlier time", b.answer(-time.Minute))
	b.wants("produced and shipped", b.answer(27*time.Hour), "PRODUCED u1", "PRODUCED u2", "SHIPPED u1", "SHIPPED u2")
	b.wants("delivered", b.answer(100*time.Hour), "DELIVERED u1", "DELIVERED u2")
	b.wants("afterwards", b.answer(10_000*time.Hour))
	if names, _ := filepath.Glob(filepath.Join(b.side.returns(), "alpha_returns_20??????????00_000[123].csv")); len(names) != 3 {
		t.Errorf("%v", names)
	}
}

func TestSimulatorRemembersThroughARestart(t *testing.T) {
	b := startLiving(t, plainLife(), nil)
	b.deliver(b.sealed(aFile, "u1"))
	b.wants("acknowledged", b.answer(time.Hour), "FILE RECEIVED 41 1")
	b.restart()
	b.wants("nothing twice", b.answer(time.Minute))
	if err := os.Remove(filepath.Join(b.side.incoming, aFile)); err != nil { // the bureau moves it on
		t.Fatal(err)
	}
	b.restart()
	b.wants("nothing forgotten", b.answer(1000*time.Hour), "PRODUCED u1", "SHIPPED u1", "DELIVERED u1")
	if got := b.sim.Received(); len(got) != 0 {
		t.Errorf("files of earlier lives were opened again: %v", got)
	}
}

// Somebody at the bureau lost a file: the same bytes are a copy of what is being made, other bytes under its name are refused.
func TestSimulatorTellsACopyFromOtherContent(t *testing.T) {
	b := startLiving(t, plainLife(), nil)
	f := b.sealed(aFile, "u1")
	b.deliver(f)
	b.wants("acknowledged", b.answer(time.Hour), "FILE RECEIVED 41 1")
	lose := func() {
		b.restart()
		if err := os.Remove(filepath.Join(b.side.incoming, aFile)); err != nil {
			t.Fatal(err)
		}
	}
	lose()
	b.deliver(f)
	b.wants("a copy", b.answer(time.Hour))
	lose()
	b.deliver(b.sealed(aFile, "u9"))
	b.wants("other content", b.answer(2*time.Hour), "FILE REFUSED 41 -1")
	b.wants("the first file goes on", b.answer(1000*time.Hour), "PRODUCED u1", "SHIPPED u1", "DELIVERED u1")
}

// The process was killed after the file came and before it was opened.
func TestSimulatorNotesFilesOfAnEarlierProcess(t *testing.T) {
	b := startLiving(t, plainLife(), nil)
	f := b.sealed(aFile, "u1")
	path := writeFile(t, filepath.Join(b.side.incoming, aFile), readAll(t, f.LocalPath), 0o600)
	if err := os.Chtimes(path, keyTime, keyTime); err != nil {
		t.Fatal(err)
	}
	b.wants("all of it", b.answer(21*time.Hour), "FILE RECEIVED 41 1", "PRODUCED u1")
}

func TestSimulatorRefusesAndTakesARepetition(t *testing.T) {
	life := plainLife()
	life.RefuseFiles = 100
	b := startLiving(t, life, nil)
	f := b.sealed(aFile, "u1")
	b.deliver(f)
	if _, err := deliver(t, b.side, f, Written, false, newHistory(t, Written)); err == nil {
		t.Error("the name is free before the refusal was told")
	}
	b.wants("refused", b.answer(time.Hour), "FILE REFUSED 41 -1")
	if b.side.onDisk(t, aFile) != nil || !bytes.Equal(readAll(t, filepath.Join(b.config.Dir, refusedFolder, aFile)), readAll(t, f.LocalPath)) {
		t.Error("the refused file is not out of the way")
	}
	b.restart()
	b.deliver(f)
	b.wants("accepted", b.answer(2*time.Hour), "FILE RECEIVED 41 1")
	if got := b.sim.Received(); len(got) != 1 || got[0].Err != nil {
		t.Errorf("%+v", got)
	}
}

func TestSimulatorRefusesOtherContentUnderARefusedName(t *testing.T) {
	life := plainLife()
	life.RefuseFiles = 100
	b := startLiving(t, life, nil)
	b.deliver(b.sealed(aFile, "u1"))
	b.answer(time.Hour)
	b.deliver(b.sealed(aFile, "u1"))
	b.wants("sealed anew", b.answer(time.Hour), "FILE REFUSED 41 -1")
}

func TestSimulatorRefusesWhatItCannotUse(t *testing.T) {
	b := startLiving(t, plainLife(), nil)
	b.deliver(b.sealed("1-bad.pgp", "u1", "bad"))
	b.deliver(frozen(t, "2-clear.pgp", []byte("u1\n")))
	b.wants("refused", b.answer(time.Hour), "FILE REFUSED 0 -1", "FILE REFUSED 0 -1")
	names, _ := filepath.Glob(filepath.Join(b.side.returns(), "*.csv"))
	text := string(readAll(t, names[0]))
	for _, want := range []string{"F02", "record 2 is bad"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

// The order of crash: the return file first, the memory after. What is told again is the same.
func TestSimulatorKilledBeforeItRemembersTellsAgain(t *testing.T) {
	life := plainLife()
	life.RefuseFiles = 30
	b := startLiving(t, life, nil)
	for i := range 10 {
		b.deliver(b.sealed(fmt.Sprintf("acme_%06d.pgp", i), fmt.Sprint("u", i)))
	}
	memory := filepath.Join(b.config.Dir, "life.json")
	before := readAll(t, memory)
	first := b.answer(30 * time.Hour)
	writeFile(t, memory, before, 0o600) // killed between the two
	b.restart()
	b.wants("told again", b.answer(0), first...)
	if names, _ := filepath.Glob(filepath.Join(b.side.returns(), "*.csv")); len(names) != 2 {
		t.Errorf("%v", names)
	}
}

func TestSimulatorThatCannotWriteTellsLater(t *testing.T) {
	full := true
	b := startLiving(t, plainLife(), func(c *SimulatorConfig) {
		c.WriteAnswers = func(w io.Writer, a []Answer) error {
			if full {
				_, _ = w.Write([]byte("half"))
				return errors.New("disk full")
			}
			return jsonAnswers(w, a)
		}
	})
	b.deliver(b.sealed(aFile, "u1"))
	if _, err := b.sim.Answer(keyTime.Add(time.Hour)); err == nil {
		t.Fatal("success was said")
	}
	if entries, _ := os.ReadDir(b.side.returns()); len(entries) != 1 { // done/
		t.Errorf("%v", entries)
	}
	full = false
	b.wants("later", b.answer(time.Hour), "FILE RECEIVED 41 1")
}

// Two processes play one bureau: each event is told once.
func TestSimulatorInTwoProcesses(t *testing.T) {
	b := startLiving(t, plainLife(), nil)
	other := runSimulator(t, b.config)
	for i := range 20 {
		b.deliver(b.sealed(fmt.Sprintf("acme_%06d.pgp", i), fmt.Sprint("u", i)))
	}
	var mu sync.Mutex
	var names []string
	var both sync.WaitGroup
	for _, sim := range []*Simulator{b.sim, other} {
		both.Go(func() {
			for hour := range 30 {
				written, err := sim.Answer(keyTime.Add(time.Duration(hour) * time.Hour))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				names = append(names, written...)
				mu.Unlock()
			}
		})
	}
	both.Wait()
	lines := b.told(names)
	slices.Sort(lines)
	if total, distinct := len(lines), len(slices.Compact(lines)); total != 60 || distinct != 41 { // RECEIVED lines look the same
		t.Errorf("%d lines, %d different", total, distinct)
	}
}

func TestSimulatorTellsSomeEventsTwiceAndInNoOrder(t *testing.T) {
	life := plainLife()
	life.Twice, life.Shuffle, life.Late, life.LateDays = 100, true, 50, 2
	b := startLiving(t, life, nil)
	var uids []string
	for i := range 50 {
		uids = append(uids, fmt.Sprintf("u%02d", i))
	}
	b.deliver(b.sealed(aFile, uids...))
	counts, sorted := map[string]int{}, true
	for range 30 {
		lines := b.answer(24 * time.Hour)
		own := map[string]bool{}
		for _, line := range lines {
			counts[line]++
			if own[line] {
				t.Errorf("%s comes twice in one file", line)
			}
			own[line] = true
		}
		sorted = sorted && slices.IsSorted(lines)
	}
	if len(counts) != 151 || sorted {
		t.Errorf("%d different events, sorted: %t", len(counts), sorted)
	}
	for line, n := range counts {
		if n != 2 {
			t.Errorf("%s is told %d times", line, n)
		}
	}
	if !strings.Contains(string(readAll(t, filepath.Join(b.config.Dir, "life.json"))), `"ended": true`) {
		t.Error("a file at its end is looked at every night")
	}
}

// The answer is sealed in memory: what lies on the disk says nothing of a card.
func TestInvariant5_SimulatorSealsItsAnswers(t *testing.T) {
	_, issuer := simulatorKeys()
	b := startLiving(t, plainLife(), func(c *SimulatorConfig) { c.SealTo = issuer })
	b.deliver(b.sealed(aFile, "u1"))
	written, err := b.sim.Answer(keyTime.Add(time.Hour))
	if err != nil || len(written) != 1 || !strings.HasSuffix(written[0], ".csv.pgp") {
		t.Fatalf("%v, %v", written, err)
	}
	content := readAll(t, filepath.Join(b.side.returns(), written[0]))
	clear, verdict := Open(bytes.NewReader(content), issuer, []*Key{b.config.Key})
	text, err := io.ReadAll(clear)
	signer, signErr := verdict()
	if err != nil || signErr != nil || signer != b.config.Key.Fingerprint() || !bytes.Contains(text, []byte("RECEIVED")) {
		t.Errorf("%v, %v, signed by %s, %d bytes", err, signErr, signer, len(text))
	}
	err = filepath.WalkDir(b.config.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && bytes.Contains(readAll(t, path), []byte("RECEIVED")) {
			t.Errorf("%s is in clear", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAnswersArePickedUpOverSFTP(t *testing.T) {
	b := startLiving(t, plainLife(), nil)
	b.deliver(b.sealed(aFile, "u1"))
	b.answer(time.Hour)
	s := session(t, b.side)
	files := waiting(t, s, outgoing)
	if len(files) != 1 || !files[0].ModTime.Equal(keyTime.Add(time.Hour)) {
		t.Fatalf("%+v", files)
	}
	var got shelf
	if err := errors.Join(s.Fetch(t.Context(), outgoing, files[0], got.open), s.SetAside(t.Context(), outgoing, files[0].Name, outgoing+"/"+done)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(got.last(), []byte("RECEIVED")) || len(waiting(t, s, outgoing)) != 0 {
		t.Errorf("%d bytes", len(got.last()))
	}
}

func TestSimulatorThatAnswersNeedsAReaderAndAWriter(t *testing.T) {
	b := startLiving(t, plainLife(), nil)
	for name, spoil := range map[string]func(*SimulatorConfig){
		"check":  func(c *SimulatorConfig) { c.Check = nil },
		"writer": func(c *SimulatorConfig) { c.WriteAnswers = nil },
		"shares": func(c *SimulatorConfig) { c.Life = &Life{Reject: 200} },
	} {
		config := b.config
		spoil(&config)
		if _, err := NewSimulator(config); err == nil {
			t.Errorf("%s: the configuration was taken", name)
		}
	}
}

// Settings that change between two answers do not contradict what was told.
func TestAFileKeepsItsLife(t *testing.T) {
	life := plainLife()
	life.Reject = 100
	b := startLiving(t, life, nil)
	b.deliver(b.sealed(aFile, "u1"))
	b.wants("rejected", b.answer(21*time.Hour), "FILE RECEIVED 41 1", "REJECTED u1")
	other := plainLife()
	other.Seed, other.ProduceAfter = 8, 30*time.Hour
	b.config.Life = &other
	b.restart()
	b.wants("the same life", b.answer(1000*time.Hour))
	b.deliver(b.sealed("acme_000042.xml.pgp", "u2"))
	b.wants("a file after it", b.answer(31*time.Hour), "FILE RECEIVED 41 1", "PRODUCED u2")
}

// What is remembered of a million cards is one short entry, and their uids in a file.
func TestMemoryOfAFileIsShort(t *testing.T) {
	b := startLiving(t, plainLife(), nil)
	var uids []string
	for i := range 10_000 {
		uids = append(uids, fmt.Sprintf("u%08d", i))
	}
	b.deliver(b.sealed(aFile, uids...))
	if size := len(readAll(t, filepath.Join(b.config.Dir, "life.json"))); size > 1000 {
		t.Errorf("life.json has %d bytes", size)
	}
	if lines := bytes.Count(readAll(t, filepath.Join(b.config.Dir, lifeFolder, aFile+".uids")), []byte("\n")); lines != len(uids) {
		t.Errorf("%d uids", lines)
	}
	if got := b.answer(21 * time.Hour); len(got) != 1+len(uids) {
		t.Errorf("%d lines", len(got))
	}
}
