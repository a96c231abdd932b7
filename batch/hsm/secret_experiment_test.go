//go:build goexperiment.runtimesecret

package hsm

import (
	"runtime/secret"
	"testing"
)

// Built with the experiment, keys are worked with where the runtime wipes behind them.
func TestKeysAreWorkedWithInSecretMode(t *testing.T) {
	inside := false
	erased(func() { inside = secret.Enabled() })
	if !inside {
		t.Error("the runtime wipes nothing here")
	}
	if secret.Enabled() {
		t.Error("the mode did not end")
	}
}
