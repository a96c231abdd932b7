package sqlite

import (
	"fmt"
	"math"
	"strings"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/request"
)

// An answer's id is its file's id times 2³² plus its row's position.
const (
	maxFileID = math.MaxInt32
	maxPos    = math.MaxUint32
)

func answerID(file int64, pos int) int64 { return file<<32 | int64(pos) }

// answerWriter writes answers of one file in one run.
type answerWriter struct {
	conn      *sqlite.Conn
	stmt      *sqlite.Stmt
	file, run int64
}

func newAnswerWriter(conn *sqlite.Conn, file, run int64) (answerWriter, error) {
	stmt, err := conn.Prepare(`INSERT INTO answers (id, run, sheet, line, kind, card_id, outcome, class, code, codes, message,
		reference, submitter, content_digest, row_digest, reason, order_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	return answerWriter{conn, stmt, file, run}, err
}

func (w answerWriter) insert(a *ledger.Answer, order int64) error {
	if a.Pos < 0 || a.Pos > maxPos {
		return fmt.Errorf("row %d of file %d: a file has at most %d rows", a.Pos, w.file, maxPos)
	}
	b := binder{stmt: w.stmt}
	b.int(answerID(w.file, a.Pos))
	b.key(w.run)
	b.text(a.Sheet)
	b.int(int64(a.Line))
	b.text(string(a.Kind))
	b.text(a.CardID)
	b.text(string(a.Outcome))
	b.int(int64(a.Class))
	b.text(string(a.Code))
	b.text(joinCodes(a.Codes))
	b.text(a.Message)
	b.text(a.Reference)
	b.text(a.Submitter)
	b.text(a.ContentDigest)
	b.text(a.RowDigest)
	b.int(int64(a.Reason))
	b.key(order)
	_, err := run(w.conn, w.stmt)
	switch {
	case sqlite.ErrCode(err) == sqlite.ResultConstraintUnique:
		return fmt.Errorf("%w: the reference of row %d of file %d was used by an accepted row before", ledger.ErrConflict, a.Pos, w.file)
	case violated(err):
		return fmt.Errorf("%w: row %d of file %d has an answer already", ledger.ErrConflict, a.Pos, w.file)
	case err != nil:
		return fmt.Errorf("answer row %d of file %d: %w", a.Pos, w.file, err)
	}
	return nil
}

func joinCodes(codes []rules.Code) string {
	switch len(codes) {
	case 0:
		return ""
	case 1:
		return string(codes[0])
	}
	words := make([]string, len(codes))
	for i, code := range codes {
		words[i] = string(code)
	}
	return strings.Join(words, " ")
}

func splitCodes(text string) []rules.Code {
	if text == "" {
		return nil
	}
	words := strings.Split(text, " ")
	codes := make([]rules.Code, len(words))
	for i, word := range words {
		codes[i] = rules.Code(word)
	}
	return codes
}

// answerColumns are those of answers a left joined with orders o.
const answerColumns = `a.id, a.run, a.sheet, a.line, a.kind, a.card_id, a.outcome, a.class, a.code, a.codes, a.message, a.reference,
	a.submitter, a.content_digest, a.row_digest, a.reason, o.uid`

func scanAnswer(r *row, runs runNames) (ledger.Answer, error) {
	id := r.int()
	run, err := runs.id(r.int())
	return ledger.Answer{
		FileID: id >> 32, Pos: int(id & maxPos), RunID: run,
		Sheet: r.text(), Line: int(r.int()), Kind: request.Kind(r.text()), CardID: r.text(),
		Outcome: rules.Outcome(r.text()), Class: int(r.int()), Code: rules.Code(r.text()), Codes: splitCodes(r.text()),
		Message: r.text(), Reference: r.text(), Submitter: r.text(), ContentDigest: r.text(), RowDigest: r.text(),
		Reason: int(r.int()), OrderUID: r.text(),
	}, err
}

// runNames gives the ids of runs by their numbers and keeps what it read.
type runNames struct {
	conn  *sqlite.Conn
	known map[int64]string
}

func newRunNames(conn *sqlite.Conn) runNames { return runNames{conn, map[int64]string{0: ""}} }

func (n runNames) id(seq int64) (string, error) {
	if id, ok := n.known[seq]; ok {
		return id, nil
	}
	found, err := one(n.conn, "SELECT id FROM runs WHERE seq = ?", []any{seq}, func(r *row) { n.known[seq] = r.text() })
	if err == nil && !found {
		err = fmt.Errorf("run number %d: %w", seq, ledger.ErrNotFound)
	}
	return n.known[seq], err
}
