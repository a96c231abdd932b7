package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"reemboss/batch"
	"reemboss/batch/ledger"
)

type cardCommand struct {
	ID   string `arg:"" help:"Card id, or the uid of one of its embossings."`
	JSON bool   `help:"Print the history as JSON."`
}

// Run tells a card's whole history.
func (c *cardCommand) Run(s *session) error {
	n, err := s.open(false)
	if err != nil {
		return err
	}
	defer n.Close()
	h, err := n.Card(s, c.ID)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.out, h)
	}
	printCard(s.out, h)
	return nil
}

func printCard(w io.Writer, h *batch.CardHistory) {
	fmt.Fprintf(w, "card %d  %s  PSN %02d  expiry %s  %s  %s, program %s\n", h.CardID, h.CardNumber, h.PSN, h.Expiry, h.Status, h.Product, h.ProgramID)
	if h.ReplacedBy != 0 {
		fmt.Fprintf(w, "replaced by card %d\n", h.ReplacedBy)
	}
	if i := h.Imported; i != nil {
		fmt.Fprintf(w, "\nshipment told by the card master: %s%s\n", i.State, since(i.At))
	}
	for _, s := range h.Shipments {
		fmt.Fprintf(w, "\n%s  %s: %s\n", s.UID, requestOf(s), s.State)
		fmt.Fprintf(w, "  accepted %s in run %s\n", stamp(s.AcceptedAt), s.RunID)
		if s.EmbossedCardID != h.CardID {
			fmt.Fprintf(w, "  plastic of card %d, %s PSN %02d expiry %s\n", s.EmbossedCardID, s.CardNumber, s.PSN, s.Expiry)
		}
		switch {
		case s.SentAt != nil:
			fmt.Fprintf(w, "  sent to %s %s in %s (number %d), expected %s\n", s.Bureau, stamp(*s.SentAt), s.FileName, s.Sequence, s.ExpectedDelivery)
		case s.FileName != "":
			fmt.Fprintf(w, "  for %s in %s (number %d), which it does not have\n", s.Bureau, s.FileName, s.Sequence)
		case s.State == ledger.Cancelled:
			fmt.Fprintf(w, "  was for %s, cancelled with %s\n", s.Bureau, s.Hold)
		case s.Hold != "":
			fmt.Fprintf(w, "  for %s, waits for a second person in %s\n", s.Bureau, s.Hold)
		default:
			fmt.Fprintf(w, "  for %s, in no file yet\n", s.Bureau)
		}
		for _, e := range s.Events {
			in := ""
			if e.FileName != "" && e.FileName != s.FileName { // it went into another one since
				in = "in " + e.FileName + " "
			}
			fmt.Fprintf(w, "  %s  %-9s %s%s\n", stamp(e.At), e.Status, in, toldBy(e))
			if e.Dispute != "" {
				fmt.Fprintf(w, "      contradicts: %s\n", e.Dispute)
				if e.Settlement != "" {
					fmt.Fprintf(w, "      settled: %s\n", e.Settlement)
				} else {
					for _, word := range []string{"--keep", "--take"} {
						fmt.Fprintf(w, "      reemboss settle %d %s --reason \"…\"\n", e.Event, word)
					}
				}
			}
		}
	}
	if len(h.Shipments) == 0 {
		fmt.Fprintln(w, "\nNever embossed by this workspace.")
	}
}

func requestOf(s batch.ShipmentHistory) string {
	if s.Request == "reemboss" {
		return fmt.Sprintf("re-embossing %d of card %d", s.Reembossing, s.CardID)
	}
	return fmt.Sprintf("reissue of card %d, reason %d", s.CardID, s.Reason)
}

// toldBy says who told of an event, and what else it said.
func toldBy(e batch.EventHistory) string {
	var parts []string
	for _, part := range []string{e.Code, e.Description, e.Carrier, e.TrackingNumber} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	who := "told by the " + e.Source
	if e.ReturnFile != "" {
		who = fmt.Sprintf("%s line %d", e.ReturnFile, e.Line)
	}
	return strings.Join(append(parts, "("+who+")"), " ")
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func since(t *time.Time) string {
	if t == nil {
		return ""
	}
	return " since " + stamp(*t)
}
