package hsm

import (
	"bytes"
	"crypto/des"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"testing"

	"pgregory.net/rapid"
)

var testPair = []byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10}

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func publishedValues(t *testing.T) [][]string {
	t.Helper()
	text, err := os.ReadFile("hsmtest/testdata/cvv.csv")
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil || len(rows) < 20 {
		t.Fatalf("%d vectors: %v", len(rows), err)
	}
	return rows
}

// Keys are as published here, the one of even parity too: parity is no part of the function.
func TestBothCodePathsGiveThePublishedValues(t *testing.T) {
	for _, v := range publishedValues(t) {
		pair := fromHex(t, v[1])
		key, err := newCVVKey(pair)
		if err != nil {
			t.Fatal(err)
		}
		matches := v[6] == "match"
		if got := key.cvv(v[2], v[3], v[4]).Reveal(); (got == v[5]) != matches {
			t.Errorf("%s: cached ciphers: matches %v, must be %v", v[0], !matches, matches)
		}
		if got := plainCVV(pair, v[2], v[3], v[4]).Reveal(); (got == v[5]) != matches {
			t.Errorf("%s: plain DES: matches %v, must be %v", v[0], !matches, matches)
		}
	}
}

// The UnionPay description prints every step of one value.
func TestIntermediateStepsOfTheUnionPayDescription(t *testing.T) {
	b1, b2 := cvvBlocks("4123456789012345", "8701", "111")
	a := binary.BigEndian.Uint64(testPair[:8])
	b := binary.BigEndian.Uint64(testPair[8:])
	first := plainDES(a, binary.BigEndian.Uint64(b1[:]), false)
	x := first ^ binary.BigEndian.Uint64(b2[:])
	result := plainDES(a, plainDES(b, plainDES(a, x, false), true), false)
	for what, got := range map[string]string{"B76ADDCE71CCC6BE": fmt.Sprintf("%016X", first), "306BCCDE71CCC6BE": fmt.Sprintf("%016X", x), "8D5625FA78011A0C": fmt.Sprintf("%016X", result)} {
		if got != what {
			t.Errorf("got %s, the description has %s", got, what)
		}
	}
}

func TestSecondPassTakesTheLettersOnly(t *testing.T) {
	for block, want := range map[uint64]string{
		0x5B614982E03C97DD: "561", 0xFBADBBFADFECCE8F: "851", 0xCDE4BCFFFBBDE9FA: "492", 0xFEDCBAFEDCBAFEDC: "543", 0xABCDEFABCDEFABC1: "101",
	} {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], block)
		if digits := decimalise(b); string(digits[:3]) != want {
			t.Errorf("%016X gives %s, want %s", block, digits[:3], want)
		}
	}
}

func TestPlainDESAgreesWithTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, block := rapid.Uint64().Draw(t, "key"), rapid.Uint64().Draw(t, "block")
		c, err := des.NewCipher(binary.BigEndian.AppendUint64(nil, key))
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, 8)
		c.Encrypt(want, binary.BigEndian.AppendUint64(nil, block))
		got := plainDES(key, block, false)
		if got != binary.BigEndian.Uint64(want) || plainDES(key, got, true) != block {
			t.Fatal("another block")
		}
	})
}

func TestCheckValueOfTheClassicTestKey(t *testing.T) {
	if kcv, err := kcvTDES(testPair); err != nil || kcv != "08D7B4" {
		t.Errorf("%s, %v", kcv, err)
	}
}

func TestParity(t *testing.T) {
	if !oddParity(testPair) || oddParity(fromHex(t, "99999999999999998888888888888888")) || oddParity([]byte{0x01, 0x00}) {
		t.Error("odd and even are not told apart")
	}
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "key")
		odd := append([]byte(nil), key...)
		setOddParity(odd)
		if !oddParity(odd) {
			t.Fatal("parity was not set")
		}
		for i := range key {
			if key[i]&^1 != odd[i]&^1 {
				t.Fatal("more than the parity bit changed")
			}
		}
	})
}

func TestAFailingKnownAnswerIsAnError(t *testing.T) {
	if err := selfTest(); err != nil {
		t.Error(err)
	}
	tests := map[string]func([]byte, string, string, string) (string, error){
		"a constant value": func([]byte, string, string, string) (string, error) { return "561", nil },
		"no second pass": func(pair []byte, pan, expiry, service string) (string, error) {
			if pan == "4123456700238593" {
				return "8", nil
			}
			return plainCVV(pair, pan, expiry, service).Reveal(), nil
		},
		"a broken module": func([]byte, string, string, string) (string, error) { return "", errors.New("mechanism invalid") },
	}
	for name, cvv := range tests {
		if err := knownAnswerTest(cvv); !errors.Is(err, ErrSelfTest) {
			t.Errorf("%s passed: %v", name, err)
		}
	}
}

func BenchmarkCVV(b *testing.B) {
	key, err := newCVVKey(testPair)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		key.cvv("4123456789012345", "8701", "101")
	}
}
