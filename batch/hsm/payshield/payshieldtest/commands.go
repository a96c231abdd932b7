package payshieldtest

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
)

// refusal is an error code; processing ends with it.
type refusal string

// Error codes that the simulator gives by itself.
const (
	verificationFailed refusal = "01"
	badKeyType         refusal = "04"
	badKeyLengthFlag   refusal = "05"
	badParity          refusal = "10"
	badDestination     refusal = "11"
	noLMK              refusal = "13"
	badPIN             refusal = "14"
	badInput           refusal = "15"
	badFormat          refusal = "23"
	notDouble          refusal = "27"
	disabled           refusal = "68"
	notAuthentic       refusal = "A4"
)

// fields are read from left to right; a panic with a refusal ends the command.
type fields struct {
	rest string
	sim  *Simulator
}

func (f *fields) take(n int, alphabet string) string {
	if len(f.rest) < n || strings.Trim(f.rest[:n], alphabet) != "" {
		panic(badInput)
	}
	taken := f.rest[:n]
	f.rest = f.rest[n:]
	return taken
}

const (
	decimal     = "0123456789"
	hexadecimal = "0123456789ABCDEF"
)

func (f *fields) literal(s string) {
	rest, ok := strings.CutPrefix(f.rest, s)
	if !ok {
		panic(badInput)
	}
	f.rest = rest
}

func (f *fields) end() {
	if f.rest != "" {
		panic(badInput)
	}
}

// key reads a token and decrypts it; a key of wrong parity is refused with the given code.
func (f *fields) key(kind string, parity refusal) []byte {
	if f.rest == "" {
		panic(badInput)
	}
	var key []byte
	switch scheme := f.rest[0]; scheme {
	case 'S':
		token := f.take(1+blockLength, "S"+hexadecimal+"TNVP")
		f.sim.mu.Lock()
		key = f.sim.blocks[token]
		f.sim.mu.Unlock()
		if key == nil || token[6:8] != blockUsages[kind] && kind != "FFF" {
			panic(notAuthentic)
		}
		return key
	case 'Z':
		panic(notDouble)
	case 'U', 'X':
		f.rest = f.rest[1:]
		key = openToken(kind, scheme, unhex(f.take(32, hexadecimal)))
	default: // no scheme: as X
		key = openToken(kind, 'X', unhex(f.take(32, hexadecimal)))
	}
	if !oddParity(key) {
		panic(parity)
	}
	return key
}

// answer carries out a command: error code and fields of the reply.
func (s *Simulator) answer(command, rest string) (code, result string) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case refusal:
			code, result = string(r), ""
		default:
			panic(r)
		}
	}()
	if s.Disabled[command] {
		return string(disabled), ""
	}
	rest, lmk, named := strings.Cut(rest, "%")
	if named && lmk != "00" {
		return string(noLMK), ""
	}
	f := &fields{rest: rest, sim: s}
	switch command {
	case "NC":
		f.end()
		result = s.check() + "1234-0001"
	case "BU":
		result = f.checkValue()
	case "CW":
		result = f.cvv(f.key(CVK, badParity))
	case "CY":
		f.verifyCVV()
	case "JA":
		result = f.randomPIN()
	case "DG":
		result = f.pvv()
	case "JG":
		result = f.pinBlock()
	case "QK":
		result = f.rebind()
	default:
		return string(badInput), ""
	}
	return "00", result
}

func (s *Simulator) check() string {
	if s.Check != "" {
		return s.Check
	}
	return LMKCheck
}

// checkValue reads the old form (key type code of two digits) and the new one (FF, key type behind a delimiter).
func (f *fields) checkValue() string {
	old, length := f.take(2, hexadecimal), f.take(1, "012F")
	kind := map[string]string{"00": ZMK, "01": ZPK, "02": PVK, "42": CVK}[old]
	if old == "FF" {
		token, typed, _ := strings.Cut(f.rest, ";")
		if len(typed) < 3 {
			panic(badKeyType)
		}
		kind, f.rest = typed[:3], token+typed[3:]
	}
	if _, _, known := protector(kind); !known && kind != "FFF" {
		panic(badKeyType)
	}
	if (length == "F") != (kind == "FFF") || length == "0" {
		panic(badKeyLengthFlag)
	}
	key := f.key(kind, badParity)
	if f.rest == "" {
		return longKCV(key)
	}
	f.literal(";00")
	short := f.take(1, "01") == "1"
	f.end()
	if short {
		return KCV(key)
	}
	return longKCV(key)
}

// cvv computes the card verification value as the payment systems describe it, in text.
func (f *fields) cvv(key []byte) string {
	pan, rest, delimited := strings.Cut(f.rest, ";")
	if !delimited || len(pan) < 12 || len(pan) > 19 || strings.Trim(pan, decimal) != "" {
		panic(badInput)
	}
	f.rest = rest
	digits := pan + f.take(7, decimal)
	f.end()
	packed := unhex((digits + strings.Repeat("0", 32))[:32])
	single, block := packed[:8], packed[8:]
	desUnder(key[:8], single)
	for i := range block {
		block[i] ^= single[i]
	}
	tripleDES(key).Encrypt(block, block)
	return decimalDigits(block, 3)
}

