package ledgertest

import (
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

func names(files []ledger.RequestFile) []string {
	var out []string
	for _, f := range files {
		out = append(out, f.Name)
	}
	return out
}

var intakePromises = []promise{
	{"a file comes back with every field", func(d *desk) {
		r := d.begin()
		f := ledger.RequestFile{
			RunID: r.ID, Extract: true, Name: "cards.csv", Intake: "state/intake/1-cards.csv", SHA256: hash, Size: 7, State: ledger.Claiming, Code: "file_unreadable",
			Detail: "not a table", Rows: 9, HoldsPAN: true, Notes: []string{"sheet Old is hidden; not read", "Windows-1252"}, Final: "done/x", ClaimedAt: start.Add(5 * time.Millisecond),
		}
		var err error
		f.ID, err = d.AddFile(d.ctx, f)
		d.must(err)
		files, err := d.OpenFiles(d.ctx)
		d.must(err)
		d.same("files", []ledger.RequestFile{f}, files)
	}},
	{"updating replaces the record; an unknown file is not found", func(d *desk) {
		r := d.begin()
		f := ledger.RequestFile{ID: d.file(r, "a.csv"), RunID: r.ID, Name: "b.csv", State: ledger.DecidedF, Rows: 2, ClaimedAt: start}
		d.must(d.UpdateFile(d.ctx, f, nil, nil))
		files, err := d.OpenFiles(d.ctx)
		d.must(err)
		d.same("files", []ledger.RequestFile{f}, files)
		f.ID++
		d.notFound(d.UpdateFile(d.ctx, f, nil, nil))
	}},
	{"open files are those not answered, in the order of their ids", func(d *desk) {
		r := d.begin()
		for _, name := range []string{"z.csv", "done.csv", "a.csv"} {
			d.file(r, name)
		}
		d.must(d.UpdateFile(d.ctx, ledger.RequestFile{ID: 2, RunID: r.ID, Name: "done.csv", State: ledger.Answered}, nil, nil))
		files, err := d.OpenFiles(d.ctx)
		d.must(err)
		d.same("open", []string{"z.csv", "a.csv"}, names(files))
	}},
	{"a run's files are those that it claimed and those whose rows it answered", func(d *desk) {
		first := d.begin()
		left := d.file(first, "left.csv")
		d.finish(first)
		second := d.begin()
		d.file(second, "own.csv")
		c := chunk(second, left)
		c.Answers = []ledger.Answer{refused(second, left, 1)}
		d.must(d.CommitChunk(d.ctx, c))
		for run, want := range map[string][]string{first.ID: {"left.csv"}, second.ID: {"left.csv", "own.csv"}} {
			files, err := d.RunFiles(d.ctx, run)
			d.must(err)
			d.same("files of "+run, want, names(files))
		}
	}},
	{"a file refused as a whole has one answer, row 0, and only one", func(d *desk) {
		r := d.begin()
		f := ledger.RequestFile{ID: d.file(r, "a.csv"), RunID: r.ID, Name: "a.csv", State: ledger.DecidedF, Code: "file_unreadable"}
		a := ledger.Answer{FileID: f.ID, RunID: r.ID, Outcome: rules.Refused, Class: 400, Code: "file_unreadable", Codes: []rules.Code{"file_unreadable"}, Message: "not a table"}
		d.must(d.UpdateFile(d.ctx, f, &a, nil))
		told := d.told(r, 0)
		d.same("told", []*ledger.Told{{Answer: a, FileName: "a.csv"}}, told)
		f.State = ledger.Answered
		d.conflict(d.UpdateFile(d.ctx, f, &a, nil))
		files, err := d.OpenFiles(d.ctx)
		d.must(err)
		d.same("state after the conflict", ledger.DecidedF, files[0].State)
	}},
	{"the same content counts only once a row of it was accepted", func(d *desk) {
		r := d.begin()
		d.cards(TestCard(1))
		first := d.file(r, "first.csv")
		second := d.file(r, "second.csv")
		c := chunk(r, first)
		c.Answers = []ledger.Answer{refused(r, first, 1)}
		d.must(d.CommitChunk(d.ctx, c))
		_, err := d.SameContent(d.ctx, hash, start.Add(-day), second)
		d.notFound(err)
		d.order(r, first, 2, 1)
		same, err := d.SameContent(d.ctx, hash, start.Add(-day), second)
		d.must(err)
		d.same("file", "first.csv", same.Name)
		_, err = d.SameContent(d.ctx, hash, start.Add(-day), first)
		d.notFound(err)
		_, err = d.SameContent(d.ctx, hash, start.Add(time.Millisecond), second)
		d.notFound(err)
		_, err = d.SameContent(d.ctx, "00", start.Add(-day), second)
		d.notFound(err)
	}},
	{"accepted rows count for who signed their file, on the date of the run that accepted them", func(d *desk) {
		d.cards(TestCard(1), TestCard(2), TestCard(3), TestCard(4))
		signed := func(r ledger.Run, name, by string) int64 {
			f := ledger.RequestFile{ID: d.file(r, name), RunID: r.ID, Name: name, SHA256: hash, State: ledger.Checked, Submitter: by, ClaimedAt: r.StartedAt}
			d.must(d.UpdateFile(d.ctx, f, nil, nil))
			return f.ID
		}
		count := func(want int64, by string, r ledger.Run) {
			d.Helper()
			n, err := d.AcceptedOf(d.ctx, by, r.Date)
			d.must(err)
			d.same("accepted of "+by+" on "+r.Date, want, n)
		}
		first := d.begin()
		count(0, "anna", first)
		d.order(first, signed(first, "a.csv", "anna"), 1, 1)
		d.order(first, d.file(first, "unsigned.csv"), 1, 2)
		left := signed(first, "b.csv", "anna")
		c := chunk(first, left)
		c.Answers = []ledger.Answer{refused(first, left, 1)}
		d.must(d.CommitChunk(d.ctx, c))
		count(1, "anna", first)
		count(0, "ben", first)
		d.finish(first)
		again, _, err := d.BeginRun(d.ctx, first.StartedAt, first.Date, "host", "v1") // another run of the same date
		d.must(err)
		d.order(again, left, 2, 3)
		count(2, "anna", again)
		d.finish(again)
		second := d.begin()
		d.order(second, left, 3, 4) // the file is of the night before, the row is not
		count(1, "anna", second)
		count(2, "anna", first)
	}},
	{"a file that was never claimed can be forgotten, any other not", func(d *desk) {
		r := d.begin()
		id, err := d.AddFile(d.ctx, ledger.RequestFile{RunID: r.ID, Name: "a.csv", State: ledger.Claiming})
		d.must(err)
		d.must(d.DropFile(d.ctx, id))
		d.notFound(d.DropFile(d.ctx, id))
		files, err := d.RunFiles(d.ctx, r.ID)
		d.must(err)
		d.same("files", 0, len(files))
		claimed := d.file(r, "b.csv")
		if claimed == id {
			d.Errorf("the id %d of a forgotten file was given again", id)
		}
		d.conflict(d.DropFile(d.ctx, claimed))
	}},
}
