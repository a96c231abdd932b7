package batch

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"reemboss/batch/report"
)

// What a restore asks a person: by how much numbers skip ahead. The disk knows
// the numbers of lost nights where its marks survived; where they did not, only
// a person can say how many nights there were and how much they gave out.

// lostSince is what the disk says of the time since the backup.
type lostSince struct {
	marked bool  // the marks of the lost nights are here, and of no others
	went   bool  // something happened since the backup
	files  bool  // of which nothing tells how many cards they have
	runs   int64 // that began since
	days   int64 // from the backup to now, begun ones counted
}

// since holds the backup against the disk. Marks as old as the backup, or older, say nothing of what came after;
// nor does a ledger without its marks: nobody can tell whether it is the newest one.
func (n *Night) since(list *backupList, present presentLedger) lostSince {
	newest := max(n.marks.audit.Seq, present.head.Seq)
	s := lostSince{marked: n.marks.there && newest > list.Audit.Seq, went: newest > list.Audit.Seq,
		days: int64(math.Ceil(n.Now().Sub(list.MadeAt).Hours() / 24))}
	s.runs = max(0, max(n.marks.high["runs"], present.counters["runs"])-list.Counters["runs"])
	if list.OpenRun != "" { // it may have gone on
		s.runs++
	}
	return s
}

// skip is what the person said; where a number is missing it is a [SetupError] that tells all that is known and what may be said.
func (n *Night) skip(r RestoreRequest, list *backupList, backup, lowest map[string]int64, since lostSince) (Skip, error) {
	var s Skip
	missing := false
	for _, f := range []struct {
		said *int64
		to   *int64
		most int64 // more is said by mistake
		flag string
	}{{r.Sequences, &s.Sequences, 100_000, "--skip-sequences"}, {r.Cards, &s.Cards, 1_000_000_000, "--skip-cards"}, {r.PSNs, &s.PSNs, 99, "--skip-psns"}, {r.Runs, &s.Runs, 100_000, "--skip-runs"}} {
		switch {
		case f.said == nil:
			missing = true
			continue
		case *f.said < 0 || *f.said > f.most:
			return s, setup("%s is %d; these numbers skip ahead by 0 to %d", f.flag, *f.said, f.most)
		}
		*f.to = *f.said
	}
	if missing {
		return s, setup("%s", n.ask(r, list, backup, lowest, since))
	}
	if s.PSNs == 0 && since.went {
		return s, setup("--skip-psns is 0, and nights went on after this backup: a card that they reissued under its number would get the same sequence number (PSN) again; say at least 1")
	}
	if s.Cards == 0 && since.files {
		return s, setup("--skip-cards is 0, and outbox/ has files of a night that neither marks, ledger nor reports count; say at least how many new cards they may have")
	}
	return s, nil
}

// ask tells what is known and suggests what to say.
func (n *Night) ask(r RestoreRequest, list *backupList, backup, lowest map[string]int64, since lostSince) string {
	var out strings.Builder
	fmt.Fprintf(&out, "say by how much numbers skip ahead; nothing was changed.\n\nThe backup was made at %s. What was given out by then, and what this disk (marks, ledger, sealed files, reports) says may have been given out by now:\n\n", list.MadeAt.Format("2006-01-02 15:04 UTC"))
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  \tbackup\tdisk\n")
	for _, name := range slices.Sorted(maps.Keys(lowest)) {
		if strings.HasPrefix(name, "begun/") || strings.HasPrefix(name, "run/") {
			continue
		}
		fmt.Fprintf(w, "  %s\t%d\t%d\n", name, backup[name], lowest[name])
	}
	_ = w.Flush() // into memory
	s := suggested(list, since)
	if since.marked {
		fmt.Fprintf(&out, "\nThe marks of this disk are newer than the backup. If it is the disk of the last run, they know every number that left the house; each restore goes on after them.\n")
	} else {
		fmt.Fprintf(&out, "\nThis disk has no marks of the last run. Ask every bureau for its last number; what follows is twice what the %s until now would have taken at the pace until then.\n", inDays(since.days))
	}
	fmt.Fprintf(&out, "Numbers that are skipped are lost; numbers that are given twice are a card embossed twice. When in doubt, say more.\n\n")
	fmt.Fprintf(&out, "  reemboss restore %s --skip-sequences %d --skip-cards %d --skip-psns %d --skip-runs %d --reason \"…\"\n", report.Quoted(r.File), s.Sequences, s.Cards, s.PSNs, s.Runs)
	return out.String()
}

// suggested is enough where the marks survived; else it is twice the pace of the runs until the backup, and a little more.
func suggested(list *backupList, since lostSince) Skip {
	if since.marked {
		return Skip{PSNs: min(since.runs+1, 10)}
	}
	runs := max(1, list.Counters["runs"])
	pace := func(prefix string) int64 {
		var most int64
		for name, value := range list.Counters {
			if strings.HasPrefix(name, prefix) {
				most = max(most, value)
			}
		}
		return 2*since.days*int64(math.Ceil(float64(most)/float64(runs))) + 10
	}
	return Skip{Sequences: pace("sequence/"), Cards: 10 * max(pace("range/"), pace(cardIDCounter)), PSNs: min(since.days+1, 10), Runs: 2*since.days + 10}
}

func inDays(n int64) string {
	if n == 1 {
		return "day"
	}
	return fmt.Sprintf("%d days", n)
}
