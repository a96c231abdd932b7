package bureau

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// fuzzMemory is the most that reading an input of a fuzz test may take from the heap.
const fuzzMemory = 256 << 20

// bounded runs read and wants it to allocate no more than an input of this size is worth.
func bounded(t *testing.T, read func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	read()
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > fuzzMemory {
		t.Errorf("reading took %d MiB of memory", took>>20)
	}
}

// fuzzKey is a key of the corpus: made once, it opens the messages that are committed with it. A checkout of the
// repository lets others read it, which a private key is refused for, so a copy is read.
func fuzzKey(f *testing.F) *Key {
	f.Helper()
	text, err := os.ReadFile("testdata/fuzz.key.asc")
	if err != nil {
		f.Fatal(err)
	}
	copied := filepath.Join(f.TempDir(), "key.asc")
	if err := os.WriteFile(copied, text, 0o600); err != nil {
		f.Fatal(err)
	}
	k, err := ReadPrivateKey(copied, nil, "", keyTime)
	if err != nil {
		f.Fatal(err)
	}
	return k
}

// FuzzOpen holds that a message is opened whole, with content that its verdict vouches for, or is an error: no panic, no
// end without a word, and no memory beyond what its size is worth.
func FuzzOpen(f *testing.F) {
	key := fuzzKey(f)
	var message bytes.Buffer
	w, err := Seal(&message, Sealing{To: []*Key{key}, Signer: key, Time: keyTime})
	if err == nil {
		_, err = io.WriteString(w, "content")
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		f.Fatal(err)
	}
	f.Add(message.Bytes())
	f.Add(message.Bytes()[:message.Len()-9])
	f.Add([]byte("-----BEGIN PGP MESSAGE-----\n\nwcBMA0\n=abcd\n-----END PGP MESSAGE-----\n"))
	f.Add([]byte{0xc1, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0xd2, 0xff, 0x7f, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, content []byte) {
		bounded(t, func() {
			clear, verdict := Open(bytes.NewReader(content), key, []*Key{key})
			_, err := io.Copy(io.Discard, io.LimitReader(clear, 64<<20))
			signer, wrong := verdict()
			if (err != nil || wrong != nil) && signer != "" && wrong == nil {
				t.Errorf("a message that ended with %v is vouched for", err)
			}
			if err == nil && wrong == nil && signer == "" {
				t.Error("a message is vouched for by nobody")
			}
			if whole := Whole(bytes.NewReader(content)); wrong == nil && err == nil && errors.Is(whole, ErrCut) {
				t.Error("a message that was opened whole is said to be cut")
			}
		})
	})
}

// clearSignedBy is text that a key signed as a person would.
func clearSignedBy(f *testing.F, key *Key, text string) []byte {
	f.Helper()
	var out bytes.Buffer
	w, err := clearsign.Encode(&out, key.entity.PrivateKey, &packet.Config{Time: func() time.Time { return keyTime }})
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		f.Fatal(err)
	}
	return out.Bytes()
}

// FuzzReadSigned holds that a message is somebody's, whole and within the limit, or is an error and gives nothing; that it is
// the same when read again; and that what is not recognised as a message is not taken for one.
func FuzzReadSigned(f *testing.F) {
	const limit = 1000
	us := fuzzKey(f)
	public, err := us.Armored(false)
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), "anna.asc")
	if err := os.WriteFile(path, public, 0o600); err != nil {
		f.Fatal(err)
	}
	anna, err := ReadSignerKey(path, us.Fingerprint(), keyTime)
	if err != nil {
		f.Fatal(err)
	}
	clear := clearSignedBy(f, us, signedText)
	if _, signer, _, err := ReadSigned(bytes.NewReader(clear), limit, []*Key{anna}, keyTime); err != nil || signer != anna {
		f.Fatalf("the good message of the corpus is not read: %v", err)
	}
	f.Add(clear)
	f.Add(clear[:len(clear)-9])
	f.Add(append(bytes.Clone(clear), "more\n"...))
	f.Add(bytes.Replace(clear, []byte("alpha"), []byte("gamma"), 1))
	f.Add(bytes.Replace(clear, []byte("Hash:"), []byte("Comment:"), 1))
	f.Add(clearSignedBy(f, us, strings.Repeat("- \n", limit)))
	f.Add([]byte("-----BEGIN PGP MESSAGE-----\n\nowEBAA==\n=abcd\n-----END PGP MESSAGE-----\n"))
	f.Add([]byte("\xef\xbb\xbf -----BEGIN PGP SIGNATURE-----\n\nAAAA\n"))
	f.Add([]byte{0xa3, 1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, content []byte) {
		bounded(t, func() {
			form, begins := FormOf(content[:min(len(content), FormHead)])
			if begins < 0 || begins > len(content) {
				t.Fatalf("%q begins at %d", form, begins)
			}
			text, signer, at, err := ReadSigned(bytes.NewReader(content), limit, []*Key{anna}, keyTime)
			switch {
			case err != nil && (text != nil || signer != nil):
				t.Errorf("with %v something is given", err)
			case err == nil && (signer != anna || int64(len(text)) > limit || at.After(keyTime.Add(ClockSkew))):
				t.Errorf("%d bytes of %v at %v are taken", len(text), signer, at)
			case err == nil && form == NotPGP:
				t.Error("what is no message was read as one")
			}
			again, _, _, err2 := ReadSigned(bytes.NewReader(content), limit, []*Key{anna}, keyTime)
			if (err == nil) != (err2 == nil) || !bytes.Equal(text, again) {
				t.Error("read again it is another")
			}
		})
	})
}

// FuzzParsePublicKey holds that what is taken for a key has a fingerprint and can be used, and that everything else is an error.
func FuzzParsePublicKey(f *testing.F) {
	key := fuzzKey(f)
	public, err := key.Armored(false)
	if err != nil {
		f.Fatal(err)
	}
	private, err := key.Armored(true)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(public)
	f.Add(private)
	f.Add(append(bytes.Clone(public), public...))
	f.Add([]byte{0x99, 0, 4, 4, 0, 0, 0})
	f.Fuzz(func(t *testing.T, content []byte) {
		bounded(t, func() {
			k, err := ParsePublicKey(content, "key.asc", "", keyTime)
			if (k == nil) == (err == nil) {
				t.Fatal("neither a key nor an error, or both")
			}
			if k == nil {
				return
			}
			if fingerprint, ok := NormalFingerprint(k.Fingerprint()); !ok || k.IsPrivate() {
				t.Errorf("fingerprint %q, private %v", fingerprint, k.IsPrivate())
			}
			if k.ExpiresWithin(keyTime, -time.Hour) {
				t.Error("an expired key was taken")
			}
		})
	})
}
