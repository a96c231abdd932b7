package table

import (
	"bytes"
	"io"
)

// lines splits a stream into physical lines. LF, CRLF and a lone CR all end
// one: files with mixed ends are common where exports were pasted together.
type lines struct {
	src      io.Reader
	buf      []byte
	pos, end int
	lf       int // the next LF at or after pos; end when there is none in the window
	err      error
	max      int  // bytes of a line
	skip     bool // the line that was cut has a rest
}

func newLines(src io.Reader, max int) *lines {
	return &lines{src: src, buf: make([]byte, sampleSize), max: max}
}

// next gives the next line without its end, valid until the next call. A line
// longer than max is cut, its rest is passed over. At the end it gives io.EOF.
func (l *lines) next() (line []byte, cut bool, err error) {
	for {
		line, complete := l.take()
		switch {
		case complete && l.skip:
			l.skip = false
		case complete:
			return line, false, nil
		case l.err != nil:
			return l.last()
		case l.end-l.pos >= l.max:
			line, l.pos = l.buf[l.pos:l.end], l.end
			if !l.skip {
				l.skip = true
				return line, true, nil
			}
		default:
			l.fill()
		}
	}
}

// take cuts a line off the window, if the window has a whole one.
func (l *lines) take() (line []byte, complete bool) {
	if l.lf < l.pos {
		l.seekLF(l.pos)
	}
	window := l.buf[l.pos:l.lf]
	if i := bytes.IndexByte(window, '\r'); i >= 0 {
		at := l.pos + i
		switch {
		case at+1 < l.end && l.buf[at+1] == '\n':
			l.pos = at + 2
			return window[:i], true
		case at+1 < l.end || l.err != nil:
			l.pos = at + 1
			return window[:i], true
		}
		return nil, false
	}
	if l.lf < l.end {
		l.pos = l.lf + 1
		return window, true
	}
	return nil, false
}

func (l *lines) seekLF(from int) {
	l.lf = l.end
	if i := bytes.IndexByte(l.buf[from:l.end], '\n'); i >= 0 {
		l.lf = from + i
	}
}

func (l *lines) last() ([]byte, bool, error) {
	line := l.buf[l.pos:l.end]
	l.pos, l.lf = l.end, l.end
	if l.err == io.EOF && len(line) > 0 && !l.skip {
		return line, false, nil
	}
	return nil, false, l.err
}

func (l *lines) fill() {
	if l.pos > 0 {
		copy(l.buf, l.buf[l.pos:l.end])
		l.end -= l.pos
		l.pos = 0
	}
	if l.end == len(l.buf) {
		l.buf = append(l.buf, make([]byte, len(l.buf))...)
	}
	n, err := io.ReadAtLeast(l.src, l.buf[l.end:], 1)
	l.end += n
	if err != nil {
		l.err = err
	}
	l.seekLF(0)
}
