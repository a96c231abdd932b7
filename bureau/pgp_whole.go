package bureau

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// ErrCut: the message ends before its last packet does.
var ErrCut = errors.New("the message ends before its end")

// armourStart is how every armoured message begins.
const armourStart = "-----BEGIN PGP"

// Whole walks over the packets of an OpenPGP message, binary or armoured,
// without opening any: nil when the last one ends where the message does,
// [ErrCut] when it is still being written or was cut short. Any other damage is
// for [Open] to find, which tells damage and a cut by one word on purpose.
//
// Packet headers and lengths: RFC 9580, 4.2.
func Whole(r io.Reader) error {
	start := bufio.NewReader(r)
	if head, _ := start.Peek(len(armourStart)); len(head) < len(armourStart) && bytes.HasPrefix([]byte(armourStart), head) {
		return ErrCut
	}
	source, err := withoutArmour(start)
	if err != nil {
		return ErrCut
	}
	in := bufio.NewReader(source)
	content := false // the packet with the encrypted content was seen; the keys to it come first
	for {
		tag, err := in.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && content:
			return nil
		case err != nil:
			return ErrCut
		case tag&0x80 == 0:
			return nil // no packet begins so
		}
		if err := skipPacket(in, tag); err != nil {
			return err
		}
		content = content || holdsContent(tag)
	}
}

// holdsContent: symmetrically encrypted data, integrity protected or not (RFC 9580, 5).
func holdsContent(tag byte) bool {
	kind := tag & 0x3f
	if tag&0x40 == 0 {
		kind = tag >> 2 & 0xf
	}
	return kind == 9 || kind == 18 || kind == 20
}

// skipPacket reads the body that follows a packet's first byte.
func skipPacket(in *bufio.Reader, tag byte) error {
	for {
		length, more, err := packetLength(in, tag)
		if err != nil {
			return ErrCut
		}
		if length < 0 { // to the end of the message: whether it is all there cannot be seen
			_, err := io.Copy(io.Discard, in)
			return err
		}
		if n, err := io.CopyN(io.Discard, in, length); n < length || err != nil {
			return ErrCut
		}
		if !more {
			return nil
		}
	}
}

// packetLength reads a length; more says that another part of the body follows. -1 is an unknown length.
func packetLength(in *bufio.Reader, tag byte) (length int64, more bool, err error) {
	if tag&0x40 == 0 { // the legacy format: the size of the length stands in the tag
		if tag&3 == 3 {
			return -1, false, nil
		}
		length, err = bigEndian(in, 1<<(tag&3))
		return length, false, err
	}
	first, err := in.ReadByte()
	switch {
	case err != nil:
		return 0, false, err
	case first < 192:
		return int64(first), false, nil
	case first < 224:
		second, err := in.ReadByte()
		return int64(first-192)<<8 + int64(second) + 192, false, err
	case first < 255:
		return 1 << (first & 0x1f), true, nil
	}
	length, err = bigEndian(in, 4)
	return length, false, err
}

func bigEndian(in *bufio.Reader, size int) (int64, error) {
	var bytes [8]byte
	_, err := io.ReadFull(in, bytes[8-size:])
	return int64(binary.BigEndian.Uint64(bytes[:])), err
}
