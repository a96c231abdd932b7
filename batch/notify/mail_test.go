package notify

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"

	"reemboss/batch/config"
	"reemboss/batch/report"
)

const mailHost = "mail.bank.example"

// mailTo is the configuration of the tests: STARTTLS, verified by the authority.
func mailTo(caFile string, addresses ...string) config.Notify {
	cfg := config.Mail{Host: mailHost, Port: 587, Security: config.StartTLS, CAFile: caFile, From: "Reemboss <cards@bank.example>", Timeout: 10 * time.Second}
	for _, a := range addresses {
		cfg.To = append(cfg.To, config.MailRecipient{Address: a, When: config.Always})
	}
	return config.Notify{ReportURL: "https://reports.bank.example/cards/", Mail: cfg}
}

func TestMailArrivesWithTheNightAndItsPage(t *testing.T) {
	ca := newAuthority(t)
	server := &mailServer{user: "cards", password: "correct horse"}
	serveMail(t, server, ca.server(mailHost), false)
	dir := t.TempDir()
	content := "<html>" + strings.Repeat("the whole page, every byte of it. ", 5000) + "\x00\xff</html>"
	if err := os.WriteFile(filepath.Join(dir, "page.html"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := mailTo(ca.File, "ops@bank.example", "head@bank.example")
	cfg.Mail.User, cfg.Mail.Password = "cards", config.SecretRef{Env: "MAIL"}
	cfg.Mail.To[0].Attach = true
	n := newNotifier(t, cfg, config.Events{}, map[string]string{"MAIL": "correct horse"}, Options{Workspace: dir, Dial: to(server.address)})
	night := aNight()
	night.Page = "page.html"
	none(t, n.Ended(t.Context(), night))

	mails := server.mails()
	if len(mails) != 2 {
		t.Fatalf("%d mails, want one for each recipient", len(mails))
	}
	for i, to := range []string{"ops@bank.example", "head@bank.example"} {
		m := open(t, mails[i].text)
		if mails[i].to != to || !mails[i].secured || mails[i].user != "cards" || m.header.Get("To") != "<"+to+">" {
			t.Errorf("mail %d: to %s (%s), secured %v, user %q", i, mails[i].to, m.header.Get("To"), mails[i].secured, mails[i].user)
		}
		if s := m.subject(t); s != "[reemboss] NEEDS A PERSON, run 2026-11-23-1: 1,200 of 1,300 rows accepted. One thing needs a person." {
			t.Errorf("subject %q", s)
		}
		for name, want := range map[string]string{
			"Auto-Submitted": "auto-generated", "Date": at.Format(time.RFC1123Z), "Message-Id": "<" + night.telling(to) + "@bank.example>",
		} {
			if got := m.header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		for _, want := range []string{
			night.Verdict, night.Needs[0].What, night.Needs[0].Command, night.Needs[0].Or[0], "https://reports.bank.example/cards/2026-11-23-1/reconciliation.html",
		} {
			if !strings.Contains(m.text, want) || !strings.Contains(m.html, want) {
				t.Errorf("%q is missing in\n%s\n%s", want, m.text, m.html)
			}
		}
	}
	if got := open(t, mails[0].text).files[pageName]; got != content {
		t.Errorf("the attachment has %d bytes and is not the page of %d", len(got), len(content))
	}
	if files := open(t, mails[1].text).files; len(files) != 0 {
		t.Errorf("a recipient without attach got %d files", len(files))
	}
}

func TestMailOverTLSFromTheFirstByte(t *testing.T) {
	ca := newAuthority(t)
	server := &mailServer{user: "cards", password: "correct horse"}
	serveMail(t, server, ca.server(mailHost), true)
	cfg := mailTo(ca.File, "ops@bank.example")
	cfg.Mail.Security, cfg.Mail.User, cfg.Mail.Password = config.TLS, "cards", config.SecretRef{Env: "MAIL"}
	n := newNotifier(t, cfg, config.Events{}, map[string]string{"MAIL": "correct horse"}, Options{Dial: to(server.address)})
	none(t, n.Ended(t.Context(), aNight()))
	if mails := server.mails(); len(mails) != 1 || mails[0].user != "cards" {
		t.Errorf("arrived: %+v", mails)
	}
}

func TestMailIsNotSentWhereSTARTTLSIsNotOffered(t *testing.T) {
	server := &mailServer{}
	serveMail(t, server, nil, false)
	n := newNotifier(t, mailTo("", "ops@bank.example"), config.Events{}, nil, Options{Dial: to(server.address)})
	f := one(t, n.Ended(t.Context(), aNight()))
	if !strings.Contains(f.Why, "STARTTLS") || server.commands != 0 || len(server.mails()) != 0 {
		t.Errorf("%v; %d mails begun", f, server.commands)
	}
}

const hangUp = "hang up"

// scripted is a mail server that gives one answer to each line it hears; "" is silence.
func scripted(heard *[]string, answer func(command string) string) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			_, _ = there.Write([]byte("220 ready\r\n"))
			for lines := bufio.NewScanner(there); lines.Scan(); {
				*heard = append(*heard, lines.Text())
				said := answer(lines.Text())
				if said == hangUp {
					return
				}
				if said != "" {
					_, _ = there.Write([]byte(said))
				}
			}
		}()
		return here, nil
	}
}

