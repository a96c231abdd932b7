package report

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/request"
)

func TestRefusedRowsCountWithTheProductOfTheirCard(t *testing.T) {
	want := []ProductCount{
		{"", Outcomes{Read: 2, Refused: 2}}, // card 9999 and the file that was refused as a whole
		{"mc-gold", Outcomes{Read: 1, Accepted: 1}},
		{"visa-classic", Outcomes{Read: 7, Accepted: 4, Refused: 1, Duplicate: 1, Held: 1}},
	}
	told, err := Gather(context.Background(), smallNight(t), runID, smallExtra())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, told.ByProduct); d != "" {
		t.Errorf("counted for the status (-want +got):\n%s", d)
	}
	reports := reported(t, smallNight(t))
	if d := cmp.Diff(want, reports.ByProduct); d != "" {
		t.Errorf("counted for the reports (-want +got):\n%s", d)
	}
}

// reported is the reconciliation that stands in the reports.
func reported(t *testing.T, m *memory) *Reconciliation {
	t.Helper()
	in := smallInput(t)
	in.Ledger = m
	rec, err := WriteAll(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// More answers than are looked up at once, some for one and the same card.
func TestProductsOfManyAnswers(t *testing.T) {
	const rows = 3*carriedChunk + 7
	m := smallNight(t)
	var answers []*ledger.Told
	for i := range rows {
		card := testCard(t, int64(5000+i/2))
		card.Product = []string{"visa-classic", "mc-gold", "mc-gold"}[i/2%3]
		m.cards[card.ID] = &ledger.Known{Card: rules.Card{Card: *card}}
		answers = append(answers, &ledger.Told{Card: card, Answer: ledger.Answer{
			FileID: 1, Pos: i + 1, RunID: runID, Kind: request.Reemboss, CardID: fmt.Sprint(card.ID), Outcome: rules.Refused, Class: 412, Code: "card_in_transit",
		}})
	}
	m.told = slices.Values(answers)
	rec, err := Gather(context.Background(), m, runID, smallExtra())
	if err != nil {
		t.Fatal(err)
	}
	reports := reported(t, m)
	if d := cmp.Diff(reports.ByProduct, rec.ByProduct); d != "" {
		t.Errorf("reports and status differ (-reports +status):\n%s", d)
	}
	var read int64
	for _, p := range rec.ByProduct {
		read += p.Read
	}
	if read != rows || len(rec.ByProduct) != 2 {
		t.Errorf("%d rows by %d products, want %d by 2", read, len(rec.ByProduct), rows)
	}
}

func TestTheCardSystemIsNoBureau(t *testing.T) {
	extra := smallExtra()
	extra.Bureaus["card-system"] = Bureau{Name: "card system"}
	rec, err := Gather(context.Background(), smallNight(t), runID, extra)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range rec.ByBureau {
		if b.Bureau == "card-system" {
			t.Errorf("by bureau lists the card system: %+v", b)
		}
	}
}
