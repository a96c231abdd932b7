package sqlite_test

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/ledger/ledgertest"
	"reemboss/batch/ledger/sqlite"
	"reemboss/batch/rules"
	"reemboss/formats/request"
)

// replay does what the bytes of an input say to a ledger and to a model of it.
type replay struct {
	*testing.T
	ledger *sqlite.Ledger
	path   string
	rest   []byte
	now    time.Time
	run    ledger.Run
	open   bool

	files    map[int64]*replayed
	counters map[string]int64
	entries  int64
}

// replayed is a request file as the model has it.
type replayed struct {
	state ledger.FileState
	rows  int
	whole bool // it has an answer as a whole
}

func (r *replay) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// draw is the next byte of the input, below limit; 0 at its end.
func (r *replay) draw(limit int) int {
	if len(r.rest) == 0 {
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return int(b) % limit
}

// FuzzReplay holds that whatever calls come, the ledger is what a map in memory would be: a call that is refused changed
// nothing, one that is taken changed what it says, and that is there again after the file was closed and opened.
func FuzzReplay(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 1, 0, 1, 0, 3, 0, 2, 0, 1, 5, 3, 0, 1, 0, 1, 4, 2, 0, 6, 0, 5})
	f.Add([]byte{0, 0, 0, 1, 2, 1, 7, 0, 3, 1, 4, 1, 3, 1, 4, 0, 5, 6, 6, 0})
	f.Fuzz(func(t *testing.T, input []byte) {
		path := filepath.Join(t.TempDir(), "ledger.db")
		r := &replay{T: t, path: path, rest: input[:min(len(input), 60)], now: time.Date(2026, time.November, 21, 22, 0, 0, 0, time.UTC),
			files: map[int64]*replayed{}, counters: map[string]int64{}}
		r.opens()
		defer func() { r.must(r.ledger.Close()) }()
		r.begin()
		steps := []func(){r.add, r.move, r.drop, r.decide, r.decide, r.reopen, r.finish, r.refuse}
		for len(r.rest) > 0 {
			r.now = r.now.Add(time.Second)
			steps[r.draw(len(steps))]()
		}
		r.agrees()
		r.reopen()
		r.agrees()
	})
}

func (r *replay) opens() {
	l, err := sqlite.Open(r.path, ledgertest.Vault(), sqlite.Options{Create: true})
	r.must(err)
	r.ledger = l
}

func (r *replay) reopen() {
	r.must(r.ledger.Close())
	r.opens()
}

func (r *replay) begin() {
	run, resumed, err := r.ledger.BeginRun(r.Context(), r.now, r.now.Format(time.DateOnly), "host", "v1")
	r.must(err)
	if resumed != r.open {
		r.Fatalf("resumed %v, but a run is open: %v", resumed, r.open)
	}
	r.run, r.open = run, true
}

func (r *replay) finish() {
	r.must(r.ledger.FinishRun(r.Context(), r.run.ID, r.now, 0, nil))
	r.open = false
	r.begin()
}

func (r *replay) add() {
	id, err := r.ledger.AddFile(r.Context(), ledger.RequestFile{RunID: r.run.ID, Name: "a.csv", State: ledger.Claiming, ClaimedAt: r.now})
	r.must(err)
	if r.files[id] != nil {
		r.Fatalf("file %d was there already", id)
	}
	r.files[id] = &replayed{state: ledger.Claiming}
}

// one draws a file, or an id that no file has.
func (r *replay) one() (int64, *replayed) {
	ids := slices.Sorted(maps.Keys(r.files))
	n := r.draw(len(ids) + 1)
	if n == len(ids) {
		return 1 << 30, nil
	}
	return ids[n], r.files[ids[n]]
}

func (r *replay) record(id int64, state ledger.FileState) ledger.RequestFile {
	return ledger.RequestFile{ID: id, RunID: r.run.ID, Name: "a.csv", State: state, ClaimedAt: r.now}
}

func (r *replay) entry(what string) *ledger.AuditEntry {
	return &ledger.AuditEntry{At: r.now, Who: "fuzz@host", What: what}
}

// wants compares how a call ended: it must be refused with the error, or taken.
func (r *replay) wants(what string, refusal, err error) (done bool) {
	if refusal != nil && !errors.Is(err, refusal) || refusal == nil && err != nil {
		r.Fatalf("%s: %v, want %v", what, err, refusal)
	}
	return refusal == nil
}

