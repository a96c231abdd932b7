package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

// box is an outbox in memory.
type box struct {
	ids     map[string]bool
	pending []ledger.OutboxEvent
	why     string
	chunks  []int // sizes of what was enqueued together
	broken  error // of Delivered
}

func newBox() *box { return &box{ids: map[string]bool{}} }

func (b *box) Enqueue(_ context.Context, events []ledger.OutboxEvent, _ time.Time) (int64, error) {
	b.chunks = append(b.chunks, len(events))
	var added int64
	for _, e := range events {
		if !b.ids[e.ID] {
			b.ids[e.ID] = true
			b.pending = append(b.pending, e)
			added++
		}
	}
	return added, nil
}

func (b *box) Pending(_ context.Context, after string, limit int) ([]ledger.OutboxEvent, error) {
	from := 1 + slices.IndexFunc(b.pending, func(e ledger.OutboxEvent) bool { return e.ID == after })
	return slices.Clone(b.pending[from:min(from+limit, len(b.pending))]), nil
}

func (b *box) CountPending(context.Context) (int64, error) { return int64(len(b.pending)), nil }

func (b *box) Delivered(_ context.Context, ids []string, _ time.Time) error {
	if b.broken != nil {
		return b.broken
	}
	b.pending = slices.DeleteFunc(b.pending, func(e ledger.OutboxEvent) bool { return slices.Contains(ids, e.ID) })
	return nil
}

func (b *box) NotDelivered(_ context.Context, ids []string, _ time.Time, why string) error {
	for i := range b.pending {
		if slices.Contains(ids, b.pending[i].ID) {
			b.pending[i].Attempts++
		}
	}
	b.why = why
	return nil
}

// events are n lines of an events.ndjson.
func events(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `{"specversion":"1.0","id":"e%d","source":"/reemboss","type":"cards.reissue.v1","data":{"n":%d}}`+"\n", i, i)
	}
	return text.String()
}

// filled is an outbox with n events.
func filled(t interface{ Fatal(...any) }, n int) *box {
	b := newBox()
	if added, err := EnqueueEvents(context.Background(), b, "2026-11-23-1", strings.NewReader(events(n)), at); err != nil || added != int64(n) {
		t.Fatal(added, err)
	}
	return b
}

func eventsTo(url string, batch int) config.Events {
	return config.Events{Webhook: config.EventHook{URL: url, Secret: config.SecretRef{Env: "HOOK"}, Batch: batch, Timeout: 15 * time.Second}}
}

var hookSecret = map[string]string{"HOOK": string(hookKeyBytes)}

// idsOf are the ids of the events in a batch.
func idsOf(t interface{ Fatal(...any) }, body string) []string {
	var list []struct{ ID string }
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	return ids
}

func TestEventsGoOutInOrderInSignedBatches(t *testing.T) {
	r := receive(t, &receiver{})
	b := filled(t, 25)
	delivered, left, err := newNotifier(t, config.Notify{}, eventsTo(r.URL, 10), hookSecret, Options{}).Events(t.Context(), b)
	if err != nil || delivered != 25 || left != 0 || len(b.pending) != 0 {
		t.Fatalf("delivered %d, left %d, %v", delivered, left, err)
	}
	var ids []string
	seen := map[string]bool{}
	for _, q := range r.all() {
		if q.header.Get("Content-Type") != "application/cloudevents-batch+json" || !signedRight(q, hookKeyBytes) {
			t.Errorf("type %q, signature %q", q.header.Get("Content-Type"), q.header.Get("webhook-signature"))
		}
		seen[q.header.Get("webhook-id")] = true
		ids = append(ids, idsOf(t, q.body)...)
	}
	if len(seen) != 3 || len(ids) != 25 || ids[0] != "e0" || ids[9] != "e9" || ids[24] != "e24" {
		t.Errorf("%d batches, ids %v", len(seen), ids)
	}
	if body := r.all()[2].body; !strings.HasPrefix(body, `[{"specversion":"1.0","id":"e20",`) || !strings.HasSuffix(body, `"data":{"n":24}}]`) {
		t.Errorf("not as they were stored: %s", body)
	}
}

