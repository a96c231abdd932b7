package batch

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"reemboss/testdata/proof"
)

// A machine may lose its power before any step of the disk, and with it every byte and every name that was not synced
// by then: the next night goes on from what is left, and ends like any other. At every second point the names are
// there and only bytes are lost, as after a file system wrote its journal and not the data.
//
// One night is worked, and copied at each point as the crash would leave it. Without the sync of a file, or of a
// folder, something that the ledger counts on is missing in some copy.
func TestEveryCrashWithUnsyncedWritesLost(t *testing.T) {
	count := proof.Of(t, "power losses")
	w := prepareNight(t)
	t.Logf("%d steps of the disk", len(w.steps))
	chosen := proof.Chosen(proof.Numbers(len(w.steps)))
	worked, clones := w.copyTo(t), t.TempDir()
	disk := &watchedDisk{journal: newJournal()}
	taken := map[int]string{}
	disk.before = func(step int) error {
		i, wanted := slices.BinarySearch(chosen, step)
		if !wanted {
			return nil
		}
		taken[step] = filepath.Join(clones, fmt.Sprint(step))
		return disk.journal.clone(worked.Dir, taken[step], i%2 == 1)
	}
	if _, err := worked.night(disk); err != nil {
		t.Fatal(err)
	}
	for step, place := range taken {
		count.Try(t, fmt.Sprintf("%d: %s", step, disk.names[step-1]), func(t *testing.T) {
			c := *w
			c.bench = &bench{TB: t, Workspace: Workspace{Dir: place}, now: w.now}
			w.ends(t, &c)
		})
	}
}
