package bureau

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Errors of [Open], told by its verdict function and by the reader.
var (
	ErrNotReadToEnd  = errors.New("the content was not read to its end, so nobody checked it")
	ErrNotEncrypted  = errors.New("the message is not encrypted")
	ErrNotSigned     = errors.New("the message is not signed")
	ErrUnknownSigner = errors.New("the message is signed by nobody we know")
	ErrBadSignature  = errors.New("the signature does not hold")
)

// Open decrypts an OpenPGP message, binary or armoured, with private or with one
// of former, private keys that it replaced. The
// content is only good after the reader gave io.EOF and the verdict function
// a nil error: until then nothing of it may have an effect.
//
// The verdict is the fingerprint of the signer, who must be one of signers (their
// keys were checked when they were read). Without signers the
// signature is not looked at, the verdict is "" and only the modification
// detection code was checked. A message without such a code, or one that is not
// encrypted, is refused.
func Open(r io.Reader, private *Key, signers []*Key, former ...*Key) (io.Reader, func() (signer string, err error)) {
	o := &opening{source: r, private: private, former: former, signers: signers}
	return o, o.verdict
}

type opening struct {
	source  io.Reader
	private *Key
	former  []*Key
	signers []*Key
	message *openpgp.MessageDetails
	err     error // sticky; io.EOF at the good end
}

func (o *opening) Read(p []byte) (int, error) {
	if o.err == nil && o.message == nil {
		o.err = o.begin()
	}
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.message.UnverifiedBody.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("open a pgp message: it was changed or cut on its way: %w", err)
	}
	o.err = err
	return n, err
}

func (o *opening) begin() error {
	if o.private == nil || !o.private.IsPrivate() {
		return &KeyError{Kind: KeyNotPrivate, Detail: "a message is to be opened and the private key is not there"}
	}
	source, err := withoutArmour(o.source)
	if err != nil {
		return fmt.Errorf("open a pgp message: %w", err)
	}
	// The zero time: whether a signature's time fits our clock is not asked,
	// that the signing key was good at the signature's time is.
	config := &packet.Config{Time: func() time.Time { return time.Time{} }}
	message, err := openpgp.ReadMessage(source, o.keyring(), nil, config)
	if err != nil {
		return fmt.Errorf("open a pgp message with key %s: %w", o.private.Fingerprint(), err)
	}
	if !message.IsEncrypted {
		return fmt.Errorf("open a pgp message: %w", ErrNotEncrypted)
	}
	o.message = message
	return nil
}

func (o *opening) keyring() openpgp.EntityList {
	ring := openpgp.EntityList{}
	for _, key := range o.signers {
		ring = append(ring, key.entity)
	}
	for _, key := range o.former {
		ring = append(ring, key.entity)
	}
	return append(ring, o.private.entity)
}

func withoutArmour(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(r, sealBuffer)
	start, _ := buffered.Peek(len(armourStart))
	if !bytes.HasPrefix(start, []byte(armourStart)) {
		return buffered, nil
	}
	block, err := armor.Decode(buffered)
	if err != nil {
		return nil, err
	}
	if block.Type != openpgp.MessageType {
		return nil, fmt.Errorf("the armour says %s, not %s", block.Type, openpgp.MessageType)
	}
	return block.Body, nil
}

func (o *opening) verdict() (string, error) {
	switch {
	case o.err == nil:
		return "", ErrNotReadToEnd
	case o.err != io.EOF:
		return "", o.err
	case len(o.signers) == 0:
		return "", nil
	case !o.message.IsSigned:
		return "", ErrNotSigned
	case o.message.SignatureError != nil:
		if !o.anyKnownIssuer() {
			return "", ErrUnknownSigner
		}
		return "", fmt.Errorf("%w: %w", ErrBadSignature, o.message.SignatureError)
	case !o.message.IsVerified || o.message.SignedBy == nil:
		return "", ErrUnknownSigner
	}
	by := fingerprintOf(o.message.SignedBy.Entity)
	for _, key := range o.signers {
		if key.Fingerprint() == by {
			return by, nil
		}
	}
	return "", ErrUnknownSigner // our own private key is in the ring, and is no signer by that
}

func (o *opening) anyKnownIssuer() bool {
	for _, candidate := range o.message.SignatureCandidates {
		if candidate.SignedByEntity != nil {
			return true
		}
	}
	return false
}
