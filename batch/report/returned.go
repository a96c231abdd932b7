package report

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"reemboss/batch/ledger"
	"reemboss/formats/iso"
)

// This file tells what came back from the bureaus in a run.

// returnsHeader is a public promise. Line 0 is the return file as a whole: its
// state, or the word why it is in quarantine, under code.
var returnsHeader = []string{"bureau", "file", "line", "code", "uid", "file_name", "detail", "card_id"}

// ReturnFile is a file that a bureau sent.
type ReturnFile struct {
	Bureau    string             `json:"bureau"`
	Name      string             `json:"name"`
	State     ledger.ReturnState `json:"state"`
	Code      string             `json:"code,omitempty"` // why it was refused as a whole
	Detail    string             `json:"detail,omitempty"`
	Lines     int64              `json:"lines"`
	Applied   int64              `json:"applied"`  // events that were new
	Known     int64              `json:"known"`    // that the ledger had already
	Problems  int64              `json:"problems"` // lines that stand in returns.csv
	Size      int64              `json:"size"`
	SHA256    string             `json:"sha256"`
	SignedBy  string             `json:"signed_by,omitempty"`
	RunID     string             `json:"run_id"` // that fetched it
	FetchedAt time.Time          `json:"fetched_at"`
}

// EventCount counts events of cards that agree in all of its fields.
type EventCount struct {
	Bureau   string `json:"bureau"`
	Status   string `json:"status"`
	Code     string `json:"code,omitempty"`
	Disputed bool   `json:"disputed,omitempty"`
	N        int64  `json:"n"`
	Acked    int64  `json:"acknowledged"` // cards that were outstanding until then, less those rejected after all
}

// walkEvents goes once through the events of cards that became known in this run.
func (g *gathering) walkEvents() error {
	g.answered = map[string]int64{}
	err := g.ledger.EachEvent(g.ctx, g.run.ID, func(e *ledger.ToldEvent) error {
		g.touched[e.FileID] = true
		if e.State == ledger.Cancelled && e.Order != nil && g.earlier(e.Order.RunID) {
			g.CarriedOver.Cancelled++
		}
		if e.Source == ledger.FromBureau && e.Dispute == "" {
			g.answered["ACKED"] += int64(max(0, e.Acked)) // a card that is produced or shipped was received too
			if e.Status != "ACKED" && e.State != "" {     // one that came late changed nothing
				g.answered[e.Status]++
			}
		}
		if g.sinks.event == nil {
			return nil
		}
		return g.sinks.event(e)
	})
	if err != nil {
		return fmt.Errorf("read the events of the run: %w", err)
	}
	answered, err := g.ledger.FilesAnswered(g.ctx, g.run.ID)
	if err != nil {
		return err
	}
	for _, id := range answered {
		g.touched[id] = true
	}
	tallies, err := g.ledger.EventTallies(g.ctx, g.run.ID)
	if err != nil {
		return err
	}
	for _, t := range tallies {
		g.Events = append(g.Events, EventCount(t))
	}
	slices.SortFunc(g.Events, func(a, b EventCount) int {
		return cmp.Or(cmp.Compare(a.Bureau, b.Bureau), cmp.Compare(stateRank(ledger.OrderState(a.Status)), stateRank(ledger.OrderState(b.Status))),
			cmp.Compare(a.Status, b.Status), cmp.Compare(a.Code, b.Code), cmp.Compare(strconv.FormatBool(a.Disputed), strconv.FormatBool(b.Disputed)))
	})
	return nil
}

