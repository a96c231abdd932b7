package layout

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"reemboss/formats/iso"
)

// source is where the text of an element comes from.
type source uint8

const (
	fromField  source = iota + 1 // a field of the record
	fromText                     // constant
	fromHead                     // the plan of the file
	fromHash                     // the hash total
	fromNumber                   // running number of the record, from 1
	asMasked                     // twin only: the PAN, masked
	asStars                      // twin only: asterisks over the whole width
)

// headSource is what an element of header or trailer can be drawn from.
type headSource string

const (
	headClient    headSource = "client"
	headReference headSource = "reference"
	headOrderRef  headSource = "order_ref"
	headSequence  headSource = "sequence"
	headTime      headSource = "time"
	headRecords   headSource = "records"
	headProducts  headSource = "products"
)

// element is one leaf of a layout: where its text comes from and what the
// text must be.
type element struct {
	name string // as errors say it
	source
	field Field
	head  headSource
	text  string // of fromText

	min, max  int // characters; 0 is no limit
	required  bool
	class     class
	oneOf     []string
	out, in   map[string]string // map: record → file, and back
	transform []transform
	format    dateFormat
	pad       int // digits of a number from the head, filled up with zeros

	// Fixed width: how the text stands in its columns. Both false for XML.
	number bool // right, zeros on its left
	left   bool // left, blanks on its right
	at     int  // column of its first character from 1, where the description says it

	charset charset
	forbid  string
	ascii   [utf8.RuneSelf]verdict // what to say of each ASCII character
	// scrub: the element stands in a masked twin; a card number in an open
	// field (an account number that is one, say) is masked there.
	scrub bool
}

// verdict says what is wrong with one character.
type verdict uint8

const (
	fine verdict = iota
	unprintable
	notInCharset
	notInClass
	forbidden
)

// judge is verdict's rule, for any character.
func (e *element) judge(r rune) verdict {
	switch {
	case !printable(r):
		return unprintable
	case !e.charset.has(r):
		return notInCharset
	case !e.class.has(r):
		return notInClass
	case e.source == fromField && strings.ContainsRune(e.forbid, r):
		return forbidden
	}
	return fine
}

// compile fills the table that makes check fast.
func (e *element) compile() {
	for r := range e.ascii {
		e.ascii[r] = e.judge(rune(r))
	}
}

// plain says that the file shows the record's own value, so that a reader gets back what the writer was given.
func (e *element) plain() bool {
	return e.source == fromField && len(e.transform) == 0 && e.format == nil
}

// ofRecord is the element's text for the record with this running number.
func (e *element) ofRecord(rec Record, number int64) string {
	switch e.source {
	case fromText:
		return e.text
	case fromNumber:
		return strconv.FormatInt(number, 10)
	case asMasked:
		return maskedPAN(rec)
	case asStars:
		return strings.Repeat("*", e.max)
	}
	v := rec[e.field]
	if e.field == PANMasked {
		v = maskedPAN(rec)
	}
	for _, t := range e.transform {
		v = t.apply(v)
	}
	if e.format != nil {
		v = e.format.ofDate(v)
	}
	if e.out != nil {
		if mapped, ok := e.out[v]; ok {
			v = mapped
		}
	}
	if e.scrub {
		v = scrubbed(v, rec)
	}
	return v
}

// ofFile is the element's text in header or trailer.
func (e *element) ofFile(h *Head, hash uint64) string {
	switch e.source {
	case fromText:
		return e.text
	case asStars:
		return strings.Repeat("*", e.max)
	case fromHash:
		return strconv.FormatUint(hash%powerOfTen(e.max), 10)
	}
	switch e.head {
	case headClient:
		return h.Client
	case headReference:
		return h.Reference
	case headOrderRef:
		return h.OrderRef
	case headTime:
		return e.format.ofTime(h.Time)
	case headSequence:
		return e.padded(h.Sequence)
	case headRecords:
		return e.padded(h.Records)
	default:
		return e.padded(h.Products)
	}
}

func (e *element) padded(n int64) string { return fmt.Sprintf("%0*d", e.pad, n) }

// check adds what is wrong with v as the text of the element.
func (e *element) check(v string, f *faults) {
	if v == "" {
		if e.required || e.source == fromText && e.text != "" {
			f.add(e.fault("may not be empty"))
		}
		return
	}
	if e.source == asStars {
		return
	}
	e.checkLength(v, f)
	e.checkCharacters(v, f)
	e.checkMeaning(v, f)
	e.checkFit(v, f)
}

