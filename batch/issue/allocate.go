package issue

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"reemboss/batch/ledger"
	"reemboss/formats/iso"
)

// ErrRangeExhausted: the counter is past the last number of the range.
var ErrRangeExhausted = errors.New("the range of card numbers has no number left")

// ff1Smallest is the smallest range that FF1 may permute (NIST SP 800-38G revision 1).
const ff1Smallest = 1_000_000

// Allocator gives the numbers of a PAN range in an order that nobody without
// the key can foretell: a permutation of a stored counter. The same counter
// gives the same number for ever, two counters never give one number, and no
// look-up is needed. So a rerun gives the same PAN, and the ledger keeps
// nothing but the counter.
//
// From a million numbers on the permutation is FF1 over the range's place in
// the next power of ten, walked until it falls into the range (at worst ten
// steps on average, just above a power of ten). Below that it is a list
// shuffled with the key, made anew in memory each time: on a disk it would be
// the cards of the future.
//
// An Allocator may be used by several goroutines.
type Allocator struct {
	prefix string
	body   int // digits between prefix and check digit
	from   int64
	size   int64
	ff1    *ff1
	list   []uint32
}

// NewAllocator checks the parameters of a range and makes its permutation. key
// is the AES key that the keyset has under p.Key. The parameters decide the
// order: none may change once a number was given (the ledger holds that).
func NewAllocator(p ledger.RangeParams, key []byte) (*Allocator, error) {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("range %s: %w", p.Name, fmt.Errorf(format, args...))
	}
	tweak, err := hex.DecodeString(p.Tweak)
	if err != nil {
		return nil, wrong("the tweak is not hexadecimal")
	}
	body := p.PANLength - len(p.Prefix) - 1
	switch {
	case p.PANLength < iso.MinPANLength || p.PANLength > iso.MaxPANLength:
		return nil, wrong("a card number has %d to %d digits, not %d", iso.MinPANLength, iso.MaxPANLength, p.PANLength)
	case p.Prefix == "" || strings.Trim(p.Prefix, "0123456789") != "":
		return nil, wrong("the prefix %q is not digits", p.Prefix)
	case body < 1:
		return nil, wrong("a prefix of %d digits leaves none of %d to give", len(p.Prefix), p.PANLength)
	case p.From < 0 || p.To < p.From:
		return nil, wrong("from %d to %d is no range", p.From, p.To)
	case p.To > int64(power10(body))-1:
		return nil, wrong("to %d has more than the %d digits between prefix and check digit", p.To, body)
	}
	a := &Allocator{prefix: p.Prefix, body: body, from: p.From, size: p.To - p.From + 1}
	if a.size < ff1Smallest {
		a.list, err = shuffled(p, key, int(a.size))
	} else {
		a.ff1, err = newFF1(key, tweak, len(strconv.FormatInt(a.size-1, 10)))
	}
	if err != nil {
		return nil, wrong("%w", err)
	}
	return a, nil
}

// Size is how many numbers the range has.
func (a *Allocator) Size() int64 { return a.size }

// At gives the number of a counter from 0 to Size()-1; [ErrRangeExhausted] beyond.
func (a *Allocator) At(counter int64) (iso.PAN, error) {
	if counter < 0 {
		return iso.PAN{}, fmt.Errorf("a counter of a range is not negative: %d", counter)
	}
	if counter >= a.size {
		return iso.PAN{}, ErrRangeExhausted
	}
	digits := make([]byte, 0, iso.MaxPANLength)
	digits = append(digits, a.prefix...)
	digits = appendPadded(digits, a.from+a.place(counter), a.body)
	return iso.ParsePAN(string(append(digits, iso.LuhnDigit(string(digits)))))
}

// place is the permutation of 0 to size-1.
func (a *Allocator) place(counter int64) int64 {
	if a.list != nil {
		return int64(a.list[counter])
	}
	// The walk ends: it follows one cycle of a permutation, which comes back to counter.
	x := a.ff1.permute(uint64(counter))
	for x >= uint64(a.size) {
		x = a.ff1.permute(x)
	}
	return int64(x)
}

// appendPadded appends n as width digits.
func appendPadded(b []byte, n int64, width int) []byte {
	start := len(b)
	for range width {
		b = append(b, '0')
	}
	for i := len(b) - 1; i >= start; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// shuffled is the list 0 to size-1 in the order of Fisher and Yates, drawn from
// AES-CTR under a key that the allocation key and the range's parameters give.
func shuffled(p ledger.RangeParams, key []byte, size int) ([]uint32, error) {
	if n := len(key); n != 16 && n != 24 && n != 32 {
		return nil, fmt.Errorf("an allocation key has 16, 24 or 32 bytes, not %d", n)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "reemboss shuffled range 1\n%s\n%d\n%d\n%d\n%s", p.Prefix, p.PANLength, p.From, p.To, strings.ToLower(p.Tweak))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		return nil, err
	}
	draw := &drawer{stream: cipher.NewCTR(block, make([]byte, aes.BlockSize))}
	list := make([]uint32, size)
	for i := range list {
		list[i] = uint32(i)
	}
	for i := size - 1; i > 0; i-- {
		j := draw.below(uint32(i + 1))
		list[i], list[j] = list[j], list[i]
	}
	return list, nil
}

// drawer draws numbers from a key stream.
type drawer struct {
	stream cipher.Stream
	buffer [512]byte
	left   int
}

// below draws a number below n, each as likely: draws from the incomplete end of 2^32 are thrown away.
func (d *drawer) below(n uint32) uint32 {
	limit := ^uint32(0) - (^uint32(0)%n+1)%n
	for {
		if x := d.next(); x <= limit {
			return x % n
		}
	}
}

func (d *drawer) next() uint32 {
	if d.left == 0 {
		clear(d.buffer[:])
		d.stream.XORKeyStream(d.buffer[:], d.buffer[:])
		d.left = len(d.buffer)
	}
	x := binary.BigEndian.Uint32(d.buffer[len(d.buffer)-d.left:])
	d.left -= 4
	return x
}

// fillThresholds are the percentages of a range at which operations are warned; at the last it stops.
var fillThresholds = [...]int{100, 90, 70, 50}

// FillWarning gives the highest of the thresholds 50, 70, 90 and 100 per cent
// that counter of size has reached, 0 below them. A night that began with a lower
// one has crossed it.
func FillWarning(counter, size int64) int {
	if size <= 0 {
		return 100
	}
	for _, percent := range fillThresholds {
		if float64(counter)*100 >= float64(percent)*float64(size) {
			return percent
		}
	}
	return 0
}
