package returns

import (
	"strings"
	"unicode/utf8"
)

// split parts a delimited line by RFC 4180, within the line: a quoted field that
// is open at the line's end makes this line bad and leaves the next ones alone.
func (f *Format) split(s string, into []string) (fields []string, problem string) {
	fields = into[:0]
	if !f.quotes || strings.IndexByte(s, '"') < 0 {
		for {
			i := strings.Index(s, f.delimiter)
			if i < 0 {
				return append(fields, s), ""
			}
			fields = append(fields, s[:i])
			s = s[i+len(f.delimiter):]
		}
	}
	for {
		value, rest, more, problem := f.quotedOrPlain(s)
		if problem != "" {
			return nil, problem
		}
		fields = append(fields, value)
		if !more {
			return fields, ""
		}
		s = rest
	}
}

// quotedOrPlain takes the first field off s; more says that another one follows in rest.
func (f *Format) quotedOrPlain(s string) (value, rest string, more bool, problem string) {
	if !strings.HasPrefix(s, `"`) {
		value, rest, more = strings.Cut(s, f.delimiter)
		if strings.IndexByte(value, '"') >= 0 {
			return "", "", false, "a quote stands within a field that does not begin with one; ask the bureau, or set returns.mapping.unquoted"
		}
		return value, rest, more, ""
	}
	from := 1
	for {
		i := strings.IndexByte(s[from:], '"')
		if i < 0 {
			return "", "", false, "a quoted field is open at the end of the line; a line break within a field is not expected in a return file"
		}
		at := from + i
		if at+1 < len(s) && s[at+1] == '"' {
			from = at + 2
			continue
		}
		value, rest = strings.ReplaceAll(s[1:at], `""`, `"`), s[at+1:]
		if rest == "" {
			return value, "", false, ""
		}
		if rest, more = strings.CutPrefix(rest, f.delimiter); !more {
			return "", "", false, "after a closing quote stands something else than a delimiter"
		}
		return value, rest, true, ""
	}
}

// fixedLine is a line of fixed places, by character.
type fixedLine struct {
	text    string
	ascii   bool
	offsets []int // of each character, where one is longer than a byte
}

func (l *fixedLine) set(s string) {
	l.text, l.ascii, l.offsets = s, true, l.offsets[:0]
	if utf8.RuneCountInString(s) == len(s) {
		return
	}
	l.ascii = false
	for i := range s {
		l.offsets = append(l.offsets, i)
	}
}

func (l *fixedLine) length() int {
	if l.ascii {
		return len(l.text)
	}
	return len(l.offsets)
}

// cut gives the characters first to last, from 1; those beyond the line's end are not there.
func (l *fixedLine) cut(first, last int) string {
	if n := l.length(); first > n {
		return ""
	} else if last > n {
		last = n
	}
	if l.ascii {
		return l.text[first-1 : last]
	}
	if last == len(l.offsets) {
		return l.text[l.offsets[first-1]:]
	}
	return l.text[l.offsets[first-1]:l.offsets[last]]
}
