package returns

import (
	"bytes"
	"io"
)

// maxLine is the length of a line in bytes. A longer one is passed over without being held.
const maxLine = 64 << 10

// lines cuts a stream at LF, CRLF and lone CR. It holds two lines' length at most.
type lines struct {
	src      io.Reader
	buf      []byte
	pos, end int // what is not given out yet
	seen     int // up to here there is no line end
	err      error
	skipping bool // the line is too long; its beginning is gone
}

// lineEnd is how a line ended.
type lineEnd int

const (
	ended      lineEnd = iota
	tooLong            // ended, and longer than maxLine: its text is not held
	unfinished         // the stream ended first
)

func newLines(src io.Reader) *lines { return &lines{src: src, buf: make([]byte, 2*maxLine)} }

// next gives the next line without its end, valid until the next call; at the end of the stream io.EOF.
func (l *lines) next() ([]byte, lineEnd, error) {
	for {
		line, ok := l.take()
		switch {
		case ok && (l.skipping || len(line) > maxLine):
			l.skipping = false
			return nil, tooLong, nil
		case ok:
			return line, ended, nil
		case l.err != nil:
			return l.rest()
		}
		l.fill()
	}
}

// take cuts a line off what is held, if there is a whole one.
func (l *lines) take() ([]byte, bool) {
	i := indexEnd(l.buf[l.seen:l.end])
	if i < 0 {
		l.seen = l.end
		return nil, false
	}
	at := l.seen + i
	if l.buf[at] == '\r' && at+1 == l.end && l.err == nil {
		l.seen = at // an LF may follow
		return nil, false
	}
	line := l.buf[l.pos:at]
	l.pos = at + 1
	if l.buf[at] == '\r' && l.pos < l.end && l.buf[l.pos] == '\n' {
		l.pos++
	}
	l.seen = l.pos
	return line, true
}

// indexEnd finds the first CR or LF. It goes in steps, so that a file without
// one of them is not searched for it to the end of the buffer for every line.
func indexEnd(p []byte) int {
	const step = 512
	for from := 0; from < len(p); from += step {
		part := p[from:min(from+step, len(p))]
		lf := bytes.IndexByte(part, '\n')
		if lf >= 0 {
			part = part[:lf]
		}
		if cr := bytes.IndexByte(part, '\r'); cr >= 0 {
			return from + cr
		}
		if lf >= 0 {
			return from + lf
		}
	}
	return -1
}

// rest is what stands before the end of the stream without a line end.
func (l *lines) rest() ([]byte, lineEnd, error) {
	line := l.buf[l.pos:l.end]
	l.pos, l.seen = l.end, l.end
	if l.err != io.EOF || len(line) == 0 && !l.skipping {
		return nil, ended, l.err
	}
	if l.skipping || len(line) > maxLine {
		l.skipping = false
		return nil, unfinished, nil
	}
	return line, unfinished, nil
}

// fill reads on. It drops what belongs to a line that is too long already, but
// a CR at its end, which may be half of a line end.
func (l *lines) fill() {
	if l.seen-l.pos > maxLine {
		l.skipping, l.pos = true, l.seen
	}
	if l.pos > 0 {
		copy(l.buf, l.buf[l.pos:l.end])
		l.end, l.seen, l.pos = l.end-l.pos, l.seen-l.pos, 0
	}
	n, err := io.ReadAtLeast(l.src, l.buf[l.end:], 1)
	l.end += n
	l.err = err
}
