package payshield

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"reemboss/batch/hsm"
	"reemboss/formats/iso"
)

func table(t testing.TB, name string) [][]string {
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

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// published is a client with the keys of the published frames; it is connected to nothing.
func published() *Client {
	key := func(token string, use Use) Key { return Key{Token: iso.NewSecret(token), KCV: "000000", Use: use} }
	return &Client{settings: Config{HeaderLength: 4, PINLength: 8, Keys: map[string]Key{
		"cvk":   key("UE16D4CD9EAB610034BDE2A50935BCFBE", CVK),
		"pvk":   key("U77338F74A19E3BB39062A5A479473FC8", PVK),
		"block": key("S00072K0TB00E0001DB045F29C053EEFF7B9425B3A88C7258EB7EA7E40E2C47878647072A", CVK),
	}}}
}

func TestFramesAreThePublishedOnes(t *testing.T) {
	c := published()
	card := hsm.CVVRequest{Key: "cvk", PAN: iso.VectorPAN("502265400089000092"), Expiry: "2010", ServiceCode: "620"}
	short := hsm.CVVRequest{Key: "cvk", PAN: iso.VectorPAN("502265000092"), Expiry: "2010", ServiceCode: "999"}
	message := map[string]func() ([]byte, error){
		"cw-payshield": func() ([]byte, error) { return c.cvvCommand(card) },
		"cw-pan12":     func() ([]byte, error) { return c.cvvCommand(short) },
		"cy":           func() ([]byte, error) { return c.verifyCommand(card, iso.NewSecret("463")) },
		"cy-pan12":     func() ([]byte, error) { return c.verifyCommand(short, iso.NewSecret("705")) },
		"bu-pvk":       func() ([]byte, error) { return c.checkValueCommand(c.settings.Keys["pvk"]), nil },
		"bu-block":     func() ([]byte, error) { return c.checkValueCommand(c.settings.Keys["block"]), nil },
		"dg-pvki1": func() ([]byte, error) {
			return pins{c}.pvvCommand(PVVRequest{Key: "pvk", PVKI: 1, PAN: iso.VectorPAN("6540008900090"), PIN: iso.NewSecret("73638636")})
		},
		"dg-pvki4": func() ([]byte, error) {
			return pins{c}.pvvCommand(PVVRequest{Key: "pvk", PVKI: 4, PAN: iso.VectorPAN("5022650000920"), PIN: iso.NewSecret("58652088")})
		},
		"ja": func() ([]byte, error) {
			return pins{c}.randomPINCommand(PINRequest{PAN: iso.VectorPAN("1234567891230"), Digits: 4})
		},
	}
	for _, v := range table(t, "frames.csv") {
		compose, known := message[v[0]]
		if !known {
			t.Fatalf("%s is not tried", v[0])
		}
		text, err := compose()
		if err != nil {
			t.Errorf("%s: %v", v[0], err)
			continue
		}
		want := append([]byte{0, byte(len(v[2]) / 2)}, unhex(t, v[2])...)
		if got := appendFrame(nil, v[1], text); !bytes.Equal(got, want) {
			t.Errorf("%s: the frame is %q, published is %q", v[0], got, want)
		}
	}
}

func TestRepliesAreReadAsPublished(t *testing.T) {
	c := published()
	c.settings.PINLength = 5
	for _, v := range table(t, "replies.csv") {
		frame := unhex(t, v[2])
		wire := bufio.NewReader(bytes.NewReader(append([]byte{0, byte(len(frame))}, frame...)))
		read, err := readFrame(wire, make([]byte, maxReply), 4)
		if err != nil {
			t.Errorf("%s: %v", v[0], err)
			continue
		}
		got, err := parseReply(read, 4)
		if want := (reply{v[3], responseTo(v[1]), v[4], v[5]}); err != nil || got != want {
			t.Errorf("%s: read as %+v (%v), is %+v", v[0], got, err, want)
		}
		if got.code == codeGood && !c.shape(v[1]).fits(got.fields) {
			t.Errorf("%s: the fields are not taken", v[0])
		}
	}
}

func TestWhatIsNoReplyIsRefused(t *testing.T) {
	for name, frame := range map[string]string{
		"nothing":             "",
		"no codes":            "0001",
		"half a code":         "0001CX0",
		"a code of no text":   "0001CX\x000561",
		"a code in lower":     "0001cx00561",
		"a header of no text": "00\xff1CX00561",
		"a value of no text":  "0001CX0056\xb1",
		"a value of control":  "0001CX0056\n",
		"an error and more":   "0001CX10561",
	} {
		if _, err := parseReply([]byte(frame), 4); !errors.Is(err, errGarbled) {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
	for name, wire := range map[string]string{
		"too long a length":  "\xff\xff0001CX00561",
		"too short a length": "\x00\x040001CX00561",
		"no length":          "\x00\x00",
	} {
		if _, err := readFrame(bufio.NewReader(strings.NewReader(wire)), make([]byte, maxReply), 4); !errors.Is(err, errGarbled) {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
}

func TestOnlyWhatBelongsBehindACodeIsTaken(t *testing.T) {
	c := published()
	aes := &Client{settings: Config{PINLength: aesPINLength}}
	sealed := "J0123456789ABCDEF0123456789ABCDEF"
	for _, test := range []struct {
		client          *Client
		command, fields string
		fits            bool
	}{
		{c, cmdCVV, "561", true}, {c, cmdCVV, "56", false}, {c, cmdCVV, "5610", false}, {c, cmdCVV, "56A", false}, {c, cmdCVV, "", false},
		{c, cmdVerifyCVV, "", true}, {c, cmdVerifyCVV, "1", false},
		{c, cmdCheckValue, "08D7B4", true}, {c, cmdCheckValue, "08D7B4D5D44FA68C", false},
		{c, cmdPVV, "0481", true}, {c, cmdPVV, "048A", false},
		{c, cmdPINBlock, "91DDDA0A7C12CFAA", true}, {c, cmdPINBlock, "91DDDA0A7C12CFA", false},
		{c, cmdRandomPIN, "73638636", true}, {c, cmdRandomPIN, "7363863", false}, {c, cmdRebindPIN, sealed, false},
		{aes, cmdRandomPIN, sealed, true}, {aes, cmdRandomPIN, sealed[1:] + "0", false}, {aes, cmdRebindPIN, sealed[:32], false},
		{c, "XX", "", false},
	} {
		if test.client.shape(test.command).fits(test.fields) != test.fits {
			t.Errorf("%s with %d characters: taken %v, must be %v", test.command, len(test.fields), !test.fits, test.fits)
		}
	}
}

// The published example is the Global Release Identifier's.
func TestCheckCharacterOfISO7064(t *testing.T) {
	if got := checkCharacter([]byte("A12425GABC1234002")); got != 'M' {
		t.Errorf("%c", got)
	}
}

func TestHeadersDifferInTwoCharacters(t *testing.T) {
	h := newHeaders(4)
	seen := map[string]bool{}
	for range h.size {
		header := h.next()
		if len(header) != 4 || seen[header] {
			t.Fatalf("header %q a second time", header)
		}
		seen[header] = true
	}
	if len(seen) != 36*36*36 {
		t.Fatalf("%d headers", len(seen))
	}
	for range 1000 {
		header := []byte(h.next())
		for place := range header {
			changed := bytes.Clone(header)
			for _, c := range []byte(headerAlphabet) {
				if changed[place] = c; c != header[place] && seen[string(changed)] {
					t.Fatalf("%s and %s differ in one character", header, changed)
				}
			}
		}
	}
	if long := newHeaders(20).next(); len(long) != 20 || !strings.HasPrefix(long, "00000000000") {
		t.Errorf("a header of 20 characters is %q", long)
	}
}

func TestEveryCodeSaysWhatToDo(t *testing.T) {
	for code, m := range meanings {
		err := error(&CodeError{Command: cmdCVV, Code: code})
		if text := err.Error(); !strings.Contains(text, "CW") || !strings.Contains(text, code) || len(m.text) < 20 || errors.Is(err, ErrStop) != m.stops {
			t.Errorf("code %s: %q", code, text)
		}
	}
	for _, code := range []string{"10", "11", "12", "13", "15", "27", "68"} {
		if !meanings[code].stops {
			t.Errorf("code %s does not stop the run", code)
		}
	}
	if err := error(&CodeError{Command: cmdCVV, Code: "99"}); errors.Is(err, ErrStop) || !strings.Contains(err.Error(), "manual") {
		t.Errorf("an unknown code: %v", err)
	}
	for _, command := range []string{cmdDiagnose, cmdCheckValue, cmdCVV, cmdVerifyCVV, cmdRandomPIN, cmdPVV, cmdPINBlock, cmdRebindPIN} {
		if purposes[command] == "" {
			t.Errorf("%s has no purpose", command)
		}
	}
}

// FuzzReply: whatever arrives is taken apart whole, or refused; and what is
// taken for a value has the form of one.
func FuzzReply(f *testing.F) {
	for _, v := range table(f, "replies.csv") {
		f.Add(unhex(f, v[2]), 4)
	}
	f.Add([]byte("00000001CX00561"), 8)
	f.Add([]byte{}, 4)
	c := published()
	f.Fuzz(func(t *testing.T, frame []byte, headerLength int) {
		if headerLength < MinHeaderLength || headerLength > maxHeaderLength {
			return
		}
		r, err := parseReply(frame, headerLength)
		if err != nil {
			if !errors.Is(err, errGarbled) || r != (reply{}) {
				t.Errorf("refused with %v and a reply", err)
			}
			return
		}
		if r.header+r.response+r.code+r.fields != string(frame) {
			t.Error("the parts are not the frame")
		}
		if c.shape(cmdCVV).fits(r.fields) && (len(r.fields) != 3 || strings.Trim(r.fields, "0123456789") != "") {
			t.Error("no card verification value was taken for one")
		}
		if len(frame) > maxReply {
			return
		}
		wire := append([]byte{byte(len(frame) >> 8), byte(len(frame))}, frame...)
		read, err := readFrame(bufio.NewReader(bytes.NewReader(wire)), make([]byte, maxReply), headerLength)
		if err != nil || !bytes.Equal(read, frame) {
			t.Errorf("the frame is read as another: %v", err)
		}
		if text := fmt.Sprintf("%v", &CodeError{Command: cmdCVV, Code: r.code}); text == "" {
			t.Error("a code without a sentence")
		}
	})
}
