package notify

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"io/fs"
	"net/mail"
	"os"
	"strings"
	texttemplate "text/template"
	"time"

	gomail "github.com/wneessen/go-mail"

	"reemboss/batch/config"
	"reemboss/batch/report"
)

const (
	maxSubject    = 150      // characters
	maxAttachment = 15 << 20 // bytes; in base64 that is what most servers take
)

var (
	//go:embed letter.txt.tmpl
	textSource string
	//go:embed letter.html.tmpl
	htmlSource string

	textLetter = texttemplate.Must(texttemplate.New("letter").Parse(textSource))
	htmlLetter = htmltemplate.Must(htmltemplate.New("letter").Parse(htmlSource))
)

// letter is what the templates of a mail show: cleaned texts, each one line.
type letter struct {
	Word, Verdict      string
	RunID, Date        string
	Host, Version      string
	Exit               int
	Began, Ended, Took string
	Needs              []report.Need
	MoreNeeds          int // beyond those that are listed
	Reconciled         bool
	Balances           int
	Broken             []string
	Counts             []report.Term
	Link               string
	Attached           bool
	WhyNotAttached     string
}

func (n *Notifier) letter(night Night) letter {
	l := letter{
		Word: night.word(), Verdict: line(night.Verdict), RunID: line(night.RunID), Date: line(night.Date), Host: line(night.Host), Version: line(night.Version),
		Exit: night.Exit, Began: clockTime(night.StartedAt), Ended: clockTime(night.EndedAt), Took: night.EndedAt.Sub(night.StartedAt).Round(time.Second).String(),
		Needs: cleanNeeds(night.Needs), Link: n.link(night),
	}
	l.MoreNeeds = len(night.Needs) - len(l.Needs)
	r := night.Reconciliation
	if r == nil {
		return l
	}
	l.Reconciled, l.Balances = true, len(r.Balances)
	for _, b := range broken(r) {
		l.Broken = append(l.Broken, line(b.Name+": "+b.String()))
	}
	l.Counts = []report.Term{
		{Name: "read", N: r.Read}, {Name: "accepted", N: r.Accepted}, {Name: "refused", N: r.Refused}, {Name: "duplicate", N: r.Duplicate},
		{Name: "held", N: r.Held}, {Name: "written", N: r.Written}, {Name: "waiting", N: r.Waiting},
	}
	if r.Cancelled > 0 {
		l.Counts = append(l.Counts, report.Term{Name: "cancelled", N: r.Cancelled})
	}
	return l
}

func clockTime(at time.Time) string { return at.Format("2006-01-02 15:04:05 MST") }

// page is the night's page as it is attached, or why it is not.
type page struct {
	content []byte
	missing string
}

// readPage reads the page for the mails that bring it. A page that is not there is no reason not to send the mail.
func (n *Notifier) readPage(night Night) page {
	if night.Page == "" {
		return page{missing: "this night has none"}
	}
	f, err := os.Open(n.path(night.Page))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return page{missing: "the file is not there"}
	case err != nil:
		return page{missing: "the file cannot be read"}
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxAttachment+1))
	switch {
	case err != nil:
		return page{missing: "the file cannot be read"}
	case len(content) > maxAttachment:
		return page{missing: fmt.Sprintf("it is larger than %d MiB", maxAttachment>>20)}
	}
	return page{content: content}
}

// subject is the night at a glance.
func (l letter) subject() string {
	return shorten(fmt.Sprintf("[reemboss] %s, run %s: %s", l.Word, l.RunID, l.Verdict), maxSubject)
}

// message writes the letter for one recipient.
func (m *mailer) message(night Night, l letter, to config.MailRecipient, p page) (*gomail.Msg, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := msg.From(m.cfg.From); err != nil {
		return nil, fmt.Errorf("notify.mail: from is no mail address: %w", err)
	}
	if err := msg.To(to.Address); err != nil {
		return nil, fmt.Errorf("it is no mail address: %w", err)
	}
	msg.Subject(l.subject())
	msg.SetDateWithValue(m.n.now())
	msg.SetMessageIDWithValue(night.telling(to.Address) + "@" + domainOf(m.cfg.From))
	msg.SetUserAgent(userAgent)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no holiday reply, please
	msg.SetGenHeader(gomail.HeaderXAutoResponseSuppress, "All")
	if to.Attach {
		l.Attached, l.WhyNotAttached = p.missing == "", p.missing
	}
	var text, html bytes.Buffer
	if err := textLetter.Execute(&text, l); err != nil {
		return nil, err
	}
	if err := htmlLetter.Execute(&html, l); err != nil {
		return nil, err
	}
	msg.SetBodyString(gomail.TypeTextPlain, text.String())
	msg.AddAlternativeString(gomail.TypeTextHTML, html.String())
	if l.Attached {
		msg.AttachReadSeeker(pageName, bytes.NewReader(p.content), gomail.WithFileContentType("text/html; charset=utf-8"))
	}
	return msg, nil
}

// domainOf is what stands behind the @ of an address.
func domainOf(address string) string {
	if a, err := mail.ParseAddress(address); err == nil {
		if at := strings.LastIndexByte(a.Address, '@'); at >= 0 {
			return a.Address[at+1:]
		}
	}
	return "localhost"
}
