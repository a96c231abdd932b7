package report

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"reemboss/batch/durable"
	"reemboss/batch/ledger"
)

// defaultOutstanding is how many records outstanding.csv lists: a spreadsheet
// can still open it, and the counts by file are complete all the same.
const defaultOutstanding = 100_000

// Input is what the reports of one run are made from.
type Input struct {
	Ledger    Ledger
	RunID     string
	Workspace string // its folder
	Dir       string // reports/<run> in it; made when it is not there
	Extra     Extra
	// Artifacts are the files of the run outside Dir that others wrote (results). Bureau files come from the ledger,
	// masked twins are found in Dir.
	Artifacts []Artifact
	// Sign makes the detached, armoured signature of the manifest; nil for none.
	Sign func(io.Reader) ([]byte, error)
	// MaxOutstanding limits the rows of outstanding.csv; 0 for 100,000.
	MaxOutstanding int64
}

// WriteAll writes the folder of a run: refusals.csv, events.ndjson,
// outstanding.csv, reconciliation.json, .html and .xlsx, and last the signed
// manifest.json. Over the same ledger and extra it writes the same content
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
	if err := makeFolder(in.Dir); err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	rec, files, err := writeLists(ctx, in, counts)
	if err != nil {
		return nil, err
	}
	if err := writeSentAndOpen(ctx, in, rec, counts); err != nil {
		return nil, err
	}
	for _, report := range []struct {
		name  string
		write func(*Reconciliation, io.Writer) error
	}{{jsonName, (*Reconciliation).writeJSON}, {pageName, (*Reconciliation).writePage}, {bookName, (*Reconciliation).writeBook}} {
		if err := durable.Write(filepath.Join(in.Dir, report.name), func(w io.Writer) error { return report.write(rec, w) }); err != nil {
			return nil, fmt.Errorf("%s: %w", report.name, err)
		}
	}
	return rec, writeManifest(in, files, counts)
}

// makeFolder makes the run's folder, and takes an older manifest out of it
// first of all: from here on the folder is not complete.
func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := durable.SyncFolder(filepath.Dir(dir)); err != nil {
		return err
	}
	return durable.Remove(filepath.Join(dir, manifestName))
}

// writeLists walks answers and records once, for the counts, refusals.csv and events.ndjson together.
func writeLists(ctx context.Context, in Input, counts map[string]int64) (rec *Reconciliation, files []ledger.BureauFile, err error) {
	err = durable.Write(filepath.Join(in.Dir, refusalsName), func(refusalsFile io.Writer) error {
		return durable.Write(filepath.Join(in.Dir, eventsName), func(eventsFile io.Writer) error {
			refusals, err := newTable(refusalsFile, refusalsHeader...)
			if err != nil {
				return err
			}
			events := newEventStream(ctx, eventsFile, in.Ledger, in.Extra.Bureaus)
			rec, files, err = gather(ctx, in.Ledger, in.RunID, in.Extra, sinks{
				begin: events.begin, record: events.record, file: events.file,
				told: func(t *ledger.Told) error {
					if err := addRefusal(refusals, t); err != nil {
						return err
					}
					return events.told(t)
				},
			})
			if err != nil {
				return err
			}
			counts[refusalsName], counts[eventsName] = refusals.rows, events.n
			if err := refusals.close(); err != nil {
				return err
			}
			return events.close()
		})
	})
	return rec, files, err
}

// writeSentAndOpen writes outstanding.csv and says so when it cannot list all.
func writeSentAndOpen(ctx context.Context, in Input, rec *Reconciliation, counts map[string]int64) error {
	return durable.Write(filepath.Join(in.Dir, outstandingName), func(w io.Writer) error {
		listed, all, err := writeOutstanding(ctx, w, in.Ledger, rec.RunID, rec.StartedAt, in.MaxOutstanding)
		if err != nil {
			return fmt.Errorf("%s: %w", outstandingName, err)
		}
		if listed < all {
			rec.Notes = append(rec.Notes, fmt.Sprintf("%s lists the oldest %s of %s that are sent and not answered", outstandingName, thousands(listed), plural(all, "record")))
		}
		counts[outstandingName] = listed
		return nil
	})
}

func (r *Reconciliation) writeJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
