package bureau

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestGnuPGSeesTheFormThatEveryVersionReads(t *testing.T) {
	issuer, alpha := testKey(t, "issuer"), testKey(t, "alpha")
	home := gpgHome(t)
	home.importKey(t, alpha, true)
	message := sealed(t, Sealing{To: []*Key{alpha}, Signer: issuer, FileName: "alpha-000001.xml", Time: keyTime}, []byte("clear"))
	packets := string(home.must(t, message, "--verbose", "--list-packets"))
	for _, want := range []string{"mdc_method: 2", "AES256 encrypted data", ":onepass_sig packet:", "digest 8", `name="alpha-000001.xml"`} {
		if !strings.Contains(packets, want) {
			t.Errorf("no %q in\n%s", want, packets)
		}
	}
	for _, never := range []string{"compressed packet", "aead encrypted packet"} {
		if strings.Contains(packets, never) {
			t.Errorf("%q in\n%s", never, packets)
		}
	}
	compressed := sealed(t, Sealing{To: []*Key{alpha}, Signer: issuer, Time: keyTime, Compress: true}, []byte("clear"))
	if !bytes.Contains(home.must(t, compressed, "--list-packets"), []byte("compressed packet: algo=2")) {
		t.Error("compression was asked for and is not there")
	}
}

// A file for a recipient and an escrow key opens in GnuPG with either private key alone, and with no third one.
func TestGnuPGOpensWithEitherKeyAlone(t *testing.T) {
	issuer, alpha, safe, other := testKey(t, "issuer"), testKey(t, "alpha"), testKey(t, "safe"), testKey(t, "other")
	message := sealed(t, Sealing{To: []*Key{alpha, safe}, Signer: issuer, FileName: "x.xml", Time: keyTime}, []byte("record"))
	for name, key := range map[string]*Key{"the recipient's": alpha, "the escrow key": safe} {
		home := gpgHome(t)
		home.importKey(t, key, true)
		home.importKey(t, issuer, false)
		clear, status := home.decrypt(t, message)
		if string(clear) != "record" || !strings.Contains(status, "GOODSIG") {
			t.Errorf("%s: gpg got %d bytes:\n%s", name, len(clear), status)
		}
	}
	r, _ := Open(bytes.NewReader(message), other, nil)
	if n, _ := io.Copy(io.Discard, r); n != 0 {
		t.Errorf("a third key got %d bytes", n)
	}
}

// key makes a key with GnuPG and exports its public half.
func (g gnupg) key(t *testing.T, name, primary, subkey, expire string) (path, fingerprint string) {
	t.Helper()
	created := g.must(t, nil, "--quick-generate-key", name, primary, "sign", expire)
	fingerprint = g.fingerprint(t, created)
	if subkey != "" {
		g.must(t, nil, "--quick-add-key", fingerprint, subkey, "encrypt", expire)
	}
	return g.export(t, name), fingerprint
}

func (gnupg) fingerprint(t *testing.T, status []byte) string {
	t.Helper()
	_, rest, ok := strings.Cut(string(status), "KEY_CREATED ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 2 {
		t.Fatalf("gpg made no key:\n%s", status)
	}
	return fields[1]
}

func (g gnupg) export(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "exported.asc")
	g.must(t, nil, "--armor", "--output", path, "--export", name)
	return path
}

func TestKeysOfGnuPG(t *testing.T) {
	home := gpgHome(t)
	now := gpgTime
	for _, test := range []struct{ name, primary, subkey string }{
		{"curve", "ed25519", "cv25519"},
		{"rsa", "rsa3072", "rsa3072"},
		{"nist", "nistp384", "nistp384"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path, fingerprint := home.key(t, test.name, test.primary, test.subkey, "1y")
			k, err := ReadPublicKey(path, fingerprint, now)
			if err != nil {
				t.Fatal(err)
			}
			if left := k.ExpiresAt().Sub(now); left < 364*24*time.Hour || left > 366*24*time.Hour {
				t.Errorf("it expires in %v", left)
			}
			signer, err := GenerateKey("issuer", "", now, 0)
			if err != nil {
				t.Fatal(err)
			}
			home.importKey(t, signer, false)
			clear, status := home.decrypt(t, sealed(t, Sealing{To: []*Key{k}, Signer: signer, Time: now}, []byte("record")))
			if string(clear) != "record" || !strings.Contains(status, "GOODSIG") {
				t.Errorf("gpg got %d bytes:\n%s", len(clear), status)
			}
		})
	}
}

