package layout

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// NameData is what a file's name can be made of.
type NameData struct {
	Client    string // our name at the bureau
	Bureau    string
	Product   string // where a bureau takes one product a file
	Reference string
	Sequence  int64
	Time      time.Time // in the bureau's zone
	Ext       string    // the layout's extension
}

// MaxFileName is the length of a name in characters; names have ASCII only.
const MaxFileName = 120

// FileName makes the name of a file from a template.
//
// A template is text with placeholders in braces. A format follows its
// placeholder after a colon.
//
//	{client} {bureau} {product} {reference} {ext}   as given
//	{sequence} {sequence:06}                        with zeros up to that many digits, 1 to 18
//	{date} {date:20060102}                          a Go date layout; 20060102 where there is none
//	{time} {time:150405}                            likewise, 150405
//
// {sequence} must be there, since a name is never used twice, and must not
// stand directly beside a digit or another placeholder, where its end could
// not be told.
//
// A name is made of letters, digits, point, underscore and hyphen only, does
// not begin with a point or a hyphen and has at most [MaxFileName] characters;
// anything else is an error. Nothing is ever replaced or cut, or two files
// could get one name.
func FileName(template string, h NameData) (string, error) {
	parts, err := parseName(template)
	if err != nil {
		return "", err
	}
	if h.Sequence < 1 {
		return "", errors.New("a file name needs a sequence number from 1")
	}
	var name strings.Builder
	for _, p := range parts {
		text := p.of(h)
		if err := p.fits(text); err != nil {
			return "", err
		}
		name.WriteString(text)
	}
	if err := wholeName(name.String()); err != nil {
		return "", err
	}
	return name.String(), nil
}

// CheckFileName says what is wrong with a template, before any file is planned.
func CheckFileName(template string) error {
	_, err := parseName(template)
	return err
}

// namePart is literal text, or a placeholder with its format.
type namePart struct {
	literal     string
	placeholder string
	format      string
	width       int // of a sequence
}

// placeholders and what each is replaced by.
var placeholders = map[string]func(p namePart, h NameData) string{
	"client":    func(_ namePart, h NameData) string { return h.Client },
	"bureau":    func(_ namePart, h NameData) string { return h.Bureau },
	"product":   func(_ namePart, h NameData) string { return h.Product },
	"reference": func(_ namePart, h NameData) string { return h.Reference },
	"ext":       func(_ namePart, h NameData) string { return h.Ext },
	"sequence":  func(p namePart, h NameData) string { return fmt.Sprintf("%0*d", p.width, h.Sequence) },
	"date":      func(p namePart, h NameData) string { return h.Time.Format(p.format) },
	"time":      func(p namePart, h NameData) string { return h.Time.Format(p.format) },
}

// usualFormats of the placeholders that take one.
var usualFormats = map[string]string{"sequence": "1", "date": "20060102", "time": "150405"}

func (p namePart) of(h NameData) string {
	if p.placeholder == "" {
		return p.literal
	}
	return placeholders[p.placeholder](p, h)
}

func (p namePart) fits(text string) error {
	switch {
	case text == "":
		return fmt.Errorf("the file name template's {%s} is blank for this file", p.placeholder)
	case !safeName(text):
		return fmt.Errorf("the file name template's {%s} gives a character other than letters, digits, point, underscore and hyphen", p.placeholder)
	}
	return nil
}

func safeName(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	})
}

func wholeName(name string) error {
	switch {
	case len(name) > MaxFileName:
		return fmt.Errorf("the file name would have %d characters, at most %d are allowed: shorten its template", len(name), MaxFileName)
	case name[0] == '.' || name[0] == '-':
		return errBegins
	}
	return nil
}

var errBegins = errors.New("the file name would begin with a point or a hyphen: change its template")

// parseName takes a template apart.
func parseName(template string) ([]namePart, error) {
	var parts []namePart
	for rest := template; rest != ""; {
		literal, more, opened := strings.Cut(rest, "{")
		if !safeName(literal) {
			return nil, errors.New("a file name template has letters, digits, point, underscore, hyphen and placeholders in braces only")
		}
		if literal != "" {
			parts = append(parts, namePart{literal: literal})
		}
		if !opened {
			break
		}
		inside, after, closed := strings.Cut(more, "}")
		if !closed {
			return nil, errors.New("a brace in the file name template is not closed")
		}
		p, err := parsePlaceholder(inside)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
		rest = after
	}
	return parts, uniqueName(parts)
}

