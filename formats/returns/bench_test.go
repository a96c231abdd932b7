package returns

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// generated gives our CSV with that many lines, made on the way, so that what
// is measured is the reader's memory and time.
type generated struct {
	lines, n int
	offset   string // of the times; "" is +01:00
	buf      []byte
}

func (g *generated) Read(p []byte) (int, error) {
	for len(g.buf) < len(p) && g.n <= g.lines+1 {
		switch {
		case g.n == 0:
			g.buf = append(g.buf, columns...)
		case g.n > g.lines:
			g.buf = fmt.Appendf(g.buf, "TRAILER,,,,,%d,,,,,\n", g.lines)
		default:
			g.buf = fmt.Appendf(g.buf, "CARD,acme_20261120_000007.xml.pgp,7,01M2W7K9X4%010d,SHIPPED,,00,handed over,DHL,00340434%012d,2026-11-21T10:%02d:00%s\n", g.n, g.n, g.n%60, or(g.offset, "+01:00"))
		}
		g.n++
	}
	if len(g.buf) == 0 {
		return 0, io.EOF
	}
	n := copy(p, g.buf)
	g.buf = g.buf[:copy(g.buf, g.buf[n:])]
	return n, nil
}

// endless is one line of that many bytes, and a file around it.
func endless(bytes int64) io.Reader {
	return io.MultiReader(strings.NewReader(columns+shipped), io.LimitReader(letters{}, bytes), strings.NewReader("\n"+shipped+"TRAILER,,,,,3,,,,,\n"))
}

type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// Neither a long file nor a long line is held.
func TestMemoryIsBounded(t *testing.T) {
	for name, content := range map[string]io.Reader{"100,000 lines": &generated{lines: 100_000}, "a line of 64 MiB": endless(64 << 20)} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var most uint64
			sum, err := Standard().At(now).Read(content, func(l *Line) error {
				if l.Number%10_000 == 0 {
					runtime.GC()
					runtime.ReadMemStats(&after)
					most = max(most, after.HeapAlloc)
				}
				return nil
			}, nil)
			if err != nil || sum.Lines < 3 {
				t.Fatal(sum, err)
			}
			runtime.ReadMemStats(&after)
			if held := int64(max(most, before.HeapAlloc)) - int64(before.HeapAlloc); held > 2<<20 {
				t.Errorf("%d bytes are held", held)
			}
			if name == "a line of 64 MiB" && after.TotalAlloc-before.TotalAlloc > 4<<20 {
				t.Errorf("%d bytes were asked for", after.TotalAlloc-before.TotalAlloc)
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	const lines = 1_000_000
	f := Standard().At(now)
	b.ReportAllocs()
	for b.Loop() {
		sum, err := f.Read(&generated{lines: lines}, func(*Line) error { return nil }, nil)
		if err != nil || sum.Cards != lines {
			b.Fatal(sum, err)
		}
	}
	b.ReportMetric(float64(b.N)*lines/b.Elapsed().Seconds(), "lines/s")
}

// BenchmarkReadLocal reads the shape that costs most: Windows-1252, a zone's local time.
func BenchmarkReadLocal(b *testing.B) {
	const lines = 1_000_000
	f, err := Compile(Description{TimeFormat: "YYYY-MM-DDThh:mm:ss", TimeZone: "Europe/Berlin", Encoding: "windows-1252"})
	if err != nil {
		b.Fatal(err)
	}
	f = f.At(now)
	for b.Loop() {
		sum, err := f.Read(&generated{lines: lines, offset: " "}, nil, nil)
		if err != nil || sum.Cards != lines {
			b.Fatal(sum, err)
		}
	}
	b.ReportMetric(float64(b.N)*lines/b.Elapsed().Seconds(), "lines/s")
}
