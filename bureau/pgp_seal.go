package bureau

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// sealBuffer is how much clear text is gathered before it is encrypted, bytes.
const sealBuffer = 64 << 10

// Sealing says for whom a file is sealed and who signs it.
type Sealing struct {
	To     []*Key // at least one
	Signer *Key   // private
	// FileName is told to the recipient inside the encryption; at most 255 bytes, never card data.
	FileName string
	Time     time.Time // of the signature; the keys must be valid at it
	Compress bool
	Rand     io.Reader // nil means the system's
}

// Seal encrypts to every key of s.To and signs with s.Signer what is written
// to the result, and writes the OpenPGP message to w. The message is complete
// only after Close returned nil; Close does not close w. After a failed write Close
// fails too and the message has no valid end.
//
// The form is fixed, whatever the recipients' keys prefer: AES-256, SEIPD
// version 1 with modification detection, SHA-256 where the signing key
// allows it. Nothing is written when a key is missing or not usable ([*KeyError]).
func Seal(w io.Writer, s Sealing) (io.WriteCloser, error) {
	recipients, signer, err := s.parties()
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", s.FileName, err)
	}
	config := &packet.Config{
		Rand:          s.Rand,
		Time:          func() time.Time { return s.Time },
		DefaultCipher: packet.CipherAES256,
	}
	sealed := &sealedWriter{config: config, signer: signer.signer}
	if err := sealed.begin(w, s, recipients); err != nil {
		return nil, fmt.Errorf("seal %s: %w", s.FileName, err)
	}
	return sealed, nil
}

// parties are the checked keys; an error here is before the first byte.
func (s Sealing) parties() (recipients []*packet.PublicKey, signer usableKeys, err error) {
	switch {
	case len(s.To) == 0:
		return nil, signer, errors.New("no recipient's key is given, and nothing is sealed without one")
	case s.Signer == nil:
		return nil, signer, errors.New("no signing key is given, and nothing is sealed unsigned")
	case s.Time.IsZero():
		return nil, signer, errors.New("no time is given to check the keys at")
	case len(s.FileName) > 255 || strings.ContainsAny(s.FileName, "/\x00\r\n"):
		return nil, signer, errors.New("the file name is longer than 255 bytes or has a slash or line break in it")
	}
	for _, key := range s.To {
		if key == nil {
			return nil, signer, errors.New("a recipient's key is missing")
		}
		usable, err := key.at(s.Time, forEncryption)
		if err != nil {
			return nil, signer, err
		}
		recipients = append(recipients, usable.encrypt)
	}
	if !s.Signer.IsPrivate() {
		return nil, signer, &KeyError{Kind: KeyNotPrivate, Fingerprint: s.Signer.Fingerprint(), Detail: "it is to sign and only its public half is there"}
	}
	signer, err = s.Signer.at(s.Time, forSigning)
	return recipients, signer, err
}

// sealedWriter is the message in the making. What is written goes through
// buffer into body: hashed for the signature, then as literal data into payload.
type sealedWriter struct {
	config  *packet.Config
	signer  *packet.PrivateKey
	hash    hash.Hash
	payload io.WriteCloser // inside the encryption (and compression)
	literal io.WriteCloser
	buffer  *bufio.Writer
	closed  bool
	err     error
}

func (s *sealedWriter) begin(w io.Writer, spec Sealing, recipients []*packet.PublicKey) error {
	sessionKey := make([]byte, packet.CipherAES256.KeySize())
	defer clear(sessionKey)
	random := spec.Rand
	if random == nil {
		random = rand.Reader
	}
	if _, err := io.ReadFull(random, sessionKey); err != nil {
		return fmt.Errorf("make a session key: %w", err)
	}
	for _, key := range recipients {
		if err := packet.SerializeEncryptedKeyAEAD(w, key, packet.CipherAES256, false, sessionKey, s.config); err != nil {
			return fmt.Errorf("encrypt the session key to %X: %w", key.Fingerprint, err)
		}
	}
	encrypted, err := packet.SerializeSymmetricallyEncrypted(w, packet.CipherAES256, false, packet.CipherSuite{}, sessionKey, s.config)
	if err != nil {
		return err
	}
	s.payload = encrypted
	if spec.Compress {
		if s.payload, err = packet.SerializeCompressed(encrypted, packet.CompressionZLIB, nil); err != nil {
			return err
		}
	}
	return s.beginBody(spec)
}

