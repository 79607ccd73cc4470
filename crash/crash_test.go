package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReportCountsMultisets(t *testing.T) {
	r := newReport(config{})
	r.compare("job", []string{"a", "b", "b", "x"}, []string{"a", "a", "b", "c"})
	if r.duplicates != 2 || r.losses != 2 {
		t.Errorf("%d duplicates and %d losses, want 2 and 2: %v", r.duplicates, r.losses, r.examples)
	}
	if r.verdict() == nil {
		t.Error("that is no error")
	}
}

func TestCommitsAreReadFromTheLog(t *testing.T) {
	c, ok := parseCommit(`time=2026-01-01T00:00:00Z level=DEBUG msg=commit job=x records=3 bytes=1234 took=5.5ms`)
	if !ok || c.bytes != 1234 || c.took != 5500*time.Microsecond {
		t.Errorf("%+v, %v", c, ok)
	}
	if _, ok := parseCommit(`level=INFO msg="job starts" job=x`); ok {
		t.Error("another line is a commit")
	}
}

// Every id is in one window and in one session, whatever the seed.
func TestOracleCountsEveryIDOnce(t *testing.T) {
	const ids = 2000
	for seed := range uint64(5) {
		in := map[string]int{}
		for _, line := range streamLines(ids, seed) {
			f := strings.Split(line, "|")
			switch f[0] {
			case "window":
				in["window"] += number(t, f[3])
			case "session":
				in["session"] += number(t, f[4])
			default:
				in[f[0]]++
			}
		}
		for _, kind := range []string{"window", "session", "id", "total"} {
			if in[kind] != ids {
				t.Errorf("seed %d: %d ids are in lines of the kind %s, not %d", seed, in[kind], kind, ids)
			}
		}
	}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n := 0
	for _, c := range s {
		n = 10*n + int(c-'0')
	}
	return n
}

func TestManyKillsReachEveryLanguage(t *testing.T) {
	r := newReport(config{})
	for _, name := range roundPoints {
		r.killed(string(name))
	}
	for range coverageKills {
		r.killed("runner")
	}
	r.killed(workerIn(python))
	r.killed(workerIn(golang))
	if err := r.verdict(); err == nil || !strings.Contains(err.Error(), workerIn(java)) {
		t.Errorf("no worker in Java has been killed, and the verdict is %v", err)
	}
	r.killed(workerIn(java))
	if err := r.verdict(); err != nil {
		t.Error(err)
	}
}

// What else the runner has started, like the guard of a worker, is no worker.
func TestWorkersAreKnownByTheirPrograms(t *testing.T) {
	r := &runner{tag: t.Name()}
	program := filepath.Join(t.TempDir(), batchProgram)
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(sleep, program); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{program, sleep} {
		cmd := exec.Command(name, "60")
		cmd.Env = append(os.Environ(), tagVariable+"="+r.tag)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	}
	found := r.workers()
	if len(found) != 1 || found[0].language != golang {
		t.Errorf("the workers are %v, want one in Go", found)
	}
}
