package layout

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// read goes through the lines, tells each kind by its first columns, and
// takes every column apart. A line of a wrong length is told and passed over.
func (x *fixedBody) read(in *inspector) error {
	r := &fixedReader{inspector: in, body: x}
	for !r.broken {
		line, err := r.line()
		if errors.Is(err, io.EOF) {
			r.atEnd()
			return nil
		}
		if err != nil {
			r.breaks(err)
			return nil
		}
		if err := r.take(line); err != nil {
			return err
		}
	}
	return nil
}

// fixedReader knows how far in the file it is.
type fixedReader struct {
	*inspector
	body    *fixedBody
	lines   int64
	trailer bool // the trailer was read: nothing may follow
}

// line gives the next line without its end; io.EOF only where the file ends between two lines.
func (r *fixedReader) line() ([]byte, error) {
	if r.body.lineEnd == "" {
		line := make([]byte, r.body.length)
		_, err := io.ReadFull(r.in, line)
		return line, cut(err)
	}
	line, err := r.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, errors.New("a line without an end")
	case errors.Is(err, io.EOF) && len(line) > 0:
		return nil, ErrCut
	case err != nil:
		return nil, cut(err)
	}
	return bytes.TrimSuffix(line, []byte(r.body.lineEnd)), nil
}

func cut(err error) error {
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return ErrCut
	}
	return fmt.Errorf("it cannot be read: %w", err)
}

func (r *fixedReader) atEnd() {
	if r.body.trailer != nil && !r.trailer || r.lines == 0 {
		r.breaks(ErrCut)
	}
}

func (r *fixedReader) take(line []byte) error {
	r.lines++
	first := r.lines == 1
	switch {
	case r.trailer:
		r.breaks(errors.New("there is something after its end"))
	case first && r.body.header != nil:
		if !begins(line, r.body.header) {
			r.breaks(errors.New("it does not begin with its header"))
			return nil
		}
		r.columns(line, r.body.header, r.fileValue)
	case r.body.trailer != nil && begins(line, r.body.trailer):
		r.trailer = true
		r.columns(line, r.body.trailer, r.fileValue)
	default:
		return r.detail(line)
	}
	return nil
}

// begins says that a line has the mark of this kind of line.
func begins(line []byte, columns []*element) bool {
	return bytes.HasPrefix(line, []byte(columns[0].text))
}

func (r *fixedReader) detail(line []byte) error {
	r.begin()
	if r.body.hasMarks() && !begins(line, r.body.detail) {
		r.wrong(errors.New("a line of a kind that the layout does not have"))
		r.record = nil
		return nil
	}
	if !r.columns(line, r.body.detail, r.value) {
		r.record = nil
		return nil
	}
	return r.end()
}

func (x *fixedBody) hasMarks() bool { return x.header != nil || x.trailer != nil }

// columns takes a line apart; not a line of another length, whose columns mean nothing.
func (r *fixedReader) columns(line []byte, columns []*element, take func(*element, string)) bool {
	if len(line) != r.body.length {
		r.wrong(&FieldError{
			Element: columns[0].text + " line", Limit: r.body.length, Length: len(line),
			Reason: fmt.Sprintf("has %d characters, it must have exactly %d", len(line), r.body.length),
		})
		return false
	}
	for _, e := range columns {
		take(e, e.fromColumn(line[:e.max]))
		line = line[e.max:]
	}
	return true
}

// fromColumn is the text that stands in an element's columns.
func (e *element) fromColumn(column []byte) string {
	text := e.charset.text(column)
	switch {
	case !e.number:
		return strings.TrimRight(text, " ")
	case e.min == e.max:
		return text
	}
	text = strings.TrimLeft(text, "0")
	if text == "" && e.source != fromField {
		return "0"
	}
	return text
}
