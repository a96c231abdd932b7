package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"reemboss/formats/iso"
	"reemboss/formats/layout"
)

// What must not be found, and how it is looked for.
//
// A card number, a track, a PIN of twelve digits or a PIN block is looked for
// everywhere, in every spelling (secrets.everywhere). A value of three or four digits
// is anywhere by chance; it is looked for in the records of its own card only: as
// a word of its own, near the card's id, uid or masked number (secrets.nearby).

// secrets is what must not be found. Texts that say what something is never hold card data.
type secrets struct {
	needles map[string]string // bytes to look for: what they are
	short   []shortSecret
}

// shortSecret is a value of few digits and what names the records of its card.
type shortSecret struct {
	value string
	marks []string
	what  string
}

func newSecrets() *secrets { return &secrets{needles: map[string]string{}} }

func (s *secrets) clone() *secrets {
	return &secrets{needles: maps.Clone(s.needles), short: slices.Clone(s.short)}
}

// join adds all of others.
func (s *secrets) join(others *secrets) {
	maps.Copy(s.needles, others.needles)
	s.short = append(s.short, others.short...)
}

// everywhere adds a text of seven characters or more as it is, and in what programs make of texts: hex, base64, UTF-16.
func (s *secrets) everywhere(text, what string) {
	s.needles[text] = what
	var utf16LE, utf16BE strings.Builder
	for _, b := range []byte(text) {
		utf16LE.Write([]byte{b, 0})
		utf16BE.Write([]byte{0, b})
	}
	s.needles[utf16LE.String()], s.needles[utf16BE.String()] = what+" in UTF-16", what+" in UTF-16"
	s.encoded(text, what)
}

// encoded adds what hex and base64 make of bytes.
func (s *secrets) encoded(text, what string) {
	lower := hex.EncodeToString([]byte(text))
	for _, spelling := range []string{lower, strings.ToUpper(lower)} {
		if s.needles[spelling] == "" { // packed digits in hex are the digits
			s.needles[spelling] = what + " in hex"
		}
	}
	// Of base64 the inner part, which does not depend on what stands before and after, for each of the three alignments.
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		for before := range 3 {
			encoded := encoding.EncodeToString([]byte(strings.Repeat("\x00", before) + text + strings.Repeat("\x00", 3)))
			s.needles[encoded[(before*8+5)/6:(before+len(text))*8/6]] = what + " in base64"
		}
	}
}

// digits adds a number in every form in which a program could let it lie about.
func (s *secrets) digits(number, what string) {
	s.everywhere(number, what)
	s.packed(number+strings.Repeat("F", len(number)%2), what+" packed")
	// From the low half of a byte on: of the first digit, and of the last of an even number, only a half byte is there.
	s.packed(number[1:len(number)-1+len(number)%2], what+" packed, shifted by half a byte")
	if value, err := strconv.ParseUint(number, 10, 64); err == nil && value > 1<<48 {
		s.needles[strings.TrimLeft(string(binary.BigEndian.AppendUint64(nil, value)), "\x00")] = what + " as an integer"
		s.needles[strings.TrimRight(string(binary.LittleEndian.AppendUint64(nil, value)), "\x00")] = what + " as an integer"
		s.needles[strconv.FormatUint(value, 16)] = what + " as an integer in hex"
	}
}

// packed adds two digits a byte, and what hex and base64 make of that.
func (s *secrets) packed(nibbles, what string) {
	text, err := hex.DecodeString(nibbles)
	if err != nil || len(text) < finderWindow { // fewer bytes are anywhere by chance
		return
	}
	s.needles[string(text)] = what
	s.encoded(string(text), what)
}

// pan adds a card number.
func (s *secrets) pan(pan, what string) {
	if len(pan) < iso.MinPANLength {
		return
	}
	s.digits(pan, what)
	for _, mark := range []string{"=", "^", "D"} {
		s.needles[pan+mark] = "a track with " + what
	}
}

