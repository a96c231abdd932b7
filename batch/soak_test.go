package batch

import (
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/formats/returns"
	"reemboss/testdata/proof"
)

// TestNightsOnEndBalance works many nights from a seed against bureaus that
// reject, lose, are late, tell things twice and in no order, and refuse whole
// files, over transfers that end nowhere, with a person who settles what the
// report puts before him. After every night every balance holds; in the end
// every order is at its end, or on a list with its age.
//
// `make soak` runs a quarter of it; the seed is printed, and with the same one
// the same nights come again.
func TestNightsOnEndBalance(t *testing.T) {
	s := newSoak(t, number("REEMBOSS_SOAK_SEED", 1), number("REEMBOSS_SOAK_ROWS", 30))
	nights := number("REEMBOSS_SOAK_NIGHTS", max(5, proof.Share(90)))
	defer func() { proof.Tell(t, "nights in the soak", s.night-1, 0) }()
	for s.night = 1; s.night <= nights; s.night++ {
		s.requests()
		s.oneNight()
	}
	for ; s.night <= nights+30; s.night++ { // nothing new comes, until the bureaus have told all
		s.oneNight()
	}
	s.everyOrderIsAtItsEnd()
	t.Logf("seed %d: %d nights, %d rows, %d orders, %d files undecided, %d resolved by an acknowledgement, %d refused, %d cancelled, %d disputes, %d nights with deletions; ends %v",
		s.seed, nights, s.rows, s.orders, s.undecided, s.decided, s.refused, s.cancelled, s.disputes, s.deletions, s.ends)
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// soak is a workspace over many nights.
type soak struct {
	*bench
	*astray
	seed, night, perNight int
	dice                  *rand.Rand
	cards                 int64            // 1 … cards are in the registry
	status                map[int64]string // as the card master has it
	answered              int              // answers that the nights told
	rows, orders          int
	undecided, decided    int
	refused, cancelled    int
	disputes              int
	deletions             int // nights in which retention deleted something
	ends                  map[ledger.OrderState]int
}

func newSoak(t *testing.T, seed, rows int) *soak {
	b := newBenchAt(t, time.Date(2026, 10, 1, 21, 30, 0, 0, time.UTC)) // over the end of summer time, Christmas and the new year
	life := "{seed: %d, reject: 4, return: 5, lose: 2, late: 20, late_days: 4, twice: 15, refuse_files: %d, ack_after: 2h, produce_after: 20h, ship_after: 6h, deliver_after: 60h}"
	b.configure("    simulation:\n      answers: true\n", "    simulation: "+fmt.Sprintf(life, seed, 8)+"\n    ignored:\n", "simulation: {seed: 2}", "simulation: "+fmt.Sprintf(life, seed+1000, 4))
	b.dropSection("    ignored:\n")
	b.configure("after: leave", "after: remove")
	b.keep(14, 5, 0, 10) // the return files are compared in the end
	s := &soak{bench: b, astray: newAstray(b), seed: seed, perNight: rows, dice: rand.New(rand.NewPCG(uint64(seed), 7)), cards: int64(rows * 12), status: map[int64]string{}, ends: map[ledger.OrderState]int{}}
	s.extract(1, s.cards)
	return s
}

// dropSection takes a key and what is indented beneath it out of the configuration.
func (b *bench) dropSection(key string) {
	b.Helper()
	text, err := os.ReadFile(b.Config())
	if err != nil {
		b.Fatal(err)
	}
	before, after, found := strings.Cut(string(text), key)
	if !found {
		b.Fatalf("config.yaml has no %q", key)
	}
	lines := strings.SplitAfter(after, "\n")
	for len(lines) > 0 && strings.HasPrefix(lines[0], "      ") {
		lines = lines[1:]
	}
	if err := os.WriteFile(b.Config(), []byte(before+strings.Join(lines, "")), 0o600); err != nil {
		b.Fatal(err)
	}
}

// extract puts cards into the inbox as the card master has them.
func (s *soak) extract(ids ...int64) {
	var lines strings.Builder
	lines.WriteString("card_id,customer_id,status,pan,program_id,product,expiry,printed_name,address_line1,city,postcode,country\n")
	for id := ids[0]; id <= ids[1]; id++ {
		product, prefix := "visa-classic", "411111"
		if id%3 == 0 {
			product, prefix = "mc-gold", "555555"
		}
		if s.status[id] == "" {
			s.status[id] = []string{"NORMAL", "NORMAL", "NORMAL", "NORMAL", "CREATED", "BLOCKED", "LOST", "EXPIRED"}[s.dice.IntN(8)]
		}
		body := fmt.Sprintf("%s%09d", prefix, id)
		fmt.Fprintf(&lines, "%d,C%d,%s,%s%c,%d,%s,2028-10,Anna Smith,1 Street,Berlin,10115,DE\n", id, id, s.status[id], body, luhn(body), 100+100*(id%5/4), product)
	}
	if err := os.WriteFile(filepath.Join(s.InboxCards(), fmt.Sprintf("master-%d.csv", s.night)), []byte(lines.String()), 0o600); err != nil {
		s.Fatal(err)
	}
}

// requests puts a night's request files into the inbox: of every kind, right and wrong.
func (s *soak) requests() {
	var reissue, reemboss strings.Builder
	reissue.WriteString("card_id,user_id,reason_code,reissue_type,reference,shipping_method\n")
	reemboss.WriteString("card_id,reference\n")
	for i := range s.perNight {
		id := 1 + s.dice.Int64N(s.cards+s.cards/20) // some that nobody knows
		reference := ""
		if s.dice.IntN(10) == 0 {
			reference = fmt.Sprintf("R%d", s.dice.IntN(50)) // some used before
		}
		if s.dice.IntN(3) == 0 {
			fmt.Fprintf(&reemboss, "%d,%s\n", id, reference)
			continue
		}
		holder := fmt.Sprintf("C%d", id)
		if s.dice.IntN(20) == 0 {
			holder = "C0"
		}
		fmt.Fprintf(&reissue, "%d,%s,%s,%s,%s,%s\n", id, holder, []string{"1", "2", "3", "4", "5", "6", "lost", "damaged", "9"}[s.dice.IntN(9)],
			[]string{"", "", "", "1", "3"}[s.dice.IntN(5)], reference, []string{"", "1", "2", "3"}[i%4])
	}
	s.rows += s.perNight
	s.drop(fmt.Sprintf("reissue-%03d.csv", s.night), reissue.String())
	s.drop(fmt.Sprintf("reemboss-%03d.csv", s.night), reemboss.String())
	if s.dice.IntN(6) == 0 { // the same file again
		s.drop(fmt.Sprintf("again-%03d.csv", s.night), reissue.String())
	}
	if s.dice.IntN(4) == 0 { // the holder of a new card uses it
		for id, status := range s.status {
			if status == "CREATED" && id%7 == int64(s.night%7) {
				s.status[id] = "NORMAL"
			}
		}
		s.extract(1, s.cards)
	}
}

// oneNight runs, looks, and settles what needs a person.
func (s *soak) oneNight() {
	s.Helper()
	before := s.undecidedNames()
	r := s.run(s.lossyTransfers)
	s.mustHold(r.Reconciliation)
	for _, note := range r.Notes {
		if strings.HasPrefix(note, "Deleted by retention") {
			s.deletions++
		}
	}
	if r.Exit != 0 && r.Exit != 4 {
		s.Fatalf("night %d: exit %d", s.night, r.Exit)
	}
	for _, e := range r.Events {
		s.answered += int(e.N)
	}
	for _, name := range before {
		if f := s.fileState(name); f == ledger.Sent {
			s.decided++
		}
	}
	s.giveBack()
	s.person(r.Reconciliation)
	s.now = s.now.Add(24 * time.Hour)
}

// lossyTransfers makes one transfer in a while end nowhere. Half of them the bureau has all the same.
func (s *soak) lossyTransfers(n *Night) {
	if s.dice.IntN(4) != 0 {
		return
	}
	taken := s.dice.IntN(2) == 0
	n.Checkpoint = func(point string) {
		if point == "sent/RENAMING" {
			s.lose(taken)
		}
	}
}

func (s *soak) undecidedNames() (names []string) {
	n := s.open()
	defer n.Close()
	files, err := n.Ledger.BureauFiles(s.Context(), ledger.FileQuery{States: []ledger.BureauFileState{ledger.Undecided}})
	if err != nil {
		s.Fatal(err)
	}
	for _, f := range files {
		names = append(names, f.Name)
	}
	return names
}

func (s *soak) fileState(name string) ledger.BureauFileState {
	n := s.open()
	defer n.Close()
	f, err := n.Ledger.FileByName(s.Context(), name)
	if err != nil {
		s.Fatal(err)
	}
	return f.State
}

// person does what the report asks for, knowing what is true.
func (s *soak) person(r *report.Reconciliation) {
	n := s.open()
	defer n.Close()
	files, err := n.Ledger.BureauFiles(s.Context(), ledger.FileQuery{States: []ledger.BureauFileState{ledger.Undecided, ledger.Refused}})
	if err != nil {
		s.Fatal(err)
	}
	for _, f := range files {
		if !strings.Contains(fmt.Sprint(r.NeedsPerson), f.Name) {
			s.Errorf("night %d: %s is %s and the report asks nobody about it", s.night, f.Name, f.State)
		}
		final := filepath.Join(s.Simulator(f.Recipient), "incoming", f.Name)
		switch {
		case f.State == ledger.Undecided && s.away[final] == "there":
			s.undecided++ // the bureau's acknowledgement will decide it
			s.away[final] = "told"
		case f.State == ledger.Undecided && s.away[final] == "":
			s.undecided++
			_, err = n.ResolveResend(s.Context(), f.Name, "the bureau does not have it")
		case f.State == ledger.Refused && s.dice.IntN(2) == 0:
			s.refused++
			_, err = n.Resend(s.Context(), f.Name, "the bureau mended its side")
		case f.State == ledger.Refused:
			s.refused, s.cancelled = s.refused+1, s.cancelled+1
			_, _, err = n.Cancel(s.Context(), f.Name, "made anew")
		}
		if err != nil {
			s.Fatalf("night %d: %s: %v", s.night, f.Name, err)
		}
	}
	disputes, _, err := n.Ledger.Disputes(s.Context(), 0)
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range disputes {
		s.disputes++
		word := Keep
		if e.UID != "" && s.dice.IntN(2) == 0 {
			word = Take
		}
		if _, err := n.Settle(s.Context(), strconv.FormatInt(e.ID, 10), word, "asked the bureau"); err != nil && word == Keep {
			s.Fatalf("night %d: settle %+v: %v", s.night, e, err)
		}
	}
}

// everyOrderIsAtItsEnd compares the ledger with what the bureaus told, read by another path.
func (s *soak) everyOrderIsAtItsEnd() {
	told := s.told()
	listed := map[string]bool{}
	for _, name := range []string{"outstanding.csv", "underway.csv"} {
		s.listed(name, listed)
	}
	n := s.open()
	defer n.Close()
	all := []ledger.OrderState{ledger.Queued, ledger.PlannedO, ledger.SentO, ledger.Acked, ledger.Rejected, ledger.Produced, ledger.Shipped, ledger.Delivered, ledger.Returned, ledger.Lost, ledger.Activated}
	err := n.Ledger.EachUnderWay(s.Context(), all, func(o *ledger.Order, _ time.Time) error {
		s.orders++
		s.ends[o.State]++
		switch o.State {
		case ledger.Rejected, ledger.Delivered, ledger.Returned, ledger.Lost:
			if !slices.Contains(told[o.UID], string(o.State)) && o.State != ledger.Returned { // a request for reason 5 says RETURNED too
				s.Errorf("%s is %s, the bureau told %v", o.UID, o.State, told[o.UID])
			}
		case ledger.Activated:
		default:
			if !listed[o.UID] {
				s.Errorf("%s is %s and on no list", o.UID, o.State)
			}
			if o.State == ledger.SentO && !fileThere(filepath.Join(s.Outbox(o.Bureau), o.FileName)) {
				s.Errorf("%s is outstanding and the bytes of %s are gone", o.UID, o.FileName)
			}
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
	if s.orders == 0 || s.answered == 0 {
		s.Errorf("%d orders, %d answers: the nights did nothing", s.orders, s.answered)
	}
	if s.deletions == 0 {
		s.Error("retention deleted nothing in all these nights")
	}
	if waits, err := n.Ledger.Waits(s.Context()); err != nil || len(waits) > 0 {
		s.Errorf("orders in no file at the end: %+v %v", waits, err)
	}
}

// told reads every return file that was kept: uid → the words that the bureau used of it.
func (s *soak) told() map[string][]string {
	told := map[string][]string{}
	for _, name := range []string{"alpha", "beta"} {
		files, err := filepath.Glob(s.Path("returns", name, "*.csv"))
		if err != nil || len(files) == 0 {
			s.Fatalf("return files of %s: %v %v", name, files, err)
		}
		for _, path := range files {
			f, err := os.Open(path)
			if err != nil {
				s.Fatal(err)
			}
			rows, err := csv.NewReader(f).ReadAll()
			f.Close()
			if err != nil {
				s.Fatal(err)
			}
			for _, row := range rows {
				if row[0] == string(returns.Card) {
					told[row[3]] = append(told[row[3]], row[4])
				}
			}
		}
	}
	return told
}

// listed adds the uids of the newest list of that name, each of which must have an age.
func (s *soak) listed(name string, uids map[string]bool) {
	runs, err := filepath.Glob(s.Path("reports", "*", name))
	if err != nil || len(runs) == 0 {
		s.Fatalf("%s: %v %v", name, runs, err)
	}
	f, err := os.Open(runs[len(runs)-1])
	if err != nil {
		s.Fatal(err)
	}
	defer f.Close()
	rows := csv.NewReader(f)
	head, err := rows.Read()
	if err != nil {
		s.Fatal(err)
	}
	uid, age := slices.Index(head, "uid"), slices.Index(head, "age_days")
	for {
		row, err := rows.Read()
		if err == io.EOF {
			return
		}
		if err != nil {
			s.Fatal(err)
		}
		if days, err := strconv.Atoi(row[age]); err != nil || days < 0 {
			s.Errorf("%s lists %s without an age: %q", name, row[uid], row[age])
		}
		uids[row[uid]] = true
	}
}

// luhn is the check digit of a card number's body.
func luhn(body string) rune {
	sum := 0
	for i := range len(body) {
		d := int(body[len(body)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return rune('0' + (10-sum%10)%10)
}
