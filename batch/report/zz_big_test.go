package report

import (
	"context"
	"fmt"
	"github.com/xuri/excelize/v2"
	"os"
	"reemboss/batch/ledger"
	"reemboss/formats/request"
	"runtime"
	"testing"
	"time"
)

func TestZZBig(t *testing.T) {
	if os.Getenv("BIG") == "" {
		t.Skip()
	}
	n := 100000
	f := excelize.NewFile()
	w, _ := f.NewStreamWriter("Sheet1")
	w.SetRow("A1", []any{"card_id", "user_id", "reason_code", "reissue_type", "reference", "a", "b", "note"})
	for i := 0; i < n; i++ {
		w.SetRow(fmt.Sprintf("A%d", i+2), []any{fmt.Sprint(1000000 + i), fmt.Sprintf("C%d", i), 1, "", fmt.Sprintf("REF-%d", i), "x", "y", "some note"})
	}
	w.Flush()
	buf, _ := f.WriteToBuffer()
	content := buf.Bytes()
	f.Close()
	f = nil
	base := answersFor(t, "Sheet1", 2, 4)
	told := func(_ context.Context, fn func(*ledger.Told) error) error {
		for i := 0; i < n; i++ {
			c := *base[i%4]
			c.Pos = i + 1
			c.Line = i + 2
			if c.Order != nil {
				o := *c.Order
				o.UID = fmt.Sprintf("UID%017d", i)
				c.Order = &o
			}
			if err := fn(&c); err != nil {
				return err
			}
		}
		return nil
	}
	in := simple.input(t, content)
	in.Told = told
	in.Sheets[0].Header = make([]string, 8)
	in.Each = func(fn func(*request.Row) error) error {
		for i := 0; i < n; i++ {
			if err := fn(&request.Row{Pos: i + 1, Sheet: "Sheet1", Line: i + 2}); err != nil {
				return err
			}
		}
		return nil
	}
	var peak uint64
	done := make(chan bool)
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				if m.HeapInuse > peak {
					peak = m.HeapInuse
				}
			}
		}
	}()
	s := time.Now()
	res, err := WriteResult(context.Background(), in)
	close(done)
	st, _ := os.Stat(res.Workbook)
	fmt.Println(res.Withheld, err, time.Since(s), "peak heap MiB", peak>>20, "in", len(content)>>20, "out", st.Size()>>20)
}