// track adds a track, and what follows the number in it: who knows the first digits of a number needs no more.
func (s *secrets) track(track, what string) {
	s.everywhere(track, what)
	if number, tail, found := strings.Cut(strings.Trim(track, ";?"), "="); found {
		s.digits(tail, what+" behind its number")
		s.needles[tail] = what + " behind its number"
		equivalent := number + "D" + tail // as a chip and a terminal have it
		s.packed(equivalent+strings.Repeat("F", len(equivalent)%2), what+" packed")
	} else if at := strings.LastIndex(track, "^"); at >= 0 && len(track)-at > 12 {
		s.everywhere(strings.TrimRight(track[at+1:], "?"), what+" behind its name")
	}
}

// sampleCountries are the numbers, from 500 on, of the countries that the sample cards live in: masked twins have them.
var sampleCountries = []string{"616", "620", "826"}

// nearby adds a value of three or four digits of a card whose records the marks name. Records are full of numbers below
// 500 (rows, classes, programs, countries) and of years: such a value is not looked for, the others find what writes
// them. Without these no number of three digits stands alone in any record of a night, so that none is met by chance.
func (s *secrets) nearby(value, what string, marks ...string) {
	if len(value) == 3 && (value < "500" || slices.Contains(sampleCountries, value)) || len(value) == 4 && value < "3000" {
		return
	}
	s.short = append(s.short, shortSecret{value: value, marks: marks, what: what})
}

// record adds what a card carries.
func (s *secrets) record(r layout.Record, what string) {
	s.pan(r[layout.PAN], "the number of "+what)
	for _, field := range []layout.Field{layout.Track1, layout.Track2, layout.ChipTrack1, layout.ChipTrack2, layout.ChipTrack1MSD, layout.ChipTrack2MSD} {
		if v := r[field]; len(v) > 20 {
			s.track(v, string(field)+" of "+what)
		}
	}
	if v := r[layout.CVV2Face]; len(v) >= 8 {
		s.everywhere(v, "the text on the signature panel of "+what)
	}
	marks := []string{r[layout.UID]}
	if id := r[layout.CardID]; id != "" {
		marks = append(marks, id)
	}
	if pan := r[layout.PAN]; len(pan) == 16 {
		marks = append(marks, pan[:6]+"******"+pan[12:])
	}
	for name, value := range cardValues(r) {
		s.nearby(value, name+" of "+what, marks...)
	}
}

// cardValues are the three card verification values of a record, those of its stripe and its chip out of their second tracks.
func cardValues(r layout.Record) map[string]string {
	values := map[string]string{}
	if face := r[layout.CVV2Face]; len(face) >= 3 {
		values["CVV2"] = face[len(face)-3:]
	}
	at := 7 // behind expiry and service code
	if strings.HasPrefix(r[layout.PAN], "5") {
		at = 15 // and six zeros and the validity
	}
	for name, field := range map[string]layout.Field{"CVV1": layout.Track2, "iCVV": layout.ChipTrack2} {
		if _, tail, found := strings.Cut(r[field], "="); found && len(tail) >= at+3 {
			values[name] = tail[at : at+3]
		}
	}
	return values
}

// finderWindow is the length of the shortest text that a finder finds.
const finderWindow = 6

// finder finds any of many texts in one pass, by their first bytes.
type finder struct {
	filter [1 << 15]uint64
	by     map[uint64][]string
}

func newFinder(texts []string) *finder {
	f := &finder{by: map[uint64][]string{}}
	for _, text := range texts {
		if len(text) < finderWindow {
			panic("a text is too short for the search") // of the test itself; what is in it is not said
		}
		var w uint64
		for _, b := range []byte(text[:finderWindow]) {
			w = w<<8 | uint64(b)
		}
		if !slices.Contains(f.by[w], text) {
			f.by[w] = append(f.by[w], text)
		}
		h := finderHash(w)
		f.filter[h>>6] |= 1 << (h & 63)
	}
	return f
}

//go:norace
func finderHash(w uint64) uint64 { return w * 0x9E3779B97F4A7C15 >> 43 }

