package payshield_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"reemboss/batch/hsm"
	"reemboss/batch/hsm/payshield"
	"reemboss/batch/hsm/payshield/payshieldtest"
)

// The tests of this file run on a simulated clock. A goroutine that outlives
// Close fails them.

// inBubble runs a test with a client of a module in memory and closes both at the end.
func inBubble(t *testing.T, sim *payshieldtest.Simulator, change func(*payshield.Config), run func(t *testing.T, client *payshield.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := piped(sim)
		if change != nil {
			change(&s)
		}
		client, err := payshield.Open(context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		run(t, client)
		_ = client.Close()
		sim.Close()
	})
}

// onCard misbehaves in the commands for a card of the given numbers, counted from 0.
func onCard(fault payshieldtest.Fault, numbers ...int) func(payshieldtest.Command) payshieldtest.Fault {
	var mu sync.Mutex
	seen := 0
	return func(c payshieldtest.Command) payshieldtest.Fault {
		if c.Code != "CW" {
			return payshieldtest.Fault{}
		}
		mu.Lock()
		defer mu.Unlock()
		seen++
		for _, n := range numbers {
			if seen == n+1 {
				return fault
			}
		}
		return payshieldtest.Fault{}
	}
}

var transportFaults = map[string]payshieldtest.Kind{
	"no reply":                      payshieldtest.Drop,
	"no reply to anything":          payshieldtest.Hang,
	"a garbled reply":               payshieldtest.Garble,
	"a reply too short":             payshieldtest.Short,
	"a reply too long":              payshieldtest.Long,
	"a frame cut in the middle":     payshieldtest.Cut,
	"a header of no command":        payshieldtest.Stranger,
	"a reply that comes twice":      payshieldtest.Twice,
	"a reply to another command":    payshieldtest.Other,
	"a reply that nobody asked for": payshieldtest.Unasked,
}

func TestOneFaultIsRepairedOnAnotherConnection(t *testing.T) {
	for name, kind := range transportFaults {
		t.Run(name, func(t *testing.T) {
			sim := payshieldtest.New()
			sim.Latency = 3 * time.Millisecond
			sim.Misbehave = onCard(payshieldtest.Fault{Kind: kind}, 0, 120, 300)
			requests, want := cards(t, 400)
			inBubble(t, sim, nil, func(t *testing.T, client *payshield.Client) {
				for i, result := range client.CVVs(context.Background(), requests) {
					if result.Err != nil || result.CVV.Reveal() != want[i] {
						t.Errorf("card %d: %v", i, result.Err)
					}
				}
			})
			if sent := sim.Commands()["NC"]; sent < 3 {
				t.Errorf("the LMK was looked at %d times: no new connection", sent)
			}
		})
	}
}

func TestAFaultThatStaysIsAnErrorAndSoon(t *testing.T) {
	for name, kind := range transportFaults {
		if kind == payshieldtest.Twice { // the first of two replies is a good one
			continue
		}
		t.Run(name, func(t *testing.T) {
			sim := payshieldtest.New()
			sim.Misbehave = func(c payshieldtest.Command) payshieldtest.Fault {
				if c.Code == "CW" {
					return payshieldtest.Fault{Kind: kind}
				}
				return payshieldtest.Fault{}
			}
			requests, _ := cards(t, 2000)
			inBubble(t, sim, nil, func(t *testing.T, client *payshield.Client) {
				start := time.Now()
				for i, result := range client.CVVs(context.Background(), requests) {
					if !errors.Is(result.Err, payshield.ErrTransport) || !result.CVV.IsZero() {
						t.Fatalf("card %d: %v", i, result.Err)
					}
				}
				if took := time.Since(start); took > 2*time.Minute {
					t.Errorf("it took %v to say so", took)
				}
			})
		})
	}
}

