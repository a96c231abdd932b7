package batch

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"time"

	"github.com/xuri/excelize/v2"

	"reemboss/formats/iso"
)

// Demo makes a workspace in folder, fills it with generated cards and two
// request files with good and bad rows, and works the night. The caller closes
// the Night.
func Demo(ctx context.Context, folder string, cards int, o Options, out io.Writer) (*Night, *Result, error) {
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	if cards < 200 {
		return nil, nil, setup("the demo needs at least 200 cards")
	}
	random := o.Random
	if random == nil {
		random = systemRandom
	}
	if err := Init(folder, now(), random); err != nil {
		return nil, nil, err
	}
	w := Workspace{Dir: folder}
	fmt.Fprintf(out, "workspace  %s\n", folder)
	sample := &Sample{Seed: 1, Cards: cards, Now: now()}
	if err := w.Files.Write(filepath.Join(w.InboxCards(), "cards.csv"), sample.Extract); err != nil {
		return nil, nil, fmt.Errorf("make the card extract: %w", err)
	}
	fmt.Fprintf(out, "inbox      cards/cards.csv: an extract of %d cards\n", cards)
	if err := w.Files.Write(filepath.Join(w.Inbox(), "reemboss.csv"), sample.ReembossCSV); err != nil {
		return nil, nil, fmt.Errorf("make the re-embossing file: %w", err)
	}
	fmt.Fprintln(out, "inbox      reemboss.csv: cards to emboss again, some rows wrong on purpose")
	if err := w.Files.Write(filepath.Join(w.Inbox(), "reissue.xlsx"), sample.ReissueWorkbook); err != nil {
		return nil, nil, fmt.Errorf("make the reissue workbook: %w", err)
	}
	fmt.Fprintln(out, "inbox      reissue.xlsx: cards to replace, some rows wrong on purpose")
	o.Lock = true
	n, err := Open(ctx, folder, o)
	if err != nil {
		return nil, nil, err
	}
	result, err := n.Run(ctx)
	if err != nil {
		_ = n.Close()
		return nil, nil, err
	}
	return n, result, nil
}

// DemoAnswers lets the bureaus of a demo answer as if a day and a quarter had
// gone by, and works the night that takes their answers in.
func DemoAnswers(ctx context.Context, folder string, o Options) (*Night, *Result, error) {
	o.Lock = true
	n, err := Open(ctx, folder, o)
	if err != nil {
		return nil, nil, err
	}
	for name := range n.Config.Bureaus {
		sim, err := n.simulator(name)
		if err == nil {
			_, err = sim.Answer(n.Now().Add(30 * time.Hour))
		}
		if err != nil {
			_ = n.Close()
			return nil, nil, err
		}
	}
	result, err := n.Run(ctx)
	if err != nil {
		_ = n.Close()
		return nil, nil, err
	}
	return n, result, nil
}

// ShowDemo tells where to look and what the simulated bureaus found in the sealed files.
func (n *Night) ShowDemo(out io.Writer) error {
	fmt.Fprintln(out, "\nWhat the bureaus received, opened with their own keys:")
	for _, name := range n.recipients() {
		sim := n.simulators[name]
		if sim == nil {
			continue
		}
		for _, r := range sim.Received() {
			fmt.Fprintf(out, "  %s\n", DescribeReceived(name, r))
		}
	}
	fmt.Fprintln(out, "\nLook at:")
	date := n.run.Date
	for _, place := range [][2]string{
		{filepath.Join("reports", n.run.ID, "reconciliation.html"), "the night on one page"},
		{filepath.Join("done", date), "the request files with an answer to every row"},
		{"outbox", "the sealed files"},
		{"simulator", "what the bureaus have, and what they answer"},
	} {
		fmt.Fprintf(out, "  %-50s %s\n", n.Path(place[0]), place[1])
	}
	return nil
}

// Sample makes cards and requests that look like those of an issuer, the same
// ones for the same seed. Numbers are made up: valid check digits, nobody's cards.
type Sample struct {
	Seed  uint64
	Cards int
	Now   time.Time
	// Plain makes every card NORMAL and on demand, for measuring.
	Plain bool
}

var (
	sampleFirst = []string{"Anna", "Jürgen", "Zoë", "Łukasz", "Mary", "José", "Aoife", "Søren", "Chloé", "Ben", "Ivana", "Noah", "Ines", "Oskar", "Lea", "Paul"}
	sampleLast  = []string{"Smith", "Müller", "O'Brien", "García", "Nowak", "Jensen", "Weiß", "Rossi", "Dubois", "Novák", "Silva", "Peeters", "Andersson", "Kelly", "Horvat", "Bauer"}
	sampleTowns = [][4]string{{"Berlin", "10115", "DE", "Invalidenstr."}, {"London", "EC1A 1BB", "GB", "Old Street"}, {"Lyon", "69001", "FR", "Rue de la Paix"},
		{"Kraków", "30-001", "PL", "ul. Długa"}, {"Lisboa", "1100-148", "PT", "Rua Augusta"}, {"Wien", "1010", "AT", "Ring"}}
)

