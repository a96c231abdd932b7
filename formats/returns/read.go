package returns

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
)

// Read reads a return file to its end and gives out its lines in their order:
// each gets an event, bad a line that cannot be used. Either may be nil. The
// Line and the Bad are valid until the function returns; their strings may be kept.
//
// Whether the file is whole shows at its end only: until Read returned without
// an error nothing that it gave out may be acted on. A caller therefore reads a
// file twice, first with nil functions. The errors are [ErrNoTrailer],
// [ErrContradicts] and [ErrUnreadable], each wrapped with one sentence; an error
// of the reader, wrapped; an error of each or bad, as it is. The summary counts
// what was read until then.
//
// Memory does not grow with the file: a line longer than 64 KiB is bad and is
// passed over without being held. Every line of text is one record; a line
// break within a field is not expected, so that no bad line swallows the next.
//
// What looks like a card number is masked in Code, Description and Carrier, and
// in everything of a Bad but a uid of our form. FileName, UID and TrackingNumber of a Line come as they
// are written, since they are looked up: nine of ten numbers that look like a
// card are none, and only the caller's registry knows. A uid that looks like a
// card number and not like one of ours makes its line bad.
func (f *Format) Read(r io.Reader, each func(*Line) error, bad func(*Bad) error) (Summary, error) {
	head := bufio.NewReader(r)
	first, err := head.Peek(len(markUTF8))
	if err != nil && err != io.EOF {
		return Summary{}, fmt.Errorf("read the return file: %w", err)
	}
	rd := &reading{Format: *f, each: each, report: bad}
	if rd.now.IsZero() {
		rd.now = time.Now()
	}
	if rd.set, err = f.encoding.charsetOf(first); err != nil {
		return Summary{}, err
	}
	text, err := rd.set.stream(head)
	if err == nil {
		err = rd.all(newLines(text))
	}
	rd.sum.Encoding = rd.set.found()
	return rd.sum, err
}

// reading is one file on its way through a format.
type reading struct {
	Format // its places have the numbers of the columns once the header is read
	each   func(*Line) error
	report func(*Bad) error

	set     charset
	named   bool // the names of the columns are read
	trailer int  // its line; 0: none yet
	n       int  // the line that is read
	sum     Summary
	cards   int64 // CARD lines, bad ones too
	untyped int64 // bad lines that do not show what they are

	fields    []string  // of the line, delimited
	fixedText fixedLine // the line, fixed
	head      [numFields]string
	line      Line
}

func (rd *reading) all(in *lines) error {
	for {
		raw, end, err := in.next()
		if err == io.EOF {
			return rd.finished()
		}
		if err != nil {
			return fmt.Errorf("read line %d of the return file: %w", rd.n+1, err)
		}
		rd.n++
		if end != tooLong && len(bytes.Trim(raw, " \t")) == 0 && raw != nil {
			continue
		}
		if rd.trailer > 0 {
			return rd.afterTrailer(raw)
		}
		if end == unfinished {
			return rd.lastWithoutEnd(raw)
		}
		if err := rd.take(raw, end); err != nil {
			return err
		}
	}
}

func (rd *reading) finished() error {
	if rd.trailer > 0 {
		return nil
	}
	if rd.n == 0 {
		return fmt.Errorf("%w: it is empty; it stays where it is until the bureau has written it", ErrNoTrailer)
	}
	return fmt.Errorf("%w: it ends with line %d; it stays where it is until the bureau has written it to its end", ErrNoTrailer, rd.n)
}

func (rd *reading) afterTrailer(raw []byte) error {
	if rec, problem := rd.open(raw); raw != nil && problem == "" && rec == trailerRecord {
		return fmt.Errorf("%w: it has two trailers, in lines %d and %d; ask the bureau for it again", ErrContradicts, rd.trailer, rd.n)
	}
	return fmt.Errorf("%w: line %d stands after the trailer in line %d; ask the bureau for it again", ErrContradicts, rd.n, rd.trailer)
}

// lastWithoutEnd takes the last line of a file that does not end with a line
// end. It is the trailer if it reads as one and agrees with the lines before it;
// anything else is half a line, and the file is still being written.
func (rd *reading) lastWithoutEnd(raw []byte) error {
	if raw != nil && rd.namesRead() {
		if rec, problem := rd.open(raw); problem == "" && rec == trailerRecord && rd.close() == nil {
			return nil
		}
	}
	rd.trailer = 0
	return fmt.Errorf("%w: line %d, its last, is cut short; it stays where it is until the bureau has written it to its end", ErrNoTrailer, rd.n)
}

func (rd *reading) namesRead() bool { return rd.named || !rd.header }

