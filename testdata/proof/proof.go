// Package proof counts the points at which a test broke the product on purpose, for `make prove`.
//
// A test of that kind has far more points than a day's work can wait for. Under a plain go test it tries about a
// hundredth of them, the same ones each time. Where the variable REEMBOSS_PROVE names a file it tries every one, or a
// chosen tenth where REEMBOSS_PROVE_NTH is 10, and appends there what it counted, one JSON object a line:
// {"what":"SFTP cuts","points":7046,"violations":0}.
package proof

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Count is what one test tried, and at how many of these points a promise was broken.
type Count struct {
	mu         sync.Mutex
	What       string `json:"what"`
	Points     int    `json:"points"`
	Violations int    `json:"violations"`

	missed int // points of Try at which nothing was broken
}

// Of begins the count of a test, which is told when the test ends.
func Of(tb testing.TB, what string) *Count {
	tb.Helper()
	c := &Count{What: what}
	tb.Cleanup(func() { c.tell(tb) })
	return c
}

// Tell counts what a test has tried by now.
func Tell(tb testing.TB, what string, points, violations int) {
	tb.Helper()
	c := Of(tb, what)
	c.Points, c.Violations = points, violations
}

// Point adds one point, called where, and fails the test for what was broken there.
func (c *Count) Point(tb testing.TB, where string, broken ...string) {
	tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Points++
	if len(broken) > 0 {
		c.Violations++
		tb.Errorf("%s: %q", where, broken)
	}
}

// Try runs one point as a test of its own, beside others; what fails in it is one violation.
func (c *Count) Try(t *testing.T, name string, point func(t *testing.T)) {
	t.Run(strings.ReplaceAll(name, "/", ":"), func(t *testing.T) {
		t.Parallel()
		t.Cleanup(func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.Points++
			if t.Failed() {
				c.Violations++
			}
		})
		point(t)
	})
}

// Missed takes back a point of Try at which nothing was broken, because the product had come to its end before.
func (c *Count) Missed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Points--
	c.missed++
}

// Add adds points at which the test itself says what is broken; of all of them together that is one violation.
func (c *Count) Add(points int) { c.Points += points }

// tell appends the count. A test that failed in a way that no point shows has one violation; one that hardly ever broke
// anything has failed.
func (c *Count) tell(tb testing.TB) {
	if c.missed > c.Points {
		tb.Errorf("at %d of %d points nothing was broken", c.missed, c.missed+c.Points)
	}
	if tb.Failed() && c.Violations == 0 {
		c.Violations = 1
	}
	tb.Logf("%d %s, %d violations", c.Points, c.What, c.Violations)
	path := os.Getenv("REEMBOSS_PROVE")
	if path == "" {
		return
	}
	line, err := json.Marshal(c)
	if err != nil {
		tb.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	_, err = f.Write(append(line, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		tb.Fatal(err)
	}
}

// seldom is how few of the points a plain go test tries: every hundredth.
const seldom = 100

// Nth says that every nth point is tried: 1 where the whole is to be proven.
func Nth() int {
	if os.Getenv("REEMBOSS_PROVE") == "" {
		return seldom
	}
	text := os.Getenv("REEMBOSS_PROVE_NTH")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		panic(fmt.Sprintf("REEMBOSS_PROVE_NTH=%s is no number of points", text))
	}
	return n
}

// Whole says that every point is to be tried, not a chosen part.
func Whole() bool { return Nth() == 1 }

// Chosen gives every nth of points and the last; all of them where the whole is to be proven.
func Chosen[P any](points []P) []P {
	nth := Nth()
	if nth == 1 || len(points) == 0 {
		return points
	}
	var some []P
	for i := nth / 2; i < len(points)-1; i += nth {
		some = append(some, points[i])
	}
	return append(some, points[len(points)-1])
}

// Share is how often something drawn is tried that is tried whole times where the whole is to be proven; once at least.
func Share(whole int) int { return max(1, whole/Nth()) }

// Numbers are those from 1 to last, for points that have no other name.
func Numbers(last int) []int {
	all := make([]int, last)
	for i := range all {
		all[i] = i + 1
	}
	return all
}
