package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mailOn turns the sample's mail on.
var mailOn = []string{
	`host: ""                 # the mail`, `host: mail.example.com # the mail`, `from: ""`, `from: Card night <cards@example.com>`,
	"    to: []\n", "    to:\n      - {address: operations@example.com}\n      - {address: head@example.com, when: always, attach: true}\n",
}

// hooksOn gives the sample a webhook for the night and one for events.
var hooksOn = []string{
	"  webhooks: []\n", "  webhooks:\n    - {url: https://chat.example.com/hooks/hunter2, secret: {env: HOOK}}\n",
	`url: ""                  # "": none`, "url: https://events.example.com/in\n    secret: {file: keys/events-secret}",
}

func TestWhatTellsOfANightMayAllBeOn(t *testing.T) {
	c := parsed(t, example(t, append(append(mailOn[:len(mailOn):len(mailOn)], hooksOn...),
		`report_url: ""`, `report_url: https://cards.example.com/night`, `user: ""                 # "": no login`, "user: night\n    password: {env: MAIL_PASSWORD}",
		`start: ""`, `start: https://ping.example.com/x/start`, `end: "" `, `end: https://ping.example.com/x `,
		`file: ""                 # such`, `file: /var/lib/node_exporter/reemboss.prom # such`)...))
	to, hooks := c.Notify.Mail.To, c.Notify.Webhooks
	if len(to) != 2 || to[0].When != WhenNeeded || to[0].Attach || to[1].When != Always || !to[1].Attach {
		t.Errorf("recipients: %+v", to)
	}
	if len(hooks) != 1 || hooks[0].When != WhenNeeded || hooks[0].Timeout.Seconds() != 15 || hooks[0].Secret.Env != "HOOK" {
		t.Errorf("webhooks: %+v", hooks)
	}
	if e := c.Events.Webhook; e.Batch != 100 || e.Secret.File != "keys/events-secret" {
		t.Errorf("events: %+v", e)
	}
}

func TestMistakesAboutMail(t *testing.T) {
	expectMistakes(t, []change{
		{"host with a scheme", "host: mail.example.com", "host: smtp://mail.example.com", "smtp:", "notify.mail.host", "without scheme and port"},
		{"host with a port", "host: mail.example.com", "host: mail.example.com:587", "mail.example.com:587", "notify.mail.host", "without scheme and port"},
		{"recipients without a host", "host: mail.example.com", "host: \"\"", "\"\"", "notify.mail.host", "nobody in the list to is told"},
		{"port", "port: 587", "port: 70000", "70000", "notify.mail.port", "from 1 to 65535"},
		{"security", "security: starttls", "security: ssl", "ssl", "notify.mail.security", "known are none, starttls, tls"},
		{"sender missing", "from: Card night <cards@example.com>", "# ", "mail:\n    host", "notify.mail.from", "is missing"},
		{"sender", "from: Card night <cards@example.com>", "from: the cards", "the cards", "notify.mail.from", "is no mail address"},
		{"nobody to tell", mailOn[5], "    to: []\n", "[]", "notify.mail.to", "at least one recipient"},
		{"recipient", "address: operations@example.com}", "address: operations}", "operations}", "notify.mail.to[0].address", "is no mail address"},
		{"recipient without an address", "- {address: operations@example.com}", "- {when: always}", "{when: always}", "notify.mail.to[0].address", "is missing"},
		{"recipient with a second header", "{address: operations@example.com}", `{address: "a@b.example\nBcc: c@d.example"}`, `"a@b`, "notify.mail.to[0].address", "is no mail address"},
		{"when", "when: always, attach", "when: allways, attach", "allways", "notify.mail.to[1].when", `did you mean "always"?`},
		{"user without a password", `user: ""                 # "": no login`, "user: night", "mail:\n    host", "notify.mail.password", "file: with a path or env:"},
		{"password without a user", "# password: {file: keys/mail-password}", "password: {file: keys/mail-password}", "\"\"                 # \"\": no login", "notify.mail.user", "nobody logs in"},
		{"password written out", "# password: {file: keys/mail-password}", "password: hunter2", "hunter2", "notify.mail.password", "never holds it"},
		{"timeout", "timeout: 30s", "timeout: 1h", "1h", "notify.mail.timeout", "from 100ms to 10m0s"},
	}, mailOn...)
}

