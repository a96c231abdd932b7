package sqlite

import (
	"context"
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/request"
)

// scope is a set of answers: those of one request file, or those that a run
// gave, file by file. Answers have no index by run: the run's files are known,
// and each file's answers lie together.
type scope struct {
	run   int64 // 0: of every run
	files []int64
}

func newScope(conn *sqlite.Conn, runID string, fileID int64) (scope, error) {
	if fileID > 0 {
		return scope{files: []int64{fileID}}, nil
	}
	run, err := runSeq(conn, runID)
	if err == nil && run == 0 {
		err = fmt.Errorf("neither a run nor a file is named: %w", ledger.ErrNotFound)
	}
	s := scope{run: run}
	if err != nil {
		return s, err
	}
	err = each(conn, "SELECT file FROM file_runs WHERE run = ? ORDER BY file", []any{run}, func(r *row) error {
		s.files = append(s.files, r.int())
		return nil
	})
	return s, err
}

// each selects columns for every answer a of the scope, in (file, row) order.
func (s scope) each(conn *sqlite.Conn, columns, joins string, fn func(*row) error) error {
	sql := "SELECT " + columns + " FROM answers a " + joins + " WHERE a.id >= ?1 AND a.id < ?2 AND (?3 = 0 OR a.run = ?3) ORDER BY a.id"
	for _, file := range s.files {
		if err := each(conn, sql, []any{answerID(file, 0), answerID(file+1, 0), s.run}, fn); err != nil {
			return err
		}
	}
	return nil
}

// EachAnswer gives answers alone.
func (l *Ledger) EachAnswer(ctx context.Context, runID string, fileID int64, fn func(*ledger.Answer) error) error {
	return l.stream(ctx, "read the answers", func(conn *sqlite.Conn) error {
		s, err := newScope(conn, runID, fileID)
		if err != nil {
			return err
		}
		runs := newRunNames(conn)
		return s.each(conn, answerColumns, "LEFT JOIN orders o ON o.id = a.order_id", func(r *row) error {
			a, err := scanAnswer(r, runs)
			if err != nil {
				return err
			}
			return callback(fn(&a))
		})
	})
}

// EachTold gives answers with their orders and cards.
func (l *Ledger) EachTold(ctx context.Context, runID string, fileID int64, fn func(*ledger.Told) error) error {
	return l.stream(ctx, "read the answers", func(conn *sqlite.Conn) error {
		s, err := newScope(conn, runID, fileID)
		if err != nil {
			return err
		}
		teller, err := l.newTeller(conn)
		if err != nil {
			return err
		}
		return s.each(conn, answerColumns+", bf.state, "+orderColumns,
			"LEFT JOIN orders o ON o.id = a.order_id LEFT JOIN order_bodies ob ON ob.id = o.id LEFT JOIN bureau_files bf ON bf.id = o.bureau_file_id",
			func(r *row) error {
				told, err := teller.told(r)
				if err != nil {
					return err
				}
				return callback(fn(told))
			})
	})
}

// teller completes rows of answers with what stands elsewhere.
type teller struct {
	ledger *Ledger
	conn   *sqlite.Conn
	runs   runNames
	names  map[int64]string // of request files
	cards  *sqlite.Stmt
}

func (l *Ledger) newTeller(conn *sqlite.Conn) (*teller, error) {
	cards, err := conn.Prepare("SELECT " + strings.Join(cardColumns, ", ") + " FROM cards WHERE id = ?")
	return &teller{l, conn, newRunNames(conn), map[int64]string{}, cards}, err
}

func (t *teller) told(r *row) (*ledger.Told, error) {
	answer, err := scanAnswer(r, t.runs)
	if err != nil {
		return nil, err
	}
	told := &ledger.Told{Answer: answer, BureauFileState: ledger.BureauFileState(r.text())}
	if told.FileName, err = t.fileName(answer.FileID); err != nil {
		return nil, err
	}
	card := cardNumber(answer.CardID)
	if answer.OrderUID != "" {
		if told.Order, err = t.ledger.scanOrder(r, t.runs); err != nil {
			return nil, err
		}
		card = told.Order.CardID
	}
	return told, t.addCard(told, card)
}

func (t *teller) fileName(id int64) (string, error) {
	if name, ok := t.names[id]; ok {
		return name, nil
	}
	_, err := one(t.conn, "SELECT name FROM request_files WHERE id = ?", []any{id}, func(r *row) { t.names[id] = r.text() })
	return t.names[id], err
}

func (t *teller) addCard(told *ledger.Told, id int64) error {
	if id == 0 {
		return nil
	}
	t.cards.BindInt64(1, id)
	return eachRow(t.cards, func(r *row) error {
		id := r.int()
		card, err := t.ledger.scanCard(id, r)
		told.Card = &card
		return err
	})
}

// cardNumber reads a card id of 1 to 18 digits; anything else is no card, 0.
func cardNumber(text string) (id int64) {
	if len(text) > 18 {
		return 0
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return 0
		}
		id = id*10 + int64(text[i]-'0')
	}
	return id
}

