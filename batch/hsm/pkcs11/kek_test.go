//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	cryptoki "github.com/miekg/pkcs11"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
)

var testKEK = []byte("0123456789abcdef0123456789abcdef")

// addAES puts an AES key into the token that wraps others, changed as the test wants it.
func (s softhsm) addAES(label string, value []byte, change ...*cryptoki.Attribute) {
	s.t.Helper()
	template := map[uint]*cryptoki.Attribute{}
	for _, a := range append([]*cryptoki.Attribute{
		cryptoki.NewAttribute(cryptoki.CKA_CLASS, cryptoki.CKO_SECRET_KEY), cryptoki.NewAttribute(cryptoki.CKA_KEY_TYPE, cryptoki.CKK_AES),
		cryptoki.NewAttribute(cryptoki.CKA_TOKEN, true), cryptoki.NewAttribute(cryptoki.CKA_PRIVATE, true), cryptoki.NewAttribute(cryptoki.CKA_LABEL, label),
		cryptoki.NewAttribute(cryptoki.CKA_SENSITIVE, true), cryptoki.NewAttribute(cryptoki.CKA_EXTRACTABLE, false),
		cryptoki.NewAttribute(cryptoki.CKA_ENCRYPT, true), cryptoki.NewAttribute(cryptoki.CKA_DECRYPT, true), cryptoki.NewAttribute(cryptoki.CKA_VALUE, value),
	}, change...) {
		template[a.Type] = a
	}
	list := make([]*cryptoki.Attribute, 0, len(template))
	for _, a := range template {
		list = append(list, a)
	}
	s.asked(func(m *cryptoki.Ctx) {
		session := s.login(m)
		defer func() { _ = m.CloseSession(session) }()
		if _, err := m.CreateObject(session, list); err != nil {
			s.t.Fatalf("put %s into the token: %v", label, err)
		}
	})
}

func (s softhsm) config() Config {
	return Config{Settings: s.settings(), PIN: []byte(testPIN), Environment: config.Production}
}

func TestAKeyEncryptionKeyIsWrappedAndUnwrappedByTheToken(t *testing.T) {
	s := newToken(t)
	s.addAES("kek", bytes.Repeat([]byte{7}, 32))
	ctx := context.Background()
	wrapped, err := WrapKEK(ctx, s.config(), "kek", testKEK)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(wrapped, testKEK) || !bytes.HasPrefix(wrapped, []byte("reemboss-kek-1:")) {
		t.Error("the key is not wrapped")
	}
	again, err := WrapKEK(ctx, s.config(), "kek", testKEK)
	if err != nil || bytes.Equal(wrapped, again) {
		t.Errorf("wrapped twice alike: %v", err)
	}
	for _, w := range [][]byte{wrapped, again, bytes.TrimRight(wrapped, "\n")} {
		if kek, err := UnwrapKEK(ctx, s.config(), "kek", w); err != nil || !bytes.Equal(kek, testKEK) {
			t.Errorf("unwrapped: %v", err)
		}
	}
	if _, err := WrapKEK(ctx, s.config(), "kek", testKEK[:16]); !errors.Is(err, hsm.ErrKeyLength) {
		t.Errorf("half a key: %v", err)
	}
}

func TestOtherBytesAreNoWrappedKey(t *testing.T) {
	s := newToken(t)
	s.addAES("kek", bytes.Repeat([]byte{7}, 32))
	s.addAES("other", bytes.Repeat([]byte{8}, 32))
	ctx := context.Background()
	wrapped, err := WrapKEK(ctx, s.config(), "kek", testKEK)
	if err != nil {
		t.Fatal(err)
	}
	for i := range wrapped[:len(wrapped)-1] {
		changed := bytes.Clone(wrapped)
		changed[i] ^= 1
		if kek, err := UnwrapKEK(ctx, s.config(), "kek", changed); !errors.Is(err, ErrWrapped) || kek != nil {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	for name, w := range map[string][]byte{"nothing": nil, "cut off": wrapped[:40], "a plain secret": hsm.EncodeSecret(testKEK)} {
		if _, err := UnwrapKEK(ctx, s.config(), "kek", w); !errors.Is(err, ErrWrapped) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := UnwrapKEK(ctx, s.config(), "other", wrapped); !errors.Is(err, ErrWrapped) {
		t.Errorf("another key of the token: %v", err)
	}
}

func TestAWrappingKeyThatIsNotKeptIsRefused(t *testing.T) {
	s := newToken(t)
	s.addAES("open", bytes.Repeat([]byte{7}, 32), cryptoki.NewAttribute(cryptoki.CKA_SENSITIVE, false))
	s.addAES("leaves", bytes.Repeat([]byte{7}, 32), cryptoki.NewAttribute(cryptoki.CKA_EXTRACTABLE, true))
	s.addAES("one-way", bytes.Repeat([]byte{7}, 32), cryptoki.NewAttribute(cryptoki.CKA_DECRYPT, false))
	s.ImportTestKeys(map[string][]byte{"cvk": classicPair}, cryptoki.CKK_DES2)
	ctx := context.Background()
	for label, want := range map[string]struct {
		err  error
		says string
	}{
		"open": {ErrWrappingRights, "CKA_SENSITIVE must be true"}, "leaves": {ErrWrappingRights, "CKA_EXTRACTABLE must be false"},
		"one-way": {ErrWrappingRights, "CKA_DECRYPT must be true"}, "cvk-a": {ErrNoKey, "CKK_AES"}, "missing": {ErrNoKey, "list-objects"},
	} {
		if _, err := WrapKEK(ctx, s.config(), label, testKEK); !errors.Is(err, want.err) || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%s: %v", label, err)
		}
	}
	c := s.config()
	c.Environment = config.Test
	if _, err := WrapKEK(ctx, c, "open", testKEK); err != nil {
		t.Errorf("in a test: %v", err)
	}
}

func TestATokenThatCannotBeUsedGivesNoKey(t *testing.T) {
	s := newToken(t)
	s.addAES("kek", bytes.Repeat([]byte{7}, 32))
	for name, c := range map[string]struct {
		change func(*Config)
		err    error
	}{
		"another token": {func(c *Config) { c.Settings.Token = "another" }, ErrToken},
		"a wrong PIN":   {func(c *Config) { c.PIN = []byte("000000") }, ErrPIN},
		"no PIN":        {func(c *Config) { c.PIN = nil }, ErrPIN},
		"no library":    {func(c *Config) { c.Settings.Module = "/nowhere/lib.so" }, ErrToken},
		"no section":    {func(c *Config) { c.Settings = config.PKCS11{Timeout: time.Second} }, ErrToken},
	} {
		config := s.config()
		c.change(&config)
		_, err := WrapKEK(context.Background(), config, "kek", testKEK)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), testPIN) || strings.Contains(err.Error(), string(testKEK))) {
			t.Errorf("%s: the error shows a secret", name)
		}
	}
}
