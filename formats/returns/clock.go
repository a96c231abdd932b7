package returns

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// timeFormat reads the times of one bureau.
type timeFormat struct {
	kind  timeKind
	parts []timePart // of a pattern
	zone  *time.Location
	bare  bool // rfc3339: the offset may be missing, since the mapping has a zone
}

type timeKind int

const (
	rfc3339 timeKind = iota
	unixSeconds
	pattern
)

// timePart is a token of a pattern, or a character that stands for itself.
type timePart struct {
	token   string // "" for a literal
	literal string
}

// widths are the tokens of a pattern and the characters of each; 0 for an offset, which has several forms.
var widths = map[string]int{"YYYY": 4, "YY": 2, "MMM": 3, "MM": 2, "DD": 2, "hh": 2, "mm": 2, "ss": 2, "Z": 0}

const months = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"

// compileTime reads a time format; problem is "" when it is one.
func compileTime(text string, zone *time.Location, bare bool) (t timeFormat, problem string) {
	t.zone, t.bare = zone, bare
	switch text {
	case "", "rfc3339":
		return t, ""
	case "unix":
		t.kind = unixSeconds
		return t, ""
	}
	t.kind = pattern
	t.parts, problem = patternParts(text)
	if problem == "" {
		problem = whole(t.parts)
	}
	return t, problem
}

func patternParts(text string) (parts []timePart, problem string) {
	for i := 0; i < len(text); {
		c := text[i]
		n := 1
		for i+n < len(text) && text[i+n] == c {
			n++
		}
		run := text[i : i+n]
		i += n
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		switch _, token := widths[run]; {
		case token:
			parts = append(parts, timePart{token: run})
		case letter && c != 'T':
			return nil, fmt.Sprintf("%q in %q is not known; a pattern has YYYY YY MM MMM DD hh mm ss Z, the letter T and signs", run, text)
		case '0' <= c && c <= '9':
			return nil, fmt.Sprintf("%q has a digit; write it in letters, such as DD.MM.YYYY hh:mm", text)
		default:
			parts = append(parts, timePart{literal: run})
		}
	}
	return parts, ""
}

// whole holds that a pattern can tell a moment, and tells nothing twice.
func whole(parts []timePart) (problem string) {
	var seen strings.Builder
	for _, p := range parts {
		if p.token == "" {
			continue
		}
		letter := p.token[:1]
		if strings.Contains(seen.String(), letter) {
			return fmt.Sprintf("%s comes twice, or in two lengths", p.token)
		}
		seen.WriteString(letter)
	}
	has := func(letter string) bool { return strings.Contains(seen.String(), letter) }
	switch {
	case !has("Y") || !has("M") || !has("D"):
		return "a pattern needs a year, a month and a day"
	case has("m") && !has("h") || has("s") && !has("m"):
		return "minutes need hours, and seconds need minutes"
	}
	return ""
}

// parse reads a time. What it gives is UTC.
func (t *timeFormat) parse(text string) (time.Time, bool) {
	switch t.kind {
	case unixSeconds:
		n, err := strconv.ParseUint(text, 10, 36)
		return time.Unix(int64(n), 0).UTC(), err == nil
	case pattern:
		return t.parsePattern(text)
	}
	at, err := time.Parse(time.RFC3339, text)
	if err == nil {
		return at.UTC(), true
	}
	if t.bare {
		if at, err = time.Parse("2006-01-02T15:04:05", text); err == nil {
			return moment(at, t.zone), true
		}
	}
	return time.Time{}, false
}

func (t *timeFormat) parsePattern(text string) (time.Time, bool) {
	var year, month, day, hour, minute, second int
	zone := t.zone
	for _, p := range t.parts {
		if p.token == "" {
			var ok bool
			if text, ok = strings.CutPrefix(text, p.literal); !ok {
				return time.Time{}, false
			}
			continue
		}
		if p.token == "Z" {
			var ok bool
			if zone, text, ok = offset(text); !ok {
				return time.Time{}, false
			}
			continue
		}
		width := widths[p.token]
		if len(text) < width {
			return time.Time{}, false
		}
		n, ok := digits(text[:width])
		if p.token == "MMM" {
			n, ok = monthNamed(text[:width])
		}
		if !ok {
			return time.Time{}, false
		}
		text = text[width:]
		switch p.token {
		case "YYYY":
			year = n
		case "YY":
			year = 2000 + n
		case "MM", "MMM":
			month = n
		case "DD":
			day = n
		case "hh":
			hour = n
		case "mm":
			minute = n
		case "ss":
			second = n
		}
	}
	local := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	// time.Date carries over what does not exist, such as 31 April.
	if text != "" || local.Year() != year || int(local.Month()) != month || local.Day() != day || local.Hour() != hour || local.Minute() != minute || local.Second() != second {
		return time.Time{}, false
	}
	return moment(local, zone), true
}

// moment is when the clocks of a zone show what local shows in UTC. A time that
// comes twice is the first; one that does not come is read by the offset before
// the change (RFC 5545, 3.3.5). time.Date promises neither.
func moment(local time.Time, zone *time.Location) time.Time {
	if zone == time.UTC {
		return local
	}
	const day = 24 * time.Hour
	by := func(near time.Time) (at time.Time, valid bool) {
		_, seconds := near.In(zone).Zone()
		at = local.Add(-time.Duration(seconds) * time.Second)
		_, then := at.In(zone).Zone()
		return at, then == seconds
	}
	before, ok := by(local.Add(-day))
	if ok {
		return before
	}
	if after, ok := by(local.Add(day)); ok {
		return after
	}
	return before
}

// offset reads Z, +hh:mm, +hhmm or +hh at the beginning of text.
func offset(text string) (*time.Location, string, bool) {
	if rest, ok := strings.CutPrefix(text, "Z"); ok {
		return time.UTC, rest, true
	}
	if len(text) < 3 || text[0] != '+' && text[0] != '-' {
		return nil, "", false
	}
	sign, hours := text[:1], text[1:3]
	rest := text[3:]
	minutes := "00"
	if len(rest) >= 3 && rest[0] == ':' {
		minutes, rest = rest[1:3], rest[3:]
	} else if len(rest) >= 2 {
		minutes, rest = rest[:2], rest[2:]
	}
	h, ok := digits(hours)
	m, ok2 := digits(minutes)
	if !ok || !ok2 || h > 14 || m > 59 {
		return nil, "", false
	}
	seconds := h*3600 + m*60
	if sign == "-" {
		seconds = -seconds
	}
	return time.FixedZone("", seconds), rest, true
}

func digits(s string) (n int, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

func monthNamed(s string) (int, bool) {
	i := strings.Index(months, strings.ToUpper(s))
	return i/3 + 1, i >= 0 && i%3 == 0
}
