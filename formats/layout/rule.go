package layout

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// rule says that parts of a record must be equal: the name on the chip and
// the name on track 1, say. A record that breaks it was put together wrongly.
type rule struct {
	when    Field // the rule is for records where this field is filled; "" for all
	filled  bool  // members that are blank are left out
	members []member
}

// member is a field, or a part of it.
type member struct {
	text    string // as the description says it: track1.name
	element string
	field   Field
	part    func(string) (string, bool) // nil for the whole value
}

// trackOne and trackTwo are the fields that parts such as .name are taken from.
var (
	trackOne = map[Field]bool{Track1: true, ChipTrack1: true, ChipTrack1MSD: true}
	trackTwo = map[Field]bool{Track2: true, ChipTrack2: true, ChipTrack2MSD: true}
)

// dated fields and how each writes its month: MM/YY or YYMMDD.
var dated = map[Field]func(string) (string, bool){
	StartFace: yymmOfFace, ExpiryFace: yymmOfFace, StartDate: yymmOfDate, ExpiryDate: yymmOfDate,
}

// partOf finds the function for a part of a field; nil where there is none.
func partOf(f Field, part string) func(string) (string, bool) {
	switch {
	case part == "digits":
		return func(v string) (string, bool) { return onlyDigits(v), true }
	case part == "yymm":
		return dated[f]
	case trackOne[f]:
		return map[string]func(string) (string, bool){
			"pan": trackOnePAN, "name": trackOneName, "expiry": trackOneExpiry, "service": trackOneService,
		}[part]
	case trackTwo[f]:
		return map[string]func(string) (string, bool){
			"pan": trackTwoPAN, "expiry": trackTwoExpiry, "service": trackTwoService,
		}[part]
	}
	return nil
}

// Track 1 is B PAN ^ NAME ^ YYMM SSS … (ISO/IEC 7813).
func trackOneParts(v string) (pan, name, rest string, ok bool) {
	first, more, ok1 := strings.Cut(v, "^")
	name, rest, ok2 := strings.Cut(more, "^")
	return strings.TrimPrefix(first, "B"), name, rest, ok1 && ok2 && len(rest) >= 7
}

func trackOnePAN(v string) (string, bool)  { pan, _, _, ok := trackOneParts(v); return pan, ok }
func trackOneName(v string) (string, bool) { _, name, _, ok := trackOneParts(v); return name, ok }

func trackOneExpiry(v string) (string, bool) {
	_, _, rest, ok := trackOneParts(v)
	if !ok {
		return "", false
	}
	return rest[:4], true
}

func trackOneService(v string) (string, bool) {
	_, _, rest, ok := trackOneParts(v)
	if !ok {
		return "", false
	}
	return rest[4:7], true
}

// Track 2 is PAN = YYMM SSS …, with D for = on the chip (EMV tag 57).
func trackTwoParts(v string) (pan, rest string, ok bool) {
	at := strings.IndexAny(v, "=D")
	if at < 0 || len(v) < at+8 {
		return "", "", false
	}
	return v[:at], v[at+1:], true
}

func trackTwoPAN(v string) (string, bool) { pan, _, ok := trackTwoParts(v); return pan, ok }

func trackTwoExpiry(v string) (string, bool) {
	_, rest, ok := trackTwoParts(v)
	if !ok {
		return "", false
	}
	return rest[:4], true
}

func trackTwoService(v string) (string, bool) {
	_, rest, ok := trackTwoParts(v)
	if !ok {
		return "", false
	}
	return rest[4:7], true
}

func yymmOfFace(v string) (string, bool) {
	if len(v) != 5 || v[2] != '/' {
		return "", false
	}
	return v[3:] + v[:2], true
}

func yymmOfDate(v string) (string, bool) {
	if len(v) != 6 {
		return "", false
	}
	return v[:4], true
}

// rules reads the description's rules. Their fields must stand in the file as they are, so that a reader can hold them too.
func (b *builder) rules(top fields, plain map[Field]*element) []rule {
	var list []rule
	for _, n := range b.list(top, "rules") {
		f := b.mapping(n, "a rule", "equal", "equal_where_filled", "when")
		_, all := f["equal"]
		_, filled := f["equal_where_filled"]
		if all == filled {
			b.say(n, `a rule takes either "equal" or "equal_where_filled"`)
			continue
		}
		key := "equal"
		if filled {
			key = "equal_where_filled"
		}
		r := rule{when: b.field(f, "when"), filled: filled}
		for _, item := range b.list(f, key) {
			if m, ok := b.member(item, plain); ok {
				r.members = append(r.members, m)
			}
		}
		if len(r.members) < 2 {
			b.say(n, "a rule compares at least two fields of the record")
		}
		list = append(list, r)
	}
	return list
}

func (b *builder) member(n ast.Node, plain map[Field]*element) (member, bool) {
	text, _ := scalarText(n)
	name, part, hasPart := strings.Cut(text, ".")
	m := member{text: text, field: Field(name)}
	e := plain[m.field]
	if e == nil {
		b.say(n, "a rule compares fields that stand in the record, unchanged; %q does not", name)
		return m, false
	}
	m.element = e.name
	if hasPart {
		if m.part = partOf(m.field, part); m.part == nil {
			b.say(n, "%s has no part %q", name, part)
			return m, false
		}
	}
	return m, true
}

// check adds what breaks the rule. The first member that is there is what the others are held against.
func (r rule) check(rec Record, f *faults) {
	if r.when != "" && rec[r.when] == "" {
		return
	}
	want, against := "", ""
	for _, m := range r.members {
		v := rec[m.field]
		if v == "" && r.filled {
			continue
		}
		if m.part != nil {
			part, ok := m.part(v)
			if !ok {
				f.add(m.fault(fmt.Sprintf("is not built so that %s can be read from it", m.text)))
				continue
			}
			v = part
		}
		switch {
		case against == "":
			want, against = v, m.text
		case v != want:
			f.add(m.fault(fmt.Sprintf("does not agree: %s and %s must be the same", m.text, against)))
		}
	}
}

func (m member) fault(reason string) *FieldError {
	return &FieldError{Element: m.element, Field: m.field, Reason: reason}
}
