package report

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"reemboss/batch/ledger"
)

func (g *gathering) need(what, why, command string) {
	g.NeedsPerson = append(g.NeedsPerson, Need{What: what, Why: why, Command: command})
}

// needFile tells of an outgoing file that is not where it belongs.
func (g *gathering) needFile(f *ledger.BureauFile) error {
	what := fmt.Sprintf("%s for %s (%s) is not sent: %s", f.Name, f.Recipient, plural(f.Records, "record"), f.State)
	switch f.State {
	case ledger.Sent, ledger.Void, ledger.Planned: // what is only planned stands under the orders that wait
	case ledger.Refused:
		return g.needRefused(f)
	case ledger.Undecided:
		what = fmt.Sprintf("%s for %s (%s) may or may not have arrived: %s", f.Name, f.Recipient, plural(f.Records, "record"), f.State)
		g.need(what, why(f.LastError, "The connection was lost while the file got its final name, and nobody here can know whether it did. Ask the bureau whether it has the file."),
			"reemboss resolve "+quoted(f.Name)+` --delivered|--resend --reason "…"`)
	default:
		g.need(what, why(f.LastError, "The transfer did not come to its end."), "reemboss run")
	}
	return nil
}

// needRefused tells of a file that its bureau refused as a whole, in the bureau's words.
func (g *gathering) needRefused(f *ledger.BureauFile) error {
	events, err := g.ledger.FileEvents(g.ctx, f.ID)
	if err != nil {
		return fmt.Errorf("read what was said of %s: %w", f.Name, err)
	}
	said := ""
	for _, e := range events { // the newest refusal is the last one
		if e.Status == "REFUSED" && e.Dispute == "" {
			said = strings.TrimSpace(e.Code + " " + bureauWords(e.Description))
		}
	}
	reason := "The bureau gave no reason."
	if said != "" {
		reason = "The bureau says: " + strings.TrimRight(said, ".") + "."
	}
	g.NeedsPerson = append(g.NeedsPerson, Need{
		What:    fmt.Sprintf("%s refused %s (%s) as a whole", g.bureauName(f.Recipient), f.Name, plural(f.Records, "record")),
		Why:     reason + " Send the same bytes again once the bureau can take them, or cancel the file: its number is then void and its orders go into a new file.",
		Command: "reemboss resend " + quoted(f.Name) + ` --reason "…"`,
		Or:      []string{"reemboss cancel " + quoted(f.Name) + ` --reason "…"`},
	})
	return nil
}

func (g *gathering) bureauName(bureau string) string {
	return cmp.Or(g.extra.Bureaus[bureau].Name, bureau)
}

// maxDisputes is how many disputed events are asked about one by one.
const maxDisputes = 20

// needSettlements asks about return files in quarantine and events that contradict each other, of whatever age.
func (g *gathering) needSettlements() error {
	files, err := g.ledger.ReturnFiles(g.ctx, ledger.ReturnQuery{States: []ledger.ReturnState{ledger.ReturnQuarantined}})
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.RunID > g.run.ID {
			continue
		}
		g.need(fmt.Sprintf("The return file %s of %s is in quarantine: %s", f.Name, g.bureauName(f.Bureau), f.Code),
			why(bureauWords(f.Detail), "It contradicts itself.")+" Nothing of it was done. Read it again once the cause is mended, or dismiss it.",
			"reemboss settle "+quoted(f.Name)+` --read-again|--dismiss --reason "…"`)
	}
	disputes, all, err := g.ledger.Disputes(g.ctx, maxDisputes)
	if err != nil {
		return err
	}
	for _, e := range disputes {
		g.needDispute(&e)
	}
	if left := all - int64(len(disputes)); left > 0 {
		g.need(plural(left, "more event")+" contradict what is known", "Settle those above first; the next report lists more.", "reemboss status")
	}
	return nil
}

func (g *gathering) needDispute(e *ledger.Event) {
	file := fmt.Sprintf("bureau file %d", e.FileID)
	if f := g.byID[e.FileID]; f != nil {
		file = f.Name
	}
	subject := "Card " + e.UID + " of " + file
	if e.UID == "" {
		subject = file
	}
	g.need(fmt.Sprintf("%s: %s of %s contradicts what is known", subject, e.Status, e.At.UTC().Format("2006-01-02 15:04 UTC")),
		sentence(bureauWords(e.Dispute))+" Keep what is known, or take what this event says.",
		fmt.Sprintf(`reemboss settle %d --keep|--take --reason "…"`, e.ID))
}

// sentence is text with a capital first and a full stop last.
func sentence(text string) string {
	text = strings.TrimRight(strings.TrimSpace(text), ".")
	if text == "" {
		return "It does not say why."
	}
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:] + "."
}

// needLines asks about the lines of each return file that could not be used.
func (g *gathering) needLines(files []ledger.ReturnFile) {
	for _, f := range files {
		if n := g.unusable[f.ID]; n > 0 {
			g.need(fmt.Sprintf("%s of %s from %s could not be used", plural(n, "line"), f.Name, g.bureauName(f.Bureau)),
				"The others were. returns.csv in this folder says of each what is wrong; have the bureau send these again, corrected, in a new file.", "")
		}
	}
}

func (g *gathering) needWait(w Wait) {
	reason := w.Reason
	for i := range g.files {
		f := &g.files[i]
		if reason == "" && f.Recipient == w.Bureau && f.State == ledger.Planned {
			reason = f.LastError
		}
	}
	since := ""
	if w.RunID != g.run.ID {
		since = ", accepted in run " + w.RunID
	}
	g.need(fmt.Sprintf("%s for %s in no file%s", plural(w.Orders, "accepted order"), w.Bureau, since),
		why(reason, "The run ended before their file was written."), "reemboss run")
}

func (g *gathering) needRequestFile(f RequestFile) {
	if f.Code == "" {
		return
	}
	where := f.Final
	if where == "" {
		where = f.Name
	}
	if f.Code == "duplicate_file" {
		g.need(f.Name+" was not done again", why(f.Detail, "The same content came before."), "reemboss status")
		return
	}
	again := "reemboss check "
	if f.Kind == "cards" {
		again = "reemboss cards import "
	}
	command := again + quoted(where)
	if f.Kind != "cards" && strings.HasSuffix(where, ".pgp") { // sealed to us because it holds card numbers
		command = "gpg --decrypt " + quoted(where)
	}
	g.need(f.Name+" was refused as a whole: "+string(f.Code), why(f.Detail, "Nothing of it was done."), command)
}

// quoted is a file name as a shell takes it.
func quoted(name string) string {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/+,:@") == "" {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

func why(known, otherwise string) string {
	if known != "" {
		return known
	}
	return otherwise
}
