package main

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"reemboss/batch"
	"reemboss/batch/ledger"
	"reemboss/bureau"
)

// What waits for a person and how it is settled, and what happens when somebody stops a run or starts a second one.

// A bureau whose key has expired, is another one, or is gone gets no file. Its orders wait with the reason, other bureaus
// go on, and with a good key the next run writes them.
func TestOrdersWaitForAFitKeyOfTheBureau(t *testing.T) {
	key := func(t *testing.T, at time.Time, validity time.Duration) (armoured []byte, fingerprint string) {
		k, err := bureau.GenerateKey("alpha", "alpha@example.invalid", at, validity)
		if err != nil {
			t.Fatal(err)
		}
		if armoured, err = k.Armored(false); err != nil {
			t.Fatal(err)
		}
		return armoured, k.Fingerprint()
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, w *workspace)
		told  string
	}{
		"expired": {func(t *testing.T, w *workspace) {
			armoured, fingerprint := key(t, time.Now().AddDate(0, 0, -3), 24*time.Hour)
			w.write("keys/bureaus/alpha.asc", armoured)
			w.configureBureau("alpha", w.fingerprint("alpha"), fingerprint)
		}, "expired"},
		"another one": {func(t *testing.T, w *workspace) {
			armoured, _ := key(t, time.Now(), 24*time.Hour)
			w.write("keys/bureaus/alpha.asc", armoured)
		}, "the configuration pins"},
		"gone": {func(t *testing.T, w *workspace) { w.remove("keys/bureaus/alpha.asc") }, "alpha.asc"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			good, fingerprint := w.read("keys/bureaus/alpha.asc"), w.fingerprint("alpha")
			w.smallNight()
			c.spoil(t, w)
			r := w.night(exitPerson)
			balanced(t, r)
			if r.Waiting != 4 || r.Written != 2 {
				t.Errorf("waiting %d, written %d", r.Waiting, r.Written)
			}
			needs(t, r, "alpha", c.told)
			if at := append(w.glob("outbox/alpha/*"), w.glob("simulator/alpha/incoming/*")...); len(at) > 0 {
				t.Errorf("without a fit key there is %q", at)
			}
			w.write("keys/bureaus/alpha.asc", good)
			w.configureBureau("alpha", w.fingerprint("alpha"), fingerprint)
			r = w.night(exitComplete)
			if r.CarriedOver.Written != 4 {
				t.Errorf("with the good key: carried over %+v", r.CarriedOver)
			}
			if got := len(w.delivered()); got != 6 {
				t.Errorf("%d cards were delivered, want 6", got)
			}
		})
	}
}

// fingerprint is the pinned one of a bureau's PGP key.
func (w *workspace) fingerprint(bureauName string) (fingerprint string) {
	w.inside(func(n *batch.Night) { fingerprint = n.Config.Bureaus[bureauName].PGP.Fingerprint })
	return fingerprint
}

// The outbox is damaged after the file was frozen. It does not leave, the next number waits behind it, and nothing is made anew; with the very bytes back it goes.
func TestADamagedFrozenFileIsNotSent(t *testing.T) {
	for name, damage := range map[string]func(w *workspace, path string){
		"changed": func(w *workspace, path string) {
			content := w.read(path)
			content[len(content)/2] ^= 1
			w.write(path, content)
		},
		"cut":  func(w *workspace, path string) { w.write(path, w.read(path)[:100]) },
		"gone": func(w *workspace, path string) { w.remove(path) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			w.smallNight()
			w.killed("stage/release")
			path := w.one("outbox/alpha/*")
			good := w.read(path)
			damage(w, path)
			r := w.night(exitPerson)
			balanced(t, r)
			needs(t, r, filepath.Base(path), "missing or changed")
			if f := bureauFile(t, r, "alpha", 1); f.State != ledger.Written {
				t.Errorf("it is %s", f.State)
			}
			if at := w.glob("simulator/alpha/incoming/*"); len(at) > 0 {
				t.Errorf("alpha got %q", at)
			}
			w.write(path, good)
			w.night(exitComplete)
			if !bytes.Equal(w.read(w.one("simulator/alpha/incoming/*")), good) {
				t.Error("alpha did not get the frozen bytes")
			}
		})
	}
}

