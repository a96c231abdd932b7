package batch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"reemboss/batch/report"
)

// A writer that goes on after its file was put away: what came later has no answer, and a person is told, in the same night or the next.
func TestAFileThatGrowsAfterItWasAnsweredIsToldToAPerson(t *testing.T) {
	const number = "4111110000000010"
	for name, c := range map[string]struct {
		point, place string
		content      string
		told         []int // bytes, by run
	}{
		"in the night":               {"answer/moved", "done/*/a.csv", "card_id\n1\n", []int{2, 2, 0}},
		"after the night":            {"reconcile/finished", "done/*/a.csv", "card_id\n1\n", []int{0, 2, 0}},
		"one with a card number":     {"answer/sealed", "state/intake/*", "card_id,remark\n1," + number + "\n", []int{2, 0, 0}},
		"one that was refused whole": {"answer/moved", "refused/*/a.csv", "nothing\n1\n", []int{0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.silent()
			b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
			b.run()
			b.drop("a.csv", c.content)
			for run, bytes := range c.told {
				r := b.run(func(n *Night) {
					n.Checkpoint = func(point string) {
						if paths, _ := filepath.Glob(b.Path(c.place)); run == 0 && point == c.point && len(paths) == 1 {
							f, err := os.OpenFile(paths[0], os.O_APPEND|os.O_WRONLY, 0)
							if err == nil {
								_, err = f.WriteString("2\n")
								err = errors.Join(err, f.Close())
							}
							if err != nil {
								t.Fatal(err)
							}
						}
					}
				})
				told := slices.DeleteFunc(slices.Clone(r.NeedsPerson), func(need report.Need) bool { return !strings.Contains(need.What, "grew after it was read") })
				switch {
				case bytes == 0 && len(told) > 0:
					t.Errorf("run %d tells %+v", run+1, told)
				case bytes > 0 && (len(told) != 1 || r.Exit != 4 || !strings.HasPrefix(told[0].What, "done/") || !strings.HasSuffix(told[0].What, fmt.Sprintf(": %d bytes more", bytes))):
					t.Errorf("run %d, exit %d, tells %+v", run+1, r.Exit, told)
				}
			}
		})
	}
}
