package bureau

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// ErrTooLong: the content of a signed message is longer than its reader allows.
var ErrTooLong = errors.New("the signed content is longer than is taken")

// ClockSkew is how far in the future of this machine's clock a signature may have been made.
const ClockSkew = 5 * time.Minute

// clearSignedStart is how a clear-signed message begins (RFC 9580, 7).
const clearSignedStart = "-----BEGIN PGP SIGNED MESSAGE-----"

// ReadSigned reads a message that somebody signed, whole into memory and to its
// end: clear-signed, or signed within the message, binary or armoured, and also
// encrypted to us. The content is at most limit bytes ([ErrTooLong]).
//
// Those of keys whose private half is there (ours) open it; the others are
// whose signature is taken, see [ReadSignerKey]. The message must have exactly one
// signature, by a key that is good both now and at, the time of the signature,
// which is not more than [ClockSkew] in the future; how old it may be is for
// the caller. Else the error is or wraps [ErrNotSigned], [ErrUnknownSigner],
// [ErrBadSignature] or [*KeyError]; any other means that it is no message that
// can be read. Nothing of the content is given with an error.
//
// Of clear-signed text the blanks and tabs at the ends of lines are not part of
// what is signed, and are not given. Line ends of a text (clear-signed, or signed
// in text mode) are not either; they are given as line feeds.
func ReadSigned(r io.Reader, limit int64, keys []*Key, now time.Time) (content []byte, signer *Key, at time.Time, err error) {
	unpacked := limit + sealBuffer // the packets around the content have their share
	config := &packet.Config{MaxDecompressedMessageSize: &unpacked,
		// The zero time: the age of a signature is judged below, in words.
		Time: func() time.Time { return time.Time{} }}
	in := bufio.NewReaderSize(r, sealBuffer)
	head, _ := in.Peek(len(clearSignedStart))
	if string(head) == clearSignedStart {
		return readClearSigned(in, limit, keys, config, now)
	}
	source, err := withoutArmour(in)
	if err != nil {
		return nil, nil, at, fmt.Errorf("read a signed message: %w", err)
	}
	message, err := openpgp.ReadMessage(source, ringOf(keys), nil, config)
	if err != nil {
		return nil, nil, at, fmt.Errorf("read a signed message: %w", err)
	}
	content, err = readBody(message, limit)
	if err != nil {
		return nil, nil, at, err
	}
	if signer, at, err = signedBy(message, keys, now); err != nil {
		return nil, nil, at, err
	}
	if message.Signature.SigType == packet.SigTypeText {
		content, err = settledLines(content)
	}
	return content, signer, at, err
}

// settledLines is a text as its signature covers it, with one line feed at the
// end of a line: such a signature holds for any line ends, and the same text
// must be the same bytes whatever was made of them on the way (RFC 9580, 5.2.1.2).
func settledLines(text []byte) ([]byte, error) {
	canonical, err := io.ReadAll(openpgp.NewCanonicalTextReader(bytes.NewReader(text)))
	if err != nil {
		return nil, fmt.Errorf("read a signed message: %w", err)
	}
	return bytes.ReplaceAll(canonical, []byte("\r\n"), []byte("\n")), nil
}

// readClearSigned takes a message only where nothing stands before or after it: what is not signed must not seem to be.
func readClearSigned(r io.Reader, limit int64, keys []*Key, config *packet.Config, now time.Time) (content []byte, signer *Key, at time.Time, err error) {
	text, err := io.ReadAll(io.LimitReader(r, 2*limit+sealBuffer+1)) // every line may be one blank line, dash-escaped
	if err != nil {
		return nil, nil, at, fmt.Errorf("read a clear-signed message: %w", err)
	}
	if int64(len(text)) > 2*limit+sealBuffer {
		return nil, nil, at, ErrTooLong
	}
	block, rest := clearsign.Decode(text)
	switch {
	case block == nil:
		return nil, nil, at, errors.New("read a clear-signed message: it is cut or damaged")
	case block.ArmoredSignature.Type != openpgp.SignatureType:
		return nil, nil, at, errors.New("read a clear-signed message: no signature follows its text")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, nil, at, fmt.Errorf("%w: something follows it", ErrBadSignature)
	case int64(len(block.Plaintext)) > limit:
		return nil, nil, at, ErrTooLong
	}
	message, err := openpgp.VerifyDetachedSignatureReader(ringOf(keys), bytes.NewReader(block.Bytes), block.ArmoredSignature.Body, config)
	if err != nil {
		return nil, nil, at, fmt.Errorf("read a clear-signed message: %w", err)
	}
	if _, err := io.Copy(io.Discard, message.UnverifiedBody); err != nil {
		return nil, nil, at, fmt.Errorf("read a clear-signed message: %w", err)
	}
	if signer, at, err = signedBy(message, keys, now); err != nil {
		return nil, nil, at, err
	}
	return block.Plaintext, signer, at, nil
}

func ringOf(keys []*Key) openpgp.EntityList {
	ring := openpgp.EntityList{}
	for _, key := range keys {
		ring = append(ring, key.entity)
	}
	return ring
}

func readBody(message *openpgp.MessageDetails, limit int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(message.UnverifiedBody, limit+1))
	if errors.Is(err, pgperrors.ErrMessageTooLarge) { // compressed, it unpacks to more than there is room for
		return nil, ErrTooLong
	}
	if err != nil {
		return nil, fmt.Errorf("read a signed message: it was changed or cut on its way: %w", err)
	}
	if int64(len(content)) > limit {
		return nil, ErrTooLong
	}
	return content, nil
}

