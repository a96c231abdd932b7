package hsm_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"reemboss/batch/hsm"
)

var rotatedAt = time.Date(2026, time.November, 22, 1, 2, 3, 0, time.UTC)

// keysetAt makes a keyset in a file and opens it again.
func keysetAt(t *testing.T) (path string, set *hsm.Keyset) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keyset.json")
	spec := wholeSpec
	spec.At = rotatedAt.AddDate(-1, 0, 0)
	if _, err := hsm.CreateKeyset(path, kek(), rand.Reader, spec); err != nil {
		t.Fatal(err)
	}
	return path, reopened(t, path, kek())
}

func reopened(t *testing.T, path string, kek []byte) *hsm.Keyset {
	t.Helper()
	set, err := hsm.OpenKeyset(path, kek)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func primaryOf(set *hsm.Keyset, kind string) hsm.KeyLine {
	lines := set.Keys()
	return lines[slices.IndexFunc(lines, func(l hsm.KeyLine) bool { return l.Kind == kind && l.Primary })]
}

func TestARotatedKeyIsPrimaryAndTheFormerStillServes(t *testing.T) {
	path, set := keysetAt(t)
	p := pan(t, "4111111111111111")
	sealed, err := set.SealPAN(7, p)
	if err != nil {
		t.Fatal(err)
	}
	index, formerSeal, formerIndex := set.IndexPAN(p), set.SealKeyID(), set.IndexKeyID()
	for _, kind := range []string{hsm.KindPAN, hsm.KindIndex} {
		line, err := set.Rotate(kind, rotatedAt, rand.Reader)
		if err != nil || line != primaryOf(set, kind) || !line.MadeAt.Equal(rotatedAt) {
			t.Errorf("%s: %v, %v", kind, line, err)
		}
	}
	for name, set := range map[string]*hsm.Keyset{"rotated": set, "opened again": reopened(t, path, kek())} {
		if q, err := set.OpenPAN(7, sealed); err != nil || !q.Equal(p) {
			t.Errorf("%s: what was sealed does not open: %v", name, err)
		}
		if set.SealedUnder(sealed) != formerSeal || set.SealKeyID() == formerSeal {
			t.Errorf("%s: sealed under %s, key %s", name, set.SealedUnder(sealed), set.SealKeyID())
		}
		again, err := set.SealPAN(7, p)
		if err != nil || set.SealedUnder(again) != set.SealKeyID() || !bytes.HasPrefix(again, set.SealHeader()) || bytes.HasPrefix(sealed, set.SealHeader()) {
			t.Errorf("%s: a new number is not under the new key: %v", name, err)
		}
		if bytes.Equal(set.IndexPAN(p), index) || set.IndexKeyID() == formerIndex {
			t.Errorf("%s: the index key is the former one", name)
		}
		if old, err := set.IndexUnder(formerIndex, p); err != nil || !bytes.Equal(old, index) {
			t.Errorf("%s: the former index is lost: %v", name, err)
		}
	}
}

// A reader that opened the keyset before a rotation meets rows from after it.
func TestAKeysetOpenedBeforeARotationServesTheNewKeysToo(t *testing.T) {
	path, early := keysetAt(t)
	set := reopened(t, path, kek())
	for _, kind := range []string{hsm.KindPAN, hsm.KindIndex} {
		if _, err := set.Rotate(kind, rotatedAt, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	p := pan(t, "4111111111111111")
	sealed, err := set.SealPAN(7, p)
	if err != nil {
		t.Fatal(err)
	}
	if q, err := early.OpenPAN(7, sealed); err != nil || !q.Equal(p) {
		t.Errorf("%v", err)
	}
	_, early = path, reopened(t, path, kek())
	if index, err := early.IndexUnder(set.IndexKeyID(), p); err != nil || !bytes.Equal(index, set.IndexPAN(p)) {
		t.Errorf("%v", err)
	}
	if _, err := early.IndexUnder("00000000", p); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("a key that nobody has: %v", err)
	}
}

func TestRotationIsForSealingAndIndexKeysOnly(t *testing.T) {
	_, set := keysetAt(t)
	for _, kind := range []string{hsm.KindDigest, hsm.KindAllocation, hsm.KindCVK, ""} {
		if _, err := set.Rotate(kind, rotatedAt, rand.Reader); !errors.Is(err, hsm.ErrFixed) {
			t.Errorf("%q: %v", kind, err)
		}
		if err := set.Retire(kind, "x", rand.Reader); !errors.Is(err, hsm.ErrFixed) {
			t.Errorf("%q: %v", kind, err)
		}
	}
}

func TestOnlyAFormerKeyIsRetired(t *testing.T) {
	path, set := keysetAt(t)
	p := pan(t, "4111111111111111")
	for _, kind := range []string{hsm.KindPAN, hsm.KindIndex} {
		former := primaryOf(set, kind)
		if err := set.Retire(kind, former.ID, rand.Reader); !errors.Is(err, hsm.ErrPrimary) {
			t.Errorf("%s: %v", kind, err)
		}
		if err := set.Retire(kind, "123", rand.Reader); !errors.Is(err, hsm.ErrNoKey) {
			t.Errorf("%s: %v", kind, err)
		}
		sealed, err := set.SealPAN(7, p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := set.Rotate(kind, rotatedAt, rand.Reader); err != nil {
			t.Fatal(err)
		}
		if err := set.Retire(kind, former.ID, rand.Reader); err != nil {
			t.Fatal(err)
		}
		set = reopened(t, path, kek())
		if slices.ContainsFunc(set.Keys(), func(l hsm.KeyLine) bool { return l.Kind == kind && l.ID == former.ID }) {
			t.Errorf("%s: the key is still there", kind)
		}
		if _, err := set.OpenPAN(7, sealed); (kind == hsm.KindPAN) != errors.Is(err, hsm.ErrSealed) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestAFailedRotationChangesNothing(t *testing.T) {
	path, set := keysetAt(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	keys := set.Keys()
	for n := range int64(48) { // 36 bytes of a key with its id, 12 of the nonce
		_, err := set.Rotate(hsm.KindIndex, rotatedAt, io.MultiReader(io.LimitReader(rand.Reader, n), iotest.ErrReader(errors.New("no more"))))
		if err == nil {
			t.Fatalf("it worked with %d random bytes", n)
		}
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) || !slices.Equal(keys, set.Keys()) {
		t.Errorf("the keyset changed: %v", err)
	}
}

func TestAnAllocationKeyIsAdded(t *testing.T) {
	path, set := keysetAt(t)
	line, err := set.AddAllocation("alloc-c", rotatedAt, rand.Reader)
	if err != nil || line.Name != "alloc-c" || !line.MadeAt.Equal(rotatedAt) {
		t.Fatalf("%v, %v", line, err)
	}
	if key, err := reopened(t, path, kek()).Allocation("alloc-c"); err != nil || len(key) != 32 {
		t.Errorf("%v", err)
	}
	if _, err := set.AddAllocation("alloc-a", rotatedAt, rand.Reader); !errors.Is(err, hsm.ErrKeyTaken) {
		t.Errorf("%v", err)
	}
	if _, err := set.AddAllocation("", rotatedAt, rand.Reader); err == nil {
		t.Error("a key without a name")
	}
}

// Whichever of the two secrets a process finds opens the keyset, until the change is settled.
func TestAChangeOfTheKeyEncryptionKeyNeverLocksOut(t *testing.T) {
	path, set := keysetAt(t)
	next := bytes.Repeat([]byte{9}, hsm.KEKLength)
	keys := set.Keys()
	if err := set.Rewrap(next, rand.Reader); err != nil {
		t.Fatal(err)
	}
	for _, secret := range [][]byte{kek(), next} {
		if !slices.Equal(reopened(t, path, secret).Keys(), keys) {
			t.Error("other keys")
		}
	}
	if checks, err := set.KEKs(); err != nil || len(checks) != 2 {
		t.Errorf("%v, %v", checks, err)
	}
	for name, settled := range map[string]struct{ by, out []byte }{"the new": {next, kek()}, "the former": {kek(), next}} {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := reopened(t, path, settled.by).Settle(rand.Reader); err != nil {
			t.Fatal(err)
		}
		if _, err := hsm.OpenKeyset(path, settled.out); !errors.Is(err, hsm.ErrWrongKEK) {
			t.Errorf("settled by %s: the other: %v", name, err)
		}
		if !slices.Equal(reopened(t, path, settled.by).Keys(), keys) {
			t.Errorf("settled by %s: other keys", name)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := set.Rewrap(next, rand.Reader); err == nil {
		t.Error("the key-encryption key was changed to itself")
	}
	if err := set.Rewrap(next[:16], rand.Reader); !errors.Is(err, hsm.ErrKeyLength) {
		t.Errorf("%v", err)
	}
}

// A file from before rotations has no times; a file without them is the form of then.
func TestAKeysetWithoutTimesIsWrittenAsBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset.json")
	if _, err := hsm.CreateKeyset(path, kek(), rand.Reader, wholeSpec); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil || len(fields) != 3 {
		t.Errorf("%d fields, %v: %s", len(fields), err, strings.TrimSpace(string(text[:40])))
	}
	for _, line := range reopened(t, path, kek()).Keys() {
		if !line.MadeAt.IsZero() {
			t.Errorf("%s: in use since %s", line.Kind, line.MadeAt)
		}
	}
}

// Who opened the keyset with the key-encryption key of before writes no other keys until the change is finished: the new one would open it no more.
func TestAChangeOfTheKeyEncryptionKeyIsNotUndone(t *testing.T) {
	path, set := keysetAt(t)
	next := bytes.Repeat([]byte{9}, hsm.KEKLength)
	old := set.IndexKeyID()
	if _, err := set.Rotate(hsm.KindIndex, rotatedAt, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if err := set.Rewrap(next, rand.Reader); err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(*hsm.Keyset) error{
		"rotate":         func(k *hsm.Keyset) error { _, err := k.Rotate(hsm.KindPAN, rotatedAt, rand.Reader); return err },
		"retire":         func(k *hsm.Keyset) error { return k.Retire(hsm.KindIndex, old, rand.Reader) },
		"add cvk":        func(k *hsm.Keyset) error { return k.AddCVK("another", nil, rand.Reader) },
		"add allocation": func(k *hsm.Keyset) error { _, err := k.AddAllocation("another", rotatedAt, rand.Reader); return err },
	} {
		if err := write(reopened(t, path, kek())); !errors.Is(err, hsm.ErrFormer) {
			t.Errorf("%s: %v", name, err)
		}
		reopened(t, path, next)
	}
	if err := reopened(t, path, next).AddCVK("another", nil, rand.Reader); err != nil {
		t.Error(err)
	}
}

// The new key-encryption key is lost before it is in use: another one takes its place.
func TestALostChangeOfTheKeyEncryptionKeyIsBegunAnew(t *testing.T) {
	path, set := keysetAt(t)
	lost, next := bytes.Repeat([]byte{9}, hsm.KEKLength), bytes.Repeat([]byte{10}, hsm.KEKLength)
	if err := set.Rewrap(lost, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if err := reopened(t, path, kek()).Rewrap(next, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if _, err := hsm.OpenKeyset(path, lost); !errors.Is(err, hsm.ErrWrongKEK) {
		t.Errorf("%v", err)
	}
	if err := reopened(t, path, next).Settle(rand.Reader); err != nil {
		t.Error(err)
	}
}
