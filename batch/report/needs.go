package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/rules"
)

// need asks a person for something, with the commands to choose from.
func (g *gathering) need(what, why string, commands ...string) {
	n := Need{What: what, Why: why}
	if len(commands) > 0 {
		n.Command, n.Or = commands[0], commands[1:]
	}
	g.NeedsPerson = append(g.NeedsPerson, n)
}

// Choices are the commands that settle a need, each to be pasted as it is.
func (n Need) Choices() []string {
	if n.Command == "" {
		return nil
	}
	return append([]string{n.Command}, n.Or...)
}

// single makes a command of its own of each way that one offers with a bar,
// which would be a pipe in a shell.
func (n Need) single() Need {
	words := strings.Split(n.Command, " ")
	for i, word := range words {
		if !strings.HasPrefix(word, "--") || !strings.Contains(word, "|") {
			continue
		}
		var all []string
		for choice := range strings.SplitSeq(word, "|") {
			words[i] = choice
			all = append(all, strings.Join(words, " "))
		}
		n.Command, n.Or = all[0], append(all[1:], n.Or...)
		break
	}
	return n
}

// withReason gives a command with each of these options, and with a reason to be filled in.
func withReason(command string, options ...string) []string {
	list := make([]string, len(options))
	for i, option := range options {
		list[i] = command + " " + option + ` --reason "…"`
	}
	return list
}

// unknownHost is in why a file was not sent to a server that does not show the known host key (bureau.ErrHostKey).
const unknownHost = "the host key is not the known one"

// PinHost is the command that shows the host keys of a recipient's server, and how the right one is pinned; to try again before helps nothing.
func PinHost(recipient string) string { return "reemboss bureau pin-host " + Quoted(recipient) }

// needFile tells of an outgoing file that is not where it belongs.
func (g *gathering) needFile(f *ledger.BureauFile) error {
	what := fmt.Sprintf("%s for %s (%s) is not sent: %s", f.Name, f.Recipient, plural(f.Records, "record"), f.State)
	switch f.State {
	case ledger.Sent, ledger.Void:
	case ledger.Planned: // one that nothing keeps from being written stands under the orders that wait
		if f.LastError != "" {
			g.need(fmt.Sprintf("%s for %s (%s) cannot be written, and the files after it wait", f.Name, f.Recipient, plural(f.Records, "record")),
				strings.TrimRight(f.LastError, ".")+". Mend that and run again; where it can never be mended, cancel the file: it never left, its number is then void and its orders go into a new file.",
				"reemboss cancel "+Quoted(f.Name)+` --reason "…"`, "reemboss run")
		}
	case ledger.Refused:
		return g.needRefused(f)
	case ledger.Undecided:
		what = fmt.Sprintf("%s for %s (%s) may or may not have arrived: %s", f.Name, f.Recipient, plural(f.Records, "record"), f.State)
		g.need(what, why(f.LastError, "The connection was lost while the file got its final name, and nobody here can know whether it did. Ask the bureau whether it has the file."),
			withReason("reemboss resolve "+Quoted(f.Name), "--delivered", "--resend")...)
	default:
		command := "reemboss run"
		if strings.Contains(f.LastError, unknownHost) {
			command = PinHost(f.Recipient)
		}
		g.need(what, why(f.LastError, "The transfer did not come to its end."), command)
	}
	return nil
}

