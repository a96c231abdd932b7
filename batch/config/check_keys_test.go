package config

import (
	"strings"
	"testing"
)

const (
	escrowFingerprint = "00000000000000000000000000000000000000EE"
	formerFingerprint = "00000000000000000000000000000000000000F0"
)

// withKeys gives alpha and the card system an escrow key and us a former key.
var withKeys = []string{
	`# escrow: {key_file: keys/escrow.asc, fingerprint: "..."}`, `escrow: {key_file: keys/escrow.asc, fingerprint: "` + escrowFingerprint + `"}`,
	`    key_file: keys/card-system.asc`, `    key_file: keys/card-system.asc` + "\n" + `    escrow: {key_file: keys/second.asc, fingerprint: "` + escrowFingerprint + `"}`,
	`# former: [{key_file: keys/issuer-before.pgp, fingerprint: "..."}]`, `former: [{key_file: keys/issuer-before.pgp, fingerprint: "` + formerFingerprint + `", passphrase: {env: FORMER}}]`,
}

func TestEscrowAndFormerKeysAreRead(t *testing.T) {
	c := parsed(t, example(t, withKeys...))
	if e := c.Bureaus["alpha"].PGP.Escrow; e.KeyFile != "keys/escrow.asc" || e.Fingerprint != escrowFingerprint {
		t.Errorf("escrow of alpha: %+v", e)
	}
	if e := c.CardSystem.PGP.Escrow; e.KeyFile != "keys/second.asc" {
		t.Errorf("escrow of the card system: %+v", e)
	}
	if e := c.Bureaus["beta"].PGP.Escrow; e != (EscrowKey{}) {
		t.Errorf("escrow of beta: %+v", e)
	}
	if f := c.Keys.Former; len(f) != 1 || f[0].KeyFile != "keys/issuer-before.pgp" || f[0].Fingerprint != formerFingerprint || f[0].Passphrase.Env != "FORMER" {
		t.Errorf("former keys: %+v", f)
	}
}

func TestMistakesAboutEscrowAndFormerKeys(t *testing.T) {
	own := SampleValues.OwnFingerprint
	expectMistakes(t, []change{
		{"escrow without a file", `escrow: {key_file: keys/escrow.asc, `, `escrow: {`, `escrow: {`, "bureaus.alpha.pgp.escrow.key_file", "is missing"},
		{"escrow with an empty file", `key_file: keys/escrow.asc`, `key_file: ""`, `"", fing`, "bureaus.alpha.pgp.escrow.key_file", "leave escrow out"},
		{"escrow without a fingerprint", `keys/escrow.asc, fingerprint: "` + escrowFingerprint + `"`, `keys/escrow.asc`, "escrow: {key_file: keys/escrow", "bureaus.alpha.pgp.escrow.fingerprint", "is missing"},
		{"escrow by a short fingerprint", `keys/escrow.asc, fingerprint: "` + escrowFingerprint, `keys/escrow.asc, fingerprint: "0EE`, `"0EE`, "bureaus.alpha.pgp.escrow.fingerprint", "40 hex digits"},
		{"escrow that is the recipient", `keys/escrow.asc, fingerprint: "` + escrowFingerprint, `keys/escrow.asc, fingerprint: "` + SampleValues.AlphaFingerprint, `"` + SampleValues.AlphaFingerprint + `"}`, "bureaus.alpha.pgp.escrow.fingerprint", "a second one"},
		{"escrow of the card system", `keys/second.asc, fingerprint: "` + escrowFingerprint, `keys/second.asc, fingerprint: "`, `""}`, "card_system.pgp.escrow.fingerprint", "is empty"},
		{"former key without a file", `former: [{key_file: keys/issuer-before.pgp, `, `former: [{`, `{fingerprint: "` + formerFingerprint, "keys.former[0].key_file", "is missing"},
		{"former key by a short fingerprint", formerFingerprint, "F0", `"F0"`, "keys.former[0].fingerprint", "40 hex digits"},
		{"former key that is in use", formerFingerprint, own, `"` + own + `", passphrase`, "keys.former[0].fingerprint", "is the key of keys.fingerprint too"},
		{"former key twice", `former: [`, `former: [{key_file: a.pgp, fingerprint: "` + formerFingerprint + `"}, `, `"` + formerFingerprint + `", passphrase`, "keys.former[1].fingerprint", "stands in the list once"},
		{"passphrase written out", `passphrase: {env: FORMER}`, `passphrase: hunter2`, "hunter2", "keys.former[0].passphrase", "never holds it"},
	}, withKeys...)
}

// What stands in the sample as a comment means what it says when it is taken in.
func TestTheSampleShowsEscrowAndFormerKeys(t *testing.T) {
	text := example(t)
	for i := 0; i < len(withKeys); i += 2 {
		if !strings.Contains(text, withKeys[i]) {
			t.Errorf("the sample has no %s", withKeys[i])
		}
	}
}

// Backups may be sealed to a second key, checked as a recipient's is.
func TestTheEscrowKeyOfBackups(t *testing.T) {
	escrow := []string{`# escrow: {key_file: keys/safe.asc, fingerprint: "..."}`, `escrow: {key_file: keys/safe.asc, fingerprint: "` + escrowFingerprint + `"}`}
	if e := parsed(t, example(t, escrow...)).Keys.Escrow; e.KeyFile != "keys/safe.asc" || e.Fingerprint != escrowFingerprint {
		t.Errorf("escrow: %+v", e)
	}
	expectMistakes(t, []change{
		{"without a file", `escrow: {key_file: keys/safe.asc, `, `escrow: {`, `escrow: {fing`, "keys.escrow.key_file", "is missing"},
		{"by a short fingerprint", escrowFingerprint, "EE", `"EE"`, "keys.escrow.fingerprint", "40 hex digits"},
		{"that is our own", escrowFingerprint, SampleValues.OwnFingerprint, `"` + SampleValues.OwnFingerprint + `"}`, "keys.escrow.fingerprint", "a second one"},
	}, escrow...)
}
