package returns

import (
	"fmt"
	"slices"
	"strings"
)

// compileFields finds the place of every field in every record type.
func (f *Format) compileFields(d Description) error {
	described := d.Fields
	if len(described) == 0 {
		if f.fixed {
			return wrong("fields", "a fixed file needs the places of its fields")
		}
		described = make(map[string]string)
		for _, own := range fieldNames[:occurredDate] {
			described[own] = own
		}
	}
	for _, special := range []bool{false, true} {
		for _, key := range sortedKeys(described) {
			if strings.Contains(key, ".") != special {
				continue
			}
			if err := f.compileField(key, described[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *Format) compileField(key, text string) error {
	of, name, special := strings.Cut(key, ".")
	if !special {
		name = of
	}
	fld, ok := fieldNamed(name)
	if !ok {
		return wrong("fields."+key, "there is no such field; the fields are %s", strings.Join(fieldNames[:], " "))
	}
	at, problem := f.place(fld, text, special)
	if problem != "" {
		return wrong("fields."+key, "%s", problem)
	}
	at.key = key
	switch {
	case special:
		return f.ownPlace(key, of, fld, at)
	case fld == recordType:
		f.typeAt = at
	default:
		for _, r := range []record{fileRecord, cardRecord, trailerRecord} {
			if slices.Contains(brings[r], fld) {
				f.places[r][fld] = at
			}
		}
	}
	return nil
}

// ownPlace is that of an entry "RECORD.field".
func (f *Format) ownPlace(key, of string, fld field, at place) error {
	r, ok := recordNamed(of)
	switch {
	case !ok || r == skipRecord:
		return wrong("fields."+key, "%q is none of CARD, FILE, HEADER, TRAILER", of)
	case !slices.Contains(brings[r], fld):
		return wrong("fields."+key, "a %s line brings no %s of its own", r, fld)
	case !f.records.reach(r):
		return wrong("fields."+key, "no word of records is %s", r)
	}
	f.places[r][fld], f.own[r] = at, true
	return nil
}

// place reads where a field stands; problem is "" when the place fits the shape.
func (f *Format) place(fld field, text string, mayLack bool) (p place, problem string) {
	if value, ok := strings.CutPrefix(text, "="); ok {
		if !slices.Contains([]field{status, code, description, carrier}, fld) {
			return p, "a text of its own can stand for status, code, description and carrier only"
		}
		return place{kind: constant, text: strings.TrimSpace(value)}, ""
	}
	if strings.TrimSpace(text) == "" {
		if mayLack {
			return place{}, ""
		}
		return p, "it has no place"
	}
	if f.fixed {
		return fixedPlace(text, f.length)
	}
	if n, ok := number(text); ok {
		if f.columns > 0 && n > f.columns {
			return p, fmt.Sprintf("column %d is beyond the %d of columns", n, f.columns)
		}
		return place{kind: atColumn, first: n}, ""
	}
	if !f.header {
		return p, fmt.Sprintf("%q is no column's number from 1; names need header: true", text)
	}
	return place{kind: named, text: strings.TrimSpace(text)}, ""
}

func fixedPlace(text string, length int) (p place, problem string) {
	first, last, _ := strings.Cut(text, "-")
	from, ok := number(first)
	to, ok2 := number(last)
	switch {
	case !ok || !ok2 || to < from:
		return p, fmt.Sprintf("%q is not FIRST-LAST, two character positions from 1", text)
	case length > 0 && to > length:
		return p, fmt.Sprintf("%s ends beyond the length of %d", text, length)
	}
	return place{kind: atSpan, first: from, last: to}, ""
}

// complete holds that every line a mapping reads can tell what it must.
func (f *Format) complete(d Description) error {
	if f.typeAt.kind == nowhere {
		return wrong("fields.record_type", "is missing; where the bureau has none, name the column that tells the trailer from the other lines")
	}
	if err := f.neededFields(); err != nil {
		return err
	}
	for _, r := range []record{fileRecord, cardRecord, headerRecord, trailerRecord} {
		if !f.records.reach(r) {
			continue
		}
		if err := f.overlaps(r); err != nil {
			return err
		}
		if p := f.places[r][status]; p.kind == constant {
			if _, ok := f.statuses[r].mean(p.text); !ok {
				return wrong("fields."+p.key, "%q, which stands for every %s line, is not in statuses", p.text, r)
			}
		}
	}
	return nil
}

func (f *Format) neededFields() error {
	has := func(r record, fld field) bool { return f.places[r][fld].kind != nowhere }
	if f.records.reach(cardRecord) {
		switch {
		case !has(cardRecord, uid):
			return wrong("fields.uid", "is missing; it tells which card a line speaks of")
		case !has(cardRecord, status):
			return wrong("fields.status", "is missing for CARD lines")
		case !f.hasTime(cardRecord):
			return wrong("fields.occurred_at", "is missing for CARD lines; give it, or occurred_date and occurred_time")
		}
	}
	if f.records.reach(fileRecord) {
		switch {
		case !has(fileRecord, fileName) && !has(headerRecord, fileName):
			return wrong("fields.file_name", "is missing for FILE lines")
		case !has(fileRecord, status):
			return wrong("fields.status", "is missing for FILE lines; fields.FILE.status may be \"=TEXT\" where every one says the same")
		}
	}
	if f.counts != countsNothing && !has(trailerRecord, count) {
		return wrong("fields.TRAILER.count", "is missing; where the trailer brings no count, say trailer_counts: none")
	}
	return nil
}

// hasTime says that a line of record type r, with the header line before it, can tell when.
func (f *Format) hasTime(r record) bool {
	has := func(fld field) bool {
		return f.places[r][fld].kind != nowhere || f.places[headerRecord][fld].kind != nowhere
	}
	return has(occurredAt) || has(occurredDate) && has(occurredTime)
}

// overlaps finds two fields of a fixed line that share a character.
func (f *Format) overlaps(r record) error {
	taken := []field{recordType}
	for _, fld := range brings[r] {
		at := f.places[r][fld]
		if at.kind != atSpan {
			continue
		}
		for _, other := range taken {
			if o := f.placeOf(r, other); at.first <= o.last && o.first <= at.last {
				return wrong("fields."+at.key, "%s overlaps %s of %s (%s lines)", at, o, o.key, r)
			}
		}
		taken = append(taken, fld)
	}
	return nil
}

func (f *Format) placeOf(r record, fld field) place {
	if fld == recordType {
		return f.typeAt
	}
	return f.places[r][fld]
}

// eachPlace stops at the first error.
func (f *Format) eachPlace(fn func(*place) error) error {
	if err := fn(&f.typeAt); err != nil {
		return err
	}
	for r := range f.places {
		for fld := range f.places[r] {
			if err := fn(&f.places[r][fld]); err != nil {
				return err
			}
		}
	}
	return nil
}

// reach is the last column that a line of record type r needs.
func (f *Format) reach(r record) int {
	last := f.typeAt.first
	for _, fld := range brings[r] {
		last = max(last, f.places[r][fld].first)
	}
	return last
}