// A receiver that takes a batch and dies before it can say so gets the same batch again.
func TestEventsWhoseAnswerIsLostAreSentAgain(t *testing.T) {
	var lives atomic.Bool
	r := &receiver{}
	server := receive(t, &receiver{})
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.ServeHTTP(&deaf{w}, q)
		if !lives.Load() {
			panic(http.ErrAbortHandler)
		}
	})
	b := filled(t, 15)
	n := newNotifier(t, config.Notify{}, eventsTo(server.URL, 10), hookSecret, Options{})
	delivered, left, err := n.Events(t.Context(), b)
	var f Failure
	if !errors.As(err, &f) || delivered != 0 || left != 15 || b.why != f.Why || b.pending[0].Attempts != 1 || b.pending[10].Attempts != 0 {
		t.Fatalf("delivered %d, left %d, %v; recorded %q", delivered, left, err, b.why)
	}
	first := r.all()
	lives.Store(true)
	if delivered, left, err = n.Events(t.Context(), b); err != nil || delivered != 15 || left != 0 {
		t.Fatalf("delivered %d, left %d, %v", delivered, left, err)
	}
	again := r.all()[len(first)]
	if again.body != first[0].body || again.header.Get("webhook-id") != first[0].header.Get("webhook-id") {
		t.Error("the repeat is another message")
	}
}

// deaf drops the answer.
type deaf struct{ http.ResponseWriter }

func (d *deaf) WriteHeader(int)             {}
func (d *deaf) Write(p []byte) (int, error) { return len(p), nil }

func TestBatchThatIsNotTakenKeepsTheOrder(t *testing.T) {
	r := receive(t, &receiver{statuses: []int{200, 422}})
	b := filled(t, 30)
	delivered, left, err := newNotifier(t, config.Notify{}, eventsTo(r.URL, 10), hookSecret, Options{}).Events(t.Context(), b)
	if err == nil || delivered != 10 || left != 20 || len(r.all()) != 2 || b.pending[0].ID != "e10" {
		t.Errorf("delivered %d, left %d, %d requests, %v", delivered, left, len(r.all()), err)
	}
}

func TestEventsThatCannotBeTakenOutAreSentAgain(t *testing.T) {
	r := receive(t, &receiver{})
	b := filled(t, 3)
	b.broken = errors.New("disk full")
	n := newNotifier(t, config.Notify{}, eventsTo(r.URL, 10), hookSecret, Options{})
	if delivered, left, err := n.Events(t.Context(), b); !errors.Is(err, b.broken) || delivered != 0 || left != 3 || len(r.all()) != 1 {
		t.Errorf("delivered %d, left %d, %v", delivered, left, err)
	}
}

func TestEventsWithoutAWebhookStay(t *testing.T) {
	delivered, left, err := newNotifier(t, config.Notify{}, config.Events{}, nil, Options{}).Events(t.Context(), filled(t, 7))
	if err != nil || delivered != 0 || left != 7 {
		t.Errorf("delivered %d, left %d, %v", delivered, left, err)
	}
}

// Whatever the receiver does, every event arrives at least once, first arrivals
// are in order without a gap, and what the outbox calls delivered has arrived.
func TestEventsArriveAtLeastOnceInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		statuses := rapid.SliceOfN(rapid.SampledFrom([]int{200, 204, 500, 503, 422, 410}), 0, 12).Draw(rt, "answers")
		r := &receiver{statuses: append(statuses, 200)}
		r.Server = httptest.NewServer(r)
		defer r.Close()
		count := rapid.IntRange(0, 40).Draw(rt, "events")
		b := filled(rt, count)
		n, err := New(config.Notify{}, eventsTo(r.URL, rapid.IntRange(1, 9).Draw(rt, "batch")), secretsOf(hookSecret), Options{Sleep: (&pauses{}).sleep})
		if err != nil {
			rt.Fatal(err)
		}
		var total int64
		for run := 0; ; run++ {
			delivered, left, err := n.Events(context.Background(), b)
			total += delivered
			if total+left != int64(count) || (err == nil) != (left == 0) {
				rt.Fatalf("run %d: delivered %d of %d, left %d, %v", run, total, count, left, err)
			}
			if left == 0 {
				break
			}
			if run > 20 {
				rt.Fatal("it never ends")
			}
		}
		next := 0
		for _, q := range r.all() {
			for _, id := range idsOf(rt, q.body) {
				if id == fmt.Sprintf("e%d", next) {
					next++
				} else if !slices.Contains(earlier(next), id) {
					rt.Fatalf("%s arrived before e%d", id, next)
				}
			}
		}
		if next != count {
			rt.Fatalf("%d of %d events arrived", next, count)
		}
	})
}

