package batch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"reemboss/batch/config"
	"reemboss/batch/hsm/payshield"
	"reemboss/batch/hsm/payshield/payshieldtest"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/formats/iso"
)

// Killed at each step of the PIN file, the night goes on: in the end one PIN a card, and nobody ever saw another one under the file's name.
func TestThePINFileKilledAtEachPoint(t *testing.T) {
	const last = 3 // visits: alpha, beta, card-system, then the PINs
	for _, c := range []struct {
		point  string
		visit  int
		frozen bool // the PINs must be those that were there when it died
	}{
		{"write/plan", last, false}, {"write/planned", last, false}, {"write/bytes", last, false}, {"write/sealed", last, false}, {"write/written", last, false},
		{"write/frozen", last, true}, {"write/placed", last, true}, {"send/SENT", last, true}, {"sent/SENT", last, true}, {"reconcile/reports", 0, true},
	} {
		t.Run(c.point, func(t *testing.T) {
			b := newBench(t)
			b.makesPINs(nil)
			b.replacedCards(7)
			if !b.runKilledAt(c.point, c.visit) {
				t.Fatal("the point was never passed")
			}
			seen, _ := filepath.Glob(b.Path("outbox/pins/*"))
			var before []byte
			for _, path := range seen {
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				before = content
				if strings.HasSuffix(path, ".pgp") && !c.frozen {
					t.Errorf("%s can be fetched and is not frozen", path)
				}
			}
			r := b.run()
			if r.Exit != 0 || r.PINsWritten != 7 {
				t.Fatalf("the next run: exit %d, PINs written %d: %v", r.Exit, r.PINsWritten, r.NeedsPerson)
			}
			b.newPINs(7)
			left, _ := filepath.Glob(b.Path("outbox/pins/*"))
			if len(left) != 1 || !strings.HasSuffix(left[0], ".csv.pgp") {
				t.Fatalf("the outbox has %v", left)
			}
			if after, err := os.ReadFile(left[0]); err != nil || c.frozen && !bytes.Equal(before, after) {
				t.Error("a frozen file was made again")
			}
			b.now = b.now.Add(time.Minute)
			if r := b.run(); r.PINsWritten != 0 || len(r.PINFiles) != 0 {
				t.Errorf("a finished night, run again, has %v", r.PINFiles)
			}
		})
	}
}

// The module dies while PINs, values or blocks are made: the cards go out, the PIN file waits with its reason, the next run makes it.
func TestAModuleThatDiesWhilePINsAreMade(t *testing.T) {
	const count = 40
	for _, command := range []string{"JA", "DG", "JG"} {
		t.Run(command, func(t *testing.T) {
			b := newBench(t)
			b.makesPINs(nil)
			b.replacedCards(count)
			var made atomic.Int64
			var sim *payshieldtest.Simulator
			ready := make(chan struct{})
			sim = b.nextModule(func(c payshieldtest.Command) payshieldtest.Fault {
				<-ready
				if c.Code == command && made.Add(1) == 10 {
					go sim.Close()
				}
				if made.Load() >= 10 {
					return payshieldtest.Fault{Kind: payshieldtest.Drop}
				}
				return payshieldtest.Fault{}
			}, nil)
			close(ready)
			r := b.run()
			if r.Exit != 4 || r.Written != count+2 || r.PINsWaiting != count || r.PINsWritten != 0 {
				t.Errorf("exit %d, written %d, PINs waiting %d, written %d", r.Exit, r.Written, r.PINsWaiting, r.PINsWritten)
			}
			for _, f := range r.Files {
				if f.State != ledger.Sent {
					t.Errorf("the cards' file %s is %s", f.Name, f.State)
				}
			}
			if !slices.ContainsFunc(r.NeedsPerson, func(n report.Need) bool {
				return strings.Contains(n.What, "new PINs in no PIN file") && strings.Contains(n.Why, payshield.ErrTransport.Error())
			}) {
				t.Errorf("needs %+v", r.NeedsPerson)
			}
			b.nextModule(nil, nil)
			if r := b.run(); r.Exit != 0 || r.PINsWritten != count {
				t.Fatalf("the next run: exit %d, PINs written %d: %v", r.Exit, r.PINsWritten, r.NeedsPerson)
			}
			b.newPINs(count)
		})
	}
}

// A refusal concerns the whole file too, and says what to do; what is in the message is no card data.
func TestAModuleThatRefusesPINs(t *testing.T) {
	b := newBench(t)
	b.makesPINs(func(c payshieldtest.Command) payshieldtest.Fault {
		if c.Code == "JG" {
			return payshieldtest.Fault{Kind: payshieldtest.Refuse, Code: "69"}
		}
		return payshieldtest.Fault{}
	})
	b.replacedCards(4)
	r := b.run()
	if r.Exit != 4 || r.PINsWaiting != 4 {
		t.Fatalf("exit %d, PINs waiting %d", r.Exit, r.PINsWaiting)
	}
	if why := r.NeedsPerson[0].Why; !strings.Contains(why, "PIN block of order ") || len(iso.FindPANs(why)) > 0 {
		t.Errorf("why: %s", why)
	}
}