func (r *replay) move() {
	id, f := r.one()
	state := []ledger.FileState{ledger.Claimed, ledger.Checked, ledger.DecidedF, ledger.Answered}[r.draw(4)]
	var refusal error
	if f == nil {
		refusal = ledger.ErrNotFound
	}
	if r.wants("move", refusal, r.ledger.UpdateFile(r.Context(), r.record(id, state), nil, r.entry("file.moved"))) {
		f.state, r.entries = state, r.entries+1
	}
}

// refuse answers a file as a whole, which goes once.
func (r *replay) refuse() {
	id, f := r.one()
	var refusal error
	switch {
	case f == nil:
		refusal = ledger.ErrNotFound
	case f.whole:
		refusal = ledger.ErrConflict
	}
	answer := &ledger.Answer{FileID: id, RunID: r.run.ID, Outcome: rules.Refused, Class: 400, Code: "header_missing", Codes: []rules.Code{"header_missing"}}
	if r.wants("refuse", refusal, r.ledger.UpdateFile(r.Context(), r.record(id, ledger.DecidedF), answer, r.entry("file.refused"))) {
		f.state, f.whole, r.entries = ledger.DecidedF, true, r.entries+1
	}
}

func (r *replay) drop() {
	id, f := r.one()
	if f == nil {
		return
	}
	var refusal error
	if f.state != ledger.Claiming || f.rows > 0 || f.whole {
		refusal = ledger.ErrConflict
	}
	if err := r.ledger.DropFile(r.Context(), id); f.rows > 0 || f.whole {
		if err == nil {
			r.Fatal("a file that has answers was forgotten")
		}
	} else if r.wants("drop", refusal, err) {
		delete(r.files, id)
	}
}

// decide commits rows that follow those of the model, or repeat one, with a counter that is where the chunk says or is not.
func (r *replay) decide() {
	id, f := r.one()
	if f == nil {
		return
	}
	first, counter, from := f.rows+1, []string{"card-id", "sequence/alpha"}[r.draw(2)], int64(0)
	var refusal error
	switch r.draw(4) {
	case 1: // again
		if first--; first == 0 {
			return
		}
		refusal = ledger.ErrConflict
	case 2: // a counter that somebody else moved
		from, refusal = 7, ledger.ErrConflict
	}
	c := ledger.Chunk{RunID: r.run.ID, FileID: id, At: r.now, Entry: r.entry("rows.decided"),
		Advances: []ledger.Advance{{Counter: counter, From: r.counters[counter] + from, To: r.counters[counter] + from + 1}}}
	last := first + r.draw(3)
	for pos := first; pos <= last; pos++ {
		c.Answers = append(c.Answers, ledger.Answer{FileID: id, Pos: pos, RunID: r.run.ID, Line: pos + 1, Kind: request.Reemboss, CardID: "1",
			Outcome: rules.Refused, Class: 404, Code: "card_not_found", Codes: []rules.Code{"card_not_found"}})
	}
	if r.wants("decide", refusal, r.ledger.CommitChunk(r.Context(), c)) {
		f.rows, r.entries = last, r.entries+1
		r.counters[counter]++
	}
}

// agrees compares all that the ledger tells with the model.
func (r *replay) agrees() {
	r.Helper()
	ctx := r.Context()
	open, err := r.ledger.OpenFiles(ctx)
	r.must(err)
	states := map[int64]ledger.FileState{}
	for _, f := range open {
		states[f.ID] = f.State
	}
	for id, f := range r.files {
		if got, there := states[id]; there == (f.state == ledger.Answered) || there && got != f.state {
			r.Errorf("file %d is %q, want %s", id, got, f.state)
		}
		last, err := r.ledger.LastPos(ctx, id)
		r.must(err)
		rows := 0
		r.must(r.ledger.EachAnswer(ctx, "", id, func(a *ledger.Answer) error {
			if a.Pos > 0 {
				rows++
			}
			return nil
		}))
		if last != f.rows || rows != f.rows {
			r.Errorf("file %d has answers up to %d, %d of them; want %d", id, last, rows, f.rows)
		}
		delete(states, id)
	}
	if len(states) > 0 {
		r.Errorf("files that nobody added: %v", states)
	}
	counters, err := r.ledger.Counters(ctx)
	r.must(err)
	for name, want := range r.counters {
		if counters[name] != want {
			r.Errorf("counter %s is %d, want %d", name, counters[name], want)
		}
	}
	entries := int64(0)
	r.must(r.ledger.EachAudit(ctx, func(ledger.AuditEntry) error { entries++; return nil }))
	if entries < r.entries {
		r.Errorf("%d audit entries, want at least %d", entries, r.entries)
	}
	r.must(r.ledger.VerifyAudit(ctx))
}
