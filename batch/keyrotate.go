package batch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/crypto/ssh"

	"reemboss/batch/hsm"
	"reemboss/batch/hsm/pkcs11"
	"reemboss/bureau"
)

// Rotate puts a new key in the place of the one for card numbers ("sealing") or
// of the blind index ("index"). What is stored comes under it in the background of the next runs.
func (n *Night) Rotate(ctx context.Context, what string) (hsm.KeyLine, error) {
	kind, err := rotating(what)
	if err != nil {
		return hsm.KeyLine{}, err
	}
	var line hsm.KeyLine
	err = n.recorded(ctx, "keys.rotated", what, "", func() (err error) {
		line, err = n.keyset.Rotate(kind, n.Now(), n.Random)
		return err
	})
	return line, asSetup(err)
}

func rotating(what string) (kind string, err error) {
	switch what {
	case "sealing":
		return hsm.KindPAN, nil
	case "index":
		return hsm.KindIndex, nil
	case "allocation":
		return "", setup("an allocation key is never rotated: under another key its range would give numbers a second time. Make a key for a new range (reemboss keys add allocation NAME), then give the product that range")
	case "cvk":
		return "", setup("a card verification key is never rotated in place: cards under it stay valid until they expire. Add the new key under a new name (reemboss keys add cvk NAME); products name it in cvv, and cards that are made again as they were keep theirs")
	}
	return "", setup("%q is no key that can be rotated or retired", printable(what))
}

// Retire takes a former key for card numbers or of the index out of the keyset,
// once no row of the ledger is under it: that the ledger may still list it stops no look-up. Older copies of the ledger
// then need an older copy of the keyset.
func (n *Night) Retire(ctx context.Context, what, id string) error {
	kind, err := rotating(what)
	if err != nil {
		return err
	}
	use, err := n.Ledger.KeyUse(ctx)
	if err != nil {
		return fmt.Errorf("count what is under each key: %w", err)
	}
	rows := use.Sealed[id]
	if kind == hsm.KindIndex {
		rows = use.Indexed[id]
	}
	if rows > 0 {
		return setup("%d rows of the ledger are still under key %s; the next runs bring them under the new one (reemboss keys list --rows)", rows, printable(id))
	}
	return asSetup(n.recorded(ctx, "keys.retired", what+" "+id, "", func() error { return n.keyset.Retire(kind, id, n.Random) }))
}

// RotateKEK changes the key-encryption key. Into the configured file, in this
// order, so that after a crash anywhere the keyset opens with the file that is
// there: the keyset opens under both keys; the file is replaced; the
// keyset opens under the new key only. With out (and for a key in the environment
// always) the new key goes into that file instead, encrypted for the token where token names
// its key; the keyset opens with either until [Night.FinishKEK].
func (n *Night) RotateKEK(ctx context.Context, out, token string) (kcv string, err error) {
	ref := n.Config.Keys.Keyset
	if ref.Env != "" && out == "" {
		return "", setup("the key-encryption key is in the environment variable %s, which only its owner can change: write the new one to a file with --out FILE, put it there, then reemboss keys rotate kek --finish", ref.Env)
	}
	if token != "" && out == "" {
		return "", setup("--token-key goes with --out FILE, the file that keys.keyset_kek will name")
	}
	kek, err := hsm.NewSecret(n.Random)
	if err != nil {
		return "", err
	}
	defer clear(kek)
	content, err := n.kekFile(ctx, kek, out, token)
	if err != nil {
		return "", err
	}
	defer clear(content)
	err = n.recorded(ctx, "keys.rotated", "key-encryption key", "", func() error { return n.exchangeKEK(kek, content, out) })
	if err != nil {
		return "", asSetup(err)
	}
	checks, err := n.keyset.KEKs()
	if err != nil {
		return "", err
	}
	return checks[0], nil
}

// kekFile is what the file of a new key-encryption key holds.
func (n *Night) kekFile(ctx context.Context, kek []byte, out, token string) ([]byte, error) {
	switch {
	case token != "":
		return n.wrappedKEK(ctx, kek, token)
	case out != "":
		return append(hsm.EncodeSecret(kek), '\n'), nil
	}
	return n.SecretFile(ctx, kek)
}

func (n *Night) exchangeKEK(kek, content []byte, out string) error {
	if out != "" { // the file first: a keyset that opens with a key that is nowhere would be of no use
		if err := n.createBytes(out, content); err != nil {
			return err
		}
		n.at("keys/kek-made")
		return n.keyset.Rewrap(kek, n.Random)
	}
	if err := n.keyset.Rewrap(kek, n.Random); err != nil {
		return err
	}
	n.at("keys/rewrapped")
	if err := n.writeBytes(n.Resolve(n.Config.Keys.Keyset.File), content); err != nil {
		return err
	}
	n.at("keys/kek-replaced")
	return n.keyset.Settle(n.Random)
}

