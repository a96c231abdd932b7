package config

import (
	"slices"
	"testing"
)

const sampleZPK, samplePVK = "U1111111111111111AAAAAAAAAAAAAAAA", "U2222222222222222BBBBBBBBBBBBBBBB"

// pinsOn has PIN files made by a module that holds no card key.
var pinsOn = []string{
	"addresses: []  ", "addresses: [hsm1:2500] ", `lmk_check: ""  `, `lmk_check: "268604" `,
	"backend: none              # or payshield", "backend: payshield # of pins", `zpk: ""  `, "zpk: " + sampleZPK + "  ", `zpk_check: ""  `, `zpk_check: "6F1E3F"  `,
	`pvk: ""  `, "pvk: " + samplePVK + "  ", `pvk_check: ""`, `pvk_check: "08D7B4"`,
	`  # pgp: {key_file: keys/pins.asc, fingerprint: "..."}`, `  pgp: {key_file: keys/pins.asc, fingerprint: "000000000000000000000000000000000000000D"}`,
}

func TestPINsMayBeMadeInAPayShield(t *testing.T) {
	c := parsed(t, example(t, pinsOn...))
	p := c.PINs
	if !p.Made() || p.Length != 4 || p.Format != "01" || p.PVKI != 1 || p.ZPK.Reveal() != sampleZPK || p.PVK.Reveal() != samplePVK || p.Delivery.Method != Folder {
		t.Errorf("%+v", p)
	}
	if c.PayShield.PINLength != 5 {
		t.Errorf("a PIN under the LMK has %d characters by default, want 5", c.PayShield.PINLength)
	}
}

func TestMistakesAboutPINs(t *testing.T) {
	expectMistakes(t, []change{
		{"backend", "backend: payshield # of pins", "backend: pkcs12 # of pins", "pkcs12 # of", "pins.backend", "is no backend of PINs"},
		{"too short", "length: 4                  # digits", "length: 3                  # digits", "3     ", "pins.length", "from 4 to 12"},
		{"longer than the module encrypts", "length: 4                  # digits", "length: 5                  # digits", "5     ", "pins.length", "payshield.pin_length"},
		{"format", `format: "01"`, `format: "05"`, `"05"`, "pins.format", "is no PIN block format"},
		{"PVKI", "pvki: 1", "pvki: 7", "7", "pins.pvki", "from 1 to 6"},
		{"no ZPK", "zpk: " + sampleZPK, `zpk: ""`, `""`, "pins.zpk", "is empty"},
		{"ZPK that is no token", sampleZPK, "hunter2", "hunter2", "pins.zpk", "its 7 characters"},
		{"ZPK without its check value", `zpk_check: "6F1E3F"`, `zpk_check: ""`, `""`, "pins.zpk_check", "is empty"},
		{"PVK check", `pvk_check: "08D7B4"`, `pvk_check: "08D7"`, `"08D7"`, "pins.pvk_check", "six hex digits"},
		{"one key for two uses", "pvk: " + samplePVK, "pvk: " + sampleZPK, sampleZPK, "pins.pvk", "is the zone PIN key too"},
		{"no recipient's key", "key_file: keys/pins.asc, ", "", "pgp: {fingerprint", "pins.pgp.key_file", "is missing"},
		{"recipient's fingerprint", "000000000000000000000000000000000000000D", "0D", `"0D"`, "pins.pgp.fingerprint", "40 hex digits"},
		{"delivery", "  # delivery: {method: folder}\n\n# Who signs", "  delivery: {method: post}\n\n# Who signs", "post", "pins.delivery.method", "way of delivery"},
		{"no module", "addresses: [hsm1:2500]", "addresses: []", "[]", "payshield.addresses", "are missing"},
		{"PIN under the LMK", "pin_length: 5", "pin_length: 14", "14", "payshield.pin_length", "from 5 to 13"},
		{"bureau of that name", "bureaus:\n  alpha:", "bureaus:\n  pins: {layout: fixed-v1, file_name: \"{sequence}\", time_zone: UTC, pgp: {key_file: k, fingerprint: 000000000000000000000000000000000000000D}, delivery: {method: folder}}\n  alpha:", "{layout: fixed-v1, file", "bureaus.pins", "among the recipients"},
	}, pinsOn...)
}

// A switched-off section may keep its settings, and they are still read.
func TestMistakesAboutPINsThatAreOff(t *testing.T) {
	expectMistakes(t, []change{
		{"ZPK that is no token", `zpk: ""  `, "zpk: hunter2  ", "hunter2", "pins.zpk", "its 7 characters"},
		{"check value", `zpk_check: ""`, `zpk_check: "6F"`, `"6F"`, "pins.zpk_check", "six hex digits"},
		{"length", "length: 4                  # digits", "length: 13                  # digits", "13", "pins.length", "from 4 to 12"},
	})
}

func TestAPINUnderAnAESLMKMayBeLong(t *testing.T) {
	parsed(t, example(t, append(pinsOn[:len(pinsOn):len(pinsOn)], "pin_length: 5", "pin_length: 33", "length: 4                  # digits", "length: 12                 # digits")...))
}

func TestAProductMayNeedAPINThatNobodyHereMakes(t *testing.T) {
	c := parsed(t, example(t, "new_pin: false ", "new_pin: true "))
	if due := c.PINsDue(); !slices.Equal(due, []string{"visa-classic"}) {
		t.Errorf("due %v", due)
	}
	c = parsed(t, example(t, append(pinsOn[:len(pinsOn):len(pinsOn)], "new_pin: false ", "new_pin: true ")...))
	if due := c.PINsDue(); due != nil {
		t.Errorf("PINs are made, and due %v", due)
	}
	if due := parsed(t, example(t)).PINsDue(); due != nil {
		t.Errorf("no product needs one, and due %v", due)
	}
}
