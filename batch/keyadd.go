package batch

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/bureau"
	"reemboss/formats/iso"
)

// keyName is how a key of the keyset may be called.
var keyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func nameable(name string) error {
	if !keyName.MatchString(name) {
		return setup("%q cannot name a key; use 1 to 64 letters, digits, dots, hyphens and underscores", printable(name))
	}
	if iso.MaskLikely(name) != name {
		return setup("the name looks like a card number; it stands in the configuration, in lists and in the audit log: take another")
	}
	return nil
}

// CVK is a card verification key pair that is to be added. It prints nothing of itself.
type CVK struct {
	pair   []byte
	checks []string // of its components
}

// KCV is the pair's check value.
func (c CVK) KCV() (string, error) { return hsm.CheckValue(c.pair) }

// Components are the check values of the components that it was made of, in their order.
func (c CVK) Components() []string { return c.checks }

// Format keeps the key out of everything that is printed.
func (c CVK) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "batch.CVK") }

// ReadCVK reads a card verification key pair from a file of 32 hex digits (0600).
func (w Workspace) ReadCVK(file string) (CVK, error) {
	pair, err := w.readHexKey(file)
	if err != nil {
		return CVK{}, err
	}
	return CVK{pair: pair}, sound(pair)
}

// CombineCVK makes a pair of its components, each in a file of 32 hex digits
// (0600): their exclusive or, each byte then set to odd parity, as host security
// modules do it. The parity bits mean nothing to DES and nothing to the check value.
func (w Workspace) CombineCVK(files []string) (CVK, error) {
	if len(files) < 2 || len(files) > 3 {
		return CVK{}, setup("a key has two or three components, and %d files are named", len(files))
	}
	c := CVK{pair: make([]byte, hsm.CVKLength)}
	for _, file := range files {
		part, err := w.readHexKey(file)
		if err != nil {
			return CVK{}, err
		}
		check, err := hsm.CheckValue(part)
		if err != nil {
			return CVK{}, err
		}
		c.checks = append(c.checks, check)
		for i := range part {
			c.pair[i] ^= part[i]
		}
		clear(part)
	}
	hsm.SetOddParity(c.pair)
	return c, sound(c.pair)
}

// readHexKey reads a private file of 32 hex digits; blanks and line ends between them do not count.
func (w Workspace) readHexKey(file string) ([]byte, error) {
	absolute, err := filepath.Abs(file) // what a person types starts where that person is
	if err != nil {
		return nil, setup("find %s: %w", file, err)
	}
	text, err := hsm.LoadText(config.SecretRef{File: absolute}, w.Dir)
	if err != nil {
		return nil, &SetupError{err}
	}
	defer clear(text)
	digits := make([]byte, 0, len(text))
	for _, c := range text {
		if !strings.ContainsRune(" \t\r\n", rune(c)) {
			digits = append(digits, c)
		}
	}
	defer clear(digits)
	key := make([]byte, hsm.CVKLength)
	if len(digits) != hex.EncodedLen(len(key)) {
		return nil, setup("%s: a key or component is %d hex digits, and this has %d", file, hex.EncodedLen(len(key)), len(digits))
	}
	if _, err := hex.Decode(key, digits); err != nil {
		return nil, setup("%s holds something that is no hex digit", file) // err would repeat it
	}
	return key, nil
}

// sound refuses a pair whose halves are the same: it is single DES, or the same component was read twice.
func sound(pair []byte) error {
	if slices.Equal(pair[:8], pair[8:]) {
		return setup("both halves of the key are the same, which is no key pair; was one file named twice?")
	}
	return nil
}

// AddCVK puts a card verification key pair into the keyset under a new name.
// Expected is its check value as the sender of the key states it: another one changes nothing.
func (n *Night) AddCVK(ctx context.Context, name string, key CVK, expected string) (kcv string, err error) {
	if err := nameable(name); err != nil {
		return "", err
	}
	if kcv, err = key.KCV(); err != nil {
		return "", err
	}
	if !strings.EqualFold(kcv, expected) {
		return kcv, setup("the check value of the key is %s and --kcv says %s: it was mistyped or is another key; nothing was changed", kcv, strings.ToUpper(printable(expected)))
	}
	return kcv, n.putCVK(ctx, name, "check value "+kcv, key.pair)
}

