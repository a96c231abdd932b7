package batch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"reemboss/batch/ledger"
	"reemboss/bureau"
)

// auditRuns is how many of the newest runs a restore looks at.
const auditRuns = 10_000

// signedHead is the newest entry of the audit chain at the end of a run. It lies
// in state/audit/<run>.json, with our detached signature beside it: whoever can
// write the ledger can make a whole new chain, and not this.
type signedHead struct {
	RunID string    `json:"run_id"`
	Seq   int64     `json:"seq"`
	Hash  string    `json:"hash"`
	At    time.Time `json:"at"`
}

// signAudit keeps the chain's newest entry, signed.
func (n *Night) signAudit(ctx context.Context) error {
	head, err := n.Ledger.AuditHead(ctx)
	if err != nil {
		return err
	}
	return n.signHead(n.run.ID, head, n.AuditHeads())
}

// signHead writes the head of a run into a folder, with its signature beside it.
func (n *Night) signHead(runID string, head ledger.Chain, folder string) error {
	text, err := json.Marshal(signedHead{RunID: runID, Seq: head.Seq, Hash: head.Hash, At: n.Now().UTC()})
	if err != nil {
		return fmt.Errorf("sign the audit chain: %w", err)
	}
	signature, err := bureau.SignDetached(bytes.NewReader(text), n.ownKey, n.Now())
	if err != nil {
		return fmt.Errorf("sign the audit chain: %w", err)
	}
	if err := n.Files.MkdirAll(folder); err != nil {
		return err
	}
	path := filepath.Join(folder, runID+".json")
	for _, file := range []struct {
		name string
		text []byte
	}{{path, text}, {path + ".asc", signature}} {
		if err := n.Files.Write(file.name, func(w io.Writer) error { _, err := w.Write(file.text); return err }); err != nil {
			return fmt.Errorf("keep the signed head of the audit chain: %w", err)
		}
	}
	return nil
}

// AuditTold is what a check of the audit chain found when it holds.
type AuditTold struct {
	Entries int64  `json:"entries"`
	Signed  int64  `json:"signed"` // up to this entry the chain is signed
	RunID   string `json:"run_id"` // at the end of this run; "" when none ended yet
	Heads   int    `json:"heads"`  // signed heads that were held against it
}

// VerifyAudit checks the audit chain from its first entry, and holds it against
// the heads that were signed at the ends of runs. Its error wraps
// [ledger.ErrAuditBroken] and names the entry, or the signed head, that does not hold.
func (n *Night) VerifyAudit(ctx context.Context) (*AuditTold, error) {
	return n.verifyAudit(ctx, n.Ledger, n.AuditHeads())
}

// verifyAudit holds the chain of a ledger against the heads in a folder.
func (n *Night) verifyAudit(ctx context.Context, l ledger.Ledger, folder string) (*AuditTold, error) {
	if err := l.VerifyAudit(ctx); err != nil {
		return nil, err
	}
	ended, err := l.EndedRuns(ctx) // before the heads are read: a run signs first and ends then
	if err != nil {
		return nil, err
	}
	open, err := openRun(ctx, l)
	if err != nil {
		return nil, err
	}
	heads, err := n.signedHeads(folder, open)
	if err != nil {
		return nil, err
	}
	told := &AuditTold{Heads: len(heads)}
	next := 0
	err = l.EachAudit(ctx, func(e ledger.AuditEntry) error {
		told.Entries = e.Seq
		for ; next < len(heads) && heads[next].Seq == e.Seq; next++ {
			if heads[next].Hash != e.Hash {
				return fmt.Errorf("%w: entry %d (%s) is not the one that was signed at the end of run %s", ledger.ErrAuditBroken, e.Seq, e.What, heads[next].RunID)
			}
			told.Signed, told.RunID = e.Seq, heads[next].RunID
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if next < len(heads) {
		return nil, fmt.Errorf("%w: entry %d is missing, which was signed at the end of run %s", ledger.ErrAuditBroken, heads[next].Seq, heads[next].RunID)
	}
	return told, everyRunSigned(ended, heads)
}

// openRun is the id of the run that has not ended; "" for none.
func openRun(ctx context.Context, l ledger.Runs) (string, error) {
	runs, err := l.LastRuns(ctx, 1)
	if err != nil || len(runs) == 0 || !runs[0].EndedAt.IsZero() {
		return "", err
	}
	return runs[0].ID, nil
}

// signedHeads reads the heads of a folder with their signatures, by entry. The
// one of the open run counts where it is whole: a process that was killed while
// it signed left a part of it, and the run signs anew before it ends.
func (n *Night) signedHeads(folder, open string) ([]signedHead, error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var heads []signedHead
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		path := filepath.Join(folder, e.Name())
		broken := func(why string) error {
			return fmt.Errorf("%w: the signed head %s %s", ledger.ErrAuditBroken, n.Relative(path), why)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		signature, err := os.ReadFile(path + ".asc")
		unfinished := e.Name() == open+".json"
		switch {
		case err != nil && unfinished:
			continue
		case err != nil:
			return nil, broken("has no signature beside it")
		}
		if err := n.verifyOurs(text, signature); err != nil {
			if unfinished {
				continue
			}
			return nil, broken("is not what was signed: " + err.Error())
		}
		var head signedHead
		if err := json.Unmarshal(text, &head); err != nil || head.RunID+".json" != e.Name() {
			return nil, broken("is another run's")
		}
		heads = append(heads, head)
	}
	sort.Slice(heads, func(i, j int) bool { return heads[i].Seq < heads[j].Seq })
	return heads, nil
}

// everyRunSigned: a run ends only after its head is signed and durable, and the
// run that a restore ends is signed by the restore. So each one that ended has a head, for ever.
func everyRunSigned(ended []string, heads []signedHead) error {
	signed := map[string]bool{}
	for _, h := range heads {
		signed[h.RunID] = true
	}
	var gone []string
	for _, id := range ended {
		if !signed[id] {
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	more := ""
	if len(gone) > 1 {
		more = fmt.Sprintf(", and %d more up to that of run %s", len(gone)-1, gone[len(gone)-1])
	}
	return fmt.Errorf("%w: run %s has ended, and its signed head state/audit/%s.json is gone%s; put them back from a copy of state/audit/ or out of a backup, and find out who removed them", ledger.ErrAuditBroken, gone[0], gone[0], more)
}
