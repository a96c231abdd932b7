package extract

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// FuzzExtract holds that any bytes are an extract or a refusal; that a row without a problem is a card with a number, an
// expiry and an id; that rows come in order; and that no problem and no print of a row repeats a card number.
func FuzzExtract(f *testing.F) {
	const header = "card_id,customer_id,program_id,product,status,pan,expiry,printed_name\n"
	f.Add([]byte(header + "1,C1,100,visa-classic,NORMAL,4111110000010012,2031-01,Ada Byron\n"))
	f.Add([]byte(header + "1,C1,100,visa-classic,NORMAL,4111110000010013,01/31,Ada Byron\n2,,,,,4.11E+15,,\n"))
	f.Add([]byte("\ufeffcard_id;pan\n1;4111110000010012\n"))
	f.Add([]byte("a title\n\n" + header + "1,\"C1\n2,"))
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := New(bytes.NewReader(content), int64(len(content)), Options{})
		if err == nil {
			defer func() { _ = file.Close() }()
			last := 0
			err = file.Each(func(r *Row) error {
				if r.Line <= last && r.Sheet == "" {
					t.Errorf("row %d after row %d", r.Line, last)
				}
				last = r.Line
				if len(r.Problems) == 0 && (r.Card.ID <= 0 || r.Card.PAN.IsZero() || r.Card.Product == "" || r.Card.Status == "") {
					t.Errorf("row %d is a card without what a card needs", r.Line)
				}
				number := ""
				if !r.Card.PAN.IsZero() {
					number = r.Card.PAN.Reveal()
				}
				for _, p := range r.Problems {
					if p.Code == "" || p.Detail == "" || number != "" && strings.Contains(p.Detail, number) {
						t.Errorf("row %d: a problem of column %q without a sentence, or with the number", r.Line, p.Column)
					}
				}
				if number != "" && strings.Contains(fmt.Sprintf("%v %+v", *r, r), number) {
					t.Errorf("row %d prints its number", r.Line)
				}
				return nil
			})
		}
		var refused *FileError
		if err != nil && !errors.As(err, &refused) {
			t.Fatal(err)
		}
	})
}
