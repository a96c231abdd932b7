package payshield_test

import (
	"context"
	"testing"
	"time"

	"reemboss/batch/hsm/payshield"
	"reemboss/batch/hsm/payshield/payshieldtest"
)

// BenchmarkPipeline compares, over TCP and at 5 ms latency, the default client
// with one that sends one request per round trip. The ratio is the last metric.
func BenchmarkPipeline(b *testing.B) {
	sim := payshieldtest.New()
	sim.Latency = 5 * time.Millisecond
	address := listen(b, sim, nil)
	single := settings(address)
	single.Connections, single.InFlight = 1, 1
	alone, full := open(b, single), open(b, settings(address))
	requests, _ := cards(b, 20_000)
	perCard := func(client *payshield.Client, n int) float64 {
		start := time.Now()
		for _, result := range client.CVVs(context.Background(), requests[:n]) {
			if result.Err != nil {
				b.Fatal(result.Err)
			}
		}
		return time.Since(start).Seconds() / float64(n)
	}
	var slow, fast float64
	for b.Loop() {
		slow += perCard(alone, 100)
		fast += perCard(full, len(requests))
	}
	b.ReportMetric(float64(b.N)/slow, "alone/s")
	b.ReportMetric(float64(b.N)/fast, "pipelined/s")
	b.ReportMetric(slow/fast, "times")
	b.ReportMetric(0, "ns/op")
}
