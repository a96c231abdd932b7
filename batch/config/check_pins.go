package config

import (
	"fmt"
	"maps"
	"slices"
)

// This file checks the PIN files: the keys that PINs are made with, and whoever gets them.

// Forms of a PIN block that the modules are asked for (ISO 9564-1), by the module's codes.
const (
	pinFormat0 = "01"
	pinFormat3 = "47" // filled at random
)

// Limits of PINs.
const (
	shortestPIN    = 4
	longestPIN     = 12
	shortestSealed = 5 // characters of a PIN under a variant LMK
	longestSealed  = 13
	aesSealed      = 33 // under an AES LMK
)

// pins checks the section whether it is used or not; what only its use needs may be missing before.
func (c *checker) pins() {
	const path = "pins"
	p := c.PINs
	if !c.oneOf(join(path, "backend"), p.Backend, "backend of PINs", NoPINs, PayShieldKeys) {
		return
	}
	fits := c.within(join(path, "length"), int64(p.Length), shortestPIN, longestPIN, "the digits of a PIN")
	c.oneOf(join(path, "format"), p.Format, "PIN block format (in quotes)", pinFormat0, pinFormat3)
	c.within(join(path, "pvki"), int64(p.PVKI), 1, 6, "the PIN verification key indicator")
	zpk := c.pinKey(path, "zpk", p.ZPK, p.ZPKCheck)
	pvk := c.pinKey(path, "pvk", p.PVK, p.PVKCheck)
	if zpk && pvk && p.ZPK == p.PVK {
		c.wrong(join(path, "pvk"), "is the zone PIN key too; the module keeps keys for different uses apart: write the token of the PIN verification key pair")
	}
	if !p.Made() {
		return
	}
	if sealed := c.PayShield.PINLength; fits && sealed != aesSealed && sealed >= shortestSealed && p.Length >= sealed {
		c.wrong(join(path, "length"), "a PIN of %d digits does not fit into the %d characters of payshield.pin_length; a module encrypts at most %d digits there", p.Length, sealed, sealed-1)
	}
	c.recipient(PINRecipient, path, p.Recipient)
}

// pinKey checks a key and its check value, as far as PINs are made or they are there.
func (c *checker) pinKey(path, key string, token KeyToken, check string) (there bool) {
	if token != "" || c.PINs.Made() {
		there = c.token(join(path, key), token)
	}
	if check != "" || c.PINs.Made() {
		c.form(join(path, key+"_check"), check, kcv, "the key's check value, six hex digits (in quotes)")
	}
	return there
}

// pinLength: the module itself refuses a wrong one only when the first PIN is made.
func (c *checker) pinLength(at string, characters int) {
	if characters != aesSealed {
		c.within(at, int64(characters), shortestSealed, longestSealed, fmt.Sprintf("the characters of a PIN under the LMK (%d under an AES LMK)", aesSealed))
	}
}

// PINsDue are the products, sorted, whose new numbers need a new PIN that nobody here makes.
func (c *Config) PINsDue() []string {
	if c.PINs.Made() {
		return nil
	}
	var due []string
	for _, name := range slices.Sorted(maps.Keys(c.Products)) {
		if c.Products[name].NewPIN {
			due = append(due, name)
		}
	}
	return due
}
