package config

import (
	"os"
	"path/filepath"
	"regexp"
)

// This file checks where the card verification keys are.

func (c *checker) cardKeys() {
	c.some("card_keys", len(c.CardKeys), "at least one card verification key")
	var inToken, inModule bool
	for key, k := range c.CardKeys {
		path := join("card_keys", key)
		c.named(path, key, "a key")
		c.form(join(path, "kcv"), k.KCV, kcv, "the key's check value, six hex digits (in quotes)")
		if !c.oneOf(join(path, "backend"), k.Backend, "backend", SoftwareKeys, PKCS11Keys, PayShieldKeys) {
			continue
		}
		if k.Backend == SoftwareKeys && c.Environment == Production && !c.AllowSoftwareKeys {
			c.wrong(join(path, "backend"), "software keys are for environment: test; in production keep the key in an HSM, or accept the risk with allow_software_keys: true")
		}
		c.labels(path, k)
		c.keyToken(path, k)
		inToken = inToken || k.Backend == PKCS11Keys
		inModule = inModule || k.Backend == PayShieldKeys
	}
	c.pkcs11(inToken || c.Keys.Keyset.TokenKey != "")
	c.payShield(inModule || c.PINs.Made())
}

// label is what an object or a token is called: printable ASCII, because tokens differ in what else they keep.
var label = regexp.MustCompile(`^[!-~]([ -~]{0,62}[!-~])?$`)

// labels checks by what names the token knows the halves of a key.
func (c *checker) labels(path string, k CardKey) {
	a, b := join(path, "label_a"), join(path, "label_b")
	if k.Backend != PKCS11Keys {
		for at, text := range map[string]string{a: k.LabelA, b: k.LabelB} {
			if text != "" {
				c.wrong(at, "is for backend: pkcs11; this key's backend is %s: take the label out, or change the backend", k.Backend)
			}
		}
		return
	}
	c.halves(a, k.LabelA, b, k.LabelB, "the label of the token's key")
}

func (c *checker) halves(atA, a, atB, b, meaning string) {
	const form = ", 1 to 64 printable ASCII characters"
	fits := c.form(atA, a, label, meaning+" A"+form)
	if c.form(atB, b, label, meaning+" B"+form) && fits && a == b {
		c.wrong(atB, "is the label of key A too; the halves are two objects with two labels")
	}
}

// Limits of a token's settings.
const (
	mostSessions = 64
	largestBatch = 4096 // cards: 32 KiB, more than that some modules refuse
)

// pkcs11 checks the token, as far as it is used.
func (c *checker) pkcs11(used bool) {
	const path = "pkcs11"
	p := c.PKCS11
	if used {
		if c.need(join(path, "module"), p.Module, "the absolute path of the token's PKCS#11 library") {
			c.module(join(path, "module"), p.Module)
		}
		if p.Token == "" && p.Serial == "" {
			c.need(join(path, "token"), "", "the token's label (or its serial number as serial)")
		}
	}
	c.secret(join(path, "pin"), p.PIN, used)
	if p.Token != "" && (!label.MatchString(p.Token) || len(p.Token) > 32) {
		c.wrong(join(path, "token"), "is no label of a token; write 1 to 32 printable ASCII characters")
	}
	c.within(join(path, "sessions"), int64(p.Sessions), 1, mostSessions, "the sessions open at a time")
	c.within(join(path, "batch"), int64(p.Batch), 1, largestBatch, "the cards of one call of the token")
	c.timeout(join(path, "timeout"), p.Timeout)
	if p.TestLabelA != "" || p.TestLabelB != "" {
		c.halves(join(path, "test_label_a"), p.TestLabelA, join(path, "test_label_b"), p.TestLabelB, "the label of the token's public test key")
	}
}

// module notes a library that the loader would have to look for: what is loaded gets the PIN.
func (c *checker) module(path, file string) {
	if !filepath.IsAbs(file) {
		c.wrong(path, "%q is no absolute path; write the whole path of the library, so that no other is loaded in its place", file)
	} else if state, err := os.Stat(file); c.workspace != "" && (err != nil || state.IsDir()) {
		c.wrong(path, "there is no library %q on this machine; install the token's software, or write where it is", file)
	}
}
