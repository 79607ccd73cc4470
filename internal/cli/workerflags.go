package cli

import (
	"fmt"
	"time"
)

// workerLimits bound what a worker may take.
type workerLimits struct {
	WorkerMemory       byteSize      `help:"Memory that a worker of this machine may hold: one that holds more is replaced after its bundle, one that holds twice as much at once. By default there is no limit." placeholder:"SIZE"`
	WorkerStartTimeout time.Duration `help:"How long a worker may take to start, with all that it installs." default:"3m" placeholder:"TIME"`
	StuckAfter         time.Duration `help:"How long a bundle may make no progress before its job is told, with the worker's threads." default:"5m" placeholder:"TIME"`
	BundleTimeout      time.Duration `help:"How long a bundle may make no progress before its worker is replaced and the bundle tried again. By default as long as it likes." placeholder:"TIME"`
}

func (l *workerLimits) validate() error {
	for name, d := range map[string]time.Duration{
		"worker-start-timeout": l.WorkerStartTimeout, "stuck-after": l.StuckAfter, "bundle-timeout": l.BundleTimeout,
	} {
		if d < 0 {
			return &exitError{exitUsage, fmt.Errorf("--%s %v: not a time that passes", name, d)}
		}
	}
	return nil
}
