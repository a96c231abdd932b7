package payshieldtest

import (
	"fmt"
	"strings"
)

// What whoever gets PIN blocks does with them, for tests that hold the keys. Numbers are whole card numbers.

// OpenPINBlock decrypts a PIN block of ISO 9564-1, format 0 or 3, under a zone
// PIN key and gives the PIN. A block that is none for this number is an error
// that shows nothing of it.
func OpenPINBlock(zpk []byte, block, number string) (string, error) {
	if len(block) != 16 || strings.Trim(block, hexadecimal) != "" {
		return "", fmt.Errorf("the PIN block has %d characters and is not one of 16 hexadecimal digits", len(block))
	}
	clear := unhex(block)
	tripleDES(zpk).Decrypt(clear, clear)
	for i, b := range unhex("0000" + accountOf(number)) {
		clear[i] ^= b
	}
	text := fmt.Sprintf("%X", clear)
	length := strings.IndexByte(hexadecimal, text[1])
	if text[0] != '0' && text[0] != '3' || length < 4 || length > 12 {
		return "", fmt.Errorf("the PIN block does not open for this number")
	}
	pin, fill := text[2:2+length], text[2+length:]
	if strings.Trim(pin, decimal) != "" || text[0] == '0' && strings.Trim(fill, "F") != "" || strings.Trim(fill, "ABCDEF") != "" {
		return "", fmt.Errorf("the PIN block does not open for this number")
	}
	return pin, nil
}

// PVV is the Visa PIN verification value of a PIN, with index the PIN verification key indicator.
func PVV(pvk []byte, number, index, pin string) string {
	return visaPVV(pvk, accountOf(number), index, pin)
}

// accountOf gives the twelve digits before the check digit.
func accountOf(number string) string { return number[len(number)-13 : len(number)-1] }