func (e *element) checkLength(v string, f *faults) {
	n := utf8.RuneCountInString(v)
	switch {
	case e.max > 0 && n > e.max:
		f.add(e.lengthFault(e.max, n, fmt.Sprintf("has %d characters, at most %d fit", n, e.max)))
	case n < e.min && e.min == e.max:
		f.add(e.lengthFault(e.min, n, fmt.Sprintf("has %d characters, it must have exactly %d", n, e.min)))
	case n < e.min:
		f.add(e.lengthFault(e.min, n, fmt.Sprintf("has %d characters, it must have at least %d", n, e.min)))
	}
}

func (e *element) checkCharacters(v string, f *faults) {
	var seen [forbidden + 1]bool
	place := 0
	for i := 0; i < len(v); place++ {
		if c := v[i]; c < utf8.RuneSelf && e.ascii[c] == fine {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(v[i:])
		i += size
		if what := e.judge(r); what != fine && !seen[what] {
			seen[what] = true
			f.add(e.fault(fmt.Sprintf("%s (character %d)", e.complaint(what), place+1)))
		}
	}
}

func (e *element) complaint(what verdict) string {
	switch what {
	case unprintable:
		return "has a control character or one that does not print"
	case notInCharset:
		return "has a character that " + e.charset.name + " does not have"
	case notInClass:
		return "has a character that is not allowed here, the layout takes " + strconv.Quote(e.class.name)
	default:
		return "has a character that the layout reserves"
	}
}

// checkMeaning holds the lists of values, maps, dates and constants.
func (e *element) checkMeaning(v string, f *faults) {
	switch {
	case e.source == fromText && v != e.text:
		f.add(e.fault("is not what the layout has here"))
	case e.oneOf != nil && !slices.Contains(e.oneOf, v):
		f.add(e.fault("must be one of " + strings.Join(e.oneOf, ", ")))
	case e.out != nil && e.in[v] == "":
		f.add(e.fault("has a value that the layout's map does not name"))
	case e.format != nil && !e.format.matches(v):
		f.add(e.fault("is not a date of the form " + e.format.String()))
	case (e.source == asMasked || e.field == PANMasked) && !isMasked(v):
		f.add(e.fault("is not masked"))
	}
}

// checkFit refuses a value that its columns would give back changed.
func (e *element) checkFit(v string, f *faults) {
	switch {
	case e.number && e.source == fromField && e.min < e.max && v[0] == '0':
		f.add(e.fault("begins with a zero, which its columns would lose"))
	case e.left && v[len(v)-1] == ' ':
		f.add(e.fault("ends with a blank, which its columns would lose"))
	}
}

func (e *element) fault(reason string) *FieldError {
	return &FieldError{Element: e.name, Field: e.field, Reason: reason}
}

func (e *element) lengthFault(limit, length int, reason string) *FieldError {
	return &FieldError{Element: e.name, Field: e.field, Limit: limit, Length: length, Reason: reason}
}

// maskedPAN is the record's card number as people may see it: first six, last
// four. It is made from the number where the record has it.
func maskedPAN(rec Record) string {
	if pan := clearPAN(rec); pan != "" {
		return iso.Mask(pan)
	}
	return rec[PANMasked]
}

func clearPAN(rec Record) string {
	if pan := rec[PAN]; pan != "" {
		return pan
	}
	return onlyDigits(rec[PANGrouped])
}

// isMasked says that v shows ten digits at most and hides something.
func isMasked(v string) bool { return strings.Contains(v, "*") && len(iso.Digits(v)) <= 10 }

// scrubbed is v, or the masked card number where v holds the record's card
// number. A record that came without its number shows by the mask what the
// number looks like.
func scrubbed(v string, rec Record) string {
	if len(v) < iso.MinPANLength {
		return v
	}
	digits := iso.Digits(v)
	if pan := clearPAN(rec); len(pan) >= iso.MinPANLength {
		if strings.Contains(digits, pan) {
			return iso.Mask(pan)
		}
		return v
	}
	if mask := rec[PANMasked]; len(mask) >= iso.MinPANLength && len(digits) >= len(mask) && iso.Mask(digits) == mask {
		return mask
	}
	return v
}

func powerOfTen(n int) uint64 {
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}
