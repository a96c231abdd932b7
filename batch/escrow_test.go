package batch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reemboss/bureau"
)

// withEscrow makes an escrow key valid for some time and gives it to both bureaus and the card system.
func (b *bench) withEscrow(validity time.Duration) *bureau.Key {
	b.Helper()
	key, err := bureau.GenerateKey("safe", "safe@example.invalid", b.now.Add(-time.Hour), validity)
	if err != nil {
		b.Fatal(err)
	}
	b.public("keys/escrow.asc", key)
	entry := fmt.Sprintf(`escrow: {key_file: keys/escrow.asc, fingerprint: "%s"}`, key.Fingerprint())
	b.replaced(`# escrow: {key_file: keys/escrow.asc, fingerprint: "..."}`, entry,
		"      key_file: keys/bureaus/beta.asc", "      "+entry+"\n      key_file: keys/bureaus/beta.asc",
		"    key_file: keys/card-system.asc", "    "+entry+"\n    key_file: keys/card-system.asc")
	return key
}

func (b *bench) public(path string, key *bureau.Key) {
	b.Helper()
	text, err := key.Armored(false)
	if err == nil {
		err = os.WriteFile(b.Path(path), text, 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// recipientsKey is a simulated recipient's own private key.
func (b *bench) recipientsKey(path ...string) *bureau.Key {
	b.Helper()
	key, err := bureau.ReadPrivateKey(b.Path(append([]string{"simulator"}, path...)...), nil, "", b.now)
	if err != nil {
		b.Fatal(err)
	}
	return key
}

// opened is the clear text of a sealed file, opened with one private key and nothing else.
func (b *bench) opened(path string, private *bureau.Key) ([]byte, error) {
	b.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	clear, verdict := bureau.Open(bytes.NewReader(content), private, nil)
	text, err := io.ReadAll(clear)
	if err == nil {
		_, err = verdict()
	}
	return text, err
}

// oneSent is the path of the one file in the outbox of a recipient.
func (b *bench) oneSent(recipient string) string {
	b.Helper()
	paths, err := filepath.Glob(filepath.Join(b.Outbox(recipient), "*.pgp"))
	if err != nil || len(paths) != 1 {
		b.Fatalf("files for %s: %v %v", recipient, paths, err)
	}
	return paths[0]
}

// Each recipient's files open with its own key, and with the escrow key alone; the simulated bureau takes them.
func TestFilesAreEncryptedToTheEscrowKeyToo(t *testing.T) {
	b := newBench(t)
	safe := b.withEscrow(0)
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n")
	r := b.run()
	if r.Exit != 0 {
		t.Fatalf("exit %d: %s", r.Exit, r.Verdict)
	}
	own := map[string]*bureau.Key{"alpha": b.recipientsKey("alpha", "keys", "bureau.pgp"), "card-system": b.recipientsKey("card-system", "keys", "card-system.pgp")}
	for name, key := range own {
		path := b.oneSent(name)
		theirs, err := b.opened(path, key)
		if err != nil {
			t.Fatalf("%s with the recipient's key: %v", name, err)
		}
		if ours, err := b.opened(path, safe); err != nil || !bytes.Equal(ours, theirs) {
			t.Errorf("%s with the escrow key: %v", name, err)
		}
		if _, err := b.opened(path, b.recipientsKey("beta", "keys", "bureau.pgp")); err == nil {
			t.Errorf("%s opens with the key of somebody else", name)
		}
	}
}

// A plan froze both keys: whatever the configuration says when its file is made, it is made for those two.
func TestAPlanFreezesTheEscrowKey(t *testing.T) {
	b := newBench(t)
	safe := b.withEscrow(0)
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id\n1\n")
	b.stoppedAt("write/bytes")
	if err := os.Remove(b.Path("keys", "escrow.asc")); err != nil {
		t.Fatal(err)
	}
	b.replaced("\n      escrow: {key_file", "\n      # escrow: {key_file", "\n      escrow: {key_file", "\n      # escrow: {key_file", "\n    escrow: {key_file", "\n    # escrow: {key_file")
	r := b.run()
	if r.Exit != 0 || len(r.Files) != 1 {
		t.Fatalf("exit %d, %d files: %s", r.Exit, len(r.Files), r.Verdict)
	}
	if _, err := b.opened(filepath.Join(b.Outbox("alpha"), r.Files[0].Name), safe); err != nil {
		t.Errorf("the frozen escrow key: %v", err)
	}
}

// An escrow key that is not usable keeps the recipient's cards waiting, and a person is told; with a good one the next run writes them.
func TestAFileWaitsForAUsableEscrowKey(t *testing.T) {
	for name, spoil := range map[string]func(b *bench){
		"missing":     func(b *bench) { _ = os.Remove(b.Path("keys", "escrow.asc")) },
		"expired":     func(b *bench) { b.now = b.now.Add(48 * time.Hour) },
		"another key": func(b *bench) { b.public("keys/escrow.asc", b.recipientsKey("beta", "keys", "bureau.pgp")) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.withEscrow(24 * time.Hour)
			b.cards("1 C1 NORMAL 411111000000001 00")
			b.drop("a.csv", "card_id\n1\n")
			spoil(b)
			r := b.run()
			if r.Exit != 4 || r.Waiting != 1 || len(r.Files) != 0 {
				t.Fatalf("exit %d, waiting %d, %d files", r.Exit, r.Waiting, len(r.Files))
			}
			if why := fmt.Sprint(r.NeedsPerson); !strings.Contains(why, "escrow") {
				t.Errorf("nobody is told why: %s", why)
			}
			if err := CheckConfig(t.Context(), b.Dir, b.options()); err == nil || !strings.Contains(err.Error(), "bureaus.alpha.pgp.escrow.key_file") {
				t.Errorf("config check: %v", err)
			}
			good, err := bureau.GenerateKey("safe", "safe@example.invalid", b.now.Add(-time.Hour), 0)
			if err != nil {
				t.Fatal(err)
			}
			b.public("keys/escrow-2.asc", good)
			b.replaced("      escrow: {key_file: keys/escrow.asc", fmt.Sprintf("      escrow: {key_file: keys/escrow-2.asc, fingerprint: %q} #", good.Fingerprint()))
			b.run()
			if _, err := b.opened(b.oneSent("alpha"), good); err != nil {
				t.Errorf("with a good key: %v", err)
			}
		})
	}
}

// stoppedAt works a night that ends in an error at a point, as a kill would end it for the ledger.
func (b *bench) stoppedAt(point string) {
	b.Helper()
	n := b.open()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	n.Checkpoint = func(at string) {
		if at == point {
			cancel()
		}
	}
	if _, err := n.Run(ctx); err == nil {
		b.Fatalf("the night does not stop at %s", point)
	} else if !stopped(err) {
		b.Fatal(err)
	}
	if err := n.Close(); err != nil {
		b.Fatal(err)
	}
}

// What came to our former key still opens, what it signed is still ours, and nothing new goes to it.
func TestAFormerKeyStillOpensAndVerifies(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	b.drop("a.csv", "card_id\n1\n")
	b.run()
	n := b.open()
	before := n.ownKey
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	b.drop("b.csv", "card_id\n2\n")
	b.stoppedAt("write/bytes") // planned, and to be signed with the former key
	// Another key takes its place; the former one expires meanwhile.
	b.now = b.now.Add(keyValidity - time.Hour)
	key, err := bureau.GenerateKey("us", "us@example.invalid", b.now.Add(-time.Hour), 0)
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.Armored(true)
	if err == nil {
		err = os.WriteFile(b.Path("keys", "issuer-2.pgp"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.replaced("signing_key: keys/issuer.pgp", "signing_key: keys/issuer-2.pgp", `fingerprint: "`+before.Fingerprint(), `fingerprint: "`+key.Fingerprint())
	n = b.open()
	if _, err := n.VerifyAudit(t.Context()); err == nil {
		t.Error("without the former key its signature counts")
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	b.replaced("  signing_key: keys/issuer-2.pgp", fmt.Sprintf("  former: [{key_file: keys/issuer.pgp, fingerprint: %q}]\n  signing_key: keys/issuer-2.pgp", before.Fingerprint()))
	n = b.open()
	if _, err := n.VerifyAudit(t.Context()); err != nil {
		t.Errorf("heads that the former key signed: %v", err)
	}
	if n.signerOf(before.Fingerprint()) == nil || n.signerOf(key.Fingerprint()) == nil {
		t.Error("a plan that names the former key cannot be signed while it may sign")
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(2 * time.Hour)
	n = b.open()
	if n.signerOf(before.Fingerprint()) != nil {
		t.Error("an expired key signs")
	}
	var message bytes.Buffer
	w, err := bureau.Seal(&message, bureau.Sealing{To: []*bureau.Key{before}, Signer: before, FileName: "cards.csv", Time: b.now.Add(-24 * time.Hour)})
	if err == nil {
		_, err = io.WriteString(w, "to the former key")
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	clear, verdict := n.openForUs(bytes.NewReader(message.Bytes()), n.ours())
	got, err := io.ReadAll(clear)
	if signer, bad := verdict(); err != nil || bad != nil || string(got) != "to the former key" || signer != before.Fingerprint() {
		t.Errorf("%d bytes, signed by %s: %v %v", len(got), signer, err, bad)
	}
	clear, verdict = bureau.Open(bytes.NewReader(message.Bytes()), n.ownKey, nil)
	_, err = io.ReadAll(clear)
	if _, bad := verdict(); err == nil && bad == nil {
		t.Error("it opens without the former key")
	}
	if n.verifyOurs([]byte("x"), []byte("y")) == nil {
		t.Error("anything is ours")
	}
}
