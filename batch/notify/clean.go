package notify

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode"
)

// line makes a text one line of printable characters: whatever ends a line,
// steers a terminal or turns the direction of writing is a blank. Without line
// ends nothing can be smuggled into a header.
func line(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "?"))
	return strings.Join(strings.Fields(text), " ")
}

// shorten cuts a text to at most limit characters.
func shorten(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return strings.TrimSpace(string(runes[:limit-1])) + "…"
}

// maxSaid is how much of what another program says is repeated, in characters.
const maxSaid = 200

// hidden are the secrets of one recipient, in every spelling in which they could come back.
type hidden []string

// minHidden is the shortest text that is taken out: a shorter one is in every sentence.
const minHidden = 4

func (h *hidden) add(secret string) {
	for _, spelling := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))} {
		if len(spelling) >= minHidden {
			*h = append(*h, spelling)
		}
	}
}

// said is what another program says, fit for an error: one line, short, without the secrets that it may have repeated.
func (h hidden) said(text string) string {
	for _, secret := range h {
		text = strings.ReplaceAll(text, secret, "[hidden]")
	}
	return shorten(line(text), maxSaid)
}

// digest names a list of texts: 128 bits in hexadecimal digits. Lengths are part of it, so that no two lists run into the same.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
