package batch

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// Each right and owner that is wrong keeps every command from beginning, in one sentence that says what to do;
// what a group may legitimately do, and what is stricter than needed, is let pass.
func TestRightsAreLookedAtBeforeAnything(t *testing.T) {
	us, stranger := os.Geteuid(), 54321
	for _, c := range []struct {
		name, path string
		mode       os.FileMode
		refusal    string // "" for none
	}{
		{"our PGP key, read by a group", "keys/issuer.pgp", 0o640, "keys/issuer.pgp has mode 0640 and may be read by others than its owner; chmod 600 it and, where others could have read it, change what is in it"},
		{"our PGP key, read by all", "keys/issuer.pgp", 0o604, "chmod 600"},
		{"our PGP key, stricter", "keys/issuer.pgp", 0o400, ""},
		{"SSH key", "keys/ssh_ed25519", 0o644, "keys/ssh_ed25519 has mode 0644"},
		{"key-encryption key", "keys/kek", 0o604, "keys/kek has mode 0604"},
		{"passphrase", "keys/passphrase", 0o640, "keys/passphrase has mode 0640"},
		{"former key", "keys/former.pgp", 0o640, "keys/former.pgp has mode 0640"},
		{"mail password", "keys/mail", 0o640, "keys/mail has mode 0640"},
		{"webhook's secret", "keys/hook", 0o640, "keys/hook has mode 0640"},
		{"keyset", "keys/keyset.json", 0o640, "keys/keyset.json has mode 0640"},
		{"ledger", "state/ledger.sqlite", 0o644, "state/ledger.sqlite has mode 0644"},
		{"public keys are public", "keys/issuer.asc", 0o644, ""},
		{"host keys are public", "keys/known_hosts", 0o644, ""},
		{"folder of keys", "keys", 0o750, "keys has mode 0750 and others may enter it; chmod 700 it"},
		{"configuration, written by a group", "config.yaml", 0o660, "config.yaml has mode 0660 and may be written by others than its owner; chmod go-w it"},
		{"configuration, read by all", "config.yaml", 0o644, ""},
		{"workspace, written by a group", ".", 0o770, "has mode 0770 and may be written"},
		{"workspace, entered by all", ".", 0o755, ""},
		{"state", "state", 0o770, "state has mode 0770"},
		{"intake", "state/intake", 0o730, "state/intake has mode 0730"},
		{"outbox", "outbox", 0o770, "outbox has mode 0770"},
		{"outbox of a bureau", "outbox/alpha", 0o702, "outbox/alpha has mode 0702"},
		{"inbox, written by a group", "inbox", 0o770, ""},
		{"inbox, written by all", "inbox", 0o777, "inbox has mode 0777 and every account of this machine may write it; chmod o-w it, and give those who drop files there a group"},
		{"inbox, written by all, each to their own", "inbox", 0o777 | os.ModeSticky, "inbox has mode 0777"},
		{"inbox of extracts", "inbox/cards", 0o772, "inbox/cards has mode 0772"},
		{"returns that a bureau drops", "returns", 0o770, ""},
		{"returns, written by all", "returns", 0o777, "returns has mode 0777"},
		{"results that all may change", "done", 0o777, "done has mode 0777"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.furnishSecrets()
			n := b.open()
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(b.Path(c.path), c.mode); err != nil {
				t.Fatal(err)
			}
			for _, change := range []bool{true, false} {
				err := b.openedAs(us, change)
				var setup *SetupError
				switch {
				case c.refusal == "" && err != nil:
					t.Errorf("change %v: %v", change, err)
				case c.refusal != "" && (!errors.As(err, &setup) || !strings.Contains(err.Error(), c.refusal)):
					t.Errorf("change %v: %v\nwant %s", change, err, c.refusal)
				}
			}
			err := CheckConfig(t.Context(), b.Dir, Options{Log: zerolog.Nop()})
			if told := err != nil; told != (c.refusal != "") {
				t.Errorf("config check says %v", err)
			}
		})
	}
	t.Run("an account that is not the owner", func(t *testing.T) {
		if err := newBench(t).openedAs(stranger, false); us != 0 && err == nil || us == 0 && err != nil {
			t.Errorf("as another account: %v; what root owns is trusted, what another account owns is not", err)
		}
	})
	if us != 0 {
		return
	}
	t.Run("a file of another account", func(t *testing.T) {
		b := newBench(t)
		if err := os.Chown(b.Path("keys", "ssh_ed25519"), stranger, -1); err != nil {
			t.Fatal(err)
		}
		const want = "keys/ssh_ed25519 belongs to uid 54321 and this runs as uid 0; run it as the account that owns the workspace, or chown the file"
		if err := b.openedAs(0, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("root changes: %v", err)
		}
		if err := b.openedAs(0, false); err != nil {
			t.Errorf("root looks: %v", err)
		}
		if err := b.openedAs(stranger+1, false); err == nil || !strings.Contains(err.Error(), "belongs to uid 54321") {
			t.Errorf("a third account looks: %v", err)
		}
	})
}