func TestARefusalThatConcernsEveryCardStopsTheClient(t *testing.T) {
	for code, words := range map[string]string{"10": "parity", "11": "parity", "12": "user storage", "13": "LMK", "15": "header length", "27": "double length", "68": "enable it"} {
		t.Run(code, func(t *testing.T) {
			sim := payshieldtest.New()
			sim.Misbehave = onCard(payshieldtest.Fault{Kind: payshieldtest.Refuse, Code: code}, 5)
			requests, want := cards(t, 1000)
			inBubble(t, sim, func(s *payshield.Config) { s.Connections, s.InFlight = 1, 4 }, func(t *testing.T, client *payshield.Client) {
				values, refused := 0, 0
				for i, result := range client.CVVs(context.Background(), requests) {
					switch {
					case result.Err == nil && result.CVV.Reveal() == want[i]:
						values++
					case errors.Is(result.Err, payshield.ErrStop) && strings.Contains(result.Err.Error(), words) && strings.Contains(result.Err.Error(), code):
						refused++
					default:
						t.Fatalf("card %d: %v", i, result.Err)
					}
				}
				if values < 5 || values > 20 {
					t.Errorf("%d values and %d refusals", values, refused)
				}
				sent := sim.Commands()["CW"]
				if again := client.CVVs(context.Background(), requests[:1]); !errors.Is(again[0].Err, payshield.ErrStop) || sim.Commands()["CW"] != sent {
					t.Errorf("the client goes on: %v", again[0].Err)
				}
			})
		})
	}
}

func TestARefusalOfOneCardIsThatCardsOnly(t *testing.T) {
	sim := payshieldtest.New()
	sim.Misbehave = onCard(payshieldtest.Fault{Kind: payshieldtest.Refuse, Code: "41"}, 7)
	requests, want := cards(t, 100)
	inBubble(t, sim, func(s *payshield.Config) { s.Connections, s.InFlight = 1, 1 }, func(t *testing.T, client *payshield.Client) {
		for i, result := range client.CVVs(context.Background(), requests) {
			var refused *payshield.CodeError
			switch {
			case i == 7:
				if !errors.As(result.Err, &refused) || refused.Code != "41" || refused.Command != "CW" || !result.CVV.IsZero() {
					t.Errorf("card 7: %v", result.Err)
				}
			case result.Err != nil || result.CVV.Reveal() != want[i]:
				t.Errorf("card %d: %v", i, result.Err)
			}
		}
	})
}

func TestRepliesMayComeInAnyOrder(t *testing.T) {
	sim := payshieldtest.New()
	sim.Misbehave = func(c payshieldtest.Command) payshieldtest.Fault {
		return payshieldtest.Fault{Delay: time.Duration(c.Number*7919%97) * time.Millisecond}
	}
	requests, want := cards(t, 500)
	inBubble(t, sim, func(s *payshield.Config) { s.Connections = 1 }, func(t *testing.T, client *payshield.Client) {
		for i, result := range client.CVVs(context.Background(), requests) {
			if result.Err != nil || result.CVV.Reveal() != want[i] {
				t.Fatalf("card %d: %v", i, result.Err)
			}
		}
	})
	if n := sim.Commands()["CW"]; n != len(requests) {
		t.Errorf("%d commands for %d cards", n, len(requests))
	}
}

// A reply that comes after its command was given up belongs to nobody.
func TestALateReplyIsDroppedAndItsNeighboursLive(t *testing.T) {
	sim := payshieldtest.New()
	sim.Latency = 10 * time.Millisecond
	sim.Misbehave = onCard(payshieldtest.Fault{Delay: 1500 * time.Millisecond}, 3)
	requests, want := cards(t, 2000)
	inBubble(t, sim, func(s *payshield.Config) { s.Connections, s.Timeout = 2, time.Second }, func(t *testing.T, client *payshield.Client) {
		for i, result := range client.CVVs(context.Background(), requests) {
			if result.Err != nil || result.CVV.Reveal() != want[i] {
				t.Errorf("card %d: %v", i, result.Err)
			}
		}
		time.Sleep(3 * time.Second)
		if again := client.CVVs(context.Background(), requests[:1]); again[0].Err != nil {
			t.Error(again[0].Err)
		}
	})
	if n := sim.Commands()["CW"]; n != len(requests)+2 {
		t.Errorf("%d commands; one was to be sent twice", n)
	}
}

func TestAModuleThatDiesIsToldSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := payshieldtest.New()
		sim.Latency = time.Millisecond
		s := piped(sim)
		dial := s.Dial
		dead := make(chan struct{})
		s.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			select {
			case <-dead:
				return nil, errors.New("connection refused")
			default:
				return dial(ctx, network, address)
			}
		}
		client := open(t, s)
		requests, want := cards(t, 20_000)
		time.AfterFunc(50*time.Millisecond, func() { close(dead); sim.DropConnections() })
		start, values := time.Now(), 0
		for i, result := range client.CVVs(context.Background(), requests) {
			switch {
			case result.Err == nil && result.CVV.Reveal() == want[i]:
				values++
			case !errors.Is(result.Err, payshield.ErrTransport):
				t.Fatalf("card %d: %v", i, result.Err)
			}
		}
		if took := time.Since(start); values == 0 || values == len(requests) || took > 10*time.Second {
			t.Errorf("%d values, %v", values, took)
		}
		_ = client.Close()
		sim.Close()
	})
}

func TestAConnectionThatWasClosedWhileIdleIsReplaced(t *testing.T) {
	sim := payshieldtest.New()
	requests, want := cards(t, 50)
	inBubble(t, sim, nil, func(t *testing.T, client *payshield.Client) {
		for round := range 3 {
			for i, result := range client.CVVs(context.Background(), requests) {
				if result.Err != nil || result.CVV.Reveal() != want[i] {
					t.Errorf("round %d, card %d: %v", round, i, result.Err)
				}
			}
			sim.DropConnections()
			time.Sleep(time.Hour)
		}
	})
}

func TestACancelledContextEndsWhatWaits(t *testing.T) {
	sim := payshieldtest.New()
	sim.Latency = 20 * time.Millisecond
	requests, want := cards(t, 5000)
	inBubble(t, sim, nil, func(t *testing.T, client *payshield.Client) {
		ctx, cancel := context.WithTimeout(context.Background(), 110*time.Millisecond)
		defer cancel()
		start, values := time.Now(), 0
		for i, result := range client.CVVs(ctx, requests) {
			switch {
			case result.Err == nil && result.CVV.Reveal() == want[i]:
				values++
			case !errors.Is(result.Err, context.DeadlineExceeded):
				t.Fatalf("card %d: %v", i, result.Err)
			}
		}
		if took := time.Since(start); took != 110*time.Millisecond || values < 1000 || values == len(requests) {
			t.Errorf("%d values in %v", values, took)
		}
	})
}

func TestCloseEndsWhatIsInFlight(t *testing.T) {
	sim := payshieldtest.New()
	sim.Misbehave = onCard(payshieldtest.Fault{Kind: payshieldtest.Drop}, 0)
	inBubble(t, sim, nil, func(t *testing.T, client *payshield.Client) {
		requests, _ := cards(t, 1)
		time.AfterFunc(time.Second, func() { _ = client.Close() })
		if result := client.CVVs(context.Background(), requests); !errors.Is(result[0].Err, payshield.ErrClosed) {
			t.Errorf("%v", result[0].Err)
		}
		if result := client.CVVs(context.Background(), requests); !errors.Is(result[0].Err, payshield.ErrClosed) {
			t.Errorf("after Close: %v", result[0].Err)
		}
	})
}

