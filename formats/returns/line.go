package returns

import (
	"fmt"

	"strconv"
	"strings"
	"time"
)

// Limits of a line's fields.
const (
	maxUID    = 64             // bytes
	maxField  = 1000           // bytes, of any other text
	ahead     = 24 * time.Hour // an event may lie ahead of the clock: zones, clocks that go wrong
	maxDigits = 18             // of a number
	yearZero  = 2000           // what is told to be earlier is a date that was not filled in
)

// event takes a FILE or CARD line.
func (rd *reading) event(rec record) error {
	if rec == cardRecord {
		rd.cards++
	}
	l := &rd.line
	*l = Line{Number: rd.n, Kind: Kind(rec.String()), Count: NoCount, FileName: rd.inherited(rec, fileName)}
	if rec == cardRecord {
		l.UID = rd.value(rec, uid)
	}
	problem := rd.columnsOf(rec)
	if problem == "" {
		l.Status, problem = rd.statusOf(rec)
	}
	if problem == "" && l.Status == skip {
		return nil
	}
	if problem == "" {
		problem = rd.fill(l, rec)
	}
	if problem != "" {
		return rd.reject(&Bad{FileName: l.FileName, UID: l.UID, Problem: problem})
	}
	if rec == cardRecord {
		rd.sum.Cards++
	}
	if rd.each == nil {
		return nil
	}
	return rd.each(l)
}

func (rd *reading) reject(b *Bad) error {
	rd.sum.Bad++
	if rd.report == nil {
		return nil
	}
	b.Number, b.FileName, b.UID = rd.n, clip(maskName(b.FileName)), clip(maskUID(b.UID))
	return rd.report(b)
}

// columnsOf holds that the line has as many fields as it should.
func (rd *reading) columnsOf(rec record) (problem string) {
	// A FILE line with places of its own has a width of its own.
	if rd.fixed || rec == fileRecord && rd.own[fileRecord] {
		return ""
	}
	n := len(rd.fields)
	switch {
	case rd.columns > 0 && n != rd.columns:
		return fmt.Sprintf("the line has %d fields instead of %d; a delimiter or a quote is missing or too many", n, rd.columns)
	case rd.columns == 0 && n < rd.reach(rec):
		return fmt.Sprintf("the line has %d fields, and at least %d are needed; a delimiter is missing", n, rd.reach(rec))
	}
	return ""
}

func (rd *reading) statusOf(rec record) (meaning, problem string) {
	word := rd.value(rec, status)
	meaning, ok := rd.statuses[rec].mean(word)
	switch {
	case ok:
		return meaning, ""
	case word == "":
		return "", rd.name(rec, status) + " is empty; ask the bureau for the line again"
	}
	return "", rd.name(rec, status) + ": " + show(word) + " is no status of a " + rec.String() + " line in the mapping; ask the bureau or add it to returns.mapping.statuses"
}

// fill reads the rest of the line's fields.
func (rd *reading) fill(l *Line, rec record) (problem string) {
	l.Code, l.Description = rd.value(rec, code), rd.value(rec, description)
	l.Carrier, l.TrackingNumber = rd.value(rec, carrier), rd.value(rec, trackingNumber)
	if l.Description == "" && l.Code != "" {
		l.Description = rd.codes[fold(l.Code)]
	}
	var ok bool
	if text := rd.inherited(rec, sequence); text != "" {
		if l.Sequence, ok = wholeNumber(text); !ok {
			return rd.name(rec, sequence) + ": " + show(text) + " is no number; ask the bureau for the line again"
		}
	}
	if text := rd.value(rec, count); text != "" {
		if l.Count, ok = wholeNumber(text); !ok {
			return rd.name(rec, count) + ": " + show(text) + " is no number; ask the bureau for the line again"
		}
	}
	if l.OccurredAt, problem = rd.occurred(rec); problem != "" {
		return problem
	}
	if l.OccurredAt.After(rd.now.Add(rd.ahead)) {
		return rd.name(rec, rd.timeField(rec)) + ": " + l.OccurredAt.Format(time.RFC3339) + " is more than 24 hours ahead; the bureau's clock or returns.mapping.time_zone is wrong"
	}
	if fld, flaw := l.flaw(); flaw != "" {
		return rd.name(rec, fld) + " " + flaw
	}
	l.Code, l.Description, l.Carrier = maskText(l.Code), maskText(l.Description), maskText(l.Carrier)
	return ""
}