// FinishKEK ends a change of the key-encryption key that was begun: the keyset
// opens with the configured key only.
func (n *Night) FinishKEK(ctx context.Context) error {
	kek, err := n.loadKEK(ctx)
	if err != nil {
		return &SetupError{err}
	}
	defer clear(kek)
	configured, err := hsm.KEKCheckValue(kek)
	if err != nil {
		return err
	}
	checks, err := n.keyset.KEKs()
	switch {
	case err != nil:
		return err
	case len(checks) == 1:
		return setup("the keyset opens with one key-encryption key only (check value %s); there is nothing to finish", checks[0])
	case configured != checks[0]:
		return setup("keys.keyset_kek still is the key-encryption key of before (check value %s); write the new one there first (check value %s), or, where that is lost, make another with reemboss keys rotate kek", configured, checks[0])
	}
	return n.recorded(ctx, "keys.rotated", "key-encryption key", "the key of before no longer opens the keyset", func() error { return n.keyset.Settle(n.Random) })
}

// NewOwnKey is a new PGP or SSH key of ours, beside the one in use.
type NewOwnKey struct {
	File        string `json:"file"`
	Fingerprint string `json:"fingerprint"`
	Public      string `json:"public"` // armoured key or line of authorized_keys
	Lines       string `json:"lines"`  // what must stand in config.yaml once everybody has it
}

// RotatePGP makes a new PGP key of ours in keys/issuer-<date>.pgp, locked with
// the configured passphrase where there is one. It is used when config.yaml names it.
func (n *Night) RotatePGP(ctx context.Context) (NewOwnKey, error) {
	k := n.Config.Keys
	passphrase, err := n.passphrase()
	if err != nil {
		return NewOwnKey{}, err
	}
	defer clear(passphrase)
	name, mail := ownIdentity(n.Resolve(k.SigningKey), k.Fingerprint)
	key, err := bureau.GenerateKey(name, mail, n.Now(), keyValidity)
	if err != nil {
		return NewOwnKey{}, err
	}
	secret, err := lockedWith(key, passphrase)
	if err != nil {
		return NewOwnKey{}, err
	}
	defer clear(secret)
	public, err := key.Armored(false)
	if err != nil {
		return NewOwnKey{}, err
	}
	made := NewOwnKey{File: n.freeName("keys/issuer", ".pgp"), Fingerprint: key.Fingerprint(), Public: string(public)}
	former := fmt.Sprintf("{key_file: %s, fingerprint: %q}", k.SigningKey, k.Fingerprint)
	for _, f := range k.Former {
		former += fmt.Sprintf(", {key_file: %s, fingerprint: %q}", f.KeyFile, f.Fingerprint)
	}
	made.Lines = fmt.Sprintf("keys:\n  signing_key: %s\n  fingerprint: %q\n  former: [%s]\n", made.File, made.Fingerprint, former)
	err = n.recorded(ctx, "keys.rotated", "pgp "+made.Fingerprint, made.File, func() error { return n.createSame(made.File, secret) })
	return made, asSetup(err)
}

func lockedWith(key *bureau.Key, passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		return key.Armored(true)
	}
	return key.ArmoredLocked(passphrase)
}

var userID = regexp.MustCompile(`^(.*?)\s*<([^<>]*)>$`)

// ownIdentity is for whom our key in use was made.
func ownIdentity(path, fingerprint string) (name, mail string) {
	if d, err := bureau.DescribeKey(path, fingerprint); err == nil {
		if m := userID.FindStringSubmatch(d.UserID); m != nil {
			return m[1], m[2]
		}
	}
	return "reemboss issuer", ""
}

// RotateSSH makes a new SSH key of ours in keys/ssh_ed25519-<date>.
func (n *Night) RotateSSH(ctx context.Context) (NewOwnKey, error) {
	made := NewOwnKey{File: n.freeName("keys/ssh_ed25519", "")}
	made.Lines = fmt.Sprintf("bureaus.NAME.delivery:\n  key_file: %s\n", made.File)
	err := n.recorded(ctx, "keys.rotated", "ssh", made.File, func() error {
		signer, err := bureau.GenerateClientKey(n.Path(filepath.FromSlash(made.File)))
		if err != nil {
			return err
		}
		_, made.Fingerprint = bureau.DescribeSSHKey(signer.PublicKey())
		made.Public = string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
		return n.Files.SyncFolder(n.Path("keys"))
	})
	return made, asSetup(err)
}

// freeName is stem-<date>ending, with a number where that is taken.
func (n *Night) freeName(stem, ending string) string {
	zone := n.zone
	if zone == nil {
		zone = time.UTC
	}
	dated := stem + "-" + n.Now().In(zone).Format(time.DateOnly)
	for i := 1; ; i++ {
		name := dated + ending
		if i > 1 {
			name = fmt.Sprintf("%s-%d%s", dated, i, ending)
		}
		if _, err := os.Lstat(n.Path(filepath.FromSlash(name))); err != nil {
			return name
		}
	}
}

// wrappedKEK is a new key-encryption key, encrypted under a key of the token.
func (n *Night) wrappedKEK(ctx context.Context, kek []byte, label string) (content []byte, err error) {
	err = n.withToken(func(c pkcs11.Config) error {
		content, err = pkcs11.WrapKEK(ctx, c, label, kek)
		return err
	})
	if err != nil {
		return nil, setup("encrypt the key-encryption key under the token's key %s: %w", printable(label), err)
	}
	return content, nil
}