// At 5 ms each way and back the pipeline does at least twenty times what one
// request per round trip does; the clock is simulated, so only waiting counts.
func TestThePipelineIsFull(t *testing.T) {
	const n = 5000
	requests, _ := cards(t, n)
	took := func(change func(*payshield.Config)) (d time.Duration) {
		sim := payshieldtest.New()
		sim.Latency = 5 * time.Millisecond
		inBubble(t, sim, change, func(t *testing.T, client *payshield.Client) {
			start := time.Now()
			for i, result := range client.CVVs(context.Background(), requests) {
				if result.Err != nil {
					t.Fatalf("card %d: %v", i, result.Err)
				}
			}
			d = time.Since(start)
		})
		return d
	}
	alone := took(func(s *payshield.Config) { s.Connections, s.InFlight = 1, 1 })
	one := took(func(s *payshield.Config) { s.Connections = 1 })
	four := took(nil)
	if alone < n*5*time.Millisecond || alone < 20*one || alone < 20*four {
		t.Errorf("one at a time %v, one connection %v, four %v", alone, one, four)
	}
	t.Logf("waiting: one at a time %v, one connection %.0f times as fast, four %.0f", alone, alone.Seconds()/one.Seconds(), alone.Seconds()/four.Seconds())
}

// Whatever goes wrong on the way, an item gets its right value or an error.
func TestUnderAnyFaultsAValueIsRightOrThereIsNone(t *testing.T) {
	requests, want := cards(t, 300)
	kinds := []payshieldtest.Kind{payshieldtest.None, payshieldtest.Drop, payshieldtest.Hang, payshieldtest.Garble, payshieldtest.Short, payshieldtest.Long,
		payshieldtest.Cut, payshieldtest.Stranger, payshieldtest.Twice, payshieldtest.Other, payshieldtest.Unasked, payshieldtest.Refuse}
	faults := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) payshieldtest.Fault {
		return payshieldtest.Fault{
			Kind:  rapid.SampledFrom(kinds).Draw(t, "kind"),
			Delay: time.Duration(rapid.IntRange(0, 1500).Draw(t, "delay")) * time.Millisecond,
			Code:  rapid.SampledFrom([]string{"20", "41", "42", "99"}).Draw(t, "code"),
		}
	}), 1, 40)
	rapid.Check(t, func(rt *rapid.T) {
		plan, every := faults.Draw(rt, "faults"), rapid.IntRange(1, 30).Draw(rt, "every")
		connections, inFlight := rapid.IntRange(1, 4).Draw(rt, "connections"), rapid.IntRange(1, 40).Draw(rt, "in flight")
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			sim := payshieldtest.New()
			sim.Latency = 2 * time.Millisecond
			sim.Misbehave = func(c payshieldtest.Command) payshieldtest.Fault {
				if c.Code != "CW" || c.Number%every != 0 {
					return payshieldtest.Fault{}
				}
				return plan[c.Number/every%len(plan)]
			}
			s := piped(sim)
			s.Connections, s.InFlight, s.Timeout = connections, inFlight, time.Second
			client, err := payshield.Open(context.Background(), s)
			if err != nil {
				wrong = append(wrong, err.Error())
			} else {
				wrong = judge(client.CVVs(context.Background(), requests), want)
				_ = client.Close()
			}
			sim.Close()
		})
		if len(wrong) > 0 {
			rt.Fatalf("%d wrong: %s", len(wrong), wrong[0])
		}
	})
}

// judge says which results are neither right nor an error.
func judge(results []hsm.CVVResult, want []string) (wrong []string) {
	for i, result := range results {
		switch {
		case result.Err != nil && !result.CVV.IsZero():
			wrong = append(wrong, fmt.Sprintf("card %d: a value and an error", i))
		case result.Err == nil && result.CVV.Reveal() != want[i]:
			wrong = append(wrong, fmt.Sprintf("card %d: the value of another", i))
		case result.Err != nil && strings.Contains(result.Err.Error(), "411111"):
			wrong = append(wrong, fmt.Sprintf("card %d: an error with its number", i))
		}
	}
	return wrong
}
