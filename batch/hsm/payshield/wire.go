package payshield

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// Sizes on the wire, in bytes.
const (
	lengthSize = 2   // big-endian count of the bytes that follow
	codeSize   = 2   // a command, a response code, an error code
	maxReply   = 512 // without its length; the longest reply of our commands has 80
)

// errGarbled is a reply that cannot be one to anything we sent. What it says is
// not used, and the connection that brought it is closed.
var errGarbled = errors.New("the HSM sent something that is no reply to what was asked")

// appendFrame puts length, header and message (command and fields) behind dst.
func appendFrame(dst []byte, header string, message []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(header)+len(message)))
	dst = append(dst, header...)
	return append(dst, message...)
}

// readFrame reads one frame and gives what follows its length. The buffer is used again.
func readFrame(r *bufio.Reader, buffer []byte, headerLength int) ([]byte, error) {
	if _, err := io.ReadFull(r, buffer[:lengthSize]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(buffer))
	if n < headerLength+2*codeSize || n > maxReply {
		return nil, fmt.Errorf("%w: a frame of %d bytes", errGarbled, n)
	}
	if _, err := io.ReadFull(r, buffer[:n]); err != nil {
		return nil, err
	}
	return buffer[:n], nil
}

// reply is a frame taken apart: header ‖ response code ‖ error code ‖ fields.
// The fields are card data.
type reply struct {
	header, response, code, fields string
}

// parseReply takes a frame apart without its length. It fails, with an error
// that wraps errGarbled, when the frame is too short, when codes are not of
// digits and capital letters, when a field has a byte that is not printable
// ASCII, and when an error code other than 00 is followed by anything.
func parseReply(frame []byte, headerLength int) (reply, error) {
	if len(frame) < headerLength+2*codeSize {
		return reply{}, fmt.Errorf("%w: only %d bytes", errGarbled, len(frame))
	}
	text := string(frame)
	r := reply{header: text[:headerLength], fields: text[headerLength+2*codeSize:]}
	r.response, r.code = text[headerLength:headerLength+codeSize], text[headerLength+codeSize:headerLength+2*codeSize]
	switch {
	case !all(r.response+r.code, isCodeCharacter):
		return reply{}, fmt.Errorf("%w: its codes are no codes", errGarbled)
	case !all(r.header+r.fields, isPrintable):
		return reply{}, fmt.Errorf("%w: it has bytes that are no text", errGarbled)
	case r.code != codeGood && r.fields != "":
		return reply{}, fmt.Errorf("%w: error code %s with %d characters behind it", errGarbled, r.code, len(r.fields))
	}
	return r, nil
}

// responseTo is the response code of a command: its second letter plus one.
func responseTo(command string) string { return command[:1] + string(command[1]+1) }

func all(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool         { return c >= '0' && c <= '9' }
func isHex(c byte) bool           { return isDigit(c) || c >= 'A' && c <= 'F' }
func isCodeCharacter(c byte) bool { return isDigit(c) || c >= 'A' && c <= 'Z' }
func isPrintable(c byte) bool     { return c >= ' ' && c <= '~' }

// headerAlphabet is of characters that every HSM gives back unchanged.
const headerAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// headers makes the message headers of one connection, by which replies are
// matched to commands. A header is a counter and a check character (ISO/IEC
// 7064, MOD 37,36): one changed character never makes another valid header. It
// comes again only after all others.
type headers struct {
	length  int // characters, the check character among them
	counter uint64
	size    uint64 // number of different headers
}

// MinHeaderLength is the shortest message header that keeps replies apart:
// three characters count, one checks.
const MinHeaderLength = 4

// countingCharacters bounds the counter; longer headers begin with zeros.
const countingCharacters = 8

func newHeaders(length int) *headers {
	h := &headers{length: length, size: 1}
	for range min(length-1, countingCharacters) {
		h.size *= uint64(len(headerAlphabet))
	}
	h.counter = rand.Uint64N(h.size) // connections that a balancer mixes up shall differ
	return h
}

func (h *headers) next() string {
	h.counter = (h.counter + 1) % h.size
	header := make([]byte, h.length)
	for i, n := h.length-2, h.counter; i >= 0; i-- {
		header[i] = headerAlphabet[n%36]
		n /= 36
	}
	header[h.length-1] = checkCharacter(header[:h.length-1])
	return string(header)
}

// checkCharacter is that of ISO/IEC 7064 MOD 37,36 for text of the alphabet.
func checkCharacter(text []byte) byte {
	p := 36
	for _, c := range text {
		s := (p + strings.IndexByte(headerAlphabet, c)) % 36
		if s == 0 {
			s = 36
		}
		p = s * 2 % 37
	}
	return headerAlphabet[(37-p)%36]
}
