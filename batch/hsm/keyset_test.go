package hsm_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/formats/iso"
)

func pan(t testing.TB, digits string) iso.PAN {
	t.Helper()
	p, err := iso.ParsePAN(digits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var wholeSpec = hsm.Spec{Allocation: []string{"alloc-a", "alloc-b"}, CVKs: []string{"cvk-a"}}

func TestAKeysetOpensAsItWasMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset.json")
	made, err := hsm.CreateKeyset(path, kek(), rand.Reader, wholeSpec)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := hsm.OpenKeyset(path, kek())
	if err != nil {
		t.Fatal(err)
	}
	p := pan(t, "4111111111111111")
	sealed, err := made.SealPAN(7, p)
	if err != nil {
		t.Fatal(err)
	}
	if q, err := opened.OpenPAN(7, sealed); err != nil || !q.Equal(p) {
		t.Errorf("a sealed number does not open: %v", err)
	}
	if !bytes.Equal(made.IndexPAN(p), opened.IndexPAN(p)) || made.IndexKeyID() != opened.IndexKeyID() || made.IndexKeyID() == "" {
		t.Error("the index differs")
	}
	if made.Digest("x", []byte("y")) != opened.Digest("x", []byte("y")) || made.DigestKeyID() != opened.DigestKeyID() {
		t.Error("the digest differs")
	}
	a, errA := made.Allocation("alloc-a")
	b, errB := opened.Allocation("alloc-a")
	if errA != nil || errB != nil || !bytes.Equal(a, b) || len(a) != 32 {
		t.Errorf("the allocation key differs: %v %v", errA, errB)
	}
	if fmt.Sprint(made.Keys()) != fmt.Sprint(opened.Keys()) || len(made.Keys()) != 6 || made.CVKs()["cvk-a"] != opened.CVKs()["cvk-a"] {
		t.Errorf("the lists of keys differ: %v %v", made.Keys(), opened.Keys())
	}
}

func TestTheFileShowsNoKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset.json")
	set, err := hsm.CreateKeyset(path, kek(), rand.Reader, wholeSpec)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.AddCVK("real", testPair(t), rand.Reader); err != nil {
		t.Fatal(err)
	}
	stat, err := os.Stat(path)
	if err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", stat.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	allocation, err := set.Allocation("alloc-a")
	if err != nil {
		t.Fatal(err)
	}
	printed := string(text) + fmt.Sprintf("%v %+v %#v %s %x %d", set, set, set, set, set, set)
	encoded, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	printed += string(encoded)
	for _, key := range [][]byte{kek(), allocation, testPair(t)} {
		for _, form := range []string{string(key), hex.EncodeToString(key), fmt.Sprintf("%X", key), base64.StdEncoding.EncodeToString(key), strings.Trim(fmt.Sprint(key), "[]")} {
			if strings.Contains(printed, form) {
				t.Error("a key can be read")
			}
		}
	}
}

func TestAFileThatOthersMayReadIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset.json")
	if _, err := hsm.CreateKeyset(path, kek(), rand.Reader, hsm.Spec{}); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o660, 0o610, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := hsm.OpenKeyset(path, kek()); !errors.Is(err, hsm.ErrExposed) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := hsm.OpenKeyset(path, kek()); err != nil {
		t.Errorf("mode 0400: %v", err)
	}
}

func TestAWrongKeyEncryptionKeyIsNamedAsSuch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset.json")
	if _, err := hsm.CreateKeyset(path, kek(), rand.Reader, hsm.Spec{}); err != nil {
		t.Fatal(err)
	}
	if _, err := hsm.OpenKeyset(path, bytes.Repeat([]byte{7}, 32)); !errors.Is(err, hsm.ErrWrongKEK) {
		t.Error(err)
	}
	if _, err := hsm.OpenKeyset(path, kek()[:16]); !errors.Is(err, hsm.ErrKeyLength) {
		t.Error(err)
	}
	if _, err := hsm.OpenKeyset(path+"x", kek()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := hsm.CreateKeyset(path, kek(), rand.Reader, hsm.Spec{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a keyset was written over: %v", err)
	}
}

func TestEveryDamagedByteIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset.json")
	if _, err := hsm.CreateKeyset(path, kek(), rand.Reader, hsm.Spec{}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text []byte) error {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := hsm.OpenKeyset(path, kek())
		return err
	}
	for i := range whole[:len(whole)-1] {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 1
		if err := write(damaged); err == nil && content(damaged) != content(whole) {
			t.Fatalf("byte %d was changed and nobody noticed", i)
		}
	}
	for _, text := range []string{"", "{}", string(whole[:len(whole)/2]), string(whole) + "{}", strings.Replace(string(whole), "reemboss-keyset-1", "reemboss-keyset-2", 1)} {
		if err := write([]byte(text)); !errors.Is(err, hsm.ErrDamaged) {
			t.Errorf("a damaged file opened: %v", err)
		}
	}
}

