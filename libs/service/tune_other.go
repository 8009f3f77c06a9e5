//go:build !linux

package service

// waitTurns has nothing to do: other kernels have no SCHED_BATCH.
func waitTurns() {}