// All that is wrong is told at once.
func TestAllWrongRightsAreToldTogether(t *testing.T) {
	b := newBench(t)
	for _, path := range []string{"keys/issuer.pgp", "keys/kek", "config.yaml"} {
		if err := os.Chmod(b.Path(path), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	err := b.openedAs(os.Geteuid(), true)
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("%v", err)
	}
}

// What production does not do as root: change anything. Looking is harmless, and a trial may be root's.
func TestProductionIsNotChangedByRoot(t *testing.T) {
	for _, c := range []struct {
		environment string
		uid         int
		change      bool
		refused     bool
	}{
		{"production", 0, true, true}, {"production", 0, false, false}, {"production", os.Geteuid(), false, false},
		{"test", 0, true, false}, {"production", 54321, true, false},
	} {
		b := newBench(t)
		if c.environment == "production" {
			b.produce()
		}
		err := b.openedAs(c.uid, c.change)
		refused := err != nil && strings.Contains(err.Error(), "nothing that changes the workspace runs as root")
		if os.Geteuid() != 0 && c.uid != os.Geteuid() && !c.refused {
			continue // the files are neither theirs nor root's
		}
		if refused != c.refused || !c.refused && err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		var setup *SetupError
		if c.refused && !errors.As(err, &setup) {
			t.Errorf("%+v: the exit code is not 2: %v", c, err)
		}
	}
}

// openedAs opens the workspace as an account, looking or changing, and closes it again.
func (b *bench) openedAs(uid int, change bool) error {
	n, err := Open(b.Context(), b.Dir, Options{Lock: change, Log: zerolog.Nop(), UserID: func() int { return uid }})
	if err == nil {
		err = n.Close()
	}
	return err
}

// replaced changes texts of the configuration, each at its first place.
func (b *bench) replaced(pairs ...string) {
	b.Helper()
	text, err := os.ReadFile(b.Config())
	if err != nil {
		b.Fatal(err)
	}
	changed := string(text)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(changed, pairs[i]) {
			b.Fatalf("the configuration has no %q", pairs[i])
		}
		changed = strings.Replace(changed, pairs[i], pairs[i+1], 1)
	}
	if err := os.WriteFile(b.Config(), []byte(changed), 0o600); err != nil {
		b.Fatal(err)
	}
}

// produce makes the workspace one of production, with the risk of software keys taken.
func (b *bench) produce() {
	b.Helper()
	b.replaced("environment: test", "environment: production", "allow_software_keys: false", "allow_software_keys: true",
		"simulator: true", "simulator: false", "simulator: true", "simulator: false")
}

// furnishSecrets gives the configuration every kind of secret file that costs nothing to have.
func (b *bench) furnishSecrets() {
	b.Helper()
	former := b.recipientsKey("alpha", "keys", "bureau.pgp") // whose does not matter here
	key, err := former.Armored(true)
	if err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string][]byte{"passphrase": []byte("words"), "mail": []byte("words"), "hook": []byte("words that nobody else knows, long enough"), "former.pgp": key} {
		if err := os.WriteFile(b.Path("keys", name), text, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	b.replaced("  signing_key: keys/issuer.pgp", "  passphrase: {file: keys/passphrase}\n  former: [{key_file: keys/former.pgp, fingerprint: \""+former.Fingerprint()+"\"}]\n  signing_key: keys/issuer.pgp",
		`host: ""`, "host: mail.example.com", "# password: {file: keys/mail-password}", "password: {file: keys/mail} #", `user: ""`, "user: cards",
		`from: "" `, "from: cards@example.com ", "    to: []", "    to: [{address: a@example.com}]",
		"  webhooks: []", "  webhooks: [{url: \"https://chat.example.com/x\", secret: {file: keys/hook}}]")
}