// content is what the text of a file says; blanks between tokens and the unused last bits of base64 say nothing.
func content(text []byte) string {
	var file struct {
		Format, KEK string
		Sealed      []byte
	}
	_ = json.Unmarshal(text, &file)
	return fmt.Sprint(file)
}

func TestASealedNumberBelongsToItsCard(t *testing.T) {
	set := newKeyset(t, hsm.Spec{})
	p := pan(t, "4111111111111111")
	sealed, err := set.SealPAN(7, p)
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed) != 16+33 || bytes.Contains(sealed, []byte("1111")) {
		t.Errorf("%d bytes sealed", len(sealed))
	}
	if _, err := set.OpenPAN(8, sealed); !errors.Is(err, hsm.ErrSealed) {
		t.Errorf("another card opened it: %v", err)
	}
	if _, err := newKeyset(t, hsm.Spec{}).OpenPAN(7, sealed); !errors.Is(err, hsm.ErrSealed) {
		t.Errorf("another keyset opened it: %v", err)
	}
	for i := range sealed {
		damaged := bytes.Clone(sealed)
		damaged[i] ^= 0x10
		if _, err := set.OpenPAN(7, damaged); !errors.Is(err, hsm.ErrSealed) {
			t.Fatalf("byte %d was changed and nobody noticed", i)
		}
	}
	again, err := set.SealPAN(7, p)
	if err != nil || bytes.Equal(sealed, again) {
		t.Errorf("two seals are the same: %v", err)
	}
	if _, err := set.SealPAN(7, iso.PAN{}); err == nil {
		t.Error("no number was sealed")
	}
}

func TestTheIndexIsAKeyedHashOfTheWholeNumber(t *testing.T) {
	set, other := newKeyset(t, hsm.Spec{}), newKeyset(t, hsm.Spec{})
	p, q := pan(t, "4111111111111111"), pan(t, "4111111111111129")
	if len(set.IndexPAN(p)) != 32 || !bytes.Equal(set.IndexPAN(p), set.IndexPAN(p)) {
		t.Error("the index is not stable")
	}
	if bytes.Equal(set.IndexPAN(p), set.IndexPAN(q)) || bytes.Equal(set.IndexPAN(p), other.IndexPAN(p)) {
		t.Error("two numbers or two keys give one index")
	}
	if bytes.Equal(set.IndexPAN(p), []byte(set.Digest("", []byte(p.Reveal())))) {
		t.Error("index and digest share a key")
	}
}

func TestDigestsKeepTheirPartsApart(t *testing.T) {
	set := newKeyset(t, hsm.Spec{})
	b := func(s string) []byte { return []byte(s) }
	stream := func(purpose string, parts ...string) string {
		d := set.NewDigest(purpose)
		for _, p := range parts {
			_, _ = io.WriteString(d, p)
		}
		return hex.EncodeToString(d.Sum(nil))
	}
	seen := map[string]string{}
	for name, digest := range map[string]string{
		"row ab c": set.Digest("row", b("ab"), b("c")), "row a bc": set.Digest("row", b("a"), b("bc")), "row abc": set.Digest("row", b("abc")),
		"row": set.Digest("row"), "row empty": set.Digest("row", b("")), "rowabc": set.Digest("rowabc"), "ref abc": set.Digest("ref", b("abc")),
		"stream row abc": stream("row", "abc"), "stream rowabc": stream("rowabc"), "stream ro wabc": stream("ro", "wabc"),
	} {
		if len(digest) != 64 {
			t.Errorf("%s has %d characters", name, len(digest))
		}
		if other, same := seen[digest]; same {
			t.Errorf("%s and %s are one", name, other)
		}
		seen[digest] = name
	}
	if stream("row", "a", "bc") != stream("row", "abc") {
		t.Error("a stream depends on how it is cut")
	}
	d := set.NewDigest("row")
	_, _ = io.WriteString(d, "something else")
	d.Reset()
	_, _ = io.WriteString(d, "abc")
	if hex.EncodeToString(d.Sum(nil)) != stream("row", "abc") {
		t.Error("Reset forgets the purpose")
	}
}

func TestAKeysetServesSeveralGoroutines(t *testing.T) {
	set := newKeyset(t, hsm.Spec{})
	p := pan(t, "4111111111111111")
	index, digest := set.IndexPAN(p), set.Digest("x", []byte("y"))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				if !bytes.Equal(set.IndexPAN(p), index) || set.Digest("x", []byte("y")) != digest {
					t.Error("another result beside others")
				}
				set.CVKs()
			}
			if err := set.AddCVK(fmt.Sprint("cvk-", i), nil, rand.Reader); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(set.CVKs()) != 8 {
		t.Errorf("%d keys", len(set.CVKs()))
	}
}