// take reads one line that has an end.
func (rd *reading) take(raw []byte, end lineEnd) error {
	if !rd.namesRead() {
		return rd.names(raw, end)
	}
	rec, problem := skipRecord, ""
	if end == tooLong {
		problem = fmt.Sprintf("the line is longer than %d bytes; ask the bureau for it again", maxLine)
	} else {
		rec, problem = rd.open(raw)
	}
	if problem == "" && rec == trailerRecord {
		return rd.close()
	}
	rd.sum.Lines++
	if problem != "" {
		rd.untyped++
		return rd.reject(&Bad{Problem: problem})
	}
	switch rec {
	case cardRecord, fileRecord:
		return rd.event(rec)
	case headerRecord:
		for _, fld := range brings[headerRecord] {
			rd.head[fld] = strings.Clone(rd.value(headerRecord, fld))
		}
	}
	return nil
}

// open parts a line into its fields and tells what it is.
func (rd *reading) open(raw []byte) (rec record, problem string) {
	rd.fields = rd.fields[:0]
	rd.fixedText.set("")
	text, problem := rd.set.text(raw)
	if problem != "" {
		return rec, problem
	}
	if rd.fixed {
		rd.fixedText.set(text)
		if n := rd.fixedText.length(); rd.length > 0 && n != rd.length {
			return rec, fmt.Sprintf("the line has %d characters instead of %d; ask the bureau for it again", n, rd.length)
		}
	} else if rd.fields, problem = rd.split(text, rd.fields); problem != "" {
		return rec, problem
	}
	word := rd.at(&rd.typeAt)
	rec, ok := rd.records.mean(word)
	if !ok {
		return rec, name(rd.typeAt, recordType) + ": " + show(word) + " is no record type of the mapping; ask the bureau or add it to returns.mapping.records"
	}
	return rec, ""
}

// close takes the trailer.
func (rd *reading) close() error {
	rd.trailer = rd.n
	if rd.counts == countsNothing {
		return nil
	}
	text := rd.value(trailerRecord, count)
	told, ok := wholeNumber(text)
	if text == "" || !ok {
		return fmt.Errorf("%w: the trailer in line %d has no count where one should be (%s); ask the bureau for it again",
			ErrUnreadable, rd.n, name(rd.places[trailerRecord][count], count))
	}
	low, high, what := rd.sum.Lines, rd.sum.Lines, "lines"
	if rd.counts == countsCards {
		// A line that does not show what it is may be a card or not.
		low, high, what = rd.cards, rd.cards+rd.untyped, "CARD lines"
	}
	if told < low || told > high {
		return fmt.Errorf("%w: the trailer in line %d counts %d %s, and %d stand before it; ask the bureau for it again", ErrContradicts, rd.n, told, what, low)
	}
	return nil
}

// names reads the line with the names of the columns and finds the mapping's among them.
func (rd *reading) names(raw []byte, end lineEnd) error {
	if end == tooLong {
		return fmt.Errorf("%w: line %d, where the names of the columns should be, is longer than %d bytes", ErrUnreadable, rd.n, maxLine)
	}
	text, problem := rd.set.text(raw)
	var columns []string
	if problem == "" {
		columns, problem = rd.split(text, nil)
	}
	if problem != "" {
		return fmt.Errorf("%w: line %d, where the names of the columns should be: %s", ErrUnreadable, rd.n, problem)
	}
	own := rd.startsAtOnce(columns)
	if own {
		columns = ownColumns
	}
	if err := rd.eachPlace(func(p *place) error { return rd.find(p, columns) }); err != nil {
		return err
	}
	rd.columns, rd.named = len(columns), true
	if own {
		return rd.take(raw, end)
	}
	return nil
}

// startsAtOnce: our own CSV without the names of its columns; the first line is
// an event, its fields in our order.
func (rd *reading) startsAtOnce(fields []string) bool {
	if !rd.ours || len(fields) != len(ownColumns) {
		return false
	}
	_, known := rd.records.mean(fields[0])
	return known
}

// find gives a place the number of its column.
func (rd *reading) find(p *place, columns []string) error {
	if p.kind == atColumn && p.first > len(columns) {
		return fmt.Errorf("%w: line %d names %d columns, and the mapping wants %s; ask the bureau or correct returns.mapping.fields", ErrUnreadable, rd.n, len(columns), p)
	}
	if p.kind != named {
		return nil
	}
	at := 0
	for i, column := range columns {
		if fold(column) != fold(p.text) {
			continue
		}
		if at > 0 {
			return fmt.Errorf("%w: line %d names %s twice, in places %d and %d; ask the bureau for the file again", ErrUnreadable, rd.n, p, at, i+1)
		}
		at = i + 1
	}
	if at == 0 {
		return fmt.Errorf("%w: line %d, where the names of the columns should be, lacks %s; ask the bureau or correct returns.mapping.fields", ErrUnreadable, rd.n, p)
	}
	p.kind, p.first = atColumn, at
	return nil
}
