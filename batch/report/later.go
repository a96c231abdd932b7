package report

import (
	"context"
	"fmt"
)

// laterRuns are the ids of the runs that began after a run: what is theirs is
// not in its report when that is written again. The ledger has their order; the
// ids do not, since a clock that was set back gives a later run a smaller one.
func laterRuns(ctx context.Context, l Ledger, runID string) (map[string]bool, error) {
	for limit := 1; ; limit *= 8 {
		runs, err := l.LastRuns(ctx, limit)
		if err != nil {
			return nil, err
		}
		later := map[string]bool{}
		for _, r := range runs { // newest first
			if r.ID == runID {
				return later, nil
			}
			later[r.ID] = true
		}
		if len(runs) < limit {
			return nil, fmt.Errorf("run %s is not among the runs of the ledger", runID)
		}
	}
}

// earlier says that a run began before this one.
func (g *gathering) earlier(runID string) bool { return runID != g.run.ID && !g.later[runID] }