func TestAddCVK(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset.json")
	set, err := hsm.CreateKeyset(path, kek(), rand.Reader, wholeSpec)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.AddCVK("real", testPair(t), rand.Reader); err != nil {
		t.Fatal(err)
	}
	opened, err := hsm.OpenKeyset(path, kek())
	if err != nil || opened.CVKs()["real"] != testKCV || len(opened.CVKs()) != 2 {
		t.Errorf("%v, %v", opened.CVKs(), err)
	}
	even := bytes.Repeat([]byte{0x99}, 16)
	for name, test := range map[string]struct {
		name string
		key  []byte
		rnd  io.Reader
		want error
	}{
		"taken name":  {"real", testPair(t), rand.Reader, hsm.ErrKeyTaken},
		"even parity": {"new", even, rand.Reader, hsm.ErrParity},
		"short":       {"new", testPair(t)[:8], rand.Reader, hsm.ErrKeyLength},
		"empty":       {"new", []byte{}, rand.Reader, hsm.ErrKeyLength},
		"no random":   {"new", testPair(t), iotest.ErrReader(io.ErrNoProgress), io.ErrNoProgress},
	} {
		if err := set.AddCVK(test.name, test.key, test.rnd); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(set.CVKs()) != 2 {
		t.Error("a refused key is in the keyset")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := set.AddCVK("new", nil, rand.Reader); err == nil || len(set.CVKs()) != 2 {
		t.Errorf("a key was added to a file that is gone: %v", err)
	}
}

func TestAllocationNamesTheMissingKey(t *testing.T) {
	if _, err := newKeyset(t, wholeSpec).Allocation("alloc-z"); !errors.Is(err, hsm.ErrNoKey) || !strings.Contains(err.Error(), "alloc-z") {
		t.Error(err)
	}
}

func TestLoadSecret(t *testing.T) {
	dir := t.TempDir()
	want := kek()
	put := func(name, text string, mode fs.FileMode) config.SecretRef {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return config.SecretRef{File: name}
	}
	t.Setenv("REEMBOSS_TEST_KEK", hex.EncodeToString(want))
	t.Setenv("REEMBOSS_TEST_EMPTY", "")
	for name, ref := range map[string]config.SecretRef{
		"as we write it":   put("a", string(hsm.EncodeSecret(want))+"\n", 0o600),
		"hexadecimal":      put("b", strings.ToUpper(hex.EncodeToString(want))+"\r\n", 0o400),
		"base64, no fill":  put("c", base64.RawURLEncoding.EncodeToString(want), 0o600),
		"absolute path":    {File: filepath.Join(dir, "a")},
		"from environment": {Env: "REEMBOSS_TEST_KEK"},
	} {
		if got, err := hsm.LoadSecret(ref, dir); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	const word = "correct horse"
	for name, ref := range map[string]config.SecretRef{
		"may be read by others": put("d", hex.EncodeToString(want), 0o644),
		"too short":             put("e", hex.EncodeToString(want[:31]), 0o600),
		"no key":                put("f", word, 0o600),
		"empty":                 put("g", "\n", 0o600),
		"not there":             {File: "nowhere"},
		"a folder":              {File: "."},
		"no place":              {},
		"two places":            {File: "a", Env: "REEMBOSS_TEST_KEK"},
		"variable not set":      {Env: "REEMBOSS_TEST_EMPTY"},
	} {
		_, err := hsm.LoadSecret(ref, dir)
		if err == nil {
			t.Errorf("%s: taken", name)
		} else if strings.Contains(err.Error(), word) || strings.Contains(err.Error(), hex.EncodeToString(want[:8])) {
			t.Errorf("%s: the error repeats the secret", name)
		}
	}
	if text, err := hsm.LoadText(config.SecretRef{File: "f"}, dir); err != nil || string(text) != word {
		t.Errorf("a passphrase is not taken as it is: %v", err)
	}
}

func TestHardenForbidsDumps(t *testing.T) {
	if os.Getenv("HSM_TEST_HARDEN") != "" {
		if err := hsm.Harden(); err != nil {
			t.Fatal(err)
		}
		checkHardened(t)
		return
	}
	hardenInChild(t)
}

func BenchmarkKeyset(b *testing.B) {
	set := newKeyset(b, hsm.Spec{})
	p := pan(b, "4111111111111111")
	sealed, err := set.SealPAN(7, p)
	if err != nil {
		b.Fatal(err)
	}
	for name, run := range map[string]func(){
		"seal": func() { _, _ = set.SealPAN(7, p) }, "open": func() { _, _ = set.OpenPAN(7, sealed) },
		"index": func() { set.IndexPAN(p) }, "digest": func() { set.Digest("row", []byte("1000000123")) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}
