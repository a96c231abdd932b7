package report

import (
	"strings"
	"testing"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

// pinFile is a PIN file of the small night.
func pinFile(id, records int64, state ledger.BureauFileState) ledger.BureauFile {
	return ledger.BureauFile{ID: id, Recipient: config.PINRecipient, Sequence: id, Name: "pins_20261121_00000" + string(rune('0'+id%10)) + ".csv.pgp", State: state, RunID: runID,
		PlannedAt: written, WrittenAt: written, Records: records, Size: 500, SHA256: strings.Repeat("d4", 32)}
}

func TestPINsAreCountedAndTheirFilesListedApart(t *testing.T) {
	r := gatherSmall(t, func(m *memory, _ *Extra) {
		m.pins = map[ledger.NewPIN]int64{ledger.PINInFile: 5, ledger.PINDue: 2}
		m.sealed = append(m.sealed, pinFile(20, 3, ledger.Sent))
		m.sealed[len(m.sealed)-1].SentRunID, m.sealed[len(m.sealed)-1].SentAt = runID, written
	})
	if r.PINsDue != 2 || r.PINsWritten != 3 || r.PINsWaiting != 0 {
		t.Errorf("due %d, written %d, waiting %d", r.PINsDue, r.PINsWritten, r.PINsWaiting)
	}
	if len(r.PINFiles) != 1 || !r.PINFiles[0].Balanced || r.PINFiles[0].Records != 3 {
		t.Errorf("PIN files %+v", r.PINFiles)
	}
	for _, f := range append(r.ListedFiles(), r.CardSystemFiles...) {
		if f.Bureau == config.PINRecipient {
			t.Errorf("%s is listed among other files", f.Name)
		}
	}
	for _, b := range r.Balances {
		if !b.Holds {
			t.Errorf("with a PIN file %s does not hold", b.Name)
		}
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "2 new PINs are due") {
		t.Errorf("notes:\n%s", notes)
	}
}

func TestPINsThatAreInNoFileNeedAPerson(t *testing.T) {
	const why = "the HSM does not answer"
	r := gatherSmall(t, func(m *memory, e *Extra) {
		m.queues = []ledger.Queue{{Recipient: "alpha", Orders: 9}, {Recipient: config.PINRecipient, Orders: 2}}
		m.sealed = append(m.sealed, pinFile(20, 3, ledger.Planned))
		e.Bureaus[config.PINRecipient] = Bureau{Name: "PIN files", Waits: why}
	})
	if r.PINsWaiting != 5 || r.PINsWritten != 0 {
		t.Errorf("waiting %d, written %d", r.PINsWaiting, r.PINsWritten)
	}
	for _, n := range r.NeedsPerson {
		if n.What == "5 new PINs in no PIN file" && n.Why == why && n.Command == "reemboss run" {
			return
		}
	}
	t.Errorf("needs %+v", r.NeedsPerson)
}

func TestTheRecipientOfPINsIsNoBureau(t *testing.T) {
	r := gatherSmall(t, func(m *memory, e *Extra) {
		e.Bureaus[config.PINRecipient] = Bureau{Name: "PIN files"}
		m.sealed = append(m.sealed, pinFile(20, 3, ledger.Sent))
	})
	for _, b := range r.ByBureau {
		if b.Bureau == config.PINRecipient {
			t.Errorf("%+v", b)
		}
	}
}
