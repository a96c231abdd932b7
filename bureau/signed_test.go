package bureau

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const signedText = "reemboss approval 1\nhold: hold-alpha-7-1\n- a line with a dash\n"

// signerKey is a person's key as the configuration has it, beside what signs in GnuPG.
func signerKey(t *testing.T, path, fingerprint string) *Key {
	t.Helper()
	k, err := ReadSignerKey(path, fingerprint, gpgTime)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (g gnupg) sign(t *testing.T, by, text string, args ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "m")
	g.must(t, []byte(text), append([]string{"--local-user", by, "--output", out}, args...)...)
	return readAll(t, out)
}

func TestEveryFormThatGnuPGSignsIsRead(t *testing.T) {
	home := gpgHome(t)
	us, err := GenerateKey("us", "", keyTime, 0)
	if err != nil {
		t.Fatal(err)
	}
	home.importKey(t, us, false)
	for _, algorithm := range []string{"ed25519", "rsa3072"} {
		path, fingerprint := home.key(t, "anna-"+algorithm, algorithm, "", "1y")
		anna := signerKey(t, path, fingerprint)
		for name, args := range map[string][]string{
			"clear-signed":          {"--clearsign"},
			"signed, armoured":      {"--armor", "--sign"},
			"signed, binary":        {"--sign"},
			"signed, uncompressed":  {"--compress-algo", "none", "--sign"},
			"signed and encrypted":  {"--recipient", us.Fingerprint(), "--sign", "--encrypt"},
			"and armoured":          {"--armor", "--recipient", us.Fingerprint(), "--sign", "--encrypt"},
			"signed as text (mode)": {"--textmode", "--sign"},
		} {
			t.Run(algorithm+", "+name, func(t *testing.T) {
				message := home.sign(t, fingerprint, signedText, args...)
				if form, _ := FormOf(message); form == NotPGP {
					t.Error("it is not recognised")
				}
				content, signer, at, err := ReadSigned(bytes.NewReader(message), 1000, []*Key{anna, us}, gpgTime)
				if err != nil {
					t.Fatal(err)
				}
				if signer != anna || !at.Equal(gpgTime) {
					t.Errorf("signed by %v at %v", signer, at)
				}
				if got := strings.ReplaceAll(string(content), "\r\n", "\n"); strings.TrimRight(got, "\n") != strings.TrimRight(signedText, "\n") {
					t.Errorf("the content is %q", got)
				}
			})
		}
	}
}

func TestASubkeyMaySignForItsOwner(t *testing.T) {
	home := gpgHome(t)
	_, fingerprint := home.key(t, "anna", "ed25519", "", "1y")
	home.must(t, nil, "--quick-add-key", fingerprint, "ed25519", "sign", "1y")
	anna := signerKey(t, home.export(t, "anna"), fingerprint)
	_, signer, _, err := ReadSigned(bytes.NewReader(home.sign(t, fingerprint, signedText, "--clearsign")), 1000, []*Key{anna}, gpgTime)
	if err != nil || signer != anna {
		t.Errorf("%v, %v", signer, err)
	}
}

func TestSignedMessagesThatAreRefused(t *testing.T) {
	home := gpgHome(t)
	annaPath, annaPrint := home.key(t, "anna", "rsa3072", "", "1y")
	_, malloryPrint := home.key(t, "mallory", "ed25519", "", "1y")
	anna := signerKey(t, annaPath, annaPrint)
	us, err := GenerateKey("us", "", keyTime, 0)
	if err != nil {
		t.Fatal(err)
	}
	home.importKey(t, us, true)
	stranger := testKey(t, "stranger")
	home.importKey(t, stranger, false)
	clear := home.sign(t, annaPrint, signedText, "--clearsign")
	inline := home.sign(t, annaPrint, signedText, "--compress-algo", "none", "--sign")
	for name, test := range map[string]struct {
		message []byte
		want    error // nil: any error
	}{
		"clear-signed by another key":        {home.sign(t, malloryPrint, signedText, "--clearsign"), ErrUnknownSigner},
		"signed by another key":              {home.sign(t, malloryPrint, signedText, "--sign"), ErrUnknownSigner},
		"signed by ourselves":                {home.sign(t, us.Fingerprint(), signedText, "--clearsign"), ErrUnknownSigner},
		"signed by anna and by another":      {home.sign(t, annaPrint, signedText, "--local-user", malloryPrint, "--clearsign"), ErrBadSignature},
		"clear-signed text edited":           {bytes.Replace(clear, []byte("alpha"), []byte("gamma"), 1), ErrBadSignature},
		"signed text edited":                 {bytes.Replace(inline, []byte("alpha"), []byte("gamma"), 1), ErrBadSignature},
		"text before what is clear-signed":   {append([]byte("hold: other\n"), clear...), nil},
		"text after what is clear-signed":    {append(bytes.Clone(clear), "hold: other\n"...), ErrBadSignature},
		"two clear-signed messages":          {append(bytes.Clone(clear), clear...), ErrBadSignature},
		"a clear-signed message that is cut": {clear[:len(clear)-40], nil},
		"a signed message that is cut":       {inline[:len(inline)-40], nil},
		"SHA-1":                              {home.sign(t, annaPrint, signedText, "--digest-algo", "SHA1", "--clearsign"), ErrBadSignature},
		"a signature without its text":       {home.sign(t, annaPrint, signedText, "--armor", "--detach-sign"), nil},
		"not signed":                         {home.sign(t, annaPrint, signedText, "--store"), ErrNotSigned},
		"encrypted and not signed":           {home.sign(t, annaPrint, signedText, "--recipient", us.Fingerprint(), "--encrypt"), ErrNotSigned},
		"encrypted to another key":           {home.sign(t, annaPrint, signedText, "--recipient", stranger.Fingerprint(), "--sign", "--encrypt"), nil},
		"clear text":                         {[]byte(signedText), nil},
		"nothing":                            {nil, nil},
		"longer than is taken":               {home.sign(t, annaPrint, strings.Repeat("a line\n", 200), "--sign"), ErrTooLong},
		"many times longer, compressed":      {home.sign(t, annaPrint, strings.Repeat("a line\n", 100_000), "--sign"), ErrTooLong},
		"clear-signed, longer":               {home.sign(t, annaPrint, strings.Repeat("a line\n", 200), "--clearsign"), ErrTooLong},
		"a signature that ended":             {home.sign(t, annaPrint, signedText, "--default-sig-expire", "seconds=60", "--clearsign"), ErrBadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			content, signer, _, err := ReadSigned(bytes.NewReader(test.message), 1000, []*Key{anna, us}, gpgTime.Add(2*time.Minute))
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("the error is %v", err)
			}
			if content != nil || signer != nil {
				t.Errorf("%d bytes were given as %v's", len(content), signer)
			}
		})
	}
}