// extractHeader are the columns of [Sample.Extract].
var extractHeader = []string{"card_id", "account_id", "customer_id", "program_id", "product", "card_type", "status", "pan", "psn", "expiry",
	"printed_name", "first_name", "last_name", "address_line1", "city", "postcode", "country", "phone", "language", "account_number", "balance", "currency", "pin_set"}

// FirstCard is the id of the first card; ids follow each other.
const FirstCard = 100001

// customer gives the customer id of a card.
func (s *Sample) customer(i int) string { return "C" + strconv.Itoa(700000+i) }

// Extract writes the card master extract. Every tenth card has a status of its own; the others are NORMAL.
func (s *Sample) Extract(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(extractHeader); err != nil {
		return err
	}
	draw := rand.New(rand.NewPCG(s.Seed, 7))
	statuses := []string{"CREATED", "BLOCKED", "LOST", "CANCELED", "EXPIRED", "REISSUED"}
	for i := range s.Cards {
		product, prefix, program := "visa-classic", "411111", "100"
		if i%3 == 1 {
			product, prefix = "mc-gold", "555555"
		}
		if i%20 == 19 && !s.Plain {
			program = "200"
		}
		status := "NORMAL"
		if i%10 == 9 && !s.Plain {
			status = statuses[i/10%len(statuses)]
		}
		body := fmt.Sprintf("%s%09d", prefix, (uint64(i)*387420489+s.Seed*1009)%1_000_000_000)
		town := sampleTowns[draw.IntN(len(sampleTowns))]
		first, last := sampleFirst[draw.IntN(len(sampleFirst))], sampleLast[draw.IntN(len(sampleLast))]
		expiry := iso.ExpiryOf(s.Now).Add(1 + draw.IntN(30))
		if status == "EXPIRED" {
			expiry = iso.ExpiryOf(s.Now).Add(-1)
		}
		err := out.Write([]string{strconv.Itoa(FirstCard + i), "A" + strconv.Itoa(500000+i), s.customer(i), program, product, "PLASTIC", status,
			body + string(iso.LuhnDigit(body)), "00", expiry.String(), first + " " + last, first, last,
			fmt.Sprintf("%s %d", town[3], 1+draw.IntN(120)), town[0], town[1], town[2], fmt.Sprintf("+49 30 %07d", draw.IntN(10_000_000)),
			"en", fmt.Sprintf("DE%010d", 9000+i), fmt.Sprintf("%d.%02d", draw.IntN(5000), draw.IntN(100)), "EUR", "yes"})
		if err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// ReembossCSV asks for a tenth of the cards again. Wrong on purpose: an unknown card, a row twice, a number that a spreadsheet broke.
func (s *Sample) ReembossCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	out.Comma = ';'
	rows := [][]string{{"Card ID", "Reference", "Remark"}}
	for i := 0; i < s.Cards/2; i += 5 {
		rows = append(rows, []string{strconv.Itoa(FirstCard + i), "RE-" + strconv.Itoa(i), ""})
	}
	rows = append(rows,
		[]string{"99", "RE-unknown", "no such card"},
		[]string{"1.00001E+05", "RE-broken", "a spreadsheet was here"},
		[]string{strconv.Itoa(FirstCard), "RE-again", "asked for above already"})
	if err := out.WriteAll(rows); err != nil {
		return err
	}
	return out.Error()
}

// ReissueWorkbook asks for replacements for every reason, with good and bad rows.
func (s *Sample) ReissueWorkbook(w io.Writer) error {
	f := excelize.NewFile()
	defer f.Close()
	const sheet = "Replacements"
	if err := f.SetSheetName("Sheet1", sheet); err != nil {
		return err
	}
	rows := [][]any{{"Cards to replace"}, {"Card ID", "User ID", "Reason code", "Reissue type", "Shipping method", "Comment"}}
	reasons := []string{"damaged", "expired", "lost", "fraud", "returned", "new enrolment"}
	for k, i := 0, s.Cards/2; i < s.Cards; k, i = k+1, i+7 {
		rows = append(rows, []any{strconv.Itoa(FirstCard + i), s.customer(i), reasons[k%len(reasons)], "", strconv.Itoa(1 + k%3), ""})
	}
	i := s.Cards - 3
	rows = append(rows,
		[]any{strconv.Itoa(FirstCard + i), "C1", "damaged", "", "", "another customer's card"},
		[]any{strconv.Itoa(FirstCard + i), s.customer(i), "lost", "1", "", "lost, yet the same number asked for"},
		[]any{strconv.Itoa(FirstCard + i), s.customer(i), "", "", "9", "two mistakes in one row"},
		[]any{nil, nil, nil, nil, nil, "no card at all"})
	bold, err := f.NewStyle(&excelize.Style{Font: &excelize.Font{Bold: true}, Fill: excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{"DDE6F0"}}})
	if err != nil {
		return err
	}
	for r, row := range rows {
		if err := f.SetSheetRow(sheet, fmt.Sprintf("A%d", r+1), &row); err != nil {
			return err
		}
	}
	if err := f.SetCellStyle(sheet, "A2", "F2", bold); err != nil {
		return err
	}
	if err := f.SetColWidth(sheet, "A", "F", 18); err != nil {
		return err
	}
	_, err = f.WriteTo(w)
	return err
}