// undecided brings alpha's file into the state that only a person can settle: killed after RENAMING was recorded, and the temporary file is gone.
func undecided(t *testing.T) (w *workspace, name string) {
	t.Helper()
	w = newWorkspace(t)
	w.smallNight()
	w.killed("sent/RENAMING")
	part := w.one("simulator/alpha/incoming/*")
	name = strings.TrimSuffix(filepath.Base(part), ".part")
	w.remove(part)
	r := w.night(exitPerson)
	balanced(t, r)
	if f := bureauFile(t, r, "alpha", 1); f.State != ledger.Undecided || f.Sent != 0 {
		t.Fatalf("it is %s, %d sent", f.State, f.Sent)
	}
	needs(t, r, name, "UNDECIDED", "reemboss resolve")
	if f := bureauFile(t, r, "beta", 1); f.State != ledger.Sent {
		t.Errorf("beta's file waits for alpha's: %s", f.State)
	}
	return w, name
}

func TestUndecidedIsSettledByAPerson(t *testing.T) {
	t.Run("nothing settles by itself", func(t *testing.T) {
		w, name := undecided(t)
		_, cards := sampleCards(t, 40)
		w.reembossFile("b.csv", cards[6], cards[8]) // one more file for alpha
		ended := w.start(nil, "--dir", w.Dir, "run", "--json")
		if at := w.glob("simulator/alpha/incoming/*"); len(at) > 0 {
			t.Errorf("sent although nobody decided, or overtaken: %q", at)
		}
		if ended.exit != exitPerson {
			t.Fatalf("exit %d\n%s", ended.exit, ended.stderr)
		}
		r := told(t, ended)
		needs(t, r, name, "UNDECIDED")
		if f := bureauFile(t, r, "alpha", 2); f.State != ledger.Written {
			t.Errorf("number 2 is %s", f.State)
		}
		w.do(exitUsage, "resend", name, "--reason", "it is not SENT")
	})
	t.Run("delivered", func(t *testing.T) {
		w, name := undecided(t)
		w.do(exitUsage, "resolve", name, "--delivered")
		w.do(exitUsage, "resolve", name, "--reason", "neither")
		r := w.do(exitComplete, "resolve", name, "--delivered", "--reason", "the bureau wrote that it has it", "--json")
		if !bytes.Contains(r.stdout, []byte(`"SENT"`)) {
			t.Errorf("told: %s", r.stdout)
		}
		w.night(exitComplete)
		if at := w.glob("simulator/alpha/incoming/*"); len(at) > 0 {
			t.Errorf("sent although it is delivered: %q", at)
		}
		w.settledWith(name, "the bureau wrote that it has it")
		w.do(exitUsage, "resolve", name, "--delivered", "--reason", "twice")
	})
	t.Run("resend", func(t *testing.T) {
		w, name := undecided(t)
		w.do(exitComplete, "resolve", name, "--resend", "--reason", "the bureau has nothing")
		if !bytes.Equal(w.read("simulator", "alpha", "incoming", name), w.read("outbox", "alpha", name)) {
			t.Error("the bytes that went are not the frozen ones")
		}
		w.settledWith(name, "the bureau has nothing")
		w.night(exitComplete)
		w.sequencesHaveNoGap(w.delivered())
	})
	t.Run("a resolve that is killed is continued by the night", func(t *testing.T) {
		w, name := undecided(t)
		if r := w.start([]string{"REEMBOSS_KILL_AT=sent/UPLOADED"}, "--dir", w.Dir, "resolve", name, "--resend", "--reason", "the bureau has nothing"); !r.killed {
			t.Fatalf("exit %d\n%s", r.exit, r.stderr)
		}
		w.night(exitComplete)
		if !bytes.Equal(w.read(w.one("simulator/alpha/incoming/*")), w.read("outbox", "alpha", name)) {
			t.Error("the bytes that went are not the frozen ones")
		}
	})
}