func TestTheKeyThatSignedIsGoodNowAndWasThen(t *testing.T) {
	home := gpgHome(t)
	read := func(t *testing.T, message []byte, key *Key, now time.Time) error {
		t.Helper()
		_, _, _, err := ReadSigned(bytes.NewReader(message), 1000, []*Key{key}, now)
		return err
	}
	t.Run("expired now", func(t *testing.T) {
		path, fingerprint := home.key(t, "expired", "ed25519", "", "1d")
		message := home.sign(t, fingerprint, signedText, "--clearsign")
		key := signerKey(t, path, fingerprint)
		if err := read(t, message, key, gpgTime.Add(23*time.Hour)); err != nil {
			t.Error(err)
		}
		wantKind(t, read(t, message, key, gpgTime.Add(25*time.Hour)), KeyExpired)
		wantKind(t, key.MaySign(gpgTime.Add(25*time.Hour)), KeyExpired)
	})
	t.Run("revoked since", func(t *testing.T) {
		_, fingerprint := home.key(t, "revoked", "ed25519", "", "0")
		message := home.sign(t, fingerprint, signedText, "--clearsign")
		certificate := readAll(t, filepath.Join(home.home, "openpgp-revocs.d", fingerprint+".rev"))
		home.must(t, bytes.ReplaceAll(certificate, []byte(":-----"), []byte("-----")), "--import")
		key := signerKey(t, home.export(t, "revoked"), fingerprint)
		wantKind(t, read(t, message, key, gpgTime), KeyRevoked)
	})
	t.Run("too weak", func(t *testing.T) {
		path, fingerprint := home.key(t, "weak", "rsa1024", "", "0")
		wantKind(t, read(t, home.sign(t, fingerprint, signedText, "--sign"), signerKey(t, path, fingerprint), gpgTime), KeyWeak)
	})
	t.Run("made after the signature", func(t *testing.T) {
		path, fingerprint := home.key(t, "early", "ed25519", "", "0")
		message := home.sign(t, fingerprint, signedText, "--clearsign")
		key := signerKey(t, path, fingerprint)
		wantKind(t, read(t, message, key, gpgTime.Add(-time.Hour)), KeyNotYetValid)
	})
	t.Run("a signature from the future", func(t *testing.T) {
		created := home.must(t, nil, "--faked-system-time", keyTime.Format("20060102T150405")+"!", "--quick-generate-key", "ahead", "ed25519", "sign", "0")
		fingerprint := home.fingerprint(t, created)
		message := home.sign(t, fingerprint, signedText, "--clearsign") // at gpgTime
		key := signerKey(t, home.export(t, "ahead"), fingerprint)
		if err := read(t, message, key, gpgTime.Add(-ClockSkew)); err != nil {
			t.Error(err)
		}
		if err := read(t, message, key, gpgTime.Add(-ClockSkew-time.Second)); !errors.Is(err, ErrBadSignature) {
			t.Error(err)
		}
	})
	t.Run("not the pinned key", func(t *testing.T) {
		path, _ := home.key(t, "pinned", "ed25519", "", "0")
		_, err := ReadSignerKey(path, strings.Repeat("A", 40), gpgTime)
		wantKind(t, err, KeyWrongFingerprint)
	})
}

func TestTablesAreNoMessages(t *testing.T) {
	for name, head := range map[string]string{
		"CSV": "card_id;reference\n", "BOM": "\xef\xbb\xbfcard_id", "UTF-16": "\xff\xfec\x00", "UTF-16 big": "\xfe\xff\x00c", "workbook": "PK\x03\x04", "JSON": "{", "nothing": "",
	} {
		if form, _ := FormOf([]byte(head)); form != NotPGP {
			t.Errorf("%s is taken for a message", name)
		}
	}
}