// One command at a time, so that which answer is wrong is no chance: the first value of the sample.
func TestAModuleThatLiesAboutPINsReleasesNone(t *testing.T) {
	b := newBench(t)
	b.makesPINs(nil)
	b.configure("connections: 4 ", "connections: 1 ", "in_flight: 64 ", "in_flight: 1 ")
	var values atomic.Int64
	b.nextModule(func(c payshieldtest.Command) payshieldtest.Fault {
		if c.Code == "DG" && values.Add(1) == 1 {
			return payshieldtest.Fault{Kind: payshieldtest.Lie}
		}
		return payshieldtest.Fault{}
	}, nil)
	b.replacedCards(5)
	r := b.run()
	if r.Exit != 4 || r.PINsWaiting != 5 || !strings.Contains(r.NeedsPerson[0].Why, "another PVV than a moment ago") {
		t.Fatalf("exit %d, PINs waiting %d: %v", r.Exit, r.PINsWaiting, r.NeedsPerson)
	}
	if left, _ := filepath.Glob(b.Path("outbox/pins/*")); len(left) > 0 {
		t.Errorf("there is %v", left)
	}
	b.nextModule(nil, nil)
	if r := b.run(); r.Exit != 0 {
		t.Fatalf("with a good module: exit %d", r.Exit)
	}
	b.newPINs(5)
}

// A PIN key that is not the configured one stops the run before any card.
func TestAPINKeyThatIsNotAsConfiguredStopsTheRunBeforeAnyCard(t *testing.T) {
	for _, key := range []string{"zpk_check", "pvk_check"} {
		t.Run(key, func(t *testing.T) {
			b := newBench(t)
			b.makesPINs(nil)
			b.rewrite(key+`: "[0-9A-F]{6}"`, key+`: "000000"`)
			b.replacedCards(1)
			err := b.stops()
			var mistake *SetupError
			if !errors.As(err, &mistake) || !errors.Is(err, payshield.ErrPINKey) {
				t.Errorf("the run: %v", err)
			}
			if _, err := os.Stat(b.Path("inbox", "lost.csv")); err != nil {
				t.Error("the request was taken from the inbox")
			}
			b.nothingLeft()
			var found config.Mistakes
			err = CheckConfig(t.Context(), b.Dir, Options{Log: zerolog.Nop()})
			if !errors.As(err, &found) || len(found) != 1 || found[0].Path != "pins" || !strings.Contains(found[0].Message, "pins."+key[:3]) {
				t.Errorf("config check: %v", err)
			}
			for _, token := range []string{payshieldtest.Token(payshieldtest.ZPK, zonePair), payshieldtest.Token(payshieldtest.PVK, pvkPair)} {
				if strings.Contains(fmt.Sprint(err), token) {
					t.Error("a token is printed")
				}
			}
		})
	}
}

// What a plan fixed holds: with other keys it waits for those that it names, with PINs switched off for the capability.
func TestAPlannedPINFileWaitsForItsKeys(t *testing.T) {
	b := newBench(t)
	b.makesPINs(nil)
	b.replacedCards(3)
	if !b.runKilledAt("write/planned", 3) {
		t.Fatal("the point was never passed")
	}
	waits := func(reason string) {
		t.Helper()
		r := b.run()
		if r.Exit != 4 || r.PINsWaiting != 3 || !strings.Contains(fmt.Sprint(r.NeedsPerson), reason) {
			t.Errorf("exit %d, PINs waiting %d: %v", r.Exit, r.PINsWaiting, r.NeedsPerson)
		}
	}
	b.configure(pinsOn, pinsOff)
	waits("put payshield back")
	b.configure(pinsOff, pinsOn)
	other := slices.Concat(zonePair[8:], zonePair[:8])
	ours, theirs := payshieldtest.Token(payshieldtest.ZPK, zonePair), payshieldtest.Token(payshieldtest.ZPK, other)
	b.configure(ours, theirs, payshieldtest.KCV(zonePair), payshieldtest.KCV(other))
	waits("names the zone PIN key with the check value " + payshieldtest.KCV(zonePair))
	b.configure(theirs, ours, payshieldtest.KCV(other), payshieldtest.KCV(zonePair))
	if r := b.run(); r.Exit != 0 {
		t.Fatalf("with its keys: exit %d: %v", r.Exit, r.NeedsPerson)
	}
	b.newPINs(3)
}
