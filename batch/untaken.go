package batch

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

// Files of an inbox that are complete and could not be taken. They stay where
// they are, as their senders left them, and the ledger knows nothing of them;
// every night asks a person again until one is taken, or is gone.

// untaken are names of such files, masked, by what keeps them in the inbox.
type untaken map[hindrance][]string

// hindrance is what keeps files in a folder: one sentence, with what to do.
type hindrance struct {
	folder string
	cards  bool
	why    string
}

// stays keeps for the report that a file could not be taken.
func (n *Night) stays(c candidate, name string, err error) {
	h := hindrance{folder: n.Relative(c.folder), cards: c.extract, why: n.hindered(c, err)}
	if n.untaken == nil {
		n.untaken = untaken{}
	}
	n.untaken[h] = append(n.untaken[h], name)
	n.Log.Error().Str("run", n.run.ID).Str("file", printable(name)).Msg("the file could not be taken: " + h.why)
}

// unreadable says what keeps this process from reading a file of the inbox. One that it may not read is not taken: it could
// be neither answered nor sealed, and would lie elsewhere with all that is in it.
func (c candidate) unreadable() error {
	if err := access(c.path(), toRead); errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// hindered is why a file cannot be taken and what its operator does about it.
func (n *Night) hindered(c candidate, err error) string {
	folder := n.Relative(c.folder) + "/"
	us := fmt.Sprintf("the account that runs this (uid %d)", os.Geteuid())
	switch {
	case c.unreadable() != nil:
		return us + " may not read it. Give that account the right to read it (chmod, chown), or remove it; the next run takes it"
	case errors.Is(err, syscall.EXDEV):
		return folder + " is a mount of its own now, and a file only moves whole by a rename within one. Mount the whole workspace instead"
	case errors.Is(err, syscall.EROFS):
		return "it lies on a file system that is mounted read-only. Mount it writable; the next run takes it"
	case errors.Is(err, syscall.EPERM):
		return fmt.Sprintf("the system does not let %s move it (%v). In a folder with the sticky bit only the owner of a file or of the folder may: chmod -t %s, or chown it to that account. A file that is protected (chattr +i, +a) must be freed. The next run takes it", us, plain(err), folder)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("%s may not move it out of %s (%v). Give that account the right to write %s and state/intake/ (chmod, chown); the next run takes it", us, folder, plain(err), folder)
	}
	return fmt.Sprintf("%v. Look at the disk; the next run tries it again", plain(err))
}

// tellUntaken asks a person for what keeps files in the inbox: one need for each reason.
func (n *Night) tellUntaken() {
	for _, h := range slices.SortedFunc(maps.Keys(n.untaken), func(a, b hindrance) int { return strings.Compare(a.folder+a.why, b.folder+b.why) }) {
		names := n.untaken[h]
		n.untakenFiles += len(names)
		stay := "It stays there: "
		if len(names) > 1 {
			stay = "Each stays there: "
		}
		need := report.Need{What: fmt.Sprintf("%s in %s/ could not be taken", some(names), h.folder), Why: stay + h.why + ".", Command: "reemboss run"}
		if h.cards {
			need.Why += " Until then card numbers may lie there in clear, and requests are decided on the cards as they were known before it."
		}
		n.need(need)
	}
}

// shut is the trouble of a taken file that cannot be read, as far as it concerns its rights.
func shut(f ledger.RequestFile, err error) error {
	return &fileTrouble{what: printable(f.Name) + " cannot be read",
		why: fmt.Sprintf("%v. It was taken and lies in %s, and may hold card numbers in clear; give the account that runs this the right to read it there (chmod, chown), and the next run reads it", plain(err), f.Intake)}
}
