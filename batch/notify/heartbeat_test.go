package notify

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"reemboss/batch/config"
)

func beatTo(url string) config.Notify {
	return config.Notify{Heartbeat: config.Heartbeat{Start: url + "/uuid/start", End: url + "/uuid", Fail: url + "/uuid/fail", Timeout: 10 * time.Second}}
}

func TestHeartbeatTellsHowTheNightWent(t *testing.T) {
	for _, c := range []struct {
		exit         int
		method, path string
	}{
		{0, http.MethodGet, "/uuid"}, {4, http.MethodGet, "/uuid"}, {1, http.MethodPost, "/uuid/fail"}, {5, http.MethodPost, "/uuid/fail"},
	} {
		r := receive(t, &receiver{})
		n := newNotifier(t, beatTo(r.URL), config.Events{}, nil, Options{})
		if err := n.Began(t.Context(), "2026-11-23-1"); err != nil {
			t.Fatal(err)
		}
		night := aNight()
		night.Exit = c.exit
		none(t, n.Ended(t.Context(), night))
		got := r.all()
		if len(got) != 2 || got[0].method+got[0].path != "GET/uuid/start" || got[1].method != c.method || got[1].path != c.path {
			t.Errorf("exit %d: %+v", c.exit, got)
		}
		if body := got[1].body; c.method == http.MethodPost && body != "FAILED, run 2026-11-23-1: "+night.Verdict {
			t.Errorf("exit %d: body %q", c.exit, body)
		}
	}
}

func TestHeartbeatIsTriedTwice(t *testing.T) {
	for _, c := range []struct {
		statuses []int
		told     bool
	}{{[]int{500, 200}, true}, {[]int{500, 500, 200}, false}} {
		r := receive(t, &receiver{statuses: c.statuses})
		err := newNotifier(t, beatTo(r.URL), config.Events{}, nil, Options{}).Began(t.Context(), "r")
		if (err == nil) != c.told || len(r.all()) != 2 {
			t.Errorf("%v: %d requests, %v", c.statuses, len(r.all()), err)
		}
		if err != nil && (strings.Contains(err.Error(), "uuid") || !strings.Contains(err.Error(), "heartbeat start (http://")) {
			t.Errorf("the failure tells the secret path, or not who: %v", err)
		}
	}
}

// Each attempt has the whole timeout: a first one that hangs leaves the second its chance.
func TestHeartbeatGivesUpOnASilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		cfg := beatTo("http://beat.example")
		err := newNotifier(t, cfg, config.Events{}, nil, Options{Dial: newPipes().dial}).Began(t.Context(), "r")
		if took := time.Since(began); took != 20*time.Second || err == nil || !strings.Contains(err.Error(), "within 10s (2 attempts)") {
			t.Errorf("%v after %s", err, took)
		}
	})
}

func TestNothingConfiguredTellsNobody(t *testing.T) {
	n := newNotifier(t, config.Notify{}, config.Events{}, nil, Options{})
	if err := n.Began(t.Context(), "r"); err != nil {
		t.Error(err)
	}
	none(t, n.Ended(t.Context(), aNight()))
	if err := n.WriteMetrics(aNight(), Gauges{}); err != nil {
		t.Error(err)
	}
}
