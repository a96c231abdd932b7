package batch

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/batch/ledger"
	"reemboss/formats/iso"
)

// keyring opens the workspace for a change of its keys.
func (b *bench) keyring() *Night {
	b.Helper()
	n, err := OpenKeyring(b.Context(), b.Dir, b.options())
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// A change of the key-encryption key that ends at any point leaves a keyset that opens with the file that is there.
func TestTheKeysetOpensWhereverAChangeOfItsKeyEnds(t *testing.T) {
	b := newBench(t)
	number, err := iso.ParsePAN("4111111111111111")
	if err != nil {
		t.Fatal(err)
	}
	n := b.keyring()
	sealed, err := n.keyset.SealPAN(7, number)
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]string{} // point → copy of keys/
	n.Checkpoint = func(point string) {
		left[point] = filepath.Join(t.TempDir(), "keys")
		if err := os.CopyFS(left[point], os.DirFS(b.Path("keys"))); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.ReadFile(b.Path("keys", "kek"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.RotateKEK(t.Context(), "", ""); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(b.Path("keys", "kek")); err != nil || string(after) == string(before) {
		t.Errorf("the key-encryption key is the one of before: %v", err)
	}
	if got := slices.Sorted(maps.Keys(left)); !slices.Equal(got, []string{"keys/begin", "keys/done", "keys/kek-replaced", "keys/recorded", "keys/rewrapped"}) {
		t.Errorf("points: %s", got)
	}
	for point, folder := range left {
		for _, file := range []string{"kek", "keyset.json"} {
			if err := os.Chmod(filepath.Join(folder, file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		kek, err := hsm.LoadSecret(config.SecretRef{File: "kek"}, folder)
		if err != nil {
			t.Fatal(err)
		}
		keyset, err := hsm.OpenKeyset(filepath.Join(folder, "keyset.json"), kek)
		if err != nil {
			t.Errorf("%s: %v", point, err)
			continue
		}
		if p, err := keyset.OpenPAN(7, sealed); err != nil || !p.Equal(number) {
			t.Errorf("%s: what was sealed does not open: %v", point, err)
		}
	}
	if set, err := hsm.OpenKeyset(b.Keyset(), mustDecode(t, before)); err == nil {
		t.Errorf("the key of before still opens %v", set)
	}
}

func mustDecode(t *testing.T, text []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kek"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	kek, err := hsm.LoadSecret(config.SecretRef{File: "kek"}, dir)
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

// Every act on keys is an entry of the audit log with who, what and which; no secret is in one. A failed one is told as failed.
func TestActsOnKeysAreRecorded(t *testing.T) {
	b := newBench(t)
	n := b.keyring()
	kcv, err := n.GenerateCVK(t.Context(), "new")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.AddAllocation(t.Context(), "range-2"); err != nil {
		t.Fatal(err)
	}
	former := n.keyset.SealKeyID()
	if _, err := n.Rotate(t.Context(), "sealing"); err != nil {
		t.Fatal(err)
	}
	if err := n.Retire(t.Context(), "sealing", former); err != nil {
		t.Fatal(err)
	}
	pgp, err := n.RotatePGP(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.RotateSSH(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Retire(t.Context(), "sealing", "12345"); err == nil {
		t.Error("a key that is not there was retired")
	}
	var entries []string
	err = n.Ledger.EachAudit(t.Context(), func(e ledger.AuditEntry) error {
		if e.Who == "" {
			t.Errorf("nobody did %s", e.What)
		}
		entries = append(entries, e.What+" "+e.Subject)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(entries, "\n")
	for _, want := range []string{"keys.added card key new", "keys.added allocation key range-2", "keys.rotated sealing", "keys.retired sealing " + former,
		"keys.rotated pgp " + pgp.Fingerprint, "keys.rotated ssh", "keys.retired_failed sealing 12345"} {
		if !strings.Contains(all, want) {
			t.Errorf("no entry %q in\n%s", want, all)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if kcv == "" {
		t.Error("no check value")
	}
}

// After `keys rotate pgp` its lines in the configuration are all that is needed: what the former key signed and opens goes on.
func TestTheLinesOfANewPGPKeyWork(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id\n1\n")
	b.run()
	n := b.keyring()
	made, err := n.RotatePGP(t.Context())
	if err == nil {
		err = n.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.TrimPrefix(made.Lines, "keys:\n")
	b.replaced("  signing_key: keys/issuer.pgp", "  #", "  fingerprint: \""+b.ownFingerprint()+"\"\n", lines)
	n = b.open()
	if n.ownKey.Fingerprint() != made.Fingerprint || len(n.former) != 1 {
		t.Errorf("our key is %s with %d former ones", n.ownKey.Fingerprint(), len(n.former))
	}
	if _, err := n.VerifyAudit(t.Context()); err != nil {
		t.Error(err)
	}
}

// ownFingerprint is that of the key that the configuration names.
func (b *bench) ownFingerprint() string {
	b.Helper()
	n := b.open()
	defer n.Close()
	return n.ownKey.Fingerprint()
}

// What a key means to the next run: it stops it, something waits, or somebody must see to it in time.
func TestKeysAreToldByWhatTheyMean(t *testing.T) {
	for _, c := range []struct {
		name, state, effect string
		kind, owner, use    string
		spoil               func(b *bench)
	}{
		{"nothing", "ok", KeyOK, PGPKeyEntry, "alpha", "recipient", func(*bench) {}},
		{"bureau's key gone", "missing", KeyWaits, PGPKeyEntry, "alpha", "recipient", func(b *bench) { _ = os.Remove(b.Path("keys", "bureaus", "alpha.asc")) }},
		{"bureau's key of somebody else", "wrong fingerprint", KeyWaits, PGPKeyEntry, "alpha", "recipient", func(b *bench) { b.public("keys/bureaus/alpha.asc", b.recipientsKey("beta", "keys", "bureau.pgp")) }},
		{"keys expired", "expired", KeyWaits, PGPKeyEntry, "beta", "recipient", func(b *bench) { b.now = b.now.Add(keyValidity + time.Hour) }},
		{"our key expired", "expired", KeyStops, PGPKeyEntry, "workspace", "own", func(b *bench) { b.now = b.now.Add(keyValidity + time.Hour) }},
		{"our key ends in 29 days", "expires soon", KeySoon, PGPKeyEntry, "workspace", "own", func(b *bench) { b.now = b.now.Add(keyValidity - 29*24*time.Hour) }},
		{"our key ends in 31 days", "ok", KeyOK, PGPKeyEntry, "workspace", "own", func(b *bench) { b.now = b.now.Add(keyValidity - 31*24*time.Hour) }},
		{"escrow key ends soon", "expires soon", KeySoon, PGPKeyEntry, "beta", "escrow", func(b *bench) { b.withEscrow(24 * time.Hour) }},
		{"another key-encryption key", "not the one in use", KeyStops, KEKEntry, "workspace", "", func(b *bench) {
			_ = os.WriteFile(b.Path("keys", "kek"), []byte(strings.Repeat("00", 32)), 0o600)
		}},
		{"another check value", "another check value", KeyStops, CardKeyEntry, "workspace", hsm.KindCVK, func(b *bench) {
			b.replaced(`cvk-mastercard: {backend: software, kcv: "`, `cvk-mastercard: {backend: software, kcv: "000000"} # `)
		}},
		{"SSH key read by others", "exposed", KeyWaits, SSHKeyEntry, "alpha, beta", "own", func(b *bench) { _ = os.Chmod(b.Path("keys", "ssh_ed25519"), 0o644) }},
		{"the same stops a run", "exposed", KeyStops, RightsEntry, "workspace", "", func(b *bench) { _ = os.Chmod(b.Path("keys", "ssh_ed25519"), 0o644) }},
		{"no host key", "missing", KeyWaits, HostKeyEntry, "beta", "", func(b *bench) { _ = os.WriteFile(b.Path("keys", "known_hosts"), nil, 0o600) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			c.spoil(b)
			entries, err := CheckKeys(t.Context(), b.Dir, b.options())
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(entries, func(e KeyEntry) bool {
				return e.Kind == c.kind && e.Owner == c.owner && e.Use == c.use && (e.Kind != CardKeyEntry || e.Name == "cvk-mastercard")
			})
			if i < 0 {
				t.Fatalf("no such key: %+v", entries)
			}
			if e := entries[i]; e.State != c.state || e.Effect != c.effect || (e.Problem == "") != (c.effect == KeyOK) {
				t.Errorf("%+v", e)
			}
		})
	}
}