// each is called with every place of every text. It shares nothing that changes; the race detector would make it ten times slower.
//
//go:norace
func (f *finder) each(content []byte, fn func(at int, text string)) {
	const mask = 1<<(8*finderWindow) - 1
	var w uint64
	for i, b := range content {
		w = (w<<8 | uint64(b)) & mask
		if h := finderHash(w); f.filter[h>>6]&(1<<(h&63)) == 0 || i < finderWindow-1 {
			continue
		}
		at := i - finderWindow + 1
		for _, text := range f.by[w] {
			if len(content)-at >= len(text) && string(content[at:at+len(text)]) == text {
				fn(at, text)
			}
		}
	}
}

// hunt is a search for secrets through many places. It looks into the same bytes once.
type hunt struct {
	needles map[string]string
	long    *finder
	marks   *finder
	short   map[string][]shortSecret // by mark
	clean   map[[sha256.Size]byte]bool
}

func (s *secrets) hunt() *hunt {
	h := &hunt{needles: s.needles, long: newFinder(slices.Collect(maps.Keys(s.needles))), short: map[string][]shortSecret{}, clean: map[[sha256.Size]byte]bool{}}
	for _, secret := range s.short {
		for _, mark := range secret.marks {
			h.short[mark] = append(h.short[mark], secret)
		}
	}
	h.marks = newFinder(slices.Collect(maps.Keys(h.short)))
	return h
}

// search looks for the secrets in bytes and in all that can be unpacked from them.
func (s *secrets) search(place string, content []byte, found func(place, what string)) {
	s.hunt().search(place, content, found)
}

func (h *hunt) search(place string, content []byte, found func(place, what string)) {
	sum := sha256.Sum256(content)
	if h.clean[sum] {
		return
	}
	hits := 0
	h.look(place, content, 0, func(place, what string) { hits++; found(place, what) })
	if hits == 0 {
		h.clean[sum] = true
	}
}

// pieces searches a file of pages piece by piece, each with the begin of the next: of one that was searched before, a page
// or two have changed.
func (h *hunt) pieces(place string, content []byte, found func(place, what string)) {
	const piece, next = 16 << 10, 1 << 10
	for at := 0; at < len(content); at += piece {
		h.search(fmt.Sprintf("%s from byte %d", place, at), content[at:min(len(content), at+piece+next)], found)
	}
}

// look searches content as it is, as digits without what separates them, and as UTF-16; then what is packed in it.
func (h *hunt) look(place string, content []byte, depth int, found func(place, what string)) {
	h.plain(place, content, found)
	if bytes.IndexByte(content, 0) >= 0 {
		h.plain(place+", without its zero bytes", bytes.ReplaceAll(content, []byte{0}, nil), found)
	}
	if depth == 5 {
		return
	}
	unpack(content, func(part string, inner []byte) { h.look(place+"!"+part, inner, depth+1, found) })
}

// cardNumbers are those of the ranges of the test, known or not.
var cardNumbers = regexp.MustCompile(`(?:411111|555555)\d{10}`)

func (h *hunt) plain(place string, content []byte, found func(place, what string)) {
	tell := func(_ int, text string) { found(place, h.needles[text]) }
	h.long.each(content, tell)
	joined := joinedDigits(content)
	if len(joined) != len(content) {
		h.long.each(joined, tell)
	}
	if n := len(cardNumbers.FindAll(joined, -1)); n > 0 {
		found(place, fmt.Sprintf("%d card numbers of our ranges", n))
	}
	h.marks.each(content, func(at int, mark string) {
		for _, secret := range h.short[mark] {
			if secret.isNear(content, at, at+len(mark)) {
				found(place, secret.what+", beside what names its card")
			}
		}
	})
}