// A server that takes the mail and hangs up has taken it: it is not sent again.
func TestMailThatWasTakenIsNotSentAgain(t *testing.T) {
	var heard []string
	talk := scripted(&heard, func(command string) string {
		switch verb, _, _ := strings.Cut(command, " "); verb {
		case "DATA":
			return "354 go on\r\n"
		case "EHLO", "NOOP", "MAIL", "RCPT", ".":
			return "250 yes\r\n"
		case "RSET":
			return hangUp
		}
		return "" // a line of the mail
	})
	synctest.Test(t, func(t *testing.T) {
		cfg := mailTo("", "ops@bank.example")
		cfg.Mail.Security = config.NoTLS
		none(t, newNotifier(t, cfg, config.Events{}, nil, Options{Dial: talk}).Ended(t.Context(), aNight()))
	})
	if all := strings.Join(heard, "\n"); strings.Count(all, "MAIL FROM") != 1 || !strings.Contains(all, "RSET") {
		t.Errorf("the server heard\n%s", all)
	}
}

// A server, or somebody in between, that offers STARTTLS and then refuses it gets nothing in clear.
func TestMailIsNotSentWhereSTARTTLSIsRefused(t *testing.T) {
	var heard []string
	talk := scripted(&heard, func(command string) string {
		if strings.HasPrefix(command, "EHLO") {
			return "250-mail.bank.example\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n"
		}
		return "454 4.7.0 TLS not available\r\n"
	})
	synctest.Test(t, func(t *testing.T) {
		cfg := mailTo("", "ops@bank.example")
		cfg.Mail.User, cfg.Mail.Password = "cards", config.SecretRef{Env: "MAIL"}
		n := newNotifier(t, cfg, config.Events{}, map[string]string{"MAIL": "correct horse"}, Options{Dial: talk})
		if f := one(t, n.Ended(t.Context(), aNight())); !strings.Contains(f.Why, "TLS not available") {
			t.Error(f)
		}
	})
	for _, command := range heard {
		if verb, _, _ := strings.Cut(command, " "); verb != "EHLO" && verb != "STARTTLS" && verb != "QUIT" {
			t.Errorf("in clear: %s", verb)
		}
	}
}

func TestMailNeedsACertificateThatVerifies(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	for _, c := range []struct {
		name, host, caFile string
		security           string
	}{
		{"another authority", mailHost, stranger.File, config.StartTLS},
		{"no authority that we know", mailHost, "", config.StartTLS},
		{"another host's", "evil.example", ca.File, config.StartTLS},
		{"another authority, TLS from the first byte", mailHost, stranger.File, config.TLS},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := &mailServer{}
			serveMail(t, server, ca.server(c.host), c.security == config.TLS)
			cfg := mailTo(c.caFile, "ops@bank.example")
			cfg.Mail.Security = c.security
			waited := &pauses{}
			n := newNotifier(t, cfg, config.Events{}, nil, Options{Dial: to(server.address), Sleep: waited.sleep})
			f := one(t, n.Ended(t.Context(), aNight()))
			if !strings.Contains(f.Why, "certificate") || !strings.Contains(f.Do, "ca_file") || len(server.mails()) != 0 || len(*waited) != 0 {
				t.Errorf("%v; %d mails, waited %v", f, len(server.mails()), *waited)
			}
		})
	}
}

