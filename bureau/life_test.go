package bureau

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// plainLife answers in time and once; tests change one thing of it.
func plainLife() Life {
	return Life{Seed: 7, Acknowledges: true, AckAfter: 10 * time.Minute, ProduceAfter: 20 * time.Hour, ShipAfter: 6 * time.Hour, DeliverAfter: 72 * time.Hour}
}

func lifeCase(cards int) (*lifeFile, []string) {
	f := &lifeFile{Name: "acme_000001.xml.pgp", Delivery: 1, Received: keyTime, Sequence: 1, Cards: int64(cards)}
	var uids []string
	for i := range cards {
		uids = append(uids, fmt.Sprintf("uid-%06d", i))
	}
	return f, uids
}

func (l Life) everything(f *lifeFile, uids []string) []telling {
	all := l.ofFile(f)
	if _, refused := l.refuses(f); !refused {
		for _, uid := range uids {
			all = l.ofCard(all, f, uid)
		}
	}
	return all
}

func TestEveryCardHasOneEnd(t *testing.T) {
	l := plainLife()
	l.Reject, l.Return, l.Lose = 10, 20, 30
	f, uids := lifeCase(20_000)
	ways := map[string]string{}
	for _, a := range l.everything(f, uids) {
		if !a.File {
			ways[a.UID] += a.Status + " "
		}
	}
	counts := map[string]int{}
	for _, way := range ways {
		counts[way]++
	}
	for way, share := range map[string]float64{
		"REJECTED ":                   0.10,
		"PRODUCED SHIPPED RETURNED ":  0.90 * 0.20,
		"PRODUCED SHIPPED LOST ":      0.90 * 0.30,
		"PRODUCED SHIPPED DELIVERED ": 0.90 * 0.50,
	} {
		if got := float64(counts[way]) / float64(len(uids)); got < share-0.015 || got > share+0.015 {
			t.Errorf("%s: %.3f of the cards, want %.3f", way, got, share)
		}
		delete(counts, way)
	}
	if len(counts) > 0 {
		t.Errorf("other ways: %v", counts)
	}
}

