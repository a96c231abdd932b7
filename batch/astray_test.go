package batch

import (
	"errors"
	"os"
	"path/filepath"

	"reemboss/batch/ledger"
)

// astray are transfers that end nowhere: the temporary name is gone when the
// rename is asked for. What the bureau took away it has all the same.
type astray struct {
	*bench
	away map[string]string // final name at a bureau → where it is: "" nowhere, a path, "there" once given back; "told" by a person
}

func newAstray(b *bench) *astray { return &astray{b, map[string]string{}} }

// lose takes away what was to be renamed just now, for ever or until [astray.giveBack].
func (a *astray) lose(taken bool) {
	a.Helper()
	for _, f := range a.ledgerRows().outgoing {
		if f.state != string(ledger.Renaming) {
			continue
		}
		final := filepath.Join(a.Simulator(f.recipient), "incoming", f.name)
		if !fileThere(final + ".part") { // an earlier night's
			continue
		}
		var err error
		if taken {
			a.away[final] = filepath.Join(a.Dir, "away-"+f.name)
			err = os.Rename(final+".part", a.away[final])
		} else {
			a.away[final] = ""
			err = os.Remove(final + ".part")
		}
		if err != nil {
			a.Fatal(err)
		}
	}
}

// giveBack puts what the bureaus took where they read it.
func (a *astray) giveBack() {
	a.Helper()
	for final, hidden := range a.away {
		if !filepath.IsAbs(hidden) { // lost for ever, or given back before
			continue
		}
		if err := errors.Join(os.Rename(hidden, final), os.Chtimes(final, a.now, a.now)); err != nil { // it came when the bureau's clock says so
			a.Fatal(err)
		}
		a.away[final] = "there"
	}
}