// readReturns lists the return files of this run and counts their lines that could not be used.
func (g *gathering) readReturns() error {
	files, err := g.ledger.ReturnFiles(g.ctx, ledger.ReturnQuery{RunID: g.run.ID})
	if err != nil {
		return err
	}
	g.unusable = map[int64]int64{}
	byName := map[string]int64{}
	for i := range g.files {
		byName[g.files[i].Name] = g.files[i].ID
	}
	next := 0
	tell := func(upTo int64) error { // the files themselves, each before its problems
		for ; next < len(files) && files[next].ID <= upTo; next++ {
			g.Returns = append(g.Returns, showReturn(&files[next]))
			if g.sinks.returned != nil {
				if err := g.sinks.returned(&files[next], nil); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err = g.ledger.EachProblem(g.ctx, g.run.ID, func(p *ledger.Problem, f *ledger.ReturnFile) error {
		if err := tell(f.ID); err != nil {
			return err
		}
		if id, ours := byName[p.FileName]; ours {
			g.touched[id] = true
		}
		if p.Code != "event_disputed" && p.Code != "file_disputed" { // each of those is asked about by itself
			g.unusable[f.ID]++
		}
		if g.sinks.returned == nil {
			return nil
		}
		return g.sinks.returned(f, p)
	})
	if err != nil {
		return fmt.Errorf("read the problems of the return files: %w", err)
	}
	if err := tell(int64(^uint64(0) >> 1)); err != nil {
		return err
	}
	g.returnFiles = files
	return nil
}

func showReturn(f *ledger.ReturnFile) ReturnFile {
	return ReturnFile{
		Bureau: f.Bureau, Name: f.Name, State: f.State, Code: f.Code, Detail: bureauWords(f.Detail), Lines: f.Lines, Applied: f.Applied, Known: f.Known,
		Problems: f.Problems, Size: f.Size, SHA256: f.SHA256, SignedBy: f.SignedBy, RunID: f.RunID, FetchedAt: f.FetchedAt.UTC(),
	}
}

// bureauWords is a text that comes from a bureau, with whatever looks like a card number in it masked.
func bureauWords(text string) string { return iso.MaskSpans(text, iso.FindEvident(text)) }

// returnList writes returns.csv while files and problems are walked.
type returnList struct {
	ctx      context.Context
	ledger   Ledger
	table    *table
	limit    int64 // of problem lines
	listed   int64
	problems int64
	pending  [][]string // lines whose card is not looked up yet
}

// lookedUp is how many lines have their cards looked up at once.
const lookedUp = 500

// Columns of returnsHeader that are looked up by, and looked up.
const (
	columnUID    = 4
	columnCardID = 7
)

func (l *returnList) add(f *ledger.ReturnFile, p *ledger.Problem) error {
	cells := []string{f.Bureau, f.Name, "0", cmp.Or(f.Code, string(f.State)), "", "", bureauWords(f.Detail), ""}
	if p != nil {
		if l.problems++; l.listed >= l.limit {
			return nil
		}
		l.listed++
		cells = []string{f.Bureau, f.Name, strconv.Itoa(p.Line), p.Code, p.UID, p.FileName, bureauWords(p.Detail), ""}
	}
	l.pending = append(l.pending, cells)
	if len(l.pending) < lookedUp {
		return nil
	}
	return l.flush()
}

// flush writes what is pending, with the embossed card of each line whose order is known.
func (l *returnList) flush() error {
	var uids []string
	for _, cells := range l.pending {
		if cells[columnUID] != "" {
			uids = append(uids, cells[columnUID])
		}
	}
	shipments, err := l.ledger.Shipments(l.ctx, uids)
	if err != nil {
		return err
	}
	for _, cells := range l.pending {
		if s := shipments[cells[columnUID]]; s != nil {
			cells[columnCardID] = strconv.FormatInt(s.EmbossedCardID, 10)
		}
		for i, cell := range cells {
			cells[i] = Neutral(cell)
		}
		if err := l.table.add(cells); err != nil {
			return err
		}
	}
	l.pending = l.pending[:0]
	return nil
}

// answeredWords say what bureaus told, in the order of a card's way.
var answeredWords = []struct{ status, word string }{
	{"ACKED", "acknowledged"}, {"REJECTED", "rejected"}, {"PRODUCED", "produced"}, {"SHIPPED", "shipped"},
	{"DELIVERED", "delivered"}, {"RETURNED", "returned"}, {"LOST", "lost"},
}

// answers is what the bureaus told in this run: "212 acknowledged, 3 rejected"; "" when nothing came.
func (g *gathering) answers() string {
	var words []string
	for _, a := range answeredWords {
		if n := g.answered[a.status]; n > 0 {
			words = append(words, thousands(n)+" "+a.word)
		}
	}
	return strings.Join(words, ", ")
}
