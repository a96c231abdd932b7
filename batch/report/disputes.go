package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"reemboss/batch/ledger"
	"reemboss/formats/returns"
)

// This file asks what a person must settle about what bureaus sent back.

// maxDisputes is how many disputed events are asked about one by one.
const maxDisputes = 20

// needSettlements asks about return files in quarantine and events that contradict each other, of whatever age.
func (g *gathering) needSettlements() error {
	files, err := g.ledger.ReturnFiles(g.ctx, ledger.ReturnQuery{States: []ledger.ReturnState{ledger.ReturnQuarantined}})
	if err != nil {
		return err
	}
	for _, f := range files {
		if g.later[f.RunID] {
			continue
		}
		g.need(fmt.Sprintf("The return file %s of %s is in quarantine: %s", f.Name, g.bureauName(f.Bureau), f.Code),
			why(bureauWords(f.Detail), "It contradicts itself.")+" Nothing of it was done. Read it again once the cause is mended, or dismiss it.",
			withReason("reemboss settle "+returnPlace(&f), "--read-again", "--dismiss")...)
	}
	disputes, all, err := g.ledger.Disputes(g.ctx, maxDisputes)
	if err != nil {
		return err
	}
	var uids []string
	for _, e := range disputes {
		if e.UID != "" {
			uids = append(uids, e.UID)
		}
	}
	shipments, err := g.ledger.Shipments(g.ctx, uids)
	if err != nil {
		return err
	}
	for _, e := range disputes {
		if err := g.needDispute(&e, shipments[e.UID]); err != nil {
			return err
		}
	}
	if all > int64(len(disputes)) {
		return g.needMoreDisputes(disputes)
	}
	return nil
}

// returnPlace names a return file for a command: by its place, as a bureau may send one name twice.
func returnPlace(f *ledger.ReturnFile) string { return Quoted(cmp.Or(f.Final, f.Name)) }

// needDispute asks about one event; s is its order, nil for a file as a whole.
func (g *gathering) needDispute(e *ledger.Event, s *ledger.Shipment) error {
	said := sentence(bureauWords(e.Dispute))
	options := []string{"--keep"}
	hold, err := g.restoredHold(s)
	if err != nil {
		return err
	}
	because, err := g.cannotCount(e, s)
	if err != nil {
		return err
	}
	switch {
	case hold != "":
		said += fmt.Sprintf(" The card waits in %s since the ledger was restored, and a lost night may have made it. Where it did, resolve the hold and keep what is known then; where it did not, keep what is known.", hold)
	case because != "":
		said += " " + because + " Keep what is known."
	default:
		options = append(options, "--take")
		said += " Keep what is known, or take what this event says."
		if f := g.byID[e.FileID]; e.UID == "" && e.Status == returns.Received && f != nil && e.Count >= 0 && e.Count != f.Records {
			said += fmt.Sprintf(" --take acknowledges all cards of the file, though the bureau counted %s and the file has %s.", thousands(e.Count), plural(f.Records, "record"))
		}
	}
	commands := withReason(fmt.Sprintf("reemboss settle %d", e.ID), options...)
	if hold != "" {
		commands = append(withReason("reemboss resolve "+Quoted(hold), "--delivered"), commands...)
	}
	g.need(fmt.Sprintf("%s: %s of %s contradicts what is known", g.subject(e, s), e.Status, e.At.UTC().Format("2006-01-02 15:04 UTC")), said, commands...)
	return nil
}

// restoredHold names the hold of a restoration in which a card waits; "" for none.
func (g *gathering) restoredHold(s *ledger.Shipment) (string, error) {
	if s == nil || s.State != ledger.Queued || s.HoldID == 0 {
		return "", nil
	}
	holds, err := g.ledger.Holds(g.ctx, ledger.HoldQuery{Bureau: s.Bureau, Open: true})
	for _, h := range holds {
		if h.ID == s.HoldID && h.Restored {
			return h.Name, err
		}
	}
	return "", err
}

// subject names the card or the file of an event.
func (g *gathering) subject(e *ledger.Event, s *ledger.Shipment) string {
	file := fmt.Sprintf("bureau file %d", e.FileID)
	if f := g.byID[e.FileID]; f != nil {
		file = f.Name
	}
	switch {
	case e.UID == "":
		return file
	case s == nil:
		return "Card " + e.UID + " of " + file
	case e.FileID == 0:
		return fmt.Sprintf("Card %d (%s, %s)", s.EmbossedCardID, e.UID, s.PAN.Masked())
	}
	return fmt.Sprintf("Card %d (%s, %s) of %s", s.EmbossedCardID, e.UID, s.PAN.Masked(), file)
}

// cannotCount says, in one sentence, why an event cannot be taken; "" when it can.
func (g *gathering) cannotCount(e *ledger.Event, s *ledger.Shipment) (string, error) {
	if e.UID != "" {
		switch {
		case s == nil:
			return "Its order is not in the ledger.", nil
		case s.State == ledger.Cancelled:
			return "The order was cancelled, and its card is in no file.", nil
		case s.State == ledger.Queued && len(s.Left) == 0:
			return "The card waits for the bureau's next file and was in none before, so nothing can have happened to it.", nil
		case s.State != ledger.Queued && s.BureauFileID != e.FileID:
			return fmt.Sprintf("The card went into another file (%s) since.", s.FileName), nil
		}
		return "", nil
	}
	f := g.byID[e.FileID]
	if f == nil {
		return "", nil
	}
	switch f.State {
	case ledger.Sent, ledger.Undecided, ledger.Renaming:
		return "", nil
	case ledger.Refused:
		if e.Status == returns.Received { // the bureau took it after all
			return "", nil
		}
	case ledger.Void:
		waiting, err := g.ledger.LeftWaiting(g.ctx, f.ID)
		if err != nil || waiting > 0 && e.Status == returns.Received { // they were made from it
			return "", err
		}
	}
	return fmt.Sprintf("The file is %s: what the bureau says of it cannot count.", f.State), nil
}

// needMoreDisputes asks about the disputed events beyond those that stand one by one: once for each return file.
func (g *gathering) needMoreDisputes(listed []ledger.Event) error {
	left, err := g.ledger.DisputesByReturn(g.ctx)
	if err != nil {
		return err
	}
	for _, e := range listed {
		left[e.ReturnID]--
	}
	files, err := g.ledger.ReturnFiles(g.ctx, ledger.ReturnQuery{})
	if err != nil {
		return err
	}
	byID := map[int64]*ledger.ReturnFile{}
	for i := range files {
		byID[files[i].ID] = &files[i]
	}
	for _, id := range slices.Sorted(maps.Keys(left)) {
		n := left[id]
		if n <= 0 {
			continue
		}
		verb := "contradict"
		if n == 1 {
			verb = "contradicts"
		}
		f := byID[id]
		if f == nil {
			g.need(fmt.Sprintf("%s %s what is known", plural(n, "more event"), verb), "Settle those above first; the next report lists more.", "reemboss status")
			continue
		}
		g.need(fmt.Sprintf("%s of %s %s what is known", plural(n, "more event"), f.Name, verb),
			"They changed nothing. Keep what is known, or take what they say: either settles every event of this return file that waits, those above too. What cannot be taken waits on.",
			withReason("reemboss settle "+returnPlace(f), "--keep", "--take")...)
	}
	return nil
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