// Tallies counts a run's answers.
func (l *Ledger) Tallies(ctx context.Context, runID string) ([]ledger.Tally, error) {
	return l.tallies(ctx, "count the answers of run "+runID, runID, 0)
}

// FileTallies counts the answers of one request file.
func (l *Ledger) FileTallies(ctx context.Context, fileID int64) ([]ledger.Tally, error) {
	if fileID <= 0 {
		return nil, fmt.Errorf("count the answers of file %d: %w", fileID, ledger.ErrNotFound)
	}
	return l.tallies(ctx, fmt.Sprintf("count the answers of file %d", fileID), "", fileID)
}

// tallies counts in one pass over the rows: SQL's GROUP BY would sort them all
// in memory first.
func (l *Ledger) tallies(ctx context.Context, what, runID string, fileID int64) (tallies []ledger.Tally, err error) {
	at := map[ledger.Tally]int{} // index into tallies, by a tally with N 0
	err = l.read(ctx, what, func(conn *sqlite.Conn) error {
		s, err := newScope(conn, runID, fileID)
		if err != nil {
			return err
		}
		return s.each(conn, "a.kind, a.outcome, a.code, a.reason, o.product, o.bureau", "LEFT JOIN orders o ON o.id = a.order_id AND a.outcome = 'accepted'", func(r *row) error {
			t := ledger.Tally{
				Kind: request.Kind(r.text()), Outcome: rules.Outcome(r.text()), Code: rules.Code(r.text()),
				Reason: int(r.int()), Product: r.text(), Bureau: r.text(),
			}
			i, ok := at[t]
			if !ok {
				i = len(tallies)
				at[t] = i
				tallies = append(tallies, t)
			}
			tallies[i].N++
			return nil
		})
	})
	return tallies, err
}

// Waits counts accepted orders that are in no written file. Only open orders
// can be, however long the history.
func (l *Ledger) Waits(ctx context.Context) (waits []ledger.Waiting, err error) {
	at := map[ledger.Waiting]int{}
	err = l.read(ctx, "count the orders that wait", func(conn *sqlite.Conn) error {
		runs := newRunNames(conn)
		return each(conn, `SELECT o.run, o.bureau, coalesce(h.name, '') FROM open_cards c JOIN orders o ON o.id = c.order_id AND o.embossed_card_id = c.card_id
			LEFT JOIN bureau_files f ON f.id = o.bureau_file_id LEFT JOIN holds h ON h.id = o.hold_id WHERE f.id IS NULL OR f.state = 'PLANNED'`, nil, func(r *row) error {
			run, err := runs.id(r.int())
			if err != nil {
				return err
			}
			w := ledger.Waiting{RunID: run, Bureau: r.text(), Hold: r.text()}
			i, ok := at[w]
			if !ok {
				i = len(waits)
				at[w] = i
				waits = append(waits, w)
			}
			waits[i].Orders++
			return nil
		})
	})
	return waits, err
}

// WrittenOf counts orders in written files by bureau: of one run, whose orders
// lie together, or of all.
func (l *Ledger) WrittenOf(ctx context.Context, acceptedIn string) (map[string]int64, error) {
	written := map[string]int64{}
	sql := `SELECT f.recipient FROM orders o INDEXED BY orders_in_file JOIN bureau_files f ON f.id = o.bureau_file_id
		WHERE o.bureau_file_id IS NOT NULL AND f.state <> 'PLANNED'`
	var args []any
	if acceptedIn != "" {
		sql = `SELECT f.recipient FROM runs JOIN orders o ON o.run = runs.seq AND o.id > runs.orders_after
			AND o.id <= coalesce((SELECT n.orders_after FROM runs n WHERE n.seq = runs.seq + 1), 9223372036854775807)
			JOIN bureau_files f ON f.id = o.bureau_file_id WHERE runs.id = ? AND f.state <> 'PLANNED'`
		args = []any{acceptedIn}
	}
	err := l.read(ctx, "count the written orders", func(conn *sqlite.Conn) error {
		return each(conn, sql, args, func(r *row) error {
			written[r.text()]++
			return nil
		})
	})
	return written, err
}

// NewPINs counts over an index that has those orders only.
func (l *Ledger) NewPINs(ctx context.Context, acceptedIn string) (map[ledger.NewPIN]int64, error) {
	counts := map[ledger.NewPIN]int64{}
	err := l.read(ctx, "count the new PINs of run "+acceptedIn, func(conn *sqlite.Conn) error {
		return each(conn, `SELECT new_pin, count(*) FROM orders INDEXED BY orders_with_new_pin
			WHERE run = (SELECT seq FROM runs WHERE id = ?) AND new_pin <> '' GROUP BY new_pin`, []any{acceptedIn}, func(r *row) error {
			kind := ledger.NewPIN(r.text())
			counts[kind] = r.int()
			return nil
		})
	})
	return counts, err
}