func earlier(n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("e%d", i))
	}
	return ids
}

func TestLargeEventsGoInSmallerBatches(t *testing.T) {
	large := func(id string) ledger.OutboxEvent { return ledger.OutboxEvent{ID: id, Body: make([]byte, 40)} }
	list := []ledger.OutboxEvent{large("a"), large("b"), large("c")}
	for limit, want := range map[int]int{10: 1, 41: 1, 82: 2, 122: 2, 123: 3, 1000: 3} {
		if got := len(upTo(list, limit)); got != want {
			t.Errorf("limit %d: %d events, want %d", limit, got, want)
		}
	}
}

func TestEnqueueIsBoundedAndRepeatable(t *testing.T) {
	b := newBox()
	text := events(2500) + "\n  \r\n"
	for i, want := range []int64{2500, 0} {
		if added, err := EnqueueEvents(t.Context(), b, "r", strings.NewReader(text), at); err != nil || added != want {
			t.Fatalf("time %d: %d, %v", i+1, added, err)
		}
	}
	if !slices.Equal(b.chunks, []int{1000, 1000, 500, 1000, 1000, 500}) || len(b.pending) != 2500 {
		t.Errorf("chunks %v, %d events", b.chunks, len(b.pending))
	}
	if e := b.pending[2499]; e.ID != "e2499" || e.RunID != "r" || !json.Valid(e.Body) || strings.HasSuffix(string(e.Body), "\n") {
		t.Errorf("stored as %+v", e)
	}
}

func TestEnqueueKeepsLongLinesInBounds(t *testing.T) {
	line := func(size int) string {
		frame := `{"specversion":"1.0","id":"x","data":""}`
		return strings.Replace(frame, `""}`, `"`+strings.Repeat("a", size-len(frame))+`"}`, 1) + "\n"
	}
	if added, err := EnqueueEvents(t.Context(), newBox(), "r", strings.NewReader(line(MaxEventLine-1)), at); err != nil || added != 1 {
		t.Errorf("the longest line: %d, %v", added, err)
	}
	_, err := EnqueueEvents(t.Context(), newBox(), "r", strings.NewReader(events(2)+line(MaxEventLine+1)), at)
	if err == nil || !strings.Contains(err.Error(), "line 3: longer than") {
		t.Errorf("a line too long: %v", err)
	}
	b := newBox()
	var many strings.Builder
	for i := range 20 {
		many.WriteString(strings.Replace(line(MaxEventLine-10), `"x"`, fmt.Sprintf(`"x%d"`, i), 1))
	}
	if added, err := EnqueueEvents(t.Context(), b, "r", strings.NewReader(many.String()), at); err != nil || added != 20 || slices.Max(b.chunks) > maxChunkBytes/MaxEventLine+1 {
		t.Errorf("%d, %v, chunks %v", added, err, b.chunks)
	}
}

func TestEnqueueNamesTheBadLineAndDoesNotQuoteIt(t *testing.T) {
	for name, bad := range map[string]string{
		"no JSON": "SECRET", "cut short": `{"specversion":"1.0","id":"SECRET`, "no id": `{"specversion":"1.0","note":"SECRET"}`, "no CloudEvent": `{"id":"SECRET"}`, "a list": `["SECRET"]`,
	} {
		_, err := EnqueueEvents(t.Context(), newBox(), "2026-11-23-1", strings.NewReader(events(3)+bad+"\n"), at)
		if err == nil || !strings.Contains(err.Error(), "run 2026-11-23-1, line 4") || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
