package bureau

import (
	"bytes"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Form is what the beginning of a file shows it to be.
type Form string

// The forms. What is signed within a message is mostly compressed as well, so
// that nothing of the text can be seen; clear-signed text can.
const (
	NotPGP      Form = ""
	ClearSigned Form = "clear-signed text"
	Signed      Form = "a signed or compressed message"
	Encrypted   Form = "an encrypted message"
	Signature   Form = "a signature"   // most likely a detached one: without the text that it is of
	OtherPGP    Form = "PGP in armour" // a key, or what cannot be read further
)

// FormHead is how many bytes [FormOf] wants to see.
const FormHead = 4096

// FormOf recognises an OpenPGP message by its first bytes, and says where it
// begins: blanks and a byte order mark before an armour are passed over. Text
// that happens to begin with a letter such as Ä, whose bytes could begin a
// packet, is told from one by the version that a packet's body begins with
// (RFC 9580, 4.2 and 5).
func FormOf(head []byte) (form Form, begins int) {
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	if !bytes.HasPrefix(text, []byte(armourStart)) {
		return packetForm(head), 0
	}
	begins = len(head) - len(text)
	if bytes.HasPrefix(text, []byte(clearSignedStart)) {
		return ClearSigned, begins
	}
	block, err := armor.Decode(bytes.NewReader(text))
	switch {
	case err != nil:
		return OtherPGP, begins
	case block.Type == openpgp.SignatureType:
		return Signature, begins
	case block.Type != openpgp.MessageType:
		return OtherPGP, begins
	}
	packet := make([]byte, 16)
	n, _ := io.ReadFull(block.Body, packet) // a head that ends early ends the armour early
	if form = packetForm(packet[:n]); form == NotPGP {
		form = OtherPGP
	}
	return form, begins
}

// packetForm looks at a packet's tag and at the first byte of its body.
func packetForm(head []byte) Form {
	if len(head) < 2 || head[0]&0x80 == 0 {
		return NotPGP
	}
	tag, at := head[0]&0x3f, 1
	if head[0]&0x40 != 0 {
		switch first := head[1]; {
		case first < 192, first >= 224 && first < 255:
			at += 1
		case first < 224:
			at += 2
		default:
			at += 5
		}
	} else {
		tag = head[0] >> 2 & 0xf
		at += []int{1, 2, 4, 0}[head[0]&3]
	}
	if at >= len(head) {
		return NotPGP
	}
	return formOfPacket(tag, head[at])
}

// formOfPacket: tags of RFC 9580, 5, each with what its body begins with.
func formOfPacket(tag, first byte) Form {
	version := func(known ...byte) bool { return bytes.IndexByte(known, first) >= 0 }
	switch {
	case tag == 1 && version(2, 3, 6), tag == 3 && version(4, 5, 6), tag == 18 && version(1, 2), tag == 20 && version(1):
		return Encrypted
	case tag == 2 && version(3, 4, 5, 6):
		return Signature
	case tag == 4 && version(3, 6), tag == 8 && version(0, 1, 2, 3), tag == 11 && version('b', 't', 'u'):
		return Signed
	}
	return NotPGP
}
