package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pharos-beam/pharos/conformance/cases"
)

// kitStopGrace is how long a kit may take to end its children when the run is interrupted.
const kitStopGrace = 10 * time.Second

// test is one entry of the JSON that every kit writes.
type test struct {
	Test, Status, Reason, Output string
}

// runKit runs a kit against an endpoint and returns what its tests gave; only, when not nil, names those to run.
func runKit(ctx context.Context, o options, endpoint string, only []string) (cases.Results, error) {
	tests, err := runTests(ctx, o, endpoint, only)
	for i := range tests { // what is kept does not say where the repository was
		tests[i].Reason = strings.ReplaceAll(tests[i].Reason, o.root+string(filepath.Separator), "")
	}
	return results(tests), err
}

func runTests(ctx context.Context, o options, endpoint string, only []string) ([]test, error) {
	dir := filepath.Join(o.root, "conformance", "results")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	out := filepath.Join(dir, o.kit+".json")
	if err := os.Remove(out); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	timeout := strconv.Itoa(int(o.timeout.Seconds()))
	if o.kit == "go" {
		timeout += "s"
	}
	args := []string{endpoint, out, "--timeout", timeout, "--workers", strconv.Itoa(o.workers)}
	if only != nil {
		list := filepath.Join(dir, o.kit+".only")
		if err := writeLines(list, only); err != nil {
			return nil, err
		}
		args = append(args, "--only", list)
	}
	if r := o.sdkRunner(); r != "" {
		args = append(args, "--runner", r)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(o.root, "conformance", o.kit, "run.sh"), args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = kitStopGrace
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("kit %s: %w", o.kit, err)
	}
	return readKit(out)
}

func writeLines(path string, lines []string) error {
	var b []byte
	for _, l := range lines {
		b = append(append(b, l...), '\n')
	}
	return os.WriteFile(path, b, 0o644)
}

func readKit(path string) ([]test, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var report struct{ Tests []test }
	if err := json.Unmarshal(b, &report); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return report.Tests, nil
}

// results leaves out the tests that never reached the runner, for they say nothing of it.
func results(tests []test) cases.Results {
	var list []cases.Case
	for _, t := range tests {
		switch t.Status {
		case "norunner":
			continue
		case "timeout":
			t.Status, t.Reason = cases.Fail, "timeout: "+t.Reason
		}
		list = append(list, cases.Case{Test: t.Test, Status: t.Status, Reason: t.Reason})
	}
	return cases.New(list)
}
