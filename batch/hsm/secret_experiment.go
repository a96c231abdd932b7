//go:build goexperiment.runtimesecret

package hsm

import "runtime/secret"

// erased does f and has the runtime wipe the registers and the stack that f
// used, and what it allocated once that is free (package runtime/secret). f must start no goroutine.
func erased(f func()) { secret.Do(f) }
