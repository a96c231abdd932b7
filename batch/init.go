package batch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/bureau"
)

// keyValidity is how long the PGP keys last that Init makes.
const keyValidity = 3 * 365 * 24 * time.Hour

// sampleBureaus are the simulated bureaus of the sample configuration.
var sampleBureaus = []string{"alpha", "beta"}

// Init makes a workspace in dir, which must be empty or not be there: folders,
// fresh keys, simulated bureaus with keys of their own, a commented
// configuration. The configuration is written last; a folder without it is no
// workspace.
func Init(dir string, now time.Time, random io.Reader) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return setup("find the folder: %w", err)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return setup("%s is not empty; a workspace is made in an empty or a new folder", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return setup("look at %s: %w", dir, err)
	}
	w := Workspace{Dir: dir}
	s := &sampleKeys{w: w, now: now, random: random}
	for _, step := range []func() error{
		func() error { return w.prepare(append([]string{config.CardSystem}, sampleBureaus...)) },
		s.keyset, s.own, s.bureaus, s.cardSystem,
	} {
		if err := step(); err != nil {
			return fmt.Errorf("make the workspace: %w", err)
		}
	}
	return w.writeBytes(w.Config(), config.Example(s.values))
}

// sampleKeys makes the keys of a new workspace and remembers what the configuration must say of them.
type sampleKeys struct {
	w          Workspace
	now        time.Time
	random     io.Reader
	values     config.ExampleValues
	issuer     []byte // public key, armoured
	authorized []byte // our SSH client key, one line
}

func (w Workspace) writeBytes(path string, content []byte) error {
	if err := w.Files.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	return w.Files.Write(path, func(out io.Writer) error {
		_, err := out.Write(content)
		return err
	})
}

func (s *sampleKeys) keyset() error {
	kek, err := hsm.NewSecret(s.random)
	if err != nil {
		return err
	}
	if err := s.w.writeBytes(s.w.Path("keys", "kek"), append(hsm.EncodeSecret(kek), '\n')); err != nil {
		return err
	}
	set, err := hsm.CreateKeyset(s.w.Keyset(), kek, s.random, hsm.Spec{
		Allocation: []string{"allocation-visa", "allocation-mastercard"},
		CVKs:       []string{"cvk-visa", "cvk-mastercard"},
		At:         s.now,
		Files:      s.w.Files,
	})
	if err != nil {
		return err
	}
	kcv := set.CVKs()
	s.values.VisaKCV, s.values.MastercardKCV = kcv["cvk-visa"], kcv["cvk-mastercard"]
	return nil
}

func (s *sampleKeys) own() error {
	var err error
	if s.values.OwnFingerprint, s.issuer, err = s.pgp("issuer", s.w.Path("keys", "issuer.pgp"), s.w.Path("keys", "issuer.asc")); err != nil {
		return err
	}
	client, err := bureau.GenerateClientKey(s.w.Path("keys", "ssh_ed25519"))
	if err != nil {
		return err
	}
	s.authorized = ssh.MarshalAuthorizedKey(client.PublicKey())
	return nil
}

func (s *sampleKeys) bureaus() error {
	var known bytes.Buffer
	for _, name := range sampleBureaus {
		keys := func(file string) string { return filepath.Join(s.w.Simulator(name), "keys", file) }
		fingerprint, _, err := s.pgp("simulated "+name, keys("bureau.pgp"), s.w.Path("keys", "bureaus", name+".asc"))
		if err != nil {
			return err
		}
		if name == "alpha" {
			s.values.AlphaFingerprint = fingerprint
		} else {
			s.values.BetaFingerprint = fingerprint
		}
		host, err := bureau.GenerateHostKey(keys("ssh_host_ed25519"))
		if err != nil {
			return err
		}
		known.WriteString(bureau.KnownHostsLine(name+".simulator", 22, host.PublicKey()) + "\n")
		for file, content := range map[string][]byte{"authorized_keys": s.authorized, "issuer.asc": s.issuer} {
			if err := s.w.writeBytes(keys(file), content); err != nil {
				return err
			}
		}
	}
	return s.w.writeBytes(s.w.Path("keys", "known_hosts"), known.Bytes())
}

func (s *sampleKeys) cardSystem() (err error) {
	s.values.CardSystemFingerprint, _, err = s.pgp("simulated "+config.CardSystem,
		filepath.Join(s.w.Simulator(config.CardSystem), "keys", "card-system.pgp"), s.w.Path("keys", "card-system.asc"))
	return err
}

// pgp makes a PGP key and puts its halves where the configuration and the simulated recipient look.
func (s *sampleKeys) pgp(name, private, public string) (fingerprint string, armoured []byte, err error) {
	key, err := bureau.GenerateKey("reemboss "+name, strings.ReplaceAll(name, " ", ".")+"@example.invalid", s.now, keyValidity)
	if err != nil {
		return "", nil, err
	}
	secret, err := key.Armored(true)
	if err != nil {
		return "", nil, err
	}
	if err := s.w.writeBytes(private, secret); err != nil {
		return "", nil, err
	}
	if armoured, err = key.Armored(false); err != nil {
		return "", nil, err
	}
	return key.Fingerprint(), armoured, s.w.writeBytes(public, armoured)
}
