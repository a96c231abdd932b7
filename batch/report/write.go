package report

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"reemboss/batch/durable"
	"reemboss/batch/ledger"
)

// defaultOutstanding is how many records outstanding.csv, underway.csv and
// returns.csv each list: a spreadsheet can still open them, and the counts by
// file are complete all the same.
const defaultOutstanding = 100_000

// Input is what the reports of one run are made from.
type Input struct {
	Ledger    Ledger
	RunID     string
	Workspace string // its folder
	Dir       string // reports/<run> in it; made when it is not there
	Files     durable.Files
	Extra     Extra
	// Artifacts are the files of the run outside Dir that others wrote (results). Bureau files come from the ledger,
	// masked twins are found in Dir.
	Artifacts []Artifact
	// Sign makes the detached, armoured signature of the manifest; nil for none.
	Sign func(io.Reader) ([]byte, error)
	// MaxOutstanding limits the rows of outstanding.csv and underway.csv and the problem lines in returns.csv; 0 for 100,000.
	MaxOutstanding int64
}

// WriteAll writes the folder of a run: refusals.csv, returns.csv,
// events.ndjson, outstanding.csv, underway.csv, reconciliation.json, .html and
// .xlsx, and last the signed manifest.json. Over the same ledger and extra it writes the same content
// again, byte for byte but for the signature. A crash leaves no manifest, and
// the next call writes everything anew.
func WriteAll(ctx context.Context, in Input) (*Reconciliation, error) {
	rec, err := writeAll(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("write the reports of run %s: %w", in.RunID, err)
	}
	return rec, nil
}

func writeAll(ctx context.Context, in Input) (*Reconciliation, error) {
	if in.MaxOutstanding <= 0 {
		in.MaxOutstanding = defaultOutstanding
	}
	if err := in.makeFolder(); err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	g, err := writeLists(ctx, in, counts)
	if err != nil {
		return nil, err
	}
	for _, list := range openLists {
		if err := g.writeOpen(ctx, in, list, counts); err != nil {
			return nil, fmt.Errorf("%s: %w", list.name, err)
		}
	}
	rec := g.Reconciliation
	for _, report := range []struct {
		name  string
		write func(*Reconciliation, io.Writer) error
	}{{jsonName, (*Reconciliation).writeJSON}, {pageName, (*Reconciliation).writePage}, {bookName, (*Reconciliation).writeBook}} {
		if err := in.Files.Write(filepath.Join(in.Dir, report.name), func(w io.Writer) error {
			few := bufio.NewWriterSize(w, 64<<10) // a page is made of thousands of pieces
			if err := report.write(rec, few); err != nil {
				return err
			}
			return few.Flush()
		}); err != nil {
			return nil, fmt.Errorf("%s: %w", report.name, err)
		}
	}
	return rec, writeManifest(in, g.files, counts)
}

// makeFolder makes the run's folder, and takes an older manifest out of it
// first of all: from here on the folder is not complete.
func (in Input) makeFolder() error {
	if err := in.Files.MkdirAll(in.Dir); err != nil {
		return err
	}
	return in.Files.Remove(filepath.Join(in.Dir, manifestName))
}

// writeLists walks answers, records, events and problems once, for the counts,
// refusals.csv, returns.csv and events.ndjson together.
func writeLists(ctx context.Context, in Input, counts map[string]int64) (g *gathering, err error) {
	path := func(name string) string { return filepath.Join(in.Dir, name) }
	err = in.Files.Write(path(refusalsName), func(refusals io.Writer) error {
		return in.Files.Write(path(returnsName), func(returns io.Writer) error {
			return in.Files.Write(path(eventsName), func(events io.Writer) error {
				g, err = listAndGather(ctx, in, refusals, returns, events, counts)
				return err
			})
		})
	})
	return g, err
}

func listAndGather(ctx context.Context, in Input, refusalsFile, returnsFile, eventsFile io.Writer, counts map[string]int64) (*gathering, error) {
	refusals, err := newTable(refusalsFile, refusalsHeader...)
	if err != nil {
		return nil, err
	}
	returned, err := newTable(returnsFile, returnsHeader...)
	if err != nil {
		return nil, err
	}
	returns := &returnList{ctx: ctx, ledger: in.Ledger, table: returned, limit: in.MaxOutstanding}
	events := newEventStream(ctx, eventsFile, in.Ledger, in.Extra.Bureaus)
	g, err := gather(ctx, in.Ledger, in.RunID, in.Extra, sinks{
		begin: events.begin, record: events.record, file: events.file, event: events.returned, returned: returns.add,
		told: func(t *ledger.Told) error {
			if err := addRefusal(refusals, t); err != nil {
				return err
			}
			return events.told(t)
		},
	})
	if err != nil {
		return nil, err
	}
	if err := returns.flush(); err != nil {
		return nil, err
	}
	if returns.listed < returns.problems {
		g.Notes = append(g.Notes, fmt.Sprintf("%s lists the first %s of %s that could not be used", returnsName, thousands(returns.listed), plural(returns.problems, "line")))
	}
	counts[refusalsName], counts[returnsName], counts[eventsName] = refusals.rows, returned.rows, events.n
	return g, errors.Join(refusals.close(), returned.close(), events.close())
}

// writeOpen writes a list of open cards and says so when it cannot list all.
func (g *gathering) writeOpen(ctx context.Context, in Input, list openList, counts map[string]int64) error {
	return in.Files.Write(filepath.Join(in.Dir, list.name), func(w io.Writer) error {
		listed, all, err := list.write(ctx, w, in.Ledger, g, in.MaxOutstanding)
		if err != nil {
			return err
		}
		if listed < all {
			g.Notes = append(g.Notes, fmt.Sprintf("%s lists the oldest %s of %s that are %s", list.name, thousands(listed), plural(all, "record"), list.words))
		}
		counts[list.name] = listed
		return nil
	})
}

func (r *Reconciliation) writeJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
