//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"encoding/base64"
	"strings"

	"reemboss/batch/hsm"
)

// A wrapped key-encryption key is one line: wrapFormat, which is authenticated,
// then in base64 the nonce and what AES-GCM gives (NIST SP 800-38D).
const (
	wrapFormat  = "reemboss-kek-1:"
	nonceLength = 12 // bytes
	tagLength   = 16
)

func encodeWrapped(sealed []byte) []byte {
	return []byte(wrapFormat + base64.StdEncoding.EncodeToString(sealed) + "\n")
}

func decodeWrapped(wrapped []byte) ([]byte, error) {
	text, ok := strings.CutPrefix(string(bytes.TrimRight(wrapped, "\r\n")), wrapFormat)
	sealed, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(sealed) != nonceLength+hsm.KEKLength+tagLength {
		return nil, ErrWrapped
	}
	return sealed, nil
}
