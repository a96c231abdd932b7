package batch

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reemboss/batch/ledger"
	"reemboss/bureau"
)

// sealedReturns asks for PGP, and gives a function that seals a return file from the bureau's key or another.
func sealedReturns(t *testing.T) (b *bench, s ledger.Shipment, seal func(content, signer string) string) {
	b, s = oneCard(t, "sealed: false", "sealed: true")
	key := func(path string) *bureau.Key {
		k, err := bureau.ReadPrivateKey(path, nil, "", b.now)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	return b, s, func(content, signer string) string {
		var out bytes.Buffer
		sealing := bureau.Sealing{To: []*bureau.Key{key(b.Path("keys", "issuer.pgp"))}, FileName: "r.csv", Time: b.now, Rand: systemRandom}
		if signer != "" {
			sealing.Signer = key(filepath.Join(b.Simulator(signer), "keys", "bureau.pgp"))
		}
		w, err := bureau.Seal(&out, sealing)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
}

// Where the configuration asks for it a return file is encrypted to us and signed by its bureau, or nothing of it is used.
func TestSealedReturnFiles(t *testing.T) {
	line := func(b *bench, s ledger.Shipment) string {
		return returnsHeader + b.event(s, "SHIPPED", b.now) + "\nTRAILER,,,,,1,,,,,\n"
	}
	t.Run("right", func(t *testing.T) {
		b, s, seal := sealedReturns(t)
		b.answerRaw("r.csv.pgp", seal(line(b, s), "alpha"))
		if r := b.run(); r.Exit != 0 || b.order(1).State != ledger.Shipped {
			t.Errorf("exit %d %+v, order %s", r.Exit, r.NeedsPerson, b.order(1).State)
		}
	})
	for name, c := range map[string]struct {
		code string
		make func(content string, seal func(string, string) string) string
	}{
		"by the wrong key": {"signature", func(c string, seal func(string, string) string) string { return seal(c, "beta") }},
		"in clear":         {"not_sealed", func(c string, _ func(string, string) string) string { return c }},
		"changed on its way": {"seal_broken", func(c string, seal func(string, string) string) string {
			text := []byte(seal(c, "alpha"))
			text[len(text)-200] ^= 1
			return string(text)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b, s, seal := sealedReturns(t)
			content := b.answerRaw("r.csv.pgp", c.make(line(b, s), seal))
			if r := b.run(); r.Exit != 4 || b.order(1).State != ledger.SentO {
				t.Errorf("exit %d, order %s", r.Exit, b.order(1).State)
			}
			files := b.returnFiles(ledger.ReturnQuarantined)
			if len(files) != 1 || files[0].Code != c.code {
				t.Fatalf("%+v", files)
			}
			if kept, err := os.ReadFile(b.Path(files[0].Final)); err != nil || string(kept) != content {
				t.Errorf("the file is not kept: %v", err)
			}
		})
	}
	t.Run("cut short", func(t *testing.T) {
		b, s, seal := sealedReturns(t)
		whole := seal(line(b, s), "alpha")
		b.answerRaw("r.csv.pgp", whole[:len(whole)-100])
		if r := b.run(); r.Exit != 0 || len(b.returnFiles()) != 0 {
			t.Errorf("exit %d, %+v", r.Exit, b.returnFiles())
		}
		b.answerRaw("r.csv.pgp", whole)
		if b.run(); b.order(1).State != ledger.Shipped {
			t.Errorf("the whole file left it %s", b.order(1).State)
		}
	})
}

// A quarantined file whose fault was ours is read again after it was mended.
func TestAQuarantinedFileIsReadAgain(t *testing.T) {
	b, s := oneCard(t, "sealed: false", "sealed: true")
	b.answer("r.csv", b.event(s, "SHIPPED", b.now))
	if r := b.run(); r.Exit != 4 {
		t.Fatalf("exit %d", r.Exit)
	}
	b.configure("sealed: true", "sealed: false")
	n := b.open()
	if _, err := n.Settle(t.Context(), "r.csv", ReadAgain, "configuration mended"); err != nil {
		t.Fatal(err)
	}
	n.Close()
	if r := b.run(); r.Exit != 0 || b.order(1).State != ledger.Shipped {
		t.Errorf("exit %d %+v, %s", r.Exit, r.NeedsPerson, b.order(1).State)
	}
}

// Only what the ledger has is removed or moved at the bureau, and only as configured.
func TestTheBureausCopyIsLeftRemovedOrMoved(t *testing.T) {
	for after, want := range map[string]string{"leave": "returns/r.csv", "remove": "", "move": "returns/done/r.csv"} {
		t.Run(after, func(t *testing.T) {
			b, s := oneCard(t)
			b.configure("after: leave", "after: "+after)
			if after == "move" {
				b.configure(`move_to: ""`, "move_to: returns/done")
			}
			b.answer("r.csv", b.event(s, "SHIPPED", b.now))
			b.answerRaw("unfinished.csv", returnsHeader)
			b.run()
			var found []string
			for _, pattern := range []string{"returns/r.csv", "returns/done/r.csv"} {
				if _, err := os.Stat(filepath.Join(b.Simulator("alpha"), pattern)); err == nil {
					found = append(found, pattern)
				}
			}
			if strings.Join(found, " ") != want {
				t.Errorf("the bureau has %v, want %q", found, want)
			}
			if _, err := os.Stat(filepath.Join(b.Simulator("alpha"), "returns", "unfinished.csv")); err != nil {
				t.Error("a file that was not taken is gone")
			}
		})
	}
}

// A card number in a return file never lies on our disk in clear.
func TestACardNumberInAReturnFileIsKeptSealed(t *testing.T) {
	b, s := oneCard(t)
	pan := "411111000000001"
	n := b.open()
	cards, err := n.Ledger.Cards(t.Context(), []int64{1})
	if err != nil {
		t.Fatal(err)
	}
	n.Close()
	clear := cards[1].PAN.Reveal()
	if !strings.HasPrefix(clear, pan) {
		t.Fatal("the test's card is not the one it means")
	}
	b.answer("r.csv", strings.Replace(b.event(s, "REJECTED", b.now), "REJECTED,,,,", "REJECTED,,7,card "+clear+" unknown,", 1))
	b.run()
	err = filepath.WalkDir(b.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/simulator/") {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(clear)) {
			t.Errorf("%s holds the card number", b.Relative(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := b.order(1); s.State != ledger.Rejected || !strings.Contains(s.Events[0].Description, "411111") {
		t.Errorf("%s %q", s.State, s.Events[0].Description)
	}
}