func parsePlaceholder(inside string) (namePart, error) {
	name, format, given := strings.Cut(inside, ":")
	if placeholders[name] == nil {
		return namePart{}, fmt.Errorf("the file name template's {%s} is unknown; there are %s", name, names(placeholders))
	}
	p := namePart{placeholder: name, format: format}
	usual, takes := usualFormats[name]
	switch {
	case given && !takes:
		return p, fmt.Errorf("{%s} takes no format", name)
	case !given:
		p.format = usual
	}
	switch name {
	case "sequence":
		return p.withWidth()
	case "date", "time":
		return p, p.changes()
	}
	return p, nil
}

func (p namePart) withWidth() (namePart, error) {
	n, err := strconv.Atoi(p.format)
	if err != nil || n < 1 || n > 18 || onlyDigits(p.format) != p.format {
		return p, errors.New("{sequence} takes a number of digits from 1 to 18, as in {sequence:06}")
	}
	p.width = n
	return p, nil
}

// changes refuses a format that gives the same text at any time, such as YYYYMMDD.
func (p namePart) changes() error {
	one := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC).Format(p.format)
	other := time.Date(2022, 11, 23, 17, 38, 49, 0, time.UTC).Format(p.format)
	switch {
	case one == other:
		return fmt.Errorf("{%s:…} takes a Go layout, such as 20060102 or 150405", p.placeholder)
	case !safeName(one) || !safeName(other):
		return fmt.Errorf("{%s:…} gives a character other than letters, digits, point, underscore and hyphen", p.placeholder)
	}
	return nil
}

// uniqueName holds that the sequence is in the name and can be told from what stands around it.
func uniqueName(parts []namePart) error {
	at := slices.IndexFunc(parts, func(p namePart) bool { return p.placeholder == "sequence" })
	if at < 0 {
		return errors.New("the file name template needs {sequence}: no two files may have one name")
	}
	before := at == 0 || endsApart(parts[at-1])
	after := at == len(parts)-1 || beginsApart(parts[at+1])
	switch first := parts[0].literal; {
	case first != "" && (first[0] == '.' || first[0] == '-'):
		return errBegins
	case !before || !after:
		return errors.New("the file name template's {sequence} must not stand directly beside a digit or another placeholder")
	}
	return nil
}

func endsApart(p namePart) bool {
	return p.placeholder == "" && !isDigit(p.literal[len(p.literal)-1])
}

func beginsApart(p namePart) bool {
	return p.placeholder == "" && !isDigit(p.literal[0])
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// SequenceIn reads the sequence number out of a name that [FileName] may have
// made from the template; false for any other name.
func SequenceIn(template, name string) (int64, bool) {
	parts, err := parseName(template)
	if err != nil {
		return 0, false
	}
	var pattern strings.Builder
	for _, p := range parts {
		pattern.WriteString(p.pattern())
	}
	found := regexp.MustCompile("^" + pattern.String() + "$").FindStringSubmatch(name)
	if found == nil {
		return 0, false
	}
	number, err := strconv.ParseInt(found[1], 10, 64)
	return number, err == nil && number > 0
}

// pattern is what the text of a part looks like, as a regular expression; that of the sequence is its only group.
func (p namePart) pattern() string {
	switch p.placeholder {
	case "":
		return regexp.QuoteMeta(p.literal)
	case "sequence":
		return "([0-9]+)"
	case "date", "time":
		var text strings.Builder
		for _, r := range p.format {
			switch {
			case r >= '0' && r <= '9':
				text.WriteString("[0-9]")
			case r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z': // the name of a month or day has any length
				text.WriteString("[A-Za-z]*")
			default:
				text.WriteString(regexp.QuoteMeta(string(r)))
			}
		}
		return text.String()
	}
	return ".+?"
}