// settledWith: a person's word is in the history of the file and in the audit chain.
func (w *workspace) settledWith(name, reason string) {
	w.tb.Helper()
	ctx := context.Background()
	w.inside(func(n *batch.Night) {
		f, err := n.Ledger.FileByName(ctx, name)
		if err != nil {
			w.tb.Fatal(err)
		}
		history, err := n.Ledger.Deliveries(ctx, f.ID)
		if err != nil {
			w.tb.Fatal(err)
		}
		if f.State != ledger.Sent || len(f.Evidence) == 0 || !slices.ContainsFunc(history, func(d ledger.Delivery) bool { return d.Reason == reason }) {
			w.tb.Errorf("%s is %s with evidence %s and the history %+v", name, f.State, f.Evidence, history)
		}
		audited := false
		err = n.Ledger.EachAudit(ctx, func(e ledger.AuditEntry) error {
			audited = audited || e.Subject == name && strings.Contains(e.Detail, reason)
			return nil
		})
		if err != nil || !audited {
			w.tb.Errorf("the audit chain does not tell %q: %v", reason, err)
		}
	})
}

// The bureau lost the file. The very same bytes go again under the same name, the history says so, and no card is made
// twice by it.
func TestResendIsTheSameBytesAndRecorded(t *testing.T) {
	w := newWorkspace(t)
	w.smallNight()
	w.night(exitComplete)
	path := w.one("simulator/alpha/incoming/*")
	name, sent := filepath.Base(path), w.read(path)
	w.do(exitComplete, "resend", name, "--reason", "they say they lost it") // it is still there: nothing is sent
	w.remove(path)
	w.do(exitComplete, "resend", name, "--reason", "they did lose it")
	if !bytes.Equal(w.read(path), sent) {
		t.Error("the repeat has other bytes")
	}
	w.settledWith(name, "they say they lost it")
	w.settledWith(name, "they did lose it")
	r := w.night(exitComplete)
	if r.Read != 0 || len(r.Files) != 0 {
		t.Errorf("after a resend the night read %d and has the files %v", r.Read, r.Files)
	}
	w.do(exitUsage, "resend", "no-such-file", "--reason", "x")
	damaged := w.read("outbox", "alpha", name)
	damaged[9] ^= 1
	w.write("outbox/alpha/"+name, damaged)
	w.do(exitUsage, "resend", name, "--reason", "the outbox was damaged")
	if !bytes.Equal(w.read(path), sent) {
		t.Error("the damaged file went out")
	}
}

// Asked to stop, the night ends at its next safe point with exit code 5, and the next run goes on from there.
func TestStoppedByASignalIsContinued(t *testing.T) {
	prepared, requests := killNight(t)
	prepared.program = withoutRaceDetector(t)
	quiet := prepared.copyOf(t)
	quiet.points()
	want := lastReport(t, quiet.Dir)
	for _, point := range []string{"stage/intake", "cards/imported", "intake/renamed#4", "stage/decide", "decide/commit#2", "stage/write", "write/plan#2", "write/bytes",
		"stage/send", "send/INTENT", "sent/UPLOADED", "send/RENAMING", "sent/RENAMING#2", "send/SENT", "stage/reconcile", "answer/placed#3"} {
		t.Run(strings.ReplaceAll(point, "/", ":"), func(t *testing.T) {
			t.Parallel()
			w := prepared.copyOf(t)
			r := w.start([]string{"REEMBOSS_STOP_AT=" + point}, "--dir", w.Dir, "run")
			if r.exit != exitStopped || !strings.Contains(string(r.stderr), "start it again") {
				t.Fatalf("exit %d\n%s%s", r.exit, r.stdout, r.stderr)
			}
			w.delivered()
			w.night(exitPerson)
			w.holds(requests, want)
			w.nothingMore()
		})
	}
}
