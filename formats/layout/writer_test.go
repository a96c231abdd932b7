package layout

import (
	"bytes"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"
)

// writeAll writes records under a head and gives the first error.
func writeAll(l *Layout, h Head, records []Record) error {
	w := l.NewWriter(io.Discard, h)
	for _, r := range records {
		if err := w.Write(r); err != nil {
			return err
		}
	}
	return w.Close()
}

func TestTheWriterHoldsTheHeadsCounts(t *testing.T) {
	for _, name := range Names() {
		l := compiled(t, name)
		for _, c := range []struct {
			name              string
			records, products int64
		}{{"more", 4, 3}, {"fewer", 6, 3}, {"fewer products", 5, 4}, {"more products", 5, 2}} {
			h := headOf(night())
			h.Records, h.Products = c.records, c.products
			if err := writeAll(l, h, night()); !errors.Is(err, ErrCount) {
				t.Errorf("%s, %s than the head says: got %v", name, c.name, err)
			}
		}
	}
}

func TestRecordsOfOneProductStandTogether(t *testing.T) {
	records := []Record{visaCard(1), mastercard(2), visaCard(3)}
	for _, name := range Names() {
		if err := writeAll(compiled(t, name), headOf(records), records); !errors.Is(err, ErrOrder) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestRecordsOfOneDeliveryCodeStandTogether(t *testing.T) {
	records := []Record{mastercard(1), mastercard(2), mastercard(3)}
	records[1][DeliveryCode] = "BRANCH-8"
	l := compiled(t, "cardgen-v12")
	if err := writeAll(l, headOf(records), records); !errors.Is(err, ErrOrder) {
		t.Errorf("got %v", err)
	}
	records[0][DeliveryCode], records[2][DeliveryCode] = "", ""
	if err := writeAll(l, headOf(records), records); err != nil {
		t.Errorf("records without a delivery code need not stand together: %v", err)
	}
}

func TestTheSortKeyGivesAnOrderThatTheWriterTakes(t *testing.T) {
	l := compiled(t, "cardgen-v12")
	a, b, c := mastercard(1), mastercard(2), mastercard(3)
	a[ProductRef], b[ProductRef], c[ProductRef] = "MC", "MC", "MC-GOLD"
	a[DeliveryCode], b[DeliveryCode], c[DeliveryCode] = "Z", "A", "A"
	if l.SortKey(b) >= l.SortKey(a) || l.SortKey(a) >= l.SortKey(c) {
		t.Error("a product whose name begins another's does not sort before it as a whole")
	}
	if l.ProductKey(a) != l.ProductKey(b) || l.ProductKey(b) == l.ProductKey(c) {
		t.Error("the product key does not tell the products apart")
	}
}

func TestABadRecordStopsTheFile(t *testing.T) {
	l := compiled(t, "cardgen-v12")
	bad := visaCard(1)
	bad[Address1] = strings.Repeat("x", 51)
	var out bytes.Buffer
	w := l.NewWriter(&out, headOf([]Record{bad}))
	err := w.Write(bad)
	var at *RecordError
	var wrong *FieldError
	if !errors.As(err, &at) || at.Record != 1 || at.UID != bad[UID] || !errors.As(err, &wrong) || wrong.Limit != 50 {
		t.Errorf("got %v", err)
	}
	if w.Write(visaCard(2)) == nil || w.Close() == nil || out.Len() > 0 {
		t.Error("the writer went on after a record that does not fit")
	}
}

func TestAHeadThatDoesNotFitIsRefused(t *testing.T) {
	records := []Record{visaCard(1)}
	for _, c := range []struct {
		name   string
		change func(*Head)
	}{
		{"sequence", func(h *Head) { h.Sequence = 0 }},
		{"records", func(h *Head) { h.Records = 0 }},
		{"time", func(h *Head) { h.Time = time.Time{} }},
		{"order reference", func(h *Head) { h.OrderRef = strings.Repeat("x", 31) }},
		{"sequence beyond its columns", func(h *Head) { h.Sequence = 10_000_000_000 }},
		{"client", func(h *Head) { h.Client = strings.Repeat("x", 21) }},
	} {
		h := headOf(records)
		c.change(&h)
		if writeAll(compiled(t, "fixed-v1"), h, records) == nil {
			t.Errorf("%s: the head is taken", c.name)
		}
	}
}

func TestNothingGoesInAfterClose(t *testing.T) {
	l := compiled(t, "fixed-v1")
	w := l.NewWriter(io.Discard, headOf(night()))
	fill(t, w, night())
	if w.Close() != nil {
		t.Error("a second Close fails")
	}
	if w.Write(visaCard(9)) == nil {
		t.Error("a record was taken after Close")
	}
}

// shortWriter takes one byte less than it is given and says no error.
type shortWriter struct{}

func (shortWriter) Write(p []byte) (int, error) { return len(p) - 1, nil }

func TestAShortWriteIsAnError(t *testing.T) {
	w := compiled(t, "fixed-v1").NewWriter(shortWriter{}, headOf([]Record{visaCard(1)}))
	if err := w.Write(visaCard(1)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v", err)
	}
}

func TestCardDataDoesNotOutliveTheWriter(t *testing.T) {
	w := compiled(t, "cardgen-v12").NewWriter(io.Discard, headOf(night()))
	fill(t, w, night())
	if bytes.Contains(w.buf[:cap(w.buf)], []byte("4111")) {
		t.Error("the buffer still has card data after Close")
	}
}

func TestEveryFixedLineHasTheRecordLength(t *testing.T) {
	l := compiled(t, "fixed-v1")
	for _, file := range [][]byte{written(t, l, night()), twinOf(t, l, night())} {
		for i, line := range strings.Split(strings.TrimSuffix(string(file), "\r\n"), "\r\n") {
			if len(line) != 1300 {
				t.Errorf("line %d has %d bytes", i+1, len(line))
			}
		}
	}
}

func TestTheTrailerHasCountHashTotalAndControlNumber(t *testing.T) {
	lines := strings.Split(string(written(t, compiled(t, "fixed-v1"), night())), "\r\n")
	trailer := lines[len(lines)-2]
	sum := new(big.Int)
	for _, r := range night() {
		n, _ := new(big.Int).SetString(r[PAN][len(r[PAN])-10:], 10)
		sum.Add(sum, n)
	}
	sum.Mod(sum, big.NewInt(1e16))
	want := "TR" + "000000005" + strings.Repeat("0", 16-len(sum.String())) + sum.String() + "0000000007"
	if got := strings.TrimRight(trailer, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTheHashTotalIsTakenModuloItsWidth(t *testing.T) {
	const pan = "4111119999999998"
	h := hashTotal{sum: 9_999_999_999_999_999} // 16 nines
	h.add(pan)
	if got := h.value() % powerOfTen(16); got != 9_999_999_997 {
		t.Errorf("got %d", got)
	}
	h = hashTotal{sum: hashModulus - 1}
	h.add(pan)
	if h.value() != 9_999_999_997 {
		t.Errorf("the sum itself is not kept below 10^18: %d", h.value())
	}
}

func BenchmarkWriter(b *testing.B) {
	for _, name := range Names() {
		b.Run(name, func(b *testing.B) {
			l := compiled(b, name)
			r := visaCard(1)
			h := headOf([]Record{r})
			b.SetBytes(int64(len(written(b, l, []Record{r}))))
			b.ReportAllocs()
			w := l.NewWriter(io.Discard, h)
			for b.Loop() {
				w.head.Records = w.records + 1
				if err := w.Write(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	l, r := compiled(b, "cardgen-v12"), visaCard(1)
	for b.Loop() {
		if err := l.Check(r); err != nil {
			b.Fatal(err)
		}
	}
}
