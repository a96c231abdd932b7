//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	cryptoki "github.com/miekg/pkcs11"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/formats/iso"
)

// WrapKEK encrypts a key-encryption key of [hsm.KEKLength] bytes under the AES
// key of the token with that label (CKM_AES_GCM, a random nonce): what the file
// of keys.keyset_kek with a token_key holds. UnwrapKEK is asked whether it gives
// the same key before it is returned. The errors are those of [Open].
func WrapKEK(ctx context.Context, c Config, label string, kek []byte) ([]byte, error) {
	if len(kek) != hsm.KEKLength {
		return nil, fmt.Errorf("key-encryption key: %w: %d bytes instead of %d", hsm.ErrKeyLength, len(kek), hsm.KEKLength)
	}
	nonce := make([]byte, nonceLength)
	_, _ = rand.Read(nonce) // it does not fail
	return withKey(ctx, c, label, func(k wrappingKey) ([]byte, error) {
		sealed, err := k.encrypt(nonce, kek)
		if err != nil {
			return nil, err
		}
		wrapped := encodeWrapped(append(nonce, sealed...))
		again, err := k.unwrap(wrapped)
		if err != nil || string(again) != string(kek) {
			return nil, fmt.Errorf("%w: what it wrapped it does not unwrap to the same key", ErrToken)
		}
		return wrapped, nil
	})
}

// UnwrapKEK gives the key-encryption key in what [WrapKEK] made. Besides the
// errors of [Open] there is [ErrWrapped]: other bytes, or another key of the token.
func UnwrapKEK(ctx context.Context, c Config, label string, wrapped []byte) ([]byte, error) {
	return withKey(ctx, c, label, func(k wrappingKey) ([]byte, error) { return k.unwrap(wrapped) })
}

// wrappingKey is an AES key of the token in one session.
type wrappingKey struct {
	objects
	key cryptoki.ObjectHandle
}

// withKey finds the key in a session of its own and does something with it, no
// longer than Settings.Timeout. A call that hangs is left to the end of the process.
func withKey(ctx context.Context, c Config, label string, do func(wrappingKey) ([]byte, error)) ([]byte, error) {
	ctx, stop := context.WithTimeoutCause(ctx, c.Settings.Timeout, fmt.Errorf("%w: it does not answer", ErrToken))
	defer stop()
	type outcome struct {
		bytes []byte
		err   error
	}
	pin, done := iso.NewSecret(string(c.PIN)), make(chan outcome, 1)
	go func() {
		bytes, err := inSession(c, pin, label, do)
		done <- outcome{bytes, err}
	}()
	select {
	case o := <-done:
		return o.bytes, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func inSession(c Config, pin iso.Secret, label string, do func(wrappingKey) ([]byte, error)) ([]byte, error) {
	s := c.Settings
	if s.Module == "" || s.Token == "" && s.Serial == "" || s.Timeout < time.Millisecond {
		return nil, fmt.Errorf("%w: the section pkcs11 is not complete", ErrToken)
	}
	m, err := load(s.Module)
	if err != nil {
		return nil, err
	}
	switch err := m.Initialize(); {
	case err == nil:
		defer func() { _ = m.Finalize() }() // logs out, too
	case !is(err, cryptoki.CKR_CRYPTOKI_ALREADY_INITIALIZED):
		return nil, failed("begin with "+s.Module, err)
	}
	slot, flags, err := findSlot(m, s)
	if err != nil {
		return nil, err
	}
	session, err := m.OpenSession(slot, cryptoki.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, failed("open a session", err)
	}
	defer func() { _ = m.CloseSession(session) }()
	if err := login(m, session, flags, pin); err != nil {
		return nil, err
	}
	k := wrappingKey{objects: objects{m, session}}
	if k.key, err = k.wrappingKey(label, c.Environment != config.Test); err != nil {
		return nil, fmt.Errorf("wrapping key, label %q: %w", label, err)
	}
	return do(k)
}

// wrappingKey finds the AES key. strict: it must also be kept in the token.
func (o objects) wrappingKey(label string, strict bool) (cryptoki.ObjectHandle, error) {
	object, err := o.find(label)
	if err != nil {
		return 0, err
	}
	kind, err := o.attribute(object, cryptoki.CKA_KEY_TYPE)
	if err != nil {
		return 0, failed("read its type", err)
	}
	if ulong(kind) != cryptoki.CKK_AES {
		return 0, fmt.Errorf("%w of its type: it must be CKK_AES", ErrNoKey)
	}
	var wrong []string
	for _, c := range []struct {
		attribute uint
		name      string
		want      bool
		always    bool
	}{
		{cryptoki.CKA_ENCRYPT, "CKA_ENCRYPT", true, true}, {cryptoki.CKA_DECRYPT, "CKA_DECRYPT", true, true},
		{cryptoki.CKA_SENSITIVE, "CKA_SENSITIVE", true, false}, {cryptoki.CKA_EXTRACTABLE, "CKA_EXTRACTABLE", false, false},
	} {
		set, known, err := o.flag(object, c.attribute)
		if err != nil {
			return 0, err
		}
		if (strict || c.always) && (!known || set != c.want) {
			wrong = append(wrong, fmt.Sprintf("%s must be %v", c.name, c.want))
		}
	}
	if len(wrong) > 0 {
		return 0, fmt.Errorf("%w: %s", ErrWrappingRights, strings.Join(wrong, ", "))
	}
	return object, nil
}

// ulong reads a CK_ULONG.
func ulong(value []byte) uint {
	switch len(value) {
	case 4:
		return uint(binary.NativeEndian.Uint32(value))
	case 8:
		return uint(binary.NativeEndian.Uint64(value))
	}
	return 0
}

func (k wrappingKey) gcm(nonce []byte) ([]*cryptoki.Mechanism, func()) {
	params := cryptoki.NewGCMParams(nonce, []byte(wrapFormat), tagLength*8)
	return []*cryptoki.Mechanism{cryptoki.NewMechanism(cryptoki.CKM_AES_GCM, params)}, params.Free
}

func (k wrappingKey) encrypt(nonce, kek []byte) ([]byte, error) {
	mechanism, free := k.gcm(nonce)
	defer free()
	if err := k.module.EncryptInit(k.session, mechanism, k.key); err != nil {
		return nil, failed("encrypt with AES-GCM", err)
	}
	sealed, err := k.module.Encrypt(k.session, kek)
	if err != nil {
		return nil, failed("encrypt with AES-GCM", err)
	}
	if len(sealed) != len(kek)+tagLength {
		return nil, fmt.Errorf("%w: %d bytes came for %d", ErrToken, len(sealed), len(kek)+tagLength)
	}
	return sealed, nil
}

func (k wrappingKey) unwrap(wrapped []byte) ([]byte, error) {
	sealed, err := decodeWrapped(wrapped)
	if err != nil {
		return nil, err
	}
	mechanism, free := k.gcm(sealed[:nonceLength])
	defer free()
	if err := k.module.DecryptInit(k.session, mechanism, k.key); err != nil {
		return nil, failed("decrypt with AES-GCM", err)
	}
	kek, err := k.module.Decrypt(k.session, sealed[nonceLength:])
	switch {
	case lost(err):
		return nil, failed("decrypt with AES-GCM", err)
	case err != nil || len(kek) != hsm.KEKLength: // modules differ in what they call a wrong tag
		return nil, fmt.Errorf("%w", ErrWrapped)
	}
	return kek, nil
}
