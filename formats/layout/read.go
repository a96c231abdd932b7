package layout

import (
	"bufio"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strconv"
)

// Summary is what a file says of itself and what was found in it.
type Summary struct {
	Title     string // of the layout it was read by
	Sequence  int64  // control number; 0 where the layout shows none
	Reference string // as it stands in the file; of a layout that shows only the sequence, that
	Records   int64  // found
	Products  int64  // found
	HashTotal string // as computed, in the trailer's width; "" where the layout has none
	First     string // uid of the first record
	Last      string // uid of the last record
}

// maxProblems is how many problems [Layout.Read] lists; more are counted.
const maxProblems = 1000

// readBuffer bounds one line, or one element with its text.
const readBuffer = 256 << 10

// Read takes a file apart, strictly: order of the elements, lengths, marks,
// characters and rules of every record, uids that come twice, counts, hash
// total and control number of the whole, a cut file, bytes after its end. It
// gives each record that has no problem of its own to each, in its order; the
// record is each's to keep, with the fields that the file shows unchanged. An
// error of each stops it and is returned as it is.
//
// The other error joins everything that is wrong with the file, each a
// [*RecordError]. What follows a broken structure cannot be read and is not
// reported. Memory does not depend on the size of the file, but for a
// hash of 8 bytes for each uid.
func (l *Layout) Read(r io.Reader, each func(Record) error) (Summary, error) {
	in := &inspector{
		in: bufio.NewReaderSize(r, readBuffer), layout: l, form: l.file, each: each,
		order: newGrouping(l.together), seed: maphash.MakeSeed(), uids: map[uint64]struct{}{}, says: map[headSource]int64{},
	}
	in.summary.Title = l.Title()
	if err := l.file.body.read(in); err != nil {
		return in.result(), err
	}
	in.whole()
	return in.result(), in.verdict()
}

// inspector gathers what a file says and what is wrong with it.
type inspector struct {
	in     *bufio.Reader
	layout *Layout
	form   *form
	each   func(Record) error

	summary  Summary
	problems []error
	more     int64
	broken   bool // the structure: counts mean nothing any more

	order *grouping
	seed  maphash.Seed
	uids  map[uint64]struct{}
	hash  hashTotal
	hashN int                  // digits of the trailer's hash total
	said  string               // hash total as the trailer has it
	says  map[headSource]int64 // numbers of header and trailer

	record     Record // the one being read
	recordGood bool
}

func (in *inspector) result() Summary {
	in.summary.Products = in.order.products
	if in.hashN > 0 {
		in.summary.HashTotal = fmt.Sprintf("%0*d", in.hashN, in.hash.value()%powerOfTen(in.hashN))
	}
	return in.summary
}

// file notes a problem of the whole file.
func (in *inspector) file(err error) { in.note(&RecordError{Err: err}) }

// breaks notes that the structure is broken here.
func (in *inspector) breaks(err error) {
	in.broken = true
	in.wrong(err)
}

// wrong notes a problem where reading is: in the current record, or in the file outside of records.
func (in *inspector) wrong(err error) {
	e := &RecordError{Err: err}
	if in.record != nil {
		in.recordGood = false
		e.Record, e.UID = in.summary.Records, shownUID(in.record[UID])
	}
	in.note(e)
}

func (in *inspector) note(err error) {
	if len(in.problems) == maxProblems {
		in.more++
		return
	}
	in.problems = append(in.problems, err)
}

func (in *inspector) verdict() error {
	if in.more > 0 {
		return errors.Join(append(in.problems, fmt.Errorf("and %d more problems", in.more))...)
	}
	return errors.Join(in.problems...)
}

// begin starts the next record.
func (in *inspector) begin() {
	in.summary.Records++
	in.record = make(Record, len(in.form.record))
	in.recordGood = true
}

// value takes the text of one of the record's elements.
func (in *inspector) value(e *element, text string) {
	var wrong faults
	e.check(text, &wrong)
	if e.source == fromNumber && text != strconv.FormatInt(in.summary.Records, 10) {
		wrong.add(e.fault("is not the running number of the record"))
	}
	for _, err := range wrong.found {
		in.wrong(err)
	}
	if !e.plain() {
		return
	}
	if e.in != nil {
		text = e.in[text]
	}
	in.put(e, text)
}

// put stores a value; a field that the layout shows twice must be the same in both places.
func (in *inspector) put(e *element, text string) {
	if before, twice := in.record[e.field]; twice && before != text {
		in.wrong(e.fault("differs from the same field elsewhere in the record"))
	}
	in.record[e.field] = text
}

// end holds what concerns the record as a whole and hands it on.
func (in *inspector) end() error {
	rec := in.record
	var wrong faults
	for _, r := range in.layout.rules {
		r.check(rec, &wrong)
	}
	for _, err := range wrong.found {
		in.wrong(err)
	}
	if _, ok := in.order.admit(rec); !ok {
		in.wrong(ErrOrder)
	}
	in.known(rec[UID])
	in.hash.add(onlyDigits(rec[PAN]))
	in.record = nil
	if !in.recordGood || in.each == nil {
		return nil
	}
	return in.each(rec)
}

// known holds that a uid comes once.
func (in *inspector) known(uid string) {
	key := maphash.String(in.seed, uid)
	if _, twice := in.uids[key]; twice && uid != "" {
		in.wrong(errors.New("its uid was in the file before"))
	}
	in.uids[key] = struct{}{}
	if in.summary.Records == 1 {
		in.summary.First = shownUID(uid)
	}
	in.summary.Last = shownUID(uid)
}

// fileValue takes the text of one of header's or trailer's elements.
func (in *inspector) fileValue(e *element, text string) {
	var wrong faults
	e.check(text, &wrong)
	for _, err := range wrong.found {
		in.wrong(err)
	}
	switch {
	case e.source == fromHash:
		in.hashN, in.said = e.max, text
	case e.head == headReference:
		in.summary.Reference = text
	case e.head == headSequence, e.head == headRecords, e.head == headProducts:
		in.number(e, text)
	}
}

func (in *inspector) number(e *element, text string) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || onlyDigits(text) != text {
		in.wrong(e.fault("is not a number"))
		return
	}
	if before, twice := in.says[e.head]; twice && before != n {
		in.wrong(e.fault("does not agree with the header"))
	}
	in.says[e.head] = n
	if e.head == headSequence {
		in.summary.Sequence = n
		if in.summary.Reference == "" {
			in.summary.Reference = text
		}
	}
}

// whole holds what the file says of itself against what was found. A file
// whose structure is broken has been read in part; its counts say nothing.
func (in *inspector) whole() {
	if in.broken {
		return
	}
	if n, ok := in.says[headRecords]; ok && n != in.summary.Records {
		in.file(fmt.Errorf("it says %d records and has %d", n, in.summary.Records))
	}
	if n, ok := in.says[headProducts]; ok && in.order.counts() && n != in.order.products {
		in.file(fmt.Errorf("it says %d products and has %d", n, in.order.products))
	}
	if n, ok := in.says[headSequence]; ok && n < 1 {
		in.file(errors.New("its sequence number is not 1 or more"))
	}
	if in.hashN > 0 && in.said != strconv.FormatUint(in.hash.value()%powerOfTen(in.hashN), 10) {
		in.file(errors.New("its hash total is not that of its records"))
	}
}