// signedBy judges the one signature of a message that was read to its end.
func signedBy(message *openpgp.MessageDetails, keys []*Key, now time.Time) (*Key, time.Time, error) {
	var never time.Time
	switch n := len(message.SignatureCandidates); {
	case !message.IsSigned || n == 0:
		return nil, never, ErrNotSigned
	case n > 1:
		return nil, never, fmt.Errorf("%w: there are %d, and one is taken", ErrBadSignature, n)
	}
	candidate := message.SignatureCandidates[0]
	signer := ownerOf(candidate.SignedByEntity, keys)
	if signer == nil {
		return nil, never, ErrUnknownSigner
	}
	if err := signer.mayHaveSigned(candidate.IssuerKeyId, now); err != nil {
		return nil, never, err
	}
	signature := candidate.CorrespondingSig
	if signature == nil {
		return nil, never, fmt.Errorf("%w: the message was cut", ErrBadSignature)
	}
	at := signature.CreationTime
	if err := message.SignatureError; err != nil || !message.IsVerified || message.Signature != signature || message.SignedBy.Entity != signer.entity {
		if cause := signer.mayHaveSigned(candidate.IssuerKeyId, at); cause != nil {
			return nil, never, cause
		}
		return nil, never, fmt.Errorf("%w: %v", ErrBadSignature, err)
	}
	if at.After(now.Add(ClockSkew)) {
		return nil, never, fmt.Errorf("%w: it was made at %s, later than now (%s); compare the two clocks", ErrBadSignature, plainTime(at), plainTime(now))
	}
	if secs := signature.SigLifetimeSecs; secs != nil && *secs > 0 && !at.Add(time.Duration(*secs)*time.Second).After(now) {
		return nil, never, fmt.Errorf("%w: its signer let it end at %s", ErrBadSignature, plainTime(at.Add(time.Duration(*secs)*time.Second)))
	}
	if err := signer.mayHaveSigned(candidate.IssuerKeyId, at); err != nil {
		return nil, never, err
	}
	return signer, at, nil
}

// ownerOf is the key of entity, unless it is one of ours: that opens and signs nothing to us.
func ownerOf(entity *openpgp.Entity, keys []*Key) *Key {
	for _, key := range keys {
		if entity != nil && key.entity == entity && !key.IsPrivate() {
			return key
		}
	}
	return nil
}

// mayHaveSigned says what kept the part of the key with this id from signing at a time; nil: nothing.
func (k *Key) mayHaveSigned(id uint64, at time.Time) error {
	parts, err := signingParts(k.entity, at)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if p.public.KeyId != id {
			continue
		}
		if p.kind != "" {
			return &KeyError{Kind: p.kind, Fingerprint: k.Fingerprint(), Detail: "its signing key " + p.reason}
		}
		return nil
	}
	return &KeyError{Kind: KeyNoSigning, Fingerprint: k.Fingerprint(), Detail: "the part of it that signed may not sign"}
}

// signingParts are the primary key, if it may sign, and the subkeys that may; the private halves are elsewhere.
func signingParts(entity *openpgp.Entity, at time.Time) ([]keyPart, error) {
	primary, refused := primaryPart(entity, at)
	if refused != nil {
		return nil, refused
	}
	var parts []keyPart
	for _, p := range append([]keyPart{primary}, subkeyParts(entity, at)...) {
		if p.public.PubKeyAlgo.CanSign() && p.self.FlagsValid && p.self.FlagSign {
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// ReadSignerKey reads the public key, pinned by its full fingerprint, with which
// a person signs what is sent to us; a private half in the file is ignored. That
// the key may sign is for [Key.MaySign] to say and for [ReadSigned] with each
// message: one that expired since is named there, it does not make its owner unknown.
// Nothing is encrypted to such a key. All errors are [*KeyError].
func ReadSignerKey(path, fingerprint string, now time.Time) (*Key, error) {
	content, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	entity, err := pinned(content, path, fingerprint)
	if err != nil {
		return nil, err
	}
	withoutPrivateHalf(entity)
	key := &Key{entity: entity}
	if part, err := key.signingPart(now); err == nil {
		key.usable.sign = part.public
		key.usable.expires = part.expires
	}
	return key, nil
}

// MaySign says what keeps a key of [ReadSignerKey] or [ReadFormerKey] from signing at now, as a [*KeyError].
func (k *Key) MaySign(now time.Time) error {
	_, err := k.signingPart(now)
	return err
}

// signingPart is the part that signs at now, with the earlier end of it and of the primary key.
func (k *Key) signingPart(now time.Time) (keyPart, error) {
	parts, err := signingParts(k.entity, now)
	if err != nil {
		return keyPart{}, err
	}
	part, refused := choose(parts, func(keyPart) bool { return true })
	switch {
	case refused != nil && refused.Kind == "":
		return keyPart{}, &KeyError{Kind: KeyNoSigning, Fingerprint: k.Fingerprint(), Detail: "nothing in it may sign"}
	case refused != nil:
		return keyPart{}, &KeyError{Kind: refused.Kind, Fingerprint: k.Fingerprint(), Detail: "its signing key " + refused.Detail}
	}
	if primary, refused := primaryPart(k.entity, now); refused == nil {
		part.expires = earliest([]time.Time{part.expires, primary.expires})
	}
	return part, nil
}