// joinedDigits writes decimal digits of every script as ASCII and leaves out up to four characters between two digits
// that are neither letters nor digits (three, of which one has two bytes in UTF-16). Two asterisks are a mask.
//
//go:norace
func joinedDigits(content []byte) []byte {
	out := make([]byte, 0, len(content))
	for i := 0; i < len(content); {
		digit, width := scriptDigit(content[i:])
		if width == 0 {
			out = append(out, content[i])
			i++
			continue
		}
		out = append(out, digit)
		i += width
		next := i
		for gap := 0; gap < 4 && next < len(content); gap++ {
			n := separates(content[next:])
			if n == 0 {
				break
			}
			if next += n; next == len(content) {
				break
			}
			if _, width := scriptDigit(content[next:]); width > 0 {
				i = next
				break
			}
		}
	}
	return out
}

// scriptDigit is the digit that a text begins with, and its bytes; 0 for none.
//
//go:norace
func scriptDigit(text []byte) (digit byte, width int) {
	switch c := text[0]; {
	case c >= '0' && c <= '9':
		return c, 1
	case c < 0xd9: // no digit beyond ASCII begins lower
		return 0, 0
	}
	r, width := utf8.DecodeRune(text)
	if !unicode.IsDigit(r) {
		return 0, 0
	}
	for _, t := range unicode.Nd.R16 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return '0' + byte((r-rune(t.Lo))%10), width
		}
	}
	for _, t := range unicode.Nd.R32 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return '0' + byte((r-rune(t.Lo))%10), width
		}
	}
	return 0, 0
}

// separates gives the bytes of the character that a text begins with, 0 for a letter, a digit and the begin of a mask.
//
//go:norace
func separates(text []byte) int {
	switch c := text[0]; {
	case c >= utf8.RuneSelf:
		r, width := utf8.DecodeRune(text)
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			return 0
		}
		return width
	case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '*' && len(text) > 1 && text[1] == '*':
		return 0
	}
	return 1
}

// recordReach is how many bytes before and after what names a card belong to its record.
const recordReach = 300

// isNear says that the value is a word of its own near the place from … to: in clear, in hex, packed or in base64.
func (s shortSecret) isNear(content []byte, from, to int) bool {
	begin, end := max(0, from-recordReach), min(len(content), to+recordReach)
	for _, spelling := range s.spellings() {
		for at := begin; ; {
			k := bytes.Index(content[at:end], []byte(spelling))
			if k < 0 {
				break
			}
			if at += k; standsAlone(content, at, at+len(spelling)) {
				return true
			}
			at++
		}
	}
	return false
}

func (s shortSecret) spellings() []string {
	text := []byte(s.value)
	return []string{s.value, hex.EncodeToString(text), base64.StdEncoding.EncodeToString(text), base64.RawStdEncoding.EncodeToString(text),
		s.value + "F", s.value + "f", "F" + s.value, "f" + s.value}
}

// standsAlone says that neither a letter nor a digit continues content[from:to], and that it is no part of a number with a point or of a time.
func standsAlone(content []byte, from, to int) bool {
	at := func(i int) byte {
		if i < 0 || i >= len(content) {
			return ' '
		}
		return content[i]
	}
	joins := func(next, beyond byte) bool {
		if isWordByte(next) || next == '+' {
			return true
		}
		return strings.IndexByte(".:-,*", next) >= 0 && next != ',' && beyond >= '0' && beyond <= '9'
	}
	return !joins(at(from-1), at(from-2)) && !joins(at(to), at(to+1)) && at(from-1) != '*'
}

func isWordByte(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b == '_'
}

// leaks searches every file and every file name of the workspace, and what the processes said.
func (s *secrets) leaks(w *workspace, said ...[]byte) (found []string) {
	w.tb.Helper()
	return s.hunt().leaks(w, said...)
}

func (h *hunt) leaks(w *workspace, said ...[]byte) (found []string) {
	w.tb.Helper()
	tell := func(place, what string) { found = append(found, maskedText(place)+": "+what) }
	files := w.files(".")
	for path, content := range files {
		h.search(path, []byte(content), tell)
		h.search("the name "+path, []byte(path), tell)
	}
	for i, text := range said {
		first, _, _ := bytes.Cut(text, []byte("\n"))
		h.search(fmt.Sprintf("what was said %d (%.110s)", i, first), text, tell)
	}
	slices.Sort(found)
	return slices.Compact(found)
}
