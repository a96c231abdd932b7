package returns

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"reemboss/formats/iso"
)

// maskText hides what looks like a card number, and what of a track follows it;
// also what looks like one only since digits beside it are hidden.
func maskText(s string) string { return masked(s, iso.FindEvident) }

func masked(s string, find func(string) []iso.Span) string {
	for spans := find(s); len(spans) > 0; spans = find(s) { // each time a digit less
		s = iso.MaskSpans(s, spans)
	}
	return s
}

// maskName masks the name of a file. A day or a moment in it that stands by
// itself, as in acme_20261121_000123.txt, is no part of a card number.
func maskName(s string) string {
	return masked(s, func(s string) []iso.Span { return iso.FindEvident(withoutDates(s)) })
}

// withoutDates puts letters over every whole run of digits that is a day
// (YYYYMMDD) or a moment (YYYYMMDDhhmmss) of this century.
func withoutDates(s string) string {
	out := []byte(s)
	for i := 0; i < len(s); {
		n := 0
		for i+n < len(s) && '0' <= s[i+n] && s[i+n] <= '9' {
			n++
		}
		if run := s[i : i+n]; n >= 8 && run[0] == '2' && run[1] == '0' && isMoment(run) {
			copy(out[i:], strings.Repeat("x", n))
		}
		i += max(n, 1)
	}
	return string(out)
}

func isMoment(run string) bool {
	layout := "20060102150405"
	if len(run) != 8 && len(run) != len(layout) {
		return false
	}
	_, err := time.Parse(layout[:len(run)], run)
	return err == nil
}

// maskUID masks what looks like a card number and cannot be a uid of ours.
func maskUID(s string) string {
	if likeOurs(s) {
		return s
	}
	return maskText(s)
}

// likeOurs says whether s has the form of our unique ids: 20 capital letters and
// digits that begin with a time, of which the first ten have a letter in it
// until the year 2039. Among a million of them a few hold 13 digits in a row
// with a right check digit, by chance.
func likeOurs(s string) bool {
	const length, ofTime = 20, 10
	letter := false
	for i := range len(s) {
		switch c := s[i]; {
		case 'A' <= c && c <= 'Z':
			letter = letter || i < ofTime
		case c < '0' || c > '9':
			return false
		}
	}
	return len(s) == length && letter
}

// show quotes a value for a sentence, or says that it may not be shown.
func show(s string) string {
	const most = 40
	if len(iso.FindEvident(s)) > 0 {
		return "a value that looks like a card number"
	}
	if utf8.RuneCountInString(s) > most {
		return strconv.Quote(string([]rune(s)[:most]) + "…")
	}
	return strconv.Quote(s)
}

// clip keeps what is shown of a bad line short.
func clip(s string) string {
	const most = 120
	if utf8.RuneCountInString(s) > most {
		return string([]rune(s)[:most]) + "…"
	}
	return s
}
