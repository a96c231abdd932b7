package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"reemboss/batch/config"
)

const (
	mailAttempts = 2
	mailPause    = 5 * time.Second // before the second round
)

// mailer brings mails to one server: a message for each recipient, all over one connection.
type mailer struct {
	n      *Notifier
	cfg    config.Mail
	tls    *tls.Config
	secret string // password
	hidden hidden
}

func (n *Notifier) newMailer(cfg config.Mail, secrets Secrets) (*mailer, error) {
	switch cfg.Security {
	case config.StartTLS, config.TLS, config.NoTLS:
	default:
		return nil, fmt.Errorf("notify.mail: security is %s, %s or %s", config.StartTLS, config.TLS, config.NoTLS)
	}
	if cfg.Timeout <= 0 {
		return nil, errors.New("notify.mail: the timeout must be longer than 0")
	}
	roots, err := n.roots(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("notify.mail: %w", err)
	}
	m := &mailer{n: n, cfg: cfg, tls: &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cfg.Host, RootCAs: roots}}
	if cfg.User == "" {
		return m, nil
	}
	password, err := secrets(cfg.Password)
	if err != nil {
		return nil, fmt.Errorf("notify.mail: password: %w", err)
	}
	m.secret = string(password)
	m.hidden.add(m.secret)
	m.hidden.add("\x00" + cfg.User + "\x00" + m.secret) // as AUTH PLAIN sends it
	return m, nil
}

// parcel is one recipient's mail on its way.
type parcel struct {
	to     config.MailRecipient
	failed *Failure // of the last attempt; nil once the server has taken the mail
	again  bool     // another attempt may do better
}

func (p *parcel) fail(why, do string, again bool) {
	p.failed, p.again = &Failure{"mail to " + line(p.to.Address), why, do}, again
}

// tellByMail sends a mail to each recipient that is to be told.
func (n *Notifier) tellByMail(ctx context.Context, night Night) []Failure {
	if n.mailer == nil {
		return nil
	}
	var all, open []*parcel
	for _, to := range n.mailer.cfg.To {
		if night.wanted(to.When) {
			all = append(all, &parcel{to: to})
		}
	}
	open = all
	page := n.readPage(night)
	for attempt := 1; len(open) > 0 && attempt <= mailAttempts; attempt++ {
		if attempt > 1 && n.sleep(ctx, mailPause) != nil {
			break
		}
		n.mailer.round(ctx, night, open, page)
		open = unsent(open)
	}
	var failures []Failure
	for _, p := range all {
		if p.failed != nil {
			failures = append(failures, *p.failed)
		}
	}
	return failures
}

// unsent are the parcels for which another round is worth it.
func unsent(parcels []*parcel) []*parcel {
	var list []*parcel
	for _, p := range parcels {
		if p.failed != nil && p.again {
			list = append(list, p)
		}
	}
	return list
}

// round sends the parcels over one connection.
func (m *mailer) round(ctx context.Context, night Night, parcels []*parcel, page page) {
	l := m.n.letter(night)
	link, err := m.connect(ctx)
	if err != nil {
		why, do := m.explainConnecting(err)
		for _, p := range parcels {
			p.fail(why, do, passing(err))
		}
		return
	}
	defer link.close()
	for _, p := range parcels {
		p.failed = nil
		msg, err := m.message(night, l, p.to, page)
		if err != nil {
			p.fail(m.hidden.said(err.Error()), "mend it in the configuration (notify.mail)", false)
			continue
		}
		if err := link.client.SendWithSMTPClient(link.session, msg); err != nil && !msg.IsDelivered() {
			why, do := m.explainSending(err)
			p.fail(why, do, passing(err))
			continue
		}
		m.n.log.Info().Str("who", "mail to "+line(p.to.Address)).Msg("told")
	}
}

// link is a connection to the mail server, logged in.
type link struct {
	client  *gomail.Client
	session *smtp.Client
	conn    net.Conn
	release func() bool // the connection no longer ends with the context
}

