package batch

import (
	"encoding/json"
	"errors"
	"os"
	"testing"
)

// proving says that the whole is to be tried, not a chosen part.
func proving() bool { return os.Getenv("REEMBOSS_PROVE") != "" }

// prove tells what was tried and what did not hold: `make prove` adds up what the tests append to the file that
// REEMBOSS_PROVE names, one JSON object a line.
func prove(t *testing.T, what string, points int) {
	t.Helper()
	line := struct {
		What       string `json:"what"`
		Points     int    `json:"points"`
		Violations int    `json:"violations"`
	}{What: what, Points: points}
	if t.Failed() {
		line.Violations = 1
	}
	t.Logf("prove: %s=%d violations=%d", what, points, line.Violations)
	path := os.Getenv("REEMBOSS_PROVE")
	if path == "" {
		return
	}
	text, err := json.Marshal(line)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
