package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A runner that is asked to stop lets bundles end and commits them: when it goes
// on, nothing is done twice.
func TestStopLosesNoWork(t *testing.T) {
	t.Parallel()
	const n = 1000
	data, trace := t.TempDir(), filepath.Join(t.TempDir(), "trace")
	r := serve(t, "--data", data, "--workers-per-environment", "2")
	s := submitPython(t, r, pythonProcess(t, ""), nil, "--numbers=1000", "--pause=0.02", "--trace="+trace)
	eventually(t, jobLimit, "the job to get somewhere", func() bool { s.goesOn(t); return lines(trace) > n/10 })
	r.end(syscall.SIGTERM)
	if done := lines(trace); done >= n {
		t.Fatal("the runner has stopped only after the job")
	}
	r = serve(t, "--data", data, "--workers-per-environment", "2")
	eventually(t, jobLimit, "the job to be done", func() bool {
		v, _ := r.job()
		return v.State == "DONE"
	})
	if got := lines(trace); got != n {
		t.Errorf("%d numbers have been processed, want each of %d once", got, n)
	}
}

// lines counts the lines of a file.
func lines(file string) int {
	b, _ := os.ReadFile(file)
	return strings.Count(string(b), "\n")
}