func (l *link) close() {
	_ = l.client.CloseWithSMTPClient(l.session) // what was taken is taken; a QUIT that fails changes nothing
	l.release()
	_ = l.conn.Close()
}

// connect dials, secures and logs in. The connection ends with ctx.
func (m *mailer) connect(ctx context.Context) (*link, error) {
	l := &link{release: func() bool { return true }}
	dial := func(dialing context.Context, network, _ string) (net.Conn, error) {
		raw, err := m.n.dial(dialing, network, net.JoinHostPort(m.cfg.Host, strconv.Itoa(m.cfg.Port)))
		if err != nil {
			return nil, err
		}
		l.conn, l.release = raw, context.AfterFunc(ctx, func() { _ = raw.Close() })
		if m.cfg.Security != config.TLS {
			return raw, nil
		}
		secured := tls.Client(raw, m.tls)
		return secured, secured.HandshakeContext(dialing)
	}
	var err error
	if l.client, err = gomail.NewClient(m.cfg.Host, m.options(dial)...); err != nil {
		return nil, err
	}
	if l.session, err = l.client.DialToSMTPClientWithContext(ctx); err != nil {
		l.release()
		if l.conn != nil {
			_ = l.conn.Close()
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return l, nil
}

func (m *mailer) options(dial gomail.DialContextFunc) []gomail.Option {
	list := []gomail.Option{
		gomail.WithPort(m.cfg.Port), gomail.WithTimeout(m.cfg.Timeout), gomail.WithDialContextFunc(dial), gomail.WithTLSConfig(m.tls),
	}
	switch m.cfg.Security {
	case config.StartTLS:
		list = append(list, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case config.TLS, config.NoTLS: // secured by dial, or not at all
		list = append(list, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	if m.cfg.User != "" {
		list = append(list, gomail.WithUsername(m.cfg.User), gomail.WithPassword(m.secret),
			gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin))
	}
	return list
}

// passing says whether another attempt may do better: a lost connection, or a server that asks to come later (4yz, RFC 5321).
func passing(err error) bool {
	var untrusted *tls.CertificateVerificationError
	var reply *textproto.Error
	var sending *gomail.SendError
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled), errors.As(err, &untrusted):
		return false
	case errors.As(err, &sending) && sending.ErrorCode() != 0:
		return sending.ErrorCode()/100 == 4
	case errors.As(err, &reply):
		return reply.Code/100 == 4
	}
	return sending != nil || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// explainConnecting says why there is no connection that a mail could go over.
func (m *mailer) explainConnecting(err error) (why, do string) {
	server := fmt.Sprintf("the mail server %s:%d", m.cfg.Host, m.cfg.Port)
	text := m.hidden.said(err.Error())
	var untrusted *tls.CertificateVerificationError
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "the run was stopped before the mail was sent", "look at the report"
	case errors.As(err, &untrusted):
		return "the certificate of " + server + " does not verify: " + m.hidden.said(untrusted.Err.Error()),
			"have the certificate mended, or name its authority in notify.mail.ca_file"
	case strings.Contains(text, "does not support STARTTLS"):
		return server + " does not offer STARTTLS, and nothing is sent in clear", "have it switched on there, or use security: tls with the server's port for it"
	case strings.Contains(text, "AUTH"):
		return server + " does not let us in: " + text, "look at user and password in notify.mail"
	case errors.As(err, &network) && network.Timeout():
		return server + " did not answer within " + m.cfg.Timeout.String(), "look at host and port in notify.mail, the network and the firewall"
	}
	return "no connection to " + server + ": " + text, "look at host, port and security in notify.mail, the network and the firewall"
}

// explainSending says why the server did not take a mail.
func (m *mailer) explainSending(err error) (why, do string) {
	why = "the mail server did not take it: " + m.hidden.said(err.Error())
	if passing(err) {
		return why, "look at the mail server; the report has all that the mail would have said"
	}
	return why, "look at the address, and whether the server takes mails from notify.mail.from"
}
