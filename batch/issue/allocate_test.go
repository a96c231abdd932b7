package issue

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"reemboss/batch/ledger"
	"reemboss/formats/iso"
)

var allocationKey = bytes.Repeat([]byte{0x2b}, 32)

func params(from, to int64) ledger.RangeParams {
	return ledger.RangeParams{Name: "test", Prefix: "411111", Key: "alloc", Tweak: "0a0B", PANLength: 16, From: from, To: to}
}

func allocator(t testing.TB, p ledger.RangeParams, key []byte) *Allocator {
	t.Helper()
	a, err := NewAllocator(p, key)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// bodyOf is the part of a number between prefix and check digit.
func bodyOf(t testing.TB, p ledger.RangeParams, pan iso.PAN) int64 {
	t.Helper()
	digits := pan.Reveal()
	if len(digits) != p.PANLength || !strings.HasPrefix(digits, p.Prefix) || !iso.LuhnValid(digits) {
		t.Fatal("a number of another form was given")
	}
	body, err := strconv.ParseInt(digits[len(p.Prefix):len(digits)-1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestARangeIsGivenWholeAndOnce(t *testing.T) {
	for _, p := range []ledger.RangeParams{
		params(0, 0), params(5, 6), params(1, 999), params(123_456, 200_000), params(999_999_000, 999_999_999),
		{Prefix: "55555555", PANLength: 13, From: 0, To: 9999}, {Prefix: "4", PANLength: 19, From: 1 << 40, To: 1<<40 + 5000},
	} {
		a := allocator(t, p, allocationKey)
		if a.Size() != p.To-p.From+1 {
			t.Fatalf("size %d", a.Size())
		}
		seen := make([]bool, a.Size())
		for counter := range a.Size() {
			pan, err := a.At(counter)
			if err != nil {
				t.Fatal(err)
			}
			body := bodyOf(t, p, pan) - p.From
			if body < 0 || body >= a.Size() {
				t.Fatalf("%d to %d: a number outside the range", p.From, p.To)
			}
			if seen[body] {
				t.Fatalf("%d to %d: a number twice", p.From, p.To)
			}
			seen[body] = true
		}
		if _, err := a.At(a.Size()); !errors.Is(err, ErrRangeExhausted) {
			t.Errorf("beyond the last number: %v", err)
		}
		if _, err := a.At(-1); err == nil || errors.Is(err, ErrRangeExhausted) {
			t.Errorf("before the first number: %v", err)
		}
	}
}

func TestAMillionPlacesAreGivenWholeAndOnce(t *testing.T) {
	a := allocator(t, params(0, 999_999), allocationKey) // the smallest range that FF1 permutes
	seen := make([]bool, a.Size())
	for counter := range a.Size() {
		place := a.place(counter)
		if seen[place] {
			t.Fatal("a number twice")
		}
		seen[place] = true
	}
}

func TestAMillionNumbersOfAHugeRangeAreUnique(t *testing.T) {
	p := ledger.RangeParams{Prefix: "411111", PANLength: 19, From: 7, To: 899_999_999_999}
	a := allocator(t, p, allocationKey)
	places := make([]int64, 1_000_000)
	for i := range places {
		places[i] = a.place(int64(i))
	}
	slices.Sort(places)
	if len(slices.Compact(places)) != 1_000_000 || places[0] < 0 || places[len(places)-1] >= a.Size() {
		t.Error("a number outside the range, or twice")
	}
}

func TestAWalkStaysInItsRangeAndGivesNoNumberTwice(t *testing.T) {
	p := params(100_000_000, 101_234_566)
	a := allocator(t, p, allocationKey)
	seen := map[int64]bool{}
	for counter := int64(0); counter < a.Size(); counter += 53 {
		pan, err := a.At(counter)
		if err != nil {
			t.Fatal(err)
		}
		body := bodyOf(t, p, pan)
		if body < p.From || body > p.To || seen[body] {
			t.Fatal("a number outside the range, or twice")
		}
		seen[body] = true
	}
}

func TestAnyRangeIsAPermutation(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		from := rapid.Int64Range(0, 1_000_000).Draw(rt, "from")
		size := rapid.Int64Range(1, 3000).Draw(rt, "size")
		p := params(from, from+size-1)
		a := allocator(t, p, rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "key"))
		seen := map[int64]bool{}
		for counter := range size {
			pan, err := a.At(counter)
			if err != nil {
				rt.Fatal(err)
			}
			seen[bodyOf(t, p, pan)] = true
		}
		if int64(len(seen)) != size {
			rt.Fatalf("%d of %d numbers", len(seen), size)
		}
	})
}

// The order of a range may never change: a rerun after an update of the
// program must give the same number. These are pinned, not derived.
func TestTheOrderOfARangeIsForEver(t *testing.T) {
	for name, test := range map[string]struct {
		p    ledger.RangeParams
		want []int64
	}{
		"shuffled list": {params(100, 1099), pinnedList},
		"FF1":           {params(0, 9_999_999), pinnedFF1},
		"FF1, walked":   {params(1_000_000, 2_234_566), pinnedWalk},
	} {
		a := allocator(t, test.p, allocationKey)
		var got []int64
		for counter := range int64(5) {
			pan, err := a.At(counter)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, bodyOf(t, test.p, pan))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, pinned are %v", name, got, test.want)
		}
	}
}

