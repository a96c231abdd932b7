package config

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"time"
)

// This file checks the host security modules of backend payshield. What stands
// as a key's token is never repeated.

// tokenForm is a double-length key under a variant LMK, or a key block.
var tokenForm = regexp.MustCompile(`^(U[0-9A-F]{32}|S[0-9A-Za-z]{17,511})$`)

const tokenMeaning = "the key as the module exported it: U and 32 hexadecimal digits in capitals, or a key block that begins with S"

// keyToken checks what the module knows a key by.
func (c *checker) keyToken(path string, k CardKey) {
	at, token := join(path, "token"), k.Token.Reveal()
	switch {
	case k.Backend != PayShieldKeys && token != "":
		c.wrong(at, "is for backend: payshield; this key's backend is %s: take the token out, or change the backend", k.Backend)
	case k.Backend == PayShieldKeys:
		c.token(at, k.Token)
	}
}

// token checks the form of a token, which is never repeated.
func (c *checker) token(at string, t KeyToken) bool {
	if !c.need(at, t.Reveal(), tokenMeaning) {
		return false
	}
	if !tokenForm.MatchString(t.Reveal()) {
		c.wrong(at, "its %d characters are no such token; write %s", len(t.Reveal()), tokenMeaning)
		return false
	}
	return true
}

// Limits of the client's settings.
const (
	leastHeader     = 4
	longestHeader   = 255
	mostConnections = 64
	mostInFlight    = 4096
	mostRetries     = 100
	longestPause    = time.Minute
)

var (
	lmkIdentifier = regexp.MustCompile(`^[0-9]{2}$`)
	lmkCheck      = regexp.MustCompile(`^[0-9A-Fa-f]{6,16}$`)
)

// payShield checks the modules, as far as they are used.
func (c *checker) payShield(used bool) {
	const path = "payshield"
	p := c.PayShield
	if used && len(p.Addresses) == 0 {
		c.wrong(join(path, "addresses"), "are missing; write host:port of each module, such as [hsm1.example:2500]")
	}
	for i, address := range p.Addresses {
		c.moduleAddress(fmt.Sprintf("%s.addresses[%d]", path, i), address)
	}
	const check = "the LMK's check value as the console shows it, 6 to 16 hex digits (in quotes)"
	if used || p.LMKCheck != "" {
		c.form(join(path, "lmk_check"), p.LMKCheck, lmkCheck, check)
	}
	if p.LMK != "" {
		c.form(join(path, "lmk"), p.LMK, lmkIdentifier, "the LMK's identifier, two digits (in quotes)")
	}
	c.pinLength(join(path, "pin_length"), p.PINLength)
	c.testKey(join(path, "test_key"), p.TestKey)
	c.payShieldTLS(join(path, "tls"), p.TLS, used)
	c.within(join(path, "header_length"), int64(p.HeaderLength), leastHeader, longestHeader, "the characters of the message header, as set in the module")
	c.within(join(path, "connections"), int64(p.Connections), 1, mostConnections, "the connections to all modules together")
	c.within(join(path, "in_flight"), int64(p.InFlight), 1, mostInFlight, "the commands that wait on one connection")
	c.within(join(path, "retries"), int64(p.Retries), 0, mostRetries, "the further tries of a command")
	c.timeout(join(path, "timeout"), p.Timeout)
	c.timeout(join(path, "connect_timeout"), p.ConnectTimeout)
	c.span(join(path, "retry_pause"), p.RetryPause, time.Millisecond, longestPause)
}

func (c *checker) moduleAddress(at, address string) {
	host, port, err := net.SplitHostPort(address)
	if number, wrong := strconv.Atoi(port); err != nil || wrong != nil || number < 1 || number > 65535 || !hostName.MatchString(host) {
		c.wrong(at, "%q is no address; write host:port, such as hsm1.example:2500", address)
	}
}

// testKey: known answers are computed where the public pair is.
func (c *checker) testKey(at, key string) {
	if key == "" || !refers(c, at, key, "card key", "card_keys", c.CardKeys) {
		return
	}
	if backend := c.CardKeys[key].Backend; backend != PayShieldKeys {
		c.wrong(at, "names a key of backend %s; the public test pair is in the module too: name a key of backend payshield", backend)
	}
}

func (c *checker) payShieldTLS(path string, t PayShieldTLS, used bool) {
	ca, certificate, key := join(path, "ca_file"), join(path, "certificate_file"), join(path, "key_file")
	switch {
	case t.CAFile != "":
		c.exists(ca, t.CAFile, "the PEM file of the authority that signed the modules' certificates")
	case t != PayShieldTLS{}:
		c.wrong(ca, "is empty, so nothing of tls is used and connections are plain TCP; write the PEM file of the authority that signed the modules' certificates")
		return
	case used && c.Environment == Production:
		c.wrong(ca, "is empty, so card numbers and values would go to the modules in clear; in production write the PEM file of the authority that signed the modules' certificates")
		return
	}
	if t.CertificateFile == "" && t.KeyFile == "" {
		return
	}
	if c.need(certificate, t.CertificateFile, "the PEM file of our certificate, or take key_file out") {
		c.exists(certificate, t.CertificateFile, "the PEM file of our certificate")
	}
	if c.need(key, t.KeyFile, "the PEM file (0600) of our certificate's private key, or take certificate_file out") {
		c.exists(key, t.KeyFile, "the PEM file (0600) of our certificate's private key")
	}
}
