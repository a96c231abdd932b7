package config

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"reemboss/formats/iso"
)

// Ways of delivery.
const (
	SFTP   = "sftp"
	Folder = "folder"
)

// Layouts that are built in; another name is a file of the workspace.
var builtinLayouts = []string{"cardgen-v12", "fixed-v1"}

// ciphers that the SSH client can be told to use.
var ciphers = []string{
	"aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr",
}

var (
	bureauName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,39}$`)
	clock      = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)
	pgpV4      = regexp.MustCompile(`^[0-9A-Fa-f]{40}$`)
	sequence   = regexp.MustCompile(`\{sequence(:[^{}]*)?\}`)
)

func (c *checker) bureaus() {
	c.some("bureaus", len(c.Bureaus), "at least one bureau")
	for key, b := range c.Bureaus {
		at := join("bureaus", key)
		switch {
		case key == CardSystem:
			c.wrong(at, "%q is the name of the card system among the recipients; give the bureau another name", key)
		case key == PINRecipient:
			c.wrong(at, "%q is the name of whoever gets the PIN files among the recipients; give the bureau another name", key)
		case !bureauName.MatchString(key):
			c.wrong(at, "%q cannot name a bureau (it becomes a folder); use 1 to 40 small letters, digits, hyphens and underscores", key)
		}
		c.recipient(key, at, b.Recipient)
		c.file(at, b)
		c.names(at, b)
		c.calendar(at, b)
		c.approval(join(at, "approval"), key, b)
		c.sla(join(at, "sla"), b)
		c.returns(join(at, "returns"), b)
		c.simulation(join(at, "simulation"), b.Simulation)
		if b.Simulator && c.Environment == Production {
			c.wrong(join(at, "simulator"), "a simulated bureau is for environment: test; in production write simulator: false and the real bureau's delivery")
		}
	}
}

func (c *checker) file(at string, b Bureau) {
	layout := join(at, "layout")
	switch {
	case !c.need(layout, b.Layout, "a layout: "+strings.Join(builtinLayouts, ", ")+", or a file of the workspace such as layouts/own.yaml"):
	case slices.Contains(builtinLayouts, b.Layout):
	case strings.Contains(b.Layout, "/") || path.Ext(b.Layout) != "":
		c.exists(layout, b.Layout, "the path of a layout file, or a built-in layout: "+strings.Join(builtinLayouts, ", "))
	default:
		c.wrong(layout, "%q is no built-in layout; %s, or name a file of the workspace such as layouts/own.yaml", b.Layout, hint(b.Layout, builtinLayouts))
	}
	template := join(at, "file_name")
	const example = "a template such as {client}_{bureau}_{date:20060102}_{sequence:06}.{ext}.pgp"
	if c.need(template, b.FileName, example) {
		switch {
		case !sequence.MatchString(b.FileName):
			c.wrong(template, "has no {sequence}; without it two files would have one name: write %s", example)
		case strings.ContainsAny(b.FileName, "/\\"):
			c.wrong(template, "holds a path separator; a file name is one name, the folder stands in delivery.dir")
		}
	}
	c.within(join(at, "max_records"), int64(b.MaxRecords), 0, 100_000_000, "the most records of one file (0: no limit)")
	c.need(join(at, "client"), b.Client, "our name at the bureau")
}

func (c *checker) names(at string, b Bureau) {
	limitFits := c.within(join(at, "max_name"), int64(b.MaxName), iso.MinEncodedName, iso.MaxName, "the most characters of an embossed name")
	charsetFits := c.oneOf(join(at, "charset"), b.Charset, "character set", iso.ASCIIUpper, iso.Latin1Upper)
	if !limitFits || !charsetFits {
		return
	}
	if _, err := iso.NewNameRules(b.Charset, b.MaxName, b.ShortenName, b.Transliterate); err != nil {
		c.wrong(join(at, "transliterate"), "%v; write other characters on the right side", err)
	}
}

func (c *checker) calendar(at string, b Bureau) {
	c.zone(join(at, "time_zone"), b.TimeZone)
	c.form(join(at, "cut_off"), b.CutOff, clock, "the bureau's local time from which an order counts for the next working day, HH:MM from 00:00 to 23:59")
	c.some(join(at, "working_days"), len(b.WorkingDays), "at least one of mon tue wed thu fri sat sun")
	for i, day := range b.WorkingDays {
		c.oneOf(fmt.Sprintf("%s[%d]", join(at, "working_days"), i), day, "weekday", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
	}
	c.twice(join(at, "working_days"), b.WorkingDays)
	for i, day := range b.Holidays {
		if _, err := time.Parse(time.DateOnly, day); err != nil {
			c.wrong(fmt.Sprintf("%s[%d]", join(at, "holidays"), i), "%q is no date; write YYYY-MM-DD, such as 2026-12-25", day)
		}
	}
	c.twice(join(at, "holidays"), b.Holidays)
}

// recipient checks whom a sealed file is for and how it gets there.
func (c *checker) recipient(name, at string, r Recipient) {
	c.need(join(at, "pgp.key_file"), r.PGP.KeyFile, "the file of the recipient's PGP public key, such as keys/bureaus/"+name+".asc")
	c.fingerprint(join(at, "pgp.fingerprint"), r.PGP.Fingerprint)
	c.escrow(join(at, "pgp"), r.PGP)
	if c.oneOf(join(at, "delivery.method"), r.Delivery.Method, "way of delivery", SFTP, Folder) && r.Delivery.Method == SFTP {
		c.sftp(join(at, "delivery"), r.Delivery)
	}
}

func (c *checker) fingerprint(at, text string) {
	const meaning = "the key's whole fingerprint, 40 hex digits without spaces (gpg --fingerprint)"
	c.form(at, text, pgpV4, meaning)
}

func (c *checker) sftp(at string, d Delivery) {
	c.need(join(at, "host"), d.Host, "the server's name")
	c.within(join(at, "port"), int64(d.Port), 1, 65535, "the server's port")
	c.need(join(at, "user"), d.User, "our user name on the server")
	c.need(join(at, "known_hosts"), d.KnownHosts, "the file with the server's host key, such as keys/known_hosts")
	c.need(join(at, "dir"), d.Dir, "the remote folder, . for the one we land in")
	if d.TempSuffix == "" && (d.TempDir == "" || d.TempDir == d.Dir) {
		c.wrong(join(at, "temp_suffix"), "is empty, and temp_dir names no other folder: a file would have its final name before it is whole; write .part")
	}
	if strings.ContainsAny(d.TempSuffix, "/\\") {
		c.wrong(join(at, "temp_suffix"), "holds a path separator; use temp_dir for a folder")
	}
	c.within(join(at, "concurrency"), int64(d.Concurrency), 1, 1024, "the requests in flight")
	c.within(join(at, "attempts"), int64(d.Attempts), 1, 100, "how often a transfer is tried in one run")
	c.some(join(at, "ciphers"), len(d.Ciphers), "at least one cipher")
	for i, cipher := range d.Ciphers {
		c.oneOf(fmt.Sprintf("%s[%d]", join(at, "ciphers"), i), cipher, "cipher", ciphers...)
	}
	for _, wait := range []struct {
		key  string
		time time.Duration
	}{{"dial_timeout", d.DialTimeout}, {"idle_timeout", d.IdleTimeout}} {
		if wait.time < 100*time.Millisecond || wait.time > time.Hour {
			c.wrong(join(at, wait.key), "%s is out of range; write from 100ms to 1h", wait.time)
		}
	}
	if d.RetryPause > time.Hour {
		c.wrong(join(at, "retry_pause"), "%s is out of range; write at most 1h", d.RetryPause)
	}
}
