package issue

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"math/big"
	"os"
	"strconv"
	"testing"

	"crypto/aes"

	"pgregory.net/rapid"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// halves splits a text as FF1 does.
func halves(t testing.TB, text string) (a, b uint64) {
	t.Helper()
	u := len(text) / 2
	a, errA := strconv.ParseUint(text[:u], 10, 64)
	b, errB := strconv.ParseUint(text[u:], 10, 64)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	return a, b
}

func join(a, b uint64, n int) string { return fmt.Sprintf("%0*d%0*d", n/2, a, n-n/2, b) }

func TestFF1GivesTheNISTSamples(t *testing.T) {
	text, err := os.ReadFile("testdata/ff1.csv")
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.Comment = '#'
	samples, err := r.ReadAll()
	if err != nil || len(samples) != 6 {
		t.Fatalf("%d samples: %v", len(samples), err)
	}
	for _, s := range samples {
		plain, cipher := s[3], s[4]
		f, err := newFF1(unhex(t, s[1]), unhex(t, s[2]), len(plain))
		if err != nil {
			t.Fatal(err)
		}
		a, b := halves(t, plain)
		if a, b = f.encrypt(a, b); join(a, b, len(plain)) != cipher {
			t.Errorf("sample %s: got %s, want %s", s[0], join(a, b, len(plain)), cipher)
		}
		if a, b = f.decrypt(a, b); join(a, b, len(plain)) != plain {
			t.Errorf("sample %s does not decrypt", s[0])
		}
	}
}

// referenceFF1 is algorithm 7 of NIST SP 800-38G with big numbers, for any length.
func referenceFF1(t testing.TB, key, tweak []byte, text string) string {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	n := len(text)
	u, v := n/2, n-n/2
	power := func(m int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(m)), nil) }
	b := (new(big.Int).Sub(power(v), big.NewInt(1)).BitLen() + 7) / 8
	d := 4*((b+3)/4) + 4
	p := []byte{1, 2, 1, 0, 0, 10, 10, byte(u), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 0, 0, byte(len(tweak) >> 8), byte(len(tweak))}
	left, right := text[:u], text[u:]
	for i := range 10 {
		num, _ := new(big.Int).SetString(right, 10)
		q := append([]byte(nil), tweak...)
		for (len(q)+b+1)%16 != 0 {
			q = append(q, 0)
		}
		q = append(q, byte(i))
		q = append(q, num.FillBytes(make([]byte, b))...)
		mac := make([]byte, 16)
		for data := append(append([]byte(nil), p...), q...); len(data) > 0; data = data[16:] {
			for j := range mac {
				mac[j] ^= data[j]
			}
			block.Encrypt(mac, mac)
		}
		y := new(big.Int).SetBytes(mac[:d])
		m := u
		if i%2 == 1 {
			m = v
		}
		c, _ := new(big.Int).SetString(left, 10)
		c.Add(c, y).Mod(c, power(m))
		left, right = right, fmt.Sprintf("%0*d", m, c)
	}
	return left + right
}

func TestFF1AgreesWithBigNumbers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(ff1MinDigits, ff1MaxDigits).Draw(rt, "digits")
		text := rapid.StringMatching(fmt.Sprintf("[0-9]{%d}", n)).Draw(rt, "text")
		key := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "key")
		tweak := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "tweak")
		f, err := newFF1(key, tweak, n)
		if err != nil {
			rt.Fatal(err)
		}
		a, b := halves(t, text)
		a, b = f.encrypt(a, b)
		if got, want := join(a, b, n), referenceFF1(t, key, tweak, text); got != want {
			rt.Fatalf("got %s, want %s", got, want)
		}
		if a, b = f.decrypt(a, b); join(a, b, n) != text {
			rt.Fatal("it does not decrypt")
		}
	})
}

func TestFF1RefusesASmallDomainAndAWrongKey(t *testing.T) {
	if _, err := newFF1(make([]byte, 16), nil, 5); err == nil {
		t.Error("five digits were taken")
	}
	if _, err := newFF1(make([]byte, 16), nil, 37); err == nil {
		t.Error("37 digits were taken")
	}
	if _, err := newFF1(make([]byte, 15), nil, 6); err == nil {
		t.Error("a key of 15 bytes was taken")
	}
}
