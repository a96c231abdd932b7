package table

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/xuri/excelize/v2"
)

const benchRows = 50_000

func benchmarkRows(b *testing.B, content []byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		f, err := New(bytes.NewReader(content), int64(len(content)), Options{})
		if err != nil {
			b.Fatal(err)
		}
		rows := 0
		if err := f.Rows(0, func(*Row) error { rows++; return nil }); err != nil || rows != benchRows+1 {
			b.Fatal(rows, err)
		}
	}
	b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkCSV(b *testing.B) {
	var content bytes.Buffer
	content.WriteString("card_id,user_id,reason_code,reissue_type,reference\n")
	for i := range benchRows {
		fmt.Fprintf(&content, "%d,%d,%d,,ref-%d\n", 100000+i, 5000+i, 1+i%6, i)
	}
	benchmarkRows(b, content.Bytes())
}

func BenchmarkXLSX(b *testing.B) {
	for _, shared := range []bool{false, true} {
		b.Run(fmt.Sprintf("shared=%v", shared), func(b *testing.B) {
			f := excelize.NewFile()
			if shared {
				for i := range benchRows + 1 {
					for j := range 5 {
						at, _ := excelize.CoordinatesToCellName(j+1, i+1)
						_ = f.SetCellStr("Sheet1", at, fmt.Sprintf("value %d", i%100+j))
					}
				}
			} else {
				w, err := f.NewStreamWriter("Sheet1")
				if err != nil {
					b.Fatal(err)
				}
				for i := range benchRows + 1 {
					_ = w.SetRow(fmt.Sprintf("A%d", i+1), []any{100000 + i, 5000 + i, 1 + i%6, "", fmt.Sprintf("ref-%d", i)})
				}
				_ = w.Flush()
			}
			var content bytes.Buffer
			if err := f.Write(&content); err != nil {
				b.Fatal(err)
			}
			benchmarkRows(b, content.Bytes())
		})
	}
}
