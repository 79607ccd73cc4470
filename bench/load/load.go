// Package load runs the pipelines of bench/goload on a runner of their own, and says what that took.
package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pharos-beam/pharos/conformance/serve"
)

// Sample is one run of a pipeline.
type Sample struct {
	Seconds float64   // as the client sees the job
	CPU     float64   // seconds of the runner's process, without workers
	Memory  int64     // bytes at the peak of the runner's process
	Each    []float64 // seconds of every single job, where several ran at once
}

// Goload is the program of the pipelines.
type Goload struct {
	Binary string
	// Limit ends a run that hangs.
	Limit time.Duration
}

// Build builds the program at a path.
func Build(ctx context.Context, path string, limit time.Duration) (*Goload, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", abs, ".")
	cmd.Dir = filepath.Join("bench", "goload")
	cmd.Stderr = os.Stderr
	return &Goload{Binary: abs, Limit: limit}, cmd.Run()
}

// Run runs a workload of n elements once, on a runner that is started for it and ended after it.
func (g *Goload) Run(ctx context.Context, runner, workload string, n int64, args []string) (s Sample, err error) {
	dir, err := os.MkdirTemp("", "pharos-bench")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	server, err := serve.Start(ctx, runner, filepath.Join(dir, "log"))
	if err != nil {
		return s, err
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(ctx, g.Limit)
	defer cancel()
	args = append([]string{"--workload", workload, "--n", strconv.FormatInt(n, 10),
		"--runner", "universal", "--endpoint", server.Endpoint, "--environment_type", "LOOPBACK"}, args...)
	out, err := exec.CommandContext(ctx, g.Binary, args...).Output()
	var result struct {
		Seconds float64
		Each    []float64
		OK      bool
		Error   string
	}
	if jsonErr := json.Unmarshal(lastLine(out), &result); jsonErr != nil || !result.OK {
		return s, fmt.Errorf("wrong or no result: %v %s", err, result.Error)
	}
	return Sample{Seconds: result.Seconds, Each: result.Each, CPU: server.CPU().Seconds(), Memory: server.PeakMemory()}, nil
}

// lastLine returns the last line, which is where goload's JSON is; the SDK may log before it.
func lastLine(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[bytes.LastIndexByte(b, '\n')+1:]
}