func (s *sealedWriter) beginBody(spec Sealing) error {
	hashed := hashFor(&s.signer.PublicKey)
	s.hash = hashed.New()
	announced := packet.OnePassSignature{
		Version: 3, SigType: packet.SigTypeBinary, Hash: hashed,
		PubKeyAlgo: s.signer.PubKeyAlgo, KeyId: s.signer.KeyId, IsLast: true,
	}
	if err := announced.Serialize(s.payload); err != nil {
		return err
	}
	literal, err := packet.SerializeLiteral(keptOpen{s.payload}, true, spec.FileName, uint32(spec.Time.Unix()))
	if err != nil {
		return err
	}
	s.literal = literal
	s.buffer = bufio.NewWriterSize(io.MultiWriter(s.hash, literal), sealBuffer)
	return nil
}

func (s *sealedWriter) Write(clear []byte) (int, error) {
	if s.closed {
		return 0, errors.New("write to a sealed file that is closed")
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.buffer.Write(clear)
	s.err = err
	return n, err
}

// Close ends the message with the signature and the modification detection code.
func (s *sealedWriter) Close() error {
	if s.closed {
		return s.err
	}
	s.closed = true
	if s.err == nil {
		s.err = s.finish()
	}
	return s.err
}

func (s *sealedWriter) finish() error {
	if err := s.buffer.Flush(); err != nil {
		return err
	}
	if err := s.literal.Close(); err != nil {
		return err
	}
	signature, err := signed(s.hash, s.signer, s.config)
	if err != nil {
		return err
	}
	if err := signature.Serialize(s.payload); err != nil {
		return err
	}
	return s.payload.Close()
}

func signed(h hash.Hash, signer *packet.PrivateKey, config *packet.Config) (*packet.Signature, error) {
	signature := &packet.Signature{
		Version:           signer.Version,
		SigType:           packet.SigTypeBinary,
		PubKeyAlgo:        signer.PubKeyAlgo,
		Hash:              hashFor(&signer.PublicKey),
		CreationTime:      config.Now(),
		IssuerKeyId:       &signer.KeyId,
		IssuerFingerprint: signer.Fingerprint,
	}
	if err := signature.Sign(h, signer, config); err != nil {
		return nil, fmt.Errorf("sign with %X: %w", signer.Fingerprint, err)
	}
	return signature, nil
}

// hashFor is SHA-256, or the longer hash that a longer curve demands (RFC 9580, 5.2.3.2).
func hashFor(key *packet.PublicKey) crypto.Hash {
	curve, err := key.Curve()
	switch {
	case err != nil:
		return crypto.SHA256
	case curve == packet.CurveNistP384 || curve == packet.CurveBrainpoolP384:
		return crypto.SHA384
	case curve == packet.CurveNistP521 || curve == packet.CurveBrainpoolP512 || curve == packet.Curve448:
		return crypto.SHA512
	}
	return crypto.SHA256
}

// SignDetached gives an armoured signature of k over data, made at now.
func SignDetached(data io.Reader, k *Key, now time.Time) ([]byte, error) {
	if k == nil || !k.IsPrivate() {
		return nil, &KeyError{Kind: KeyNotPrivate, Detail: "a signature needs a private key"}
	}
	usable, err := k.at(now, forSigning)
	if err != nil {
		return nil, err
	}
	h := hashFor(usable.sign).New()
	if _, err := io.Copy(h, data); err != nil {
		return nil, fmt.Errorf("read what is to be signed: %w", err)
	}
	config := &packet.Config{Time: func() time.Time { return now }}
	signature, err := signed(h, usable.signer, config)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w, err := armor.Encode(&out, openpgp.SignatureType, nil)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(signature.Serialize(w), w.Close()); err != nil {
		return nil, err
	}
	return append(out.Bytes(), '\n'), nil
}

// keptOpen is a writer whose Close does nothing: the signature follows the literal data.
type keptOpen struct{ io.Writer }

func (keptOpen) Close() error { return nil }

// VerifyDetached checks an armoured detached signature of [SignDetached] by the key.
// Its error wraps [ErrBadSignature], or [ErrUnknownSigner] for another key's.
func VerifyDetached(data io.Reader, signature []byte, by *Key) error {
	block, err := armor.Decode(bytes.NewReader(signature))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	_, signer, err := openpgp.VerifyDetachedSignature(openpgp.EntityList{by.entity}, data, block.Body, &packet.Config{Time: func() time.Time { return time.Time{} }})
	switch {
	case signer == nil && err != nil:
		return fmt.Errorf("%w: %w", ErrUnknownSigner, err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	return nil
}
