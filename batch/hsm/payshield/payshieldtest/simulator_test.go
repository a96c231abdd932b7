package payshieldtest

import (
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

// vectors reads a table of testdata: comma-separated, comments begin with #.
func vectors(t *testing.T, name string) [][]string {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil || len(rows) == 0 {
		t.Fatalf("%s: %d rows, %v", name, len(rows), err)
	}
	return rows
}

// The commands and replies are published ones; PINs of theirs that a real module's secret
// algorithm encrypted are written {account:PIN} and encrypted here by the simulator's own.
func TestRepliesAreThePublishedOnes(t *testing.T) {
	sim := New()
	for _, v := range vectors(t, "commands.csv") {
		id, command, want := v[0], v[1], v[2]
		if before, rest, sealed := strings.Cut(command, "{"); sealed {
			pin, after, _ := strings.Cut(rest, "}")
			account, digits, _ := strings.Cut(pin, ":")
			command = before + sim.SealPIN(account, digits) + after
		}
		if got := string(sim.Reply([]byte("0011" + command))); got != "0011"+want {
			t.Errorf("%s: the reply is %q, published is %q", id, got[4:], want)
		}
	}
}

func TestTokensUnderThePublicTestLMK(t *testing.T) {
	pair := unhex("0123456789ABCDEFFEDCBA9876543210")
	if got := Token(CVK, pair); got != "U9B4934384B19946B040CD702B4D58145" {
		t.Errorf("scheme U gives %s", got)
	}
	if got := openToken(CVK, 'X', unhex("0A61E674E88C6A7EEABC38C2B2BB492F")); string(got) != string(pair) {
		t.Errorf("scheme X gives %X", got)
	}
	if got := openToken(CVK, 'U', unhex(Token(CVK, pair)[1:])); string(got) != string(pair) {
		t.Errorf("back from U comes %X", got)
	}
	if got := KCV(pair); got != "08D7B4" {
		t.Errorf("the check value is %s", got)
	}
}

func TestPINVerificationValuesAreThePublishedOnes(t *testing.T) {
	for _, v := range vectors(t, "pvv.csv") {
		if got := visaPVV(unhex(v[1]), v[2], v[3], v[4]); (got == v[5]) != (v[6] == "match") {
			t.Errorf("%s: computed %s, the table has %s (%s)", v[0], got, v[5], v[6])
		}
	}
}

func TestPINBlocksAreThePublishedOnes(t *testing.T) {
	for _, v := range vectors(t, "pinblock.csv") {
		pan, pin, fill := v[2], v[3], v[4]
		block := isoBlock(v[1][0], pin, fill, pan[len(pan)-13:len(pan)-1])
		if v[5] != "" {
			tripleDES(unhex(v[5])).Encrypt(block, block)
		}
		if got := strings.ToUpper(hex.EncodeToString(block)); got != v[6] {
			t.Errorf("%s: block %s, published is %s", v[0], got, v[6])
		}
	}
}

// What the published blocks enclose comes out again, and for another number it does not.
func TestPublishedPINBlocksOpen(t *testing.T) {
	opened := 0
	for _, v := range vectors(t, "pinblock.csv") {
		if v[5] == "" {
			continue
		}
		opened++
		key, number := unhex(v[5]), v[2]
		if pin, err := OpenPINBlock(key, v[6], number); err != nil || pin != v[3] {
			t.Errorf("%s: %v, or another PIN", v[0], err)
		}
		other := number[:len(number)-4] + string('0'+('9'-number[len(number)-4])) + number[len(number)-3:]
		if pin, err := OpenPINBlock(key, v[6], other); err == nil && pin == v[3] {
			t.Errorf("%s opens for another number", v[0])
		}
	}
	if opened < 2 {
		t.Errorf("%d blocks were opened", opened)
	}
	if _, err := OpenPINBlock(unhex("0123456789ABCDEFFEDCBA9876543210"), "short", "4123456789012345"); err == nil {
		t.Error("what is no block opens")
	}
}

func TestAPINIsBoundToItsAccount(t *testing.T) {
	sim := &Simulator{PINLength: 13}
	opened := func(account, sealed string) (pin string, refused bool) {
		defer func() { refused = recover() != nil }()
		return sim.openPIN(account, sealed), false
	}
	for digits := 4; digits <= 12; digits++ {
		pin := "987654321098"[:digits]
		sealed := sim.SealPIN("550000025321", pin)
		if len(sealed) != 13 || strings.Contains(sealed, pin) {
			t.Errorf("a PIN of %d digits is sealed as %d characters", digits, len(sealed))
		}
		if got, refused := opened("550000025321", sealed); refused || got != pin {
			t.Errorf("a PIN of %d digits does not open", digits)
		}
		if _, refused := opened("550000025322", sealed); !refused {
			t.Errorf("a PIN of %d digits opens for another account", digits)
		}
	}
}

func TestRefusals(t *testing.T) {
	pair := unhex("0123456789ABCDEFFEDCBA9876543210")
	cvk := Token(CVK, pair)
	card := "4123456789012345;8701101"
	sim := New()
	block := sim.KeyBlock(PVK, pair)
	sim.Disabled = map[string]bool{"QK": true}
	for _, test := range []struct{ name, command, code string }{
		{"a damaged token", "CWU" + strings.Repeat("0", 32) + card, "10"},
		{"a token of another kind", "CW" + Token(PVK, pair) + card, "10"},
		{"a damaged zone PIN key", "JGU" + strings.Repeat("0", 32) + "0155000002532100000", "11"},
		{"another LMK", "CW" + cvk + card + "%01", "13"},
		{"this LMK by name", "CW" + cvk + card + "%00", "00"},
		{"a PIN of another account", "DG" + Token(PVK, pair) + sim.SealPIN("550000025321", "1234") + "5500000253991", "14"},
		{"a letter in the card number", "CW" + cvk + "412345678901234X;8701101", "15"},
		{"no delimiter", "CW" + cvk + "41234567890123458701101", "15"},
		{"a digit too many", "CW" + cvk + card + "1", "15"},
		{"nothing behind the command", "CW", "15"},
		{"an unknown command", "XX", "15"},
		{"a single-length key", "CWZ0123456789ABCDEF" + card, "27"},
		{"a disabled command", "QK", "68"},
		{"an unknown key block", "CWS" + strings.Repeat("0", blockLength) + card, "A4"},
		{"a key block of another use", "CW" + block + card, "A4"},
	} {
		if got := string(sim.Reply([]byte("0001" + test.command)))[6:8]; got != test.code {
			t.Errorf("%s: error code %s, not %s", test.name, got, test.code)
		}
	}
}

func TestABlockSealedAtRandomIsStillThePIN(t *testing.T) {
	sim := New()
	zpk := unhex("0123456789ABCDEFFEDCBA9876543210")
	seen := map[string]bool{}
	for range 20 {
		reply := string(sim.Reply([]byte("0001JG" + Token(ZPK, zpk) + "47" + "550000025321" + sim.SealPIN("550000025321", "1234"))))
		if !strings.HasPrefix(reply, "0001JH00") || len(reply) != 24 {
			t.Fatalf("the reply has %d characters", len(reply))
		}
		block := unhex(reply[8:])
		tripleDES(zpk).Decrypt(block, block)
		for i, b := range unhex("0000550000025321") {
			block[i] ^= b
		}
		if text := fmt.Sprintf("%X", block); !strings.HasPrefix(text, "341234") || strings.Trim(text[6:], "ABCDEF") != "" {
			t.Fatal("it is no block of format 3 with that PIN")
		}
		seen[reply] = true
	}
	if len(seen) < 15 {
		t.Errorf("only %d different blocks of 20", len(seen))
	}
}