// occurred reads when the line's event was: the line's own time first, then
// that of the header line before it.
func (rd *reading) occurred(rec record) (at time.Time, problem string) {
	text := rd.value(rec, occurredAt)
	if date, clock := rd.value(rec, occurredDate), rd.value(rec, occurredTime); text == "" && (date != "" || clock != "") {
		text = join(or(date, rd.head[occurredDate]), or(clock, rd.head[occurredTime]))
	}
	if text == "" {
		text = or(rd.head[occurredAt], join(rd.head[occurredDate], rd.head[occurredTime]))
	}
	if text == "" && rec == fileRecord && !rd.hasTime(fileRecord) {
		return rd.now.UTC(), ""
	}
	if text == "" {
		return at, rd.name(rec, rd.timeField(rec)) + " is empty; ask the bureau for the line again"
	}
	at, ok := rd.time.parse(text)
	if !ok {
		return at, rd.name(rec, rd.timeField(rec)) + ": " + show(text) + " is no time of the form that is expected; ask the bureau or correct returns.mapping.time_format"
	}
	return at, ""
}

// timeField is the one to name when a time is wrong.
func (rd *reading) timeField(rec record) field {
	if rd.places[rec][occurredAt].kind == nowhere && rd.places[rec][occurredDate].kind != nowhere {
		return occurredDate
	}
	if rd.places[rec][occurredAt].kind == nowhere && rd.places[rec][occurredTime].kind != nowhere {
		return occurredTime
	}
	return occurredAt
}

func (rd *reading) name(rec record, fld field) string { return name(rd.places[rec][fld], fld) }

// value is what the line has in a field, without outer blanks; "" where it does not bring it.
func (rd *reading) value(rec record, fld field) string { return rd.at(&rd.places[rec][fld]) }

func (rd *reading) at(p *place) string {
	switch p.kind {
	case constant:
		return p.text
	case atSpan:
		return strings.TrimSpace(rd.fixedText.cut(p.first, p.last))
	case atColumn:
		if p.first <= len(rd.fields) {
			return strings.TrimSpace(rd.fields[p.first-1])
		}
	}
	return ""
}

// inherited is the line's value, or that of the header line before it.
func (rd *reading) inherited(rec record, fld field) string {
	return or(rd.value(rec, fld), rd.head[fld])
}

// flaw is the first thing in the line's own fields that no line may have; what
// it gives reads on after the name of the field. It never repeats the value.
func (l *Line) flaw() (fld field, problem string) {
	switch {
	case l.Kind == Card && l.UID == "":
		return uid, "is empty; ask the bureau for the line again"
	case l.Kind == File && l.FileName == "":
		return fileName, "is empty; ask the bureau for the line again"
	case l.Kind == Card && maskUID(l.UID) != l.UID:
		return uid, "looks like a card number; the bureau must send the unique id of the record instead"
	case l.OccurredAt.Year() < yearZero:
		return occurredAt, "lies before the year 2000, as a date does that was not filled in; ask the bureau for the line again"
	}
	for _, text := range [...]struct {
		field
		value string
		limit int
	}{
		{fileName, l.FileName, maxField}, {uid, l.UID, maxUID}, {code, l.Code, maxField}, {description, l.Description, maxField},
		{carrier, l.Carrier, maxField}, {trackingNumber, l.TrackingNumber, maxField},
	} {
		if len(text.value) > text.limit {
			return text.field, fmt.Sprintf("is longer than %d bytes; ask the bureau for the line again", text.limit)
		}
	}
	return 0, ""
}

func wholeNumber(text string) (int64, bool) {
	if len(text) > maxDigits {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err == nil
}

func or(s, other string) string {
	if s != "" {
		return s
	}
	return other
}

func join(date, clock string) string { return strings.TrimSpace(date + " " + clock) }
