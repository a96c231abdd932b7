package rules

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"reemboss/formats/iso"
)

// Longest values that a message repeats.
const (
	maxShownDigits = 11 // more could be a card number: only its last four are shown
	maxShownRunes  = 40
)

// shown is a value of a cell as a message may repeat it: in quotes, cut when it
// is long, and with all digits but the last four hidden when there are enough
// of them for a card number, in whatever way they are written.
func shown(value string) string {
	value = withoutNumbers(value)
	if runes := []rune(value); len(runes) > maxShownRunes {
		value = string(runes[:maxShownRunes]) + "…"
	}
	return strconv.Quote(value)
}

// withoutNumbers hides all digits but the last four of a text that has enough of them for a card number, and what follows one on a track.
func withoutNumbers(text string) string {
	if len(iso.Digits(text)) <= maxShownDigits {
		return text
	}
	text = iso.MaskSpans(text, iso.FindPANs(text))
	return hideDigits(text, len(iso.Digits(text))-4)
}

// hideDigits replaces the first n digits of s by asterisks.
func hideDigits(s string, n int) string {
	return strings.Map(func(r rune) rune {
		if n > 0 && unicode.IsDigit(r) {
			n--
			return '*'
		}
		return r
	}, s)
}

// list joins words with commas and "or".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

func days(n int) string {
	if n == 1 {
		return "1 day"
	}
	return strconv.Itoa(n) + " days"
}

func cards(n int64) string {
	if n == 1 {
		return "1 card"
	}
	return strconv.FormatInt(n, 10) + " cards"
}

// harmless is a sentence of another package, with the digits of anything that could be a card number hidden.
func harmless(sentence string) string {
	return strings.TrimSuffix(withoutNumbers(sentence), ".")
}

// shownID is the id of a card that a person is sent to: whole, or the sentence is of no use, unless it is as long as a card number.
func shownID(id int64) string {
	text := strconv.FormatInt(id, 10)
	if len(text) < iso.MinPANLength {
		return text
	}
	return strings.Trim(shown(text), `"`)
}

// asSentence makes a whole sentence of what a reader said; where it said nothing, the code speaks.
func asSentence(text string, code Code) string {
	if text = strings.TrimSpace(text); text == "" {
		return Sentence(code)
	}
	first, size := utf8.DecodeRuneInString(text)
	text = string(unicode.ToUpper(first)) + text[size:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}