// needRefused tells of a file that its bureau refused as a whole, in the bureau's words.
func (g *gathering) needRefused(f *ledger.BureauFile) error {
	events, err := g.ledger.FileEvents(g.ctx, f.ID)
	if err != nil {
		return fmt.Errorf("read what was said of %s: %w", f.Name, err)
	}
	said, at := "", time.Time{}
	for _, e := range events { // the newest refusal is the last one
		if e.Status == "REFUSED" && e.Dispute == "" {
			at, said = e.At, strings.TrimSpace(e.Code+" "+bureauWords(e.Description))
		}
	}
	reason := "The bureau gave no reason."
	if said != "" {
		reason = "The bureau says: " + strings.TrimRight(said, ".") + "."
	}
	lost, err := g.restoredSince(at)
	if err != nil {
		return err
	}
	reason += lost
	what := fmt.Sprintf("%s refused %s (%s) as a whole", g.bureauName(f.Recipient), f.Name, plural(f.Records, "record"))
	since, first, err := g.ledger.AskedSince(g.ctx, f.ID)
	if err != nil {
		return fmt.Errorf("read what was asked for since %s: %w", f.Name, err)
	}
	states, err := g.ledger.OrderStates(g.ctx, f.ID)
	if err != nil {
		return fmt.Errorf("read what became of the cards of %s: %w", f.Name, err)
	}
	because := ""
	switch made := ledger.Made(states); {
	case made > 0:
		because = fmt.Sprintf("it is not to be sent again: %s of it came to be made all the same.", plural(made, "card"))
	case since > 0:
		because = askedSince(since, first)
	}
	if because != "" {
		g.need(what, reason+" Cancel the file: its number is then void and its other orders go into a new file. As it is, "+because,
			"reemboss cancel "+Quoted(f.Name)+` --reason "…"`)
		return nil
	}
	g.need(what, reason+" Send the same bytes again once the bureau can take them, or cancel the file: its number is then void and its orders go into a new file.",
		"reemboss resend "+Quoted(f.Name)+` --reason "…"`, "reemboss cancel "+Quoted(f.Name)+` --reason "…"`)
	return nil
}

// restoredSince warns of a refusal from before a restoration: what a lost night did about it, this ledger does not know.
func (g *gathering) restoredSince(refused time.Time) (string, error) {
	all, err := g.ledger.Restorations(g.ctx)
	if err != nil {
		return "", fmt.Errorf("read when the ledger was restored: %w", err)
	}
	if len(all) == 0 || !refused.Before(all[len(all)-1].At) {
		return "", nil
	}
	return " The ledger was restored since, and a lost night may have dealt with it: ask the bureau first whether it got this file again, or its cards in another file. If it did, they would be made twice: " +
		"have it acknowledge this file in a return file, and take that (reemboss settle). If it did not:", nil
}

func (g *gathering) bureauName(bureau string) string {
	return cmp.Or(g.extra.Bureaus[bureau].Name, bureau)
}

// needLines asks about the lines of each return file that could not be used.
func (g *gathering) needLines(files []ledger.ReturnFile) {
	for _, f := range files {
		if n := g.unusable[f.ID]; n > 0 {
			var again []string
			if f.State == ledger.ReturnApplied {
				again = withReason("reemboss settle "+returnPlace(&f), "--read-again")
			}
			g.need(fmt.Sprintf("%s of %s from %s could not be used", plural(n, "line"), f.Name, g.bureauName(f.Bureau)),
				"The others were. returns.csv in this folder says of each what is wrong. What returns.mapping did not know is mended there, and the file read again; what the bureau wrote wrongly it sends again, corrected.", again...)
		}
	}
}

// waitsFor says why a bureau's orders wait; "" where only the next run has to come.
func (g *gathering) waitsFor(bureau string) string {
	if b, configured := g.extra.Bureaus[bureau]; configured {
		return b.Waits
	}
	return fmt.Sprintf("config.yaml has no bureau %s any more, and no other bureau makes its orders. Put it back, and the next run writes them.", bureau)
}

func (g *gathering) needWait(w Wait) {
	if slices.ContainsFunc(g.ListedFiles(), func(f BureauFile) bool { return f.Name == w.Hold && f.waits() }) {
		return // asked about as a whole
	}
	reason := w.Reason
	if w.Hold != "" {
		reason = why(reason, w.Hold+" is approved; the next run writes it.")
	}
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
		why(reason, "They are in no file yet; the next run writes one."), "reemboss run")
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
	if f.Code == rules.FileSignatureInvalid || f.Code == rules.SubmitterNotAllowed || f.Code == rules.ReferenceConflict { // who sent it must act
		g.need(f.Name+" was refused as a whole: "+string(f.Code), why(f.Detail, "Nothing of it was done."), "reemboss status")
		return
	}
	command := again + Quoted(where)
	if f.Kind != "cards" && strings.HasSuffix(where, ".pgp") { // sealed to us because it holds card numbers
		command = "gpg --decrypt " + Quoted(where)
	}
	g.need(f.Name+" was refused as a whole: "+string(f.Code), why(f.Detail, "Nothing of it was done."), command)
}

// Quoted is a file name as a shell takes it.
func Quoted(name string) string {
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