func TestKeyAndParametersDecideTheOrder(t *testing.T) {
	first := func(p ledger.RangeParams, key []byte) string {
		a := allocator(t, p, key)
		var all strings.Builder
		for counter := range int64(8) {
			pan, err := a.At(counter)
			if err != nil {
				t.Fatal(err)
			}
			all.WriteString(pan.Reveal()[6:])
		}
		return all.String()
	}
	for _, p := range []ledger.RangeParams{params(0, 4999), params(0, 4_999_999)} {
		tweaked := p
		tweaked.Tweak = "ff"
		upper := p
		upper.Tweak = "0A0B"
		if again := first(p, allocationKey); again != first(p, bytes.Clone(allocationKey)) || again != first(upper, allocationKey) {
			t.Error("one range, two orders")
		}
		if first(p, allocationKey) == first(p, bytes.Repeat([]byte{7}, 32)) || first(p, allocationKey) == first(tweaked, allocationKey) {
			t.Error("key or tweak do not matter")
		}
	}
}

func TestNewAllocatorRefuses(t *testing.T) {
	change := func(f func(*ledger.RangeParams)) ledger.RangeParams {
		p := params(0, 9999)
		f(&p)
		return p
	}
	for name, p := range map[string]ledger.RangeParams{
		"to before from":     params(5, 4),
		"negative from":      params(-1, 4),
		"ten digits of body": params(0, 1_000_000_000),
		"no prefix":          change(func(p *ledger.RangeParams) { p.Prefix = "" }),
		"letters":            change(func(p *ledger.RangeParams) { p.Prefix = "41111A" }),
		"no room":            change(func(p *ledger.RangeParams) { p.Prefix = strings.Repeat("4", 15) }),
		"12 digits":          change(func(p *ledger.RangeParams) { p.PANLength = 12 }),
		"20 digits":          change(func(p *ledger.RangeParams) { p.PANLength = 20 }),
		"tweak":              change(func(p *ledger.RangeParams) { p.Tweak = "0g" }),
	} {
		if _, err := NewAllocator(p, allocationKey); err == nil || !strings.Contains(err.Error(), "range test") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, p := range []ledger.RangeParams{params(0, 9), params(0, 9_999_999)} {
		if _, err := NewAllocator(p, allocationKey[:20]); err == nil {
			t.Error("a key of 20 bytes was taken")
		}
	}
}

func TestFillWarning(t *testing.T) {
	for _, test := range []struct {
		counter, size int64
		want          int
	}{{0, 1000, 0}, {499, 1000, 0}, {500, 1000, 50}, {699, 1000, 50}, {700, 1000, 70}, {899, 1000, 70}, {900, 1000, 90}, {999, 1000, 90}, {1000, 1000, 100}, {1200, 1000, 100}, {0, 0, 100}, {1, 3, 0}, {2, 3, 50}, {1 << 61, 1 << 62, 50}} {
		if got := FillWarning(test.counter, test.size); got != test.want {
			t.Errorf("%d of %d: %d per cent, want %d", test.counter, test.size, got, test.want)
		}
	}
}

func BenchmarkAllocate(b *testing.B) {
	for name, p := range map[string]ledger.RangeParams{"power of ten": params(0, 99_999_999), "quarter full": params(0, 249_999_999)} {
		b.Run(name, func(b *testing.B) {
			a := allocator(b, p, allocationKey)
			b.ReportAllocs()
			for i := int64(0); b.Loop(); i++ {
				if _, err := a.At(i % a.Size()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

var (
	pinnedList = []int64{150, 256, 896, 926, 687}
	pinnedFF1  = []int64{4707099, 2493318, 4006099, 3690606, 2108931}
	pinnedWalk = []int64{1708763, 1180998, 1613878, 1410450, 1209865}
)
