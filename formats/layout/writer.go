package layout

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"time"
)

// Head is what is known of a file before its first record, and what its plan
// freezes: the same head and records give the same bytes. It is stored as JSON.
type Head struct {
	Client    string    `json:"client"`              // our name at the bureau
	Reference string    `json:"reference,omitempty"` // of the file, for layouts that show one beside the sequence
	Sequence  int64     `json:"sequence"`            // of the bureau, from 1; a layout's control number
	Time      time.Time `json:"time"`                // in the bureau's zone; a file says it in that zone
	Records   int64     `json:"records"`             // at least 1
	Products  int64     `json:"products"`            // different product keys among the records
	OrderRef  string    `json:"order_ref,omitempty"`
}

// Errors of a writer that a caller can tell apart.
var (
	// ErrCount: more or fewer records, or products, than the head says.
	ErrCount = errors.New("the number of records is not the one of the file's plan")
	// ErrOrder: a record comes after its product, or its delivery code, was closed.
	ErrOrder = errors.New("records that belong together do not stand together")
)

// flushAt is when a writer hands its buffer on: large pieces keep the sealing below busy.
const flushAt = 64 << 10

// Writer streams one file. It is for one goroutine. The first error stays:
// the file is then worthless and must not be frozen, and Close says so again.
type Writer struct {
	form    *form
	dst     io.Writer
	head    Head
	order   *grouping
	texts   []string
	buf     []byte
	records int64
	hash    hashTotal
	closed  bool
	err     error
}

// NewWriter begins a file for the bureau. A head that does not fit the layout
// is the error of the first Write or Close; nothing is written then.
func (l *Layout) NewWriter(w io.Writer, h Head) *Writer { return l.newWriter(w, h, l.file) }

// NewTwin begins the masked twin of a file: the same records in the same
// order, without what nobody may see. It takes records with or without their
// secrets. A card number that stands in an open field of its own record is
// masked there.
func (l *Layout) NewTwin(w io.Writer, h Head) *Writer { return l.newWriter(w, h, l.twin) }

func (l *Layout) newWriter(dst io.Writer, h Head, f *form) *Writer {
	w := &Writer{form: f, dst: dst, head: h, order: newGrouping(l.together)}
	if w.err = h.check(); w.err != nil {
		return w
	}
	texts := w.ofFile(f.header)
	var wrong faults
	for i, e := range f.header {
		e.check(texts[i], &wrong)
	}
	if w.err = wrong.join(); w.err == nil {
		w.buf, w.err = f.body.begin(make([]byte, 0, flushAt+flushAt/4), texts)
	}
	return w
}

func (h Head) check() error {
	switch {
	case h.Sequence < 1:
		return errors.New("the head of a file needs a sequence number from 1")
	case h.Records < 1 || h.Products < 0:
		return errors.New("the head of a file needs the number of its records, at least 1, and of its products")
	case h.Time.IsZero():
		return errors.New("the head of a file needs its time")
	}
	return nil
}

func (w *Writer) ofFile(elements []*element) []string {
	texts := make([]string, len(elements))
	for i, e := range elements {
		texts[i] = e.ofFile(&w.head, w.hash.value())
	}
	return texts
}

// Write adds a record: all that [Layout.Check] says holds here again.
func (w *Writer) Write(rec Record) error {
	if w.err == nil {
		w.err = w.write(rec)
	}
	return w.err
}

func (w *Writer) write(rec Record) error {
	switch {
	case w.closed:
		return errors.New("a record after the end of the file")
	case w.records == w.head.Records:
		return fmt.Errorf("%w: there are more than %d", ErrCount, w.head.Records)
	}
	w.records++
	var wrong faults
	w.texts = w.form.texts(rec, w.records, w.texts[:0])
	w.form.check(rec, w.texts, &wrong)
	if err := wrong.join(); err != nil {
		return &RecordError{Record: w.records, UID: shownUID(rec[UID]), Err: err}
	}
	opens, ok := w.order.admit(rec)
	if !ok {
		return &RecordError{Record: w.records, UID: shownUID(rec[UID]), Err: ErrOrder}
	}
	w.hash.add(rec[PAN])
	var err error
	w.buf, err = w.form.body.record(w.buf, w.texts, place{rec, w.records == 1, opens})
	if err == nil && len(w.buf) >= flushAt {
		err = w.flush()
	}
	return err
}

