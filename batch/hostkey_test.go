package batch

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// After a changed host key, to run again helps nothing: the way out of every need is to look at the key and to pin it.
func TestTheWayOutOfAChangedHostKeyIsToPinIt(t *testing.T) {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id\n1\n")
	known := b.Path("keys", "known_hosts")
	text, err := os.ReadFile(known)
	if err != nil {
		t.Fatal(err)
	}
	swap := strings.NewReplacer("alpha.simulator", "beta.simulator", "beta.simulator", "alpha.simulator")
	if err := os.WriteFile(known, []byte(swap.Replace(string(text))), 0o644); err != nil {
		t.Fatal(err)
	}
	r := b.run()
	told := map[string]string{}
	for _, need := range r.NeedsPerson {
		if strings.Contains(need.Why, "host key") {
			told[need.What] = strings.Join(need.Choices(), "; ")
		}
	}
	file := b.order(1).FileName + " for alpha (1 record) is not sent: INTENT"
	want := map[string]string{
		file: "reemboss bureau pin-host alpha",
		"the return files of alpha could not be fetched": "reemboss bureau pin-host alpha",
		"the return files of beta could not be fetched":  "reemboss bureau pin-host beta",
	}
	if diff := cmp.Diff(want, told); diff != "" || r.Exit != 4 {
		t.Errorf("exit %d, needs %q:\n%s", r.Exit, slices.Sorted(maps.Keys(told)), diff)
	}
}
