package hsm

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Errors of rotations that callers tell apart.
var (
	ErrPrimary = errors.New("it is the key in use; put another in its place first (keys rotate)")
	ErrFixed   = errors.New("a key of this kind is not rotated")
	ErrFormer  = errors.New("the key-encryption key is being changed, and to write the keyset with the one of before would undo that: name the file of the new one in keys.keyset_kek, then reemboss keys rotate kek --finish; where the new one is lost, reemboss keys rotate kek makes another")
)

// Rotate draws a new key of a kind ([KindPAN] or [KindIndex]; else [ErrFixed])
// and makes it the primary one, in one durable write of the file: what is new is
// made under it from then on. The former keys stay, so that everything still
// opens and is still found; the ledger brings its rows under the new key
// (ledger.Rekeying), and [Keyset.Retire] removes a former key when nobody needs
// it any more. at is since when the key is in use. After an error nothing has changed.
//
// The caller holds the workspace's lock: no other process may write rows under
// the former key afterwards.
func (k *Keyset) Rotate(kind string, at time.Time, rnd io.Reader) (KeyLine, error) {
	k.mu.Lock()
	err := k.change(rnd, func(held *heldKeys) error {
		list, err := held.rotating(kind)
		if err != nil {
			return err
		}
		if err := addPrimary(list, kind == KindPAN, rnd); err != nil {
			return fmt.Errorf("rotate the key for %s: %w", kind, err)
		}
		(*list)[len(*list)-1].MadeAt = at.UTC()
		return nil
	})
	k.mu.Unlock()
	if err != nil {
		return KeyLine{}, err
	}
	return k.line(func(l KeyLine) bool { return l.Kind == kind && l.Primary }), nil
}

// Retire removes a former key of a kind that is rotated, durably. [ErrPrimary],
// [ErrNoKey], [ErrFixed]. It does not know what was made under the key: the
// caller has asked the ledger (ledger.Rekeying's KeyUse), and a person knows
// that no backup of it is needed any more.
func (k *Keyset) Retire(kind, id string, rnd io.Reader) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.change(rnd, func(held *heldKeys) error {
		list, err := held.rotating(kind)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(*list, func(key heldKey) bool { return key.ID == id })
		switch {
		case at < 0:
			return fmt.Errorf("%s, key %s: %w", kind, id, ErrNoKey)
		case (*list)[at].Primary:
			return fmt.Errorf("%s, key %s: %w", kind, id, ErrPrimary)
		}
		*list = slices.Delete(*list, at, at+1)
		return nil
	})
}

// AddAllocation draws an AES-256 key for a new PAN range and puts it under a new
// name ([ErrKeyTaken]). After an error nothing has changed. An allocation key is
// never rotated: another key would give numbers of its range a second time.
func (k *Keyset) AddAllocation(name string, at time.Time, rnd io.Reader) (KeyLine, error) {
	if name == "" {
		return KeyLine{}, errors.New("an allocation key needs a name")
	}
	k.mu.Lock()
	err := k.change(rnd, func(held *heldKeys) error {
		if err := addKey(&held.Allocation, name, 32, rnd); err != nil {
			return fmt.Errorf("allocation key %s: %w", name, err)
		}
		held.Allocation[len(held.Allocation)-1].MadeAt = at.UTC()
		return nil
	})
	k.mu.Unlock()
	if err != nil {
		return KeyLine{}, err
	}
	return k.line(func(l KeyLine) bool { return l.Kind == KindAllocation && l.Name == name }), nil
}

// Rewrap writes the same keys under a new key-encryption key and, in the same
// file, under the one so far: until the new secret is in its place, whichever of
// the two a process finds opens the keyset. Then [Keyset.Settle], or any other
// writing by who opened it with the new one, leaves only that. Who opened it with
// the former one writes no other keys meanwhile ([ErrFormer]): that would undo the
// change. So a crash anywhere between leaves a keyset that opens, and a change
// whose new key is lost ends with the next Rewrap.
func (k *Keyset) Rewrap(kek []byte, rnd io.Reader) error {
	next, err := newKEK(kek)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if next.check == k.wrapped.check {
		return errors.New("the new key-encryption key is the one in use; make another")
	}
	former := k.wrapped
	k.wrapped = next
	if err := k.save(k.held, &former, rnd, k.replaceFile); err != nil {
		k.wrapped = former
		return err
	}
	return nil
}

// Settle writes the file under no other key-encryption key than the one that
// this process uses: the last step of a change of it.
func (k *Keyset) Settle(rnd io.Reader) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.replace(k.held, rnd)
}

// KEKs are the check values of the key-encryption keys under which the file
// opens: one, or two while one is being changed, the newer first.
func (k *Keyset) KEKs() ([]string, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keks()
}

func (k *Keyset) keks() ([]string, error) {
	text, err := readPrivate(k.path)
	if err != nil {
		return nil, fmt.Errorf("keyset %s: %w", k.path, err)
	}
	var file keyfile
	if err := strictJSON(text, &file); err != nil {
		return nil, fmt.Errorf("keyset %s: %w: %w", k.path, ErrDamaged, err)
	}
	checks := []string{file.KEK}
	if file.Former != nil {
		checks = append(checks, file.Former.KEK)
	}
	return checks, nil
}

// change writes changed keys; k.mu is held. [ErrFormer] when the file opens under a newer key-encryption key than ours.
func (k *Keyset) change(rnd io.Reader, fn func(*heldKeys) error) error {
	checks, err := k.keks()
	switch {
	case err != nil:
		return err
	case checks[0] != k.wrapped.check:
		return ErrFormer
	}
	held := k.held
	for _, list := range held.lists() {
		*list = slices.Clone(*list)
	}
	if err := fn(&held); err != nil {
		return err
	}
	return k.replace(held, rnd)
}

// rotating gives the keys of a kind that is rotated.
func (h *heldKeys) rotating(kind string) (*[]heldKey, error) {
	switch kind {
	case KindPAN:
		return &h.PAN, nil
	case KindIndex:
		return &h.Index, nil
	}
	return nil, fmt.Errorf("%s: %w", kind, ErrFixed)
}

func (k *Keyset) line(chosen func(KeyLine) bool) KeyLine {
	lines := k.Keys()
	if i := slices.IndexFunc(lines, chosen); i >= 0 {
		return lines[i]
	}
	return KeyLine{}
}
