//go:build pkcs11 && cgo

package pkcs11

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	cryptoki "github.com/miekg/pkcs11"

	"reemboss/batch/config"
)

// module is what is used of a PKCS#11 library (the functions of PKCS#11 2.40, section 5).
type module interface {
	Initialize(...cryptoki.InitializeOption) error
	Finalize() error
	GetSlotList(tokenPresent bool) ([]uint, error)
	GetTokenInfo(slot uint) (cryptoki.TokenInfo, error)
	OpenSession(slot, flags uint) (cryptoki.SessionHandle, error)
	CloseSession(cryptoki.SessionHandle) error
	Login(s cryptoki.SessionHandle, user uint, pin string) error
	FindObjectsInit(cryptoki.SessionHandle, []*cryptoki.Attribute) error
	FindObjects(s cryptoki.SessionHandle, most int) ([]cryptoki.ObjectHandle, bool, error)
	FindObjectsFinal(cryptoki.SessionHandle) error
	GetAttributeValue(cryptoki.SessionHandle, cryptoki.ObjectHandle, []*cryptoki.Attribute) ([]*cryptoki.Attribute, error)
	CreateObject(cryptoki.SessionHandle, []*cryptoki.Attribute) (cryptoki.ObjectHandle, error)
	DestroyObject(cryptoki.SessionHandle, cryptoki.ObjectHandle) error
	EncryptInit(cryptoki.SessionHandle, []*cryptoki.Mechanism, cryptoki.ObjectHandle) error
	Encrypt(cryptoki.SessionHandle, []byte) ([]byte, error)
	DecryptInit(cryptoki.SessionHandle, []*cryptoki.Mechanism, cryptoki.ObjectHandle) error
	Decrypt(cryptoki.SessionHandle, []byte) ([]byte, error)
}

// load loads a library. It is never unloaded: vendors' libraries leave threads behind.
func load(path string) (module, error) {
	m := cryptoki.New(path)
	if m == nil {
		return nil, fmt.Errorf("%w: %s cannot be loaded: it is missing, no PKCS#11 library of this machine's kind, or needs a library that is missing (ldd tells)", ErrToken, path)
	}
	return m, nil
}

// failed is a call that the module answered with an error.
func failed(what string, err error) error { return fmt.Errorf("%w: %s: %w", ErrToken, what, err) }

// is says whether err carries one of the return codes.
func is(err error, codes ...cryptoki.Error) bool {
	var code cryptoki.Error
	return errors.As(err, &code) && slices.Contains(codes, code)
}

// codeOf is the return code in an error, else the error.
func codeOf(err error) error {
	var code cryptoki.Error
	if errors.As(err, &code) {
		return code
	}
	return err
}

// errStale is what a session of a connection that is being replaced answers.
var errStale = errors.New("the connection is being replaced")

// lost says that the connection is gone and another may be had: the session,
// the login, the handles or the token itself are no more.
func lost(err error) bool {
	return errors.Is(err, errStale) || is(err,
		cryptoki.CKR_SESSION_HANDLE_INVALID, cryptoki.CKR_SESSION_CLOSED, cryptoki.CKR_USER_NOT_LOGGED_IN,
		cryptoki.CKR_DEVICE_REMOVED, cryptoki.CKR_DEVICE_ERROR, cryptoki.CKR_TOKEN_NOT_PRESENT,
		cryptoki.CKR_KEY_HANDLE_INVALID, cryptoki.CKR_OBJECT_HANDLE_INVALID, cryptoki.CKR_CRYPTOKI_NOT_INITIALIZED)
}

// findSlot finds the one token with the configured label and serial number.
func findSlot(m module, want config.PKCS11) (slot, flags uint, err error) {
	slots, err := m.GetSlotList(true)
	if err != nil {
		return 0, 0, failed("list the tokens", err)
	}
	found, others := 0, []string{}
	for _, id := range slots {
		info, err := m.GetTokenInfo(id)
		if err != nil {
			continue // a slot that cannot be read is none of a token that we can use
		}
		label, serial := trim(info.Label), trim(info.SerialNumber)
		if (want.Token == "" || label == want.Token) && (want.Serial == "" || serial == want.Serial) {
			slot, flags, found = id, info.Flags, found+1
		}
		others = append(others, fmt.Sprintf("%q (serial number %s)", label, serial))
	}
	name := strings.TrimPrefix(fmt.Sprintf("%q", want.Token), `""`)
	if want.Serial != "" {
		name = strings.TrimSpace(name + " (serial number " + want.Serial + ")")
	}
	switch {
	case found == 1:
		return slot, flags, nil
	case found > 1:
		return 0, 0, fmt.Errorf("%w: %d tokens are called %s; name the serial number in pkcs11.serial: %s", ErrToken, found, name, strings.Join(others, ", "))
	case len(others) == 0:
		return 0, 0, fmt.Errorf("%w: there is no token %s, and no other", ErrToken, name)
	}
	return 0, 0, fmt.Errorf("%w: there is no token %s; there are %s", ErrToken, name, strings.Join(others, ", "))
}

// trim takes the padding from a text of fixed length.
func trim(text string) string { return strings.TrimRight(text, " \x00") }
