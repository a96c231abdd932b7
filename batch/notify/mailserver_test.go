package notify

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// mailServer is a real SMTP server that keeps what it is given.
type mailServer struct {
	t       *testing.T
	address string

	// answers to RCPT TO, one for each attempt of an address; none left: taken.
	refusals map[string][]error
	user     string // "" asks for no login
	password string
	login    func(user, password string) error // its own answer to a login

	mu       sync.Mutex
	arrived  []arrived
	commands int // MAIL FROM
}

type arrived struct {
	to, user string
	secured  bool
	text     string
}

// serveMail starts it: wrapped is TLS from the first byte.
func serveMail(t *testing.T, s *mailServer, config *tls.Config, wrapped bool) {
	t.Helper()
	s.t = t
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &mailSession{server: s, conn: c}, nil }))
	server.Domain = "mail.bank.example"
	server.TLSConfig = config
	server.ErrorLog = quiet{}
	if wrapped {
		server.TLSConfig = nil
		listener = tls.NewListener(listener, config)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// mails are the arrived ones.
func (s *mailServer) mails() []arrived {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arrived
}

type mailSession struct {
	server *mailServer
	conn   *smtp.Conn
	now    arrived
}

func (m *mailSession) AuthMechanisms() []string {
	if m.server.user == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (m *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if m.server.login != nil {
			return m.server.login(user, password)
		}
		if user != m.server.user || password != m.server.password {
			return smtp.ErrAuthFailed
		}
		m.now.user = user
		return nil
	}), nil
}

func (m *mailSession) Mail(string, *smtp.MailOptions) error {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	m.server.commands++
	if m.server.user != "" && m.now.user == "" {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (m *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	if list := m.server.refusals[to]; len(list) > 0 {
		m.server.refusals[to] = list[1:]
		return list[0]
	}
	m.now.to = to
	return nil
}

func (m *mailSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	_, m.now.secured = m.conn.TLSConnectionState()
	m.now.text = string(text)
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	m.server.arrived = append(m.server.arrived, m.now)
	return nil
}

func (m *mailSession) Reset()        { m.now = arrived{user: m.now.user} }
func (m *mailSession) Logout() error { return nil }

// opened is a mail as a reader's program has it.
type opened struct {
	header mail.Header
	text   string
	html   string
	files  map[string]string
}

func open(t *testing.T, raw string) opened {
	t.Helper()
	msg, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	o := opened{header: msg.Header, files: map[string]string{}}
	o.part(t, msg.Header.Get("Content-Type"), msg.Header.Get("Content-Transfer-Encoding"), "", msg.Body)
	return o
}

func (o *opened) part(t *testing.T, contentType, encoding, file string, body io.Reader) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(kind, "multipart/") {
		parts := multipart.NewReader(body, params["boundary"])
		for {
			p, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			o.part(t, p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p.FileName(), p)
		}
	}
	switch encoding {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	content, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case file != "":
		o.files[file] = string(content)
	case kind == "text/plain":
		o.text = string(content)
	case kind == "text/html":
		o.html = string(content)
	}
}

func (o opened) subject(t *testing.T) string {
	t.Helper()
	text, err := new(mime.WordDecoder).DecodeHeader(o.header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
