package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"reemboss/batch"
	"reemboss/batch/ledger"
)

// bureauWords are what a hand-written return file names, beside the variables of the script:
//
//	${uid:1001}        of the newest order for card 1001
//	${file:alpha/1}    name of alpha's file number 1
//	${event:1001}      number of the disputed event of card 1001, for reemboss settle
//	${at:-5m}          five minutes ago, to the second, as return files write it
func bureauWords(ts *testscript.TestScript) func(string) string {
	return func(word string) string {
		kind, which, special := strings.Cut(word, ":")
		if !special {
			return ts.Getenv(word)
		}
		w := scriptWorkspace(ts)
		switch kind {
		case "uid":
			return w.newestOrder(cardID(ts, which)).UID
		case "event":
			return fmt.Sprint(w.disputed(cardID(ts, which)))
		case "file":
			recipient, number, _ := strings.Cut(which, "/")
			return w.sentFile(recipient, cardID(ts, number)).Name
		case "at":
			age, err := time.ParseDuration(which)
			ts.Check(err)
			return time.Now().Add(age).UTC().Format(time.RFC3339)
		}
		ts.Fatalf("${%s} is nothing that a script can name", word)
		return ""
	}
}

func cardID(ts *testscript.TestScript, text string) int64 {
	id, err := strconv.ParseInt(text, 10, 64)
	ts.Check(err)
	return id
}

// answer BUREAU FILE… puts return files of the script, expanded, where the simulated bureau leaves them.
func answerFile(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 2, "answer BUREAU FILE…")
	for _, name := range args[1:] {
		text := os.Expand(ts.ReadFile(name), bureauWords(ts))
		scriptWorkspace(ts).write(filepath.Join("simulator", args[0], "returns", filepath.Base(name)), []byte(text))
	}
}

// ordersOf are the orders of a card, oldest first, with their events.
func (w *workspace) ordersOf(card int64) (all []ledger.Shipment) {
	w.tb.Helper()
	w.inside(func(n *batch.Night) {
		var err error
		if all, err = n.Ledger.CardShipments(context.Background(), card); err != nil {
			w.tb.Fatal(err)
		}
	})
	if len(all) == 0 {
		w.tb.Fatalf("card %d has no order", card)
	}
	return all
}

// newestOrder is the one that was accepted last.
func (w *workspace) newestOrder(card int64) ledger.Shipment {
	w.tb.Helper()
	all := w.ordersOf(card)
	return all[len(all)-1]
}

// disputed is the first event of a card's orders that waits for a person.
func (w *workspace) disputed(card int64) int64 {
	w.tb.Helper()
	for _, s := range w.ordersOf(card) {
		for _, e := range s.Events {
			if e.Dispute != "" && e.SettledAt.IsZero() {
				return e.ID
			}
		}
	}
	w.tb.Fatalf("card %d has no disputed event", card)
	return 0
}

// sentFile is an outgoing file by its number.
func (w *workspace) sentFile(recipient string, number int64) (found ledger.BureauFile) {
	w.tb.Helper()
	w.inside(func(n *batch.Night) {
		files, err := n.Ledger.BureauFiles(context.Background(), ledger.FileQuery{})
		if err != nil {
			w.tb.Fatal(err)
		}
		for _, f := range files {
			if f.Recipient == recipient && f.Sequence == number {
				found = f
			}
		}
	})
	if found.ID == 0 {
		w.tb.Fatalf("%s has no file number %d", recipient, number)
	}
	return found
}