func TestNothingCanBeSmuggledIntoAHeader(t *testing.T) {
	ca := newAuthority(t)
	server := &mailServer{}
	serveMail(t, server, ca.server(mailHost), false)
	n := newNotifier(t, mailTo(ca.File, "ops@bank.example"), config.Events{}, nil, Options{Dial: to(server.address)})
	night := aNight()
	night.Verdict = "done\r\nBcc: thief@evil.example\r\n\r\nbody\n.\nRSET \u202e<script>alert(1)</script>"
	night.Needs[0].What = "x.csv\r\n.\r\nMAIL FROM:<a@evil.example>"
	none(t, n.Ended(t.Context(), night))
	mails := server.mails()
	if len(mails) != 1 {
		t.Fatalf("%d mails", len(mails))
	}
	m := open(t, mails[0].text)
	if m.header.Get("Bcc") != "" || !strings.HasPrefix(m.text, "NEEDS A PERSON") {
		t.Errorf("headers %v, text\n%s", m.header, m.text)
	}
	if strings.Contains(m.html, "<script>") || strings.ContainsRune(m.text, '\u202e') || strings.Contains(m.text, "\n.") {
		t.Errorf("not clean:\n%s\n%s", m.text, m.html)
	}
}

func TestOneRefusedRecipientKeepsNoOtherFromBeingTold(t *testing.T) {
	ca := newAuthority(t)
	server := &mailServer{refusals: map[string][]error{
		"gone@bank.example": {&smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}},
		"busy@bank.example": {&smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "come back later"}},
		"full@bank.example": {&smtp.SMTPError{Code: 452, Message: "full"}, &smtp.SMTPError{Code: 452, Message: "full"}},
	}}
	serveMail(t, server, ca.server(mailHost), false)
	waited := &pauses{}
	n := newNotifier(t, mailTo(ca.File, "gone@bank.example", "busy@bank.example", "not an address", "full@bank.example", "ops@bank.example"), config.Events{}, nil,
		Options{Dial: to(server.address), Sleep: waited.sleep})
	failures := n.Ended(t.Context(), aNight())
	var who []string
	for _, f := range failures {
		who = append(who, f.Who)
	}
	if got := strings.Join(who, ", "); got != "mail to gone@bank.example, mail to not an address, mail to full@bank.example" {
		t.Errorf("failures of %s: %v", got, failures)
	}
	var reached []string
	for _, m := range server.mails() {
		reached = append(reached, m.to)
	}
	if got := strings.Join(reached, " "); got != "ops@bank.example busy@bank.example" || len(*waited) != 1 {
		t.Errorf("reached %s, waited %v", got, *waited)
	}
}

func TestPageThatIsNotThereIsSaidInTheMail(t *testing.T) {
	ca := newAuthority(t)
	server := &mailServer{}
	serveMail(t, server, ca.server(mailHost), false)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "huge.html"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "huge.html"), maxAttachment+1); err != nil {
		t.Fatal(err)
	}
	cfg := mailTo(ca.File, "ops@bank.example")
	cfg.Mail.To[0].Attach = true
	n := newNotifier(t, cfg, config.Events{}, nil, Options{Workspace: dir, Dial: to(server.address)})
	for i, c := range []struct{ page, want string }{
		{"", "could not be attached: this night has none"}, {"gone.html", "could not be attached: the file is not there"}, {"huge.html", "could not be attached: it is larger than 15 MiB"},
	} {
		night := aNight()
		night.Page = c.page
		none(t, n.Ended(t.Context(), night))
		if m := open(t, server.mails()[i].text); !strings.Contains(m.text, c.want) || !strings.Contains(m.html, c.want) || len(m.files) != 0 {
			t.Errorf("%q: %d files,\n%s", c.page, len(m.files), m.text)
		}
	}
}

