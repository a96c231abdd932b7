package config

import (
	"fmt"
	"net/mail"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"
)

// This file checks who is told of a night. What stands in a URL is never
// repeated: many services put their secret into it.

func (c *checker) notify() {
	n := c.Notify
	c.url("notify.report_url", n.ReportURL)
	c.mail("notify.mail", n.Mail)
	for i, w := range n.Webhooks {
		at := fmt.Sprintf("notify.webhooks[%d]", i)
		c.when(join(at, "when"), w.When)
		if c.need(join(at, "url"), w.URL, "the URL that gets the night's sentence") {
			c.hook(at, w.URL, w.Secret, w.Timeout, w.CAFile)
		}
	}
	c.heartbeat("notify.heartbeat", n.Heartbeat)
	if file := n.Metrics.File; file != "" && (path.Ext(file) != ".prom" || path.Base(file) == ".prom") {
		c.wrong("notify.metrics.file", "%q is no file that the node exporter's textfile collector reads; write a name that ends in .prom", file)
	}
}

// mostEvents is the most events of one request.
const mostEvents = 10_000

func (c *checker) events() {
	const at = "events.webhook"
	w := c.Events.Webhook
	c.within(join(at, "batch"), int64(w.Batch), 1, mostEvents, "the most events of one request")
	if w.URL != "" {
		c.hook(at, w.URL, w.Secret, w.Timeout, w.CAFile)
	} else if c.written(join(at, "secret")) {
		c.wrong(join(at, "url"), "is empty, so no event is sent, but there is a secret for it; write the URL that gets the events, or take the secret out")
	}
}

// hook checks what every signed request of ours needs.
func (c *checker) hook(at, address string, secret SecretRef, timeout time.Duration, caFile string) {
	c.url(join(at, "url"), address)
	c.secret(join(at, "secret"), secret, true)
	c.timeout(join(at, "timeout"), timeout)
	c.certificates(join(at, "ca_file"), caFile)
}

// url notes an address that is none of the web, or carries a login; "" is none at all.
func (c *checker) url(at, address string) {
	if address == "" {
		return
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		c.wrong(at, "is no absolute URL; write one that begins with https:// and the server's name")
	case u.User != nil:
		c.wrong(at, "holds a user or a password before the server's name; secrets never stand in the configuration: take them out")
	case u.Scheme != "https" && c.Environment == Production:
		c.wrong(at, "is not encrypted; in production write https://")
	}
}

// hostName is a server's name or address, without scheme and port.
var hostName = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)$`)

func (c *checker) mail(at string, m Mail) {
	for i, to := range m.To {
		c.mailRecipient(fmt.Sprintf("%s.to[%d]", at, i), to)
	}
	switch {
	case m.Host != "":
	case len(m.To) > 0:
		c.wrong(join(at, "host"), "is missing, so nobody in the list to is told; write the mail server's name")
		return
	default:
		return
	}
	c.form(join(at, "host"), m.Host, hostName, "the mail server's name alone, without scheme and port")
	c.within(join(at, "port"), int64(m.Port), 1, 65535, "the mail server's port")
	if c.oneOf(join(at, "security"), m.Security, "security of mail", StartTLS, TLS, NoTLS) && m.Security == NoTLS && c.Environment == Production {
		c.wrong(join(at, "security"), "mail that is not encrypted is for environment: test; in production write starttls or tls")
	}
	c.certificates(join(at, "ca_file"), m.CAFile)
	c.timeout(join(at, "timeout"), m.Timeout)
	c.login(at, m)
	if c.need(join(at, "from"), m.From, "the address that the mail comes from") {
		c.address(join(at, "from"), m.From)
	}
	c.some(join(at, "to"), len(m.To), "at least one recipient, such as - {address: operations@example.com}")
}

// login: a user has a password, and a password has a user.
func (c *checker) login(at string, m Mail) {
	password := join(at, "password")
	if m.User == "" && c.written(password) && !c.malformed(password) {
		c.wrong(join(at, "user"), "is empty, so nobody logs in, but there is a password; write the user, or take the password out")
		return
	}
	c.secret(password, m.Password, m.User != "")
}

func (c *checker) mailRecipient(at string, r MailRecipient) {
	c.when(join(at, "when"), r.When)
	if c.need(join(at, "address"), r.Address, "the recipient's address") {
		c.address(join(at, "address"), r.Address)
	}
}

func (c *checker) address(at, text string) {
	// A line break would begin another header of the mail.
	if _, err := mail.ParseAddress(text); err != nil || strings.ContainsAny(text, "\r\n") {
		c.wrong(at, "%q is no mail address; write one such as operations@example.com, or Night <operations@example.com>", text)
	}
}

func (c *checker) when(at, text string) {
	c.oneOf(at, text, "time to tell", WhenNeeded, Always)
}

func (c *checker) heartbeat(at string, h Heartbeat) {
	c.url(join(at, "start"), h.Start)
	c.url(join(at, "end"), h.End)
	c.url(join(at, "fail"), h.Fail)
	c.timeout(join(at, "timeout"), h.Timeout)
	if h.End == "" && (h.Start != "" || h.Fail != "") {
		c.wrong(join(at, "end"), "is missing; a night that never ends is noticed by the ping that does not come: write the URL for it")
	}
}

func (c *checker) timeout(at string, d time.Duration) {
	c.span(at, d, 100*time.Millisecond, 10*time.Minute)
}

// certificates: a file of certificates that is named must be there, or nothing is ever told.
func (c *checker) certificates(at, file string) {
	if file != "" {
		c.exists(at, file, "the PEM file of the certificates to trust, or take ca_file out for the system's")
	}
}
