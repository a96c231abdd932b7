package returns

import (
	"fmt"
	"slices"
	"strconv"
)

// field is one of the fields that a line can bring.
type field int

const (
	recordType field = iota
	fileName
	sequence
	uid
	status
	count
	code
	description
	carrier
	trackingNumber
	occurredAt
	occurredDate
	occurredTime
	numFields
)

var fieldNames = [numFields]string{
	"record_type", "file_name", "sequence", "uid", "status", "count", "code", "description", "carrier", "tracking_number",
	"occurred_at", "occurred_date", "occurred_time",
}

// ownColumns are those of our own CSV, in their order.
var ownColumns = fieldNames[recordType : occurredAt+1]

func (f field) String() string { return fieldNames[f] }

func fieldNamed(name string) (field, bool) {
	i := slices.Index(fieldNames[:], name)
	return field(i), i >= 0
}

// record is what a line is.
type record int

const (
	skipRecord record = iota
	fileRecord
	cardRecord
	headerRecord
	trailerRecord
	numRecords
)

var recordNames = [numRecords]string{"SKIP", "FILE", "CARD", "HEADER", "TRAILER"}

func (r record) String() string { return recordNames[r] }

func recordNamed(name string) (record, bool) {
	i := slices.Index(recordNames[:], name)
	return record(i), i >= 0
}

// brings are the fields that are read from a line of each record type, beside record_type.
var brings = [numRecords][]field{
	fileRecord:    {fileName, sequence, status, count, code, description, occurredAt, occurredDate, occurredTime},
	cardRecord:    {fileName, sequence, uid, status, code, description, carrier, trackingNumber, occurredAt, occurredDate, occurredTime},
	headerRecord:  {fileName, sequence, occurredAt, occurredDate, occurredTime},
	trailerRecord: {count},
}

// place is where a field stands in a line.
type place struct {
	kind  placeKind
	key   string // of the entry in the description's fields
	first int    // atColumn: its number; atSpan: the first character; from 1
	last  int    // atSpan: the last character
	text  string // named, and then atColumn: the column's name; constant: the value
}

type placeKind int

const (
	nowhere placeKind = iota
	atColumn
	named
	atSpan
	constant
)

func (p place) String() string {
	switch {
	case p.text != "" && p.kind != constant:
		return "column " + strconv.Quote(p.text)
	case p.kind == atColumn:
		return "column " + strconv.Itoa(p.first)
	case p.kind == atSpan:
		return fmt.Sprintf("characters %d-%d", p.first, p.last)
	}
	return ""
}

// name says which field, and where the bureau has it.
func name(p place, fld field) string {
	switch where := p.String(); {
	case where == "" || p.text == fld.String():
		return fld.String()
	default:
		return fld.String() + " (" + where + ")"
	}
}
