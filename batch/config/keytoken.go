package config

import "fmt"

// KeyToken is a key in the form in which it may leave a host security module:
// encrypted under the module's LMK. It is of no use without that module, yet of
// full use to whoever reaches it; so it stands in the configuration and is
// printed nowhere.
type KeyToken string

const redactedToken = "[key token]"

// Reveal gives the token itself, for the module.
func (t KeyToken) Reveal() string { return string(t) }

// Format gives "[key token]" for every verb.
func (t KeyToken) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redactedToken)) }

// String gives "[key token]".
func (t KeyToken) String() string { return redactedToken }

// MarshalText gives "[key token]" to encoders.
func (t KeyToken) MarshalText() ([]byte, error) { return []byte(redactedToken), nil }