func TestStepsFollowTheirDelays(t *testing.T) {
	l := plainLife()
	f, uids := lifeCase(1)
	var got []string
	for _, a := range l.everything(f, uids) {
		got = append(got, fmt.Sprintf("%s %s %d", a.Status, a.At.Sub(f.Received), a.Count))
		if !a.first.Equal(a.At) || !a.again.IsZero() {
			t.Errorf("%s is told at %s and %s", a.Status, a.first, a.again)
		}
	}
	want := []string{"RECEIVED 10m0s 1", "PRODUCED 20h10m0s -1", "SHIPPED 26h10m0s -1", "DELIVERED 98h10m0s -1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestLifeDependsOnSeedFileDeliveryAndUIDOnly(t *testing.T) {
	l := plainLife()
	l.Reject, l.Return, l.Late, l.LateDays, l.Twice = 30, 30, 30, 3, 30
	f, uids := lifeCase(200)
	first := fmt.Sprint(l.everything(f, uids))
	slices.Reverse(uids)
	again := l.everything(f, uids)
	slices.Reverse(uids)
	byUID := map[string]string{}
	for _, a := range again {
		byUID[a.UID+a.Status] = fmt.Sprint(a)
	}
	for _, a := range l.everything(f, uids) {
		if byUID[a.UID+a.Status] != fmt.Sprint(a) {
			t.Fatalf("%s %s depends on the order of the cards", a.UID, a.Status)
		}
	}
	for name, change := range map[string]func(*Life, *lifeFile){
		"seed":     func(l *Life, _ *lifeFile) { l.Seed++ },
		"name":     func(_ *Life, f *lifeFile) { f.Name = "acme_000002.xml.pgp" },
		"delivery": func(_ *Life, f *lifeFile) { f.Delivery++ },
	} {
		other, otherFile := l, *f
		change(&other, &otherFile)
		if strings.ReplaceAll(fmt.Sprint(other.everything(&otherFile, uids)), otherFile.Name, f.Name) == first {
			t.Errorf("another %s changes nothing", name)
		}
	}
}

func TestRejectedCardsHaveACode(t *testing.T) {
	l := plainLife()
	l.Reject = 100
	f, uids := lifeCase(200)
	codes := map[string]string{}
	for _, a := range l.everything(f, uids)[1:] {
		codes[a.Code] = a.Description
	}
	if codes["012"] != "Unregistered plastic" || len(codes) != len(seenCodes) {
		t.Errorf("%v", codes)
	}
	l.Codes = []LifeCode{{"X", "own"}}
	if a := l.everything(f, uids)[1]; a.Code != "X" || a.Description != "own" {
		t.Errorf("%s %s", a.Code, a.Description)
	}
}

func TestShippedCardsCanBeTracked(t *testing.T) {
	f, uids := lifeCase(100)
	numbers := map[string]bool{}
	for _, a := range plainLife().everything(f, uids) {
		has := a.Carrier != "" && len(a.TrackingNumber) == 13
		if wants := a.Status == toldShipped || a.Status == toldDelivered; wants != has {
			t.Errorf("%s: %q %q", a.Status, a.Carrier, a.TrackingNumber)
		}
		numbers[a.TrackingNumber] = true
	}
	if len(numbers) != len(uids)+1 {
		t.Errorf("%d tracking numbers of %d cards", len(numbers)-1, len(uids))
	}
}

func TestABureauThatAcknowledgesNothing(t *testing.T) {
	l := plainLife()
	l.Acknowledges = false
	f, uids := lifeCase(1)
	if all := l.everything(f, uids); all[0].File || len(all) != 3 {
		t.Errorf("%v", all)
	}
	f.Unusable = "it is empty"
	if all := l.everything(f, uids); len(all) != 1 || all[0].Status != toldRefused {
		t.Errorf("a refusal is told all the same: %v", all)
	}
}

func TestARefusedFileHasNoCards(t *testing.T) {
	l := plainLife()
	l.RefuseFiles = 100
	f, uids := lifeCase(10)
	if all := l.everything(f, uids); len(all) != 1 || all[0].Status != toldRefused || all[0].Code != "F01" || all[0].Description == "" || all[0].Count != NoCount {
		t.Errorf("%v", all)
	}
	f.Delivery = 2 // a person sent it again
	if all := l.everything(f, uids); len(all) != 1+3*len(uids) || all[0].Status != toldReceived {
		t.Errorf("the repetition: %d lines, %s", len(all), all[0].Status)
	}
	f.Unusable = "not sealed"
	if all := l.everything(f, uids); len(all) != 1 || all[0].Code != "F02" || !strings.Contains(all[0].Description, "not sealed") {
		t.Errorf("%v", all)
	}
}

// However often and whenever somebody asks, everything is told once, and the
// chosen events once more in a later answer; nothing is told before it happened or later than promised.
func TestAnyScheduleTellsEverything(t *testing.T) {
	l := plainLife()
	l.Reject, l.Return, l.Lose, l.Late, l.LateDays, l.Twice = 10, 10, 10, 40, 3, 40
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 40 {
		f, uids := lifeCase(50)
		all := l.everything(f, uids)
		told := map[string][]int{} // event → numbers of the answers
		now, end := f.Received, l.over(f.Received).Add(24*time.Hour)
		for answer := 0; now.Before(end) || answer < 2; answer++ {
			now = now.Add(time.Duration(random.Int64N(int64(24*time.Hour) << (round % 4))))
			any := false
			for i := range all {
				a := &all[i]
				if !a.due(f, now) {
					continue
				}
				any = true
				told[a.UID+a.Status] = append(told[a.UID+a.Status], answer)
				if a.At.After(now) {
					t.Fatalf("%s %s is told before it happened", a.UID, a.Status)
				}
			}
			if any {
				f.Before, f.Told = f.Told, now
			}
		}
		for _, last := range []time.Duration{time.Hour, 1000 * time.Hour} { // what waited for a later file
			for i := range all {
				if a := &all[i]; a.due(f, now.Add(last)) {
					told[a.UID+a.Status] = append(told[a.UID+a.Status], 1_000_000+int(last))
				}
			}
			f.Before, f.Told = f.Told, now.Add(last)
		}
		for i := range all {
			a := &all[i]
			answers, want := told[a.UID+a.Status], 1
			if !a.again.IsZero() {
				want = 2
			}
			if len(answers) != want || want == 2 && answers[0] >= answers[1] {
				t.Fatalf("round %d: %s %s is told in the answers %v, want %d", round, a.UID, a.Status, answers, want)
			}
		}
	}
}

func TestLateAndTwiceAreShares(t *testing.T) {
	l := plainLife()
	l.Late, l.LateDays, l.Twice = 25, 3, 50
	f, uids := lifeCase(5000)
	counts := map[string]int{}
	all := l.everything(f, uids)
	for _, a := range all {
		late := a.first.Sub(a.At)
		if late < 0 || late > 72*time.Hour || a.first.After(l.over(f.Received)) || a.again.After(l.over(f.Received)) {
			t.Fatalf("%s is %s late", a.Status, late)
		}
		if late > 0 {
			counts["late"]++
		}
		if !a.again.IsZero() {
			counts["twice"]++
		}
	}
	for word, share := range map[string]int{"late": 25, "twice": 50} {
		if got := counts[word] * 100 / len(all); got < share-2 || got > share+2 {
			t.Errorf("%s: %d percent", word, got)
		}
	}
}

func TestALifeThatCannotBeIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Life){
		"reject":  func(l *Life) { l.Reject = 101 },
		"ends":    func(l *Life) { l.Return, l.Lose = 60, 50 },
		"share":   func(l *Life) { l.Twice = -1 },
		"delay":   func(l *Life) { l.ShipAfter = -1 },
		"in days": func(l *Life) { l.LateDays = -1 },
	} {
		l := plainLife()
		spoil(&l)
		if l.check() == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if err := plainLife().check(); err != nil {
		t.Error(err)
	}
}

func TestAReasonShowsNoNumberAndOneLine(t *testing.T) {
	got := plainReason(errors.New("record 2:\nthe value 1234567890123456 is bad " + strings.Repeat("é", 400)))
	if strings.Contains(got, "123456789") || strings.Contains(got, "\n") || len(got) > 310 || !strings.HasPrefix(got, "record 2: the value 12345678******** is bad") {
		t.Errorf("%q", got)
	}
}

func TestFilesOfLikeNamesFareDifferently(t *testing.T) {
	l := plainLife()
	l.Return = 50
	ends := map[string]int{}
	for n := range 200 { // one card each, in files whose names differ in one digit
		f, _ := lifeCase(1)
		f.Name = fmt.Sprintf("acme_%06d.xml.pgp", n)
		all := l.everything(f, []string{"uid"})
		ends[all[len(all)-1].Status]++
	}
	if n := ends[toldReturned]; n < 70 || n > 130 {
		t.Errorf("%v", ends)
	}
}