// GenerateCVK draws a card verification key pair, for environment: test: a real
// one comes from whoever verifies the cards.
func (n *Night) GenerateCVK(ctx context.Context, name string) (kcv string, err error) {
	if err := nameable(name); err != nil {
		return "", err
	}
	if n.Config.Environment != config.Test {
		return "", setup("a key that nobody else has verifies no card: --generate is for environment: test; take the issuer's key with --components or --file")
	}
	if err := n.putCVK(ctx, name, "drawn here", nil); err != nil {
		return "", err
	}
	return n.keyset.CVKs()[name], nil
}

func (n *Night) putCVK(ctx context.Context, name, detail string, pair []byte) error {
	if _, taken := n.keyset.CVKs()[name]; taken {
		return setup("the keyset has a card key %s already; a card verification key is never replaced, because cards were made under it: take another name", name)
	}
	return asSetup(n.recorded(ctx, "keys.added", "card key "+name, detail, func() error { return n.keyset.AddCVK(name, pair, n.Random) }))
}

// AddAllocation draws the key of a new PAN range.
func (n *Night) AddAllocation(ctx context.Context, name string) (hsm.KeyLine, error) {
	if err := nameable(name); err != nil {
		return hsm.KeyLine{}, err
	}
	if _, err := n.keyset.Allocation(name); err == nil {
		return hsm.KeyLine{}, setup("the keyset has an allocation key %s already; a new range takes a new name", name)
	}
	var line hsm.KeyLine
	err := n.recorded(ctx, "keys.added", "allocation key "+name, "", func() (err error) {
		line, err = n.keyset.AddAllocation(name, n.Now(), n.Random)
		return err
	})
	return line, asSetup(err)
}

// Imported is a public key that was put into keys/.
type Imported struct {
	File        string `json:"file"` // relative to the workspace
	Fingerprint string `json:"fingerprint"`
	UserID      string `json:"user_id"`
	Lines       string `json:"lines"` // what must stand in config.yaml, and where
}

// keyOwner is for whom a public key may be imported.
var keyOwner = regexp.MustCompile(`^(bureau|people)/([a-z0-9][a-z0-9_-]{0,39})$`)

// AddPGP puts the public half of a key, and nothing else of the file, into
// keys/. The name ends in the last digits of the fingerprint, so that the
// key in use stays until the configuration names the new one.
func (n *Night) AddPGP(ctx context.Context, file, fingerprint, owner string) (Imported, error) {
	stem, at, err := ownerOfKey(owner)
	if err != nil {
		return Imported{}, err
	}
	key, err := bureau.ReadPublicKey(file, fingerprint, n.Now())
	if err != nil {
		return Imported{}, &SetupError{err}
	}
	public, err := key.Armored(false)
	if err != nil {
		return Imported{}, err
	}
	id := key.Fingerprint()
	in := Imported{File: stem + "-" + strings.ToLower(id[len(id)-8:]) + ".asc", Fingerprint: id, UserID: key.UserID()}
	in.Lines = fmt.Sprintf("%s:\n  key_file: %s\n  fingerprint: %q\n", at, in.File, id)
	err = n.recorded(ctx, "keys.added", "pgp "+id, "for "+owner+", "+in.File, func() error { return n.createSame(in.File, public) })
	return in, asSetup(err)
}

// ownerOfKey gives the file without its ending and the section of the configuration.
func ownerOfKey(owner string) (stem, at string, err error) {
	switch owner {
	case config.CardSystem:
		return "keys/card-system", "card_system.pgp", nil
	case "pins":
		return "keys/pins", "pins.pgp", nil
	case "escrow":
		return "keys/escrow", "bureaus.NAME.pgp.escrow", nil
	}
	m := keyOwner.FindStringSubmatch(owner)
	if m == nil {
		return "", "", setup("--for %q: a key is for bureau/NAME, card-system, pins, people/NAME or escrow", printable(owner))
	}
	if err := nameable(m[2]); err != nil {
		return "", "", err
	}
	if m[1] == "people" {
		return "keys/people/" + m[2], "people." + m[2], nil
	}
	return "keys/bureaus/" + m[2], "bureaus." + m[2] + ".pgp", nil
}

// createSame makes a file that must not be there, unless with the same content.
func (n *Night) createSame(name string, content []byte) error {
	path := n.Path(filepath.FromSlash(name))
	if err := n.Files.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	if there, err := os.ReadFile(path); err == nil && string(there) == string(content) {
		return nil
	}
	return n.createBytes(path, content)
}

// createBytes makes a private file durably; one that is there is an error (fs.ErrExist).
func (n *Night) createBytes(path string, content []byte) error {
	return n.Files.Create(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}