func (f *fields) verifyCVV() {
	key := f.key(CVK, badParity)
	claimed := f.take(3, decimal)
	if f.cvv(key) != claimed {
		panic(verificationFailed)
	}
}

func desUnder(key, block []byte) {
	tripleDES(append(append([]byte(nil), key...), key...)).Encrypt(block, block)
}

// decimalDigits takes the decimal digits of the hexadecimal form, then A–F as 0–5.
func decimalDigits(block []byte, n int) string {
	var first, second strings.Builder
	for _, c := range hex.EncodeToString(block) {
		if c <= '9' {
			first.WriteRune(c)
		} else {
			second.WriteRune(c - 'a' + '0')
		}
	}
	return (first.String() + second.String())[:n]
}

func (f *fields) randomPIN() string {
	account := f.take(12, decimal)
	length := 4
	if f.rest != "" {
		_, _ = fmt.Sscanf(f.take(2, decimal), "%d", &length)
	}
	f.end()
	if length < 4 || length > 12 || length >= f.sim.pinLength() {
		panic(badInput)
	}
	var pin strings.Builder
	for range length {
		digit, err := rand.Int(rand.Reader, big.NewInt(10))
		if err != nil {
			panic(err)
		}
		pin.WriteString(digit.String())
	}
	return f.sim.SealPIN(account, pin.String())
}

func (f *fields) pvv() string {
	key := f.key(PVK, badParity)
	sealed, account, index := f.take(f.sim.pinLength(), hexadecimal), f.take(12, decimal), f.take(1, decimal)
	f.end()
	return visaPVV(key, account, index, f.sim.openPIN(account, sealed))
}

// visaPVV encrypts eleven digits of the account, the key index and four digits of the PIN.
func visaPVV(key []byte, account, index, pin string) string {
	block := unhex(account[1:] + index + pin[:4])
	tripleDES(key).Encrypt(block, block)
	return decimalDigits(block, 4)
}

func (f *fields) pinBlock() string {
	key := f.key(ZPK, badDestination)
	format, account, sealed := f.take(2, decimal), f.take(12, decimal), f.take(f.sim.pinLength(), hexadecimal)
	f.end()
	pin := f.sim.openPIN(account, sealed)
	var block []byte
	switch format {
	case "01":
		block = isoBlock('0', pin, "FFFFFFFFFFFFFF", account)
	case "47":
		block = isoBlock('3', pin, randomFill(), account)
	default:
		panic(badFormat)
	}
	tripleDES(key).Encrypt(block, block)
	return strings.ToUpper(hex.EncodeToString(block))
}

// isoBlock is the clear PIN block of ISO 9564-1, formats 0 and 3.
func isoBlock(format byte, pin, fill, account string) []byte {
	block := unhex((fmt.Sprintf("%c%X%s", format, len(pin), pin) + fill)[:16])
	for i, b := range unhex("0000" + account) {
		block[i] ^= b
	}
	return block
}

// randomFill is of the digits A to F.
func randomFill() string {
	var fill [14]byte
	_, _ = rand.Read(fill[:])
	for i, b := range fill {
		fill[i] = 'A' + b%6
	}
	return string(fill[:])
}

func (f *fields) rebind() string {
	sealed, old, account := f.take(f.sim.pinLength(), hexadecimal), f.take(12, decimal), f.take(12, decimal)
	f.end()
	return f.sim.SealPIN(account, f.sim.openPIN(old, sealed))
}

func (s *Simulator) pinLength() int {
	if s.PINLength != 0 {
		return s.PINLength
	}
	return 5
}

// SealPIN encrypts a PIN under the simulator's LMK and binds it to the twelve
// account digits. The algorithm of real modules is secret; this one is the
// simulator's own: a PIN bound to another account does not open.
func (s *Simulator) SealPIN(account, pin string) string {
	return s.mask(account, (pin + strings.Repeat("F", s.pinLength()))[:s.pinLength()])
}

// openPIN refuses what is no PIN for the account.
func (s *Simulator) openPIN(account, sealed string) string {
	filled := s.mask(account, sealed)
	pin := strings.TrimRight(filled, "F")
	if len(pin) < 4 || len(pin) > 12 || len(pin) == len(filled) || strings.Trim(pin, decimal) != "" {
		panic(badPIN)
	}
	return pin
}

// mask adds a key stream of the account, hexadecimal digit by digit; twice gives the text again.
func (s *Simulator) mask(account, text string) string {
	stream := unhex("0000" + account)
	tripleDES(pair0203).Encrypt(stream, stream)
	key := strings.ToUpper(hex.EncodeToString(stream))
	var out strings.Builder
	for i := range text {
		out.WriteByte(hexadecimal[strings.IndexByte(hexadecimal, text[i])^strings.IndexByte(hexadecimal, key[i])])
	}
	return out.String()
}