func TestNoPasswordIsInAFailure(t *testing.T) {
	ca := newAuthority(t)
	const password = "correct horse"
	server := &mailServer{user: "cards", login: func(user, password string) error {
		plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
		return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "no: " + password + " " + plain}
	}}
	serveMail(t, server, ca.server(mailHost), false)
	cfg := mailTo(ca.File, "ops@bank.example")
	cfg.Mail.User, cfg.Mail.Password = "cards", config.SecretRef{Env: "MAIL"}
	n := newNotifier(t, cfg, config.Events{}, map[string]string{"MAIL": password}, Options{Dial: to(server.address)})
	f := one(t, n.Ended(t.Context(), aNight()))
	text := f.Error()
	for _, secret := range []string{password, base64.StdEncoding.EncodeToString([]byte(password)), base64.StdEncoding.EncodeToString([]byte("\x00cards\x00" + password))} {
		if strings.Contains(text, secret) {
			t.Error("the password is in the failure")
		}
	}
	if !strings.Contains(text, "does not let us in") || !strings.Contains(text, "[hidden]") || !strings.Contains(text, "notify.mail") {
		t.Error(text)
	}
}

func TestMailGivesUpOnASilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() { // takes everything, says nothing
				buffer := make([]byte, 512)
				for {
					if _, err := there.Read(buffer); err != nil {
						return
					}
				}
			}()
			return here, nil
		}
		began := time.Now()
		n := newNotifier(t, mailTo("", "ops@bank.example", "head@bank.example"), config.Events{}, nil, Options{Dial: silent})
		failures := n.Ended(t.Context(), aNight())
		if len(failures) != 2 || !strings.Contains(failures[0].Why, "did not answer within 10s") {
			t.Errorf("failures: %v", failures)
		}
		if took := time.Since(began); took != mailAttempts*10*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestMailStopsWithTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, context.Canceled)
		defer cancel()
		hold := func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			t.Cleanup(func() { _ = there.Close() })
			return here, nil
		}
		began := time.Now()
		n := newNotifier(t, mailTo("", "ops@bank.example"), config.Events{}, nil, Options{Dial: hold})
		if f := one(t, n.Ended(ctx, aNight())); !strings.Contains(f.Why, "stopped") || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %s", f, time.Since(began))
		}
	})
}

func TestLetterOfANightThatFailedAndOfOneThatDoesNotBalance(t *testing.T) {
	n := &Notifier{}
	failed := aNight()
	failed.Exit, failed.Reconciliation = 1, nil
	broken := aNight()
	broken.Reconciliation.Balances[0].Holds = false
	many := aNight()
	for range 60 {
		many.Needs = append(many.Needs, report.Need{What: "one more"})
	}
	for _, c := range []struct {
		night Night
		want  string
	}{
		{failed, "FAILED"}, {failed, "nothing can be said of them"}, {broken, "DOES NOT HOLD  rows: "}, {aNight(), "All balances hold (1)."}, {many, "... and 11 more; the report has them all."},
	} {
		var text strings.Builder
		if err := textLetter.Execute(&text, n.letter(c.night)); err != nil || !strings.Contains(text.String(), c.want) {
			t.Errorf("%q is missing (%v) in\n%s", c.want, err, text.String())
		}
	}
}

func TestSubjectIsShort(t *testing.T) {
	night := aNight()
	night.Verdict = strings.Repeat("ä", 5000)
	if s := (&Notifier{}).letter(night).subject(); len([]rune(s)) != maxSubject || !strings.HasSuffix(s, "…") {
		t.Errorf("%d characters: %s", len([]rune(s)), s)
	}
}

// What a server says of a mail decides whether the mail is tried again.
func TestWhichFailuresOfMailPass(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, true},
		{context.Canceled, false},
		{errors.New("STARTTLS mode set to: \"TLSMandatory\", but target host does not support STARTTLS"), false},
	} {
		if got := passing(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