// Close ends the file with its trailer. It does not close what the file is
// written to. A second Close does nothing.
func (w *Writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	if w.err == nil {
		w.err = w.finish()
	}
	clear(w.buf[:cap(w.buf)]) // card data does not outlive its file
	clear(w.texts[:cap(w.texts)])
	return w.err
}

func (w *Writer) finish() error {
	switch {
	case w.records != w.head.Records:
		return fmt.Errorf("%w: %d instead of %d", ErrCount, w.records, w.head.Records)
	case w.order.counts() && w.order.products != w.head.Products:
		return fmt.Errorf("%w: %d products instead of %d", ErrCount, w.order.products, w.head.Products)
	}
	var wrong faults
	texts := w.ofFile(w.form.trailer)
	for i, e := range w.form.trailer {
		e.check(texts[i], &wrong)
	}
	if err := wrong.join(); err != nil {
		return err
	}
	var err error
	if w.buf, err = w.form.body.end(w.buf, texts); err != nil {
		return err
	}
	return w.flush()
}

func (w *Writer) flush() error {
	n, err := w.dst.Write(w.buf)
	if err == nil && n < len(w.buf) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write bureau file: %w", err)
	}
	w.buf = w.buf[:0]
	return nil
}

// grouping holds that records which belong together stand together: those of
// one product, and within it those of one delivery code. It remembers keys by
// a 64-bit hash, 8 bytes each, so that memory stays small.
type grouping struct {
	fields   []Field
	seed     maphash.Seed
	current  []string
	seen     []map[uint64]struct{} // keys that were open once, by level
	began    bool
	products int64
}

func newGrouping(fields []Field) *grouping {
	g := &grouping{fields: fields, seed: maphash.MakeSeed(), current: make([]string, len(fields))}
	for range fields {
		g.seen = append(g.seen, map[uint64]struct{}{})
	}
	return g
}

// counts says that the layout has products to count.
func (g *grouping) counts() bool { return len(g.fields) > 0 }

// admit takes the next record. opens: it begins a product. Not ok: it belongs
// to a product or delivery code that was closed before. A blank delivery code
// is none: such records need not stand together.
func (g *grouping) admit(rec Record) (opens, ok bool) {
	first := !g.began
	g.began = true
	for level, f := range g.fields {
		v := rec[f]
		if !first && v == g.current[level] {
			continue
		}
		if !g.enter(level, v) {
			return false, false
		}
		if level == 0 {
			opens = true
			g.products++
		}
		first = true // below a new key every key is new
	}
	return opens, true
}

// enter closes what a level had open, and all levels below, and opens v.
func (g *grouping) enter(level int, v string) bool {
	g.current[level] = v
	for below := level + 1; below < len(g.fields); below++ {
		clear(g.seen[below])
	}
	if v == "" && level > 0 {
		return true
	}
	key := maphash.String(g.seed, v)
	_, seen := g.seen[level][key]
	g.seen[level][key] = struct{}{}
	return !seen
}

// hashTotal is the sum of the last ten digits of each PAN, modulo 10^18; an
// element shows as many of its last digits as it is long.
type hashTotal struct{ sum uint64 }

const hashModulus = 1_000_000_000_000_000_000

func (t *hashTotal) add(pan string) {
	if len(pan) > 10 {
		pan = pan[len(pan)-10:]
	}
	n := uint64(0)
	for i := range len(pan) {
		n = n*10 + uint64(pan[i]-'0')
	}
	t.sum = (t.sum + n) % hashModulus
}

func (t *hashTotal) value() uint64 { return t.sum }
