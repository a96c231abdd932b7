package layout

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// transform is a change of a value on its way from the record to the file.
type transform struct {
	name  string
	apply func(string) string
}

// transforms by name. None of them shortens what a cardholder would miss: a
// value that is too long stays too long and is an error.
var transforms = map[string]transform{
	"upper":     {"upper", strings.ToUpper},
	"digits":    {"digits", onlyDigits},
	"no-spaces": {"no-spaces", func(s string) string { return strings.ReplaceAll(s, " ", "") }},
}

// onlyDigits keeps 0–9.
func onlyDigits(s string) string {
	if strings.Trim(s, "0123456789") == "" {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

// dateFormat is a date as a layout writes it: parts such as YYYY and the
// characters between them.
type dateFormat []string

// dateParts are the parts of a format with Go's word for each; longer parts stand before their beginnings.
var dateParts = []struct{ part, layout string }{
	{"YYYY", "2006"}, {"YY", "06"}, {"MM", "01"}, {"DD", "02"}, {"hh", "15"}, {"mm", "04"}, {"ss", "05"},
}

// parseFormat reads a format. Between the parts it takes - / . : space and T.
func parseFormat(s string) (dateFormat, error) {
	var f dateFormat
	for rest := s; rest != ""; {
		part := ""
		for _, p := range dateParts {
			if strings.HasPrefix(rest, p.part) {
				part = p.part
				break
			}
		}
		if part == "" {
			if !strings.ContainsAny(rest[:1], "-/.: T") {
				return nil, fmt.Errorf("a date format is made of YYYY YY MM DD hh mm ss and - / . : space T")
			}
			part = rest[:1]
		}
		f = append(f, part)
		rest = rest[len(part):]
	}
	if !slices.ContainsFunc(f, func(p string) bool { return len(p) > 1 }) {
		return nil, fmt.Errorf("a date format has at least one of YYYY YY MM DD hh mm ss")
	}
	return f, nil
}

func (f dateFormat) String() string { return strings.Join(f, "") }

// hasClock says that the format asks for a time of day.
func (f dateFormat) hasClock() bool {
	return slices.ContainsFunc(f, func(p string) bool { return p == "hh" || p == "mm" || p == "ss" })
}

// ofTime writes t in its own zone.
func (f dateFormat) ofTime(t time.Time) string {
	var s strings.Builder
	for _, part := range f {
		s.WriteString(t.Format(goLayout(part)))
	}
	return s.String()
}

func goLayout(part string) string {
	for _, p := range dateParts {
		if p.part == part {
			return p.layout
		}
	}
	return part
}

// ofDate writes the date v, which is YYMMDD of the years 2000 to 2099. What is
// no such date comes back as it is, for check to refuse.
func (f dateFormat) ofDate(v string) string {
	if len(v) != 6 || onlyDigits(v) != v {
		return v
	}
	parts := map[string]string{"YYYY": "20" + v[:2], "YY": v[:2], "MM": v[2:4], "DD": v[4:]}
	var s strings.Builder
	for _, part := range f {
		if text, ok := parts[part]; ok {
			part = text
		}
		s.WriteString(part)
	}
	return s.String()
}

// matches says that v has digits where the format has parts, months and days in their bounds, and its separators.
func (f dateFormat) matches(v string) bool {
	for _, part := range f {
		if len(v) < len(part) {
			return false
		}
		if text := v[:len(part)]; !partMatches(part, text) {
			return false
		}
		v = v[len(part):]
	}
	return v == ""
}

func partMatches(part, text string) bool {
	if len(part) == 1 {
		return part == text
	}
	if onlyDigits(text) != text {
		return false
	}
	switch part {
	case "MM":
		return "01" <= text && text <= "12"
	case "DD":
		return "01" <= text && text <= "31"
	case "hh":
		return text <= "23"
	case "mm", "ss":
		return text <= "59"
	}
	return true
}

// names lists the keys of a table in order, for messages that say what would be right.
func names[K ~string, V any](table map[K]V) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(table)) {
		list = append(list, string(k))
	}
	return strings.Join(list, ", ")
}
