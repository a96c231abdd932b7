package notify

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"reemboss/batch/ledger"
)

// Limits of the events' way.
const (
	MaxEventLine  = 1 << 20 // bytes of one event in events.ndjson, line end included
	enqueueChunk  = 1000    // events that are stored together
	maxChunkBytes = 8 << 20 // and their bytes, one event more at most
	maxBatchBytes = 4 << 20 // of one request; a single larger event goes alone
)

const eventBatchType = "application/cloudevents-batch+json"

// Events brings what is in the outbox to the event webhook, in its order, in
// batches, until nothing is left or a batch is not taken. That batch and what comes
// after it stay for the next call; err is then a [Failure], or the outbox's own error.
//
// A batch is taken out only after the receiver said yes. If the process dies or
// the answer is lost in between, the receiver gets it again: each event with
// the id that it had, and a batch of the same events with the same webhook-id.
// Without a webhook nothing is sent and left is what waits.
func (n *Notifier) Events(ctx context.Context, outbox ledger.Outbox) (delivered, left int64, err error) {
	if n.events != nil {
		defer n.events.client.CloseIdleConnections()
		delivered, err = n.drain(ctx, outbox)
	}
	left, countErr := outbox.CountPending(context.WithoutCancel(ctx))
	if countErr != nil {
		err = errors.Join(err, fmt.Errorf("count the events that wait: %w", countErr))
	}
	return delivered, left, err
}

func (n *Notifier) drain(ctx context.Context, outbox ledger.Outbox) (delivered int64, err error) {
	for {
		pending, err := outbox.Pending(ctx, "", n.batch)
		if err != nil {
			return delivered, fmt.Errorf("read the events that wait: %w", err)
		}
		if len(pending) == 0 {
			return delivered, nil
		}
		batch := upTo(pending, maxBatchBytes)
		if err := n.deliver(ctx, outbox, batch); err != nil {
			return delivered, err
		}
		delivered += int64(len(batch))
	}
}

// upTo is the first of events with at most limit bytes together, and at least one.
func upTo(events []ledger.OutboxEvent, limit int) []ledger.OutboxEvent {
	size := 0
	for i, e := range events {
		if size += len(e.Body) + 1; size > limit && i > 0 {
			return events[:i]
		}
	}
	return events
}

// deliver brings one batch there and records what became of it, also when the run is being stopped.
func (n *Notifier) deliver(ctx context.Context, outbox ledger.Outbox, batch []ledger.OutboxEvent) error {
	ids, body := batchOf(batch)
	failed := n.events.keepCalling(ctx, n.events.post("evt_"+digest(ids...), eventBatchType, body))
	record := context.WithoutCancel(ctx)
	if failed == nil {
		if err := outbox.Delivered(record, ids, n.now()); err != nil {
			return fmt.Errorf("record that events were delivered (they are sent again): %w", err)
		}
		return nil
	}
	if err := outbox.NotDelivered(record, ids, n.now(), failed.Why); err != nil {
		return errors.Join(*failed, fmt.Errorf("record that events were not delivered: %w", err))
	}
	return *failed
}

// batchOf is the JSON array of the events as they were stored, and their ids.
func batchOf(events []ledger.OutboxEvent) (ids []string, body []byte) {
	var list bytes.Buffer
	list.WriteByte('[')
	for i, e := range events {
		if i > 0 {
			list.WriteByte(',')
		}
		list.Write(e.Body)
		ids = append(ids, e.ID)
	}
	list.WriteByte(']')
	return ids, list.Bytes()
}

// EnqueueEvents puts the lines of an events.ndjson into the outbox and gives
// how many were new: a file that is enqueued again adds nothing. Blank lines are
// skipped. A line that is no CloudEvent or is longer than [MaxEventLine] is an error that
// names it by its number; what came before it may be stored already, which a repeat finds.
func EnqueueEvents(ctx context.Context, outbox ledger.Outbox, runID string, ndjson io.Reader, at time.Time) (int64, error) {
	q := queue{outbox: outbox, runID: runID, at: at}
	lines := bufio.NewScanner(ndjson)
	lines.Buffer(make([]byte, 0, 64<<10), MaxEventLine)
	for lines.Scan() {
		q.line++
		if err := q.add(ctx, lines.Bytes()); err != nil {
			return q.added, err
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return q.added, fmt.Errorf("events of run %s, line %d: longer than %d bytes; write the report again (reemboss report %s)", runID, q.line+1, MaxEventLine, runID)
	case err != nil:
		return q.added, fmt.Errorf("events of run %s, line %d: %w", runID, q.line+1, err)
	}
	err := q.store(ctx)
	return q.added, err
}

// queue collects events until there are enough to store.
type queue struct {
	outbox ledger.Outbox
	runID  string
	at     time.Time
	line   int
	chunk  []ledger.OutboxEvent
	size   int
	added  int64
}

func (q *queue) add(ctx context.Context, text []byte) error {
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return nil
	}
	var event struct {
		SpecVersion string `json:"specversion"`
		ID          string `json:"id"`
	}
	// The decoder's error is left out: it may quote the line.
	if json.Unmarshal(text, &event) != nil || event.SpecVersion == "" || event.ID == "" {
		return fmt.Errorf("events of run %s, line %d: not a CloudEvent in JSON; write the report again (reemboss report %s)", q.runID, q.line, q.runID)
	}
	q.chunk = append(q.chunk, ledger.OutboxEvent{ID: event.ID, RunID: q.runID, Body: bytes.Clone(text)})
	q.size += len(text)
	if len(q.chunk) < enqueueChunk && q.size < maxChunkBytes {
		return nil
	}
	return q.store(ctx)
}

func (q *queue) store(ctx context.Context) error {
	if len(q.chunk) == 0 {
		return nil
	}
	added, err := q.outbox.Enqueue(ctx, q.chunk, q.at)
	if err != nil {
		return fmt.Errorf("put events of run %s, up to line %d, into the outbox: %w", q.runID, q.line, err)
	}
	q.added += added
	q.chunk, q.size = nil, 0
	return nil
}
