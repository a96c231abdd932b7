package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const sampleToken = "U0123456789ABCDEF0123456789ABCDEF"

// moduleOn puts one key of the sample into a host security module.
var moduleOn = []string{
	`  cvk-visa: {backend: software, kcv: "08D7B4"}`, `  cvk-visa: {backend: payshield, kcv: "08D7B4", token: ` + sampleToken + `}`,
	"addresses: []  ", "addresses: [hsm1:2500, '[::1]:1500'] ", `lmk_check: ""  `, `lmk_check: "268604" `, `test_key: ""  `, "test_key: cvk-visa ",
	`lmk: ""  `, `lmk: "00" `, `tls: {ca_file: "", certificate_file: "", key_file: "", server_name: ""}`, "tls: {ca_file: keys/hsm-ca.pem, certificate_file: c.pem, key_file: k.pem, server_name: hsm}",
}

func TestAKeyMayBeInAPayShield(t *testing.T) {
	c := parsed(t, example(t, moduleOn...))
	if k := c.CardKeys["cvk-visa"]; k.Backend != PayShieldKeys || k.Token.Reveal() != sampleToken {
		t.Errorf("key: %+v", k)
	}
	p := c.PayShield
	if len(p.Addresses) != 2 || p.HeaderLength != 4 || p.LMK != "00" || p.LMKCheck != "268604" || p.TestKey != "cvk-visa" || p.TLS.ServerName != "hsm" ||
		p.Connections != 4 || p.InFlight != 64 || p.Timeout != 5*time.Second || p.Retries != 3 || p.RetryPause != 250*time.Millisecond {
		t.Errorf("modules: %+v", p)
	}
}

func TestMistakesAboutPayShields(t *testing.T) {
	expectMistakes(t, []change{
		{"token missing", ", token: " + sampleToken, "", "cvk-visa: {backend: payshield", "card_keys.cvk-visa.token", "is missing"},
		{"token too short", sampleToken, "Uhunter2", "Uhunter2", "card_keys.cvk-visa.token", "its 8 characters"},
		{"token without its scheme", sampleToken, sampleToken[1:], sampleToken[1:], "card_keys.cvk-visa.token", "begins with S"},
		{"token of a software key", `cvk-mastercard: {backend: software, `, `cvk-mastercard: {backend: software, token: hunter2, `, "hunter2", "card_keys.cvk-mastercard.token", "is for backend: payshield"},
		{"label of a key in a module", `"08D7B4", token: `, `"08D7B4", label_a: a, token: `, "a, token", "card_keys.cvk-visa.label_a", "is for backend: pkcs11"},
		{"no address", "addresses: [hsm1:2500, '[::1]:1500']", "addresses: []", "[]", "payshield.addresses", "are missing"},
		{"address without a port", "hsm1:2500", "hsm1", "hsm1", "payshield.addresses[0]", "host:port"},
		{"address with a port that is none", "hsm1:2500", "hsm1:99999", "hsm1:99999", "payshield.addresses[0]", "host:port"},
		{"LMK check missing", `lmk_check: "268604"`, `lmk_check: ""`, `""`, "payshield.lmk_check", "is empty"},
		{"LMK check", "268604", "26860", `"26860"`, "payshield.lmk_check", "6 to 16"},
		{"LMK", `lmk: "00"`, `lmk: "0"`, `"0"`, "payshield.lmk", "two digits"},
		{"test key that is none", "test_key: cvk-visa", "test_key: cvk-visum", "cvk-visum", "payshield.test_key", "did you mean"},
		{"test key elsewhere", "test_key: cvk-visa", "test_key: cvk-mastercard", "cvk-mastercard", "payshield.test_key", "backend software"},
		{"TLS without an authority", "ca_file: keys/hsm-ca.pem", `ca_file: ""`, `""`, "payshield.tls.ca_file", "nothing of tls is used"},
		{"certificate without its key", "key_file: k.pem", `key_file: ""`, `""`, "payshield.tls.key_file", "is empty"},
		{"key without its certificate", "certificate_file: c.pem", `certificate_file: ""`, `""`, "payshield.tls.certificate_file", "is empty"},
		{"header", "header_length: 4 ", "header_length: 3 ", "3 ", "payshield.header_length", "from 4 to 255"},
		{"connections", "connections: 4 ", "connections: 65 ", "65 ", "payshield.connections", "from 1 to 64"},
		{"in flight", "in_flight: 64 ", "in_flight: 0 ", "0 ", "payshield.in_flight", "from 1 to 4096"},
		{"timeout", "timeout: 5s                # of one", "timeout: 1ms                # of one", "1ms", "payshield.timeout", "from 100ms"},
		{"connect timeout", "connect_timeout: 5s", "connect_timeout: 1h", "1h", "payshield.connect_timeout", "out of range"},
		{"retries", "retries: 3 ", "retries: 101 ", "101 ", "payshield.retries", "from 0 to 100"},
		{"retry pause", "retry_pause: 250ms", "retry_pause: 2m", "2m", "payshield.retry_pause", "out of range"},
	}, moduleOn...)
}

func TestInProductionPayShieldsSpeakTLS(t *testing.T) {
	plain := append(moduleOn[:len(moduleOn)-2:len(moduleOn)-2], "environment: test ", "environment: production ")
	var found string
	for _, m := range mistakesOf(t, example(t, plain...)) {
		if m.Path == "payshield.tls.ca_file" {
			found = m.Message
		}
	}
	if !strings.Contains(found, "in clear") {
		t.Errorf("plain TCP in production: %q", found)
	}
	for _, m := range mistakesOf(t, example(t, append(moduleOn[:len(moduleOn):len(moduleOn)], "environment: test ", "environment: production ")...)) {
		if strings.HasPrefix(m.Path, "payshield") {
			t.Errorf("TLS in production: %v", m)
		}
	}
}

func TestTheFilesOfTLSMustBeThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(example(t, moduleOn...)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	for _, at := range []string{"ca_file", "certificate_file", "key_file"} {
		if err == nil || !strings.Contains(err.Error(), "payshield.tls."+at+": there is no file") {
			t.Errorf("%s is missing: %v", at, err)
		}
	}
}

func TestAKeyTokenIsPrintedNowhere(t *testing.T) {
	c := parsed(t, example(t, moduleOn...))
	asJSON, err := json.Marshal(c.CardKeys)
	if err != nil {
		t.Fatal(err)
	}
	k := c.CardKeys["cvk-visa"]
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %q %x", k, k, k, k.Token, k.Token, k.Token), string(asJSON)} {
		if strings.Contains(text, sampleToken[1:]) || !strings.Contains(text, "[key token]") {
			t.Error("a key token is printed")
		}
	}
}