func TestMistakesAboutURLs(t *testing.T) {
	expectMistakes(t, []change{
		{"webhook that is no URL", "https://chat.example.com/hooks/hunter2", "chat.example.com/hooks/hunter2", "chat.", "notify.webhooks[0].url", "is no absolute URL"},
		{"webhook of another scheme", "https://chat.example.com/hooks/hunter2", "ftp://chat.example.com/hunter2", "ftp:", "notify.webhooks[0].url", "is no absolute URL"},
		{"webhook with a password", "https://chat.example.com/hooks/hunter2", "https://night:hunter2@chat.example.com", "https:", "notify.webhooks[0].url", "secrets never stand"},
		{"webhook without a URL", "{url: https://chat.example.com/hooks/hunter2, ", "{", "{secret", "notify.webhooks[0].url", "is missing"},
		{"webhook without a secret", ", secret: {env: HOOK}}", "}", "{url: https://chat.example.com/hooks/hunter2}", "notify.webhooks[0].secret", "file: with a path or env:"},
		{"webhook and when", "secret: {env: HOOK}}", "secret: {env: HOOK}, when: never}", "never", "notify.webhooks[0].when", "known are always, needed"},
		{"webhook's timeout", "secret: {env: HOOK}}", "secret: {env: HOOK}, timeout: 1ms}", "1ms", "notify.webhooks[0].timeout", "from 100ms"},
		{"events without a secret", "    secret: {file: keys/events-secret}\n", "    ", "webhook:\n    url", "events.webhook.secret", "file: with a path or env:"},
		{"a secret without its URL", "url: https://events.example.com/in", "url: '' # none", "''", "events.webhook.url", "no event is sent"},
		{"batch", "batch: 100 ", "batch: 0 ", "0 ", "events.webhook.batch", "from 1 to 10000"},
		{"report", `report_url: ""`, "report_url: reports/", "reports/", "notify.report_url", "is no absolute URL"},
		{"heartbeat that is no URL", `end: "" `, "end: ping.example.com ", "ping", "notify.heartbeat.end", "is no absolute URL"},
		{"heartbeat without its end", `start: ""`, "start: https://ping.example.com", "\"\"                  # the night came", "notify.heartbeat.end", "the ping that does not come"},
		{"metrics", `file: ""                 # such`, "file: metrics.txt # such", "metrics.txt", "notify.metrics.file", "ends in .prom"},
		{"metrics without a name", `file: ""                 # such`, "file: out/.prom # such", "out/.prom", "notify.metrics.file", "ends in .prom"},
	}, hooksOn...)
}

func TestProductionTellsNobodyInClear(t *testing.T) {
	replacements := append(append(mailOn[:len(mailOn):len(mailOn)], hooksOn...),
		"environment: test ", "environment: production ", "allow_software_keys: false", "allow_software_keys: true",
		"simulator: true ", "simulator: false ", "simulator: true", "simulator: false",
		"security: starttls", "security: none", "https://chat.example.com/hooks/hunter2", "http://chat.example.com/hooks/hunter2", "https://events.example.com", "http://events.example.com",
		`report_url: ""`, "report_url: http://cards.example.com", `end: "" `, "end: http://ping.example.com ")
	var got []string
	for _, m := range mistakesOf(t, example(t, replacements...)) {
		got = append(got, m.Path)
	}
	want := "notify.report_url notify.mail.security notify.webhooks[0].url notify.heartbeat.end events.webhook.url"
	if strings.Join(got, " ") != want {
		t.Errorf("production refuses %v, want %s", got, want)
	}
	replacements = append(replacements, "environment: production ", "environment: test ")
	if m := mistakesOf(t, example(t, replacements...)); len(m) > 0 {
		t.Errorf("a trial may: %v", m)
	}
}

func TestCertificatesThatAreNamedMustBeThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	text := example(t, append(mailOn[:len(mailOn):len(mailOn)], `ca_file: ""  `, "ca_file: keys/mail-ca.pem  ")...)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), `notify.mail.ca_file: there is no file "keys/mail-ca.pem"`) {
		t.Errorf("certificates that are missing: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "keys/mail-ca.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Errorf("certificates that are there: %v", err)
	}
}