func TestFilesOfGnuPGAreOpened(t *testing.T) {
	home := gpgHome(t)
	now := gpgTime
	us, err := GenerateKey("us", "us@example.org", now.Add(-time.Hour), 0)
	if err != nil {
		t.Fatal(err)
	}
	home.importKey(t, us, false)
	path, fingerprint := home.key(t, "sender", "rsa2048", "rsa2048", "0")
	sender, err := ReadPublicKey(path, fingerprint, now)
	if err != nil {
		t.Fatal(err)
	}
	clear := bytes.Repeat([]byte("card_id,reference\n"), 3000)
	for name, armor := range map[string]string{"binary": "--no-armor", "armoured": "--armor"} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "m.gpg")
			home.must(t, clear, armor, "--recipient", us.Fingerprint(), "--local-user", fingerprint, "--sign", "--output", out, "--encrypt")
			r, verdict := Open(bytes.NewReader(readAll(t, out)), us, []*Key{sender})
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, clear) {
				t.Fatalf("%d bytes of %d, %v", len(got), len(clear), err)
			}
			if by, err := verdict(); by != fingerprint || err != nil {
				t.Errorf("signed by %q, %v", by, err)
			}
		})
	}
	t.Run("not signed", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "m.gpg")
		home.must(t, clear, "--recipient", us.Fingerprint(), "--output", out, "--encrypt")
		for _, signers := range [][]*Key{nil, {sender}} {
			r, verdict := Open(bytes.NewReader(readAll(t, out)), us, signers)
			if _, err := io.Copy(io.Discard, r); err != nil {
				t.Fatal(err)
			}
			if _, err := verdict(); (err == nil) != (signers == nil) {
				t.Errorf("%d signers: %v", len(signers), err)
			}
		}
	})
	t.Run("signed and not encrypted", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "m.gpg")
		home.must(t, clear, "--local-user", fingerprint, "--output", out, "--sign")
		r, verdict := Open(bytes.NewReader(readAll(t, out)), us, []*Key{sender})
		if n, _ := io.Copy(io.Discard, r); n != 0 {
			t.Errorf("%d bytes were given", n)
		}
		if _, err := verdict(); err == nil {
			t.Error("it was trusted")
		}
	})
}

func TestUnfitKeysOfGnuPGAreRefused(t *testing.T) {
	home := gpgHome(t)
	now := gpgTime
	t.Run("expired", func(t *testing.T) {
		path, fingerprint := home.key(t, "expired", "ed25519", "cv25519", "1d")
		_, err := ReadPublicKey(path, fingerprint, now.Add(25*time.Hour))
		wantKind(t, err, KeyExpired)
	})
	t.Run("only the subkey expired", func(t *testing.T) {
		_, fingerprint := home.key(t, "subexpired", "ed25519", "", "0")
		home.must(t, nil, "--quick-add-key", fingerprint, "cv25519", "encrypt", "1d")
		path := home.export(t, "subexpired")
		k, err := ReadPublicKey(path, fingerprint, now)
		if err != nil {
			t.Fatal(err)
		}
		if !k.ExpiresWithin(now, 30*24*time.Hour) {
			t.Error("the end of the subkey is not the key's")
		}
		_, err = ReadPublicKey(path, fingerprint, now.Add(25*time.Hour))
		wantKind(t, err, KeyExpired)
	})
	t.Run("an expired subkey beside a good one", func(t *testing.T) {
		_, fingerprint := home.key(t, "renewed", "ed25519", "cv25519", "0")
		home.must(t, nil, "--quick-add-key", fingerprint, "cv25519", "encrypt", "1d")
		if _, err := ReadPublicKey(home.export(t, "renewed"), fingerprint, now.Add(25*time.Hour)); err != nil {
			t.Error(err)
		}
	})
	t.Run("revoked", func(t *testing.T) {
		_, fingerprint := home.key(t, "revoked", "ed25519", "cv25519", "0")
		certificate := readAll(t, filepath.Join(home.home, "openpgp-revocs.d", fingerprint+".rev"))
		home.must(t, bytes.ReplaceAll(certificate, []byte(":-----"), []byte("-----")), "--import")
		_, err := ReadPublicKey(home.export(t, "revoked"), fingerprint, now)
		wantKind(t, err, KeyRevoked)
	})
	t.Run("weak RSA", func(t *testing.T) {
		path, fingerprint := home.key(t, "weak", "rsa1024", "rsa1024", "0")
		_, err := ReadPublicKey(path, fingerprint, now)
		wantKind(t, err, KeyWeak)
	})
	t.Run("weak RSA subkey", func(t *testing.T) {
		path, fingerprint := home.key(t, "weaksub", "rsa2048", "rsa1024", "0")
		_, err := ReadPublicKey(path, fingerprint, now)
		wantKind(t, err, KeyWeak)
	})
	t.Run("DSA and ElGamal", func(t *testing.T) {
		path, fingerprint := home.key(t, "dsa", "dsa2048", "elg2048", "0")
		_, err := ReadPublicKey(path, fingerprint, now)
		wantKind(t, err, KeyWeak)
	})
	t.Run("SHA-1 self-signature", func(t *testing.T) {
		created := home.must(t, nil, "--cert-digest-algo", "SHA1", "--quick-generate-key", "sha1", "rsa2048", "sign", "0")
		fingerprint := home.fingerprint(t, created)
		home.must(t, nil, "--cert-digest-algo", "SHA1", "--quick-add-key", fingerprint, "rsa2048", "encrypt", "0")
		_, err := ReadPublicKey(home.export(t, "sha1"), fingerprint, now)
		wantKind(t, err, KeyWeak)
	})
	t.Run("no encryption subkey", func(t *testing.T) {
		path, fingerprint := home.key(t, "signonly", "ed25519", "", "0")
		_, err := ReadPublicKey(path, fingerprint, now)
		wantKind(t, err, KeyNoEncryption)
	})
}
