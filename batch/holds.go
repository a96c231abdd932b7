package batch

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strconv"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

// Files that a second person approves. What would become such a file is set
// aside as a hold before it takes a number; the hold has a name and a digest of
// its cards, an approval is for exactly that, and it becomes exactly one file.

// bureauWork is what the stage write has to do for a bureau.
type bureauWork struct {
	bureau   string
	queued   int64         // orders in its queue that no dispute keeps back
	approved []ledger.Hold // that are in no file yet
}

// toWrite gives the bureaus whose orders wait in their queue or in approved holds, in the order of their names.
func (n *Night) toWrite(ctx context.Context) ([]bureauWork, error) {
	work := map[string]bureauWork{}
	queues, err := n.Ledger.Queues(ctx)
	if err != nil {
		return nil, err
	}
	for _, q := range queues {
		if !config.Reserved(q.Recipient) {
			work[q.Recipient] = bureauWork{bureau: q.Recipient, queued: q.Orders - q.Disputed}
		}
	}
	holds, err := n.Ledger.Holds(ctx, ledger.HoldQuery{Open: true})
	if err != nil {
		return nil, err
	}
	for _, h := range holds {
		if h.State == ledger.Approved {
			w := work[h.Bureau]
			w.bureau, w.approved = h.Bureau, append(w.approved, h)
			work[h.Bureau] = w
		}
	}
	var list []bureauWork
	for _, bureau := range slices.Sorted(maps.Keys(work)) {
		list = append(list, work[bureau])
	}
	return list, nil
}

// setAside puts the orders of each file that a second person must approve into
// a hold, and gives how many are left in the queue. A later night's orders never
// join a hold.
func (n *Night) setAside(ctx context.Context, bureau string, b config.Bureau, queued int64) (free int64, err error) {
	for free = queued; free > 0; {
		records := fileSize(b, free)
		if !b.HoldsFile(records) {
			return free, nil
		}
		if err := n.hold(ctx, bureau, records); err != nil {
			return free, err
		}
		free -= records
	}
	return 0, nil
}

// hold sets the first orders of a queue aside.
func (n *Night) hold(ctx context.Context, bureau string, records int64) error {
	before, err := n.Ledger.Holds(ctx, ledger.HoldQuery{Bureau: bureau, RunID: n.run.ID})
	if err != nil {
		return err
	}
	h := ledger.Hold{Name: fmt.Sprintf("hold-%s-%s-%d", bureau, n.run.ID, len(before)+1), Bureau: bureau, RunID: n.run.ID, Records: records, HeldAt: n.Now()}
	if h.Digest, err = n.holdDigest(bureau, func(fn func(*ledger.Order) error) error { return n.Ledger.EachQueued(ctx, bureau, records, fn) }); err != nil {
		return fmt.Errorf("hold %s: %w", h.Name, err)
	}
	n.at("write/hold")
	if _, err := n.Ledger.SetAside(ctx, h, n.entry("hold.made", h.Name, fmt.Sprintf("%s, %d records, digest %s", bureau, records, h.Digest))); err != nil {
		return fmt.Errorf("hold %s: %w", h.Name, err)
	}
	n.at("write/held")
	n.Log.Info().Str("run", n.run.ID).Str("hold", h.Name).Int64("records", records).Msg("held for a second person")
	return nil
}

// holdDigest is keyed, over the bureau and each card with its number and the whole record that it will have: nobody who
// changes the ledger can have another card made under an approval.
func (n *Night) holdDigest(bureau string, orders eachOrder) (string, error) {
	digest := n.keyset.NewDigest("hold")
	writePart(digest, []byte(bureau))
	err := orders(func(o *ledger.Order) error {
		writePart(digest, []byte(o.UID))
		writePart(digest, []byte(o.PAN.Reveal()))
		writePart(digest, []byte(strconv.FormatInt(o.EmbossedCardID, 10)))
		writePart(digest, o.Record)
		return nil
	})
	return hex.EncodeToString(digest.Sum(nil)), err
}

// writePart writes a part with its length before it, so that no two lists of parts are the same bytes.
func writePart(digest hash.Hash, part []byte) {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(part)))
	digest.Write(length[:])
	digest.Write(part)
}

// mayWrite says whether an approved hold becomes a file in this run. One of whose cards the bureau tells what contradicts
// that it made none waits until a person settled it, and one that is not as it was approved stops; the others go on.
func (n *Night) mayWrite(ctx context.Context, h ledger.Hold) (bool, error) {
	why, err := n.disputedHold(ctx, h)
	switch {
	case err != nil:
		return false, err
	case why != "":
		n.wait(h.Bureau, h.Name+" is approved and waits: "+why)
		return false, nil
	}
	return n.asApproved(ctx, h)
}

// asApproved says whether a hold still has the cards that were approved. One that has not stops, and a person is told; the others go on.
func (n *Night) asApproved(ctx context.Context, h ledger.Hold) (bool, error) {
	now, err := n.holdDigest(h.Bureau, func(fn func(*ledger.Order) error) error { return n.Ledger.EachHoldOrder(ctx, h.ID, fn) })
	if err != nil || now == h.Digest {
		return err == nil, err
	}
	n.Log.Error().Str("run", n.run.ID).Str("hold", h.Name).Msg("not what was approved")
	n.need(report.Need{What: h.Name + " is not written: its cards are not those that were approved",
		Why: "Somebody changed the ledger since. Nothing of it is made; find out who did, and put the ledger back from a copy.", Command: "reemboss audit verify"})
	return false, nil
}
